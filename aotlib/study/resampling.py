r"""How far a number moves with other raters and other images: both are clusters, and votes within one are alike.

Whoever drew votes one by one would take a hundred votes of one rater for a hundred raters. Here raters are drawn with
all their votes, and images with all theirs; a variance that both share is counted once:

.. math:: V = V_{raters} + V_{images} - V_{raters \times images}

(Cameron, Gelbach and Miller, Robust Inference With Multiway Clustering, Journal of Business & Economic Statistics 29,
2011), and never less than the smaller of the first two. To draw raters and images at the same time and multiply how
often each came looks simpler, but counts the noise of a single vote three times (Owen, The Pigeonhole Bootstrap, Annals
of Applied Statistics 1, 2007): of votes without clusters such 95 % intervals held the truth in 99.9 % of studies.

The larger of the first two is no bound: where every rater sees each method as often on the left as on the right, tastes
cancel within raters, and the preference for a side varies less than images drawn on their own say.

Taught in notebook 09.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

Statistic = Callable[[np.ndarray], np.ndarray]  # how often each vote counts (B, V) -> numbers (B, K)
FEWEST = 0.5  # share of the draws in which a number has to exist


class Spread(NamedTuple):
    r"""Variances (K,) of numbers, and the degrees of freedom of Student's t that goes with them."""

    variance: np.ndarray
    dof: int

    @property
    def error(self) -> np.ndarray:
        r"""Standard errors (K,)."""
        return np.sqrt(self.variance)

    def interval(self, value: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        r"""Both ends of the interval around `value` (K,)."""
        reach = stats.t.ppf((1 + confidence) / 2, self.dof) * self.error
        return value - reach, value + reach

    def p(self, off: np.ndarray) -> np.ndarray:
        r"""How likely numbers at least as far from their null as `off` (K,) are if the null holds; two-sided."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * stats.t.sf(abs(off) / self.error, self.dof)


def two_way(
    statistic: Statistic, raters: pd.Series, images: pd.Series, *, n_resamples: int = 400, seed: int = 0
) -> Spread:
    r"""The variance of a statistic of votes with other raters and other images.

    Args:
        statistic: of weights (B, V), how often each of the votes counts: (B, K); nan where it is undefined.
        raters, images: of each vote (V,).

    A number that is undefined in more than half of the draws, and any number where there is only one rater or one
    image, has the variance nan.

    >>> votes = pd.Series([0.0, 1.0, 1.0, 1.0])
    >>> mean = lambda weights: (weights @ votes / weights.sum(1))[:, None]
    >>> two_way(mean, pd.Series(list("aabb")), pd.Series(list("xyxy"))).dof
    1

    Taught in notebook 09.
    """
    found = variances(statistic, raters, images, n_resamples=n_resamples, seed=seed)
    return Spread(combined(found), degrees(raters, images))


def degrees(raters: pd.Series, images: pd.Series) -> int:
    r"""Degrees of freedom: one less than the fewer of raters and images, at least 1.

    Taught in notebook 09.
    """
    return max(min(raters.nunique(), images.nunique()) - 1, 1)


def variances(
    statistic: Statistic, raters: pd.Series, images: pd.Series, *, n_resamples: int = 400, seed: int = 0
) -> np.ndarray:
    r"""The three variances (3, K) of `two_way`: with other raters, with other images, and with other votes.

    Taught in notebook 09.
    """
    if min(raters.nunique(), images.nunique()) < 2:
        return np.full((3, statistic(np.ones((1, len(raters)))).shape[1]), np.nan)
    drawn = draws(raters, images, n_resamples=n_resamples, seed=seed)
    return np.stack([_variance(statistic(weights)) for weights in drawn])


def combined(found: np.ndarray) -> np.ndarray:
    r"""One variance (K,) out of three (3, K).

    >>> combined(np.array([[3.0, 1.0], [2.0, 1.0], [1.0, 2.0]])).tolist()
    [4.0, 1.0]

    Taught in notebook 09.
    """
    by_rater, by_image, by_vote = found
    return np.maximum(by_rater + by_image - by_vote, np.minimum(by_rater, by_image))


def draws(raters: pd.Series, images: pd.Series, *, n_resamples: int = 400, seed: int = 0) -> Iterator[np.ndarray]:
    r"""How often each vote counts (B, V) when raters are drawn anew, then when images are, then when votes are.

    Votes of one rater on one image are drawn together.

    Taught in notebook 09.
    """
    rng = np.random.default_rng(seed)
    codes = [pd.factorize(column)[0] for column in (raters, images)]
    codes.append(pd.factorize(codes[0] * (codes[1].max(initial=0) + 1) + codes[1])[0])
    for code in codes:
        yield _drawn(code, n_resamples, rng)


def together(
    statistic: Statistic, raters: pd.Series, images: pd.Series, *, n_resamples: int = 400, seed: int = 0
) -> np.ndarray:
    r"""The statistic (B, K) of draws of raters and images at once: for numbers that jump, such as ranks of few methods.

    Its quantiles are ends of intervals that are too wide rather than too short.

    Taught in notebook 09.
    """
    rng = np.random.default_rng(seed)
    by_rater, by_image = (_drawn(pd.factorize(column)[0], n_resamples, rng) for column in (raters, images))
    weights = by_rater * by_image
    return statistic(weights[weights.any(1)])


def ends(drawn: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    r"""The quantiles between which the middle `confidence` of the numbers (B,) lies that exist; nan where none does.

    >>> ends(np.arange(101.0), 0.5), ends(np.array([np.nan]))
    ((25.0, 75.0), (nan, nan))

    Taught in notebook 09.
    """
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return np.nan, np.nan
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _drawn(code: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each vote counts (B, V) when its clusters are drawn with replacement."""
    n = code.max() + 1
    return rng.multinomial(n, np.full(n, 1 / n), n_resamples).astype(np.float64)[:, code]


def _variance(drawn: np.ndarray) -> np.ndarray:
    """Of the finite numbers in each column of `drawn` (B, K)."""
    finite = np.isfinite(drawn)
    enough = finite.mean(0) >= FEWEST
    found = np.full(drawn.shape[1], np.nan)
    found[enough] = np.nanvar(np.where(finite, drawn, np.nan)[:, enough], axis=0, ddof=1)
    return found
