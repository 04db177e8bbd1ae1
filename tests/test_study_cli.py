"""The commands of a user study: from folders to a plan, a page, a server, and what each says of mistakes."""

import io
import itertools
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from aotlib import cli
from aotlib.study import answers, progress
from aotlib.study import plan as plans
from aotlib.study.database import NAME
from aotlib.study.store import Store


@pytest.fixture(scope="module")
def folders(make_study, tmp_path_factory):
    """The folders that `make_study` fills with pictures."""
    make_study(tmp_path_factory.mktemp("study") / "study")
    return next(path for path in tmp_path_factory.getbasetemp().iterdir() if (path / "alphafill").is_dir())


@pytest.fixture
def run(monkeypatch, capsys):
    """A function that runs a command and gives what it printed."""

    def runs(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["aotlib", "study", *map(str, words)])
        if code == 0:
            cli.main()
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capsys.readouterr()
        assert stop.value.code == code and told.out == "" and "Traceback" not in told.err
        return told.err

    return runs


@pytest.fixture
def planned(folders, run, tmp_path):
    """A study of two methods."""
    design = ("--pair", 3, "--sessions", 2, "--practice", 1, "--seed", 5, "--ties")
    methods = (f"first={folders / 'alphafill'}", folders / "betafill")
    rest = ("--truth", folders / "truth", "--masks", folders / "masks", "--out", tmp_path / "study")
    said = run("plan", *methods, *rest, *design)
    assert "2 methods, 4 images, 2 sessions of 5 tasks" in said and "aotlib study serve" in said
    return tmp_path / "study"


def test_help_of_every_command_comes_without_torch():
    check = (
        "import sys, aotlib.cli, aotlib.study_cli; sys.exit(bool({'torch', 'pandas', 'fastapi'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
    done = subprocess.run([sys.executable, "-m", "aotlib", "study", "--help"], capture_output=True, text=True)
    assert all(word in done.stdout for word in ("plan", "power", "page", "serve", "simulate", "analyse"))


def test_a_plan_has_what_was_asked_for(planned, tmp_path):
    plan = plans.read(planned, check_files=True)
    assert plan["methods"] == ["first", "betafill"] and plan["ties"] and plan["seed"] == 5
    kinds = [trial["kind"] for session in plan["sessions"] for trial in session["trials"]]
    assert kinds == ["pair"] * 10


def test_consent_is_read_from_a_file(folders, run, tmp_path):
    (tmp_path / "consent.txt").write_text("First paragraph.\n\nSecond.\n", encoding="utf-8")
    rest = ("--truth", folders / "truth", "--masks", folders / "masks", "--consent", tmp_path / "consent.txt")
    run("plan", folders / "alphafill", folders / "betafill", *rest, "--out", tmp_path / "study", "--pair", 2)
    assert plans.read(tmp_path / "study")["consent"] == "First paragraph.\n\nSecond."


def test_a_bucket_of_every_folder_can_be_taken(folders, run, tmp_path):
    """As `aotlib cases` makes them: a subfolder a share of hole, with the same photographs in all."""
    for name in ("alphafill", "betafill", "truth", "masks"):
        for bucket in ("10-20", "30-40"):
            shutil.copytree(folders / name, tmp_path / name / bucket)
    rest = ("--truth", tmp_path / "truth", "--masks", tmp_path / "masks", "--out", tmp_path / "study", "--pair", 2)
    fills = (tmp_path / "alphafill", tmp_path / "betafill")
    assert "--only 30-40" in run("plan", *fills, *rest, code=1)
    assert "30-4 is no folder" in run("plan", *fills, *rest, "--only", "30-4", code=1)
    assert "4 images" in run("plan", *fills, *rest, "--only", "30-40")
    plan = plans.read(tmp_path / "study")
    assert plan["methods"] == ["alphafill", "betafill"] and plan["images"][0] == "30-40/photograph-0"


def test_pages_for_all_and_for_each(planned, run):
    said = run("page", planned)
    assert "page.html?session=0" in said and (planned / "page.html").is_file()
    assert "2 pages" in run("page", planned, "--each")
    names = sorted(path.name for path in (planned / "pages").iterdir())
    assert names == ["session-000.html", "session-001.html"]
    assert (planned / "pages" / names[0]).stat().st_size < (planned / "page.html").stat().st_size


def test_mistakes_are_answered_in_words(planned, folders, run, tmp_path):
    pictures = ("--truth", folders / "truth", "--masks", folders / "masks")
    fills = (folders / "alphafill", folders / "betafill")
    assert "holds a plan already" in run("plan", *fills, *pictures, "--out", planned, code=1)
    assert "is no folder" in run("plan", tmp_path / "none", *pictures, "--out", tmp_path / "new", code=1)
    assert "name them" in run("plan", fills[0], fills[0], *pictures, "--out", tmp_path / "new", code=1)
    assert "masks or inputs" in run("plan", *fills, *pictures[:2], "--out", tmp_path / "new", code=1)
    assert "sessions 0 to 1" in run("page", planned, "--session", 2, code=1)
    assert "aotlib study plan" in run("serve", tmp_path / "none", code=1)
    assert "--abandoned-min" in run("serve", planned, "--abandoned-min", 0, code=1)
    assert "did you mean 'first'" in run("simulate", planned, "--ability", "frist=1", code=1)
    assert "NAME=NUMBER" in run("simulate", planned, "--ability", "first=much", code=1)
    assert not (tmp_path / "new").exists() and not (planned / "simulated").exists()


def test_power_says_how_many_raters(run):
    said = run(
        "power", "--methods", 2, "--images", 400, "--trials", 40, "--preference", 0.6, "--rater-icc", 0, "--lost", 0
    )
    row = [cell.strip() for cell in said.splitlines()[6].split("|")]
    assert float(row[1]) == 0.6 and row[2] == "210"  # the exact binomial test, notebook 09
    assert "half-width" not in said
    said = run("power", "--methods", 2, "--images", 800, "--trials", 40, "--half-width", 0.05, "--half-width", 0.01)
    rows = re.sub(" +", " ", said.split("half-width")[1]).splitlines()[4:6]
    assert rows[0].startswith("| 0.05000 | 381 |") and "more than" in rows[1]


def test_power_says_what_a_precision_takes(run):
    said = run("power", "--half-width", 0.1, "--images", 400)
    row = [cell.strip() for cell in said.splitlines()[6].split("|")]
    assert float(row[1]) == 0.1 and row[2] == "93"  # of Wilson's interval around one half
    assert "0.75" not in said and "0.75" in run("power")


def test_simulated_answers_say_that_they_are(planned, run):
    said = run("simulate", planned, "--ability", "first=2", "--rater", "careful", "--rater", "tired")
    assert (
        "do not exist" in said and "abilities, in logits: first 2, betafill 0, truth 2" in said and "note" not in said
    )
    found = [json.loads(path.read_text()) for path in sorted((planned / "simulated").glob("*.json"))]
    assert len(found) == 2 and all(one["simulated"] for one in found)
    assert "holds answers already" in run("simulate", planned, code=1)


def test_methods_that_are_all_alike_are_told(planned, run):
    assert "figures will show noise; --ability first=0.7" in run("simulate", planned)


def test_a_rater_who_sees_a_comparison_twice_is_told(folders, run, tmp_path):
    rest = ("--truth", folders / "truth", "--masks", folders / "masks", "--sessions", 2)
    fills = (folders / "alphafill", folders / "betafill")  # one pair on four images
    said = run("plan", *fills, *rest, "--out", tmp_path / "often", "--pair", 5)
    assert "in 2 of 2 sessions a rater sees the same fills of one picture twice" in said
    assert "there are 4 different ones of the kind 'pair'" in said
    assert "twice" not in run("plan", *fills, *rest, "--out", tmp_path / "once", "--pair", 4)


def test_a_comparison_named_beforehand_takes_both_methods(planned, run):
    run("simulate", planned, "--ability", "first=2")
    place = ("--answers", planned / "simulated", "--out", planned / "out", "--resamples", 20)
    told = run("analyse", planned, *place, "--against", "first", code=1)
    assert "say --primary ONE --against first" in told and not (planned / "out").exists()
    run("analyse", planned, *place, "--primary", "betafill", "--against", "first")


def test_what_simulate_prints_can_be_run_twice(planned, run):
    said = run("simulate", planned, "--ability", "first=2")
    words = re.search(r"aotlib study (analyse .*)", said).group(1).split()
    first, again = (run(*words, "--resamples", 20) for _ in range(2))
    assert first == again and first.startswith("SIMULATED")
    assert "sessions" not in first  # none is doubled, none lacking
    assert f"--answers {planned / 'simulated'}" in run("analyse", planned, code=1)
    inside = ("--answers", planned / "simulated", "--out", planned / "simulated" / "analysis")
    assert "lies among the answers" in run("analyse", planned, *inside, code=1)
    assert not (planned / "simulated" / "analysis").exists()


def test_a_downloaded_archive_may_lie_beside_the_database(folders, run, tmp_path):
    """The ZIP of the progress page, unpacked into the study's folder, and a rater who came twice: told, not refused."""
    study, methods = tmp_path / "study", ("alphafill", "betafill", "gammafill")
    pictures = ("--truth", folders / "truth", "--masks", folders / "masks", "--out", study)
    run("plan", *(folders / name for name in methods), *pictures, "--sessions", 3, "--pair", 12, "--practice", 1)
    plan, hours = plans.read(study), itertools.count()
    store = Store(study / NAME, plan, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=next(hours)))
    for _ in range(2):
        token, _, session = store.begin()
        for trial in plan["sessions"][session]["trials"]:
            store.answer(token, trial["trial"], least_noise(plan, trial), 2.0)
    archive = zipfile.ZipFile(io.BytesIO(progress.zipped(store.export())))
    store.close()
    alone = run("analyse", study, "--resamples", 20)
    archive.extractall(study)
    assert list((study / "answers").glob("*.json"))
    assert run("analyse", study, "--resamples", 20) == alone
    assert "sessions without answers: 2" in alone
    other = next((study / "answers").glob("0001-*.json"))
    other.write_text(other.read_text().replace(other.stem[5:], "e" * 32))
    assert "sessions of more than one rater: 1\n" in run("analyse", study, "--resamples", 20)
    changed = next((study / "answers").glob("0000-*.json"))
    changed.write_text(changed.read_text().replace('"left"', '"right"'))
    told = run("analyse", study, code=1)
    assert NAME in told and changed.name in told and "which one is right" in told


def test_three_commands_from_folders_to_the_figure(folders, run, tmp_path):
    """Raters of the server like the least noise, one of a file does too; what comes out says so."""
    study, methods = tmp_path / "study", ("alphafill", "betafill", "gammafill")
    pictures = ("--truth", folders / "truth", "--masks", folders / "masks", "--out", study)
    run("plan", *(folders / name for name in methods), *pictures, "--sessions", 6, "--pair", 12, "--practice", 1)
    plan = plans.read(study)
    minutes = itertools.count()
    store = Store(study / NAME, plan, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=next(minutes)))
    for _ in range(5):
        token, _, session = store.begin()
        for trial in plan["sessions"][session]["trials"]:
            store.answer(token, trial["trial"], least_noise(plan, trial), 2.0)
    store.close()
    sixth = [{"trial": trial["trial"], "choice": least_noise(plan, trial), "seconds": 2.0, "at": "2026-01-01T00:00:00Z"}
             for trial in plan["sessions"][5]["trials"]]  # fmt: skip
    head = {"format": answers.FORMAT, "plan": plans.identity(plan), "session": 5, "rater": "f" * 32, "simulated": False}
    (study / "answers").mkdir()
    (study / "answers" / "sixth.json").write_text(json.dumps(head | {"viewport": None, "answers": sixth}))
    said = run("analyse", study, "--resamples", 50)
    counted = sum(not (trial["practice"] or trial["catch"]) for trial in plan["sessions"][0]["trials"])
    assert f"{6 * counted} votes of 6 raters" in said and "SIMULATED" not in said
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    assert rows[1:4] == list(methods)  # the best first
    assert list((study / "analysis" / "figures").glob("*.png")) and (study / "analysis" / "study.json").is_file()


def least_noise(plan, trial):
    """What somebody chooses who sees noise: the truth, then the methods by name, then the broken fill."""
    names = [plan["files"][file]["method"] or plan["files"][file]["role"] for file in trial["shown"]]
    order = ["truth", "alphafill", "betafill", "gammafill", "broken"]
    return "left" if order.index(names[0]) < order.index(names[1]) else "right"


def test_answers_that_are_not_there_are_told(planned, run, tmp_path):
    assert "no answer in" in run("analyse", planned, code=1)
    assert "no .json file" in run("analyse", planned, "--answers", tmp_path / "none", code=1)


def test_a_server_runs_once_a_study_and_at_a_free_port(planned, run):
    command = [sys.executable, "-m", "aotlib", "study", "serve", str(planned), "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said = "".join(
            iter(lambda: running.stdout.readline(), "Ctrl-C stops it; nothing is lost, and the same command goes on.\n")
        )
        address = re.search(r"raters +(http\S+)", said).group(1)
        assert address.startswith("http://127.0.0.1:") and (planned / "progress.key").read_text().strip() in said
        reply = httpx2.get(address, timeout=20)
        assert reply.status_code == 200 and "server" not in reply.headers
        assert "another process" in run("serve", planned, "--port", 0, code=1)
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 0
        running.stdout.close()


def test_a_port_that_is_taken_is_told(planned, run):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = run("serve", planned, "--port", port, code=1)
    assert f"port {port}" in told and "--port" in told
