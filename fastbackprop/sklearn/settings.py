"""What both estimators are given: their parameters, and which values each may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastbackprop import optimizers
from fastbackprop.activations import ACTIVATIONS

# scikit-learn's names of what the package calls otherwise. Its relu'(0) is 0.
HIDDEN = {"logistic": "sigmoid", "relu": "relu0"}
OUTPUT = {"logistic": "sigmoid", "softmax": "softmax", "identity": "identity", "exp": "exp"}
SOLVERS = {"lbfgs", "sgd", "adam", "adamw", "rmsprop", "adagrad"}


class Settings(BaseEstimator):
    """The parameters that the classifier and the regressor have in common."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"logistic", *ACTIVATIONS})],
        "solver": [StrOptions(SOLVERS), optimizers.Optimizer, optimizers.LBFGS],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "l1": [Interval(Real, 0, None, closed="left")],
        "dtype": [StrOptions({"float32", "float64"}), None],
        "threads": [Interval(Integral, 1, None, closed="left"), None],
        "progress": ["boolean"],
        "callbacks": [list, tuple],
    }

    hidden_layer_sizes: Any
    activation: str
    solver: Any
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: float
    l1: float
    dtype: str | None
    threads: int | None
    progress: bool
    callbacks: Sequence[Callable[[dict[str, Any]], Any]]

    @property
    def _lbfgs(self) -> bool:
        return self.solver == "lbfgs" or isinstance(self.solver, optimizers.LBFGS)

    @property
    def _hidden(self) -> str:
        """The activation of the hidden layers, by the package's name."""
        return HIDDEN.get(self.activation, self.activation)

    def _new_optimizer(self) -> optimizers.Optimizer:
        rate, eps = float(self.learning_rate_init), self.epsilon
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
            return optimizers.SGD(rate, momentum=self.momentum, nesterov=nesterov)
        if self.solver == "adam":
            return optimizers.Adam(rate, self.beta_1, self.beta_2, eps)
        if self.solver == "adamw":
            return optimizers.AdamW(rate, self.beta_1, self.beta_2, eps, weight_decay=self.alpha)
        if self.solver == "rmsprop":
            return optimizers.RMSprop(rate, eps=eps)
        if self.solver == "adagrad":
            return optimizers.Adagrad(rate, eps=eps)
        given: optimizers.Optimizer = self.solver
        return given
