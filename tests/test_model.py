"""Generator and discriminator: counts to the digit, gate statistics, receptive fields, released weights."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from aotlib.blocks import AOTBlock, gate_update, standardise
from aotlib.model import Discriminator, Generator
from aotlib.rates import branch_width
from aotlib.released import released_shapes, rename


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def gmacs(module, *inputs):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() / 2e9


def test_parameter_counts():
    generator = Generator()
    parts = [n_parameters(part) for part in (generator.encoder, generator.blocks, generator.decoder)]
    assert parts == [668_352, 14_161_920, 370_563]
    assert n_parameters(generator.blocks[0]) == 4 * 147_520 + 2 * 590_080 == 1_770_240
    assert n_parameters(Discriminator()) == 2_763_777


def test_multiply_adds_at_256():
    """FlopCounterMode is torch's own; 72.876 and 3.147 GMAC are counted layer by layer in the method's fact sheet."""
    with torch.device("meta"):
        x, m = torch.zeros(1, 3, 256, 256), torch.zeros(1, 1, 256, 256)
        assert gmacs(Generator(), x, m) == pytest.approx(72.876, abs=5e-4)
        assert gmacs(Generator(), x.repeat(1, 1, 2, 2), m.repeat(1, 1, 2, 2)) == pytest.approx(291.504, abs=5e-4)
        assert gmacs(Discriminator(), x) == pytest.approx(3.147, abs=5e-4)


def test_released_gate_has_mean_minus_5_and_std_10():
    logits = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 7 + 3
    scaled = standardise(logits)
    torch.testing.assert_close(scaled.mean((2, 3)), torch.full((2, 3), -5.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(scaled.std((2, 3)), torch.full((2, 3), 10.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(gate_update(logits, "released"), 1 / (1 + torch.exp(-scaled)))


def test_released_gate_is_finite_on_a_flat_map_in_half_precision():
    update = gate_update(torch.full((1, 2, 8, 8), 0.3, dtype=torch.bfloat16), "released")
    assert ((update >= 0) & (update <= 1)).all()


def test_paper_gate_weights_the_identity():
    block = AOTBlock(8, (1, 2))
    with torch.no_grad():
        block.gate.weight.zero_()
        block.gate.bias.fill_(50.0)  # g = 1: all identity
        x = torch.randn(1, 8, 12, 12)
        torch.testing.assert_close(block(x), x)
        block.gate.bias.fill_(-50.0)  # g = 0: all new feature
        torch.testing.assert_close(block(x), block.transform(x)[0])


@pytest.mark.parametrize("rates", [(1,), (1, 2), (1, 2, 4, 8), (2, 3, 5), (1, 1, 2, 4, 8, 16)])
def test_branch_widths_fill_the_block(rates):
    width = 4 * 3 * len(rates)
    block = AOTBlock(width, rates)
    assert [conv.out_channels for conv in block.branches] == [branch_width(width, rates)] * len(rates)
    assert [conv.dilation[0] for conv in block.branches] == list(rates)
    assert block(torch.zeros(1, width, 20, 24)).shape == (1, width, 20, 24)


@pytest.mark.parametrize("width, rates", [(256, (1, 2, 4)), (8, ()), (8, (0, 1))])
def test_impossible_rates_are_refused(width, rates):
    with pytest.raises(ValueError, match="rates|branches"):
        branch_width(width, rates)


def test_padding_once_and_cropping_equals_padding_each_branch():
    block = AOTBlock(8, (1, 2, 4, 8)).double()
    x = torch.randn(1, 8, 24, 20, dtype=torch.float64)
    parts = [F.relu(conv(F.pad(x, (r,) * 4, mode="reflect"))) for conv, r in zip(block.branches, block.rates)]
    feature = block.fuse(F.pad(torch.cat(parts, 1), (1,) * 4, mode="reflect"))
    torch.testing.assert_close(block.transform(x)[0], feature)


def supports(network, side, *, channels):
    """Sides of the squares of input pixels that can change each of four neighbouring outputs."""
    for p in network.parameters():
        p.data = p.data.abs() + 0.01  # all weights positive: nothing cancels, no ReLU closes
    image = torch.rand(1, channels, side, side, dtype=torch.float64, requires_grad=True)
    out = network(image)
    reach = []
    middle = out.shape[-1] // 2
    for offset in range(4):  # up-sampling and strides make the reach depend on the phase
        (gradient,) = torch.autograd.grad(out[0, 0, middle + offset, middle + offset], image, retain_graph=True)
        columns = torch.nonzero(gradient.abs().sum((0, 1, 2)))
        reach.append((columns.max() - columns.min() + 1).item())
    return sorted(reach)


def test_receptive_field_of_the_generator_is_604():
    generator = Generator(width=1, n_blocks=8).double()  # the paper's gate is local; the width does not matter
    for block in generator.blocks:
        block.forward = lambda x, block=block: block.transform(x)[0]  # a saturated gate would hide the branch

    def convolutions(image):
        return generator.decode(generator.blocks_output(generator.encode(image, torch.zeros_like(image[:, :1]))))

    convolutions.parameters = generator.parameters
    assert supports(convolutions, 656, channels=3) == [604, 604, 608, 608]


def test_receptive_field_of_the_discriminator_is_70():
    discriminator = Discriminator(width=2).double().eval()
    assert supports(discriminator, 128, channels=3) == [70] * 4


def test_discriminator_looks_at_the_patches_that_its_docstring_names():
    discriminator = Discriminator(width=2).double().eval()
    image = torch.rand(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    out = discriminator(image)
    assert out.shape[-2:] == (18, 18)
    (gradient,) = torch.autograd.grad(out[0, 0, 8, 8], image)
    columns = torch.nonzero(gradient.abs().sum((0, 1, 2)))
    assert (columns.min() + columns.max()).item() / 2 == 8 * 8 + 11.5


def test_what_lies_under_the_hole_is_never_read():
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., 10:30, 10:30] = 1
    image = torch.rand(1, 3, 48, 48) * 2 - 1
    other = torch.where(mask.bool(), torch.rand_like(image), image)
    for recipe in ("paper", "released"):
        generator = Generator(4, 1, recipe=recipe)
        torch.testing.assert_close(generator(image, mask), generator(other, mask), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3, 255, 256), (3, 32, 64), (1, 64, 64)])
def test_bad_sizes_are_refused_in_words(shape):
    with pytest.raises(ValueError, match="multiples of 4|expected image"):
        Generator(4, 1)(torch.zeros(1, *shape), torch.zeros(1, 1, *shape[1:]))


def test_seed_decides_the_weights():
    for network in (lambda seed: Generator(4, 1, seed=seed), lambda seed: Discriminator(4, seed=seed)):
        a, b, c = (network(seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(a[k], b[k]) for k in a)
        assert not all(torch.equal(a[k], c[k]) for k in a)
    he = Generator(4, 1, init="he").blocks[0].fuse.weight  # 16 channels, 3 x 3: 144 inputs, 2,304 draws
    assert he.std().item() == pytest.approx((2 / 144) ** 0.5, rel=0.05)
    with pytest.raises(ValueError, match="'xavier'"):
        Generator(4, 1, init="xavier")
    assert Generator(64, 1).encoder[0].weight.std().item() == pytest.approx(
        0.02, rel=0.03
    )  # 12,544 draws: 3 sigma is 2 %


# --- weights of the released code ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def released_state():
    rng = torch.Generator().manual_seed(0)
    return {
        k: torch.randn(s, generator=rng) * (0.025 if k.endswith("weight") else 0.1)
        for k, s in released_shapes().items()
    }


def released_forward(state, image, mask):
    """The released network written from its layer table, on its own tensor names."""

    def conv(name, x, reflect=0, **options):
        x = F.pad(x, (reflect,) * 4, mode="reflect") if reflect else x
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)

    x = torch.cat([image * (1 - mask) + mask, mask], 1)
    x = F.relu(conv("encoder.1", x, reflect=3))
    x = F.relu(conv("encoder.3", x, stride=2, padding=1))
    x = F.relu(conv("encoder.5", x, stride=2, padding=1))
    for i in range(8):
        parts = [F.relu(conv(f"middle.{i}.block{j:02d}.1", x, reflect=2**j, dilation=2**j)) for j in range(4)]
        feature = conv(f"middle.{i}.fuse.1", torch.cat(parts, 1), reflect=1)
        gate = conv(f"middle.{i}.gate.1", x, reflect=1)
        std, mean = torch.std_mean(gate, (2, 3), correction=1, keepdim=True)
        share = torch.sigmoid(5 * (2 * (gate - mean) / (std + 1e-9) - 1))
        x = x * (1 - share) + feature * share
    for name in ("decoder.0.conv", "decoder.2.conv"):
        x = F.relu(conv(name, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True), padding=1))
    return torch.tanh(conv("decoder.4", x, padding=1))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [(64, 64), (40, 68)])
def test_released_weights_give_the_released_output(released_state, size, dtype, tolerance):
    rng = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, *size, generator=rng, dtype=dtype) * 2 - 1
    mask = (torch.rand(1, 1, *size, generator=rng) < 0.3).to(dtype)
    state = {key: value.to(dtype) for key, value in released_state.items()}
    with torch.no_grad():
        ours = Generator.from_released(state).to(dtype)(image, mask)
        theirs = released_forward(state, image, mask)
    assert theirs.std() > 0.01  # a constant picture would agree with anything
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def test_every_released_tensor_has_its_place(released_state):
    assert len(released_state) == 108
    assert sum(t.numel() for t in released_state.values()) == 15_200_835
    assert {rename(k) for k in released_state} == set(Generator().state_dict())


def test_a_released_file_is_read_and_wrong_ones_are_refused(released_state, tmp_path):
    good = tmp_path / "G0000000.pt"
    torch.save({f"module.{k}": v for k, v in released_state.items()}, good)
    assert Generator.from_released(good).recipe == "released"
    wrong = {
        "O0000000.pt": ({"optimG": {}, "optimD": {}}, "optimiser file"),
        "D0000000.pt": ({"conv.0.weight_orig": torch.zeros(1)}, "discriminator file"),
        "short.pt": ({k: v for k, v in released_state.items() if "gate" not in k}, "16 of its 108 tensors are missing"),
        "shape.pt": (released_state | {"decoder.4.bias": torch.zeros(4)}, "decoder.4.bias is"),
        "list.pt": ([1, 2], "holds a list"),
    }
    for name, (content, message) in wrong.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(ValueError, match=message):
            Generator.from_released(tmp_path / name)
    (tmp_path / "torn.pt").write_bytes(good.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read"):
        Generator.from_released(tmp_path / "torn.pt")
    with pytest.raises(ValueError, match="is a folder.*G0000000.pt"):
        Generator.from_released(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        Generator.from_released(tmp_path / "none.pt")
