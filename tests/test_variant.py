"""Where 1 / N goes: the paper's Theorem 5.4 beside the variant that it criticises, which many notes and courses copy.

Both start from the same costs and end at the same dW and db. In between the variant calls dZ and dA what are not the
gradients of the cost J by Z and A, but N times those. docs/derivation.md explains it.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import reference as nn
from tests.test_reference import HIDDEN, OUTPUTS, central_differences, problem

SIZES, N = (3, 5, 4, 2), 6


def copied_back_propagation(X, Y, W, b, hidden, output):
    """Code 4 with ``dZ[L] = A[L] - Y`` and with 1 / N in every dW and db."""
    Z, A = nn.forward_propagation(X, W, b, hidden=hidden, output=output)
    L, N = len(W) - 1, X.shape[1]
    dA, dZ, dW, db = ([None] * (L + 1) for _ in range(4))
    dZ[L] = A[L] - Y
    for i in range(L, 0, -1):
        if i < L:
            dA[i] = W[i + 1].T @ dZ[i + 1]
            dZ[i] = nn.ACTIVATIONS[hidden][1](Z[i]) * dA[i]
        dW[i] = 1 / N * dZ[i] @ A[i - 1].T
        db[i] = 1 / N * np.sum(dZ[i], axis=1, keepdims=True)
    return dA, dZ, dW, db


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_ends_agree_and_the_middles_differ_by_the_factor(hidden, output):
    X, Y, W, b = problem(SIZES, N, output)
    dA, dZ, dW, db = copied_back_propagation(X, Y, W, b, hidden, output)
    t = nn.trace(X, Y, W, b, hidden=hidden, output=output)
    for i in range(1, len(W)):
        np.testing.assert_allclose(dW[i], t.dW[i], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(db[i], t.db[i], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(dZ[i], t.delta[i], rtol=1e-13, atol=1e-15)  # Delta, not dZ: (21)
        assert not np.allclose(dZ[i], t.dZ[i])
    for i in range(1, len(W) - 1):
        np.testing.assert_allclose(dA[i], N * t.dA[i], rtol=1e-13, atol=1e-15)
        assert not np.allclose(dA[i], t.dA[i])


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_papers_dZ_is_the_gradient_of_the_cost_and_the_variants_is_not(output):
    """By differences of J, as Z of the last layer moves: no formula of a gradient takes part."""
    X, Y, W, b = problem(SIZES, N, output)
    t = nn.trace(X, Y, W, b, hidden="tanh", output=output)
    _, dZ, _, _ = copied_back_propagation(X, Y, W, b, "tanh", output)
    true = central_differences(lambda Z: nn.losses(Z, Y, output=output).mean(), t.Z[-1])
    np.testing.assert_allclose(t.dZ[-1], true, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(dZ[-1], N * true, rtol=1e-7, atol=1e-9)


def test_for_one_sample_there_is_no_difference():
    X, Y, W, b = problem(SIZES, 1)
    _, dZ, _, _ = copied_back_propagation(X, Y, W, b, "relu", "softmax")
    t = nn.trace(X, Y, W, b)
    for i in range(1, len(W)):
        np.testing.assert_array_equal(dZ[i], t.dZ[i])


def test_the_engine_has_the_papers():
    X, Y, W, b = problem(SIZES, N)
    net = fb.Network(SIZES, dtype="float64")
    for l in range(1, len(W)):
        net.weights[l - 1][...], net.biases[l - 1][...] = W[l], b[l][:, 0]
    t = net.trace(X.T, Y.T)
    _, dZ, _, _ = copied_back_propagation(X, Y, W, b, "relu", "softmax")
    for l in range(1, len(W)):
        np.testing.assert_allclose(t.dZ[l].T, dZ[l] / N, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(t.delta[l].T, dZ[l], rtol=1e-12, atol=1e-15)
