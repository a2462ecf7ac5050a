"""scikit-learn: MLPClassifier and MLPRegressor.

A call is one `fit` of several epochs with `warm_start=True`. Its time includes, once a call, the checks of X and y
and the coding of the labels; and every step the loss, which scikit-learn always computes (with alpha=0 too).
X is handed over as it is: scikit-learn learns in float64 from all that is not float32, and converts it in every call.
Momentum is off, so that it is the same SGD. Adam's moments start again with every call: the cost is the same.
"""

from __future__ import annotations

import warnings

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.peers import Unsupported
from benchmarks.workloads import Problem, flat, layers

version = f"scikit-learn {sklearn.__version__}"


class Engine:
    def __init__(self, problem: Problem, threads: int):
        work = problem.work
        if work.optimizer is None:
            raise Unsupported("no public call gives the gradient")
        classes = work.sizes[-1]
        # For two classes scikit-learn trains one logistic output. So that it does the same work as the others (a
        # softmax over two), it gets the targets as one-hot rows, and softmax is set by its attribute.
        two_way_softmax = work.output == "softmax" and classes == 2
        self.X, self.y = problem.X, problem.Y if two_way_softmax else problem.y
        self.model = (MLPRegressor if work.output == "identity" else MLPClassifier)(
            hidden_layer_sizes=work.sizes[1:-1], activation=work.hidden, solver=work.optimizer, alpha=0.0,
            batch_size=work.batch, learning_rate_init=work.learning_rate, momentum=0.0, nesterovs_momentum=False,
            tol=0.0, n_iter_no_change=10**9, max_iter=1, shuffle=False, warm_start=True, random_state=0,
        )  # fmt: skip
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.model.fit(self.X, self.y)  # makes the arrays, which are then set
        if two_way_softmax:
            self.model.out_activation_ = "softmax"
        weights, biases = layers(problem.params, work.sizes)
        dtype = self.model.coefs_[0].dtype  # by X
        self.model.coefs_ = [np.array(W.T, dtype, order="C") for W in weights]
        self.model.intercepts_ = [b.astype(dtype) for b in biases]

    def run(self, epochs: int, shuffle: bool) -> None:
        self.model.set_params(max_iter=epochs, shuffle=shuffle)
        self.model.fit(self.X, self.y)

    def result(self) -> np.ndarray:
        return flat([W.T for W in self.model.coefs_], self.model.intercepts_)

    def forward(self, X: np.ndarray) -> np.ndarray:
        return self.model.predict(X) if isinstance(self.model, MLPRegressor) else self.model.predict_proba(X)
