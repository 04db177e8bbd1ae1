r"""GatedConv, or DeepFill v2: every layer learns where its own features are to be believed.

Source: Yu et al., "Free-Form Image Inpainting with Gated Convolution" (ICCV 2019). The plan of the first version
(`aotlib.baselines.ca`) with gated layers, one critic of patches instead of two of pictures, and plain L1 over the whole
picture. The hole is painted grey (0). The released code has one mask a batch, here each sample has its own; the sketch
that a user may add as a further channel is left out.
Taught in notebook 07.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from aotlib.baselines import deepfill_layers as deepfill
from aotlib.baselines.deepfill_layers import same
from aotlib.choices import check_choice
from aotlib.features import FeatureNet
from aotlib.hardware import full_precision
from aotlib.losses import l1
from aotlib.masks import composite

FULL_WIDTH = 48  # of the first convolution in the paper; half of its channels are features, half gates
CRITIC_WIDTH = 64
INITS = ("glorot", "he")
STAGES = ("",)
WEIGHTS = {"coarse": 1.0, "fine": 1.0, "adversarial": 1.0}  # the paper's and the released code's
CRITIC_WEIGHTS = {"real": 0.5, "fake": 0.5}  # the authors' library takes the mean of the two
SETTINGS = {"lr": 1e-4, "beta1": 0.5, "beta2": 0.999, "batch": 16, "size": 256, "critic_steps": 1, "lr_critic": 1.0}
ABOUT = {
    "label": "GatedConv",
    "title": "Free-Form Image Inpainting with Gated Convolution",
    "authors": "Yu, Lin, Yang, Shen, Lu, Huang",
    "venue": "ICCV",
    "year": 2019,
    "paper": "https://arxiv.org/abs/1806.03589",
    "code": "https://github.com/JiahuiYu/generative_inpainting",
    "licence": "CC-BY-NC-4.0",
    "weights": "The authors link TensorFlow checkpoints; our convolutions have their shapes with axes in another order "
    "(ours.permute(2, 3, 1, 0)) and pad as theirs do, but no such file was at hand to try, so none is read.",
}


class Outputs(NamedTuple):
    r"""What `GatedConv` gives.

    ``prediction`` and ``coarse``: (B, 3, H, W) in [-1, 1], of the second and the first network; ``attention``: shares
    (B, L, H / 8, W / 8) of the L = H W / 64 keys, see `aotlib.baselines.attention`; ``valid``: (B, L), which of them
    might be copied; ``gates``: of each gated layer of the first network, in order, the mean over channels,
    (B, 1, h, w) in [0, 1], without gradient.
    """

    prediction: Tensor
    coarse: Tensor
    attention: Tensor
    valid: Tensor
    gates: tuple[Tensor, ...]


class GatedConv2d(nn.Module):
    r"""A convolution half of whose channels say how much of the other half passes.

    .. math:: y = \phi(W_f * x) \odot \sigma(W_g * x)

    Zeros around the picture as in `aotlib.baselines.deepfill_layers.same`.

    Args:
        n_in: channels in.
        width: channels of the convolution, even; ``width // 2`` come out.
        kernel, stride, dilation: of the convolution.
        act: :math:`\phi`, of the features only.

    >>> GatedConv2d(4, 6)(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 3, 8, 8])

    Taught in notebook 07.
    """

    def __init__(
        self, n_in: int, width: int, kernel: int = 3, stride: int = 1, dilation: int = 1, act: Callable = F.elu
    ) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"a gated convolution halves its channels: their number must be even, got {width}")
        self.conv, self.act = nn.Conv2d(n_in, width, kernel, stride, dilation=dilation), act

    def forward(self, x: Tensor) -> Tensor:
        feature, gate = self.halves(x)
        return feature * gate

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""The feature :math:`\phi(W_f * x)` and its gate in [0, 1], both (B, width / 2, h, w)."""
        feature, gate = deepfill.convolved(x, self.conv).chunk(2, 1)
        return self.act(feature), torch.sigmoid(gate)


def gated(
    n_in: int, n_out: int, kernel: int = 3, stride: int = 1, dilation: int = 1, act: Callable = F.elu
) -> GatedConv2d:
    r"""A gated convolution by the channels that come out of it."""
    return GatedConv2d(n_in, 2 * n_out, kernel, stride, dilation, act)


class GatedConv(nn.Module):
    r"""Two networks of gated layers in a row; the second sees the picture with the first one's guess, and no mask.

    Args:
        width: channels of the first convolution, a multiple of 4; half of them are features (24 in the paper), the
            widest layers have four times as many.
        dilations, fuse, validity: as in `aotlib.baselines.ca.ContextualAttention`.
        init: of the weights, ``"glorot"``, as released, or ``"he"``; see `draw`.
        seed: of the initial weights.

    >>> network = GatedConv()
    >>> sum(p.numel() for p in network.parameters()), sum(p.numel() for p in network.coarse.parameters())
    (4052478, 1631151)

    Taught in notebook 07.
    """

    def __init__(
        self,
        width: int = FULL_WIDTH,
        dilations: Sequence[int] = deepfill.DILATIONS,
        fuse: bool = True,
        validity: str = "max",
        init: str = "glorot",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise ValueError(f"width must be a multiple of 4 (it is halved by the gates, then once more), got {width}")
        self.validity = check_choice("validity", validity, deepfill.VALIDITIES)
        self.options = {"width": width, "dilations": list(dilations), "fuse": fuse, "validity": validity, "init": init}
        self.multiple, self.smallest = deepfill.MULTIPLE, deepfill.SMALLEST
        self.coarse = deepfill.coarse_network(gated, width // 2, dilations)
        self.refine = deepfill.Refiner(gated, 3, width // 2, dilations, fuse)
        draw(self, init, seed)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1] for every pixel; the caller composites.

        Args:
            image: (B, 3, H, W) in [-1, 1]; what lies under the hole is never read.
            mask: (B, 1, H, W), 1 = hole. An empty or a full one is fine; a full one leaves nothing to copy.
        """
        return self.outputs(image, mask).prediction

    def outputs(self, image: Tensor, mask: Tensor) -> Outputs:
        r"""`forward`'s prediction with the coarse one, the attention, the valid keys and the gates."""
        deepfill.check_size(image, mask)
        known = image * (1 - mask)
        coarse, gates = self.first(torch.cat([known, torch.ones_like(mask), mask], 1))
        coarse = torch.tanh(deepfill.as_image(coarse, image))
        fine, weights, valid = self.refine(known + coarse * mask, deepfill.shrink(mask, self.validity))
        return Outputs(torch.tanh(deepfill.as_image(fine, image)), coarse, weights, valid, gates)

    def first(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        r"""What the first network makes of `x`, before tanh, and the mean gates on the way."""
        gates = []
        for layer in self.coarse:
            if isinstance(layer, GatedConv2d):
                feature, gate = layer.halves(x)
                x = feature * gate
                gates.append(gate.detach().float().mean(1, keepdim=True))
            else:
                x = layer(x)
        return x, tuple(gates)


def draw(network: nn.Module, init: str, seed: int) -> None:
    r"""Draw weights; biases are 0.

    ``"glorot"``: as released. Every gate begins at 1/2 and halves what passes: the first network's output is 1e-8 at
    first, at the paper's width, too, and long trainings get over it. ``"he"``: from a normal distribution with standard
    deviation :math:`2 / \sqrt n` for n inputs, by which features keep their size through such gates.
    """
    if check_choice("init", init, INITS) == "glorot":
        return deepfill.glorot(network, seed)
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, 2 / math.sqrt(module.weight[0].numel()), generator=rng)
            nn.init.zeros_(module.bias)


def options_at(size: int) -> dict[str, list[int] | str]:
    r"""For pictures of `size` px: dilations (`aotlib.baselines.deepfill_layers.options_at`) and initial weights.

    Below 256 px those that pass features on: short trainings are over before the released ones begin to.
    """
    return deepfill.options_at(size) | {"init": "he" if size < 256 else "glorot"}


class Critic(nn.Module):
    r"""SN-PatchGAN: a map of feature vectors, every number of which is a score.

    Strided convolutions with spectral norm and leaky ReLU, after the last one, too, so that scores below 0 are
    dampened. There is no layer that would sum them up.

    Args:
        width: channels of the first layer; the deepest have ``4 * width``.
        seed: of the initial weights.
        size: side of the pictures in training. There are six layers for 256 px and above, fewer below, so that the map
            has 4 x 4 positions.

    >>> Critic(width=2, size=64)(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)).shape
    torch.Size([1, 8, 4, 4])
    >>> sum(p.numel() for p in Critic().parameters())
    5946816

    Taught in notebook 07.
    """

    def __init__(self, width: int = CRITIC_WIDTH, seed: int = 0, size: int = 256) -> None:
        super().__init__()
        if size < 16:
            raise ValueError(f"the critic needs a size of at least 16 px, got {size}")
        self.options = {"width": width, "size": size}
        depth = min(6, size.bit_length() - 3)  # 4 x 4 positions at 64, 128, 256 px
        channels = [4, *(min(2**i, 4) * width for i in range(depth))]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 5, 2) for a, b in zip(channels[:-1], channels[1:], strict=True))
        deepfill.glorot(self, seed)
        with torch.random.fork_rng(devices=[]):  # its first singular vectors come from torch's global generator
            torch.manual_seed(seed)
            for conv in self.convs:
                spectral_norm(conv)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Scores (B, 4 * width, h, w), unbounded, for an image (B, 3, H, W) in [-1, 1] and its mask (B, 1, H, W)."""
        x = torch.cat([image, mask], 1)
        for conv in self.convs:
            with full_precision(x):
                weight = conv.weight  # asking for it divides by its norm, after a power iteration where it trains
            x = F.leaky_relu(F.conv2d(same(x, 5, 2), weight, conv.bias, conv.stride), 0.2)
        return x


def generator_loss(
    outputs: Outputs, critic: Critic, image: Tensor, mask: Tensor, features: FeatureNet | None, stage: str = ""
) -> dict[str, Tensor]:
    r"""Unweighted parts: L1 of both predictions over the whole picture, and what the critic objects.

    .. math:: L_{coarse} = \mathrm{mean}\,|x - \hat x_1|, \quad L_{fine} = \mathrm{mean}\,|x - \hat x_2|, \quad
              L_{adv} = -\mathrm{mean}\,D(z, m)

    `features` is not used.

    Taught in notebook 07.
    """
    scores = critic(composite(outputs.prediction, image, mask), mask)
    return {
        "coarse": l1(outputs.coarse, image),
        "fine": l1(outputs.prediction, image),
        "adversarial": -scores.float().mean(),
    }


def critic_loss(
    critic: Critic,
    outputs: Outputs,
    image: Tensor,
    mask: Tensor,
    stage: str = "",
    *,
    rng: torch.Generator | None = None,
) -> dict[str, Tensor]:
    r"""Unweighted parts of the hinge loss, :math:`E[\max(0, 1 - D(x, m))]` and :math:`E[\max(0, 1 + D(z, m))]`.

    Nothing is drawn: `rng` is not used.

    Taught in notebook 07.
    """
    fake = composite(outputs.prediction.detach(), image, mask)
    real, fake = critic(torch.cat([image, fake]), mask.repeat(2, 1, 1, 1)).float().chunk(2)
    return {"real": F.relu(1 - real).mean(), "fake": F.relu(1 + fake).mean()}
