"""fit: a training with validation, early stopping, checkpoints, callbacks and a progress bar."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks
from fastbackprop.early_stopping import EarlyStopping, Stopper
from fastbackprop.heads import read_targets
from fastbackprop.history import History
from fastbackprop.optimizers import LBFGS, Optimizer
from fastbackprop.optimizers import optimizer as read_optimizer
from fastbackprop.plan import samples_of_block
from fastbackprop.schedules import Schedule
from fastbackprop.training import State, Training

if TYPE_CHECKING:
    from fastbackprop.network import Network

Callback = Callable[[dict[str, Any]], Any]
LOG_INTERVAL = 10.0  # seconds between two lines of a progress bar that is written to a file


def score_name(output: str) -> str:
    """What `score` is."""
    return "accuracy" if output in ("softmax", "sigmoid") else "R²"


def score(output: str, o: np.ndarray, y: np.ndarray) -> float:
    """Accuracy of the most probable class (softmax) or of every output's side of 1/2 (sigmoid); R^2 for the others.

    Of several targets it is the mean of their R^2, and a constant one counts 1 where it is met exactly, else 0, as in
    scikit-learn's ``r2_score``.
    """
    if output == "softmax":
        return float(np.mean(o.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))))
    if output == "sigmoid":
        return float(np.mean(((o > 0.5) == (y > 0.5)).all(axis=1)))
    if len(y) < 2:
        return float("nan")
    errors = np.sum((y - o.astype(np.float64)) ** 2, axis=0)
    totals = np.sum((y - y.mean(axis=0, dtype=np.float64)) ** 2, axis=0)
    return float(np.mean(1.0 - np.divide(errors, totals, out=(errors > 0).astype(np.float64), where=totals > 0)))


def class_weights(class_weight: Any, output: str, Y: np.ndarray) -> np.ndarray:
    """The weight of each sample by its class: from a dict, or 'balanced', ``N / (classes * count of the class)``."""
    if output not in ("softmax", "sigmoid") or (Y.ndim == 2 and output == "sigmoid" and Y.shape[1] > 1):
        raise ValueError(f"class_weight needs classes: output='softmax', or 'sigmoid' with one output, got {output!r}")
    classes = Y if Y.ndim == 1 else (Y[:, 0] > 0.5).astype(np.int64) if Y.shape[1] == 1 else Y.argmax(axis=1)
    if isinstance(class_weight, str) and class_weight == "balanced":
        present, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
        return (len(classes) / (len(present) * counts))[index]
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight must be 'balanced' or a dict from class number to weight, got {class_weight!r}")
    weights = np.ones(len(classes))
    for label, weight in class_weight.items():
        weights[classes == label] = checks.real_number(weight, f"class_weight[{label!r}]", 0)
    return weights


def split(output: str, Y: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and for validation, in order; for classes the same share of each as near as can be."""
    samples = len(Y)
    held_out = round(samples * fraction)
    if not 0 < held_out < samples:
        raise ValueError(f"validation_fraction must leave samples on both sides, got {fraction!r} of {samples} samples")
    key = rng.random(samples)
    if output == "softmax" or (output == "sigmoid" and Y.shape[1] == 1):
        classes = Y if Y.ndim == 1 else (Y[:, 0] > 0.5).astype(int) if Y.shape[1] == 1 else Y.argmax(axis=1)
        # Ranked by the place within the class, as a share of the class: the first of all ranks are a fair sample.
        order = np.lexsort((key, classes))
        _, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
        place = np.arange(samples) - np.repeat(starts, counts)
        key[order] = (place + rng.random(samples)) / np.repeat(counts, counts)
    chosen = np.zeros(samples, bool)
    chosen[np.argsort(key, kind="stable")[:held_out]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


class _Validation:
    """Held-out samples: all of (X, Y), or some of its rows, which are read a block at a time."""

    def __init__(self, X: Any, Y: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.X, self.Y, self.rows = X, Y if rows is None else Y[rows], rows

    def check(self, net: Network) -> None:
        """The rows that no training step sees are finite."""
        for part in self._parts(net):
            with np.errstate(over="ignore", under="ignore"):
                finite = np.isfinite(net.readable(self.X[part])).all()
            if not finite:
                checks.finite(self.X, "X", net.dtype)

    def _parts(self, net: Network) -> Iterator[np.ndarray]:
        assert self.rows is not None
        step = samples_of_block(net.sizes, net.dtype)
        return (self.rows[start : start + step] for start in range(0, len(self.rows), step))

    def measure(self, net: Network) -> tuple[float, float]:
        """Cost and score."""
        o = np.empty((len(self.Y), net.sizes[-1]), net.dtype)
        if self.rows is None:
            return net._evaluate(self.X, self.Y, None, o), score(net.output, o, self.Y)
        cost, done = 0.0, 0
        for rows in self._parts(net):
            part = slice(done, done + len(rows))
            cost += net._evaluate(net.readable(self.X[rows]), self.Y[part], None, o[part]) * len(rows)
            done = part.stop
        return cost / len(self.rows), score(net.output, o, self.Y)


class _Watch:
    """What is done after each epoch, and what is known from the epochs so far."""

    def __init__(
        self, net: Network, history: History, validation: _Validation | None, stopper: Stopper | None,
        callbacks: Sequence[Callback], epochs: int, progress: bool,
    ) -> None:  # fmt: skip
        self.net, self.history, self.validation, self.stopper = net, history, validation, stopper
        self.callbacks = callbacks
        self.bar = progress_bar(epochs, len(history.cost)) if progress else None

    @property
    def idle(self) -> bool:
        """Whether nobody needs to be told of each epoch."""
        return not (self.validation or self.stopper or self.callbacks or self.bar)

    def epoch_ends(self, cost: float, rate: float | None) -> bool:
        """Record an epoch; returns whether to stop, of which ``history.stopped`` says why."""
        history = self.history
        history.cost.append(cost)
        record: dict[str, Any] = {"epoch": len(history.cost), "cost": cost}
        if rate is not None:
            history.learning_rate.append(rate)
            record["learning_rate"] = rate
        if self.validation is not None:
            record["validation_cost"], record["validation_score"] = self.validation.measure(self.net)
            history.validation_cost.append(record["validation_cost"])
            history.validation_score.append(record["validation_score"])
        if self.stopper is not None and self.stopper.epoch_ends(record, self.net.params):
            history.stopped = self.stopper.word()
        if self.bar is not None:
            shown = {k: f"{v:.4g}" for k, v in record.items() if k not in ("epoch", "learning_rate")}
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update()
        answers = [callback(record) is True for callback in self.callbacks]
        if any(answers):
            history.stopped = history.stopped or "a callback returned True"
        return bool(history.stopped)

    def close(self) -> None:
        """After the last epoch, or an error."""
        if self.bar is not None:
            self.bar.close()


def progress_bar(epochs: int, done: int = 0) -> Any:
    """A tqdm bar over epochs; in a log file it is a line now and then."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'fastbackprop[cli]'") from None
    interval = 0.1 if sys.stderr.isatty() or "ipykernel" in sys.modules else LOG_INTERVAL
    return tqdm(total=epochs, initial=done, unit="epoch", mininterval=interval)


def fit(
    net: Network, X: Any, y: Any, *, epochs: int, batch_size: int, optimizer: Any, shuffle: bool, seed: Any,
    sample_weight: Any, class_weight: Any, l1: float, l2: float, dropout: Any, validation_data: Any,
    validation_fraction: float, early_stopping: Any, callbacks: Sequence[Callback], progress: bool,
    checkpoint: str | os.PathLike[str] | None, checkpoint_every: int, resume: str | os.PathLike[str] | None,
    threads: int | None,
) -> History:  # fmt: skip
    """:meth:`fastbackprop.Network.fit`, where it is documented."""
    start = time.perf_counter()
    epochs = checks.whole_number(epochs, "epochs", 0)
    checkpoint_every = checks.whole_number(checkpoint_every, "checkpoint_every", 1)
    optimizer = read_optimizer(optimizer)
    rule = _read_early_stopping(early_stopping)
    fraction = checks.real_number(validation_fraction, "validation_fraction", 0, 1)
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks must be a sequence of functions, got {callbacks!r}")
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"callbacks must be functions of an epoch's record, got {callback!r}")
    X = checks.rows(X, "X", net.sizes[0], net.dtype, unread=True)
    Y = read_targets(net.output, y, X.shape[0], net.sizes[-1], net.dtype, "y")
    weights = checks.sample_weights(sample_weight, X.shape[0], net.dtype)
    if class_weight is not None:
        by_class = class_weights(class_weight, net.output, Y)
        with np.errstate(under="ignore"):
            weights = (by_class if weights is None else by_class * weights).astype(net.dtype)
    if validation_data is not None and fraction:
        raise ValueError("validation_data and validation_fraction exclude each other, got both")
    if rule is not None and rule.monitor != "cost" and validation_data is None and not fraction:
        raise ValueError(f"early_stopping on {rule.monitor} needs validation_data or validation_fraction, got neither")
    key = int(checks.generator(seed).integers(1 << 63))
    if resume is not None and not isinstance(optimizer, LBFGS):
        from fastbackprop import checkpointing

        resumed = checkpointing.load(resume, net)
        key = resumed.state.key
    else:
        resumed = None

    rows, validation = None, None
    if validation_data is not None:
        validation = _read_validation(net, validation_data)
    elif fraction:
        rows, held_out = split(net.output, Y, fraction, np.random.default_rng(key))
        validation = _Validation(X, Y, held_out)
        validation.check(net)
    stopper = None if rule is None else Stopper(rule)

    if isinstance(optimizer, LBFGS):
        return _fit_lbfgs(
            net, X, Y, optimizer, epochs, rows, weights, l1, l2, dropout, checkpoint or resume,
            lambda history: _Watch(net, history, validation, stopper, callbacks, epochs, progress), start,
        )  # fmt: skip

    training = Training(
        net, X, Y, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle, rows=rows, sample_weight=weights,
        l1=l1, l2=l2, dropout=dropout, threads=threads, state=State(key) if resumed is None else resumed.state,
    )  # fmt: skip
    settings = {
        "optimizer": _description(optimizer), "batch_size": training.batch_size, "shuffle": bool(shuffle),
        "samples": X.shape[0], "weighted": weights is not None, "l1": float(l1), "l2": float(l2),
        "dropout": None if training.dropped is None else training.dropped.tolist(), "validation_fraction": fraction,
    }  # fmt: skip
    if checkpoint is not None or resumed is not None:
        from fastbackprop import checkpointing

        settings["data"] = checkpointing.fingerprint(net, X, Y)
    history = History(score_name=score_name(net.output))
    if resumed is not None:
        history = resumed.restore(settings, net, stopper)
    watch = _Watch(net, history, validation, stopper, callbacks, epochs, progress)
    adaptive = optimizer.learning_rate if isinstance(optimizer.learning_rate, Schedule) else None
    one_by_one = not watch.idle or checkpoint is not None or adaptive is not None
    seconds_before = history.seconds
    history.stopped = ""
    try:
        while training.state.epoch < epochs and not history.stopped:
            count = 1 if one_by_one else epochs - training.state.epoch
            for cost, rate in zip(training.run(count).sum(axis=1), training.rates, strict=True):
                stop = watch.epoch_ends(float(cost), rate)
            if adaptive is not None and adaptive.epoch_ends(training.state.schedule, history.cost[-1]):
                history.stopped = history.stopped or "the schedule of the learning rate has ended"
            history.steps = training.state.steps
            history.seconds = seconds_before + time.perf_counter() - start
            if checkpoint is not None and (
                stop or training.state.epoch % checkpoint_every == 0 or training.state.epoch == epochs
            ):
                from fastbackprop import checkpointing

                checkpointing.save(checkpoint, net, training.state, history, stopper, settings)
    finally:
        watch.close()
        history.seconds = seconds_before + time.perf_counter() - start
    _restore_best(net, history, stopper)
    return history


def _restore_best(net: Network, history: History, stopper: Stopper | None) -> None:
    if stopper is not None and stopper.best_epoch is not None and stopper.rule.restore_best:
        net.params[...] = stopper.params
        history.best_epoch = stopper.best_epoch


def _read_early_stopping(given: Any) -> EarlyStopping | None:
    if given is None or given is False:
        return None
    if given is True:
        return EarlyStopping()
    if not isinstance(given, EarlyStopping):
        raise TypeError(f"early_stopping must be True or a fastbackprop.EarlyStopping, got {given!r}")
    return given


def _read_validation(net: Network, validation_data: Any) -> _Validation:
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        raise TypeError(f"validation_data must be a pair (X, y), got {type(validation_data).__name__}")
    X = checks.rows(validation_data[0], "validation_data[0]", net.sizes[0], net.dtype)
    Y = read_targets(net.output, validation_data[1], X.shape[0], net.sizes[-1], net.dtype, "validation_data[1]")
    return _Validation(X, Y)


def _description(optimizer: Optimizer) -> str:
    """The optimizer in words that are the same in every process, where its rate is a function too."""
    if callable(optimizer.learning_rate):
        return repr(optimizer).replace(repr(optimizer.learning_rate), "function")
    return repr(optimizer)


def _fit_lbfgs(
    net: Network, X: Any, Y: np.ndarray, optimizer: LBFGS, epochs: int, rows: np.ndarray | None,
    weights: np.ndarray | None, l1: float, l2: float, dropout: Any, checkpoint: Any,
    watch_of: Callable[[History], _Watch], start: float,
) -> History:  # fmt: skip
    from fastbackprop.lbfgs import minimize
    from fastbackprop.penalty import Penalty

    for name, value in (("l1", l1), ("dropout", np.any(dropout) and dropout), ("checkpoint", checkpoint)):
        if value:
            raise ValueError(f"{name} is not available with LBFGS, got {value!r}")
    checks.finite(X, "X", net.dtype)
    if rows is not None:
        X, Y, weights = X[rows], Y[rows], None if weights is None else weights[rows]
    history = History(score_name=score_name(net.output))
    watch = watch_of(history)
    try:
        minimize(net, X, Y, weights, Penalty(0.0, l2), optimizer, epochs, lambda cost: watch.epoch_ends(cost, None))
    finally:
        watch.close()
        history.steps, history.seconds = len(history.cost), time.perf_counter() - start
    _restore_best(net, history, watch.stopper)
    return history
