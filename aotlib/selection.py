r"""Which of many photographs are judged: some from everywhere in the list, and what is said of those that are small.

Taught in notebook 06.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from aotlib.images import TarMember, image_size

Item = TypeVar("Item")
Small = list[tuple[Path | TarMember, int]]  # files and their shorter sides, pixels


def spread_evenly(items: Sequence[Item], n: int | None, *, name: str = "n") -> Sequence[Item]:
    r"""`n` of the items, spread evenly over their list, because folders are often sorted by class; all for None.

    >>> spread_evenly(["airport 1", "airport 2", "bridge 1", "bridge 2"], 2)
    ['airport 1', 'bridge 1']

    Args:
        name: what an error calls `n`.

    Taught in notebook 06.
    """
    if n is not None and n < 1:
        raise ValueError(f"{name} is {n}: take at least one picture")
    if n is None or n >= len(items):
        return items
    return [items[place * len(items) // n] for place in range(n)]


def too_small(files: Sequence[Path | TarMember], side: int) -> Small:
    r"""The files whose shorter side is below `side`, pixels, with that side; only headers are read.

    Taught in notebook 06.
    """
    return [(file, least) for file in files if (least := min(image_size(file))) < side]


def told(small: Small, n: int, side: int) -> str:
    r"""How many of `n` photographs are too small, and which is the smallest.

    >>> told([(Path("a.jpg"), 90), (Path("b.jpg"), 60)], 7, 100)
    '2 of 7 photographs are smaller than 100 px, such as b.jpg with 60 px'
    """
    file, least = min(small, key=lambda one: one[1])
    are = "is" if len(small) == 1 else "are"
    return f"{len(small)} of {n} photographs {are} smaller than {side} px, such as {file} with {least} px"


def warn_of_small(files: Sequence[Path | TarMember], side: int) -> None:
    r"""A warning when photographs have to be enlarged: blurred truth is easier to fill than a sharp one."""
    if small := too_small(files, side):
        enlarged = "enlarged, they are blurred, and easier to fill than sharp ones"
        warnings.warn(f"{told(small, len(files), side)}: {enlarged}", stacklevel=3)
