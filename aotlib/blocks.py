r"""The AOT block: split a convolution, transform at several rates, aggregate, and let a gate decide what changes.

Source: Zeng et al., "Aggregated Contextual Transformations for High-Resolution Image Inpainting" (AOT-GAN).
Taught in notebook 02.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aotlib.choices import check_choice
from aotlib.hardware import full_precision
from aotlib.rates import branch_width

RECIPES = ("paper", "released")
BLOCKS = ("aot", "residual")
GATES = ("recipe", "none", "paper", "released")
RESIDUAL_RATES = (2,)  # the plain block of the paper's figure: 3x3 of dilation 2, ReLU, 3x3, identity add


def check_recipe(recipe: str) -> str:
    r"""Return `recipe` when it is ``"paper"`` or ``"released"``; refuse every other word."""
    return check_choice("recipe", recipe, RECIPES)


def gate_update(logits: Tensor, recipe: str = "paper") -> Tensor:
    r"""Share of the *new* feature at every position, in [0, 1], from the gate convolution's output.

    ``"paper"``: the figure's gate :math:`g = \sigma(\cdot)` weights the identity, so the update is :math:`1 - g`.
    ``"released"``: :math:`\sigma` of the `standardise`-d logits weights the new feature.

    Args:
        logits: :math:`\tilde g`, (B, C, H, W), any range.

    Taught in notebook 02.
    """
    return torch.sigmoid(-logits if recipe == "paper" else standardise(logits))


def standardise(logits: Tensor) -> Tensor:
    r"""The released code's "layer norm": mean -5 and standard deviation 10 over the positions of every channel.

    .. math:: 5\left(2\,\frac{\tilde g - \mu}{s} - 1\right), \quad
              s = \sqrt{\tfrac{1}{N-1}\sum(\tilde g - \mu)^2} + 10^{-9}

    Computed in float32 at least, because 1e-9 is zero in half precision. What a flat channel becomes is left to the
    rounding of its mean, which 1e-9 magnifies: finite, but anything.

    Taught in notebook 02.
    """
    with full_precision(logits):
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        mean = logits.mean((2, 3), keepdim=True)
        std = logits.std((2, 3), keepdim=True) + 1e-9
        return 5 * (2 * (logits - mean) / std - 1)  # rounded in the same order as in the released code


class AOTBlock(nn.Module):
    r"""Split-transform-aggregate with a gated residual; without a gate, :math:`y = x + f`.

    .. math:: f = W_f * \left[\mathrm{ReLU}(W_r *_{r} x)\right]_{r \in \mathrm{rates}}, \qquad
              y = x \odot (1 - u) + f \odot u

    where :math:`*_r` is a 3x3 convolution of dilation :math:`r` and :math:`u` is `gate_update` of a 3x3 convolution
    of :math:`x`. Borders are reflected. One branch of rate 2 without a gate is the plain residual block that the
    paper's figure sets beside this one.

    Args:
        width: channels in and out.
        rates: dilation rates, one branch each, of ``width / len(rates)`` channels.
        gate: ``"paper"``, ``"released"`` or ``"none"``.

    >>> AOTBlock(8, rates=(1, 2))(torch.zeros(1, 8, 16, 16)).shape
    torch.Size([1, 8, 16, 16])

    Taught in notebooks 02 and 08.
    """

    def __init__(self, width: int = 256, rates: Sequence[int] = (1, 2, 4, 8), gate: str = "paper") -> None:
        super().__init__()
        self.rates, self.gate_kind = tuple(rates), check_choice("gate", gate, (*RECIPES, "none"))
        part = branch_width(width, rates)
        self.branches = nn.ModuleList(nn.Conv2d(width, part, 3, dilation=rate) for rate in rates)
        self.fuse = nn.Conv2d(width, width, 3)
        self.gate = nn.Conv2d(width, width, 3) if gate != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        feature, update = self.transform(x)
        return x + feature if update is None else x * (1 - update) + feature * update

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        r"""The aggregated feature :math:`f` and the update share :math:`u`, both (B, C, H, W); None without a gate."""
        widest = max(self.rates)
        padded = F.pad(x, (widest,) * 4, mode="reflect")  # once for all branches: each crops what it needs
        parts = [
            F.relu(conv(crop(padded, widest - rate))) for conv, rate in zip(self.branches, self.rates, strict=True)
        ]
        feature = self.fuse(F.pad(torch.cat(parts, 1), (1, 1, 1, 1), mode="reflect"))
        if self.gate is None:
            return feature, None
        update = gate_update(self.gate(crop(padded, widest - 1)), self.gate_kind)
        return feature, update.to(feature.dtype)


def crop(x: Tensor, border: int) -> Tensor:
    r"""`x` (B, C, H, W) without `border` pixels on each side."""
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]
