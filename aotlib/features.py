r"""Frozen feature networks for the perceptual and style losses, and where their weights come from.

`load_features` takes one of

- ``vgg19``: torchvision's ImageNet VGG19, from ``AOTLIB_WEIGHTS`` (a file or a folder), torch's cache, or a download;
- ``vgg19_conv3``: ImageNet VGG19 up to conv3_4, rescaled to a mean activation of about 1, from ``AOTLIB_WEIGHTS``;
- ``random``: the layers of ``vgg19_conv3`` with seeded random weights: textures without knowledge of the world. Its
  width can be reduced, which a CPU is grateful for;
- ``auto``: the first of these that can be had.

Taught in notebook 04.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torchvision.models import VGG19_Weights

from aotlib.choices import check_choice
from aotlib.hardware import full_precision
from aotlib.weights_files import WEIGHTS_VARIABLE, Unavailable, at_hand, downloaded, loaded, name_of, weights_file

CHOICES = ("auto", "vgg19", "vgg19_conv3", "random")
FULL_URL = VGG19_Weights.IMAGENET1K_V1.url
FULL_FILE = name_of(FULL_URL)
CONV3_FILE = "vgg19_caffe_conv1_1-conv3_4_norm1.pth"
# position of each ReLU in torchvision's vgg19().features
TAPS = {"relu1_1": 1, "relu2_1": 6, "relu2_2": 8, "relu3_1": 11, "relu3_4": 17}
TAPS |= {"relu4_1": 20, "relu4_4": 26, "relu5_1": 29, "relu5_2": 31}
DEEPEST = {"relu5_4": 35}  # no tap: where the released code stops, which the benchmark compares with
PERCEPTUAL_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_TAPS = ("relu2_2", "relu3_4", "relu4_4", "relu5_2")


class FeatureNet(nn.Module):
    r"""Activations of a frozen VGG19 at named taps.

    Attributes:
        name: which weights these are; it belongs into every record and caption that depends on them.
        perceptual_taps, style_taps: those of the paper's taps that this network reaches.

    Taught in notebook 04.
    """

    def __init__(self, layers: nn.Sequential, name: str) -> None:
        super().__init__()
        self.layers, self.name = layers.eval().requires_grad_(False), name
        reached = {tap for tap, position in TAPS.items() if position < len(layers)}
        self.perceptual_taps = tuple(tap for tap in PERCEPTUAL_TAPS if tap in reached)
        self.style_taps = tuple(tap for tap in STYLE_TAPS if tap in reached)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, image: Tensor, taps: Iterable[str] | None = None) -> dict[str, Tensor]:
        r"""Activations at `taps` (all by default) of an image (B, 3, H, W) in [-1, 1]; stops at the deepest."""
        wanted = {TAPS[tap]: tap for tap in (taps or self.perceptual_taps + self.style_taps)}
        x = ((image + 1) / 2 - self.mean) / self.std
        found = {}
        for position, layer in enumerate(self.layers[: max(wanted) + 1]):
            x = layer(x)
            if position in wanted:
                found[wanted[position]] = x
        return found


def load_features(name: str = "auto", *, seed: int = 0, width: int = 64) -> FeatureNet:
    r"""The feature network called `name`; ``auto`` takes the best that is there.

    Args:
        name: one of `CHOICES`.
        seed: of the ``random`` network's weights.
        width: channels of the ``random`` network's first layer; VGG19 has 64. The others are as they were trained.

    Raises:
        ValueError: for an unknown name, or a file that does not hold the weights asked for.
        FileNotFoundError: when `AOTLIB_WEIGHTS` leads nowhere.
        Unavailable: when the file that is asked for is not at hand and cannot be downloaded, or is damaged.

    Taught in notebook 04.
    """
    kind = chosen(name)
    if kind == "random":
        return random_features(seed, width)
    try:
        return vgg19_features() if kind == "vgg19" else conv3_features()
    except Unavailable as error:
        raise Unavailable(f"{error}; features='random' needs no file") from error


def chosen(name: str) -> str:
    r"""The kind of network that `load_features` takes for `name`: what ``auto`` comes to here."""
    if check_choice("features", name, CHOICES) != "auto":
        return name
    if at_hand(FULL_FILE):
        return "vgg19"
    return "vgg19_conv3" if weights_file(CONV3_FILE) else "random"


def vgg19_features() -> FeatureNet:
    state = loaded(at_hand(FULL_FILE) or downloaded(FULL_URL))
    return FeatureNet(with_weights(vgg_layers("relu5_2"), state), "vgg19")


def conv3_features() -> FeatureNet:
    file = weights_file(CONV3_FILE)
    if file is None:
        raise Unavailable(f"{CONV3_FILE} is not here; set {WEIGHTS_VARIABLE} to it or to its folder")
    state = torch.load(file, map_location="cpu", weights_only=True)
    return FeatureNet(with_weights(vgg_layers("relu3_4"), state), "vgg19_conv3")


def random_features(seed: int, width: int) -> FeatureNet:
    r"""VGG19 up to relu3_4 with He-normal weights from `seed`: layers keep the size of their activations."""
    return FeatureNet(seeded_layers("relu3_4", width, seed), "random" if width == 64 else f"random, {width} wide")


def seeded_layers(last: str, width: int = 64, seed: int = 0) -> nn.Sequential:
    r"""VGG19's layers up to `last`, frozen, with He-normal weights; a shorter one begins with the same weights."""
    layers, rng = vgg_layers(last, width), torch.Generator().manual_seed(seed)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=rng)
            nn.init.zeros_(layer.bias)
    return layers.eval().requires_grad_(False)


def vgg_layers(last: str, width: int = 64) -> nn.Sequential:
    r"""VGG19's convolutional part up to `last`, numbered as in torchvision; `width` is that of its first layer.

    >>> len(vgg_layers("relu3_4"))
    18
    """
    layers: list[nn.Module] = []
    n_in = 3
    for block, (times, depth) in enumerate([(1, 2), (2, 2), (4, 4), (8, 4), (8, 4)]):
        if block:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers += [nn.Conv2d(n_in, times * width, 3, padding=1), nn.ReLU()]  # not in place: every tap is kept
            n_in = times * width
    return nn.Sequential(*layers[: (TAPS | DEEPEST)[last] + 1])


def with_weights(layers: nn.Sequential, state: Mapping[str, Tensor]) -> nn.Sequential:
    r"""`layers` holding the tensors ``features.<n>.weight`` and ``.bias`` of `state`, which may hold more."""
    wanted = {key: f"features.{key}" for key in layers.state_dict()}
    missing = [name for name in wanted.values() if name not in state]
    if missing:
        raise ValueError(f"the weights file lacks {len(missing)} tensors of VGG19, for instance {missing[0]}")
    layers.load_state_dict({key: state[name] for key, name in wanted.items()})
    return layers


def gram(feature: Tensor) -> Tensor:
    r"""Gram matrix :math:`\phi^\top\phi / (C H W)` per sample, (B, C, C), in float32 (half precision overflows).

    >>> gram(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]))
    tensor([[[1.2500, 2.7500],
             [2.7500, 6.2500]]])

    Taught in notebook 04.
    """
    batch, channels, height, width = feature.shape
    with full_precision(feature):  # autocast would multiply in half precision again
        flat = feature.float().reshape(batch, channels, height * width)
        return torch.bmm(flat, flat.transpose(1, 2)) / (channels * height * width)
