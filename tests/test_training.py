"""fit: what it learns, what it records, and how it stops."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import reference, training


@pytest.fixture(scope="module")
def blobs():
    """Three classes around three centres."""
    rng = np.random.default_rng(0)
    y = np.arange(600) % 3
    centres = 3 * rng.standard_normal((3, 5))
    return (centres[y] + rng.standard_normal((600, 5))).astype(np.float32), y


OPTIMIZERS = [
    fb.SGD(0.1), fb.SGD(0.05, momentum=0.9), fb.SGD(0.05, momentum=0.9, nesterov=True), fb.Adam(0.01),
    fb.Adam(0.01, beta1=0.8, beta2=0.95, eps=1e-6),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_it_learns(blobs, optimizer):
    X, y = blobs
    net = fb.Network((5, 16, 3), seed=0)
    history = net.fit(X, y, epochs=15, optimizer=optimizer, seed=0)
    assert history.cost[-1] < 0.5 * history.cost[0]
    assert np.mean(net.forward(X).argmax(axis=1) == y) > 0.9


def numpy_steps(net, X, Y, batch, epochs, apply):
    """Mini-batch training with the reference's gradients."""
    W = [None, *(w.copy() for w in net.weights)]
    b = [None, *(v.copy()[:, None] for v in net.biases)]
    costs = []
    for _ in range(epochs):
        total = 0.0
        for s in range(0, len(X), batch):
            x, t = X[s : s + batch].T, Y[s : s + batch].T
            _, A = reference.forward_propagation(x, W, b)
            total += reference.cost(A[-1], t) * x.shape[1]
            dW, db = reference.back_propagation(x, t, W, b)
            for l in range(1, len(W)):
                apply(W[l], dW[l], ("W", l))
                apply(b[l], db[l], ("b", l))
        costs.append(total / len(X))
    return np.concatenate([np.concatenate([w.ravel(), v.ravel()]) for w, v in zip(W[1:], b[1:])]), costs


def test_sgd_is_code_4(blobs):
    """With a last batch that is smaller, in the order of the samples."""
    X, y = blobs[0].astype(np.float64), blobs[1]

    def apply(p, d, _):
        p -= 0.1 * d

    net = fb.Network((5, 12, 8, 3), dtype="float64", seed=0)
    expected, costs = numpy_steps(net, X, np.eye(3)[y], 70, 3, apply)
    history = net.fit(X, y, epochs=3, batch_size=70, optimizer=fb.SGD(0.1), shuffle=False)
    np.testing.assert_allclose(net.params, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(history.cost, costs, rtol=1e-12)
    assert history.steps == 27
    assert history.seconds > 0


def test_every_epoch_has_an_order_of_its_own_and_the_seed_decides(blobs):
    X, y = blobs

    def run(seed, shuffle=True):
        net = fb.Network((5, 8, 3), seed=0)
        net.fit(X, y, epochs=2, seed=seed, shuffle=shuffle)
        return net.params

    assert np.array_equal(run(3), run(3))
    assert np.array_equal(run(3), run(np.random.default_rng(3)))
    assert not np.array_equal(run(3), run(4))
    assert not np.array_equal(run(3), run(3, shuffle=False))


def test_the_order_is_a_permutation_and_uniform():
    from fastbackprop.engine.entries import shuffle

    counts = np.zeros((5, 5))
    for epoch in range(4000):
        order = np.empty(5, np.int64)
        shuffle.call(order, len(order), 12345, epoch)
        assert sorted(order) == list(range(5))
        counts[np.arange(5), order] += 1
    # every place has every sample 800 times, give or take 6 standard deviations
    assert np.abs(counts - 800).max() < 6 * np.sqrt(4000 * 0.2 * 0.8)


def test_watching_does_not_change_the_training(blobs):
    """Epochs are done many at a call when nobody looks, one at a call otherwise."""
    X, y = blobs
    nets, records = [], []
    for watch in (False, True):
        net = fb.Network((5, 8, 3), seed=0)
        options = {"validation_data": (X[:50], y[:50]), "callbacks": [records.append]} if watch else {}
        history = net.fit(X, y, epochs=30, seed=0, optimizer=fb.Adam(), **options)
        nets.append((net.params.tobytes(), history.cost))
    assert nets[0] == nets[1]
    assert [r["epoch"] for r in records] == list(range(1, 31))
    assert [r["cost"] for r in records] == history.cost
    assert [r["validation_cost"] for r in records] == history.validation_cost
    assert [r["validation_score"] for r in records] == history.validation_score
    assert history.validation_cost[-1] == net.cost(X[:50], y[:50])
    assert history.validation_score[-1] == np.mean(net.forward(X[:50]).argmax(axis=1) == y[:50])


def test_a_callback_ends_the_training(blobs):
    X, y = blobs
    net = fb.Network((5, 8, 3), seed=0)
    history = net.fit(X, y, epochs=30, callbacks=[lambda record: record["epoch"] == 4])
    assert len(history.cost) == 4


def test_scores_of_the_other_heads(blobs):
    X, y = blobs
    several = np.eye(3)[y]
    net = fb.Network((5, 8, 3), output="sigmoid", seed=0)
    history = net.fit(X, several, epochs=3, validation_data=(X, several))
    assert history.validation_score[-1] == np.mean(((net.forward(X) > 0.5) == (several > 0.5)).all(axis=1))
    line = fb.Network((5, 1), output="identity", seed=0)
    history = line.fit(
        X, X @ np.arange(5.0), epochs=20, optimizer=fb.SGD(0.02), validation_data=(X, X @ np.arange(5.0))
    )
    assert history.validation_score[-1] > 0.999


def test_only_true_ends_the_training(blobs):
    X, y = blobs
    net = fb.Network((5, 8, 3), seed=0)
    assert len(net.fit(X, y, epochs=3, callbacks=[lambda _: 0, lambda _: np.False_, lambda _: None]).cost) == 3


def test_what_a_caller_does_to_views_does_not_reach_the_engine(blobs):
    """Shape, dtype and flags of views that were handed out are theirs alone; the numbers are the network's."""

    def spoil(record):
        for view in (net.params, *net.weights, *net.biases):
            view.setflags(write=False)
        for view in (net.params, net.weights[1], net.biases[0]):
            view.dtype = np.float64 if view.nbytes % 8 == 0 else np.int32
            view.shape = (1, -1)

    X, y = blobs
    nets = [fb.Network((5, 8, 3), seed=0) for _ in range(2)]
    nets[0].fit(X, y, epochs=3, seed=0)
    net = nets[1]
    spoil(None)
    net.fit(X, y, epochs=3, seed=0, callbacks=[spoil])
    assert np.array_equal(net.params, nets[0].params)
    assert np.array_equal(net.forward(X[:2]), nets[0].forward(X)[:2])
    net.params[...] = 0
    assert not any(W.any() for W in net.weights)


def test_a_last_step_that_overflows_is_an_error():
    net = fb.Network((1, 1), output="identity", seed=0)
    net.params = [1e-3, 0]
    before = net.params.copy()
    with pytest.raises(FloatingPointError, match=r"parameters are not finite in epoch 1 at learning_rate 0.1"):
        net.fit([[1e21]], [[0.0]], epochs=1)
    assert np.array_equal(net.params, before)


def test_no_epochs_is_no_training(blobs):
    X, y = blobs
    net = fb.Network((5, 8, 3), seed=0)
    before = net.params.copy()
    history = net.fit(X, y, epochs=0)
    assert history.cost == []
    assert np.array_equal(net.params, before)


def test_divergence_keeps_the_parameters_before_the_step(blobs):
    X, y = blobs
    net = fb.Network((5, 8, 3), "identity", "identity", seed=0)
    with pytest.raises(FloatingPointError, match=r"not finite in epoch \d+ at learning_rate 100: .* diverged"):
        net.fit(X, np.eye(3)[y], epochs=50, optimizer=fb.SGD(100.0))
    assert np.isfinite(net.params).all()


@pytest.mark.parametrize("kind", ["in place", "kept often", "converted"])
def test_a_step_that_makes_parameters_infinite_is_undone(blobs, kind, monkeypatch):
    """An update beyond float32's largest number, which only the cost of the next step shows."""
    X, y = blobs
    if kind == "kept often":
        monkeypatch.setattr(training, "SECONDS_REPEATED", 0.0)

    def learn(epochs, batch_size):
        net = fb.Network((5, 8, 3), seed=0)
        inputs = X.astype(np.float64) if kind == "converted" else X
        rule = fb.Adam(lambda epoch: 0.01 if epoch < 40 else 1e39)
        try:
            net.fit(inputs, y, epochs=epochs, batch_size=batch_size, optimizer=rule, seed=0)
        except FloatingPointError as error:
            return net, str(error)
        return net, ""

    message = "parameters are not finite in epoch 41 at learning_rate 1e+39"
    for batch_size in (50, 600):  # the step is one of many of its epoch, or the only one
        net, said = learn(100, batch_size)
        assert message in said
        assert np.array_equal(net.params, learn(40, batch_size)[0].params)


def test_a_memory_mapped_file_is_read_in_place(tmp_path, blobs):
    X, y = blobs
    path = tmp_path / "X.bin"
    X.tofile(path)
    mapped = np.memmap(path, np.float32, "r", shape=X.shape)
    nets = [fb.Network((5, 8, 3), seed=0) for _ in range(2)]
    for net, inputs in zip(nets, (X, mapped)):
        net.fit(inputs, y, epochs=2, seed=0)
    assert np.array_equal(nets[0].params, nets[1].params)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs must be an integer of at least 0, got -1"),
        ({"epochs": 2.5}, TypeError, "epochs must be an integer of at least 0, got 2.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ({"threads": 0}, ValueError, "threads must be an integer of at least 1, got 0"),
        ({"seed": "x"}, TypeError, "seed must be an integer of at least 0, got 'x'"),
        ({"optimizer": "adma"}, ValueError, "optimizer must be an optimizer .* or one of sgd, .*, got 'adma'"),
        ({"optimizer": 3}, TypeError, "optimizer must be an optimizer .*, got 3"),
        ({"callbacks": [3]}, TypeError, "callbacks must be functions of an epoch's record, got 3"),
        ({"callbacks": 3}, TypeError, "callbacks must be a sequence of functions"),
        ({"validation_data": 3}, TypeError, r"validation_data must be a pair \(X, y\), got int"),
        ({"validation_data": (np.zeros((2, 4)), [0, 0])}, ValueError, r"validation_data\[0\] must have shape \(N, 5\)"),
        ({"validation_data": (np.zeros((2, 5)), [0, 7])}, ValueError, r"validation_data\[1\] must hold class numbers"),
    ],
)
def test_bad_options(blobs, options, error, message):
    net = fb.Network((5, 8, 3), seed=0)
    before = net.params.copy()
    with pytest.raises(error, match=message):
        net.fit(*blobs, **options)
    assert np.array_equal(net.params, before)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fb.SGD(-0.1), ValueError, "learning_rate must be a number of at least 0, got -0.1"),
        (lambda: fb.SGD("fast"), TypeError, "learning_rate must be a number of at least 0, got 'fast'"),
        (lambda: fb.SGD(float("nan")), ValueError, "learning_rate must be a number of at least 0, got nan"),
        (lambda: fb.SGD(0.1, momentum=-1), ValueError, "momentum must be a number of at least 0, got -1"),
        (lambda: fb.SGD(0.1, nesterov=True), ValueError, "nesterov needs a momentum above 0"),
        (lambda: fb.Adam(beta2=1.5), ValueError, "beta2 must be a number of at least 0 and below 1, got 1.5"),
        (lambda: fb.Adam(eps=0), ValueError, "eps must be a number above 0, got 0"),
    ],
)
def test_bad_optimizers(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_memory_is_flat(blobs):
    """No allocation a step: neither Python's memory nor the process's grows over 10 000 steps."""
    import tracemalloc

    import psutil

    X, y = blobs
    net = fb.Network((5, 16, 3), seed=0)
    net.fit(X, y, epochs=100, batch_size=6, optimizer=fb.Adam(1e-4), seed=0)  # 10 000 steps: everything is warm
    process = psutil.Process()
    tracemalloc.start()
    before = process.memory_info().rss
    history = net.fit(X, y, epochs=100, batch_size=6, optimizer=fb.Adam(1e-4), seed=0)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert history.steps == 10_000
    assert kept < 20_000  # the history: some 100 numbers
    assert peak < 1_500_000  # the orders of the epochs that are drawn ahead, whatever the number of steps
    assert process.memory_info().rss - before < 2_000_000


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_leaves_a_usable_network(tmp_path):
    code = """
import os, signal, sys, threading, time
import numpy as np
import fastbackprop as fb
rng = np.random.default_rng(0)
X, y = rng.standard_normal((20000, 30)).astype(np.float32), rng.integers(0, 3, 20000)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without
net = fb.Network((30, 64, 3), seed=0)
net.fit(X, y, epochs=1)  # compiles
started = net.params.copy()
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
begin = time.perf_counter()
try:
    net.fit(X, y, epochs=100000)
except KeyboardInterrupt:
    print(time.perf_counter() - begin < 3, np.isfinite(net.params).all(), end=" ")
    print(not np.array_equal(net.params, started), end=" ")
    print(net.fit(X, y, epochs=1).steps)
"""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert out.stdout.split() == ["True", "True", "True", "625"], out.stderr


def test_progress_bar_is_optional(blobs, capsys):
    X, y = blobs
    fb.Network((5, 8, 3), seed=0).fit(X, y, epochs=2, progress=True, validation_data=(X, y))
    err = capsys.readouterr().err
    assert "validation_score" in err
    assert "2/2" in err
