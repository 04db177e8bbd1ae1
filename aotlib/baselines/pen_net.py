r"""PEN-Net: a U-Net whose skip connections are filled by attention, from its deepest feature map to the shallowest.

Source: Zeng et al., "Learning Pyramid-Context Encoder Network for High-Quality Image Inpainting" (CVPR 2019). The hole
is painted white (+1); layers, losses and initial weights are those of the authors' PyTorch code, which they call
slightly different from the paper's.
Taught in notebook 07.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from aotlib import losses
from aotlib.baselines.attention import attention, paste, similarity, valid_keys
from aotlib.baselines.deepfill_layers import check_size
from aotlib.choices import check_choice
from aotlib.features import FeatureNet
from aotlib.hardware import full_precision
from aotlib.masks import composite
from aotlib.model import initialise

FULL_WIDTH = 32  # channels of the generator's first layer in the paper
CRITIC_WIDTH = 64
RATES = (1, 2, 4, 8)  # dilations of the four convolutions after each attention but the deepest
VALIDITIES = ("bilinear", "max")
STAGES = ("",)
WEIGHTS = {"hole": 6.0, "valid": 1.0, "pyramid": 0.5, "adversarial": 0.1}  # the released configurations'
CRITIC_WEIGHTS = {"real": 0.5, "fake": 0.5}  # the released code takes the mean of the two
SETTINGS = {"lr": 1e-4, "beta1": 0.5, "beta2": 0.999, "batch": 16, "size": 256, "critic_steps": 1, "lr_critic": 1.0}
ABOUT = {
    "label": "PEN-Net",
    "title": "Learning Pyramid-Context Encoder Network for High-Quality Image Inpainting",
    "authors": "Zeng, Fu, Chao, Guo",
    "venue": "CVPR",
    "year": 2019,
    "paper": "https://arxiv.org/abs/1904.07475",
    "code": "https://github.com/researchmm/PEN-Net-for-Inpainting",
    "licence": "MIT",
    "weights": "The authors link weights for four data sets, trained with square holes only; the tensors of our layers "
    "have the same shapes and could be renamed one to one, which is not done because no such file was at hand to try.",
}


class Outputs(NamedTuple):
    r"""What `PENNet` gives. All tuples run from the finest level, half the picture's side, to the deepest.

    ``pyramid``: a picture (B, 3, h, w) in [-1, 1] of each level; ``attention``: the weights (B, L, h / 2, w / 2) that
    filled the level, for the L positions of the next deeper map; ``valid``: (B, L), which of these had a whole key.
    """

    prediction: Tensor
    pyramid: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]
    valid: tuple[Tensor, ...]


class AttentionTransfer(nn.Module):
    r"""Fill a feature map from itself: what resembles what is read off the next deeper map, which is filled already.

    .. math:: a_{ij} = \mathrm{softmax}_j(10\,s_{ij} v_j)\,v_j, \qquad
              s_{ij} = \left\langle P_i, \frac{P_j}{\max(\|P_j\|, 10^{-4})} \right\rangle, \qquad
              y_i = \tfrac{1}{4} \sum_j a_{ij} X_j

    with patches :math:`P` of the deep map, :math:`X` (4 x 4, every second position) of the map to be filled, and
    :math:`v_j` = 1 where `hole` is 0 everywhere under patch :math:`P_j`. Where no key is valid, :math:`y = 0`. Four
    dilated convolutions side by side then smooth the result.

    Args:
        width: channels of the map to be filled, a multiple of 4.
        deepest: at the deepest level keys are single positions, and no convolutions follow.

    Taught in notebook 07.
    """

    def __init__(self, width: int, deepest: bool = False) -> None:
        super().__init__()
        self.kernel = 1 if deepest else 3
        branches = [nn.Conv2d(width, width // len(RATES), 3, padding=rate, dilation=rate) for rate in RATES]
        self.branches = nn.ModuleList([] if deepest else branches)

    def forward(self, x: Tensor, deep: Tensor, hole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""The filled map, the weights (B, L, h, w), and which keys were valid (B, L).

        Args:
            x: (B, C, 2 h, 2 w), to be filled; its known positions are replaced, too.
            deep: (B, D, h, w), where keys and queries are read; L = h w.
            hole: (B, 1, h, w), the mask at the deep map's size.
        """
        valid = valid_keys(hole, self.kernel)
        weights = attention(similarity(deep, deep, self.kernel), valid)
        filled = paste(weights, x, 2)
        if self.branches:
            filled = torch.cat([F.relu(conv(filled)) for conv in self.branches], 1)
        return filled, weights, valid


class PENNet(nn.Module):
    r"""Strided encoder, attention transfer at every level but the last, decoder with a picture at every level.

    A key is valid when the mask, brought to its level's size, is 0 at all its 3 x 3 positions (1 x 1 at the deepest
    level). Where no key is valid the filled map is 0 (after the convolutions: what their biases make of it), and only
    the deepest features, which are not filled at all, go on; `Outputs.valid` shows where. The released code raises all
    shares to 1e-8 at least; without that, what may not be copied has exactly none.

    Args:
        width: channels of the first layer, a multiple of 4; the widest have ``2 ** (levels - 2)`` times as many.
        levels: strided layers, one more than levels of attention; the six of the paper leave 4 x 4 positions of 256 px.
        validity: how the mask reaches a level. ``"bilinear"``, as released: four pixels speak for a cell, so that thin
            strokes are overlooked at deep levels, and features computed in them are copied. ``"max"``: a cell with any
            hole pixel is hole, and nothing computed in one is copied (save at the deepest level, where values, 4 x 4,
            are wider than keys); but strokes all over a picture leave its deep levels without any valid key.
        seed: of the initial weights.

    Attributes:
        multiple: ``2 ** levels``, so that every layer halves exactly.
        smallest: twice that: from a single deepest position there is nothing to choose from.

    >>> sum(p.numel() for p in PENNet().parameters()), sum(p.numel() for p in PENNet(8, levels=5).parameters())
    (10231538, 161159)

    Taught in notebook 07.
    """

    def __init__(self, width: int = FULL_WIDTH, levels: int = 6, validity: str = "bilinear", seed: int = 0) -> None:
        super().__init__()
        if width < 4 or width % 4 or levels < 4:
            raise ValueError(f"width must be a multiple of 4 and levels at least 4, got width={width}, levels={levels}")
        self.validity = check_choice("validity", validity, VALIDITIES)
        self.options = {"width": width, "levels": levels, "validity": validity}
        self.multiple, self.smallest = 2**levels, 2 ** (levels + 1)
        channels = [width * 2 ** min(level, levels - 2) for level in range(levels)]
        filled = channels[:-1]  # the maps that attention fills
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise([4, *channels]))
        self.transfers = nn.ModuleList(AttentionTransfer(c, deepest=c == max(filled)) for c in filled)
        inputs = [2 * c for c in filled[1:]] + channels[-1:]
        self.decoder = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(inputs, filled, strict=True))
        self.heads = nn.ModuleList(nn.Conv2d(2 * c, 3, 1) for c in filled)
        self.last = nn.ModuleList([nn.Conv2d(2 * width, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)])
        initialise(self, 2 * width, seed)  # twice: standard deviation 0.02 at this paper's width of 32

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1] for every pixel; the caller composites.

        Args:
            image: (B, 3, H, W) in [-1, 1]; what lies under the hole is never read.
            mask: (B, 1, H, W), 1 = hole.
        """
        return self.outputs(image, mask).prediction

    def outputs(self, image: Tensor, mask: Tensor) -> Outputs:
        r"""`forward`'s prediction with the pictures, attention weights and valid keys of all levels."""
        check_size(image, mask, self.multiple, self.smallest)
        features = self.encode(image, mask)
        filled, weights, valid = self.fill(features, mask)
        prediction, pyramid = self.decode(features[-1], filled)
        return Outputs(prediction, pyramid, weights, valid)

    def encode(self, image: Tensor, mask: Tensor) -> list[Tensor]:
        r"""Features of the picture with its hole painted white, from half its side to ``1 / multiple``."""
        x, features = torch.cat([image * (1 - mask) + mask, mask], 1), []
        for conv in self.encoder:
            x = F.leaky_relu(conv(x), 0.2 if conv is not self.encoder[-1] else 0.0)
            features.append(x)
        return features

    def fill(self, features: list[Tensor], mask: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        r"""Filled maps, weights and valid keys of all levels: each is filled from the *filled* map below it."""
        deep, found = features[-1], []
        for level in reversed(range(len(self.transfers))):
            if self.validity == "max":
                hole = F.max_pool2d(mask, 2 ** (level + 2))
            else:
                hole = F.interpolate(mask, deep.shape[-2:], mode="bilinear", align_corners=True)
            found.insert(0, self.transfers[level](features[level], deep, hole))
            deep = found[0][0]
        return tuple(zip(*found, strict=True))

    def decode(self, deepest: Tensor, filled: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        r"""The prediction, and the picture of every level from half the side on."""
        x, pyramid = deepest, []
        for level in reversed(range(len(filled))):
            x = torch.cat([F.relu(self.decoder[level](double(x))), filled[level]], 1)
            pyramid.insert(0, picture(self.heads[level](x)))
        x = F.relu(self.last[0](double(x)))
        return picture(self.last[1](x)), tuple(pyramid)


def double(x: Tensor) -> Tensor:
    r"""`x` at twice its size, bilinear, corner on corner."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def picture(x: Tensor) -> Tensor:
    return torch.tanh(x.to(torch.promote_types(x.dtype, torch.float32)))  # bfloat16's steps near 1: half a level


class Critic(nn.Module):
    r"""A map of patch scores; each judges 93 x 93 px. Spectral norm on all convolutions but the last.

    Args:
        width: channels of the first layer; sides of pictures are at least 47 px.
        seed: of the initial weights.

    >>> Critic(width=4)(torch.zeros(1, 3, 256, 256)).shape, sum(p.numel() for p in Critic().parameters())
    (torch.Size([1, 1, 27, 27]), 4318401)

    Taught in notebook 07.
    """

    def __init__(self, width: int = CRITIC_WIDTH, seed: int = 0) -> None:
        super().__init__()
        self.options = {"width": width}
        channels, strides = [3, width, 2 * width, 4 * width, 8 * width], [2, 2, 2, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 5, stride, 1, bias=False)
            for (a, b), stride in zip(pairwise(channels), strides, strict=True)
        )
        self.score = nn.Conv2d(channels[-1], 1, 5, padding=1)
        initialise(self, width, seed)
        with torch.random.fork_rng(devices=[]):  # its first singular vectors come from torch's global generator
            torch.manual_seed(seed)
            for conv in self.convs:
                spectral_norm(conv)

    def forward(self, image: Tensor) -> Tensor:
        r"""Scores (B, 1, h, w), unbounded, for an image (B, 3, H, W) in [-1, 1]."""
        if min(image.shape[-2:]) < 47:
            raise ValueError(f"the critic needs sides of at least 47 px, got {tuple(image.shape[-2:])}")
        x = image
        for conv in self.convs:
            with full_precision(x):
                weight = conv.weight  # asking for it divides by its norm, after a power iteration where it trains
            x = F.leaky_relu(F.conv2d(x, weight, stride=conv.stride, padding=conv.padding), 0.2)
        return self.score(x)


def generator_loss(
    outputs: Outputs, critic: nn.Module, image: Tensor, mask: Tensor, features: FeatureNet | None, stage: str = ""
) -> dict[str, Tensor]:
    r"""The parts of the generator's loss, unweighted, with prediction :math:`\hat x` and composite :math:`z`.

    .. math:: L_{hole} = \frac{\overline{|(\hat x - x) m|}}{\overline m} \qquad
              L_{valid} = \frac{\overline{|(\hat x - x)(1 - m)|}}{\overline{1 - m}} \qquad
              L_{pyr} = \sum_l \overline{|\hat x_l - x_l|} \qquad L_{adv} = -\overline{D(z)}

    Means are over the batch; a part without any pixel is 0. :math:`\hat x_l` is a level's picture, :math:`x_l` the
    image at its size (bilinear, corner on corner). `features` and `stage` change nothing here.

    Taught in notebook 07.
    """
    prediction = outputs.prediction
    return {
        "hole": masked_l1(prediction, image, mask),
        "valid": masked_l1(prediction, image, 1 - mask),
        "pyramid": pyramid_l1(outputs.pyramid, image),
        "adversarial": -critic(composite(prediction, image, mask)).float().mean(),
    }


def masked_l1(prediction: Tensor, image: Tensor, where: Tensor) -> Tensor:
    r"""Mean :math:`|x - \hat x|` over the pixels with `where` = 1, 0 when there is none.

    >>> masked_l1(torch.tensor([[[[1.0, 3.0]]]]), torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, 1.0]]]])).item()
    3.0
    """
    return losses.l1(prediction * where, image * where) / where.mean().clamp(min=0.5 / where.numel())


def pyramid_l1(pyramid: tuple[Tensor, ...], image: Tensor) -> Tensor:
    r"""Sum over levels of the mean distance to the image at that level's size; known pixels are included."""
    sizes = [level.shape[-2:] for level in pyramid]
    real = [F.interpolate(image, size=size, mode="bilinear", align_corners=True) for size in sizes]
    return torch.stack([losses.l1(level, x) for level, x in zip(pyramid, real, strict=True)]).sum()


def options_at(size: int) -> dict[str, int]:
    r"""The paper's 6 levels, or as many, 4 at least, as halve `size` px evenly and leave 2 x 2 positions.

    >>> [options_at(size)["levels"] for size in (512, 256, 64, 96)]
    [6, 6, 5, 5]
    """
    return {"levels": max([n for n in (5, 6) if size % 2**n == 0 and size >= 2 ** (n + 1)], default=4)}


def critic_loss(
    critic: nn.Module, outputs: Outputs, image: Tensor, mask: Tensor, stage: str = "", *, rng=None
) -> dict[str, Tensor]:
    r"""The hinge loss in two parts: :math:`\overline{\max(0, 1 - D(x))}` and :math:`\overline{\max(0, 1 + D(z))}`.

    `rng` is not used.

    Taught in notebook 07.
    """
    fake = composite(outputs.prediction.detach(), image, mask)
    return {"real": F.relu(1 - critic(image).float()).mean(), "fake": F.relu(1 + critic(fake).float()).mean()}
