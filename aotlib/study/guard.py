r"""What a server of a study puts before and behind everything else: limits of how often, and headers that are safe.

Taught in notebook 09.
"""

import ipaddress
import threading
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # to listen at all addresses of a machine
NETWORK = 64  # bits of an IPv6 address: the rest of them is one household's to choose
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

    def allows(self, key: str, *, count: bool = True) -> bool:
        r"""Whether `key` may go on now, which is counted unless told otherwise."""
        now = self.clock()
        with self.lock:
            left, then = self.left.pop(key, (self.burst, now))
            left = min(self.burst, left + self.rate * (now - then))
            if len(self.left) >= MOST_KEYS:
                del self.left[next(iter(self.left))]  # the one that was asked for longest ago
            self.left[key] = (left - (count and left >= 1), now)
        return left >= 1


def address(request: Request) -> str:
    r"""Where a request comes from: kept in memory for the limits of how often, and nowhere else.

    Of an IPv6 address it is the network, because whoever has one address there has 2^64.
    """
    return network(request.client.host) if request.client else "unknown"


def network(host: str) -> str:
    r"""
    >>> network("192.0.2.7"), network("2001:db8:1:2:3::4"), network("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8:1:2::/64', '192.0.2.7')
    """
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host  # no address: a socket of this machine
    found = getattr(found, "ipv4_mapped", None) or found
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), NETWORK), strict=False))


def hosts_of(bound: str, public: Collection[str] = ()) -> frozenset[str]:
    r"""The names under which a server that is bound to `bound` is asked for; "*" are all addresses in numbers.

    A page elsewhere can give its own name the address of this server, and would be let in; it cannot give it another
    name than its own.

    >>> sorted(hosts_of("0.0.0.0", ["Study.example.org"]))
    ['*', '127.0.0.1', '::1', 'localhost', 'study.example.org']
    """
    own = "*" if bound in EVERYWHERE else bound.lower()
    return frozenset((*LOCAL, own, *(name.lower() for name in public)))


class Guard:
    r"""Around an application: nothing is taken from pages elsewhere, and every reply has the same safe headers.

    Args:
        hosts: the names that it answers to, as of `hosts_of`.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app, self.hosts = app, hosts

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

        status, reason = self._refusal(Headers(scope=scope), scope["method"])
        if reason:
            await JSONResponse({"detail": reason}, status)(scope, receive, send_safely)
        else:
            await self.app(scope, receive, send_safely)

    def _refusal(self, headers: Headers, method: str) -> tuple[int, str]:
        """Why a request is not let in, and the HTTP status that says so; "" lets it in."""
        host = headers.get("host", "")
        if not self._known(_name(host)):
            told = "it is not asked for by this name: start it with --public-host NAME"
            return 421, f"this is the server of a study, and {told}"
        if method in ("GET", "HEAD"):
            return 200, ""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")  # which browsers say, or old ones do not
        own = site in ("same-origin", "none") if site else origin is None or urlsplit(origin).netloc == host
        return (200, "") if own else (403, "a page from elsewhere may not send this")

    def _known(self, name: str) -> bool:
        return name in self.hosts or ("*" in self.hosts and _is_address(name))


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
