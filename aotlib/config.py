r"""Everything that decides a training run, in one typed place. Taught in notebook 05."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from aotlib.choices import check_choice
from aotlib.rates import branch_width

STAGED = ("pconv", "edge_connect")  # methods whose steps are divided into stages


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    r"""All that decides a run. The defaults are the paper's, where they are known.

    ``recipe="released"`` together with ``design="released", beta1=0.5, beta2=0.999`` is the released code's way.
    Taught in notebook 05.
    """

    method: Literal[  # whose networks and losses; the fields up to weight_sty are AOT-GAN's, unless others know them
        "aot", "context_encoder", "ca", "pconv", "pen_net", "edge_connect", "gated_conv", "hifill"
    ] = "aot"
    data: str = "samples"  # samples, places2, celebahq, openlogo, or a folder with train/ and val/
    data_dir: str = ""  # where that named data set is; empty: data/<name>
    val_split: str = "val"  # split of the held-out pictures that are looked at while training
    masks: str = ""  # folder of mask files (white = hole); empty: generated masks
    mask_low: float = 0.01  # smallest share of the picture that is hole
    mask_high: float = 0.6  # largest
    size: int = 512  # side of a training crop, pixels
    crop_low: float = 0.3  # smallest share of a photograph that a crop shows; the released code's is 0.08
    recipe: Literal["paper", "released"] = "paper"  # gate, hole filling, and what the feature losses look at
    design: Literal["sm_patchgan", "hm_patchgan", "patchgan", "released", "mmagic"] = (
        "sm_patchgan"  # adversarial labels
    )
    soft_size: int = 70  # side of sm_patchgan's Gaussian window, pixels, even
    soft_sigma: float = 10.0  # of that Gaussian, pixels
    width: int = 64  # channels of the first layer of both networks
    n_blocks: int = 8  # AOT blocks
    rates: tuple[int, ...] = (1, 2, 4, 8)  # dilation rates of a block
    block: Literal["aot", "residual"] = "aot"  # residual: one branch of rate 2, the plain block of the paper's figure
    gate: Literal["recipe", "none", "paper", "released"] = "recipe"  # recipe: its own; none: the identity is added
    init: Literal["normal", "he"] = "normal"  # of the generator's weights: 0.02 at full width, as released, or He's
    start_from: str = ""  # weights file (.safetensors) of a generator to go on from; empty: initial weights
    features: Literal["auto", "vgg19", "vgg19_conv3", "random"] = "auto"  # network of the feature losses
    feature_width: int = 64  # channels of the random network's first layer; VGG19 has 64
    weight_adv: float = 0.01  # a loss of weight 0 is not computed
    weight_rec: float = 1.0
    weight_per: float = 0.1
    weight_sty: float = 250.0
    batch: int = 8  # images a step, over all processes
    steps: int = 1_000_000  # the released code's; the paper's number is not known
    lr: float = 1e-4  # Adam, both networks
    lr_fall: float = 0.0  # last share of the steps in which lr falls linearly to 0; not in the paper
    beta1: float = 0.0
    beta2: float = 0.9
    ema_decay: float = 0.999  # running average of the generator's weights; 0: none. Not in the paper
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of convolutions; auto: the processor's fast one
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"  # of pictures in memory; auto: the faster one
    compile: Literal["auto", "on", "off"] = "auto"  # torch.compile; auto: on a GPU, in long runs
    deterministic: bool = False  # on a GPU: repeatable as far as torch can, and slower
    on_bad_loss: Literal["stop", "skip"] = "stop"  # at a loss or gradient that is not finite
    best_by: Literal["val_hole_l1", "val_psnr"] = "val_hole_l1"  # which looked-at generator is kept as the best
    processes: int = 1  # that train together, one a GPU; 0: as many as there are GPUs
    workers: int = 2  # processes that read images, for each that trains
    log_every: int = 100  # steps between two lines of the log
    sample_every: int = 1000  # steps between two looks at the held-out pictures
    save_every: int = 1000  # steps between two states on disk
    n_samples: int = 6  # held-out pictures
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(self.rates))  # a notebook's parameters hold lists
        object.__setattr__(self, "data_dir", self.data_dir or str(Path("data", self.data)))
        for field in dataclasses.fields(self):
            if get_origin(field.type) is Literal:
                check_choice(field.name, getattr(self, field.name), get_args(field.type))
        if self.mask_low > self.mask_high:
            raise ValueError(f"mask_low = {self.mask_low} is larger than mask_high = {self.mask_high}")
        self._check_weights()
        if self.soft_size < 2 or self.soft_size % 2 or self.soft_sigma <= 0:
            window = f"soft_size = {self.soft_size}, soft_sigma = {self.soft_sigma}"
            raise ValueError(f"the soft mask's window needs an even side and a sigma above 0, got {window}")
        if self.size % 4:
            raise ValueError(f"size must be a multiple of 4, got {self.size}")
        if self.method == "aot" and self.block == "aot":
            self._check_rates()
        counts = ("size", "width", "n_blocks", "batch", "steps", "n_samples", "log_every", "sample_every", "save_every")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("sample_every", "save_every", "steps"):
            if getattr(self, name) % self.log_every:
                raise ValueError(f"{name} = {getattr(self, name)} must be a multiple of log_every = {self.log_every}")
        for name in ("mask_low", "mask_high", "crop_low", "lr_fall", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name)}")

    def _check_weights(self) -> None:
        weights = {f"weight_{name}": getattr(self, f"weight_{name}") for name in ("adv", "rec", "per", "sty")}
        if wrong := [f"{name} = {value}" for name, value in weights.items() if not value >= 0]:
            raise ValueError(f"{wrong[0]}: a loss is weighted with 0 or more; 0 leaves it out")
        if not any(weights.values()):
            raise ValueError("all loss weights are 0: nothing would be learnt; give at least one of them")

    def _check_rates(self) -> None:
        branch_width(4 * self.width, self.rates)
        if self.size < (smallest := 4 * (max(self.rates) + 1)):
            raise ValueError(f"a rate of {max(self.rates)} needs crops of {smallest} px or more, size is {self.size}")

    @classmethod
    def of(cls, parameters: Mapping[str, object]) -> "TrainConfig":
        r"""The configuration that `parameters`, such as a notebook's, decide; others than its fields are left out."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in parameters.items() if name in known})

    def decides(self) -> dict:
        r"""The fields that decide the weights after a given number of steps; only these must agree on resume."""
        free = {
            "data_dir",
            "val_split",
            "start_from",  # known by its content, not by its name
            "on_bad_loss",
            "best_by",
            "processes",  # same batches, same order; sums differ in their last digits
            "workers",
            "log_every",
            "sample_every",
            "save_every",
            "n_samples",
            "device",
        }
        if not self.lr_fall and self.method not in STAGED:
            free.add("steps")  # else the learning rate, or the stage, depends on how long the run is to be
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in free}

    def lr_at(self, step: int) -> float:
        r"""Learning rate of step number `step` (the first is 0).

        >>> config = TrainConfig(steps=1000, lr=0.4, lr_fall=0.5)
        >>> [round(config.lr_at(step), 3) for step in (0, 500, 750, 999)]
        [0.4, 0.4, 0.2, 0.001]
        """
        falling = self.lr_fall * self.steps
        left = self.steps - step
        return self.lr * min(1.0, left / falling) if falling else self.lr
