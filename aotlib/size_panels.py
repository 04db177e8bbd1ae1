r"""What the ways of `aotlib.serving` are worth, over the sizes of pictures.

Taught in notebook 08.
"""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aotlib import figures
from aotlib.figures import PAGE
from aotlib.intervals import in_order
from aotlib.metrics import about
from aotlib.panels import divided_by


def over_sizes(
    table: pd.DataFrame, metric: str, column: str, *, methods: Sequence[str], ylabel: str, ax: Axes | None = None
) -> Axes:
    r"""`column` of a table with a row a method and size ("256 px" in `bucket`), a line a method, with its interval.

    The methods stand beside each other at each size, so that no interval hides another. A hollow point is a difference
    that is not significant; a table without that column has full ones.

    Args:
        column: "mean" of a summary, or "difference" of `aotlib.comparison.compare`.
        methods: decides colour and marker; those without a row are left out.

    Taught in notebook 08.
    """
    ax = ax or plt.figure().add_subplot()
    rows = table[table.metric == metric]
    if rows.empty:
        raise ValueError(f"no {metric!r}; the table has {', '.join(map(str, table.metric.unique()))}")
    order = in_order(rows.bucket.unique())
    looks = zip(methods, sns.color_palette(), cycle(figures.MARKERS), strict=False)
    for place, (method, colour, marker) in enumerate(looks):
        part = rows[rows.method == method].set_index("bucket").reindex(order)
        x = np.arange(len(order)) + 0.13 * (place - (len(methods) - 1) / 2)
        off = [part[column] - part.low, part.high - part[column]]
        ax.errorbar(x, part[column], off, color=colour, lw=0.8, elinewidth=0.8, zorder=1)
        full = part["significant"].eq(True) if "significant" in part else np.full(len(part), True)
        faces = [colour if one else "white" for one in full]
        ax.scatter(x, part[column], marker=marker, s=18, c=faces, edgecolors=[colour], zorder=2)
    ax.set_xticks(range(len(order)), [name.removesuffix(" px") for name in order])
    ax.set(xlabel="side of the picture / px", ylabel=ylabel)
    sns.despine(ax=ax)
    return ax


def served(summary: pd.DataFrame, differences: pd.DataFrame, metric: str, *, to: str, note: str = "") -> Figure:
    r"""What each way to serve other sizes is worth: its mean at every size, and its difference to the way `to`.

    Args:
        summary, differences: tables of ``data/compare_serving.py``.
        note: small print below.

    Taught in notebook 08.
    """
    label, unit, _ = about(metric)
    unit = divided_by(unit)
    methods = list(summary.method.unique())
    fig, axes = plt.subplots(1, 2, figsize=(PAGE, 3.0))
    over_sizes(summary, metric, "mean", methods=methods, ylabel=label + unit, ax=axes[0])
    over_sizes(
        differences, metric, "difference", methods=methods, ylabel=f"{label} less that of {to}{unit}", ax=axes[1]
    )
    axes[1].axhline(0, color="0.5", linewidth=0.6, zorder=0)
    looks = zip(methods, sns.color_palette(), cycle(figures.MARKERS), strict=False)
    keys = [Line2D([], [], color=colour, marker=marker, markersize=4, lw=0.8) for _, colour, marker in looks]
    fig.legend(keys, methods, loc="outside upper center", ncol=len(methods))
    if note:
        figures.note(fig, note)
    return fig
