"""Arrays beside a page that may not be touched: whoever reads or writes beyond them ends the process."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


def guarded(shape: Any, dtype: Any, *, align: int = 1, at_end: bool = True) -> np.ndarray:
    """Zeros between two pages without any permission, close to the one behind, or with ``at_end`` False before.

    They begin at a multiple of ``align`` bytes, so up to ``align`` - 1 bytes may lie between them and the page.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    inside = -(-max(size, 1) // PAGE) * PAGE
    memory = mmap.mmap(-1, inside + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for start in (address, address + PAGE + inside):
        if _libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    first = PAGE + ((inside - size) // align * align if at_end else 0)
    return np.frombuffer(memory, dtype, int(np.prod(shape)), first).reshape(shape)


def copied(array: np.ndarray, *, at_end: bool = True, order: str = "C") -> np.ndarray:
    """A copy between such pages."""
    result = guarded(
        array.size, array.dtype, align=1 if array.dtype.itemsize == 1 else array.dtype.itemsize, at_end=at_end
    )
    result = result.reshape(array.shape, order=order)
    result[...] = array
    return result
