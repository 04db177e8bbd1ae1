"""What the tests share: how notebooks are compared (nbval), and small notebooks to try the machinery on."""

import os
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two workers share two cores

ROOT = Path(__file__).resolve().parents[1]
CONCEPTS = ("02_generator", "03_discriminator")  # small and exact: every output is compared, not only tagged cells
KEPT_TOGETHER = ("05_training", "06_evaluation")  # the second reads the weights that the first leaves


def pytest_configure(config):
    """The training notebook starts anew: over a finished run of an earlier test it would have nothing to do."""
    if config.option.nbval_lax and not hasattr(config, "workerinput"):
        for name in KEPT_TOGETHER:
            shutil.rmtree(ROOT / "results" / "notebook" / name, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One worker runs all cells of a notebook, and both notebooks that belong together, in order."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return "training" if Path(file).stem in KEPT_TOGETHER else file

    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """In a concept notebook every output is compared, elsewhere the tagged ones; never the widths of pandas' HTML."""
    for cell in items:
        if type(cell).__name__ != "IPyNbCell":
            continue
        if cell.path.stem in CONCEPTS and "nbval-ignore-output" not in cell.cell.metadata.get("tags", []):
            cell.options["check"] = True
        if "text/html" not in cell.parent.skip_compare:
            cell.parent.skip_compare += ("text/html",)


@pytest.fixture
def make_notebook():
    """A function that writes a notebook: make_notebook(path, text of the parameters cell, text of a cell, ...)."""

    def make(path: Path, parameters: str | None, *cells: str) -> Path:
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        if parameters is not None:
            tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
            notebook.cells.insert(0, tagged)
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return make


TRAINING = """
import time
from pathlib import Path
from aotlib import files, runs
state = Path(out_dir, "state", "step")
state.parent.mkdir(parents=True, exist_ok=True)
started = step = int(state.read_text()) if state.exists() else 0
while step < steps:
    time.sleep(pause_s)
    step += 1
    with files.replacing(state) as temporary:  # whole, whenever it is killed
        temporary.write_text(str(step))
for name in ("generator", "generator_ema"):
    Path(out_dir, f"{name}.safetensors").write_text(str(step))
runs.finish(out_dir, {"started": started, "features": "random"})
"""
EVALUATION = """
from pathlib import Path
from aotlib import runs
(Path(out_dir) / "tables").mkdir(parents=True)
weights = Path(run_dir, "generator.safetensors").read_text()
_ = Path(out_dir, "tables", "summary.md").write_text("| bucket | l1 |\\n|:--|--:|\\n| 1-10 % | " + weights + " |\\n")
runs.finish(out_dir, {"l1": float(weights)})
"""
COMPARISON = """
from pathlib import Path
from aotlib import runs
steps = {name: int(Path(run, "generator_ema.safetensors").read_text()) for name, run in method_runs.items()}
runs.finish(out_dir, steps)
"""


@pytest.fixture
def toy(tmp_path, make_notebook):
    """A checkout with four notebooks that do next to nothing, the true Snakefile and a copy of the code."""
    root = tmp_path / "my toy"  # with a space, as people's folders have
    notebooks = root / "notebooks"
    shutil.copytree(ROOT / "aotlib", root / "aotlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", root)
    (root / "profiles").mkdir()
    (root / "profiles" / "toy.yaml").write_text("01_data: {scale: 2}\n05_training: {steps: 3}\n06_evaluation: {}\n")
    (root / "data" / "samples").mkdir(parents=True)
    (root / "data" / "samples" / "a.txt").write_text("a")
    where = 'out_dir = "../results/smoke/01_data"\ndata_dir = "../data/samples"\n'
    ending = 'from aotlib import runs\nruns.finish(out_dir, {"scale": scale})'
    make_notebook(notebooks / "01_data.ipynb", where + "scale = 1.0", ending)
    settings = 'method = "aot"\nseed = 0\nsteps = 2\npause_s = 0.0'
    make_notebook(notebooks / "05_training.ipynb", where + settings, TRAINING)
    make_notebook(notebooks / "06_evaluation.ipynb", where + 'run_dir = "../results/smoke/05_training"', EVALUATION)
    make_notebook(notebooks / "07_methods.ipynb", where + "method_runs = {}", COMPARISON)
    return root


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Smooth colour gradients: a tiny network can learn them in a few steps."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for split, n in (("train", 4), ("val", 2)):
        (folder / split).mkdir()
        for i in range(n):
            y, x = np.mgrid[0:80, 0:96] / 80
            slope = rng.uniform(-80, 80, (2, 3))
            picture = 128 + slope[0] * y[..., None] + slope[1] * x[..., None]
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / split / f"{i}.png")
    return folder


@pytest.fixture
def tiny(photographs):
    """The smallest run that has every part of a training."""
    from aotlib.config import TrainConfig

    return TrainConfig(
        data=str(photographs), size=48, width=2, n_blocks=1, rates=(1, 2), features="random", batch=2, steps=4,
        lr=1e-3, mask_high=0.4, workers=0, log_every=1, sample_every=2, save_every=2, n_samples=2, device="cpu",
        precision="float32",  # on every processor
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_study(tmp_path_factory):
    """A function that plans a study of four made-up photographs, filled by three methods, and returns its folder."""
    from aotlib.study import plan
    from aotlib.study.design import Design

    folder = tmp_path_factory.mktemp("results")
    rng, (height, width) = np.random.default_rng(0), (72, 96)
    y, x = np.mgrid[0:height, 0:width] / width
    hole = (abs(y - 0.4) < 0.15) & (abs(x - 0.5) < 0.2)
    for i in range(4):
        truth = 128 + (rng.uniform(-150, 150, (2, 3)) * np.stack([y, x], -1)[..., None]).sum(-2)
        fills = {"truth": truth, "masks": hole * 255.0} | {
            name: np.where(hole[..., None], truth + rng.normal(0, 20 * k, truth.shape), truth)
            for k, name in enumerate(("alphafill", "betafill", "gammafill"), 1)
        }
        for name, picture in fills.items():
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / name / f"photograph-{i}.png")

    def make(out: Path, *, minimum_s: float = 0.0, ties: bool = True, title: str = "Fills", **design) -> Path:
        methods = {name: folder / name for name in ("alphafill", "betafill", "gammafill")}
        design = Design(**{"sessions": 4, "pair": 3, "real": 2, "rank": 1, "rank_of": 3, "practice": 1} | design)
        said = {"minimum_s": minimum_s, "ties": ties, "title": title, "design": design, "secret": "of these tests"}
        plan.make(methods, folder / "truth", out, masks=folder / "masks", **said)
        return out

    return make
