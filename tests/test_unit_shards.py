"""Steps in unit shards: threads that each have units of a hidden layer do what one does with all, to the bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import frames, training
from fastbackprop.engine import layout as at
from fastbackprop.plan import Plan, unit_shards_of
from fastbackprop.training import Training
from tests.test_gradients import reference_gradient

SAMPLES = 1000  # times the work of the networks below: worth a second thread


def data(sizes, dtype="float32", samples=SAMPLES):
    rng = np.random.default_rng(2)
    return rng.standard_normal((samples, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], samples)


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that are run, with the number of threads."""
    seen = []

    def spy(threads, run, job, *args):
        head = job[: at.JOB_BYTES // 8].view(at.JOB)[0]
        seen.append((threads, bool(head["group_tables"]), int(head["steps"])))
        return run_on(threads, run, job, *args)

    from fastbackprop import plan

    run_on = plan.run_on
    monkeypatch.setattr(plan, "run_on", spy)
    return seen


def trained(sizes, threads, dtype="float32", hidden="relu", batch_size=48, **options):
    X, y = data(sizes, dtype)
    net = fb.Network(sizes, hidden, dtype=dtype, seed=0)
    history = net.fit(X, y, epochs=3, batch_size=batch_size, seed=1, threads=threads, **options)
    return net.params.tobytes(), tuple(history.cost)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((64, 128, 10), {"optimizer": fb.SGD(0.1)}),
        ((784, 128, 10), {"optimizer": fb.Adam(), "l2": 0.01, "dropout": 0.25, "batch_size": 64}),
        ((160, 320, 20, 3), {"optimizer": fb.SGD(0.1), "l1": 0.001, "l2": 0.01, "hidden": ["relu0", "gelu"]}),
        ((37, 100, 9), {"optimizer": fb.Adam(), "dropout": 0.25, "batch_size": 33}),
        ((37, 100, 9), {"optimizer": fb.SGD(0.1), "l2": 0.01, "batch_size": 100}),
        ((20, 300, 17, 6, 3), {"optimizer": fb.Adam(), "l1": 0.001, "l2": 0.01, "hidden": "tanh"}),
        ((40, 57, 2), {"optimizer": fb.SGD(0.1, momentum=0.9), "hidden": "tanh", "batch_size": 120}),
        ((30, 417, 40), {"optimizer": fb.RMSprop(), "hidden": "relu0", "sample_weight": np.arange(SAMPLES) % 3 / 2}),
        ((37, 112, 33, 5), {"optimizer": fb.AdamW(weight_decay=0.1), "dropout": [0.5, 0.25], "hidden": "relu0"}),
        ((20, 300, 17, 6, 3), {"optimizer": fb.SGD(0.1, weight_decay=0.1), "hidden": ["relu", "silu", "relu"]}),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_bits_of_one_thread(sizes, options, dtype, jobs):
    results = {count: trained(sizes, count, dtype, **options) for count in (1, 2, 3, 4, 8, 16)}
    assert {in_groups for threads, in_groups, _ in jobs if threads == 1} == {False}
    # no more than there are shards, of which each has as many: what three threads cannot share, two do
    shards = len(unit_shards_of(sizes)) - 1
    used = {threads for threads, in_groups, _ in jobs if in_groups}
    assert used == {count for count in (2, 4, 8) if count <= shards}
    assert len(set(results.values())) == 1


def test_clipping_which_needs_the_norm_of_all_is_not_done_in_unit_shards(jobs):
    one, two = (trained((64, 128, 10), threads, optimizer=fb.SGD(0.1, clip_norm=0.5)) for threads in (1, 2))
    assert (2, False) in {(threads, in_groups) for threads, in_groups, _ in jobs}
    assert not any(in_groups for _, in_groups, _ in jobs)
    assert one == two


def test_few_steps_at_a_time(jobs, monkeypatch):
    """Inputs that are converted a step at a time: each step is a job, and copying weights would not pay."""
    sizes = (64, 128, 10)
    X, y = data(sizes)
    nets = []
    monkeypatch.setattr(frames, "SMALL_COPY", 0)
    monkeypatch.setattr(training, "CHUNK_BYTES", 0)
    for inputs in (X, pd.DataFrame(X).astype({0: np.float64})):
        net = fb.Network(sizes, seed=0)
        net.fit(inputs, y, epochs=2, batch_size=250, seed=1, threads=2, optimizer=fb.Adam())
        nets.append(net.params.tobytes())
    assert {(in_groups, steps) for _, in_groups, steps in jobs if steps == 1} == {(False, 1)}
    assert nets[0] == nets[1]


@pytest.mark.parametrize("hidden", ["relu", "relu0", "tanh", "gelu", "leaky_relu"])
@pytest.mark.parametrize("sizes", [(20, 100, 9), (20, 100, 13, 4)])
def test_the_sum_of_two_chains_is_that_of_the_paper(sizes, hidden):
    """Forward and gradients against the formulas in NumPy, where Z[2] is added up in two chains."""
    assert unit_shards_of(sizes) == (0, 48, 100)
    X, y = data(sizes, "float64", 70)
    net = fb.Network(sizes, hidden, dtype="float64", seed=0)
    X[0], net.biases[0][:] = 0, 0
    cost, vector, dX = reference_gradient(net, X, np.eye(sizes[-1])[y])
    g = net.gradients(X, y, input_gradient=True)
    assert np.isclose(g.cost, cost, rtol=1e-12)
    np.testing.assert_allclose(g.vector, vector, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(g.dX, dX, rtol=1e-9, atol=1e-14)


def test_a_training_that_diverges_keeps_the_parameters_before_the_step():
    sizes = (64, 128, 10)
    X, y = data(sizes)
    kept = []
    for threads in (1, 2):
        net = fb.Network(sizes, seed=0)
        with pytest.raises(FloatingPointError, match="not finite in epoch") as error:
            net.fit(X * 100, y, epochs=50, batch_size=48, seed=1, threads=threads, optimizer=fb.SGD(1e4))
        assert np.isfinite(net.params).all()
        kept.append((net.params.tobytes(), str(error.value)))
    assert kept[0] == kept[1]


def test_inputs_that_are_not_finite_change_nothing():
    sizes = (64, 128, 10)
    X, y = data(sizes)
    X[777, 5] = np.nan
    net = fb.Network(sizes, seed=0)
    before = net.params.copy()
    with pytest.raises(ValueError, match="X must be finite"):
        net.fit(X, y, epochs=3, batch_size=48, threads=2)
    assert net.params.tobytes() == before.tobytes()


def test_a_training_that_ends_when_the_cost_falls_no_more(jobs):
    """The vector `stop`: the epochs done, the costs and the parameters are those of one thread."""
    sizes = (64, 128, 10)
    X, y = data(sizes)
    results = []
    for threads in (1, 2):
        net = fb.Network(sizes, seed=0)
        training = Training(net, X, y, batch_size=48, optimizer=fb.SGD(0.5), seed=3, threads=threads)
        costs = training.run(200, stop=np.array([1e-3, 3.0, 1.0, np.inf, 0.0]))
        results.append((len(costs), costs.tobytes(), net.params.tobytes(), training.state.steps))
    assert 5 < results[0][0] < 200
    assert results[0] == results[1]
    assert any(in_groups for _, in_groups, _ in jobs)


def test_which_networks_are_divided():
    """Shards are whole lines; the layers that all threads do are little work."""
    assert unit_shards_of((784, 128, 10)) == tuple(range(0, 129, 16))
    assert unit_shards_of((64, 128, 10)) == (0, 32, 64, 96, 128)
    assert unit_shards_of((30, 100, 3)) == (0, 32, 48, 80, 100)
    assert unit_shards_of((784, 512, 512, 10)) == (0, 128, 256, 384, 512)
    for sizes in ((30, 31, 3), (30, 48, 30), (30, 3), (32, 64, 64, 5), (1024, 2048, 2048, 1000)):
        assert unit_shards_of(sizes) == (0, sizes[1])
    for sizes in ((30, 100, 3), (784, 512, 512, 10)):
        assert Plan.work(sizes[2:], True) * 4 <= Plan.work(sizes, True)
