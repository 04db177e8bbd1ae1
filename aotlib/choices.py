r"""Refusing a wrong word with the nearest right one. Nothing here imports more than the standard library."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    r"""A hint for a misspelt word.

    >>> nearest("papr", ["paper", "released"])
    "did you mean 'paper'?"
    """
    known = [str(name) for name in known]
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}"


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    r"""`value`, when it is one of `choices`; else an error that names them and the nearest."""
    choices = tuple(choices)
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}{hint}")
    return value
