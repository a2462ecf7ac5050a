"""Gradients against what we did not write: the paper's formulas in NumPy, complex step, differences, autograd."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbackprop as fb
from fastbackprop import reference
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.heads import HEADS

PAPER_HEADS = ["identity", "sigmoid", "softmax"]  # Theorem 6.1's, which the reference has
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def make_case(sizes, hidden, output, samples, dtype, seed):
    """A network with random biases too, inputs, targets as the network takes them and as dense rows."""
    rng = np.random.default_rng(seed)
    net = fb.Network(sizes, hidden, output, dtype=dtype, seed=rng)
    for b in net.biases:
        b[...] = 0.1 * rng.standard_normal(b.shape)
    X = rng.standard_normal((samples, sizes[0])).astype(dtype)
    if output == "softmax":
        y = rng.integers(0, sizes[-1], samples)
        return net, X, y, np.eye(sizes[-1])[y]
    Y = rng.random((samples, sizes[-1]))
    return net, X, Y, Y


def reference_parameters(net):
    """W and b as the paper's codes take them: lists from 1, columns, in float64."""
    W = [None, *(w.astype(np.float64) for w in net.weights)]
    b = [None, *(v.astype(np.float64)[:, None] for v in net.biases)]
    return W, b


def reference_gradient(net, X, Y):
    """Cost, gradient vector and dX of the NumPy reference, in float64."""
    W, b = reference_parameters(net)
    options = {"hidden": list(net.hidden) or "relu", "output": net.output}
    t = reference.trace(X.T.astype(np.float64), Y.T, W, b, **options)
    vector = np.concatenate([np.concatenate([w.ravel(), v.ravel()]) for w, v in zip(t.dW[1:], t.db[1:])])
    return reference.cost(t.A[-1], Y.T, output=net.output), vector, t.dA[0].T


def assert_close(got, expected, tolerance):
    """The largest error relative to the largest value."""
    scale = np.abs(expected).max()
    assert np.abs(got - expected).max() <= tolerance * max(scale, 1e-300)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_gradients_are_those_of_the_reference(dtype, data):
    output = data.draw(st.sampled_from(PAPER_HEADS))
    depth = data.draw(st.integers(1, 6))
    widths = st.one_of(st.integers(1, 300), st.sampled_from([1, 2, 15, 16, 17, 32, 256, 300]))
    sizes = data.draw(st.lists(widths, min_size=depth + 1, max_size=depth + 1))
    if output == "softmax":
        sizes[-1] = max(2, sizes[-1])
    hidden = data.draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=depth - 1, max_size=depth - 1))
    samples = data.draw(st.integers(1, 70))
    net, X, y, Y = make_case(sizes, hidden, output, samples, dtype, data.draw(st.integers(0, 2**32)))
    g = net.gradients(X, y, input_gradient=True)
    cost, vector, dX = reference_gradient(net, X, Y)
    assert_close(np.array([g.cost]), np.array([cost]), TOLERANCE[dtype])
    assert_close(g.vector, vector, TOLERANCE[dtype])
    assert_close(g.dX, dX, TOLERANCE[dtype])


@pytest.mark.parametrize("hidden", sorted(ACTIVATIONS))
@pytest.mark.parametrize("output", PAPER_HEADS)
def test_every_activation_with_every_head(hidden, output):
    net, X, y, Y = make_case((7, 20, 18, 4), hidden, output, 37, "float64", 5)
    g = net.gradients(X, y, input_gradient=True)
    cost, vector, dX = reference_gradient(net, X, Y)
    assert_close(g.vector, vector, 1e-12)
    assert_close(g.dX, dX, 1e-12)
    assert g.cost == pytest.approx(cost, rel=1e-13)


@pytest.mark.parametrize("samples", [1300, 5000])
def test_batches_of_several_blocks(samples):
    """A large batch is worked on in blocks whose gradients are summed: the formulas do not know of it."""
    net, X, y, Y = make_case((9, 33, 5), "tanh", "softmax", samples, "float64", 6)
    g = net.gradients(X, y)
    cost, vector, _ = reference_gradient(net, X, Y)
    assert_close(g.vector, vector, 1e-12)
    assert g.cost == pytest.approx(cost, rel=1e-13)


@pytest.mark.parametrize("sizes", [(1024, 1024, 3), (2050, 40, 515), (512, 1040, 512)])
def test_wide_layers(sizes):
    """Depths beyond a cache block, and weights whose rows collide in the caches and are packed."""
    net, X, y, Y = make_case(sizes, "relu", "softmax", 70, "float32", 7)
    g = net.gradients(X, y, input_gradient=True)
    _, vector, dX = reference_gradient(net, X, Y)
    assert_close(g.vector, vector, 1e-5)
    assert_close(g.dX, dX, 1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("hidden", ["relu", "tanh"])
def test_large_layers_of_large_batches(dtype, hidden):
    """All products in packed strips, several blocks of them, and sums that wait from some samples to the next."""
    net, X, y, Y = make_case((520, 275, 263, 7), hidden, "softmax", 600, dtype, 8)
    for net.threads in (1, 2):
        g = net.gradients(X, y, input_gradient=True)
        _, vector, dX = reference_gradient(net, X, Y)
        assert_close(g.vector, vector, TOLERANCE[dtype])
        assert_close(g.dX, dX, TOLERANCE[dtype])


@pytest.mark.parametrize("output", PAPER_HEADS)
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_gradients_are_derivatives_of_the_cost_by_complex_step(hidden, output):
    """J(p + ih).imag / h, by the reference's forward pass on complex numbers: no formula of a gradient is used."""
    net, X, y, Y = make_case((3, 6, 5, 2), hidden, output, 8, "float64", 8)
    g = net.gradients(X, y)
    h = 1e-30
    for k in range(0, net.params.size, 7):
        p = net.params.astype(complex)
        p[k] += 1j * h
        weights, biases = net.split(p)
        Z, _ = reference.forward_propagation(
            X.T, [None, *weights], [None, *(b[:, None] for b in biases)], hidden=hidden, output=output
        )
        derivative = np.mean(reference.losses(Z[-1], Y.T, output=output)).imag / h
        assert g.vector[k] == pytest.approx(derivative, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_gradients_are_derivatives_of_the_cost_by_differences(hidden):
    net, X, y, _ = make_case((4, 9, 7, 3), hidden, "softmax", 11, "float64", 9)
    g = net.gradients(X, y)
    h = 1e-6
    for k in range(0, net.params.size, 5):
        old = net.params[k]
        net.params[k] = old + h
        above = net.cost(X, y)
        net.params[k] = old - h
        below = net.cost(X, y)
        net.params[k] = old
        assert g.vector[k] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-8)


def test_exp_is_half_the_poisson_deviance():
    """Against scikit-learn's deviance, counts of 0 among the targets; the gradient by differences of that."""
    from sklearn.metrics import mean_poisson_deviance

    rng = np.random.default_rng(13)
    net = fb.Network((3, 6, 1), "tanh", "exp", dtype="float64", seed=rng)
    X, y = rng.standard_normal((40, 3)), rng.poisson(2.0, 40)
    assert (y == 0).any()
    assert net.cost(X, y) == pytest.approx(0.5 * mean_poisson_deviance(y, net.forward(X)[:, 0]), rel=1e-12)
    g, h = net.gradients(X, y), 1e-6
    for k in range(net.params.size):
        costs = []
        for step in (h, -2 * h):
            net.params[k] += step
            costs.append(0.5 * mean_poisson_deviance(y, net.forward(X)[:, 0]))
        net.params[k] += h
        assert g.vector[k] == pytest.approx((costs[0] - costs[1]) / (2 * h), rel=1e-6, abs=1e-8)
    with pytest.raises(ValueError, match="Y must be at least 0 for output='exp', got -1"):
        net.cost(X, y - 1)


def test_relu_at_zero():
    """Eq. (1): relu'(0) = 1 also for -0.0; relu0'(0) = 0."""
    for hidden, slope in (("relu", 1.0), ("relu0", 0.0)):
        net = fb.Network((1, 1, 1), hidden, "identity", dtype="float64")
        for zero in (0.0, -0.0):
            net.params = [1.0, zero, 1.0, 0.0]
            g = net.gradients([[zero]], [[-1.0]], input_gradient=True)
            assert g.dX[0, 0] == slope


@pytest.mark.parametrize("output", sorted(HEADS))
def test_jacobian_by_differences(output):
    net, X, _, _ = make_case((3, 8, 4), "tanh", output, 5, "float64", 10)
    J = net.jacobian(X)
    assert J.shape == (5, 4, 3)
    h = 1e-6
    for j in range(3):
        step = h * np.eye(3)[j]
        expected = (net.forward(X + step) - net.forward(X - step)) / (2 * h)
        np.testing.assert_allclose(J[:, :, j], expected, rtol=1e-6, atol=1e-9)


def test_class_numbers_one_hot_and_probabilities_agree():
    net, X, y, Y = make_case((5, 12, 4), "relu", "softmax", 30, "float64", 11)
    by_number, by_row = net.gradients(X, y), net.gradients(X, Y)
    np.testing.assert_allclose(by_number.vector, by_row.vector, rtol=1e-13, atol=1e-16)
    loose = Y * 0.9995  # within the tolerance for probabilities: still the derivative of the cost
    g, h = net.gradients(X, loose), 1e-6
    net.params[3] += h
    above = net.cost(X, loose)
    net.params[3] -= 2 * h
    below = net.cost(X, loose)
    net.params[3] += h
    assert g.vector[3] == pytest.approx((above - below) / (2 * h), rel=1e-6)
    soft = 0.7 * Y + 0.3 / 4
    _, vector, _ = reference_gradient(net, X, soft)
    assert_close(net.gradients(X, soft).vector, vector, 1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("hidden", sorted(ACTIVATIONS))
@pytest.mark.parametrize("output", sorted(HEADS))
def test_gradients_are_those_of_autograd(hidden, output):
    """The paper's closing experiment. PyTorch has relu'(0) = 0; no unit is at 0 here."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'fastbackprop[peers]'")
    functional = torch.nn.functional
    known = ACTIVATIONS[hidden].torch
    g_of = getattr(torch.nn, known.name)(**known.arguments)
    net, X, y, Y = make_case((6, 21, 17, 4), hidden, output, 29, "float64", 12)
    parameters = [torch.tensor(v, requires_grad=True) for pair in zip(net.weights, net.biases) for v in pair]
    x = torch.tensor(X, requires_grad=True)
    a = x
    for l in range(0, len(parameters), 2):
        z = a @ parameters[l].T + parameters[l + 1]
        a = g_of(z)
    if output == "softmax":
        cost = functional.cross_entropy(z, torch.tensor(y))
    elif output == "sigmoid":
        cost = functional.binary_cross_entropy_with_logits(z, torch.tensor(Y), reduction="sum") / len(X)
    elif output == "exp":  # PyTorch leaves out what does not depend on z: y log y - y
        constant = (Y * np.log(Y) - Y).sum()
        cost = (functional.poisson_nll_loss(z, torch.tensor(Y), reduction="sum") + constant) / len(X)
    else:
        cost = ((z - torch.tensor(Y)) ** 2).sum() / (2 * len(X))
    cost.backward()
    g = net.gradients(X, y, input_gradient=True)
    expected = np.concatenate([p.grad.numpy().ravel() for p in parameters])
    assert g.cost == pytest.approx(cost.item(), rel=1e-12)
    assert_close(g.vector, expected, 1e-12)
    assert_close(g.dX, x.grad.numpy(), 1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("samples", [65, 200, 30_000])  # 30 000: several blocks, whose gradients are added up
def test_layers_of_few_outputs(dtype, samples):
    """Their gradients are made from panels, a few outputs and inputs at a time; and SGD's step with them."""
    for outputs in (1, 2, 3, 4, 7, 10, 16, 17):
        for inputs in (1, 3, 8, 13) if samples < 1000 else (3, 13):
            net, X, y, Y = make_case((5, inputs, outputs), "tanh", "identity", samples, dtype, seed=outputs)
            _, vector, _ = reference_gradient(net, X, Y)
            before = net.params.copy()
            assert_close(net.gradients(X, y).vector, vector, TOLERANCE[dtype])
            net.fit(X, y, epochs=1, batch_size=samples, optimizer=fb.SGD(1.0))
            assert_close(before - net.params, vector, 10 * TOLERANCE[dtype])
