r"""A generator trained at one size that fills pictures of another: its dilation rates chosen anew, or gone round.

AOT-GAN's authors name the limit: rates are chosen by hand, and are to be chosen again for another size of picture. The
weights of a convolution fit any rate, so that a trained generator can be served with others without training it again.
Which way was worth it is measured by ``data/compare_serving.py``. Taught in notebook 08.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aotlib.choices import check_choice
from aotlib.metrics import about
from aotlib.model import Generator
from aotlib.padding import at_size
from aotlib.rates import Rates, scaled_rates, spread_rates
from aotlib.weights import load_generator, read_card

WAYS = ("fixed", "resized", "scaled", "spread", "chosen")
CANDIDATES = ("fixed", "scaled", "spread")  # whose rates `chosen` tries
RESIZED_FROM = (1024, 192)  # side and trained side from whose ratio on `auto` is ``resized``: `better_ways` of the
# measurement in results/reference/serving
Network = Callable[[Tensor, Tensor], Tensor]


def way_at(side: int, trained_size: int) -> str:
    r"""What ``auto`` is for a picture of that shorter side: the way that was better beyond chance, else ``fixed``.

    It was measured at 2/3, 4/3, 8/3 and 16/3 times the trained side, with one network of four blocks whose fills are
    smooth: for another one measure anew (``data/compare_serving.py``), or name the way.

    >>> way_at(1024, 192), way_at(512, 192)
    ('resized', 'fixed')

    Taught in notebook 08.
    """
    large, small = RESIZED_FROM
    return "resized" if side * small >= large * trained_size else "fixed"


class Serving(nn.Module):
    r"""A trained generator that predicts at other sizes, in one of `WAYS`; its weights are shared, not copied.

    At the trained size every way is the generator itself. A side is the shorter one of a picture.

    ``fixed``: the rates as trained. ``resized``: the picture is brought to the trained size, and the prediction back
    (`aotlib.padding.at_size`). ``scaled``, ``spread``: other rates (`scaled_rates`, `spread_rates`). ``chosen``: for
    each picture those of the three sets of rates that fill a hole of the same shape elsewhere, where the truth is
    known, with the smallest error (`trial_hole`). ``auto``: by the picture's size (`way_at`).

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
        self.way, self.trained_size, self.seed = way, trained_size, seed
        if not isinstance(generator, Generator):
            raise ValueError(f"only AOT-GAN's generator has dilation rates, got a {type(generator).__name__}")
        if trained_size % generator.multiple or trained_size < generator.smallest:
            raise ValueError(
                f"trained_size is {trained_size} px, but with rates {generator.options['rates']} a generator learns "
                f"from multiples of {generator.multiple} from {generator.smallest} px on; its card says the crops' side"
            )
        self.generator, self.multiple = generator, generator.multiple
        as_trained = way in ("fixed", "auto")
        self.smallest = generator.smallest if as_trained else 2 * generator.multiple  # rate 1 reflects there
        self.built: dict[Rates, Generator] = {}
        self.used: Counter[Rates] = Counter()

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        r"""Prediction (B, 3, H, W) in [-1, 1], as of the generator; what lies under the hole is never read."""
        self.check_size(image, mask)
        side = min(image.shape[-2:])
        way = way_at(side, self.trained_size) if self.way == "auto" else self.way
        if way == "resized":
            return at_size(self.generator, image, mask, self.trained_size)
        if way == "chosen":
            parts = zip(image.split(1), mask.split(1), strict=True)
            return torch.cat([self.predict(self.chosen_rates(x, m), x, m) for x, m in parts])
        return self.predict(self.rates_at(side, way), image, mask)

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


def load(path: str | Path, way: str = "auto", *, trained_size: int | None = None, seed: int = 0) -> Serving:
    r"""AOT-GAN's generator in a safetensors file, ready for pictures of any size (`Serving`).

    Args:
        trained_size: side of the crops that it learnt from last, pixels; when not given, what the file says.

    Raises:
        ValueError: where neither is known, and as `Serving` does.

    Taught in notebook 08.
    """
    said = trained_size or int(read_card(path).get("size", 0))
    if not said:
        raise ValueError(f"{path} does not say from which crops it learnt; give trained_size, their side in pixels")
    return Serving(load_generator(path), said, way, seed=seed).eval()


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


def better_ways(differences: pd.DataFrame, metric: str = "psnr") -> dict[str, str]:
    r"""The way that a measurement allows as default, by size: ``fixed``, unless another is better beyond chance.

    That is one that is significantly better than ``fixed`` at this size, and in no metric significantly worse; of
    several the one with the largest mean difference.

    Args:
        differences: to ``fixed``, of all metrics and sizes ("256 px" in `bucket`): the table of the measurement.

    Taught in notebook 08.
    """
    sign, found = 1 if about(metric).higher_is_better else -1, {}
    for size, rows in differences.groupby("bucket", sort=False):
        worse = set(rows.method[rows.better == "fixed"])
        better = rows[(rows.metric == metric) & (rows.better == rows.method) & ~rows.method.isin(worse)]
        found[size] = max(better.method, key=(sign * better.set_index("method").difference).get, default="fixed")
    return found
