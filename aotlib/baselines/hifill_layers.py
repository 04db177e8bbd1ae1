r"""Layers of HiFill: convolutions with cheap gates, and the two networks made of them.

Source: Yi et al., "Contextual Residual Aggregation for Ultra High-Resolution Image Inpainting" (CVPR 2020). Padding is
the same on both sides, where TensorFlow puts the odd pixel of a strided layer to the right and below.
Taught in notebook 07.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aotlib.baselines.attention import attention, fuse_scores, paste, similarity, valid_keys
from aotlib.choices import check_choice

FULL_WIDTH = 32  # channels of the first layer of each network in the paper
GATES = ("full", "ds", "pw", "sc")
INITS = ("released", "he")
COARSE_DILATIONS = (1,) * 6 + (2,) * 5 + (4,) * 4 + (8,) * 2 + (1,) * 3
REFINE_DILATIONS = (1, 2, 4, 8, 16)


class GatedConv(nn.Module):
    r"""A convolution and a gate that says how much of it passes: :math:`y = \sigma(G) \odot \mathrm{ELU}(F)`.

    ========  ==========================================  ======================================
    gate      what makes it                               weights, for k x k, :math:`C \to C'`
    ========  ==========================================  ======================================
    ``full``  a convolution as large as the feature's     :math:`k^2 C C' + C'`
    ``ds``    depthwise k x k, then 1 x 1                 :math:`k^2 C + C + C C' + C'`
    ``pw``    1 x 1                                       :math:`C C' + C'`
    ``sc``    k x k to one channel, shared by all         :math:`k^2 C + 1`
    ========  ==========================================  ======================================

    >>> [sum(p.numel() for p in GatedConv(2, 3, gate=gate).gate.parameters()) for gate in GATES]
    [57, 29, 9, 19]

    Taught in notebook 07.
    """

    def __init__(self, n_in: int, n_out: int, k: int = 3, stride: int = 1, dilation: int = 1, gate: str = "sc"):
        super().__init__()
        at = {"stride": stride, "padding": dilation * (k // 2), "dilation": dilation}
        self.feature = nn.Conv2d(n_in, n_out, k, **at)
        kinds = {
            "full": lambda: nn.Conv2d(n_in, n_out, k, **at),
            "ds": lambda: nn.Sequential(nn.Conv2d(n_in, n_in, k, groups=n_in, **at), nn.Conv2d(n_in, n_out, 1)),
            "pw": lambda: nn.Conv2d(n_in, n_out, 1, stride=stride),
            "sc": lambda: nn.Conv2d(n_in, 1, k, **at),
        }
        self.gate = kinds[check_choice("gate", gate, GATES)]()

    def forward(self, x: Tensor) -> Tensor:
        feature, gate = self.parts(x)
        return feature * gate

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Feature ELU(F) (B, C', H', W'), above -1, and gate in [0, 1] of that size (``sc``: one channel)."""
        return F.elu(self.feature(x)), torch.sigmoid(self.gate(x))


class Coarse(nn.Module):
    r"""26 gated layers at half the side: three sizes down to an eighth of the picture, dilated ones, and up again."""

    def __init__(self, width: int, gate: str, side: int) -> None:
        super().__init__()
        conv, wide = partial(GatedConv, gate=gate), 2 * width
        self.down = nn.ModuleList([conv(4, width, 5, 2), conv(width, width), conv(width, wide, stride=2)])
        self.middle = nn.ModuleList(conv(wide, wide, dilation=rate) for rate in within(COARSE_DILATIONS, side // 8))
        self.up = nn.ModuleList([conv(wide, width), conv(width, width)])
        self.last = conv(width, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        r"""A picture (B, 3, h, w) in [-1, 1] of `x` (B, 4, h, w), and the gates of all layers."""
        gates = []
        for layer in [*self.down, *self.middle, *self.up, self.last]:
            if layer in (self.up[0], self.last):
                x = enlarge(x, 2)
            x, gate = layer.parts(x)
            x = x * gate
            gates.append(gate)
        return cut(x), tuple(gates)


class Refine(nn.Module):
    r"""Down, dilated layers, attention computed once, and up with skips that the same attention has filled."""

    def __init__(self, width: int, levels: int, gate: str, side: int) -> None:
        super().__init__()
        conv, dilations = partial(GatedConv, gate=gate), within(REFINE_DILATIONS, side // 2**levels)
        channels = [width * 2**level for level in range(levels)]
        deep, skips = channels[-1], channels[:-1]
        self.down = nn.ModuleList(nn.Sequential(conv(a, b, stride=2), conv(b, b)) for a, b in pairwise([4, *channels]))
        self.middle = nn.Sequential(*(conv(deep, deep, dilation=rate) for rate in dilations))
        self.after, self.merge = conv(deep, deep), conv(2 * deep, deep)
        inputs = [2 * c for c in skips[1:]] + [deep]  # a skip doubles the channels
        self.up = nn.ModuleList(nn.Sequential(conv(a, b), conv(b, b)) for a, b in zip(inputs, skips, strict=True))
        self.transfer = nn.ModuleList(nn.Sequential(conv(c, c), conv(c, c, dilation=2)) for c in skips)
        self.last = conv(2 * width, 3)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Prediction (B, 3, H, W), attention (B, L, h, w) and valid keys (B, L) of `x` (B, 4, H, W)."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = self.middle(x)
        weights, valid = self.attend(x, mask)
        filled = self.after(paste(weights, x, 2, patch=3, overlap_mean=False))
        x = self.merge(torch.cat([x, filled], 1))
        for level in reversed(range(len(self.up))):
            skip = paste(weights, skips[level], 2 ** (len(self.up) - level + 1), overlap_mean=False)
            x = torch.cat([self.up[level](enlarge(x, 2)), self.transfer[level](skip)], 1)
        return cut(self.last(enlarge(x, 2))), weights, valid

    def attend(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        r"""Weights (B, L, h, w) between every second position of `x`, and which of them hold no hole (B, L)."""
        small = x[..., ::2, ::2]
        valid = valid_keys(F.max_pool2d(mask, mask.shape[-1] // small.shape[-1]))
        scores = fuse_scores(similarity(small, small), tuple(small.shape[-2:]))
        return attention(scores, valid), valid


def within(dilations: Sequence[int], places: int) -> list[int]:
    r"""`dilations`, none of them above half of the map's side.

    A wider layer would see little but zeros beyond the frame, and its outer weights would hardly learn.

    >>> within((1, 2, 4, 8, 16), 64), within((1, 2, 4, 8, 16), 8)
    ([1, 2, 4, 8, 16], [1, 2, 4, 4, 4])
    """
    return [min(rate, max(places // 2, 1)) for rate in dilations]


def draw(network: nn.Module, init: str, scale: float, seed: int) -> None:
    r"""Draw weights; biases are 0.

    ``"released"``: from a normal distribution cut at two standard deviations of 0.05, as the released code's are, times
    `scale`. Every gate begins at 1/2 and halves what passes: of 26 layers of the coarse network almost nothing comes
    out. ``"he"``: those instead with a standard deviation of 2 over the root of the number of summed terms, which makes
    up for the gates. The refining network has shorter ways through, and colours its fills less when it begins faintly.
    """
    rng, he = torch.Generator().manual_seed(seed), check_choice("init", init, INITS) == "he"
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            if he and name.startswith("coarse."):
                nn.init.normal_(module.weight, 0, 2 / math.sqrt(module.weight[0].numel()), generator=rng)
            else:
                nn.init.trunc_normal_(module.weight, 0, 0.05 * scale, -0.1 * scale, 0.1 * scale, generator=rng)
            nn.init.zeros_(module.bias)


def enlarge(x: Tensor, times: int) -> Tensor:
    r"""`x` at `times` its size, bilinear, pixels as small squares."""
    return F.interpolate(x, scale_factor=times, mode="bilinear", align_corners=False)


def cut(x: Tensor) -> Tensor:
    r"""`x` cut to [-1, 1], in float32 at least: bfloat16's steps near 1 are half a level."""
    return x.to(torch.promote_types(x.dtype, torch.float32)).clamp(-1, 1)
