"""The reference against derivatives taken without any of its formulas: complex step, central differences, autograd."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbackprop import reference as nn
from fastbackprop.activations import ACTIVATIONS as TABLE
from fastbackprop.gradcheck import statements

HIDDEN = list(nn.ACTIVATIONS)
OUTPUTS = list(nn.OUTPUTS)
SIZES = (3, 5, 4, 2)

# Away from 0, where relu and its relatives have a kink.
POINTS = np.array([-30.0, -6.5, -2.0, -1.0, -0.3, -1e-3, 1e-3, 0.2, 0.9, 1.7, 4.0, 9.0, 30.0])


def problem(sizes=SIZES, N=6, output="softmax", seed=0, dtype="float64"):
    """Random parameters, samples and targets such as the output's loss is meant for."""
    rng = np.random.default_rng(seed)
    W = [None] + [rng.normal(size=(m, n)).astype(dtype) for n, m in pairwise(sizes)]
    b = [None] + [rng.normal(size=(m, 1)).astype(dtype) for m in sizes[1:]]
    X = rng.normal(size=(sizes[0], N)).astype(dtype)
    if output == "identity":
        Y = rng.normal(size=(sizes[-1], N))
    elif output == "sigmoid":
        Y = rng.integers(0, 2, size=(sizes[-1], N))
    else:
        Y = np.eye(sizes[-1])[rng.integers(sizes[-1], size=N)].T
    return X, Y.astype(dtype), W, b


def J(X, Y, W, b, hidden, output):
    """Cost from Z: what the gradients are the gradients of."""
    Z, _ = nn.forward_propagation(X, W, b, hidden=hidden, output=output)
    return nn.losses(Z[-1], Y, output=output).mean()


def complex_step(f, T, h=1e-30):
    """Gradient of f by the array T, exact to rounding: there is no difference to cancel."""
    gradient = np.empty(T.shape)
    for index in np.ndindex(T.shape):
        T_h = T.astype(complex)
        T_h[index] += 1j * h
        gradient[index] = f(T_h).imag / h
    return gradient


def central_differences(f, T, h=1e-6):
    gradient = np.empty(T.shape)
    for index in np.ndindex(T.shape):
        plus, minus = T.copy(), T.copy()
        plus[index] += h
        minus[index] -= h
        gradient[index] = (f(plus) - f(minus)) / (2 * h)
    return gradient


def with_layer(layers, i, T):
    return [*layers[:i], T, *layers[i + 1 :]]


def numerical_gradients(derivative, X, Y, W, b, hidden, output):
    """dX, dW and db by `derivative`, which knows nothing of backpropagation."""
    args = (hidden, output)
    layers = range(1, len(W))
    dX = derivative(lambda T: J(T, Y, W, b, *args), X)
    dW = [None] + [derivative(lambda T, i=i: J(X, Y, with_layer(W, i, T), b, *args), W[i]) for i in layers]
    db = [None] + [derivative(lambda T, i=i: J(X, Y, W, with_layer(b, i, T), *args), b[i]) for i in layers]
    return dX, dW, db


def assert_same_layers(got, wanted, **tolerance):
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted, strict=True):
        if w is None:
            assert g is None
        else:
            assert g.shape == w.shape
            np.testing.assert_allclose(g, w, **tolerance)


# ---- Activations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HIDDEN)
def test_derivative_of_each_activation_by_complex_step(name):
    g, d_g = nn.ACTIVATIONS[name]
    z = POINTS[~np.isin(POINTS, TABLE[name].kinks)]
    np.testing.assert_allclose(d_g(z), g(z + 1e-30j).imag / 1e-30, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", HIDDEN)
def test_derivative_of_each_activation_by_central_differences(name):
    g, d_g = nn.ACTIVATIONS[name]
    z, h = POINTS[~np.isin(POINTS, TABLE[name].kinks)], 1e-5
    np.testing.assert_allclose(d_g(z), (g(z + h) - g(z - h)) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", HIDDEN)
def test_activations_have_their_textbook_values(name):
    value = TABLE[name].textbook(POINTS, np=statements.NAMESPACE)
    np.testing.assert_allclose(nn.ACTIVATIONS[name][0](POINTS), value, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_keep_the_dtype_and_never_overflow(name, dtype):
    big = np.finfo(dtype).max / 4
    Z = np.array([-big, -1000, -100, -1, -0.0, 0, 1, 100, 1000, big], dtype)
    for f in nn.ACTIVATIONS[name]:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            value = f(Z)
        assert value.dtype == dtype
        assert value.shape == Z.shape
        assert np.isfinite(value).all()


@pytest.mark.parametrize("name", HIDDEN)
def test_nan_is_not_hidden(name):
    g, d_g = nn.ACTIVATIONS[name]
    assert np.isnan(g(np.nan))
    assert np.isnan(d_g(np.nan)) or name == "identity"


def test_equation_1_and_the_other_convention_at_zero():
    Z = np.array([-1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0])
    assert nn.d_relu(Z).tolist() == [0, 0, 1, 1, 1, 1]
    assert nn.d_relu(Z, at_zero=0.0).tolist() == [0, 0, 0, 0, 1, 1]
    assert nn.d_relu0(Z).tolist() == [0, 0, 0, 0, 1, 1]


def test_equation_2():
    s = nn.sigmoid(POINTS)
    np.testing.assert_allclose(nn.d_sigmoid(POINTS), s * (1 - s), rtol=0, atol=1e-16)
    # Where 1 - s has lost every digit the derivative still has its own.
    np.testing.assert_allclose(nn.d_sigmoid(50.0), np.exp(-50.0), rtol=1e-14)


@pytest.mark.parametrize("eps", [1.0, 1e-3, 1e-32, 1e-300])
def test_lemma_3_1(eps):
    # The quartic as printed, in units of eps so that eps^3 does not underflow.
    t = np.linspace(-1, 0, 101)
    np.testing.assert_allclose(nn.relu_eps(eps * t, eps) / eps, -2 * t**4 - 3 * t**3 + t, rtol=0, atol=1e-14)

    # Value: both pieces meet at both ends, and outside it is relu.
    assert nn.relu_eps(np.array([-2 * eps, -eps, 0.0, eps, 3.0]), eps).tolist() == [0, 0, 0, eps, 3]

    # Derivative: 1 for z >= 0, 0 for z <= -eps, and the one-sided limits at both ends are the same.
    assert nn.d_relu_eps(np.array([-1.0, -2 * eps, -eps, 0.0, eps, 1.0]), eps).tolist() == [0, 0, 0, 1, 1, 1]
    inside = eps * np.array([-1 + 1e-9, -1e-9])
    np.testing.assert_allclose(nn.d_relu_eps(inside, eps), [0, 1], rtol=0, atol=1e-7)

    # In between: the derivative of the value.
    z = eps * np.linspace(-0.99, -0.01, 50)
    h = eps * 1e-6
    slope = (nn.relu_eps(z + h, eps) - nn.relu_eps(z - h, eps)) / (2 * h)
    np.testing.assert_allclose(nn.d_relu_eps(z, eps), slope, rtol=1e-6, atol=1e-8)


def test_relu_eps_in_float32_and_by_complex_step():
    z = np.array([-2, -1, -0.7, -0.1, 0, 5], "float32")
    for f in (nn.relu_eps, nn.d_relu_eps):
        assert f(z * np.float32(1e-32)).dtype == "float32"
        assert np.isfinite(f(z * np.float32(1e-32))).all()
    z = np.array([-2.0, -0.7, -0.1, 5.0])
    np.testing.assert_allclose(nn.d_relu_eps(z, 1.0), nn.relu_eps(z + 1e-30j, 1.0).imag / 1e-30, rtol=1e-14)


@pytest.mark.parametrize("eps", [0, -1.0, np.nan])
def test_relu_eps_refuses_what_is_not_positive(eps):
    with pytest.raises(ValueError, match=r"eps: got .*; accepted: a positive number"):
        nn.relu_eps(1.0, eps)


def test_softmax_of_columns():
    Z = np.random.default_rng(0).normal(size=(4, 7))
    A = nn.softmax(Z)
    np.testing.assert_allclose(A, np.exp(Z) / np.exp(Z).sum(axis=0), rtol=1e-14)
    np.testing.assert_allclose(A.sum(axis=0), 1, rtol=1e-15)
    for k in range(7):  # a sample alone, as a vector and as a column
        np.testing.assert_array_equal(nn.softmax(Z[:, k]), A[:, k])
        np.testing.assert_array_equal(nn.softmax(Z[:, [k]]), A[:, [k]])
    np.testing.assert_allclose(nn.softmax(Z + 1000), A, rtol=1e-12)
    assert nn.softmax(Z.astype("float32")).dtype == "float32"


def test_softmax_generalises_the_sigmoid():
    np.testing.assert_allclose(nn.softmax([POINTS, 0 * POINTS])[0], nn.sigmoid(POINTS), rtol=1e-13)


def test_equation_39():
    z = np.random.default_rng(1).normal(size=5)
    by_complex_step = np.stack([nn.softmax(z + 1e-30j * e).imag / 1e-30 for e in np.eye(5)], axis=1)
    jacobian = nn.softmax_jacobian(z)
    np.testing.assert_allclose(jacobian, by_complex_step, rtol=1e-13)

    o = nn.softmax(z)
    for i in range(5):
        for j in range(5):
            np.testing.assert_allclose(jacobian[i, j], o[i] * ((i == j) - o[j]), rtol=1e-14)


def test_equation_39_of_many_samples():
    Z = np.random.default_rng(2).normal(size=(3, 4)).astype("float32")
    jacobians = nn.softmax_jacobian(Z)
    assert jacobians.shape == (3, 3, 4)
    assert jacobians.dtype == "float32"
    for k in range(4):
        np.testing.assert_array_equal(jacobians[:, :, k], nn.softmax_jacobian(Z[:, k]))


# ---- Losses ----------------------------------------------------------------------------------------------------------


def test_the_three_losses_are_those_of_section_1():
    rng = np.random.default_rng(3)
    Z = rng.normal(size=(4, 6))
    Y = rng.random(size=(4, 6))
    o = nn.sigmoid(Z)
    wanted = {
        "identity": 0.5 * np.linalg.norm(Z - Y, axis=0) ** 2,
        "sigmoid": -(Y * np.log(o) + (1 - Y) * np.log(1 - o)).sum(axis=0),
        "softmax": -(Y * np.log(nn.softmax(Z))).sum(axis=0),
    }
    assert set(wanted) == set(OUTPUTS)
    for output, loss in wanted.items():
        np.testing.assert_allclose(nn.losses(Z, Y, output=output), loss, rtol=1e-12)
        A = nn.OUTPUTS[output](Z)
        np.testing.assert_allclose(nn.cost(A, Y, output=output), loss.mean(), rtol=1e-12)


def test_losses_far_out():
    Z = np.array([[1000.0, -1000.0, 1000.0, -1000.0]])
    Y = np.array([[1.0, 0.0, 0.0, 1.0]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert nn.losses(Z, Y, output="sigmoid").tolist() == [0, 0, 1000, 1000]
        assert nn.losses(np.vstack([Z, 0 * Z]), np.vstack([Y, 1 - Y])).tolist() == [0, 0, 1000, 1000]
    # A loss much smaller than 1 keeps its digits.
    np.testing.assert_allclose(nn.losses(np.array([[50.0]]), np.array([[1.0]]), output="sigmoid"), np.exp(-50.0))


def test_cost_from_outputs_that_are_exactly_zero_or_one():
    A = np.array([[1.0, 0.0], [0.0, 1.0]])
    with np.errstate(all="raise"):
        assert nn.cost(A, A, output="softmax") == 0
        assert nn.cost(A, A, output="sigmoid") == 0
        assert nn.cost(A, 1 - A, output="softmax") == np.inf


@pytest.mark.parametrize("output", OUTPUTS)
def test_losses_and_cost_keep_float32(output):
    X, Y, W, b = problem(output=output, dtype="float32")
    Z, A = nn.forward_propagation(X, W, b, output=output)
    assert nn.losses(Z[-1], Y, output=output).dtype == "float32"
    assert nn.cost(A[-1], Y, output=output).dtype == "float32"


# ---- Gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradients_by_complex_step(hidden, output):
    X, Y, W, b = problem(output=output)
    dX, dW, db = numerical_gradients(complex_step, X, Y, W, b, hidden, output)
    t = nn.trace(X, Y, W, b, hidden=hidden, output=output)
    assert_same_layers([t.dA[0], *t.dW, *t.db], [dX, *dW, *db], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradients_by_central_differences(hidden, output):
    X, Y, W, b = problem(output=output)
    _, dW, db = numerical_gradients(central_differences, X, Y, W, b, hidden, output)
    got_dW, got_db = nn.back_propagation(X, Y, W, b, hidden=hidden, output=output)
    assert_same_layers(got_dW, dW, rtol=1e-6, atol=1e-8)
    assert_same_layers(got_db, db, rtol=1e-6, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=6),
    N=st.integers(1, 6),
    output=st.sampled_from(OUTPUTS),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_gradients_of_any_shape_with_an_activation_for_each_layer(sizes, N, output, seed, data):
    L = len(sizes) - 1
    hidden = data.draw(st.lists(st.sampled_from(HIDDEN), min_size=L - 1, max_size=L - 1))
    X, Y, W, b = problem(sizes, N, output, seed)
    dX, dW, db = numerical_gradients(complex_step, X, Y, W, b, hidden, output)
    t = nn.trace(X, Y, W, b, hidden=hidden, output=output)
    assert_same_layers([t.dA[0], *t.dW, *t.db], [dX, *dW, *db], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_float32_stays_float32_and_agrees_with_float64(hidden, output):
    single = problem(output=output, dtype="float32")
    double = [[T if T is None else T.astype("float64") for T in list_] for list_ in single[2:]]
    t = nn.trace(*single, hidden=hidden, output=output)
    wanted = nn.trace(single[0].astype("float64"), single[1].astype("float64"), *double, hidden=hidden, output=output)
    for name in ("Z", "A", "dA", "dZ", "dW", "db", "delta"):
        assert all(T is None or T.dtype == "float32" for T in getattr(t, name)), name
        assert_same_layers(getattr(t, name), getattr(wanted, name), rtol=1e-4, atol=1e-5)


# The paper's own choice: nothing stands at an exact zero unless it is put there.
@pytest.mark.parametrize(("hidden", "at_zero"), [("relu", 1.0), ("relu0", 0.0)])
def test_the_two_conventions_at_an_exact_zero(hidden, at_zero):
    X, Y = np.array([[1.0]]), np.array([[0.0]])
    W = [None, np.array([[0.0]]), np.array([[3.0]])]
    b = [None, np.array([[0.0]]), np.array([[2.0]])]
    dW, _ = nn.back_propagation(X, Y, W, b, hidden=hidden, output="identity")
    assert dW[1].item() == at_zero * 3 * 2  # relu'(0) times W[2] times delta[2]


# ---- Theorems --------------------------------------------------------------------------------------------------------


def test_theorem_4_1():
    rng = np.random.default_rng(4)
    x, b, W = rng.normal(size=(4, 1)), rng.normal(size=(3, 1)), rng.normal(size=(3, 4))

    def z(x, b):
        return (nn.forward_propagation(x, [None, W], [None, b], output="identity")[0][1]).imag / 1e-30

    dz_dx = np.hstack([z(x + 1e-30j * e[:, None], b) for e in np.eye(4)])
    dz_db = np.hstack([z(x, b + 1e-30j * e[:, None]) for e in np.eye(3)])
    np.testing.assert_allclose(dz_dx, W, rtol=1e-14)  # (7)
    np.testing.assert_allclose(dz_db, np.eye(3), rtol=1e-14)  # (8)

    z0 = W @ x + b
    da_dz = np.hstack([nn.sigmoid(z0 + 1e-30j * e[:, None]).imag / 1e-30 for e in np.eye(3)])
    np.testing.assert_allclose(da_dz, np.diag(nn.d_sigmoid(z0)[:, 0]), rtol=1e-13)  # (9)


@pytest.mark.parametrize("output", OUTPUTS)
def test_theorem_5_4(output):
    hidden = ("tanh", "softplus")
    X, Y, W, b = problem(output=output)
    t = nn.trace(X, Y, W, b, hidden=hidden, output=output)
    n, N, L = SIZES, X.shape[1], len(SIZES) - 1

    assert t.A[0] is X
    assert (t.Z[0], t.dZ[0], t.dW[0], t.db[0], t.dA[L]) == (None,) * 5
    for i in range(1, L + 1):
        assert t.Z[i].shape == t.A[i].shape == t.dZ[i].shape == (n[i], N)
        assert t.dA[i - 1].shape == (n[i - 1], N)
        assert t.dW[i].shape == W[i].shape == (n[i], n[i - 1])
        assert t.db[i].shape == b[i].shape == (n[i], 1)

    for i in range(1, L + 1):
        np.testing.assert_allclose(t.delta[i], N * t.dZ[i])  # (21)
        np.testing.assert_allclose(t.dA[i - 1], W[i].T @ t.dZ[i])  # (22)
        np.testing.assert_allclose(t.dW[i], t.dZ[i] @ t.A[i - 1].T)  # (24)
        np.testing.assert_allclose(t.db[i], t.dZ[i].sum(axis=1, keepdims=True))  # (25)
    for i in range(2, L + 1):
        d_g = nn.ACTIVATIONS[hidden[i - 2]][1]
        np.testing.assert_allclose(t.dZ[i - 1], d_g(t.Z[i - 1]) * t.dA[i - 1])  # (23)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_batch_is_the_mean_of_its_samples(output):
    """(16)-(20): one sample's gradients are Theorem 5.1's; a batch's are their mean, and its deltas theirs."""
    X, Y, W, b = problem(output=output)
    N = X.shape[1]
    t = nn.trace(X, Y, W, b, hidden="silu", output=output)
    alone = [nn.trace(X[:, [k]], Y[:, [k]], W, b, hidden="silu", output=output) for k in range(N)]
    for i in range(1, len(W)):
        np.testing.assert_allclose(t.delta[i], np.hstack([s.delta[i] for s in alone]), rtol=1e-12)
        np.testing.assert_allclose(t.dW[i], sum(s.dW[i] for s in alone) / N, rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(t.db[i], sum(s.delta[i] for s in alone) / N, rtol=1e-11, atol=1e-15)  # (20)


@pytest.mark.parametrize("output", OUTPUTS)
def test_theorem_6_1(output):
    """delta = o - y, for each of the three outputs with its loss: (27), (33), (40)."""
    _, Y, _, _ = problem(sizes=(3, 4), output=output)
    Z = np.random.default_rng(5).normal(size=Y.shape)
    delta = complex_step(lambda T: nn.losses(T, Y, output=output).sum(), Z)
    np.testing.assert_allclose(delta, nn.OUTPUTS[output](Z) - Y, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_theorem_6_1_for_targets_that_are_probabilities(output):
    rng = np.random.default_rng(6)
    Z, Y = rng.normal(size=(4, 5)), rng.random(size=(4, 5))
    if output == "softmax":
        Y /= Y.sum(axis=0)
    delta = complex_step(lambda T: nn.losses(T, Y, output=output).sum(), Z)
    np.testing.assert_allclose(delta, nn.OUTPUTS[output](Z) - Y, rtol=1e-11, atol=1e-15)


# ---- Codes 3 and 4 as they are used ----------------------------------------------------------------------------------


def test_code_3_gradient_is_that_of_least_squares():
    rng = np.random.default_rng(7)
    X, Y = rng.normal(size=(4, 50)), rng.normal(size=(1, 50))
    W, b = rng.normal(size=(1, 4)), rng.normal(size=(1, 1))
    dW, db = nn.back_propagation(X, Y, [None, W], [None, b], output="identity")
    X1 = np.vstack([X, np.ones((1, 50))])  # b as the weight of a constant input
    wanted = (np.hstack([W, b]) @ X1 - Y) @ X1.T / 50
    np.testing.assert_allclose(np.hstack([dW[1], db[1]]), wanted, rtol=1e-12)


def test_code_3_finds_the_least_squares_solution():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(3, 40))
    Y = np.array([[2.0, -1.0, 0.5]]) @ X + 3 + 0.1 * rng.normal(size=(1, 40))
    W, b = [None, np.zeros((1, 3))], [None, np.zeros((1, 1))]
    costs = []
    for _ in range(500):
        _, A = nn.forward_propagation(X, W, b, output="identity")
        costs.append(nn.cost(A[-1], Y, output="identity"))
        dW, db = nn.back_propagation(X, Y, W, b, output="identity")
        nn.update_params(W, b, dW, db, learning_rate=0.2)
    solution = np.linalg.lstsq(np.vstack([X, np.ones((1, 40))]).T, Y[0], rcond=None)[0]
    np.testing.assert_allclose(np.append(W[1], b[1]), solution, rtol=1e-9)
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(costs))  # rounding, at the end


def test_code_4_learns():
    rng = np.random.default_rng(9)
    X = rng.uniform(-1, 1, size=(2, 400))
    Y = np.eye(2)[(X[0] * X[1] > 0).astype(int)].T  # no line separates these
    sizes = (2, 16, 16, 2)
    W = [None] + [rng.normal(size=(m, n)) * np.sqrt(2 / n) for n, m in pairwise(sizes)]
    b = [None] + [np.zeros((m, 1)) for m in sizes[1:]]
    for _ in range(500):
        nn.update_params(W, b, *nn.back_propagation(X, Y, W, b), learning_rate=0.5)
    _, A = nn.forward_propagation(X, W, b)
    assert (A[-1].argmax(axis=0) == Y.argmax(axis=0)).mean() > 0.95
    assert nn.cost(A[-1], Y) < 0.2


def test_update_params_is_in_place_and_a_step_down():
    X, Y, W, b = problem()
    before = [T.copy() for T in W[1:]]
    dW, db = nn.back_propagation(X, Y, W, b)
    J_before = J(X, Y, W, b, "relu", "softmax")
    first = W[1]
    W_, b_ = nn.update_params(W, b, dW, db, 0.01)
    assert W_ is W
    assert b_ is b
    assert W[1] is first
    assert_same_layers(W[1:], [T - 0.01 * d for T, d in zip(before, dW[1:], strict=True)], rtol=1e-15)
    assert J(X, Y, W, b, "relu", "softmax") < J_before


def test_propagation_changes_none_of_its_arguments():
    X, Y, W, b = problem()
    copies = [X.copy(), Y.copy(), *(T.copy() for T in W[1:] + b[1:])]
    nn.trace(X, Y, W, b)
    for T, copy in zip([X, Y, *W[1:], *b[1:]], copies, strict=True):
        np.testing.assert_array_equal(T, copy)


# ---- Bad input -------------------------------------------------------------------------------------------------------


def replaced(**changes):
    X, Y, W, b = problem()
    arguments = {"X": X, "Y": Y, "W": W, "b": b, "hidden": "relu", "output": "softmax"} | changes
    return [arguments.pop(name) for name in ("X", "Y", "W", "b")], arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.ones(3)}, "X: got shape (3,); accepted: (n, N)"),
        ({"X": np.ones((4, 6))}, "W[1]: got shape (5, 3); accepted: (n[1], 4)"),
        ({"Y": np.ones((6, 2))}, "Y: got shape (6, 2); accepted: (2, 6)"),
        ({"Y": np.ones(6)}, "Y: got shape (6,); accepted: (2, 6)"),
        ({"b": [None, np.ones(5), np.ones(4), np.ones(2)]}, "b[1]: got shape (5,); accepted: (5, 1)"),
        ({"W": [None]}, "W, b: got lists of length 1 and 4"),
        ({"hidden": "rely"}, "hidden: got 'rely'; accepted: identity, relu, relu0"),
        ({"hidden": ["relu"]}, "hidden: got 1 names; accepted: one name, or one a hidden layer, 2 here"),
        ({"output": "relu"}, "output: got 'relu'; accepted: identity, sigmoid, softmax"),
    ],
)
def test_bad_input_is_named(changes, message):
    arguments, names = replaced(**changes)
    with pytest.raises(ValueError, match=re.escape(message)):
        nn.back_propagation(*arguments, **names)


@pytest.mark.parametrize("f", [nn.cost, nn.losses])
def test_cost_and_losses_refuse_what_would_only_broadcast(f):
    with pytest.raises(ValueError, match=re.escape("Y: got shape (4,); accepted: (3, 4)")):
        f(np.ones((3, 4)) / 3, np.ones(4))
    with pytest.raises(ValueError, match=re.escape("got shape (4,); accepted: (m, N)")):
        f(np.ones(4), np.ones(4))
    with pytest.raises(ValueError, match="output: got 'l2'"):
        f(np.ones((3, 4)), np.ones((3, 4)), output="l2")


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradients_by_pytorch_autograd(hidden, output):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'fastbackprop[peers]'")
    F, known = torch.nn.functional, TABLE[hidden].torch
    g = getattr(torch.nn, known.name)(**known.arguments)  # no z is exactly 0 here, where relu's conventions differ
    X, Y, W, b = problem(output=output)
    t = nn.trace(X, Y, W, b, hidden=hidden, output=output)

    # PyTorch's samples are rows.
    x, y = torch.tensor(X.T, requires_grad=True), torch.tensor(Y.T)
    weights = [torch.tensor(T, requires_grad=True) for T in W[1:]]
    biases = [torch.tensor(T[:, 0], requires_grad=True) for T in b[1:]]
    a = x
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        a = g(F.linear(a, weight, bias))
    z = F.linear(a, weights[-1], biases[-1])
    loss = {
        "identity": lambda: F.mse_loss(z, y, reduction="sum") / 2,
        "sigmoid": lambda: F.binary_cross_entropy_with_logits(z, y, reduction="sum"),
        "softmax": lambda: F.cross_entropy(z, y, reduction="sum"),
    }[output]() / len(x)
    loss.backward()

    np.testing.assert_allclose(nn.losses(t.Z[-1], Y, output=output).mean(), loss.item(), rtol=1e-12)
    tolerance = {"rtol": 1e-10, "atol": 1e-14}
    np.testing.assert_allclose(t.dA[0], x.grad.numpy().T, **tolerance)
    assert_same_layers(t.dW[1:], [T.grad.numpy() for T in weights], **tolerance)
    assert_same_layers(t.db[1:], [T.grad.numpy()[:, None] for T in biases], **tolerance)


@pytest.mark.peers
def test_relu0_is_pytorchs_convention():
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'fastbackprop[peers]'")
    z = torch.zeros(1, requires_grad=True)
    torch.relu(z).backward()
    assert nn.d_relu0(0.0) == z.grad.item()
    assert nn.d_relu(0.0) != z.grad.item()
