r"""Photographs in, (image, mask) samples out.

Everything random about sample `index` in epoch `epoch` is a function of (seed, epoch, index): the same
samples come with any number of worker processes, after a restart, and on another machine.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision.transforms.v2 import functional as transforms

from aotlib import quarantine as quarantine_list
from aotlib.colour import adjust_hue
from aotlib.images import (
    TarMember,
    UnreadableImage,
    centred,
    common_folder,
    find_images,
    image_size,
    name_of,
    read_image,
    to_float,
)
from aotlib.masks import MaskFile, irregular_mask, load_masks
from aotlib.shards import ShardFiles, has_shards
from aotlib.sources import DATASETS as DATASETS
from aotlib.sources import dataset_files as dataset_files
from aotlib.sources import logo_boxes as logo_boxes
from aotlib.sources import places365 as places365

JITTER = 0.05  # of brightness, contrast, saturation and hue, as in the released code


class InpaintingDataset(Dataset):
    r"""Square crops of photographs, each with a mask; `dataset[epoch, index]`, or `dataset[index]` for epoch 0.

    The header of every file is read at the start, or the index of shards. What cannot be used is not a crash but
    an entry (path, reason) in `quarantined`, and in the CSV file `quarantine` if one is named. A file that turns
    out damaged only when it is decoded is replaced by the next good one; `name` says which file a sample really shows.

    A sample is `dict(image, mask, name, index)`: image (3, S, S) in [-1, 1], mask (1, S, S) with 1 = hole.

    Args:
        images: a folder, searched with all below it, or one of shards; or a list of files, or `ShardFiles`.
        size: side S of a sample, pixels.
        seed: same seed, same samples.
        mask_ratio: hole ratio of drawn masks, a number or a range (low, high].
        masks: a folder of mask files (white = hole), or a list from `load_masks`; taken instead of drawn
            masks.
        augment: random crop, flip and colour jitter; without it shorter side to S, centre, one mask a file
            for ever.
        scale: share of the picture that a random crop covers. The released code has (0.08, 1), torchvision's
            default; where the photograph is no larger than S, that enlarges up to 4.1 times and shows blur to
            the network as if it were the truth. From 0.3 on it is 2.1 times at most.
        min_side: files whose shorter side is smaller are set aside; by default S.
        quarantine: CSV file (path, reason), written at the start and appended to; one file a data set. What an
            earlier run found damaged while decoding stays listed.
        cache_mb: decoded pictures kept in memory, MB in each worker process: a small data set is decoded once.

    Taught in notebook 01.
    """

    def __init__(
        self,
        images: str | Path | list[Path] | ShardFiles,
        *,
        size: int,
        seed: int,
        mask_ratio: float | tuple[float, float] = (0.01, 0.5),
        masks: str | Path | list[MaskFile] | None = None,
        augment: bool = True,
        scale: tuple[float, float] = (0.3, 1.0),
        min_side: int | None = None,
        quarantine: str | Path | None = None,
        cache_mb: int = 256,
    ):
        self.size, self.seed, self.mask_ratio, self.augment, self.scale = size, seed, mask_ratio, augment, scale
        self.masks = load_masks(masks) if isinstance(masks, (str, Path)) else masks
        files = _listed(images)
        self.root = images if isinstance(images, (str, Path)) else common_folder(files)
        self.quarantine = Path(quarantine) if quarantine else None
        self._kept, self._free_bytes = {}, cache_mb * 2**20
        self.files, self.quarantined = _sort_out(files, size if min_side is None else min_side)
        if self.quarantine:
            quarantine_list.begin(self.quarantine, self.quarantined, self.files)
        if not self.files:
            first = "".join(f"\n  {path}: {reason}" for path, reason in self.quarantined[:5])
            raise ValueError(f"none of the {len(files)} images can be used, first:{first}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: int | tuple[int, int]) -> dict:
        epoch, index = item if isinstance(item, tuple) else (0, item)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of a data set of {len(self)} images")
        path, picture_u8 = self._read(index)
        if self.augment:
            picture_u8 = _augment(
                picture_u8, self.size, self.scale, np.random.default_rng([self.seed, epoch, index, 3])
            )
        else:
            picture_u8 = centred(picture_u8, self.size)
        name = name_of(path, self.root)
        return dict(image=to_float(picture_u8), mask=self._mask(epoch, index), name=name, index=index)

    def _read(self, index: int) -> tuple[Path | TarMember, Tensor]:
        """The file at `index`, or the next one that can be decoded: its path and pixels (3, H, W), uint8."""
        for step in range(len(self)):
            path = self.files[(index + step) % len(self)]
            if path in self._kept:
                return path, self._kept[path]
            try:
                picture_u8 = torch.from_numpy(read_image(path)).permute(2, 0, 1)
            except UnreadableImage as error:
                self._set_aside(path, error.reason)
                continue
            if picture_u8.nbytes <= self._free_bytes:
                self._kept[path] = picture_u8
                self._free_bytes -= picture_u8.nbytes
            return path, picture_u8
        raise ValueError(f"none of the {len(self)} images can be decoded any more, last {path}; is the disk there?")

    def _set_aside(self, path: Path | TarMember, reason: str) -> None:
        if any(known == path for known, _ in self.quarantined):
            return
        self.quarantined.append((path, reason))
        if self.quarantine:
            quarantine_list.add(self.quarantine, path, reason)

    def _mask(self, epoch: int, index: int) -> Tensor:
        if self.masks is None and not self.augment:
            return irregular_mask(self.size, self.mask_ratio, seed=self.seed, index=index)
        # A stream of its own (the 1; crops have 3, the order 2): no use of the seed repeats the numbers of another.
        rng = np.random.default_rng([self.seed, epoch if self.augment else 0, index, 1])
        if self.masks is None:
            return irregular_mask(self.size, self.mask_ratio, seed=int(rng.integers(2**32)), index=index)
        mask = self.masks[rng.integers(len(self.masks))].load(self.size)
        if not self.augment:
            return mask
        # Flips and quarter turns keep the hole ratio. The released code turns by 0-45 degrees and fills the
        # corners as known: an all-white mask turned by 30 degrees keeps 84.5 % of its hole and falls out of
        # its bucket.
        mask = torch.rot90(mask, int(rng.integers(4)), (1, 2))
        return mask.flip(2) if rng.random() < 0.5 else mask


def _listed(images: str | Path | list[Path] | ShardFiles) -> list[Path] | ShardFiles:
    if isinstance(images, (str, Path)):
        return ShardFiles(images) if has_shards(images) else find_images(images)
    if isinstance(images, ShardFiles):
        return images
    return [file if isinstance(file, TarMember) else Path(file) for file in images]


def _sort_out(files: list[Path] | ShardFiles, min_side: int) -> tuple[list[Path] | ShardFiles, list[tuple[Path, str]]]:
    """Split into the files whose header promises a large enough picture and the others, with the reason."""
    if isinstance(files, ShardFiles):
        small = np.flatnonzero(files.sides < min_side)
        bad = [(files[index], _too_small(files.sides[index], min_side)) for index in small]
        return files.take(np.flatnonzero(files.sides >= min_side)), bad
    good, bad = [], []
    for path in files:
        try:
            side = min(image_size(path))
        except UnreadableImage as error:
            bad.append((path, error.reason))
            continue
        if side < min_side:
            bad.append((path, _too_small(side, min_side)))
        else:
            good.append(path)
    return good, bad


def _too_small(side: int, wanted: int) -> str:
    return f"too small: the shorter side has {side} px, wanted {wanted}"


def _augment(picture_u8: Tensor, size: int, scale: tuple[float, float], rng: np.random.Generator) -> Tensor:
    """Random crop, flip and colours: (3, H, W) -> (3, size, size), uint8."""
    top, left, height, width = _random_crop(*picture_u8.shape[1:], scale, rng)
    out = transforms.resized_crop(picture_u8, top, left, height, width, [size, size], antialias=True)
    if rng.random() < 0.5:
        out = out.flip(2)
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3)
    out = transforms.adjust_brightness(out, brightness)
    out = transforms.adjust_contrast(out, contrast)
    out = transforms.adjust_saturation(out, saturation)
    return adjust_hue(out, rng.uniform(-JITTER, JITTER))


def _random_crop(
    height: int, width: int, scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height, width of a crop: area evenly in `scale`, aspect 3/4 to 4/3; shrunk where it does not fit."""
    area = rng.uniform(*scale) * height * width
    aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    crop_height, crop_width = math.sqrt(area / aspect), math.sqrt(area * aspect)
    fit = min(1.0, height / crop_height, width / crop_width)
    crop_height, crop_width = max(1, round(crop_height * fit)), max(1, round(crop_width * fit))
    top, left = rng.integers(height - crop_height + 1), rng.integers(width - crop_width + 1)
    return int(top), int(left), crop_height, crop_width


class SampleOrder(Sampler):
    r"""Yield (epoch, index) without end: a fresh permutation of the n samples in every epoch.

    `start` samples count as used up: a run that stopped after k samples goes on with `start=k` exactly as it
    would have without the stop.

    >>> order = iter(SampleOrder(3, seed=0))
    >>> ahead = [next(order) for _ in range(5)]
    >>> sorted(ahead[:3]), [epoch for epoch, _ in ahead]
    ([(0, 0), (0, 1), (0, 2)], [0, 0, 0, 1, 1])
    >>> next(iter(SampleOrder(3, seed=0, start=4))) == ahead[4]
    True

    Taught in notebook 05.
    """

    def __init__(self, n: int, *, seed: int, start: int = 0):
        if n < 1 or start < 0:
            raise ValueError(f"SampleOrder takes n >= 1 samples and start >= 0; got n = {n}, start = {start}")
        self.n, self.seed, self.start = n, seed, start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for epoch in itertools.count(self.start // self.n):
            order = np.random.default_rng([self.seed, epoch, 2]).permutation(self.n)
            for index in order[max(0, self.start - epoch * self.n) :]:
                yield epoch, int(index)
