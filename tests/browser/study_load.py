"""Two hundred raters at once, as programs: every answer is accounted for, also when the server is killed meanwhile.

`make test-browser` runs this file, because it takes longer than a test of `make test` may.
"""

import asyncio
import secrets
import time

import httpx2
import pytest
from serving import Server

from aotlib.study import answers
from aotlib.study import plan as plans

RATERS = 200
LONGEST_S = 240.0  # far more than it takes on two cores


@pytest.fixture
def server(make_study, tmp_path):
    design = {"sessions": RATERS, "pair": 3, "real": 1, "rank": 1, "practice": 0}
    one = Server(make_study(tmp_path / "study", **design))
    yield one
    if one.process.poll() is None:
        one.kill()


class Load:
    """What the raters sent, and what the server said it has."""

    def __init__(self, address):
        self.address, self.confirmed, self.retried = address, {}, 0

    async def post(self, client, path, content, token=None):
        """The reply, tried again for as long as there is none, as the page does."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        while True:
            try:
                reply = await client.post(self.address + path, json=content, headers=headers)
            except httpx2.TransportError:
                reply = None
            if reply is not None and reply.status_code < 500 and reply.status_code != 429:
                return reply
            self.retried += 1
            await asyncio.sleep(0.2)

    async def rater(self, client, number):
        asked = {"viewport": [1000 + number, 800], "nonce": secrets.token_hex(16)}  # so that none takes two places
        given = (await self.post(client, "api/begin", asked)).json()
        kept = self.confirmed.setdefault(given["rater"], {})
        for i, trial in enumerate(given["session"]["trials"]):
            options = {"pair": "left right tie", "real": "real fake"}.get(trial["kind"], "").split()
            choice = options[(number + i) % len(options)] if options else [2, 0, 1]
            content = {"trial": trial["trial"], "choice": choice, "seconds": number / 1000}
            reply = await self.post(client, "api/answer", content, given["token"])
            assert reply.status_code in (200, 409)  # the latter when the confirmation was lost
            kept[trial["trial"]] = choice

    async def all(self, meanwhile):
        limits = httpx2.Limits(max_connections=RATERS)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as client, asyncio.timeout(LONGEST_S):
            await asyncio.gather(*(self.rater(client, number) for number in range(RATERS)), meanwhile(self))


async def nothing(load):
    return


@pytest.mark.parametrize("killed", [False, True])
def test_two_hundred_raters_at_once(server, killed):
    async def kill(load):
        while sum(map(len, load.confirmed.values())) < 2 * RATERS:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(server.kill)
        before = {rater: dict(kept) for rater, kept in load.confirmed.items()}
        found = {one["rater"]: {row["trial"] for row in one["answers"]} for one in server.answers()}
        assert all(set(kept) <= found.get(rater, set()) for rater, kept in before.items())
        await asyncio.to_thread(server.start)

    load, started = Load(server.address), time.monotonic()
    asyncio.run(load.all(kill if killed else nothing))
    seconds, given = time.monotonic() - started, server.answers()
    assert len(load.confirmed) == RATERS and (load.retried > 0 or not killed)
    assert {one["rater"]: {row["trial"]: row["choice"] for row in one["answers"]} for one in given} == load.confirmed
    assert len({one["session"] for one in given}) == RATERS  # nobody got the session of another
    table = answers.votes(plans.read(server.folder), given)
    assert len(table) == sum(map(len, load.confirmed.values())) == RATERS * 6
    print(f"{len(table)} answers of {RATERS} raters in {seconds:.1f} s, {len(table) / seconds:.0f} a second")
