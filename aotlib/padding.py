r"""Pictures of any size for networks that take some sizes only: enlarged by mirroring, and the result cut out.

Taught in notebook 07.
"""

from collections.abc import Callable

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
