"""Numbers and shapes at the ends of their ranges, in training too; of single functions see test_elementary.py."""

from __future__ import annotations

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.engine.simd import X86
from fastbackprop.heads import HEADS
from fastbackprop.training import Training
from tests.test_gradients import PAPER_HEADS, TOLERANCE, assert_close, make_case, reference_gradient

SMALLEST = {"float32": 2.0**-149, "float64": 2.0**-1074}
HUGE = {"float32": 1e30, "float64": 1e200}


def check_gradient(net, X, y, Y, tolerance=None):
    g = net.gradients(X, y, input_gradient=True)
    cost, vector, dX = reference_gradient(net, X, Y)
    tolerance = tolerance or TOLERANCE[net.dtype.name]
    assert_close(np.array([g.cost]), np.array([cost]), tolerance)
    assert_close(g.vector, vector, tolerance)
    assert_close(g.dX, dX, tolerance)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormals_are_numbers(dtype, threads):
    """No thread flushes them to zero, but in a training."""
    X = (SMALLEST[dtype] * np.arange(1, 64 * 900 + 1).reshape(900, 64)).astype(dtype)
    net = fb.Network((64, 64, 64), "relu", "identity", dtype=dtype, threads=threads)
    for W in net.weights:
        W[...] = np.eye(64)
    assert np.array_equal(net.forward(X), X)
    dX = np.empty_like(X)
    for start in range(0, 900, 300):
        dX[start : start + 300] = net._pull_back(X[start : start + 300], X[start : start + 300])
    assert np.array_equal(dX, X)


@pytest.mark.skipif(not X86, reason="only x86 processors are slow with subnormal results")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_fades_away_in_a_training_becomes_zero(dtype):
    """A velocity that is halved each step; and whoever trained has subnormal numbers again afterwards."""
    net = fb.Network((64, 64), output="identity", dtype=dtype, threads=2)
    net.params = np.zeros(net.params.size)
    halvings = {"float32": 135, "float64": 1040}[dtype]
    training = Training(
        net, np.zeros((900, 64)), np.zeros((900, 64)), batch_size=900, optimizer=fb.SGD(0.1, momentum=0.5), threads=2
    )  # fmt: skip
    training.state.vectors[0][0] = 1.0
    training.run(halvings - 20)
    assert training.state.vectors[0][0] == 0.5 ** (halvings - 20)
    training.run(20)
    assert training.state.vectors[0][0] == 0.0
    assert np.array([SMALLEST[dtype]], dtype)[0] * np.array([3], dtype)[0] > 0
    test_denormals_are_numbers(dtype, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", HEADS)
@pytest.mark.parametrize("hidden", ["tanh", "sigmoid"])
def test_huge_and_tiny_inputs(hidden, output, dtype):
    """Saturated units are at their limits, those near 0 at its Taylor series: nothing overflows, nothing is NaN."""
    rng = np.random.default_rng(0)
    net = fb.Network((3, 6, 2), hidden, output, dtype=dtype, seed=1)
    signs = rng.choice([-1.0, 1.0], (50, 3))
    y = rng.integers(0, 2, 50) if output == "softmax" else rng.random((50, 2))
    for scale in (HUGE[dtype], 1 / HUGE[dtype]):
        X = signs * scale
        g = net.gradients(X, y, input_gradient=True)
        assert np.isfinite(g.cost)
        assert np.isfinite(g.vector).all()
        assert np.isfinite(g.dX).all()
        Z = signs @ net.weights[0].T.astype("f8")
        saturated = np.sign(Z) if hidden == "tanh" else (Z > 0) * 1.0
        near = Z * scale if hidden == "tanh" else np.full_like(Z, 0.5)
        last = fb.Network((6, 2), (), output, dtype="float64")
        last.params = net.params[-14:]
        expected = last.forward(saturated if scale > 1 else near)
        np.testing.assert_allclose(net.forward(X), expected, rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("output", PAPER_HEADS)
def test_mixed_magnitudes(output):
    """Inputs of 1e-20 beside inputs of 1e20: the gradient of each weight is right relative to itself."""
    rng = np.random.default_rng(2)
    scales = np.array([1e-20, 1.0, 1e20])
    net = fb.Network((3, 5, 3), "tanh", output, dtype="float64", seed=0)
    net.weights[0][...] /= scales
    X = rng.standard_normal((40, 3)) * scales
    y = rng.integers(0, 3, 40)
    Y = np.eye(3)[y]
    g = net.gradients(X, y if output == "softmax" else Y)
    _, vector, _ = reference_gradient(net, X, Y)
    expected = vector[:15].reshape(5, 3)
    np.testing.assert_allclose(g.dW[0] / scales, expected / scales, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_signed_zeros(dtype):
    """-0.0 is 0: relu'(-0.0) = 1, eq. (1), although the engine marks dead units by the sign; no mark is ever shown."""
    net = fb.Network((2, 3, 2), "relu", "identity", dtype=dtype, seed=0)
    plus, minus = np.zeros((20, 2), dtype), np.full((20, 2), -0.0, dtype)
    Y = np.ones((20, 2))
    for biases in (0.0, -0.0):
        net.biases[0][...] = biases
        assert np.array_equal(net.forward(plus), net.forward(minus))
        for X in (plus, minus):
            g = net.gradients(X, Y, input_gradient=True)
            _, vector, dX = reference_gradient(net, X, Y)
            assert_close(g.vector, vector, TOLERANCE[dtype])
            assert_close(g.dX, dX, TOLERANCE[dtype])
            assert np.abs(g.dX).min() > 0
    net.biases[0][...] = [-1.0, 0.0, 1.0]
    assert not np.signbit(net.trace(minus, Y).A[1]).any()
    net.weights[1][...] = -np.abs(net.weights[1])
    net.biases[0][...] = -1.0
    assert (net.forward(plus) == 0).all()


@pytest.mark.parametrize("output", PAPER_HEADS)
def test_a_layer_of_dead_units(output):
    """No gradient goes through it: the weights before stay to the bit, and the biases after learn the mean target."""
    rng = np.random.default_rng(0)
    X = rng.random((200, 4))
    Y = np.eye(3)[rng.integers(0, 3, 200)]
    net = fb.Network((4, 8, 5, 3), "relu", output, dtype="float64", seed=0)
    net.biases[1][...] = -1e6
    before = net.params.copy()
    g = net.gradients(X, Y, input_gradient=True)
    assert not g.dX.any()
    assert not g.dW[0].any() and not g.dW[1].any() and not g.dW[2].any() and not g.db[1].any()  # noqa: PT018
    net.fit(X, Y, epochs=300, batch_size=200, optimizer=fb.SGD(1.0), seed=0)
    assert net.params[:-3].tobytes() == before[:-3].tobytes()
    np.testing.assert_allclose(net.forward(X), np.tile(Y.mean(axis=0), (200, 1)), rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adam", "adamw"])
def test_gradients_of_zero_under_every_optimizer(optimizer):
    """0 / (sqrt(0) + eps): columns that are always 0 and dead units leave no NaN, and their weights stay."""
    X = np.zeros((64, 5))
    X[:, 0] = np.linspace(-1, 1, 64)
    net = fb.Network((5, 6, 2), seed=0)
    before = net.weights[0].copy()
    options = {"weight_decay": 0.0} if optimizer == "adamw" else {}
    rule = {"adamw": fb.AdamW, "sgd": fb.SGD}.get(optimizer)
    net.fit(X, (X[:, 0] > 0).astype(int), epochs=10, optimizer=rule(0.01, **options) if rule else optimizer, seed=0)
    assert np.isfinite(net.params).all()
    assert np.array_equal(net.weights[0][:, 1:], before[:, 1:])
    assert not np.array_equal(net.weights[0][:, 0], before[:, 0])


def test_constant_columns():
    rng = np.random.default_rng(0)
    for constant in (0.0, 1.0, -3.5e4):
        X = rng.standard_normal((100, 4))
        X[:, 2] = constant
        y = rng.integers(0, 3, 100)
        net = fb.Network((4, 10, 3), "tanh", dtype="float64", seed=0)
        check_gradient(net, X, y, np.eye(3)[y])
    X = np.full((100, 4), 2.0)  # nothing to tell samples apart: the best is the frequencies of the classes
    net = fb.Network((4, 3), dtype="float64", seed=0)
    net.fit(X, y, epochs=500, batch_size=100, optimizer=fb.SGD(0.1), seed=0)
    np.testing.assert_allclose(net.forward(X[:1])[0], np.bincount(y) / 100, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", sorted(ACTIVATIONS))
@pytest.mark.parametrize(
    ("sizes", "samples"),
    [((4, 9, 3), 1), ((1, 9, 3), 30), ((1, 2), 1), ((5, 1, 1, 1, 3), 30), ((1,) * 8 + (2,), 17)],
    ids=["one sample", "one feature", "one of each", "widths of 1", "eight widths of 1"],
)
def test_single_things(sizes, samples, hidden, dtype):
    net, X, y, Y = make_case(sizes, hidden, "softmax", samples, dtype, 3)
    check_gradient(net, X, y, Y, 1e-4 if dtype == "float32" else 1e-11)
    for batch_size in (1, samples):
        history = net.fit(X, y, epochs=3, batch_size=batch_size, optimizer=fb.SGD(1e-3), seed=0)
        assert history.steps == 3 * -(-samples // batch_size)
        assert np.isfinite(history.cost).all()


def test_one_class():
    """All targets alike: the network grows sure of it, and the cost goes to 0 without ever being negative or NaN."""
    X = np.random.default_rng(0).standard_normal((100, 4))
    net = fb.Network((4, 8, 3), seed=0)
    history = net.fit(X, np.full(100, 2), epochs=200, optimizer=fb.SGD(1.0), seed=0)
    assert min(history.cost) >= 0
    assert history.cost[-1] < 1e-3
    assert (net.forward(X).argmax(axis=1) == 2).all()
    only = fb.Network((4, 8, 1), output="sigmoid", seed=0)
    assert only.fit(X, np.ones(100), epochs=200, optimizer=fb.SGD(1.0), seed=0).cost[-1] < 1e-3


def test_ten_thousand_classes():
    net, X, y, Y = make_case((8, 4, 10_000), "tanh", "softmax", 50, "float32", 0)
    check_gradient(net, X, y, Y)
    np.testing.assert_allclose(net.forward(X).sum(axis=1, dtype=np.float64), 1, rtol=1e-5)
    cost = net.fit(X, y, epochs=60, batch_size=50, optimizer=fb.Adam(0.1), seed=0).cost
    assert cost[0] == pytest.approx(np.log(10_000), rel=0.2)
    assert cost[-1] < 0.2 * cost[0]


@pytest.mark.parametrize("hidden", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("width", [1, 8, 33])
def test_two_hundred_layers(hidden, width):
    net, X, y, Y = make_case((5, *[width] * 200, 3), hidden, "softmax", 20, "float64", 4)
    check_gradient(net, X, y, Y, 1e-10)
    history = net.fit(X, y, epochs=2, optimizer=fb.SGD(1e-3), seed=0)
    assert np.isfinite(history.cost).all()


# ---- 10 million samples

MANY = 10_000_000


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(0)
    return rng.random((MANY, 1), np.float32), rng.random((MANY, 1), np.float32)


@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_the_cost_of_ten_million_samples(many, output):
    """In float32, where a plain sum of 10 million numbers near 1 would stop growing at 2**24."""
    X, Y = many
    net = fb.Network((1, 1), output=output, seed=1)
    Z = X.astype(np.float64) * net.params[0] + net.params[1]
    if output == "identity":
        expected = 0.5 * np.mean((Z - Y) ** 2)
    else:
        expected = np.mean(np.logaddexp(0, Z) - Y * Z)
    assert net.cost(X, Y) == pytest.approx(expected, rel=1e-6)
    history = net.fit(X, Y, epochs=1, batch_size=MANY // 10, optimizer=fb.SGD(0.0), shuffle=False)
    assert history.cost[0] == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_ten_million_samples(many):
    X, Y = many
    net = fb.Network((1, 1), output="identity", seed=1)
    delta = X.astype(np.float64) * net.params[0] + net.params[1] - Y
    g = net.gradients(X, Y)
    assert g.db[0][0] == pytest.approx(delta.mean(), rel=1e-5)
    assert g.dW[0][0, 0] == pytest.approx((delta * X).mean(), rel=1e-5)


def test_what_weighs_nothing_may_overflow():
    net = fb.Network((1, 1), output="exp", seed=0)
    net.params = [1.0, 0.0]
    X, Y = np.array([[1.0], [95.0]], np.float32), np.array([[1.0], [0.0]], np.float32)  # e^95 is no float32
    got, alone = net.gradients(X, Y, sample_weight=[1, 0]), net.gradients(X[:1], Y[:1])
    assert got.cost == alone.cost
    assert np.array_equal(got.vector, alone.vector)
    assert np.isfinite(net.fit(X, Y, epochs=2, sample_weight=[1, 0]).cost).all()


def test_what_weighs_nothing_may_overflow_before_a_softmax():
    net = fb.Network((2, 3), seed=0)
    net.weights[0][:] = [[10, 0], [0, 10], [-10, 10]]
    X, y = np.array([[1, 2], [3e38, -3e38], [0.5, 0.1]], np.float32), np.array([0, 1, 2])
    got, alone = net.gradients(X, y, sample_weight=[1, 0, 2]), net.gradients(X[::2], y[::2], sample_weight=[1, 2])
    assert got.cost == alone.cost
    assert np.array_equal(got.vector, alone.vector)
