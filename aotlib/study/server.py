r"""A small server that hands each rater a session of the plan and keeps every answer at once.

Taught in notebook 09.
"""

import hashlib
import hmac
import sqlite3
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from aotlib.study import page, progress
from aotlib.study.guard import Guard, Limiter, address
from aotlib.study.store import Refused, Store

LARGEST = 16_384  # bytes of a body: the answer to a ranking of 10 takes less than 200
FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}  # a picture's name stands for its content
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
Side = Annotated[int, Field(ge=1, le=100_000)]
Place = Annotated[int, Field(ge=0, le=99)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Begin(_Strict):
    r"""What a browser says of itself: the width and height of its window, CSS pixels."""

    viewport: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None


class Answer(_Strict):
    r"""One answer; `seconds` from pictures shown to choice confirmed."""

    trial: Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")]
    choice: Annotated[str, Field(max_length=8)] | Annotated[list[Place], Field(max_length=100)]
    seconds: Annotated[float, Field(ge=0)]


class Empty(_Strict):
    r"""A body that says nothing."""


class Study:
    r"""What the routes share: the plan's pages, the store, the researcher's key, and who has asked how often.

    Args:
        folder: the study's folder, whose pictures were held against the plan.
        key: opens the progress page.
    """

    def __init__(self, folder: Path, plan: dict, store: Store, key: str, words: Mapping[str, str]) -> None:
        self.folder, self.plan, self.store, self.key = folder, plan, store, key
        self.sessions = [page.session_of(plan, number) for number in range(len(plan["sessions"]))]
        self.html, self.script, self.style = page.html(plan, words), page.script(), page.style()
        self.begins = Limiter(rate=1, burst=300)  # by address: a class room stands behind one
        self.calls = Limiter(rate=4, burst=60)  # by token: after a lost connection many answers come at once
        self.strangers = Limiter(rate=0.2, burst=20)  # by address: wrong tokens; a right one always opens
        self.guesses = Limiter(rate=0.1, burst=10)  # by address: keys of the progress page, right or wrong

    def check_begin(self, request: Request) -> None:
        if not self.begins.allows(address(request)):
            raise Refused(429, "too many begin at once from this address; try again in a moment")

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


def application(study: Study) -> ASGIApp:
    r"""The server of a study, as an ASGI application without any page about itself.

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
    return Guard(app)  # outside of all that the framework does, so that no reply goes round it


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
    def picture(name: str) -> FileResponse:
        if name not in study.plan["files"]:
            raise Refused(404, "there is no such picture")
        return FileResponse(study.folder / study.plan["files"][name]["path"], headers=FOREVER, media_type="image/png")

    return routes


def _sends(text: str, kind: str) -> Callable[[], Response]:
    return lambda: Response(text, media_type=kind)


def _raters(study: Study) -> APIRouter:
    routes, whose = APIRouter(), Annotated[str, Depends(study.token)]

    @routes.post("/begin")
    def begin(request: Request, given: Begin) -> dict:
        study.check_begin(request)
        token, rater, session = study.store.begin(given.viewport)
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
