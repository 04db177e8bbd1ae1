r"""Context Encoder: squeeze the picture through one vector, and let a decoder paint from it. No skips, no mask input.

Source: Pathak et al., "Context Encoders: Feature Learning by Inpainting" (CVPR 2016), with the layers of the released
code, which has two variants. ``region="centre"`` predicts the centre square of half the side and blanks a little less,
so that a band of known pixels is predicted as well; ``region="random"`` predicts the whole picture and takes any hole.
Taught in notebook 07.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from aotlib.choices import check_choice
from aotlib.features import FeatureNet
from aotlib.model import FULL_WIDTH

REGIONS = ("random", "centre")
BOTTLENECK = 4000  # channels of the vector at the paper's width
BAND_WEIGHT = 10.0  # of the squared error where the answer is known
FILL = tuple(2 * level / 255 - 1 for level in (117, 104, 123))  # as released: an ImageNet mean with channels permuted
STAGES = ("",)
WEIGHTS = {"reconstruction": 0.999, "adversarial": 0.001}  # lambda and 1 - lambda, of paper and released code
CRITIC_WEIGHTS = {"real": 1.0, "fake": 1.0}
SETTINGS = {"lr": 2e-3, "beta1": 0.5, "beta2": 0.999, "batch": 64, "size": 128, "critic_steps": 1}
SETTINGS["lr_critic"] = 0.1  # of lr: the released code's generator learns ten times as fast whenever 0 < lambda < 1
ABOUT = {
    "label": "Context Encoder",
    "title": "Context Encoders: Feature Learning by Inpainting",
    "authors": "Pathak, Krähenbühl, Donahue, Darrell, Efros",
    "venue": "CVPR",
    "year": 2016,
    "paper": "https://arxiv.org/abs/1604.07379",
    "code": "https://github.com/pathak22/context-encoder",
    "licence": "UC Berkeley, for research and other non-profit use only",
    "weights": "The authors link Lua Torch files for the centre square and none for free-form holes; with "
    "region='centre' every tensor has one of the same shape here, but PyTorch no longer reads such files.",
}


class Outputs(NamedTuple):
    r"""What `ContextEncoder` gives: the picture, and what its losses compare."""

    prediction: Tensor  # (B, 3, H, W) in [-1, 1]; outside a predicted centre square what the network saw
    patch: Tensor  # (B, 3, h, w), what the decoder painted: the centre square, or the whole picture
    weight: Tensor  # (1, 1, h, w), of the squared error of each pixel of `patch`
    box: tuple[slice, slice]  # rows and columns of `patch` in the picture
    seen: Tensor  # (B, 3, size, size), the network's input, its hole filled with `FILL`
    code: Tensor  # (B, n, 1, 1), the vector; (B, n, k, k) from the channel-wise layer


class ContextEncoder(nn.Module):
    r"""Encoder to one vector, decoder from it.

    Batch normalisation everywhere: train with at least two pictures at once, predict in ``eval()`` mode.

    Args:
        width: channels of the first layer.
        size: side of the square picture that the layers are made for; see `ladder`. The random variant resizes others
            to it and the prediction back, which distorts what is not square and blurs what is larger.
        bottleneck: channels of the vector; by default 4000 at width 64, and less by the *square* of the width (250 at
            16), because the two layers beside it would hold nearly all weights of a narrow network.
        region: ``"random"`` or ``"centre"``.
        overlap: band in pixels, where the centre variant predicts what it saw; the paper has 7, the released code 4.
        channelwise: replace the vector by the paper's channel-wise fully connected layer.
        seed: of the initial weights.

    >>> with torch.device("meta"):
    ...     [sum(p.numel() for p in ContextEncoder(region=region).parameters()) for region in ("centre", "random")]
    [71130531, 71196259]

    Taught in notebook 07.
    """

    multiple = 1

    def __init__(
        self,
        width: int = FULL_WIDTH,
        size: int = 128,
        bottleneck: int | None = None,
        region: str = "random",
        overlap: int = 4,
        channelwise: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_choice("region", region, REGIONS)
        self.options = {"width": width, "size": size, "bottleneck": bottleneck, "region": region}
        self.options |= {"overlap": overlap, "channelwise": channelwise}
        self.smallest = size if region == "centre" else 16
        down, n_code = ladder(size, width), bottleneck or max(1, BOTTLENECK * width**2 // FULL_WIDTH**2)
        centre_mask(size, overlap)  # refuses an overlap that leaves no hole
        self.encoder = halvings(down)
        self.squeeze, self.decoder = middle(down[-1], n_code, size >> len(down), channelwise)
        up = down[::-1] if region == "random" else down[:0:-1]  # half the side: one doubling fewer
        for n_in, n_out in zip(up[:-1], up[1:], strict=True):
            self.decoder.extend(normed(nn.ConvTranspose2d(n_in, n_out, 4, 2, 1), nn.ReLU()))
        self.decoder.append(nn.ConvTranspose2d(up[-1], 3, 4, 2, 1))
        draw_weights(self, width, seed)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1]; see `outputs`."""
        return self.outputs(image, mask).prediction

    def outputs(self, image: Tensor, mask: Tensor) -> Outputs:
        r"""Prediction and what the losses compare, from image (B, 3, H, W) in [-1, 1] and mask (B, 1, H, W), 1 = hole.

        The centre variant takes pictures of `size` and holes inside `centre_mask`; as it was trained to, it blanks all
        of that square whatever the mask. What lies under the hole is never read.
        """
        if image.ndim != 4 or image.shape[1] != 3 or mask.shape != (image.shape[0], 1, *image.shape[2:]):
            raise ValueError(f"expected image (B, 3, H, W), mask (B, 1, H, W), got {[*image.shape]}, {[*mask.shape]}")
        if self.training and image.shape[0] == 1 and not self.options["channelwise"]:
            raise ValueError("batch normalisation of one vector: train on two pictures or more, predict in .eval()")
        return self.centre(image, mask) if self.options["region"] == "centre" else self.anywhere(image, mask)

    def centre(self, image: Tensor, mask: Tensor) -> Outputs:
        size, overlap = self.options["size"], self.options["overlap"]
        inner = centre_mask(size, overlap).to(image)
        if image.shape[-2:] != inner.shape[-2:] or (mask > inner).any():
            raise ValueError(
                f"region='centre' fills the centre {size // 2 - 2 * overlap} px of pictures of {size} x {size}, got "
                f"{image.shape[-2]} x {image.shape[-1]} or a hole outside them; use region='random' for other holes"
            )
        seen = fill(image, inner.expand_as(mask))
        code, patch = self.paint(seen)
        box, prediction = centre_box(size), seen.to(patch.dtype).clone()
        prediction[..., *box] = patch
        return Outputs(prediction, patch, band_weights(size, overlap).to(patch), box, seen, code)

    def anywhere(self, image: Tensor, mask: Tensor) -> Outputs:
        seen = fill(*to_side(image, mask, self.options["size"]))
        code, prediction = self.paint(seen)
        prediction = resized(prediction, image.shape[-2:]).clamp(-1, 1)  # the weights sum to 1 only up to rounding
        return Outputs(prediction, prediction, torch.ones_like(mask[:1]), (slice(None), slice(None)), seen, code)

    def paint(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        code = self.squeeze(self.encoder(seen))
        return code, torch.tanh(self.decoder(code).float())


class Critic(nn.Module):
    r"""One score a picture: is this square, or picture, a real one?

    `size` and `region` are the generator's. It judges `size` pixels a side, or half as many for the
    centre square; what has another size is resized.

    Taught in notebook 07.
    """

    def __init__(self, width: int = FULL_WIDTH, size: int = 128, region: str = "random", seed: int = 0) -> None:
        super().__init__()
        self.options = {"width": width, "size": size, "region": check_choice("region", region, REGIONS)}
        halved = region == "centre"  # the critic's picture, and with it the first of its layers
        self.side, channels = size >> halved, ladder(size, width)[halved:]
        self.layers = halvings(channels).append(nn.Conv2d(channels[-1], 1, self.side >> len(channels)))
        draw_weights(self, width, seed)

    def forward(self, image: Tensor) -> Tensor:
        r"""Scores (B, 1), unbounded: their sigmoid is the chance that `image` (B, 3, h, w) in [-1, 1] is real."""
        return self.layers(resized(image, (self.side, self.side))).flatten(1)


def generator_loss(
    outputs: Outputs, critic: nn.Module, image: Tensor, mask: Tensor, features: FeatureNet | None, stage: str = ""
) -> dict[str, Tensor]:
    r"""Weighted squared error of what was painted, and the critic's opinion of it.

    .. math:: L_{rec} = \mathrm{mean}\,W \odot (x - \hat x)^2, \qquad L_{adv} = -\mathrm{mean}\,\log D(\hat x)

    :math:`\hat x` is the painted square or picture as it is, known pixels included, and :math:`W` `Outputs.weight`.
    The critic is asked anew; the released code re-uses its scores from before its update. `features` are not used.

    Taught in notebook 07.
    """
    check_choice("stage", stage, STAGES)
    error = (outputs.patch.float() - image[..., *outputs.box]).square()
    score = critic(outputs.patch).float()
    return {"reconstruction": (outputs.weight * error).mean(), "adversarial": F.softplus(-score).mean()}


def critic_loss(
    critic: nn.Module, outputs: Outputs, image: Tensor, mask: Tensor, stage: str = "", *, rng: Generator | None = None
) -> dict[str, Tensor]:
    r"""Cross-entropy of the critic, :math:`-\log D(x)` and :math:`-\log(1 - D(\hat x))`, each batch normalised apart.

    Taught in notebook 07.
    """
    check_choice("stage", stage, STAGES)
    real, fake = critic(image[..., *outputs.box]).float(), critic(outputs.patch.detach()).float()
    return {"real": F.softplus(-real).mean(), "fake": F.softplus(fake).mean()}


def options_at(size: int) -> dict[str, int]:
    r"""The layers' side for pictures of `size`: the next below that they can have, and 128 at most, as released."""
    return {"size": 128 if size >= 128 else max(size // 16, 4) * 16}


def ladder(size: int, width: int = 1) -> list[int]:
    r"""Channels after each halving of a picture of `size`, until fewer than 8 pixels a side are left.

    >>> ladder(64), ladder(128)
    ([1, 2, 4, 8], [1, 1, 2, 4, 8])
    """
    depth = int(math.log2(max(size, 1))) - 2
    if depth < 4 or size % 2**depth:
        raise ValueError(f"size must be 64, 80, 96, 112, 128 or another such multiple of a power of two, got {size}")
    return [width] * (depth - 3) + [2 * width, 4 * width, 8 * width]


def halvings(channels: list[int]) -> nn.Sequential:
    r"""A strided convolution for each of `channels`, batch normalisation after all but the first."""
    layers = nn.Sequential(nn.Conv2d(3, channels[0], 4, 2, 1), nn.LeakyReLU(0.2))
    for n_in, n_out in zip(channels[:-1], channels[1:], strict=True):
        layers.extend(normed(nn.Conv2d(n_in, n_out, 4, 2, 1), nn.LeakyReLU(0.2)))
    return layers


def centre_box(size: int) -> tuple[slice, slice]:
    r"""Rows and columns of the square that the centre variant predicts.

    Taught in notebook 07.
    """
    return (slice(size // 4, size // 4 + size // 2),) * 2


def centre_mask(size: int, overlap: int = 4) -> Tensor:
    r"""The one hole of the centre variant, (1, 1, size, size): the predicted square without `overlap` px on each side.

    Taught in notebook 07.
    """
    if not 0 <= overlap < size // 4:
        raise ValueError(f"overlap must leave a hole of the {size // 2} px: 0 to {size // 4 - 1}, got {overlap}")
    side = size // 2 - 2 * overlap
    return F.pad(torch.ones(1, 1, side, side), (size // 4 + overlap,) * 4)


def band_weights(size: int, overlap: int = 4) -> Tensor:
    r"""Weights of the squared error over the predicted square, (1, 1, size / 2, size / 2): 1, and 10 in the band.

    >>> band_weights(128).sum().item() == 56**2 + 10 * (64**2 - 56**2)
    True

    Taught in notebook 07.
    """
    return 1 + (BAND_WEIGHT - 1) * (1 - centre_mask(size, overlap)[..., *centre_box(size)])


def fill(image: Tensor, hole: Tensor) -> Tensor:
    r"""`image` with the hole painted in `FILL`; never a product, so that nothing under it can get through."""
    return torch.where(hole > 0.5, image.new_tensor(FILL).view(1, 3, 1, 1), image)


def to_side(image: Tensor, mask: Tensor, side: int) -> tuple[Tensor, Tensor]:
    r"""Image and mask at `side` x `side`: means over known pixels only; a hole where less than half was known."""
    if image.shape[-2:] == (side, side):
        return image, mask
    share = resized(1 - mask, (side, side))
    image = resized(torch.where(mask > 0.5, 0.0, image), (side, side)) / share.clamp(min=1e-3)
    return image.clamp(-1, 1), (share < 0.5).to(mask)


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return image if image.shape[-2:] == size else F.interpolate(image, size, mode="bilinear", antialias=True)


def normed(conv: nn.Module, activation: nn.Module) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels), activation]


def middle(channels: int, n_code: int, side: int, channelwise: bool) -> tuple[nn.Sequential, nn.Sequential]:
    r"""From a map of `side` x `side` to a vector, and the first layer back; or the paper's channel-wise layer.

    There, every position of a channel comes from all positions of that channel, :math:`m n^4` weights for m maps of
    n x n and not :math:`m^2 n^4`, and a 1 x 1 convolution mixes the channels; `n_code` has no part in it.
    """
    if channelwise:
        within = nn.Conv2d(channels, channels * side**2, side, groups=channels)  # n^2 sums over a channel's n^2 values
        across = normed(nn.Conv2d(channels, channels, 1), nn.ReLU())
        return nn.Sequential(within, nn.PixelShuffle(side), *across), nn.Sequential()
    squeeze = normed(nn.Conv2d(channels, n_code, side), nn.LeakyReLU(0.2))
    return nn.Sequential(*squeeze), nn.Sequential(*normed(nn.ConvTranspose2d(n_code, channels, side), nn.ReLU()))


def draw_weights(network: nn.Module, width: int, seed: int) -> None:
    r"""Convolutions from N(0, 0.02), widened as in `aotlib.model.initialise`, batch normalisation from N(1, 0.02).

    Biases of convolutions are 0 and stay there: the released code sets them to 0 before every update.
    """
    rng, std = Generator().manual_seed(seed), 0.02 * math.sqrt(FULL_WIDTH / width)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, std, generator=rng)
            nn.init.zeros_(module.bias).register_hook(torch.zeros_like)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.02, generator=rng)
