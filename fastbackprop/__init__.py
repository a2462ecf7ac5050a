"""Fully connected neural networks for CPUs, trained by fused, JIT-compiled steps."""

from __future__ import annotations

import importlib

from fastbackprop.version import __version__ as __version__

TYPE_CHECKING = False  # not that of typing, which takes longer to import than all else here
if TYPE_CHECKING:
    from typing import Any

    from fastbackprop import schedules
    from fastbackprop.compiling import compile  # noqa: A004
    from fastbackprop.early_stopping import EarlyStopping
    from fastbackprop.history import History
    from fastbackprop.network import Gradients, Network, Trace
    from fastbackprop.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, RMSprop
    from fastbackprop.persistence import load

__all__ = [
    "LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "EarlyStopping", "Gradients", "History", "Network", "RMSprop", "Trace",
    "compile", "load", "schedules",
]  # fmt: skip

# Where the names are. NumPy and Numba are imported with the first that is used: `fastbackprop --help` needs neither.
_MODULE_OF = {
    "EarlyStopping": "early_stopping",
    "History": "history",
    **dict.fromkeys(("Gradients", "Network", "Trace"), "network"),
    **dict.fromkeys(("LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "RMSprop"), "optimizers"),
    "compile": "compiling",
    "load": "persistence",
}
_MODULES = (
    "datasets", "functional", "gradcheck", "interop", "optimizers", "paper", "persistence", "plotting", "reference",
    "schedules", "sklearn", "tables",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
