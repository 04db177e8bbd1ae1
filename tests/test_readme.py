"""The README: its links lead somewhere, its commands exist, its result table is the one that a run left."""

import json
import re

import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats

from aotlib import profiles
from aotlib.bench import tables

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_and_pictures_exist():
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", README) if not t.startswith("http")]
    assert len(targets) >= 8 and [t for t in targets if not (ROOT / t).exists()] == []


def test_every_make_target_named_is_there():
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.M))
    assert {"reproduce", "test"} <= named
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.M)] == []


def test_the_result_table_is_that_of_the_reference_run():
    rows = (ROOT / "results" / "reference" / "summary.md").read_text().strip()
    assert len(rows.splitlines()) == 14 and rows in README


@pytest.mark.parametrize("name", ["05_training", "06_evaluation"])
def test_the_reference_run_was_made_by_committed_code_with_todays_parameters(name):
    record = json.loads((ROOT / "results" / "reference" / f"{name}.record.json").read_text())
    declared = profiles.declared_parameters(ROOT / "notebooks" / f"{name}.ipynb")
    assert record["parameters"].keys() == {key for key in declared if not key.endswith("_dir")}
    assert record["dirty"] is False and re.fullmatch("[0-9a-f]{40}", record["commit"])


def test_the_speed_table_is_that_of_the_benchmark():
    content = json.loads((ROOT / "results" / "bench" / "cpu-amd-epyc.json").read_text())
    assert tables.summary(content) in README and content["dirty"] is False


def test_the_loaders_rates_are_those_of_its_record():
    content = json.loads((ROOT / "results" / "bench" / "loader-cpu-amd-epyc.json").read_text())
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert len(content["stages"]) == 4 and content["dirty"] is False
    for row in content["stages"]:
        told = f"| {row['size']} px | {row['total_ms']:.0f} ms | {1000 / row['total_ms']:.0f} |"
        assert f"{row['photographs']:,}, shorter side {row['median_side']} px {told}" in text


def test_the_tests_can_be_run_as_the_readme_says():
    """The folder notebooks/ would be searched for doctests, which executes the sources; a pattern is needed."""
    (command,) = re.findall(r"-m pytest (.+)", README)
    patterns = [word for word in command.split() if not word.startswith("-")]
    assert all(any(ROOT.glob(pattern)) for pattern in patterns) and "notebooks" not in patterns


@pytest.mark.parametrize("notebook", sorted(p.name for p in (ROOT / "notebooks").glob("[0-9]*.ipynb")))
def test_every_notebook_is_on_the_map(notebook):
    assert f"(notebooks/{notebook})" in README


def test_the_table_of_methods_is_that_of_the_comparison():
    folder = ROOT / "results" / "reference" / "methods"
    assert (folder / "psnr_time.md").read_text(encoding="utf-8").strip() in README
    account = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    assert account["dirty"] is False and re.fullmatch("[0-9a-f]{40}", account["commit"])
    assert f"{account['measured_on']['photographs']['time']} other photographs" in README
    sizes = [run["time"]["parameters_of_network"] for run in account["runs"].values()]
    assert f"{min(sizes):,} to {max(sizes):,} parameters" in README
    assert f"about {account['budgets']['minutes']:g} minutes" in README


def test_the_ablations_named_are_those_that_the_larger_runs_tell_apart():
    folder = ROOT / "results" / "reference" / "ablations"
    runs, rows = (pd.read_csv(folder / f"{name}.csv") for name in ("runs", "differences"))
    sure = rows[rows.significant & (rows.metric == "psnr")].set_index("method")
    assert set(sure.index) == {"released_gate", "all_far"} == set(rows[rows.significant].method)
    for row in sure.itertuples():
        assert f"{-row.difference:.2f} dB [{-row.high:.2f}, {-row.low:.2f}]" in README
    assert f"{len(runs)} runs of {runs.steps.max()} steps" in README and not runs.dirty.any()
    assert f"{rows.n.max()} other landscapes" in re.sub(r"\s+", " ", README)
    record = json.loads((folder / "08_ablations.record.json").read_text(encoding="utf-8"))
    assert record["dirty"] is False and record["profile"] == "larger"


def test_what_is_said_of_other_sizes_was_measured():
    rows = pd.read_csv(ROOT / "results" / "reference" / "serving" / "differences.csv")
    assert dict(rows.groupby("bucket").n.max()) == {"128 px": 35, "256 px": 35, "512 px": 35, "1024 px": 35}
    better = rows[rows.better == rows.method]
    assert set(zip(better.method, better.bucket, strict=True)) == {("resized", "1024 px")}
    row = better[better.metric == "psnr"].iloc[0]
    assert f"gained {row.difference:.2f} dB [{row.low:.2f}, {row.high:.2f}]" in README


def test_what_is_said_of_labels_and_of_the_order_was_measured():
    folder = ROOT / "results" / "reference" / "ablations"
    auc, order = pd.read_csv(folder / "labels.csv").auc, pd.read_csv(folder / "same_order.csv").tau
    assert f"AUC {auc.min():.2f} to {auc.max():.2f}" in README
    said = f"is {order[0]:.2f} after a quarter and {order[1]:.2f} after half"
    assert said in re.sub(r"\s+", " ", README)
    rows = pd.read_csv(folder / "differences.csv")
    n = rows.method.nunique()
    assert f"{n} comparisons a difference has to be {stats.t.isf(0.05 / n / 2, 3 - 1):.0f} times" in README
    off = rows[(rows.metric == "psnr") & (rows.bucket == "all")].set_index("method").difference
    for name in ("no_gate", "no_reconstruction", "no_style"):
        assert f"({off[name]:+.2f} dB)" in README
