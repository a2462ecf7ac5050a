"""The hidden activations by name: their codes in the engine and how their layers' weights start.

Their values and derivatives are in ``engine/activations.py``, and as NumPy-like functions in ``functional``.
"""

from __future__ import annotations

from typing import NamedTuple

from fastbackprop.engine import codes


class Activation(NamedTuple):
    """An activation: ``code`` for the engine, ``rectifier`` if He's initialisation suits it (Glorot's otherwise)."""

    code: int
    rectifier: bool


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(codes.IDENTITY, False),
    "relu": Activation(codes.RELU, True),  # relu'(0) = 1, eq. (1)
    "relu0": Activation(codes.RELU0, True),  # relu'(0) = 0, the other convention of section 3
    "leaky_relu": Activation(codes.LEAKY_RELU, True),
    "elu": Activation(codes.ELU, True),
    "tanh": Activation(codes.TANH, False),
    "sigmoid": Activation(codes.SIGMOID, False),
    "softplus": Activation(codes.SOFTPLUS, True),
    "gelu": Activation(codes.GELU, True),  # in its tanh form
    "silu": Activation(codes.SILU, True),
}
