r"""Writing a file whole or not at all, and alone. Nothing here imports what takes long to import.

Taught in notebook 05.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

INDEX, FIRST_SHARD = "index.json", "shard-000000.tar"  # the names by which a folder of shards is known


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    r"""Give a temporary name beside `path`; on success it takes the place of `path` in one step, on error it goes.

    A reader finds the old file or the whole new one, never half of one: what was written is on the disk before it gets
    the name. A process that is killed meanwhile leaves a hidden file `.<name>...` behind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a.txt")) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     Path(folder, "a.txt").read_text()
    'whole'

    Taught in notebook 05.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def only_writer(folder: Path, name: str = ".lock") -> Iterator[None]:
    r"""Nobody else writes to `folder` meanwhile; the system frees it however this process ends, kill -9 included."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / name, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(f"another process is writing to {folder}; wait for its end, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def size_of(path: str | Path) -> int:
    r"""Bytes of a file; 0 where there is none: what is not there is refused when it is to be read."""
    return os.path.getsize(path) if os.path.isfile(path) else 0
