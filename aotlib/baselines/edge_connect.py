r"""EdgeConnect: one network draws the edges that are missing, a second one colours between them.

Source: Nazeri et al., "EdgeConnect: Structure Guided Image Inpainting using Edge Prediction" (ICCV workshops 2019).
Inside, pictures are in [0, 1] and holes are painted white; edges are real numbers in [0, 1], never cut to 0 and 1.
Taught in notebook 07.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aotlib import losses
from aotlib.baselines.edge_layers import SIGMA, PatchCritic, Trunk, edges, gray, unit
from aotlib.choices import check_choice
from aotlib.features import FeatureNet
from aotlib.model import FULL_WIDTH

STAGES = ("edges", "true_edges", "predicted_edges")
WEIGHTS = {"edge_adversarial": 1.0, "feature_matching": 10.0}  # stage "edges"
WEIGHTS |= {"l1": 1.0, "style": 250.0, "perceptual": 0.1, "adversarial": 0.1}  # the paper's; the code's defaults differ
CRITIC_WEIGHTS = {"edge_critic": 1.0, "critic": 1.0}
SETTINGS = {"lr": 1e-4, "beta1": 0.0, "beta2": 0.9, "batch": 8, "size": 256, "critic_steps": 1, "lr_critic": 0.1}
# The authors lower lr by hand, to 1e-6 at the end; when, they do not say.
ABOUT = {
    "label": "EdgeConnect",
    "title": "EdgeConnect: Structure Guided Image Inpainting using Edge Prediction",
    "authors": "Nazeri, Ng, Joseph, Qureshi, Ebrahimi",
    "venue": "ICCV Workshops",
    "year": 2019,
    "paper": "https://arxiv.org/abs/1901.00212",
    "code": "https://github.com/knazeri/edge-connect",
    "licence": "CC-BY-NC-4.0",
    "weights": "The authors link generators for Places2, CelebA and Paris StreetView from their repository; its layers "
    "are ours, so that each tensor has its place once it is renamed (spectral norm's weight_orig, weight_u, weight_v "
    "are parametrizations.weight.original, .0._u, .0._v here), but no file has been tried.",
}


class EdgeGenerator(Trunk):
    r"""The first network: edges everywhere, from the known grey, the known edges and the mask.

    Taught in notebook 07.
    """

    def __init__(self, width: int = FULL_WIDTH, n_blocks: int = 8, seed: int = 0) -> None:
        super().__init__(3, 1, width, n_blocks, spectral=True, seed=seed)

    def forward(self, gray: Tensor, known: Tensor, mask: Tensor) -> Tensor:
        r"""Edges in [0, 1] from `gray` and `known` edges, both in [0, 1], and `mask`; all (B, 1, H, W)."""
        return torch.sigmoid(self.run(torch.cat([whitened(gray, mask), known * (1 - mask), mask], 1)))


class InpaintGenerator(Trunk):
    r"""The second network: a picture from the known colours and all edges. White surfaces and holes look alike to it.

    Taught in notebook 07.
    """

    def __init__(self, width: int = FULL_WIDTH, n_blocks: int = 8, seed: int = 0) -> None:
        super().__init__(4, 3, width, n_blocks, spectral=False, seed=seed)

    def forward(self, picture: Tensor, edge: Tensor, mask: Tensor) -> Tensor:
        r"""(B, 3, H, W) in [0, 1] from `picture`, the same, and `edge` and `mask`, (B, 1, H, W)."""
        return (torch.tanh(self.run(torch.cat([whitened(picture, mask), edge], 1))) + 1) / 2


class Outputs(NamedTuple):
    r"""What `EdgeConnect` gives; maps of edges are (B, 1, H, W) in [0, 1].

    Attributes:
        prediction: (B, 3, H, W) in [-1, 1].
        edges: what the second network saw: known ones outside the hole, predicted ones inside.
        predicted_edges: of the first network, everywhere.
        known_edges: Canny's, of the known pixels.
        true_edges: Canny's, of the whole picture; only in training, in the stages that need them.
    """

    prediction: Tensor
    edges: Tensor
    predicted_edges: Tensor
    known_edges: Tensor
    true_edges: Tensor | None


class EdgeConnect(nn.Module):
    r"""Both generators, with Canny's edges between picture and network.

    The stage that `enter` sets decides what training does: ``edges`` trains the first network; ``true_edges`` the
    second, which then sees the edges of the whole picture, **those under the hole, too**; ``predicted_edges`` the
    second, with the edges that it will get in use. In ``eval`` mode, and in a network that entered no stage, the hole
    is never read.

    Args:
        width: channels of the first layers; the residual blocks have ``4 * width``.
        n_blocks: residual blocks of each network.
        sigma: of Canny's Gaussian, pixels; less for pictures under 256 px. The same in training and in use.
        seed: of the initial weights.

    >>> sum(p.numel() for p in EdgeGenerator().parameters()), sum(p.numel() for p in InpaintGenerator().parameters())
    (10761089, 10774595)

    Taught in notebook 07.
    """

    multiple, smallest = 4, 12  # reflecting 2 pixels at a quarter of the size needs 3

    def __init__(self, width: int = FULL_WIDTH, n_blocks: int = 8, sigma: float = SIGMA, seed: int = 0) -> None:
        super().__init__()
        if width < 1 or n_blocks < 0 or sigma < 0:
            raise ValueError(f"width >= 1, n_blocks >= 0 and sigma >= 0 are needed, got {width}, {n_blocks}, {sigma}")
        self.options = {"width": width, "n_blocks": n_blocks, "sigma": sigma}
        self.stage = STAGES[-1]
        self.edge_generator = EdgeGenerator(width, n_blocks, seed)
        self.inpaint_generator = InpaintGenerator(width, n_blocks, seed + 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1] for every pixel; the caller composites.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            mask: (B, 1, H, W), 1 = hole.
        """
        return self.outputs(image, mask).prediction

    def outputs(self, image: Tensor, mask: Tensor) -> Outputs:
        r"""`forward`'s prediction with all edges; the network that the stage does not train gets no gradient."""
        self.check_size(image, mask)
        gradient, sigma = torch.is_grad_enabled(), self.options["sigma"]
        known = edges(image, mask, sigma)
        with torch.set_grad_enabled(gradient and self.stage == "edges"):
            predicted = self.edge_generator(gray(image), known, mask)
        seen, truth = predicted * mask + known * (1 - mask), None
        if self.training and self.stage != "predicted_edges":
            truth = edges(image, sigma=sigma)
            seen = truth if self.stage == "true_edges" else seen
        with torch.set_grad_enabled(gradient and self.stage != "edges"):
            picture = self.inpaint_generator(unit(image), seen, mask)
        return Outputs(2 * picture - 1, seen, predicted, known, truth)

    def train(self, mode: bool = True) -> "EdgeConnect":
        r"""As of every module; the first network's spectral norms stand still where the stage does not train it."""
        super().train(mode)
        if self.stage != "edges":
            self.edge_generator.eval()
        return self

    def check_size(self, image: Tensor, mask: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or mask.shape != (image.shape[0], 1, *image.shape[2:]):
            raise ValueError(
                f"expected image (B, 3, H, W) and mask (B, 1, H, W), got {tuple(image.shape)} and {tuple(mask.shape)}"
            )
        height, width = image.shape[-2:]
        if height % 4 or width % 4 or min(height, width) < self.smallest:
            raise ValueError(
                f"sides must be multiples of 4 and at least {self.smallest} px, got {height} x {width}; "
                "pad the image and crop the result"
            )


class Critic(nn.Module):
    r"""Both critics: ``edges`` judges grey with edges (2 channels), ``picture`` colours, all in [0, 1].

    >>> [sum(p.numel() for p in critic.parameters()) for critic in (Critic().edges, Critic().picture)]
    [2762752, 2763776]

    Taught in notebook 07.
    """

    def __init__(self, width: int = FULL_WIDTH, seed: int = 0) -> None:
        super().__init__()
        self.edges, self.picture = PatchCritic(2, width, seed), PatchCritic(3, width, seed + 1)


def options_at(size: int) -> dict[str, float]:
    r"""Canny's sigma for pictures of `size` px: in proportion below 256 px, so that the same outlines are found.

    >>> [options_at(size)["sigma"] for size in (512, 256, 64)]
    [2.0, 2.0, 0.5]
    """
    return {"sigma": SIGMA * min(1.0, size / 256)}


def enter(network: EdgeConnect, stage: str) -> None:
    r"""Bring `network` into `stage`, one of `STAGES`, for training; see `EdgeConnect`. `eval` mode knows no stages.

    Taught in notebook 07.
    """
    network.stage = check_choice("stage", stage, STAGES)
    network.train(network.training)


def generator_loss(
    outputs: Outputs,
    critic: Critic,
    image: Tensor,
    mask: Tensor,
    features: FeatureNet | None,
    stage: str = STAGES[-1],
) -> dict[str, Tensor]:
    r"""The parts of the loss of the network that `stage` trains, unweighted, with pictures in [0, 1].

    ``edges``: binary cross-entropy with the label "real", and the distance of the critic's five maps to those of the
    true edges, :math:`\sum_i \overline{|D_i(g, e) - D_i(g, \hat e)|}`. The other stages: the mean distance of
    prediction and picture over the mean of the mask (over 1 where no picture has a hole), cross-entropy, and, where
    there are `features`, style inside the hole, summed over its taps, and perceptual distance of the whole picture.

    Raises:
        ValueError: where `outputs` come from another stage than ``edges`` or ``true_edges``; see `enter`.

    Taught in notebook 07.
    """
    if check_choice("stage", stage, STAGES) == "edges":
        return edge_parts(outputs, critic.edges, gray(image), true_edges(outputs, stage))
    if stage == "true_edges":
        true_edges(outputs, stage)
    out, real = unit(outputs.prediction), unit(image)
    share = mask.mean()
    parts = {
        "l1": losses.l1(out, real) / torch.where(share > 0, share, 1.0),
        "adversarial": cross_entropy(critic.picture(out)[-1], real=True),
    }
    return parts if features is None else parts | feature_parts(out, real, mask, features)


def edge_parts(outputs: Outputs, critic: PatchCritic, gray: Tensor, truth: Tensor) -> dict[str, Tensor]:
    fake = critic(torch.cat([gray, outputs.predicted_edges], 1))
    with torch.no_grad():
        real = critic(torch.cat([gray, truth], 1))
    matched = [losses.l1(a.float(), b.float()) for a, b in zip(fake, real, strict=True)]
    return {"edge_adversarial": cross_entropy(fake[-1], real=True), "feature_matching": torch.stack(matched).sum()}


def feature_parts(out: Tensor, real: Tensor, mask: Tensor, features: FeatureNet) -> dict[str, Tensor]:
    r"""Style and perceptual loss; VGG sees values of [0, 1] as they are, as the authors' does and their weights want.

    `features` would shift and scale them as ImageNet's networks are trained to; that is undone beforehand.
    """

    def look(picture: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        return features(2 * (picture * features.std + features.mean) - 1, taps)

    of_style, of_content = features.style_taps, features.perceptual_taps
    with torch.no_grad():
        real_style, real_content = look(real * mask, of_style), look(real, of_content)
    return {
        "style": losses.style(look(out * mask, of_style), real_style, of_style, "released"),
        "perceptual": losses.perceptual(look(out, of_content), real_content, of_content),
    }


def critic_loss(
    critic: Critic,
    outputs: Outputs,
    image: Tensor,
    mask: Tensor,
    stage: str = STAGES[-1],
    *,
    rng: torch.Generator | None = None,
) -> dict[str, Tensor]:
    r"""Mean of two cross-entropies: the photograph is to be called real, the raw prediction is not.

    In stage ``edges`` both are edges beside the photograph's grey. `mask` and `rng` are not used.

    Taught in notebook 07.
    """
    if check_choice("stage", stage, STAGES) == "edges":
        name, judge, g = "edge_critic", critic.edges, gray(image)
        real, fake = (torch.cat([g, e.detach()], 1) for e in (true_edges(outputs, stage), outputs.predicted_edges))
    else:
        name, judge, real, fake = "critic", critic.picture, unit(image), unit(outputs.prediction.detach())
    return {name: (cross_entropy(judge(real)[-1], real=True) + cross_entropy(judge(fake)[-1], real=False)) / 2}


def true_edges(outputs: Outputs, stage: str) -> Tensor:
    if outputs.true_edges is None:
        raise ValueError(f"outputs without true edges: call enter(network, {stage!r}) and network.train() before")
    return outputs.true_edges


def cross_entropy(scores: Tensor, *, real: bool) -> Tensor:
    r"""Mean of :math:`-\log \sigma(s)` where "real" is right, of :math:`-\log(1 - \sigma(s))` where it is wrong.

    >>> round(cross_entropy(torch.zeros(2), real=True).item(), 4)  # log 2
    0.6931
    """
    return F.softplus(-scores.float() if real else scores.float()).mean()


def whitened(picture: Tensor, mask: Tensor) -> Tensor:
    return picture * (1 - mask) + mask
