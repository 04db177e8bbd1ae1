"""Shards hold the files byte for byte, give the samples of the plain files, and say what is wrong with them."""

import json
import tarfile
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional as transforms

import aotlib.shards
from aotlib import convert, records
from aotlib.bench import loader as loader_bench
from aotlib.bench.loader import loader_rate, stage_times
from aotlib.colour import adjust_hue
from aotlib.data import InpaintingDataset, SampleOrder, dataset_files
from aotlib.images import TarMember, find_images, image_size, read_image, write_image
from aotlib.shards import ShardFiles, write_shards

NAMES = ("a/0.png", "a/1.v2.jpg", "a/2.png", "b/0.png", "b/1.JPG", "b/ä 3.png", "b/4.png")


@pytest.fixture
def files(tmp_path):
    """Seven pictures whose names webdataset would mix up: dots, equal stems, capitals, an umlaut and a space."""
    for number, name in enumerate(NAMES):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((64 + number, 48), Image.Resampling.BICUBIC)
        write_image(np.asarray(picture), tmp_path / "train" / name)
    return find_images(tmp_path / "train")


def convert_all(files, tmp_path, max_mb=0.02):
    return write_shards(files, tmp_path / "shards", split="train", max_mb=max_mb)


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if torch.is_tensor(one[key]) else one[key] == other[key] for key in one
    )


def test_webdatasets_own_reader_finds_every_file_unchanged(files, tmp_path):
    done = convert_all(files, tmp_path)
    tars = sorted(map(str, done["folder"].glob("*.tar")))
    assert len(tars) == done["shards"] > 2 and done["samples"] == 7 and done["refused"] == []
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{number:09d}" for number in range(7)]
    for sample, file in zip(samples, files, strict=True):
        ending = file.suffix.lower().lstrip(".")
        assert {key for key in sample if not key.startswith("__")} == {ending}
        assert sample[ending] == file.read_bytes()
    decoded = list(webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8").to_tuple("png;jpg"))
    assert all(np.array_equal(picture, read_image(file)) for (picture,), file in zip(decoded, files, strict=True))


def test_the_index_agrees_with_the_tars_headers(files, tmp_path):
    folder = convert_all(files, tmp_path)["folder"]
    listed = ShardFiles(folder)
    headers = []
    for tar in sorted(folder.glob("*.tar")):
        with tarfile.open(tar) as file:
            headers += [(tar, member) for member in file.getmembers()]
    found = [(file.shard, file.offset, file.n_bytes) for file in listed]
    assert found == [(tar, member.offset_data, member.size) for tar, member in headers]
    assert [(file.height, file.width) for file in listed] == [image_size(file) for file in files]
    assert [file.member for file in listed] == [file.relative_to(tmp_path / "train").as_posix() for file in files]
    assert [file.name for file in listed] == [file.name for file in files] and listed[-1].read() == files[
        -1
    ].read_bytes()
    assert [str(file) for file in listed[2:4]] == [str(listed[2]), str(listed[3])] and len(listed[2:4]) == 2
    counts = Counter(tar.name for tar, _ in headers)
    index = json.loads((folder / "index.json").read_text())
    assert {entry["url"]: entry["nsamples"] for entry in index["shardlist"]} == counts


@pytest.mark.parametrize("augment, n_workers", [(True, 0), (True, 2), (False, 0)])
def test_samples_from_shards_are_those_from_the_plain_files(files, tmp_path, augment, n_workers):
    plain = InpaintingDataset(files, size=32, seed=3, augment=augment)
    shards = InpaintingDataset(convert_all(files, tmp_path)["folder"], size=32, seed=3, augment=augment)

    def batches(dataset):
        loader = DataLoader(dataset, 4, sampler=SampleOrder(7, seed=3, start=2), num_workers=n_workers)
        return list(islice(iter(loader), 5))

    assert isinstance(shards.files, ShardFiles) and len(shards) == 7
    assert all(same(one, other) for one, other in zip(batches(plain), batches(shards), strict=True))
    assert {name for batch in batches(shards) for name in batch["name"]} <= set(NAMES)


def test_dataset_files_finds_finished_shards_first(files, tmp_path, capsys):
    assert dataset_files(tmp_path, split="train") == files
    convert.shards(str(tmp_path), max_mb=0.02)
    assert "7 images in" in capsys.readouterr().out
    for root in (tmp_path, tmp_path / "shards"):
        listed = dataset_files("places2", root, "train")
        assert isinstance(listed, ShardFiles) and len(InpaintingDataset(listed, size=32, seed=0)) == 7
    assert dataset_files(tmp_path, split="train", shards=False) == files
    assert InpaintingDataset(listed[:3], size=32, seed=0)[2]["name"] == "a/2.png"
    assert InpaintingDataset([listed[4], listed[0]], size=32, seed=0)[0]["name"] == "b/1.JPG"
    (tmp_path / "shards" / "train" / "index.json").unlink()
    assert dataset_files(tmp_path, split="train") == files  # a conversion under way disturbs nobody
    for unfinished in (lambda: dataset_files(tmp_path / "shards"), lambda: ShardFiles(tmp_path / "shards" / "train")):
        with pytest.raises(ValueError, match="has no index.json: its conversion was not finished"):
            unfinished()


def test_a_stopped_conversion_goes_on_and_writes_no_whole_shard_twice(files, tmp_path, monkeypatch):
    whole = convert_all(files, tmp_path / "once")["folder"]
    write, calls = aotlib.shards._write_tar, []  # calls: names of the shards that are written

    def stop_at_the_second(tar, *rest):
        calls.append(tar.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(tar, *rest)

    monkeypatch.setattr(aotlib.shards, "_write_tar", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        convert_all(files, tmp_path)
    folder = tmp_path / "shards" / "train"
    assert sorted(path.name for path in folder.iterdir()) == ["shard-000000.json", "shard-000000.tar"]
    done = convert_all(files, tmp_path)
    assert calls.count("shard-000000.tar") == 1 and done["written"] == done["shards"] - 1
    assert convert_all(files, tmp_path)["written"] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in whole.iterdir()
    }


def test_shards_of_other_files_are_not_replaced(files, tmp_path):
    convert_all(files, tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "shards" / "train").iterdir()}
    with pytest.raises(ValueError, match="was made from other files"):
        convert_all([files[1], files[0], *files[2:]], tmp_path)
    with pytest.raises(ValueError, match="holds shard-.*fill 1 shards only"):
        convert_all(files, tmp_path, max_mb=10)
    files[0].write_bytes(files[0].read_bytes() + b"longer")
    with pytest.raises(ValueError, match="shard-000000.tar was made from other files"):
        convert_all(files, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "shards" / "train").iterdir()} == before


def test_what_is_no_image_is_left_out_and_listed(files, tmp_path):
    files[0].write_bytes(b"")
    files[3].write_text("no picture")
    files[5].write_bytes(files[5].read_bytes()[:1500])  # the header is whole: it shows when it is decoded
    missing = tmp_path / "train" / "b" / "gone.png"
    done = convert_all([*files, missing], tmp_path)
    reasons = dict(done["refused"])
    assert reasons.keys() == {"a/0.png", "b/0.png", "b/gone.png"} and "empty" in reasons["a/0.png"]
    assert convert_all([*files, missing], tmp_path)["refused"] == done["refused"]  # also when nothing is written
    dataset = InpaintingDataset(done["folder"], size=32, seed=0, quarantine=tmp_path / "bad.csv")
    names = [dataset[index]["name"] for index in range(len(dataset))]
    assert names == ["a/1.v2.jpg", "a/2.png", "b/1.JPG", "b/ä 3.png", "b/ä 3.png"]  # the next one stands in for b/4.png
    assert [file.member for file, _ in dataset.quarantined] == ["b/4.png"]
    assert "shard-" in (tmp_path / "bad.csv").read_text()
    with pytest.raises(ValueError, match="none of 1 files is an image, first: gone.png: No such file"):
        write_shards([missing], tmp_path / "other", split="train")
    with pytest.raises(ValueError, match="at least one file"):
        write_shards([], tmp_path / "other", split="train")


def test_a_damaged_shard_is_named(files, tmp_path):
    folder = convert_all(files, tmp_path)["folder"]
    tar = folder / "shard-000001.tar"
    content = tar.read_bytes()
    listed = ShardFiles(folder)
    tar.write_bytes(content[:1000])
    with pytest.raises(ValueError, match="shard-000001.tar has 1000 bytes; index.json says"):
        ShardFiles(folder)
    dataset = InpaintingDataset(listed, size=32, seed=0)  # opened while it was whole
    assert len([dataset[index] for index in range(7)]) == 7
    assert {file.shard.name for file, _ in dataset.quarantined} == {"shard-000001.tar"}
    assert "ends inside this picture" in dataset.quarantined[0][1]
    assert convert_all(files, tmp_path)["written"] == 1 and tar.read_bytes() == content
    tar.unlink()
    with pytest.raises(ValueError, match="shard-000001.tar has 0 bytes"):
        ShardFiles(folder)


def test_all_splits_of_shards_alone_are_refused_with_their_names(files, tmp_path):
    write_shards(files, tmp_path / "only" / "shards", split="train")
    with pytest.raises(ValueError, match="name the split: train"):
        dataset_files(tmp_path / "only", None, "all")


def test_a_lost_index_of_a_shard_is_named(files, tmp_path):
    write_shards(files, tmp_path, split="train")
    (tmp_path / "train" / "shard-000000.json").unlink()
    with pytest.raises(ValueError, match="shard-000000.json is missing; copy it again"):
        ShardFiles(tmp_path / "train")


def test_small_pictures_are_set_aside_by_the_index(files, tmp_path):
    write_image(np.zeros((20, 30, 3), np.uint8), tmp_path / "train" / "a" / "00.png")
    files = find_images(tmp_path / "train")
    plain = InpaintingDataset(files, size=32, seed=0)
    shards = InpaintingDataset(convert_all(files, tmp_path)["folder"], size=32, seed=0)
    kept = [file.relative_to(tmp_path / "train").as_posix() for file in plain.files]
    assert len(kept) == 7 and [file.member for file in shards.files] == kept
    assert (
        [why for _, why in shards.quarantined]
        == [why for _, why in plain.quarantined]
        == ["too small: the shorter side has 20 px, wanted 32"]
    )


def test_the_fingerprint_of_shards_reads_their_index_only(files, tmp_path, monkeypatch):
    folder = convert_all(files, tmp_path)["folder"]
    seen = records.fingerprint(folder.parent)
    read = []
    monkeypatch.setattr(records.Path, "read_bytes", lambda path: read.append(path.name) or path.open("rb").read())
    assert records.fingerprint(folder.parent) == seen and read == ["index.json"]
    assert seen["of"].endswith("of shards their index and sizes")
    index = json.loads((folder / "index.json").read_text())
    index["shardlist"][0]["sha256"] = "0" * 64  # what another picture of the same size would bring
    (folder / "index.json").write_text(json.dumps(index, ensure_ascii=False) + "\n")
    assert records.fingerprint(folder.parent)["sha256"] != seen["sha256"]


def test_a_command_goes_through_a_folder_once_and_the_next_one_again(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1").write_text("1")
    looks, look = [], records._fingerprint
    monkeypatch.setattr(records, "_fingerprint", lambda folder: looks.append(folder) or look(folder))
    with records.each_folder_once():
        first = records.fingerprint(tmp_path)
        (tmp_path / "a" / "b" / "1").write_text("2")  # two levels below: the folder's time does not change
        with records.each_folder_once():
            assert records.fingerprint(f"{tmp_path}/a/..") == first and len(looks) == 1
    assert records.fingerprint(tmp_path) != first
    with pytest.raises(KeyError), records.each_folder_once():
        second = records.fingerprint(tmp_path)
        raise KeyError
    (tmp_path / "a" / "b" / "1").write_text("3")
    with records.each_folder_once():
        assert records.fingerprint(tmp_path) not in (first, second)


def test_a_tar_member_stands_for_a_path():
    file = TarMember(shard="x/shard-000000.tar", member="a/1.jpg", offset=512, n_bytes=9, height=4, width=5)
    assert str(file) == "x/shard-000000.tar/a/1.jpg" and file.name == "1.jpg" and image_size(file) == (4, 5)


@pytest.mark.parametrize("shift", [0.0, 0.03, -0.05, 1e-9, -1e-9, 0.5, -0.5])
def test_the_hue_is_torchvisions_for_every_colour(shift):
    """All 2^24 colours for one shift that the augmentation makes, each 7th for the others."""
    code = torch.arange(0, 2**24, 1 if shift == 0.03 else 7)
    colours = torch.stack([code >> 16, (code >> 8) & 255, code & 255]).to(torch.uint8)[:, None]
    assert torch.equal(adjust_hue(colours, shift), transforms.adjust_hue(colours, shift))


def test_the_hue_takes_crops_that_are_not_contiguous():
    picture = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8).permute(2, 0, 1)[:, 3:30, 5:40].flip(2)
    assert torch.equal(adjust_hue(picture, 0.04), transforms.adjust_hue(picture, 0.04))
    with pytest.raises(ValueError, match="uint8"):
        adjust_hue(picture.float(), 0.1)


def test_the_loaders_record_says_on_what_it_was_measured(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("aotlib.bench.loader.stage_times", lambda *_: {"decode": 1.0, "hue": 3.0})
    monkeypatch.setattr("aotlib.bench.loader.loader_rate", lambda *_, **given: {"size": 256, "rate": 5.0} | given)
    threads = torch.get_num_threads()
    path = loader_bench.main([str(files[0].parent)], 0.1, tmp_path / "out")
    torch.set_num_threads(threads)
    content = json.loads(path.read_text())
    assert content["device"].startswith("cpu: ") and content["stages"][0]["total_ms"] == 4.0
    assert {row["photographs"] for row in content["stages"] + content["rates"]} == {len(find_images(files[0].parent))}
    assert "250 images/s a core" in capsys.readouterr().out


@pytest.mark.parametrize("workers, cold", [(0, True), (1, False)])
def test_the_loaders_rate_is_that_of_the_data_set(files, tmp_path, workers, cold):
    for given, in_shards in ((files, False), (convert_all(files, tmp_path)["folder"], True)):
        row = loader_rate(given, 32, workers, 2, 0.2, cold=cold)
        assert row["shards"] is in_shards and row["cold"] is cold and row["seconds"] >= 0.2
        assert row["images"] > 0 and row["rate"] == pytest.approx(row["images"] / row["seconds"], rel=0.05)
        assert 0 < row["core_ms"] < 1000
    assert {"decode", "hue", "draw the mask"} < stage_times(files, 32, n_images=3).keys()
