"""Paired comparisons: their p against scipy's tests, their errors by simulation, and Holm's correction by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aotlib.comparison import compare, holm

COLUMNS = ["method", "bucket", "metric", "difference", "low", "high", "n", "p", "p_holm", "significant", "better"]


def table(bucket="1-10 %", metric="psnr", data="d", **methods):
    """A long table with one value an image for each method, None for an image that it lacks."""
    rows = [
        (method, data, bucket, f"i{image}", metric, value)
        for method, values in methods.items()
        for image, value in enumerate(values)
        if value is not None
    ]
    return pd.DataFrame(rows, columns=["method", "data", "bucket", "image", "metric", "value"])


def pair(n=40, gain=0.0, seed=0, noise=1.0, **options):
    """Two methods on the same photographs, of which some are far easier than others."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(25, 6, n)
    ours, theirs = ease + gain + noise * rng.normal(size=n), ease + noise * rng.normal(size=n)
    return table(ours=ours, theirs=theirs, **options)


def values(long, method):
    return long[long["method"] == method]["value"].to_numpy()


def test_a_row_says_how_the_other_differs_and_who_is_better():
    rng = np.random.default_rng(0)
    wide = {"ours": 30 + rng.normal(size=12)}
    wide |= {"better": wide["ours"] + 5 + rng.normal(size=12), "same": wide["ours"], "worse": wide["ours"] - 4}
    found = compare(pd.concat([table(bucket=b, **wide) for b in ("10-20 %", "1-10 %")]), "psnr", to="ours")
    assert list(found.columns) == COLUMNS
    assert found["method"].tolist() == ["better"] * 2 + ["same"] * 2 + ["worse"] * 2
    assert found["bucket"].tolist() == ["1-10 %", "10-20 %"] * 3 and (found["n"] == 12).all()
    assert found["difference"].tolist() == pytest.approx(
        [np.mean(wide["better"] - wide["ours"])] * 2 + [0] * 2 + [-4] * 2
    )
    assert found["better"].tolist() == ["better"] * 2 + [""] * 2 + ["ours"] * 2
    assert found["significant"].tolist() == [True, True, False, False, True, True]
    same = found[found["method"] == "same"]
    assert same[["low", "high", "p"]].values.tolist() == [[0, 0, 1]] * 2


def test_lower_is_better_where_the_metric_says_so():
    long = pair(gain=5).assign(metric="hole_l1")
    assert compare(long, "hole_l1", to="theirs")["better"].tolist() == ["theirs"]
    assert compare(long, "hole_l1", to="ours")["better"].tolist() == ["theirs"]
    assert compare(pair(gain=5), "psnr", to="theirs")["better"].tolist() == ["ours"]


@pytest.mark.parametrize("gain", [0.0, 0.15, 0.3, 0.5, 0.8])
def test_p_is_about_that_of_other_paired_tests(gain):
    long = pair(gain=gain, seed=3)
    row = compare(long, "psnr", to="theirs").iloc[0]
    ours, theirs = values(long, "ours"), values(long, "theirs")
    assert row["difference"] == pytest.approx((ours - theirs).mean())
    signs = stats.permutation_test(
        (ours, theirs),
        lambda a, b, axis: (a - b).mean(axis),
        permutation_type="samples",
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    error = 3 * math.sqrt(row["p"] * (1 - row["p"]) * 2 / 10_000)  # of two shares of 10,000 draws
    assert row["p"] == pytest.approx(signs.pvalue, abs=0.01 + error)
    student = stats.ttest_rel(ours, theirs)
    assert row["p"] == pytest.approx(student.pvalue, abs=0.01 + error)
    assert [row["low"], row["high"]] == pytest.approx(list(student.confidence_interval()), abs=0.05)


def test_pairs_tell_what_the_two_spreads_hide():
    long = pair(n=30, gain=1, noise=0.5)
    assert stats.ttest_ind(values(long, "ours"), values(long, "theirs")).pvalue > 0.3
    assert compare(long, "psnr", to="theirs")["significant"].all()
    shuffled = long.sample(frac=1, random_state=0)  # the image names make the pairs, not the order of rows
    again = compare(shuffled, "psnr", to="theirs").iloc[0]
    assert again["difference"] == pytest.approx(compare(long, "psnr", to="theirs")["difference"][0])


def test_interval_and_p_say_the_same():
    parts = [pair(n=15, gain=g, seed=s, bucket=f"{s}-{s + 1} %") for s, g in enumerate(np.linspace(0, 1.5, 40))]
    found = compare(pd.concat(parts), "psnr", to="theirs", n_resamples=1999)
    without_0 = (found["low"] > 0) | (found["high"] < 0)
    assert 5 < without_0.sum() < 35 and (without_0 == (found["p"] <= 0.05)).all()
    wide = compare(pd.concat(parts), "psnr", to="theirs", n_resamples=1999, confidence=0.99)
    assert (wide["low"] < found["low"]).all() and (wide["high"] > found["high"]).all()
    assert wide["significant"].equals(wide["p_holm"] <= 0.01)


def test_the_other_way_round_only_signs_change():
    long = pair(n=15, gain=0.4)
    there, back = (compare(long, "psnr", to=to).iloc[0] for to in ("theirs", "ours"))
    assert (there["p"], there["n"]) == (back["p"], back["n"])
    assert [there["difference"], there["low"], there["high"]] == pytest.approx(
        [-back["difference"], -back["high"], -back["low"]]
    )


def test_images_that_one_of_the_two_lacks_are_left_out_and_not_counted():
    ours, theirs = [20.0, 21.5, 23.0, math.inf, 25.0, None, math.nan], [19.0, 20.0, 21.0, 22.0, None, 24.0, 9.0]
    third = [0.0, 1.0, 0.5, 3.0, 4.0, 6.0, 6.5]
    found = compare(table(ours=ours, theirs=theirs, third=third), "psnr", to="theirs").set_index("method")
    assert found.loc["ours", "n"] == 3 and found.loc["ours", "difference"] == pytest.approx(1.5)
    assert found.loc["third", "n"] == 6  # its own images, not those that all three have
    both_infinite = compare(table(ours=[math.inf, 5.0, 6.0], theirs=[math.inf, 4.0, 5.5]), "psnr", to="ours")
    assert both_infinite["n"][0] == 2


def test_too_few_images_prove_nothing():
    alone = table(ours=[9.0], theirs=[1.0])
    none = table(bucket="10-20 %", ours=[9.0, None], theirs=[None, 1.0])
    some = pair(gain=3, bucket="20-30 %")
    found = compare(pd.concat([alone, none, some]), "psnr", to="theirs")
    assert found["n"].tolist() == [1, 0, 40] and found["significant"].tolist() == [False, False, True]
    assert found[["low", "high", "p", "p_holm"]][:2].isna().all(axis=None) and found["better"].tolist() == [
        "",
        "",
        "ours",
    ]
    assert found["p_holm"][2] == found["p"][2], "a row without a test is no test to correct for"
    few = ([9.0, 10], [9.0, 10, 12], [9.0, 9], [9.0, 9, 9])  # the last two: the same difference for each image
    for ours, p in zip(few, (0.4, 0.1, 0.5, 0.25)):  # of n draws all are one image with n ** (1 - n): 1/2, 1/9; signs
        row = compare(table(ours=ours, theirs=[0.0] * len(ours)), "psnr", to="theirs").iloc[0]
        assert row["p"] >= p and not row["significant"] and math.isnan(row["low"]) and math.isnan(row["high"])
    same = compare(table(ours=[3.0] * 9, theirs=[1.0] * 9), "psnr", to="theirs").iloc[0]
    assert (same["low"], same["high"], same["p"]) == (2, 2, 2 / 512)  # 2 of the 512 ways to swap nine pairs


def test_p_is_never_0_and_the_seed_decides_it():
    long = pair(gain=50)
    assert compare(long, "psnr", to="theirs", n_resamples=99)["p"][0] == 1 / 100
    close = pair(gain=0.3)
    found = compare(close, "psnr", to="theirs", n_resamples=500)
    pd.testing.assert_frame_equal(found, compare(close, "psnr", to="theirs", n_resamples=500))
    assert found["p"][0] != compare(close, "psnr", to="theirs", n_resamples=500, seed=1)["p"][0]


def test_of_two_equal_methods_one_is_rarely_called_better():
    n_tables, any_row, any_uncorrected, rng = 120, 0, 0, np.random.default_rng(0)
    names = [["ours", "theirs"], ["d"], [f"{i}0-{i + 1}0 %" for i in range(6)], ["psnr"], [f"i{i}" for i in range(15)]]
    names = pd.MultiIndex.from_product(names, names=["method", "data", "bucket", "metric", "image"]).to_frame(
        index=False
    )
    for _ in range(n_tables):
        ease = rng.normal(25, 6, 90)
        scores = rng.normal(np.concatenate([ease, ease]))
        found = compare(names.assign(value=scores), "psnr", to="theirs", n_resamples=199)
        any_row += found["significant"].any()
        any_uncorrected += (found["p"] <= 0.05).any()
    assert any_row / n_tables <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_tables)
    assert any_uncorrected / n_tables > 0.13, "the tables would show it if the correction were missing"


@pytest.mark.parametrize(
    "p, expected",
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x 0.005, 3 x 0.01, 2 x 0.03, then not below that
        ([0.5, 0.9, 0.4], [1, 1, 1]),
        ([0.04], [0.04]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([math.nan, 0.02, 0.01], [math.nan, 0.02, 0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(p, expected):
    assert holm(p).tolist() == pytest.approx(expected, nan_ok=True)


def test_holm_is_between_no_correction_and_bonferronis():
    p = np.random.default_rng(0).random(20) ** 3
    corrected = holm(p)
    assert (corrected >= p).all() and (corrected <= np.minimum(20 * p, 1) + 1e-15).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
    with pytest.raises(ValueError, match="between 0 and 1, got 1.5"):
        holm([0.1, 1.5])


@pytest.mark.parametrize(
    "long, options, words",
    [
        (pair(), {"metric": "ssim"}, "no 'ssim'; it has psnr"),
        (pair(), {"to": "nobody"}, "'nobody' among the methods 'ours', 'theirs'"),
        (table(ours=[1.0, 2.0]), {"to": "ours"}, "cannot compare to 'ours' among the methods 'ours': name one of two"),
        (pd.concat([pair(), pair()]), {}, "two values of 'psnr'"),
        (pd.concat([pair(), pair(data="e")]), {}, r"several data sets \('d', 'e'\): compare on one"),
        (pair(metric="beauty"), {"metric": "beauty"}, "no metric is called 'beauty'"),
        (pair(), {"confidence": 95}, "confidence is 95"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(long, options, words):
    with pytest.raises(ValueError, match=words):
        compare(long, **{"metric": "psnr", "to": "theirs"} | options)


@pytest.mark.parametrize("values", [[1, 2, 3, 2, 1, 3], [5, 5.1, 4.9, 5, 5, 5.2, 4.8]])
def test_draws_of_nothing_but_images_at_the_mean_do_not_spoil_the_interval(values):
    """Such a draw has neither a difference nor a spread: 0 / 0."""
    rows = [("a", str(i), 0.0) for i in range(len(values))] + [("b", str(i), value) for i, value in enumerate(values)]
    long = pd.DataFrame(rows, columns=["method", "image", "value"]).assign(data="d", bucket="1-10 %", metric="psnr")
    (row,) = compare(long, "psnr", to="a").itertuples()
    assert row.low < row.difference < row.high and (row.low > 0) == (row.p < 0.05)


def test_fewer_than_six_images_have_a_p_but_no_ends():
    rows = [(method, str(i), i * shift) for shift, method in enumerate(("a", "b"), 1) for i in range(1, 6)]
    long = pd.DataFrame(rows, columns=["method", "image", "value"]).assign(data="d", bucket="1-10 %", metric="psnr")
    (row,) = compare(long, "psnr", to="a").itertuples()
    assert math.isnan(row.low) and math.isnan(row.high) and 0 < row.p < 1 and row.n == 5
