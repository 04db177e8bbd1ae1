"""The server of a study: what it takes, what it refuses, what it keeps, and who may see it."""

import json
import os
import sqlite3
import stat
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from fastapi.testclient import TestClient

from aotlib.study import answers, database, guard, page, progress, server
from aotlib.study import plan as plans
from aotlib.study.database import NAME, export
from aotlib.study.store import Refused, Store

ASKED = {"base_url": "http://localhost:8000", "raise_server_exceptions": False}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


class Clock:
    """A time that tests move on."""

    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.time


@pytest.fixture(scope="module")
def folder(make_study, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study") / "study", title=HOSTILE, minimum_s=0.5)


@pytest.fixture
def plan(folder):
    return plans.read(folder)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(plan, clock, tmp_path):
    one = Store(tmp_path / NAME, plan, abandoned_s=3600, clock=clock)
    yield one
    one.close()


@pytest.fixture
def client(folder, plan, store, clock):
    study = server.Study(folder, plan, store, "the key", page.read_words())
    with TestClient(server.application(study), **ASKED) as one:
        one.clock = clock
        yield one


def begin(client):
    """A rater, who has been looking for a minute."""
    given = client.post("/api/begin", json={"viewport": [1280, 800]}).json()
    client.clock.time += timedelta(seconds=60)
    return {"Authorization": f"Bearer {given['token']}"}, given["session"]


def choice_of(trial):
    return {"pair": "left", "real": "real", "rank": [2, 0, 1]}[trial["kind"]]


def answer_to(one, **changed):
    return {"trial": one["trial"], "choice": choice_of(one), "seconds": 1.25} | changed


def test_a_session_from_beginning_to_export(client, plan, store):
    headers, session = begin(client)
    for trial in session["trials"]:
        assert client.post("/api/answer", json=answer_to(trial), headers=headers).json() == {"kept": trial["trial"]}
    (given,) = store.export()
    assert given["viewport"] == [1280, 800] and given["session"] == session["session"] == 0
    table = answers.votes(plan, [given])
    assert list(table.trial) == [trial["trial"] for trial in plan["sessions"][0]["trials"]]
    assert set(table.seconds) == {1.25} and not table.simulated.any()
    assert list(table.choice[table.kind == "rank"])[0] == (2, 0, 1)
    assert [row["state"] for row in store.raters()] == ["complete"]


def test_a_rater_learns_nothing_that_the_plan_keeps(client, plan):
    _, session = begin(client)
    seen = client.get("/").text + client.get("/page.js").text + json.dumps(session)
    secrets = [*plan["methods"], *plan["images"], '"catch"', "pictures/", "sha256"]
    assert [word for word in secrets if word in seen] == []
    shown = session["trials"][0]["shown"][0]
    assert client.get(f"/picture/{shown}.png").headers["content-type"] == "image/png"
    for path in ("/plan.json", "/picture/plan.png", "/picture/../plan.json", "/picture/%2e%2e%2fplan.png", "/docs"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "changed, status",
    [
        ({"choice": HOSTILE}, 422),
        ({"choice": "up"}, 422),
        ({"choice": [0, 1, 2]}, 422),
        ({"choice": None}, 422),
        ({"choice": {"$gt": ""}}, 422),
        ({"trial": "000000000000"}, 404),
        ({"trial": "'; DROP TABLE answers; --"}, 422),
        ({"trial": ["a"]}, 422),
        ({"seconds": 0.1}, 422),
        ({"seconds": -1}, 422),
        ({"seconds": 1e9}, 422),
        ({"seconds": "1"}, 422),
        ({"seconds": True}, 422),
        ({"rater": "somebody else"}, 422),
    ],
)
def test_answers_that_cannot_be_are_refused_in_words(client, store, changed, status):
    headers, session = begin(client)
    pair = next(trial for trial in session["trials"] if trial["kind"] == "pair")
    reply = client.post("/api/answer", json=answer_to(pair, **changed), headers=headers)
    assert reply.status_code == status and reply.json()["detail"]
    assert "<" not in reply.text  # what was sent is not sent back
    assert store.export() == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b'{"seconds": NaN}', b"[" * 9000 + b"]" * 4000])
def test_bodies_that_are_no_answer(client, store, body):
    headers, _ = begin(client)
    reply = client.post("/api/answer", content=body, headers=headers | {"Content-Type": "application/json"})
    assert reply.status_code in (400, 422) and store.export() == []


def test_giant_bodies_are_refused_before_they_are_read(client):
    headers, _ = begin(client)
    headers |= {"Content-Type": "application/json"}
    assert client.post("/api/answer", content=b"x" * 16_385, headers=headers).status_code == 413
    assert client.post("/api/answer", content=(b"x" * 999 for _ in range(99)), headers=headers).status_code == 413
    assert client.post("/progress", content=b"key=" + b"x" * 20_000).status_code == 413


def test_the_first_answer_stays(client, store):
    headers, session = begin(client)
    trial = session["trials"][0]
    first, second = answer_to(trial), answer_to(trial, seconds=9)
    assert client.post("/api/answer", json=first, headers=headers).status_code == 200
    assert client.post("/api/answer", json=first, headers=headers).status_code == 409
    assert client.post("/api/answer", json=second, headers=headers).status_code == 409
    assert [one["seconds"] for one in store.export()[0]["answers"]] == [1.25]


def test_nobody_answers_for_another(client, store):
    (mine, session), (_, others) = begin(client), begin(client)
    assert session["session"] != others["session"]
    assert client.post("/api/answer", json=answer_to(others["trials"][0]), headers=mine).status_code == 404
    for token in ("", "x", "Bearer", "Bearer x", "Basic " + "x" * 43, "Bearer " + "x" * 43, "Bearer " + "x" * 500):
        reply = client.post("/api/answer", json=answer_to(session["trials"][0]), headers={"Authorization": token})
        assert reply.status_code == 401
    assert store.export() == []


def test_who_guesses_tokens_is_slowed_down(client):
    statuses = [
        client.post("/api/resume", json={}, headers={"Authorization": f"Bearer {i:043d}"}).status_code
        for i in range(30)
    ]
    assert statuses[0] == 401 and statuses[-1] == 429 and set(statuses) == {401, 429}
    headers, _ = begin(client)  # from the same address
    assert client.post("/api/resume", json={}, headers=headers).status_code == 200


def test_who_answers_faster_than_people_is_slowed_down(client):
    headers, session = begin(client)
    statuses = [client.post("/api/resume", json={}, headers=headers).status_code for _ in range(90)]
    assert statuses[:60] == [200] * 60 and 429 in statuses


def test_resuming_tells_what_is_answered_and_leaving_deletes_it(client, store):
    headers, session = begin(client)
    trials = [trial["trial"] for trial in session["trials"]]
    for trial in session["trials"][:2]:
        client.post("/api/answer", json=answer_to(trial), headers=headers)
    assert client.post("/api/resume", json={}, headers=headers).json() == {"session": session, "answered": trials[:2]}
    assert client.post("/api/leave", json={}, headers=headers).json() == {"deleted": True}
    assert store.export() == [] and store.raters() == []
    assert client.post("/api/resume", json={}, headers=headers).status_code == 401
    assert begin(client)[1]["session"] == session["session"]  # it is free again


def test_what_was_deleted_is_in_no_file(client, store, tmp_path):
    headers, session = begin(client)
    trial = session["trials"][0]
    client.post("/api/answer", json=answer_to(trial, seconds=7.125), headers=headers)
    (rater,) = [row["rater"] for row in store.raters()]
    content = lambda: b"".join(path.read_bytes() for path in tmp_path.glob(f"{NAME}*"))  # noqa: E731
    assert rater.encode() in content()
    client.post("/api/leave", json={}, headers=headers)
    assert rater.encode() not in content()


def test_an_abandoned_session_goes_on_and_keeps_its_answers(store, clock, plan):
    tokens = [store.begin()[0] for _ in plan["sessions"]]
    first = plan["sessions"][0]["trials"]
    clock.time += timedelta(seconds=60)
    for number in (0, 2, 3):
        trial = plan["sessions"][number]["trials"][0]
        store.answer(tokens[number], trial["trial"], choice_of(trial), 1.0)
    for trial in plan["sessions"][1]["trials"]:
        store.answer(tokens[1], trial["trial"], choice_of(trial), 1.0)
    with pytest.raises(Refused, match="all sessions"):
        store.begin()
    clock.time += timedelta(seconds=1800)
    for token in tokens[2:]:
        store.resume(token)  # they have been seen again
    clock.time += timedelta(seconds=1801)
    assert [row["state"] for row in store.raters()] == ["abandoned", "complete", "under way", "under way"]
    token, rater, session = store.begin()
    assert session == 0
    with pytest.raises(Refused):
        store.begin()
    store.answer(tokens[0], first[1]["trial"], choice_of(first[1]), 1.0)  # who comes back may go on
    clock.time += timedelta(seconds=1)
    store.answer(token, first[0]["trial"], choice_of(first[0]), 1.0)
    found = [(one["session"], len(one["answers"])) for one in store.export()]
    assert found == [(0, 2), (0, 1), (1, len(first)), (2, 1), (3, 1)]
    assert len(answers.votes(plan, store.export())) == 5 + len(first)


def test_places_without_an_answer_are_free_after_some_minutes(store, clock, plan):
    """A stranger takes all places; asking again and again for them keeps none."""
    tokens = [store.begin()[0] for _ in plan["sessions"]]
    trial = plan["sessions"][0]["trials"][0]
    clock.time += timedelta(seconds=200)
    store.answer(tokens[0], trial["trial"], choice_of(trial), 2.0)
    for token in tokens:
        store.resume(token)
    with pytest.raises(Refused, match="all sessions"):
        store.begin()
    clock.time += timedelta(seconds=101)
    assert [row["state"] for row in store.raters()] == ["under way"] + ["abandoned"] * 3
    assert sorted(store.begin()[2] for _ in tokens[1:]) == [1, 2, 3]
    with pytest.raises(Refused, match="all sessions"):
        store.begin()


def test_a_reply_that_got_lost_takes_no_second_place(client, store):
    asked = {"viewport": [1280, 800], "nonce": "0123456789abcdef" * 2}
    first, again = (client.post("/api/begin", json=asked).json() for _ in range(2))
    other = client.post("/api/begin", json=asked | {"nonce": "f" * 32}).json()
    assert first == again and len(store.raters()) == 2
    assert other["token"] != first["token"] and other["rater"] != first["rater"]
    assert client.post("/api/begin", json=asked | {"nonce": "guessed"}).status_code == 422
    trial = first["session"]["trials"][0]
    headers = {"Authorization": f"Bearer {again['token']}"}
    assert client.post("/api/answer", json=answer_to(trial), headers=headers).status_code == 200


def test_a_token_outlives_the_server_and_not_its_rater(store, plan, clock, tmp_path):
    token, rater, session = store.begin()
    gone, _, _ = store.begin()
    store.leave(gone)
    store.close()
    again = Store(tmp_path / NAME, plan, clock=clock)
    assert again.resume(token) == (session, [])
    with pytest.raises(Refused, match="no such token"):
        again.resume(gone)
    again.close()


def test_only_the_invited_begin_where_there_is_an_invitation(folder, plan, store):
    study = server.Study(folder, plan, store, "the key", page.read_words(), invitation="blue käse")
    with TestClient(server.application(study), **ASKED) as client:
        for word in ({}, {"invitation": ""}, {"invitation": "blue"}):
            reply = client.post("/api/begin", json=word)
            assert reply.status_code == 403 and "käse" not in reply.text
        assert store.raters() == [] and "käse" not in client.get("/").text
        assert client.post("/api/begin", json={"invitation": " blue käse "}).status_code == 200
        guessed = [client.post("/api/begin", json={"invitation": str(i)}).status_code for i in range(30)]
        assert guessed[0] == 403 and guessed[-1] == 429
        assert client.post("/api/begin", json={"invitation": "blue käse"}).status_code == 429  # a lucky guess waits


def test_answers_cannot_have_taken_longer_than_the_session(store, clock, plan):
    """A browser may claim what it likes, but not more seconds than have passed since it began."""
    token, _, session = store.begin()
    trials = plan["sessions"][session]["trials"]
    clock.time += timedelta(seconds=1.1)
    with pytest.raises(Refused, match="longer than the time") as refused:
        store.answer(token, trials[0]["trial"], choice_of(trials[0]), 600.0)
    assert refused.value.status == 429  # the page sends it again: with time it may come true
    clock.time += timedelta(seconds=600)
    store.answer(token, trials[0]["trial"], choice_of(trials[0]), 600.0)
    with pytest.raises(Refused, match="longer than the time"):
        store.answer(token, trials[1]["trial"], choice_of(trials[1]), 4.0)
    clock.time += timedelta(seconds=7200)  # a lost connection: what waited comes at once
    for trial in trials[1:]:
        store.answer(token, trial["trial"], choice_of(trial), 5.0)
    assert len(store.export()[0]["answers"]) == len(trials)


def test_an_export_is_of_one_moment(store, plan, clock, tmp_path):
    """A rater who begins and answers between its questions is not in half of it."""
    trial = plan["sessions"][0]["trials"][0]

    class Interrupted(sqlite3.Connection):
        def execute(self, sql, *given):
            found = super().execute(sql, *given)
            if "FROM raters" in sql and not store.raters():
                token, _, _ = store.begin()
                clock.time += timedelta(seconds=60)
                store.answer(token, trial["trial"], choice_of(trial), 1.0)
            return found

    reading = sqlite3.connect(tmp_path / NAME, factory=Interrupted, isolation_level=None)
    assert database.exported(reading) == []
    assert len(database.exported(reading)) == 1
    reading.close()


def test_an_export_writes_nothing(store, tmp_path):
    store.begin()
    store.close()
    before = (tmp_path / NAME).read_bytes()
    assert export(tmp_path / NAME) == []
    assert (tmp_path / NAME).read_bytes() == before


def test_what_was_deleted_while_somebody_reads_goes_with_the_next_write(store, clock, plan, tmp_path, monkeypatch):
    monkeypatch.setattr("aotlib.study.store.WIPES", 2)
    token, rater, _ = store.begin()
    reading = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    reading.execute("BEGIN")
    reading.execute("SELECT * FROM raters").fetchall()
    store.leave(token)
    content = lambda: b"".join(path.read_bytes() for path in tmp_path.glob(f"{NAME}*"))  # noqa: E731
    assert rater.encode() in content() and store.unwiped
    reading.execute("ROLLBACK")
    reading.close()
    store.begin()
    assert rater.encode() not in content() and not store.unwiped


def test_a_wrong_token_does_not_touch_the_database(client, store):
    with store.lock:  # somebody is writing
        reply = client.post("/api/resume", json={}, headers={"Authorization": "Bearer " + "x" * 43})
    assert reply.status_code == 401


@pytest.mark.parametrize(
    "bound, public, host, status",
    [
        ("127.0.0.1", (), "localhost:8000", 200),
        ("127.0.0.1", (), "[::1]:8000", 200),
        ("127.0.0.1", (), "127.0.0.1", 200),
        ("127.0.0.1", (), "evil.example:8000", 421),
        ("127.0.0.1", (), "localhost.evil.example", 421),
        ("127.0.0.1", (), "192.0.2.1:8000", 421),
        ("127.0.0.1", (), "", 421),
        ("127.0.0.1", (), "[", 421),
        ("192.0.2.1", (), "192.0.2.1:8000", 200),
        ("0.0.0.0", (), "192.0.2.9:8000", 200),
        ("0.0.0.0", (), "evil.example", 421),
        ("127.0.0.1", ("Study.example.org",), "study.example.org", 200),
    ],
)
def test_a_server_answers_to_its_own_names_only(folder, plan, store, bound, public, host, status):
    """A page elsewhere can give its name this server's address (DNS rebinding); it cannot ask by another name."""
    study = server.Study(folder, plan, store, "the key", page.read_words())
    client = TestClient(server.application(study, guard.hosts_of(bound, public)), **ASKED)
    assert client.get("/", headers={"Host": host}).status_code == status
    reply = client.post("/api/begin", json={}, headers={"Host": host})
    assert reply.status_code == status and bool(store.raters()) == (status == 200)
    assert "default-src 'none'" in reply.headers["content-security-policy"]


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Origin": "http://localhost:8000"}, 200),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_old_browsers_say_by_origin_where_a_request_comes_from(client, headers, status):
    assert client.post("/api/begin", json={}, headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == 200


def test_a_network_of_ipv6_is_one_stranger():
    assert guard.network("2001:db8::1") == guard.network("2001:db8::ffff:2") != guard.network("2001:db8:0:1::1")


def test_a_picture_comes_without_the_time_of_its_file(client, plan):
    reply = client.get(f"/picture/{next(iter(plan['files']))}.png")
    assert reply.status_code == 200 and not {"last-modified", "etag"} & set(reply.headers)


def test_many_begin_at_once_and_none_gets_the_session_of_another(store, plan):
    found, refused = [], []

    def one():
        try:
            found.append(store.begin()[2])
        except Refused as error:
            refused.append(error.status)

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(len(plan["sessions"]))) and refused == [409] * (12 - len(found))


def test_the_database_is_durable_private_and_of_one_plan(store, plan, tmp_path, make_study):
    assert store.database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    token, _, _ = store.begin()
    assert token.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob(f"{NAME}*"))
    assert stat.S_IMODE(os.stat(tmp_path / NAME).st_mode) == 0o600
    other = plans.read(make_study(tmp_path / "other", seed=1))
    with pytest.raises(ValueError, match="another plan"):
        Store(tmp_path / NAME, other)


def test_export_of_what_is_no_database(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        export(tmp_path / NAME)
    (tmp_path / NAME).write_text("not a database, but longer than its header would be " * 9)
    with pytest.raises(ValueError, match="not the database of a study"):
        export(tmp_path / NAME)


def test_a_full_disk_is_no_lost_answer(client, store, monkeypatch):
    headers, session = begin(client)

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "answer", full)
        assert client.post("/api/answer", json=answer_to(session["trials"][0]), headers=headers).status_code == 503
    assert client.post("/api/answer", json=answer_to(session["trials"][0]), headers=headers).status_code == 200


def test_progress_opens_with_the_key_only(client):
    headers, session = begin(client)
    client.post("/api/answer", json=answer_to(session["trials"][0]), headers=headers)
    closed = client.get("/progress")
    assert 'name="key"' in closed.text and "answer" not in closed.text
    assert client.get("/progress/answers.zip").status_code == 401
    assert client.post("/progress", data={"key": "another"}).status_code == 403
    reply = client.post("/progress", data={"key": "the key"}, follow_redirects=False)
    cookie = reply.headers["set-cookie"]
    assert reply.status_code == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie and "the key" not in cookie
    shown = client.get("/progress").text
    assert "0 of 4 sessions complete, 1 rater, 1 answer." in " ".join(shown.split()) and "under way" in shown
    archive = zipfile.ZipFile(BytesIO(client.get("/progress/answers.zip").content))
    (name,) = archive.namelist()
    assert len(json.loads(archive.read(name))["answers"]) == 1
    for word in (" ".join(headers.values()).split()[-1], "alphafill", "photograph-0"):
        assert word not in shown
    client.cookies.set(progress.COOKIE, "0" * 64)
    assert 'name="key"' in TestClient(client.app, cookies={progress.COOKIE: "0" * 64}, **ASKED).get("/progress").text


def test_who_guesses_keys_is_slowed_down(client):
    statuses = [client.post("/progress", data={"key": str(i)}).status_code for i in range(30)]
    assert statuses[0] == 403 and statuses[-1] == 429
    assert client.post("/progress", data={"key": "the key"}).status_code == 429  # a lucky guess is worth nothing


def test_scripts_in_names_are_shown_as_text(client):
    client.post("/progress", data={"key": "the key"})
    for path in ("/", "/progress"):
        text = client.get(path).text
        assert HOSTILE not in text and "<img" not in text and "&lt;script&gt;" in text
    assert "\\u003cscript>" in client.get("/").text  # in the JSON that the page reads


def test_every_reply_has_safe_headers_and_none_opens_to_other_sites(client):
    headers, _ = begin(client)
    replies = [client.get(path) for path in ("/", "/page.js", "/page.css", "/progress", "/none")]
    replies += [client.post("/api/answer", json={}, headers=headers), client.post("/api/begin", content=b"x" * 20_000)]
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in reply.headers if name.startswith("access-control")]
    elsewhere = {"Origin": "https://example.org", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/api/begin", json={}, headers=elsewhere).status_code == 403
    text = {"Content-Type": "text/plain"}  # what a form of another site could send
    assert client.post("/api/begin", content=b"{}", headers=text).status_code == 422
    assert client.options("/api/begin", headers=elsewhere).status_code in (403, 405)


def test_the_key_is_made_once_and_for_its_owner(tmp_path):
    key = progress.key_in(tmp_path)
    assert len(key) >= 32 and progress.key_in(tmp_path) == key
    assert stat.S_IMODE(os.stat(tmp_path / progress.KEY).st_mode) == 0o600
    assert progress.key_in(tmp_path.parent) != key
