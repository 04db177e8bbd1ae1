r"""Distances between two sets of pictures, from features (N, D) of their pictures: FID, KID, P-IDS and U-IDS.

All four depend on the feature network, on its layer and on the number of pictures: a value is comparable only with
one of the same, and is printed with them.

Taught in notebook 06.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from sklearn.svm import LinearSVC

from aotlib.choices import check_choice

KINDS = ("fid", "kid", "p_ids", "u_ids")
FEWEST = 5  # pictures that an interval is given for: resamples of fewer are too often all the same picture
BLOCK = 2**23  # numbers held at once where all pairs of pictures, or all resamples, would be too many


class Ids(NamedTuple):
    r"""What a linear separator gets wrong, as shares: 0 where it tells every fill from a photograph, 0.5 at best."""

    p_ids: float
    u_ids: float


def frechet_distance(one: np.ndarray, two: np.ndarray) -> float:
    r"""Distance of the normal distributions fitted to two sets of features, (N, D) and (M, D): the FID, 0 or more.

    .. math:: \|\mu_1 - \mu_2\|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2) - 2\, \mathrm{tr} (\Sigma_1 \Sigma_2)^{1/2}

    With centred features :math:`A`, :math:`\Sigma_1 = A^\top A`, and :math:`B` alike, the last trace is the sum of
    the singular values of :math:`A B^\top`: an (N, M) matrix, small where there are fewer pictures than features
    (Heusel and others, 2017). The fewer pictures, the larger the distance: compare equal numbers.

    Raises:
        ValueError: for fewer than two pictures, for features that are not finite, or of two different networks.

    >>> sample = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(frechet_distance(sample, sample + [3, 0, 4]), 9)
    25.0

    Taught in notebook 06.
    """
    _check(one, two)
    shift, a, b = one.mean(0) - two.mean(0), _scaled(one), _scaled(two)
    if min(len(a), len(b)) <= a.shape[1]:
        shared = np.linalg.svd(a @ b.T, compute_uv=False)
    else:  # the same numbers as roots of the eigenvalues of a (D, D) matrix
        product = b @ np.linalg.qr(a, mode="r").T
        shared = np.sqrt(np.linalg.eigvalsh(product.T @ product).clip(0))
    return max(0.0, float(shift @ shift + np.vdot(a, a) + np.vdot(b, b) - 2 * shared.sum()))


def kernel_distance(one: np.ndarray, two: np.ndarray) -> float:
    r"""Squared maximum mean discrepancy of features (N, D) and (M, D): the KID, over all pictures, not subsets.

    .. math:: \frac{\sum_{i \ne j} k(a_i, a_j)}{N (N - 1)} + \frac{\sum_{i \ne j} k(b_i, b_j)}{M (M - 1)}
              - \frac{2 \sum_{i, j} k(a_i, b_j)}{N M}, \quad k(a, b) = (a^\top b / D + 1)^3

    For independent sets it is unbiased at every number of pictures, so it can fall below 0 (Binkowski and others,
    2018). Fills are not independent of their photographs: very good ones score below 0, and below each other.

    Raises:
        ValueError: as `frechet_distance`.

    >>> kernel_distance(np.zeros((2, 1)), np.ones((2, 1)))  # 1 + 8 - 2
    7.0

    Taught in notebook 06.
    """
    _check(one, two)
    n, m = len(one), len(two)
    within = [(_kernel_sums(x, x)[0] - _own_kernel(x)).sum() / (len(x) * (len(x) - 1)) for x in (one, two)]
    return float(sum(within) - 2 * _kernel_sums(one, two)[0].sum() / (n * m))


def separability(real: np.ndarray, fake: np.ndarray, seed: int = 0) -> Ids:
    r"""P-IDS and U-IDS: how often a linear separator, fitted to these pictures, takes a fill for a photograph.

    A linear support vector machine (C = 1) is fitted to the features (N, D) of photographs and of their fills, and
    judged on the same pictures. P-IDS is the share of pairs in which the fill looks more real than its photograph,
    U-IDS the share of all 2 N pictures that it takes for the wrong kind (Zhao and others, 2021).

    Args:
        seed: given to scikit-learn; its solver of the primal problem, used here, draws nothing.

    Raises:
        ValueError: for 2 N <= D + 1, where a plane separates any two sets; and for sets that are not pairs.

    >>> separability(np.array([[2.0], [3.0]]), np.array([[-2.0], [-3.0]]))
    Ids(p_ids=0.0, u_ids=0.0)

    Taught in notebook 06.
    """
    return Ids(*(float(mistakes.mean()) for mistakes in _mistakes(real, fake, seed)))


def distance_interval(
    kind: str, real: np.ndarray, fake: np.ndarray, *, n_resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    r"""(value, low, high): the distance, and where its mean over other N pictures of this kind lies, with 95 %.

    The mean is that over sets of the same size: for FID not what an endless set would have. Fewer than 5 pictures get
    nan for an interval.

    - ``fid``, ``kid``: what each pair adds to the distance (the derivative of FID with respect to its weight, the
      jackknife's pseudo-values of KID) is resampled: a bootstrap-t interval, cut at 0 for FID. Sets in which pictures
      repeat are never measured: that moves FID and KID by more than the interval is wide.
    - ``p_ids``, ``u_ids``: Wilson's interval for the separator as fitted; that others would be fitted is not in it.

    Measured on normal features, D = 768, of fills that err alike, of fills that err very unequally, and of sets that
    are not pairs at all, it held the mean in 91 to 98 % (N = 10), 93 to 98 % (30) and 95 to 99 % (100) of the cases
    for FID, and in 93 to 99 % for KID. Percentiles of whole resampled sets held FID in 80 and 3 % (N = 20, fills that
    err alike and no pairs), and KID of pairs in 1 % or less.

    Args:
        kind: one of `KINDS`.
        real, fake: features (N, D) of photographs and of their fills, in the same order.

    Raises:
        ValueError: for an unknown kind, for sets that are not pairs, and as the distances themselves.

    >>> photographs = np.random.default_rng(0).normal(size=(50, 3))
    >>> value, low, high = distance_interval("fid", photographs, 2 * photographs + 1)
    >>> bool(0 < low < value < high)
    True

    Taught in notebook 06.
    """
    check_choice("kind", kind, KINDS)
    if kind in ("p_ids", "u_ids"):
        return _wilson(_mistakes(real, fake, seed)[KINDS.index(kind) - 2])
    _check(real, fake, pairs=True)
    value = frechet_distance(real, fake) if kind == "fid" else kernel_distance(real, fake)
    if len(real) < FEWEST:
        return value, math.nan, math.nan
    effects = _frechet_effects(real, fake) if kind == "fid" else _kernel_effects(real, fake)
    low, high = _studentised(value, effects, n_resamples, seed)
    return value, max(0.0, low) if kind == "fid" else low, high


def _check(one: np.ndarray, two: np.ndarray, *, pairs: bool = False) -> None:
    if one.ndim != 2 or two.ndim != 2 or one.shape[1] != two.shape[1]:
        raise ValueError(f"features are {one.shape} and {two.shape}; both must be (pictures, D), of one network")
    if min(len(one), len(two)) < 2:
        raise ValueError(f"a covariance needs at least two pictures, got {len(one)} and {len(two)}")
    if pairs and len(one) != len(two):
        raise ValueError(f"{len(one)} photographs but {len(two)} fills: give each fill's own photograph, in order")
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise ValueError("features hold nan or infinity: did the network run in half precision, or on no picture?")


def _scaled(features: np.ndarray) -> np.ndarray:
    r"""A with :math:`A^\top A` the unbiased covariance."""
    return (features - features.mean(0)) / math.sqrt(len(features) - 1)


def _frechet_effects(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    r"""(N,): derivative of the Fréchet distance with respect to the weight of each pair, less a constant.

    With :math:`A B^\top = U S V^\top`, scaling row i of A and of B by :math:`1 + \epsilon` adds
    :math:`\epsilon \sum_k S_k (U_{ik}^2 + V_{ik}^2)` to the sum of the singular values.
    """
    a, b = _scaled(one), _scaled(two)
    s, u, v = _singular(a, b)
    moved = 2 * math.sqrt(len(a) - 1) * ((a - b) @ (one.mean(0) - two.mean(0)))
    return moved + len(a) * ((a * a).sum(1) + (b * b).sum(1) - (u * u + v * v) @ s)


def _singular(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""S (K,), U and V (N, K) with :math:`a b^\top = U S V^\top`; through (D, D) matrices where N > D."""
    if len(a) <= a.shape[1]:
        u, s, vt = np.linalg.svd(a @ b.T)
        return s, u, vt.T
    q, root = np.linalg.qr(a)
    product = b @ root.T
    values, vectors = np.linalg.eigh(product.T @ product)
    kept = values > 1e-14 * values[-1]  # below that rounding; they share nothing
    s, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return s, q @ vectors, product @ vectors / s


def _kernel_sums(one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Sums of k over the rows (N,) and the columns (M,) of all pairs, some rows at a time."""
    rows, columns, step = np.empty(len(one)), np.zeros(len(two)), max(1, BLOCK // len(two))
    for start in range(0, len(one), step):
        kernel = one[start : start + step] @ two.T / one.shape[1] + 1
        kernel = kernel * kernel * kernel  # ** 3 takes many times as long
        rows[start : start + step] = kernel.sum(1)
        columns += kernel.sum(0)
    return rows, columns


def _own_kernel(one: np.ndarray, two: np.ndarray | None = None) -> np.ndarray:
    r"""k of each picture with itself, or with its pair, (N,)."""
    return ((one * (one if two is None else two)).sum(1) / one.shape[1] + 1) ** 3


def _kernel_effects(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    r"""(N,): what each pair adds to the kernel distance, (N - 1) times what its absence takes, less a constant."""
    n = len(one)
    within = sum(_kernel_sums(x, x)[0] - _own_kernel(x) for x in (one, two))
    rows, columns = _kernel_sums(one, two)
    across = rows.sum() - rows - columns + _own_kernel(one, two)
    return -((within.sum() - 2 * within) / (n - 2) - 2 * across / (n - 1))


def _studentised(value: float, effects: np.ndarray, n_resamples: int, seed: int) -> tuple[float, float]:
    r"""The bootstrap-t interval of a number whose error is the mean of `effects` (N,), less a constant."""
    n, rng, found = len(effects), np.random.default_rng(seed), []
    effects = effects - effects.mean()
    error = effects.std(ddof=1) / math.sqrt(n)
    if error <= 1e-12 * abs(value) or not effects.any():  # pairs that are all alike
        return value, value
    step = max(1, BLOCK // n)
    for start in range(0, n_resamples, step):
        drawn = effects[rng.integers(n, size=(min(step, n_resamples - start), n))]
        errors = drawn.std(1, ddof=1) / math.sqrt(n)
        found.append(drawn.mean(1) / np.maximum(errors, 1e-9 * error))  # all the same pair: no error of its own
    low, high = value - error * np.quantile(np.concatenate(found), [0.975, 0.025])
    return float(low), float(high)


def _mistakes(real: np.ndarray, fake: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    r"""For each pair (N,): whether the fill looks more real, and the share of the two that is taken wrongly."""
    _check(real, fake, pairs=True)
    n, dims = real.shape
    if 2 * n <= dims + 1:
        raise ValueError(
            f"{n} pairs of pictures with {dims} features can always be separated, whatever the fills; P-IDS and U-IDS "
            f"need more than {(dims + 1) // 2} pairs, and are small by chance below several times that"
        )
    separator = LinearSVC(dual=False, C=1, random_state=seed)
    separator.fit(np.concatenate([real, fake]), np.repeat([1, 0], n))
    of_real, of_fake = separator.decision_function(real), separator.decision_function(fake)
    wrong = (of_real <= 0).astype(float) + (of_fake > 0)
    return (of_fake > of_real).astype(float), wrong / 2


def _wilson(shares: np.ndarray) -> tuple[float, float, float]:
    r"""Mean of `shares` (N,) in [0, 1] with Wilson's interval, for as many draws of 0 or 1 as vary as much."""
    n, mean, z2 = len(shares), float(shares.mean()), float(ndtri(0.975)) ** 2
    if 0 < mean < 1 and shares.std() > 0:
        n *= mean * (1 - mean) / shares.var()
    centre, half = mean + z2 / (2 * n), math.sqrt(z2 * mean * (1 - mean) / n + (z2 / (2 * n)) ** 2)
    return mean, max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))
