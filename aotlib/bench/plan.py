r"""Which sizes are measured on which device, and how they are made to fit the time. Taught in notebook 12."""

import os
from collections.abc import Callable
from typing import NamedTuple

import torch

from aotlib import records
from aotlib.bench import inference, steps
from aotlib.bench.timing import AT_LEAST, Budget, measure
from aotlib.features import seeded_layers

CALLS = 1 + AT_LEAST  # of everything that is timed, at least
COMPILE_S = 60.0  # seconds that torch.compile takes for a network on a CPU, about
# sides of pictures in pixels, and pictures a step or fill
DEFAULTS = {
    "cpu": {"train": (128, 256), "batch": 4, "fill": (256, 512, 1024), "fill_batches": (1,)},
    "cuda": {"train": (256, 512), "batch": 8, "fill": (256, 512, 1024), "fill_batches": (1, 8)},
}


class Job(NamedTuple):
    r"""What is to be measured; `sizes` is empty where the device's defaults are meant. `say` is told of each result."""

    device: torch.device
    width: int
    n_blocks: int
    sizes: tuple[int, ...]
    compile: bool
    say: Callable[[str], None]
    left_out: list[str]

    def defaults(self) -> dict:
        return DEFAULTS.get(self.device.type, DEFAULTS["cpu"])

    def skip(self, line: str) -> None:
        self.left_out.append(line)
        self.say(f"left out: {line}")


def worth_compiling(device: torch.device, budget_s: float) -> bool:
    r"""Whether there is time to compile: minutes on a CPU, where the benchmark compiles three networks."""
    return device.type == "cuda" or budget_s >= 5 * COMPILE_S


def origin(device: torch.device, width: int, n_blocks: int) -> dict:
    r"""Device, versions, threads and number format: what a time means nothing without."""
    found = records.origin(device.type)
    found["versions"] |= {"cuda": torch.version.cuda if device.type == "cuda" else None}
    return found | {
        "threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        # what torch makes of float32 convolutions where nothing else is said
        "float32_convolutions": torch.backends.cudnn.conv.fp32_precision if device.type == "cuda" else "ieee",
        "width": width,
        "n_blocks": n_blocks,
        "features": steps.FEATURES,
    }


def train_rows(job: Job, budget: Budget) -> list[dict]:
    r"""A row for every size, with the batch and the variants that the time allows."""
    vgg, rows = seeded_layers("relu5_4", job.width), []
    sizes = sorted(job.sizes or job.defaults()["train"])
    for position, size in enumerate(sizes):
        part = budget.part(size / sum(sizes[position:]))
        like = rows[-1] if rows else pilot(job, vgg, size)
        batch, tried, fits = fitting(job, like, size, part)
        if rows and not fits and not job.sizes:
            job.skip(f"training step at {size} px, for want of time")
            continue
        row = train_row(job, vgg, size, batch, part, tried)
        if row is None:
            continue
        rows.append(row)
        line = "step at {size} px, batch {batch}: {reference_s:.3g} s -> {lean_s:.3g} s, {ratio:.2f} x"
        job.say(line.format(**rows[-1]))
    return rows


def train_row(
    job: Job, vgg: torch.nn.Sequential, size: int, batch: int, budget: Budget, tried: list[dict]
) -> dict | None:
    r"""`steps.train_row`, with half the batch where the GPU's memory does not hold it; None where not even one fits."""
    while batch:
        try:
            config = steps.config_for(size, batch, job.width, job.n_blocks)
            return steps.train_row(config, vgg, job.device, budget, tried=tried)
        except torch.OutOfMemoryError:
            pass  # the memory is free only after this block
        torch.cuda.empty_cache()
        job.skip(f"training step at {size} px with batch {batch}, for want of memory")
        batch //= 2
    return None


def pilot(job: Job, vgg: torch.nn.Sequential, size: int) -> dict:
    r"""A row to predict from: one reference step with one picture, and the same for each variant."""
    config = steps.config_for(size, 1, job.width, job.n_blocks)
    call = steps.plain_step(config, vgg, steps.random_batch(size, 1, job.device), job.device)
    taken = measure(call, job.device, n=1, budget_s=0).median_s
    found = {"size": size, "batch": 1, "reference_s": taken, "variants": []}
    for variant in steps.variants(job.device, job.compile):
        first = taken + COMPILE_S if variant["compile"] == "on" else taken
        found["variants"].append(variant | {"median_s": taken, "first_s": first})
    return found


def scale(like: dict, size: int, batch: int) -> float:
    r"""How many times as many pixels as the row `like`."""
    return (size / like["size"]) ** 2 * batch / like["batch"]


def predicted_s(row: dict, scale: float, ways: list[dict] | None = None) -> float:
    r"""Seconds that a row like `row` with these of its variants will take at `scale` times its pixels, at the least.

    What a warm-up took more than a repetition (compiling) is taken to stay the same.
    """
    ways = [way for way in (row["variants"] if ways is None else ways) if "median_s" in way]
    extra = sum(max(0.0, way["first_s"] - way["median_s"]) for way in ways)
    return CALLS * scale * (row["reference_s"] + sum(way["median_s"] for way in ways)) + extra


def fitting(job: Job, like: dict, size: int, budget: Budget) -> tuple[int, list[dict], bool]:
    r"""The batch and the variants that the time allows, and whether it allows even those; on a GPU all of everything.

    Where time is short there are, from the second size on, only the eager variants, or only the one that was fastest at
    the size before.
    """
    batch, ways = job.defaults()["batch"], like["variants"]
    if job.device.type == "cuda":
        return batch, steps.variants(job.device, job.compile), True

    def fits(batch: int, slack: float) -> bool:
        return predicted_s(like, scale(like, size, batch), ways) <= slack * budget.left()

    if "ratio" in like:
        for fewer in ([way for way in ways if way["compile"] == "off"], [steps.shortest(ways)]):
            ways = ways if fits(1, 1) else fewer
    while batch > 1 and not fits(batch, 1.2):
        batch //= 2
    kept = [{key: way[key] for key in ("precision", "layout", "compile")} for way in ways]
    return batch, kept, fits(batch, 2)


def inference_rows(job: Job, budget: Budget) -> list[dict]:
    r"""A row for every size and batch; where time is short only in the way that was fastest one size below."""
    rows: list[dict] = []
    shape = {"width": job.width, "n_blocks": job.n_blocks}
    sizes = sorted(job.sizes or job.defaults()["fill"])
    for batch in job.defaults()["fill_batches"]:
        for position, size in enumerate(sizes):
            like, only = rows[-1] if position and rows else None, None
            part = budget.part(size / sum(sizes[position:]))
            if like and predicted_s(like, scale(like, size, batch)) > part.left():
                only, best = like["fast"], [steps.shortest(like["variants"])]
                if predicted_s(like, scale(like, size, batch), best) > 1.5 * budget.left() and not job.sizes:
                    job.skip(f"filling at {size} px, for want of time")
                    continue
            try:
                rows.append(
                    inference.inference_row(size, batch, job.device, part, **shape, only=only, compile_=job.compile)
                )
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                job.skip(f"filling {batch} pictures at {size} px, for want of memory")
                continue
            line = "fill at {size} px, batch {batch}: {reference_s:.3g} s -> {fast_s:.3g} s ({fast}), {ratio:.2f} x"
            job.say(line.format(**rows[-1]))
    return rows


def conditions(job: Job, budget: Budget) -> dict:
    r"""The price of deterministic algorithms, and on a CPU that of a busy neighbour, for a small step."""
    vgg, gpu = seeded_layers("relu5_4", job.width), job.device.type == "cuda"
    size = min(job.sizes or job.defaults()["train"])
    config = steps.config_for(size, job.defaults()["batch"] if gpu else 1, job.width, job.n_blocks)
    found = {"deterministic": steps.price_of_determinism(config, vgg, job.device, budget.part(0.5)), "contention": []}
    job.say(f"deterministic algorithms: {found['deterministic']['ratio'] or float('nan'):.2f} x the time")
    if not gpu:
        small = steps.config_for(64, 1, job.width, job.n_blocks)
        found["contention"] = steps.contention(small, vgg, job.device, budget)
        job.say("threads beside a busy neighbour: done")
    return found
