"""docs/errata.md, one test an entry: what the paper prints fails where it says so, and what is put in its place holds.

Tests are named by the entry's number.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from fastbackprop import reference as nn

ERRATA = Path(__file__).parents[1] / "docs" / "errata.md"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def complex_step(f, T, h=1e-30):
    gradient = np.empty(T.shape)
    for index in np.ndindex(T.shape):
        T_h = T.astype(complex)
        T_h[index] += 1j * h
        gradient[index] = f(T_h).imag / h
    return gradient


def one_hot(labels, m):
    return np.eye(m)[labels].T


def close(a, b):
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-10, atol=1e-13)


# Code 1 as printed.


def printed_sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


def printed_d_relu(Z):
    return (Z >= 0) * 1.0


def printed_softmax(Z):
    Z_exp = np.exp(Z)
    return Z_exp / np.sum(Z_exp, axis=1, keepdims=True)


# ---- In the text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_T3_relu_eps_is_not_relu_to_the_computer(dtype):
    eps = 1e-32  # the paper's
    z = np.array([-0.75 * eps], dtype)
    assert z[0] != 0
    assert nn.relu_eps(z, eps)[0] < 0 == nn.relu(z)[0]
    # Eq. (1) says 0 for both of these.
    np.testing.assert_allclose(nn.d_relu_eps(z, eps), -11 / 16, rtol=1e-5)
    np.testing.assert_allclose(nn.d_relu_eps(z / 1000, eps), 1, rtol=1e-5)


def test_T3_relu_eps_is_relu_for_the_smallest_eps():
    tiny = np.nextafter(0.0, 1.0)
    z = np.array([-1.0, -1e-300, -tiny, 0.0, tiny, 1.0])
    assert nn.relu_eps(z, tiny).tolist() == nn.relu(z).tolist()
    assert nn.d_relu_eps(z, tiny).tolist() == nn.d_relu(z).tolist()


def test_T6_weight_decay_is_not_covered(rng):
    x, y, W, b = (rng.normal(size=shape) for shape in [(3, 1), (2, 1), (2, 3), (2, 1)])
    decay = 0.1

    def loss(W):
        return nn.losses(W @ x + b, y, output="identity").sum()

    delta = W @ x + b - y
    theorem = delta @ x.T  # (18)
    assert close(complex_step(loss, W), theorem)
    with_decay = complex_step(lambda W: loss(W) + decay / 2 * np.sum(W**2), W)
    assert not close(with_decay, theorem)
    assert close(with_decay, theorem + decay * W)


def test_T7_softmax_needs_the_whole_jacobian(rng):
    z, y = rng.normal(size=4), np.array([0.0, 1.0, 0.0, 0.0])
    o = nn.softmax(z)
    grad_a = -y / o  # of the cross-entropy
    delta = complex_step(lambda z: -np.sum(y * np.log(nn.softmax(z))), z)
    diagonal = np.diag(nn.softmax_jacobian(z))
    assert close(diagonal * grad_a, -(1 - o) * y)
    assert not close(diagonal * grad_a, delta)
    assert close(nn.softmax_jacobian(z).T @ grad_a, delta)
    assert close(delta, o - y)


def test_T9_the_derivative_is_that_of_the_layer_before(rng):
    X, Y = rng.normal(size=(3, 5)), rng.normal(size=(2, 5))
    W = [None, rng.normal(size=(4, 3)), rng.normal(size=(4, 4)), rng.normal(size=(2, 4))]
    b = [None, rng.normal(size=(4, 1)), rng.normal(size=(4, 1)), rng.normal(size=(2, 1))]
    hidden = ("tanh", "softplus")
    t = nn.trace(X, Y, W, b, hidden=hidden, output="identity")

    def J(W1):
        Z, _ = nn.forward_propagation(X, [None, W1, *W[2:]], b, hidden=hidden, output="identity")
        return nn.losses(Z[-1], Y, output="identity").mean()

    right = complex_step(J, W[1])
    assert close(nn.d_tanh(t.Z[1]) * t.dA[1] @ X.T, right)  # g[1]'
    assert not close(nn.d_softplus(t.Z[1]) * t.dA[1] @ X.T, right)  # g[2]'


def test_T11_delta_is_the_gradient_of_the_sum_of_losses(rng):
    N = 4
    X, Y, W, b = rng.normal(size=(2, N)), rng.normal(size=(3, N)), rng.normal(size=(3, 2)), rng.normal(size=(3, 1))
    t = nn.trace(X, Y, [None, W], [None, b], output="identity")
    Delta, Z = t.delta[1], t.Z[1]
    assert close(complex_step(lambda Z: nn.losses(Z, Y, output="identity").sum(), Z), Delta)
    assert close(complex_step(lambda Z: nn.losses(Z, Y, output="identity").mean(), Z), Delta / N)  # (21)
    for k in range(N):
        of_one = complex_step(lambda Z, k=k: nn.losses(Z, Y, output="identity")[k], Z)
        assert close(of_one[:, k], Delta[:, k])
        assert not np.delete(of_one, k, axis=1).any()


def test_T13_the_l2_cost_is_not_the_mean_squared_error(rng):
    m, N = 3, 7
    A, Y = rng.normal(size=(m, N)), rng.normal(size=(m, N))
    mse = np.mean((A - Y) ** 2)
    cost = nn.cost(A, Y, output="identity")
    assert not close(cost, mse)
    assert close(cost, m / 2 * mse)


def test_T14_a_bias_gradient_is_a_sum_not_delta_itself(rng):
    X, W, b = rng.normal(size=(3, 5)), rng.normal(size=(1, 3)), rng.normal(size=(1, 1))
    Y = np.array([[0.0, 1, 1, 0, 1]])
    t = nn.trace(X, Y, [None, W], [None, b], output="sigmoid")
    right = complex_step(lambda b: nn.losses(W @ X + b, Y, output="sigmoid").sum(), b)
    assert t.delta[1].shape != right.shape  # (35) as printed
    assert close(t.delta[1].sum(axis=1, keepdims=True), right)
    one = nn.trace(X[:, :1], Y[:, :1], [None, W], [None, b], output="sigmoid")
    assert close(one.db[1], one.delta[1])  # (35) with delta, for one sample


def test_T15_the_printed_derivation_gives_zero(rng):
    z, y = rng.normal(size=4), np.array([0.0, 0.0, 1.0, 0.0])
    o = nn.softmax(z)
    printed = -o @ (np.eye(4) - o)  # -sum_i o_i (delta_ij - o_j)
    corrected = -y @ (np.eye(4) - o)
    assert close(printed, np.zeros(4))
    assert close(corrected, o - y)
    assert close(corrected, complex_step(lambda z: -np.sum(y * np.log(nn.softmax(z))), z))


def test_T16_the_targets_must_sum_to_one(rng):
    z, y = rng.normal(size=4), rng.random(size=4)
    o = nn.softmax(z)
    assert close(o.sum(), 1.0)  # what the paper recalls is true, and not enough
    delta = complex_step(lambda z: -np.sum(y * np.log(nn.softmax(z))), z)
    assert not close(delta, o - y)
    assert close(delta, y.sum() * o - y)
    y /= y.sum()
    assert close(complex_step(lambda z: -np.sum(y * np.log(nn.softmax(z))), z), o - y)


# ---- In the codes ----------------------------------------------------------------------------------------------------


def test_C1_softmax_sums_over_the_wrong_axis(rng):
    m, N = 3, 5
    Z, Y = rng.normal(size=(m, N)), one_hot([0, 2, 1, 1, 0], m)
    assert not close(printed_softmax(Z).sum(axis=0), np.ones(N))
    assert close(nn.softmax(Z).sum(axis=0), np.ones(N))
    assert printed_softmax(Z[:, :1]).tolist() == [[1.0]] * m  # one sample: certain of every class

    def J(softmax, Z):
        return -np.sum(Y * np.log(softmax(Z))) / N

    assert not close(complex_step(lambda Z: J(printed_softmax, Z), Z), (printed_softmax(Z) - Y) / N)
    assert close(complex_step(lambda Z: J(nn.softmax, Z), Z), (nn.softmax(Z) - Y) / N)  # (36)


def test_C2_printed_forms_overflow():
    with pytest.warns(RuntimeWarning, match="overflow"):
        printed_sigmoid(np.array([-710.0]))
    with pytest.warns(RuntimeWarning):
        assert np.isnan(printed_softmax(np.array([[710.0, 0.0]]))).any()
    z, y = np.array([[37.0]]), np.array([[0.0]])
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert -np.log(1 - printed_sigmoid(z)) == np.inf

    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert nn.sigmoid(-710.0) == pytest.approx(np.exp(-710.0))
        assert close(nn.softmax([[710.0], [0.0]]), [[1.0], [0.0]])
        assert close(nn.losses(z, y, output="sigmoid"), [37.0])


def test_C3_d_relu_loses_float32_and_hides_nan():
    Z = np.array([-1, 0, 1, np.nan], "float32")
    assert printed_d_relu(Z).dtype == "float64"
    assert printed_d_relu(Z)[3] == 0
    assert nn.d_relu(Z).dtype == "float32"
    assert np.isnan(nn.d_relu(Z)[3])
    assert printed_d_relu(Z)[:3].tolist() == nn.d_relu(Z)[:3].tolist() == [0, 1, 1]


def test_C6_cost_divides_by_the_size_of_another_set(rng):
    A, y = rng.normal(size=(1, 100)), rng.normal(size=(1, 100))
    N = A.shape[1]

    def printed_cost(A, y):
        return np.sum((A - y) ** 2) / (2 * N)

    assert close(printed_cost(A, y), nn.cost(A, y, output="identity"))
    batch = np.s_[:, :10]
    mean = nn.losses(A[batch], y[batch], output="identity").mean()
    assert close(printed_cost(A[batch], y[batch]), mean / 10)
    assert close(nn.cost(A[batch], y[batch], output="identity"), mean)


def test_C7_the_final_cost_is_the_one_before(rng):
    X, y = rng.normal(size=(2, 20)), rng.normal(size=(1, 20))
    W, b = [None, rng.random(size=(1, 2)) * 0.01], [None, np.zeros((1, 1))]

    def output():
        return nn.forward_propagation(X, W, b, output="identity")[1][-1]

    cost_history = []
    for _ in range(3):  # Code 3's loop
        A = output()
        dW, db = nn.back_propagation(X, y, W, b, output="identity")
        nn.update_params(W, b, dW, db, 0.01)
        cost_history.append(nn.cost(A, y, output="identity"))
    assert nn.cost(output(), y, output="identity") < cost_history[-1]


def test_C10_forward_propagation_ignores_its_argument(rng):
    L = 2
    W = [None, rng.normal(size=(4, 3)), rng.normal(size=(2, 4))]
    b = [None, rng.normal(size=(4, 1)), rng.normal(size=(2, 1))]
    X, other = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    Z, A = [None] * (L + 1), [None] * (L + 1)
    A[0] = X  # "Set A[0] = X"

    def printed_forward_propagation(X, W, b):
        for i in range(1, L):
            Z[i] = W[i] @ A[i - 1] + b[i]
            A[i] = nn.relu(Z[i])
        Z[L] = W[L] @ A[L - 1] + b[L]
        A[L] = nn.softmax(Z[L])
        return Z, A

    first = printed_forward_propagation(X, W, b)[1][L]
    assert close(first, nn.forward_propagation(X, W, b)[1][L])
    assert close(printed_forward_propagation(other, W, b)[1][L], first)
    assert not close(nn.forward_propagation(other, W, b)[1][L], first)


# ---- Not errors ------------------------------------------------------------------------------------------------------


def test_relu_eps_between_its_ends():
    t = np.linspace(-1, 0, 1001)[1:-1]
    assert (nn.relu_eps(t, 1.0) < 0).all()
    assert nn.d_relu_eps(-0.75, 1.0) == -11 / 16
    h = 1e-6
    assert (nn.d_relu_eps(-1 + h, 1.0) - nn.d_relu_eps(-1.0, 1.0)) / h == pytest.approx(-6, rel=1e-4)
    assert (nn.d_relu_eps(-1.0, 1.0) - nn.d_relu_eps(-1 - h, 1.0)) / h == 0


# ---- The page and the tests ------------------------------------------------------------------------------------------


def test_every_test_that_the_page_names_exists_and_every_test_here_is_named():
    if not ERRATA.exists():
        pytest.skip("needs docs/errata.md: run from a clone or the source distribution")
    page = ERRATA.read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    here = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    reference = Path(__file__).with_name("test_reference.py").read_text(encoding="utf-8")
    there = set(re.findall(r"^def (test_\w+)", reference, re.MULTILINE))
    assert named <= here | there
    entries = set(re.findall(r"^### ([TC]\d+)\.", page, re.MULTILINE))
    tested = {match.group(1) for name in here if (match := re.match(r"test_([TC]\d+)_", name))}
    assert tested <= entries
    for entry in tested:
        assert f"`test_{entry}_" in page
