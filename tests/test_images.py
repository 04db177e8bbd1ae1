"""Every kind of file that people have in their folders, made on the spot with Pillow."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from aotlib.files import replacing
from aotlib.images import (
    UnreadableImage,
    find_images,
    image_size,
    read_image,
    to_float,
    to_uint8,
    write_image,
)


def gradient(height=24, width=40):
    """A picture whose corners differ, so that a wrong turn or a swapped channel shows: red grows to the right."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 60)], -1).astype(np.uint8)


def test_a_png_comes_back_as_written(tmp_path):
    write_image(gradient(), tmp_path / "new" / "a.png")
    assert np.array_equal(read_image(tmp_path / "new" / "a.png"), gradient())
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.png"]  # no temporary file is left


def test_a_jpeg_is_near(tmp_path):
    write_image(gradient(), tmp_path / "a.jpg")
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - gradient()).max() <= 8


def test_write_image_takes_tensors_and_grey(tmp_path):
    write_image(torch.from_numpy(gradient()).permute(2, 0, 1), tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), gradient())
    write_image(torch.full((1, 4, 5), 255, dtype=torch.uint8), tmp_path / "m.png")
    assert read_image(tmp_path / "m.png").shape == (4, 5, 3)
    with pytest.raises(ValueError, match="to_uint8"):
        write_image(gradient().astype(np.float32), tmp_path / "b.png")
    with pytest.raises(ValueError, match=".webp"):
        write_image(gradient(), tmp_path / "b.webp")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert (tmp_path / "a.txt").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("turn, undo", [(3, 2), (6, 1), (8, 3)])  # EXIF code, quarter turns to the left that store it
def test_exif_rotation_is_applied(tmp_path, turn, undo):
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(np.rot90(gradient(), undo).copy()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), gradient())
    assert min(image_size(tmp_path / "a.png")) == 24


def test_cmyk_becomes_rgb(tmp_path):
    Image.fromarray(gradient()).convert("CMYK").save(tmp_path / "a.jpg", quality=95, subsampling=0)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - gradient()).max() <= 12


def test_palette_and_grey(tmp_path):
    flat = np.zeros((8, 8, 3), np.uint8)
    flat[:, 4:] = (200, 10, 30)
    Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    assert np.array_equal(read_image(tmp_path / "p.png"), flat)
    Image.fromarray(gradient()[..., 0]).save(tmp_path / "l.png")
    assert np.array_equal(read_image(tmp_path / "l.png"), np.repeat(gradient()[..., :1], 3, -1))
    Image.fromarray(gradient()[..., 0] > 99).save(tmp_path / "one.png")
    assert set(np.unique(read_image(tmp_path / "one.png"))) == {0, 255}


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bit_is_scaled_and_not_clipped(tmp_path, name):
    values = np.array([[0, 128, 257, 1000, 32768, 65535]] * 6, np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    expected = np.round(values / 257).astype(np.uint8)
    assert np.array_equal(read_image(tmp_path / name), np.repeat(expected[..., None], 3, -1))
    assert expected.max() == 255 and expected[0, 3] == 4


def test_alpha_is_laid_over_white(tmp_path):
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., 3] = [0, 51, 255]  # black, seen through 0, 20 and 100 %
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [255, 204, 0]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    palette.putpalette([9, 9, 9, 8, 8, 8])
    palette.save(tmp_path / "p.png", transparency=0)
    assert read_image(tmp_path / "p.png")[0, :, 0].tolist() == [255, 8]
    Image.fromarray(np.array([[7, 6]], np.uint8)).save(tmp_path / "l.png", transparency=7)
    assert read_image(tmp_path / "l.png")[0, :, 0].tolist() == [255, 6]


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert read_image(tmp_path / name)[0, 0].tolist() == pytest.approx([255, 0, 0], abs=1), name


def bomb(path):
    """A PNG whose header promises 20,000 x 20,000 pixels."""
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)))


def large_bomb(path):
    Image.new("1", (9600, 9600)).save(path)  # above Pillow's warning, below its error


def truncated(path):
    Image.effect_noise((64, 64), 90).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_png(path):
    Image.effect_noise((64, 64), 90).save(path, "PNG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "zero.jpg": (lambda path: path.write_bytes(b""), "0 bytes"),
    "text.png": (lambda path: path.write_text("not an image"), "not an image"),
    "missing.png": (lambda path: None, "no such file"),
    "half.jpg": (truncated, "truncated"),
    "half.png": (truncated_png, "truncated"),
    "bomb.png": (bomb, "bomb"),
    "large.png": (large_bomb, "bomb"),
    "float.tif": (lambda path: Image.new("F", (4, 4), 0.5).save(path), "floating-point"),
    "int32.tif": (lambda path: Image.new("I", (4, 4), 70000).save(path), "70000"),
    "folder.png": (lambda path: path.mkdir(), "folder.png|directory|denied"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_says_why(tmp_path, name):
    make, reason = BAD[name]
    make(tmp_path / name)
    with pytest.raises(UnreadableImage, match=reason) as caught:
        read_image(tmp_path / name)
    assert caught.value.path == tmp_path / name and str(tmp_path / name) in str(caught.value)


def test_the_header_alone_gives_the_size_and_the_bomb(tmp_path):
    truncated(tmp_path / "half.jpg")
    assert image_size(tmp_path / "half.jpg") == (64, 64)
    bomb(tmp_path / "bomb.png")
    with pytest.raises(UnreadableImage, match="bomb"):
        image_size(tmp_path / "bomb.png")


def test_all_256_levels_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    image = to_float(levels)
    assert image.min() == -1 and image.max() == 1 and image.dtype == torch.float32


def test_to_float_puts_the_channels_first():
    array = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    image = to_float(array)
    assert image.shape == (2, 3, 5, 7)
    assert image[1, 2, 3, 4].item() == pytest.approx(array[1, 3, 4, 2] / 127.5 - 1, abs=1e-6)
    assert torch.equal(to_float(torch.from_numpy(array).permute(0, 3, 1, 2)), image)
    with pytest.raises(ValueError, match="uint8"):
        to_float(array.astype(np.float32))


def test_to_uint8_rounds_clamps_and_refuses():
    assert to_uint8(torch.tensor([0.999, 0.99, -0.999, 5.0, -5.0])).tolist() == [255, 254, 0, 255, 0]
    assert to_uint8(torch.tensor([0.5], dtype=torch.bfloat16)).item() == 191
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(torch.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match="float"):
        to_uint8(torch.tensor([1]))


def test_find_images_is_recursive_sorted_and_loud(tmp_path):
    for name in ("b/2.JPG", "b/10.jpeg", "a.png", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [file.relative_to(tmp_path).as_posix() for file in find_images(tmp_path)]
    assert found == ["a.png", "b/10.jpeg", "b/2.JPG"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.txt").touch()
    with pytest.raises(ValueError, match=r"no image below .*found \.txt"):
        find_images(tmp_path / "empty")
    with pytest.raises(ValueError, match="does not exist"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a file"):
        find_images(tmp_path / "a.png")
