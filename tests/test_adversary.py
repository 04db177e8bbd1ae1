"""What labels do to the two networks: pulls by hand, and a discriminator that finds the hole or does not."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from aotlib import adversary, losses
from aotlib.adversary import finds_hole, labels_of, pull
from aotlib.model import Discriminator, Generator


@pytest.fixture
def given():
    rng = torch.Generator().manual_seed(0)
    image, prediction = (torch.rand(2, 3, 128, 128, generator=rng) * 2 - 1 for _ in range(2))
    mask = torch.zeros(2, 1, 128, 128)
    mask[..., 32:104, 40:112] = 1
    return image, prediction, mask


class Flat(torch.nn.Module):
    """Says the mean of the picture, once for all patches: its gradient is as large on every pixel."""

    def forward(self, image):
        return image.mean((1, 2, 3), keepdim=True).expand(-1, 1, 14, 14)


class Knowing(torch.nn.Module):
    """Says of each patch whether its centre is in the hole of `mask`, which it knows: `real` outside, `fake` inside."""

    def __init__(self, mask, real, fake):
        super().__init__()
        self.map = losses.hard_mask(mask) * (fake - real) + real

    def forward(self, image):
        return self.map + 0 * image.mean()


@pytest.mark.parametrize(
    ("design", "contest"),
    [("sm_patchgan", True), ("hm_patchgan", True), ("patchgan", True), ("released", False), ("mmagic", False)],
)
def test_only_the_papers_kind_of_labels_is_a_contest_in_the_hole(given, design, contest):
    found = pull(Knowing(given[2], 0.5, 0.5), *given[:2], given[2], design)
    assert found.contest is contest and found.g_hole > 0
    assert (found.d_hole < 0) is contest


def test_pulls_are_those_of_the_formulas(given):
    """D(z) = 0.5 everywhere: -dL/dD = 2 (1 - 0.5) m for G, 2 (target - 0.5) for D, over the number of scores."""
    mask = given[2]
    found = pull(Knowing(mask, 0.5, 0.5), *given[:2], mask, "sm_patchgan")
    hole, target = losses.hard_mask(mask).bool(), losses.targets(mask)[1]
    assert found.g_hole == pytest.approx(losses.cell_mask(mask)[hole].mean().item(), rel=1e-5)
    assert found.g_known == pytest.approx(losses.cell_mask(mask)[~hole].mean().item(), rel=1e-5)
    assert found.d_hole == pytest.approx((2 * (target[hole] - 0.5)).mean().item(), rel=1e-5)
    assert found.d_known == pytest.approx((2 * (target[~hole] - 0.5)).mean().item(), rel=1e-5)


def test_a_sharper_soft_mask_changes_ds_pull_and_not_gs(given):
    wide, narrow = (pull(Knowing(given[2], 0.5, 0.5), *given[:2], given[2], "sm_patchgan", **soft) for soft in (
        {}, {"size": 22, "sigma": 3.0}))  # fmt: skip
    assert narrow.d_hole < wide.d_hole and narrow.g_hole == wide.g_hole


def test_a_gradient_that_is_alike_everywhere_lies_in_the_hole_by_its_share(given):
    found = pull(Flat(), *given[:2], given[2], "patchgan")
    assert found.inside == pytest.approx(given[2].mean().item(), rel=1e-4)


def test_the_true_discriminator_has_a_pull_everywhere(given):
    found = pull(Discriminator(4).eval(), *given[:2], given[2], "sm_patchgan")
    assert 0 < found.inside < 1 and np.isfinite(found[:4]).all()
    with pytest.raises(ValueError, match="leave some patches known"):
        pull(Discriminator(4).eval(), *given[:2], torch.ones_like(given[2]), "sm_patchgan")


@pytest.mark.parametrize("design", ["sm_patchgan", "released"])
def test_a_map_that_knows_the_hole_finds_it(given, design):
    real, fake = (0.0, 1.0) if design == "released" else (1.0, 0.0)
    found = finds_hole(Knowing(given[2], real, fake), given[0], given[2], design)
    assert found == (1.0, 1.0)
    turned = finds_hole(Knowing(given[2], fake, real), given[0], given[2], design)
    assert turned == (0.0, 0.0)


def test_scores_of_the_hole_are_sklearns(given):
    class Noise(torch.nn.Module):
        def forward(self, image):
            return torch.rand(2, 1, 14, 14, generator=torch.Generator().manual_seed(1))

    found = finds_hole(Noise(), given[0], given[2], "sm_patchgan")
    called = (Noise()(None) < 0.5).flatten().numpy()
    hole = losses.hard_mask(given[2]).bool().flatten().numpy()
    assert found.iou == pytest.approx(jaccard_score(hole, called))
    assert abs(found.auc - 0.5) < 0.1
    nothing = finds_hole(Knowing(given[2], 1.0, 1.0), given[0], given[2], "patchgan")
    assert nothing == (0.0, 0.5)  # calls nothing a hole, and all patches alike


def test_look_shows_what_the_networks_make_of_one_picture(given):
    generator, critic = Generator(4, 2, init="he").eval(), Discriminator(4).eval()
    image, mask = given[0][:1], given[2][:1]
    seen = adversary.look(generator, critic, image, mask)
    assert torch.equal(seen.z * (1 - mask[0]), image[0] * (1 - mask[0]))
    assert seen.update.shape == (32, 32) and 0 < seen.update.mean() < 1 and seen.scores.shape == (14, 14)
    assert adversary.look(Generator(4, 2, gate="none").eval(), critic, image, mask).update is None


def test_labels_of_a_variant():
    assert labels_of({"gate": "none"}) == ("sm_patchgan", {"size": 70, "sigma": 10.0})
    assert labels_of({"design": "patchgan"})[0] == "patchgan"
