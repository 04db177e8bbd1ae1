r"""Seconds to fill a picture: the generator called plainly, and in every faster way that the device offers.

What a way changes in the result is measured with it: the largest and the mean difference to float32. The weights are
He's from a seed, untrained. Taught in notebook 12.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from aotlib import hardware
from aotlib.bench.layers import float32_as
from aotlib.bench.steps import kept_settings, random_batch, shortest
from aotlib.bench.timing import Budget, first_line, measure
from aotlib.model import Generator

Call = Callable[[], Tensor]


def generator_for(width: int, n_blocks: int) -> Generator:
    r"""A generator whose untrained output is of the size of a picture's values: He's weights."""
    return Generator(width, n_blocks, init="he", seed=0).eval().requires_grad_(False)


def ways(device: torch.device, compile_: bool = True) -> dict[str, dict]:
    r"""Names of the faster ways on `device`, each with what it does: number format, and whether it compiles.

    All take channels_last and torch.inference_mode. Compiling on a CPU also freezes the weights into the code.
    """
    found = {"channels_last": {}}
    if hardware.multiplies_bfloat16(device):
        found["channels_last, bfloat16"] = {"dtype": torch.bfloat16}
    if compile_:
        found |= {f"{name}, compiled": how | {"compile": True} for name, how in found.items()}
        if device.type == "cpu":
            found |= {f"{name}, frozen": how | {"freeze": True} for name, how in found.items() if "compile" in how}
    if device.type == "cpu":
        there = importlib.util.find_spec
        if there("onnxruntime") and there("onnxscript"):  # the second is what torch exports with
            found["onnxruntime"] = {"runtime": "onnxruntime"}
        if there("openvino"):
            found["openvino"] = {"runtime": "openvino"}
    return found


def plain_call(generator: Generator, batch: dict) -> Call:
    r"""Eager, float32, contiguous, without gradient: as the released code fills a picture."""

    def call() -> Tensor:
        with torch.no_grad():
            return generator(batch["image"], batch["mask"])

    return call


def fast_call(
    network: Generator, batch: dict, *, dtype: torch.dtype = torch.float32, compile: bool = False, freeze: bool = False
) -> Call:
    r"""The generator in channels_last and inference mode, in `dtype`, compiled and frozen where asked for."""
    device = batch["image"].device
    image, mask = batch["image"].to(memory_format=torch.channels_last), batch["mask"]
    torch._dynamo.config.suppress_errors = False  # a failed compilation is recorded, not passed over
    run = torch.compile(network) if compile else network
    # A frozen network holds its weights as constants of the code, laid out as the convolutions want them.
    mode = torch.no_grad if freeze else torch.inference_mode

    def call() -> Tensor:
        with mode(), hardware.autocast(device, dtype):
            return run(image, mask)

    if not freeze:
        return call
    from torch._inductor import config as inductor

    def frozen() -> Tensor:
        with inductor.patch(freezing=True):
            return call()

    return frozen


def runtime_call(name: str, generator: Generator, batch: dict) -> Call:
    r"""The generator in another runtime, exported for this size; only where that runtime is installed."""
    image, mask = batch["image"].contiguous(), batch["mask"].contiguous()
    inputs = (image.numpy(), mask.numpy())
    if name == "openvino":
        import openvino

        compiled = openvino.compile_model(openvino.convert_model(generator, example_input=(image, mask)), "CPU")
        return lambda: torch.from_numpy(next(iter(compiled(inputs).values())))
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "generator.onnx")
        torch.onnx.export(
            generator, (image, mask), path, dynamo=True, input_names=["image", "mask"], external_data=False
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    named = dict(zip(("image", "mask"), inputs, strict=True))
    return lambda: torch.from_numpy(session.run(None, named)[0])


def inference_row(
    size: int,
    batch: int,
    device: torch.device,
    budget: Budget,
    *,
    width: int = 64,
    n_blocks: int = 8,
    n: int = 10,
    only: str | None = None,
    compile_: bool = True,
) -> dict:
    r"""Seconds to fill `batch` noise pictures of `size` px, plainly and in each way; `fast_s` is the shortest.

    Args:
        only: measure this way alone, where the others would take too long; its name is one of `ways`.

    Returns:
        ``reference_s``, ``fast_s``, ``ratio``, ``max_abs_diff`` and ``mean_abs_diff`` of the fast output to the plain
        float32 one (values in [-1, 1]; on a GPU the plain *time* is with tf32, torch's setting, and the output that is
        compared with is true float32), ``output_std`` to judge them by, and every way with the same under ``variants``.

    Taught in notebook 12.
    """
    pictures, tried = random_batch(size, batch, device), ways(device, compile_)
    if only:
        tried = {only: tried[only]}
    plain = plain_call(generator_for(width, n_blocks).to(device), pictures)
    base = measure(plain, device, n=n, budget_s=budget.left() / (1 + len(tried)))
    with float32_as("float32", device):
        truth = plain().float()
    rows = []
    for position, (name, how) in enumerate(tried.items()):
        timing = {"n": n, "budget_s": budget.left() / (len(tried) - position)}
        rows.append({"name": name} | time_way(how, generator_for(width, n_blocks), pictures, truth, device, timing))
    best = shortest(rows)
    result = {"size": size, "batch": batch, "reference_s": base.median_s, "reference_spread": base.spread()}
    result |= {"fast_s": best["median_s"], "fast": best["name"], "ratio": base.median_s / best["median_s"]}
    result |= {key: best[key] for key in ("max_abs_diff", "mean_abs_diff")} | {"output_std": truth.std().item()}
    return result | {"images_per_s": batch / best["median_s"], "variants": rows}


def time_way(
    how: dict, generator: Generator, pictures: dict, truth: Tensor, device: torch.device, timing: dict
) -> dict[str, object]:
    r"""``median_s`` with its spread and differences to `truth`, or why there are none."""
    torch.compiler.reset()
    try:
        with kept_settings():
            if "runtime" in how:
                call = runtime_call(how["runtime"], generator, pictures)
            else:
                call = fast_call(generator.to(device, memory_format=torch.channels_last), pictures, **how)
            taken = measure(call, device, **timing)
            difference = (call().float() - truth).abs()
    except Exception as error:  # noqa: BLE001 (whatever a compiler or a runtime raises is the finding)
        return {"failed": first_line(error)}
    differences = {"max_abs_diff": difference.max().item(), "mean_abs_diff": difference.mean().item()}
    return taken._asdict() | differences
