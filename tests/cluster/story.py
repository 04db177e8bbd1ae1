"""The smoke graph on the Slurm that run.sh started, in the folder that this is called in: killed, stopped, finished.

Not a test of pytest's: it needs Slurm, and takes some minutes.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml

from aotlib import profiles

HERE = Path.cwd()
RESULTS = HERE / "results" / "smoke"
LOG = RESULTS / "snakemake.log"
STARTED = time.time()
KNOWN: set[str] = set()  # job ids of earlier chapters


def main() -> None:
    rules = {"report"} | {name if name != profiles.TRAINING else "training" for name in profiles.plan("smoke", HERE)}

    say("1. the whole graph; its training job is killed once, and Snakemake is to submit it again")
    running = reproduce(settings(retries=1))
    job, state = running_training(running)
    subprocess.run(["scancel", "--signal=KILL", "--full", job], check=True)
    check(end_of(job) == "CANCELLED", f"job {job} was killed in the middle of its training")
    state, was = last_state(state)
    check(finish(running) == 0, "the graph reached its end")
    check((RESULTS / "report.html").is_file(), "the report is there")
    check(
        fingerprint(state) == was, f"training went on from {state.name}: neither it nor the log up to it was rewritten"
    )
    seen = new_jobs()
    count = Counter(rule for rule, _ in seen.values())
    check(count == Counter(rules) + Counter(["training"]), f"{len(seen)} jobs: one for each rule, two for the training")
    ended = sorted(end for rule, end in seen.values() if rule == "training")
    check(ended == ["CANCELLED", "COMPLETED"], f"the two trainings ended as {' and '.join(ended)}")
    check(all(end == "COMPLETED" for rule, end in seen.values() if rule != "training"), "all others as COMPLETED")
    check(submitted() == set(seen), "Snakemake's log names just these jobs")
    KNOWN.update(seen)

    say("2. a second call")
    before = {path: path.stat().st_mtime_ns for path in RESULTS.rglob("record.json")}
    check(finish(reproduce(settings(retries=0))) == 0 and not new_jobs(), "submitted nothing")
    check(all(path.stat().st_mtime_ns == time_ns for path, time_ns in before.items()), "changed no result")

    say("3. no retries: the notebook's process dies as if out of memory, the call fails, and the next one goes on")
    late = ("training", "06_evaluation", "report.html")  # all of them: Snakemake misses no file that nothing waits for
    subprocess.run(["rm", "-r", *(RESULTS / name for name in late)], check=True)
    running = reproduce(settings(retries=0))
    job, state = running_training(running)
    kill_notebook(job)
    check(end_of(job) == "FAILED", f"job {job} failed in the middle of its training")
    state, was = last_state(state)
    check(finish(running) != 0, "the call failed")
    check([job for job, (rule, _) in new_jobs().items() if rule == "training"] == [job], "it tried only once")
    KNOWN.update(new_jobs())

    say("4. Ctrl-C while that next call has a job in the cluster")
    running = reproduce(settings(retries=0))
    wait(lambda: "RUNNING" in dict(new_jobs().values()).values(), "a running job", running)
    started = time.time()
    os.kill(running.pid, signal.SIGINT)
    check(finish(running) != 0, f"the call ended after {time.time() - started:.0f} s")
    wait(lambda: not alive(), "an empty queue")
    check("CANCELLED" in dict(new_jobs().values()).values(), "its job was cancelled, and none is left")
    KNOWN.update(new_jobs())
    check(finish(reproduce(settings(retries=0))) == 0, "the call after it reached the end")
    check(fingerprint(state) == was, f"training went on from {state.name}")
    after = {"training", "06_evaluation", "11_paper_tables", "report"}  # what the training's weights go into
    check({rule for rule, _ in new_jobs().values()} == after, "the rest was kept")
    say("passed")


def settings(retries: int) -> Path:
    """profiles/slurm with the lines that a person edits, for a node of two cores, and more eager looks at the queue."""
    content = yaml.safe_load((HERE / "profiles" / "slurm" / "config.yaml").read_text())
    content["default-resources"]["slurm_partition"] = "'all'"
    content["set-resources"]["training"]["slurm_extra"] = "--signal=TERM@120"
    content["set-threads"] = {rule: 1 for rule in content["set-threads"]}
    content["slurm-init-seconds-before-status-checks"] = 2
    content["retries"] = retries
    folder = HERE / "profiles" / f"slurm-test-{retries}"
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder


def reproduce(folder: Path) -> subprocess.Popen:
    words = ["reproduce", "--profile", "smoke", "--cluster", folder.relative_to(HERE)]
    file = (HERE / "terminal.log").open("w")
    hear = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a background job has it off
    return subprocess.Popen([sys.executable, "-m", "aotlib", *words], stdout=file, stderr=subprocess.STDOUT, **hear)


def finish(running: subprocess.Popen, minutes: float = 20) -> int:
    code = running.wait(minutes * 60)
    show_terminal()
    return code


def show_terminal() -> None:
    for line in (HERE / "terminal.log").read_text().splitlines():
        if line and not line.startswith("|"):
            print(f"  > {line.strip()}")


def jobs() -> dict[str, tuple[str, str]]:
    """All jobs that Slurm remembers: number -> rule and state."""
    command = ["squeue", "--states=all", "--noheader", "--format=%i|%k|%T"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split("|") for line in text.splitlines()]
    return {number: (comment.removeprefix("rule_"), state) for number, comment, state in rows}


def new_jobs() -> dict[str, tuple[str, str]]:
    return {number: job for number, job in jobs().items() if number not in KNOWN}


def alive() -> list[str]:
    return [number for number, (_, state) in jobs().items() if state in ("PENDING", "RUNNING", "COMPLETING")]


def submitted() -> set[str]:
    return set(re.findall(r"has been submitted with SLURM jobid (\d+)", LOG.read_text()))


def running_training(running: subprocess.Popen) -> tuple[str, Path]:
    """The training's job and its first state, as soon as both are there; its second one would be its last."""
    states = wait(lambda: sorted(RESULTS.glob("training/*/state/step_*.pt")), "a state of the training", running)
    (job,) = [number for number, (rule, end) in new_jobs().items() if (rule, end) == ("training", "RUNNING")]
    return job, states[0]


def kill_notebook(job: str) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SLURM_JOB_ID") == job and "ipykernel_launcher" in " ".join(process.cmdline()):
                process.kill()


def end_of(job: str) -> str:
    return wait(lambda: (state := jobs()[job][1]) not in ("RUNNING", "COMPLETING") and state, f"the end of job {job}")


def last_state(state: Path) -> tuple[Path, tuple]:
    """The newest state beside `state` now that its job has ended: a signal may have had time to save one; its mark."""
    newest = max(state.parent.glob("step_*.pt"))
    return newest, fingerprint(newest)


def fingerprint(state: Path) -> tuple:
    """Changes when the state, or the log up to it, is written again: a line of the log holds its step's speed."""
    step = int(state.stem.removeprefix("step_"))
    rows = (state.parent.parent / "log.jsonl").read_text().splitlines()
    return (
        state.stat().st_ino,
        state.stat().st_mtime_ns,
        [row for row in rows if int(re.findall(r"\d+", row)[0]) <= step],
    )


def wait(until, what: str, running: subprocess.Popen | None = None, seconds: float = 600):
    end = time.time() + seconds
    while time.time() < end:
        if found := until():
            return found
        if running is not None and running.poll() is not None:
            show_terminal()
            sys.exit(f"test-cluster: the call ended before there was {what}")
        time.sleep(0.05)
    sys.exit(f"test-cluster: there is not {what} after {seconds:.0f} s")


def check(right: bool, what: str) -> None:
    if not right:
        print(*(f"{number} {rule} {end}" for number, (rule, end) in new_jobs().items()), sep="\n")
        sys.exit(f"test-cluster: NOT so: {what}")
    print(f"  ok: {what}", flush=True)


def say(text: str) -> None:
    print(f"[{time.time() - STARTED:4.0f} s] {text}", flush=True)


if __name__ == "__main__":
    main()
