r"""Whether the intervals hold what they promise: studies of simulated raters whose true abilities are known.

Taught in notebook 09.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit

from aotlib.study import abilities, answers, plackett_luce, plan, rates, screening, simulate
from aotlib.study.design import BROKEN, TRUTH, Design, schedule
from aotlib.study.simulate import World
from aotlib.study.stimuli import INPUT, Picture

METHODS = ("A", "B", "C", "D")
ABILITIES = {"A": 0.7, "B": 0.1, "C": -0.3, "D": -0.5, TRUTH: 1.5}
MANY = {chr(ord("A") + place): ability for place, ability in enumerate(np.linspace(1, -1, 8))} | {TRUTH: 2.0}
RANKINGS = 400_000  # drawn for the abilities that rankings of infinitely many raters would give


@dataclass(frozen=True)
class Setting:
    r"""A kind of study: the design, the world, how many images, and who answers (careful raters, when empty)."""

    world: World
    design: Design
    n_images: int = 20
    ties: bool = False
    others: tuple[str, ...] = field(default=())  # raters who are not careful, instead of as many who are


_USUAL = Design(sessions=30, pair=36, real=10, practice=0)
SETTINGS = {
    "votes without clusters": Setting(World(ABILITIES, rater_sd=0, image_sd=0), _USUAL),
    "raters and images differ": Setting(World(ABILITIES, side=0.3, side_sd=0.5), _USUAL),
    "images differ much": Setting(World(ABILITIES, rater_sd=0.2, image_sd=1.0), _USUAL),
    "raters differ much": Setting(World(ABILITIES, rater_sd=1.0, image_sd=0.2), _USUAL),
    "small: 12 raters, 10 images": Setting(World(ABILITIES), Design(sessions=12, pair=36, practice=0), n_images=10),
    "eight methods": Setting(World(MANY), Design(sessions=40, pair=56, practice=0), n_images=24),
    "ties allowed": Setting(World(ABILITIES), _USUAL, ties=True),
    "a fifth does not look": Setting(World(ABILITIES), _USUAL, others=("inattentive",) * 4 + ("adversarial",) * 2),
    "rankings of 4": Setting(World(ABILITIES), Design(sessions=30, pair=0, rank=12, practice=0)),
    "one method never wins": Setting(World(ABILITIES | {"D": -7.0}), _USUAL),
    "equal methods": Setting(World(dict.fromkeys(METHODS, 0.0) | {TRUTH: 1.0}), _USUAL),
}


def synthetic_plan(setting: Setting, seed: int) -> dict:
    r"""A plan of the setting without picture files.

    Taught in notebook 09.
    """
    methods = [name for name in setting.world.abilities if name != TRUTH]
    images = [f"image {number}" for number in range(setting.n_images)]
    roles = [(INPUT, ""), (TRUTH, ""), (BROKEN, ""), *[("result", name) for name in methods]]
    cells = [(image, role, name) for image in images for role, name in roles]
    files = {
        f"{number:016x}": Picture(role, image, name, "", "", (1, 1)) for number, (image, role, name) in enumerate(cells)
    }
    design = Design(**{**vars(setting.design), "seed": seed})
    secret = f"simulated {seed}"
    sessions = schedule(methods, images, design, secret=secret)
    return plan.assemble(methods, files, sessions, seed=seed, secret=secret, ties=setting.ties)


def studies(setting: Setting, count: int, *, seed: int = 0, n_resamples: int = 300) -> Iterator[dict]:
    r"""Of each of `count` studies the share of intervals that hold the truth, by what they are about; and more.

    Keys `differences`, `abilities`, `side`, `rates`, `wilson`, `fooled` and `below` (how much less often than
    photographs) are such shares of 95 % intervals, as far as the setting has them; `order` is 1 where the order of all
    methods was found, `best` where the best one was; `any` where a Holm-corrected difference was called significant;
    `careless_found` and `careful_lost` are the shares of careless raters that were left out, and of careful ones.

    Taught in notebook 09.
    """
    truth = _Truth(setting)
    for number in range(count):
        yield truth.study(number + seed * 1_000_000, n_resamples)


def run(
    setting: Setting, count: int, *, seed: int = 0, n_resamples: int = 300, report: Callable[[int], None] | None = None
) -> pd.DataFrame:
    r"""A row a key of `studies`: its mean, the standard error of that, and the number of studies.

    Taught in notebook 09.
    """
    rows = []
    for number, found in enumerate(studies(setting, count, seed=seed, n_resamples=n_resamples), 1):
        rows.append(found)
        if report:
            report(number)
    table = pd.DataFrame(rows)
    return pd.DataFrame({"mean": table.mean(), "error": table.std() / np.sqrt(len(table)), "studies": len(table)})


class _Truth:
    """What holds in a setting, and one study of it held against that."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.world = setting, setting.world
        self.methods = [name for name in self.world.abilities if name != TRUTH]
        self.kind = "pair" if setting.design.pair else "rank"
        if self.kind == "rank":
            self.theta, self.side = ranked_abilities(self.world, self.methods, setting.design.rank_of), None
        else:
            found = simulate.true_abilities(self.world, self.methods, ties=setting.ties)
            self.theta, self.side = found.theta[0], found.side[0]
        score = simulate.true_scores(self.world, self.methods, ties=setting.ties)
        self.rate = (score + 1 - score.T) / 2  # either side as often as the other
        self.real = called_real(self.world, [*self.methods, TRUTH])

    def study(self, seed: int, n_resamples: int) -> dict:
        made = synthetic_plan(self.setting, seed)
        n = self.setting.design.sessions
        raters = [*self.setting.others, *["careful"] * (n - len(self.setting.others))]
        votes = answers.votes(made, simulate.answers(made, self.world, raters=raters, seed=seed))
        screened = screening.screen(votes, made)
        counted = screening.kept(votes, screened)
        drawn = {"n_resamples": n_resamples, "seed": seed}
        scale = abilities.estimate(counted, self.methods, kind=self.kind, **drawn)
        found = self._of_scale(scale) | self._of_rates(counted, drawn)
        out, careless = screened["left_out"] != "", np.arange(n) < len(self.setting.others)
        if careless.any():
            found |= {"careless_found": out[careless].mean()}
        return found | {"careful_lost": out[~careless].mean()}

    def _of_scale(self, scale: abilities.Scale) -> dict:
        zero = self.theta[[name not in scale.apart for name in self.methods]].mean()
        theta = dict(zip(self.methods, self.theta - zero, strict=True))
        one, other = (scale.differences[name].map(theta) for name in ("method", "against"))
        order = list(scale.methods["method"])
        true_order = sorted(self.methods, key=lambda name: -theta[name])
        found = {"differences": _held(scale.differences, one - other).mean()}
        found |= {"abilities": _held(scale.methods, scale.methods["method"].map(theta)).mean()}
        if scale.side:
            found["side"] = float(scale.side["low"] <= self.side <= scale.side["high"])
        return found | {
            "order": float(order == true_order),
            "best": float(order[0] == true_order[0]),
            "any": float((scale.differences["p_holm"] <= 0.05).any()),
        }

    def _of_rates(self, votes: pd.DataFrame, drawn: dict) -> dict:
        found = {}
        if self.kind == "pair":
            table = rates.preferences(votes, self.methods, **drawn)
            places = [table[name].map(self.methods.index) for name in ("method", "against")]
            true = pd.Series(self.rate[places[0], places[1]])
            plain = table.assign(low=table["wilson_low"], high=table["wilson_high"])
            found |= {"rates": _held(table, true).mean(), "wilson": _held(plain, true).mean()}
        if self.setting.design.real:
            table = rates.fooled(votes, self.methods, **drawn)
            true = table["method"].map(self.real)
            found["fooled"] = _held(table, true).mean()
            below = table.assign(low=table["below_low"], high=table["below_high"])[table["method"] != TRUTH]
            found["below"] = _held(below, self.real[TRUTH] - true[below.index]).mean()
        return found


def _held(table: pd.DataFrame, true: pd.Series) -> pd.Series:
    return (table["low"] <= true) & (true <= table["high"])


def called_real(world: World, names: list[str]) -> dict[str, float]:
    r"""How often infinitely many careful raters would call a picture of each kind real.

    Taught in notebook 09.
    """
    places, weights = hermegauss(61)
    sd = {name: 0.0 if name == TRUTH else np.hypot(world.rater_sd, world.image_sd) for name in names}
    ahead = {name: world.abilities[name] - world.credulity + sd[name] * places for name in names}
    return {name: float((expit(ahead[name]) * weights).sum() / weights.sum()) for name in names}


def ranked_abilities(world: World, methods: list[str], rank_of: int, *, n: int = RANKINGS) -> np.ndarray:
    r"""The abilities (M,) that rankings of infinitely many careful raters would give, from `n` that are drawn.

    Taught in notebook 09.
    """
    rng = np.random.default_rng(0)
    theta = np.array([world.abilities[name] for name in methods])
    noise = rng.normal(0, np.hypot(world.rater_sd, world.image_sd), (n, len(theta))) + rng.gumbel(size=(n, len(theta)))
    left_out = rng.random((n, len(theta))).argsort(1) >= rank_of
    orders = np.where(left_out, -np.inf, theta + noise).argsort(1)[:, ::-1][:, :rank_of]
    different, times = np.unique(orders, axis=0, return_counts=True)
    shown = [tuple(methods[i] for i in order) for order in different]
    votes = pd.DataFrame({"shown": shown, "choice": [tuple(range(rank_of))] * len(shown)})
    choices = plackett_luce.choices_of(votes, methods)
    return plackett_luce.fit(choices, times[None].astype(float), prior=0)[0]
