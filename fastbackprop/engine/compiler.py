"""How the engine's functions are compiled: with names of their own, and kernels only for those that call them.

Numba numbers the functions that a process compiles, and the numbers are in the names of the machine code. What another
process has left on disk may bear the same names, for functions that are made of one text; and of functions with one
name, which are linked into several pieces, the linker keeps the first. So here the numbers are random.

Numba finishes whatever it compiles: it optimizes the function with all that it calls, makes machine code of it and a
wrapper for Python. A kernel is only called by others, and is optimized and made machine code there, again at each level
above. So here it stays what it was before: typed, lowered, and linked into who calls it. That is half of the time.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

from numba import _dynfunc, njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering


class _Unfinished(JITCodeLibrary):
    """Code that waits to be linked into other code."""

    def _optimize_final_module(self) -> None:
        # Numba optimizes twice, the first time for the sake of references, which are not counted here.
        made = self._codegen._module_pass_manager()
        if isinstance(made, tuple):
            made[0].run(self._final_module, made[1])
        else:  # Numba 0.61
            made.run(self._final_module)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@cache
def _refusal() -> tuple[Any, int]:
    """What Python calls in the place of a kernel, and its address: it takes no arguments, whatever there are."""

    @njit(_nrt=False)
    def kernel_of_the_engine_is_not_for_python():
        raise TypeError("a kernel of the engine is for compiled code, not for Python")

    kernel_of_the_engine_is_not_for_python.compile(())
    [compiled] = kernel_of_the_engine_is_not_for_python.overloads.values()
    return compiled, compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cpython_wrapper_name)


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(NativeLowering):
    _name = "kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _Unfinished(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = state.flags.no_compile = True
        super().run_pass(state)
        result, (compiled, address) = state["cr"], _refusal()
        function = _dynfunc.make_function(
            result.fndesc.lookup_module(), result.fndesc.qualname, "a kernel", address, result.env,
            (state.library, compiled),
        )  # fmt: skip
        state.targetctx.insert_user_function(function, result.fndesc, [state.library])
        state["cr"] = result._replace(cfunc=function)
        return True


class EntryCompiler(CompilerBase):
    """Numba's pipeline, for functions with names of their own."""

    def define_pipelines(self) -> list[Any]:
        """Its passes."""
        function = self.state.func_id
        function.unique_id = secrets.randbits(63)
        function.unique_name = f"{function.func_qualname}${function.unique_id}"
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


class KernelCompiler(EntryCompiler):
    """The same with another last step."""

    def define_pipelines(self) -> list[Any]:
        """Its passes."""
        [passes] = super().define_pipelines()
        passes.passes = [(_KernelLowering if p is NativeLowering else p, text) for p, text in passes.passes]
        passes.finalize()
        return [passes]
