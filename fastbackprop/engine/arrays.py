"""The arrays of a call written into its job by compiled code: their addresses cost microseconds in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import entry, source_hash


def _compiled(key: str) -> Any:
    @entry
    def put_classes(job, X, y, outputs, vector):
        key  # noqa: B018
        job[at.SAMPLES] = job[at.BATCH] = X.shape[0]
        job[at.INPUTS], job[at.INPUT_STRIDE] = np.intp(X.ctypes.data), X.shape[1]
        job[at.TARGET_KIND], job[at.TARGETS] = at.CLASSES, np.intp(y.ctypes.data)
        job[at.GRADIENT_AT] = np.intp(vector.ctypes.data)
        for i in range(len(y)):
            if y[i] < 0 or y[i] >= outputs:
                return False
        return True

    return put_classes


put_classes = _compiled(source_hash())
put_classes.__doc__ = """Describe a gradient of X (N, n[0]), with classes y (N,), int64, to be written to `vector`.

Returns whether the class numbers are below `outputs`. All arrays are contiguous.
"""
