r"""Which photograph gets which mask, written down: the same pairs for every method, program and machine.

A manifest is a table with a row a (bucket, photograph): the names of picture and mask, their SHA-256, and the share of
the hole at the size at which it is judged. Whoever has such files finds out whether they are the same ones.

Taught in notebook 06.
"""

import hashlib
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aotlib.files import replacing
from aotlib.images import TarMember, centred, common_folder, name_of, read_image
from aotlib.masks import BUCKET_NAMES, BUCKETS, MaskFile, bucket_of, hole_ratio, irregular_mask, load_mask
from aotlib.records import write_json
from aotlib.selection import warn_of_small
from aotlib.shards import ShardFiles, has_shards

COLUMNS = ("bucket", "image", "image_sha256", "mask", "mask_sha256", "ratio")
HIDDEN = 127  # what stands in a hole: no method can see what it is to guess
DRAWN = re.compile(r"drawn (\d+)/(\d+)")  # the name of a mask made from a seed and an index, not read from a file
Bucket = tuple[float, float]
Chosen = tuple[str, str, float]  # of a mask: name, SHA-256, share of hole


class Case(NamedTuple):
    r"""One photograph with one hole: picture (3, S, S) uint8, mask (1, S, S) with 1 = hole."""

    name: str
    bucket: str
    picture_u8: Tensor
    mask: Tensor

    def hidden(self) -> Tensor:
        r"""The picture with grey in its hole, which is all that a method sees: (3, S, S) uint8."""
        return torch.where(self.mask > 0.5, HIDDEN, self.picture_u8)

    def filled(self, fill: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        r"""What `fill` makes of the picture, without having seen what is under the hole: (3, S, S) uint8."""
        return fill(self.hidden(), self.mask)


def make(
    files: Sequence[Path | TarMember],
    *,
    size: int,
    buckets: Sequence[Bucket] = BUCKETS,
    masks: Sequence[MaskFile] = (),
    seed: int = 0,
    files_root: str | Path | None = None,
    masks_root: str | Path | None = None,
) -> pd.DataFrame:
    r"""Every photograph has one mask of each bucket; the seed and its place in the list decide which.

    The columns are `COLUMNS`. A SHA-256 is that of the file, and of a drawn mask, ``drawn SEED/INDEX``, that of its
    pixels at `size`: one byte each, 255 = hole, row by row. No picture is decoded; each mask is read once a bucket.
    A warning tells of photographs smaller than `size`, which `cases` has to enlarge.

    Args:
        size: side of the square in which the photographs are judged, pixels; `ratio` is measured there.
        masks: as from `aotlib.masks.load_masks`: those whose hole at `size` lies in the bucket are shuffled, and each
            comes once before one comes again. Without them masks are drawn by `aotlib.masks.irregular_mask`.
        files_root, masks_root: names are relative to these folders; by default to the folder that all files share.

    Raises:
        ValueError: for a bucket that is none of `BUCKETS`, and when no mask file falls into a bucket.

    Taught in notebook 06.
    """
    root = common_folder(files) if files_root is None else files_root
    warn_of_small(files, size)
    images = [(name_of(file, root), file_sha256(file)) for file in files]
    rows = []
    for bucket in buckets:
        name, masks_of = bucket_name(bucket), chosen_masks(masks, size=size, bucket=bucket, seed=seed, root=masks_root)
        rows += [(name, *image, *chosen) for image, chosen in zip(images, masks_of, strict=False)]  # masks never end
    return pd.DataFrame(rows, columns=list(COLUMNS))


def bucket_name(bucket: Bucket) -> str:
    r"""The name of one of `BUCKETS`; anything else is refused, because its masks would depend on nothing written down.

    >>> bucket_name((0.1, 0.2))
    '10-20 %'
    """
    if tuple(bucket) not in BUCKETS:
        raise ValueError(f"{bucket} is none of the buckets {', '.join(map(str, BUCKETS))}")
    return BUCKET_NAMES[BUCKETS.index(tuple(bucket))]


def chosen_masks(
    masks: Sequence[MaskFile], *, size: int, bucket: Bucket, seed: int, root: str | Path | None = None
) -> Iterator[Chosen]:
    r"""The masks of `bucket` for the first photograph, the second, ..., without end."""
    place = BUCKETS.index(tuple(bucket))
    if not masks:
        for index in itertools.count():
            mask = irregular_mask(size, bucket, seed=seed + place, index=index)
            yield f"drawn {seed + place}/{index}", pixels_sha256(mask), hole_ratio(mask[None]).item()
    root = common_folder([mask.path for mask in masks]) if root is None else root
    near = [mask for mask in masks if bucket[0] - 0.02 < mask.ratio <= bucket[1] + 0.02]  # resizing changes a share
    rng, known = np.random.default_rng([seed, place]), {}
    while True:
        found = False
        for number in rng.permutation(len(near)):
            if number not in known:
                known[number] = _measured(near[number], size, root)
            if bucket_of(known[number][2]) == BUCKET_NAMES[place]:
                found = True
                yield known[number]
        if not found:
            bad = f"none of the {len(masks)} masks has a hole of {BUCKET_NAMES[place]} at {size} px"
            raise ValueError(f"{bad}; add such masks")


def _measured(mask: MaskFile, size: int, root: str | Path) -> Chosen:
    return name_of(mask.path, root), file_sha256(mask.path), hole_ratio(mask.load(size)[None]).item()


def file_sha256(file: str | Path | TarMember) -> str:
    r"""As ``sha256sum`` prints it; of a picture in a shard, that of the file that was put into it."""
    content = file.read() if isinstance(file, TarMember) else Path(file).read_bytes()
    return hashlib.sha256(content).hexdigest()


def pixels_sha256(mask: Tensor) -> str:
    r"""Of a mask (1, H, W): one byte a pixel, 0 or 255, row by row.

    >>> pixels_sha256(torch.tensor([[[0.0, 1.0]]])) == hashlib.sha256(bytes([0, 255])).hexdigest()
    True
    """
    return hashlib.sha256((mask * 255).to(torch.uint8).numpy().tobytes()).hexdigest()


def write(table: pd.DataFrame, path: str | Path, *, size: int, seed: int) -> Path:
    r"""`path` (a CSV file) holds the manifest, and the JSON file beside it size, seed, SHA-256 of the CSV and rows."""
    if (path := Path(path)).suffix != ".csv":
        raise ValueError(f"a manifest is a .csv file with a .json beside it, not {path.name}")
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"a manifest has the columns {', '.join(COLUMNS)}, not {', '.join(map(str, table.columns))}")
    content = table.to_csv(index=False, lineterminator="\n").encode()  # the same bytes on every system
    about_it = {"size": size, "seed": seed, "sha256": hashlib.sha256(content).hexdigest(), "n": len(table)}
    write_json(path.with_suffix(".json"), about_it)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def about(path: str | Path) -> dict:
    r"""What the JSON file beside the manifest says: size, seed, sha256 and n (rows)."""
    beside = Path(path).with_suffix(".json")
    if not beside.is_file():
        raise ValueError(f"{beside} is missing: it says the size and the SHA-256 of {Path(path).name}; copy it, too")
    found = json.loads(beside.read_text(encoding="utf-8"))
    if missing := {"size", "seed", "sha256", "n"} - set(found):
        raise ValueError(f"{beside} does not say {', '.join(sorted(missing))}: is it the file beside a manifest?")
    return found


def read(path: str | Path) -> pd.DataFrame:
    r"""The manifest at `path`, every number and name as it was written.

    Raises:
        ValueError: when the CSV file is not the one that the JSON file beside it belongs to.

    Taught in notebook 06.
    """
    expected, content = about(path)["sha256"], Path(path).read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != expected:
        told = f"{path} was changed after it was made: its SHA-256 is {found}, and {expected} stands beside it"
        raise ValueError(f"{told}. Numbers measured with it could not be compared; get the original, or make a new one")
    table = pd.read_csv(io.BytesIO(content), dtype=str)  # else a SHA-256 of digits is a number, and a share is rounded
    return table.astype({"ratio": float})


def cases(
    table: pd.DataFrame,
    files_root: str | Path,
    masks_root: str | Path | None = None,
    *,
    size: int,
    bucket: Bucket,
    hole: str = "white",
) -> Iterator[Case]:
    r"""The photographs of `bucket`, their middles at `size`, with their masks, one by one in the manifest's order.

    Args:
        files_root: the folder that the pictures' names are relative to, or one of shards.
        masks_root, hole: the same for mask files, and the colour that marks their holes; drawn masks need neither.

    Raises:
        ValueError: when a file is missing or not the manifest's, and when a mask's hole at this size has another share.

    Taught in notebook 06.
    """
    name, find = bucket_name(bucket), _finder(files_root)
    rows = table[table.bucket == name]
    if rows.empty:
        raise ValueError(f"the manifest has no row of {name}; it has {', '.join(table.bucket.unique()) or 'none'}")
    for row in rows.itertuples():
        file = find(row.image)
        _check(file, file_sha256(file), row.image_sha256)
        mask = _mask(row, masks_root, size, bucket, hole)
        if (ratio := hole_ratio(mask[None]).item()) != row.ratio:
            told = f"the hole of {row.mask} is {ratio:.4%} of the picture at {size} px; the manifest says"
            raise ValueError(f"{told} {row.ratio:.4%}. Was it made for another size, or for holes of the other colour?")
        yield Case(row.image, name, centred(torch.from_numpy(read_image(file)).permute(2, 0, 1), size), mask)


def _finder(root: str | Path) -> Callable[[str], Path | TarMember]:
    if not has_shards(root):
        return lambda name: _existing(Path(root, name))
    files = ShardFiles(root)
    places = {name.decode(): place for place, name in enumerate(files.member)}
    return lambda name: files[places[name]] if name in places else _existing(Path(root, name))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"the manifest names {path}, which does not exist; names are relative to the folder given")
    return path


def _mask(row, masks_root: str | Path | None, size: int, bucket: Bucket, hole: str) -> Tensor:
    if drawn := DRAWN.fullmatch(row.mask):
        mask = irregular_mask(size, bucket, seed=int(drawn[1]), index=int(drawn[2]))
        _check(f"{row.mask} at {size} px", pixels_sha256(mask), row.mask_sha256)
        return mask
    if masks_root is None:
        raise ValueError(f"the manifest names the mask file {row.mask}; give masks_root, the folder of the masks")
    path = _existing(Path(masks_root, row.mask))
    _check(path, file_sha256(path), row.mask_sha256)
    return load_mask(path, size, hole=hole, max_ratio=1)


def _check(what: object, found: str, expected: str) -> None:
    if found != expected:
        told = f"{what} is not what the manifest was made with: SHA-256 {found[:12]}..., not {expected[:12]}..."
        raise ValueError(f"{told} Get the original again, or make a new manifest and measure every method with that")
