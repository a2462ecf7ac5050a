"""The arrays of a call written into its job by compiled code: their addresses cost microseconds in Python."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import entry, inline
from fastbackprop.engine.places import clock_at

_entry = partial(entry, nogil=False)  # each takes no longer than to give the interpreter's lock back


@inline
def _is_aligned(array):
    return np.intp(array.ctypes.data) % array.itemsize == 0


@inline
def _are_rows(array, width):
    """Whether a matrix has rows of so many elements that lie one after the other, as they can be read."""
    rows_follow = array.strides[0] == width * array.itemsize or array.shape[0] == 1
    elements_follow = array.strides[1] == array.itemsize or width == 1
    return array.shape[1] == width and rows_follow and elements_follow and _is_aligned(array)


@inline
def _put_inputs(job, X):
    job[at.SAMPLES] = job[at.BATCH] = X.shape[0]
    job[at.INPUTS] = np.intp(X.ctypes.data)
    job[clock_at(job[at.THREADS]) :] = 0
    return _are_rows(X, job[at.INPUT_STRIDE])


@inline
def _put_gradient(job, X, Y, vector, costs):
    job[at.TARGETS], job[at.GRADIENT_AT] = np.intp(Y.ctypes.data), np.intp(vector.ctypes.data)
    costs[:] = 0.0
    return _put_inputs(job, X) and len(Y) == len(X)


@_entry
def put_rows(job, X, outputs):
    """Describe a forward pass of X (N, n[0]) whose outputs are to be written to `outputs` (N, n[L]).

    The widths of the rows of X and of targets are in the job's INPUT_STRIDE and TARGET_STRIDE; its clock is set to 0.
    Returns False where X has another width, or its rows cannot be read as if it were contiguous and aligned.
    """
    job[at.OUTPUTS] = np.intp(outputs.ctypes.data)
    return _put_inputs(job, X)


@_entry
def put_targets(job, X, Y, vector, costs):
    """Describe a gradient of X (N, n[0]), with targets Y (N, n[L]), to be written to `vector`.

    What the call fills, `costs` and the clock, is set to 0. Returns False where X or Y is not as X has to be in
    `put_rows`.
    """
    return _put_gradient(job, X, Y, vector, costs) and _are_rows(Y, job[at.TARGET_STRIDE])


@_entry
def put_classes(job, X, y, vector, costs):
    """As `put_targets`, with classes y (N,), int64.

    Returns False also where one is below 0 or not below n[L].
    """
    follow = y.strides[0] == y.itemsize or len(y) == 1
    if not (_put_gradient(job, X, y, vector, costs) and follow and _is_aligned(y)):
        return False
    wrong, last = 0, job[at.TARGET_STRIDE] - 1
    for i in range(len(y)):  # without a way out, so it is done by vectors
        wrong |= y[i] | (last - y[i])
    return wrong >= 0  # the sign bit of numbers below 0
