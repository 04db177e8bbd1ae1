r"""State on disk: written whole or not at all, read back from the newest file that is good.

Taught in notebook 05.
"""

import json
import pickle
import warnings
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from aotlib.files import replacing
from aotlib.model import Generator


def save_state(state: dict[str, Any], folder: str | Path, *, keep: int = 2) -> Path:
    r"""Write `state` as ``step_<step>.pt`` in `folder` and delete all but the newest `keep` files.

    The file appears under its name only when it is complete and on the disk (`aotlib.files.replacing`).

    Args:
        state: tensors, numbers, strings and containers of them, with the key ``step``.
    """
    folder = Path(folder)
    path = folder / f"step_{state['step']:08d}.pt"
    with replacing(path) as temporary:
        torch.save(state, temporary)
    for old in [*state_files(folder)[:-keep], *folder.glob(".step_*")]:  # the latter of a process that was killed
        old.unlink()
    return path


def load_state(folder: str | Path) -> dict[str, Any] | None:
    r"""The newest readable state in `folder`, or None when there is none; a damaged file is named in a warning."""
    for path in reversed(state_files(Path(folder))):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, BadZipFile, pickle.UnpicklingError) as error:
            warnings.warn(f"{path.name} is damaged ({type(error).__name__}); trying the one before it", stacklevel=2)
    return None


def state_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*.pt"))


def save_weights(tensors: dict[str, Tensor], path: str | Path, metadata: dict[str, str]) -> None:
    r"""Write `tensors` and their `metadata` as a safetensors file, atomically."""
    with replacing(path) as temporary:
        save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary, metadata)


def load_generator(path: str | Path) -> Generator:
    r"""The generator in a safetensors file written by training, built with the options that stand in the file.

    Taught in notebook 06.
    """
    generator = Generator(**json.loads(read_card(path)["options"]))
    generator.load_state_dict(load_file(path))
    return generator.eval()


def read_card(path: str | Path) -> dict[str, str]:
    r"""What a weights file says of itself: ``options`` of the network, ``step``, and ``features`` of its losses.

    Taught in notebook 06.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; train first (notebook 05, or `aotlib train`)")
    with safe_open(path, "pt") as file:
        card = file.metadata() or {}
    if "options" not in card:
        raise ValueError(f"{path} does not say how its network is built; expected a file written by aotlib's training")
    return card
