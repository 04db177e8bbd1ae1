r"""What the processor at hand can do, and how a training run is to use it.

Found out, never assumed: bfloat16 is used where the processor multiplies in it, and nowhere else, because elsewhere it
is emulated and slower than float32. Taught in notebook 12.
"""

import os
import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def pick_device(name: str = "auto", index: int = 0) -> torch.device:
    r"""The device called `name`: ``cpu``, ``cuda``, or ``auto`` for the GPU number `index` where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("device 'cuda' was asked for, but torch finds no GPU; use device='auto' or 'cpu'")
        return torch.device("cuda", index)
    return torch.device(name)


def multiplies_bfloat16(device: torch.device) -> bool:
    r"""Whether the processor itself multiplies bfloat16 numbers (a GPU since Ampere; AMX or AVX512-BF16)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    r"""The number format of convolutions: ``auto`` is bfloat16 where `multiplies_bfloat16`, else float32."""
    if name == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    if name == "bfloat16" and not multiplies_bfloat16(device):
        warnings.warn(f"{device} does not multiply bfloat16: it is emulated there and slow", stacklevel=2)
    return getattr(torch, name)


def pick_layout(name: str, device: torch.device, width: int, method: str = "aot") -> torch.memory_format:
    r"""How pictures lie in memory: ``channels_last`` (a pixel's channels side by side), or ``contiguous`` planes.

    ``auto`` is channels_last, which half precision needs to be fast, but for full-width networks on CPUs without it:
    there planes were the faster the larger the picture (``results/bench``, every variant at 256 px). The compared
    methods are in planes on every CPU: with channels_last, HiFill's backward pass makes torch 2.15 corrupt its memory.
    """
    if name == "auto":
        planes = width >= 64 and not multiplies_bfloat16(device) or method != "aot" and device.type == "cpu"
        name = "contiguous" if planes else "channels_last"
    return LAYOUTS[name]


def pick_compile(name: str, device: torch.device, steps: int) -> bool:
    r"""Whether networks are compiled: ``auto`` on a GPU, in runs long enough to win back what compiling takes.

    On a CPU the compiled step is no faster than the eager one (``results/bench``): most of the time is spent in the
    same convolution library.
    """
    return name == "on" or (name == "auto" and device.type == "cuda" and steps >= 1000)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    r"""Convolutions and matrix products in `dtype` inside; nothing changes for float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def full_precision(x: Tensor) -> AbstractContextManager:
    r"""An island of float32 inside `autocast`, on the device of `x`: for what half precision spoils."""
    if x.device.type == "meta":  # shapes only; autocast does not know it
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def set_determinism(wanted: bool, device: torch.device) -> None:
    r"""Make operations repeatable to the bit as far as torch knows how, at a price that ``aotlib bench`` measures.

    On a CPU runs repeat anyhow with the same number of threads. On a GPU without it, sums are made in the order in
    which parts arrive, and the fastest convolution is chosen by trial; with it, torch names in a warning what it has no
    repeatable form of.
    """
    if device.type == "cuda":
        if wanted:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it, before its first call
        torch.backends.cudnn.benchmark = not wanted
        torch.backends.cudnn.deterministic = wanted
    torch.use_deterministic_algorithms(wanted, warn_only=device.type == "cuda")


def leave_cores_to(workers: int, device: torch.device, processes: int = 1) -> None:
    r"""On a CPU, compute on this process's share of the cores that the reading processes leave free.

    Threads that share a core wait for each other; ``aotlib bench`` measures what that costs beside a busy neighbour.
    """
    if device.type == "cpu" and (workers or processes > 1):
        share = cores() // processes - workers
        torch.set_num_threads(max(1, min(torch.get_num_threads(), share)))


def compiled(call: nn.Module) -> nn.Module:
    r"""`call`, compiled; what torch cannot compile stays eager, and says so at its first use (see `compilation`)."""
    torch._dynamo.config.suppress_errors = True
    return torch.compile(call)


def compilation() -> str:
    r"""What became of what this process wanted `compiled`: ``on``, or how much of it stayed eager."""
    frames = torch._dynamo.utils.counters["frames"]
    lost = frames["total"] - frames["ok"]
    return f"failed for {lost} of {frames['total']} functions, which ran eagerly" if lost else "on"


def cores() -> int:
    r"""Processor cores that this process may use; a batch system may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
