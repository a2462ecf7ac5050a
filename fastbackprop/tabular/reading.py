"""Files and streams as frames of texts: compression, encoding, separator, header. What they mean is decided later."""

from __future__ import annotations

import bz2
import codecs
import contextlib
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastbackprop import checks
from fastbackprop.tabular.as_pandas import as_frame, pandas
from fastbackprop.tabular.wording import listed, shown

PARQUET = (".parquet", ".pq")
OTHERS = (  # by the end of a name: tables that are not read
    ".arrow", ".feather", ".h5", ".hdf5", ".json", ".jsonl", ".ndjson", ".npy", ".npz", ".ods", ".orc", ".pickle",
    ".pkl", ".sqlite", ".xls", ".xlsb", ".xlsm", ".xlsx",
)  # fmt: skip
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
LETTER = re.compile(r"[^\W\d_]")
NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
BLANK = re.compile(r"[ \t]*(?:\r\n|\r|\n)")
AROUND = " \t\u00a0"  # what no value begins or ends with


def read(
    source: Any, *, separator: str | None = None, decimal: str | None = None, thousands: str | None = None,
    encoding: str | None = None, header: bool = True,
) -> Any:  # fmt: skip
    r"""A table from a file or a stream: CSV, with a header line unless that is denied, or Parquet (needs pyarrow).

    The source is read once, from its beginning to its end: a pipe will do. ``.gz``, ``.bz2``, ``.xz``, ``.zip``,
    ``.zst`` and ``.tar`` (also compressed) are unpacked; a stream is known by its first bytes. Of CSV every value is
    kept as text: which are numbers, dates or missing is decided later, from a whole column. Only an empty value is
    missing here. Blanks around names and values are no part of them; lines without anything are no rows, except in a
    table of one column, where they are missing values. A row that ends before the last column, which is said, lacks the
    other values; one with more values than there are columns is an error.

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
    header : bool
        Whether the first line holds the names of the columns. Without, they are column_1, column_2, ...

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
        Where it is not a table, or an option for CSV is given for Parquet.

    Examples
    --------
    >>> import io
    >>> read(io.BytesIO(b"name;price\nJos\xe9;1,5\n")).values.tolist()
    [['José', '1,5']]
    """
    pd = pandas()
    _check_marks(separator, decimal, thousands, encoding)
    checks.boolean(header, "header")
    name, guesses = _name(source), list[str]()
    content, suffix = _content(source)
    if suffix in OTHERS:
        raise ValueError(
            f"cannot read {name!r}: {suffix} is not a kind of table that is read, save it as CSV or Parquet"
        )
    try:
        unpacked = _unpacked(content, suffix)
        if suffix in PARQUET or (len(unpacked) > 8 and unpacked[:4] == unpacked[-4:] == b"PAR1"):
            given = {"--separator": separator, "--encoding": encoding, "--no-header": None if header else False}
            if for_csv := [option for option, value in given.items() if value is not None]:
                raise ValueError(f"{for_csv[0]} goes with CSV, and this is Parquet")
            frame = _read_parquet(pd, unpacked)
        else:
            text = _decoded(unpacked, encoding, guesses.append)
            frame = _read_csv(pd, text, separator, header, guesses.append)
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
    marks = {"decimal": decimal, "thousands": thousands}
    frame.attrs |= {key: mark for key, mark in marks.items() if mark is not None} | {"guesses": guesses}
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


def _read_csv(pd: Any, text: str, separator: str | None, header: bool, guess: Callable[[str], None]) -> Any:
    lines, start = 1, 0  # the first one that is read
    if said := SEP_LINE.match(text):
        separator, lines, start = separator or said[1], 2, said.end()
    while blank := BLANK.match(text, start):
        lines, start = lines + 1, blank.end()
    if start == len(text) or not text[start:].strip():
        raise pd.errors.EmptyDataError
    separator = separator or _separator(text, start, guess)
    table = _Lines(text[start:], lines, separator)
    first = [name.strip(AROUND) for name in next(table.records(), (0, []))[1]]
    if not first:
        raise ValueError("its first line is no line of a table")
    names = first if header else [f"column_{k}" for k in range(1, len(first) + 1)]
    if header:
        _check_names(first, guess)
    try:
        frame = pd.read_csv(
            io.StringIO(table.text, newline=""), sep=separator, dtype=object, skipinitialspace=True,
            low_memory=False, keep_default_na=False, na_values=[""], skip_blank_lines=len(names) > 1,
            **({} if header else {"header": None, "names": names}),
        )  # fmt: skip
    except pd.errors.ParserError as error:
        raise ValueError(table.unlike(len(names)) or str(error).rpartition("C error: ")[2]) from None
    if not isinstance(frame.index, pd.RangeIndex):  # of the values that are too many in every row
        raise ValueError(table.unlike(len(names)) or f"the rows hold more than {len(names)} values")
    if len(names) > 1 and frame.iloc[:, -1].isna().any() and (short := table.short(len(names))):
        these, their = ("a row ends", "its") if len(short) == 1 else (f"{len(short)} rows end", "their")
        first_one = f"line {short[0]}" if len(short) == 1 else f"the first in line {short[0]}"
        guess(f"{these} before the last column, {first_one}; {their} other values are missing")
    frame = frame.rename(columns=lambda name: name.strip(AROUND))
    if re.search(rf"[{AROUND}]", text):
        frame = frame.apply(_stripped)
    frame.attrs["separator"] = separator
    return frame


def _check_names(names: list[str], guess: Callable[[str], None]) -> None:
    """Names of columns differ, and are no values of a first row."""
    numbers = [name for name in names if NUMBER.fullmatch(name)]
    values = [name for name in names if name in numbers or (re.search(r"\d", name) and not LETTER.search(name))]
    like_values = 2 * len(values) >= len(names) and not all(map(str.isdigit, values))
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:  # pandas would rename the second
        hint = "; where the first line holds values, --no-header says so" if values else ""
        raise ValueError(f"column names must differ, got {listed(twice)} more than once{hint}")
    if like_values or len(numbers) == len(names):
        why = "holds numbers only" if len(numbers) == len(names) else "looks like values"
        named = f"the first line is read as the names of the columns, {listed(names, 3)}"
        guess(f"{named}, and {why}; --no-header overrules this")


class _Lines:
    """The lines of a table as Python's csv module sees them, to say where something is that pandas cannot read."""

    def __init__(self, text: str, first: int, separator: str) -> None:
        self.text, self.first, self.separator = text, first, separator

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record, and the number of the line in which it begins; they end before a value beyond csv's limit."""
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.separator, skipinitialspace=True)
        begin = 0
        with contextlib.suppress(csv.Error):
            for record in reader:
                yield self.first + begin, record
                begin = reader.line_num

    def unlike(self, width: int) -> str:
        """In words, the first record that holds more values than there are columns, or does not end; else empty."""
        last, values = 0, list[str]()
        for line, record in self.records():
            if len(record) > width:
                between = "a tab" if self.separator == "\t" else f"{self.separator!r}"
                return (
                    f"line {line} holds {len(record)} values, and line {self.first} has {width}, with {between} "
                    "between values; --separator overrules this"
                )
            last, values = line, record
        if any(re.search("[\r\n]", value) for value in values):
            return f'line {last} holds a quotation mark (") that is not closed'
        return ""

    def short(self, width: int) -> list[int]:
        """The lines of the records that end before the last column."""
        return [line for line, record in self.records() if len(record) < width and any(map(str.strip, record))]


def _separator(text: str, start: int, guess: Callable[[str], None]) -> str:
    end = HEADER.match(text, start).end()  # type: ignore[union-attr]  # it matches nothing, too
    if text[end : end + 1] == '"':  # one that does not quote
        end = len(text)
    header = re.split(r"[\r\n]", QUOTED.sub("", text[start:end]), maxsplit=1)[0]
    best = max(SEPARATORS, key=header.count)
    if sum(separator in header for separator in SEPARATORS) > 1:
        guess(f"{best!r} is read as what stands between values; --separator overrules this")
    return best


def _stripped(column: Any) -> Any:
    text = column.str.strip(AROUND)
    return text.mask(text == "")
