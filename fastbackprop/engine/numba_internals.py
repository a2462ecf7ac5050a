"""All that the project uses of Numba without a promise that it stays; nothing of it is imported elsewhere.

Versions of Numba are bounded for its sake (pyproject.toml), and the oldest and the newest are tried (.ci/run).
"""

from __future__ import annotations

from numba.core import cgutils
from numba.core.codegen import CodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.registry import cpu_target
from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.core.untyped_passes import GenericRewrites, InlineClosureLikes
from numba.np.arrayobj import make_array, populate_array
from numba.np.ufunc.dufunc import DUFunc
from numba.np.ufunc.gufunc import GUFunc

__all__ = [
    "CodeLibrary", "CompilerBase", "ConcreteTemplate", "DUFunc", "DefaultPassBuilder", "GUFunc", "GenericRewrites",
    "InlineClosureLikes", "InlineOverloads", "NativeLowering", "NopythonRewrites", "cgutils", "cpu_target",
    "global_compiler_lock", "infer_global", "make_array", "populate_array", "register_pass", "signature",
]  # fmt: skip
