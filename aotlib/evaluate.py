r"""Judging fills: the same photographs with the same masks for every method, by every metric, with intervals.

Notebook 06 and the card of the demo weights (``data/build_weights.py``) are measured by it; pictures that another
program has made are judged by `aotlib.folders`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aotlib import distances, intervals, manifest, metrics
from aotlib.blending import blend
from aotlib.choices import check_choice
from aotlib.feature_cache import FeatureCache, Features
from aotlib.images import to_float, to_uint8
from aotlib.inception import load_inception
from aotlib.lpips import load_lpips
from aotlib.manifest import Case
from aotlib.masks import BUCKET_NAMES, BUCKETS, composite
from aotlib.padding import padded
from aotlib.weights_files import Unavailable

Fill = Callable[[Tensor, Tensor], Tensor]  # (picture (3, H, W) uint8, mask (1, H, W)) -> filled picture, uint8


class Verdict(NamedTuple):
    r"""What `judge` found.

    Attributes:
        images: a row a (method, data, bucket, image, metric): `aotlib.metrics.long_table`.
        summary: a row a (method, data, bucket, metric) with mean, low, high, n: `aotlib.intervals.summarise`, and the
            distances between sets.
        unavailable: why a metric has no number, by metric; tables print it.
    """

    images: pd.DataFrame
    summary: pd.DataFrame
    unavailable: dict[str, str]


class Measures:
    r"""The networks that metrics need, as far as their weights are at hand; `unavailable` says why others are not.

    Args:
        dims: of the Inception features, 64, 192, 768 or 2048; 0 leaves the distances between sets out.
        download: whether weights that are missing may be downloaded.
        cache: a file that keeps Inception features from one call to the next, 8 KB a picture at 2,048 dimensions.
        device: where the two networks compute.

    Taught in notebook 06.
    """

    def __init__(
        self,
        dims: int = 0,
        *,
        download: bool = False,
        cache: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.dims, self.unavailable = dims, {}
        self.network = (
            self._loaded(distances.KINDS, lambda: load_inception(dims, download).to(device)) if dims else None
        )
        self.lpips = self._loaded(("lpips",), lambda: load_lpips(download=download, device=device))
        self.cache = FeatureCache(cache) if cache and self.network is not None else None
        if not dims:
            self.unavailable |= dict.fromkeys(distances.KINDS, "not asked for")

    def _loaded(self, names: Sequence[str], load: Callable) -> Callable | None:
        try:
            return load()
        except Unavailable as reason:
            self.unavailable |= dict.fromkeys(names, str(reason))
            return None

    def of_image(self, result_u8: Tensor, truth_u8: Tensor, mask: Tensor) -> dict[str, Tensor]:
        r"""Every metric of one picture: `aotlib.metrics.measure`, and LPIPS where it can be had."""
        scores = metrics.measure(result_u8[None], truth_u8[None], mask[None])
        return scores | ({"lpips": self.lpips(result_u8[None], truth_u8[None])} if self.lpips else {})

    def features(self) -> Features | None:
        return Features(self.network, self.cache) if self.network is not None else None

    def of_sets(self, real: np.ndarray, fake: np.ndarray, seed: int) -> tuple[list[dict], dict[str, str]]:
        r"""A row of mean, low, high and n for each distance, and of those that these sets have none of, why."""
        rows, reasons = [], {}
        for kind in distances.KINDS:
            try:
                mean, low, high = distances.distance_interval(kind, real, fake, seed=seed)
                rows.append({"metric": f"{kind}_{self.dims}", "mean": mean, "low": low, "high": high, "n": len(real)})
            except ValueError as reason:
                reasons[kind] = str(reason)
        return rows, reasons


def network_fill(generator: nn.Module, *, seams: str = "paper") -> Fill:
    r"""The generator of any method as a fill of pictures of any size, rounded to 8 bits, known pixels as they were.

    Args:
        generator: has ``multiple`` and ``smallest``, the sides that it can take (`aotlib.padding.padded`).
        seams: ``"paper"`` pastes the prediction into the hole (`aotlib.masks.composite`), ``"blended"`` also takes the
            step at the hole's border out (`aotlib.blending.blend`).

    Taught in notebook 06.
    """
    device = next(generator.parameters()).device
    sides = {"multiple": generator.multiple, "smallest": generator.smallest}
    join = {"paper": composite, "blended": blend}[check_choice("seams", seams, ("paper", "blended"))]

    @torch.inference_mode()
    def fill(picture_u8: Tensor, mask: Tensor) -> Tensor:
        x, m = to_float(picture_u8)[None].to(device), mask[None].to(device)
        return to_uint8(join(padded(generator, x, m, **sides), x, m))[0].cpu()

    return fill


def judge(
    methods: Mapping[str, Fill],
    plan: pd.DataFrame,
    files_root: str | Path,
    masks_root: str | Path | None = None,
    *,
    size: int,
    measures: Measures | None = None,
    data: str = "",
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> Verdict:
    r"""Fill every photograph of a plan with every method in every bucket, and score the fills.

    One photograph is in memory at a time; what grows with their number is a row of numbers each, and its features.

    Args:
        plan: which photograph gets which mask: `aotlib.manifest.make`.
        files_root, masks_root, size: as in `aotlib.manifest.cases`.
        measures: networks for LPIPS and the distances between sets; without them those are left out.
        seed: of the bootstrap.
        report: called with a line whenever a bucket is done.

    Raises:
        ValueError: when a file is not the one that the plan was made with; when a method changed a known pixel, naming
            it: a result is a composite.

    Taught in notebook 06.
    """
    measures = measures or Measures()
    tables, sets, unavailable = [], [], dict(measures.unavailable)
    for bucket in [b for b, name in zip(BUCKETS, BUCKET_NAMES, strict=True) if name in set(plan.bucket)]:
        about = {"data": data, "bucket": manifest.bucket_name(bucket)}
        cases = manifest.cases(plan, files_root, masks_root, size=size, bucket=bucket)
        scores, features = _bucket(methods, cases, measures)
        tables += [_long(rows, method=method, **about) for method, rows in scores.items()]
        real = features.pop("", None)
        for method, ours in features.items():
            rows, reasons = measures.of_sets(real.all(), ours.all(), seed)
            sets += [{"method": method} | about | row for row in rows]
            unavailable |= reasons
        report(f"judged {len(next(iter(scores.values())))} pictures with holes of {about['bucket']}")
    images = pd.concat(tables, ignore_index=True)
    summary = intervals.summarise(images, seed=seed)
    if sets:
        summary = pd.concat([summary, pd.DataFrame(sets).assign(n_infinite=0, n_undefined=0)], ignore_index=True)
    return Verdict(images, summary, unavailable)


def _bucket(methods: Mapping[str, Fill], cases: Iterator[Case], measures: Measures) -> tuple[dict, dict]:
    """Scores of each method, a dict an image, and features of each method and, under "", of the photographs."""
    scores: dict[str, list[dict]] = {name: [] for name in methods}
    features = {name: measures.features() for name in ("", *methods)} if measures.network is not None else {}
    for case in cases:
        if features:
            features[""].add(case.picture_u8)
        for name, fill in methods.items():
            result = case.filled(fill)
            check_known(result, case, name)
            if features:
                features[name].add(result)
            found = measures.of_image(result, case.picture_u8, case.mask)
            scores[name].append({"image": case.name} | {key: value.item() for key, value in found.items()})
    return scores, features


def check_known(result_u8: Tensor, case: Case, method: str) -> None:
    r"""Refuse a result in which a pixel outside the hole differs from the photograph."""
    changed = ((result_u8 != case.picture_u8).any(0) & (case.mask[0] < 0.5)).sum().item()
    if changed:
        told = f"{method} changed {changed} known pixels of {case.name} ({case.bucket})"
        raise ValueError(f"{told}; paste its prediction into the hole alone: aotlib.masks.composite, then to_uint8")


def _long(rows: list[dict], *, method: str, data: str, bucket: str) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    scores = {key: torch.tensor(table[key].to_numpy()) for key in table.columns.drop("image")}
    return metrics.long_table(scores, method=method, data=data, images=list(table.image), buckets=[bucket] * len(table))
