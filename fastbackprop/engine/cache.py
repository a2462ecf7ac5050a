"""Machine code on disk: what one process has compiled, the later ones load.

What is loaded is run, so whoever may write to the directory owns the process. The digest in each file finds damage, not
malice. So nothing is read but regular files that belong to us or to root and that nobody else may write to, in a
directory of which the same is true; all else counts as missing. Nothing here waits: neither for a lock nor for a pipe.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import pickle
import secrets
import stat
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

from fastbackprop.version import __version__

# Of the files and of what is in them: raised where a file of before would be wrong though all else in its key is equal.
ABI = 1
_VERSIONS = (
    ABI, __version__, numba.__version__, llvmlite.__version__, np.__version__, sys.implementation.cache_tag,
    sys.hexversion,
)  # fmt: skip
_OPTIONS = ("OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE")  # of Numba, from its environment
_LANES = os.environ.get("FASTBACKPROP_LANES")  # as simd.py read it
_DAY = 24 * 3600
UNUSED = 30 * _DAY  # seconds after which the files of another state of the engine go
LARGEST_FILE = 1 << 28  # a compiled engine takes a few megabytes
_READ = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))


@functools.cache
def source_hash() -> str:
    """A digest of the engine's source files, part of the key of every compiled function that is cached.

    Numba's cache notices a change in the file of the function itself only, not in the functions that it calls.
    """
    digest, engine = hashlib.sha256(), Path(__file__).parent
    for path in sorted(engine.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(engine).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _check(status: os.stat_result) -> None:
    """Raise PermissionError where others than us, or root, may change what is going to be run."""
    if os.name == "posix" and status.st_uid not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, "it belongs to another user")
    if os.name == "posix" and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "others may write to it")


def _read(path: Path) -> bytes:
    """A file that only we, or root, may have written."""
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        _check(status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
            raise OSError(errno.EINVAL, "not a file of compiled code")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST_FILE)
    finally:
        os.close(descriptor)


class Files:
    """The files of one function: each named after its key, with a digest of the rest at its begin.

    Numba's own files, an index and numbered data, have no digest: what is left of a full disk, or of a process killed
    between the two, raises errors for ever after, or is run in the place of other code.

    They lie in a directory of their own for each state of the engine's source, which only we may enter. Those of other
    states go when something new is saved, if none of their files was used for a month.
    """

    def __init__(self, parent: str, name: str) -> None:
        self.directory, self.name = Path(parent) / f"fastbackprop-{source_hash()[:16]}", name

    def _path(self, key: Any) -> Path:
        digest = hashlib.sha256(repr((_VERSIONS, key)).encode()).hexdigest()
        return self.directory / f"{self.name}.{digest[:32]}.nbc"

    def load(self, key: Any) -> Any:
        """What was saved; None where there is no file, a damaged one, or one that others may have written."""
        try:
            status = os.stat(self.directory)
            _check(status)
            content = _read(self._path(key))
        except OSError:
            return None
        size = hashlib.sha256().digest_size
        if hashlib.sha256(content[size:]).digest() != content[:size]:
            return None
        if time.time() - status.st_mtime > _DAY:  # the time of the last use
            with contextlib.suppress(OSError):
                os.utime(self.directory)
        return pickle.loads(content[size:])

    def save(self, key: Any, data: Any) -> None:
        """Write a file that appears whole or not at all."""
        content = dumps(data)
        self.directory.mkdir(0o700, exist_ok=True)
        _check(os.stat(self.directory))
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        self._remove_unused()

    def _remove_unused(self) -> None:
        """What other states of the engine have left, and what processes have that were killed while they wrote."""
        now, parent = time.time(), self.directory.parent
        with contextlib.suppress(OSError):
            for path in self.directory.glob("*.tmp"):
                if now - path.lstat().st_mtime > _DAY:
                    path.unlink()
        with contextlib.suppress(OSError):
            _check(os.stat(parent))  # else another user may put a link to elsewhere into it
            for directory in parent.glob("fastbackprop-" + 16 * "[0-9a-f]"):
                with contextlib.suppress(OSError):  # one with something else in it stays
                    status = directory.lstat()
                    unused = stat.S_ISDIR(status.st_mode) and now - status.st_mtime > UNUSED
                    if unused and directory != self.directory:
                        for path in [*directory.glob("*.nbc"), *directory.glob("*.tmp")]:
                            path.unlink()
                        directory.rmdir()

    def flush(self) -> None:
        """Forget all of the function, as Numba's ``recompile`` wants."""
        for path in self.directory.glob(f"{self.name}.*.nbc"):
            path.unlink(missing_ok=True)


class Cache(FunctionCache):
    """Numba's cache of a function, in such files; where they cannot be read or written, nothing fails."""

    def __init__(self, function: Any, name: str) -> None:
        super().__init__(function)
        self._cache_file = Files(self._cache_path, name)
        self._cache_path: Any = str(self._cache_file.directory)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """What the machine code depends on: the directory stands for the source, the file for the function."""
        return sig, codegen.magic_tuple(), _LANES, [getattr(numba.config, name) for name in _OPTIONS]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except MemoryError:
            raise
        except Exception:  # whole, ours and yet nothing that Numba has written: as if it were missing
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except RuntimeError as error:
            # LLVM hands the machine code over in a callback; what is raised there, by Ctrl-C, is printed and forgotten.
            if "no compiled object" in str(error):
                raise KeyboardInterrupt from None
            raise
        except OSError as error:
            warnings.warn(
                f"the compiled engine could not be written to {self._cache_path} ({error.strerror}), so every process "
                "compiles it anew; NUMBA_CACHE_DIR names another directory",
                RuntimeWarning,
                stacklevel=2,
            )
