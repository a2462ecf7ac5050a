"""How every function of the engine is compiled."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import secrets
import warnings
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

# No fastmath anywhere: it drops signed zeros and NaN checks, and lets sums be reordered.
# error_model="numpy": a division by zero gives inf or nan, as in NumPy, without a branch.
# _nrt=False: the references to arrays are not counted. They last as long as the call from Python, nothing here makes a
# new one, and to count them is a locked operation wherever a function gets an array: a quarter of a small step.
# What is not said here comes from elsewhere: fastmath, the error model, _nrt and forceinline from whatever function is
# being compiled when it first calls one of these, debug and with it boundscheck from NUMBA_DEBUGINFO. The code would
# have other bits then, for everyone and, from the disk, for ever.
SAME_BITS: dict[str, Any] = {"fastmath": False, "boundscheck": False}  # what Numba's universal functions take of it
_OPTIONS: dict[str, Any] = {**SAME_BITS, "error_model": "numpy", "_nrt": False, "debug": False}
kernel: Any = njit(**_OPTIONS, forceinline=False)
inline: Any = njit(**_OPTIONS, forceinline=True)
# Inlined before anything is compiled: LLVM sees such a function once, in its caller, not again at every level above.
part: Any = njit(**_OPTIONS, forceinline=False, inline="always")

# As an argument of compiled functions in the place of 0: Numba compiles a function anew for each literal.
NIL = np.int64(0)


class _Files:
    """Machine code on disk: a file for each key, named after it, which begins with a digest of the rest.

    Numba's own files, an index and numbered data, have no digest: what is left of a full disk, or of a process killed
    between the two, raises errors for ever after, or is run in the place of other code.
    """

    def __init__(self, directory: str, name: str) -> None:
        self.directory, self.name = Path(directory), name

    def _path(self, key: Any) -> Path:
        digest = hashlib.sha256(repr((numba.__version__, key)).encode()).hexdigest()
        return self.directory / f"{self.name}.{digest[:32]}.nbc"

    def load(self, key: Any) -> Any:
        """What was saved; None where there is no file, or a damaged one."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        size = hashlib.sha256().digest_size
        if hashlib.sha256(content[size:]).digest() != content[:size]:
            return None
        return pickle.loads(content[size:])

    def save(self, key: Any, data: Any) -> None:
        """Write a file that appears whole or not at all."""
        content = dumps(data)
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def flush(self) -> None:
        """Forget all of the function, as Numba's ``recompile`` wants."""
        for path in self.directory.glob(f"{self.name}.*.nbc"):
            path.unlink(missing_ok=True)


class _Cache(FunctionCache):
    """Numba's cache of a function, in such files; where it cannot be written, nothing fails."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warnings.warn(
                f"the compiled engine could not be written to {self._cache_path} ({error.strerror}), so every process "
                "compiles it anew; NUMBA_CACHE_DIR names another directory",
                RuntimeWarning,
                stacklevel=2,
            )


def need_compiler() -> None:
    """Raise RuntimeError where Numba has been told not to compile: the engine's kernels mean nothing as Python."""
    if numba.config.DISABLE_JIT:
        raise RuntimeError(
            "NUMBA_DISABLE_JIT is set, but fastbackprop's engine exists as machine code only: unset it, or use "
            "fastbackprop.reference, which is plain NumPy"
        )


def entry(function: Any, nogil: bool = True) -> Any:
    """Compile a function that Python calls, which is kept on disk where that is possible.

    With ``nogil`` it runs without the interpreter's lock; to give that back and take it again takes 35 ns.
    """
    if numba.config.DISABLE_JIT:
        return lambda *_: need_compiler()
    dispatcher = njit(**_OPTIONS, forceinline=False, nogil=nogil)(function)
    with contextlib.suppress(RuntimeError):  # Numba has found no directory that it may write to
        dispatcher._cache = _Cache(function)
    return dispatcher


def compiled_for(function: Any, *args: Any) -> Any:
    """What an entry was compiled to for arguments of the types of ``args``, as a function.

    It does not find out the types that it is called with, which takes Numba as long as a small job: they must be those.
    """
    if numba.config.DISABLE_JIT:
        need_compiler()
    types = tuple(map(numba.typeof, args))
    function.compile(types)
    return function.overloads[types].entry_point


def source_hash() -> str:
    """A digest of the engine's source files, part of the key of every compiled function that is cached.

    Numba's cache notices a change in the file of the function itself only, not in the functions that it calls.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
