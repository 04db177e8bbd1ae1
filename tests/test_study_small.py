"""Studies too small for some of the analysis: what they give, and a sentence about the rest; no nan, no warning."""

import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from aotlib import figures
from aotlib.records import write_json
from aotlib.study import analysis, answers, coverage, simulate
from aotlib.study.coverage import Setting
from aotlib.study.design import Design
from aotlib.study.plan import identity

APART = "A (almost) never won or never lost"
INTERVALS, ALPHA, ORDERS = "intervals and p take two of each", "alpha: it takes", "raters' orders: it takes"


def made(n_methods, n_images, *, ties=False, **design):
    """A plan without catch trials, and simulated answers to it."""
    plain = {"sessions": 1, "pair": 0, "catch_share": 0, "practice": 0, "rank_of": 3}
    world = simulate.World(dict(zip("ABCDEFGH"[:n_methods], np.linspace(1, -1, n_methods))) | {"truth": 1.5})
    plan = coverage.synthetic_plan(Setting(world, Design(**plain | design), n_images=n_images, ties=ties), 0)
    return plan, simulate.answers(plan, world)


def choosing(choice, plan, given):
    """The same answers with `choice`: one of those offered, or the name of a method."""
    trials = {trial["trial"]: trial for session in plan["sessions"] for trial in session["trials"]}
    for one in given:
        for answer in one["answers"]:
            seen = [plan["files"][file]["method"] for file in trials[answer["trial"]]["shown"]]
            sides = dict(zip(seen, ("left", "right")))
            answer["choice"] = choice if choice in ("tie", "real", "fake", "left") else sides.get(choice, "left")
    return given


def metrics(plan, value):
    rows = [
        (name, f"{image}.png", "psnr", value(k)) for k, name in enumerate(plan["methods"]) for image in plan["images"]
    ]
    return pd.DataFrame(rows, columns=["method", "image", "metric", "value"])


def analyse(plan, given, tmp_path, monkeypatch, long=None):
    """The analysis as the command does it: numbers, texts of figures, and text of tables, none of which holds nan."""
    texts = {}

    def save(fig, out_dir, name):
        fig.savefig(tmp_path / "drawn.png", dpi=50)  # lays it out: warns where it does not fit
        texts[name] = " ".join(text.get_text() for text in fig.findobj(plt.Text) if text.get_visible())
        return out_dir / f"{name}.png"

    monkeypatch.setattr(figures, "save", save)
    write_json(tmp_path / "plan.json", plan)
    if long is not None:
        long.to_csv(tmp_path / "metrics.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        place = () if long is None else [tmp_path / "metrics.csv"]
        record = analysis.analyse(tmp_path, given, tmp_path / "out", place, n_resamples=20)
    tables = {path.name: path.read_text() for path in (tmp_path / "out" / "tables").iterdir()}
    for name, text in [*texts.items(), *tables.items()]:
        assert not re.search(r"\b(nan|None|NaT)\b|<NA>", text), (name, text)
    return record["metrics"], {name.removeprefix("simulated_"): text for name, text in texts.items()}, tables


PAIRS = {"pair": 4}
SMALL = [  # methods, images, what is planned, what is chosen, what is missing, what is drawn
    pytest.param(2, 1, PAIRS, None, [INTERVALS, ORDERS], {"preferences", "matrix", "abilities"}, id="one of each"),
    pytest.param(2, 5, PAIRS, None, [INTERVALS, ALPHA, ORDERS], {"preferences", "matrix"}, id="one rater"),
    pytest.param(2, 1, PAIRS | {"sessions": 3}, None, [INTERVALS], {"preferences", "agreement"}, id="one image"),
    pytest.param(3, 4, {"pair": 12, "sessions": 8}, None, [], {"preferences", "agreement"}, id="no catch trials"),
    pytest.param(2, 1, {"pair": 4, "ties": True}, "tie", [INTERVALS, ALPHA], {"preferences"}, id="one rater, ties"),
    pytest.param(3, 4, {"pair": 6, "sessions": 3, "ties": True}, "tie", [ORDERS], {"preferences"}, id="all ties"),
    pytest.param(
        2, 4, {"pair": 6, "sessions": 3}, "A", [ORDERS], {"preferences", "abilities"}, id="all for one of two"
    ),
    pytest.param(
        3, 4, {"pair": 6, "sessions": 3}, "A", [APART], {"preferences", "abilities"}, id="all for one of three"
    ),
    pytest.param(3, 4, {"pair": 6, "sessions": 3}, "left", [ORDERS], {"preferences"}, id="all for the left"),
    pytest.param(1, 1, {"real": 1}, None, [INTERVALS, ALPHA], {"fooled"}, id="one single picture"),
    pytest.param(2, 4, {"real": 8, "sessions": 3}, "real", [ALPHA], {"fooled"}, id="all real"),
    pytest.param(2, 6, {"real": 4, "sessions": 3}, "fake", [ALPHA], {"fooled"}, id="all fake"),
    pytest.param(3, 1, {"rank": 1}, None, [INTERVALS, ORDERS], {"over_time"}, id="one ranking"),
    pytest.param(3, 4, {"rank": 3, "sessions": 3}, None, [], {"rank_abilities", "agreement"}, id="rankings only"),
]


@pytest.mark.parametrize("n_methods, n_images, design, choice, missing, drawn", SMALL)
def test_a_small_study_gives_what_it_can(n_methods, n_images, design, choice, missing, drawn, tmp_path, monkeypatch):
    plan, given = made(n_methods, n_images, **design)
    given = given if choice is None else choosing(choice, plan, given)
    numbers, texts, tables = analyse(plan, given, tmp_path, monkeypatch)
    said = "\n".join(numbers["missing"])
    assert all(sentence in said for sentence in missing), said
    assert missing or not said
    assert drawn | {"over_time"} <= set(texts)
    assert ("agreement" in texts) == (len(tables["simulated_agreement.csv"].splitlines()) > 1)
    told = any("no intervals" in text for text in texts.values())
    assert told == (INTERVALS in said) or set(texts) == {"over_time"}


@pytest.mark.parametrize(
    "value, rows",
    [(lambda k: 30.0 + k, 2), (lambda k: 1.0, 2), (lambda k: np.inf, 0)],
    ids=("usual", "constant", "infinite"),
)
def test_metrics_of_a_small_study(value, rows, tmp_path, monkeypatch):
    plan, given = made(2, 1, pair=4)
    numbers, texts, tables = analyse(plan, given, tmp_path, monkeypatch, metrics(plan, value))
    assert len(tables["simulated_metrics.csv"].splitlines()) == 1 + rows and ("metrics" in texts) == bool(rows)
    assert any("psnr infinite or undefined" in sentence for sentence in numbers["missing"]) == (not rows)


def test_votes_that_do_not_connect_the_methods_still_have_shares(tmp_path, monkeypatch):
    plan, given = made(8, 3, pair=3, real=2, rank=1)
    numbers, texts, tables = analyse(plan, given, tmp_path, monkeypatch, metrics(plan, lambda k: 30.0 + k))
    said = "\n".join(numbers["missing"])
    assert re.search(r"^abilities: no votes connect these groups, .*: A", said, re.M) and "rank_abilities: no" in said
    assert "goodness" not in numbers and "abilities" not in texts and "matrix" in texts
    assert "methods" not in tables["simulated_metrics.csv"] and "fills" in tables["simulated_metrics.csv"]
    table = pd.read_csv(tmp_path / "out" / "tables" / "simulated_user_study.csv")
    assert list(table["method"]) == [*plan["methods"], "truth"] and table["preferred / %"].isna().any()


def test_a_table_without_spare_numbers_fits(tmp_path, monkeypatch):
    plan, given = made(2, 4, pair=6, sessions=3)
    numbers, *_ = analyse(plan, given, tmp_path, monkeypatch)
    assert numbers["goodness"]["dof"] == 0 and numbers["goodness"]["p"] == numbers["goodness"]["p_clustered"] == 1.0


def test_too_few_votes_are_not_called_never_won(tmp_path, monkeypatch):
    """One rater, five methods that win and lose: draws do not connect them, and no figure of one ability is drawn."""
    plan, given = made(5, 8, pair=20)
    numbers, texts, tables = analyse(plan, given, tmp_path, monkeypatch)
    shares = pd.read_csv(tmp_path / "out" / "tables" / "simulated_preferred.csv")
    middling = shares.loc[shares["rate"].between(0.25, 0.75), "method"]
    said = "\n".join(numbers["missing"])
    (few,) = re.findall("abilities: too few votes: .*", said)
    assert len(middling) > 1 and any(f" {name}" in few for name in middling)
    for sentence in numbers["missing"]:
        assert "never won" not in sentence or not any(name in sentence.split("(")[0] for name in middling), sentence
    assert "abilities" not in texts and "simulated_abilities.csv" in tables


@pytest.mark.parametrize("n_images, sessions", [(6, 1), (1, 3)], ids=("one rater", "one image"))
def test_a_correlation_over_methods_has_no_interval_of_one_rater_or_image(n_images, sessions, tmp_path, monkeypatch):
    plan, given = made(3, n_images, pair=12, sessions=sessions)
    analyse(plan, given, tmp_path, monkeypatch, metrics(plan, lambda k: 30.0 + k))
    table = pd.read_csv(tmp_path / "out" / "tables" / "simulated_metrics.csv").set_index("level")
    assert np.isfinite(table.loc["methods", "spearman"]) and table.loc["methods", ["low", "high"]].isna().all()
    agreed = pd.read_csv(tmp_path / "out" / "tables" / "simulated_agreement.csv")
    assert n_images > 1 or agreed["low"].isna().all()


def test_the_note_of_a_figure_speaks_of_that_figure(tmp_path, monkeypatch):
    plan, given = made(3, 6, pair=12, real=4, rank=2, sessions=8)
    _, texts, _ = analyse(plan, given, tmp_path, monkeypatch)
    both = {name for name, text in texts.items() if "8 raters, 6 images, 95 % intervals over both" in text}
    assert both == {"preferences", "abilities", "rank_abilities", "fooled"}
    assert "8 raters, 6 images, *: differs from 50 %, Holm-corrected" in texts["matrix"]
    assert "8 raters, 6 images, of alpha 95 % intervals over images" in texts["agreement"]


def only(plan, given, key):
    wanted = {trial["trial"] for session in plan["sessions"] for trial in session["trials"] if trial[key]}
    return [one | {"answers": [row for row in one["answers"] if row["trial"] in wanted]} for one in given]


def test_nothing_to_count_is_said_with_its_reason():
    plan, given = made(3, 3, pair=4, sessions=12, catch_share=0.25, practice=2)

    def refused(plan, given):
        with pytest.raises(ValueError) as error:
            analysis.analysed(plan, answers.votes(plan, given))
        return str(error.value)

    for nothing in ([], [one | {"answers": []} for one in given]):
        assert refused(plan, nothing).startswith("nobody has answered")
    told = refused(plan, only(plan, given, "practice")).splitlines()
    assert told[0].startswith("the rule of the plan leaves out every session")
    assert told[1] == "session 0: answered 0 of 5" and told[-1] == "and 2 more"
    lenient = plan | {"rules": plan["rules"] | {"fewest_answers": 0.0}}
    given = [one | {"plan": identity(lenient)} for one in given]
    assert "practice or catch trials" in refused(lenient, only(lenient, given, "catch"))
