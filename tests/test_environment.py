"""pyproject.toml, the lock, environment.yml and what is installed belong together; the house rules hold."""

import re
import tomllib
from importlib.metadata import version

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
WANTED = [Requirement(line) for line in sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])]


def test_the_lock_holds_pins_and_nothing_else():
    wrong = [line for line in LOCK if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[\w.!]+( ; .+)?", line)]
    assert LOCK and wrong == []
    assert not re.search("://|--|@", "\n".join(LOCK))


def test_every_dependency_is_pinned_to_a_version_that_it_allows():
    pins = {}
    for line in map(Requirement, LOCK):
        pins.setdefault(line.name, []).append(str(line.specifier).removeprefix("=="))
    missing = [wanted.name for wanted in WANTED if wanted.name not in pins]
    assert missing == [], "run make lock"
    assert all(wanted.specifier.contains(pin) for wanted in WANTED for pin in pins[wanted.name])


def test_what_is_installed_is_what_the_lock_says():
    here = [line for line in map(Requirement, LOCK) if line.marker is None or line.marker.evaluate()]
    differ = {line.name: version(line.name) for line in here if not line.specifier.contains(version(line.name))}
    assert differ == {}, "run make install"


def test_conda_installs_the_same_lock_for_the_same_pythons():
    python, *other = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert other == ["pip", {"pip": ["-r requirements.lock", "-e ."]}]
    floor = PROJECT["requires-python"]
    assert floor.startswith(">=") and Requirement(python).name == "python"
    assert floor in str(Requirement(python).specifier).split(",")
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    tested = re.search(r"python: \[(.+)\]", workflow).group(1).replace('"', "").split(", ")
    assert floor == f">={tested[0]}" and all(SpecifierSet(floor).contains(one) for one in tested)


def test_ci_does_what_a_person_does():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert "make test" in lines and lines[-1] == "exec make test-browser"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "test.yml").read_text()


def test_modules_stay_short():
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in ROOT.glob("aotlib/**/*.py")}
    assert {path: n for path, n in lengths.items() if n > (300 if "baselines" in path.parts else 250)} == {}
