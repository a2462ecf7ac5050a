"""What fit offers around the steps: held-out samples, early stopping, sparse and memory-mapped inputs, records."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

import fastbackprop as fb
from fastbackprop.early_stopping import Stopper
from fastbackprop.held_out import read_groups, split
from fastbackprop.scores import score

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(600) % 3
    return ((3 * rng.standard_normal((3, 5)))[y] + 2 * rng.standard_normal((600, 5))).astype(np.float32), y


def test_the_validation_fraction_is_the_same_share_of_each_class():
    rng = np.random.default_rng(1)
    y = rng.permutation(np.repeat([0, 1, 2], [700, 200, 100]))
    one_hot, column = np.eye(3)[y], (y == 2).astype(float)[:, None]
    for output, Y in (("softmax", y), ("softmax", one_hot), ("sigmoid", column), ("identity", one_hot)):
        train, held_out = split(output, Y, 0.2, np.random.default_rng(2))
        assert sorted([*train, *held_out]) == list(range(1000))
        assert len(held_out) == 200
        if output == "softmax":
            assert np.abs(np.bincount(y[held_out]) - [140, 40, 20]).max() <= 1
        if output == "sigmoid":
            assert abs(column[held_out].sum() - 20) <= 1
    assert not np.array_equal(held_out, split("identity", Y, 0.2, np.random.default_rng(3))[1])


def test_held_out_rows_are_not_trained_on(blobs):
    """As training on the others, which are given alone, and validating on those that are held out."""
    X, y = blobs
    key = int(np.random.default_rng(5).integers(1 << 63))
    train, held_out = split("softmax", y, 0.25, np.random.default_rng(key))
    whole, parts = (fb.Network((5, 8, 3), seed=0) for _ in range(2))
    history = whole.fit(X, y, epochs=3, validation_fraction=0.25, shuffle=False, seed=5)
    expected = parts.fit(X[train], y[train], epochs=3, validation_data=(X[held_out], y[held_out]), shuffle=False)
    assert np.array_equal(whole.params, parts.params)
    assert history.validation_score == expected.validation_score
    assert history.validation_cost == pytest.approx(expected.validation_cost, rel=1e-12)
    shuffled = fb.Network((5, 8, 3), seed=0)
    X = X.copy()
    X[held_out] = 1e30  # would be noticed
    history = shuffled.fit(X, y, epochs=2, validation_fraction=0.25, seed=np.random.default_rng(5))
    assert history.cost[-1] < 2


def test_early_stopping_restores_the_best(blobs):
    X, y = blobs
    params = []
    net = fb.Network((5, 64, 3), seed=0)
    rule = fb.EarlyStopping(patience=4, monitor="validation_cost")
    history = net.fit(
        X[:60], y[:60], epochs=500, optimizer=fb.Adam(0.02), validation_data=(X[60:], y[60:]), early_stopping=rule,
        seed=0, callbacks=[lambda record: params.append(net.params.copy())],
    )  # fmt: skip
    best = int(np.argmin(history.validation_cost))
    assert len(history.cost) == best + 1 + 4 < 500
    assert history.best_epoch == best + 1
    assert np.array_equal(net.params, params[best])
    assert history.stopped == "validation_cost had not improved for 4 epochs"
    assert net.cost(X[60:], y[60:]) == min(history.validation_cost)


def test_early_stopping_by_score_and_without_restoring(blobs):
    X, y = blobs
    net = fb.Network((5, 8, 3), seed=0)
    rule = fb.EarlyStopping(patience=3, min_delta=0.5, monitor="validation_score", restore_best=False)
    last = []
    history = net.fit(
        X, y, epochs=50, validation_fraction=0.2, early_stopping=rule, seed=0,
        callbacks=[lambda record: last.append(net.params.copy())],
    )  # fmt: skip
    assert len(history.cost) <= 7  # accuracy cannot rise by 0.5 more than once or twice
    assert np.array_equal(net.params, last[-1])
    assert history.best_epoch is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_inputs_are_the_dense_ones(dtype):
    from scipy import sparse

    rng = np.random.default_rng(6)
    X = rng.standard_normal((900, 30)) * (rng.random((900, 30)) < 0.2)
    X, y = X.astype(dtype), rng.integers(0, 3, 900)
    nets = [fb.Network((30, 20, 3), dtype=dtype, seed=0) for _ in range(4)]
    for net, inputs in zip(nets, (X, sparse.csr_matrix(X), sparse.csc_array(X), sparse.coo_matrix(X))):
        history = net.fit(inputs, y, epochs=2, seed=0, validation_fraction=0.1, optimizer="adam")
        assert net.params.tobytes() == nets[0].params.tobytes()
        assert net.forward(inputs).tobytes() == net.forward(X).tobytes()
        assert net.cost(inputs, y) == net.cost(X, y)
        assert len(history.validation_cost) == 2
        value, vector = net.value_and_grad(inputs, y)
        g = net.gradients(X, y)
        assert value == pytest.approx(g.cost, rel=1e-6)
        np.testing.assert_allclose(vector, g.vector, rtol=1e-4, atol=1e-6)
    X = X.astype(np.float64)
    X[7, 3] = np.inf
    net = fb.Network((30, 20, 3), dtype=dtype, seed=0)
    for use in (lambda x: net.forward(x), lambda x: net.fit(x, y, epochs=1)):
        with pytest.raises(ValueError, match=r"X must be finite, got inf at X\[7, 3\]"):
            use(sparse.csr_matrix(X))


def test_sparse_inputs_are_never_whole():
    """A matrix that would take 80 GB as an array."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    places = rng.integers(0, 2_000_000, 40_000), rng.integers(0, 10_000, 40_000)
    X = sparse.csr_array((rng.random(40_000), places), shape=(2_000_000, 10_000))
    net = fb.Network((10_000, 4, 2), seed=0)
    rows = X[:8000]
    assert net.fit(rows, np.arange(8000) % 2, epochs=1, batch_size=1000).steps == 8
    assert net.forward(rows).shape == (8000, 2)
    with pytest.raises(ValueError, match="one target for each of the 2000000 samples, got 3"):
        net.fit(X, [0, 1, 0])


def test_bad_inputs_are_found_wherever_they_are(blobs):
    """X is read once, in the training itself: what is not finite is named afterwards, and nothing has changed."""
    for row in (0, 300, 599):
        for bad in (np.nan, np.inf, -np.inf):
            for hidden in ("relu", "tanh", "sigmoid"):
                X, y = blobs[0].copy(), blobs[1]
                X[row, 2] = bad
                net = fb.Network((5, 8, 3), hidden, seed=0)
                before = net.params.copy()
                called = []
                with pytest.raises(ValueError, match=rf"X must be finite, got {bad} at X\[{row}, 2\]"):
                    net.fit(
                        X, y, epochs=3, optimizer="adam", callbacks=[called.append], seed=0,
                        validation_fraction=0.5 if hidden == "relu" else 0.0,
                    )  # fmt: skip
                assert np.array_equal(net.params, before)
                assert not called


def test_history_as_a_table(blobs):
    import pandas

    X, y = blobs
    history = fb.Network((5, 8, 3), seed=0).fit(X, y, epochs=4, validation_fraction=0.1, seed=0)
    table = history.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table.index.tolist() == [1, 2, 3, 4]
    assert list(table) == ["cost", "learning_rate", "validation_cost", "validation_score"]
    assert table.cost.tolist() == history.cost
    assert [type(c) for c in history.cost] == [float] * 4
    assert history.plot().axes[1].get_title().startswith("Accuracy: validation")
    net = fb.Network((5, 8, 1), output="identity", seed=0)
    values = net.fit(X, X[:, 0], epochs=4, optimizer=fb.SGD(0.01), validation_fraction=0.1, seed=0)
    assert values.plot().axes[1].get_title().startswith("R²: validation, last epoch 0.")


def test_networks_can_be_copied_and_pickled(blobs):
    X, y = blobs
    net = fb.Network((5, 8, 3), "gelu", seed=0)
    net.fit(X, y, epochs=1, seed=0)
    for other in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.forward(X).tobytes() == net.forward(X).tobytes()
        other.fit(X, y, epochs=1, seed=0)
        assert not np.array_equal(other.params, net.params)


def test_the_progress_of_a_log_file_is_a_few_lines(blobs, capsys):
    X, y = blobs
    fb.Network((5, 8, 3), seed=0).fit(X, y, epochs=300, progress=True)
    assert capsys.readouterr().err.count("\r") < 10


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must be a number of at least 0 and below 1"),
        ({"validation_fraction": 1e-6}, ValueError, "validation_fraction must leave samples on both sides, got 1e-06"),
        ({"early_stopping": 2.5}, TypeError, "early_stopping must be True, a patience in epochs, or .* got 2.5"),
        ({"early_stopping": 0}, ValueError, "early_stopping must be an integer of at least 1, got 0"),
        ({"early_stopping": 3}, ValueError, "early_stopping on validation_cost needs validation_data or"),
        ({"early_stopping": True}, ValueError, "early_stopping on validation_cost needs validation_data or"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be an integer of at least 1, got 0"),
        ({"validation_fraction": 0.1, "validation_data": (1, 2)}, ValueError, "validation_data and .* exclude"),
        ({"checkpoint_every": 5}, ValueError, "checkpoint_every needs a checkpoint to write, got 5 without"),
        ({"validation_split": "last"}, ValueError, "validation_split='last' needs a validation_fraction above 0"),
        ({"validation_groups": [1] * 600}, ValueError, "validation_groups needs a validation_fraction above 0"),
        ({"validation_split": "Last", "validation_fraction": 0.1}, ValueError, "got 'Last'; did you mean 'last'?"),
        ({"epochs": 2**31}, ValueError, "epochs must be an integer from 0 to 2147483647, got 2147483648"),
        ({"epochs": 10**4000}, ValueError, r"epochs must be an integer from 0 to 2147483647, got 1000.*\.\.\.$"),
        ({"progress": 1}, TypeError, "progress must be True or False, got 1"),
        ({"shuffle": "no"}, TypeError, "shuffle must be True or False, got 'no'"),
        ({"callbacks": print}, TypeError, "callbacks must be a sequence of functions, got <built-in function print>"),
        ({"callbacks": "abc"}, TypeError, "callbacks must be a sequence of functions, got 'abc'"),
        ({"optimizer": "Adam"}, ValueError, "got 'Adam'; did you mean 'adam'?"),
        ({"optimizer": "L-BFGS"}, ValueError, "got 'L-BFGS'; did you mean 'lbfgs'?"),
        ({"optimizer": fb.Adam}, TypeError, r"got the class Adam: Adam\(\) is meant?"),
        ({"optimizer": "lbfgs", "batch_size": 32}, ValueError, "batch_size is not available with LBFGS, got 32"),
        ({"optimizer": "lbfgs", "shuffle": True}, ValueError, "shuffle is not available with LBFGS, got True"),
        ({"optimizer": "lbfgs", "dropout": [0.5]}, ValueError, r"dropout is not available with LBFGS, got \[0.5\]"),
        ({"optimizer": "lbfgs", "threads": 0}, ValueError, "threads must be an integer of at least 1, got 0"),
    ],
)
def test_bad_options(blobs, options, error, message):
    net = fb.Network((5, 8, 3), seed=0)
    before = net.params.copy()
    with pytest.raises(error, match=message):
        net.fit(*blobs, **options)
    assert np.array_equal(net.params, before)


def test_no_directory_for_a_checkpoint_is_said_before_the_training(blobs, tmp_path):
    net, called = fb.Network((5, 8, 3), seed=0), []
    with pytest.raises(FileNotFoundError, match="No such directory"):
        net.fit(*blobs, checkpoint=tmp_path / "none" / "c", callbacks=[called.append])
    with pytest.raises(ValueError, match="checkpoint must be a file"):
        net.fit(*blobs, checkpoint=tmp_path, callbacks=[called.append])
    assert not called


def test_no_epochs_train_nothing(blobs):
    net = fb.Network((5, 8, 3), seed=0)
    before = net.params.copy()
    history = net.fit(*blobs, epochs=0, validation_fraction=0.2, early_stopping=True)
    assert np.array_equal(net.params, before)
    assert (history.cost, history.steps, history.best_epoch, history.stopped) == ([], 0, None, "")
    with pytest.raises(ValueError, match="batch_size must be an integer"):
        net.fit(*blobs, epochs=0, batch_size=0)


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
@pytest.mark.parametrize("answer", [np.True_, np.float32(2) > 1, np.array(True), 1, "enough", [0]])
def test_whatever_is_true_ends_a_training(blobs, answer, optimizer):
    net = fb.Network((5, 8, 3), seed=0)
    callbacks = [lambda _: None, lambda record: answer if record["epoch"] == 2 else np.False_]
    history = net.fit(*blobs, epochs=5, optimizer=optimizer, callbacks=callbacks)
    assert (len(history.cost), history.stopped) == (2, "a callback returned True")


@pytest.mark.parametrize("answer", [np.zeros(2), np.ones((1, 2))])
def test_what_is_neither_true_nor_false_is_refused(blobs, answer):
    with pytest.raises(TypeError, match=r"callbacks\[1\] must return None, or what is true to end .* got array\("):
        fb.Network((5, 8, 3), seed=0).fit(*blobs, callbacks=[print, lambda _: answer])


def test_early_stopping_may_be_a_patience(blobs):
    X, y = blobs
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 3, len(y))
    one, other = (fb.Network((5, 40, 3), seed=0) for _ in range(2))
    options = {"epochs": 300, "optimizer": "adam", "validation_fraction": 0.3, "seed": 0}
    expected = one.fit(X, noise, early_stopping=fb.EarlyStopping(patience=3), **options)
    assert 3 < len(expected.cost) < 300
    assert other.fit(X, noise, early_stopping=np.int64(3), **options).cost == expected.cost
    assert np.array_equal(one.params, other.params)


def test_a_value_that_is_not_a_number_is_never_the_best():
    """Whatever comes first or last; the best of the others is found as if it were not there."""
    nan, inf = float("nan"), float("inf")
    for monitor, values, best, stops in (
        ("validation_cost", [nan, 3.0, 2.0, nan, 2.5], 3, 5),
        ("validation_score", [nan, 0.1, 0.5, 0.4, nan], 3, 5),
        ("validation_cost", [2.0, nan, nan], 1, 3),
        ("validation_cost", [inf, 5.0, 6.0, 7.0], 2, 4),
        ("validation_score", [-inf, -5.0, -6.0, -7.0], 2, 4),
        ("cost", [nan, nan], None, 2),
    ):
        stopper = Stopper(fb.EarlyStopping(patience=2, monitor=monitor))
        answers = [
            stopper.epoch_ends({"epoch": i + 1, monitor: value}, np.full(2, i + 1.0)) for i, value in enumerate(values)
        ]
        assert answers.index(True) + 1 == stops
        assert stopper.best_epoch == best
        assert stopper.params is None if best is None else (stopper.params == best).all()
    assert stopper.word() == "cost was not a number for 2 epochs"


def test_the_r2_of_one_validation_sample_stops_nothing(blobs):
    X, y = blobs
    net = fb.Network((5, 8, 1), output="identity", seed=0)
    options = {"epochs": 3, "optimizer": fb.SGD(0.01), "validation_data": (X[:1], y[:1] * 1.0)}
    assert np.isnan(net.fit(X, y * 1.0, **options).validation_score).all()
    rule = fb.EarlyStopping(monitor="validation_score")
    with pytest.raises(ValueError, match="validation_score needs at least 2 validation samples for R², got 1"):
        net.fit(X, y * 1.0, early_stopping=rule, **options)


def test_the_last_rows_are_held_out(blobs):
    X, y = blobs
    whole, parts = (fb.Network((5, 8, 3), seed=0) for _ in range(2))
    history = whole.fit(X, y, epochs=2, validation_fraction=0.2, validation_split="last", shuffle=False)
    expected = parts.fit(X[:480], y[:480], epochs=2, validation_data=(X[480:], y[480:]), shuffle=False)
    assert np.array_equal(whole.params, parts.params)
    assert history.validation_score == expected.validation_score


@pytest.mark.parametrize(
    "kind", [lambda g: g, lambda g: [f"patient {i}" for i in g], lambda g: (g * 0.5).astype(object)]
)
def test_no_group_has_rows_on_both_sides(kind):
    rng = np.random.default_rng(5)
    numbers = rng.integers(0, 40, 1000)
    groups = read_groups(kind(numbers), 1000)
    assert len(np.unique(groups)) == 40
    train, held_out = split("softmax", numbers % 2, 0.25, rng, "random", groups)
    assert sorted([*train, *held_out]) == list(range(1000))
    assert not set(numbers[train]) & set(numbers[held_out])
    assert abs(len(held_out) - 250) <= np.bincount(numbers).max() / 2
    other = split("softmax", numbers % 2, 0.25, np.random.default_rng(6), "random", groups)[1]
    assert not np.array_equal(held_out, other)


@pytest.mark.parametrize(
    ("kinds", "count"),
    [
        ([2**53, 2**53 + 1, float(2**53)], 2),  # in floats one group
        ([2**63, 2**63 + 1, -1], 3),
        ([10**30, 10**30 + 1, 0.5], 3),
        ([np.uint64(2**63 + 1), np.int64(-1), np.uint64(2**63)], 3),
        (np.array([2**53, 2**53 + 1, 1]), 3),
        (pd.Series([2**53, 2**53 + 1, 1], dtype="Int64"), 3),
        (["1", "01", "1 "], 3),
        ([1, True, 1.0, 2], 2),  # equal numbers
        ([b"a", b"b"], 2),
        (np.array(["2024-01-01", "2024-01-02"], "M8[D]"), 2),
        (np.ma.array([1, 2, 3], mask=False), 3),
    ],
)
def test_groups_are_what_they_differ_in(kinds, count):
    groups = read_groups(kinds, len(kinds))
    assert len(set(groups.tolist())) == count
    values = kinds.tolist() if hasattr(kinds, "tolist") else kinds
    for i, group in enumerate(groups):
        assert [g == group for g in groups] == [v == values[i] for v in values]


@pytest.mark.parametrize("counts", [[99, 1], [1, 99], [50, 50], [1] * 100, [98, 1, 1]])
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.99])
def test_both_sides_have_a_group(counts, fraction):
    groups = np.repeat(np.arange(len(counts)), counts)
    for seed in range(5):
        train, held_out = split("identity", groups[:, None], fraction, np.random.default_rng(seed), "random", groups)
        assert len(train)
        assert len(held_out)
        assert not set(groups[train]) & set(groups[held_out])


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([1, 2] * 299, ValueError, r"a vector of 600 numbers or texts, .* got shape \(598,\)"),
        ([7] * 600, ValueError, "at least two different ones, got only 7"),
        ([1.0] * 599 + [np.nan], ValueError, r"got NaN at validation_groups\[599\]"),
        (["a"] * 599 + [None], TypeError, "the group of each sample, got None"),
        (["a"] * 599 + [3.5, [1]], TypeError, "validation_groups must be a vector of 600 numbers or texts"),
        (np.ones((600, 1)), ValueError, r"got shape \(600, 1\)"),
        (["a", 1] * 300, TypeError, r"the group of each sample, got \['a', 1, "),
        (np.array(["a", 1.5] * 300, object), TypeError, "the group of each sample, got"),
        ([2.5, np.ma.masked] * 300, TypeError, "the group of each sample, got masked"),
        (np.ma.array([1, 2] * 300, mask=[True, False] * 300), TypeError, "got a masked array"),
        (np.array([np.nan, "a"] * 300, object), (TypeError, ValueError), "the group of each sample, got"),
        ([2**60, np.nan] * 300, ValueError, r"got NaN at validation_groups\[1\]"),
        (np.array(["2024-01-01", "NaT"] * 300, "M8[D]"), ValueError, r"got NaN at validation_groups\[1\]"),
        (pd.Series([1, None] * 300, dtype="Int64"), (TypeError, ValueError), "got (<NA>|NaN)"),
    ],
)
def test_groups_that_are_none(blobs, groups, error, message):
    with pytest.raises(error, match=message):
        fb.Network((5, 8, 3), seed=0).fit(*blobs, validation_fraction=0.1, validation_groups=groups)


@pytest.mark.parametrize("make", [np.random.SeedSequence, np.random.RandomState, np.random.default_rng])
def test_seeds_of_every_kind(blobs, make):
    X, y = blobs
    nets = [fb.Network((5, 8, 3), seed=make(seed)) for seed in (1, 1, 2)]
    for net, seed in zip(nets, (3, 3, 4)):
        net.fit(X, y, epochs=2, seed=make(seed), dropout=0.1, validation_fraction=0.2)
    assert np.array_equal(nets[0].params, nets[1].params)
    assert not np.array_equal(nets[0].params, nets[2].params)
    seed = make(1)
    if make is not np.random.SeedSequence:  # it moves on: not the same numbers twice
        assert not np.array_equal(fb.Network((5, 8, 3), seed=seed).params, fb.Network((5, 8, 3), seed=seed).params)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fb.EarlyStopping(patience=0), ValueError, "patience must be an integer of at least 1, got 0"),
        (lambda: fb.EarlyStopping(min_delta=-1), ValueError, "min_delta must be a number of at least 0, got -1"),
        (lambda: fb.EarlyStopping(monitor="loss"), ValueError, "monitor must be one of validation_cost, .* got 'loss'"),
        (lambda: fb.EarlyStopping(restore_best=1), TypeError, "restore_best must be True or False, got 1"),
    ],
)
def test_bad_rules(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------- more data than memory

LIMIT = 400 << 20
OUT_OF_CORE = """
import resource, sys
import numpy as np
import fastbackprop as fb
small = np.random.default_rng(0).standard_normal((64, 256)).astype("f4")
from scipy import sparse
for X in (small, small.astype("f8"), sparse.csr_array(small)):  # compiled before the limit
    fb.Network((256, 16, 3), seed=0).fit(X, np.arange(64) % 3, epochs=1, validation_fraction=0.1)
path, rows, limit, group = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if group:
    open(group + "/cgroup.procs", "w").write("0")
else:  # of what cannot be given back: the pages of a file that is mapped for reading can
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
y = np.arange(rows) % 3
for dtype in ("f4", "f8"):
    X = np.memmap(path, dtype, "r", shape=(rows * 4 // np.dtype(dtype).itemsize, 256))
    net = fb.Network((256, 16, 3), seed=0, threads=2)
    history = net.fit(X, y[: len(X)], epochs=1, batch_size=256, validation_fraction=0.05, seed=0)
    outputs = net.forward(X)
    print(history.steps, len(outputs), np.isfinite(history.cost).all())
columns = np.random.default_rng(0).integers(0, 256, (rows, 2)).astype(np.int32)
columns[:, 1] = (columns[:, 0] + 7) % 256
X = sparse.csr_array((np.ones(2 * rows, np.float64), columns.reshape(-1), 2 * np.arange(rows + 1, dtype=np.int32)))
net = fb.Network((256, 16, 3), seed=0, threads=2)
history = net.fit(X, y, epochs=1, batch_size=256, validation_fraction=0.05, seed=0)
print(history.steps, len(net.forward(X)), np.isfinite(history.cost).all())
try:
    print(len(np.array(np.memmap(path, np.float32, "r"))))  # the whole file in memory: more than the limit
except MemoryError:
    print("MemoryError")
"""


@contextlib.contextmanager
def memory_group(limit):
    """A control group with a limit of memory, resident pages of mapped files included; empty where there is none."""
    group = Path("/sys/fs/cgroup/memory") / f"fastbackprop-{os.getpid()}"
    made = False
    try:
        group.mkdir()
        made = True
        (group / "memory.limit_in_bytes").write_text(str(limit))
    except OSError:
        if made:
            group.rmdir()
        yield ""
        return
    try:
        yield str(group)
    finally:
        group.rmdir()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_file_larger_than_memory(tmp_path):
    """Four times as large as the memory that the process may use."""
    rows = 4 * LIMIT // 1024
    path = tmp_path / "X.bin"
    block = np.random.default_rng(0).uniform(1, 2, (4096, 256)).astype("f4")  # read as float64 between 2**-7 and 2
    with open(path, "wb") as file:
        for _ in range(rows // 4096):
            file.write(block.tobytes())
    rows = rows // 4096 * 4096
    assert path.stat().st_size >= 4 * LIMIT - (8 << 20)
    with memory_group(LIMIT) as group:
        command = [sys.executable, "-c", OUT_OF_CORE, str(path), str(rows), str(LIMIT), group]
        out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        lines = out.stdout.splitlines()
        trained = round(rows * 0.95)
        assert lines[0] == f"{-(-trained // 256)} {rows} True", out.stderr
        # as float64 the file has half as many rows
        assert lines[1].split()[1:] == [str(rows // 2), "True"], out.stderr
        assert lines[2] == lines[0], out.stderr  # a sparse matrix whose dense array would be as large as the file
        if group:
            peak = int((Path(group) / "memory.max_usage_in_bytes").read_text())
            assert peak <= LIMIT
            assert out.returncode != 0  # the copy at the end was killed: the limit is one
        else:
            assert lines[3] == "MemoryError"


def test_the_score_of_several_targets_is_scikit_learns():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((50, 3)).astype(np.float32) * np.float32([1, 10, 0.1])
    o = y + rng.standard_normal((50, 3)).astype(np.float32)
    for output in ("identity", "exp"):
        assert score(output, o, y) == pytest.approx(r2_score(y, o), rel=1e-6)
    y[:, 1] = 2
    assert score("identity", o, y) == pytest.approx(r2_score(y, o), rel=1e-6)
    o[:, 1] = 2
    assert score("identity", o, y) == pytest.approx(r2_score(y, o), rel=1e-6)
    assert np.isnan(score("identity", o[:1], y[:1]))
