r"""Abilities of methods from votes between two: the model of Bradley and Terry with a preference for a side.

.. math:: P(l \text{ preferred to } r) = \sigma(\theta_l - \theta_r + \delta), \qquad \textstyle\sum_m \theta_m = 0

with :math:`l` on the left, and :math:`\delta` > 0 where raters lean to the left (Bradley and Terry, Biometrika 39,
1952; the side as in Davidson and Beaver, Biometrics 33, 1977). Many weighted copies of the same votes are fitted at
once, by Newton's method, so that a bootstrap takes less than a second.

Taught in notebook 09.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

WON = {"left": 1.0, "right": 0.0, "tie": 0.5}
PRIOR = 0.1  # wins that each method of a compared pair has beforehand, which keeps one that never lost finite
STEPS, LARGEST, CLOSE = 60, 1.0, 1e-9  # of Newton's method: at most so many, so long, until they are so short


class NoScale(ValueError):
    r"""Votes do not connect all methods: there is no scale for them. `parts` are numbers of those that are connected.

    >>> print(NoScale([[0, 1], [2]], ["ours", "Telea", "grey"]))
    no votes connect these groups, so that their methods have no common scale: ours, Telea | grey

    Taught in notebook 09.
    """

    def __init__(self, parts: list[list[int]], methods: Sequence[str] | None = None) -> None:
        self.parts = parts
        said = [", ".join(str(number) if methods is None else methods[number] for number in part) for part in parts]
        told = "no votes connect these groups, so that their methods have no common scale"
        super().__init__(f"{told}: {' | '.join(said)}")


def check_connected(together: np.ndarray) -> None:
    r"""Raises `NoScale` unless every method is connected with every other one by votes; `together` is (M, M).

    Taught in notebook 09.
    """
    count, label = connected_components(together, directed=False)
    if count > 1:
        raise NoScale([np.flatnonzero(label == part).tolist() for part in range(count)])


class Pairs(NamedTuple):
    r"""Votes between two: places in `methods` of the left and the right one (V,), and `won` (V,): 1 left, 0.5 tie."""

    left: np.ndarray
    right: np.ndarray
    won: np.ndarray
    methods: tuple[str, ...]


class Abilities(NamedTuple):
    r"""`theta` (B, M), each row summing to 0, and `side` (B,)."""

    theta: np.ndarray
    side: np.ndarray


def pairs_of(votes: pd.DataFrame, methods: Sequence[str]) -> Pairs:
    r"""The votes of the kind "pair" (of `aotlib.study.answers.votes`) by number; a tie is half a win each.

    Taught in notebook 09.
    """
    place = {name: number for number, name in enumerate(methods)}
    left, right = (np.array([place[names[side]] for names in votes["shown"]], dtype=int) for side in (0, 1))
    return Pairs(left, right, votes["choice"].map(WON).to_numpy(np.float64), tuple(methods))


def tables(pairs: Pairs, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""Votes for the left and for the right (B, M, M), rows by the method on the left, columns by the one on the right.

    Args:
        weights: (B, V), how often each vote counts; once, when not given.

    >>> pairs = Pairs(np.array([0, 1]), np.array([1, 0]), np.array([1.0, 0.5]), ("a", "b"))
    >>> [table[0].tolist() for table in tables(pairs)]
    [[[0.0, 1.0], [0.5, 0.0]], [[0.0, 0.0], [0.5, 0.0]]]

    Taught in notebook 09.
    """
    n_votes, m = len(pairs.won), len(pairs.methods)
    weights = np.ones((1, n_votes)) if weights is None else weights
    cell = pairs.left * m + pairs.right
    both = []
    for share in (pairs.won, 1 - pairs.won):
        sums = coo_array((share, (cell, np.arange(n_votes))), shape=(m * m, n_votes)).tocsr() @ weights.T
        both.append(sums.T.reshape(-1, m, m))
    return both[0], both[1]


def fit(left: np.ndarray, right: np.ndarray, *, side: bool = True, prior: float = PRIOR) -> Abilities:
    r"""The abilities that make the votes of `tables` most likely, one set a row.

    Args:
        left, right: (B, M, M), as of `tables`.
        side: whether a preference for a side is fitted; else it is 0.
        prior: wins that each of two compared methods gets beforehand, half of them on either side.

    Raises:
        NoScale: when votes do not connect all methods.

    Taught in notebook 09.
    """
    compared = (left + right).sum(0)
    compared = (compared + compared.T) > 0
    check_connected(compared)
    left, n = left + compared * prior / 2, left + right + compared * prior
    b, m = len(left), left.shape[1]
    x = np.zeros((b, m + 1))  # theta, then the side
    for _ in range(STEPS):
        step = _step(x, left, n, side)
        x += step * np.minimum(1, LARGEST / np.maximum(abs(step).max(1), 1e-300))[:, None]
        if abs(step).max() < CLOSE:
            break
    return Abilities(x[:, :m] - x[:, :m].mean(1, keepdims=True), x[:, m])


def _step(x: np.ndarray, left: np.ndarray, n: np.ndarray, side: bool) -> np.ndarray:
    """Newton's step (B, M + 1)."""
    m = left.shape[1]
    p = chance(x[:, :m], x[:, m])
    off, w = left - n * p, n * p * (1 - p)
    slope = np.concatenate([off.sum(2) - off.sum(1), off.sum((1, 2))[:, None]], axis=1)
    bend = np.zeros((len(x), m + 1, m + 1))
    bend[:, :m, :m] = 1 - w - w.transpose(0, 2, 1)  # the ones keep the sum of theta where it is
    bend[:, range(m), range(m)] += w.sum(2) + w.sum(1)
    bend[:, :m, m] = bend[:, m, :m] = w.sum(2) - w.sum(1)
    bend[:, m, m] = w.sum((1, 2))
    if not side:
        slope[:, m], bend[:, m, :], bend[:, :, m], bend[:, m, m] = 0, 0, 0, 1
    return np.linalg.solve(bend, slope[..., None])[..., 0]


def chance(theta: np.ndarray, side: np.ndarray | float = 0.0) -> np.ndarray:
    r"""How likely the method of a row is preferred to that of a column, (..., M, M), the row's being on the left.

    >>> chance(np.array([np.log(3), 0.0])).round(2).tolist()
    [[0.5, 0.75], [0.25, 0.5]]

    Taught in notebook 09.
    """
    return expit(theta[..., :, None] - theta[..., None, :] + np.asarray(side)[..., None, None])
