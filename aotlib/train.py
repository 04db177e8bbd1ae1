r"""Training AOT-GAN, or a compared method: the loop round the steps, which can be stopped anywhere and goes on exactly.

Everything random in a run (initial weights, order, crops, flips, masks) is a function of the seed and the number of the
sample, so that a run that was stopped ends bit for bit where an undisturbed one ends: on one CPU, with the same number
of threads; on a GPU up to rounding, for torch has no repeatable form of some operations. Taught in notebook 05.

``torchrun --nproc-per-node 8 -m aotlib.train ...`` trains on eight GPUs and takes the options of ``aotlib train``.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from aotlib import distributed
from aotlib.checkpoint import card_of, check_writable, decisive, restore, save_networks, start_from, store
from aotlib.config import TrainConfig
from aotlib.data import InpaintingDataset, SampleOrder, dataset_files
from aotlib.distributed import Group, Share
from aotlib.features import load_features
from aotlib.files import only_writer
from aotlib.hardware import leave_cores_to, pick_device, pick_layout, set_determinism
from aotlib.records import write_json
from aotlib.step import NotFinite, build, training_step
from aotlib.stopping import Stopping, deaf
from aotlib.trainlog import Log, read_log
from aotlib.validation import digest_of, held_out, is_better, look
from aotlib.weights import save_weights

SKIPS_IN_A_ROW = 20  # more of them, and it is no accident


def train(config: TrainConfig, run_dir: str | Path, report: Callable[[dict], None] | None = None) -> dict:
    r"""Train to ``config.steps`` in `run_dir`, going on from the state that is there; return the last row of the log.

    Writes ``log.jsonl`` (a row every `log_every` steps), ``state/``, ``samples/``, ``tensorboard/``,
    ``generator_best.safetensors`` (see `aotlib.validation`) and, at the end, ``generator.safetensors``,
    ``generator_ema.safetensors`` and ``discriminator.safetensors``.

    Ctrl-C and SIGTERM end it after the step at hand, with the state saved.

    Args:
        report: called with every row of the log.

    Raises:
        ValueError: when the state in `run_dir` comes from another configuration.
        NotFinite: when a loss is not finite; ``bad_step.json`` says which files were in the batch.
        OSError: when the folder cannot be written to, or the disk is full.
        Stopped: after SIGTERM.
        KeyboardInterrupt: after SIGINT (Ctrl-C).
    """
    run_dir, group = Path(run_dir), distributed.find_group()
    if group.leads:
        check_writable(run_dir)
    device = pick_device(config.device, group.local)
    distributed.join(group, device)
    try:
        set_determinism(config.deterministic, device)
        leave_cores_to(config.workers, device, group.size)
        alone = only_writer(run_dir, ".lock-training") if group.leads else nullcontext()
        with alone, Stopping() as stopping, closing(Run(config, run_dir, device, group, report)) as run:
            run.go_on(stopping)
        distributed.wait_for_all(group)
    finally:
        distributed.leave()
    return read_log(run_dir)[-1]


class Run:
    r"""One training run: its state, its data, its log."""

    def __init__(
        self, config: TrainConfig, run_dir: Path, device: torch.device, group: Group, report: Callable | None
    ) -> None:
        self.config, self.run_dir, self.device, self.group = config, run_dir, device, group
        self.state = build(config, device, group)
        layout = self.state.calls.layout
        self.features = load_features(config.features, seed=config.seed, width=config.feature_width)
        self.features.to(device, memory_format=layout)
        if config.start_from:
            start_from(self.state, config.start_from)
        self.identity = decisive(config, self.state, self.features.name)  # once: it lists all training files
        if group.leads:  # first and alone: it sets damaged files aside
            restore(self.state, run_dir, self.identity, config.steps)
        distributed.wait_for_all(group)
        if not group.leads:
            restore(self.state, run_dir, self.identity, config.steps)
        if len(set(distributed.collect([str(self.state.step)], group))) > 1:
            raise RuntimeError(
                f"the processes found different states in {run_dir / 'state'}; it must be one shared folder"
            )
        self.watch = held_out(config, device) if group.leads else {}
        self.watched = digest_of(self.watch)
        if self.state.best.get("watched") != self.watched:  # a score on other pictures says nothing
            self.state.best = {}
        self.log = Log(run_dir, after=self.state.step, report=report) if group.leads else None
        self.skips, self.batches = 0, None

    def go_on(self, stopping: Stopping) -> None:
        r"""Make the steps that are left, and write what is due after each."""
        config, state = self.config, self.state
        self.batches = training_batches(config, state.step, self.device, self.run_dir, self.group)
        done_before = state.step == config.steps
        while state.step < config.steps:
            if distributed.any_of(bool(stopping.number), self.group, self.device):
                self.stop(stopping)
            try:
                batch = next(self.batches)
            except RuntimeError:
                if stopping.number and self.group.size == 1:  # the signal has ended the reading processes, too
                    self.stop(stopping)
                raise
            self.step(batch)
            if state.step % config.log_every == 0:
                self.write_line()
            if state.step % config.save_every == 0 or state.step == config.steps:
                self.save()
        if self.log and not (done_before and (self.run_dir / "generator_ema.safetensors").is_file()):
            save_networks(state, self.run_dir, self.features.name, config)

    def close(self) -> None:
        r"""End the reading processes and the log: a notebook keeps an interrupted run alive with its traceback."""
        if self.batches:
            self.batches.close()
        if self.log:
            self.log.board.close()

    def step(self, batch: dict) -> None:
        state = self.state
        try:
            values = training_step(state, batch, self.features, self.config) | {"n": torch.ones(())}
            self.skips = 0
        except NotFinite as error:
            self.skips += 1
            self.account_for(error, batch)
            values = {}
            state.skipped += 1
        state.step += 1
        for name, value in values.items():
            state.sums[name] = state.sums.get(name, 0) + value

    def account_for(self, error: NotFinite, batch: dict) -> None:
        r"""Go on without the step if that is wanted; else save what is needed to look into it, and end."""
        if self.config.on_bad_loss == "skip" and self.skips <= SKIPS_IN_A_ROW:
            return
        names = distributed.collect(batch["name"], self.group)
        told = ", ".join(f"{name} {value!r}" for name, value in error.values.items())  # JSON knows no infinity
        losses = distributed.collect([told], self.group)
        if self.group.leads:
            found = {"step": self.state.step + 1, "files": names, "losses": losses}  # a text a process
            write_json(self.run_dir / "bad_step.json", found)
        self.save()
        row = f" for the {self.skips}th time in a row" if self.skips > 1 else ""
        raise NotFinite(
            f"{error}{row}; the state before it is saved, its files are listed in {self.run_dir / 'bad_step.json'}. "
            "Leave such steps out with on_bad_loss='skip', or begin anew with a lower lr",
            error.values,
        ) from error

    def write_line(self) -> None:
        config, state = self.config, self.state
        sums = {name: float(value) for name, value in state.sums.items()}
        n = sums.pop("n", 0)
        row = distributed.mean_of({name: value / n for name, value in sums.items()}, self.group, self.device)
        if state.skipped:
            row["skipped"] = state.skipped
        state.sums = {}
        if not self.log:
            return
        picture = None
        if state.step % config.sample_every == 0 or state.step == config.steps:
            path = self.run_dir / "samples" / f"step_{state.step:08d}.png"
            scores, picture = look(state.average.module, self.watch, path)
            row |= scores
            if is_better(scores, state.best, config.best_by):
                state.best = {"step": state.step, "watched": self.watched} | scores
                best = card_of(state, self.features.name, config) | {config.best_by: str(scores[config.best_by])}
                save_weights(state.average.module.state_dict(), self.run_dir / "generator_best.safetensors", best)
        self.log.add(state.step, row, batch=config.batch, picture=picture)

    def save(self) -> None:
        sums = {name: float(value) for name, value in self.state.sums.items()}
        self.state.sums = distributed.mean_of(sums, self.group, self.device)  # of all processes, for all to go on from
        if self.group.leads:
            store(self.state, self.run_dir, self.identity)
        distributed.wait_for_all(self.group)

    def stop(self, stopping: Stopping) -> None:
        self.save()
        text = f"stopped after step {self.state.step} of {self.config.steps}, its state saved; call it again to go on"
        raise stopping.error(text)


def training_batches(
    config: TrainConfig,
    step: int,
    device: torch.device,
    run_dir: Path,
    group: Group = Group(),  # noqa: B008 (immutable)
) -> Iterator[dict]:
    r"""Batches from number `step` on, for ever; of each, this process's part.

    Taught in notebook 05.
    """
    files = dataset_files(config.data, config.data_dir, "train")
    where = {"masks": config.masks} if config.masks else {"mask_ratio": (config.mask_low, config.mask_high)}
    listed = run_dir / "quarantine.csv"
    where |= {"quarantine": listed} if group.leads else {}
    dataset = InpaintingDataset(files, size=config.size, seed=config.seed, scale=(config.crop_low, 1.0), **where)
    dataset.quarantine = listed  # one process begins the list, all add to it
    order = SampleOrder(len(dataset), seed=config.seed, start=step * config.batch)
    loader = DataLoader(
        dataset,
        config.batch // group.size,
        sampler=Share(order, config.batch, group),
        num_workers=config.workers,
        worker_init_fn=deaf,
        pin_memory=device.type == "cuda",
    )
    layout = pick_layout(config.layout, device, config.width, config.method)
    for batch in loader:
        image = batch["image"].to(device, memory_format=layout, non_blocking=True)
        yield batch | {"image": image, "mask": batch["mask"].to(device, non_blocking=True)}


if __name__ == "__main__":
    from aotlib.launch import main

    main()
