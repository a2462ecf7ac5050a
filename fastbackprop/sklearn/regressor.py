"""``MLPRegressor``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from fastbackprop.sklearn.learning import MLP, is_stochastic


class MLPRegressor(RegressorMixin, MLP):
    """Multi-layer perceptron regressor: scikit-learn's, trained by the engine.

    Parameters
    ----------
    loss : 'squared_error' or 'poisson'
        Half the squared error, or half the Poisson deviance with outputs exp(z) for y of at least 0.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter
        As of :class:`MLPClassifier`, here and below.
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction
        The score of the validation samples is R^2.
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, l1, dtype, threads, progress, callbacks

    Attributes
    ----------
    coefs_, intercepts_, loss_, loss_curve_, best_loss_, validation_scores_, best_validation_score_, n_iter_, t_
        As of :class:`MLPClassifier`, and so are network_, n_outputs_, n_layers_, out_activation_, n_features_in_ and
        feature_names_in_.

    Examples
    --------
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> reg = MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", max_iter=1000, random_state=0)
    >>> reg.fit(X, X.ravel() ** 2).score(X, X.ravel() ** 2) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    loss: str

    def __init__(
        self, loss: str = "squared_error", hidden_layer_sizes: Any = (100,), activation: str = "relu", *,
        solver: Any = "adam", alpha: float = 0.0001, batch_size: Any = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: Any = None, tol: float = 1e-4, verbose: Any = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, dropout: float = 0.0, l1: float = 0.0,
        dtype: str | None = None, threads: int | None = None, progress: bool = False,
        callbacks: Sequence[Callable[[dict[str, Any]], Any]] = (),
    ) -> None:  # fmt: skip
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        return self._read(X, y, reset, y_numeric=True)

    def _targets(self, y: np.ndarray) -> tuple[np.ndarray, int]:
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"y must be at least 0 for loss='poisson', got {y.min()!s}")
        self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        rows = y.reshape(len(y), -1)
        return rows, rows.shape[1]

    def _loss_divisor(self) -> int:
        return self.n_outputs_ if self.loss == "squared_error" else 1  # the gradient is the sum's for both

    def _validation_score(self, outputs: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> float:
        score: float = r2_score(y, outputs, sample_weight=sample_weight)
        return score

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """One epoch more over the given samples.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """The outputs.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several outputs
        """
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs
