r"""The log of a training run: one JSON line every so many steps, and the same for TensorBoard.

Taught in notebook 05.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from aotlib import figures
from aotlib.files import replacing

LOSSES = {
    "rec": "reconstruction",
    "per": "perceptual",
    "sty": "style",
    "adv": "adversarial (G)",
    "dis": "adversarial (D)",
}
NO_LOSSES = ("step", "total", "skipped", "images_per_s", "seconds")


class Log:
    r"""``log.jsonl`` and TensorBoard; rows after the step that a run goes on from are dropped, they come again."""

    def __init__(self, run_dir: Path, after: int, report: Callable[[dict], None] | None) -> None:
        self.path, self.report = run_dir / "log.jsonl", report
        self.last, self.started = after, time.perf_counter()
        kept = [row for row in read_log(run_dir) if row["step"] <= after]
        self.seconds = kept[-1].get("seconds", 0.0) if kept else 0.0  # of training, over all sessions
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self.board = SummaryWriter(run_dir / "tensorboard", purge_step=after + 1)

    def add(self, step: int, row: dict[str, float], batch: int, picture: Tensor | None = None) -> None:
        r"""Add a row of means, with the rate since the last, and the held-out fills (3, H, W) in [0, 1] if any."""
        now = time.perf_counter()
        took = now - self.started
        self.seconds += took
        row = {"step": step} | row | {"images_per_s": batch * (step - self.last) / took, "seconds": self.seconds}
        self.last, self.started = step, now
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            self.board.add_scalar(name, value, step)
        if picture is not None:
            self.board.add_image("held_out", picture, step)
        self.board.flush()
        if self.report:
            self.report(row)


def read_log(run_dir: str | Path) -> list[dict]:
    r"""The rows of ``log.jsonl``; a last line that was cut off by an interruption is left out."""
    path = Path(run_dir) / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def draw_losses(log: pd.DataFrame, note: str) -> Figure:
    r"""The losses that a run computed, one panel each, over steps; `note` stands in the corner of the figure.

    Taught in notebook 05.
    """
    shown = [name for name in log if name not in NO_LOSSES and not name.startswith("val_")]
    fig, axes = figures.panels(len(shown), 3, height=1.6)
    for ax, name in zip(axes, shown, strict=True):
        ax.plot(log.step, log[name])
        ax.set(title=LOSSES.get(name, name.replace("_", " ")), xlabel="step")
    for ax in axes[::3]:
        ax.set_ylabel("loss")
    figures.note(fig, note)
    return fig


def line(row: dict, steps: int, batch: int) -> str:
    r"""A row of the log as a line for people: losses, rate, and the time that is left.

    >>> line({"step": 100, "rec": 0.123456, "images_per_s": 8.0}, steps=1000, batch=8)
    'step 100/1000  rec 0.1235  8.0 images/s  15 min left'
    """
    left = (steps - row["step"]) * batch / row["images_per_s"]
    shown = [f"{name} {value:.4g}" for name, value in row.items() if name not in ("step", "images_per_s", "seconds")]
    ends = [f"{row['images_per_s']:.1f} images/s", f"{duration(left)} left"] if left else []
    return "  ".join([f"step {row['step']}/{steps}", *shown, *ends])


def duration(seconds: float) -> str:
    r"""Seconds in the unit that suits them.

    >>> [duration(t) for t in (5, 900, 9000, 500_000)]
    ['5 s', '15 min', '2.5 h', '5.8 days']
    """
    for length, digits, unit in ((86_400, 1, "days"), (3_600, 1, "h"), (60, 0, "min")):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds:.0f} s"
