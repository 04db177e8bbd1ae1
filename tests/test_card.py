"""The demo weights and what is said of them belong together, and the card's claims are in its numbers."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from aotlib import profiles
from aotlib.classical import CLASSICAL, FLOORS
from aotlib.manifest import file_sha256
from aotlib.masks import BUCKET_NAMES
from aotlib.methods import METHODS
from aotlib.weights import read_card

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights"
CARD = json.loads((WEIGHTS / "aotgan_demo.json").read_text(encoding="utf-8"))
SUMMARY = pd.read_csv(WEIGHTS / "aotgan_demo_summary.csv")
TEXT = (WEIGHTS / "README.md").read_text(encoding="utf-8")


def test_card_is_of_these_weights():
    inside, last = read_card(WEIGHTS / CARD["weights"]), CARD["stages"][-1]
    assert CARD["sha256"] == file_sha256(WEIGHTS / CARD["weights"])
    assert json.loads(inside["options"]) == CARD["network"]
    assert (int(inside["step"]), inside["features"]) == (last["parameters"]["steps"], last["features"])


def test_card_names_no_folder_of_the_machine_that_trained():
    assert not re.findall(r'"(?:/|[A-Z]:|~)[^"]*"', json.dumps(CARD))


@pytest.mark.parametrize("ours", ["AOT-GAN demo", "AOT-GAN demo, blended"])
@pytest.mark.parametrize("metric, better", [("psnr", 1), ("fid_768", -1), ("hole_l1", -1)])
def test_network_beats_diffusion_from_10_percent_up(ours, metric, better):
    means = SUMMARY[SUMMARY.metric == metric].set_index(["method", "bucket"])["mean"]
    for bucket in BUCKET_NAMES[1:]:
        rival = max(better * means[name, bucket] for name in CLASSICAL)
        assert better * means[ours, bucket] > rival, (ours, metric, bucket)


def test_text_shows_the_numbers_of_the_table():
    row = SUMMARY[(SUMMARY.method == "AOT-GAN demo") & (SUMMARY.metric == "psnr") & (SUMMARY.bucket == "20-30 %")]
    mean, low, high = (f"{row[key].item():.1f}" for key in ("mean", "low", "high"))
    line = next(line for line in TEXT.splitlines() if line.startswith("| AOT-GAN demo  "))
    assert f"{mean} [{low}, {high}]" in line and f"| {row.n.item():3d} |" in line


def test_the_small_weights_are_those_of_the_comparison():
    """Every row of its tables is a method or a floor, every file of weights one of its runs, and no folder is named."""
    folder = WEIGHTS.parents[1] / "results" / "reference" / "methods"
    text = (folder / "runs.json").read_text(encoding="utf-8")
    account, files = json.loads(text), sorted(path.stem for path in (WEIGHTS / "methods").glob("*.safetensors"))
    assert files == sorted(account["runs"]) == sorted(METHODS.keys() - {"mnps"})
    for name, run in account["runs"].items():
        assert read_card(WEIGHTS / "methods" / f"{name}.safetensors") == run["time"]["card"]
        assert int(run["time"]["card"]["step"]) == run["time"]["parameters"]["steps"]
        lr = run["time"]["parameters"]["lr"]
        tried = account["learning_rates"][name]
        assert tried[f"{lr:g}"] == min(tried.values())
        assert run["time"]["minutes"] == pytest.approx(account["budgets"]["minutes"], rel=0.25), name
    assert not re.findall(r'"(?:/|[A-Z]:|~)[^"]*"', text)
    for budget in ("steps", "time"):
        summary = pd.read_csv(folder / f"summary_{budget}.csv")
        assert set(summary.method) == {method.label for method in METHODS.values()} | FLOORS.keys()
        assert (summary[summary.metric == "psnr"].n == account["measured_on"]["photographs"][budget]).all()


def test_the_course_trains_each_method_at_the_rate_that_was_found():
    text = (WEIGHTS.parents[1] / "results" / "reference" / "methods" / "runs.json").read_text(encoding="utf-8")
    found = {name: run["time"]["parameters"]["lr"] for name, run in json.loads(text)["runs"].items()}
    jobs = profiles.plan("course", WEIGHTS.parents[1])
    assert {name: jobs[f"methods.{name}"].parameters["lr"] for name in found} == found
