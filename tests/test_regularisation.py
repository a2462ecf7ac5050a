"""Penalties, dropout, sample and class weights."""

from __future__ import annotations

import numpy as np
import pytest

import fastbackprop as fb
from tests.test_optimizers import BATCH, SIZES, blobs, torch_or_skip, torch_training  # noqa: F401


@pytest.mark.peers
@pytest.mark.parametrize("optimizer", [fb.SGD(0.1), fb.SGD(0.05, momentum=0.9), fb.SGD(0.1, clip_norm=0.2)], ids=repr)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.1), (0.02, 0.0), (0.01, 0.05)])
def test_penalties_and_weights_are_parts_of_the_cost(blobs, optimizer, l1, l2):  # noqa: F811
    torch = torch_or_skip()
    X, y = blobs
    weights = np.random.default_rng(1).uniform(0, 2, len(X))
    net = fb.Network(SIZES, "tanh", dtype="float64", seed=0)
    expected, costs = torch_training(
        torch, net, X, y, lambda W, b: torch.optim.SGD([*W, *b], optimizer.learning_rate, momentum=optimizer.momentum),
        penalty=lambda W: sum(l2 / 2 * (w**2).sum() + l1 * w.abs().sum() for w in W),
        clip_norm=optimizer.clip_norm, weights=weights,
    )  # fmt: skip
    history = net.fit(
        X, y, epochs=5, batch_size=BATCH, optimizer=optimizer, shuffle=False, l1=l1, l2=l2, sample_weight=weights
    )
    np.testing.assert_allclose(net.params, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(history.cost, costs, rtol=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
def test_value_and_grad_is_the_cost_and_its_derivative(blobs, threads):  # noqa: F811
    X, y = blobs
    net = fb.Network((5, 40, 3), "tanh", dtype="float64", seed=0, threads=threads)
    options = {"sample_weight": np.arange(500) % 4, "l1": 0.1, "l2": 0.2}
    value, vector = net.value_and_grad(X, y, **options)
    penalty = sum(0.1 * (w**2).sum() + 0.1 * np.abs(w).sum() for w in net.weights)
    assert value == pytest.approx(net.cost(X, y, sample_weight=options["sample_weight"]) + penalty, rel=1e-12)
    for k in range(0, net.params.size, 13):
        values = []
        for step in (1e-6, -2e-6):
            net.params[k] += step
            values.append(net.value_and_grad(X, y, **options)[0])
        net.params[k] += 1e-6
        assert vector[k] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", "exp"])
def test_weights_of_zero_are_rows_removed(output, dtype):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((1300, 6)).astype(dtype)  # several blocks
    Y = rng.integers(0, 3, 1300) if output == "softmax" else rng.random((1300, 3)).astype(dtype)
    keep = rng.random(1300) < 0.6
    weights = np.where(keep, rng.uniform(0.5, 2, 1300), 0)
    net = fb.Network((6, 17, 3), output=output, dtype=dtype, seed=0)
    all_, some = (
        net.gradients(X, Y, sample_weight=weights),
        net.gradients(X[keep], Y[keep], sample_weight=weights[keep]),
    )
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert all_.cost == pytest.approx(some.cost, rel=tolerance)
    assert net.cost(X, Y, sample_weight=weights) == pytest.approx(some.cost, rel=tolerance)
    assert np.abs(all_.vector - some.vector).max() <= tolerance * np.abs(some.vector).max()


def test_whole_weights_are_rows_repeated():
    rng = np.random.default_rng(3)
    X, y, times = rng.standard_normal((50, 4)), rng.integers(0, 3, 50), rng.integers(1, 4, 50)
    net = fb.Network((4, 9, 3), dtype="float64", seed=0)
    weighted, repeated = (
        net.gradients(X, y, sample_weight=times),
        net.gradients(np.repeat(X, times, 0), np.repeat(y, times)),
    )
    assert weighted.cost == pytest.approx(repeated.cost, rel=1e-12)
    np.testing.assert_allclose(weighted.vector, repeated.vector, rtol=1e-10, atol=1e-14)


def test_class_weights_are_scikit_learns(blobs):  # noqa: F811
    from sklearn.utils.class_weight import compute_sample_weight

    X, y = blobs[0], np.minimum(blobs[1] * np.arange(500) % 5, 2)
    cases = [("softmax", y, "balanced"), ("softmax", np.eye(3)[y], {0: 2.0, 2: 0.5})]
    for output, targets, given in [*cases, ("sigmoid", np.minimum(y, 1), "balanced")]:
        nets = [fb.Network((5, 8, 3 if output == "softmax" else 1), output=output, seed=0) for _ in range(2)]
        classes = targets if targets.ndim == 1 else targets.argmax(axis=1)
        nets[0].fit(X, targets, epochs=2, class_weight=given, seed=0)
        nets[1].fit(X, targets, epochs=2, sample_weight=compute_sample_weight(given, classes), seed=0)
        assert np.array_equal(nets[0].params, nets[1].params)


# ---------------------------------------------------------------- dropout


def lowbias32(x):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return x ^ (x >> np.uint32(16))


def layer_key(key, step, layer):
    mask = (1 << 64) - 1
    z = (key + (step + 1) * 0x9E3779B97F4A7C15 + layer * 0xD1B54A32D192ED03) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def drop_mask(key, step, layer, samples, units, probability):
    """As engine/dropout.py says it, in NumPy: 0 or 1 / (1 - p), a row a sample."""
    columns = []
    for unit in range(units):
        k = layer_key(layer_key(key, step, layer), unit, 0)
        x = np.arange(samples, dtype=np.uint32) + np.uint32(k & 0xFFFFFFFF)
        x = lowbias32(lowbias32(x) ^ np.uint32(k >> 32))
        columns.append(np.where((x >> np.uint32(8)) * 2.0**-24 < probability, 0.0, 1 / (1 - probability)))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("hidden", ["relu", "relu0", "identity", "tanh", "gelu"])
def test_a_step_with_dropout_is_the_gradient_of_the_thinned_network(hidden):
    """Against finite differences of a forward pass in NumPy with the same masks: 3 steps, two hidden layers."""
    from fastbackprop import reference

    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((90, 4)), rng.integers(0, 3, 90)
    net = fb.Network((4, 7, 6, 3), hidden, dtype="float64", seed=0)
    g = {
        "relu": reference.relu,
        "relu0": reference.relu,
        "identity": lambda z: z,
        "tanh": np.tanh,
        "gelu": reference.gelu,
    }[hidden]
    key = int(np.random.default_rng(8).integers(1 << 63))

    def cost(params, step):
        rows = slice(30 * step, 30 * step + 30)
        weights, biases = net.split(params)
        a = X[rows]
        for l, p in ((1, 0.5), (2, 0.25)):
            a = g(a @ weights[l - 1].T + biases[l - 1]) * drop_mask(key, step, l, 30, len(biases[l - 1]), p)
        z = a @ weights[2].T + biases[2]
        return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(30), y[rows]])

    expected = net.params.copy()
    for step in range(3):
        slope = np.array(
            [(cost(expected + h, step) - cost(expected - h, step)) / 2e-6 for h in 1e-6 * np.eye(len(expected))]
        )
        expected -= 0.3 * slope
    history = net.fit(
        X,
        y,
        epochs=1,
        batch_size=30,
        optimizer=fb.SGD(0.3),
        shuffle=False,
        seed=np.random.default_rng(8),
        dropout=[0.5, 0.25],
    )
    np.testing.assert_allclose(net.params, expected, atol=1e-7)
    assert history.cost[0] > 0


def test_dropout_drops_as_many_as_it_says_and_nothing_repeats():
    """The masks of the engine, read off the parameters: a layer of ones whose rows are summed."""
    masks = np.concatenate([drop_mask(123, step, layer, 500, 40, 0.3) == 0 for step in range(10) for layer in (1, 2)])
    assert abs(masks.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / masks.size)
    # neither units nor samples nor steps go together: correlations are those of chance
    for a in (masks, masks.reshape(20, -1).T, masks[:400].T):
        c = np.corrcoef(a.T) - np.eye(a.shape[1])
        assert np.abs(c).max() < 6 / np.sqrt(len(a))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_has_the_same_bits_on_any_threads_and_in_converted_batches(dtype):
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((2000, 20)).astype(dtype), rng.integers(0, 4, 2000)
    results = []
    for threads, inputs in ((1, X), (2, X), (3, X), (2, np.asfortranarray(X))):
        net = fb.Network((20, 70, 4), seed=0, dtype=dtype)
        net.fit(inputs, y, epochs=2, batch_size=1200, seed=0, dropout=0.4, threads=threads)
        results.append(net.params.tobytes())
    assert len(set(results)) == 1
    net.fit(X, y, epochs=2, batch_size=1200, seed=1, dropout=0.4)
    assert net.params.tobytes() not in results


def test_dropout_is_for_training_only(blobs):  # noqa: F811
    X, y = blobs
    net = fb.Network(SIZES, seed=0)
    history = net.fit(X, y, epochs=3, dropout=0.5, validation_data=(X, y), seed=0)
    assert history.validation_cost[-1] == net.cost(X, y) == net.cost(X, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"l1": -1}, ValueError, "l1 must be a number of at least 0, got -1"),
        ({"l2": "x"}, TypeError, "l2 must be a number of at least 0, got 'x'"),
        ({"dropout": 1.0}, ValueError, "dropout must be a number of at least 0 and below 1, got 1"),
        ({"dropout": [0.1]}, ValueError, "dropout must be one number or 2, one for each hidden layer, got"),
        ({"dropout": [0.1, 2]}, ValueError, r"dropout\[1\] must be a number of at least 0 and below 1, got 2"),
        ({"dropout": "x"}, TypeError, "dropout must be a number of at least 0 and below 1, got 'x'"),
        ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight must have shape \(500,\), .* got \(3,\)"),
        ({"sample_weight": -np.ones(500)}, ValueError, r"sample_weight must be at least 0, got -1.0"),
        ({"sample_weight": np.zeros(500)}, ValueError, "sample_weight must be above 0 for at least one sample"),
        ({"sample_weight": np.full(500, np.nan)}, ValueError, r"sample_weight must be finite, got nan"),
        ({"class_weight": "equal"}, ValueError, "class_weight must be 'balanced' or a dict .* got 'equal'"),
        ({"class_weight": {0: -1}}, ValueError, r"class_weight\[0\] must be a number of at least 0, got -1"),
    ],
)
def test_bad_options(blobs, options, error, message):  # noqa: F811
    net = fb.Network(SIZES, seed=0)
    before = net.params.copy()
    with pytest.raises(error, match=message):
        net.fit(*blobs, **options)
    assert np.array_equal(net.params, before)
