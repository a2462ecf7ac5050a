"""The compiled module against the reference: the same scripts with one import changed."""

import inspect
import threading
from itertools import pairwise

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import paper, reference

HIDDEN = list(reference.ACTIVATIONS)
OUTPUTS = list(reference.OUTPUTS)
ELEMENTWISE = sorted({f.__name__ for pair in reference.ACTIVATIONS.values() for f in pair} | {"relu_eps", "d_relu_eps"})
DTYPES = ("float32", "float64")
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 2e-6}, "float64": {"rtol": 1e-12, "atol": 1e-14}}

# ---- The paper's two programs, as a reader would write them with the library -----------------------------------------

CODE_3 = """
from fastbackprop import reference as nn

W, b = [None, np.zeros((1, X.shape[0]))], [None, np.zeros((1, 1))]
cost_history = []
for i in range(300):
    Z, A = nn.forward_propagation(X, W, b, output="identity")
    dW, db = nn.back_propagation(X, Y, W, b, output="identity")
    W, b = nn.update_params(W, b, dW, db, learning_rate=0.1)
    cost_history.append(nn.cost(A[-1], Y, output="identity"))
"""

CODE_4 = """
from fastbackprop import reference as nn

rng = np.random.default_rng(0)
W = [None] + [rng.normal(size=(m, n), scale=(2 / n) ** 0.5).astype(X.dtype) for n, m in zip(sizes, sizes[1:])]
b = [None] + [np.zeros((m, 1), X.dtype) for m in sizes[1:]]
cost_history = []
for i in range(40):
    Z, A = nn.forward_propagation(X, W, b)
    cost_history.append(nn.cost(A[-1], Y))
    dW, db = nn.back_propagation(X, Y, W, b)
    nn.update_params(W, b, dW, db, learning_rate=0.5)
"""


def run(script, **data):
    names = {"np": np, **data}
    exec(script, names)
    return names


def run_both(script, **data):
    """What the script computes with the reference, and after the migration."""
    migrated = script.replace("from fastbackprop import reference as nn", "from fastbackprop import paper as nn")
    assert migrated != script
    return run(script, **data), run(migrated, **data)


def same_layers(got, wanted, dtype="float64"):
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted, strict=True):
        assert (g is None) == (w is None)
        if w is not None:
            assert g.shape == w.shape
            assert g.dtype == w.dtype
            np.testing.assert_allclose(g, w, **TOLERANCE[dtype])


def test_code_3():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3, 50))
    Y = np.array([[1.0, -2.0, 0.5]]) @ X + 3
    expected, got = run_both(CODE_3, X=X, Y=Y)
    assert got["nn"] is paper
    # The cost falls to 0, and with it the errors e: rounding of W counts for more and more of e, and of e squared.
    np.testing.assert_allclose(got["cost_history"], expected["cost_history"], rtol=1e-12, atol=1e-18)
    same_layers(got["W"], expected["W"])
    same_layers(got["b"], expected["b"])
    np.testing.assert_allclose(got["W"][1], [[1, -2, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_code_4(dtype):
    rng = np.random.default_rng(2)
    labels = rng.integers(3, size=90)
    X = (rng.normal(size=(2, 90)) + 3 * np.stack([np.cos(2 * labels), np.sin(2 * labels)])).astype(dtype)
    Y = np.eye(3, dtype=dtype)[labels].T
    expected, got = run_both(CODE_4, X=X, Y=Y, sizes=(2, 16, 12, 3))
    assert got["nn"] is paper
    tolerance = TOLERANCE[dtype]["rtol"]
    np.testing.assert_allclose(got["cost_history"], expected["cost_history"], rtol=tolerance)
    for name in ("W", "b", "Z", "A", "dW", "db"):
        same_layers(got[name], expected[name], dtype)
    assert got["cost_history"][-1] < 0.2 * got["cost_history"][0]
    assert (got["A"][-1].argmax(axis=0) == labels).mean() > 0.9
    assert got["W"][1].dtype == dtype


# ---- The same face ---------------------------------------------------------------------------------------------------


def test_the_same_public_names():
    assert sorted(paper.__all__) == sorted(reference.__all__)
    assert list(paper.ACTIVATIONS) == list(reference.ACTIVATIONS)
    assert list(paper.OUTPUTS) == list(reference.OUTPUTS)
    for name, pair in reference.ACTIVATIONS.items():
        assert [f.__name__ for f in paper.ACTIVATIONS[name]] == [f.__name__ for f in pair]


@pytest.mark.parametrize("name", [name for name in reference.__all__ if callable(getattr(reference, name))])
def test_the_same_signatures(name):
    assert inspect.signature(getattr(paper, name)) == inspect.signature(getattr(reference, name))


# ---- The same results ------------------------------------------------------------------------------------------------


def problem(sizes, N, output, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    W = [None] + [rng.normal(size=(m, n), scale=n**-0.5).astype(dtype) for n, m in pairwise(sizes)]
    b = [None] + [rng.normal(size=(m, 1)).astype(dtype) for m in sizes[1:]]
    X = rng.normal(size=(sizes[0], N)).astype(dtype)
    if output == "identity":
        Y = rng.normal(size=(sizes[-1], N))
    elif output == "sigmoid":
        Y = rng.integers(0, 2, size=(sizes[-1], N))
    else:
        Y = np.eye(sizes[-1])[rng.integers(sizes[-1], size=N)].T
    return X, Y.astype(dtype), W, b


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, dtype):
    Z = np.concatenate([np.linspace(-9, 9, 37), [-0.0, -1e-33, 1e30]]).astype(dtype).reshape(5, 8)
    got, wanted = getattr(paper, name)(Z), getattr(reference, name)(Z)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, wanted, **TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("name", "parameter"),
    [("d_relu", {"at_zero": 0.25}), ("leaky_relu", {"slope": 0.2}), ("d_leaky_relu", {"slope": 0.2})]
    + [(name, {"eps": eps}) for name in ("relu_eps", "d_relu_eps") for eps in (2.0, 1e-3)],
)
def test_elementwise_with_a_parameter(name, parameter):
    Z = np.concatenate([np.linspace(-2.5, 1, 36), [-0.0, 1e-9, -1e-4, np.nan]])
    for dtype in DTYPES:
        got = getattr(paper, name)(Z.astype(dtype), **parameter)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, getattr(reference, name)(Z, **parameter), **TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(4,), (4, 7)])
def test_softmax_and_its_jacobian(shape):
    Z = np.random.default_rng(3).normal(size=shape)
    for name in ("softmax", "softmax_jacobian"):
        got, wanted = getattr(paper, name)(Z), getattr(reference, name)(Z)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_propagation(hidden, output, dtype):
    X, Y, W, b = problem((7, 19, 33, 4), 21, output, dtype)
    options = {"hidden": hidden, "output": output}
    for got, wanted in zip(
        paper.forward_propagation(X, W, b, **options), reference.forward_propagation(X, W, b, **options), strict=True
    ):
        same_layers(got, wanted, dtype)
    for got, wanted in zip(
        paper.back_propagation(X, Y, W, b, **options), reference.back_propagation(X, Y, W, b, **options), strict=True
    ):
        same_layers(got, wanted, dtype)


@pytest.mark.parametrize("output", OUTPUTS)
def test_trace(output):
    X, Y, W, b = problem((5, 8, 6, 3), 9, output)
    options = {"hidden": ["tanh", "gelu"], "output": output}
    got, wanted = paper.trace(X, Y, W, b, **options), reference.trace(X, Y, W, b, **options)
    assert type(got) is type(wanted)
    for name in ("Z", "A", "dA", "dZ", "dW", "db", "delta"):
        same_layers(getattr(got, name), getattr(wanted, name))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_cost_and_losses(output, dtype):
    X, Y, W, b = problem((5, 4), 30, output, dtype)
    Z, A = reference.forward_propagation(X, W, b, output=output)
    got, wanted = paper.losses(Z[-1], Y, output=output), reference.losses(Z[-1], Y, output=output)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, wanted, **TOLERANCE[dtype])
    got, wanted = paper.cost(A[-1], Y, output=output), reference.cost(A[-1], Y, output=output)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, wanted, **TOLERANCE[dtype])


def test_cost_of_outputs_that_are_exactly_zero_or_one():
    A, Y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    for output in ("sigmoid", "softmax"):
        assert paper.cost(A, Y, output=output) == 0
        assert paper.cost(A, 1 - Y, output=output) == np.inf


def test_the_networks_own_bits():
    X, Y, W, b = problem((20, 30, 5), 40, "softmax")
    net = fb.Network((20, 30, 5), dtype="float64")
    net.params = np.concatenate([T.ravel() for pair in zip(W[1:], b[1:], strict=True) for T in pair])
    _, A = paper.forward_propagation(X, W, b)
    np.testing.assert_array_equal(A[-1].T, net.forward(X.T))
    dW, db = paper.back_propagation(X, Y, W, b)
    g = net.gradients(X.T, Y.T)
    for l in range(2):
        np.testing.assert_array_equal(dW[l + 1], g.dW[l])
        np.testing.assert_array_equal(db[l + 1][:, 0], g.db[l])


# ---- Arguments -------------------------------------------------------------------------------------------------------


def test_dtypes_of_arguments():
    X, Y, W, b = problem((6, 8, 3), 11, "softmax", "float32")
    for x, y, expected in [(X.astype("float16"), Y, "float32"), (X.astype(int), Y, "float64"), (X, Y > 0, "float32")]:
        assert paper.back_propagation(x, y, W, b)[0][1].dtype == expected
    assert paper.forward_propagation(X.astype("float64"), W, b)[1][-1].dtype == "float64"
    with pytest.raises(TypeError, match="complex64"):
        paper.forward_propagation(X * 1j, W, b)


def test_layouts_of_arguments():
    X, Y, W, b = problem((6, 8, 3), 11, "softmax")
    wanted = paper.back_propagation(X, Y, W, b)
    wide = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)
    for x in (np.asfortranarray(X), wide[::2, ::3], np.ascontiguousarray(X.T).T):
        x.flags.writeable = False
        got = paper.back_propagation(x, np.asfortranarray(Y), [None, *(np.asfortranarray(w) for w in W[1:])], b)
        for g, w in zip(got, wanted, strict=True):
            for layer in (1, 2):
                np.testing.assert_array_equal(g[layer], w[layer])


def test_results_are_the_callers():
    """Nothing that is kept between calls is handed out, and no argument is changed."""
    X, Y, W, b = problem((6, 8, 3), 11, "softmax")
    before = [T.copy() for T in (X, Y, *W[1:], *b[1:])]
    dW, db = paper.back_propagation(X, Y, W, b)
    Z, A = paper.forward_propagation(X, W, b)
    assert A[0] is X
    kept = [T.copy() for T in (*dW[1:], *db[1:], *Z[1:], *A[1:])]
    other = [None, *(2 * w for w in W[1:])]
    paper.back_propagation(X + 1, Y, other, b)
    paper.forward_propagation(X + 1, other, b)
    for T, copy in zip((*dW[1:], *db[1:], *Z[1:], *A[1:]), kept, strict=True):
        np.testing.assert_array_equal(T, copy)
    for T, copy in zip((X, Y, *W[1:], *b[1:]), before, strict=True):
        np.testing.assert_array_equal(T, copy)


def test_two_threads_do_not_mix_their_parameters():
    problems = [problem((6, 40, 3), 50, "softmax", seed=seed) for seed in range(2)]
    wanted = [reference.back_propagation(*p)[0][1] for p in problems]
    errors = []

    def work(k):
        for _ in range(100):
            errors.append(abs(paper.back_propagation(*problems[k])[0][1] - wanted[k]).max())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 200
    assert max(errors) < 1e-12


@pytest.mark.parametrize("nn", [paper, reference])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "relu"}, "output: got 'relu'; accepted: identity, sigmoid, softmax"),
        ({"hidden": "sine"}, "hidden: got 'sine'; accepted: identity, relu"),
        ({"hidden": ["relu", "relu"]}, "hidden: got 2 names; accepted: one name, or one a hidden layer, 1 here"),
        ({"Y": np.zeros((2, 11))}, r"Y: got shape \(2, 11\); accepted: \(3, 11\)"),
        ({"X": np.zeros((5, 11))}, r"W\[1\]: got shape \(8, 6\); accepted: \(n\[1\], 5\)"),
        ({"X": np.zeros(6)}, r"X: got shape \(6,\); accepted: \(n, N\)"),
        ({"b": [None, np.zeros(8), np.zeros((3, 1))]}, r"b\[1\]: got shape \(8,\); accepted: \(8, 1\)"),
        ({"W": [np.zeros((8, 6))]}, "W, b: got lists of length 1 and 3"),
    ],
)
def test_the_same_errors(nn, change, message):
    X, Y, W, b = problem((6, 8, 3), 11, "softmax")
    with pytest.raises(ValueError, match=message):
        nn.back_propagation(**{"X": X, "Y": Y, "W": W, "b": b, **change})


def test_no_samples():
    X, Y, W, b = problem((6, 8, 3), 0, "softmax")
    assert paper.forward_propagation(X, W, b)[1][-1].shape == (3, 0)
    with pytest.raises(ValueError, match=r"X: got shape \(6, 0\); accepted: \(n, N\) with at least one sample"):
        paper.back_propagation(X, Y, W, b)


# ---- What is no array: lists, numbers, and what is neither -----------------------------------------------------------

SINGLE = {  # an argument of the functions of Z alone
    "a number": 0.5, "a whole number": 3, "float32": np.float32(-0.25), "no dimension": np.array(2.0),
    "a list": [1.0, -2.0], "whole numbers": [[1, -2], [0, 4]], "int8": np.array([3, -3], "int8"),
    "bool": [True, False], "float16": np.ones(3, "f2"), "nothing": [],
    "a text": "half", "None": None, "lists of two lengths": [[1.0], [2.0, 3.0]], "objects": [None, 1.0],
}  # fmt: skip
X, Y = [[0.5, 2.0, -1.0], [1.0, 0.0, 3.0]], [[1, 0, 0], [0, 1, 1]]
W, b = [None, [[1.0, -1.0], [0.5, 2.0]]], [None, [[0.25], [0.0]]]
CALLS = {
    "forward_propagation": (X, W, b), "back_propagation": (X, Y, W, b), "trace": (X, Y, tuple(W), tuple(b)),
    "cost": (np.abs(X), Y), "losses": (X, Y),
}  # fmt: skip
CHANGES = {
    "class numbers": {1: [0, 1, 1]}, "no class": {1: [0, 1, 2]}, "too few": {1: [0, 1]}, "a text": {0: "text"},
    "one dimension": {0: [1.0, 2.0]}, "no samples": {0: np.zeros((2, 0)), 1: np.zeros((2, 0))},
    "of two lengths": {0: [[1.0, 2.0], [3.0]]}, "masked": {0: np.ma.array(X, mask=np.eye(2, 3))},
    "uint8": {0: np.array([[1, 2, 3], [4, 5, 6]], "uint8")},
}  # fmt: skip


def outcome(f, *arguments, **options):
    """The result, or the error."""
    try:
        result = f(*arguments, **options)
    except (ValueError, TypeError) as error:
        return type(error), str(error)
    if isinstance(result, reference.Trace):
        return [getattr(result, name) for name in ("Z", "A", "dA", "dZ", "dW", "db", "delta")]
    return result


def assert_same(got, expected):
    """Types, dtypes and values to rounding, or errors and their words."""
    if isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            assert_same(g, e)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert (type(got), got.dtype, got.shape) == (type(expected), expected.dtype, expected.shape)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    else:
        assert got == expected


@pytest.mark.parametrize("Z", SINGLE.values(), ids=SINGLE)
@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax", "softmax_jacobian"])
def test_numbers_lists_and_what_is_refused(name, Z):
    assert_same(outcome(getattr(paper, name), Z), outcome(getattr(reference, name), Z))


@pytest.mark.filterwarnings("ignore:invalid value")  # the logarithm of what is no output
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("change", [{}, *CHANGES.values()], ids=["lists", *CHANGES])
@pytest.mark.parametrize("name", CALLS)
def test_networks_of_lists_and_what_is_refused(name, change, output):
    if name == "forward_propagation":
        change = {k: v for k, v in change.items() if k == 0}
    arguments = [change.get(k, argument) for k, argument in enumerate(CALLS[name])]
    got, expected = (outcome(getattr(module, name), *arguments, output=output) for module in (paper, reference))
    assert_same(got, expected)


@pytest.mark.parametrize("nn", [paper, reference])
def test_class_numbers_are_one_hot_columns(nn):
    Z, y = np.random.default_rng(9).normal(size=(4, 6)), [3, 0, 2, 2, 1, 0]
    one_hot = np.eye(4)[:, y]
    for f in (nn.losses, lambda Z, Y: nn.cost(nn.softmax(Z), Y)):
        np.testing.assert_allclose(f(Z, y), f(Z, one_hot), rtol=1e-14)
    W, b = [None, np.eye(4)], [None, np.zeros((4, 1))]
    np.testing.assert_allclose(nn.back_propagation(Z, y, W, b)[0][1], (nn.softmax(Z) - one_hot) @ Z.T / 6, rtol=1e-12)


@pytest.mark.parametrize("bad", ["read-only", "int", "list", "complex change"])
@pytest.mark.parametrize("where", ["W", "b"])
def test_an_update_that_is_refused_changes_nothing(where, bad):
    """Also where it is the last layer that cannot be changed."""
    W, b = [None, np.ones((2, 2)), np.ones((1, 2))], [None, np.ones((2, 1)), np.ones((1, 1))]
    dW, db = ([None, *(np.ones_like(T) for T in layers[1:])] for layers in (W, b))
    layers, changes = (W, dW) if where == "W" else (b, db)
    if bad == "read-only":
        layers[2].flags.writeable = False
    elif bad == "complex change":
        changes[2] = changes[2] * 1j
    else:
        layers[2] = layers[2].astype(int) if bad == "int" else layers[2].tolist()
    with pytest.raises((TypeError, ValueError), match=rf"{where}\[2\]: got .*; accepted: "):
        reference.update_params(W, b, dW, db)
    assert all((np.asarray(T) == 1).all() for T in [*W[1:], *b[1:]])
