"""Published numbers: read without loss, refused when wrong; and a run stands only in the column where it belongs."""

import json
import math
import re

import pandas as pd
import pytest
import yaml
from conftest import ROOT

from aotlib import reference as ref
from aotlib import tables
from aotlib.intervals import summarise
from aotlib.masks import BUCKET_NAMES

FILE = ROOT / "data" / "paper_reference.yaml"
PAPER, SMALL = "here (paper scale)", "here (small run)"
RUN, MADE_BY = "AOT-GAN, this run", {"scale": ref.PAPER_SCALE, "here": "AOT-GAN, this run", "run": "aotgan-places2-s0"}
TEXT = """
sources: {paper: {title: T, authors: A, url: U, about: B}, other: {title: T, authors: A, url: U, about: B}}
metrics:
  psnr: {label: PSNR, unit: dB, scale: 1, aotlib: psnr, better: higher, definition: one}
  l1_percent: {label: L1, unit: 10^-2, scale: 0.01, aotlib: relative_l1, better: lower, definition: two}
tables:
  - {source: paper, where: Table 1, read: direct, trained_on: Places2, data: places2, split: val, n: 10,
     resolution: 512, masks: brush, buckets: [1-10 %, 10-20 %],
     values: {psnr: {AOT-GAN: [34.70, 29]}, l1_percent: {AOT-GAN: [0.50, 1.0]}},
     caveat: guessed, note: both, notes: [{metric: psnr, method: AOT-GAN, bucket: 10-20 %, note: this one}]}
not_known: []
"""


@pytest.fixture(scope="module")
def published():
    return ref.load(FILE)


def write(tmp_path, text):
    path = tmp_path / "reference.yaml"
    path.write_text(text)
    return path


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


# The file.


def test_every_number_of_the_file_is_a_row_and_agrees_with_a_plain_reading(published):
    plain = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    expected = [
        (block["source"], metric, method, bucket, float(value), block["n"])
        for block in plain["tables"]
        for metric, methods in block["values"].items()
        for method, values in methods.items()
        for bucket, value in zip(block["buckets"], values, strict=True)
    ]
    found = published[["source", "metric", "method", "bucket", "value", "n"]].astype(object)
    found = found.where(found.notna(), None)
    assert [tuple(row) for row in found.itertuples(index=False)] == expected
    assert len(published) == 282 and set(published.source) == set(plain["sources"])
    assert set(published.metric) == set(plain["metrics"]), "a metric that nobody uses"


def test_the_papers_row(published):
    """Typed a second time, from the table that MMagic prints."""
    rows = published[(published.source == "paper") & published.bucket.isin(BUCKET_NAMES)]
    by_label = rows.groupby("label").printed.agg(list).to_dict()
    assert by_label == {
        "L1": ["0.55", "1.19", "2.11", "3.20", "4.51", "7.07"],
        "PSNR": ["34.79", "29.49", "26.03", "23.58", "21.65", "19.01"],
        "SSIM": ["0.976", "0.940", "0.890", "0.835", "0.773", "0.682"],
    }
    assert set(rows.bucket) == set(BUCKET_NAMES) and set(rows.method) == {"AOT-GAN"}
    assert rows.n.isna().all(), "how many images the paper scored is not known"
    assert rows.definition.str.contains("inferred").all()


def test_quality_falls_with_the_size_of_the_hole(published):
    """As it must: a digit typed wrongly, or a decimal point, mostly breaks that order."""
    rows = published[published.bucket.isin(BUCKET_NAMES) & (published.value < math.inf)]
    for name, group in rows.groupby(["source", "trained_on", "data", "method", "metric"]):
        values = group.set_index("bucket").value.reindex(BUCKET_NAMES).dropna()
        assert (-values if group.label.iloc[0] in ("PSNR", "SSIM") else values).is_monotonic_increasing, name


def test_relations_between_sources_that_their_own_texts_state(published):
    def values(source, metric, method="AOT-GAN", trained_on=None):
        rows = published[(published.source == source) & (published.metric == metric) & (published.method == method)]
        rows = rows[(rows.data == "places2") & ((rows.trained_on == trained_on) | (trained_on is None))]
        return rows.set_index("bucket").value

    paper, challenge = (values("paper", "psnr"), values("SimpleAICV", "psnr", trained_on="Places365-challenge"))
    standard = values("SimpleAICV", "psnr", trained_on="Places365-standard")
    assert (challenge - paper)[1:].abs().max() < 0.16 and (standard - paper)[1:].abs().max() < 0.22
    assert 0.68 < (standard - paper).iloc[0] < (challenge - paper).iloc[0] < 0.82
    light = values("SimpleAICV", "psnr", "AOT-GAN light", "Places365-challenge")
    assert (challenge - light).between(0.12, 0.38).all()  # "half width costs 0.12 to 0.38 dB"
    ours, theirs = values("paper", "relative_l1_percent"), values("MMagic", "l1_percent_unstated")
    assert (theirs > ours)[1:].all() and (values("MMagic", "psnr_unstated") > paper)[1:].all()
    assert values("MMagic", "psnr_unstated")["1-10 %"] == math.inf
    for method in ("MAT", "LaMa-Big"):  # printed by both; CoModGAN's FID too
        for metric in ("fid_mat", "p_ids_percent", "u_ids_percent"):
            gap = (values("MAT", metric, method) - values("PixelHacker", metric, method)).abs()
            contradiction = (method, metric) == ("LaMa-Big", "u_ids_percent")
            assert gap.max() == pytest.approx(0.1 if contradiction else 0.0, abs=1e-9), (method, metric)


def test_contradictions_stand_in_their_rows(published):
    rows = published[(published.method == "LaMa-Big") & (published.metric == "u_ids_percent")]
    large = rows[rows.bucket == "large masks"].set_index("source")
    assert large.value.to_dict() == {"PixelHacker": 32.29, "MAT": 32.39}
    assert "32.39" in large.note["PixelHacker"] and "32.29" in large.note["MAT"]
    mmagic = published[(published.source == "MMagic") & (published.bucket == "50-60 %")]
    assert mmagic.note.str.contains("headline").all()
    first = published[(published.source == "paper") & (published.metric == "relative_l1_percent")].iloc[0]
    assert first.bucket == "1-10 %" and "0.0040" in first.note


def test_only_stated_definitions_have_a_counterpart_here(published):
    """And counterparts are not mixed up: the paper's L1 is a ratio in 10^-2, LPIPS and FID are of one network each."""
    keys = published.groupby("metric").aotlib.agg(lambda keys: keys.iloc[0]).dropna().to_dict()
    expected = {"psnr": "psnr", "ssim_released": "ssim_released", "relative_l1": "relative_l1"}
    assert keys == expected | {
        "relative_l1_percent": "relative_l1", "fid_2048": "fid_2048", "lpips_alex": "lpips"
    }  # fmt: skip
    assert published[published.metric.str.endswith("_unstated")].aotlib.isna().all()


# Reading and refusing.


def test_a_number_keeps_its_printed_digits_and_its_notes(tmp_path):
    rows = ref.load(write(tmp_path, TEXT))
    assert rows.printed.tolist() == ["34.70", "29", "0.50", "1.0"] and rows.value.tolist() == [34.7, 29, 0.5, 1]
    assert rows.note.tolist() == ["both", "both; this one", "both", "both"]
    assert rows.definition.tolist() == ["one; guessed"] * 2 + ["two; guessed"] * 2
    assert rows.n.tolist() == [10] * 4 and rows.scale.tolist() == [1, 1, 0.01, 0.01]
    inf = ref.load(write(tmp_path, TEXT.replace("[34.70, 29]", "[.inf, .5]")))
    assert inf.printed.tolist()[:2] == ["inf", "0.5"] and inf.value[0] == math.inf


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("[34.70, 29]", "['34.70', 29]", "'34.70' is no number"),
        ("[34.70, 29]", "[347e-1, 29]", "'347e-1' is no number"),
        ("[34.70, 29]", "[true, 29]", "True is no number"),
        ("[34.70, 29]", "[.nan, 29]", "is no number"),
        ("[34.70, 29]", "[null, 29]", "None is no number"),
        ("[34.70, 29]", "[34.70]", "needs 2 numbers in a list"),
        ("[34.70, 29]", "34.70", "needs 2 numbers in a list"),
        ("n: 10", "n: '10'", "'10' is no count"),
        ("n: 10", "n: 10.0", "is no count"),
        ("split: val, n: 10,", "split: val,", "'n' is missing; write null"),
        ("masks: brush", "mask: brush", "key 'mask' is not known; did you mean 'masks'?"),
        ("source: paper, where", "source: papers, where", "source 'papers' is not known; did you mean 'paper'?"),
        ("read: direct", "read: surely", "read 'surely' is not known"),
        ("values: {psnr", "values: {psnrr", "metric 'psnrr' is not known; did you mean 'psnr'?"),
        ("bucket: 10-20 %, note", "bucket: 20-30 %, note", "has no number"),
        ("buckets: [1-10 %, 10-20 %]", "buckets: [10-20 %, 10-20 %]", "psnr of AOT-GAN, 10-20 %, is given twice"),
        ("l1_percent: {AOT-GAN", "psnr: {AOT-GAN", "'psnr' stands there twice"),
        ("aotlib: psnr", "aotlib: pnsr", "no metric is called 'pnsr'"),
        ("{title: T, authors: A, url: U, about: B}}", "{title: T, url: U, about: B}}", "'authors' is missing"),
        ("definition: one", "meaning: one", "key 'meaning' is not known"),
        ("not_known: []", "", "'not_known' is missing"),
        ("psnr: {label: PSNR, unit: dB, scale: 1, aotlib: psnr, better: higher, definition: one}", "psnr: dB", "lines"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_refused_and_named(tmp_path, old, new, said):
    assert TEXT.count(old) == 1
    with pytest.raises(ValueError, match=re.escape(said)):
        ref.load(write(tmp_path, TEXT.replace(old, new)))


def test_the_same_number_in_two_blocks_is_refused(tmp_path):
    again = TEXT[TEXT.index("  - {source") : TEXT.index("not_known")]
    with pytest.raises(ValueError, match="given twice"):
        ref.load(write(tmp_path, TEXT.replace("not_known", again.replace("34.70", "34.80") + "not_known")))
    fine = again.replace("source: paper", "source: other")
    assert len(ref.load(write(tmp_path, TEXT.replace("not_known", fine + "not_known")))) == 8


# The table.


def test_without_a_run_the_table_says_so_and_invents_nothing(published):
    table = ref.paper_table(published)
    assert len(table) == 24 and list(table.bucket[:6]) == list(BUCKET_NAMES)
    assert set(table[PAPER]) == set(table[SMALL]) == {"not run"} and set(table.n) == set(table.run) == {""}
    assert list(cells(table, "relative L1", "paper").values()) == [
        "0.0055", "0.0119", "0.0211", "0.0320", "0.0451", "0.0707"
    ]  # fmt: skip
    assert set(cells(table, "FID", "paper").values()) == {"not known"}
    assert cells(table, "SSIM", "paper")["10-20 %"] == "0.940"


def test_retrainings_are_converted_where_the_definition_is_ours_and_starred_where_not(published):
    table, column = ref.paper_table(published), "independent retrainings"
    assert cells(table, "relative L1", column)["50-60 %"] == "0.0721 a, 0.0720 b, 10.16 d*"
    assert cells(table, "PSNR", column)["20-30 %"] == "25.882 a, 25.858 b, 26.04001 c*, 27.65 d*"
    assert cells(table, "PSNR", column)["1-10 %"] == "35.596 a, 35.479 b, inf d*"
    assert cells(table, "FID", column)["50-60 %"] == "14.437 a, 16.803 b"
    marks = ref.retrainings(published)
    assert marks.mark.tolist() == ["a", "b", "c", "d"] and marks.n.tolist() == [36500, 36500, "not known", "not known"]
    assert marks.source.tolist() == ["SimpleAICV", "SimpleAICV", "PaddleGAN", "MMagic"]


def test_other_photographs_and_other_networks_are_no_retrainings(published):
    rows = published[(published.source == "SimpleAICV") & (published.trained_on == "Places365-challenge")]
    faces = rows.assign(data="celebahq", printed="77")
    light = rows[rows.method == "AOT-GAN light"].assign(trained_on="elsewhere", printed="77")
    more = pd.concat([published, faces, light], ignore_index=True)
    assert ref.paper_table(more).equals(ref.paper_table(published))
    assert ref.retrainings(more).equals(ref.retrainings(published))


@pytest.mark.parametrize("method", ["CA", "GatedConv", "MNPS"])
def test_a_method_of_which_nothing_is_known_has_one_row(published, method):
    """LaMa's and MAT's numbers of DeepFill v2 and others, with other masks, must not fill the paper's cells."""
    table = ref.paper_table(published, method=method)
    assert len(table) == 1 and table.iloc[0].tolist()[:7] == [
        method, "every metric", "every bucket", "not known", "not known", "not run", "not run"
    ]  # fmt: skip
    ran = ref.paper_table(published, summary_of({"psnr": 20.0}, method=method), method=method)
    assert len(ran) == 24 and set(ran.paper) == {"not known"} and "20.045" in cells(ran, "PSNR", SMALL)["50-60 %"]


def test_a_run_at_the_papers_scale_stands_beside_the_paper(published):
    summary = summary_of({"relative_l1": 0.05, "psnr": 25.0, "ssim": 0.8, "fid_768": 1.0})
    table = ref.paper_table(published, summary, **MADE_BY)
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
]  # fmt: skip


@pytest.mark.parametrize("key, value", [*CHANGES, *[(key, None) for key in ref.PAPER_SCALE]])
def test_whatever_differs_or_is_not_recorded_is_a_gap(key, value):
    gaps = ref.gaps(ref.PAPER_SCALE | {key: value})
    assert len(gaps) == 1 and gaps[0].startswith(f"{key}: ")


@pytest.mark.parametrize("key, value", [("steps", 999_999), ("width", None), ("holes", "drawn")])
def test_one_gap_is_enough_for_the_other_column(published, key, value):
    table = ref.paper_table(published, summary_of({"psnr": 25.0}), ref.PAPER_SCALE | {key: value}, here=RUN)
    assert set(table[PAPER]) == {"not run"} and "not run" not in cells(table, "PSNR", SMALL).values()


def test_more_steps_are_no_gap_and_other_photographs_are():
    published, psnr = ref.load(FILE), {"psnr": 25.0}
    more = ref.PAPER_SCALE | {"steps": 2_000_000}
    assert ref.gaps(more) == []
    assert "not run" in ref.paper_table(published, summary_of(psnr), more, here=RUN)[SMALL].tolist()
    table = ref.paper_table(published, summary_of(psnr, data="samples"), more, here=RUN)  # the record says places2
    assert set(table[PAPER]) == {"not run"} and "25.045" in cells(table, "PSNR", SMALL)["50-60 %"]


def test_no_record_is_a_small_run(published):
    table = ref.paper_table(published, summary_of({"psnr": 25.0}), here=RUN)
    rows = table[table.n != ""]
    assert set(table[PAPER]) == {"not run"} and set(rows.run) == set(rows.scale) == {"not recorded"}


def test_two_data_sets_are_not_mixed_and_another_method_is_not_taken(published):
    both = pd.concat([summary_of({"psnr": 25.0}), summary_of({"psnr": 20.0}, data="celebahq")])
    with pytest.raises(ValueError, match="scored on places2, celebahq: choose"):
        ref.paper_table(published, both, here=RUN)
    table = ref.paper_table(published, summary_of({"psnr": 25.0}), ref.PAPER_SCALE)  # it has no method "AOT-GAN"
    assert set(table[PAPER]) == set(table[SMALL]) == {"not run"}


def test_one_image_has_a_mean_and_no_interval(published):
    row = {"method": RUN, "data": "places2", "bucket": "1-10 %", "image": "a", "metric": "psnr", "value": 30.0}
    table = ref.paper_table(published, summarise(pd.DataFrame([row])), **MADE_BY)
    cell = table[(table.metric == "PSNR / dB") & (table.bucket == "1-10 %")].iloc[0]
    assert cell[PAPER] == "30.00" and cell.n == "1"


def test_the_table_can_be_written(published, tmp_path):
    table = ref.paper_table(published, summary_of({"psnr": 25.0}), **MADE_BY)
    tables.write(table, tmp_path, "paper")
    again = pd.read_csv(tmp_path / "paper.csv", dtype=str, keep_default_na=False)
    assert again.to_dict("records") == table.to_dict("records")
    assert (tmp_path / "paper.tex").read_text().count(r" \\") == 25
    tables.write(ref.retrainings(published), tmp_path, "retrainings")


# Which run it was.


def a_run(folder, name="aotgan-places2-s0-1", moved=False):
    trained = {"data": "places2", "size": 512, "width": 64, "n_blocks": 8, "rates": [1, 2, 4, 8], "batch": 8}
    training = {"parameters": trained | {"steps": 2_000_000}, "metrics": {"steps": 1_000_000}, "features": "vgg19"}
    run_dir, evaluation = folder / "training" / name, folder / "06_evaluation"
    scored = {"data": "places2", "split": "val", "size": 512, "masks": "/where/masks/are", "n_images": 500}
    scored["run_dir"] = f"/somewhere/else/{name}" if moved else str(run_dir)
    for place, content in ((run_dir, training), (evaluation, {"parameters": scored})):
        place.mkdir(parents=True, exist_ok=True)
        (place / "record.json").write_text(json.dumps(content))
    return evaluation, run_dir


@pytest.mark.parametrize("moved", [False, True])
def test_the_scale_of_a_run_comes_from_the_two_records(tmp_path, moved):
    evaluation, _ = a_run(tmp_path, moved=moved)
    assert ref.run_of(evaluation) == ("aotgan-places2-s0-1", ref.PAPER_SCALE)


def test_steps_count_as_made_and_drawn_holes_as_drawn(tmp_path):
    evaluation, run_dir = a_run(tmp_path)
    for path, old, new in (
        (run_dir / "record.json", '"metrics": {"steps": 1000000}', '"metrics": {"steps": 1600}'),
        (evaluation / "record.json", '"masks": "/where/masks/are"', '"masks": ""'),
    ):
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    assert ref.gaps(ref.run_of(evaluation)[1]) == ["steps: 1600, not 1000000", "holes: drawn, not mask files"]


def test_what_is_not_recorded_is_not_taken_for_the_papers(tmp_path):
    assert ref.run_of(tmp_path)[0] == "" and set(ref.run_of(tmp_path)[1].values()) == {None}
    evaluation, run_dir = a_run(tmp_path)
    (run_dir / "record.json").unlink()
    gaps = ref.gaps(ref.run_of(evaluation)[1])
    assert len(gaps) == 8 and all(gap.endswith("not recorded") for gap in gaps)
