r"""Tables of results: as a reader wants them, and as files for a program, a notebook and a paper.

Functions return tables or text; only `write` touches the disk. Taught in notebook 06.
"""

import math
import re
from numbers import Number
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from aotlib.files import replacing
from aotlib.intervals import in_order
from aotlib.metrics import about

MOST_DIGITS = 6  # after the point: pictures of 8 bits tell no more
NUMBER = r"-?\d+(?:\.\d+)?"
COUNTED = r"(?: \(n = \d+\))?(?: \(\+ \d+ exact\))?(?: \*)?"  # what may follow a mean
BOLD = re.compile(r"\*\*(.+?)\*\*")
MEAN = re.compile(  # a cell of `spread`
    rf"(?:\*\*)?{NUMBER}(?:\*\*)?(?: \[{NUMBER}, {NUMBER}\])?{COUNTED}|(?:infinite|undefined)(?: \(n = 0\))?"
)
NOT_ESCAPED = {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}


def spread(summary: pd.DataFrame, metric: str, *, bold: bool = True) -> pd.DataFrame:
    r"""The summary of one metric with a row a method, a column a bucket and cells "mean [low, high]".

    A cell has the digits that its interval can tell: the interval's width has two. The last column, `n`, is the number
    of images that most cells of the row rest on; a cell that rests on another number says so. With `bold` the best mean
    of each bucket stands between ``**``: the best on these images, which is not to say significantly better (that is
    for `aotlib.comparison.compare`). Several data sets have their names in a first column.

    Args:
        summary: of `aotlib.intervals.summarise`.

    >>> row = {"method": "grey", "data": "samples", "bucket": "1-10 %", "metric": "psnr", "n_infinite": 0}
    >>> summary = pd.DataFrame([row | {"mean": 26.8512, "low": 26.4123, "high": 27.3012, "n": 10}])
    >>> print(*spread(summary, "psnr").iloc[0], sep=" | ")
    grey | 26.85 [26.41, 27.30] | 10

    Raises:
        ValueError: when the summary does not hold this metric, or a cell twice.

    Taught in notebook 06.
    """
    rows = summary[summary["metric"] == metric]
    if rows.empty:
        raise ValueError(f"the summary has no {metric!r}; it has {', '.join(summary['metric'].unique()) or 'no row'}")
    if rows.duplicated(["data", "method", "bucket"]).any():
        raise ValueError(f"a method has two means of {metric!r} in one bucket: was a summary joined twice?")
    best = _best(rows, metric) if bold else set()
    several, lines = rows["data"].nunique() > 1, []
    for (data, method), row in rows.groupby(["data", "method"], sort=False):
        usual = int(row["n"].mode().max())
        cells = {cell.bucket: _cell(cell, usual, cell.Index in best) for cell in row.itertuples()}
        lines.append(({"data": data} if several else {}) | {"method": method} | cells | {"n": usual})
    columns = ["data"] * several + ["method", *in_order(rows["bucket"].unique()), "n"]
    return pd.DataFrame(lines, columns=columns).fillna("")


def _best(rows: pd.DataFrame, metric: str) -> set:
    """Index of the best mean of each data set and bucket that several methods are in."""
    sign = 1 if about(metric).higher_is_better else -1
    groups = (sign * rows["mean"]).groupby([rows["data"], rows["bucket"]])
    return set(rows.index[(sign * rows["mean"] == groups.transform("max")) & (groups.transform("count") > 1)])


def _cell(row: NamedTuple, usual: int, bold: bool) -> str:
    """``mean [low, high]`` of a row of a summary, with its n where that is not the `usual` one."""
    count = "" if row.n == usual else f" (n = {int(row.n)})"
    if math.isnan(row.mean):
        return ("infinite" if row.n_infinite > 0 else "undefined") + count
    ends = (row.low, row.high)
    digits = _digits(row.high - row.low, 2) if row.high > row.low else _digits(row.mean, 4)
    mean, low, high = (f"{round(value, digits) + 0.0:.{digits}f}" for value in (row.mean, *ends))  # + 0: never "-0.0"
    interval = "" if any(map(math.isnan, ends)) else f" [{low}, {high}]"
    return (f"**{mean}**" if bold else mean) + interval + count


def _digits(value: float, significant: int) -> int:
    """Digits after the point that give `value` so many significant ones: none for large numbers, six at most."""
    order = math.floor(math.log10(abs(value))) if value else 0
    return min(max(significant - 1 - order, 0), MOST_DIGITS)


def _text(value: object) -> str:
    """Four significant digits of a number that is no count."""
    if isinstance(value, float | np.floating):
        return f"{value:#.4g}".rstrip(".") if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _on_the_right(table: pd.DataFrame) -> list[bool]:
    """Which columns hold nothing but numbers, means with their intervals and empty cells."""
    return [
        all(isinstance(value, Number) or value == "" or bool(MEAN.fullmatch(str(value))) for value in table[name])
        for name in table
    ]


def markdown(table: pd.DataFrame) -> str:
    r"""`table` without its index in Markdown; numbers have four digits and stand on the right.

    >>> print(markdown(pd.DataFrame({"method": ["grey"], "psnr": [1 / 3]})))
    | method   |   psnr |
    |:---------|-------:|
    | grey     | 0.3333 |

    Taught in notebook 06.
    """
    align = ["right" if wanted else "left" for wanted in _on_the_right(table)]
    cells = table.map(lambda value: _text(value).replace("|", r"\|"))  # a bar would end the cell
    return cells.to_markdown(index=False, disable_numparse=True, colalign=align or None)


def latex(table: pd.DataFrame) -> str:
    r"""`table` without its index as a whole ``tabular`` for the package booktabs; numbers stand on the right.

    Characters that mean something to LaTeX are escaped, ``**bold**`` is set in bold, numbers have four digits.

    >>> print(latex(pd.DataFrame({"method": ["mean_colour"], "share / %": [-0.5]})))
    \begin{tabular}{lr}
    \toprule
    method & share / \% \\
    \midrule
    mean\_colour & $-$0.5000 \\
    \bottomrule
    \end{tabular}

    Taught in notebook 06.
    """
    sides = "".join("r" if wanted else "l" for wanted in _on_the_right(table))
    cells = table.map(lambda value: " ".join(_text(value).split())).rename(columns=lambda name: " ".join(name.split()))
    text = cells.to_latex(index=False, escape=True, column_format=sides).rstrip("\n")
    text = BOLD.sub(r"\\textbf{\1}", text)
    text = re.sub(r"[<>|\"]", lambda found: NOT_ESCAPED[found[0]], text)
    text = re.sub(r"(?m)(?:(?<=[ {\[])|^)-(?=\d)", "$-$", text)  # a hyphen is no minus
    text = re.sub(r"\b(\d+(?:\.\d+)?)e([+-]\d+)\b", lambda m: rf"{m[1]} $\cdot$ 10$^{{{int(m[2])}}}$", text)
    return re.sub(r"(?m)^([\[*])", r"{\1}", text)  # after a row's end these would be its options


def blank(table: pd.DataFrame) -> pd.DataFrame:
    r"""`table` with empty cells where a value is missing or undefined, for readers; numbers stay numbers.

    >>> blank(pd.DataFrame({"p": [0.5, math.nan]}))["p"].tolist()
    [0.5, '']

    Taught in notebook 06.
    """
    return table.astype(object).where(table.notna(), "")


def write(table: pd.DataFrame, out_dir: str | Path, name: str) -> Path:
    r"""`name`.csv (every digit), `name`.md and `name`.tex (four digits) lie in `out_dir`; the CSV's path.

    The index is not written: `table.reset_index()` first where it holds names. Bold is for readers, so that the CSV
    has none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(pd.DataFrame({"psnr": [1 / 3]}), folder, "scores").read_text()
    'psnr\n0.3333333333333333\n'

    Taught in notebook 06.
    """
    for kind, text in {"md": markdown(table), "tex": latex(table)}.items():
        with replacing(Path(out_dir, f"{name}.{kind}")) as path:
            path.write_text(text + "\n", encoding="utf-8")
    plain = table.map(
        lambda value: BOLD.sub(r"\1", value) if isinstance(value, str) and MEAN.fullmatch(value) else value
    )
    with replacing(Path(out_dir, f"{name}.csv")) as path:
        plain.to_csv(path, index=False, lineterminator="\n")
    return Path(out_dir, f"{name}.csv")
