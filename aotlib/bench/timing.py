r"""How long something takes: a warm-up, repetitions, their median, and how far they scatter.

Taught in notebook 12.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

AT_LEAST = 3  # repetitions after the warm-up, whatever the time


class Timing(NamedTuple):
    r"""Seconds of one call: the median of `n` repetitions, and the quartiles between which half of them lie.

    `first_s` are those of the warm-up, which are not counted: choosing algorithms, compiling.
    """

    median_s: float
    low_s: float
    high_s: float
    n: int
    first_s: float

    def spread(self) -> dict[str, float]:
        r"""What stands beside the median in a record."""
        return {key: value for key, value in self._asdict().items() if key != "median_s"}


def measure(
    function: Callable[[], object],
    device: torch.device,
    *,
    n: int = 10,
    budget_s: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    r"""Time `function` as `measure_in_turn` does, alone.

    >>> measure(lambda: None, torch.device("cpu"), n=3, clock=iter([0, 0, 1, 1, 3, 3, 5, 5, 9]).__next__).median_s
    2

    Taught in notebook 12.
    """
    return measure_in_turn([function], device, n=n, budget_s=budget_s, clock=clock)[0]


def measure_in_turn(
    functions: Sequence[Callable[[], object]],
    device: torch.device,
    *,
    n: int = 10,
    budget_s: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    r"""Time each function `n` times after one call to warm up; fewer, but at least 3 times, once `budget_s` has passed.

    They take turns, so that a machine that slows down meanwhile slows all of them. On a GPU each call is waited for: a
    call there returns when the work is queued, not when it is done. The first call chooses algorithms, allocates, and
    may compile, so that it is never counted; its time is part of the budget.

    Taught in notebook 12.
    """

    def seconds(function: Callable[[], object]) -> float:
        begin = clock()
        function()
        wait_for(device)
        return clock() - begin

    started = clock()
    first = [seconds(function) for function in functions]
    times: list[list[float]] = [[] for _ in functions]
    while len(times[0]) < n and (len(times[0]) < AT_LEAST or clock() - started < budget_s):
        for taken, function in zip(times, functions, strict=True):
            taken.append(seconds(function))
    return [summary(*pair) for pair in zip(times, first, strict=True)]


def summary(times: list[float], first_s: float) -> Timing:
    low, _, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return Timing(statistics.median(times), low, high, len(times), first_s)


def wait_for(device: torch.device) -> None:
    r"""Return when the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def first_line(error: BaseException) -> str:
    r"""The kind and first line of an error, for a record: why something could not be measured.

    >>> first_line(RuntimeError("no compiler\nlong story"))
    'RuntimeError: no compiler'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


class Budget:
    r"""Seconds that are left of a total, shared out to the parts of a benchmark.

    Taught in notebook 12.
    """

    def __init__(self, total_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.end = clock() + total_s

    def left(self) -> float:
        r"""Seconds until the end, never below 0."""
        return max(0.0, self.end - self.clock())

    def part(self, share: float) -> "Budget":
        r"""A budget of its own: `share` (0 to 1) of what is left now."""
        return Budget(share * self.left(), self.clock)
