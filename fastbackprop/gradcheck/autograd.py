"""The gradients of other frameworks, by their automatic derivatives. Nothing is imported until it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from fastbackprop.activations import ACTIVATIONS, Activation
from fastbackprop.gradcheck.case import Case
from fastbackprop.gradcheck.statements import Array

PEERS = {"torch": "PyTorch", "jax": "JAX"}


def gradients_by(name: str, case: Case) -> dict[str, Any]:
    """A framework's gradients by W and b by layer, by X and by Z[L], as columns, in float64."""
    arrays = [np.ascontiguousarray(T) for pair in zip(case.W[1:], case.b[1:]) for T in pair]
    arrays += [np.ascontiguousarray(case.X), np.zeros_like(case.Y)]
    gradients = (_by_torch if name == "torch" else _by_jax)(case, arrays)
    *parameters, dX, dZ = gradients
    return {"W": [None, *parameters[::2]], "b": [None, *parameters[1::2]], "X": dX, "dZ": dZ}


def _network_of(case: Case, arrays: Sequence[Any], activations: dict[str, Any]) -> Any:
    """Z[L], with nothing added to it, of a framework's arrays."""
    *parameters, A, nothing = arrays
    for l in range(1, case.L + 1):
        Z = parameters[2 * l - 2] @ A + parameters[2 * l - 1]
        if l < case.L:
            A = activations[case.net.hidden[l - 1]](Z)
    return Z + nothing


def _textbook(activation: Activation, framework: Any) -> Callable[[Any], Any]:
    """An activation that a framework lacks, or relu, which there has the other derivative at 0 than eq. (1)."""
    return partial(activation.textbook, np=framework)


def _by_torch(case: Case, arrays: Sequence[Array]) -> list[Array]:
    torch = import_module("torch")
    F = torch.nn.functional
    tensors = [torch.tensor(T, requires_grad=True) for T in arrays]
    activations = {
        name: getattr(torch.nn, g.torch.name)(**g.torch.arguments)
        if g.torch and name != "relu"
        else _textbook(g, torch)
        for name, g in ACTIVATIONS.items()
    }
    Z, Y = _network_of(case, tensors, activations).T, torch.tensor(case.Y.T)
    if case.head == "softmax":
        total = F.cross_entropy(Z, Y, reduction="sum")
    elif case.head == "sigmoid":
        total = F.binary_cross_entropy_with_logits(Z, Y, reduction="sum")
    elif case.head == "exp":
        total = F.poisson_nll_loss(Z, Y, reduction="sum")
    else:
        total = F.mse_loss(Z, Y, reduction="sum") / 2
    (total / case.N).backward()
    return [T.grad.numpy() for T in tensors]


def _by_jax(case: Case, arrays: Sequence[Array]) -> list[Array]:
    jax = import_module("jax")
    F, jnp = jax.nn, jax.numpy
    activations = {
        name: partial(getattr(F, g.jax.name), **g.jax.arguments) if g.jax and name != "relu" else _textbook(g, jnp)
        for name, g in ACTIVATIONS.items()
    }

    def J(*arrays: Any) -> Any:
        Z = _network_of(case, arrays, activations)
        if case.head == "softmax":
            each = -(case.Y * F.log_softmax(Z, axis=0)).sum(axis=0)
        elif case.head == "sigmoid":
            each = -(case.Y * F.log_sigmoid(Z) + (1 - case.Y) * F.log_sigmoid(-Z)).sum(axis=0)
        elif case.head == "exp":
            each = (jnp.exp(Z) - case.Y * Z).sum(axis=0)
        else:
            each = ((Z - case.Y) ** 2).sum(axis=0) / 2
        return each.mean()

    with jax.enable_x64(True):
        return [np.asarray(T) for T in jax.grad(J, argnums=tuple(range(len(arrays))))(*map(jnp.asarray, arrays))]
