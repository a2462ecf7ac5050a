"""The command line: ``fastbackprop train``, ``predict``, ``info`` and ``verify``. Needs the extra ``cli``.

Here is only what must come first: while the rest is imported, Ctrl-C ends the process at once, without a traceback.
"""

from __future__ import annotations

import os
import sys

# Not that of typing, and to run not signal itself: to import these takes longer than all else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal

INTERRUPTED = 130  # the shell's code for Ctrl-C


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors are one line on standard error and an exit code, never a traceback."""
    try:
        code = _imported()(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _imported() -> Callable[[list[str] | None], int]:
    """What runs the commands. While it is imported, Ctrl-C does what it usually does, but at once and in silence."""
    quiet = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if quiet:
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    except ValueError:  # another thread than the main one, which alone gets signals
        quiet = False
    try:
        from fastbackprop.cli.commands import run
    finally:
        if quiet:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    return run
