r"""The command `aotlib compare`: methods that were judged one by one, in one table.

Nothing here imports torch or pandas before it runs.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import tyro

from aotlib.choices import check_choice

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("method", "data", "bucket", "image", "metric", "value")
SAME = ("photograph", "mask")  # what `aotlib evaluate` writes besides, to tell whether two pictures are the same
PICTURE = ["bucket", "image"]
WANTED = "give what `aotlib evaluate --images FILE.csv` wrote, or tables/images.csv of notebook 06"
USUAL = ("psnr", "ssim", "hole_l1", "lpips")


def compare(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="A.csv B.csv ...")],
    metric: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    to: str = "",
    out: Path | None = None,
    matched_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Put methods that were judged on the same pictures into one table, and say which differences are more than chance.

    Means have 95 % intervals; differences are taken picture by picture, and their significance is corrected for the
    number of comparisons (Holm). A photograph with several holes counts once.

    Args:
        files: what `aotlib evaluate --images FILE` wrote, or notebook 06 (tables/images.csv).
        metric: such as psnr; again for one more. Without it psnr, ssim, hole_l1 and lpips, as far as all have them.
        to: the method that the others are compared with; the first one when not given.
        out: write the tables to this folder, as CSV, Markdown and LaTeX.
        matched_only: where the methods were judged on different pictures, compare on those that all have.
    """
    from aotlib import scorecard, tables

    long, told = common(joined(files), matched_only)
    methods = list(long.method.unique())
    to = check_choice("--to", to or methods[0], methods)
    wanted = metrics_of(long, metric)
    print(f"{'; '.join(methods)}: {told}\n")
    summary = scorecard.by_photograph(long[long.metric.isin(wanted)])
    for key in wanted:
        versus = differences(long, key, to=to)
        print(f"{_means(summary, key)}\n\n{_differences(versus, key, to)}\n")
        if out is not None:
            tables.write(tables.spread(summary, key), out, key)
            tables.write(versus, out, f"{key}_differences")
    print(*_notes(summary[summary.metric.isin(wanted)], len(methods)), sep="\n")
    if out is not None:
        print(f"tables: {out}")


def read(path: Path) -> "pd.DataFrame":
    """The long table in a file, with `SAME` ("" where it does not say), and names as `aotlib evaluate` gives them."""
    import pandas as pd

    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; {WANTED}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # a photograph may be called 007, or NA
    except ValueError as error:  # no text, no table, or an empty file
        raise ValueError(f"{path} is no CSV table ({error}); {WANTED}") from error
    if missing := [name for name in COLUMNS if name not in table]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; {WANTED}")
    if table.empty or table.data.nunique() > 1:
        names = ", ".join(table.data.unique())
        raise ValueError(f"{path} holds {f'several data sets ({names}): keep one' if names else 'no row'}")
    try:
        table["value"] = table.value.replace("", "nan").astype(float)
    except ValueError as error:
        raise ValueError(f"{path}: a value is no number: {error}") from error
    short = [_short(*names) for names in zip(table.image, table.bucket, strict=True)]
    keys = ["method", "bucket", "image", "metric"]
    if not table.assign(image=short).duplicated(keys).any():
        table["image"] = short
    if (twice := table.duplicated(keys)).any():
        row = table[twice].iloc[0]
        raise ValueError(f"{path} has two values of {row.metric} for {row.image} by {row.method}: joined twice?")
    return table.reindex(columns=[*COLUMNS, *SAME], fill_value="")


def _short(image: str, bucket: str) -> str:
    """`aotlib cases` calls BUCKET/NAME what notebook 06 calls NAME.png."""
    from aotlib.images import EXTENSIONS

    name = image.removeprefix(f"{bucket.removesuffix(' %')}/")
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in EXTENSIONS else name


def joined(files: Sequence[Path]) -> "pd.DataFrame":
    """The tables of all files, once it is clear that pictures of one name are the same ones, and methods are not."""
    import pandas as pd

    parts, of = [read(path) for path in files], {}
    for path, part in zip(files, parts, strict=True):
        for method in part.method.unique():
            if method in of:
                told = f"{of[method]} and {path} both call their method {method!r}"
                raise ValueError(f"{told}: give --name to `aotlib evaluate`, and one name to each")
            of[method] = path
    if len(of) < 2:
        raise ValueError(f"two methods are needed; the files hold {', '.join(map(repr, of)) or 'none'}")
    long = pd.concat(parts, ignore_index=True).assign(data=parts[0].data.iloc[0])  # where it lay is not what it was
    for what in SAME:
        said = long.loc[long[what] != "", [*PICTURE, what]].drop_duplicates()
        if (twice := said.duplicated(PICTURE)).any():
            name = " ".join(said.loc[twice, PICTURE].iloc[0])
            told = f"{twice.sum()} pictures of one name have not the same {what} in all files, such as {name}"
            raise ValueError(f"{told}: judge every method with the same folders of true pictures and masks")
        known = long[PICTURE].merge(said, how="left")[what]
        long[what] = known.fillna(long.image if what == "photograph" else "")
    return long


def common(long: "pd.DataFrame", matched_only: bool) -> tuple["pd.DataFrame", str]:
    """The pictures that all methods were judged on, and how many these are, in words."""
    pictures = long[["method", *PICTURE]].drop_duplicates()
    shared = pictures.groupby(PICTURE, sort=False).method.nunique() == long.method.nunique()
    told = f"the methods were not judged on the same pictures: {shared.sum()} of {len(shared)} are common to all"
    for method, its in pictures.groupby("method", sort=False):
        if len(lacks := shared.index.difference(its.set_index(PICTURE).index, sort=False)):
            told += f"\n  {method} lacks {len(lacks)}, such as {' '.join(lacks[0])}"
    if not shared.any() or not (shared.all() or matched_only):
        raise ValueError(told + ("\n--matched-only compares on the common ones" if shared.any() else ""))
    keys = long.set_index(PICTURE).index
    long = long[keys.isin(shared.index[shared])]
    left_out = "" if shared.all() else f", only those in common of {len(shared)}"
    return long, f"{shared.sum()} pictures of {long.photograph.nunique()} photographs{left_out}"


def metrics_of(long: "pd.DataFrame", asked: Sequence[str]) -> list[str]:
    """The metrics that were asked for, or the usual ones that all methods have."""
    have = long.groupby("metric", sort=False).method.nunique() == long.method.nunique()
    in_all = list(have.index[have])
    if lost := [key for key in asked if key not in in_all]:
        raise ValueError(f"not all methods have the metric {lost[0]!r}; all have {', '.join(in_all) or 'none'}")
    wanted = list(dict.fromkeys(asked)) or [key for key in USUAL if key in in_all]
    if not wanted:
        raise ValueError(f"not all methods have one of {', '.join(USUAL)}; give --metric, of {', '.join(in_all)}")
    return wanted


def differences(long: "pd.DataFrame", metric: str, *, to: str) -> "pd.DataFrame":
    r"""As `aotlib.comparison.compare`, by photograph: of its pictures in a bucket the mean difference; and for "all".

    A picture that has no finite value of both methods is left out.
    """
    import numpy as np
    import pandas as pd

    from aotlib.comparison import compare as compared
    from aotlib.intervals import ALL

    rows = long[long.metric == metric]
    wide = rows.pivot(index=["photograph", *PICTURE], columns="method", values="value")[list(rows.method.unique())]
    with np.errstate(invalid="ignore"):  # two infinite values have no difference
        off = wide.sub(wide[to], axis=0).replace([np.inf, -np.inf], np.nan).reset_index()
    both = pd.concat([off, off.assign(bucket=ALL)]).drop(columns="image")
    means = both.groupby(["bucket", "photograph"], sort=False).mean().reset_index()
    flat = means.rename(columns={"photograph": "image"}).melt(id_vars=PICTURE, var_name="method")
    return compared(flat.assign(data="", metric=metric), metric, to=to)


def _heading(metric: str) -> str:
    from aotlib.metrics import about

    found = about(metric)
    unit = f" ({found.unit})" if found.unit else ""
    return f"{found.label}{unit}, {'higher' if found.higher_is_better else 'lower'} is better"


def _means(summary: "pd.DataFrame", metric: str) -> str:
    """The table with a row a bucket and a column a method, for a terminal."""
    from aotlib import scorecard, tables

    cells = tables.spread(summary, metric, bold=False).set_index("method")
    for row in summary[summary.metric == metric].itertuples():
        cells.loc[row.method, row.bucket] += scorecard.exact(row.n, row.n_infinite)
    return f"{_heading(metric)}\n\n{_turned(cells)}"


def _differences(versus: "pd.DataFrame", metric: str, to: str) -> str:
    from aotlib import tables

    as_summary = versus.rename(columns={"difference": "mean"}).assign(data="", n_infinite=0)
    cells = tables.spread(as_summary, metric, bold=False).set_index("method")
    for row in versus[versus.significant].itertuples():
        cells.loc[row.method, row.bucket] += " *"
    told = "" if versus.significant.any() else "; none is significant"
    return f"differences: each method minus {to}, on the same pictures{told}\n\n{_turned(cells)}"


def _turned(cells: "pd.DataFrame") -> str:
    from aotlib import scorecard, tables

    turned, wide = cells.T.rename_axis("bucket"), scorecard.SIDE_BY_SIDE
    groups = [turned.iloc[:, start : start + wide] for start in range(0, turned.shape[1], wide)]
    return "\n\n".join(tables.markdown(group.rename_axis(None, axis=1).reset_index()) for group in groups)


def _notes(summary: "pd.DataFrame", n_methods: int) -> list[str]:
    from aotlib import scorecard

    n_tests = (n_methods - 1) * summary.bucket.nunique()
    notes = ["In brackets: 95 % intervals, by the bootstrap over photographs. n: photographs."]
    notes.append(f"* significant: p < 0.05, corrected for the {n_tests} differences of a table (Holm).")
    return notes + [scorecard.EXACT] * bool(summary.n_infinite.any())
