"""The committed notebooks: in step with their sources, executed, clean, built alike; and the checks themselves."""

import importlib.util

import nbformat
import pytest
from conftest import CONCEPTS, ROOT

from aotlib import profiles

PATHS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOURCES = sorted((ROOT / "notebooks" / "source").glob("[0-9]*.py"))
PROFILES = {name: profiles.load_profile(name, ROOT) for name in ("smoke", "course", "paper")}


def load_build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


def test_every_source_has_its_notebook_and_its_place_in_the_profiles():
    assert [path.stem for path in PATHS] == [path.stem for path in SOURCES]
    planned = PROFILES["smoke"].keys() - set(profiles.GROUPS.values())
    assert not PATHS or [path.stem for path in PATHS] == sorted(planned)


def test_committed_notebooks_have_no_fault():
    found = {target.name: build.check(source, target) for source, target in zip(SOURCES, PATHS, strict=False)}
    assert found == {name: [] for name in found}


def test_nbval_has_something_to_compare_in_every_notebook():
    """nbval runs a cell without an execution count, or without outputs, but compares nothing."""
    for path in PATHS:
        code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        checked = [cell for cell in code if path.stem in CONCEPTS or build.CHECKED in cell.metadata.get("tags", [])]
        assert any(cell.outputs for cell in checked), f"{path.name}: no cell with an output is checked"
        assert all(cell.execution_count for cell in checked), path.name


def test_profiles_have_the_same_keys():
    """Of a group, the settings that all its runs share; how many variants and seeds are run is a profile's own."""
    keys = {
        name: {
            book: sorted(given["each"] if book in profiles.GROUPS.values() else given)
            for book, given in profile.items()
        }
        for name, profile in PROFILES.items()
    }
    assert keys["smoke"].keys() == keys["course"].keys() == keys["paper"].keys()
    for book in keys["smoke"]:
        assert book == "methods" or keys["smoke"][book] == keys["course"][book] == keys["paper"][book], book
    methods = {name: sorted(profile["methods"]) for name, profile in PROFILES.items()}
    assert methods["smoke"] == methods["course"] == methods["paper"]


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_fit_the_notebooks(name):
    """Each key is a parameter of its notebook, of its type; the committed defaults are those of smoke."""
    for path in PATHS:
        given, defaults = PROFILES[name][path.stem], profiles.declared_parameters(path)
        filled = profiles.checked_parameters(path, given)
        assert defaults["out_dir"] == f"../results/notebook/{path.stem}"
        assert name != "smoke" or filled == defaults, path.name


# The checks themselves, on a notebook that is as it should be and on ones that are not.
TOY = """# %% [markdown]
# # 9 · Toy: what a notebook looks like
# **You will** add. **Needs** nothing. **Takes** 1 s.
# %% tags=["parameters"]
out_dir = "../results/notebook/09_toy"
size = 3  # pixels
# %% tags=["nbval-check-output"]
import matplotlib.pyplot as plt
print(size + 1)
plt.plot([1, size])
plt.show()
# %% [markdown]
# ## What to remember
# One.
# %%
from aotlib import runs
runs.finish(out_dir, {"size": size})
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "notebooks" / "source" / "09_toy.py"
    path.parent.mkdir(parents=True)
    path.write_text(TOY)
    return path


def test_a_notebook_built_twice_has_the_same_bytes(source):
    target = source.parent.parent / "09_toy.ipynb"
    stale = target.parent.parent / "results" / "notebook" / "09_toy" / "state"
    stale.mkdir(parents=True)
    assert not build.in_step(source, target)
    assert build.build(source, target) == []
    first = target.read_bytes()
    assert not stale.exists()  # a training starts anew
    assert (stale.parent / "metrics.json").is_file()  # the default folder, as seen from the notebook's
    assert build.in_step(source, target) and build.check(source, target) == []
    assert b"image/png" in first and b"papermill" not in first and b"iopub" not in first
    assert build.build(source, target) == [] and target.read_bytes() == first
    source.write_text(TOY.replace("size + 1", "size + 2"))
    assert "not in step" in build.check(source, target)[0]
    source.write_text(TOY.replace("print(size + 1)", "1 / 0"))
    assert "ZeroDivisionError" in build.build(source, target)[0] and target.read_bytes() == first


def executed(text):
    """The notebook of a source with every code cell counted as executed, without a kernel."""
    import jupytext

    notebook = jupytext.reads(text, fmt="py:percent")
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        printed = nbformat.v4.new_output("stream", name="stdout", text=f"{number}\n")
        cell.execution_count, cell.outputs = number, [printed]
    return notebook


def test_a_good_notebook_has_no_fault():
    assert build.faults(executed(TOY)) == []
    assert build.faults(executed(TOY), size=750_001) == ["750 KB, more than 750"]


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("# # 9 · Toy", "# # Toy", "not a title"),
        ("**You will**", "You may", "lacks 'You will'"),
        ("**Needs**", "", "lacks 'Needs'"),
        ("**Takes**", "", "lacks 'Takes'"),
        ("## What to remember", "## The end", "What to remember"),
        ("runs.finish(out_dir", "print(out_dir", "does not call runs.finish"),
        (' tags=["parameters"]', "", "0 cells tagged"),
        ("plt.show()", "plt.show()\n" * 26, "lines, more than 25"),
    ],
)
def test_a_badly_made_notebook_is_refused(old, new, said):
    assert old in TOY
    assert said in "; ".join(build.faults(executed(TOY.replace(old, new))))


@pytest.mark.parametrize(
    "output, said",
    [
        ({"output_type": "stream", "name": "stderr", "text": "a warning"}, "writes to stderr: 'a warning'"),
        ({"output_type": "stream", "name": "stdout", "text": "in /home/ada/x"}, "a path of this machine"),
        ({"output_type": "stream", "name": "stdout", "text": f"in {ROOT}/data"}, "a path of this machine"),
        ({"output_type": "error", "ename": "KeyError", "evalue": "", "traceback": []}, "ends in KeyError"),
    ],
)
def test_outputs_that_do_not_belong_in_a_repository_are_refused(output, said):
    notebook = executed(TOY)
    notebook.cells[2].outputs = [nbformat.from_dict(output)]
    assert said in "; ".join(build.faults(notebook))


def test_a_cell_that_was_never_executed_is_refused():
    notebook = executed(TOY)
    notebook.cells[2].outputs = []
    assert "no output to check" in "; ".join(build.faults(notebook))
    notebook = executed(TOY)
    notebook.cells[2].execution_count = None
    assert "execution counts" in "; ".join(build.faults(notebook))
