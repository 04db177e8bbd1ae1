"""The word "simulated": on names, tables and texts, and gone with what it stood on."""

import re

import pandas as pd
from conftest import ROOT

from aotlib.study import marks

NOTEBOOK = ROOT / "notebooks" / "source" / "09_user_study.py"


def test_the_word_is_on_what_is_simulated_only():
    table = pd.DataFrame({"votes": [3, 4]})
    assert marks.marked(table, True)["raters"].tolist() == ["simulated"] * 2 and "raters" not in table
    assert marks.marked(table, False).equals(table)
    assert marks.said("W 0.4", True).startswith("SIMULATED") and marks.said("W 0.4", False) == "W 0.4"
    assert marks.named("x.csv", True) == "simulated_x.csv" and marks.named("x.csv", False) == "x.csv"


def test_what_an_earlier_run_simulated_goes(tmp_path):
    for name in ("simulated_a.csv", "simulated_a.png", "a.csv", "simulated_notes.txt", "b.png"):
        (tmp_path / name).write_text("")
    marks.clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.png", "simulated_notes.txt"]
    marks.clear(tmp_path / "none")


def test_the_notebook_marks_all_that_it_makes_of_answers():
    """From the cell that reads answers on, each table is marked, and each print of what was counted says so."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    cells = [cell for cell in text.split("# %%")[1:] if not cell.startswith(" [markdown]")]
    first = next(i for i, cell in enumerate(cells) if "simulate.answers(" in cell)
    assert "simulated=simulated)," not in text  # no column beside the helper's
    for cell in cells[first + 1 :]:
        for line in re.findall(r"^ *tables\.write\((.*)$", cell, re.M):
            assert line.startswith(("marks.marked(", 'results.tables["')), line
        printed = [line for line in re.findall(r"^ *print\((.*)$", cell, re.M) if "aotlib " not in line]  # no commands
        about = re.search(r"\b(counted|screened|votes|scale|alpha|suits|preferred|share)\b", cell)
        if about and printed and "setting = " not in cell and "by_rater" not in cell:
            assert "marks.said(" in cell, cell
