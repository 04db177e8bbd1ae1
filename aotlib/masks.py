r"""Masks: where the picture is missing. One convention everywhere: **1 = hole, 0 = known**.

A mask is float {0, 1}, (1, H, W), in a batch (B, 1, H, W). Results are grouped by the share of the picture
that is missing, in the six buckets of the irregular-mask benchmark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aotlib.images import find_images, read_image
from aotlib.strokes import irregular_mask as irregular_mask

BUCKETS = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))
BUCKET_NAMES = ("1-10 %", "10-20 %", "20-30 %", "30-40 %", "40-50 %", "50-60 %")


def bucket_of(ratio: float) -> str | None:
    r"""Name the bucket that `ratio` lies in; a bucket holds its upper end and not its lower, others give None.

    >>> bucket_of(0.1), bucket_of(0.1001), bucket_of(0.01), bucket_of(0.7)
    ('1-10 %', '10-20 %', None, None)

    Taught in notebook 01.
    """
    names = [name for (low, high), name in zip(BUCKETS, BUCKET_NAMES, strict=True) if low < ratio <= high]
    return names[0] if names else None


def composite(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    r"""Fill the holes of `image` from `prediction`; every known pixel stays as it was, to the bit.

    .. math:: z = x \odot (1 - m) + \hat{x} \odot m

    Args:
        prediction: :math:`\hat{x}`, (B, 3, H, W), in [-1, 1].
        image: :math:`x`, (B, 3, H, W), in [-1, 1].
        mask: :math:`m`, (B, 1, H, W), 1 = hole, 0 = known; anything between is refused.

    >>> composite(torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2), torch.tensor([[[[0.0, 1.0]]]]))[0, 0].tolist()
    [[0.0, 1.0]]

    Taught in notebook 01.
    """
    _check_binary(mask)
    return image * (1 - mask) + prediction * mask


def _check_binary(mask: Tensor) -> None:
    if not ((mask == 0) | (mask == 1)).all():
        low, high = mask.min().item(), mask.max().item()
        raise ValueError(
            f"a mask holds only 0 (known) and 1 (hole); this one spans [{low:.4g}, {high:.4g}]. "
            "Divided by 255 twice or not at all, or resized with smoothing? Use load_mask."
        )


def hole_ratio(mask: Tensor) -> Tensor:
    r"""Return the share of hole pixels of each mask, (B,), in float64 so that 1 of 10 is 0.1 and not 0.10000000149.

    .. math:: \rho = \frac{1}{HW} \sum_{h,w} m_{hw}

    Args:
        mask: (B, 1, H, W), 1 = hole.

    >>> hole_ratio(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]))
    tensor([0.2500], dtype=torch.float64)

    Taught in notebook 01.
    """
    return mask.double().mean(dim=(1, 2, 3))


def touches_frame(mask: Tensor) -> Tensor:
    r"""Say of each mask whether a hole reaches the outermost row or column: bool, (B,).

    There the hole is not surrounded by known pixels, which is harder to fill.

    Args:
        mask: (B, 1, H, W), 1 = hole.

    >>> touches_frame(F.pad(torch.ones(1, 1, 2, 2), (1, 1, 1, 1))), touches_frame(torch.ones(1, 1, 2, 2))
    (tensor([False]), tensor([True]))

    Taught in notebook 01.
    """
    rows, columns = mask[:, 0, [0, -1], :], mask[:, 0, :, [0, -1]]
    return (rows != 0).flatten(1).any(1) | (columns != 0).flatten(1).any(1)


@dataclass(frozen=True)
class MaskFile:
    """A checked mask file: its hole ratio and bucket as measured in its own pixels, and how it is to be read."""

    path: Path
    ratio: float
    bucket: str | None
    touches_frame: bool
    hole: str = "white"

    def load(self, size: int | tuple[int, int] | None = None) -> Tensor:
        """Read the pixels again, at `size`: (1, H, W), 1 = hole."""
        return load_mask(self.path, size, hole=self.hole, max_ratio=1)


def load_mask(
    path: str | Path, size: int | tuple[int, int] | None = None, *, hole: str = "white", max_ratio: float = 0.6
) -> Tensor:
    r"""Read a mask file as exactly 0 and 1, 1 = hole, and refuse one whose meaning is in doubt.

    .. math:: m = [v \geq 128] \text{ for white holes}, \quad m = [v < 128] \text{ for black ones}

    Refused are pictures (more than 1 % grey or coloured pixels, not counting smoothed edges), masks without a
    hole, and masks with more hole than `max_ratio`: most likely the polarity is the other one.

    Args:
        path: any image file; transparent pixels count as white.
        size: side or (H, W) wanted; nearest pixel, so that no value between 0 and 1 appears.
        hole: the colour that marks the hole, "white" or "black".
        max_ratio: the largest ratio believed, by default the end of the last bucket; 1 believes all.

    Returns:
        (1, H, W), float32.

    Taught in notebook 01.
    """
    if hole not in ("white", "black"):
        raise ValueError(f'hole is the colour that marks missing pixels, "white" or "black"; got {hole!r}')
    white = _white_pixels(path)
    mask = torch.from_numpy(white if hole == "white" else ~white).float()[None]
    ratio, other = mask.double().mean().item(), "black" if hole == "white" else "white"
    if ratio == 0:
        raise ValueError(f'{path} has no {hole} pixel, so no hole; do its holes have the other colour, hole="{other}"?')
    if ratio > max_ratio:
        raise ValueError(
            f"{path} is {ratio:.1%} {hole}: with {hole} = hole that is beyond {max_ratio:.0%}. "
            f'Its holes are probably {other}: pass hole="{other}"; if they are not, pass max_ratio=1.'
        )
    if size is None:
        return mask
    size = tuple(size) if isinstance(size, Sequence) else (size, size)
    return F.interpolate(mask[None], size, mode="nearest-exact")[0]


def _white_pixels(path: str | Path) -> np.ndarray:
    """(H, W) bool, true where the file is white; a file that is not black and white is refused."""
    red, green, blue = np.moveaxis(read_image(path), -1, 0)
    dark, light = np.maximum(np.maximum(red, green), blue) < 64, np.minimum(np.minimum(red, green), blue) >= 192
    if 1 - dark.mean() - light.mean() > 0.01:  # count only grey that is not the smoothed edge between black and white
        both = torch.from_numpy(np.stack([dark, light])).float()[None]
        edge = F.max_pool2d(both, 5, stride=1, padding=2)[0].bool().all(0).numpy()
        grey = (~dark & ~light & ~edge).mean()
        if grey > 0.01:
            raise ValueError(f"{path} is not a mask: {grey:.1%} of its pixels are neither black nor white")
    return green >= 128


def measure_mask(path: str | Path, *, hole: str = "white", max_ratio: float = 0.6) -> MaskFile:
    r"""Check one mask file as `load_mask` does and return what was measured in it.

    Taught in notebook 01.
    """
    mask = load_mask(path, hole=hole, max_ratio=max_ratio)[None]
    ratio = hole_ratio(mask).item()
    return MaskFile(Path(path), ratio, bucket_of(ratio), touches_frame(mask).item(), hole)


def load_masks(folder: str | Path, *, hole: str = "white", max_ratio: float = 0.6) -> list[MaskFile]:
    r"""Measure every mask file below `folder`; the bucket comes from the pixels, not from a folder's name.

    All files are tried before an error names those that are refused, so that one look tells whether a single
    file is damaged or the whole folder has the other polarity.

    Taught in notebook 01.
    """
    files, faults = find_images(folder), []
    masks = []
    for path in files:
        try:
            masks.append(measure_mask(path, hole=hole, max_ratio=max_ratio))
        except ValueError as error:  # UnreadableImage is one
            faults.append(str(error))
    if faults:
        shown = "\n  ".join(faults[:5])
        raise ValueError(f"{len(faults)} of {len(files)} files below {folder} are refused as masks, first:\n  {shown}")
    return masks


def boxes_to_mask(boxes: Sequence[Sequence[float]], size: int | tuple[int, int]) -> Tensor:
    r"""Return the mask whose hole is the union of the boxes, clipped to the picture.

    .. math:: m_{yx} = 1 \iff x_0 \leq x < x_1 \text{ and } y_0 \leq y < y_1 \text{ for some box}

    Args:
        boxes: (x0, y0, x1, y1) in pixels; x1 and y1 are the first column and row outside.
        size: side or (H, W) of the picture.

    Returns:
        (1, H, W), float32, 1 = hole.

    >>> boxes_to_mask([(0, 0, 2, 1)], (2, 3)).tolist()
    [[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]

    Taught in notebook 01.
    """
    height, width = size if isinstance(size, Sequence) else (size, size)
    mask = torch.zeros(1, height, width)
    for box in boxes:
        x0, y0, x1, y1 = (round(value) for value in box)
        if not (x0 < x1 and y0 < y1 and x0 < width and y0 < height and x1 > 0 and y1 > 0):
            raise ValueError(f"box {tuple(box)} covers nothing of a {width} x {height} picture; give x0, y0, x1, y1")
        mask[:, max(y0, 0) : y1, max(x0, 0) : x1] = 1
    return mask
