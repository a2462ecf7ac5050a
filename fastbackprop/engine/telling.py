"""What a person is told while the engine is compiled: once, and only where it takes a while."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

PATIENCE = 1.0  # seconds of compiling before something is said
WORDS = "fastbackprop is compiled for this processor, 5 to 20 seconds in all, and kept on disk for later runs"


def _say(words: str) -> None:
    """To a person at a terminal or a notebook; elsewhere to the log."""
    if "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty()):
        sys.stderr.write(f"{words}\n")
    else:
        logging.getLogger("fastbackprop").info(words)


# Others may be put in the place of both: what is done with words, and before something is compiled.
say: Callable[[str], None] = _say
compiling: Callable[[], None] = lambda: None  # noqa: E731
_seconds = 0.0


def compiled(seconds: float) -> None:
    """Something was compiled in so many seconds."""
    global _seconds
    before, _seconds = _seconds, _seconds + seconds
    if before < PATIENCE <= _seconds:
        say(WORDS)
