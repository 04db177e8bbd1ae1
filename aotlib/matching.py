r"""Pairing the files of three folders by name: true pictures, results and masks.

Whatever does not fit is named, never guessed, cropped or resized: two pictures that do not belong together give a
number, too.

Taught in notebook 06.
"""

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from aotlib.images import find_images, image_size

SHOWN = 10  # names of each kind of misfit in an error
ORIENTATION = 0x0112  # the EXIF tag of a rotation; from 5 on it swaps height and width


class Trio(NamedTuple):
    r"""The three files of one picture."""

    truth: Path
    result: Path
    mask: Path


class Matched(NamedTuple):
    r"""What three folders have in common, by relative path without suffix, and what not.

    `names` can be scored and `files` holds their files. `missing` are true pictures without a result, `surplus` results
    without a true picture, `masks_missing` true pictures without a mask; `sizes` says of each picture whose three
    files differ in size what these are; `refused` why a picture that fits by name and size cannot be scored. A mask
    that no picture needs is no misfit.
    """

    names: list[str]
    missing: list[str]
    surplus: list[str]
    sizes: dict[str, str]
    masks_missing: list[str]
    files: dict[str, Trio]
    refused: dict[str, str] = {}

    def faults(self) -> str:
        r"""The misfits for a person, the first ten of each kind; empty where everything fits."""
        kinds = {"true pictures without a result": self.missing, "results without a true picture": self.surplus}
        kinds["true pictures without a mask"] = self.masks_missing
        kinds["pictures of different sizes"] = [f"{name}: {sizes}" for name, sizes in self.sizes.items()]
        kinds["pictures that are refused"] = [f"{name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join(_listed(f"{len(names)} {kind}", names) for kind, names in kinds.items() if names)

    def without(self, refused: dict[str, str]) -> "Matched":
        r"""The same, less the pictures `refused`, which it gives the reasons of."""
        return self._replace(names=[name for name in self.names if name not in refused], refused=refused)


def match(truth: str | Path, result: str | Path, masks: str | Path) -> Matched:
    r"""Pair the pictures of three folders by relative path without suffix: ``b/c.jpg`` belongs to ``b/c.png``.

    Only the files' headers are read.

    Raises:
        ValueError: for a folder without pictures, two files of one name in a folder, a file that is no picture.

    Taught in notebook 06.
    """
    true, made, holes = (_by_stem(folder) for folder in (truth, result, masks))
    both = [name for name in true if name in made and name in holes]
    files = {name: Trio(true[name], made[name], holes[name]) for name in both}
    sizes = {name: text for name, trio in files.items() if (text := _different_sizes(trio))}
    return Matched(
        names=[name for name in both if name not in sizes],
        missing=[name for name in true if name not in made],
        surplus=[name for name in made if name not in true],
        sizes=sizes,
        masks_missing=[name for name in true if name not in holes],
        files={name: trio for name, trio in files.items() if name not in sizes},
    )


def _by_stem(folder: str | Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in find_images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            told = f"{folder} has both {found[name].name} and {path.name}: which of them is the picture {name}?"
            raise ValueError(f"{told} Remove or rename one")
        found[name] = path
    return dict(sorted(found.items()))


def _different_sizes(trio: Trio) -> str:
    """Text that says the width x height of each file, where they are not the same; else empty."""
    sizes = [_seen_size(path) for path in trio]
    told = [f"{kind} {width} x {height}" for kind, (height, width) in zip(Trio._fields, sizes, strict=True)]
    return ", ".join(told) if len(set(sizes)) > 1 else ""


def _seen_size(path: Path) -> tuple[int, int]:
    """(height, width) as `read_image` will give them: a rotation noted in EXIF is applied."""
    height, width = image_size(path)
    with Image.open(path) as file:
        turned = "exif" in file.info and file.getexif().get(ORIENTATION, 1) >= 5  # else a PNG is decoded to look for it
    return (width, height) if turned else (height, width)


def _listed(title: str, lines: list[str]) -> str:
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n  ".join([f"{title}:", *lines[:SHOWN], *more])
