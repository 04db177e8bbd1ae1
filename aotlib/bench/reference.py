r"""The training step in the released code's way, written plainly: the lean step is measured against and checked by it.

Float32, VGG19 four times to relu5_4, the discriminator three times, a dense two-dimensional Gaussian, a padding for
every branch. It takes the weights of our networks, and nothing else of `aotlib.model`, `aotlib.blocks` and
`aotlib.losses`: Gram matrices, Gaussian, padding, gate and spectral norm are written anew, so that equal losses and
gradients mean that both are right. `lean` switches single measures on, to see what each brings.

Source: Zeng et al., arXiv 2104.01431, and the order of work in the released code. Taught in notebook 12.
"""

import dataclasses
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aotlib.config import TrainConfig
from aotlib.model import Discriminator, Generator

MEASURES = ("vgg", "discriminator")  # what `lean` may hold; layout and optimiser are those of `Plain`
VGG_RELU = {"1_1": 1, "2_1": 6, "2_2": 8, "3_1": 11, "3_4": 17, "4_1": 20, "4_4": 26, "5_1": 29, "5_2": 31, "5_4": 35}
PERCEPTUAL = ("1_1", "2_1", "3_1", "4_1", "5_1")
STYLE = ("2_2", "3_4", "4_4", "5_2")
SIGMA = 10.0  # of the Gaussian, pixels


@dataclasses.dataclass
class Plain:
    r"""Two networks, an Adam for each, and the layers of VGG19 to relu5_4, numbered as in torchvision."""

    generator: Generator
    discriminator: Discriminator
    optimiser_g: torch.optim.Optimizer
    optimiser_d: torch.optim.Optimizer
    vgg: nn.Sequential


def build(config: TrainConfig, vgg: nn.Sequential, device: torch.device, *, layout: bool = False, adam: bool = False):
    r"""Networks with the seed's initial weights, contiguous, and an Adam that updates one tensor after another.

    Args:
        layout: channels_last instead of contiguous.
        adam: one fused update of all tensors instead.
    """
    where = {"device": device, "memory_format": torch.channels_last if layout else torch.contiguous_format}
    shape = (config.width, config.n_blocks, config.rates, config.recipe, config.init)
    networks = (
        Generator(*shape, seed=config.seed).to(**where),
        Discriminator(config.width, config.seed + 1).to(**where),
    )
    options = {"lr": config.lr, "betas": (config.beta1, config.beta2), "foreach": False, "fused": adam}
    return Plain(*networks, *(torch.optim.Adam(n.parameters(), **options) for n in networks), vgg.to(**where))


def step(plain: Plain, batch: dict, config: TrainConfig, lean: Collection[str] = ()) -> dict[str, Tensor]:
    r"""One step of both networks; the value of each loss.

    The generator's loss leaves a gradient in the discriminator's weights, which costs time and is thrown away here (the
    released code adds it to the discriminator's own).

    Args:
        batch: ``image`` (B, 3, H, W) in [-1, 1] and ``mask`` (B, 1, H, W), 1 = hole.
        lean: of `MEASURES`: ``vgg`` runs VGG19 once for the photographs, without gradient, and once for the fakes, and
            stops at relu5_2; ``discriminator`` is frozen for the generator, and judges both kinds in one pass.

    Taught in notebook 12.
    """
    z, values = generator_losses(plain, batch, config, lean)
    plain.optimiser_g.zero_grad()
    values["total"].backward()
    plain.optimiser_g.step()
    loss = discriminator_loss(plain, batch, z, config, lean)
    plain.optimiser_d.zero_grad()
    loss.backward()
    plain.optimiser_d.step()
    return {name: value.detach() for name, value in values.items()} | {"dis": loss.detach()}


def generator_losses(
    plain: Plain, batch: dict, config: TrainConfig, lean: Collection[str] = (), *, iterate: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""The composite, without gradient, and the generator's losses, with it.

    Args:
        iterate: the spectral norm makes a power iteration, as in the released code; the lean step makes none here.
    """
    x, m = batch["image"], batch["mask"]
    prediction = predict(plain.generator, x, m)
    z = x * (1 - m) + prediction * m
    fake, real = features_four_times(plain.vgg, z if config.recipe == "paper" else prediction, x, "vgg" in lean)
    distances = torch.stack([(gram(fake[1][tap]) - gram(real[1][tap])).abs().mean() for tap in STYLE])
    frozen = "discriminator" in lean
    weights = normalised_weights(plain.discriminator, iterate and not frozen)
    judged = scores(plain.discriminator, z, [w.detach() for w in weights] if frozen else weights, frozen)
    values = {
        "rec": F.l1_loss(prediction, x),
        "per": sum(F.l1_loss(fake[0][tap], real[0][tap]) for tap in PERCEPTUAL),
        "sty": distances.sum() if config.recipe == "released" else distances.mean(),
        "adv": adversarial(judged, m, config.design),
    }
    values["total"] = sum(getattr(config, f"weight_{name}") * value for name, value in values.items())
    return z.detach(), values


def discriminator_loss(
    plain: Plain, batch: dict, z: Tensor, config: TrainConfig, lean: Collection[str] = (), *, iterations: int = 2
) -> Tensor:
    r"""The discriminator's loss on photographs and composites `z`, with gradient in its weights.

    Args:
        iterations: power iterations of the spectral norm: one before each pass, or with 1 only before the first.
    """
    x, network = batch["image"], plain.discriminator
    weights = normalised_weights(network, True)
    if "discriminator" in lean:
        real, fake = scores(network, torch.cat([x, z]), weights).chunk(2)
    else:
        real = scores(network, x, weights)
        fake = scores(network, z, normalised_weights(network, True) if iterations > 1 else weights)
    label_real, label_fake = labels(batch["mask"], config.design)
    if config.design == "released":
        real, fake = (enlarged(part, batch["mask"]) for part in (real, fake))
    return F.mse_loss(fake, label_fake) + F.mse_loss(real, label_real)


def predict(generator: Generator, image: Tensor, mask: Tensor) -> Tensor:
    r"""The generator's output, (B, 3, H, W) in [-1, 1], padding every branch of a block for itself."""
    x = image * (1 - mask) + (mask if generator.recipe == "released" else 0)
    x = F.pad(torch.cat([x, mask], 1), (3, 3, 3, 3), mode="reflect")
    for conv in generator.encoder:
        x = F.relu(F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding))
    for block in generator.blocks:
        parts = [
            F.relu(reflected(x, conv, rate))
            for conv, rate in zip(block.branches, generator.options["rates"], strict=True)
        ]
        feature = reflected(torch.cat(parts, 1), block.fuse)
        logits = reflected(x, block.gate)
        if generator.recipe == "released":
            mean, std = logits.mean((2, 3), keepdim=True), logits.std((2, 3), keepdim=True) + 1e-9
            new = torch.sigmoid(5 * (2 * (logits - mean) / std - 1))
            x = x * (1 - new) + feature * new
        else:
            old = torch.sigmoid(logits)
            x = x * old + feature * (1 - old)
    for conv in generator.decoder[:-1]:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        x = F.relu(F.conv2d(x, conv.weight, conv.bias, padding=1))
    return torch.tanh(F.conv2d(x, generator.decoder[-1].weight, generator.decoder[-1].bias, padding=1))


def reflected(x: Tensor, conv: nn.Conv2d, rate: int = 1) -> Tensor:
    r"""A 3x3 convolution of dilation `rate` that keeps the size: the border is reflected."""
    return F.conv2d(F.pad(x, (rate,) * 4, mode="reflect"), conv.weight, conv.bias, dilation=rate)


def features_four_times(vgg: nn.Sequential, fake: Tensor, real: Tensor, once: bool) -> tuple[tuple, tuple]:
    r"""Activations of the fakes and of the photographs, each for the perceptual and for the style loss."""
    if once:
        with torch.no_grad():
            seen = vgg_activations(vgg, real, "5_2")
        return (vgg_activations(vgg, fake, "5_2"),) * 2, (seen,) * 2
    both = [(vgg_activations(vgg, fake, "5_4"), vgg_activations(vgg, real, "5_4")) for _ in ("perceptual", "style")]
    return tuple(pair[0] for pair in both), tuple(pair[1] for pair in both)


def vgg_activations(vgg: nn.Sequential, image: Tensor, last: str) -> dict[str, Tensor]:
    mean, std = (image.new_tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, found, names = ((image + 1) / 2 - mean) / std, {}, {at: name for name, at in VGG_RELU.items()}
    for position, layer in enumerate(vgg[: VGG_RELU[last] + 1]):
        x = layer(x)
        if position in names:
            found[names[position]] = x
    return found


def gram(feature: Tensor) -> Tensor:
    b, c, h, w = feature.shape
    return torch.matmul(feature.reshape(b, c, h * w), feature.reshape(b, c, h * w).mT) / (h * w * c)


def normalised_weights(network: Discriminator, iterate: bool) -> list[Tensor]:
    r"""Each weight over its largest singular value, found by power iteration: :math:`W / (u^\top W v)`."""
    weights = []
    for conv in network.convs:
        parameter, norm = conv.parametrizations.weight.original, conv.parametrizations.weight[0]
        matrix = parameter.flatten(1)
        if iterate:
            with torch.no_grad():
                norm._u.copy_(F.normalize(matrix.detach() @ norm._v, dim=0, eps=1e-12))
                norm._v.copy_(F.normalize(matrix.detach().T @ norm._u, dim=0, eps=1e-12))
        u, v = norm._u.clone(), norm._v.clone()  # the next pass iterates on the buffers
        weights.append(parameter / torch.dot(u, matrix @ v))
    return weights


def scores(network: Discriminator, image: Tensor, weights: list[Tensor], frozen: bool = False) -> Tensor:
    x = image
    for conv, weight in zip(network.convs, weights, strict=True):
        x = F.leaky_relu(F.conv2d(x, weight, None, conv.stride, conv.padding), 0.2)
    last = (network.score.weight, network.score.bias)
    return F.conv2d(x, *((w.detach() for w in last) if frozen else last), padding=1)


def dense_gaussian(map_: Tensor, size: int, before: int, mode: str) -> Tensor:
    r"""A map (B, 1, H, W) filtered by a `size` x `size` Gaussian at full resolution, `before` px padded at the left."""
    at = torch.arange(size, device=map_.device, dtype=torch.float64) - (size - 1) / 2
    kernel = torch.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * SIGMA**2))
    after = size - 1 - before
    padded = F.pad(map_, (before, after, before, after), mode=mode)
    return F.conv2d(padded, (kernel / kernel.sum()).to(map_)[None, None])


def labels(mask: Tensor, design: str) -> tuple[Tensor, Tensor]:
    r"""What the discriminator is to say of a photograph and of a composite."""
    if design == "released":
        soft = dense_gaussian(mask, 71, 35, "constant")
        return torch.zeros_like(soft), soft
    if design != "sm_patchgan":
        raise ValueError(f"the reference step has the designs sm_patchgan and released, not {design!r}")
    soft = dense_gaussian(1 - mask, 70, 35, "replicate")
    soft = soft[..., 12 : mask.shape[-2] - 11 : 8, 12 : mask.shape[-1] - 11 : 8]  # patch centres: 8 i + 11.5 px
    return torch.ones_like(soft), soft


def adversarial(judged: Tensor, mask: Tensor, design: str) -> Tensor:
    if design == "released":
        judged = enlarged(judged, mask)
        return (F.mse_loss(judged, torch.ones_like(judged)) * mask / mask.mean()).mean()  # the mask cancels
    b, _, h, w = judged.shape
    hole = mask[..., 8 : 8 * (h + 1), 8 : 8 * (w + 1)].reshape(b, 1, h, 8, w, 8).mean((3, 5))
    return ((judged - 1) ** 2 * hole).mean()


def enlarged(judged: Tensor, mask: Tensor) -> Tensor:
    return F.interpolate(judged, size=mask.shape[-2:], mode="bilinear", align_corners=True)
