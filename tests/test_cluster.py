"""Submitting to a cluster: what is missing is said before the first job. The jobs themselves: make test-cluster."""

import re
import sys

import pytest
import yaml
from conftest import ROOT

from aotlib import cluster, profiles

SETTINGS = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "takes a folder such as profiles/slurm"),
        ("", "has no line 'executor: ...'"),
        ("jobs: 3", "has no line 'executor: ...'"),
        ("executor: no-such", "-m pip install snakemake-executor-plugin-no-such$"),
        ("executor: slurm", "login node of the Slurm cluster"),
    ],
)
def test_what_is_missing_is_said_with_its_remedy(tmp_path, monkeypatch, text, said):
    monkeypatch.setattr(cluster.shutil, "which", lambda _: None)
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises((OSError, ValueError, RuntimeError), match=said):
        cluster.check(tmp_path)


def test_settings_name_rules_that_exist_and_all_that_the_graph_asks_for():
    rules = {"training" if name == profiles.TRAINING else name for name in profiles.load_profile("paper", ROOT)}
    rules |= {"variant"}  # of a grid
    assert SETTINGS["set-threads"].keys() <= rules and SETTINGS["set-resources"].keys() <= rules
    assert {"executor", "jobs", "cores"} <= SETTINGS.keys()
    jobs = profiles.plan("paper", ROOT)
    judging = {name for name, job in jobs.items() if any(jobs[other].trains for other in job.after)}
    greedy = judging | {name for name, job in jobs.items() if "bench_dir" in job.parameters}
    assert "07_methods" in greedy
    assert (
        greedy | {"training", "variant"} <= SETTINGS["set-threads"].keys()
    )  # else one would ask for the cores of all jobs


def test_a_failed_job_is_quoted(tmp_path):
    said = tmp_path / "7.log"
    said.write_text("rule a:\naotlib: 01_data: cell In [3], 'x': KeyError: 'x'\n(kept as y)\nsrun: error: vm\n")
    log = tmp_path / "snakemake.log"
    entry = "Error in rule a:\n    log: {} (check log file(s) for error details)\n"
    log.write_text(entry.format(said) * 2 + entry.format(tmp_path / "gone.log"))
    assert cluster.reasons(log) == [f"  aotlib: 01_data: cell In [3], 'x': KeyError: 'x'\n  ({said})"]


def test_jobs_are_cancelled_whatever_snakemake_did(tmp_path, monkeypatch):
    """Told to stop, Snakemake sleeps on: it is ended, and its jobs are cancelled by their name."""
    called = []
    monkeypatch.setattr(cluster.subprocess, "run", lambda words, check: called.append(words))
    monkeypatch.setattr(cluster.signal, "signal", lambda *_: None)
    log = tmp_path / "snakemake.log"
    log.write_text("SLURM run ID: 12-ab\n")
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    process = cluster.subprocess.Popen([sys.executable, "-c", deaf], stdout=cluster.subprocess.PIPE)
    process.stdout.readline()
    cluster.stop(process, log, patience_s=0.2)
    assert process.returncode == -9 and called == [["scancel", "--name=12-ab"]]


def test_the_extra_and_the_text_name_one_plugin():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (wanted,) = re.findall(r'^cluster = \["(.+)"\]$', project, re.M)
    assert wanted in (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
