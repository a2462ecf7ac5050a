"""Networks that travel."""

from __future__ import annotations

from fastbackprop.interop.c import to_c
from fastbackprop.interop.onnx import to_onnx
from fastbackprop.interop.onnx_reading import from_onnx
from fastbackprop.interop.torch import from_torch, to_torch

__all__ = ["from_onnx", "from_torch", "to_c", "to_onnx", "to_torch"]
