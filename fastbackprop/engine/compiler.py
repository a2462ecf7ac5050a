"""How Numba is used: its front end makes LLVM's IR of the engine's functions.

Numba finishes whatever it compiles: it optimizes the function with all that it calls, at each level above again, makes
machine code of it, and a wrapper for Python. Here a function stays as Numba has lowered it: text. Only what is called
from outside becomes machine code (machine_code.py), with all that it calls linked to it, each once, and optimized once.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types

from fastbackprop.engine import layout as at
from fastbackprop.engine import machine_code
from fastbackprop.engine.numba_internals import (
    CodeLibrary,
    CompilerBase,
    DefaultPassBuilder,
    GenericRewrites,
    InlineClosureLikes,
    InlineOverloads,
    NativeLowering,
    NopythonRewrites,
    cgutils,
    cpu_target,
    global_compiler_lock,
    register_pass,
)
from fastbackprop.engine.pointers import INT, emit_load_at


class _Library(CodeLibrary):  # type: ignore[misc,unused-ignore]
    """The IR of a function, and the libraries of those that it calls."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.texts: list[str] = []
        self.called: list[Any] = []
        self._module: Any = None

    def add_ir_module(self, ir_module: Any) -> None:
        self.texts.append(cgutils.normalize_ir_text(str(ir_module)))

    def add_linking_library(self, library: Any) -> None:
        library._ensure_finalized()
        self.called.append(library)

    def finalize(self) -> None:
        self._finalized = True

    def module(self) -> Any:
        """Its IR, with that of all that it calls."""
        libraries: dict[Any, None] = {}

        def add(library: Any) -> None:
            if library not in libraries:
                libraries[library] = None
                for other in getattr(library, "called", ()):
                    add(other)

        add(self)
        ours = [text for library in libraries if isinstance(library, _Library) for text in library.texts]
        others = [library._get_module_for_linking() for library in libraries if not isinstance(library, _Library)]
        return machine_code.link(ours, others)

    def _get_module_for_linking(self) -> Any:
        """For functions that Numba compiles for others: of the names that several have, any may be taken."""
        if self._module is None:
            self._module = self.module()
            for function in self._module.functions:
                if not function.is_declaration and function.linkage == llvm.Linkage.external:
                    function.linkage = "linkonce_odr"
        return self._module

    def get_function(self, name: str) -> Any:
        return self._get_module_for_linking().get_function(name)

    def get_llvm_str(self) -> str:
        return str(self._get_module_for_linking())

    def get_asm_str(self) -> str:
        return str(machine_code.target_machine().emit_assembly(self._get_module_for_linking()))


# A tenth of the time, and nothing in the kernels needs them.
_NOT_NEEDED = GenericRewrites, InlineClosureLikes, InlineOverloads, NopythonRewrites
_MESSAGE = ctypes.create_string_buffer(b"a kernel of the engine is for compiled code, not for Python")


@cache
def _refusal_address() -> int:
    """Of what Python calls in the place of a kernel."""
    module = ir.Module("refusal")
    function = ir.Function(module, ir.FunctionType(INT, [INT] * 3), "refusal")
    bld = ir.IRBuilder(function.append_basic_block())
    _call_python(bld, "PyErr_SetString", INT(id(TypeError)), INT(ctypes.addressof(_MESSAGE)))
    bld.ret(INT(0))
    machine_code.load(machine_code.object_code(llvm.parse_assembly(str(module)), {"refusal"}))
    return machine_code.address_of("refusal")


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):  # type: ignore[misc,unused-ignore]
    _name = "lowering_to_text"

    def run_pass(self, state: Any) -> bool:
        state.library = _Library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = state.flags.no_compile = True
        super().run_pass(state)
        result, function = state["cr"], machine_code.call_at(_refusal_address(), "kernel")
        state.targetctx.insert_user_function(function, result.fndesc, [state.library])
        state["cr"] = result._replace(cfunc=function)
        return True


class Pipeline(CompilerBase):  # type: ignore[misc,unused-ignore]
    """Numba's passes, with another last one."""

    def define_pipelines(self) -> list[Any]:
        """Its passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        kept = [(p, text) for p, text in passes.passes if p not in _NOT_NEEDED]
        passes.passes = [(_Lowering if p is NativeLowering else p, text) for p, text in kept]
        passes.finalize()
        return [passes]


def _call_python(bld: Any, name: str, *values: Any) -> Any:
    """Call a function of Python's; whatever it takes and returns is 64 bits wide."""
    if name not in bld.module.globals:
        ir.Function(bld.module, ir.FunctionType(INT, [INT] * len(values)), name)
    return bld.call(bld.module.globals[name], values)


def _add_call(module: ir.Module, function: ir.Function, arguments: str, releases_gil: bool) -> str:
    """Write what Python calls for a function, and return its name.

    ``arguments``: a letter for each, ``i`` for a number, ``a`` for the address of an array's data, ``o`` for that of an
    object. What is called counts no references, and knows its arguments: nobody but this package calls it.
    """
    name = f"{function.name}.call"
    call = ir.Function(module, ir.FunctionType(INT, [INT, INT, INT]), name)  # (self, arguments, their number)
    bld = ir.IRBuilder(call.append_basic_block())

    with bld.if_then(bld.icmp_unsigned("!=", call.args[2], INT(len(arguments))), likely=False):
        _call_python(bld, "PyErr_BadArgument")
        bld.ret(INT(0))
    values = []
    for i, kind in enumerate(arguments):
        value = emit_load_at(bld, INT, bld.add(call.args[1], INT(8 * i)))
        if kind == "a":
            value = emit_load_at(bld, INT, bld.add(value, INT(at.ARRAY_DATA)))
        elif kind == "i":
            value = _call_python(bld, "PyLong_AsUnsignedLongLongMask", value)
        values.append(value)
    state = _call_python(bld, "PyEval_SaveThread") if releases_gil else None
    result = bld.call(function, values)
    if releases_gil:
        _call_python(bld, "PyEval_RestoreThread", state)
    bld.ret(_call_python(bld, "PyLong_FromLongLong", result))
    return name


def compiled(dispatcher: Any, symbol: str, arguments: str, releases_gil: bool) -> bytes:
    """The machine code of a function of 64-bit numbers, under the name ``symbol``, and of what Python calls for it.

    ``dispatcher`` has this file's `Pipeline`; ``arguments`` and ``releases_gil`` are those of `_add_call`.
    """
    with global_compiler_lock:
        signature = types.int64(*[types.int64] * len(arguments))
        dispatcher.compile(signature)
        [result] = dispatcher.overloads.values()
        library, context = result.library, cpu_target.target_context
        outside = context.codegen()._create_empty_module(symbol)
        function = ir.Function(outside, ir.FunctionType(INT, [INT] * len(arguments)), symbol)
        bld = ir.IRBuilder(function.append_basic_block())
        body = context.declare_function(outside, result.fndesc)
        _, value = context.call_conv.call_function(bld, body, types.int64, signature.args, function.args)
        bld.ret(value)
        call = _add_call(outside, function, arguments, releases_gil)
        module = library.module()
        module.link_in(llvm.parse_assembly(str(outside)))
        return machine_code.object_code(module, {symbol, call})
