"""The hidden activations by name: their codes in the engine and how their layers' weights start.

Their values and derivatives are in ``engine/activations.py``, and as NumPy-like functions in ``functional``.
"""

from __future__ import annotations

from typing import NamedTuple

from fastbackprop.engine import activations as kernels


class Activation(NamedTuple):
    """An activation: ``code`` for the engine, ``rectifier`` if He's initialisation suits it (Glorot's otherwise)."""

    code: int
    rectifier: bool


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(kernels.IDENTITY, False),
    "relu": Activation(kernels.RELU, True),  # relu'(0) = 1, eq. (1)
    "relu0": Activation(kernels.RELU0, True),  # relu'(0) = 0, the other convention of section 3
    "leaky_relu": Activation(kernels.LEAKY_RELU, True),
    "elu": Activation(kernels.ELU, True),
    "tanh": Activation(kernels.TANH, False),
    "sigmoid": Activation(kernels.SIGMOID, False),
    "softplus": Activation(kernels.SOFTPLUS, True),
    "gelu": Activation(kernels.GELU, True),  # in its tanh form
    "silu": Activation(kernels.SILU, True),
}
