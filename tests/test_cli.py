"""The command line, as it is called."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import cli, datasets, persistence


def call(capsys, *arguments):
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return end.value.code or 0, out, err


def test_train_digits(tmp_path, capsys):
    code, out, err = call(capsys, "train", "digits", "-o", tmp_path)
    assert code == 0
    assert "preparing the engine" in err
    epochs = re.findall(r"^epoch +(\d+)/40  cost (\S+)  held out: cost (\S+), accuracy (\S+)%$", out, re.MULTILINE)
    assert [int(e[0]) for e in epochs] == list(range(1, 41))
    assert float(epochs[-1][1]) < 0.1 * float(epochs[0][1])
    accuracy = float(re.search(r"test accuracy (\S+)% \((\d+) of 360\)", out)[1])
    assert accuracy >= 97.0
    assert "steps per second" in out
    # the model on disk is the one that was reported
    net = fb.load(tmp_path / "digits.safetensors")
    data = datasets.load("digits")
    split = datasets.split(data.X, data.y, seed=0, stratify=True)
    assert np.mean(net.forward(split.X_test).argmax(axis=1) == split.y_test) == pytest.approx(accuracy / 100, abs=1e-4)
    assert persistence.read_metadata(tmp_path / "digits.safetensors")["classes"] == "0,1,2,3,4,5,6,7,8,9"
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path / "digits.png") in out


def test_the_seed_decides(tmp_path, capsys):
    lines = []
    for seed in (3, 3, 4):
        options = ("--epochs", 2, "--seed", seed, "-o", tmp_path / str(len(lines)))
        lines.append(re.findall("^epoch.*", call(capsys, "train", "digits", *options)[1], re.MULTILINE))
    assert lines[0] == lines[1] != lines[2]


def test_options(tmp_path, capsys):
    options = "--hidden 40,20 --activation tanh --optimizer sgd --learning-rate 0.2 --momentum 0.5 --dtype float64"
    code, out, _ = call(capsys, "train", "digits", *options.split(), "--epochs", 1, "--threads", 1, "-o", tmp_path)
    assert code == 0
    assert "Network(64-40-20-10, hidden=tanh, output=softmax, dtype=float64" in out
    assert "SGD(learning_rate=0.2, momentum=0.5" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "digitz"], "'digitz' is not 'digits'"),
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument"),
        (["train", "digits", "--epochs", "0"], "'--epochs'"),
        (["train", "digits", "--epochs", "many"], "'many' is not a valid integer"),
        (["train", "digits", "--batch-size", "-3"], "'--batch-size'"),
        (["train", "digits", "--hidden", "12,x"], "such as 128,64; got '12,x'"),
        (["train", "digits", "--hidden", "0"], "such as 128,64; got '0'"),
        (["train", "digits", "--activation", "rellu"], "'rellu' is not one of"),
        (["train", "digits", "--learning-rate", "-1"], "'--learning-rate'"),
        (["train", "digits", "--learning-rate", "nan"], "learning"),
        (["train", "digits", "--test-size", "1"], "'--test-size'"),
        (["train", "digits", "--test-size", "0.0001"], "--test-size 0.0001"),
        (["train", "digits", "--momentum", "0.9"], "--momentum goes with --optimizer sgd only"),
        (["train", "digits", "--seed", "-1"], "'--seed'"),
        (["train", "digits", "--out", __file__], "'--out'"),
        (["train", "digits", "--what"], "No such option"),
    ],
)
def test_a_wrong_argument_is_one_line_and_code_2(capsys, arguments, words):
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not out


def test_help_names_every_option(capsys):
    code, out, _ = call(capsys, "train", "--help")
    assert code == 0
    names = [p.opts[-1] for p in cli.train.params if p.opts[0].startswith("-")]
    assert len(names) >= 12
    assert all(name in out for name in names)
    assert call(capsys, "--version")[1] == f"fastbackprop {fb.__version__}\n"


def test_divergence_is_one_line(tmp_path, capsys):
    options = ("--optimizer", "sgd", "--learning-rate", "1e30", "--activation", "identity", "-o", tmp_path)
    code, _, err = call(capsys, "train", "digits", *options)
    assert code == 1
    assert "the training diverged" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize(("module", "extra"), [("sklearn", "sklearn"), ("matplotlib", "plot"), ("safetensors", "io")])
def test_a_missing_extra_is_one_line_before_the_work(monkeypatch, tmp_path, capsys, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = call(capsys, "train", "digits", "-o", tmp_path)
    assert code == 2
    assert err == f"fastbackprop: {module} is not installed: pip install 'fastbackprop[{extra}]'\n"


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_keeps_the_network(tmp_path):
    command = [sys.executable, "-m", "fastbackprop.cli", "train", "digits", "--epochs", "100000", "-o", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("fastbackprop: interrupted; the network after its last finished step is in")
    assert fb.load(tmp_path / "digits-interrupted.safetensors").sizes == (64, 256, 10)
    assert not (tmp_path / "digits.safetensors").exists()


def test_a_network_beyond_memory_is_one_line(tmp_path, capsys):
    code, _, err = call(capsys, "train", "digits", "--hidden", "3000000,3000000", "-o", tmp_path)
    assert code == 1
    assert err.startswith("fastbackprop: not enough memory for this network")
    assert err.count("\n") == 1
