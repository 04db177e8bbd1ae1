"""Notebook 9 on a study that `aotlib study plan` made: its own fills, raters and their abilities are not there."""

import json

import jupytext
import matplotlib.pyplot as plt
import pytest
from conftest import ROOT

from aotlib.study import analysis, answers, simulate
from aotlib.study import plan as plans
from aotlib.study.database import NAME
from aotlib.study.store import Store

SOURCE = ROOT / "notebooks" / "source" / "09_user_study.py"
ABILITIES = {"alphafill": 0.7, "betafill": 0.0, "gammafill": -0.4, "truth": 2.0}


@pytest.fixture
def study(make_study, tmp_path):
    """A study, one rater in its server's database, and files of simulated raters."""
    folder = make_study(tmp_path / "study", sessions=6, pair=9)
    plan = plans.read(folder)
    store = Store(folder / NAME, plan)
    token, _, session = store.begin()
    store.answer(token, plan["sessions"][session]["trials"][0]["trial"], "real", 2.0)
    store.close()
    simulate.write(simulate.answers(plan, simulate.World(ABILITIES), seed=1), folder / "simulated")
    return folder


def run(capsys, monkeypatch, **parameters):
    """The notebook's code with these parameters, cell by cell as a kernel would: what it printed, and its names."""
    monkeypatch.chdir(SOURCE.parent.parent)
    names = {}
    for cell in jupytext.read(SOURCE).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, cell.source[:40], "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                assert set(parameters) <= set(names)
                names |= parameters
    plt.close("all")
    return capsys.readouterr().out, names


def test_the_notebook_analyses_a_study_that_it_did_not_make(study, tmp_path, capsys, monkeypatch):
    places = {"plan_dir": str(study), "answers_dir": str(study / "simulated"), "out_dir": str(tmp_path / "out")}
    said, names = run(capsys, monkeypatch, n_studies=1, **places)
    assert "AOT-GAN" not in said and "nan" not in said.replace("NaN", "")
    assert "of each pair, with clusters, 4 images" in said and "skipped: this study's folders" in said
    assert "true" not in names["scale"].methods.columns and "held" not in names and "world" not in names
    assert not (tmp_path / "out" / "tables" / "metrics.csv").exists()
    assert len(names["fig"].axes) and names["names"] == ["alphafill", "betafill", "gammafill"]
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    ability = record["ability"] if "ability" in record else record["metrics"]["ability"]
    expected = analysis.analysed(plans.read(study), names["votes"], n_resamples=20).tables["abilities"]
    assert ability == pytest.approx(dict(zip(expected["method"], expected["ability"])))
    plt.close("all")


def test_a_study_of_one_rater_so_far_gets_through_the_notebook(make_study, tmp_path, capsys, monkeypatch):
    folder = make_study(tmp_path / "study", sessions=2, pair=12)
    given = simulate.answers(plans.read(folder), simulate.World(ABILITIES), raters=["careful"], seed=1)
    simulate.write(given, folder / "answers")
    said, names = run(capsys, monkeypatch, n_studies=1, plan_dir=str(folder), out_dir=str(tmp_path / "out"))
    assert names["votes"].rater.nunique() == 1 and "too few votes" in said
    record = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert '"alpha": null' in json.dumps(record)


def test_answers_are_found_where_analyse_finds_them(study, tmp_path):
    """In a database, in the study's folder, which has both, and in a folder of files."""
    (in_database,) = answers.gathered(study, study / NAME)
    assert not in_database["simulated"] and len(in_database["answers"]) == 1
    assert answers.gathered(study, study) == answers.gathered(study) == answers.gathered(tmp_path, study)
    assert len(answers.gathered(study, study / "simulated")) == 6
    (study / "simulated").rename(study / "answers")
    assert len(answers.gathered(study, study)) == 7


def test_a_study_without_answers_says_where_they_belong(make_study, tmp_path, capsys, monkeypatch):
    folder = make_study(tmp_path / "study")
    with pytest.raises(ValueError, match="answers_dir"):
        run(capsys, monkeypatch, plan_dir=str(folder), out_dir=str(tmp_path / "out"))
    plt.close("all")
    with pytest.raises(ValueError, match="answers_dir without plan_dir"):
        run(capsys, monkeypatch, answers_dir=str(folder), out_dir=str(tmp_path / "out"))
    alone = make_study(tmp_path / "single", pair=0)
    with pytest.raises(ValueError, match="aotlib study analyse"):
        run(capsys, monkeypatch, plan_dir=str(alone), out_dir=str(tmp_path / "out"))
