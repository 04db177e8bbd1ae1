r"""Image files in, arrays and tensors out: one place that knows about file formats and value ranges.

Inside the library an image is RGB, float in [-1, 1], (B, 3, H, W). On disk and in metrics it is uint8, and
such names end in `_u8`.
"""

import functools
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from aotlib.files import replacing

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class UnreadableImage(ValueError):
    """A file that cannot be turned into an RGB picture; `path` and `reason` say which and why."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = Path(path), reason

    def __str__(self) -> str:
        return f"cannot read {self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class TarMember:
    r"""A picture inside a shard, an uncompressed tar file: it stands where the path of an image file can.

    Args:
        shard: the tar file.
        member: the name that the picture had, relative to the folder that was converted.
        offset, n_bytes: where its bytes lie in the shard.
        height, width: from the picture's header, pixels.

    Taught in notebook 01.
    """

    shard: Path
    member: str
    offset: int
    n_bytes: int
    height: int
    width: int

    @property
    def name(self) -> str:
        return self.member.rsplit("/", 1)[-1]

    def __fspath__(self) -> str:
        return f"{self.shard}/{self.member}"

    __str__ = __fspath__

    def read(self) -> bytes:
        r"""The bytes of the image file, as they were before it was put into the shard."""
        content = os.pread(_shard(self.shard).fileno(), self.n_bytes, self.offset)  # no position to share: any process
        if len(content) < self.n_bytes:
            raise OSError(f"the shard {self.shard.name} ends inside this picture")
        return content


@functools.lru_cache(maxsize=256)  # opening is what a network file system is slow at; the last one out is closed
def _shard(path: Path) -> io.FileIO:
    return open(path, "rb", buffering=0)


@contextmanager
def _opened(path: str | Path | TarMember, content: bytes | None = None) -> Iterator[Image.Image]:
    """The file opened by Pillow, with every way in which that or the decoding can fail told as UnreadableImage."""
    try:
        if isinstance(path, TarMember):
            content = path.read()
        if (os.path.getsize(path) if content is None else len(content)) == 0:
            raise UnreadableImage(path, "the file is empty (0 bytes)")
        with Image.open(path if content is None else io.BytesIO(content)) as file:
            limit = Image.MAX_IMAGE_PIXELS or float("inf")  # Pillow only warns up to twice this
            if file.width * file.height > limit:
                raise UnreadableImage(path, f"decompression bomb? {file.width} x {file.height} pixels, limit {limit}")
            yield file
    except (UnreadableImage, MemoryError):
        raise
    except FileNotFoundError:
        raise UnreadableImage(path, "there is no such file") from None
    except Image.UnidentifiedImageError:
        raise UnreadableImage(path, "not an image of a known format") from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files, SyntaxError among them
        raise UnreadableImage(path, f"{error} ({type(error).__name__})") from error


def image_size(path: str | Path | TarMember, content: bytes | None = None) -> tuple[int, int]:
    r"""Return (height, width) from the file's header, without decoding the pixels; a shard has them in its index.

    A rotation noted in EXIF is not applied, so the two may be swapped; the shorter side is right either way.

    Args:
        content: the bytes of the file, where they have been read already.

    Taught in notebook 01.
    """
    if isinstance(path, TarMember):
        return path.height, path.width
    with _opened(path, content) as file:
        return file.height, file.width


def read_image(path: str | Path | TarMember) -> np.ndarray:
    r"""Return the picture as it is meant to be seen: (H, W, 3), uint8, RGB.

    The EXIF rotation is applied; CMYK, palette and greyscale become RGB; 16-bit grey is scaled to 8 bit
    (`round(v / 257)`, not clipped; 16-bit colour keeps its high byte); transparent pixels are laid **over
    white**; of an animation the first frame is taken. Colour profiles are ignored. Whatever cannot be decoded
    whole raises `UnreadableImage`.

    Taught in notebook 01.
    """
    with _opened(path) as file:
        file.load()
        return np.array(_to_rgb(ImageOps.exif_transpose(file)))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no agreed white; save the picture with 8 or 16 bits a channel")
    if picture.mode.startswith("I"):  # 16-bit grey; convert("RGB") would clip everything above 255 to white
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"signed or 32-bit pixels, {values.min()} to {values.max()}; save with 8 or 16 bits")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def write_image(image_u8: np.ndarray | Tensor, path: str | Path) -> None:
    r"""Write (H, W, 3) or (H, W) uint8 to a PNG or JPEG file, whole or not at all.

    A tensor is taken as (3, H, W) or (1, H, W). JPEG has quality 95 and full colour resolution; PNG loses
    nothing.

    Taught in notebook 01.
    """
    if isinstance(image_u8, Tensor):
        image_u8 = image_u8.cpu().permute(1, 2, 0).squeeze(-1).numpy()
    if image_u8.dtype != np.uint8:
        raise ValueError(f"write_image takes uint8, not {image_u8.dtype}; convert with to_uint8 first")
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"write_image writes .png and .jpg files, not {suffix!r} ({path})")
    options = {} if suffix == ".png" else {"quality": 95, "subsampling": 0}
    with replacing(path) as temporary:
        Image.fromarray(image_u8).save(temporary, **options)


def to_float(image_u8: np.ndarray | Tensor) -> Tensor:
    r"""Return the image as float32 in [-1, 1], channels first.

    .. math:: x = v / 127.5 - 1

    Args:
        image_u8: array (..., H, W, 3), as `read_image` gives it, or tensor (..., 3, H, W); uint8.

    >>> to_float(np.array([[[0, 51, 255]]], np.uint8)).flatten()
    tensor([-1.0000, -0.6000,  1.0000])

    Taught in notebook 01.
    """
    if isinstance(image_u8, np.ndarray):
        image_u8 = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image_u8, -1, -3)))
    if image_u8.dtype != torch.uint8:
        raise ValueError(f"to_float takes uint8 in 0..255, not {image_u8.dtype}; is the image converted already?")
    return image_u8.float() / 127.5 - 1


def to_uint8(image: Tensor) -> Tensor:
    r"""Return the image as uint8 in 0..255: clamped, then **rounded**, so that `to_uint8(to_float(v)) == v`.

    .. math:: v = \mathrm{round}(127.5 \, (\min(\max(x, -1), 1) + 1))

    The released code truncates instead, which lowers 63 of the 256 levels by one.

    Args:
        image: (..., 3, H, W), meant to be in [-1, 1]; values beyond are clamped, NaN is refused.

    >>> to_uint8(torch.tensor([-1.2, -1.0, 0.5, 1.0]))
    tensor([  0,   0, 191, 255], dtype=torch.uint8)

    Taught in notebook 01.
    """
    if not image.is_floating_point():
        raise ValueError(f"to_uint8 takes a float image in [-1, 1], not {image.dtype}")
    if image.isnan().any():
        raise ValueError(f"the image holds {int(image.isnan().sum())} NaN; the network that made it has diverged")
    return ((image.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def common_folder(files: Sequence[Path | TarMember]) -> str | None:
    r"""The folder that all the files lie below; None for members of shards, which know their names."""
    if not len(files):
        raise ValueError("the list of images is empty")
    if isinstance(files[0], TarMember):
        return None
    return os.path.commonpath([file.absolute().parent for file in files])


def name_of(file: Path | TarMember, root: str | Path | None) -> str:
    r"""The name of a picture below `root`, with ``/`` on every system; of a member of a shard its own."""
    return file.member if isinstance(file, TarMember) else Path(os.path.relpath(file, root)).as_posix()


def centred(picture_u8: Tensor, size: int) -> Tensor:
    r"""The middle square of a picture (3, H, W), uint8, its shorter side brought to `size`: (3, size, size).

    >>> centred(torch.zeros(3, 20, 40, dtype=torch.uint8), 10).shape
    torch.Size([3, 10, 10])
    """
    return transforms.center_crop(transforms.resize(picture_u8, [size], antialias=True), [size, size])


def find_images(folder: str | Path) -> list[Path]:
    r"""List every image file below `folder` (by extension, hidden files left out), in sorted order.

    Linked folders are followed. A folder without any image is an error at once, not an endless wait later.

    Taught in notebook 01.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder{'; it is a file' if folder.exists() else '; it does not exist'}")
    walk = os.walk(folder, followlinks=True)
    files = [Path(parent, name) for parent, _, names in walk for name in names if not name.startswith(".")]
    images = sorted(file for file in files if file.suffix.lower() in EXTENSIONS)
    if not images:
        seen = ", ".join(sorted({file.suffix or "no extension" for file in files})) or "nothing"
        raise ValueError(f"no image below {folder}: found {seen}; wanted {', '.join(EXTENSIONS)}")
    return images
