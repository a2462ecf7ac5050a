"""scikit-learn: its estimators as ours, and ours and networks as its, with all that was fitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop import checks
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.interop.exported import Exported, exported, is_estimator, library

OUTPUTS = {"identity": "identity", "sigmoid": "logistic", "softmax": "softmax", "exp": "exp"}
SOLVERS = ("lbfgs", "sgd", "adam")  # in the place of others is adam
# What a training leaves behind, of both. The weights and the words for outputs are not among them.
FITTED = (
    "n_layers_", "n_outputs_", "n_features_in_", "feature_names_in_", "classes_", "_label_binarizer", "n_iter_", "t_",
    "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_", "_no_improvement_count",
)  # fmt: skip


def to_sklearn(model: Any) -> Any:
    """A network or an estimator as scikit-learn's own ``MLPClassifier`` or ``MLPRegressor``, fitted.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
        A network with the output softmax or sigmoid becomes a classifier, whose classes are numbers from 0, or those of
        the table; the others become a regressor. Of a table's file it is the network behind the preprocessing. Two
        outputs of softmax become one of sigmoid, as scikit-learn has two classes.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        With copies of the weights. Parameters that scikit-learn lacks are left off, and a solver that it lacks is adam.

    Raises
    ------
    ImportError
        Where scikit-learn, the extra ``sklearn``, is not installed.
    TypeError, ValueError
        Where the model is no such thing, has parameters that are not finite, or activations that scikit-learn lacks.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> theirs = fb.interop.to_sklearn(fb.Network((4, 8, 3), hidden="tanh", seed=0))
    >>> theirs
    MLPClassifier(activation='tanh', hidden_layer_sizes=(8,))
    >>> theirs.predict_proba([[0.0, 0.0, 0.0, 0.0]]).shape
    (1, 3)
    """
    theirs = library("sklearn.neural_network", "interop.to_sklearn", "sklearn")
    found = exported(model)
    net = found.net
    words = {ACTIVATIONS[name].sklearn for name in net.hidden}
    if None in words or len(words) > 1:
        known = ", ".join(name for name, row in ACTIVATIONS.items() if row.sklearn)
        got = checks.shortened(net.hidden)
        raise ValueError(f"model must have one activation, of {known}, to be scikit-learn's, got {got}")
    activation = words.pop() if words else "identity"
    is_classifier = net.output in ("softmax", "sigmoid")
    kind = theirs.MLPClassifier if is_classifier else theirs.MLPRegressor
    made = kind(hidden_layer_sizes=net.sizes[1:-1], activation=activation)
    if net.output == "exp":
        if "loss" not in made.get_params():
            raise ValueError("model must have another output than exp for this scikit-learn, which has it from 1.7 on")
        made.set_params(loss="poisson")
    if is_estimator(model):
        given = {name: value for name, value in model.get_params().items() if name in made.get_params()}
        given["solver"] = given["solver"] if given["solver"] in SOLVERS else "adam"
        made.set_params(**given | {"activation": activation})
        _copy_fitted(model, made)
    else:
        _set_fitted(found, made)
    weights, biases = [W.T.copy() for W in net.weights], [b.copy() for b in net.biases]
    made.out_activation_ = OUTPUTS[net.output]
    if net.output == "softmax" and net.sizes[-1] == 2:  # e^z1 / (e^z0 + e^z1) = sigma(z1 - z0)
        weights[-1], biases[-1] = weights[-1][:, 1:] - weights[-1][:, :1], biases[-1][1:] - biases[-1][:1]
        made.out_activation_, made.n_outputs_ = "logistic", 1
    made.coefs_, made.intercepts_ = weights, biases
    return made


def _copy_fitted(given: Any, made: Any) -> None:
    for name in FITTED:
        if name in vars(given):
            value = getattr(given, name)
            setattr(made, name, list(value) if isinstance(value, list) else value)


def _set_fitted(found: Exported, made: Any) -> None:
    """What a training would have left behind, of a network."""
    net = found.net
    made.n_layers_, made.n_outputs_, made.n_features_in_ = len(net.sizes), net.sizes[-1], net.sizes[0]
    made.n_iter_ = made.t_ = made._no_improvement_count = 0
    made.loss_, made.loss_curve_, made.best_loss_ = np.nan, [], np.inf
    made.validation_scores_ = made.best_validation_score_ = None
    if not hasattr(made, "predict_proba"):
        return
    count = max(2, net.sizes[-1])
    classes = np.arange(count) if found.table is None else np.array(found.table.classes)
    preprocessing = library("sklearn.preprocessing", "interop.to_sklearn", "sklearn")
    several = net.output == "sigmoid" and net.sizes[-1] > 1
    # fitted to rows of labels, or to labels
    made._label_binarizer = preprocessing.LabelBinarizer().fit(np.eye(count, dtype=int) if several else classes)
    made.classes_ = made._label_binarizer.classes_


def from_sklearn(estimator: Any) -> Any:
    """A fitted ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn as ours; its ``network_`` is the network.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor

    Returns
    -------
    fastbackprop.sklearn.MLPClassifier or MLPRegressor
        With copies of the weights, the parameters and all that was fitted. To train it on begins with new moments.

    Raises
    ------
    ImportError
        Where scikit-learn, the extra ``sklearn``, is not installed.
    TypeError, ValueError
        Where it is something else, or not fitted, or its weights are not those of a network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import fastbackprop as fb
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = MLPClassifier((10,), solver="lbfgs", max_iter=500, random_state=0).fit(X, y)
    >>> ours = fb.interop.from_sklearn(theirs)
    >>> ours, bool((ours.predict(X) == theirs.predict(X)).all())
    (MLPClassifier(hidden_layer_sizes=(10,), max_iter=500, random_state=0,
                  solver='lbfgs'), True)
    """
    theirs = library("sklearn.neural_network", "interop.from_sklearn", "sklearn")
    from fastbackprop.sklearn import MLPClassifier, MLPRegressor

    kinds = {theirs.MLPClassifier: MLPClassifier, theirs.MLPRegressor: MLPRegressor}
    kind = next((ours for given, ours in kinds.items() if isinstance(estimator, given)), None)
    if kind is None:
        accepted = "a fitted MLPClassifier or MLPRegressor of scikit-learn"
        raise TypeError(f"estimator must be {accepted}, got {checks.shortened(estimator)}")
    if "coefs_" not in vars(estimator):
        raise ValueError(f"estimator must be fitted, got {checks.shortened(estimator)}")
    made: Any = kind()
    made.set_params(**{name: value for name, value in estimator.get_params().items() if name in made.get_params()})
    _copy_fitted(estimator, made)
    made.out_activation_ = estimator.out_activation_
    made.coefs_, made.intercepts_ = ([np.array(a) for a in part] for part in (estimator.coefs_, estimator.intercepts_))
    made._state = made._best_params = None
    made.network_  # noqa: B018 - its shapes are looked at now
    return made
