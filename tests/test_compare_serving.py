"""The measurement of the ways to serve other sizes, at toy size: its tables, a second call, and what it refuses."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image

from aotlib.masks import BUCKET_NAMES, BUCKETS, irregular_mask
from aotlib.model import Generator
from aotlib.serving import WAYS
from aotlib.weights import save_weights

sys.path.insert(0, str(ROOT / "data"))
import compare_serving

SIZES = ("48 px", "64 px")


@pytest.fixture(scope="module")
def measured(photographs, tmp_path_factory):
    """Where it wrote, and the words it was called with: six photographs, of the larger size only three."""
    folder = tmp_path_factory.mktemp("serving")
    network = Generator(4, 1, init="he")
    save_weights(network.state_dict(), folder / "g.safetensors", {"options": json.dumps(network.options), "step": "0"})
    words = ["--weights", folder / "g.safetensors", "--trained-size", 48, "--photographs", photographs]
    words += ["--sizes", 48, 64, "--limit", "64=3", "--out", folder / "out"]
    words = [str(word) for word in words]
    compare_serving.main(words)
    return folder / "out", words


def test_every_way_has_its_numbers_at_every_size(measured):
    summary = pd.read_csv(measured[0] / "summary.csv")
    assert list(summary.method.unique()) == list(WAYS) and set(summary.metric) == set(compare_serving.METRICS)
    assert set(zip(summary.bucket, summary.n, strict=True)) == {("48 px", 6), ("64 px", 3)}
    costs = pd.read_csv(measured[0] / "costs.csv").set_index(["bucket", "method"])
    assert len(costs) == 2 * len(WAYS) and (costs.seconds > 0).all() and costs.parameters.nunique() == 1
    at = costs.loc["64 px"].gmac
    assert at["scaled"] == at["spread"] == pytest.approx(at["fixed"])
    assert at["resized"] == pytest.approx(at["fixed"] * (48 / 64) ** 2, rel=1e-4)
    assert at["chosen"] > 2 * at["fixed"]


def test_differences_are_those_of_the_same_photographs(measured):
    table = pd.read_csv(measured[0] / "differences.csv").set_index(["metric", "method", "bucket"])
    assert len(table) == len(compare_serving.METRICS) * (len(WAYS) - 1) * len(SIZES)
    images = pd.concat(pd.read_csv(measured[0] / "parts" / f"images_{size}.csv") for size in (48, 64))
    wide = images[images.metric == "hole_l1"].pivot(index=["data", "image"], columns="method", values="value")
    for size in SIZES:
        by_hand = (wide.scaled - wide.fixed)[size].mean()
        assert table.loc[("hole_l1", "scaled", size), "difference"] == pytest.approx(by_hand, rel=1e-4, abs=1e-7)
    same = table.xs("48 px", level="bucket")  # the trained size
    assert (same.difference == 0).all() and not same.significant.any()


def test_the_account_says_what_was_used(measured):
    account = json.loads((measured[0] / "runs.json").read_text())
    assert account["trained_size"] == 48 and account["receptive_field"] == 28 + 8 * 9 and "fid" in account["left_out"]
    assert account["sizes"]["48"]["photographs"] == 6 and account["sizes"]["64"]["photographs"] == 3
    rates = account["sizes"]["64"]["rates"]
    assert rates["fixed"] == {"(1, 2, 4, 8)": 3} and sum(rates["chosen"].values()) == 3 and rates["resized"] == {}
    assert "/" not in json.dumps(account["weights"]), "a folder of this machine"


def test_a_second_call_measures_nothing_again_and_a_later_one_adds_a_size(measured, monkeypatch):
    out, words = measured
    before = {path: path.read_bytes() for path in out.rglob("*.csv")}
    monkeypatch.setattr(compare_serving, "judge", lambda *_, **__: pytest.fail("judged again"))
    compare_serving.main(words)
    assert {path: path.read_bytes() for path in before} == before
    monkeypatch.undo()
    larger = [word if word != "48" or words[i - 1] != "--sizes" else "56" for i, word in enumerate(words)]
    compare_serving.main(larger)
    assert set(pd.read_csv(out / "summary.csv").bucket) == {"56 px", "64 px"}
    compare_serving.main(words)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("other, named", [(["--seed", "1"], "seed"), (["--limit", "64=2"], "limit")])
def test_another_measurement_wants_another_folder(measured, other, named):
    with pytest.raises(SystemExit, match=f"holds (48|64) px measured with other {named}; give another --out"):
        compare_serving.main([*measured[1], *other])


def test_photographs_that_are_too_small_and_limits_of_nothing_are_refused(measured, tmp_path):
    with pytest.raises(SystemExit, match="6 of 6 photographs are smaller than 96 px.*measure smaller --sizes"):
        compare_serving.main([*measured[1], "--sizes", "96", "--limit", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="names 96 px, which is none of --sizes"):
        compare_serving.main([*measured[1], "--limit", "96=1"])


def test_photographs_take_turns_in_the_sizes_of_their_holes(tmp_path):
    rows = [(bucket, f"{i:02}.jpg") for bucket in BUCKET_NAMES for i in range(12)]
    plan = pd.DataFrame(rows, columns=["bucket", "image"])
    for holes in (1, 2, 3, 6):
        found = compare_serving.turned(plan, holes)
        assert (found.image.value_counts() == holes).all() and (found.bucket.value_counts() == 2 * holes).all()
    one = compare_serving.turned(plan, 1)
    few = compare_serving.limited(one, 4)
    assert few.image.nunique() == 4 and few.merge(one).equals(few.reset_index(drop=True))


def test_mask_files_are_used_where_they_are_given(measured, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for number, (low, high) in enumerate(BUCKETS):
        hole = irregular_mask(64, (low + high) / 2, seed=0, index=number)[0].numpy()
        Image.fromarray((hole * 255).astype(np.uint8)).save(masks / f"{number}.png")
    words = [*measured[1], "--sizes", "48", "--limit", "48=1", "--masks", str(masks), "--out", str(tmp_path / "out")]
    compare_serving.main(words)
    account = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert account["masks"]["files"] == 6 and account["sizes"]["48"]["holes"] == 1
