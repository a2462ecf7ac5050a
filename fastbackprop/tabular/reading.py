"""Files and streams as frames of texts: compression, encoding, separator, header. What they mean is decided later."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import importlib
import io
import lzma
import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastbackprop.tabular.frames import as_frame, pandas
from fastbackprop.tabular.wording import listed, shown

PARQUET = (".parquet", ".pq")
COMPRESSED = {  # by the end of a name: the first bytes of such a file
    ".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00", ".zip": b"PK\x03\x04", ".zst": b"\x28\xb5\x2f\xfd",
}  # fmt: skip
SEPARATORS = "\t;|,"  # where the header has as many of two: the comma is the one that stands in names
MARKS = {  # with the longer one first: that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
WESTERN = "cp1252"  # Windows' Latin-1
SEP_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)  # for Excel, which shows no such line
QUOTED = re.compile('"[^"]*"')
HEADER = re.compile(f'(?:[^"\\r\\n]|{QUOTED.pattern})*')
BLANK = re.compile(r"[ \t]*(?:\r\n|\r|\n)")
AROUND = " \t\u00a0"  # what no value begins or ends with


def read(
    source: Any, *, separator: str | None = None, decimal: str | None = None, thousands: str | None = None,
    encoding: str | None = None,
) -> Any:  # fmt: skip
    r"""A table from a file or a stream: CSV with a header line, or Parquet (needs pyarrow).

    The source is read once, from its beginning to its end: a pipe will do. ``.gz``, ``.bz2``, ``.xz``, ``.zip``,
    ``.zst`` and ``.tar`` (also compressed) are unpacked; a stream is known by its first bytes. Of CSV every value is
    kept as text: which are numbers, dates or missing is decided later, from a whole column. Only an empty value is
    missing here. Blanks around names and values are no part of them; lines without anything are no rows, except in a
    table of one column, where they are missing values.

    Parameters
    ----------
    source : path, or file-like of bytes or text
        Parquet is known by its name (``.parquet``, ``.pq``), or in a stream by its first bytes.
    separator : str, optional
        One character. By default that of a line ``sep=;`` before the header, else the comma, semicolon, tab or bar that
        gives the header most names.
    decimal, thousands : str, optional
        The marks in numbers; "" for none between thousands. By default guessed for each column.
    encoding : str, optional
        By default that of a byte order mark, else UTF-8, else (said) Windows' Latin-1.

    Returns
    -------
    pandas.DataFrame
        ``attrs`` holds the marks and the separator for :func:`fastbackprop.tabular.spelling.parse`, and under
        "guesses" a list of lines that say what was guessed.

    Raises
    ------
    ImportError
        Where pandas, or pyarrow for Parquet, is not installed.
    OSError
        Where the file cannot be read.
    ValueError
        Where it is not a table.

    Examples
    --------
    >>> import io
    >>> read(io.BytesIO(b"name;price\nJos\xe9;1,5\n")).values.tolist()
    [['José', '1,5']]
    """
    pd = pandas()
    _check_marks(separator, decimal, thousands, encoding)
    name, guesses = _name(source), list[str]()
    content, suffix = _content(source)
    try:
        unpacked = _unpacked(content, suffix)
        if suffix in PARQUET or (len(unpacked) > 8 and unpacked[:4] == unpacked[-4:] == b"PAR1"):
            frame = _read_parquet(pd, unpacked)
        else:
            text = _decoded(unpacked, encoding, guesses.append)
            frame = _read_csv(pd, text, separator, guesses.append)
    except ImportError as error:
        needed = "zstandard" if "zst" in str(error) else "pyarrow"
        raise ImportError(f"reading {name!r} needs {needed}: pip install {needed}") from None
    except pd.errors.EmptyDataError:
        raise ValueError(f"cannot read {name!r}: the file is empty") from None
    except MemoryError:
        raise
    except Exception as error:  # pandas, pyarrow and each decompressor have errors of their own for damaged files
        raise ValueError(f"cannot read {name!r}: {' '.join(str(error).split())}") from None
    if not len(frame):
        raise ValueError(f"cannot read {name!r}: it must hold at least one row below the header, got none")
    frame = as_frame(frame)
    given = {"decimal": decimal, "thousands": thousands}
    frame.attrs |= {key: mark for key, mark in given.items() if mark is not None} | {"guesses": guesses}
    return frame


# ---------------------------------------------------------------------- bytes


def _check_marks(separator: str | None, decimal: str | None, thousands: str | None, encoding: str | None) -> None:
    if separator is not None and (not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n'):
        raise ValueError(f"separator must be one character, and no quote or line break, got {separator!r}")
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}")
    if thousands not in (None, "", ".", ",", " ", "'"):
        raise ValueError(f"thousands must be '', '.', ',', ' ' or \"'\", got {thousands!r}")
    if thousands and thousands == decimal:
        raise ValueError(f"decimal and thousands must differ, got {thousands!r} for both")
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except (LookupError, TypeError, ValueError):
            raise ValueError(f"encoding must be one that Python knows, such as latin-1, got {encoding!r}") from None


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return str(getattr(source, "name", type(source).__name__))


def _content(source: Any) -> tuple[bytes, str]:
    """All bytes of the source, and the end of its name, in small letters."""
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return file.read(), Path(source).suffix.lower()
    if not callable(getattr(source, "read", None)):
        raise TypeError(f"source must be a path, or a file that can be read, got {type(source).__name__}")
    content = source.read()
    if isinstance(content, str):
        content = codecs.BOM_UTF8 + content.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
    return content, ""


def _unpacked(content: bytes, suffix: str) -> bytes:
    kind = suffix if suffix in (*COMPRESSED, ".tar") else ""
    kind = kind or next((end for end, first in COMPRESSED.items() if content.startswith(first)), "")
    if kind == ".gz":
        content = gzip.decompress(content)
    elif kind == ".bz2":
        content = bz2.decompress(content)
    elif kind == ".xz":
        content = lzma.decompress(content)
    elif kind == ".zst":
        zstandard = importlib.import_module("zstandard")
        content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    elif kind == ".zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [entry for entry in archive.infolist() if not entry.is_dir()]
            return archive.read(_only(files, [entry.filename for entry in files]))
    if kind == ".tar" or content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = [entry for entry in tar.getmembers() if entry.isfile()]
            file = tar.extractfile(_only(members, [entry.name for entry in members]))
            return file.read() if file else b""
    return content


def _only(entries: list[Any], names: list[str]) -> Any:
    if len(entries) != 1:
        raise ValueError(f"an archive must hold one file, got {listed(names) or 'none'}")
    return entries[0]


def _decoded(content: bytes, encoding: str | None, guess: Callable[[str], None]) -> str:
    """The text, without a byte order mark."""
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    if encoding is None and marked is None and content[:2].count(0) == 1:
        marked = "utf-16-le" if content[1] == 0 else "utf-16-be"  # the mark was lost
        guess(f"the file is read as {marked}; --encoding overrules this")
    name = encoding or marked or "utf-8"
    try:
        text = content.decode(name)
    except UnicodeError as error:
        if encoding or marked:
            raise ValueError(f"it is not {name} text ({error})") from None
        text = content.decode(WESTERN, "replace")
        if "\ufffd" in text:
            raise ValueError("it must be text, UTF-8 or with --encoding another, and is neither") from None
        odd = next(word for word in re.split(r"[\s,;|]", text) if not word.isascii())
        guess(f"the file is not UTF-8: it is read as {WESTERN}, where '{shown(odd)}' stands; --encoding overrules this")
    if "\x00" in text:
        raise ValueError("it must be text, and holds null characters")
    return text.removeprefix("\ufeff")


def _read_parquet(pd: Any, content: bytes) -> Any:
    """The table; what pandas had as a category is one again, also where Parquet holds it as numbers."""
    frame = pd.read_parquet(io.BytesIO(content))
    frame.attrs = {}
    kept = importlib.import_module("pyarrow.parquet").read_schema(io.BytesIO(content)).pandas_metadata or {}
    for column in kept.get("columns", []):
        if column.get("pandas_type") == "categorical" and column.get("name") in frame:
            frame[column["name"]] = frame[column["name"]].astype("category")
    return frame


# ---------------------------------------------------------------------- text


def _read_csv(pd: Any, text: str, separator: str | None, guess: Callable[[str], None]) -> Any:
    lines, start = 0, 0  # that stand before the header
    if said := SEP_LINE.match(text):
        separator, lines, start = separator or said[1], 1, said.end()
    while blank := BLANK.match(text, start):
        lines, start = lines + 1, blank.end()
    if start == len(text) or not text[start:].strip():
        raise pd.errors.EmptyDataError
    separator = separator or _separator(text, start, guess)
    header = [name.strip() for name in _first_record(text, start, separator)]
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:  # pandas would rename the second
        raise ValueError(f"column names must differ, got {listed(twice)} more than once")
    if all(re.fullmatch(r"[+-]?\d*[.,]?\d+", name) for name in header):
        guess(f"the first line is read as the names of the columns, {listed(header, 3)}, and holds numbers only")
    try:
        frame = pd.read_csv(
            io.StringIO(text[start:], newline=""), sep=separator, dtype=object, skipinitialspace=True,
            low_memory=False, keep_default_na=False, na_values=[""], skip_blank_lines=len(header) > 1,
        )  # fmt: skip
    except pd.errors.ParserError as error:  # counts from the header on
        raise ValueError(re.sub(r"(?<=line )\d+", lambda n: str(int(n[0]) + lines), str(error))) from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"the rows hold more values than the header has names, {len(header)}")
    frame = frame.rename(columns=lambda name: name.strip(AROUND))
    if re.search(rf"[{AROUND}]", text):
        frame = frame.apply(_stripped)
    frame.attrs["separator"] = separator
    return frame


def _separator(text: str, start: int, guess: Callable[[str], None]) -> str:
    end = HEADER.match(text, start).end()  # type: ignore[union-attr]  # it matches nothing, too
    if text[end : end + 1] == '"':  # one that does not quote
        end = len(text)
    header = re.split(r"[\r\n]", QUOTED.sub("", text[start:end]), maxsplit=1)[0]
    best = max(SEPARATORS, key=header.count)
    if sum(separator in header for separator in SEPARATORS) > 1:
        guess(f"{best!r} is read as what stands between values; --separator overrules this")
    return best


def _first_record(text: str, start: int, separator: str) -> list[str]:
    lines = io.StringIO(text, newline="")
    lines.seek(start)
    return next(csv.reader(lines, delimiter=separator, skipinitialspace=True))


def _stripped(column: Any) -> Any:
    text = column.str.strip(AROUND)
    return text.mask(text == "")
