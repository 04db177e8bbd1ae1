"""The goodness of fit with clusters and ties: simulated raters with one scale, with a circle, with tastes of pairs."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aotlib.study import goodness

METHODS = ["A", "B", "C", "D"]


def compared(rng, *, raters=20, trials=30, circle=0.0, own=0.0, draw=0.0):
    """Votes on four methods; a share of `circle` says A over B over C over A; raters have tastes of pairs (`own`)."""
    theta, taste, rows = np.array([0.7, 0.1, -0.3, -0.5]), rng.normal(0, own, (raters, 4, 4)), []
    for rater, image in itertools.product(range(raters), range(trials)):
        i, j = rng.permutation(4)[:2]
        ahead = theta[i] - theta[j] + taste[rater, i, j] - taste[rater, j, i]
        chances = np.array([np.exp(ahead / 2), np.exp(-ahead / 2), draw])
        choice = ("left", "right", "tie")[rng.choice(3, p=chances / chances.sum())]
        if rng.random() < circle and max(i, j) < 3:
            choice = "left" if (i + 1) % 3 == j else "right"
        rows.append((rater, image % 12, (METHODS[i], METHODS[j]), choice, "pair"))
    return pd.DataFrame(rows, columns=["rater", "image", "shown", "choice", "kind"])


def fits(count=60, **world):
    rng = np.random.default_rng(0)
    tests = [goodness.goodness(compared(rng, **world), METHODS, n_resamples=100, seed=n) for n in range(count)]
    return pd.DataFrame(tests)


@pytest.mark.parametrize("draw", [0.0, 0.8])
def test_of_models_that_hold_every_p_is_as_likely_as_any_other(draw):
    """With ties, too, which half wins would make less variable than votes: p would crowd near 1."""
    p = fits(draw=draw)
    assert stats.kstest(p["p"], "uniform").pvalue > 0.01 and p["design_effect"].median() < 1.1


def test_a_circle_is_found_with_clusters_as_without():
    """A beats B beats C beats A: no single scale has that."""
    p = fits(20, circle=0.3)
    assert (p["p"] <= 0.05).mean() > 0.7 and (p["p_clustered"] <= 0.05).mean() > 0.7


def test_raters_with_tastes_of_pairs_look_like_a_poor_fit_less_often_with_clusters():
    """A rater who says the same again and again is no evidence against the scale of all."""
    p = fits(60, own=1.5, raters=40)
    assert p["design_effect"].mean() > 1.3
    assert (p["p"] <= 0.05).mean() > 0.2 and (p["p_clustered"] <= 0.05).mean() < 0.18


def test_one_rater_has_no_clusters_and_two_methods_nothing_to_deviate_by():
    found = goodness.goodness(compared(np.random.default_rng(0), raters=1), METHODS, n_resamples=50)
    assert np.isfinite(found.p) and np.isnan(found.p_clustered)
    rows = compared(np.random.default_rng(0))
    two = rows[rows["shown"].map(lambda names: set(names) == {"A", "B"})]
    assert goodness.goodness(two, ["A", "B"], n_resamples=50)[1:4] == (0, 1.0, 1.0)
    assert np.isnan(goodness.goodness(rows.assign(choice="tie"), METHODS).p)
