r"""Raters of known taste, to try a study on before people give their time: their answers say that they are simulated.

Every rater and every image has tastes of its own around the methods' abilities, so that votes come in clusters as
people's do; some raters lean to a side, tire, do not look, or answer against their judgement.

Taught in notebook 09.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit

from aotlib.choices import check_choice
from aotlib.records import write_json
from aotlib.study import bradley_terry
from aotlib.study.design import BROKEN, TRUTH
from aotlib.study.forms import FORMAT
from aotlib.study.plan import identity

START = datetime(2026, 1, 5, 9, tzinfo=UTC)  # when the first simulated rater sits down
FAR = 8.0  # logits by which a broken fill is below everything else
TYPICAL_S, SPREAD_S = 4.0, 0.5  # median time to a choice, and the deviation of its logarithm


@dataclass(frozen=True)
class Rater:
    r"""How a rater answers.

    Attributes:
        side: added to the left's ability, in logits.
        lapses: share of answers given without a look.
        tires: share of lapses that comes on top at the end of the session, growing from 0 at its start.
        against: whether the rater means the opposite of what it says.
        pace: median seconds to a choice.
    """

    side: float = 0.0
    lapses: float = 0.0
    tires: float = 0.0
    against: bool = False
    pace: float = TYPICAL_S


KINDS = {
    "careful": Rater(),
    "leaning": Rater(side=1.5),
    "tired": Rater(tires=0.6),
    "inattentive": Rater(lapses=1.0, pace=0.6),
    "adversarial": Rater(against=True),
}


@dataclass(frozen=True)
class World:
    r"""What is true of a simulated study.

    Attributes:
        abilities: of every method and of "truth", in logits; higher looks more natural.
        rater_sd, image_sd: deviation of a method's ability from rater to rater, and from image to image.
        side: preference of all raters for the left, in logits, and `side_sd` how it varies between them.
        draw: how often close fills are called a tie, where the plan allows it: Davidson's parameter, 0 = never.
        credulity: ability at which a single picture is called real half of the time.
    """

    abilities: Mapping[str, float]
    rater_sd: float = 0.4
    image_sd: float = 0.6
    side: float = 0.0
    side_sd: float = 0.0
    draw: float = 0.4
    credulity: float = 0.0


def answers(plan: dict, world: World, *, raters: Sequence[str | Rater] | None = None, seed: int = 0) -> list[dict]:
    r"""Answers as a page would send them, one rater a session; each says ``"simulated": true``.

    Args:
        raters: for the first session, the second, ...: one of `KINDS` or a `Rater`; careful ones, when not given.

    Raises:
        ValueError: when a method has no ability, or there are more raters than sessions.

    Taught in notebook 09.
    """
    raters = ["careful"] * len(plan["sessions"]) if raters is None else list(raters)
    if len(raters) > len(plan["sessions"]):
        raise ValueError(f"{len(raters)} raters for {len(plan['sessions'])} sessions: plan one session a rater")
    if lacking := {*plan["methods"], TRUTH} - set(world.abilities):
        raise ValueError(f"world.abilities has no value for {', '.join(sorted(lacking))}")
    rng, about = np.random.default_rng(seed), identity(plan)
    scene = _Scene(plan, world, rng)
    found = []
    for session, kind in enumerate(raters):
        rater = KINDS[check_choice("rater", kind, KINDS)] if isinstance(kind, str) else kind
        head = {"format": FORMAT, "plan": about, "session": session, "rater": rng.bytes(16).hex(), "simulated": True}
        given = scene.session(session, replace(rater, side=rater.side + rng.normal(world.side, world.side_sd)))
        found.append(head | {"viewport": None, "answers": given})
    return found


def write(given: Sequence[dict], folder: str | Path) -> list[Path]:
    r"""Each rater's answers lie in `folder` as ``simulated-SESSION-RATER.json``.

    Taught in notebook 09.
    """
    names = [f"simulated-{one['session']:03d}-{one['rater'][:8]}.json" for one in given]
    return [write_json(Path(folder, name), one) for name, one in zip(names, given, strict=True)]


class _Scene:
    """Abilities of everything that can be shown, image by image, and how a rater chooses among them."""

    def __init__(self, plan: dict, world: World, rng: np.random.Generator) -> None:
        self.plan, self.world, self.rng = plan, world, rng
        self.names = [*plan["methods"], TRUTH]
        self.images = {image: row for row, image in enumerate(plan["images"])}
        mean = np.array([world.abilities[name] for name in self.names])
        self.varies = np.array([name != TRUTH for name in self.names])  # the photograph is what all agree on
        self.ability = mean + rng.normal(0, world.image_sd, (len(self.images), len(mean))) * self.varies
        self.name_of = {key: file["method"] or file["role"] for key, file in plan["files"].items()}

    def session(self, number: int, rater: Rater) -> list[dict]:
        taste = self.rng.normal(0, self.world.rater_sd, len(self.names)) * self.varies
        trials = self.plan["sessions"][number]["trials"]
        at, given = START + timedelta(minutes=30 * number), []
        for place, trial in enumerate(trials):
            seconds = float(rater.pace * np.exp(self.rng.normal(0, SPREAD_S)))
            seconds = round(max(seconds, self.plan["minimum_s"]), 3)
            at += timedelta(seconds=seconds)
            looks = self.rng.random() >= rater.lapses + rater.tires * place / len(trials)
            choice = self._choice(trial, taste, rater, looks)
            when = at.isoformat(timespec="milliseconds")
            given.append({"trial": trial["trial"], "choice": choice, "seconds": seconds, "at": when})
        return given

    def _choice(self, trial: dict, taste: np.ndarray, rater: Rater, looks: bool) -> str | list[int]:
        sign = -1 if rater.against else 1
        row = self.ability[self.images[trial["image"]]] + taste
        seen = [self.name_of[file] for file in trial["shown"]]
        levels = np.array([row.min() - FAR if name == BROKEN else row[self.names.index(name)] for name in seen])
        levels = sign * levels if looks else np.zeros(len(seen))
        if trial["kind"] == "rank":
            return np.argsort(-(levels + self.rng.gumbel(size=len(levels)))).tolist()
        if trial["kind"] == "real":
            real = expit(levels[0] - sign * self.world.credulity) if looks else 0.5
            return "real" if self.rng.random() < real else "fake"
        return self._of_two(levels[0] - levels[1] + rater.side)

    def _of_two(self, ahead: float) -> str:
        """The left is ahead by so many logits: left, right, or, in Davidson's model, a tie."""
        draw = self.world.draw if self.plan["ties"] else 0.0
        weights = np.array([np.exp(ahead / 2), np.exp(-ahead / 2), draw])
        return ("left", "right", "tie")[self.rng.choice(3, p=weights / weights.sum())]


def true_scores(world: World, methods: Sequence[str], *, ties: bool = False) -> np.ndarray:
    r"""What infinitely many careful raters and images would give: the share of votes (M, M) for the method of the row.

    The row's method is on the left; a tie is half a vote.

    Taught in notebook 09.
    """
    sd = np.sqrt(2 * (world.rater_sd**2 + world.image_sd**2) + world.side_sd**2)
    theta = np.array([world.abilities[name] for name in methods])
    places, weights = hermegauss(61)
    ahead = (theta[:, None] - theta + world.side)[..., None] + sd * places
    draw = world.draw if ties else 0.0
    score = (np.exp(ahead / 2) + draw / 2) / (np.exp(ahead / 2) + np.exp(-ahead / 2) + draw)
    return (score * weights).sum(-1) / weights.sum()


def true_abilities(world: World, methods: Sequence[str], *, ties: bool = False) -> bradley_terry.Abilities:
    r"""The abilities (1, M) that an interval should hold: those of infinitely many careful raters and images.

    Tastes that vary flatten the mean preference, so that these lie closer together than the abilities of a single
    rater on a single image.

    Taught in notebook 09.
    """
    left = true_scores(world, methods, ties=ties)
    different = 1 - np.eye(len(left))
    return bradley_terry.fit((left * different)[None], ((1 - left) * different)[None], prior=0)
