r"""Make `data/weights/aotgan_demo.safetensors` from finished training runs, measure it, and write its card.

    aotlib train ... --run-dir RUN              # once, or several times, each going on from the one before
    python data/build_weights.py RUN [RUN ...] --photographs FOLDER --masks FOLDER --trained-on "whose, which licence"

The runs are named in their order; the last one's averaged generator is kept, in half precision. FOLDER has the
photographs to measure on, none of them trained on, and the mask files (white = hole). `AOTLIB_WEIGHTS` leads to the
Inception network of the Fréchet distance. What the weights were trained on, and how, stands in the runs' records; the
card beside the weights repeats it.
"""

import argparse
import itertools
import json
from datetime import date
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from aotlib import manifest, records, tables
from aotlib.classical import CLASSICAL
from aotlib.comparison import compare
from aotlib.evaluate import Measures, judge, network_fill
from aotlib.files import replacing
from aotlib.images import common_folder, find_images
from aotlib.manifest import file_sha256
from aotlib.masks import load_masks
from aotlib.metrics import about
from aotlib.trainlog import read_log
from aotlib.weights import load_generator, read_card, save_weights

WEIGHTS = Path(__file__).resolve().parent / "weights"
NAME = "aotgan_demo"
SHOWN = ("psnr", "ssim", "hole_l1", "fid_768")
OURS = {"AOT-GAN demo": "paper", "AOT-GAN demo, blended": "blended"}  # how seams are treated: `network_fill`
PLACES = ("data", "data_dir", "masks", "start_from")  # of the machine that trained; the card says it in words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of training runs, in their order")
    parser.add_argument("--photographs", type=Path, required=True, help="folder to measure on")
    parser.add_argument("--masks", type=Path, required=True, help="folder of mask files")
    parser.add_argument("--trained-on", required=True, help="a sentence: which photographs, whose, which licence")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures measured, pixels")
    parser.add_argument("--limit", type=int, default=0, help="measure on the first so many photographs only")
    options = parser.parse_args()

    measures = Measures(768)
    if reason := measures.unavailable.get("fid"):
        parser.error(f"the card needs FID-768: {reason}")
    path = pack(options.runs[-1])
    print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MB")
    files = find_images(options.photographs)
    files = files[: options.limit or len(files)]
    generator = load_generator(path)
    ours = {name: network_fill(generator, seams=seams) for name, seams in OURS.items()}
    root = common_folder(files)
    plan = manifest.make(
        files, size=options.size, masks=load_masks(options.masks), files_root=root, masks_root=options.masks
    )
    verdict = judge(ours | CLASSICAL, plan, root, options.masks, size=options.size, measures=measures)
    summary = verdict.summary.drop(columns="data")
    with replacing(WEIGHTS / f"{NAME}_summary.csv") as temporary:
        summary.to_csv(temporary, index=False, lineterminator="\n")
    shown = {metric: tables.markdown(tables.spread(verdict.summary, metric)) for metric in SHOWN}
    write_card(path, options, len(files), shown, said(verdict.images))


def said(images: pd.DataFrame) -> list[str]:
    r"""A line for each metric, of our fills and rival: in which buckets they differ significantly."""
    lines = []
    plain, blended = OURS
    rivals = {plain: [*CLASSICAL], blended: [plain, *CLASSICAL]}
    for metric, ours in itertools.product(("psnr", "ssim", "hole_l1"), OURS):
        versus = compare(images[images.method.isin([ours, *rivals[ours]])], metric, to=ours)
        for rival, rows in versus.groupby("method", sort=False):
            better, worse = (", ".join(rows[rows.better == name].bucket) or "no bucket" for name in (ours, rival))
            lines.append(f"- {about(metric).label}, {ours} against {rival}: better in {better}; worse in {worse}.")
    return lines


def pack(run: Path) -> Path:
    r"""The averaged generator of `run` in half precision, with the card of its options."""
    source = run / "generator_ema.safetensors"
    path = WEIGHTS / f"{NAME}.safetensors"
    save_weights({name: value.half() for name, value in load_file(source).items()}, path, read_card(source))
    return path


def write_card(
    path: Path, options: argparse.Namespace, n_pictures: int, shown: dict[str, str], versus: list[str]
) -> None:
    stages = []
    for run in options.runs:
        record = json.loads((run / "record.json").read_text(encoding="utf-8"))
        kept = {name: value for name, value in record["parameters"].items() if name not in PLACES}
        log = read_log(run)
        rows = [{k: row[k] for k in ("step", "rec", "val_psnr", "val_hole_l1") if k in row} for row in log]
        about = {name: record.get(name) for name in ("device", "ran", "features", "commit", "versions", "metrics")}
        steps = [b["step"] - a["step"] for a, b in zip([{"step": 0}, *log], log, strict=False)]
        seconds = [n * kept["batch"] / row["images_per_s"] for n, row in zip(steps, log, strict=True)]
        about["hours"] = round(sum(seconds) / 3600, 2)
        n_lines = max(1, len(rows) // 25)
        stages.append({"parameters": kept, "curve": rows[n_lines - 1 :: n_lines]} | about)
    card = {
        "weights": path.name,
        "sha256": file_sha256(path),
        "made": date.today().isoformat(),
        "trained_on": options.trained_on,
        "measured_on": {"photographs": n_pictures, "size": options.size, "masks": "files, one a photograph and bucket"},
        "network": json.loads(read_card(path)["options"]),
        "stages": stages,
    }
    records.write_json(WEIGHTS / f"{NAME}.json", card)
    with replacing(WEIGHTS / "README.md") as temporary:
        temporary.write_text(text_of(card, shown, versus), encoding="utf-8")


def text_of(card: dict, shown: dict[str, str], versus: list[str]) -> str:
    lines = [
        f"# {card['weights']}",
        "",
        "A generator of AOT-GAN to look at and to play with; made by `data/build_weights.py`, which says how.",
        "Half precision; `aotlib.weights.load_generator` reads it.",
        "",
        f"**Network**: {', '.join(f'{key} {value}' for key, value in card['network'].items())}.",
        f"**Trained on**: {card['trained_on']}",
        "",
        "## Training",
        "",
    ]
    for number, stage in enumerate(card["stages"], 1):
        p = stage["parameters"]
        losses = ", ".join(f"{name} {p[f'weight_{name}']:g}" for name in ("rec", "per", "sty", "adv"))
        lines.append(
            f"{number}. {p['steps']:,} steps of {p['batch']} crops of {p['size']} px, learning rate {p['lr']:g}, "
            f"loss weights {losses}; feature network {stage['features']}; {stage['device']}, {stage['hours']:.1f} hours"
            f"{', from the weights of the stage before' if number > 1 else ''}."
        )
    where = card["measured_on"]
    lines += [
        "",
        f"All parameters, versions and the curve of each stage are in `{NAME}.json`.",
        "",
        "## Measured",
        "",
        f"{where['photographs']} photographs that it was not trained on, {where['size']} px, mask files of six sizes,",
        "one mask a photograph and bucket, the same for every method. In brackets: 95 % intervals over photographs.",
        "FID-768 is a distance in pytorch-fid's network, at 768 dimensions: comparable within this table only.",
        "*Blended*: the step at the hole's border taken out by Poisson blending (`aotlib.blending`), not in the paper.",
        "",
    ]
    for metric, table in shown.items():
        label, unit, up = about(metric)
        lines += [f"### {label}{f' ({unit})' if unit else ''}, {'higher' if up else 'lower'} is better", "", table, ""]
    lines += [
        "### Beyond chance",
        "",
        "Differences on the same photograph, significant at 5 % after Holm's correction over buckets and rivals:",
        "",
        *versus,
        "",
        f"Every metric, with its interval: `{NAME}_summary.csv`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
