"""How both estimators learn: scikit-learn's epochs, stops, records and words, done by the engine."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from operator import imul
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastbackprop import checks, optimizers
from fastbackprop.fitting import progress_bar
from fastbackprop.lbfgs import minimize
from fastbackprop.network import Network
from fastbackprop.penalty import Penalty
from fastbackprop.sklearn.arrays import READ, in_dtype
from fastbackprop.sklearn.model import Model
from fastbackprop.threads import in_one_go
from fastbackprop.training import Training
from fastbackprop.weights import sample_weights

# Epochs that nobody watches are done together, for at most so long: an interrupt loses the losses of these.
SECONDS_TOGETHER = 0.2
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


def is_stochastic(estimator: MLP) -> bool:
    """Whether it has ``partial_fit``."""
    if estimator._lbfgs:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


def _warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called ``fit``, however many calls of this module and of scikit-learn lie between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("fastbackprop", "sklearn"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _check_weights(weights: np.ndarray) -> None:
    """Those of the samples that are learned from."""
    if weights.min() < 0:
        raise ValueError(f"sample_weight must be at least 0, got {weights.min()!s}")
    if not weights.any():
        raise ValueError("sample_weight must be above 0 for at least one sample to learn from, got zeros only")


class MLP(Model):
    """What the classifier and the regressor have in common."""

    best_loss_: Any  # None with early_stopping, as the next two are without
    validation_scores_: Any
    best_validation_score_: Any

    # ------------------------------------------------------------------ what the two answer differently

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """X and y as scikit-learn reads them."""
        raise NotImplementedError

    def _read(self, X: Any, y: Any, reset: bool, **more: Any) -> tuple[Any, Any]:
        """X and y by scikit-learn's validation, X as it lies where the engine reads such."""
        dtype = READ if getattr(X, "ndim", 0) == 2 else READ[:2]
        options = {"accept_sparse": ["csr", "csc"], "multi_output": True, "dtype": dtype, "reset": reset, **more}
        X, y = validate_data(self, X, y, **options)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _first_call(self, y: Any, classes: Any) -> None:
        """What a first ``partial_fit`` is told of all classes."""

    def _targets(self, y: np.ndarray) -> tuple[np.ndarray, int]:
        """What the network is trained on, and the number of outputs. Sets ``out_activation_``."""
        raise NotImplementedError

    def _validation_score(self, outputs: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> float:
        raise NotImplementedError

    def _class_weights(self, y: np.ndarray, incremental: bool) -> np.ndarray | None:
        """The weight of each sample's class."""
        return None

    def _loss_divisor(self) -> int:
        """What the engine's mean loss, which is summed over the outputs, is divided by to be scikit-learn's."""
        return 1

    # ------------------------------------------------------------------ learning

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool = False, classes: Any = None) -> Any:
        before = self.__dict__.copy()
        has_learned: Callable[[], bool] = bool  # which is False
        try:
            with checks.put_back_on_error(self.random_state):
                if incremental:
                    self._first_call(y, classes)
                net, train, has_learned = self._prepare(X, y, sample_weight, incremental)
                train()
        except BaseException:
            if not has_learned():  # what cannot be learned from leaves the estimator as it was
                in_one_go(partial(self.__dict__.clear), partial(self.__dict__.update, before))
            raise
        if not np.isfinite(net.params).all():
            raise ValueError(NOT_FINITE)
        return self

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool
    ) -> tuple[Network, Callable[[], None], Callable[[], bool]]:
        """All up to the first step: the network, what trains it, and what tells whether a step was done."""
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if self.dropout > 0 and self._lbfgs:
            raise ValueError(f"dropout needs a stochastic solver, got dropout={self.dropout} with {self.solver!r}")
        for callback in self.callbacks:
            if not callable(callback):
                raise TypeError(f"callbacks must be functions of an epoch's record, got {callback!r}")
        first_pass = not hasattr(self, "coefs_") or not (self.warm_start or incremental)

        net = None if first_pass else self._network()
        X, y = self._validate(X, y, incremental, first_pass)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        X = X.tocsr(copy=bool(self.callbacks)) if sparse.issparse(X) else X  # SciPy moves a matrix' numbers in place
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        class_weights = self._class_weights(y, incremental)
        if class_weights is not None:
            sample_weight = class_weights if sample_weight is None else sample_weight * class_weights
        if sample_weight is not None:
            _check_weights(sample_weight)
        y, outputs = self._targets(y)
        if net is not None and outputs != net.sizes[-1]:
            raise ValueError(f"y must have {net.sizes[-1]} outputs, as in the last fit, got {outputs}")
        self.n_outputs_ = outputs

        random = check_random_state(self.random_state)
        if first_pass:
            self._initialize([X.shape[1], *hidden, outputs], self._first_dtype(X), random)
        net, self.n_iter_ = self._network(), 0
        if self._lbfgs:
            return net, partial(self._fit_lbfgs, net, X, y, sample_weight), lambda: self.n_iter_ > 0
        return net, *self._stochastic(net, X, y, sample_weight, random, first_pass, incremental)

    def _first_dtype(self, X: Any) -> np.dtype[Any]:
        """The dtype of a new network. Where none is asked for it is scikit-learn's, whose lbfgs always has float64."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        return np.dtype(np.float32 if X.dtype == np.float32 and not self._lbfgs else np.float64)

    def _fit_lbfgs(self, net: Network, X: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> None:
        optimizer = self.solver
        if optimizer == "lbfgs":
            optimizer = optimizers.LBFGS(tolerance=float(self.tol), max_evaluations=self.max_fun)
        X = checks.rows(X, "X", net.sizes[0], net.dtype, unread=True)  # a view that no callback has
        total = X.shape[0] if sample_weight is None else float(sample_weight.sum())
        penalty = Penalty(float(self.l1) / total, float(self.alpha) / total)
        weights = sample_weights(sample_weight, X.shape[0], net.dtype)
        with self._bar() as bar:

            def iteration_ends(cost: float) -> bool:
                self.n_iter_ += 1
                return self._tell(cost, bar)

            try:
                result = minimize(net, X, in_dtype(y, net), weights, penalty, optimizer, self.max_iter, iteration_ends)
            except FloatingPointError as error:
                raise ValueError(NOT_FINITE) from error
        self.loss_ = float(result.fun)
        self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)

    def _start_records(self, net: Network) -> None:
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.validation_scores_ = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.best_loss_ = None if self.early_stopping else np.inf
        self._best_params = net.params.copy() if self.early_stopping else None

    def _stochastic(
        self, net: Network, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, random: np.random.RandomState,
        first_pass: bool, incremental: bool,
    ) -> tuple[Callable[[], None], Callable[[], bool]]:  # fmt: skip
        kind = list if self.early_stopping else type(None)
        known = isinstance(getattr(self, "validation_scores_", ...), kind)
        if first_pass or not known or (self.early_stopping and self._best_params is None):
            self._start_records(net)
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
            self._state = None
            # Of scikit-learn's SGD, whose rate the estimator changes. The others keep to what they were given.
            self._rate: float | None = float(self.learning_rate_init) if self.solver == "sgd" else None
        rows, validation = None, None
        if self.early_stopping:
            rows, held_out = self._split(y, sample_weight, random)
            validation = X[held_out], y[held_out], None if sample_weight is None else sample_weight[held_out]
        samples = X.shape[0] if rows is None else len(rows)
        if self.batch_size == "auto":
            batch_size = min(200, samples)
        else:
            if self.batch_size > samples:
                _warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
            batch_size = min(self.batch_size, samples)

        state = self._state
        if state is not None and any(vector.dtype != net.dtype for vector in state.vectors):
            state = state.copy(net.dtype)  # other parameters were put in the place of the ones it comes from
        training = Training(
            net, X, in_dtype(y, net), batch_size=batch_size, optimizer=self._optimizer, shuffle=self.shuffle,
            seed=int(random.randint(np.iinfo(np.int32).max)), rows=rows, sample_weight=sample_weight, l1=float(self.l1),
            l2=0.0 if self.solver == "adamw" else float(self.alpha), penalty_per_sample=True, dropout=self.dropout,
            threads=self.threads, state=state,
        )  # fmt: skip
        self._state = training.state
        before, train = training.state.steps, partial(self._fit_stochastic, training, samples, validation, incremental)
        return partial(train, self._bar()), lambda: training.state.steps > before

    def _fit_stochastic(
        self, training: Training, samples: int, validation: Any, incremental: bool, progress: Any
    ) -> None:
        try:
            with progress as bar:
                self._epochs(training, samples, validation, incremental, bar)
        except KeyboardInterrupt:
            _warn("Training interrupted by user.")
        if self.early_stopping:
            training.net.params[...] = self._best_params

    def _split(
        self, y: np.ndarray, sample_weight: np.ndarray | None, random: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows to learn from and those to validate with: scikit-learn's choice."""
        stratify = y if y.dtype == bool and y.shape[1] == 1 else None  # scikit-learn does so for two classes only
        rows, held_out = train_test_split(
            np.arange(len(y)), random_state=random, test_size=self.validation_fraction, stratify=stratify
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if sample_weight is not None:
            _check_weights(sample_weight[rows])
        return rows, held_out

    def _epochs(self, training: Training, samples: int, validation: Any, incremental: bool, bar: Any) -> None:
        """One epoch for ``partial_fit``, else all until one of the reasons to stop."""
        scaled = self.learning_rate == "invscaling"  # the rate is another after each epoch
        watched = self.verbose or self.early_stopping or self.callbacks or self.progress or scaled
        together = 1
        while True:
            count, stop = 1, None
            if not (watched or incremental):
                count = min(self.max_iter - self.n_iter_, together)
                if training.in_place:
                    stop = self._stop()
                else:  # the earliest epoch after which training may end
                    count = int(min(count, max(1, self.n_iter_no_change + 1 - self._no_improvement_count)))
            start = time.perf_counter()
            try:
                costs = training.run(count, learning_rate=self._rate, stop=stop)
            except FloatingPointError as error:
                if not self.early_stopping:
                    raise ValueError(NOT_FINITE) from error
                self._epoch_ends(np.nan, np.nan, samples, training.net)
                _warn(
                    f"The training diverged in epoch {self.n_iter_}; the best parameters before are kept.",
                    ConvergenceWarning,
                )
                return
            together = max(1, int(SECONDS_TOGETHER * len(costs) / (time.perf_counter() - start)))
            for cost, penalty in costs.tolist():
                score = None if validation is None else self._score_now(training.net, *validation)
                self._epoch_ends(cost / self._loss_divisor() + penalty, score, samples, training.net)
            if self._rate is not None and self.learning_rate == "invscaling":
                rate = float(self.learning_rate_init) / (self.t_ + 1) ** self.power_t
                self._set_rate(training, self._rate, rate)
            ended = self._tell(self.loss_, bar, len(costs))
            if self._no_improvement_count > self.n_iter_no_change:
                ended |= self._no_improvement(training)
            if ended or incremental:
                return
            if self.n_iter_ == self.max_iter:
                _warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                )
                return

    def _stop(self) -> np.ndarray:
        """When the engine is to leave off: what `_epoch_ends` decides where there is no validation score."""
        best, count = self.best_loss_, self._no_improvement_count
        return np.array([self.tol, self.n_iter_no_change, self._loss_divisor(), best, count], np.float64)

    def _epoch_ends(self, loss: float, score: float | None, samples: int, net: Network) -> None:
        new: dict[str, Any] = {"n_iter_": self.n_iter_ + 1, "t_": self.t_ + samples, "loss_": loss}
        records = [partial(self.loss_curve_.append, loss)]
        if score is None:
            improved = not loss > self.best_loss_ - self.tol
            new["best_loss_"] = min(self.best_loss_, loss)
        else:
            records.append(partial(self.validation_scores_.append, score))
            improved = not score < self.best_validation_score_ + self.tol
            if score > self.best_validation_score_:
                new |= {"best_validation_score_": score, "_best_params": net.params.copy()}
        new["_no_improvement_count"] = 0 if improved else self._no_improvement_count + 1
        in_one_go(*records, partial(self.__dict__.update, new))  # an interrupt finds none of it done, or all

    def _no_improvement(self, training: Training) -> bool:
        """Whether to stop after too many epochs without; if not, a smaller rate is tried."""
        name = "Validation score" if self.early_stopping else "Training loss"
        message = f"{name} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        if self._rate is None or self.learning_rate != "adaptive":
            self._say(f"{message} Stopping.")
            return True
        if self._rate <= 1e-6:
            self._say(f"{message} Learning rate too small. Stopping.")
            return True
        self._say(f"{message} Setting learning rate to {self._rate / 5.0:f}")
        self._set_rate(training, self._rate, self._rate / 5.0)
        self._no_improvement_count = 0
        return False

    def _set_rate(self, training: Training, old: float, new: float) -> None:
        """Change SGD's rate as scikit-learn does, whose velocity is ours times the rate at which it was gathered."""
        scaled = [partial(imul, velocity, old / new) for velocity in training.state.vectors]
        in_one_go(*scaled, partial(setattr, self, "_rate", new))

    def _bar(self) -> Any:
        return progress_bar(self.max_iter) if self.progress else nullcontext()

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)  # noqa: T201 - as scikit-learn

    def _tell(self, loss: float, bar: Any, epochs: int = 1) -> bool:
        """Report an epoch to whoever wants to know; whether a callback ends the training."""
        record: dict[str, Any] = {"epoch": self.n_iter_, "cost": loss}
        self._say(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        if self.early_stopping and not self._lbfgs:
            record["validation_score"] = self.validation_scores_[-1]
            self._say(f"Validation score: {record['validation_score']:f}")
        if bar is not None:
            bar.set_postfix({k: f"{v:.4g}" for k, v in record.items() if k != "epoch"}, refresh=False)
            bar.update(epochs)
        answers = [bool(callback(record)) for callback in self.callbacks]  # also NumPy's True
        return any(answers)

    def _score_now(self, net: Network, X: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> float:
        """The validation score, NaN where the outputs are not finite."""
        outputs = net.forward(X)
        if not np.isfinite(outputs).all():
            return np.nan
        return float(self._validation_score(outputs, y, sample_weight))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Learn from samples.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Where a parameter, X, y or the weights cannot be used, and where the training diverges: ``coefs_`` and
            ``intercepts_`` are then those before that step.
        """
        return self._fit(X, y, sample_weight)
