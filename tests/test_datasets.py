"""scikit-learn's bundled sets as plain arrays."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import sklearn.datasets

from fastbackprop import datasets


@pytest.mark.parametrize("name", datasets.NAMES)
def test_every_set_is_that_of_scikit_learn(name):
    data = datasets.load(name)
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    scale = 16.0 if name == "digits" else 1.0
    np.testing.assert_array_equal(data.X * scale, bunch.data)
    np.testing.assert_array_equal(data.y, bunch.target)
    assert data.X.dtype == np.float64
    if data.task == "classification":
        assert data.y.dtype == np.int64
        assert len(data.class_names) == data.y.max() + 1
    else:
        assert data.class_names == ()


@pytest.mark.parametrize("name", datasets.NAMES)
def test_the_same_as_a_table(name):
    data, (frame, targets) = datasets.load(name), datasets.load_frame(name)
    np.testing.assert_array_equal(frame.drop(columns=targets) / data.divisor, data.X)
    y = frame[targets].to_numpy()
    if data.task == "classification":
        assert [data.class_names[k] for k in data.y] == y[:, 0].tolist()
    else:
        np.testing.assert_array_equal(y, data.y.reshape(len(y), -1))


@pytest.mark.parametrize("make", [np.random.SeedSequence, np.random.RandomState, np.random.default_rng])
def test_the_seed_may_be_of_any_kind(make):
    X = np.arange(60).reshape(30, 2)
    first, same, other = (datasets.split(X, X[:, 0], seed=make(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_the_split_is_seeded_stratified_and_loses_nothing():
    data = datasets.load("digits")
    parts = [datasets.split(data.X, data.y, seed=seed, stratify=True) for seed in (1, 1, 2)]
    assert np.array_equal(parts[0].X_test, parts[1].X_test)
    assert not np.array_equal(parts[0].X_test, parts[2].X_test)
    assert len(parts[0].y_test) == 360
    assert np.abs(np.bincount(parts[0].y_test) - 36).max() <= 1
    rows = np.concatenate([parts[0].X_train, parts[0].X_test])
    assert np.array_equal(np.sort(rows.sum(axis=1)), np.sort(data.X.sum(axis=1)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: datasets.load("mnist"), ValueError, r"name must be one of breast_cancer, .*, got 'mnist'"),
        (lambda: datasets.load(3), TypeError, "name must be one of"),
        (lambda: datasets.split([1], [1], test_size=0), ValueError, "test_size must be a number above 0 and below 1"),
        (lambda: datasets.split([1], [1], seed=-1), ValueError, "seed must be an integer of at least 0"),
        (lambda: datasets.split([1], [1], seed=1 << 32), ValueError, "seed must be at most 4294967295"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_missing_pandas_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbackprop\[cli\]'"):
        datasets.load_frame("iris")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbackprop\[sklearn\]'"):
        datasets.load("iris")
