r"""The command `aotlib cases`. Nothing here imports torch before it runs."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import tyro

from aotlib import profiles

if TYPE_CHECKING:
    import pandas as pd

    from aotlib.images import TarMember

SIZE = 512  # pixels, when not given


class Plan(NamedTuple):
    """A manifest, and where its files are."""

    table: "pd.DataFrame"
    size: int
    seed: int
    place: Path | str
    masks: Path | None
    hole: str


def cases(
    images: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|FOLDER")],
    out: Path,
    root: Path | None = None,
    split: str | None = None,
    manifest: Path | None = None,
    size: int | None = None,
    masks: Path | None = None,
    hole: Literal["white", "black"] = "white",
    max_ratio: float = 0.6,
    n: int | None = None,
    leave_out_small: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    seed: int | None = None,
) -> None:
    """Write photographs with holes for any program to fill, one hole of each bucket, and the list of them.

    OUT/truth, OUT/masks (white = hole) and OUT/input (the hole grey) hold pictures BUCKET/NAME.png; results go to a
    folder with the same names. OUT/manifest.csv says what was made of which file.

    Args:
        images: samples, places2, celebahq, openlogo, or any folder of images.
        out: an empty folder, or one that the same command has begun.
        root: where the named data set is; data/NAME when not given.
        split: train, val, test or all; test of a named data set and all of a folder when not given.
        manifest: a manifest.csv, such as notebook 06 writes: exactly these photographs with exactly these holes.
        size: the middle of each photograph is brought to this side, pixels; 512, or the manifest's, when not given.
        masks: a folder of mask files; masks are drawn when not given.
        hole: the colour of the hole in mask files.
        max_ratio: a mask file with more hole than this is refused; most likely it is black where it should be white.
        n: so many photographs, spread evenly over the sorted names.
        leave_out_small: take photographs of SIZE or larger only; else a smaller one is refused, because enlarged it
            would be blurred.
        seed: decides which photograph gets which mask; 0 when not given.
    """
    from aotlib.sources import DATASETS, dataset_files

    named = images in DATASETS
    root = root or (profiles.find_root() / "data" / images if named else None)
    files = dataset_files(images, root, split or ("test" if named else "all"))
    if manifest is None:
        size = SIZE if size is None else size
        chosen = _chosen(files, n, size, leave_out_small)
        plan = _new(files, chosen, size, seed or 0, masks, {"hole": hole, "max_ratio": max_ratio})
    else:
        _refuse({"size": size, "seed": seed, "n": n, "leave-out-small": leave_out_small or None})
        plan = _given(manifest, files, masks, hole)
    _begin(plan, out)
    _write_pictures(plan, out)
    count, holes = plan.table.image.nunique(), plan.table.bucket.nunique()
    print(f"{out}: {count} photographs with {holes} holes each, {plan.size} px, and manifest.csv")
    print(f"fill the holes of {out / 'input'}, write the results to {out / 'result'} under the same names, then")
    folders = [word for name in ("truth", "result", "masks") for word in (f"--{name}", str(out / name))]
    print(shlex.join(["aotlib", "evaluate", *folders]))


def _chosen(
    files: "Sequence[Path | TarMember]", n: int | None, size: int, leave_out_small: bool
) -> "Sequence[Path | TarMember]":
    from aotlib.selection import spread_evenly, told, too_small

    if leave_out_small and (small := too_small(files, size)):
        print(f"{told(small, len(files), size)}; they are left out", file=sys.stderr)
        out = {str(file) for file, _ in small}
        if not (large := [file for file in files if str(file) not in out]):
            raise ValueError(f"no photograph is left; give --size {max(side for _, side in small)} or less")
        files = large
    chosen = spread_evenly(files, n, name="--n")
    if not leave_out_small and (small := too_small(chosen, size)):
        all_fit = f"--size {min(side for _, side in small)} fits all, --leave-out-small takes the others"
        raise ValueError(f"{told(small, len(chosen), size)}. Enlarged, they would be blurred, easy to fill: {all_fit}")
    return chosen


def _new(files: Sequence, chosen: Sequence, size: int, seed: int, masks: Path | None, rule: dict) -> Plan:
    from aotlib import manifest
    from aotlib.masks import load_masks

    try:
        found = load_masks(masks, **rule) if masks is not None else []
    except ValueError as error:
        words = "\nhole= and max_ratio= are --hole and --max-ratio here" if "hole=" in str(error) else ""
        raise ValueError(f"{error}{words}") from error
    place = _folder_of(files)
    table = manifest.make(chosen, size=size, masks=found, seed=seed, files_root=place, masks_root=masks)
    return Plan(table, size, seed, place, masks, rule["hole"])


def _folder_of(files: "Sequence[Path | TarMember]") -> Path | str:
    from aotlib.images import common_folder
    from aotlib.shards import ShardFiles

    return files.shards[0].parent if isinstance(files, ShardFiles) else common_folder(files)


def _refuse(given: dict[str, object]) -> None:
    if words := [f"--{name}" for name, value in given.items() if value is not None]:
        raise ValueError(f"a manifest says which photographs and masks, at which size: leave out {', '.join(words)}")


def _given(path: Path, files: "Sequence[Path | TarMember]", masks: Path | None, hole: str) -> Plan:
    """The manifest at `path`, once the folders are found that its names are relative to."""
    from aotlib import manifest
    from aotlib.images import find_images, name_of
    from aotlib.selection import told, too_small
    from aotlib.shards import ShardFiles

    table, about = manifest.read(path), manifest.about(path)
    shas = dict(zip(table.image, table.image_sha256, strict=True))
    place = _folder_of(files) if isinstance(files, ShardFiles) else _above(shas, files, "photograph")
    used = [file for file in files if name_of(file, place) in shas]
    if small := too_small(used, about["size"]):
        print(f"{told(small, len(used), about['size'])}; they are enlarged, as the manifest has it", file=sys.stderr)
    from_files = table[~table["mask"].str.fullmatch(manifest.DRAWN)]
    shas = dict(zip(from_files["mask"], from_files.mask_sha256, strict=True))
    if shas and masks is None:
        raise ValueError(f"{path} names mask files, such as {next(iter(shas))}: say with --masks where they are")
    masks = _above(shas, find_images(masks), "mask file") if shas else None
    return Plan(table, about["size"], about["seed"], place, masks, hole)


def _above(shas: dict[str, str], files: Iterable[Path], kind: str) -> Path:
    """The folder below which `files` have all the names of a manifest, by preference those with its SHA-256."""
    from aotlib.manifest import file_sha256

    paths, first = {file.absolute().as_posix() for file in files}, next(iter(shas))
    roots = [path.removesuffix(first) for path in sorted(paths) if path.endswith(f"/{first}")]
    lacking = {root: [name for name in shas if root + name not in paths] for root in roots}
    if not (found := [root for root in roots if not lacking[root]]):
        lost = min(lacking.values(), key=len, default=list(shas))
        told = f"{len(lost)} of the manifest's {len(shas)} {kind}s are not in the folder given, such as {lost[0]}"
        raise ValueError(f"{told}; give the folder that it was made from, and --split where it was of a split")
    return Path(min(found, key=lambda root: file_sha256(root + first) != shas[first]))


def _begin(plan: Plan, out: Path) -> None:
    """`out` holds this manifest and nothing of another, so that no picture of another can be left among these."""
    from aotlib import manifest

    path, old = out / "manifest.csv", [out / part for part in ("truth", "masks", "input") if (out / part).exists()]
    if names := _doubled(plan.table):
        raise ValueError(f"two photographs would have the name {names[0]}.png in each bucket; rename one of them")
    if path.exists() and not (manifest.read(path).equals(plan.table) and manifest.about(path)["size"] == plan.size):
        raise ValueError(f"{out} holds the cases of another data set, size, number or seed; give an empty folder")
    if old and not path.exists():
        raise ValueError(f"{old[0]} exists, but no manifest.csv that says what it holds; give an empty folder")
    manifest.write(plan.table, path, size=plan.size, seed=plan.seed)


def _doubled(table: "pd.DataFrame") -> list[str]:
    names = table.image[table.bucket == table.bucket.iloc[0]].map(_stem)
    return list(names[names.duplicated()])


def _stem(name: str) -> str:
    return Path(name).with_suffix("").as_posix()


def _write_pictures(plan: Plan, out: Path) -> None:
    from tqdm import tqdm

    from aotlib import manifest
    from aotlib.images import write_image
    from aotlib.masks import BUCKETS

    where = {"files_root": plan.place, "masks_root": plan.masks, "size": plan.size, "hole": plan.hole}
    buckets = [bucket for bucket in BUCKETS if manifest.bucket_name(bucket) in set(plan.table.bucket)]
    made = (case for bucket in buckets for case in manifest.cases(plan.table, **where, bucket=bucket))
    for case in tqdm(made, desc="writing", total=len(plan.table), disable=None, leave=False):
        name = f"{case.bucket.removesuffix(' %')}/{_stem(case.name)}.png"  # a folder's name without blank and %
        write_image(case.picture_u8, out / "truth" / name)
        write_image((case.mask * 255).byte(), out / "masks" / name)
        write_image(case.hidden(), out / "input" / name)
