"""Pointers in LLVM IR: what lies at an address, which is a plain integer, and the function that begins there.

LLVM's pointers do not say what they point to, and llvmlite's typed ones are deprecated, so those who load say what, and
those who move a pointer say by how many of what. llvmlite 0.44, which is Numba 0.61's, has nothing but typed pointers.
"""

from __future__ import annotations

from typing import Any

import llvmlite
from llvmlite import ir
from llvmlite.ir.instructions import CastInstr, StoreAtomicInstr

INT = ir.IntType(64)
_OPAQUE = getattr(llvmlite, "opaque_pointers_enabled", True)  # later versions do not ask


def pointer_type(element: Any) -> Any:
    """The type of a pointer to ``element``."""
    return ir.PointerType() if _OPAQUE else element.as_pointer()


def emit_pointer(bld: Any, element: Any, address: Any) -> Any:
    """An address as a pointer to ``element``."""
    return bld.inttoptr(address, pointer_type(element))


def emit_load_at(bld: Any, element: Any, address: Any, align: int | None = None) -> Any:
    """The ``element`` at an address."""
    return bld.load(emit_pointer(bld, element, address), align=align, typ=element)


def emit_store_release(bld: Any, value: Any, address: Any) -> None:
    """Set the 64-bit word at an address; who reads it with "acquire" sees what was written before."""
    # The builder's `store_atomic` wants a typed pointer, the instruction does not.
    bld._insert(StoreAtomicInstr(bld.block, value, emit_pointer(bld, value.type, address), "release", 8))


class _Function(CastInstr):
    """An address as a function: a pointer with the signature that llvmlite asks whatever is called for."""

    function_type: Any = None

    def __init__(self, bld: Any, address: Any, signature: Any) -> None:
        super().__init__(bld.block, "inttoptr", address, pointer_type(signature))
        self.function_type = signature
        bld._insert(self)


def emit_call_at(bld: Any, address: Any, *args: Any) -> Any:
    """Call the function at an address, of 64-bit integers to one."""
    return bld.call(_Function(bld, address, ir.FunctionType(INT, [INT] * len(args))), args)
