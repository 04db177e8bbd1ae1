r"""Whether one ability a method explains the votes: the deviance from a table that has a number for every pair.

.. math:: G^2 = 2 \sum_{l, r} \left( k_{lr} \log \frac{k_{lr}}{n_{lr} p_{lr}} +
    (n_{lr} - k_{lr}) \log \frac{n_{lr} - k_{lr}}{n_{lr} (1 - p_{lr})} \right)

over the cells with the left method :math:`l`, the right one :math:`r`, :math:`k` votes of :math:`n` for the left.

Taught in notebook 09.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from aotlib.study.bradley_terry import Abilities, Pairs, chance, fit, tables


class Goodness(NamedTuple):
    r"""Deviance, its degrees of freedom, and how often studies that the model made deviate as far.

    `p` takes votes as independent; `p_clustered` divides the deviance by the mean design effect of the pairs first
    (Rao and Scott, JASA 76, 1981), without which votes in clusters look like a poor fit. Both are 1 where `dof` is 0:
    a table with no more numbers than the model has nothing to deviate by.
    """

    deviance: float
    dof: int
    p: float
    p_clustered: float


def goodness(pairs: Pairs, *, design_effect: float = 1.0, n_resamples: int = 1000, seed: int = 0) -> Goodness:
    r"""How well abilities and a preference for a side fit the votes, by a parametric bootstrap.

    A small p says that the order of some methods depends on what they are compared with, so that a single scale hides
    something: look at the table of pairs then.

    Args:
        design_effect: mean of `aotlib.study.rates.preferences`.

    Taught in notebook 09.
    """
    left, right = tables(pairs)
    found = fit(left, right)
    deviance = deviances(left, right, found)[0]
    drawn = _drawn(found, (left + right)[0], n_resamples, np.random.default_rng(seed))
    refitted = deviances(*drawn, fit(*drawn))
    m = len(pairs.methods)
    dof = max(int(((left + right)[0] > 0).sum()) - m, 0)
    shares = [(1 + (refitted >= value).sum()) / (1 + n_resamples) for value in (deviance, deviance / design_effect)]
    p, p_clustered = shares if dof else (1.0, 1.0)  # of rounding errors alone
    return Goodness(max(float(deviance), 0.0), dof, float(p), float(p_clustered))


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
