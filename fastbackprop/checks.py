"""What users pass in: arrays made uniform, and one clear error for each thing that cannot be."""

from __future__ import annotations

import contextlib
import difflib
import math
import operator
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from fastbackprop import frames

LONGEST_SHOWN = 200  # characters of a value in an error
CHUNK = 1 << 16  # elements looked at at once: a large or memory-mapped array is never copied whole


def whole_number(value: Any, name: str, minimum: int) -> int:
    """An integer of at least ``minimum``."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer of at least {minimum}, got {shortened(value)}") from None
    if number < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {shortened(value)}")
    return number


def real_number(value: Any, name: str, low: float, high: float = np.inf, *, open_low: bool = False) -> float:
    """A finite number in [low, high) or, with ``open_low``, (low, high)."""
    accepted = f"a number {'above' if open_low else 'of at least'} {low:g}"
    accepted += "" if high == np.inf else f" and below {high:g}"
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{name} must be {accepted}, got {shortened(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {accepted}, got {shortened(value)}") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be {accepted}, got {shortened(value)}") from None
    if not (low < number if open_low else low <= number) or not number < high:
        raise ValueError(f"{name} must be {accepted}, got {shortened(value)}")
    return number


def boolean(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def one_of(value: Any, name: str, accepted: Collection[str]) -> str:
    """One of a set of names."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(accepted)}, got {value!r}")
    if value not in accepted:
        meant = did_you_mean(value, accepted)
        raise ValueError(f"{name} must be one of {', '.join(accepted)}, got {shortened(value)}{meant}")
    return value


def did_you_mean(value: str, accepted: Collection[str]) -> str:
    """``"; did you mean 'adam'?"``, or nothing where no name is like it."""
    words = {word.lower().replace("-", "_"): word for word in accepted}
    close = difflib.get_close_matches(value[:100].lower().replace("-", "_").replace(" ", "_"), words, 1)
    return f"; did you mean {words[close[0]]!r}?" if close else ""


def shortened(value: Any) -> str:
    """The value as an error shows it: its repr, of bounded length."""
    try:
        text = repr(value)
    except Exception:  # whole numbers of more than 4300 digits have none
        text = f"one {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def layer_sizes(sizes: Any) -> tuple[int, ...]:
    """At least two whole numbers, n[0] to n[L]."""
    if isinstance(sizes, (str, bytes)) or not isinstance(sizes, (Sequence, np.ndarray)):
        raise TypeError(f"sizes must be a sequence of layer sizes such as (784, 128, 10), got {sizes!r}")
    if np.ndim(sizes) != 1 or len(sizes) < 2:
        raise ValueError(f"sizes must name at least the inputs and the outputs, such as (784, 10), got {sizes!r}")
    return tuple(whole_number(n, f"sizes[{l}]", 1) for l, n in enumerate(sizes))


def float_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 or float64."""
    try:
        kind = np.dtype(dtype if dtype is not None else "")  # to NumPy None is float64
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"dtype must be 'float32' or 'float64', got {dtype!r}") from None
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return kind


def generator(seed: Any) -> np.random.Generator:
    """A NumPy generator from None, a whole number, a SeedSequence, a Generator or a RandomState.

    The last two move on: what they give next is another seed.
    """
    if seed is None or isinstance(seed, (np.random.Generator, np.random.SeedSequence)):
        return np.random.default_rng(seed)
    if isinstance(seed, np.random.RandomState):
        return np.random.default_rng(seed.randint(0, 1 << 32, size=4, dtype=np.uint64))
    return np.random.default_rng(whole_number(seed, "seed", 0))


def seed_number(seed: Any) -> int:
    """A whole number as it is, or one below 2^32 drawn from a SeedSequence, a Generator or a RandomState."""
    if isinstance(seed, (np.random.SeedSequence, np.random.Generator, np.random.RandomState)):
        return int(generator(seed).integers(1 << 32))
    return whole_number(seed, "seed", 0)


@contextlib.contextmanager
def put_back_on_error(seed: Any) -> Iterator[None]:
    """A Generator or a RandomState of the caller moves on only where the block raises no error."""
    if isinstance(seed, np.random.Generator):
        before: Any = seed.bit_generator.state
    elif isinstance(seed, np.random.RandomState):
        before = seed.get_state()
    try:
        yield
    except BaseException:
        if isinstance(seed, np.random.Generator):
            seed.bit_generator.state = before
        elif isinstance(seed, np.random.RandomState):
            seed.set_state(before)
        raise


def numbers(values: Any, name: str, hint: str = "") -> np.ndarray:
    """An array of real numbers: a view of our own, of which a caller can change the numbers but not shape or dtype.

    Only frames are copied, which may be of several arrays. ``hint``: what else to say where it holds texts or the like.
    """
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} must be a dense array of numbers, got a sparse {type(values).__name__}")
    if np.ma.is_masked(values):
        raise TypeError(f"{name} must be an array without masked values, got a masked array")
    array = frames.numbers(values, name, np.dtype(np.float64))
    try:
        array = (array.toarray() if isinstance(array, frames.Frame) else np.asarray(array)).view()
    except ValueError:
        raise ValueError(f"{name} must be an array of numbers, got a ragged {type(values).__name__}") from None
    except OverflowError:
        raise ValueError(f"{name} must be finite in float64, got larger whole numbers") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}{hint}")
    return array


def all_finite(array: np.ndarray) -> bool:
    """Whether all elements of an array that has some are finite: without memory of its own, which might be short."""
    return math.isfinite(array.min()) and math.isfinite(array.max())  # NaN is the minimum where there is one


def finite(array: Any, name: str, dtype: np.dtype[Any]) -> None:
    """All elements are finite, also after the conversion to ``dtype``."""
    if array.dtype.kind != "f":
        return
    if hasattr(array, "tocoo"):
        entries = array.tocoo()
        for start in range(0, entries.nnz, CHUNK):
            part = entries.data[start : start + CHUNK]
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                bad = np.flatnonzero(~np.isfinite(part.astype(dtype, copy=False)))
            if len(bad):
                k = start + int(bad[0])
                _not_finite(entries.data[k], name, (int(entries.row[k]), int(entries.col[k])), dtype)
        return
    step = max(1, CHUNK // max(1, array.shape[1] if array.ndim == 2 else 1))
    for start in range(0, len(array), step):
        part = array[start : start + step]
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            good = np.isfinite(part.astype(dtype, copy=False))
        if not good.all():
            where = tuple(int(i) for i in np.argwhere(~good)[0])
            _not_finite(part[where], name, (start + where[0], *where[1:]), dtype)


def _not_finite(value: Any, name: str, where: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    kind = f" in {dtype}" if np.isfinite(value) else ""
    raise ValueError(f"{name} must be finite{kind}, got {value!s} at {name}[{', '.join(map(str, where))}]")


def _csr(values: Any, name: str, dtype: np.dtype[Any], apart: bool) -> Any:
    """A sparse matrix of numbers as CSR, whose indices are what they should be, each place once.

    ``apart``: it shares no memory with the caller's, whose methods such as `eliminate_zeros` move numbers in place.
    """
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}")
    try:
        if hasattr(values, "check_format"):  # SciPy's conversions go by the indices without a look at them
            values.check_format(full_check=True)
        elif values.format == "coo":
            for size, index in zip(values.shape, (values.row, values.col), strict=True):
                if len(index) and not 0 <= index.min() <= index.max() < size:
                    raise ValueError("indices must be those of rows and columns that there are")
        matrix = values.tocsr()
        if matrix.dtype.itemsize > np.dtype(np.float64).itemsize:  # which no reader reads
            with np.errstate(over="ignore", under="ignore"):
                matrix = matrix.astype(dtype)
        if matrix is values:  # which the caller may resize meanwhile: SciPy then writes into `indptr`
            parts = (matrix.data.copy(), matrix.indices.copy()) if apart else (matrix.data, matrix.indices)
            matrix = type(matrix)((*parts, matrix.indptr.copy()), shape=matrix.shape)
        matrix.check_format(full_check=True)
        if not matrix.has_canonical_format:  # elements that are stored twice count once each
            matrix = matrix.copy()
            matrix.sum_duplicates()
    except ValueError as error:
        raise ValueError(f"{name} must be a sound sparse matrix: {error}") from None
    return matrix


def rows(
    values: Any, name: str, columns: int, dtype: np.dtype[Any], *, unread: bool = False, empty: bool = False,
    apart: bool = False,
) -> Any:  # fmt: skip
    """A two-dimensional array of numbers that are finite in ``dtype``, one row a sample. Nothing is copied.

    A vector is a column of samples where one column is expected, else one sample. A SciPy sparse matrix is returned as
    CSR, one of the same data that nobody else has, or with ``apart`` of data of its own, for those whose callbacks are
    called meanwhile; a large frame as a `Frame`. With ``unread``, whether the numbers are finite is left to the caller;
    with ``empty`` there may be no rows.
    """
    values = frames.numbers(values, name, dtype)
    if hasattr(values, "tocsr"):
        if values.ndim != 2:
            raise ValueError(f"{name} must have shape (N, {columns}), one row a sample, got {values.shape}")
        array = _csr(values, name, dtype, apart)
    else:
        array = values if isinstance(values, frames.Frame) else numbers(values, name)
    if array.ndim == 1 and (columns == 1 or len(array) == columns):
        array = array.reshape(-1, columns)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f"{name} must have shape (N, {columns}), one row a sample, got {array.shape}")
    if not array.shape[0] and not empty:
        raise ValueError(f"{name} must hold at least one sample, got shape {array.shape}")
    if not unread:
        finite(array, name, dtype)
    return array


def output_array(out: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], *inputs: Any) -> None:
    """Refuse what compiled code may not write to: all but writable arrays of this shape, apart from ``inputs``."""
    accepted = f"a writable array of shape {shape} and dtype {dtype}, in C order"
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be {accepted}, got {shortened(out)}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"{name} must be {accepted}, got shape {out.shape} of {out.dtype.str}")
    for good, what in (
        (out.dtype.isnative, "in another order of bytes"),
        (out.flags.writeable, "read-only"),
        (out.flags.c_contiguous, "not in C order"),
        (out.flags.aligned, "not aligned"),
    ):
        if not good:
            raise ValueError(f"{name} must be {accepted}, got one that is {what}")
    for given in inputs:
        parts = [given, *(getattr(given, part, None) for part in ("data", "indices", "indptr"))]
        if any(isinstance(part, np.ndarray) and np.may_share_memory(out, part) for part in parts):
            raise ValueError(f"{name} must not share memory with what is read: X and the parameters")


def row_numbers(values: Any, name: str, samples: int) -> np.ndarray:
    """int64 row numbers from 0 to samples - 1, at least one, in memory of their own."""
    array = numbers(values, name)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a vector of row numbers, got shape {array.shape} of {array.dtype}")
    if array.min() < 0 or array.max() >= samples:
        raise ValueError(
            f"{name} must be row numbers from 0 to {samples - 1}, got some from {array.min()} to {array.max()}"
        )
    return np.array(array, np.int64)


def class_indices(array: np.ndarray, name: str, classes: int, samples: int) -> np.ndarray:
    """int64 class numbers 0 to classes - 1, one a sample, from a vector of numbers.

    Always a copy: the engine counts from these numbers where to write, and a callback, or another thread, may change
    the caller's meanwhile.
    """
    if len(array) != samples:
        raise ValueError(f"{name} must have one target for each of the {samples} samples, got {len(array)}")
    finite(array, name, array.dtype)
    with np.errstate(invalid="ignore"):
        whole = np.array(array, np.int64)
    out = (whole < 0) | (whole >= classes)
    if out.any():
        raise ValueError(f"{name} must hold class numbers from 0 to {classes - 1}, got {array[out][0]!s}")
    if array.dtype.kind == "f" and not np.array_equal(whole, array):
        bad = array[whole != array][0]
        raise ValueError(f"{name} must hold class numbers, whole and from 0 to {classes - 1}, got {bad!s}")
    return whole
