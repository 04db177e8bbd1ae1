"""PEN-Net: attention transfer against plain loops, its order from deep to shallow, pyramid, and a hinge critic."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from aotlib.baselines.pen_net import (
    CRITIC_WEIGHTS,
    SETTINGS,
    STAGES,
    VALIDITIES,
    WEIGHTS,
    AttentionTransfer,
    Critic,
    Outputs,
    PENNet,
    critic_loss,
    generator_loss,
    masked_l1,
    pyramid_l1,
)
from aotlib.images import centred, read_image, to_float
from aotlib.masks import irregular_mask
from aotlib.model import initialise

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples" / "train"


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def image():
    files = sorted(SAMPLES.glob("*.jpg"))[:3]
    return torch.stack([to_float(centred(torch.from_numpy(read_image(f)).movedim(-1, 0), 64)) for f in files])


@pytest.fixture(scope="module")
def mask():
    """A square that leaves keys at every level, scattered strokes, and both."""
    square = torch.zeros(1, 64, 64)
    square[:, 36:60, 40:62] = 1
    strokes = [irregular_mask(64, ratio, seed=0, index=i) for i, ratio in enumerate((0.1, 0.4))]
    return torch.stack([square, strokes[0], torch.maximum(square, strokes[1])])


@pytest.fixture
def network():
    """With weights that keep the size of features: the paper's give next to nothing but 0."""
    network = PENNet(width=4, levels=5)
    initialise(network, 4, 0, "he")
    return network


@pytest.fixture
def critic():
    return Critic(width=4)


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_parameter_counts():
    network = PENNet()
    parts = [n_parameters(getattr(network, name)) for name in ("encoder", "transfers", "decoder", "heads", "last")]
    assert parts == [3_928_672, 783_840, 5_493_728, 5_967, 19_331]
    assert n_parameters(network) == 10_231_538
    assert n_parameters(PENNet(8, levels=5)) == 161_159
    assert n_parameters(Critic()) == 4_305_600 + 12_801 == 4_318_401


def test_multiply_adds_at_256():
    network = PENNet().to("meta")
    x, m = torch.zeros(1, 3, 256, 256, device="meta"), torch.zeros(1, 1, 256, 256, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x, m)
    assert counter.get_total_flops() / 2e9 == pytest.approx(25.7, abs=0.05)


def test_every_level_has_the_size_of_the_table():
    network = PENNet(width=4)
    assert (network.multiple, network.smallest) == (64, 128)
    found = network.outputs(torch.zeros(1, 3, 128, 192), torch.zeros(1, 1, 128, 192))
    assert [tuple(p.shape[-2:]) for p in found.pyramid] == [(64, 96), (32, 48), (16, 24), (8, 12), (4, 6)]
    positions = [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert [tuple(a.shape) for a in found.attention] == [(1, h * w, h, w) for h, w in positions]
    assert [tuple(v.shape) for v in found.valid] == [(1, h * w) for h, w in positions]
    assert [t.kernel for t in network.transfers] == [3, 3, 3, 3, 1]
    assert [len(t.branches) for t in network.transfers] == [4, 4, 4, 4, 0]
    assert found.prediction.shape == (1, 3, 128, 192)


@pytest.mark.parametrize("size", [(64, 80), (32, 64), (60, 64)])
def test_bad_sizes_are_refused_in_words(network, size):
    with pytest.raises(ValueError, match="multiples of 32 and at least 64"):
        network(torch.zeros(1, 3, *size), torch.zeros(1, 1, *size))


def test_other_misuse_is_refused_in_words(network):
    with pytest.raises(ValueError, match="expected image"):
        network(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))
    for options in ({"width": 6}, {"levels": 3}, {"width": 0}, {"validity": "mean"}):
        with pytest.raises(ValueError, match="multiple of 4|validity"):
            PENNet(**options)
    with pytest.raises(ValueError, match="at least 47"):
        Critic(4)(torch.zeros(1, 3, 46, 64))


# --- attention transfer ---------------------------------------------------------------------------------------------


def loops(x, deep, hole, kernel):
    """Attention transfer of one sample as sums over single values; x (C, 2h, 2w), deep (D, h, w), hole (h, w)."""
    (_, h, w), r = deep.shape, kernel // 2
    places = [(i, j) for i in range(h) for j in range(w)]
    padded = F.pad(deep, (r,) * 4)
    patch = {p: padded[:, p[0] : p[0] + kernel, p[1] : p[1] + kernel].flatten() for p in places}
    around = F.pad(hole, (r,) * 4)
    valid = [float(around[i : i + kernel, j : j + kernel].sum() == 0) for i, j in places]
    value = F.pad(x, (1,) * 4)
    out = torch.zeros_like(value)
    for i, j in places:
        scores = [patch[i, j] @ patch[p] / max(patch[p].norm().item(), 1e-4) * v for p, v in zip(places, valid)]
        share = torch.softmax(10 * torch.stack(scores), 0)
        for a, v, (k, m) in zip(share, valid, places):
            out[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += a * v * value[:, 2 * k : 2 * k + 4, 2 * m : 2 * m + 4] / 4
    return out[:, 1:-1, 1:-1]


@pytest.mark.parametrize("deepest", [False, True])
def test_transfer_equals_plain_loops(deepest):
    layer = AttentionTransfer(4, deepest).double()
    x, deep = rand(2, 4, 10, 8, dtype=torch.float64), rand(2, 3, 5, 4, seed=1, dtype=torch.float64) - 0.5
    hole = torch.zeros(2, 1, 5, 4, dtype=torch.float64)
    hole[0, 0, 3:, 2:], hole[1, 0, 0, 0] = 1, 1
    filled = layer(x, deep, hole)[0]
    for b in range(2):
        expected = loops(x[b], deep[b], hole[b, 0], 1 if deepest else 3)
        if not deepest:
            expected = torch.cat([F.relu(conv(expected)) for conv in layer.branches])
        torch.testing.assert_close(filled[b], expected, rtol=1e-9, atol=1e-12)


def test_the_adjusting_branches_are_dilated_1_2_4_8():
    layer = AttentionTransfer(8)
    assert [(conv.out_channels, conv.dilation[0]) for conv in layer.branches] == [(2, 1), (2, 2), (2, 4), (2, 8)]


def test_weights_come_from_the_deep_map_alone():
    layer = AttentionTransfer(4, deepest=True)
    x, deep, hole = rand(1, 4, 8, 8), rand(1, 3, 4, 4, seed=1), torch.zeros(1, 1, 4, 4)
    filled, weights, _ = layer(x, deep, hole)
    order = [2, 0, 3, 1]
    permuted, same, _ = layer(x[:, order], deep, hole)
    assert torch.equal(weights, same)
    torch.testing.assert_close(permuted, filled[:, order])
    assert not torch.allclose(layer(x, deep.flip(-1) ** 2, hole)[1], weights)


@pytest.mark.parametrize("validity", VALIDITIES)
def test_shares_are_at_most_1_and_0_for_keys_that_touch_the_hole(network, image, mask, validity):
    network.validity = validity
    found = network.outputs(image, mask)
    for level, (weights, valid) in enumerate(zip(found.attention, found.valid)):
        side = 16 >> level
        hole = F.max_pool2d(mask, 64 // side)
        if validity == "bilinear":
            hole = (F.interpolate(mask, (side, side), mode="bilinear", align_corners=True) > 0).float()
        if level < 3:
            hole = F.max_pool2d(hole, 3, 1, 1)
        assert torch.equal(valid, 1 - hole.flatten(1))  # nothing of a hole under a key
        assert (weights >= 0).all() and (weights.sum(1) <= 1 + 1e-5).all()
        assert (weights * (1 - valid[..., None, None]) == 0).all()
    assert all(valid[0].any() for valid in found.valid)
    assert found.valid[-1][2].any() == (validity == "bilinear")  # strokes all over it leave no cell without any


def test_features_in_the_hole_reach_no_other_place():
    layer = AttentionTransfer(4)
    layer.branches = torch.nn.ModuleList()  # they look around and would mix
    hole = torch.zeros(1, 1, 8, 8)
    hole[..., 2:5, 3:6] = 1
    inside = F.interpolate(hole, scale_factor=2) > 0
    x, deep = rand(1, 4, 16, 16), rand(1, 3, 8, 8, seed=1)
    other = torch.where(inside, torch.full_like(x, 1e3), x)
    assert torch.equal(layer(x, deep, hole)[0], layer(other, deep, hole)[0])


def test_one_pixel_of_hole_makes_its_keys_invalid_by_maxima_and_is_overlooked_by_samples(network):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 5, 7] = 1
    assert all(v.all() for v in network.outputs(torch.zeros(1, 3, 64, 64), mask).valid)
    network.validity = "max"
    valid = network.outputs(torch.zeros(1, 3, 64, 64), mask).valid
    assert [int((1 - v).sum()) for v in valid] == [9, 4, 4, 1]  # a pixel near the corner: 3 x 3, 2 x 2, 2 x 2, 1


def test_levels_are_filled_from_the_filled_map_below(network, image, mask):
    features = [f.detach().requires_grad_() for f in network.encode(image[:1], mask[:1])]
    _, weights, _ = network.fill(features, mask[:1])
    (slope,) = torch.autograd.grad(weights[0].square().sum(), features[-1])
    assert slope.abs().max() > 0  # the shallowest choice depends on the deepest features
    # it sees features[0] nowhere: only what lies below a level decides what it copies
    assert torch.autograd.grad(network.fill(features, mask[:1])[1][0].sum(), features[0], allow_unused=True)[0] is None


# --- the network ----------------------------------------------------------------------------------------------------


def test_what_lies_under_the_hole_is_never_read(network, image, mask):
    found, other = network.outputs(image, mask), network.outputs(torch.where(mask.bool(), 1e3, image), mask)
    for a, b in ((found.prediction, other.prediction), *zip(found.pyramid, other.pyramid)):
        assert torch.equal(a, b)
    changed = image + 0.1 * (1 - mask)
    assert not torch.equal(network(changed, mask), found.prediction)


def test_the_hole_is_painted_white(network, mask):
    assert torch.equal(
        network.encode(torch.zeros(3, 3, 64, 64), mask)[0],
        F.leaky_relu(network.encoder[0](torch.cat([mask.expand(-1, 3, -1, -1), mask], 1)), 0.2),
    )


def test_the_encoder_leaks_below_0_in_all_layers_but_the_last(network, image, mask):
    features = network.encode(image, mask)
    slopes = [0.2, 0.2, 0.2, 0.2, 0.0]
    for x, conv, y, slope in zip(features[:-1], network.encoder[1:], features[1:], slopes[1:]):
        assert torch.equal(y, F.leaky_relu(conv(x), slope))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_masks_are_defined(network, critic, image, value):
    mask = torch.full((3, 1, 64, 64), value)
    found = network.outputs(image, mask)
    assert found.prediction.isfinite().all() and found.prediction.abs().max() <= 1
    for parts in (generator_loss(found, critic, image, mask, None), critic_loss(critic, found, image, mask)):
        assert all(part.isfinite() for part in parts.values())
    if value:
        assert all((weights == 0).all() for weights in found.attention)


def test_each_sample_has_its_own_mask(network, image, mask):
    together = network(image, mask)
    one_by_one = torch.cat([network(x[None], m[None]) for x, m in zip(image, mask)])
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)


def test_pictures_need_not_be_square(network):
    x, m = rand(1, 3, 64, 96) * 2 - 1, torch.zeros(1, 1, 64, 96)
    m[..., 20:40, 50:90] = 1
    assert network(x, m).shape == (1, 3, 64, 96)
    turned = network.outputs(x.mT, m.mT)
    assert [tuple(p.shape[-2:]) for p in turned.pyramid] == [(48, 32), (24, 16), (12, 8), (6, 4)]


def test_options_and_seed_build_the_same_network_again():
    network = PENNet(width=4, levels=5)
    again = PENNet(**network.options)
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(network.encoder[0].weight, PENNet(**network.options, seed=1).encoder[0].weight)
    for key, value in Critic(4).state_dict().items():
        assert torch.equal(value, Critic(4).state_dict()[key])
    assert not torch.equal(Critic(4).score.weight, Critic(4, seed=1).score.weight)
    assert PENNet(32, levels=4).encoder[2].weight.std().item() == pytest.approx(0.02, rel=0.02)  # 73,728 draws


# --- losses ---------------------------------------------------------------------------------------------------------


def test_parts_are_the_formulas(network, critic, image, mask):
    found = network.outputs(image, mask)
    critic.eval().requires_grad_(False)
    parts = generator_loss(found, critic, image, mask, None, STAGES[0])
    assert set(parts) == set(WEIGHTS)
    wrong = (found.prediction - image).abs()
    at = mask.bool().expand_as(wrong)
    torch.testing.assert_close(parts["hole"], wrong[at].mean())
    torch.testing.assert_close(parts["valid"], wrong[~at].mean())
    z = torch.where(at, found.prediction, image)
    torch.testing.assert_close(parts["adversarial"], -critic(z).mean())
    real, fake = critic_loss(critic, found, image, mask).values()
    torch.testing.assert_close(real, torch.relu(1 - critic(image)).mean())
    torch.testing.assert_close(fake, torch.relu(1 + critic(z)).mean())
    assert set(CRITIC_WEIGHTS) == {"real", "fake"}


def test_pyramid_part_is_0_for_the_right_pictures_and_sums_over_levels(image):
    sizes = [(32, 32), (16, 16), (8, 8), (4, 4)]
    right = tuple(F.interpolate(image, size=s, mode="bilinear", align_corners=True) for s in sizes)
    assert pyramid_l1(right, image) == 0
    off = tuple(level + 0.1 * (i + 1) for i, level in enumerate(right))
    torch.testing.assert_close(pyramid_l1(off, image), torch.tensor(0.1 + 0.2 + 0.3 + 0.4), rtol=1e-5, atol=0)


def test_masked_l1_of_no_pixels_is_0(image):
    assert masked_l1(image, -image, torch.zeros(3, 1, 64, 64)) == 0


def perfect(image):
    sizes = [(32, 32), (16, 16), (8, 8), (4, 4)]
    pyramid = tuple(F.interpolate(image, size=s, mode="bilinear", align_corners=True) for s in sizes)
    return Outputs(image, pyramid, (), ())


def test_a_perfect_prediction_costs_only_what_the_critic_says(critic, image, mask):
    parts = generator_loss(perfect(image), critic, image, mask, None)
    assert parts["hole"] == parts["valid"] == parts["pyramid"] == 0 and parts["adversarial"] != 0


def total(parts, weights):
    return sum(weights[name] * part for name, part in parts.items())


def test_gradients_reach_what_is_trained_and_nothing_else(network, critic, image, mask):
    critic.requires_grad_(False)
    total(generator_loss(network.outputs(image, mask), critic, image, mask, None), WEIGHTS).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(p.grad is None for p in critic.parameters())
    network.zero_grad(set_to_none=True)
    critic.requires_grad_(True)
    total(critic_loss(critic, network.outputs(image, mask), image, mask), CRITIC_WEIGHTS).backward()
    assert all(p.grad is None for p in network.parameters())
    # while all scores are within the margin, what the two parts want of the last bias cancels exactly
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in critic.parameters() if p is not critic.score.bias)


def test_a_few_steps_of_both_lower_the_reconstruction(critic, image, mask):
    network = PENNet(width=4, levels=5)
    betas = SETTINGS["beta1"], SETTINGS["beta2"]
    of_network = torch.optim.Adam(network.parameters(), 20 * SETTINGS["lr"], betas)
    of_critic = torch.optim.Adam(critic.parameters(), SETTINGS["lr"], betas)
    history = []
    for _ in range(20):
        critic.requires_grad_(False)
        found = network.outputs(image, mask)
        parts = generator_loss(found, critic, image, mask, None)
        of_network.zero_grad()
        total(parts, WEIGHTS).backward()
        of_network.step()
        critic.requires_grad_(True)
        of_critic.zero_grad()
        total(critic_loss(critic, found, image, mask), CRITIC_WEIGHTS).backward()
        of_critic.step()
        history.append((parts["hole"] + parts["valid"]).item())
    assert history[-1] < 0.8 * history[0]


def test_half_precision_stays_finite(network, critic, image, mask):
    with torch.autocast("cpu", torch.bfloat16):
        found = network.outputs(image, mask)
        parts = generator_loss(found, critic, image, mask, None)
        of_critic = critic_loss(critic, found, image, mask)
    (total(parts, WEIGHTS) + total(of_critic, CRITIC_WEIGHTS)).backward()
    assert found.prediction.dtype == torch.float32 and found.prediction.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    torch.testing.assert_close(found.prediction, network(image, mask), rtol=0, atol=0.08)  # bfloat16 has 8 bits


# --- the critic -----------------------------------------------------------------------------------------------------


def test_critic_judges_patches_of_93_px():
    critic = Critic(width=2).eval().double()
    for p in critic.parameters():
        p.data = p.data.abs() + 0.01  # all weights positive: nothing cancels
    image = rand(1, 3, 256, 256, dtype=torch.float64).requires_grad_()
    out = critic(image)
    assert out.shape == (1, 1, 27, 27)
    (slope,) = torch.autograd.grad(out[0, 0, 13, 13], image)
    columns = torch.nonzero(slope.abs().sum((0, 1, 2)))
    assert (columns.max() - columns.min() + 1).item() == 93


def test_critics_spectral_norms_come_to_1():
    critic = Critic(width=4)
    with torch.no_grad():
        for _ in range(100):
            critic(torch.zeros(1, 3, 47, 47))  # each training pass is one power iteration
    critic.eval()
    for conv in critic.convs:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.01)
        assert conv.bias is None
