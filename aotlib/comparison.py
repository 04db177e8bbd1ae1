r"""Whether one method is better than another on the same images, or only looks so on these.

Two methods score high and low on the same images, so that their two intervals overlap even where one of them wins on
every image: the differences have to be looked at, image by image. Taught in notebook 06.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from aotlib.intervals import alike, check_confidence, draws, in_order
from aotlib.metrics import about

ROUNDING = 1e-12
FEWEST = 6  # images that ends are given for: with fewer, too many draws hold one image alone, and they fly apart


def compare(
    long: pd.DataFrame, metric: str, *, to: str, n_resamples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> pd.DataFrame:
    r"""One row a method and bucket: its mean difference to the method `to`, the interval of it, and how sure that is.

    Columns `method, bucket, metric, difference, low, high, n, p, p_holm, significant, better`. The difference is the
    other's value less that of `to`; `n` counts the images where both have a finite value, and no others are looked at.
    Interval and `p` are those of the bootstrap of Student's t

    .. math:: t^* = (\bar{d}^* - \bar{d}) / s^*, \qquad p = \frac{1 + \#\{|t^*| \ge |\bar{d}| / s\}}{1 + B}

    with the standard error :math:`s^*` of each of the :math:`B` draws (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapters 12 and 16), so that an interval leaves out 0 where its p is below 1 - `confidence`. With
    many rows some p are small by chance: `p_holm` is corrected for all rows of the table, `significant` goes by it, and
    `better` is the name of the better method of a significant row. Two images at least have to be there, or all of
    these are nan; of fewer than six the interval has no ends (nan).

    Of 2,000 tables that compare two equal methods in six buckets, 3.4 % had any significant row with 10 images each and
    4.2 % with 50; without the correction, 22 and 25 %.

    >>> values = {"ours": [30.0, 31.0, 29.0, 28.0], "grey": [20.0, 22.0, 19.0, 17.0]}
    >>> long = pd.DataFrame(values, index=["a", "b", "c", "d"]).rename_axis("image").reset_index()
    >>> long = long.melt(id_vars="image", var_name="method").assign(data="samples", bucket="1-10 %", metric="psnr")
    >>> compare(long, "psnr", to="ours")[["method", "difference", "n", "better"]].values.tolist()
    [['grey', -10.0, 4, 'ours']]

    Raises:
        ValueError: when `long` lacks the metric or `to`, has no other method, several data sets, or one value twice.

    Taught in notebook 06.
    """
    check_confidence(confidence)
    rows = _of_metric(long, metric, to)
    higher_is_better = about(metric).higher_is_better
    methods, buckets = list(rows["method"].unique()), in_order(rows["bucket"].unique())
    wide = rows.pivot(index=["bucket", "image"], columns="method", values="value")[methods]
    with np.errstate(invalid="ignore"):  # two infinite values have no difference
        differences = wide.drop(columns=to).sub(wide[to], axis=0)
    tests = {bucket: _tests(differences.loc[bucket], n_resamples, seed, confidence) for bucket in buckets}
    table = pd.concat(tests, names=["bucket"]).reset_index().assign(metric=metric)
    table["p_holm"] = holm(table["p"])
    table["significant"] = table["p_holm"] <= 1 - confidence
    wins = (table["difference"] > 0) == higher_is_better
    table["better"] = table["method"].where(wins, to).where(table["significant"], "")
    columns = ["method", "bucket", "metric", "difference", "low", "high", "n", "p", "p_holm", "significant", "better"]
    return table[columns].sort_values(
        "method", key=lambda names: names.map(methods.index), kind="stable", ignore_index=True
    )


def _of_metric(long: pd.DataFrame, metric: str, to: str) -> pd.DataFrame:
    """The rows of `metric`, once they are found to be comparable."""
    rows = long[long["metric"] == metric]
    if rows.empty:
        raise ValueError(f"the table has no {metric!r}; it has {', '.join(long['metric'].unique()) or 'no row'}")
    if rows["data"].nunique() > 1:
        sets = ", ".join(map(repr, rows["data"].unique()))
        raise ValueError(f"the table has several data sets ({sets}): compare on one, table[table['data'] == ...]")
    methods = list(rows["method"].unique())
    if to not in methods or len(methods) == 1:
        raise ValueError(f"cannot compare to {to!r} among the methods {', '.join(map(repr, methods))}: name one of two")
    if rows.duplicated(["method", "bucket", "image"]).any():
        raise ValueError(f"one image has two values of {metric!r} for one method: was a table joined twice?")
    return rows


def _tests(differences: pd.DataFrame, n_resamples: int, seed: int, confidence: float) -> pd.DataFrame:
    """A row a column of `differences` (an image a row): its mean, the ends of the interval, n and p."""
    values = differences.to_numpy(dtype=np.float64)
    finite = np.isfinite(values)
    found = np.full((values.shape[1], 4), math.nan)
    for columns, used in alike(finite):
        chosen = values[np.ix_(used, columns)]
        found[columns, 0] = chosen.mean(0)
        if len(chosen) > 1:
            found[columns, 1:] = _student(chosen, n_resamples, seed, confidence)
    table = pd.DataFrame(found, columns=["difference", "low", "high", "p"])
    return table.assign(method=differences.columns, n=finite.sum(0))


def _student(values: np.ndarray, n_resamples: int, seed: int, confidence: float) -> np.ndarray:
    """Low, high and p (k, 3) of the means of `values` (n, k) by the bootstrap of Student's t."""
    n, means = len(values), values.mean(0)
    off = values - means
    error = np.sqrt((off**2).sum(0) / (n * (n - 1)))
    equal = error <= ROUNDING * abs(values).max(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.concatenate([_t(weights, off) for weights in draws(n, n_resamples, seed)])
        t = abs(means) / error
    p = (1 + (drawn >= t * (1 - ROUNDING)).sum(0)) / (1 + n_resamples)
    reach = np.quantile(drawn, confidence, axis=0, method="higher") * error
    p[equal], reach[equal] = max(2.0 ** (1 - n), 1 / (1 + n_resamples)), 0  # as likely as n equal signs
    p[means == 0] = 1
    if n < FEWEST:
        reach[~equal] = math.nan
    reach[np.isinf(reach) | ((reach == 0) & (means != 0) & (p > 1 - confidence))] = math.nan
    return np.stack([means - reach, means + reach, p], axis=1)


def _t(weights: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Size of Student's t of each draw (b, n) from `off` (n, k), of mean 0; infinite for n times the same image."""
    n = len(off)
    moved = weights @ off / n
    spread = weights @ off**2 / n - moved**2
    scale = (off**2).max(0)
    spread = np.where(spread <= ROUNDING * scale, 0.0, spread)
    still = abs(moved) <= ROUNDING * np.sqrt(scale)  # draws of nothing but images at the mean: 0 / 0
    return np.divide(abs(moved), np.sqrt(spread / (n - 1)), out=np.zeros_like(moved), where=~still)


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    r"""Each p corrected for being one of many: the smallest times m, the next times m - 1, and so on, never above 1.

    .. math:: \tilde{p}_{(i)} = \max_{j \le i} \, \min(1, (m - j + 1) \, p_{(j)})

    Whoever calls significant what is at most 0.05 then errs in any of the m with a probability of 0.05 at most, however
    the tests depend on each other (Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal
    of Statistics 6, 1979). An undefined p stays so and does not count.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]

    Taught in notebook 06.
    """
    p = np.asarray(p, dtype=np.float64)
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"p must lie between 0 and 1, got {p[(p < 0) | (p > 1)][0]:g}")
    order = np.argsort(p)[: np.isfinite(p).sum()]  # nan stands last
    corrected = np.full_like(p, math.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return corrected
