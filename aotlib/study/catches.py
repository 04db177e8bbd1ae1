r"""What everybody who looks chooses in a catch trial, and in practice.

Taught in notebook 09.
"""

from collections.abc import Sequence

from aotlib.study.design import BROKEN, TRUTH


def right_choice(kind: str, shown: Sequence[str]) -> str | int | None:
    r"""What everybody who looks chooses in a trial with a truth or a broken fill; None where it is a matter of taste.

    Of a ranking it is the place, from 0, of the picture that comes last in every order of who looks.

    >>> right_choice("pair", ("broken", "truth")), right_choice("real", ("broken",)), right_choice("pair", ("a", "b"))
    ('right', 'fake', None)
    >>> right_choice("rank", ("a", "broken", "b")), right_choice("rank", ("a", "c", "b"))
    (1, None)

    Taught in notebook 09.
    """
    if kind == "pair" and set(shown) == {TRUTH, BROKEN}:
        return "left" if shown[0] == TRUTH else "right"
    if kind == "rank":
        return list(shown).index(BROKEN) if BROKEN in shown else None
    return {(TRUTH,): "real", (BROKEN,): "fake"}.get(tuple(shown)) if kind == "real" else None


def is_right(kind: str, shown: Sequence[str], choice: object) -> bool:
    r"""Whether `choice` is what everybody who looks chooses.

    >>> is_right("rank", ("a", "broken", "b"), (2, 0, 1)), is_right("pair", ("truth", "broken"), "tie")
    (True, False)

    Taught in notebook 09.
    """
    right = right_choice(kind, shown)
    return right is not None and right == (choice[-1] if kind == "rank" else choice)
