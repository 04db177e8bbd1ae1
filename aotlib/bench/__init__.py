r"""What a step, a fill and a layer take on this machine, measured: `aotlib bench`.

The command makes one file a machine, ``results/bench/<device>.json``, and a table beside it. Nothing here imports torch
before something is measured. Taught in notebook 12.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aotlib import profiles, records
from aotlib.files import replacing

COMPARED = """reference: the released code's order of work in eager float32, contiguous: VGG19 four times to relu5_4,
the discriminator three times, dense 2-D Gaussian, a padding for every branch, Adam tensor by tensor; it has no running
average. lean: what aotlib trains with, running average included, in the fastest variant of this device."""


def command(device: str = "auto", budget: float = 900.0, sizes: tuple[int, ...] = (), out: Path | None = None) -> None:
    """Measure training step, inference and layers on this machine, and what each lean measure brings.

    Args:
        device: auto, cpu or cuda.
        budget: seconds that it may take, about; with less time there are fewer repetitions, but at least three.
        sizes: sides of the pictures in pixels, such as 256 512; chosen for the device when not given.
        out: folder of the record and its table; results/bench when not given.
    """
    content = run_bench(
        device=device, budget_s=budget, sizes=sizes or None, report=lambda line: print(line, flush=True)
    )
    path = write(content, out or profiles.find_root() / "results" / "bench")
    print(f"\n{markdown(content).strip()}\n\nrecord: {path}")


def run_bench(
    device: str = "auto",
    budget_s: float = 900.0,
    sizes: Sequence[int] | None = None,
    width: int = 64,
    n_blocks: int = 8,
    report: Callable[[str], None] | None = None,
) -> dict:
    r"""Everything measured on one device: the content of its file.

    Args:
        budget_s: about what it takes; repetitions, batch and, of the default sizes, the largest adapt to it.
        sizes: sides of the pictures, pixels, for steps and fills. By default 128 and 256 (on a GPU 256 and 512) for
            steps, and 256, 512 and 1024 for fills.
        report: called with a line whenever something has been measured.

    Taught in notebook 12.
    """
    from aotlib import hardware
    from aotlib.bench import layers, plan, steps
    from aotlib.bench.timing import Budget

    target, budget, started = hardware.pick_device(device), Budget(budget_s), time.time()
    said, say = [], report or (lambda line: None)
    compile_ = plan.worth_compiling(target, budget_s)
    job = plan.Job(target, width, n_blocks, tuple(sizes or ()), compile_, say, said)
    if not compile_:
        job.skip(f"compiled variants, for which {budget_s:.0f} s are too little")
    with steps.kept_settings():
        hardware.set_determinism(False, target)  # as a training run sets it
        content = plan.origin(target, width, n_blocks) | {"compared": " ".join(COMPARED.split())}
        say(f"{content['device']}, {content['threads']} threads: about {budget_s:.0f} s")
        content["train_step"] = plan.train_rows(job, budget.part(0.6))
        shape = {"size": max(sizes) if sizes else 512, "width": width, "batch": 8 if target.type == "cuda" else 1}
        table = layers.layer_table(target, budget.part(0.15), **shape)
        content |= {"layers": table, "fastest_layers": layers.fastest(table)}
        say(f"layers: {len(table)} kinds of convolution")
        content |= plan.conditions(job, budget.part(0.15))
        content["inference"] = plan.inference_rows(job, budget)
    return content | {"left_out": said, "seconds": round(time.time() - started, 1)}


def slug(name: str) -> str:
    r"""A device's name as a file name.

    >>> slug("cpu: AMD EPYC 7B13")
    'cpu-amd-epyc-7b13'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(content: dict, out_dir: str | Path) -> Path:
    r"""``<device>.json`` and ``<device>.md`` lie in `out_dir`; the path of the first.

    Taught in notebook 12.
    """
    path = Path(out_dir) / f"{slug(content['device'])}.json"
    records.write_json(path, content)
    with replacing(path.with_suffix(".md")) as temporary:
        temporary.write_text(markdown(content), encoding="utf-8")
    return path


def markdown(content: dict) -> str:
    r"""The measurements as tables for people."""
    from aotlib.bench.tables import document

    return document(content)
