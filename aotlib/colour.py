r"""Turning the hue of a picture: torchvision's `adjust_hue` to the bit, sooner.

Taken in through `aotlib.data`; ``python -m aotlib.bench.loader`` shows its part in making a sample.
"""

import numpy as np
import torch
from torch import Tensor

TINY = np.float32(1e-9)  # a divisor where the dividend is 0 anyway; the smallest true one is 1 / 255


def adjust_hue(image_u8: Tensor, shift: float) -> Tensor:
    r"""Turn the hue of every pixel by `shift` of the colour circle; value and saturation stay.

    torchvision spends its time on picking one of four numbers by an index of 8 bytes for each pixel and channel, and
    on memory for some forty pictures in between. Here is the same arithmetic, operation by operation, in float32, with
    the picking done by bit masks on bytes; a test compares all 16.7 million colours.

    Args:
        image_u8: (3, H, W), uint8.
        shift: in [-0.5, 0.5]; 1 is once round.

    >>> adjust_hue(torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1), 1 / 3).flatten()
    tensor([  0, 255,   0], dtype=torch.uint8)
    """
    if image_u8.dtype != torch.uint8 or image_u8.shape[0] != 3:
        raise ValueError(f"adjust_hue takes (3, H, W) in uint8, not {tuple(image_u8.shape)} in {image_u8.dtype}")
    rgb = np.multiply(image_u8.numpy(), np.float32(1 / 255), dtype=np.float32)
    hue, saturation, value = _hsv(rgb)
    hue += np.float32(shift)
    hue -= np.floor(hue)
    return torch.from_numpy(_rgb_u8(hue, saturation, value))


def _hsv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(3, H, W) in [0, 1] -> hue in [0, 1), saturation and value in [0, 1], (H, W) each; grey has hue 0."""
    r, g, b = rgb
    value = np.maximum(np.maximum(r, g), b)
    span = value - np.minimum(np.minimum(r, g), b)
    rc, gc, bc = (value - rgb) / np.maximum(span, TINY)
    hue = np.where(value == r, bc - gc, np.where(value == g, rc + 2 - bc, gc + 4 - rc))
    hue *= np.float32(1 / 6)
    hue += 1
    hue -= np.floor(hue)
    return hue, span / np.maximum(value, TINY), value


def _rgb_u8(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Back to (3, H, W), uint8: on each sixth of the circle the channels are value, p, q and t in another order."""
    hue = hue * np.float32(6)
    sixth = np.floor(hue)
    part = (hue - sixth) * saturation
    rest = 1 - saturation
    vpqt = np.stack([value, rest * value, (1 - part) * value, (part + rest) * value])
    np.clip(vpqt, 0, 1, out=vpqt)
    vpqt *= np.float32(255.999)  # as torchvision scales [0, 1] to bytes
    v, p, q, t = vpqt.astype(np.uint8)
    sixth = sixth.astype(np.uint8) % 6  # rounding may have made 6
    s0, s1, s2, s3, s4, s5 = (np.negative((sixth == k).view(np.uint8)) for k in range(6))  # 255 there, 0 elsewhere
    r = v & (s0 | s5) | q & s1 | p & (s2 | s3) | t & s4
    g = v & (s1 | s2) | q & s3 | p & (s4 | s5) | t & s0
    b = v & (s3 | s4) | q & s5 | p & (s0 | s1) | t & s2
    return np.stack([r, g, b])
