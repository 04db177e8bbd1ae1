r"""The commands `aotlib evaluate` and `aotlib cases`. Nothing here imports torch before it runs."""

import shlex
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from aotlib import profiles, records
from aotlib.files import replacing

if TYPE_CHECKING:
    import pandas as pd

    from aotlib.evaluate import Measures


def evaluate(
    truth: Path,
    result: Path,
    masks: Path,
    name: str = "",
    json: Path | None = None,
    images: Path | None = None,
    matched_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    limit: int | None = None,
    hole: Literal["white", "black"] = "white",
    max_ratio: float = 0.6,
    cache: Path | None = None,
    download: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Score a folder of filled pictures, made by any program, against the true ones, by share of hole.

    The three folders hold files of the same names; only the suffix may differ. `aotlib cases` makes such folders.

    Args:
        truth: the true pictures.
        result: the filled pictures: the known pixels as they were, the hole filled.
        masks: a mask for each picture.
        name: what the method is called; the folder's name when not given.
        json: write the numbers to this file.
        images: write the scores of every picture to this CSV file.
        matched_only: where names or sizes do not fit together, score the pictures that do.
        limit: score so many pictures only, spread over the sorted names.
        hole: the colour of the hole in mask files.
        max_ratio: a mask with more hole than this is refused; most likely it is black where it should be white.
        cache: a file that keeps the features of pictures, for the next method on the same photographs.
        download: fetch the weights of FID's and LPIPS' networks where they are missing.
    """
    from aotlib import folders, scorecard

    started, name = time.time(), name or result.resolve().name
    rule = {"matched_only": matched_only, "limit": limit, "hole": hole, "max_ratio": max_ratio}
    with tempfile.TemporaryDirectory() as passing:  # a photograph that comes with six holes is computed once
        measures = _measures(cache or Path(passing, "features.sqlite"), download)
        scored = folders.score(truth, result, masks, name=name, data=truth.resolve().name, measures=measures, **rule)
    card = scorecard.card(scored, measures)
    print(f"{name}: {len(scored.names)} pictures{', only those in common' if matched_only else ''}\n")
    print(scorecard.as_text(scored, card))
    if images is not None:
        with replacing(images) as temporary:
            scored.images.to_csv(temporary, index=False, lineterminator="\n")
    if json is not None:
        network = f"Inception, {measures.dims} dimensions" if measures.network is not None else None
        record = _record({"truth": truth, "result": result, "masks": masks, **rule}, network, started)
        records.write_json(json, scorecard.as_json(scored, card, name=name, matched_only=matched_only, record=record))


def _measures(cache: Path, download: bool) -> "Measures":
    """With the deepest features whose weights are at hand; where there are none, it says why."""
    from aotlib.evaluate import Measures
    from aotlib.features import Unavailable
    from aotlib.inception import most_dims

    try:
        dims = 2048 if download else most_dims()
    except Unavailable:
        dims = 768
    return Measures(dims, download=download, cache=cache)


def _record(parameters: dict, features: str | None, started: float) -> dict:
    about = {"data_dir": parameters["truth"], "features": features, "metrics": {}, "seconds": time.time() - started}
    record = records.record(parameters=parameters, seed=0, **about)
    return record | {folder: records.fingerprint(parameters[folder]) for folder in ("result", "masks")}


def cases(
    images: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|FOLDER")],
    out: Path,
    root: Path | None = None,
    split: str | None = None,
    size: int = 512,
    masks: Path | None = None,
    n: int | None = None,
    seed: int = 0,
) -> None:
    """Write photographs with holes for any program to fill, one hole of each bucket, and the list of them.

    OUT/truth, OUT/masks (white = hole) and OUT/input (the hole grey) hold pictures BUCKET/NAME.png; results go to a
    folder with the same names. OUT/manifest.csv says what was made of which file.

    Args:
        images: samples, places2, celebahq, openlogo, or any folder of images.
        out: an empty folder, or one that the same command has begun.
        root: where the named data set is; data/NAME when not given.
        split: train, val, test or all; test of a named data set and all of a folder when not given.
        size: the middle of each photograph is brought to this side, pixels.
        masks: a folder of mask files (white = hole); masks are drawn when not given.
        n: so many photographs, the first ones.
        seed: decides which photograph gets which mask.
    """
    from aotlib import manifest
    from aotlib.masks import load_masks
    from aotlib.sources import DATASETS, dataset_files

    if n is not None and n < 1:
        raise ValueError(f"--n is {n}: take at least one photograph")
    named = images in DATASETS
    root = root or (profiles.find_root() / "data" / images if named else None)
    files = dataset_files(images, root, split or ("test" if named else "all"))
    place, chosen = _folder_of(files), files[:n]
    found = load_masks(masks) if masks is not None else []
    table = manifest.make(chosen, size=size, masks=found, seed=seed, files_root=place, masks_root=masks)
    _begin(table, out, size, seed)
    _write_pictures(table, out, place, masks, size)
    print(f"{out}: {len(chosen)} photographs with {table.bucket.nunique()} holes each, {size} px, and manifest.csv")
    print(f"fill the holes of {out / 'input'}, write the results to {out / 'result'} under the same names, then")
    folders = [word for name in ("truth", "result", "masks") for word in (f"--{name}", str(out / name))]
    print(shlex.join(["aotlib", "evaluate", *folders]))


def _folder_of(files) -> Path | str:
    from aotlib.images import common_folder
    from aotlib.shards import ShardFiles

    return files.shards[0].parent if isinstance(files, ShardFiles) else common_folder(files)


def _begin(table: "pd.DataFrame", out: Path, size: int, seed: int) -> None:
    """`out` holds this manifest and nothing of another, so that no picture of another can be left among these."""
    from aotlib import manifest

    path, old = out / "manifest.csv", [out / part for part in ("truth", "masks", "input") if (out / part).exists()]
    if names := _doubled(table):
        raise ValueError(f"two photographs would have the name {names[0]}.png in each bucket; rename one of them")
    if path.exists() and not manifest.read(path).equals(table):
        raise ValueError(f"{out} holds the cases of another data set, size, number or seed; give an empty folder")
    if old and not path.exists():
        raise ValueError(f"{old[0]} exists, but no manifest.csv that says what it holds; give an empty folder")
    manifest.write(table, path, size=size, seed=seed)


def _doubled(table: "pd.DataFrame") -> list[str]:
    names = table.image[table.bucket == table.bucket.iloc[0]].map(_stem)
    return list(names[names.duplicated()])


def _stem(name: str) -> str:
    return Path(name).with_suffix("").as_posix()


def _write_pictures(table: "pd.DataFrame", out: Path, place: Path | str, masks: Path | None, size: int) -> None:
    from tqdm import tqdm

    from aotlib import manifest
    from aotlib.images import write_image
    from aotlib.masks import BUCKETS

    buckets = [bucket for bucket in BUCKETS if manifest.bucket_name(bucket) in set(table.bucket)]
    made = (case for bucket in buckets for case in manifest.cases(table, place, masks, size=size, bucket=bucket))
    for case in tqdm(made, desc="writing", total=len(table), disable=None, leave=False):
        name = f"{case.bucket.removesuffix(' %')}/{_stem(case.name)}.png"  # a folder's name without blank and %
        write_image(case.picture_u8, out / "truth" / name)
        write_image((case.mask * 255).byte(), out / "masks" / name)
        write_image(case.hidden(), out / "input" / name)
