"""The processor that the engine is compiled for, and how it is used.

Numba's variables ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` choose another one. ``FASTBACKPROP_LANES`` (4, 8 or 16
float32 lanes) forces the width of vectors: the tests use it to show that all widths give the same bits.
``FASTBACKPROP_WITHOUT_FMA=1`` lets the engine run, slowly, where the processor has no fused multiply-add.
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
FMA = not X86 or not _SET.isdisjoint(("+fma", "+fma4", "+avx512f"))


def _lanes32() -> int:
    """float32 lanes of a vector: forced by the environment, or the widest that the processor multiplies in."""
    forced = os.environ.get("FASTBACKPROP_LANES")
    if forced:
        if forced not in ("4", "8", "16"):
            raise ValueError(f"FASTBACKPROP_LANES must be 4, 8 or 16, got {forced!r}")
        return int(forced)
    return 16 if AVX512 else 8 if "+avx2" in _SET else 4


LANES32 = _lanes32()


def need_fma() -> None:
    """Raise RuntimeError where the processor has no fused multiply-add, unless it is to be done without."""
    if not FMA and os.environ.get("FASTBACKPROP_WITHOUT_FMA") != "1":
        raise RuntimeError(
            f"this processor ({NAME}) has no fused multiply-add (FMA), of which "
            "fastbackprop's engine is made: each would be a call of the C library, a training 40 to 100 times as slow. "
            "Where a virtual machine hides it, let that show the host's processor. FASTBACKPROP_WITHOUT_FMA=1 in the "
            "environment trains all the same, with the same results; fastbackprop.reference is plain NumPy"
        )
