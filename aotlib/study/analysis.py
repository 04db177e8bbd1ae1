r"""From a plan and its answers to every table and figure of a study, with a record of what went in.

Taught in notebook 09.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aotlib import figures, records, tables
from aotlib.study import abilities, agreement, answers, correlation, goodness, missing, pictures, rates, screening
from aotlib.study import plan as plans
from aotlib.study.bradley_terry import NoScale
from aotlib.study.marks import KINDS, marked, named
from aotlib.study.overview import overview
from aotlib.study.pooled import by_method, likeness

RECORD = "study.json"


class Findings(NamedTuple):
    r"""What `analysed` found: tables and figures by name, numbers, and whether any answer is simulated."""

    tables: dict[str, pd.DataFrame]
    figures: dict[str, Figure]
    numbers: dict
    simulated: bool


def analyse(
    plan: str | Path,
    given: str | Path | Sequence[dict],
    out_dir: str | Path,
    metrics_csv: Sequence[str | Path] = (),
    *,
    primary: str = "",
    against: str = "",
    n_resamples: int = 400,
    seed: int = 0,
) -> dict:
    r"""``out_dir`` has the tables and figures of the study and ``study.json``, whose content is returned.

    What an earlier analysis left there is removed. As soon as one answer is simulated, every name starts with
    ``simulated_``, every figure says so and every table has a column that does.

    Args:
        plan: plan.json or its folder.
        given: the answers, or a place of them (`aotlib.study.answers.gathered`).
        metrics_csv: files that ``aotlib evaluate --images`` wrote of the methods, to be held against the votes.
        primary: the method whose preferences are drawn; the plan's first, when not given.
        against: makes it the comparison that was named beforehand, `preferences` of `aotlib.study.rates`.

    Raises:
        ValueError: when answers are not of the plan, or no rater is left after the rule of the plan.

    Taught in notebook 09.
    """
    started, out_dir = time.perf_counter(), Path(out_dir)
    content = plans.read(plan)
    given = answers.gathered(plan, given) if isinstance(given, str | Path) else given
    votes = answers.votes(content, given)
    long = pd.concat([pd.read_csv(path) for path in metrics_csv]) if metrics_csv else None
    figures.style()
    found = analysed(content, votes, long, primary=primary, against=against, n_resamples=n_resamples, seed=seed)
    _clear(out_dir)
    files = [
        tables.write(tables.blank(table), out_dir / "tables", named(name, found.simulated))
        for name, table in found.tables.items()
    ]
    for name, fig in found.figures.items():
        files.append(figures.save(fig, out_dir / "figures", named(name, found.simulated)))
        plt.close(fig)
    record = records.record(
        parameters={"primary": primary, "against": against, "n_resamples": n_resamples, "metrics": bool(metrics_csv)},
        seed=seed, data_dir=None, features=None, metrics=found.numbers, seconds=time.perf_counter() - started,
    )  # fmt: skip
    record |= {"simulated": found.simulated, "plan": plans.identity(content), "rules": content["rules"]}
    record["files"] = [path.relative_to(out_dir).as_posix() for path in files]
    records.write_json(out_dir / named(RECORD, found.simulated), record)
    return record


def _clear(out_dir: Path) -> None:
    """Remove what an earlier analysis wrote: real answers are not to lie beside figures of simulated ones."""
    for path in (out_dir / named(RECORD, simulated) for simulated in (False, True)):
        if not path.is_file():
            continue
        for name in json.loads(path.read_text(encoding="utf-8"))["files"]:
            for kind in KINDS:
                (out_dir / name).with_suffix(kind).unlink(missing_ok=True)
        path.unlink()


def analysed(
    plan: dict,
    votes: pd.DataFrame,
    long: pd.DataFrame | None = None,
    *,
    primary: str = "",
    against: str = "",
    n_resamples: int = 400,
    seed: int = 0,
) -> Findings:
    r"""Tables, figures and numbers of the votes, as far as there are enough: ``missing`` of the latter says what is not
    there, a sentence each.

    Args:
        votes: of `aotlib.study.answers.votes`.
        long: of metrics, one row an image and metric.

    Raises:
        ValueError: when no vote counts, saying why.

    Taught in notebook 09.
    """
    screened = screening.screen(votes, plan)
    counted = screening.kept(votes, screened)
    if counted.empty:
        raise ValueError(missing.nobody(screened))
    study = _Study(plan, votes, counted, {"n_resamples": n_resamples, "seed": seed}, (primary, against))
    study.keep("raters", screened)
    kinds = set(counted["kind"])
    for kind, part in {"pair": study.pairs, "rank": study.rankings, "real": study.real}.items():
        if kind in kinds:
            part()
    study.agree(kinds)
    if long is not None and "pair" in kinds:
        study.correlate(correlation.metric_table(long, plan))
    study.draw("over_time", pictures.over_time, votes, note="practice trials left aside")
    study.tables = {"user_study": overview(study.tables, study.methods)} | study.tables
    reasons = screened.loc[screened["left_out"] != "", "left_out"]
    counts = {"raters": len(screened), "left_out": len(reasons), "votes": len(counted)}
    study.numbers |= counts | {"missing": study.missing}
    study.numbers["sessions"] = screening.sessions(votes, plan)
    found = {name: marked(table, study.simulated) for name, table in study.tables.items()}
    return Findings(found, study.figures, study.numbers, study.simulated)


class _Study:
    """Collects tables, figures and numbers, a method a part of the analysis."""

    def __init__(self, plan: dict, votes: pd.DataFrame, counted: pd.DataFrame, drawn: dict, named: tuple) -> None:
        self.methods, self.counted, self.drawn = plan["methods"], counted, drawn
        self.primary, self.against = named[0] or self.methods[0], named[1]
        check_named(*named)
        self.simulated = bool(votes["simulated"].any())
        self.tables: dict[str, pd.DataFrame] = {}
        self.figures: dict[str, Figure] = {}
        self.numbers: dict = {}
        self.missing: list[str] = []
        self.missing += missing.intervals(counted)

    def keep(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        self.tables[name] = table
        return table

    def draw(self, name: str, function: Callable[..., Figure], *given, **more) -> None:
        self.figures[name] = function(*given, simulated=self.simulated, **more)

    def note(self, kind: str, has: str = missing.INTERVALS) -> str:
        return missing.note(self.counted[self.counted["kind"] == kind] if kind else self.counted, has)

    def pairs(self) -> None:
        named = {"primary": (self.primary, self.against) if self.against else None} | self.drawn
        preferred = self.keep("preferences", rates.preferences(self.counted, self.methods, **named))
        self.keep("preferred", by_method(self.counted, self.methods, **self.drawn))
        self.numbers["icc"] = _finite(likeness(self.counted, self.methods, **self.drawn))
        self.numbers["left"] = _finite(self._left())
        self.draw("preferences", pictures.preference_bars, preferred, self.primary, note=self.note("pair"))
        scale = self.scale("pair", "")
        order = self.methods if scale is None else list(scale.methods["method"])
        self.draw("matrix", pictures.matrix, preferred, order, note=self.note("pair", missing.TESTS))
        if scale is not None:
            fit = goodness.goodness(self.counted, self.methods, seed=self.drawn["seed"])
            self.numbers |= {"side": _finite(scale.side), "goodness": _finite(fit._asdict())}

    def scale(self, kind: str, prefix: str) -> abilities.Scale | None:
        """Tables and figure of the abilities; None where votes do not connect the methods."""
        try:
            found = abilities.estimate(self.counted, self.methods, kind=kind, **self.drawn)
        except NoScale as error:
            self.missing.append(f"{prefix}abilities: {error}")
            return None
        self.missing += missing.bounds(f"{prefix}abilities", found)
        self.keep(f"{prefix}abilities", found.methods)
        self.keep(f"{prefix}differences", found.differences)
        if pictures.placed(found.methods).sum() > 1:
            self.draw(f"{prefix}abilities", pictures.scale, found.methods, kind=kind, note=self.note(kind))
        return found

    def _left(self) -> dict:
        """How often the left was chosen, ties left aside, and the exact test of one half."""
        chosen = self.counted.loc[self.counted["kind"] == "pair", "choice"]
        left, n = int((chosen == "left").sum()), int((chosen != "tie").sum())
        return {"left": left, "of": n, "p": rates.exact_p(left, n)}

    def rankings(self) -> None:
        self.scale("rank", "rank_")

    def real(self) -> None:
        fooled = self.keep("fooled", rates.fooled(self.counted, self.methods, **self.drawn))
        self.draw("fooled", pictures.fool_rates, fooled, note=self.note("real"))

    def agree(self, kinds: set[str]) -> None:
        rows, none = [], (np.nan, np.nan)  # alpha has neither W nor p
        if "pair" in kinds:
            rows.append(("pairs: alpha", *agreement.alpha_of_pairs(self.counted, self.methods), *none))
        if "real" in kinds:
            rows.append(("real or fake: alpha", *agreement.alpha_of_real(self.counted), *none))
        for kind, name in {"pair": "pairs: raters' orders", "rank": "rankings: raters' orders"}.items():
            found = agreement.concordance(self.counted, self.methods, kind=kind)
            if kind in kinds:
                rows.append((name, found.correlation, np.nan, np.nan, found.n, found.w, found.p))
        table = pd.DataFrame(rows, columns=["measure", "value", "low", "high", "n", "w", "p"])
        self.missing += [f"{name}: {missing.agreement(name)}" for name in table.loc[table["value"].isna(), "measure"]]
        table = self.keep("agreement", table.dropna(subset="value", ignore_index=True))
        if len(table):
            has = missing.OF_ALPHA if table["measure"].str.contains("alpha").any() else ""
            self.draw("agreement", pictures.agreement, table, note=self.note("", has))

    def correlate(self, metrics: pd.DataFrame) -> None:
        table = correlation.with_metrics(self.counted, metrics, self.methods, seed=self.drawn["seed"])
        if lost := sorted(set(metrics.columns) - set(table["metric"])):
            self.missing.append(f"metrics: {', '.join(lost)} infinite or undefined on every image that has votes")
        if len(self.keep("metrics", table)):
            self.draw("metrics", pictures.metric_agreement, table, note=self.note("pair"))


def check_named(primary: str, against: str) -> None:
    r"""Raises a ValueError when `against` comes without `primary`.

    Taught in notebook 09.
    """
    if against and not primary:
        told = f"--against {against} without --primary: a comparison that was named beforehand has two methods"
        raise ValueError(f"{told}; say --primary ONE --against {against}")


def _finite(numbers: dict) -> dict:
    return {key: value if np.isfinite(value) else None for key, value in numbers.items()}
