r"""Fill photographs of several sizes with a generator that was trained at one, in every way of `aotlib.serving`.

    python data/compare_serving.py --photographs FOLDER --trained-size 192 --out results/serving

The photographs are to have as many pixels as the largest of `--sizes`: enlarged ones are blurred, and easier to fill.
`data/build_samples.py` makes such versions of the embedded ones. Every photograph has the same holes at every size,
drawn from the seed or chosen from `--masks`; `--holes` says in how many of the six buckets of hole size, by default in
one, each photograph in the next: the ways differ from picture to picture more than from hole to hole. `--limit` takes
fewer photographs at a size (`--limit 1024=12`) to save time; the tables give n. Stopped, the same command goes on after
the last finished size; sizes can be added later; with other settings it wants another `--out`. On a GPU it is the same
command.

`--out` gets summary.csv (means with intervals), differences.csv (to the way `fixed`, on the same photographs, with
Holm's correction over all ways and sizes of a metric), costs.csv (a picture half of which is a hole; on a CPU in
seconds of the processor), and runs.json, which says how it came about and which rates were used. FID is left out: it
needs thousands of photographs.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from aotlib import contest, manifest, records
from aotlib.comparison import compare
from aotlib.evaluate import judge, network_fill
from aotlib.files import replacing
from aotlib.hardware import pick_device
from aotlib.images import common_folder, find_images
from aotlib.intervals import summarise
from aotlib.masks import BUCKET_NAMES, load_masks
from aotlib.rates import receptive_field
from aotlib.run_names import code_digest
from aotlib.selection import spread_evenly, told, too_small
from aotlib.serving import WAYS, Serving
from aotlib.weights import load_generator, read_card

WEIGHTS = Path(__file__).resolve().parent / "weights" / "aotgan_demo.safetensors"
METRICS = ("l1", "hole_l1", "psnr", "ssim")
CODE = (
    "serving",
    "rates",
    "padding",
    "model",
    "blocks",
    "metrics",
    "masks",
    "strokes",
    "manifest",
    "evaluate",
    "images",
)
LARGE = 512  # pixels from which on a cost is timed once: by then a picture takes seconds on a CPU


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    limits = dict(options.limit)
    if unknown := limits.keys() - set(options.sizes):
        raise SystemExit(f"--limit names {min(unknown)} px, which is none of --sizes")
    files = find_images(options.photographs)
    check_large(files, options.sizes)
    generator = load_generator(options.weights).to(pick_device("auto"))
    ways = {way: Serving(generator, options.trained_size, way, seed=options.seed).eval() for way in WAYS}
    parts = [measured(ways, size, limits.get(size), files, options) for size in options.sizes]
    write_tables(parts, options.out)
    write_account(parts, generator, options)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="safetensors file of AOT-GAN's generator")
    parser.add_argument("--trained-size", type=int, required=True, help="side of the crops that it learnt from last")
    parser.add_argument("--photographs", type=Path, required=True, help="folder to measure on")
    parser.add_argument("--masks", type=Path, help="folder of mask files; drawn masks when not given")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512, 1024], help="sides, pixels")
    parser.add_argument("--holes", type=int, default=1, choices=(1, 2, 3, 6), help="of each photograph, one a bucket")
    parser.add_argument(
        "--limit", nargs="*", type=size_and_number, default=[], metavar="SIZE=N", help="so many photographs at a size"
    )
    parser.add_argument("--seed", type=int, default=0, help="of masks and trial holes")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    return parser.parse_args(arguments)


def size_and_number(text: str) -> tuple[int, int]:
    r"""Of "1024=12".

    >>> size_and_number("1024=12")
    (1024, 12)
    """
    size, equals, n = text.partition("=")
    if not (equals and size.isdecimal() and n.isdecimal() and int(n)):
        raise argparse.ArgumentTypeError(f"{text!r} is not SIZE=N, such as 1024=12")
    return int(size), int(n)


def check_large(files: list[Path], sizes: Sequence[int]) -> None:
    r"""Refuse photographs that would have to be enlarged, before hours are spent on them."""
    if small := too_small(files, max(sizes)):
        raise SystemExit(f"{told(small, len(files), max(sizes))}; take those away, or measure smaller --sizes")


def check_same(size: int, limit: int | None, options: argparse.Namespace) -> None:
    r"""Refuse a folder that holds another measurement of that size: its tables would pass for this one's."""
    found = {name: getattr(options, name) for name in ("trained_size", "holes", "seed")}
    found |= {"limit": limit, "photographs": records.fingerprint(options.photographs)}
    found |= {"masks": records.fingerprint(options.masks) if options.masks else None}
    found |= {"weights": manifest.file_sha256(options.weights)}
    found["code"] = code_digest(Path(contest.__file__).parent, CODE)
    path = options.out / "parts" / f"settings_{size}.json"
    if path.is_file() and (kept := json.loads(path.read_text(encoding="utf-8"))) != found:
        changed = [name for name in found if found[name] != kept.get(name)]
        raise SystemExit(f"{options.out} holds {size} px measured with other {', '.join(changed)}; give another --out")
    records.write_json(path, found)


def measured(ways: dict[str, Serving], size: int, limit: int | None, files: list, options: argparse.Namespace) -> dict:
    r"""What is known of one size: its `images` and `costs` tables, and what else the account says; once measured it is
    read again."""
    check_same(size, limit, options)
    folder = options.out / "parts"
    paths = {kind: folder / f"{kind}_{size}.csv" for kind in ("images", "costs")}
    told_of_it = folder / f"account_{size}.json"  # written last
    if not told_of_it.is_file():
        plan = limited(turned(plan_of(files, size, options), options.holes), limit)
        started, root = time.perf_counter(), common_folder(files)
        for serving in ways.values():
            serving.used.clear()
        fills = {way: network_fill(serving) for way, serving in ways.items()}
        images = judge(fills, plan, root, options.masks, size=size, data=f"{size} px", report=print).images
        used = {way: {str(rates): n for rates, n in serving.used.items()} for way, serving in ways.items()}
        keep(images[images.metric.isin(METRICS)], paths["images"])
        holes = {"photographs": plan.image.nunique(), "holes": len(plan), "mean_hole": plan.ratio.mean()}
        records.write_json(told_of_it, holes | {"seconds": time.perf_counter() - started, "rates": used})
        print(f"{size} px: {time.perf_counter() - started:.0f} s", flush=True)
    if not paths["costs"].is_file():
        keep(costs_of(ways, size), paths["costs"])
    tables = {kind: pd.read_csv(path) for kind, path in paths.items()}
    return tables | {"size": size, "account": json.loads(told_of_it.read_text(encoding="utf-8"))}


def plan_of(files: list, size: int, options: argparse.Namespace) -> pd.DataFrame:
    masks = {"masks": load_masks(options.masks), "masks_root": options.masks} if options.masks else {}
    return manifest.make(files, size=size, seed=options.seed, files_root=common_folder(files), **masks)


def turned(plan: pd.DataFrame, holes: int) -> pd.DataFrame:
    r"""`holes` of the six rows of each photograph, evenly spaced, and another start for the next photograph."""
    place = plan.bucket.map(BUCKET_NAMES.index)
    return plan[(place - plan.image.map({name: i for i, name in enumerate(plan.image.unique())})) % (6 // holes) == 0]


def limited(plan: pd.DataFrame, n: int | None) -> pd.DataFrame:
    r"""The rows of `n` photographs, each with the holes that it has where all are measured."""
    return plan[plan.image.isin(spread_evenly(list(plan.image.unique()), n))]


def costs_of(ways: dict[str, Serving], size: int) -> pd.DataFrame:
    repetitions = 1 if size >= LARGE else 3
    on_cpu = next(ways["fixed"].parameters()).device.type == "cpu"
    rule = {"repetitions": repetitions, "clock": time.process_time if on_cpu else time.perf_counter}
    rows = [contest.costs({"aot": serving}, size, **rule).assign(method=way) for way, serving in ways.items()]
    return pd.concat(rows).assign(bucket=f"{size} px")


def keep(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")


def write_tables(parts: list[dict], out: Path) -> None:
    r"""The three tables; a size stands in the column `bucket`, as "256 px", where other tables have the hole's size."""
    images = pd.concat(part["images"] for part in parts)
    images["bucket"], images["data"] = images["data"], ""
    keys = ["method", "data", "bucket", "image", "metric"]
    long = (
        images.groupby(keys, sort=False).value.mean().reset_index()
    )  # of a photograph's holes: one value a photograph
    keep(summarise(long, overall=False).drop(columns="data"), out / "summary.csv")
    keep(pd.concat(compare(long, metric, to="fixed") for metric in METRICS), out / "differences.csv")
    keep(pd.concat(part["costs"] for part in parts), out / "costs.csv")


def write_account(parts: list[dict], generator: torch.nn.Module, options: argparse.Namespace) -> None:
    card = read_card(options.weights)
    content = records.origin("auto") | {
        "threads": torch.get_num_threads(),
        "weights": {"file": options.weights.name, "sha256": manifest.file_sha256(options.weights), "card": card},
        "trained_size": options.trained_size,
        "receptive_field": receptive_field(generator.options["n_blocks"], generator.options["rates"]),
        "seed": options.seed,
        "holes_a_photograph": options.holes,
        "photographs": records.fingerprint(options.photographs),
        "masks": records.fingerprint(options.masks) if options.masks else "drawn",
        "sizes": {part["size"]: part["account"] for part in parts},
        "left_out": {"fid": "too few photographs"},
    }
    records.write_json(options.out / "runs.json", content)


if __name__ == "__main__":
    main()
