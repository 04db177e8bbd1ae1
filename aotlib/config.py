r"""Everything that decides a training run, in one typed place. Taught in notebook 05."""

import dataclasses

from aotlib.blocks import check_recipe
from aotlib.losses import check_design


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    r"""All that decides a run. The defaults are the paper's, where they are known.

    ``recipe="released"`` together with ``design="released", beta1=0.5, beta2=0.999`` is the released code's way.
    Taught in notebook 05.
    """

    data: str = "samples"  # samples, places2, celebahq, openlogo, or a folder with train/ and val/
    data_dir: str = ""  # where that named data set is; empty: data/<name>
    val_split: str = "val"  # split of the held-out pictures that are looked at while training
    masks: str = ""  # folder of mask files (white = hole); empty: generated masks
    mask_low: float = 0.01  # smallest share of the picture that is hole
    mask_high: float = 0.6  # largest
    size: int = 512  # side of a training crop, pixels
    recipe: str = "paper"  # paper or released: gate, hole filling, and what the feature losses look at
    design: str = "sm_patchgan"  # adversarial labels: sm_patchgan, hm_patchgan, patchgan or released
    width: int = 64  # channels of the first layer of both networks
    n_blocks: int = 8  # AOT blocks
    rates: tuple[int, ...] = (1, 2, 4, 8)  # dilation rates of a block
    init: str = "normal"  # of the generator's weights: normal (0.02 at full width, as released) or he
    features: str = "auto"  # network of the feature losses: auto, vgg19, vgg19_conv3 or random
    feature_width: int = 64  # channels of the random network's first layer; VGG19 has 64
    weight_adv: float = 0.01
    weight_rec: float = 1.0
    weight_per: float = 0.1
    weight_sty: float = 250.0
    batch: int = 8  # images a step
    steps: int = 1_000_000  # the released code's; the paper's number is not known
    lr: float = 1e-4  # Adam, both networks
    beta1: float = 0.0
    beta2: float = 0.9
    ema_decay: float = 0.999  # running average of the generator's weights; 0: none. Not in the paper
    seed: int = 0
    workers: int = 2  # processes that read images
    log_every: int = 100  # steps between two lines of the log
    sample_every: int = 1000  # steps between two looks at the held-out pictures
    save_every: int = 1000  # steps between two states on disk
    n_samples: int = 6  # held-out pictures
    device: str = "auto"  # auto, cpu, cuda

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(self.rates))  # a notebook's parameters hold lists
        object.__setattr__(self, "data_dir", self.data_dir or f"data/{self.data}")
        for name in ("sample_every", "save_every", "steps"):
            if getattr(self, name) % self.log_every:
                raise ValueError(f"{name} = {getattr(self, name)} must be a multiple of log_every = {self.log_every}")
        check_recipe(self.recipe)
        check_design(self.design)

    def decides(self) -> dict:
        r"""The fields that decide the weights after a given number of steps; only these must agree on resume."""
        free = {
            "data_dir",
            "val_split",
            "steps",
            "workers",
            "log_every",
            "sample_every",
            "save_every",
            "n_samples",
            "device",
        }
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in free}
