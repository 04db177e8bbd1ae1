"""Methods that (almost) never won: bounds in place of intervals that only the prior made."""

import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from aotlib.study import abilities, analysis, answers, coverage, separation, simulate
from aotlib.study.coverage import Setting
from aotlib.study.design import Design

METHODS = ["A", "B", "C", "D"]


def compared(last=-30.0, *, raters=12, images=10, seed=0):
    """Each rater compares all pairs on each image; D is so many logits from the others."""
    theta, rng, rows = np.array([0.5, 0.1, -0.3, last]), np.random.default_rng(seed), []
    for rater, image, (i, j) in itertools.product(range(raters), range(images), itertools.combinations(range(4), 2)):
        i, j = (i, j) if rng.random() < 0.5 else (j, i)
        choice = "left" if rng.random() < 1 / (1 + np.exp(theta[j] - theta[i])) else "right"
        rows.append((rater, image, (METHODS[i], METHODS[j]), choice, "pair"))
    return pd.DataFrame(rows, columns=["rater", "image", "shown", "choice", "kind"])


def ranked(last=-30.0, *, raters=12, images=10):
    theta, rng, rows = np.array([0.5, 0.1, -0.3, last]), np.random.default_rng(0), []
    for rater, image in itertools.product(range(raters), range(images)):
        order = np.argsort(-(theta + rng.gumbel(size=4)))
        rows.append((rater, image, tuple(METHODS), tuple(order.tolist()), "rank"))
    return pd.DataFrame(rows, columns=["rater", "image", "shown", "choice", "kind"])


@pytest.mark.parametrize("kind, votes", [("pair", compared()), ("rank", ranked())])
def test_a_method_that_never_won_has_a_bound_and_the_others_their_scale(kind, votes):
    found = abilities.estimate(votes, METHODS, kind=kind, n_resamples=100)
    assert found.apart == ("D",)
    table = found.methods.set_index("method")
    assert table.loc["D", ["ability", "low"]].tolist() == [-np.inf, -np.inf] and -9 < table.loc["D", "high"] < -2
    others = votes[votes["shown"].map(lambda names: "D" not in names)] if kind == "pair" else votes
    if kind == "pair":  # the others are as if D had not been there
        alone = abilities.estimate(others, METHODS[:3], n_resamples=100).methods.set_index("method")
        assert table["ability"][:3].to_numpy() == pytest.approx(alone["ability"].to_numpy(), abs=0.01)
        ends = table[["low", "high"]][:3].to_numpy()
        assert ends == pytest.approx(alone[["low", "high"]].to_numpy(), abs=0.15)
    rows = found.differences[found.differences["against"] == "D"].set_index("method")
    assert (rows["high"] == np.inf).all() and (rows["p"] > 0).all() and (rows["p"] < 0.01).all()
    assert rows.loc["A", "low"] == pytest.approx(table.loc["A", "ability"] - table.loc["D", "high"])


def test_a_method_that_never_lost_is_the_mirror():
    rows = compared()
    swapped = rows.assign(choice=rows["choice"].map({"left": "right", "right": "left"}))
    one, other = (abilities.estimate(votes, METHODS, n_resamples=60) for votes in (rows, swapped))
    low = one.methods.set_index("method").loc["D"]
    high = other.methods.set_index("method").loc["D"]
    assert high["ability"] == high["high"] == np.inf and high["low"] == pytest.approx(-low["high"])
    assert other.differences.iloc[0]["method"] == "D" and other.methods["method"][0] == "D"


def test_against_one_other_method_the_bounds_are_wilsons():
    for wins in (0, 3, 20):
        won = np.r_[np.ones(wins), np.zeros(20 - wins)]
        ends = separation.bounds(np.full(20, 0.4), won, 2.0, 1.959964)[1:]
        share = proportion_confint(wins / 2, 10, method="wilson")
        assert 1 / (1 + np.exp(0.4 - np.array(ends))) == pytest.approx(share, abs=1e-6)


def test_chains_of_wins():
    """Against all paths of a small graph, one by one."""
    rng = np.random.default_rng(0)
    for wins in (rng.random((30, 5, 5)) < 0.25).astype(float):
        reach = np.linalg.matrix_power(np.eye(5) + wins, 5) > 0
        assert (separation.linked(wins[None])[0] == (reach & reach.T)).all()


def test_two_wins_of_one_rater_are_none_in_many_draws():
    rows = compared()
    of_d = rows[(rows["rater"] == 0) & rows["shown"].map(lambda names: "D" in names)].index[:2]
    sides = ["left" if rows.loc[place, "shown"][0] == "D" else "right" for place in of_d]
    rows.loc[of_d, "choice"] = sides
    found = abilities.estimate(rows, METHODS, n_resamples=200)
    d = found.methods.set_index("method").loc["D"]
    assert found.apart == ("D",) and -np.inf < d["low"] < d["ability"] < d["high"] < -2


def test_two_who_never_won_have_no_difference():
    rows = compared()
    cell = [min(names, key=METHODS.index) for names in rows["shown"]]  # the earlier one always wins
    always = rows.assign(choice=["left" if names[0] == best else "right" for names, best in zip(rows["shown"], cell)])
    found = abilities.estimate(always, METHODS, n_resamples=50)
    assert len(found.apart) == 3
    both = found.differences[
        found.differences["method"].isin(found.apart) & found.differences["against"].isin(found.apart)
    ]
    assert both["p"].isna().all() and len(both) == 3


@pytest.mark.parametrize("level", [-5.0, -8.0])
def test_bounds_hold_the_truth(level):
    """40 studies; the interval that the prior made held it in about half of them."""
    world = simulate.World({"A": 0.5, "B": 0.1, "C": -0.3, "D": level, "truth": 2.0})
    setting = Setting(world, Design(sessions=20, pair=24, practice=0), n_images=15)
    found = coverage.run(setting, 40, n_resamples=60)["mean"]
    assert found["differences"] > 0.88 and found["abilities"] > 0.88


def test_it_is_said_in_the_table_the_figure_and_in_words(tmp_path):
    world = simulate.World({"A": 0.5, "B": 0.1, "C": -30.0, "truth": 40.0}, rater_sd=0, image_sd=0)
    setting = Setting(world, Design(sessions=6, pair=18, practice=0), n_images=6)
    plan = coverage.synthetic_plan(setting, 0)
    votes = answers.votes(plan, simulate.answers(plan, world, seed=0))
    found = analysis.analysed(plan, votes, n_resamples=40)
    assert any("C (almost) never won" in sentence for sentence in found.numbers["missing"])
    cells = found.tables["user_study"].set_index("method")["ability"]
    assert cells["C"].startswith("< -") and "[" in cells["A"]
    ax = found.figures["abilities"].axes[0]
    bound = found.tables["abilities"].set_index("method").loc["C", "high"]
    assert ax.get_xlim()[0] < bound - 1 and len([text for text in ax.texts if text.arrow_patch]) == 1
    assert np.isfinite(ax.get_xlim()).all()
    json.dumps(found.numbers, allow_nan=False)
    plt.close("all")
