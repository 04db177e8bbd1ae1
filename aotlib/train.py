r"""Training AOT-GAN: one step of the generator, one of the discriminator, each with its own gradients.

Everything random in a run (initial weights, order, crops, flips, masks) is a function of the seed and the number of the
sample, so that a run that was stopped goes on exactly where it was: bit for bit on one CPU with the same number of
threads, up to rounding on a GPU. Taught in notebook 05.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torchvision.utils import save_image

from aotlib import losses, metrics
from aotlib.checkpoint import load_state, save_state, save_weights
from aotlib.config import TrainConfig
from aotlib.data import InpaintingDataset, SampleOrder, dataset_files
from aotlib.features import FeatureNet, load_features
from aotlib.images import to_uint8
from aotlib.masks import composite
from aotlib.model import Discriminator, Generator
from aotlib.trainlog import Log, read_log


@dataclasses.dataclass
class State:
    r"""The two networks, the generator's running average, their optimisers, and how many steps they have made."""

    generator: Generator
    discriminator: Discriminator
    average: AveragedModel
    optimiser_g: torch.optim.Optimizer
    optimiser_d: torch.optim.Optimizer
    step: int = 0

    def parts(self) -> dict:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "step"}


def build(config: TrainConfig, device: torch.device) -> State:
    r"""Networks with the seed's initial weights, and Adam for each."""
    where = {"device": device, "memory_format": torch.channels_last}  # a fifth faster than contiguous, on a CPU too
    shape = (config.width, config.n_blocks, config.rates, config.recipe, config.init)
    generator = Generator(*shape, seed=config.seed).to(**where)
    discriminator = Discriminator(config.width, config.seed + 1).to(**where)
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    adam = {"lr": config.lr, "betas": (config.beta1, config.beta2)}
    optimiser_g = torch.optim.Adam(generator.parameters(), **adam)
    optimiser_d = torch.optim.Adam(discriminator.parameters(), **adam)
    return State(generator, discriminator, average, optimiser_g, optimiser_d)


def generator_step(state: State, batch: dict, features: FeatureNet, config: TrainConfig) -> tuple[Tensor, dict]:
    r"""One descent of :math:`L` in the generator's weights; the discriminator only judges.

    Returns:
        The composite :math:`z` (B, 3, H, W), without gradient, and the value of each loss.
    """
    x, m = batch["image"], batch["mask"]
    state.discriminator.eval().requires_grad_(False)  # no gradient of L leaks into D, nor does its spectral norm move
    prediction = state.generator(x, m)
    z = composite(prediction, x, m)
    seen = z if config.recipe == "paper" else prediction  # the released code shows VGG the raw prediction
    with torch.no_grad():
        real = features(x)
    fake = features(seen)
    parts = {
        "rec": losses.l1(prediction, x),
        "per": losses.perceptual(fake, real, features.perceptual_taps),
        "sty": losses.style(fake, real, features.style_taps, config.recipe),
        "adv": losses.generator_loss(state.discriminator(z), m, config.design),
    }
    total = sum(getattr(config, f"weight_{name}") * value for name, value in parts.items())
    state.optimiser_g.zero_grad()
    total.backward()
    state.optimiser_g.step()
    state.average.update_parameters(state.generator)
    state.discriminator.train().requires_grad_(True)
    return z.detach(), {name: value.detach() for name, value in parts.items()} | {"total": total.detach()}


def discriminator_step(state: State, batch: dict, z: Tensor, config: TrainConfig) -> dict:
    r"""One descent of :math:`L_D` in the discriminator's weights, on the real images and the composites `z`."""
    scores = state.discriminator(torch.cat([batch["image"], z]))
    real, fake = scores.chunk(2)
    loss = losses.discriminator_loss(real, fake, batch["mask"], config.design)
    state.optimiser_d.zero_grad()
    loss.backward()
    state.optimiser_d.step()
    return {"dis": loss.detach()}


def train(config: TrainConfig, run_dir: str | Path, report: Callable[[dict], None] | None = None) -> dict:
    r"""Train to ``config.steps`` in `run_dir`, going on from the state that is there; return the last row of the log.

    Writes ``log.jsonl`` (a row every `log_every` steps), ``state/``, ``samples/``, ``tensorboard/`` and, at the end,
    ``generator.safetensors``, ``generator_ema.safetensors`` and ``discriminator.safetensors``.

    Args:
        report: called with every row of the log.

    Raises:
        ValueError: when the state in `run_dir` comes from another configuration.
        FloatingPointError: when a loss is no longer finite.
    """
    run_dir = Path(run_dir)
    device = pick_device(config.device)
    features = load_features(config.features, seed=config.seed, width=config.feature_width).to(
        device, memory_format=torch.channels_last
    )
    leave_cores_to(config.workers, device)
    state = build(config, device)
    restore(state, run_dir, config, features.name)
    watch = held_out(config, device)
    log = Log(run_dir, after=state.step, report=report)
    batches = training_batches(config, state.step, device, run_dir)
    sums: dict[str, Tensor] = {}
    while state.step < config.steps:
        batch = next(batches)
        z, values = generator_step(state, batch, features, config)
        values |= discriminator_step(state, batch, z, config)
        state.step += 1
        sums = {name: sums.get(name, 0) + value for name, value in values.items()}
        if state.step % config.log_every == 0:
            row = {name: (value / config.log_every).item() for name, value in sums.items()}
            check_finite(row, state.step)
            if state.step % config.sample_every == 0 or state.step == config.steps:
                row |= look(state.average.module, watch, run_dir / "samples" / f"step_{state.step:08d}.png")
            log.add(state.step, row, n_images=config.batch * config.log_every)
            sums = {}
        if state.step % config.save_every == 0 or state.step == config.steps:
            store(state, run_dir, config, features.name)
    log.board.close()
    save_networks(state, run_dir, features.name)
    return read_log(run_dir)[-1]


def leave_cores_to(workers: int, device: torch.device) -> None:
    r"""On a CPU, compute on the cores that the reading processes leave free.

    Threads that must wait for each other on a shared core are slower than one thread: on two cores beside a busy
    neighbour, two threads were measured ten times as slow as one.
    """
    if device.type == "cpu" and workers:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - workers)))


def pick_device(name: str) -> torch.device:
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def training_batches(config: TrainConfig, step: int, device: torch.device, run_dir: Path) -> Iterator[dict]:
    r"""Batches from number `step` on, for ever."""
    files = dataset_files(config.data, config.data_dir, "train")
    where = {"masks": config.masks} if config.masks else {"mask_ratio": (config.mask_low, config.mask_high)}
    dataset = InpaintingDataset(
        files, size=config.size, seed=config.seed, quarantine=run_dir / "quarantine.csv", **where
    )
    order = SampleOrder(len(dataset), seed=config.seed, start=step * config.batch)
    loader = DataLoader(dataset, config.batch, sampler=order, num_workers=config.workers)
    for batch in loader:
        image = batch["image"].to(device, memory_format=torch.channels_last)
        yield batch | {"image": image, "mask": batch["mask"].to(device)}


def held_out(config: TrainConfig, device: torch.device) -> dict:
    r"""The first `n_samples` validation pictures, each with a mask that stays the same through the run."""
    files = dataset_files(config.data, config.data_dir, config.val_split)[: config.n_samples]
    fixed = InpaintingDataset(files, size=config.size, seed=config.seed, mask_ratio=(0.1, 0.4), augment=False)
    batch = next(iter(DataLoader(fixed, len(fixed))))
    return {key: batch[key].to(device) for key in ("image", "mask")}


@torch.no_grad()
def look(generator: Generator, watch: dict, path: Path) -> dict[str, float]:
    r"""Save the composites of the held-out pictures as one row and return what they score there."""
    x, m = watch["image"], watch["mask"]
    z = composite(generator(x, m), x, m)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image((z + 1) / 2, path, nrow=len(z), padding=0)
    scores = metrics.measure(to_uint8(z).cpu(), to_uint8(x).cpu(), m.cpu())
    return {f"val_{name}": scores[name].mean().item() for name in ("psnr", "hole_l1")}


def check_finite(row: dict[str, float], step: int) -> None:
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(f"{', '.join(bad)} is not finite at step {step}; lower the learning rate (lr)")


def decisive(config: TrainConfig, features: str) -> dict:
    files = dataset_files(config.data, config.data_dir, "train")
    names = hashlib.sha256("\n".join(path.name for path in files).encode()).hexdigest()[:16]
    return config.decides() | {"features": features, "files": names}  # the network that was found, not "auto"


def store(state: State, run_dir: Path, config: TrainConfig, features: str) -> None:
    parts = {name: part.state_dict() for name, part in state.parts().items()}
    said = json.dumps(decisive(config, features))
    save_state({"step": state.step, "config": said} | parts, run_dir / "state")


def restore(state: State, run_dir: Path, config: TrainConfig, features: str) -> None:
    r"""Fill `state` from the newest good file in ``run_dir/state``; nothing happens when there is none."""
    saved = load_state(run_dir / "state")
    if saved is None:
        return
    then, now = json.loads(saved["config"]), json.loads(json.dumps(decisive(config, features)))
    changed = [f"{key} {then.get(key)!r} -> {now[key]!r}" for key in now if then.get(key) != now[key]]
    if changed:
        raise ValueError(f"{run_dir} holds a run of another configuration ({'; '.join(changed)}); use another folder")
    if saved["step"] > config.steps:
        raise ValueError(
            f"{run_dir} is at step {saved['step']} already, beyond steps = {config.steps}; use another folder"
        )
    for name, part in state.parts().items():
        part.load_state_dict(saved[name])
    state.step = saved["step"]


def save_networks(state: State, run_dir: Path, features: str) -> None:
    card = {"options": json.dumps(state.generator.options), "step": str(state.step), "features": features}
    save_weights(state.discriminator.state_dict(), run_dir / "discriminator.safetensors", card)
    save_weights(state.generator.state_dict(), run_dir / "generator.safetensors", card)
    save_weights(state.average.module.state_dict(), run_dir / "generator_ema.safetensors", card)
