r"""The SQLite file in which a study's server keeps answers, and reading it while the server writes.

Taught in notebook 09.
"""

import json
import os
import sqlite3
from pathlib import Path

from aotlib.study.forms import FORMAT

NAME = "answers.sqlite"
WAIT_S = 30  # for another program that holds the file
TABLES = """
CREATE TABLE IF NOT EXISTS study (plan TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS raters (rater TEXT PRIMARY KEY, token TEXT UNIQUE NOT NULL, session INTEGER NOT NULL,
  viewport TEXT, began TEXT NOT NULL, seen TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (rater TEXT NOT NULL REFERENCES raters ON DELETE CASCADE, trial TEXT NOT NULL,
  choice TEXT NOT NULL, seconds REAL NOT NULL, at TEXT NOT NULL, PRIMARY KEY (rater, trial));
"""


def opened(path: Path) -> sqlite3.Connection:
    r"""The database at `path`, made when it is not there: for its owner only, and each commit on the disk.

    Taught in notebook 09.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # for its owner only
    database = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")  # every commit is on the disk before it is confirmed
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA secure_delete = ON")  # what a rater takes back is overwritten
    database.executescript(TABLES)
    return database


def export(path: str | Path) -> list[dict]:
    r"""The answers in a server's database, in the common format, each with `path` as its `source`.

    They are those of one moment; the database may be read while the server runs, and is not written to.

    Raises:
        ValueError: when there is no such file, or it is not the database of a study.

    Taught in notebook 09.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} does not exist; `aotlib study serve` makes it")
    address = f"{Path(path).resolve().as_uri()}?mode=ro"
    database = sqlite3.connect(address, uri=True, timeout=WAIT_S, isolation_level=None)
    try:
        return [one | {"source": str(path)} for one in exported(database)]
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is not the database of a study, or cannot be read: {error}") from error
    finally:
        database.close()


def exported(database: sqlite3.Connection) -> list[dict]:
    r"""The answers in the common format, one entry a rater who has given any, by session: those of one moment.

    Taught in notebook 09.
    """
    database.execute("BEGIN")  # a rater who comes between two questions would be in one of them only
    try:
        return _read(database)
    finally:
        database.execute("ROLLBACK")


def _read(database: sqlite3.Connection) -> list[dict]:
    (plan,) = database.execute("SELECT plan FROM study").fetchone()
    head = {"format": FORMAT, "plan": plan}
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
