"""What holds for every network, on networks that hypothesis draws."""

from __future__ import annotations

import copy
import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbackprop as fb
from fastbackprop import paper
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.heads import HEADS

PAPER_HEADS = ("identity", "sigmoid", "softmax")
# g(c z) = c g(z) for c > 0: what scaling between layers needs
HOMOGENEOUS = ("identity", "relu", "relu0", "leaky_relu")
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}

relaxed = settings(max_examples=40, deadline=None, derandomize=True)
widths = st.one_of(st.integers(1, 40), st.sampled_from([1, 15, 16, 17, 48, 130]))


@st.composite
def problems(draw, hidden=tuple(ACTIVATIONS), outputs=tuple(HEADS), min_depth=1, min_samples=1):
    """A network with random biases too, samples, targets, and the generator that drew them."""
    output = draw(st.sampled_from(outputs))
    depth = draw(st.integers(min_depth, 4))
    sizes = draw(st.lists(widths, min_size=depth + 1, max_size=depth + 1))
    if output == "softmax":
        sizes[-1] = max(2, sizes[-1])
    names = draw(st.lists(st.sampled_from(hidden), min_size=depth - 1, max_size=depth - 1))
    samples = draw(st.integers(min_samples, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    net = fb.Network(sizes, names, output, dtype=draw(st.sampled_from(["float32", "float64"])), seed=rng)
    for b in net.biases:
        b[...] = 0.1 * rng.standard_normal(b.shape)
    X = rng.standard_normal((samples, sizes[0])).astype(net.dtype)
    if output == "softmax":
        Y = np.eye(sizes[-1], dtype=net.dtype)[rng.integers(0, sizes[-1], samples)]
    else:
        Y = rng.random((samples, sizes[-1])).astype(net.dtype)
    return net, X, Y, rng


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def close(net, got, expected, terms):
    """Equal but for the rounding of a sum of such terms."""
    return np.abs(got - expected).max() <= TOLERANCE[net.dtype.name] * max(np.abs(terms).max(), 1e-30)


def each_gradient(net, X, Y):
    return np.array([net.gradients(X[k : k + 1], Y[k : k + 1]).vector for k in range(len(X))])


@relaxed
@given(problems())
def test_the_order_of_the_samples(problem):
    """The cost and the gradients are sums in another order; the outputs are the same bits in another order."""
    net, X, Y, rng = problem
    order = rng.permutation(len(X))
    assert same_bits(net.forward(X[order]), net.forward(X)[order])
    assert same_bits(net.jacobian(X[order]), net.jacobian(X)[order])
    cost = net.cost(X, Y)
    assert abs(net.cost(X[order], Y[order]) - cost) <= TOLERANCE["float64"] * abs(cost)  # losses are summed in float64
    terms = np.abs(each_gradient(net, X, Y)).mean(axis=0)
    assert close(net, net.gradients(X[order], Y[order]).vector, net.gradients(X, Y).vector, terms)


@relaxed
@given(problems(min_samples=2), st.data())
def test_concatenated_batches_average(problem, data):
    """The cost and the gradients of a batch are the means of those of its parts, by their numbers of samples."""
    net, X, Y, _ = problem
    cut = data.draw(st.integers(1, len(X) - 1))
    parts = [(X[:cut], Y[:cut]), (X[cut:], Y[cut:])]
    shares = np.array([len(x) for x, _ in parts]) / len(X)
    whole, each = net.gradients(X, Y, input_gradient=True), [net.gradients(*p, input_gradient=True) for p in parts]
    cost = shares @ [g.cost for g in each]
    assert abs(whole.cost - cost) <= TOLERANCE["float64"] * abs(cost)
    terms = np.abs(each_gradient(net, X, Y)).mean(axis=0)
    assert close(net, whole.vector, shares @ [g.vector for g in each], terms)
    dX = np.concatenate([share * g.dX for share, g in zip(shares, each)])  # dZ = delta / N, eq. (21)
    assert close(net, whole.dX, dX, whole.dX)


@relaxed
@given(problems())
def test_weights_of_zero_are_rows_removed(problem):
    net, X, Y, rng = problem
    weights = rng.integers(0, 3, len(X)).astype(net.dtype)
    weights[rng.integers(len(X))] = 1
    kept = weights > 0
    weighted = net.gradients(X, Y, sample_weight=weights)
    rest = net.gradients(X[kept], Y[kept], sample_weight=weights[kept])
    assert abs(weighted.cost - rest.cost) <= TOLERANCE[net.dtype.name] * abs(rest.cost)
    terms = np.abs(each_gradient(net, X[kept], Y[kept])).max(axis=0)
    assert close(net, weighted.vector, rest.vector, terms)
    repeated = np.repeat(np.arange(len(X)), weights.astype(int))  # a weight of 2 is a row twice
    assert close(net, weighted.vector, net.gradients(X[repeated], Y[repeated]).vector, terms)


@relaxed
@given(problems(hidden=HOMOGENEOUS, min_depth=2), st.sampled_from([2.0**-6, 0.5, 2.0, 2.0**7]), st.data())
def test_scaling_a_layer_and_unscaling_the_next(problem, c, data):
    """Layer l times c > 0 and W[l+1] divided by c: the same function, where g[l](c z) = c g[l](z).

    That is so for identity, relu, relu0 and leaky_relu, biases included, whatever the output layer. dW[l] and db[l]
    are then divided by c, dW[l+1] is multiplied by it, and all other gradients stay: to the bit, where c is a power of
    2 and nothing underflows.
    """
    net, X, Y, _ = problem
    l = data.draw(st.integers(0, len(net.hidden) - 1))
    scaled = copy.deepcopy(net)
    scaled.weights[l][...] *= c
    scaled.biases[l][...] *= c
    scaled.weights[l + 1][...] /= c
    assert same_bits(scaled.forward(X), net.forward(X))
    before, after = net.gradients(X, Y, input_gradient=True), scaled.gradients(X, Y, input_gradient=True)
    assert before.cost == after.cost
    expected = copy.deepcopy(before)
    expected.dW[l][...] /= c
    expected.db[l][...] /= c
    expected.dW[l + 1][...] *= c
    for got, wanted in zip([*after.dW, *after.db, after.dX], [*expected.dW, *expected.db, expected.dX]):
        assert np.array_equal(got, wanted)


@relaxed
@given(problems(outputs=("identity",)), st.sampled_from([0.25, 8.0]))
def test_scaling_the_output_of_a_regression(problem, c):
    """The last layer and the targets times c: the outputs are times c, the cost is times c**2.

    The gradients by the last layer are times c, and those before it times c**2: for identity outputs with any hidden
    layers, to the bit.
    """
    net, X, Y, _ = problem
    scaled = copy.deepcopy(net)
    scaled.weights[-1][...] *= c
    scaled.biases[-1][...] *= c
    before, after = net.gradients(X, Y), scaled.gradients(X, Y * net.dtype.type(c))
    assert np.array_equal(scaled.forward(X), c * net.forward(X))
    assert after.cost == c**2 * before.cost
    factors = [c**2] * len(net.hidden) + [c]
    for got, wanted, factor in zip([*after.dW, *after.db], [*before.dW, *before.db], factors * 2):
        assert np.array_equal(got, factor * wanted)


@relaxed
@given(problems(outputs=PAPER_HEADS))
def test_columns_are_rows_turned(problem):
    """`paper` on columns gives the bits that a Network gives on rows."""
    net, X, Y, _ = problem
    W, b = [None, *net.weights], [None, *(v[:, None] for v in net.biases)]
    options = {"hidden": net.hidden or "relu", "output": net.output}
    Z, A = paper.forward_propagation(X.T, W, b, **options)
    dW, db = paper.back_propagation(X.T, Y.T, W, b, **options)
    g, t = net.gradients(X, Y), net.trace(X, Y)
    assert same_bits(np.ascontiguousarray(A[-1].T), net.forward(X))
    for l in range(1, len(net.sizes)):
        assert same_bits(dW[l], g.dW[l - 1])
        assert same_bits(db[l][:, 0], g.db[l - 1])
        assert np.array_equal(Z[l].T, t.Z[l])
    turned = paper.trace(np.asfortranarray(X.T), np.ascontiguousarray(Y.T), W, b, **options)
    for name in ("Z", "A", "dA", "dZ"):
        for ours, theirs in zip(getattr(turned, name), getattr(t, name)):
            assert ours is theirs is None or np.array_equal(ours.T, theirs)


@settings(relaxed, max_examples=30)
@given(problem=problems(), odd=st.lists(st.sampled_from([-0.0, 5e-324, 1e-45, 3e38, -1e-40, 1 / 3]), max_size=6))
def test_what_is_saved_comes_back_to_the_bit(tmp_path_factory, problem, odd):
    net, X, _, rng = problem
    for value in odd:
        net.params[rng.integers(net.params.size)] = value
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    net.save(path)
    for same in (fb.load(path), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert (same.sizes, same.hidden, same.output) == (net.sizes, net.hidden, net.output)
        assert same_bits(same.params, net.params)
        assert same_bits(same.forward(X), net.forward(X))
        assert not np.shares_memory(same.params, net.params)
