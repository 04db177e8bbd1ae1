r"""Published numbers, read without loss and refused where they are wrong.

``data/paper_reference.yaml`` holds them, each with its source, its definition and how surely it was copied.

Taught in notebook 11.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd

from aotlib.choices import nearest
from aotlib.metrics import about
from aotlib.yaml_files import StrictLoader, read_yaml

SCORED = ("trained_on", "data", "split", "n", "resolution", "masks")
BLOCK, REMARKS = ("source", "where", "read", *SCORED, "buckets", "values"), ("caveat", "note", "notes")
OF_METRIC = ("label", "unit", "scale", "aotlib", "better", "definition")
SPECIAL = {".inf": "Infinity", "-.inf": "-Infinity", ".nan": "NaN"}
ONE_NUMBER = ["source", "method", "trained_on", "data", "bucket", "metric"]
COLUMNS = [*ONE_NUMBER, "masks", "split", "resolution", "definition", "value", "printed", "unit", "n", "read", "where"]
COLUMNS += ["note", "label", "aotlib", "scale"]


class _Loader(StrictLoader):
    """0.940 keeps its last digit."""


_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: Decimal(SPECIAL.get(node.value, node.value)))


def content(path: str | Path) -> dict:
    r"""The file as it is: `sources`, `metrics`, `tables`, and `not_known`, what could not be found out, in words.

    Taught in notebook 11.
    """
    found = read_yaml(path, _Loader)
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
