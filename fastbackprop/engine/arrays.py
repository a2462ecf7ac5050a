"""The arrays of a call written into its job by compiled code: their addresses cost microseconds in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import entry, source_hash


def _compiled(key: str) -> tuple[Any, Any]:
    @entry
    def put_rows(job, X, outputs, clock):
        key  # noqa: B018
        job[at.SAMPLES] = job[at.BATCH] = X.shape[0]
        job[at.INPUTS], job[at.INPUT_STRIDE] = np.intp(X.ctypes.data), X.shape[1]
        job[at.OUTPUTS] = np.intp(outputs.ctypes.data)
        clock[:] = 0

    @entry
    def put_classes(job, X, y, outputs, vector, costs, clock):
        key  # noqa: B018
        job[at.SAMPLES] = job[at.BATCH] = X.shape[0]
        job[at.INPUTS], job[at.INPUT_STRIDE] = np.intp(X.ctypes.data), X.shape[1]
        job[at.TARGET_KIND], job[at.TARGETS] = at.CLASSES, np.intp(y.ctypes.data)
        job[at.GRADIENT_AT] = np.intp(vector.ctypes.data)
        costs[:] = 0.0
        clock[:] = 0
        wrong = 0
        for i in range(len(y)):  # without a way out, so it is done by vectors
            wrong |= y[i] | (outputs - 1 - y[i])
        return wrong >= 0  # the sign bit of numbers below 0

    return put_rows, put_classes


put_rows, put_classes = _compiled(source_hash())
put_rows.__doc__ = """Describe a forward pass of X (N, n[0]) whose outputs are to be written to `outputs` (N, n[L]).

The `clock` is set to 0. All arrays are contiguous.
"""
put_classes.__doc__ = """Describe a gradient of X (N, n[0]), with classes y (N,), int64, to be written to `vector`.

What the call fills, `costs` and `clock`, is set to 0. Returns whether the class numbers are at least 0 and below
`outputs`. All arrays are contiguous.
"""
