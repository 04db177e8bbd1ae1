r"""MNPS: fill the hole with a content network, then optimise its pixels until their patches look like known ones.

Source: Yang et al., "High-Resolution Image Inpainting using Multi-Scale Neural Patch Synthesis" (CVPR 2017). Only the
content network is trained, by the losses of `aotlib.baselines.context_encoder`, which are handed on here; the rest is
an optimisation for each picture, in the features of a frozen network, from coarse to fine. Taught in notebook 07.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.functional import InterpolationMode, affine

from aotlib.baselines import context_encoder as ce
from aotlib.choices import check_choice
from aotlib.features import FeatureNet, load_features
from aotlib.hardware import full_precision
from aotlib.model import FULL_WIDTH

VARIANTS = ("paper", "released")
# alpha and beta beside a content term of weight 1. Both are 5e-6 in the paper and in the released code (there 1e-4
# beside 20), for sums over other features of pixels from 0 to 255; the means here need their own, chosen by looking.
TERMS = {"paper": (1.0, 3.0), "released": (2.0, 5.0)}
LEAST = 32  # px: no scale below it, because a map of a quarter of the side has few patches left
CHUNK = 256  # patches compared at once, as in the released code
FIRST_STEP = 0.02  # mean change of a value; torch's L-BFGS starts with changes whose sum is 1, next to nothing a pixel
Critic, generator_loss, critic_loss, options_at = ce.Critic, ce.generator_loss, ce.critic_loss, ce.options_at
WEIGHTS, CRITIC_WEIGHTS, STAGES, SETTINGS = ce.WEIGHTS, ce.CRITIC_WEIGHTS, ce.STAGES, ce.SETTINGS
ABOUT = {
    "label": "MNPS",
    "title": "High-Resolution Image Inpainting using Multi-Scale Neural Patch Synthesis",
    "authors": "Yang, Lu, Lin, Shechtman, Wang, Li",
    "venue": "CVPR",
    "year": 2017,
    "paper": "https://arxiv.org/abs/1611.09969",
    "code": "https://github.com/leehomyc/Faster-High-Res-Neural-Inpainting",
    "licence": "MIT, with the remark that it is for research only",
    "weights": "The authors link a Context Encoder for the centre square, whose tensors have the shapes of our "
    "ContextEncoder(region='centre'), but as a Lua Torch file, which PyTorch no longer reads.",
}


class Match(NamedTuple):
    r"""Which known patch stands for which patch of the hole, at one scale in one map of features."""

    size: tuple[int, int]  # of the picture at this scale
    tap: str
    cell: int  # px; a patch is 3 x 3 cells
    hole: Tensor  # (N, 2), row and column of the upper left cell of every patch that overlaps the hole
    known: Tensor  # (N, 2), those of the known patch nearest to it
    source: Tensor  # (N,), the picture where that lies: 0 as it is, 1 to 8 turned or scaled (`sources`)


class Outputs(NamedTuple):
    r"""What `MNPS` gives in ``eval()`` mode: pictures, energies from the coarsest scale to the finest, and matches."""

    prediction: Tensor  # (B, 3, H, W) in [-1, 1]; known pixels are the input's
    content: Tensor  # (B, 3, H, W) in [-1, 1], the content network's prediction
    before: Tensor  # (B, scales), energy at the start of each scale
    after: Tensor  # (B, scales), energy of the best picture found, never above `before`
    matches: list[list[Match]]  # one list a picture, by scale and tap; empty without a hole


class MNPS(nn.Module):
    r"""A content network and the texture optimisation after it.

    .. math:: \min_x E_c(x) + \alpha\,E_t(x) + \beta\,\mathrm{TV}(x)

    over the hole's pixels, at each scale from where the coarser one ended. :math:`E_t` compares every patch of features
    that overlaps the hole with the nearest that does not, though it may see some of the fill beside it: the released
    code's trick against that, copies of what surrounds its central square in place of it, suits no other hole.
    In ``train()`` mode all of this is left out, and the outputs are those of the content network.

    ==============  =============================================  ===========================================
    variant         ``"paper"``                                    ``"released"``
    ==============  =============================================  ===========================================
    :math:`E_c`     pixels of the hole, to those of the start      features, to those of the content prediction
    :math:`E_t`     relu3_1 and relu4_1                            relu4_1
    known patches   every one                                      every second, of 9 turned and scaled copies
    nearest         the smallest distance, anew for every step     the smallest angle, at the start of each scale
    L-BFGS          with a line search                             without
    ==============  =============================================  ===========================================

    Args:
        width, size, seed: of the `ContextEncoder` that predicts the content.
        scales: the finest is the picture's own size, each other half the next; none is below `LEAST` px.
        iterations: of L-BFGS at each scale.
        variant: ``"paper"`` or ``"released"``.
        alpha, beta: weights; by default `TERMS`. With both 0 the prediction is the content.
        content: the network of another method instead, which `options` does not describe.
        features: the frozen network, by default ``load_features("auto")``; `state_dict` and `options` leave it out.

    Taught in notebook 07.
    """

    def __init__(
        self,
        width: int = FULL_WIDTH,
        size: int = 128,
        scales: int = 3,
        iterations: int = 100,
        variant: str = "paper",
        alpha: float | None = None,
        beta: float | None = None,
        content: nn.Module | None = None,
        features: FeatureNet | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(scales, iterations) < 1:
            raise ValueError(f"scales and iterations must be at least 1, got {scales} and {iterations}")
        usual = TERMS[check_choice("variant", variant, VARIANTS)]
        self.terms = tuple(own if own is not None else term for own, term in zip((alpha, beta), usual, strict=True))
        self.options = {"width": width, "size": size, "scales": scales, "iterations": iterations, "variant": variant}
        self.options |= {"alpha": alpha, "beta": beta}
        self.content = content or ce.ContextEncoder(width, size, seed=seed)
        self.__dict__["features"] = features or load_features("auto")  # past Module, which would train and save it
        self.multiple, self.smallest = self.content.multiple, max(self.content.smallest, 16)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1]; see `outputs`."""
        return self.outputs(image, mask).prediction

    def outputs(self, image: Tensor, mask: Tensor) -> Outputs | ce.Outputs:
        r"""The pictures, optimised one by one, for images (B, 3, H, W) in [-1, 1] and masks (B, 1, H, W), 1 = hole."""
        if self.training:
            return self.content.outputs(image, mask)
        with torch.no_grad():
            content = self.content(image, mask)
        self.features.to(image.device)
        with torch.inference_mode(False), full_precision(image):  # what was made in inference mode has no gradient
            batch = [x.detach().clone().float() for x in (image, content, mask)]
            done = [self.optimise(*one) for one in zip(*(x.split(1) for x in batch), strict=True)]
        pictures, energies, matches = zip(*done, strict=True)
        return Outputs(torch.cat(pictures), batch[1], *torch.tensor(energies).unbind(-1), [*matches])

    def optimise(self, image: Tensor, content: Tensor, mask: Tensor) -> tuple[Tensor, list, list[Match]]:
        r"""One picture (1, 3, H, W), its energy before and after each scale, and the matches of all scales."""
        full = torch.where(mask > 0.5, content.clamp(-1, 1), image)
        energies, matches, variant, x, coarser = [], [], self.options["variant"], None, None
        for size in self.sizes(image.shape[-2:]):
            base, hole = F.adaptive_avg_pool2d(full, size), F.adaptive_max_pool2d(mask, size)
            change = 0 if x is None else F.interpolate(x - coarser, size, mode="bilinear")  # so that fine detail stays
            start = torch.where(hole > 0.5, (base + change).clamp(-1, 1), base)
            energy = Energy(self.features, start, base, hole, variant, self.terms)
            x, *ends = descend(energy, start, hole, self.options["iterations"], variant)
            coarser, energies, matches = base, [*energies, ends], matches + energy.matches(x)
        return x, energies, matches

    def sizes(self, finest: tuple[int, int]) -> list[tuple[int, int]]:
        r"""Height and width of each scale, coarsest first."""
        halved = [tuple(round(side / 2**k) for side in finest) for k in range(1, self.options["scales"])]
        return [size for size in reversed(halved) if min(size) >= LEAST] + [tuple(finest)]


class Energy:
    r"""What one picture (1, 3, H, W) at one scale costs; call it, or ask for the terms one by one.

    Every term is a mean, those over features divided by the mean square of what they are compared with: no weight
    depends on the size of the hole, or on how large a network's activations are. `start` is the picture at the start of
    the scale, `content` the content network's, both with the known pixels pasted in; `hole` (1, 1, H, W) has 1 = hole.

    Taught in notebook 07.
    """

    def __init__(
        self, features: FeatureNet, start: Tensor, content: Tensor, hole: Tensor, variant: str, terms: Sequence[float]
    ) -> None:
        self.features, self.start, self.hole, self.variant, self.terms = features, start, hole, variant, terms
        self.taps = taps_of(features, variant)
        pictures = [(start, hole)] if variant == "paper" else sources(start, hole)
        with torch.no_grad():
            maps = [(features(image, self.taps), mask) for image, mask in pictures]
            self.wanted = features(content, self.taps)[self.taps[-1]]
        wide = [tap for tap in self.taps if min(maps[0][0][tap].shape[-2:]) >= 3]  # a map that holds a patch
        self.textures = [Texture(tap, [(by_tap[tap], mask) for by_tap, mask in maps], variant) for tap in wide]

    def __call__(self, x: Tensor) -> Tensor:
        maps, (alpha, beta) = self.features(x, self.taps), self.terms
        texture = self.texture(maps) if alpha else 0.0
        return self.content(x, maps) + alpha * texture + beta * total_variation(x, self.hole)

    def content(self, x: Tensor, maps: dict[str, Tensor]) -> Tensor:
        r""":math:`E_c`: mean squared change of the hole's pixels, or of features (``"released"``)."""
        if self.variant == "paper":
            return ((x - self.start).square() * self.hole).sum() / (3 * self.hole.sum()).clamp(min=1)
        return (maps[self.taps[-1]] - self.wanted).square().mean() / self.wanted.square().mean().clamp(min=1e-12)

    def texture(self, maps: dict[str, Tensor]) -> Tensor:
        r""":math:`E_t`: mean squared distance of the hole's patches from the known ones, summed over taps."""
        return sum((t.energy(maps[t.tap], self.variant == "paper") for t in self.textures), self.start.new_zeros(()))

    @torch.no_grad()
    def matches(self, x: Tensor) -> list[Match]:
        r"""The known patch of every patch of the hole in `x`, for each tap that has any."""
        self.texture(self.features(x, self.taps))
        return [t.described(tuple(x.shape[-2:])) for t in self.textures if t.nearest is not None]


class Texture:
    r"""The known patches of one tap, and which of them stands for which patch of the hole.

    `maps` are the features (1, C, h, w) and masks (1, 1, H, W) of all sources, the picture itself first.
    """

    def __init__(self, tap: str, maps: list[tuple[Tensor, Tensor]], variant: str) -> None:
        self.tap, self.cell = tap, 2 ** (int(tap[4]) - 1)  # px: a pooling before each further block
        self.stride = stride = 1 if variant == "paper" else 2
        covered = [F.max_pool2d(F.max_pool2d(mask, self.cell), 3, stride)[0, 0] > 0 for _, mask in maps]
        self.at_hole, self.targets = covered[0].nonzero(), covered[0].flatten().nonzero()[:, 0]
        self.at_known = torch.cat([F.pad((~c).nonzero(), (1, 0), value=n) for n, c in enumerate(covered)])
        parts = [patches(feature, stride)[~c.flatten()] for (feature, _), c in zip(maps, covered, strict=True)]
        self.known, self.nearest = torch.cat(parts), None
        self.power = (squares := self.known.square()).mean().clamp(min=1e-12)
        self.keys, self.less = (self.known, squares.sum(1) / 2) if variant == "paper" else (F.normalize(self.known), 0)

    @torch.no_grad()
    def match(self, feature: Tensor) -> None:
        r"""Find the nearest known patch k of every patch p of the hole: one product of matrices, in chunks.

        :math:`|p - k|^2` is smallest where :math:`p^\top k - |k|^2 / 2` is largest, the angle where p^T k / |k| is.
        """
        targets = patches(feature, self.stride)[self.targets]
        self.nearest = torch.cat([(part @ self.keys.T - self.less).argmax(1) for part in targets.split(CHUNK)])

    def energy(self, feature: Tensor, again: bool) -> Tensor:
        if not len(self.targets) or not len(self.known):
            return feature.new_zeros(())
        if again or self.nearest is None:
            self.match(feature)
        now = patches(feature, self.stride)[self.targets]
        return (now - self.known[self.nearest]).square().mean() / self.power

    def described(self, size: tuple[int, int]) -> Match:
        at = self.at_known[self.nearest]
        return Match(size, self.tap, self.cell, self.at_hole * self.stride, at[:, 1:] * self.stride, at[:, 0])


def patches(feature: Tensor, stride: int) -> Tensor:
    r"""The 3 x 3 patches of a map (1, C, h, w), row by row: (N, 9 C)."""
    return F.unfold(feature, 3, stride=stride)[0].T


def taps_of(features: FeatureNet, variant: str) -> tuple[str, ...]:
    r"""The taps of E_t; in a network that ends before relu4_1 those of one block earlier, which see half as far."""
    # the last is E_c's, too, where the released code has relu4_2: the layer behind relu4_1, and no tap of FeatureNet
    last = "relu4_1" if "relu4_1" in features.perceptual_taps else "relu3_1"
    return (f"relu{int(last[4]) - 1}_1", last) if variant == "paper" else (last,)


def sources(image: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
    r"""A picture and its mask in the 9 forms of the released code: turned by 0, ±7.5 degrees, scaled by 1.05^(0, ±1).

    What was outside the frame or touched by the hole is hole. The picture as it is comes first.
    """
    made, fixed = [(image, mask)], {"translate": [0, 0], "shear": [0.0], "interpolation": InterpolationMode.BILINEAR}
    for turn, zoom in [(turn, zoom) for turn in (0, -7.5, 7.5) for zoom in (1, 1 / 1.05, 1.05)][1:]:
        hole = affine(mask, turn, scale=zoom, fill=[1.0], **fixed) > 0
        made.append((affine(image, turn, scale=zoom, **fixed), hole.to(mask)))
    return made


def total_variation(x: Tensor, hole: Tensor) -> Tensor:
    r"""Mean squared difference of neighbours, over pairs of which one or both lie in the hole.

    >>> total_variation(torch.tensor([[[[0.0, 1.0, 3.0]]]]), torch.tensor([[[[0.0, 0.0, 1.0]]]])).item()
    4.0
    """
    down = torch.maximum(hole[..., 1:, :], hole[..., :-1, :])
    across = torch.maximum(hole[..., 1:], hole[..., :-1])
    total = (x.diff(dim=-2).square() * down).sum() + (x.diff(dim=-1).square() * across).sum()
    return total / (x.shape[1] * (down.sum() + across.sum())).clamp(min=1)


def descend(
    energy: Callable[[Tensor], Tensor], start: Tensor, hole: Tensor, iterations: int, variant: str
) -> tuple[Tensor, float, float]:
    r"""The best picture that L-BFGS meets on its way from `start`, with the energies of `start` and of that picture."""
    inside = (hole > 0.5).expand_as(start)
    pixels, met, best = start[inside], [], start
    moves, unit = torch.zeros_like(pixels).requires_grad_(), FIRST_STEP * pixels.numel()

    def closure() -> Tensor:
        nonlocal best
        optimiser.zero_grad()
        x = start.masked_scatter(inside, (pixels + unit * moves).clamp(-1, 1))
        value = energy(x)
        value.backward()
        if not met or value.item() < min(met):
            best = x.detach()
        met.append(value.item())
        return value

    limits = {"max_iter": iterations, "history_size": 25, "tolerance_grad": 1e-9, "tolerance_change": 1e-12}
    optimiser = torch.optim.LBFGS([moves], **limits, line_search_fn="strong_wolfe" if variant == "paper" else None)
    if pixels.numel():
        optimiser.step(closure)
    return best, *((met[0], min(met)) if met else (0.0, 0.0))
