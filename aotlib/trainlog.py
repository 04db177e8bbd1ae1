r"""The log of a training run: one JSON line every so many steps, and the same for TensorBoard.

Taught in notebook 05.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from aotlib.files import replacing


class Log:
    r"""``log.jsonl`` and TensorBoard; rows after the step that a run goes on from are dropped, they come again."""

    def __init__(self, run_dir: Path, after: int, report: Callable[[dict], None] | None) -> None:
        self.path, self.report, self.started = run_dir / "log.jsonl", report, time.perf_counter()
        kept = [row for row in read_log(run_dir) if row["step"] <= after]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self.board = SummaryWriter(run_dir / "tensorboard", purge_step=after + 1)

    def add(self, step: int, row: dict[str, float], n_images: int) -> None:
        now = time.perf_counter()
        row = {"step": step} | row | {"images_per_s": n_images / (now - self.started)}
        self.started = now
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            self.board.add_scalar(name, value, step)
        self.board.flush()
        if self.report:
            self.report(row)


def read_log(run_dir: str | Path) -> list[dict]:
    r"""The rows of ``log.jsonl``; a last line that was cut off by an interruption is left out."""
    path = Path(run_dir) / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
