r"""Running one notebook from its first cell to its last, and keeping what it left together with how it came about.

papermill executes; what it would let pass in silence (a misspelt parameter, a text where a number belongs, a notebook
that stopped early) is an error here. Taught in notebook 05.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aotlib.files import only_writer
from aotlib.profiles import checked_parameters, load_profile, plan
from aotlib.records import data_folder, fingerprint, finish, record, write_json
from aotlib.run_names import run_name
from aotlib.stopping import Stopped, passing_on

__all__ = ["NotebookFailed", "fingerprint", "finish", "load_profile", "plan", "record", "run_name", "run_notebook"]
__all__ += ["private_kernel", "write_json"]


class NotebookFailed(RuntimeError):
    r"""A notebook did not reach its end; the text says where. The notebook as it stood is kept in ``failed/``."""


def run_notebook(
    source: str | Path, out_dir: str | Path, parameters: dict | None = None, *, timeout_s: float | None = 3600
) -> dict:
    r"""Execute `source` with these parameters in its own folder; return the record that `out_dir` now holds.

    Afterwards `out_dir` has the executed notebook, ``metrics.json`` (written by its last cell through `finish`),
    ``record.json``, and whatever the notebook saved. Figures and tables of an earlier run are gone; other files, such
    as the state of a training run, are left for the notebook to go on from.

    Args:
        parameters: those that differ from the defaults in the notebook's parameters cell.
        timeout_s: for one cell, in seconds; None for no limit.

    Raises:
        KeyError, TypeError, ValueError: at a parameter that the notebook does not have, or of another type.
        NotebookFailed: when a cell failed, or the notebook ended before its last cell.
        Stopped: when this process was told to end by SIGTERM.

    Taught in notebook 05.
    """
    source, out_dir = Path(source).resolve(), Path(out_dir).resolve()
    parameters = checked_parameters(source, (parameters or {}) | {"out_dir": str(out_dir)})
    started = time.time()
    with only_writer(out_dir):
        _clear(out_dir, source.name)
        _execute(source, out_dir, parameters, timeout_s)
        metrics = _metrics(source, out_dir)
        device, features = metrics.pop("device", None), metrics.get("features")
        content = record(
            notebook=source.name,
            parameters=parameters,
            seed=parameters.get("seed"),
            data_dir=data_folder(parameters),
            features=features,
            metrics=metrics,
            seconds=time.time() - started,
            device=device,
        )
        os.replace(out_dir / f"running-{source.name}", out_dir / source.name)
        write_json(out_dir / "record.json", content)
    return content


def _clear(out_dir: Path, name: str) -> None:
    for leftover in ("metrics.json", "record.json", name, f"running-{name}"):  # none may pass for this run's
        (out_dir / leftover).unlink(missing_ok=True)
    for folder in ("figures", "tables", "failed"):
        shutil.rmtree(out_dir / folder, ignore_errors=True)


def _execute(source: Path, out_dir: Path, parameters: dict, timeout_s: float | None) -> None:
    running = out_dir / f"running-{source.name}"
    reason, heard = _failure(source, running, parameters, timeout_s)
    if reason and heard:
        raise Stopped(f"{source.stem}: stopped: {reason}", heard[0])
    if reason:
        raise NotebookFailed(f"{source.stem}: {reason}\n(kept as {_keep_failed(running, source.name)})")


def _failure(source: Path, running: Path, parameters: dict, timeout_s: float | None) -> tuple[str, list[int]]:
    """Why executing `source` into `running` failed, "" where it did not, and the signals heard meanwhile."""
    sys.modules.setdefault("rfc3987_syntax", None)  # spares jsonschema 3 s for a grammar that no notebook needs
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)  # its doubts about parameters: these have been checked
    options = {"cwd": source.parent, "kernel_name": "python3", "progress_bar": False, "execution_timeout": timeout_s}
    paths = _unformatted(source), _unformatted(running)
    try:
        with private_kernel() as config, passing_on() as heard:
            papermill.execute_notebook(*paths, parameters, config=config, **options)
    except papermill.PapermillExecutionError as error:
        first = next((line for line in error.source.splitlines() if line.strip()), "")
        return f"cell In [{error.exec_count}], {first.strip()!r}: {error.ename}: {error.evalue}", heard
    except CellTimeoutError:
        return f"a cell took longer than {timeout_s:g} s", heard
    except DeadKernelError:
        return "its Python process died (most often: out of memory)", heard
    return "", heard


def _unformatted(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")  # papermill fills in braces in a path


@contextmanager
def private_kernel() -> Iterator[object]:
    r"""Settings under which a kernel talks through a folder of its own, and keeps quiet on the terminal.

    By default kernels draw TCP ports, and two that start at the same moment can draw the same one. Windows has no such
    sockets and keeps the default.
    """
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="aot", ignore_cleanup_errors=True) as folder:
        ipc = {} if sys.platform == "win32" else {"transport": "ipc", "ip": f"{folder}/k"}
        quiet = {"extra_arguments": ["--log-level=50"]}  # else a kernel that is stopped reports that it was
        yield Config(KernelManager=ipc, NotebookClient=quiet)


def _keep_failed(running: Path, name: str) -> Path:
    kept = running.parent / "failed" / name
    kept.parent.mkdir(exist_ok=True)
    os.replace(running, kept)
    return kept


def _metrics(source: Path, out_dir: Path) -> dict:
    path = out_dir / "metrics.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    kept = _keep_failed(out_dir / f"running-{source.name}", source.name)
    raise NotebookFailed(
        f"{source.stem}: ended without metrics.json; its last cell must call runs.finish(out_dir, metrics)\n"
        f"(kept as {kept})"
    )
