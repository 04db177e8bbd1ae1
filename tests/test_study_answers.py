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
    return synthetic_plan(SETTING, seed=0)  # answers are taken after 0.5 s


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
    read = answers.read_folder(tmp_path)
    assert [{key: one[key] for key in given[0]} for one in read] == given
    assert all(str(tmp_path / "deep") in one["source"] for one in read)
    (tmp_path / "deep" / "zz.json").write_text(json.dumps({"format": "else"}))
    with pytest.raises(ValueError, match="zz.json holds no answers"):
        answers.read_folder(tmp_path)
    with pytest.raises(ValueError, match="no .json file"):
        answers.read_folder(tmp_path / "none")


def test_what_is_there_twice_counts_once_and_what_is_missing_is_added(study, given):
    """The archive of a server beside its database, or a file that was saved before the connection came back."""
    whole = answers.votes(study, given)
    pd.testing.assert_frame_equal(answers.votes(study, [*given, *copy.deepcopy(given)]), whole)
    part = copy.deepcopy(given[0])
    part["answers"] = [answer | {"at": "2026-02-02T00:00:00+00:00"} for answer in part["answers"][:5]]
    both = answers.votes(study, [part, *given])
    assert sorted(both["trial"]) == sorted(whole["trial"]) and (both["at"].iloc[:5].dt.month == 2).all()
    assert len(answers.votes(study, [part])) == 5


def test_sources_that_contradict_each_other_are_named(study, given):
    other = copy.deepcopy(given[0])
    place, one = next((i, one) for i, one in enumerate(other["answers"]) if one["choice"] in ("left", "right"))
    one["choice"] = {"left": "right", "right": "left"}[one["choice"]]
    told = f"{one['trial']}: choice is .* in here.sqlite and '{one['choice']}' in there.json"
    with pytest.raises(ValueError, match=told):
        answers.votes(study, [given[0] | {"source": "here.sqlite"}, other | {"source": "there.json"}])
    with pytest.raises(ValueError, match="simulated is True in .* and False in"):
        answers.votes(study, [given[0], given[0] | {"simulated": False}])


@pytest.mark.parametrize(
    "field, bad",
    [
        ("rater", '=HYPERLINK("http://example.org")'),
        ("rater", ""),
        ("rater", "a|b"),
        ("rater", 7),
        ("session", True),
        ("session", 1.0),
        ("session", -1),
        ("simulated", None),
        ("simulated", "false"),
        ("viewport", [1280]),
        ("answers", None),
        ("answers", [7]),
        ("answers", {}),
        ("\x1b[31mmore", 1),
    ],
)
def test_a_strangers_file_is_refused_with_its_path(study, given, tmp_path, field, bad):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(given[0] | {field: bad}))
    with pytest.raises(ValueError, match=r"theirs\.json: '") as told:
        answers.votes(study, answers.read_folder(tmp_path))
    assert "\x1b" not in str(told.value) and "HYPERLINK" not in str(told.value)


@pytest.mark.parametrize(
    "kind, field, bad",
    [
        ("pair", "seconds", float("nan")),
        ("pair", "seconds", float("inf")),
        ("pair", "seconds", -5e300),
        ("pair", "seconds", None),
        ("pair", "seconds", "3"),
        ("pair", "seconds", 0.49),
        ("pair", "seconds", 1e6),
        ("pair", "at", "yesterday"),
        ("pair", "at", "2026-01-01T00:00:00"),
        ("pair", "at", "9999-12-31T00:00:00Z"),
        ("pair", "at", 1.7e9),
        ("pair", "choice", None),
        ("pair", "choice", [0]),
        ("pair", "trial", "<b>"),
        ("rank", "choice", [0.0, 1.0, 2.0, 3.0]),
        ("rank", "choice", [False, True, 2, 3]),
        ("rank", "choice", ["0", "1", "2", "3"]),
        ("real", "more", 1),
    ],
)
def test_an_answer_that_cannot_be_is_refused_with_its_path(study, given, tmp_path, kind, field, bad):
    kinds = {trial["trial"]: trial["kind"] for trial in study["sessions"][0]["trials"]}
    next(answer for answer in given[0]["answers"] if kinds[answer["trial"]] == kind)[field] = bad
    (tmp_path / "theirs.json").write_text(json.dumps(given[0]))
    with pytest.raises(ValueError, match=r"theirs\.json: .*(answers\.\d+\.|trial)"):
        answers.votes(study, answers.read_folder(tmp_path))


def test_a_file_that_nests_too_deep_is_no_json(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.json is no JSON file"):
        answers.read_folder(tmp_path)


def test_always_the_same_answer_leaves_a_rater_out():
    """Every catch trial of single pictures is a broken one: who always says "filled in" fails none of them."""
    setting = Setting(simulate.World(coverage.ABILITIES), Design(sessions=3, pair=0, real=12, practice=0), n_images=12)
    study = synthetic_plan(setting, seed=0)
    given = simulate.answers(study, setting.world, seed=0)
    for answer in given[1]["answers"]:
        answer["choice"] = "fake"
    for answer in given[2]["answers"][3:]:
        answer["choice"] = "fake"
    given[2]["answers"][0]["choice"] = "real" if not study["sessions"][2]["trials"][0]["catch"] else "fake"
    given[2]["answers"][1]["choice"] = "real" if not study["sessions"][2]["trials"][1]["catch"] else "fake"
    found = screening.screen(answers.votes(study, given), study)
    assert found["failed"].tolist()[1:] == [0, 0]
    assert found["left_out"].tolist()[1:] == ["always fake (real)", ""]
    credulous = copy.deepcopy(given[0])
    credulous["answers"] = [answer | {"choice": "real"} for answer in credulous["answers"]]
    assert "always" not in screening.screen(answers.votes(study, [credulous]), study)["left_out"].item()
    lenient = study | {"rules": study["rules"] | {"constant_from": 100}}
    assert screening.screen(answers.votes(study, given), lenient)["left_out"].iloc[1] == ""


def test_a_ranking_with_the_broken_fill_not_last_fails():
    setting = Setting(simulate.World(coverage.ABILITIES), Design(sessions=2, pair=0, rank=10, practice=0), n_images=5)
    study = synthetic_plan(setting, seed=0)
    table = answers.votes(study, [rows(study, 0), rows(study, 1, wrong=1)])
    found = screening.screen(table, study)
    assert found["catches"].tolist() == [1, 1] and found["failed"].tolist() == [0, 1]


def test_sessions_that_are_doubled_or_lacking_are_listed(study, given):
    again = given[1] | {"rater": "abc"}
    table = answers.votes(study, [*given[:2], *given[3:5], again])
    assert screening.sessions(table, study) == {"doubled": [1], "lacking": [2, 5]}
    assert screening.sessions(answers.votes(study, given), study) == {"doubled": [], "lacking": []}


def rows(study, number, *, wrong=0, left=None, seconds=5.0):
    """Votes of one rater who answers `left` trials, `wrong` catches wrongly, always after so many seconds."""
    trials = study["sessions"][number]["trials"]
    made = []
    for place, trial in enumerate(trials[:left]):
        names = [study["files"][one]["method"] or study["files"][one]["role"] for one in trial["shown"]]
        order = sorted(range(len(names)), key=lambda i: names[i] == "broken")
        choice = {"pair": ("left", "right")[place % 2], "real": ("real", "fake")[place % 2], "rank": order}[
            trial["kind"]
        ]
        if trial["catch"]:
            choice = order if trial["kind"] == "rank" else ("left", "right")[names[0] != "truth"]
            if wrong > 0:
                choice, wrong = {"left": "right", "right": "left"}.get(str(choice), order[::-1]), wrong - 1
        made.append(
            {"trial": trial["trial"], "choice": choice, "seconds": seconds, "at": f"2026-01-01T00:{place:02}:00Z"}
        )
    return {"format": answers.FORMAT, "plan": plan.identity(study), "session": number, "rater": f"a{number}"} | {
        "simulated": False, "answers": made
    }  # fmt: skip


def test_the_rule_of_the_plan_leaves_raters_out_at_its_edge(study):
    n = SETTING.design.n_catches
    assert n == 4
    study = study | {
        "rules": study["rules"] | {"catch_failures_allowed": 0.25, "fewest_answers": 0.8, "fastest_median_s": 1.0}
    }
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
    assert found["a0"] == found["a2"] == found["a4"] == ""
    assert "failed 2 of 4" in found["a1"] and "answered" in found["a3"] and "0.99 s" in found["a5"]
    kept = screening.kept(votes, screening.screen(votes, study))
    assert set(kept["rater"]) == {"a0", "a2", "a4"} and not kept["catch"].any() and not kept["practice"].any()


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
