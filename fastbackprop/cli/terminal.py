"""What a command says. Texts of files, names and values go through :func:`say`, and do nothing to a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import click

from fastbackprop.cli import INTERRUPTED as INTERRUPTED
from fastbackprop.text import shown

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


def warn(line: str) -> None:
    """What was guessed, or was perhaps not meant: to standard error, whatever standard output is for."""
    say(f"warning   {line}", err=True)


def warn_of(guesses: Mapping[str, str]) -> None:
    """A warning for each guess, with the columns about which it is."""
    names: dict[str, list[str]] = {}
    for name, words in guesses.items():
        names.setdefault(words, []).append(name)
    warn_some([f"{few(columns)}: {words}" for words, columns in names.items()], "guesses")


def warn_some(lines: Sequence[str], more: str) -> None:
    """The first of many warnings, and how many ``more`` there are."""
    for line in some([f"warning   {line}" for line in lines], more):
        say(line, err=True)


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
