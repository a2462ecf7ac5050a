"""Memory for the engine: vectors that begin with a line of the cache.

NumPy's begin at any 16 bytes. Then each line that the engine loads or stores is two of the cache's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine.layout import LINE_BYTES


def zeros(elements: int, dtype: np.dtype[Any]) -> np.ndarray:
    """A vector of zeros that begins with a line."""
    memory = np.zeros(elements * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + elements * dtype.itemsize].view(dtype)


def copied(vector: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """A copy that begins with a line, in memory that nobody else knows."""
    copy = zeros(vector.size, dtype)
    copy[...] = vector
    return copy


def address(array: np.ndarray, name: str, shape: tuple[int, ...], dtype: Any, *, written: bool = False) -> int:
    """Where an array begins, for compiled code that reads, or writes, all of it: to be asked just before that runs.

    The array must be one that its owner alone can reshape: a view that no caller has.

    Raises
    ------
    ValueError
        Where it has another shape, dtype or order of bytes, is not contiguous or not aligned, or is read-only and to be
        ``written``.
    """
    flags, expected = array.flags, np.dtype(dtype)
    if array.shape != shape or array.dtype != expected:
        raise ValueError(f"{name} must have shape {shape} and dtype {expected}, got {array.shape} of {array.dtype.str}")
    kind = "contiguous, aligned and writable" if written else "contiguous and aligned"
    was = f"aligned: {flags.aligned}, writable: {flags.writeable}"
    if not (flags.c_contiguous and flags.aligned and (flags.writeable or not written)):
        raise ValueError(f"{name} must be {kind}, got strides {array.strides}, {was}")
    return array.ctypes.data


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
    return copied(vector, vector.dtype.newbyteorder("="))
