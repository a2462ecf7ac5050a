"""Saving and loading: the same bits, whole files or clear errors."""

from __future__ import annotations

import os

import numpy as np
import pytest
import safetensors.numpy

import fastbackprop as fb
from fastbackprop import persistence


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("output", "hidden"), [("softmax", ["relu", "gelu"]), ("sigmoid", "tanh"), ("identity", [])])
def test_a_network_comes_back_bit_for_bit(path, dtype, output, hidden):
    sizes = (5, 7, 6, 3) if hidden else (5, 3)
    net = fb.Network(sizes, hidden, output, dtype=dtype, seed=0)
    net.biases[0][:2] = [-0.0, np.nan]
    net.save(path)
    same = fb.load(path)
    assert repr(same) == repr(net)
    assert same.hidden == net.hidden
    assert same.params.tobytes() == net.params.tobytes()


def test_metadata(path):
    persistence.save(fb.Network((2, 2)), path, {"classes": "a,b", "sizes": "mine"})
    assert persistence.read_metadata(path) == {"classes": "a,b", "sizes": "mine"}
    assert fb.load(path).sizes == (2, 2)
    with pytest.raises(TypeError, match="metadata must map strings to strings, got 'n': 3"):
        persistence.save(fb.Network((2, 2)), path, {"n": 3})


def test_a_cut_file_is_refused_at_any_length(path):
    fb.Network((4, 5, 3), seed=0).save(path)
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 50, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cannot load a network from .*net.safetensors.*not a whole safetensors"):
            fb.load(path)


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 100, b"\xff" * 100, b"PK\x03\x04" + b"x" * 60])
def test_a_foreign_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot load a network from"):
        fb.load(path)


def header(**changes):
    return {
        "format": "fastbackprop", "format_version": "1", "sizes": "[2, 3]", "hidden": "[]", "output": '"softmax"',
        "dtype": '"float32"', **changes,
    }  # fmt: skip


TENSORS = {"weights.0": np.zeros((3, 2), np.float32), "biases.0": np.zeros(3, np.float32)}


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        (TENSORS, None, "not one written by fastbackprop"),
        (TENSORS, header(format="other"), "not one written by fastbackprop"),
        (TENSORS, header(format_version="99"), "of format version 99; this fastbackprop reads version 1"),
        (TENSORS, header(sizes="[2"), "the metadata entry 'sizes' is missing or not JSON"),
        (TENSORS, header(sizes="[2, -3]"), r"sizes\[1\] must be an integer of at least 1, got -3"),
        (TENSORS, header(sizes="[2, 4]"), r"weights.0 must be F32 \(4, 2\)"),
        (TENSORS, header(dtype='"float64"'), r"weights.0 must be F64"),
        (TENSORS, header(output='"linear"'), "output must be one of"),
        ({"weights.0": TENSORS["weights.0"]}, header(), "'biases.0' is missing"),
    ],
)
def test_wrong_contents_are_refused(path, tensors, metadata, message):
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=message):
        fb.load(path)


def test_a_missing_file_is_the_usual_error(path):
    with pytest.raises(FileNotFoundError):
        fb.load(path)


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    old = fb.Network((2, 3), seed=0)
    old.save(path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device.*net.safetensors"):
        fb.Network((2, 3), seed=1).save(path)
    monkeypatch.undo()
    assert np.array_equal(fb.load(path).params, old.params)
    assert os.listdir(path.parent) == [path.name]
