r"""Figures of a user study. One that shows answers of simulated raters says so in the picture.

Taught in notebook 09.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from aotlib import figures
from aotlib.figures import COLUMN, PAGE, PALETTE
from aotlib.metrics import about
from aotlib.study.design import TRUTH
from aotlib.study.rates import mirrored

SIMULATED = "simulated answers: no user study"
ROW = 0.24  # inches of a row of names
SIGNIFICANT = 0.05
UNITS = {"days": 86400, "hours": 3600, "minutes": 60}  # seconds: the first that passed twice is on the axis of time


def _finished(fig: Figure, simulated: bool, note: str = "") -> Figure:
    if simulated:
        fig.suptitle(SIMULATED, color=PALETTE["red"], fontsize=figures.FONT_PT, fontweight="bold")
    if note:
        figures.note(fig, note)
    return fig


def _rows(ax: Axes, names: Sequence[str], table: pd.DataFrame, value: str, low: str, high: str) -> Axes:
    """Points with their intervals, a row a name, the first on top."""
    places = np.arange(len(names))[::-1]
    ax.hlines(places, table[low], table[high], color="0.5")
    ax.plot(table[value], places, "o", color="black", markersize=4, clip_on=False)  # whole at 0 and 100 %
    ax.set_yticks(places, names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.grid(axis="y", linewidth=0.3)
    sns.despine(ax=ax)
    return ax


def preference_bars(preferences: pd.DataFrame, of: str, *, simulated: bool, note: str = "") -> Figure:
    r"""How often `of` is preferred to each other method: a bar, and its interval over raters and images.

    Args:
        preferences: of `aotlib.study.rates.preferences`.

    Taught in notebook 09.
    """
    both = pd.concat([preferences, mirrored(preferences)])
    rows = both[both["method"] == of].sort_values("rate", ascending=False)
    if rows.empty:
        raise ValueError(f"no votes for or against {of!r}; there are {', '.join(sorted(set(both['method'])))}")
    fig, ax = plt.subplots(figsize=(COLUMN, 1.15 + 1.3 * ROW * len(rows)))
    places = np.arange(len(rows))[::-1]
    colours = [PALETTE["blue"] if p <= SIGNIFICANT else "0.75" for p in rows["p_holm"]]
    ax.barh(places, rows["rate"], color=colours, height=0.7)
    ax.hlines(places, rows["low"], rows["high"], color="black")
    ax.axvline(0.5, color="black", linewidth=0.6, linestyle="--")
    ax.set_yticks(places, rows["against"])
    ax.set(xlim=(0, 1), xlabel=f"{of} preferred / %\n(blue: differs from 50 %, Holm-corrected)", ylabel="to")
    ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    sns.despine(ax=ax)
    return _finished(fig, simulated, note)


def matrix(preferences: pd.DataFrame, order: Sequence[str], *, simulated: bool, note: str = "") -> Figure:
    r"""How often the method of a row is preferred to that of a column, in %; * where it differs from 50 %.

    Args:
        order: methods from top to bottom, such as those of a scale.

    Taught in notebook 09.
    """
    both = pd.concat([preferences, mirrored(preferences)])
    rate = both.pivot(index="method", columns="against", values="rate").reindex(index=order, columns=order)
    p = both.pivot(index="method", columns="against", values="p_holm").reindex(index=order, columns=order)
    labels = rate.map(lambda share: "" if np.isnan(share) else f"{100 * share:.0f}")
    labels = labels + p.map(lambda value: "*" if value <= SIGNIFICANT else "")
    side = 1.6 + 0.5 * len(order)
    fig, ax = plt.subplots(figsize=(min(PAGE, side + 0.6), min(PAGE, side)))
    sns.heatmap(
        100 * rate, annot=labels, fmt="", vmin=0, vmax=100, cmap="vlag_r", square=True, linewidths=0.5, ax=ax,
        annot_kws={"fontsize": figures.FONT_PT}, cbar_kws={"label": "row preferred to column / %", "shrink": 0.7},
    )  # fmt: skip
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=45, length=0)
    ax.tick_params(axis="y", rotation=0, length=0)
    plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    return _finished(fig, simulated, note)


def placed(methods: pd.DataFrame) -> pd.Series:
    r"""Which methods of a scale have a place in its figure: a finite ability, or the end of an interval.

    Taught in notebook 09.
    """
    ends = methods[["ability", "low", "high"]]
    return np.isfinite(ends).any(axis=1)


def scale(methods: pd.DataFrame, *, simulated: bool, kind: str = "pair", note: str = "") -> Figure:
    r"""The ability of each method with its interval, the best on top; an arrow where it has one end only.

    Args:
        methods: of `aotlib.study.abilities.estimate`.

    Taught in notebook 09.
    """
    fig, ax = plt.subplots(figsize=(COLUMN, 0.9 + ROW * len(methods)))
    _rows(ax, list(methods["method"]), methods.replace([-np.inf, np.inf], np.nan), "ability", "low", "high")
    for place, row in zip(range(len(methods))[::-1], methods.itertuples(), strict=True):
        end, way = (row.high, -1) if row.ability < 0 else (row.low, 1)
        if np.isinf(row.ability) and np.isfinite(end):
            ax.plot([end], [place], "|", color="0.5")
            ax.annotate("", (end + way, place), (end, place), arrowprops={"arrowstyle": "->", "color": "0.5"})
            ax.update_datalim([(end + 1.1 * way, place)])
            ax.autoscale_view(scaley=False)
    model = {"pair": "Bradley-Terry", "rank": "Plackett-Luce"}[kind]
    ax.set(xlabel=f"ability / logits ({model}; higher looks more natural)")
    return _finished(fig, simulated, note)


def fool_rates(fooled: pd.DataFrame, *, simulated: bool, note: str = "") -> Figure:
    r"""How often a fill of each method was called real; the dashed line and its band are photographs.

    Args:
        fooled: of `aotlib.study.rates.fooled`.

    Taught in notebook 09.
    """
    truth = fooled[fooled["method"] == TRUTH].iloc[0]
    rows = fooled[fooled["method"] != TRUTH]
    fig, ax = plt.subplots(figsize=(COLUMN, 0.9 + ROW * len(rows)))
    ax.axvspan(truth["low"], truth["high"], color="0.9", linewidth=0)
    ax.axvline(truth["rate"], color="0.3", linewidth=0.8, linestyle="--")
    _rows(ax, list(rows["method"]), rows, "rate", "low", "high")
    ax.set(xlim=(0, 1), xlabel="called real / % (dashed: photographs)")
    ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    return _finished(fig, simulated, note)


def agreement(table: pd.DataFrame, *, simulated: bool, note: str = "") -> Figure:
    r"""Krippendorff's alpha with its interval, and the mean correlation of raters' orders, a row each.

    Args:
        table: columns `measure, value, low, high`.

    Taught in notebook 09.
    """
    fig, ax = plt.subplots(figsize=(COLUMN, 0.9 + ROW * len(table)))
    _rows(ax, list(table["measure"]), table, "value", "low", "high")
    ax.axvline(0, color="0.5", linewidth=0.6)
    ax.set(xlim=(min(-0.1, np.nanmin(table[["value", "low"]]) - 0.05), 1), xlabel="agreement (0: chance, 1: all agree)")
    return _finished(fig, simulated, note)


def over_time(votes: pd.DataFrame, *, simulated: bool, note: str = "") -> Figure:
    r"""Left, how many answers came by when; right, how long a choice took by its place in the session (median, and
    the middle half of answers).

    Args:
        votes: of `aotlib.study.answers.votes`; practice is left aside.

    Taught in notebook 09.
    """
    votes = votes[~votes["practice"]]
    fig, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.4))
    passed = (votes["at"].sort_values() - votes["at"].min()).dt.total_seconds()
    unit, length = next(((name, s) for name, s in UNITS.items() if passed.max() >= 2 * s), ("minutes", 60))
    left.step(passed / length, np.arange(1, len(passed) + 1), where="post", color=PALETTE["blue"])
    left.set(xlabel=f"{unit} since the first answer", ylabel="answers")
    spread = votes.groupby("number")["seconds"].quantile([0.25, 0.5, 0.75]).unstack()
    right.fill_between(spread.index + 1, spread[0.25], spread[0.75], color=PALETTE["blue"], alpha=0.2, linewidth=0)
    right.plot(spread.index + 1, spread[0.5], color=PALETTE["blue"])
    right.set(xlabel="place in the session", ylabel="time to a choice / s", ylim=(0, None))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax in (left, right):
        sns.despine(ax=ax)
    return _finished(fig, simulated, note)


def metric_agreement(table: pd.DataFrame, *, simulated: bool, note: str = "") -> Figure:
    r"""Of each metric, how often votes are for the fill that it prefers, and its correlation with the share of votes.

    Args:
        table: of `aotlib.study.correlation.with_metrics`.

    Taught in notebook 09.
    """
    rows = table[table["level"] == "fills"].sort_values("spearman", ascending=False)
    names = [about(metric).label for metric in rows["metric"]]
    fig, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 0.9 + ROW * len(rows)), sharey=True)
    _rows(left, names, rows, "agreement", "agreement_low", "agreement_high")
    left.axvline(0.5, color="0.3", linewidth=0.6, linestyle="--")
    left.set(xlabel="votes for what the metric prefers / %")
    left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    left.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    _rows(right, names, rows, "spearman", "low", "high")
    right.axvline(0, color="0.3", linewidth=0.6, linestyle="--")
    right.set(xlabel="Spearman's correlation over pairs of fills")
    return _finished(fig, simulated, note)
