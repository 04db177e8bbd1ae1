"""The comparison of all methods at toy size: both budgets, all tables, and a second call that has nothing to do."""

import json
import shutil
import sys

import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image

from aotlib.classical import FLOORS
from aotlib.masks import BUCKETS, irregular_mask
from aotlib.weights import load_generator

sys.path.insert(0, str(ROOT / "data"))
import compare_methods

LEARNT = ["AOT-GAN", "Context Encoder", "MNPS", "EdgeConnect"]


@pytest.fixture(scope="module")
def compared(photographs, tmp_path_factory):
    """Where it wrote, and the words it was called with: two methods of one stage, one of several."""
    masks, out = tmp_path_factory.mktemp("masks"), tmp_path_factory.mktemp("compared")
    for number, (low, high) in enumerate(BUCKETS):
        hole = irregular_mask(64, (low + high) / 2, seed=0, index=number)
        Image.fromarray((hole[0] * 255).byte().numpy()).save(masks / f"{number}.png")
    words = ["--profile", "smoke", "--methods", "aot", "context_encoder", "edge_connect", "--train", photographs]
    words += ["--photographs", photographs / "val", "--masks", masks, "--steps", 50, "--minutes", 0.002, "--out", out]
    words += ["--patches", 1, 2, "--rates", 0.001, 0.003]
    words = [str(word) for word in [*words, "--fid-dims", 0, "--set", "batch=3"]]
    compare_methods.main(words)
    return out, words


def test_every_method_is_judged_after_equal_steps_and_after_equal_times(compared):
    account = json.loads((compared[0] / "runs.json").read_text())
    for budget in ("steps", "time"):
        summary = pd.read_csv(compared[0] / f"summary_{budget}.csv")
        assert set(summary.method) == {*LEARNT, *FLOORS} and not any(summary["mean"].isna())
        assert (summary[summary.bucket == "all"].n == 2).all()
        versus = pd.read_csv(compared[0] / f"differences_{budget}.csv")
        assert set(versus.method) == {*LEARNT[1:], *FLOORS} and set(versus.metric) == {"psnr", "ssim", "hole_l1"}
        text = (compared[0] / f"psnr_{budget}.md").read_text()
        assert len(text.splitlines()) == 2 + len(LEARNT) + len(FLOORS) and "| all" not in text
    for name, run in account["runs"].items():
        steps, time = (run[budget]["parameters"] for budget in ("steps", "time"))
        assert steps["steps"] == 50 and steps["batch"] == 3 and steps["method"] == name
        rows = [
            json.loads(line) for path in (compared[0] / "search").glob(f"{name}-*/pace.jsonl") for line in path.open()
        ]
        paces = [sum(row[key] for row in rows) for key in ("seconds", "steps")]
        assert time["steps"] % 10 == 0 and time["steps"] == pytest.approx(0.12 / (paces[0] / paces[1]), abs=10)
        often = ("log_every", "sample_every", "save_every")
        assert time == steps | {"steps": time["steps"]} | {key: time[key] for key in often}
        assert not any("/" in str(value) for value in time.values()), "a folder of this machine"
        for budget, parameters in (("steps", steps), ("time", time)):
            assert int(run[budget]["card"]["step"]) == parameters["steps"]
            assert run[budget]["minutes"] == pytest.approx(run[budget]["seconds_a_step"] * parameters["steps"] / 60)


def test_the_learning_rate_is_the_best_of_those_tried(compared):
    account = json.loads((compared[0] / "runs.json").read_text())
    for name, found in account["learning_rates"].items():
        assert set(found) == {"0.001", "0.003"}
        for lr, error in found.items():
            log = (compared[0] / "search" / f"{name}-{float(lr):g}" / "log.jsonl").read_text().splitlines()
            assert json.loads(log[-1])["val_hole_l1"] == error
        assert f"{account['runs'][name]['steps']['parameters']['lr']:g}" == min(found, key=found.get)


def test_the_weights_after_equal_times_have_their_card(compared):
    folder = compared[0] / "weights"
    text = " ".join((folder / "README.md").read_text().split())
    for name in ("aot", "context_encoder", "edge_connect"):
        n = sum(p.numel() for p in load_generator(folder / f"{name}.safetensors").parameters())
        assert f"| {name} " in text and f"{n:,}" in text
    assert "**Trained on** 4 photographs" in text and "every method for about 0.002 minutes on" in text


def test_a_second_call_goes_on_where_the_first_ended(compared, monkeypatch):
    out, words = compared
    before = {path: path.read_bytes() for path in out.glob("*_*.csv")}
    monkeypatch.setattr(compare_methods, "judge", lambda *_, **__: pytest.fail("judged again"))
    monkeypatch.setattr(compare_methods, "Watch", lambda *_: pytest.fail)
    compare_methods.main(words)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("other", [["--minutes", "0.004"], ["--set", "batch=4"], ["--limit", "1"]])
def test_another_comparison_wants_another_folder(compared, other):
    with pytest.raises(SystemExit, match="holds a comparison with other (minutes|runs|limit); give another --out"):
        compare_methods.main([*compared[1], *other])


def test_weights_of_other_settings_are_refused(compared, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(compared[0] / "runs" / "aot-steps", run)
    told = json.loads((run / "settings.json").read_text()) | {"steps": 60}
    (run / "settings.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="weights after 50 steps, settings of 60; remove it"):
        compare_methods.account_of(run)


def test_a_method_that_the_profile_lacks_is_named(tmp_path):
    with pytest.raises(SystemExit, match="profile smoke has no methods lama; it has aot, ca, context_encoder"):
        compare_methods.configurations("smoke", ["lama", "aot"], {"data": "x", "steps": 10})
    with pytest.raises(SystemExit, match="must be a multiple of 10, got 12"):
        compare_methods.configurations("smoke", ["aot"], {"data": "x", "steps": 12})
