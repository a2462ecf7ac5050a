"""JAX: the parameters as a pytree, a list of (W, b)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbackprop import checks
from fastbackprop.heads import HEADS
from fastbackprop.interop.exported import exported, layers, library
from fastbackprop.network import Network


def to_jax(model: Any) -> list[tuple[Any, Any]]:
    """The parameters as a pytree that JAX differentiates and optimizes: [(W[1], b[1]), ...].

    W[l] is (n[l], n[l-1]), as in JAX's own examples: ``Z = A @ W.T + b`` with samples as rows.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
        Of an estimator its network; of a table's, the network behind the preprocessing.

    Returns
    -------
    list of (jax.Array, jax.Array)
        Of the network's dtype.

    Raises
    ------
    ImportError
        Where JAX, the extra ``jax``, is not installed.
    TypeError, ValueError
        Where the model is no such thing, has parameters that are not finite, or is of float64 and JAX is not told to
        have that.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> [(W.shape, b.shape) for W, b in fb.interop.to_jax(fb.Network((4, 8, 3), seed=0))]
    [((8, 4), (8,)), ((3, 8), (3,))]
    """
    jax = library("jax", "interop.to_jax", "jax")
    net = exported(model).net
    if net.dtype == np.float64 and not jax.config.jax_enable_x64:
        raise ValueError("model must be of float32 for JAX, or jax.config.update('jax_enable_x64', True) come first")
    jnp = library("jax.numpy", "interop.to_jax", "jax")
    return [(jnp.array(W), jnp.array(b)) for W, b in zip(net.weights, net.biases)]


def from_jax(params: Any, hidden: str | Sequence[str] = "relu", output: str = "softmax") -> Network:
    """The network with these parameters, as :func:`to_jax` gives them.

    Parameters
    ----------
    params : sequence of (W, b)
        Arrays of JAX or NumPy, W[l] of shape (n[l], n[l-1]) and b[l] of shape (n[l],).
    hidden, output : str or sequence of str, str
        As :class:`fastbackprop.Network` has them.

    Returns
    -------
    Network
        Of float64 where the weights are, else float32.

    Raises
    ------
    TypeError, ValueError
        Where they are no such arrays, or not finite.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> net = fb.Network((4, 8, 3), hidden="tanh", seed=0)
    >>> fb.interop.from_jax(fb.interop.to_jax(net), hidden="tanh")
    Network(4-8-3, hidden=tanh, output=softmax, dtype=float32, 67 parameters)
    """
    checks.one_of(output, "output", HEADS)
    pairs = isinstance(params, Sequence) and len(params) and not isinstance(params, (str, bytes))
    if not pairs or not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in params):
        raise TypeError(f"params must be a sequence of (W, b), one a layer, got {checks.shortened(params)}")
    weights = [checks.numbers(W, f"params[{l}][0]") for l, (W, _) in enumerate(params)]
    biases = [checks.numbers(b, f"params[{l}][1]") for l, (_, b) in enumerate(params)]
    try:
        return layers(weights, biases, hidden, output)
    except ValueError as error:
        raise ValueError(f"params must be those of a network: {error}") from None
