"""Networks that travel."""

from __future__ import annotations

from fastbackprop.interop.c import to_c
from fastbackprop.interop.onnx import to_onnx
from fastbackprop.interop.onnx_reading import from_onnx

__all__ = ["from_onnx", "to_c", "to_onnx"]
