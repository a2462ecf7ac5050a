"""What a new process pays: the import, the first call where nothing is compiled, and where Numba's cache has it."""

from __future__ import annotations

from . import DTYPES, ROOT, Compiled

PATH = f"import sys; sys.path.append({ROOT!r})"
EMPTY_CACHE = """
import os, tempfile
folder = tempfile.TemporaryDirectory()  # deleted when the process ends
os.environ["NUMBA_CACHE_DIR"] = folder.name
"""
FIRST_CALL = "net.fit(X, y, epochs=1, batch_size=32)"


def network(dtype: str) -> str:
    return f"""
import numpy as np
import fastbackprop
net = fastbackprop.Network((4, 16, 16, 2), dtype={dtype!r}, seed=0)
X, y = np.ones((32, 4), {dtype!r}), np.zeros(32, int)
"""


class Import:
    """NumPy and Numba included."""

    rounds, warmup_time, repeat = 1, 0, 5

    def timeraw_import(self) -> tuple[str, str]:
        return "import fastbackprop", PATH


class ColdFirstCall:
    params = DTYPES
    param_names = ("dtype",)
    rounds, warmup_time, repeat, timeout = 1, 0, 1, 600

    def timeraw_first_call(self, dtype: str) -> tuple[str, str]:
        return FIRST_CALL, PATH + EMPTY_CACHE + network(dtype)


class WarmFirstCall(Compiled):
    params = DTYPES
    param_names = ("dtype",)
    rounds, warmup_time, repeat = 1, 0, 5

    def timeraw_first_call(self, dtype: str) -> tuple[str, str]:
        return FIRST_CALL, PATH + network(dtype)
