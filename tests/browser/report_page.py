"""The report as a reader sees it: no broken picture, nothing wider than the screen, links that lead somewhere.

`make test-browser` runs this file. Its name keeps it out of `make test`, which is to need no browser.
"""

import base64
import io
import json
from html.parser import HTMLParser

import pytest
from conftest import ROOT
from looks import BROKEN, FAINT, OUT_OF_REACH, OUTSIDE, SMALL
from PIL import Image

from aotlib import profiles, report

pytest_plugins = ("chromium",)
WIDTHS = (360, 768, 1280)  # pixels: a phone, a tablet, a desk
A4 = 680  # pixels of 1/96 inch between margins of 15 mm
COMMITTED = "committed"
KEPT = {path.parents[1].name for path in ROOT.glob("results/*/*/record.json")}
KEPT = sorted(KEPT & {path.stem for path in ROOT.glob("profiles/*.yaml")})
SCREENS = [pytest.param(width, dark, id=f"{width}{'-dark' * dark}") for width in WIDTHS for dark in (False, True)]
WIDE = [f"quantity_{i} / unit" for i in range(14)]
RECORD = {"started": "2026-01-01T00:00:00+00:00", "seconds": 12.5, "device": "cpu: a processor with quite a long name"}
RECORD |= {"features": "random, 16 wide", "seed": 0, "commit": 40 * "a", "dirty": True, "data": {"sha256": 64 * "b"}}


@pytest.fixture(scope="module", params=[COMMITTED, *KEPT])
def page(request, tmp_path_factory):
    """The report of the notebooks as they are committed, and of each profile that has results here."""
    profile, root = (request.param, ROOT) if request.param != COMMITTED else ("smoke", tmp_path_factory.mktemp("root"))
    if request.param == COMMITTED:
        _results_of_committed_notebooks(root)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.page(profile, root), encoding="utf-8")
    return path


def _results_of_committed_notebooks(root):
    """As if smoke had just been run: notebooks and pictures as committed, the tables made up, and wide."""
    for name in ("aotlib", "notebooks", "profiles", "data"):
        (root / name).symlink_to(ROOT / name)
    for job in profiles.plan("smoke", root).values():
        folder, name = job.out_dir, job.notebook.stem
        for below in ("figures", "tables"):
            (folder / below).mkdir(parents=True)
        notebook = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
        (folder / f"{name}.ipynb").write_text(notebook, encoding="utf-8")
        (folder / "record.json").write_text(json.dumps(RECORD))
        cells = json.loads(notebook)["cells"]
        for kind, title in report.captions(cells):
            if kind == "figure":
                dpi = 50 if title == "photographs" else 100  # one is drawn wider than paper
                if (drawn := _drawn(cells, title)) is not None:
                    drawn.save(folder / "figures" / f"{title}.png", dpi=(dpi, dpi))
            else:
                row = [
                    "a method with a name",
                    *["0.1234"] * 12,
                    "a remark that is longer than a line of a phone is wide",
                ]
                rows = [WIDE, [":---", *["---:"] * 12, ":---"], *[row] * 9]
                text = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
                (folder / "tables" / f"{title}.md").write_text(text, encoding="utf-8")


def _drawn(cells, name):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    (cell,) = [cell for cell in code if ("figure", name) in report.saved("".join(cell["source"]))]
    shown = [output["data"] for output in cell["outputs"] if "data" in output]
    pictures = [value for one in shown for kind, value in one.items() if kind in ("image/png", "image/jpeg")]
    if not pictures:  # the cell says in words why there is nothing to draw at this size
        assert any("text" in output for output in cell["outputs"])
        return None
    (data,) = pictures
    return Image.open(io.BytesIO(base64.b64decode("".join(data))))


@pytest.mark.parametrize("width, dark", SCREENS)
def test_the_page_fits_the_screen_and_is_whole(browser, page, width, dark):
    browser.show(page, width, dark=dark)
    assert browser.ask("return window.innerWidth") == width
    assert browser.console() == []
    assert browser.ask("return performance.getEntriesByType('resource').map(e => e.name.slice(0, 99))") == []
    assert browser.ask("return document.images.length") > 5
    assert browser.ask(BROKEN) == []
    assert browser.ask("return document.documentElement.scrollWidth") <= width
    assert browser.ask(OUTSIDE, width, True) == []
    assert browser.ask(OUT_OF_REACH) == []
    assert browser.ask(SMALL) == []
    assert browser.ask(FAINT) == []


def test_dark_is_dark(browser, page):
    seen = []
    for dark in (False, True):
        browser.show(page, 1280, dark=dark)
        seen.append(browser.ask("return getComputedStyle(document.body).backgroundColor"))
    light, dark = (sum(map(int, one.strip("rgb()").split(","))) / 3 for one in seen)
    assert light > 250 and dark < 40


@pytest.mark.parametrize("width", WIDTHS)
def test_every_link_leads_somewhere(browser, page, width):
    browser.show(page, width)
    links = browser.ask("return [...document.links].map(a => a.getAttribute('href'))")
    elsewhere = [link for link in links if not link.startswith("#")]
    assert [link for link in elsewhere if not link.startswith(("https://", "http://"))] == []  # no file of one machine
    assert len(links) - len(elsewhere) > 10
    assert browser.ask(LOST) == []


LOST = """return [...document.links].filter(a => a.getAttribute('href')[0] == '#').filter(a => {
  scrollTo(0, 0); a.click();
  const goal = document.querySelector(':target'); const top = goal ? goal.getBoundingClientRect().top : 1e9;
  const end = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
  return !(goal && '#' + goal.id == a.getAttribute('href') && (Math.abs(top) < 2 || end && top < innerHeight)) })
  .map(a => a.outerHTML)"""


def test_on_paper_nothing_is_cut_off(browser, page):
    browser.show(page, A4, printed=True, dark=True)
    assert browser.ask(OUTSIDE, A4, False) == []
    assert browser.ask("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_the_browser_reads_the_same_elements_as_are_written(browser, page):
    """HTML that is wrong is mended in silence: an element is closed early, moved, or added."""

    class Elements(HTMLParser):
        depth = 0

        def handle_starttag(self, tag, attrs):
            written.append([tag, self.depth])
            self.depth += tag not in ("meta", "link", "img", "br")

        def handle_endtag(self, tag):
            self.depth -= 1

    written = []
    Elements().feed(page.read_text(encoding="utf-8"))
    browser.show(page, 1280)
    assert browser.ask(ELEMENTS) == written


ELEMENTS = """const depth = e => e.parentElement ? 1 + depth(e.parentElement) : 0;
return [...document.querySelectorAll('*')].map(e => [e.localName, depth(e)])"""
