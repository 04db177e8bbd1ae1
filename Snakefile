"""The notebooks as a graph: each one's results depend on the notebook, its parameters, its data and the code of aotlib.

`make reproduce` runs it on this machine; with `aotlib reproduce --cluster profiles/slurm` each notebook is a job.
"""
import os
import sys
from pathlib import Path

from aotlib import attempts, profiles, records

PROFILE = config.get("profile", "course")
RESULTS = f"results/{PROFILE}"
PYTHON = sys.executable  # the environment that Snakemake runs in
with records.each_folder_once():  # not once for each notebook: a folder of a million files takes a minute
    JOBS = profiles.plan(PROFILE, workflow.basedir)
    SOURCES = {name: records.data_folder(job.parameters) for name, job in JOBS.items()}
    DATA = {name: records.fingerprint(source) if source else None for name, source in SOURCES.items()}
FRAME = ("__main__", "cases_cli", "cli", "cluster", "compare_cli", "convert", "evaluate_cli", "folders", "kept")
FRAME += ("matching", "report", "scorecard", "study_answers_cli", "study_cli")  # they change no notebook
FRAME += ("study/guard", "study/progress", "study/server", "study/serving", "study/store")  # nor do these
HERE = Path(workflow.basedir)
CODE = [path.relative_to(HERE / "aotlib").with_suffix("").as_posix() for path in (HERE / "aotlib").rglob("*.py")]
CODE = sorted(f"aotlib/{name}.py" for name in CODE if name not in FRAME)
TIMED = [name for name, job in JOBS.items() if "bench_dir" in job.parameters]  # nothing else is to compute meanwhile
ALONE = [name for name in JOBS if name in TIMED or any(JOBS[other].trains for other in JOBS[name].after)]
SUPPLIED = ("bench_dir", "weights_dir", "compared_dir", "larger_dir", "serving_dir", "coverage_dir")
RUNS = {JOBS[name].out_dir.name: name for name in reversed(JOBS) if JOBS[name].trains}  # by folder
GRID = {run: name for run, name in RUNS.items() if JOBS[name].may_fail}


def folder(name):
    return JOBS[name].out_dir.relative_to(Path(workflow.basedir).resolve()).as_posix()


def before(name):
    """What is read of the jobs that come before this one."""
    return [f"{folder(other)}/{last_file(JOBS[other])}" for other in JOBS[name].after]


def last_file(job):
    """What is there when the job is done; of a run that may fail, when it was tried."""
    if job.may_fail:
        return attempts.NOTE
    return "generator_ema.safetensors" if job.trains else "record.json"


def supplied(name):
    """Files that come with the suite, where a notebook shows them: with others it is out of date."""
    parameters = JOBS[name].parameters
    paths = [JOBS[name].notebook.parent / parameters[key] for key in ("demo", "reference", "grid") if parameters.get(key)]
    folders = [Path(parameters[key]) for key in SUPPLIED if parameters.get(key)]
    paths += [path for folder in folders for path in sorted(folder.glob("*.*")) if path.suffix not in (".md", ".png")]
    paths += [Path(parameters["plan_dir"], "plan.json")] if parameters.get("plan_dir") else []
    paths += sorted(Path(parameters["answers_dir"]).rglob("*.json")) if parameters.get("answers_dir") else []
    return [os.path.relpath(path.resolve(), HERE) for path in paths]


def settings(name):
    """All parameters, but of each folder only what is in it: a checkout that moved is not out of date."""
    parameters = JOBS[name].parameters
    places = {key for key in parameters if key.endswith("_dir")} | set(profiles.GROUPS)
    kept = {key: value for key, value in parameters.items() if key not in places} | {"data": DATA[name]}
    return kept | ({"masks": records.fingerprint(parameters["masks"])} if parameters.get("masks") else {})


SETTINGS = {name: settings(name) for name in JOBS}


rule all:
    input:
        f"{RESULTS}/report.html",


for NAME in [name for name in JOBS if not JOBS[name].trains]:

    rule:
        name:
            NAME
        input:
            CODE,
            notebook=f"notebooks/{NAME}.ipynb",
            before=before(NAME),
            supplied=supplied(NAME),
        output:
            f"{RESULTS}/{NAME}/{NAME}.ipynb",
            f"{RESULTS}/{NAME}/metrics.json",
            f"{RESULTS}/{NAME}/record.json",
        params:
            name=NAME,
            settings=SETTINGS[NAME],
        threads: workflow.cores if NAME in ALONE else 1
        priority: 1  # before the training: what is short comes first
        shell:
            "{PYTHON:q} -m aotlib notebook {params.name} --profile {PROFILE:q} 2>&1"


if RUNS.keys() - GRID:

    # A run's state is no output: Snakemake deletes the outputs of a run that was stopped, and this one is to go on.
    # The profile's own run has the machine to itself; those of a group are small, and go side by side.
    rule training:
        input:
            CODE,
            notebook=f"notebooks/{profiles.TRAINING}.ipynb",
        output:
            f"{RESULTS}/training/{{run}}/{profiles.TRAINING}.ipynb",
            f"{RESULTS}/training/{{run}}/metrics.json",
            f"{RESULTS}/training/{{run}}/record.json",
            f"{RESULTS}/training/{{run}}/generator.safetensors",
            f"{RESULTS}/training/{{run}}/generator_ema.safetensors",
        wildcard_constraints:
            run="|".join(sorted(RUNS.keys() - GRID)),
        params:
            name=lambda wildcards: RUNS[wildcards.run],
            settings=lambda wildcards: SETTINGS[RUNS[wildcards.run]],
        threads: lambda wildcards: workflow.cores if RUNS[wildcards.run] == profiles.TRAINING else 1
        resources:
            trainings=1,  # at a time, on a GPU (`aotlib reproduce`)
        shell:
            "{PYTHON:q} -m aotlib notebook {params.name} --profile {PROFILE:q} 2>&1"


if GRID:

    # What a run of a grid makes is no output either; that it was tried is. One that failed stops no other.
    rule variant:
        input:
            CODE,
            notebook=f"notebooks/{profiles.TRAINING}.ipynb",
        output:
            f"{RESULTS}/training/{{run}}/{attempts.NOTE}",
        wildcard_constraints:
            run="|".join(GRID),
        params:
            name=lambda wildcards: GRID[wildcards.run],
            settings=lambda wildcards: SETTINGS[GRID[wildcards.run]],
        resources:
            trainings=1,
        shell:
            "{PYTHON:q} -m aotlib notebook {params.name} --profile {PROFILE:q} --attempt 2>&1"


rule report:
    input:
        [f"{folder(name)}/{attempts.NOTE if job.may_fail else 'record.json'}" for name, job in JOBS.items()],
        code=["aotlib/report.py", "aotlib/page.html.jinja"],
    output:
        f"{RESULTS}/report.html",
    shell:
        "{PYTHON:q} -m aotlib report --profile {PROFILE:q} 2>&1"
