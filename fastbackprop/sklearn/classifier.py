"""``MLPClassifier``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastbackprop.sklearn.class_weight import weights_by_class
from fastbackprop.sklearn.learning import MLP, is_stochastic


class MLPClassifier(ClassifierMixin, MLP):
    """Multi-layer perceptron classifier: scikit-learn's, trained by the engine.

    Two classes, more classes, or several labels (y of 0 and 1, one column a label). The loss is the cross-entropy.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int
    activation : str
        Of the hidden layers: scikit-learn's identity, logistic, tanh and relu (relu'(0) = 0), or any of
        :class:`fastbackprop.Network`'s.
    solver : str or optimizer
        lbfgs, sgd, adam, adamw, rmsprop, adagrad; or an optimizer such as ``fastbackprop.AdamW(1e-3)``, which brings
        its own constants, and its own schedule of the learning rate if it has one.
    alpha : float
        Strength of the L2 penalty, divided by the number (the weight) of the batch's samples. For the name adamw its
        decoupled ``weight_decay`` instead, not divided.
    batch_size : int or 'auto'
        'auto': 200, or all samples where there are fewer.
    learning_rate : 'constant', 'invscaling' or 'adaptive'
        Schedule of the name sgd.
    learning_rate_init : float
        Of every solver that is a name, but lbfgs.
    power_t : float
        Exponent of 'invscaling': ``learning_rate_init / t ** power_t`` after t samples, epoch by epoch.
    max_iter : int
        Epochs at most; for lbfgs iterations.
    shuffle : bool
    random_state : None, int or RandomState
        Of the initial weights and biases, which are scikit-learn's draws, the validation samples and the shuffles.
    tol, n_iter_no_change : float, int or inf
        The training ends after more than ``n_iter_no_change`` epochs in succession without an improvement by ``tol``.
        For lbfgs ``tol`` is the largest element of the gradient.
    verbose : bool
        Print the loss of each epoch.
    warm_start : bool
        Whether ``fit`` goes on from the weights of the last one.
    momentum, nesterovs_momentum : float in [0, 1], bool
        Of the name sgd.
    early_stopping, validation_fraction : bool, float
        Hold samples back, stop when the score on them stops to improve, keep the best weights.
    beta_1, beta_2, epsilon : float
        Of the names adam and adamw; ``epsilon`` of rmsprop and adagrad too.
    max_fun : int
        Evaluations of the cost at most, for lbfgs.
    dropout : float in [0, 1)
        Probability that a hidden unit is left out of a step.
    class_weight : None, dict, list of dict or 'balanced'
        Multiplies the sample weights, as in scikit-learn's other classifiers. A class that a dict does not name weighs
        1; keys that are no class are an error, unless all classes are named too.
    l1 : float
        Strength of an L1 penalty; divided like ``alpha``.
    dtype : None, 'float32' or 'float64'
        Of the network. None: as scikit-learn, float32 for float32 X (not with lbfgs), else float64. 'float32' takes
        about half the time.
    threads : None or int
        None: all processors. The results have the same bits for any number.
    progress : bool
        Show a progress bar (needs the extra ``cli``).
    callbacks : list or tuple of functions
        Called after each epoch with a dict of ``epoch``, ``cost`` (``loss_``) and, with ``early_stopping``,
        ``validation_score``; one that returns what is true ends the training.

    Attributes
    ----------
    classes_, n_outputs_, n_layers_, out_activation_, n_features_in_, feature_names_in_, n_iter_, t_, loss_
        As scikit-learn's.
    loss_curve_, best_loss_, validation_scores_, best_validation_score_
        As scikit-learn's; not for lbfgs.
    coefs_, intercepts_ : list of ndarray
        (n_in, n_out) and (n_out,): views of the network's parameters, writable. Other arrays with the shapes of layers
        may be put in their place; they are copied at the next use.
    network_ : Network
        The fitted network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(max_iter=2000, learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    class_weight: Any

    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: str = "relu", *, solver: Any = "adam",
        alpha: float = 0.0001, batch_size: Any = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: Any = None, tol: float = 1e-4, verbose: Any = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, dropout: float = 0.0, class_weight: Any = None,
        l1: float = 0.0, dtype: str | None = None, threads: int | None = None, progress: bool = False,
        callbacks: Sequence[Callable[[dict[str, Any]], Any]] = (),
    ) -> None:  # fmt: skip
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = self._read(X, y, reset)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return X, y
        classes = unique_labels(y)
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return X, y

    def _first_call(self, y: Any, classes: Any) -> None:
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)

    def _class_weights(self, y: Any, incremental: bool) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not see all samples. Give the "
                "weights that sklearn.utils.class_weight.compute_class_weight('balanced', ...) finds for all of them"
            )
        return weights_by_class(self.class_weight, y, self.classes_)

    def _targets(self, y: Any) -> tuple[np.ndarray, int]:
        if self._label_binarizer.y_type_ == "multiclass":
            self.out_activation_ = "softmax"
            return np.searchsorted(self.classes_, y), len(self.classes_)
        self.out_activation_ = "logistic"
        rows = self._label_binarizer.transform(y).astype(bool)
        return rows, rows.shape[1]

    def _validation_score(self, outputs: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> float:
        right = outputs.argmax(axis=1) == y if y.ndim == 1 else ((outputs > 0.5) == y).all(axis=1)
        return np.average(right, weights=sample_weight)

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """One epoch more over the given samples.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever be seen; needed in the first call.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable classes.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_classes) of 0 and 1 for several labels
        """
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            return self.classes_.take(outputs.argmax(axis=1))
        if self.n_outputs_ == 1 and len(self.classes_) == 2:
            return self.classes_.take((outputs[:, 0] > 0.5).view(np.int8))
        labels: np.ndarray = self._label_binarizer.inverse_transform(outputs[:, 0] if self.n_outputs_ == 1 else outputs)
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of the classes.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), in the order of ``classes_``
        """
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), in the order of ``classes_``
        """
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):  # log 0
            return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
