"""Shares and their intervals, clusters, agreement, fit, correlation: closed forms, and libraries written elsewhere."""

import itertools

import krippendorff
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

from aotlib.study import (
    abilities,
    agreement,
    analysis,
    answers,
    contrast,
    correlation,
    coverage,
    goodness,
    pooled,
    rates,
    resampling,
    screening,
    simulate,
)
from aotlib.study.bradley_terry import fit, pairs_of, tables
from aotlib.study.coverage import Setting
from aotlib.study.design import Design

METHODS = ["A", "B", "C", "D"]


def votes_of(world, *, seed=0, n_images=12, ties=False, **design):
    design = {"sessions": 20, "pair": 24, "real": 8, "practice": 0} | design
    setting = Setting(world, Design(**design), n_images=n_images, ties=ties)
    plan = coverage.synthetic_plan(setting, seed)
    table = answers.votes(plan, simulate.answers(plan, world, seed=seed))
    return screening.kept(table, screening.screen(table, plan)), plan


@pytest.fixture(scope="module")
def votes():
    return votes_of(simulate.World(coverage.ABILITIES, side=0.4))[0]


@pytest.mark.parametrize("wins, n, ends", [(60, 100, (0.502, 0.691)), (30, 30, (0.886, 1.0)), (0, 10, (0.0, 0.278))])
def test_wilsons_interval(wins, n, ends):
    assert rates.wilson(wins, n) == pytest.approx(ends, abs=5e-4)


def test_with_few_degrees_of_freedom_the_quantile_is_students():
    z = stats.t.ppf(0.975, 4)
    middle, reach = (0.6 + z**2 / 200) / (1 + z**2 / 100), z * np.sqrt(0.24 / 100 + z**2 / 40000) / (1 + z**2 / 100)
    assert rates.wilson(60, 100, dof=4) == pytest.approx((middle - reach, middle + reach), abs=1e-9)


def test_preferences_are_counted(votes):
    table = rates.preferences(votes, METHODS)
    assert len(table) == 6 and (table["rate"] >= 0.5).all() and (table["low"] <= table["rate"]).all()
    row = table.iloc[0]
    pair = votes[
        (votes["kind"] == "pair") & votes["shown"].map(lambda names: set(names) == {row["method"], row["against"]})
    ]
    wins = sum(
        names[0 if choice == "left" else 1] == row["method"] for names, choice in zip(pair["shown"], pair["choice"])
    )
    assert (row["wins"], row["votes"]) == (wins, len(pair))
    assert row["p_exact"] == pytest.approx(stats.binomtest(wins, len(pair)).pvalue)
    assert (row["wilson_low"], row["wilson_high"]) == pytest.approx(rates.wilson(wins, len(pair)))
    assert (table["high"] - table["low"] >= table["wilson_high"] - table["wilson_low"]).all()


def test_a_method_is_preferred_to_all_others_as_often_as_it_won(votes):
    table, pairs = pooled.by_method(votes, METHODS).set_index("method"), rates.preferences(votes, METHODS)
    both = pd.concat([pairs, rates.mirrored(pairs)]).groupby("method")[["wins", "votes"]].sum().reindex(table.index)
    assert (table["wins"] == both["wins"]).all() and (table["votes"] == both["votes"]).all()
    assert (table["low"] < table["wilson_low"]).all() and (table["wilson_low"] < table["rate"]).all()


@pytest.mark.parametrize("place", range(6))
def test_the_clustered_p_agrees_with_the_interval(votes, place):
    """At the confidence 1 - p one half is an end of the interval."""
    p = rates.preferences(votes, METHODS)["p"][place]
    row = rates.preferences(votes, METHODS, confidence=1 - p).iloc[place]
    assert min(abs(row["low"] - 0.5), abs(row["high"] - 0.5)) < 1e-6


def test_p_are_holm_corrected(votes):
    for table in (
        rates.preferences(votes, METHODS),
        rates.fooled(votes, METHODS).dropna(subset="p"),
        abilities.estimate(votes, METHODS, n_resamples=50).differences,
    ):
        assert table["p_holm"].to_numpy() == pytest.approx(multipletests(table["p"], method="holm")[1])
        assert (table["p_holm"] > table["p"]).any()


def test_seen_from_the_other_side(votes):
    table = rates.preferences(votes, METHODS)
    other = rates.mirrored(table)
    assert (other["method"] == table["against"]).all() and (other["low"] == 1 - table["high"]).all()
    pd.testing.assert_frame_equal(rates.mirrored(other), table, check_dtype=False)


def test_ties_are_half_a_win_each():
    shown = [("A", "B"), ("B", "A"), ("A", "B"), ("A", "B")]
    part = pd.DataFrame({"kind": "pair", "shown": shown, "choice": ["left", "tie", "tie", "left"]})
    part = part.assign(rater=["r", "r", "s", "s"], image=["x", "y", "x", "y"])
    row = rates.preferences(part, ["A", "B"]).iloc[0]
    assert (row["method"], row["votes"], row["wins"], row["ties"], row["rate"]) == ("A", 4, 3, 2, 0.75)
    assert row["p_exact"] == pytest.approx(0.5)  # two of two that are no ties


def test_the_two_way_variance_is_that_of_a_sandwich():
    """statsmodels' variance of a mean with two groupings, against ours by resampling."""
    rng = np.random.default_rng(0)
    raters, images = np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)
    value = rng.normal(0, 1, 40)[raters] + rng.normal(0, 0.7, 30)[images] + rng.normal(0, 1, 1200)
    oracle = cov_cluster_2groups(sm.OLS(value, np.ones(1200)).fit(), raters, images, use_correction=False)[0]
    spread = resampling.two_way(
        lambda weights: (weights @ value / weights.sum(1))[:, None],
        pd.Series(raters),
        pd.Series(images),
        n_resamples=4000,
    )
    assert spread.variance[0] == pytest.approx(float(np.squeeze(oracle)), rel=0.08)  # 4,000 draws: 2.2 % a variance
    assert spread.dof == 29
    assert spread.variance[0] > 10 * value.var() / 1200  # as if votes were independent


def test_one_rater_says_nothing_about_the_next():
    spread = resampling.two_way(lambda weights: weights[:, :1], pd.Series(["r", "r"]), pd.Series(["x", "y"]))
    assert np.isnan(spread.variance).all() and np.isnan(spread.interval(np.zeros(1))).all()


def test_drawing_both_at_once_counts_noise_three_times():
    """What the module's text says of the simpler bootstrap, on votes that are independent."""
    rng = np.random.default_rng(3)
    value = rng.normal(size=900)
    raters, images = pd.Series(np.repeat(np.arange(30), 30)), pd.Series(np.tile(np.arange(30), 30))
    statistic = lambda weights: (weights @ value / weights.sum(1))[:, None]  # noqa: E731
    at_once = resampling.together(statistic, raters, images, n_resamples=3000).var()
    assert 2.2 < at_once * 900 / value.var() < 3.8


def test_fool_rates_are_counted_and_held_against_photographs(votes):
    table = rates.fooled(votes, METHODS).set_index("method")
    real = votes[votes["kind"] == "real"]
    for name in (*METHODS, "truth"):
        part = real[real["shown"] == (name,)]
        assert table.loc[name, "rate"] == pytest.approx((part["choice"] == "real").mean())
        assert table.loc[name, "votes"] == len(part)
    assert table.loc["A", "below"] == pytest.approx(table.loc["truth", "rate"] - table.loc["A", "rate"])
    assert np.isnan(table.loc["truth", "below"])
    larger = votes_of(simulate.World(coverage.ABILITIES), sessions=60)[0]
    assert rates.fooled(larger, METHODS).set_index("method").loc["D", "below_low"] > 0


def called(truth, fill, *, raters=10, images=8):
    """Half photographs, half fills of A; functions of rater and image say whether they are called real."""
    rows = []
    for rater, image in itertools.product(range(raters), range(images)):
        real, name = (truth, "truth") if (rater + image) % 2 else (fill, "A")
        rows.append((rater, image, (name,), "real" if real(rater, image) else "fake", "real"))
    return pd.DataFrame(rows, columns=["rater", "image", "shown", "choice", "kind"])


def test_unanimous_answers_are_no_certainty():
    """All 40 photographs are called real and none of 40 fills: Newcombe's interval of 40 against 40 votes."""
    row = rates.fooled(called(lambda *_: True, lambda *_: False), ["A"]).set_index("method").loc["A"]
    assert row["below"] == 1 and row["below_low"] < 0.9 and row["below_high"] == pytest.approx(1) and row["p"] > 0
    low, high = confint_proportions_2indep(40, 40, 0, 40, method="newcomb")
    found = contrast.difference(*(contrast.Share(np.array([k]), np.array([40])) for k in (40, 0)))
    assert [float(end[0]) for end in found[:2]] == pytest.approx([low, high], abs=1e-9)


def test_the_difference_of_shares_is_newcombes_and_its_p_agrees_with_the_interval():
    for wins, n, other, m in ((30, 50, 12, 40), (9, 10, 3, 30), (7, 20, 8, 20)):
        shares = contrast.Share(np.array([wins]), np.array([n])), contrast.Share(np.array([other]), np.array([m]))
        low, high, p = contrast.difference(*shares)
        assert (low[0], high[0]) == pytest.approx(confint_proportions_2indep(wins, n, other, m, method="newcomb"))
        ends = contrast.difference(*shares, confidence=1 - p[0])[:2]
        assert min(abs(ends[0][0]), abs(ends[1][0])) < 1e-6
        narrow = contrast.difference(*shares, r=np.array([0.5]))
        assert narrow[0] > low and narrow[1] < high


def test_raters_who_believe_everything_do_not_blur_the_difference():
    """Half of the raters call all real: each rate is uncertain, and the difference, 0 in every rater, is not."""
    row = rates.fooled(called(*[lambda rater, _: rater % 4 < 2] * 2, images=16), ["A"]).set_index("method")
    both = sum((row["high"] - row["low"]) ** 2) ** 0.5
    assert row.loc["A", "below_high"] - row.loc["A", "below_low"] < 0.5 * both


# Agreement


def test_alpha_is_that_of_the_package():
    rng = np.random.default_rng(0)
    for _ in range(5):
        counts = rng.integers(0, 4, (30, 3))
        expected = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
        assert agreement.krippendorff(counts)[0] == pytest.approx(expected, abs=1e-9)


def test_alpha_of_pairs_does_not_depend_on_the_order_of_methods(votes):
    one, other = (agreement.alpha_of_pairs(votes, order) for order in (METHODS, METHODS[::-1]))
    assert one == pytest.approx(other) and one.low < one.alpha < one.high and 0 < one.alpha < 0.6
    pair = votes[votes["kind"] == "pair"]
    coin = pair.assign(choice=np.random.default_rng(0).choice(["left", "right"], len(pair)))
    assert agreement.alpha_of_pairs(coin, METHODS).alpha == pytest.approx(0, abs=0.1)
    best = pair.assign(choice=["left" if names[0] < names[1] else "right" for names in pair["shown"]])
    assert agreement.alpha_of_pairs(best, METHODS).alpha == 1.0


def test_alpha_of_real(votes):
    found = agreement.alpha_of_real(votes)
    real = votes[(votes["kind"] == "real") & (votes["shown"] != ("truth",))]
    counts = pd.crosstab(real["image"] + real["shown"].str[0], real["choice"])
    assert found.alpha == pytest.approx(
        krippendorff.alpha(value_counts=counts.to_numpy(), level_of_measurement="nominal")
    )


def test_concordance_is_kendalls():
    """Of full rankings by hand: sums of ranks 4, 8, 12 of four raters who agree, and W of two who do not."""
    rows = [(f"r{n}", ("A", "B", "C"), (0, 1, 2), "rank") for n in range(4)]
    columns = ["rater", "shown", "choice", "kind"]
    assert agreement.concordance(pd.DataFrame(rows, columns=columns), ["A", "B", "C"], kind="rank").w == 1.0
    rows = [("r", ("A", "B", "C"), (0, 1, 2), "rank"), ("s", ("A", "B", "C"), (2, 1, 0), "rank")]
    assert agreement.concordance(pd.DataFrame(rows, columns=columns), ["A", "B", "C"], kind="rank").w == 0.0
    rows.append(("t", ("A", "B"), (0, 1), "rank"))  # has not seen all
    assert agreement.concordance(pd.DataFrame(rows, columns=columns), ["A", "B", "C"], kind="rank").n == 2


def test_the_mean_correlation_of_orders_is_spearmans_and_0_by_chance():
    """W itself is 1 over the number of raters by chance."""
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        orders = [rng.permutation(4) for _ in range(5)]
        rows = [(n, tuple(METHODS), tuple(order.tolist()), "rank") for n, order in enumerate(orders)]
        votes = pd.DataFrame(rows, columns=["rater", "shown", "choice", "kind"])
        found.append(agreement.concordance(votes, METHODS, kind="rank"))
        both = itertools.combinations([order.argsort() for order in orders], 2)
        expected = np.mean([stats.spearmanr(*pair).statistic for pair in both])
        assert found[-1].correlation == pytest.approx(expected)
    assert np.mean([one.correlation for one in found]) == pytest.approx(0, abs=0.06)
    assert np.mean([one.w for one in found]) == pytest.approx(0.2, abs=0.05)


# Fit


def test_the_deviance_is_that_of_a_logistic_regression(votes):
    pairs = pairs_of(votes[votes["kind"] == "pair"], METHODS)
    left, right = (table[0] for table in tables(pairs))
    rows = [(i, j) for i in range(4) for j in range(4) if i != j]
    design = np.zeros((12, 4))
    for row, (i, j) in enumerate(rows):
        design[row, i], design[row, j] = 1, -1
    design[:, 3] = 1
    counts = np.array([(left[cell], right[cell]) for cell in rows])
    oracle = sm.GLM(counts, design, family=sm.families.Binomial()).fit()
    mine = goodness.deviances(left[None], right[None], fit(left[None], right[None], prior=0))[0]
    assert mine == pytest.approx(oracle.deviance, rel=1e-6)
    found = goodness.goodness(votes, METHODS, n_resamples=20)
    assert found.dof == 8 and found.deviance == pytest.approx(oracle.deviance, rel=0.01)  # it has a small prior


# Metrics


@pytest.fixture(scope="module")
def seen(votes):
    """Two metrics: one that the raters follow, image by image, and one of noise; lower is better for the first."""
    world = simulate.World(coverage.ABILITIES, image_sd=0.0, rater_sd=0.0)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        for name in METHODS:
            rows.append((name, f"image {number}.png", "l1", -world.abilities[name] + rng.normal(0, 0.05)))
            rows.append((name, f"image {number}.png", "psnr", rng.normal()))
    counted, plan = votes_of(world, pair=60)
    long = pd.DataFrame(rows, columns=["method", "image", "metric", "value"])
    metrics = correlation.metric_table(long, plan)
    return counted, long, plan, correlation.with_metrics(counted, metrics, METHODS, n_resamples=60), metrics


def test_a_metric_that_people_follow_is_found_and_noise_is_not(seen):
    table = seen[3].set_index(["metric", "level"])
    assert table.loc[("l1", "methods"), "spearman"] > 0.7
    good, noise = table.loc[("l1", "fills")], table.loc[("psnr", "fills")]
    assert good["low"] > 0.2 and good["agreement_low"] > 0.5
    assert noise["low"] < 0 < noise["high"] and noise["agreement_low"] < 0.5 < noise["agreement_high"]


def test_the_correlation_is_scipys(seen):
    counted, _, _, table, metrics = seen
    pair = counted[counted["kind"] == "pair"]
    shares: dict[tuple, list] = {}
    for image, names, choice in zip(pair["image"], pair["shown"], pair["choice"]):
        one, other = sorted(names)
        shares.setdefault((image, one, other), []).append(float((choice == "left") == (names[0] == one)))
    level = metrics["psnr"]
    off = [level[image, one] - level[image, other] for image, one, other in shares]
    share = [np.mean(values) for values in shares.values()]
    row = table[(table["metric"] == "psnr") & (table["level"] == "fills")].iloc[0]
    x, y = np.r_[off, -np.array(off)], np.r_[share, 1 - np.array(share)]
    assert {len(values) for values in shares.values()} <= {16, 17}  # cells weigh nearly the same
    assert row["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=0.01)
    assert row["kendall"] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-9)
    assert row["n"] == len(shares) == 72


def test_weighted_ranks_are_those_of_copies():
    values, copies = np.array([3.0, 1.0, 3.0, 2.0]), np.array([2, 1, 1, 3])
    expected = pd.Series(np.repeat(values, copies)).rank() - 0.5
    found = np.repeat(correlation._ranks(values, copies.astype(float)), copies)
    assert found == pytest.approx(expected.to_numpy())


def test_a_metric_that_is_infinite_everywhere_is_left_out_and_named(seen):
    counted, long, plan, _, metrics = seen
    both = metrics.assign(ssim=np.inf)
    table = correlation.with_metrics(counted, both, METHODS, n_resamples=4)
    assert "ssim" not in set(table["metric"]) and len(table) == 4
    endless = long.assign(value=long["value"].where(long["metric"] != "psnr", np.inf))
    found = analysis.analysed(plan, counted, endless, n_resamples=10)
    plt.close("all")
    assert any("metrics: psnr infinite" in sentence for sentence in found.numbers["missing"])


def test_a_table_that_lacks_fills_is_refused(seen):
    _, long, plan, _, _ = seen
    with pytest.raises(ValueError, match="lacks 12 of 48 fills"):
        correlation.metric_table(long[long["method"] != "D"], plan)
    with pytest.raises(ValueError, match="no column value"):
        correlation.metric_table(long.drop(columns="value"), plan)
