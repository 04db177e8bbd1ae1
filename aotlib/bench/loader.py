r"""How many samples a second the data set delivers, and where the time of one goes.

`python -m aotlib.bench.loader FOLDER ...` prints the table for your machine, and keeps it in results/bench.
"""

import inspect
import itertools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional as transforms

from aotlib import colour, data, hardware, profiles, records
from aotlib.bench import slug
from aotlib.images import image_size, read_image, to_float
from aotlib.masks import MaskFile, irregular_mask
from aotlib.shards import ShardFiles

DEFAULTS = {name: field.default for name, field in inspect.signature(data.InpaintingDataset).parameters.items()}
SCALE, RATIO = DEFAULTS["scale"], DEFAULTS["mask_ratio"]


def loader_rate(
    files: Sequence[Path] | ShardFiles | Path,
    size: int,
    workers: int,
    batch: int,
    seconds: float,
    *,
    masks: str | Path | list[MaskFile] | None = None,
    cold: bool = False,
) -> dict:
    r"""Measure the real `InpaintingDataset` behind the real `DataLoader`, with nothing kept decoded in memory.

    Args:
        files: image files or shards; as many different ones as you can: the same few files come from the cache.
        size: side of a sample, pixels.
        workers: reading processes; 0 reads in this one.
        batch: samples a batch.
        seconds: how long to measure, after three batches a worker that do not count: those are ready in advance.
        masks: mask files instead of drawn masks.
        cold: first ask the system to forget the files (they are then read from the disk, each once). It counts only
            if there are more files than are read in `seconds`: `images` says how many were.

    Returns:
        dict(size, workers, batch, shards, masks, cold, images, seconds, rate, core_ms): rate in images/s by the clock;
        core_ms is the processor time of an image in all processes, which neighbours on a busy machine change little.
    """
    dataset = data.InpaintingDataset(files, size=size, seed=0, masks=masks, min_side=1, cache_mb=0)
    if cold:
        forget(dataset.files)
    order = data.SampleOrder(len(dataset), seed=0)
    loader = iter(DataLoader(dataset, batch, sampler=order, num_workers=workers))
    for _ in range(3 * max(1, workers)):
        next(loader)
    n_images, started, used = 0, time.perf_counter(), _processor_s()
    while time.perf_counter() - started < seconds:
        n_images += len(next(loader)["index"])
    took, used = time.perf_counter() - started, _processor_s() - used
    what = dict(size=size, workers=workers, batch=batch, shards=isinstance(dataset.files, ShardFiles))
    what |= dict(masks="drawn" if masks is None else "files", cold=cold)
    what |= dict(images=n_images, seconds=round(took, 2), rate=round(n_images / took, 1))
    return what | dict(core_ms=round(1000 * used / n_images, 1))


def _processor_s() -> float:
    """Processor time of this process and of those that it started, seconds."""
    me = psutil.Process()
    return sum(process.cpu_times().user + process.cpu_times().system for process in (me, *me.children(recursive=True)))


def forget(files: Sequence[Path] | ShardFiles) -> None:
    r"""Ask the system to drop the files from its cache in memory; Linux does for files that nobody writes to."""
    if not hasattr(os, "posix_fadvise"):
        raise OSError(
            "this system has no posix_fadvise, so files cannot be dropped from memory; measure with cold=False"
        )
    for path in sorted(set(files.shards if isinstance(files, ShardFiles) else files)):
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def stage_times(files: Sequence[Path] | ShardFiles, size: int, n_images: int = 66) -> dict[str, float]:
    r"""Processor time of each stage of an augmented sample, ms: the mean of `n_images`, after as many unmeasured.

    Processor time, not time by the clock, so that neighbours on a busy machine count little.
    """
    total: dict[str, float] = {}

    def timed(stage, function, *args, **options):
        started = time.process_time()
        result = function(*args, **options)
        total[stage] = total.get(stage, 0) + time.process_time() - started
        return result

    for number in range(2 * n_images):
        if number == n_images:
            total.clear()
        rng = np.random.default_rng(number)
        picture = torch.from_numpy(timed("decode", read_image, files[number % len(files)])).permute(2, 0, 1)
        crop = data._random_crop(*picture.shape[1:], SCALE, rng)
        picture = timed("crop and resize", transforms.resized_crop, picture, *crop, [size, size], antialias=True)
        for stage in ("brightness", "contrast", "saturation"):
            factor = rng.uniform(1 - data.JITTER, 1 + data.JITTER)
            picture = timed(stage, getattr(transforms, f"adjust_{stage}"), picture, factor)
        picture = timed("hue", colour.adjust_hue, picture, rng.uniform(-data.JITTER, data.JITTER))
        timed("to float", to_float, picture)
        timed("draw the mask", irregular_mask, size, RATIO, seed=0, index=number)
    return {stage: round(1000 * seconds / n_images, 2) for stage, seconds in total.items()}


def main(folders: list[str], seconds: float = 4, out: Path | None = None) -> Path:
    r"""Print the stages of a sample, then a line for each folder, size and number of workers; keep both in a file.

    Args:
        folders: of images or of shards; one whose name ends in "masks" holds mask files, measured beside drawn ones.
        out: folder of ``loader-<device>.json``; results/bench when not given.
    """
    torch.set_num_threads(1)
    masks = [None, *(folder for folder in folders if folder.rstrip("/").endswith("masks"))]
    folders = [folder for folder in folders if folder not in masks]
    if not folders:
        raise SystemExit("usage: python -m aotlib.bench.loader FOLDER [FOLDER ...] [FOLDER OF masks]")
    content = records.origin("cpu") | {"stages": [], "rates": []}
    listed = {folder: data._listed(folder) for folder in folders}
    told = {folder: about(files) for folder, files in listed.items()}
    for folder, size in itertools.product(folders, (256, 512)):
        stages = stage_times(listed[folder], size)
        each = ", ".join(f"{stage} {ms:.2f}" for stage, ms in stages.items())
        total = sum(stages.values())
        print(f"{folder}, {size} px: {each}; in all {total:.1f} ms, {1000 / total:.0f} images/s a core", flush=True)
        content["stages"].append(told[folder] | {"size": size, "ms": stages, "total_ms": round(total, 2)})
    for folder, size, mask in itertools.product(folders, (256, 512), masks):
        for workers in sorted({0, 1, 2, hardware.cores()}):
            row = loader_rate(listed[folder], size, workers, 8, seconds, masks=mask)
            print(folder, " ".join(f"{key}={value}" for key, value in row.items()), flush=True)
            content["rates"].append(told[folder] | row)
    path = (out or profiles.find_root() / "results" / "bench") / f"loader-{slug(content['device'])}.json"
    print(f"record: {records.write_json(path, content)}")
    return path


def about(files: Sequence[Path] | ShardFiles) -> dict[str, int]:
    r"""How many photographs, and the median of their shorter sides, pixels."""
    sides = files.sides if isinstance(files, ShardFiles) else [min(image_size(file)) for file in files]
    return {"photographs": len(files), "median_side": int(np.median(sides))}


if __name__ == "__main__":
    main(sys.argv[1:])
