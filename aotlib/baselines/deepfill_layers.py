r"""What DeepFill's two versions share: the plan of their two networks, for whatever kind of layer, and the attention.

A kind of layer is a function of (channels in, channels out, kernel, stride, dilation, act) that gives a module:
`Conv` in the first version (`aotlib.baselines.ca`), a gated convolution in the second
(`aotlib.baselines.gated_conv`). ``c`` is the number of channels of the first layer.
Taught in notebook 07.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aotlib.baselines.attention import attention, fuse_scores, paste, similarity, valid_keys
from aotlib.choices import check_choice

DILATIONS = (2, 4, 8, 16)
MULTIPLE = 8  # the attention compares positions at an eighth of the picture's side
SMALLEST = 2 * MULTIPLE
VALIDITIES = ("max", "nearest")


def same(x: Tensor, kernel: int, stride: int = 1, dilation: int = 1) -> Tensor:
    r"""`x` with the zeros around it that let a convolution give ``ceil(side / stride)`` positions.

    An odd number of them has its surplus on the right and below, as TensorFlow's "SAME" has it: with stride 2 the
    picture's other side would be sampled otherwise.

    >>> same(torch.ones(1, 1, 1, 4), 3, 2).shape, same(torch.ones(1, 1, 4, 4), 3, 2)[0, 0, 4].tolist()
    (torch.Size([1, 1, 3, 5]), [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    needed = [max((-(-side // stride) - 1) * stride + dilation * (kernel - 1) + 1 - side, 0) for side in x.shape[-2:]]
    (top, bottom), (left, right) = ((n // 2, n - n // 2) for n in needed)
    return F.pad(x, (left, right, top, bottom))


def convolved(x: Tensor, conv: nn.Conv2d) -> Tensor:
    r"""`conv` of `x` with the zeros of `same` around it, whatever padding `conv` has."""
    kernel, stride, dilation = conv.kernel_size[0], conv.stride[0], conv.dilation[0]
    if stride > 1:
        return F.conv2d(same(x, kernel, stride, dilation), conv.weight, conv.bias, stride, 0, dilation)
    # as many on all sides: the convolution adds them itself, without a copy of x
    return F.conv2d(x, conv.weight, conv.bias, 1, dilation * (kernel // 2), dilation)


class Conv(nn.Module):
    r"""Convolution with `same` padding, then an activation or none.

    Args:
        n_in, n_out: channels.
        kernel, stride, dilation: of the convolution.
        act: activation; None leaves the convolution's values as they are.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel: int = 3, stride: int = 1, dilation: int = 1, act: Callable | None = F.elu
    ) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(n_in, n_out, kernel, stride, dilation=dilation), act

    def forward(self, x: Tensor) -> Tensor:
        x = convolved(x, self.conv)
        return x if self.act is None else self.act(x)


Layer = Callable[..., nn.Module]


def coarse_network(layer: Layer, c: int, dilations: Sequence[int]) -> nn.Sequential:
    r"""Five channels to a picture: two strided layers, dilated ones at a quarter of the side, two up-samplings."""
    down = [layer(5, c, 5), layer(c, 2 * c, stride=2), layer(2 * c, 2 * c), layer(2 * c, 4 * c, stride=2)]
    middle = [layer(4 * c, 4 * c), layer(4 * c, 4 * c), *dilated(layer, c, dilations)]
    return nn.Sequential(*down, *middle, *decoder(layer, 4 * c, c))


def dilated(layer: Layer, c: int, dilations: Sequence[int]) -> list[nn.Module]:
    return [layer(4 * c, 4 * c, dilation=rate) for rate in dilations]


def decoder(layer: Layer, n_in: int, c: int) -> list[nn.Module]:
    r"""From a quarter of the side to the whole; the last layer is an ordinary convolution without activation."""
    quarter = [layer(n_in, 4 * c), layer(4 * c, 4 * c), nn.Upsample(scale_factor=2)]
    half = [layer(4 * c, 2 * c), layer(2 * c, 2 * c), nn.Upsample(scale_factor=2)]
    return [*quarter, *half, layer(2 * c, c), layer(c, c // 2), Conv(c // 2, 3, act=None)]


def contextual_attention(feature: Tensor, hole: Tensor, fuse: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    r"""Rebuild `feature` from its own known patches: the result, the shares (B, L, h, w), the valid keys (B, L).

    Every second position of the feature is compared with every other by its 3 x 3 surroundings; copied are 4 x 4
    patches of the whole map, at every second position, see `paste`. A key is valid when no hole touches the 3 x 3
    positions around it, and these cover its 4 x 4 values: with a `hole` made by maxima, no value computed at a hole
    position is ever copied. Where no key is valid the result is 0.
    The released code takes the even positions in the first half of a row and the odd ones in the second (it aligns
    corners); here they are even throughout.

    Args:
        feature: (B, C, 2 h, 2 w).
        hole: (B, 1, h, w), above 0 where there is hole.
        fuse: whether neighbours are to agree, see `fuse_scores`.

    Taught in notebook 07.
    """
    small = feature[..., ::2, ::2]
    scores = similarity(small, small)
    if fuse:
        scores = fuse_scores(scores, small.shape[-2:])
    valid = valid_keys(hole)
    weights = attention(scores, valid)
    return paste(weights, feature, 2), weights, valid


def options_at(size: int) -> dict[str, list[int]]:
    r"""Of the dilated layers those that see a neighbour in pictures of `size` px, at a quarter of their side.

    A wider one would meet zeros beyond the frame only: its outer weights would stay as they were drawn, and be noise in
    the larger pictures that the network may fill later.

    >>> [options_at(size)["dilations"] for size in (256, 64)]
    [[2, 4, 8, 16], [2, 4, 8]]
    """
    return {"dilations": [rate for rate in DILATIONS if 4 * rate < size]}


class Refiner(nn.Module):
    r"""The second network: a branch of dilated layers beside one with `contextual_attention`, one decoder for both."""

    def __init__(self, layer: Layer, n_in: int, c: int, dilations: Sequence[int], fuse: bool) -> None:
        super().__init__()
        self.fuse = fuse

        def down() -> list[nn.Module]:
            return [layer(n_in, c, 5), layer(c, c, stride=2), layer(c, 2 * c)]

        deep = [layer(2 * c, 2 * c, stride=2), layer(2 * c, 4 * c), layer(4 * c, 4 * c)]
        self.surroundings = nn.Sequential(*down(), *deep, *dilated(layer, c, dilations))
        ask = [layer(2 * c, 4 * c, stride=2), layer(4 * c, 4 * c), layer(4 * c, 4 * c, act=F.relu)]
        self.before = nn.Sequential(*down(), *ask)
        self.after = nn.Sequential(layer(4 * c, 4 * c), layer(4 * c, 4 * c))
        self.decoder = nn.Sequential(*decoder(layer, 8 * c, c))

    def forward(self, x: Tensor, hole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""A picture (unbounded), the shares and the valid keys; `hole` is the mask at an eighth of the side of `x`."""
        copied, weights, valid = contextual_attention(self.before(x), hole, self.fuse)
        return self.decoder(torch.cat([self.surroundings(x), self.after(copied)], 1)), weights, valid


def as_image(x: Tensor, image: Tensor) -> Tensor:
    r"""`x` in the image's number format, float32 at least: bfloat16's steps near 1 are half a level of grey."""
    return x.to(torch.promote_types(image.dtype, torch.float32))


def shrink(mask: Tensor, validity: str = "max") -> Tensor:
    r"""The mask at an eighth of its side: hole where any of 8 x 8 px is (``"max"``), or the first (``"nearest"``)."""
    check_choice("validity", validity, VALIDITIES)
    return F.max_pool2d(mask, MULTIPLE) if validity == "max" else mask[..., ::MULTIPLE, ::MULTIPLE]


def check_size(image: Tensor, mask: Tensor, multiple: int = MULTIPLE, smallest: int = SMALLEST) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or mask.shape != (image.shape[0], 1, *image.shape[2:]):
        raise ValueError(
            f"expected image (B, 3, H, W) and mask (B, 1, H, W), got {tuple(image.shape)} and {tuple(mask.shape)}"
        )
    height, width = image.shape[-2:]
    if height % multiple or width % multiple or min(height, width) < smallest:
        raise ValueError(
            f"sides must be multiples of {multiple} and at least {smallest} px, got {height} x {width}; "
            "pad the image and crop the result"
        )


def glorot(network: nn.Module, seed: int) -> None:
    r"""Glorot-uniform weights and zero biases: TensorFlow's default, which the released code keeps."""
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=rng)
            nn.init.zeros_(module.bias)
