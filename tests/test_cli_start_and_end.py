"""How a command begins and how it ends: nothing heavy before it is needed, and nothing left behind by what failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import plotting
from tests.commands import call, one_line, run
from tests.processes import ROOT, python

HEAVY = "{'numpy', 'numba', 'llvmlite', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'tqdm'}"


def test_help_and_errors_of_usage_import_nothing_heavy():
    code = f"""
import sys
import time
from fastbackprop import cli
from fastbackprop.cli import commands
asked = [["--help"], ["--version"], [], ["trian"], ["train"], ["train", "x", "--epochs", "0"],
         ["train", "--hidden", "1,"], ["train", "iris", "--what"], ["predict", "nothing", "nothing"],
         ["info", "nothing"], ["verify", "--sizes", "3"], ["export", "nothing", "x.onnx"],
         ["train", "iris", "--balanced", "--task", "regression"], ["train", "iris", "--drop", "a", "--numeric", "a"],
         *([command, "--help"] for command in commands.cli.commands)]
sys.stderr = sys.stdout = open({os.devnull!r}, "w")
for arguments in asked:
    try:
        cli.main(arguments)
    except SystemExit as end:
        assert end.code in (0, 2), arguments
sys.stdout = sys.__stdout__
print(len(asked), sorted(set(sys.modules) & {HEAVY}))
"""
    assert python(code) == "21 []"


def test_a_name_that_does_not_exist_is_said_without_what_trains():
    code = f"""
import sys
import time
from fastbackprop import cli
try:
    cli.main(["train", "irsi"])
except SystemExit as end:
    assert end.code == 2
print(sorted(set(sys.modules) & ({HEAVY} - {{'numpy'}})))
"""
    assert python(code) == "[]"


def test_the_package_gives_its_names_when_they_are_asked_for():
    code = """
import sys
import fastbackprop as fb
first = "numpy" in sys.modules
from fastbackprop import *
names = {name: globals()[name] for name in fb.__all__}
print(first, set(fb.__all__) <= set(dir(fb)), Network is fb.Network, fb.optimizers.Adam is Adam, load.__module__,
      fb.plotting.__name__, hasattr(fb, "nothing"))
"""
    assert python(code) == "False True True True fastbackprop.persistence fastbackprop.plotting False"
    with pytest.raises(AttributeError, match="module 'fastbackprop' has no attribute 'Netwrk'"):
        fb.Netwrk  # noqa: B018


# ---------------------------------------------------------------------- what fails leaves all as it was


def tree(directory):
    return {str(path): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    rng = np.random.default_rng(0)
    pd.DataFrame({"a": rng.normal(size=40), "b": rng.choice(["u", "v"], 40)}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--target", "c"],
        ["--target", "b", "--task", "regression"],
        ["--target", "a", "--balanced"],
        ["--target", "b", "--drop", "a"],
        ["--target", "b", "--test-size", "0.999"],
        ["--target", "b", "--checkpoint", "new/k", "--numeric", "q"],
        ["--target", "a", "--optimizer", "sgd", "--learning-rate", "1e30", "--activation", "identity"],
    ],
)
def test_a_training_that_fails_leaves_no_directory(arguments, table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    code, _, err = call(capsys, "train", table, *arguments, "-o", "new")
    assert code == (1 if "1e30" in arguments else 2)
    assert len([line for line in err.splitlines() if not line.startswith("compiling the engine")]) == 1
    assert tree(tmp_path) == before
    (tmp_path / "new").mkdir()  # what was there stays there
    assert call(capsys, "train", table, *arguments, "-o", "new")[0] == code
    assert tree(tmp_path) == {**before, str(tmp_path / "new"): None}


def test_predictions_that_fail_leave_what_was_there(table, tmp_path, capsys):
    call(capsys, "train", table, "--target", "b", "--epochs", 1, "-o", tmp_path)
    (tmp_path / "bad.csv").write_text("z\n1\n")
    (tmp_path / "old.csv").write_text("kept")
    before = tree(tmp_path)
    model = tmp_path / "table.safetensors"
    for out in ("old.csv", "new.csv"):
        assert "lacks the column 'a'" in one_line(capsys, "predict", model, tmp_path / "bad.csv", "-o", tmp_path / out)
    assert tree(tmp_path) == before


def test_only_the_directory_that_is_named_is_made(table, tmp_path, capsys, monkeypatch):
    """What a file is to stand in is perhaps a slip of the pen: no command makes it, and the error names it."""
    monkeypatch.chdir(tmp_path)
    learn = ["train", table, "--target", "b", "--epochs", 1]
    before = tree(tmp_path)
    for arguments, words in (
        ([*learn, "-o", "runs/first"], "--out: 'runs/first' cannot be written: there is no directory 'runs'"),
        ([*learn, "--checkpoint", "kept/k"], "--checkpoint: 'kept/k' cannot be written: there is no directory 'kept'"),
    ):
        assert words in one_line(capsys, *arguments)
    assert tree(tmp_path) == before
    assert call(capsys, *learn, "-o", "runs")[0] == 0
    model = "runs/table.safetensors"
    err = one_line(capsys, "predict", model, table, "-o", "guesses/for/o.csv")
    assert "--out: 'guesses/for/o.csv' cannot be written: there is no directory 'guesses/for'" in err
    assert sorted(os.listdir(tmp_path)) == ["runs", "table.csv"]


@pytest.mark.parametrize(
    "out", ["file.txt/below", "n" * 300, "occupied", "loop", pytest.param("/proc/new", marks=pytest.mark.skipif(
        sys.platform != "linux", reason="has /proc"))],
)  # fmt: skip
def test_where_nothing_can_be_written_is_said_before_anything_is_read(out, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file.txt").write_text("")
    Path("occupied/iris.png").mkdir(parents=True)
    os.symlink("loop", "loop")
    before = tree(tmp_path)
    for arguments in (["-o", out], ["--checkpoint", f"{out}/k"] if out != "occupied" else ["--checkpoint", out]):
        code, said, err = call(capsys, "train", "iris", *arguments)
        assert (code, said) == (2, "")
        assert err.count("\n") == 1
        assert arguments[0] in err
    assert tree(tmp_path) == before


def drop_rights():
    """Also root then meets the rights of files; for others there is nothing to drop."""
    import ctypes

    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, from the set that a new program can have
        ctypes.CDLL(None).prctl(24, right, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs capabilities")
def test_rights_that_are_lacking_are_one_line(table, tmp_path, capsys):
    call(capsys, "train", table, "--target", "b", "--epochs", 1, "-o", tmp_path)
    model, old, locked = tmp_path / "table.safetensors", tmp_path / "old.csv", tmp_path / "locked"
    old.write_text("kept")
    old.chmod(0o444)
    secret = tmp_path / "secret.csv"
    secret.write_bytes(table.read_bytes())
    secret.chmod(0)
    locked.mkdir(mode=0o555)
    for arguments, words in (
        (["predict", model, secret], "'DATA'"),
        (["info", secret], "'MODEL'"),
        (["predict", model, table, "-o", old], "it is read-only"),
        (["train", table, "--target", "b", "-o", locked / "new"], "Permission denied"),
    ):
        code, out, err = run(*arguments, preexec_fn=drop_rights)
        assert (code, out) == (2, b"")
        assert err.count(b"\n") == 1
        assert words.encode() in err
    assert old.read_text() == "kept"
    assert list(locked.iterdir()) == []


# ---------------------------------------------------------------------- Ctrl-C

INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
from fastbackprop.cli import main
main(sys.argv[2:])
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("module", ["click", "fastbackprop.cli.commands", "fastbackprop.cli.verify", "numpy", "pandas"])
def test_ctrl_c_while_something_is_imported_ends_quietly(module, table, tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, module, "train", str(table), "--target", "b", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 130
    assert (done.stdout, done.stderr) in (("", ""), ("", "fastbackprop: interrupted; nothing was written\n"))
    assert os.listdir(tmp_path) == ["table.csv"]


def test_python_minus_m():
    for name in ("fastbackprop", "fastbackprop.cli"):
        done = subprocess.run([sys.executable, "-m", name, "--version"], capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stdout) == (0, f"fastbackprop {fb.__version__}\n")


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "place",
    ["fastbackprop.tables.read", "fastbackprop.tables.Table.fit", "fastbackprop.network.Network.__init__",
     "fastbackprop.cli.train._prepare"],
)  # fmt: skip
def test_ctrl_c_before_the_training_is_one_line_and_leaves_nothing(place, table, tmp_path, capsys, monkeypatch):
    before = tree(tmp_path)
    monkeypatch.setattr(place, interrupt)
    code, _, err = call(capsys, "train", table, "--target", "b", "-o", tmp_path / "new")
    assert (code, err) == (130, "fastbackprop: interrupted; nothing was written\n")
    assert tree(tmp_path) == before


def test_ctrl_c_after_the_training_keeps_the_network(table, tmp_path, capsys, monkeypatch):
    arguments = ["train", table, "--target", "b", "--epochs", 2, "-o", tmp_path / "new"]
    monkeypatch.setattr("sklearn.metrics.accuracy_score", interrupt)  # before the model is saved
    code, _, err = call(capsys, *arguments)
    unfinished = tmp_path / "new" / "table-interrupted.safetensors"
    assert (code, err) == (
        130,
        f"fastbackprop: interrupted; the network after its last finished step is in {unfinished}\n",
    )
    assert "2 epochs" in call(capsys, "info", unfinished)[1]
    monkeypatch.undo()
    monkeypatch.setattr(plotting, "table_summary", interrupt)
    code, _, err = call(capsys, *arguments)
    model = tmp_path / "new" / "table.safetensors"
    assert (code, err) == (130, f"fastbackprop: interrupted; the model is in {model}, the picture is not drawn\n")
    assert fb.load(model).params.tobytes() == fb.load(unfinished).params.tobytes()


def test_ctrl_c_after_predictions_were_written_says_so(table, tmp_path, capsys, monkeypatch):
    call(capsys, "train", table, "--target", "b", "--epochs", 1, "-o", tmp_path)
    monkeypatch.setattr("sklearn.metrics.accuracy_score", interrupt)
    out = tmp_path / "out.csv"
    code, _, err = call(capsys, "predict", tmp_path / "table.safetensors", table, "-o", out)
    assert (code, err) == (130, f"fastbackprop: interrupted; the predictions are in {out}\n")
    assert len(pd.read_csv(out)) == 40


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_in_the_training_says_how_to_go_on(tmp_path, capsys):
    """One line on standard error, the network and the checkpoint both of use."""
    kept = tmp_path / "kept"
    command = ["train", "iris", "--epochs", "100000", "--checkpoint", str(kept), "-o", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastbackprop.cli", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    while not kept.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    words = (
        rf"fastbackprop: interrupted; the network after its last finished step is in {tmp_path}/iris-interrupted\.saf"
    )
    found = re.fullmatch(rf"{words}etensors; --resume {kept} goes on after epoch (\d+)\n", err)
    assert found, err
    assert fb.load(tmp_path / "iris-interrupted.safetensors").sizes == (4, 100, 3)
    assert not (tmp_path / "iris.safetensors").exists()
    last = int(found[1]) + 2
    code, out, _ = call(capsys, *command[:3], last, "--resume", kept, "-o", tmp_path)
    assert code == 0
    assert re.search(rf"epoch {last}/{last} ", out)
