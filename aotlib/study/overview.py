r"""The table of a user study as papers print it: a row a method.

Taught in notebook 09.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from aotlib.study.design import TRUTH


def overview(found: dict[str, pd.DataFrame], methods: Sequence[str]) -> pd.DataFrame:
    r"""A row a method, the best first, in the form in which papers print a user study; intervals in brackets.

    An ability without a most likely value is its bound: below or above all.

    Columns, as far as `found` has their tables: `preferred / %` of all its comparisons, `called real / %` with the
    truth in a last row, and `ability`, or `rank ability` of rankings.

    Taught in notebook 09.
    """
    columns: dict[str, dict[str, str]] = {}
    for table, title in {"preferred": "preferred / %", "fooled": "called real / %"}.items():
        if table in found:
            columns[title] = {row.method: _percent(row.rate, row.low, row.high) for row in found[table].itertuples()}
    order = list(methods)
    for table, title in {"rank_abilities": "rank ability", "abilities": "ability"}.items():
        if table in found:
            order = list(found[table]["method"])
            columns[title] = {row.method: _cell(row.ability, row.low, row.high, 2) for row in found[table].itertuples()}
    order += [TRUTH] * ("fooled" in found)
    return pd.DataFrame(columns).reindex(order).rename_axis("method").reset_index().fillna("")


def _percent(*shares: float) -> str:
    return _cell(*(100 * share for share in shares), 1)


def _cell(value: float, low: float, high: float, digits: int) -> str:
    if np.isnan(value) or (np.isinf(value) and np.isnan(low + high)):
        return ""
    if np.isinf(value):
        return f"< {high:.{digits}f}" if value < 0 else f"> {low:.{digits}f}"
    return f"{value:.{digits}f}" + ("" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")
