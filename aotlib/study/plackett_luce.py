r"""Abilities of methods from rankings: the model of Plackett and Luce, which is Bradley and Terry's for more than two.

A ranking is a row of choices: the best of all that are shown, then the best of those that are left,

.. math:: P(i \text{ from } S) = e^{\theta_i} \big/ \textstyle\sum_{j \in S} e^{\theta_j}

(Luce, Individual Choice Behavior, 1959; Plackett, Applied Statistics 24, 1975). Only how often each set was chosen from
and each method was chosen matters, so that many weighted copies of the same rankings are fitted at once.

Taught in notebook 09.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array

from aotlib.study.bradley_terry import CLOSE, LARGEST, PRIOR, STEPS, check_connected


class Choices(NamedTuple):
    r"""Choices of one method out of a set.

    Attributes:
        sets: (S, M), bool, the different sets; those of two that the prior is about are among them.
        ranking, set_, best: (C,), of each choice: which ranking it belongs to, its set, the place of the chosen one.
        n_rankings: how many there are.
    """

    sets: np.ndarray
    ranking: np.ndarray
    set_: np.ndarray
    best: np.ndarray
    n_rankings: int


def choices_of(votes: pd.DataFrame, methods: Sequence[str]) -> Choices:
    r"""The votes of the kind "rank" (of `aotlib.study.answers.votes`), each as the choices that it consists of.

    Taught in notebook 09.
    """
    place = {name: number for number, name in enumerate(methods)}
    orders = [[place[names[i]] for i in order] for names, order in zip(votes["shown"], votes["choice"], strict=True)]
    stages = [(row, frozenset(order[i:]), order[i]) for row, order in enumerate(orders) for i in range(len(order) - 1)]
    together = {frozenset((a, b)) for names in {one for _, one, _ in stages} for a in names for b in names if a != b}
    known = {names: number for number, names in enumerate(sorted({one for _, one, _ in stages} | together, key=sorted))}
    sets = np.zeros((len(known), len(methods)), dtype=bool)
    for names, number in known.items():
        sets[number, list(names)] = True
    ranking, set_, best = np.array([(row, known[names], first) for row, names, first in stages], dtype=int).T
    return Choices(sets, ranking, set_, best, len(orders))


def counts(choices: Choices, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""How often each set was chosen from (B, S), and each method was chosen (B, M).

    Args:
        weights: (B, V), how often each ranking counts; once, when not given.

    Taught in notebook 09.
    """
    weights = np.ones((1, choices.n_rankings)) if weights is None else weights
    found = []
    for rows, height in zip((choices.set_, choices.best), choices.sets.shape, strict=True):
        shape = (height, choices.n_rankings)
        found.append((coo_array((np.ones(len(rows)), (rows, choices.ranking)), shape=shape).tocsr() @ weights.T).T)
    return found[0], found[1]


def fit(choices: Choices, weights: np.ndarray | None = None, *, prior: float = PRIOR) -> np.ndarray:
    r"""The abilities (B, M), each row summing to 0, that make the weighted rankings most likely.

    Args:
        prior: wins that each of two methods gets over the other beforehand, where both stood in a ranking.

    Raises:
        NoScale: when rankings do not connect all methods.

    Taught in notebook 09.
    """
    together = choices.sets[choices.sets.sum(1) == 2].astype(float)
    check_connected(together.T @ together)
    shown, won = counts(choices, weights)
    shown = shown + 2 * prior * (choices.sets.sum(1) == 2)
    won = won + prior * together.sum(0)
    theta = np.zeros_like(won)
    for _ in range(STEPS):
        step = _step(theta, shown, won, choices.sets)
        theta += step * np.minimum(1, LARGEST / np.maximum(abs(step).max(1), 1e-300))[:, None]
        if abs(step).max() < CLOSE:
            break
    return theta - theta.mean(1, keepdims=True)


def _step(theta: np.ndarray, shown: np.ndarray, won: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Newton's step (B, M)."""
    p = np.exp(theta)[:, None] * sets  # (B, S, M)
    p /= p.sum(2, keepdims=True)
    expected = (shown[..., None] * p).sum(1)
    bend = 1 - np.einsum("bs,bsi,bsj->bij", shown, p, p, optimize=True)  # the one keeps the sum of theta where it is
    bend[:, range(theta.shape[1]), range(theta.shape[1])] += expected
    return np.linalg.solve(bend, (won - expected)[..., None])[..., 0]
