r"""A training run as a job: one writer, a progress display, several processes where asked for, and a record at the end.

`aotlib train` and ``torchrun -m aotlib.train`` come here; notebook 05 calls `start`. Taught in notebook 05.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from aotlib import profiles, quarantine, records
from aotlib.config import TrainConfig
from aotlib.distributed import find_group
from aotlib.files import only_writer
from aotlib.stopping import Stopping
from aotlib.trainlog import draw_losses, line, read_log

HELD = "AOTLIB_FOLDER_HELD"  # tells the processes of a run that the one which started them has locked its folder
TAIL = 30  # lines of a failed process's own account that are shown


class Progress:
    r"""A bar where a person watches, plain lines in a log; call it with every row of the training log."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.bar = tqdm(total=config.steps, unit="step", smoothing=0.1) if sys.stderr.isatty() else None

    def __call__(self, row: dict) -> None:
        if self.bar is None:
            print(line(row, self.config.steps, self.config.batch), flush=True)
            return
        if not self.bar.n:  # a run that goes on: what was done before was not done in this time
            self.bar.initial = self.bar.n = self.bar.last_print_n = max(0, row["step"] - self.config.log_every)
        self.bar.update(row["step"] - self.bar.n)
        shown = ("rec", "dis", "val_psnr", "skipped")
        self.bar.set_postfix({name: f"{row[name]:.4g}" for name in shown if name in row})

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def start(config: TrainConfig, run_dir: str | Path, report: Callable[[dict], None] | None = None) -> dict:
    r"""Train in this process; with ``processes`` other than 1 in as many new ones, whose log is passed on to `report`.

    Returns:
        The last row of the log.

    Raises:
        RuntimeError: when the processes failed, with the end of what they said.

    Taught in notebook 05.
    """
    import torch

    from aotlib.hardware import cores

    wanted = config.processes or max(1, torch.cuda.device_count())
    if wanted == 1 or "RANK" in os.environ:  # the latter: torchrun has started this process already
        from aotlib.train import train

        return train(config, run_dir, report)
    if config.batch % wanted:
        raise ValueError(
            f"a batch of {config.batch} cannot be cut into {wanted} equal parts, one a process; change one"
        )
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    first = len(read_log(run_dir))
    said = run_dir / "processes.log"
    environment = os.environ | {HELD: str(run_dir)}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // wanted)))  # torchrun would make it 1
    with said.open("w") as file:
        code = _follow(torchrun(config, run_dir, wanted), environment, file, run_dir, first, report)
    if code:
        lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
        reason = next((text for text in lines if text.startswith("aotlib: ")), "\n".join(lines[-TAIL:]))
        raise RuntimeError(f"training on {wanted} processes failed; all they said is in {said}\n{reason}")
    return read_log(run_dir)[-1]


def torchrun(config: TrainConfig, run_dir: str | Path, processes: int, restarts: int = 0) -> list[str]:
    r"""The command that trains on several processes of this machine; all start again, so many times, when one dies."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--max-restarts={restarts}"]
    return [*launcher, f"--nproc-per-node={processes}", "-m", "aotlib.train", *options(config), f"--run-dir={run_dir}"]


def options(config: TrainConfig) -> list[str]:
    r"""`config` as words of a command line.

    >>> options(TrainConfig(rates=(1, 2)))[-2:]
    ['--n-samples=6', '--device=auto']
    """
    words = []
    for name, value in dataclasses.asdict(config).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)]
        else:
            words.append(f"{flag}={value}")
    return words


def _follow(
    command: list[str], environment: dict, file, run_dir: Path, known: int, report: Callable[[dict], None] | None
) -> int:
    r"""Run `command` to its end, reporting rows of the log as they come; a stop of ours is passed on to it."""
    import subprocess

    process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env=environment)
    with Stopping() as stopping:
        try:
            while process.poll() is None and not stopping.number:
                time.sleep(0.5)
                known = _pass_on(run_dir, known, report)
        finally:
            if process.poll() is None:
                process.terminate()  # torchrun tells its processes, which save their state
                process.wait()
        _pass_on(run_dir, known, report)
    if stopping.number:
        raise stopping.error("the processes were told to save their state; call it again to go on")
    return process.returncode


def _pass_on(run_dir: Path, known: int, report: Callable[[dict], None] | None) -> int:
    rows = read_log(run_dir)
    for row in rows[known:] if report else []:
        report(row)
    return max(known, len(rows))


def run(config: TrainConfig, run_dir: Path | None = None) -> None:
    r"""Train from the command line: lock the folder, show progress, leave ``losses.png`` and ``record.json``."""
    root, started, leads = profiles.find_root(), time.time(), find_group().leads
    if run_dir is None:  # a name that longer runs and other numbers of workers share
        named = config.decides() | {"data_dir": config.data_dir, "start_from": config.start_from}
        run_dir = root / "results" / "train" / profiles.training_run(named, root)
    if not leads or os.environ.get(HELD):  # the process that started torchrun holds the folder and writes the record
        start(config, run_dir, Progress(config) if leads else None)
        return
    print(f"training in {run_dir}\n{_begun(config)}", flush=True)
    progress = Progress(config)
    with only_writer(run_dir):
        try:
            last = start(config, run_dir, progress)
        finally:
            progress.close()
        if not _recorded(run_dir, last):
            _finish(config, run_dir, last, time.time() - started)


def _begun(config: TrainConfig) -> str:
    from aotlib.features import chosen
    from aotlib.hardware import pick_device
    from aotlib.methods import METHODS

    method, network = METHODS[config.method], chosen(config.features)
    told = (
        f"{method.label}: {config.steps:,} steps of {config.batch} crops of {config.size} px, {config.width} channels, "
    )
    told += f"lr {config.lr:g}, {pick_device(config.device)}; a line every {config.log_every} steps"
    if unused := method.unused(config):
        told += f"\nnot used, as {method.label} has none of it: {', '.join(unused)}"
    if not method.uses_features:
        return told
    told += f"\nfeature network of the losses: {network}"
    if network == "random" and config.features == "auto":
        told += "; no VGG19 weights are here, so the losses compare random features, and the paper's do not: "
        told += "--features vgg19 downloads them, AOTLIB_WEIGHTS names a file or folder that has them"
    return told


def _recorded(run_dir: Path, last: dict) -> bool:
    r"""Whether the record that is there is about this end of the run; then nothing was done now."""
    path = run_dir / "record.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["metrics"] == last


def _finish(config: TrainConfig, run_dir: Path, last: dict, seconds: float) -> None:
    import pandas as pd

    from aotlib import figures
    from aotlib.weights import read_card

    for text in quarantine.listed(run_dir / "quarantine.csv"):
        print(f"  set aside: {text}")
    card = read_card(run_dir / "generator.safetensors")  # it says what every "auto" came to
    features = card["features"]
    figures.style()
    fig = draw_losses(pd.DataFrame(read_log(run_dir)), f"data: {config.data}; feature network: {features}")
    figures.save(fig, run_dir / "figures", "losses")
    parameters = dataclasses.asdict(config)
    content = records.record(
        parameters=parameters,
        seed=config.seed,
        data_dir=records.data_folder(parameters),
        features=features,
        metrics=last,
        seconds=seconds,
        device=card["device"],
    )
    ran = {name: card[name] for name in ("precision", "layout", "compile")}
    records.write_json(run_dir / "record.json", content | {"ran": ran})


def main() -> None:
    r"""``python -m aotlib.train``: the same as ``aotlib train``."""
    from aotlib import cli

    sys.argv[1:1] = ["train"]
    cli.main()
