r"""Seconds of one training step: the reference, what aotlib trains with in every variant of the device, and the ladder
of measures between the two.

VGG19 has its true layers with He-normal weights from a seed: the time of a convolution does not depend on its weights.
Taught in notebook 12.
"""

import contextlib
import copy
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor, nn

from aotlib import hardware
from aotlib.bench import reference
from aotlib.bench.timing import Budget, Timing, first_line, measure, measure_in_turn
from aotlib.config import TrainConfig
from aotlib.features import TAPS, FeatureNet

FEATURES = "VGG19's layers with seeded He-normal weights, not the trained ones: times are the same, losses are not"
LADDER = ("reference", "+ VGG19 twice", "+ D once", "+ fused Adam", "+ channels_last")
# A neighbour that ends by itself, should this process be killed.
BUSY = "import time\nend = time.monotonic() + 600\nwhile time.monotonic() < end: pass"


def config_for(size: int, batch: int, width: int = 64, n_blocks: int = 8, **other) -> TrainConfig:
    r"""A training configuration of this size; He's weights, so that no activation of an untrained network vanishes."""
    return TrainConfig(**{"size": size, "batch": batch, "width": width, "n_blocks": n_blocks, "init": "he"} | other)


def random_batch(size: int, batch: int, device: torch.device, seed: int = 0) -> dict[str, Tensor]:
    r"""Noise in [-1, 1] with a rectangular hole of about a quarter of the picture, another place in each."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, 3, size, size, generator=rng) * 2 - 1
    mask, corners = torch.zeros(batch, 1, size, size), torch.randint(0, size // 2, (batch, 2), generator=rng)
    for one, (top, left) in zip(mask, corners.tolist(), strict=True):
        one[:, top : top + size // 2, left : left + size // 2] = 1
    return {"image": image.to(device), "mask": mask.to(device)}


def aotlib_step(config: TrainConfig, vgg: nn.Sequential, batch: dict, device: torch.device) -> Callable[[], dict]:
    r"""What `aotlib.train` does with a batch, as a function without arguments. The one place that knows its names."""
    from aotlib import step

    state = step.build(config, device)
    torch._dynamo.config.suppress_errors = False  # a failed compilation is recorded here, not passed over
    layout = state.calls.layout
    features = FeatureNet(copy.deepcopy(vgg[: TAPS["relu5_2"] + 1]), "seeded").to(device, memory_format=layout)
    here = batch | {"image": batch["image"].to(memory_format=layout)}
    return lambda: step.training_step(state, here, features, config)


def plain_step(
    config: TrainConfig, vgg: nn.Sequential, batch: dict, device: torch.device, lean: Collection[str] = (), **options
) -> Callable[[], dict]:
    r"""`reference.step` as a function without arguments; `lean` and `options` as there and in `reference.build`."""
    plain = reference.build(config, copy.deepcopy(vgg), device, **options)
    layout = torch.channels_last if options.get("layout") else torch.contiguous_format
    here = batch | {"image": batch["image"].contiguous(memory_format=layout)}
    return lambda: reference.step(plain, here, config, lean)


def variants(device: torch.device, compile_: bool = True) -> list[dict[str, str]]:
    r"""Number formats that the processor multiplies in, each without and, if `compile_`, with torch.compile."""
    formats = ["float32"] + ["bfloat16"] * hardware.multiplies_bfloat16(device)
    ways = [{"precision": p, "layout": layout, "compile": "off"} for p in formats for layout in hardware.LAYOUTS]
    compiled = [{"precision": p, "layout": "channels_last", "compile": "on"} for p in formats] if compile_ else []
    return ways + compiled


def train_row(
    config: TrainConfig,
    vgg: nn.Sequential,
    device: torch.device,
    budget: Budget,
    *,
    n: int = 10,
    tried: list[dict[str, str]] | None = None,
) -> dict:
    r"""Seconds of the reference step and of every variant of ours on the same batch; `lean_s` is the fastest.

    Args:
        vgg: from `seeded_layers`, to relu5_4.
        tried: those of `variants` to measure, where all of them would take too long.

    Taught in notebook 12.
    """
    batch, tried = random_batch(config.size, config.batch, device), tried or variants(device)
    plain = plain_step(config, vgg, batch, device)
    (base,), rows = time_variants(config, tried, vgg, batch, device, budget, n=n, before=[plain])
    best = shortest(rows)
    return {
        "size": config.size,
        "batch": config.batch,
        "reference_s": base.median_s,
        "reference_spread": base.spread(),
        "lean_s": best["median_s"],
        "lean_spread": {key: best[key] for key in ("low_s", "high_s", "n", "first_s")},
        "precision": best["precision"],
        "layout": best["layout"],
        "compile": best["compile"],
        "ratio": base.median_s / best["median_s"],
        "images_per_s": config.batch / best["median_s"],
        "reference_images_per_s": config.batch / base.median_s,
        "variants": rows,
    }


def shortest(rows: list[dict]) -> dict:
    r"""Of rows with ``median_s``, or ``failed`` instead, the one with the shortest."""
    measured = [row for row in rows if "median_s" in row]
    if not measured:
        raise RuntimeError(f"nothing could be measured: {rows[0]['failed']}")
    return min(measured, key=lambda row: row["median_s"])


def time_variants(
    config: TrainConfig,
    tried: list[dict[str, str]],
    vgg: nn.Sequential,
    batch: dict,
    device: torch.device,
    budget: Budget,
    *,
    n: int,
    before: Sequence[Callable[[], object]],
) -> tuple[list[Timing], list[dict]]:
    r"""The timings of the functions `before`, and a row for each variant.

    Eager variants take turns with the functions; compiled ones come after, one by one: each compiles for itself.
    """
    eager = [variant for variant in tried if variant["compile"] == "off"]
    functions = [aotlib_step(dataclasses.replace(config, **variant), vgg, batch, device) for variant in eager]
    count = len(before) + len(functions)
    share = budget.left() * count / (len(before) + len(tried))
    timings = measure_in_turn([*before, *functions], device, n=n, budget_s=share)
    rows = [variant | timing._asdict() for variant, timing in zip(eager, timings[len(before) :], strict=True)]
    del functions  # and the memory that their networks take
    compiled = [variant for variant in tried if variant["compile"] == "on"]
    for position, variant in enumerate(compiled):
        how = {"n": n, "budget_s": budget.left() / (len(compiled) - position)}
        rows.append(variant | time_variant(dataclasses.replace(config, **variant), vgg, batch, device, how))
    return timings[: len(before)], rows


def time_variant(config: TrainConfig, vgg: nn.Sequential, batch: dict, device: torch.device, how: dict) -> dict:
    r"""``median_s`` with its spread, or why there is none: ``failed`` holds the first line of the reason."""
    torch.compiler.reset()  # each variant compiles for itself
    try:
        timing = measure(aotlib_step(config, vgg, batch, device), device, **how)
    except Exception as error:  # noqa: BLE001 (whatever a compiler or a missing kernel raises is the finding)
        return {"failed": first_line(error)}
    return timing._asdict()


def ladder(config: TrainConfig, vgg: nn.Sequential, device: torch.device, budget: Budget, n: int = 5) -> list[dict]:
    r"""Seconds of a step as one measure after the other is added, from the reference to what aotlib trains with.

    After the last rung come the variants of the device, called aotlib. They add one padding for all branches of a
    block, the separable strided Gaussian, and the running average, which the reference does not have.

    Returns:
        Rows ``name``, ``median_s`` and spread; or ``name``, ``failed``.

    Taught in notebook 12.
    """
    batch = random_batch(config.size, config.batch, device)
    rungs = [((), {}), (("vgg",), {}), (reference.MEASURES, {}), (reference.MEASURES, {"adam": True})]
    rungs += [(reference.MEASURES, {"adam": True, "layout": True})]
    plain = [plain_step(config, vgg, batch, device, lean, **options) for lean, options in rungs]
    tried = variants(device, config.compile == "on")
    timings, found = time_variants(config, tried, vgg, batch, device, budget, n=n, before=plain)
    rows = [{"name": name} | timing._asdict() for name, timing in zip(LADDER, timings, strict=True)]
    words = {"bfloat16": "bfloat16", "contiguous": "contiguous", "on": "compiled"}  # what differs from the last rung
    for row in found:
        changes = [words[row[key]] for key in ("precision", "layout", "compile") if row[key] in words]
        rows.append({"name": ", ".join(["aotlib", *changes])} | row)
    return rows


def price_of_determinism(config: TrainConfig, vgg: nn.Sequential, device: torch.device, budget: Budget) -> dict:
    r"""Seconds of our step without and with deterministic algorithms, eager, in the device's fast number format."""
    batch, found = random_batch(config.size, config.batch, device), {"size": config.size, "batch": config.batch}
    eager = dataclasses.replace(config, compile="off", precision="auto")
    for name, wanted in (("usual", False), ("deterministic", True)):
        with kept_settings():
            hardware.set_determinism(wanted, device)
            how = {"n": 10, "budget_s": budget.left() / (1 if wanted else 2)}
            found[name] = time_variant(eager, vgg, batch, device, how)
    times = [found[name].get("median_s") for name in ("usual", "deterministic")]
    return found | {"ratio": times[1] / times[0] if all(times) else None}


def contention(config: TrainConfig, vgg: nn.Sequential, device: torch.device, budget: Budget) -> list[dict]:
    r"""On a CPU, seconds of a step on one thread and on all cores, alone and beside a process that fills one core."""
    batch, rows = random_batch(config.size, config.batch, device), []
    eager = dataclasses.replace(config, compile="off", precision="float32")
    for neighbours in (0, 1):
        with kept_settings(), busy(neighbours):
            for threads in sorted({1, hardware.cores()}):
                torch.set_num_threads(threads)
                how = {"n": 5, "budget_s": budget.left() / 4}
                row = {"threads": threads, "busy_neighbours": neighbours, "size": config.size, "batch": config.batch}
                rows.append(row | time_variant(eager, vgg, batch, device, how))
    return rows


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    r"""`count` other processes keep a core busy each, meanwhile."""
    neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


@contextlib.contextmanager
def kept_settings() -> Iterator[None]:
    r"""torch's global settings are afterwards as they were."""
    cudnn, dynamo = torch.backends.cudnn, torch._dynamo.config
    before = cudnn.benchmark, cudnn.deterministic, dynamo.suppress_errors
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic, dynamo.suppress_errors = before
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_num_threads(threads)
