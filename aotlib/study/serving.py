r"""Running the server of a study: an address that is free, a key that is printed, and one server a study.

Taught in notebook 09.
"""

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import uvicorn
from starlette.types import ASGIApp

from aotlib.files import only_writer
from aotlib.study import plan as plans
from aotlib.study.database import NAME
from aotlib.study.guard import hosts_of
from aotlib.study.page import read_words
from aotlib.study.progress import key_in
from aotlib.study.server import Study, application
from aotlib.study.store import Store

MOST_AT_ONCE = 900  # connections, each an open file of the usual 1,024; more get a 503, and the page tries again


def run(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    abandoned_s: float = 3600.0,
    behind_proxy: bool = False,
    public_hosts: Sequence[str] = (),
    invitation: str = "",
    words: Mapping[str, str] | None = None,
) -> None:
    r"""Serves the study in `folder` until it is stopped; every answer is in ``folder/answers.sqlite`` once confirmed.

    Args:
        port: 0 takes any that is free.
        abandoned_s: a session without an answer for so long goes to the next rater.
        behind_proxy: believe a proxy on this machine about who asks, and whether by HTTPS.
        public_hosts: names by which raters ask for it, beside this machine's own, such as that of a proxy.
        invitation: a word that raters must give; "" lets everybody in.

    Raises:
        OSError: when the address cannot be taken.
        RuntimeError: when another server of this study is running.

    Taught in notebook 09.
    """
    folder = Path(folder) if Path(folder).is_dir() else Path(folder).parent
    plan = plans.read(folder, check_files=True)
    with only_writer(folder, ".serving"):
        store = Store(folder / NAME, plan, abandoned_s=abandoned_s)
        study = Study(folder, plan, store, key_in(folder), words or read_words(), invitation=invitation)
        listener = _listener(host, port)
        print(*_told(study, listener, host), sep="\n", flush=True)
        try:
            app = application(study, hosts_of(host, public_hosts))
            uvicorn.Server(_config(app, behind_proxy)).run(sockets=[listener])
        except KeyboardInterrupt:
            print(f"stopped; {sum(row['answered'] for row in store.raters())} answers are in {store.path}")
        finally:
            store.close()


def _config(app: ASGIApp, behind_proxy: bool) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would keep addresses of raters
        server_header=False,
        proxy_headers=behind_proxy,
        forwarded_allow_ips="127.0.0.1",
        limit_concurrency=MOST_AT_ONCE,
    )


def _listener(host: str, port: int) -> socket.socket:
    """A socket at the address, which no other program has."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # who comes before the server is ready waits
    except OSError as error:
        why = f"{error.strerror or error}; another program may have it: try --port {port + 1}, or --port 0 for any"
        raise OSError(f"cannot listen at {host}, port {port}: {why}") from error
    return listener


def _told(study: Study, listener: socket.socket, host: str) -> list[str]:
    where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
    invited = urlencode({"invitation": study.invitation}) if study.invitation else ""
    raters, sessions = len(study.store.raters()), len(study.sessions)
    told = [
        f"{study.plan['title'] or 'study'}: {sessions} sessions, {raters} raters so far",
        f"  raters    {where}{'?' * bool(invited)}{invited}",
        f"  progress  {where}progress   key: {study.key}",
        f"  answers   {study.folder / NAME}; then: aotlib study analyse {study.folder}",
        "Ctrl-C stops it; nothing is lost, and the same command goes on.",
    ]
    if not _loopback(host):
        told += ["Other machines can reach it, unencrypted: put a proxy with HTTPS before it (docs/study.md)."]
    return told


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
