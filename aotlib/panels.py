r"""Curves of metrics over the buckets of hole size, with the intervals that the tables print.

Taught in notebook 06.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from aotlib import figures
from aotlib.adversary import Seen
from aotlib.figures import COLUMN, PAGE
from aotlib.masks import BUCKET_NAMES
from aotlib.metrics import OF_SETS, about

HEIGHT = 2.1  # inches of one panel


def divided_by(unit: str) -> str:
    r"""What follows the label of an axis: ``" / dB"``; nothing for a range, which is no unit to divide by, or for none.

    >>> divided_by("dB"), divided_by("0 to 1"), divided_by("")
    (' / dB', '', '')

    Taught in notebook 06.
    """
    return f" / {unit}" if unit and " to " not in unit else ""


def bands(summary: pd.DataFrame, metric: str, *, ax: Axes | None = None) -> Axes:
    r"""The mean of `metric` in each bucket, a line a method, and its 95 % interval as a band; a legend is left to you.

    `summary` is a table of `aotlib.intervals.summarise`. Lines differ in dash and marker too, not in colour alone.

    Raises:
        ValueError: when the summary has no such metric by bucket.

    Taught in notebook 06.
    """
    ax, (label, unit, _) = ax or plt.figure().add_subplot(), about(metric)
    rows = summary[(summary.metric == metric) & summary.bucket.isin(BUCKET_NAMES)]
    if rows.empty:
        raise ValueError(f"no {metric!r} by bucket; the table has {', '.join(summary.metric.unique())}")
    order = [name for name in BUCKET_NAMES if name in set(rows.bucket)]
    rows = rows.assign(hole=rows.bucket.map(order.index))
    sns.lineplot(rows, x="hole", y="mean", hue="method", style="method", markers=True, errorbar=None, ax=ax)
    ax.get_legend().remove()
    for colour, (_, part) in zip(sns.color_palette(), rows.groupby("method", sort=False), strict=False):
        part = part.sort_values("hole")
        ax.fill_between(part.hole, part.low, part.high, color=colour, alpha=0.2, linewidth=0)
    ax.set_xticks(range(len(order)), [name.replace(" %", "") for name in order], rotation=45)
    ranged = divided_by(unit) or f" ({unit})"
    counted = f" (n = {int(rows.n.min())})" if metric.rpartition("_")[0] in OF_SETS else ""  # they mean nothing without
    ax.set(xlabel="hole / %", ylabel=label + (ranged if unit else "") + counted)
    sns.despine(ax=ax)
    return ax


def every_metric(summary: pd.DataFrame, metrics: Sequence[str], *, width: float = PAGE, note: str = "") -> Figure:
    r"""A panel of `bands` for each metric, three beside each other across the page or one in a column; one legend.

    Args:
        width: inches, `aotlib.figures.PAGE` or `aotlib.figures.COLUMN`.
        note: small print below, such as what all the numbers depend on.

    Taught in notebook 06.
    """
    n_columns = 1 if width <= COLUMN else min(3, len(metrics))
    fig, axes = figures.panels(len(metrics), n_columns, width=width, height=HEIGHT)
    for ax, metric in zip(axes, metrics, strict=True):
        bands(summary, metric, ax=ax)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncol=2 if width <= COLUMN else 3)
    if note:
        figures.note(fig, note)
    return fig


def ranking(summary: pd.DataFrame, metrics: Sequence[str], *, bucket: str = "all", note: str = "") -> Figure:
    r"""A panel a metric: the mean of each method with its 95 % interval, best on top by the first metric.

    Many methods can be told apart here, where their lines over the buckets could not.

    Args:
        bucket: whose numbers; "all" is the mean over all pictures.
        note: small print below.

    Taught in notebook 07.
    """
    rows = summary[summary.bucket == bucket]
    first = rows[rows.metric == metrics[0]].set_index("method")["mean"]
    order = list(first.sort_values(ascending=about(metrics[0]).higher_is_better).index)  # the best one highest
    size = (PAGE, 0.7 + 0.19 * len(order))
    fig, axes = plt.subplots(1, len(metrics), figsize=size, squeeze=False, sharey=True)
    for ax, metric in zip(axes[0], metrics, strict=True):
        part = rows[rows.metric == metric].set_index("method").reindex(order)
        ax.hlines(range(len(order)), part.low, part.high, color="0.5")
        ax.plot(part["mean"], range(len(order)), "o", color="black", markersize=3.5)
        label, unit, higher = about(metric)
        counted = f", n = {int(part.n.min())}" if metric.rpartition("_")[0] in OF_SETS else ""
        ax.set(xlabel=f"{label}{divided_by(unit)}{counted}\n({'higher' if higher else 'lower'} is better)")
        ax.grid(axis="y", linewidth=0.3)
        sns.despine(ax=ax)
    axes[0, 0].set_yticks(range(len(order)), order)
    if note:
        figures.note(fig, note)
    return fig


def differences(versus: pd.DataFrame, variants: Sequence[str], *, to: str, note: str = "") -> Figure:
    r"""A panel a metric: each variant's mean difference to `to` over all holes, with its 95 % interval; 0 is no change.

    Filled dots are significant after Holm's correction, open ones are not. A variant without a dot was not run,
    or shares no seed with `to`.

    Args:
        versus: rows of `aotlib.crossed.compare_runs` of one or several metrics.
        variants: from top to bottom.
        note: small print below.

    Taught in notebook 08.
    """
    metrics = list(versus.metric.unique())
    fig, axes = plt.subplots(1, len(metrics), figsize=(PAGE, 0.7 + 0.19 * len(variants)), squeeze=False, sharey=True)
    for ax, metric in zip(axes[0], metrics, strict=True):
        rows = versus[(versus.metric == metric) & (versus.bucket == "all")].set_index("method").reindex(variants[::-1])
        places = np.arange(len(rows))
        ax.axvline(0, color="0.6", linewidth=0.8)
        ax.hlines(places, rows.low, rows.high, color="0.5")
        sure = rows.significant.fillna(False).astype(bool).to_numpy()
        for filled, face in ((sure, "black"), (~sure & rows.difference.notna(), "white")):
            ax.plot(rows.difference[filled], places[filled], "o", color="black", markerfacecolor=face, markersize=4)
        label, unit, higher = about(metric)
        ax.set(xlabel=f"{label} less that of {to}{divided_by(unit)}\n({'higher' if higher else 'lower'} is better)")
        ax.locator_params(axis="x", nbins=4)
        ax.grid(axis="y", linewidth=0.3)
        sns.despine(ax=ax)
    for place, row in zip(places, rows.itertuples(), strict=True):
        if np.isnan(row.difference):
            told = f"no seed of {to}" if row.seeds == 0 else "not run"
            axes[0, 0].annotate(told, (0.02, place), xycoords=("axes fraction", "data"), va="center", color="0.4")
    axes[0, 0].set_yticks(places, [name.replace("_", " ") for name in variants[::-1]])
    axes[0, 0].set_ylim(-0.6, len(variants) - 0.4)
    if note:
        figures.note(fig, note)
    return fig


def switched(given: Sequence[Tensor], seen: Mapping[str, Seen]) -> Figure:
    r"""A column a variant: its fill, how much its last gate renews, and what its discriminator says of the fill.

    Args:
        given: the first column: the picture with its hole marked, the truth (3, H, W) in [-1, 1], the mask (1, H, W).
        seen: of each variant, `aotlib.adversary.look`.

    Taught in notebook 08.
    """
    side = PAGE / (len(seen) + 1)
    fig, axes = plt.subplots(3, len(seen) + 1, figsize=(PAGE, 3 * side + 0.3), squeeze=False)
    for ax, picture, title in zip(axes[:, 0], given, ("input", "truth", "hole"), strict=True):
        figures.show_picture(ax, picture).set_title(title)
    for column, (name, one) in zip(axes.T[1:], seen.items(), strict=True):
        figures.show_picture(column[0], one.z).set_title(name.replace("_", " "))
        if one.update is None:
            column[1].text(0.5, 0.5, "no gate", ha="center", va="center")
            column[1].set(xticks=[], yticks=[], box_aspect=1)
        else:
            figures.show_map(column[1], one.update, label="")
        figures.show_map(column[2], one.scores, label="")
    axes[1, 1].set_ylabel("renewed")
    axes[2, 1].set_ylabel("D(fill)")
    return fig


def price(summary: pd.DataFrame, costs: pd.DataFrame, metric: str, cost: str, *, xlabel: str, note: str = "") -> Figure:
    r"""What a method costs, on a logarithmic axis, against how good it is, with 95 % intervals; over all pictures.

    Args:
        costs: a row a method, with the column `cost` (`aotlib.contest.costs`).
        note: small print below.

    Taught in notebook 07.
    """
    rows = summary[(summary.bucket == "all") & (summary.metric == metric)].merge(costs, on="method")
    fig, ax = plt.subplots(figsize=(PAGE, 2.8))
    for marker, (_, row) in zip(cycle(figures.MARKERS), rows.iterrows()):
        off = [[row["mean"] - row.low], [row.high - row["mean"]]]
        ax.errorbar(row[cost], row["mean"], off, fmt=marker, ms=6, lw=0.6, label=row.method)
    fig.legend(loc="outside right upper")
    label, unit, _ = about(metric)
    if note:
        figures.note(fig, note)
    ax.set(xscale="log", xlabel=xlabel, ylabel=label + divided_by(unit))
    sns.despine(ax=ax)
    return fig
