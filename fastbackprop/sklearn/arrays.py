"""Arrays that others hand over: samples of the dtypes that the engine reads, and parameters in the place of ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop import checks
from fastbackprop.network import Network

# Of X, what the engine reads as it lies; scikit-learn's validation converts everything else to the first. The first two
# are what scikit-learn leaves as it is.
_NATIVE = tuple(np.dtype(code) for code in "dfe?bhilqBHILQ")
READ = (*_NATIVE, *(dtype.newbyteorder("S") for dtype in _NATIVE if dtype.itemsize > 1))


def in_dtype(y: np.ndarray, net: Network) -> np.ndarray:
    """Targets as the engine reads them: class numbers, or rows in the dtype of the network."""
    with np.errstate(under="ignore"):
        return y if y.ndim == 1 else y.astype(net.dtype, copy=False)


def read_parameters(
    coefs: Any, intercepts: Any, inputs: int | None, outputs: int | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """``coefs_`` and ``intercepts_`` as arrays of numbers whose shapes are those of a network's layers.

    Raises TypeError or ValueError that names the array, what was got and what is accepted.
    """
    for name, given in (("coefs_", coefs), ("intercepts_", intercepts)):
        if not isinstance(given, (list, tuple)) or not len(given):
            got = "an empty one" if isinstance(given, (list, tuple)) else type(given).__name__
            raise TypeError(f"{name} must be a list of arrays, one a layer, got {got}")
    if len(coefs) != len(intercepts):
        raise ValueError(
            f"coefs_ and intercepts_ must have an array each for every layer, got {len(coefs)} and {len(intercepts)}"
        )
    weights = [checks.numbers(W, f"coefs_[{l}]") for l, W in enumerate(coefs)]
    biases = [checks.numbers(b, f"intercepts_[{l}]") for l, b in enumerate(intercepts)]
    for l, (W, b) in enumerate(zip(weights, biases)):
        n_out = outputs if l == len(weights) - 1 else None
        wrong = W.ndim != 2 or 0 in W.shape or (inputs is not None and W.shape[0] != inputs)
        if wrong or (n_out is not None and W.shape[1] != n_out):
            expected = f"({'n_in' if inputs is None else inputs}, {'n_out' if n_out is None else n_out})"
            raise ValueError(f"coefs_[{l}] must have shape {expected}, got {W.shape}")
        if b.shape != W.shape[1:]:
            raise ValueError(f"intercepts_[{l}] must have shape {W.shape[1:]}, as coefs_[{l}] has, got {b.shape}")
        inputs = W.shape[1]
    return weights, biases


def float_of(arrays: list[np.ndarray]) -> np.dtype[Any]:
    """The dtype of a network of such parameters: float32 where that holds all of them, else float64."""
    return np.dtype(np.float32 if np.result_type(np.float32, *arrays) == np.float32 else np.float64)


def fill(net: Network, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
    """Copy parameters into a network; ValueError where one is infinite in its dtype only."""
    names = [f"{name}_[{l}]" for name in ("coefs", "intercepts") for l in range(len(weights))]
    for name, view, array in zip(names, [*(W.T for W in net.weights), *net.biases], [*weights, *biases]):
        try:
            with np.errstate(over="raise", under="ignore"):
                view[...] = array
        except FloatingPointError:
            raise ValueError(f"{name} must be finite in {net.dtype}, got {np.abs(array).max()!s}") from None
