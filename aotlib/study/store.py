r"""Where a study's server keeps its answers: one SQLite file, in which an answer is on the disk once it is taken.

Taught in notebook 09.
"""

import hashlib
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aotlib.study import answers
from aotlib.study import plan as plans

NAME = "answers.sqlite"
LATEST = "9999"  # a year after all times
LONGEST_S = 86_400.0  # a day in front of one task is no answer
TABLES = """
CREATE TABLE IF NOT EXISTS study (plan TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS raters (rater TEXT PRIMARY KEY, token TEXT UNIQUE NOT NULL, session INTEGER NOT NULL,
  viewport TEXT, began TEXT NOT NULL, seen TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (rater TEXT NOT NULL REFERENCES raters ON DELETE CASCADE, trial TEXT NOT NULL,
  choice TEXT NOT NULL, seconds REAL NOT NULL, at TEXT NOT NULL, PRIMARY KEY (rater, trial));
"""


class Refused(ValueError):
    """What a rater's browser sent cannot be taken; `status` is the HTTP status that says so."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


def now() -> datetime:
    return datetime.now(UTC)


class Store:
    r"""The answers to one plan. Every method may be called from any thread.

    Args:
        path: the database, made when it is not there.
        plan: as of `aotlib.study.plan.read`.
        abandoned_s: a session without an answer for so long goes to the next rater; its answers stay.
        clock: gives the time.

    Raises:
        ValueError: for a database of another plan.

    Taught in notebook 09.
    """

    def __init__(
        self, path: Path, plan: dict, *, abandoned_s: float = 3600.0, clock: Callable[[], datetime] = now
    ) -> None:
        self.path, self.plan, self.abandoned, self.clock = path, plan, timedelta(seconds=abandoned_s), clock
        self.trials = [{trial["trial"]: trial for trial in one["trials"]} for one in plan["sessions"]]
        self.lock = threading.Lock()
        self.database = _opened(path)
        self.database.executescript(TABLES)
        with self._writing():
            found = self.database.execute("SELECT plan FROM study").fetchone()
            if found is None:
                self.database.execute("INSERT INTO study VALUES (?)", (plans.identity(plan),))
        if found is not None and found[0] != plans.identity(plan):
            raise ValueError(f"{path} holds answers to another plan: put plan.json back, or name another folder")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All that is written inside is on the disk afterwards, or none of it is."""
        with self.lock:
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.database.execute("ROLLBACK")
                raise
            self.database.execute("COMMIT")

    def close(self) -> None:
        with self.lock:
            self.database.close()

    def begin(self, viewport: tuple[int, int] | None = None) -> tuple[str, str, int]:
        r"""A new rater: their secret token, their random id, and the session they are given.

        Raises:
            Refused: when every session is taken by a rater who has finished or may still go on.
        """
        token, rater, time = secrets.token_urlsafe(32), secrets.token_hex(16), self.clock()
        with self._writing():
            session = self._next_session(time)
            row = (rater, _digest(token), session, json.dumps(viewport), _text(time), _text(time))
            self.database.execute("INSERT INTO raters VALUES (?, ?, ?, ?, ?, ?)", row)
        return token, rater, session

    def _next_session(self, time: datetime) -> int:
        """The first session that nobody has; else the one that was abandoned longest ago."""
        time_of: dict[int, str] = dict.fromkeys(range(len(self.trials)), "")  # last seen; "" is before all times
        for row in self._raters():
            kept = self.state(row, time) != "abandoned"
            time_of[row["session"]] = max(time_of[row["session"]], LATEST if kept else row["seen"])
        session = min(time_of, key=time_of.__getitem__)
        if time_of[session] == LATEST:
            raise Refused(409, "all sessions of this study are taken")
        return session

    def _raters(self) -> list[dict]:
        rows = self.database.execute(
            "SELECT rater, session, viewport, began, seen, count(trial), avg(seconds) FROM raters "
            "LEFT JOIN answers USING (rater) GROUP BY rater ORDER BY session, began"
        )
        names = ("rater", "session", "viewport", "began", "seen", "answered", "mean_s")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def state(self, row: dict, time: datetime) -> str:
        r"""How far a rater of `raters()` is: "complete", "under way" or "abandoned"."""
        if row["answered"] >= len(self.trials[row["session"]]):
            return "complete"
        return "under way" if time - datetime.fromisoformat(row["seen"]) < self.abandoned else "abandoned"

    def raters(self) -> list[dict]:
        r"""Who takes part, by session: rater, session, viewport, began, seen, answered, mean_s and state."""
        with self.lock:
            rows = self._raters()
        return [row | {"viewport": json.loads(row["viewport"]), "state": self.state(row, self.clock())} for row in rows]

    def resume(self, token: str) -> tuple[int, list[str]]:
        r"""The session of a rater and the trials that are answered.

        Raises:
            Refused: for a token that nobody was given.
        """
        with self._writing():
            rater, session = self._rater(token)
            self.database.execute("UPDATE raters SET seen = ? WHERE rater = ?", (_text(self.clock()), rater))
            rows = self.database.execute("SELECT trial FROM answers WHERE rater = ? ORDER BY rowid", (rater,))
            return session, [trial for (trial,) in rows]

    def _rater(self, token: str) -> tuple[str, int]:
        row = self.database.execute("SELECT rater, session FROM raters WHERE token = ?", (_digest(token),)).fetchone()
        if row is None:
            raise Refused(401, "this study knows no such token")
        return row

    def answer(self, token: str, trial: str, choice: object, seconds: float) -> None:
        r"""The answer is on the disk when this returns.

        Raises:
            Refused: when the token is nobody's (401), the trial is not of the rater's session (404), it has been
                answered (409: the first answer stays), or it has no such choice or was given too early (422).
        """
        with self._writing():
            rater, session = self._rater(token)
            self._check(session, trial, choice, seconds)
            time = _text(self.clock())
            try:
                row = (rater, trial, json.dumps(choice), seconds, time)
                self.database.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise Refused(409, "this trial has been answered") from None
            self.database.execute("UPDATE raters SET seen = ? WHERE rater = ?", (time, rater))

    def _check(self, session: int, trial: str, choice: object, seconds: float) -> None:
        if trial not in self.trials[session]:
            raise Refused(404, "this trial is not of your session")
        if not self.plan["minimum_s"] <= seconds <= LONGEST_S:
            raise Refused(422, f"seconds must lie between {self.plan['minimum_s']} and {LONGEST_S:.0f}")
        try:
            answers.checked_choice(choice, self.trials[session][trial], self.plan["ties"], "answer")
        except (ValueError, TypeError):
            raise Refused(422, "this trial has no such choice") from None

    def leave(self, token: str) -> None:
        r"""A rater and their answers are deleted; the session is free again.

        Raises:
            Refused: for a token that nobody was given.
        """
        with self._writing():
            rater, _ = self._rater(token)
            self.database.execute("DELETE FROM raters WHERE rater = ?", (rater,))
        with self.lock:
            self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log would still hold them

    def export(self) -> list[dict]:
        r"""The answers in the common format, one entry a rater who has given any, by session."""
        with self.lock:
            return _exported(self.database)


def export(path: str | Path) -> list[dict]:
    r"""The answers in a server's database, in the common format; it may be read while the server runs.

    Raises:
        ValueError: when there is no such file, or it is not the database of a study.

    Taught in notebook 09.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} does not exist; `aotlib study serve` makes it")
    database = sqlite3.connect(path, isolation_level=None)
    try:
        return _exported(database)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is not the database of a study: {error}") from error
    finally:
        database.close()


def _exported(database: sqlite3.Connection) -> list[dict]:
    (plan,) = database.execute("SELECT plan FROM study").fetchone()
    head = {"format": answers.FORMAT, "plan": plan}
    raters = database.execute("SELECT rater, session, viewport FROM raters ORDER BY session, began").fetchall()
    given: dict[str, list[dict]] = {rater: [] for rater, _, _ in raters}
    rows = database.execute("SELECT rater, trial, choice, seconds, at FROM answers ORDER BY rowid")
    for rater, trial, choice, seconds, at in rows:
        given[rater].append({"trial": trial, "choice": json.loads(choice), "seconds": seconds, "at": at})
    return [
        head | {"session": session, "rater": rater, "simulated": False, "viewport": json.loads(viewport)}
        | {"answers": given[rater]}
        for rater, session, viewport in raters
        if given[rater]
    ]  # fmt: skip


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # for its owner only
    database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")  # every commit is on the disk before it is confirmed
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA secure_delete = ON")  # what a rater takes back is overwritten
    return database


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()  # who reads the file cannot answer in another's name


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
