r"""One training step: of AOT-GAN here, two networks, two losses, no gradient across; of others by `aotlib.baselines`.

Lean in what it computes, exact in what it returns: VGG19 sees photographs without gradient and stops at its deepest
tap, the discriminator is frozen while it judges for the generator, and in its own pass sees photographs and composites
as one batch. Convolutions may run in bfloat16; losses, Gram matrices, the gate's standardisation and spectral norms
are float32. Taught in notebook 05.
"""

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aotlib import losses, records
from aotlib.baselines import training as rivals
from aotlib.config import TrainConfig
from aotlib.distributed import Group, any_of, shared
from aotlib.features import FeatureNet
from aotlib.hardware import LAYOUTS, autocast, compilation, compiled, pick_compile, pick_layout, pick_precision
from aotlib.masks import composite
from aotlib.model import Discriminator, Generator
from aotlib.undo import undoing


class NotFinite(FloatingPointError):
    r"""A loss or a gradient is infinite or not a number; no weight has been changed. `values` has the losses."""

    def __init__(self, text: str, values: dict[str, float]) -> None:
        super().__init__(text)
        self.values = values


@dataclasses.dataclass
class State:
    r"""All that a step changes: two networks, the generator's running average, two optimisers, and counts.

    Attributes:
        step: steps made.
        skipped: of them, those whose losses were not finite and that changed no weight.
        sums: of the losses since the last line of the log, by name.
        best: step and score of the best generator so far, and a digest of what was looked at.
        calls: how the networks are called in training; they may be compiled, or share their gradients.
    """

    generator: nn.Module
    discriminator: nn.Module
    average: AveragedModel
    optimiser_g: torch.optim.Optimizer
    optimiser_d: torch.optim.Optimizer | None
    calls: "Calls"
    step: int = 0
    skipped: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    best: dict[str, float | str] = dataclasses.field(default_factory=dict)

    def parts(self) -> dict:
        r"""What has a ``state_dict``, by name."""
        names = ("generator", "discriminator", "average", "optimiser_g", "optimiser_d")
        return {name: part for name in names if (part := getattr(self, name)) is not None}

    def counts(self) -> dict:
        r"""The rest, plain numbers."""
        return {name: getattr(self, name) for name in ("step", "skipped", "sums", "best")}


@dataclasses.dataclass
class Calls:
    r"""The networks as they are called in training, the device and number format they run in, and the group."""

    generate: Callable[[Tensor, Tensor], Tensor]  # with gradient
    judge: Callable[[Tensor], Tensor]  # the discriminator in the generator's pass, frozen
    discriminate: Callable[[Tensor], Tensor]  # in its own
    device: torch.device
    dtype: torch.dtype
    layout: torch.memory_format
    compiled: bool
    group: Group

    def ran(self) -> dict[str, str]:
        r"""On what and how the networks have been called, for the record: what every ``auto`` came to."""
        layout = next(name for name, kind in LAYOUTS.items() if kind == self.layout)
        found = {"device": records.device_name(self.device.type), "precision": str(self.dtype).removeprefix("torch.")}
        return found | {"layout": layout, "compile": compilation() if self.compiled else "off"}


def build(config: TrainConfig, device: torch.device, group: Group = Group()) -> State:  # noqa: B008 (immutable)
    r"""Networks with the seed's initial weights, Adam for each, in the format and layout that suit `device`."""
    layout = pick_layout(config.layout, device, config.width, config.method)
    where = {"device": device, "memory_format": layout}
    shape = (config.width, config.n_blocks, config.rates, config.recipe, config.init, config.block, config.gate)
    if config.method == "aot":
        generator, discriminator = Generator(*shape, seed=config.seed), Discriminator(config.width, config.seed + 1)
    else:
        generator, discriminator = rivals.networks(config)
    generator, discriminator = generator.to(**where), discriminator.to(**where)
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True).eval()
    adam = {"lr": config.lr, "betas": (config.beta1, config.beta2), "fused": True}
    optimiser_g = torch.optim.Adam(generator.parameters(), **adam)
    optimiser_d = torch.optim.Adam(judging, **adam) if (judging := list(discriminator.parameters())) else None
    calls = connect(generator, discriminator, config, device, layout, group)
    return State(generator, discriminator, average, optimiser_g, optimiser_d, calls)


def connect(
    generator: nn.Module,
    discriminator: nn.Module,
    config: TrainConfig,
    device: torch.device,
    layout: torch.memory_format,
    group: Group,
) -> Calls:
    if config.method != "aot":
        dtype = pick_precision(config.precision, device)
        return Calls(generator.outputs, discriminator, discriminator, device, dtype, layout, False, rivals.alone(group))
    generate, judge = shared(generator, group, device), discriminator
    discriminate = shared(discriminator, group, device)
    compile_ = pick_compile(config.compile, device, config.steps)
    if compile_:
        generate, judge, discriminate = (compiled(call) for call in (generate, judge, discriminate))
    dtype = pick_precision(config.precision, device)
    return Calls(generate, judge, discriminate, device, dtype, layout, compile_, group)


def training_step(state: State, batch: dict, features: FeatureNet, config: TrainConfig) -> dict[str, Tensor]:
    r"""One descent of :math:`L` in the generator's weights and one of :math:`L_D` in the discriminator's.

    Args:
        batch: ``image`` (B, 3, H, W) in [-1, 1] and ``mask`` (B, 1, H, W), 1 = hole, on the device.

    Returns:
        The value of each loss, without gradient.

    Raises:
        NotFinite: before any weight is changed.

    Taught in notebook 05.
    """
    undo = undoing(state, config)
    lr = config.lr_at(state.step)
    try:
        if config.method == "aot":
            z, values = generator_gradients(state, batch, features, config)
            values |= discriminator_gradients(state, batch, z, config)
            check_finite(state, values)
            set_rate(state.optimiser_d, lr)
            state.optimiser_d.step()
        else:
            lr, values = rivals.play(state, batch, features, config, check_finite)
    except NotFinite:
        undo()
        raise
    set_rate(state.optimiser_g, lr)
    state.optimiser_g.step()
    state.average.update_parameters(state.generator)
    return values


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


def generator_gradients(
    state: State, batch: dict, features: FeatureNet, config: TrainConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Leave the gradient of :math:`L` in the generator's weights, and none in the discriminator's.

    Returns:
        The composite :math:`z` (B, 3, H, W), without gradient, and the value of each loss.

    Taught in notebook 05.
    """
    x, m = batch["image"], batch["mask"]
    state.discriminator.eval().requires_grad_(False)  # no gradient of L leaks into D, nor does its spectral norm move
    with_features = bool(config.weight_per or config.weight_sty)
    with autocast(state.calls.device, state.calls.dtype):
        prediction = state.calls.generate(x, m).float()
        z = composite(prediction, x, m)
        if with_features:
            seen = z if config.recipe == "paper" else prediction  # the released code shows VGG the raw prediction
            with torch.no_grad():
                real = features(x)
            fake = features(seen)
        if config.weight_adv:
            scores = state.calls.judge(z)
    parts = {}
    if config.weight_rec:
        parts["rec"] = losses.l1(prediction, x)
    if config.weight_per:
        parts["per"] = losses.perceptual(fake, real, features.perceptual_taps)
    if config.weight_sty:
        parts["sty"] = losses.style(fake, real, features.style_taps, config.recipe)
    if config.weight_adv:
        parts["adv"] = losses.generator_loss(scores, m, config.design)
    total = sum(getattr(config, f"weight_{name}") * value for name, value in parts.items())
    state.optimiser_g.zero_grad()
    total.backward()
    state.discriminator.train().requires_grad_(True)
    return z.detach(), {name: value.detach() for name, value in parts.items()} | {"total": total.detach()}


def discriminator_gradients(state: State, batch: dict, z: Tensor, config: TrainConfig) -> dict[str, Tensor]:
    r"""Leave the gradient of :math:`L_D` in the discriminator's weights; photographs and composites are one batch.

    Returns:
        The value of the loss; nothing where the adversarial weight is 0.

    Taught in notebook 05.
    """
    state.optimiser_d.zero_grad()
    if not config.weight_adv:
        return {}
    with autocast(state.calls.device, state.calls.dtype):
        real, fake = state.calls.discriminate(torch.cat([batch["image"], z])).chunk(2)
    soft = {"size": config.soft_size, "sigma": config.soft_sigma}
    loss = losses.discriminator_loss(real, fake, batch["mask"], config.design, **soft)
    loss.backward()
    return {"dis": loss.detach()}


def check_finite(state: State, values: dict[str, Tensor]) -> None:
    r"""Raise `NotFinite`, in every process of the group, when a loss or gradient is not finite in one of them."""
    found = list(values.values())
    for network in (state.generator, state.discriminator):
        if gradients := [p.grad for p in network.parameters() if p.grad is not None]:
            found.append(nn.utils.get_total_norm(gradients))
    bad = ~torch.stack([value.float() for value in found]).isfinite().all()
    if any_of(bad, state.calls.group, state.calls.device):
        plain = {name: value.item() for name, value in values.items()}
        names = [name for name, value in plain.items() if not math.isfinite(value)]
        names = names or ["a gradient" if bad else "a loss or gradient of another process"]
        raise NotFinite(f"{', '.join(names)} is not finite in step {state.step + 1}", plain)
