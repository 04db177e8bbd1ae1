r"""What a design of labels makes of the two networks: where it pulls them, and whether the critic finds the hole.

Taught in notebook 08.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from aotlib import losses
from aotlib.config import TrainConfig
from aotlib.masks import composite
from aotlib.model import Generator


class Seen(NamedTuple):
    r"""What a run makes of one picture.

    Attributes:
        z: the composite, (3, H, W) in [-1, 1].
        update: share of the new feature in the last block, 0 to 1, mean over channels, (h, w); None without a gate.
        scores: of the discriminator for `z`, (h', w').
    """

    z: Tensor
    update: Tensor | None
    scores: Tensor


@torch.no_grad()
def look(generator: Generator, discriminator: nn.Module, image: Tensor, mask: Tensor) -> Seen:
    r"""What the networks of a run make of one picture (1, 3, H, W) in [-1, 1] and hole (1, 1, H, W).

    Taught in notebook 08.
    """
    features = generator.encode(image, mask)
    for block in generator.blocks[:-1]:
        features = block(features)
    _, update = generator.blocks[-1].transform(features)
    z = composite(generator(image, mask), image, mask)
    return Seen(z[0], None if update is None else update[0].float().mean(0), discriminator(z)[0, 0])


def labels_of(changes: Mapping[str, object]) -> tuple[str, dict[str, float]]:
    r"""The design of labels that a variant's changes come to, and the size and sigma of its soft mask in pixels.

    >>> labels_of({"soft_sigma": 3.0})
    ('sm_patchgan', {'size': 70, 'sigma': 3.0})
    """
    config = TrainConfig.of(changes)
    return config.design, {"size": config.soft_size, "sigma": config.soft_sigma}


class Pull(NamedTuple):
    r"""Which way descent moves the scores :math:`D(z)`, and where the generator's gradient lies.

    Attributes:
        g_hole, g_known, d_hole, d_known: mean of :math:`-\partial L / \partial D(z)`, times the number of scores, for
            the generator's and the discriminator's loss, over patches whose centre is in the hole and over the others.
        inside: share, 0 to 1, of :math:`|\partial L_{adv} / \partial z|` that lies in the hole; the rest falls on
            known pixels, which no generator can change.
    """

    g_hole: float
    g_known: float
    d_hole: float
    d_known: float
    inside: float

    @property
    def contest(self) -> bool:
        r"""Whether the two networks pull the scores of the hole in opposite directions."""
        return self.g_hole * self.d_hole < 0


def pull(discriminator: nn.Module, image: Tensor, prediction: Tensor, mask: Tensor, design: str, **soft) -> Pull:
    r"""The `Pull` of a design on a discriminator's scores of the composite.

    Args:
        image, prediction: (B, 3, H, W) in [-1, 1]; `mask`: (B, 1, H, W), 1 = hole, both inside and outside patches.
        soft: size and sigma of the soft mask (`aotlib.losses.targets`).

    Taught in notebook 08.
    """
    z = composite(prediction, image, mask).requires_grad_(True)
    scores, real = discriminator(z), discriminator(image).detach()
    adversarial = losses.generator_loss(scores, mask, design)
    for_g, on_z = torch.autograd.grad(adversarial, [scores, z], retain_graph=True)
    (for_d,) = torch.autograd.grad(losses.discriminator_loss(real, scores, mask, design, **soft), scores)
    hole = losses.hard_mask(mask).bool()
    if hole.all() or not hole.any():
        raise ValueError("the mask must leave some patches known and make others hole; give a larger picture or hole")
    sides = [-gradient[where].mean().item() * scores.numel() for gradient in (for_g, for_d) for where in (hole, ~hole)]
    size = on_z.abs().sum(1, keepdim=True)
    return Pull(*sides, ((size * mask).sum() / size.sum()).item())


class Found(NamedTuple):
    r"""How well a discriminator's map says where the hole is.

    Attributes:
        iou: intersection over union of hole and patches beyond the middle of the two labels; 0 for a map that calls
            nothing a hole.
        auc: probability that a random patch of the hole looks more like hole than a random known one; 0.5 is chance.
    """

    iou: float
    auc: float


@torch.no_grad()
def finds_hole(discriminator: nn.Module, z: Tensor, mask: Tensor, design: str) -> Found:
    r"""The discriminator of a finished run as a predictor of the mask, on composites.

    The labels of ``"released"`` and ``"mmagic"`` are near 1 in a hole, those of the paper's designs near 0, and
    PatchGAN's are 0 everywhere: it is asked in the same way, and owes no answer.

    Args:
        z: (B, 3, H, W) in [-1, 1]; `mask`: (B, 1, H, W), 1 = hole.

    Taught in notebook 08.
    """
    scores, hole = discriminator(z), losses.hard_mask(mask).bool()
    sign = 1 if losses.check_design(design) in losses.AT_MASK_SIZE else -1
    called = sign * (scores - 0.5) > 0
    union = (called | hole).sum().item()
    iou = (called & hole).sum().item() / union if union else 1.0
    return Found(iou, float(roc_auc_score(hole.flatten(), (sign * scores).flatten())))
