"""The power calculator: against enumeration, published numbers, and simulated studies of the size that it asks for."""

import math

import numpy as np
import pytest
from scipy import stats

from aotlib.study import power


@pytest.mark.parametrize("n", [1, 5, 6, 17, 40])
@pytest.mark.parametrize("preference", [0.5, 0.6, 0.83])
def test_power_is_the_sum_over_all_outcomes(n, preference):
    """Every number of wins, asked one by one whether scipy's exact test calls it significant."""
    expected = sum(
        math.comb(n, k) * preference**k * (1 - preference) ** (n - k)
        for k in range(n + 1)
        if stats.binomtest(k, n).pvalue <= 0.05
    )
    assert power.exact_power(preference, n) == pytest.approx(expected, abs=1e-12)


def test_the_normal_approximation_gives_the_textbooks_numbers():
    assert [power.approximate_votes(p) for p in (0.55, 0.6, 0.65, 0.7)] == [783, 194, 85, 47]


@pytest.mark.parametrize("preference, wanted", [(0.6, 0.8), (0.75, 0.9), (0.95, 0.8)])
def test_from_the_number_needed_on_power_never_falls_short(preference, wanted):
    n = power.votes_needed(preference, power=wanted)
    assert (power.exact_power(preference, np.arange(n, 3 * n)) >= wanted).all()
    assert power.exact_power(preference, n - 1) < wanted


def test_votes_for_precision_are_the_fewest():
    for half_width in (0.05, 0.1, 0.2):
        n = power.votes_for_precision(half_width)
        reach = [np.subtract(*reversed(power.wilson(votes / 2, votes))) / 2 for votes in (n, n - 1)]
        assert reach[0] <= half_width < reach[1]


def simulated_power(found: power.Extent, preference: float, n_images: int, rng, *, rater_icc: float, image_icc: float):
    """How often a z-test with the design effect finds the preference in studies with raters and images that differ.

    Rater and image move the probability of a vote by normal amounts of variance icc * p (1 - p).
    """
    votes, scale = found.votes, preference * (1 - preference)
    n_raters = math.ceil(votes / 4)  # four votes of each rater on the pair
    significant = []
    for _ in range(600):
        rater = np.arange(votes) % n_raters
        image = rng.permutation(votes) % n_images
        off = rng.normal(0, math.sqrt(rater_icc * scale), n_raters)[rater]
        off += rng.normal(0, math.sqrt(image_icc * scale), n_images)[image]
        rate = (rng.random(votes) < np.clip(preference + off, 0, 1)).mean()
        significant.append(abs(rate - 0.5) > 1.96 * math.sqrt(0.25 * found.effect / votes))
    return np.mean(significant)


@pytest.mark.parametrize("rater_icc, image_icc", [(0.0, 0.0), (0.1, 0.05)])
def test_a_study_of_the_computed_size_has_the_power(rater_icc, image_icc):
    """600 studies: the standard error of a power of 0.8 is 0.016; the exact and the simulated test differ by 0.02."""
    rng = np.random.default_rng(0)
    independent = power.votes_needed(0.65)
    rule = {"rater_icc": rater_icc, "image_icc": image_icc}
    found = power.extent(independent, n_methods=2, n_images=40, trials=4, **rule)
    got = simulated_power(found, 0.65, 40, rng, **rule)
    assert got == pytest.approx(0.82, abs=0.065)
    if rater_icc:  # as many votes as independent ones would do are too few
        few = found._replace(votes=independent, effect=1 + 3 * rater_icc + (independent / 40 - 1) * image_icc)
        assert simulated_power(few, 0.65, 40, rng, **rule) < 0.75


def test_the_design_effect_is_the_formulas():
    found = power.extent(97, n_methods=4, n_images=30, trials=12, rater_icc=0.1, image_icc=0.05, lost=0.2)
    expected = 1 + (12 / 6 - 1) * 0.1 + (found.votes / 30 - 1) * 0.05
    assert found.effect == pytest.approx(expected)
    assert found.votes / found.effect == pytest.approx(97, rel=0.02)  # votes are whole
    assert found.raters == math.ceil(found.votes * 6 / 12 / 0.8)


def test_a_study_of_the_wanted_precision_has_it():
    """Of votes in clusters that are worth so many independent ones Wilson's interval has the half-width."""
    size = {"n_methods": 3, "n_images": 200, "trials": 30}
    for row in power.precision_table((0.06, 0.1), **size).itertuples():
        low, high = power.wilson(row.votes / row.design_effect / 2, row.votes / row.design_effect)
        assert (high - low) / 2 == pytest.approx(row.half_width, rel=0.01)
        assert row.raters >= row.votes * 3 / 30
    assert power.precision_table((0.02,), **size)["note"].item() == "more than 240 images"


def test_too_few_images_are_named():
    with pytest.raises(ValueError, match="take more than 82 images"):
        power.extent(820, n_methods=4, n_images=60, trials=40, image_icc=0.1)
    table = power.table((0.55, 0.7), n_methods=4, n_images=60, trials=40, image_icc=0.1)
    assert table["note"].tolist() == ["more than 82 images", ""] and table["raters"].isna().tolist() == [True, False]
    assert table["half_width"].is_monotonic_increasing


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: power.votes_needed(0.5), "nobody can tell"),
        (lambda: power.votes_needed(0.6, power=80), "power is 80"),
        (lambda: power.votes_for_precision(5), "5 percentage points"),
        (lambda: power.extent(9, n_methods=1, n_images=9, trials=9), "two methods"),
        (lambda: power.extent(9, n_methods=2, n_images=9, trials=9, rater_icc=1.0), "rater_icc is 1.0"),
    ],
)
def test_impossible_wishes_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_images_with_less_than_a_vote_each_are_no_clusters():
    """2 methods, 5,000 images: 210 votes of 10 a rater are as many as the raters' own likeness asks for."""
    found = power.extent(210, n_methods=2, n_images=5000, trials=10, rater_icc=0.05, image_icc=0.1)
    assert found.effect == pytest.approx(1.45) and found.votes == math.ceil(210 * 1.45)
    assert found.votes / found.effect >= 210


def test_one_of_all_pairs_takes_more_votes_than_one_that_was_named():
    asked = {"n_methods": 4, "n_images": 400, "trials": 40, "image_icc": 0.01}
    row = power.table((0.6,), **asked).iloc[0]
    first = power.votes_needed(0.6, alpha=0.05 / 6)
    assert row["votes"] == power.extent(210, **asked).votes and row["votes_all"] == power.extent(first, **asked).votes
    assert row["raters_all"] > 1.4 * row["raters"]
    assert (power.exact_power(0.6, np.arange(first, 900), alpha=0.05 / 6) >= 0.8).all()
    tight = power.table((0.6,), n_methods=4, n_images=30, trials=40).iloc[0]
    assert tight["note"].startswith("all pairs: more than") and tight["votes"] > 0


def test_the_votes_of_a_precision_give_it():
    asked = {"n_methods": 3, "n_images": 100, "trials": 30}
    row = power.precision_table((0.1, 0.01), **asked).iloc[0]
    low, high = power.wilson(row["votes"] / row["design_effect"] / 2, row["votes"] / row["design_effect"])
    assert (high - low) / 2 == pytest.approx(0.1, rel=0.02) and row["votes"] > row["independent"] == 93
    assert "images" in power.precision_table((0.1, 0.01), **asked)["note"][1]
