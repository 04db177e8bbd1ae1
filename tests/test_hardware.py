"""What a processor can do is found out; and what half precision spoils is computed in float32."""

import dataclasses
import subprocess
import sys
from collections import Counter, defaultdict

import pytest
import torch

from aotlib import hardware, losses
from aotlib.blocks import standardise
from aotlib.checkpoint import card_of
from aotlib.features import gram, load_features
from aotlib.model import Discriminator, Generator
from aotlib.records import device_name
from aotlib.step import build, discriminator_gradients, generator_gradients, training_step

CPU = torch.device("cpu")


def half():
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("found, dtype", [
    ({"avx2": True}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16),
    ({"avx512_f": True, "amx_int8": True}, torch.float32),
])  # fmt: skip
def test_bfloat16_is_used_where_the_processor_multiplies_it(monkeypatch, found, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert hardware.pick_precision("auto", CPU) == dtype
    assert hardware.pick_precision("float32", CPU) == torch.float32
    if dtype == torch.float32:
        with pytest.warns(UserWarning, match="emulated"):
            assert hardware.pick_precision("bfloat16", CPU) == torch.bfloat16


def test_the_layout_is_that_of_the_processor_and_the_width(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert hardware.pick_layout("auto", CPU, 64) == torch.contiguous_format
    assert hardware.pick_layout("auto", CPU, 32) == torch.channels_last
    assert hardware.pick_layout("channels_last", CPU, 64) == torch.channels_last
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert hardware.pick_layout("auto", CPU, 64) == torch.channels_last


def test_the_layout_changes_no_loss(tiny):
    found = []
    for layout in ("channels_last", "contiguous"):
        config = dataclasses.replace(tiny, layout=layout)
        state = build(config, CPU)
        assert state.generator.blocks[0].fuse.weight.is_contiguous(memory_format=hardware.LAYOUTS[layout])
        rng = torch.Generator().manual_seed(0)
        image = torch.rand(2, 3, 48, 48, generator=rng).mul(2).sub(1).contiguous(memory_format=state.calls.layout)
        mask = torch.zeros(2, 1, 48, 48)
        mask[..., 10:30, 14:40] = 1
        found.append(training_step(state, {"image": image, "mask": mask}, load_features("random", width=8), config))
    for name, value in found[0].items():
        assert found[1][name].item() == pytest.approx(value.item(), rel=1e-5), name


def test_predictions_are_finer_than_bfloat16():
    """It has steps of 1/256 between 0.5 and 1: half a level of 8 bits, before the loss has seen anything."""
    generator = Generator(width=8, n_blocks=1, init="he")
    image, mask = torch.rand(1, 3, 48, 48) * 2 - 1, torch.zeros(1, 1, 48, 48)
    with half():
        prediction = generator(image, mask)
    assert prediction.dtype == torch.float32
    assert (prediction != prediction.bfloat16().float()).float().mean() > 0.5
    assert generator.double()(image.double(), mask.double()).dtype == torch.float64


@pytest.mark.parametrize("frames, said", [
    ({"total": 3, "ok": 3}, "on"), ({"total": 3, "ok": 1}, "failed for 2 of 3 functions, which ran eagerly"),
])  # fmt: skip
def test_what_could_not_be_compiled_stands_in_the_card(monkeypatch, tiny, frames, said):
    monkeypatch.setattr(torch._dynamo.utils, "counters", defaultdict(Counter, frames=Counter(frames)))
    state = build(tiny, CPU)
    assert state.calls.ran() == {
        "device": device_name("cpu"), "precision": "float32", "layout": "channels_last", "compile": "off"
    }  # fmt: skip
    state.calls.compiled = True
    assert card_of(state, "none", tiny)["compile"] == said


def test_torch_counts_what_it_cannot_compile():
    script = (
        "import torch, aotlib.hardware as h, sys\n"
        "def broken(*_): raise RuntimeError('no compiler')\n"
        "compile_ = torch.compile\n"
        "torch.compile = lambda call: compile_(call, backend=broken if sys.argv[1] == 'broken' else 'eager')\n"
        "print(h.compiled(torch.nn.ReLU())(torch.ones(1)).item(), h.compilation())"
    )
    for backend, said in (("fine", "on"), ("broken", "failed for 1 of 1 functions, which ran eagerly")):
        run = [sys.executable, "-W", "ignore", "-c", script, backend]
        out = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120).stdout
        assert out.strip() == f"1.0 {said}"


def test_the_processor_is_named_where_it_computed_beside_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA")
    assert device_name() == device_name("cuda") == "NVIDIA" and device_name("cpu").startswith("cpu: ")


def test_a_gpu_that_is_not_there_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.pick_device("auto") == CPU
    with pytest.raises(ValueError, match="torch finds no GPU"):
        hardware.pick_device("cuda")


def test_gram_matrices_survive_amplitudes_that_overflow_in_half_precision():
    rng = torch.Generator().manual_seed(0)
    feature = (torch.rand(2, 8, 64, 64, generator=rng) * 400).half()
    plain = feature.flatten(2)
    assert not torch.bmm(plain, plain.transpose(1, 2)).isfinite().all(), "the amplitudes are too small to show it"
    expected = torch.einsum("bchw,bdhw->bcd", feature.double(), feature.double()) / (8 * 64 * 64)
    with torch.autocast("cpu", torch.float16):
        torch.testing.assert_close(gram(feature).double(), expected, rtol=1e-5, atol=0)
    flat = feature.float().bfloat16()
    with half():
        naive = torch.bmm(flat.flatten(2), flat.flatten(2).transpose(1, 2)) / (8 * 64 * 64)
        ours = gram(flat)
    exact = torch.einsum("bchw,bdhw->bcd", flat.double(), flat.double()) / (8 * 64 * 64)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=0)
    assert (naive.double() / exact - 1).abs().max() > 1e-3, "the island would not be needed"


def test_the_gate_is_standardised_in_float32():
    """A large mean and a small spread, as a gate has after some training: half precision loses the spread."""
    rng = torch.Generator().manual_seed(0)
    logits = (60 + torch.randn(1, 2, 32, 32, generator=rng)).bfloat16()
    exact = logits.double()
    mean, std = exact.mean((2, 3), keepdim=True), exact.std((2, 3), keepdim=True)
    expected = 5 * (2 * (exact - mean) / std - 1)
    with half():
        ours = standardise(logits)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-4)
    mean, std = logits.mean((2, 3), keepdim=True), logits.std((2, 3), keepdim=True)
    naive = 5 * (2 * (logits - mean) / (std + 1e-9) - 1)
    assert (naive.double() - expected).abs().max() > 0.3, "the island would not be needed"


def test_spectral_norms_do_not_depend_on_the_precision_of_the_pass():
    one, two = Discriminator(8), Discriminator(8)
    image = torch.rand(1, 3, 64, 64)
    one.train()(image)
    with half():
        out = two.train()(image)
    assert out.dtype == torch.bfloat16
    for a, b in zip(one.convs, two.convs):
        assert torch.equal(a.parametrizations.weight[0]._u, b.parametrizations.weight[0]._u)


def test_a_step_in_bfloat16_has_losses_in_float32_near_those_in_float32(tiny):
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 1, 48, 48)
    mask[..., 10:30, 14:40] = 1
    batch = {"image": torch.rand(2, 3, 48, 48, generator=rng) * 2 - 1, "mask": mask}
    features, found = load_features("random"), {}
    for precision in ("float32", "bfloat16"):
        config = dataclasses.replace(tiny, precision=precision, width=8, init="he")
        state = build(config, CPU) if precision == "float32" else warned(config)
        z, values = generator_gradients(state, batch, features, config)
        values |= discriminator_gradients(state, batch, z, config)
        assert all(value.dtype == torch.float32 for value in values.values())
        assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in state.generator.parameters())
        found[precision] = values
        training_step(state, batch, features, config)
    for name, value in found["float32"].items():
        assert found["bfloat16"][name].item() == pytest.approx(value.item(), rel=0.03), name
    assert found["bfloat16"]["rec"] != found["float32"]["rec"], "bfloat16 was not used"


def warned(config):
    with pytest.warns(UserWarning, match="emulated") if not hardware.multiplies_bfloat16(CPU) else half():
        return build(config, CPU)


def test_losses_are_computed_outside_autocast(tiny, monkeypatch):
    """Else the mask would be filtered in half precision, and the targets with it."""
    seen = []

    def watched(right):
        def loss(*args, **options):
            seen.append(torch.is_autocast_enabled("cpu"))
            return right(*args, **options)

        return loss

    for name in ("l1", "perceptual", "style", "generator_loss", "discriminator_loss"):
        monkeypatch.setattr(losses, name, watched(getattr(losses, name)))
    state = warned(dataclasses.replace(tiny, precision="bfloat16"))
    batch = {"image": torch.zeros(1, 3, 48, 48), "mask": torch.ones(1, 1, 48, 48)}
    training_step(state, batch, load_features("random", width=8), tiny)
    assert seen == [False] * 5
