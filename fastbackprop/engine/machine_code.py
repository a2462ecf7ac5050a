"""Machine code: made of LLVM's IR, loaded, and called.

What Numba makes of Python is IR (compiler.py); the rest is done here, with LLVM alone. A process that finds all it
needs on the disk (cache.py) so needs no compiler, and does not import one.

Functions get whole numbers of 64 bits and return one: Python's numbers, or the addresses of what arrays hold, or of
objects themselves. Python calls them as it calls its own built-in functions, in 50 ns.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from fastbackprop.engine import processor


@cache
def target_machine() -> Any:
    """LLVM's, for this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return _new_target_machine()


def _new_target_machine() -> Any:
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=processor.NAME, features=processor.FEATURES, opt=3, reloc="static" if processor.X86 else "default",
        codemodel="jitdefault", jit=True,
    )  # fmt: skip


# ---------------------------------------------------------------- making it


def link(texts: Iterable[str], others: Iterable[Any] = ()) -> Any:
    """One module of texts of IR, each once, and of other modules, which stay what they are."""
    first, *rest = texts
    module = llvm.parse_assembly(first)
    for text in rest:
        module.link_in(llvm.parse_assembly(text))
    for other in others:
        module.link_in(other, preserve=True)
    return module


def object_code(module: Any, exported: set[str]) -> bytes:
    """The machine code of a module; of its functions only those ``exported`` can be called from elsewhere.

    So no two pieces of code can meet by a name that both have.
    """
    machine = target_machine()
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name not in exported:
            value.linkage = "internal"
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    missing = [f.name for f in module.functions if f.is_declaration and not _is_known(f.name)]
    if missing:  # LLVM ends the process where it finds no function of a name
        raise RuntimeError(f"no function of the names {missing}")
    return bytes(machine.emit_object(module))


def _is_known(name: str) -> bool:
    _add_symbols()
    return name.startswith("llvm.") or llvm.address_of_symbol(name) is not None


# ---------------------------------------------------------------- calls from Python


class _MethodDef(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_METH_FASTCALL = 0x80
_methods: list[_MethodDef] = []  # what is called must outlive all calls


def call_at(address: int, name: str) -> Callable[..., int]:
    """What Python calls, of its address."""
    method = _MethodDef(name.encode(), address, _METH_FASTCALL, None)
    _methods.append(method)
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, (ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.c_void_p)
    return new(ctypes.byref(method), object(), None)  # two of one address and one object would be equal


# ---------------------------------------------------------------- loading it


# What the code calls of Python, and of Windows. LLVM ends the process where it does not find a function, and where it
# looks for them depends on the system.
_PYTHON = (
    "PyErr_BadArgument", "PyErr_SetString", "PyEval_RestoreThread", "PyEval_SaveThread",
    "PyLong_AsUnsignedLongLongMask", "PyLong_FromLongLong",
)  # fmt: skip


@cache
def _add_symbols() -> None:
    functions = [(name, getattr(ctypes.pythonapi, name)) for name in _PYTHON]
    if sys.platform == "win32":
        functions.append(("Sleep", ctypes.windll.kernel32.Sleep))
    for name, function in functions:
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)


@cache
def _linker() -> Any:
    _add_symbols()
    target_machine()  # whose target is initialized
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _new_target_machine())


_loaded: list[Any] = []


def load(code: bytes) -> None:
    """Make the functions of some object code ready to be called."""
    file = llvm.ObjectFileRef.from_data(code)
    _loaded.append(file)
    linker = _linker()
    linker.add_object_file(file)
    linker.finalize_object()


def address_of(name: str) -> int:
    """The address of a function that was loaded."""
    return int(_linker().get_function_address(name))
