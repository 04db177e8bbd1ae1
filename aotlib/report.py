r"""One page that shows all results of a profile: figures, tables and what each came from, in a single HTML file.

Taught in notebook 06.
"""

import ast
import base64
import io
import json
import re
from itertools import dropwhile, takewhile
from pathlib import Path

import jinja2
import matplotlib
import mistune
from markupsafe import Markup
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image
from PIL import Image

from aotlib import profiles, tables
from aotlib.files import replacing

WIDTH = 1000  # pixels of an embedded figure: sharp on a phone; the 300 dpi files stay in figures/
SAVING = {("figures", "save"): "figure", ("tables", "write"): "table"}


def write_report(profile: str, root: Path) -> Path:
    r"""``results/<profile>/report.html`` shows the results of every notebook of the profile that has been run.

    Taught in notebook 06.
    """
    path = root / "results" / profile / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(page(profile, root), encoding="utf-8")
    return path


def page(profile: str, root: Path) -> str:
    r"""The HTML of the report: it needs no other file, and the same results give the same text.

    Taught in notebook 06.
    """
    plan = profiles.plan(profile, root)
    jobs = {name: job for name, job in plan.items() if (job.out_dir / "record.json").is_file()}
    source = Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    environment.filters["strong"] = strong
    template = environment.from_string(source)
    return template.render(
        profile=profile,
        missing=[name for name in plan if name not in jobs],
        parts=[_part(name, job.out_dir) for name, job in jobs.items() if job.notebook.stem == name],  # none of a group
        origin=_origin(jobs),
    )


def _part(name: str, folder: Path) -> dict:
    cells = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    first = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), name)
    title, _, text = first.partition("\n")
    title, opening = title.lstrip("# "), text.strip().split("\n\n")[0]
    said = captions(cells)
    seen = {("table", path.stem): path for path in sorted((folder / "tables").glob("*.md")) if markdown_rows(path)}
    seen |= {("figure", path.stem): path for path in sorted((folder / "figures").glob("*.png"))}
    keys = {key: _called(*key, said) for key in seen}  # as the notebook's cells call it
    order = sorted(seen, key=lambda key: list(said).index(keys[key]) if keys[key] in said else len(said))
    items = [_item(*key, seen[key], said.get(keys[key], "")) | {"id": f"{name}-{i}"} for i, key in enumerate(order, 1)]
    plain = re.sub(r"[$*`\\]", "", title)
    return {"name": name, "title": plain, "heading": _inline(title), "opening": _html(opening), "results": items}


def _called(kind: str, stem: str, said: dict) -> tuple[str, str]:
    """The name that a cell gave to a file, which may have a word before it, such as "simulated"."""
    ends = [name for other, name in said if other == kind and stem.endswith(f"_{name}")]
    return (kind, stem) if (kind, stem) in said or not ends else (kind, max(ends, key=len))


def _item(kind: str, name: str, path: Path, caption: str) -> dict:
    shown = {"title": f"{kind.capitalize()}: {name.replace('_', ' ')}", "caption": _html(caption)}
    if kind == "figure":
        return shown | _embedded(path)
    rule = _table_lines(path)[1]
    return shown | {"rows": markdown_rows(path), "texts": [i for i, dashes in enumerate(rule) if dashes[-1:] != ":"]}


def captions(cells: list[dict]) -> dict[tuple[str, str], str]:
    r"""What each figure and table of a notebook is to be read for, in the order in which the cells save them.

    The keys are ("figure" or "table", name); the value is the Markdown paragraph with "Read it:" in the first text
    after the cell, and "" where there is none. It belongs to the last figure before it, or else to the last table.

    >>> code = {"cell_type": "code", "source": ['figures.save(fig, out_dir, "curve")']}
    >>> captions([code, {"cell_type": "markdown", "source": ["Read it: it falls.", "\n\n", "More."]}])
    {('figure', 'curve'): 'Read it: it falls.'}

    Taught in notebook 06.
    """
    said, waiting = {}, []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            waiting += saved(source)
            said |= {key: "" for key in waiting if key not in said}
            continue
        paragraphs = takewhile(lambda text: not text.startswith("#"), source.split("\n\n"))
        reading = next((text.strip() for text in paragraphs if "Read it:" in text), "")
        if waiting and reading:
            figures = [key for key in waiting if key[0] == "figure"]
            said[(figures or waiting)[-1]] = reading
        waiting = []
    return said


def saved(source: str) -> list[tuple[str, str]]:
    """Kinds and names of what a cell saves under a name that is written in it, from its top to its bottom."""
    try:
        calls = ast.walk(ast.parse(source))
    except SyntaxError:  # a cell with a magic
        return []
    found = []
    for call in calls:
        match call:
            case ast.Call(ast.Attribute(ast.Name(module), word), [*_, ast.Constant(str(name))]) | ast.Call(
                ast.Attribute(ast.Name(module), word), [*_, ast.JoinedStr([*_, ast.Constant(str(name))])]
            ):
                found += [(call.lineno, SAVING[module, word], name)] if (module, word) in SAVING else []
    return [(kind, name) for _, kind, name in sorted(found)]


class _Words(mistune.HTMLRenderer):
    """Markdown of a notebook on a page that stands elsewhere: formulas as pictures, links only to the web."""

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, url, title) if url.startswith(("https://", "http://")) else text

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return text

    def inline_math(self, text: str) -> str:
        return _formula(text)

    def block_math(self, text: str) -> str:
        return f"<p>{_formula(text)}</p>\n"


def _html(markdown: str) -> Markup:
    return Markup(mistune.create_markdown(renderer=_Words(escape=True), plugins=["math"])(markdown).strip())


def _inline(markdown: str) -> Markup:
    return Markup(_html(markdown).removeprefix("<p>").removesuffix("</p>"))


def _formula(tex: str) -> str:
    """An SVG picture in units of the text around it; what matplotlib cannot set stays as TeX."""
    tex, size, file = " ".join(tex.split()), 10, io.BytesIO()
    alt = mistune.escape(tex)
    try:
        with matplotlib.rc_context({"savefig.transparent": True, "svg.fonttype": "path"}):
            depth = math_to_image(f"${tex}$", file, FontProperties(size=size), dpi=72, format="svg")
    except ValueError:
        return f"<code>{alt}</code>"
    svg = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue().decode(), flags=re.S)  # it holds the time
    width = float(re.search(r'width="([\d.]+)pt"', svg).group(1))
    style = f"width:{width / size:.3f}em;vertical-align:{-depth / size:.3f}em"
    return f'<img class="formula" alt="{alt}" style="{style}" src="{_address("svg+xml", svg.encode())}">'


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def markdown_rows(path: Path) -> list[list[str]]:
    r"""The cells of the first table in a Markdown file, head first, without the line of dashes below it."""
    lines = _table_lines(path)
    return lines[:1] + lines[2:] if len(lines) > 1 else []


def strong(cell: str) -> Markup:
    r"""A cell of a Markdown table as HTML.

    >>> strong("**34.4** [31.7, 39.2] <dB>")
    Markup('<b>34.4</b> [31.7, 39.2] &lt;dB&gt;')
    """
    return Markup(tables.BOLD.sub(r"<b>\1</b>", mistune.escape(cell)))


def _table_lines(path: Path) -> list[list[str]]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = takewhile(lambda line: line.startswith("|"), dropwhile(lambda line: not line.startswith("|"), lines))
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]  # \| is a bar in a cell
    return [[cell.strip().replace("\\|", "|") for cell in row] for row in rows]


def _embedded(path: Path) -> dict:
    """The figure at screen size, as PNG or JPEG: photographs are smaller as JPEG, curves as PNG."""
    image = Image.open(path)
    inches = image.width / image.info.get("dpi", (96, 96))[0]
    image = image.convert("RGB")
    image.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    png, jpeg = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG", optimize=True)
    image.save(jpeg, "JPEG", quality=90, optimize=True)
    kind, data = min(("png", png.getvalue()), ("jpeg", jpeg.getvalue()), key=lambda pair: len(pair[1]))
    return {"source": _address(kind, data), "inches": f"{inches:.2f}", "width": image.width, "height": image.height}


def _origin(jobs: dict[str, profiles.Job]) -> list[list[str]]:
    rows = [["notebook", "run", "started", "seconds", "device", "features", "seed", "commit", "data"]]
    for name, job in jobs.items():
        seen = json.loads((job.out_dir / "record.json").read_text(encoding="utf-8"))
        commit = (seen["commit"] or "none")[:8] + (" + changes" if seen["dirty"] else "")
        data = (seen["data"] or {}).get("sha256", "none")[:8]
        row = [name, job.out_dir.name, seen["started"], f"{seen['seconds']:.0f}", seen["device"], seen["features"]]
        rows.append(["" if cell is None else str(cell) for cell in [*row, seen["seed"], commit, data]])
    return rows
