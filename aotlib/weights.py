r"""Weights on disk: safetensors files that say how their network is built. Taught in notebook 06."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aotlib.files import replacing
from aotlib.methods import METHODS


def save_weights(tensors: dict[str, Tensor], path: str | Path, metadata: dict[str, str]) -> None:
    r"""Write `tensors` and their `metadata` as a safetensors file, atomically."""
    with replacing(path) as temporary:
        try:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary, metadata)
        except SafetensorError as error:
            raise OSError(f"{path} could not be saved: {error}; is the disk full?") from error
        temporary.chmod(0o644)  # safetensors leaves it to its owner alone


def load_generator(path: str | Path) -> nn.Module:
    r"""The generator in a safetensors file written by training, built with the options that stand in the file.

    It is AOT-GAN's where the file names no other method. Weights in half precision are used as float32.

    Taught in notebook 06.
    """
    card = read_card(path)
    generator = METHODS[card.get("method", "aot")].build(**json.loads(card["options"]))
    generator.load_state_dict(load_file(path))
    return generator.eval()


def load_discriminator(path: str | Path) -> nn.Module:
    r"""What judged in a run, from the file ``discriminator.safetensors`` beside its generator's.

    Taught in notebook 08.
    """
    card = read_card(path)
    discriminator = METHODS[card.get("method", "aot")].critic(json.loads(card["options"])["width"])
    discriminator.load_state_dict(load_file(path))
    return discriminator.eval()


def read_card(path: str | Path) -> dict[str, str]:
    r"""What a weights file says of itself: ``options`` of the network, ``step``, ``features`` of its losses, and the
    ``size`` of the crops that it learnt from, pixels, which files of earlier versions do not have.

    Taught in notebook 06.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; train first (notebook 05, or `aotlib train`)")
    try:
        with safe_open(path, "pt") as file:
            card = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no weights file ({error}); fetch or train it again") from error
    if "options" not in card:
        raise ValueError(f"{path} does not say how its network is built; expected a file written by aotlib's training")
    return card
