"""Variants differ from the full method in what their name says, and in nothing else; their runs, curves and tables."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT

from aotlib import ablations, adversary, attempts, losses, profiles
from aotlib.blocks import AOTBlock
from aotlib.config import TrainConfig
from aotlib.grids import FULL, grid, variant_and_seed
from aotlib.losses import discriminator_loss, generator_loss, targets
from aotlib.model import Discriminator, Generator
from aotlib.step import build, discriminator_gradients, generator_gradients
from aotlib.train import train
from aotlib.weights import load_discriminator, load_generator, save_weights

GRID = ROOT / "profiles" / "ablations.yaml"
CHANGES = {FULL: {}} | {name: own for variants in grid(GRID).values() for name, own in variants.items()}


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def state_of(**changed):
    return build(TrainConfig(size=64, width=16, n_blocks=2, init="he", **changed), torch.device("cpu"))


# --- the generator's switches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", CHANGES)
def test_a_variant_has_the_full_methods_weights_but_for_its_switch(variant):
    """Names and shapes of parameters: only rates, block and gate may change them, and only their own."""
    full, other = (state_of(**changed).generator.state_dict() for changed in ({}, CHANGES[variant]))
    shapes = {name: tensor.shape for name, tensor in full.items()}
    others = {name: tensor.shape for name, tensor in other.items()}
    different = {name for name in shapes.keys() | others.keys() if shapes.get(name) != others.get(name)}
    own = CHANGES[variant]
    switched = {"branches"} if own.get("block") == "residual" or len(own.get("rates", "1234")) != 4 else set()
    switched |= {"gate"} if own.get("gate") == "none" else set()
    assert {name.split(".")[2] for name in different} == switched


@pytest.mark.parametrize("variant", [name for name, own in CHANGES.items() if "rates" in own])
def test_rates_leave_the_number_of_weights_as_it_is(variant):
    sizes = [sum(p.numel() for p in Generator(16, 2, rates=rates).parameters()) for rates in
             ((1, 2, 4, 8), CHANGES[variant]["rates"])]  # fmt: skip
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_any_number_of_branches_that_divides_the_width(n):
    rates = tuple(range(1, n + 1))
    assert Generator(4, 1, rates=rates)(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)).shape == (1, 3, 64, 64)
    with pytest.raises(ValueError, match="64 channels cannot be split into 3"):
        Generator(16, rates=(1, 2, 4))


def test_the_residual_block_is_the_papers_figure():
    """3x3 of rate 2, ReLU, 3x3 of rate 1, identity added: written out."""
    (block,) = Generator(2, 1, block="residual", gate="none", init="he").blocks
    x = rand(1, 8, 12, 14)
    first, second = block.branches[0], block.fuse
    inner = F.relu(F.conv2d(F.pad(x, (2,) * 4, mode="reflect"), first.weight, first.bias, dilation=2))
    expected = x + F.conv2d(F.pad(inner, (1,) * 4, mode="reflect"), second.weight, second.bias)
    torch.testing.assert_close(block(x), expected)


def test_a_shut_gate_and_a_missing_one_are_neutral_alike():
    """A block without a gate gives its input back where the new feature is 0; one whose gate is shut always does."""
    plain, gated = AOTBlock(8, (1, 2), "none"), AOTBlock(8, (1, 2), "paper")
    x = rand(1, 8, 16, 16)
    with torch.no_grad():
        for parameter in plain.fuse.parameters():
            parameter.zero_()
        gated.gate.weight.zero_()
        gated.gate.bias.fill_(50.0)
    torch.testing.assert_close(plain(x), x)
    torch.testing.assert_close(gated(x), x)
    assert plain.transform(x)[1] is None


def test_without_a_gate_the_block_adds():
    block = AOTBlock(8, (1, 2), "none")
    x = rand(1, 8, 16, 16)
    torch.testing.assert_close(block(x), x + block.transform(x)[0])


def test_a_released_gate_in_the_papers_recipe_changes_the_gate_alone():
    paper, mixed, released = (Generator(4, 1, **own) for own in ({}, {"gate": "released"}, {"recipe": "released"}))
    image, mask = rand(1, 3, 64, 64) * 2 - 1, (rand(1, 1, 64, 64, seed=1) > 0.5).float()
    torch.testing.assert_close(mixed.encode(image, mask), paper.encode(image, mask))  # grey holes, not white ones
    x = rand(1, 16, 16, 16)
    torch.testing.assert_close(mixed.blocks[0](x), released.blocks[0](x))
    assert not torch.allclose(mixed.blocks[0](x), paper.blocks[0](x))


def test_switches_are_kept_with_the_weights(tmp_path):
    for own in ({"block": "residual", "gate": "none"}, {"gate": "released"}, {"rates": (1, 1, 1, 1)}):
        generator = Generator(4, 1, **own).eval()
        path = tmp_path / "generator.safetensors"
        save_weights(generator.state_dict(), path, {"options": json.dumps(generator.options)})
        image, mask = rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
        torch.testing.assert_close(load_generator(path)(image, mask), generator(image, mask))
    assert "gate" not in Generator(4, 1).options  # as in files of earlier runs


@pytest.mark.parametrize("wrong", [{"block": "resnet"}, {"gate": "open"}])
def test_unknown_switches_are_refused(wrong):
    with pytest.raises(ValueError, match="must be one of"):
        Generator(4, 1, **wrong)


OF_GENERATOR = [name for name, own in CHANGES.items() if own.keys() <= {"block", "gate", "rates"}]


def own_rates(variant):
    return [2] if CHANGES[variant].get("block") == "residual" else CHANGES[variant].get("rates", [1, 2, 4, 8])


def generator_of(tap=(slice(None), slice(None)), n_blocks=1, width=4, **own):
    """A generator as training builds it; with `tap`, every branch has that tap of its kernel only."""
    generator = build(
        TrainConfig(size=64, width=width, n_blocks=n_blocks, init="he", **own), torch.device("cpu")
    ).generator.double()
    with torch.no_grad():
        for branch in (branch for block in generator.blocks for branch in block.branches):
            kept = branch.weight[(..., *tap)].clone()
            branch.weight.zero_()[(..., *tap)] = kept
    return generator.eval()


def share_weights(generator, full):
    """Give `generator` the weights of `full`: the channels of the branches in order, however many there are."""
    state = full.state_dict()
    own = {name: state[name] for name in generator.state_dict() if ".branches." not in name}
    generator.load_state_dict(own, strict=False)
    with torch.no_grad():
        for block, other in zip(generator.blocks, full.blocks, strict=True):
            for part in ("weight", "bias"):
                stacked = torch.cat([getattr(branch, part) for branch in other.branches])
                for branch, piece in zip(block.branches, stacked.chunk(len(block.branches)), strict=True):
                    getattr(branch, part).copy_(piece)


def open_paths(generator):
    """Weights with which no path through the network is cut: positive, of sum 1."""
    for parameter in generator.parameters():
        torch.nn.init.constant_(parameter, 0 if parameter.ndim == 1 else 1 / parameter[0].numel())
    return generator


def seen_by(output, given):
    """Which positions (H, W) of `given` one value depends on."""
    return torch.autograd.grad(output, given, retain_graph=True)[0][0].abs().sum(0) > 0


@pytest.mark.parametrize("variant", OF_GENERATOR)
def test_a_block_looks_where_its_rates_say(variant):
    """Its middle output depends on the positions r a + b, a and b in -1, 0, 1, along each axis, and on no other."""
    (block,) = open_paths(generator_of(**CHANGES[variant])).blocks
    assert list(block.rates) == own_rates(variant)
    x = torch.ones(1, 16, 33, 33, dtype=torch.float64, requires_grad=True)
    expected = torch.zeros(33, 33, dtype=torch.bool)
    for rate in own_rates(variant):
        places = torch.tensor([16 + rate * a + b for a in (-1, 0, 1) for b in (-1, 0, 1)])
        expected[places[:, None], places] = True
    statistics = block.gate_kind == "released"  # of the whole map: the share of the new feature depends on all
    output = block.transform(x)[0] if statistics else block(x)
    assert torch.equal(seen_by(output[0, 0, 16, 16], x), expected)


@pytest.mark.parametrize("variant", OF_GENERATOR)
@pytest.mark.parametrize("n_blocks", [1, 2])
def test_a_prediction_looks_as_far_as_its_rates_say(variant, n_blocks):
    """Side of the receptive field in pixels, by autograd; every second pixel sees 4 px more."""
    generator = open_paths(generator_of(n_blocks=n_blocks, width=2, **CHANGES[variant]))
    image = torch.ones(1, 3, 224, 224, dtype=torch.float64, requires_grad=True)
    x = generator.encode(image, torch.zeros_like(image[:, :1]))
    for block in generator.blocks:  # the released gate's mean of the whole map does not count
        x = block.transform(x)[0] if block.gate_kind == "released" else block(x)
    output, sides = generator.decode(x), []
    for pixel in (112, 113):
        rows = seen_by(output[0, 0, pixel, 112], image).any(1).nonzero()
        sides.append((rows.max() - rows.min() + 1).item())
    reach = 28 + 8 * n_blocks * (max(own_rates(variant)) + 1)
    assert min(sides) == reach and max(sides) - min(sides) in (0, 4)


def test_the_released_gate_sees_the_whole_map():
    """And no other: the mean and deviation of its logits are those of all positions."""
    for variant in OF_GENERATOR:
        (block,) = generator_of(**CHANGES[variant]).blocks
        x = rand(1, 16, 40, 40).double().requires_grad_(True)
        assert seen_by(block(x)[0, 0, 20, 20], x).all() == (variant == "released_gate")


BRANCHES = [name for name in OF_GENERATOR if {"rates", "block"} & CHANGES[name].keys()]


@pytest.mark.parametrize("variant", BRANCHES)
def test_branches_that_look_at_one_place_are_the_full_methods(variant):
    """With the middle tap alone a rate says nothing: the output is the full method's, with the gate that both have."""
    gate, middle = {"gate": CHANGES[variant].get("gate", "recipe")}, (1, 1)
    image, mask = rand(1, 3, 64, 64).double() * 2 - 1, (rand(1, 1, 64, 64, seed=1) > 0.5).double()
    whole = slice(None), slice(None)
    for tap, alike in ((middle, True), (whole, False)):
        full, other = generator_of(tap, 2, **gate), generator_of(tap, 2, **CHANGES[variant])
        share_weights(other, full)
        assert torch.allclose(other(image, mask), full(image, mask), rtol=0, atol=1e-9) == alike


def test_four_equal_branches_are_one():
    near, one = (generator_of(n_blocks=2, **CHANGES[variant]) for variant in ("all_near", "one_branch"))
    share_weights(one, near)
    image, mask = rand(1, 3, 64, 64).double() * 2 - 1, (rand(1, 1, 64, 64, seed=1) > 0.5).double()
    torch.testing.assert_close(one(image, mask), near(image, mask))


@pytest.mark.parametrize("variant", [name for name in OF_GENERATOR if "gate" in CHANGES[name]])
def test_gates_that_have_nothing_to_decide_are_the_full_methods(variant):
    """Where the new feature is the old one any gate gives it back; so does a sum where the new feature is 0."""
    full, other = generator_of(n_blocks=2), generator_of(n_blocks=2, **CHANGES[variant])
    share_weights(other, full)
    image, mask = rand(1, 3, 64, 64).double() * 2 - 1, (rand(1, 1, 64, 64, seed=1) > 0.5).double()
    assert not torch.allclose(other(image, mask), full(image, mask), rtol=0, atol=1e-9)
    with torch.no_grad():
        for network in (full, other):
            for block in network.blocks:
                for part in (*block.branches, block.fuse):
                    part.weight.zero_()
                    part.bias.zero_()
                if block.gate is not None:  # features of an encoder that ends in ReLU pass the one of the branches
                    block.fuse.weight[:, :, 1, 1] = torch.eye(16)
                    for branch, piece in zip(block.branches, torch.eye(16).chunk(len(block.branches)), strict=True):
                        branch.weight[:, :, 1, 1] = piece
    torch.testing.assert_close(other(image, mask), full(image, mask))
    torch.testing.assert_close(full(image, mask), torch.tanh(full.decode(full.encode(image, mask))))


# --- labels and losses ----------------------------------------------------------------------------------------------


def test_mmagics_labels_are_one_for_photographs_and_holes():
    mask = torch.zeros(1, 1, 160, 160)
    mask[..., 40:140, 40:140] = 1
    on_real, on_fake = targets(mask, "mmagic")
    assert (on_real == 1).all() and torch.equal(on_fake, targets(mask, "released")[1])
    assert on_fake[0, 0, 90, 90] > 0.99 and on_fake[0, 0, 2, 2] < 1e-3
    scores, up = rand(1, 1, 18, 18), {"size": (160, 160), "mode": "bilinear", "align_corners": True}
    large = F.interpolate(scores, **up)
    expected = (large - on_fake).square().mean() + (large - 1).square().mean()
    torch.testing.assert_close(discriminator_loss(scores, scores, mask, "mmagic"), expected)
    torch.testing.assert_close(generator_loss(scores, mask, "mmagic"), (large - 1).square().mean())


def test_the_soft_masks_gaussian_reaches_the_loss_of_a_step():
    """The discriminator's loss of a step is that of the formula with the configured window, and not of the default."""
    batch = {"image": rand(2, 3, 64, 64) * 2 - 1, "mask": torch.zeros(2, 1, 64, 64)}
    batch["mask"][..., 10:40, 20:50] = 1
    z = rand(2, 3, 64, 64, seed=1) * 2 - 1
    found = {}
    for sigma in (3.0, 10.0):
        config = TrainConfig(size=64, width=4, n_blocks=1, soft_size=22, soft_sigma=sigma, precision="float32")
        state = build(config, torch.device("cpu"))
        scores = state.discriminator.train()(torch.cat([batch["image"], z]))
        real, fake = scores.detach().chunk(2)
        state = build(config, torch.device("cpu"))  # its spectral norm as before
        found[sigma] = discriminator_gradients(state, batch, z, config)["dis"]
        soft = losses.soft_mask(1 - batch["mask"], size=22, sigma=sigma)
        expected = (fake - soft).square().mean() + (real - 1).square().mean()
        torch.testing.assert_close(found[sigma], expected, rtol=1e-5, atol=0)
    assert found[3.0] != found[10.0]


@pytest.mark.parametrize("left_out", ["adv", "rec", "per", "sty"])
def test_a_loss_left_out_is_not_in_the_sum(left_out):
    from aotlib.features import load_features

    config = TrainConfig(size=64, width=4, n_blocks=1, features="random", **{f"weight_{left_out}": 0.0})
    state = build(config, torch.device("cpu"))
    batch = {"image": rand(1, 3, 64, 64) * 2 - 1, "mask": torch.zeros(1, 1, 64, 64)}
    batch["mask"][..., 10:40, 20:50] = 1
    _, values = generator_gradients(state, batch, load_features("random", seed=0, width=8), config)
    parts = {name for name in values if name != "total"}
    assert parts == {"adv", "rec", "per", "sty"} - {left_out}
    total = sum(getattr(config, f"weight_{name}") * values[name] for name in parts)
    torch.testing.assert_close(values["total"], total)


def test_wrong_windows_are_refused():
    for wrong in ({"soft_size": 71}, {"soft_sigma": 0.0}):
        with pytest.raises(ValueError, match="soft_size = "):
            TrainConfig(**wrong)


# --- the grid -------------------------------------------------------------------------------------------------------

TOY_GRID = "parts:\n  no_gate: {steps: 3}\n  patchgan: {steps: 4}\nlosses:\n  no_style: {pause_s: 0.5}\n"
GROUP = "ablations: {grid: grid.yaml, seeds: [0, 1], each: {steps: 2}}\n"


@pytest.fixture
def gridded(toy):
    (toy / "profiles" / "grid.yaml").write_text(TOY_GRID)
    (toy / "profiles" / "toy.yaml").write_text(GROUP)
    return toy


def test_a_grid_is_a_run_a_variant_and_seed(gridded):
    jobs = profiles.plan("toy", gridded)
    names = [f"ablations.{name}.s{seed}" for name in ("full", "no_gate", "no_style", "patchgan") for seed in (0, 1)]
    assert sorted(jobs) == sorted(names) and all(job.trains and job.may_fail for job in jobs.values())
    assert jobs["ablations.full.s1"].parameters["steps"] == 2 and jobs["ablations.full.s1"].parameters["seed"] == 1
    assert jobs["ablations.no_gate.s0"].parameters["steps"] == 3
    assert len({job.out_dir for job in jobs.values()}) == 8


def test_a_profile_may_take_some_variants_only(gridded):
    (gridded / "profiles" / "toy.yaml").write_text(GROUP.replace("seeds: [0, 1]", "seeds: [3], only: [no_style]"))
    assert list(profiles.plan("toy", gridded)) == ["ablations.full.s3", "ablations.no_style.s3"]
    (gridded / "profiles" / "toy.yaml").write_text(GROUP.replace("seeds: [0, 1]", "seeds: [3], only: [no_stile]"))
    with pytest.raises(ValueError, match="no variant 'no_stile'; did you mean 'no_style'"):
        profiles.plan("toy", gridded)


@pytest.mark.parametrize("name", ["full", "no gate", "no.gate", "patchgan", "1"])
def test_names_that_no_run_can_have_are_refused(gridded, name):
    (gridded / "profiles" / "grid.yaml").write_text(TOY_GRID + f"  {name}: {{steps: 5}}\n")
    with pytest.raises(ValueError, match="needs a name of its own"):
        profiles.plan("toy", gridded)


@pytest.mark.parametrize(
    "text, words",
    [
        (TOY_GRID + "  no_style: {steps: 5}\n", "grid.yaml: line 5 and below: 'no_style' stands there twice"),
        (TOY_GRID + "  alike: {}\n", "alike: {} changes nothing"),
        (TOY_GRID + "labels: [released]\n", "needs lines 'question:'"),
        ("parts: {", "grid.yaml: while parsing"),
        ("parts:\n  off: {steps: 5}\n", "False: each variant needs a name"),
        (TOY_GRID + "  other: {seed: 5}\n", "other: seed is not a variant's to change"),
        (TOY_GRID + "  other: {method: ca}\n", "other: method is not a variant's to change"),
        (TOY_GRID + "  other: {steps: 2}\n", "ablations.full.s0 and ablations.other.s0 are one and the same run"),
        (TOY_GRID + "  other: {steps: 3}\n", "ablations.no_gate.s0 and ablations.other.s0 are one and the same run"),
    ],
)
def test_mistakes_in_a_grid_are_named(gridded, text, words):
    (gridded / "profiles" / "grid.yaml").write_text(text)
    with pytest.raises(ValueError, match=re.escape(words)):
        profiles.plan("toy", gridded)


@pytest.mark.parametrize(
    "group, words",
    [
        ("{grid: grid.yaml, seeds: [0], onyl: [no_gate]}", "no 'onyl'; did you mean 'only'"),
        ("{grid: grid.yaml, seeds: [0], only: []}", "only = []; list variants"),
        ("{grid: grid.yaml, seeds: [0], only: no_gate}", "only = 'no_gate'; list variants"),
        ("{grid: grid.yaml}", "seeds = None; list different whole"),
        ("{grid: grid.yaml, seeds: 3}", "seeds = 3; list different whole"),
        ("{grid: grid.yaml, seeds: [0.5]}", "seeds = [0.5]; list different whole"),
        ("{grid: grid.yaml, seeds: [0, 0]}", "seeds = [0, 0]; list different whole"),
        ("{grid: gird.yaml, seeds: [0]}", "no grid gird.yaml"),
        ("3", "a group of runs needs lines"),
        ("{grid: 3, seeds: [0]}", "grid = 3; name a file beside it"),
        ("{grid: ../profiles/grid.yaml, seeds: [0]}", "grid = '../profiles/grid.yaml'; name a file beside it"),
        ("{grid: grid.yaml, seeds: [0], each: 3}", "each = 3; write 'parameter: value' lines"),
        ("{grid: grid.yaml, seeds: [0], each: {seed: 3}}", "without method and seed"),
    ],
)
def test_mistakes_in_a_group_are_named(gridded, group, words):
    (gridded / "profiles" / "toy.yaml").write_text(f"ablations: {group}\n")
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(words)):
        profiles.plan("toy", gridded)


@pytest.mark.parametrize(
    "changed, words",
    [
        ("gate: nome", "gate must be one of"),
        ("rates: [1, 2, 3]", "64 channels cannot be split into 3"),
        ("rates: []", "rates must be a list of whole numbers"),
        ("rates: [32, 1]", "a rate of 32 needs crops of 132 px"),
        ("soft_size: 21", "soft_size = 21"),
        ("weight_sty: -5.0", "weight_sty = -5.0: a loss is weighted with 0 or more"),
        ("steps: 46", "steps = 46 must be a multiple of log_every"),
        ("sample_every: 24", "steps = 48, sample_every = 24: no look after a quarter"),
    ],
)
def test_values_that_no_run_can_have_are_refused_before_any_is_trained(tmp_path, changed, words):
    for name in ("notebooks", "aotlib", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "grid.yaml").write_text(f"parts:\n  mine: {{{changed}}}\n")
    each = "{size: 64, width: 16, steps: 48, log_every: 12, sample_every: 12, save_every: 48}"
    (tmp_path / "profiles" / "mine.yaml").write_text(f"ablations: {{grid: grid.yaml, seeds: [0], each: {each}}}\n")
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        profiles.plan("mine", tmp_path)
    assert "ablations.mine.s0" in str(caught.value)


@pytest.mark.parametrize("wrong", ["auto", (), (1.5,), (0, 1)])
def test_rates_that_are_none_are_refused_with_a_way_out(wrong):
    with pytest.raises(ValueError, match="whole numbers >= 1.*aotlib.serving"):
        Generator(4, 1, rates=wrong)


def test_the_notebook_reads_the_grid_of_its_runs(gridded, make_notebook):
    """One place says which grid it is: the group."""
    where = 'out_dir = "../results/smoke/08_ablations"\nablation_runs = {}\ngrid = "../profiles/ablations.yaml"'
    make_notebook(gridded / "notebooks" / "08_ablations.ipynb", where, "")
    profile = gridded / "profiles" / "toy.yaml"
    profile.write_text("08_ablations: {}\n" + GROUP)
    job = profiles.plan("toy", gridded)["08_ablations"]
    assert (job.notebook.parent / job.parameters["grid"]).resolve() == gridded / "profiles" / "grid.yaml"
    profile.write_text("08_ablations: {grid: ../profiles/other.yaml}\n" + GROUP)
    with pytest.raises(ValueError, match="grid is not a profile's to set"):
        profiles.plan("toy", gridded)


def test_runs_of_a_group_without_a_grid_must_not_fail(toy):
    (toy / "profiles" / "toy.yaml").write_text("ablations: {each: {steps: 2}, mine.s0: {}, a.b.c: {}}\n")
    assert not any(job.may_fail for job in profiles.plan("toy", toy).values())


@pytest.mark.parametrize("name", ["mine", "no_gate.s", ".s1", "no_gate.sx", "no_gate.1"])
def test_runs_that_are_not_named_after_variant_and_seed_are_refused(name):
    with pytest.raises(ValueError, match="named after its variant and seed"):
        variant_and_seed(name)


def test_every_variant_of_the_grid_changes_something_that_training_knows():
    fields = TrainConfig.__dataclass_fields__
    for name, own in CHANGES.items():
        assert (name == FULL) == (not own) and own.keys() <= fields.keys()
        assert name == FULL or TrainConfig.of(own) != TrainConfig(), f"{name} is the full method"
    configs = [TrainConfig.of(own) for own in CHANGES.values()]
    assert len(set(configs)) == len(configs)


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(photographs, tmp_path_factory):
    """Two tiny runs, as a grid leaves them, and one that failed."""
    folder = tmp_path_factory.mktemp("runs")
    shared = {"data": str(photographs), "size": 64, "width": 4, "n_blocks": 1, "features": "random", "batch": 2}
    shared |= {"steps": 4, "lr": 1e-3, "mask_high": 0.4, "workers": 0, "log_every": 1, "sample_every": 1}
    shared |= {"save_every": 4, "n_samples": 2, "device": "cpu", "init": "he"}
    for name, own in {"full.s0": {}, "no_gate.s0": {"gate": "none"}}.items():
        train(TrainConfig(**shared, **own), folder / name)
    attempts.write_note(folder / "patchgan.s0", "its Python process died (most often: out of memory)")
    return {name: folder / name for name in ("full.s0", "no_gate.s0", "patchgan.s0", "no_style.s0")}


def test_what_failed_is_told_apart_from_what_was_never_tried(trained):
    found, missing = ablations.finished(trained)
    assert list(found) == [("full", 0), ("no_gate", 0)]
    assert missing == {
        "patchgan.s0": "its Python process died (most often: out of memory)",
        "no_style.s0": "never tried",
    }
    attempts.write_note(trained["no_gate.s0"], "a cell failed after the weights were saved")
    with pytest.raises(ValueError, match="no_gate.s0: a cell failed after the weights were saved"):
        ablations.finished(trained)
    attempts.write_note(trained["no_gate.s0"])
    assert ("no_gate", 0) in ablations.finished(trained)[0]
    with pytest.raises(ValueError, match="no finished run of the full method"):
        ablations.finished({"no_gate.s0": trained["no_gate.s0"]})


def test_a_full_method_without_variants_is_refused_with_the_reasons(trained):
    alone = {name: trained[name] for name in ("full.s0", "patchgan.s0")}
    with pytest.raises(ValueError, match=r"only of the full method; patchgan.s0: its Python process died"):
        ablations.finished(alone)


@pytest.mark.parametrize(
    "own, words",
    [
        ({}, ""),
        ({"steps": 8}, "steps = 8, and 4 was expected"),
        ({"seed": 3}, "seed = 3, and 0 was expected"),
        ({"gate": "recipe"}, "gate = 'recipe', and 'none' was expected"),
        ({"data_dir": "/elsewhere"}, ""),
    ],
)
def test_runs_that_differ_in_more_than_their_name_says_are_refused(tmp_path, own, words):
    found, base = {}, {"steps": 4, "seed": 0, "gate": "recipe", "data_dir": "/here"}
    for variant, parameters in {"full": base, "no_gate": base | {"gate": "none"} | own}.items():
        found[variant, 0] = tmp_path / variant
        found[variant, 0].mkdir()
        record = {"parameters": parameters, "data": {"sha256": "a"}}
        (tmp_path / variant / "record.json").write_text(json.dumps(record))
    if words:
        with pytest.raises(ValueError, match=re.escape(words)):
            ablations.check_alike(found, GRID)
    else:
        ablations.check_alike(found, GRID)
    other = {"parameters": base | {"gate": "none"}, "data": {"sha256": "b"}}
    (tmp_path / "no_gate" / "record.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="other photographs"):
        ablations.check_alike(found, GRID)


def test_runs_are_judged_on_the_same_holes_and_keep_their_seed(trained, photographs):
    from aotlib import manifest
    from aotlib.data import dataset_files
    from aotlib.masks import BUCKETS

    found, _ = ablations.finished(trained)
    files = dataset_files(str(photographs), None, "val")
    plan = manifest.make(files, size=64, buckets=BUCKETS[:2], seed=0, files_root=photographs / "val")
    table = ablations.judged(found, plan, photographs / "val", size=64)
    assert set(table.method) == {"full", "no_gate"} and set(table.seed) == {0}
    assert (table.groupby(["metric", "bucket"]).image.count() == 4).all()  # two images, two runs
    one = table[table.metric == "psnr"].pivot(index=["bucket", "image"], columns="method", values="value")
    assert (one["full"] != one["no_gate"]).all()


def test_curves_are_the_logs_at_their_shares(trained):
    found, _ = ablations.finished(trained)
    table = ablations.curves(found)
    assert list(table.step) == [1, 2, 4] * 2
    log = [json.loads(line) for line in (trained["full.s0"] / "log.jsonl").read_text().splitlines()]
    assert list(table.val_psnr[:3]) == [log[0]["val_psnr"], log[1]["val_psnr"], log[3]["val_psnr"]]
    with pytest.raises(ValueError, match="no look at step 0"):
        ablations.curves(found, [0.1])


def test_the_order_is_kendalls_tau():
    rows = [(name, share, value) for share, values in {0.5: (1, 2, 3), 1.0: (1, 3, 2)}.items()
            for name, value in zip("abc", values)]  # fmt: skip
    table = ablations.same_order(pd.DataFrame(rows, columns=["variant", "share", "val_psnr"]))
    assert table.tau.tolist() == pytest.approx([1 / 3])  # two pairs of three agree


def test_costs_and_accounts_say_what_was_trained(trained):
    found, _ = ablations.finished(trained)
    costs = ablations.costs(found, GRID, 64).set_index("variant")
    assert list(costs.index) == list(CHANGES)  # run or not
    for variant, folder in (("full", trained["full.s0"]), ("no_gate", trained["no_gate.s0"])):
        network = load_generator(folder / "generator_ema.safetensors")
        assert costs.parameters[variant] == sum(parameter.numel() for parameter in network.parameters())
    assert costs.reach["all_far"] == costs.reach["full"] == 28 + 8 * 9 and costs.reach["one_branch"] == 28 + 8 * 2
    gate = 9 * 16 * 16 + 16
    assert costs.parameters["full"] - costs.parameters["no_gate"] == gate
    assert costs.gmac["full"] - costs.gmac["no_gate"] == pytest.approx(9 * 16 * 16 * 16**2 / 1e9)
    assert costs.reach["full"] == 28 + 8 * 9
    table = ablations.accounts(found)
    assert list(table.steps) == [4, 4] and (table.features == "random").all()
    assert table.commit.eq("").all() and table.dirty.all()  # not made by notebook 5: no record


def test_switches_and_tables_name_every_variant(trained):
    switches = ablations.switches(GRID)
    assert list(switches.variant) == list(CHANGES)
    assert switches.set_index("variant").changes["no_context"] == "block = residual, gate = paper"
    table = ablations.with_missing(pd.DataFrame({"method": ["full"], "all": ["20.1"]}), ["full", "no_gate"])
    assert table.values.tolist() == [["full", "20.1"], ["no_gate", "not run"]]


def test_the_discriminator_of_a_run_is_read_back(trained):
    judge = load_discriminator(Path(trained["full.s0"]) / "discriminator.safetensors")
    assert isinstance(judge, Discriminator) and not judge.training
    assert judge.score.in_channels == 8 * 4


def test_the_discriminator_says_which_labels_it_was_given(photographs, trained, tmp_path):
    shared = {"data": str(photographs), "size": 64, "width": 4, "n_blocks": 1, "features": "random", "batch": 2}
    own = {"design": "hm_patchgan", "soft_size": 22, "soft_sigma": 3.0}
    train(TrainConfig(**shared, **own, steps=1, log_every=1, sample_every=1, workers=0, device="cpu"), tmp_path)
    assert adversary.labels_of(tmp_path / "discriminator.safetensors") == ("hm_patchgan", {"size": 22, "sigma": 3.0})
    full = Path(trained["full.s0"])
    assert adversary.labels_of(full / "discriminator.safetensors") == ("sm_patchgan", {"size": 70, "sigma": 10.0})
    with pytest.raises(ValueError, match="does not say which labels"):
        adversary.labels_of(full / "generator.safetensors")


def test_the_profile_of_the_larger_runs_has_what_is_kept_and_reads_nothing_kept():
    profile = profiles.load_profile("larger", ROOT)
    assert profile["08_ablations"]["larger_dir"] == "" and len(profile["ablations"]) == 2 + 3 * len(CHANGES)
    defaults = profiles.declared_parameters(ROOT / "notebooks" / "08_ablations.ipynb")
    assert profile["08_ablations"].keys() <= defaults.keys()
