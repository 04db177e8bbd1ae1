r"""Numbers of all pairs of methods together: how often each method is preferred, and how alike votes are.

Taught in notebook 09.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from aotlib.study.bradley_terry import pairs_of
from aotlib.study.rates import by_pair, group_means, shares
from aotlib.study.resampling import variances


def by_method(
    votes: pd.DataFrame, methods: Sequence[str], *, n_resamples: int = 400, seed: int = 0, confidence: float = 0.95
) -> pd.DataFrame:
    r"""A row a method: how often it was preferred in all of its comparisons, a tie half a win.

    Columns `method, votes, wins, rate, wilson_low, wilson_high, low, high, design_effect`, as in
    `aotlib.study.rates.preferences`. The share depends on whom a method is compared with, here all others about
    equally often.

    Taught in notebook 09.
    """
    votes = votes[votes["kind"] == "pair"]
    pairs = pairs_of(votes, methods)
    won, group = np.concatenate([pairs.won, 1 - pairs.won]), np.concatenate([pairs.left, pairs.right])
    twice = pd.concat([votes, votes], ignore_index=True)  # a vote counts for both of its methods
    table = shares(won, group, len(methods), twice, n_resamples, seed, confidence).drop(columns="p")
    table.insert(0, "method", list(methods))
    return table.sort_values("rate", ascending=False, kind="stable", ignore_index=True)


def likeness(votes: pd.DataFrame, methods: Sequence[str], *, n_resamples: int = 400, seed: int = 0) -> dict[str, float]:
    r"""How alike votes of one pair are within raters and within images: `raters, images`, intraclass correlations.

    .. math:: \rho = \frac{\sum (V - V_0)}{\sum (m - 1) V_0}

    over pairs, with the variance :math:`V` of a share with other raters (or images), :math:`V_0 = p(1 - p)/n`, and
    :math:`m` votes in the cluster of a vote on average; 0 where it comes out below; nan where no cluster has two votes.

    Taught in notebook 09.
    """
    votes = votes[votes["kind"] == "pair"]
    pairs = pairs_of(votes, methods)
    count = math.comb(len(methods), 2)
    group, won = by_pair(pairs)
    rate = group_means(won, group, count)
    found = variances(rate, votes["rater"], votes["image"], n_resamples=n_resamples, seed=seed)
    p = rate(np.ones((1, len(won))))[0]
    columns = {"raters": "rater", "images": "image"}
    return {
        name: _icc(p, variance, pd.crosstab(group, votes[column].to_numpy()).reindex(range(count), fill_value=0))
        for (name, column), variance in zip(columns.items(), found, strict=False)
    }


def _icc(p: np.ndarray, variance: np.ndarray, sizes: pd.DataFrame) -> float:
    """Of shares (K,), their variances (K,) with other clusters, and how many votes are in each cluster (K, C)."""
    sizes = sizes.to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        n, many = sizes.sum(1), (sizes > 0).sum(1)
        plain = p * (1 - p) / n
        beyond, room = variance * many / (many - 1) - plain, ((sizes**2).sum(1) / n - 1) * plain
    known = np.isfinite(beyond + room)
    return max(beyond[known].sum() / room[known].sum(), 0.0) if room[known].sum() > 0 else np.nan
