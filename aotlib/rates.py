r"""Dilation rates: what they cost, how far they look, and rules to choose them for another size of picture.

AOT-GAN's authors name the limit: rates are chosen by hand, and are to be chosen again for another size of picture.
`aotlib.serving` serves a trained generator with other rates. Nothing here imports torch. Taught in notebooks 02 and 08.
"""

import math
from collections.abc import Sequence

Rates = tuple[int, ...]


def branch_width(width: int, rates: Sequence[int]) -> int:
    r"""Channels of one branch: `width` split into ``len(rates)`` equal parts.

    >>> branch_width(256, (1, 2, 4, 8))
    64

    Raises:
        ValueError: for rates that are no whole numbers from 1 on, and for a width that they do not divide.

    Taught in notebook 02.
    """
    if isinstance(rates, str) or not rates or not all(isinstance(rate, int) and rate >= 1 for rate in rates):
        given = repr(rates) if isinstance(rates, str) else tuple(rates)
        advice = "rates that follow the size of a picture are chosen when a trained generator fills it: aotlib.serving"
        raise ValueError(f"rates must be a list of whole numbers >= 1, such as [1, 2, 4, 8], got {given}; {advice}")
    if width % len(rates):
        raise ValueError(
            f"{width} channels cannot be split into {len(rates)} equal branches (rates {tuple(rates)}); "
            f"use a width that is a multiple of {len(rates)}, or another number of rates"
        )
    return width // len(rates)


def receptive_field(n_blocks: int, rates: Sequence[int]) -> int:
    r"""Side in pixels of the square of a picture that one pixel of the prediction can depend on.

    .. math:: 28 + 8 n (\max r + 1)

    A block widens the view by :math:`2 \max r` positions of the quarter-size map in its widest branch and by 2 in its
    fusion; encoder and decoder bring the rest (every second pixel sees 4 px more). What the released recipe's gate
    takes from the mean of the whole map does not count.

    >>> receptive_field(8, (1, 2, 4, 8))
    604

    Taught in notebooks 02 (counted by hand) and 08.
    """
    return 28 + 8 * n_blocks * (max(rates) + 1)


def scaled_rates(rates: Sequence[int], trained_size: int, side: int) -> Rates:
    r"""Every rate times ``side / trained_size``, as far as `fitted` lets it.

    >>> scaled_rates((1, 2, 4, 8), 256, 512), scaled_rates((1, 2, 4, 8), 256, 128)
    ((2, 4, 8, 16), (1, 2, 3, 4))

    Taught in notebook 08.
    """
    return fitted([rate * side / trained_size for rate in rates], rates, side)


def spread_rates(rates: Sequence[int], trained_size: int, side: int, n_blocks: int) -> Rates:
    r"""The smallest rate as it was, the largest so that the receptive field covers the same share of the picture.

    Those between keep their place on the logarithmic scale between the two. With one rate there is but a largest.

    .. math:: r' = r_{min} \left(\frac{r'_{max}}{r_{min}}\right)^{\log(r / r_{min}) / \log(r_{max} / r_{min})}

    >>> spread_rates((1, 2, 4, 8), 256, 1024, n_blocks=8)
    (1, 3, 11, 36)

    Taught in notebook 08.
    """
    low, high = min(rates), max(rates)
    wanted = receptive_field(n_blocks, rates) * side / trained_size
    widest = max((wanted - 28) / (8 * n_blocks) - 1, low)
    places = [math.log(rate / low) / math.log(high / low) if high > low else 1 for rate in rates]
    return fitted([low * (widest / low) ** place for place in places], rates, side)


def fitted(wanted: Sequence[float], rates: Sequence[int], side: int) -> Rates:
    r"""`wanted` as whole numbers from 1 to what a picture of `side` px can reflect, ``side // 4 - 1``.

    Where the trained `rates` differ these do too, if there is room: two branches that look at the same places would
    leave others to nobody.

    >>> fitted([0.5, 1.0, 2.0, 4.0], (1, 2, 4, 8), 128), fitted([0.5, 1.0, 2.0, 4.0], (1, 2, 4, 8), 16)
    ((1, 2, 3, 4), (1, 2, 3, 3))
    """
    found, last, most = {}, 0, side // 4 - 1
    for rate, value in sorted(zip(rates, wanted, strict=True)):
        if rate not in found:
            last = found[rate] = min(max(math.floor(value + 0.5), last + 1), most)
    return tuple(found[rate] for rate in rates)
