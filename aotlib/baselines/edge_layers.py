r"""What EdgeConnect is made of: Canny's edges, the generators' common trunk, the critic of patches, initial weights.

Apart from `aotlib.baselines.edge_connect` only to keep each module short. Taught in notebook 07.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from skimage.feature import canny
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from aotlib.hardware import full_precision
from aotlib.model import FULL_WIDTH

SIGMA = 2.0  # of Canny's Gaussian, pixels, for pictures of 256 px


@torch.compiler.disable  # scikit-image works on NumPy arrays
@torch.no_grad()
def edges(image: Tensor, mask: Tensor | None = None, sigma: float = SIGMA) -> Tensor:
    r"""Canny's edges of the grey picture, 0 or 1, (B, 1, H, W), where `image` lies.

    Hysteresis thresholds are 0.1 and 0.2, as in scikit-image. With a mask the hole is never read, and there is no edge
    in it, nor within one pixel of it or of the frame, so that its outline is none.

    Args:
        image: (B, 3, H, W) in [-1, 1].
        mask: (B, 1, H, W), 1 = hole; None: all is known.
        sigma: of the Gaussian before, pixels.

    >>> step = torch.tensor([-1.0, -1, -1, 1, 1, 1]).expand(1, 3, 5, 6)
    >>> edges(step, sigma=0.5)[0, 0, 2].tolist(), edges(step, (step[:, :1] > 0).float()).sum().item()
    ([0.0, 0.0, 1.0, 1.0, 0.0, 0.0], 0.0)

    Taught in notebook 07.
    """
    if image.is_meta:  # shapes only
        return torch.empty_like(image[:, :1])
    pictures = gray(image.float().cpu())[:, 0].numpy()
    known = np.ones(pictures.shape, bool) if mask is None else (mask[:, 0] == 0).cpu().numpy()
    found = [canny(picture, sigma=sigma, mask=seen) for picture, seen in zip(pictures, known, strict=True)]
    return torch.from_numpy(np.stack(found)).to(image.device, torch.float32)[:, None]


def gray(image: Tensor) -> Tensor:
    r"""Luma of BT.709, (B, 1, H, W) in [0, 1], of (B, 3, H, W) in [-1, 1]."""
    red, green, blue = unit(image).split(1, dim=1)
    return 0.2125 * red + 0.7154 * green + 0.0721 * blue


def unit(image: Tensor) -> Tensor:
    return (image + 1) / 2


class Trunk(nn.Module):
    r"""Two strided convolutions, residual blocks, two transposed ones; instance norm and ReLU behind each.

    With `spectral`, all but the last layer have spectral norm, and those in the blocks no bias.
    """

    def __init__(self, n_in: int, n_out: int, width: int, n_blocks: int, spectral: bool, seed: int) -> None:
        super().__init__()
        wide, halving = 4 * width, {"stride": 2, "padding": 1}
        first, second = nn.Conv2d(n_in, width, 7), nn.Conv2d(width, 2 * width, 4, **halving)
        self.encoder = nn.ModuleList([first, second, nn.Conv2d(2 * width, wide, 4, **halving)])
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(wide, wide, 3, dilation=rate, bias=not spectral) for rate in (2, 1))
            for _ in range(n_blocks)
        )
        parts = ((wide, 2 * width), (2 * width, width))
        self.decoder = nn.ModuleList(nn.ConvTranspose2d(*part, 4, **halving) for part in parts)
        self.last = nn.Conv2d(width, n_out, 7)
        draw(self, width, seed)
        if spectral:
            limit([*self.encoder, *(conv for block in self.blocks for conv in block), *self.decoder], seed)

    def run(self, x: Tensor) -> Tensor:
        r"""The last layer's values (B, n_out, H, W), float32, for (B, n_in, H, W)."""
        x = F.pad(x, (3, 3, 3, 3), mode="reflect")
        for conv in self.encoder:
            x = F.relu(F.instance_norm(convolve(conv, x)))
        for dilated, plain in self.blocks:
            new = F.relu(F.instance_norm(convolve(dilated, F.pad(x, (2, 2, 2, 2), mode="reflect"))))
            x = x + F.instance_norm(convolve(plain, F.pad(new, (1, 1, 1, 1), mode="reflect")))
        for conv in self.decoder:
            x = F.relu(F.instance_norm(convolve(conv, x)))
        return self.last(F.pad(x, (3, 3, 3, 3), mode="reflect")).float()


class PatchCritic(nn.Module):
    r"""Judges 70 x 70 patches with five convolutions under spectral norm; gives the five maps, the last of scores."""

    def __init__(self, n_in: int, width: int, seed: int) -> None:
        super().__init__()
        layers = ((n_in, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 1))
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride, padding=1, bias=False) for a, b, stride in (*layers, (8 * width, 1, 1))
        )
        draw(self, width, seed)
        limit(self.convs, seed)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for conv in self.convs[:-1]:
            x = F.leaky_relu(convolve(conv, x), 0.2)
            maps.append(x)
        return [*maps, convolve(self.convs[-1], x)]


def convolve(conv: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> Tensor:
    r"""`conv` of `x`, its spectral norm, where it has one, in float32."""
    with full_precision(x):
        weight = conv.weight  # asking for it divides by its norm, after a power iteration where it trains
    if isinstance(conv, nn.ConvTranspose2d):
        return F.conv_transpose2d(x, weight, conv.bias, conv.stride, conv.padding)
    return F.conv2d(x, weight, conv.bias, conv.stride, conv.padding, conv.dilation)


def draw(network: nn.Module, width: int, seed: int) -> None:
    r"""Weights of mean 0 and standard deviation 0.02 at full width (see `aotlib.model.initialise`), biases of 0."""
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0, 0.02 * math.sqrt(FULL_WIDTH / width), generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def limit(convs: Iterable[nn.Module], seed: int) -> None:
    with torch.random.fork_rng(devices=[]):  # its first singular vectors come from torch's global generator
        torch.manual_seed(seed)
        for conv in convs:
            spectral_norm(conv)
