r"""How many votes, raters and images a study takes, computed before anyone gives time to it.

The test is the exact binomial one of a preference against one half. Votes of one rater and votes on one image are
alike, so that more of them are needed than of independent ones: by the design effect

.. math:: d = 1 + (m_r - 1) \rho_r + (m_i - 1) \rho_i

with :math:`m` votes a pair from each rater and on each image, and :math:`\rho` how alike these are (the intraclass
correlation; Kish, Survey Sampling, 1965). Taught in notebook 09.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from aotlib.study.rates import wilson

MOST = 2_000_000  # votes of a pair: beyond, a study is out of reach
CLOSEST = 0.502  # to one half: a preference that is nearer asks for more votes than MOST


class Extent(NamedTuple):
    r"""What a study takes: for each pair `votes` in all, worth `independent` ones; `raters`; the design `effect`."""

    votes: int
    independent: int
    raters: int
    effect: float


def exact_power(preference: float | np.ndarray, votes: int | np.ndarray, *, alpha: float = 0.05) -> np.ndarray:
    r"""How likely `votes` independent votes make the two-sided exact test of one half significant.

    >>> float(exact_power(0.5, 6).round(4)), float(exact_power(1.0, 6)), float(exact_power(1.0, 5))
    (0.0312, 1.0, 0.0)

    Taught in notebook 09.
    """
    votes = np.asarray(votes)
    few = stats.binom.ppf(alpha / 2, votes, 0.5)
    few = np.where(stats.binom.cdf(few, votes, 0.5) > alpha / 2, few - 1, few)  # at most so many wins are significant
    return stats.binom.cdf(few, votes, preference) + stats.binom.sf(votes - few - 1, votes, preference)


def votes_needed(preference: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    r"""Independent votes of a pair from which on the power is never below the wanted one.

    The power does not rise evenly, because votes are whole: a few more can be worth less. The normal approximation
    gives 194 for a preference of 60 %, and the exact test 210.

    >>> [votes_needed(preference) for preference in (0.55, 0.6, 0.65, 0.7)]
    [820, 210, 97, 54]

    Taught in notebook 09.
    """
    _check_preference(preference)
    _check_share("power", power)
    _check_share("alpha", alpha)
    about = approximate_votes(preference, power=power, alpha=alpha)
    counts = np.arange(1, 2 * about + 60)
    too_weak = counts[exact_power(preference, counts, alpha=alpha) < power]
    return int(too_weak.max()) + 1


def approximate_votes(preference: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    r"""The same by the normal approximation that most textbooks give.

    .. math:: n = \left( \frac{z_{1-\alpha/2} / 2 + z_{power} \sqrt{p (1 - p)}}{p - 1/2} \right)^2

    >>> [approximate_votes(preference) for preference in (0.55, 0.6, 0.65, 0.7)]
    [783, 194, 85, 47]

    Taught in notebook 09.
    """
    spread = stats.norm.ppf(1 - alpha / 2) / 2 + stats.norm.ppf(power) * math.sqrt(preference * (1 - preference))
    return math.ceil((spread / (preference - 0.5)) ** 2)


def votes_for_precision(half_width: float, *, preference: float = 0.5, confidence: float = 0.95) -> int:
    r"""Independent votes of a pair with which Wilson's interval reaches at most `half_width` to either side on average.

    >>> votes_for_precision(0.05), votes_for_precision(0.1)
    (381, 93)

    Taught in notebook 09.
    """
    if not 0 < half_width < 0.5:
        raise ValueError(
            f"half_width is {half_width}: give a share between 0 and 0.5, like 0.05 for 5 percentage points"
        )

    def wide(n: int) -> bool:
        low, high = wilson(preference * n, n, confidence=confidence)
        return high - low > 2 * half_width

    enough = 1
    while wide(enough):
        enough *= 2
    few = enough // 2
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (middle, enough) if wide(middle) else (few, middle)
    return enough


def extent(
    independent: int,
    *,
    n_methods: int,
    n_images: int,
    trials: int,
    rater_icc: float = 0.05,
    image_icc: float = 0.1,
    lost: float = 0.1,
) -> Extent:
    r"""Votes and raters that are worth so many independent votes for each pair of methods.

    Args:
        trials: comparisons a rater makes, catch and practice trials not counted.
        rater_icc, image_icc: how alike votes on one pair are within a rater and within an image; a pilot study tells
            (`aotlib.study.pooled.likeness`).
        lost: share of raters that the rule of the plan will leave out.

    Raises:
        ValueError: when no number of raters is enough for so few images.

    Taught in notebook 09.
    """
    _check_icc(rater_icc, image_icc, lost)
    n_pairs = math.comb(n_methods, 2)
    if n_pairs < 1 or n_images < 1 or trials < 1:
        raise ValueError(f"{n_methods} methods, {n_images} images, {trials} trials: two methods are compared at least")
    by_rater = max(trials / n_pairs, 1)  # votes of one rater on one pair
    most = n_images / image_icc if image_icc else math.inf
    if independent >= most:
        told = f"{n_images} images are never worth more than {most:.0f} independent votes of a pair"
        raise ValueError(f"{told}, and {independent} are needed: take more than {independent * image_icc:.0f} images")
    effect_of_raters = 1 + (by_rater - 1) * rater_icc
    votes = math.ceil(independent * max(effect_of_raters - image_icc, 1 - image_icc) / (1 - independent / most))
    votes = max(votes, math.ceil(independent * effect_of_raters))  # an image with less than one vote is no cluster
    raters = math.ceil(votes * n_pairs / trials / (1 - lost))
    effect = effect_of_raters + max(votes / n_images - 1, 0) * image_icc
    return Extent(votes, independent, raters, effect)


def table(
    preferences: Sequence[float] = (0.55, 0.6, 0.65, 0.7, 0.75),
    *,
    n_methods: int,
    n_images: int,
    trials: int,
    power: float = 0.8,
    alpha: float = 0.05,
    rater_icc: float = 0.05,
    image_icc: float = 0.1,
    lost: float = 0.1,
) -> pd.DataFrame:
    r"""A row a preference: what it takes to find it, `preference, independent, half_width, votes, design_effect,
    raters, votes_all, raters_all, note`.

    `votes` and `raters` are for one pair that was named beforehand; with `votes_all` and `raters_all` it is found among
    all pairs of methods, at `alpha` divided by how many these are, which is the first step of Holm's correction.
    `half_width` is that of Wilson's interval with so many independent votes. Where no number of raters suffices the
    numbers of votes and raters are missing and `note` says how many images it takes.

    Taught in notebook 09.
    """
    rule = {"n_methods": n_methods, "n_images": n_images, "trials": trials}
    rule |= {"rater_icc": rater_icc, "image_icc": image_icc, "lost": lost}
    rows = []
    for preference in preferences:
        alone, among = (
            votes_needed(preference, power=power, alpha=level) for level in (alpha, alpha / math.comb(n_methods, 2))
        )
        low, high = wilson(preference * alone, alone)
        every = _asked(among, rule)
        row = {"preference": preference, "independent": alone, "half_width": float(high - low) / 2}
        row |= _asked(alone, rule) | {"votes_all": every["votes"], "raters_all": every["raters"]}
        row["note"] = row["note"] or every["note"] and f"all pairs: {every['note']}"
        rows.append(row)
    columns = ["preference", "independent", "half_width", "votes", "design_effect", "raters", "votes_all", "raters_all"]
    return _whole(pd.DataFrame(rows, columns=[*columns, "note"]))


def precision_table(
    half_widths: Sequence[float],
    *,
    n_methods: int,
    n_images: int,
    trials: int,
    preference: float = 0.5,
    rater_icc: float = 0.05,
    image_icc: float = 0.1,
    lost: float = 0.1,
) -> pd.DataFrame:
    r"""A row a wanted half-width of the 95 % interval: `half_width, independent, votes, design_effect, raters, note`.

    Args:
        preference: the share that is expected; one half, which takes most votes, when not given.

    Taught in notebook 09.
    """
    rule = {"n_methods": n_methods, "n_images": n_images, "trials": trials}
    rule |= {"rater_icc": rater_icc, "image_icc": image_icc, "lost": lost}
    rows = []
    for half_width in half_widths:
        independent = votes_for_precision(half_width, preference=preference)
        rows.append({"half_width": half_width, "independent": independent} | _asked(independent, rule))
    columns = ["half_width", "independent", "votes", "design_effect", "raters", "note"]
    return _whole(pd.DataFrame(rows, columns=columns))


def _asked(independent: int, rule: dict) -> dict:
    """Votes, design effect and raters of `extent`; missing, with a note, where there are too few images."""
    if independent * rule["image_icc"] >= rule["n_images"]:
        note = f"more than {independent * rule['image_icc']:.0f} images"
        return {"votes": None, "design_effect": math.nan, "raters": None, "note": note}
    found = extent(independent, **rule)
    return {"votes": found.votes, "design_effect": found.effect, "raters": found.raters, "note": ""}


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: "Int64" for name in table.columns if name.startswith(("votes", "raters"))})


def _check_preference(preference: float) -> None:
    if not CLOSEST <= preference < 1:
        told = f"preference is {preference}: give the share of votes for the better fill"
        raise ValueError(f"{told}, from {CLOSEST} to below 1; nearer to one half nobody can tell")


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}: give a share between 0 and 1, like 0.8")


def _check_icc(rater_icc: float, image_icc: float, lost: float) -> None:
    for name, value in {"rater_icc": rater_icc, "image_icc": image_icc, "lost": lost}.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value}: give a share from 0 to below 1")
