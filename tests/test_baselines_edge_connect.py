"""EdgeConnect: edges that do not see the hole, two networks in three stages, critics, losses in the authors' units."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.color import rgb2gray
from skimage.feature import canny
from torch.utils.flop_counter import FlopCounterMode

from aotlib.baselines import edge_layers
from aotlib.baselines.edge_connect import (
    CRITIC_WEIGHTS,
    SETTINGS,
    STAGES,
    WEIGHTS,
    Critic,
    EdgeConnect,
    EdgeGenerator,
    InpaintGenerator,
    critic_loss,
    edge_parts,
    edges,
    enter,
    feature_parts,
    generator_loss,
    gray,
    unit,
)
from aotlib.features import TAPS, gram, load_features
from aotlib.images import centred, read_image, to_float
from aotlib.masks import composite, irregular_mask

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples" / "train"


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def image():
    files = sorted(SAMPLES.glob("*.jpg"))[:3]
    return torch.stack([to_float(centred(torch.from_numpy(read_image(f)).movedim(-1, 0), 64)) for f in files])


@pytest.fixture(scope="module")
def mask():
    return torch.stack([irregular_mask(64, ratio, seed=0, index=i) for i, ratio in enumerate((0.1, 0.3, 0.5))])


@pytest.fixture(scope="module")
def features():
    return load_features("random", width=8)


@pytest.fixture
def network():
    return EdgeConnect(width=8, n_blocks=2, sigma=1.0)


@pytest.fixture
def critic():
    return Critic(width=8)


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


# --- edges ----------------------------------------------------------------------------------------------------------


def test_grey_is_scikit_images(image):
    expected = rgb2gray(unit(image).movedim(1, -1).numpy())
    torch.testing.assert_close(gray(image)[:, 0], torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_edges_are_cannys_inside_the_frame(image):
    found = edges(image, sigma=1.0)
    assert found.shape == (3, 1, 64, 64) and set(found.unique().tolist()) == {0, 1} and found.dtype == torch.float32
    for i in range(3):  # without its argument `mask`, scikit-image looks at the same pixels
        assert np.array_equal(found[i, 0].numpy(), canny(gray(image)[i, 0].numpy(), sigma=1.0))
    assert edges(image, sigma=0.5).sum() > found.sum() > edges(image).sum() > 0
    assert torch.equal(edges(image), edges(image, torch.zeros(3, 1, 64, 64)))


def test_the_outline_of_a_hole_is_no_edge(mask):
    flat = torch.full((3, 3, 64, 64), 0.4)
    assert not edges(flat, mask).any()
    assert not edges(torch.where(mask.bool(), -1.0, flat), mask).any()
    assert edges(torch.where(mask.bool(), -1.0, flat)).any()  # untold, Canny draws it


def test_edges_near_a_hole_are_not_read_from_it(image, mask):
    found = edges(image, mask, 1.0)
    assert torch.equal(found, edges(torch.where(mask.bool(), 1e3, image), mask, 1.0))
    assert not (found * F.max_pool2d(mask, 3, 1, 1)).any() and found.any()
    far = F.max_pool2d(mask, 17, 1, 8) == 0  # beyond Canny's Gaussian but for the tracing of weak edges
    assert (found == edges(image, sigma=1.0))[far].float().mean() > 0.98


def test_edges_have_no_gradient(image, mask):
    assert not edges(image.clone().requires_grad_(), mask).requires_grad


# --- networks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def unlimited(monkeypatch):
    """No spectral norm: it has no parameter, and torch's meta device is slow to set it up."""
    monkeypatch.setattr(edge_layers, "spectral_norm", lambda conv: conv)


def test_parameter_counts(unlimited):
    blocks = 8 * 2 * 9 * 256 * 256  # no bias under spectral norm
    common = (128 * 64 + 256 * 128) * 16 * 2 + 128 + 256 + 128 + 64
    with torch.device("meta"):
        assert n_parameters(EdgeGenerator()) == 3 * 64 * 49 + 64 + common + blocks + 64 * 49 + 1 == 10_761_089
        expected = 4 * 64 * 49 + 64 + common + blocks + 16 * 256 + 3 * 64 * 49 + 3
        assert n_parameters(InpaintGenerator()) == expected == 10_774_595
        assert n_parameters(EdgeConnect()) == 10_761_089 + 10_774_595
        assert [n_parameters(part) for part in (Critic().edges, Critic().picture)] == [2_762_752, 2_763_776]
        assert [n_parameters(kind(16, 4)) for kind in (EdgeGenerator, InpaintGenerator)] == [380_129, 382_995]


def test_multiply_adds_at_256(unlimited):
    with torch.device("meta"), torch.no_grad():
        x, e = torch.zeros(1, 3, 256, 256), torch.zeros(1, 1, 256, 256)
        calls = [(EdgeGenerator(), (e, e, e), 48.067), (InpaintGenerator(), (x, e, e), 48.683)]
        calls += [(EdgeConnect(), (x, e), 96.750), (Critic().picture, (x,), 3.147)]
        for network, inputs, expected in calls:
            with FlopCounterMode(display=False) as counter:
                network(*inputs)
            assert counter.get_total_flops() / 2e9 == pytest.approx(expected, abs=5e-4)


def reach(run, n_in, side, at):
    """Side of the square of input pixels that can change one output value."""
    x = torch.rand(1, n_in, side, side, requires_grad=True)
    (gradient,) = torch.autograd.grad(run(x)[0, 0, at, at], x)
    columns = torch.nonzero(gradient.abs().sum((0, 1, 2)))
    return (columns.max() - columns.min() + 1).item()


def test_receptive_fields(monkeypatch):
    """7 px of the last layer are 5 and then 4 values before it; blocks add 8 x 6; 52 are 106, 214 and 220 px."""
    monkeypatch.setattr(F, "instance_norm", lambda x: x)  # it sees the whole picture
    network, critic = InpaintGenerator(1, 8), Critic(1).picture.eval()
    for p in network.parameters():
        p.data = p.data.abs() + 0.01  # nothing cancels, no ReLU closes
    assert {reach(network.run, 4, 256, 128 + phase) for phase in range(4)} == {220}
    for conv in critic.convs:
        conv.parametrizations.weight.original.data.abs_().add_(0.01)
    assert reach(lambda x: critic(x)[-1], 3, 160, 9) == 70


def test_trunk_is_the_table():
    """The same weights in torch's own layers."""
    network, x = InpaintGenerator(4, 2, seed=3), rand(2, 4, 24, 32)
    norm, pad = torch.nn.InstanceNorm2d(1), torch.nn.ReflectionPad2d
    norm.forward = lambda x: torch.nn.InstanceNorm2d(x.shape[1])(x)
    behind = [norm, torch.nn.ReLU()]
    expected = pad(3)(x)
    for conv in network.encoder:
        expected = torch.nn.Sequential(conv, *behind)(expected)
    for dilated, plain in network.blocks:
        expected = expected + torch.nn.Sequential(pad(2), dilated, *behind, pad(1), plain, norm)(expected)
    for conv in network.decoder:
        expected = torch.nn.Sequential(conv, *behind)(expected)
    torch.testing.assert_close(network.run(x), network.last(pad(3)(expected)), rtol=1e-4, atol=1e-5)


def test_where_spectral_norm_is(network, critic):
    """On every convolution of the first network but the last, on none of the second, on all of the critics."""

    def normed(module):
        kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
        return [hasattr(conv, "parametrizations") for conv in module.modules() if isinstance(conv, kinds)]

    assert normed(network.edge_generator) == 3 * [True] + 4 * [True] + 2 * [True] + [False]
    assert not any(normed(network.inpaint_generator)) and normed(critic) == 10 * [True]
    first = network.edge_generator.eval().encoder[1].weight
    assert torch.linalg.matrix_norm(first.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_what_the_networks_are_given(network, image, mask):
    """White holes; the first network gets grey, known edges and mask, the second colours and edges without the mask."""
    given = {}
    for name in ("edge_generator", "inpaint_generator"):
        part = getattr(network, name)
        part.run = lambda x, name=name, run=part.run: run(given.setdefault(name, x))
    outputs = network.outputs(image, mask)
    expected = torch.cat([gray(image) * (1 - mask) + mask, edges(image, mask, 1.0), mask], 1)
    assert torch.equal(given["edge_generator"], expected)
    expected = torch.cat([unit(image) * (1 - mask) + mask, outputs.edges], 1)
    assert torch.equal(given["inpaint_generator"], expected)


def test_outputs(network, image, mask):
    outputs = network.outputs(image, mask)
    known, hole = mask == 0, mask == 1
    assert torch.equal(outputs.edges[known], outputs.known_edges[known])
    assert torch.equal(outputs.edges[hole], outputs.predicted_edges[hole])
    assert torch.equal(outputs.known_edges, edges(image, mask, 1.0)) and outputs.true_edges is None
    assert outputs.predicted_edges.min() > 0 and outputs.predicted_edges.max() < 1
    assert outputs.predicted_edges.unique().numel() > 1000  # real numbers, not 0 and 1
    assert outputs.prediction.min() > -1 and outputs.prediction.max() < 1


def test_a_picture_without_a_hole_keeps_its_edges_and_itself(network, image):
    none = torch.zeros(3, 1, 64, 64)
    outputs = network.outputs(image, none)
    assert torch.equal(outputs.edges, edges(image, sigma=1.0))
    assert torch.equal(composite(outputs.prediction, image, none), image)
    assert network(image, torch.ones(3, 1, 64, 64)).isfinite().all()


@pytest.mark.parametrize("stage", [None, *STAGES])
def test_what_lies_under_the_hole_is_never_read(network, image, mask, stage):
    if stage:
        enter(network, stage)
    found, other = (network.eval()(x, mask) for x in (image, torch.where(mask.bool(), 1e3, image)))
    assert torch.equal(found, other) and found.dtype == torch.float32 and found.std() > 0


def test_only_training_on_true_edges_reads_the_hole(network, image, mask):
    darkened = torch.where(mask.bool(), -1.0, image)
    for stage in STAGES:
        enter(network.train(), stage)
        network.edge_generator.eval()  # its spectral norms would move between the two passes
        same = torch.equal(network(image, mask), network(darkened, mask))
        assert same == (stage != "true_edges")


def test_sizes(network):
    assert (network.multiple, network.smallest) == (4, 12)
    x = rand(1, 3, 48, 76)
    assert network(x, torch.zeros(1, 1, 48, 76)).shape == x.shape
    assert network(x[..., :12, :12], torch.zeros(1, 1, 12, 12)).isfinite().all()
    for shape in ((1, 3, 8, 64), (1, 3, 50, 64), (3, 64, 64), (1, 1, 64, 64)):
        with pytest.raises(ValueError, match="multiples of 4|expected image"):
            network(torch.zeros(shape), torch.zeros(1, 1, *shape[-2:]))
    with pytest.raises(ValueError, match="sigma"):
        EdgeConnect(sigma=-1)


def test_masks_of_a_batch_do_not_mix(network, image, mask):
    network.eval()
    apart = torch.cat([network(image[i : i + 1], mask[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(image, mask), apart, rtol=1e-4, atol=1e-5)


def test_seed_decides_the_weights_and_options_build_it_again(network, image, mask):
    for build in (lambda seed: EdgeConnect(4, 1, seed=seed), lambda seed: Critic(4, seed)):
        torch.rand(1)  # torch's own generator takes no part
        a, b, c = (build(seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(a[k], b[k]) for k in a)
        weights = [k for k in a if a[k].ndim == 4]
        assert weights and not any(torch.equal(a[k], c[k]) for k in weights)
    assert network.options == {"width": 8, "n_blocks": 2, "sigma": 1.0}
    assert torch.equal(EdgeConnect(**network.options)(image, mask), network(image, mask))
    weight = InpaintGenerator(16, 1).blocks[0][0].weight
    assert weight.std().item() == pytest.approx(0.04, rel=0.02)  # 0.02 at width 64


# --- stages and losses ----------------------------------------------------------------------------------------------


def total(parts, weights):
    return sum(weights[name] * value for name, value in parts.items())


@pytest.mark.parametrize("stage", STAGES)
def test_gradients_reach_what_the_stage_trains(network, critic, image, mask, features, stage):
    enter(network.train(), stage)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    outputs = network.outputs(image, mask)
    parts = generator_loss(outputs, critic.requires_grad_(False), image, mask, features, stage)
    assert all(value.isfinite() for value in parts.values()) and set(parts) <= set(WEIGHTS)
    total(parts, WEIGHTS).backward()
    assert (outputs.predicted_edges.requires_grad, outputs.prediction.requires_grad) == (
        stage == "edges",
        stage != "edges",
    )
    trained = network.edge_generator if stage == "edges" else network.inpaint_generator
    assert all(p.grad.isfinite().all() for p in trained.parameters())
    assert all(p.grad.any() for p in trained.parameters() if p.ndim == 4)  # instance norm takes biases away
    assert all(p.grad is None for p in set(network.parameters()) - set(trained.parameters()))
    still = all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    assert still == (stage != "edges")  # a network that does not train keeps its spectral norms

    parts = critic_loss(critic.requires_grad_(True), outputs, image, mask, stage)
    assert set(parts) <= set(CRITIC_WEIGHTS) and all(value.isfinite() for value in parts.values())
    network.zero_grad()
    total(parts, CRITIC_WEIGHTS).backward()
    judge = critic.edges if stage == "edges" else critic.picture
    assert all(p.grad.isfinite().all() and p.grad.any() for p in judge.parameters())
    assert all(p.grad is None for p in set(critic.parameters()) - set(judge.parameters()))
    assert all(p.grad is None for p in network.parameters())


def test_the_second_network_learns_from_the_edges_of_its_stage(network, image, mask):
    enter(network.train(), "true_edges")
    outputs = network.outputs(image, mask)
    assert torch.equal(outputs.edges, edges(image, sigma=1.0)) and torch.equal(outputs.true_edges, outputs.edges)
    enter(network, "edges")
    outputs = network.outputs(image, mask)
    assert torch.equal(outputs.true_edges, edges(image, sigma=1.0))
    assert not torch.equal(outputs.edges, outputs.true_edges)
    assert network.eval().outputs(image, mask).true_edges is None
    with pytest.raises(ValueError, match="true_edges"):
        enter(network, "true_edge")


@pytest.mark.parametrize("stage", ["edges", "true_edges"])
def test_a_stage_that_was_not_entered_is_refused(network, critic, image, mask, stage):
    with pytest.raises(ValueError, match=f"enter\\(network, '{stage}'\\)"):
        generator_loss(network.outputs(image, mask), critic, image, mask, None, stage)


def test_losses_of_the_first_network_by_hand(network, critic, image, mask):
    enter(network.train(), "edges")
    outputs = network.outputs(image, mask)
    critic.eval()
    parts = generator_loss(outputs, critic, image, mask, None, "edges")
    g, truth = gray(image), edges(image, sigma=1.0)
    fake, real = critic.edges(torch.cat([g, outputs.predicted_edges], 1)), critic.edges(torch.cat([g, truth], 1))
    assert [tuple(map_.shape[1:]) for map_ in fake] == [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 7, 7), (1, 6, 6)]
    bce = F.binary_cross_entropy(torch.sigmoid(fake[-1]), torch.ones_like(fake[-1]))
    assert parts["edge_adversarial"].item() == pytest.approx(bce.item(), rel=1e-5)
    matched = sum((a - b).abs().mean().item() for a, b in zip(fake, real, strict=True))
    assert parts["feature_matching"].item() == pytest.approx(matched, rel=1e-5)
    zero = F.binary_cross_entropy(torch.sigmoid(fake[-1]), torch.zeros_like(fake[-1])).item()
    one = F.binary_cross_entropy(torch.sigmoid(real[-1]), torch.ones_like(real[-1])).item()
    found = critic_loss(critic, outputs, image, mask, "edges")
    assert found["edge_critic"].item() == pytest.approx((zero + one) / 2, rel=1e-5)


def test_feature_matching_of_the_truth_is_zero(network, critic, image, mask):
    enter(network.train(), "edges")
    truth = edges(image, sigma=1.0).requires_grad_()
    outputs = network.outputs(image, mask)
    same = outputs._replace(predicted_edges=truth.detach())
    assert edge_parts(same, critic.edges.eval(), gray(image), truth)["feature_matching"].item() == 0
    edge_parts(outputs, critic.edges, gray(image), truth)["feature_matching"].backward()
    assert truth.grad is None  # nothing flows into the real side


@pytest.mark.parametrize("stage", ["true_edges", "predicted_edges"])
def test_losses_of_the_second_network_by_hand(network, critic, image, mask, features, stage):
    enter(network.train(), stage)
    outputs = network.outputs(image, mask)
    parts = generator_loss(outputs, critic.eval(), image, mask, features, stage)
    y, x = ((t.detach() + 1) / 2 for t in (outputs.prediction, image))
    assert parts["l1"].item() == pytest.approx(((y - x).abs().mean() / mask.mean()).item(), rel=1e-5)
    scores, real = critic.picture(y)[-1], critic.picture(x)[-1]
    ones = torch.ones_like(scores)
    bce = F.binary_cross_entropy_with_logits
    assert parts["adversarial"].item() == pytest.approx(bce(scores, ones).item(), rel=1e-5)
    found = critic_loss(critic, outputs, image, mask, stage)["critic"].item()
    assert found == pytest.approx((bce(real, ones) + bce(scores, 0 * ones)).item() / 2, rel=1e-5)
    assert set(generator_loss(outputs, critic, image, mask, None, stage)) == {"l1", "adversarial"}


def test_vgg_sees_zero_to_one(image, mask, features):
    """The authors' VGG gets [0, 1] as it is: its layers, called directly, give the same losses."""

    def layers(x, tap):
        return features.layers[: TAPS[tap] + 1](x)

    out, real = unit(image.flip(0)), unit(image)
    found = feature_parts(out, real, mask, features)
    content = sum((layers(out, t) - layers(real, t)).abs().mean().item() for t in features.perceptual_taps)
    assert found["perceptual"].item() == pytest.approx(content, rel=1e-4)
    of_style = [(gram(layers(out * mask, t)) - gram(layers(real * mask, t))).abs().mean() for t in features.style_taps]
    assert found["style"].item() == pytest.approx(sum(of_style).item(), rel=1e-4)
    outside = torch.where(mask.bool(), out, 0.3)  # style looks at the hole alone
    assert feature_parts(outside, real, mask, features)["style"].item() == pytest.approx(found["style"].item())


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_losses_are_finite_without_a_hole_and_without_a_known_pixel(network, critic, image, features, ratio):
    mask = torch.full((3, 1, 64, 64), ratio)
    for stage in STAGES:
        enter(network.train(), stage)
        outputs = network.outputs(image, mask)
        parts = generator_loss(outputs, critic, image, mask, features, stage)
        parts |= critic_loss(critic, outputs, image, mask, stage)
        assert all(value.isfinite() for value in parts.values())
        if stage != "edges" and not ratio:
            assert parts["l1"].item() == pytest.approx((unit(outputs.prediction) - unit(image)).abs().mean().item())


def test_a_few_steps_learn_the_batch(network, critic, image, mask, features):
    """Both networks in the paper's order; each stage lowers the distance to what it is to draw."""
    found = {}
    betas = (SETTINGS["beta1"], SETTINGS["beta2"])
    lr = 20 * SETTINGS["lr"]  # a few steps are to show
    adam_d = torch.optim.Adam(critic.parameters(), lr * SETTINGS["lr_critic"], betas)
    for stage, steps in (("edges", 10), ("true_edges", 8), ("predicted_edges", 3)):
        enter(network.train(), stage)
        adam, distances = torch.optim.Adam(network.parameters(), lr, betas), []
        for _ in range(steps):
            outputs = network.outputs(image, mask)
            critic.requires_grad_(False)
            parts = generator_loss(outputs, critic, image, mask, features, stage)
            adam.zero_grad()
            total(parts, WEIGHTS).backward()
            adam.step()
            critic.requires_grad_(True)
            adam_d.zero_grad()
            total(critic_loss(critic, outputs, image, mask, stage), CRITIC_WEIGHTS).backward()
            adam_d.step()
            drawn = stage == "edges"
            a, b = (outputs.predicted_edges, outputs.true_edges) if drawn else (outputs.prediction, image)
            distances.append((a - b).abs().mean().item())
        found[stage] = distances
    assert found["edges"][-1] < 0.6 * found["edges"][0]
    assert found["true_edges"][-1] < 0.6 * found["true_edges"][0]
    assert found["predicted_edges"][-1] < 0.6 * found["true_edges"][0]


@pytest.mark.parametrize("stage", STAGES)
def test_half_precision(network, critic, image, mask, features, stage):
    enter(network.train(), stage)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network.outputs(image, mask)
        parts = generator_loss(outputs, critic, image, mask, features, stage)
        judged = critic_loss(critic, outputs, image, mask, stage)
    total(parts, WEIGHTS).backward()
    assert outputs.prediction.dtype == outputs.predicted_edges.dtype == torch.float32
    assert all(value.isfinite() for value in (parts | judged).values())
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
    assert (outputs.prediction - network.outputs(image, mask).prediction).abs().mean() < 0.02
