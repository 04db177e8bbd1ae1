r"""Where a study's server keeps its answers: one SQLite file, in which an answer is on the disk once it is taken.

Taught in notebook 09.
"""

import base64
import hashlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aotlib.study import answers, database, keys
from aotlib.study import plan as plans
from aotlib.study.forms import LONGEST_S

LATEST = "9999"  # a year after all times
TOLERANCE_S = 2.0  # by which the clocks of a browser and of this machine may differ in a session
WIPES, WIPE_S = 20, 0.05  # tries to empty the log, and seconds between them


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
        abandoned_s: a session without a further answer for so long goes to the next rater; its answers stay.
        unanswered_s: the same for a session without any answer.
        clock: gives the time.

    Raises:
        ValueError: for a database of another plan.

    Taught in notebook 09.
    """

    def __init__(
        self,
        path: Path,
        plan: dict,
        *,
        abandoned_s: float = 3600.0,
        unanswered_s: float = 300.0,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.path, self.plan, self.clock = path, plan, clock
        self.abandoned = timedelta(seconds=abandoned_s)
        self.unanswered = min(self.abandoned, timedelta(seconds=unanswered_s))
        self.trials = [{trial["trial"]: trial for trial in one["trials"]} for one in plan["sessions"]]
        self.lock = threading.Lock()
        self.database = database.opened(path)
        self.unwiped = True  # of what a server left that was killed
        with self._writing():
            found = self.database.execute("SELECT plan FROM study").fetchone()
            if found is None:
                self.database.execute("INSERT INTO study VALUES (?)", (plans.identity(plan),))
        if found is not None and found[0] != plans.identity(plan):
            raise ValueError(f"{path} holds answers to another plan: put plan.json back, or name another folder")
        rows = self.database.execute("SELECT token, rater, session FROM raters")
        self.places = {token: (rater, session) for token, rater, session in rows}  # so that strangers cost nothing

    @contextmanager
    def _writing(self) -> Iterator[list[Callable[[], object]]]:
        """All that is written inside is on the disk afterwards, and what the list got is called then; or none of it."""
        with self.lock:
            self.database.execute("BEGIN IMMEDIATE")
            afterwards: list[Callable[[], object]] = []
            try:
                yield afterwards
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise
            for act in afterwards:
                act()
            if self.unwiped:
                self._wipe()

    def _wipe(self) -> None:
        """The log holds nothing of what was deleted, unless somebody is reading it: then `unwiped` stays true."""
        self.database.execute("PRAGMA busy_timeout = 0")
        busy, _, _ = self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.database.execute(f"PRAGMA busy_timeout = {1000 * database.WAIT_S}")
        self.unwiped = bool(busy)

    def close(self) -> None:
        with self.lock:
            self.database.close()

    def begin(self, viewport: Sequence[int] | None = None, nonce: str | None = None) -> tuple[str, str, int]:
        r"""A new rater: their secret token, their random id, and the session they are given.

        Args:
            nonce: random, of the rater's browser: who asks again with it, as the reply was lost, gets the same.

        Raises:
            Refused: when every session is taken by a rater who has finished or may still go on.
        """
        asked = keys.digest(self.plan["secret"], "token", nonce or secrets.token_hex(32))
        token, rater, at = base64.urlsafe_b64encode(asked).decode().rstrip("="), secrets.token_hex(16), self.clock()
        with self._writing() as afterwards:
            if _digest(token) not in self.places:
                session = self._next_session(at)
                row = (rater, _digest(token), session, json.dumps(viewport), _text(at), _text(at))
                self.database.execute("INSERT INTO raters VALUES (?, ?, ?, ?, ?, ?)", row)
                afterwards.append(lambda: self.places.update({_digest(token): (rater, session)}))
        return token, *self._rater(token)

    def _next_session(self, at: datetime) -> int:
        """The first session that nobody has; else the one that was abandoned longest ago."""
        time_of: dict[int, str] = dict.fromkeys(range(len(self.trials)), "")  # last seen; "" is before all times
        for row in self._raters():
            kept = self.state(row, at) != "abandoned"
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

    def state(self, row: dict, at: datetime) -> str:
        r"""How far a rater of `raters()` is: "complete", "under way" or "abandoned"."""
        if row["answered"] >= len(self.trials[row["session"]]):
            return "complete"
        patience = self.abandoned if row["answered"] else self.unanswered
        return "under way" if at - datetime.fromisoformat(row["seen"]) < patience else "abandoned"

    def raters(self) -> list[dict]:
        r"""Who takes part, by session: rater, session, viewport, began, seen, answered, mean_s and state."""
        with self.lock:
            rows = self._raters()
        return [row | {"viewport": json.loads(row["viewport"]), "state": self.state(row, self.clock())} for row in rows]

    def resume(self, token: str) -> tuple[int, list[str]]:
        r"""The session of a rater and the trials that are answered; who has answered any keeps the place for longer.

        Raises:
            Refused: for a token that nobody was given.
        """
        rater, session = self._rater(token)
        with self._writing():
            rows = self.database.execute("SELECT trial FROM answers WHERE rater = ? ORDER BY rowid", (rater,))
            answered = [trial for (trial,) in rows]
            if answered:
                self.database.execute("UPDATE raters SET seen = ? WHERE rater = ?", (_text(self.clock()), rater))
        return session, answered

    def _rater(self, token: str) -> tuple[str, int]:
        """Looked up in memory: a wrong token touches neither the lock nor the disk."""
        if (place := self.places.get(_digest(token))) is None:
            raise Refused(401, "this study knows no such token")
        return place

    def answer(self, token: str, trial: str, choice: object, seconds: float) -> None:
        r"""The answer is on the disk when this returns.

        Raises:
            Refused: when the token is nobody's (401), the trial is not of the rater's session (404), it has been
                answered (409: the first answer stays), it has no such choice or was given too early (422), or all
                answers together claim more time than has passed (429: in a while it may be true).
        """
        rater, session = self._rater(token)
        self._check(session, trial, choice, seconds)
        with self._writing():
            at, row = self.clock(), (rater, trial)
            if self.database.execute("SELECT 1 FROM answers WHERE rater = ? AND trial = ?", row).fetchone():
                raise Refused(409, "this trial has been answered")
            self._check_time(rater, seconds, at)
            try:
                row += (json.dumps(choice), seconds, _text(at))
                self.database.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:  # the rater has left in this moment
                raise Refused(401, "this study knows no such token") from None
            self.database.execute("UPDATE raters SET seen = ? WHERE rater = ?", (_text(at), rater))

    def _check_time(self, rater: str, seconds: float, at: datetime) -> None:
        """Nobody has looked for longer than they have been here; what comes late, after a lost connection, passes."""
        told = "SELECT began, total(seconds) FROM raters LEFT JOIN answers USING (rater) WHERE rater = ?"
        began, claimed = self.database.execute(told, (rater,)).fetchone()
        if began and claimed + seconds > (at - datetime.fromisoformat(began)).total_seconds() + TOLERANCE_S:
            raise Refused(429, "your answers took longer than the time since you began")

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
        rater, _ = self._rater(token)
        with self._writing() as afterwards:
            self.database.execute("DELETE FROM raters WHERE rater = ?", (rater,))
            afterwards.append(lambda: self.places.pop(_digest(token), None))
            self.unwiped = True  # the log still holds them
        for _ in range(WIPES):
            with self.lock:
                if self.unwiped:
                    self._wipe()
            if not self.unwiped:
                break  # else the next answer or start tries again
            time.sleep(WIPE_S)

    def export(self) -> list[dict]:
        r"""The answers in the common format, one entry a rater who has given any, by session."""
        with self.lock:
            return database.exported(self.database)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()  # who reads the file cannot answer in another's name


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
