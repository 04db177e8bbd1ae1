r"""Train every compared method for the same number of steps and for the same time, and judge them on the same holes.

    python data/compare_methods.py --profile course --train FOLDER --photographs FOLDER --masks FOLDER --steps 1000
        --minutes 12 --out results/methods

The profile's group `methods` says which network sizes and settings; `--set size=256 batch=16` changes some of them for
all. First each method makes `--steps` steps, then as many as it makes in `--minutes` of computing at its own pace,
which is measured beforehand, all methods in turn. A method that has stages is trained twice, for a stage's length is a
share of the steps; the others go on. Stopped, the same command goes on where it was.

`--out` gets, for both budgets, a table (summary_*.csv; of it PSNR as psnr_*.md) and the differences to AOT-GAN
(differences_*.csv); runs.json says how each run came about; weights/ has the generators after equal times, in half
precision, and a README.md about them. `AOTLIB_WEIGHTS` leads
to the networks of losses and of the Fréchet distance.
"""

import argparse
import dataclasses
import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
import yaml
from safetensors.torch import load_file

from aotlib import contest, manifest, profiles, records, tables
from aotlib.classical import FLOORS
from aotlib.comparison import compare
from aotlib.config import STAGED, TrainConfig
from aotlib.evaluate import Measures, judge
from aotlib.features import load_features
from aotlib.files import replacing
from aotlib.hardware import pick_device
from aotlib.images import common_folder, find_images
from aotlib.intervals import ALL
from aotlib.masks import load_masks
from aotlib.methods import n_parameters
from aotlib.selection import spread_evenly
from aotlib.step import build, training_step
from aotlib.train import train, training_batches
from aotlib.trainlog import line
from aotlib.weights import load_generator, read_card, save_weights

PLACES = ("data", "data_dir", "masks", "start_from")  # of the machine that trained
PACE = 5  # steps of each method that are timed, after two that are not
AGAINST = ("psnr", "ssim", "hole_l1")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    settings = yaml.safe_load("{" + ", ".join(text.replace("=", ": ") for text in options.set) + "}")
    shared = {"data": str(options.train.resolve()), "steps": options.steps} | settings
    configs = configurations(options.profile, options.methods, shared)
    seconds = paces(configs, options.out)
    budgets = {"steps": {}, "time": {}}
    for name, config in configs.items():
        enough = max(round(options.minutes * 60 / seconds[name] / 10) * 10, 10)
        targets = {"steps": config, "time": dataclasses.replace(config, **every({"steps": enough}))}
        for budget in sorted(targets, key=lambda budget: targets[budget].steps):  # the shorter run goes on
            budgets[budget][name] = trained(targets[budget], options.out, budget)
    (options.out / "weights").mkdir(exist_ok=True)
    for name, run in budgets["time"].items():
        halved(run / "generator_ema.safetensors", options.out / "weights" / f"{name}.safetensors")
    judged = {budget: judged_by(options, runs, budget, configs) for budget, runs in budgets.items()}
    write_account(options, budgets, seconds, judged)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="course", help="whose group of methods is trained")
    parser.add_argument("--train", type=Path, required=True, help="folder of photographs with train/ and val/ in it")
    parser.add_argument("--photographs", type=Path, required=True, help="folder to measure on")
    parser.add_argument("--masks", type=Path, required=True, help="folder of mask files")
    parser.add_argument("--steps", type=int, required=True, help="of every method, first budget; a multiple of 10")
    parser.add_argument("--minutes", type=float, required=True, help="of computing of every method, second budget")
    parser.add_argument("--limit", type=int, default=0, help="measure on so many photographs; 0: all")
    parser.add_argument("--methods", nargs="*", help="those only; all of the group when not given")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings for all methods")
    parser.add_argument("--fid-dims", type=int, default=768, help="of the Fréchet distance; 0: none")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and tables")
    return parser.parse_args(arguments)


def configurations(profile: str, methods: Sequence[str] | None, shared: dict) -> dict[str, TrainConfig]:
    r"""What the profile's group says of each method, with the `shared` settings in their place."""
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    jobs = {name.removeprefix("methods."): job for name, job in profiles.plan(profile).items() if "methods." in name}
    if missing := set(methods or []) - set(jobs):
        raise SystemExit(f"profile {profile} has no methods {', '.join(sorted(missing))}; it has {', '.join(jobs)}")
    kept = {name: {k: v for k, v in jobs[name].parameters.items() if k in known} for name in methods or jobs}
    return {name: TrainConfig(**every(settings | shared)) for name, settings in kept.items()}


def every(settings: dict) -> dict:
    r"""The settings with a log in ten parts, and two looks at held-out pictures."""
    steps = settings["steps"]
    if steps % 10:
        raise SystemExit(f"--steps must be a multiple of 10, got {steps}")
    half = steps // 10 * 5
    return settings | {"log_every": steps // 10, "sample_every": half, "save_every": steps // 10}


def paces(configs: dict[str, TrainConfig], out: Path) -> dict[str, float]:
    r"""Seconds of computing of a step by method: the median of some steps of each, all methods in turn.

    On a CPU the time of the processor counts, so that another program beside this one changes little. Kept in
    ``pace.json``, so that a run that goes on has the same budget.
    """
    path = out / "pace.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name, config in configs.items():
        if name not in kept:
            kept[name] = pace(config, out)
            print(f"{name}: {kept[name]:.3f} s a step", flush=True)
            records.write_json(path, kept)
    return kept


def pace(config: TrainConfig, out: Path) -> float:
    device = pick_device(config.device)
    features = load_features(config.features, seed=config.seed, width=config.feature_width).to(device)
    batch = next(training_batches(dataclasses.replace(config, workers=0), 0, device, out))
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    medians = []
    for share in (0.0, 0.5, 0.99) if config.method in STAGED else (0.0,):  # of each stage
        state = build(config, device)
        state.step = int(share * config.steps)
        medians.append(statistics.median(timed(lambda s=state: training_step(s, batch, features, config), clock)))
    return statistics.mean(medians)


def timed(call: Callable[[], dict], clock: Callable[[], float]) -> list[float]:
    times = []
    for _ in range(2 + PACE):
        started = clock()
        float(call()["total"])  # waits for a GPU
        times.append(clock() - started)
    return times[2:]


def trained(config: TrainConfig, out: Path, budget: str) -> Path:
    r"""The folder with the weights of a run of that budget; what goes on is copied before it does."""
    goes_on = config.method not in STAGED
    run = out / "runs" / (config.method if goes_on else f"{config.method}-{budget}")
    kept = out / "runs" / f"{config.method}-{budget}" / "generator_ema.safetensors"
    if not kept.is_file() or not goes_on:
        print(f"{config.method}: {config.steps} steps", flush=True)
        train(config, run, lambda row: print(line(shown(row), config.steps, config.batch), flush=True))
    if goes_on and not kept.is_file():
        for source in (run / "generator_ema.safetensors", run / "log.jsonl", *run.glob("record.json")):
            with replacing(kept.parent / source.name) as temporary:
                shutil.copyfile(source, temporary)
    records.write_json(kept.parent / "settings.json", dataclasses.asdict(config))
    return kept.parent


def shown(row: dict) -> dict:
    return {key: row[key] for key in ("step", "total", "dis", "val_hole_l1", "val_psnr", "images_per_s") if key in row}


def halved(source: Path, path: Path) -> None:
    save_weights({name: value.half() for name, value in load_file(source).items()}, path, read_card(source))


def judged_by(options: argparse.Namespace, runs: dict[str, Path], budget: str, configs: dict[str, TrainConfig]) -> int:
    r"""Write the tables of a budget, unless they are there; returns the number of photographs."""
    files = find_images(options.photographs)
    files = spread_evenly(files, options.limit) if options.limit else files
    paths = [options.out / f"{kind}_{budget}.csv" for kind in ("summary", "differences")]
    if all(path.is_file() for path in paths):
        return len(files)
    one, device = next(iter(configs.values())), pick_device("auto")
    features = load_features(one.features, seed=one.seed, width=one.feature_width)
    weights = {name: run / "generator_ema.safetensors" for name, run in runs.items()}
    fills = contest.fills(contest.networks(weights, device=device, features=features)) | FLOORS
    root = common_folder(files)
    plan = manifest.make(
        files, size=one.size, masks=load_masks(options.masks), files_root=root, masks_root=options.masks
    )
    measures = Measures(options.fid_dims, cache=options.out / "features.sqlite", device=device)
    verdict = judge(fills, plan, root, options.masks, size=one.size, measures=measures)
    versus = [compare(verdict.images, metric, to="AOT-GAN").assign(metric=metric) for metric in AGAINST]
    found = (verdict.summary.drop(columns="data"), pd.concat(versus))
    for path, table in zip(paths, found, strict=True):
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
    with replacing(options.out / f"psnr_{budget}.md") as temporary:
        shown = tables.spread(found[0].assign(data="")[lambda table: table.bucket != ALL], "psnr")
        temporary.write_text(tables.markdown(shown) + "\n", encoding="utf-8")
    return len(files)


def write_account(options: argparse.Namespace, budgets: dict, seconds: dict, judged: dict[str, int]) -> None:
    content = records.origin("auto") | {
        "threads": torch.get_num_threads(),
        "budgets": {"steps": options.steps, "minutes": options.minutes},
        "trained_on": records.fingerprint(options.train / "train"),
        "measured_on": {"photographs": judged, "data": records.fingerprint(options.photographs)},
        "masks": records.fingerprint(options.masks),
        "mnps": contest.PATCHES,
        "runs": {},
    }
    for budget, runs in budgets.items():
        for name, run in runs.items():
            settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
            settings = {key: value for key, value in settings.items() if key not in PLACES}
            card = read_card(run / "generator_ema.safetensors")
            row = {"parameters": settings, "seconds_a_step": seconds[name], "card": card}
            content["runs"].setdefault(name, {})[budget] = row
    records.write_json(options.out / "runs.json", content)
    write_card(options.out / "weights", content)


CARD = """# Small generators of the compared methods

To draw what each method does (notebook 7), not to fill photographs with. Half precision;
`aotlib.weights.load_generator` reads them. Made by `data/compare_methods.py`; parameters, versions and device of
every run are in `runs.json` beside the tables of the comparison.

**Trained on** {files:,} photographs of research collections, which are for research use and not part of this
project; no picture of theirs is shown in it. Crops of {size} px, feature network {features}, every method for
{minutes:g} minutes on {device}; MNPS not at all: it searches from the context encoder's fill.

{table}
"""


def write_card(folder: Path, content: dict) -> None:
    r"""Beside the weights: what they are, and how long each network was trained."""
    rows = []
    for name, run in content["runs"].items():
        network = load_generator(folder / f"{name}.safetensors")
        one = run["time"]["parameters"]
        row = {
            "method": name,
            "parameters": f"{n_parameters(network):,}",
            "width": one["width"],
            "lr": one["lr"],
        }
        rows.append(row | {"s a step": run["time"]["seconds_a_step"], "steps": one["steps"]})
    told = {"size": one["size"], "features": run["time"]["card"]["features"], "device": content["device"]}
    told |= {"minutes": content["budgets"]["minutes"], "files": content["trained_on"]["files"]}
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(CARD.format(table=tables.markdown(pd.DataFrame(rows)), **told), encoding="utf-8")


if __name__ == "__main__":
    main()
