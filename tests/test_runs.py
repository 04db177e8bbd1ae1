"""Running a notebook, its record, profiles, the report: what is kept, and what is refused."""

import ast
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from aotlib import profiles, records, report, run_names, runs
from aotlib.files import only_writer

WHERE = (
    'out_dir = "out"\ndata_dir = "data"\nseed = 3\nlr = 0.5\nrates = [1, 2]\nname = "a"\nfast = False\nlimit = None\n'
)
GOOD = """
import json, os
from pathlib import Path
from ipykernel import get_connection_info
from aotlib import runs
transport = json.loads(get_connection_info())["transport"]
Path(out_dir, "figures").mkdir()
Path(out_dir, "figures", "new.png").write_text("")
beside = Path("beside.txt").read_text()  # found: the notebook runs in its own folder
runs.finish(out_dir, {"lr": lr, "pid": os.getpid(), "transport": transport, "beside": beside, "features": "random"})
"""


@pytest.fixture
def notebook(tmp_path, make_notebook):
    return make_notebook(tmp_path / "here" / "01_data.ipynb", WHERE, "runs = 0")


def test_a_run_leaves_notebook_metrics_and_record(tmp_path, make_notebook):
    notebook = make_notebook(tmp_path / "a {b}" / "01_data.ipynb", WHERE, GOOD)  # braces: papermill fills them in
    (notebook.parent / "beside.txt").write_text("found")
    out, data = tmp_path / "out {c}", tmp_path / "photos"
    (out / "state").mkdir(parents=True)
    (out / "figures").mkdir()
    (out / "figures" / "old.png").write_text("of an earlier run")
    data.mkdir()
    (data / "a").write_text("1")
    record = runs.run_notebook(notebook, out, {"lr": 1, "data_dir": str(data)}, timeout_s=60)

    left = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert left == {"01_data.ipynb", "metrics.json", "record.json", "figures", "state"}
    assert [path.name for path in (out / "figures").iterdir()] == ["new.png"]
    assert record == json.loads((out / "record.json").read_text())
    assert record["metrics"]["lr"] == 1.0 and isinstance(record["metrics"]["lr"], float)
    assert record["metrics"]["beside"] == "found"
    assert record["features"] == "random" and record["seed"] == 3 and record["notebook"] == "01_data.ipynb"
    assert record["parameters"]["rates"] == [1, 2] and record["parameters"]["out_dir"] == str(out)
    assert record["versions"]["torch"] == torch.__version__.split("+")[0] and record["device"]
    assert record["data"]["files"] == 1 and 0 < record["seconds"] < 60 and record["started"].startswith("20")
    if os.name == "posix":
        assert record["metrics"]["transport"] == "ipc"  # no TCP port for two kernels to fight for
        with pytest.raises(ProcessLookupError):
            os.kill(record["metrics"]["pid"], 0)


@pytest.mark.parametrize(
    "cell, said",
    [
        ("# a comment\n\nvalue = {}\nvalue['x']", r"01_data: cell In \[3\], '# a comment': KeyError: 'x'"),
        ("raise SystemExit", "ended without metrics.json"),
        ("import time; time.sleep(30)", "longer than 2 s"),
        ("import os; os.kill(os.getpid(), 9)", "process died"),
    ],
)
def test_a_failed_notebook_is_short_and_kept_apart(tmp_path, make_notebook, cell, said):
    notebook = make_notebook(tmp_path / "01_data.ipynb", WHERE, cell)
    out = tmp_path / "out"
    records.write_json(out / "metrics.json", {"stale": 1})  # must not pass for a result
    with pytest.raises(runs.NotebookFailed, match=said) as caught:
        runs.run_notebook(notebook, out, timeout_s=2)
    assert len(str(caught.value).splitlines()) == 2
    assert [path.name for path in out.iterdir() if not path.name.startswith(".")] == ["failed"]
    assert (out / "failed" / "01_data.ipynb").is_file()


@pytest.mark.parametrize(
    "given, error, said",
    [
        ({"sead": 1}, KeyError, "no parameter 'sead'; did you mean 'seed'"),
        ({"seed": 1.0}, TypeError, "of type float; it must be int"),
        ({"seed": True}, TypeError, "of type bool; it must be int"),
        ({"fast": 1}, TypeError, "must be bool"),
        ({"lr": "1e-4"}, TypeError, "must be float"),
        ({"lr": True}, TypeError, "must be float"),
        ({"name": None}, TypeError, "must be str"),
        ({"rates": (1, 2)}, TypeError, "must be list"),
        ({"rates": [1, "2"]}, TypeError, "must be int"),
        ({"limit": (1,)}, ValueError, "write a list"),
        ({"limit": np.float32(1)}, ValueError, "float32"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(tmp_path, notebook, given, error, said):
    with pytest.raises(error, match=said):
        runs.run_notebook(notebook, tmp_path / "out", given)
    assert not (tmp_path / "out").exists()


def test_defaults_fill_in_and_whole_numbers_pass_for_floats(notebook):
    filled = profiles.checked_parameters(notebook, {"lr": 2, "limit": 5})
    assert filled["lr"] == 2.0 and isinstance(filled["lr"], float)
    assert filled["limit"] == 5 and filled["seed"] == 3 and list(filled)[0] == "out_dir"


@pytest.mark.parametrize(
    "cell, said",
    [
        ("a = 1\nb = a * 2", "'b = a \\* 2' in the parameters cell is not"),
        ("rates = (1, 2)", "tuple"),
        ("rates = [(1, 2)]", "tuple"),
        ("import os", "is not 'name = literal'"),
        ("a = b = 1", "is not 'name = literal'"),
        ("a: int", "is not 'name = literal'"),
    ],
)
def test_parameters_cells_hold_literals_only(tmp_path, make_notebook, cell, said):
    with pytest.raises(ValueError, match=said):
        profiles.declared_parameters(make_notebook(tmp_path / "a.ipynb", cell))


def test_annotated_and_negative_literals_are_read(tmp_path, make_notebook):
    path = make_notebook(tmp_path / "a.ipynb", "lr: float = -1.0e-4  # Adam\nwords = ['a', 'b']")
    assert profiles.declared_parameters(path) == {"lr": -1e-4, "words": ["a", "b"]}


def test_exactly_one_parameters_cell(tmp_path, make_notebook):
    with pytest.raises(ValueError, match="has 0 cells tagged"):
        profiles.declared_parameters(make_notebook(tmp_path / "a.ipynb", None, "a = 1"))
    twice = json.loads(make_notebook(tmp_path / "b.ipynb", "a = 1").read_text())
    twice["cells"] *= 2
    (tmp_path / "b.ipynb").write_text(json.dumps(twice))
    with pytest.raises(ValueError, match="has 2 cells tagged"):
        profiles.declared_parameters(tmp_path / "b.ipynb")


@pytest.mark.parametrize(
    "text, said",
    [
        ("a: {lr: 1e-4}", r"a: lr = '1e-4' is a text to YAML, not a number; write 0.0001"),
        ("a: {lr: 1e-9}", r"write 1.0e-09"),
        ("a: {weights: {style: 2.5e2}}", "write 250.0"),
        ("a: {rates: [1, '2']}", "write 2"),
        ("a: 3", "needs lines"),
    ],
)
def test_a_profile_refuses_numbers_that_yaml_reads_as_texts(tmp_path, text, said):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        runs.load_profile("mine", tmp_path)


def test_a_profile_is_read_and_a_misspelt_name_answered(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text("b: {lr: 1.0e-4, name: 1-10 %}\na:\n")
    assert runs.load_profile("mine", tmp_path) == {"b": {"lr": 1e-4, "name": "1-10 %"}, "a": {}}
    with pytest.raises(FileNotFoundError, match="did you mean 'mine'"):
        runs.load_profile("mien", tmp_path)


def test_plan_gives_each_notebook_its_folder(toy):
    jobs = runs.plan("toy", toy)
    assert list(jobs) == ["01_data", "05_training", "06_evaluation"]
    assert jobs["01_data"].out_dir == toy / "results" / "toy" / "01_data"
    assert jobs["01_data"].parameters["scale"] == 2.0
    assert jobs["01_data"].parameters["data_dir"] == str(toy / "data" / "samples")
    run = jobs["05_training"].out_dir
    assert run.parent == toy / "results" / "toy" / "training" and run.name.startswith("aot-samples-s0-")
    assert jobs["06_evaluation"].parameters["run_dir"] == str(run)


GROUP = """
07_methods: {}
05_training: {steps: 3}
methods:
  each: {steps: 5, seed: 1}
  aot: {seed: 2}
  other: {method: pconv}
"""


def test_a_group_is_a_training_run_each(toy):
    (toy / "profiles" / "toy.yaml").write_text(GROUP)
    jobs = runs.plan("toy", toy)
    assert list(jobs) == ["05_training", "07_methods", "methods.aot", "methods.other"]
    aot, other = jobs["methods.aot"], jobs["methods.other"]
    assert aot.notebook == other.notebook == jobs["05_training"].notebook
    assert [aot.parameters[key] for key in ("steps", "seed", "method")] == [5, 2, "aot"]
    assert [other.parameters[key] for key in ("steps", "seed", "method")] == [5, 1, "pconv"]
    assert other.out_dir.parent.name == "training" and other.out_dir.name.startswith("pconv-samples-s1-")
    comparison = jobs["07_methods"]
    assert comparison.after == ("methods.aot", "methods.other") and not comparison.trains and aot.trains
    assert comparison.parameters["method_runs"] == {"aot": str(aot.out_dir), "other": str(other.out_dir)}


def test_other_methods_code_changes_their_runs_only(toy):
    (toy / "profiles" / "toy.yaml").write_text(GROUP)
    before = runs.plan("toy", toy)
    layer = toy / "aotlib" / "baselines" / "pconv.py"
    layer.write_text(layer.read_text() + "\nANOTHER = 1\n")
    changed = {name for name, job in runs.plan("toy", toy).items() if job.out_dir != before[name].out_dir}
    assert changed == {"methods.other"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("07_methods: {}", "07_methods has a method_runs, but no methods comes before it"),
        ("07_methods: {method_runs: {}}", "method_runs is not a profile's to set"),
        ("methods: {each: {stepz: 1}, a: {}}", "no parameter 'stepz'; did you mean 'steps'"),
        ("methods: {a: 3}", "needs lines 'parameter: value'"),
    ],
)
def test_mistakes_in_a_group_are_answered(toy, text, said):
    (toy / "profiles" / "toy.yaml").write_text(text)
    with pytest.raises((ValueError, KeyError), match=said):
        runs.plan("toy", toy)


def test_plan_refuses_what_is_not_there(toy):
    (toy / "profiles" / "toy.yaml").write_text("01_dat: {}")
    with pytest.raises(FileNotFoundError, match="no notebook '01_dat'; did you mean '01_data'"):
        runs.plan("toy", toy)
    (toy / "profiles" / "toy.yaml").write_text("01_data: {out_dir: x}")
    with pytest.raises(ValueError, match="out_dir is not a profile's to set"):
        runs.plan("toy", toy)
    (toy / "profiles" / "toy.yaml").write_text("06_evaluation: {}")
    with pytest.raises(ValueError, match="no 05_training comes before it"):
        runs.plan("toy", toy)


def test_a_training_run_is_named_after_parameters_code_and_data(toy):
    def name():
        return runs.plan("toy", toy)["05_training"].out_dir.name

    names = [name()]
    model = toy / "aotlib" / "model.py"
    model.write_text(model.read_text() + "\n# a comment\n")
    assert name() == names[0]
    model.write_text(model.read_text() + "\nANOTHER = 1\n")
    names.append(name())
    (toy / "data" / "samples" / "a.txt").write_text("another picture")
    names.append(name())
    (toy / "profiles" / "toy.yaml").write_text("05_training: {steps: 4}")
    names.append(name())
    assert len(set(names)) == 4
    moved = toy.parent / "moved"
    toy.rename(moved)
    assert runs.plan("toy", moved)["05_training"].out_dir.name == names[-1]


def test_run_name_does_not_depend_on_folders_or_order():
    one = runs.run_name({"a": 1, "seed": 2, "data_dir": "/x/faces", "out_dir": "/y"})
    assert one == runs.run_name({"out_dir": "/z", "data_dir": "/q/faces", "seed": 2, "a": 1})
    assert one.startswith("aotgan-faces-s2-") and len(one.split("-")[-1]) == 8
    assert one != runs.run_name({"a": 2, "seed": 2, "data_dir": "/x/faces"})
    assert runs.run_name({"data": "places2", "method": "ca"}).startswith("ca-places2-s0-")


def test_code_digest_sees_statements_only(tmp_path):
    module = tmp_path / "m.py"

    def digest(text):
        module.write_text(text)
        return run_names.code_digest(tmp_path, ["m"])

    text = '"""A."""\nclass C:\n    """B."""\n    def f(self, x):\n        """C."""\n        return x + 1\n'
    other = text.replace("A.", "Z.").replace("B.", "Y.").replace("C.", "X.").replace("x + 1", "(x+1)  # no\n\n")
    assert digest(text) == digest(other) and text != other
    assert digest(text) != digest(text.replace("x + 1", "x + 2"))


def test_training_code_is_what_train_imports():
    """Modules that train.py reaches must be listed, or be known not to change a weight."""
    harmless = {"checkpoint", "choices", "figures", "files", "launch", "metrics", "records", "released", "__init__"}
    harmless |= {"stopping", "trainlog", "validation", "weights"}
    reached, todo = {"launch"}, ["train"]  # launch is the way in from outside, and reaches everything
    while todo:
        module = todo.pop()
        if module not in reached:
            reached.add(module)
            todo += _imports(ROOT / "aotlib" / f"{module}.py") if module != "baselines" else []
    rivals = {module.partition("/")[0] for module in run_names.RIVALS_CODE}
    assert reached - harmless == set(run_names.TRAINING_CODE) | rivals
    inside = {name for path in (ROOT / "aotlib" / "baselines").glob("*.py") for name in _imports(path)}
    assert inside <= reached | {"padding"}


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "aotlib":
            yield from (name.name for name in node.names if (ROOT / "aotlib" / f"{name.name}.py").is_file())
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aotlib."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[1] for name in node.names if name.name.startswith("aotlib."))


def test_a_folder_has_one_writer(tmp_path):
    with only_writer(tmp_path / "a"):
        with pytest.raises(RuntimeError, match="another process is writing to"), only_writer(tmp_path / "a"):
            pass
        with only_writer(tmp_path / "b"):
            pass
    with only_writer(tmp_path / "a"):
        pass


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.json"
    content = {"n": np.int64(3), "x": torch.tensor(0.5), "l": np.arange(2), "p": Path("b"), "é": None}
    runs.write_json(path, content)
    assert json.loads(path.read_text()) == {"n": 3, "x": 0.5, "l": [0, 1], "p": "b", "é": None}
    with pytest.raises(TypeError, match="cannot write"):
        runs.write_json(path, {"n": 4, "f": object()})
    assert json.loads(path.read_text())["n"] == 3 and [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_finish_names_the_number_that_json_does_not_have(tmp_path):
    with pytest.raises(ValueError, match="'psnr' is inf"):
        runs.finish(tmp_path, {"l1": 0.0, "psnr": torch.tensor(float("inf"))})
    assert not (tmp_path / "metrics.json").exists()
    runs.finish(tmp_path, {"l1": np.float32(0.5)})
    assert json.loads((tmp_path / "metrics.json").read_text())["l1"] == 0.5


def test_fingerprint_changes_with_names_sizes_and_contents(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "a").write_text("1")
    seen = [records.fingerprint(folder)]
    assert seen[0]["files"] == 1 and seen[0]["of"] == "names, sizes and contents"
    (folder / ".DS_Store").write_text("hidden files do not count")
    assert records.fingerprint(folder) == seen[0]
    (folder / "train" / "a").write_text("2")
    seen.append(records.fingerprint(folder))
    (folder / "train" / "a").rename(folder / "train" / "b")
    seen.append(records.fingerprint(folder))
    assert len({one["sha256"] for one in seen}) == 3
    monkeypatch.setattr(records, "MANY_FILES", 0)
    by_size = records.fingerprint(folder)
    (folder / "train" / "b").write_text("3")
    assert records.fingerprint(folder) == by_size and by_size["of"] == "names and sizes"
    assert records.fingerprint(tmp_path / "nowhere") is None


def test_code_state_knows_commit_and_changes(tmp_path):
    def git(*words):
        settings = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *settings, "-C", tmp_path, *words], check=True, capture_output=True)

    assert records.code_state(tmp_path) == (None, None)
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    commit, dirty = records.code_state(tmp_path)
    assert len(commit) == 40 and dirty is False
    (tmp_path / "a").write_text("2")
    assert records.code_state(tmp_path) == (commit, True)
    (tmp_path / "inner").mkdir()
    assert records.code_state(tmp_path / "inner") == (None, None)  # somebody else's history


SAVED = {
    "title": "# 6 · A & B: what $x_1$ is\n**You will** see <b> and $\\hat x$ ([card](../card.md), [paper](https://a.org/?b=1&c=2)).\n\nMore.",
    "late": "figures.save(\n    fig,\n    f'{out_dir}/figures',\n    'late',\n)\ntables.write(rows, out_dir, 'wide')",
    "code": "assert 1 == 1",
    "late read": "## A heading\nRead it: of something else.",
    "early": "figures.save(fig, out_dir, 'early')",
    "early read": "Of `b`. Read it: *it* falls.\n\nRead it: later.\n\n## Next\nRead it: no.",
}


def _cells(*names):
    kinds = ("code" if names and name in ("late", "early", "code") else "markdown" for name in names)
    return [{"cell_type": kind, "source": SAVED.get(name, name)} for kind, name in zip(kinds, names)]


@pytest.mark.parametrize(
    "names, early",
    [
        (("early", "early read"), "Of `b`. Read it: *it* falls."),
        (("early", "code", "early read"), "Of `b`. Read it: *it* falls."),
        (("early", "Some words.", "early read"), ""),  # what is read there is something else
        (("early", "late read"), ""),
        (("early",), ""),
        (("early", "late", "early read"), ""),  # the nearer figure has it
    ],
)
def test_a_figure_is_read_by_the_text_that_follows_it(names, early):
    said = report.captions(_cells(*names))
    assert said["figure", "early"] == early and list(said)[0] == ("figure", "early")
    if "late" in names:
        assert said["figure", "late"].startswith("Of `b`.") and said["table", "wide"] == ""
    assert report.captions([{"cell_type": "code", "source": "%magic\nfigures.save(fig, out_dir, 'a')"}]) == {}


def test_every_figure_of_the_committed_notebooks_is_found_and_no_sentence_is_used_twice():
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        said = report.captions(cells)
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert [kind for kind, _ in said].count("figure") == code.count("figures.save(") > 0
        read = [caption for caption in said.values() if caption]
        assert read and len(read) == len(set(read)) and all("Read it: " in caption for caption in read)


def test_a_word_before_the_name_of_a_figure_does_not_part_it_from_its_text():
    code = {"cell_type": "code", "source": "figures.save(fig, out_dir, f'{label}votes')"}
    said = report.captions([code, {"cell_type": "markdown", "source": "Read it: of votes."}])
    assert said == {("figure", "votes"): "Read it: of votes."}
    assert report._called("figure", "simulated_votes", said) == ("figure", "votes")
    assert report._called("figure", "pivotes", said) == ("figure", "pivotes")
    assert report._called("table", "simulated_votes", said) == ("table", "simulated_votes")


class _Strict(HTMLParser):
    """Raises at what a browser would mend: an element left open or closed twice, a bare &, an id given twice."""

    EMPTY = {"meta", "link", "img", "br"}
    BLOCKS = {"p", "div", "figure", "figcaption", "table", "section", "h1", "h2", "h3", "ol", "li", "nav", "main"}

    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.open, self.ids, self.links, self.images, self.kind = [], set(), [], [], ""

    def handle_decl(self, decl):
        self.kind = decl

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert len(given) == len(attrs) and None not in given.values(), (tag, attrs)
        assert not (tag in self.BLOCKS and {"p", "h1", "h2", "h3"} & set(self.open)), (tag, self.open)
        if "id" in given:
            assert given["id"] not in self.ids and re.fullmatch(r"\S+", given["id"])
            self.ids.add(given["id"])
        self.links += [given["href"]] if tag == "a" else []
        self.images += [given] if tag == "img" else []
        self.open += [] if tag in self.EMPTY else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        assert "&" not in data and ("<" not in data or self.open[-1] == "style"), data


@pytest.fixture
def shown(toy, make_notebook):
    """The toy, its first notebook run: two figures and a table that its cells save, a figure that they do not name."""
    folder = toy / "results" / "toy" / "01_data"
    path = make_notebook(folder / "01_data.ipynb", "a = 1", SAVED["late"], SAVED["early"])
    notebook = nbformat.read(path, 4)
    texts = [nbformat.v4.new_markdown_cell(SAVED[name]) for name in ("title", "late read", "early read")]
    notebook.cells = [texts[0], *notebook.cells[:2], texts[1], notebook.cells[2], texts[2]]
    nbformat.write(notebook, path)
    for name in ("figures", "tables"):
        (folder / name).mkdir()
    for name, dpi in (("early", 300), ("late", 300), ('a <b> " c', 72)):
        Image.new("RGB", (1350, 300), "navy").save(folder / "figures" / f"{name}.png", dpi=(dpi, dpi))
    table = "| a \\| b | n | why |\n|:--|--:|:--|\n| - | - | - |\n| x<y | 1 | **R&D** [1, 2] |\n"
    (folder / "tables" / "wide.md").write_text(table + "\n| another |\n|---|\n| 7 |\n")
    record = {"started": "2026-01-01", "seconds": 1.2, "device": "cpu", "features": None, "seed": 0, "data": None}
    records.write_json(folder / "record.json", record | {"commit": None, "dirty": None})
    return toy


def test_the_report_reads_like_the_notebook(shown):
    text = report.page("toy", shown)
    assert report.page("toy", shown) == text == report.write_report("toy", shown).read_text()
    titles = re.findall(r"<h3>(.+)</h3>", text)
    assert titles == ["Figure: late", "Table: wide", "Figure: early", "Figure: a &lt;b&gt; &#34; c"]
    assert re.findall(r"<figcaption>(.+)</figcaption>", text) == [
        "<p>Of <code>b</code>. Read it: <em>it</em> falls.</p>"
    ]
    assert "<strong>You will</strong> see &lt;b&gt; and" in text and "More." not in text
    assert "(card, <a " in text and 'href="https://a.org/?b=1&amp;c=2"' in text  # no link to a file beside
    assert "Not run: 05_training, 06_evaluation." in text
    assert re.findall("--inches: ([0-9.]+)", text) == ["4.50", "4.50", "18.75"]
    head, *rows = re.findall(r"<tr>(.*)</tr>", text)[:3]
    assert head == '<th scope="col">a | b</th><th scope="col">n</th><th scope="col" class="text">why</th>'
    assert rows == [
        '<td>-</td><td>-</td><td class="text">-</td>',
        '<td>x&lt;y</td><td>1</td><td class="text"><b>R&amp;D</b> [1, 2]</td>',
    ]
    assert ">another<" not in text and "**" not in text


def test_the_report_is_html_that_needs_no_mending(shown):
    page = _Strict()
    page.feed(report.page("toy", shown))
    page.close()
    assert page.open == [] and page.kind == "doctype html"
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= page.ids
    assert {"contents", "origin", "01_data"} <= page.ids and len(page.links) > 6
    assert len(page.images) == 3 + 3  # a formula in the title stands among the contents, too
    assert [image["alt"] for image in page.images][2:4] == [
        r"\hat x",
        "Figure: late of notebook 6 · A & B: what x_1 is",
    ]
    assert all(image["src"].startswith("data:image/") for image in page.images)


def test_a_formula_that_cannot_be_set_stays_as_it_was_written(shown):
    notebook = shown / "results" / "toy" / "01_data" / "01_data.ipynb"
    notebook.write_text(notebook.read_text().replace("x_1", "\\\\begin{a}<"))
    text = report.page("toy", shown)
    assert r"<code>\begin{a}&lt;</code>" in text and text.count('class="formula"') == 1
