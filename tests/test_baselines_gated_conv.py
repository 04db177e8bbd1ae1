"""DeepFill v2: gates, counts to the digit, the critic of patches, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from aotlib.baselines import gated_conv
from aotlib.baselines.deepfill_layers import same
from aotlib.baselines.gated_conv import Critic, GatedConv, GatedConv2d, critic_loss, generator_loss
from aotlib.images import centred, find_images, read_image, to_float
from aotlib.masks import composite

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples" / "train"


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def lively(network, gain=2.7):
    """`network` with larger weights: gates halve all features, and fresh weights predict next to nothing but grey."""
    for p in network.parameters():
        p.mul_(gain)
    return network


@pytest.fixture
def batch():
    mask = torch.zeros(3, 1, 64, 64)
    mask[0, :, 20:44, 16:50] = 1
    mask[1, :, :20, 40:] = 1  # touches the frame
    mask[2, :, 30:33, 4:60] = 1  # a stroke
    return rand(3, 3, 64, 64), mask


@pytest.fixture(scope="module")
def photographs():
    pictures = [torch.from_numpy(read_image(path)).permute(2, 0, 1) for path in find_images(SAMPLES)[:4]]
    return torch.stack([to_float(centred(picture, 64)) for picture in pictures])


def test_parameter_counts_are_those_of_the_layer_table():
    """Layers as (features in, convolution width before the split, kernel); the last one of a network is not gated."""

    def count(layers):
        return sum((k * k * a + 1) * b for a, b, k in layers)

    k = 3
    tail = [(96, 192, k), (96, 96, k), (48, 96, k), (48, 48, k), (24, 24, k), (12, 3, k)]
    coarse = [(5, 48, 5), (24, 96, k), (48, 96, k), (48, 192, k)] + 7 * [(96, 192, k)] + tail
    head = [(3, 48, 5), (24, 48, k), (24, 96, k)]
    surroundings = [*head, (48, 96, k), (48, 192, k)] + 5 * [(96, 192, k)]
    attending = [*head, (48, 192, k)] + 4 * [(96, 192, k)]
    refine = [*surroundings, *attending, (192, 192, k), *tail]
    with torch.device("meta"):
        network = GatedConv()
    assert n_parameters(network.coarse) == count(coarse) == 1_631_151
    assert n_parameters(network.refine) == count(refine) == 2_421_327
    assert n_parameters(network) == 4_052_478
    assert n_parameters(GatedConv(16)) == 454_574
    assert n_parameters(Critic()) == count([(4, 64, 5), (64, 128, 5), (128, 256, 5)] + 3 * [(256, 256, 5)]) == 5_946_816


def test_multiply_adds_are_those_of_the_fact_sheet():
    with torch.device("meta"), torch.no_grad():
        for size, convolutions, attending in ((256, 25.2, 2.5), (512, 100.8, 40.3)):
            with FlopCounterMode(display=False) as counter:
                GatedConv()(torch.zeros(1, 3, size, size), torch.zeros(1, 1, size, size))
            counts = {str(name): flops / 2e9 for name, flops in counter.get_flop_counts()["Global"].items()}
            assert counts["aten.convolution"] == pytest.approx(convolutions, abs=0.05)
            assert counts["aten.bmm"] == pytest.approx(attending, abs=0.05)


def test_a_gate_lets_through_all_or_nothing_at_its_ends():
    layer, x = GatedConv2d(4, 12), rand(2, 4, 10, 12)
    with torch.no_grad():
        layer.conv.weight.normal_(generator=torch.Generator().manual_seed(0))
        plain = F.elu(F.conv2d(x, layer.conv.weight[:6], layer.conv.bias[:6], padding=1))
        assert ((layer(x).abs() <= plain.abs()) & (layer(x).abs() > 0)).all()
        for bias, expected in ((1e4, plain), (-1e4, torch.zeros_like(plain))):
            layer.conv.bias[6:] = bias
            torch.testing.assert_close(layer(x), expected)


def test_a_gated_layer_is_its_formula_with_any_activation():
    for act in (F.elu, F.relu):
        layer, x = GatedConv2d(3, 8, 5, stride=2, act=act), rand(1, 3, 8, 16)
        f, g = F.conv2d(same(x, 5, 2), layer.conv.weight, layer.conv.bias, stride=2).split(4, 1)
        torch.testing.assert_close(layer(x), act(f) / (1 + torch.exp(-g)))


@pytest.mark.parametrize("width", [1, 3, 0])
def test_widths_that_cannot_be_halved_are_refused(width):
    with pytest.raises(ValueError, match="even"):
        GatedConv2d(4, width)
    with pytest.raises(ValueError, match="multiple of 4"):
        GatedConv(width + 1 if width == 1 else width)


@pytest.mark.parametrize("shape", [(64, 64), (64, 96)])
def test_outputs_have_the_shapes_and_ranges_that_they_promise(shape):
    image, mask = rand(2, 3, *shape), torch.zeros(2, 1, *shape)
    mask[..., 16:40, 24:56] = 1
    network = lively(GatedConv(8))
    out = network.outputs(image, mask)
    n_keys = shape[0] * shape[1] // 64
    assert out.prediction.shape == out.coarse.shape == image.shape
    assert out.prediction.abs().max() < 1 and out.coarse.abs().max() < 1
    assert out.attention.shape == (2, n_keys, shape[0] // 8, shape[1] // 8) and out.valid.shape == (2, n_keys)
    assert (out.attention[out.valid == 0] == 0).all() and (out.attention.sum(1) <= 1 + 1e-5).all()
    scales = [1, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2, 1, 1]  # of the 16 gated layers
    assert [(shape[0] // gate.shape[2], shape[1] // gate.shape[3]) for gate in out.gates] == [(s, s) for s in scales]
    assert all(gate.shape[:2] == (2, 1) and 0 < gate.min() <= gate.max() < 1 for gate in out.gates)
    assert not any(gate.requires_grad for gate in out.gates)
    torch.testing.assert_close(network(image, mask), out.prediction, rtol=0, atol=0)
    x = torch.cat([image * (1 - mask), torch.ones_like(mask), mask], 1)
    torch.testing.assert_close(torch.tanh(network.coarse(x)), out.coarse)


def test_what_lies_under_the_hole_is_never_read(batch):
    image, mask = batch
    other = torch.where(mask.bool(), torch.full_like(image, 1e3), image)
    network = lively(GatedConv(8))
    for a, b in zip(network.outputs(image, mask)[:4], network.outputs(other, mask)[:4]):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_mask_is_used_but_the_second_network_never_sees_it(batch):
    image, mask = batch
    network = lively(GatedConv(8))
    grey = image * (1 - mask)
    other = network.outputs(grey, torch.zeros_like(mask))
    assert (network.outputs(grey, mask).coarse - other.coarse).abs().max() > 0.01
    assert (network(grey, mask) - other.prediction).abs().max() > 0.01
    first = [network.refine.surroundings[0], network.refine.before[0]]
    assert [layer.conv.in_channels for layer in first] == [3, 3]
    out = network.outputs(image, mask)
    again, _, _ = network.refine(composite(out.coarse, image, mask), F.max_pool2d(mask, 8))
    torch.testing.assert_close(torch.tanh(again), out.prediction, rtol=1e-4, atol=1e-5)


def test_samples_with_masks_of_their_own_do_not_touch_each_other(batch):
    image, mask = batch
    network = lively(GatedConv(8))
    together = network.outputs(image, mask)
    for b in range(3):
        for a, one in zip(together[:4], network.outputs(image[b : b + 1], mask[b : b + 1])[:4]):
            torch.testing.assert_close(a[b : b + 1], one, rtol=1e-3, atol=1e-4)


def test_empty_and_full_masks_are_defined(batch):
    image, _ = batch
    network, critic = lively(GatedConv(8)), Critic(2, size=64)
    for mask, n_valid in ((torch.zeros(3, 1, 64, 64), 64), (torch.ones(3, 1, 64, 64), 0)):
        out = network.outputs(image, mask)
        assert (out.valid.sum(1) == n_valid).all()
        parts = generator_loss(out, critic, image, mask, None) | critic_loss(critic, out, image, mask)
        assert all(part.isfinite() for part in (*parts.values(), out.prediction.sum()))
        if n_valid:
            assert torch.equal(composite(out.prediction, image, mask), image)
        else:
            assert (out.attention == 0).all()


def test_thin_strokes_and_options(batch):
    image, mask = batch
    thin = torch.zeros_like(mask)
    thin[..., 33:36, :] = 1
    assert lively(GatedConv(8)).outputs(image, thin).valid.sum() == 3 * 8 * 5
    network = lively(GatedConv(8, dilations=[2, 4], fuse=False, validity="nearest"))
    assert network.outputs(image, thin).valid.all()
    again = GatedConv(**network.options)
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(again(image, mask), network(image, mask), rtol=0, atol=0)
    with pytest.raises(ValueError, match="multiples of 8"):
        network(image[..., :60], mask[..., :60])


def test_seed_decides_the_weights():
    for make in (lambda seed: GatedConv(8, seed=seed), lambda seed: Critic(2, seed=seed, size=64)):
        a, b, c = (make(seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert not all(torch.equal(a[name], c[name]) for name in a if not name.endswith("bias"))


def test_features_fade_from_the_released_initial_weights_and_keep_their_size_from_the_others(batch):
    small = {init: GatedConv(8, init=init).outputs(*batch).coarse.std().item() for init in gated_conv.INITS}
    assert small["glorot"] < 1e-6 and 0.003 < small["he"] < 0.3
    deep = GatedConv(48, init="he").coarse[6]  # 96 features in, 192 channels
    assert deep.conv.weight.std().item() == pytest.approx(2 / (9 * 96) ** 0.5, rel=0.01) and not deep.conv.bias.any()
    assert [gated_conv.options_at(size)["init"] for size in (64, 256, 512)] == ["he", "glorot", "glorot"]
    again = GatedConv(**GatedConv(8, **gated_conv.options_at(64)).options)
    assert again.options["init"] == "he" and again.options["dilations"] == [2, 4, 8]
    with pytest.raises(ValueError, match="init must be one of"):
        GatedConv(8, init="normal")


def test_the_critic_scores_many_places_whatever_its_size(batch):
    image, mask = batch
    for size, depth, side in ((64, 4, 4), (128, 5, 4), (256, 6, 4), (512, 6, 8)):
        critic = Critic(2, size=size)
        assert len(critic.convs) == depth
        assert critic(rand(1, 3, size, size), torch.zeros(1, 1, size, size)).shape == (1, 8, side, side)
    critic = Critic(2, size=64).eval()
    assert (critic(image, mask) - critic(image, 1 - mask)).abs().max() > 1e-3


def test_layers_of_the_critic_have_norm_one():
    critic, image, mask = Critic(4, size=64), rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    with torch.no_grad():
        for conv in critic.convs:
            conv.parametrizations.weight.original.mul_(7)
        for _ in range(60):
            critic(image, mask)
    critic.eval()
    for conv in critic.convs:
        assert torch.linalg.svdvals(conv.weight.flatten(1))[0].item() == pytest.approx(1, abs=5e-3)


def test_losses_are_their_formulas(batch):
    image, mask = batch
    network, critic = lively(GatedConv(8)), Critic(2, size=64).eval()
    out = network.outputs(image, mask)
    with torch.no_grad():
        real, fake = critic(image, mask).numpy(), critic(composite(out.prediction, image, mask), mask).numpy()
        g, d = generator_loss(out, critic, image, mask, None), critic_loss(critic, out, image, mask)
        coarse, fine = out.coarse.numpy(), out.prediction.numpy()
    assert g["coarse"].item() == pytest.approx(np.abs(coarse - image.numpy()).mean(), rel=1e-5)
    assert g["fine"].item() == pytest.approx(np.abs(fine - image.numpy()).mean(), rel=1e-5)
    assert g["adversarial"].item() == pytest.approx(-fake.mean(), rel=1e-4)
    assert d["real"].item() == pytest.approx(np.maximum(0, 1 - real).mean(), rel=1e-4)
    assert d["fake"].item() == pytest.approx(np.maximum(0, 1 + fake).mean(), rel=1e-4)


def test_gradients_reach_what_is_trained_and_nothing_else(batch):
    image, mask = batch
    network, critic = GatedConv(8), Critic(4, size=64)
    critic.requires_grad_(False)
    parts = generator_loss(network.outputs(image, mask), critic, image, mask, None)
    assert parts.keys() == gated_conv.WEIGHTS.keys()
    sum(weight * parts[name] for name, weight in gated_conv.WEIGHTS.items()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    assert all(p.grad is None for p in critic.parameters())

    network.zero_grad()
    critic.requires_grad_(True)
    parts = critic_loss(critic, network.outputs(image, mask), image, mask)
    assert parts.keys() == gated_conv.CRITIC_WEIGHTS.keys()
    sum(weight * parts[name] for name, weight in gated_conv.CRITIC_WEIGHTS.items()).backward()
    assert all(p.grad is None for p in network.parameters())
    assert all(p.grad.isfinite().all() and p.grad.any() for p in critic.parameters())


def test_a_few_steps_lower_the_reconstruction(photographs):
    mask = torch.zeros(4, 1, 64, 64)
    mask[:2, :, 16:40, 20:48], mask[2:, :, 30:50, 5:40] = 1, 1
    network, critic = GatedConv(16, **gated_conv.options_at(64)), Critic(4, size=64)
    adam_g = torch.optim.Adam(network.parameters(), 1e-3, (0.5, 0.999))
    adam_c = torch.optim.Adam(critic.parameters(), 1e-3, (0.5, 0.999))
    history = []
    for _ in range(9):
        with torch.no_grad():
            out = network.outputs(photographs, mask)
        parts = critic_loss(critic, out, photographs, mask)
        adam_c.zero_grad()
        sum(weight * parts[name] for name, weight in gated_conv.CRITIC_WEIGHTS.items()).backward()
        adam_c.step()
        critic.requires_grad_(False)
        parts = generator_loss(network.outputs(photographs, mask), critic, photographs, mask, None)
        adam_g.zero_grad()
        sum(weight * parts[name] for name, weight in gated_conv.WEIGHTS.items()).backward()
        adam_g.step()
        critic.requires_grad_(True)
        history.append({name: part.item() for name, part in parts.items()})
    for name in ("coarse", "fine"):
        assert history[-1][name] < 0.8 * history[0][name], name


def test_half_precision_is_finite(batch):
    image, mask = batch
    network, critic = GatedConv(8), Critic(4, size=64)
    with torch.autocast("cpu", torch.bfloat16):
        out = network.outputs(image, mask)
        parts = generator_loss(out, critic, image, mask, None) | critic_loss(critic, out, image, mask)
    assert out.prediction.dtype == out.attention.dtype == torch.float32
    assert all(part.isfinite() and part.dtype == torch.float32 for part in parts.values())
