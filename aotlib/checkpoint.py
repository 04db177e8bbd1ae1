r"""State on disk: written whole or not at all, read back from the newest file that is good.

Taught in notebook 05.
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors.torch import load_file

from aotlib.config import TrainConfig
from aotlib.data import dataset_files
from aotlib.files import replacing, size_of
from aotlib.images import TarMember, common_folder, find_images, name_of
from aotlib.step import State
from aotlib.weights import read_card, save_weights


def save_state(state: dict[str, Any], folder: str | Path, *, keep: int = 2) -> Path:
    r"""Write `state` as ``step_<step>.pt`` in `folder` and delete all but the newest `keep` files.

    The file appears under its name only when it is complete and on the disk (`aotlib.files.replacing`).

    Args:
        state: tensors, numbers, strings and containers of them, with the key ``step``.

    Raises:
        OSError: when it cannot be written, a full disk say; the states that are there stay as they are.
    """
    folder = Path(folder)
    path = folder / f"step_{state['step']:08d}.pt"
    try:
        with replacing(path) as temporary:
            torch.save(state, temporary)
    except (OSError, RuntimeError) as error:  # torch's own writer reports a full disk as a RuntimeError
        raise OSError(f"the state of step {state['step']} could not be saved: {error}. {_advice(folder)}") from error
    others = [file for file in state_files(folder) if file != path]
    for old in [*others[: len(others) + 1 - keep], *folder.glob(".step_*")]:  # the latter of a process that was killed
        old.unlink()
    return path


def _advice(folder: Path) -> str:
    there = state_files(folder)
    kept = f"{there[-1].name} is there" if there else "No earlier state is there"
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.is_dir())).free
    return f"{kept}; {free / 2**20:.0f} MB are free in {folder}: make room or choose another folder, then call it again"


def load_state(folder: str | Path) -> dict[str, Any] | None:
    r"""The newest good state in `folder`, or None when there is none.

    Every byte is checked. A damaged file is named in a warning and set aside as ``<name>.damaged``.

    Raises:
        ValueError: when there are states and all of them are damaged.
        OSError: when a file cannot be read, which says nothing of what is in it.
    """
    there = state_files(Path(folder))
    for path in reversed(there):
        try:
            with ZipFile(path) as archive:
                if bad := archive.testzip():  # torch itself does not look at the checksums
                    raise BadZipFile(f"wrong checksum of {bad}")
            return torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 (damage can raise anything)
            warnings.warn(f"{path.name} is damaged ({type(error).__name__}), and set aside", stacklevel=2)
            path.rename(path.with_name(f"{path.name}.damaged"))
    if there:
        raise ValueError(f"all {len(there)} states in {folder} are damaged; delete the folder to begin anew")
    return None


def state_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*.pt"))


def check_writable(run_dir: str | Path) -> None:
    r"""Refuse a folder that cannot be written to before hours of work, not after them."""
    try:
        with replacing(Path(run_dir) / "writable.part") as temporary:
            temporary.write_text("yes")
        (Path(run_dir) / "writable.part").unlink()
    except OSError as error:
        raise OSError(f"cannot write to {run_dir}: {error.strerror or error}; choose another folder") from error


def decisive(config: TrainConfig, state: State, features: str) -> dict[str, Any]:
    r"""What decides the weights after so many steps, with what ``auto`` came to; the same on resume, or refused.

    Photographs and masks count with their names and sizes. Not known to it are the code and the number of threads.
    """
    ran = state.calls.ran()
    found = {"features": features, "precision": ran["precision"], "layout": ran["layout"]}
    found["files"] = listing(dataset_files(config.data, config.data_dir, "train"))
    found["masks"] = listing(find_images(config.masks)) if config.masks else ""
    if config.start_from:
        found["start_from"] = hashlib.sha256(Path(config.start_from).read_bytes()).hexdigest()[:16]
    return config.decides() | found


def listing(files: Sequence[Path | TarMember]) -> str:
    r"""A number that changes with the name, below the folder that they share, or the size of any of the files."""
    root = common_folder(files)
    rows = [(name_of(file, root), getattr(file, "n_bytes", None) or size_of(file)) for file in files]
    return hashlib.sha256("".join(f"{name}\0{size}\n" for name, size in rows).encode()).hexdigest()[:16]


def store(state: State, run_dir: Path, identity: dict[str, Any]) -> Path:
    r"""Save all of `state`, and of what decides it (`decisive`), in ``run_dir/state``."""
    parts = {name: part.state_dict() for name, part in state.parts().items()}
    counts = state.counts()
    counts["sums"] = {name: float(value) for name, value in counts["sums"].items()}
    return save_state(counts | {"config": json.dumps(identity)} | parts, run_dir / "state")


def restore(state: State, run_dir: Path, identity: dict[str, Any], steps: int) -> None:
    r"""Fill `state` from the newest good file in ``run_dir/state``; nothing happens when there is none.

    Raises:
        ValueError: when that file comes from a run of another `identity`, or is beyond `steps`.
    """
    saved = load_state(run_dir / "state")
    if saved is None:
        return
    before = TrainConfig().decides()  # of settings that the suite had not yet when the state was written
    then, now = before | json.loads(saved["config"]), identity
    then, now = (json.loads(json.dumps(one)) for one in (then, now))
    changed = [f"{key} {then.get(key)!r} -> {now.get(key)!r}" for key in then | now if then.get(key) != now.get(key)]
    if changed:
        told = f"{run_dir} holds a run of another configuration ({'; '.join(changed)})"
        raise ValueError(f"{told}; set it as it was, to go on, or use another folder")
    if saved["step"] > steps:
        raise ValueError(f"{run_dir} is at step {saved['step']} already, beyond steps = {steps}; use another folder")
    for name, part in state.parts().items():
        part.load_state_dict(saved[name])
    for name in state.counts():
        setattr(state, name, saved[name])


def start_from(state: State, weights: str | Path) -> None:
    r"""Give the generator and its running average the weights in a safetensors file of the same shape."""
    card = json.loads(read_card(weights)["options"])
    ours = json.loads(json.dumps(state.generator.options))
    keys = [key for key in ours | card if card.get(key) != ours.get(key)]
    different = [f"{key}: {card.get(key)!r} there, {ours.get(key)!r} here" for key in keys]
    if different:
        raise ValueError(f"{weights} holds another generator ({'; '.join(different)}); set these parameters as there")
    tensors = load_file(weights)
    state.generator.load_state_dict(tensors)
    state.average.module.load_state_dict(tensors)


def card_of(state: State, features: str, config: TrainConfig) -> dict[str, str]:
    r"""What a weights file says of itself (`aotlib.weights.read_card`)."""
    made = {"options": json.dumps(state.generator.options), "step": str(state.step), "features": features}
    return made | {"method": config.method, "size": str(config.size)} | state.calls.ran()


def save_networks(state: State, run_dir: Path, features: str, config: TrainConfig) -> None:
    r"""The weights for use: raw, averaged, and the discriminator's, where there is one, with its labels."""
    card = card_of(state, features, config)
    if judging := state.discriminator.state_dict():
        labels = {"design": config.design, "size": config.soft_size, "sigma": config.soft_sigma}
        save_weights(judging, run_dir / "discriminator.safetensors", card | {"labels": json.dumps(labels)})
    save_weights(state.generator.state_dict(), run_dir / "generator.safetensors", card)
    save_weights(state.average.module.state_dict(), run_dir / "generator_ema.safetensors", card)
