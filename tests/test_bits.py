"""The same bits for any number of threads, any split of a batch and any width of the vectors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import schedules
from fastbackprop.plan import sample_shards_of
from fastbackprop.rows import Rows

CASES = [
    ((64, 128, 10), "relu", "softmax", fb.SGD(0.1)),
    ((20, 70, 33, 3), ["gelu", "tanh"], "sigmoid", fb.Adam(1e-2)),
    ((5, 40, 24, 4), "tanh", "exp", fb.AdamW(1e-2)),
    ((130, 96, 7), "silu", "identity", fb.SGD(0.01, momentum=0.9, nesterov=True)),
]


def data(sizes, output, samples, dtype):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((samples, sizes[0])).astype(dtype)
    Y = rng.integers(0, sizes[-1], samples) if output == "softmax" else rng.random((samples, sizes[-1])).astype(dtype)
    return X, Y


def trained(case, dtype, threads, batch=192):
    sizes, hidden, output, optimizer = case
    X, Y = data(sizes, output, 700, dtype)
    net = fb.Network(sizes, hidden, output, dtype=dtype, seed=0)
    history = net.fit(X, Y, epochs=3, batch_size=batch, optimizer=optimizer, seed=4, threads=threads)
    return net, X, Y, history


def digest():
    """Of everything that the cases compute, for both dtypes."""
    result = hashlib.sha256()
    for dtype in ("float32", "float64"):
        for case in CASES:
            net, X, Y, history = trained(case, dtype, 2)
            g = net.gradients(X, Y, input_gradient=True)
            for part in (net.params, net.forward(X), g.vector, g.dX, np.array(history.cost)):
                result.update(np.ascontiguousarray(part).tobytes())
    return result.hexdigest()


@pytest.mark.parametrize("batch", [48, 192, 700])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[2])
def test_any_number_of_threads(case, dtype, batch):
    """Where the threads share a batch's work (48), and where they make its gradient in two or eight shards."""
    net, X, Y, history = trained(case, dtype, 1, batch)
    for threads in (2, 3, 5, 16):
        other, _, _, other_history = trained(case, dtype, threads, batch)
        assert other.params.tobytes() == net.params.tobytes()
        assert other_history.cost == history.cost
        other.threads, net.threads = threads, 1
        assert other.forward(X).tobytes() == net.forward(X).tobytes()
        assert other.gradients(X, Y).vector.tobytes() == net.gradients(X, Y).vector.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[2])
def test_any_split_of_a_batch(case, dtype):
    """A row's output does not depend on the other rows."""
    net, X, _, _ = trained(case, dtype, 1)
    whole = net.forward(X)
    for i in (0, 1, 15, 16, 17, 350, 699):
        assert net.forward(X[i : i + 1])[0].tobytes() == whole[i].tobytes()
    for cut in (1, 8, 33, 512):
        parts = np.concatenate([net.forward(X[:cut]), net.forward(X[cut:])])
        assert parts.tobytes() == whole.tobytes()


@pytest.mark.parametrize(("sizes", "shards"), [((6, 20, 3), 16), ((300, 520, 17), 1)])
def test_gradients_do_not_depend_on_the_blocks(sizes, shards):
    """More samples than a block holds: chains of additions go on from block to block (not of 16 outputs and fewer)."""
    net = fb.Network(sizes, seed=0)
    X, y = data(sizes, "softmax", 8000, "float32")
    assert sample_shards_of(sizes, net.dtype, 8000) == shards
    vector = np.empty_like(net.params)
    with net.plan(8000, True, whole=True) as plan:
        cost = net._gradients(plan, Rows(X, net.dtype), y, None, vector, None)
    g = net.gradients(X, y)
    assert g.vector.tobytes() == vector.tobytes()
    assert g.cost == cost


def test_sample_shards_of_several_blocks_gathered_ahead():
    """A thread that waits gathers samples of its next shard: of its first block, and of that shard only."""
    X, y = data((6, 20, 3), "softmax", 130_000, "float32")
    nets = [fb.Network((6, 20, 3), seed=0, threads=threads) for threads in (1, 2, 2, 3, 8, 64)]
    for net in nets:
        net.fit(X, y, epochs=3, batch_size=60_000, optimizer=fb.Adam(), seed=1)
    assert sample_shards_of((6, 20, 3), np.dtype("float32"), 60_000) == 64
    assert len({net.params.tobytes() for net in nets}) == 1


def test_a_small_last_batch_is_divided_as_the_others():
    """Of 192, 96 are a shard: the last batch of 150 has one of 96 and one of 54, also where it is converted."""
    X, y = data((64, 128, 10), "softmax", 192 + 150, "float32")
    nets = [fb.Network((64, 128, 10), seed=0, threads=threads) for threads in (1, 2)]
    for net, inputs in zip(nets, (X, X.astype(np.float64))):
        net.fit(inputs, y, epochs=2, batch_size=192, seed=1)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()


def test_the_sum_of_the_sample_shards():
    """The gradient of a batch in two shards is the weighted mean of those of its halves."""
    X, y = data((64, 128, 10), "softmax", 192, "float64")
    weights = np.arange(192) % 3 / 2
    net = fb.Network((64, 128, 10), dtype="float64", seed=0)
    assert [sample_shards_of(net.sizes, net.dtype, batch) for batch in (96, 192)] == [1, 2]
    cost, vector = net.value_and_grad(X, y, sample_weight=weights)
    halves = [net.value_and_grad(X[h], y[h], sample_weight=weights[h]) for h in (slice(96), slice(96, 192))]
    shares = np.array([weights[:96].sum(), weights[96:].sum()]) / weights.sum()
    assert np.isclose(cost, shares @ [c for c, _ in halves], rtol=1e-14)
    np.testing.assert_allclose(vector, shares @ np.array([v for _, v in halves]), rtol=1e-11, atol=1e-16)


def test_shuffling_and_conversion_do_not_change_the_bits():
    """Inputs that are converted a batch at a time are trained on as those that are read in place."""
    case = CASES[0]
    X, y = data(case[0], case[2], 500, "float32")
    nets = []
    for inputs in (X, X.astype(np.float64), np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        net = fb.Network(case[0], case[1], case[2], seed=0)
        net.fit(inputs, y, epochs=2, batch_size=64, seed=1)
        nets.append(net.params.tobytes())
    assert len(set(nets)) == 1


def test_rates_are_the_same_on_every_processor():
    """NumPy has powers of its own for arrays where a processor has AVX-512."""
    steps = np.arange(3000)
    decay = [0.1 * 0.97 ** (k // 2 // 3) for k in range(3000)]
    assert schedules.Step(0.1, every=3, factor=0.97).rates(steps, 2, 100, {}).tolist() == decay
    inverse = [0.1 / (1.0 + k // 2 * 100) ** 0.3 for k in range(3000)]
    assert schedules.InverseScaling(0.1, 0.3).rates(steps, 2, 100, {}).tolist() == inverse


@pytest.mark.slow
@pytest.mark.parametrize("lanes", ["4", "8", "16"])
def test_any_width_of_the_vectors(lanes):
    """Here, and in the file of digests, which test_golden.py compares with for the width of this processor."""
    environment = os.environ | {"FASTBACKPROP_LANES": lanes}
    code = """
from benchmarks import golden
from tests.test_bits import digest
print(digest(), *golden.differences())
"""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == digest()
