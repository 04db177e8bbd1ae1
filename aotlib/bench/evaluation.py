r"""What judging costs: pictures a second, the memory of many pictures, and a Fréchet distance of 2,048 dimensions.

`python -m aotlib.bench.evaluation FOLDER` measures with your photographs, in some minutes, and keeps the numbers in
``results/bench/evaluation-<device>.json``. Taught in notebook 12.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import linalg

from aotlib import profiles, records
from aotlib.bench import slug
from aotlib.distances import frechet_distance

COUNTS = (100, 1000)  # pictures: memory that grows with them shows between the two
SETS = (2500, 2048)  # pictures and dimensions of the timed distance


def judging(folder: str | Path, size: int, n: int) -> dict:
    r"""Judge the mean-colour fill of `n` photographs of `folder`, repeating them where there are fewer.

    Returns:
        dict(size, n, seconds, images_per_s, peak_mb): peak_mb is the most memory that this process has held so far, so
        that every count needs a process of its own (`measured`).
    """
    import torch

    from aotlib import evaluate, manifest
    from aotlib.classical import CLASSICAL
    from aotlib.images import find_images
    from aotlib.masks import BUCKETS

    torch.set_num_threads(1)
    found = find_images(folder)
    with tempfile.TemporaryDirectory() as root:
        for number in range(n):
            source = found[number % len(found)].resolve()
            Path(root, f"{number:05}{source.suffix}").symlink_to(source)
        plan = manifest.make(find_images(root), size=size, buckets=BUCKETS[2:3], files_root=root)
        fill, started = {"mean colour": CLASSICAL["mean colour"]}, time.perf_counter()
        evaluate.judge(fill, plan, root, size=size, report=lambda text: None)
        seconds = time.perf_counter() - started
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    rate = round(n / seconds, 2)
    return {"size": size, "n": n, "seconds": round(seconds, 1), "images_per_s": rate, "peak_mb": round(peak)}


def measured(folder: str | Path, size: int, n: int) -> dict:
    r"""`judging` in a process of its own."""
    call = f"judging({str(folder)!r}, {size}, {n})"
    code = f"import json; from aotlib.bench.evaluation import judging; print(json.dumps({call}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"judging {n} pictures of {size} px failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def distance_times(n: int, dims: int, seed: int = 0) -> dict:
    r"""Seconds of `aotlib.distances.frechet_distance` and of SciPy's `sqrtm`, on the same features.

    Returns:
        dict(n, dims, seconds, sqrtm_s, value, sqrtm_value).
    """
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(dims, dims)) / dims**0.5
    one, two = rng.normal(size=(n, dims)) @ mix, rng.normal(size=(n, dims)) @ mix + 0.01
    started = time.perf_counter()
    value = frechet_distance(one, two)
    between = time.perf_counter()
    shift, first, second = one.mean(0) - two.mean(0), np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    theirs = shift @ shift + np.trace(first + second) - 2 * np.trace(linalg.sqrtm(first @ second)).real
    times = {"seconds": round(between - started, 2), "sqrtm_s": round(time.perf_counter() - between, 2)}
    return {"n": n, "dims": dims} | times | {"value": value, "sqrtm_value": float(theirs)}


def main(folders: Sequence[str], out: Path | None = None) -> Path:
    r"""Print and keep what has been measured with the photographs of the one folder.

    Args:
        out: folder of ``evaluation-<device>.json``; results/bench when not given.
    """
    if len(folders) != 1:
        raise SystemExit("usage: python -m aotlib.bench.evaluation FOLDER")
    content = records.origin("cpu") | {"judging": []}
    for size in (256, 512):
        for n in COUNTS:
            row = measured(folders[0], size, n)
            content["judging"].append(row)
            print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    content["frechet"] = distance_times(*SETS)
    print(" ".join(f"{key}={value}" for key, value in content["frechet"].items()), flush=True)
    path = (out or profiles.find_root() / "results" / "bench") / f"evaluation-{slug(content['device'])}.json"
    print(f"record: {records.write_json(path, content)}")
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
