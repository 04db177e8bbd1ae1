"""Samples that depend on (seed, epoch, index) alone, damaged files that stop nothing, and the published trees."""

import csv
import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import aotlib.data
import aotlib.sources
from aotlib import quarantine
from aotlib.data import (
    DATASETS,
    InpaintingDataset,
    SampleOrder,
    _augment,
    _random_crop,
    dataset_files,
    logo_boxes,
    places365,
)
from aotlib.images import to_float, write_image
from aotlib.masks import boxes_to_mask, hole_ratio, irregular_mask, load_masks, touches_frame


def photo(path, height=48, width=64, seed=0):
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    write_image(np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)), path)
    return path


def truncate(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        photo(tmp_path / "photos" / ("ab"[number % 2]) / f"{number}.png", seed=number)
    return tmp_path / "photos"


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if torch.is_tensor(one[key]) else one[key] == other[key] for key in one
    )


def test_a_sample_has_the_promised_shape_and_range(folder):
    dataset = InpaintingDataset(folder, size=32, seed=0, mask_ratio=(0.2, 0.3))
    sample = dataset[3, 4]
    assert len(dataset) == 6 and sample.keys() == {"image", "mask", "name", "index"}
    assert sample["image"].shape == (3, 32, 32) and sample["image"].dtype == torch.float32
    assert sample["image"].min() >= -1 and sample["image"].max() <= 1 and sample["image"].std() > 0.05
    assert sample["mask"].shape == (1, 32, 32) and 0.2 < sample["mask"].mean() <= 0.3
    assert sample["name"] == "b/3.png" and sample["index"] == 4
    with pytest.raises(IndexError):
        dataset[6]
    assert len(list(dataset)) == 6


def test_a_sample_is_a_function_of_seed_epoch_and_index(folder):
    def draw(seed, epoch, index):
        return InpaintingDataset(folder, size=32, seed=seed)[epoch, index]

    first = draw(1, 2, 3)
    np.random.seed(0)
    torch.manual_seed(0)
    assert same(draw(1, 2, 3), first) and same(InpaintingDataset(folder, size=32, seed=1)[3], draw(1, 0, 3))
    for other in (draw(2, 2, 3), draw(1, 3, 3)):
        assert not torch.equal(other["image"], first["image"]) and not torch.equal(other["mask"], first["mask"])
    assert not torch.equal(draw(1, 2, 4)["mask"], first["mask"])


@pytest.mark.parametrize("masked", [False, True])
def test_samples_are_the_same_for_any_number_of_workers(folder, tmp_path, masked):
    for number in range(3):
        mask = irregular_mask(40, 0.3, seed=0, index=number)
        write_image((mask * 255).to(torch.uint8), tmp_path / f"m/{number}.png")
    dataset = InpaintingDataset(folder, size=32, seed=5, masks=tmp_path / "m" if masked else None)

    def batches(n_workers):
        loader = DataLoader(dataset, 4, sampler=SampleOrder(len(dataset), seed=5, start=3), num_workers=n_workers)
        return list(islice(iter(loader), 5))  # into the fourth epoch

    assert all(same(one, other) for one, other in zip(batches(0), batches(2), strict=True))


def test_sample_order_visits_everything_once_an_epoch_and_goes_on():
    order = list(islice(SampleOrder(7, seed=3), 70))
    assert [epoch for epoch, _ in order] == [epoch for epoch in range(10) for _ in range(7)]
    for epoch in range(10):
        assert sorted(index for _, index in order[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert len({tuple(index for _, index in order[7 * epoch : 7 * epoch + 7]) for epoch in range(10)}) == 10
    for start in (0, 1, 6, 7, 8, 33):
        assert list(islice(SampleOrder(7, seed=3, start=start), 20)) == order[start : start + 20]
    assert list(islice(SampleOrder(7, seed=4), 7)) != order[:7]
    for n, start in [(0, 0), (3, -1)]:
        with pytest.raises(ValueError, match="SampleOrder"):
            SampleOrder(n, seed=0, start=start)


def test_without_augmentation_the_centre_is_cut_and_the_mask_stays(tmp_path):
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, 16:48] = (10, 200, 30)
    write_image(picture, tmp_path / "photos" / "a.png")
    dataset = InpaintingDataset(tmp_path / "photos", size=32, seed=4, mask_ratio=0.25, augment=False)
    assert torch.equal(dataset[0]["image"], to_float(picture[:, 16:48]))
    assert torch.equal(dataset[9, 0]["mask"], irregular_mask(32, 0.25, seed=4, index=0))
    half = InpaintingDataset(tmp_path / "photos", size=16, seed=4, augment=False)
    assert half[0]["image"][:, 4, 4].tolist() == to_float(picture[:1, 20:21]).flatten().tolist()


@pytest.mark.parametrize("height, width", [(300, 400), (100, 500), (64, 64)])
def test_crops_have_the_wanted_area_and_aspect(height, width):
    rng = np.random.default_rng(0)
    crops = np.array([_random_crop(height, width, (0.3, 1.0), rng) for _ in range(2000)])
    top, left, crop_height, crop_width = crops.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + crop_height <= height).all() and (left + crop_width <= width).all()
    aspect, area = crop_width / crop_height, crop_height * crop_width / (height * width)
    assert 0.73 < aspect.min() < 0.78 and 1.28 < aspect.max() < 1.36  # 3/4 and 4/3, up to whole pixels
    if width / height < 2:
        assert 0.28 < area.min() < 0.32 and area.max() > 0.85 and len(set(map(tuple, crops))) > 1700


def test_augmentation_flips_half_and_jitters_a_little():
    ramp = torch.linspace(60, 180, 64).to(torch.uint8).expand(3, 64, 64)
    out = [_augment(ramp, 64, (1.0, 1.0), np.random.default_rng(index)).float() for index in range(60)]
    flipped = [image[..., 0].mean() > image[..., -1].mean() for image in out]
    assert 18 <= sum(flipped) <= 42  # 30 +- 3 sigma
    assert all((image.amax(0) - image.amin(0)).max() <= 2 for image in out)  # grey stays grey
    flat = torch.tensor([150, 100, 70], dtype=torch.uint8)[:, None, None].expand(3, 8, 8)
    colours = torch.stack([_augment(flat, 8, (1.0, 1.0), np.random.default_rng(index))[:, 0, 0] for index in range(60)])
    spread = (colours.float() - flat[:, 0, 0]).abs()
    assert 4 < spread.mean() < 9  # levels: 6.4 at a jitter of 0.05; 2.8 at 0.02 and 12 at 0.1


def test_masks_from_a_folder_are_turned_but_keep_their_ratio(folder, tmp_path):
    corner = np.zeros((32, 32), np.uint8)
    corner[:8, :16] = 255
    write_image(corner, tmp_path / "m" / "a.png")
    dataset = InpaintingDataset(folder, size=32, seed=0, masks=tmp_path / "m")
    masks = torch.stack([dataset[epoch, 0]["mask"] for epoch in range(60)])
    assert (hole_ratio(masks) == 0.125).all() and touches_frame(masks).all()
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 8  # four turns, each with its mirror image
    fixed = InpaintingDataset(folder, size=32, seed=0, masks=load_masks(tmp_path / "m"), augment=False)
    assert torch.equal(fixed[5, 2]["mask"][0] * 255, torch.from_numpy(corner).float())


def test_a_mask_list_brings_its_own_polarity(folder, tmp_path):
    pixels = np.full((32, 32), 255, np.uint8)
    pixels[:24] = 0
    write_image(pixels, tmp_path / "m" / "a.png")
    masks = load_masks(tmp_path / "m", hole="black", max_ratio=1)
    assert InpaintingDataset(folder, size=32, seed=0, masks=masks)[0]["mask"].mean() == 0.75


def test_bad_headers_are_set_aside_and_written_down(folder, tmp_path):
    photo(folder / "small.png", 20, 90)
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.png").write_text("hello, world")
    dataset = InpaintingDataset(folder, size=32, seed=0, quarantine=tmp_path / "log" / "bad.csv")
    assert len(dataset) == 6
    reasons = {path.name: reason for path, reason in dataset.quarantined}
    assert reasons.keys() == {"small.png", "zero.jpg", "text.png"}
    assert reasons["small.png"] == "too small: the shorter side has 20 px, wanted 32"
    assert rows(tmp_path / "log/bad.csv") == [["path", "reason"], *([str(p), r] for p, r in dataset.quarantined)]
    assert len(InpaintingDataset(folder, size=32, seed=0, min_side=20)) == 7
    InpaintingDataset(folder / "a", size=32, seed=0, quarantine=tmp_path / "log" / "bad.csv")
    assert rows(tmp_path / "log/bad.csv") == [["path", "reason"]]  # an empty list is an answer, too


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_file_that_breaks_while_decoding_is_replaced_by_the_next(folder, tmp_path, n_workers):
    truncate(folder / "a" / "2.png")
    truncate(folder / "a" / "4.png")  # a/0, a/2, a/4, b/1, ...: after a/2 comes a/4, both bad, so b/1 stands in
    dataset = InpaintingDataset(folder, size=32, seed=0, quarantine=tmp_path / "bad.csv")
    assert len(dataset) == 6 and rows(tmp_path / "bad.csv") == [["path", "reason"]]
    loader = DataLoader(dataset, 3, sampler=SampleOrder(6, seed=0), num_workers=n_workers)
    batches = list(islice(iter(loader), 6))
    names = Counter(name for batch in batches for name in batch["name"])
    assert names == {"a/0.png": 3, "b/1.png": 9, "b/3.png": 3, "b/5.png": 3}
    shown = {
        index: name for batch in batches for index, name in zip(batch["index"].tolist(), batch["name"], strict=True)
    }
    assert shown == {0: "a/0.png", 1: "b/1.png", 2: "b/1.png", 3: "b/1.png", 4: "b/3.png", 5: "b/5.png"}
    header, *bad = rows(tmp_path / "bad.csv")
    assert {Path(path).name for path, _ in bad} == {"2.png", "4.png"} and all("truncated" in why for _, why in bad)
    assert len(bad) <= 2 * max(1, n_workers)  # once a process
    assert sorted(quarantine.listed(tmp_path / "bad.csv")) == sorted({f"{path}: {why}" for path, why in bad})
    InpaintingDataset(folder, size=32, seed=0, quarantine=tmp_path / "bad.csv")  # as after a stop
    assert {tuple(row) for row in rows(tmp_path / "bad.csv")[1:]} == {tuple(row) for row in bad}


def test_the_last_file_is_replaced_by_the_first(folder):
    truncate(folder / "b" / "5.png")
    dataset = InpaintingDataset(folder, size=32, seed=0)
    assert dataset[5]["name"] == "a/0.png" and dataset.quarantined[0][0].name == "5.png"


def test_nothing_usable_is_an_error_at_once(folder, tmp_path):
    with pytest.raises(ValueError, match=r"none of the 6 images can be used, first:\n.*too small"):
        InpaintingDataset(folder, size=500, seed=0, quarantine=tmp_path / "bad.csv")
    assert len(rows(tmp_path / "bad.csv")) == 7
    with pytest.raises(ValueError, match="no image below"):
        (tmp_path / "empty").mkdir()
        InpaintingDataset(tmp_path / "empty", size=32, seed=0)
    with pytest.raises(ValueError, match="empty"):
        InpaintingDataset([], size=32, seed=0)
    for path in folder.rglob("*.png"):
        truncate(path)
    with pytest.raises(ValueError, match="can be decoded"):
        InpaintingDataset(folder, size=32, seed=0)[0]


def test_unusual_pictures_pass_through_the_dataset(tmp_path):
    picture = Image.open(photo(tmp_path / "p" / "rgb.png"))
    for mode in ("CMYK", "L", "P", "RGBA", "1"):
        picture.convert(mode).save(tmp_path / "p" / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}")
    Image.fromarray(np.full((40, 50), 40000, np.uint16)).save(tmp_path / "p" / "16bit.png")
    dataset = InpaintingDataset(sorted((tmp_path / "p").iterdir()), size=32, seed=0)
    assert len(dataset) == 7 and not dataset.quarantined
    assert all(sample["image"].shape == (3, 32, 32) for sample in dataset)
    assert {sample["name"] for sample in dataset} == {path.name for path in (tmp_path / "p").iterdir()}


# ---- named data sets -------------------------------------------------------------------------------------------------


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names_of(files, root):
    return [file.relative_to(root).as_posix() for file in files]


@pytest.mark.parametrize("name", DATASETS)
def test_plain_folders_are_taken_and_a_missing_split_is_explained(name, tmp_path):
    touch(tmp_path, "train/x/1.jpg", "test/2.jpg")
    assert names_of(dataset_files(name, tmp_path, "train"), tmp_path) == ["train/x/1.jpg"]
    assert names_of(dataset_files(name, tmp_path, "all"), tmp_path) == ["test/2.jpg", "train/x/1.jpg"]
    with pytest.raises(ValueError, match=rf"(?s){name}: no split 'val'.*holds test, train.*Expected:\n +\S"):
        dataset_files(name, tmp_path, "val")
    with pytest.raises(ValueError, match="data/README.md"):
        dataset_files(name, tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match="say where"):
        dataset_files(name)


def test_any_folder_can_stand_for_a_name(tmp_path):
    touch(tmp_path, "train/1.jpg")
    assert names_of(dataset_files(str(tmp_path)), tmp_path) == ["train/1.jpg"]
    assert names_of(dataset_files(tmp_path / "train", split="all"), tmp_path) == ["train/1.jpg"]
    with pytest.raises(ValueError, match="neither a folder nor"):
        dataset_files("plcaes2", tmp_path)


def test_places2_reads_the_published_tree(tmp_path):
    touch(tmp_path, "data_256_standard/a/abbey/1.jpg", "val_large/2.jpg", "val_256/3.jpg", "test_256/4.jpg")
    expected = {"train": "data_256_standard/a/abbey/1.jpg", "val": "val_large/2.jpg", "test": "test_256/4.jpg"}
    for split, file in expected.items():
        assert names_of(dataset_files("places2", tmp_path, split), tmp_path) == [file]


def test_places365_goes_through_torchvision(tmp_path, monkeypatch):
    class Fake:
        def __init__(self, root, **options):
            self.options, self.images_dir = options, str(Path(root) / "val_256")
            calls.append(options)
            if options["download"]:
                touch(Path(root), "val_256/b.jpg", "val_256/a.jpg")
            self.imgs = [(f"{self.images_dir}/b.jpg", 3), (f"{self.images_dir}/a.jpg", None)]

    calls = []
    monkeypatch.setattr(aotlib.sources.datasets, "Places365", Fake)
    with pytest.raises(ValueError, match="download=True"):
        places365(tmp_path, "val")
    assert names_of(places365(tmp_path, "val", download=True), tmp_path) == ["val_256/b.jpg", "val_256/a.jpg"]
    places365(tmp_path, "train", small=False)
    assert calls[-1] == {"split": "train-standard", "small": False, "download": False}


def test_celebahq_follows_the_partition_of_celeba(tmp_path):
    touch(tmp_path, *(f"CelebA-HQ-img/{number}.jpg" for number in range(4)))
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx    orig_idx    orig_file\n0  119613  119614.jpg\n1  99094  099095.jpg\n"
        "2  200121  200122.jpg\n3  170000  170001.jpg\n"
    )
    with pytest.raises(ValueError, match="list_eval_partition.txt"):
        dataset_files("celebahq", tmp_path, "train")
    (tmp_path / "list_eval_partition.txt").write_text("099095.jpg 0\n119614.jpg 0\n170001.jpg 1\n200122.jpg 2\n")
    for split, expected in [("train", [0, 1]), ("val", [3]), ("test", [2])]:
        files = dataset_files("celebahq", tmp_path, split)
        assert names_of(files, tmp_path) == [f"CelebA-HQ-img/{number}.jpg" for number in expected]
    with pytest.raises(ValueError, match="no split 'trian'"):
        dataset_files("celebahq", tmp_path, "trian")


VOC = """<annotation><size><width>20</width><height>10</height></size>
<object><name>brand</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>4</xmax><ymax>2</ymax></bndbox></object>
<object><name>other</name><bndbox><xmin>20</xmin><ymin>10</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object>
</annotation>"""


def test_openlogo_reads_the_voc_tree(tmp_path):
    touch(tmp_path, "JPEGImages/a1.jpg", "JPEGImages/b2.jpg", "Annotations/a1.xml")
    touch(tmp_path / "ImageSets", "Main/train_test/train_all.txt", "own/val.txt")
    (tmp_path / "ImageSets/Main/train_test/train_all.txt").write_text("a1\n")
    (tmp_path / "ImageSets/Main/train_test/test_all.txt").write_text("b2\n\n")
    (tmp_path / "ImageSets/own/val.txt").write_text("b2\na1\n")
    (tmp_path / "Annotations/a1.xml").write_text(VOC.format(1))
    assert names_of(dataset_files("openlogo", tmp_path, "train"), tmp_path) == ["JPEGImages/a1.jpg"]
    assert names_of(dataset_files("openlogo", tmp_path, "test"), tmp_path) == ["JPEGImages/b2.jpg"]
    own = dataset_files("openlogo", tmp_path, "own/val")
    assert names_of(own, tmp_path) == ["JPEGImages/b2.jpg", "JPEGImages/a1.jpg"]
    boxes = logo_boxes(tmp_path)
    assert boxes == {"a1.jpg": [(0, 0, 4, 2), (19, 9, 20, 10)]}
    assert boxes_to_mask(boxes["a1.jpg"], (10, 20)).sum() == 9  # 4 x 2 pixels and the last one


def test_openlogo_reads_boxes_json(tmp_path):
    touch(tmp_path, "images/1.jpg", "images/2.jpg")
    boxes = {
        "2.jpg": {"boxes_xyxy": [[1, 2, 5, 9]], "classes": ["DHL"], "size": [50, 30], "split": "test"},
        "1.jpg": {"boxes_xyxy": [], "classes": [], "size": [50, 30], "split": "train"},
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    assert names_of(dataset_files("openlogo", tmp_path, "test"), tmp_path) == ["images/2.jpg"]
    assert logo_boxes(tmp_path) == {"1.jpg": [], "2.jpg": [(1, 2, 5, 9)]}
    with pytest.raises(ValueError, match="no split 'val'"):
        dataset_files("openlogo", tmp_path, "val")
    with pytest.raises(ValueError, match="no logo boxes"):
        logo_boxes(tmp_path / "images")


@pytest.mark.parametrize("cache_mb, decodings", [(256, 6), (0, 12)])
def test_a_small_data_set_is_decoded_once(folder, monkeypatch, cache_mb, decodings):
    """6 pictures in two epochs; the samples are the same whether the decoded ones are kept or not."""
    kept = InpaintingDataset(folder, size=32, seed=0, cache_mb=cache_mb)
    read, count = aotlib.data.read_image, Counter()
    monkeypatch.setattr(aotlib.data, "read_image", lambda path: count.update([path]) or read(path))
    twice = [kept[epoch, index] for epoch in range(2) for index in range(6)]
    assert count.total() == decodings
    fresh = InpaintingDataset(folder, size=32, seed=0, cache_mb=0)
    assert all(
        same(a, fresh[e, i]) for a, (e, i) in zip(twice, [(e, i) for e in range(2) for i in range(6)], strict=True)
    )
