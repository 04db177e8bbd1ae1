r"""Where methods that copy copy from, and what: attention or matched patches as arrows and as pixels of a photograph.

Taught in notebook 07.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from matplotlib import patheffects
from matplotlib.axes import Axes
from torch import Tensor

from aotlib.baselines.attention import paste
from aotlib.baselines.mnps import Match
from aotlib.figures import show_holes, show_picture


class Copy(NamedTuple):
    r"""One place in the hole and where its content comes from: (row, column) of both centres, in pixels, and the share
    of that one source among all."""

    to: tuple[float, float]
    source: tuple[float, float]
    share: float


def strongest(attention: Tensor, mask: Tensor, *, n: int = 12) -> list[Copy]:
    r"""Of `n` places spread evenly over the hole, the position that each attends to most.

    Args:
        attention: (L, h, w), shares of L = h w positions, row by row, for each of h x w places.
        mask: (1, H, W), 1 = hole; H and W are multiples of h and w. A place is in the hole if more than half of it is.

    >>> attention = torch.zeros(4, 2, 2)
    >>> attention[0, 1, 1] = 0.9  # the last looks at the first
    >>> mask = torch.zeros(1, 8, 8)
    >>> mask[:, 4:, 4:] = 1
    >>> strongest(attention, mask)
    [Copy(to=(6.0, 6.0), source=(2.0, 2.0), share=0.8999999761581421)]

    Taught in notebook 07.
    """
    (_, height, width), (_, h, w) = mask.shape, attention.shape
    down, across = height / h, width / w
    rows, columns = (F.adaptive_avg_pool2d(mask[None], (h, w))[0, 0] > 0.5).nonzero().unbind(1)
    shares, keys = attention.max(0)
    copies = [
        Copy(
            (down * (row + 0.5), across * (column + 0.5)),
            (down * (keys[row, column].item() // w + 0.5), across * (keys[row, column].item() % w + 0.5)),
            shares[row, column].item(),
        )
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return evenly(copies, n)


def matched(match: Match, *, n: int = 12) -> list[Copy]:
    r"""The known patch that stands for each of `n` patches of the hole, in pixels of the match's scale.

    Patches that come from a turned or scaled copy of the picture are left out: they have no place in it.
    """
    kept = match.source == 0
    centres = [(match.cell * (cells[kept] + 1.5)).tolist() for cells in (match.hole, match.known)]
    return evenly([Copy(tuple(to), tuple(source), 1.0) for to, source in zip(*centres, strict=True)], n)


def copied(attention: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    r"""What the shares of an attention would make of pixels: the known ones, mixed block by block.

    The networks mix features, not pixels; so this shows where they look, not what they paint.

    Args:
        attention: (L, h, w), shares of L = h w positions for each of h x w places, as in `strongest`.
        image: (3, H, W), H and W the same multiple of h and w.
        mask: (1, H, W), 1 = hole; what lies under it counts as 0.

    Taught in notebook 07.
    """
    block = image.shape[-1] // attention.shape[-1]
    return paste(attention[None], (image * (1 - mask))[None], block, patch=block)[0]


def collage(match: Match, image: Tensor, mask: Tensor) -> Tensor:
    r"""The picture (3, H, W) with the matched known patches in its hole, their mean where several overlap.

    Patches of turned or scaled copies are left out, so that a part of the hole may stay at 0, grey. `image` and `mask`
    have the size of the match's scale. Taught in notebook 07.
    """
    side, total, count = 3 * match.cell, torch.zeros_like(image), torch.zeros_like(mask)
    kept = match.source == 0
    corners = torch.cat([match.hole[kept], match.known[kept]], dim=1) * match.cell
    for y, x, from_y, from_x in corners.tolist():
        total[:, y : y + side, x : x + side] += image[:, from_y : from_y + side, from_x : from_x + side]
        count[:, y : y + side, x : x + side] += 1
    return image * (1 - mask) + total / count.clamp(min=1) * mask


def evenly(items: list, n: int) -> list:
    r"""At most `n` of them, the first and the last included.

    >>> evenly(list("abcdefg"), 3)
    ['a', 'd', 'g']
    """
    return [items[i] for i in torch.linspace(0, len(items) - 1, min(n, len(items))).round().int().tolist()]


def draw_copies(ax: Axes, image: Tensor, mask: Tensor, copies: Sequence[Copy]) -> Axes:
    r"""The photograph (3, H, W) in [-1, 1] with its hole, and an arrow to each place from where it is copied.

    An arrow's width grows with the share. Taught in notebook 07.
    """
    show_picture(ax, show_holes(image, mask))
    edge = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    for copy in copies:
        shape = {"arrowstyle": "-|>", "lw": 0.5 + copy.share, "color": "black", "shrinkA": 0, "shrinkB": 0}
        arrow = ax.annotate(
            "", copy.to[::-1], copy.source[::-1], arrowprops=shape | {"mutation_scale": 6, "path_effects": edge}
        )
        arrow.set_in_layout(False)
    return ax
