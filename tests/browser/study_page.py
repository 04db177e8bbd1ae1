"""The study's page as raters use it from a file: with keys, with a finger, with breaks, on screens of three widths.

`make test-browser` runs this file. Its name keeps it out of `make test`, which is to need no browser.
"""

import json
import time

import pytest
from looks import BROKEN, FAINT, OUTSIDE, SMALL
from rater import HEADING, SCREEN, Rater

from aotlib.study import answers, page
from aotlib.study import plan as plans

pytest_plugins = ("chromium",)
WIDTHS = (360, 768, 1280)  # pixels: a phone, a tablet, a desk
SCREENS = [pytest.param(width, dark, id=f"{width}{'-dark' * dark}") for width in WIDTHS for dark in (False, True)]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> and a title that is longer than a phone is wide"
MINIMUM_S = 0.4
UNEQUAL = """const boxes = [...document.querySelectorAll('.task img')].map(i => i.getBoundingClientRect());
return boxes.filter(b => Math.abs(b.width - boxes[0].width) > 0.5 || Math.abs(b.height - boxes[0].height) > 0.5)
  .map(b => [b.width, b.height, boxes[0].width, boxes[0].height])"""
ASKEW = """const boxes = [...document.querySelectorAll('.task label:has(img)')].map(e => e.getBoundingClientRect());
return boxes.filter(b => Math.abs(b.top - boxes[0].top) > 0.5 || b.left < boxes[0].left).map(b => [b.left, b.top])"""
NARROW = """return [...document.querySelectorAll('button, .option')].filter(e => e.getClientRects().length)
  .filter(e => e.getBoundingClientRect().height < 40 || e.getBoundingClientRect().width < 44).map(e => e.outerHTML)"""
FEEDBACK = "return document.getElementById('feedback')?.textContent ?? ''"
KEPT = "return Object.keys(localStorage)"


@pytest.fixture(scope="module")
def folder(make_study, tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("study") / "study", minimum_s=MINIMUM_S, title=HOSTILE)
    page.write(folder, folder / "page.html")
    return folder


@pytest.fixture(scope="module")
def plan(folder):
    return plans.read(folder)


@pytest.fixture
def opened(browser, folder, plan):
    """A function that opens a session as for the first time, and gives its rater."""

    def opens(session, width=1280, *, look=lambda name: None, touches=False, dark=False):
        address = f"{(folder / 'page.html').as_uri()}?session={session}"
        nothing = folder / "nothing.html"  # of the same origin, and no page that could keep something meanwhile
        nothing.write_text("<!doctype html><title>nothing</title>", encoding="utf-8")
        browser.show(nothing, width)
        browser.ask("localStorage.clear()")
        browser.show(address, width, dark=dark, touch=touches)
        return Rater(browser, plan["sessions"][session]["trials"], touches=touches, look=look)

    return opens


def text_of_answers(browser):
    browser.ask("document.querySelectorAll('#stage button')[1].click()")
    return json.loads(browser.ask("return document.getElementById('text').value"))


def look_at(browser, width):
    """A function that finds fault with the screen that is shown."""

    def look(name):
        seen.append(name)
        assert browser.ask("return document.documentElement.scrollWidth") <= width, name
        assert browser.ask(OUTSIDE, width, False) == [], name
        for script in (BROKEN, SMALL, FAINT, UNEQUAL, ASKEW, NARROW):
            assert browser.ask(script) == [], name

    seen = []
    return look, seen


@pytest.mark.parametrize("width, dark", SCREENS)
def test_every_screen_fits_and_can_be_read(browser, opened, width, dark):
    look, seen = look_at(browser, width)
    rater = opened(1, width, look=look, dark=dark)
    rater.agree()
    rater.take(4)
    browser.press("p")
    browser.wait("return !document.getElementById('paused').hidden")
    look("paused")
    browser.press("ENTER")
    rater.take()
    browser.wait(SCREEN, "end")
    look("end")
    text_of_answers(browser)
    look("text")
    kinds = ("real", "pair", "rank")
    assert set(seen) >= {f"{when} {kind}" for when in ("practice", "task", "feedback") for kind in kinds}
    assert browser.console() == []
    assert browser.ask("return performance.getEntriesByType('resource').map(e => e.name.slice(0, 99))") == []


def test_a_session_with_keys_only_ends_in_a_file_of_these_answers(browser, opened, plan, tmp_path):
    rater = opened(0)
    rater.agree()
    rater.take()
    browser.wait(SCREEN, "end")
    given = text_of_answers(browser)
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.ask("document.querySelector('button.main').focus()")
    browser.press("ENTER")
    deadline = time.monotonic() + 20
    while not (saved := list(tmp_path.glob("*.json"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [path.name for path in saved] == [f"answers-session-0-{given['rater'][:8]}.json"]
    assert json.loads(saved[0].read_text()) == given
    assert answers.read_folder(tmp_path) == [given | {"source": str(saved[0])}]
    table = answers.votes(plan, [given])  # raises for whatever is not of the plan
    assert [list(one) if isinstance(one, tuple) else one for one in table.choice] == rater.chosen
    assert list(table.number) == list(range(len(rater.trials))) and not table.simulated.any()
    assert table.seconds.between(MINIMUM_S, 60).all() and given["viewport"] == [1280, 800]
    assert browser.console() == []


def test_each_place_shows_the_picture_that_the_plan_says(browser, opened, plan):
    """A page that swapped left and right would turn every result round, and look well."""
    shown, tasks = [], [f"{when} {kind}" for when in ("practice", "task") for kind in ("pair", "real", "rank")]
    rater = opened(0, look=lambda name: name in tasks and shown.append(browser.ask(SHOWN)))
    rater.agree()
    rater.take()
    for trial, seen in zip(rater.trials, shown, strict=True):
        places = {"pair": ["left", "right"], "real": [""], "rank": ["Picture 1", "Picture 2", "Picture 3"]}[
            trial["kind"]
        ]
        expected = [["input", trial["input"]]] if trial["input"] else []
        assert seen == expected + [list(pair) for pair in zip(places, trial["shown"], strict=True)]


SHOWN = """const files = Object.fromEntries([...document.querySelectorAll('script[type="text/plain"]')]
  .map(e => [`data:image/webp;base64,${e.textContent.trim()}`, e.id.replace('picture-', '')]));
const images = [...document.querySelectorAll('.task img')];
images.sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x);
return images.map(image => [image.closest('figure:has(figcaption)') ? 'input' :
  image.closest('label')?.querySelector('input').value ?? image.closest('button')?.ariaLabel.split(',')[0] ?? '',
  files[image.src]])"""


def test_a_session_with_a_finger_on_a_phone(browser, opened, plan):
    rater = opened(1, 360, touches=True)
    rater.agree()
    rater.take()
    browser.wait(SCREEN, "end")
    table = answers.votes(plan, [text_of_answers(browser)])
    assert [list(one) if isinstance(one, tuple) else one for one in table.choice] == rater.chosen
    assert browser.console() == []


def test_reloading_in_the_middle_goes_on_where_it_was(browser, opened):
    rater = opened(2)
    rater.agree()
    rater.take(5)
    rater.wait_for(rater.trials[5])
    browser.press("1")  # chosen, not confirmed
    browser.driver.refresh()
    browser.wait(HEADING, "Welcome back")
    assert (
        browser.ask("return document.querySelector('#stage p').textContent")
        == f"5 of {len(rater.trials)} tasks are done."
    )
    rater.go()
    rater.take()
    browser.wait(SCREEN, "end")
    given = text_of_answers(browser)
    browser.driver.refresh()
    browser.wait(SCREEN, "end")  # and its end stays, with the same answers
    assert text_of_answers(browser) == given
    assert [one["choice"] for one in given["answers"]] == rater.chosen


def test_nothing_is_taken_before_the_least_time(browser, make_study, tmp_path):
    folder = make_study(tmp_path / "study", minimum_s=6.0)
    browser.show(page.write(folder, folder / "page.html", sessions=[0]), 1280)
    browser.ask("localStorage.clear()")  # what other studies left there: all files are one place to a browser
    rater = Rater(browser, plans.read(folder)["sessions"][0]["trials"])
    rater.agree()
    browser.wait("return document.querySelector('.task:not(.waiting)')")
    browser.press("1", "ENTER")
    assert "look first" in browser.wait("return document.getElementById('said').textContent")
    browser.ask("document.querySelector('#stage button.main').click()")
    assert browser.ask(FEEDBACK) == ""
    rater.wait_for(rater.trials[0])
    browser.press("ENTER")
    browser.wait(FEEDBACK)
    kept = json.loads(browser.ask("return Object.values(localStorage)[0]"))
    assert kept["answers"][0]["seconds"] >= 6


def test_nothing_is_taken_without_a_choice(browser, opened):
    rater = opened(3)
    rater.agree()
    rater.wait_for(rater.trials[0])
    browser.press("ENTER")
    assert browser.ask("return document.getElementById('said').textContent") == "Please choose first."
    assert browser.ask(FEEDBACK) == ""


def test_a_pause_hides_the_pictures_and_stops_the_clock(browser, opened):
    rater = opened(3)
    rater.agree()
    rater.wait_for(rater.trials[0])
    browser.press("p")
    assert browser.ask("return [...document.images].filter(i => i.getClientRects().length).length") == 0
    browser.press("1", "2")  # does nothing meanwhile
    time.sleep(2)
    browser.press("p")
    assert browser.ask("return document.querySelector('input:checked')") is None
    rater.take()
    browser.wait(SCREEN, "end")
    assert text_of_answers(browser)["answers"][0]["seconds"] < 2


def test_only_practice_gives_feedback_and_says_what_was_expected(browser, opened, plan):
    said = {}
    rater = opened(0, look=lambda name: said.update({name: browser.ask(FEEDBACK)}))
    rater.agree()
    rater.take()
    public = plans.public(plan, 0)["trials"]
    assert all(("right" in trial) <= trial["practice"] for trial in public)
    assert all(said[f"feedback {kind}"] for kind in ("pair", "real", "rank"))
    assert not any(said[f"task {kind}"] for kind in ("pair", "real", "rank"))


def test_a_ranking_can_be_mended(browser, opened):
    rater = opened(0)
    rater.agree()
    place = next(i for i, trial in enumerate(rater.trials) if trial["kind"] == "rank")
    rater.take(place)
    rater.wait_for(rater.trials[place])
    browser.press("3", "1", "BACK_SPACE", "2", "3", "1", "3")  # 3 | 3 1 | 3 | 3 2 | 2 | 2 1 | 2 1 3
    names = browser.ask("return [...document.querySelectorAll('.option')].map(e => e.ariaLabel)")
    assert names == ["Picture 1, rank 2", "Picture 2, rank 1, the best", "Picture 3, rank 3"]
    browser.press("ENTER")
    browser.wait("return document.getElementById('feedback').textContent")
    kept = json.loads(browser.ask("return Object.values(localStorage)[0]"))
    assert kept["answers"][-1]["choice"] == [1, 0, 2]


def test_two_windows_do_not_answer_the_same_session(browser, opened):
    rater = opened(2)
    rater.agree()
    rater.take(1)
    first = browser.driver.current_window_handle
    address = browser.driver.current_url
    browser.driver.switch_to.new_window("tab")
    browser.driver.get(address)
    browser.wait(HEADING, "Welcome back")
    browser.press("ENTER")
    rater.wait_for(rater.trials[1])
    browser.press("1")
    browser.press("ENTER")
    browser.wait("return JSON.parse(Object.values(localStorage)[0]).answers.length == 2")
    browser.driver.close()
    browser.driver.switch_to.window(first)
    browser.wait(HEADING, "Open in another window")
    browser.press("ENTER")
    browser.wait(HEADING, "Welcome back")


def test_who_does_not_agree_leaves_no_trace_and_who_leaves_deletes(browser, opened):
    rater = opened(1)
    browser.wait(SCREEN, "consent")
    browser.press("TAB", "TAB", "ENTER")
    browser.wait(HEADING, "Thank you all the same")
    assert browser.ask(KEPT) == []
    rater = opened(1)
    rater.agree()
    rater.take(2)
    assert len(browser.ask(KEPT)) == 1
    browser.press("p")
    browser.ask("document.querySelector('#paused button.quiet').click()")
    browser.ask(
        "[...document.querySelectorAll('#paused button')].find(b => b.textContent == 'Yes, delete them').click()"
    )
    browser.wait(HEADING, "Thank you all the same")
    assert browser.ask(KEPT) == []
    browser.driver.refresh()
    browser.wait(SCREEN, "consent")


def test_a_browser_that_keeps_nothing_says_so_and_still_gives_the_answers(browser, opened):
    said = {}
    rater = opened(1, look=lambda name: said.update({name: browser.ask("return document.body.innerText")}))
    blocked = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})"
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": blocked})
    try:
        browser.driver.refresh()
        rater.agree()
        rater.take()
        browser.wait(SCREEN, "end")
        assert "This browser keeps nothing" in said["introduction"]
        assert [one["choice"] for one in text_of_answers(browser)["answers"]] == rater.chosen
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_without_a_number_the_page_asks_for_one(browser, folder):
    browser.show(folder / "page.html", 360)
    browser.wait(SCREEN, "session")
    browser.press("TAB", "7", "ENTER")
    assert "no session 7" in browser.wait("return document.querySelector('[role=alert]')?.textContent")
    browser.ask("document.getElementById('number').focus()")
    browser.press("2", "ENTER")
    browser.wait(SCREEN, "consent")
    browser.show(f"{(folder / 'page.html').as_uri()}?session=__proto__", 360)
    browser.wait(SCREEN, "session")


def test_markup_in_the_plan_is_shown_as_text(browser, opened):
    opened(0)
    assert browser.wait("return document.querySelector('#stage h2')?.textContent") == HOSTILE
    assert browser.ask("return document.title") == HOSTILE
    assert browser.ask("return document.querySelectorAll('img').length") == 0
    assert browser.console() == []


def test_everything_that_can_be_reached_has_a_name(browser, opened):
    unnamed = []

    def look(name):
        nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        for node in nodes:
            role, said = (node.get(key, {}).get("value", "") for key in ("role", "name"))
            if role in ("button", "radio", "img", "image", "radiogroup", "textbox", "progressbar") and not said:
                unnamed.append((name, role))

    rater = opened(0, look=look)
    rater.agree()
    rater.take()
    assert unnamed == []
