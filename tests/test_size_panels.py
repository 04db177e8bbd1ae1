"""Figures over sizes: what is drawn is what the table says."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from aotlib import figures, size_panels


@pytest.fixture
def of_sizes():
    rows = []
    for shift, method in enumerate(("fixed", "scaled", "spread")):
        for mean, size in ((20.0 + shift, "1024 px"), (30.0 + shift, "128 px")):
            rows.append(
                {"method": method, "bucket": size, "metric": "psnr", "mean": mean, "low": mean - 1, "high": 40.0}
            )
    table = pd.DataFrame(rows)
    found = table.drop(columns=["mean", "high"]).assign(difference=table["mean"] - 25, low=-9.0, high=9.0)
    yield table, found[found.method != "fixed"].assign(significant=[True, False, False, False])
    plt.close("all")


def test_over_sizes_stand_the_tables_numbers_beside_each_other(of_sizes):
    ax = size_panels.over_sizes(of_sizes[0], "psnr", "mean", methods=["fixed", "scaled", "spread"], ylabel="y")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["128", "1024"]  # by size, not by letter
    points = [c.get_offsets() for c in ax.collections if len(c.get_offsets()) == 2]
    assert [list(p[:, 1]) for p in points] == [[30, 20], [31, 21], [32, 22]]
    assert np.allclose([p[:, 0] for p in points], [[-0.13, 0.87], [0, 1], [0.13, 1.13]])
    ends = [list(s[:, 1]) for c in ax.collections if len(c.get_offsets()) != 2 for s in c.get_segments()]
    assert ends == [[29, 40], [19, 40], [30, 40], [20, 40], [31, 40], [21, 40]]
    with pytest.raises(ValueError, match="no 'ssim'; the table has psnr"):
        size_panels.over_sizes(of_sizes[0], "ssim", "mean", methods=["fixed"], ylabel="y")


def test_served_keeps_the_colours_and_fills_what_is_significant(of_sizes):
    figures.style()
    fig = size_panels.served(*of_sizes, "psnr", to="fixed", note="small print")
    left, right = ([c for c in ax.collections if len(c.get_offsets()) == 2] for ax in fig.axes)
    assert [list(p.get_offsets()[:, 1]) for p in right[-2:]] == [[6, -4], [7, -3]]
    for one, other in zip(left[1:], right[-2:], strict=True):  # the way that the others are compared to has none
        assert np.array_equal(one.get_edgecolor()[0], other.get_edgecolor()[0])
    white = [[tuple(face[:3]) == (1, 1, 1) for face in p.get_facecolor()] for p in right[-2:]]
    assert white == [[True, False], [True, True]]  # at 128 px, at 1024 px
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["fixed", "scaled", "spread"]
    assert fig.axes[1].get_ylabel() == "PSNR less that of fixed / dB" and fig._supxlabel.get_text() == "small print"
