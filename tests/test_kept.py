"""What is kept of a profile: only what committed code made, and no folder of this machine."""

import json

import pandas as pd
import pytest
from PIL import Image

from aotlib import kept, profiles, records

RECORD = {"parameters": {"seed": 0, "data": "/home/ada/photographs", "masks": "", "out_dir": "/home/ada/out"}}
RECORD |= {"commit": "a" * 40, "dirty": False, "metrics": {}}


@pytest.fixture
def larger(toy, make_notebook):
    """A checkout whose profile has the ablations alone, as if they had been run."""
    where = 'out_dir = "../results/smoke/08_ablations"\nablation_runs = {}'
    make_notebook(toy / "notebooks" / "08_ablations.ipynb", where, "a = 1")
    (toy / "profiles" / "grid.yaml").write_text("parts:\n  slow: {pause_s: 0.5}\n")
    group = "08_ablations: {}\nablations: {grid: grid.yaml, seeds: [0], each: {}}\n"
    (toy / "profiles" / "toy.yaml").write_text(group)
    folder = profiles.plan("toy", toy)["08_ablations"].out_dir
    (folder / "tables").mkdir(parents=True)
    for name in kept.OF_ABLATIONS:
        (folder / "tables" / name).write_text("a,b\n1,2\n")
    _runs(folder, dirty=False)
    parameters = RECORD["parameters"] | {"ablation_runs": {"full.s0": "/home/ada/runs"}}
    records.write_json(folder / "record.json", RECORD | {"parameters": parameters})
    return toy


def _runs(folder, dirty):
    rows = [{"run": "aot-s0", "dirty": False}, {"run": "aot-s1", "dirty": dirty}]
    pd.DataFrame(rows).to_csv(folder / "tables" / "runs.csv", index=False)


def test_tables_and_record_of_the_ablations_are_kept_without_places(larger):
    folder = kept.keep_reference("toy", larger)
    assert folder == larger / "results" / "reference" / "ablations"
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {*kept.OF_ABLATIONS, "08_ablations.record.json"}
    text = (folder / "08_ablations.record.json").read_text()
    assert "/home" not in text and json.loads(text)["parameters"] == {"seed": 0, "data": "photographs", "masks": ""}
    assert json.loads(text)["profile"] == "toy"
    assert (folder / "differences.csv").read_text() == "a,b\n1,2\n"


def test_what_no_commit_has_is_not_kept(larger):
    folder = profiles.plan("toy", larger)["08_ablations"].out_dir
    _runs(folder, dirty=True)
    with pytest.raises(ValueError, match="in no commit: aot-s1"):
        kept.keep_reference("toy", larger)
    _runs(folder, dirty=False)
    records.write_json(folder / "record.json", RECORD | {"dirty": True})
    with pytest.raises(ValueError, match="08_ablations: made by files that are in no commit"):
        kept.keep_reference("toy", larger)
    assert not (larger / "results" / "reference").exists()


def test_figures_tables_and_records_of_a_whole_profile(toy, make_notebook):
    make_notebook(toy / "notebooks" / "03_discriminator.ipynb", 'out_dir = "x"', "a = 1")
    (toy / "profiles" / "toy.yaml").write_text("03_discriminator: {}\n05_training: {}\n06_evaluation: {}\n")
    jobs = profiles.plan("toy", toy)
    for name, figure in kept.SHOWN:
        (jobs[name].out_dir / "figures").mkdir(parents=True)
        Image.new("RGB", (3000, 600), "navy").save(jobs[name].out_dir / "figures" / f"{figure}.png")
    for name in (profiles.TRAINING, profiles.EVALUATION):
        records.write_json(jobs[name].out_dir / "record.json", RECORD)
    (jobs[profiles.EVALUATION].out_dir / "tables").mkdir()
    for name in kept.OF_EVALUATION:
        (jobs[profiles.EVALUATION].out_dir / "tables" / name).write_text(name)
    folder = kept.keep_reference("toy", toy)
    assert Image.open(folder / "filled.jpg").width == 1000 and (folder / "summary.md").read_text() == "summary.md"
    assert "/home" not in (folder / "05_training.record.json").read_text()


def test_a_profile_of_which_nothing_is_kept_is_refused(toy):
    (toy / "profiles" / "toy.yaml").write_text("01_data: {}\n")
    with pytest.raises(ValueError, match="profile toy has neither 05_training nor 08_ablations"):
        kept.keep_reference("toy", toy)
