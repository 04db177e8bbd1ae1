r"""Judging fills: the same photographs, each with one mask of every bucket, for every method.

Notebook 06 and the card of the demo weights (``data/build_weights.py``) are measured by it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aotlib import metrics
from aotlib.fid import frechet_distance, inception_features
from aotlib.images import centred, common_folder, name_of, read_image, to_float, to_uint8
from aotlib.masks import BUCKETS, MaskFile, bucket_of, composite, irregular_mask
from aotlib.model import Generator

Fill = Callable[[Tensor, Tensor], Tensor]  # (picture (3, H, W) uint8, mask (1, H, W)) -> filled picture, uint8
HIDDEN = 127  # what stands in a hole: no method can see what it is to guess


class Case(NamedTuple):
    r"""One photograph with one hole: picture (3, S, S) uint8, mask (1, S, S) with 1 = hole."""

    name: str
    bucket: str
    picture_u8: Tensor
    mask: Tensor

    def filled(self, fill: Fill) -> Tensor:
        r"""What `fill` makes of the picture, without having seen what is under the hole: (3, S, S) uint8."""
        return fill(torch.where(self.mask > 0.5, HIDDEN, self.picture_u8), self.mask)


class Verdict(NamedTuple):
    r"""`images`: a row a (method, image, bucket, metric); `buckets`: the means of them, and the Fréchet distance."""

    images: pd.DataFrame
    buckets: pd.DataFrame


def network_fill(generator: Generator) -> Fill:
    r"""The generator as a fill: its composite, rounded to 8 bits, known pixels as they were.

    Taught in notebook 06.
    """
    device = next(generator.parameters()).device

    @torch.inference_mode()
    def fill(picture_u8: Tensor, mask: Tensor) -> Tensor:
        x, m = to_float(picture_u8)[None].to(device), mask[None].to(device)
        return to_uint8(composite(generator(x, m), x, m))[0].cpu()

    return fill


def cases(
    files: Sequence[Path],
    *,
    size: int,
    bucket: tuple[float, float],
    masks: Sequence[MaskFile] = (),
    seed: int = 0,
) -> Iterator[Case]:
    r"""Every photograph, its middle at `size`, with a mask of `bucket`: the seed and its place decide which.

    Args:
        masks: mask files, taken by their share at this size, each once before one comes again; without them masks are
            drawn.

    Raises:
        ValueError: when no mask file falls into the bucket.

    Taught in notebook 06.
    """
    name, root = bucket_of(sum(bucket) / 2), common_folder(files)
    drawn = mask_files(masks, size, bucket, seed) if masks else drawn_masks(size, bucket, seed)
    for path, mask in zip(files, drawn, strict=False):  # masks never end
        picture_u8 = centred(torch.from_numpy(read_image(path)).permute(2, 0, 1), size)
        yield Case(name_of(path, root), name, picture_u8, mask)


def drawn_masks(size: int, bucket: tuple[float, float], seed: int) -> Iterator[Tensor]:
    index = 0
    while True:
        yield irregular_mask(size, bucket, seed=seed + BUCKETS.index(bucket), index=index)
        index += 1


def mask_files(masks: Sequence[MaskFile], size: int, bucket: tuple[float, float], seed: int) -> Iterator[Tensor]:
    r"""The masks whose hole at `size` lies in `bucket`, shuffled, without end; one at a time is read."""
    rng, name = np.random.default_rng([seed, BUCKETS.index(bucket)]), bucket_of(sum(bucket) / 2)
    near = [mask for mask in masks if bucket[0] - 0.02 < mask.ratio <= bucket[1] + 0.02]  # resizing changes a share
    while True:
        found = False
        for number in rng.permutation(len(near)):
            mask = near[number].load(size)
            if bucket_of(mask.mean().item()) == name:
                found = True
                yield mask
        if not found:
            raise ValueError(f"none of the {len(masks)} masks has a hole of {name} at {size} px; add such masks")


def judge(
    methods: Mapping[str, Fill],
    files: Sequence[Path],
    *,
    size: int,
    masks: Sequence[MaskFile] = (),
    seed: int = 0,
    inception: nn.Module | None = None,
    buckets: Sequence[tuple[float, float]] = BUCKETS,
    data: str = "",
    report: Callable[[str], None] = print,
) -> Verdict:
    r"""Fill every photograph with every method in every bucket, and score the fills.

    Args:
        masks: as in `cases`.
        inception: with this network there is a column of Fréchet distances between the fills of a bucket and the
            photographs themselves; its name says how many dimensions the features have, as in ``FID-768``.
        report: called with a line whenever a bucket is done.

    Taught in notebook 06.
    """
    rows, distances, truth = [], {}, None
    for bucket in buckets:
        fills, count = {name: Features(inception) for name in methods}, 0
        photographs = Features(inception)
        for case in cases(files, size=size, bucket=bucket, masks=masks, seed=seed):
            count += 1
            if truth is None:  # the photographs are the same in every bucket
                photographs.add(case.picture_u8)
            for name, fill in methods.items():
                result = case.filled(fill)
                fills[name].add(result)
                scores = metrics.measure(result[None], case.picture_u8[None], case.mask[None])
                about = {"method": name, "data": data, "images": [case.name], "buckets": [case.bucket]}
                rows.append(metrics.long_table(scores, **about))
        if inception is not None:
            truth = photographs.all() if truth is None else truth
            distances |= {(name, case.bucket): frechet_distance(ours.all(), truth) for name, ours in fills.items()}
        report(f"judged {count} pictures with holes of {case.bucket}")
    images = pd.concat(rows, ignore_index=True)
    table = metrics.bucket_table(images)
    if inception is not None:
        table[f"FID-{truth.shape[1]}"] = [distances[key] for key in zip(table.method, table.bucket, strict=True)]
    return Verdict(images, table)


class Features:
    r"""Inception features of pictures that come one by one; no more than a batch of them is kept."""

    def __init__(self, network: nn.Module | None, batch: int = 16) -> None:
        self.network, self.batch = network, batch
        self.waiting: list[Tensor] = []
        self.found: list[np.ndarray] = []

    def add(self, picture_u8: Tensor) -> None:
        if self.network is None:
            return
        self.waiting.append(picture_u8)
        if len(self.waiting) == self.batch:
            self.compute()

    def compute(self) -> None:
        self.found.append(inception_features(self.network, torch.stack(self.waiting)))
        self.waiting = []

    def all(self) -> np.ndarray:
        r"""(N, dims) of all pictures so far."""
        if self.waiting:
            self.compute()
        return np.concatenate(self.found)
