"""The helper threads of the engine.

They are plain Python threads that run compiled code without the interpreter's lock. Nobody waits for one to wake up: a
job is complete when its tasks are done, by whomever. After a fork the child starts threads of its own.

Ctrl-C, or another exception that comes from outside, is raised between two of the interpreter's instructions. There
are none between the first word to a helper and the end of the job: it is one call of C (`in_one_go`), so an interrupt
finds either nothing begun or all done. No lock is taken by lines of Python, where it would be left held.
"""

from __future__ import annotations

import contextlib
import math
import os
from _thread import get_ident, start_new_thread
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from fastbackprop.cgroups import cpu_quota

MOST_HELPERS = 64  # unless there are more processors


def processors() -> int:
    """How many this process may run on; a container's quota of CPUs limits them, rounded up."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    quota = cpu_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def available() -> int:
    """The number of threads used where none is given: the processors that this process may run on.

    A container's quota of CPUs limits it, rounded up, and ``OMP_NUM_THREADS`` (which joblib sets for its workers).
    ``FASTBACKPROP_NUM_THREADS`` overrules all of them.
    """
    count = processors()
    for name in ("FASTBACKPROP_NUM_THREADS", "OMP_NUM_THREADS"):
        limit = os.environ.get(name, "")
        if limit.isdigit() and int(limit) > 0:
            return min(count, int(limit)) if name == "OMP_NUM_THREADS" else int(limit)
    return count


class _Helpers:
    """Threads that wait for work: as many as the calls under way want together, and always ready for the next."""

    def __init__(self) -> None:
        self._work: SimpleQueue[list[partial[Any]]] = SimpleQueue()
        self._wanted: dict[int, int] = {}  # by the calls under way, each of another thread
        self._alive: set[int] = set()
        self._most = max(MOST_HELPERS, available())

    def want(self, count: int) -> None:
        """Have enough threads for a call of this thread's that wants so many."""
        self._wanted[get_ident()] = count
        for _ in range(len(self._alive), min(self._most, sum(self._wanted.values()))):
            try:
                start_new_thread(self._help, ())  # not threading.Thread: its start waits for locks
            except RuntimeError:
                break  # a limit, or the end of the interpreter: go on with those there are

    def _help(self) -> None:
        me = get_ident()
        self._alive.add(me)
        try:
            while True:
                turns = self._work.get()
                with contextlib.suppress(IndexError):  # all turns are taken, or the job is done
                    turns.pop()()
        finally:
            self._alive.discard(me)

    def share(self, own: partial[Any], turns: list[partial[Any]]) -> None:
        """Call ``own`` here and ``turns`` on helpers that come before it returns."""
        words = [partial(self._work.put, turns)] * len(turns)
        in_one_go(*words, own, partial(turns.clear), partial(self._wanted.pop, get_ident(), None))


def in_one_go(*calls: partial[Any]) -> None:
    """Call functions of C one after the other, with nothing of the interpreter between them."""
    deque(map(partial.__call__, calls), maxlen=0)


_helpers = _Helpers()


def _start_anew() -> None:
    """In a forked child, which has none of the threads."""
    global _helpers
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def run_on(threads: int, function: Callable[..., int], *args: Any) -> None:
    """Call ``function(*args, slot)`` on this thread with slot 0 and on ``threads - 1`` helpers with slots 1, 2, ...

    ``function``, what Python calls of an entry of the engine, returns once the whole job is done, wherever it runs; a
    helper that wakes up later finds no work left.
    """
    if threads == 1:
        function(*args, 0)
        return
    helpers = _helpers
    helpers.want(threads - 1)
    own, turns = partial(function, *args, 0), [partial(function, *args, slot) for slot in range(1, threads)]
    try:
        helpers.share(own, turns)
    except MemoryError:
        # For the word to a helper; another may be at work on memory that must stay until the job is done.
        own()
        raise
