"""Published numbers: read without loss, refused when wrong."""

import math
import re

import pytest
import yaml
from conftest import ROOT

from aotlib import reference as ref
from aotlib.masks import BUCKET_NAMES

FILE = ROOT / "data" / "paper_reference.yaml"
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
