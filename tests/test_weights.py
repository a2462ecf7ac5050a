"""Weights of samples and classes: only their ratios count, whatever their size, and what cannot be meant is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

import fastbackprop as fb
from fastbackprop.training import Training
from fastbackprop.weights import class_weights, sample_weights

RNG = np.random.default_rng(4)
X = RNG.standard_normal((120, 6))
Y = RNG.integers(0, 3, 120)
W = RNG.uniform(0.25, 4.0, 120)


def network(dtype="float32", output="softmax"):
    return fb.Network((6, 9, 3), "tanh", output, dtype=dtype, seed=0)


@pytest.mark.parametrize(
    ("dtype", "factors"), [("float32", (2.0**-140, 2.0**130, 2.0**600)), ("float64", (2.0**-1020, 2.0**1000))]
)
def test_only_the_ratios_of_weights_count(dtype, factors):
    plain, expected = network(dtype), network(dtype).gradients(X, Y, sample_weight=W)
    cost = plain.fit(X, Y, epochs=2, seed=0, sample_weight=W, l2=0.01).cost
    for factor in factors:
        weights = np.ldexp(W, int(np.log2(factor)))
        net = network(dtype)
        g = net.gradients(X, Y, sample_weight=weights)
        assert g.vector.tobytes() == expected.vector.tobytes()
        assert g.cost == expected.cost
        assert net.cost(X, Y, sample_weight=weights) == pytest.approx(g.cost, rel=1e-6)
        assert net.fit(X, Y, epochs=2, seed=0, sample_weight=weights, l2=0.01).cost == cost
        assert net.params.tobytes() == plain.params.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_weights_of_any_size_are_none(dtype):
    expected = network(dtype)
    expected.fit(X, Y, epochs=2, seed=0)
    for weight in (1.0, 3e-320, 7e-40, 0.1, 3e38, 1.7e308, np.float32(5e-44), 2**63):
        net = network(dtype)
        assert net.cost(X, Y, sample_weight=np.full(120, weight)) == net.cost(X, Y)
        net.fit(X, Y, epochs=2, seed=0, sample_weight=np.full(120, weight))
        assert net.params.tobytes() == expected.params.tobytes()


def test_batches_of_which_all_weigh_little_learn_too():
    """The engine's own range is enough for what is not refused: the cost is never 0 where the loss is not."""
    weights = np.r_[np.full(60, 1e30), np.full(60, 1e-5)]
    net, light = network(), network()
    history = net.fit(X, Y, epochs=1, batch_size=60, shuffle=False, sample_weight=weights)
    first = light.fit(X[:60], Y[:60], epochs=1, batch_size=60, shuffle=False)
    second = light.fit(X[60:], Y[60:], epochs=1, batch_size=60, shuffle=False)
    assert history.cost[0] == pytest.approx((first.cost[0] + second.cost[0]) / 2, rel=1e-6)
    np.testing.assert_allclose(net.params, light.params, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "light"), [("float32", 1e-60), ("float32", 5e-324), ("float64", 1e-320)])
def test_what_weighs_nothing_beside_others_learns_alone(dtype, light):
    """In no batch is the cost 0 where the loss is not; NumPy told to raise has nothing to say."""
    weights = np.r_[np.ones(60), np.full(60, light)]
    net, each, halved = network(dtype), network(dtype), network(dtype)
    options = {"epochs": 1, "batch_size": 60, "shuffle": False}
    with np.errstate(all="raise"):
        history = net.fit(X, Y, sample_weight=weights, **options)
    costs = [each.fit(X[:60], Y[:60], **options).cost[0], each.fit(X[60:], Y[60:], **options).cost[0]]
    assert history.cost[0] == pytest.approx(np.mean(costs), rel=1e-6)
    np.testing.assert_allclose(net.params, each.params, rtol=1e-5)
    mixed = np.r_[np.ones(30), np.full(30, light)]
    halved.fit(X[:60], Y[:60], sample_weight=mixed, **options)
    alone = network(dtype)
    alone.fit(X[:30], Y[:30], **options)
    np.testing.assert_allclose(halved.params, alone.params, rtol=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.r_[np.nan, np.ones(119)], r"must be finite, got nan at sample_weight\[0\]"),
        (np.r_[np.ones(119), -1e-300], r"at least 0, got -1e-300 at sample_weight\[119\]"),
        (np.zeros(120), "above 0 for at least one sample"),
        (np.ones(119), r"must have shape \(120,\)"),
    ],
)
def test_weights_that_cannot_be_used(weights, message):
    net = network()
    before = net.params.copy()
    for use in (net.gradients, net.cost, net.fit, net.score):
        with pytest.raises(ValueError, match=message):
            use(X, Y, sample_weight=weights)
    assert np.array_equal(net.params, before)


def test_a_penalty_per_sample_follows_the_weights():
    """It is divided by the sum of the weights as they were given."""
    nets = [network("float64") for _ in range(2)]
    big = 2.0**600
    for net, factor in zip(nets, (1.0, big)):
        options = {"sample_weight": W * factor, "l2": 0.5 * factor, "penalty_per_sample": True, "seed": 0}
        Training(net, X, Y, batch_size=40, optimizer=fb.SGD(0.1), **options).run(2)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()
    plain = network("float64")
    Training(plain, X, Y, batch_size=40, optimizer=fb.SGD(0.1), sample_weight=W, seed=0).run(2)
    assert not np.array_equal(plain.params, nets[0].params)


@pytest.mark.parametrize("given", ["balanced", {0: 2.0, 2: 0.5}, {np.int64(1): 3, np.uint8(0): 0}])
def test_class_weights_are_sample_weights(given):
    labels = np.r_[Y, 1, 1, 1, 1]
    full = given if given == "balanced" else {0: 1, 1: 1, 2: 1} | given  # scikit-learn names them all
    np.testing.assert_allclose(class_weights(given, labels, 3), compute_sample_weight(full, labels))
    by_class, by_sample = network(), network()
    by_class.fit(X, Y, epochs=2, seed=0, class_weight=given)
    by_sample.fit(X, Y, epochs=2, seed=0, sample_weight=class_weights(given, Y, 3))
    assert by_class.params.tobytes() == by_sample.params.tobytes()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({3: 1.0}, ValueError, "class numbers from 0 to 2 as keys, got 3"),
        ({-2: 1.0}, ValueError, "class numbers from 0 to 2 as keys, got -2"),
        ({"1": 1.0}, TypeError, "integers from 0 to 2, got '1'"),
        ({True: 1.0}, TypeError, "got True"),
        ({np.True_: 1.0}, TypeError, "got np.True_"),
        ({2.0: 1.0}, TypeError, "got 2.0"),
        ({None: 1.0}, TypeError, "got None"),
        ({0: -1.0}, ValueError, r"class_weight\[0\] must be a number of at least 0, got -1.0"),
        ({1: np.nan}, ValueError, r"class_weight\[1\] must be a number of at least 0, got nan"),
        ({1: np.inf}, ValueError, r"class_weight\[1\] must be a number of at least 0, got inf"),
        ({1: "2"}, TypeError, r"class_weight\[1\] must be a number"),
        ({0: 0, 1: 0, 2: 0}, ValueError, "class_weight must be above 0 for at least one sample"),
        ([1.0, 2.0, 3.0], TypeError, r"or a dict from class number to weight, such as .*, got \[1.0, 2.0, 3.0\]"),
        (np.ones(3), TypeError, "or a dict from class number to weight"),
        (
            "Balanced",
            ValueError,
            "class_weight must be 'balanced' or a dict .*, got 'Balanced'; did you mean 'balanced'",
        ),
    ],
)
def test_class_weights_that_mean_nothing(given, error, message):
    net = network()
    before = net.params.copy()
    with pytest.raises(error, match=message):
        net.fit(X, Y, epochs=1, class_weight=given)
    assert np.array_equal(net.params, before)


def test_class_weights_of_probabilities_and_of_two_classes():
    two = fb.Network((6, 1), output="sigmoid", seed=0)
    other = fb.Network((6, 1), output="sigmoid", seed=0)
    two.fit(X, (Y == 1)[:, None], epochs=1, seed=0, class_weight={1: 4.0})
    other.fit(X, Y == 1, epochs=1, seed=0, sample_weight=np.where(Y == 1, 4.0, 1.0))
    assert np.array_equal(two.params, other.params)
    with pytest.raises(ValueError, match="class numbers from 0 to 1 as keys, got 2"):
        two.fit(X, Y == 1, class_weight={2: 4.0})
    with pytest.raises(ValueError, match="class_weight needs classes"):
        network(output="identity").fit(X, np.eye(3)[Y], class_weight={0: 1.0})


def test_the_callers_weights_are_not_kept():
    given = W.astype(np.float32)
    kept = sample_weights(given, 120, np.dtype("float32"))
    assert not np.shares_memory(given, kept)
