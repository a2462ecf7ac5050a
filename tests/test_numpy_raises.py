"""np.seterr(all="raise"), with which people look for NaN: what is harmless, like 1e-60 as float32, raises nothing."""

from __future__ import annotations

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import functional, gradcheck, paper, reference
from fastbackprop.sklearn import MLPClassifier, MLPRegressor

FAR = np.array([-900.0, -1e-320, 1e-320, 900.0, 1e300, -1e300])
ONE = [None, np.full((3, 4), 1e-200)], [None, np.zeros((3, 1))]


def data():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 4)) * [1.0, 1.0, 1e-50, 1e-310]
    return X, rng.integers(0, 3, 40), np.stack([rng.random(40), np.full(40, 1e-55)], axis=1)


DATA = data()


def elementwise(module, names):
    for name in names:
        getattr(module, name)(FAR)


def network(**options):
    X, y, Y = DATA
    weights = np.where(y == 0, 1e-60, 1.0)
    net = fb.Network((4, 5, 3), "tanh", seed=0, **options)
    net.params = np.where(np.arange(net.params.size) % 2, net.params.astype(np.float64), 1e-70)
    net.fit(X, y, epochs=2, seed=0, sample_weight=weights, validation_fraction=0.25)
    net.fit(X, y, epochs=2, optimizer=fb.SGD(1e-60), class_weight={0: 1e-60, 1: 1, 2: 1}, l1=1e-60)
    net.forward(X), net.cost(X, y), net.trace(X, y), net.jacobian(X[:3]), net.gradients(X, y, input_gradient=True)
    fb.Network((4, 5, 2), output="exp", seed=0, **options).fit(X, Y, epochs=2, seed=0)
    assert gradcheck.report(net, X, y, peers=False).passed


ACTIVATIONS = sorted({f.__name__ for pair in reference.ACTIVATIONS.values() for f in pair})
SILENT = {
    "functional": lambda: elementwise(functional, [*ACTIVATIONS, "softmax"]),
    "functional, to float32": lambda: functional.relu(np.array([1e-60]), out=np.zeros(1, "f4")),
    "functional, losses": lambda: [
        functional.categorical_cross_entropy([[900.0, 0.0]], [1]), functional.l2_loss([1e-200], [0.0]),
        functional.binary_cross_entropy([[-900.0]], [[0.0]]),
    ],
    "reference": lambda: elementwise(reference, [*ACTIVATIONS, "softmax", "softmax_jacobian", "relu_eps"]),
    "paper": lambda: elementwise(paper, [*ACTIVATIONS, "softmax", "softmax_jacobian", "relu_eps"]),
    "reference, network": lambda: reference.trace(DATA[0].T, DATA[1], *ONE),
    "paper, network": lambda: paper.trace(DATA[0].T, DATA[1], *ONE),
    "reference, cost": lambda: reference.cost([[0.0], [1.0]], [0]),
    "paper, cost": lambda: paper.cost([[0.0], [1.0]], [0]),
    "an update": lambda: reference.update_params(*ONE, *ONE, 1e-200),
    "classifier": lambda: MLPClassifier((5,), max_iter=5).fit(*DATA[:2]).predict_log_proba(900 * DATA[0]),
    "classifier, lbfgs": lambda: MLPClassifier((5,), solver="lbfgs", max_iter=5).fit(*DATA[:2]),
    "regressor": lambda: MLPRegressor(hidden_layer_sizes=(5,), early_stopping=True, max_iter=5).fit(*DATA[::2]),
    "regressor, lbfgs": lambda: MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", max_iter=5).fit(*DATA[::2]),
    "network in float64": lambda: network(dtype="float64"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*converge")
@pytest.mark.parametrize("use", SILENT.values(), ids=SILENT)
def test_nothing_harmless_raises(use):
    with np.errstate(all="raise"):
        use()


def test_nothing_harmless_raises_in_a_network_of_float32():
    with np.errstate(all="raise"):
        network()
