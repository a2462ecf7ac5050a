"""All of the engine that is called from outside, or by an address that Python puts into a table.

What is named here is compiled, or read from the disk, when it is first asked for; its file is imported only where it is
compiled.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.entry import Entry

if TYPE_CHECKING:
    from fastbackprop.engine.activations import Bind


def _entry(name: str, arguments: str, file: str, *, releases_gil: bool = True) -> Entry:
    def source() -> Any:
        return getattr(importlib.import_module(f"{__package__}.{file}"), name)

    return Entry(name, arguments, source, releases_gil=releases_gil)


run = _entry("run", "aai", "run")
shuffle = _entry("shuffle", "aiii", "shuffle")
# Each of these takes no longer than to give the interpreter's lock back.
put_rows = _entry("put_rows", "oooi", "arrays", releases_gil=False)
put_targets = _entry("put_targets", "oooooi", "arrays", releases_gil=False)
put_classes = _entry("put_classes", "oooooi", "arrays", releases_gil=False)


@cache
def activation_pass(name: str, bind: Bind, digest: str | None, dtype: np.dtype[Any]) -> int:
    """The address of the pass of an activation, to be called as `call_pass` does.

    ``bind`` gives its formula; ``digest`` is of that formula's source, which is not the engine's. Without one
    nothing is kept on disk.
    """

    def source() -> Any:
        from fastbackprop.engine.activations import make_activation_pass

        return make_activation_pass(bind, dtype)

    return Entry(f"activation.{name}.{digest}.{dtype}", "iii", source, keep=digest is not None).address


def has_reader(kind: np.dtype[Any]) -> bool:
    """Whether elements of a dtype can be read."""
    return kind.kind in "fiub" and kind.itemsize <= 8


def _name(kind: np.dtype[Any]) -> str:
    return kind.name if kind.isnative else f"{kind.name}_swapped"


@cache
def reader(dtype: np.dtype[Any], kind: np.dtype[Any], number: np.dtype[Any] | None = None) -> int:
    """The address of the reader of a dense source of elements ``kind`` for the engine's ``dtype``.

    With ``number``, int32 or int64, of a CSR matrix whose columns and starts are such numbers.
    """

    def source() -> Any:
        from fastbackprop.engine.readers import make_csr_reader, make_reader

        return make_reader(kind.str, dtype) if number is None else make_csr_reader(kind.str, number.str, dtype)

    name = f"read_{_name(kind)}" if number is None else f"read_csr_{_name(kind)}_{_name(number)}"
    return Entry(f"{name}.{dtype}", "i" * at.READER_ARGUMENTS, source).address


@cache
def product(name: str, dtype: np.dtype[Any]) -> int:
    """The address of a product: ``forward``, ``backward``, and with ``_packed`` those that may pack the weights."""
    which, _, packed = name.partition("_")

    def source() -> Any:
        from fastbackprop.engine.product import make_backward, make_forward

        return {"forward": make_forward, "backward": make_backward}[which](bool(packed), dtype)

    count = {"forward": at.FORWARD_ARGUMENTS, "backward": at.BACKWARD_ARGUMENTS}[which]
    return Entry(f"product.{name}.{dtype}", "i" * count, source).address
