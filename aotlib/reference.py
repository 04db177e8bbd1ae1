r"""Published numbers, and the one table in which they may stand beside numbers measured here.

``data/paper_reference.yaml`` holds the numbers, each with its source, its definition and how surely it was copied. What
is not known stays "not known", what nobody ran "not run": no number ever takes the place of another.

Taught in notebook 11.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import pandas as pd
import yaml

from aotlib import tables
from aotlib.choices import nearest
from aotlib.masks import BUCKET_NAMES
from aotlib.metrics import about

METHODS = ("CA", "PEN-Net", "PConv", "EdgeConnect", "GatedConv", "HiFill", "MNPS", "AOT-GAN")  # in the paper's table
METRICS = {"relative_l1": "L1", "psnr": "PSNR", "ssim_released": "SSIM", "fid_2048": "FID"}  # ours, and its name there
NOT_KNOWN, NOT_RUN = "not known", "not run"
SCORED = ("trained_on", "data", "split", "n", "resolution", "masks")
BLOCK, REMARKS = ("source", "where", "read", *SCORED, "buckets", "values"), ("caveat", "note", "notes")
OF_METRIC = ("label", "unit", "scale", "aotlib", "better", "definition")
SPECIAL = {".inf": "Infinity", "-.inf": "-Infinity", ".nan": "NaN"}
ONE_NUMBER = ["source", "method", "trained_on", "data", "bucket", "metric"]
COLUMNS = [*ONE_NUMBER, "masks", "split", "resolution", "definition", "value", "printed", "unit", "n", "read", "where"]
COLUMNS += ["note", "label", "aotlib", "scale"]
# What a run must have to stand in one column with the paper; a result that says less is a small run.
PAPER_SCALE = {"trained on": "places2", "size": 512, "width": 64, "n_blocks": 8, "rates": [1, 2, 4, 8], "batch": 8}
PAPER_SCALE |= {"steps": 1_000_000, "features": "vgg19"}  # or more steps
PAPER_SCALE |= {"scored on": "places2", "split": "val", "scored size": 512, "holes": "mask files"}


class _Loader(yaml.SafeLoader):
    """Plain values only; 0.940 keeps its last digit, and a key that stands twice in one place is refused."""

    def mapping(self, node: yaml.MappingNode) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"line {node.start_mark.line + 1} and below: {twice[0]!r} stands there twice")
        return self.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: Decimal(SPECIAL.get(node.value, node.value)))
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)


def content(path: str | Path) -> dict:
    r"""The file as it is: `sources`, `metrics`, `tables`, and `not_known`, what could not be found out, in words.

    Taught in notebook 11.
    """
    found = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    _check_keys(found, ("sources", "metrics", "tables", "not_known"), str(path))
    for name, source in found["sources"].items():
        _check_keys(source, ("title", "authors", "url", "about"), f"sources, {name}")
    for name, metric in found["metrics"].items():
        _check_keys(metric, OF_METRIC, f"metrics, {name}")
        if metric["aotlib"] is not None:
            about(metric["aotlib"])  # an error where the suite has no such metric
    return found


def load(path: str | Path) -> pd.DataFrame:
    r"""Every published number of the file, a row each; what is not known is missing (``isna``).

    `metric` is the file's name of the metric as its source defines it, in words in `definition`. `value` is the number
    in `unit`, `printed` the same as a text with its final zeros. `aotlib` is the key of the same definition in a
    summary table, missing where there is none; `value` times `scale` is in the unit of that key.

    Raises:
        ValueError: at a key, number, list or note that does not fit, and at one number given twice; it says where.

    Taught in notebook 11.
    """
    found = content(path)
    rows = [row for number, block in enumerate(found["tables"], start=1) for row in _rows(block, number, found)]
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"n": "Int64", "resolution": "Int64", "scale": float})
    for row in table[table.duplicated(ONE_NUMBER)].itertuples():
        raise ValueError(f"{row.source}: {row.metric} of {row.method}, {row.bucket}, is given twice; keep one")
    return table


def _check_keys(found: object, wanted: Iterable[str], where: str, free: Iterable[str] = ()) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{where}: needs lines 'key: value', found {found!r}")
    for key in found:
        _check_one_of(key, (*wanted, *free), f"{where}: key")
    if missing := [key for key in wanted if key not in found]:
        raise ValueError(f"{where}: {missing[0]!r} is missing; write null where it is not known")


def _check_one_of(name: object, known: Iterable[str], where: str) -> None:
    if name not in known:
        raise ValueError(f"{where} {name!r} is not known; {nearest(str(name), known)}")


def _rows(block: dict, number: int, found: dict) -> Iterator[dict]:
    _check_keys(block, BLOCK, f"table {number}", REMARKS)
    where = f"table {number} ({block['source']}, {block['where']})"
    _check_one_of(block["source"], found["sources"], f"{where}: source")
    _check_one_of(block["read"], ("direct", "copied", "issue", "secondary"), f"{where}: read")
    if wrong := [block[key] for key in ("n", "resolution") if type(block[key]) not in (int, type(None))]:
        raise ValueError(f"{where}: {wrong[0]!r} is no count; write a whole number without quotation marks, or null")
    remarks = {(note["metric"], note["method"], note["bucket"]): note["note"] for note in block.get("notes", [])}
    for metric, methods in block["values"].items():
        _check_one_of(metric, found["metrics"], f"{where}: metric")
        of_metric = {"metric": metric} | found["metrics"][metric]
        of_metric["definition"] = "; ".join(filter(None, (of_metric["definition"], block.get("caveat"))))
        for method, bucket, value in _numbers(methods, block["buckets"], f"{where}, {metric}"):
            note = "; ".join(filter(None, (block.get("note"), remarks.pop((metric, method, bucket), None)))) or None
            row = block | of_metric | {"method": method, "bucket": bucket, "value": float(value), "note": note}
            yield {key: row.get(key) for key in COLUMNS} | {"printed": str(value).replace("Infinity", "inf")}
    if remarks:
        raise ValueError(f"{where}: the note on {', '.join(map(str, next(iter(remarks))))} has no number")


def _numbers(methods: dict, buckets: list, where: str) -> Iterator[tuple[str, str, Decimal]]:
    for method, values in methods.items():
        if not isinstance(values, list) or len(values) != len(buckets):
            raise ValueError(f"{where}, {method}: needs {len(buckets)} numbers in a list, one a bucket, not {values!r}")
        for bucket, value in zip(buckets, values, strict=True):
            if type(value) not in (int, Decimal) or Decimal(value).is_nan():
                raise ValueError(f"{where}, {method}: {value!r} is no number (1e-4 is a text to YAML, 1.0e-4 is not)")
            yield method, bucket, Decimal(value)


def retrainings(reference: pd.DataFrame) -> pd.DataFrame:
    r"""Who trained AOT-GAN again and scored it on Places2 in the paper's buckets, each with a letter as `mark`.

    Taught in notebook 11.
    """
    rows = reference[(reference.method == "AOT-GAN") & (reference.data == "places2") & (reference.source != "paper")]
    runs = rows[rows.bucket.isin(BUCKET_NAMES)].drop_duplicates(["source", "trained_on"]).reset_index(drop=True)
    runs["mark"] = list("abcdefghijklmnopqrstuvwxyz"[: len(runs)])
    return runs[["mark", "source", "trained_on", "n", "masks", "note"]].astype(object).fillna(NOT_KNOWN)


def run_of(evaluation_dir: str | Path) -> tuple[str, dict]:
    r"""Name and scale of the run that was evaluated there, as far as the records of the two notebooks say.

    The scale has the keys of `PAPER_SCALE`; None where there is no record, as after a notebook run by hand.

    Taught in notebook 11.
    """
    scored = _record(Path(evaluation_dir)).get("parameters", {})
    run_dir = Path(scored.get("run_dir", ""))
    training = _record(run_dir) or _record(Path(evaluation_dir).parent / "training" / run_dir.name)  # moved as one
    trained = training.get("parameters", {})
    scale = {key: trained.get(key) for key in ("size", "width", "n_blocks", "rates", "batch")}
    scale["steps"] = training.get("metrics", {}).get("steps")  # those that were made, not those asked for
    scale |= {"trained on": trained.get("data"), "features": training.get("features")}
    scale |= {"scored on": scored.get("data"), "split": scored.get("split"), "scored size": scored.get("size")}
    scale["holes"] = ("mask files" if scored["masks"] else "drawn") if "masks" in scored else None
    return run_dir.name, scale


def _record(folder: Path) -> dict:
    path = folder / "record.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def gaps(scale: Mapping) -> list[str]:
    r"""In what a run differs from the paper's scale; empty only when all of `PAPER_SCALE` is recorded and met.

    >>> gaps(PAPER_SCALE | {"steps": 2_000_000, "width": 16})
    ['width: 16, not 64']

    Taught in notebook 11.
    """
    found = {key: scale.get(key) for key in PAPER_SCALE}
    if (found["steps"] or 0) >= PAPER_SCALE["steps"]:
        del found["steps"]
    told = {key: "not recorded" if seen is None else f"{seen}, not {PAPER_SCALE[key]}" for key, seen in found.items()}
    return [f"{key}: {told[key]}" for key, seen in found.items() if seen != PAPER_SCALE[key]]


def paper_table(
    reference: pd.DataFrame, summary: pd.DataFrame | None = None, scale: Mapping | None = None,
    *, method: str = "AOT-GAN", here: str | None = None, run: str = ""
) -> pd.DataFrame:  # fmt: skip
    r"""The paper's table of one method beside what others and this suite measured, a row a metric and bucket.

    A cell without a publication says "not known", one without a run "not run". A run stands under "here (paper scale)"
    only when `gaps` of its scale is empty, else under "here (small run)". Published numbers are converted to our units
    where the definition is ours. Those of another or unstated definition stand as printed, with a star; letters are the
    marks of `retrainings`. A method of which nothing is known and nothing was run has one row.

    Args:
        summary: of `aotlib.intervals.summarise`, of one data set.
        scale: of `run_of`.
        method: its name in the paper; `here` in `summary`, where that is another.

    Taught in notebook 11.
    """
    known = reference[(reference.method == method) & (reference.data == "places2")]
    marks = {(row.source, row.trained_on): row.mark for row in retrainings(reference).itertuples()}
    ours, data = _measured(summary, here or method)
    scale = {**(scale or {}), "scored on": data}
    told = {"run": run or "not recorded", "scale": _in_short(scale)}
    column, lines = "here (small run)" if gaps(scale) else "here (paper scale)", []
    for key, bucket in itertools.product(METRICS, BUCKET_NAMES):
        line = {"method": method, "metric": " / ".join(filter(None, about(key)[:2])), "bucket": bucket}
        line |= _published(known[known.bucket == bucket], key, marks)
        line |= {"here (paper scale)": NOT_RUN, "here (small run)": NOT_RUN, "n": "", "run": "", "scale": ""}
        cell = ours.get((key, bucket))
        lines.append(line | ({column: cell[0], "n": cell[1]} | told if cell else {}))
    table = pd.DataFrame(lines)
    if not ours and {*table["paper"], *table["independent retrainings"]} == {NOT_KNOWN}:
        return table.head(1).assign(metric="every metric", bucket="every bucket")
    return table


def _in_short(scale: Mapping) -> str:
    if scale.get("steps") is None:
        return "not recorded"
    size = f"{scale['size']} px, width {scale['width']}, {scale['steps']:,} steps on {scale['trained on']}"
    return f"{size}; scored at {scale['scored size']} px, holes: {scale['holes']}"


def _published(there: pd.DataFrame, key: str, marks: Mapping) -> dict[str, str]:
    paper, others = [], []
    for row in there.to_dict("records"):
        mark = marks.get((row["source"], row["trained_on"]))
        in_our_unit = f"{Decimal(row['printed']) * Decimal(str(row['scale'])).normalize():f}"  # with all printed digits
        if row["source"] == "paper" and row["aotlib"] == key:
            paper.append(in_our_unit)
        elif mark and row["label"] == METRICS[key]:
            others.append(f"{in_our_unit} {mark}" if row["aotlib"] == key else f"{row['printed']} {mark}*")
    return {"paper": ", ".join(paper) or NOT_KNOWN, "independent retrainings": ", ".join(others) or NOT_KNOWN}


def _measured(summary: pd.DataFrame | None, here: str) -> tuple[dict, str | None]:
    """{(metric, bucket): (mean with its interval, n)} of one method, and the data set that it was scored on."""
    ours = pd.DataFrame(columns=["data", "metric"]) if summary is None else summary[summary.method == here]
    if (data := ours["data"].unique().tolist())[1:]:
        raise ValueError(f"{here} was scored on {', '.join(data)}: choose the rows of one data set")
    found = {}
    for key in METRICS:
        rows = ours[ours.metric == key]
        cells = tables.spread(rows, key, bold=False).iloc[0] if len(rows) else {}
        for row in rows.itertuples():
            n = f"{row.n} (+ {row.n_infinite} exact)" if row.n_infinite else f"{row.n}"
            found[key, row.bucket] = cells[row.bucket].partition(" (n =")[0], n
    return found, (data or [None])[0]
