"""A run stands only in the column where it belongs, and no number takes the place of another."""

import json
import math
import re

import pandas as pd
import pytest
from conftest import ROOT

from aotlib import reference as ref
from aotlib import tables
from aotlib.intervals import summarise
from aotlib.masks import BUCKET_NAMES
from aotlib.paper_table import PAPER_SCALE, THIS_RUN, gaps, paper_table, retrainings, run_of
from aotlib.profiles import checked_parameters, load_profile

FILE = ROOT / "data" / "paper_reference.yaml"
PAPER, SMALL = "here (paper scale)", "here (small run)"
RUN, MADE_BY = THIS_RUN, {"scale": PAPER_SCALE, "here": THIS_RUN, "run": "aotgan-places2-s0"}


@pytest.fixture(scope="module")
def published():
    return ref.load(FILE)


def summary_of(values, data="places2", method=RUN):
    """Of ten images, two in the first bucket exact; `values` gives each metric a number to lie around."""
    rows = [
        {"method": method, "data": data, "bucket": bucket, "image": f"{i}.png", "metric": metric, "value": at + i / 100}
        for metric, at in values.items()
        for bucket in BUCKET_NAMES
        for i in range(10)
    ]
    long = pd.DataFrame(rows)
    exact = (long.metric == "psnr") & (long.bucket == "1-10 %") & long.image.isin(["0.png", "1.png"])
    long.loc[exact, "value"] = math.inf
    return summarise(long, n_resamples=200)


def cells(table, metric, column):
    return table[table.metric.str.startswith(metric)].set_index("bucket")[column].to_dict()


def test_without_a_run_the_table_says_so_and_invents_nothing(published):
    table = paper_table(published)
    assert len(table) == 24 and list(table.bucket[:6]) == list(BUCKET_NAMES)
    assert set(table[PAPER]) == set(table[SMALL]) == {"not run"} and set(table.n) == set(table.run) == {""}
    assert list(cells(table, "relative L1", "paper").values()) == [
        "0.0055", "0.0119", "0.0211", "0.0320", "0.0451", "0.0707"
    ]  # fmt: skip
    assert set(cells(table, "FID", "paper").values()) == {"not known"}
    assert cells(table, "SSIM", "paper")["10-20 %"] == "0.940"


def test_retrainings_are_converted_where_the_definition_is_ours_and_starred_where_not(published):
    table, column = paper_table(published), "independent retrainings"
    assert cells(table, "relative L1", column)["50-60 %"] == "0.0721 a, 0.0720 b, 10.16 d*"
    assert cells(table, "PSNR", column)["20-30 %"] == "25.882 a, 25.858 b, 26.04001 c*, 27.65 d*"
    assert cells(table, "PSNR", column)["1-10 %"] == "35.596 a, 35.479 b, inf d*"
    assert cells(table, "FID", column)["50-60 %"] == "14.437 a, 16.803 b"
    marks = retrainings(published)
    assert marks.mark.tolist() == ["a", "b", "c", "d"] and marks.n.tolist() == [36500, 36500, "not known", "not known"]
    assert marks.source.tolist() == ["SimpleAICV", "SimpleAICV", "PaddleGAN", "MMagic"]


def test_other_photographs_and_other_networks_are_no_retrainings(published):
    rows = published[(published.source == "SimpleAICV") & (published.trained_on == "Places365-challenge")]
    faces = rows.assign(data="celebahq", printed="77")
    light = rows[rows.method == "AOT-GAN light"].assign(trained_on="elsewhere", printed="77")
    more = pd.concat([published, faces, light], ignore_index=True)
    assert paper_table(more).equals(paper_table(published))
    assert retrainings(more).equals(retrainings(published))


@pytest.mark.parametrize("method", ["CA", "GatedConv", "MNPS"])
def test_a_method_of_which_nothing_is_known_has_one_row(published, method):
    """LaMa's and MAT's numbers of DeepFill v2 and others, with other masks, must not fill the paper's cells."""
    table = paper_table(published, method=method)
    assert len(table) == 1 and table.iloc[0].tolist()[:7] == [
        method, "every metric", "every bucket", "not known", "not known", "not run", "not run"
    ]  # fmt: skip
    ran = paper_table(published, summary_of({"psnr": 20.0}, method=method), method=method)
    assert len(ran) == 24 and set(ran.paper) == {"not known"} and "20.045" in cells(ran, "PSNR", SMALL)["50-60 %"]


def test_a_run_at_the_papers_scale_stands_beside_the_paper(published):
    summary = summary_of({"relative_l1": 0.05, "psnr": 25.0, "ssim": 0.8, "fid_768": 1.0})
    table = paper_table(published, summary, **MADE_BY)
    assert set(table[SMALL]) == {"not run"}
    psnr = cells(table, "PSNR", PAPER)
    assert re.fullmatch(r"25\.04\d \[25\.0\d+, 25\.0\d+\]", psnr["50-60 %"])
    spread = tables.spread(summary, "psnr", bold=False)[list(BUCKET_NAMES)].iloc[0]
    assert psnr == {bucket: cell.removesuffix(" (n = 8)") for bucket, cell in spread.items()}
    assert cells(table, "PSNR", "n") == dict.fromkeys(BUCKET_NAMES, "10") | {"1-10 %": "8 (+ 2 exact)"}
    assert set(cells(table, "SSIM", PAPER).values()) == {"not run"}, "our default SSIM is another one"
    assert set(cells(table, "FID", PAPER).values()) == {"not run"}, "FID-768 is not FID-2048"
    known = table[table.n != ""]
    assert set(known.run) == {"aotgan-places2-s0"} and known.scale.str.startswith("512 px, width 64, 1,000,000").all()
    assert set(table[table.n == ""].run) == {""}


CHANGES = [
    ("trained on", "samples"), ("size", 256), ("width", 32), ("n_blocks", 4), ("rates", [1, 2]), ("batch", 4),
    ("steps", 999_999), ("features", "random"), ("split", "test"), ("scored size", 256), ("holes", "drawn"),
    ("recipe", "released"), ("design", "released"), ("weight_sty", 0.0), ("lr", 1e-3), ("start_from", "x.safetensors"),
    ("pictures", 1000),
]  # fmt: skip


@pytest.mark.parametrize("key, value", [*CHANGES, *[(key, None) for key in PAPER_SCALE]])
def test_whatever_differs_or_is_not_recorded_is_a_gap(key, value):
    found = gaps(PAPER_SCALE | {key: value})
    assert len(found) == 1 and found[0].startswith(f"{key}: ")


@pytest.mark.parametrize("key, value", [("steps", 999_999), ("width", None), ("holes", "drawn")])
def test_one_gap_is_enough_for_the_other_column(published, key, value):
    table = paper_table(published, summary_of({"psnr": 25.0}), PAPER_SCALE | {key: value}, here=RUN)
    assert set(table[PAPER]) == {"not run"} and "not run" not in cells(table, "PSNR", SMALL).values()


@pytest.mark.parametrize("here", ["AOT-GAN, demo weights", "demo weights, blended", "Telea"])
def test_the_scale_of_a_run_is_not_that_of_other_fills(published, here):
    table = paper_table(published, summary_of({"psnr": 25.0}, method=here), **MADE_BY | {"here": here})
    assert set(table[PAPER]) == {"not run"} and "25.045" in cells(table, "PSNR", SMALL)["50-60 %"]
    assert set(table[table.n != ""].run) == {"not recorded"}


def test_notebook_6_calls_the_run_so():
    assert f'"{THIS_RUN}"' in (ROOT / "notebooks" / "source" / "06_evaluation.py").read_text(encoding="utf-8")


def test_more_steps_are_no_gap_and_other_photographs_are():
    published, psnr = ref.load(FILE), {"psnr": 25.0}
    more = PAPER_SCALE | {"steps": 2_000_000}
    assert gaps(more) == []
    assert "not run" in paper_table(published, summary_of(psnr), more, here=RUN)[SMALL].tolist()
    table = paper_table(published, summary_of(psnr, data="samples"), more, here=RUN)  # the record says places2
    assert set(table[PAPER]) == {"not run"} and "25.045" in cells(table, "PSNR", SMALL)["50-60 %"]


def test_no_record_is_a_small_run(published):
    table = paper_table(published, summary_of({"psnr": 25.0}), here=RUN)
    rows = table[table.n != ""]
    assert set(table[PAPER]) == {"not run"} and set(rows.run) == set(rows.scale) == {"not recorded"}


def test_two_data_sets_are_not_mixed_and_another_method_is_not_taken(published):
    both = pd.concat([summary_of({"psnr": 25.0}), summary_of({"psnr": 20.0}, data="celebahq")])
    with pytest.raises(ValueError, match="scored on places2, celebahq: choose"):
        paper_table(published, both, here=RUN)
    table = paper_table(published, summary_of({"psnr": 25.0}), PAPER_SCALE)  # it has no method "AOT-GAN"
    assert set(table[PAPER]) == set(table[SMALL]) == {"not run"}


def test_one_image_has_a_mean_and_no_interval(published):
    row = {"method": RUN, "data": "places2", "bucket": "1-10 %", "image": "a", "metric": "psnr", "value": 30.0}
    table = paper_table(published, summarise(pd.DataFrame([row])), **MADE_BY)
    cell = table[(table.metric == "PSNR / dB") & (table.bucket == "1-10 %")].iloc[0]
    assert cell[PAPER] == "30.00" and cell.n == "1"


def test_the_table_can_be_written(published, tmp_path):
    table = paper_table(published, summary_of({"psnr": 25.0}), **MADE_BY)
    tables.write(table, tmp_path, "paper")
    again = pd.read_csv(tmp_path / "paper.csv", dtype=str, keep_default_na=False)
    assert again.to_dict("records") == table.to_dict("records")
    assert (tmp_path / "paper.tex").read_text().count(r" \\") == 25
    tables.write(retrainings(published), tmp_path, "retrainings")


# Which run it was.


def a_run(folder, name="aotgan-places2-s0-1", moved=False):
    """The profile `paper`, as the two notebooks record it, after 1,000,000 of 2,000,000 steps."""
    profile = load_profile("paper")
    trained, scored = (
        checked_parameters(ROOT / "notebooks" / f"{stem}.ipynb", profile[stem])
        for stem in ("05_training", "06_evaluation")
    )
    training = {"notebook": "05_training.ipynb", "features": "vgg19", "metrics": {"steps": 1_000_000}}
    training["parameters"] = trained | {"steps": 2_000_000}
    run_dir, evaluation = folder / "training" / name, folder / "06_evaluation"
    judged = {"parameters": scored, "metrics": {"n_images": 36_500}}
    scored["run_dir"] = f"/somewhere/else/{name}" if moved else str(run_dir)
    for place, content in ((run_dir, training), (evaluation, judged)):
        place.mkdir(parents=True, exist_ok=True)
        (place / "record.json").write_text(json.dumps(content))
    return evaluation, run_dir


@pytest.mark.parametrize("moved", [False, True])
def test_the_scale_of_a_run_comes_from_the_two_records(tmp_path, moved):
    evaluation, _ = a_run(tmp_path, moved=moved)
    assert run_of(evaluation) == ("aotgan-places2-s0-1", PAPER_SCALE)


def test_steps_count_as_made_and_drawn_holes_as_drawn(tmp_path):
    evaluation, run_dir = a_run(tmp_path)
    for path, old, new in (
        (run_dir / "record.json", '"metrics": {"steps": 1000000}', '"metrics": {"steps": 1600}'),
        (evaluation / "record.json", '"masks": "../data/masks"', '"masks": ""'),
        (evaluation / "record.json", '"n_images": 36500', '"n_images": 1000'),
    ):
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    assert gaps(run_of(evaluation)[1]) == [
        "steps: 1600, not 1000000", "holes: drawn, not mask files", "pictures: 1000, not 36500"
    ]  # fmt: skip


def test_what_is_not_recorded_is_not_taken_for_the_papers(tmp_path):
    assert run_of(tmp_path)[0] == "" and set(run_of(tmp_path)[1].values()) == {None}
    evaluation, run_dir = a_run(tmp_path)
    (run_dir / "record.json").unlink()
    found = gaps(run_of(evaluation)[1])
    assert len(found) == 20 and all(gap.endswith("not recorded") for gap in found)
