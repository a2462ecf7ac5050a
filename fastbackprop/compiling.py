"""Compile ahead: for images of containers, clusters, and whoever does not want to wait later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from fastbackprop import checks
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.engine import entries, operations
from fastbackprop.plan import pass_of

KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")  # of X, in dense arrays
SPARSE_KINDS = ("f4", "f8")  # of X, in CSR matrices whose numbers are int32


def _use(dtype: np.dtype[Any]) -> None:
    """Call once what is compiled for the arrays of a call."""
    from fastbackprop.network import Network

    X = np.eye(2, dtype=dtype)
    for output, Y in (("softmax", np.arange(2)), ("identity", X)):
        net = Network((2, 2), output=output, dtype=dtype)
        net.fit(X, Y, epochs=1)
        net.forward(X)
        net.gradients(X, Y)


def _pieces(dtype: np.dtype[Any]) -> Iterator[Callable[[], object]]:
    """What there is to compile for an element type."""
    yield partial(_use, dtype)
    for operation in operations.all_of_them():
        yield lambda name=operation: operations.entry_of(name, dtype).address  # type: ignore[misc]
    for name in ("forward", "forward_packed", "backward", "backward_packed"):
        yield partial(entries.product, name, dtype)
    for activation in ACTIVATIONS:
        yield partial(pass_of, activation, dtype)
    for kind in KINDS:
        if np.dtype(kind) != dtype:
            yield partial(entries.reader, dtype, np.dtype(kind))
    for kind in SPARSE_KINDS:
        yield partial(entries.reader, dtype, np.dtype(kind), np.dtype("i4"))


def compile(  # noqa: A001
    dtypes: Iterable[Any] = ("float32", "float64"), progress: Callable[[int, int], object] | None = None
) -> int:
    """Compile all of the engine, so that no later call waits, in this process or another.

    The compiled code is kept where Numba keeps its own: in ``NUMBA_CACHE_DIR``, or in the package's ``__pycache__``. It
    is for this processor, and for the versions of Python, NumPy, Numba and fastbackprop that are installed. What is
    there already is not compiled again. Without this, each piece is compiled when it is first needed.

    Parameters
    ----------
    dtypes : iterable of 'float32' or 'float64'
        The networks' element types.
    progress : callable, optional
        Called with the number of pieces done and of all.

    Returns
    -------
    int
        The number of pieces.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> fb.compile([])
    0
    """
    pieces = [piece for dtype in dtypes for piece in _pieces(checks.float_dtype(dtype))]
    for done, piece in enumerate(pieces):
        if progress is not None:
            progress(done, len(pieces))
        piece()
    return len(pieces)
