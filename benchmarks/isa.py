"""What it is like on a processor with AVX2, on one with AVX-512: each library is told so in its own way, and watched.

All are told by the environment of their process, before they are imported. Whether they heed it, Linux knows: it keeps
for each thread when it last saw the wide registers in use (`AVX512_elapsed_ms` of `/proc/PID/task/TID/arch_status`).
"""

from __future__ import annotations

import time
from pathlib import Path

from numpy._core import _multiarray_umath as umath

ISAS = ("avx2",)
# x86-64-v3, of which every AVX2 processor has all, in LLVM's words.
X86_64_V3 = "avx2 bmi bmi2 cx16 f16c fma lzcnt movbe popcnt sahf xsave"
GLIBC = "AVX512F AVX512VL AVX512BW AVX512DQ AVX512CD"


def _numpy_features() -> list[str]:
    """What NumPy's own loops would use here beyond AVX2, by the names that this version has for it."""
    return [f for f in umath.__cpu_dispatch__ if umath.__cpu_features__[f] and ("AVX512" in f or f == "X86_V4")]


def environment(isa: str | None) -> dict[str, str]:
    """What a process is told by, to use nothing wider than `isa`, "avx2". None: nothing."""
    if isa is None:
        return {}
    return {
        "NUMBA_CPU_NAME": "znver3",
        "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in X86_64_V3.split()),
        "OPENBLAS_CORETYPE": "Haswell",  # the kernels that it takes on Zen too
        "NPY_DISABLE_CPU_FEATURES": " ".join(_numpy_features()),
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3",
        # XLA's own code heeds the first; YNNPACK, which it has for products, asks the processor alone. Without that XLA
        # takes Eigen's.
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2 --xla_cpu_experimental_ynn_fusion_type=",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-{feature}" for feature in GLIBC.split()),
    }


def avx512_since(start: float) -> bool | None:
    """Whether a thread of this process has used AVX-512's registers since a `time.perf_counter()`; None: not known.

    Linux looks when another thread gets the processor, and counts in ticks of up to 10 ms.
    """
    time.sleep(0.001)
    try:
        status = [path.read_text() for path in Path("/proc/self/task").glob("*/arch_status")]
    except OSError:  # a thread has ended
        return avx512_since(start)
    passed = 1000 * (time.perf_counter() - start)
    ago = [int(text.split()[1]) for text in status if text.startswith("AVX512_elapsed_ms")]
    return any(0 <= ms < passed - 10 for ms in ago) if ago else None
