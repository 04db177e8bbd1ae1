"""Context Encoder: exact sizes, the geometry of the centre square, holes that are never read, and losses that learn."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from aotlib.baselines import context_encoder as method
from aotlib.baselines.context_encoder import (
    ContextEncoder,
    Critic,
    centre_box,
    centre_mask,
    critic_loss,
    generator_loss,
)
from aotlib.images import find_images, read_image
from aotlib.masks import composite, irregular_mask

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples" / "train"
REGIONS = ("random", "centre")


def n_parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.fixture(scope="module")
def photographs():
    images = [torch.from_numpy(read_image(path)).permute(2, 0, 1)[None] for path in find_images(SAMPLES)[:4]]
    return torch.cat([F.interpolate(image / 127.5 - 1, (64, 64), mode="area") for image in images])


def masks(region, n=4, size=64):
    if region == "centre":
        return centre_mask(size).repeat(n, 1, 1, 1)
    return torch.stack([irregular_mask(size, 0.25, seed=0, index=index) for index in range(n)])


def small(region="random", **options):
    return ContextEncoder(8, 64, region=region, **options), Critic(8, 64, region)


def warmed(network, images, mask):
    """Ready to predict: normalised by the statistics of `images`, which an untrained network has not seen."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(images, mask)
    return network.eval()


def test_sizes_are_those_of_the_released_networks():
    """Layer by layer from the table: weights, biases, and two numbers a channel of batch normalisation."""
    encoder = 16 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 1024 + 2 * 960
    decoder = 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 451 + 2 * 448
    vector = 2 * 16 * 512 * 4000 + 4512 + 2 * 4512
    extra = 16 * 64 * 64 + 64 + 2 * 64
    with torch.device("meta"):
        centre, random = ContextEncoder(region="centre"), ContextEncoder()
        assert n_parameters(centre) == encoder + vector + decoder == 71_130_531
        assert n_parameters(random) == n_parameters(centre) + extra == 71_196_259
        assert n_parameters(ContextEncoder(region="centre", bottleneck=100)) == 7_221_231
        assert [n_parameters(Critic(region=region)) for region in REGIONS] == [2_832_257, 2_766_529]
        image, mask = torch.zeros(2, 3, 128, 128), torch.zeros(2, 1, 128, 128)
        with FlopCounterMode(display=False) as counter:
            random.outputs(image, mask)
        assert counter.get_total_flops() / 4e9 == pytest.approx(0.426, abs=5e-4)
        with FlopCounterMode(display=False) as counter:
            centre.paint(image)
        assert counter.get_total_flops() / 4e9 == pytest.approx(0.350, abs=5e-4)


def test_width_and_size_scale_every_layer():
    convs = [m for m in ContextEncoder(16, 64).modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert [m.weight.shape[:2] for m in convs[:5]] == [(16, 3), (32, 16), (64, 32), (128, 64), (250, 128)]
    assert [m.weight.shape[:2] for m in convs[5:]] == [(250, 128), (128, 64), (64, 32), (32, 16), (16, 3)]
    for size in (64, 80, 96, 112, 128):
        for region in REGIONS:
            network = ContextEncoder(4, size, region=region, channelwise=True)
            out = network.outputs(torch.zeros(1, 3, size, size), torch.zeros(1, 1, size, size))
            assert out.patch.shape[-1] == (size // 2 if region == "centre" else size)
            assert Critic(4, size, region)(out.patch).shape == (1, 1)
    sides = [method.options_at(size)["size"] for size in (20, 64, 100, 127, 128, 512)]
    assert sides == [64, 64, 96, 112, 128, 128] and all(ContextEncoder(4, size) for size in sides)
    for size in (0, 32, 100, 200):
        with pytest.raises(ValueError, match="size must be"):
            ContextEncoder(4, size)


def test_centre_geometry_at_128():
    rows, columns = centre_box(128)
    assert rows == columns == slice(32, 96)
    hole = centre_mask(128, 4)[0, 0]
    assert hole[36:92, 36:92].all() and hole.sum() == 56**2
    weights = method.band_weights(128, 4)[0, 0]
    assert weights.shape == (64, 64) and weights.sum() == 56**2 + 10 * (64**2 - 56**2)
    assert (weights[4:60, 4:60] == 1).all() and (weights[:4] == 10).all() and (weights[:, 60:] == 10).all()
    assert centre_mask(128, 0).sum() == 64**2 and method.band_weights(128, 0).unique().tolist() == [1]
    with pytest.raises(ValueError, match="0 to 31"):
        centre_mask(128, 32)


def test_centre_variant_predicts_half_the_side_and_pastes_the_inner_square(photographs):
    mask = masks("centre")
    network = warmed(small("centre")[0], photographs, mask)
    out = network.outputs(photographs, mask)
    assert out.patch.shape == (4, 3, 32, 32)
    torch.testing.assert_close(out.prediction[..., 16:48, 16:48], out.patch, rtol=0, atol=0)
    pasted = composite(out.prediction, photographs, mask)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[20:44, 20:44] = True
    torch.testing.assert_close(pasted[..., inside], out.prediction[..., inside], rtol=0, atol=0)
    torch.testing.assert_close(pasted[..., ~inside], photographs[..., ~inside], rtol=0, atol=0)
    fill = torch.tensor([2 * level / 255 - 1 for level in (117, 104, 123)])
    torch.testing.assert_close(out.seen[0, :, inside], fill.view(3, 1).expand(3, 24 * 24))
    torch.testing.assert_close(out.seen[..., ~inside], photographs[..., ~inside], rtol=0, atol=0)
    assert out.patch.std() > 0.1
    half = mask.clone()
    half[..., :32] = 0  # a part of the square: the network still gets the blank square that it knows
    torch.testing.assert_close(network.outputs(photographs, half).patch, out.patch, rtol=0, atol=0)


def test_centre_variant_refuses_other_holes_and_sizes(photographs):
    network = small("centre")[0].eval()
    for image, mask in [
        (photographs, masks("random")),
        (torch.zeros(1, 3, 128, 128), torch.zeros(1, 1, 128, 128)),
        (torch.zeros(1, 3, 64, 96), torch.zeros(1, 1, 64, 96)),
    ]:
        with pytest.raises(ValueError, match="region='random'"):
            network(image, mask)
    with pytest.raises(ValueError, match="expected image"):
        network(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 32, 64))
    with pytest.raises(ValueError, match="two pictures"):
        small()[0](torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    with pytest.raises(ValueError, match="'random', 'centre'"):
        ContextEncoder(4, region="center")


@pytest.mark.parametrize("region, size", [("random", (64, 64)), ("random", (48, 100)), ("centre", (64, 64))])
def test_what_lies_under_the_hole_is_never_read(region, size):
    mask = masks(region, 2, size if region == "random" else 64)
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network = warmed(small(region)[0], image, mask)
    expected = network(image, mask)
    for wrong in (1e3, float("nan")):
        other = torch.where(mask > 0, wrong, image)
        torch.testing.assert_close(network(other, mask), expected, rtol=0, atol=0)
    changed = network(torch.where(mask > 0, image, image * 0.5), mask)
    assert (changed - expected)[..., 24:40, 24:40].abs().max() > 0.1


@pytest.mark.parametrize("size", [(64, 64), (50, 90), (128, 96), (16, 16)])
def test_other_sizes_empty_and_full_holes_are_answered(size):
    network = small()[0].eval()
    image = torch.rand(2, 3, *size) * 2 - 1
    mask = torch.stack([torch.zeros(1, *size), torch.ones(1, *size)])
    out = network.outputs(image, mask)
    assert out.prediction.shape == image.shape and out.prediction.dtype == torch.float32
    assert out.prediction.isfinite().all() and out.prediction.abs().max() <= 1
    fill = torch.tensor(method.FILL).view(3, 1, 1).expand(3, 64, 64)
    torch.testing.assert_close(out.seen[1], fill, rtol=0, atol=0)
    assert (out.seen[0] - out.seen[1]).abs().mean() > 0.1
    centre = small("centre")[0].eval()
    assert centre(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)).isfinite().all()


def test_resizing_averages_known_pixels_only():
    image = torch.full((1, 3, 128, 128), 0.5)
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 31:97, 31:97] = 1
    seen, hole = method.to_side(torch.where(mask > 0, -1.0, image), mask, 64)
    torch.testing.assert_close(seen[(hole == 0).expand(1, 3, 64, 64)].unique(), torch.tensor([0.5]))
    assert hole.unique().tolist() == [0, 1] and hole.sum().item() == pytest.approx(33**2, rel=0.07)


@pytest.mark.parametrize("options", [{}, {"channelwise": True}, {"region": "centre"}])
def test_a_batch_is_its_pictures_one_by_one(photographs, options):
    mask = masks(options.get("region", "random"))
    network = warmed(small(**options)[0], photographs, mask)
    together = network(photographs, mask)
    for i in range(4):
        torch.testing.assert_close(network(photographs[i : i + 1], mask[i : i + 1])[0], together[i], rtol=0, atol=1e-5)


def test_channelwise_layer_is_one_matrix_a_channel_and_a_mixture():
    network = ContextEncoder(4, 128, channelwise=True).eval()
    within, _, across, norm, _ = network.squeeze
    assert within.weight.numel() == 32 * 4**4 and n_parameters(across) == 32 * 32 + 32
    x = torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    matrices = within.weight.view(32, 16, 16)
    apart = torch.einsum("cij,bcj->bci", matrices, x.flatten(2))
    mixed = torch.einsum("dc,bci->bdi", across.weight[:, :, 0, 0], apart).view(2, 32, 4, 4)
    torch.testing.assert_close(network.squeeze(x), F.relu(norm(mixed)), rtol=1e-5, atol=1e-6)


def test_seed_decides_the_weights_and_options_build_the_network_again():
    for build in (lambda seed: ContextEncoder(4, 64, seed=seed), lambda seed: Critic(4, 64, seed=seed)):
        a, b, c = (build(seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(a[k], b[k]) for k in a) and not all(torch.equal(a[k], c[k]) for k in a)
    network = ContextEncoder(8, 64, 30, "centre", 6, channelwise=True)
    again = ContextEncoder(**json.loads(json.dumps(network.options)), seed=0)
    assert str(again) == str(network) and again.options["overlap"] == 6
    wide = ContextEncoder(64, 64, 100)
    assert wide.encoder[2].weight.std().item() == pytest.approx(0.02, rel=0.02)  # 131,072 draws: 3 sigma is 0.6 %
    assert wide.encoder[3].weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert wide.encoder[3].weight.mean().item() == pytest.approx(1, abs=0.01)


def test_losses_are_the_weighted_square_and_cross_entropies(photographs):
    for region in REGIONS:
        network, critic = small(region)
        out = network.outputs(photographs, masks(region))
        rows = slice(16, 48) if region == "centre" else slice(None)
        real, fake = photographs[..., rows, rows], out.prediction[..., rows, rows]
        weight = torch.ones(fake.shape[-2:])
        if region == "centre":
            weight[:] = 10
            weight[4:28, 4:28] = 1
        parts = generator_loss(out, critic, photographs, masks(region), None)
        assert set(parts) == set(method.WEIGHTS) and sum(method.WEIGHTS.values()) == 1
        torch.testing.assert_close(parts["reconstruction"], (weight * (real - fake) ** 2).mean())
        ones = torch.ones(4, 1)
        torch.testing.assert_close(parts["adversarial"], F.binary_cross_entropy(critic(fake).sigmoid(), ones))
        parts = critic_loss(critic, out, photographs, masks(region))
        assert set(parts) == set(method.CRITIC_WEIGHTS)
        torch.testing.assert_close(parts["real"], F.binary_cross_entropy(critic(real).sigmoid(), ones))
        torch.testing.assert_close(parts["fake"], F.binary_cross_entropy(critic(fake).sigmoid(), 0 * ones))
        with pytest.raises(ValueError, match="stage"):
            generator_loss(out, critic, photographs, masks(region), None, "edges")
    assert method.SETTINGS["lr"] * method.SETTINGS["lr_critic"] == pytest.approx(2e-4)


def weighted(parts, weights):
    return sum(weights[name] * value for name, value in parts.items())


@pytest.mark.parametrize("options", [{}, {"region": "centre"}, {"channelwise": True}])
def test_gradients_reach_what_is_trained_and_nothing_else(photographs, options):
    network, critic = small(**options)
    mask = masks(options.get("region", "random"))
    out = network.outputs(photographs, mask)
    critic.requires_grad_(False)
    weighted(generator_loss(out, critic, photographs, mask, None), method.WEIGHTS).backward()
    assert all(p.grad is None for p in critic.parameters())
    critic.requires_grad_(True)
    grads = {name: p.grad.clone() for name, p in network.named_parameters()}
    weighted(critic_loss(critic, out, photographs, mask), method.CRITIC_WEIGHTS).backward()
    assert all(torch.equal(grads[name], p.grad) for name, p in network.named_parameters())
    for module in (network, critic):
        biases = {id(m.bias) for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)}
        for name, p in module.named_parameters():
            assert p.grad.isfinite().all() and (p.grad.abs().sum() > 0) != (id(p) in biases), name


@pytest.mark.parametrize("region", REGIONS)
def test_a_few_steps_lower_the_error_and_leave_biases_at_zero(photographs, region):
    network, critic = small(region)
    adam = {"betas": (method.SETTINGS["beta1"], method.SETTINGS["beta2"])}
    generator_steps = torch.optim.Adam(network.parameters(), method.SETTINGS["lr"], **adam)
    critic_steps = torch.optim.Adam(critic.parameters(), method.SETTINGS["lr"] * method.SETTINGS["lr_critic"], **adam)
    errors, mask = [], masks(region)
    for _ in range(30):
        out = network.outputs(photographs, mask)
        critic_steps.zero_grad()
        weighted(critic_loss(critic, out, photographs, mask), method.CRITIC_WEIGHTS).backward()
        critic_steps.step()
        critic.requires_grad_(False)
        parts = generator_loss(out, critic, photographs, mask, None)
        generator_steps.zero_grad()
        weighted(parts, method.WEIGHTS).backward()
        generator_steps.step()
        critic.requires_grad_(True)
        errors.append(parts["reconstruction"].item())
    assert errors[-1] < 0.3 * errors[0]
    for module in [*network.modules(), *critic.modules()]:
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            assert (module.bias == 0).all()


@pytest.mark.parametrize("region", REGIONS)
def test_bfloat16_is_finite(photographs, region):
    network, critic = small(region)
    with torch.autocast("cpu", torch.bfloat16):
        out = network.outputs(photographs, masks(region))
        parts = generator_loss(out, critic, photographs, masks(region), None)
        parts |= critic_loss(critic, out, photographs, masks(region))
    assert out.prediction.dtype == torch.float32 and out.prediction.isfinite().all()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in parts.values())
    sum(parts.values()).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
