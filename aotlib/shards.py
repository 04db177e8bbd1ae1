r"""Many image files in a few large ones: tar shards in webdataset's format, read picture by picture, in any order.

    <out>/<split>/shard-000000.tar  shard-000000.json  shard-000001.tar ...  index.json

A network file system opens some hundred files a second, and a data set of a million photographs waits for that, not
for the bytes. webdataset reads its shards from the first picture to the last; here a sample is a function of (seed,
epoch, index), so that a run goes on exactly after a stop, and for that a picture must be found by its number: the
JSON file beside each tar says where its bytes lie. webdataset and `tar` read the same shards without it.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from tqdm import tqdm

from aotlib.files import FIRST_SHARD, INDEX, replacing, size_of
from aotlib.images import TarMember, UnreadableImage, _shard, image_size

COLUMNS = ("offset", "n_bytes", "height", "width")


class ShardFiles(Sequence):
    r"""The pictures of a folder of shards, as a list of `TarMember`, without opening any of them.

    Kept as arrays: a fraction of the memory, and memory that reading processes go on sharing:
    a Python object is written to whenever it is looked at, and then copied for each process.

    Args:
        folder: with the index.json that `write_shards` leaves when it is done.

    Raises:
        ValueError: when the folder is no finished conversion, or a shard has another size than its index says.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        if not (folder / INDEX).is_file():
            raise ValueError(f"{folder} has no {INDEX}: its conversion was not finished; run the same `aotlib shards`")
        _shard.cache_clear()  # files that are open from an earlier look may have been replaced
        listed = json.loads((folder / INDEX).read_text(encoding="utf-8"))["shardlist"]
        self.shards = [folder / entry["url"] for entry in listed]
        parts = [_read_part(shard) for shard in self.shards]
        for shard, part, entry in zip(self.shards, parts, listed, strict=True):
            if part is None:
                raise ValueError(
                    f"{shard.with_suffix('.json')} is missing; copy it again, or run the same `aotlib shards`"
                )
            found = shard.stat().st_size if shard.is_file() else 0
            if not found == entry["filesize"] == part["filesize"]:
                told = f"{shard} has {found} bytes; {INDEX} says {entry['filesize']}"
                raise ValueError(f"{told}. Damaged, or copied in part? Copy it again, or run the same `aotlib shards`")
        counts = [len(part["member"]) for part in parts]
        self.shard = np.repeat(np.arange(len(parts)), counts)
        self.member = np.array([name.encode() for part in parts for name in part["member"]])
        self.columns = {key: np.array([n for part in parts for n in part[key]], np.int64) for key in COLUMNS}

    @property
    def sides(self) -> np.ndarray:
        r"""The shorter side of each picture, (n,), pixels."""
        return np.minimum(self.columns["height"], self.columns["width"])

    def take(self, which: slice | np.ndarray | Sequence[int]) -> "ShardFiles":
        r"""Only these pictures, in this order."""
        part = object.__new__(ShardFiles)
        part.shards, part.shard, part.member = self.shards, self.shard[which], self.member[which]
        part.columns = {key: column[which] for key, column in self.columns.items()}
        return part

    def __len__(self) -> int:
        return len(self.shard)

    @overload
    def __getitem__(self, index: int) -> TarMember: ...
    @overload
    def __getitem__(self, index: slice) -> "ShardFiles": ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.take(index)
        where = (int(self.columns[key][index]) for key in COLUMNS)
        return TarMember(self.shards[self.shard[index]], self.member[index].decode(), *where)


def has_shards(folder: str | Path) -> bool:
    r"""Whether `folder` holds shards, finished or not."""
    return Path(folder, FIRST_SHARD).is_file() or Path(folder, FIRST_SHARD).with_suffix(".json").is_file()


def write_shards(files: Sequence[Path], out_dir: str | Path, *, split: str, max_mb: float = 1000) -> dict:
    r"""``out_dir/split`` holds the files, byte for byte and in their order, in uncompressed tar shards with an index.

    Call it again after a stop: a shard that is complete is not written again. A shard that was made from other files
    is never replaced. Headers are read, pictures not decoded: a file without a readable header is left out and
    listed; one that is damaged further on is set aside when it is read, as from a plain folder.

    Args:
        files: image files; their names below the folder that they share become the names of the samples.
        split: name of the folder, such as "train".
        max_mb: size at which a shard is full, MB; a larger file gets a shard of its own.

    Returns:
        dict(folder, shards, written, samples, bytes, refused): `refused` has (name, reason) of what was left out.
    """
    files = [Path(file).absolute() for file in files]
    if not files or max_mb <= 0:
        raise ValueError(f"write_shards takes at least one file and max_mb > 0; got {len(files)} files, {max_mb} MB")
    folder, root = Path(out_dir, split), os.path.commonpath([file.parent for file in files])
    plan = _plan([(file, size_of(file)) for file in files], max_mb * 10**6)
    _refuse_others(folder, len(plan))
    parts, written, first = [], 0, 0
    for number, group in enumerate(tqdm(plan, desc="shards", unit="shard", disable=None)):
        tar = folder / f"shard-{number:06d}.tar"
        names = [(file, Path(os.path.relpath(file, root)).as_posix()) for file, _ in group]
        source = _digest([(name, size) for (_, name), (_, size) in zip(names, group, strict=True)])
        part = _read_part(tar)
        if part and part["source"] != source:
            raise ValueError(f"{tar} was made from other files; take another folder, or delete {folder} first")
        if not (part and tar.is_file() and tar.stat().st_size == part["filesize"]):
            part = {"source": source} | _write_tar(tar, names, first)
            _write_json(tar.with_suffix(".json"), part)
            written += 1
        first += len(group)
        keep = {key: part[key] for key in ("filesize", "sha256", "refused")}
        parts.append({"url": tar.name, "nsamples": len(part["member"])} | keep)
    return _finish(folder, parts, written)


def _finish(folder: Path, parts: list[dict], written: int) -> dict:
    refused = [tuple(row) for part in parts for row in part.pop("refused")]
    n_samples = sum(part["nsamples"] for part in parts)
    if n_samples == 0:
        raise ValueError(f"none of {len(refused)} files is an image, first: {refused[0][0]}: {refused[0][1]}")
    content = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "samples": n_samples, "shardlist": parts}
    _write_json(folder / INDEX, content)
    n_bytes = sum(part["filesize"] for part in parts)
    counts = dict(shards=len(parts), written=written, samples=n_samples, bytes=n_bytes)
    return dict(folder=folder, refused=refused) | counts


def _plan(files: list[tuple[Path, int]], max_bytes: float) -> list[list[tuple[Path, int]]]:
    """Files with their sizes, in order, in groups that fill a shard each."""
    groups, filled = [[]], 0
    for file, size in files:
        taken = 512 + -(-size // 512) * 512  # a header, and the content filled up to whole blocks
        if groups[-1] and filled + taken > max_bytes:
            groups.append([])
            filled = 0
        groups[-1].append((file, size))
        filled += taken
    return groups


def _refuse_others(folder: Path, n_shards: int) -> None:
    found = [path for path in folder.glob("shard-*.tar") if int(path.stem.split("-")[1]) >= n_shards]
    if found:
        told = f"{folder} holds {sorted(found)[-1].name}, and these files fill {n_shards} shards only"
        raise ValueError(f"{told}: it is of another conversion; take another folder, or delete this one first")


def _write_tar(tar: Path, names: list[tuple[Path, str]], first: int) -> dict:
    """Write one shard; keys are the files' numbers: unique, and without the dots at which webdataset cuts a name."""
    part = {"member": [], "refused": []} | {key: [] for key in COLUMNS}
    with replacing(tar) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as file:
            for number, (path, name) in enumerate(names, first):
                try:
                    content = path.read_bytes()
                    height, width = image_size(path, content)
                except (UnreadableImage, OSError) as error:
                    part["refused"].append((name, getattr(error, "reason", None) or str(error.strerror)))
                    continue
                info = tarfile.TarInfo(f"{number:09d}{path.suffix.lower()}")  # no time, no owner: the same bytes again
                info.size = len(content)
                offset = file.offset + tarfile.BLOCKSIZE
                file.addfile(info, io.BytesIO(content))
                for key, value in zip(("member", *COLUMNS), (name, offset, info.size, height, width), strict=True):
                    part[key].append(value)
        with temporary.open("rb") as file:
            part["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        part["filesize"] = temporary.stat().st_size
    return part


def _digest(rows: list[tuple[str, int]]) -> str:
    return hashlib.sha256("".join(f"{name}\0{size}\n" for name, size in rows).encode()).hexdigest()


def _read_part(tar: Path) -> dict | None:
    path = tar.with_suffix(".json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _write_json(path: Path, content: dict) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
