"""fit: a training with validation, early stopping, checkpoints, callbacks and a progress bar."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks
from fastbackprop.callbacks import Callback, call, read_callbacks
from fastbackprop.early_stopping import Stopper, read_early_stopping
from fastbackprop.heads import read_targets
from fastbackprop.held_out import WAYS, class_numbers, read_groups, split
from fastbackprop.history import History
from fastbackprop.optimizers import LBFGS, Optimizer
from fastbackprop.optimizers import optimizer as read_optimizer
from fastbackprop.schedules import Schedule
from fastbackprop.scores import score, score_name
from fastbackprop.training import State, Training, drop_probabilities
from fastbackprop.weights import class_weights, sample_weights

if TYPE_CHECKING:
    from fastbackprop.network import Network

MOST_EPOCHS = 2**31 - 1
EPOCHS_TOGETHER = 1 << 16  # at most, of what nobody looks at: their costs take memory
LOG_INTERVAL = 10.0  # seconds between two lines of a progress bar that is written to a file


class _Validation:
    """Held-out samples: all of (X, Y), or some of its rows, which are read where they lie."""

    def __init__(self, X: Any, Y: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.X, self.Y, self.rows = X, Y, rows
        self.held_out = Y if rows is None else Y[rows]

    def check(self, net: Network) -> None:
        """The rows that no training step sees are finite."""
        net._evaluate(self.X, None, None, None, check=True, order=self.rows)

    def measure(self, net: Network) -> tuple[float, float]:
        """Cost and score."""
        o = np.empty((len(self.held_out), net.sizes[-1]), net.dtype)
        cost = net._evaluate(self.X, self.Y, None, o, order=self.rows)
        return cost, score(net.output, o, self.held_out)


class _Watch:
    """What is done after each epoch, and what is known from the epochs so far."""

    def __init__(
        self, net: Network, history: History, validation: _Validation | None, stopper: Stopper | None,
        callbacks: tuple[Callback, ...], bar: Any,
    ) -> None:  # fmt: skip
        self.net, self.history, self.validation, self.stopper = net, history, validation, stopper
        self.callbacks, self.bar = callbacks, bar

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
        if call(self.callbacks, record):
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
    net: Network, X: Any, y: Any, *, epochs: int, batch_size: int | None, optimizer: Any, shuffle: bool | None,
    seed: Any, sample_weight: Any, class_weight: Any, l1: float, l2: float, dropout: Any, validation_data: Any,
    validation_fraction: float, validation_split: str, validation_groups: Any, early_stopping: Any, callbacks: Any,
    progress: bool, checkpoint: str | os.PathLike[str] | None, checkpoint_every: int | timedelta,
    checkpoint_metadata: Mapping[str, str] | None, resume: str | os.PathLike[str] | None, threads: int | None,
) -> History:  # fmt: skip
    """:meth:`fastbackprop.Network.fit`, where it is documented."""
    start = time.perf_counter()
    epochs = checks.whole_number(epochs, "epochs", 0)
    if epochs > MOST_EPOCHS:
        raise ValueError(f"epochs must be an integer from 0 to {MOST_EPOCHS}, got {checks.shortened(epochs)}")
    checkpoint_every = _read_every(checkpoint_every)
    for name, given in (("every", checkpoint_every != 1), ("metadata", checkpoint_metadata is not None)):
        if checkpoint is None and given:
            value = checkpoint_every if name == "every" else checkpoint_metadata
            raise ValueError(f"checkpoint_{name} needs a checkpoint to write, got {checks.shortened(value)} without")
    progress = checks.boolean(progress, "progress")
    threads = None if threads is None else checks.whole_number(threads, "threads", 1)
    optimizer = read_optimizer(optimizer)
    if isinstance(optimizer, LBFGS):
        _refuse_with_lbfgs(
            batch_size=batch_size, shuffle=shuffle or None, l1=checks.real_number(l1, "l1", 0) or None,
            dropout=dropout if np.any(dropout) else None, checkpoint=checkpoint, resume=resume,
        )  # fmt: skip
    batch_size = 32 if batch_size is None else checks.whole_number(batch_size, "batch_size", 1)
    shuffle = True if shuffle is None else checks.boolean(shuffle, "shuffle")
    rule, callbacks = read_early_stopping(early_stopping), read_callbacks(callbacks)
    X = checks.rows(X, "X", net.sizes[0], net.dtype, unread=True, apart=bool(callbacks))
    Y = read_targets(net.output, y, X.shape[0], net.sizes[-1], net.dtype, "y")
    weights = _read_weights(net, Y, sample_weight, class_weight)
    fraction = checks.real_number(validation_fraction, "validation_fraction", 0, 1)
    way, groups = _read_split(validation_split, validation_groups, fraction, len(Y))
    if validation_data is not None and fraction:
        raise ValueError("validation_data and validation_fraction exclude each other, got both")
    if rule is not None and rule.monitor != "cost" and validation_data is None and not fraction:
        raise ValueError(f"early_stopping on {rule.monitor} needs validation_data or validation_fraction, got neither")
    key = int(checks.generator(seed).integers(1 << 63))
    resumed = None
    if resume is not None:
        from fastbackprop import checkpointing

        resumed = checkpointing.load(resume, net)
        key = resumed.state.key if seed is None else key
    if checkpoint is not None:
        from fastbackprop import persistence

        persistence.check_target(checkpoint, "checkpoint")
        persistence.check_metadata(checkpoint_metadata or {}, "checkpoint_metadata")

    rows, validation = None, None
    if validation_data is not None:
        validation = _read_validation(net, validation_data, apart=bool(callbacks))
    elif fraction:
        rows, held_out = split(net.output, Y, fraction, np.random.default_rng(key), way, groups)
        validation = _Validation(X, Y, held_out)
        validation.check(net)
    if rule is not None and rule.monitor == "validation_score" and score_name(net.output) == "R²":
        assert validation is not None
        if len(validation.Y) < 2:
            raise ValueError("early_stopping on validation_score needs at least 2 validation samples for R², got 1")
    stopper = None if rule is None else Stopper(rule)
    settings: dict[str, Any] = {}
    if checkpoint is not None or resumed is not None:
        from fastbackprop import checkpointing

        dropped = drop_probabilities(dropout, len(net.hidden))
        settings = {
            "optimizer": _description(optimizer), "batch_size": min(batch_size, len(Y) if rows is None else len(rows)),
            "shuffle": shuffle, "samples": len(Y), "l1": float(l1), "l2": float(l2),
            "dropout": None if dropped is None else dropped.tolist(), "validation_fraction": fraction,
            "early_stopping": None if rule is None else repr(rule),
            "data": checkpointing.fingerprint(net, X, Y), "weights": checkpointing.digest(weights), "key": str(key),
            "held_out": checkpointing.digest(rows) if validation_data is None or validation is None
            else checkpointing.fingerprint(net, validation.X, validation.Y),
        }  # fmt: skip
    if resumed is not None:
        per_epoch = -(-(len(Y) if rows is None else len(rows)) // settings["batch_size"])
        assert not isinstance(optimizer, LBFGS)
        resumed.check(settings, optimizer, rule, per_epoch)

    def watch(history: History) -> _Watch:
        bar = progress_bar(epochs, len(history.cost)) if progress else None
        return _Watch(net, history, validation, stopper, callbacks, bar)

    if isinstance(optimizer, LBFGS):
        return _fit_lbfgs(net, X, Y, optimizer, epochs, rows, weights, l2, threads, watch, start)

    training = Training(
        net, X, Y, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle, rows=rows, sample_weight=weights,
        l1=l1, l2=l2, dropout=dropout, threads=threads, state=State(key) if resumed is None else resumed.state,
    )  # fmt: skip
    history = History(score_name=score_name(net.output)) if resumed is None else resumed.history
    watched = watch(history)
    if resumed is not None:
        resumed.restore(net, stopper)
    adaptive = optimizer.learning_rate if isinstance(optimizer.learning_rate, Schedule) else None
    one_by_one = not watched.idle or checkpoint is not None or adaptive is not None
    seconds_before = history.seconds

    writer = None
    if checkpoint is not None:
        parts = net, training.state, history, stopper, settings
        writer = checkpointing.Writer(checkpoint, checkpoint_every, checkpoint_metadata or {}, parts)
    try:
        while training.state.epoch < epochs and not history.stopped:  # one that had ended trains no further
            count = 1 if one_by_one else min(epochs - training.state.epoch, EPOCHS_TOGETHER)
            for cost, rate in zip(training.run(count).sum(axis=1), training.rates, strict=True):
                watched.epoch_ends(float(cost), rate)
            if adaptive is not None and adaptive.epoch_ends(training.state.schedule, history.cost[-1]):
                history.stopped = history.stopped or "the schedule of the learning rate has ended"
            history.steps = training.state.steps
            history.seconds = seconds_before + time.perf_counter() - start
            if writer is not None:
                writer.epoch_ends(training.state.epoch)
        if writer is not None:
            writer.training_ends(training.state.epoch)
    finally:
        watched.close()
        history.seconds = seconds_before + time.perf_counter() - start
    _restore_best(net, history, stopper)
    return history


def _read_every(every: Any) -> int | timedelta:
    """``checkpoint_every``, checked."""
    if not isinstance(every, timedelta):
        return checks.whole_number(every, "checkpoint_every", 1)
    if every <= timedelta():
        raise ValueError(f"checkpoint_every must be a time above 0, got {every}")
    return every


def _restore_best(net: Network, history: History, stopper: Stopper | None) -> None:
    if stopper is not None and stopper.best_epoch is not None and stopper.rule.restore_best:
        net.params[...] = stopper.params
        history.best_epoch = stopper.best_epoch


def _read_weights(net: Network, Y: np.ndarray, sample_weight: Any, class_weight: Any) -> np.ndarray | None:
    """The product of the samples' and their classes' weights; None where there are neither."""
    if class_weight is None:
        return sample_weights(sample_weight, len(Y), net.dtype)
    classes = class_numbers(net.output, Y)
    if classes is None:
        raise ValueError(
            f"class_weight needs classes: output='softmax', or 'sigmoid' with one output, got {net.output!r}"
        )
    by_class = class_weights(class_weight, classes, max(2, net.sizes[-1]))
    if sample_weight is not None:
        each = sample_weights(sample_weight, len(Y), np.dtype(np.float64))
        with np.errstate(over="ignore", under="ignore"):
            by_class = by_class * each
    return sample_weights(by_class, len(Y), net.dtype, "class_weight")


def _read_split(way: Any, groups: Any, fraction: float, samples: int) -> tuple[str, np.ndarray | None]:
    """``validation_split`` and ``validation_groups``, as numbers."""
    checks.one_of(way, "validation_split", WAYS)
    if groups is not None and way == "last":
        raise ValueError("validation_groups and validation_split='last' exclude each other, got both")
    for name, given in (("validation_groups", groups is not None), ("validation_split='last'", way == "last")):
        if given and not fraction:
            raise ValueError(f"{name} needs a validation_fraction above 0, got 0")
    return way, read_groups(groups, samples)


def _read_validation(net: Network, validation_data: Any, apart: bool) -> _Validation:
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        raise TypeError(f"validation_data must be a pair (X, y), got {type(validation_data).__name__}")
    X = checks.rows(validation_data[0], "validation_data[0]", net.sizes[0], net.dtype, apart=apart)
    Y = read_targets(net.output, validation_data[1], X.shape[0], net.sizes[-1], net.dtype, "validation_data[1]")
    return _Validation(X, Y)


def _description(optimizer: Optimizer) -> str:
    """The optimizer in words that are the same in every process, where its rate is a function too."""
    if callable(optimizer.learning_rate):
        return repr(optimizer).replace(repr(optimizer.learning_rate), "function")
    return repr(optimizer)


def _refuse_with_lbfgs(**options: Any) -> None:
    """What has no meaning where each iteration takes all samples, and what is not there."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} is not available with LBFGS, got {checks.shortened(value)}")


def _fit_lbfgs(
    net: Network, X: Any, Y: np.ndarray, optimizer: LBFGS, epochs: int, rows: np.ndarray | None,
    weights: np.ndarray | None, l2: float, threads: int | None, watch_of: Callable[[History], _Watch], start: float,
) -> History:  # fmt: skip
    from fastbackprop.lbfgs import minimize
    from fastbackprop.penalty import Penalty

    penalty = Penalty(0.0, l2)
    checks.finite(X, "X", net.dtype)
    if rows is not None:
        X, Y, weights = X[rows], Y[rows], None if weights is None else weights[rows]
    history = History(score_name=score_name(net.output))
    watch = watch_of(history)
    try:
        minimize(net, X, Y, weights, penalty, optimizer, epochs, lambda cost: watch.epoch_ends(cost, None), threads)
    finally:
        watch.close()
        history.steps, history.seconds = len(history.cost), time.perf_counter() - start
    _restore_best(net, history, watch.stopper)
    return history
