"""Training: what each step may change, exact resume, state on disk, and refusals in words."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

from aotlib import cli, launch
from aotlib.checkpoint import load_state, save_state, state_files
from aotlib.config import TrainConfig
from aotlib.features import load_features
from aotlib.masks import composite
from aotlib.step import build, discriminator_gradients, generator_gradients, training_step
from aotlib.train import train
from aotlib.trainlog import read_log
from aotlib.weights import load_generator

CPU = torch.device("cpu")


def batch_of(n=2, size=48):
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(n, 1, size, size)
    mask[..., 10:30, 14:40] = 1
    return {"image": torch.rand(n, 3, size, size, generator=rng) * 2 - 1, "mask": mask}


def copy_of(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def changed(module, before):
    return [key for key, value in module.state_dict().items() if not torch.equal(value, before[key])]


def test_each_gradient_and_each_optimiser_has_its_own_network(tiny):
    state, batch = build(tiny, CPU), batch_of()
    generator, discriminator = copy_of(state.generator), copy_of(state.discriminator)
    z, values = generator_gradients(state, batch, load_features("random"), tiny)
    assert all(p.grad is not None for p in state.generator.parameters())
    assert all(p.grad is None for p in state.discriminator.parameters()), "L leaked into D's gradient"
    assert not changed(state.discriminator, discriminator), "the generator's pass moved the spectral norm"
    assert not z.requires_grad and set(values) == {"rec", "per", "sty", "adv", "total"}
    before = [p.grad.clone() for p in state.generator.parameters()]
    discriminator_gradients(state, batch, z, tiny)
    assert all(torch.equal(p.grad, g) for p, g in zip(state.generator.parameters(), before)), "L_D leaked into G"
    assert not changed(state.generator, generator)
    state.optimiser_g.step()
    assert changed(state.generator, generator)
    state.optimiser_d.step()
    assert [key for key in changed(state.discriminator, discriminator) if key.endswith("original")]


def test_a_step_is_both_descents(tiny):
    batch, features = batch_of(), load_features("random")
    one, two = build(tiny, CPU), build(tiny, CPU)
    training_step(one, batch, features, tiny)
    z, _ = generator_gradients(two, batch, features, tiny)
    discriminator_gradients(two, batch, z, tiny)
    two.optimiser_g.step()
    two.optimiser_d.step()
    assert not changed(one.generator, copy_of(two.generator))
    assert not changed(one.discriminator, copy_of(two.discriminator))


def test_discriminators_gradient_is_that_of_its_own_loss(tiny):
    """After a step of G, D's gradient must equal one computed on a fresh copy that G never touched."""
    from aotlib.losses import discriminator_loss

    state, batch = build(tiny, CPU), batch_of()
    z, _ = generator_gradients(state, batch, load_features("random"), tiny)
    fresh = build(tiny, CPU).discriminator
    real, fake = fresh(torch.cat([batch["image"], z])).chunk(2)
    discriminator_loss(real, fake, batch["mask"]).backward()
    discriminator_gradients(state, batch, z, tiny)
    for ours, theirs in zip(state.discriminator.parameters(), fresh.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)


def test_the_paper_shows_vgg_the_composite_and_the_released_code_the_prediction(tiny):
    features, batch = load_features("random"), batch_of()
    batch["mask"].zero_()  # nothing to fill: the composite is the photograph itself
    for recipe, expected in (("paper", True), ("released", False)):
        config = dataclasses.replace(tiny, recipe=recipe)
        _, values = generator_gradients(build(config, CPU), batch, features, config)
        assert (values["per"].item() == 0) is expected
        assert values["total"].item() == pytest.approx(
            sum(getattr(config, f"weight_{k}") * values[k].item() for k in ("rec", "per", "sty", "adv")), rel=1e-5
        )


def test_running_average_follows_its_formula(tiny):
    config = dataclasses.replace(tiny, ema_decay=0.9)
    state, features = build(config, CPU), load_features("random")
    weights = []
    for _ in range(3):
        training_step(state, batch_of(), features, config)
        weights.append(state.generator.decoder[2].bias.detach().clone())
    expected = 0.9 * (0.9 * weights[0] + 0.1 * weights[1]) + 0.1 * weights[2]  # it starts from the first
    torch.testing.assert_close(state.average.module.decoder[2].bias.detach(), expected)


def test_training_learns(tiny, tmp_path):
    config = dataclasses.replace(tiny, steps=60, log_every=10, sample_every=30, save_every=30, width=4, init="he")
    rows = []
    last = train(config, tmp_path, report=rows.append)
    assert [row["step"] for row in rows] == list(range(10, 61, 10)) and rows == read_log(tmp_path)
    assert last["rec"] < 0.8 * rows[0]["rec"]
    assert {p.name for p in (tmp_path / "samples").iterdir()} == {f"step_{s:08d}.png" for s in (30, 60)}
    assert any((tmp_path / "tensorboard").iterdir())
    generator = load_generator(tmp_path / "generator_ema.safetensors")
    batch = batch_of()
    with torch.no_grad():
        z = composite(generator(batch["image"], batch["mask"]), batch["image"], batch["mask"])
    assert z.shape == batch["image"].shape


def test_a_stopped_run_goes_on_bit_for_bit(tiny, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(tiny, whole)

    class Stopped(Exception):
        pass

    def stop(row):
        if row["step"] == 3:  # one step behind the state of step 2
            raise Stopped

    with pytest.raises(Stopped):
        train(tiny, parts, report=stop)
    assert [row["step"] for row in read_log(parts)] == [1, 2, 3]
    train(tiny, parts)
    a, b = load_state(whole / "state"), load_state(parts / "state")
    flat_a, flat_b = (torch.utils._pytree.tree_flatten(state)[0] for state in (a, b))
    assert len(flat_a) == len(flat_b) > 50
    assert all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(flat_a, flat_b))

    def timeless(folder):
        return [{k: v for k, v in row.items() if k not in ("images_per_s", "seconds")} for row in read_log(folder)]

    assert timeless(whole) == timeless(parts)


def test_training_longer_goes_on_and_another_configuration_is_refused(tiny, photographs, tmp_path):
    train(dataclasses.replace(tiny, steps=2), tmp_path)
    train(tiny, tmp_path)
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="lr 0.001 -> 0.002"):
        train(dataclasses.replace(tiny, lr=2e-3), tmp_path)
    with pytest.raises(ValueError, match="is at step 4 already, beyond steps = 2"):
        train(dataclasses.replace(tiny, steps=2), tmp_path)
    extra = photographs / "train" / "extra.png"
    Image.new("RGB", (64, 64)).save(extra)
    try:
        with pytest.raises(ValueError, match="files"):  # other photographs under the same name
            train(tiny, tmp_path)
    finally:
        extra.unlink()


def test_a_setting_that_a_state_does_not_know_yet_had_its_default(tiny, tmp_path):
    train(dataclasses.replace(tiny, steps=2), tmp_path)
    (path,) = state_files(tmp_path / "state")
    saved = torch.load(path, weights_only=True)
    older = {key: value for key, value in json.loads(saved["config"]).items() if key not in ("soft_sigma", "gate")}
    save_state(saved | {"config": json.dumps(older)}, path.parent)
    with pytest.raises(ValueError, match="soft_sigma 10.0 -> 3.0"):
        train(dataclasses.replace(tiny, soft_sigma=3.0), tmp_path)
    assert train(tiny, tmp_path)["step"] == 4


def test_a_damaged_state_gives_way_to_the_one_before(tmp_path):
    for step in (1, 2, 3):
        save_state({"step": step, "x": torch.full((1000,), float(step))}, tmp_path, keep=2)
    newest = state_files(tmp_path)[-1]
    assert [p.name for p in state_files(tmp_path)] == ["step_00000002.pt", "step_00000003.pt"]
    newest.write_bytes(newest.read_bytes()[:500])
    with pytest.warns(UserWarning, match="step_00000003.pt is damaged"):
        assert load_state(tmp_path)["step"] == 2
    assert load_state(tmp_path / "none") is None
    save_state({"step": 1, "x": torch.zeros(3)}, tmp_path, keep=2)  # what is newer and damaged is out of the way
    assert [p.name for p in state_files(tmp_path)] == ["step_00000001.pt", "step_00000002.pt"]


@pytest.mark.parametrize("damage", [
    lambda b: b[: len(b) // 2], lambda b: b"no state at all " * 10, lambda b: b"",
    lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1 :],
])  # fmt: skip
def test_every_kind_of_damage_is_seen_and_no_run_begins_anew_in_silence(tmp_path, damage):
    path = save_state({"step": 1, "x": torch.arange(100_000.0)}, tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(ValueError, match="all 1 states .* are damaged"):
        load_state(tmp_path)
    assert path.with_name(f"{path.name}.damaged").is_file()


def test_an_interrupted_write_leaves_no_state(tmp_path, monkeypatch):
    save_state({"step": 1}, tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_state({"step": 2}, tmp_path)
    assert load_state(tmp_path) == {"step": 1}


def test_a_cut_off_last_line_of_the_log_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1}) + '\n{"step": 2, "re')
    assert read_log(tmp_path) == [{"step": 1}]


@pytest.mark.parametrize("change, message", [
    ({"recipe": "papr"}, "recipe must be"),
    ({"design": "smgan"}, "design must be"),
    ({"steps": 3, "log_every": 2}, "multiple"),
    ({"weight_adv": 0, "weight_rec": 0, "weight_per": 0, "weight_sty": 0}, "all loss weights are 0"),
])  # fmt: skip
def test_bad_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**({"log_every": 1} | change))


def test_weights_without_a_card_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="does not say how"):
        load_generator(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError, match="train first"):
        load_generator(tmp_path / "y.safetensors")


def test_the_command_trains_and_leaves_a_record(photographs, tmp_path, monkeypatch, capsys):
    from aotlib import records

    size = "--size 48 --width 2 --n-blocks 1 --features random --feature-width 8 --batch 2 --steps 2 --workers 0"
    every = "--log-every 1 --sample-every 2 --save-every 2"
    words = f"aotlib train --data {photographs} {size} {every} --run-dir {tmp_path}"
    monkeypatch.setattr("sys.argv", words.split())
    cli.main()
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["data"] == records.fingerprint(photographs)
    assert record["features"] == "random, 8 wide" and record["parameters"]["steps"] == 2
    assert "rec" in record["metrics"] and "step 2" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["aotlib", "train", "--weigth-rec", "1"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "--weight-rec" in capsys.readouterr().err


def test_a_named_data_set_is_not_taken_from_the_embedded_photographs():
    from conftest import ROOT

    from aotlib.data import dataset_files

    with pytest.raises(ValueError, match="embedded photographs, not places2"):
        dataset_files("places2", ROOT / "data" / "samples", "train")


def test_a_run_says_at_its_start_what_it_will_do(tmp_path, monkeypatch):
    monkeypatch.delenv("AOTLIB_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    about = TrainConfig(data="x", device="cpu", features="auto")
    told = launch._begun(about)
    assert told.startswith(
        "AOT-GAN: 1,000,000 steps of 8 crops of 512 px, 64 channels, lr 0.0001, cpu; a line every 100"
    )
    assert "\nfeature network of the losses: random; no VGG19" in told
    assert "compare random features, and the paper's do not: --features vgg19 downloads them" in told
    assert "VGG19" not in launch._begun(dataclasses.replace(about, features="random")), "warned of what was asked for"


def test_a_run_of_another_method_says_what_it_does_not_use(monkeypatch):
    monkeypatch.delenv("AOTLIB_WEIGHTS", raising=False)
    told = launch._begun(TrainConfig(method="ca", data="x", device="cpu", design="patchgan", weight_sty=1.0))
    assert told.endswith("\nnot used, as CA has none of it: design, weight_sty") and "feature network" not in told
    assert "feature network" in launch._begun(TrainConfig(method="edge_connect", data="x", device="cpu"))


def test_the_command_line_counts_from_the_papers_settings_of_the_method(monkeypatch, capsys):
    asked = ["train", "--method=pconv", "--width", "8"]
    assert (cli.as_published(asked).lr, cli.as_published(asked).batch, cli.as_published(asked).width) == (2e-4, 6, 64)
    assert cli.as_published(["evaluate", "--method", "ca"]) == cli.as_published(["train"]) == TrainConfig()
    assert cli.as_published(["train", "--method", "cab"]) == TrainConfig(), "the parser says what is wrong"
    monkeypatch.setattr("sys.argv", ["aotlib", "train", "--method", "ca", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "channels of the first layer of both networks (default: 32)" in told


def test_a_side_that_a_method_cannot_take_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="CA learns from crops whose side is a multiple of 8 .* got size = 60; try 56"):
        build(TrainConfig(method="ca", data="x", size=60, width=8), torch.device("cpu"))
