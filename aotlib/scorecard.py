r"""What is said of a folder of pictures that was judged: a table with intervals for a person, the same for a program.

Taught in notebook 06.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from aotlib import intervals, tables
from aotlib.folders import Scored
from aotlib.metrics import about

if TYPE_CHECKING:
    from aotlib.evaluate import Measures

TWICE = "a photograph stands in this set more than once, which the kernel distance would take for likeness"
EXACT = "(+ k exact): k more pictures have no error at all and an infinite PSNR, which no mean can hold."
SIDE_BY_SIDE = 4  # metrics in one table: as many as a terminal is wide


class Card(NamedTuple):
    r"""`summary` as of `aotlib.intervals.summarise`, with the distances between sets, and what there is no number for.

    `absent` says why, by bucket and metric: ``absent["all"]["fid"]``.
    """

    summary: pd.DataFrame
    absent: dict[str, dict[str, str]]


def card(scored: Scored, measures: "Measures | None" = None, *, n_resamples: int = 2000, seed: int = 0) -> Card:
    r"""Means, intervals and distances of each bucket and of all pictures.

    A photograph that was filled with several holes is drawn as one, whatever its files are called: its values go up
    and down together, and `n` counts photographs. Distances between sets that hold a photograph twice have no
    interval, and there is no KID of them.

    Args:
        measures: those that `aotlib.folders.score` was given.

    Taught in notebook 06.
    """
    summary = by_photograph(scored.images, n_resamples=n_resamples, seed=seed)
    absent: dict[str, dict[str, str]] = {bucket: {} for bucket in summary.bucket.unique()}
    parts = [summary]
    for bucket in absent if measures else ():
        rows, absent[bucket] = _of_sets(scored, bucket, measures, seed)
        names = {"method": summary.method[0], "data": summary.data[0], "bucket": bucket}
        parts.append(pd.DataFrame([names | row | {"n_infinite": 0, "n_undefined": 0} for row in rows]))
    return Card(pd.concat([part for part in parts if len(part)], ignore_index=True), absent)


def by_photograph(long: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    r"""As `aotlib.intervals.summarise`, but drawn and counted by the column `photograph`, not by the name of an image.

    Rows stand by bucket, "all" last.

    Taught in notebook 06.
    """
    parts = []
    for bucket in [*intervals.in_order(long.bucket.unique()), intervals.ALL]:
        here = long if bucket == intervals.ALL else long[long.bucket == bucket]
        parts.append(_drawn(here.assign(image=here.photograph), n_resamples, seed).assign(bucket=bucket))
    return pd.concat(parts, ignore_index=True)


def _drawn(long: pd.DataFrame, n_resamples: int, seed: int) -> pd.DataFrame:
    """One row a method and metric; where an image stands in `long` twice, `summarise` is told of two buckets."""
    times = long.groupby(["method", "image", "metric"]).cumcount().astype(str)
    several = bool((times != "0").any())
    summary = intervals.summarise(long.assign(bucket=times), n_resamples=n_resamples, seed=seed, overall=several)
    return summary[summary.bucket == (intervals.ALL if several else "0")]


def _of_sets(scored: Scored, bucket: str, measures: "Measures", seed: int) -> tuple[list[dict], dict[str, str]]:
    """Rows of the distances in one bucket, and why others are not there."""
    if scored.real is None:
        return [], dict(measures.unavailable)
    here = [place for place, other in enumerate(scored.buckets) if bucket in (other, intervals.ALL)]
    rows, reasons = measures.of_sets(scored.real[here], scored.fake[here], seed)
    absent = measures.unavailable | reasons
    if len({scored.photographs[place] for place in here}) < len(here):
        rows = [row | {"low": math.nan, "high": math.nan} for row in rows if not row["metric"].startswith("kid")]
        absent["kid"] = TWICE
    return rows, absent


def as_json(scored: Scored, card: Card, *, name: str, matched_only: bool, record: dict) -> dict:
    r"""The content of the file that ``aotlib evaluate --json`` writes.

    ``overall`` and each of ``buckets`` hold, by metric, mean, low, high, n, n_infinite and n_undefined; a number that
    does not exist is None, a metric that cannot be had a text. ``n`` counts the photographs that a mean rests on, of
    a distance between sets the pictures; ``pictures`` were scored in all, and they show so many ``photographs``.

    Taught in notebook 06.
    """
    matched, buckets = scored.matched, [bucket for bucket in card.absent if bucket != intervals.ALL]
    return {
        "name": name,
        "overall": _numbers(card, intervals.ALL),
        "buckets": {bucket: _numbers(card, bucket) for bucket in buckets},
        "pictures": len(scored.names),
        "photographs": len(set(scored.photographs)),
        "matched_only": matched_only,
        "missing": matched.missing,
        "surplus": matched.surplus,
        "masks_missing": matched.masks_missing,
        "different_sizes": matched.sizes,
        "refused": matched.refused,
        "changed_known": len(scored.changed),
        "record": record,
    }


def _numbers(card: Card, bucket: str) -> dict:
    rows = card.summary[card.summary.bucket == bucket].to_dict("records")
    ends, counts = ("mean", "low", "high"), ("n", "n_infinite", "n_undefined")
    numbers = {
        row["metric"]: {key: row[key] if math.isfinite(row[key]) else None for key in ends}
        | {key: int(row[key]) for key in counts}
        for row in rows
    }
    return numbers | {metric: f"not available: {reason}" for metric, reason in card.absent[bucket].items()}


def as_text(scored: Scored, card: Card) -> str:
    r"""The card for a terminal: tables with a row a bucket, and what a reader has to know with them.

    Taught in notebook 06.
    """
    shown = list(card.summary.metric.unique())
    groups = [shown[start : start + SIDE_BY_SIDE] for start in range(0, len(shown), SIDE_BY_SIDE)]
    blocks = [tables.markdown(_side_by_side(scored, card, group)) for group in groups]
    return "\n\n".join([*blocks, "\n".join([*_reasons(card), *_notes(scored, card)])])


def _reasons(card: Card) -> list[str]:
    """A line for each reason with its metrics, and with its buckets where they are not all."""
    where: dict[str, tuple[list[str], list[str]]] = {}
    for bucket, absent in card.absent.items():
        for metric, reason in absent.items():
            for found, one in zip(where.setdefault(reason, ([], [])), (_label(metric), bucket), strict=True):
                found += [] if one in found else [one]
    lines = []
    for reason, (metrics, buckets) in where.items():
        some = f" of {', '.join(buckets)}" if len(buckets) < len(card.absent) else ""
        lines.append(f"{', '.join(metrics)}{some}: not available: {reason}")
    return lines


def _notes(scored: Scored, card: Card) -> list[str]:
    notes = ["In brackets: 95 % intervals, by the bootstrap over photographs. n: pictures."]
    if card.summary.n_infinite.any():
        notes.append(EXACT)
    if (photographs := len(set(scored.photographs))) < len(scored.names):
        notes.append(
            f"The {len(scored.names)} pictures show {photographs} photographs; each is drawn with all its holes."
        )
    left_out = len(scored.matched.names) - len(scored.names)
    if left_out:
        notes.append(f"{left_out} more pictures were left out, as --limit asks.")
    if faults := scored.matched.faults():
        notes.append(f"Only pictures in common are scored. Left out:\n{faults}")
    if scored.changed:
        what = f"{len(scored.changed)} of {len(scored.names)} results changed known pixels, such as {scored.changed[0]}"
        notes.append(f"{what}; they are scored as they are. Saved as JPEG, or not pasted into the hole alone?")
    return notes


def _side_by_side(scored: Scored, card: Card, shown: list[str]) -> pd.DataFrame:
    lines = []
    for bucket in card.absent:
        here = [place for place, other in enumerate(scored.buckets) if bucket in (other, intervals.ALL)]
        usual = {len(here), len({scored.photographs[place] for place in here})}
        rows = card.summary[card.summary.bucket == bucket]
        cells = {_label(metric): _cell(rows[rows.metric == metric], metric, usual) for metric in shown}
        lines.append({"bucket": bucket, "n": len(here)} | cells)
    return pd.DataFrame(lines)


def _cell(row: pd.DataFrame, metric: str, usual: set[int]) -> str:
    """``mean [low, high]`` with its n where neither exact values nor several holes explain that it is not the usual."""
    if row.empty:
        return ""
    n, infinite = row.n.item(), row.n_infinite.item()
    count = f" (n = {n})" if not usual & {n, n + infinite} else ""
    return tables.spread(row, metric, bold=False)[row.bucket.item()].item() + count + exact(n, infinite)


def exact(n: int, n_infinite: int) -> str:
    r"""What a cell says of infinite values beside a mean of `n` others.

    >>> exact(5, 2), exact(5, 0), exact(0, 2)
    (' (+ 2 exact)', '', '')
    """
    return f" (+ {n_infinite} exact)" if n and n_infinite else ""


def _label(metric: str) -> str:
    """As printed, with the unit; of a distance without the dimensions of its features, where there are none."""
    try:
        found = about(metric)
    except ValueError:
        return metric.upper().replace("_", "-")
    return f"{found.label} ({found.unit})" if found.unit else found.label
