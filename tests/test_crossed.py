"""Intervals over seeds and images: against t tests of scipy, mean squares by hand, and simulated tables."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aotlib import crossed
from aotlib.comparison import holm
from aotlib.crossed import compare_runs, crossed_interval, summarise_runs


def drawn(rng, seeds, images, *, of_seed=0.0, of_image=0.0, rest=1.0):
    parts = rng.normal(size=(seeds, 1)) * of_seed, rng.normal(size=(1, images)) * of_image
    return sum(parts) + rng.normal(size=(seeds, images)) * rest


def test_one_seed_is_students_t_over_images():
    values = np.random.default_rng(0).normal(0.3, 1, (1, 12))
    found, theirs = crossed_interval(values), stats.ttest_1samp(values[0], 0)
    ends = theirs.confidence_interval()
    np.testing.assert_allclose(found[:4], [values.mean(), ends.low, ends.high, theirs.pvalue])
    assert (found.seeds, found.images) == (1, 12)


def test_where_only_seeds_differ_their_t_test_is_left():
    """Every image alike: a hundred of them are worth no more than one, and n is the number of seeds."""
    by_seed = np.array([0.1, 0.5, 0.2, 0.4])
    found, theirs = crossed_interval(np.repeat(by_seed[:, None], 100, axis=1)), stats.ttest_1samp(by_seed, 0)
    ends = theirs.confidence_interval()
    np.testing.assert_allclose(found[:4], [0.3, ends.low, ends.high, theirs.pvalue])
    plain = stats.ttest_1samp(np.repeat(by_seed, 100), 0).confidence_interval()
    assert found.high - found.low > 8 * (plain.high - plain.low)  # what taking all values for independent would say


def test_variance_is_that_of_the_two_way_analysis():
    """Ten seeds and images that matter alike: the sum of both parts is the widest answer."""
    values = drawn(np.random.default_rng(4), 10, 10, of_seed=1, of_image=1, rest=0.5)
    total = ((values - values.mean()) ** 2).sum()
    seeds = 10 * ((values.mean(1) - values.mean()) ** 2).sum()
    images = 10 * ((values.mean(0) - values.mean()) ** 2).sum()
    squares = seeds / 9, images / 9, (total - seeds - images) / 81
    variance = (squares[0] + squares[1] - squares[2]) / 100
    freedom = (100 * variance) ** 2 / (squares[0] ** 2 / 9 + squares[1] ** 2 / 9 + squares[2] ** 2 / 81)
    reach = stats.t.ppf(0.975, freedom) * variance**0.5
    found = crossed_interval(values)
    np.testing.assert_allclose(found[1:3], [values.mean() - reach, values.mean() + reach])


@pytest.mark.parametrize(
    "parts", [{"of_seed": 1}, {"of_image": 1}, {"of_seed": 1, "of_image": 1}, {"of_seed": 0.3}, {}]
)
def test_intervals_hold_the_truth_at_least_as_often_as_they_say(parts):
    rng, n = np.random.default_rng(2), 600
    tables = [drawn(rng, 3, 20, **parts) for _ in range(n)]
    held = [found.low <= 0 <= found.high for found in map(crossed_interval, tables)]
    assert np.mean(held) >= 0.923  # 95 % less three standard errors of 600
    if parts.get("of_seed") == 1:  # an interval over images alone is caught
        assert np.mean([stats.ttest_1samp(table.mean(0), 0).pvalue > 0.05 for table in tables]) < 0.8


def test_a_table_of_equal_variants_seldom_has_a_significant_row():
    """Eighteen variants that are the full method, three seeds: Holm reads the tail, which df of chance would fatten."""
    rng, n = np.random.default_rng(5), 150
    false = 0
    for _ in range(n):
        p = [crossed_interval(drawn(rng, 3, 24, of_seed=0.5)).p for _ in range(18)]
        false += holm(p).min() <= 0.05
    assert false / n <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)


def test_undefined_values_and_lone_images():
    values = np.array([[1.0, np.inf, 3.0], [2.0, 5.0, 4.0]])
    assert crossed_interval(values).images == 2 and crossed_interval(values).mean == 2.5
    alone = crossed_interval(np.array([[1.0], [2.0]]))
    assert alone.mean == 1.5 and np.isnan([alone.low, alone.high, alone.p]).all()
    assert crossed_interval(np.full((2, 3), 7.0)) == (7, 7, 7, 0, 2, 3)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        crossed_interval(np.zeros(3))


@pytest.fixture
def long():
    """Two variants, three seeds, six images, two buckets; "worse" is 1 dB below, with little noise."""
    rng, rows = np.random.default_rng(3), []
    for seed in range(3):
        for number in range(6):
            base = 20 + 5 * rng.normal() + seed
            for bucket in ("10-20 %", "1-10 %"):
                about = {"seed": seed, "image": f"{number}.jpg", "bucket": bucket, "metric": "psnr", "data": "d"}
                rows.append(about | {"method": "full", "value": base})
                rows.append(about | {"method": "worse", "value": base - 1 + 0.1 * rng.normal()})
                rows.append(about | {"method": "same", "value": base + 0.1 * rng.normal()})
    return pd.DataFrame(rows)


def test_variants_are_compared_seed_by_seed_and_image_by_image(long):
    table = compare_runs(long, "psnr", to="full").set_index(["method", "bucket"])
    assert set(table.index.get_level_values("bucket")) == {"1-10 %", "10-20 %", "all"}
    assert table.loc[("worse", "all"), "better"] == "full" and (table.loc["same", "better"] == "").all()
    assert table.p_holm.notna().sum() == 2  # of both variants over all holes; buckets are shown, not tested
    assert not table.significant[table.index.get_level_values("bucket") != "all"].any()
    wide = long.pivot(index=["bucket", "seed", "image"], columns="method", values="value")
    off = (wide["worse"] - wide["full"]).loc["1-10 %"].unstack()
    one = crossed_interval(off.to_numpy())
    np.testing.assert_allclose(table.loc[("worse", "1-10 %"), ["difference", "low", "high"]].astype(float), one[:3])
    assert (table.n == 6).all() and (table.seeds == 3).all()


def test_all_holes_are_one_value_an_image(long):
    """Six buckets of one image are one image: twelve rows of each seed are six."""
    row = compare_runs(long, "psnr", to="full").set_index(["method", "bucket"]).loc[("worse", "all")]
    assert row.n == 6
    summary = summarise_runs(long, ["psnr"]).set_index(["method", "bucket"])
    assert summary.loc[("full", "all"), "mean"] == pytest.approx(long[long.method == "full"].value.mean())
    assert summary.loc[("full", "all"), "n"] == 6 and list(summary.index[:3].get_level_values(1)) == [
        "1-10 %",
        "10-20 %",
        "all",
    ]


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_never_significant(long, seeds):
    table = compare_runs(long[long.seed < seeds], "psnr", to="full")
    assert not table.significant.any() and (table.better == "").all()
    assert seeds == 2 or table.p_holm.min() < 0.01  # images alone would have said so


def test_the_lower_error_is_the_better(long):
    table = compare_runs(long.assign(metric="hole_l1"), "hole_l1", to="full")
    row = table[(table.method == "worse") & (table.bucket == "all")].iloc[0]
    assert row.better == "worse"  # lower is better for an error


def test_runs_that_share_no_seed_have_no_difference(long):
    apart = long.assign(seed=long.seed + 10 * (long.method == "same"))
    table = compare_runs(apart, "psnr", to="full").set_index(["method", "bucket"])
    lone = table.loc["same"]
    assert list(lone.index) == ["all"] and lone.seeds.item() == 0 and np.isnan(lone.difference.item())
    assert not lone.significant.item() and lone.better.item() == ""
    alone = compare_runs(long[long.method != "same"], "psnr", to="full").set_index(["method", "bucket"])
    pd.testing.assert_series_equal(table.loc[("worse", "all")], alone.loc[("worse", "all")], check_dtype=False)
    with pytest.raises(ValueError, match="cannot compare 'psnr' to 'ful'"):
        compare_runs(long, "psnr", to="ful")


def test_values_without_a_number_are_counted(long):
    row = (long.method == "full") & (long.bucket == "1-10 %") & (long.seed == 0)
    long.loc[row & (long.image == "0.jpg"), "value"] = np.inf
    long.loc[row & (long.image == "1.jpg"), "value"] = np.nan
    found = summarise_runs(long, ["psnr"]).set_index(["method", "bucket"])
    counted = ["n", "n_infinite", "n_undefined"]
    assert found.loc[("full", "1-10 %"), counted].tolist() == [4, 1, 1]
    assert found.loc[("full", "10-20 %"), counted].tolist() == [6, 0, 0]


def test_seeds_that_one_variant_lacks_are_left_out(long):
    fewer = long[(long.method != "worse") | (long.seed < 2)]
    table = compare_runs(fewer, "psnr", to="full")
    assert set(table[table.method == "worse"].seeds) == {2} and set(table[table.method == "same"].seeds) == {3}
    assert crossed.FEWEST == 2
