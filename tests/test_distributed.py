"""Several processes on one machine (gloo): the same losses as one, and a dead one is started again."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest
from conftest import ROOT
from test_resume import assert_same_run

from aotlib import launch
from aotlib.checkpoint import state_files
from aotlib.distributed import Group, Share
from aotlib.launch import options, start, torchrun
from aotlib.train import train
from aotlib.trainlog import read_log

# Rank 1 dies by kill -9 at step 6, once.
DYING = """
import os, sys, pathlib
from aotlib import train as t
step, mark = t.training_step, pathlib.Path(sys.argv.pop(1))
def die_once(state, *rest):
    if state.step == 5 and os.environ["RANK"] == "1" and not mark.exists():
        mark.write_text("dead")
        os.kill(os.getpid(), 9)
    return step(state, *rest)
t.training_step = die_once
from aotlib.launch import main
main()
"""


@pytest.fixture
def ten(tiny):
    return dataclasses.replace(tiny, batch=4, steps=10, sample_every=10, save_every=2, processes=2)


def test_two_ranks_give_the_losses_of_one(ten, tmp_path):
    rows = []
    last = start(ten, tmp_path / "two", rows.append)
    train(dataclasses.replace(ten, processes=1), tmp_path / "one")
    one, two = read_log(tmp_path / "one"), read_log(tmp_path / "two")
    assert [row["step"] for row in two] == list(range(1, 11)) and rows == two and last == two[-1]
    for a, b in zip(one, two):
        assert a.keys() == b.keys()
        for name in a.keys() - {"images_per_s", "seconds"}:
            assert b[name] == pytest.approx(a[name], rel=1e-5), (a["step"], name)
    assert one[0]["rec"] != one[-1]["rec"]


def test_ranks_that_do_not_average_their_gradients_are_caught(ten, tmp_path):
    script = tmp_path / "apart.py"
    script.write_text("from aotlib import launch, step\nstep.shared = lambda network, *_: network\nlaunch.main()\n")
    command = torchrun(ten, tmp_path / "apart", 2)
    at = command.index("aotlib.train")
    command[at - 1 : at + 1] = [str(script)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    train(dataclasses.replace(ten, processes=1), tmp_path / "one")
    a, b = read_log(tmp_path / "one")[-1], read_log(tmp_path / "apart")[-1]
    assert abs(a["rec"] - b["rec"]) > 1e-3 * a["rec"], "the comparison of one and two ranks could not fail"


def test_a_stop_reaches_every_process_and_loses_nothing(ten, tmp_path):
    """SIGTERM to the command that was called, between two lines of the log; then the same command goes on."""
    config = dataclasses.replace(ten, steps=400, log_every=4, sample_every=400, save_every=400)
    words = [sys.executable, "-m", "aotlib", "train", *options(config), f"--run-dir={tmp_path / 'cut'}"]
    running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(1200):
        if read_log(tmp_path / "cut"):
            break
        time.sleep(0.1)
    running.terminate()
    said = running.communicate(timeout=120)[1]
    assert running.returncode == 128 + 15 and "told to save their state" in said, said
    left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path / "cut") in " ".join(p.info["cmdline"] or [])]
    assert not left, "processes train on"
    (state,) = state_files(tmp_path / "cut" / "state")
    at = int(state.stem.split("_")[1])
    assert 4 <= at < 400
    config = dataclasses.replace(config, steps=at + 4 - at % 4, sample_every=4, save_every=4)
    start(config, tmp_path / "cut")
    start(config, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "cut", best=False)


def test_a_dead_process_is_started_again_and_nothing_is_lost(ten, tmp_path):
    script, mark = tmp_path / "dying.py", tmp_path / "dead"
    script.write_text(DYING)
    command = torchrun(ten, tmp_path / "hit", 2, restarts=1)
    at = command.index("aotlib.train")
    command[at - 1 : at + 1] = [str(script), str(mark)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert mark.exists()
    launch.run(ten, tmp_path / "calm")  # as the command does: it locks the folder, which its processes must know
    assert (tmp_path / "calm" / "record.json").is_file()
    assert_same_run(tmp_path / "calm", tmp_path / "hit")


def test_two_nodes_meet_again_after_a_death(ten, tmp_path):
    """Two launchers, as on two machines, meet at an address; a process of the second dies."""
    script, mark = tmp_path / "dying.py", tmp_path / "dead"
    script.write_text(DYING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3"]
    command += ["--rdzv-id=two", "--rdzv-backend=c10d", f"--rdzv-endpoint={address}", "--local-addr=127.0.0.1"]
    command += [str(script), str(mark), *options(ten), f"--run-dir={tmp_path / 'hit'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with (tmp_path / "said").open("w") as said:
        nodes = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said) for _ in range(2)]
        try:
            codes = [node.wait(timeout=400) for node in nodes]
        finally:
            for node in nodes:
                node.kill()
    assert codes == [0, 0] and mark.exists(), (tmp_path / "said").read_text()
    start(ten, tmp_path / "calm")
    assert_same_run(tmp_path / "calm", tmp_path / "hit")


def test_failing_processes_are_reported_in_words(ten, tmp_path):
    with pytest.raises(ValueError, match="a batch of 3 cannot be cut into 2"):
        start(dataclasses.replace(ten, batch=3), tmp_path)
    with pytest.raises(RuntimeError, match="(?s)2 processes failed.*aotlib: .*does not exist; train first"):
        start(dataclasses.replace(ten, start_from=str(tmp_path / "none")), tmp_path)


def test_shares_make_up_the_global_order():
    order = list(range(24))
    for size in (1, 2, 3):
        shares = [list(Share(order, 6, Group(rank, size))) for rank in range(size)]
        part = 6 // size
        batches = [sum((share[i * part : (i + 1) * part] for share in shares), []) for i in range(4)]
        assert sum(batches, []) == order


def test_a_configuration_survives_the_command_line(ten, tmp_path):
    odd = dataclasses.replace(ten, rates=(1, 3), deterministic=True, masks="", ema_decay=0.5, start_from="")
    code = "import sys, json, dataclasses; from aotlib import launch, cli\n"
    code += "launch.run = lambda config, run_dir: print(json.dumps(dataclasses.asdict(config)))\ncli.main()"
    words = ["train", *options(odd)]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout) == json.loads(json.dumps(dataclasses.asdict(odd))), done.stderr
