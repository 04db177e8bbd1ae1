r"""LPIPS, the learned perceptual distance of Zhang and others (2018), version 0.1, through torchmetrics' network.

The distance of two pictures is that of a network's activations, weighted by what people said about pairs of pictures.
The networks are three, AlexNet, VGG-16 and SqueezeNet, and their numbers are never put in one column.

Taught in notebook 06.
"""

import importlib
from collections.abc import Callable
from unittest import mock

import torch
import torchmetrics
from torch import Tensor, nn
from torchvision import models

from aotlib.choices import check_choice
from aotlib.weights_files import Unavailable, advice, at_hand, downloaded, loaded, name_of

BACKBONES = {  # what LPIPS calls a network: (what torchvision calls it, where its weights are)
    "alex": ("alexnet", models.AlexNet_Weights.IMAGENET1K_V1.url),
    "vgg": ("vgg16", models.VGG16_Weights.IMAGENET1K_V1.url),
    "squeeze": ("squeezenet1_1", models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url),
}
MODULE = "torchmetrics.functional.image.lpips"  # its network, and how it gets the weights, have private names alone
NETWORK, BACKBONE = "_NoTrainLpips", "_get_tv_model_features"
SMALLEST = 32  # pixels: below, the networks' last activations have no size

Metric = Callable[[Tensor, Tensor], Tensor]


def load_lpips(net: str = "alex", download: bool = False, *, device: str | torch.device = "cpu") -> Metric:
    r"""The distance as a function ``(result_u8, truth_u8) -> (B,)``, float64: 0 for equal pictures, then rising.

    .. math:: \sum_l \frac{1}{H_l W_l} \sum_{h, w} w_l^\top (\hat\phi_l(r)_{hw} - \hat\phi_l(t)_{hw})^2

    with the activations :math:`\hat\phi_l` scaled to length 1 at each place. The pictures are uint8, (B, 3, H, W),
    32 px or more. The weights :math:`w_l` come with torchmetrics; the network's own are torchvision's, from
    ``AOTLIB_WEIGHTS`` or torch's cache of downloads, and are never random.

    Args:
        net: ``alex``, the usual one; ``vgg`` or ``squeeze``.
        download: put the network's weights (alex 233 MB, vgg 528 MB, squeeze 5 MB) into torch's cache.

    Raises:
        Unavailable: when the network's weights are not there, cannot be downloaded, or are damaged, and when this
            version of torchmetrics makes its network in another way than the ones that are known.
        ValueError: for another `net`.

    Taught in notebook 06.
    """
    name, url = BACKBONES[check_choice("net", net, BACKBONES)]
    file_name = name_of(url)
    file = at_hand(file_name)
    if file is None and not download:
        raise Unavailable(f"{file_name} is not here; {advice(file_name)}")
    network = _network(net, _backbone(name, loaded(file or downloaded(url)))).to(device)

    @torch.inference_mode()
    def distance(result_u8: Tensor, truth_u8: Tensor) -> Tensor:
        _check(result_u8, truth_u8)
        pair = (picture.to(device).float() / 127.5 - 1 for picture in (result_u8, truth_u8))
        return network(*pair).flatten().double().cpu()

    return distance


def _network(net: str, backbone: nn.Sequential) -> nn.Module:
    """torchmetrics' network on `backbone`, which it would otherwise load by itself."""
    try:
        module = importlib.import_module(MODULE)
    except ImportError:
        module = None
    if missing := [name for name in (NETWORK, BACKBONE) if not hasattr(module, name)]:
        raise Unavailable(_other_version(f"{MODULE} has no {missing[0]}"))
    with mock.patch.object(module, BACKBONE, return_value=backbone) as asked:
        try:
            network = getattr(module, NETWORK)(net=net)
        except TypeError as error:
            raise Unavailable(_other_version(str(error))) from error
    if not asked.called:  # then the weights are others than `backbone`'s
        raise Unavailable(_other_version(f"it does not ask {BACKBONE} for the weights"))
    return network


def _other_version(fault: str) -> str:
    told = f"torchmetrics {torchmetrics.__version__} makes LPIPS in another way than 1.8 and 1.9 ({fault})"
    return f"{told}; install the version that requirements.lock names"


def _backbone(name: str, state: dict[str, Tensor]) -> nn.Sequential:
    with torch.device("meta"):  # no numbers yet: those of `state` are the only ones there can be
        model = getattr(models, name)(weights=None)
    model.load_state_dict(state, assign=True)
    return model.features


def _check(result_u8: Tensor, truth_u8: Tensor) -> None:
    for name, picture in (("result_u8", result_u8), ("truth_u8", truth_u8)):
        if picture.dtype != torch.uint8:
            raise TypeError(f"{name} is {picture.dtype}: pass uint8; use aotlib.images.to_uint8")
        if picture.ndim != 4 or picture.shape[1] != 3:
            raise ValueError(f"{name} is {tuple(picture.shape)}, not (B, 3, H, W); one image is image[None]")
    if result_u8.shape != truth_u8.shape:
        raise ValueError(f"result_u8 is {tuple(result_u8.shape)} but truth_u8 is {tuple(truth_u8.shape)}")
    if min(result_u8.shape[2:]) < SMALLEST:
        raise ValueError(f"images of {tuple(result_u8.shape[2:])} px are too small for LPIPS: {SMALLEST} px at least")
