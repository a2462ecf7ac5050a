"""The paper's functions stated anew, for real and complex numbers, and derivatives by complex step.

Values only: wherever a derivative is needed, it is the complex step of a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from fastbackprop.activations import ACTIVATIONS

Array: TypeAlias = Any
Layers: TypeAlias = list[Any]  # one array a layer, from 1; where the paper has none, None

STEP = 1e-30  # of a complex step: nothing is subtracted, so it cannot be too small


def sigma(z: Array) -> Array:
    """Sigmoid, 1 / (1 + e^-z), in a form that does not overflow."""
    return (1 + np.tanh(z / 2)) / 2


def softplus(z: Array) -> Array:
    """Softplus, log(1 + e^z)."""
    positive = np.real(z) >= 0
    return np.where(positive, z, 0) + np.log1p(np.exp(np.where(positive, -z, z)))


_erf = np.frompyfunc(math.erf, 1, 1)


def erf(z: Array) -> Array:
    """The error function; of complex numbers to first order in the imaginary part, as complex steps need it."""
    value = np.asarray(_erf(np.real(z)), np.float64)
    return value + 2j / np.sqrt(np.pi) * np.exp(-(np.real(z) ** 2)) * np.imag(z) if np.iscomplexobj(z) else value


NAMESPACE = SimpleNamespace(**vars(np), erf=erf)  # of the textbooks' functions: NumPy's, and one that it lacks
# As textbooks have them: of the table's entries only this is read, and no formula that the engine has.
VALUES: dict[str, Callable[[Array], Array]] = {
    name: partial(g.textbook, np=NAMESPACE) for name, g in ACTIVATIONS.items()
}
KINKS = {name: g.kinks for name, g in ACTIVATIONS.items() if g.kinks}


def along(f: Callable[[Array], Array], T: Array, V: Array) -> Array:
    """The derivative of f at T in the direction V, by complex step."""
    return np.imag(f(T + 1j * STEP * V)) / STEP


def slope_of(name: str, z: Array) -> Array:
    """g'(z) of each element."""
    return along(VALUES[name], z, np.ones_like(z))


def softmax(Z: Array) -> Array:
    """Softmax of each column."""
    E = np.exp(Z - np.max(np.real(Z), axis=0))
    return E / E.sum(axis=0)


PAPER_OUTPUTS = ("identity", "sigmoid", "softmax")  # the three of Theorem 6.1
OUTPUTS: dict[str, Callable[[Array], Array]] = {
    "identity": VALUES["identity"],
    "sigmoid": sigma,
    "softmax": softmax,
    "exp": np.exp,  # with the Poisson deviance: not the paper's, but delta = o - y holds
}


def log_softmax(Z: Array) -> Array:
    """Its logarithm, also of outputs that round to 0."""
    Z = Z - np.max(np.real(Z), axis=0)
    return Z - np.log(np.exp(Z).sum(axis=0))


# section 1, of o = g(z); log sigma(z) = -softplus(-z), log(1 - sigma(z)) = -softplus(z)
LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "identity": lambda Z, Y: ((Z - Y) ** 2).sum(axis=0) / 2,
    "sigmoid": lambda Z, Y: (Y * softplus(-Z) + (1 - Y) * softplus(Z)).sum(axis=0),
    "softmax": lambda Z, Y: -(Y * log_softmax(Z)).sum(axis=0),
    "exp": lambda Z, Y: (np.exp(Z) - Y * Z + Y * (np.log(np.where(Y > 0, Y, 1)) - 1)).sum(axis=0),
}


def matmul(A: Array, B: Array) -> tuple[Array, Array]:
    """The product, and the sums of its absolute terms: what its rounding errors are relative to."""
    return A @ B, np.abs(A) @ np.abs(B)


def affine(W: Array, x: Array, b: Array) -> Array:
    """(3)."""
    return W @ x + b


def activated(g: Callable[[Array], Array], W: Array, x: Array, b: Array) -> Array:
    """(3) and (4)."""
    return g(affine(W, x, b))


def row_sums(T: Array) -> tuple[Array, Array]:
    """The sum of the columns of T, as a column, and that of the absolute values."""
    return T.sum(axis=1, keepdims=True), np.abs(T).sum(axis=1)
