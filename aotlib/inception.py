r"""pytorch-fid's Inception network, whose features the distances between sets of pictures are computed from.

Its weights are one file, `FULL_FILE`; `PARTIAL_FILE` holds its layers up to Mixed_7a in half precision, enough for
768 features and fewer. A distance is named after their number, as in FID-768, and comparable with no other.

Taught in notebook 06.
"""

import hashlib
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from pytorch_fid import inception
from torch import Tensor
from torchvision.models import inception_v3

from aotlib.weights_files import Unavailable, advice, at_hand, downloaded, loaded, name_of, weights_file

FULL_URL = inception.FID_WEIGHTS_URL
FULL_FILE = name_of(FULL_URL)
PARTIAL_FILE = "fid_inception_2015-12-05_upto_Mixed_7a_fp16.pth"  # layers up to Mixed_7a: enough for 768 dimensions
LATER_LAYERS = ("Mixed_7b.", "Mixed_7c.", "fc.")  # that it lacks
BLOCKS = inception.InceptionV3.BLOCK_INDEX_BY_DIM  # features by layer: 64, 192, 768, 2048


def load_inception(dims: int, download: bool = False) -> torch.nn.Module:
    r"""pytorch-fid's Inception network up to the layer with `dims` features: 64, 192, 768 or 2048.

    Its weights come from ``AOTLIB_WEIGHTS`` (`FULL_FILE`, or but for 2048 `PARTIAL_FILE`; a file or a folder of such)
    or from torch's cache of downloads.

    Args:
        download: put `FULL_FILE`, 91 MB, into torch's cache when there is none.

    Raises:
        Unavailable: when the weights are not there, cannot be downloaded, or are damaged.
        ValueError: for other `dims`, and for a partial file that lacks more than the later layers.

    Taught in notebook 06.
    """
    if dims not in BLOCKS:
        raise ValueError(f"pytorch-fid's network has features of {', '.join(map(str, BLOCKS))} dimensions, not {dims}")
    full, partial = full_file(), weights_file(PARTIAL_FILE)
    if full is None and download and (partial is None or dims > 768):
        full = downloaded(FULL_URL)
    if full is not None:
        state = loaded(full)
    elif partial is not None and dims <= 768:
        state = _completed(partial)
    else:
        raise Unavailable(f"{_lacking(partial)}; {advice(FULL_FILE)}")
    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        return inception.InceptionV3([BLOCKS[dims]]).eval()


def most_dims() -> int:
    r"""2048 where the whole network's weights are at hand, else 768 where the partial file is.

    Raises:
        Unavailable: where neither is.

    Taught in notebook 06.
    """
    if full_file() is not None:
        return 2048
    if weights_file(PARTIAL_FILE) is None:
        raise Unavailable(f"{_lacking(None)}; {advice(FULL_FILE)}")
    return 768


def network_id(network: torch.nn.Module, dims: int) -> str:
    r"""SHA-256 of all that a picture's features depend on: the network's tensors, how it resizes, and `dims`.

    The same on every machine; the rounding of a processor or of a batch is not part of it.

    >>> one, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    >>> network_id(one, 1) == network_id(one, 1), network_id(one, 1) == network_id(other, 1)
    (True, False)

    Taught in notebook 06.
    """
    rule = {name: getattr(network, name, None) for name in ("resize_input", "normalize_input", "output_blocks")}
    total = hashlib.sha256(f"{type(network).__name__} {dims} {rule} bilinear 299, align_corners=False".encode())
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith("num_batches_tracked"):  # counts training steps: not every file has it, and nothing reads it
            continue
        tensor = tensor.detach().cpu().contiguous()
        total.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


@torch.inference_mode()
def inception_features(network: torch.nn.Module, pictures_u8: Tensor) -> np.ndarray:
    r"""Features (N, dims), float64, of pictures (N, 3, H, W), uint8, resized to 299 px by the network itself.

    Taught in notebook 06.
    """
    device = next(network.parameters()).device
    maps = network(pictures_u8.to(device).float() / 255)[0]
    return maps.mean((2, 3)).double().cpu().numpy()


def full_file() -> Path | None:
    r"""The whole network's weights, from ``AOTLIB_WEIGHTS`` or torch's cache of downloads."""
    return at_hand(FULL_FILE)


def _lacking(partial: Path | None) -> str:
    if partial is None:
        return f"neither {FULL_FILE} nor {PARTIAL_FILE} is here"
    return f"{FULL_FILE} is not here, and {PARTIAL_FILE} ends at 768 dimensions"


def _completed(file: Path) -> dict[str, Tensor]:
    r"""The tensors of `file`, with zeros for the layers that it lacks, which are not run."""
    with torch.device("meta"):  # names and shapes only
        whole = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False).state_dict()
    found = {key: value.float() for key, value in torch.load(file, map_location="cpu", weights_only=True).items()}
    lost = [key for key in whole.keys() - found.keys() if not key.startswith(LATER_LAYERS)]
    lost = [key for key in lost if not key.endswith("num_batches_tracked")]
    if wrong := sorted(lost) + sorted(found.keys() - whole.keys()):
        raise ValueError(f"{file.name} does not hold pytorch-fid's network: {wrong[0]} is missing or unknown")
    return {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in whole.items()} | found
