"""The paper's equations (16)-(25) and (36)-(38), one test each, on what the engine itself computed."""

from __future__ import annotations

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import functional
from fastbackprop.plan import sample_shards_of
from tests.test_gradients import make_case

CASES = [("softmax", "relu"), ("sigmoid", "tanh"), ("identity", "gelu"), ("softmax", ["elu", "softplus"])]
N, L = 21, 3


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request):
    output, hidden = request.param
    net, X, y, Y = make_case((5, 18, 11, 4), hidden, output, N, "float64", 3)
    return net, net.trace(X, y), X, Y


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def slope(net, trace, l):
    """g[l]'(Z[l])."""
    return getattr(functional, f"d_{net.hidden[l - 1]}")(trace.Z[l])


def test_forward_equations_3_and_4(case):
    net, t, X, _ = case
    close(t.A[0], X)
    for l in range(1, L + 1):
        close(t.Z[l], t.A[l - 1] @ net.weights[l - 1].T + net.biases[l - 1])
    for l in range(1, L):
        close(t.A[l], getattr(functional, net.hidden[l - 1])(t.Z[l]))
    close(t.A[L], net.forward(X))


def test_equation_16(case):
    """The gradient by a[l-1] of a sample's loss is W[l]^T delta[l]; dA is 1/N of it."""
    net, t, _, _ = case
    for l in range(1, L + 1):
        close(N * t.dA[l - 1], t.delta[l] @ net.weights[l - 1])


def test_equation_17(case):
    net, t, _, _ = case
    for l in range(2, L + 1):
        close(t.delta[l - 1], slope(net, t, l - 1) * (t.delta[l] @ net.weights[l - 1]))


def test_equation_18(case):
    """One sample's gradient by W[l] is delta[l] a[l-1]^T."""
    net, t, X, Y = case
    one = net.trace(X[:1], Y[:1])
    for l in range(1, L + 1):
        close(one.dW[l - 1], np.outer(t.delta[l][0], t.A[l - 1][0]))


def test_equation_19(case):
    """One sample's gradient by b[l] is delta[l]."""
    net, t, X, Y = case
    one = net.trace(X[:1], Y[:1])
    for l in range(1, L + 1):
        close(one.db[l - 1], t.delta[l][0])


def test_equation_20(case):
    """db is the mean of the samples' own gradients."""
    net, t, X, Y = case
    for l in range(1, L + 1):
        each = [net.gradients(X[k : k + 1], Y[k : k + 1]).db[l - 1] for k in range(N)]
        close(t.db[l - 1], np.mean(each, axis=0))


def test_equation_21(case):
    _, t, _, _ = case
    for l in range(1, L + 1):
        close(t.dZ[l], t.delta[l] / N)


def test_equation_22(case):
    net, t, _, _ = case
    for l in range(1, L + 1):
        close(t.dA[l - 1], t.dZ[l] @ net.weights[l - 1])


def test_equation_23(case):
    net, t, _, _ = case
    for l in range(1, L):
        close(t.dZ[l], slope(net, t, l) * t.dA[l])


def test_equation_24(case):
    _, t, _, _ = case
    for l in range(1, L + 1):
        close(t.dW[l - 1], t.dZ[l].T @ t.A[l - 1])


def test_equation_25(case):
    _, t, _, _ = case
    for l in range(1, L + 1):
        close(t.db[l - 1], t.dZ[l].sum(axis=0))


def test_equation_36(case):
    """dZ[L] = (A[L] - Y) / N for all three heads: Theorem 6.1, and eqs. (27), (33), (40)."""
    _, t, _, Y = case
    close(t.dZ[L], (t.A[L] - Y) / N)


def test_equation_37(case):
    _, t, _, _ = case
    close(t.dW[L - 1], t.dZ[L].T @ t.A[L - 1])


def test_equation_38(case):
    _, t, _, _ = case
    close(t.db[L - 1], t.dZ[L].sum(axis=0))


def test_the_trace_is_that_of_the_fused_step(case):
    net, t, X, Y = case
    g = net.gradients(X, Y, input_gradient=True)
    assert t.cost == g.cost
    for l in range(1, L + 1):
        assert np.array_equal(t.dW[l - 1], g.dW[l - 1])
        assert np.array_equal(t.db[l - 1], g.db[l - 1])
    assert np.array_equal(t.dA[0], g.dX)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_trace_of_a_batch_whose_gradient_is_made_in_parts(dtype, threads):
    """The parts have workspaces of their own, in which the trace does not look."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((300, 8)).astype(dtype), rng.standard_normal((300, 3)).astype(dtype)
    net = fb.Network((8, 40, 3), hidden="tanh", output="identity", dtype=dtype, seed=0, threads=threads)
    assert sample_shards_of(net.sizes, net.dtype, 300) > 1
    t, g = net.trace(X, Y), net.gradients(X, Y)
    assert np.array_equal(t.A[2], net.forward(X))
    assert np.array_equal(t.A[1], functional.tanh(t.Z[1]))
    rounding = {"rtol": 1e-4, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(t.delta[2], t.A[2] - Y, **rounding)
    np.testing.assert_allclose(t.dZ[1], t.dA[1] * (1 - t.A[1] ** 2), **rounding)
    for l in (1, 2):
        assert np.array_equal(t.dW[l - 1], g.dW[l - 1])
        np.testing.assert_allclose(t.dW[l - 1], t.dZ[l].T @ t.A[l - 1], **rounding)


def test_equations_3_and_13_for_a_linear_regression():
    """Section 6.1: no hidden layer, eqs. (27)-(32)."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((13, 4)), rng.standard_normal((13, 2))
    net = fb.Network((4, 2), output="identity", dtype="float64", seed=0)
    t = net.trace(X, Y)
    close(t.delta[1], t.A[1] - Y)
    close(t.dW[0], (t.A[1] - Y).T @ X / 13)
    close(t.db[0], (t.A[1] - Y).mean(axis=0))
    close(13 * t.dA[0], (t.A[1] - Y) @ net.weights[0])
