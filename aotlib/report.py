r"""One page that shows all results of a profile: figures, tables and what each came from, in a single HTML file.

Taught in notebook 06.
"""

import base64
import io
import json
from pathlib import Path

import jinja2
from PIL import Image

from aotlib import profiles
from aotlib.files import replacing
from aotlib.records import write_json

WIDTH = 1000  # pixels of an embedded figure: sharp on a phone; the 300 dpi files stay in figures/

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>AOT-GAN notebooks, {{ profile }}</title>
<style>
 body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1rem; color: #222 }
 img { max-width: 100%; height: auto } figure { margin: 1.5rem 0 } figcaption { color: #555; font-size: .9rem }
 .wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; margin: 1rem 0 }
 th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
 th:first-child, td:first-child { text-align: left } .note { background: #fff4d6; padding: .6rem 1rem }
</style></head><body>
<h1>AOT-GAN notebooks: profile “{{ profile }}”</h1>
{% if profile != "paper" %}<p class="note">These are small runs, made to learn from. They are not the paper's runs, and
their numbers are not to be compared with the paper's.</p>{% endif %}
{% macro table(rows) %}<div class="wide"><table>
<tr>{% for cell in rows[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in rows[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</table></div>{% endmacro %}
{% for part in parts %}<h2 id="{{ part.name }}">{{ part.title }}</h2>
{% for name, rows in part.tables %}<h3>{{ name }}</h3>{{ table(rows) }}{% endfor %}
{% for name, source in part.figures %}<figure><img src="{{ source }}" alt="{{ name }}" loading="lazy">
<figcaption>{{ name }}</figcaption></figure>{% endfor %}
{% endfor %}
<h2>Where it all came from</h2>
{{ table(origin) }}
</body></html>
"""


def write_report(profile: str, root: Path) -> Path:
    r"""``results/<profile>/report.html`` shows the results of every notebook of the profile that has been run.

    Taught in notebook 06.
    """
    jobs = {name: job for name, job in profiles.plan(profile, root).items() if (job.out_dir / "record.json").is_file()}
    parts = [_part(name, job.out_dir) for name, job in jobs.items()]
    page = jinja2.Environment(autoescape=True).from_string(PAGE)
    path = root / "results" / profile / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(page.render(profile=profile, parts=parts, origin=_origin(jobs)), encoding="utf-8")
    return path


def _part(name: str, folder: Path) -> dict:
    cells = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    title = next(("".join(cell["source"]).splitlines()[0] for cell in cells if cell["cell_type"] == "markdown"), name)
    tables = [(path.stem, markdown_rows(path)) for path in sorted((folder / "tables").glob("*.md"))]
    figures = [(path.stem, _embedded(path)) for path in sorted((folder / "figures").glob("*.png"))]
    return {"name": name, "title": title.lstrip("# "), "tables": [t for t in tables if t[1]], "figures": figures}


def markdown_rows(path: Path) -> list[list[str]]:
    r"""The cells of the first table in a Markdown file, head first, without the line of dashes below it."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in rows if set("".join(row)) - set(":- ")]


def _embedded(path: Path) -> str:
    """A data address of the figure at screen size, as PNG or JPEG: photographs are smaller as JPEG, curves as PNG."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    png, jpeg = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG", optimize=True)
    image.save(jpeg, "JPEG", quality=90, optimize=True)
    kind, data = min(("png", png.getvalue()), ("jpeg", jpeg.getvalue()), key=lambda pair: len(pair[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _origin(jobs: dict[str, profiles.Job]) -> list[list[str]]:
    rows = [["notebook", "run", "started", "seconds", "device", "features", "seed", "commit", "data"]]
    for name, job in jobs.items():
        seen = json.loads((job.out_dir / "record.json").read_text(encoding="utf-8"))
        commit = (seen["commit"] or "none")[:8] + (" + changes" if seen["dirty"] else "")
        data = (seen["data"] or {}).get("sha256", "none")[:8]
        row = [name, job.out_dir.name, seen["started"], f"{seen['seconds']:.0f}", seen["device"], seen["features"]]
        rows.append(["" if cell is None else str(cell) for cell in [*row, seen["seed"], commit, data]])
    return rows


def keep_reference(profile: str, root: Path) -> Path:
    r"""``results/reference`` holds what the README shows of a profile: two figures, the result table, and its records.

    Folders are left out of the records: they are of one machine. Taught in notebook 06.

    Raises:
        ValueError: for results of code that is in no commit: nobody could make them again.
    """
    jobs, folder = profiles.plan(profile, root), root / "results" / "reference"
    found = {
        name: json.loads((jobs[name].out_dir / "record.json").read_text(encoding="utf-8"))
        for name in (profiles.TRAINING, "06_evaluation")
    }
    if changed := [name for name, content in found.items() if content["dirty"]]:
        raise ValueError(f"{', '.join(changed)}: made by files that are in no commit; commit them and run it again")
    for name, figure in (("03_discriminator", "targets"), ("06_evaluation", "filled")):
        image = Image.open(jobs[name].out_dir / "figures" / f"{figure}.png").convert("RGB")
        image.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
        with replacing(folder / f"{figure}.jpg") as temporary:
            image.save(temporary, "JPEG", quality=88, optimize=True)
    for name in ("buckets.csv", "buckets.md", "summary.md"):
        with replacing(folder / name) as temporary:
            temporary.write_bytes((jobs["06_evaluation"].out_dir / "tables" / name).read_bytes())
    for name, content in found.items():
        content["parameters"] = {k: v for k, v in content["parameters"].items() if not k.endswith("_dir")}
        write_json(folder / f"{name}.record.json", {"profile": profile} | content)
    return folder
