r"""Train every compared method for the same number of steps and for the same time, and judge them on the same holes.

    python data/compare_methods.py --profile course --train FOLDER --photographs FOLDER --masks FOLDER --steps 1000
        --minutes 6 --out results/methods

The profile's group `methods` says which network sizes and settings; `--set size=256 batch=16` changes some of them for
all. Each method's learning rate is the best of `--rates` after a fifth of `--steps`, by the held-out pictures. Then it
makes `--steps` steps, and as many as it makes in `--minutes` at the pace that it had in that search (on a CPU in
seconds of the processor, reading included; on a GPU in seconds). A method that has stages is trained twice, for a
stage's length is a share of the steps; the others go on. All are in planes and eager: neither layout nor compiling is
what is compared. Stopped, the same command goes on where it was; with other settings it wants another `--out`.

`--out` gets, for both budgets, a table (summary_*.csv; of it PSNR as psnr_*.md) and the differences to AOT-GAN
(differences_*.csv); runs.json says how each run came about; weights/ has the generators after equal times, in half
precision, and a README.md about them. `AOTLIB_WEIGHTS` leads to the networks of losses and of the Fréchet distance.
"""

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
import yaml
from safetensors.torch import load_file

from aotlib import contest, manifest, profiles, records, run_names, tables
from aotlib.classical import FLOORS
from aotlib.comparison import compare
from aotlib.config import TrainConfig
from aotlib.evaluate import Measures, judge
from aotlib.features import load_features
from aotlib.files import replacing
from aotlib.hardware import pick_device
from aotlib.images import common_folder, find_images
from aotlib.intervals import ALL
from aotlib.masks import load_masks
from aotlib.methods import n_parameters
from aotlib.selection import spread_evenly
from aotlib.train import train
from aotlib.trainlog import line
from aotlib.weights import load_generator, read_card, save_weights

PLACES = ("data", "data_dir", "masks", "start_from")  # of the machine that trained
AGAINST = ("psnr", "ssim", "hole_l1")
PACE = "pace.jsonl"  # seconds and steps between two lines of the log


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    settings = yaml.safe_load("{" + ", ".join(text.replace("=", ": ") for text in options.set) + "}")
    shared = {"data": str(options.train.resolve()), "steps": options.steps, "workers": 0, "layout": "contiguous"}
    configs = configurations(options.profile, options.methods, shared | {"compile": "off"} | settings)
    check_same(options, configs)
    searched, budgets = {}, {"steps": {}, "time": {}}
    for name, config in configs.items():
        searched[name], pace = search(config, options)
        config = dataclasses.replace(config, lr=min(searched[name], key=searched[name].get))
        enough = max(round(options.minutes * 60 / pace / 10) * 10, 10)
        targets = {"steps": config, "time": dataclasses.replace(config, **every({"steps": enough}))}
        for budget in sorted(targets, key=lambda budget: targets[budget].steps):  # the shorter run goes on
            budgets[budget][name] = trained(targets[budget], options.out, budget)
    (options.out / "weights").mkdir(exist_ok=True)
    for name, run in budgets["time"].items():
        halved(run / contest.WEIGHTS, options.out / "weights" / f"{name}.safetensors")
    judged = {budget: judged_by(options, runs, budget, configs) for budget, runs in budgets.items()}
    write_account(options, budgets, searched, judged)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="course", help="whose group of methods is trained")
    parser.add_argument("--train", type=Path, required=True, help="folder of photographs with train/ and val/ in it")
    parser.add_argument("--photographs", type=Path, required=True, help="folder to measure on")
    parser.add_argument("--masks", type=Path, required=True, help="folder of mask files")
    parser.add_argument("--steps", type=int, required=True, help="of every method, first budget; a multiple of 50")
    parser.add_argument("--minutes", type=float, required=True, help="of every method, second budget")
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3], help="learning rates to try")
    parser.add_argument("--limit", type=int, default=0, help="measure on so many photographs; 0: all")
    parser.add_argument("--methods", nargs="*", help="those only; all of the group when not given")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings for all methods")
    parser.add_argument("--patches", type=int, nargs=2, default=[2, 5], help="scales and iterations of MNPS")
    parser.add_argument("--patch-features", default="auto", help="network in which MNPS compares patches")
    parser.add_argument("--fid-dims", type=int, default=768, help="of the Fréchet distance; 0: none")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and tables")
    return parser.parse_args(arguments)


def configurations(profile: str, methods: Sequence[str] | None, shared: dict) -> dict[str, TrainConfig]:
    r"""What the profile's group says of each method, with the `shared` settings in their place."""
    jobs = {name.removeprefix("methods."): job for name, job in profiles.plan(profile).items() if "methods." in name}
    if missing := set(methods or []) - set(jobs):
        raise SystemExit(f"profile {profile} has no methods {', '.join(sorted(missing))}; it has {', '.join(jobs)}")
    return {name: TrainConfig.of(jobs[name].parameters | every(shared)) for name in methods or jobs}


def every(settings: dict) -> dict:
    r"""The settings with a log in ten parts, and two looks at held-out pictures."""
    steps = settings["steps"]
    if steps % 10:
        raise SystemExit(f"the number of steps must be a multiple of 10, got {steps}")
    half = steps // 10 * 5
    return settings | {"log_every": steps // 10, "sample_every": half, "save_every": steps // 10}


def check_same(options: argparse.Namespace, configs: dict[str, TrainConfig]) -> None:
    r"""Refuse a folder that holds another comparison: its tables would pass for this one's."""
    found = {name: str(value) for name, value in vars(options).items() if name not in ("out", "methods", "set")}
    found |= {name: records.fingerprint(getattr(options, name)) for name in ("train", "photographs", "masks")}
    found["code"] = run_names.code_digest(
        Path(contest.__file__).parent, run_names.TRAINING_CODE + run_names.RIVALS_CODE
    )
    found["runs"] = {name: json.loads(json.dumps(config.decides())) for name, config in configs.items()}
    path = options.out / "comparison.json"
    if path.is_file() and (kept := json.loads(path.read_text(encoding="utf-8"))) != found:
        changed = [name for name in found if found[name] != kept.get(name)]
        raise SystemExit(f"{options.out} holds a comparison with other {', '.join(changed)}; give another --out")
    records.write_json(path, found)


def search(config: TrainConfig, options: argparse.Namespace) -> tuple[dict[float, float], float]:
    r"""The error in the hole of held-out pictures after a fifth of the steps, by learning rate; seconds of a step."""
    if options.steps % 50:
        raise SystemExit(f"--steps must be a multiple of 50, got {options.steps}")
    found, paces = {}, []
    for lr in options.rates:
        short = dataclasses.replace(config, lr=lr, **every({"steps": options.steps // 5}))
        run = options.out / "search" / f"{config.method}-{lr:g}"
        found[lr] = train(short, run, Watch(short, run))["val_hole_l1"]
        paces.append(seconds_a_step(run))
        print(f"{config.method}: lr {lr:g}: error in the hole {found[lr]:.4f}, {paces[-1]:.3f} s a step", flush=True)
    return found, sum(paces) / len(paces)


def trained(config: TrainConfig, out: Path, budget: str) -> Path:
    r"""The folder with the weights of a run of that budget; what goes on is copied before it does."""
    goes_on = "steps" not in config.decides()
    kept = out / "runs" / f"{config.method}-{budget}"
    if (kept / "settings.json").is_file():
        return kept
    run = out / "runs" / config.method if goes_on else kept
    print(f"{config.method}: {config.steps} steps", flush=True)
    train(config, run, Watch(config, run))
    for source in (run / contest.WEIGHTS, run / "log.jsonl", run / PACE) if goes_on else ():
        with replacing(kept / source.name) as temporary:
            shutil.copyfile(source, temporary)
    records.write_json(kept / "settings.json", dataclasses.asdict(config))
    return kept


class Watch:
    r"""Called with each row of the log: prints it, and notes how long the steps since the last one took."""

    def __init__(self, config: TrainConfig, run: Path) -> None:
        self.config, self.path, self.last = config, run / PACE, None
        self.clock = time.process_time if pick_device(config.device).type == "cpu" else time.perf_counter

    def __call__(self, row: dict) -> None:
        wanted = ("step", "total", "dis", "val_hole_l1", "val_psnr", "images_per_s")
        shown = {key: row[key] for key in wanted if key in row}
        print(line(shown, self.config.steps, self.config.batch), flush=True)
        now = (self.clock(), row["step"])
        if self.last:  # the first part of a session has its start in it
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"seconds": now[0] - self.last[0], "steps": now[1] - self.last[1]}) + "\n")
        self.last = now


def seconds_a_step(run: Path) -> float:
    rows = [json.loads(text) for text in (run / PACE).read_text(encoding="utf-8").splitlines()]
    return sum(row["seconds"] for row in rows) / sum(row["steps"] for row in rows)


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
    features = load_features(options.patch_features, seed=one.seed, width=one.feature_width)
    patches = dict(zip(contest.PATCHES, options.patches, strict=True))
    weights = {name: run / contest.WEIGHTS for name, run in runs.items()}
    fills = contest.fills(contest.networks(weights, device=device, features=features, patches=patches)) | FLOORS
    root = common_folder(files)
    chosen = {"size": one.size, "masks": load_masks(options.masks), "files_root": root, "masks_root": options.masks}
    measures = Measures(options.fid_dims, cache=options.out / "features.sqlite", device=device)
    verdict = judge(fills, manifest.make(files, **chosen), root, options.masks, size=one.size, measures=measures)
    versus = [compare(verdict.images, metric, to="AOT-GAN").assign(metric=metric) for metric in AGAINST]
    found = (verdict.summary.drop(columns="data"), pd.concat(versus))
    for path, table in zip(paths, found, strict=True):
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
    with replacing(options.out / f"psnr_{budget}.md") as temporary:
        shown = tables.spread(found[0].assign(data="")[lambda table: table.bucket != ALL], "psnr")
        temporary.write_text(tables.markdown(shown) + "\n", encoding="utf-8")
    return len(files)


def write_account(options: argparse.Namespace, budgets: dict, searched: dict, judged: dict[str, int]) -> None:
    one = next(iter(budgets["time"].values()))
    content = records.origin("auto") | {
        "threads": torch.get_num_threads(),
        "budgets": {"steps": options.steps, "minutes": options.minutes},
        "learning_rates": {name: {f"{lr:g}": error for lr, error in found.items()} for name, found in searched.items()},
        "trained_on": records.fingerprint(options.train / "train"),
        "measured_on": {"photographs": judged, "data": records.fingerprint(options.photographs)},
        "masks": records.fingerprint(options.masks),
        "mnps": dict(zip(contest.PATCHES, options.patches, strict=True))
        | {"features": load_features(options.patch_features, seed=0).name, "start": "context_encoder"},
        "runs": {name: {} for name in budgets["time"]},
    }
    for budget, runs in budgets.items():
        for name, run in runs.items():
            content["runs"][name][budget] = account_of(run)
    content["feature_network"] = read_card(one / contest.WEIGHTS)["features"]
    records.write_json(options.out / "runs.json", content)
    write_card(options.out / "weights", content)


def account_of(run: Path) -> dict:
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    card, pace = read_card(run / contest.WEIGHTS), seconds_a_step(run)
    if int(card["step"]) != settings["steps"]:
        raise ValueError(f"{run}: weights after {card['step']} steps, settings of {settings['steps']}; remove it")
    told = {"seconds_a_step": pace, "minutes": pace * settings["steps"] / 60, "card": card}
    told["parameters_of_network"] = n_parameters(load_generator(run / contest.WEIGHTS))
    return told | {"parameters": {key: value for key, value in settings.items() if key not in PLACES}}


CARD = """# Small generators of the compared methods

To draw what each method does (notebook 7), not to fill photographs with. Half precision;
`aotlib.weights.load_generator` reads them. Made by `data/compare_methods.py`; parameters, versions and device of
every run are in `runs.json` beside the tables of the comparison.

**Trained on** {files:,} photographs of research collections, which are for research use and not part of this
project; no picture of theirs is shown in it. Crops of {size} px, feature network {features}, every method for about
{minutes:g} minutes on {device}; MNPS not at all: it searches from the context encoder's fill.

{table}
"""


def write_card(folder: Path, content: dict) -> None:
    r"""Beside the weights: what they are, and how long each network was trained."""
    rows = []
    for name, run in content["runs"].items():
        one = run["time"]
        row = {"method": name, "parameters": f"{one['parameters_of_network']:,}", "width": one["parameters"]["width"]}
        row |= {"lr": str(one["parameters"]["lr"]), "steps": one["parameters"]["steps"]}
        rows.append(row | {"s a step": one["seconds_a_step"], "minutes": one["minutes"]})
    told = {"size": one["parameters"]["size"], "features": content["feature_network"], "device": content["device"]}
    told |= {"minutes": content["budgets"]["minutes"], "files": content["trained_on"]["files"]}
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(CARD.format(table=tables.markdown(pd.DataFrame(rows)), **told), encoding="utf-8")


if __name__ == "__main__":
    main()
