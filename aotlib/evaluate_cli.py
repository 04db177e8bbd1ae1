r"""The command `aotlib evaluate`. Nothing here imports torch before it runs."""

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from aotlib import records
from aotlib.files import replacing

if TYPE_CHECKING:
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
        images: write the scores of every picture to this CSV file, which `aotlib compare` reads.
        matched_only: score the pictures that can be, and leave out those that do not fit together or are refused.
        limit: score so many pictures only, spread over the sorted names.
        hole: the colour of the hole in mask files.
        max_ratio: a mask with more hole than this is refused; most likely it is black where it should be white.
        cache: a file that keeps the features of pictures, for the next method on the same photographs.
        download: fetch the weights of FID's and LPIPS' networks where they are missing; where that fails, use what is
            there.
    """
    from aotlib import folders, scorecard

    _check_writable({"json": json, "images": images, "cache": cache})
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


def _check_writable(files: dict[str, Path | None]) -> None:
    """Tried before the pictures are scored, which can take an hour; a folder that is missing is made."""
    for option, path in files.items():
        try:
            if path is not None and path.is_dir():
                raise IsADirectoryError("it is a folder; name a file in it")
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise ValueError(f"--{option} {path} cannot be written: {error}") from error


def _measures(cache: Path, download: bool) -> "Measures":
    """With the deepest features whose weights are at hand or can be fetched; where there are none, it says why."""
    from aotlib import inception, weights_files
    from aotlib.evaluate import Measures

    try:
        dims = inception.most_dims()
    except weights_files.Unavailable:
        dims = 2048 if download else 768
    if download and dims < 2048:
        try:
            weights_files.downloaded(inception.FULL_URL)
            dims = 2048
        except weights_files.Unavailable as reason:
            print(f"{reason}\nThe {dims} features that are at hand are taken: FID-{dims}\n", file=sys.stderr)
    return Measures(dims, download=download, cache=cache)


def _record(parameters: dict, features: str | None, started: float) -> dict:
    about = {"data_dir": parameters["truth"], "features": features, "metrics": {}, "seconds": time.time() - started}
    record = records.record(parameters=parameters, seed=0, **about)
    return record | {folder: records.fingerprint(parameters[folder]) for folder in ("result", "masks")}
