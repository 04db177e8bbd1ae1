r"""What `aotlib data` says about a folder of photographs or of masks, in a few lines of text.

Taught in notebook 01.
"""

import csv
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from aotlib.data import dataset_files
from aotlib.files import replacing
from aotlib.images import UnreadableImage, read_image
from aotlib.masks import BUCKET_NAMES, load_masks


def images(name: str, root: Path, split: str, quarantine: Path, min_side: int = 64) -> str:
    r"""Decode every image of the split and count; the list of those that cannot be used is saved at `quarantine`.

    Taught in notebook 01.
    """
    files = dataset_files(name, root, split)
    sizes, refused = [], []
    for path in tqdm(files, desc="decoding", disable=None, leave=False):  # a bar on a terminal only
        try:
            height, width = read_image(path).shape[:2]
        except UnreadableImage as error:
            refused.append((path, error.reason))
            continue
        if min(height, width) < min_side:
            refused.append((path, f"too small: {width} x {height}, wanted {min_side}"))
        else:
            sizes.append((width, height))
    _save_list(refused, quarantine)
    lines = [f"{name} ({split}): {len(files)} images, {len(sizes)} can be used", *_size_lines(sizes)]
    lines += [f"{len(refused)} set aside, listed in {quarantine}"] if refused else ["0 set aside"]
    return "\n".join(lines + [f"  {path}: {reason}" for path, reason in refused[:20]])


def _size_lines(sizes: list[tuple[int, int]]) -> list[str]:
    if not sizes:
        return []
    short = sorted(min(size) for size in sizes)
    common = ", ".join(f"{w} x {h} ({n})" for (w, h), n in Counter(sizes).most_common(3))
    return [f"shorter side {short[0]} to {short[-1]} px, median {short[len(short) // 2]}", f"most frequent: {common}"]


def _save_list(refused: list[tuple[Path, str]], path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "reason"), *refused])


def masks(folder: Path) -> str:
    r"""Count the mask files below `folder` by share of hole, and how many of each touch the frame.

    Taught in notebook 01.
    """
    found = load_masks(folder)
    lines = [f"{folder}: {len(found)} masks (white = hole)"]
    for bucket in (*BUCKET_NAMES, None):
        here = [mask for mask in found if mask.bucket == bucket]
        if here or bucket:
            touching = sum(mask.touches_frame for mask in here)
            lines.append(f"  {bucket or 'outside':>8}: {len(here):5d}, {touching} touch the frame")
    return "\n".join(lines)
