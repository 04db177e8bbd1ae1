r"""The pictures of a study: paired by name, checked, and written without anything that tells where they came from.

What reads pictures imports torch, and is imported where it is used: a server of a plan is to start at once.

Taught in notebook 09.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aotlib.study.design import BROKEN, TRUTH

INPUT = "input"
SHOWN = 10  # names of a misfit in an error
FOLDER = "pictures"
CHANGED = 24  # of 255: a known pixel of a JPEG differs by less from the truth's, one of a hole by more
FEWEST_CHANGED = 0.001  # share of the picture: with less, the inputs are the truths


class Picture(NamedTuple):
    r"""One file of a study: role (input, result, truth, broken), image, method ("" if none), path, SHA-256, (w, h)."""

    role: str
    image: str
    method: str
    path: str
    sha256: str
    size: tuple[int, int]


def pair_up(folders: Mapping[str, str | Path], truth: str | Path, only: str = "") -> dict[str, dict[str, Path]]:
    r"""The files of every folder by image: relative path without suffix, sorted; every folder has the same images.

    Args:
        folders: by name; "truth" is added as `truth`.
        only: a subfolder of all of them, the only one that is looked at.

    Raises:
        ValueError: that names, folder by folder, what is missing, what is too many and what comes twice.

    Taught in notebook 09.
    """
    found, faults = {TRUTH: _by_image(truth, only)}, []
    for name, folder in folders.items():
        found[name] = _by_image(folder, only)
        missing, surplus = (
            sorted(a.keys() - b.keys()) for a, b in ((found[TRUTH], found[name]), (found[name], found[TRUTH]))
        )
        kinds = {"lacks": missing, "has what the truths lack": surplus}
        faults += [f"{name} ({folder}) {kind}: {_listed(names)}" for kind, names in kinds.items() if names]
    if faults:
        raise ValueError("the folders do not hold the same pictures (names without suffix):\n" + "\n".join(faults))
    return {image: {name: files[image] for name, files in found.items()} for image in sorted(found[TRUTH])}


def _by_image(folder: str | Path, only: str) -> dict[str, Path]:
    from aotlib.images import find_images

    found: dict[str, Path] = {}
    for path in find_images(Path(folder, only)):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise ValueError(f"{folder} has both {found[name].name} and {path.name}: which is {name}? Remove one")
        found[name] = path
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def write_pictures(
    files: Mapping[str, Mapping[str, Path]],
    out_dir: Path,
    name: Callable[[str, str, str], str],
    *,
    hole: str,
    rng: np.random.Generator,
) -> dict[str, Picture]:
    r"""Every picture lies in ``out_dir/pictures`` as a PNG file named by its id: so many pixels, and nothing else.

    Files of an image are "truth", the methods, and "masks" or "inputs", of which the other is drawn: an input has
    grey in its hole. The broken fill has saturated blocks of noise there.

    Args:
        files: of each image, as of `pair_up`.
        name: gives the id of a picture by image, role and method ("" if none).
        hole: the colour of the hole in masks.

    Raises:
        ValueError: when the pictures of an image differ in size, naming them, or two images are the same photograph.

    Taught in notebook 09.
    """
    from aotlib.images import write_image

    found, unfinished = {}, out_dir / f".{FOLDER}"
    try:
        for image, paths in files.items():
            for (role, method), picture in _pictures(image, paths, hole, rng).items():
                path = unfinished / f"{name(image, role, method)}.png"
                write_image(picture, path)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                size = picture.shape[1::-1]
                found[path.stem] = Picture(role, image, method, f"{FOLDER}/{path.name}", digest, size)
        _check_different(found)
        shutil.rmtree(out_dir / FOLDER, ignore_errors=True)  # of a plan that was never finished
        os.replace(unfinished, out_dir / FOLDER)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return found


def _check_different(pictures: Mapping[str, Picture]) -> None:
    """Raters know a photograph again, and their votes on it are alike: each is to be there with one hole."""
    images: dict[str, str] = {}
    for one in pictures.values():
        if one.role == TRUTH and (other := images.setdefault(one.sha256, one.image)) != one.image:
            told = f"{other} and {one.image} are the same photograph, and votes on it would count as votes on two"
            raise ValueError(f"{told}. Take one of its holes: of `aotlib cases` one bucket, by --only 30-40")


def _pictures(image: str, paths: Mapping[str, Path], hole: str, rng: np.random.Generator) -> dict:
    """The pictures (H, W, 3) uint8 of an image by (role, method)."""
    from aotlib.images import read_image
    from aotlib.manifest import HIDDEN
    from aotlib.masks import load_mask

    read = {name: read_image(path) for name, path in paths.items() if name != "masks"}
    if "masks" in paths:
        missing = load_mask(paths["masks"], hole=hole, max_ratio=1)[0].numpy() > 0.5
    sizes = {name: picture.shape[1::-1] for name, picture in read.items()}
    sizes |= {"masks": missing.shape[::-1]} if "masks" in paths else {}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {width} x {height}" for name, (width, height) in sizes.items())
        raise ValueError(f"the pictures of {image} differ in size: {told}. Find out which one was cropped or scaled")
    truth = read[TRUTH]
    if "masks" in paths:
        read["inputs"] = np.where(missing[..., None], np.uint8(HIDDEN), truth)
    else:
        missing = _changed(read["inputs"], truth, paths["inputs"])
    methods = {("result", name): read[name] for name in paths if name not in (TRUTH, "inputs", "masks")}
    broken = np.where(missing[..., None], _noise(truth.shape, rng), truth)
    return {(INPUT, ""): read["inputs"], (TRUTH, ""): truth} | methods | {(BROKEN, ""): broken}


def _changed(given: np.ndarray, truth: np.ndarray, path: Path) -> np.ndarray:
    """Where an input (H, W) is not its truth: its hole."""
    changed = (abs(given.astype(int) - truth) > CHANGED).any(-1)
    if changed.mean() < FEWEST_CHANGED:
        raise ValueError(f"{path} shows no hole: it is its truth. Give inputs with holes, or the folder of masks")
    return changed


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Blocks of black, white and saturated colours (H, W, 3), large enough to be seen at any zoom."""
    side = max(2, min(shape[:2]) // 32)
    rows, columns = (-(-length // side) for length in shape[:2])
    blocks = rng.choice(np.array([0, 255], np.uint8), (rows, columns, 3))
    return blocks.repeat(side, 0).repeat(side, 1)[: shape[0], : shape[1]]
