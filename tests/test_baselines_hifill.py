"""HiFill: light gates to the digit, attention computed once, residuals aggregated against plain loops, WGAN-GP."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from aotlib.baselines import hifill, hifill_layers
from aotlib.baselines.hifill import (
    CRITIC_WEIGHTS,
    SETTINGS,
    STAGES,
    WEIGHTS,
    Critic,
    HiFill,
    Outputs,
    aggregate,
    aggregate_residual,
    critic_loss,
    enlarge,
    generator_loss,
    gradient_penalty,
    residual,
)
from aotlib.baselines.hifill_layers import COARSE_DILATIONS, GATES, GatedConv
from aotlib.images import centred, read_image, to_float
from aotlib.masks import irregular_mask

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples" / "train"


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def image():
    files = sorted(SAMPLES.glob("*.jpg"))[:3]
    return torch.stack([to_float(centred(torch.from_numpy(read_image(f)).movedim(-1, 0), 64)) for f in files])


@pytest.fixture(scope="module")
def mask():
    square = torch.zeros(1, 64, 64)
    square[:, 36:60, 40:62] = 1
    return torch.stack([square] + [irregular_mask(64, ratio, seed=0, index=i) for i, ratio in enumerate((0.1, 0.4))])


@pytest.fixture
def network():
    """With weights that keep the size of features through gates of 1/2: the paper's give next to nothing but 0."""
    network, rng = HiFill(width=4, levels=2), torch.Generator().manual_seed(0)
    for conv in network.modules():
        if isinstance(conv, torch.nn.Conv2d):
            conv.weight.data.normal_(0, 2 / conv.weight[0].numel() ** 0.5, generator=rng)
            conv.bias.data.normal_(0, 0.3, generator=rng)
    return network


@pytest.fixture
def critic():
    return Critic(width=4, side=64)


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_parameter_counts():
    network = HiFill()
    assert n_parameters(network.coarse) == 811_489
    assert n_parameters(network.refine) == 1_911_302
    assert n_parameters(network) == 2_722_791
    assert n_parameters(Critic()) == 5_945_216 + 16_385 == 5_961_601


def test_multiply_adds_at_512():
    network = HiFill().to("meta")
    x, m = torch.zeros(1, 3, 512, 512, device="meta"), torch.zeros(1, 1, 512, 512, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        found = network.outputs(x, m)
    assert found.attention.shape == (1, 1024, 32, 32)
    by_kind = {str(kind): n / 2e9 for kind, n in counter.get_flop_counts()["Global"].items()}
    assert by_kind["aten.convolution"] == pytest.approx(20.6, abs=0.05)
    assert by_kind["aten.bmm"] == pytest.approx(15.3, abs=0.05)  # the attention's products


@pytest.mark.parametrize("n_in, n_out, k", [(4, 32, 5), (8, 3, 3)])
def test_weights_of_a_gate_are_those_of_the_table(n_in, n_out, k):
    expected = {
        "full": k * k * n_in * n_out + n_out,
        "ds": k * k * n_in + n_in + n_in * n_out + n_out,
        "pw": n_in * n_out + n_out,
        "sc": k * k * n_in + 1,
    }
    for gate in GATES:
        layer = GatedConv(n_in, n_out, k, 2, gate=gate)
        assert n_parameters(layer.gate) == expected[gate]
        assert n_parameters(layer.feature) == expected["full"]
        assert layer(torch.zeros(1, n_in, 16, 12)).shape == (1, n_out, 8, 6)
    with pytest.raises(ValueError, match="'wide'"):
        GatedConv(2, 2, gate="wide")


def test_every_size_is_that_of_the_table():
    network = HiFill(width=2)
    assert (network.multiple, network.smallest) == (16, 64)
    found = network.outputs(torch.zeros(1, 3, 128, 64), torch.zeros(1, 1, 128, 64))
    assert found.prediction.shape == found.coarse.shape == (1, 3, 128, 64)
    assert found.attention.shape == (1, 32, 8, 4) and found.valid.shape == (1, 32)
    heights = [32] * 2 + [16] * 21 + [32] * 2 + [64]  # half the side, halved by the first and the third layer
    assert [tuple(g.shape) for g in found.gates] == [(1, 1, h, h // 2) for h in heights]
    assert len(COARSE_DILATIONS) == 20 and COARSE_DILATIONS[3:17] == (1, 1, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8)
    assert [layer.feature.dilation[0] for layer in network.coarse.middle] == list(COARSE_DILATIONS)
    assert [layer.feature.dilation[0] for layer in network.refine.middle] == [1, 2, 4, 8, 16]
    assert [[layer.feature.dilation[0] for layer in block] for block in network.refine.transfer] == [[1, 2], [1, 2]]


def test_two_levels_give_64_positions_at_64_px(network):
    assert (network.multiple, network.smallest) == (8, 32)
    found = network.outputs(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    assert found.attention.shape == (1, 64, 8, 8) and len(network.refine.transfer) == 1


@pytest.mark.parametrize("size", [(64, 68), (24, 64)])
def test_bad_sizes_are_refused_in_words(network, size):
    with pytest.raises(ValueError, match="multiples of 2"):
        network(torch.zeros(1, 3, *size), torch.zeros(1, 1, *size))
    with pytest.raises(ValueError, match="expected image"):
        network(torch.zeros(1, 4, 64, 64), torch.zeros(1, 1, 64, 64))
    with pytest.raises(ValueError, match="levels at least 2"):
        HiFill(levels=1)


# --- gates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", GATES)
def test_gate_opens_and_closes_an_elu(gate):
    layer, x = GatedConv(3, 4, gate=gate), rand(2, 3, 8, 8) - 0.5
    last = layer.gate[-1] if gate == "ds" else layer.gate
    with torch.no_grad():
        last.bias.fill_(1e4)
        torch.testing.assert_close(layer(x), F.elu(F.conv2d(x, layer.feature.weight, layer.feature.bias, padding=1)))
        last.bias.fill_(-1e4)
        assert (layer(x) == 0).all()


def test_a_single_channel_gate_is_one_for_all():
    layer, x = GatedConv(3, 4, gate="sc"), rand(1, 3, 8, 8) - 0.5
    before = layer(x)
    with torch.no_grad():
        layer.gate.bias.add_(1)
    ratio = layer(x) / before
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=0)
    assert ratio.std() > 1e-3  # of places, not of channels


# --- attention ------------------------------------------------------------------------------------------------------


def test_shares_are_at_most_1_and_0_for_positions_near_the_hole(network, image, mask):
    found = network.outputs(image, mask)
    near = F.max_pool2d(F.max_pool2d(mask, 8), 3, 1, 1).flatten(1)
    assert torch.equal(found.valid, 1 - near) and 0 < near.mean() < 1
    assert (found.attention >= 0).all() and (found.attention.sum(1) <= 1 + 1e-5).all()
    assert (found.attention * near[..., None, None] == 0).all()


def test_scores_are_fused_between_every_second_position():
    refine = HiFill(width=2, levels=2).refine
    x, mask = (rand(1, 4, 16, 16) - 0.5) / 50, torch.zeros(1, 1, 64, 64)  # loud features would all choose themselves
    small = F.pad(x[0, :, ::2, ::2], (1,) * 4)
    patches = torch.stack([small[:, i : i + 3, j : j + 3].flatten() for i in range(8) for j in range(8)])
    scores = (patches / patches.norm(dim=1, keepdim=True)) @ patches.T  # keys by row

    def fused(table):
        table = F.pad(table, (1,) * 4)
        return table[1:-1, 1:-1] + table[:-2, :-2] + table[2:, 2:]

    by_column = torch.arange(64).view(8, 8).T.flatten()
    scores = fused(fused(scores)[by_column][:, by_column])[by_column][:, by_column]
    weights, valid = refine.attend(x, mask)
    assert valid.all() and weights.max() < 0.5
    torch.testing.assert_close(weights.flatten(2)[0], torch.softmax(10 * scores, 0), rtol=1e-4, atol=1e-6)


def test_one_attention_serves_three_sizes(monkeypatch):
    used = []
    true_paste = hifill_layers.paste

    def paste(weights, value, rate, **options):
        used.append((weights, tuple(value.shape[1:]), rate, options))
        return true_paste(weights, value, rate, **options)

    monkeypatch.setattr(hifill_layers, "paste", paste)
    found = HiFill(width=2).outputs(rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    plain = {"overlap_mean": False}
    assert [u[1:] for u in used] == [
        ((8, 8, 8), 2, {"patch": 3} | plain),
        ((4, 16, 16), 4, plain),
        ((2, 32, 32), 8, plain),
    ]
    assert all(u[0] is found.attention for u in used)


# --- the network ----------------------------------------------------------------------------------------------------


def test_what_lies_under_the_hole_is_never_read(network, image, mask):
    found, other = network.outputs(image, mask), network.outputs(torch.where(mask.bool(), 1e3, image), mask)
    assert torch.equal(found.prediction, other.prediction) and torch.equal(found.coarse, other.coarse)
    assert torch.equal(found.attention, other.attention)
    assert not torch.equal(network(image + 0.1 * (1 - mask), mask), found.prediction)


def test_the_refining_network_sees_the_known_pixels_and_the_coarse_hole(network, image, mask, monkeypatch):
    seen = []
    forward = network.refine.forward
    monkeypatch.setattr(network.refine, "forward", lambda x, m: seen.append(x) or forward(x, m))
    found = network.outputs(image, mask)
    assert found.coarse.std() > 0.1
    assert torch.equal(seen[0], torch.cat([torch.where(mask.bool(), found.coarse, image), mask], 1))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_masks_are_defined(network, critic, image, value):
    mask = torch.full((3, 1, 64, 64), value)
    found = network.outputs(image, mask)
    assert found.prediction.isfinite().all() and found.prediction.abs().max() <= 1
    for parts in (generator_loss(found, critic, image, mask, None), critic_loss(critic, found, image, mask)):
        assert all(part.isfinite() for part in parts.values())
    assert aggregate(image, mask, network, side=32).isfinite().all()
    if value:
        assert (found.attention == 0).all()


def test_each_sample_has_its_own_mask(network, image, mask):
    together = network(image, mask)
    one_by_one = torch.cat([network(x[None], m[None]) for x, m in zip(image, mask)])
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-6)
    large = aggregate(image, mask, network, side=32)
    one_by_one = torch.cat([aggregate(x[None], m[None], network, side=32) for x, m in zip(image, mask)])
    torch.testing.assert_close(large, one_by_one, rtol=1e-4, atol=1e-6)


def test_pictures_need_not_be_square(network):
    x, m = rand(1, 3, 32, 64) * 2 - 1, torch.zeros(1, 1, 32, 64)
    m[..., 8:20, 30:50] = 1
    assert network(x, m).shape == (1, 3, 32, 64) and network(x.mT, m.mT).shape == (1, 3, 64, 32)


def test_options_and_seed_build_the_same_networks_again(critic):
    for first, build in ((HiFill(width=4, levels=2), HiFill), (critic, Critic)):
        again, other = build(**first.options), build(**first.options, seed=1)
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())
        weights = [k for k in first.state_dict() if k.endswith("weight")]
        assert not any(torch.equal(first.state_dict()[k], other.state_dict()[k]) for k in weights)


def test_initial_weights_are_those_of_the_released_code_or_keep_the_coarse_network_alive(image, mask):
    for module in (HiFill().coarse.middle[0].feature, Critic().convs[3]):  # 36,864 and 1,638,400 draws
        drawn = module.weight
        assert drawn.abs().max() <= 0.1 and drawn.std().item() == pytest.approx(0.05 * 0.8796, rel=0.02)  # cut at 2 sd
        assert (module.bias == 0).all()
    assert HiFill(8).coarse.middle[0].feature.weight.std().item() == pytest.approx(0.1 * 0.8796, rel=0.05)
    assert Critic().score.weight.abs().max().item() == pytest.approx((6 / (16_384 + 64)) ** 0.5, rel=0.01)
    alive = HiFill(init="he")
    assert alive.coarse.middle[0].feature.weight.std().item() == pytest.approx(2 / 576**0.5, rel=0.02)
    assert alive.refine.middle[0].feature.weight.std().item() == pytest.approx(0.05 * 0.8796, rel=0.02)
    faint, alive = (HiFill(8, 2, side=64, init=init).outputs(image, mask).coarse.std() for init in ("released", "he"))
    assert faint < 1e-8 and 1e-4 < alive < 1
    with pytest.raises(ValueError, match="init"):
        HiFill(4, init="normal")


def test_networks_for_small_pictures_have_no_dilation_that_sees_zeros_only():
    network = HiFill(2, **hifill.options_at(64))
    assert network.options["side"] == 64 and network.options["levels"] == 2
    assert [layer.feature.dilation[0] for layer in network.coarse.middle][3:17] == [1] * 3 + [2] * 5 + [4] * 6
    assert [layer.feature.dilation[0] for layer in network.refine.middle] == [1, 2, 4, 8, 8]
    full = HiFill(2, **hifill.options_at(512))
    assert [layer.feature.dilation[0] for layer in full.coarse.middle] == list(COARSE_DILATIONS)
    assert n_parameters(HiFill(2, 2)) == n_parameters(network)
    x, m = rand(1, 3, 128, 96) * 2 - 1, irregular_mask((128, 96), 0.2, seed=0, index=0)[None]
    assert torch.equal(aggregate(x, m, network), aggregate(x, m, network, side=64))


def test_depthwise_gates_of_the_paper_can_be_had(image, mask):
    network = HiFill(width=4, levels=2, gates=("sc", "ds"))
    assert network.options["gates"] == ["sc", "ds"] and network(image, mask).isfinite().all()
    assert n_parameters(network) > n_parameters(HiFill(width=4, levels=2))


# --- residual aggregation -------------------------------------------------------------------------------------------


def hole_in_the_middle(side):
    m = torch.zeros(1, 1, side, side)
    m[..., side // 3 : side // 2, side // 3 : side // 2] = 1
    return m


@pytest.mark.parametrize("times", [1, 2, 4])
def test_residual_is_0_in_the_hole_and_for_what_has_no_detail(times):
    mask = hole_in_the_middle(64)
    flat = torch.full((1, 3, 64, 64), 0.3)
    torch.testing.assert_close(residual(flat, mask, times), torch.zeros_like(flat), rtol=0, atol=1e-6)
    detail = residual(rand(1, 3, 64, 64), mask, times)
    assert (detail * mask == 0).all()
    assert (detail == 0).all() if times == 1 else detail.abs().mean() > 0.05


def test_residual_is_what_enlarging_loses_away_from_holes():
    x, none = rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    low = x.unflatten(3, (8, 4)).unflatten(2, (8, 4)).mean((3, 5))
    torch.testing.assert_close(residual(x, none, 4), x - enlarge(low, 4))
    near = F.max_pool2d(F.max_pool2d(hole_in_the_middle(32), 4), 3, 1, 1)  # blocks with a hole, and their neighbours
    away = F.interpolate(near, scale_factor=4) == 0
    both = residual(x, hole_in_the_middle(32), 4), residual(x, none, 4)
    torch.testing.assert_close(*(torch.where(away, r, 0) for r in both))


def test_residuals_move_as_plain_loops_say():
    h, w, p = 4, 3, 6
    weights = torch.softmax(rand(2, h * w, h, w) * 5, 1)
    detail = rand(2, 3, p * h, p * w, seed=1) - 0.5
    expected = torch.zeros_like(detail)
    for i in range(h * w):
        to = slice(i // w * p, i // w * p + p), slice(i % w * p, i % w * p + p)
        for j in range(h * w):
            source = detail[:, :, j // w * p : j // w * p + p, j % w * p : j % w * p + p]
            expected[:, :, to[0], to[1]] += weights[:, j, i // w, i % w].view(2, 1, 1, 1) * source
    moved = aggregate_residual(weights, detail)
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-6)
    assert moved.abs().max() <= detail.abs().max()
    torch.testing.assert_close(aggregate_residual(weights, 3 * detail), 3 * moved)
    identity = torch.eye(h * w).view(1, h * w, h, w).repeat(2, 1, 1, 1)
    assert torch.equal(aggregate_residual(identity, detail), detail)


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (90, 131), (40, 50)])
def test_known_pixels_are_the_original_to_the_bit_and_the_hole_is_never_read(network, size):
    x, m = rand(1, 3, *size) * 2 - 1, irregular_mask(size, 0.2, seed=0, index=0)[None]
    picture = aggregate(x, m, network, side=64)
    assert picture.shape == x.shape and picture.abs().max() <= 1
    known = ~m.bool().expand_as(x)
    assert torch.equal(picture[known], x[known])
    assert torch.equal(aggregate(torch.where(m.bool(), 1e3, x), m, network, side=64), picture)


def test_at_the_networks_own_size_nothing_is_added(network, image, mask):
    plain = torch.where(mask.bool(), network(image, mask), image)
    torch.testing.assert_close(aggregate(image, mask, network, side=64), plain, rtol=0, atol=1e-6)


def test_detail_of_a_repeated_texture_comes_back_exactly():
    """A network that predicts the right mean and points to a known patch: the picture is the original again."""
    side, times, multiple = 32, 4, 8
    tile = rand(1, 3, multiple * times, multiple * times) - 0.5
    tile -= F.interpolate(F.avg_pool2d(tile, times), scale_factor=times) - 0.1  # each block has the mean 0.1
    image = tile.repeat(1, 1, 4, 4)
    mask = torch.zeros(1, 1, side * times, side * times)
    mask[..., 10:60, 70:120] = 1
    weights = torch.zeros(1, 16, 4, 4)
    weights[:, 12] = 1  # the lower left patch, whose neighbours are known, too
    seen = []

    def outputs(low, low_mask):
        seen.append((low, low_mask))
        return SimpleNamespace(prediction=torch.full_like(low, 0.1), attention=weights)

    picture = aggregate(image, mask, SimpleNamespace(outputs=outputs), side=side)
    torch.testing.assert_close(picture, image, rtol=0, atol=1e-5)
    low, low_mask = seen[0]
    assert torch.equal(low_mask, F.max_pool2d(mask, times))  # a block with any hole pixel is hole
    torch.testing.assert_close(low * (1 - low_mask), 0.1 * (1 - low_mask).expand_as(low), rtol=0, atol=1e-6)


def test_resizing_brings_nothing_of_the_hole_into_known_blocks(network):
    size, seen = (90, 131), []
    x, m = torch.full((1, 3, *size), 0.5), irregular_mask((90, 131), 0.2, seed=0, index=0)[None]

    def outputs(low, low_mask):
        seen.append((low, low_mask))
        return network.outputs(low, low_mask)

    aggregate(x, m, SimpleNamespace(outputs=outputs), side=64)
    low, low_mask = seen[0]
    known = ~low_mask.bool().expand_as(low)
    assert 0.1 < known.float().mean() < 0.9
    torch.testing.assert_close(low[known], torch.full_like(low[known], 0.5))


@pytest.mark.parametrize("size, times", [((64, 64), 1), ((65, 20), 2), ((20, 129), 3), ((30, 30), 1), ((128, 128), 2)])
def test_the_working_square_loses_no_row_and_no_column(network, monkeypatch, size, times):
    seen = []
    monkeypatch.setattr(hifill, "residual", lambda *options: seen.append(options) or residual(*options))
    x, m = rand(1, 3, *size), torch.zeros(1, 1, *size)
    assert torch.equal(aggregate(x, m, network, side=64), x)
    assert seen[0][0].shape == (1, 3, 64 * times, 64 * times) and seen[0][2] == times


def test_a_side_that_the_network_does_not_take_is_refused(network):
    with pytest.raises(ValueError, match="multiples of"):
        aggregate(rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64), network, side=60)


# --- losses ---------------------------------------------------------------------------------------------------------


def test_parts_make_the_released_sum(network, critic, image, mask):
    found = network.outputs(image, mask)
    parts = generator_loss(found, critic, image, mask, None, STAGES[0])
    assert set(parts) == set(WEIGHTS)
    wrong = [(image - x).abs() for x in (found.coarse, found.prediction)]
    inside = 1.2 * (wrong[0] * mask).mean() + (wrong[1] * mask).mean()
    outside = (1.2 * (wrong[0] * (1 - mask)).mean() + (wrong[1] * (1 - mask)).mean()) / (1 - mask).mean()
    judged = -critic(torch.where(mask.bool(), found.prediction, image)).mean()
    torch.testing.assert_close(total(parts, WEIGHTS), 0.001 * judged + 1.2 * inside + 1.2 * outside)


def test_a_perfect_prediction_costs_only_what_the_critic_says(critic, image, mask):
    parts = generator_loss(Outputs(image, image, None, None, ()), critic, image, mask, None)
    assert {name for name, part in parts.items() if part != 0} == {"adversarial"}


class Linear(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, image):
        return (image * self.weight).sum((1, 2, 3))


def test_critic_loss_of_a_linear_critic_is_known(image, mask):
    weight = rand(3, 64, 64) / 20
    critic, outputs = Linear(weight), Outputs(-image, image, None, None, ())
    parts = critic_loss(critic, outputs, image, mask, rng=torch.Generator().manual_seed(0))
    fake = torch.where(mask.bool(), -image, image)
    torch.testing.assert_close(parts["distance"], (weight * (fake - image)).sum((1, 2, 3)).mean())
    torch.testing.assert_close(parts["penalty"], (weight.norm() - 1) ** 2)  # of the whole picture, not of the hole
    parts["penalty"].backward()
    torch.testing.assert_close(critic.weight.grad, 2 * (weight.norm() - 1) * weight / weight.norm())


def test_penalty_is_taken_between_the_pictures():
    class Square(torch.nn.Module):
        def forward(self, image):
            return image.square().sum((1, 2, 3)) / 2

    zero, one = torch.zeros(4, 3, 2, 2), torch.ones(4, 3, 2, 2)
    alpha = torch.rand(4, 1, 1, 1, generator=torch.Generator().manual_seed(5)).flatten()  # its slope is the picture
    expected = (alpha * 12**0.5 - 1).square().mean()
    found = gradient_penalty(Square(), zero, one, rng=torch.Generator().manual_seed(5))
    torch.testing.assert_close(found, expected)


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
    # one number added to every score changes no distance between scores
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in critic.parameters() if p is not critic.score.bias)


def test_a_few_steps_of_both_lower_the_reconstruction(critic, image, mask):
    network = HiFill(width=4, levels=2)
    betas = SETTINGS["beta1"], SETTINGS["beta2"]
    of_network = torch.optim.Adam(network.parameters(), 20 * SETTINGS["lr"], betas)
    of_critic = torch.optim.Adam(critic.parameters(), SETTINGS["lr"], betas)
    history, rng = [], torch.Generator().manual_seed(0)
    for _ in range(16):
        critic.requires_grad_(False)
        found = network.outputs(image, mask)
        parts = generator_loss(found, critic, image, mask, None)
        of_network.zero_grad()
        total(parts, WEIGHTS).backward()
        of_network.step()
        critic.requires_grad_(True)
        of_critic.zero_grad()
        total(critic_loss(critic, found, image, mask, rng=rng), CRITIC_WEIGHTS).backward()
        of_critic.step()
        history.append((parts["hole"] + parts["valid"]).item())
    assert history[-1] < 0.8 * history[0]


def test_critic_steps_widen_the_distance(critic, image, mask):
    outputs, rng = Outputs(-image, image, None, None, ()), torch.Generator().manual_seed(0)
    optimiser, history = torch.optim.Adam(critic.parameters(), 1e-3, (0.5, 0.9)), []
    for _ in range(10):
        parts = critic_loss(critic, outputs, image, mask, rng=rng)
        optimiser.zero_grad()
        total(parts, CRITIC_WEIGHTS).backward()
        optimiser.step()
        history.append(parts["distance"].item())
    assert history[-1] < history[0] - 0.05


def test_half_precision_stays_finite(network, critic, image, mask):
    with torch.autocast("cpu", torch.bfloat16):
        found = network.outputs(image, mask)
        parts = generator_loss(found, critic, image, mask, None)
        of_critic = critic_loss(critic, found, image, mask)
        assert aggregate(image, mask, network, side=32).dtype == torch.float32
    (total(parts, WEIGHTS) + total(of_critic, CRITIC_WEIGHTS)).backward()
    assert found.prediction.dtype == torch.float32 and found.prediction.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    torch.testing.assert_close(found.prediction, network(image, mask), rtol=0, atol=0.08)  # bfloat16 has 8 bits


def test_penalty_is_taken_in_full_precision(critic, image):
    def penalty():
        return gradient_penalty(critic, image, -image, rng=torch.Generator().manual_seed(0))

    with torch.autocast("cpu", torch.bfloat16):
        halved = penalty()
    torch.testing.assert_close(halved, penalty())


# --- the critic -----------------------------------------------------------------------------------------------------


def test_critic_ends_in_one_weighted_sum(image):
    critic = Critic(width=4, side=128)
    x = F.interpolate(image, scale_factor=2)
    features = x
    for conv in critic.convs:
        assert (conv.kernel_size, conv.stride) == ((5, 5), (2, 2))
        features = F.leaky_relu(conv(features), 0.2)
    expected = features.flatten(1) @ critic.score.weight.flatten() + critic.score.bias
    assert features.shape == (3, 16, 2, 2)
    torch.testing.assert_close(critic(x), expected)
    assert [conv.out_channels for conv in critic.convs] == [4, 8, 16, 16, 16, 16]


@pytest.mark.parametrize("size", [(64, 64), (96, 32), (256, 256)])
def test_critic_takes_other_sizes(size):
    assert Critic(width=2)(torch.zeros(2, 3, *size)).shape == (2,)
