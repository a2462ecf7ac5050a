"""Checkpoints of the command line: written by time, of use to every command, and what is said of them."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import checkpointing, persistence
from fastbackprop.cli import train
from tests.commands import call, one_line


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=80), "kind": rng.choice(["u", "v"], 80)})
    frame.to_csv(tmp_path / "d.csv", index=False)
    return tmp_path / "d.csv"


def test_a_checkpoint_is_a_model(table, tmp_path, capsys):
    kept, learn = tmp_path / "k", ["train", table, "--target", "kind", "-o", tmp_path]
    assert call(capsys, *learn, "--epochs", 3, "--checkpoint", kept)[0] == 0
    model = tmp_path / "d.safetensors"
    code, expected, _ = call(capsys, "predict", model, table, "-o", "-")
    code, out, err = call(capsys, "predict", kept, table, "-o", "-")
    assert (code, out) == (0, expected)
    assert err.startswith(f"warning   {kept}: the network after epoch 3, in a checkpoint: `train --resume` goes on\n")
    out = call(capsys, "info", kept)[1]
    assert "classification of kind: u, v" in out
    assert "training  up to 3 epochs, batches of 32, Adam" in out
    assert "held out  not measured in a checkpoint" in out
    assert "stands    after epoch 3, in a checkpoint" in out
    assert "stands" not in call(capsys, "info", model)[1]
    assert call(capsys, *learn, "--epochs", 5, "--resume", kept)[0] == 0
    once = tmp_path / "once"
    assert call(capsys, *learn[:-1], once, "--epochs", 5)[0] == 0
    assert fb.load(model).params.tobytes() == fb.load(once / "d.safetensors").params.tobytes()


def test_checkpoints_without_columns_and_damaged_ones(table, tmp_path, capsys):
    net, kept = fb.Network((1, 3, 2), seed=0), tmp_path / "k"
    net.fit(np.zeros((4, 1)), [0, 1, 0, 1], epochs=2, checkpoint=kept)
    assert "stands    after epoch 2, in a checkpoint" in call(capsys, "info", kept)[1]
    assert "a network without the names of its columns" in one_line(capsys, "predict", kept, table)
    for record in ("[", "{}", '{"state": {"epoch": -1}}', "[" * 50_000):
        persistence.save(net, kept, training=(record, {}))
        assert "is not a whole checkpoint" in one_line(capsys, "info", kept)


def written_at(monkeypatch, **options):
    """The epochs after which a training of 6 writes."""
    epochs, save = [], checkpointing.save

    def saved(path, net, state, *parts, **more):
        epochs.append(state.epoch)
        save(path, net, state, *parts, **more)

    monkeypatch.setattr(checkpointing, "save", saved)
    X, y = np.random.default_rng(0).normal(size=(20, 2)), [0, 1] * 10
    fb.Network((2, 3, 2), seed=0).fit(X, y, epochs=6, **options)
    return epochs


@pytest.mark.parametrize(
    ("every", "epochs"),
    [
        (1, [1, 2, 3, 4, 5, 6]),
        (4, [4, 6]),
        (timedelta(days=1), [1, 6]),
        (timedelta(microseconds=1), [1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_number_of_epochs_or_a_time(every, epochs, tmp_path, monkeypatch):
    assert written_at(monkeypatch, checkpoint=tmp_path / "k", checkpoint_every=every) == epochs


def test_the_clock_decides(tmp_path, monkeypatch):
    clock = iter(np.arange(100) * 2.0)  # seconds; it is asked at each epoch, and after each file
    monkeypatch.setattr(checkpointing, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    every = {"checkpoint_every": timedelta(seconds=5)}
    assert written_at(monkeypatch, checkpoint=tmp_path / "k", **every) == [1, 4, 6]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"checkpoint_every": timedelta(0)}, "checkpoint_every must be a time above 0, got 0:00:00"),
        ({"checkpoint_every": 0}, "checkpoint_every must be"),
        ({"checkpoint": None, "checkpoint_every": timedelta(1)}, "checkpoint_every needs a checkpoint to write"),
        ({"checkpoint": None, "checkpoint_metadata": {}}, "checkpoint_metadata needs a checkpoint to write"),
        ({"checkpoint_metadata": {"a": 1}}, "checkpoint_metadata must map strings to strings, got 'a': 1"),
        ({"checkpoint_metadata": "a"}, "checkpoint_metadata must map strings to strings, got 'a'"),
    ],
)
def test_wrong_options(options, words, tmp_path):
    net = fb.Network((1, 2), seed=0)
    before = net.params.copy()
    with pytest.raises((TypeError, ValueError), match=words):
        net.fit(np.zeros((2, 1)), [0, 1], **{"checkpoint": tmp_path / "k"} | options)
    assert np.array_equal(net.params, before)
    assert not (tmp_path / "k").exists()


def test_metadata_are_kept(tmp_path):
    net = fb.Network((1, 2), seed=0)
    net.fit(np.zeros((2, 1)), [0, 1], epochs=1, checkpoint=tmp_path / "k", checkpoint_metadata={"classes": "u, v"})
    assert persistence.read_metadata(tmp_path / "k") == {"classes": "u, v"}


def test_the_command_line_writes_by_time_and_says_from_where_to_go_on(table, tmp_path, capsys, monkeypatch):
    kept, report = tmp_path / "k", train._Report.__call__

    def interrupt(self, record):
        report(self, record)
        if record["epoch"] == 40:
            raise KeyboardInterrupt

    learn = ["train", table, "--target", "kind", "--epochs", 60, "-o", tmp_path, "--checkpoint", kept]
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", timedelta(days=1))
    monkeypatch.setattr(train._Report, "__call__", interrupt)
    code, _, err = call(capsys, *learn)
    assert code == 130
    assert err.endswith(f"; --resume {kept} goes on after epoch 1\n")
    assert checkpointing.epoch_of(kept) == 1
    # one that another training had written says nothing
    monkeypatch.setattr(checkpointing, "save", lambda *_, **__: None)
    code, _, err = call(capsys, *learn)
    assert (code, "--resume" in err) == (130, False)
