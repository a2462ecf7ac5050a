"""Columns of texts as numbers: marks between digits, signs beside them, words for a missing value, codes.

What a column's numbers look like is guessed from all its texts; pandas then reads them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from fastbackprop.tabular.as_pandas import columns, is_number, pandas, texts
from fastbackprop.tabular.signs import signs_in, without_sign
from fastbackprop.tabular.wording import at

# Small letters; what stands in a column of numbers in place of one that is not known. pandas' words are among them.
WORDS = r"""
#n/a|#n/a n/a|#na|-1.#ind|-1.#qnan|-nan|1.#ind|1.#qnan|<na>|n/a|n.a.|na|nan|nat|nil|none|null|(null)|\n|missing
.|..|...|-|--|---|–|—|?|??|*|#value!|#div/0!|#ref!|#num!|#name?|#null!
"""
MISSING = frozenset(word for line in WORDS.split("\n") for word in line.split("|")) - {""}
NEARLY = 0.9  # of a column's values: if so many are numbers, all were perhaps meant to be
EXACT = 1 << 53  # float64 holds every whole number up to it
FIRST = 100  # texts that are looked at before all
BLOCK = 1 << 20  # cells that are read at once
CODE = re.compile(r"^(?:0\d+|\d\d+[eE]\d+|\d{16,})$", re.MULTILINE | re.ASCII)  # 007, 12E5, 4012345678901234567
DIGITS = re.compile(r"\d+(?:[eE]\d+)?", re.ASCII)
MARKED = re.compile(r"[^\d\s+\-eE]|\d\s+\d", re.ASCII)
LIKE = {" ": " \u00a0\u2009\u202f", "'": "'’"}  # marks that are one to the reader


class Spelling(NamedTuple):
    """The marks in a number: before the decimals, between thousands, and a sign such as $ or % (none: empty)."""

    decimal: str = "."
    thousands: str = ""
    sign: str = ""

    def __str__(self) -> str:
        return f"1{self.thousands}234{self.decimal}5 means 1234.5"


PLAIN = Spelling()
SPELLINGS = tuple(Spelling(d, t) for t in ("", ",", ".", " ", "'") for d in ".," if d != t)


@dataclass(frozen=True)
class Parsed:
    """A column as numbers.

    Attributes
    ----------
    values : ndarray (N,)
        float64, NaN for what is missing or no number.
    bad : ndarray of int
        The rows that hold a text that is neither.
    words : tuple of str
        The texts that were read as missing, as they are written.
    spelling : Spelling
    text : ndarray (N,) of str or None
        What was read, None where these were numbers already.
    large : str
        One of whole numbers that float64 does not hold, where these were numbers already.
    """

    values: np.ndarray
    bad: np.ndarray
    words: tuple[str, ...] = ()
    spelling: Spelling = PLAIN
    text: np.ndarray | None = None
    large: str = ""

    @cached_property
    def code(self) -> str:
        """A number that looks like a code, where all are whole numbers without signs; else empty."""
        if self.text is None:
            return self.large
        if len(self.bad) or self.spelling != PLAIN:
            return ""
        known = self.text[~np.isnan(self.values)]
        codes = CODE.findall("\n".join(known))
        code = next((c for c in codes if len(c) < 16 or not c.isdigit() or int(c) > EXACT), "")
        return code if code and all(map(DIGITS.fullmatch, known)) else ""

    @property
    def numbers(self) -> bool:
        """Whether all values are numbers, and not codes; words alone, such as None and NA, are none."""
        only_words = bool(self.words) and bool(np.isnan(self.values).all())
        return not len(self.bad) and not only_words and not self.code

    def require(self, column: Any) -> np.ndarray:
        """``values``, or ValueError with the first text that is no number."""
        if len(self.bad):
            raise ValueError(f"column {column.name!r} must hold numbers, got {at(column, int(self.bad[0]))}")
        return self.values


def parse(
    table: Mapping[str, Any], *, words: Collection[str] = MISSING, saved: Mapping[str, Spelling] | None = None,
    file: Mapping[str, str] | None = None,
) -> dict[str, Parsed]:  # fmt: skip
    """Columns as numbers.

    One currency or percent sign may stand beside some or all of a column's numbers: 45 % is 45.
    Where the texts of a column can mean two numbers (1,234), others decide: the marks of the file, if they are given,
    ``saved``, columns that have one meaning only, and at last the file's separator: between semicolons the comma is a
    decimal one.

    Parameters
    ----------
    table : mapping of str to pandas.Series
    words : collection of str
        Small letters: what is missing, besides empty values.
    saved : mapping of str to Spelling, optional
        How columns of these names were read before.
    file : mapping of str to str, optional
        What is known of their file, as :func:`fastbackprop.tabular.reading.read` has it: decimal, thousands, separator.

    Examples
    --------
    >>> import pandas as pd
    >>> price, part = pd.Series(["1.234,50", "12", "."]), pd.Series(["12E5", "20E4", "7E3"])
    >>> found = parse({"price": price, "part": part})
    >>> found["price"].values, found["price"].words, str(found["price"].spelling), found["part"].code
    (array([1234.5,  12. ,    nan]), ('.',), '1.234,5 means 1234.5', '12E5')
    """
    file = file or {}
    allowed = _allowed(file.get("decimal"), file.get("thousands"))
    found = {name: _of_dtype(column) for name, column in table.items() if is_number(column)}
    cells = {name: texts(column) for name, column in table.items() if name not in found}
    names = list(cells)
    width = max(1, BLOCK // max(1, max(map(len, cells.values()), default=0)))
    for start in range(0, len(names), width):
        found |= _plain(cells, names[start : start + width], words)
    signs = {name: sign for name in names if (sign := _sign(cells[name][found[name].bad]))}
    bare = {name: _without(cells[name], sign) for name, sign in signs.items()}
    for name, text in bare.items():
        found |= _plain({name: text}, [name], words)
    for name, spelling in _spellings(found, cells | bare, allowed, saved or {}, file.get("separator")).items():
        found[name] = _spelled((cells | bare)[name], spelling, words)
    for name, sign in signs.items():
        spelling = PLAIN if len(found[name].bad) else found[name].spelling._replace(sign=sign)
        found[name] = replace(found[name], spelling=spelling, text=cells[name])
    return found


def respelled(text: np.ndarray, spelling: Spelling) -> np.ndarray:
    """Texts that are numbers in ``spelling`` with decimal points, without other marks and signs; others as they are.

    Examples
    --------
    >>> respelled(np.array(["1 234,5", "x", None], object), Spelling(",", " ")).tolist()
    ['1234.5', 'x', None]
    >>> respelled(np.array(["45 %", "-7,5 %", "%"], object), Spelling(",", "", "%")).tolist()
    ['45', '-7.5', '%']
    """
    drop = str.maketrans("", "", LIKE.get(spelling.thousands, spelling.thousands))

    def plain(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        number = without_sign(value, spelling.sign) if spelling.sign else value
        if not _pattern(spelling).fullmatch(number):
            return value
        return number.translate(drop).replace(spelling.decimal, ".").replace("−", "-")

    return np.array([plain(value) for value in text], object)


def nearly_numbers(frame: Any, names: Sequence[str]) -> dict[str, str]:
    """Columns of texts nearly all of which are numbers, and in words how many are and the first text that is none.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": ["31", "unknown", *map(str, range(18))], "sex": ["f", "m"] * 10})
    >>> nearly_numbers(frame, ["age", "sex"])
    {'age': "19 of 20 values are numbers, not 'unknown' in row 2"}
    """
    said, wanted = {}, columns(frame[list(names)])
    for name, column in parse(wanted, file=frame.attrs).items():
        numbers = int((~np.isnan(column.values)).sum())
        if len(column.bad) and numbers >= NEARLY * (numbers + len(column.bad)):
            first = at(wanted[name], int(column.bad[0]))
            said[name] = f"{numbers} of {numbers + len(column.bad)} values are numbers, not {first}"
    return said


# ---------------------------------------------------------------------- one column


def _of_dtype(column: Any) -> Parsed:
    values = column.to_numpy(np.float64, na_value=np.nan)
    exact = column.dtype.kind not in "iu"
    large = [] if exact else np.flatnonzero(np.abs(values) > EXACT).tolist()
    return Parsed(values, np.zeros(0, np.int64), large=str(column.iloc[large[0]]) if large else "")


def _plain(cells: Mapping[str, np.ndarray], names: Sequence[str], words: Collection[str]) -> dict[str, Parsed]:
    """Columns with decimal points only, all in one call: a table may have thousands."""
    if not names:
        return {}
    pd = pandas()
    table = np.stack([cells[name] for name in names])
    values = np.asarray(pd.to_numeric(table.ravel(), errors="coerce"), np.float64).reshape(table.shape)
    others = np.isnan(values) & ~pd.isna(table)
    odd = others.any(axis=1)
    return {name: _parsed(cells[name], values[k], others[k] if odd[k] else None, words) for k, name in enumerate(names)}


def _spelled(text: np.ndarray, spelling: Spelling, words: Collection[str]) -> Parsed:
    pd, plain = pandas(), respelled(text, spelling)
    values = np.asarray(pd.to_numeric(plain, errors="coerce"), np.float64)
    found = _parsed(text, values, np.isnan(values) & ~pd.isna(text), words)
    return replace(found, spelling=spelling)


def _parsed(text: np.ndarray, values: np.ndarray, others: np.ndarray | None, words: Collection[str]) -> Parsed:
    """``others`` says where a text is no number, None where all are."""
    bad: np.ndarray = np.zeros(0, np.int64)
    missing: tuple[str, ...] = ()
    if others is not None and others.any():
        rows = np.flatnonzero(others)
        is_word = np.array([value.strip().casefold() in words for value in text[rows]], bool)
        bad, missing = rows[~is_word], tuple(dict.fromkeys(text[rows[is_word]]))
    return Parsed(values, bad, missing, text=text)


def _sign(others: np.ndarray) -> str:
    """The one sign in the texts of a column that are no numbers; empty where the first with one are none without it."""
    signs = signs_in(others)
    if len(signs) != 1:
        return ""
    first = [text for text in others[:FIRST] if signs[0] in text]
    return signs[0] if not first or any(without_sign(text, signs[0]) != text for text in first) else ""


def _without(text: np.ndarray, sign: str) -> np.ndarray:
    return np.array([without_sign(value, sign) if isinstance(value, str) else value for value in text], object)


# ---------------------------------------------------------------------- the marks


def _allowed(decimal: str | None, thousands: str | None) -> tuple[Spelling, ...]:
    """The spellings that the marks given for a file leave."""
    if decimal is None and thousands is None:
        return SPELLINGS
    if decimal is None:
        decimal = "," if thousands == "." else "."
    if thousands is not None:
        return (Spelling(decimal, thousands),)
    return tuple(s for s in SPELLINGS if s.decimal == decimal)


@cache
def _pattern(spelling: Spelling) -> re.Pattern[str]:
    whole = r"[0-9]+"
    if spelling.thousands:
        mark = f"[{re.escape(LIKE.get(spelling.thousands, spelling.thousands))}]"
        # Two digits between marks, as in 12,34,567, are lakhs; the same mark all through.
        whole = (
            rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:(?P<mark>{mark})[0-9]{{2,3}}(?:(?P=mark)[0-9]{{2,3}})*(?<=[0-9]{{3}})))"
        )
    decimal = re.escape(spelling.decimal)
    return re.compile(rf"\s*[+\-−]?(?:{whole}(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")


def _spellings(
    found: Mapping[str, Parsed], cells: Mapping[str, np.ndarray], allowed: Sequence[Spelling],
    saved: Mapping[str, Spelling], separator: str | None,
) -> dict[str, Spelling]:  # fmt: skip
    """How the columns are spelled that are not read as they stand."""
    possible = {name: _possible(cells[name], found[name], allowed) for name in cells if len(found[name].bad)}
    possible = {name: ways for name, ways in possible.items() if ways}
    if allowed is not SPELLINGS or any({way.decimal for way in ways} == {","} for ways in possible.values()):
        # Points may then stand between thousands.
        for name in cells:
            if not len(found[name].bad) and (ways := _possible(cells[name], found[name], allowed)):
                possible[name] = ways
    sure = {ways[0].decimal for ways in possible.values() if len({way.decimal for way in ways}) == 1}
    chosen = {}
    for name, ways in possible.items():
        order = [".", ","]
        if separator == ";" and len(found[name].bad):
            order = [",", "."]
        if len(sure) == 1:
            order = [*sure, *order]
        if name in saved:
            order = [saved[name].decimal, *order]
        best = min(ways, key=lambda way: order.index(way.decimal))
        if best != PLAIN or len(found[name].bad):
            chosen[name] = best
    return chosen


def _possible(text: np.ndarray, parsed: Parsed, allowed: Sequence[Spelling]) -> list[Spelling]:
    """The spellings in which all texts but the missing ones are numbers; none where no mark stands in them."""
    words = set(parsed.words)
    known = [value for value in text if isinstance(value, str) and value not in words]
    marked = [value for value in known if MARKED.search(value)]
    return [way for way in allowed if all(map(_pattern(way).fullmatch, known))] if marked else []
