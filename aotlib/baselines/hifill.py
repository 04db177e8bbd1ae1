r"""HiFill: a light network at low resolution, and the detail of high resolution copied by the network's own attention.

Source: Yi et al., "Contextual Residual Aggregation for Ultra High-Resolution Image Inpainting" (CVPR 2020); layers
(`aotlib.baselines.hifill_layers`), losses and initial weights are those of the first author's training code.
Taught in notebook 07.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from aotlib import losses
from aotlib.baselines.attention import paste
from aotlib.baselines.hifill_layers import FULL_WIDTH, Coarse, Refine, cut, draw, enlarge
from aotlib.features import FeatureNet
from aotlib.hardware import full_precision
from aotlib.masks import composite

CRITIC_WIDTH = 64
STAGES = ("",)
# the released configuration: 0.001 G + 1.2 (1.2 coarse + fine) in the hole + the same outside it
WEIGHTS = {"coarse_hole": 1.44, "hole": 1.2, "coarse_valid": 1.44, "valid": 1.2, "adversarial": 0.001}
CRITIC_WEIGHTS = {"distance": 1.0, "penalty": 10.0}
# batch: 4 on each of two GPUs
SETTINGS = {"lr": 1e-4, "beta1": 0.5, "beta2": 0.9, "batch": 8, "size": 512, "critic_steps": 3, "lr_critic": 1.0}
ABOUT = {
    "label": "HiFill",
    "title": "Contextual Residual Aggregation for Ultra High-Resolution Image Inpainting",
    "authors": "Yi, Tang, Azizi, Jang, Xu",
    "venue": "CVPR",
    "year": 2020,
    "paper": "https://arxiv.org/abs/2005.09704",
    "code": "https://github.com/duxingren14/Hifill-tensorflow",
    "licence": "MIT",
    "weights": "A TensorFlow checkpoint lies with that code, a frozen graph in the Atlas200dk sample (Huawei's "
    "licence). Neither is read: that takes TensorFlow, and strided layers pad otherwise here, so that outputs would "
    "differ a little even with the same tensors.",
}


class Outputs(NamedTuple):
    r"""What `HiFill` gives.

    ``coarse``: (B, 3, H, W) in [-1, 1], enlarged from half the side; ``attention``: (B, L, h, w) with h and w the sides
    divided by `multiple`, L = h w; ``valid``: (B, L), 1 where a position may be copied; ``gates``: of the coarse
    network's layers, (B, 1, ...) each with the gate ``sc``.
    """

    prediction: Tensor
    coarse: Tensor
    attention: Tensor
    valid: Tensor
    gates: tuple[Tensor, ...]


class HiFill(nn.Module):
    r"""Coarse network at half the side, then a refining one with attention; `aggregate` takes both to larger pictures.

    Args:
        width: channels of the first layer of each network.
        levels: how often the refining network halves the side: 3 for 512 px; 2 for 64 px, with one transfer.
        gates: kind of gate of the coarse and the refining network. The paper has ``ds`` in the second; the depthwise
            half of it is switched off in the released code, which leaves ``pw``.
        side: of the pictures that it is trained on. No dilation is above half of a map's side then.
        init: of the weights, ``"released"`` or ``"he"`` (`aotlib.baselines.hifill_layers.draw`).
        seed: of the initial weights.

    Attributes:
        multiple: ``2 ** (levels + 1)``: attention looks at every second position of the deepest map.
        smallest: four times that: of fewer than 4 x 4 positions every key would lie at the frame.

    >>> net = HiFill()
    >>> [sum(p.numel() for p in part.parameters()) for part in (net, net.coarse)], net.multiple, net.smallest
    ([2722791, 811489], 16, 64)

    Taught in notebook 07.
    """

    def __init__(
        self,
        width: int = FULL_WIDTH,
        levels: int = 3,
        gates: Sequence[str] = ("sc", "pw"),
        side: int = 512,
        init: str = "released",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if width < 1 or levels < 2:
            raise ValueError(f"width must be at least 1 and levels at least 2, got width={width}, levels={levels}")
        self.options = {"width": width, "levels": levels, "gates": list(gates), "side": side, "init": init}
        self.multiple, self.smallest = 2 ** (levels + 1), 2 ** (levels + 3)
        self.coarse, self.refine = Coarse(width, gates[0], side), Refine(width, levels, gates[1], side)
        draw(self, init, math.sqrt(FULL_WIDTH / width), seed)  # a narrower layer sums fewer terms

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1] for every pixel; the caller composites.

        Args:
            image: (B, 3, H, W) in [-1, 1]; what lies under the hole is never read.
            mask: (B, 1, H, W), 1 = hole.
        """
        return self.outputs(image, mask).prediction

    def outputs(self, image: Tensor, mask: Tensor) -> Outputs:
        r"""`forward`'s prediction with the coarse one, the attention and the gates."""
        self.check_size(image, mask)
        known = image * (1 - mask)
        half = F.interpolate(torch.cat([known, mask], 1), scale_factor=0.5, mode="bilinear")
        coarse, gates = self.coarse(half)
        coarse = enlarge(coarse, 2)
        prediction, weights, valid = self.refine(torch.cat([known + coarse * mask, mask], 1), mask)
        return Outputs(prediction, coarse, weights, valid, gates)

    def check_size(self, image: Tensor, mask: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or mask.shape != (image.shape[0], 1, *image.shape[2:]):
            raise ValueError(
                f"expected image (B, 3, H, W) and mask (B, 1, H, W), got {tuple(image.shape)} and {tuple(mask.shape)}"
            )
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple or min(height, width) < self.smallest:
            raise ValueError(
                f"sides must be multiples of 2 ** (levels + 1) = {self.multiple} px and at least {self.smallest}, got "
                f"{height} x {width}; pad the image and crop the result, or build the network with fewer levels"
            )


def aggregate(image: Tensor, mask: Tensor, network: HiFill, *, side: int | None = None) -> Tensor:
    r"""A picture of any size with its holes filled by a network that sees it at `side` x `side` px.

    .. math:: z = x \odot (1 - m) + \left(U(\hat x_{low}) + \sum_j a_{ij} R_j\right) \odot m

    The picture is resized to a square of ``times * side`` px, the smallest that loses no row and no column, and from
    there brought to the network's side by averaging blocks of ``times`` x ``times``; a block with any hole pixel is
    hole. :math:`U` enlarges the prediction, :math:`R` is the `residual`, :math:`a` the network's attention. Known
    pixels are those of `image`, to the bit; those in the hole are never read. Pictures smaller than `side` are enlarged
    for the network (``times`` is 1, and no detail is added). The released code averages over hole pixels, too, and
    blends with a blurred mask, which changes known pixels.

    Args:
        image: :math:`x`, (B, 3, H, W) in [-1, 1].
        mask: :math:`m`, (B, 1, H, W), 1 = hole.
        side: pixels, a multiple of ``network.multiple`` and at least ``network.smallest``; by default the side that the
            network was made for.

    Returns:
        :math:`z`, (B, 3, H, W) in [-1, 1].

    Taught in notebook 07.
    """
    size, side = tuple(image.shape[-2:]), side or network.options["side"]
    times = max(1, math.ceil(max(size) / side))
    square = (times * side, times * side)
    large = F.interpolate(image * (1 - mask), size=square, mode="bilinear")
    hole = (F.interpolate(mask, size=square, mode="bilinear") > 0).to(mask)  # every pixel that a hole pixel went into
    found = network.outputs(F.avg_pool2d(large, times), F.max_pool2d(hole, times))
    detail = aggregate_residual(found.attention, residual(large, hole, times))
    filled = cut(enlarge(found.prediction, times) + detail)
    return composite(F.interpolate(filled, size=size, mode="bilinear", antialias=True), image, mask)


def residual(image: Tensor, mask: Tensor, times: int) -> Tensor:
    r"""What `image` loses when it is made `times` smaller and larger again; 0 in the hole.

    .. math:: R = \left(x - \frac{U(\overline{x (1 - m)})}{U(\overline{1 - m})}\right) \odot (1 - m)

    with means over blocks of ``times`` x ``times`` and bilinear enlargement :math:`U`. Away from holes the divisor is
    1; beside them it keeps the hole's emptiness from passing for an edge. The released code reads the hole instead.

    Args:
        image: :math:`x`, (B, 3, H, W), sides multiples of `times`.
        mask: :math:`m`, (B, 1, H, W), 1 = hole.

    >>> residual(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), torch.zeros(1, 1, 2, 2), 2).tolist()
    [[[[-0.5, 0.5], [-0.5, 0.5]]]]

    Taught in notebook 07.
    """
    known = 1 - mask
    low, share = F.avg_pool2d(image * known, times), F.avg_pool2d(known, times)
    share = enlarge(share, times).clamp(min=0.1 / times**2)  # at a known pixel 1/4 of 1/t^2 or more
    return (image - enlarge(low, times) / share) * known


def aggregate_residual(weights: Tensor, residual: Tensor) -> Tensor:
    r"""Patches of `residual` in the shares of the attention, side by side: :math:`\tilde R_i = \sum_j a_{ij} R_j`.

    Linear in :math:`R`, and never larger than its largest value, because shares are at least 0 and add up to at most 1.

    Args:
        weights: :math:`a`, (B, L, h, w) with L = h w.
        residual: :math:`R`, (B, 3, p h, p w): p x p patches.

    >>> swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).view(1, 2, 1, 2)
    >>> aggregate_residual(swap, torch.tensor([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]])).tolist()
    [[[[3.0, 4.0, 1.0, 2.0], [7.0, 8.0, 5.0, 6.0]]]]

    Taught in notebook 07.
    """
    patch = residual.shape[-1] // weights.shape[-1]
    return paste(weights, residual, patch, patch=patch)


class Critic(nn.Module):
    r"""One score for a whole picture: six convolutions that halve it, and one weighted sum of all that is left.

    Args:
        width: channels of the first layer; the widest have 4 times as many.
        side: of the pictures; it decides the size of the weighted sum. Features of pictures of another size are
            brought to the size of that sum by averaging or repeating.
        seed: of the initial weights: the released code's.

    >>> sum(p.numel() for p in Critic().parameters()), Critic(4, side=64)(torch.zeros(2, 3, 64, 64)).shape
    (5961601, torch.Size([2]))

    Taught in notebook 07.
    """

    def __init__(self, width: int = CRITIC_WIDTH, seed: int = 0, *, side: int = 512) -> None:
        super().__init__()
        self.options = {"width": width, "side": side}
        channels = [3] + [width * min(2**i, 4) for i in range(6)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 5, 2, 2) for a, b in pairwise(channels))
        self.score = nn.Conv2d(channels[-1], 1, max(1, math.ceil(side / 64)))
        draw(self, "released", math.sqrt(CRITIC_WIDTH / width), seed)
        nn.init.xavier_uniform_(self.score.weight, generator=Generator().manual_seed(seed))

    def forward(self, image: Tensor) -> Tensor:
        r"""Scores (B,), unbounded, for an image (B, 3, H, W) in [-1, 1]."""
        for conv in self.convs:
            image = F.leaky_relu(conv(image), 0.2)
        return self.score(F.adaptive_avg_pool2d(image, self.score.kernel_size)).flatten()


def generator_loss(
    outputs: Outputs, critic: nn.Module, image: Tensor, mask: Tensor, features: FeatureNet | None, stage: str = ""
) -> dict[str, Tensor]:
    r"""The parts of the generator's loss, unweighted, with coarse and fine prediction :math:`\hat x`, composite z.

    .. math:: L_{hole} = \overline{|\hat x - x| m} \qquad
              L_{valid} = \frac{\overline{|\hat x - x| (1 - m)}}{\overline{1 - m}} \qquad L_{adv} = -\overline{D(z)}

    Means are over the batch; the second alone is divided by its area, as in the released code. `features` go unused.

    Taught in notebook 07.
    """
    known = 1 - mask
    area = known.mean().clamp(min=0.5 / known.numel())  # no known pixel: 0 / 0 is to be 0
    parts = {}
    for name, picture in (("coarse_", outputs.coarse), ("", outputs.prediction)):
        parts[name + "hole"] = losses.l1(picture * mask, image * mask)
        parts[name + "valid"] = losses.l1(picture * known, image * known) / area
    parts["adversarial"] = -critic(composite(outputs.prediction, image, mask)).float().mean()
    return parts


def options_at(size: int) -> dict[str, int | str]:
    r"""Levels that leave attention 8 x 8 places, 2 at least, and initial weights that suit pictures of `size` px.

    From the released ones, whose coarse prediction is 1e-11 at first, the short runs on small pictures do not get away.

    >>> options_at(512), options_at(64)
    ({'levels': 3, 'side': 512, 'init': 'released'}, {'levels': 2, 'side': 64, 'init': 'he'})
    """
    return {"levels": 3 if size >= 128 else 2, "side": size, "init": "he" if size < 256 else "released"}


def critic_loss(
    critic: nn.Module, outputs: Outputs, image: Tensor, mask: Tensor, stage: str = "", *, rng: Generator | None = None
) -> dict[str, Tensor]:
    r"""WGAN-GP: :math:`\overline{D(z)} - \overline{D(x)}`, and the `gradient_penalty` over whole pictures.

    Taught in notebook 07.
    """
    fake = composite(outputs.prediction.detach(), image, mask)
    distance = critic(fake).float().mean() - critic(image).float().mean()
    return {"distance": distance, "penalty": gradient_penalty(critic, image, fake, rng=rng)}


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, *, rng: Generator | None = None) -> Tensor:
    r"""Mean of :math:`(\|\nabla D(\tilde x)\|_2 - 1)^2` at :math:`\tilde x = x + \alpha (z - x)`, one random
    :math:`\alpha` in [0, 1] a sample.

    Args:
        real, fake: :math:`x`, :math:`z`, (B, 3, H, W).
        rng: draws :math:`\alpha`, on its own device.

    Taught in notebook 07.
    """
    with full_precision(real):
        real, fake = real.detach().float(), fake.detach().float()
        alpha = torch.rand(len(real), 1, 1, 1, generator=rng, device=rng.device if rng else real.device).to(real)
        between = (real + alpha * (fake - real)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()
