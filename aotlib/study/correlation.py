r"""Whether a metric sees what people see: over methods, and, with many more points, over pairs of fills of one picture.

Metrics are turned so that higher is better: a correlation of 1 is perfect agreement for L1 as for PSNR.

Taught in notebook 09.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.sparse import coo_array

from aotlib.metrics import about
from aotlib.study import bradley_terry
from aotlib.study.bradley_terry import NoScale, Pairs
from aotlib.study.resampling import ends, together, two_way

FURTHEST = 0.999999  # a correlation of 1 has no Fisher transform
DIGITS = 9  # of a metric: beyond, a difference is rounding


def metric_table(long: pd.DataFrame, plan: dict) -> pd.DataFrame:
    r"""A row an (image, method), a column a metric, higher is better, of the images and methods of the plan.

    Args:
        long: of `aotlib.metrics.long_table`: what ``aotlib evaluate --images`` wrote. Images are matched by name
            without suffix; one with several holes counts with its mean.

    Raises:
        ValueError: when the table lacks an image of a method, naming some.

    Taught in notebook 09.
    """
    if lacking := {"method", "image", "metric", "value"} - set(long.columns):
        told = f"the table of metrics has no column {', '.join(sorted(lacking))}"
        raise ValueError(f"{told}; give one of `aotlib evaluate --images`")
    rows = long[long["method"].isin(plan["methods"])]
    names = rows["image"].astype(str).str.replace(r"\.\w{2,5}$", "", regex=True)
    wide = rows.assign(image=names).pivot_table(index=["image", "method"], columns="metric", values="value", sort=False)
    wanted = pd.MultiIndex.from_product([plan["images"], plan["methods"]], names=["image", "method"])
    if len(missing := wanted.difference(wide.index)):
        told = ", ".join(f"{image} of {method}" for image, method in missing[:5])
        raise ValueError(f"the table of metrics lacks {len(missing)} of {len(wanted)} fills, first: {told}")
    wide = wide.reindex(wanted)
    return wide * [1 if about(metric).higher_is_better else -1 for metric in wide.columns]


def with_metrics(
    votes: pd.DataFrame, metrics: pd.DataFrame, methods: Sequence[str], *, n_resamples: int = 200, seed: int = 0
) -> pd.DataFrame:
    r"""A row a (metric, level): `metric, level, n, spearman, low, high, kendall`, and `agreement` with its two ends.

    At the level "methods" abilities are held against mean metrics, `n` methods; at "fills" the share of votes for one
    of two fills of a picture against the difference of their metric, `n` pairs of fills, each counted both ways round.
    `agreement` is the share of votes for the fill that the metric prefers, half of them where it prefers none.
    Intervals draw raters and images anew (`aotlib.study.resampling`); over methods they are wide, and do not say what
    *other methods* would give; one rater or one image gives none. Images for which a metric is infinite or undefined
    are left out of its rows; a metric without any other image has none, and one whose images do not connect all methods
    has no row "methods".

    Args:
        metrics: of `metric_table`.

    Taught in notebook 09.
    """
    votes = votes[votes["kind"] == "pair"]
    rows = []
    for metric in metrics.columns:
        of_image = metrics[metric].unstack("method")[list(methods)]
        usable = of_image.index[np.isfinite(of_image).all(axis=1)]
        part = votes[votes["image"].isin(usable)]
        level = of_image.reindex(part["image"]).to_numpy()  # (V, M): of the image of each vote
        for name, found in _levels(bradley_terry.pairs_of(part, methods), level, part["image"]).items():
            rows.append({"metric": metric, "level": name} | _row(found, part, n_resamples, seed))
    columns = ["metric", "level", "n", "spearman", "low", "high", "kendall", "agreement", "agreement_low"]
    return pd.DataFrame(rows, columns=[*columns, "agreement_high"])


def _levels(pairs: Pairs, level: np.ndarray, images: pd.Series) -> "dict[str, _Methods | _Fills]":
    """What can be held against a metric that is `level` (V, M) on the image of each vote."""
    if images.empty:
        return {}
    try:
        return {"methods": _Methods(pairs, level), "fills": _Fills(pairs, level, images)}
    except NoScale:
        return {"fills": _Fills(pairs, level, images)}


def _row(found: "_Methods | _Fills", votes: pd.DataFrame, n_resamples: int, seed: int) -> dict:
    value = found(np.ones((1, len(votes))))[0]
    clusters = {"raters": votes["rater"], "images": votes["image"], "n_resamples": n_resamples, "seed": seed}
    row = {"n": found.n, "spearman": value[0], "kendall": found.kendall()}
    if isinstance(found, _Methods):
        few = min(votes["rater"].nunique(), votes["image"].nunique()) < 2
        low, high = (np.nan, np.nan) if few else ends(together(found, **clusters)[:, 0])
        return row | {"low": low, "high": high}
    low, high = two_way(found, **clusters).interval(value)
    fisher = {"spearman": np.tanh(value[0]), "low": np.tanh(low[0]), "high": np.tanh(high[0])}
    return row | fisher | {"agreement": value[1], "agreement_low": low[1], "agreement_high": high[1]}


class _Methods:
    """Abilities against mean metrics: of weights (B, V) Spearman's correlation (B, 1)."""

    def __init__(self, pairs: Pairs, level: np.ndarray) -> None:
        self.pairs, self.level, self.n = pairs, level, level.shape[1]
        self.found = self.both(np.ones((1, len(level))))  # raises NoScale

    def both(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        theta = bradley_terry.fit(*bradley_terry.tables(self.pairs, weights)).theta
        return theta, weights @ self.level / weights.sum(1, keepdims=True)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        ranks = [stats.rankdata(values.round(DIGITS), axis=1) for values in self.both(weights)]
        return np.array([[_correlation(*row, np.ones(self.n))] for row in zip(*ranks, strict=True)])

    def kendall(self) -> float:
        return _kendall(*(numbers[0].round(DIGITS) for numbers in self.found))


class _Fills:
    """Shares of votes against differences of a metric: (B, 2), Fisher's transform of Spearman's, and the agreement."""

    def __init__(self, pairs: Pairs, level: np.ndarray, images: pd.Series) -> None:
        rows = np.arange(len(level))
        low, high = np.minimum(pairs.left, pairs.right), np.maximum(pairs.left, pairs.right)
        off = (level[rows, low] - level[rows, high]).round(DIGITS)
        self.won = np.where(pairs.left == low, pairs.won, 1 - pairs.won)
        self.agrees = np.where(off > 0, self.won, np.where(off < 0, 1 - self.won, 0.5))
        names = pd.Series(list(zip(images, low, high, strict=True)))
        self.cell, _ = pd.factorize(names)
        self.n = self.cell.max(initial=-1) + 1
        first = np.unique(self.cell, return_index=True)[1]
        self.off = np.concatenate([off[first], -off[first]])

    def shares(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The share of each pair of fills, both ways round, and its weight: (B, 2 n)."""
        sums = coo_array(
            (np.ones(len(self.cell)), (self.cell, np.arange(len(self.cell)))), shape=(self.n, len(self.cell))
        )
        total = (sums.tocsr() @ weights.T).T
        share = np.divide(
            (sums.tocsr() @ (weights * self.won).T).T, total, out=np.full_like(total, 0.5), where=total > 0
        )
        return np.concatenate([share, 1 - share], axis=1), np.concatenate([total, total], axis=1)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        rows = zip(*self.shares(weights), strict=True)
        rho = [_correlation(_ranks(self.off, total), _ranks(share, total), total) for share, total in rows]
        return np.stack([_fisher(np.array(rho)), weights @ self.agrees / weights.sum(1)], axis=1)

    def kendall(self) -> float:
        share, _ = self.shares(np.ones((1, len(self.cell))))
        return _kendall(self.off, share[0])


def _kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau; nan where one of them is constant."""
    return np.nan if np.ptp(x) == 0 or np.ptp(y) == 0 else float(stats.kendalltau(x, y).statistic)


def _fisher(rho: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(rho, -FURTHEST, FURTHEST))


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weight below each value, and half of the weight of equal ones: with weights of 1, ranks less one half."""
    _, place = np.unique(values, return_inverse=True)
    of_value = np.bincount(place, weights)
    return (np.cumsum(of_value) - of_value / 2)[place]


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Pearson's, weighted; nan where one of them is constant."""
    x, y = x - np.average(x, weights=weights), y - np.average(y, weights=weights)
    scale = np.sqrt((weights * x**2).sum() * (weights * y**2).sum())
    return float((weights * x * y).sum() / scale) if scale > 0 else np.nan
