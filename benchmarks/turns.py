"""Taking turns: everyone who is measured runs for a short while, then the others, in several rounds.

So what changes on the machine while a benchmark runs, its clock or its other programs, meets all alike.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
QUIET = 0.15  # CPUs that other programs may use before figures are called disturbed


def by_turns(
    players: Mapping[str, Callable[[], T]], rounds: int, gives_up: type[Exception] | tuple[type[Exception], ...] = ()
) -> tuple[dict[str, list[T]], dict[str, Exception]]:
    """What each player returned, once a round, and the exceptions of those who gave up, who are not asked again.

    Each round begins with another one.
    """
    turns: dict[str, list[T]] = {name: [] for name in players}
    failed: dict[str, Exception] = {}
    names = list(players)
    for number in range(rounds):
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            if name not in failed:
                try:
                    turns[name].append(players[name]())
                except gives_up as error:
                    failed[name] = error
    return turns, failed


def summary(values: Sequence[float]) -> dict[str, float]:
    """A figure in a report: `us`, the median, `low` and `high`."""
    return {"us": statistics.median(values), "low": min(values), "high": max(values)}


def seconds_of(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def repeated(call: Callable[[], object], seconds: float) -> list[float]:
    """The seconds of each call, of calls that together take about `seconds`; there is at least one."""
    times = [seconds_of(call)]
    while sum(times) < seconds:
        times.append(seconds_of(call))
    return times


def busy_seconds() -> float:
    """Processor time that the whole machine has used, stolen time included (Linux; elsewhere that of this process)."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    except OSError:
        return time.process_time()
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Others:
    """`cpus`: how many CPUs all other processes, and other guests of a shared host, used in the `with` block."""

    def __enter__(self) -> Others:
        self.before = busy_seconds() - time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        busy, started = self.before
        used = busy_seconds() - time.process_time() - busy
        self.cpus = max(0.0, used / (time.perf_counter() - started))


def how_quiet(seconds: float = 1.0) -> str:
    """What other processes do while this one sleeps, to be said before a measurement."""
    with Others() as others:
        time.sleep(seconds)
    if others.cpus <= QUIET:
        return "No other programs are seen."
    return f"NOT QUIET: other programs use {others.cpus:.1f} CPUs now, and will be in the figures."


def minutes(seconds: float) -> str:
    """A length of time as one says it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
