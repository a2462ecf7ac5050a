"""fit: epochs, mini-batches, validation, and what is recorded of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks
from fastbackprop.engine import layout as at
from fastbackprop.engine.shuffle import shuffle as shuffle_order
from fastbackprop.heads import read_targets
from fastbackprop.optimizers import SGD, Adam, Optimizer

if TYPE_CHECKING:
    from fastbackprop.network import Network
    from fastbackprop.plan import Plan

# Compiled code is left this often, so that Ctrl-C and the progress bar are served.
SECONDS_PER_CALL = 0.05
# Multiply-adds of the first call, some 5 to 10 ms; the later ones go by its time.
FIRST_CALL_WORK = 250_000_000
# Epochs whose order of samples is drawn ahead hold at most so many samples together.
DRAWN_AHEAD = 1 << 20


@dataclass
class History:
    """What ``fit`` recorded, one entry an epoch.

    Attributes
    ----------
    cost : list of float
        Mean over the samples of the loss, each taken just before its batch's step.
    validation_cost, validation_score : list of float
        After the epoch, where there were validation data; the score is the accuracy, for identity outputs R^2.
    steps : int
        Steps of the optimizer.
    seconds : float
        Of wall time, validation and compilation included.
    """

    cost: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0


def _score(output: str, o: np.ndarray, y: np.ndarray) -> float:
    """Accuracy of the most probable class (softmax) or of every output's side of 1/2 (sigmoid); R^2 for identity."""
    if output == "softmax":
        return float(np.mean(o.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))))
    if output == "sigmoid":
        return float(np.mean(((o > 0.5) == (y > 0.5)).all(axis=1)))
    total = np.sum((y - y.mean(axis=0, dtype=np.float64)) ** 2)
    return float(1.0 - np.sum((y - o.astype(np.float64)) ** 2) / total) if total > 0 else float("nan")


def fit(
    net: Network, X: Any, y: Any, *, epochs: int, batch_size: int, optimizer: Optimizer | None, shuffle: bool,
    seed: int | np.random.Generator | None, validation_data: tuple[Any, Any] | None,
    callbacks: Sequence[Callable[[dict[str, Any]], Any]], progress: bool, threads: int | None,
) -> History:  # fmt: skip
    """:meth:`fastbackprop.Network.fit`, where it is documented."""
    start = time.perf_counter()
    X = checks.rows(X, "X", net.sizes[0], net.dtype)
    Y = read_targets(net.output, y, len(X), net.sizes[-1], net.dtype, "y")
    epochs = checks.whole_number(epochs, "epochs", 0)
    batch_size = min(checks.whole_number(batch_size, "batch_size", 1), len(X))
    if threads is not None:
        checks.whole_number(threads, "threads", 1)
    optimizer = SGD(0.1) if optimizer is None else optimizer
    if not isinstance(optimizer, (SGD, Adam)):
        raise TypeError(f"optimizer must be fastbackprop.SGD or fastbackprop.Adam, got {optimizer!r}")
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks must be a sequence of functions, got {callbacks!r}")
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"callbacks must be functions of an epoch's record, got {callback!r}")
    validation = None
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise TypeError(f"validation_data must be a pair (X, y), got {type(validation_data).__name__}")
        V, v = validation_data
        V = checks.rows(V, "validation_data[0]", net.sizes[0], net.dtype)
        validation = V, read_targets(net.output, v, len(V), net.sizes[-1], net.dtype, "validation_data[1]")
    key = int(checks.generator(seed).integers(1 << 63))

    if not net.params.flags.writeable:
        raise ValueError("params must be writable to be learned, got a read-only array")
    history = History()
    watched = validation is not None or bool(callbacks) or progress
    bar = _progress_bar(epochs) if progress else None
    try:
        with net.plan(batch_size, True, threads) as plan:
            loop = _Loop(net, plan, X, Y, batch_size, optimizer, key if shuffle else None)
            while loop.epoch < epochs:
                history.cost += loop.run(1 if watched else epochs - loop.epoch)
                history.steps = loop.steps_done
                record: dict[str, Any] = {"epoch": loop.epoch, "cost": history.cost[-1]}
                if validation is not None:
                    history.validation_cost.append(net.cost(*validation))
                    history.validation_score.append(_score(net.output, net._forward(validation[0]), validation[1]))
                    record |= {
                        "validation_cost": history.validation_cost[-1],
                        "validation_score": history.validation_score[-1],
                    }
                if bar is not None:
                    bar.set_postfix({k: f"{v:.4g}" for k, v in record.items() if k != "epoch"}, refresh=False)
                    bar.update()
                answers = [callback(record) is True for callback in callbacks]
                if any(answers):
                    break
        if not np.isfinite(net.params).all():  # the cost is that before each step: of the last step only this tells
            raise FloatingPointError(
                f"the parameters are not finite after epoch {loop.epoch} at learning_rate {optimizer.learning_rate:g}: "
                "the training diverged in its last step"
            )
    finally:
        if bar is not None:
            bar.close()
        history.seconds = time.perf_counter() - start
    return history


def _progress_bar(epochs: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'fastbackprop[cli]'") from None
    return tqdm(total=epochs, unit="epoch")


class _Loop:
    """The steps of one fit. Between two calls of the engine everything is in order: the next can be any time later."""

    def __init__(
        self, net: Network, plan: Plan, X: np.ndarray, Y: np.ndarray, batch_size: int, optimizer: Optimizer,
        key: int | None,
    ) -> None:  # fmt: skip
        self.net, self.plan, self.X, self.Y = net, plan, X, Y
        self.batch_size, self.optimizer, self.key = batch_size, optimizer, key
        self.hyper = optimizer.hyper()
        self.states = [np.zeros_like(net.params) for _ in range(optimizer.states)]
        self.per_epoch = -(-len(X) // batch_size)
        self.in_place = net.readable(X) is X and (Y.ndim == 1 or net.readable(Y) is Y)
        self.epoch = self.steps_done = 0
        self.steps_per_call = max(1, FIRST_CALL_WORK // (batch_size * plan.work_per_sample))  # then as measured

    def run(self, epochs: int) -> list[float]:
        """Some whole epochs, at least one and at most ``epochs``; returns their costs."""
        count = max(1, min(epochs, self.steps_per_call // self.per_epoch, DRAWN_AHEAD // len(self.X)))
        order = np.empty((count if self.key is not None else 0, len(self.X)), np.int64)
        for i, row in enumerate(order):
            shuffle_order(row, self.key, self.epoch + i)
        costs = np.zeros(count)
        done, total = 0, count * self.per_epoch
        while done < total:
            steps = min(self.steps_per_call, total - done) if self.in_place else 1
            start = time.perf_counter()
            failed = self._steps(done, steps, order, costs)
            seconds = time.perf_counter() - start
            if failed:
                raise FloatingPointError(
                    f"the cost is not finite in epoch {self.epoch + (done + failed - 1) // self.per_epoch + 1} "
                    f"at learning_rate {self.optimizer.learning_rate:g}: the training diverged; the parameters are "
                    "those before that step. A smaller learning_rate, or scaled inputs, may help"
                )
            done += steps
            self.steps_done += steps
            wanted = int(steps * SECONDS_PER_CALL / max(seconds, 1e-6))
            self.steps_per_call = max(1, min(wanted, 8 * steps))
        self.epoch += count
        return [float(c) / len(self.X) for c in costs]

    def _steps(self, first: int, steps: int, order: np.ndarray, costs: np.ndarray) -> int:
        """``steps`` steps from step ``first`` of the epochs in ``order``; what `Plan.run` returns."""
        samples, X, Y = len(self.X), self.X, self.Y
        rates = np.full(steps, self.optimizer.learning_rate)
        if self.in_place:
            job = self.plan.new_job(samples, self.batch_size, steps, first)
            job[at.ORDER] = order.ctypes.data if order.size else 0
        else:  # one batch, converted
            epoch, step = divmod(first, self.per_epoch)
            part = slice(step * self.batch_size, min((step + 1) * self.batch_size, samples))
            rows = order[epoch, part] if order.size else part
            X = self.net.readable(X[rows])
            Y = np.ascontiguousarray(Y[rows]) if Y.ndim == 1 else self.net.readable(Y[rows])
            job, costs = self.plan.new_job(len(X), len(X)), costs[epoch : epoch + 1]
        self.net.put_data(job, X, Y)
        job[at.UPDATE], job[at.RATES], job[at.DONE_STEPS] = self.optimizer.code, rates.ctypes.data, self.steps_done
        for address, state in zip((at.STATE_1, at.STATE_2), self.states, strict=False):
            job[address] = state.ctypes.data
        return self.plan.run(job, self.net.params, costs, self.hyper)
