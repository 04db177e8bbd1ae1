r"""The dilated 3x3 convolutions of a block, alone: which form and which layout is fastest on this device.

A convolution of rate r touches every r-th pixel, so that it is r * r ordinary convolutions, one on each sub-grid. Some
libraries have a fast kernel only for the ordinary kind. Taught in notebook 12.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from aotlib import hardware
from aotlib.bench.timing import Budget, Timing, measure

RATES = (1, 2, 4, 8)
QUEUED = 20  # calls of a layer on a GPU for which one waits together: to start and to wait takes as long as one


def dilated(x: Tensor, weight: Tensor, rate: int) -> Tensor:
    r"""The library's own convolution of rate `rate`, without padding: (B, C, H, W) to (B, C', H - 2 rate, ...)."""
    return F.conv2d(x, weight, dilation=rate)


def space_to_batch(x: Tensor, weight: Tensor, rate: int) -> Tensor:
    r"""The same as `dilated`, by ordinary convolutions: each of the r * r sub-grids becomes a picture of its own.

    Sides that `rate` does not divide are filled up with zeros, and what they give is cut off. It keeps the layout.

    >>> x, w = torch.arange(25.0).view(1, 1, 5, 5), torch.ones(1, 1, 3, 3)
    >>> torch.equal(space_to_batch(x, w, 2), dilated(x, w, 2))
    True

    Taught in notebook 12.
    """
    batch, _, height, width = x.shape
    x = F.pad(x, (0, -width % rate, 0, -height % rate))
    y = F.conv2d(split(x, rate), weight)
    return merge(y, rate, batch)[..., : height - 2 * rate, : width - 2 * rate]


def split(x: Tensor, rate: int) -> Tensor:
    r"""(B, C, r h, r w) as the r * r sub-grids of every r-th pixel: (r r B, C, h, w), in the layout of `x`."""
    batch, channels, height, width = x.shape
    h, w = height // rate, width // rate
    if x.is_contiguous(memory_format=torch.channels_last):  # one copy, and channels stay last
        grid = x.permute(0, 2, 3, 1).reshape(batch, h, rate, w, rate, channels).permute(2, 4, 0, 1, 3, 5)
        return grid.reshape(-1, h, w, channels).permute(0, 3, 1, 2)
    return x.reshape(batch, channels, h, rate, w, rate).permute(3, 5, 0, 1, 2, 4).reshape(-1, channels, h, w)


def merge(y: Tensor, rate: int, batch: int) -> Tensor:
    r"""The inverse of `split`: (r r B, C, h, w) as (B, C, r h, r w)."""
    _, channels, h, w = y.shape
    if y.is_contiguous(memory_format=torch.channels_last):
        grid = y.permute(0, 2, 3, 1).reshape(rate, rate, batch, h, w, channels).permute(2, 3, 0, 4, 1, 5)
        return grid.reshape(batch, rate * h, rate * w, channels).permute(0, 3, 1, 2)
    grid = y.reshape(rate, rate, batch, channels, h, w).permute(2, 3, 4, 0, 5, 1)
    return grid.reshape(batch, channels, rate * h, rate * w)


FORMS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"dilated": dilated, "space_to_batch": space_to_batch}


def precisions(device: torch.device) -> list[str]:
    r"""Number formats of a convolution on `device`; tf32 is a GPU's float32 with 10 bits after the point."""
    tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return ["float32"] + ["tf32"] * tf32 + ["bfloat16"] * hardware.multiplies_bfloat16(device)


@contextlib.contextmanager
def float32_as(precision: str, device: torch.device) -> Iterator[None]:
    r"""On a GPU, float32 convolutions are true float32 (``float32``) or ``tf32`` inside."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        torch.backends.cudnn.conv.fp32_precision = before


def layer_table(
    device: torch.device, budget: Budget, *, size: int = 512, width: int = 64, batch: int = 1, n: int = 10
) -> list[dict]:
    r"""Seconds and TFLOP/s of a block's convolution at every rate, layout, form and number format.

    Args:
        size: side of the picture, pixels; the feature map has a quarter of it.
        width: of the network; the convolution has ``4 * width`` channels in and ``width`` out.

    Returns:
        Rows with ``forward_s``, ``both_s`` (forward and backward, to input and weights), ``forward_tflops``,
        ``both_tflops``, the choices, and ``n``. A multiply-add is two operations; the copies of the space-to-batch
        form do not count as work.

    Taught in notebook 12.
    """
    plans = [
        (precision, rate, layout, form)
        for precision in precisions(device)
        for rate in RATES
        for layout in hardware.LAYOUTS
        for form in FORMS
        if rate > 1 or form == "dilated"  # at rate 1 the two are one
    ]
    rows = []
    for position, (precision, rate, layout, form) in enumerate(plans):
        how = {"n": n, "budget_s": budget.left() / (len(plans) - position) / 2}
        with float32_as(precision, device):
            forward, both = time_layer(precision, rate, layout, form, device, (batch, width, size // 4), how)
        work = 2e-12 * 9 * 4 * width * width * batch * (size // 4) ** 2  # TFLOP of the forward pass
        rows.append(
            {"precision": precision, "rate": rate, "layout": layout, "form": form, "side": size // 4, "batch": batch}
            | {"channels_in": 4 * width, "channels_out": width, "forward_s": forward.median_s, "both_s": both.median_s}
            | {"forward_tflops": work / forward.median_s, "both_tflops": 3 * work / both.median_s, "n": both.n}
        )
    return rows


def time_layer(
    precision: str, rate: int, layout: str, form: str, device: torch.device, shape: tuple[int, int, int], how: dict
) -> tuple[Timing, Timing]:
    r"""The forward pass, and forward with backward, of a convolution of seeded numbers; `shape` is (B, width, side)."""
    batch, width, side = shape
    rng = torch.Generator().manual_seed(0)
    where = {"device": device, "dtype": torch.bfloat16 if precision == "bfloat16" else torch.float32}
    where["memory_format"] = hardware.LAYOUTS[layout]
    x = torch.randn(batch, 4 * width, side + 2 * rate, side + 2 * rate, generator=rng).to(**where).requires_grad_()
    weight = torch.randn(width, 4 * width, 3, 3, generator=rng).to(**where).requires_grad_()
    convolve = FORMS[form]
    gradient = torch.randn(batch, width, side, side, generator=rng).to(**where)

    def forward() -> Tensor:
        with torch.no_grad():
            return convolve(x, weight, rate)

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(convolve(x, weight, rate), (x, weight), gradient)

    calls = QUEUED if device.type == "cuda" else 1
    return tuple(per_call(measure(repeated(one, calls), device, **how), calls) for one in (forward, both))


def repeated(function: Callable[[], object], times: int) -> Callable[[], None]:
    def call() -> None:
        for _ in range(times):
            function()

    return call


def per_call(timing: Timing, calls: int) -> Timing:
    r"""Seconds of one of `calls` that were timed together."""
    return timing._replace(**{key: value / calls for key, value in timing._asdict().items() if key != "n"})


def fastest(layers: list[dict]) -> list[dict]:
    r"""Of `layer_table`, for every number format and rate the form and layout of the shortest forward and backward.

    ``ratio`` says how many times as long the library's dilated call takes on a contiguous tensor.

    >>> row = {"precision": "float32", "rate": 2, "layout": "contiguous"}
    >>> rows = [row | {"form": "dilated", "both_s": 3.0}, row | {"form": "space_to_batch", "both_s": 2.0}]
    >>> fastest(rows)[0]["form"], fastest(rows)[0]["ratio"]
    ('space_to_batch', 1.5)

    Taught in notebook 12.
    """
    kinds = dict.fromkeys((row["precision"], row["rate"]) for row in layers)
    found = []
    for precision, rate in kinds:
        rows = [row for row in layers if (row["precision"], row["rate"]) == (precision, rate)]
        best = min(rows, key=lambda row: row["both_s"])
        plain = next(row for row in rows if (row["layout"], row["form"]) == ("contiguous", "dilated"))
        chosen = {key: best[key] for key in ("precision", "rate", "layout", "form", "both_s")}
        found.append(chosen | {"ratio": plain["both_s"] / best["both_s"]})
    return found
