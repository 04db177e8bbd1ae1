r"""Pictures of any size for networks that take some only: enlarged by mirroring and the result cut out, or resized.

Taught in notebooks 07 and 08.
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor


def padded(
    network: Callable[[Tensor, Tensor], Tensor], image: Tensor, mask: Tensor, *, multiple: int, smallest: int = 1
) -> Tensor:
    r"""``network(image, mask)`` of a picture whose sides need not be multiples of `multiple`, nor `smallest` or more.

    Picture and mask go on beyond their right and lower edge as their own mirror images, so that a hole stays a hole;
    the prediction has the size of `image`.

    Args:
        image: (B, 3, H, W); mask: (B, 1, H, W), 1 = hole.

    >>> import torch
    >>> seen = []
    >>> def network(image, mask):
    ...     seen.append(image.flatten().tolist())
    ...     return image
    >>> padded(network, torch.tensor([[[[1.0, 2.0, 3.0]]]]), torch.zeros(1, 1, 1, 3), multiple=4).flatten().tolist()
    [1.0, 2.0, 3.0]
    >>> seen[0][:4]  # the first of four rows
    [1.0, 2.0, 3.0, 2.0]

    Taught in notebook 07.
    """
    height, width = image.shape[-2:]
    if min(height, width) < 1:
        raise ValueError(f"a picture of {height} x {width} px is empty")
    target = [max(-(-side // multiple), -(-smallest // multiple)) * multiple for side in (height, width)]
    x, m = (mirrored(tensor, *target) for tensor in (image, mask))
    return network(x, m)[..., :height, :width]


def mirrored(tensor: Tensor, height: int, width: int) -> Tensor:
    r"""`tensor` (B, C, H, W) enlarged to `height` x `width` at its right and lower edge, mirrored as often as needed.

    The edge itself is not repeated, unless a side has one pixel only.
    """
    for axis, wanted in ((-2, height), (-1, width)):
        while (has := tensor.shape[axis]) < wanted:
            by = min(wanted - has, max(has - 1, 1))
            where = (0, by, 0, 0) if axis == -1 else (0, 0, 0, by)
            tensor = F.pad(tensor, where, mode="reflect" if has > 1 else "replicate")
    return tensor


def at_size(network: Callable[[Tensor, Tensor], Tensor], image: Tensor, mask: Tensor, size: int) -> Tensor:
    r"""``network(image, mask)`` made on a copy whose shorter side is `size`, and brought back, the shape kept.

    Smaller by the mean of areas, larger bilinearly. A pixel of the copy is known where all pixels that it is made of
    are: no hidden colour runs into it, and thin known parts are lost.

    Args:
        image: (B, 3, H, W) in [-1, 1]; mask: (B, 1, H, W), 1 = hole.
        size: a multiple of 4; the longer side becomes the nearest one.

    Taught in notebook 08.
    """
    sides = list(image.shape[-2:])
    target = [max(round(side * size / min(sides) / 4) * 4, size) for side in sides]
    if target == sides:
        return network(image, mask)
    hole = F.adaptive_max_pool2d(mask, target) if min(sides) > size else (resample(mask, target) > 0).to(mask.dtype)
    return resample(network(resample(image * (1 - mask), target), hole), sides)


def resample(tensor: Tensor, sides: Sequence[int]) -> Tensor:
    r"""`tensor` (B, C, H, W) at other sides: the mean of areas where it gets smaller, else bilinear."""
    if min(sides) < min(tensor.shape[-2:]):
        return F.adaptive_avg_pool2d(tensor, list(sides))
    return F.interpolate(tensor, list(sides), mode="bilinear", align_corners=False)
