r"""The methods that are compared, under one interface: what each is, its networks, its losses, its settings.

All take a picture (B, 3, H, W) in [-1, 1] and a mask (B, 1, H, W), 1 = hole, and predict every pixel; `aotlib.padding`
brings other sizes to theirs. AOT-GAN's own layers and losses are `aotlib.model` and `aotlib.losses`, those of the
others the modules of `aotlib.baselines`.

Taught in notebook 07.
"""

import dataclasses
import functools
import inspect
from types import ModuleType

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from aotlib import model
from aotlib.baselines import ca, context_encoder, edge_connect, gated_conv, hifill, mnps, pconv, pen_net
from aotlib.config import TrainConfig

AOT = {
    "label": "AOT-GAN",
    "title": "Aggregated Contextual Transformations for High-Resolution Image Inpainting",
    "authors": "Zeng, Fu, Chao, Guo",
    "venue": "TVCG",
    "year": 2022,
    "paper": "https://arxiv.org/abs/2104.01431",
    "code": "https://github.com/researchmm/AOT-GAN-for-Inpainting",
    "licence": "Apache-2.0",
    "weights": "The authors link to G*.pt files; `Generator.from_released` reads them, every tensor in its place.",
}

AOT_ONLY = ("recipe", "design", "n_blocks", "rates", "init", "weight_adv", "weight_rec", "weight_per", "weight_sty")
AOT_ONLY += ("block", "gate", "soft_size", "soft_sigma")


@dataclasses.dataclass(frozen=True)
class Method:
    r"""One method: who published it, and how its networks are built.

    Attributes:
        name: of its run, and of the parameter `method`.
        module: holds `WEIGHTS`, `STAGES`, `SETTINGS` and the losses; None for AOT-GAN, whose step is `aotlib.step`.
        network, critic_of: classes of what fills and of what judges; `critic_of` is None where nothing judges.
        trained_as: the method whose training makes its weights; another one where it has none of its own.
    """

    name: str
    label: str
    title: str
    authors: str
    venue: str
    year: int
    paper: str
    code: str
    licence: str
    weights: str
    network: type[nn.Module]
    critic_of: type[nn.Module] | None
    module: ModuleType | None
    trained_as: str

    def build(self, width: int | None = None, *, seed: int = 0, **options) -> nn.Module:
        r"""The network that fills, with the paper's widths where none is given; `options` are its constructor's."""
        return self.network(**({"width": width} if width else {}), **options, seed=seed)

    def critic(self, width: int | None = None, *, seed: int = 0, **options) -> nn.Module:
        r"""The network that judges; one without parameters where the method has none.

        `width` is that of the network that fills: the two keep the paper's ratio. Of `options` those are used that the
        critic knows, such as the size of what it sees.

        >>> METHODS["ca"].critic(8).options["width"]
        16
        """
        if self.critic_of is None:
            return nn.Module()
        known = inspect.signature(self.critic_of).parameters
        kept = {key: value for key, value in options.items() if key in known}
        if width:
            full = inspect.signature(self.network).parameters["width"].default
            kept["width"] = round(width * known["width"].default / full)
        return self.critic_of(**kept, seed=seed)

    @functools.cached_property
    def parameters(self) -> int:
        r"""Of the network that fills, at the paper's widths."""
        return n_parameters(self.build())

    def macs(self, size: int = 256, width: int | None = None, **options) -> int:
        r"""Multiply-adds of one prediction of size x size px: convolutions and matrix products, attention included.

        Of MNPS those of its content network; its optimisation comes on top (`aotlib.contest.costs`).
        """
        network = self.build(width, **options).eval()
        return count_macs(getattr(network, "content", network), size)

    def options_at(self, size: int) -> dict:
        r"""What constructors must know of the pictures' side, as far as they ask: 64 px take fewer levels than 512."""
        return self.module.options_at(size) if hasattr(self.module, "options_at") else {}

    def stages(self) -> tuple[str, ...]:
        return self.module.STAGES if self.module else ("",)

    def stage_at(self, step: int, steps: int) -> str:
        r"""The stage that step number `step` (the first is 0) of `steps` belongs to; each has an equal share."""
        names = self.stages()
        return names[min(step * len(names) // steps, len(names) - 1)]

    @property
    def critic_steps(self) -> int:
        return int(self.module.SETTINGS["critic_steps"])

    def settings(self) -> dict[str, float]:
        r"""The paper's width, crops and optimiser as fields of `TrainConfig`, as far as they are known.

        >>> METHODS["ca"].settings()
        {'width': 32, 'lr': 0.0001, 'beta1': 0.5, 'beta2': 0.9, 'batch': 16, 'size': 256}
        """
        if self.module is None:
            return {}
        known = {field.name for field in dataclasses.fields(TrainConfig)}
        found = {"width": inspect.signature(self.network).parameters["width"].default} | self.module.SETTINGS
        return {key: value for key, value in found.items() if key in known}

    @property
    def uses_features(self) -> bool:
        r"""Whether the losses look at a feature network."""
        return self.module is None or any(name.startswith(("style", "perceptual")) for name in self.module.WEIGHTS)

    def unused(self, config: TrainConfig) -> list[str]:
        r"""AOT-GAN's own options in `config` that are not at their defaults, though this method has none of them.

        >>> METHODS["ca"].unused(TrainConfig(method="ca", design="patchgan", lr=0.1))
        ['design']
        """
        return [key for key in AOT_ONLY if self.module and getattr(config, key) != getattr(TrainConfig(), key)]


def n_parameters(network: nn.Module) -> int:
    r"""Of all tensors that training changes.

    >>> n_parameters(nn.Conv2d(1, 1, 3))
    10
    """
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def count_macs(network: nn.Module, size: int) -> int:
    r"""Multiply-adds of ``network(image, mask)`` for one picture of size x size px, half of it a hole."""
    image, mask = torch.zeros(1, 3, size, size), torch.zeros(1, 1, size, size)
    mask[..., : size // 2] = 1
    with FlopCounterMode(display=False) as counter:
        network(image, mask)
    return counter.get_total_flops() // 2


def _rival(name: str, network: type[nn.Module], module: ModuleType, trained_as: str = "") -> Method:
    critic = getattr(module, "Critic", None)
    return Method(name, **module.ABOUT, network=network, critic_of=critic, module=module, trained_as=trained_as or name)


METHODS = {  # by year, AOT-GAN last
    entry.name: entry
    for entry in (
        _rival("context_encoder", context_encoder.ContextEncoder, context_encoder),
        _rival("mnps", mnps.MNPS, mnps, trained_as="context_encoder"),
        _rival("ca", ca.ContextualAttention, ca),
        _rival("pconv", pconv.PConv, pconv),
        _rival("pen_net", pen_net.PENNet, pen_net),
        _rival("edge_connect", edge_connect.EdgeConnect, edge_connect),
        _rival("gated_conv", gated_conv.GatedConv, gated_conv),
        _rival("hifill", hifill.HiFill, hifill),
        Method("aot", **AOT, network=model.Generator, critic_of=model.Discriminator, module=None, trained_as="aot"),
    )
}
