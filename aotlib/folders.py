r"""Judging a folder of pictures that any program made: paired by name with true pictures and masks, and scored.

    truth/a/x.jpg    result/a/x.png    masks/a/x.png

Whatever does not fit is named, never guessed, cropped or resized: two pictures that do not belong together give a
number, too.

Taught in notebook 06.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from aotlib import metrics
from aotlib.images import find_images, image_size, read_image
from aotlib.masks import bucket_of, hole_ratio, load_mask

if TYPE_CHECKING:
    from aotlib.evaluate import Measures

SHOWN = 10  # names of each kind of misfit in an error
ORIENTATION = 0x0112  # the EXIF tag of a rotation; from 5 on it swaps height and width


class Trio(NamedTuple):
    r"""The three files of one picture."""

    truth: Path
    result: Path
    mask: Path


class Matched(NamedTuple):
    r"""What three folders have in common, by relative path without suffix, and what not.

    `names` can be scored and `files` holds their files. `missing` are true pictures without a result, `surplus` results
    without a true picture, `masks_missing` true pictures without a mask; `sizes` says of each picture whose three
    files differ in size what these are. A mask that no picture needs is no misfit.
    """

    names: list[str]
    missing: list[str]
    surplus: list[str]
    sizes: dict[str, str]
    masks_missing: list[str]
    files: dict[str, Trio]

    def faults(self) -> str:
        r"""The misfits for a person, the first ten of each kind; empty where everything fits."""
        kinds = {"true pictures without a result": self.missing, "results without a true picture": self.surplus}
        kinds["true pictures without a mask"] = self.masks_missing
        kinds["pictures of different sizes"] = [f"{name}: {sizes}" for name, sizes in self.sizes.items()]
        return "\n".join(_listed(f"{len(names)} {kind}", names) for kind, names in kinds.items() if names)


class Scored(NamedTuple):
    r"""What was measured, picture by picture, in the order of `names`.

    `images` is a long table as of `aotlib.metrics.long_table`. `changed` are the pictures whose known pixels are not
    those of the truth. `photographs` tells which true pictures are one: the name of the first with the same pixels.
    `real` and `fake` are features (N, D) of true pictures and results, None where there was no network.
    """

    images: pd.DataFrame
    changed: list[str]
    matched: Matched
    names: list[str]
    buckets: list[str]
    photographs: list[str]
    real: np.ndarray | None
    fake: np.ndarray | None


def match(truth: str | Path, result: str | Path, masks: str | Path) -> Matched:
    r"""Pair the pictures of three folders by relative path without suffix: ``b/c.jpg`` belongs to ``b/c.png``.

    Only the files' headers are read.

    Raises:
        ValueError: for a folder without pictures, two files of one name in a folder, a file that is no picture.

    Taught in notebook 06.
    """
    true, made, holes = (_by_stem(folder) for folder in (truth, result, masks))
    both = [name for name in true if name in made and name in holes]
    files = {name: Trio(true[name], made[name], holes[name]) for name in both}
    sizes = {name: text for name, trio in files.items() if (text := _different_sizes(trio))}
    return Matched(
        names=[name for name in both if name not in sizes],
        missing=[name for name in true if name not in made],
        surplus=[name for name in made if name not in true],
        sizes=sizes,
        masks_missing=[name for name in true if name not in holes],
        files={name: trio for name, trio in files.items() if name not in sizes},
    )


def _by_stem(folder: str | Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in find_images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            told = f"{folder} has both {found[name].name} and {path.name}: which of them is the picture {name}?"
            raise ValueError(f"{told} Remove or rename one")
        found[name] = path
    return dict(sorted(found.items()))


def _different_sizes(trio: Trio) -> str:
    """Text that says the width x height of each file, where they are not the same; else empty."""
    sizes = [_seen_size(path) for path in trio]
    told = [f"{kind} {width} x {height}" for kind, (height, width) in zip(Trio._fields, sizes, strict=True)]
    return ", ".join(told) if len(set(sizes)) > 1 else ""


def _seen_size(path: Path) -> tuple[int, int]:
    """(height, width) as `read_image` will give them: a rotation noted in EXIF is applied."""
    height, width = image_size(path)
    with Image.open(path) as file:
        turned = "exif" in file.info and file.getexif().get(ORIENTATION, 1) >= 5  # else a PNG is decoded to look for it
    return (width, height) if turned else (height, width)


def _listed(title: str, lines: list[str]) -> str:
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n  ".join([f"{title}:", *lines[:SHOWN], *more])


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
        ValueError: when the folders do not fit together, or a mask is refused.

    Taught in notebook 06.
    """
    matched = match(truth, result, masks)
    if (faults := matched.faults()) and not (matched_only and matched.names):
        common = f"have {len(matched.names)} pictures in common, which matched_only (--matched-only) scores"
        told = f"do not fit together; they {common if matched.names else 'have no picture in common'}"
        raise ValueError(f"truth {truth}, result {result} and masks {masks} {told}\n{faults}")
    names, rule = _spread_evenly(matched.names, limit), {"hole": hole, "max_ratio": max_ratio}
    _check_masks([matched.files[one].mask for one in names], **rule)
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


def _spread_evenly(names: list[str], limit: int | None) -> list[str]:
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: score at least one picture")
    count = len(names) if limit is None else min(limit, len(names))
    return [names[place * len(names) // count] for place in range(count)]


def _check_masks(paths: Iterable[Path], **rule) -> None:
    faults = []
    for path in tqdm(paths, desc="checking masks", disable=None, leave=False):
        try:
            load_mask(path, **rule)
        except ValueError as error:  # UnreadableImage is one
            faults.append(str(error))
    if faults:
        raise ValueError(_listed(f"{len(faults)} masks are refused", faults))


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
        self.first: dict[str, str] = {}  # SHA-256 of a true picture -> the first name that it came under

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
        pixels = hashlib.sha256(f"{tuple(true_u8.shape)}".encode() + true_u8.numpy().tobytes()).hexdigest()
        self.photographs.append(self.first.setdefault(pixels, name))

    def table(self, name: str, data: str, names: list[str]) -> pd.DataFrame:
        scores = {metric: torch.tensor(values, dtype=torch.float64) for metric, values in self.scores.items()}
        return metrics.long_table(scores, method=name, data=data, images=names, buckets=self.buckets)
