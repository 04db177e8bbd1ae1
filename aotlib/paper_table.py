r"""The one table in which published numbers may stand beside numbers measured here.

What is not known stays "not known", what nobody ran "not run": no number ever takes the place of another.

Taught in notebook 11.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pandas as pd

from aotlib import tables
from aotlib.config import TrainConfig
from aotlib.masks import BUCKET_NAMES
from aotlib.metrics import about

METHODS = ("CA", "PEN-Net", "PConv", "EdgeConnect", "GatedConv", "HiFill", "MNPS", "AOT-GAN")  # in the paper's table
METRICS = {"relative_l1": "L1", "psnr": "PSNR", "ssim_released": "SSIM", "fid_2048": "FID"}  # ours, and its name there
NOT_KNOWN, NOT_RUN = "not known", "not run"
THIS_RUN = "AOT-GAN, this run"  # what notebook 06 calls the network of the run that it is given
# What a run must have to stand in one column with the paper, by its own record; all else is a small run.
TRAINED = ("size", "recipe", "design", "width", "n_blocks", "rates", "init", "start_from", "batch", "steps", "lr")
TRAINED += ("lr_fall", "beta1", "beta2", "weight_adv", "weight_rec", "weight_per", "weight_sty")
_PAPER = dataclasses.asdict(TrainConfig())
PAPER_SCALE = {"trained on": "places2", "features": "vgg19"} | {key: _PAPER[key] for key in TRAINED}
PAPER_SCALE |= {"rates": [*_PAPER["rates"]]}  # as JSON has them
PAPER_SCALE |= {"scored on": "places2", "split": "val", "scored size": 512, "holes": "mask files", "pictures": 36_500}
AT_LEAST = ("steps", "pictures")


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
    judged = _record(Path(evaluation_dir))
    scored = judged.get("parameters", {})
    run_dir = Path(scored.get("run_dir", ""))
    training = _record(run_dir) or _record(Path(evaluation_dir).parent / "training" / run_dir.name)  # moved as one
    trained = training.get("parameters", {})
    if "notebook" in training:  # which leaves what it has no parameter for as it is
        trained = {key: _PAPER[key] for key in ("start_from", "lr_fall")} | trained
    scale = {key: trained.get(key) for key in TRAINED}
    scale["steps"] = training.get("metrics", {}).get("steps")  # those that were made, not those asked for
    scale |= {"trained on": trained.get("data"), "features": training.get("features")}
    scale |= {"scored on": scored.get("data"), "split": scored.get("split"), "scored size": scored.get("size")}
    scale["holes"] = ("mask files" if scored["masks"] else "drawn") if "masks" in scored else None
    scale["pictures"] = judged.get("metrics", {}).get("n_images")
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
    met = [key for key in AT_LEAST if (found[key] or 0) >= PAPER_SCALE[key]]
    wrong = {key: seen for key, seen in found.items() if seen != PAPER_SCALE[key] and key not in met}
    told = {key: "not recorded" if seen is None else f"{seen}, not {PAPER_SCALE[key]}" for key, seen in wrong.items()}
    return [f"{key}: {text}" for key, text in told.items()]


def paper_table(
    reference: pd.DataFrame, summary: pd.DataFrame | None = None, scale: Mapping | None = None,
    *, method: str = "AOT-GAN", here: str | None = None, run: str = ""
) -> pd.DataFrame:  # fmt: skip
    r"""The paper's table of one method beside what others and this suite measured, a row a metric and bucket.

    A cell without a publication says "not known", one without a run "not run". Under "here (paper scale)" stands only
    `THIS_RUN`, and only when `gaps` of its scale is empty; all else stands under "here (small run)". Published numbers
    are converted to our units where the definition is ours. Those of another or unstated definition stand as printed,
    with a star; letters are the marks of `retrainings`. A method of which nothing is known and nothing was run has one
    row.

    Args:
        summary: of `aotlib.intervals.summarise`, of one data set.
        scale: of `run_of`.
        method: its name in the paper; `here` in `summary`, where that is another.
        run: of `run_of`.

    Taught in notebook 11.
    """
    known = reference[(reference.method == method) & (reference.data == "places2")]
    marks = {(row.source, row.trained_on): row.mark for row in retrainings(reference).itertuples()}
    ours, data = _measured(summary, here or method)
    if here == THIS_RUN:
        scale = {**(scale or {}), "scored on": data}
    else:
        run, scale = "", {}  # those are of no other network
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
