r"""Irregular masks drawn from a seed: brush strokes, boxes and blobs that cover exactly the wanted share.

Taken in through `aotlib.masks.irregular_mask`; apart only to keep each module short.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor


def irregular_mask(size: int | tuple[int, int], ratio: float | tuple[float, float], *, seed: int, index: int) -> Tensor:
    r"""Draw brush strokes, boxes and blobs that cover exactly the wanted share; the same for the same (seed, index).

    Shapes are added until the share is exceeded; of the last one only the pixels nearest to where it began
    are kept, so that the hole counts `round(ratio * H * W)` pixels. Lengths are in units of the shorter side:
    the same (seed, index) looks alike at 128 and at 512 pixels.

    Args:
        size: side, or (H, W), at least 16.
        ratio: share of the hole in (0, 0.95], or a bucket (low, high] in which it is drawn evenly.

    Returns:
        (1, H, W), float32, 1 = hole.

    >>> irregular_mask(100, 0.25, seed=0, index=0).sum()
    tensor(2500.)

    Taught in notebook 01.
    """
    height, width = size if isinstance(size, Sequence) else (size, size)
    if min(height, width) < 16:
        raise ValueError(f"a mask of {height} x {width} pixels is too small for strokes; take at least 16 x 16")
    rng = np.random.default_rng([seed, index])
    wanted = _wanted_pixels(height * width, ratio, rng)
    canvas = Image.new("L", (width, height))
    hole, missing = np.zeros((height, width), bool), wanted
    while missing > 0:
        start = _draw_shape(ImageDraw.Draw(canvas), canvas.size, wanted / (height * width), rng)
        new = (np.asarray(canvas) != 0) & ~hole
        hole |= new if np.count_nonzero(new) <= missing else _nearest(new, start, missing)
        missing = wanted - np.count_nonzero(hole)
    return torch.from_numpy(hole).float()[None]


def _wanted_pixels(n_pixels: int, ratio: float | tuple[float, float], rng: np.random.Generator) -> int:
    low, high = ratio if isinstance(ratio, Sequence) else (ratio, ratio)
    if not 0 < high <= 0.95 or not 0 <= low <= high:
        raise ValueError(f"a hole ratio lies in (0, 0.95], as a number or as (low, high); got {ratio!r}")
    share = rng.random()  # drawn in either case, so that the shapes do not depend on how the ratio is given
    if low == high:
        return max(1, round(low * n_pixels))
    first, last = math.floor(low * n_pixels + 1e-6) + 1, math.floor(high * n_pixels + 1e-6)  # as bucket_of cuts
    if first > last:
        raise ValueError(f"no pixel count of {n_pixels} lies in the range {ratio!r}; widen it or take a larger mask")
    return first + int(share * (last - first + 1))


def _nearest(pixels: np.ndarray, start: tuple[float, float], count: int) -> np.ndarray:
    """The `count` set pixels nearest to start; equal distances in reading order, so that every machine agrees."""
    places = np.flatnonzero(pixels)  # faster than np.nonzero, which finds the same in the same order
    rows, columns = np.divmod(places, pixels.shape[1])
    distance = (columns - int(start[0])) ** 2 + (rows - int(start[1])) ** 2
    limit = np.partition(distance, count - 1)[count - 1]
    kept = np.flatnonzero(distance < limit)
    kept = np.concatenate([kept, np.flatnonzero(distance == limit)[: count - len(kept)]])
    nearest = np.zeros_like(pixels)
    nearest.flat[places[kept]] = True
    return nearest


def _draw_shape(draw: ImageDraw.ImageDraw, size: tuple[int, int], share: float, rng: np.random.Generator):
    """Draw a stroke, a box or a blob and return where it began, (x, y); the larger the share, the fatter the shape."""
    side = min(size)
    frame, fat = np.array(size) / side, max(math.sqrt(share), 0.15)  # lengths in units of the shorter side
    start = rng.random(2) * frame
    kind = rng.choice(["stroke", "box", "blob"], p=[0.7, 0.15, 0.15])
    if kind == "stroke":
        _draw_stroke(draw, start, frame, side, fat, rng)
    elif kind == "box":
        half = rng.uniform(0.05, 0.25, 2) * fat
        draw.rectangle([*((start - half) * side), *((start + half) * side)], fill=1)
    else:
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        waves = sum(rng.normal(0, 0.35 / k) * np.sin(k * angle + rng.uniform(0, 7)) for k in (1, 2, 3, 5))
        radius = rng.uniform(0.1, 0.28) * fat * np.exp(waves)
        outline = start + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        draw.polygon([tuple(point) for point in outline * side], fill=1)
    return tuple(start * side)


def _draw_stroke(draw, start, frame, side, fat, rng):
    """A brush led by hand: a walk whose direction drifts, mirrored at the frame, with a nib of changing width."""
    n_steps = rng.integers(12, 60)
    turn = rng.normal(rng.normal(0, 0.12), 0.25, n_steps).cumsum() + rng.uniform(0, 2 * np.pi)
    step = rng.uniform(0.02, 0.04)
    walk = start + step * np.stack([np.cos(turn), np.sin(turn)], 1).cumsum(0)
    walk = frame - np.abs(frame - walk % (2 * frame))
    width = rng.uniform(0.08, 0.26) * fat
    stamp = draw.ellipse if rng.random() < 0.4 else draw.rectangle  # a round nib, or a square one with a jagged edge
    points = [tuple(point) for point in walk * side]
    draw.line(points, fill=1, width=max(1, round(0.7 * width * side)))
    for (x, y), nib in zip(points, rng.uniform(0.35, 0.6, n_steps) * width * side, strict=True):
        stamp([x - nib, y - nib, x + nib, y + nib], fill=1)
