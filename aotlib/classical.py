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


def _opencv(image_u8: Tensor, mask: Tensor, method: int) -> Tensor:
    hole = (mask[0] > 0.5).numpy().astype(np.uint8)
    filled = cv2.inpaint(np.ascontiguousarray(image_u8.permute(1, 2, 0).numpy()), hole, RADIUS, method)
    return torch.where(mask > 0.5, torch.from_numpy(filled).permute(2, 0, 1), image_u8)


CLASSICAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean colour": mean_colour,
    "Telea": telea,
    "Navier-Stokes": navier_stokes,
}
