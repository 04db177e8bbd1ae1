r"""What a server of a study puts before and behind everything else: limits of how often, and headers that are safe.

Taught in notebook 09.
"""

import threading
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_KEYS = 10_000  # that a limiter remembers
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
POLICY += "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), clipboard-write=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}


class Limiter:
    r"""Lets each key through `burst` times at once, and `rate` times a second in the long run.

    >>> time_s = [0.0]
    >>> limiter = Limiter(rate=1, burst=2, clock=lambda: time_s[0])
    >>> [limiter.allows("a"), limiter.allows("a"), limiter.allows("a"), limiter.allows("b")]
    [True, True, False, True]
    >>> time_s[0] = 1.0
    >>> [limiter.allows("a"), limiter.allows("a")]
    [True, False]

    Taught in notebook 09.
    """

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self.lock = threading.Lock()
        self.left: dict[str, tuple[float, float]] = {}  # by key: how often still, and when that was so

    def allows(self, key: str) -> bool:
        r"""Whether `key` may go on now, which is counted."""
        now = self.clock()
        with self.lock:
            left, then = self.left.pop(key, (self.burst, now))
            left = min(self.burst, left + self.rate * (now - then))
            if len(self.left) >= MOST_KEYS:
                del self.left[next(iter(self.left))]  # the one that was asked for longest ago
            self.left[key] = (left - (left >= 1), now)
        return left >= 1


def address(request: Request) -> str:
    r"""Where a request comes from: kept in memory for the limits of how often, and nowhere else."""
    return request.client.host if request.client else "unknown"


class Guard:
    r"""Around an application: nothing is taken from pages elsewhere, and every reply has the same safe headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        site = Headers(scope=scope).get("sec-fetch-site", "none")  # browsers say where a request comes from
        if scope["method"] not in ("GET", "HEAD") and site not in ("same-origin", "none"):
            refusal = JSONResponse({"detail": "a page from elsewhere may not send this"}, 403)
            await refusal(scope, receive, send_safely)
        else:
            await self.app(scope, receive, send_safely)
