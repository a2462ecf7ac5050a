"""What each column of a table is, from all its values, and what is estimated from the rows that are learned from."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbackprop.tabular.as_pandas import columns, is_category, pandas, texts, without
from fastbackprop.tabular.columns import LONGEST, MOST_CATEGORIES, WHOLE, Category, Number
from fastbackprop.tabular.dates import Date, Order, cycles_of, examples, is_date, nearly_dates, read_days, recognised
from fastbackprop.tabular.signs import signs_in, without_sign
from fastbackprop.tabular.spelling import MISSING, PLAIN, Parsed, Spelling, parse, respelled
from fastbackprop.tabular.wording import at, listed, shown

OF_MODEL = ("--categorical", "--date-format", "--missing", "--numeric", "--task")  # options that a model has decided
FEW_VALUES = 20  # a target of at most so many different whole numbers is one of classes
SHORT = 10  # at most so many different texts are categories, however few the rows
ROW_NAMES = re.compile(r"(?i:unnamed: \d+|index|id|.*[_ .-]id)|.*[a-z](Id|ID)")
INTEGER = re.compile(r"-?[0-9]{1,18}")
THOUSANDS = re.compile(r"\s*[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+\s*")


@dataclass
class Reader:
    """The columns of a frame, and what was guessed about them.

    Parameters
    ----------
    frame : pandas.DataFrame
    missing : collection of str, optional
        As :meth:`fastbackprop.tables.Table.fit` has it.
    names : list of str, optional
        The columns that are wanted; all otherwise.
    saved : mapping of str to Spelling, optional
        How their numbers were spelled before.
    fitted : bool
        Whether what the columns are has been decided: then options that say so are not offered.
    """

    frame: Any
    missing: Collection[str] | None = None
    names: list[str] | None = None
    saved: Mapping[str, Spelling] = field(default_factory=dict)
    fitted: bool = False
    guesses: dict[str, str] = field(default_factory=dict)
    columns: dict[str, Any] = field(init=False)
    parsed: dict[str, Parsed] = field(init=False)

    def __post_init__(self) -> None:
        frame = self.frame if self.names is None else self.frame[self.names]
        frame = frame if self.missing is None else without(frame, self.missing)
        self.words = MISSING if self.missing is None else frozenset[str]()
        self.columns, self.file = columns(frame), dict(frame.attrs)
        self.parsed = parse(self.columns, words=self.words, saved=self.saved, file=self.file)

    def spelled(self) -> dict[str, Spelling]:
        """The columns whose numbers have other marks than a decimal point."""
        return {name: parsed.spelling for name, parsed in self.parsed.items() if parsed.spelling != PLAIN}

    def is_number(self, name: str) -> bool:
        """Whether a column of which nothing was said is one of numbers."""
        return self.parsed[name].numbers and not is_category(self.columns[name])

    def task(self, targets: list[str]) -> str:
        """What :func:`fastbackprop.tables.infer_task` says."""
        if len(targets) > 1:
            return "regression"
        if not self.is_number(targets[0]):
            return "classification"
        values = self.parsed[targets[0]].values
        different = np.unique(values[~np.isnan(values)])
        whole = bool(np.all(different == np.round(different)))
        return "classification" if whole and len(different) <= FEW_VALUES else "regression"

    def known(self, name: str) -> np.ndarray:
        """Where a target has a value, (N,) bool: among numbers a word may say that there is none."""
        if self.is_number(name):
            return ~np.isnan(self.parsed[name].values)
        return self.columns[name].notna().to_numpy(bool)

    def labels(self, name: str) -> np.ndarray:
        """A column as texts; where it is of numbers, 1 for 1.0: a missing value elsewhere makes pandas write floats."""
        text, parsed = texts(self.columns[name]), self.parsed[name]
        text = text if parsed.spelling == PLAIN else respelled(text, parsed.spelling)
        if not parsed.numbers:
            return text
        plain = pandas().Series(text, dtype="string").str.replace(WHOLE, r"\1", regex=True)
        return np.asarray(plain.to_numpy(object, na_value=None))

    def numbers(self, name: str) -> np.ndarray:
        """A column's numbers, NaN where they are missing; ValueError for other texts, and for another sign than before.

        A model that learned from $ knows nothing about €; numbers without a sign are read as those with it.
        """
        parsed, column = self.parsed[name], self.columns[name]
        values, sign = parsed.require(column), parsed.spelling.sign
        known = self.saved[name].sign if name in self.saved else ""
        if known and sign not in ("", known):
            row = next(row for row, text in enumerate(texts(column)) if isinstance(text, str) and sign in text)
            raise ValueError(f"column {name!r} must hold numbers with {known}, as it had, got {at(column, row)}")
        return values

    # ------------------------------------------------------------------ inputs

    def column(
        self, name: str, rows: np.ndarray, kind: str | None = None, date_formats: Sequence[str] = ()
    ) -> Number | Category | Date | str:
        """A fitted column, or why it is left out. ``kind`` is what the user said that it is: "number" or "category"."""
        column, parsed = self.columns[name], self.parsed[name]
        if kind == "number" or (kind is None and self.is_number(name)):
            self.numbers(name)
            found = self._number(name, rows, kind)
            if not isinstance(found, str) or not parsed.words:
                return found
        if kind is None and not is_category(column) and not parsed.numbers:
            dates = recognised(column, self.words, date_formats)
            if dates is not None:
                return self._date(name, rows, *dates)
            why, option = nearly_dates(column, self.words, date_formats)
            if why:
                self._guess(name, f"read as texts, but {why}", option)
            self._guess_signs(name)
        return self._category(name, rows, kind)

    def _number(self, name: str, rows: np.ndarray, kind: str | None) -> Number | str:
        values = self.parsed[name].values
        if kind is None and _numbers_rows(name, values):
            return "numbers the rows"
        reason = _useless(values)
        fitted = None if reason else _standard(values, rows)
        if fitted is None:
            return reason or "has numbers too large or too close to be standardised"
        self.note_numbers(name, "" if kind else "--categorical")
        return Number(name, *fitted)

    def _date(self, name: str, rows: np.ndarray, formats: tuple[str, ...], order: Order) -> Date | str:
        days, _ = read_days(self.columns[name], formats, self.words)
        reason = _useless(days)
        fitted = None if reason else _standard(days, rows)
        if fitted is None:
            return reason or "has dates too close to be standardised"
        self.note_dates(name, formats, order)
        return Date(name, formats[0], *fitted, cycles_of(days), formats[1:])

    def _category(self, name: str, rows: np.ndarray, kind: str | None) -> Category | str:
        pd, text = pandas(), self.labels(name)
        if (code := self.parsed[name].code) and kind is None and not is_category(self.columns[name]):
            self._guess(name, f"'{code}' looks like a code, so it is no column of numbers", "--numeric")
        absent = pd.isna(text)
        counts = pd.Series(text[~absent], dtype=object).value_counts()
        if not len(counts):
            return "has no value to learn from"
        if not any(len(value) <= LONGEST for value in counts.index):
            return f"has only texts of more than {LONGEST} characters"
        if len(counts) + bool(absent.any()) < 2:
            return "has one value only"
        named = kind is not None or is_category(self.columns[name])
        if not named and len(counts) > max(SHORT, len(text) / 2):
            return "has a text of its own in nearly every row"
        self._guess_spelling(name, "")
        self._guess_words(name, list(counts.index), "value")
        for part in (text[rows], text):  # of all where the rows have none
            learned = pd.Series(part, dtype=object).value_counts().items()
            usual = sorted((-count, value) for value, count in learned if len(value) <= LONGEST)
            if usual:
                break
        values = tuple(sorted(value for _, value in usual[:MOST_CATEGORIES]))
        return Category(name, values, bool(absent[rows].any()))

    # ------------------------------------------------------------------ targets

    def classes(self, name: str) -> tuple[str, ...]:
        """The different labels of a target in their order."""
        column, parsed = self.columns[name], self.parsed[name]
        labels = [str(label) for label in pandas().unique(self.labels(name))]
        self._guess_spelling(name, "")
        if parsed.numbers:
            return tuple(sorted(labels, key=float))
        if longest := [label for label in labels if len(label) > LONGEST]:
            size = len(longest[0])
            raise ValueError(f"target {name!r} must have classes of at most {LONGEST} characters, got one of {size}")
        if len(labels) > max(FEW_VALUES, len(column) / 2):
            why = f" because of {at(column, int(parsed.bad[0]))}" if len(parsed.bad) else f": '{parsed.code}' is a code"
            count = f"{len(labels)} classes in {len(column)} rows"
            raise ValueError(f"target {name!r} has {count}; as numbers it cannot be read{why}")
        if parsed.code and not is_category(column):
            self._guess(name, f"'{parsed.code}' looks like a code, so these are classes", "--task")
        self._guess_words(name, labels, "class")
        return tuple(sorted(labels))

    def values(self, names: list[str]) -> np.ndarray:
        """Targets that are numbers, (N, targets)."""
        for name in names:
            self._guess_spelling(name, "--task" if len(names) == 1 else "")
        return np.column_stack([self.numbers(name) for name in names])

    def dtype(self, name: str, classes: tuple[str, ...]) -> tuple[str, bool]:
        """Of the classes in predictions: a name, empty for text, and whether they are a category of pandas."""
        types, column = pandas().api.types, self.columns[name]
        category = is_category(column)
        dtype = column.cat.categories.dtype if category else column.dtype
        if types.is_bool_dtype(dtype) and (str(dtype) in ("bool", "boolean") or set(classes) <= {"True", "False"}):
            return ("boolean" if str(dtype) == "boolean" else "bool"), category
        if types.is_integer_dtype(dtype):
            return str(dtype).removesuffix("[pyarrow]"), category
        if not self.parsed[name].numbers:
            return "", category
        whole = all(INTEGER.fullmatch(label) for label in classes)
        return "int64" if whole else "float64" if types.is_float_dtype(dtype) else "", category

    # ------------------------------------------------------------------ what was guessed

    def note_numbers(self, name: str, overruled_by: str = "") -> None:
        """Keep in ``guesses`` how a column of numbers is read, where that is not plain; an option that overrules it."""
        self._guess_spelling(name, overruled_by)
        self._guess_points(name)
        self._guess_missing(name)

    def note_dates(self, name: str, formats: tuple[str, ...], order: Order = "") -> None:
        """Keep in ``guesses`` that texts are read as dates of these formats, and which order was one of two."""
        if is_date(self.columns[name]):
            return
        unsure = f", the {order} first, though the {'month' if order == 'day' else 'day'} may be" if order else ""
        self._guess(name, f"read as dates such as {examples(formats)}{unsure}", "--date-format", "--categorical")
        self._guess_missing(name)

    def _guess(self, name: str, words: str, *overruled_by: str) -> None:
        """Keep what was guessed, with those of the options that can still say otherwise."""
        options = [option for option in overruled_by if option and not (self.fitted and option in OF_MODEL)]
        if options:
            first = ", ".join(options[:-1])
            words += f"; {f'{first} and ' if first else ''}{options[-1]} overrule{'s' * (len(options) == 1)} this"
        self.guesses[name] = f"{self.guesses[name]}; {words}" if name in self.guesses else words

    def _guess_spelling(self, name: str, overruled_by: str) -> None:
        parsed = self.parsed[name]
        marks = parsed.spelling._replace(sign="")
        options = [] if {"decimal", "thousands"} & set(self.file) or marks == PLAIN else ["--decimal", "--thousands"]
        known = self.saved[name].sign if name in self.saved else ""
        if parsed.spelling.sign:
            text = texts(self.columns[name])
            row = max(range(len(text)), key=lambda row: len(text[row]) if parsed.spelling.sign in str(text[row]) else 0)
            words = f"'{shown(text[row])}' is read as {parsed.values[row]:.15g}"
            self._guess(name, words, *options, overruled_by)
        elif known:
            self._guess(name, f"read as numbers with {known}, as the model learned, though they have none")
        elif options:
            self._guess(name, f"read so that {marks}", *options)

    def _guess_signs(self, name: str) -> None:
        """Numbers that have not the same sign."""
        text = texts(self.columns[name])
        signs = signs_in(text[self.parsed[name].bad])
        if len(signs) > 1:
            for sign in signs:
                text = np.array(
                    [without_sign(value, sign) if isinstance(value, str) else value for value in text], object
                )
            if parse({name: pandas().Series(text)}, words=self.words, file=self.file)[name].numbers:
                self._guess(name, f"read as texts, since numbers in it have different signs, {listed(signs)}")

    def _guess_points(self, name: str) -> None:
        """Points that may stand between thousands, in a file as programs write it where the comma is decimal."""
        parsed, given = self.parsed[name], {"decimal", "thousands"} & set(self.file)
        if parsed.text is None or parsed.spelling != PLAIN or given or self.file.get("separator") != ";":
            return
        pointed = [value for value in parsed.text if isinstance(value, str) and "." in value]
        if any(map(THOUSANDS.fullmatch, pointed)) and all(map(THOUSANDS.fullmatch, set(pointed) - set(parsed.words))):
            self._guess(name, f"{pointed[0]} is read as a decimal number, not as thousands", "--thousands .")

    def _guess_missing(self, name: str) -> None:
        words = self.parsed[name].words
        if words:
            self._guess(name, f"{listed(words, 5)} {_is(words)} read as missing", "--missing")

    def _guess_words(self, name: str, labels: list[str], what: str) -> None:
        words = sorted(label for label in labels if label.strip().casefold() in self.words)
        if words:
            self._guess(name, f"{listed(words, 5)} {_is(words)} a {what} like others, not missing", "--missing")


def _is(words: Collection[str]) -> str:
    return "is" if len(words) == 1 else "are each"


def _useless(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "has no value to learn from"
    return "has one value only" if known.min() == known.max() else ""


def _standard(values: np.ndarray, rows: np.ndarray) -> tuple[float, float, float] | None:
    """Median, and mean and scale with missing values filled, of the rows; of all where these have one value only."""
    for part in (values[rows], values):
        finite = np.isfinite(part)
        known = np.sort(part[finite])
        if len(known) and known[0] < known[-1]:
            with np.errstate(over="ignore", invalid="ignore"):
                fill = float((known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2)
                filled = np.where(finite, part, fill)
                mean, scale = float(filled.mean()), float(filled.std())
            if all(map(math.isfinite, (fill, mean, scale))) and scale > 0:
                return fill, mean, scale
    return None


def _numbers_rows(name: str, values: np.ndarray) -> bool:
    """Whether the column is a row's number: 0, 1, 2, ... or 1, 2, 3, ..., or any distinct ones under such a name."""
    if len(values) < 3 or not np.isfinite(values).all():
        return False
    if values[0] in (0, 1) and np.array_equal(values, values[0] + np.arange(len(values))):
        return True
    whole = bool(ROW_NAMES.fullmatch(name)) and bool(np.all(values == np.round(values)))
    return whole and len(np.unique(values)) == len(values)
