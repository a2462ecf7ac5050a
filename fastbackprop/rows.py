"""Samples and targets as the engine reads them: a row each, where they lie."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.entries import has_reader, reader
from fastbackprop.frames import SMALL_COPY

# Rows and columns that are converted at once: the lines of both sides stay in the first two levels of the cache.
TILE_ROWS, TILE_COLUMNS = 512, 64
INPUT_FIELDS = "inputs", "input_stride", "input_reader"
TARGET_FIELDS = "targets", "target_stride", "target_reader"


def is_native(array: Any, dtype: np.dtype[Any]) -> bool:
    """Whether an array has rows of the engine's own: of its dtype, aligned, one element after the other."""
    return (
        isinstance(array, np.ndarray)  # not a sparse matrix
        and array.dtype == dtype  # in the native order of bytes too
        and (array.shape[1] == 1 or array.strides[1] == array.itemsize)
        and array.flags.aligned
        and array.strides[0] % array.itemsize == 0
    )


def native(array: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """The rows as the engine's own: the array itself, or a copy of it."""
    if is_native(array, dtype):
        return array
    if not isinstance(array, np.ndarray):
        array = array.toarray()
    result = np.empty(array.shape, dtype)
    # What overflows is infinite, and reported as such.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for i in range(0, array.shape[0], TILE_ROWS):
            for j in range(0, array.shape[1], TILE_COLUMNS):
                tile = slice(i, i + TILE_ROWS), slice(j, j + TILE_COLUMNS)
                result[tile] = array[tile]
    return result


def _is_mapped(array: Any) -> bool:
    """Whether an array lies in a file."""
    while array is not None and not isinstance(array, (np.memmap, mmap.mmap)):
        array = getattr(array, "base", None) if isinstance(array, np.ndarray) else getattr(array, "obj", None)
    return array is not None


def _is_scattered(array: Any) -> bool:
    """Whether the elements of a row lie apart, as in Fortran's order."""
    return isinstance(array, np.ndarray) and array.shape[1] > 1 and array.strides[1] != array.itemsize


class Rows:
    """A matrix, a sample a row, as the engine reads it.

    Parameters
    ----------
    array : ndarray (N, n), CSR matrix, or `Frame`
        As ``checks.rows`` gives it; it must stay as it is while it is read.
    dtype : float32 or float64
        The engine's.
    shuffled : bool
        Whether the rows will be read in another order than theirs, and again and again. Where a row's elements lie
        apart, each of them is then a line of the cache of its own: such an array is copied if the copy is small.

    Attributes
    ----------
    in_place : bool
        Whether the engine reads the rows where they lie. Those of others are converted, some at a time.
    """

    def __init__(self, array: Any, dtype: np.dtype[Any], *, shuffled: bool = False) -> None:
        if shuffled and _is_scattered(array) and not _is_mapped(array) and array.size * dtype.itemsize <= SMALL_COPY:
            array = native(array, dtype)
        self.array, self.dtype, self.shape = array, dtype, array.shape
        self._address = self._stride = self._reader = 0
        self._alive: Any = array  # as long as its address is in use
        is_dense = isinstance(array, np.ndarray)
        elements = array if is_dense else getattr(array, "data", None)  # of a sparse matrix those that are stored
        self.in_place = isinstance(elements, np.ndarray) and has_reader(elements.dtype)
        if is_native(array, dtype):
            self._address, self._stride = array.ctypes.data, array.strides[0] // array.itemsize
        elif self.in_place and is_dense:
            self._reader = reader(dtype, array.dtype)
            self._set_source([array.ctypes.data, *array.strides], array.nbytes)
        elif self.in_place:
            self._set_sparse(array)

    def _set_source(self, words: list[int], size: int) -> None:
        self._source = np.array(words, np.int64)
        self._address = self._source.ctypes.data
        self._stride = size // max(1, self.shape[0]) // self.dtype.itemsize

    def _set_sparse(self, array: Any) -> None:
        number = np.dtype(np.int32 if array.indices.dtype == array.indptr.dtype == np.int32 else np.int64)
        data = np.ascontiguousarray(array.data)
        columns, starts = (np.ascontiguousarray(part, number) for part in (array.indices, array.indptr))
        self._alive = data, columns, starts
        self._reader = reader(self.dtype, data.dtype, number)
        stored = min(len(data), len(columns))
        self._set_source(
            [data.ctypes.data, columns.ctypes.data, starts.ctypes.data, stored], data.nbytes + columns.nbytes
        )

    def __getitem__(self, part: slice) -> Rows:
        """Rows that follow each other, which the engine reads in place."""
        if not self.in_place:
            return self.taken(part)
        if isinstance(self.array, np.ndarray):
            return Rows(self.array[part], self.dtype)
        rows = Rows.__new__(Rows)
        vars(rows).update(vars(self))
        rows.shape = part.stop - part.start, self.shape[1]
        rows._source = self._source.copy()
        rows._source[at.STARTS] += part.start * self._alive[2].itemsize
        rows._address = rows._source.ctypes.data
        return rows

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy reads a copy: addresses are those of one array in one process."""
        return Rows, (self.array, self.dtype)

    def taken(self, numbers: np.ndarray | slice) -> Rows:
        """A copy of some rows."""
        return Rows(native(self.array[numbers], self.dtype), self.dtype)

    def put(self, job: np.void, fields: tuple[str, str, str] = INPUT_FIELDS) -> None:
        """Write into a job where the rows lie; they must stay alive as long as the job is done."""
        for field, value in zip(fields, (self._address, self._stride, self._reader), strict=True):
            job[field] = value


def put_data(job: np.void, X: Rows, Y: Rows | np.ndarray | None, weights: np.ndarray | None = None) -> None:
    """Write the addresses of inputs, targets and sample weights into a job. ``Y``: rows, or int64 class numbers."""
    X.put(job)
    job["sample_weights"] = 0 if weights is None else weights.ctypes.data
    if isinstance(Y, Rows):
        job["target_kind"] = at.DENSE
        Y.put(job, TARGET_FIELDS)
    elif Y is not None:
        job["target_kind"], job["targets"] = at.CLASSES, Y.ctypes.data
    else:
        job["target_kind"] = at.NO_TARGETS


def targets(Y: np.ndarray, dtype: np.dtype[Any], *, shuffled: bool = False) -> Rows | np.ndarray:
    """Targets as `put_data` takes them: class numbers as they are, others as rows."""
    if Y.ndim == 1:
        return Y
    rows = Rows(Y, dtype, shuffled=shuffled)
    return rows if rows.in_place else rows.taken(slice(None))
