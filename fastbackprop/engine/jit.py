"""How every function of the engine is compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import njit

from fastbackprop.engine.compiler import Pipeline

# No fastmath anywhere: it drops signed zeros and NaN checks, and lets sums be reordered.
# error_model="numpy": a division by zero gives inf or nan, as in NumPy, without a branch.
# _nrt=False: the references to arrays are not counted. They last as long as the call from Python, nothing here makes a
# new one, and to count them is a locked operation wherever a function gets an array: a quarter of a small step.
# What is not said here comes from elsewhere: fastmath, the error model, _nrt and forceinline from whatever function is
# being compiled when it first calls one of these, debug and with it boundscheck from NUMBA_DEBUGINFO. The code would
# have other bits then, for everyone and, from the disk, for ever.
SAME_BITS: dict[str, Any] = {"fastmath": False, "boundscheck": False}  # what Numba's universal functions take of it
_OPTIONS: dict[str, Any] = {**SAME_BITS, "error_model": "numpy", "_nrt": False, "debug": False}
_njit: Any = partial(njit, **_OPTIONS)
kernel: Any = _njit(forceinline=False, pipeline_class=Pipeline)
inline: Any = _njit(forceinline=True, pipeline_class=Pipeline)
callable_kernel: Any = _njit(forceinline=False)  # one that Python calls too, and that is not kept on disk

# As an argument of compiled functions in the place of 0: Numba compiles a function anew for each literal.
NIL = np.int64(0)


def entry(function: Any) -> Any:
    """Mark a function of 64-bit numbers that is called from outside; entry.py has it compiled when it is needed."""
    return function
