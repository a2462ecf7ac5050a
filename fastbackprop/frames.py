"""Frames of numbers, of pandas, polars and Arrow, as arrays: whole where that is small, else some rows at a time."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

# What is not read where it lies is converted whole, once, where that takes no more bytes than this; else by chunks.
SMALL_COPY = 1 << 28
PANDAS_NUMBERS = {"boolean", "decimal", "floating", "integer", "mixed-integer-float"}  # words of its infer_dtype


class _Pandas:
    """What is asked of a pandas.DataFrame."""

    @staticmethod
    def unsuitable(frame: Any) -> list[tuple[Any, Any]]:
        """The columns that hold other things than numbers and bools, with their dtypes."""
        from pandas import CategoricalDtype
        from pandas.api import types

        def is_number(j: int, dtype: Any) -> bool:
            if types.is_object_dtype(dtype):
                return types.infer_dtype(frame.iloc[:, j], skipna=True) in PANDAS_NUMBERS
            is_real = types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
            return is_real or (types.is_bool_dtype(dtype) and not isinstance(dtype, CategoricalDtype))

        dtypes = enumerate(zip(frame.columns, frame.dtypes, strict=True))
        return [(name, dtype) for j, (name, dtype) in dtypes if not is_number(j, dtype)]

    @staticmethod
    def array(frame: Any) -> np.ndarray | None:
        """The numbers where they lie, if they are all in one array."""
        dtypes = set(frame.dtypes)
        if len(dtypes) != 1 or not all(isinstance(dtype, np.dtype) and dtype.kind in "fiub" for dtype in dtypes):
            return None
        first = frame.iloc[:1]
        return frame.to_numpy() if np.shares_memory(first.to_numpy(), first.to_numpy()) else None

    @staticmethod
    def taken(frame: Any, rows: Any) -> Any:
        """Some rows as a frame."""
        return frame.iloc[rows]

    @staticmethod
    def converted(frame: Any, dtype: np.dtype[Any]) -> np.ndarray:
        """The numbers; NaN where a value is missing."""
        return frame.to_numpy(dtype=dtype, na_value=np.nan)


class _Polars:
    """What is asked of a polars.DataFrame."""

    @staticmethod
    def unsuitable(frame: Any) -> list[tuple[Any, Any]]:
        import polars

        return [(name, t) for name, t in frame.schema.items() if not (t.is_numeric() or t == polars.Boolean)]

    @staticmethod
    def array(frame: Any) -> np.ndarray | None:
        return None

    @staticmethod
    def taken(frame: Any, rows: Any) -> Any:
        return frame[rows]

    @staticmethod
    def converted(frame: Any, dtype: np.dtype[Any]) -> np.ndarray:
        import polars

        return frame.cast(polars.Float32 if dtype == np.float32 else polars.Float64).to_numpy()


class _Arrow:
    """What is asked of a pyarrow.Table or RecordBatch."""

    @staticmethod
    def unsuitable(frame: Any) -> list[tuple[Any, Any]]:
        from pyarrow import types as t

        kinds = t.is_integer, t.is_floating, t.is_boolean, t.is_decimal
        return [(field.name, field.type) for field in frame.schema if not any(is_(field.type) for is_ in kinds)]

    @staticmethod
    def array(frame: Any) -> np.ndarray | None:
        return None

    @staticmethod
    def taken(frame: Any, rows: Any) -> Any:
        return (
            frame.slice(rows.start or 0, rows.stop - (rows.start or 0)) if isinstance(rows, slice) else frame.take(rows)
        )

    @staticmethod
    def converted(frame: Any, dtype: np.dtype[Any]) -> np.ndarray:
        import pyarrow
        from pyarrow import compute

        result, to = np.empty((frame.num_rows, frame.num_columns), dtype, order="F"), pyarrow.from_numpy_dtype(dtype)
        for j, column in enumerate(frame.columns):
            result[:, j] = compute.cast(column, to, safe=False).to_numpy(zero_copy_only=False)
        return result


def _library_of(values: Any) -> Any:
    """Which of the above a value is to be asked by, if it is a frame; no library is imported for that."""
    for library, name, classes in (
        (_Pandas, "pandas", ("DataFrame",)),
        (_Polars, "polars", ("DataFrame",)),
        (_Arrow, "pyarrow", ("Table", "RecordBatch")),
    ):
        module = sys.modules.get(name)
        if module is not None and isinstance(values, tuple(getattr(module, c) for c in classes)):
            return library
    return None


class Frame:
    """A large frame of numbers, of which some rows at a time are made an array.

    Attributes
    ----------
    shape : (N, n)
    dtype : the dtype of those arrays
    """

    ndim = 2

    def __init__(self, frame: Any, library: Any, dtype: np.dtype[Any], name: str) -> None:
        self._frame, self._library, self._name = frame, library, name
        self.shape: tuple[int, int] = frame.shape
        self.dtype = dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Some rows, by their numbers."""
        if isinstance(rows, slice):
            rows = slice(*rows.indices(len(self)))
        count = len(range(rows.start, rows.stop, rows.step)) if isinstance(rows, slice) else len(rows)
        taken = self._library.taken(self._frame, rows)
        try:
            with np.errstate(over="ignore", under="ignore"):  # what overflows is infinite, and reported as such
                array: np.ndarray = self._library.converted(taken, self.dtype)
        except (ArithmeticError, TypeError, ValueError) as error:  # of Python's numbers, which are larger than floats
            raise ValueError(f"{self._name} must hold numbers that are finite in {self.dtype}: {error}") from None
        if self._frame.shape != self.shape or array.shape != (count, self.shape[1]):
            raise ValueError(f"a frame must stay as it is while it is read, got {self._frame.shape} after {self.shape}")
        return array

    def toarray(self) -> np.ndarray:
        """All of it."""
        return self[:]


def numbers(values: Any, name: str, dtype: np.dtype[Any]) -> Any:
    """A frame's numbers in ``dtype``: an ndarray (N, n), or a `Frame` where that is large. Else what was given.

    A frame whose numbers lie in one array gives that array, whatever its dtype.

    Raises
    ------
    TypeError
        Where a column holds other things than numbers and bools.
    """
    series = getattr(sys.modules.get("pandas"), "Series", ())
    if isinstance(values, series) and not isinstance(values.dtype, np.dtype):
        kind = getattr(values.dtype, "kind", "O")  # of pandas' own dtypes: values may be missing
        if kind in "iu" and not values.isna().any():
            return values.to_numpy(np.dtype(f"{kind}8"))  # floats do not hold all of them
        array = numbers(values.to_frame(), name, dtype)
        return (array.toarray() if isinstance(array, Frame) else array)[:, 0]
    library = _library_of(values)
    if library is None:
        return values
    array = library.array(values)
    if array is not None:
        return array
    if wrong := library.unsuitable(values):
        raise TypeError(
            f"{name} must hold numbers only, got column {wrong[0][0]!r} of dtype {wrong[0][1]}; "
            "fastbackprop.tables.Table makes numbers of texts"
        )
    frame = Frame(values, library, dtype, name)
    return frame if frame.shape[0] * frame.shape[1] * dtype.itemsize > SMALL_COPY else frame.toarray()
