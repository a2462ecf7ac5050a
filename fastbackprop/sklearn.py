"""``MLPClassifier`` and ``MLPRegressor``: scikit-learn's estimators of the same names, trained by the engine.

Parameters, attributes, warnings and errors are scikit-learn's; what is added comes after scikit-learn's parameters. See
``docs/sklearn.md`` for what differs.
"""

from __future__ import annotations

import operator
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

try:
    from scipy import sparse
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils._param_validation import Interval, Options, StrOptions
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
    from sklearn.utils.optimize import _check_optimize_result
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("fastbackprop.sklearn needs scikit-learn 1.6: pip install 'fastbackprop[sklearn]'") from error

from fastbackprop import optimizers
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.fitting import progress_bar
from fastbackprop.lbfgs import minimize
from fastbackprop.network import Network
from fastbackprop.penalty import Penalty
from fastbackprop.training import Training

# scikit-learn's names of what the package calls otherwise. Its relu'(0) is 0.
HIDDEN = {"logistic": "sigmoid", "relu": "relu0"}
OUTPUT = {"logistic": "sigmoid", "softmax": "softmax", "identity": "identity", "exp": "exp"}
SOLVERS = {"lbfgs", "sgd", "adam", "adamw", "rmsprop", "adagrad"}
# Epochs that nobody watches are done together, for at most so long: an interrupt loses the losses of these.
SECONDS_TOGETHER = 0.2
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


def _is_stochastic(estimator: _MLP) -> bool:
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


def _in_dtype(y: np.ndarray, net: Network) -> np.ndarray:
    """Targets as the engine reads them: class numbers, or rows in the dtype of the network."""
    with np.errstate(under="ignore"):
        return y if y.ndim == 1 else y.astype(net.dtype, copy=False)


class _MLP(BaseEstimator):
    """What the classifier and the regressor have in common."""

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

    out_activation_: str
    best_loss_: Any  # None with early_stopping, as the next two are without
    validation_scores_: Any
    best_validation_score_: Any

    # ------------------------------------------------------------------ what the two answer differently

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any) -> tuple[Any, np.ndarray]:
        """X, and y as scikit-learn reads it."""
        raise NotImplementedError

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

    # ------------------------------------------------------------------ the network

    @property
    def _lbfgs(self) -> bool:
        return self.solver == "lbfgs" or isinstance(self.solver, optimizers.LBFGS)

    def _network(self) -> Network:
        """The network of ``coefs_`` and ``intercepts_``; a new one only where somebody put other arrays there."""
        arrays = [*self.coefs_, *self.intercepts_]
        key = (self.activation, self.out_activation_, self.threads, len(arrays))
        kept = self.__dict__.get("_kept")
        if kept is not None and kept[0] == key and all(map(operator.is_, kept[1], arrays)):
            net: Network = kept[2]
            return net
        sizes = [len(self.coefs_[0]), *(np.shape(W)[1] for W in self.coefs_)]
        net = self._new_network(sizes, np.result_type(np.float32, *arrays))
        for view, array in zip([*(W.T for W in net.weights), *net.biases], arrays):
            view[...] = array
        return self._connect(net)

    def _new_network(self, sizes: Sequence[int], dtype: Any) -> Network:
        hidden = HIDDEN.get(self.activation, self.activation)
        return Network(sizes, hidden, OUTPUT[self.out_activation_], dtype=dtype, seed=0, threads=self.threads)

    def _connect(self, net: Network) -> Network:
        """Make ``coefs_`` and ``intercepts_`` views of a network's parameters."""
        self.coefs_ = [W.T for W in net.weights]
        self.intercepts_ = list(net.biases)
        arrays = [*self.coefs_, *self.intercepts_]
        self._kept = (self.activation, self.out_activation_, self.threads, len(arrays)), arrays, net
        return net

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "coefs_" in state:
            self._network()  # at once: who looks at coefs_ now must see what later training does to them

    def _initialize(self, sizes: Sequence[int], dtype: Any, random: np.random.RandomState) -> None:
        """Draw the weights and the biases as scikit-learn does, in its order (Glorot and Bengio, 2010)."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        net = self._new_network(sizes, dtype)
        factor = 2.0 if HIDDEN.get(self.activation, self.activation) == "sigmoid" else 6.0
        for W, b in zip(net.weights, net.biases):
            bound = np.sqrt(factor / (W.shape[0] + W.shape[1]))
            W.T[...] = random.uniform(-bound, bound, W.shape[::-1])
            b[...] = random.uniform(-bound, bound, b.shape)
        self._connect(net)

    # ------------------------------------------------------------------ learning

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool = False) -> Any:
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

        dtype: Any = (np.float64, np.float32)
        if not first_pass:
            dtype = self._network().dtype
        elif self.dtype is not None:
            dtype = np.dtype(self.dtype)
        elif self._lbfgs:
            dtype = np.float64  # as scikit-learn: SciPy's vector of parameters is
        X, y = self._validate(X, y, incremental, first_pass, dtype)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        X = X.tocsr() if sparse.issparse(X) else X
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        class_weights = self._class_weights(y, incremental)
        if class_weights is not None:
            sample_weight = class_weights if sample_weight is None else sample_weight * class_weights
        y, self.n_outputs_ = self._targets(y)

        random = check_random_state(self.random_state)
        if first_pass:
            self._initialize([X.shape[1], *hidden, self.n_outputs_], X.dtype, random)
        net = self._network()
        if self._lbfgs:
            self._fit_lbfgs(net, X, y, sample_weight)
        else:
            self._fit_stochastic(net, X, y, sample_weight, random, first_pass, incremental)
        if not np.isfinite(net.params).all():
            raise ValueError(NOT_FINITE)
        return self

    def _fit_lbfgs(self, net: Network, X: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> None:
        optimizer = self.solver
        if optimizer == "lbfgs":
            optimizer = optimizers.LBFGS(tolerance=float(self.tol), max_evaluations=self.max_fun)
        total = X.shape[0] if sample_weight is None else float(sample_weight.sum())
        penalty = Penalty(float(self.l1) / total, float(self.alpha) / total)
        with np.errstate(under="ignore"):
            weights = None if sample_weight is None else sample_weight.astype(net.dtype)
        self.n_iter_ = 0
        with self._bar() as bar:

            def iteration_ends(cost: float) -> bool:
                self.n_iter_ += 1
                return self._tell(cost, bar)

            try:
                result = minimize(net, X, _in_dtype(y, net), weights, penalty, optimizer, self.max_iter, iteration_ends)
            except FloatingPointError as error:
                raise ValueError(NOT_FINITE) from error
        self.loss_ = float(result.fun)
        self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)

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

    def _start_records(self, net: Network) -> None:
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.validation_scores_ = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.best_loss_ = None if self.early_stopping else np.inf
        self._best_params = net.params.copy() if self.early_stopping else None

    def _fit_stochastic(
        self, net: Network, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, random: np.random.RandomState,
        first_pass: bool, incremental: bool,
    ) -> None:  # fmt: skip
        kind = list if self.early_stopping else type(None)
        if first_pass or not isinstance(getattr(self, "validation_scores_", ...), kind):
            self._start_records(net)
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
            self._state = None
            # Of scikit-learn's SGD, whose rate the estimator changes. The others keep to what they were given.
            self._rate: float | None = float(self.learning_rate_init) if self.solver == "sgd" else None
        validation = None
        if self.early_stopping:
            X, y, sample_weight, *validation = self._split(X, y, sample_weight, random)
        samples = X.shape[0]
        if self.batch_size == "auto":
            batch_size = min(200, samples)
        else:
            if self.batch_size > samples:
                _warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
            batch_size = min(self.batch_size, samples)

        training = Training(
            net, X, _in_dtype(y, net), batch_size=batch_size, optimizer=self._optimizer, shuffle=self.shuffle,
            seed=int(random.randint(np.iinfo(np.int32).max)), sample_weight=sample_weight, l1=float(self.l1),
            l2=0.0 if self.solver == "adamw" else float(self.alpha), penalty_per_sample=True, dropout=self.dropout,
            threads=self.threads, state=self._state,
        )  # fmt: skip
        self.n_iter_ = 0
        try:
            with self._bar() as bar:
                self._epochs(training, samples, validation, incremental, bar)
        except KeyboardInterrupt:
            _warn("Training interrupted by user.")
        finally:
            self._state = training.state
        if self.early_stopping:
            net.params[...] = self._best_params

    def _split(
        self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, random: np.random.RandomState
    ) -> tuple[Any, np.ndarray, np.ndarray | None, Any, np.ndarray, np.ndarray | None]:
        """The samples to learn from and those to validate with: X, y and weights of each."""
        stratify = y if y.dtype == bool and y.shape[1] == 1 else None  # scikit-learn does so for two classes only
        arrays = (X, y) if sample_weight is None else (X, y, sample_weight)
        parts = train_test_split(*arrays, random_state=random, test_size=self.validation_fraction, stratify=stratify)
        learned, held_out = parts[::2], parts[1::2]
        if held_out[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if sample_weight is None:
            return *learned, None, *held_out, None
        return *learned, *held_out

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
                else:  # nothing is decided before so many epochs
                    count = int(min(count, max(1, self.n_iter_no_change + 1 - self._no_improvement_count)))
            start = time.perf_counter()
            try:
                costs = training.run(count, learning_rate=self._rate, stop=stop)
            except FloatingPointError as error:
                if not self.early_stopping:
                    raise ValueError(NOT_FINITE) from error
                self._epoch_ends(np.nan, np.nan, samples)
                _warn(
                    f"The training diverged in epoch {self.n_iter_}; the best parameters before are kept.",
                    ConvergenceWarning,
                )
                return
            together = max(1, int(SECONDS_TOGETHER * len(costs) / (time.perf_counter() - start)))
            for cost, penalty in costs.tolist():
                score = None if validation is None else self._score_now(*validation)
                self._epoch_ends(cost / self._loss_divisor() + penalty, score, samples)
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

    def _epoch_ends(self, loss: float, score: float | None, samples: int) -> None:
        self.n_iter_ += 1
        self.t_ += samples
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if score is None:
            improved = not loss > self.best_loss_ - self.tol
            self.best_loss_ = min(self.best_loss_, loss)
        else:
            self.validation_scores_.append(score)
            improved = not score < self.best_validation_score_ + self.tol
            if score > self.best_validation_score_:
                self.best_validation_score_ = score
                self._best_params = self._network().params.copy()
        self._no_improvement_count = 0 if improved else self._no_improvement_count + 1

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
        for velocity in training.state.vectors:
            velocity *= old / new
        self._rate = new

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
        answers = [callback(record) is True for callback in self.callbacks]
        return any(answers)

    def _score_now(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> float:
        """The validation score, NaN where the outputs are not finite."""
        outputs = self._network().forward(X)
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

    # ------------------------------------------------------------------ predicting

    def _outputs(self, X: Any) -> np.ndarray:
        """The outputs of the network, (n_samples, n_outputs)."""
        if "coefs_" not in self.__dict__:
            check_is_fitted(self, "coefs_")
        net = self._network()
        plain = type(X) is np.ndarray and X.ndim == 2 and X.dtype == net.dtype
        if plain and "feature_names_in_" not in self.__dict__:
            with suppress(ValueError):  # scikit-learn finds the same fault below, and has its own words for it
                return net.forward(X)  # its validation takes longer than a small network
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return net.forward(X.tocsr() if sparse.issparse(X) else X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class MLPClassifier(ClassifierMixin, _MLP):
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
        Multiplies the sample weights, as in scikit-learn's other classifiers.
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
        ``validation_score``; one that returns True ends the training.

    Attributes
    ----------
    classes_, n_outputs_, n_layers_, out_activation_, n_features_in_, feature_names_in_, n_iter_, t_, loss_
        As scikit-learn's.
    loss_curve_, best_loss_, validation_scores_, best_validation_score_
        As scikit-learn's; not for lbfgs.
    coefs_, intercepts_ : list of ndarray
        (n_in, n_out) and (n_out,): views of the network's parameters, writable. Other arrays may be put in their place.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(max_iter=2000, learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_MLP._parameter_constraints,
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

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=dtype, order="C", reset=reset
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
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

    def _class_weights(self, y: Any, incremental: bool) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not see all samples. Give the "
                "weights that sklearn.utils.class_weight.compute_class_weight('balanced', ...) finds for all of them"
            )
        weights: np.ndarray = compute_sample_weight(self.class_weight, y)
        return weights

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

    @available_if(_is_stochastic)
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
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True)

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


class MLPRegressor(RegressorMixin, _MLP):
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
        As of :class:`MLPClassifier`, and so are n_outputs_, n_layers_, out_activation_, n_features_in_ and
        feature_names_in_.

    Examples
    --------
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> reg = MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", max_iter=1000, random_state=0)
    >>> reg.fit(X, X.ravel() ** 2).score(X, X.ravel() ** 2) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_MLP._parameter_constraints,
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

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any) -> tuple[Any, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=True, dtype=dtype, order="C",
            reset=reset,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

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

    @available_if(_is_stochastic)
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
