"""The helper threads of the engine.

They are plain Python threads that run compiled code without the interpreter's lock. Nobody waits for one to wake up: a
job is complete when its tasks are done, by whomever. After a fork the child starts threads of its own.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from fastbackprop.cgroups import cpu_quota
from fastbackprop.engine.jit import compiled_for

_pool: ThreadPoolExecutor | None = None
_pool_owner = 0
_compiled: set[tuple[Any, ...]] = set()  # what has been called, with the dtypes of its arrays


def available() -> int:
    """The number of threads used where none is given: the processors that this process may run on.

    A container's quota of CPUs limits it, rounded up, and ``OMP_NUM_THREADS`` (which joblib sets for its workers).
    ``FASTBACKPROP_NUM_THREADS`` overrules all of them.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    quota = cpu_quota()
    if quota is not None:
        count = max(1, min(count, math.ceil(quota)))
    for name in ("FASTBACKPROP_NUM_THREADS", "OMP_NUM_THREADS"):
        limit = os.environ.get(name, "")
        if limit.isdigit() and int(limit) > 0:
            return min(count, int(limit)) if name == "OMP_NUM_THREADS" else int(limit)
    return count


def _helpers() -> ThreadPoolExecutor:
    global _pool, _pool_owner
    if _pool is None or _pool_owner != os.getpid():
        _pool = ThreadPoolExecutor(max_workers=max(available(), 64), thread_name_prefix="fastbackprop")
        _pool_owner = os.getpid()
    return _pool


def _compile(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Compile, or load, what the helpers will call: Ctrl-C in the seconds that takes finds none of them at work."""
    key = (function, *(getattr(arg, "dtype", None) for arg in args))
    if key not in _compiled and hasattr(function, "compile"):
        compiled_for(function, *args, 0)
        _compiled.add(key)


def _wait_for(helpers: list[Future[Any]]) -> None:
    """Until no helper is at work, whatever happens: the memory that they work on is about to be given back."""
    for helper in helpers:
        helper.cancel()
    while not all(helper.done() for helper in helpers):
        with contextlib.suppress(KeyboardInterrupt):
            wait(helpers)


def run_on(threads: int, function: Callable[..., Any], *args: Any) -> None:
    """Call ``function(*args, slot)`` on this thread with slot 0 and on ``threads - 1`` helpers with slots 1, 2, ...

    ``function`` returns once the whole job is done, wherever it runs; a helper that wakes up later finds no work left.
    """
    helpers: list[Future[Any]] = []
    if threads > 1:
        _compile(function, args)
    try:
        for slot in range(1, threads):
            helpers.append(_helpers().submit(function, *args, slot))
    except RuntimeError:
        pass  # no further thread can be started, or the interpreter is about to end: go on with those there are
    finally:
        # Also after Ctrl-C in the lines above: a helper may be at work on memory that must stay until the job is done.
        try:
            function(*args, 0)
        except BaseException:
            _wait_for(helpers)
            raise
    for helper in helpers:
        helper.cancel()
