"""Tables that a command reads: from a file, or once from a pipe."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fastbackprop.cli.terminal import about, warn

STDIN = "-"
COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst")
ARCHIVED = (*COMPRESSED, ".tar")
CHUNK = 1 << 20  # bytes
PATIENCE = 10.0  # seconds in which somebody must open a named pipe to write to it


def is_file(data: str) -> bool:
    """Whether DATA can be read more than once: it is no pipe."""
    return data != STDIN and os.path.isfile(data)


def source_name(data: str) -> str:
    """What DATA is called in a line for the user."""
    return {"stdin": "standard input", "pipe": "a pipe"}[_of_shell(data)] if _of_shell(data) else Path(data).name


def stem(data: str) -> str:
    """DATA's name without its endings, for the files that are named after it."""
    path = Path(data)
    return _of_shell(data) or (Path(path.stem).stem if path.suffix.lower() in ARCHIVED else path.stem)


def _of_shell(data: str) -> str:
    """A name for what has none of its own: standard input, and what a shell's <(...) gives; empty for others."""
    path = Path(data)
    if data == STDIN or path in (Path("/dev/stdin"), Path("/dev/fd/0"), Path("/proc/self/fd/0")):
        return "stdin"
    return "pipe" if path.parent in (Path("/dev/fd"), Path("/proc/self/fd")) else ""


class _Pipe(io.BytesIO):
    """What a pipe gave, under the name that errors shall have."""

    name = ""


def read_table(data: str, reading: Mapping[str, Any]) -> Any:
    """The table that DATA holds, read with these options of ``tables.read``; what was guessed is said.

    A pipe is read once, to its end.
    """
    from fastbackprop import tables

    if is_file(data):
        with about(data):
            frame = tables.read(data, **reading)
    else:
        content = _Pipe(_content(data))
        content.name = source_name(data)
        frame = tables.read(content, **reading)
    for line in frame.attrs["guesses"]:
        warn(line)
    return frame


def _content(data: str) -> bytes:
    if data == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("DATA is -, standard input, and nothing is piped into it")
        return sys.stdin.buffer.read()
    if not stat.S_ISFIFO(os.stat(data).st_mode):
        raise click.UsageError(f"DATA must be a file or a pipe; {data!r} is something else")
    # Not blocking: a pipe that nobody writes to would keep us for ever.
    with open(os.open(data, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:
        start = _start(pipe.fileno(), data)
        os.set_blocking(pipe.fileno(), True)
        return start + pipe.read()


def _start(pipe: int, data: str) -> bytes:
    """What was written to a named pipe, once somebody has opened it for that: from then on, to read is to wait."""
    poll, end = select.poll(), time.monotonic() + PATIENCE
    poll.register(pipe, select.POLLIN)
    while True:
        try:
            content = os.read(pipe, CHUNK)
        except BlockingIOError:  # it is open for writing, and empty
            return b""
        if content or poll.poll(0):  # or its writer has been here and gone
            return content
        if time.monotonic() > end:
            raise click.UsageError(f"{data}: nothing has opened this pipe to write to it for {PATIENCE:g} seconds")
        time.sleep(0.02)
