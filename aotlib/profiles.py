r"""Which notebooks a profile runs, with which parameters, and where each writes: all of it known before anything runs.

Nothing here imports torch: Snakemake reads this module each time. Taught in notebook 05.
"""

import ast
import functools
import json
from pathlib import Path
from typing import NamedTuple

from aotlib.choices import nearest
from aotlib.config import TrainConfig
from aotlib.grids import check_runs, written_out
from aotlib.run_names import FOLDERS, code_digest, training_run
from aotlib.yaml_files import read_yaml

TRAINING, EVALUATION = "05_training", "06_evaluation"
BEFORE = {"run_dir": TRAINING, "evaluation_dir": EVALUATION}  # parameters that name the folder of another notebook
GROUPS = {
    "method_runs": "methods",
    "ablation_runs": "ablations",
}  # parameters that name several runs' folders, by group


class Job(NamedTuple):
    r"""One notebook of a profile: what is run, where it writes, and all its parameters (folders are absolute).

    Attributes:
        after: names of the jobs whose results it reads.
        may_fail: one of a grid, whose failure does not stop the others (`aotlib.attempts`).
    """

    notebook: Path
    out_dir: Path
    parameters: dict
    after: tuple[str, ...] = ()
    may_fail: bool = False

    @property
    def trains(self) -> bool:
        return self.notebook.stem == TRAINING


def find_root(start: str | Path = ".") -> Path:
    r"""The checkout that `start` lies in: the nearest folder upwards with a Snakefile, else the one of this package."""
    here = Path(start).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "Snakefile").is_file() and (folder / "profiles").is_dir():
            return folder
    raise FileNotFoundError(f"no Snakefile and profiles/ at or above {here}; run this inside a checkout of the suite")


def load_profile(name: str, root: str | Path | None = None) -> dict[str, dict]:
    r"""``profiles/<name>.yaml``: the parameters of every notebook that differ from its defaults.

    Raises:
        ValueError: at a text that looks like a number: YAML reads ``1e-4`` as a text, and ``1.0e-4`` as the number. At
            a key that is given twice, and at a mistake in a grid.
    """
    folder = Path(root or find_root()) / "profiles"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no profile {name!r}; {nearest(name, [p.stem for p in folder.glob('*.yaml')])}")
    content = read_yaml(path)
    profile = {key: {} if value is None else value for key, value in (content or {}).items()}
    for group in _groups(profile):
        profile[group] = written_out(profile[group], path)
    for notebook, parameters in _flat(profile).items():
        if not isinstance(parameters, dict):
            raise ValueError(f"{path.name}: {notebook}: needs lines 'parameter: value', found {parameters!r}")
        for key, value in parameters.items():
            _refuse_number_texts(value, f"{path.name}: {notebook}: {key}")
    return profile


def _refuse_number_texts(value: object, where: str) -> None:
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_number_texts(item, where)
    elif isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return
        raise ValueError(f"{where} = {value!r} is a text to YAML, not a number; write {_yaml_number(number)}")


def _yaml_number(number: float) -> str:
    text = repr(number)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def declared_parameters(notebook: str | Path) -> dict[str, object]:
    r"""Names and defaults of a notebook, read from its one cell tagged ``parameters``.

    That cell holds literals only, one a line: papermill writes new values *below* it, so anything worked out there
    would keep the value of the defaults.
    """
    notebook = Path(notebook)
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{notebook.name} has {len(tagged)} cells tagged 'parameters'; it needs exactly one")
    source = "".join(tagged[0]["source"])
    declared = {}
    for line in ast.parse(source).body:
        text = ast.get_source_segment(source, line)
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        try:
            (name,) = targets
            declared[name.id] = ast.literal_eval(line.value)
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"{notebook.name}: {text!r} in the parameters cell is not 'name = literal'") from None
        _check_literal(declared[name.id], f"{notebook.name}: {text!r}")
    return declared


def _check_literal(value: object, where: str) -> None:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_literal(item, where)
    elif not isinstance(value, bool | int | float | str | None):
        raise ValueError(f"{where}: papermill would turn this {type(value).__name__} into a text; write a list")


def checked_parameters(notebook: str | Path, given: dict) -> dict:
    r"""All parameters of the notebook: its defaults, with `given` in their place once names and types are right."""
    declared = declared_parameters(notebook)
    name = Path(notebook).name
    for key in given:
        if key not in declared:
            raise KeyError(f"{name} has no parameter {key!r}; {nearest(key, declared)}")
    return declared | {key: _converted(value, declared[key], f"{name}: {key}") for key, value in given.items()}


def _converted(value: object, default: object, where: str) -> object:
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if default is not None and type(value) is not type(default):
        kind, seen = type(default).__name__, type(value).__name__
        raise TypeError(f"{where} = {value!r} is of type {seen}; it must be {kind}, like the default {default!r}")
    if isinstance(value, list) and default:
        return [_converted(item, default[0], where) for item in value]
    _check_literal(value, where)
    return value


def plan(profile: str, root: str | Path | None = None) -> dict[str, Job]:
    r"""Every notebook of the profile in order, with the folder that it writes to and all its parameters.

    A notebook that has a parameter ``run_dir`` gets the folder of the training run, one that has an
    ``evaluation_dir`` that of the evaluation, and one that has ``method_runs`` the folders of the runs of the group
    ``methods``, by name: each is a run of the training notebook, here the job ``methods.<name>``. One that has a
    ``grid`` gets the file that the group of its runs names.
    """
    root = Path(root or find_root()).resolve()
    digest = functools.cache(functools.partial(code_digest, root / "aotlib"))  # once a plan, not once a run
    content, jobs = load_profile(profile, root), {}
    named = {group: content[group]["grid"] for group in _groups(content) if "grid" in content[group]}
    grids = {group: f"../profiles/{file}" for group, file in named.items()}  # as seen from a notebook
    kept = {"out_dir", *BEFORE, *GROUPS} | ({"grid"} if grids else set())
    for name, given in sorted(_flat(content).items()):
        kind = TRAINING if "." in name else name
        notebook = root / "notebooks" / f"{kind}.ipynb"
        if not notebook.is_file():
            known = [path.stem for path in notebook.parent.glob("*.ipynb")]
            raise FileNotFoundError(f"profiles/{profile}.yaml: there is no notebook {name!r}; {nearest(name, known)}")
        if fixed := kept & given.keys():
            raise ValueError(f"profiles/{profile}.yaml: {name}: {', '.join(sorted(fixed))} is not a profile's to set")
        parameters = _found_folders(checked_parameters(notebook, given), notebook.parent)
        if kind == TRAINING and "gate" in parameters:
            _check_training(parameters, f"profiles/{profile}.yaml: {name}")
        results = root / "results" / profile
        out_dir = results / "training" / training_run(parameters, digest) if kind == TRAINING else results / name
        of_grid = name.partition(".")[0] in grids
        jobs[name] = Job(notebook, out_dir, parameters | {"out_dir": str(out_dir)}, may_fail=of_grid)
    check_runs({name: (job.parameters, job.out_dir) for name, job in jobs.items() if job.may_fail})
    return {name: _after_others(name, jobs, grids, profile) for name in jobs}


def _check_training(parameters: dict, where: str) -> None:
    """A value that no run can have is answered here, and not when hours of others have passed."""
    try:
        TrainConfig.of(parameters)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _groups(profile: dict[str, dict]) -> list[str]:
    return [group for group in GROUPS.values() if group in profile]


def _flat(profile: dict[str, dict]) -> dict[str, dict]:
    """The profile with ``group: {each: {...}, one: {...}}`` written as ``group.one: {...}``."""
    flat = {name: given for name, given in profile.items() if name not in GROUPS.values()}
    for group in _groups(profile):
        runs = {name: {} if own is None else own for name, own in profile[group].items()}
        each, _ = runs.pop("each", {}), runs.pop("grid", "")
        flat |= {f"{group}.{name}": each | own if isinstance(own, dict) else own for name, own in runs.items()}
    return flat


def _found_folders(parameters: dict, start: Path) -> dict:
    folders = [key for key, value in parameters.items() if key.endswith("_dir") and value]
    folders += [key for key in FOLDERS if (value := parameters.get(key)) and (start / value).is_dir()]
    return parameters | {key: str((start / parameters[key]).resolve()) for key in folders}


def _after_others(name: str, jobs: dict[str, Job], grids: dict[str, str], profile: str) -> Job:
    """The job with the folders of those that come before it in its parameters."""
    job, found, after = jobs[name], {}, []
    for key, other in {**BEFORE, **GROUPS}.items():
        if key not in job.parameters:
            continue
        runs = {run.removeprefix(f"{other}."): run for run in jobs if run == other or run.startswith(f"{other}.")}
        if not runs:
            raise ValueError(f"profiles/{profile}.yaml: {name} has a {key}, but no {other} comes before it")
        folders = {short: str(jobs[run].out_dir) for short, run in runs.items()}
        found[key] = folders if key in GROUPS else folders[other]
        found |= {"grid": grids[other]} if other in grids and "grid" in job.parameters else {}
        after += runs.values()
    return job._replace(parameters=job.parameters | found, after=tuple(after))
