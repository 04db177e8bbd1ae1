r"""Which fills are shown, and what is shown of them: chosen by rules, so that nobody picks the pretty ones.

`ranked`, `spread_of` and `failures` choose rows of a long table (`aotlib.metrics.long_table`); `error_map`, `heat`,
`busiest` and `enlarged` make the pictures that stand beside a fill. Taught in notebook 06.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from aotlib.images import to_float
from aotlib.metrics import about


class Chosen(NamedTuple):
    r"""One fill that a rule chose: where it stands (such as "worst"), of which photograph and bucket, and its value."""

    place: str
    image: str
    bucket: str
    value: float


def ranked(long: pd.DataFrame, *, method: str, metric: str, bucket: str | None = None) -> pd.DataFrame:
    r"""The fills of one method from best to worst by one metric; equal values in the order of their names.

    Raises:
        ValueError: when the table has no such rows, naming what it has.

    Taught in notebook 06.
    """
    rows = long[(long.method == method) & (long.metric == metric)]
    if bucket is not None:
        rows = rows[rows.bucket == bucket]
    rows = rows.dropna(subset="value")
    if rows.empty:
        known = {key: sorted(long[key].unique()) for key in ("method", "metric", "bucket")}
        raise ValueError(f"no value of {metric} for {method!r} with holes of {bucket or 'any size'}; there are {known}")
    by_value = rows.value * (-1 if about(metric).higher_is_better else 1)
    return rows.assign(order=by_value).sort_values(["order", "image", "bucket"]).drop(columns="order")


def spread_of(long: pd.DataFrame, *, method: str, metric: str, bucket: str) -> list[Chosen]:
    r"""The best, the median and the worst fill of a method in one bucket; of an even number the better middle one.

    >>> rows = [("ours", "cats", "1-10 %", name, "l1", value) for name, value in (("a", 0.3), ("b", 0.1), ("c", 0.2))]
    >>> long = pd.DataFrame(rows, columns=["method", "data", "bucket", "image", "metric", "value"])
    >>> [(one.place, one.image) for one in spread_of(long, method="ours", metric="l1", bucket="1-10 %")]
    [('best', 'b'), ('median', 'c'), ('worst', 'a')]

    Taught in notebook 06.
    """
    rows = ranked(long, method=method, metric=metric, bucket=bucket)
    places = {"best": 0, "median": (len(rows) - 1) // 2, "worst": len(rows) - 1}
    return [_chosen(place, rows.iloc[number]) for place, number in places.items()]


def failures(long: pd.DataFrame, *, method: str, metric: str, n: int, buckets: Sequence[str] = ()) -> list[Chosen]:
    r"""The `n` worst fills of a method, worst first, one of each photograph so that one cannot fill the gallery.

    Taught in notebook 06.
    """
    rows = ranked(long[long.bucket.isin(buckets)] if len(buckets) else long, method=method, metric=metric)
    worst = rows.iloc[::-1].drop_duplicates("image").head(n)
    return [_chosen(f"worst {number}", row) for number, (_, row) in enumerate(worst.iterrows(), 1)]


def _chosen(place: str, row: pd.Series) -> Chosen:
    return Chosen(place, row.image, row.bucket, float(row.value))


def error_map(result_u8: Tensor, truth_u8: Tensor) -> Tensor:
    r"""Absolute error at every pixel, mean of R, G and B: (1, H, W) in [0, 1], 0 where nothing was changed.

    >>> black = torch.zeros(3, 1, 2, dtype=torch.uint8)
    >>> error_map(black + 51, black).tolist()
    [[[0.20000000298023224, 0.20000000298023224]]]

    Taught in notebook 06.
    """
    return (result_u8.float() - truth_u8.float()).abs().mean(0, keepdim=True) / 255


def heat(values: Tensor, high: float) -> Tensor:
    r"""Values (1, H, W) as a picture (3, H, W) in [-1, 1] whose colours brighten from 0 to `high`, and stay there.

    The map is viridis: its brightness grows evenly, so that it can be read in grey and by the colour-blind.

    Taught in notebook 06.
    """
    if high <= 0:
        raise ValueError(f"the brightest colour stands for {high}; it must be above 0")
    colours = mpl.colormaps["viridis"]((values[0] / high).clamp(0, 1).cpu().numpy())[..., :3]
    return torch.from_numpy(np.ascontiguousarray(colours)).permute(2, 0, 1).float() * 2 - 1


def busiest(values: Tensor, side: int) -> tuple[int, int]:
    r"""Top and left of the square of `side` px in which the mean of `values` (1, H, W) is highest; the first of equals.

    >>> values = torch.zeros(1, 6, 8)
    >>> values[0, 2, 5] = 1
    >>> busiest(values, 2)
    (1, 4)

    Taught in notebook 06.
    """
    height, width = values.shape[-2:]
    if not 0 < side <= min(height, width):
        raise ValueError(f"a square of {side} px does not fit into {height} x {width}")
    means = F.avg_pool2d(values[None].double(), side, stride=1)[0, 0]
    place = int(means.argmax())
    return place // means.shape[1], place % means.shape[1]


def enlarged(picture_u8: Tensor, corner: tuple[int, int], side: int) -> Tensor:
    r"""The square at `corner` (top, left) of a picture (3, H, W), uint8, at the picture's size: each pixel a square.

    In [-1, 1], ready for `aotlib.figures.grid`. Nothing is smoothed: seams are what it is to show.

    Taught in notebook 06.
    """
    top, left = corner
    cut = to_float(picture_u8[:, top : top + side, left : left + side])
    return F.interpolate(cut[None], picture_u8.shape[-2:], mode="nearest")[0]
