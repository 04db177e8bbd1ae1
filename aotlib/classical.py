r"""Fills that need no training: the floor under every learned method.

Each takes and returns uint8 pictures, RGB, and changes no known pixel. Taught in notebook 06.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

RADIUS = 3  # pixels round a hole pixel that OpenCV's two methods look at; the usual choice, and its samples'


def mean_colour(image_u8: Tensor, mask: Tensor) -> Tensor:
    r"""Every hole pixel gets the mean colour of the known ones.

    Args:
        image_u8: (3, H, W), uint8.
        mask: (1, H, W), 1 = hole.
    """
    known = image_u8[:, mask[0] < 0.5].double()
    colour = (known.mean(1) if known.numel() else torch.full((3,), 127.5)).round().to(torch.uint8)
    return torch.where(mask > 0.5, colour.view(3, 1, 1), image_u8)


def telea(image_u8: Tensor, mask: Tensor) -> Tensor:
    r"""Telea's fast marching (2004), OpenCV's: weighted means carried inwards from the border of the hole."""
    return _opencv(image_u8, mask, cv2.INPAINT_TELEA)


def navier_stokes(image_u8: Tensor, mask: Tensor) -> Tensor:
    r"""Bertalmio's Navier-Stokes fill (2001), OpenCV's: lines of equal brightness are carried on into the hole."""
    return _opencv(image_u8, mask, cv2.INPAINT_NS)


def biharmonic(image_u8: Tensor, mask: Tensor) -> Tensor:
    r"""Chui and Mhaskar's biharmonic surface, scikit-image's: values *and* slopes of the border go on into the hole.

    One sparse system over all hole pixels at once: about 0.1 s for half of 128 x 128, 13 s and 1 GB for half of
    512 x 512. Splitting it into regions saves neither time nor, where strokes touch, memory.

    >>> ramp = torch.arange(0, 240, 10, dtype=torch.uint8).expand(3, 24, 24)
    >>> hole = torch.zeros(1, 24, 24)
    >>> hole[:, 8:16, 8:16] = 1
    >>> torch.equal(biharmonic(torch.where(hole > 0, 0, ramp).to(torch.uint8), hole), ramp)
    True
    """
    from skimage.restoration import inpaint_biharmonic  # here: no other fill needs the library

    hole = mask[0] > 0.5
    if hole.all() or not hole.any():  # nothing to go on from, or nowhere to go
        return mean_colour(image_u8, mask)
    picture = torch.where(hole, 0, image_u8).numpy() / 255
    filled = torch.from_numpy(inpaint_biharmonic(picture, hole.numpy(), channel_axis=0) * 255).round()
    return torch.where(hole, filled.to(torch.uint8), image_u8)


def _opencv(image_u8: Tensor, mask: Tensor, method: int) -> Tensor:
    hole = (mask[0] > 0.5).numpy().astype(np.uint8)
    filled = cv2.inpaint(np.ascontiguousarray(image_u8.permute(1, 2, 0).numpy()), hole, RADIUS, method)
    return torch.where(mask > 0.5, torch.from_numpy(filled).permute(2, 0, 1), image_u8)


CLASSICAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean colour": mean_colour,
    "Telea": telea,
    "Navier-Stokes": navier_stokes,
}
FLOORS = CLASSICAL | {"biharmonic": biharmonic}  # the last takes seconds a picture from 256 px on
