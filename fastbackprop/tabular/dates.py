"""Columns of dates: the time that has passed, and the place in the year, the week and the day."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbackprop.tabular.columns import check_moments, check_name
from fastbackprop.tabular.frames import pandas, texts
from fastbackprop.tabular.spelling import MISSING
from fastbackprop.tabular.wording import at, shown

ISO = "ISO8601"  # as pandas calls 2024-01-31, 2024-01-31 12:00 and the like
CYCLES = ("year", "week", "day")
SHORT_YEAR = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d\d")  # which pandas does not guess
SAMPLE = 50  # texts from which the format is guessed
LONGEST = 40  # characters of a date
DAY = 86_400_000_000  # microseconds
YEAR = 365.2425
FARTHEST = 1e8  # days that 64 bits hold in microseconds


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
    """

    name: str
    format: str
    fill: float
    mean: float
    scale: float
    cycles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        check_moments(self.fill, self.mean, self.scale)
        if max(abs(self.fill), abs(self.mean)) > FARTHEST:
            raise ValueError(f"fill and mean must be days within {FARTHEST:.0e} of 1970")
        if not isinstance(self.format, str) or not isinstance(self.cycles, tuple):
            raise TypeError("a date's format must be text and its cycles a list")
        if not set(self.cycles) <= set(CYCLES) or len(set(self.cycles)) < len(self.cycles):
            raise ValueError(f"cycles must be different ones of {', '.join(CYCLES)}, got {self.cycles!r}")

    def __str__(self) -> str:
        mean = np.datetime64(int(self.mean * DAY), "us").astype("M8[D]")
        cycles = "".join(f", time of {cycle}" for cycle in self.cycles)
        return f"{shown(self.name)}: date ({shown(self.format)}), mean {mean}, scale {self.scale:.4g} days{cycles}"

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
        days = self.days(column)
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
        days, bad = read_days(column, self.format)
        if len(bad):
            days, bad = read_days(column, ISO)  # as Parquet's dates become texts
        if len(bad):
            _, bad = read_days(column, self.format)
            what = f"dates such as {example(self.format)}"
            raise ValueError(f"column {self.name!r} must hold {what}, got {at(column, int(bad[0]))}")
        return days


def read_days(column: Any, form: str, words: Collection[str] = MISSING) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970, in UTC, with NaN for what is missing or no date, and the rows that are no date.

    Examples
    --------
    >>> import pandas as pd
    >>> read_days(pd.Series(["02.01.1970 06:00", None, "soon"]), "%d.%m.%Y %H:%M")
    (array([1.25,  nan,  nan]), array([2]))
    """
    pd = pandas()
    if is_date(column):
        times, text = pd.to_datetime(column, utc=True), None
    else:
        text = texts(column)
        times = pd.Series(pd.to_datetime(pd.Series(text, dtype=object), format=form, errors="coerce", utc=True))
    absent = times.isna().to_numpy()
    micro = times.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    days = np.where(absent, np.nan, micro / DAY)
    if text is None:
        return days, np.zeros(0, np.int64)
    rows = np.flatnonzero(absent & ~pd.isna(text))
    return days, rows[[value.strip().casefold() not in words for value in text[rows]]] if len(rows) else rows


def recognised(column: Any, words: Collection[str] = MISSING, form: str | None = None) -> tuple[str, bool] | None:
    """The format in which all texts of a column are dates, and whether there is another one; None where there is none.

    Parameters
    ----------
    column : pandas.Series
    words : collection of str
        Small letters: what is missing.
    form : str, optional
        The only format that is tried besides ISO 8601.

    Examples
    --------
    >>> import pandas as pd
    >>> recognised(pd.Series(["3/1/2024", "25/1/2024"])), recognised(pd.Series(["3/1/2024"]))
    (('%d/%m/%Y', False), ('%m/%d/%Y', True))
    >>> recognised(pd.Series(["2024-01-31", "2024-01-31 12:00"])), recognised(pd.Series(["May", "June"]))
    (('ISO8601', False), None)
    """
    if is_date(column):
        return ISO, False
    pd, text = pandas(), texts(column)
    known = [t.strip() for t in pd.unique(text[~pd.isna(text)]) if t.strip().casefold() not in words]
    if not known or not all(len(t) <= LONGEST and any(map(str.isdigit, t)) for t in known):
        return None
    forms = [ISO] if re.match(r"\d{4}-\d\d", known[0]) else []
    forms = [*forms, form] if form else [*forms, *_guesses(known[:SAMPLE])]
    values = pd.Series(known, dtype=object)
    fitting = [form for form in forms if not len(read_days(values, form)[1])]
    return (fitting[0], len(fitting) > 1 and fitting[0] != ISO) if fitting else None


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


def example(form: str) -> str:
    """A date in a format."""
    moment = pandas().Timestamp(2024, 1, 31, 18, 30)
    return "2024-01-31" if form == ISO else shown(moment.strftime(form))


def is_date(column: Any) -> bool:
    """Whether pandas holds the column as dates, as a dtype or one by one."""
    pd = pandas()
    if column.dtype == object:
        return bool(pd.api.types.infer_dtype(column, skipna=True) in ("date", "datetime", "datetime64"))
    return bool(pd.api.types.is_datetime64_any_dtype(column.dtype)) or str(column.dtype).startswith("date")


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
    return [form for form in dict.fromkeys(usable) if "%Y-%d" not in form]
