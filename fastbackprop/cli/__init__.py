"""The command line: ``fastbackprop train``, ``predict``, ``info`` and ``verify``. Needs the extra ``cli``.

Here is only what must come first: while the rest is imported, Ctrl-C ends the process at once, without a traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

INTERRUPTED = 130  # the shell's code for Ctrl-C


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors are one line on standard error and an exit code, never a traceback."""
    try:
        with _ending_at_once():
            from fastbackprop.cli.commands import run
        code = run(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


@contextlib.contextmanager
def _ending_at_once() -> Iterator[None]:
    """Ctrl-C ends the process, where it would have raised KeyboardInterrupt and only the main thread can say so."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
