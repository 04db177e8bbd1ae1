r"""Seams taken out of a fill: Poisson blending (Perez, Gangnet, Blake: Poisson Image Editing, SIGGRAPH 2003).

The paper's result is the plain composite, and so is `aotlib.masks.composite`. A network that redraws the known pixels
a little too bright is too bright in the hole as well, and the composite then has a step along the hole's border.
Blending keeps the fill's gradients and takes the colours of the border from the photograph.

Taught in notebook 06.
"""

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from aotlib.masks import composite

NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0))


def membrane(values: Tensor, mask: Tensor) -> Tensor:
    r"""`values` where they are known, and in the hole the smoothest surface that continues them.

    .. math:: \Delta f = 0 \text{ in the hole}, \qquad f = \text{values on the known pixels around it}

    Each hole pixel is the mean of its neighbours; those beyond the frame do not count. A hole without any known
    neighbour, which is a picture that is all hole, gets 0. Solved directly (SuperLU), once for all channels: a
    hole of a quarter of 256, 512 or 1024 px square took 0.1, 0.4 and 2.5 s on one core.

    Args:
        values: (C, H, W).
        mask: (1, H, W), 1 = hole; values there are not read.

    Returns:
        (C, H, W), float64.

    >>> membrane(torch.tensor([[[3.0, 99.0, 99.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])).tolist()
    [[[3.0, 2.0, 1.0, 0.0]]]

    Taught in notebook 06.
    """
    hole = mask[0].cpu().numpy() > 0.5
    surface = values.detach().cpu().double().numpy().copy()
    surface[:, hole] = 0
    if hole.any() and not hole.all():
        matrix, known = _equations(surface, hole)
        surface[:, hole] = splu(matrix).solve(known).T
    return torch.from_numpy(surface)


def _equations(surface: np.ndarray, hole: np.ndarray) -> tuple[sparse.csc_matrix, np.ndarray]:
    """Number of neighbours times a pixel less its unknown neighbours = sum of the known ones, a row a hole pixel."""
    rows, columns = np.nonzero(hole)
    number = np.full(hole.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    count, known, links = np.zeros(len(rows)), np.zeros((len(rows), len(surface))), []
    for down, right in NEIGHBOURS:
        y, x = rows + down, columns + right
        inside = np.flatnonzero((y >= 0) & (y < hole.shape[0]) & (x >= 0) & (x < hole.shape[1]))
        count[inside] += 1
        other = number[y[inside], x[inside]]
        links.append(np.stack([inside[other >= 0], other[other >= 0]]))
        border = inside[other < 0]
        known[border] += surface[:, y[border], x[border]].T
    places = np.concatenate(links, axis=1)
    off = sparse.coo_matrix((-np.ones(places.shape[1]), places), shape=(len(rows), len(rows)))
    return (sparse.diags(count) + off).tocsc(), known


def blend(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    r"""The composite of `image` and a prediction whose error on the known pixels was carried on into the hole.

    .. math:: z = x \odot (1 - m) + (\hat{x} + f) \odot m

    with the membrane :math:`f` of :math:`x - \hat{x}`. A prediction that is wrong by a constant is put right
    exactly, and by any harmonic function where the hole does not touch the frame. Known pixels stay as they were.

    Args:
        prediction: :math:`\hat{x}`, (B, 3, H, W), in [-1, 1].
        image: :math:`x`, (B, 3, H, W), in [-1, 1]; not read in the hole.
        mask: :math:`m`, (B, 1, H, W), 1 = hole.

    Returns:
        (B, 3, H, W), float32, in [-1, 1].

    Taught in notebook 06.
    """
    pairs = zip(image - prediction, mask, strict=True)
    correction = torch.stack([membrane(error, hole) for error, hole in pairs]).to(prediction)
    return composite((prediction + correction).clamp(-1, 1), image, mask)
