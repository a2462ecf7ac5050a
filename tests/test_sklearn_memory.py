"""Estimators that are copied, pickled, mapped, given other parameters: what learns is theirs alone, and fits."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.exceptions import NotFittedError

import fastbackprop as fb
from fastbackprop import sklearn as ours
from fastbackprop.sklearn import MLPClassifier, MLPRegressor
from fastbackprop.training import Training
from tests.processes import python

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(7)
X = RNG.normal(size=(90, 4))
y = np.array(["low", "mid", "high"])[np.digitize(X[:, 0] + X[:, 1], (-0.5, 0.5))]
T = np.c_[X[:, 0] ** 2, X[:, 1] - X[:, 2]]
SOLVERS = {
    "adam": "adam", "sgd": "sgd", "rmsprop": fb.RMSprop(0.01, momentum=0.5), "adagrad": "adagrad",
    "clipped": fb.SGD(0.1, momentum=0.9, clip_norm=1.0),
}  # fmt: skip


def same(a, b):
    return all(map(np.array_equal, [*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_]))


def fitted(**parameters):
    return MLPClassifier((8,), random_state=0, max_iter=3, **parameters).fit(X, y)


# ---------------------------------------------------------------------- memory that is not ours

MAPPED = """
import copy, hashlib, pickle, sys, warnings
import joblib
import numpy as np
import fastbackprop as fb
from fastbackprop.sklearn import MLPClassifier, MLPRegressor

warnings.simplefilter("ignore")
path = sys.argv[1] + "/model"
rng = np.random.default_rng(3)
X, y = rng.normal(size=(60, 30)), rng.integers(0, 4, 60)

def digest():
    return hashlib.sha256(open(path, "rb").read()).hexdigest()

for solver in ("adam", "sgd", fb.RMSprop(0.01, momentum=0.5), fb.Adagrad(0.01)):
    for kind, target in ((MLPClassifier, y), (MLPRegressor, np.c_[y, -y])):
        model = kind(hidden_layer_sizes=(40,), solver=solver, random_state=0)
        for _ in range(2):
            model.partial_fit(X, target, **({"classes": [0, 1, 2, 3]} if kind is MLPClassifier else {}))
        joblib.dump(model, path)
        before, outputs = digest(), model.predict(X)
        expected = copy.deepcopy(model).partial_fit(X, target).partial_fit(X, target)
        buffers = []
        data = pickle.dumps(model, protocol=5, buffer_callback=buffers.append)
        for mode in ("r", "r+", "c", bytes, bytearray):
            if isinstance(mode, str):
                loaded, frames = joblib.load(path, mmap_mode=mode), []
            else:
                frames = [mode(b.raw()) for b in buffers]
                loaded = pickle.loads(data, buffers=frames)
            kept = [bytes(bytearray(frame)) for frame in frames]
            assert np.array_equal(loaded.predict(X), outputs), (solver, mode)
            loaded.partial_fit(X, target).partial_fit(X, target)
            assert all(map(np.array_equal, loaded.coefs_, expected.coefs_)), (solver, mode)
            loaded.coefs_[0][...] = 0
            assert frames == kept, (solver, mode, "the bytes of a pickle were written to")
            assert digest() == before, (solver, mode, "the file has changed")
print("as before")
"""


def test_a_model_whose_arrays_are_mapped_or_a_pickles_bytes_learns_in_memory_of_its_own(tmp_path):
    assert python(MAPPED, tmp_path) == "as before"


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_shares_nothing_that_learns(solver, copied):
    model, twin = (MLPRegressor(hidden_layer_sizes=(6,), solver=SOLVERS[solver], random_state=0) for _ in range(2))
    for each in (model, twin):
        each.partial_fit(X, T).partial_fit(X, T)
    other = copied(model)
    for _ in range(3):
        other.partial_fit(X[:40], T[:40])
    other.coefs_[0][...] = 9
    other.loss_curve_.clear()
    assert same(model, twin)
    assert model.loss_curve_ == twin.loss_curve_
    assert same(model.partial_fit(X, T), twin.partial_fit(X, T))


def test_a_copy_of_one_that_stops_early_keeps_its_best_apart():
    parameters = {"early_stopping": True, "warm_start": True}
    model, twin = fitted(**parameters), fitted(**parameters)
    other = copy.copy(model).set_params(max_iter=20).fit(X, y)
    assert len(other.validation_scores_) > len(model.validation_scores_)
    assert model.validation_scores_ == twin.validation_scores_
    assert same(model, twin)
    assert same(model.fit(X, y), twin.fit(X, y))


CHANGED = """
import warnings
import numpy as np
from fastbackprop.sklearn import MLPClassifier, MLPRegressor

warnings.simplefilter("ignore")
rng = np.random.default_rng(9)

def spoil(arrays, shape):
    for array in arrays:
        array.shape = shape
        array.setflags(write=False)

for parameters in ({}, {"solver": "lbfgs"}, {"early_stopping": True}, {"solver": "sgd", "batch_size": 7}):
    for dtype in ("f4", "f8"):
        X = rng.normal(size=(400, 50)).astype(dtype)
        numbers = rng.normal(size=(400, 2)).astype(dtype)
        for kind, y in ((MLPClassifier, rng.integers(0, 9, 400)), (MLPRegressor, numbers)):
            for shape in ((-1, 1), (1, -1)):
                options = dict(hidden_layer_sizes=(6,), max_iter=4, random_state=0, **parameters)
                model, twin = kind(**options), kind(**options)
                twin.fit(X, y)
                given, weights = [X.copy(), y.copy()], np.ones(400)
                model.set_params(callbacks=[lambda record: spoil([*given, weights], shape)])
                model.fit(*given, weights)
                assert all(map(np.array_equal, model.coefs_, twin.coefs_)), (parameters, dtype, kind, shape)
print("the same")
"""


def test_what_a_callback_does_to_X_and_y_does_not_reach_the_engine():
    assert python(CHANGED) == "the same"


# ---------------------------------------------------------------------- parameters that others put there


def put(model, name, layer, array):
    getattr(model, name)[layer] = array


WRONG = {
    "a row too many": (lambda m: put(m, "coefs_", 0, np.ones((5, 8))), r"coefs_\[0\] must have shape \(4, n_out\)"),
    "one row": (lambda m: put(m, "coefs_", 1, np.ones((1, 3))), r"coefs_\[1\] must have shape \(8, 3\), got \(1, 3\)"),
    "one column": (lambda m: put(m, "coefs_", 1, np.ones((8, 1))), r"must have shape \(8, 3\), got \(8, 1\)"),
    "transposed": (lambda m: put(m, "coefs_", 0, m.coefs_[0].T), r"must have shape \(4, n_out\), got \(8, 4\)"),
    "a number": (lambda m: put(m, "intercepts_", 0, 0.5), r"intercepts_\[0\] must have shape \(8,\).*got \(\)"),
    "one intercept": (lambda m: put(m, "intercepts_", 1, [0.5]), r"intercepts_\[1\] must have shape \(3,\).*\(1,\)"),
    "a column": (lambda m: put(m, "intercepts_", 1, np.ones((3, 1))), r"intercepts_\[1\].*got \(3, 1\)"),
    "an empty one": (lambda m: put(m, "coefs_", 0, np.ones((4, 0))), r"coefs_\[0\].*got \(4, 0\)"),
    "too many": (lambda m: m.intercepts_.append(np.ones(3)), "an array each for every layer, got 2 and 3"),
    "too few": (lambda m: m.coefs_.pop(), "an array each for every layer, got 1 and 2"),
    "none": (lambda m: setattr(m, "coefs_", []), "coefs_ must be a list of arrays"),
    "None": (lambda m: setattr(m, "intercepts_", None), "intercepts_ must be a list of arrays.*NoneType"),
    "one array": (lambda m: setattr(m, "coefs_", np.ones((2, 4, 8))), "coefs_ must be a list of arrays.*ndarray"),
    "complex": (lambda m: put(m, "coefs_", 0, np.ones((4, 8), complex)), r"coefs_\[0\].*got dtype complex128"),
    "text": (lambda m: put(m, "intercepts_", 1, list("abc")), r"intercepts_\[1\].*real numbers"),
    "ragged": (lambda m: put(m, "coefs_", 0, [[1, 2], [3]]), r"coefs_\[0\].*ragged"),
    "masked": (lambda m: put(m, "coefs_", 0, np.ma.masked_less(m.coefs_[0], 0)), r"coefs_\[0\].*masked"),
}


@pytest.mark.parametrize("what", WRONG)
def test_parameters_of_another_shape_are_one_error_whatever_is_called(what):
    change, words = WRONG[what]
    for use in (
        lambda m: m.predict(X),
        lambda m: m.partial_fit(X, y),
        lambda m: m.set_params(warm_start=True).fit(X, y),
        lambda m: m.network_,
        pickle.dumps,
        copy.copy,
    ):
        model = fitted()
        coefs, intercepts = list(model.coefs_), list(model.intercepts_)
        before = [w.copy() for w in coefs]
        change(model)
        with pytest.raises((TypeError, ValueError), match=words) as caught:
            use(model)
        assert "\n" not in str(caught.value)
        model.coefs_, model.intercepts_ = coefs, intercepts  # and all is as it was
        assert all(map(np.array_equal, model.coefs_, before))
        model.partial_fit(X, y)


@pytest.mark.parametrize(
    "form",
    [
        lambda w: w.tolist(), np.asfortranarray, lambda w: w.astype(">f8"), lambda w: np.repeat(w, 2, axis=0)[::2],
        lambda w: np.frombuffer(w.tobytes()).reshape(w.shape), pd.DataFrame, lambda w: w[::-1].copy()[::-1],
        lambda w: w.astype(np.longdouble),
    ],
)  # fmt: skip
def test_parameters_in_any_form_are_copied(form):
    model, twin = fitted(), fitted()
    arrays = [form(W.copy()) for W in model.coefs_]
    model.coefs_ = tuple(arrays)
    np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))
    assert same(model.partial_fit(X, y), twin.partial_fit(X, y))
    assert not any(np.shares_memory(W, array) for W, array in zip(model.coefs_, arrays))


def test_whole_numbers_are_parameters_as_in_scikit_learn():
    models = [m.MLPRegressor(hidden_layer_sizes=(8,), random_state=0, max_iter=3).fit(X, T) for m in (theirs, ours)]
    for model in models:
        model.coefs_ = [np.arange(W.size).reshape(W.shape) % 3 - 1 for W in model.coefs_]
        model.intercepts_ = [np.arange(b.size) for b in model.intercepts_]
    np.testing.assert_allclose(models[1].predict(X), models[0].predict(X), rtol=1e-9)


def test_shapes_that_are_set_on_views_are_theirs_alone():
    model, twin = fitted(), fitted()
    model.intercepts_[0].shape = (2, 4)
    model.intercepts_[1].dtype = np.int64
    model.coefs_[0].setflags(write=False)
    model.network_.params.dtype = np.int8
    for made in (pickle.loads(pickle.dumps(model)), copy.copy(model), model):
        np.testing.assert_array_equal(made.predict_proba(X), twin.predict_proba(X))
        assert made.intercepts_[0].shape == (8,)  # views of now
    assert same(model.partial_fit(X, y), twin.partial_fit(X, y))


def test_averaged_parameters_of_float32_models_go_on_in_float64_with_their_moments():
    """Federated averaging: np.average of float32 arrays is float64."""
    parts = [MLPClassifier((8,), random_state=0) for _ in range(3)]
    for i, part in enumerate(parts):
        part.partial_fit(X[i::3].astype("f4"), y[i::3], classes=["high", "low", "mid"])
    average = [np.average([m.coefs_[l] for m in parts], axis=0, weights=[1, 2, 3]) for l in range(2)]
    assert average[0].dtype == np.float64
    model = parts[0]
    moments = [v.copy() for v in model._state.vectors]
    model.coefs_ = average
    assert model.network_.dtype == np.float64
    np.testing.assert_array_equal(model.coefs_[1], average[1])
    other = copy.deepcopy(model)
    model.partial_fit(X, y)
    # the same as a model that was float64 always and has these parameters and moments
    other._state.vectors = [m.astype(np.float64) for m in moments]
    assert same(model, other.partial_fit(X, y))
    assert model._state.vectors[0].dtype == np.float64


def test_a_model_that_is_to_be_float32_stays_so():
    model = fitted(dtype="float32")
    model.coefs_ = [W.astype(np.float64) for W in model.coefs_]
    assert model.partial_fit(X, y).coefs_[0].dtype == np.float32
    model.coefs_[1] = np.full((8, 3), 1e300)
    with pytest.raises(ValueError, match=r"coefs_\[1\] must be finite in float32, got 1e\+300"):
        model.predict(X)


@pytest.mark.parametrize("sizes", [(4, 30, 3), (4, 5, 3), (4, 8, 2, 3), (4, 3)])
@pytest.mark.parametrize("ask_first", [False, True])
def test_with_parameters_of_other_layers_the_optimizer_begins_anew(sizes, ask_first):
    """Also where there are as many of them: 4-8-3 has 67, as 4-8-2-3 would with other intercepts."""
    models = [m.MLPClassifier((8,), solver="sgd", shuffle=False, random_state=0) for m in (theirs, ours)]
    rng = np.random.default_rng(2)
    coefs = [rng.normal(size=shape) for shape in zip(sizes, sizes[1:])]
    for model in models:
        model.partial_fit(X, y, classes=["high", "low", "mid"]).partial_fit(X, y)
        model.coefs_, model.intercepts_ = [W.copy() for W in coefs], [np.zeros(n) for n in sizes[1:]]
    models[0].set_params(hidden_layer_sizes=sizes[1:-1]).n_layers_ = len(sizes)
    del models[0]._optimizer
    if ask_first:
        models[1].predict(X)
    for _ in range(3):
        for model in models:
            model.partial_fit(X, y)
    assert models[1].n_layers_ == len(sizes)
    for a, b in zip(models[1].coefs_, models[0].coefs_):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_the_best_parameters_of_other_layers_do_not_come_back():
    model = fitted(early_stopping=True, warm_start=True)
    model.best_validation_score_ = 2.0  # never reached again
    model.coefs_ = [np.zeros((4, 5)), np.zeros((5, 3))]
    model.intercepts_ = [np.zeros(5), np.zeros(3)]
    model.fit(X, y)
    assert [W.shape for W in model.coefs_] == [(4, 5), (5, 3)]
    assert model.best_validation_score_ <= 1


def test_coefs_that_a_callback_replaces_do_not_disturb_the_training():
    def replace(record):
        model.coefs_ = [np.zeros((4, 2)), np.zeros((2, 3))]
        model.intercepts_ = [np.zeros(2), np.zeros(3)]

    model = MLPClassifier((8,), max_iter=3, early_stopping=True, callbacks=[replace], random_state=0)
    model.fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), 1 / 3)


def test_any_true_answer_of_a_callback_ends_the_training():
    for answer, epochs in ((True, 1), (np.True_, 1), (np.float64(0.5) > 0.25, 1), (1, 1), (None, 4), (np.False_, 4)):
        model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=4, callbacks=[lambda record, a=answer: a]).fit(X, T)
        assert model.n_iter_ == epochs, answer


def test_y_of_another_width_leaves_the_model_as_it_was():
    model = MLPRegressor(hidden_layer_sizes=(5,), random_state=0, max_iter=3).fit(X, T)
    before = model.predict(X)
    with pytest.raises(ValueError, match="y must have 2 outputs, as in the last fit, got 3"):
        model.partial_fit(X, np.c_[T, T[:, 0]])
    assert model.n_outputs_ == 2
    np.testing.assert_array_equal(model.predict(X), before)


NAN = np.where(np.arange(90)[:, None] == 40, np.nan, X)
REFUSED = {
    "other columns, not finite": lambda m: m.fit(np.c_[NAN, NAN], y),
    "named columns, texts": lambda m: m.fit(pd.DataFrame({"a": ["x"] * 90}), y),
    "other classes, too few samples": lambda m: m.set_params(early_stopping=True).fit(X[:1], ["new"]),
    "negative weights": lambda m: m.fit(X[:, :2], y[::-1], -np.ones(90)),
    "zero weights": lambda m: m.set_params(solver="lbfgs").fit(X[:, :2], y == "low", np.zeros(90)),
    "class weights": lambda m: m.set_params(class_weight={"none": 2.0}).fit(X, y == "low"),
    "an optimizer's vectors": lambda m: m.set_params(solver=Unfit()).fit(X[:, :2], y == "low"),
    "batch size": lambda m: m.set_params(batch_size=10**6).fit(X[:, :2], y == "low"),  # where the warning is an error
    "classes": lambda m: m.partial_fit(X, y, classes=["low", "high"]),
    "weights of a part": lambda m: m.partial_fit(X, y, -np.ones(90)),
}


class Unfit(fb.SGD):
    """An optimizer whose first vectors fit nothing."""

    def first_state(self, size, dtype):
        return [np.zeros(3)]


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("is_fitted", [True, False])
@pytest.mark.filterwarnings("error:Got `batch_size`")
def test_what_is_refused_leaves_the_estimator_as_it_was(what, is_fitted):
    model, twin = (MLPClassifier((8,), random_state=0) for _ in range(2))
    if is_fitted:
        for each in (model, twin):
            each.partial_fit(X, y, classes=["high", "low", "mid"])
    parameters = model.get_params()
    with pytest.raises((TypeError, ValueError, UserWarning)):
        REFUSED[what](model)
    model.set_params(**parameters)
    assert vars(model).keys() == vars(twin).keys()
    for each in (model, twin):
        each.partial_fit(X, y, classes=["high", "low", "mid"])
    assert same(model, twin)
    assert model.loss_curve_ == twin.loss_curve_
    np.testing.assert_array_equal(model.predict(X), twin.predict(X))


# ---------------------------------------------------------------------- the network


def test_the_fitted_network_is_public_and_in_step():
    model = MLPRegressor(hidden_layer_sizes=(5,), random_state=0, max_iter=3, activation="tanh")
    assert not hasattr(model, "network_")
    with pytest.raises(NotFittedError):
        model.network_  # noqa: B018
    net = model.fit(X, T).network_
    assert isinstance(net, fb.Network)
    assert (net.sizes, net.hidden, net.output, net.dtype) == ((4, 5, 2), ("tanh",), "identity", np.float64)
    np.testing.assert_array_equal(net.forward(X), model.predict(X))
    assert np.isclose(net.cost(X, T), ((model.predict(X) - T) ** 2).sum(axis=1).mean() / 2)
    net.fit(X, T, epochs=2)  # what it learns, the model has learned
    np.testing.assert_array_equal(model.coefs_[0], net.weights[0].T)
    net.params = np.zeros(net.params.size)
    assert not model.predict(X).any()
    assert model.set_params(threads=1).network_ is net
    assert net.threads == 1
    assert model.partial_fit(X, T).network_ is net
    assert copy.copy(model).network_ is not net
    model.intercepts_[1] = np.array([1.0, 2.0])
    assert model.network_.biases[1].tolist() == [1, 2]


# ---------------------------------------------------------------------- X as it lies


def kinds(tmp_path):
    whole = np.round(X * 50)
    np.save(tmp_path / "x.npy", whole)
    return {
        "float64": whole, "float32": whole.astype("f4"), "Fortran": np.asfortranarray(whole),
        "rows reversed": whole[::-1].copy()[::-1], "columns strided": np.repeat(whole, 2, axis=1)[:, ::2],
        "int16": whole.astype("i2"), "int64": whole.astype("i8"), "float16": whole.astype("f2"),
        "big-endian": whole.astype(">f8"), "mapped": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "frame": pd.DataFrame(whole, columns=list("abcd")), "CSR": sparse.csr_matrix(whole),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("early", [False, True])
def test_X_is_handed_over_as_it_lies_and_learned_as_if_it_were_converted(tmp_path, dtype, early, monkeypatch):
    seen, init = [], Training.__init__

    def spy(self, net, X, *more, **options):
        seen.append(X)
        init(self, net, X, *more, **options)

    monkeypatch.setattr(Training, "__init__", spy)
    expected = None
    for kind, given in kinds(tmp_path).items():
        model = MLPClassifier((8,), dtype=dtype, max_iter=3, random_state=0, early_stopping=early).fit(given, y)
        model.partial_fit(given, y) if not early else model.set_params(warm_start=True).fit(given, y)
        for X_seen in seen:
            data = [getattr(x, "data", x) if sparse.issparse(x) else x for x in (X_seen, given)]
            assert np.shares_memory(data[0], np.asarray(data[1])), kind
        seen.clear()
        expected = model if expected is None else expected
        assert same(model, expected), kind
        np.testing.assert_array_equal(model.predict_proba(given), expected.predict_proba(kinds(tmp_path)["float64"]))


@pytest.mark.parametrize("bad", [[["1.5", "2", "3", "4"]] * 90, np.full((90, 4), 1j), X.astype(str), X[:, :, None]])
def test_what_is_no_number_is_answered_as_by_scikit_learn(bad):
    said = []
    for module in (theirs, ours):
        try:
            model = module.MLPClassifier((8,), max_iter=2, random_state=0, solver="sgd", shuffle=False).fit(bad, y)
            said.append(np.round(model.loss_, 9))
        except Exception as error:
            said.append((type(error), str(error)))
    assert said[0] == said[1]


@pytest.mark.parametrize("rows", [np.empty((0, 4)), np.empty((0, 4), "f4"), sparse.csr_matrix((0, 4)), []])
def test_no_rows_are_answered_as_by_scikit_learn(rows):
    said = []
    for module in (theirs, ours):
        model = module.MLPClassifier((8,), max_iter=2).fit(X, y)
        for call in (model.predict, model.predict_proba, lambda Z, m=model: m.partial_fit(Z, [])):
            with pytest.raises(ValueError, match=r"0 sample|Expected 2D") as caught:
                call(rows)
            said.append(str(caught.value))
    assert said[:3] == said[3:]


def test_numbers_beyond_a_float32_network_are_said():
    model = fitted(dtype="float32")
    large = X.copy()
    large[3, 1] = -1e200
    for call in (model.predict, lambda Z: model.partial_fit(Z, y)):
        before = [W.copy() for W in model.coefs_]
        with pytest.raises(ValueError, match=r"X must be finite in float32, got -1e\+200 at X\[3, 1\]"):
            call(large)
        assert all(map(np.array_equal, model.coefs_, before))


# ---------------------------------------------------------------------- class weights


@pytest.mark.parametrize(
    "keys",
    [
        {"low": 2.0}, {"low": 2.0, "lo": 3.0}, {"Low": 2.0}, {"low": 1.0, "mid": 2.0, "high": 3.0},
        {"low": 1.0, "mid": 2.0, "high": 3.0, "other": 4.0}, {0: 1.0, 1: 2.0, 2: 3.0}, {"low": 1, "mid": 1, "hi": 1},
        {},
    ],
)  # fmt: skip
def test_keys_that_are_no_class_are_answered_as_by_logistic_regression(keys):
    from sklearn.linear_model import LogisticRegression

    said = []
    for model in (LogisticRegression(class_weight=keys), MLPClassifier((3,), max_iter=2, class_weight=keys)):
        try:
            model.fit(X, y)
            said.append(None)
        except ValueError as error:
            said.append(str(error))
    assert said[0] == said[1]


def test_class_weights_are_those_of_all_classes_also_where_a_batch_has_some():
    weights = {"low": 2.0, "high": 0.25}
    plain, weighted = (
        MLPClassifier((8,), solver="sgd", random_state=0, shuffle=False, class_weight=w) for w in (None, weights)
    )
    for rows in (y == "mid", y == "low", y != "low", y != "nothing"):
        own = np.array([weights.get(label, 1.0) for label in y[rows]])
        plain.partial_fit(X[rows], y[rows], own, classes=sorted(set(y)))
        weighted.partial_fit(X[rows], y[rows], classes=sorted(set(y)))
    assert same(plain, weighted)
    with pytest.raises(ValueError, match="are not in class_weight"):
        plain.set_params(class_weight={"low": 2.0, "none": 3.0}).partial_fit(X[y == "low"], y[y == "low"])


def test_class_weights_of_several_labels_are_those_of_both_values_also_where_a_batch_has_one():
    labels = (T > 0.3).astype(int)
    weights = [{1: 5.0}, {0: 0.5, 1: 2.0}]
    plain, weighted = (
        MLPClassifier((8,), solver="sgd", random_state=0, shuffle=False, class_weight=w) for w in (None, weights)
    )
    for rows in (labels[:, 0] == 0, labels[:, 1] == 1, labels[:, 0] >= 0):
        own = np.where(labels[rows, 0] == 1, 5.0, 1.0) * np.where(labels[rows, 1] == 1, 2.0, 0.5)
        plain.partial_fit(X[rows], labels[rows], own, classes=[0, 1])
        weighted.partial_fit(X[rows], labels[rows], classes=[0, 1])
    assert same(plain, weighted)


def test_weights_of_zero_for_all_that_is_learned_from_are_refused():
    model = MLPClassifier((8,), early_stopping=True)
    rows, _ = model._split(np.zeros(90, np.int64), None, np.random.RandomState(0))
    weights = np.ones(90)
    weights[rows] = 0
    with pytest.raises(ValueError, match="at least one sample to learn from"):
        model._split(np.zeros(90, np.int64), weights, np.random.RandomState(0))
