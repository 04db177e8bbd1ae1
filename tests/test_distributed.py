"""Several processes on one machine (gloo): the same losses as one, and a dead one is started again."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from test_resume import assert_same_run

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
        for name in a.keys() - {"images_per_s"}:
            assert b[name] == pytest.approx(a[name], rel=1e-5), (a["step"], name)
    assert one[0]["rec"] != one[-1]["rec"]


def test_ranks_without_averaged_gradients_would_be_caught(ten, tmp_path):
    """Half the batch alone gives other losses than the comparison above allows."""
    train(dataclasses.replace(ten, processes=1), tmp_path / "whole")
    train(dataclasses.replace(ten, processes=1, batch=2), tmp_path / "half")
    a, b = read_log(tmp_path / "whole")[-1], read_log(tmp_path / "half")[-1]
    assert abs(a["rec"] - b["rec"]) > 1e-3 * a["rec"]


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
    start(ten, tmp_path / "calm")
    assert_same_run(tmp_path / "calm", tmp_path / "hit")


def test_failing_processes_are_reported_in_words(ten, tmp_path):
    config = dataclasses.replace(ten, batch=3)
    with pytest.raises(RuntimeError, match="(?s)2 processes failed.*aotlib: a batch of 3 cannot be cut into 2"):
        start(config, tmp_path)


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
