r"""Runs that may fail without stopping the others: what became of each is noted beside its results.

Notebook 8 shows a run that failed as "not run", and the next ``aotlib reproduce`` tries it again.

Taught in notebook 08.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from aotlib.profiles import Job
from aotlib.records import write_json

NOTE = "attempt.json"


def write_note(folder: str | Path, reason: str = "") -> None:
    r"""The folder says that its run came to its end or, with a `reason`, why it did not."""
    write_json(Path(folder, NOTE), {"finished": not reason, "reason": reason})


def reason_in(folder: str | Path) -> str:
    r"""Why the run of that folder did not come to its end; empty where it did, or was never tried."""
    path = Path(folder, NOTE)
    return json.loads(path.read_text(encoding="utf-8"))["reason"] if path.is_file() else ""


def failed(jobs: Mapping[str, Job]) -> dict[str, str]:
    r"""The reasons of the jobs that failed at their last attempt, by name."""
    reasons = {name: reason_in(job.out_dir) for name, job in jobs.items() if job.may_fail}
    return {name: reason for name, reason in reasons.items() if reason}
