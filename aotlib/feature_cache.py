r"""Features of pictures, each picture computed once: they are kept in one SQLite file, from one command to the next.

A picture is known by its pixels, so a file that was renamed is found and one that was changed is not; a network by its
tensors (`aotlib.inception.network_id`). What is kept is what was computed: numbers of a GPU stay those of a GPU, and
differ from a processor's in the sixth digit or so.

Taught in notebook 06.
"""

import hashlib
import os
import sqlite3
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from aotlib.inception import BLOCKS, inception_features, network_id

MARK = 0x414F5446  # SQLite's application_id: by it a file is known as a cache of features
WAIT_S = 60.0  # for another process that is writing, which takes milliseconds
TABLE = """CREATE TABLE features (network TEXT, picture BLOB, numbers BLOB, crc INTEGER,
PRIMARY KEY (network, picture)) WITHOUT ROWID"""
Answer = TypeVar("Answer")


def picture_id(picture_u8: Tensor) -> bytes:
    r"""SHA-256 of the pixels and the shape of a picture (3, H, W), uint8: what the network sees of it."""
    total = hashlib.sha256(f"{picture_u8.dtype} {tuple(picture_u8.shape)}\0".encode())
    total.update(picture_u8.cpu().contiguous().numpy())
    return total.digest()


class FeatureCache:
    r"""The file at `path` as a store of features; several processes can use it at once.

    A cache that is found damaged is set aside, as ``<name>.damaged``, with a warning, and begun anew.

    Raises:
        ValueError: when `path` is another kind of file, which is left as it is.
        OSError: when the file cannot be opened or written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, FeatureCache(Path(folder, "features.sqlite")) as cache:
    ...     cache.put("network", b"picture", np.array([0.5, 2.0]))
    ...     cache.get("network", b"picture"), cache.get("network", b"other")
    (array([0.5, 2. ], dtype=float32), None)

    Taught in notebook 06.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def get(self, network: str, picture: bytes) -> np.ndarray | None:
        r"""The features of a picture, (D,) float32, or None when it has none here."""
        return self._try(lambda: self._get(network, picture))

    def put(self, network: str, picture: bytes, features: np.ndarray) -> None:
        r"""Keep the features (D,) of a picture, in float32."""
        self.put_all(network, [(picture, features)])

    def put_all(self, network: str, found: Iterable[tuple[bytes, np.ndarray]]) -> None:
        r"""Keep the features of pictures, all or, when the process is stopped meanwhile, none."""
        packed = [(picture, np.asarray(features, "<f4").tobytes()) for picture, features in found]
        rows = [(network, picture, numbers, zlib.crc32(numbers)) for picture, numbers in packed]
        self._try(lambda: self._put(rows))

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._try(lambda: self._file.execute("SELECT count(*) FROM features").fetchone()[0])

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _get(self, network: str, picture: bytes) -> np.ndarray | None:
        question = "SELECT numbers, crc FROM features WHERE network = ? AND picture = ?"
        row = self._file.execute(question, (network, picture)).fetchone()
        if row is None:
            return None
        if zlib.crc32(row[0]) != row[1]:
            raise sqlite3.DatabaseError("the numbers of a picture are not those that were written")
        return np.frombuffer(row[0], "<f4").astype(np.float32)

    def _put(self, rows: list[tuple]) -> None:
        with self._file:  # one transaction
            self._file.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)", rows)

    def _try(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except sqlite3.OperationalError as error:  # locked, read-only, disk full: nothing is wrong with what it holds
            raise OSError(f"the cache of features {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)
            return ask()

    def _open(self) -> None:
        try:
            self._file = sqlite3.connect(self.path, timeout=WAIT_S)
            self._inode = os.stat(self.path).st_ino
            self._prepare()
        except sqlite3.OperationalError as error:
            raise OSError(f"the cache of features {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            self.close()
            if not _marked(self.path):
                raise ValueError(f"{self.path} is no cache of features ({error}); give another name") from None
            self._begin_anew(error)

    def _prepare(self) -> None:
        with self._file:
            self._file.execute("BEGIN IMMEDIATE")  # of two processes that begin one file, the second finds it begun
            (mark,) = self._file.execute("PRAGMA application_id").fetchone()
            (n_tables,) = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not mark and not n_tables:
                self._file.execute(f"PRAGMA application_id = {MARK}")
                self._file.execute(TABLE)
            elif mark != MARK:
                raise sqlite3.DatabaseError("an SQLite file of another program")
            pages, size = (self._file.execute(f"PRAGMA page_{what}").fetchone()[0] for what in ("count", "size"))
            if mark and os.stat(self.path).st_size < pages * size:
                raise sqlite3.DatabaseError("its end is missing")

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Unless another process has done so already, which shows in another file under the name."""
        self.close()
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            if self.path.exists() and os.stat(self.path).st_ino == self._inode:
                aside = self.path.with_name(f"{self.path.name}.damaged")
                os.replace(self.path, aside)
                warnings.warn(f"{self.path} is damaged ({error}): set aside as {aside.name}, begun anew", stacklevel=4)
            self._open()


def _marked(path: Path) -> bool:
    """Whether the first bytes of a file are those of a cache: SQLite's name, and `MARK` at byte 68."""
    with path.open("rb") as file:
        head = file.read(72)
    return head.startswith(b"SQLite format 3\0") and head[68:] == MARK.to_bytes(4, "big")


class Features:
    r"""Inception features of pictures that come one by one, of which no more than a batch is kept.

    Attributes:
        n_computed: pictures that the network has seen; the others were in the cache.

    Taught in notebook 06.
    """

    def __init__(self, network: nn.Module, cache: FeatureCache | None = None, batch: int = 16) -> None:
        self.network, self.cache, self.batch, self.n_computed = network, cache, batch, 0
        self._id = network_id(network, _dims(network)) if cache is not None else ""
        self._found: list[np.ndarray | None] = []
        self._waiting: list[tuple[int, bytes, Tensor]] = []  # place, key, picture

    def add(self, picture_u8: Tensor) -> None:
        r"""Take a picture (3, H, W), uint8; sizes may differ."""
        key = picture_id(picture_u8) if self.cache is not None else b""
        self._found.append(self.cache.get(self._id, key) if self.cache is not None else None)
        if self._found[-1] is not None:
            return
        if self._waiting and self._waiting[0][2].shape != picture_u8.shape:
            self._compute()
        self._waiting.append((len(self._found) - 1, key, picture_u8))
        if len(self._waiting) == self.batch:
            self._compute()

    def all(self) -> np.ndarray:
        r"""(N, dims), float64, of all pictures so far, in the order in which they came."""
        self._compute()
        if not self._found:
            raise ValueError("there is no picture to compute features of")
        return np.stack(self._found).astype(np.float64)

    def _compute(self) -> None:
        if not self._waiting:
            return
        places, keys, pictures = zip(*self._waiting, strict=True)
        self._waiting = []
        computed = inception_features(self.network, torch.stack(pictures)).astype(np.float32)
        self.n_computed += len(computed)
        for place, features in zip(places, computed, strict=True):
            self._found[place] = features
        if self.cache is not None:
            self.cache.put_all(self._id, zip(keys, computed, strict=True))


def features_of(
    pictures_u8: Iterable[Tensor], network: nn.Module, cache: FeatureCache | None = None, batch: int = 16
) -> np.ndarray:
    r"""(N, dims), float64, of pictures (3, H, W), uint8: of those that `cache` lacks computed, and kept there.

    Taught in notebook 06.
    """
    features = Features(network, cache, batch)
    for picture_u8 in pictures_u8:
        features.add(picture_u8)
    return features.all()


def _dims(network: nn.Module) -> int:
    """The number of features that pytorch-fid's network gives, which its tensors alone do not say; 0 of another."""
    places = {place: dims for dims, place in BLOCKS.items()}
    return places.get((getattr(network, "output_blocks", None) or [None])[0], 0)
