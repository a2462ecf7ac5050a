"""The one long wait, explained: the engine is compiled when it is first used on a processor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import click
from numba.core import event

from fastbackprop.engine import telling

WORDS = "compiling the engine for this processor, which is done once (10 to 40 seconds) ..."


class _Announcement(event.Listener):  # type: ignore[misc,unused-ignore]
    """Numba tells of what it compiles, and not of what it takes from its cache."""

    start = 0.0

    def on_start(self, event: object) -> None:
        if not self.start:
            self.start = time.perf_counter()
            click.echo(WORDS, err=True, nl=False)

    def on_end(self, event: object) -> None:
        """The first of many functions is done."""


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say so, with the time it took, where what is done compiles something."""
    telling.say = lambda words: None  # the same in other words
    announcement = _Announcement()
    try:
        with event.install_listener("numba:compile", announcement):
            yield
    finally:
        if announcement.start:
            click.echo(f" {time.perf_counter() - announcement.start:.1f} s", err=True)
