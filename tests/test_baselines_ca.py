"""DeepFill v1: counts to the digit, what its attention may copy, the two critics, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from aotlib.baselines import ca
from aotlib.baselines.attention import attention, fuse_scores, paste, similarity, valid_keys
from aotlib.baselines.ca import (
    ContextualAttention,
    Critic,
    critic_loss,
    discount,
    generator_loss,
    mean_l1,
    penalty,
    window,
)
from aotlib.baselines.deepfill_layers import Conv, contextual_attention, same, shrink
from aotlib.images import centred, find_images, read_image, to_float
from aotlib.masks import composite

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples" / "train"


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def lively(network, gain=1.4):
    """`network` with larger weights: fresh ones make its output so faint that much would go unnoticed."""
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
    def count(layers):
        return sum((k * k * a + 1) * b for a, b, k in layers)

    c, k = 32, 3
    tail = [(4 * c, 4 * c, k), (4 * c, 2 * c, k), (2 * c, 2 * c, k), (2 * c, c, k), (c, c // 2, k), (c // 2, 3, k)]
    coarse = [(5, c, 5), (c, 2 * c, k), (2 * c, 2 * c, k), (2 * c, 4 * c, k)] + 7 * [(4 * c, 4 * c, k)] + tail
    head = [(5, c, 5), (c, c, k), (c, 2 * c, k)]
    surroundings = [*head, (2 * c, 2 * c, k), (2 * c, 4 * c, k)] + 5 * [(4 * c, 4 * c, k)]
    attending = [*head, (2 * c, 4 * c, k)] + 4 * [(4 * c, 4 * c, k)]
    refine = [*surroundings, *attending, (8 * c, 4 * c, k), *tail]
    with torch.device("meta"):
        network, critic = ContextualAttention(), Critic()
    assert n_parameters(network.coarse) == count(coarse) == 1_448_227
    assert n_parameters(network.refine) == count(refine) == 2_153_315
    assert n_parameters(network) == 3_601_542
    assert n_parameters(critic.window) == 4_339_329 and n_parameters(critic.whole) == 2_733_441
    assert n_parameters(ContextualAttention(width=8)) == 228_198


def test_multiply_adds_are_those_of_the_fact_sheet():
    with torch.device("meta"), torch.no_grad():
        for size, convolutions, attending in ((256, 22.4, 3.4), (512, 89.7, 53.7)):
            with FlopCounterMode(display=False) as counter:
                ContextualAttention()(torch.zeros(1, 3, size, size), torch.zeros(1, 1, size, size))
            counts = {str(name): flops / 2e9 for name, flops in counter.get_flop_counts()["Global"].items()}
            assert counts["aten.convolution"] == pytest.approx(convolutions, abs=0.05)
            assert counts["aten.bmm"] == pytest.approx(attending, abs=0.05)


def test_convolutions_pad_as_tensorflow_does():
    """With stride 2 the middle of a kernel stands on positions 1, 3, 5, ...: one zero less before than after."""
    row = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    for kernel in (3, 5):
        middle = torch.zeros(1, 1, kernel, kernel)
        middle[..., kernel // 2, kernel // 2] = 1
        out = F.conv2d(same(row, kernel, 2), middle, stride=2)
        assert out.shape[-2:] == (4, 4) and out[0, 0, 0].tolist() == [1, 3, 5, 7]
    for dilation in (1, 2, 16):
        padded = same(row, 3, 1, dilation)
        torch.testing.assert_close(padded, F.pad(row, (dilation,) * 4))
    for kernel, stride, dilation in ((5, 1, 1), (3, 1, 4), (3, 2, 1), (5, 2, 1)):
        layer, x = Conv(2, 3, kernel, stride, dilation, act=None), rand(1, 2, 10, 12)
        torch.testing.assert_close(layer(x), layer.conv(same(x, kernel, stride, dilation)))


@pytest.mark.parametrize("shape", [(64, 64), (64, 96)])
def test_outputs_have_the_shapes_and_ranges_that_they_promise(shape):
    image, mask = rand(2, 3, *shape), torch.zeros(2, 1, *shape)
    mask[..., 16:40, 24:56] = 1
    network = lively(ContextualAttention(8))
    out = network.outputs(image, mask)
    n_keys = shape[0] * shape[1] // 64
    assert out.prediction.shape == out.coarse.shape == image.shape
    assert out.attention.shape == (2, n_keys, shape[0] // 8, shape[1] // 8) and out.valid.shape == (2, n_keys)
    assert out.prediction.abs().max() <= 1 and out.coarse.abs().max() <= 1
    assert (out.attention >= 0).all() and (out.attention.sum(1) <= 1 + 1e-5).all()
    assert (out.attention[out.valid == 0] == 0).all()
    torch.testing.assert_close(network(image, mask), out.prediction, rtol=0, atol=0)


def test_what_lies_under_the_hole_is_never_read(batch):
    image, mask = batch
    other = torch.where(mask.bool(), torch.full_like(image, 1e3), image)
    network = lively(ContextualAttention(4))
    for a, b in zip(network.outputs(image, mask), network.outputs(other, mask)):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_second_network_sees_the_guess_in_the_hole_and_both_see_the_mask(batch):
    image, mask = batch
    network = lively(ContextualAttention(4))
    out = network.outputs(image, mask)
    assert out.prediction.std() > 0.05 and out.coarse.std() > 0.05
    ones = torch.ones_like(mask)
    first = network.coarse(torch.cat([image * (1 - mask), ones, mask], 1))
    torch.testing.assert_close(first.clamp(-1, 1), out.coarse, rtol=0, atol=0)
    guess = composite(out.coarse, image, mask)
    second, _, _ = network.refine(torch.cat([guess, ones, mask], 1), F.max_pool2d(mask, 8))
    torch.testing.assert_close(second.clamp(-1, 1), out.prediction, rtol=1e-5, atol=1e-6)
    surroundings = network.refine.surroundings(torch.cat([guess, ones, mask], 1))
    copied, _, _ = contextual_attention(network.refine.before(torch.cat([guess, ones, mask], 1)), shrink(mask))
    torch.testing.assert_close(
        network.refine.decoder(torch.cat([surroundings, network.refine.after(copied)], 1)), second
    )


def test_attention_is_its_six_steps():
    feature, hole = rand(2, 5, 12, 20), (rand(2, 1, 6, 10, seed=1) > 0.9).float()
    small = feature[:, :, ::2, ::2]
    weights = attention(fuse_scores(similarity(small, small), (6, 10)), valid_keys(hole))
    copied, shares, valid = contextual_attention(feature, hole)
    torch.testing.assert_close(shares, weights, rtol=0, atol=0)
    torch.testing.assert_close(copied, paste(weights, feature, 2), rtol=0, atol=0)
    torch.testing.assert_close(valid, valid_keys(hole, 3), rtol=0, atol=0)


def test_samples_with_masks_of_their_own_do_not_touch_each_other(batch):
    image, mask = batch
    network = lively(ContextualAttention(4))
    together = network.outputs(image, mask)
    for b in range(3):
        for a, one in zip(together, network.outputs(image[b : b + 1], mask[b : b + 1])):
            torch.testing.assert_close(a[b : b + 1], one, rtol=1e-3, atol=1e-4)


def test_empty_and_full_masks_are_defined(batch):
    image, _ = batch
    network, critic = ContextualAttention(4), Critic(2, size=64)
    for mask, n_valid in ((torch.zeros(3, 1, 64, 64), 64), (torch.ones(3, 1, 64, 64), 0)):
        out = network.outputs(image, mask)
        assert (out.valid.sum(1) == n_valid).all()
        parts = generator_loss(out, critic, image, mask, None) | critic_loss(critic, out, image, mask)
        assert all(part.isfinite() for part in (*parts.values(), out.prediction.sum()))
        if n_valid:
            assert torch.equal(composite(out.prediction, image, mask), image)
            assert parts["hole_fine"] == 0 < parts["known_fine"]
        else:
            assert (out.attention == 0).all() and parts["known_fine"] == 0 < parts["hole_fine"]


def test_attention_copies_known_features_only():
    feature, mask = rand(1, 6, 32, 40).abs(), torch.zeros(1, 1, 128, 160)
    mask[..., 37:77, 43:91] = 1  # not aligned with cells of 8 px
    hole = shrink(mask)
    under = F.max_pool2d(mask, 4).bool()
    feature = torch.where(under, torch.tensor(1e3), feature)
    for fuse in (True, False):
        copied, weights, valid = contextual_attention(feature, hole, fuse)
        assert copied.max() <= 1 and copied.shape == feature.shape
        assert (weights[valid == 0] == 0).all() and 0 < valid.sum() < valid.numel()


def test_attention_far_from_the_hole_does_not_know_what_is_in_it():
    feature, mask = rand(1, 6, 32, 32), torch.zeros(1, 1, 128, 128)
    mask[..., 48:80, 48:80] = 1
    other = torch.where(F.max_pool2d(mask, 4).bool(), torch.full_like(feature, 7.0), feature)
    copied, again = (contextual_attention(x, shrink(mask), fuse=False)[0] for x in (feature, other))
    far = F.max_pool2d(F.max_pool2d(mask, 4), 13, 1, 6) == 0
    assert 0.3 < far.float().mean() < 0.9
    torch.testing.assert_close(copied[far.expand_as(copied)], again[far.expand_as(copied)], rtol=0, atol=0)


def test_thin_strokes_are_seen_by_maxima_and_overlooked_by_the_nearest_pixel():
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 129:132, :] = 1
    assert shrink(mask).sum() == 32 and shrink(mask, "nearest").sum() == 0
    image = rand(1, 3, 256, 256)
    assert ContextualAttention(2).outputs(image, mask).valid.sum() == 32 * 29
    assert ContextualAttention(2, validity="nearest").outputs(image, mask).valid.all()


def test_fusion_and_dilations_are_options(batch):
    fused, alone = (lively(ContextualAttention(4, fuse=fuse))(*batch) for fuse in (True, False))
    assert (fused - alone).abs().max() > 1e-3
    network = lively(ContextualAttention(8, dilations=(2, 4, 8)))
    assert n_parameters(ContextualAttention(8)) - n_parameters(network) == 2 * (9 * 32 + 1) * 32
    again = ContextualAttention(**network.options)
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(again(*batch), network(*batch), rtol=0, atol=0)


def test_bad_input_is_refused_in_words(batch):
    image, mask = batch
    for bad in [(image[..., :60], mask[..., :60]), (image[..., :8, :], mask[..., :8, :]), (image, mask[:1])]:
        with pytest.raises(ValueError, match="multiples of 8|expected image"):
            ContextualAttention(4)(*bad)
    for make in (
        lambda: ContextualAttention(3),
        lambda: ContextualAttention(4, validity="mean"),
        lambda: Critic(2, size=8),
    ):
        with pytest.raises(ValueError, match="even|validity|at least 16"):
            make()


def test_seed_decides_the_weights():
    for make in (lambda seed: ContextualAttention(4, seed=seed), lambda seed: Critic(2, seed=seed, size=64)):
        a, b, c = (make(seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert not any(torch.equal(a[name], c[name]) for name in a if name.endswith("weight"))
    weight = ContextualAttention(32).coarse[5].conv.weight  # 128 to 128 channels
    bound = (6 / (9 * 256)) ** 0.5  # Glorot's
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)


def test_window_is_half_the_side_around_the_centre_of_mass(batch):
    image, mask = batch
    cut = window(image, mask)
    for b in range(3):
        rows, columns = np.nonzero(mask[b, 0].numpy())
        top, left = (int(np.clip(np.round(at.mean() - 15.5), 0, 32)) for at in (rows, columns))
        torch.testing.assert_close(cut[b], image[b, :, top : top + 32, left : left + 32], rtol=0, atol=0)
    middle = window(image, torch.zeros_like(mask))
    torch.testing.assert_close(middle, image[..., 16:48, 16:48], rtol=0, atol=0)
    assert window(rand(1, 3, 64, 96), torch.ones(1, 1, 64, 96)).shape == (1, 3, 32, 48)


def test_discount_in_a_rectangle_is_the_papers():
    mask = torch.zeros(2, 1, 16, 20)
    mask[0, :, 4:12, 3:17] = 1
    mask[1] = 1
    weight = discount(mask, 0.9)
    for i, j in np.ndindex(8, 14):
        assert weight[0, 0, 4 + i, 3 + j].item() == pytest.approx(0.9 ** min(i, 7 - i, j, 13 - j), rel=1e-6)
    assert (weight[0][mask[0] == 0] == 0).all()
    assert weight[1, 0, 0].tolist() == [1] * 20 and weight[1, 0, 8, 10].item() == pytest.approx(0.9**7)
    torch.testing.assert_close(discount(mask, 1.0), mask)


def test_reconstruction_is_a_mean_over_each_samples_region(batch):
    image, mask = batch
    other, w = rand(3, 3, 64, 64, seed=1), discount(mask)
    expected = [
        np.abs((image[b] - other[b]).numpy() * w[b].numpy()).sum() / (3 * mask[b].sum().item()) for b in range(3)
    ]
    assert mean_l1(other, image, w, mask).item() == pytest.approx(np.mean(expected), rel=1e-5)


class Linear(nn.Module):
    """A critic whose slope is known: of one score the given weights, of the other three times that."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, image, mask):
        score = (image * self.weight).sum((1, 2, 3))
        return score, 3 * score


def test_penalty_of_a_linear_critic(batch):
    image, mask = batch
    weight = rand(1, 3, 64, 64, seed=2) * 0.1
    critic = Linear(weight)
    slopes = (weight**2 * mask).sum((1, 2, 3)).sqrt()
    whole, inside = penalty(critic, image, rand(3, 3, 64, 64, seed=3), mask, torch.Generator().manual_seed(0))
    torch.testing.assert_close(whole, ((slopes - 1) ** 2).mean())
    torch.testing.assert_close(inside, ((3 * slopes - 1) ** 2).mean())
    whole.backward()
    assert critic.weight.grad.abs().sum() > 0


def test_penalty_looks_between_the_two_pictures_where_rng_says(batch):
    image, mask = batch
    seen = []

    def critic(x, mask):
        seen.append(x.detach())
        return x.square().sum((1, 2, 3)), x.sum((1, 2, 3))

    fake = rand(3, 3, 64, 64, seed=3)
    for seed in (0, 0, 1):
        penalty(critic, image, fake, mask, torch.Generator().manual_seed(seed))
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    alpha = ((seen[0] - image) / (fake - image)).flatten(1)
    torch.testing.assert_close(alpha.median(1).values, torch.rand(3, generator=torch.Generator().manual_seed(0)))


def test_critics_see_the_whole_and_the_window_of_any_size(batch):
    image, mask = batch
    for size in (16, 40, 64, 96, 128, 256):
        scores = Critic(2, size=size)(image, mask)
        assert scores.whole.shape == scores.window.shape == (3,) and scores.whole.isfinite().all()
    same_size = Critic(2, size=64)
    x = image
    for conv in same_size.whole.convs:
        x = F.leaky_relu(conv(same(x, 5, 2)), 0.2)
    assert x.shape[-2:] == (4, 4)
    torch.testing.assert_close(same_size(image, mask).whole, same_size.whole.score(x.flatten(1))[:, 0])
    torch.testing.assert_close(same_size(image, mask).window, same_size.window(window(image, mask)))
    assert [same_size.whole.grid, same_size.window.grid] == [4, 2]


def test_gradients_reach_what_is_trained_and_nothing_else(batch):
    image, mask = batch
    network, critic = ContextualAttention(8), Critic(4, size=64)
    out = network.outputs(image, mask)
    critic.requires_grad_(False)
    parts = generator_loss(out, critic, image, mask, None)
    assert parts.keys() == ca.WEIGHTS.keys()
    sum(weight * parts[name] for name, weight in ca.WEIGHTS.items()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    assert all(p.grad is None for p in critic.parameters())

    network.zero_grad()
    critic.requires_grad_(True)
    out = network.outputs(image, mask)
    parts = critic_loss(critic, out, image, mask, rng=torch.Generator().manual_seed(0))
    assert parts.keys() == ca.CRITIC_WEIGHTS.keys() and all(part.isfinite() for part in parts.values())
    sum(weight * parts[name] for name, weight in ca.CRITIC_WEIGHTS.items()).backward()
    assert all(p.grad is None for p in network.parameters())
    for name, p in critic.named_parameters():  # a constant on top of all scores changes no difference and no slope
        assert p.grad is None or p.grad.isfinite().all()
        assert name.endswith("score.bias") or p.grad.any(), name


def test_critics_hear_what_the_loss_says(batch):
    image, mask = batch
    critic = Critic(4, size=64)
    out = ContextualAttention(4).outputs(image, mask)
    fake = composite(out.prediction, image, mask)
    on_real, on_fake = critic(image, mask), critic(fake, mask)
    g, d = generator_loss(out, critic, image, mask, None), critic_loss(critic, out, image, mask)
    for name in ("whole", "window"):
        real, faked = getattr(on_real, name), getattr(on_fake, name)
        torch.testing.assert_close(g[f"adversarial_{name}"], -faked.mean())
        torch.testing.assert_close(d[f"score_{name}"], faked.mean() - real.mean(), rtol=1e-4, atol=1e-6)


def test_a_few_steps_lower_the_reconstruction(photographs):
    mask = torch.zeros(4, 1, 64, 64)
    mask[:2, :, 16:40, 20:48], mask[2:, :, 30:50, 5:40] = 1, 1
    network, critic, rng = ContextualAttention(8), Critic(4, size=64), torch.Generator().manual_seed(0)
    adam_g = torch.optim.Adam(network.parameters(), 2e-3, (0.5, 0.9))
    adam_c = torch.optim.Adam(critic.parameters(), 1e-3, (0.5, 0.9))
    history = []
    for _ in range(9):
        with torch.no_grad():
            out = network.outputs(photographs, mask)
        parts = critic_loss(critic, out, photographs, mask, rng=rng)
        adam_c.zero_grad()
        sum(weight * parts[name] for name, weight in ca.CRITIC_WEIGHTS.items()).backward()
        adam_c.step()
        critic.requires_grad_(False)
        parts = generator_loss(network.outputs(photographs, mask), critic, photographs, mask, None)
        adam_g.zero_grad()
        sum(weight * parts[name] for name, weight in ca.WEIGHTS.items()).backward()
        adam_g.step()
        critic.requires_grad_(True)
        history.append({name: part.item() for name, part in parts.items()})
    for name in ("hole_coarse", "hole_fine", "known_coarse", "known_fine"):
        assert history[-1][name] < 0.8 * history[0][name], name


def test_half_precision_is_finite_and_keeps_the_penalty_in_float32(batch):
    image, mask = batch
    network, critic = ContextualAttention(8), Critic(4, size=64)
    with torch.autocast("cpu", torch.bfloat16):
        out = network.outputs(image, mask)
        parts = generator_loss(out, critic, image, mask, None)
        rng = torch.Generator().manual_seed(0)
        parts |= critic_loss(critic, out, image, mask, rng=rng)
    assert out.prediction.dtype == out.attention.dtype == torch.float32
    assert all(part.isfinite() and part.dtype == torch.float32 for part in parts.values())
    full = critic_loss(critic, out, image, mask, rng=torch.Generator().manual_seed(0))
    torch.testing.assert_close(parts["penalty_whole"], full["penalty_whole"], rtol=1e-5, atol=1e-6)
