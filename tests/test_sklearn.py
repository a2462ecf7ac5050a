"""The estimators against scikit-learn's own: losses, attributes, warnings, errors, and what is built on estimators."""

import copy
import importlib
import inspect
import pickle
import re
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator

import fastbackprop as fb
from fastbackprop import sklearn as ours
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.sklearn import MLPClassifier, MLPRegressor, learning
from fastbackprop.training import Training

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)
X_DIGITS = X_DIGITS[:300] / 16
Y_DIGITS = Y_DIGITS[:300]
X_CANCER, Y_CANCER = load_breast_cancer(return_X_y=True)
X_CANCER, Y_CANCER = scale(X_CANCER)[:300], Y_CANCER[:300]
X_DIABETES, Y_DIABETES = load_diabetes(return_X_y=True)
X_DIABETES, Y_DIABETES = scale(X_DIABETES), Y_DIABETES / 100
X_IRIS, Y_IRIS = load_iris(return_X_y=True)

DATA = {
    "classes": ("MLPClassifier", X_DIGITS, Y_DIGITS),
    "two classes": ("MLPClassifier", X_CANCER, np.array(["benign", "malign"])[Y_CANCER]),
    "labels": ("MLPClassifier", X_CANCER, np.c_[Y_CANCER, 1 - Y_CANCER, X_CANCER[:, 0] > 0].astype(int)),
    "number": ("MLPRegressor", X_DIABETES, Y_DIABETES),
    "numbers": ("MLPRegressor", X_DIABETES, np.c_[Y_DIABETES, Y_DIABETES**2, -Y_DIABETES]),
}
SGD = {"solver": "sgd", "shuffle": False, "max_iter": 20, "random_state": 0, "learning_rate_init": 0.01}


def both(data, weighted=False, **parameters):
    """scikit-learn's and ours, fitted alike."""
    name, X, y = DATA[data]
    weights = np.linspace(0.1, 2, len(X)) if weighted else None
    return [getattr(module, name)(**parameters).fit(X, y, sample_weight=weights) for module in (theirs, ours)]


def assert_same(theirs_fitted, ours_fitted, rtol=1e-9):
    np.testing.assert_allclose(ours_fitted.loss_curve_, theirs_fitted.loss_curve_, rtol=rtol)
    for a, b in zip(ours_fitted.coefs_, theirs_fitted.coefs_):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    for a, b in zip(ours_fitted.intercepts_, theirs_fitted.intercepts_):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("Estimator", "solver"), [(MLPClassifier, "adam"), (MLPRegressor, "sgd")])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks_of_estimators(Estimator, solver):
    check_estimator(Estimator(solver=solver))


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_the_constructor_is_scikit_learns_and_what_is_added_comes_after(name):
    expected, got = (list(inspect.signature(getattr(m, name)).parameters.values()) for m in (theirs, ours))
    plain = [(p.name, p.kind, p.default) for p in got]
    assert plain[: len(expected)] == [(p.name, p.kind, p.default) for p in expected]
    assert all(p.kind is p.KEYWORD_ONLY for p in got[len(expected) :])


@pytest.mark.parametrize(
    ("data", "parameters", "weighted"),
    [
        ("classes", {}, False),
        ("classes", {"momentum": 0}, True),
        ("classes", {"momentum": 1, "learning_rate_init": 1e-4}, False),
        ("classes", {"nesterovs_momentum": False, "alpha": 1.0}, False),
        ("classes", {"activation": "tanh", "hidden_layer_sizes": (30, 20)}, True),
        ("classes", {"activation": "logistic", "hidden_layer_sizes": (30, 20)}, False),
        ("classes", {"activation": "identity", "batch_size": 77}, True),
        ("classes", {"hidden_layer_sizes": ()}, True),
        ("classes", {"learning_rate": "invscaling"}, True),
        ("classes", {"learning_rate": "adaptive", "tol": 10, "n_iter_no_change": 2}, False),
        ("classes", {"early_stopping": True}, True),
        ("two classes", {"early_stopping": True, "validation_fraction": 0.2}, False),
        ("labels", {"early_stopping": True}, True),
        ("labels", {"learning_rate": "invscaling", "momentum": 0.5, "power_t": 0.1}, False),
        ("number", {"tol": 0.1, "n_iter_no_change": 3, "max_iter": 500}, True),
        ("numbers", {"early_stopping": True}, False),
        ("number", {"loss": "poisson"}, True),
    ],
)
def test_sgd_takes_scikit_learns_path(data, parameters, weighted):
    if weighted and "sample_weight" not in inspect.signature(theirs.MLPClassifier.fit).parameters:
        pytest.skip("scikit-learn 1.6 has no sample_weight here")
    expected, got = both(data, weighted, **{**SGD, **parameters})
    assert_same(expected, got)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(got, name) == getattr(expected, name), name
    for name in ("loss_", "best_loss_", "best_validation_score_", "validation_scores_"):
        value = getattr(expected, name)
        assert getattr(got, name) == (value if value is None else pytest.approx(value, rel=1e-9)), name
    assert {n for n in vars(got) if n.endswith("_")} == {n for n in vars(expected) if n.endswith("_")}
    X = DATA[data][1]
    np.testing.assert_allclose(got.score(X, DATA[data][2]), expected.score(X, DATA[data][2]))
    if is_classifier(got):
        np.testing.assert_array_equal(got.classes_, expected.classes_)
        np.testing.assert_array_equal(got.predict(X), expected.predict(X))
        np.testing.assert_allclose(got.predict_proba(X), expected.predict_proba(X), rtol=1e-7)
        np.testing.assert_allclose(got.predict_log_proba(X), expected.predict_log_proba(X), atol=1e-7)
    else:
        np.testing.assert_allclose(got.predict(X), expected.predict(X), rtol=1e-7)


@pytest.mark.parametrize("data", ["classes", "two classes", "number"])
def test_lbfgs_takes_scikit_learns_path(data):
    expected, got = both(data, solver="lbfgs", max_iter=15, random_state=1, alpha=0.1)
    assert got.loss_ == pytest.approx(expected.loss_, rel=1e-6)
    assert got.n_iter_ == expected.n_iter_ == 15
    np.testing.assert_allclose(got.coefs_[0], expected.coefs_[0], atol=1e-4)


def test_adam_takes_scikit_learns_path_up_to_the_place_of_epsilon():
    expected, got = both("number", solver="adam", shuffle=False, max_iter=20, random_state=0, epsilon=1e-14)
    assert_same(expected, got, rtol=1e-6)


def test_partial_fit_takes_scikit_learns_path_and_survives_pickling():
    for solver in ("sgd", "adam"):
        expected = theirs.MLPClassifier(solver=solver, shuffle=False, random_state=0, epsilon=1e-14)
        got = MLPClassifier(solver=solver, shuffle=False, random_state=0, epsilon=1e-14)
        for part in (slice(0, 50), slice(50, 200), slice(200, 300)):
            for _ in range(3):
                for model in (expected, got):
                    model.partial_fit(X_CANCER[part], Y_CANCER[part], classes=[0, 1])
            got = pickle.loads(pickle.dumps(got))
        assert_same(expected, got, rtol=1e-5 if solver == "adam" else 1e-9)
        assert got.t_ == expected.t_


def test_the_slope_of_relu_at_0_is_scikit_learns():
    for module in (theirs, ours):
        model = module.MLPRegressor(hidden_layer_sizes=4, solver="sgd", alpha=0, momentum=0, random_state=0)
        model.partial_fit(np.zeros((5, 2)), np.ones(5))
        model.intercepts_[0][...] = 0
        model.partial_fit(np.zeros((5, 2)), np.ones(5))
        assert not model.intercepts_[0].any()


def test_warm_start_goes_on_like_scikit_learns():
    models = [m.MLPRegressor(**SGD, warm_start=True) for m in (theirs, ours)]
    for _ in range(3):
        for model in models:
            model.fit(X_DIABETES, Y_DIABETES)
    assert_same(*models)
    assert len(models[1].loss_curve_) == 60


@pytest.mark.parametrize(
    ("data", "parameters"),
    [
        ("classes", {"tol": 0.02, "n_iter_no_change": 3}),
        ("numbers", {"tol": 0.05, "n_iter_no_change": 4}),
        ("number", {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 2}),
        ("two classes", {"tol": 1.0, "n_iter_no_change": 1}),
    ],
)
def test_the_training_ends_where_scikit_learns_does_whoever_decides(data, parameters, monkeypatch):
    """The engine, after any epoch of a call; or the estimator, where somebody watches or X is converted by batches."""
    calls, run = [], Training.run
    monkeypatch.setattr(learning, "SECONDS_TOGETHER", 1e9)
    monkeypatch.setattr(
        Training, "run", lambda self, epochs, **options: calls.append(epochs) or run(self, epochs, **options)
    )
    name, X, y = DATA[data]
    parameters = {"max_iter": 300, "random_state": 0, "shuffle": False, **parameters}
    expected = getattr(theirs, name)(**parameters, epsilon=1e-14).fit(X, y)
    free = getattr(ours, name)(**parameters, epsilon=1e-14).fit(X, y)
    if parameters.get("learning_rate") != "adaptive":
        assert len(calls) == 2  # one epoch, to see how long it takes, and the rest
    watched = getattr(ours, name)(**parameters, epsilon=1e-14, callbacks=[lambda record: None]).fit(X, y)
    converted = getattr(ours, name)(**parameters, epsilon=1e-14).fit(sparse.csr_matrix(X), y)
    assert expected.n_iter_ < 300
    assert free.n_iter_ == watched.n_iter_ == converted.n_iter_ == expected.n_iter_
    assert free.loss_curve_ == watched.loss_curve_ == converted.loss_curve_
    assert free._no_improvement_count == watched._no_improvement_count == expected._no_improvement_count
    assert all(np.array_equal(a, b) for a, b in zip(free.coefs_, watched.coefs_))
    assert all(np.array_equal(a, b) for a, b in zip(free.coefs_, converted.coefs_))


# ---------------------------------------------------------------------- warnings and errors


def outcome(action):
    """What came of it: the warnings, and the error if there was one, sets in the text in order."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            action()
            error = None
        except Exception as e:
            error = type(e), re.sub(r"\{(.*?)\}", lambda found: str(sorted(found[1].split(", "))), str(e))
    return [(w.category, str(w.message)) for w in caught], error


FEW = X_IRIS[::10], Y_IRIS[::10]
BAD_FITS = {
    "batch size": ({"batch_size": 1000, "max_iter": 1}, *FEW),
    "not converged": ({"max_iter": 2}, *FEW),
    "lbfgs not converged": ({"max_iter": 2, "solver": "lbfgs"}, *FEW),
    "column": ({"max_iter": 1}, FEW[0], FEW[1].reshape(-1, 1)),
    "hidden": ({"hidden_layer_sizes": (3, 0)}, *FEW),
    "negative hidden": ({"hidden_layer_sizes": -1}, *FEW),
    "learning rate": ({"learning_rate": "fast"}, *FEW),
    "rate": ({"learning_rate_init": 0}, *FEW),
    "alpha": ({"alpha": -1}, *FEW),
    "tol": ({"tol": "small"}, *FEW),
    "n_iter_no_change": ({"n_iter_no_change": 0}, *FEW),
    "nan": ({}, np.full((4, 2), np.nan), [0, 1, 0, 1]),
    "lengths": ({}, FEW[0], FEW[1][:-1]),
    "empty": ({}, np.empty((0, 3)), []),
    "vector": ({}, FEW[1], FEW[1]),
    "text": ({}, [["a", "b"]], [1]),
    "small validation": ({"early_stopping": True}, X_IRIS[:2], Y_IRIS[:2]),
    "weights": ({"max_iter": 1}, *FEW, np.ones(3)),
}


@pytest.mark.parametrize("case", BAD_FITS)
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_warnings_and_errors_of_fit_are_scikit_learns(name, case):
    parameters, X, y, *weights = BAD_FITS[case]
    if case == "not converged":
        parameters = {**parameters, "random_state": 0}
    expected, got = (outcome(lambda m=m: getattr(m, name)(**parameters).fit(X, y, *weights)) for m in (theirs, ours))
    if case == "lbfgs not converged":  # the same up to the number of the version in the text of SciPy
        expected, got = [[w[0] for w in e[0]] for e in (expected, got)]
    assert got == expected
    assert got != ([], None)


def after_fit(module, action, **parameters):
    model = module.MLPClassifier(**{"max_iter": 1, **parameters})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(pd.DataFrame(X_IRIS, columns=list("abcd")), Y_IRIS)
    return outcome(lambda: action(model))


@pytest.mark.parametrize(
    "action",
    [
        lambda m: m.predict(X_IRIS),  # no feature names
        lambda m: m.predict(pd.DataFrame(X_IRIS, columns=list("abdc"))),
        lambda m: m.predict_proba(X_IRIS[:, :2]),
        lambda m: m.predict(pd.DataFrame(X_IRIS * np.nan, columns=list("abcd"))),
        lambda m: m.partial_fit(X_IRIS, Y_IRIS + 1),
        lambda m: m.partial_fit(X_IRIS, Y_IRIS, classes=[0, 1]),
        lambda m: m.set_params(early_stopping=True).partial_fit(X_IRIS, Y_IRIS),
        lambda m: m.set_params(warm_start=True).fit(X_IRIS, Y_IRIS // 2),
        lambda m: m.set_params(warm_start=True).fit(X_IRIS[:, :2], Y_IRIS),
        lambda m: m.set_params(solver="lbfgs").partial_fit,
        lambda m: clone(m).partial_fit(X_IRIS, Y_IRIS),
        lambda m: clone(m).predict(X_IRIS),
        lambda m: m.set_params(depth=3),
    ],
)
def test_warnings_and_errors_after_fit_are_scikit_learns(action):
    expected, got = (after_fit(module, action) for module in (theirs, ours))
    if expected[1] is not None and "Invalid parameter" in expected[1][1]:
        assert got[1][0] is expected[1][0]  # the list of valid ones is longer
    else:
        assert got == expected
    assert got != ([], None)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_in_a_plain_array_too(bad):
    X = X_IRIS.copy()
    X[3, 2] = bad
    expected, got = (
        outcome(lambda m=m: m.MLPClassifier(**SGD).fit(X_IRIS, Y_IRIS).predict(X))[1] for m in (theirs, ours)
    )
    assert got == expected
    assert got[0] is ValueError


def test_verbose_prints_what_scikit_learn_prints(capsys):
    texts = []
    for module in (theirs, ours):
        module.MLPClassifier(
            **{**SGD, "max_iter": 30}, verbose=True, learning_rate="adaptive", tol=10.0, n_iter_no_change=1
        ).fit(X_CANCER, Y_CANCER)
        module.MLPRegressor(**SGD, verbose=True, early_stopping=True, tol=10.0, n_iter_no_change=3).fit(
            X_DIABETES, Y_DIABETES
        )
        texts.append(capsys.readouterr().out)
    assert texts[1] == texts[0]
    assert "Learning rate too small. Stopping." in texts[1]
    assert "Validation score did not improve" in texts[1]


def test_a_diverged_training_is_said_and_leaves_finite_parameters():
    model = MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X_DIABETES, Y_DIABETES * 1e6)
    assert all(np.isfinite(W).all() for W in model.coefs_)


def interrupt(record):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (MLPClassifier(max_iter=2), "Maximum iterations"),
        (make_pipeline(StandardScaler(), MLPClassifier(max_iter=2)), "Maximum iterations"),
        (MLPClassifier(batch_size=1000, max_iter=1), "Got `batch_size`"),
        (MLPClassifier(callbacks=[interrupt]), "Training interrupted"),
    ],
)
@pytest.mark.filterwarnings("always::sklearn.exceptions.ConvergenceWarning")
def test_warnings_show_the_users_line(estimator, message):
    def call():
        estimator.fit(X_DIGITS, Y_DIGITS)

    with pytest.warns(UserWarning, match=message) as caught:
        call()
    assert {(w.filename, w.lineno) for w in caught} == {(__file__, call.__code__.co_firstlineno + 1)}


def test_an_interrupt_keeps_what_was_learned():
    def interrupt(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    model = MLPClassifier(callbacks=[interrupt], random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X_DIGITS, Y_DIGITS)
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert model.predict(X_DIGITS).shape == Y_DIGITS.shape


# ---------------------------------------------------------------------- what can be learned from


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
@pytest.mark.parametrize("parameters", [SGD, {**SGD, "early_stopping": True}, {"solver": "lbfgs", "max_iter": 10}])
def test_sparse_samples_are_learned_as_dense_ones(container, parameters):
    dense = MLPClassifier(**{**parameters, "random_state": 0}).fit(X_DIGITS, Y_DIGITS)
    other = MLPClassifier(**{**parameters, "random_state": 0}).fit(container(X_DIGITS), Y_DIGITS)
    np.testing.assert_allclose(other.coefs_[0], dense.coefs_[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(other.predict_proba(container(X_DIGITS)), dense.predict_proba(X_DIGITS), rtol=1e-9)
    np.testing.assert_array_equal(other.predict(X_DIGITS), other.predict(container(X_DIGITS)))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_data_frames_are_known_by_their_columns(frame):
    table = frame({f"f{i}": X_IRIS[:, i] for i in range(4)})
    model = MLPClassifier(max_iter=5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(table, Y_IRIS).predict(table)
    assert model.feature_names_in_.tolist() == ["f0", "f1", "f2", "f3"]
    plain = MLPClassifier(max_iter=5, random_state=0).fit(X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(model.predict_proba(table), plain.predict_proba(X_IRIS))


def test_sparse_labels_give_sparse_predictions_as_in_scikit_learn():
    y = sparse.csr_matrix(DATA["labels"][2])
    expected, got = (m.MLPClassifier(**SGD).fit(X_CANCER, y).predict(X_CANCER) for m in (theirs, ours))
    assert sparse.issparse(got)
    assert (got != expected).nnz == 0


def test_one_class_only():
    expected, got = (m.MLPClassifier(**SGD).fit(X_IRIS, ["a"] * 150).predict(X_IRIS[:3]) for m in (theirs, ours))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("X", [X_IRIS.tolist(), np.asfortranarray(X_IRIS), X_IRIS[::-1], (X_IRIS * 10).astype(int)])
def test_inputs_of_any_kind_are_predicted_as_plain_ones(X):
    model = MLPClassifier(random_state=0, max_iter=3).fit(X_IRIS, Y_IRIS)
    plain = np.array(X, dtype=float, order="C")
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(plain))
    np.testing.assert_array_equal(model.predict_proba(X)[3:4], model.predict_proba(plain[3:4]))


@pytest.mark.parametrize("weight", ["balanced", {0: 3.0, 1: 0.2}])
def test_class_weights_are_scikit_learns_sample_weights(weight):
    X, y = X_CANCER[50:], Y_CANCER[50:]
    own = np.linspace(0.5, 1, len(y))
    got = MLPClassifier(**SGD, class_weight=weight).fit(X, y, sample_weight=own)
    expected = theirs.MLPClassifier(**SGD).fit(X, y, sample_weight=own * compute_sample_weight(weight, y))
    assert_same(expected, got)


def test_balanced_weights_need_all_samples():
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X_IRIS, Y_IRIS, classes=[0, 1, 2])


# ---------------------------------------------------------------------- what is added


def test_dtype_of_the_network():
    for dtype, X, expected in [
        (None, X_IRIS, "float64"),
        (None, X_IRIS.astype(np.float32), "float32"),
        ("float32", X_IRIS, "float32"),
        ("float64", X_IRIS.astype(np.float32), "float64"),
    ]:
        model = MLPClassifier(max_iter=2, dtype=dtype).fit(X, Y_IRIS)
        assert {W.dtype.name for W in model.coefs_} == {expected}
        assert model.predict_proba(X).dtype == expected
    small = X_IRIS.astype(np.float32), Y_IRIS
    for solver in ("adam", "lbfgs"):  # scikit-learn's lbfgs makes float64 of it
        models = [m.MLPClassifier(solver=solver, max_iter=2).fit(*small) for m in (theirs, ours)]
        assert models[1].coefs_[0].dtype == models[0].coefs_[0].dtype


def test_results_do_not_depend_on_the_threads():
    one, two = (MLPClassifier(max_iter=3, random_state=0, threads=n).fit(X_DIGITS, Y_DIGITS) for n in (1, 2))
    assert np.array_equal(one.coefs_[0], two.coefs_[0])


@pytest.mark.parametrize(
    "solver",
    ["adamw", "rmsprop", "adagrad", fb.SGD(0.1, clip_norm=1.0), fb.AdamW(0.01), fb.RMSprop(0.01), fb.LBFGS(5)],
    ids=repr,
)
def test_more_solvers_learn(solver):
    model = MLPClassifier(solver=solver, learning_rate_init=0.01, max_iter=100, random_state=0)
    assert clone(model).fit(X_CANCER, Y_CANCER).score(X_CANCER, Y_CANCER) > 0.97


@pytest.mark.parametrize("activation", sorted({*ACTIVATIONS} - {"identity", "relu", "tanh"}))
def test_more_activations_learn(activation):
    model = MLPClassifier(activation=activation, max_iter=100, learning_rate_init=0.01, random_state=0)
    assert model.fit(X_CANCER, Y_CANCER).score(X_CANCER, Y_CANCER) > 0.97


def test_l1_makes_weights_small_and_dropout_changes_the_training():
    plain, thin, dropped = (
        MLPClassifier(random_state=0, max_iter=60, **more).fit(X_DIGITS, Y_DIGITS)
        for more in ({}, {"l1": 0.5}, {"dropout": 0.5})
    )
    small = [np.mean(np.abs(m.coefs_[0]) < 1e-2) for m in (plain, thin)]
    assert small[1] > 2 * small[0]
    assert thin.loss_ > plain.loss_
    assert dropped.loss_ > plain.loss_
    assert dropped.score(X_DIGITS, Y_DIGITS) > 0.9
    with pytest.raises(ValueError, match="dropout needs a stochastic solver"):
        MLPClassifier(solver="lbfgs", dropout=0.5).fit(X_IRIS, Y_IRIS)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_are_told_and_may_end_the_training(solver):
    records = []

    def stop(record):
        records.append(record)
        return record["epoch"] == 4

    model = MLPRegressor(solver=solver, callbacks=(stop,), random_state=0).fit(X_DIABETES, Y_DIABETES)
    assert [r["epoch"] for r in records] == [1, 2, 3, 4]
    assert model.n_iter_ == 4
    assert records[-1]["cost"] == pytest.approx(model.loss_)


def test_what_cannot_be_is_said_before_the_training():
    with pytest.raises(TypeError, match="callbacks must be functions of an epoch's record, got 3"):
        MLPClassifier(callbacks=[3]).fit(X_IRIS, Y_IRIS)
    with pytest.raises(ValueError, match=r"y must be at least 0 for loss='poisson', got -1\.0"):
        MLPRegressor("poisson").fit(X_IRIS, Y_IRIS - 1.0)
    for wrong in ({"solver": "newton"}, {"activation": "swish"}, {"dropout": 1.0}, {"dtype": "int8"}, {"threads": 0}):
        with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter of MLPClassifier must be"):
            MLPClassifier(**wrong).fit(X_IRIS, Y_IRIS)


def test_progress_bar(capsys):
    pytest.importorskip("tqdm")
    MLPClassifier(max_iter=3, progress=True).fit(X_IRIS, Y_IRIS)
    assert "3/3" in capsys.readouterr().err


def test_coefs_of_an_unpickled_model_are_views_from_the_start():
    model = MLPRegressor(random_state=0, max_iter=5).fit(X_DIABETES, Y_DIABETES)
    made = pickle.loads(pickle.dumps(model))
    held = made.coefs_[1]
    made.partial_fit(X_DIABETES, Y_DIABETES)
    np.testing.assert_array_equal(held, made.coefs_[1])
    held[...] = 0
    assert len(set(made.predict(X_DIABETES))) == 1


def test_coefs_are_views_and_may_be_replaced():
    model = MLPRegressor(random_state=0, max_iter=5).fit(X_DIABETES, Y_DIABETES)
    for made in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(made.predict(X_DIABETES), model.predict(X_DIABETES))
        made.coefs_[1][...] = 0
        made.intercepts_[1][...] = 7
        assert set(made.predict(X_DIABETES)) == {7.0}
        made.partial_fit(X_DIABETES, Y_DIABETES)
        assert made.coefs_[1].any()
        made.coefs_ = [np.zeros((10, 3)), np.zeros((3, 1))]  # another network altogether
        made.intercepts_ = [np.zeros(3), np.array([5.0])]
        assert set(made.predict(X_DIABETES)) == {5.0}
        model = MLPRegressor(random_state=0, max_iter=5).fit(X_DIABETES, Y_DIABETES)


# ---------------------------------------------------------------------- what is built on estimators


def test_pipelines_searches_and_meta_estimators():
    pipe = make_pipeline(
        StandardScaler(), MLPClassifier(hidden_layer_sizes=8, max_iter=50, learning_rate_init=0.05, random_state=0)
    )
    search = GridSearchCV(pipe, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=3, n_jobs=2).fit(X_IRIS, Y_IRIS)
    assert search.best_score_ > 0.8
    pipe.set_output(transform="pandas")
    assert pipe.fit(X_IRIS, Y_IRIS).score(X_IRIS, Y_IRIS) > 0.8
    assert cross_val_score(pipe, X_IRIS, Y_IRIS, cv=3).shape == (3,)
    assert CalibratedClassifierCV(pipe, cv=3).fit(X_IRIS, Y_IRIS).predict_proba(X_IRIS).shape == (150, 3)
    vote = VotingClassifier([("a", pipe), ("b", clone(pipe))], voting="soft").fit(X_IRIS, Y_IRIS)
    assert vote.score(X_IRIS, Y_IRIS) > 0.8
    importance = permutation_importance(pipe, X_IRIS, Y_IRIS, n_repeats=2, random_state=0)
    assert importance.importances_mean.max() > 0


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fastbackprop.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbackprop\[sklearn\]'"):
        importlib.import_module("fastbackprop.sklearn")


def test_not_fitted():
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X_IRIS)
