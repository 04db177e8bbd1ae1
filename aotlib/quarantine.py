r"""The list of files that cannot be used: a CSV file (path, reason) that several processes add to."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from aotlib.files import replacing
from aotlib.images import TarMember


def begin(path: Path, known: list[tuple[Path | TarMember, str]], files: Iterable[Path | TarMember]) -> None:
    r"""The list at `path` holds what is `known`, and of an earlier list what it says of `files`.

    The latter was found damaged while it was decoded, which is not known at the start.
    """
    earlier = _rows_about(path, known, files)
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(_line(*row) for row in [("path", "reason"), *known, *earlier]))


def add(path: Path, file: Path | TarMember, reason: str) -> None:
    r"""Append one row, in one write of append mode: rows of several processes do not mix."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, _line(file, reason))
    os.close(handle)


def listed(path: Path) -> list[str]:
    r"""What is set aside and why, a line a file, however often it was met."""
    return [f"{name}: {reason}" for name, reason in dict(_rows(path)).items()]


def _rows(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in list(csv.reader(file))[1:]]


def _rows_about(path: Path, known: list[tuple], files: Iterable[Path | TarMember]) -> list[tuple[str, str]]:
    rows = _rows(path)
    listed = {row[0] for row in rows} - {str(name) for name, _ in known}
    here = {name for file in files if (name := str(file)) in listed} if listed else set()
    return [row for row in dict.fromkeys(rows) if row[0] in here]


def _line(*cells: str | Path | TarMember) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([" ".join(str(cell).split("\n")) for cell in cells])
    return line.getvalue().encode()
