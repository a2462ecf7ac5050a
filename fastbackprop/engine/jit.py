"""How every function of the engine is compiled."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

import numba
import numpy as np
from numba import njit
from numba.core.compiler_lock import global_compiler_lock

from fastbackprop.engine import telling
from fastbackprop.engine.cache import Cache
from fastbackprop.engine.compiler import EntryCompiler, KernelCompiler
from fastbackprop.engine.simd import need_fma

# No fastmath anywhere: it drops signed zeros and NaN checks, and lets sums be reordered.
# error_model="numpy": a division by zero gives inf or nan, as in NumPy, without a branch.
# _nrt=False: the references to arrays are not counted. They last as long as the call from Python, nothing here makes a
# new one, and to count them is a locked operation wherever a function gets an array: a quarter of a small step.
# What is not said here comes from elsewhere: fastmath, the error model, _nrt and forceinline from whatever function is
# being compiled when it first calls one of these, debug and with it boundscheck from NUMBA_DEBUGINFO. The code would
# have other bits then, for everyone and, from the disk, for ever.
SAME_BITS: dict[str, Any] = {"fastmath": False, "boundscheck": False}  # what Numba's universal functions take of it
_OPTIONS: dict[str, Any] = {**SAME_BITS, "error_model": "numpy", "_nrt": False, "debug": False}
_njit: Any = partial(njit, **_OPTIONS, pipeline_class=EntryCompiler)
kernel: Any = _njit(forceinline=False, pipeline_class=KernelCompiler)
inline: Any = _njit(forceinline=True, pipeline_class=KernelCompiler)
# Inlined before anything is compiled: LLVM sees such a function once, in its caller, not again at every level above.
spliced: Any = _njit(forceinline=False, inline="always")
callable_kernel: Any = _njit(forceinline=False)  # one that Python calls too, and that is not kept on disk

# As an argument of compiled functions in the place of 0: Numba compiles a function anew for each literal.
NIL = np.int64(0)


def need_compiler() -> None:
    """Raise RuntimeError where Numba has been told not to compile: the engine's kernels mean nothing as Python."""
    if numba.config.DISABLE_JIT:
        raise RuntimeError(
            "NUMBA_DISABLE_JIT is set, but fastbackprop's engine exists as machine code only: unset it, or use "
            "fastbackprop.reference, which is plain NumPy"
        )


def entry(function: Any = None, nogil: bool = True, name: str | None = None, keep: bool = True) -> Any:
    """Compile a function that is called from outside, and ``keep`` it on disk where that is possible.

    ``name`` is that of its files, and tells functions from each other that are made of one text; else its own.
    With ``nogil`` it runs without the interpreter's lock; to give that back and take it again takes 35 ns.
    """
    if function is None:
        return partial(entry, nogil=nogil, name=name, keep=keep)
    if numba.config.DISABLE_JIT:
        return lambda *_: need_compiler()
    dispatcher = _njit(forceinline=False, nogil=nogil)(function)
    if keep:
        with contextlib.suppress(RuntimeError):  # Numba has found no directory that it may write to
            dispatcher._cache = Cache(function, name or function.__name__)
    return dispatcher


def _compile(function: Any, signature: Any) -> None:
    need_fma()
    start = time.perf_counter()
    function.compile(signature)
    telling.compiled(time.perf_counter() - start)


def compiled_for(function: Any, *args: Any) -> Any:
    """What an entry was compiled to for arguments of the types of ``args``, as a function.

    It does not find out the types that it is called with, which takes Numba as long as a small job: they must be those.
    """
    if numba.config.DISABLE_JIT:
        need_compiler()
    types = tuple(map(numba.typeof, args))
    if types not in function.overloads:  # to ask takes no lock
        _compile(function, types)
    return function.overloads[types].entry_point


def address_of(function: Any, signature: Any) -> int:
    """The address of what an entry is compiled to for a signature, to be called as a function of C.

    The function must live as long as the address is in use.
    """
    if numba.config.DISABLE_JIT:
        need_compiler()
    with global_compiler_lock:
        _compile(function, signature)
        compiled = function.overloads[signature.args]
        _called_by_address.append(function)
        return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))


_called_by_address: list[Any] = []  # what has an address lives as long as the process
