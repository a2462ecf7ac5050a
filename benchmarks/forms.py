"""The forms in which people hand over X: dtypes, orders in memory, sparse matrices, frames.

`FORMS[name](values)` puts values, about standard normal and (N, n), into a form. They are not the same numbers in
each: whole numbers are rounded, bool is the sign, and of a sparse matrix only the outer 11 % are left.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

FILLED = 1.6  # of normal values 11 % are farther from 0


def cast(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.ascontiguousarray(values, dtype)


def whole(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """Small whole numbers: of unsigned dtypes 0 to 3, like counts."""
    if dtype.startswith("u"):
        return lambda values: np.clip(np.rint(values + 1), 0, 3).astype(dtype)
    return lambda values: np.rint(values).astype(dtype)


def fortran(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.asfortranarray(values, dtype)


def backwards(values: np.ndarray) -> np.ndarray:
    """Both strides are negative."""
    return np.ascontiguousarray(values[::-1, ::-1], np.float32)[::-1, ::-1]


def gaps(values: np.ndarray) -> np.ndarray:
    """Every second column of a wider array."""
    wide = np.zeros((len(values), 2 * values.shape[1]), np.float32)
    wide[:, ::2] = values
    return wide[:, ::2]


def swapped(values: np.ndarray) -> np.ndarray:
    """float64 in the order of bytes that this processor does not have."""
    return values.astype(np.dtype(np.float64).newbyteorder("S"))


def memmap(values: np.ndarray) -> np.ndarray:
    """A float64 file, read only. It has no name, and goes with the array."""
    with tempfile.TemporaryFile() as file:
        np.ascontiguousarray(values, np.float64).tofile(file)
        file.flush()
        return np.memmap(file, np.float64, "r", shape=values.shape)


def csr(values: np.ndarray) -> Any:
    from scipy import sparse

    return sparse.csr_array(np.where(np.abs(values) > FILLED, values, 0).astype(np.float64))


def frame(values: np.ndarray) -> Any:
    """A pandas frame of float64 columns, as a file of numbers is read: pandas holds it column by column."""
    import pandas

    return pandas.DataFrame({f"x{j}": column.astype(np.float64) for j, column in enumerate(values.T)})


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "float32": cast("float32"),
    "float64": cast("float64"),
    "float16": cast("float16"),
    "uint8": whole("uint8"),
    "int16": whole("int16"),
    "int32": whole("int32"),
    "int64": whole("int64"),
    "bool": lambda values: values > 0,
    "fortran32": fortran("float32"),
    "fortran64": fortran("float64"),
    "backwards": backwards,
    "gaps": gaps,
    "swapped": swapped,
    "memmap": memmap,
    "csr": csr,
    "frame": frame,
}


def as_array(X: Any, dtype: str) -> np.ndarray:
    """X in any form as an array in C order: what one makes of it, once, for a library that takes nothing else."""
    return np.ascontiguousarray(X.toarray() if hasattr(X, "toarray") else X, dtype)


def first(X: Any, rows: int) -> Any:
    """The first rows, in the same form."""
    return X.iloc[:rows] if hasattr(X, "iloc") else X[:rows]
