"""The embedded photographs: the table and the files agree, and every licence allows redistribution."""

import csv
import hashlib
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
import build_samples

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
COLUMNS = [
    "file", "split", "title", "author", "licence", "licence_url", "source", "width", "height", "sha256",
]  # fmt: skip
FREE = {  # nothing here forbids commercial use or changes
    "CC0-1.0", "public-domain", "CC-BY-2.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0",
    "GPL-2.0-or-later", "LGPL-3.0-only",
}  # fmt: skip


def read_rows():
    with (SAMPLES / "samples.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


ROWS = read_rows()
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])


def test_table_lists_exactly_the_files():
    listed = sorted(f"{row['split']}/{row['file']}" for row in ROWS)
    found = sorted(p.relative_to(SAMPLES).as_posix() for p in SAMPLES.rglob("*") if p.is_file())
    assert found == sorted([*listed, "samples.csv"])


def test_enough_photographs_in_every_split_and_few_bytes():
    count = Counter(row["split"] for row in ROWS)
    assert set(count) == {"train", "val", "test"}
    assert count.total() >= 30 and count["train"] >= 20 and count["val"] >= 4 and count["test"] >= 8
    assert sum(p.stat().st_size for p in SAMPLES.rglob("*.jpg")) <= 6_000_000


def test_no_photograph_appears_twice():
    for column in ("file", "source", "sha256"):  # one original on two sides of a split would leak
        repeated = [value for value, n in Counter(row[column] for row in ROWS).items() if n > 1]
        assert not repeated, f"{column} is repeated: {repeated}"


@each_row
def test_row_is_complete_and_free(row):
    assert list(row) == COLUMNS
    assert not [name for name in COLUMNS if not row[name].strip()]
    assert row["licence"] in FREE
    assert row["licence_url"].startswith("https://")
    kind, package, version, path = row["source"].split(maxsplit=3)
    assert kind in {"apt", "pip"} and package and version[0].isdigit() and not path.startswith("/")


@each_row
def test_file_is_the_one_in_the_table(row):
    path = SAMPLES / row["split"] / row["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
    with Image.open(path) as image:
        image.load()  # decodes every block: a truncated file raises here
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert image.size == (int(row["width"]), int(row["height"]))
        assert 512 <= min(image.size) <= max(image.size) <= 768
        assert row["licence_url"].encode() in image.info["comment"]  # the attribution travels with the file
        assert not image.getexif(), "camera data (it may hold a place) is still in the file"


def test_larger_versions_are_made_of_those_that_have_the_pixels_and_listed_alone(tmp_path, monkeypatch):
    folder, rows = tmp_path / "samples", []
    for name, size in (("large", (1500, 1200)), ("small", (1500, 900))):
        path = tmp_path / "unpacked" / "package" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "teal").save(path)
        rows.append(ROWS[0] | {"file": f"{name}.jpg", "split": "test", "source": f"apt package 1 {name}.png"})
    folder.mkdir()
    build_samples.write_table(rows, folder / "samples.csv")
    words = ["build_samples.py", str(tmp_path / "unpacked"), "--samples", str(folder), "--shorter", "1024"]
    monkeypatch.setattr(sys, "argv", words)
    build_samples.main()
    with (folder / "samples.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["width"], row["height"]) == ("large.jpg", "1280", "1024")
    assert [path.name for path in folder.rglob("*.jpg")] == ["large.jpg"]
    small = Image.new("RGB", (300, 200))
    assert build_samples.fit(small, (0, 0, 1, 1)).size == (768, 512)  # the embedded size, as ever
