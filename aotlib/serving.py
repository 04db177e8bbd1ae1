r"""A generator trained at one size that fills pictures of another: its dilation rates chosen anew, or gone round.

AOT-GAN's authors name the limit: rates are chosen by hand, and are to be chosen again for another size of picture. The
weights of a convolution fit any rate, so that a trained generator can be served with others without training it again.
Which way was worth it is measured by ``data/compare_serving.py``. Taught in notebook 08.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aotlib.choices import check_choice
from aotlib.metrics import about
from aotlib.model import Generator
from aotlib.padding import at_size

WAYS = ("fixed", "resized", "scaled", "spread", "chosen")
CANDIDATES = ("fixed", "scaled", "spread")  # whose rates `chosen` tries
DEFAULT_WAY = "fixed"  # what `default_way` says of results/reference/serving/differences.csv
Rates = tuple[int, ...]
Network = Callable[[Tensor, Tensor], Tensor]


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


class Serving(nn.Module):
    r"""A trained generator that predicts at other sizes, in one of `WAYS`; its weights are shared, not copied.

    At the trained size every way is the generator itself. A side is the shorter one of a picture.

    ``fixed``: the rates as trained. ``resized``: the picture is brought to the trained size, and the prediction back
    (`aotlib.padding.at_size`). ``scaled``, ``spread``: other rates (`scaled_rates`, `spread_rates`). ``chosen``: for
    each picture those of the three sets of rates that fill a hole of the same shape elsewhere, where the truth is
    known, with the smallest error (`trial_hole`). ``auto``: `DEFAULT_WAY`.

    Args:
        generator: AOT-GAN's; another method's has no rates.
        trained_size: side of the crops that it learnt from last, pixels.
        seed: of the places where ``chosen`` hides what is known.

    Attributes:
        used: how many pictures were predicted with which rates since it was made; ``resized`` does not count.

    Raises:
        ValueError: for a way that there is not, and for a trained size that the generator itself cannot take.

    >>> serving = Serving(Generator(4, 1), trained_size=64, way="scaled")
    >>> serving(torch.zeros(1, 3, 128, 128), torch.ones(1, 1, 128, 128)).shape, serving.rates_at(128)
    (torch.Size([1, 3, 128, 128]), (2, 4, 8, 16))

    Taught in notebook 08.
    """

    def __init__(self, generator: Generator, trained_size: int, way: str = "auto", *, seed: int = 0) -> None:
        super().__init__()
        way = check_choice("way", way, (*WAYS, "auto"))
        self.way, self.trained_size, self.seed = DEFAULT_WAY if way == "auto" else way, trained_size, seed
        if not isinstance(generator, Generator):
            raise ValueError(f"only AOT-GAN's generator has dilation rates, got a {type(generator).__name__}")
        if trained_size % generator.multiple or trained_size < generator.smallest:
            raise ValueError(
                f"trained_size is {trained_size} px, but with rates {generator.options['rates']} a generator learns "
                f"from multiples of {generator.multiple} from {generator.smallest} px on; its card says the crops' side"
            )
        self.generator, self.multiple = generator, generator.multiple
        self.smallest = generator.smallest if self.way == "fixed" else 2 * generator.multiple  # rate 1 reflects there
        self.built: dict[Rates, Generator] = {}
        self.used: Counter[Rates] = Counter()

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1], as of the generator; what lies under the hole is never read."""
        self.check_size(image, mask)
        if self.way == "resized":
            return at_size(self.generator, image, mask, self.trained_size)
        if self.way == "chosen":
            parts = zip(image.split(1), mask.split(1), strict=True)
            return torch.cat([self.predict(self.chosen_rates(x, m), x, m) for x, m in parts])
        return self.predict(self.rates_at(min(image.shape[-2:])), image, mask)

    def predict(self, rates: Rates, image: Tensor, mask: Tensor) -> Tensor:
        self.used[rates] += len(image)
        return self.network(rates)(image, mask)

    def check_size(self, image: Tensor, mask: Tensor) -> None:
        if image.ndim != 4 or mask.shape != (image.shape[0], 1, *image.shape[2:]):
            self.generator.check_size(image, mask)  # its words
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple or min(height, width) < self.smallest:
            raise ValueError(
                f"sides must be multiples of {self.multiple} and at least {self.smallest} px for the way "
                f"{self.way!r}, got {height} x {width}; pad the image and crop the result (`aotlib.padding`)"
            )

    def rates_at(self, side: int, way: str | None = None) -> Rates:
        r"""The rates for a picture of that shorter side; of `way`, where another than its own is asked for.

        ``chosen`` has none before it has seen the picture: `chosen_rates`.
        """
        rates, way = self.generator.options["rates"], way or self.way
        if way == "chosen":
            raise ValueError("the way 'chosen' decides picture by picture: ask chosen_rates(image, mask)")
        if way == "scaled":
            return scaled_rates(rates, self.trained_size, side)
        if way == "spread":
            return spread_rates(rates, self.trained_size, side, self.generator.options["n_blocks"])
        return rates

    def network(self, rates: Rates) -> Generator:
        r"""The generator with other rates: the same tensors, in other blocks; itself for its own rates."""
        if rates == self.generator.options["rates"]:
            return self.generator
        ours = next(self.generator.parameters())
        kept = self.built.get(rates)
        if kept is None or next(kept.parameters()).data_ptr() != ours.data_ptr():  # moved to another device meanwhile
            with torch.device("meta"):
                kept = self.built[rates] = Generator(**self.generator.options | {"rates": rates})
            kept.load_state_dict(self.generator.state_dict(), assign=True)
        return kept.train(self.generator.training)

    @torch.no_grad()
    def chosen_rates(self, image: Tensor, mask: Tensor) -> Rates:
        r"""Of the sets of rates that `CANDIDATES` give, the one with the smallest error in `trial_hole`.

        Those as trained where nothing can be tried: without a hole, or where nothing is known.

        Args:
            image: (1, 3, H, W) in [-1, 1]; mask: (1, 1, H, W), 1 = hole.
        """
        side = min(image.shape[-2:])
        fits = [way for way in CANDIDATES if way != "fixed" or side >= self.generator.smallest]
        sets = list(dict.fromkeys(self.rates_at(side, way) for way in fits))
        return sets[lowest([self.network(rates) for rates in sets], image, mask, self.seed)]


def lowest(networks: Sequence[Network], image: Tensor, mask: Tensor, seed: int) -> int:
    r"""The place of the network with the smallest mean absolute error in the trial hole of one picture; of equal ones
    the first, and so where there is one network only, or no pixel to try."""
    trial = trial_hole(mask, seed)
    if len(networks) == 1 or not trial.any():
        return 0
    known = image * (1 - mask)
    both = torch.maximum(mask, trial)
    errors = [((network(known, both) - known).abs() * trial).sum().item() for network in networks]
    return errors.index(min(errors))


def trial_hole(mask: Tensor, seed: int, n_draws: int = 8) -> Tensor:
    r"""The hole's own shape moved to known places, (1, 1, H, W), 1 = hidden for a trial; never where the hole is.

    Of `n_draws` moves from the seed, each round the picture's edges, the one that hides of the known pixels a share
    nearest to that of the hole in the picture.

    >>> trial_hole(torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]]), seed=0).sum()
    tensor(1.)

    Taught in notebook 08.
    """
    height, width = mask.shape[-2:]
    known, rng = 1 - mask, np.random.default_rng(seed)
    moves = (rng.random((n_draws, 2)) * (height, width)).astype(int).tolist()
    moved = [torch.roll(mask, move, (-2, -1)) * known for move in moves]
    wanted = (mask.mean() * known.sum()).item()
    return min(moved, key=lambda hole: abs(hole.sum().item() - wanted))


def default_way(differences: pd.DataFrame, metric: str = "psnr") -> str:
    r"""The way that a measurement allows as default: ``fixed``, unless another is better beyond chance.

    That is one that is significantly better than ``fixed`` at a size and significantly worse at none; of several the
    one with the largest mean difference.

    Args:
        differences: to ``fixed``, of all sizes: `aotlib.comparison.compare`, or the table of the measurement.

    Taught in notebook 08.
    """
    rows = differences[differences.metric == metric]
    better = {way: set(of_way.better) for way, of_way in rows.groupby("method")}
    found = [way for way, names in better.items() if way in names and "fixed" not in names]
    gains = rows.groupby("method").difference.mean() * (1 if about(metric).higher_is_better else -1)
    return max(found, key=gains.get, default="fixed")
