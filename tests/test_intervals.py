"""Intervals against scipy's bootstrap with the same draws, against what they promise, and the summary of a table."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from aotlib import intervals, metrics
from aotlib.intervals import mean_interval, summarise

COLUMNS = ["method", "data", "bucket", "metric", "mean", "low", "high", "n", "n_infinite", "n_undefined"]


def scipys(*samples, statistic=np.mean, n_resamples=2000, seed=0, **options):
    rng = np.random.default_rng(seed)
    found = stats.bootstrap(samples, statistic, n_resamples=n_resamples, method="BCa", rng=rng, **options)
    return list(found.confidence_interval)


def ends(interval):
    return [interval.low, interval.high]


@pytest.mark.parametrize("n", [2, 3, 10, 57, 300])
def test_interval_is_that_of_scipys_bootstrap(n):
    values = np.random.default_rng(n).lognormal(3, 1, n)
    found = mean_interval(values)
    assert found.mean == pytest.approx(values.mean()) and found.n == n
    assert ends(found) == pytest.approx(scipys(values), rel=1e-12)
    other = mean_interval(values, n_resamples=500, confidence=0.8, seed=7)
    assert ends(other) == pytest.approx(scipys(values, n_resamples=500, seed=7, confidence_level=0.8), rel=1e-12)


def test_draws_that_tie_with_the_mean_count_half_as_scipy_counts_them():
    values = np.array([0.0, 0, 0, 1, 1, 1, 0, 1, 3, 2, 1, 0])
    assert ends(mean_interval(values)) == pytest.approx(scipys(values), rel=1e-12)
    tenths = values / 10 + 0.1  # no longer exact in binary: a tie must not be broken by rounding
    assert ends(mean_interval(tenths)) == pytest.approx([end / 10 + 0.1 for end in scipys(values)], rel=1e-12)


@pytest.mark.parametrize("kind, least", [("normal", 0.90), ("lognormal", 0.83)])
def test_intervals_hold_the_true_mean_about_as_often_as_they_say(kind, least):
    rng = np.random.default_rng(0)
    truth = {"normal": 0, "lognormal": math.exp(0.5)}[kind]
    found = [mean_interval(getattr(rng, kind)(size=40), n_resamples=400) for _ in range(400)]
    covered = np.mean([low <= truth <= high for _, low, high, _ in found])
    assert least <= covered <= 0.98  # 2,000 samples: 0.94 and 0.89; 400 of them have a standard error of 0.012


def test_few_equal_and_infinite_values_give_no_error_and_no_false_certainty():
    assert mean_interval([0.1] * 7) == pytest.approx((0.1, 0.1, 0.1, 7), rel=1e-12)
    assert mean_interval([0.0, 0.0]) == (0, 0, 0, 2)
    alone = mean_interval([3.0])
    assert (alone.mean, alone.n) == (3, 1) and math.isnan(alone.low) and math.isnan(alone.high)
    rest = mean_interval([math.inf, 1.0, math.nan, 2.0, -math.inf, 4.0])
    assert rest == mean_interval([1.0, 2.0, 4.0]) and rest.n == 3
    for nothing in ([], [math.inf, math.nan]):
        assert np.isnan(mean_interval(nothing)[:3]).all() and mean_interval(nothing).n == 0


def test_the_seed_decides_and_the_size_of_a_block_does_not(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    found = mean_interval(values)
    assert mean_interval(values) == found != mean_interval(values, seed=1)
    monkeypatch.setattr(intervals, "BLOCK", 7 * 50)
    assert mean_interval(values) == pytest.approx(found, rel=1e-12)
    monkeypatch.setattr(intervals, "BLOCK", 1)
    assert mean_interval(values) == pytest.approx(found, rel=1e-12)


def test_draws_hold_few_weights_at_once():
    blocks = list(intervals.draws(10_000, n_resamples=100, seed=0))
    assert sum(map(len, blocks)) == 100 and max(block.size for block in blocks) <= intervals.BLOCK
    assert all((block.sum(1) == 10_000).all() and block.min() == 0 for block in blocks)
    assert np.concatenate(blocks).mean(0).std() == pytest.approx(0.1, rel=0.05)  # each count has a variance of 1


@pytest.mark.parametrize(
    "values, options, words",
    [
        ([[1.0, 2.0]], {}, r"shape \(1, 2\): give one value an image"),
        ([1.0, 2.0], {"confidence": 95}, "confidence is 95: give a share"),
        ([1.0, 2.0], {"n_resamples": 0}, "n_resamples is 0"),
    ],
)
def test_unfit_arguments_are_refused_in_words(values, options, words):
    with pytest.raises(ValueError, match=words):
        mean_interval(values, **options)


def example(method="ours", **changes):
    scores = {
        "psnr": torch.tensor([20.0, math.inf, 30.0, 40.0]),
        "hole_ssim": torch.tensor([0.5, 1, 0.25, math.nan]),
    }
    buckets = ["40-50 %", "1-10 %", "1-10 %", None]
    about = {"method": method, "data": "samples", "images": list("abcd"), "buckets": buckets}
    return metrics.long_table(scores, **about | changes)


def test_summary_averages_what_is_finite_and_counts_the_rest():
    table = summarise(pd.concat([example("ours"), example("a baseline")]))
    assert list(table.columns) == COLUMNS
    assert table["method"].tolist() == ["ours"] * 8 + ["a baseline"] * 8  # as they came, not by the alphabet
    assert table["bucket"][:8].tolist() == [b for b in ("1-10 %", "40-50 %", "other", "all") for _ in range(2)]
    assert table["metric"].tolist() == ["psnr", "hole_ssim"] * 8
    counts = [[1, 1, 0], [2, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1], [3, 1, 0], [3, 0, 1]]
    assert table[["n", "n_infinite", "n_undefined"]].values.tolist() == counts * 2
    means = [30, 0.625, 20, 0.5, 40, math.nan, 30, (0.5 + 1 + 0.25) / 3]
    assert table["mean"][:8].tolist() == pytest.approx(means, nan_ok=True)


def test_buckets_sort_by_their_lower_bound_and_data_sets_stay_apart():
    buckets = ["10-20 %", "1-10 %", "50-60 %", "20-30 %"]
    table = summarise(pd.concat([example(buckets=buckets), example(data="others", buckets=buckets)]), overall=False)
    of_one = table[(table["metric"] == "psnr") & (table["data"] == "others")]
    assert of_one["bucket"].tolist() == ["1-10 %", "10-20 %", "20-30 %", "50-60 %"]
    assert table["data"].tolist() == ["samples"] * 8 + ["others"] * 8
    assert intervals.in_order(["all", "other", "10-20 %", "1-10 %"]) == ["1-10 %", "10-20 %", "other", "all"]


def test_summary_refuses_double_rows_and_takes_an_empty_table():
    with pytest.raises(ValueError, match="two values of one metric"):
        summarise(pd.concat([example(), example()]))
    empty = summarise(example()[:0])
    assert list(empty.columns) == COLUMNS and empty.empty


def scored(n_images=12, buckets=("1-10 %", "10-20 %"), seed=0):
    """Two methods, two metrics; good photographs are good in every bucket, for each method."""
    rng = np.random.default_rng(seed)
    rows = []
    for image, ease in enumerate(rng.normal(25, 5, n_images)):
        for step, bucket in enumerate(buckets):
            for method in ("ours", "grey"):
                value = ease - 3 * step - 2 * (method == "grey") + rng.normal()
                rows.append((method, "d", bucket, f"i{image}", "psnr", value))
                rows.append((method, "d", bucket, f"i{image}", "l1", 10 ** (-value / 20)))
    return pd.DataFrame(rows, columns=["method", "data", "bucket", "image", "metric", "value"])


def pick(table, **wanted):
    for key, value in wanted.items():
        table = table[table[key] == value]
    return table


def test_each_row_of_a_bucket_is_the_interval_of_its_values_in_any_order_of_the_table():
    long = scored()
    long.loc[pick(long, method="grey", bucket="1-10 %", image="i3", metric="psnr").index, "value"] = math.inf
    table = summarise(long, seed=4)
    for row in table.itertuples():
        if row.bucket != "all":
            values = pick(long, method=row.method, bucket=row.bucket, metric=row.metric)["value"]
            expected = mean_interval(values, seed=4)
            assert (row.mean, row.low, row.high, row.n) == pytest.approx(expected, rel=1e-12)
    regrouped = summarise(long.sort_values(["metric", "method"], kind="stable"), seed=4)
    pair = [frame.sort_values(COLUMNS[:4], ignore_index=True) for frame in (regrouped, table)]
    pd.testing.assert_frame_equal(*pair)


def test_the_bucket_of_all_draws_whole_images():
    long = scored(buckets=("1-10 %", "10-20 %", "20-30 %"))
    row = pick(summarise(long), method="ours", bucket="all", metric="psnr").iloc[0]
    values = pick(long, method="ours", metric="psnr")
    photographs = values.groupby("image", sort=False)["value"].mean()
    assert row["n"] == 12 and row["mean"] == pytest.approx(values["value"].mean())
    assert [row["low"], row["high"]] == pytest.approx(scipys(photographs.to_numpy()), rel=1e-12)
    apart = mean_interval(values["value"])  # as if the 36 values knew nothing of each other
    assert row["high"] - row["low"] > 1.3 * (apart.high - apart.low)


def test_images_with_more_values_weigh_more_in_the_mean_of_all():
    long = scored(buckets=("1-10 %", "10-20 %", "20-30 %"))
    kept = pick(long, method="ours", metric="psnr")
    kept = kept[np.random.default_rng(1).random(len(kept)) < 0.7]
    row = pick(summarise(kept), bucket="all").iloc[0]
    by_image = kept.groupby("image", sort=False)["value"].agg(["sum", "count"]).to_numpy().T
    expected = scipys(*by_image, statistic=lambda s, c, axis=-1: s.sum(axis) / c.sum(axis), paired=True)
    assert row["mean"] == pytest.approx(kept["value"].mean())
    assert [row["low"], row["high"]] == pytest.approx(expected, rel=1e-12)


def test_a_method_without_a_bucket_has_no_row_there_and_no_undefined_value():
    long = scored()
    long = long[(long["method"] == "ours") | (long["bucket"] == "1-10 %")]
    table = summarise(long)
    assert pick(table, method="grey")["bucket"].unique().tolist() == ["1-10 %", "all"]
    assert (table["n_undefined"] == 0).all() and (table["n"] == 12).all()
