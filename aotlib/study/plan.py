r"""A study written down before anyone is asked: questions, pictures, sessions and the rule that leaves raters out.

The plan holds the key (which file is whose) and stays with the researcher; `public` is what a rater's page may know.

Taught in notebook 09.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from aotlib.choices import nearest
from aotlib.records import write_json
from aotlib.study import keys, stimuli
from aotlib.study.catches import right_choice
from aotlib.study.design import BROKEN, KINDS, TRUTH, Design, schedule
from aotlib.study.stimuli import INPUT, Picture

FORMAT, PUBLIC = "aotlib-study-plan-1", "aotlib-study-session-1"
QUESTIONS = {
    "pair": "Which of the two fills looks more natural?",
    "real": "Is this photograph real, or was a part of it filled in by a computer?",
    "rank": "Order the fills, the most natural one first.",
}
CONSENT = (
    "You will compare pictures in which a part was filled in by a computer. Your choices and the time you take are "
    "stored under a random number, nothing else about you. You may stop at any time by closing the page."
)
RULES = {  # who is left out, fixed before anyone answers
    "catch_failures_allowed": 0.2,  # share of the catch trials
    "fewest_answers": 0.8,  # share of the trials of a session
    "fastest_median_s": 1.0,  # median time to a choice
    "constant_from": 10,  # so many answers of one kind, all the same
}
INPUTS_OF = ("pair", "rank")  # kinds that show the picture with its hole beside the fills


def make(
    methods: Mapping[str, str | Path],
    truth: str | Path,
    out_dir: str | Path,
    *,
    masks: str | Path | None = None,
    inputs: str | Path | None = None,
    only: str = "",
    hole: str = "white",
    design: Design | None = None,
    title: str = "Which fill looks more natural?",
    question: Mapping[str, str] | None = None,
    consent: str = CONSENT,
    minimum_s: float = 0.5,
    ties: bool = False,
    rules: Mapping[str, float] | None = None,
    secret: str | None = None,
) -> Path:
    r"""``out_dir/plan.json`` holds the plan, ``out_dir/pictures`` its pictures; the path of the former.

    Args:
        methods: a folder of results by name of the method; the same file names in all, as in `truth`.
        masks: the masks, or `inputs`, the pictures with holes: one of the two.
        only: a subfolder of all these folders, the only one that is taken; images keep its name.
        hole: the colour that marks the hole in masks.
        minimum_s: seconds before a choice is taken.
        ties: whether a rater may say that neither is better.
        question, rules: what differs from `QUESTIONS` and `RULES`.
        secret: what all names and draws follow from; random, when not given. With the same one, the same seed and
            pictures give the same plan, and whoever knows it can tell whose picture is whose: give one to studies
            only that no person will see.

    Raises:
        ValueError: when the folders do not fit together or the design is impossible; nothing is written then.
        FileExistsError: when `out_dir` has a plan, which answers may belong to.

    Taught in notebook 09.
    """
    out_dir, design = Path(out_dir), design or Design()
    if (out_dir / "plan.json").exists():
        raise FileExistsError(f"{out_dir} holds a plan already, and answers may belong to it: name another folder")
    if (masks is None) == (inputs is None):
        raise ValueError("give either masks or inputs: the masked pictures are drawn from truth and mask, or taken")
    more = {"masks": masks} if inputs is None else {"inputs": inputs}
    if clash := {"masks", "inputs", TRUTH, BROKEN} & set(methods):
        raise ValueError(f"a method cannot be called {', '.join(map(repr, clash))}: give it another name")
    files = stimuli.pair_up({**methods, **more}, truth, only)
    secret = secrets.token_bytes(32).hex() if secret is None else secret
    sessions = schedule(list(methods), list(files), design, secret=secret)
    rng = keys.generator(secret, "broken", design.seed)
    pictures = stimuli.write_pictures(files, out_dir, partial(keys.name, secret, "picture"), hole=hole, rng=rng)
    said = {"title": title, "consent": consent, "question": question, "rules": rules, "secret": secret}
    plan = assemble(methods, pictures, sessions, seed=design.seed, minimum_s=minimum_s, ties=ties, **said)
    return write_json(out_dir / "plan.json", plan)


def assemble(
    methods: Sequence[str],
    pictures: Mapping[str, Picture],
    sessions: Sequence[Sequence[dict]],
    *,
    seed: int,
    secret: str,
    title: str = "",
    question: Mapping[str, str] | None = None,
    consent: str = CONSENT,
    minimum_s: float = 0.5,
    ties: bool = False,
    rules: Mapping[str, float] | None = None,
) -> dict:
    r"""The content of plan.json; `pictures` by id, `sessions` of `aotlib.study.design.schedule`.

    Raises:
        ValueError: for a question or rule that there is not, and for an empty secret.
    """
    if not secret:
        raise ValueError("the secret of a plan is empty: anyone could compute whose picture is whose; leave it out")
    place = {(one.image, one.method or one.role): name for name, one in pictures.items()}
    return {
        "format": FORMAT,
        "title": title,
        "seed": seed,
        "secret": secret,
        "question": QUESTIONS | _known(question, QUESTIONS, "question"),
        "consent": consent,
        "minimum_s": float(minimum_s),
        "ties": ties,
        "rules": RULES | _known(rules, RULES, "rule"),
        "methods": list(methods),
        "images": sorted({one.image for one in pictures.values()}),
        "files": {name: one._replace(size=list(one.size))._asdict() for name, one in pictures.items()},
        "sessions": [_session(number, trials, secret, place) for number, trials in enumerate(sessions)],
    }


def _known(given: Mapping | None, known: Mapping, what: str) -> dict:
    for name in given or {}:
        if name not in known:
            raise ValueError(f"no {what} is called {name!r}; {nearest(name, known)}")
    return dict(given or {})


def _session(number: int, trials: Sequence[dict], secret: str, place: Mapping[tuple[str, str], str]) -> dict:
    names = [keys.name(secret, "trial", number, at) for at in range(len(trials))]
    return {"session": number, "trials": [_written(*one, place) for one in zip(trials, names, strict=True)]}


def _written(trial: dict, name: str, place: Mapping[tuple[str, str], str]) -> dict:
    """A trial as it stands in plan.json: ids in the place of names."""
    image = trial["image"]
    before = place[image, INPUT] if trial["kind"] in INPUTS_OF else None
    return {"trial": name} | trial | {"input": before, "shown": [place[image, one] for one in trial["shown"]]}


def read(path: str | Path, *, check_files: bool = False) -> dict:
    r"""The plan at `path`, a plan.json or its folder.

    Args:
        check_files: whether every picture is held against its SHA-256.

    Raises:
        ValueError: when it is no plan, or a picture is missing or not the one that was planned with.

    Taught in notebook 09.
    """
    path = Path(path)
    path = path / "plan.json" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{path} does not exist; a plan is made by `aotlib study plan`")
    plan = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(plan, dict) or plan.get("format") != FORMAT:
        raise ValueError(f"{path} is no plan: it has not the format {FORMAT}")
    for one in plan["files"].values() if check_files else ():
        file = path.parent / one["path"]
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != one["sha256"]:
            raise ValueError(f"{file} is {'changed' if file.is_file() else 'missing'}: the plan was made with another")
    return plan


def identity(plan: dict) -> str:
    r"""The SHA-256 by which answers say which plan they belong to: of its JSON with sorted keys and no spaces.

    >>> identity({"b": 1, "a": [2.0]}) == hashlib.sha256(b'{"a":[2.0],"b":1}').hexdigest()
    True

    Taught in notebook 09.
    """
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def public(plan: dict, session: int) -> dict:
    r"""What a rater's page may know of a session: neither secret nor names of methods or images, no paths, and not what
    is a catch.

    Practice trials with a right choice tell it (`right`), so that a page can say whether it was found.

    Raises:
        ValueError: when the plan has no such session.

    Taught in notebook 09.
    """
    if not 0 <= session < len(plan["sessions"]):
        raise ValueError(f"session {session}: the plan has the sessions 0 to {len(plan['sessions']) - 1}")
    said = {"format": PUBLIC} | {key: plan[key] for key in ("title", "consent", "minimum_s", "ties")}
    trials = plan["sessions"][session]["trials"]
    kinds = {trial["kind"] for trial in trials}
    said["question"] = {kind: plan["question"][kind] for kind in KINDS if kind in kinds}
    return said | {"plan": identity(plan), "session": session, "trials": [_seen(plan, trial) for trial in trials]}


def _seen(plan: dict, trial: dict) -> dict:
    """A trial as its rater may know it: in practice with the right choice, where there is one."""
    told = {key: trial[key] for key in ("trial", "kind", "practice", "input", "shown")}
    files = [plan["files"][name] for name in trial["shown"]]
    right = right_choice(trial["kind"], [file["method"] or file["role"] for file in files])
    found = trial["practice"] and right is not None
    return told | {"size": files[0]["size"]} | ({"right": right} if found else {})
