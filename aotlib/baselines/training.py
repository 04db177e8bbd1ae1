r"""One training step of any compared method: its critic's updates and its generator's, by the losses of its own paper.

The counterpart of `aotlib.step` for AOT-GAN, on the same state, so that the loop, the log, resuming and the running
average are the same for all. Every method sees the same photographs and masks in the same order; a method whose paper
updates the critic several times a step does so on one batch, for none is to see more photographs than another.

Taught in notebook 07.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aotlib.config import TrainConfig
from aotlib.distributed import Group
from aotlib.features import FeatureNet
from aotlib.hardware import autocast
from aotlib.methods import METHODS, Method

if TYPE_CHECKING:
    from aotlib.step import State

Check = Callable[["State", dict[str, Tensor]], None]


def networks(config: TrainConfig) -> tuple[nn.Module, nn.Module]:
    r"""What fills and what judges, with the seed's initial weights; the latter may be without parameters.

    Raises:
        ValueError: for a side of crops that the network cannot take.
    """
    method = METHODS[config.method]
    options = method.options_at(config.size)
    generator = method.build(config.width, seed=config.seed, **options)
    if config.size % generator.multiple or config.size < generator.smallest:
        at_least = max(generator.smallest, config.size // generator.multiple * generator.multiple)
        raise ValueError(
            f"{method.label} learns from crops whose side is a multiple of {generator.multiple} and at least "
            f"{generator.smallest} px, got size = {config.size}; try {at_least}"
        )
    return generator, method.critic(config.width, seed=config.seed + 1, **{"size": config.size} | options)


def alone(group: Group) -> Group:
    if group.size > 1:
        raise ValueError(f"{group.size} processes cannot share a run of a compared method; start one process a run")
    return group


def play(
    state: "State", batch: dict, features: FeatureNet, config: TrainConfig, check: Check
) -> tuple[float, dict[str, Tensor]]:
    r"""Leave the generator's gradient and make the critic's updates.

    The generator's gradient is of the critic as it was before. `check` is called before any weight is changed, and
    before each update of the critic; it raises where something is not finite.

    Returns:
        The generator's learning rate in this stage, and the value of each loss, unweighted.

    Taught in notebook 07.
    """
    method = METHODS[config.method]
    stage = method.stage_at(state.step, config.steps)
    if hasattr(method.module, "enter"):
        method.module.enter(state.generator, stage)
    x, m = batch["image"], batch["mask"]
    state.discriminator.requires_grad_(False)
    with autocast(state.calls.device, state.calls.dtype):
        outputs = state.calls.generate(x, m)
        parts = method.module.generator_loss(outputs, state.calls.judge, x, m, features, stage)
    total = weighted(parts, weights_for(method.module.WEIGHTS, features))
    state.optimiser_g.zero_grad()
    total.backward()
    state.discriminator.requires_grad_(True)
    values = {name: value.detach() for name, value in parts.items()} | {"total": total.detach()}
    check(state, values)
    lr = config.lr_at(state.step) * method.module.SETTINGS.get("lr_stages", {}).get(stage, 1.0)
    for turn in range(method.critic_steps if state.optimiser_d else 0):
        rng = torch.Generator().manual_seed((config.seed * 1_000_003 + state.step) * 64 + turn)
        values |= critic_update(state, method, outputs, batch, stage, rng, lr, check)
    return lr, values


def critic_update(
    state: "State",
    method: Method,
    outputs: tuple,
    batch: dict,
    stage: str,
    rng: torch.Generator,
    lr: float,
    check: Check,
) -> dict[str, Tensor]:
    r"""One descent of the critic; its learning rate is the method's ratio to the generator's."""
    module = method.module
    with autocast(state.calls.device, state.calls.dtype):
        parts = module.critic_loss(state.calls.discriminate, outputs, batch["image"], batch["mask"], stage, rng=rng)
    if not parts:  # a stage without a critic
        return {}
    total = weighted(parts, module.CRITIC_WEIGHTS)
    state.optimiser_d.zero_grad()
    total.backward()
    values = {name: value.detach() for name, value in parts.items()} | {"dis": total.detach()}
    check(state, values)
    for group in state.optimiser_d.param_groups:
        group["lr"] = lr * module.SETTINGS.get("lr_critic", 1.0)
    state.optimiser_d.step()
    return values


def weights_for(weights: dict[str, float], features: FeatureNet | None) -> dict[str, float]:
    r"""The paper's weights, those of styles divided by how many times narrower than VGG19 the feature network is.

    A Gram matrix is divided by its number of channels, so that with a quarter of them its entries are four times as
    large.
    """
    narrow = features.layers[0].out_channels / 64 if features else 1.0
    return {name: weight * (narrow if name.startswith("style") else 1.0) for name, weight in weights.items()}


def weighted(parts: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    r"""The sum of all parts, each times its weight.

    >>> weighted({"a": torch.tensor(1.0), "b": torch.tensor(2.0)}, {"a": 0.5, "b": 3.0, "c": 1.0}).item()
    6.5
    """
    return torch.stack([weights[name] * value for name, value in parts.items()]).sum()
