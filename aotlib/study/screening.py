r"""Who is left out: by a rule that stands in the plan since before anyone answered, and by nothing else.

Taught in notebook 09.
"""

import pandas as pd

from aotlib.study.catches import is_right


def right(votes: pd.DataFrame) -> pd.Series:
    r"""Whether each answer to a catch trial is the one that everybody who looks gives; a tie is not.

    >>> row = {"kind": "pair", "shown": ("truth", "broken"), "choice": "left"}
    >>> right(pd.DataFrame([row, row | {"choice": "tie"}])).tolist()
    [True, False]

    Taught in notebook 09.
    """
    told = zip(votes["kind"], votes["shown"], votes["choice"], strict=True)
    return pd.Series([is_right(*one) for one in told], index=votes.index, dtype=bool)


def screen(votes: pd.DataFrame, plan: dict) -> pd.DataFrame:
    r"""One row a rater and session: what was counted, and `left_out`, the reasons by the plan's rule; "" keeps it.

    Columns `rater, session, trials, answers, catches, failed, median_s, left_out`; practice is not counted. A session
    is left out when more than the allowed share of its catch trials was answered wrongly, when fewer than the wanted
    share of its trials was answered, when half of its answers came faster than the limit, or when all answers of a
    kind are the same, such as "filled in" for photographs, too, and there are `constant_from` of them or more; always
    "real" may be meant.

    Taught in notebook 09.
    """
    rows = []
    for (rater, session), part in votes.groupby(["rater", "session"], sort=False):
        trials = [trial for trial in plan["sessions"][session]["trials"] if not trial["practice"]]
        part = part[~part["practice"]]
        catches = part[part["catch"]]
        counted = {"trials": len(trials), "answers": len(part), "catches": len(catches)}
        found = counted | {"failed": int((~right(catches)).sum()), "median_s": part["seconds"].median()}
        reasons = _reasons(found, plan["rules"]) + _constant(part, plan["rules"]["constant_from"])
        rows.append({"rater": rater, "session": session} | found | {"left_out": "; ".join(reasons)})
    columns = ["rater", "session", "trials", "answers", "catches", "failed", "median_s", "left_out"]
    return pd.DataFrame(rows, columns=columns)


def _reasons(found: dict, rules: dict) -> list[str]:
    allowed = rules["catch_failures_allowed"] * found["catches"]
    kinds = {
        f"failed {found['failed']} of {found['catches']} catch trials": found["failed"] > allowed,
        f"answered {found['answers']} of {found['trials']}": found["answers"]
        < rules["fewest_answers"] * found["trials"],
        f"median {found['median_s']:.2g} s": found["median_s"] < rules["fastest_median_s"],
    }
    return [reason for reason, true in kinds.items() if true]


def _constant(part: pd.DataFrame, fewest: float) -> list[str]:
    """The kinds of which all answers, catch trials included, are the same.

    To call everything real is not among them: good fills and ten pictures make an honest rater do so, and to leave
    those out would make methods look worse; who does so without a look fails catch trials.
    """
    found = []
    for kind, answers in part.groupby("kind"):
        first = answers["choice"].iloc[0]
        if len(answers) >= fewest and len(set(answers["choice"])) == 1 and first != "real":
            found.append(f"always {first} ({kind})")
    return found


def sessions(votes: pd.DataFrame, plan: dict) -> dict[str, list[int]]:
    r"""Numbers of the sessions that more than one rater answered, `doubled`, and that nobody did, `lacking`.

    The plan is balanced over all of its sessions, each answered once.

    Taught in notebook 09.
    """
    raters = votes.groupby("session")["rater"].nunique()
    doubled = [int(number) for number in raters.index[raters > 1]]
    return {"doubled": doubled, "lacking": sorted(set(range(len(plan["sessions"]))) - set(raters.index))}


def kept(votes: pd.DataFrame, screened: pd.DataFrame) -> pd.DataFrame:
    r"""The votes that count: of raters who stay, without practice and catch trials.

    Taught in notebook 09.
    """
    stay = screened.loc[screened["left_out"] == "", ["rater", "session"]]
    counted = votes[~votes["practice"] & ~votes["catch"]]
    return counted.merge(stay, on=["rater", "session"]).reset_index(drop=True)
