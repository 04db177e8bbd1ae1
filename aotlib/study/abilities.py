r"""Abilities of all methods on one scale, with intervals over raters and images, and which differences are real.

Taught in notebook 09.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from aotlib.choices import check_choice
from aotlib.comparison import holm
from aotlib.study import bradley_terry, plackett_luce
from aotlib.study.bradley_terry import NoScale
from aotlib.study.resampling import two_way


class Scale(NamedTuple):
    r"""What `estimate` found.

    Attributes:
        methods: a row a method: `method, ability, low, high`, in logits, of mean 0.
        differences: a row a pair, the better one first: `method, against, difference, low, high, p, p_holm`.
        side: preference for the left in logits, `side, low, high, p`; None for rankings.
    """

    methods: pd.DataFrame
    differences: pd.DataFrame
    side: dict | None


def estimate(
    votes: pd.DataFrame,
    methods: Sequence[str],
    *,
    kind: str = "pair",
    n_resamples: int = 400,
    seed: int = 0,
    confidence: float = 0.95,
) -> Scale:
    r"""Bradley-Terry abilities of the votes of the kind "pair", Plackett-Luce abilities of the kind "rank".

    Intervals and p are those of `aotlib.study.resampling.two_way`; `p_holm` is corrected for all pairs of methods.

    Args:
        votes: that count (`aotlib.study.screening.kept`); other kinds are left aside.

    Raises:
        NoScale: when the votes do not connect all methods; a ValueError.

    Taught in notebook 09.
    """
    votes = votes[votes["kind"] == check_choice("kind", kind, ("pair", "rank"))]
    if votes.empty:
        raise ValueError(f"there is no vote of the kind {kind!r}")
    numbers = _of_pairs(votes, methods) if kind == "pair" else _of_rankings(votes, methods)
    try:
        value = numbers(np.ones((1, len(votes))))[0]
    except NoScale as error:
        raise NoScale(error.parts, methods) from None
    spread = two_way(numbers, votes["rater"], votes["image"], n_resamples=n_resamples, seed=seed)
    low, high = spread.interval(value, confidence)
    table = pd.DataFrame({"value": value, "low": low, "high": high, "p": spread.p(value)})
    m = len(methods)
    scale = table.iloc[:m].rename(columns={"value": "ability"}).drop(columns="p")
    scale.insert(0, "method", list(methods))
    side = table.iloc[-1].rename({"value": "side"}).to_dict() if kind == "pair" else None
    order = scale.sort_values("ability", ascending=False, ignore_index=True)
    return Scale(order, _differences(table.iloc[m : m + m * (m - 1) // 2], methods), side)


def _of_pairs(votes: pd.DataFrame, methods: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of weights (B, V): abilities, their differences and the side (B, K)."""
    pairs = bradley_terry.pairs_of(votes, methods)

    def numbers(weights: np.ndarray) -> np.ndarray:
        found = bradley_terry.fit(*bradley_terry.tables(pairs, weights))
        return np.concatenate([_with_differences(found.theta), found.side[:, None]], axis=1)

    return numbers


def _of_rankings(votes: pd.DataFrame, methods: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
    choices = plackett_luce.choices_of(votes, methods)
    return lambda weights: _with_differences(plackett_luce.fit(choices, weights))


def _with_differences(theta: np.ndarray) -> np.ndarray:
    one, other = np.triu_indices(theta.shape[1], 1)
    return np.concatenate([theta, theta[:, one] - theta[:, other]], axis=1)


def _differences(table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """The pairs of methods, each turned so that its difference is not below 0."""
    places = np.stack(np.triu_indices(len(methods), 1), axis=1)
    turned = table["value"].to_numpy() < 0
    places[turned] = places[turned, ::-1]
    ends = table[["low", "high"]].to_numpy(copy=True)
    ends[turned] = -ends[turned, ::-1]
    names = np.array(methods, dtype=object)
    found = {
        "method": names[places[:, 0]],
        "against": names[places[:, 1]],
        "difference": abs(table["value"].to_numpy()),
    }
    found |= {"low": ends[:, 0], "high": ends[:, 1], "p": table["p"].to_numpy()}
    found = pd.DataFrame(found)
    return found.assign(p_holm=holm(found["p"])).sort_values("difference", ascending=False, ignore_index=True)
