r"""Whether raters agree: with each other about the same picture, and about the order of the methods.

Low agreement is no fault of a study: where two fills are equally good, there is nothing to agree about.

Taught in notebook 09.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from aotlib.study.bradley_terry import WON
from aotlib.study.design import TRUTH
from aotlib.study.resampling import ends

RESAMPLES = 1000


class Alpha(NamedTuple):
    r"""Krippendorff's alpha with its interval over images, and how many things were judged by two raters or more."""

    alpha: float
    low: float
    high: float
    n: int


class Concordance(NamedTuple):
    r"""How alike the raters' orders of methods are.

    Attributes:
        correlation: mean rank correlation of two raters, 0 by chance and 1 when all agree.
        w: Kendall's W; by chance it is 1 over the number of raters, and not 0.
        p: of being chance, if raters are independent: that they saw the same images makes it too small.
        n: how many raters put all methods in order.
    """

    correlation: float
    w: float
    p: float
    n: int


def alpha_of_pairs(votes: pd.DataFrame, methods: Sequence[str], *, seed: int = 0, confidence: float = 0.95) -> Alpha:
    r"""Agreement about which of two fills of a picture is better: 1 is unanimity, 0 what tossing a coin gives.

    A thing judged is an image with two methods, and a vote is "the first" or "the second". Which one is called first is
    nobody's choice: every thing is counted both ways round, which makes chance agreement that of a coin.

    Taught in notebook 09.
    """
    votes = votes[votes["kind"] == "pair"]
    place = {name: number for number, name in enumerate(methods)}
    first = np.array([place[shown[0]] < place[shown[1]] for shown in votes["shown"]], dtype=bool)
    won = votes["choice"].map(WON).to_numpy(float)
    value = np.where(first, won, 1 - won)
    thing = votes["image"] + "\n" + votes["shown"].map(lambda shown: "\n".join(sorted(shown)))
    counts = _counts(thing, value, [0.0, 0.5, 1.0])
    return _with_interval(np.concatenate([counts, counts[:, ::-1]]), _image(thing, votes, 2), seed, confidence)


def alpha_of_real(votes: pd.DataFrame, *, seed: int = 0, confidence: float = 0.95) -> Alpha:
    r"""Agreement about which pictures are real; those of the truth are left out, because all should agree on them.

    Taught in notebook 09.
    """
    votes = votes[(votes["kind"] == "real") & (votes["shown"] != (TRUTH,))]
    thing = votes["image"] + "\n" + votes["shown"].str[0]
    counts = _counts(thing, votes["choice"].to_numpy(), ["real", "fake"])
    return _with_interval(counts, _image(thing, votes, 1), seed, confidence)


def _counts(thing: pd.Series, value: np.ndarray, values: list) -> np.ndarray:
    """How often each thing got each value (U, K), things in sorted order."""
    table = pd.crosstab(thing, value).reindex(columns=values, fill_value=0).sort_index()
    return table.to_numpy(np.float64).reshape(-1, len(values))


def _image(thing: pd.Series, votes: pd.DataFrame, times: int) -> np.ndarray:
    """The number of the image of each thing in sorted order, `times` over."""
    images = votes["image"].groupby(thing).first().sort_index()
    return np.tile(pd.factorize(images)[0], times)


def krippendorff(counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    r"""Alpha for names without order, (B,), of how often each thing got each value (U, K).

    .. math:: \alpha = 1 - D_{observed} / D_{expected}

    Things judged once say nothing and are left out (Krippendorff, Content Analysis, 2004, chapter 11).

    Args:
        weights: (B, U), how often each thing counts; once, when not given.

    >>> krippendorff(np.array([[2, 0], [0, 2]])).tolist()
    [1.0]

    Taught in notebook 09.
    """
    counts = np.asarray(counts, dtype=np.float64)
    weights = np.ones((1, len(counts))) if weights is None else weights
    n = counts.sum(1)
    counts, weights, n = counts[n >= 2], weights[:, n >= 2], n[n >= 2]
    observed = weights @ ((n**2 - (counts**2).sum(1)) / (n - 1))
    totals, all_of_it = weights @ counts, weights @ n
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (all_of_it**2 - (totals**2).sum(1)) / (all_of_it - 1)
        return 1 - observed / expected


def _with_interval(counts: np.ndarray, image: np.ndarray, seed: int, confidence: float) -> Alpha:
    """Alpha, and the quantiles of it when images are drawn with all that was judged on them; none of one image."""
    judged = int((counts.sum(1) >= 2).sum()) // (2 if counts.shape[1] == 3 else 1)
    if not judged:
        return Alpha(np.nan, np.nan, np.nan, 0)
    n, rng = image.max() + 1, np.random.default_rng(seed)
    if n < 2:
        return Alpha(float(krippendorff(counts)[0]), np.nan, np.nan, judged)
    drawn = krippendorff(counts, rng.multinomial(n, np.full(n, 1 / n), RESAMPLES)[:, image].astype(float))
    return Alpha(float(krippendorff(counts)[0]), *ends(drawn, confidence), judged)


def concordance(votes: pd.DataFrame, methods: Sequence[str], *, kind: str = "pair") -> Concordance:
    r"""Kendall's W of the orders into which raters put the methods, and what it says of two of them.

    .. math:: W = \chi^2_{Friedman} / (R (M - 1)), \qquad \bar{\rho} = (R W - 1) / (R - 1)

    with R raters; the second is the mean of Spearman's correlations of all two raters (Kendall and Babington Smith,
    Annals of Mathematical Statistics 10, 1939), exactly where no rater has ties.

    A rater's order is that of the mean score of each method: the share of pairs that it won, or its mean place in the
    rankings. Raters who have not seen every method are left out. All is undefined, nan, for fewer than two raters or
    three methods, and where everybody finds all methods equal.

    Taught in notebook 09.
    """
    score = _scores(votes[votes["kind"] == kind], kind)
    wide = score.groupby(["rater", "method"])["score"].mean().unstack().reindex(columns=list(methods)).dropna()
    if len(wide) < 2 or len(methods) < 3 or not np.ptp(wide.to_numpy(), axis=1).any():
        return Concordance(np.nan, np.nan, np.nan, len(wide))
    found, n = stats.friedmanchisquare(*wide.to_numpy().T), len(wide)
    w = float(found.statistic / (n * (len(methods) - 1)))
    return Concordance((n * w - 1) / (n - 1), w, float(found.pvalue), n)


def _scores(votes: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A row a (vote, method): rater, method, and the score, higher is better."""
    rows = []
    for rater, shown, choice in zip(votes["rater"], votes["shown"], votes["choice"], strict=True):
        if kind == "pair":
            rows += [(rater, shown[0], WON[choice]), (rater, shown[1], 1 - WON[choice])]
        else:
            rows += [(rater, shown[place], -float(rank)) for rank, place in enumerate(choice)]
    return pd.DataFrame(rows, columns=["rater", "method", "score"])
