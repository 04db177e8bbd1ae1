"""Intervals and likenesses against simulated studies whose truth is known, where `test_study_coverage` has none."""

import itertools

import numpy as np
import pandas as pd
import pytest

from aotlib.study import agreement, answers, correlation, coverage, pooled, rates, simulate
from aotlib.study.coverage import Setting
from aotlib.study.design import Design

METHODS = ["A", "B", "C", "D"]


@pytest.fixture(scope="module")
def two_of_one():
    """Pairs of A and B by probability: a rater moves it by a variance of 0.1, an image by 0.05, times p (1 - p)."""
    rng, rows = np.random.default_rng(0), []
    of_rater, of_image = rng.normal(0, (0.1 * 0.24) ** 0.5, 60), rng.normal(0, (0.05 * 0.24) ** 0.5, 60)
    for rater, image in itertools.product(range(60), range(60)):
        won = rng.random() < np.clip(0.6 + of_rater[rater] + of_image[image], 0, 1)
        rows.append((rater, image, ("A", "B"), "left" if won else "right", "pair"))
    return pd.DataFrame(rows, columns=["rater", "image", "shown", "choice", "kind"])


def test_a_pilot_tells_how_alike_votes_are(two_of_one):
    """60 clusters of 60 votes: a relative standard error of about 0.2."""
    found = pooled.likeness(two_of_one, ["A", "B"])
    assert found == {"raters": pytest.approx(0.1, rel=0.6), "images": pytest.approx(0.05, rel=0.6)}
    coins = two_of_one.assign(choice=np.random.default_rng(1).choice(["left", "right"], len(two_of_one)))
    assert max(pooled.likeness(coins, ["A", "B"]).values()) < 0.01


def alphas(rng, *, truth, raters=12, images=15):
    """Krippendorff's alpha with its interval of raters who say "real" to a picture with a probability of its own."""
    real = np.where(rng.random(images) < 0.5, truth, 1 - truth)
    rows = [
        (rater, f"image {image}", ("A",), "real" if rng.random() < real[image] else "fake", "real")
        for rater, image in itertools.product(range(raters), range(images))
    ]
    votes = pd.DataFrame(rows, columns=["rater", "image", "shown", "choice", "kind"])
    return agreement.alpha_of_real(votes, seed=int(rng.integers(1 << 30)))


def test_the_interval_of_alpha_holds_the_truth():
    """With p or 1 - p, half each, alpha is (2 p - 1)^2. 120 studies: 0.95 has a standard error of 0.02, and quantiles
    of a bootstrap over 15 images fall short of it by 0.03; those of a middle fifth would hold 0.2."""
    rng = np.random.default_rng(0)
    found = [alphas(rng, truth=0.8) for _ in range(120)]
    held = np.mean([one.low <= 0.36 <= one.high for one in found])
    assert 0.84 < held <= 0.995, held


def test_the_interval_of_below_holds_the_truth():
    """80 studies of 4 methods whose votes come in clusters; less, and it is too short."""
    world = simulate.World(coverage.ABILITIES, rater_sd=0.6)
    truth = coverage.called_real(world, [*METHODS, "truth"])
    setting = Setting(world, Design(sessions=20, pair=0, real=16, practice=0), n_images=16)
    held = []
    for seed in range(80):
        plan = coverage.synthetic_plan(setting, seed)
        votes = answers.votes(plan, simulate.answers(plan, world, seed=seed))
        table = rates.fooled(votes[~votes["catch"]], METHODS, n_resamples=60)
        rows = table[table["method"] != "truth"]
        true = truth["truth"] - rows["method"].map(truth)
        held.append(((rows["below_low"] <= true) & (true <= rows["below_high"])).mean())
    assert 0.9 < np.mean(held) < 0.985, np.mean(held)


def test_intervals_of_metrics_hold_what_many_votes_say():
    """40 studies of 8 raters against one of 600: shares for what a metric prefers, correlations over fills, and over
    methods. Intervals of a middle fifth, or of 80 %, hold too little."""
    metric = np.random.default_rng(1).normal(size=(10, 4)) * 0.7 + np.array([0.7, 0.1, -0.3, -0.5])
    index = pd.MultiIndex.from_product([[f"i{n}" for n in range(10)], METHODS], names=["image", "method"])
    metrics = pd.DataFrame({"psnr": metric.ravel()}, index=index)

    def study(raters, seed):
        rng, rows = np.random.default_rng(seed), []
        for rater, image, _ in itertools.product(range(raters), range(10), range(3)):
            i, j = rng.permutation(4)[:2]
            won = rng.random() < 1 / (1 + np.exp(0.6 * (metric[image, j] - metric[image, i])))
            rows.append((rater, f"i{image}", (METHODS[i], METHODS[j]), "left" if won else "right", "pair"))
        return pd.DataFrame(rows, columns=["rater", "image", "shown", "choice", "kind"])

    many = correlation.with_metrics(study(600, 0), metrics, METHODS, n_resamples=2).set_index("level")
    tables_ = [correlation.with_metrics(study(8, seed + 1), metrics, METHODS, n_resamples=60) for seed in range(40)]
    found = pd.concat(tables_).groupby("level")
    share, fills = many.loc["fills", "agreement"], found.get_group("fills")
    held = ((fills["agreement_low"] <= share) & (share <= fills["agreement_high"])).mean()
    assert held > 0.87, held
    rho = many.loc["methods", "spearman"]
    rows = found.get_group("methods")
    assert ((rows["low"] <= rho) & (rho <= rows["high"])).mean() > 0.9
    assert (rows["high"] - rows["low"]).median() > 0.2
