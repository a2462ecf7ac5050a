"""The one long wait, explained: the engine is compiled when it is first used on a processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from fastbackprop.engine import telling

WORDS = "compiling the engine for this processor, which is done once (5 to 20 seconds)"


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say so, once, where what is done compiles something."""
    said = False

    def say_once() -> None:
        nonlocal said
        if not said:
            said = True
            click.echo(WORDS, err=True)

    before = telling.say, telling.compiling
    try:
        telling.say, telling.compiling = lambda words: None, say_once  # `say` has the same in other words
        yield
    finally:
        telling.say, telling.compiling = before
