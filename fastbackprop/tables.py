"""Tables of named columns as the inputs and targets of a network: the preprocessing, fitted once and kept as data.

What was fitted is plain numbers and texts, written as JSON: reading it runs no code, and every float comes back bit for
bit. Needs pandas (the extra ``cli``).
"""

from __future__ import annotations

import csv
import difflib
import json
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastbackprop import checks

TASKS = ("classification", "regression")
PARQUET = (".parquet", ".pq")
SEPARATORS = "\t;|,"  # where the header has as many of two: the comma is the one that stands in names

MOST_CATEGORIES = 100  # of a column; the rarer ones are read like unknown ones
LONGEST = 1000  # characters of a category: longer texts are no names, and the model would hold them
FEW_VALUES = 20  # a target of at most so many different whole numbers is one of classes
NEAR = 0.75  # difflib's similarity from which a name is suggested in place of another
SHORT = 10  # at most so many different texts are categories, however few the rows
ROW_NAMES = re.compile(r"(?i:unnamed: \d+|index|id|.*[_ .-]id)|.*[a-z](Id|ID)")
WHOLE = r"^(-?\d+)\.0+$"
WITH_COMMA = r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$"
WITH_POINT = r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?"
NEARLY = 0.9  # of a column's values: if so many are numbers, all were perhaps meant to be


@dataclass(frozen=True)
class Number:
    """A column of numbers: ``(x - mean) / scale``, with ``fill`` for what is missing or infinite."""

    name: str
    fill: float
    mean: float
    scale: float

    def __post_init__(self) -> None:
        _check_name(self.name)
        for what in ("fill", "mean", "scale"):
            checks.real_number(getattr(self, what), what, -np.inf, open_low=True)
        checks.real_number(self.scale, "scale", 0, open_low=True)

    def __str__(self) -> str:
        return f"{self.name}: number, mean {self.mean:.4g}, scale {self.scale:.4g}, {self.fill:.4g} where missing"

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return 1

    def encode(self, column: Any) -> np.ndarray:
        """A pandas column as an (N, 1) array."""
        values = _require_numbers(column, self.name)
        return ((np.where(np.isfinite(values), values, self.fill) - self.mean) / self.scale)[:, None]

    def irregular(self, column: Any) -> str:
        """How many values are missing and what they are read as; empty if none is."""
        missing = int((~np.isfinite(_require_numbers(column, self.name))).sum())
        return f"{missing} missing, read as {self.fill:.4g}" if missing else ""


@dataclass(frozen=True)
class Category:
    """A column of texts, one-hot: an input a value, one more for a missing one if it was met; unknown is all zero."""

    name: str
    values: tuple[str, ...]
    missing: bool

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_texts(self.values, "values")
        if not isinstance(self.missing, bool):
            raise TypeError(f"missing must be True or False, got {self.missing!r}")

    def __str__(self) -> str:
        names = [
            *map(shown, self.values[:FEW_VALUES]),
            *["..."] * (len(self.values) > FEW_VALUES),
            *["missing"] * self.missing,
        ]
        return f"{self.name}: category, {', '.join(names)}"

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return len(self.values) + self.missing

    def encode(self, column: Any) -> np.ndarray:
        """A pandas column as an (N, width) array of 0 and 1."""
        codes = _codes(column, self.values)
        if self.missing:
            codes[column.isna().to_numpy()] = len(self.values)
        return (codes[:, None] == np.arange(self.width)).astype(np.float64)

    def irregular(self, column: Any) -> str:
        """How many values are no category, and the first of them; empty if all are."""
        codes, known = _codes(column, self.values), column.notna().to_numpy()
        unknown = np.flatnonzero((codes < 0) & known)
        missing = 0 if self.missing else int((~known).sum())
        parts = [f"{missing} missing"] if missing else []
        parts += [f"{len(unknown)} unknown"] if len(unknown) else []
        first = f", first {_at(column, int(unknown[0]))}" if len(unknown) else ""
        return f"{' and '.join(parts)}, read as none of its categories{first}" if parts else ""


@dataclass(frozen=True)
class Table:
    """How the columns of a table become a network's inputs and targets, and its outputs predictions.

    Attributes
    ----------
    columns : tuple of Number and Category
        In the order of the inputs.
    targets : tuple of str
        Names of the columns that are predicted; one for classification.
    task : str
        "classification" or "regression".
    classes : tuple of str
        By class number; empty for regression.
    mean, scale : tuple of float
        Of each target; for regression the network learns ``(y - mean) / scale``. Empty for classification.
    left_out : dict of str to str
        Columns that are not used, and why.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"size": [1.0, None, 5.0], "colour": ["red", "blue", "red"], "kind": ["a", "b", "a"]})
    >>> table = Table.fit(frame, ["kind"])
    >>> table.transform(frame)
    array([[-1.22474487,  0.        ,  1.        ],
           [ 0.        ,  1.        ,  0.        ],
           [ 1.22474487,  0.        ,  1.        ]])
    >>> table.encode_targets(frame), table.classes
    (array([0, 1, 0]), ('a', 'b'))
    >>> Table.from_json(table.to_json()) == table
    True
    """

    columns: tuple[Number | Category, ...]
    targets: tuple[str, ...]
    task: str
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.one_of(self.task, "task", TASKS)
        _check_texts(self.targets, "targets")
        _check_texts(tuple(column.name for column in self.columns), "columns")
        if self.task == "classification":
            _check_texts(self.classes, "classes")
            if len(self.targets) != 1 or len(self.classes) < 2 or self.mean or self.scale:
                raise ValueError("classification must have one target and at least two classes, and no mean or scale")
            return
        if self.classes or not len(self.targets) == len(self.mean) == len(self.scale):
            raise ValueError("regression must have a mean and a scale for each target, and no classes")
        for mean, scale in zip(self.mean, self.scale):
            checks.real_number(mean, "mean", -np.inf, open_low=True)
            checks.real_number(scale, "scale", 0, open_low=True)

    @classmethod
    def fit(
        cls, frame: Any, targets: Sequence[str], *, task: str | None = None, categorical: Collection[str] = (),
        numeric: Collection[str] = (), rows: Any = None,
    ) -> Table:  # fmt: skip
        """Fit the preprocessing of a table.

        Numbers are standardised, missing ones first filled with the median; texts and Booleans are one-hot, the
        `MOST_CATEGORIES` most frequent of them. A column without information is left out: one that is empty or
        constant, that numbers the rows, or texts of which nearly every row has one of its own.

        Parameters
        ----------
        frame : pandas.DataFrame (N rows)
            Targets must not be missing.
        targets : sequence of str
            Columns to predict; several for regression only.
        task : None, 'classification' or 'regression'
            None: as :func:`infer_task` has it.
        categorical, numeric : collections of str
            Columns that are read as said, and used.
        rows : array of int, optional
            Rows from which medians, means, scales and categories are taken: those that are learned from. All otherwise.

        Raises
        ------
        ValueError
            Where a column does not exist or cannot be used as asked, or nothing is left to learn from.
        """
        frame = _named(frame)
        targets = [targets] if isinstance(targets, str) else list(targets)
        require_columns(frame, [*targets, *categorical, *numeric])
        task = infer_task(frame, targets) if task is None else checks.one_of(task, "task", TASKS)
        for name in targets:
            if frame[name].isna().any():
                raise ValueError(f"target {name!r} must not be missing, got {int(frame[name].isna().sum())} such rows")
            if frame[name].nunique() < 2:
                only = "" if frame.empty else f", {frame[name].iloc[0]!s}"
                raise ValueError(f"target {name!r} must have at least two different values, got one only{only}")
        rows = np.arange(len(frame)) if rows is None else np.asarray(rows)
        found, left_out = [], {}
        for name in frame.columns:
            if name not in targets:
                kind = "number" if name in numeric else "category" if name in categorical else None
                column = _fit_column(name, frame[name], rows, kind)
                if isinstance(column, str):
                    left_out[name] = column
                else:
                    found.append(column)
        if not found:
            why = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items()) or "there is no other column"
            raise ValueError(f"no column is left to learn from ({why})")
        if task == "classification":
            if len(targets) > 1:
                raise ValueError(f"classification must have one target, got {len(targets)}: {', '.join(targets)}")
            return cls(tuple(found), tuple(targets), task, _classes(frame[targets[0]]), left_out=left_out)
        y = np.column_stack([_require_numbers(frame[name], name)[rows] for name in targets])
        mean, scale = _moments(y)
        for name, m, s in zip(targets, mean, scale):
            if not (np.isfinite(m) and 0 < s < np.inf):
                raise ValueError(f"target {name!r} must be finite, not too large and not constant over the samples")
        return cls(tuple(found), tuple(targets), task, (), tuple(mean.tolist()), tuple(scale.tolist()), left_out)

    @property
    def inputs(self) -> int:
        """Inputs of the network."""
        return sum(column.width for column in self.columns)

    @property
    def outputs(self) -> int:
        """Outputs of the network: one a class, or one a target."""
        return len(self.classes) or len(self.targets)

    def transform(self, frame: Any) -> np.ndarray:
        """The inputs, (N, inputs) float64, of a table that has the columns in any order, and perhaps others.

        Raises
        ------
        ValueError
            Where columns are missing, or a column of numbers holds text.
        """
        frame = _named(frame)
        require_columns(frame, [column.name for column in self.columns])
        X, start = np.empty((len(frame), self.inputs)), 0
        for column in self.columns:
            X[:, start : start + column.width] = column.encode(frame[column.name])
            start += column.width
        return X

    def irregular(self, frame: Any) -> dict[str, str]:
        """Columns whose values were not all read as they are, by name: in words, how many and how.

        Examples
        --------
        >>> import pandas as pd
        >>> columns = Number("a", 2.5, 0.0, 1.0), Category("b", ("x",), False)
        >>> table = Table(columns, ("y",), "classification", ("no", "yes"))
        >>> table.irregular(pd.DataFrame({"a": [1.0, None], "b": ["x", "z"]}))
        {'a': '1 missing, read as 2.5', 'b': "1 unknown, read as none of its categories, first 'z' in row 2"}
        """
        frame = _named(frame)
        words = {column.name: column.irregular(frame[column.name]) for column in self.columns}
        return {name: text for name, text in words.items() if text}

    def encode_targets(self, frame: Any) -> np.ndarray:
        """The targets as the network learns them: class numbers (N,), or standardised values (N, targets).

        Raises
        ------
        ValueError
            Where columns are missing, or a value is missing or not a known class or a number.
        """
        frame = _named(frame)
        require_columns(frame, self.targets)
        if self.task == "classification":
            (name,) = self.targets
            codes = _codes(frame[name], self.classes)
            if (codes < 0).any():
                row = int(np.argmax(codes < 0))
                raise ValueError(f"target {name!r} must be one of {_listed(self.classes)}, got {_at(frame[name], row)}")
            return codes
        y = np.column_stack([_require_numbers(frame[name], name) for name in self.targets])
        if not np.isfinite(y).all():
            row, k = (int(i) for i in np.argwhere(~np.isfinite(y))[0])
            raise ValueError(f"target {self.targets[k]!r} must be finite, got {_at(frame[self.targets[k]], row)}")
        return (y - self.mean) / self.scale

    def decode(self, outputs: np.ndarray) -> Any:
        """Predictions of the network's outputs, (N, outputs), as a pandas.DataFrame.

        For classification the most probable class in a column named as the target, and a column ``probability_CLASS``
        for each; for regression a column for each target, in the target's units.
        """
        pd = _pandas()
        if self.task == "regression":
            values = outputs.astype(np.float64) * self.scale + self.mean
            return pd.DataFrame(values, columns=list(self.targets))
        labels = np.array(self.classes, object)[outputs.argmax(axis=1)]
        probabilities = {f"probability_{name}": outputs[:, k] for k, name in enumerate(self.classes)}
        return pd.DataFrame({self.targets[0]: labels} | probabilities)

    def to_json(self) -> str:
        """Everything, as text; floats are written so that they come back bit for bit."""
        columns = [{"kind": _kind_name(column)} | asdict(column) for column in self.columns]
        return json.dumps(asdict(self) | {"columns": columns}, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Table:
        """What :meth:`to_json` wrote. Raises ValueError where it is something else."""

        def column(data: dict[str, Any]) -> Number | Category:
            data = dict(data)
            if data.pop("kind") == "number":
                return Number(**data)
            return Category(**data | {"values": tuple(data["values"])})

        try:
            data = json.loads(text)
            if not isinstance(data, dict):
                raise TypeError(f"an object was expected, got {type(data).__name__}")
            tuples = {k: tuple(data[k]) for k in ("targets", "classes", "mean", "scale")}
            left_out = {str(name): str(why) for name, why in data["left_out"].items()}
            return cls(**data | tuples | {"columns": tuple(map(column, data["columns"])), "left_out": left_out})
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"not the preprocessing of a table, or a damaged one: {what}") from None


def infer_task(frame: Any, targets: Sequence[str]) -> str:
    """Classification for texts, Booleans and at most `FEW_VALUES` different whole numbers, else regression.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"price": [1.5, 2.0, 3.25], "stars": [1, 5, 5]})
    >>> infer_task(frame, ["price"]), infer_task(frame, ["stars"]), infer_task(frame, ["price", "stars"])
    ('regression', 'classification', 'regression')
    """
    frame = _named(frame)
    require_columns(frame, targets)
    if len(targets) > 1:
        return "regression"
    values = _numbers(frame[targets[0]])
    if values is None:
        return "classification"
    different = np.unique(values[~np.isnan(values)])
    whole = bool(np.all(different == np.round(different)))
    return "classification" if whole and len(different) <= FEW_VALUES else "regression"


def nearly_numbers(frame: Any, names: Sequence[str]) -> dict[str, str]:
    """Columns of texts nearly all of which are numbers, and in words how many are and the first text that is none.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": ["31", "unknown", *map(str, range(18))], "sex": ["f", "m"] * 10})
    >>> nearly_numbers(frame, ["age", "sex"])
    {'age': "19 of 20 values are numbers, not 'unknown' in row 2"}
    """
    found = {}
    for name in names:
        values, bad = _parsed(frame[name])
        numbers = int((~np.isnan(values)).sum())
        if len(bad) and numbers >= NEARLY * (numbers + len(bad)):
            first = _at(frame[name], int(bad[0]))
            found[name] = f"{numbers} of {numbers + len(bad)} values are numbers, not {first}"
    return found


def read(path: str | os.PathLike[str]) -> Any:
    """A table from a file: CSV with a header line, or Parquet (``.parquet``, ``.pq``; needs pyarrow).

    CSV must be UTF-8; the separator is a comma, semicolon, tab or bar, whichever the header has most of; ``.gz``,
    ``.bz2``, ``.xz`` and ``.zip`` are unpacked. An empty value is a missing one, and so are ``?`` and what pandas takes
    as missing (``NA``, ``NaN``, ``null`` ...). Every other value is kept as text: what is a number is decided later, so
    that the same text always means the same category. Between semicolons 1,5 is 1.5, except in a column where other
    numbers have a point: there the comma may stand between thousands.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ImportError
        Where pandas, or pyarrow for Parquet, is not installed.
    OSError
        Where the file cannot be read.
    ValueError
        Where it is not a table.
    """
    pd = _pandas()
    path = Path(path)
    with open(path, "rb"):  # a missing or unreadable file, or a directory, gets the usual OSError
        pass
    try:
        if path.suffix.lower() in PARQUET:
            frame = pd.read_parquet(path)
        else:
            frame = _read_csv(pd, path)
    except ImportError:
        raise ImportError(f"reading {str(path)!r} needs pyarrow: pip install pyarrow") from None
    except UnicodeError:
        raise ValueError(f"cannot read {str(path)!r}: it must be UTF-8 text, and is not; convert it first") from None
    except pd.errors.EmptyDataError:
        raise ValueError(f"cannot read {str(path)!r}: the file is empty") from None
    except MemoryError:
        raise
    except Exception as error:  # pandas, pyarrow and each decompressor have errors of their own for damaged files
        raise ValueError(f"cannot read {str(path)!r}: {error}") from None
    if not len(frame):
        raise ValueError(f"cannot read {str(path)!r}: it must hold at least one row below the header, got none")
    return _named(frame)


def require_columns(frame: Any, names: Sequence[str]) -> None:
    """Raise ValueError where columns of a DataFrame are missing, with their names."""
    missing = [name for name in dict.fromkeys(names) if name not in frame.columns]
    if not missing:
        return
    hint = suggestion(missing[0], list(frame.columns)) if len(missing) == 1 else ""
    plural = "s" if len(missing) > 1 else ""
    raise ValueError(
        f"the table lacks the column{plural} {_listed(missing)}{hint} (its columns: {_listed(list(frame.columns))})"
    )


def suggestion(name: str, names: Collection[str]) -> str:
    """The name that was perhaps meant, in words to put after an error; empty where none is near.

    Examples
    --------
    >>> suggestion("Species", ["colour", "species"]), suggestion("target", ["age", "colour"])
    ("; did you mean 'species'?", '')
    """
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), list(folded), 1, NEAR)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def _read_csv(pd: Any, path: Path) -> Any:
    # A whole line as one value: no byte 1 stands in text.
    line = pd.read_csv(path, sep="\x01", header=None, nrows=1, dtype=str, quoting=csv.QUOTE_NONE).iloc[0, 0]
    unquoted = re.sub('"[^"]*"', "", line)
    separator = max(SEPARATORS, key=unquoted.count)
    header = [name.strip() for name in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:  # pandas would rename the second
        raise ValueError(f"column names must differ, got {_listed(twice)} more than once")
    frame = pd.read_csv(path, sep=separator, dtype=str, skipinitialspace=True, low_memory=False, na_values=["?"])
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"the rows hold more values than the header has names, {len(header)}")
    frame = frame.rename(columns=str.strip)
    return frame.apply(_with_points) if separator == ";" else frame


def _with_points(column: Any) -> Any:
    """The column with decimal points for decimal commas."""
    text = _text(column)
    if text.str.fullmatch(WITH_POINT).any():
        return column
    return column.where(text.isna(), text.str.replace(WITH_COMMA, r"\1.\2", regex=True))


# ---------------------------------------------------------------------- fitting


def _fit_column(name: str, column: Any, rows: np.ndarray, kind: str | None) -> Number | Category | str:
    """A fitted column, or why it is left out. ``kind`` is what the user said that it is."""
    values = _require_numbers(column, name) if kind == "number" else _numbers(column)
    if values is not None and kind != "category":
        if kind is None and _numbers_rows(name, values):
            return "numbers the rows"
        known = values[rows][np.isfinite(values[rows])]
        if not len(known):
            return "has no value to learn from"
        if known.min() == known.max():
            return "has one value only"
        fill = float(np.median(known))
        mean, scale = _moments(np.where(np.isfinite(values[rows]), values[rows], fill))
        if not (np.isfinite(mean) and 0 < scale < np.inf):
            return "has numbers too large or too close to be standardised"
        return Number(name, fill, float(mean), float(scale))
    text = _labels(column).iloc[rows]
    missing = bool(text.isna().any())
    counts = sorted(text.value_counts().items(), key=lambda item: (-item[1], item[0]))
    if not counts:
        return "has no value to learn from"
    counts = [item for item in counts if len(item[0]) <= LONGEST]
    if not counts:
        return f"has only texts of more than {LONGEST} characters"
    if len(counts) + missing < 2:
        return "has one value only"
    if kind is None and len(counts) > max(SHORT, len(rows) / 2):
        return "has a text of its own in nearly every row"
    return Category(name, tuple(sorted(value for value, _ in counts[:MOST_CATEGORIES])), missing)


def _numbers_rows(name: str, values: np.ndarray) -> bool:
    """Whether the column is a row's number: 0, 1, 2, ... or 1, 2, 3, ..., or any distinct ones under such a name."""
    if len(values) < 3 or not np.isfinite(values).all():
        return False
    if values[0] in (0, 1) and np.array_equal(values, values[0] + np.arange(len(values))):
        return True
    whole = bool(np.all(values == np.round(values)))
    return bool(ROW_NAMES.fullmatch(name)) and whole and len(np.unique(values)) == len(values)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.mean(values, axis=0), np.std(values, axis=0)


def _classes(column: Any) -> tuple[str, ...]:
    values = _numbers(column)
    labels = [str(label) for label in _labels(column).unique()]
    if values is not None:
        return tuple(sorted(labels, key=float))
    if longest := [label for label in labels if len(label) > LONGEST]:
        raise ValueError(
            f"target {column.name!r} must have classes of at most {LONGEST} characters, got one of {len(longest[0])}"
        )
    if len(labels) > max(FEW_VALUES, len(column) / 2):
        _, bad = _parsed(column)
        example = f"; as numbers it cannot be read because of {_at(column, int(bad[0]))}"
        raise ValueError(f"target {column.name!r} has {len(labels)} classes in {len(column)} rows{example}")
    return tuple(sorted(labels))


# ---------------------------------------------------------------------- reading columns


def _text(column: Any) -> Any:
    """The column as pandas' "string", with NA for what is missing."""
    return column.astype("string")


def _labels(column: Any) -> Any:
    """Text; where the whole column is numbers, 1 for 1.0: a missing value elsewhere makes pandas write floats."""
    text = _text(column)
    return text if _numbers(column) is None else text.str.replace(WHOLE, r"\1", regex=True)


def _codes(column: Any, values: Sequence[str]) -> np.ndarray:
    """Where in ``values`` each text is, int64; -1 for others and for missing ones."""
    index, text = _pandas().Index(list(values), dtype="object"), _text(column).astype("object")
    codes = index.get_indexer(text)
    if (codes < 0).any():
        whole = _text(column).str.replace(WHOLE, r"\1", regex=True).astype("object")
        codes = np.where(codes < 0, index.get_indexer(whole), codes)
    return codes.astype(np.int64)


def _parsed(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """The column as float64 with NaN for what is missing or no number, and the rows that are no number."""
    pd = _pandas()
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan), np.zeros(0, np.int64)
    text = _text(column)
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return values, np.flatnonzero(np.isnan(values) & text.notna().to_numpy(bool))


def _numbers(column: Any) -> np.ndarray | None:
    """float64 with NaN for what is missing; None where a value is no number."""
    values, bad = _parsed(column)
    return None if len(bad) else values


def _require_numbers(column: Any, name: str) -> np.ndarray:
    values, bad = _parsed(column)
    if len(bad):
        raise ValueError(f"column {name!r} must hold numbers, got {_at(column, int(bad[0]))}")
    return values


# ---------------------------------------------------------------------- small things


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError("tables need pandas: pip install 'fastbackprop[cli]'") from None
    return pandas


def _named(frame: Any) -> Any:
    """The frame, its column names as text and different."""
    if not isinstance(frame, _pandas().DataFrame):
        raise TypeError(f"a table must be a pandas.DataFrame, got {type(frame).__name__}")
    if not all(isinstance(name, str) for name in frame.columns):
        frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        raise ValueError(f"column names must differ, got {_listed(frame.columns[frame.columns.duplicated()])} twice")
    return frame


def _listed(names: Collection[Any], most: int = 20) -> str:
    first = ", ".join(repr(shown(str(name))) for name in list(names)[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most} more"


def _at(column: Any, row: int) -> str:
    """A cell, its row by the number that it has in the index, where that numbers the rows: others may be left out."""
    number = column.index[row] if column.index.dtype.kind == "i" else row
    return f"'{shown(str(column.iloc[row]))}' in row {number + 1}"


def shown(text: str, most: int = 80) -> str:
    """A text as it is put into a line for the user: without its middle where it is long.

    Examples
    --------
    >>> shown("Lorem ipsum dolor sit amet", 11)
    'Lorem… amet'
    """
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - 1) // 2 :]}"


def _kind_name(column: Number | Category) -> str:
    return "number" if isinstance(column, Number) else "category"


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a column's name must be text, got {name!r}")


def _check_texts(texts: tuple[Any, ...], what: str) -> None:
    if not texts or not all(isinstance(text, str) for text in texts) or len(set(texts)) < len(texts):
        raise ValueError(f"{what} must be different texts, at least one, got {_listed(texts)}")
