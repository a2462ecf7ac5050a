"""Checkpoints: a training that is stopped, however, and gone on with ends with the bits of one that never was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import schedules

ROOT = Path(__file__).parent.parent
CASES = {
    "sgd": {"optimizer": fb.SGD(0.1)},
    "nesterov": {"optimizer": fb.SGD(0.05, momentum=0.9, nesterov=True, clip_norm=0.5)},
    "adam": {"optimizer": fb.Adam(0.01), "dropout": 0.3, "l2": 0.01},
    "rmsprop": {"optimizer": fb.RMSprop(0.003, momentum=0.5), "batch_size": 33},
    "adagrad": {"optimizer": fb.Adagrad(schedules.Cosine(0.1, epochs=8), lr_decay=0.01)},
    "adaptive": {"optimizer": fb.SGD(schedules.Adaptive(0.1, tol=0.05, patience=1))},
    "function": {"optimizer": fb.AdamW(lambda epoch: 0.01 / (epoch + 1))},
    "stopping": {
        "optimizer": fb.Adam(0.05),
        "early_stopping": fb.EarlyStopping(patience=3),
        "validation_fraction": 0.2,
    },
}


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    return ((3 * rng.standard_normal((3, 5)))[y] + 2 * rng.standard_normal((300, 5))).astype(np.float32), y


def recorded(history):
    return {name: value for name, value in vars(history).items() if name != "seconds"}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resuming_gives_the_bits_of_never_having_stopped(blobs, tmp_path, case, dtype):
    X, y = blobs
    path, again = tmp_path / "training.safetensors", tmp_path / "again.safetensors"
    undisturbed = fb.Network((5, 12, 3), seed=0, dtype=dtype)
    expected = undisturbed.fit(X, y, epochs=8, seed=3, **CASES[case])
    for stop in (1, 3):
        first = fb.Network((5, 12, 3), seed=0, dtype=dtype)
        first.fit(X, y, epochs=stop, seed=3, checkpoint=path, **CASES[case])
        second = fb.Network((5, 12, 3), seed=9, dtype=dtype)
        history = second.fit(X, y, epochs=8, resume=path, checkpoint=again, **CASES[case])
        assert second.params.tobytes() == undisturbed.params.tobytes()
        assert recorded(history) == recorded(expected)


def test_a_checkpoint_is_a_network_too(blobs, tmp_path):
    X, y = blobs
    net = fb.Network((5, 12, 3), "tanh", seed=0)
    net.fit(X, y, epochs=2, optimizer="adam", checkpoint=tmp_path / "c.safetensors")
    assert fb.load(tmp_path / "c.safetensors").forward(X).tobytes() == net.forward(X).tobytes()
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_every_few_epochs_and_the_last(blobs, tmp_path):
    X, y = blobs
    path, seen = tmp_path / "c.safetensors", []
    fb.Network((5, 12, 3), seed=0).fit(
        X, y, epochs=5, checkpoint=path, checkpoint_every=2, seed=0,
        callbacks=[lambda record: seen.append(path.stat().st_mtime_ns if path.exists() else 0)],
    )  # fmt: skip
    assert seen[0] == seen[1] == 0  # callbacks come before the file of their epoch
    assert seen[2] == seen[3] > 0
    assert path.stat().st_mtime_ns > seen[4] > seen[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 16}, "was made with batch_size = 32, got 16"),
        ({"optimizer": fb.Adam(0.02)}, r"was made with optimizer = 'Adam\(learning_rate=0.01"),
        ({"l2": 0.1}, "was made with l2 = 0.0, got 0.1"),
        ({"dropout": 0.1}, "was made with dropout = None"),
        ({"shuffle": False}, "was made with shuffle = True, got False"),
        ({"validation_fraction": 0.5}, "was made with validation_fraction = 0.0, got 0.5"),
        ({"early_stopping": fb.EarlyStopping(monitor="cost")}, "was made without early_stopping"),
    ],
)
def test_other_settings_are_refused(blobs, tmp_path, options, message):
    X, y = blobs
    path = tmp_path / "c.safetensors"
    fb.Network((5, 12, 3), seed=0).fit(X, y, epochs=1, optimizer=fb.Adam(0.01), checkpoint=path)
    net = fb.Network((5, 12, 3), seed=1)
    before = net.params.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, resume=path, **({"optimizer": fb.Adam(0.01)} | options))
    with pytest.raises(ValueError, match=r"resume: .* holds a network with sizes = \(5, 12, 3\), not \(5, 3\)"):
        fb.Network((5, 3), seed=0).fit(X, y, resume=path)
    with pytest.raises(ValueError, match="was made with samples = 300, got 200"):
        net.fit(X[:200], y[:200], resume=path, optimizer=fb.Adam(0.01))
    assert np.array_equal(net.params, before)


def test_files_that_are_no_checkpoints(blobs, tmp_path):
    X, y = blobs
    net = fb.Network((5, 12, 3), seed=0)
    with pytest.raises(FileNotFoundError):
        net.fit(X, y, resume=tmp_path / "none")
    net.save(tmp_path / "net")
    with pytest.raises(ValueError, match="a network, but not a checkpoint of its training"):
        net.fit(X, y, resume=tmp_path / "net")
    net.fit(X, y, epochs=1, optimizer="adam", checkpoint=tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for cut in (10, len(data) // 2, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(ValueError, match=r"cannot load a network from .*cut"):
            net.fit(X, y, resume=tmp_path / "cut", optimizer="adam")
    (tmp_path / "other").write_bytes(data.replace(b'\\"steps\\"', b'\\"stops\\"'))
    with pytest.raises(ValueError, match="is not a whole checkpoint"):
        net.fit(X, y, resume=tmp_path / "other", optimizer="adam")


def test_other_samples_are_noticed(tmp_path, blobs):
    """Going on with other data would be another training, and one with another split would score on its own samples."""
    X, y = blobs
    path = tmp_path / "c.safetensors"
    fb.Network((5, 8, 3), seed=0).fit(X, y, epochs=1, checkpoint=path)
    for other in ((X[::-1], y[::-1]), (X, np.roll(y, 1)), (X + 1, y)):
        net = fb.Network((5, 8, 3), seed=0)
        before = net.params.copy()
        with pytest.raises(ValueError, match=r"resume: .*c\.safetensors' was made with other samples"):
            net.fit(*other, epochs=2, resume=path)
        assert np.array_equal(net.params, before)
    net.fit(X.astype(np.float32), y.astype(np.uint8), epochs=2, resume=path)


TRAIN = """
import hashlib, sys
from pathlib import Path
import numpy as np
import fastbackprop as fb
rng = np.random.default_rng(0)
X, y = rng.standard_normal((2000, 20)).astype("f4"), rng.integers(0, 3, 2000)
path, epochs = Path(sys.argv[1]), int(sys.argv[2])
net = fb.Network((20, 50, 3), seed=0)
resume = path if path.exists() else None
net.fit(X, y, epochs=epochs, optimizer=fb.Adam(0.003), dropout=0.2, seed=1, validation_fraction=0.1,
        early_stopping=fb.EarlyStopping(patience=1000), checkpoint=path, resume=resume,
        callbacks=[lambda record: print(record["epoch"], flush=True)])
print(hashlib.sha256(net.params.tobytes()).hexdigest(), flush=True)
"""


def kill_and_resume(directory, kills, epochs):
    """Kill the training `kills` times at random moments, each time going on; returns the digest at the end."""
    rng = np.random.default_rng(kills)
    path = directory / "killed.safetensors"
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(path), str(10**6)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        while not (process.stdout.readline() and path.exists()):  # an epoch is done, and the first one is in the file
            assert process.poll() is None
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.communicate()
        done = fb.load(path)  # whole, whenever it was
        assert np.isfinite(done.params).all()
    out = subprocess.run(
        [sys.executable, "-c", TRAIN, str(path), str(epochs)], cwd=ROOT, capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    return out.stdout.splitlines()[-1]


@pytest.mark.skipif(os.name != "posix", reason="kills processes with SIGKILL")
@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing(tmp_path, kills):
    epochs = 200 * kills
    out = subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path / "undisturbed.safetensors"), str(epochs)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert kill_and_resume(tmp_path, kills, epochs) == out.stdout.splitlines()[-1]
