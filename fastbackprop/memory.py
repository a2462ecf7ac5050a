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


def owned(vector: np.ndarray) -> np.ndarray:
    """The vector itself where compiled code may write to it, else a copy.

    Not one that is read-only or not aligned, and not memory of somebody else: a mapped file or a pickle's bytes.
    """
    flags, root = vector.flags, vector
    while isinstance(root.base, np.ndarray):
        root = root.base
    ours = root.base is None and not isinstance(root, np.memmap)
    if ours and flags.writeable and flags.aligned and flags.c_contiguous and vector.dtype.isnative:
        return vector.view(np.ndarray)
    copy = zeros(vector.size, vector.dtype.newbyteorder("="))
    copy[...] = vector
    return copy
