"""What a command says. Texts of files, names and values go through :func:`say`, and do nothing to a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import click

from fastbackprop.text import shown

INTERRUPTED = 130  # the shell's code for Ctrl-C
MOST_NAMES = 30  # of columns or classes, in one list
LONGEST_LINE = 4000  # characters


class Stop(Exception):
    """An end with a line for the user and an exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


def say(line: str, *, err: bool = False) -> None:
    """One line, to standard output or standard error."""
    click.echo(shown(line, LONGEST_LINE), err=err)


def some(lines: Sequence[str], more: str) -> list[str]:
    """The first of many lines, and one of how many ``more`` there are, in words after their number."""
    rest = len(lines) - MOST_NAMES
    return [*lines[:MOST_NAMES], *([f"          and {rest} more {more}"] if rest > 0 else [])]


def few(names: Sequence[str]) -> str:
    """The first names of many, with commas between them."""
    first = ", ".join(map(shown, names[:MOST_NAMES]))
    return first if len(names) <= MOST_NAMES else f"{first} and {len(names) - MOST_NAMES} more"


@contextlib.contextmanager
def about(source: str) -> Iterator[None]:
    """Errors of the library name the file they are about."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise click.UsageError(text if source in text else f"{source}: {text}") from None
