r"""What of a profile's results is kept in ``results/reference``: small, with its records, and made by committed code.

Taught in notebook 06.
"""

import json
from pathlib import Path

import pandas as pd
from PIL import Image

from aotlib import profiles
from aotlib.files import replacing
from aotlib.profiles import Job
from aotlib.records import write_json
from aotlib.report import WIDTH

ABLATIONS = "08_ablations"
SHOWN = (("03_discriminator", "targets"), (profiles.EVALUATION, "filled"))  # figures of the README
OF_EVALUATION = ("summary.md", "summary_long.csv", "manifest.csv", "manifest.json")
OF_ABLATIONS = (
    "summary.csv",
    "differences.csv",
    "labels.csv",
    "budget.csv",
    "same_order.csv",
    "switches.csv",
    "runs.csv",
)
OF_ABLATIONS += ("psnr.md",)


def keep_reference(profile: str, root: Path) -> Path:
    r"""``results/reference`` holds what the suite shows of a profile; the folder that was written to.

    Of a profile that trains and evaluates: two figures, the result table, and the records of both notebooks. Of one
    that has the ablations alone: their tables and record, in ``ablations/``. Folders are left out of the records: they
    are of one machine. Taught in notebook 06.

    Raises:
        ValueError: for results of code that is in no commit: nobody could make them again.
    """
    jobs, folder = profiles.plan(profile, root), root / "results" / "reference"
    if profiles.TRAINING in jobs:
        _keep(jobs, (profiles.TRAINING, profiles.EVALUATION), profile, folder)
        for name, figure in SHOWN:
            image = Image.open(jobs[name].out_dir / "figures" / f"{figure}.png").convert("RGB")
            image.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
            with replacing(folder / f"{figure}.jpg") as temporary:
                image.save(temporary, "JPEG", quality=88, optimize=True)
        _copy(jobs[profiles.EVALUATION], OF_EVALUATION, folder)
        return folder
    if ABLATIONS not in jobs:
        raise ValueError(f"profile {profile} has neither {profiles.TRAINING} nor {ABLATIONS}: nothing of it is kept")
    made = pd.read_csv(jobs[ABLATIONS].out_dir / "tables" / "runs.csv")
    if made.dirty.any():
        raise ValueError(f"runs of files that are in no commit: {', '.join(made.run[made.dirty])}; make them again")
    _keep(jobs, (ABLATIONS,), profile, folder / "ablations")
    _copy(jobs[ABLATIONS], OF_ABLATIONS, folder / "ablations")
    return folder / "ablations"


def _keep(jobs: dict[str, Job], names: tuple[str, ...], profile: str, folder: Path) -> None:
    """The records of these notebooks, once all are found to be of committed code."""
    found = {name: json.loads((jobs[name].out_dir / "record.json").read_text(encoding="utf-8")) for name in names}
    if changed := [name for name, content in found.items() if content["dirty"]]:
        raise ValueError(f"{', '.join(changed)}: made by files that are in no commit; commit them and run it again")
    for name, content in found.items():
        places = {"ablation_runs", "method_runs"}
        kept = {key: v for key, v in content["parameters"].items() if not key.endswith("_dir") and key not in places}
        content["parameters"] = {key: Path(v).name if key in ("data", "masks") and v else v for key, v in kept.items()}
        write_json(folder / f"{name}.record.json", {"profile": profile} | content)


def _copy(job: Job, names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        with replacing(folder / name) as temporary:
            temporary.write_bytes((job.out_dir / "tables" / name).read_bytes())
