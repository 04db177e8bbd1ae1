r"""The command `aotlib`: what is run outside notebooks.

Only the command that needs torch imports it, so that help and mistakes are answered at once.
"""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import psutil
import tyro

from aotlib import attempts, bench, cases_cli, compare_cli, convert, evaluate_cli, profiles, records, study_cli
from aotlib import cluster as on_cluster
from aotlib.choices import nearest
from aotlib.config import TrainConfig
from aotlib.files import only_writer

DESCRIPTION = """AOT-GAN as a notebook suite. `make reproduce` calls `aotlib reproduce`.

AOTLIB_TRACEBACK=1 shows where an error arose."""


def data(
    images: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|FOLDER")] = "samples",
    root: Path | None = None,
    split: str = "all",
    masks: Path | None = None,
    quarantine: Path = Path("results/quarantine.csv"),
) -> None:
    """Check photographs, and mask files if given: how many, how large, which cannot be used.

    Args:
        images: samples, places2, celebahq, openlogo, or any folder of images.
        root: where the named data set is; data/NAME when not given.
        split: train, val or test; all is every image in the folder.
        masks: a folder of mask files (white = hole) to count by share of hole.
        quarantine: the list of files that cannot be used is saved here.
    """
    from aotlib import check

    print(check.images(images, root or profiles.find_root() / "data" / images, split, quarantine))
    if masks is not None:
        print(check.masks(masks))


def notebook(name: tyro.conf.Positional[str], profile: str = "course", attempt: bool = False) -> None:
    """Run one notebook of a profile; its results go to results/PROFILE/NAME.

    Args:
        name: such as 02_generator.
        profile: smoke, course or paper, or any other file in profiles/.
        attempt: note in attempt.json whether it came to its end, and call a failure no error.
    """
    from aotlib import runs

    jobs = profiles.plan(profile)
    if name not in jobs:
        raise KeyError(f"profile {profile} has no notebook {name!r}; {nearest(name, jobs)}")
    job = jobs[name]
    print(f"  {name} ...", flush=True)
    limit = None if job.trains or job.after else 3600  # at the paper's size these may take days
    try:
        record = runs.run_notebook(job.notebook, job.out_dir, job.parameters, timeout_s=limit)
    except runs.NotebookFailed as error:
        if not attempt or "KeyboardInterrupt" in str(error):
            raise  # what was stopped goes on when it is called again
        attempts.write_note(job.out_dir, str(error).splitlines()[0])
        print(f"  {name} FAILED: {error}", flush=True)
        return
    if attempt:
        attempts.write_note(job.out_dir)
    print(f"  {name} done in {record['seconds']:.0f} s", flush=True)


def reproduce(profile: str = "course", cores: int = 2, cluster: Path | None = None, dry_run: bool = False) -> None:
    """Run what is out of date of all notebooks, then print the result table and the path of the report.

    Args:
        profile: smoke (minutes), course (minutes on two CPU cores), paper (a GPU; its ablations alone take weeks of
            one: a cluster runs them side by side), or any other file in profiles/.
        cores: CPU cores of this machine to use at a time.
        cluster: submit every notebook as a job: the folder of Snakemake's settings for it, such as profiles/slurm.
        dry_run: only list what would run, and why.
    """
    root = profiles.find_root()
    jobs = profiles.plan(profile, root)  # a mistake in a profile is answered here, in a few words
    if cluster is not None:
        on_cluster.check(cluster)
    started = time.time()
    with only_writer(root / "results"):
        again = [(jobs[name].out_dir / attempts.NOTE).relative_to(root) for name in attempts.failed(jobs)]
        code = _snakemake(root, profile, cores, cluster, dry_run, again)
    if code != 0:
        log = root / "results" / profile / "snakemake.log"
        account = log.read_text(encoding="utf-8")
        if "Error in rule" not in account:  # no notebook failed, and so none has said why
            print(account)
        elif cluster is not None:  # here they said it to files
            print(*on_cluster.reasons(log), sep="\n")
        raise RuntimeError(f"stopped before the end; call it again to go on. Snakemake's own account is in {log}")
    if not dry_run:
        _print_summary(root / "results" / profile, time.time() - started)
        if failed := attempts.failed(jobs):
            told = "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
            ways_out = "call it again to try them again, or leave them out: `only` in the profile lists what is wanted"
            raise RuntimeError(f"{len(failed)} runs failed, shown as not run; {ways_out}:\n{told}")


def _snakemake(root: Path, profile: str, cores: int, cluster: Path | None, dry_run: bool, again: list[Path]) -> int:
    command = [sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile", "--directory", root]
    command += ["--workflow-profile", cluster.resolve()] if cluster else ["--cores", str(cores), *_limits()]
    command += ["--config", f"profile={profile}", "--rerun-incomplete", "--scheduler", "greedy"]
    command += ["--nolock"]  # our own lock is freed by the system even after kill -9; Snakemake's would be left
    command += ["--dry-run", "--quiet", "host"] if dry_run else ["--quiet", "host", "progress"]
    command += ["--forcerun", *again] if again else []  # what is only missing it would not miss
    log = root / "results" / profile / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if cluster and not dry_run:
        print(f"  submitting jobs; Snakemake's account of them: {log}", flush=True)
        return on_cluster.run(command, log)
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=None if dry_run else file)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop_children)
        return process.wait()


def _limits() -> list[str]:
    """On a GPU one training at a time: all would take the first one, and its memory is hardly enough for two."""
    from aotlib.hardware import pick_device

    return ["--resources", "trainings=1"] if pick_device().type == "cuda" else []


def _stop_children(*_) -> None:
    for child in psutil.Process().children(recursive=True):  # Snakemake alone would wait for a notebook to end
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()


def _print_summary(results: Path, seconds: float) -> None:
    table = results / "06_evaluation" / "tables" / "summary.md"
    if table.is_file():
        print(f"\n{table.read_text(encoding='utf-8').strip()}\n")
    print(f"{results.name}: all up to date after {seconds:.0f} s\nreport: {results / 'report.html'}")


def report(profile: str = "course", reference: bool = False) -> None:
    """Write results/PROFILE/report.html: all figures and tables on one page.

    Args:
        reference: keep what the README shows in results/reference, too.
    """
    from aotlib.kept import keep_reference
    from aotlib.report import write_report

    print(f"  report {write_report(profile, profiles.find_root())}", flush=True)
    if reference:
        print(f"  kept in {keep_reference(profile, profiles.find_root())}")


def train(config: tyro.conf.OmitArgPrefixes[TrainConfig], run_dir: Path | None = None) -> None:
    """Train a model outside a notebook, or go on with a run that was stopped.

    Args:
        run_dir: the run's folder; results/train/ and a name made of the configuration when not given.
    """
    from aotlib import launch

    launch.run(config, run_dir)


def as_published(arguments: list[str]) -> TrainConfig:
    """What `train` counts from: the settings of the paper whose method its arguments name; AOT-GAN's where they do not.

    >>> as_published(["train", "--method", "ca", "--width", "8"]).beta1
    0.5
    """
    words = [word for argument in arguments for word in argument.split("=", 1)]
    name = next((value for word, value in zip(words, words[1:], strict=False) if word == "--method"), "aot")
    if arguments[:1] != ["train"] or name == "aot":
        return TrainConfig()
    from aotlib.methods import METHODS

    return TrainConfig(method=name, **METHODS[name].settings()) if name in METHODS else TrainConfig()


def main() -> None:
    commands = {"data": data, "notebook": notebook, "reproduce": reproduce, "report": report}
    commands["train"] = functools.partial(train, config=as_published(sys.argv[1:]))
    commands["bench"] = bench.command
    commands["shards"] = convert.shards
    commands["cases"], commands["evaluate"] = cases_cli.cases, evaluate_cli.evaluate
    commands["compare"], commands["study"] = compare_cli.compare, study_cli.study
    prog, words = "aotlib", sys.argv[1:]
    if words[:1] == ["study"]:
        prog, words, commands = "aotlib study", words[1:], study_cli.COMMANDS
    # Threads that wait sleep: turning ones would take a core from the process that they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with records.each_folder_once():
            tyro.extras.subcommand_cli_from_dict(commands, prog=prog, description=DESCRIPTION, args=words)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, FloatingPointError) as error:
        if os.environ.get("AOTLIB_TRACEBACK"):
            raise
        text = error.args[0] if isinstance(error, KeyError) else error  # str() would add quotation marks
        print(f"aotlib: {text}", file=sys.stderr)
        sys.exit(128 + error.number if hasattr(error, "number") else 1)  # as a shell reports a signal
    except KeyboardInterrupt as stop:
        sys.exit(f"aotlib: {stop if str(stop) else 'stopped'}")
