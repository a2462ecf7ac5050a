"""Networks that travel: to ONNX, C, PyTorch, Keras, scikit-learn and JAX, and from all of them but C.

Each function ``to_...`` takes a network, a fitted estimator of ``fastbackprop.sklearn`` or the path of a safetensors
file. Another library is imported when it is used, and the error of one that is missing names the extra.
"""

from __future__ import annotations

from fastbackprop.interop.c import to_c
from fastbackprop.interop.files import load, save
from fastbackprop.interop.jax import from_jax, to_jax
from fastbackprop.interop.keras import from_keras, save_keras, to_keras
from fastbackprop.interop.onnx import to_onnx
from fastbackprop.interop.onnx_reading import from_onnx
from fastbackprop.interop.skl2onnx import register_with_skl2onnx
from fastbackprop.interop.sklearn import from_sklearn, to_sklearn
from fastbackprop.interop.torch import from_torch, save_torch, to_torch

__all__ = [
    "from_jax", "from_keras", "from_onnx", "from_sklearn", "from_torch", "load", "register_with_skl2onnx", "save",
    "save_keras", "save_torch", "to_c", "to_jax", "to_keras", "to_onnx", "to_sklearn", "to_torch",
]  # fmt: skip
