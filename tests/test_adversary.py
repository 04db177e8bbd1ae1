"""What labels ask of the two networks, by hand, and maps that find the hole or do not, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from aotlib import adversary, losses
from aotlib.adversary import at_patches, finds_hole, inside, pushes, wanted
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


@pytest.mark.parametrize(
    ("design", "hole", "known"),
    [("hm_patchgan", -1, 0), ("patchgan", -1, -1), ("released", 1, 0), ("mmagic", 0, -1)],
)
def test_labels_of_a_wide_hole_less_those_of_a_photograph(design, hole, known):
    """Sharp edges far away: 0 and 1 but for the soft border."""
    mask = torch.zeros(1, 1, 512, 512)
    mask[..., 128:384, 128:384] = 1
    found = wanted(mask, design)
    assert found.hole == pytest.approx(hole, abs=0.15) and found.known == pytest.approx(known, abs=0.15)


def test_labels_are_those_of_the_formulas(given):
    mask = given[2]
    hole, target = losses.hard_mask(mask).bool(), losses.targets(mask)[1]
    found = wanted(mask, "sm_patchgan")
    assert found.hole == pytest.approx((target[hole] - 1).mean().item(), rel=1e-5)
    assert found.known == pytest.approx((target[~hole] - 1).mean().item(), rel=1e-5)
    assert wanted(mask, "sm_patchgan", size=22, sigma=3.0).hole < found.hole  # sharper: nearer to -1


def test_a_gradient_that_is_alike_everywhere_lies_in_the_hole_by_its_share(given):
    assert inside(Flat(), *given, "patchgan") == pytest.approx(given[2].mean().item(), rel=1e-4)
    assert given[2].mean() < inside(Discriminator(4).eval(), *given, "sm_patchgan") < 1


@pytest.mark.parametrize("design", ["hm_patchgan", "released"])
def test_labels_find_the_hole_and_their_opposites_do_not(given, design):
    ideal = at_patches(losses.targets(given[2], design)[1], given[2])
    assert ideal.shape == (2, 1, 14, 14)
    found, turned = finds_hole(ideal, given[2], design), finds_hole(1 - ideal, given[2], design)
    assert found.iou > 0.8 and found.auc > 0.99 and turned.iou < 0.1 and turned.auc < 0.01


def test_scores_of_the_hole_are_sklearns(given):
    scores = torch.rand(2, 1, 14, 14, generator=torch.Generator().manual_seed(1))
    found = finds_hole(scores, given[2], "sm_patchgan")
    hole = losses.hard_mask(given[2]).bool().flatten().numpy()
    assert found.iou == pytest.approx(jaccard_score(hole, (scores < 0.5).flatten().numpy()))
    assert abs(found.auc - 0.5) < 0.1
    assert finds_hole(torch.ones_like(scores), given[2], "patchgan") == (0.0, 0.5)  # nothing called, all alike


def test_masks_without_both_kinds_of_patches_are_refused(given):
    for mask in (torch.ones_like(given[2]), torch.zeros_like(given[2])):
        with pytest.raises(ValueError, match="leave some patches known"):
            finds_hole(torch.rand(2, 1, 14, 14), mask, "sm_patchgan")
        with pytest.raises(ValueError, match="leave some patches known"):
            wanted(mask, "sm_patchgan")
        with pytest.raises(ValueError, match="leave some patches known"):
            pushes(torch.rand(2, 1, 14, 14), mask, "sm_patchgan")


def test_look_shows_what_the_networks_make_of_one_picture(given):
    generator, critic = Generator(4, 2, init="he").eval(), Discriminator(4).eval()
    image, mask = given[0][:1], given[2][:1]
    seen = adversary.look(generator, critic, image, mask)
    assert torch.equal(seen.z * (1 - mask[0]), image[0] * (1 - mask[0]))
    assert seen.update.shape == (32, 32) and 0 < seen.update.mean() < 1 and seen.scores.shape == (14, 14)
    assert adversary.look(Generator(4, 2, gate="none").eval(), critic, image, mask).update is None


@pytest.mark.parametrize("design", ["sm_patchgan", "hm_patchgan", "patchgan"])
def test_pushes_are_those_of_the_squares(given, design):
    """Closed form: the gradient of a mean of squares is 2 (score - label) / N, and the generator's has its mask."""
    scores, mask = torch.rand(2, 1, 14, 14, generator=torch.Generator().manual_seed(2)) * 2, given[2]
    before, soft = scores.clone(), {"size": 22, "sigma": 3.0} if design == "sm_patchgan" else {}
    found = pushes(scores, mask, design, **soft)
    hole, label = losses.hard_mask(mask).bool(), losses.targets(mask, design, **soft)[1]
    weight = torch.ones_like(scores) if design == "patchgan" else losses.cell_mask(mask)
    for gradient, pair in ((2 * (scores - label) / 392, found[:2]), (2 * (scores - 1) * weight / 392, found[2:])):
        push = -gradient / gradient.abs().mean()
        assert pair == pytest.approx((push[hole].mean().item(), push[~hole].mean().item()), rel=1e-4)
    assert torch.equal(scores, before) and not scores.requires_grad
    if soft:  # another Gaussian, other labels, in the discriminator's loss alone
        other = pushes(scores, mask, design)
        assert abs(other.d_hole - found.d_hole) > 0.01 and other[2:] == found[2:]


@pytest.mark.parametrize(("design", "on_hole"), [("released", 1), ("mmagic", 1)])
def test_pushes_through_enlarged_scores_are_those_of_linear_interpolation(given, design, on_hole):
    """The loss is that of R s R' with R from NumPy's interpolation: its gradient is R' (2 (R s R' - t) / N) R."""
    scores, mask = torch.rand(2, 1, 14, 14, generator=torch.Generator().manual_seed(3)), given[2]
    r = np.stack([np.interp(np.linspace(0, 13, 128), np.arange(14), row) for row in np.eye(14)], 1)  # (128, 14)
    large, hole = r @ scores.numpy() @ r.T, losses.hard_mask(mask).bool().numpy()
    found = pushes(scores, mask, design)
    for label, pair in ((losses.targets(mask, design)[1].numpy(), found[:2]), (on_hole, found[2:])):
        gradient = r.T @ (2 * (large - label) / large.size) @ r
        push = -gradient / np.abs(gradient).mean()
        assert pair == pytest.approx((push[hole].mean(), push[~hole].mean()), rel=1e-4)


@pytest.mark.parametrize("design", losses.DESIGNS)
def test_networks_pull_a_wide_hole_apart_but_for_labels_that_are_high_there(design):
    """From a critic that has not made up its mind, 0.5: the paper's designs are a contest, the released labels none."""
    mask = torch.zeros(1, 1, 512, 512)
    mask[..., 128:384, 128:384] = 1
    found = pushes(torch.full((1, 1, 62, 62), 0.5), mask, design)
    assert found.g_hole > 0.9
    assert found.d_hole > 0.5 if design in losses.AT_MASK_SIZE else found.d_hole < -0.5


def test_a_loss_that_is_at_its_labels_pushes_nowhere(given):
    found = pushes(losses.targets(given[2], "hm_patchgan")[1], given[2], "hm_patchgan")
    assert found[:2] == (0, 0) and found.g_hole > 0 and found.g_known < found.g_hole
    assert pushes(torch.ones(2, 1, 14, 14), given[2], "patchgan") == pytest.approx((-1, -1, 0, 0))
