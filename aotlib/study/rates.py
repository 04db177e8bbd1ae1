r"""Shares of votes: how often one fill is preferred to another, and how often it is taken for a photograph.

Every share has two intervals. Wilson's treats each vote as independent, as most papers do. The other is Wilson's with
as many votes as the clustered ones are worth, :math:`n / d` with the design effect :math:`d`: how many times larger the
variance is than that of independent votes. Taught in notebook 09.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.sparse import coo_array
from statsmodels.stats.proportion import proportion_confint

from aotlib.comparison import holm
from aotlib.study import contrast
from aotlib.study.bradley_terry import WON, Pairs, pairs_of
from aotlib.study.design import TRUTH
from aotlib.study.resampling import Spread, Statistic, two_way


def wilson(
    wins: np.ndarray, n: np.ndarray, *, confidence: float = 0.95, dof: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    r"""Both ends of the interval of a share (Wilson, JASA 22, 1927); nan where `n` is 0.

    .. math:: \frac{\hat{p} + z^2/2n \pm z \sqrt{\hat{p}(1 - \hat{p})/n + z^2/4n^2}}{1 + z^2/n}

    Args:
        wins, n: need not be whole numbers.
        dof: degrees of freedom of Student's t, whose quantile stands for z where the variance was estimated.

    >>> [round(float(end), 3) for end in wilson(60, 100)]
    [0.502, 0.691]

    Taught in notebook 09.
    """
    tail = 2 * stats.norm.sf(stats.t.ppf((1 + confidence) / 2, dof))  # where the normal has the quantile of t
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = proportion_confint(wins, n, alpha=tail, method="wilson")
    return low, high


def preferences(
    votes: pd.DataFrame,
    methods: Sequence[str],
    *,
    primary: tuple[str, str] | None = None,
    n_resamples: int = 400,
    seed: int = 0,
    confidence: float = 0.95,
) -> pd.DataFrame:
    r"""A row a pair of methods: how often `method`, the one preferred more often, was preferred to `against`.

    Columns `method, against, votes, wins, ties, rate, wilson_low, wilson_high, low, high, design_effect, p_exact, p,
    p_holm`. A tie is half a win each in `rate`; `p_exact` is the binomial test of the votes that are no ties against
    one half. `low`, `high` and `p` take raters and images as clusters, and `p_holm` is `p` corrected for all pairs.

    Args:
        votes: that count (`aotlib.study.screening.kept`); other kinds than "pair" are left aside.
        primary: the one comparison that was named before the first answer, whose `p_holm` is its own p; the others
            are corrected without it.

    Raises:
        ValueError: when `primary` does not name two of the methods.

    Taught in notebook 09.
    """
    votes = votes[votes["kind"] == "pair"]
    pairs = pairs_of(votes, methods)
    one, other = np.triu_indices(len(methods), 1)
    group, won = by_pair(pairs)
    table = shares(won, group, len(one), votes, n_resamples, seed, confidence)
    ties = np.bincount(group[pairs.won == WON["tie"]], minlength=len(one))
    table["ties"] = ties
    wins = table["wins"] - ties / 2
    table["p_exact"] = [exact_p(k, n) for k, n in zip(wins, table["votes"] - ties, strict=True)]
    names = np.array(methods, dtype=object)
    table["method"], table["against"] = names[one], names[other]
    table = _turned(table).assign(p_holm=lambda rows: _corrected(rows, primary, methods))
    columns = ["method", "against", "votes", "wins", "ties", "rate", "wilson_low", "wilson_high", "low", "high"]
    return table[columns + ["design_effect", "p_exact", "p", "p_holm"]]


def by_pair(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    r"""Of each vote (V,) the place of its pair in the upper triangle, and what the one with the lower number won.

    Taught in notebook 09.
    """
    m = len(pairs.methods)
    place = np.zeros((m, m), dtype=int)
    place[np.triu_indices(m, 1)] = np.arange(m * (m - 1) // 2)
    group = place[np.minimum(pairs.left, pairs.right), np.maximum(pairs.left, pairs.right)]
    return group, np.where(pairs.left < pairs.right, pairs.won, 1 - pairs.won)


def _corrected(table: pd.DataFrame, primary: tuple[str, str] | None, methods: Sequence[str]) -> np.ndarray:
    """Holm's p of all pairs but the primary one, which is tested by itself."""
    if primary and not (len(set(primary)) == 2 and set(primary) <= set(methods)):
        raise ValueError(f"the primary comparison is {' against '.join(primary)}: give two of {', '.join(methods)}")
    named = [{row.method, row.against} == set(primary or ()) for row in table.itertuples()]
    p = table["p"].to_numpy()
    return np.where(named, p, holm(np.where(named, np.nan, p)))


def _turned(table: pd.DataFrame) -> pd.DataFrame:
    """The same with the preferred one as `method`."""
    return table.where(table["rate"] >= 0.5, mirrored(table))


def mirrored(table: pd.DataFrame) -> pd.DataFrame:
    r"""The rows of `preferences` seen from the other side: `method` and `against` swapped, and 1 less each share.

    Taught in notebook 09.
    """
    swapped = {"method": "against", "against": "method"}
    swapped |= {"low": "high", "high": "low", "wilson_low": "wilson_high", "wilson_high": "wilson_low"}
    other = table.rename(columns=swapped)[table.columns]
    shares = ["rate", "low", "high", "wilson_low", "wilson_high"]
    return other.assign(wins=other["votes"] - other["wins"], **{name: 1 - other[name] for name in shares})


def exact_p(wins: float, n: float) -> float:
    r"""How likely as many wins of `n` independent votes, or fewer or more by as much, are by chance; nan for no vote.

    >>> exact_p(6, 6)
    0.03125

    Taught in notebook 09.
    """
    return float(stats.binomtest(round(wins), int(n)).pvalue) if n else np.nan


def fooled(
    votes: pd.DataFrame, methods: Sequence[str], *, n_resamples: int = 400, seed: int = 0, confidence: float = 0.95
) -> pd.DataFrame:
    r"""A row a method, and one for the truth: how often a picture of it was called real.

    Columns `method, votes, wins, rate, wilson_low, wilson_high, low, high, design_effect`, as in `preferences`, and how
    far the rate is below that of the truth: `below, below_low, below_high, p, p_holm`. A method whose rate is the
    truth's cannot be told from photographs; 50 % is only then the goal where raters call half of the truths real.

    Taught in notebook 09.
    """
    votes = votes[votes["kind"] == "real"]
    names = [*methods, TRUTH]
    group = np.array([names.index(shown[0]) for shown in votes["shown"]], dtype=int)
    called = (votes["choice"] == "real").to_numpy(np.float64)
    table = shares(called, group, len(names), votes, n_resamples, seed, confidence).drop(columns="p")
    rate = group_means(called, group, len(names))

    def both(weights: np.ndarray) -> np.ndarray:
        found = rate(weights)
        return np.concatenate([found, found[:, -1:] - found[:, :-1]], axis=1)

    spread = two_way(both, votes["rater"], votes["image"], n_resamples=n_resamples, seed=seed)
    low, high, p = _below(table, spread, confidence)
    off = table["rate"].iloc[-1] - table["rate"].to_numpy()[:-1]
    for column, values in {"below": off, "below_low": low, "below_high": high, "p": p, "p_holm": holm(p)}.items():
        table[column] = [*values, np.nan]
    table.insert(0, "method", names)
    return table.sort_values("rate", ascending=False, kind="stable", ignore_index=True)


def _below(table: pd.DataFrame, spread: Spread, confidence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interval and p of how far each but the last is below the last; `spread` is of the rates, then of that."""
    m = len(table) - 1
    wins, n = (table[name].to_numpy(float) / table["design_effect"].to_numpy() for name in ("wins", "votes"))
    truth = contrast.Share(np.full(m, wins[-1]), np.full(m, n[-1]))
    of_rate, of_truth, of_off = spread.variance[:m], spread.variance[m], spread.variance[m + 1 :]
    r = contrast.correlation(of_rate, of_truth, of_off)
    fills = contrast.Share(wins[:-1], n[:-1])
    return contrast.difference(truth, fills, r, confidence=confidence, dof=spread.dof)


def group_means(value: np.ndarray, group: np.ndarray, n_groups: int) -> Statistic:
    r"""A function of weights (B, V): the weighted mean of `value` in each group, (B, n_groups).

    Taught in notebook 09.
    """
    place, shape = (group, np.arange(len(group))), (n_groups, len(group))
    sums, counts = (coo_array((entries, place), shape=shape).tocsr() for entries in (value, np.ones_like(value)))

    def rates(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return ((sums @ weights.T) / (counts @ weights.T)).T

    return rates


def shares(
    value: np.ndarray,
    group: np.ndarray,
    n_groups: int,
    votes: pd.DataFrame,
    n_resamples: int,
    seed: int,
    confidence: float,
) -> pd.DataFrame:
    r"""A row a group: votes, wins, rate, both intervals, design effect, and p of the clustered test against one half.

    Taught in notebook 09.
    """
    n = np.bincount(group, minlength=n_groups)
    wins = np.bincount(group, value, minlength=n_groups)
    rates = group_means(value, group, n_groups)
    rate = rates(np.ones((1, len(value))))[0]
    spread = two_way(rates, votes["rater"], votes["image"], n_resamples=n_resamples, seed=seed)
    effect = design_effect(spread, rate, n)
    plain = wilson(wins, n, confidence=confidence)
    wide = wilson(wins / effect, n / effect, confidence=confidence, dof=spread.dof)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (rate - 0.5) / np.sqrt(0.25 * effect / n)
    found = {"votes": n, "wins": wins, "rate": rate, "wilson_low": plain[0], "wilson_high": plain[1]}
    found |= {"low": wide[0], "high": wide[1], "design_effect": effect, "p": 2 * stats.t.sf(abs(t), spread.dof)}
    return pd.DataFrame(found)


def design_effect(spread: Spread, rate: np.ndarray, n: np.ndarray) -> np.ndarray:
    r"""How many times larger the variance of each share is than that of independent votes, at least 1.

    It is the mean of the share's own and that of all shares together: the former rests on few votes. Unanimous votes
    have no variance to compare; there the latter stands alone.

    Taught in notebook 09.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = rate * (1 - rate) / n
    known = np.isfinite(spread.variance) & (plain > 0)
    if not known.any():
        return np.full(len(rate), np.nan if not np.isfinite(spread.variance).any() else 1.0)
    together = spread.variance[known].sum() / plain[known].sum()
    own = np.where(known, spread.variance / np.where(known, plain, 1), together)
    return np.maximum((own + together) / 2, 1)
