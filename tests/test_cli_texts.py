"""Texts that came with data are shown, and do nothing: to a terminal, to a picture."""

from __future__ import annotations

import csv
import json
import os
import sys
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import persistence, plotting
from fastbackprop.text import printable, shown
from tests.commands import call

HOSTILE = [
    "\x1b]0;title\x07", "\x1b[2J\x1b[1;1H", "bell\x07", "\u202ernd", "e\x08\x08f", "\x9b31m", "a\rb",
    "c\nfastbackprop: d", "zero\u200bwidth", "\u2028line", "tab\tbed", "del\x7f", "\ufeffmark", "\ue000", "nbsp\xa0",
]  # fmt: skip


def is_plain(text):
    """Whether a terminal shows all of it and obeys nothing: no control, format, surrogate or private characters."""
    return not any(unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") for c in text)


@pytest.mark.parametrize("text", [*HOSTILE, "\udc80lone"])
def test_what_is_shown_is_plain_and_says_what_was_there(text):
    assert is_plain(printable(text))
    assert printable(text).encode("ascii").decode("unicode_escape") == text
    assert printable(printable(text)) == printable(text)


def test_texts_in_any_writing_stay_and_long_ones_lose_their_middle():
    for text in ("naïve", "价格", "цена", "τιμή", "a b", "50 %", "😀", "back\\slash"):
        assert printable(text) == shown(text) == text
    for most in (2, 11, 80):
        cut = shown("x" * 500 + "y" * 500, most)
        assert len(cut) == most
        assert cut.replace("…", "").strip("x").strip("y") == ""
    assert len(shown("\x1b" * 10**6, 40)) == 40


@pytest.fixture
def hostile(tmp_path):
    """A file, a column, categories and classes, all with such names."""
    rng, n = np.random.default_rng(0), 150
    frame = pd.DataFrame({name: rng.normal(size=n) for name in HOSTILE[:5]})
    frame[HOSTILE[5]] = rng.choice(HOSTILE, n)
    frame["\x1b[5mempty"] = np.nan
    frame["\x1b[7my"] = rng.choice([HOSTILE[0], HOSTILE[7], "_$\\frac{", "=1"], n)
    path = tmp_path / "\x1b[31mrot.csv"
    frame.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC)
    return path


def test_nothing_from_a_file_reaches_the_terminal_raw(hostile, tmp_path, capsys):
    written = list(call(capsys, "train", hostile, "--target", "\x1b[7my", "--epochs", 1, "-o", tmp_path))
    model = hostile.with_suffix(".safetensors")
    assert written[0] == 0
    assert model.exists()
    written += call(capsys, "info", model)
    written += call(capsys, "predict", model, hostile, "-o", tmp_path / "out.csv")
    odd = pd.read_csv(hostile, dtype=str, skipinitialspace=True).iloc[:, 5:]
    odd.to_csv(tmp_path / "odd.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    for arguments in (
        ["train", hostile],
        ["train", hostile, "--target", "\x1b[7mz"],
        ["train", hostile, "--target", "\x1b[7my", "--drop", "\x1b[2J"],
        ["train", hostile, "--target", "\x1b[7my", "--task", "regression"],
        ["predict", model, tmp_path / "odd.csv"],
        ["predict", model, hostile, "-o", "\x1b[1m.txt"],
        ["predict", hostile, hostile],
        ["info", tmp_path / "\x1b[1mnothing"],
        ["\x1b[1mwhat"],
        ["train", "iris", "--\x1b[1m"],
    ):
        code, out, err = call(capsys, *arguments)
        assert code == 2
        assert err.count("\n") == 1
        written += [out, err]
    for text in written[1:]:
        assert all(is_plain(line) for line in str(text).split("\n"))
    assert "\\x1b[31mrot.csv" in written[1]


def test_a_model_of_strange_texts_is_shown_in_few_plain_lines(tmp_path, capsys):
    path = tmp_path / "m.safetensors"
    number = {"kind": "number", "fill": 0.0, "mean": 0.0, "scale": 1.0}
    table = {
        "columns": [number | {"name": f"{k}\x1b[1m" + "n" * 5000} for k in range(99)],
        "targets": ["t\x1b[1m"], "task": "classification", "classes": ["x" * 10**5, "\x1by"], "mean": [], "scale": [],
        "left_out": {f"\x1b{k}": "w\x07" * 9000 for k in range(99)},
    }  # fmt: skip
    training = {f"k\x1b{k}": {"deep": ["v\x1b[1m" * 5000]} for k in range(99)}
    record = {"table": json.dumps(table), "training": json.dumps(training)}
    persistence.save(fb.Network((99, 2), seed=0), path, record)
    code, out, _ = call(capsys, "info", path)
    assert code == 0
    assert all(is_plain(line) and len(line) <= 4000 for line in out.split("\n"))
    assert len(out.split("\n")) < 120
    persistence.save(fb.Network((99, 2), seed=0), path, record | {"training": "[" * 50000})
    code, out, err = call(capsys, "info", path)
    assert (code, out) == (2, "")
    assert err.endswith("the file is damaged\n")


def test_a_long_argument_gives_a_short_error(capsys):
    code, _, err = call(capsys, "train", "x" * 100_000)
    assert code == 2
    assert err.count("\n") == 1
    assert len(err) < 2500


def test_warnings_of_libraries_are_plain_lines(tmp_path, capsys, monkeypatch):
    fit = fb.Network.fit

    def fit_that_warns(*arguments, **options):
        warnings.warn("first\x1b[1m line\nsecond", stacklevel=1)
        return fit(*arguments, **options)

    monkeypatch.setattr(fb.Network, "fit", fit_that_warns)
    _, out, err = call(capsys, "train", "iris", "--epochs", 1, "-o", tmp_path)
    warned = [line for line in (out + err).splitlines() if line.startswith("warning")]
    assert warned == ["warning   first\\x1b[1m line second"]


def test_predictions_on_a_terminal_are_plain(hostile, tmp_path, capsys, monkeypatch):
    call(capsys, "train", hostile, "--target", "\x1b[7my", "--epochs", 1, "-o", tmp_path)
    model = hostile.with_suffix(".safetensors")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True)
    code, out, _ = call(capsys, "predict", model, hostile, "-o", "-")
    assert code == 0
    assert all(is_plain(line) for line in out.split("\n"))
    monkeypatch.undo()
    assert "\x1b" in call(capsys, "predict", model, hostile, "-o", "-")[1]  # in a file or a pipe, the data as they are


NAMES = ["$x_1$", "$\\frac{$", "_private", "a\nb\nc", "\x1b[1m", "50% & #1 ^2 {~}", "\\alpha", "x" * 300]


def texts_of(figure):
    figure.draw_without_rendering()
    found = []
    for axes in figure.axes:
        found += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
        found += axes.get_legend().get_texts() if axes.get_legend() else []
    return [text.get_text() for text in [*found, *(t for part in (figure, *figure.subfigs) for t in part.texts)]]


def within(figure):
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    return min(box.min) > -0.01 and all(box.max < size + 0.01)


def test_pictures_draw_names_as_they_are():
    """No formula, no line break, nothing left out."""
    y = np.arange(80) % len(NAMES)
    history = fb.History(cost=[2.0, 0.5], validation_cost=[1.9, 0.6], validation_score=[0.3, 0.8])
    net, X = fb.Network((2, len(NAMES)), seed=0), np.random.default_rng(0).normal(size=(80, 2))
    labels = [shown(name, 22) for name in NAMES]
    figures = {
        "matrix": plotting.confusion_matrix(np.array(NAMES)[y], np.array(NAMES)[y[::-1]], NAMES),
        "images": plotting.digits_with_predictions(np.zeros((80, 4, 4)), y, y[::-1], class_names=NAMES),
        "boundary": plotting.decision_boundary(net, X, y, class_names=NAMES, feature_names=NAMES[:2]),
        "numbers": plotting.table_summary(
            history, X, X, names=NAMES[3:5], title="$" + "wide " * 90 + "$", held_out="_$held_{"
        ),
    }  # fmt: skip
    for figure in figures.values():
        found = texts_of(figure)
        assert within(figure)
        assert not any("\x1b" in text for text in found)
    assert texts_of(figures["matrix"]).count(labels[1]) == 2
    assert set(labels) <= {*texts_of(figures["boundary"])}
    assert {NAMES[0], shown(NAMES[1])} <= set(texts_of(figures["boundary"]))
    shown_names = "\n".join(texts_of(figures["images"]))
    assert all(label in shown_names for label in labels)
    numbers = texts_of(figures["numbers"])
    assert "_$held_{" in numbers
    assert "a\\nb\\nc: R² 1.000" in numbers
    for figure in figures.values():
        drawn = [text for text in figure.findobj(lambda a: hasattr(a, "get_parse_math")) if "$" in text.get_text()]
        assert not any(text.get_parse_math() or text.get_usetex() for text in drawn)


def test_training_on_hostile_names_draws_its_picture(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=90), "$\\frac$": rng.choice([*NAMES[:7], "价格"], 90)})
    frame.to_csv(tmp_path / "$_^.csv", index=False)
    code, _, err = call(capsys, "train", tmp_path / "$_^.csv", "--target", "$\\frac$", "--epochs", 1, "-o", tmp_path)
    assert (code, err) == (0, "")
    assert (tmp_path / "$_^.png").read_bytes().startswith(b"\x89PNG")
    assert os.path.getsize(tmp_path / "$_^.png") > 5000
