"""Operations: what a program's steps are made of (program.py), each a compiled function that is called by its address.

An operation gets the thread's copy of the job, its own record in the program, the table of layers and ``like``, whose
type is the element type. It is compiled, for one element type, when a program first names it, and kept on disk by
itself. A program names it by its file in ``ops/`` and its name: ``gather.gather_inputs``. The file is imported where
something is compiled, and only there.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

import numpy as np

from fastbackprop.engine.entry import Entry

_FILES = f"{__package__}.ops"
OPERATIONS: dict[str, Operation] = {}  # of the files that were imported, by name


class Operation:
    """A function of (job, op, layers, like), which returns GO_ON, FAILED, LEAVE or AGAIN."""

    def __init__(self, function: Any, name: str | None = None) -> None:
        package, _, file = function.__module__.rpartition(".")
        self.function, self.name, self.__doc__ = function, f"{file}.{name or function.__name__}", function.__doc__
        # The directory of compiled code stands for the engine's source. Who tries out one that is elsewhere changes it.
        self.is_kept = package == _FILES
        OPERATIONS[self.name] = self


operation = Operation  # a decorator


def _compiled(name: str, dtype: np.dtype[Any]) -> Any:
    """What is compiled for an operation: a function of addresses."""
    from fastbackprop.engine.addresses import job_at, layers_at, operation_at
    from fastbackprop.engine.jit import entry, inline

    if name not in OPERATIONS:
        importlib.import_module(f"{_FILES}.{name.partition('.')[0]}")
    body, like = inline(OPERATIONS[name].function), dtype.type(0)

    @entry
    def operation(job, record):
        own = job_at(job)
        layers = layers_at(own.layers, own.layer_count)
        return body(own, operation_at(record), layers, like)

    return operation


@cache
def entry_of(name: str, dtype: np.dtype[Any]) -> Entry:
    """An operation of `OPERATIONS`, or of a file in ``ops/``, for float32 or float64."""
    is_kept = name not in OPERATIONS or OPERATIONS[name].is_kept
    return Entry(f"{name}.{dtype}", "ii", lambda: _compiled(name, dtype), keep=is_kept)


def all_of_them() -> list[str]:
    """The names of all operations of the engine: imports their files."""
    for file in pkgutil.iter_modules(importlib.import_module(_FILES).__path__):
        importlib.import_module(f"{_FILES}.{file.name}")
    return [name for name, operation in OPERATIONS.items() if operation.is_kept]
