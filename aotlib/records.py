r"""What a result must say about itself: from which parameters, code, data and machine it came.

Nothing here imports torch, so that a record can be read and written in a moment. Taught in notebook 05.
"""

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aotlib.files import FIRST_SHARD, INDEX, replacing

PACKAGES = ("aotlib", "torch", "torchvision", "numpy", "pandas", "matplotlib", "papermill", "snakemake")
MANY_FILES, MANY_BYTES = 2_000, 2**28  # above either, a fingerprint reads names and sizes only


def write_json(path: str | Path, content: dict) -> Path:
    r"""The file at `path` holds `content`, whole: never half of it, whenever the process is stopped.

    NumPy and torch scalars and arrays become plain numbers and lists. JSON knows no infinity: such a number is refused.

    >>> import tempfile, numpy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder, "a.json"), {"n": numpy.int64(3)}).read_text()
    '{\n "n": 3\n}\n'

    Taught in notebook 05.
    """
    path = Path(path)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _plain(value: object) -> object:
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {value!r} ({type(value).__name__}) to JSON; give numbers, texts, lists or dicts")


def finish(out_dir: str | Path, metrics: dict) -> None:
    r"""``out_dir/metrics.json`` holds `metrics` and the device: the last cell of every notebook calls this.

    Its presence is the proof that the notebook ran to its end. A key ``features`` names the feature network that the
    numbers depend on. Taught in notebook 01.
    """
    metrics = {name: value.item() if getattr(value, "ndim", None) == 0 else value for name, value in metrics.items()}
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"metric {name!r} is {value}; JSON has no such number: count such cases apart, or give None"
            )
    write_json(Path(out_dir) / "metrics.json", {"device": device_name()} | metrics)


def record(
    *,
    parameters: dict,
    seed: int | None,
    data_dir: str | Path | None,
    features: str | None,
    metrics: dict,
    seconds: float,
    device: str | None = None,
    notebook: str | None = None,
) -> dict:
    r"""All that is needed to run something again and to know whether it is the same: the content of a record.json.

    Args:
        data_dir: folder that the data came from, or None for none.
        features: name of the feature network that the numbers depend on, or None.
        seconds: wall time, up to now.

    Taught in notebook 05.
    """
    commit, dirty = code_state()
    started = datetime.now(UTC) - timedelta(seconds=seconds)
    return {
        "notebook": notebook,
        "parameters": parameters,
        "seed": seed,
        "commit": commit,
        "dirty": dirty,
        "versions": versions(),
        "device": device or device_name(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "data": fingerprint(data_dir) if data_dir is not None else None,
        "features": features,
        "metrics": metrics,
    }


def origin(kind: str = "auto") -> dict:
    r"""Device, time, commit and versions: what a measurement means nothing without; `kind` as in `device_name`."""
    commit, dirty = code_state()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "device": device_name(kind), "created": created, "commit": commit, "dirty": dirty, "versions": versions()
    }  # fmt: skip


def device_name(kind: str = "auto") -> str:
    r"""The accelerator's name where torch is loaded and finds one, else, or for the kind ``cpu``, the processor's."""
    torch = sys.modules.get("torch")  # a process that has not imported torch has computed nothing on a GPU
    if kind != "cpu" and torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "cpu: " + next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return f"cpu: {platform.processor() or platform.machine()}"


def versions() -> dict[str, str | None]:
    r"""Versions of Python and of the packages that results depend on; None where one is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def code_state(root: str | Path | None = None) -> tuple[str | None, bool | None]:
    r"""The commit of the checkout and whether files differ from it; (None, None) where there is no git checkout."""
    root = Path(root or Path(__file__).parents[1]).resolve()
    try:
        top, commit = _git(root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top).resolve() != root:  # a copy without history, inside somebody's other repository
            return None, None
        return commit, bool(_git(root, "status", "--porcelain"))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True, timeout=60).stdout


def data_folder(parameters: dict) -> str | None:
    r"""The folder that the photographs of these parameters come from: ``data`` if that is one, else ``data_dir``.

    >>> data_folder({"data": "samples", "data_dir": "data/samples"})
    'data/samples'
    """
    data = parameters.get("data", "")
    return data if data and Path(data).is_dir() else parameters.get("data_dir") or None


_seen: dict[str, dict | None] | None = None  # fingerprints of this command, inside `each_folder_once`


@contextmanager
def each_folder_once() -> Iterator[None]:
    r"""Inside, `fingerprint` goes through a folder once and repeats its answer; for one command from start to end.

    A command needs the number of the same folder up to eight times, and each takes a minute or more with a million
    files. Outside nothing is remembered: whoever asks twice, in a notebook for one, is told of a change between.
    A file's time would not do for a memory: a folder does not show what changed two levels below.

    Taught in notebook 05.
    """
    global _seen
    outer, _seen = _seen, {} if _seen is None else _seen
    try:
        yield
    finally:
        _seen = outer


def fingerprint(folder: str | Path) -> dict | None:
    r"""A number that changes with any file of `folder`, the same on every machine; None when there is no such folder.

    It is the SHA-256 of the sorted relative names with each file's size and, up to 2,000 files and 256 MB, its
    content; ``of`` says which. Of a folder of shards it is the index, which has the SHA-256 of each shard, and the
    sizes. Hidden files do not count. Taught in notebook 01.
    """
    place = os.path.realpath(folder)
    if _seen is not None and place in _seen:
        return _seen[place]
    found = _fingerprint(str(folder)) if os.path.isdir(folder) else None
    if _seen is not None:
        _seen[place] = found
    return found


def _fingerprint(folder: str) -> dict:
    files = sorted(_files(folder))
    n_bytes = sum(size for _, size, _, _ in files)
    small = len(files) <= MANY_FILES and n_bytes <= MANY_BYTES
    total = hashlib.sha256()
    for name, size, path, in_shards in files:
        read = path.endswith(f"/{INDEX}") if in_shards else small
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest() if read else ""
        total.update(f"{name}\0{size}\0{content}\n".encode())
    of = "names, sizes and contents" if small else "names and sizes"
    if any(in_shards for *_, in_shards in files):
        of += ", of shards their index and sizes"
    return {"sha256": total.hexdigest(), "files": len(files), "bytes": n_bytes, "of": of}


def _files(folder: str, below: str = "") -> Iterator[tuple[str, int, str, bool]]:
    """Relative name, size, path, and whether it lies among shards; scandir asks the disk once a file, not thrice."""
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not entry.name.startswith(".")]
    shards = {INDEX, FIRST_SHARD} <= {entry.name for entry in entries}
    for entry in entries:
        if entry.is_dir():
            yield from _files(entry.path, f"{below}{entry.name}/")
        elif entry.is_file() and (not shards or entry.name == INDEX or entry.name.endswith(".tar")):
            yield below + entry.name, entry.stat().st_size, entry.path, shards
