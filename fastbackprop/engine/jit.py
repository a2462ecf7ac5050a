"""How every function of the engine is compiled."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

# No fastmath anywhere: it drops signed zeros and NaN checks, and lets sums be reordered.
# error_model="numpy": a division by zero gives inf or nan, as in NumPy, without a branch.
kernel: Any = njit(error_model="numpy")
inline: Any = njit(error_model="numpy", forceinline=True)
# Inlined before anything is compiled: LLVM sees such a function once, in its caller, not again at every level above.
part: Any = njit(error_model="numpy", inline="always")

# As an argument of compiled functions in the place of 0: Numba compiles a function anew for each literal.
NIL = np.int64(0)


def entry(function: Any) -> Any:
    """Compile a function that Python calls: without the interpreter's lock, kept on disk where that is possible."""
    options = {"error_model": "numpy", "nogil": True}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # Numba has found no directory that it may write to
        return njit(**options)(function)


def source_hash() -> str:
    """A digest of the engine's source files, part of the key of every compiled function that is cached.

    Numba's cache notices a change in the file of the function itself only, not in the functions that it calls.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
