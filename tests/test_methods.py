"""Every compared method under one interface: counts of the papers, any size, and the same engine as AOT-GAN's."""

import copy
import dataclasses
import json

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from torch.utils._pytree import tree_flatten

from aotlib import methods, padding, profiles
from aotlib.baselines import hifill, training
from aotlib.config import STAGED, TrainConfig
from aotlib.methods import METHODS
from aotlib.step import NotFinite, build, training_step
from aotlib.train import train
from aotlib.weights import load_generator, read_card

CPU = torch.device("cpu")
WIDTH = {"context_encoder": 16, "ca": 8, "pconv": 8, "pen_net": 8, "edge_connect": 8, "gated_conv": 16, "hifill": 8}
TRAINED = [name for name, method in METHODS.items() if method.trained_as == name and name != "aot"]
each = pytest.mark.parametrize("name", TRAINED)
# Counted from released code or exact layer lists by others: parameters in millions, 1e9 multiply-adds at 256 px.
PUBLISHED = {
    "aot": (15.20, 72.9), "ca": (3.60, 25.8), "gated_conv": (4.05, 27.7), "pen_net": (10.23, 25.7),
    "edge_connect": (21.54, 96.8), "hifill": (2.72, None), "pconv": (32.86, 9.5),
}  # fmt: skip


def small(name, **changes):
    given = {
        "method": name, "data_dir": str(ROOT / "data" / "samples"), "size": 64, "width": WIDTH.get(name, 8),
        "n_blocks": 1,
        "features": "random", "feature_width": 8, "batch": 2, "steps": 4, "log_every": 1, "sample_every": 4,
        "save_every": 1, "workers": 0, "n_samples": 1, "lr": 1e-3, "compile": "off",
    }  # fmt: skip
    return TrainConfig(**given | changes)


def batch_of(n=2, size=64):
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(n, 1, size, size)
    mask[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    return {"image": torch.rand(n, 3, size, size, generator=rng) * 2 - 1, "mask": mask, "name": ["a"] * n}


@pytest.mark.parametrize("name", METHODS)
def test_entry_is_complete(name):
    entry = METHODS[name]
    assert entry.name == name and 2015 < entry.year < 2023 and all(
        value.strip() for value in (entry.label, entry.title, entry.authors, entry.venue, entry.licence, entry.weights)
    )  # fmt: skip
    assert entry.paper.startswith("https://") and entry.code.startswith("https://")
    if entry.module:
        assert {"lr", "beta1", "beta2", "batch", "size", "critic_steps", "lr_critic"} <= entry.module.SETTINGS.keys()
        assert entry.settings().keys() <= {field.name for field in dataclasses.fields(TrainConfig)}


def test_the_papers_size_has_the_papers_optimisers():
    jobs = profiles.plan("paper", ROOT)
    for name in TRAINED:
        given = jobs[f"methods.{name}"].parameters
        papers = {key: value for key, value in METHODS[name].settings().items() if key in ("lr", "beta1", "beta2")}
        assert {key: given[key] for key in papers} == papers and len(papers) == 3, name


def test_config_knows_just_the_methods_that_are_trained():
    known = next(field for field in dataclasses.fields(TrainConfig) if field.name == "method").type.__args__
    assert sorted(known) == sorted({method.trained_as for method in METHODS.values()})


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_are_as_large_as_published(name):
    millions, giga = PUBLISHED[name]
    assert METHODS[name].parameters / 1e6 == pytest.approx(millions, abs=0.006)
    if giga:
        assert METHODS[name].macs(256, **({"levels": 8} if name == "pconv" else {})) / 1e9 == pytest.approx(
            giga, rel=0.02
        )


@each
def test_any_size_is_filled_and_known_sizes_are_not_touched(name):
    network = METHODS[name].build(WIDTH[name], seed=1, **METHODS[name].options_at(64)).eval()
    batch = batch_of(1)
    rule = {"multiple": network.multiple, "smallest": network.smallest}
    with torch.no_grad():
        plain = network(batch["image"], batch["mask"])
        assert torch.equal(padding.padded(network, batch["image"], batch["mask"], **rule), plain)
        odd = padding.padded(network, batch["image"][..., :37, :50], batch["mask"][..., :37, :50], **rule)
    assert odd.shape == (1, 3, 37, 50) and odd.isfinite().all()


def until(row, last, seen):
    """Ctrl-C while a line of the log is shown, before that step's state is saved."""
    seen.append(row["step"])
    if row["step"] == last:
        raise KeyboardInterrupt


@each
def test_a_stopped_run_goes_on_bit_for_bit(name, tmp_path):
    train(small(name), tmp_path / "whole")
    for first, last in ((1, 2), (2, 3), (3, 4)):  # before, at and after the borders of stages
        seen = []
        with pytest.raises(KeyboardInterrupt):
            train(small(name), tmp_path / "parts", report=lambda row, last=last, seen=seen: until(row, last, seen))
        assert seen == [first, last], "it began anew"
        assert (tmp_path / "parts" / "state" / f"step_{last - 1:08d}.pt").is_file()
    train(small(name), tmp_path / "parts")
    for kind in ("generator", "generator_ema", "discriminator"):
        paths = [tmp_path / run / f"{kind}.safetensors" for run in ("whole", "parts")]
        assert paths[0].exists() == paths[1].exists() == (kind != "discriminator" or name != "pconv")
        if paths[0].exists():
            whole, parts = map(load_file, paths)
            assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole), kind
    whole, parts = ([json.loads(line) for line in (tmp_path / run / "log.jsonl").open()] for run in ("whole", "parts"))
    timed = ("images_per_s", "seconds")
    assert [{k: v for k, v in row.items() if k not in timed} for row in whole] == [
        {k: v for k, v in row.items() if k not in timed} for row in parts
    ]
    assert read_card(tmp_path / "whole" / "generator_ema.safetensors")["method"] == name
    network = load_generator(tmp_path / "whole" / "generator_ema.safetensors")
    assert type(network) is METHODS[name].network and not network.training


@each
def test_both_sides_learn_and_average_follows(name):
    config = small(name)
    state = build(config, CPU)
    sides = {"generator": state.generator, "discriminator": state.discriminator, "average": state.average.module}
    before = {side: {k: v.clone() for k, v in net.state_dict().items()} for side, net in sides.items()}
    for _ in range(2):
        training_step(state, batch_of(), None, config)
        state.step += 1
    for side, net in sides.items():
        moved = [k for k, v in net.state_dict().items() if not torch.equal(v, before[side][k])]
        assert moved or (name, side) == ("pconv", "discriminator"), side
    assert not state.average.module.training


@each
def test_a_bad_picture_changes_no_weight_and_is_named(name):
    config, batch = small(name), batch_of()
    state = build(config, CPU)
    training_step(state, batch, None, config)
    before = copy.deepcopy({part: module.state_dict() for part, module in state.parts().items()})
    batch["image"][0, 0, 0, 0] = float("nan")
    with pytest.raises(NotFinite, match="not finite in step 1"):
        training_step(state, batch, None, config)
    assert_same(before, state)


def assert_same(before, state):
    after = {part: module.state_dict() for part, module in state.parts().items()}
    pairs = zip(tree_flatten(before)[0], tree_flatten(after)[0], strict=True)
    assert all(torch.equal(*pair) if isinstance(pair[0], torch.Tensor) else pair[0] == pair[1] for pair in pairs)


def test_a_critic_that_fails_in_its_second_turn_is_as_it_was(monkeypatch):
    config = small("hifill")
    state, turns, right = build(config, CPU), [], hifill.critic_loss

    def wrong(*args, **kwargs):
        parts = right(*args, **kwargs)
        turns.append(1)
        return {name: value * (float("nan") if len(turns) == 2 else 1) for name, value in parts.items()}

    before = copy.deepcopy({part: module.state_dict() for part, module in state.parts().items()})
    monkeypatch.setattr(hifill, "critic_loss", wrong)
    with pytest.raises(NotFinite):
        training_step(state, batch_of(), None, config)
    assert len(turns) == 2
    assert_same(before, state)


def test_number_of_steps_decides_where_there_are_stages():
    assert {name for name in TRAINED if len(METHODS[name].stages()) > 1} == set(STAGED)
    assert "steps" in small("pconv").decides() and "steps" not in small("hifill").decides()


def test_stages_share_the_steps_equally():
    edge = METHODS["edge_connect"]
    assert [edge.stage_at(step, 9) for step in range(9)] == [stage for stage in edge.stages() for _ in range(3)]
    assert METHODS["aot"].stage_at(5, 9) == ""


def test_several_processes_are_refused():
    with pytest.raises(ValueError, match="2 processes cannot share a run of a compared method"):
        training.alone(type("Group", (), {"size": 2})())


def test_a_size_that_a_mirror_must_reach_several_times():
    x = torch.arange(3.0).view(1, 1, 1, 3)
    assert padding.mirrored(x, 1, 9).flatten().tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]
    assert padding.mirrored(torch.ones(1, 1, 1, 1), 4, 4).sum() == 16
    with pytest.raises(ValueError, match="0 x 3 px is empty"):
        padding.padded(lambda x, m: x, torch.zeros(1, 3, 0, 3), torch.zeros(1, 1, 0, 3), multiple=4)


def test_half_the_picture_is_hole_when_work_is_counted():
    seen = []

    class Network(torch.nn.Conv2d):
        def forward(self, image, mask):
            seen.append(mask.mean().item())
            return super().forward(torch.cat([image, mask], 1))

    assert methods.count_macs(Network(4, 2, 3, padding=1), 8) == 4 * 2 * 9 * 64 and seen == [0.5]
