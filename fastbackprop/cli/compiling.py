"""The one long wait, explained: the engine is compiled when it is first used on a processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click
from numba.core import event

from fastbackprop.engine import telling

WORDS = "compiling the engine for this processor, which is done once (10 to 40 seconds)"


class _Announcement(event.Listener):  # type: ignore[misc,unused-ignore]
    """Numba tells of what it compiles, and not of what it takes from its cache."""

    said = False

    def on_start(self, event: object) -> None:
        if not self.said:
            self.said = True
            click.echo(WORDS, err=True)

    def on_end(self, event: object) -> None:
        """The first of many functions is done."""


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say so, once, where what is done compiles something."""
    before, telling.say = telling.say, lambda words: None  # the same in other words
    try:
        with event.install_listener("numba:compile", _Announcement()):
            yield
    finally:
        telling.say = before
