"""What is shown is chosen by rule; error maps and insets show what they say."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from aotlib import gallery

COLUMNS = ["method", "data", "bucket", "image", "metric", "value"]


def table(values, metric="l1", method="ours", bucket="1-10 %"):
    return pd.DataFrame([(method, "d", bucket, name, metric, v) for name, v in values.items()], columns=COLUMNS)


def test_best_median_and_worst_follow_the_metrics_direction():
    errors = table({"a": 0.4, "b": 0.1, "c": 0.3, "d": 0.2})
    found = gallery.spread_of(errors, method="ours", metric="l1", bucket="1-10 %")
    assert [(one.place, one.image, one.value) for one in found] == [
        ("best", "b", 0.1), ("median", "d", 0.2), ("worst", "a", 0.4)
    ]  # fmt: skip
    better_high = table({"a": 20.0, "b": 30.0, "c": math.inf}, metric="psnr")
    found = gallery.spread_of(better_high, method="ours", metric="psnr", bucket="1-10 %")
    assert [one.image for one in found] == ["c", "b", "a"]
    one = gallery.spread_of(table({"a": 0.4}), method="ours", metric="l1", bucket="1-10 %")
    assert [pick.image for pick in one] == ["a", "a", "a"]


def test_ties_are_broken_by_name_and_other_rows_do_not_count():
    rows = pd.concat([
        table({"b": 0.5, "a": 0.5, "c": math.nan}),
        table({"x": 9.0}, method="theirs"),
        table({"y": 9.0}, bucket="10-20 %"),
        table({"z": 9.0}, metric="psnr"),
    ])  # fmt: skip
    ranked = gallery.ranked(rows.iloc[::-1], method="ours", metric="l1", bucket="1-10 %")
    assert ranked.image.tolist() == ["a", "b"] and "order" not in ranked
    with pytest.raises(ValueError, match=r"no value of ssim for 'ours' .*'metric': \['l1', 'psnr'\]"):
        gallery.ranked(rows, method="ours", metric="ssim")


def test_failures_are_the_worst_of_different_photographs():
    rows = pd.concat([table({"a": 0.4, "b": 0.1, "c": 0.3}), table({"a": 0.5, "b": 0.2}, bucket="10-20 %")])
    found = gallery.failures(rows, method="ours", metric="l1", n=2)
    assert [(one.place, one.image, one.bucket) for one in found] == [
        ("worst 1", "a", "10-20 %"),
        ("worst 2", "c", "1-10 %"),
    ]
    assert [one.image for one in gallery.failures(rows, method="ours", metric="l1", n=9)] == ["a", "c", "b"]
    (one,) = gallery.failures(rows, method="ours", metric="l1", n=1, buckets=["1-10 %"])
    assert one.value == 0.4


def test_error_map_is_numpys():
    rng = np.random.default_rng(0)
    one, two = (rng.integers(0, 256, (3, 5, 7), dtype=np.uint8) for _ in range(2))
    expected = np.abs(one.astype(float) - two).mean(0) / 255
    found = gallery.error_map(torch.from_numpy(one), torch.from_numpy(two))
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    assert found.shape == (1, 5, 7)


def test_heat_brightens_with_the_value_and_stays_at_the_top():
    values = torch.tensor([[[0.0, 0.1, 0.2, 0.3, 0.4, 0.9]]])
    picture = gallery.heat(values, high=0.4)
    grey = (picture * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)[0]
    assert picture.shape == (3, 1, 6) and picture.abs().max() <= 1
    assert (grey.diff()[:-1] > 0).all() and torch.equal(picture[..., 4], picture[..., 5])
    with pytest.raises(ValueError, match="stands for 0"):
        gallery.heat(values, high=0)


def test_the_inset_is_where_the_error_is_largest_and_keeps_pixels():
    errors = torch.zeros(1, 20, 30)
    errors[0, 12:15, 21:24] = 1
    top, left = gallery.busiest(errors, 8)
    assert top <= 12 and top + 8 >= 15 and left <= 21 and left + 8 >= 24
    assert gallery.busiest(torch.zeros(1, 20, 30), 8) == (0, 0)
    with pytest.raises(ValueError, match="21 px does not fit into 20 x 30"):
        gallery.busiest(errors, 21)
    picture = torch.arange(3 * 16 * 16).remainder(256).to(torch.uint8).view(3, 16, 16)
    large = gallery.enlarged(picture, (4, 8), 4)
    assert large.shape == (3, 16, 16)
    expected = picture[:, 4:8, 8:12].float() / 127.5 - 1
    assert torch.equal(large[:, ::4, ::4], expected) and torch.equal(large[:, 3::4, 3::4], expected)
