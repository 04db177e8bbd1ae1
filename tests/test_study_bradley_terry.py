"""Abilities from pairs and from rankings, against choix and statsmodels, which nobody here wrote."""

import itertools

import choix
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from aotlib.study import bradley_terry, plackett_luce
from aotlib.study.bradley_terry import Pairs

METHODS = ("a", "b", "c", "d")


def drawn(n, theta, side=0.0, seed=0):
    rng = np.random.default_rng(seed)
    left = rng.integers(0, len(theta), n)
    right = (left + rng.integers(1, len(theta), n)) % len(theta)
    won = rng.random(n) < 1 / (1 + np.exp(-(theta[left] - theta[right] + side)))
    return Pairs(left, right, won.astype(float), METHODS[: len(theta)])


def test_abilities_are_those_of_choix():
    pairs = drawn(400, np.array([0.7, 0.1, -0.3, -0.5]))
    data = [(left, right) if won else (right, left) for left, right, won in zip(*pairs[:3])]
    found = bradley_terry.fit(*bradley_terry.tables(pairs), side=False, prior=0)
    assert found.theta[0] == pytest.approx(choix.ilsr_pairwise(4, data), abs=1e-6)
    assert found.side[0] == 0


def test_the_preference_for_a_side_is_that_of_a_logistic_regression():
    pairs = drawn(500, np.array([0.7, 0.1, -0.8]), side=0.6)
    design = np.zeros((500, 4))
    design[np.arange(500), pairs.left] += 1
    design[np.arange(500), pairs.right] -= 1
    design[:, 3] = 1
    oracle = sm.Logit(pairs.won, design[:, [0, 1, 3]]).fit(disp=0)  # the third method is 0
    found = bradley_terry.fit(*bradley_terry.tables(pairs), prior=0)
    assert found.theta[0] - found.theta[0, 2] == pytest.approx([*oracle.params[:2], 0], abs=1e-6)
    assert found.side[0] == pytest.approx(oracle.params[2], abs=1e-6)
    assert found.side[0] > 0.3


def test_a_weight_is_as_many_copies_of_a_vote_and_many_are_fitted_at_once():
    pairs = drawn(120, np.array([0.5, 0.0, -0.5]))
    weights = np.random.default_rng(1).integers(0, 4, (5, 120)).astype(float)
    together = bradley_terry.fit(*bradley_terry.tables(pairs, weights))
    for row, weight in enumerate(weights.astype(int)):
        copied = Pairs(*(np.repeat(column, weight) for column in pairs[:3]), pairs.methods)
        alone = bradley_terry.fit(*bradley_terry.tables(copied))
        assert together.theta[row] == pytest.approx(alone.theta[0], abs=1e-8)
        assert together.side[row] == pytest.approx(alone.side[0], abs=1e-8)


def test_a_tie_is_half_a_win_each():
    half = Pairs(np.array([0, 0]), np.array([1, 1]), np.array([0.5, 0.5]), ("a", "b"))
    both = half._replace(won=np.array([1.0, 0.0]))
    for one, other in zip(bradley_terry.tables(half), bradley_terry.tables(both)):
        assert (one == other).all()


def test_a_method_that_never_lost_stays_finite_and_the_prior_is_small():
    never = Pairs(
        np.array([0] * 20 + [1] * 20), np.array([1] * 20 + [0] * 20), np.r_[np.ones(20), np.zeros(20)], ("a", "b")
    )
    theta = bradley_terry.fit(*bradley_terry.tables(never)).theta[0]
    assert np.isfinite(theta).all() and theta[0] - theta[1] == pytest.approx(np.log(40.1 / 0.1), abs=1e-6)
    pairs = drawn(400, np.array([0.7, 0.1, -0.3, -0.5]))
    with_prior, without = (bradley_terry.fit(*bradley_terry.tables(pairs), prior=prior).theta for prior in (0.1, 0))
    assert abs(with_prior - without).max() < 0.005


def test_votes_that_connect_nothing_are_refused():
    apart = Pairs(np.array([0, 2]), np.array([1, 3]), np.ones(2), METHODS)
    with pytest.raises(bradley_terry.NoScale, match=r"0, 1 \| 2, 3"):
        bradley_terry.fit(*bradley_terry.tables(apart))


def test_votes_of_a_table_become_numbers():
    votes = pd.DataFrame({"shown": [("a", "c"), ("c", "b")], "choice": ["right", "tie"]})
    pairs = bradley_terry.pairs_of(votes, METHODS)
    assert (pairs.left.tolist(), pairs.right.tolist(), pairs.won.tolist()) == ([0, 2], [2, 1], [0.0, 0.5])


# Rankings


def rankings(n, theta, k, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        shown = rng.permutation(len(theta))[:k]
        rows.append(
            (tuple(METHODS[i] for i in shown), tuple(np.argsort(-(theta[shown] + rng.gumbel(size=k))).tolist()))
        )
    return pd.DataFrame(rows, columns=["shown", "choice"])


@pytest.mark.parametrize("k", [3, 4])
def test_ranked_abilities_are_those_of_choix(k):
    votes = rankings(200, np.array([0.9, 0.2, -0.3, -0.8]), k)
    data = [[METHODS.index(names[i]) for i in order] for names, order in zip(votes["shown"], votes["choice"])]
    found = plackett_luce.fit(plackett_luce.choices_of(votes, METHODS), prior=0)
    assert found[0] == pytest.approx(choix.ilsr_rankings(4, data), abs=1e-6)


def test_rankings_of_two_are_pairs():
    pairs = drawn(300, np.array([0.5, 0.1, -0.6]))
    shown = [(METHODS[left], METHODS[right]) for left, right in zip(pairs.left, pairs.right)]
    votes = pd.DataFrame({"shown": shown, "choice": [(0, 1) if won else (1, 0) for won in pairs.won]})
    ranked = plackett_luce.fit(plackett_luce.choices_of(votes, METHODS[:3]))
    assert ranked == pytest.approx(bradley_terry.fit(*bradley_terry.tables(pairs), side=False).theta, abs=1e-7)


def test_a_weighted_ranking_is_as_many_copies():
    votes = rankings(60, np.array([0.9, 0.2, -0.3, -0.8]), 3)
    weight = np.random.default_rng(2).integers(0, 3, (1, 60))
    together = plackett_luce.fit(plackett_luce.choices_of(votes, METHODS), weight.astype(float))
    copied = votes.loc[votes.index.repeat(weight[0])]
    assert together == pytest.approx(plackett_luce.fit(plackett_luce.choices_of(copied, METHODS)), abs=1e-7)


def test_rankings_that_connect_nothing_are_refused():
    votes = pd.DataFrame({"shown": [("a", "b", "c")], "choice": [(0, 1, 2)]})
    with pytest.raises(bradley_terry.NoScale, match=r"0, 1, 2 \| 3"):
        plackett_luce.fit(plackett_luce.choices_of(votes, METHODS))


def test_chances_of_all_pairs():
    theta = np.array([1.0, 0.0, -2.0])
    for i, j in itertools.product(range(3), repeat=2):
        assert bradley_terry.chance(theta, 0.5)[i, j] == pytest.approx(1 / (1 + np.exp(-(theta[i] - theta[j] + 0.5))))
