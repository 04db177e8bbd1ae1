"""A study's server with browsers: whole sessions, two raters at once, a server that is killed, and the progress page.

`make test-browser` runs this file. Its name keeps it out of `make test`, which is to need no browser.
"""

import json

import pytest
from looks import BROKEN, FAINT, OUTSIDE, SMALL
from rater import HEADING, SCREEN, Rater
from serving import Server

from aotlib.study import answers
from aotlib.study import plan as plans

pytest_plugins = ("chromium",)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
ARRIVED = "return document.getElementById('arrival')?.textContent.startsWith('All your answers have arrived')"
FETCHED = """const entries = performance.getEntriesByType('resource').filter(e => e.responseEnd);
return arguments[0].every(file => entries.some(e => e.name.includes(file)))"""
WAITING = "return JSON.parse(Object.values(localStorage)[0]).waiting.length == arguments[0]"


@pytest.fixture
def server(make_study, tmp_path):
    one = Server(make_study(tmp_path / "study", minimum_s=0.2, title=HOSTILE))
    yield one
    if one.process.poll() is None:
        one.kill()


@pytest.fixture
def plan(server):
    return plans.read(server.folder)


def opened(browser, server, plan, session, width=1280, **options):
    """A rater who comes to the server as the first time; `session` is the one that is expected."""
    touches = options.get("touches", False)
    browser.show(server.address, width, touch=touches)
    browser.ask("localStorage.clear()")
    browser.show(server.address, width, touch=touches)
    return Rater(browser, plan["sessions"][session]["trials"], **options)


def choices(given):
    return [one["choice"] for one in given["answers"]]


@pytest.mark.parametrize("width, touches", [(1280, False), (360, True)])
def test_a_session_ends_with_every_answer_in_the_database(browser, server, plan, width, touches):
    rater = opened(browser, server, plan, 0, width, touches=touches)
    rater.agree()
    rater.take(3)
    rater.wait_for(rater.trials[3])
    browser.driver.refresh()
    browser.wait(HEADING, "Welcome back")
    rater.go()
    rater.take()
    browser.wait(ARRIVED)
    (given,) = server.answers()
    assert choices(given) == rater.chosen and len(rater.chosen) == len(rater.trials)
    assert answers.votes(plan, [given]).seconds.between(0.2, 60).all()
    assert given["viewport"] == [width, 800]
    assert f"yours is {given['rater'][:8]}." in browser.ask("return document.getElementById('arrival').textContent")
    assert browser.console() == []
    hosts = browser.ask("return [...new Set(performance.getEntriesByType('resource').map(e => new URL(e.name).host))]")
    assert hosts == [f"127.0.0.1:{server.port}"]
    assert browser.driver.get_cookies() == []
    browser.driver.refresh()
    browser.wait(ARRIVED)
    browser.ask("document.querySelector('#arrival button').click()")  # another person at the same device
    browser.wait(SCREEN, "consent")


def test_two_raters_at_once_answer_two_sessions(browser, other_browser, server, plan):
    raters = [opened(one, server, plan, session) for session, one in enumerate((browser, other_browser))]
    for rater in raters:
        rater.agree()
    while len(raters[1].chosen) < len(raters[1].trials):
        for rater in raters:
            rater.take(1)
    for rater in raters:
        rater.browser.wait(ARRIVED)
    assert [choices(given) for given in server.answers()] == [rater.chosen for rater in raters]
    assert len({given["rater"] for given in server.answers()}) == 2


def test_a_killed_server_loses_nothing_and_the_page_goes_on_by_itself(browser, server, plan):
    rater = opened(browser, server, plan, 0)
    rater.agree()
    rater.take(3)
    rater.wait_for(rater.trials[3])
    browser.wait(WAITING, 0)
    browser.wait(FETCHED, [file for file in (rater.trials[4]["input"], *rater.trials[4]["shown"]) if file])
    server.kill()
    rater.take(2)  # the pictures of both are there; those of the next task are not
    browser.wait(WAITING, 2)
    browser.wait(HEADING, "The pictures could not be loaded.")
    assert "2 not sent yet" in browser.ask("return document.getElementById('said').textContent")
    assert choices(server.answers()[0]) == rater.chosen[:3]
    server.start()
    browser.wait(WAITING, 0, seconds=60)
    rater.take()
    browser.wait(ARRIVED)
    assert choices(server.answers()[0]) == rater.chosen


def test_answers_that_cannot_be_sent_can_be_saved(browser, server, plan):
    rater = opened(browser, server, plan, 0)
    rater.agree()
    rater.take(len(rater.trials) - 1)
    rater.wait_for(rater.trials[-1])
    browser.wait(WAITING, 0)
    server.kill()
    rater.take()
    browser.wait(SCREEN, "end")
    browser.wait("return document.getElementById('arrival').childElementCount > 1")
    given = json.loads(browser.ask("return document.getElementById('text').value"))
    assert [list(one) if isinstance(one, tuple) else one for one in answers.votes(plan, [given]).choice] == rater.chosen
    server.start()
    browser.wait(ARRIVED, seconds=60)
    assert choices(server.answers()[0]) == rater.chosen


REFUSES = """const real = window.fetch; let once = true;
window.fetch = (path, options) => path === 'api/answer' && once
  ? (once = false, Promise.resolve(new Response('{"detail": "no such choice"}', {status: 422})))
  : real(path, options)"""
LOSES = """const real = window.fetch; let once = true;
window.fetch = (path, options) => real(path, options).then((reply) => {
  if (path === 'api/begin' && once) { once = false; throw new TypeError('lost'); }
  return reply;
})"""


def test_an_answer_that_the_server_refuses_is_kept_and_can_be_saved(browser, server, plan):
    rater = opened(browser, server, plan, 0)
    rater.agree()
    rater.wait_for(rater.trials[0])
    browser.ask(REFUSES)
    rater.take()
    browser.wait(SCREEN, "end")
    told = browser.wait("return document.getElementById('text') && document.getElementById('arrival').textContent")
    assert "did not accept 1 of your answers" in told and "All your answers have arrived" not in told
    assert choices(server.answers()[0]) == rater.chosen[1:]
    given = json.loads(browser.ask("return document.getElementById('text').value"))
    both = answers.votes(plan, [*server.answers(), given]).set_index("trial").choice
    assert [both[trial["trial"]] for trial in rater.trials] == [
        tuple(one) if isinstance(one, list) else one for one in rater.chosen
    ]
    browser.driver.refresh()
    browser.wait("return document.getElementById('arrival')?.textContent.includes('did not accept 1')")
    browser.ask("localStorage.clear()")


def test_a_place_whose_reply_got_lost_is_given_again(browser, server, plan):
    rater = opened(browser, server, plan, 0)
    browser.wait(SCREEN, "consent")
    browser.ask(LOSES)
    rater.go()
    browser.wait("return document.getElementById('stage').textContent.includes('does not answer')")
    browser.driver.refresh()
    rater.agree()
    rater.take(1)
    browser.wait(WAITING, 0)
    rater = opened(browser, server, plan, 1)  # the next rater has the next session
    rater.agree()
    rater.wait_for(rater.trials[0])
    assert browser.ask("return JSON.parse(Object.values(localStorage)[0]).session") == 1


@pytest.mark.parametrize("width, dark", [(360, True), (1280, False)])
def test_by_invitation(browser, make_study, tmp_path, width, dark):
    server = Server(make_study(tmp_path / "study"), "--invitation", "blue")
    try:
        browser.show(server.address, width, dark=dark)
        browser.wait(SCREEN, "consent")
        browser.press("ENTER")
        browser.wait(SCREEN, "invitation")
        browser.ask("document.getElementById('invitation').focus()")
        browser.press(*"green", "ENTER")
        assert "not the word" in browser.wait(
            "return document.querySelector('[role=alert]:not([hidden])')?.textContent"
        )
        for script in (BROKEN, SMALL, FAINT):
            assert browser.ask(script) == []
        assert browser.ask(OUTSIDE, width, False) == []
        browser.driver.save_screenshot(str(tmp_path / f"invitation-{width}.png"))
        browser.ask("document.getElementById('invitation').focus()")
        browser.press(*"blue", "ENTER")
        browser.wait(SCREEN, "introduction")
        browser.ask("localStorage.clear()")
        browser.show(f"{server.address}?invitation=blue", width)  # a link that has the word
        browser.wait(SCREEN, "consent")
        browser.press("ENTER")
        browser.wait(SCREEN, "introduction")
    finally:
        server.kill()


def test_a_full_study_says_so_and_leaving_makes_room(browser, server, plan):
    for session in range(len(plan["sessions"])):
        opened(browser, server, plan, session).agree()
    opened(browser, server, plan, 0)
    browser.wait(SCREEN, "consent")
    browser.press("ENTER")
    browser.wait(HEADING, "Thank you for coming")


def test_leaving_deletes_on_the_server(browser, server, plan):
    rater = opened(browser, server, plan, 0)
    rater.agree()
    rater.take(2)
    browser.wait(WAITING, 0)
    browser.press("p")
    browser.ask("document.querySelector('#paused button.quiet').click()")
    browser.ask(
        "[...document.querySelectorAll('#paused button')].find(b => b.textContent == 'Yes, delete them').click()"
    )
    browser.wait(HEADING, "Thank you all the same")
    assert server.answers() == []
    rater = opened(browser, server, plan, 0)  # the session is free again
    rater.agree()
    rater.wait_for(rater.trials[0])


@pytest.mark.parametrize("width, dark", [(360, True), (1280, False)])
def test_the_progress_page_opens_with_its_key_and_runs_no_script_of_a_name(browser, server, plan, width, dark):
    rater = opened(browser, server, plan, 0)
    rater.agree()
    rater.take(2)
    browser.wait(WAITING, 0)
    browser.driver.delete_all_cookies()
    browser.show(f"{server.address}progress", width, dark=dark)
    assert browser.ask("return document.querySelector('table')") is None
    browser.press(*"wrong", "ENTER")
    assert "not the key" in browser.wait("return document.querySelector('[role=alert]')?.textContent")
    browser.ask("document.getElementById('key').focus()")
    browser.press(*server.key, "ENTER")
    browser.wait("return document.querySelector('table')")
    assert HOSTILE in browser.ask("return document.querySelector('h2').textContent")
    assert browser.ask("return document.querySelectorAll('script, img').length") == 0
    assert f"2 of {len(rater.trials)}" in browser.ask("return document.querySelector('tbody').textContent")
    assert browser.ask("return document.documentElement.scrollWidth") <= width
    assert browser.ask(OUTSIDE, width, True) == []
    for script in (BROKEN, SMALL, FAINT):
        assert browser.ask(script) == []
    assert [line for line in browser.console() if "403" not in line] == []  # of the wrong key
