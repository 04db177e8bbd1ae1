r"""What a small study cannot tell, in words: an empty cell alone would leave the reader to guess.

Taught in notebook 09.
"""

import pandas as pd

from aotlib.study.abilities import Scale

SHOWN = 10  # sessions in a message
INTERVALS = "95 % intervals over both"  # what figures have where there are two raters and two images
TESTS = "*: differs from 50 %, Holm-corrected"
OF_ALPHA = "of alpha 95 % intervals over images"
NONE = {TESTS: "no tests"}


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


def note(votes: pd.DataFrame, has: str = "") -> str:
    r"""The small print of a figure of these votes, and what else it `has` where both raters and images are many.

    >>> votes = pd.DataFrame({"rater": list("aab"), "image": list("xyx")})
    >>> note(votes, INTERVALS), note(votes), note(votes[:2], INTERVALS)
    ('2 raters, 2 images, 95 % intervals over both', '2 raters, 2 images', '1 rater, 2 images, no intervals')

    Taught in notebook 09.
    """
    raters, images = votes["rater"].nunique(), votes["image"].nunique()
    counts = f"{raters} rater{'s' * (raters != 1)}, {images} image{'s' * (images != 1)}"
    if not has:
        return counts
    return f"{counts}, {has if min(raters, images) > 1 else NONE.get(has, 'no intervals')}"


def intervals(votes: pd.DataFrame) -> list[str]:
    r"""A sentence about the intervals that so few raters or images do not give.

    Taught in notebook 09.
    """
    few = min(votes["rater"].nunique(), votes["image"].nunique()) < 2
    return [f"{note(votes)}: intervals and p take two of each"] if few else []


def agreement(measure: str) -> str:
    r"""What a measure of agreement takes that is not there.

    Taught in notebook 09.
    """
    if "alpha" in measure:
        return "it takes fills that two raters judged, and judgements that are not all the same"
    return "it takes three methods, and two raters who judged all of them and found not all equal"


def bounds(kind: str, scale: Scale) -> list[str]:
    r"""What the abilities of methods do not tell that (almost) never won or never lost, or that have too few votes.

    Taught in notebook 09.
    """
    never = [name for name in scale.apart if name not in scale.few]
    told = "(almost) never won or never lost: a bound from its own votes; the mean of the others is 0"
    found = [f"{kind}: {', '.join(never)} {told}"] if never else []
    if scale.few:
        told = "drawn anew, they often do not connect with the others"
        found.append(f"{kind}: too few votes: {told}: {', '.join(scale.few)}; more raters and images mend that")
    return found
