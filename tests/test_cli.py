"""The command line, and the graph that `make reproduce` runs: what is executed, and what goes on after kill -9."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime

import pytest
from conftest import ROOT
from PIL import Image

from aotlib import cli, hardware, report
from aotlib.profiles import plan

CLI = [sys.executable, "-m", "aotlib"]


def call(*words, cwd=ROOT, code=0):
    done = subprocess.run([*CLI, *words], cwd=cwd, capture_output=True, text=True, timeout=300)
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    return text


def test_help_comes_without_torch():
    check = "import sys, aotlib.cli, aotlib.runs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
    text = call("--help")
    assert all(word in text for word in ("data", "train", "notebook", "reproduce", "report", "compare"))


def test_mistakes_are_answered_in_a_line(toy):
    assert "--profile" in call("reproduce", "--profil", "x", code=2)
    assert call("reproduce", "--profile", "tyo", cwd=toy, code=1) == "aotlib: no profile 'tyo'; did you mean 'toy'?\n"
    text = call("notebook", "01_date", "--profile", "toy", cwd=toy, code=1)
    assert "no notebook '01_date'; did you mean '01_data'" in text and "Traceback" not in text


def test_data_counts_and_saves_what_cannot_be_used(tmp_path, monkeypatch, capsys):
    photos, masks, listed = tmp_path / "photos", tmp_path / "masks", tmp_path / "out" / "quarantine.csv"
    photos.mkdir()
    masks.mkdir()
    Image.new("RGB", (80, 70)).save(photos / "good.png")
    Image.new("RGB", (80, 20)).save(photos / "flat.png")
    (photos / "broken.jpg").write_bytes(b"not a picture")
    mask = Image.new("L", (100, 100))
    mask.paste(255, (20, 20, 60, 60))  # 16 %
    mask.save(masks / "a.png")
    monkeypatch.setattr(
        sys, "argv", ["aotlib", "data", str(photos), "--masks", str(masks), "--quarantine", str(listed)]
    )
    cli.main()
    text = capsys.readouterr().out
    assert "3 images, 1 can be used" in text and "shorter side 70 to 70 px" in text
    assert "2 set aside" in text and "10-20 %:     1, 0 touch the frame" in text
    rows = listed.read_text().splitlines()
    assert rows[0] == "path,reason" and len(rows) == 3 and "broken.jpg" in rows[1]


def test_the_graph_runs_goes_on_after_kill_and_repeats_nothing(toy):
    """One long story, because every step needs the one before."""
    reproduce = ("reproduce", "--profile", "toy")
    profile = toy / "profiles" / "toy.yaml"
    profile.write_text("01_data: {scale: 2}\n05_training: {steps: 400, pause_s: 0.01}\n06_evaluation: {}\n")
    running = subprocess.Popen([*CLI, *reproduce], cwd=toy, start_new_session=True, stdout=subprocess.DEVNULL)
    state = wait_for(toy / "results" / "toy" / "training", "*/state/step")
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    before = int(wait_for_text(state))
    assert 0 < before < 400

    text = call(*reproduce, cwd=toy)
    metrics = json.loads((state.parent.parent / "metrics.json").read_text())
    assert metrics["started"] >= before  # it went on, it did not start anew
    assert "01_data ..." not in text and "05_training done in" in text and "| 1-10 % | 400 |" in text
    assert str(toy / "results" / "toy" / "report.html") in text
    assert (toy / "results" / "toy" / "01_data" / "record.json").is_file()

    for path in [*toy.glob("aotlib/*.py"), *toy.glob("notebooks/*"), toy / "Snakefile"]:
        path.touch()  # as a git checkout does
    assert "..." not in call(*reproduce, cwd=toy)

    profile.write_text(profile.read_text().replace("scale: 2", "scale: 3"))
    assert to_run(toy) == {"01_data", "report"}
    (toy / "aotlib" / "figures.py").write_text("CHANGED = 1\n")
    assert to_run(toy) == {"01_data", "training", "06_evaluation", "report"}


def test_a_study_with_other_answers_is_out_of_date(toy, make_notebook):
    """Of the study itself: its plan, its answers at any depth, and the longer run that its notebook shows."""
    where = 'out_dir = "../results/smoke/09_user_study"\nplan_dir = ""\nanswers_dir = ""\ncoverage_dir = ""'
    make_notebook(toy / "notebooks" / "09_user_study.ipynb", where, "from aotlib import runs\nruns.finish(out_dir, {})")
    given = "plan_dir: ../study, answers_dir: ../study/answers, coverage_dir: ../coverage"
    profile = toy / "profiles" / "toy.yaml"
    profile.write_text("09_user_study: {}\n")
    names = ("study/plan.json", "study/answers/a/1.json", "coverage/coverage.csv")
    for path in (toy / name for name in (*names, "study/answers.sqlite", "coverage/coverage.md")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before")
    call("reproduce", "--profile", "toy", cwd=toy)
    profile.write_text(f"09_user_study: {{{given}}}\n")
    again = {"09_user_study", "report"}
    assert to_run(toy) == again  # an answer where there was none
    call("reproduce", "--profile", "toy", cwd=toy)
    (toy / "study" / "answers.sqlite").write_text("after")  # not read by the notebook
    (toy / "coverage" / "coverage.md").write_text("after")
    assert to_run(toy) == set()
    for name in names:
        (toy / name).write_text("after")
        assert to_run(toy) == again, name
        (toy / name).write_text("before")
    (toy / "study" / "answers" / "2.json").write_text("one more")
    assert to_run(toy) == again


def to_run(toy):
    text = call("reproduce", "--profile", "toy", "--dry-run", cwd=toy)
    return set(re.findall(r"^(?:local)?rule (\w+):", text, re.M)) - {"all"}


def wait_for(folder, pattern, seconds=120):
    for _ in range(seconds * 20):
        if found := list(folder.glob(pattern)):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no {pattern} in {folder} after {seconds} s")


def wait_for_text(path):
    """The kernel sees within a second that its parent is gone; until then it writes on."""
    time.sleep(2)
    return path.read_text() or "1"


JUDGING = """
import json
from pathlib import Path
from aotlib import runs
told = {name: Path(run, "generator_ema.safetensors").is_file() for name, run in ablation_runs.items()}
runs.finish(out_dir, told)
"""


def test_a_variant_that_fails_stops_no_other_and_is_tried_again(toy, make_notebook):
    where = 'out_dir = "../results/smoke/08_ablations"\nablation_runs = {}'
    make_notebook(toy / "notebooks" / "08_ablations.ipynb", where, JUDGING)
    grid = "parts:\n  slow: {pause_s: 0.01}\n  broken: {pause_s: -1.0}\n"  # no sleep is of negative length
    (toy / "profiles" / "grid.yaml").write_text(grid)
    group = "08_ablations: {}\nablations: {grid: grid.yaml, seeds: [0], each: {steps: 2}}\n"
    (toy / "profiles" / "toy.yaml").write_text(group)
    reproduce = ("reproduce", "--profile", "toy")
    judged, note = toy / "results" / "toy" / "08_ablations" / "metrics.json", "*/attempt.json"
    for _ in range(2):
        text = call(*reproduce, cwd=toy, code=1)
        assert "ablations.broken.s0 FAILED" in text and "1 runs failed, shown as not run" in text
        assert "ValueError" in text and "08_ablations done in" in text
        expected = {"full.s0": True, "slow.s0": True, "broken.s0": False}
        assert {name: json.loads(judged.read_text())[name] for name in expected} == expected
    assert "ablations.full.s0" not in text and "ablations.slow.s0" not in text  # only what failed ran again
    notes = [json.loads(path.read_text())["finished"] for path in (toy / "results" / "toy" / "training").glob(note)]
    assert sorted(notes) == [False, True, True]
    (toy / "profiles" / "grid.yaml").write_text(grid.replace("-1.0", "0.02"))
    text = call(*reproduce, cwd=toy)
    assert "ablations.broken.s0 done in" in text and json.loads(judged.read_text())["broken.s0"]


def test_a_variant_that_is_stopped_has_not_failed_and_goes_on(toy):
    (toy / "profiles" / "grid.yaml").write_text("parts:\n  other: {steps: 3}\n")
    each = "{steps: 400, pause_s: 0.01}"
    (toy / "profiles" / "toy.yaml").write_text(
        f"ablations: {{grid: grid.yaml, seeds: [0], only: [other], each: {each}}}\n"
    )
    reproduce = ("reproduce", "--profile", "toy", "--cores", "1")
    running = subprocess.Popen(
        [*CLI, *reproduce], cwd=toy, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    training = toy / "results" / "toy" / "training"
    folder = next(run.out_dir for name, run in plan("toy", toy).items() if name == "ablations.full.s0")
    state = wait_for(training, f"{folder.name}/state/step")
    running.terminate()
    assert "stopped before the end" in running.communicate()[1] and running.returncode == 1
    before = int(wait_for_text(state))
    assert 0 < before < 400 and not (folder / "attempt.json").exists()
    assert "ablations.full.s0 done in" in call(*reproduce, cwd=toy)
    assert json.loads((folder / "metrics.json").read_text())["started"] >= before


def test_on_a_gpu_one_training_runs_at_a_time(toy, monkeypatch):
    """Two runs of a group on two cores, and a GPU that is not there: their times do not overlap."""
    (toy / "profiles" / "toy.yaml").write_text(
        "methods:\n  each: {steps: 200, pause_s: 0.01}\n  aot:\n  ca: {steps: 201}\n"
    )
    monkeypatch.setattr(hardware.torch.cuda, "is_available", lambda: True)
    monkeypatch.chdir(toy)
    cli.reproduce("toy", cores=2)
    found = [json.loads(path.read_text()) for path in toy.glob("results/toy/training/*/record.json")]
    first, second = sorted(found, key=lambda record: record["started"])  # in whole seconds
    between = datetime.fromisoformat(second["started"]) - datetime.fromisoformat(first["started"])
    assert between.total_seconds() > first["seconds"] - 1 > 1


@pytest.fixture
def results(toy, make_notebook):
    """What a run of the toy's first notebook could have left."""
    folder = toy / "results" / "toy" / "01_data"
    make_notebook(folder / "01_data.ipynb", "a = 1")
    for name, text in [("b", "| bucket | l1 |\n|:---|---:|\n| 1-10 % | 0.5 |\n"), ("a", "no table")]:
        (folder / "tables").mkdir(exist_ok=True)
        (folder / "tables" / f"{name}.md").write_text(text)
    (folder / "figures").mkdir()
    Image.effect_noise((2000, 1000), 50).save(folder / "figures" / "noise.png")
    Image.new("RGB", (20, 10), "red").save(folder / "figures" / "<flat>.png")
    record = {"started": "2026-01-01", "seconds": 1.2, "device": "cpu", "features": None, "seed": 0, "data": None}
    (folder / "record.json").write_text(json.dumps(record | {"commit": "0123456789abcdef", "dirty": True}))
    return toy


def test_runs_of_a_group_come_before_what_compares_them(toy):
    profile = toy / "profiles" / "toy.yaml"
    profile.write_text("07_methods: {}\nmethods:\n  each: {steps: 2}\n  aot:\n  pconv: {method: pconv, steps: 3}\n")
    text = call("reproduce", "--profile", "toy", cwd=toy)
    assert "methods.aot done in" in text and "methods.pconv done in" in text
    assert json.loads((toy / "results" / "toy" / "07_methods" / "metrics.json").read_text())["pconv"] == 3
    profile.write_text(profile.read_text().replace("steps: 3", "steps: 4"))
    text = call("reproduce", "--profile", "toy", cwd=toy)
    assert "methods.pconv done in" in text and "07_methods done in" in text and "methods.aot" not in text


def test_the_report_is_one_file_that_says_what_it_is(results):
    page = report.write_report("toy", results).read_text()
    assert "not the paper's runs" in page.replace("\n", " ").replace("They are ", "")
    assert "<td>1-10 %</td><td>0.5</td>" in page and "01234567 + changes" in page
    assert "data:image/jpeg" in page and "data:image/png" in page  # each in the smaller kind
    assert "&lt;flat&gt;" in page and "http" not in page
    assert len(page) < 1_000_000


def test_markdown_tables_are_read_back(tmp_path):
    (tmp_path / "a.md").write_text("Some words.\n\n| a | b |\n|:--|---:|\n| x - y | -1 |\n")
    assert report.markdown_rows(tmp_path / "a.md") == [["a", "b"], ["x - y", "-1"]]
