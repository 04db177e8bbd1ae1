r"""A small server that hands each rater a session of the plan and keeps every answer at once.

Taught in notebook 09.
"""

import hashlib
import hmac
import sqlite3
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field
from starlette.types import ASGIApp

from aotlib.study import page, progress
from aotlib.study.forms import Answer, Strict, Viewport
from aotlib.study.guard import LOCAL, Guard, Limiter, address
from aotlib.study.store import Refused, Store

LARGEST = 16_384  # bytes of a body: the answer to a ranking of 10 takes less than 200
FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}  # a picture's name stands for its content
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


class Begin(Strict):
    r"""What a browser says of itself: width and height of its window, CSS pixels, and a random name of this request.

    `invitation` is the word without which nobody takes part, where the study has one.
    """

    viewport: Viewport | None = None
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    invitation: Annotated[str, Field(max_length=200)] = ""


class Empty(Strict):
    r"""A body that says nothing."""


class Study:
    r"""What the routes share: the plan's pages, the store, the researcher's key, and who has asked how often.

    Args:
        folder: the study's folder, whose pictures were held against the plan.
        key: opens the progress page.
        invitation: a word that raters must give before they begin; "" lets everybody in.
    """

    def __init__(
        self, folder: Path, plan: dict, store: Store, key: str, words: Mapping[str, str], *, invitation: str = ""
    ) -> None:
        self.folder, self.plan, self.store, self.key, self.invitation = folder, plan, store, key, invitation
        self.sessions = [page.session_of(plan, number) for number in range(len(plan["sessions"]))]
        self.html, self.script, self.style = page.html(plan, words), page.script(), page.style()
        self.begins = Limiter(rate=1, burst=300)  # by address: a class room stands behind one
        self.calls = Limiter(rate=4, burst=60)  # by token: after a lost connection many answers come at once
        self.strangers = Limiter(rate=0.2, burst=20)  # by address: wrong tokens; a right one always opens
        self.guesses = Limiter(rate=0.1, burst=10)  # by address: keys of the progress page, right or wrong
        self.words = Limiter(rate=0.2, burst=20)  # by address: wrong invitations; after them a right one waits, too

    def check_begin(self, request: Request, invitation: str) -> None:
        who = address(request)
        if not self.begins.allows(who):
            raise Refused(429, "too many begin at once from this address; try again in a moment")
        if not self.invitation:
            return
        if not self.words.allows(who, count=False):
            raise Refused(429, "too many wrong invitations from this address; try again in a minute")
        if not hmac.compare_digest(invitation.strip().encode(), self.invitation.encode()):
            self.words.allows(who)
            raise Refused(403, "this study is for invited people" if not invitation else "that is not the invitation")

    def refused(self, request: Request, error: Refused) -> JSONResponse:
        """What is refused is told in a line; who guesses tokens is slowed down."""
        if error.status == 401 and not self.strangers.allows(address(request)):
            error = Refused(429, "too many wrong tokens from this address; try again in a minute")
        return JSONResponse({"detail": str(error)}, error.status)

    @property
    def cookie(self) -> str:
        """What shows that the key was given; it is not the key."""
        return hmac.new(self.key.encode(), b"progress page", hashlib.sha256).hexdigest()

    def token(self, request: Request, given: Bearer) -> str:
        """The token of a request, which may be wrong: the store says whose it is."""
        if given is None or not 20 <= len(given.credentials) <= 100:
            raise Refused(401, "a token is needed")
        if not self.calls.allows(given.credentials):
            raise Refused(429, "too many requests; try again in a moment")
        return given.credentials


def application(study: Study, hosts: Collection[str] = LOCAL) -> ASGIApp:
    r"""The server of a study, as an ASGI application without any page about itself, that answers to `hosts` only.

    Taught in notebook 09.
    """
    silent = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, telemetry=silent, max_body_size=LARGEST)
    app.include_router(_pages(study))
    app.include_router(_raters(study), prefix="/api")
    app.include_router(progress.routes(study))
    app.add_exception_handler(Refused, study.refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(sqlite3.OperationalError, _not_kept)
    return Guard(app, hosts)  # outside of all that the framework does, so that no reply goes round it


def _malformed(request: Request, error: RequestValidationError) -> JSONResponse:
    """Which field is wrong, and how; what was sent is not sent back."""
    first = error.errors()[0]
    return JSONResponse({"detail": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422)


def _not_kept(request: Request, error: sqlite3.OperationalError) -> JSONResponse:
    print(f"  an answer could not be kept: {error}", file=sys.stderr, flush=True)
    return JSONResponse({"detail": "the server cannot keep answers now; try again in a moment"}, 503)


def _pages(study: Study) -> APIRouter:
    routes = APIRouter()
    for path, text, kind in (
        ("/", study.html, "text/html"),
        ("/page.js", study.script, "text/javascript"),
        ("/page.css", study.style, "text/css"),
    ):
        routes.add_api_route(path, _sends(text, kind), methods=["GET", "HEAD"])

    @routes.get("/picture/{name}.png")
    def picture(name: str) -> Response:
        if name not in study.plan["files"]:
            raise Refused(404, "there is no such picture")
        content = (study.folder / study.plan["files"][name]["path"]).read_bytes()
        return Response(content, headers=FOREVER, media_type="image/png")  # a file's own time tells what it is of

    return routes


def _sends(text: str, kind: str) -> Callable[[], Response]:
    return lambda: Response(text, media_type=kind)


def _raters(study: Study) -> APIRouter:
    routes, whose = APIRouter(), Annotated[str, Depends(study.token)]

    @routes.post("/begin")
    def begin(request: Request, given: Begin) -> dict:
        study.check_begin(request, given.invitation)
        token, rater, session = study.store.begin(given.viewport, given.nonce)
        return {"token": token, "rater": rater, "session": study.sessions[session]}

    @routes.post("/resume")
    def resume(token: whose, given: Empty) -> dict:
        session, answered = study.store.resume(token)
        return {"session": study.sessions[session], "answered": answered}

    @routes.post("/answer")
    def answer(token: whose, given: Answer) -> dict:
        study.store.answer(token, given.trial, given.choice, given.seconds)
        return {"kept": given.trial}

    @routes.post("/leave")
    def leave(token: whose, given: Empty) -> dict:
        study.store.leave(token)
        return {"deleted": True}

    return routes
