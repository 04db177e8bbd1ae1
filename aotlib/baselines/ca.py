r"""CA, or DeepFill v1: a coarse guess, then a second network that copies known patches into the hole.

Source: Yu et al., "Generative Image Inpainting with Contextual Attention" (CVPR 2018). Layers, padding and losses are
those of the authors' released code; the hole is painted grey (0). Two things are generalised, because that code has one
rectangle a batch: every sample has a mask of its own, of any shape, and `window` and `discount` say what the rectangle
becomes. The code's option to train the coarse network alone first is left out. The networks are put together in
`aotlib.baselines.deepfill_layers`. Taught in notebook 07.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from aotlib.baselines import deepfill_layers as deepfill
from aotlib.baselines.deepfill_layers import same
from aotlib.choices import check_choice
from aotlib.features import FeatureNet
from aotlib.hardware import full_precision
from aotlib.masks import composite

FULL_WIDTH = 32  # channels of the first layer in the paper
CRITIC_WIDTH = 64
GAMMA = 0.99  # the paper's; the released configuration has 0.9
STAGES = ("",)
options_at = deepfill.options_at
# The released code's. It weights L1 by 1.2, and of that the coarse prediction's by 1.2 again.
WEIGHTS = {
    "hole_coarse": 1.44,
    "hole_fine": 1.2,
    "known_coarse": 1.44,
    "known_fine": 1.2,
    "adversarial_whole": 0.001,
    "adversarial_window": 0.001,
}
CRITIC_WEIGHTS = {"score_whole": 1.0, "score_window": 1.0, "penalty_whole": 10.0, "penalty_window": 10.0}
SETTINGS = {"lr": 1e-4, "beta1": 0.5, "beta2": 0.9, "batch": 16, "size": 256, "critic_steps": 5, "lr_critic": 1.0}
ABOUT = {
    "label": "CA",
    "title": "Generative Image Inpainting with Contextual Attention",
    "authors": "Yu, Lin, Yang, Shen, Lu, Huang",
    "venue": "CVPR",
    "year": 2018,
    "paper": "https://arxiv.org/abs/1801.07892",
    "code": "https://github.com/JiahuiYu/generative_inpainting/tree/v1.0.0",
    "licence": "CC-BY-NC-4.0",
    "weights": "The authors link TensorFlow checkpoints; our convolutions have their shapes with axes in another order "
    "(ours.permute(2, 3, 1, 0)) and pad as theirs do, but no such file was at hand to try, so none is read.",
}


class Outputs(NamedTuple):
    r"""What `ContextualAttention` gives.

    ``prediction`` and ``coarse``: (B, 3, H, W) in [-1, 1], of the second and the first network; ``attention``: shares
    (B, L, H / 8, W / 8) of the L = H W / 64 keys, see `aotlib.baselines.attention`; ``valid``: (B, L), which of them
    might be copied.
    """

    prediction: Tensor
    coarse: Tensor
    attention: Tensor
    valid: Tensor


class ContextualAttention(nn.Module):
    r"""Two networks in a row; the second sees the picture with the first one's guess in the hole.

    Both get a channel of ones, by which a layer can tell the frame's zeros from dark pixels, and the mask.

    Args:
        width: channels of the first layer, even; the widest layers have ``4 * width``.
        dilations: rates of the dilated layers of both networks.
        fuse: whether the attention lets neighbours agree; results suffer without.
        validity: how the mask reaches the attention. ``"max"``: a cell of 8 x 8 px with any hole pixel is hole.
            ``"nearest"``, as in the paper: its first pixel decides, so that thin strokes are overlooked.
        seed: of the initial weights.

    >>> network = ContextualAttention()
    >>> sum(p.numel() for p in network.parameters()), sum(p.numel() for p in network.coarse.parameters())
    (3601542, 1448227)

    Taught in notebook 07.
    """

    def __init__(
        self,
        width: int = FULL_WIDTH,
        dilations: Sequence[int] = deepfill.DILATIONS,
        fuse: bool = True,
        validity: str = "max",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"width must be even (the last layers have half of it), got {width}")
        self.validity = check_choice("validity", validity, deepfill.VALIDITIES)
        self.options = {"width": width, "dilations": list(dilations), "fuse": fuse, "validity": validity}
        self.multiple, self.smallest = deepfill.MULTIPLE, deepfill.SMALLEST
        self.coarse = deepfill.coarse_network(deepfill.Conv, width, dilations)
        self.refine = deepfill.Refiner(deepfill.Conv, 5, width, dilations, fuse)
        deepfill.glorot(self, seed)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1] for every pixel; the caller composites.

        Args:
            image: (B, 3, H, W) in [-1, 1]; what lies under the hole is never read.
            mask: (B, 1, H, W), 1 = hole. An empty or a full one is fine; a full one leaves nothing to copy.
        """
        return self.outputs(image, mask).prediction

    def outputs(self, image: Tensor, mask: Tensor) -> Outputs:
        r"""`forward`'s prediction with the coarse one, the attention and the valid keys."""
        deepfill.check_size(image, mask)
        known, extra = image * (1 - mask), torch.cat([torch.ones_like(mask), mask], 1)
        coarse = deepfill.as_image(self.coarse(torch.cat([known, extra], 1)), image).clamp(-1, 1)
        guess = known + coarse * mask
        fine, weights, valid = self.refine(torch.cat([guess, extra], 1), deepfill.shrink(mask, self.validity))
        return Outputs(deepfill.as_image(fine, image).clamp(-1, 1), coarse, weights, valid)


class Scores(NamedTuple):
    r"""What `Critic` says, each (B,) and unbounded: of the whole picture and of the `window` around its hole."""

    whole: Tensor
    window: Tensor


class Judge(nn.Module):
    r"""Four strided convolutions and one linear layer over all that they give: a score a picture, (B,).

    The linear layer is made for one size of picture; at another, features are averaged or repeated to its grid.
    """

    def __init__(self, channels: Sequence[int], grid: int) -> None:
        super().__init__()
        inputs = [3, *channels[:-1]]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 5, 2) for a, b in zip(inputs, channels, strict=True))
        self.grid, self.score = grid, nn.Linear(channels[-1] * grid**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.leaky_relu(conv(same(x, 5, 2)), 0.2)
        if x.shape[-2:] != (self.grid, self.grid):
            x = F.adaptive_avg_pool2d(x, self.grid)
        return self.score(x.flatten(1))[:, 0]


class Critic(nn.Module):
    r"""Two Wasserstein critics: one sees the whole picture, one a `window` of half its side around the hole.

    Args:
        width: channels of the first layers.
        seed: of the initial weights.
        size: side of the pictures in training; the linear layers are made for it.

    >>> sum(p.numel() for p in Critic().whole.parameters()), sum(p.numel() for p in Critic().window.parameters())
    (2733441, 4339329)

    Taught in notebook 07.
    """

    def __init__(self, width: int = CRITIC_WIDTH, seed: int = 0, size: int = 256) -> None:
        super().__init__()
        if size < 16:
            raise ValueError(f"the critic needs a size of at least 16 px, got {size}")
        self.options = {"width": width, "size": size}
        self.whole = Judge([width, 2 * width, 4 * width, 4 * width], -(-size // 16))
        self.window = Judge([width, 2 * width, 4 * width, 8 * width], -(-(size // 2) // 16))
        deepfill.glorot(self, seed)

    def forward(self, image: Tensor, mask: Tensor) -> Scores:
        r"""Scores of an image (B, 3, H, W), whose mask (B, 1, H, W) only says where to look closer."""
        return Scores(self.whole(image), self.window(window(image, mask)))


def window(x: Tensor, mask: Tensor) -> Tensor:
    r"""Of each sample of `x` (B, C, H, W) the H / 2 x W / 2 px around the hole's centre of mass, inside the frame.

    The released code cuts out 128 of 256 px around its rectangle. Free-form holes have no rectangle, and may reach
    beyond the window; the size is kept, so that the critic always sees as much. Without a hole: the middle.

    >>> window(torch.arange(4.0).view(1, 1, 1, 4).repeat(1, 1, 2, 1), torch.tensor([[[[0.0, 0, 0, 1], [0, 0, 0, 0]]]]))
    tensor([[[[2., 3.]]]])

    Taught in notebook 07.
    """
    hole = mask[:, 0].float()
    total = hole.sum((1, 2))
    index = [torch.arange(len(x), device=x.device)[:, None, None]]
    for axis in (1, 2):
        side = hole.shape[axis]
        at = torch.arange(side, device=x.device, dtype=hole.dtype)
        centre = (hole.sum(3 - axis) * at).sum(1) / total.clamp_min(1)
        centre = torch.where(total > 0, centre, (side - 1) / 2)
        start = (centre - (side // 2 - 1) / 2).round().clamp(0, side - side // 2).long()
        index.append((start[:, None] + torch.arange(side // 2, device=x.device)).unsqueeze(3 - axis))
    return x[index[0], :, index[1], index[2]].permute(0, 3, 1, 2)


def discount(mask: Tensor, gamma: float = GAMMA) -> Tensor:
    r"""Weights of the hole's pixels, (B, 1, H, W): 1 along its border, less inside, 0 outside.

    .. math:: w_p = \gamma^{d_p - 1}

    with :math:`d_p` the distance in pixels to the nearest known one; the frame ends the hole, too. In a rectangle these
    are the paper's weights: what lies deep inside has many right answers, the border has one.

    >>> discount(torch.tensor([[[[1.0] * 3, [1.0] * 3, [1.0] * 3, [0.0] * 3]]]), gamma=0.5)[0, 0, 1]
    tensor([1.0000, 0.5000, 1.0000])

    Taught in notebook 07.
    """
    holes = F.pad(mask[:, 0], (1, 1, 1, 1)).cpu().numpy() > 0
    distance = np.stack([distance_transform_edt(hole)[1:-1, 1:-1] for hole in holes])
    return mask * torch.from_numpy(gamma ** (distance - 1)).to(mask)[:, None]


def mean_l1(prediction: Tensor, image: Tensor, weight: Tensor, region: Tensor) -> Tensor:
    r""":math:`\sum w |x - \hat x| / (3 \sum r)` of each sample, averaged; 0 for a sample whose `region` is empty."""
    difference = ((prediction - image).abs() * weight).sum((1, 2, 3))
    return (difference / (3 * region.sum((1, 2, 3))).clamp_min(1)).mean()


def generator_loss(
    outputs: Outputs, critic: Critic, image: Tensor, mask: Tensor, features: FeatureNet | None, stage: str = ""
) -> dict[str, Tensor]:
    r"""Unweighted parts: L1 in the hole (with `discount`) and outside, of both predictions; what the critics object.

    .. math:: L_{hole} = \frac{\sum w\,|x - \hat x|}{3 \sum m}, \quad
              L_{known} = \frac{\sum (1 - m)\,|x - \hat x|}{3 \sum (1 - m)}, \quad
              L_{adv} = -E[D(z)]

    The released code takes the mean over its rectangle; here it is over each sample's hole. `features` is not used.

    Taught in notebook 07.
    """
    weight, known = discount(mask), 1 - mask
    scores = critic(composite(outputs.prediction, image, mask), mask)
    return {
        "hole_coarse": mean_l1(outputs.coarse, image, weight, mask),
        "hole_fine": mean_l1(outputs.prediction, image, weight, mask),
        "known_coarse": mean_l1(outputs.coarse, image, known, known),
        "known_fine": mean_l1(outputs.prediction, image, known, known),
        "adversarial_whole": -scores.whole.float().mean(),
        "adversarial_window": -scores.window.float().mean(),
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
    r"""Unweighted parts: :math:`E[D(z)] - E[D(x)]` of both critics, and their `penalty`.

    Taught in notebook 07.
    """
    fake = composite(outputs.prediction.detach(), image, mask)
    scores = critic(torch.cat([image, fake]), mask.repeat(2, 1, 1, 1))
    real_whole, fake_whole = scores.whole.float().chunk(2)
    real_window, fake_window = scores.window.float().chunk(2)
    penalty_whole, penalty_window = penalty(critic, image, fake, mask, rng)
    return {
        "score_whole": (fake_whole - real_whole).mean(),
        "score_window": (fake_window - real_window).mean(),
        "penalty_whole": penalty_whole,
        "penalty_window": penalty_window,
    }


def penalty(
    critic: Critic, real: Tensor, fake: Tensor, mask: Tensor, rng: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    r"""How far the slope of each critic, as far as the hole is concerned, is from 1 between `real` and `fake`.

    .. math:: E\left[\left(\sqrt{\sum m\,(\partial D / \partial \tilde x)^2} - 1\right)^2\right],
              \qquad \tilde x = x + \alpha (z - x), \quad \alpha \sim U(0, 1)

    with one :math:`\alpha` a sample for both critics (released: one each), in float32. Without a hole: 1, no slope.
    """
    alpha = torch.rand(len(real), 1, 1, 1, generator=rng, device=rng.device if rng else None)
    between = (real + alpha.to(real) * (fake - real)).detach().requires_grad_()
    with full_precision(real):
        slopes = [
            torch.autograd.grad(score.sum(), between, create_graph=True)[0] * mask for score in critic(between, mask)
        ]
        # of vector_norm, unlike sqrt, the slope at 0 is 0
        whole, inside = ((torch.linalg.vector_norm(slope.flatten(1), dim=1) - 1).square().mean() for slope in slopes)
    return whole, inside
