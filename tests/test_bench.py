"""The benchmark: its reference step is an oracle for the lean one, and what it measures is what it says."""

import copy
import dataclasses
import json
import sys

import pytest
import torch
from conftest import ROOT

from aotlib import bench, cli, features, hardware, step
from aotlib.bench import inference, layers, plan, reference, steps
from aotlib.bench.timing import Budget, Timing, first_line, measure, measure_in_turn
from aotlib.features import seeded_layers

CPU = torch.device("cpu")
# What torch raises where there is no compiler, or one that fails; any other error would be ours.
COMPILERS = ("InductorError", "BackendCompilerFailed", "CppCompileError", "InvalidCxxCompiler")
RECIPES = [("paper", "sm_patchgan"), ("released", "released")]


def both(recipe, design, size=64):
    """A lean state and a plain one with the same weights, VGG19's layers, a batch and the configuration."""
    config = steps.config_for(
        size, 2, width=8, n_blocks=2, recipe=recipe, design=design, precision="float32", compile="off"
    )
    vgg, batch = seeded_layers("relu5_4", 8), steps.random_batch(size, 2, CPU, seed=1)
    plain = reference.build(config, copy.deepcopy(vgg), CPU)
    return config, plain, step.build(config, CPU), features.FeatureNet(vgg[:32], "seeded"), batch


def close(ours, theirs):
    """Equal to float32's rounding: 1e-5 of each value, or of the largest where values cancel."""
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


def gradients(network):
    """One tensor a layer: the bias of a standardised gate has gradient 0, and only beside its weights is that seen."""
    found = [[p.grad for p in module.parameters()] for module in network.modules() if hasattr(module, "stride")]
    assert sum(map(len, found)) == len(list(network.parameters()))
    return [torch.cat([gradient.flatten() for gradient in layer]) for layer in found]


@pytest.mark.parametrize("recipe, design", RECIPES)
def test_lean_generator_pass_has_the_losses_and_gradients_of_the_plain_one(recipe, design):
    config, plain, state, network, batch = both(recipe, design)
    z, values = step.generator_gradients(state, batch, network, config)
    expected_z, expected = reference.generator_losses(plain, batch, config, iterate=False)
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(values[name], value.detach(), rtol=1e-5, atol=0, msg=name)
    close([z], [expected_z])
    expected["total"].backward()
    close(gradients(state.generator), gradients(plain.generator))
    assert all(parameter.grad is None for parameter in state.discriminator.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in plain.discriminator.parameters())  # computed for nothing


@pytest.mark.parametrize("recipe, design", RECIPES)
def test_lean_discriminator_pass_has_the_loss_and_gradients_of_the_plain_one(recipe, design):
    config, plain, state, _, batch = both(recipe, design)
    z = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    values = step.discriminator_gradients(state, batch, z, config)
    expected = reference.discriminator_loss(plain, batch, z, config, iterations=1)  # we make one for both passes
    torch.testing.assert_close(values["dis"], expected.detach(), rtol=1e-5, atol=0)
    expected.backward()
    close(gradients(state.discriminator), gradients(plain.discriminator))


@pytest.mark.parametrize(
    "name, broken",
    [
        ("gram", lambda f: 2 * f.flatten(2) @ f.flatten(2).mT / f[0].numel()),
        ("gram", lambda f: f.flatten(2) @ f.flatten(2).mT / f[0, 0].numel()),
        (
            "reflected",
            lambda x, c, r=1: torch.conv2d(torch.nn.functional.pad(x, (r,) * 4), c.weight, c.bias, dilation=r),
        ),
        ("SIGMA", 9.0),
        ("STYLE", ("2_2", "3_4", "4_4", "5_4")),
    ],
)
def test_the_comparison_sees_a_fault(monkeypatch, name, broken):
    config, plain, state, network, batch = both("released", "released")
    monkeypatch.setattr(reference, name, broken)
    z, values = step.generator_gradients(state, batch, network, config)
    values |= step.discriminator_gradients(state, batch, z, config)
    _, expected = reference.generator_losses(plain, batch, config, iterate=False)
    expected["dis"] = reference.discriminator_loss(plain, batch, z, config, iterations=1)
    with pytest.raises(AssertionError):
        for key, value in values.items():
            torch.testing.assert_close(value, expected[key].detach(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("lean", [(), ("vgg",), reference.MEASURES])
def test_measures_change_no_loss_of_the_generator(lean):
    config, plain, _, _, batch = both("paper", "sm_patchgan")
    _, expected = reference.generator_losses(plain, batch, config, iterate=False)
    _, values = reference.generator_losses(plain, batch, config, lean, iterate=False)
    close([v.detach() for v in values.values()], [v.detach() for v in expected.values()])


def test_plain_step_moves_both_networks_and_their_singular_vectors():
    config, plain, _, _, batch = both("paper", "sm_patchgan")
    before = copy.deepcopy(plain)
    values = reference.step(plain, batch, config)
    assert set(values) == {"rec", "per", "sty", "adv", "total", "dis"} and all(map(torch.isfinite, values.values()))
    for network in ("generator", "discriminator"):
        old, new = getattr(before, network).state_dict(), getattr(plain, network).state_dict()
        assert all(not torch.equal(old[key], new[key]) for key in old if not key.endswith(".bias"))


def test_plain_power_iteration_is_torchs():
    _, plain, state, _, _ = both("paper", "sm_patchgan")
    ours = reference.normalised_weights(plain.discriminator, True)
    close([w.detach() for w in ours], [conv.weight.detach() for conv in state.discriminator.train().convs])


def test_reference_has_no_other_design():
    with pytest.raises(ValueError, match="not 'hm_patchgan'"):
        reference.labels(torch.zeros(1, 1, 32, 32), "hm_patchgan")


@pytest.mark.parametrize("layout", hardware.LAYOUTS.values())
@pytest.mark.parametrize("rate", layers.RATES)
@pytest.mark.parametrize("side", [(32, 48), (21, 30)])
def test_space_to_batch_is_the_dilated_convolution(layout, rate, side):
    rng = torch.Generator().manual_seed(0)
    where = {"dtype": torch.float64, "memory_format": layout}
    x = torch.randn(2, 8, *side, generator=rng).to(**where).requires_grad_()
    weight = torch.randn(4, 8, 3, 3, generator=rng).to(**where).requires_grad_()
    expected, found = (form(x, weight, rate) for form in (layers.dilated, layers.space_to_batch))
    torch.testing.assert_close(found, expected)
    gradient = torch.randn(expected.shape, generator=rng, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(y, (x, weight), gradient) for y in (found, expected))
    torch.testing.assert_close(ours, theirs)
    pieces = layers.split(torch.zeros(2, 8, 16, 16).to(memory_format=layout), rate)
    assert pieces.is_contiguous(memory_format=layout)


class Clock:
    """Time that passes only where a function says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_median_on_a_clock_of_our_own():
    clock, lasts = Clock(), iter([100.0, 3.0, 1.0, 2.0, 9.0, 4.0])

    def work():
        clock.now += next(lasts)

    found = measure(work, CPU, n=5, budget_s=1000, clock=clock)
    assert found == (3.0, 2.0, 4.0, 5, 100.0)  # the warm-up does not count
    assert found.spread() == {"low_s": 2.0, "high_s": 4.0, "n": 5, "first_s": 100.0}


def test_a_budget_ends_repetitions_but_never_below_three():
    def timing(budget_s):
        clock = Clock()

        def work():
            clock.now += 10.0

        return measure(work, CPU, n=20, budget_s=budget_s, clock=clock)

    assert timing(0).n == 3 and timing(65).n == 6 and timing(1e9).n == 20


def test_budget_is_shared_out():
    clock = Clock()
    total = Budget(100, clock)
    part = total.part(0.25)
    clock.now = 20.0
    assert total.left() == 80 and part.left() == 5
    clock.now = 200.0
    assert total.left() == part.left() == 0


def test_first_line_of_a_reason():
    assert first_line(ValueError()) == "ValueError"
    assert first_line(OSError("\nno g++ found\nand more")) == "OSError: no g++ found"


def without_compiler(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("No working C++ compiler found\na long story")

    monkeypatch.setattr(torch, "compile", fail)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A run in toy size, without a compiler, written to a folder."""
    patch, lines = pytest.MonkeyPatch(), []
    without_compiler(patch)
    patch.setattr("aotlib.bench.plan.worth_compiling", lambda *_: True)
    patch.setattr("aotlib.hardware.multiplies_bfloat16", lambda _: False)  # float32 on every processor
    content = bench.run_bench("cpu", budget_s=0, sizes=[64], width=8, n_blocks=1, report=lines.append)
    patch.undo()
    return content, lines, bench.write(content, tmp_path_factory.mktemp("bench"))


def test_a_run_says_what_it_measured_and_on_what(toy):
    content, lines, path = toy
    assert json.loads(path.read_text()) == json.loads(json.dumps(content)) and path.stem == bench.slug(
        content["device"]
    )
    wanted = {"device", "versions", "created", "commit", "threads", "features", "train_step"}
    assert (
        wanted | {"inference", "layers", "fastest_layers", "deterministic", "contention", "seconds"} <= content.keys()
    )
    (row,) = content["train_step"]
    assert {"size", "batch", "reference_s", "lean_s", "ratio", "images_per_s", "variants"} <= row.keys()
    assert row["size"] == 64 and row["ratio"] == pytest.approx(row["reference_s"] / row["lean_s"])
    assert row["lean_spread"]["n"] == 3
    (fill,) = content["inference"]
    assert {"size", "batch", "reference_s", "fast_s", "ratio", "max_abs_diff", "mean_abs_diff"} <= fill.keys()
    assert 0 <= fill["mean_abs_diff"] <= fill["max_abs_diff"] < 1e-4 < fill["output_std"]
    assert len(content["layers"]) >= 14 and {row["rate"] for row in content["fastest_layers"]} == {1, 2, 4, 8}
    assert content["deterministic"]["ratio"] > 0 and len(content["contention"]) >= 2
    assert "He-normal" in content["features"] and len(lines) >= 5


def test_a_device_without_compiler_is_measured_all_the_same(toy):
    row, fill = toy[0]["train_step"][0], toy[0]["inference"][0]
    failed = [variant for variant in row["variants"] if "failed" in variant]
    assert {variant["compile"] for variant in failed} == {"on"} and row["compile"] == "off"
    said = {variant["failed"] for variant in failed + fill["variants"] if "failed" in variant}
    assert said == {"RuntimeError: No working C++ compiler found"}


def test_table_beside_the_record(toy):
    text = toy[2].with_suffix(".md").read_text()
    assert all(word in text for word in ("Training step", "Filling", "Convolutions", "He-normal", "medians"))
    assert "failed" in text


def test_compiled_variant_runs_or_says_why_not():
    config = steps.config_for(48, 1, width=4, n_blocks=1)
    how = {"n": 1, "budget_s": 0}
    found = steps.time_variant(dataclasses.replace(config, compile="on", precision="float32"),
                               seeded_layers("relu5_4", 4), steps.random_batch(48, 1, CPU), CPU, how)  # fmt: skip
    assert found.get("median_s", 0) > 0 or found["failed"].startswith(COMPILERS), found


def test_ladder_has_a_rung_for_every_measure():
    config = steps.config_for(48, 1, width=4, n_blocks=1, compile="off")
    rows = steps.ladder(config, seeded_layers("relu5_4", 4), CPU, Budget(0))
    assert tuple(row["name"] for row in rows)[: len(steps.LADDER)] == steps.LADDER
    assert [row["name"] for row in rows][len(steps.LADDER) :][:2] == ["aotlib, contiguous", "aotlib"]
    assert all(row["median_s"] > 0 for row in rows)


def test_eager_variants_take_turns_with_the_reference(monkeypatch):
    turns, tried = [], steps.variants(CPU)
    monkeypatch.setattr(steps, "plain_step", lambda *_, **__: lambda: turns.append("plain"))
    monkeypatch.setattr(
        steps, "aotlib_step", lambda config, *_: lambda: turns.append(f"{config.layout}, {config.compile}")
    )
    steps.train_row(steps.config_for(48, 1), seeded_layers("relu5_4", 4), CPU, Budget(0), tried=tried)
    eager = ["plain", *(f"{way['layout']}, off" for way in tried if way["compile"] == "off")]
    compiled = [f"{way['layout']}, on" for way in tried if way["compile"] == "on"]
    assert turns == eager * plan.CALLS + [name for name in compiled for _ in range(plan.CALLS)]


def test_a_step_that_no_memory_holds_is_left_out_and_said(monkeypatch):
    def too_large(config, *_, **__):
        raise torch.OutOfMemoryError(f"batch {config.batch}")

    monkeypatch.setattr(steps, "train_row", too_large)
    job = plan.Job(CPU, 8, 1, (64,), False, lambda line: None, [])
    assert plan.train_rows(job, Budget(1000, Clock())) == []
    assert [line.split(",")[0] for line in job.left_out] == [
        f"training step at 64 px with batch {batch}" for batch in (4, 2, 1)
    ]


def test_settings_of_torch_are_left_as_they_were():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with pytest.raises(KeyError), steps.kept_settings():
        torch.set_num_threads(before[0] + 1)
        torch.use_deterministic_algorithms(True)
        raise KeyError
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_neighbour_ends():
    with steps.busy(1):
        pass  # returns only when the process has ended


def row_of(reference_s, **variants):
    return {
        "reference_s": reference_s,
        "variants": [{"name": k, "median_s": v, "first_s": v} for k, v in variants.items()],
    }


def test_what_does_not_fit_the_time_is_made_smaller_or_left_out():
    row = row_of(10.0, eager=8.0, compiled=9.0)
    assert plan.predicted_s(row, 1) == 4 * 27 and plan.predicted_s(row, 1, row["variants"][:1]) == 4 * 18
    row["variants"][1]["first_s"] = 60.0
    assert plan.predicted_s(row, 0.5) == 4 * 13.5 + 51  # compiling takes as long for a smaller picture
    row["variants"].append({"name": "broken", "failed": "no compiler"})
    assert plan.predicted_s(row, 0.5) == 4 * 13.5 + 51


def test_a_cpu_gets_the_batch_and_variants_that_the_time_allows(monkeypatch):
    monkeypatch.setattr("aotlib.hardware.multiplies_bfloat16", lambda _: False)
    job, all_ = plan.Job(CPU, 8, 1, (), True, print, []), steps.variants(CPU)

    def timed(row):
        return row | {"variants": [way | v for way, v in zip(row["variants"], all_)]}

    pilot = timed({"size": 128, "batch": 1} | row_of(1.0, planes=1.0, eager=1.0, compiled=1.0))
    assert plan.fitting(job, pilot, 128, Budget(1000, Clock())) == (4, all_, True)
    assert plan.fitting(job, pilot, 128, Budget(30, Clock())) == (2, all_, True)
    row = timed({"size": 128, "batch": 4, "ratio": 1.0} | row_of(4.0, planes=4.0, eager=4.0, compiled=3.0))
    assert plan.fitting(job, row, 256, Budget(1000, Clock())) == (4, all_, True)
    assert plan.fitting(job, row, 256, Budget(50, Clock())) == (
        1,
        all_[:2],
        True,
    )  # all: 60 s, eager: 48
    assert plan.fitting(job, row, 256, Budget(40, Clock())) == (1, all_[2:], True)  # 28 s for the fastest
    assert plan.fitting(job, row, 256, Budget(5, Clock())) == (1, all_[2:], False)
    gpu = job._replace(device=torch.device("cuda"))
    assert not plan.worth_compiling(CPU, 100) and plan.worth_compiling(gpu.device, 100)
    assert plan.worth_compiling(CPU, 600)


def test_calls_timed_together_are_taken_apart():
    done = []
    layers.repeated(lambda: done.append(1), 3)()
    assert len(done) == 3
    assert layers.per_call(Timing(6.0, 3.0, 9.0, 5, 12.0), 3) == (2.0, 1.0, 3.0, 5, 4.0)


def test_rivals_take_turns():
    turns = []
    found = measure_in_turn([lambda: turns.append("a"), lambda: turns.append("b")], CPU, n=3, budget_s=100)
    assert "".join(turns) == "ab" * 4 and [timing.n for timing in found] == [3, 3]


def test_file_names_are_plain_words():
    assert bench.slug("cpu: AMD EPYC 9B14 (96-Core)") == "cpu-amd-epyc-9b14-96-core"


def test_ways_are_those_of_the_device():
    names = list(inference.ways(CPU, compile_=False))
    assert names[0] == "channels_last" and not any("compiled" in name for name in names)
    assert "channels_last, compiled, frozen" in inference.ways(CPU)


def test_command_line(tmp_path, monkeypatch, capsys):
    content = {"device": "cpu: toy", "train_step": [], "inference": []}
    monkeypatch.setattr(bench, "run_bench", lambda **given: given["report"]("measuring") or content)
    monkeypatch.setattr(bench, "markdown", lambda content: "table")
    monkeypatch.setattr(sys, "argv", ["aotlib", "bench", "--budget", "1", "--sizes", "64", "--out", str(tmp_path)])
    cli.main()
    assert "measuring" in capsys.readouterr().out and (tmp_path / "cpu-toy.json").is_file()


def test_the_cost_of_judging_is_measured_in_processes_of_their_own(tmp_path, monkeypatch):
    from aotlib.bench import evaluation

    samples = ROOT / "data" / "samples"
    row = evaluation.measured(samples, 64, 50)  # more than there are: some come twice
    assert row["n"] == 50 and row["size"] == 64 and row["peak_mb"] > 100
    assert abs(row["images_per_s"] * row["seconds"] - 50) < 0.06 * row["images_per_s"]  # tenths of a second
    with pytest.raises(RuntimeError, match="judging 2 pictures of 64 px failed: .*not a folder"):
        evaluation.measured(tmp_path / "none", 64, 2)
    times = evaluation.distance_times(300, 64)
    assert times["value"] == pytest.approx(times["sqrtm_value"], rel=1e-6) and times["value"] > 0
    monkeypatch.setattr(evaluation, "COUNTS", (2,))
    monkeypatch.setattr(evaluation, "SETS", (50, 8))
    content = json.loads(evaluation.main([str(samples)], tmp_path).read_text())
    assert [row["size"] for row in content["judging"]] == [256, 512] and content["frechet"]["dims"] == 8
    assert {"device", "commit", "versions"} <= content.keys()
