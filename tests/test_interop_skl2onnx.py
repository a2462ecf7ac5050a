"""skl2onnx: pipelines and other estimators of scikit-learn with ours inside."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import fastbackprop as fb
from fastbackprop.sklearn import MLPClassifier, MLPRegressor

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:Stochastic Optimizer")]
skl2onnx = pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")
X = np.random.default_rng(0).uniform(2, 5, (80, 4))
OPTIONS = {"hidden_layer_sizes": 8, "max_iter": 20, "random_state": 0, "activation": "gelu"}


@pytest.fixture(autouse=True)
def registered():
    fb.interop.register_with_skl2onnx()


def run(model, X, **options):
    graph = skl2onnx.to_onnx(model, X[:1], **options)
    return onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"X": X})


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("labels", [["b", "a", "c"], ["x", "y"], [10, 7, 30], [True, False]], ids=str)
def test_pipelines_of_classifiers(labels, dtype):
    data = X.astype(dtype)
    y = np.array(labels)[np.digitize(X[:, 0], [3, 4][: len(labels) - 1])]
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS)).fit(data, y)
    label, probabilities = run(pipeline, data, options={"zipmap": False})
    assert label.tolist() == pipeline.predict(data).tolist()
    assert len(set(label.tolist())) > 1
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(data), atol=1e-5 if dtype == "f4" else 1e-12)
    if dtype == "f4":  # ZipMap is of no other
        _, maps = run(pipeline, data)
        first = dict(zip(pipeline.classes_.tolist(), pipeline.predict_proba(data)[0].tolist()))
        assert maps[0] == pytest.approx(first, abs=1e-5)


def test_regressors_and_what_holds_them():
    scaled = ColumnTransformer([("scaled", MinMaxScaler(), [0, 2]), ("left", "passthrough", [1, 3])])
    pipeline = make_pipeline(scaled, MLPRegressor(**OPTIONS)).fit(X, X[:, :2])
    np.testing.assert_allclose(run(pipeline, X)[0], pipeline.predict(X), atol=1e-12)
    bagging = BaggingRegressor(MLPRegressor(**OPTIONS), 3, random_state=0).fit(X, X[:, 0])
    np.testing.assert_allclose(run(bagging, X)[0][:, 0], bagging.predict(X), atol=1e-6)
    whole = MLPRegressor(**OPTIONS).fit(X, X[:, 0])
    np.testing.assert_allclose(run(whole, X.astype(np.int64))[0][:, 0], whole.predict(X.astype(np.int64)), atol=1e-5)


def test_the_network_of_a_pipeline_is_read_back():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS | {"dtype": "float32"})).fit(X, X[:, 0] > 3)
    data = X.astype("f4")
    net = fb.interop.from_onnx(skl2onnx.to_onnx(pipeline, data[:1], options={"zipmap": False}))
    assert (net.hidden, net.output) == (("gelu",), "sigmoid")
    np.testing.assert_allclose(net.forward(data)[:, 0], pipeline.predict_proba(data)[:, 1], atol=1e-5)
