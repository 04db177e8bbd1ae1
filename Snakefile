"""The notebooks as a graph: each one's results depend on the notebook, its parameters, its data and the code of aotlib.

`make reproduce` runs it on this machine; `snakemake --config profile=paper --executor slurm ...` on a cluster.
"""
import sys
from pathlib import Path

from aotlib import profiles, records

PROFILE = config.get("profile", "course")
RESULTS = f"results/{PROFILE}"
PYTHON = sys.executable  # the environment that Snakemake runs in
JOBS = profiles.plan(PROFILE, workflow.basedir)
FRAME = ("__main__", "cli", "report")  # changes no result of a notebook
CODE = sorted(f"aotlib/{path.name}" for path in Path(workflow.basedir, "aotlib").glob("*.py") if path.stem not in FRAME)
AFTER_TRAINING = [name for name, job in JOBS.items() if "run_dir" in job.parameters]


def folder(name):
    return JOBS[name].out_dir.relative_to(Path(workflow.basedir).resolve()).as_posix()


def weights(name):
    return f"{folder(profiles.TRAINING)}/generator_ema.safetensors" if name in AFTER_TRAINING else []


def settings(name):
    """All parameters, but of each folder only what is in it: a checkout that moved is not out of date."""
    parameters = JOBS[name].parameters
    source = records.data_folder(parameters)
    data = records.fingerprint(source) if source else None
    return {key: value for key, value in parameters.items() if not key.endswith("_dir")} | {"data": data}


SETTINGS = {name: settings(name) for name in JOBS}


rule all:
    input:
        f"{RESULTS}/report.html",


for NAME in [name for name in JOBS if name != profiles.TRAINING]:

    rule:
        name:
            NAME
        input:
            CODE,
            notebook=f"notebooks/{NAME}.ipynb",
            weights=weights(NAME),
        output:
            f"{RESULTS}/{NAME}/{NAME}.ipynb",
            f"{RESULTS}/{NAME}/metrics.json",
            f"{RESULTS}/{NAME}/record.json",
        params:
            name=NAME,
            settings=SETTINGS[NAME],
        threads: workflow.cores if NAME in AFTER_TRAINING else 1
        priority: 1  # before the training: what is short comes first
        shell:
            "{PYTHON:q} -m aotlib notebook {params.name} --profile {PROFILE:q} 2>&1"


if profiles.TRAINING in JOBS:

    # Its state is no output: Snakemake deletes the outputs of a run that was stopped, and this one is to go on.
    rule training:
        input:
            CODE,
            notebook=f"notebooks/{profiles.TRAINING}.ipynb",
        output:
            f"{folder(profiles.TRAINING)}/{profiles.TRAINING}.ipynb",
            f"{folder(profiles.TRAINING)}/metrics.json",
            f"{folder(profiles.TRAINING)}/record.json",
            f"{folder(profiles.TRAINING)}/generator.safetensors",
            f"{folder(profiles.TRAINING)}/generator_ema.safetensors",
        params:
            name=profiles.TRAINING,
            settings=SETTINGS[profiles.TRAINING],
        threads: workflow.cores
        shell:
            "{PYTHON:q} -m aotlib notebook {params.name} --profile {PROFILE:q} 2>&1"


rule report:
    input:
        [f"{folder(name)}/record.json" for name in JOBS],
        code="aotlib/report.py",
    output:
        f"{RESULTS}/report.html",
    shell:
        "{PYTHON:q} -m aotlib report --profile {PROFILE:q} 2>&1"
