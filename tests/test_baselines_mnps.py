"""MNPS: nothing known changes, no match touches the hole, the energy never rises, and a perfect fill costs nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aotlib.baselines import mnps as method
from aotlib.baselines.mnps import MNPS, Energy, critic_loss, descend, generator_loss, sources, taps_of, total_variation
from aotlib.features import load_features, seeded_layers
from aotlib.images import find_images, read_image
from aotlib.masks import composite, irregular_mask

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples" / "train"
VARIANTS = ("paper", "released")


class Grey(nn.Module):
    """A content network that knows nothing, with a ramp so that no feature is flat."""

    multiple = smallest = 1

    def forward(self, image, mask):
        ramp = torch.linspace(-0.5, 0.5, image.shape[-1], device=image.device)
        return ramp.expand_as(image).clone()


@pytest.fixture(scope="module")
def features():
    return load_features("random", width=8)


@pytest.fixture(scope="module")
def photographs():
    images = [torch.from_numpy(read_image(path)).permute(2, 0, 1)[None] for path in find_images(SAMPLES)[:4]]
    return torch.cat([F.interpolate(image / 127.5 - 1, (64, 64), mode="area") for image in images])


@pytest.fixture(scope="module")
def masks():
    square = torch.zeros(1, 64, 64)
    square[:, 20:41, 23:44] = 1
    return torch.stack([square] + [irregular_mask(64, 0.1, seed=0, index=index) for index in range(3)])


def small(features, content=None, **options):
    options = {"width": 4, "size": 64, "scales": 2, "iterations": 8} | options
    return MNPS(**options, content=content or Grey(), features=features).eval()


@pytest.fixture(scope="module", params=VARIANTS)
def filled(request, features, photographs, masks):
    network = small(features, variant=request.param)
    return network, network.outputs(photographs, masks)


# --- the pictures -------------------------------------------------------------------------------------------------


def test_known_pixels_stay_and_the_hole_moves(filled, photographs, masks):
    _, out = filled
    hole = masks.expand_as(photographs) > 0
    assert torch.equal(out.prediction[~hole], photographs[~hole])
    assert torch.equal(composite(out.prediction, photographs, masks), out.prediction)
    assert out.prediction.dtype == torch.float32 and out.prediction.abs().max() <= 1
    assert torch.equal(out.content, Grey()(photographs, masks))
    assert (out.prediction - out.content)[hole].abs().mean() > 0.05


def test_the_energy_falls_at_every_scale_that_has_known_patches(filled):
    _, out = filled
    assert out.before.shape == out.after.shape == (4, 2)
    assert (out.after <= out.before).all() and (out.after[:, 1] < 0.9 * out.before[:, 1]).all()


def test_no_match_overlaps_the_hole(filled, photographs, masks):
    """Rows, columns and sizes in pixels, checked in the mask itself; turned sources in their own turned mask."""
    network, out = filled
    n_checked = 0
    for mask, matches in zip(masks, out.matches):
        assert {m.tap for m in matches} <= set(taps_of(network.features, network.options["variant"]))
        for match in matches:
            hole = F.adaptive_max_pool2d(mask[None], match.size)
            turned = [m for _, m in sources(torch.zeros(1, 3, *match.size), hole)]
            side = 3 * match.cell
            for (y, x), (v, u), n in zip(match.hole.tolist(), match.known.tolist(), match.source.tolist()):
                y, x, v, u = (at * match.cell for at in (y, x, v, u))
                assert hole[0, 0, y : y + side, x : x + side].sum() > 0
                part = turned[n][0, 0, v : v + side, u : u + side]
                assert part.shape == (side, side) and part.sum() == 0
                n_checked += 1
    assert n_checked > 100
    used = torch.cat([match.source for matches in out.matches for match in matches])
    assert (used == 0).all() if network.options["variant"] == "paper" else len(used.unique()) > 3


def test_what_lies_under_the_hole_is_never_read(filled, photographs, masks):
    network, out = filled
    for wrong in (1e3, float("nan")):
        other = torch.where(masks > 0, wrong, photographs)[:1]
        assert torch.equal(network(other, masks[:1]), out.prediction[:1])


def test_results_repeat_and_pictures_do_not_mix(filled, photographs, masks):
    """A picture of a batch equals the same one alone, to the bit, in inference mode as well."""
    network, out = filled
    with torch.inference_mode():
        alone = network.outputs(photographs[2:3], masks[2:3])
    assert torch.equal(alone.prediction[0], out.prediction[2]) and torch.equal(alone.after[0], out.after[2])
    assert torch.equal(alone.matches[0][0].known, out.matches[2][0].known)


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_texture_and_smoothness_the_content_comes_back(features, photographs, masks, variant):
    network = small(features, variant=variant, alpha=0.0, beta=0.0)
    out = network.outputs(photographs, masks)
    torch.testing.assert_close(out.prediction, composite(out.content, photographs, masks), rtol=0, atol=1e-6)
    assert (out.before < 1e-9).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(64, 64), (48, 80), (20, 37)])
def test_empty_and_full_holes_and_other_shapes(features, variant, size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.stack([torch.zeros(1, *size), torch.ones(1, *size)])
    out = small(features, variant=variant, iterations=2).outputs(image, mask)
    assert torch.equal(out.prediction[0], image[0])
    assert out.prediction.isfinite().all() and out.after.isfinite().all()
    assert out.matches == [[], []]
    assert (out.after <= out.before).all() and (out.after[0] == out.before[0]).all()


def test_scales_halve_and_stop_at_32_px(features):
    network = small(features, scales=3)
    assert network.sizes((128, 256)) == [(32, 64), (64, 128), (128, 256)]
    assert network.sizes((64, 96)) == [(32, 48), (64, 96)] and network.sizes((40, 90)) == [(40, 90)]
    assert network.sizes((65, 70)) == [(32, 35), (65, 70)]


def test_a_texture_is_continued():
    """Stripes beside a hole filled with faint ones: the optimised fill is nearer to them than the faint ones were."""
    x = torch.arange(64)
    stripes = torch.where(x % 8 < 4, 0.6, -0.6).expand(1, 3, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 24:40, 24:40] = 1
    content, features = Grey(), load_features("random", width=16)
    content.forward = lambda image, mask: 0.3 * stripes
    for variant, share in (("paper", 0.45), ("released", 0.85)):  # the second compares features of 4 px cells only
        out = small(features, content, variant=variant, iterations=12, alpha=10.0, beta=0.0).outputs(stripes, mask)
        before, after = (((fill - stripes).square() * mask).sum() for fill in (out.content, out.prediction))
        assert after < share * before, variant


# --- the energy ---------------------------------------------------------------------------------------------------


def energy_of(features, start, hole, variant="paper", terms=(1.0, 0.0), content=None):
    return Energy(features, start, start if content is None else content, hole, variant, terms)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_copy_of_a_known_region_costs_nothing(features, variant):
    """A picture of period 8: every patch of the hole has an equal one outside, so E_t and its gradient vanish."""
    tile = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    picture = tile.repeat(1, 1, 14, 14)
    hole = torch.zeros(1, 1, 112, 112)
    hole[..., 48:64, 48:64] = 1
    energy = energy_of(features, picture, hole, variant)
    x = picture.clone().requires_grad_()
    texture = energy.texture(features(x, energy.taps))
    (gradient,) = torch.autograd.grad(texture, x)
    assert texture < 1e-6 and gradient.abs().max() < 1e-6
    for match in energy.matches(picture):  # a copy lies a whole number of periods away, in one source or another
        same = match.source == 0
        assert ((match.hole - match.known)[same] * match.cell % 8 == 0).all()
    spoilt = torch.where(hole > 0, picture.flip(-1) * 0.5, picture)
    energy = energy_of(features, spoilt, hole, variant)
    assert energy.texture(features(spoilt, energy.taps)) > 0.01


@pytest.mark.parametrize("variant", VARIANTS)
def test_texture_energy_is_the_mean_distance_to_the_nearest_patch(features, photographs, masks, variant, monkeypatch):
    """Loops over every pair of patches, in NumPy; nearest by distance, or by angle."""
    monkeypatch.setattr(method, "sources", lambda image, mask: [(image, mask)])
    x, hole, step = photographs[:1], masks[:1], 1 if variant == "paper" else 2
    energy, expected = energy_of(features, x, hole, variant), 0.0
    maps = features(x, energy.taps)
    assert energy.taps == (("relu2_1", "relu3_1") if variant == "paper" else ("relu3_1",))
    for tap in energy.taps:
        cell = {"relu2_1": 2, "relu3_1": 4}[tap]
        feature, cells = maps[tap][0].numpy(), F.max_pool2d(hole, cell)[0, 0].numpy()
        at = [(i, j) for i in range(0, cells.shape[0] - 2, step) for j in range(0, cells.shape[1] - 2, step)]
        block = {(i, j): feature[:, i : i + 3, j : j + 3].ravel() for i, j in at}
        inside = [p for p in at if cells[p[0] : p[0] + 3, p[1] : p[1] + 3].any()]
        known = np.stack([block[p] for p in at if p not in set(inside)])
        distances, by_angle = [], 0
        for p in inside:
            squares = ((block[p] - known) ** 2).mean(1)
            chosen = (known @ block[p] / np.linalg.norm(known, axis=1)).argmax()
            distances.append(squares.min() if variant == "paper" else squares[chosen])
            by_angle += chosen != squares.argmin()
        assert by_angle > 0.1 * len(inside)  # the two rules differ here
        expected += np.mean(distances) / (known**2).mean()
    assert energy.texture(maps).item() == pytest.approx(expected, rel=1e-4)


def test_chunks_of_the_matrix_product_change_nothing(features, photographs, masks, monkeypatch):
    found = []
    for chunk in (256, 7):
        monkeypatch.setattr(method, "CHUNK", chunk)
        found.append(energy_of(features, photographs[:1], masks[:1]).matches(photographs[:1])[0].known)
    assert torch.equal(*found) and len(found[0]) > 100


def test_total_variation_counts_pairs_that_touch_the_hole():
    x = torch.tensor([[0.0, 1.0, 3.0], [7.0, 2.0, 2.0]]).view(1, 1, 2, 3)
    hole = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).view(1, 1, 2, 3)
    assert total_variation(x, hole).item() == pytest.approx((2**2 + 1**2) / 2)
    assert total_variation(x, torch.zeros_like(hole)) == 0
    three = total_variation(x.repeat(1, 3, 1, 1), hole)
    assert three.item() == pytest.approx(2.5)


def test_content_term_is_pixels_or_features(features, photographs, masks):
    x, hole, other = photographs[:1], masks[:1], photographs[1:2]
    moved = torch.where(hole > 0, other, x)
    paper, released = (energy_of(features, x, hole, variant, content=other) for variant in VARIANTS)
    expected = ((moved - x) ** 2)[hole.expand_as(x) > 0].mean()
    torch.testing.assert_close(paper.content(moved, {}), expected)
    a, b = (features(image, ["relu3_1"])["relu3_1"] for image in (moved, other))
    torch.testing.assert_close(released.content(moved, {"relu3_1": a}), ((a - b) ** 2).mean() / (b**2).mean())
    assert paper.content(x, {}) == 0
    weighted = Energy(features, x, other, hole, "paper", (0.25, 3.0))
    maps = features(moved, weighted.taps)
    parts = paper.content(moved, maps) + 0.25 * weighted.texture(maps) + 3 * total_variation(moved, hole)
    torch.testing.assert_close(weighted(moved), parts)


def test_released_matches_are_made_once_and_the_papers_anew(features, photographs, masks):
    x, hole = photographs[:1], masks[:1]
    moved = torch.where(hole > 0, photographs[1:2].flip(-1), x)
    for variant in VARIANTS:
        energy = energy_of(features, x, hole, variant)
        energy(x)
        before, after = (energy.matches(picture)[-1].known for picture in (x, moved))
        assert torch.equal(before, after) == (variant == "released")


def test_taps_follow_what_the_network_reaches(features):
    deep = type(features)(seeded_layers("relu5_2", 4), "deep")
    assert taps_of(deep, "paper") == ("relu3_1", "relu4_1") and taps_of(deep, "released") == ("relu4_1",)
    assert taps_of(features, "paper") == ("relu2_1", "relu3_1") and taps_of(features, "released") == ("relu3_1",)
    image, mask = torch.rand(1, 3, 64, 64) * 2 - 1, torch.zeros(1, 1, 64, 64)
    mask[..., 28:36, 28:36] = 1
    out = small(deep, scales=1, iterations=3).outputs(image, mask)
    assert {(match.tap, match.cell) for match in out.matches[0]} == {("relu3_1", 4), ("relu4_1", 8)}
    assert small(deep, iterations=2)(image[..., :16, :16], mask[..., 26:42, 26:42]).isfinite().all()  # a map of 2 x 2


def test_sources_turn_picture_and_hole_together():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = torch.stack([y, x, 0 * x])[None] / 64
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 40:50, 10:20] = 1
    made = sources(torch.where(mask > 0, 9.0, image), mask)
    assert len(made) == 9 and torch.equal(made[0][1], mask)
    for turned, hole in made:
        assert hole.unique().tolist() == [0, 1]
        assert turned[(hole == 0).expand_as(turned)].max() <= 1  # nothing of the 9 got out of the hole
    assert len({tuple(hole.flatten().tolist()) for _, hole in made}) == 9
    slope = made[3][0][0, 0, 32, 20:44]  # turned by 7.5 degrees, rows rise or fall along a row
    assert abs(slope.diff().mean().item() * 64) == pytest.approx(np.sin(np.radians(7.5)), rel=0.05)


def test_descent_starts_with_a_step_that_can_be_seen():
    start, hole, seen = torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8), []
    for variant in VARIANTS:
        descend(lambda x: seen.append(x) or (x - 1).square().mean(), start, hole, 2, variant)
        assert (seen[1] - seen[0]).abs().mean().item() == pytest.approx(method.FIRST_STEP, rel=1e-4)
        seen.clear()


def test_descent_keeps_the_best_picture_and_its_frame():
    start, hole = torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    hole[..., 1:3, 1:3] = 1
    target = torch.linspace(-2, 2, 48).view(1, 3, 4, 4)
    for variant in VARIANTS:
        x, before, after = descend(lambda x: (x - target).square().sum(), start, hole, 30, variant)
        expected = torch.where(hole > 0, target.clamp(-1, 1), start)
        torch.testing.assert_close(x, expected, atol=1e-3, rtol=0)
        assert after == pytest.approx((expected - target).square().sum().item(), rel=1e-4) and after < before
    values = iter([1.0, 5.0, 0.5] + [9.0] * 99)  # an energy that jumps: the third picture is the one to keep
    seen = []

    def jumping(x):
        seen.append(x.detach().clone())
        return x.sum() * 0.1 + next(values) - (x.sum() * 0.1).detach()

    x, before, after = descend(jumping, start, hole, 6, "released")
    assert (before, after) == (1.0, 0.5) and torch.equal(x, seen[2]) and len(seen) > 3


# --- the network --------------------------------------------------------------------------------------------------


def test_only_the_content_network_has_parameters(features):
    with torch.device("meta"):
        whole = MNPS(features=features)
        assert sum(p.numel() for p in whole.parameters()) == 71_196_259
    network = MNPS(8, 64, features=features, seed=3)
    assert all(name.startswith("content.") for name in network.state_dict())
    assert {id(p) for p in network.parameters()} == {id(p) for p in network.content.parameters()}
    assert network.features is features and not any(p.requires_grad for p in features.parameters())
    same, other = MNPS(8, 64, features=features, seed=3), MNPS(8, 64, features=features, seed=4)
    a, b, c = (n.state_dict() for n in (network, same, other))
    assert all(torch.equal(a[k], b[k]) for k in a) and not all(torch.equal(a[k], c[k]) for k in a)
    again = MNPS(**json.loads(json.dumps(MNPS(8, 64, 2, 9, "released", 0.5, features=features).options)))
    assert (again.options["iterations"], again.terms) == (9, (0.5, method.TERMS["released"][1]))
    assert again.features.name.startswith(("random", "vgg19"))
    for wrong, message in [({"variant": "fast"}, "'released'"), ({"scales": 0}, "at least 1")]:
        with pytest.raises(ValueError, match=message):
            MNPS(4, 64, features=features, **wrong)


def weighted(parts, weights):
    return sum(weights[name] * value for name, value in parts.items())


def test_training_is_that_of_the_content_network(features, photographs, masks):
    network, critic = MNPS(8, 64, features=features), method.Critic(8, 64)
    adam = torch.optim.Adam(network.parameters(), method.SETTINGS["lr"], betas=(0.5, 0.999))
    critic_adam = torch.optim.Adam(critic.parameters(), method.SETTINGS["lr"] * 0.1, betas=(0.5, 0.999))
    errors = []
    for _ in range(20):
        out = network.outputs(photographs, masks)
        critic_adam.zero_grad()
        weighted(critic_loss(critic, out, photographs, masks), method.CRITIC_WEIGHTS).backward()
        critic_adam.step()
        critic.requires_grad_(False)
        parts = generator_loss(out, critic, photographs, masks, None)
        adam.zero_grad()
        weighted(parts, method.WEIGHTS).backward()
        adam.step()
        critic.requires_grad_(True)
        errors.append(parts["reconstruction"].item())
    assert errors[-1] < 0.5 * errors[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    assert network.outputs(photographs[:1], masks[:1]).content.shape == (1, 3, 64, 64)
    assert all(p.grad is not None for p in network.parameters())


def test_optimising_leaves_no_gradient_behind(features, photographs, masks):
    network = MNPS(4, 64, iterations=2, features=features).eval()
    out = network(photographs[:1], masks[:1])
    assert not out.requires_grad and all(p.grad is None for p in network.parameters())


def test_bfloat16_is_finite_and_optimised_in_full_precision(features, photographs, masks):
    network = small(features)
    with torch.autocast("cpu", torch.bfloat16):
        out = network.outputs(photographs[:1], masks[:1])
    assert out.prediction.dtype == torch.float32
    assert torch.equal(out.prediction, network(photographs[:1], masks[:1]))
