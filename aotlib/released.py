r"""Weights of the released AOT-GAN code, read into this package's names.

Taught in notebook 02.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

# released name -> name here; the released numbers count padding and activation layers too
_RENAME = (
    (re.compile(r"^encoder\.([135])\."), lambda m: f"encoder.{int(m[1]) // 2}."),
    (re.compile(r"^middle\.(\d+)\.block(\d+)\.1\."), lambda m: f"blocks.{m[1]}.branches.{int(m[2])}."),
    (re.compile(r"^middle\.(\d+)\.(fuse|gate)\.1\."), lambda m: f"blocks.{m[1]}.{m[2]}."),
    (re.compile(r"^decoder\.([02])\.conv\."), lambda m: f"decoder.{int(m[1]) // 2}."),
    (re.compile(r"^decoder\.4\."), lambda m: "decoder.2."),
)


def read_released(source: str | Path | Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""The 108 tensors of a released generator (``G*.pt``), renamed for `aotlib.model.Generator`.

    Args:
        source: the file, or the state dict that was read from it.

    Raises:
        ValueError: when it is anything else, with what it is and what was expected.
    """
    state = source if isinstance(source, Mapping) else _read_file(Path(source))
    _refuse_other_kinds(state)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    expected = released_shapes()
    missing, surplus = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or surplus:
        raise ValueError(
            f"not a released generator (G*.pt): {len(missing)} of its {len(expected)} tensors are missing"
            f"{_some(missing)}, {len(surplus)} are not known{_some(surplus)}"
        )
    wrong = [f"{k} is {tuple(state[k].shape)}, expected {s}" for k, s in expected.items() if state[k].shape != s]
    if wrong:
        raise ValueError(f"a generator of other shapes: {'; '.join(wrong[:3])} ({len(wrong)} tensors in all)")
    return {rename(key): value for key, value in state.items()}


def rename(key: str) -> str:
    r"""This package's name of a released generator tensor.

    >>> rename("middle.3.block02.1.weight")
    'blocks.3.branches.2.weight'
    """
    for pattern, new in _RENAME:
        if pattern.match(key):
            return pattern.sub(new, key)
    raise KeyError(f"{key} is not a tensor of the released generator")


def released_shapes() -> dict[str, tuple[int, ...]]:
    r"""Name and shape of every tensor in a released generator file."""
    convs = {"encoder.1": (64, 4, 7), "encoder.3": (128, 64, 4), "encoder.5": (256, 128, 4)}
    for i in range(8):
        convs |= {f"middle.{i}.block{j:02d}.1": (64, 256, 3) for j in range(4)}
        convs |= {f"middle.{i}.{part}.1": (256, 256, 3) for part in ("fuse", "gate")}
    convs |= {"decoder.0.conv": (128, 256, 3), "decoder.2.conv": (64, 128, 3), "decoder.4": (3, 64, 3)}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (n_out, n_in, kernel) in convs.items():
        shapes |= {f"{name}.weight": (n_out, n_in, kernel, kernel), f"{name}.bias": (n_out,)}
    return shapes


def _read_file(path: Path) -> Mapping[str, Tensor]:
    if path.is_dir():
        found = sorted(p.name for p in path.glob("*.pt"))
        raise ValueError(
            f"{path} is a folder; name the generator's file in it, G*.pt (it holds {found or 'no .pt file'})"
        )
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected a released generator, G*.pt")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read as a PyTorch state dict ({reason}); is it complete?") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}, expected a released generator's state dict (G*.pt)")
    return state


def _refuse_other_kinds(state: Mapping[str, Tensor]) -> None:
    if {"optimG", "optimD"} & state.keys():
        raise ValueError("this is an optimiser file (O*.pt); expected the generator's file of the same number, G*.pt")
    if any(key.removeprefix("module.").startswith("conv.0.weight") for key in state):
        raise ValueError(
            "this is a discriminator file (D*.pt); expected the generator's file of the same number, G*.pt"
        )


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
