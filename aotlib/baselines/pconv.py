r"""PConv: a U-Net of partial convolutions, which look at known pixels only and pass on which pixels they knew.

Source: Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions" (ECCV 2018); no critic. Inside,
masks are 1 = **valid**; pictures stay in [-1, 1], so that the 0 of a masked pixel is mid-grey. The last layer is
linear: `Outputs.raw` is what it gives and what the losses look at, the prediction is cut to [-1, 1].
Taught in notebook 07.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aotlib import losses
from aotlib.choices import check_choice
from aotlib.features import FeatureNet
from aotlib.hardware import full_precision
from aotlib.masks import composite
from aotlib.model import FULL_WIDTH, initialise

STAGES = ("train", "frozen_bn")
WEIGHTS = {"valid": 1.0, "hole": 6.0, "perceptual": 0.05, "style_out": 120.0, "style_comp": 120.0, "tv": 0.1}  # eq. 7
CRITIC_WEIGHTS: dict[str, float] = {}  # no critic
SETTINGS = {"lr": 2e-4, "beta1": 0.9, "beta2": 0.999, "batch": 6, "size": 512}  # Adam's own betas: none are named
SETTINGS |= {"critic_steps": 0, "lr_critic": 0.0}
SETTINGS["lr_stages"] = {"train": 1.0, "frozen_bn": 0.25}  # ratios to lr: 2e-4, then 5e-5
ABOUT = {
    "label": "PConv",
    "title": "Image Inpainting for Irregular Holes Using Partial Convolutions",
    "authors": "Liu, Reda, Shih, Wang, Tao, Catanzaro",
    "venue": "ECCV",
    "year": 2018,
    "paper": "https://arxiv.org/abs/1804.07723",
    "code": "https://github.com/NVIDIA/partialconv",
    "licence": "BSD-3-Clause",
    "weights": "The authors released the layer and the losses, never the inpainting network or its weights, so that "
    "there are no tensors to map.",
}
POOLS = ("relu1_1", "relu2_2", "relu3_4")  # pooled by 2: the paper's pool1, pool2, pool3; see `pools`


class PartialConv(nn.Module):
    r"""A convolution over valid pixels only, scaled up for those that are missing from its window.

    .. math:: x' = \begin{cases} W^\top (x \odot m) \, \frac{k^2 C}{\sum m} + b & \sum m > 0 \\ 0 & \text{else}
              \end{cases} \qquad m' = [\sum m > 0]

    with :math:`m` = 1 where valid and sums over a window's :math:`k^2 C` values; what lies outside the frame is not
    valid. Channels in one block share a mask; the sum over a block is its number of channels times that over one mask,
    which costs next to nothing beside one mask a channel.

    Args:
        blocks: channels in, block by block: ``(512, 64)`` takes two masks, ``(1, 1, 1)`` one for each channel.
        n_out: channels out, which share one mask.
        kernel: odd side of the window, :math:`k`.

    >>> conv = PartialConv((1,), 1, 3, bias=False)
    >>> _ = nn.init.ones_(conv.conv.weight)
    >>> x, valid = conv(torch.full((1, 1, 1, 4), 2.0), torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]]))
    >>> x.tolist(), valid.tolist()  # 2 * 9, whatever the number of valid pixels
    ([[[[18.0, 18.0, 0.0, 0.0]]]], [[[[1.0, 1.0, 0.0, 0.0]]]])

    Taught in notebook 07.
    """

    def __init__(self, blocks: Sequence[int], n_out: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        self.conv = nn.Conv2d(sum(blocks), n_out, kernel, stride, kernel // 2, bias=bias)
        counts = torch.tensor(self.blocks, dtype=torch.float32).view(1, -1, 1, 1)
        self.register_buffer("window", counts.repeat(1, 1, kernel, kernel), persistent=False)

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        r"""Feature (B, n_out, H', W') and its mask (B, 1, H', W').

        Args:
            x: (B, sum(blocks), H, W); where it is not valid, it is not read.
            valid: (B, len(blocks), H, W), 1 = valid, 0 = not.
        """
        scale, seen = self.scale(valid)
        pairs = zip(x.split(self.blocks, dim=1), valid.to(x.dtype).split(1, dim=1), strict=True)
        parts, conv = [part * mask for part, mask in pairs], self.conv
        x = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        x = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
        dtype, x = x.dtype, x * scale
        if conv.bias is not None:
            x = x + conv.bias.view(1, -1, 1, 1) * seen
        return x.to(dtype), seen

    @torch.no_grad()
    def scale(self, valid: Tensor) -> tuple[Tensor, Tensor]:
        r"""What the sum over each window is multiplied by, and the next mask: both (B, 1, H', W'), float32."""
        with full_precision(valid):  # half precision cannot count to k * k * 1024
            n_valid = F.conv2d(valid.float(), self.window, None, self.conv.stride, self.conv.padding)
        seen = (n_valid > 0).to(n_valid)
        return self.conv.weight[0].numel() / n_valid.clamp(min=1) * seen, seen


class Outputs(NamedTuple):
    r"""What `PConv` gives: prediction in [-1, 1], the last layer's own values, and the mask after every layer.

    ``valid`` has 1 = valid, (B, 1, h, w): first the encoder's masks, large to small, then the decoder's.
    """

    prediction: Tensor
    raw: Tensor
    valid: tuple[Tensor, ...]


class Level(nn.Module):
    r"""Partial convolution, batch norm where wanted, activation (slope 0: ReLU; None: none)."""

    def __init__(
        self, blocks: Sequence[int], n_out: int, kernel: int, stride: int, norm: bool, slope: float | None
    ) -> None:
        super().__init__()
        self.conv = PartialConv(blocks, n_out, kernel, stride, bias=not norm)  # batch norm would take a bias away
        self.norm, self.slope = nn.BatchNorm2d(n_out) if norm else nn.Identity(), slope

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        x, valid = self.conv(x, valid)
        x = self.norm(x)
        return x if self.slope is None else F.leaky_relu(x, self.slope), valid


class PConv(nn.Module):
    r"""The U-Net: `levels` strided layers down, as many up, each with the feature *and* the mask of its neighbour.

    Args:
        width: channels of the first layer; the widest have ``8 * width``.
        levels: 8 for 512 px, 7 for 256, 5 for 64: the narrowest feature map then is 2 x 2.
        seed: of the initial weights (He normal, as in the paper).

    Attributes:
        multiple, smallest: sides must be multiples of ``2 ** levels``, and so at least that. To *train* on one picture
            of that size is refused by batch norm, which then has one value a channel.

    >>> sum(p.numel() for p in PConv().parameters()), sum(p.numel() for p in PConv(levels=7).parameters())
    (32859796, 25779860)

    Taught in notebook 07.
    """

    def __init__(self, width: int = FULL_WIDTH, levels: int = 8, seed: int = 0) -> None:
        super().__init__()
        if width < 1 or levels < 1:
            raise ValueError(f"width and levels must be at least 1, got {width} and {levels}")
        self.options = {"width": width, "levels": levels}
        self.multiple = self.smallest = 2**levels
        self.frozen_norm = False
        channels = [3] + [width * min(2**level, 8) for level in range(levels)]
        kernels = [7, 5, 5] + [3] * levels
        self.encoder = nn.ModuleList(
            Level(channels[i : i + 1], channels[i + 1], kernels[i], 2, norm=i > 0, slope=0.0) for i in range(levels)
        )
        outs = [3, *channels[1:]]
        self.decoder = nn.ModuleList(
            Level((channels[i + 1], channels[i]), outs[i], 3, 1, norm=i > 0, slope=0.2 if i else None)
            for i in reversed(range(levels))
        )
        initialise(self, width, seed, "he")

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1] for every pixel; the caller composites.

        Args:
            image: (B, 3, H, W) in [-1, 1]; what lies under the hole is never read.
            mask: (B, 1, H, W), 1 = hole. Where all is hole, the prediction is 0.
        """
        return self.outputs(image, mask).prediction

    def outputs(self, image: Tensor, mask: Tensor) -> Outputs:
        r"""`forward`'s prediction with the uncut values and the mask after every level."""
        self.check_size(image, mask)
        x, valid = image * (1 - mask), 1 - mask
        skips, masks = [], []
        for level in self.encoder:
            skips.append((x, valid))
            x, valid = level(x, valid)
            masks.append(valid)
        for level in self.decoder:
            skip, skip_valid = skips.pop()
            x, valid = (F.interpolate(t, scale_factor=2, mode="nearest") for t in (x, valid))
            x, valid = level(torch.cat([x, skip], 1), torch.cat([valid, skip_valid], 1))
            masks.append(valid)
        raw = x.float()
        return Outputs(raw.clamp(-1, 1), raw, tuple(masks))

    def train(self, mode: bool = True) -> "PConv":
        r"""As of every module; the encoder's batch norms stay with the statistics they have once they are frozen."""
        super().train(mode)
        if self.frozen_norm:
            self.encoder_norms().eval()
        return self

    def encoder_norms(self) -> nn.ModuleList:
        return nn.ModuleList(level.norm for level in self.encoder)

    def check_size(self, image: Tensor, mask: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or mask.shape != (image.shape[0], 1, *image.shape[2:]):
            raise ValueError(
                f"expected image (B, 3, H, W) and mask (B, 1, H, W), got {tuple(image.shape)} and {tuple(mask.shape)}"
            )
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"sides must be multiples of 2 ** levels = {self.multiple} px, got {height} x {width}; "
                "pad the image and crop the result, or build the network with fewer levels"
            )


def options_at(size: int) -> dict[str, int]:
    r"""Levels that bring pictures of `size` px down to 2 x 2, as the paper's do at 512; fewer where sides do not halve.

    >>> [options_at(size)["levels"] for size in (512, 256, 64, 96)]
    [8, 7, 5, 5]
    """
    fitting = [levels for levels in range(1, 9) if size % 2**levels == 0 and size >= 2 ** (levels + 1)]
    return {"levels": max(fitting, default=1)}


def enter(network: PConv, stage: str) -> None:
    r"""Bring `network` into `stage`: in ``"frozen_bn"`` the encoder's batch norms neither count nor learn any more.

    Their statistics were taken over features in which holes are 0. The decoder's go on; ``"train"`` undoes it.

    Taught in notebook 07.
    """
    network.frozen_norm = check_choice("stage", stage, STAGES) == "frozen_bn"
    network.encoder_norms().requires_grad_(not network.frozen_norm)
    network.train(network.training)


def generator_loss(
    outputs: Outputs, critic: None, image: Tensor, mask: Tensor, features: FeatureNet | None, stage: str = "train"
) -> dict[str, Tensor]:
    r"""The parts of the loss, each a mean over all its values (the authors' "size averaged"), unweighted.

    With the uncut output :math:`\hat x`, the composite :math:`z` and the pooled activations :math:`\psi_p`:

    .. math:: L_{valid} = \overline{|(1 - m)(\hat x - x)|} \qquad L_{hole} = \overline{|m(\hat x - x)|} \qquad
              L_{per} = \sum_p \overline{|\psi_p(\hat x) - \psi_p(x)|} + \overline{|\psi_p(z) - \psi_p(x)|}

    The two style parts are :math:`\sum_p \overline{|G_p(\cdot) - G_p(x)|}` with Gram matrices of :math:`\hat x` and of
    :math:`z`; `tv` is `total_variation`. Values are those of [-1, 1]. Without `features` the parts that need them are
    absent; `stage` changes nothing here. `critic` is not used.

    Taught in notebook 07.
    """
    raw, comp = outputs.raw, composite(outputs.raw, image, mask)
    parts = {
        "valid": losses.l1(raw * (1 - mask), image * (1 - mask)),
        "hole": losses.l1(raw * mask, image * mask),
        "tv": total_variation(comp, mask),
    }
    if features is None:
        return parts
    with torch.no_grad():
        real = pools(features, image)
    out, filled = pools(features, raw), pools(features, comp)
    parts["perceptual"] = losses.perceptual(out, real, POOLS) + losses.perceptual(filled, real, POOLS)
    parts["style_out"] = losses.style(out, real, POOLS, "released")  # a sum over the layers
    parts["style_comp"] = losses.style(filled, real, POOLS, "released")
    return parts


def pools(features: FeatureNet, image: Tensor) -> dict[str, Tensor]:
    r"""Activations of `image` (B, 3, H, W) in [-1, 1] after the first three poolings.

    The paper's network is VGG16, where pooling follows relu1_2, relu2_2 and relu3_3; the nearest taps of VGG19 are
    relu1_1, relu2_2 and relu3_4 (the last two stand right before a pooling there, too), halved by taking maxima.
    """
    return {tap: F.max_pool2d(value, 2) for tap, value in features(image, POOLS).items()}


def total_variation(image: Tensor, mask: Tensor) -> Tensor:
    r"""Mean difference between neighbours that both lie in the hole grown by one pixel (3 x 3), along each axis.

    .. math:: L_{tv} = \sum_{(i,j),\,(i,j+1) \in R} \frac{|z_{i,j+1} - z_{i,j}|}{N}
                     + \sum_{(i,j),\,(i+1,j) \in R} \frac{|z_{i+1,j} - z_{i,j}|}{N}

    with :math:`N` the number of all pairs of neighbours in the frame along that axis, times 3 colours.

    Args:
        image: :math:`z`, (B, 3, H, W).
        mask: (B, 1, H, W), 1 = hole; :math:`R` is it and the 8 neighbours of each of its pixels.

    >>> z = torch.tensor([[[[0.0, 1.0, 3.0, 9.0, 9.0]] * 2]]).expand(1, 3, 2, 5)
    >>> m = torch.tensor([[[[0.0, 1.0, 0.0, 0.0, 0.0]] * 2]])
    >>> total_variation(z, m).item()  # (1 + 2) of 4 pairs in a row
    0.75

    Taught in notebook 07.
    """
    grown = F.max_pool2d(mask, 3, 1, 1)
    across = (image[..., 1:] - image[..., :-1]).abs() * (grown[..., 1:] * grown[..., :-1])
    down = (image[..., 1:, :] - image[..., :-1, :]).abs() * (grown[..., 1:, :] * grown[..., :-1, :])
    return across.mean() + down.mean()
