"""What a column becomes, as plain data: a number, or a category; the third kind is in `dates`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbackprop import checks
from fastbackprop.tabular.as_pandas import pandas, texts
from fastbackprop.tabular.spelling import MISSING
from fastbackprop.tabular.wording import at, listed, shown

MOST_CATEGORIES = 100  # of a column; the rarer ones are read like unknown ones
LONGEST = 1000  # characters of a category: longer texts are no names, and the model would hold them
MOST_SHOWN = 20  # categories in one line
WHOLE = r"^(-?\d+)\.0+$"


@dataclass(frozen=True)
class Number:
    """A column of numbers: ``(x - mean) / scale``, with ``fill`` for what is missing or infinite."""

    name: str
    fill: float
    mean: float
    scale: float

    def __post_init__(self) -> None:
        check_name(self.name)
        check_moments(self.fill, self.mean, self.scale)

    def __str__(self) -> str:
        moments = f"mean {self.mean:.4g}, scale {self.scale:.4g}, {self.fill:.4g} where missing"
        return f"{shown(self.name)}: number, {moments}"

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return 1

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Numbers, (N,) with NaN for missing ones, as an (N, 1) array."""
        return ((np.where(np.isfinite(values), values, self.fill) - self.mean) / self.scale)[:, None]

    def irregular(self, values: np.ndarray) -> str:
        """How many values are missing and what they are read as; empty if none is."""
        missing = int((~np.isfinite(values)).sum())
        return f"{missing} missing, read as {self.fill:.4g}" if missing else ""


@dataclass(frozen=True)
class Category:
    """A column of texts, one-hot: an input a value, one more for a missing one if it was met; unknown is all zero."""

    name: str
    values: tuple[str, ...]
    missing: bool

    def __post_init__(self) -> None:
        check_name(self.name)
        if not isinstance(self.missing, bool):
            raise TypeError(f"missing must be True or False, got {self.missing!r}")
        check_texts(self.values, "values")

    def __str__(self) -> str:
        names = [
            *map(shown, self.values[:MOST_SHOWN]),
            *["..."] * (len(self.values) > MOST_SHOWN),
            *["missing"] * self.missing,
        ]
        return f"{shown(self.name)}: category, {', '.join(names)}"

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return len(self.values) + self.missing

    def encode(self, column: Any) -> np.ndarray:
        """A pandas column as an (N, width) array of 0 and 1."""
        codes, missing = self._read(column)
        if self.missing:
            codes[missing] = len(self.values)
        return (codes[:, None] == np.arange(self.width)).astype(np.float64)

    def irregular(self, column: Any) -> str:
        """How many values are no category, and the first of them; empty if all are."""
        codes, absent = self._read(column)
        unknown = np.flatnonzero((codes < 0) & ~absent)
        missing = 0 if self.missing else int(absent.sum())
        parts = [f"{missing} missing"] if missing else []
        parts += [f"{len(unknown)} unknown"] if len(unknown) else []
        first = f", first {at(column, int(unknown[0]))}" if len(unknown) else ""
        return f"{' and '.join(parts)}, read as none of its categories{first}" if parts else ""

    def _read(self, column: Any) -> tuple[np.ndarray, np.ndarray]:
        """Where in ``values`` each text is, -1 for none; and which are missing: empty, or a word that says so."""
        text = texts(column)
        codes = codes_of(text, self.values)
        missing = pandas().isna(text)
        for row in np.flatnonzero((codes < 0) & ~missing):
            missing[row] = text[row].strip().casefold() in MISSING
        return codes, missing


def codes_of(text: np.ndarray, values: Sequence[str]) -> np.ndarray:
    """Where in ``values`` each text is, int64; -1 for others and for missing ones. 1.0 is 1 where there is no 1.0."""
    pd = pandas()
    index = pd.Index(list(values), dtype="object")
    codes = index.get_indexer(text)
    if (codes < 0).any():
        whole = pd.Series(text, dtype="string").str.replace(WHOLE, r"\1", regex=True).to_numpy(object, na_value=None)
        codes = np.where(codes < 0, index.get_indexer(whole), codes)
    return codes.astype(np.int64)


def check_name(name: Any) -> None:
    """Raise TypeError where a column's name is no text."""
    if not isinstance(name, str):
        raise TypeError(f"a column's name must be text, got {name!r}")


def check_texts(texts: tuple[Any, ...], what: str) -> None:
    """Raise ValueError where these are not different texts, at least one."""
    if not texts or not all(isinstance(text, str) for text in texts) or len(set(texts)) < len(texts):
        raise ValueError(f"{what} must be different texts, at least one, got {listed(texts)}")


def check_moments(fill: Any, mean: Any, scale: Any) -> None:
    """Raise where these do not standardise anything."""
    for what, value in (("fill", fill), ("mean", mean), ("scale", scale)):
        checks.real_number(value, what, -np.inf, open_low=True)
    checks.real_number(scale, "scale", 0, open_low=True)
