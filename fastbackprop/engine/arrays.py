"""The arrays of a call written into its job by compiled code: their addresses cost microseconds in Python.

It gets the arrays themselves, and reads the fields of NumPy's PyArrayObject, a part of NumPy's binary interface.
"""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.addresses import job_at, words_at
from fastbackprop.engine.jit import entry, inline
from fastbackprop.engine.places import clock_at
from fastbackprop.engine.simd import load_int

DIMENSIONS, STRIDES = at.ARRAY_DATA + 16, at.ARRAY_DATA + 24  # bytes from an array


@inline
def _data(array):
    return load_int(array + at.ARRAY_DATA)


@inline
def _length(array, axis):
    return load_int(load_int(array + DIMENSIONS) + axis * 8)


@inline
def _stride(array, axis):
    return load_int(load_int(array + STRIDES) + axis * 8)


@inline
def _is_aligned(array, itemsize):
    return _data(array) & (itemsize - 1) == 0


@inline
def _are_rows(array, width, itemsize):
    """Whether a matrix has rows of so many elements that lie one after the other, as they can be read."""
    rows_follow = _stride(array, 0) == width * itemsize or _length(array, 0) == 1
    elements_follow = _stride(array, 1) == itemsize or width == 1
    return _length(array, 1) == width and rows_follow and elements_follow and _is_aligned(array, itemsize)


@inline
def _put_inputs(job, X, itemsize):
    """The fields of the job; whether X has rows as they can be read."""
    fields, words = job_at(_data(job)), _length(job, 0)
    fields.samples = fields.batch = _length(X, 0)
    fields.inputs = _data(X)
    clock = clock_at(fields.threads)
    words_at(_data(job) + clock * 8, words - clock)[:] = 0
    return _are_rows(X, fields.input_stride, itemsize)


@inline
def _put_gradient(job, X, Y, vector, costs, itemsize):
    fields = job_at(_data(job))
    fields.targets, fields.gradient_at = _data(Y), _data(vector)
    words_at(_data(costs), at.COST_FIELDS)[:] = 0  # of float64
    return _put_inputs(job, X, itemsize) and _length(Y, 0) == _length(X, 0)


@entry
def put_rows(job, X, outputs, itemsize):
    """Describe a forward pass of X (N, n[0]) whose outputs are to be written to `outputs` (N, n[L]).

    The widths of the rows of X and of targets are in the job's input_stride and target_stride; its clock is set to 0.
    Returns 0 where X has another width, or its rows cannot be read as if it were contiguous and aligned; else 1.
    """
    job_at(_data(job)).outputs = _data(outputs)
    return _put_inputs(job, X, itemsize)


@entry
def put_targets(job, X, Y, vector, costs, itemsize):
    """Describe a gradient of X (N, n[0]), with targets Y (N, n[L]), to be written to `vector`.

    What the call fills, `costs` and the clock, is set to 0. Returns 0 where X or Y is not as X has to be in `put_rows`.
    """
    width = job_at(_data(job)).target_stride
    return _put_gradient(job, X, Y, vector, costs, itemsize) and _are_rows(Y, width, itemsize)


@entry
def put_classes(job, X, y, vector, costs, itemsize):
    """As `put_targets`, with classes y (N,), int64. Returns 0 also where one is below 0 or not below n[L]."""
    count, last = _length(y, 0), job_at(_data(job)).target_stride - 1
    follow = _stride(y, 0) == 8 or count == 1
    if not (_put_gradient(job, X, y, vector, costs, itemsize) and follow and _is_aligned(y, 8)):
        return False
    wrong, classes = 0, words_at(_data(y), count)
    for i in range(count):
        wrong |= classes[i] | (last - classes[i])
    return wrong >= 0  # the sign bit of numbers below 0
