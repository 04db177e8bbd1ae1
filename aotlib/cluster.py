r"""The graph on a cluster: what must be there before jobs are submitted, and what must not be left when one stops it.

Snakemake submits; this module only starts it with a folder of settings such as ``profiles/slurm``.
"""

import contextlib
import importlib.util
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import yaml


def check(settings: Path) -> None:
    r"""Answer in a line what would stop the first job: no settings, no plugin, no Slurm.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: with what to do about it.
    """
    path = settings / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; --cluster takes a folder such as profiles/slurm")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    name = content.get("executor") if isinstance(content, dict) else None
    if not name:
        raise ValueError(f"{path} has no line 'executor: ...'; compare it with profiles/slurm/config.yaml")
    if importlib.util.find_spec(f"snakemake_executor_plugin_{name.replace('-', '_')}") is None:
        plugin = f"snakemake-executor-plugin-{name}"
        raise RuntimeError(f"{path} needs a plugin that is not installed: {sys.executable} -m pip install {plugin}")
    if name == "slurm" and shutil.which("sbatch") is None:
        raise FileNotFoundError("this machine has no command sbatch; call this on a login node of the Slurm cluster")


def run(command: list, log: Path) -> int:
    r"""Run Snakemake to its end; when this process is told to stop, no job stays behind in the queue."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # the latter: the terminal was closed
        signal.signal(number, signal.default_int_handler)
    with log.open("w") as file:
        # In a session of its own, so that Ctrl-C reaches it once, from `stop`: a second one would break off cancelling.
        process = subprocess.Popen(command, stderr=file, start_new_session=True)
        try:
            return process.wait()
        except KeyboardInterrupt:
            stop(process, log)
            raise


def stop(process: subprocess.Popen, log: Path, patience_s: float = 15) -> None:
    r"""Stop Snakemake and cancel its jobs. At SIGINT it does so itself; at SIGTERM it would wait days for their end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("  cancelling the submitted jobs ...", flush=True)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
    name = re.search(r"SLURM run ID: (\S+)", log.read_text(encoding="utf-8"))
    if name:  # jobs have been cancelled by now, but it sleeps up to 3 minutes more, until its next look at the queue
        process.kill()
    process.wait()
    if name:  # a job that was on its way to the queue at that moment has been missed
        subprocess.run(["scancel", f"--name={name[1]}"], check=False)


def reasons(log: Path) -> list[str]:
    r"""Why each failed job ended, in a line of its own or else of Slurm's, and its log file."""
    found = []
    for path in dict.fromkeys(re.findall(r"^ +log: (.+) \(check log file", log.read_text(encoding="utf-8"), re.M)):
        text = Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).is_file() else ""
        said = re.findall(r"^aotlib: .+", text, re.M) or re.findall(r"^(?:srun|slurmstepd): .+", text, re.M)
        found += [f"  {said[-1]}\n  ({path})"] if said else []
    return found
