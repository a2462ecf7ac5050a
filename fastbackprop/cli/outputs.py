"""Files that a command writes: that they can be is known before the work, and a failure leaves no directory behind."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import lzma
import os
import secrets
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from fastbackprop.cli.inputs import COMPRESSED
from fastbackprop.cli.terminal import say

STDOUT = Path("-")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # how a text begins that a spreadsheet computes


@contextlib.contextmanager
def writable(
    *files: Path, keep: Sequence[Path], option: str = "--out", directory: Path | None = None
) -> Iterator[None]:
    """That the files can be written is tried; none may be one of those to ``keep``.

    ``directory`` is made where it is not there yet, and where the work fails it goes again, unless something was
    written to it. No other directory is made: it is perhaps a slip of the pen.
    """
    made = False
    try:
        with _reasons(option, directory or Path()):
            if directory is not None and not directory.exists():
                _require_parent(directory)
                directory.mkdir()
                made = True
        for file in files:
            with _reasons(option, file):
                _try_to_write(file, keep)
        yield
    except BaseException:
        if made and directory is not None:
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise


@contextlib.contextmanager
def _reasons(option: str, file: Path) -> Iterator[None]:
    """Errors name the option and the file."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise click.UsageError(f"{option}: {str(file)!r} cannot be written: {why}") from None


def _require_parent(file: Path) -> None:
    if not file.parent.exists():
        raise ValueError(f"there is no directory {str(file.parent)!r}")


def _try_to_write(file: Path, keep: Sequence[Path]) -> None:
    _require_parent(file)
    target = Path(os.path.realpath(file))  # a link stays a link
    if target.exists():
        if not target.is_file():
            raise ValueError("it is something else than a file")
        for given in keep:
            if target.samefile(given):
                raise ValueError(f"it is {given} itself, which would be lost")
        if not os.access(target, os.W_OK):
            raise ValueError("it is read-only")
    probe = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")  # as long a name as will be needed
    with open(probe, "xb"):
        pass
    probe.unlink()


def table_writer(out: Path, escape_formulas: bool) -> Callable[[Any], bytes]:
    """What makes a pandas.DataFrame the content of a file of this name.

    What it needs is tried here, with an empty table.
    """
    from fastbackprop.tables import PARQUET

    write: Callable[[Any], bytes]
    endings = [ending.lower() for ending in out.suffixes]
    if endings[-1:] and endings[-1] in PARQUET:
        if escape_formulas:
            raise click.UsageError(f"--escape-formulas is for CSV, and {str(out)!r} will be Parquet")
        write = _parquet
    elif out == STDOUT or endings[-1:] == [".csv"]:
        write = _csv
    elif endings[-2:-1] == [".csv"] and endings[-1] in COMPRESSED:

        def write(frame: Any) -> bytes:
            return _packed(_csv(frame), endings[-1], out.stem)
    else:
        *first, last = COMPRESSED
        packed = f"{', '.join(first)} or {last}"
        raise click.UsageError(
            f"--out must end in .csv (also packed, with {packed} after it) or .parquet, or be -, got {str(out)!r}"
        )
    import pandas as pd

    try:
        write(pd.DataFrame({"a": []}))
    except ImportError:
        what = "pyarrow" if write is _parquet else "zstandard"
        raise ImportError(f"writing {str(out)!r} needs {what}: pip install {what}") from None
    return write if not escape_formulas else lambda frame: write(escaped(frame))


def _csv(frame: Any) -> bytes:
    text = frame.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # which pandas does not quote by itself, and reads as the end of a line
        text = frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode()


def _packed(content: bytes, ending: str, name: str) -> bytes:
    if ending == ".zst":
        import zstandard

        return zstandard.compress(content)
    if ending == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # with no time of writing
        return buffer.getvalue()
    module = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[ending]
    return module.compress(content, **{"mtime": 0} if ending == ".gz" else {})


def _parquet(frame: Any) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def escaped(frame: Any) -> Any:
    """The table with ' before each text, also a column's name, that a spreadsheet would compute; numbers are none."""
    import pandas as pd

    def safe(column: Any) -> Any:
        if pd.api.types.is_numeric_dtype(column.dtype):
            return column
        text = column.astype("string")
        formula = text.str.startswith(FORMULAS).fillna(False) & pd.to_numeric(text, errors="coerce").isna()
        return column.astype("object").where(~formula, "'" + text)

    return frame.apply(safe).rename(columns=lambda name: f"'{name}" if name.startswith(FORMULAS) else name)


def to_stdout(content: bytes) -> None:
    """A table's content, as it is; to a terminal, each line as :func:`say` has it."""
    if sys.stdout.isatty():
        for line in content.decode().splitlines():
            say(line)
    else:
        click.echo(content, nl=False)
