r"""The four losses of AOT-GAN: reconstruction, perceptual, style, and the adversarial pair in five designs.

:math:`L = 0.01\,L_{adv} + 1\,L_{rec} + 0.1\,L_{per} + 250\,L_{sty}` with image :math:`x`, mask :math:`m` (1 = hole),
prediction :math:`\hat x` and composite :math:`z`. Taught in notebooks 03 (adversarial) and 04 (the others).
"""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from aotlib.blocks import check_recipe
from aotlib.choices import check_choice
from aotlib.features import gram

DESIGNS = ("sm_patchgan", "hm_patchgan", "patchgan", "released", "mmagic")
AT_MASK_SIZE = ("released", "mmagic")  # code whose scores are enlarged to the mask, which is never made smaller
STRIDE = 8  # pixels between the centres of two neighbouring patches of the discriminator
PATCH = 70  # side of a patch, and of the paper's Gaussian window
SIGMA = 10.0  # of the Gaussian, pixels; the released code's value, the paper's is not known


def l1(prediction: Tensor, image: Tensor) -> Tensor:
    r"""Reconstruction loss :math:`L_{rec} = \mathrm{mean}\,|x - \hat x|`, known pixels included.

    Args:
        prediction, image: (B, 3, H, W) in [-1, 1].

    >>> l1(torch.tensor([0.5, -1.0]), torch.tensor([0.0, 0.0])).item()
    0.75

    Taught in notebook 04.
    """
    return (prediction - image).abs().mean()


def perceptual(fake: Mapping[str, Tensor], real: Mapping[str, Tensor], taps: Iterable[str]) -> Tensor:
    r"""Perceptual loss :math:`L_{per} = \sum_i \mathrm{mean}\,|\phi_i(x) - \phi_i(z)|` over `taps`.

    Args:
        fake, real: tap -> activation (B, C, h, w), from `aotlib.features.FeatureNet`.

    Taught in notebook 04.
    """
    return torch.stack([(fake[tap].float() - real[tap].float()).abs().mean() for tap in taps]).sum()


def style(fake: Mapping[str, Tensor], real: Mapping[str, Tensor], taps: Iterable[str], recipe: str = "paper") -> Tensor:
    r"""Style loss: mean distance of Gram matrices, :math:`L_{sty} = E_i\,\mathrm{mean}\,|G_i(x) - G_i(z)|`.

    :math:`G_i = \phi_i^\top\phi_i / (C h w)`. The paper averages over the taps (``"paper"``), the released code sums
    (``"released"``): with four taps and one weight of 250 its style term is four times as strong.

    Taught in notebook 04.
    """
    distances = torch.stack([(gram(fake[tap]) - gram(real[tap])).abs().mean() for tap in taps])
    return distances.mean() if check_recipe(recipe) == "paper" else distances.sum()


def gaussian_window(size: int = PATCH, sigma: float = SIGMA) -> Tensor:
    r"""Gaussian weights of `size` taps around their centre, summing to 1.

    >>> gaussian_window(2).tolist()
    [0.5, 0.5]
    """
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weight = torch.exp(-0.5 * (at / sigma) ** 2)
    return weight / weight.sum()


def blur(map_: Tensor, window: Tensor, *, stride: int = 1, padding: int = 0, pad_mode: str = "replicate") -> Tensor:
    r"""Separable convolution of a (B, 1, H, W) map with `window` along both axes."""
    window = window.to(map_)
    x = F.pad(map_, (padding,) * 4, mode=pad_mode) if padding else map_
    x = F.conv2d(x, window.view(1, 1, -1, 1), stride=(stride, 1))
    return F.conv2d(x, window.view(1, 1, 1, -1), stride=(1, stride))


def soft_mask(map_: Tensor, *, size: int = PATCH, sigma: float = SIGMA) -> Tensor:
    r""":math:`\sigma(\cdot)`: a mask filtered by a Gaussian and sampled at the centres of the discriminator's patches.

    One strided convolution does both: a window of 70 px, stepped by 8 px, stands exactly over the 70 x 70 px that one
    value of the discriminator sees. The frame's border is repeated, so that a constant map stays constant.

    Args:
        map_: (B, 1, H, W) in [0, 1], H and W at least 24.

    Returns:
        (B, 1, H // 8 - 2, W // 8 - 2) in [0, 1].

    >>> soft_mask(torch.ones(1, 1, 64, 64)).shape
    torch.Size([1, 1, 6, 6])

    Taught in notebook 03.
    """
    if size % 2:
        raise ValueError(
            f"the window must have an even side to stand over the patch centres (at 8 i + 11.5 px), got {size}"
        )
    first = size // 2 - 12  # pixels by which the first window overhangs the frame
    x = map_ if first >= 0 else map_[..., -first:first, -first:first]
    return blur(x, gaussian_window(size, sigma), stride=STRIDE, padding=max(first, 0))


def cell_mask(map_: Tensor) -> Tensor:
    r"""A mask (B, 1, H, W) brought to the discriminator's size: the mean of the 8 x 8 px around each patch centre.

    >>> cell_mask(torch.ones(1, 1, 64, 64)).shape
    torch.Size([1, 1, 6, 6])

    Taught in notebook 03.
    """
    return F.avg_pool2d(map_, STRIDE)[..., 1:-1, 1:-1]


def hard_mask(map_: Tensor) -> Tensor:
    r"""`cell_mask` rounded to 0 or 1 (a tie to 0): no soft border.

    Taught in notebook 03.
    """
    return (cell_mask(map_) > 0.5).to(map_)


def targets(
    mask: Tensor, design: str = "sm_patchgan", *, size: int = PATCH, sigma: float = SIGMA
) -> tuple[Tensor, Tensor]:
    r"""What the discriminator is to say of a real image and of a composite, patch by patch.

    ============  ========  ===============================================
    design        real      composite
    ============  ========  ===============================================
    sm_patchgan   1         :math:`\sigma(1 - m)`, soft at the hole's border
    hm_patchgan   1         :math:`1 - m`, hard
    patchgan      1         0 everywhere, known patches too
    released      **0**     :math:`\sigma(m)`: the other way round
    mmagic        1         :math:`\sigma(m)`: holes are labelled like photographs
    ============  ========  ===============================================

    The last is MMagic's, the best known retraining.

    Args:
        mask: :math:`m`, (B, 1, H, W), 1 = hole.
        size, sigma: of the Gaussian of ``"sm_patchgan"``, pixels (`soft_mask`).

    Returns:
        Two maps of one size: (B, 1, H // 8 - 2, W // 8 - 2), for ``"released"`` and ``"mmagic"`` (B, 1, H, W).

    Taught in notebooks 03 and 08.
    """
    if design in AT_MASK_SIZE:
        soft = blur(mask, gaussian_window(71), padding=35, pad_mode="constant")  # zeros: darkens it at the frame
        return torch.full_like(soft, float(design == "mmagic")), soft
    composite_target = {
        "sm_patchgan": lambda: soft_mask(1 - mask, size=size, sigma=sigma),
        "hm_patchgan": lambda: hard_mask(1 - mask),
        "patchgan": lambda: torch.zeros_like(hard_mask(mask)),
    }[check_design(design)]()
    return torch.ones_like(composite_target), composite_target


def discriminator_loss(
    real: Tensor,
    fake: Tensor,
    mask: Tensor,
    design: str = "sm_patchgan",
    *,
    size: int = PATCH,
    sigma: float = SIGMA,
) -> Tensor:
    r""":math:`L_D = E[(D(z) - t_z)^2] + E[(D(x) - t_x)^2]` with the `targets` of `design`.

    Args:
        real, fake: :math:`D(x)`, :math:`D(z)`, (B, 1, h, w).
        mask: :math:`m`, (B, 1, H, W).
        size, sigma: of the Gaussian of ``"sm_patchgan"``, pixels.

    Taught in notebook 03.
    """
    on_real, on_fake = targets(mask, check_design(design), size=size, sigma=sigma)
    real, fake = (resize_scores(scores, on_fake, design) for scores in (real, fake))
    return (fake - on_fake).square().mean() + (real - on_real).square().mean()


def generator_loss(fake: Tensor, mask: Tensor, design: str = "sm_patchgan") -> Tensor:
    r"""What the generator wants of :math:`D(z)`: to be taken for real inside the hole.

    .. math:: L_{adv} = E[(D(z) - 1)^2 \odot m]

    with :math:`m` at the discriminator's size (`cell_mask`).

    ``patchgan`` has no mask: :math:`E[(D(z) - 1)^2]`. Nor have ``released`` and ``mmagic``, whose weighting by the mask
    cancels; their 1 is the label that their discriminators give to *holes*, so that the two networks pull the same way.

    Args:
        fake: :math:`D(z)`, (B, 1, h, w), with gradient.
        mask: :math:`m`, (B, 1, H, W).

    Taught in notebook 03.
    """
    if check_design(design) in ("patchgan", *AT_MASK_SIZE):
        scores = resize_scores(fake.float(), mask, design)
        return (scores - 1).square().mean()
    return ((fake.float() - 1).square() * cell_mask(mask)).mean()


def resize_scores(scores: Tensor, like: Tensor, design: str) -> Tensor:
    r"""Scores as float32; released code enlarges them to the mask's size, the paper's designs keep them."""
    if design not in AT_MASK_SIZE:
        return scores.float()
    return F.interpolate(scores.float(), size=like.shape[-2:], mode="bilinear", align_corners=True)


def check_design(design: str) -> str:
    return check_choice("design", design, DESIGNS)
