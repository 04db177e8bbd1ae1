r"""Whether one ability a method explains the votes: the deviance from a table that has a number for every pair.

.. math:: G^2 = 2 \sum_{l, r} \left( k_{lr} \log \frac{k_{lr}}{n_{lr} p_{lr}} +
    (n_{lr} - k_{lr}) \log \frac{n_{lr} - k_{lr}}{n_{lr} (1 - p_{lr})} \right)

over the cells with the left method :math:`l`, the right one :math:`r`, :math:`k` votes of :math:`n` for the left. Ties
are left aside: in Davidson's model of ties (JASA 65, 1970) votes that are none follow Bradley and Terry's exactly.

Taught in notebook 09.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import xlogy

from aotlib.study.bradley_terry import Abilities, NoScale, Pairs, chance, fit, pairs_of, tables
from aotlib.study.resampling import combined, variances


class Goodness(NamedTuple):
    r"""Deviance, its degrees of freedom, and how often studies that the model made deviate as far.

    `p` takes votes as independent; `p_clustered` divides the deviance by `design_effect` first: how many times larger
    the variance of what the model leaves over is, with other raters and images, than with independent votes, at
    least 1 (Rao and Scott, JASA 76, 1981). Both p are 1 where `dof` is 0: a table with no more numbers than the model
    has nothing to deviate by. `design_effect` and `p_clustered` are nan for one rater or one image, and all but `dof`
    where votes that are no ties do not connect all methods.
    """

    deviance: float
    dof: int
    p: float
    p_clustered: float
    design_effect: float


def goodness(votes: pd.DataFrame, methods: Sequence[str], *, n_resamples: int = 1000, seed: int = 0) -> Goodness:
    r"""How well abilities and a preference for a side fit the votes, by a parametric bootstrap.

    A small p says that the order of some methods depends on what they are compared with, so that a single scale hides
    something: look at the table of pairs then.

    Args:
        votes: that count (`aotlib.study.screening.kept`); other kinds than "pair", and ties, are left aside.

    Taught in notebook 09.
    """
    votes = votes[(votes["kind"] == "pair") & (votes["choice"] != "tie")]
    pairs = pairs_of(votes, methods)
    left, right = tables(pairs)
    try:
        found, n = fit(left, right), (left + right)[0]
    except NoScale:
        return Goodness(np.nan, 0, np.nan, np.nan, np.nan)
    deviance = deviances(left, right, found)[0]
    drawn = _drawn(found, n, n_resamples, np.random.default_rng(seed))
    again = fit(*drawn)
    dof = max(int((n > 0).sum()) - len(methods), 0)
    effect = _effect(pairs, votes, found, (drawn, again), seed) if dof else 1.0
    beyond = deviances(*drawn, again)
    shares = [(1 + (beyond >= value).sum()) / (1 + n_resamples) for value in (deviance, deviance / effect)]
    p, p_clustered = shares if dof else (1.0, 1.0)  # of rounding errors alone
    p_clustered = p_clustered if np.isfinite(effect) else np.nan
    return Goodness(max(float(deviance), 0.0), dof, float(p), float(p_clustered), float(effect))


def deviances(left: np.ndarray, right: np.ndarray, found: Abilities) -> np.ndarray:
    r"""The deviance (B,) of each set of votes (B, M, M) from its own abilities.

    Taught in notebook 09.
    """
    p, n = chance(found.theta, found.side), left + right
    seen = xlogy(left, left) + xlogy(right, right) - xlogy(n, n)
    return 2 * (seen - xlogy(left, p) - xlogy(right, 1 - p)).sum((1, 2))


def _drawn(found: Abilities, n: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Votes that the model makes in as many comparisons: for the left and for the right, (count, M, M)."""
    left = rng.binomial(np.rint(n).astype(int), chance(found.theta, found.side)[0], (count, *n.shape)).astype(float)
    return left, np.rint(n) - left


def _effect(pairs: Pairs, votes: pd.DataFrame, found: Abilities, model: tuple, seed: int) -> float:
    """The variance of all residuals together with other raters and images, in that which the model gives them."""
    left, right = tables(pairs)
    p, n = chance(found.theta, found.side)[0], (left + right)[0]
    cell = n > 0
    scale = np.sqrt(n[cell] / (p * (1 - p))[cell])

    def residuals(weights: np.ndarray) -> np.ndarray:
        counts = tables(pairs, weights)
        return _residuals(*counts, fit(*counts))[:, cell] * scale

    drawn, again = model
    plain = (_residuals(*drawn, again)[:, cell] * scale).var(axis=0, ddof=1).sum()
    found = variances(residuals, votes["rater"], votes["image"], seed=seed)
    return float(np.maximum(combined(np.nansum(found, axis=1)) / plain, 1)) if np.isfinite(found).any() else np.nan


def _residuals(left: np.ndarray, right: np.ndarray, found: Abilities) -> np.ndarray:
    """Shares of votes for the left less what the abilities say (B, M, M); nan without votes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return left / (left + right) - chance(found.theta, found.side)
