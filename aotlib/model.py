r"""Generator and discriminator of AOT-GAN, in the paper's recipe and in that of the released code.

What differs between the recipes is the gate (`aotlib.blocks.gate_update`) and how the hole is filled before the network
sees it: the paper's :math:`x \odot (1 - m)` leaves 0 (mid-grey), the released code paints +1 (white).
Taught in notebooks 02 (generator) and 03 (discriminator).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from aotlib.blocks import BLOCKS, GATES, RESIDUAL_RATES, AOTBlock, check_recipe
from aotlib.choices import check_choice
from aotlib.hardware import full_precision
from aotlib.rates import branch_width
from aotlib.released import read_released

FULL_WIDTH = 64  # channels of the first layer in the paper's networks


class Generator(nn.Module):
    r"""Encoder, a stack of AOT blocks at a quarter of the resolution, decoder; no normalisation layer.

    Args:
        width: channels of the first layer; the blocks have ``4 * width``.
        n_blocks: AOT blocks in the middle.
        rates: dilation rates of every block.
        recipe: ``"paper"`` or ``"released"``.
        block: ``"aot"``, or ``"residual"``: the plain block of the paper's figure, which has one branch of rate 2 in
            place of `rates`.
        gate: ``"recipe"`` (its gate), ``"paper"``, ``"released"``, or ``"none"``: the identity is added.
        init: of the weights, ``"normal"`` or ``"he"``; see `initialise`.
        seed: of the initial weights.

    >>> sum(p.numel() for p in Generator().parameters())
    15200835

    Taught in notebook 02.
    """

    multiple = 4  # of the sides of a picture; `smallest` is their least

    def __init__(
        self,
        width: int = FULL_WIDTH,
        n_blocks: int = 8,
        rates: Sequence[int] = (1, 2, 4, 8),
        recipe: str = "paper",
        init: str = "normal",
        block: str = "aot",
        gate: str = "recipe",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.recipe = check_recipe(recipe)
        rates = RESIDUAL_RATES if check_choice("block", block, BLOCKS) == "residual" else rates
        branch_width(4 * width, rates)
        gate = recipe if check_choice("gate", gate, GATES) == "recipe" else gate
        self.options = {"width": width, "n_blocks": n_blocks, "rates": tuple(rates), "recipe": recipe}
        self.options |= {"gate": gate} if gate != recipe else {}
        self.smallest = 4 * (max(rates) + 1)  # reflection needs a feature map larger than its border
        self.encoder = nn.ModuleList(
            [
                nn.Conv2d(4, width, 7),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            ]
        )
        self.blocks = nn.ModuleList(AOTBlock(4 * width, rates, gate) for _ in range(n_blocks))
        self.decoder = nn.ModuleList(
            [
                nn.Conv2d(4 * width, 2 * width, 3, padding=1),
                nn.Conv2d(2 * width, width, 3, padding=1),
                nn.Conv2d(width, 3, 3, padding=1),
            ]
        )
        initialise(self, width, seed, init)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction :math:`G(x \odot (1 - m), m)` for every pixel; the caller composites.

        Args:
            image: :math:`x`, (B, 3, H, W) in [-1, 1]; what lies under the hole is never read.
            mask: :math:`m`, (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) in [-1, 1].
        """
        self.check_size(image, mask)
        x = self.decode(self.blocks_output(self.encode(image, mask)))
        return torch.tanh(x.to(torch.promote_types(x.dtype, torch.float32)))  # bfloat16's steps near 1: half a level

    def encode(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Features of the masked image, (B, 4 * width, H / 4, W / 4)."""
        masked = image * (1 - mask) + (mask if self.recipe == "released" else 0)
        x = F.pad(torch.cat([masked, mask], 1), (3, 3, 3, 3), mode="reflect")
        for conv in self.encoder:
            x = F.relu(conv(x))
        return x

    def blocks_output(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x

    def decode(self, x: Tensor) -> Tensor:
        for conv in self.decoder[:-1]:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = F.relu(conv(x))
        return self.decoder[-1](x)

    def check_size(self, image: Tensor, mask: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or mask.shape != (image.shape[0], 1, *image.shape[2:]):
            raise ValueError(
                f"expected image (B, 3, H, W) and mask (B, 1, H, W), got {tuple(image.shape)} and {tuple(mask.shape)}"
            )
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple or min(height, width) < self.smallest:
            raise ValueError(
                f"sides must be multiples of 4 and at least {self.smallest} px for rates {self.options['rates']}, "
                f"got {height} x {width}; pad the image and crop the result (`aotlib.padding`)"
            )

    @classmethod
    def from_released(cls, source: str | Path | Mapping[str, Tensor]) -> "Generator":
        r"""The generator of a released ``G*.pt`` file or state dict, with every tensor in its place.

        Raises:
            ValueError: for an optimiser or discriminator file, a folder, missing or surplus keys, other shapes.
        """
        state = read_released(source)
        generator = cls(recipe="released")
        generator.load_state_dict(state)
        return generator


class Discriminator(nn.Module):
    r"""A map of patch scores: each value judges one 70 x 70 patch; the centres lie 8 px apart.

    Its first centre is at 11.5 px from the border, so that an H x W image gives (H // 8 - 2) x (W // 8 - 2) values.

    Args:
        width: channels of the first layer.
        seed: of the initial weights.

    >>> Discriminator(width=4)(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 1, 6, 10])

    Taught in notebook 03.
    """

    def __init__(self, width: int = FULL_WIDTH, seed: int = 0) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 8 * width]
        strides = [2, 2, 2, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=s, padding=1, bias=False)
            for a, b, s in zip(channels[:-1], channels[1:], strides, strict=True)
        )
        self.score = nn.Conv2d(channels[-1], 1, 4, padding=1)
        initialise(self, width, seed)
        with torch.random.fork_rng(devices=[]):  # its first singular vectors come from torch's global generator
            torch.manual_seed(seed)
            for conv in self.convs:
                spectral_norm(conv)

    def forward(self, image: Tensor) -> Tensor:
        r"""Scores (B, 1, H // 8 - 2, W // 8 - 2), unbounded, for an image (B, 3, H, W) in [-1, 1]."""
        if min(image.shape[-2:]) < 24:
            raise ValueError(f"the discriminator needs sides of at least 24 px, got {tuple(image.shape[-2:])}")
        x = image
        for conv in self.convs:
            with full_precision(x):
                weight = conv.weight  # asking for it divides by its norm, after a power iteration where it trains
            x = F.leaky_relu(F.conv2d(x, weight, stride=conv.stride, padding=conv.padding), 0.2)
        return self.score(x)


def initialise(network: nn.Module, width: int, seed: int, init: str = "normal") -> None:
    r"""Draw every convolution weight from a normal distribution of mean 0 and set biases to 0.

    ``"normal"``: standard deviation 0.02 sqrt(64 / width). At the paper's width of 64 this is the released code's 0.02;
    a narrower layer sums fewer terms, and the factor keeps the size of its output.
    ``"he"``: standard deviation sqrt(2 / n) for n inputs of a convolution, which keeps the size of features through
    ReLU layers. Not the paper's; short runs learn faster from it.

    Taught in notebook 02.
    """
    check_choice("init", init, ("normal", "he"))
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                n_inputs = module.weight[0].numel()
                std = math.sqrt(2 / n_inputs) if init == "he" else 0.02 * math.sqrt(FULL_WIDTH / width)
                module.weight.normal_(0, std, generator=rng)
                if module.bias is not None:
                    module.bias.zero_()
