r"""The compared methods side by side: the fills of finished runs, and what a fill costs.

Taught in notebook 07.
"""

import json
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from aotlib import profiles
from aotlib.baselines.mnps import MNPS
from aotlib.config import TrainConfig
from aotlib.evaluate import Fill, network_fill
from aotlib.features import FeatureNet
from aotlib.methods import METHODS, n_parameters
from aotlib.padding import padded
from aotlib.train import train
from aotlib.weights import load_generator

WEIGHTS = "generator_ema.safetensors"  # of a finished run
PATCHES = {"scales": 2, "iterations": 10}  # of MNPS; its paper makes hundreds of iterations at each of 3 scales


def smallest(folder: str | Path, group: str = "methods", profile: str = "smoke") -> dict[str, str]:
    r"""The folders of finished runs of a group of a profile, trained here where they are not: some seconds each.

    Taught in notebook 07.
    """
    runs = {}
    for name, job in profiles.plan(profile).items():
        if name.startswith(f"{group}."):
            run = Path(folder, job.out_dir.name)
            if not (run / WEIGHTS).is_file():
                train(TrainConfig.of(job.parameters), run)
            runs[name.removeprefix(f"{group}.")] = str(run)
    return runs


def weights_in(folder: str | Path) -> dict[str, Path]:
    r"""The weights files of a folder, by method.

    Raises:
        FileNotFoundError: when there is none.

    Taught in notebook 07.
    """
    found = {path.stem: path for path in sorted(Path(folder).glob("*.safetensors"))}
    if not found:
        raise FileNotFoundError(f"no weights in {folder}; data/compare_methods.py makes them, as its head says")
    return found


def account_in(folder: str | Path) -> dict:
    r"""How a comparison came about: the ``runs.json`` that data/compare_methods.py wrote beside its tables.

    Raises:
        FileNotFoundError: when there is none.

    Taught in notebook 07.
    """
    path = Path(folder) / "runs.json"
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {folder}; data/compare_methods.py makes it, as its head says")
    return json.loads(path.read_text(encoding="utf-8"))


def networks(
    weights: Mapping[str, str | Path],
    *,
    device: str | torch.device = "cpu",
    features: FeatureNet | None = None,
    patches: Mapping[str, int] = PATCHES,
) -> dict[str, nn.Module]:
    r"""What fills, by name, in the order of `aotlib.methods.METHODS`, for inference.

    Args:
        weights: safetensors file of a trained generator, by method.
        features: network in which MNPS compares patches.
        patches: scales and iterations of MNPS, which refines the fills of the context encoder's weights.

    Raises:
        KeyError: for a name that is no method's.
        ValueError: for weights of another method than their name says.

    Taught in notebook 07.
    """
    if unknown := weights.keys() - METHODS.keys():
        raise KeyError(f"no methods: {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    found = {name: load_generator(path) for name, path in weights.items()}
    for name, network in found.items():
        if type(network) is not METHODS[name].network:
            raise ValueError(f"{weights[name]} holds a {type(network).__name__}, not the network of {name}")
    if content := found.get("context_encoder"):
        found["mnps"] = MNPS(content=content, features=features, **patches)
    return {name: found[name].eval().to(device) for name in METHODS if name in found}


def fills(found: Mapping[str, nn.Module]) -> dict[str, Fill]:
    r"""The networks as fills (`aotlib.evaluate.network_fill`), by label: what the table calls a method."""
    return {METHODS[name].label: network_fill(network) for name, network in found.items()}


def costs(
    found: Mapping[str, nn.Module], size: int, *, repetitions: int = 3, clock: Callable[[], float] = time.perf_counter
) -> pd.DataFrame:
    r"""What a prediction of one picture of `size` x `size` px costs, half of it a hole.

    Args:
        clock: `time.process_time` counts seconds of the processor, which other programs hardly lengthen; on a CPU only.

    Returns:
        A row a method: ``parameters``, ``gmac`` (1e9 multiply-adds, attention and, for MNPS, backward passes
        included), ``seconds`` (median), ``peak_mb`` (`peak_bytes`: besides the weights).

    Taught in notebook 07.
    """
    rows = []
    for name, network in found.items():
        device = next(network.parameters()).device
        image, mask = torch.zeros(1, 3, size, size, device=device), torch.zeros(1, 1, size, size, device=device)
        mask[..., : size // 2] = 1
        sides = {"multiple": network.multiple, "smallest": network.smallest}

        def call(network=network, image=image, mask=mask, sides=sides) -> None:
            padded(network, image, mask, **sides)
            if image.is_cuda:
                torch.cuda.synchronize()

        with torch.no_grad():
            peak = peak_bytes(call)
            row = {"method": METHODS[name].label, "parameters": n_parameters(network)}
            with FlopCounterMode(display=False) as counter:
                call()
            row |= {"gmac": counter.get_total_flops() / 2e9, "seconds": median_seconds(call, repetitions, clock)}
        rows.append(row | {"peak_mb": peak / 2**20})
    return pd.DataFrame(rows)


def median_seconds(call: Callable[[], None], repetitions: int, clock: Callable[[], float] = time.perf_counter) -> float:
    r"""Of that many calls; what ran before has warmed up."""
    times = []
    for _ in range(repetitions):
        started = clock()
        call()
        times.append(clock() - started)
    return sorted(times)[len(times) // 2]


def peak_bytes(call: Callable[[], None]) -> int:
    r"""The most memory that the tensors made during ``call()`` held at a time; work space of libraries is left out.

    >>> peak_bytes(lambda: torch.ones(1000) + torch.ones(1000) * 2)
    12000
    """
    with Made() as made:
        call()
    return made.peak


class Made(TorchDispatchMode):
    r"""While it is entered, counts the bytes of storages that operations make, until nobody refers to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage())._cdata not in given:
                given.add(storage._cdata)
                self.change(storage.nbytes())
                weakref.finalize(storage, self.change, -storage.nbytes())
        return result

    def change(self, by: int) -> None:
        self.now += by
        self.peak = max(self.peak, self.now)
