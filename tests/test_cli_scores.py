"""The scores that train and predict print, against scikit-learn on what they wrote."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from fastbackprop.cli.scores import of_classes, of_numbers
from tests.commands import call


def numbers(line):
    return {name: float(value) for name, value in re.findall(r"([A-Za-z][A-Za-z² ]*?) (-?[\d.]+)", line)}


@pytest.mark.parametrize("classes", [("n", "y"), ("a", "b", "c", "d")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_classes_are_those_of_scikit_learn(classes, dtype):
    rng, K = np.random.default_rng(len(classes)), len(classes)
    y = np.r_[np.arange(K), np.sqrt(rng.integers(0, K * K, 300)).astype(int)]
    logits = rng.normal(size=(len(y), K)) + np.eye(K)[y]
    p = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(dtype)
    scores, said = of_classes(classes, y, p), p.argmax(axis=1)
    assert scores.first == f"accuracy {metrics.accuracy_score(y, said):.2%} ({(y == said).sum()} of {len(y)})"
    auc = np.mean([metrics.roc_auc_score(y == k, p[:, k]) for k in range(K)])
    assert numbers(scores.more["scores"]) == {
        "majority class": pytest.approx(100 * np.bincount(y).max() / len(y), abs=0.006),
        "balanced accuracy": pytest.approx(100 * metrics.balanced_accuracy_score(y, said), abs=0.006),
        "ROC AUC": pytest.approx(auc, abs=6e-5),
        "log loss": pytest.approx(-np.mean(np.log(p[np.arange(len(y)), y])), abs=6e-5),
    }
    recall = [f"{name} {np.mean(said[y == k] == k):.2%} of {(y == k).sum()}" for k, name in enumerate(classes)]
    assert scores.more["recall"] == ", ".join(recall)
    assert scores.unseen == ()


def test_classes_that_do_not_occur_and_very_many():
    p = np.full((4, 3), 1 / 3)
    p[:, 2] += 0.1
    scores = of_classes(("a", "b", "c"), np.array([0, 0, 0, 2]), p)
    assert scores.unseen == ("b",)
    assert "ROC AUC" not in scores.more["scores"]  # it is not defined
    assert numbers(scores.more["scores"])["balanced accuracy"] == 50
    assert scores.more["recall"] == "a 0.00% of 3, c 100.00% of 1"
    names = tuple(f"class {k}" for k in range(200))
    many = of_classes(names, np.arange(200), np.eye(200) * 0.5 + 0.5 / 200)
    assert many.first == "accuracy 100.00% (200 of 200)"
    assert many.more["recall"].endswith("class 29 100.00% of 1, and 170 more classes")


def test_scores_of_numbers_are_in_their_units():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(40, 2)) * [1, 1000] + [5, -2]
    said = true + rng.normal(size=(40, 2)) * [0.5, 100]
    scores = of_numbers(["metres", "grams"], true, said)
    for k, name in enumerate(["metres", "grams"]):
        error = said[:, k] - true[:, k]
        r2 = 1 - (error**2).sum() / ((true[:, k] - true[:, k].mean()) ** 2).sum()
        words = f"R² {r2:.4f}, RMSE {np.sqrt((error**2).mean()):.4g}, MAE {abs(error).mean():.4g}"
        assert scores.more[f"target {name}"] == words
        assert of_numbers([name], true[:, [k]], said[:, [k]]).first == f"{words} (40 samples)"
    assert of_numbers(["one"], true[:1, :1], said[:1, :1]).first.startswith("R² nan, RMSE")
    same = np.full((10, 1), 0.1)  # whose mean is another number
    assert of_numbers(["one"], same, same).first.startswith("R² 1.0000, RMSE 0,")
    assert of_numbers(["one"], same, same + 1).first.startswith("R² 0.0000, RMSE 1,")


def test_a_class_that_is_not_held_out_is_said_and_the_model_keeps_the_scores(tmp_path, capsys):
    rng = np.random.default_rng(1)
    kind = np.array(["rare", *rng.choice(["often", "at times"], 99, p=[0.8, 0.2])])
    frame = pd.DataFrame({"a": rng.normal(size=100) + (kind == "often"), "kind": kind})
    frame.to_csv(tmp_path / "d.csv", index=False)
    code, out, err = call(capsys, "train", tmp_path / "d.csv", "--target", "kind", "--epochs", 3, "-o", tmp_path)
    assert code == 0
    (warning,) = re.findall("^warning .*", err, re.MULTILINE)
    assert re.fullmatch(r"warning   no sample (held out, so no score is about it|to learn from): class rare", warning)
    accuracy, scores, recall = re.search(
        r"^test (.*)\n     scores: (.*)\n     recall: (.*)$", out, re.MULTILINE
    ).groups()
    told = call(capsys, "info", tmp_path / "d.safetensors")[1]
    assert f"held out  {accuracy}\nscores    {scores}\nrecall    {recall}\n" in told
    out = call(capsys, "predict", tmp_path / "d.safetensors", tmp_path / "d.csv", "-o", tmp_path / "g.csv")[1]
    guess = pd.read_csv(tmp_path / "g.csv")
    names = sorted(set(kind))
    p = guess[[f"probability_{name}" for name in names]].to_numpy()
    expected = of_classes(names, np.searchsorted(names, kind), p)
    assert f"accuracy {metrics.accuracy_score(kind, guess.kind):.2%}" in out
    assert f"          scores: {expected.more['scores']}\n          recall: {expected.more['recall']}\n" in out
