"""scikit-learn: its estimators as ours and ours as its; the fitted attributes, and that they train on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import neural_network as theirs

import fastbackprop as fb
from fastbackprop import sklearn as ours
from fastbackprop.heads import HEADS
from tests.interop import TOLERANCE, inputs, network, train

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:lbfgs failed")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 4))
FRAME = pd.DataFrame(X, columns=list("abcd"))
WORDS = np.array(["low", "middle", "high"])[np.digitize(X[:, 0], [-0.5, 0.5])]
TARGETS = {
    "two words": WORDS == "low", "three words": WORDS, "several labels": X[:, :3] > 0, "one number": X[:, 0],
    "two numbers": X[:, :2],
}  # fmt: skip


def fitted(module, name, **more):
    kind = module.MLPRegressor if "number" in name else module.MLPClassifier
    options = {"hidden_layer_sizes": (8, 5), "max_iter": 20, "random_state": 0, "tol": 0.0} | more
    return kind(**options).fit(FRAME if name == "three words" else X, TARGETS[name])


def assert_same_estimator(one, other, names):
    for name in names:
        a, b = getattr(one, name), getattr(other, name)
        assert np.array_equal(a, b) if not isinstance(a, list) else all(map(np.array_equal, a, b)), name
    data = FRAME if hasattr(one, "feature_names_in_") else X
    if not hasattr(one, "predict_proba"):
        np.testing.assert_allclose(one.predict(data), other.predict(data), atol=1e-12)
    else:
        assert np.array_equal(one.predict(data), other.predict(data))
        np.testing.assert_allclose(one.predict_proba(data), other.predict_proba(data), atol=1e-12)


PUBLIC = [
    "coefs_", "intercepts_", "n_layers_", "n_outputs_", "n_features_in_", "out_activation_", "n_iter_", "t_", "loss_",
    "loss_curve_", "best_loss_",
]  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_both_ways_with_all_that_was_fitted(name, activation):
    names = PUBLIC + ["classes_"] * ("number" not in name) + ["feature_names_in_"] * (name == "three words")
    for module, there, back in (
        (theirs, fb.interop.from_sklearn, fb.interop.to_sklearn),
        (ours, fb.interop.to_sklearn, fb.interop.from_sklearn),
    ):
        estimator = fitted(module, name, activation=activation)
        other = there(estimator)
        assert type(other).__module__.startswith("sklearn" if module is ours else "fastbackprop")
        assert_same_estimator(estimator, other, names)
        again = back(other)
        assert type(again) is type(estimator)
        assert_same_estimator(estimator, again, names)
        given, read = estimator.get_params(), again.get_params()
        assert {key: read[key] for key in given} == given
        assert again.coefs_[0].tobytes() == estimator.coefs_[0].tobytes()
        before = [W.copy() for W in estimator.coefs_]
        data = FRAME if name == "three words" else X
        for one in (other, again):
            one.partial_fit(data, TARGETS[name])
            assert not np.array_equal(one.coefs_[0], before[0])
        assert all(map(np.array_equal, before, estimator.coefs_))


def test_early_stopping_leaves_its_scores():
    estimator = fitted(ours, "three words", early_stopping=True)
    there = fb.interop.to_sklearn(estimator)
    assert there.validation_scores_ == estimator.validation_scores_
    assert there.best_validation_score_ == estimator.best_validation_score_
    assert_same_estimator(estimator, fb.interop.from_sklearn(there), ["validation_scores_", "best_validation_score_"])


def test_what_scikit_learn_lacks():
    estimator = fitted(ours, "three words", solver="adamw")
    assert fb.interop.to_sklearn(estimator).solver == "adam"
    for hidden in ("gelu", ["tanh", "relu"]):
        net = network(hidden, "softmax", "float64")
        with pytest.raises(ValueError, match="one activation, of identity, relu, relu0, tanh, sigmoid, to"):
            fb.interop.to_sklearn(net)
    with pytest.raises(ValueError, match="estimator must be fitted, got MLPClassifier"):
        fb.interop.from_sklearn(theirs.MLPClassifier())
    with pytest.raises(TypeError, match="estimator must be a fitted MLPClassifier or MLPRegressor of scikit-learn"):
        fb.interop.from_sklearn(ours.MLPClassifier())


@pytest.mark.parametrize("output", HEADS)
@pytest.mark.parametrize("hidden", ["identity", "relu", "relu0", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_networks_become_estimators(hidden, output, dtype):
    for last in (3, 2, 1):
        if output == "softmax" and last == 1:
            continue
        net = network(hidden, output, dtype, (5, 40, 7, last))
        there, samples = fb.interop.to_sklearn(net), inputs(net)
        o = net.forward(samples)
        if output in ("softmax", "sigmoid"):
            got = there.predict_proba(samples)
            got = got[:, 1:] if output == "sigmoid" and last == 1 else got
            assert there.predict(samples).ravel().tolist() == net.predict(samples).ravel().tolist()
        else:
            got = there.predict(samples).reshape(len(o), -1)
        assert np.abs(got - o).max() <= TOLERANCE[dtype] * max(1, np.abs(o).max())
        read = fb.interop.from_sklearn(there).network_
        if (output, last) != ("softmax", 2):  # which is one output of sigmoid there
            assert (read.params.tobytes(), read.output) == (net.params.tobytes(), net.output)
        there.partial_fit(samples, there.predict(samples))


def test_a_table_gives_its_classes(tmp_path):
    train("iris", "--epochs", 2, "-o", tmp_path)
    assert fb.interop.to_sklearn(tmp_path / "iris.safetensors").classes_.tolist() == [
        "setosa",
        "versicolor",
        "virginica",
    ]
