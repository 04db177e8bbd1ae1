"""The analysis as a whole: every table and figure, and the word that stays while one answer is simulated."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from statsmodels.stats.multitest import multipletests

from aotlib import figures
from aotlib.records import write_json
from aotlib.study import analysis, answers, coverage, pictures, rates, simulate
from aotlib.study.coverage import Setting
from aotlib.study.design import Design

METHODS = ["A", "B", "C", "D"]
SETTING = Setting(
    simulate.World(coverage.ABILITIES), Design(sessions=8, pair=18, real=6, rank=4, practice=1), n_images=6
)
TABLES = {
    "user_study",
    "raters",
    "preferences",
    "abilities",
    "differences",
    "fooled",
    "rank_abilities",
    "rank_differences",
}
TABLES |= {"agreement", "metrics", "preferred"}
FIGURES = {"preferences", "matrix", "abilities", "rank_abilities", "fooled", "agreement", "metrics", "over_time"}


@pytest.fixture(scope="module")
def plan():
    return coverage.synthetic_plan(SETTING, 0)


@pytest.fixture(scope="module")
def given(plan):
    raters = ["careful"] * 7 + ["adversarial"]
    return simulate.answers(plan, SETTING.world, raters=raters, seed=0)


@pytest.fixture
def study(plan, given, tmp_path):
    write_json(tmp_path / "study" / "plan.json", plan)
    simulate.write(given, tmp_path / "answers")
    rng = np.random.default_rng(0)
    rows = [(name, f"{image}.png", "psnr", rng.normal(30)) for name in METHODS for image in plan["images"]]
    table = pd.DataFrame(rows, columns=["method", "image", "metric", "value"])
    for name, part in {"a": table.iloc[:9], "b": table.iloc[9:]}.items():  # as one file a method
        part.to_csv(tmp_path / f"metrics-{name}.csv", index=False)
    return tmp_path


@pytest.fixture
def small_figures(monkeypatch):
    """What is drawn is looked at before it is saved, at a size that takes no time; texts by file name."""
    texts = {}

    def save(fig, out_dir, name):
        texts[name] = " ".join(text.get_text() for text in fig.findobj(plt.Text) if text.get_visible())
        for kind in ("png", "pdf"):
            path = out_dir / f"{name}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            fig.savefig(path, dpi=20)
        return out_dir / f"{name}.png"

    monkeypatch.setattr(figures, "save", save)
    return texts


def analyse(study, given=None, **more):
    place = study / "answers" if given is None else given
    return analysis.analyse(
        study / "study",
        place,
        study / "out",
        [study / "metrics-a.csv", study / "metrics-b.csv"],
        n_resamples=40,
        **more,
    )


def made(study):
    return {path.relative_to(study / "out").as_posix() for path in (study / "out").rglob("*.*")}


def real(given, count):
    """The same answers, of which so many say that a person gave them."""
    return [one | {"simulated": number >= count} for number, one in enumerate(given)]


def test_everything_made_of_simulated_answers_says_so(study, small_figures):
    record = analyse(study)
    assert record["simulated"] is True
    wanted = {f"tables/simulated_{name}.{kind}" for name in TABLES for kind in ("csv", "md", "tex")}
    wanted |= {f"figures/simulated_{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    assert made(study) == wanted | {"simulated_study.json"}
    assert all("simulated" in text for text in small_figures.values()) and len(small_figures) == len(FIGURES)
    for name in TABLES:
        assert (pd.read_csv(study / "out/tables" / f"simulated_{name}.csv")["raters"] == "simulated").all(), name


@pytest.mark.parametrize("people", [1, 7])
def test_one_simulated_answer_is_enough(study, given, small_figures, people):
    assert analyse(study, real(given, people))["simulated"] is True
    assert all("simulated" in name for name in made(study)) and all("simulated" in t for t in small_figures.values())


def test_the_word_goes_with_the_last_simulated_answer_and_old_files_go_too(study, given, small_figures):
    analyse(study)
    small_figures.clear()
    assert analyse(study, real(given, 8))["simulated"] is False
    assert "study.json" in made(study) and not any("simulated" in name for name in made(study))
    assert not any("simulated" in text for text in small_figures.values())
    for path in (study / "out").rglob("*.[cmt][sde][vx]"):
        assert "simulated" not in path.read_text(), path
    analyse(study)
    assert all("simulated" in name for name in made(study))


def test_a_simulated_rater_who_is_left_out_counts_for_the_word(study, given, small_figures):
    """The last rater answers the opposite and is left out: the figure of answers over time still shows those."""
    record = analyse(study, real(given, 7))
    assert record["metrics"]["left_out"] == 1 and record["simulated"] is True


def test_the_word_is_seen_in_the_picture_itself(plan, given, tmp_path):
    """Pixels of the colour of the word, at the top of a saved file; without it there are none."""
    figures.style()
    votes = answers.votes(plan, given)
    table = rates.preferences(votes[~votes["catch"] & ~votes["practice"]], METHODS, n_resamples=20)
    for simulated in (True, False):
        fig = pictures.preference_bars(table, "A", simulated=simulated)
        pixels = np.asarray(Image.open(figures.save(fig, tmp_path, f"bars_{simulated}")).convert("RGB")).astype(int)
        plt.close(fig)
        wanted = np.array([int(figures.PALETTE["red"][place : place + 2], 16) for place in (1, 3, 5)])
        coloured = (abs(pixels[: len(pixels) // 6] - wanted).max(-1) < 8).sum()
        assert (coloured > 2000) == simulated, coloured


def test_the_numbers_are_those_of_the_parts(study, small_figures):
    record = analyse(study, primary="B")
    assert record["metrics"]["raters"] == 8 and record["metrics"]["left_out"] == 1
    assert "B preferred" in small_figures["simulated_preferences"]
    told = json.loads((study / "out" / "simulated_study.json").read_text())
    assert told["plan"] and told["rules"]["fewest_answers"] == 0.8 and told["metrics"]["goodness"]["dof"] == 8
    table = pd.read_csv(study / "out/tables/simulated_user_study.csv").set_index("method")
    assert list(table.index)[-1] == "truth" and set(METHODS) < set(table.index)
    preferred = pd.read_csv(study / "out/tables/simulated_preferences.csv")
    both = pd.concat([preferred, rates.mirrored(preferred)])
    of_a = both[both["method"] == "A"]
    share = float(table.loc["A", "preferred / %"].split()[0])
    assert share == pytest.approx(100 * of_a["wins"].sum() / of_a["votes"].sum(), abs=0.05)
    for column in ("preferred / %", "called real / %"):
        assert re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", table.loc["A", column]), column
    assert 0 <= told["metrics"]["icc"]["raters"] < 1 and 0 <= told["metrics"]["icc"]["images"] < 1


def test_the_comparison_that_was_named_beforehand_is_no_part_of_the_family(plan, given):
    votes = answers.votes(plan, given)
    every, named = (
        analysis.analysed(plan, votes, n_resamples=20, **more).tables["preferences"].set_index(["method", "against"])
        for more in ({}, {"primary": "C", "against": "A"})
    )
    plt.close("all")
    p, rest = named["p"], [pair for pair in named.index if set(pair) != {"A", "C"}]
    assert named["p_holm"].drop(rest).tolist() == p.drop(rest).tolist()
    assert named.loc[rest, "p_holm"].to_numpy() == pytest.approx(multipletests(p[rest], method="holm")[1])
    assert every["p_holm"].to_numpy() == pytest.approx(multipletests(every["p"], method="holm")[1])
    with pytest.raises(ValueError, match="give two of A, B, C, D"):
        analysis.analysed(plan, votes, n_resamples=20, primary="A", against="A")


def test_a_handful_of_answers_warns_of_nothing(plan, given, recwarn):
    """One rater, who did not come to the single pictures of every method: empty cells, and no interval."""
    votes = answers.votes(plan, given[:1])
    found = analysis.analysed(plan, votes, n_resamples=20)
    for fig in found.figures.values():
        plt.close(fig)
    table = found.tables["user_study"]
    assert not table.map(lambda cell: "nan" in str(cell)).any(axis=None)
    assert [str(one.message) for one in recwarn if issubclass(one.category, RuntimeWarning)] == []


def test_nobody_left_and_no_answers_are_said(plan, given):
    strict = plan | {"rules": plan["rules"] | {"fastest_median_s": 1000.0}}
    votes = answers.votes(plan, given)
    with pytest.raises(ValueError, match="(?s)leaves out every session.*session 7: failed 3 of 3 catch"):
        analysis.analysed(strict, votes)


def test_a_method_without_votes_has_no_bars(plan, given):
    votes = answers.votes(plan, given)
    table = rates.preferences(votes[~votes["catch"] & ~votes["practice"]], METHODS, n_resamples=20)
    with pytest.raises(ValueError, match="no votes for or against 'E'"):
        pictures.preference_bars(table, "E", simulated=False)


@pytest.mark.parametrize("seconds, unit", [(90, "minutes"), (3 * 3600, "hours"), (5 * 86400, "days")])
def test_time_has_a_unit_that_can_be_read(plan, given, seconds, unit):
    votes = answers.votes(plan, given)
    step = pd.to_timedelta(np.linspace(0, seconds, len(votes)), unit="s")
    fig = pictures.over_time(votes.assign(at=votes["at"].min() + step, practice=False), simulated=True)
    left = fig.axes[0]
    plt.close(fig)
    assert left.get_xlabel().startswith(unit) and 1 <= left.lines[0].get_xdata().max() <= 90
