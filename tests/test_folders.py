"""Judging a folder of pictures: what fits together, what is measured, and a foreign program through both commands."""

import json
import math
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

from aotlib import cli, evaluate, evaluate_cli, folders, intervals, manifest, scorecard
from aotlib.masks import BUCKET_NAMES


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
    with pytest.raises(ValueError, match="1 masks are refused:\n.*f.png is 70.0% white.*pass max_ratio=1"):
        scored(three, max_ratio=0.6)
    for path in (three / "masks").rglob("*.png"):
        save(path, 255 - np.asarray(Image.open(path)))
    monkeypatch.setattr(folders.metrics, "measure", None)
    with pytest.raises(ValueError, match="4 masks are refused"):
        scored(three, max_ratio=0.6)
    monkeypatch.undo()
    assert scored(three, hole="black").buckets[:3] == ["1-10 %", "10-20 %", "20-30 %"]


def test_a_limit_takes_pictures_from_everywhere(three):
    assert scored(three, limit=3).names == ["a", "b/d", "f"]
    assert scored(three, limit=99).names == scored(three).names
    with pytest.raises(ValueError, match="limit is 0: score at least one"):
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
    assert content["overall"]["psnr"]["n_infinite"] == 2 and content["n"] == 7
    text = scorecard.as_text(found, card)
    assert "infinite" in text and "other" in text and "SSIM" in text


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
    assert found.photographs[:8] == [f"0/{i}" for i in range(8)] == found.photographs[8:16]
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
        if len(real) < 2:
            self.unavailable |= {"p_ids": "too few pictures", "u_ids": "too few pictures"}
        value = abs(real.mean(0) - fake.mean(0)).sum()
        ends = {"mean": value, "low": value - 1, "high": value + 1, "n": len(real)}
        return [{"metric": "fid_3"} | ends, {"metric": "kid_3"} | ends]


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
    assert list(content)[:4] == ["name", "overall", "buckets", "n"] and content["n"] == 18
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
    assert set(measures.unavailable) == {*evaluate.SETS, "lpips"} and "pt_inception" in measures.unavailable["fid"]
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
    assert content["name"] == "result" and content["n"] == 5


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


def test_cases_take_mask_files(photos, tmp_path, monkeypatch):
    for k, share in enumerate((0.05, 0.15, 0.25, 0.35, 0.45, 0.55)):
        save(tmp_path / "holes" / "deep" / f"{k}.png", stripes(100, share))
    run(monkeypatch, "cases", photos, "--out", tmp_path / "out", "--size", 40, "--masks", tmp_path / "holes")
    table = manifest.read(tmp_path / "out" / "manifest.csv")
    assert set(table["mask"]) == {f"deep/{k}.png" for k in range(6)}
    hole = np.asarray(Image.open(tmp_path / "out" / "masks" / "20-30" / "one.png"))
    assert (
        set(np.unique(hole)) == {0, 255} and (hole == 255).mean() == pytest.approx(0.25) and (hole[:, :10] == 255).all()
    )


def test_a_named_data_set_gives_its_test_split(tmp_path, monkeypatch, capsys):
    run(monkeypatch, "cases", "samples", "--out", tmp_path, "--size", 32, "--n", 1)
    assert "1 photographs with 6 holes each" in capsys.readouterr().out
    files = sorted((manifest.Path(cli.__file__).parents[1] / "data" / "samples" / "test").iterdir())
    assert manifest.read(tmp_path / "manifest.csv").image_sha256[0] in {manifest.file_sha256(file) for file in files}
    assert torch.is_tensor(folders._picture(tmp_path / "input" / "1-10" / f"{files[0].stem}.png"))
