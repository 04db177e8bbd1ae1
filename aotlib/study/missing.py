r"""What a small study cannot tell, in words: an empty cell alone would leave the reader to guess.

Taught in notebook 09.
"""

import pandas as pd

SHOWN = 10  # sessions in a message


def nobody(screened: pd.DataFrame) -> str:
    r"""Why no vote counts.

    Args:
        screened: of `aotlib.study.screening.screen`; some session stays where all votes are practice or catches.

    >>> nobody(pd.DataFrame({"session": [4], "left_out": ["answered 2 of 9"]})).splitlines()
    ['the rule of the plan leaves out every session that was answered:', 'session 4: answered 2 of 9']

    Taught in notebook 09.
    """
    if screened.empty:
        return "nobody has answered a trial yet: there is nothing to analyse"
    if (screened["left_out"] == "").any():
        return "all answers are to practice or catch trials: there is nothing to analyse"
    told = [f"session {row.session}: {row.left_out}" for row in screened.head(SHOWN).itertuples()]
    more = [f"and {len(screened) - SHOWN} more"] * (len(screened) > SHOWN)
    return "\n".join(["the rule of the plan leaves out every session that was answered:", *told, *more])


def note(raters: int, images: int) -> tuple[str, list[str]]:
    r"""The small print of a figure, and sentences about what so few raters and images do not give.

    >>> note(12, 1)
    ('12 raters, 1 image, no intervals', ['12 raters, 1 image: intervals and p take two of each'])

    Taught in notebook 09.
    """
    counts = f"{raters} rater{'s' * (raters != 1)}, {images} image{'s' * (images != 1)}"
    if min(raters, images) > 1:
        return f"{counts}, 95 % intervals over both", []
    return f"{counts}, no intervals", [f"{counts}: intervals and p take two of each"]


def agreement(measure: str) -> str:
    r"""What a measure of agreement takes that is not there.

    Taught in notebook 09.
    """
    if "alpha" in measure:
        return "it takes fills that two raters judged, and judgements that are not all the same"
    return "it takes three methods, and two raters who judged all of them and found not all equal"


def bounds(kind: str, apart: tuple[str, ...]) -> list[str]:
    r"""What the abilities of methods that (almost) never won or never lost do not tell.

    >>> bounds("abilities", ("grey",))
    ['abilities: grey (almost) never won or never lost: a bound from its own votes; the mean of the others is 0']

    Taught in notebook 09.
    """
    told = "(almost) never won or never lost: a bound from its own votes; the mean of the others is 0"
    return [f"{kind}: {', '.join(apart)} {told}"] if apart else []
