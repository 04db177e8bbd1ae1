r"""Methods that (almost) never won or never lost: their ability has no most likely value, and an interval one end.

Abilities are finite where from every method a chain of wins leads to every other one (Ford, American Mathematical
Monthly 64, 1957). Where it does not, in the votes or in more than a few draws of raters and images, the ability of such
a method is held against the others alone, which are taken as known: the values :math:`u` that Rao's score test does not
reject,

.. math:: \frac{\left(\sum_v p_v(u) - k\right)^2}{d \sum_v p_v(u) (1 - p_v(u))} \le t^2

with :math:`k` wins, chances :math:`p_v` of its votes, and their design effect :math:`d`. Against one other method this
is Wilson's interval. Taught in notebook 09.
"""

from collections.abc import Callable
from itertools import islice

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, logsumexp

from aotlib.study.bradley_terry import Pairs, tables
from aotlib.study.plackett_luce import Choices
from aotlib.study.resampling import draws

RARE = 0.025  # share of draws without a chain of wins: beyond, an end of a 95 % interval is infinite
EXTREME = 0.1  # share of wins, or of losses, up to which a method (almost) never won or lost
FEWEST = 10  # votes against the largest group that can say so alone
FURTHEST = 40.0  # logits beyond all others at which an end is looked for
Beaten = Callable[[np.ndarray], np.ndarray]  # how often each vote counts (B, V) -> wins of row over column (B, M, M)


def linked(wins: np.ndarray) -> np.ndarray:
    r"""Whether chains of wins lead from the one to the other and back, (B, M, M), from wins (B, M, M).

    >>> linked(np.array([[[0, 1, 1], [1, 0, 1], [0, 0, 0]]]))[0].astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]

    Taught in notebook 09.
    """
    m = wins.shape[1]
    reach = (wins > 0) | np.eye(m, dtype=bool)
    for _ in range(m.bit_length()):
        reach = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
    return reach & reach.transpose(0, 2, 1)


def groups(
    beaten: Beaten, raters: pd.Series, images: pd.Series, *, n_resamples: int = 400, seed: int = 0
) -> np.ndarray:
    r"""The number of the group of each method (M,), 0 for the largest: within a group differences are finite.

    Taught in notebook 09.
    """
    together = linked(beaten(np.ones((1, len(raters)))))[0]
    for weights in islice(draws(raters, images, n_resamples=n_resamples, seed=seed), 2):
        together &= linked(beaten(weights)).mean(0) >= 1 - RARE
    _, label = connected_components(together, directed=False)
    largest = np.argsort(-np.bincount(label), kind="stable")
    return np.argsort(largest)[label]


def one_sided(wins: np.ndarray, group: np.ndarray) -> np.ndarray:
    r"""Whether each method (M,) out of group 0 won (almost) never or always, against all others or against that group.

    Where it did neither, votes are too few to connect it: in themselves, or in as many draws as `groups` asks for.

    Args:
        wins: of row over column (M, M).

    >>> one_sided(np.array([[0, 9, 2, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]), np.array([0, 1, 2, 3])).tolist()
    [False, True, False, False]

    Taught in notebook 09.
    """
    core, others = group == 0, ~np.eye(len(group), dtype=bool)
    won, lost = (np.where(others, table, 0.0) for table in (wins, wins.T))

    def extreme(against: np.ndarray, fewest: int) -> np.ndarray:
        ends = np.stack([table[:, against].sum(1) for table in (won, lost)])
        return (ends.sum(0) >= fewest) & (ends.min(0) <= EXTREME * ends.sum(0))

    return ~core & (extreme(np.ones_like(core), 1) | extreme(core, FEWEST))


def wins_of_pairs(pairs: Pairs) -> Beaten:
    r"""Wins of each method over each other one; a tie is half a win each.

    Taught in notebook 09.
    """

    def beaten(weights: np.ndarray) -> np.ndarray:
        left, right = tables(pairs, weights)
        return left + right.transpose(0, 2, 1)

    return beaten


def wins_of_rankings(choices: Choices) -> Beaten:
    r"""How often each method stood before each other one in a ranking.

    Taught in notebook 09.
    """
    m = choices.sets.shape[1]
    before = np.zeros((choices.n_rankings, m, m))
    np.add.at(
        before, (choices.ranking, choices.best), choices.sets[choices.set_] & ~np.eye(m, dtype=bool)[choices.best]
    )
    return lambda weights: np.tensordot(weights, before, axes=1)


def rivals_of_pairs(
    pairs: Pairs, method: int, theta: np.ndarray, side: float, core: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Of the votes between the method and others of the core, (V,): its ability at which it wins half, and wins.

    Taught in notebook 09.
    """
    on_left, on_right = (pairs.left == method) & core[pairs.right], (pairs.right == method) & core[pairs.left]
    level = np.concatenate([theta[pairs.right[on_left]] - side, theta[pairs.left[on_right]] + side])
    return level, np.concatenate([pairs.won[on_left], 1 - pairs.won[on_right]])


def rivals_of_rankings(
    choices: Choices, method: int, theta: np.ndarray, core: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""The same of choices from sets; who is neither the method nor of the core is taken out of the set.

    Taught in notebook 09.
    """
    rivals = choices.sets[choices.set_] & core & (np.arange(len(theta)) != method)
    usable = choices.sets[choices.set_, method] & rivals.any(1) & (core[choices.best] | (choices.best == method))
    rivals, best = rivals[usable], choices.best[usable]
    return logsumexp(np.where(rivals, theta, -np.inf), axis=1), (best == method).astype(float)


def score(ability: float, level: np.ndarray, won: np.ndarray, effect: float) -> float:
    r"""The root of the statistic above, positive where the ability promises more wins than there were.

    Taught in notebook 09.
    """
    p, not_p = expit(ability - level), expit(level - ability)
    return float((p.sum() - won.sum()) / np.sqrt(effect * (p * not_p).sum()))


def bounds(level: np.ndarray, won: np.ndarray, effect: float, reach: float) -> tuple[float, float, float]:
    r"""The most likely ability and both ends of its interval, infinite where votes say nothing; nan without votes.

    Args:
        reach: quantile of Student's t.

    >>> [round(end, 3) for end in bounds(np.zeros(20), np.zeros(20), 1.0, 1.96)]
    [-inf, -inf, -1.65]

    Taught in notebook 09.
    """
    if not len(level) or not np.isfinite(reach * effect):
        return np.nan, np.nan, np.nan
    least, most = level.min() - FURTHEST, level.max() + FURTHEST
    never, always = not won.any(), (won == 1).all()

    def at(wanted: float) -> float:
        return brentq(lambda ability: score(ability, level, won, effect) - wanted, least, most)

    best = -np.inf if never else np.inf if always else at(0.0)
    return best, -np.inf if never else at(-reach), np.inf if always else at(reach)
