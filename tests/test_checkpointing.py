"""Checkpoints: a training that is stopped, however, and gone on with ends with the bits of one that never was."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import persistence, schedules

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
        ({"seed": 5}, "was made with another seed"),
        ({"class_weight": {0: 2.0}}, "was made with other sample or class weights"),
        ({"validation_data": (np.ones((4, 5)), [0, 1, 2, 0])}, "was made with other validation samples"),
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


HELD_OUT = {"validation_fraction": 0.3, "early_stopping": fb.EarlyStopping(patience=3), "optimizer": fb.Adam(0.02)}
ENDED = {
    "early stopping": HELD_OUT,
    "the last parameters": HELD_OUT | {"early_stopping": fb.EarlyStopping(patience=3, restore_best=False)},
    "a schedule": {"optimizer": fb.SGD(schedules.Adaptive(1e-6, tol=1.0, patience=2))},
    "a schedule after another": {"optimizer": fb.SGD(schedules.WarmUp(1, schedules.Adaptive(0.0, patience=3)))},
    "a callback": {"callbacks": [lambda record: record["epoch"] == 4]},
}


@pytest.mark.parametrize("case", ENDED)
@pytest.mark.parametrize("every", [1, 5, 100])
def test_a_training_that_had_ended_trains_no_further(tmp_path, case, every):
    """With the parameters, and the word, that it ended with, whichever epochs have files."""
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((150, 5)), rng.integers(0, 3, 150)  # nothing to learn
    path, again = tmp_path / "c.safetensors", tmp_path / "again.safetensors"
    net = fb.Network((5, 20, 3), seed=0)
    first = net.fit(X, y, epochs=200, seed=1, checkpoint=path, checkpoint_every=every, **ENDED[case])
    assert 0 < len(first.cost) < 200
    assert first.stopped
    options = ENDED[case] | {"callbacks": [lambda _: pytest.fail("an epoch was trained")]}
    for source in (path, again):  # and once more, from what the resumed one wrote
        other = fb.Network((5, 20, 3), seed=7)
        second = other.fit(X, y, epochs=300, resume=source, checkpoint=again, **options)
        assert recorded(second) == recorded(first)
        assert other.params.tobytes() == net.params.tobytes()


def test_the_seed_belongs_to_a_checkpoint(blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "c.safetensors"
    undisturbed = fb.Network((5, 12, 3), seed=0)
    undisturbed.fit(X, y, epochs=4, seed=3)
    fb.Network((5, 12, 3), seed=0).fit(X, y, epochs=2, seed=3, checkpoint=path)
    for seed in (None, 3, np.random.default_rng(3)):
        net = fb.Network((5, 12, 3), seed=0)
        net.fit(X, y, epochs=4, seed=seed, resume=path)
        assert np.array_equal(net.params, undisturbed.params)
    for seed in (0, 4, np.random.default_rng(4), np.random.RandomState(3)):
        with pytest.raises(ValueError, match="was made with another seed"):
            net.fit(X, y, epochs=4, seed=seed, resume=path)
    assert np.array_equal(net.params, undisturbed.params)


@pytest.mark.parametrize(
    ("made", "other", "message"),
    [
        ({"early_stopping": 5}, {"early_stopping": 6}, r"early_stopping = .*patience=5.*, got .*patience=6"),
        ({"validation_split": "last"}, {"validation_split": "random"}, "other validation samples"),
        ({"validation_groups": np.arange(300) % 9}, {"validation_groups": np.arange(300) % 8}, "other validation samp"),
        (
            {"sample_weight": np.arange(300.0)},
            {"sample_weight": np.arange(300.0)[::-1]},
            "other sample or class weights",
        ),
        ({"class_weight": {1: 2.0}}, {"class_weight": {1: 3.0}}, "other sample or class weights"),
    ],
)
def test_a_checkpoint_belongs_to_its_settings(blobs, tmp_path, made, other, message):
    X, y = blobs
    path = tmp_path / "c.safetensors"
    common = {"validation_fraction": 0.2, "seed": 1, "epochs": 1}
    fb.Network((5, 12, 3), seed=0).fit(X, y, checkpoint=path, **common, **made)
    net = fb.Network((5, 12, 3), seed=1)
    before = net.params.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, resume=path, **common, **other)
    assert np.array_equal(net.params, before)
    net.fit(X, y, resume=path, **common, **made)


def spoiled(text, part, **values):
    record = json.loads(text)
    record[part] = record[part] | values
    return json.dumps(record)


SPOILED = {
    "steps of another training": lambda t, v: (spoiled(spoiled(t, "state", steps=29), "history", steps=29), v),
    "half of a step": lambda t, v: (spoiled(t, "state", steps=29), v),
    "a bool": lambda t, v: (spoiled(t, "state", epoch=True), v),
    "a float": lambda t, v: (spoiled(t, "state", key=3.0), v),
    "beyond 64 bits": lambda t, v: (spoiled(t, "state", key=1 << 64), v),
    "a stranger's name": lambda t, v: (spoiled(t, "state", dtype="float32"), v),
    "a schedule that was not": lambda t, v: (spoiled(t, "state", schedule={"waited": 1}), v),
    "a divided rate": lambda t, v: (spoiled(t, "state", schedule={"best": 1.0, "waited": 0, "divisions": -9}), v),
    "not as many costs": lambda t, v: (spoiled(t, "history", cost=[1.0]), v),
    "an infinite cost": lambda t, v: (spoiled(t, "history", cost=[1.0, float("inf")]), v),
    "a text among costs": lambda t, v: (spoiled(t, "history", learning_rate=[0.1, "0.1"]), v),
    "a word for a terminal": lambda t, v: (spoiled(t, "history", stopped="\x1b[2J"), v),
    "a long word": lambda t, v: (spoiled(t, "history", stopped="a" * 10**5), v),
    "a best epoch to come": lambda t, v: (spoiled(t, "history", best_epoch=3), v),
    "time": lambda t, v: (spoiled(t, "history", seconds=float("nan")), v),
    "no settings": lambda t, v: (json.dumps({**json.loads(t), "settings": 0}), v),
    "a stopper that was not": lambda t, v: (spoiled(t, "stopper", best=float("nan")), v),
    "one that waited long": lambda t, v: (spoiled(t, "stopper", waited=3), v),
    "one more part": lambda t, v: (json.dumps({**json.loads(t), "more": 0}), v),
    "a list": lambda t, v: ("[1]", v),
    "deep": lambda t, v: ("[" * 10**5, v),
    "a number of 5000 digits": lambda t, v: ("1" * 5000, v),
    "a short moment": lambda t, v: (t, v | {"0": v["0"][:-1]}),
    "a wide moment": lambda t, v: (t, v | {"1": v["1"].astype(np.float64)}),
    "a square below 0": lambda t, v: (t, v | {"1": v["1"] - 1}),
    "no best": lambda t, v: (t, {name: vector for name, vector in v.items() if name != "best"}),
    "a third moment": lambda t, v: (t, v | {"2": v["0"]}),
    "names that leave one out": lambda t, v: (t, {"0": v["0"], "2": v["1"], "best": v["best"]}),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_checkpoint_is_one_error_and_changes_nothing(blobs, tmp_path, how):
    X, y = blobs
    path = tmp_path / "spoiled.safetensors"
    options = {"optimizer": "adam", "early_stopping": 9, "validation_fraction": 0.2, "seed": 3}
    made = fb.Network((5, 12, 3), seed=0)
    made.fit(X, y, epochs=2, checkpoint=path, **options)
    text, vectors = persistence.read_training(path)
    made.params[...] = fb.load(path).params
    persistence.save(made, path, training=SPOILED[how](text, vectors))
    net = fb.Network((5, 12, 3), seed=1)
    before = net.params.copy()
    with pytest.raises(ValueError, match=r"spoiled\.safetensors' is not a whole checkpoint") as error:
        net.fit(X, y, epochs=4, resume=path, **options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert np.array_equal(net.params, before)
    persistence.save(made, path, training=(text, vectors))
    net.fit(X, y, epochs=4, resume=path, **options)  # as it was, it is whole


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
    return digest(path, epochs)


def digest(path, epochs):
    """That of the parameters, where the training comes to its end."""
    printed = io.StringIO()
    with mock.patch.object(sys, "argv", ["-c", str(path), str(epochs)]), contextlib.redirect_stdout(printed):
        exec(TRAIN, {})
    return printed.getvalue().splitlines()[-1]


@pytest.mark.skipif(os.name != "posix", reason="kills processes with SIGKILL")
@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing(tmp_path, kills):
    epochs = 200 * kills
    undisturbed = digest(tmp_path / "undisturbed.safetensors", epochs)
    assert kill_and_resume(tmp_path, kills, epochs) == undisturbed
