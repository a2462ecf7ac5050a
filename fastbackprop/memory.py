"""Memory for the engine: vectors that begin with a line of the cache.

NumPy's begin at any 16 bytes. Then each line that the engine loads or stores is two of the cache's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine.simd import LINE_BYTES


def zeros(elements: int, dtype: np.dtype[Any]) -> np.ndarray:
    """A vector of zeros that begins with a line."""
    memory = np.zeros(elements * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + elements * dtype.itemsize].view(dtype)
