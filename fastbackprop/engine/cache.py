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
import secrets
import stat
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

from fastbackprop.engine import processor
from fastbackprop.version import __version__

# Of the files and of what is in them: raised where a file of before would be wrong though all else in its key is equal.
ABI = 2
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


@functools.cache
def _key() -> str:
    """Of all that machine code depends on but the engine's source, which the directory stands for."""
    versions = ABI, __version__, version("numba"), version("llvmlite"), sys.implementation.cache_tag, sys.hexversion
    return repr((versions, processor.NAME, processor.FEATURES, processor.LANES32))


@functools.cache
def _directories() -> list[Path]:
    """Where this state of the engine's machine code may lie: in the package, or at home."""
    chosen, state = os.environ.get("NUMBA_CACHE_DIR"), f"fastbackprop-{source_hash()[:16]}"
    if chosen:
        return [Path(chosen) / state]
    directories = [Path(__file__).parents[1] / "__pycache__" / state]
    home = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # there is no home
        directories.append((Path(home) if home else Path.home() / ".cache") / "fastbackprop" / state)
    return directories


@functools.cache
def directory() -> Path:
    """Where what is compiled now is kept: in the first of the directories that we may write to."""
    for path in _directories():
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.access(path.parent, os.W_OK):
                return path
    return _directories()[0]


_DIGEST_BYTES = hashlib.sha256().digest_size


def _digest(path: Path, code: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + code).digest()


class File:
    """The file of one entry: named after all that it depends on, with a digest of the rest at its begin.

    It lies in a directory of its own for each state of the engine's source, which only we may enter. Those of other
    states go when something new is saved, if none of their files was used for a month.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def key(self) -> str:
        """A digest of what the code depends on."""
        return hashlib.sha256(f"{self.name} {source_hash()} {_key()}".encode()).hexdigest()[:32]

    @property
    def _name(self) -> str:
        return f"{self.name}.{self.key}.nbc"

    def load(self) -> bytes | None:
        """What was saved; None where there is no file, a damaged one, or one that others may have written."""
        for directory in _directories():
            code = self._load(directory / self._name)
            if code is not None:
                return code
        return None

    def _load(self, path: Path) -> bytes | None:
        try:
            status = os.stat(path.parent)
            _check(status)
            content = _read(path)
        except OSError:
            return None
        digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if _digest(path, code) != digest:
            return None
        if time.time() - status.st_mtime > _DAY:  # the time of the last use
            with contextlib.suppress(OSError):
                os.utime(path.parent)
        return code

    def save(self, code: bytes) -> None:
        """Write a file that appears whole or not at all; where that cannot be, say so."""
        path = directory() / self._name
        try:
            self._write(path, code)
        except OSError as error:
            warnings.warn(
                f"the compiled engine could not be written to {path.parent} ({error.strerror}), so every process "
                "compiles it anew; NUMBA_CACHE_DIR names another directory",
                RuntimeWarning,
                stacklevel=2,
            )

    def _write(self, path: Path, code: bytes) -> None:
        path.parent.mkdir(0o700, exist_ok=True)
        _check(os.stat(path.parent))
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(_digest(path, code) + code)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _remove_unused(path.parent)


def _remove_unused(used: Path) -> None:
    """What other states of the engine have left, and what processes have that were killed while they wrote."""
    now, parent = time.time(), used.parent
    with contextlib.suppress(OSError):
        for path in used.glob("*.tmp"):
            if now - path.lstat().st_mtime > _DAY:
                path.unlink()
    with contextlib.suppress(OSError):
        _check(os.stat(parent))  # else another user may put a link to elsewhere into it
        for old in parent.glob("fastbackprop-" + 16 * "[0-9a-f]"):
            with contextlib.suppress(OSError):  # one with something else in it stays
                status = old.lstat()
                if stat.S_ISDIR(status.st_mode) and now - status.st_mtime > UNUSED and old != used:
                    for path in [*old.glob("*.nbc"), *old.glob("*.tmp")]:
                        path.unlink()
                    old.rmdir()
