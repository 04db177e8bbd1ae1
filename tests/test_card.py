"""The demo weights and what is said of them belong together, and the card's claims are in its numbers."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from aotlib.classical import CLASSICAL
from aotlib.manifest import file_sha256
from aotlib.masks import BUCKET_NAMES
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
