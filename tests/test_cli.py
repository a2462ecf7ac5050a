"""The command line, as it is called."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score, root_mean_squared_error

import fastbackprop as fb
from fastbackprop import datasets, persistence, tables
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.cli import commands, options
from fastbackprop.engine.entry import Entry
from fastbackprop.heads import HEADS
from tests.commands import call, one_line


@pytest.fixture
def passengers():
    """Numbers, texts and Booleans, some missing, and columns of no use; survival and fare follow from them."""
    rng = np.random.default_rng(0)
    n = 300
    age = np.where(rng.random(n) < 0.2, np.nan, rng.integers(1, 80, n))
    sex, cabin = rng.choice(["male", "female"], n), rng.choice(np.array(["A", "B", None], object), n)
    return pd.DataFrame(
        {
            "passenger_id": rng.permutation(n) + 5, "name": [f"Person {i}, Mr" for i in range(n)], "age": age,
            "sex": sex, "cabin": cabin, "alone": rng.choice([True, False], n), "country": "UK", "empty": np.nan,
            "fare": 1e6 + 500.0 * (cabin == "A") + rng.normal(0, 20, n),
            "survived": np.where(sex == "female", "yes", "no"),
        }
    )  # fmt: skip


def test_train_digits(tmp_path, capsys):
    code, out, _ = call(capsys, "train", "digits", "-o", tmp_path)
    assert code == 0
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
    metadata = persistence.read_metadata(tmp_path / "digits.safetensors")
    assert tables.Table.from_json(metadata["table"]).classes == tuple("0123456789")
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path / "digits.png") in out


@pytest.mark.parametrize("compiles", [False, True])
def test_compiling_is_explained_and_nothing_else(compiles, tmp_path, capsys, monkeypatch):
    """What takes long on a new machine: nothing is said where all comes from the cache, however long that takes."""
    call(capsys, "train", "iris", "--epochs", 1, "-o", tmp_path)  # fills the cache
    fit = fb.Network.fit

    def fit_after_something_else(net, *arguments, **options):
        if compiles:
            Entry("nothing", "", lambda: lambda: 0, keep=False).call()
        else:
            time.sleep(0.1)
        return fit(net, *arguments, **options)

    monkeypatch.setattr(fb.Network, "fit", fit_after_something_else)
    code, _, err = call(capsys, "train", "iris", "--epochs", 1, "-o", tmp_path)
    assert code == 0
    assert re.fullmatch(r"compiling the engine .*\n" if compiles else "", err)


def test_the_seed_decides(tmp_path, capsys):
    lines = []
    for seed in (3, 3, 4):
        options = ("--epochs", 2, "--seed", seed, "-o", tmp_path / str(len(lines)))
        lines.append(re.findall("^epoch.*", call(capsys, "train", "iris", *options)[1], re.MULTILINE))
    assert lines[0] == lines[1] != lines[2]


def test_options(tmp_path, capsys):
    options = "--hidden 40,20 --activation tanh --optimizer sgd --learning-rate 0.2 --momentum 0.5 --dtype float64"
    code, out, _ = call(capsys, "train", "iris", *options.split(), "--epochs", 1, "--threads", 1, "-o", tmp_path)
    assert code == 0
    assert "Network(4-40-20-3, hidden=tanh, output=softmax, dtype=float64" in out
    assert "SGD(learning_rate=0.2, momentum=0.5" in out


def test_options_are_those_of_the_library(tmp_path, capsys):
    options = "--hidden 12,8 --activation tanh --optimizer rmsprop --learning-rate 0.003 --momentum 0.5 --epochs 3"
    more = "--l2 0.01 --dropout 0.2 --balanced --batch-size 16 --seed 5 --test-size 0.3 --dtype float64 --no-progress"
    frame = datasets.load_frame("wine")[0].iloc[30:]  # classes of different size
    frame.to_csv(tmp_path / "wine.csv", index=False)
    arguments = ("--target", "target", *options.split(), *more.split(), "-o", tmp_path)
    assert call(capsys, "train", tmp_path / "wine.csv", *arguments)[0] == 0
    rows = datasets.split(np.arange(len(frame)), frame.target, test_size=0.3, seed=5, stratify=True).X_train
    table = tables.Table.fit(frame, ["target"], rows=rows)
    net = fb.Network((13, 12, 8, 3), "tanh", dtype="float64", seed=5)
    rule = fb.RMSprop(0.003, momentum=0.5)
    net.fit(
        table.transform(frame)[rows], table.encode_targets(frame)[rows], epochs=3, batch_size=16, optimizer=rule,
        l2=0.01, dropout=0.2, class_weight="balanced", seed=5,
    )  # fmt: skip
    np.testing.assert_allclose(fb.load(tmp_path / "wine.safetensors").params, net.params, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "digitz"], "one of breast_cancer, diabetes, digits, iris, linnerud, wine; got 'digitz'; did you"),
        (["train", "digits.csv", "--target", "x"], "'digits.csv' does not exist"),
        (["train", "./digits", "--target", "x"], "'./digits' does not exist"),
        (["train", str(os.path.dirname(__file__)), "--target", "x"], "is a directory"),
        (["train", "iris", "--target", "x"], "--target goes with a file"),
        (["train", "iris", "--drop", "petal"], "lacks the column 'petal'"),
        (["train", "iris", "--drop", "target"], "--drop target: this is what is to be predicted"),
        (["train", "iris", "--numeric", "a", "--categorical", "a"], "both name a"),
        (["train", "iris", "--task", "regression"], "column 'target' must hold numbers, got 'setosa' in row 1"),
        (["train", "iris", "--task", "ranking"], "'ranking' is not one of"),
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
        (["train", "digits", "--learning-rate", "0.1", "--optimizer", "lbfgs"], "does not go with"),
        (["train", "digits", "--dropout", "1"], "'--dropout'"),
        (["train", "digits", "--l2", "-1"], "'--l2'"),
        (["train", "digits", "--early-stopping", "0"], "'--early-stopping'"),
        (["train", "digits", "--test-size", "1"], "'--test-size'"),
        (["train", "digits", "--test-size", "0.9999"], "0.9999 of 1797 samples leaves none to learn from"),
        (["train", "digits", "--momentum", "0.9"], "--momentum goes with --optimizer sgd and rmsprop only"),
        (["train", "digits", "--seed", "-1"], "'--seed'"),
        (["train", "iris", "--momentum", "0"], "--momentum goes with --optimizer sgd and rmsprop only"),
        (
            ["train", "iris", "--optimizer", "lbfgs", "--batch-size", "32"],
            "--batch-size does not go with",
        ),
        (["train", "iris", "--optimizer", "lbfgs", "--dropout", "0.1"], "--dropout does not go with --optimizer lbfgs"),
        (["train", "iris", "--optimizer", "lbfgs", "--checkpoint", "k"], "--checkpoint does not go with"),
        (["train", "diabetes", "--balanced"], "--balanced goes with classes, and target is one of numbers"),
        (
            ["train", "iris", "--balanced", "--task", "regression"],
            "--balanced goes with classes",
        ),
        (
            ["train", "x.csv", "--balanced", "--target", "a", "--target", "b"],
            "--balanced goes with classes",
        ),
        (
            ["train", "x.csv", "--task", "classification", "--target", "a", "--target", "b"],
            "one --target, got 2",
        ),
        (["train", "iris", "--categorical", "target"], "--categorical target: this is what is to be predicted; --task"),
        (
            ["train", "diabetes", "--numeric", "target"],
            "--numeric target: this is what is to be",
        ),
        (["train", "iris", "--drop", "a", "--numeric", "a"], "--drop and --numeric both name a"),
        (["train", "digits", "--drop", "pixel_0_0"], "--drop is for tables, and digits are images"),
        (["train", "digits", "--categorical", "pixel_0_0"], "--categorical is for tables, and digits are images"),
        (["train", "iris", "--l2", "nan"], "'--l2': 'nan' must be a finite number"),
        (["train", "iris", "--test-size", "nan"], "'--test-size': 'nan' must be a finite number"),
        (["train", "iris", "--learning-rate", "inf"], "'--learning-rate': 'inf' must be a finite number"),
        (["train", "iris", "--resume", __file__], "not a safetensors file"),
        (["train", "iris", "-o", "n" * 300], "cannot be written: File name too long"),
        (["train", "iris", "--checkpoint", f"{__file__}/k"], "--checkpoint: "),
        (["train", "digits", "--out", __file__], "'--out'"),
        (["train", "digits", "--out", "m.safetensors"], "--out is the directory for the model"),
        (["train", "digits", "--what"], "No such option"),
        (["predict", "nothing.safetensors", __file__], "'nothing.safetensors' does not exist"),
        (["predict", __file__, __file__], "not a safetensors file, or not a whole one"),
        (["predict", __file__, __file__, "-o", "x.xlsx"], "or .parquet, or be -, got 'x.xlsx'"),
        (["predict", __file__, __file__, "-o", "x.txt.gz"], "or .parquet, or be -, got 'x.txt.gz'"),
        (["predict", __file__, __file__, "-o", "guesses"], "or .parquet, or be -, got 'guesses'"),
        (["info", __file__], "not a safetensors file, or not a whole one"),
        (["info"], "Missing argument"),
    ],
)
def test_a_wrong_argument_is_one_line_and_code_2(capsys, arguments, words):
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not out


@pytest.mark.parametrize(("command", "least"), [("train", 24), ("predict", 2), ("info", 0)])
def test_help_names_every_option(capsys, command, least):
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    names = [p.opts[-1] for p in commands.cli.commands[command].params if p.opts[0].startswith("-")]
    assert len(names) >= least
    assert all(name in out for name in names)


def test_help_names_the_data_sets_and_the_optimizers(capsys):
    out = call(capsys, "train", "--help")[1]
    assert ", ".join(datasets.NAMES) in " ".join(out.split())
    assert set(options.OPTIMIZERS) == set(fb.optimizers.NAMES)
    assert set(options.ACTIVATIONS) == set(ACTIVATIONS)
    assert set(options.OUTPUTS) == set(HEADS)


def test_the_version(capsys):
    assert call(capsys, "--version")[1] == f"fastbackprop {fb.__version__}\n"


def test_divergence_is_one_line(tmp_path, capsys):
    options = ("--optimizer", "sgd", "--learning-rate", "1e30", "--activation", "identity", "-o", tmp_path)
    code, _, err = call(capsys, "train", "digits", *options)
    assert code == 1
    assert "the training diverged" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("module", "extra"),
    [("sklearn", "sklearn"), ("pandas", "cli"), ("matplotlib", "plot"), ("tqdm", "cli")],
)
def test_a_missing_extra_is_one_line_before_the_work(monkeypatch, tmp_path, capsys, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = call(capsys, "train", "digits", "-o", tmp_path)
    assert code == 2
    assert err == f"fastbackprop: {module} is not installed: pip install 'fastbackprop[{extra}]'\n"


def test_a_network_beyond_memory_is_one_line(tmp_path, capsys):
    code, _, err = call(capsys, "train", "digits", "--hidden", "3000000,3000000", "-o", tmp_path)
    assert code == 1
    assert err.startswith("fastbackprop: not enough memory for this network")
    assert err.count("\n") == 1


LOWEST = {"iris": 0.8, "wine": 0.9, "breast_cancer": 0.9, "diabetes": 0.2, "linnerud": -5.0}


@pytest.mark.parametrize("name", sorted(LOWEST))
def test_every_bundled_set(name, tmp_path, capsys):
    code, out, _ = call(capsys, "train", name, "-o", tmp_path)
    assert code == 0
    kind, value = re.search(r"^test (accuracy|R²) (-?[\d.]+)", out, re.MULTILINE).groups()
    assert float(value) / (100 if kind == "accuracy" else 1) >= LOWEST[name]
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    # the same table, through a file, and predictions for it
    frame, targets = datasets.load_frame(name)
    frame.to_csv(tmp_path / "data.csv", index=False)
    model, guess = tmp_path / f"{name}.safetensors", tmp_path / "guess.csv"
    assert call(capsys, "predict", model, tmp_path / "data.csv", "-o", guess)[0] == 0
    guesses = pd.read_csv(guess)
    assert list(guesses.columns[: len(targets)]) == targets
    assert len(guesses) == len(frame)


def test_a_table_of_classes(passengers, tmp_path, capsys):
    data, model, guess = tmp_path / "boat.csv", tmp_path / "boat.safetensors", tmp_path / "guess.csv"
    passengers.assign(survived=passengers.survived.where(passengers.index > 4)).to_csv(data, index=False)
    code, out, _ = call(capsys, "train", data, "--target", "survived", "--drop", "fare", "--epochs", 30, "-o", tmp_path)
    assert code == 0
    assert "5 of 300 rows without a target are left out" in out
    assert "boat.csv: 236 samples to learn from, 59 held out" in out
    assert "classification of survived: no, yes" in out
    assert "name: has a text of its own in nearly every row" in out
    assert "passenger_id: numbers the rows" in out
    assert f"model    {model}" in out
    assert f"picture  {tmp_path / 'boat.png'}" in out
    assert float(re.search("test accuracy (.*?)%", out)[1]) > 95

    shuffled = passengers.sample(frac=1, random_state=1)[passengers.columns[::-1]].assign(more=1)
    shuffled.to_csv(tmp_path / "new.csv", index=False)
    code, out, _ = call(capsys, "predict", model, tmp_path / "new.csv", "-o", guess)
    assert code == 0
    guesses = pd.read_csv(guess)
    assert list(guesses.columns) == ["survived", "probability_no", "probability_yes"]
    np.testing.assert_allclose(guesses.probability_no + guesses.probability_yes, 1, rtol=1e-5)
    assert ((guesses.probability_yes > 0.5) == (guesses.survived == "yes")).all()
    accuracy = accuracy_score(shuffled.survived, guesses.survived)
    assert accuracy > 0.95
    assert f"accuracy {accuracy:.2%}" in out
    # row for row what the library says
    table = tables.Table.from_json(persistence.read_metadata(model)["table"])
    o = fb.load(model).forward(table.transform(shuffled).astype(np.float32))
    np.testing.assert_allclose(guesses.iloc[:, 1:], o, rtol=1e-5)

    code, out, _ = call(capsys, "info", model)
    assert code == 0
    for words in ("8-100-2", "float32", "survived: no, yes", "sex: category, female, male", "cabin: category, A, B, mi",
                  "30 epochs", "Adam", "seed 0", "236 samples", "accuracy", str(model)):  # fmt: skip
        assert words in out
    labels = [line[:10].strip() for line in out.splitlines()]
    first = labels.index("columns")
    assert labels[first : first + 8] == ["columns", "", "", "", "", "left out", "left out", "left out"]


def test_a_table_of_values_and_parquet(passengers, tmp_path, capsys):
    data, model, guess = tmp_path / "boat.parquet", tmp_path / "boat.safetensors", tmp_path / "guess.parquet"
    passengers.to_parquet(data)
    code, out, _ = call(capsys, "train", data, "--target", "fare", "-o", tmp_path)
    assert code == 0
    assert "regression of fare" in out
    code, out, _ = call(capsys, "predict", model, data, "-o", guess)
    guesses = pd.read_parquet(guess)
    assert list(guesses.columns) == ["fare"]
    score = r2_score(passengers.fare, guesses.fare)
    assert score > 0.9
    assert f"R² {score:.4f}" in out
    # the same rows as CSV give the same predictions
    passengers.to_csv(tmp_path / "boat.csv", index=False)
    call(capsys, "predict", model, tmp_path / "boat.csv", "-o", tmp_path / "guess.csv")
    np.testing.assert_allclose(pd.read_csv(tmp_path / "guess.csv").fare, guesses.fare, rtol=1e-12)


def test_what_was_perhaps_not_meant_is_said(passengers, tmp_path, capsys):
    odd = passengers.astype({"age": object, "fare": object})
    odd.loc[3, "age"], odd.loc[7, "fare"] = "old", "free"
    odd["survived"] = odd.survived.where(odd.index > 0)  # a row that is left out is counted all the same
    odd.assign(fine=[*"ab"] * 150).to_csv(tmp_path / "odd.csv", index=False)
    options = ("--target", "survived", "--epochs", 1, "-o", tmp_path)
    _, out, err = call(capsys, "train", tmp_path / "odd.csv", *options)
    assert "warning" not in out
    numbers = passengers.age.drop([0, 3]).notna().sum()
    assert re.findall("^warning .*", err, re.MULTILINE) == [
        f"warning   age: read as texts, but {numbers} of {numbers + 1} values are numbers, not 'old' in row 4",
        "warning   fare: read as texts, but 298 of 299 values are numbers, not 'free' in row 8",
    ]
    err = call(capsys, "train", tmp_path / "odd.csv", *options, "--categorical", "age", "--categorical", "fare")[2]
    assert "warning" not in err


def test_guesses_are_said_and_overruled(tmp_path, capsys):
    rng = np.random.default_rng(0)
    size = rng.choice(["1.204,5", "87,25", "12"], 60)
    kind = np.where(size == "12", "None", "etwas größer")
    part, when = rng.choice(["007", "012"], 60), pd.date_range("2024-01-01", periods=60).strftime("%d.%m.%Y")
    rest = rng.choice(["-", "1", "2"], 60)
    frame = pd.DataFrame({"size": size, "width": size, "part": part, "when": when, "rest": rest, "kind": kind})
    path = tmp_path / "parts.csv"
    frame.to_csv(path, index=False, sep=";", encoding="latin-1")
    options = ("--target", "kind", "--epochs", 1, "-o", tmp_path)
    code, out, err = call(capsys, "train", path, *options)
    assert code == 0
    assert "columns   5: 3 of numbers, 1 of categories, 1 of dates; 10 inputs" in out  # year and week are two each
    assert re.findall("^warning .*", err, re.MULTILINE) == [
        "warning   the file is not UTF-8: it is read as cp1252, where 'größer' stands; --encoding overrules this",
        "warning   size, width: read so that 1.234,5 means 1234.5; --decimal and --thousands overrule this",
        f"warning   part: '{part[0]}' looks like a code, so it is no column of numbers; --numeric overrules this",
        "warning   when: read as dates such as 31.01.2024; --date-format and --categorical overrule this",
        "warning   rest: '-' is read as missing; --missing overrules this",
        "warning   kind: 'None' is a class like others, not missing; --missing overrules this",
    ]
    said = ("--encoding", "latin-1", "--decimal", ",", "--thousands", ".", "--numeric", "part", "--drop", "when")
    _, out, err = call(capsys, "train", path, *options, *said, "--missing", "", "--categorical", "rest")
    assert "warning" not in err
    assert "columns   4: 3 of numbers, 1 of categories" in out
    model = tmp_path / "parts.safetensors"
    frame[["size", "width", "part", "rest"]].to_csv(tmp_path / "new.csv", index=False, sep="#", decimal=",")
    code, out, _ = call(capsys, "predict", model, tmp_path / "new.csv", "--separator", "#", "-o", tmp_path / "g.csv")
    assert (code, out.splitlines()[0]) == (0, "60 rows: classification of kind")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="has no shell of its own to make the pipes")
def test_pipes(tmp_path):
    lines = ["a,y", *(f"{i * i},{'uv'[i % 2]}" for i in range(40)), ""]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    command = f"'{sys.executable}' -m fastbackprop.cli"
    commands = f"""
        set -e
        cat a.csv | {command} train - --target y --epochs 1
        {command} predict stdin.safetensors <(head -n 5 a.csv) -o guess.csv
    """
    done = subprocess.run(["bash", "-c", commands], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "standard input: 32 samples to learn from, 8 held out" in done.stdout
    assert len(pd.read_csv(tmp_path / "guess.csv")) == 4


def test_every_row_of_one_column_gets_a_prediction(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(
        "x,y\n" + "".join(f"{'' if i == 4 else i - 15},{'pn'[i < 15]}\n" for i in range(30))
    )
    call(capsys, "train", tmp_path / "a.csv", "--target", "y", "--epochs", 2, "-o", tmp_path)
    (tmp_path / "new.csv").write_text("x\n\n-20\n\n20\n\n")
    code, out, _ = call(capsys, "predict", tmp_path / "a.safetensors", tmp_path / "new.csv", "-o", tmp_path / "g.csv")
    assert code == 0
    assert out.startswith("column    x: 3 missing, read as")
    assert len(pd.read_csv(tmp_path / "g.csv")) == 5


def test_very_many_classes(tmp_path, capsys):
    path = tmp_path / "many.csv"
    warning = "warning   18 classes in 30 samples; numbers are learned with --task regression\n"
    pd.DataFrame({"a": np.arange(30.0) ** 2, "y": np.arange(30) % 18}).to_csv(path, index=False)
    options = ("--target", "y", "--epochs", 1, "-o", tmp_path)
    assert warning in call(capsys, "train", path, *options)[2]
    assert "classes in" not in call(capsys, "train", path, *options, "--task", "classification")[2]
    pd.DataFrame({"a": np.arange(300.0) ** 2, "y": [f"t{i % 120}" for i in range(300)]}).to_csv(path, index=False)
    assert "warning   120 classes in 300 samples" in call(capsys, "train", path, *options)[2]
    pd.DataFrame({"a": np.arange(60.0) ** 2, "y": np.arange(60) % 18}).to_csv(path, index=False)
    assert "classes in" not in call(capsys, "train", path, *options)[2]


def test_several_targets(passengers, tmp_path, capsys):
    passengers["double"] = 2 * passengers.fare
    passengers.to_csv(tmp_path / "boat.csv", index=False)
    options = ("--target", "fare", "--target", "double", "--epochs", 60, "-o", tmp_path)
    code, out, _ = call(capsys, "train", tmp_path / "boat.csv", *options)
    assert code == 0
    model, guess = tmp_path / "boat.safetensors", tmp_path / "guess.csv"
    out = call(capsys, "predict", model, tmp_path / "boat.csv", "-o", guess)[1]
    guesses = pd.read_csv(guess)
    scores = [r2_score(passengers[name], guesses[name]) for name in ("fare", "double")]
    assert f"R² {np.mean(scores):.4f}, the mean of 2 targets (300 samples)" in out
    for name, score in zip(("fare", "double"), scores):
        rmse = root_mean_squared_error(passengers[name], guesses[name])
        mae = mean_absolute_error(passengers[name], guesses[name])
        assert f"target {name}: R² {score:.4f}, RMSE {rmse:.4g}, MAE {mae:.4g}\n" in out
    assert "target double" in call(capsys, "info", model)[1]


def contents(model):
    return fb.load(model).params.tobytes(), persistence.read_metadata(model)


def test_early_stopping_decides_on_other_samples_than_those_held_out(tmp_path, capsys):
    options = ("--early-stopping", 3, "--learning-rate", 0.01, "--dropout", 0.1, "--l2", 1e-4, "-o", tmp_path)
    code, out, _ = call(capsys, "train", "diabetes", *options)
    assert code == 0
    assert "317 samples to learn from, 36 set aside for early stopping, 89 held out" in out
    stopped, best = (int(re.search(words + r" (\d+)", out)[1]) for words in ("stopped after epoch", "those of epoch"))
    assert stopped == best + 3 < 100


def test_the_same_seed_and_resuming_give_the_same_model(tmp_path, capsys):
    kept, once, again, parts = (tmp_path / name for name in ("kept", "once", "again", "parts"))
    for out in (once, again):
        call(capsys, "train", "wine", "--epochs", 6, "-o", out)
    call(capsys, "train", "wine", "--epochs", 4, "-o", parts, "--checkpoint", kept)
    rest = call(capsys, "train", "wine", "--epochs", 6, "-o", parts, "--resume", kept, "--checkpoint", kept)[1]
    assert re.search(r"^10 steps in .* s, .* steps per second$", rest, re.MULTILINE)  # 2 epochs of 142 samples by 32
    rest = call(capsys, "train", "wine", "--epochs", 6, "-o", parts, "--resume", kept)[1]
    assert f"nothing was left to train: {kept} has 6 epochs\n" in rest
    assert "steps per second" not in rest
    expected = contents(once / "wine.safetensors")
    assert contents(again / "wine.safetensors") == contents(parts / "wine.safetensors") == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"a,y\n", "at least one row below the header"),
        (b"a,y\n1,2\n", "0.2 of 1 samples leaves none to learn from"),
        (b"a,y\n1,\n2,\n", "no row has a value of y"),
        (b"a,y\n1,3\n2,3\n3,3\n", "target 'y' must have at least two different values, got one only, 3"),
        (b"a,z\n1,3\n2,4\n", "lacks the column 'y'"),
        (b"y\n1\n2\n3\n", "no column is left to learn from"),
        (b"a,y\n,1\n,2\n,1\n", "no column is left to learn from ('a': has no value to learn from)"),
        (b"a,a,y\n1,2,3\n", "column names must differ, got 'a'"),
        (b"a,y\nJos\xe9\x81,2\n", "must be text, UTF-8 or"),
        (b"a,y\n1,2\n3,4,5\n", "line 3 holds 3 values, and line 1 has 2, with ',' between values"),
        (b"PAR1", "lacks the column 'y'|at least one row"),
    ],
)
def test_bad_tables(content, words, tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    err = one_line(capsys, "train", path, "--target", "y", "-o", tmp_path)
    assert "bad.csv" in err or "samples leaves none" in err
    assert any(word in err for word in words.split("|"))
    assert os.listdir(tmp_path) == ["bad.csv"]


def test_a_file_without_a_target_says_which_there_are(passengers, tmp_path, capsys):
    passengers.to_csv(tmp_path / "boat.csv", index=False)
    assert "'age', 'sex', 'cabin'" in one_line(capsys, "train", tmp_path / "boat.csv", "-o", tmp_path)
    err = one_line(capsys, "train", tmp_path / "boat.csv", "--target", "surived", "-o", tmp_path)
    assert "did you mean 'survived'?" in err


def test_classes_too_small_to_be_shared(tmp_path, capsys):
    (tmp_path / "few.csv").write_text("a,y\n" + "".join(f"{i / 3},{'u' if i else 'v'}\n" for i in range(12)))
    code, out, _ = call(capsys, "train", tmp_path / "few.csv", "--target", "y", "--epochs", 2, "-o", tmp_path)
    assert code == 0
    assert "9 samples to learn from, 3 held out" in out


@pytest.fixture
def boat(passengers, tmp_path, capsys):
    """A trained model and its data."""
    passengers.to_csv(tmp_path / "boat.csv", index=False)
    call(capsys, "train", tmp_path / "boat.csv", "--target", "survived", "--epochs", 2, "-o", tmp_path)
    return tmp_path / "boat.safetensors", tmp_path / "boat.csv"


def test_wrong_data_for_a_model(boat, passengers, tmp_path, capsys, monkeypatch):
    model, data = boat
    passengers.drop(columns=["age", "sex"]).to_csv(tmp_path / "less.csv")
    assert "lacks the columns 'age', 'sex'" in one_line(capsys, "predict", model, tmp_path / "less.csv")
    passengers.astype({"age": object}).fillna({"age": "old"}).to_csv(tmp_path / "old.csv")
    assert "column 'age' must hold numbers, got 'old'" in one_line(capsys, "predict", model, tmp_path / "old.csv")
    before = data.read_bytes(), model.read_bytes()
    for path in (data, model):
        assert "would be lost" in one_line(capsys, "predict", model, data, "-o", path)
    assert (data.read_bytes(), model.read_bytes()) == before
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "predict", model, data)[0] == 0
    assert len(pd.read_csv(tmp_path / "boat-predictions.csv")) == 300


def test_training_never_writes_over_what_it_reads(boat, tmp_path, capsys, monkeypatch):
    model, data = boat
    monkeypatch.chdir(tmp_path)
    learn = ["train", data, "--target", "survived", "--epochs", 1]
    before = data.read_bytes(), model.read_bytes()
    assert "itself, which would be lost" in one_line(capsys, *learn, "--checkpoint", "boat.csv")
    assert "--checkpoint 'boat.safetensors' is where the result" in one_line(
        capsys, *learn, "--checkpoint", "boat.safetensors"
    )
    assert "a network, but not a checkpoint" in one_line(capsys, *learn, "--resume", model)
    assert (data.read_bytes(), model.read_bytes()) == before
    assert call(capsys, *learn, "--checkpoint", "kept", "-o", "new")[0] == 0
    os.replace("kept", model)
    assert "which would be lost" in one_line(capsys, *learn, "--resume", model)
    os.replace("new/boat.safetensors", model)
    data.rename("table.safetensors")  # its text is CSV all the same
    assert "which would be lost" in one_line(capsys, "train", "table.safetensors", "--target", "survived")
    assert Path("table.safetensors").read_bytes() == before[0]
    assert call(capsys, *learn[:1], "iris", "--epochs", 1, "--checkpoint", "kept", "-o", "new")[0] == 0
    assert (
        call(capsys, *learn[:1], "iris", "--epochs", 2, "--checkpoint", "kept", "--resume", "kept", "-o", "new")[0] == 0
    )


def test_what_predict_could_not_read_as_it_is_is_counted(boat, passengers, tmp_path, capsys):
    model, data = boat
    assert "cabin" not in call(capsys, "predict", model, data, "-o", tmp_path / "g.csv")[1]  # missing is known there
    odd = passengers.astype({"sex": object})
    odd.loc[[4, 8, 9], "sex"] = ["other", "else", None]
    odd.drop(columns="survived").to_csv(tmp_path / "odd.csv", index=False)
    out = call(capsys, "predict", model, tmp_path / "odd.csv", "-o", tmp_path / "g.csv")[1]
    fill = json.loads(persistence.read_metadata(model)["table"])["columns"][0]["fill"]
    assert out.splitlines()[:-1] == [
        f"column    age: {odd.age.isna().sum()} missing, read as {fill:.4g}",
        "column    sex: 1 missing and 2 unknown, read as none of its categories, first 'other' in row 5",
        "300 rows: classification of survived",
    ]


def test_wrong_models(boat, tmp_path, capsys):
    model, data = boat
    net, metadata, path = fb.load(model), persistence.read_metadata(model), tmp_path / "bad.safetensors"
    path.write_bytes(model.read_bytes()[:-5])
    assert "not a safetensors file, or not a whole one" in one_line(capsys, "predict", path, data)
    save_file({"a": np.ones(3)}, path)
    assert "not one written by fastbackprop" in one_line(capsys, "predict", path, data)
    persistence.save(net, path, metadata | {"table": "[]"})
    assert "not the preprocessing of a table" in one_line(capsys, "info", path)
    persistence.save(fb.Network((3, 2), seed=0), path, metadata)
    assert "does not fit the network" in one_line(capsys, "predict", path, data)
    persistence.save(net, path, metadata | {"training": "3"})
    assert "the file is damaged" in one_line(capsys, "info", path)
    net.save(path)
    assert "without the names of its columns" in one_line(capsys, "predict", path, data)
    assert "saved without preprocessing" in call(capsys, "info", path)[1]


def test_the_preprocessing_is_plain_json_in_the_model(boat):
    raw = boat[0].read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    table = json.loads(header["user.table"])
    assert [column["name"] for column in table["columns"]] == ["age", "sex", "cabin", "alone", "fare"]
    age = pd.read_csv(boat[1]).age
    assert table["columns"][0]["fill"] == pytest.approx(age.median(), abs=5)
    assert "100" not in table["classes"]


def test_names_beyond_the_terminals_encoding(monkeypatch, capsys):
    terminal = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stderr", terminal)
    assert call(capsys, "train", "iris", "--drop", "жук")[0] == 2
    terminal.flush()
    assert b"lacks the column '???'" in terminal.buffer.getvalue()
