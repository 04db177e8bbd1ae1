r"""Folder names of training runs: two runs share one only if parameters, code and data are the same.

Nothing here imports torch. Taught in notebook 05.
"""

import ast
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from aotlib.records import data_folder, fingerprint

FOLDERS = ("data", "masks")  # parameters that may name a folder; those whose names end in _dir always do
# What decides the weights besides the parameters: a run by other code gets another folder. A test holds this list
# against the imports of train.py.
TRAINING_CODE = ("blocks", "config", "data", "distributed", "features", "hardware", "images", "losses", "masks", "undo")
TRAINING_CODE += (
    "colour",
    "model",
    "quarantine",
    "rates",
    "shards",
    "sources",
    "step",
    "strokes",
    "train",
    "weights_files",
)
RIVALS_CODE = ("methods", "baselines/*")  # besides, for the compared methods


def code_digest(folder: str | Path, modules: Iterable[str] = TRAINING_CODE) -> str:
    r"""A number that changes when statements of the modules change, but not for comments, docstrings or layout."""
    total = hashlib.sha256()
    for module in modules:  # a name, or a pattern such as baselines/*
        if not (paths := sorted(Path(folder).glob(f"{module}.py"))):
            raise FileNotFoundError(f"no {module}.py in {folder}")
        total.update("".join(_statements(path) for path in paths).encode())
    return total.hexdigest()


def _statements(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def run_name(parameters: dict, *, code: str = "", data: str = "") -> str:
    r"""A folder name that two runs share only if parameters, code and data are the same: method-data-seed-digest.

    Where a folder lies does not count, so that the name is the same on every machine; what is in it does, through
    `data`, a fingerprint.

    >>> run_name({"seed": 0, "lr": 1e-4, "data_dir": "/home/ada/photos"})
    'aotgan-photos-s0-7cf6a870'

    Taught in notebook 05.
    """
    counted = {key: value for key, value in parameters.items() if not key.endswith("_dir")}
    counted |= {key: Path(counted[key]).name for key in FOLDERS if os.path.isabs(counted.get(key) or "")}
    text = json.dumps([counted, code, data], sort_keys=True)
    method = parameters.get("method", "aotgan")
    where = Path(parameters.get("data") or parameters.get("data_dir", "")).name or "data"
    return f"{method}-{where}-s{parameters.get('seed', 0)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def training_run(parameters: dict, digest: Callable[[tuple[str, ...]], str]) -> str:
    r"""The name of the run that code of that `digest` (a function of the names of modules) would make with this data.

    Taught in notebook 05.
    """
    found = [fingerprint(folder) for folder in (data_folder(parameters), parameters.get("masks")) if folder]
    data = " ".join(content["sha256"] for content in found if content)
    modules = TRAINING_CODE + (RIVALS_CODE if parameters.get("method", "aot") != "aot" else ())
    return run_name(parameters, code=digest(modules), data=data)
