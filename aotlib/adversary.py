r"""What a design of labels makes of the two networks: where it pulls them, and whether the critic finds the hole.

Taught in notebook 08.
"""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from aotlib import losses
from aotlib.masks import composite
from aotlib.model import Generator
from aotlib.weights import read_card


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


def labels_of(discriminator: str | Path) -> tuple[str, dict[str, float]]:
    r"""The design of labels that a run gave its discriminator, and the size and sigma of its soft mask in pixels.

    Args:
        discriminator: its file ``discriminator.safetensors``.

    Raises:
        ValueError: for a file that does not say it.

    Taught in notebook 08.
    """
    card = read_card(discriminator)
    if "labels" not in card:
        raise ValueError(f"{discriminator} does not say which labels it was given; train it again")
    labels = json.loads(card["labels"])
    return labels.pop("design"), labels


class Wanted(NamedTuple):
    r"""What labels ask the discriminator to say of a composite, less what it is to say of a photograph.

    Attributes:
        hole, known: mean over patches whose centre is in the hole, and over the others. Below 0, the hole is to be told
            from a photograph by a lower score, against the generator, which raises it; above 0 both raise it.
    """

    hole: float
    known: float


def wanted(mask: Tensor, design: str, **soft) -> Wanted:
    r"""What the labels of a design ask for, for masks (B, 1, H, W), 1 = hole.

    Args:
        soft: size and sigma of the soft mask (`aotlib.losses.targets`).

    Taught in notebook 08.
    """
    on_real, on_fake = (at_patches(labels, mask) for labels in losses.targets(mask, design, **soft))
    hole = _patches_in_hole(mask)
    return Wanted(*((on_fake - on_real)[where].mean().item() for where in (hole, ~hole)))


def at_patches(labels: Tensor, mask: Tensor) -> Tensor:
    r"""Labels (B, 1, h, w) at the discriminator's size; of those that stand at the mask's size, the mean of a patch."""
    return losses.cell_mask(labels) if labels.shape == mask.shape else labels


def _patches_in_hole(mask: Tensor) -> Tensor:
    hole = losses.hard_mask(mask).bool()
    if hole.all() or not hole.any():
        raise ValueError("the mask must leave some patches known and make others hole; give a larger picture or hole")
    return hole


def inside(discriminator: nn.Module, image: Tensor, prediction: Tensor, mask: Tensor, design: str) -> float:
    r"""The share, 0 to 1, of :math:`|\partial L_{adv} / \partial z|` that lies in the hole.

    The rest falls on known pixels, which are pasted in: no generator can change them.

    Args:
        image, prediction: (B, 3, H, W) in [-1, 1]; `mask`: (B, 1, H, W), 1 = hole.

    Taught in notebook 08.
    """
    z = composite(prediction, image, mask).requires_grad_(True)
    (gradient,) = torch.autograd.grad(losses.generator_loss(discriminator(z), mask, design), z)
    size = gradient.abs().sum(1, keepdim=True)
    return ((size * mask).sum() / size.sum()).item()


class Pushes(NamedTuple):
    r"""Where one step down a network's adversarial loss moves the scores of a composite: above 0 up, below 0 down.

    In units of the mean size of that network's gradient over all patches: 1 is the pull on an average patch, and
    designs compare whose losses are of different size.

    Attributes:
        d_hole, d_known: of the discriminator's loss, mean over patches whose centre is in the hole, and over others.
        g_hole, g_known: of the generator's. Signs that differ are a contest; alike, both want the same of the patch.
    """

    d_hole: float
    d_known: float
    g_hole: float
    g_known: float


def pushes(scores: Tensor, mask: Tensor, design: str, **soft) -> Pushes:
    r"""What the losses of both networks ask of the scores of composites, in and outside the hole.

    .. math:: p = -\frac{\partial L}{\partial D(z)} \Big/ \mathrm{mean}\left|\frac{\partial L}{\partial D(z)}\right|

    for :math:`L_D` and :math:`L_{adv}`. For a design whose labels stand at the scores' size,
    :math:`\partial L_D / \partial D(z) = 2 (D(z) - t_z) / N` over N patches: the discriminator raises scores below
    their label and lowers those above it, so that the sign depends on how far training has come. The part of
    :math:`L_D` on photographs does not depend on :math:`D(z)`. A loss without any gradient pushes nowhere: 0.

    Args:
        scores: :math:`D(z)`, (B, 1, h, w), of the networks as they are.
        mask: (B, 1, H, W), 1 = hole.
        soft: size and sigma of the soft mask (`aotlib.losses.targets`).

    Taught in notebook 08.
    """
    hole, found = _patches_in_hole(mask), []
    scores = scores.detach().requires_grad_(True)
    of_d = losses.discriminator_loss(scores.detach(), scores, mask, design, **soft)
    for loss in (of_d, losses.generator_loss(scores, mask, design)):
        (gradient,) = torch.autograd.grad(loss, scores)
        push = -gradient / gradient.abs().mean().clamp_min(torch.finfo(gradient.dtype).tiny)
        found += [push[where].mean().item() for where in (hole, ~hole)]
    return Pushes(*found)


class Found(NamedTuple):
    r"""How well a map says where the hole is.

    Attributes:
        iou: intersection over union of hole and patches beyond 0.5; 0 for a map that calls nothing a hole.
        auc: probability that a random patch of the hole looks more like hole than a random known one; 0.5 is chance.
    """

    iou: float
    auc: float


def finds_hole(scores: Tensor, mask: Tensor, design: str) -> Found:
    r"""A map of scores (B, 1, h, w) as a predictor of the mask (B, 1, H, W), 1 = hole.

    The labels of ``"released"`` and ``"mmagic"`` are high in a hole, those of the paper's designs low, and PatchGAN's
    are 0 everywhere: it is asked in the same way, and owes no answer. What the labels themselves would get
    (`at_patches`) is the best that training can come to: a soft label is rarely beyond 0.5 in a narrow hole.

    Taught in notebook 08.
    """
    hole = _patches_in_hole(mask)
    sign = 1 if losses.check_design(design) in losses.AT_MASK_SIZE else -1
    called = sign * (scores - 0.5) > 0
    iou = (called & hole).sum().item() / (called | hole).sum().item()
    return Found(iou, float(roc_auc_score(hole.flatten().cpu(), (sign * scores).flatten().detach().cpu())))
