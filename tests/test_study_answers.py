"""Answers: checked against their plan, and raters left out by its rule alone."""

import copy
import json

import pandas as pd
import pytest

from aotlib.study import answers, coverage, plan, screening, simulate
from aotlib.study.coverage import Setting, synthetic_plan
from aotlib.study.design import Design

SETTING = Setting(
    simulate.World(coverage.ABILITIES), Design(sessions=6, pair=12, real=4, rank=3, catch_share=0.2), n_images=5
)


@pytest.fixture(scope="module")
def study():
    return synthetic_plan(SETTING, seed=0)


@pytest.fixture
def given(study):
    return simulate.answers(study, SETTING.world, seed=1)


def test_a_row_an_answer(study, given):
    table = answers.votes(study, given)
    assert list(table.columns) == answers.COLUMNS and len(table) == 6 * len(study["sessions"][0]["trials"])
    row, trial = table.iloc[8], study["sessions"][0]["trials"][8]
    files = [study["files"][name] for name in trial["shown"]]
    assert row["shown"] == tuple(file["method"] or file["role"] for file in files)
    assert (row["trial"], row["image"], row["number"], row["kind"]) == (
        trial["trial"],
        trial["image"],
        8,
        trial["kind"],
    )
    assert row["choice"] == given[0]["answers"][8]["choice"] and row["simulated"]
    assert table["at"].dt.tz is not None and table["at"].is_monotonic_increasing
    ranking = table[table["kind"] == "rank"].iloc[0]
    assert sorted(ranking["choice"]) == [0, 1, 2, 3]


def spoil(given, **changed):
    given = copy.deepcopy(given)
    given[0] |= changed
    return given


def test_what_is_not_of_the_plan_is_refused(study, given):
    with pytest.raises(ValueError, match="belong to the plan 0000"):
        answers.votes(study, spoil(given, plan="0" * 64))
    with pytest.raises(ValueError, match="no session 17"):
        answers.votes(study, spoil(given, session=17))
    with pytest.raises(ValueError, match="simulated"):
        answers.votes(study, spoil(given, simulated=None))
    with pytest.raises(ValueError, match="is there twice"):
        answers.votes(study, [given[0], given[0]])
    other = spoil(given)
    other[0]["answers"][0]["trial"] = given[1]["answers"][0]["trial"]
    with pytest.raises(ValueError, match="is not of session 0"):
        answers.votes(study, other)
    twice = spoil(given)
    twice[0]["answers"].append(twice[0]["answers"][0])
    with pytest.raises(ValueError, match="or answered twice"):
        answers.votes(study, twice)


@pytest.mark.parametrize("kind, bad", [("pair", "tie"), ("pair", "real"), ("real", "left"), ("rank", [0, 1, 1, 2])])
def test_a_choice_that_the_trial_does_not_offer_is_refused(study, given, kind, bad):
    trials = {trial["trial"]: trial for trial in study["sessions"][0]["trials"]}
    one = next(answer for answer in given[0]["answers"] if trials[answer["trial"]]["kind"] == kind)
    one["choice"] = bad
    with pytest.raises(ValueError, match=one["trial"]):
        answers.votes(study, given)


def test_ties_count_where_the_plan_allows_them(given):
    study = synthetic_plan(Setting(SETTING.world, SETTING.design, n_images=5, ties=True), seed=0)
    given = simulate.answers(study, simulate.World(coverage.ABILITIES, draw=2.0), seed=1)
    assert (answers.votes(study, given)["choice"] == "tie").sum() > 5


def test_files_are_read_below_a_folder(study, given, tmp_path):
    simulate.write(given, tmp_path / "deep")
    assert answers.read_folder(tmp_path) == given
    (tmp_path / "deep" / "zz.json").write_text(json.dumps({"format": "else"}))
    with pytest.raises(ValueError, match="zz.json holds no answers"):
        answers.read_folder(tmp_path)
    with pytest.raises(ValueError, match="no .json file"):
        answers.read_folder(tmp_path / "none")


def rows(study, number, *, wrong=0, left=None, seconds=5.0):
    """Votes of one rater who answers `left` trials, `wrong` catches wrongly, always after so many seconds."""
    trials = study["sessions"][number]["trials"]
    made = []
    for place, trial in enumerate(trials[:left]):
        names = [study["files"][one]["method"] or study["files"][one]["role"] for one in trial["shown"]]
        choice = {"pair": "left", "real": "real", "rank": list(range(len(names)))}[trial["kind"]]
        if trial["catch"]:
            right = "left" if names[0] == "truth" else "right"
            choice, wrong = ({"left": "right", "right": "left"}[right], wrong - 1) if wrong > 0 else (right, wrong)
        made.append(
            {"trial": trial["trial"], "choice": choice, "seconds": seconds, "at": f"2026-01-01T00:{place:02}:00Z"}
        )
    return {"format": answers.FORMAT, "plan": plan.identity(study), "session": number, "rater": f"r{number}"} | {
        "simulated": False, "answers": made
    }  # fmt: skip


def test_the_rule_of_the_plan_leaves_raters_out_at_its_edge(study):
    n = SETTING.design.n_catches
    assert n == 4
    study = study | {"rules": {"catch_failures_allowed": 0.25, "fewest_answers": 0.8, "fastest_median_s": 1.0}}
    trials = study["sessions"][0]["trials"]
    practice, counted = sum(one["practice"] for one in trials), sum(not one["practice"] for one in trials)
    enough = practice + -(-counted * 8 // 10)
    given = [
        rows(study, 0, wrong=1),
        rows(study, 1, wrong=2),
        rows(study, 2, left=enough),
        rows(study, 3, left=enough - 1),
    ]
    given += [rows(study, 4, seconds=1.0), rows(study, 5, seconds=0.99)]
    votes = answers.votes(study, given)
    found = screening.screen(votes, study).set_index("rater")["left_out"]
    assert found["r0"] == found["r2"] == found["r4"] == ""
    assert "failed 2 of 4" in found["r1"] and "answered" in found["r3"] and "0.99 s" in found["r5"]
    kept = screening.kept(votes, screening.screen(votes, study))
    assert set(kept["rater"]) == {"r0", "r2", "r4"} and not kept["catch"].any() and not kept["practice"].any()


def test_bad_raters_are_caught_and_careful_ones_stay(study):
    raters = ["careful", "careful", "inattentive", "adversarial", "leaning", "careful"]
    votes = answers.votes(study, simulate.answers(study, SETTING.world, raters=raters, seed=5))
    out = screening.screen(votes, study)["left_out"] != ""
    assert out.tolist() == [False, False, True, True, False, False]


def test_simulated_answers_are_the_seeds(study, given):
    assert simulate.answers(study, SETTING.world, seed=1) == given
    assert all(one["simulated"] is True for one in given)
    with pytest.raises(ValueError, match="no value for"):
        simulate.answers(study, simulate.World({"A": 1.0}))
    with pytest.raises(ValueError, match="7 raters for 6"):
        simulate.answers(study, SETTING.world, raters=["careful"] * 7)
    with pytest.raises(ValueError, match="did you mean 'careful'"):
        simulate.answers(study, SETTING.world, raters=["carefull"])


def test_a_tired_rater_fails_late(study):
    """Lapses grow along the session: the second half of catch trials is failed more often than the first."""
    setting = Setting(SETTING.world, Design(sessions=200, pair=20, catch_share=0.5, practice=0), n_images=5)
    made = synthetic_plan(setting, seed=0)
    raters = [simulate.Rater(tires=0.9)] * 200
    votes = answers.votes(made, simulate.answers(made, setting.world, raters=raters, seed=0))
    catches = votes[votes["catch"]]
    wrong = (~screening.right(catches)).groupby(pd.cut(catches["number"], [-1, 9, 19, 30]), observed=True).mean()
    assert wrong.is_monotonic_increasing and wrong.iloc[-1] > 0.3 > 0.15 > wrong.iloc[0]
