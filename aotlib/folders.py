r"""Judging a folder of pictures that any program made: paired by name with true pictures and masks, and scored.

    truth/a/x.jpg    result/a/x.png    masks/a/x.png

Taught in notebook 06.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from aotlib import lpips, metrics
from aotlib.images import image_size, read_image
from aotlib.manifest import pixels_sha256
from aotlib.masks import bucket_of, hole_ratio, load_mask
from aotlib.matching import Matched, Trio
from aotlib.matching import match as match
from aotlib.selection import spread_evenly

if TYPE_CHECKING:
    from aotlib.evaluate import Measures

SSIM_SIDE = 11  # pixels: its window
LEFT_OUT = "matched_only (--matched-only) leaves such pictures out"
WORDS = "hole= and max_ratio= are --hole and --max-ratio on the command line"


class Scored(NamedTuple):
    r"""What was measured, picture by picture, in the order of `names`.

    `images` is a long table as of `aotlib.metrics.long_table` with two columns more, `photograph` and `mask`: the first
    16 digits of the SHA-256 of the pixels of true picture and mask, which tell what is the same. `photographs` has the
    former, one a name. `changed` are the pictures whose known pixels are not those of the truth. `real` and `fake` are
    features (N, D) of true pictures and results, None where there was no network.
    """

    images: pd.DataFrame
    changed: list[str]
    matched: Matched
    names: list[str]
    buckets: list[str]
    photographs: list[str]
    real: np.ndarray | None
    fake: np.ndarray | None


def score(
    truth: str | Path,
    result: str | Path,
    masks: str | Path,
    *,
    name: str,
    data: str = "",
    matched_only: bool = False,
    limit: int | None = None,
    hole: str = "white",
    max_ratio: float = 0.6,
    measures: "Measures | None" = None,
) -> Scored:
    r"""Every picture of `result` is measured against `truth`; the share of its hole decides the bucket.

    Pictures are scored as they are, known pixels included, and `Scored.changed` names those whose known pixels are not
    those of the truth. Holes outside every bucket are of the bucket "other". One picture is in memory at a time.

    Args:
        name: what the method is called in the table; `data` what the pictures are.
        matched_only: score what the folders have in common, where they do not fit together.
        limit: so many pictures, spread evenly over the sorted names, because folders are often sorted by hole.
        hole, max_ratio: as in `aotlib.masks.load_mask`; every mask is checked before the first picture is scored.
        measures: networks for LPIPS and for the features of sets, as in `aotlib.evaluate`; without them neither.

    Raises:
        ValueError: when the folders do not fit together, or when a picture is refused: for its mask, or because it is
            too small for a metric. With `matched_only` such pictures are left out, as long as there are others.

    Taught in notebook 06.
    """
    matched = match(truth, result, masks)
    if matched.faults() and not (matched_only and matched.names):
        common = f"have {len(matched.names)} pictures in common, which matched_only (--matched-only) scores"
        fit = f"do not fit together; they {common if matched.names else 'have no picture in common'}"
        raise ValueError(f"truth {truth}, result {result} and masks {masks} {fit}\n{matched.faults()}")
    names, rule = spread_evenly(matched.names, limit, name="limit"), {"hole": hole, "max_ratio": max_ratio}
    if refused := _refused(names, matched.files, measures, **rule):
        names, matched = [one for one in names if one not in refused], matched.without(refused)
        if not (matched_only and names):
            raise ValueError("\n".join([matched.faults(), LEFT_OUT, *[WORDS] * ("hole=" in matched.faults())]))
    found, sets = _Found(measures), [measures.features() if measures else None for _ in range(2)]
    for one in tqdm(names, desc="scoring", disable=None, leave=False):  # a bar on a terminal only
        trio = matched.files[one]
        true_u8, made_u8 = _picture(trio.truth), _picture(trio.result)
        try:
            found.add(one, true_u8, made_u8, load_mask(trio.mask, **rule))
        except ValueError as error:
            raise ValueError(f"{one}: {error}") from error
        for features, picture_u8 in zip(sets, (true_u8, made_u8), strict=True):
            if features is not None:
                features.add(picture_u8)
    kept = [None if features is None else features.all() for features in sets]
    return Scored(
        found.table(name, data, names), found.changed, matched, names, found.buckets, found.photographs, *kept
    )


def _refused(names: list[str], files: dict[str, Trio], measures: "Measures | None", **rule) -> dict[str, str]:
    """Why some of the pictures cannot be scored, found out before the first one is."""
    metric, least = ("LPIPS", lpips.SMALLEST) if getattr(measures, "lpips", None) else ("SSIM", SSIM_SIDE)
    sides = {name: min(image_size(files[name].truth)) for name in names}
    refused = {
        name: f"its shorter side has {side} px; {metric} needs {least}" for name, side in sides.items() if side < least
    }
    for name in tqdm(names, desc="checking masks", disable=None, leave=False):
        try:
            load_mask(files[name].mask, **rule)
        except ValueError as error:  # UnreadableImage is one
            refused.setdefault(name, str(error))
    return refused


def _picture(path: Path) -> Tensor:
    return torch.from_numpy(read_image(path)).permute(2, 0, 1)


class _Found:
    """What `score` collects from picture to picture."""

    def __init__(self, measures: "Measures | None") -> None:
        self.measures = measures
        self.scores: dict[str, list[float]] = {}
        self.changed: list[str] = []
        self.buckets: list[str] = []
        self.photographs: list[str] = []
        self.masks: list[str] = []

    def add(self, name: str, true_u8: Tensor, made_u8: Tensor, mask: Tensor) -> None:
        if self.measures:
            scores = self.measures.of_image(made_u8, true_u8, mask)
        else:
            scores = metrics.measure(made_u8[None], true_u8[None], mask[None])
        for metric, value in scores.items():
            self.scores.setdefault(metric, []).append(value.item())
        if ((made_u8 != true_u8) & (mask == 0)).any():
            self.changed.append(name)
        self.buckets.append(bucket_of(hole_ratio(mask[None]).item()) or "other")
        pixels = hashlib.sha256(f"{tuple(true_u8.shape)}".encode() + true_u8.numpy().tobytes())
        self.photographs.append(pixels.hexdigest()[:16])
        self.masks.append(pixels_sha256(mask)[:16])

    def table(self, name: str, data: str, names: list[str]) -> pd.DataFrame:
        scores = {metric: torch.tensor(values, dtype=torch.float64) for metric, values in self.scores.items()}
        long = metrics.long_table(scores, method=name, data=data, images=names, buckets=self.buckets)
        same = {"photograph": self.photographs, "mask": self.masks}
        return long.assign(**{key: long.image.map(dict(zip(names, found, strict=True))) for key, found in same.items()})
