r"""Fréchet Inception distance, with pytorch-fid's own network and weights.

The distance compares the mean and covariance of Inception features of two sets of pictures; it depends strongly on the
number of pictures and on the layer, and is comparable only between equal ones: every value is printed with both.
"""

from pathlib import Path
from unittest import mock

import numpy as np
import torch
from pytorch_fid import inception
from torch import Tensor
from torchvision.models import inception_v3

from aotlib.features import weights_file

PARTIAL_FILE = "fid_inception_2015-12-05_upto_Mixed_7a_fp16.pth"  # layers up to Mixed_7a: enough for 768 dimensions
LATER_LAYERS = ("Mixed_7b.", "Mixed_7c.", "fc.")  # that it lacks


def load_inception(dims: int = 768) -> torch.nn.Module:
    r"""pytorch-fid's Inception network up to the layer with `dims` features: 64, 192, 768 or 2048.

    Its weights come from ``AOTLIB_WEIGHTS`` (the file `PARTIAL_FILE`, not for 2048), else from pytorch-fid's download.

    Raises:
        ValueError: for other `dims`, and for a weights file that lacks more than the later layers.
    """
    blocks = inception.InceptionV3.BLOCK_INDEX_BY_DIM
    if dims not in blocks:
        raise ValueError(f"pytorch-fid's network has features of {', '.join(map(str, blocks))} dimensions, not {dims}")
    file = weights_file(PARTIAL_FILE) if dims < 2048 else None
    if file is None:
        return inception.InceptionV3([blocks[dims]]).eval()
    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: _completed(file)):
        return inception.InceptionV3([blocks[dims]]).eval()


def _completed(file: Path) -> dict[str, Tensor]:
    r"""The tensors of `file`, with torchvision's unset ones for the layers that it lacks, which are not run."""
    whole = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False).state_dict()
    found = {key: value.float() for key, value in torch.load(file, map_location="cpu", weights_only=True).items()}
    lost = [key for key in whole.keys() - found.keys() if not key.startswith(LATER_LAYERS)]
    lost = [key for key in lost if not key.endswith("num_batches_tracked")]
    if wrong := sorted(lost) + sorted(found.keys() - whole.keys()):
        raise ValueError(f"{file.name} does not hold pytorch-fid's network: {wrong[0]} is missing or unknown")
    return whole | found


@torch.inference_mode()
def inception_features(network: torch.nn.Module, pictures_u8: Tensor) -> np.ndarray:
    r"""Features (N, dims), float64, of pictures (N, 3, H, W), uint8, resized to 299 px by the network itself."""
    device = next(network.parameters()).device
    maps = network(pictures_u8.to(device).float() / 255)[0]
    return maps.mean((2, 3)).double().cpu().numpy()


def frechet_distance(one: np.ndarray, two: np.ndarray) -> float:
    r"""Distance of the normal distributions fitted to two sets of features, (N, D) and (M, D).

    .. math:: \|\mu_1 - \mu_2\|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2) - 2 \sum_i \sqrt{\lambda_i}

    with the eigenvalues :math:`\lambda_i` of :math:`\Sigma_1 \Sigma_2`, which are those of the symmetric
    :math:`\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2}`: real, and never negative but for rounding.

    >>> sample = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(frechet_distance(sample, sample + [3, 0, 4]), 9)
    25.0
    """
    if min(len(one), len(two)) < 2:
        raise ValueError(f"a covariance needs at least two pictures, got {len(one)} and {len(two)}")
    means = one.mean(0) - two.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return float(means @ means + np.trace(first) + np.trace(second) - 2 * shared)
