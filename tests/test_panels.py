"""Curves over the buckets: what is drawn is what the table says."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from aotlib import figures, panels
from aotlib.adversary import Seen


@pytest.fixture
def summary():
    rows = []
    for shift, method in enumerate(("ours", "theirs")):
        for mean, bucket in ((20.0 + shift, "10-20 %"), (30.0 + shift, "1-10 %"), (25.0 + shift, "all")):
            about = {"method": method, "data": "d", "bucket": bucket, "mean": mean, "low": mean - 1, "high": mean + 2}
            rows += [about | {"metric": metric, "n": 7} for metric in ("psnr", "fid_768", "l1", "ssim")]
    yield pd.DataFrame(rows)
    plt.close("all")


def test_lines_and_bands_are_the_tables_numbers(summary):
    ax = panels.bands(summary, "psnr")
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert [list(line.get_ydata()) for line in lines] == [[30, 20], [31, 21]]  # by the size of the hole; "all" is none
    extents = [
        np.ptp([path.vertices[:, 1].min(), path.vertices[:, 1].max()]) for c in ax.collections for path in c.get_paths()
    ]
    assert extents == [13.0, 13.0]  # from 20 - 1 to 30 + 2
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1-10", "10-20"]
    assert ax.get_ylabel() == "PSNR / dB" and ax.get_legend() is None
    assert [line.is_dashed() for line in lines] == [False, True]
    band, line = ax.collections[0].get_facecolor()[0][:3], lines[0].get_color()
    assert np.allclose(band, plt.matplotlib.colors.to_rgb(line))


def test_distances_between_sets_say_how_many_pictures(summary):
    assert panels.bands(summary, "fid_768").get_ylabel() == "FID-768 (n = 7)"
    assert panels.bands(summary, "l1").get_ylabel() == "L1 (0 to 1)"
    assert panels.bands(summary, "ssim").get_ylabel() == "SSIM"
    with pytest.raises(ValueError, match="no 'lpips' by bucket; the table has psnr, fid_768"):
        panels.bands(summary, "lpips")


def test_a_page_has_three_panels_beside_each_other_and_a_column_one(summary):
    figures.style()
    page = panels.every_metric(summary, ["psnr", "l1", "ssim", "fid_768"], note="small print")
    column = panels.every_metric(summary, ["psnr", "l1"], width=figures.COLUMN)
    seen = [ax for ax in page.axes if ax.get_visible()]
    assert len(seen) == 4 and len({round(ax.get_subplotspec().colspan.start) for ax in seen}) == 3
    assert page.get_figwidth() == figures.PAGE and column.get_figwidth() == figures.COLUMN
    assert {ax.get_subplotspec().colspan.start for ax in column.axes} == {0}
    (legend,) = page.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "theirs"]
    assert [text.get_text() for text in page.texts + [page._supxlabel]][-1] == "small print"


def test_ranking_has_the_best_on_top_and_intervals_as_lines(summary):
    fig = panels.ranking(summary, ["psnr", "l1"])
    ax = fig.axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["ours", "theirs"]  # bottom first; theirs is larger
    assert list(ax.lines[0].get_xdata()) == [25.0, 26.0]
    assert [segment[:, 0].tolist() for segment in ax.collections[0].get_segments()] == [[24.0, 27.0], [25.0, 28.0]]
    assert "PSNR / dB" in ax.get_xlabel() and "lower is better" in fig.axes[1].get_xlabel()


def test_price_puts_each_method_at_its_cost(summary):
    costs = pd.DataFrame({"method": ["theirs", "ours"], "seconds": [0.1, 2.0]})
    ax = panels.price(summary, costs, "psnr", "seconds", xlabel="seconds").axes[0]
    shown = zip(*ax.get_legend_handles_labels(), strict=True)
    points = {label: (*bar.lines[0].get_xdata(), *bar.lines[0].get_ydata()) for bar, label in shown}
    assert points == {"ours": (2.0, 25.0), "theirs": (0.1, 26.0)}
    assert len({bar.lines[0].get_marker() for bar in ax.containers}) == 2, "not told apart in grey"
    assert ax.get_xscale() == "log"


def test_differences_stand_where_the_table_has_them_and_tell_sure_from_unsure():
    unpaired = ("all_far", np.nan, np.nan, np.nan, False, 0)
    rows = [("no_gate", -0.5, -0.8, -0.2, True, 3), ("patchgan", 0.1, -0.3, 0.5, False, 3), unpaired]
    versus = pd.DataFrame(rows, columns=["method", "difference", "low", "high", "significant", "seeds"])
    versus = versus.assign(metric="psnr", bucket="all")
    ax = panels.differences(versus, ["no_gate", "patchgan", "no_style", "all_far"], to="full").axes[0]
    dots = {line.get_markerfacecolor(): line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"}
    assert dots == {"black": [[-0.5, 3.0]], "white": [[0.1, 2.0]]}
    ends = [path.vertices.tolist() for path in ax.collections[0].get_paths()]
    assert [[-0.8, 3.0], [-0.2, 3.0]] in ends and [[-0.3, 2.0], [0.5, 2.0]] in ends
    assert [label.get_text() for label in ax.get_yticklabels()] == ["all far", "no style", "patchgan", "no gate"]
    assert [(text.get_text(), text.xy[1]) for text in ax.texts] == [("no seed of full", 0), ("not run", 1)]
    assert ax.get_xlabel().startswith("PSNR less that of full / dB") and "higher is better" in ax.get_xlabel()


def test_inside_of_a_variant_without_a_gate_is_said():
    picture, map_ = torch.zeros(3, 8, 8), torch.rand(4, 4)
    seen = {"full": Seen(picture, map_, map_), "no_gate": Seen(picture, None, map_)}
    axes = panels.switched([picture, picture, torch.zeros(1, 8, 8)], seen).axes
    assert [text.get_text() for ax in axes for text in ax.texts] == ["no gate"]
    titles = [ax.get_title() for ax in axes if ax.get_title()]
    assert sorted(titles) == ["full", "hole", "input", "no gate", "truth"]
