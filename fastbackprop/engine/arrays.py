"""The arrays of a call written into its job by compiled code: their addresses cost microseconds in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import entry, inline, source_hash


@inline
def _put_inputs(job, X, clock):
    job[at.SAMPLES] = job[at.BATCH] = X.shape[0]
    job[at.INPUTS], job[at.INPUT_STRIDE] = np.intp(X.ctypes.data), X.shape[1]
    clock[:] = 0


@inline
def _put_gradient(job, X, vector, costs, clock):
    _put_inputs(job, X, clock)
    job[at.GRADIENT_AT] = np.intp(vector.ctypes.data)
    costs[:] = 0.0


def _compiled(key: str) -> tuple[Any, Any, Any]:
    @entry
    def put_rows(job, X, outputs, clock):
        key  # noqa: B018
        _put_inputs(job, X, clock)
        job[at.OUTPUTS] = np.intp(outputs.ctypes.data)

    @entry
    def put_targets(job, X, Y, outputs, vector, costs, clock):
        key  # noqa: B018
        _put_gradient(job, X, vector, costs, clock)
        job[at.TARGET_KIND], job[at.TARGETS], job[at.TARGET_STRIDE] = at.DENSE, np.intp(Y.ctypes.data), outputs

    @entry
    def put_classes(job, X, y, outputs, vector, costs, clock):
        key  # noqa: B018
        _put_gradient(job, X, vector, costs, clock)
        job[at.TARGET_KIND], job[at.TARGETS] = at.CLASSES, np.intp(y.ctypes.data)
        wrong = 0
        for i in range(len(y)):  # without a way out, so it is done by vectors
            wrong |= y[i] | (outputs - 1 - y[i])
        return wrong >= 0  # the sign bit of numbers below 0

    return put_rows, put_targets, put_classes


put_rows, put_targets, put_classes = _compiled(source_hash())
put_rows.__doc__ = """Describe a forward pass of X (N, n[0]) whose outputs are to be written to `outputs` (N, n[L]).

The `clock` is set to 0. All arrays are contiguous.
"""
put_targets.__doc__ = """Describe a gradient of X (N, n[0]), with targets Y (N, `outputs`), to be written to `vector`.

What the call fills, `costs` and `clock`, is set to 0. All arrays are contiguous.
"""
put_classes.__doc__ = """As `put_targets`, with classes y (N,), int64.

Returns whether the class numbers are at least 0 and below `outputs`.
"""
