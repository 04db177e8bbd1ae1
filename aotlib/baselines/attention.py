r"""Attention over patches of a feature map: fill a place with copies of those patches that resemble it most.

The five steps that DeepFill, PEN-Net and HiFill share, as functions without weights: which patches may be copied
(`valid_keys`), how much they resemble a place (`similarity`), agreement with the neighbours' choices (`fuse_scores`),
shares (`attention`) and copying (`paste`). ``i`` is a place that asks (a query, one of :math:`N = h w`), ``j`` a patch
that may answer (a key and its value, one of :math:`L`, row by row). Samples of a batch do not touch each other, and
each has its own mask. Everything is computed in float32 at least. The L x N tables rule the memory: ``4 B L N`` bytes
each, 4 MiB a sample for 32 x 32 places and 64 MiB for 64 x 64; `fuse_scores` and `attention` hold about three at once,
and training keeps about six.
Taught in notebook 07.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from aotlib.hardware import full_precision

SMALLEST_NORM = 1e-4  # of a key: a patch of zeros stays zero


def valid_keys(mask: Tensor, k: int = 3) -> Tensor:
    r"""Which keys may be copied: (B, L), 1 where the k x k neighbourhood holds no hole at all, else 0.

    .. math:: v_j = \left[\max_{|p - j| \leq (k - 1) / 2} m_p = 0\right]

    Any value above 0 is hole, so that masks made smaller by averaging are read strictly, too. What lies outside the
    frame counts as known.

    Args:
        mask: :math:`m`, (B, 1, h, w), at the size of the keys; L = h w.
        k: odd side of a key.

    >>> valid_keys(torch.tensor([[[[0.0, 0.0, 0.0, 0.1]]]])).tolist()
    [[1.0, 1.0, 0.0, 0.0]]

    Taught in notebook 07.
    """
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise ValueError(f"expected one mask a sample, (B, 1, h, w), got {tuple(mask.shape)}")
    hole = (mask > 0).to(torch.promote_types(mask.dtype, torch.float32))
    return 1 - F.max_pool2d(hole, check_odd(k), stride=1, padding=k // 2).flatten(1)


def similarity(query: Tensor, key: Tensor, k: int = 3) -> Tensor:
    r"""How much the patch around each query position resembles each key: (B, L, h, w), unbounded.

    .. math:: s_{ij} = \left\langle q_i, \frac{k_j}{\max(\|k_j\|_2, 10^{-4})} \right\rangle

    with :math:`q_i`, :math:`k_j` the k x k patches of all channels around positions i and j, zeros outside the frame.
    The query is not divided by its norm: a louder feature makes a sharper choice, as a lower temperature would.
    Memory: :math:`k^2` times `query` and `key`, and the table.

    Args:
        query: (B, C, h, w).
        key: (B, C, h', w'), L = h' w'; often the same tensor.
        k: odd side of a patch.

    >>> similarity(torch.tensor([[[[2.0, -1.0]]]]), torch.tensor([[[[3.0, 0.0]]]]), k=1).tolist()
    [[[[2.0, -1.0]], [[0.0, 0.0]]]]

    Taught in notebook 07.
    """
    if query.shape[:2] != key.shape[:2]:
        raise ValueError(f"query and key must agree in batch and channels, got {query.shape[:2]} and {key.shape[:2]}")
    with full_precision(query):
        queries = F.unfold(at_least_float32(query), check_odd(k), padding=k // 2)
        keys = queries if key is query else F.unfold(at_least_float32(key), k, padding=k // 2)
        scores = torch.bmm(F.normalize(keys, dim=1, eps=SMALLEST_NORM).transpose(1, 2), queries)
    return scores.unflatten(2, query.shape[-2:])


def fuse_scores(scores: Tensor, key_size: tuple[int, int], k: int = 3) -> Tensor:
    r"""Scores that count the neighbours' agreement: a place and its neighbour like to copy from neighbours.

    .. math:: s'_{ij} = \sum_{|d| \leq (k - 1) / 2} s_{i + d,\, j + d}

    twice: with positions numbered row by row, so that the neighbours are left and right, then numbered column by
    column, above and below. Scores beyond the first and last position are 0. In between, a numbering runs on from the
    end of a row to the start of the next; the sum does so, too, as in the released code.

    Args:
        scores: :math:`s`, (B, L, h, w).
        key_size: height and width of the map of keys; their product is L.
        k: odd number of scores on a diagonal.

    >>> fuse_scores(torch.eye(3).view(1, 3, 1, 3), (1, 3)).squeeze().tolist()  # 1 1 1 to 2 3 2 to 5 7 5
    [[5.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 5.0]]

    Taught in notebook 07.
    """
    if scores.ndim != 4 or key_size[0] * key_size[1] != scores.shape[1]:
        raise ValueError(f"{scores.shape[1]} keys do not make a map of {key_size[0]} x {key_size[1]}")
    check_odd(k)
    for _ in range(2):  # each pass leaves the other order behind: after two of them all is as it was
        scores = diagonal_sum(scores.flatten(2), k).unflatten(2, scores.shape[-2:])
        scores = scores.unflatten(1, tuple(key_size)).permute(0, 2, 1, 4, 3).flatten(1, 2)
        key_size = key_size[::-1]
    return scores


def diagonal_sum(table: Tensor, k: int) -> Tensor:
    r"""Sum of k neighbours on each diagonal of a (B, L, N) table, zeros beyond its ends."""
    n_rows, n_columns = table.shape[1:]
    padded = F.pad(table, (k // 2,) * 4)
    total = table
    for d in [*range(k // 2), *range(k // 2 + 1, k)]:  # the middle one is `table`
        total = total + padded[:, d : d + n_rows, d : d + n_columns]
    return total


def attention(scores: Tensor, valid: Tensor, scale: float = 10.0) -> Tensor:
    r"""Shares of the keys at every place: (B, L, h, w) in [0, 1], exactly 0 for keys that may not be copied.

    .. math:: a_{ij} = v_j \operatorname{softmax}_j(\lambda\, s_{ij}\, v_j)

    As in the released codes, a key that may not be copied enters the softmax with the score 0 and leaves afterwards: it
    keeps its share of the sum, and shares add up to *at most* 1. With features of usual size they miss nothing to speak
    of, with faint ones or few valid keys a filling becomes dim. Where no key is valid all shares are exactly 0, where a
    score of minus infinity would give 0 / 0.

    Args:
        scores: :math:`s`, (B, L, h, w).
        valid: :math:`v`, (B, L), 0 or 1; see `valid_keys`.
        scale: :math:`\lambda`, the inverse temperature.

    >>> attention(torch.zeros(1, 2, 1, 1), torch.tensor([[1.0, 0.0]])).flatten().tolist()
    [0.5, 0.0]

    Taught in notebook 07.
    """
    if valid.shape != scores.shape[:2]:
        raise ValueError(f"expected one value a key, shape {tuple(scores.shape[:2])}, got {tuple(valid.shape)}")
    with full_precision(scores):
        keep = at_least_float32(valid)[..., None, None]
        return torch.softmax(at_least_float32(scores) * (scale * keep), dim=1) * keep


def paste(weights: Tensor, value: Tensor, rate: int, *, patch: int | None = None, overlap_mean: bool = True) -> Tensor:
    r"""Patches of `value` laid out in the shares that `weights` gives: (B, C, rate h, rate w).

    .. math:: y = \left(\frac{r}{p}\right)^2 \sum_i \mathrm{place}_i\Big(\sum_j a_{ij} V_j\Big)

    with :math:`V_j` the p x p patch around the j-th cell of r x r positions of `value` (zeros outside the frame), and
    :math:`\mathrm{place}_i` laying it around the i-th cell of the result: a transposed convolution of stride r. The
    factor, which ``overlap_mean=False`` leaves out, is one over the mean number of patches upon a position.

    With p = 2 r each position lies under 2 x 2 patches, those of the outermost r / 2 rows and columns under half as
    many. So shares that add up to 1 reproduce a constant feature exactly inside, 1/2 of it on those edges and 1/4 in
    the corners; without the factor 4, 2 and 1 times it. This holds where the copied keys are not at the frame
    themselves, beyond which their patches are 0. For p = r patches lie side by side, and all is exact. For p = 3, r = 2
    coverage alternates between 1, 2 and 4, which layers that follow have to put right.
    Memory: :math:`(p / r)^2` times `value` and the result.

    Args:
        weights: :math:`a`, (B, L, h, w).
        value: (B, C, rate h', rate w'), L = h' w'.
        rate: :math:`r`, positions of `value` to a key, along each side.
        patch: :math:`p`, ``2 * rate`` by default, at least ``rate``.
        overlap_mean: whether to divide by :math:`(p / r)^2`; DeepFill and PEN-Net do (4), HiFill does not.

    >>> paste(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 2, 2), 2).tolist()  # a single cell: nothing but corners
    [[[[0.25, 0.25], [0.25, 0.25]]]]

    Taught in notebook 07.
    """
    patch = 2 * rate if patch is None else patch
    check_paste(weights, value, rate, patch)
    before = (patch - rate) // 2  # an odd surplus goes to the right and below, as TensorFlow's "SAME" has it
    after = patch - rate - before
    height, width = (rate * side for side in weights.shape[-2:])
    with full_precision(value):
        padded = F.pad(at_least_float32(value), (before, after, before, after))
        patches = torch.bmm(F.unfold(padded, patch, stride=rate), at_least_float32(weights.flatten(2)))
        laid = F.fold(patches, (height + patch - rate, width + patch - rate), patch, stride=rate)
    laid = laid[..., before : before + height, before : before + width]
    return laid * (rate / patch) ** 2 if overlap_mean else laid


def check_paste(weights: Tensor, value: Tensor, rate: int, patch: int) -> None:
    height, width = value.shape[-2:]
    if rate < 1 or patch < rate:
        raise ValueError(f"patches of side {patch} at every {rate} positions leave gaps; patch must be at least rate")
    if height % rate or width % rate or (height // rate) * (width // rate) != weights.shape[1]:
        raise ValueError(
            f"a value of {height} x {width} at rate {rate} does not make the {weights.shape[1]} patches of the weights"
        )


def check_odd(k: int) -> int:
    if k < 1 or k % 2 == 0:
        raise ValueError(f"a patch needs a middle: its side must be odd, got {k}")
    return k


def at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
