"""Manifests: the pairs that the seed gives, everything that was changed is noticed, nothing depends on the machine."""

import hashlib
import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from aotlib import manifest
from aotlib.images import find_images
from aotlib.masks import BUCKET_NAMES, BUCKETS, load_masks
from aotlib.shards import ShardFiles, write_shards
from aotlib.strokes import irregular_mask


@pytest.fixture
def folder(tmp_path):
    """Three photographs, one of them called NA.png, and stripes as masks: two of 10-20 %, one of 20-30 %."""
    rng = np.random.default_rng(0)
    for name in ("photos/NA.png", "photos/below/b.png", "photos/below/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / name)
    for name, columns in (("a", 15), ("deep/b", 18), ("deep/c", 25)):
        (tmp_path / "masks" / "deep").mkdir(parents=True, exist_ok=True)
        mask = np.zeros((100, 100), np.uint8)
        mask[:, :columns] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def photos(folder):
    return find_images(folder / "photos")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def expected_masks(folder, size, place, seed, count):
    """The rule in a few lines of its own: shuffled by [seed, bucket], every file once before one comes again."""
    low, high = BUCKETS[place]
    files = find_images(folder / "masks")
    share = [np.asarray(Image.open(file)).mean() / 255 for file in files]
    near = [file for file, ratio in zip(files, share) if low - 0.02 < ratio <= high + 0.02]
    rng, chosen = np.random.default_rng([seed, place]), []
    while len(chosen) < count:
        for file in (near[i] for i in rng.permutation(len(near))):
            small = np.asarray(Image.open(file).resize((size, size), Image.Resampling.NEAREST)) > 127
            if low < small.mean() <= high:
                chosen.append((file.relative_to(folder / "masks").as_posix(), small))
    return chosen[:count]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_mask_files_are_dealt_by_the_rule(folder, seed):
    masks, rule = load_masks(folder / "masks"), {"size": 64, "seed": seed}
    table = manifest.make(photos(folder), masks=masks, buckets=BUCKETS[1:3], **rule)
    assert tuple(table.columns) == manifest.COLUMNS and len(table) == 6
    assert table.image.tolist() == ["NA.png", "below/b.png", "below/c.jpg"] * 2  # the same in each bucket
    assert table.image_sha256.tolist() == [sha256(path) for path in photos(folder)] * 2
    for place in (1, 2):
        rows, chosen = table[table.bucket == BUCKET_NAMES[place]], expected_masks(folder, 64, place, seed, 3)
        assert rows["mask"].tolist() == [name for name, _ in chosen]
        assert rows.mask_sha256.tolist() == [sha256(folder / "masks" / name) for name, _ in chosen]
        assert rows.ratio.tolist() == [small.mean() for _, small in chosen]
        made = manifest.cases(table, folder / "photos", folder / "masks", size=64, bucket=BUCKETS[place])
        assert all((case.mask[0].numpy() == small).all() for case, (_, small) in zip(made, chosen, strict=True))


def test_drawn_masks_say_how_they_are_drawn_again(folder):
    table = manifest.make(photos(folder), size=64, seed=5)
    assert table.bucket.unique().tolist() == list(BUCKET_NAMES) and len(table) == 18
    for place, index in itertools.product(range(6), range(3)):
        row = table.iloc[3 * place + index]
        assert row["mask"] == f"drawn {5 + place}/{index}"
        mask = irregular_mask(64, BUCKETS[place], seed=5 + place, index=index)[0].numpy()
        assert (
            row.mask_sha256 == hashlib.sha256((mask > 0).astype(np.uint8).tobytes().replace(b"\1", b"\xff")).hexdigest()
        )
        assert row.ratio == (mask > 0).sum() / 64**2


def test_a_case_shows_a_method_nothing_of_what_is_under_the_hole(folder):
    table = manifest.make(photos(folder), size=64, buckets=BUCKETS[1:2], masks=load_masks(folder / "masks"))
    case, *_ = made = list(manifest.cases(table, folder / "photos", folder / "masks", size=64, bucket=BUCKETS[1]))
    assert [(case.name, case.bucket) for case in made] == [(name, "10-20 %") for name in table.image]
    assert case.picture_u8.shape == (3, 64, 64) and case.picture_u8.dtype == torch.uint8
    assert case.hidden()[:, case.mask[0] == 1].unique().tolist() == [127]
    assert torch.equal(case.hidden()[:, case.mask[0] == 0], case.picture_u8[:, case.mask[0] == 0])
    assert torch.equal(case.filled(lambda picture, mask: picture), case.hidden())


def test_masks_on_the_border_of_two_buckets_are_counted_exactly(folder):
    mask = np.zeros((100, 100), np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save(folder / "masks" / "a.png")  # 20 %, which float32 puts above 0.2
    masks = load_masks(folder / "masks")
    table = manifest.make(photos(folder), size=50, buckets=BUCKETS[1:2], masks=masks)
    assert set(table["mask"]) == {"a.png", "deep/b.png"}


@pytest.mark.filterwarnings("error")
def test_photographs_that_have_to_be_enlarged_are_told_of(folder):
    Image.new("RGB", (40, 80)).save(folder / "photos" / "below" / "c.jpg")
    manifest.make(photos(folder), size=40, buckets=BUCKETS[:1])
    with pytest.raises(
        UserWarning, match="1 of 3 photographs is smaller than 41 px, such as .*c.jpg with 40 px: enlarged"
    ):
        manifest.make(photos(folder), size=41, buckets=BUCKETS[:1])
    with pytest.raises(UserWarning, match="3 of 3 photographs are smaller than 71 px, such as .*c.jpg with 40 px"):
        manifest.make(photos(folder), size=71, buckets=BUCKETS[:1])
    write_shards(photos(folder), folder / "shards", split="test")
    with pytest.raises(UserWarning, match="1 of 3 photographs is smaller than 41 px, such as .*c.jpg with 40 px"):
        manifest.make(ShardFiles(folder / "shards" / "test"), size=41, buckets=BUCKETS[:1])


def test_a_manifest_comes_back_as_it_was_written(folder):
    table = manifest.make(photos(folder), size=60, buckets=BUCKETS[1:3], masks=load_masks(folder / "masks"))
    path = manifest.write(table, folder / "out" / "manifest.csv", size=60, seed=0)
    pd.testing.assert_frame_equal(manifest.read(path), table, check_exact=True)
    assert path.read_text().splitlines()[0] == ",".join(manifest.COLUMNS)
    expected = {"size": 60, "seed": 0, "sha256": sha256(path), "n": 6}
    assert json.loads(path.with_suffix(".json").read_text()) == expected == manifest.about(path)
    assert b"\r" not in path.read_bytes()


def test_a_changed_manifest_is_refused(folder):
    table = manifest.make(photos(folder), size=64, buckets=BUCKETS[:1])
    path = manifest.write(table, folder / "manifest.csv", size=64, seed=0)
    path.write_text(path.read_text().replace("drawn 0/1", "drawn 0/2"))
    with pytest.raises(ValueError, match=r"manifest.csv was changed after it was made.*get the original"):
        manifest.read(path)
    path.with_suffix(".json").write_text('{"size": 64}')
    with pytest.raises(ValueError, match="does not say n, seed, sha256"):
        manifest.read(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"manifest.json is missing: it says the size"):
        manifest.read(path)


@pytest.mark.parametrize("what, name", [("photos", "below/b.png"), ("masks", "deep/b.png")])
def test_a_changed_file_is_named(folder, what, name):
    table = manifest.make(photos(folder), size=64, buckets=BUCKETS[1:2], masks=load_masks(folder / "masks"))
    made = {"files_root": folder / "photos", "masks_root": folder / "masks", "size": 64, "bucket": BUCKETS[1]}
    changed = Image.open(folder / what / name)
    changed.putpixel((0, 0), 0 if what == "masks" else (1, 2, 3))
    changed.save(folder / what / name)
    with pytest.raises(ValueError, match=f"{name} is not what the manifest was made with: SHA-256 .* new manifest"):
        list(manifest.cases(table, **made))
    (folder / what / name).unlink()
    with pytest.raises(ValueError, match=f"the manifest names .*{name}, which does not exist"):
        list(manifest.cases(table, **made))


def test_another_size_or_polarity_than_the_manifests_is_noticed(folder):
    about = {"files_root": folder / "photos", "masks_root": folder / "masks", "bucket": BUCKETS[1]}
    table = manifest.make(photos(folder), size=64, buckets=BUCKETS[1:2], masks=load_masks(folder / "masks"))
    for wrong in ({"size": 50}, {"size": 64, "hole": "black"}):
        with pytest.raises(
            ValueError, match="the hole of .*png is .* made for another size, or for holes of the other"
        ):
            list(manifest.cases(table, **about, **wrong))
    drawn = manifest.make(photos(folder), size=64, buckets=BUCKETS[1:2])
    with pytest.raises(ValueError, match="drawn 1/0 at 80 px is not what the manifest was made with"):
        list(manifest.cases(drawn, **about, size=80))


def test_what_cannot_be_made_is_refused(folder):
    masks, files = load_masks(folder / "masks"), photos(folder)
    with pytest.raises(ValueError, match="none of the 3 masks has a hole of 40-50 % at 64 px; add such masks"):
        manifest.make(files, size=64, masks=masks, buckets=BUCKETS[4:5])
    with pytest.raises(ValueError, match=r"\(0.2, 0.25\) is none of the buckets \(0.01, 0.1\)"):
        manifest.make(files, size=64, buckets=[(0.2, 0.25)])
    table = manifest.make(files, size=64, masks=masks, buckets=BUCKETS[1:2])
    with pytest.raises(ValueError, match="no row of 50-60 %; it has 10-20 %"):
        next(manifest.cases(table, folder / "photos", size=64, bucket=BUCKETS[5]))
    with pytest.raises(ValueError, match="names the mask file .*png; give masks_root"):
        next(manifest.cases(table, folder / "photos", size=64, bucket=BUCKETS[1]))
    with pytest.raises(ValueError, match="a manifest is a .csv file"):
        manifest.write(table, folder / "a.txt", size=64, seed=0)
    with pytest.raises(ValueError, match="a manifest has the columns bucket, image"):
        manifest.write(table.drop(columns="ratio"), folder / "a.csv", size=64, seed=0)


def test_names_are_relative_to_the_folders_given(folder):
    files, masks = photos(folder)[1:], [mask for mask in load_masks(folder / "masks") if "deep" in str(mask.path)]
    short = manifest.make(files, size=64, masks=masks, buckets=BUCKETS[1:2])
    assert short.image.tolist() == ["b.png", "c.jpg"] and short["mask"].tolist() == ["b.png"] * 2
    roots = {"files_root": folder / "photos", "masks_root": folder / "masks"}
    long = manifest.make(files, size=64, masks=masks, buckets=BUCKETS[1:2], **roots)
    assert long.image.tolist() == ["below/b.png", "below/c.jpg"] and long["mask"].tolist() == ["deep/b.png"] * 2
    assert len(list(manifest.cases(long, **roots, size=64, bucket=BUCKETS[1]))) == 2


def test_shards_of_the_photographs_have_the_same_manifest(folder):
    write_shards(photos(folder), folder / "shards", split="test")
    files = ShardFiles(folder / "shards" / "test")
    table = manifest.make(files, size=64, buckets=BUCKETS[:1])
    pd.testing.assert_frame_equal(table, manifest.make(photos(folder), size=64, buckets=BUCKETS[:1]))
    packed = manifest.cases(table, folder / "shards" / "test", size=64, bucket=BUCKETS[0])
    plain = manifest.cases(table, folder / "photos", size=64, bucket=BUCKETS[0])
    assert all(torch.equal(a.picture_u8, b.picture_u8) for a, b in zip(packed, plain, strict=True))
    table.loc[1, "image"] = "else.png"
    with pytest.raises(ValueError, match="else.png, which does not exist"):
        list(manifest.cases(table, folder / "shards" / "test", size=64, bucket=BUCKETS[0]))


def test_a_mask_file_is_read_once_however_many_photographs_there_are(folder, monkeypatch):
    loaded, load = [], manifest.MaskFile.load
    monkeypatch.setattr(manifest.MaskFile, "load", lambda mask, size: loaded.append(mask.path) or load(mask, size))
    manifest.make(photos(folder) * 10, size=64, masks=load_masks(folder / "masks"), buckets=BUCKETS[1:2])
    assert len(loaded) == len(set(loaded)) == 2
