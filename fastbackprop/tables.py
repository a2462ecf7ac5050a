"""Tables of named columns as the inputs and targets of a network: the preprocessing, fitted once and kept as data.

What was fitted is plain numbers and texts, written as JSON: reading it runs no code, and every float comes back bit for
bit. Needs pandas (the extra ``cli``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbackprop import checks
from fastbackprop.tabular.as_pandas import as_frame, pandas, require_columns, texts
from fastbackprop.tabular.columns import LONGEST, MOST_CATEGORIES, Category, Number, check_texts, codes_of
from fastbackprop.tabular.dates import Date, check_formats
from fastbackprop.tabular.fitting import FEW_VALUES, Reader
from fastbackprop.tabular.reading import COMPRESSED, PARQUET, read
from fastbackprop.tabular.signs import SIGN
from fastbackprop.tabular.spelling import MISSING, SPELLINGS, Spelling, nearly_numbers, respelled
from fastbackprop.tabular.wording import at, listed, shown, suggestion

__all__ = [
    "COMPRESSED", "FEW_VALUES", "LONGEST", "MISSING", "MOST_CATEGORIES", "PARQUET", "TASKS", "Category", "Date",
    "Number", "Table", "has_targets", "infer_task", "nearly_numbers", "read", "require_columns", "shown", "suggestion",
    "words_for_missing",
]  # fmt: skip

TASKS = ("classification", "regression")
KINDS = {"number": Number, "category": Category, "date": Date}
DTYPES = ("", "bool", "boolean", "float64", *(f"{u}nt{n}" for u in ("i", "ui", "I", "UI") for n in (8, 16, 32, 64)))


@dataclass(frozen=True)
class Table:
    """How the columns of a table become a network's inputs and targets, and its outputs predictions.

    Attributes
    ----------
    columns : tuple of Number, Category and Date
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
    spelled : dict of str to Spelling
        Columns and targets whose numbers have other marks than a decimal point, or a sign such as $ or %.
    missing : tuple of str or None
        The texts that mean a missing value wherever they stand. None: those of `MISSING`, among numbers and dates only.
    dtype : str
        Of the classes in predictions, such as "int64"; empty for text.
    categorical : bool
        Whether predicted classes are a category of pandas.
    guesses : dict of str to str
        Columns that were read by a guess, and what it was.

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

    columns: tuple[Number | Category | Date, ...]
    targets: tuple[str, ...]
    task: str
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    spelled: dict[str, Spelling] = field(default_factory=dict)
    missing: tuple[str, ...] | None = None
    dtype: str = ""
    categorical: bool = False
    guesses: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.one_of(self.task, "task", TASKS)
        check_texts(self.targets, "targets")
        check_texts(tuple(column.name for column in self.columns), "columns")
        for way in self.spelled.values():
            if way._replace(sign="") not in SPELLINGS or not (way.sign == "" or SIGN.fullmatch(way.sign)):
                raise ValueError("spelled must map names to the marks of numbers")
        if not all(isinstance(word, str) for word in self.missing or ()) or not isinstance(self.categorical, bool):
            raise TypeError("missing must be texts or None, and categorical True or False")
        if self.task == "classification":
            check_texts(self.classes, "classes")
            if len(self.targets) != 1 or len(self.classes) < 2 or self.mean or self.scale:
                raise ValueError("classification must have one target and at least two classes, and no mean or scale")
            self._labels()
            return
        if self.classes or self.dtype or not len(self.targets) == len(self.mean) == len(self.scale):
            raise ValueError("regression must have a mean and a scale for each target, and no classes")
        for mean, scale in zip(self.mean, self.scale):
            checks.real_number(mean, "mean", -np.inf, open_low=True)
            checks.real_number(scale, "scale", 0, open_low=True)

    @classmethod
    def fit(
        cls, frame: Any, targets: Sequence[str], *, task: str | None = None, categorical: Collection[str] = (),
        numeric: Collection[str] = (), rows: Any = None, missing: Collection[str] | None = None,
        date_format: str | Sequence[str] | None = None,
    ) -> Table:  # fmt: skip
        """Fit the preprocessing of a table.

        Numbers are standardised, missing ones first filled with the median; texts, Booleans and pandas' categories are
        one-hot, the `MOST_CATEGORIES` most frequent of them; dates become the time that has passed and the place in
        the year, the week and the day. A column without information is left out: one that is empty or constant, that
        numbers the rows, or texts of which nearly every row has one of its own. What a column is, and whether it is
        used, follows from all rows.

        Texts are numbers where all of a column are, but for words such as ``NA`` or ``.`` (`MISSING`), and none is a
        code such as 007 or 12E5. In any other column such a word is a value like others. A currency or percent sign
        may stand beside numbers, one in a column: 45 % is 45.

        Parameters
        ----------
        frame : pandas.DataFrame, polars.DataFrame or pyarrow.Table (N rows)
            Targets must not be missing.
        targets : sequence of str
            Columns to predict; several for regression only.
        task : None, 'classification' or 'regression'
            None: as :func:`infer_task` has it.
        categorical, numeric : collections of str
            Columns that are read as said, and used.
        rows : array of int, optional
            Rows from which medians, means, scales and categories are taken: those that are learned from. All otherwise.
        missing : collection of str, optional
            The texts that mean a missing value, in every column; no others do. Empty: only what is empty is missing.
        date_format : str or sequence of str, optional
            Of dates in texts, such as "%d/%m/%Y"; of several, a text is read by the first that it fits, and then as
            ISO 8601 has it. Guessed otherwise.

        Raises
        ------
        ValueError
            Where a column does not exist or cannot be used as asked, or nothing is left to learn from.
        """
        frame = as_frame(frame)
        targets = [targets] if isinstance(targets, str) else list(targets)
        require_columns(frame, [*targets, *categorical, *numeric])
        formats = check_formats([date_format] if isinstance(date_format, str) else list(date_format or ()))
        reader = Reader(frame, missing)
        task = reader.task(targets) if task is None else checks.one_of(task, "task", TASKS)
        for name in targets:
            if absent := int((~reader.known(name)).sum()):
                raise ValueError(f"target {name!r} must not be missing, got {absent} such rows")
            if frame[name].nunique() < 2:
                only = "" if frame.empty else f", {frame[name].iloc[0]!s}"
                raise ValueError(f"target {name!r} must have at least two different values, got one only{only}")
        rows = np.arange(len(frame)) if rows is None else np.asarray(rows)
        found, left_out = [], {}
        for name in frame.columns:
            if name not in targets:
                kind = "number" if name in numeric else "category" if name in categorical else None
                column = reader.column(name, rows, kind, formats)
                if isinstance(column, str):
                    left_out[name] = column
                else:
                    found.append(column)
        if not found:
            why = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items()) or "there is no other column"
            raise ValueError(f"no column is left to learn from ({why})")
        dtype, category = "", False
        classes: tuple[str, ...] = ()
        moments: tuple[tuple[float, ...], tuple[float, ...]] = (), ()
        if task == "classification":
            if len(targets) > 1:
                raise ValueError(f"classification must have one target, got {len(targets)}: {', '.join(targets)}")
            classes = reader.classes(targets[0])
            dtype, category = reader.dtype(targets[0], classes)
        else:
            moments = _moments(reader.values(targets)[rows], targets)
        used = {*(column.name for column in found), *targets}
        spelled = {name: way for name, way in reader.spelled().items() if name in used}
        words = None if missing is None else tuple(missing)
        return cls(
            tuple(found), tuple(targets), task, classes, *moments, left_out, spelled, words, dtype, category,
            reader.guesses,
        )  # fmt: skip

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
            Where columns are missing, or a column of numbers or dates holds something else.
        """
        reader = self._reader(frame, [column.name for column in self.columns])
        X, start = np.empty((len(reader.frame), self.inputs)), 0
        for column in self.columns:
            X[:, start : start + column.width] = column.encode(self._cells(reader, column))
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
        reader = self._reader(frame, [column.name for column in self.columns])
        words = {column.name: column.irregular(self._cells(reader, column)) for column in self.columns}
        return {name: text for name, text in words.items() if text}

    def readings(self, frame: Any) -> dict[str, str]:
        """Columns of texts that are read otherwise than they stand, by name: in words, how. As `guesses` of this table.

        Examples
        --------
        >>> import pandas as pd
        >>> table = Table.fit(pd.DataFrame({"price": ["$5", "$7", "$1,200.50"], "y": [1.5, 2.0, 4.0]}), ["y"])
        >>> table.readings(pd.DataFrame({"price": ["$6", "NA"]}))
        {'price': "'$6' is read as 6; 'NA' is read as missing"}
        """
        frame = as_frame(frame)
        targets = [name for name in self.targets if name in frame]
        reader = self._reader(frame, [*(column.name for column in self.columns), *targets])
        for column in self.columns:
            if isinstance(column, Date):
                reader.note_dates(column.name, column.read(reader.columns[column.name])[1])
            elif isinstance(column, Number):
                reader.note_numbers(column.name)
        for name in targets if self.task == "regression" else []:
            reader.note_numbers(name)
        return reader.guesses

    def has_targets(self, frame: Any) -> np.ndarray:
        """Where all targets have a value, (N,) bool. Raises ValueError where a column is missing."""
        reader = self._reader(frame, list(self.targets))
        if self.task == "regression":
            known = [~np.isnan(p.values) for p in reader.parsed.values()]
            bad = [np.isin(np.arange(len(reader.frame)), p.bad) for p in reader.parsed.values()]
            return np.all(np.logical_or(known, bad), axis=0)
        return reader.known(self.targets[0])

    def encode_targets(self, frame: Any) -> np.ndarray:
        """The targets as the network learns them: class numbers (N,), or standardised values (N, targets).

        Raises
        ------
        ValueError
            Where columns are missing, or a value is missing or not a known class or a number.
        """
        reader = self._reader(frame, list(self.targets))
        columns = reader.columns
        if self.task == "classification":
            (name,) = self.targets
            codes = codes_of(self._text(columns[name]), self.classes)
            if (codes < 0).any():
                row = int(np.argmax(codes < 0))
                raise ValueError(f"target {name!r} must be one of {listed(self.classes)}, got {at(columns[name], row)}")
            return codes
        y = reader.values(list(self.targets))
        if not np.isfinite(y).all():
            row, k = (int(i) for i in np.argwhere(~np.isfinite(y))[0])
            raise ValueError(f"target {self.targets[k]!r} must be finite, got {at(columns[self.targets[k]], row)}")
        return (y - self.mean) / self.scale

    def decode(self, outputs: np.ndarray) -> Any:
        """Predictions of the network's outputs, (N, outputs), as a pandas.DataFrame.

        For classification the most probable class in a column named as the target, of its dtype, and a column
        ``probability_CLASS`` for each; for regression a column for each target, in the target's units.
        """
        pd = pandas()
        if self.task == "regression":
            values = outputs.astype(np.float64) * self.scale + self.mean
            return pd.DataFrame(values, columns=list(self.targets))
        labels = self._labels()[outputs.argmax(axis=1)]
        probabilities = {f"probability_{name}": outputs[:, k] for k, name in enumerate(self.classes)}
        return pd.DataFrame({self.targets[0]: labels} | probabilities)

    def to_json(self) -> str:
        """Everything, as text; floats are written so that they come back bit for bit."""
        kinds = {cls: kind for kind, cls in KINDS.items()}
        columns = [{"kind": kinds[type(column)]} | vars(column) for column in self.columns]
        return json.dumps(vars(self) | {"columns": columns}, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Table:
        """What :meth:`to_json` wrote, also of earlier versions. Raises ValueError where it is something else."""

        def column(data: dict[str, Any]) -> Any:
            data = dict(data)
            lists = {k: tuple(data[k]) for k in ("values", "cycles", "more") if k in data}
            return KINDS[data.pop("kind")](**data | lists)

        try:
            data = json.loads(text)
            if not isinstance(data, dict):
                raise TypeError(f"an object was expected, got {type(data).__name__}")
            read: dict[str, Any] = {k: tuple(data[k]) for k in ("targets", "classes", "mean", "scale")}
            for key in ("left_out", "guesses"):
                read[key] = {str(name): str(words) for name, words in data.get(key, {}).items()}
            read["spelled"] = {str(name): Spelling(*marks) for name, marks in data.get("spelled", {}).items()}
            read["missing"] = None if data.get("missing") is None else tuple(data["missing"])
            return cls(**data | read | {"columns": tuple(map(column, data["columns"]))})
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"not the preprocessing of a table, or a damaged one: {what}") from None

    def _reader(self, frame: Any, names: list[str]) -> Reader:
        frame = as_frame(frame)
        require_columns(frame, names)
        return Reader(frame, self.missing, names, self.spelled, fitted=True)

    def _cells(self, reader: Reader, column: Number | Category | Date) -> Any:
        """What a column's ``encode`` takes."""
        cells = reader.columns[column.name]
        if isinstance(column, Number):
            return reader.numbers(column.name)
        if isinstance(column, Category) and column.name in self.spelled:
            return pandas().Series(self._text(cells), cells.index, dtype=object, name=column.name)
        return cells

    def _text(self, column: Any) -> np.ndarray:
        """Texts whose numbers are spelled as the classes and categories are."""
        text = texts(column)
        return respelled(text, self.spelled[column.name]) if column.name in self.spelled else text

    def _labels(self) -> Any:
        """The classes as predictions have them, in an array of pandas or NumPy."""
        checks.one_of(self.dtype, "dtype", DTYPES)
        pd, labels = pandas(), np.array(self.classes, object)
        if self.dtype.startswith("bool"):
            if not set(self.classes) <= {"True", "False"}:
                raise ValueError(f"classes of dtype {self.dtype} must be True and False, got {listed(self.classes)}")
            labels = pd.array(labels == "True", dtype=self.dtype)
        elif self.dtype:
            number = float if self.dtype == "float64" else int
            labels = pd.array([number(name) for name in self.classes], dtype=self.dtype)
        return pd.Categorical(labels, categories=labels) if self.categorical else labels


def infer_task(frame: Any, targets: Sequence[str], missing: Collection[str] | None = None) -> str:
    """Classification for texts, Booleans, categories and at most `FEW_VALUES` different whole numbers, else regression.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"price": [1.5, 2.0, 3.25], "stars": [1, 5, 5]})
    >>> infer_task(frame, ["price"]), infer_task(frame, ["stars"]), infer_task(frame, ["price", "stars"])
    ('regression', 'classification', 'regression')
    """
    frame = as_frame(frame)
    require_columns(frame, targets)
    return Reader(frame, missing, list(targets)).task(list(targets))


def has_targets(frame: Any, targets: Sequence[str], missing: Collection[str] | None = None) -> np.ndarray:
    """Where all targets have a value, (N,) bool; a word such as NA is none where the others are numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"price": ["1.5", "NA", "2"], "state": ["NA", "NV", None]})
    >>> has_targets(frame, ["price"]).tolist(), has_targets(frame, ["state"]).tolist()
    ([True, False, True], [True, True, False])
    """
    frame = as_frame(frame)
    require_columns(frame, targets)
    reader = Reader(frame, missing, list(targets))
    return np.all([reader.known(name) for name in targets], axis=0)


def words_for_missing(frame: Any, names: Sequence[str], missing: Collection[str] | None = None) -> list[str]:
    """The words in some columns that say that a value is missing, as they are written.

    Examples
    --------
    >>> import pandas as pd
    >>> words_for_missing(pd.DataFrame({"price": ["1.5", "NA", "2"]}), ["price"])
    ['NA']
    """
    reader = Reader(as_frame(frame), missing, list(names))
    return list(dict.fromkeys(word for name in names for word in reader.parsed[name].words if reader.is_number(name)))


def _moments(y: np.ndarray, targets: list[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = np.mean(y, axis=0), np.std(y, axis=0)
    for name, m, s in zip(targets, mean, scale):
        if not (np.isfinite(m) and 0 < s < np.inf):
            raise ValueError(f"target {name!r} must be finite, not too large and not constant over the samples")
    return tuple(mean.tolist()), tuple(scale.tolist())
