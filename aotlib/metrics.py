r"""How far an inpainted photograph is from the true one: L1, PSNR and SSIM, one number an image.

Every metric takes `result_u8` and `truth_u8`, uint8 tensors (B, 3, H, W), and returns a float64 tensor (B,). Score the
composite after `aotlib.images.to_uint8`: those are the pixels that a file holds and that any other program scores.
With a `mask` (B, 1, H, W), 1 = hole, only hole pixels count; an image without a hole then scores nan, because a mean
over nothing is no number.

One name means several things in published tables, so each variant has its own name here: `l1` and `relative_l1`, `ssim`
and `ssim_released`.

Taught in notebook 06.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor


class About(NamedTuple):
    """How a metric is printed, the unit or range of its numbers ("" where they have none), and which way is up."""

    label: str
    unit: str
    higher_is_better: bool


KNOWN = {"l1": About("L1", "0 to 1", False), "relative_l1": About("relative L1", "0 to 1", False)}
KNOWN |= {"psnr": About("PSNR", "dB", True), "lpips": About("LPIPS", "", False)}
KNOWN |= {"ssim": About("SSIM", "", True), "ssim_released": About("SSIM, released script", "", True)}
KNOWN |= {f"hole_{key}": KNOWN[key]._replace(label=f"{KNOWN[key].label} in the hole") for key in ("l1", "psnr", "ssim")}
OF_SETS = {"fid": About("FID", "", False), "kid": About("KID", "", False)}  # keys end with the feature dimensions
OF_SETS |= {"p_ids": About("P-IDS", "0 to 1", True), "u_ids": About("U-IDS", "0 to 0.5", True)}


def about(key: str) -> About:
    """Label, unit and direction of the metric `key`, as it stands in a table; an unknown one is a ValueError.

    >>> about("psnr"), about("fid_768").label
    (About(label='PSNR', unit='dB', higher_is_better=True), 'FID-768')

    Taught in notebook 06.
    """
    name, _, dims = key.rpartition("_")
    if name in OF_SETS and re.fullmatch(r"[1-9]\d*", dims):
        return OF_SETS[name]._replace(label=f"{OF_SETS[name].label}-{dims}")
    if key not in KNOWN:
        raise ValueError(f"no metric is called {key!r}; there are {', '.join(KNOWN)}, and {'_768, '.join(OF_SETS)}_768")
    return KNOWN[key]


def _pair(result_u8: Tensor, truth_u8: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Both images in float64, [0, 255], once they and the mask are found to fit: uint8 would wrap around."""
    for name, image in (("result_u8", result_u8), ("truth_u8", truth_u8)):
        if image.dtype != torch.uint8:
            raise TypeError(f"{name} is {image.dtype}: pass uint8; use aotlib.images.to_uint8")
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"{name} is {tuple(image.shape)}, not (B, 3, H, W); one image is image[None]")
    if result_u8.shape != truth_u8.shape:
        shapes = f"result_u8 is {tuple(result_u8.shape)} but truth_u8 is {tuple(truth_u8.shape)}"
        raise ValueError(f"{shapes}: resize neither, find which one was cropped or scaled")
    if mask is not None and mask.shape != (shape := (len(truth_u8), 1, *truth_u8.shape[2:])):
        raise ValueError(f"mask is {tuple(mask.shape)}; these images need {shape}")
    if mask is not None and not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"mask must hold only 0 and 1 (1 = hole); its maximum is {float(mask.max()):g}")
    return result_u8.double(), truth_u8.double()


def _mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of `values` (B, C, H, W) per image, over all pixels or over those of the hole (0 / 0 is nan)."""
    if mask is None:
        return values.mean((1, 2, 3))
    n_values = mask.sum((1, 2, 3), dtype=values.dtype) * values.shape[1]
    return (values * mask).sum((1, 2, 3)) / n_values


def l1(result_u8: Tensor, truth_u8: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Mean absolute error in [0, 1]: 0 for equal images, 1 for black against white.

    .. math:: \frac{1}{|P|} \sum_{p \in P} |r_p - t_p| \,/\, 255

    with :math:`P` all pixels and channels, or those of the hole when `mask` is given.

    >>> black = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    >>> l1(black + 51, black).tolist()  # 51 / 255
    [0.2]

    Taught in notebook 06.
    """
    result, truth = _pair(result_u8, truth_u8, mask)
    return _mean((result - truth).abs(), mask) / 255


def relative_l1(result_u8: Tensor, truth_u8: Tensor) -> Tensor:
    r"""Summed error over summed brightness, in [0, 1]: what the released evaluation script calls "mae".

    .. math:: \sum_p |r_p - t_p| \;/\; \sum_p (r_p + t_p)

    The same error weighs more in a dark photograph. Black against black scores 0.

    >>> black = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    >>> relative_l1(black + 6, black + 2).tolist()  # 4 / 8
    [0.5]

    Taught in notebook 06.
    """
    result, truth = _pair(result_u8, truth_u8)
    brightness = (result + truth).sum((1, 2, 3))
    return (result - truth).abs().sum((1, 2, 3)) / brightness.clamp(min=1)  # integers: below 1 means 0 / 0


def psnr(result_u8: Tensor, truth_u8: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Peak signal-to-noise ratio in dB: higher is better, inf for equal images.

    .. math:: 10 \log_{10} (255^2 / \mathrm{MSE})

    with one mean squared error over all three channels. A composite scores :math:`-10 \log_{10}` (hole ratio) more than
    its hole alone, 6 dB for a quarter of the image: compare within one mask bucket.

    >>> black = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    >>> round(psnr(black + 51, black).item(), 4)  # 10 log10(25)
    13.9794

    Taught in notebook 06.
    """
    result, truth = _pair(result_u8, truth_u8, mask)
    return 10 * torch.log10(255**2 / _mean((result - truth) ** 2, mask))


def _gaussian_window() -> list[float]:
    """11 taps of a Gaussian with a standard deviation of 1.5 px, summing to 1."""
    taps = [math.exp(-(offset**2) / (2 * 1.5**2)) for offset in range(-5, 6)]
    return [tap / sum(taps) for tap in taps]


def _blur(image: Tensor, window: list[float]) -> Tensor:
    """Weighted mean over the square window around each pixel, no padding: along rows, then along columns."""
    for axis in (3, 2):
        length = image.shape[axis] - len(window) + 1
        total = torch.zeros_like(image.narrow(axis, 0, length))
        for shift, weight in enumerate(window):  # equals conv2d, which takes 8 times as long in float64
            total.add_(image.narrow(axis, shift, length), alpha=weight)
        image = total
    return image


def _ssim_map(result_u8: Tensor, truth_u8: Tensor, window: list[float], unbias: float = 1.0) -> Tensor:
    """SSIM at each pixel that has a full window, mean of R, G, B: (B, 1, H - taps + 1, W - taps + 1)."""
    r, t = _pair(result_u8, truth_u8)
    if min(r.shape[2:]) < len(window):
        raise ValueError(f"images of {tuple(r.shape[2:])} px are smaller than SSIM's {len(window)} px window")
    mean_r, mean_t = _blur(r, window), _blur(t, window)
    var_r = unbias * (_blur(r * r, window) - mean_r**2)
    var_t = unbias * (_blur(t * t, window) - mean_t**2)
    covariance = unbias * (_blur(r * t, window) - mean_r * mean_t)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # keep 0 / 0 out of black and of flat regions
    brightness = (2 * mean_r * mean_t + c1) / (mean_r**2 + mean_t**2 + c1)
    structure = (2 * covariance + c2) / (var_r + var_t + c2)
    return (brightness * structure).mean(1, keepdim=True)


def ssim_map(result_u8: Tensor, truth_u8: Tensor) -> Tensor:
    r"""Structural similarity around each pixel, (B, 1, H - 10, W - 10) in [-1, 1]: 1 where they are equal.

    .. math:: \frac{(2 \mu_r \mu_t + c_1)(2\sigma_{rt} + c_2)}{(\mu_r^2 + \mu_t^2 + c_1)(\sigma_r^2 + \sigma_t^2 + c_2)}

    The local means and (biased) covariances are weighted by an 11 x 11 Gaussian of 1.5 px; the outermost 5 pixels have
    no full window and are left out. :math:`c_1 = 2.55^2`, :math:`c_2 = 7.65^2`.

    >>> photo = torch.randint(0, 256, (1, 3, 16, 20), dtype=torch.uint8)
    >>> ssim_map(photo, photo).shape
    torch.Size([1, 1, 6, 10])

    Taught in notebook 06.
    """
    return _ssim_map(result_u8, truth_u8, _gaussian_window())


def ssim(result_u8: Tensor, truth_u8: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Mean of `ssim_map`: 1 for equal images, about 0 for unrelated ones.

    With `mask`, the mean over the hole pixels at least 5 px away from the frame; nan when there are none.
    Windows at the rim of a hole also see known pixels, so a thin hole scores higher than a wide one.

    >>> photo = torch.randint(0, 256, (1, 3, 16, 20), dtype=torch.uint8)
    >>> round(ssim(photo, photo).item(), 6)
    1.0

    Taught in notebook 06.
    """
    _pair(result_u8, truth_u8, mask)  # an ill-fitting mask is refused before the work, and before it is cut
    return _mean(ssim_map(result_u8, truth_u8), None if mask is None else mask[..., 5:-5, 5:-5])


def ssim_released(result_u8: Tensor, truth_u8: Tensor) -> Tensor:
    r"""SSIM as the released evaluation script computes it: flat 7 x 7 window, unbiased (N - 1) covariances.

    It weighs noise and blur differently from `ssim`: never put the two in one column.

    >>> photo = torch.randint(0, 256, (1, 3, 16, 20), dtype=torch.uint8)
    >>> round(ssim_released(photo, photo).item(), 6)
    1.0

    Taught in notebook 06.
    """
    return _mean(_ssim_map(result_u8, truth_u8, [1 / 7] * 7, unbias=49 / 48))


def measure(result_u8: Tensor, truth_u8: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Every metric above by name, each (B,); those called `hole_...` look at the hole only.

    >>> photo = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    >>> scores = measure(photo, photo, mask=torch.ones(2, 1, 16, 16))
    >>> scores["l1"].tolist(), scores["hole_psnr"].tolist()
    ([0.0, 0.0], [inf, inf])

    Taught in notebook 06.
    """
    pair = (result_u8, truth_u8)
    in_hole, similarity = {"hole_l1": l1(*pair, mask), "hole_psnr": psnr(*pair, mask)}, ssim_map(*pair)
    in_hole["hole_ssim"] = _mean(similarity, mask[..., 5:-5, 5:-5])
    scores = {metric.__name__: metric(*pair) for metric in (l1, relative_l1, psnr)}
    return scores | {"ssim": _mean(similarity), "ssim_released": ssim_released(*pair)} | in_hole


def long_table(
    scores: dict[str, Tensor], *, method: str, data: str, images: Sequence[str], buckets: Sequence[str | None]
) -> pd.DataFrame:
    """One row an image and metric: method, data, bucket, image, metric, value. Join batches by `pd.concat`.

    `scores` is what `measure` returned for B images; `images` are their B names and `buckets` their B names
    from `aotlib.masks.bucket_of`, where None (a ratio outside every bucket) becomes "other".

    >>> scores = {"l1": torch.tensor([0.25])}
    >>> table = long_table(scores, method="grey", data="samples", images=["cat"], buckets=["1-10 %"])
    >>> print(*table.iloc[0])
    grey samples 1-10 % cat l1 0.25

    Taught in notebook 06.
    """
    for name, values in {"buckets": buckets, **scores}.items():
        if len(values) != len(images):
            raise ValueError(f"{len(images)} image names but {len(values)} values of {name}: give one each")
    names = {"method": method, "data": data, "bucket": [bucket or "other" for bucket in buckets], "image": list(images)}
    wide = pd.DataFrame(names | {metric: values.tolist() for metric, values in scores.items()})
    return wide.melt(id_vars=["method", "data", "bucket", "image"], var_name="metric", value_name="value")
