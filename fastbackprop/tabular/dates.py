"""Columns of dates: the time that has passed, and the place in the year, the week and the day."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fastbackprop.tabular.as_pandas import pandas, texts
from fastbackprop.tabular.columns import check_moments, check_name
from fastbackprop.tabular.spelling import MISSING, NEARLY
from fastbackprop.tabular.wording import at, shown

ISO = "ISO8601"  # as pandas calls 2024-01-31, 2024-01-31 12:00 and the like
ISO_START = re.compile(r"\d{4}-\d\d")
CYCLES = ("year", "week", "day")
SHORT_YEAR = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d\d")  # which pandas does not guess
SAMPLE = 50  # texts from which the format is guessed
MOST_FORMATS = 4  # of a column
LIKE_DATE = re.compile(r"(?=\D*\d+\D+\d).{6,40}")  # two numbers with something between them
LONGEST = 40  # characters of a date
DAY = 86_400_000_000  # microseconds
YEAR = 365.2425
FARTHEST = 1e8  # days that 64 bits hold in microseconds
Order = Literal["", "day", "month"]  # which comes first, where the other might; empty where that is sure


@dataclass(frozen=True)
class Date:
    """A column of dates: the days since 1970 like a :class:`Number`, then sine and cosine of the place in each cycle.

    Attributes
    ----------
    name : str
    format : str
        Of texts, as ``strftime`` has it, or "ISO8601".
    fill, mean, scale : float
        Of the days; a missing date has ``fill``, and zeros for the cycles.
    cycles : tuple of str
        Those of "year", "week" and "day" that the dates go through.
    more : tuple of str
        Further formats of texts, for those that are not of the first.
    """

    name: str
    format: str
    fill: float
    mean: float
    scale: float
    cycles: tuple[str, ...] = ()
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        check_moments(self.fill, self.mean, self.scale)
        if max(abs(self.fill), abs(self.mean)) > FARTHEST:
            raise ValueError(f"fill and mean must be days within {FARTHEST:.0e} of 1970")
        if not isinstance(self.cycles, tuple) or not isinstance(self.more, tuple):
            raise TypeError("a date's cycles and further formats must be lists")
        if not all(isinstance(form, str) for form in self.formats):
            raise TypeError("a date's formats must be texts")
        if not set(self.cycles) <= set(CYCLES) or len(set(self.cycles)) < len(self.cycles):
            raise ValueError(f"cycles must be different ones of {', '.join(CYCLES)}, got {self.cycles!r}")

    def __str__(self) -> str:
        mean = np.datetime64(int(self.mean * DAY), "us").astype("M8[D]")
        cycles = "".join(f", time of {cycle}" for cycle in self.cycles)
        formats = ", ".join(map(shown, self.formats))
        return f"{shown(self.name)}: date ({formats}), mean {mean}, scale {self.scale:.4g} days{cycles}"

    @property
    def formats(self) -> tuple[str, ...]:
        """All formats, in the order in which they are tried."""
        return (self.format, *self.more)

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return 1 + 2 * len(self.cycles)

    def encode(self, column: Any) -> np.ndarray:
        """A pandas column as an (N, width) array.

        Raises
        ------
        ValueError
            Where a value is no date, or not one of the format.
        """
        return self.encode_days(self.days(column))

    def encode_days(self, days: np.ndarray) -> np.ndarray:
        """Days since 1970, (N,) with NaN for missing ones, as an (N, width) array."""
        known = np.isfinite(days)
        parts = [(np.where(known, days, self.fill) - self.mean) / self.scale]
        for cycle in self.cycles:
            angle = 2 * np.pi * np.where(known, phase(days, cycle), 0)
            parts += [np.where(known, np.sin(angle), 0), np.where(known, np.cos(angle), 0)]
        return np.stack(parts, axis=1)

    def irregular(self, column: Any) -> str:
        """How many dates are missing and what they are read as; empty if none is."""
        missing = int(np.isnan(self.days(column)).sum())
        middle = np.datetime64(int(self.fill * DAY), "us").astype("M8[D]")
        return f"{missing} missing, read as {middle}" if missing else ""

    def days(self, column: Any) -> np.ndarray:
        """Days since 1970, (N,) float64, NaN for what is missing."""
        return self.read(column)[0]

    def read(self, column: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        """The days, and the formats of the texts: its own, or ISO 8601, as Parquet's dates become texts."""
        days, bad = read_days(column, self.formats)
        if not len(bad):
            return days, self.formats
        days, others = read_days(column, ISO)
        if not len(others):
            return days, (ISO,)
        what = f"dates such as {examples(self.formats)}"
        raise ValueError(f"column {self.name!r} must hold {what}, got {at(column, int(bad[0]))}")


def read_days(
    column: Any, formats: str | Sequence[str], words: Collection[str] = MISSING
) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970, in UTC, with NaN for what is missing or no date, and the rows that are no date.

    A text is read by the first of the formats that it fits.

    Examples
    --------
    >>> import pandas as pd
    >>> read_days(pd.Series(["02.01.1970 06:00", None, "soon"]), "%d.%m.%Y %H:%M")
    (array([1.25,  nan,  nan]), array([2]))
    >>> read_days(pd.Series(["02.01.1970", "1970-01-03"]), ["%d.%m.%Y", "ISO8601"])[0]
    array([1., 2.])
    """
    pd = pandas()
    if is_date(column):
        return _days(pd.to_datetime(column, utc=True)), np.zeros(0, np.int64)
    text = texts(column)
    days, known = np.full(len(text), np.nan), ~pd.isna(text)
    for form in (formats,) if isinstance(formats, str) else formats:
        rows = np.flatnonzero(known & np.isnan(days))
        if len(rows):
            values = pd.Series(text[rows], dtype=object)
            days[rows] = _days(pd.to_datetime(values, format=form, errors="coerce", utc=True))
    rows = np.flatnonzero(known & np.isnan(days))
    return days, rows[[value.strip().casefold() not in words for value in text[rows]]] if len(rows) else rows


def _days(times: Any) -> np.ndarray:
    """Days of times in UTC, a pandas.Series."""
    micro = times.dt.tz_localize(None).to_numpy("datetime64[us]")
    return np.where(np.isnat(micro), np.nan, micro.astype(np.int64) / DAY)


def recognised(
    column: Any, words: Collection[str] = MISSING, formats: Sequence[str] = ()
) -> tuple[tuple[str, ...], Order] | None:
    """The formats in which all texts of a column are dates, and whether they have another order; None where none are.

    One format where one fits all. Else one for each way of writing (with points, with bars, ...), of which a column has
    at most `MOST_FORMATS`. Dates of one way of writing have one order of day and month.

    Parameters
    ----------
    column : pandas.Series
    words : collection of str
        Small letters: what is missing.
    formats : sequence of str
        The only ones that are tried besides ISO 8601, for each text in this order. Guessed where there are none.

    Examples
    --------
    >>> import pandas as pd
    >>> recognised(pd.Series(["3/1/2024", "25/1/2024"])), recognised(pd.Series(["3/1/2024"]))
    ((('%d/%m/%Y',), ''), (('%m/%d/%Y',), 'month'))
    >>> recognised(pd.Series(["2024-01-31", "2024-01-31 12:00"])), recognised(pd.Series(["May", "June"]))
    ((('ISO8601',), ''), None)
    >>> recognised(pd.Series(["31.1.2024", "2024-02-01"]))
    (('%d.%m.%Y', 'ISO8601'), '')
    """
    if is_date(column):
        return (ISO,), ""
    known = _known(column, words)
    if not known or not all(len(t) <= LONGEST and any(map(str.isdigit, t)) for t in known):
        return None
    if formats:
        used = _used(known, list(dict.fromkeys([*[ISO] * bool(ISO_START.match(known[0])), *formats, ISO])))
        return None if used is None else (used, "")
    if one := _fitting(known):
        return (one[0],), _unsure(one)
    parts: dict[str, list[str]] = {}
    for text in known:
        if (way := _way_of_writing(text)) not in parts:
            if len(parts) == MOST_FORMATS or not (ISO_START.match(text) or _guesses([text])):
                return None
            parts[way] = []
        parts[way].append(text)
    ways = [_fitting(part) for part in parts.values()]
    if not all(ways):
        return None
    # Where one way of writing has the day first for sure, so have perhaps the others.
    sure = {order_of(way[0]) for way in ways if not _unsure(way)} - {""}
    chosen = [next((form for form in way if {order_of(form)} == sure), way[0]) for way in ways]
    unsure = [order_of(form) for form, way in zip(chosen, ways) if _unsure(way)]
    return tuple(dict.fromkeys(chosen)), unsure[0] if unsure else ""


def nearly_dates(column: Any, words: Collection[str] = MISSING, formats: Sequence[str] = ()) -> tuple[str, str]:
    """Why a column of texts, of which nearly all look like dates, is none of dates, in words; empty for others.

    The second text is the option that makes it one of dates.

    Examples
    --------
    >>> import pandas as pd
    >>> nearly_dates(pd.Series(["25/12/2024", "12/25/2024", "1/2/2024"]))
    ("no one order of day and month fits '25/12/2024' in row 1 and '12/25/2024' in row 2", '--date-format')
    >>> nearly_dates(pd.Series(["2024-01-01"] * 19 + ["soon"]))
    ("19 of 20 values are dates, not 'soon' in row 20", '--missing')
    """
    known = texts(column)[column.notna().to_numpy(bool)]
    alike = [text for text in known[:SAMPLE] if LIKE_DATE.fullmatch(text)]
    if len(alike) < NEARLY * len(known[:SAMPLE]):
        return "", ""
    guessed = [ISO] * any(map(ISO_START.match, alike)) + _guesses(alike)
    _, bad = read_days(column, guessed, words)
    count = sum(text.strip().casefold() not in words for text in known)
    if not guessed or count - len(bad) < NEARLY * count:
        return "", ""
    if len(bad):
        return f"{count - len(bad)} of {count} values are dates, not {at(column, int(bad[0]))}", "--missing"
    if formats and len(bad := read_days(column, formats, words)[1]):
        return f"{at(column, int(bad[0]))} is no date such as {examples(formats)}", "--date-format"
    not_day, not_month = (
        read_days(column, [form for form in guessed if order_of(form) in ("", order)], words)[1]
        for order in ("day", "month")
    )
    if len(not_day) and len(not_month):
        first, second = (at(column, int(rows[0])) for rows in (not_month, not_day))
        return f"no one order of day and month fits {first} and {second}", "--date-format"
    return f"these are dates written in more than {MOST_FORMATS} ways", "--date-format"


def phase(days: np.ndarray, cycle: str) -> np.ndarray:
    """The part of a year, a week (from Monday on) or a day that has passed, 0 to 1, NaN for NaN."""
    if cycle == "day":
        return days % 1
    whole = np.floor(days)
    if cycle == "week":
        return (whole + 3) % 7 / 7  # 1970 began on a Thursday
    known = np.isfinite(days)
    dates = np.where(known, whole, 0).astype(np.int64).astype("M8[D]")
    passed = (dates - dates.astype("M8[Y]")).astype(np.float64)
    return np.where(known, passed / YEAR, np.nan)


def cycles_of(days: np.ndarray) -> tuple[str, ...]:
    """The cycles in which dates differ; of the year only where they are more than a month apart.

    Examples
    --------
    >>> cycles_of(np.array([0.0, 400.0])), cycles_of(np.array([0.5, 7.25]))
    (('year', 'week'), ('day',))
    """
    known = days[np.isfinite(days)]
    long = len(known) > 0 and np.ptp(known) > 31
    return tuple(cycle for cycle in CYCLES if len(np.unique(phase(known, cycle))) > 1 and (long or cycle != "year"))


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Raise ValueError where one is no format of dates."""
    for form in formats:
        if not isinstance(form, str) or (form != ISO and not re.search("%[a-zA-Z]", form)):
            raise ValueError(f"date_format must be as strftime has it, such as %d/%m/%Y, or {ISO}, got {form!r}")
    return tuple(formats)


def examples(formats: Sequence[str]) -> str:
    """The same date in each format."""
    moment = pandas().Timestamp(2024, 1, 31, 18, 30)
    dates = ["2024-01-31" if form == ISO else shown(moment.strftime(form)) for form in formats]
    return f"{', '.join(dates[:-1])} and {dates[-1]}" if len(dates) > 1 else dates[0]


def order_of(form: str) -> Order:
    """Which of day and month comes first in a format in which they might be exchanged; empty for others."""
    day, month = form.find("%d"), form.find("%m")
    if form == ISO or form.startswith("%Y") or min(day, month) < 0:
        return ""
    return "day" if day < month else "month"


def is_date(column: Any) -> bool:
    """Whether pandas holds the column as dates, as a dtype or one by one."""
    pd = pandas()
    if column.dtype == object:
        return bool(pd.api.types.infer_dtype(column, skipna=True) in ("date", "datetime", "datetime64"))
    return bool(pd.api.types.is_datetime64_any_dtype(column.dtype)) or str(column.dtype).startswith("date")


def _known(column: Any, words: Collection[str]) -> list[str]:
    """The different texts of a column that are not missing."""
    pd, text = pandas(), texts(column)
    return [t.strip() for t in pd.unique(text[~pd.isna(text)]) if t.strip().casefold() not in words]


def _fitting(known: list[str]) -> list[str]:
    """The formats of which each is that of all texts."""
    values = pandas().Series(known, dtype=object)
    forms = [ISO] * bool(ISO_START.match(known[0])) + _guesses(known[:SAMPLE])
    return [form for form in forms if not len(read_days(values, form, ())[1])]


def _used(known: list[str], formats: Sequence[str]) -> tuple[str, ...] | None:
    """Those of the formats that a text is read by; None where one is read by none."""
    used = []
    for form in formats:
        _, bad = read_days(pandas().Series(known, dtype=object), form, ())
        used += [form] * (len(bad) < len(known))
        known = [known[row] for row in bad]
        if not known:
            return tuple(used)
    return None


def _unsure(formats: list[str]) -> Order:
    """The order of the first format, where another one has the other order."""
    first = order_of(formats[0])
    return first if first and any(order_of(form) not in ("", first) for form in formats) else ""


def _way_of_writing(text: str) -> str:
    digits = re.sub(r"\d+", lambda run: "0" if len(run[0]) <= 2 else "0000", text)
    return re.sub(r"[^\W\d_]+", "a", digits)


def _guesses(known: list[str]) -> list[str]:
    """Formats with a day, a month and a year, or a month and a year, of any of the texts."""
    from pandas.tseries.api import guess_datetime_format

    forms = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a day comes first
        for text in known:
            if short := SHORT_YEAR.fullmatch(text):
                orders = ("%d{0}%m{0}%y", "%m{0}%d{0}%y") if short[1] == "." else ("%m{0}%d{0}%y", "%d{0}%m{0}%y")
                forms += [order.format(short[1]) for order in orders]
                continue
            day_first = "." in text
            forms += [guess_datetime_format(text, dayfirst=first) for first in (day_first, not day_first)]
            if not any(forms):  # the first is no date
                return []
    usable = [form for form in forms if form and "%Y" in form.upper() and re.search("%[mbB]", form)]
    return [form for form in dict.fromkeys(usable) if not re.search("%Y.%d", form)]
