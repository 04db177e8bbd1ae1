r"""The researcher's page of a study's server: who is how far, and all answers to take home. It opens with a key only.

Taught in notebook 09.
"""

import hmac
import io
import json
import os
import secrets
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import jinja2
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from aotlib.study.guard import address
from aotlib.study.page import SCREEN
from aotlib.study.store import Refused

if TYPE_CHECKING:
    from aotlib.study.server import Study

KEY, COOKIE = "progress.key", "study_progress"
COOKIE_S = 12 * 3600
FREE = "free"
NAME = "{session:04d}-{rater}.json"
SAVED = {"Content-Disposition": 'attachment; filename="answers.zip"'}


def key_in(folder: Path) -> str:
    r"""The key of a study's progress page: random, made once, readable by the owner of the folder only."""
    path = folder / KEY
    if not path.exists():
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
    os.chmod(path, 0o600)
    return path.read_text(encoding="utf-8").strip()


def routes(study: "Study") -> APIRouter:
    r"""/progress, with a form for the key, and /progress/answers.zip.

    Taught in notebook 09.
    """
    found = APIRouter()
    templates = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(SCREEN))

    def page(status: int = 200, **given) -> HTMLResponse:
        html = templates.get_template("progress.html.jinja").render(title=study.plan["title"], **given)
        return HTMLResponse(html, status)

    @found.get("/progress")
    def show(request: Request) -> HTMLResponse:
        return page(rows=rows(study), **totals(study)) if _opened(study, request) else page()

    @found.post("/progress")
    async def enter(request: Request) -> Response:
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("key", [""])[0]
        if not study.guesses.allows(address(request)):
            return page(429, often=True)
        return _let_in(study, request) if _same(given.strip(), study.key) else page(403, wrong=True)

    @found.get("/progress/answers.zip")
    def download(request: Request) -> Response:
        if not _opened(study, request):
            raise Refused(401, "open the progress page with the key first")
        return Response(zipped(study.store.export()), media_type="application/zip", headers=SAVED)

    return found


def _let_in(study: "Study", request: Request) -> Response:
    reply, safe = RedirectResponse("progress", 303), request.url.scheme == "https"
    reply.set_cookie(COOKIE, study.cookie, max_age=COOKIE_S, httponly=True, samesite="strict", secure=safe)
    return reply


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _opened(study: "Study", request: Request) -> bool:
    return _same(request.cookies.get(COOKIE, ""), study.cookie)


def zipped(answers: list[dict]) -> bytes:
    r"""A ZIP archive with a file of answers a rater, as the page would have saved it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in answers:
            archive.writestr(f"answers/{NAME.format(**one)}", json.dumps(one, indent=1))
    return file.getvalue()


def rows(study: "Study") -> list[dict]:
    r"""A row a rater, and one for each session that nobody has; times in UTC, to the minute."""
    taken: dict[int, list[dict]] = {number: [] for number in range(len(study.sessions))}
    for row in study.store.raters():
        taken[row["session"]].append(row)
    return [_row(study, number, row) for number, raters in taken.items() for row in raters or [None]]


def _row(study: "Study", number: int, row: dict | None) -> dict:
    trials = len(study.sessions[number]["trials"])
    if row is None:
        return {"session": number, "state": FREE, "answered": 0, "trials": trials}
    told = {key: row[key] for key in ("session", "state", "answered")}
    times = {key: row[key][:16].replace("T", " ") for key in ("began", "seen")}
    mean = "" if row["mean_s"] is None else f"{row['mean_s']:.1f}"
    window = " × ".join(map(str, row["viewport"] or ()))
    return told | times | {"rater": row["rater"][:8], "trials": trials, "mean_s": mean, "window": window}


def totals(study: "Study") -> dict[str, int]:
    r"""Sessions in all and complete, raters and answers."""
    raters = study.store.raters()
    complete = {row["session"] for row in raters if row["state"] == "complete"}
    counts = {"sessions": len(study.sessions), "complete": len(complete), "raters": len(raters)}
    return counts | {"answers": sum(row["answered"] for row in raters)}
