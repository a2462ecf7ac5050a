"""Networks that travel."""

from __future__ import annotations

from fastbackprop.interop.c import to_c
from fastbackprop.interop.jax import from_jax, to_jax
from fastbackprop.interop.onnx import to_onnx
from fastbackprop.interop.onnx_reading import from_onnx
from fastbackprop.interop.sklearn import from_sklearn, to_sklearn
from fastbackprop.interop.torch import from_torch, to_torch

__all__ = [
    "from_jax", "from_onnx", "from_sklearn", "from_torch", "to_c", "to_jax", "to_onnx", "to_sklearn", "to_torch",
]  # fmt: skip
