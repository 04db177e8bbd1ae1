r"""The difference of two shares of clustered votes, with an interval that unanimous votes do not make a point.

From the intervals :math:`[l_1, u_1]` and :math:`[l_2, u_2]` of two shares and their correlation :math:`r`

.. math:: p_1 - p_2 - \sqrt{(p_1 - l_1)^2 + (u_2 - p_2)^2 - 2 r (p_1 - l_1)(u_2 - p_2)}

is the lower end (Newcombe, Statistics in Medicine 17, 1998, of Wilson's intervals; with a correlation Zou and Donner,
Statistics in Medicine 27, 2008). Taught in notebook 09.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

FURTHEST, HALVINGS = 30.0, 60  # quantiles looked at for p, and how often the range is halved


class Share(NamedTuple):
    r"""Wins and votes of shares (K,), both divided by the design effect where votes come in clusters."""

    wins: np.ndarray
    n: np.ndarray


def difference(
    one: Share, other: Share, r: np.ndarray | float = 0.0, *, confidence: float = 0.95, dof: float = np.inf
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Both ends of the interval of `one` less `other`, and p of their being equal: (K,) each, nan without votes.

    p is 1 less the confidence at which an end of the interval is 0, so that interval and test agree.

    Args:
        r: correlation of the two shares, (K,).
        dof: degrees of freedom of Student's t.

    >>> low, high, p = difference(Share(np.array([20.0]), np.array([20.0])), Share(np.array([0.0]), np.array([20.0])))
    >>> [round(float(number[0]), 3) for number in (low, high)], bool(p[0] > 0)
    ([0.772, 1.0], True)

    Taught in notebook 09.
    """
    low, high = _ends(one, other, r, stats.t.ppf((1 + confidence) / 2, dof))
    return low, high, 2 * stats.t.sf(_edge(one, other, r), dof)


def correlation(variance: np.ndarray, other: np.ndarray, of_difference: np.ndarray) -> np.ndarray:
    r"""The correlation of two shares from their variances and that of their difference; 0 where it is undefined.

    >>> correlation(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([1.0, 1.0])).tolist()
    [0.5, 0.0]

    Taught in notebook 09.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (variance + other - of_difference) / (2 * np.sqrt(variance * other))
    return np.clip(np.where(np.isfinite(found), found, 0), -0.9, 0.9)


def _ends(one: Share, other: Share, r: np.ndarray | float, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = one.wins / one.n, other.wins / other.n
        (a_low, a_high), (b_low, b_high) = (
            proportion_confint(wins, n, alpha=2 * stats.norm.sf(z), method="wilson") for wins, n in (one, other)
        )
    low = a - b - _length(a - a_low, b_high - b, r)
    return low, a - b + _length(a_high - a, b - b_low, r)


def _length(x: np.ndarray, y: np.ndarray, r: np.ndarray | float) -> np.ndarray:
    return np.sqrt(np.maximum(x**2 + y**2 - 2 * r * x * y, 0))


def _edge(one: Share, other: Share, r: np.ndarray | float) -> np.ndarray:
    """The quantile at which the interval just reaches 0, or `FURTHEST`."""
    few, many = np.zeros(len(one.wins)), np.full(len(one.wins), FURTHEST)
    for _ in range(HALVINGS):
        middle = (few + many) / 2
        low, high = _ends(one, other, r, middle)
        reached = (low <= 0) & (high >= 0)
        few, many = np.where(reached, few, middle), np.where(reached, middle, many)
    return np.where(np.isfinite(low + high), many, np.nan)
