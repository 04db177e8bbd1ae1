r"""What raters chose: files of answers checked against their plan, and put into one table.

Taught in notebook 09.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from aotlib.study.plan import identity

FORMAT = "aotlib-study-answers-1"
COLUMNS = ["rater", "session", "number", "trial", "kind", "image", "catch", "practice", "shown", "choice", "seconds"]
COLUMNS += ["at", "simulated"]
CHOICES = {"pair": ("left", "right"), "real": ("real", "fake")}


def read_folder(folder: str | Path) -> list[dict]:
    r"""The answers in every .json file below `folder`, sorted by path.

    Raises:
        ValueError: when there is none, or a file is not one of answers.

    Taught in notebook 09.
    """
    paths = sorted(Path(folder).rglob("*.json"))
    if not paths:
        raise ValueError(f"no .json file below {folder}: put the files of answers there, one a rater")
    return [_read(path) for path in paths]


def _read(path: Path) -> dict:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise ValueError(f"{path} holds no answers: it has not the format {FORMAT}")
    return given


def votes(plan: dict, answers: Sequence[dict]) -> pd.DataFrame:
    r"""One row an answer, in the order of `answers`: `COLUMNS`.

    `number` is the place of the trial in its session, from 0; `shown` the methods from left to right, with "truth" and
    "broken" for those pictures; `choice` as it was given, a ranking as a tuple of places; `at` a time in UTC.

    Raises:
        ValueError: that names the rater and the trial, for answers to another plan or to a trial that is not of the
            session, for a choice that the trial does not offer, and for a trial or a session that a rater answered
            twice.

    Taught in notebook 09.
    """
    expected, seen = identity(plan), set()
    rows: list[dict] = []
    for given in answers:
        rater, session = _of_plan(plan, given, expected)
        if (rater, session) in seen:
            raise ValueError(f"session {session} of rater {rater} is there twice: was a file copied?")
        seen.add((rater, session))
        rows += _rows(plan, given, rater, session)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["at"] = pd.to_datetime(table["at"], utc=True, format="ISO8601")
    return table.astype({"catch": bool, "practice": bool, "simulated": bool, "seconds": float})


def _of_plan(plan: dict, given: dict, expected: str) -> tuple[str, int]:
    """Rater and session of one file of answers, once it is found to be of this plan."""
    rater, session = str(given.get("rater", "")), given.get("session")
    if given.get("plan") != expected:
        told = f"the answers of rater {rater} belong to the plan {str(given.get('plan'))[:12]}..."
        raise ValueError(f"{told}, not to {expected[:12]}... Was plan.json changed or made anew since?")
    if not isinstance(session, int) or not 0 <= session < len(plan["sessions"]):
        raise ValueError(f"rater {rater}: the plan has no session {session!r}")
    if not rater or not isinstance(given.get("simulated"), bool):
        raise ValueError(f"rater {rater!r}, session {session}: answers must name a rater and say whether simulated")
    return rater, session


def _rows(plan: dict, given: dict, rater: str, session: int) -> Iterable[dict]:
    trials = {trial["trial"]: (number, trial) for number, trial in enumerate(plan["sessions"][session]["trials"])}
    common = {"rater": rater, "session": session, "simulated": given["simulated"]}
    for answer in given["answers"]:
        if answer["trial"] not in trials:
            raise ValueError(f"rater {rater}: trial {answer['trial']} is not of session {session}, or answered twice")
        number, trial = trials.pop(answer["trial"])
        shown = tuple(_name(plan["files"][file]) for file in trial["shown"])
        choice = checked_choice(answer["choice"], trial, plan["ties"], f"rater {rater}, trial {answer['trial']}")
        about = {key: trial[key] for key in ("trial", "kind", "image", "catch", "practice")}
        timed = {"seconds": answer["seconds"], "at": answer["at"]}
        yield common | about | timed | {"number": number, "shown": shown, "choice": choice}


def _name(file: dict) -> str:
    return file["method"] or file["role"]


def checked_choice(choice: object, trial: dict, ties: bool, where: str) -> object:
    r"""`choice` as it stands in the table, when `trial` of a plan offers it.

    Raises:
        ValueError: that begins with `where`, when it does not.

    Taught in notebook 09.
    """
    if trial["kind"] == "rank":
        if not isinstance(choice, list | tuple) or sorted(choice) != list(range(len(trial["shown"]))):
            raise ValueError(f"{where}: {choice!r} is no ranking of {len(trial['shown'])} pictures, places from 0")
        return tuple(choice)
    offered = CHOICES[trial["kind"]] + (("tie",) if ties and trial["kind"] == "pair" else ())
    if choice not in offered:
        raise ValueError(f"{where}: {choice!r} is none of {', '.join(offered)}")
    return choice
