r"""Files of networks that others trained: where they are found, how they are downloaded, and whether they are whole.

The networks of losses and metrics need them: `aotlib.features`, `aotlib.inception`, `aotlib.lpips`.

Taught in notebook 06.
"""

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

WEIGHTS_VARIABLE = "AOTLIB_WEIGHTS"


class Unavailable(RuntimeError):
    r"""Weights that a number needs are not here; the text, one line that a table can print, says what to do.

    Taught in notebook 06.
    """


def name_of(url: str) -> str:
    r"""The name of the file at `url`.

    >>> name_of("https://a.org/weights/vgg19-dcbb9e9d.pth")
    'vgg19-dcbb9e9d.pth'
    """
    return url.rsplit("/", 1)[1]


def cached_file(file_name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / file_name


def weights_file(file_name: str) -> Path | None:
    r"""`file_name` where the environment variable ``AOTLIB_WEIGHTS`` (that file, or a folder of such) has it."""
    given = os.environ.get(WEIGHTS_VARIABLE)
    if not given:
        return None
    path = Path(given).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{WEIGHTS_VARIABLE} is set to {given}, which does not exist; correct or unset it")
    file = path / file_name if path.is_dir() else path
    return file if file.name == file_name and file.is_file() else None


def at_hand(name: str) -> Path | None:
    r"""The weights file `name` in ``AOTLIB_WEIGHTS``, else in torch's cache of downloads, else None."""
    found = weights_file(name)
    return found or (cached_file(name) if cached_file(name).is_file() else None)


def loaded(file: Path) -> dict[str, Tensor]:
    r"""The tensors in `file`, once its SHA-256 is found to begin as its name says, ``<name>-<8 digits>.pth``."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if not digest.startswith(file.stem.rsplit("-", 1)[1]):
        raise Unavailable(
            f"{file} is damaged or another file: its SHA-256 is {digest[:8]}...; delete it and get it anew"
        )
    return torch.load(file, map_location="cpu", weights_only=True)


def downloaded(url: str) -> Path:
    r"""The file at `url` in torch's cache of downloads."""
    name = name_of(url)
    try:
        cached_file(name).parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(cached_file(name)), hash_prefix=name[:-4].rsplit("-", 1)[1], progress=False
        )
    except (OSError, RuntimeError) as error:  # no connection, or a file with another SHA-256
        again = f"set {WEIGHTS_VARIABLE} to {name} or its folder, or try again"
        raise Unavailable(f"{name} could not be downloaded ({error}); {again}") from error
    return cached_file(name)


def advice(name: str) -> str:
    r"""What to do where the weights file `name` is missing."""
    return f"set {WEIGHTS_VARIABLE} to {name} or its folder, or let it be downloaded (download=True, or --download)"
