r"""Abilities of all methods on one scale, with intervals over raters and images, and which differences are real.

Taught in notebook 09.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from aotlib.choices import check_choice
from aotlib.comparison import holm
from aotlib.study import bradley_terry, plackett_luce, separation
from aotlib.study.bradley_terry import NoScale
from aotlib.study.resampling import Spread, combined, degrees, variances


class Scale(NamedTuple):
    r"""What `estimate` found.

    Attributes:
        methods: a row a method: `method, ability, low, high`, in logits; the mean of those not in `apart` is 0.
        differences: a row a pair, the better one first: `method, against, difference, low, high, p, p_holm`.
        side: preference for the left in logits, `side, low, high, p`; None for rankings.
        apart: methods that (almost) never won or never lost against the others. One that never did has the ability
            -inf or inf and an interval with one end (`aotlib.study.separation`).
        few: those of `apart` that did win and lose: there are too few votes for the intervals of the others.
    """

    methods: pd.DataFrame
    differences: pd.DataFrame
    side: dict | None
    apart: tuple[str, ...] = ()
    few: tuple[str, ...] = ()


class _Model(NamedTuple):
    """Of the votes of a kind: abilities and side (B, M), (B,) by weights; wins by weights; rivals of a method."""

    fit: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    beaten: separation.Beaten
    rivals: Callable[[int, np.ndarray, float, np.ndarray], tuple[np.ndarray, np.ndarray]]


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

    Intervals and p are those of `aotlib.study.resampling.two_way`, and of `aotlib.study.separation` for methods that
    (almost) never won or never lost; `p_holm` is corrected for all pairs of methods.

    Args:
        votes: that count (`aotlib.study.screening.kept`); other kinds are left aside.

    Raises:
        NoScale: when the votes do not connect all methods; a ValueError.

    Taught in notebook 09.
    """
    votes = votes[votes["kind"] == check_choice("kind", kind, ("pair", "rank"))]
    if votes.empty:
        raise ValueError(f"there is no vote of the kind {kind!r}")
    model, m = (_of_pairs if kind == "pair" else _of_rankings)(votes, methods), len(methods)
    drawn = {"raters": votes["rater"], "images": votes["image"], "n_resamples": n_resamples, "seed": seed}
    group = separation.groups(model.beaten, **drawn)

    def numbers(weights: np.ndarray) -> np.ndarray:
        theta, side = model.fit(weights)
        return _with_differences(theta - theta[:, group == 0].mean(1, keepdims=True), side)

    try:
        value = numbers(np.ones((1, len(votes))))[0]
    except NoScale as error:
        raise NoScale(error.parts, methods) from None
    parts, dof = variances(numbers, **drawn), degrees(votes["rater"], votes["image"])
    spread = Spread(combined(parts), dof)
    low, high = spread.interval(value, confidence)
    table = pd.DataFrame({"value": value, "low": low, "high": high, "p": spread.p(value)})
    one_sided = separation.one_sided(model.beaten(np.ones((1, len(votes))))[0], group)
    if group.any():
        effect = _effect(parts[:, :m], group)
        table = _bounded(table, model, group, effect, stats.t.ppf((1 + confidence) / 2, dof), dof)
    few = tuple(name for name, far, clear in zip(methods, group, one_sided, strict=True) if far and not clear)
    return _scale(table, methods, kind == "pair", group)._replace(few=few)


def _scale(table: pd.DataFrame, methods: Sequence[str], sided: bool, group: np.ndarray) -> Scale:
    """The numbers of `estimate`: of methods, then of their differences, then of the side."""
    m = len(methods)
    scale = table.iloc[:m].rename(columns={"value": "ability"}).drop(columns="p")
    scale.insert(0, "method", list(methods))
    side = table.iloc[-1].rename({"value": "side"}).to_dict() if sided else None
    order = scale.sort_values("ability", ascending=False, ignore_index=True)
    apart = tuple(name for name, number in zip(methods, group, strict=True) if number)
    return Scale(order, _differences(table.iloc[m : m + m * (m - 1) // 2], methods), side, apart)


def _effect(parts: np.ndarray, group: np.ndarray) -> float:
    """How many times larger variances are than those of single votes, (3, M), for the methods of the core."""
    core = parts[:, group == 0]
    if not np.isfinite(core).all():
        return np.nan
    single = core[2].sum()
    return max(combined(core).sum() / single, 1.0) if single > 0 else 1.0


def _bounded(
    table: pd.DataFrame, model: _Model, group: np.ndarray, effect: float, reach: float, dof: int
) -> pd.DataFrame:
    """The same with bounds in place of intervals for methods out of the core and for their differences."""
    table, m, core = table.copy(), len(group), group == 0
    theta, side = table["value"].to_numpy(copy=True)[:m], table["value"].iloc[-1]
    if core.sum() == 1:
        table.loc[np.flatnonzero(core), ["low", "high"]] = np.nan  # the zero of the scale by definition
    rivals = {one: model.rivals(one, theta, side, core) for one in np.flatnonzero(~core).tolist()}
    for one, votes in rivals.items():
        table.loc[one, ["value", "low", "high"]] = separation.bounds(*votes, effect, reach)
    known = table["value"].to_numpy(copy=True)[:m]
    ends = table[["low", "high"]].to_numpy(copy=True)[:m]
    ends[core] = theta[core, None]
    for row, (i, j) in enumerate(zip(*np.triu_indices(m, 1), strict=True), m):
        if group[i] == group[j]:
            continue
        p = (
            np.nan
            if group[i] and group[j]
            else _p(*((i, theta[j]) if group[i] else (j, theta[i])), rivals, effect, dof)
        )
        with np.errstate(invalid="ignore"):
            off = known[i] - known[j]
        table.loc[row] = [off, ends[i, 0] - ends[j, 1], ends[i, 1] - ends[j, 0], p]
    return table


def _p(method: int, level: float, rivals: dict, effect: float, dof: int) -> float:
    """How likely votes as one-sided are if the method has the ability `level`; two-sided."""
    votes = rivals[method]
    return 2 * stats.t.sf(abs(separation.score(level, *votes, effect)), dof) if len(votes[0]) else np.nan


def _of_pairs(votes: pd.DataFrame, methods: Sequence[str]) -> _Model:
    pairs = bradley_terry.pairs_of(votes, methods)
    return _Model(
        lambda weights: bradley_terry.fit(*bradley_terry.tables(pairs, weights)),
        separation.wins_of_pairs(pairs),
        lambda method, theta, side, core: separation.rivals_of_pairs(pairs, method, theta, side, core),
    )


def _of_rankings(votes: pd.DataFrame, methods: Sequence[str]) -> _Model:
    choices = plackett_luce.choices_of(votes, methods)
    return _Model(
        lambda weights: (plackett_luce.fit(choices, weights), np.zeros(len(weights))),
        separation.wins_of_rankings(choices),
        lambda method, theta, _, core: separation.rivals_of_rankings(choices, method, theta, core),
    )


def _with_differences(theta: np.ndarray, side: np.ndarray) -> np.ndarray:
    one, other = np.triu_indices(theta.shape[1], 1)
    return np.concatenate([theta, theta[:, one] - theta[:, other], side[:, None]], axis=1)


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
