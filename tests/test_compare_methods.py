"""The comparison of all methods at toy size: both budgets, all tables, and a second call that has nothing to do."""

import json
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
    words += ["--photographs", photographs / "val", "--masks", masks, "--steps", 20, "--minutes", 0.001, "--out", out]
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
        assert steps["steps"] == 20 and steps["batch"] == 3 and steps["method"] == name
        expected = max(round(0.06 / run["time"]["seconds_a_step"] / 10) * 10, 10)
        often = ("log_every", "sample_every", "save_every")
        assert time == steps | {"steps": expected} | {key: time[key] for key in often}
        assert not any("/" in str(value) for value in time.values()), "a folder of this machine"
        assert int(run["time"]["card"]["step"]) == expected and int(run["steps"]["card"]["step"]) == 20


def test_the_weights_after_equal_times_have_their_card(compared):
    folder = compared[0] / "weights"
    text = " ".join((folder / "README.md").read_text().split())
    for name in ("aot", "context_encoder", "edge_connect"):
        n = sum(p.numel() for p in load_generator(folder / f"{name}.safetensors").parameters())
        assert f"| {name} " in text and f"{n:,}" in text
    assert "**Trained on** 4 photographs" in text and "every method for 0.001 minutes on" in text


def test_a_second_call_goes_on_where_the_first_ended(compared, monkeypatch):
    out, words = compared
    before = {path: path.read_bytes() for path in out.glob("*_*.csv")}
    monkeypatch.setattr(compare_methods, "judge", lambda *_, **__: pytest.fail("judged again"))
    monkeypatch.setattr(compare_methods, "pace", lambda *_: pytest.fail("timed again"))
    compare_methods.main(words)
    assert {path: path.read_bytes() for path in before} == before


def test_a_method_that_the_profile_lacks_is_named(tmp_path):
    with pytest.raises(SystemExit, match="profile smoke has no methods lama; it has aot, ca, context_encoder"):
        compare_methods.configurations("smoke", ["lama", "aot"], {"data": "x", "steps": 10})
    with pytest.raises(SystemExit, match="--steps must be a multiple of 10, got 12"):
        compare_methods.configurations("smoke", ["aot"], {"data": "x", "steps": 12})
