r"""One look for every figure, and the few kinds of figure that the notebooks draw.

Functions take and return axes or figures; only `save` touches the disk. Call `style` once, and end a cell that draws
with `plt.show()`. Tables are written by `aotlib.tables`.

Taught in notebook 01.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats
from torch import Tensor

from aotlib.files import replacing

FONT_PT = 9
COLUMN, PAGE = 4.5, 7.0  # inches: a figure in one column, and one across the page
GAP, LINE = 0.04, 1.3 * FONT_PT / 72  # inches between pictures; height of a line of text
NAMES = ("blue", "orange", "green", "red", "purple", "brown", "pink", "grey", "yellow", "sky")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">")
PALETTE = dict(zip(NAMES, sns.color_palette("colorblind").as_hex(), strict=True))


def style(inline: str = "png") -> None:
    """Later figures have this suite's look: colour-blind-safe cycle, one size of type, 4.5 in wide.

    `inline` is how a notebook stores what it shows: "png", or "jpeg" where that is mostly photographs, in a
    quarter of the bytes. It does not change what `save` writes.

    Taught in notebook 01.
    """
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    texts = ("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize")
    plt.rcParams.update(dict.fromkeys((*texts, "legend.fontsize", "legend.title_fontsize"), FONT_PT))
    plt.rcParams.update({"figure.figsize": (COLUMN, 3.0), "figure.dpi": 100, "savefig.dpi": 300})
    plt.rcParams.update({"figure.constrained_layout.use": True, "legend.frameon": False})
    thin = ("axes.linewidth", "xtick.major.width", "ytick.major.width")
    plt.rcParams.update(dict.fromkeys(thin, 0.6) | {"xtick.major.size": 3, "ytick.major.size": 3})
    plt.rcParams["font.family"] = "DejaVu Sans"  # comes with matplotlib: the same on every machine
    plt.rcParams.update({"pdf.fonttype": 42, "svg.hashsalt": "aotlib"})  # editable text, repeatable files
    if get_ipython() is not None:
        set_matplotlib_formats(inline, **({"pil_kwargs": {"quality": 85}} if inline == "jpeg" else {}))


def show_holes(image: Tensor, mask: Tensor, colour: str = PALETTE["pink"]) -> Tensor:
    r"""The picture with its holes in one flat colour, in [-1, 1].

    `image` is (..., 3, H, W) in [-1, 1], `mask` (..., 1, H, W) with 1 = hole. Pink is rare in photographs, and
    lighter than most of one when printed in grey; white would be mistaken for sky or paper.

    >>> import torch
    >>> show_holes(torch.zeros(3, 1, 2), torch.tensor([[[0.0, 1.0]]]), "white").tolist()
    [[[0.0, 1.0]], [[0.0, 1.0]], [[0.0, 1.0]]]

    Taught in notebook 01.
    """
    flat = 2 * image.new_tensor(to_rgb(colour)).view(3, 1, 1) - 1
    return image * (1 - mask) + flat * mask


def _pixels(picture: Tensor) -> np.ndarray:
    """What `imshow` takes, in [0, 1]: (H, W, 3) of an image in [-1, 1], (H, W) of a mask in [0, 1]."""
    if picture.ndim != 3 or picture.shape[0] not in (1, 3) or not picture.is_floating_point():
        raise ValueError(
            f"a picture is a float tensor (3, H, W) in [-1, 1] or a mask (1, H, W), not {picture.dtype} "
            f"{tuple(picture.shape)}; take one of a batch by [i], turn uint8 by aotlib.images.to_float"
        )
    pixels = picture.detach().float().cpu().permute(1, 2, 0).numpy()
    return pixels[..., 0].clip(0, 1) if len(picture) == 1 else (pixels.clip(-1, 1) + 1) / 2


def _frame(ax: Axes) -> None:
    """No ticks, and a hairline around the picture: a white one would melt into the page."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, linewidth=0.5, color="0.5")


def _wrap(text: str, width: float) -> str:
    """`text` in lines that fit `width` inches; a character is about 0.6 times as wide as its size."""
    n_characters = int(width * 72 / (0.6 * FONT_PT))
    return "\n".join(textwrap.fill(line, n_characters) for line in text.split("\n"))


def _band(texts: Sequence[str]) -> float:
    """Inches that a row of texts needs: as many lines as its longest has, and a gap."""
    return GAP + LINE * max(len(text.splitlines()) for text in texts)


def _check_form(rows: Sequence, columns: Sequence[str], captions: Sequence) -> None:
    if not rows or len(captions) != len(rows):
        raise ValueError(f"{len(rows)} rows of pictures, {len(captions)} rows of captions: one each, and at least one")
    for i, (row, texts) in enumerate(zip(rows, captions, strict=True)):
        if not len(row) == len(texts) == len(columns):
            raise ValueError(f"row {i}: {len(row)} pictures, {len(texts)} captions, {len(columns)} columns")
        if len({tuple(picture.shape[1:]) for picture in row}) > 1:
            raise ValueError(f"row {i} mixes sizes {[tuple(p.shape[1:]) for p in row]}; crop to one size first")


def grid(
    rows: Sequence[Sequence[Tensor]],
    columns: Sequence[str] = ("input", "mask", "output", "truth"),
    captions: Sequence[Sequence[str]] | None = None,
    note: str = "",
) -> Figure:
    """A figure of pictures: a title above each column and, under each picture, its caption (such as a metric).

    `rows` holds a list of pictures for each row: float tensors (3, H, W) in [-1, 1], or masks (1, H, W) in
    [0, 1], drawn white where 1. `captions` has the same form; "" leaves a picture without one. `note` is small print
    at the foot, such as what was run.

    Taught in notebook 01.
    """
    captions = captions or [[""] * len(columns)] * len(rows)
    _check_form(rows, columns, captions)
    width = PAGE if len(columns) > 4 else min(COLUMN, len(columns) * COLUMN / 2)
    cell = (width - GAP * (len(columns) - 1)) / len(columns)
    titles = [_wrap(title, cell) for title in columns]
    captions = [_wrap(text, cell) for texts in captions for text in texts]
    heights = [cell * row[0].shape[1] / row[0].shape[2] for row in rows]
    above, below, foot = _band(titles), _band(captions), LINE if note else 0
    height = above + sum(heights) + len(rows) * below + foot
    places = {"left": 0, "right": 1, "top": 1 - above / height, "bottom": (below + foot) / height}
    places |= {"wspace": GAP / cell, "hspace": below / np.mean(heights), "height_ratios": heights}
    size = (width, height)
    fig, axes = plt.subplots(len(rows), len(columns), squeeze=False, figsize=size, gridspec_kw=places)
    fig.set_layout_engine("none")  # not in the call above: savefig lends an engine to a figure born without one
    for ax, picture, caption in zip(axes.flat, [p for row in rows for p in row], captions, strict=True):
        show_picture(ax, picture, aspect="auto")
        ax.set_xlabel(caption, labelpad=2)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, pad=3)
    fig.text(0, 0, note, fontsize=6, va="bottom")
    return fig


def curves(
    table: pd.DataFrame,
    x: str,
    y: str,
    hue: str | None = None,
    *,
    xlabel: str,
    ylabel: str,
    order: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The mean of column `y` along column `x`, a line for each `hue`, with its 95 % bootstrap interval as a band.

    Where no row repeats, as in a training log, there is no band. `xlabel` and `ylabel` name quantity and unit.
    `order` lists the values of a text column `x` from left to right; rows with another value are left out, and so
    are infinite ones. Lines differ in dash and marker too, not in colour alone.

    Taught in notebook 05.
    """
    ax = ax or plt.figure().add_subplot()
    rows = table[np.isfinite(table[y])]
    if order is not None:
        rows = rows[rows[x].isin(order)].assign(**{x: lambda t: pd.Categorical(t[x], categories=list(order))})
    band = ("ci", 95) if rows.duplicated([x, hue] if hue else x).any() else None
    markers = MARKERS[: rows[hue].nunique()] if hue and rows[x].nunique() <= 12 else False
    sns.lineplot(rows, x=x, y=y, hue=hue, style=hue, markers=markers, errorbar=band, seed=0, ax=ax)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    sns.despine(ax=ax)
    if hue:  # above the axes, where no line can run through it
        sns.move_legend(ax, "lower center", bbox_to_anchor=(0.5, 1), ncol=2, title=None)
    return ax


def show_picture(ax: Axes, picture: Tensor, *, aspect: str = "equal") -> Axes:
    """An image (3, H, W) in [-1, 1], or a mask (1, H, W) in [0, 1], white where 1."""
    ax.imshow(_pixels(picture), cmap="gray", vmin=0, vmax=1, aspect=aspect)
    _frame(ax)
    return ax


def panels(count: int, columns: int, *, width: float = PAGE, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, `columns` beside each other, a row `height` inches tall; and the axes in order.

    Taught in notebook 05.
    """
    n_rows = -(-count // columns)
    fig, axes = plt.subplots(n_rows, columns, figsize=(width, height * n_rows + 0.4), squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return fig, list(axes.flat[:count])


def note(fig: Figure, text: str) -> None:
    """Small print at the foot of a figure, such as what its numbers depend on."""
    fig.supxlabel(text, x=0, ha="left", fontsize=6)


def show_map(ax: Axes, values: Tensor, *, label: str, low: float | None = None, high: float | None = None) -> Axes:
    """A map (H, W) or (1, H, W) in colours that brighten with the value, and a bar labelled with quantity and unit.

    `low` and `high` fix the ends of the bar: give them when maps are to be compared.

    Taught in notebook 02.
    """
    pixels = values.detach().float().cpu().reshape(values.shape[-2:]).numpy()
    picture = ax.imshow(pixels, cmap="viridis", vmin=low, vmax=high)
    ax.figure.colorbar(picture, cax=ax.inset_axes((1.03, 0, 0.05, 1)), label=label)
    _frame(ax)
    return ax


def draw_labels(ax: Axes, matrix: Tensor, *, digits: int = 1) -> Axes:
    """A small matrix (H, W) of labels in [0, 1], each number in its cell, black at 0 and white at 1.

    Taught in notebook 03.
    """
    values = matrix.detach().cpu().numpy()
    ax.pcolormesh(values, cmap="gray", vmin=0, vmax=1, edgecolors="0.5", linewidth=0.5)
    ax.set(aspect="equal", ylim=(len(values), 0))  # row 0 on top, as in an image
    for (row, column), value in np.ndenumerate(values):
        place, colour = (column + 0.5, row + 0.5), "black" if value > 0.5 else "white"
        ax.text(*place, f"{value:.{digits}f}", color=colour, ha="center", va="center")
    _frame(ax)
    return ax


def save(fig: Figure, out_dir: str | Path, name: str) -> Path:
    """`name`.png (300 dpi) and `name`.pdf (vector) lie in `out_dir`, the same bytes each time; the PNG's path.

    Taught in notebook 01.
    """
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # the layout just made stays: each further drawing would move it a little
    undated = {"pdf": {"Creator": None, "Producer": None, "CreationDate": None}, "png": {"Software": None}}
    for kind, metadata in undated.items():
        with replacing(Path(out_dir, f"{name}.{kind}")) as path:
            fig.savefig(path, format=kind, dpi=300, metadata=metadata)
    return Path(out_dir, f"{name}.png")
