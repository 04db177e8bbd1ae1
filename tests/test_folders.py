"""Judging a folder of pictures: what fits together, what is measured, and a foreign program through both commands."""

import errno
import hashlib
import json
import math
import re
import shutil
import sys
import weakref

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from aotlib import cli, distances, evaluate_cli, folders, intervals, manifest, scorecard
from aotlib.masks import BUCKET_NAMES, load_masks


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)


def stripes(side, share):
    mask = np.zeros((side, side), np.uint8)
    mask[:, : round(side * share)] = 255
    return mask


@pytest.fixture
def three(tmp_path):
    """Six pictures of 40 px, holes of 10, 15, 25, 55, 70 and 0.25 %; results are off by 20 in the hole."""
    rng = np.random.default_rng(0)
    shares = {"a": 0.1, "b/c": 0.15, "b/d": 0.25, "e": 0.55, "f": 0.7, "g": 0}
    for name, share in shares.items():
        truth, mask = rng.integers(30, 220, (40, 40, 3), dtype=np.uint8), stripes(40, share)
        mask[20, 20:24] = 255 if name == "g" else mask[20, 20:24]
        save(tmp_path / "truth" / f"{name}.png", truth)
        save(tmp_path / "result" / f"{name}.png", truth + (20 * (mask[..., None] > 0)).astype(np.uint8))
        save(tmp_path / "masks" / f"{name}.png", mask)
    return tmp_path


def three_of(root):
    return root / "truth", root / "result", root / "masks"


def scored(root, **rule):
    return folders.score(*three_of(root), **{"name": "ours", "max_ratio": 1} | rule)


def test_names_match_whatever_their_suffix(three):
    (three / "result" / "b" / "c.png").rename(three / "result" / "b" / "c.webp")
    Image.open(three / "truth" / "a.png").save(three / "truth" / "a.JPG")
    (three / "truth" / "a.png").unlink()
    (three / "masks" / "unused.png").write_bytes((three / "masks" / "a.png").read_bytes())
    matched = folders.match(*three_of(three))
    assert matched.names == ["a", "b/c", "b/d", "e", "f", "g"] and list(matched.files) == matched.names
    assert matched[1:5] == ([], [], {}, []) and matched.faults() == ""
    assert [path.name for path in matched.files["a"]] == ["a.JPG", "a.png", "a.png"]


def test_what_does_not_fit_is_named_and_nothing_is_guessed(three):
    (three / "result" / "a.png").rename(three / "result" / "a_mask000.png")
    (three / "masks" / "e.png").unlink()
    save(three / "result" / "f.png", np.zeros((40, 41, 3)))
    save(three / "masks" / "g.png", stripes(20, 0.5))
    matched = folders.match(*three_of(three))
    assert matched.names == ["b/c", "b/d"] == list(matched.files)
    assert (matched.missing, matched.surplus, matched.masks_missing) == (["a"], ["a_mask000"], ["e"])
    assert matched.sizes == {
        "f": "truth 40 x 40, result 41 x 40, mask 40 x 40",
        "g": "truth 40 x 40, result 40 x 40, mask 20 x 20",
    }
    with pytest.raises(ValueError) as error:
        scored(three)
    for line in ("2 pictures in common", "--matched-only", "1 true pictures without a result:\n  a\n", "  a_mask000\n"):
        assert line in str(error.value)
    assert "f: truth 40 x 40, result 41 x 40" in str(error.value)
    assert scored(three, matched_only=True).names == ["b/c", "b/d"]
    shutil.rmtree(three / "result")
    save(three / "result" / "else.png", np.zeros((40, 40, 3)))
    with pytest.raises(ValueError, match="no picture in common"):
        scored(three, matched_only=True)


def test_ten_names_of_each_kind_and_the_count_are_shown(three):
    for i in range(13):
        save(three / "truth" / f"z{i:02}.png", np.zeros((40, 40, 3)))
    text = folders.match(*three_of(three)).faults()
    assert "13 true pictures without a result:\n  z00\n" in text and "  z09\n  ... and 3 more\n" in text
    assert "z10" not in text and "13 true pictures without a mask:" in text


def test_two_files_of_one_name_are_refused(three):
    save(three / "result" / "b" / "c.jpg", np.zeros((40, 40, 3)))
    with pytest.raises(ValueError, match="result has both c.jpg and c.png: which of them is the picture b/c?"):
        folders.match(*three_of(three))


def test_a_rotation_in_exif_counts_for_the_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    (tmp_path / "truth").mkdir()
    Image.new("RGB", (30, 20), "red").save(tmp_path / "truth" / "a.jpg", exif=exif)  # seen 20 wide and 30 high
    save(tmp_path / "result" / "a.png", np.zeros((30, 20, 3)))
    save(tmp_path / "masks" / "a.png", stripes(30, 0.3)[:, :20])
    matched = folders.match(*three_of(tmp_path))
    assert matched.names == ["a"]
    assert len(scored(tmp_path).images) == 8
    save(tmp_path / "result" / "a.png", np.zeros((20, 30, 3)))
    assert folders.match(*three_of(tmp_path)).sizes["a"].startswith("truth 20 x 30, result 30 x 20")


def test_numbers_are_those_of_numpy_and_scikit_image(three):
    found = scored(three)
    values = found.images.set_index(["image", "metric"]).value
    assert found.names == ["a", "b/c", "b/d", "e", "f", "g"]
    assert found.buckets == ["1-10 %", "10-20 %", "20-30 %", "50-60 %", "other", "other"]  # by the measured share
    assert list(found.images.bucket[:6]) == found.buckets and set(found.images.method) == {"ours"}
    for name, share in zip(found.names, (0.1, 0.15, 0.25, 0.55, 0.7, 4 / 1600)):
        assert values[name, "l1"] == pytest.approx(20 * share / 255, rel=1e-9)
        assert values[name, "hole_l1"] == pytest.approx(20 / 255, rel=1e-9)
        pair = [np.asarray(Image.open(three / part / f"{name}.png")) for part in ("truth", "result")]
        assert values[name, "psnr"] == pytest.approx(peak_signal_noise_ratio(*pair, data_range=255), rel=1e-12)
        theirs = structural_similarity(*pair, data_range=255, channel_axis=2)
        assert values[name, "ssim_released"] == pytest.approx(theirs, abs=1e-9)
    assert found.changed == [] and found.real is None


def test_pictures_whose_known_pixels_changed_are_counted_and_scored_as_they_are(three):
    result = np.asarray(Image.open(three / "result" / "e.png")).copy()
    result[0, 39, 2] ^= 1  # one value of one known pixel
    save(three / "result" / "e.png", result)
    found = scored(three)
    assert found.changed == ["e"]
    difference = np.abs(result.astype(float) - np.asarray(Image.open(three / "truth" / "e.png")))
    row = found.images[(found.images.image == "e") & (found.images.metric == "l1")]
    assert row.value.item() == pytest.approx(difference.mean() / 255, rel=1e-12)
    assert "1 of 6 results changed known pixels, such as e" in scorecard.as_text(found, scorecard.card(found))


def test_masks_mean_white_for_hole_and_are_checked_before_anything_is_scored(three, monkeypatch):
    with pytest.raises(
        ValueError, match="1 pictures that are refused:\n  f: .*f.png is 70.0% white.*pass max_ratio=1"
    ) as told:
        scored(three, max_ratio=0.6)
    assert "hole= and max_ratio= are --hole and --max-ratio on the command line" in str(told.value)
    for path in (three / "masks").rglob("*.png"):
        save(path, 255 - np.asarray(Image.open(path)))
    monkeypatch.setattr(folders.metrics, "measure", None)
    with pytest.raises(ValueError, match="4 pictures that are refused"):
        scored(three, max_ratio=0.6)
    monkeypatch.undo()
    assert scored(three, hole="black").buckets[:3] == ["1-10 %", "10-20 %", "20-30 %"]


def test_refused_masks_are_left_out_and_listed_when_told_to(three):
    (three / "result" / "a.png").unlink()
    save(three / "masks" / "b" / "d.png", np.zeros((40, 40)))
    found = scored(three, matched_only=True, max_ratio=0.6)
    assert found.names == ["b/c", "e", "g"] == found.matched.names and found.buckets == ["10-20 %", "50-60 %", "other"]
    assert list(found.matched.refused) == ["b/d", "f"] and "f.png is 70.0% white" in found.matched.refused["f"]
    card = scorecard.card(found)
    content = scorecard.as_json(found, card, name="x", matched_only=True, record={})
    assert content["refused"] == found.matched.refused and content["missing"] == ["a"]
    text = scorecard.as_text(found, card)
    assert "1 true pictures without a result:\n  a\n2 pictures that are refused:\n  b/d: " in text
    assert "--limit" not in text
    with pytest.raises(ValueError, match="5 pictures that are refused"):  # none is left
        scored(three, matched_only=True, max_ratio=0.001)


@pytest.mark.parametrize("side, metric", [(10, "SSIM needs 11"), (31, "LPIPS needs 32")])
def test_pictures_too_small_for_a_metric_are_named_before_anything_is_scored(three, monkeypatch, side, metric):
    for part in ("truth", "result"):
        save(three / part / "b" / "slim.png", np.zeros((50, side, 3)))
    save(three / "masks" / "b" / "slim.png", stripes(50, 0.1)[:, :side])
    measures = Measures()
    measures.lpips = "LPIPS" in metric
    monkeypatch.setattr(measures, "of_image", None)
    with pytest.raises(
        ValueError, match=f"1 pictures that are refused:\n  b/slim: .* {side} px; {metric}\n.*--matched-only"
    ):
        scored(three, measures=measures)
    monkeypatch.undo()
    assert scored(three, measures=measures, matched_only=True).names == ["a", "b/c", "b/d", "e", "f", "g"]


def test_a_limit_takes_pictures_from_everywhere(three):
    assert scored(three, limit=3).names == ["a", "b/d", "f"]
    assert scored(three, limit=99).names == scored(three).names
    with pytest.raises(ValueError, match="limit is 0: take at least one"):
        scored(three, limit=0)
    found = scored(three, limit=2)
    assert "4 more pictures were left out" in scorecard.as_text(found, scorecard.card(found))


def test_a_picture_at_a_time_is_in_memory(three, monkeypatch):
    alive, most, read = weakref.WeakSet(), [], folders.read_image

    class Pixels(np.ndarray):
        __hash__ = object.__hash__
        __eq__ = object.__eq__

    def reading(path):
        alive.add(pixels := read(path).view(Pixels))
        most.append(len(alive))
        return pixels

    for i in range(20):
        for part in ("truth", "result", "masks"):
            shutil.copy(three / part / "a.png", three / part / f"x{i}.png")
    monkeypatch.setattr(folders, "read_image", reading)
    assert len(scored(three).names) == 26 and len(most) == 52
    assert max(most) <= 4  # truth and result of this picture, and of the one before until they are replaced


def test_a_perfect_picture_is_left_out_of_the_mean_and_counted(three):
    for name in ("a", "b/c"):
        shutil.copy(three / "truth" / f"{name}.png", three / "result" / f"{name}.png")
    shutil.copy(three / "result" / "b" / "c.png", three / "truth" / "b" / "h.png")  # 10-20 %, perfect and not
    save(three / "result" / "b" / "h.png", np.asarray(Image.open(three / "truth" / "b" / "h.png")) ^ 1)
    shutil.copy(three / "masks" / "b" / "c.png", three / "masks" / "b" / "h.png")
    found = scored(three)
    card = scorecard.card(found)
    content = scorecard.as_json(found, card, name="ours", matched_only=False, record={})
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    nothing = {"mean": None, "low": None, "high": None, "n": 0, "n_infinite": 1, "n_undefined": 0}
    assert content["buckets"]["1-10 %"]["psnr"] == nothing
    there = content["buckets"]["10-20 %"]["psnr"]
    assert (there["n"], there["n_infinite"]) == (1, 1) and there["low"] is None  # of one picture no interval
    assert there["mean"] == pytest.approx(20 * math.log10(255), rel=1e-12)  # each value off by one
    assert content["overall"]["psnr"]["n_infinite"] == 2 and "n" not in content
    assert (content["pictures"], content["photographs"]) == (7, 6)  # one came twice
    text = scorecard.as_text(found, card)
    assert "infinite" in text and "other" in text and "SSIM" in text


def test_a_cell_says_how_many_exact_pictures_its_mean_leaves_out(three):
    for name in ("a", "b/c"):
        shutil.copy(three / "truth" / f"{name}.png", three / "result" / f"{name}.png")
    text = scorecard.as_text(found := scored(three), scorecard.card(found))
    cells = {line.split("|")[1].strip(): line.split("|")[5].strip() for line in text.splitlines()[:8] if "|" in line}
    psnr = found.images[(found.images.metric == "psnr") & np.isfinite(found.images.value)].value
    assert cells["bucket"] == "PSNR (dB)" and cells["1-10 %"] == "infinite" and "exact" not in cells["20-30 %"]
    assert cells["all"].startswith(f"{psnr.mean():.0f}"[:2]) and cells["all"].endswith("] (+ 2 exact)")
    assert "(+ k exact): k more pictures have no error" in text
    shutil.copy(three / "truth" / "b" / "d.png", three / "truth" / "b" / "e.png")  # many holes: n counts photographs
    shutil.copy(three / "truth" / "b" / "d.png", three / "result" / "b" / "e.png")
    shutil.copy(three / "masks" / "b" / "d.png", three / "masks" / "b" / "e.png")
    text = scorecard.as_text(found := scored(three), scorecard.card(found))
    assert re.search(r"\| 20-30 % .* \d\S+ \(\+ 1 exact\)", text) and re.search(r"\| all .*\] \(\+ 3 exact\)", text)


def test_the_buckets_means_are_those_of_the_pictures(three):
    found = scored(three)
    content = scorecard.as_json(found, scorecard.card(found), name="x", matched_only=False, record={"seed": 0})
    assert list(content["buckets"]) == ["1-10 %", "10-20 %", "20-30 %", "50-60 %", "other"]
    assert content["buckets"]["20-30 %"]["l1"]["mean"] == pytest.approx(20 * 0.25 / 255)
    assert content["buckets"]["other"]["l1"]["mean"] == pytest.approx(10 * (0.7 + 4 / 1600) / 255)
    values = found.images[found.images.metric == "psnr"].value
    mean, low, high, n = intervals.mean_interval(values)
    assert content["overall"]["psnr"] == {
        **{"mean": pytest.approx(mean), "low": pytest.approx(low), "high": pytest.approx(high)},
        **{"n": n, "n_infinite": 0, "n_undefined": 0},
    }
    assert (content["missing"], content["surplus"], content["changed_known"]) == ([], [], 0)


def many_holes(root, n_photographs=8, n_holes=5):
    """The same photographs in several folders; whatever the hole, a photograph has an error of its own."""
    rng = np.random.default_rng(1)
    for i in range(n_photographs):
        truth, error = rng.integers(60, 190, (20, 20, 3), dtype=np.uint8), rng.integers(1, 60)
        for k in range(n_holes):
            save(root / "truth" / f"{k}" / f"{i}.png", truth)
            save(root / "result" / f"{k}" / f"{i}.png", truth + np.uint8(error))
            save(root / "masks" / f"{k}" / f"{i}.png", stripes(20, 0.3 if k < 2 else 0.1 * k))
    return scored(root)


def test_a_photograph_with_several_holes_is_one_photograph(tmp_path):
    found = many_holes(tmp_path)
    assert found.photographs[:8] == found.photographs[8:16] and len(set(found.photographs)) == 8
    truth, hole = (np.asarray(Image.open(tmp_path / part / "3" / "1.png")) for part in ("truth", "masks"))
    row = found.images[found.images.image == "3/1"].iloc[0]
    pixels = hashlib.sha256(b"(3, 20, 20)" + np.moveaxis(truth, 2, 0).tobytes()).hexdigest()
    assert row.photograph == pixels[:16] and row["mask"] == hashlib.sha256(hole.tobytes()).hexdigest()[:16]
    assert list(found.images)[6:] == ["photograph", "mask"]
    summary = scorecard.card(found).summary.set_index(["bucket", "metric"])
    once = found.images[(found.images.metric == "l1")].value[:8]
    mean, low, high, n = intervals.mean_interval(once)
    for bucket in ("all", "20-30 %"):  # 20-30 % holds each photograph three times
        row = summary.loc[(bucket, "l1")]
        assert [row["mean"], row["low"], row["high"]] == pytest.approx([mean, low, high]) and row["n"] == n == 8
    text = scorecard.as_text(found, scorecard.card(found))
    assert "The 40 pictures show 8 photographs" in text and "(n = 8)" not in text


class Measures:
    """Stands for `aotlib.evaluate.Measures`: three features, a distance that is a difference of means."""

    dims, network = 3, "means of the colours"

    def __init__(self):
        self.unavailable = {"lpips": "no weights"}

    def of_image(self, result_u8, truth_u8, mask):
        return folders.metrics.measure(result_u8[None], truth_u8[None], mask[None])

    def features(self):
        kept = []
        features = type("Features", (), {"add": lambda _, picture: kept.append(picture), "all": None})()
        features.all = lambda: np.stack([picture.double().mean((1, 2)).numpy() for picture in kept])
        return features

    def of_sets(self, real, fake, seed):
        few = {"p_ids": "too few pictures", "u_ids": "too few pictures"} if len(real) < 2 else {}
        value = abs(real.mean(0) - fake.mean(0)).sum()
        ends = {"mean": value, "low": value - 1, "high": value + 1, "n": len(real)}
        return [{"metric": "fid_3"} | ends, {"metric": "kid_3"} | ends], few


def test_distances_are_those_of_the_buckets_own_pictures(three):
    measures = Measures()
    found = scored(three, measures=measures)
    first = [np.asarray(Image.open(three / part / "a.png")).mean((0, 1)) for part in ("truth", "result")]
    np.testing.assert_allclose([found.real[0], found.fake[0]], first)
    card = scorecard.card(found, measures)
    content = scorecard.as_json(found, card, name="x", matched_only=False, record={})
    for bucket, share in (("1-10 %", 0.1), ("20-30 %", 0.25), ("other", (0.7 + 4 / 1600) / 2)):
        assert content["buckets"][bucket]["fid_3"]["mean"] == pytest.approx(3 * 20 * share)
    assert content["overall"]["fid_3"]["n"] == 6 and content["buckets"]["other"]["fid_3"]["n"] == 2
    assert content["overall"]["lpips"] == "not available: no weights" and "p_ids" not in content["overall"]
    assert content["buckets"]["1-10 %"]["p_ids"] == "not available: too few pictures"
    assert "p_ids" not in content["buckets"]["other"] and measures.unavailable == {"lpips": "no weights"}
    text = scorecard.as_text(found, card)
    assert "FID-3" in text and "LPIPS: not available: no weights" in text
    assert "P-IDS, U-IDS of 1-10 %, 10-20 %, 20-30 %, 50-60 %: not available: too few pictures" in text


def test_a_distance_between_sets_with_repeated_photographs_has_no_interval(tmp_path):
    many_holes(tmp_path)
    measures = Measures()
    found = scored(tmp_path, measures=measures)
    card = scorecard.card(found, measures)
    rows = card.summary.query("metric == 'fid_3'").set_index("bucket")
    kid = card.summary.query("metric == 'kid_3'")  # of repeated pictures it is biased
    assert list(kid.bucket) == ["10-20 %", "30-40 %"]
    assert card.absent["all"]["kid"] == card.absent["20-30 %"]["kid"] and "kid" not in card.absent["30-40 %"]
    assert math.isnan(rows.low["all"]) and math.isnan(rows.high["20-30 %"]) and rows["mean"]["all"] > 0
    assert rows.high["30-40 %"] == rows["mean"]["30-40 %"] + 1  # there each photograph stands once


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["aotlib", *map(str, words)])
    cli.main()


def foreign_program(given, masks, made):
    """What somebody else's program could be: it knows a folder of pictures and one of masks, and nothing of ours."""
    for path in sorted(given.rglob("*.png")):
        name = path.relative_to(given)
        picture, mask = cv2.imread(str(path)), cv2.imread(str(masks / name), cv2.IMREAD_GRAYSCALE)
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(made / name), cv2.inpaint(picture, mask, 3, cv2.INPAINT_NS))


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one.png", "below/two.jpg", "below/three.png"):
        smooth = cv2.GaussianBlur(rng.integers(0, 256, (60, 70, 3), dtype=np.uint8), (0, 0), 4)
        save(tmp_path / "photos" / name, cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX))
    return tmp_path / "photos"


def test_a_foreign_program_goes_through_both_commands(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_cli, "_measures", lambda *_: Measures())
    out, numbers, rows = tmp_path / "out", tmp_path / "sub" / "ns.json", tmp_path / "sub" / "ns.csv"
    run(monkeypatch, "cases", photos, "--out", out, "--size", 48, "--seed", 3)
    assert "3 photographs with 6 holes each, 48 px" in capsys.readouterr().out
    listed = [path.relative_to(out / "input").as_posix() for path in sorted((out / "input").rglob("*.png"))]
    assert len(listed) == 18 and listed[:3] == ["1-10/below/three.png", "1-10/below/two.png", "1-10/one.png"]
    table = manifest.read(out / "manifest.csv")
    assert len(table) == 18 and manifest.about(out / "manifest.csv")["size"] == 48

    foreign_program(out / "input", out / "masks", out / "result")
    where = ("--truth", out / "truth", "--result", out / "result", "--masks", out / "masks")
    run(monkeypatch, "evaluate", *where, "--name", "Navier-Stokes", "--json", numbers, "--images", rows)
    text = capsys.readouterr().out
    assert "Navier-Stokes: 18 pictures" in text and "PSNR (dB)" in text and "LPIPS: not available: no weights" in text
    assert "changed known pixels" not in text and "18 pictures show 3 photographs" in text

    content, long = json.loads(numbers.read_text()), pd.read_csv(rows)
    assert list(content)[:5] == ["name", "overall", "buckets", "pictures", "photographs"]
    assert (content["pictures"], content["photographs"]) == (18, 3)
    assert list(content["buckets"]) == list(BUCKET_NAMES) and not content["matched_only"]
    assert content["record"]["masks"]["files"] == content["record"]["data"]["files"] == 18
    assert content["record"]["parameters"]["limit"] is None and content["record"]["features"] is not None
    psnr = long[long.metric == "psnr"].set_index("image").value
    for name in listed:
        pair = [np.asarray(Image.open(out / part / name)) for part in ("truth", "result")]
        hole = np.asarray(Image.open(out / "masks" / name)) > 127
        assert (np.asarray(Image.open(out / "input" / name)) == np.where(hole[..., None], 127, pair[0])).all()
        assert psnr[name.removesuffix(".png")] == pytest.approx(peak_signal_noise_ratio(*pair, data_range=255))
    for bucket, group in long[long.metric == "psnr"].groupby("bucket"):
        assert content["buckets"][bucket]["psnr"]["mean"] == pytest.approx(group.value.mean()) and len(group) == 3
    assert content["overall"]["psnr"]["mean"] == pytest.approx(psnr.mean()) and content["overall"]["psnr"]["n"] == 3


def test_what_is_not_at_hand_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("AOTLIB_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    measures = evaluate_cli._measures(tmp_path / "features.sqlite", download=False)
    assert set(measures.unavailable) == {*distances.KINDS, "lpips"} and "pt_inception" in measures.unavailable["fid"]
    assert measures.features() is None


def test_evaluate_refuses_what_does_not_fit_unless_told(three, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_cli, "_measures", lambda *_: Measures())
    (three / "result" / "a.png").unlink()
    save(three / "result" / "new.png", np.zeros((40, 40, 3)))
    where = ("--truth", three / "truth", "--result", three / "result", "--masks", three / "masks", "--max-ratio", 1)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "evaluate", *where, "--json", three / "a.json")
    told = capsys.readouterr()
    assert stop.value.code == 1 and told.out == "" and not (three / "a.json").exists()
    assert "1 true pictures without a result:\n  a\n1 results without a true picture:\n  new\n" in told.err
    run(monkeypatch, "evaluate", *where, "--json", three / "a.json", "--matched-only")
    text, content = capsys.readouterr().out, json.loads((three / "a.json").read_text())
    assert "result: 5 pictures, only those in common" in text and "Left out:\n1 true pictures without" in text
    assert content["matched_only"] and content["missing"] == ["a"] and content["surplus"] == ["new"]
    assert content["name"] == "result" and content["pictures"] == 5


def read_only(*_, **__):
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("option", ["--json", "--images", "--cache"])
def test_what_cannot_be_written_is_said_before_anything_is_scored(three, monkeypatch, capsys, option):
    monkeypatch.setattr(evaluate_cli, "_measures", lambda *_: pytest.fail("it began to work"))
    where = ("--truth", three / "truth", "--result", three / "result", "--masks", three / "masks")
    (three / "file").write_text("")
    for place in (three / "file" / "a.out", three / "masks"):
        with pytest.raises(SystemExit):
            run(monkeypatch, "evaluate", *where, option, place)
        assert f"aotlib: {option} {place} cannot be written: " in capsys.readouterr().err
    monkeypatch.setattr(evaluate_cli.tempfile, "TemporaryFile", read_only)  # permissions mean nothing to a superuser
    with pytest.raises(SystemExit):
        run(monkeypatch, "evaluate", *where, option, three / "a.out")
    assert f"{option} {three / 'a.out'} cannot be written: [Errno 30] Read-only" in capsys.readouterr().err
    assert sorted(path.name for path in three.iterdir() if path.is_dir())[-3:] == ["masks", "result", "truth"]


def test_cases_of_two_data_sets_do_not_mix(photos, tmp_path, monkeypatch, capsys):
    out, rule = tmp_path / "out", ("--size", 32, "--n", 2)
    run(monkeypatch, "cases", photos, "--out", out, *rule)
    (first, *_) = sorted((out / "input").rglob("*.png"))
    before = first.read_bytes()
    first.unlink()
    run(monkeypatch, "cases", photos, "--out", out, *rule)  # the same command goes on
    assert first.read_bytes() == before and len(list((out / "truth").rglob("*.png"))) == 12
    for wrong, word in [
        (("--seed", 1), "another data set"),
        (("--size", 40), "another data set"),
        (("--n", 0), "--n is 0"),
        (("--masks", photos), "are refused as masks"),
    ]:
        with pytest.raises(SystemExit):
            run(monkeypatch, "cases", photos, "--out", out, *rule, *wrong)
        assert word in capsys.readouterr().err
    (out / "manifest.csv").unlink()
    with pytest.raises(SystemExit):
        run(monkeypatch, "cases", photos, "--out", out, *rule)
    assert "truth exists, but no manifest.csv" in capsys.readouterr().err
    shutil.copy(photos / "one.png", photos / "one.webp")
    with pytest.raises(SystemExit):
        run(monkeypatch, "cases", photos, "--out", tmp_path / "new", "--size", 32)
    assert "two photographs would have the name one.png" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_cases_take_mask_files(photos, tmp_path, monkeypatch, capsys):
    for k, share in enumerate((0.05, 0.15, 0.25, 0.35, 0.45, 0.55)):
        save(tmp_path / "holes" / "deep" / f"{k}.png", stripes(100, share))
    run(monkeypatch, "cases", photos, "--out", tmp_path / "out", "--size", 40, "--masks", tmp_path / "holes")
    table = manifest.read(tmp_path / "out" / "manifest.csv")
    assert set(table["mask"]) == {f"deep/{k}.png" for k in range(6)}
    hole = np.asarray(Image.open(tmp_path / "out" / "masks" / "20-30" / "one.png"))
    assert (
        set(np.unique(hole)) == {0, 255} and (hole == 255).mean() == pytest.approx(0.25) and (hole[:, :10] == 255).all()
    )
    with pytest.raises(SystemExit):  # the same names, hashes and shares, but another size
        run(monkeypatch, "cases", photos, "--out", tmp_path / "out", "--size", 60, "--masks", tmp_path / "holes")
    assert "another data set, size" in capsys.readouterr().err


def black_holes(folder, shares):
    for k, share in enumerate(shares):
        save(folder / f"{k}.png", 255 - stripes(100, share))


def test_cases_take_masks_of_the_other_colour_and_large_ones(photos, tmp_path, monkeypatch, capsys):
    black_holes(tmp_path / "holes", (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.9))
    call = ("cases", photos, "--out", tmp_path / "out", "--size", 40, "--masks", tmp_path / "holes")
    with pytest.raises(SystemExit):
        run(monkeypatch, *call, "--hole", "black")
    told = capsys.readouterr().err
    assert "1 of 7 files" in told and "max_ratio=1" in told and "--hole and --max-ratio" in told
    run(monkeypatch, *call, "--hole", "black", "--max-ratio", 1)
    hole = np.asarray(Image.open(tmp_path / "out" / "masks" / "20-30" / "one.png"))
    assert (hole[:, :10] == 255).all() and (hole == 255).mean() == pytest.approx(0.25)  # white = hole, as always
    assert manifest.read(tmp_path / "out" / "manifest.csv").ratio.between(0, 0.6).all()


def test_some_photographs_are_taken_from_everywhere(photos, tmp_path, monkeypatch):
    for name in ("airport", "bridge", "castle", "desert"):
        for i in range(4):
            save(tmp_path / "by class" / name / f"{i}.png", np.full((40, 40, 3), 10 * i))
    run(monkeypatch, "cases", tmp_path / "by class", "--out", tmp_path / "out", "--size", 32, "--n", 4)
    table = manifest.read(tmp_path / "out" / "manifest.csv")
    assert list(table.image[:4]) == ["airport/0.png", "bridge/0.png", "castle/0.png", "desert/0.png"]


def test_photographs_that_would_be_enlarged_are_refused_or_left_out(photos, tmp_path, monkeypatch, capsys):
    save(photos / "below" / "small.png", np.zeros((50, 70, 3)))
    save(photos / "tiny.png", np.zeros((90, 36, 3)))
    call = ("cases", photos, "--out", tmp_path / "out", "--size", 52)
    with pytest.raises(SystemExit):
        run(monkeypatch, *call)
    told = capsys.readouterr().err
    assert "2 of 5 photographs are smaller than 52 px, such as " in told and "tiny.png with 36 px" in told
    assert "--size 36 fits all" in told and not (tmp_path / "out").exists()
    run(monkeypatch, *call, "--leave-out-small", "--n", 2)
    assert "tiny.png with 36 px; they are left out" in capsys.readouterr().err
    assert list(manifest.read(tmp_path / "out" / "manifest.csv").image[:2]) == ["below/three.png", "below/two.jpg"]
    with pytest.raises(SystemExit):
        run(monkeypatch, *call, "--size", 100, "--leave-out-small")
    assert "no photograph is left; give --size 60 or less" in capsys.readouterr().err


def given(photos, tmp_path, **rule):
    """A manifest such as a notebook writes, of two photographs below a folder, and what it says of them."""
    files = [photos / "below" / "three.png", photos / "below" / "two.jpg"]
    table = manifest.make(files, size=48, seed=4, **rule)
    path = manifest.write(table, tmp_path / "tables" / "manifest.csv", size=48, seed=4)
    return path, table


def test_cases_of_a_manifest_are_exactly_its_photographs_and_holes(photos, tmp_path, monkeypatch, capsys):
    path, table = given(photos, tmp_path)
    run(monkeypatch, "cases", photos, "--manifest", path, "--out", tmp_path / "out")
    assert "2 photographs with 6 holes each, 48 px" in capsys.readouterr().out
    for name in ("manifest.csv", "manifest.json"):
        assert (tmp_path / "out" / name).read_bytes() == (path.parent / name).read_bytes()
    for place, bucket in enumerate(manifest.BUCKETS):
        for case in manifest.cases(table, photos / "below", size=48, bucket=bucket):
            name = f"{BUCKET_NAMES[place].removesuffix(' %')}/{case.name[:-4]}.png"
            assert (np.asarray(Image.open(tmp_path / "out" / "masks" / name)) == 255 * case.mask[0].numpy()).all()
            truth = np.moveaxis(np.asarray(Image.open(tmp_path / "out" / "truth" / name)), 2, 0)
            assert (truth == case.picture_u8.numpy()).all()
    assert len(list((tmp_path / "out" / "input").rglob("*.png"))) == 12


def test_a_manifest_finds_its_masks_and_refuses_what_it_decides_itself(photos, tmp_path, monkeypatch, capsys):
    black_holes(tmp_path / "holes" / "deep", (0.05, 0.15, 0.25, 0.35, 0.45, 0.55))
    path, table = given(photos, tmp_path, masks=load_masks(tmp_path / "holes", hole="black"))
    assert "deep" not in table["mask"][0]
    call = ("cases", photos, "--manifest", path, "--out", tmp_path / "out")
    wrong = [
        ((), "names mask files, such as 0.png: say with --masks"),
        (("--size", 48, "--n", 2), "leave out --size, --n"),
        (("--masks", photos), "6 of the manifest's 6 mask files are not in the folder given"),
        (("--masks", tmp_path / "holes"), "for holes of the other colour?"),
    ]
    for words, told in wrong:
        with pytest.raises(SystemExit):
            run(monkeypatch, *call, *words)
        assert told in capsys.readouterr().err
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    run(monkeypatch, *call, "--masks", tmp_path / "holes", "--hole", "black")
    hole = np.asarray(Image.open(tmp_path / "out" / "masks" / "40-50" / "two.png"))
    assert (hole == 255).mean() == pytest.approx(table.ratio[8])
    (photos / "below" / "two.jpg").unlink()
    with pytest.raises(SystemExit):
        run(monkeypatch, *call, "--masks", tmp_path / "holes", "--hole", "black")
    assert "1 of the manifest's 2 photographs are not in the folder given, such as two.jpg" in capsys.readouterr().err


def test_of_two_folders_the_one_with_the_manifests_photographs_is_taken(photos, tmp_path, monkeypatch, capsys):
    path, _ = given(photos, tmp_path)
    (photos / "above").mkdir()
    for name in ("three.png", "two.jpg"):
        Image.open(photos / "below" / name).rotate(180).save(photos / "above" / name)
    run(monkeypatch, "cases", photos, "--manifest", path, "--out", tmp_path / "out")
    assert "2 photographs with 6 holes each" in capsys.readouterr().out


def test_a_manifest_of_small_photographs_is_reported(photos, tmp_path, monkeypatch, capsys):
    save(photos / "below" / "two.jpg", np.zeros((44, 90, 3)))
    with pytest.warns(
        UserWarning, match="1 of 2 photographs is smaller than 48 px, such as .*two.jpg with 44 px: enlarged"
    ):
        path, _ = given(photos, tmp_path)
    run(monkeypatch, "cases", photos, "--manifest", path, "--out", tmp_path / "out")
    assert "44 px; they are enlarged, as the manifest has it" in capsys.readouterr().err


def test_a_named_data_set_gives_its_test_split(tmp_path, monkeypatch, capsys):
    run(monkeypatch, "cases", "samples", "--out", tmp_path, "--size", 32, "--n", 1)
    assert "1 photographs with 6 holes each" in capsys.readouterr().out
    files = sorted((manifest.Path(cli.__file__).parents[1] / "data" / "samples" / "test").iterdir())
    assert manifest.read(tmp_path / "manifest.csv").image_sha256[0] in {manifest.file_sha256(file) for file in files}
    assert torch.is_tensor(folders._picture(tmp_path / "input" / "1-10" / f"{files[0].stem}.png"))
