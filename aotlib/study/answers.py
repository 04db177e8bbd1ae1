r"""What raters chose: files of answers checked against their plan, and put into one table.

Taught in notebook 09.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from aotlib.study.forms import FORMAT, checked
from aotlib.study.plan import identity

COLUMNS = ["rater", "session", "number", "trial", "kind", "image", "catch", "practice", "shown", "choice", "seconds"]
COLUMNS += ["at", "simulated"]
CHOICES = {"pair": ("left", "right"), "real": ("real", "fake")}


def read_folder(folder: str | Path) -> list[dict]:
    r"""The answers in every .json file below `folder`, sorted by path, each with its path as `source`.

    Raises:
        ValueError: when there is none, or a file is not one of answers, naming what is wrong in it.

    Taught in notebook 09.
    """
    paths = sorted(Path(folder).rglob("*.json"))
    if not paths:
        raise ValueError(f"no .json file below {folder}: put the files of answers there, one a rater")
    return [_read(path) for path in paths]


def gathered(study: str | Path, place: str | Path | None = None) -> list[dict]:
    r"""The answers at `place`: a server's database, a folder of files, or the folder of a study, which holds both.

    Args:
        study: the folder of the plan, and the place of its answers when no other is given: ``answers.sqlite`` and the
            files below ``answers``, as far as they are there.

    Raises:
        ValueError: when there is no answer, saying where one was looked for.

    Taught in notebook 09.
    """
    from aotlib.study.database import NAME, export  # here: it is the server's

    if place is not None and not Path(place, "plan.json").is_file():
        return export(place) if Path(place).is_file() else read_folder(place)
    study = Path(study if place is None else place)
    found = export(study / NAME) if (study / NAME).is_file() else []
    found += read_folder(study / "answers") if any((study / "answers").glob("**/*.json")) else []
    if not found:
        where = f"there is no answer in {study / NAME} nor in {study / 'answers'}"
        if (study / "simulated").is_dir():
            raise ValueError(
                f"{where}; for simulated ones say --answers {study / 'simulated'} (notebook 9: answers_dir)"
            )
        raise ValueError(f"{where}; put files of answers there, or say with --answers (answers_dir) where they are")
    return found


def _read(path: Path) -> dict:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise ValueError(f"{path} holds no answers: it has not the format {FORMAT}")
    return checked(given, str(path)) | {"source": str(path)}


def votes(plan: dict, answers: Sequence[dict]) -> pd.DataFrame:
    r"""One row an answer, in the order of `answers`: `COLUMNS`.

    `number` is the place of the trial in its session, from 0; `shown` the methods from left to right, with "truth" and
    "broken" for those pictures; `choice` as it was given, a ranking as a tuple of places; `at` a time in UTC. What is
    there twice, such as in a server's database and in the archive of it, counts once, as it comes first.

    Args:
        answers: each may have a `source`, which errors name.

    Raises:
        ValueError: that names the source, the rater and the trial, for answers to another plan or to a trial that is
            not of the session, for a choice that the trial does not offer or that came before the least time, for a
            trial that is twice in a file, and for two sources that contradict each other.

    Taught in notebook 09.
    """
    expected = identity(plan)
    found: dict[tuple[str, int], dict[str, dict]] = {}
    for number, given in enumerate(answers):
        source = given.get("source") or f"answers {number}"
        given = checked({key: value for key, value in given.items() if key != "source"}, source)
        _check_plan(plan, given, expected, source)
        _merge(found.setdefault((given["rater"], given["session"]), {}), _rows(plan, given, source))
    rows = [row for session in found.values() for row in session.values()]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["at"] = pd.to_datetime(table["at"], utc=True, format="ISO8601")
    return table.astype({"catch": bool, "practice": bool, "simulated": bool, "seconds": float})


def _check_plan(plan: dict, given: dict, expected: str, source: str) -> None:
    if given["plan"] != expected:
        told = f"{source}: the answers of rater {given['rater']} belong to the plan {given['plan'][:12]}..."
        raise ValueError(f"{told}, not to {expected[:12]}... Was plan.json changed or made anew since?")
    if given["session"] >= len(plan["sessions"]):
        raise ValueError(f"{source}: rater {given['rater']}: the plan has no session {given['session']}")


def _merge(known: dict[str, dict], rows: Iterable[dict]) -> None:
    """What is new in `rows` is added to those `known` of the same rater and session."""
    for row in rows:
        first = known.setdefault(row["trial"], row)
        for key in ("choice", "simulated"):
            if first[key] != row[key]:
                told = f"{key} is {first[key]!r} in {first['source']} and {row[key]!r} in {row['source']}"
                raise ValueError(f"rater {row['rater']}, trial {row['trial']}: {told}. Find out which one is right")


def _rows(plan: dict, given: dict, source: str) -> Iterable[dict]:
    rater, session = given["rater"], given["session"]
    trials = {trial["trial"]: (number, trial) for number, trial in enumerate(plan["sessions"][session]["trials"])}
    common = {"rater": rater, "session": session, "simulated": given["simulated"], "source": source}
    for answer in given["answers"]:
        where = f"{source}: rater {rater}, trial {answer['trial']}"
        if answer["trial"] not in trials:
            raise ValueError(f"{where} is not of session {session}, or answered twice")
        number, trial = trials.pop(answer["trial"])
        if answer["seconds"] < plan["minimum_s"]:
            raise ValueError(f"{where}: answered after {answer['seconds']} s, before the plan's {plan['minimum_s']} s")
        shown = tuple(_name(plan["files"][file]) for file in trial["shown"])
        choice = checked_choice(answer["choice"], trial, plan["ties"], where)
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
