"""What a long run must survive: kill -9, signals, a full disk, a read-only folder, losses that are not finite."""

import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from torch.utils._pytree import tree_flatten

from aotlib import losses
from aotlib import train as training
from aotlib.checkpoint import listing, load_state, state_files
from aotlib.files import only_writer
from aotlib.launch import options
from aotlib.step import NotFinite
from aotlib.stopping import Stopping
from aotlib.train import train
from aotlib.trainlog import read_log
from aotlib.validation import is_better
from aotlib.weights import load_generator, read_card

# Trains as told, and at step argv[3] sends itself the signal argv[4].
VICTIM = """
import json, os, signal, sys
from aotlib.config import TrainConfig
from aotlib.train import train
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
def report(row):
    if row["step"] == int(sys.argv[3]):
        os.kill(os.getpid(), getattr(signal, sys.argv[4]))
train(TrainConfig(**json.loads(sys.argv[1])), sys.argv[2], report)
"""


def victim(config, run_dir, step, signal, **kwargs):
    words = [json.dumps(dataclasses.asdict(config)), str(run_dir), str(step), signal]
    call = [sys.executable, "-c", VICTIM, *words]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=300, **kwargs)


def assert_same_run(one, two, best=True):
    """`best=False`: for several processes that were stopped between two lines of the log, and looked at other steps.

    States (networks, average, optimisers, counts) are equal to the bit, and so are the logs but for their times."""
    states = [load_state(folder / "state") for folder in (one, two)]
    if not best:  # they looked at other steps
        states = [state | {"best": {}} for state in states]
    (a, form_a), (b, form_b) = map(tree_flatten, states)
    assert form_a == form_b and len(a) > 50
    assert all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a, b))
    untold = ("images_per_s", "seconds") if best else ("images_per_s", "seconds", "val_psnr", "val_hole_l1")
    logs = [[{k: v for k, v in row.items() if k not in untold} for row in read_log(f)] for f in (one, two)]
    if best:
        assert logs[0] == logs[1]
    else:  # sums that were averaged over processes at the stop, too: the same up to rounding
        assert len(logs[0]) == len(logs[1])
        assert all(a == pytest.approx(b, rel=1e-6) for a, b in zip(*logs))


@pytest.fixture
def twenty(tiny):
    return dataclasses.replace(tiny, steps=20, log_every=1, sample_every=10, save_every=10)


def test_twenty_steps_and_ten_kill_ten_are_the_same(twenty, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(twenty, whole)
    assert victim(twenty, parts, 13, "SIGKILL").returncode == -9
    assert [path.name for path in state_files(parts / "state")] == ["step_00000010.pt"]
    assert [row["step"] for row in read_log(parts)] == list(range(1, 14))
    train(twenty, parts)
    assert_same_run(whole, parts)
    for name in ("generator", "generator_ema", "generator_best", "discriminator"):
        file = f"{name}.safetensors"
        a, b = load_file(whole / file), load_file(parts / file)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_comparison_of_runs_can_fail(twenty, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train(dataclasses.replace(twenty, steps=2, sample_every=2, save_every=2), one)
    train(dataclasses.replace(twenty, steps=2, sample_every=2, save_every=2, lr=twenty.lr * 1.0001), two)
    with pytest.raises(AssertionError):
        assert_same_run(one, two)


@pytest.mark.parametrize(
    "signal, text", [("SIGTERM", "Stopped: stopped after"), ("SIGINT", "KeyboardInterrupt: stopped after")]
)
def test_a_signal_lets_the_step_end_and_saves_the_state(twenty, tmp_path, signal, text):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = victim(twenty, parts, 7, signal)
    assert done.returncode and f"{text} step 7 of 20" in done.stderr, done.stderr
    assert state_files(parts / "state")[-1].name == "step_00000007.pt"
    train(twenty, parts)
    train(twenty, whole)
    assert_same_run(whole, parts)


def test_a_stop_between_two_lines_of_the_log_loses_none_of_their_sums(twenty, tmp_path, monkeypatch):
    config = dataclasses.replace(twenty, log_every=5)
    train(config, tmp_path / "whole")
    step = training.training_step

    def stop_at_seven(state, *rest):
        if state.step == 6:
            os.kill(os.getpid(), 15)
        return step(state, *rest)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="after step 7 of 20"):
        patch.setattr(training, "training_step", stop_at_seven)
        train(config, tmp_path / "parts")
    assert load_state(tmp_path / "parts" / "state")["sums"]["n"] == 2
    train(config, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("to", ["all", "parent"])
def test_a_notebook_that_trains_may_save_before_it_ends(tmp_path, make_notebook, to):
    """A cluster sends SIGTERM to every process of a job, or to the first alone; the kernel gets its time in both."""
    trains = f"""
import time
from pathlib import Path
from aotlib.stopping import Stopping
here = Path({str(tmp_path)!r})
with Stopping() as stopping:
    (here / "started").touch()
    while not stopping.number:
        time.sleep(0.05)
    time.sleep(2)
    (here / "saved").touch()
raise RuntimeError("stopped, and saved")
"""
    source = make_notebook(tmp_path / "05_training.ipynb", 'out_dir = ""', trains)
    code = f"from aotlib import runs; runs.run_notebook({str(source)!r}, {str(tmp_path / 'out')!r})"
    running = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(1200):
        if (tmp_path / "started").exists():
            break
        time.sleep(0.1)
    (os.killpg if to == "all" else os.kill)(running.pid, 15)
    said = running.communicate(timeout=120)[1]
    assert (tmp_path / "saved").exists() and "RuntimeError: stopped, and saved" in said, said[-1000:]
    assert running.returncode == 1


def test_the_command_ends_with_the_signals_code(twenty, tmp_path):
    code = "import os, sys; from aotlib import cli, train as t; step = t.training_step\n"
    code += (
        "def stop(state, *a):\n    os.kill(os.getpid(), 15) if state.step == 1 else None\n    return step(state, *a)\n"
    )
    code += "t.training_step = stop; cli.main()"
    words = ["train", *options(twenty), f"--run-dir={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 128 + 15 and "stopped after step 2 of 20" in done.stderr, done.stderr


def test_a_full_disk_stops_the_run_and_leaves_the_last_state(twenty, tmp_path):
    train(dataclasses.replace(twenty, steps=10), tmp_path)
    before = state_files(tmp_path / "state")[-1].read_bytes()
    room = len(before) // 2  # the system refuses to write files larger than this
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))}
    done = victim(twenty, tmp_path, 99, "SIGTERM", **limit)
    assert done.returncode == 1
    assert "OSError: the state of step 20 could not be saved" in done.stderr and "MB are free" in done.stderr
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step_00000010.pt"], "left something behind"
    train(twenty, tmp_path)
    assert read_log(tmp_path)[-1]["step"] == 20


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_first_step(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to .*choose another folder"):
        train(tiny, tmp_path / "file" / "run")
    read_only = OSError(30, "Read-only file system")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(read_only))
    with pytest.raises(OSError, match="Read-only file system"):
        train(tiny, tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.fixture
def bad_steps(monkeypatch):
    """The reconstruction loss of these calls (1 is the first) is not a number, or its gradient infinite."""
    calls, bad, right = [0], {}, losses.l1

    def l1(prediction, image):
        calls[0] += 1
        kind = bad.get(calls[0])
        value = right(prediction, image)
        if kind == "gradient":  # a finite value whose gradient is infinite
            return value + (prediction.flatten()[:1] * 0).abs().sqrt().sum()
        return value * float("nan") if kind else value

    monkeypatch.setattr(losses, "l1", l1)
    return bad


@pytest.mark.parametrize("kind", ["value", "gradient"])
def test_a_loss_that_is_not_finite_stops_the_run_with_all_that_is_needed(twenty, tmp_path, bad_steps, kind):
    bad_steps[4] = kind
    with pytest.raises(NotFinite, match="not finite in step 4;.*on_bad_loss='skip'"):
        train(twenty, tmp_path)
    found = json.loads((tmp_path / "bad_step.json").read_text())
    assert found["step"] == 4 and len(found["files"]) == 2 and found["files"][0].endswith(".png")
    (losses,) = found["losses"]  # a text a process
    assert losses.startswith("rec nan" if kind == "value" else "rec 0.") and "total" in losses
    saved = load_state(tmp_path / "state")
    assert saved["step"] == 3 and all(value.isfinite().all() for value in saved["generator"].values())
    before = dataclasses.replace(twenty, steps=3, sample_every=3, save_every=3)
    train(before, tmp_path / "until")
    until = load_state(tmp_path / "until" / "state")["discriminator"]
    assert all(torch.equal(saved["discriminator"][key], until[key]) for key in until), "its spectral norm moved"


def test_bad_steps_are_skipped_and_counted_by_choice(twenty, tmp_path, bad_steps):
    config = dataclasses.replace(twenty, on_bad_loss="skip", log_every=5)
    bad_steps |= {4: "value", 5: "gradient", 12: "value"}
    last = train(config, tmp_path)
    assert last["step"] == 20 and last["skipped"] == 3
    rows = read_log(tmp_path)
    assert "skipped" in rows[0] and rows[0]["skipped"] == 2
    assert all(value == value for row in rows for value in row.values())
    saved = load_state(tmp_path / "state")
    assert saved["optimiser_g"]["state"][0]["step"].item() == 17


def test_too_many_bad_steps_in_a_row_stop_even_a_run_that_skips(twenty, tmp_path, bad_steps, monkeypatch):
    monkeypatch.setattr(training, "SKIPS_IN_A_ROW", 2)
    bad_steps |= dict.fromkeys(range(4, 20), "value")
    with pytest.raises(NotFinite, match="for the 3th time in a row"):
        train(dataclasses.replace(twenty, on_bad_loss="skip"), tmp_path)


def test_the_best_generator_is_kept_by_the_rule(tiny, tmp_path, monkeypatch):
    scores = iter([{"val_hole_l1": a, "val_psnr": b} for a, b in [(0.3, 9), (0.1, 8), (0.1, 7), (0.2, 12)]])
    monkeypatch.setattr(training, "look", lambda *_: (next(scores), None))
    train(dataclasses.replace(tiny, steps=4, sample_every=1), tmp_path)
    assert load_state(tmp_path / "state")["best"]["step"] == 2  # of equals the earlier
    card = read_card(tmp_path / "generator_best.safetensors")
    assert card["step"] == "2" and card["val_hole_l1"] == "0.1"
    load_generator(tmp_path / "generator_best.safetensors")
    assert is_better({"val_psnr": 9}, {"step": 1, "val_psnr": 8}, "val_psnr")


def test_a_score_on_other_pictures_is_no_rival(tiny, tmp_path, monkeypatch):
    scores = iter([{"val_hole_l1": a, "val_psnr": 9} for a in (0.1, 0.3, 0.2, 0.4)])
    monkeypatch.setattr(training, "look", lambda *_: (next(scores), None))
    config = dataclasses.replace(tiny, steps=1, sample_every=1, n_samples=1)
    for n_samples, steps, best in ((1, 1, 1), (2, 2, 2), (2, 3, 3), (2, 4, 3)):
        train(dataclasses.replace(config, n_samples=n_samples, steps=steps), tmp_path)
        assert load_state(tmp_path / "state")["best"]["step"] == best


def test_a_finished_run_that_is_called_again_stays_as_it_is(tiny, tmp_path, monkeypatch):
    train(tiny, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert len(before) == 4
    monkeypatch.setattr("aotlib.records.device_name", lambda *_: "another machine")
    train(tiny, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")} == before
    (tmp_path / "generator_ema.safetensors").unlink()
    train(tiny, tmp_path)
    assert (tmp_path / "generator_ema.safetensors").is_file()


def test_a_run_is_known_by_its_photographs_and_masks(photographs, tmp_path):
    files = sorted(photographs.rglob("*.png"))
    known = listing(files)
    shutil.copytree(photographs, tmp_path / "moved")
    moved = [tmp_path / "moved" / file.relative_to(photographs) for file in files]
    assert listing(moved) == known, "where the folder lies counts"
    moved[0].write_bytes(moved[0].read_bytes() + b"0")
    assert listing(moved) != known != listing(files[::-1])


def test_training_has_one_writer_even_if_its_launcher_is_dead(tiny, tmp_path):
    with only_writer(tmp_path, ".lock-training"), pytest.raises(RuntimeError, match="another process is writing"):
        train(tiny, tmp_path)


def test_a_closed_terminal_stops_a_run_but_not_one_under_nohup(monkeypatch):
    number = signal.SIGHUP
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with Stopping() as stopping:
            os.kill(os.getpid(), number)
            assert stopping.number == number and stopping.error("x").number == 1
        assert signal.getsignal(number) == signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)
        with Stopping() as stopping:
            os.kill(os.getpid(), number)
            assert stopping.number == 0 and signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_run_can_start_from_weights(tiny, tmp_path):
    train(dataclasses.replace(tiny, steps=4), tmp_path / "first")
    weights = tmp_path / "first" / "generator_ema.safetensors"
    config = dataclasses.replace(tiny, steps=4, start_from=str(weights), seed=5, lr=0.0)
    train(config, tmp_path / "second")
    expected = load_generator(weights).state_dict()
    got = load_generator(tmp_path / "second" / "generator.safetensors").state_dict()
    assert all(torch.equal(got[key], expected[key]) for key in expected)
    with pytest.raises(ValueError, match="another generator .width: 2 there, 4 here"):
        train(dataclasses.replace(config, width=4), tmp_path / "third")
    train(dataclasses.replace(tiny, steps=4, seed=1), tmp_path / "first_b")
    other = dataclasses.replace(config, start_from=str(tmp_path / "first_b" / "generator_ema.safetensors"))
    with pytest.raises(ValueError, match="start_from"):  # other weights under another name are another run
        train(other, tmp_path / "second")


def test_a_loss_of_weight_zero_is_not_computed_and_the_learning_rate_falls(tiny, tmp_path):
    config = dataclasses.replace(tiny, weight_per=0.0, weight_sty=0.0, weight_adv=0.0, lr_fall=0.5)
    train(config, tmp_path)
    row = read_log(tmp_path)[0]
    assert {"rec", "total"} <= row.keys() and not {"per", "sty", "adv", "dis"} & row.keys()
    assert row["rec"] == pytest.approx(row["total"])
    saved = load_state(tmp_path / "state")
    assert saved["optimiser_g"]["param_groups"][0]["lr"] == pytest.approx(config.lr / 2)  # of step 3 of 0 to 3
    assert not saved["optimiser_d"]["state"]
