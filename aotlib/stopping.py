r"""A run that is told to end finishes its step and saves its state first. Taught in notebook 05."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

# Ctrl-C or a notebook's stop button; a cluster's "your time is over"; a terminal that was closed
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class Stopped(RuntimeError):
    r"""A run was told to end, and did so with its state saved; `number` is the signal's."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


class Stopping:
    r"""Inside ``with``, SIGINT, SIGTERM and SIGHUP only set `number`; a second Ctrl-C acts as it always does.

    A second SIGTERM does not: a cluster sends it to every process of a job, and each passes it on to those it started.
    A signal that is ignored, as ``nohup`` wants SIGHUP to be, stays so.
    Outside the main thread, where Python allows no handlers, signals act as they always do.
    """

    def __init__(self) -> None:
        self.number = 0
        self.before: dict[int, object] = {}

    def __enter__(self) -> "Stopping":
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self.before = {number: signal.signal(number, self.note) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # None: not set from Python
        self.before = {}

    def error(self, text: str) -> BaseException:
        r"""What to raise after a stop: what the signal would have raised by itself, with `text`."""
        return KeyboardInterrupt(text) if self.number == signal.SIGINT else Stopped(text, self.number)

    def note(self, number: int, _: FrameType | None) -> None:
        self.number = number
        if number == signal.SIGINT:
            signal.signal(number, self.before[number])


@contextmanager
def passing_on() -> Iterator[list[int]]:
    r"""Inside ``with``, SIGTERM goes to the processes that this one started, which may want to save something first.

    The list that it gives gets the signal's number. Where no process is there to be told, `Stopped` is raised.
    """
    heard: list[int] = []

    def tell(number: int, _: FrameType | None) -> None:
        heard.append(number)
        children = psutil.Process().children(recursive=True)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        if not children:
            raise Stopped("stopped before anything was done", number)

    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = signal.signal(signal.SIGTERM, tell)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGTERM, before)


def deaf(_: int = 0) -> None:
    r"""Make this process ignore the signals: a reading process ends when the one that reads from it does."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
