r"""Named data sets: which files belong to which split, and where the logos are.

Each is opened from the tree in which its authors publish it (see data/README.md), or from plain folders
`<root>/train`, `<root>/val`, `<root>/test`. Taken in through `aotlib.data`.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torchvision import datasets

from aotlib.files import INDEX
from aotlib.images import find_images
from aotlib.shards import ShardFiles, has_shards

Box = tuple[int, int, int, int]


class Source(NamedTuple):
    """A named data set: what it shows, the tree it is expected in, and the function that lists a split."""

    description: str
    tree: str
    open: Callable[[Path, str], list[Path] | None]  # (root, split) -> files, None where the tree has no such split


def dataset_files(
    name: str | Path, root: str | Path | None = None, split: str = "train", *, shards: bool = True
) -> list[Path] | ShardFiles:
    r"""List the image files of one split of a named data set, or of any folder given in place of a name.

    Finished shards in `<root>/shards/<split>` or `<root>/<split>` come first, unless `shards` is False. Else plain
    folders `<root>/<split>` are taken where they exist, else the published tree of that data set. The split
    "all" is every image below the root. A split that the files do not define is an error, never guessed.

    Taught in notebook 01.
    """
    if name not in DATASETS and not Path(name).is_dir():
        raise ValueError(f"{str(name)!r} is neither a folder nor one of the data sets {', '.join(DATASETS)}")
    if name in DATASETS and root is None:
        raise ValueError(f"say where {name} lies: dataset_files({name!r}, root, {split!r})")
    folder = Path(root if name in DATASETS else name)
    if not folder.is_dir():
        raise ValueError(f"the folder {folder} for {name} does not exist; data/README.md says where to get the data")
    if name in DATASETS and name != "samples" and (folder / "samples.csv").is_file():
        raise ValueError(f"{folder} holds the embedded photographs, not {name}; set data_dir to where {name} lies")
    source = DATASETS.get(str(name), FOLDER)
    found = [place for place in (folder / "shards" / split, folder / split) if shards and has_shards(place)]
    finished = [place for place in found if (place / INDEX).is_file()]
    if finished or folder / split in found:  # unfinished ones in the place of the plain files: it says so
        return ShardFiles((finished or found)[0])
    files = _all(folder) if split == "all" else source.open(folder, split)
    if files is None and found:
        return ShardFiles(found[0])  # says that they are not finished
    if files is None:
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        raise ValueError(f"{name}: no split {split!r} below {folder}, which holds {found}. Expected:\n{source.tree}")
    return files


def _all(folder: Path) -> list[Path]:
    try:
        return find_images(folder)
    except ValueError as error:
        places = [place for parent in (folder / "shards", folder) for place in parent.glob("*")]
        parts = sorted(place.name for place in places if has_shards(place))
        if not parts:
            raise
        told = f"{folder} holds no plain images but shards, each of one split"
        raise ValueError(f"{told}; name the split: {', '.join(parts)}") from error


def _plain(root: Path, split: str) -> list[Path] | None:
    return find_images(root / split) if (root / split).is_dir() else None


def _places2(root: Path, split: str) -> list[Path] | None:
    names = ("data_large_standard", "data_256_standard") if split == "train" else (f"{split}_large", f"{split}_256")
    found = [name for name in (split, *names) if (root / name).is_dir()]
    return find_images(root / found[0]) if found else None


def places365(root: str | Path, split: str, *, small: bool = True, download: bool = False) -> list[Path]:
    r"""List a split of Places2 (Places365-standard) by its official file list, after downloading it if asked to.

    Args:
        root: folder of the data set; downloads are unpacked there.
        split: "train", "val", "test", or torchvision's "train-challenge".
        small: the 256 x 256 edition (24 GB to train, 0.5 GB to validate), else the larger one (105 and 2.1
            GB).
        download: fetch and unpack what is missing; an existing image folder is taken as complete.

    Taught in notebook 01.
    """
    official = "train-standard" if split == "train" else split
    places = datasets.Places365(root, split=official, small=small, download=download)
    if not Path(places.images_dir).is_dir():
        raise ValueError(f"Places2 has its file lists but no images in {places.images_dir}; pass download=True")
    return [Path(path) for path, _ in places.imgs]


def _celebahq(root: Path, split: str) -> list[Path] | None:
    """CelebA's own partition, carried over through the table that tells which CelebA picture each one was made from."""
    mapping, partition = root / "CelebA-HQ-to-CelebA-mapping.txt", root / "list_eval_partition.txt"
    wanted = {"train": "0", "val": "1", "test": "2"}.get(split)
    if (root / split).is_dir() or wanted is None or not (mapping.is_file() and partition.is_file()):
        return _plain(root, split)
    part_of = dict(line.split() for line in partition.read_text().splitlines() if line.strip())
    rows = [line.split() for line in mapping.read_text().splitlines()[1:] if line.strip()]  # idx orig_idx orig_file
    return [root / "CelebA-HQ-img" / f"{row[0]}.jpg" for row in rows if part_of[row[2]] == wanted]


def _openlogo(root: Path, split: str) -> list[Path] | None:
    if (root / "boxes.json").is_file():
        entries = json.loads((root / "boxes.json").read_text())
        names = sorted(name for name, entry in entries.items() if entry["split"] == split)
        folder = root / "images" if (root / "images").is_dir() else root
        return [folder / name for name in names] or None
    names = (f"Main/train_test/{split}_all.txt", f"Main/{split}.txt", f"{split}.txt")  # the last takes a path, too
    found = [root / "ImageSets" / name for name in names if (root / "ImageSets" / name).is_file()]
    if not found:
        return _plain(root, split)
    stems = [line.strip() for line in found[0].read_text().splitlines() if line.strip()]
    return [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]


def logo_boxes(root: str | Path) -> dict[str, list[Box]]:
    r"""Return the logo boxes of each image, by file name: (x0, y0, x1, y1) in pixels, x1 and y1 the first outside.

    Read from `boxes.json`, {file: {"boxes_xyxy": [...], ...}}, where there is one, else from the VOC files in
    `Annotations/`, whose corners count from 1 and include the last pixel. `masks.boxes_to_mask` makes holes
    of them.

    Taught in notebook 01.
    """
    root = Path(root)
    if (root / "boxes.json").is_file():
        entries = json.loads((root / "boxes.json").read_text())
        return {name: [tuple(box) for box in entry["boxes_xyxy"]] for name, entry in entries.items()}
    files = sorted((root / "Annotations").glob("*.xml"))
    if not files:
        raise ValueError(f"no logo boxes below {root}. Expected boxes.json or:\n{DATASETS['openlogo'].tree}")
    return {f"{file.stem}.jpg": _voc_boxes(file) for file in files}


def _voc_boxes(file: Path) -> list[Box]:
    """The boxes of one VOC annotation, from (1-based, inclusive) corners to (0-based, end outside)."""
    boxes = []
    for box in ET.parse(file).iter("bndbox"):
        x0, y0, x1, y1 = (round(float(box.findtext(corner))) for corner in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append((x0 - 1, y0 - 1, x1, y1))
    return boxes


PLAIN_TREE = "  train/**/*.jpg  val/**/*.jpg  test/**/*.jpg"
FOLDER = Source("any folder", PLAIN_TREE + '\nor, where a command has a split, "all" for the folder as a whole', _plain)
DATASETS: dict[str, Source] = {
    "samples": Source("photographs that come with this project", PLAIN_TREE, _plain),
    "places2": Source(
        "Places2: 1.8 million scenes (Places365-standard)",
        "  data_large_standard/ or data_256_standard/ (train)\n  val_large/ or val_256/\n  test_large/ or test_256/\n"
        f"or\n{PLAIN_TREE}\naotlib.data.places365(root, split, download=True) makes the first.",
        _places2,
    ),
    "celebahq": Source(
        "CelebA-HQ: 30,000 faces, 1024 px (CelebAMask-HQ)",
        "  CelebA-HQ-img/0.jpg ... 29999.jpg\n  CelebA-HQ-to-CelebA-mapping.txt\n"
        f"  list_eval_partition.txt (from CelebA)\nor\n{PLAIN_TREE}",
        _celebahq,
    ),
    "openlogo": Source(
        "QMUL-OpenLogo: 27,083 photographs with boxes round 352 logos",
        "  JPEGImages/*.jpg\n  Annotations/*.xml\n  ImageSets/Main/train_test/{train,test}_all.txt\n"
        "or\n  images/*.jpg\n  boxes.json {file: {boxes_xyxy, classes, size, split}}",
        _openlogo,
    ),
}
