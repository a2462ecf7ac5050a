"""Infinite numbers and the ends of a dtype's range: limits, in the functions, the engine and the reference alike."""

from __future__ import annotations

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import functional, paper, reference
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.heads import HEADS

DTYPES = ("float32", "float64")
INF = np.inf


def limits(name):
    """g(-inf), g(inf), g'(-inf), g'(inf)."""
    points = ACTIVATIONS[name].points
    return points[-INF][0], points[INF][0], points[-INF][1], points[INF][1]


def ends(dtype):
    """Infinity, and the numbers beside it and beside 0; enough of them for whole vectors and a rest."""
    info = np.finfo(dtype)
    return np.tile(np.array([INF, info.max, info.max / 3, info.smallest_normal, info.smallest_subnormal], dtype), 7)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("module", [functional, reference], ids=["functional", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_slopes(name, dtype, module):
    z = ends(dtype)
    large = z > 1
    for sign, value, slope in zip((-1, 1), limits(name)[:2], limits(name)[2:], strict=True):
        got, slopes = getattr(module, name)(sign * z), getattr(module, "d_" + name)(sign * z)
        with np.errstate(
            all="ignore"
        ):  # selu of the largest number is infinite, and line is not used where the slope is 0
            line = sign * z * z.dtype.type(slope)
        expected = np.where(large, line if np.isinf(value) else value, getattr(module, name)(z.dtype.type(0)))
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=2 * np.finfo(dtype).smallest_normal)
        at_zero = getattr(module, "d_" + name)(z.dtype.type(sign) * np.finfo(dtype).smallest_normal)
        np.testing.assert_allclose(slopes, np.where(large, slope, at_zero), rtol=1e-6, atol=1e-30)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["identity", "exp", "sigmoid"])
def test_the_jacobian_of_huge_outputs(output, dtype):
    """d o / d x = g'(z) W, where the square of o is beyond the dtype."""
    net = fb.Network((2, 2), output=output, dtype=dtype, seed=0)
    z = np.log(np.finfo(dtype).max) * 0.9 if output == "exp" else np.finfo(dtype).max / 8
    net.params = [z, 0, 0, z, 0, 0]
    slope = np.exp(z) if output == "exp" else float(output == "identity")
    np.testing.assert_allclose(net.jacobian([[1, 1]])[0], np.diag([slope * z] * 2), rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_hidden_layers_whose_products_overflow(name, dtype):
    """Inputs and weights are finite, Z is not: A is the limit, and what is before a saturated unit gets no gradient."""
    net = fb.Network((2, 20, 1), name, "sigmoid", dtype=dtype)
    huge = np.sqrt(np.finfo(dtype).max) * 10
    net.params = np.zeros(net.params.size)
    net.weights[0][:, 0] = huge
    below, above = limits(name)[:2]
    X = np.zeros((19, 2), dtype)
    X[::2, 0], X[1::2, 0] = huge, -huge
    t = net.trace(X, np.ones((19, 1)))
    assert np.isinf(t.Z[1]).all()
    np.testing.assert_allclose(t.A[1][::2], above)
    np.testing.assert_allclose(t.A[1][1::2], below)
    if np.isfinite([below, above]).all():
        net.weights[1][...] = 1 / 20
        g = net.gradients(X, np.ones((19, 1)), input_gradient=True)
        assert np.isfinite(g.vector).all()
        assert not g.dX.any()


# Z, y and the loss: what an infinite output costs where it is wanted, and where it is not
SOFTMAX = [
    ((INF, 0, 1), 0, 0), ((INF, 0, 1), 2, INF), ((-INF, 0, 0), 1, np.log(2)), ((-INF, 0, 0), 0, INF),
    ((INF, -INF, -INF), 0, 0), ((INF, INF, 5), 1, np.log(2)), ((-INF, 3, -INF), 1, 0), ((0, -INF, INF), 2, 0),
]  # fmt: skip
SIGMOID = [(INF, 1, 0), (INF, 0, INF), (INF, 0.25, INF), (-INF, 0, 0), (-INF, 1, INF), (-INF, 0.75, INF)]
POISSON = [(INF, 0, INF), (INF, 3, INF), (-INF, 0, 0), (-INF, 2, INF)]


def engine_of(output, m, dtype):
    """A network that is its output layer alone, of Z = X."""
    net = fb.Network((m, m), output=output, dtype=dtype)
    net.params = np.zeros(net.params.size)
    np.fill_diagonal(net.weights[0], 2.0)
    return net


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_and_its_loss(dtype):
    """Class numbers and one-hot targets; Z is 2 x, and the largest x times 2 overflows."""
    Z = np.array([z for z, _, _ in SOFTMAX], dtype)
    y, losses = np.array([y for _, y, _ in SOFTMAX]), [loss for _, _, loss in SOFTMAX]
    o = np.where(np.isinf(Z), Z > 0, np.where((Z == INF).any(axis=1)[:, None], 0, np.exp(Z)))
    o = o / o.sum(axis=1, keepdims=True)
    Y = np.eye(3, dtype=dtype)[y]
    net = engine_of("softmax", 3, dtype)
    X = np.clip(Z / 2, -np.finfo(dtype).max, np.finfo(dtype).max)
    np.testing.assert_allclose(net.forward(X), o, rtol=1e-6)
    np.testing.assert_allclose(functional.softmax(Z), o, rtol=1e-6)
    np.testing.assert_allclose(reference.softmax(Z.T).T, o, rtol=1e-6)
    for target in (y, Y):
        np.testing.assert_allclose(functional.categorical_cross_entropy(Z, target), losses, rtol=1e-6)
        for module in (reference, paper):
            np.testing.assert_allclose(module.losses(Z.T, target.T), losses, rtol=1e-6)
        each = [net.cost(x[None], t[None]) for x, t in zip(X, target, strict=True)]
        np.testing.assert_allclose(each, losses, rtol=1e-6)
        delta = [net.trace(x[None], t[None]).delta[1][0] for x, t in zip(X, target, strict=True)]
        np.testing.assert_allclose(delta, o - Y, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "cases"), [("sigmoid", SIGMOID), ("exp", POISSON)])
def test_losses_of_single_outputs(output, cases, dtype):
    net = engine_of(output, 1, dtype)
    for z, y, loss in cases:
        x = np.array([[np.sign(z) * np.finfo(dtype).max]], dtype)
        assert net.cost(x, [[y]]) == loss
        o = {"sigmoid": z > 0, "exp": np.exp(z)}[output]
        assert net.forward(x)[0, 0] == o
        gradient = net.gradients(x, [[y]]).db[0][0]
        assert gradient == o - y if np.isfinite(loss) else np.isnan(gradient)  # of a cost that is not finite it is NaN
        if output == "sigmoid":
            Z, Y = np.array([[z]], dtype), np.array([[y]], dtype)
            assert functional.binary_cross_entropy(Z, Y)[0] == loss
            for module in (reference, paper):
                assert module.losses(Z, Y, output=output)[0] == loss


@pytest.mark.parametrize("output", HEADS)
def test_a_training_that_overflows_is_one_error(output):
    """No parameters that are not finite, and no cost of 0."""
    net = fb.Network((2, 3, 2), "relu", output, seed=0)
    net.weights[0][...] = 1e30
    X, y = np.full((8, 2), 1e30), np.zeros(8, int) if output == "softmax" else np.ones((8, 2)) / 2
    with pytest.raises(FloatingPointError):
        net.fit(X, y, epochs=3, seed=0)
    assert np.isfinite(net.params).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_no_limit(dtype):
    """A NaN among the outputs makes the loss NaN, wherever it stands."""
    for k in range(3):
        Z = np.array([[1.0, 2.0, INF]], dtype)
        Z[0, k] = np.nan
        for y in range(3):
            for target in (np.array([y]), np.eye(3, dtype=dtype)[[y]]):
                assert np.isnan(functional.categorical_cross_entropy(Z, target)).all()
                assert np.isnan(reference.losses(Z.T, target.T)).all()
    assert np.isnan(functional.binary_cross_entropy([[np.nan]], [[0.0]])).all()
    assert np.isnan(functional.softmax(np.full(4, -INF, dtype))).all()  # no limit
