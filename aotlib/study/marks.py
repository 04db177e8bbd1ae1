r"""The word "simulated" on everything that answers of simulated raters had a part in: names, tables, printed numbers.

Figures carry it in the picture itself: `aotlib.study.pictures`.

Taught in notebook 09.
"""

from pathlib import Path

import pandas as pd

SIMULATED = "simulated"
KINDS = (".csv", ".md", ".tex", ".png", ".pdf")  # in which tables and figures are written


def named(name: str, simulated: bool) -> str:
    r"""The name of a file.

    >>> named("preferences", True), named("preferences", False)
    ('simulated_preferences', 'preferences')

    Taught in notebook 09.
    """
    return f"{SIMULATED}_{name}" if simulated else name


def marked(content: pd.DataFrame, simulated: bool) -> pd.DataFrame:
    r"""The table, with a column `raters` that says so when they are simulated.

    >>> marked(pd.DataFrame({"votes": [3]}), True).columns.tolist(), marked(pd.DataFrame({"votes": [3]}), False).shape
    (['votes', 'raters'], (1, 1))

    Taught in notebook 09.
    """
    return content.assign(raters=SIMULATED) if simulated else content


def said(text: object, simulated: bool) -> str:
    r"""A text about answers, below a line that says what they are when they are simulated.

    >>> print(said("W 0.4", True))
    SIMULATED: none of these raters exists
    W 0.4

    Taught in notebook 09.
    """
    return f"SIMULATED: none of these raters exists\n{text}" if simulated else str(text)


def clear(folder: str | Path) -> None:
    r"""No table or figure directly in `folder` has a name that says simulated.

    Taught in notebook 09.
    """
    for path in Path(folder).glob(f"{SIMULATED}_*"):
        if path.suffix in KINDS:
            path.unlink()
