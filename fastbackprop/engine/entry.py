"""Entries: the functions of the engine that are called from outside it, or by their address.

Each is compiled when it is first needed, and kept on disk by itself (cache.py). Numba is imported where something is to
be compiled, and only there: a process that finds all on the disk begins in a third of the time.
"""

from __future__ import annotations

import gc
import os
import secrets
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from fastbackprop.engine import cache, machine_code, processor, telling


def need_compiler() -> None:
    """Raise RuntimeError where Numba has been told not to compile: the engine's kernels mean nothing as Python."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        raise RuntimeError(
            "NUMBA_DISABLE_JIT is set, but fastbackprop's engine exists as machine code only: unset it, or use "
            "fastbackprop.reference, which is plain NumPy"
        )


class Entry:
    """A function of 64-bit numbers that returns one.

    Parameters
    ----------
    name : of its file on disk, which no other has
    arguments : a letter for each, ``i`` a number, ``a`` the address of an array's data, ``o`` that of an object
    source : gives the function that is to be compiled
    releases_gil : whether other threads of Python go on while it is called from Python
    keep : whether it is kept on disk
    """

    def __init__(
        self, name: str, arguments: str, source: Callable[[], Any], *, releases_gil: bool = True, keep: bool = True
    ) -> None:  # fmt: skip
        self.name, self._arguments, self._source, self._releases_gil = name, arguments, source, releases_gil
        self._file = cache.File(name) if keep else None
        self.was_compiled = False  # not loaded from the disk

    @cached_property
    def _symbol(self) -> str:
        """The name of the machine code, which from now on is there."""
        need_compiler()
        processor.need_fma()
        # No two pieces of code may have one name: the linker keeps the first.
        symbol = f"{self.name}.{secrets.token_hex(8) if self._file is None else self._file.key}"
        code = None if self._file is None else self._file.load()
        if code is None:
            code = self._compiled(symbol)
            if self._file is not None:
                self._file.save(code)
        machine_code.load(code)
        return symbol

    def _compiled(self, symbol: str) -> bytes:
        from fastbackprop.engine import compiler, jit

        telling.compiling()
        self.was_compiled, start, collects = True, time.perf_counter(), gc.isenabled()
        gc.disable()  # Numba makes a lot of objects that stay: to look through them again and again takes a tenth
        try:
            code = compiler.compiled(jit.kernel(self._source()), symbol, self._arguments, self._releases_gil)
        finally:
            if collects:
                gc.enable()
        telling.compiled(time.perf_counter() - start)
        return code

    @cached_property
    def address(self) -> int:
        """Of the machine code, to be called as a function of C."""
        return machine_code.address_of(self._symbol)

    @cached_property
    def call(self) -> Callable[..., int]:
        """What Python calls."""
        return machine_code.call_at(machine_code.address_of(f"{self._symbol}.call"), self.name)
