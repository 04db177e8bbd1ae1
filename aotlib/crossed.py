r"""Means and differences over training runs *and* images: both are samples, and either can move a result.

A method trained twice with another seed is another network, and another set of photographs gives another score. Every
run fills every image, so that values form a table of seeds by images; its variance has a part of each,

.. math:: y_{si} = \mu + a_s + b_i + e_{si}, \qquad
          \widehat{\mathrm{Var}}(\bar y) = \frac{MS_a + MS_b - MS_e}{S I},

with the mean squares of the two-way analysis of variance, and degrees of freedom by Satterthwaite (An Approximate
Distribution of Estimates of Variance Components, Biometrics Bulletin 2, 1946). With three seeds that variance is small
by chance now and then, and its degrees of freedom do not know it: Student's t over the means of the seeds, and over
those of the images, are asked too, and the widest answer counts. Taught in notebook 08.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from aotlib.comparison import holm
from aotlib.intervals import ALL, check_confidence, in_order
from aotlib.metrics import about

FEWEST = 2  # images: one says nothing of the next
NOTHING = {"low": math.nan, "high": math.nan, "n": 0, "seeds": 0, "p": math.nan}  # is known of runs not paired
SURE = 3  # seeds, from which a difference may be called significant


class Crossed(NamedTuple):
    r"""A mean over `seeds` runs and `images`, the ends of its interval, and the p of a mean of 0; nan if unknown."""

    mean: float
    low: float
    high: float
    p: float
    seeds: int
    images: int


def crossed_interval(values: np.ndarray, *, confidence: float = 0.95) -> Crossed:
    r"""The mean of `values` (seeds, images) with an interval that other seeds and other images would rarely leave.

    With one seed only the images count, and the interval is that of Student's t: what another training would have
    given is then not known. Images with a value that is not finite are left out.

    >>> crossed_interval(np.array([[1.0, 2.0, 3.0]])).mean
    2.0
    >>> crossed_interval(np.array([[1.0, 1.0], [1.0, 1.0]]))[:3]
    (1.0, 1.0, 1.0)

    Taught in notebook 08.
    """
    check_confidence(confidence)
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"values of shape {values.shape}: give a table with a row a seed and a column an image")
    values = values[:, np.isfinite(values).all(0)]
    seeds, images = values.shape
    if images < FEWEST or not seeds:
        return Crossed(*[values.mean() if values.size else math.nan, math.nan, math.nan, math.nan], seeds, images)
    mean, sources = values.mean(), _sources(values)
    error = math.sqrt(max(variance for variance, _ in sources))
    if error <= 1e-12 * abs(values).max():
        return Crossed(*map(float, (mean, mean, mean, mean == 0)), seeds, images)
    reach = max(stats.t.ppf((1 + confidence) / 2, free) * math.sqrt(variance) for variance, free in sources)
    p = max(2 * stats.t.sf(abs(mean) / math.sqrt(variance), free) for variance, free in sources if variance > 0)
    return Crossed(*map(float, (mean, mean - reach, mean + reach, p)), seeds, images)


def _sources(values: np.ndarray) -> list[tuple[float, float]]:
    """Variances of the mean of `values` (seeds, images) with their degrees of freedom: images, seeds, both."""
    seeds, images = values.shape
    rows, columns = values.mean(1), values.mean(0)
    of_images = (columns.var(ddof=1) / images, images - 1)
    if seeds == 1:
        return [of_images]
    of_seeds = (rows.var(ddof=1) / seeds, seeds - 1)
    rest = values - rows[:, None] - columns + values.mean()
    free = (seeds - 1) * (images - 1)
    of_rest = ((rest**2).sum() / free / values.size, free)
    both = of_seeds[0] + of_images[0] - of_rest[0]
    if both <= max(of_seeds[0], of_images[0]):
        return [of_images, of_seeds]
    spread = sum(variance**2 / free for variance, free in (of_seeds, of_images, of_rest))
    return [of_images, of_seeds, (both, both**2 / spread)]


def summarise_runs(long: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    r"""One row a (method, bucket, metric): mean, low, high, n (images), seeds; columns as `aotlib.intervals.summarise`.

    `long` is a table of `aotlib.evaluate.judge` with a column `seed` besides. The bucket "all" is the mean of an
    image's values in all buckets. Methods and metrics stand as they came.

    Taught in notebook 08.
    """
    rows = []
    for metric in metrics:
        for method, part in long[long.metric == metric].groupby("method", sort=False):
            for bucket, values in _tables(part).items():
                found = crossed_interval(values)
                infinite, undefined = (wrong(values).any(0).sum() for wrong in (np.isinf, np.isnan))
                row = {"method": method, "data": "", "bucket": bucket, "metric": metric, "mean": found.mean}
                row |= {"low": found.low, "high": found.high, "n": found.images, "seeds": found.seeds}
                rows.append(row | {"n_infinite": int(infinite), "n_undefined": int(undefined)})
    return pd.DataFrame(rows)


def compare_runs(long: pd.DataFrame, metric: str, *, to: str, confidence: float = 0.95) -> pd.DataFrame:
    r"""One row a method and bucket: its mean difference to the method `to`, seed by seed and image by image.

    Runs of one seed start alike (weights, order, crops, holes as far as they agree) and are therefore paired. Columns
    `method, bucket, metric, difference, low, high, n, seeds, p, p_holm, significant, better`. Only the mean over all
    holes is tested: `p_holm` is corrected for its rows (`aotlib.comparison.holm`) and missing in the buckets, which
    are shown. `significant` goes by it and asks for three seeds at least: with fewer, there is no telling a method
    from a lucky start. A method that shares no seed and image with `to` has one row, of 0 seeds, without numbers.

    Raises:
        ValueError: when `to` is not in the table, or alone in it.

    Taught in notebook 08.
    """
    rows = long[long.metric == metric]
    methods = list(rows.method.unique())
    if to not in methods or len(methods) == 1:
        raise ValueError(f"cannot compare {metric!r} to {to!r} among the methods {', '.join(methods) or 'none'}")
    base, found = rows[rows.method == to].set_index(["bucket", "seed", "image"]).value, []
    for method in methods:
        if method == to:
            continue
        values = rows[rows.method == method].set_index(["bucket", "seed", "image"]).value
        with np.errstate(invalid="ignore"):  # two infinite values have no difference
            off = (values - base).reset_index().dropna(subset="value")
        if off.empty:
            found.append({"method": method, "bucket": ALL, "metric": metric, "difference": math.nan} | NOTHING)
            continue
        for bucket, table in _tables(off).items():
            one = crossed_interval(table, confidence=confidence)
            row = {"method": method, "bucket": bucket, "metric": metric, "difference": one.mean, "low": one.low}
            found.append(row | {"high": one.high, "n": one.images, "seeds": one.seeds, "p": one.p})
    table = pd.DataFrame(found)
    table["p_holm"] = holm(table["p"].where(table["bucket"] == ALL))
    table["significant"] = (table["p_holm"] <= 1 - confidence) & (table["seeds"] >= SURE)
    wins = (table["difference"] > 0) == about(metric).higher_is_better
    table["better"] = table["method"].where(wins, to).where(table["significant"], "")
    return table


def _tables(part: pd.DataFrame) -> dict[str, np.ndarray]:
    """Values (seeds, images) by bucket, "all" last; images that a seed lacks are left out."""
    buckets = {name: rows for name, rows in part.groupby("bucket", sort=False)}
    wide = {name: buckets[name].pivot(index="seed", columns="image", values="value") for name in in_order(buckets)}
    wide[ALL] = part.groupby(["seed", "image"], sort=False).value.mean().unstack()
    return {name: table.to_numpy() for name, table in wide.items()}
