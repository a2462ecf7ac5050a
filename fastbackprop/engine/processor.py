"""The processor that the engine is compiled for, and how it is used.

Numba's variables ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` choose another one. ``FASTBACKPROP_LANES`` (4, 8 or 16
float32 lanes) forces the width of vectors: the tests use it to show that all widths give the same bits.
"""

from __future__ import annotations

import os
import platform

import llvmlite.binding as llvm

X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
NAME = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
FEATURES = os.environ.get("NUMBA_CPU_FEATURES", "" if NAME == "generic" else llvm.get_host_cpu_features().flatten())
_SET = set(FEATURES.split(","))
AVX512 = "+avx512f" in _SET


def _lanes32() -> int:
    """float32 lanes of a vector: forced by the environment, or the widest that the processor multiplies in."""
    forced = os.environ.get("FASTBACKPROP_LANES")
    if forced:
        if forced not in ("4", "8", "16"):
            raise ValueError(f"FASTBACKPROP_LANES must be 4, 8 or 16, got {forced!r}")
        return int(forced)
    return 16 if AVX512 else 8 if "+avx2" in _SET else 4


LANES32 = _lanes32()
