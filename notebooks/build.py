r"""Build the executed notebooks from their sources: `make notebooks`, or `python notebooks/build.py 02_generator`.

Only those are built that are named or no longer in step with ``notebooks/source/NN_topic.py``; all with ``--all``.
Built twice on one machine, a notebook has the same bytes. ``--check`` executes nothing and only looks for faults.
"""

import argparse
import difflib
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from aotlib.runs import private_kernel

HERE = Path(__file__).resolve().parent
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
MAX_BYTES, MAX_LINES = 750_000, 25
CHECKED = "nbval-check-output"
# Folders that exist on one machine only, wherever they turn up in an output.
PLACES = [
    r"/home/\w",
    r"/root/",
    r"/Users/\w",
    r"/tmp/",
    r"/var/folders/",
    r"[A-Z]:\\\\?Users",
    "site-packages",
    "ipykernel_",
]
PLACES += [
    re.escape(str(folder)) for folder in (HERE.parent, Path.home(), Path(tempfile.gettempdir())) if folder != Path("/")
]


def skeleton(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, not executed: its cells with ids that stay the same, and tags."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{source.stem}-{number:02d}".replace("_", "-")  # jupytext draws random ones
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def build(source: Path, target: Path) -> list[str]:
    """`target` is the executed notebook of `source`, unless faults are returned: then `target` stays as it was."""
    notebook = skeleton(source)
    # The training notebook would only go on with a run that it finished before.
    shutil.rmtree(target.parent.parent / "results" / "notebook" / source.stem, ignore_errors=True)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}  # the last digits depend on the number of threads
    options = {"record_timing": False, "store_widget_state": False, "coalesce_streams": True}
    where = {"metadata": {"path": str(target.parent)}}  # as in Jupyter and in nbval
    with private_kernel() as config:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where, config=config, **options)
        try:
            client.execute()
        except CellExecutionError as error:
            text = re.sub(r"\x1b\[[\d;]*m", "", error.traceback)  # without colours
            return [f"a cell failed with {error.ename}: {error.evalue}\n{text}"]
    notebook.metadata["language_info"] = nbformat.from_dict({"name": "python"})  # without the patch version of Python
    found = faults(notebook, len(nbformat.writes(notebook).encode()))
    if not found:
        temporary = target.with_suffix(".part")
        nbformat.write(notebook, temporary)
        os.replace(temporary, target)
    return found


def faults(notebook: nbformat.NotebookNode, size: int = 0) -> list[str]:
    """What forbids committing an executed notebook, in words; an empty list when nothing does."""
    found = [f"{size / 1000:.0f} KB, more than {MAX_BYTES // 1000}"] if size > MAX_BYTES else []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        found.append(f"{len(tagged)} cells tagged 'parameters' instead of one")
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("execution counts are not 1, 2, 3, ...: not executed once from top to bottom")
    for cell in code:
        first = cell.source.strip().split("\n")[0]
        found += [f"cell {first!r}: {fault}" for fault in cell_faults(cell)]
    return found + structure_faults(notebook)


def cell_faults(cell: nbformat.NotebookNode) -> list[str]:
    found = []
    tags = cell.metadata.get("tags", [])
    limit = MAX_LINES + 10 if "parameters" in tags else MAX_LINES  # a training run has many, one a line
    if (lines := len(cell.source.splitlines())) > limit:
        found.append(f"{lines} lines, more than {limit}")
    if CHECKED in tags and not cell.outputs:
        found.append(f"tagged {CHECKED}, but it has no output to check")
    for output in cell.outputs:
        if output.output_type == "error":
            found.append(f"ends in {output.ename}")
        elif output.get("name") == "stderr":
            found.append(f"writes to stderr: {output.text.strip()[:200]!r}")
        texts = [output.get("text", "")] + [v for k, v in output.get("data", {}).items() if not k.startswith("image/")]
        for place in PLACES:
            if seen := re.search(rf".{{0,30}}{place}.{{0,30}}", "\n".join(map(str, texts))):
                found.append(f"shows a path of this machine: {seen.group()!r}")
                break
    return found


def structure_faults(notebook: nbformat.NotebookNode) -> list[str]:
    """Every notebook has the same head and foot, so that a reader always knows where to look."""
    first, text = notebook.cells[0], "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    if first.cell_type != "markdown" or not re.match(r"# \d+ · \S", first.source):
        found.append("the first cell is not a title '# N · ...'")
    found += [f"the first cell lacks {word!r}" for word in ("You will", "Needs", "Takes") if word not in first.source]
    if not re.search(r"^#+ .*What to remember", text, re.M):
        found.append("no section 'What to remember'")
    if not code or not re.search(r"\bfinish\(\s*out_dir", code[-1]):
        found.append("the last code cell does not call runs.finish(out_dir, ...)")
    return found


def in_step(source: Path, target: Path) -> bool:
    """Whether `target` has the cells of `source`: kinds, texts, tags."""
    if not target.is_file():
        return False

    def cells(notebook):
        return [(c.cell_type, c.source, c.metadata.get("tags", []), c.id) for c in notebook.cells]

    return cells(skeleton(source)) == cells(nbformat.read(target, 4))


def check(source: Path, target: Path) -> list[str]:
    if not in_step(source, target):
        return [f"not in step with source/{source.name}; run make notebooks"]
    return faults(nbformat.read(target, 4), target.stat().st_size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="such as 02_generator")
    parser.add_argument("--all", action="store_true", help="build all, also those that are in step")
    parser.add_argument("--check", action="store_true", help="build nothing, only report faults")
    wanted = parser.parse_args()
    sources = {path.stem: path for path in sorted((HERE / "source").glob("[0-9]*.py"))}
    for name in wanted.names:
        if name not in sources:
            close = difflib.get_close_matches(name, sources, n=1) or sources
            parser.error(f"no source/{name}.py; there is: {', '.join(close)}")
    failed = 0
    for name in wanted.names or sources:
        source, target = sources[name], HERE / f"{name}.ipynb"
        if not (wanted.check or wanted.all or wanted.names) and in_step(source, target):
            continue
        started = time.time()
        found = check(source, target) if wanted.check else build(source, target)
        failed += bool(found)
        verb = "checked" if wanted.check else f"built in {time.time() - started:.0f} s"
        print("\n  ".join([f"{name}: {'REFUSED' if found else verb}", *found]), flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
