r"""Judging fills: the same photographs, each with one mask of every bucket, for every method.

The demo weights are measured by it (``data/build_weights.py``).
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from aotlib import metrics
from aotlib.fid import frechet_distance, inception_features
from aotlib.images import read_image, to_float, to_uint8
from aotlib.masks import BUCKETS, MaskFile, bucket_of, composite
from aotlib.model import Generator

Fill = Callable[[Tensor, Tensor], Tensor]  # (picture (3, H, W) uint8, mask (1, H, W)) -> filled picture, uint8


class Case(NamedTuple):
    r"""One photograph with one hole: picture (3, S, S) uint8, mask (1, S, S) with 1 = hole."""

    name: str
    bucket: str
    picture_u8: Tensor
    mask: Tensor


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
    files: Sequence[Path], masks: Sequence[MaskFile], size: int, seed: int, bucket: tuple[float, float]
) -> Iterator[Case]:
    r"""Every photograph with a mask of `bucket`, by its share at this size: photograph i and a seed give mask j.

    The photographs' shorter side is brought to `size`, and the middle is cut out.

    Raises:
        ValueError: when no mask file falls into the bucket.
    """
    name, root = bucket_of(sum(bucket) / 2), os.path.commonpath([Path(path).absolute().parent for path in files])
    loaded = [mask.load(size) for mask in masks if bucket[0] - 0.02 < mask.ratio <= bucket[1] + 0.02]
    fitting = [mask for mask in loaded if bucket_of(mask.mean().item()) == name]
    if not fitting:
        raise ValueError(f"none of the {len(masks)} masks has a hole of {name} at {size} px; add such masks")
    drawn = np.random.default_rng([seed, BUCKETS.index(bucket)]).integers(len(fitting), size=len(files))
    for path, number in zip(files, drawn, strict=True):
        picture = transforms.resize(torch.from_numpy(read_image(path)).permute(2, 0, 1), [size], antialias=True)
        picture = transforms.center_crop(picture, [size, size])
        yield Case(Path(os.path.relpath(path, root)).as_posix(), name, picture, fitting[number])


def judge(
    methods: Mapping[str, Fill],
    files: Sequence[Path],
    masks: Sequence[MaskFile],
    *,
    size: int,
    seed: int = 0,
    inception: torch.nn.Module | None = None,
    buckets: Sequence[tuple[float, float]] = BUCKETS,
    data: str = "",
    report: Callable[[str], None] = print,
) -> pd.DataFrame:
    r"""One row a (method, bucket): n, the mean of every metric, and the Fréchet distance where a network is given.

    The distance is that between the fills of a bucket and the photographs themselves; its column says how many
    dimensions the features have, as in ``FID-768``.
    """
    rows, distances, features = [], {}, None
    for bucket in buckets:
        filled: dict[str, list[Tensor]] = {name: [] for name in methods}
        truth = []
        for case in cases(files, masks, size, seed, bucket):
            truth.append(case.picture_u8)
            for name, fill in methods.items():
                hidden = torch.where(case.mask > 0.5, 127, case.picture_u8)  # no method can see what it is to guess
                result = fill(hidden, case.mask)
                filled[name].append(result)
                scores = metrics.measure(result[None], case.picture_u8[None], case.mask[None])
                about = {"method": name, "data": data, "images": [case.name], "buckets": [case.bucket]}
                rows.append(metrics.long_table(scores, **about))
        label = case.bucket
        if inception is not None:
            if features is None:  # the photographs are the same in every bucket
                features = inception_features(inception, torch.stack(truth))
            for name, pictures in filled.items():
                ours = inception_features(inception, torch.stack(pictures))
                distances[name, label] = frechet_distance(ours, features)
        report(f"judged {len(truth)} pictures with holes of {label}")
    table = metrics.bucket_table(pd.concat(rows, ignore_index=True))
    if inception is not None:
        at = zip(table.method, table.bucket, strict=True)
        table[f"FID-{features.shape[1]}"] = [distances[key] for key in at]
    return table
