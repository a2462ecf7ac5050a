"""Mini-batch training: the steps of whole epochs, which can be left after any of them and gone on with later."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import setitem
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks, memory
from fastbackprop.autotune import Autotuner, autotuner_of
from fastbackprop.engine import codes
from fastbackprop.engine import layout as at
from fastbackprop.engine.entries import shuffle
from fastbackprop.engine_call import EngineCall
from fastbackprop.heads import read_targets
from fastbackprop.penalty import Penalty
from fastbackprop.plan import LEAST_STEPS
from fastbackprop.rows import Rows, put_data, targets
from fastbackprop.schedules import Schedule
from fastbackprop.threads import in_one_go, processors
from fastbackprop.weights import scaled_weights

if TYPE_CHECKING:
    from fastbackprop.network import Network
    from fastbackprop.optimizers import Optimizer
    from fastbackprop.plan import Plan

# Compiled code is left this often, so that Ctrl-C and the progress bar are served.
SECONDS_PER_CALL = 0.05
# Multiply-adds of the first call, some 5 to 10 ms; the later ones go by its time.
FIRST_CALL_WORK = 250_000_000
# Epochs whose order of samples is drawn ahead hold at most so many samples together.
DRAWN_AHEAD = 1 << 20
# Samples that are converted take at most so many bytes at once.
CHUNK_BYTES = 1 << 26
# The parameters are copied again after so long; a step that makes one infinite is found by repeating from there.
SECONDS_REPEATED = 2.0
# How many vectors each formula of the engine may have; RMSprop's second is for momentum.
VECTORS = {
    codes.SGD: (0,), codes.MOMENTUM: (1,), codes.NESTEROV: (1,), codes.RMSPROP: (1, 2), codes.ADAGRAD: (1,),
    codes.ADAM: (2,),
}  # fmt: skip


@dataclass
class State:
    """Where a training stands between two epochs, besides the parameters: with both it goes on as if never left.

    Attributes
    ----------
    key : int
        Of the shuffles and of dropout.
    steps, epoch : int
        Done so far.
    vectors : list of ndarray
        The optimizer's, each of the size of the parameters.
    schedule : dict
        What the schedule of the learning rate remembers.
    """

    key: int
    steps: int = 0
    epoch: int = 0
    vectors: list[np.ndarray] = field(default_factory=list)
    schedule: dict[str, Any] = field(default_factory=dict)

    def copy(self, dtype: np.dtype[Any] | None = None) -> State:
        """The same with vectors of its own, of another dtype if one is given."""
        vectors = [memory.copied(v, v.dtype if dtype is None else dtype) for v in self.vectors]
        return replace(self, vectors=vectors, schedule=dict(self.schedule))


def drop_probabilities(dropout: Any, hidden: int) -> np.ndarray | None:
    """The probability that a unit is dropped, by layer from 0 to L, from one number or one a hidden layer."""
    if isinstance(dropout, (Sequence, np.ndarray)) and not isinstance(dropout, str):
        if len(dropout) != hidden:
            raise ValueError(f"dropout must be one number or {hidden}, one for each hidden layer, got {dropout!r}")
        each = [checks.real_number(p, f"dropout[{l}]", 0, 1) for l, p in enumerate(dropout)]
    else:
        each = [checks.real_number(dropout, "dropout", 0, 1)] * hidden
    return np.array([0.0, *each, 0.0]) if any(each) else None


class Training:
    """A network, its data and an optimizer.

    Parameters
    ----------
    net : Network
    X, Y : as of :meth:`fastbackprop.Network.fit`
    batch_size : int
    optimizer : Optimizer
    rows : int64 array, optional
        The rows of X and Y that are trained on; all where None.
    shuffle, seed, sample_weight, l1, l2, dropout, threads : as of :meth:`fastbackprop.Network.fit`
    penalty_per_sample : bool
        Whether l1 and l2 are divided by the sum of the batch's sample weights, as scikit-learn divides its ``alpha``.
    state : State, optional
        To go on from, in the place of ``seed``.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> X, y = np.eye(6), [0, 1, 2, 0, 1, 2]
    >>> net = fb.Network((6, 3), seed=0)
    >>> training = Training(net, X, y, batch_size=4, optimizer=fb.Adam(), seed=0)
    >>> training.run(10).shape, training.state.steps
    ((10, 2), 20)
    """

    def __init__(
        self, net: Network, X: Any, Y: Any, *, batch_size: int, optimizer: Optimizer, shuffle: bool = True,
        seed: int | np.random.Generator | None = None, rows: np.ndarray | None = None, sample_weight: Any = None,
        l1: float = 0.0, l2: float = 0.0, penalty_per_sample: bool = False, dropout: Any = 0.0,
        threads: int | None = None, state: State | None = None,
    ) -> None:  # fmt: skip
        self.net, self.optimizer, self.shuffle = net, optimizer, shuffle
        self.X = checks.rows(X, "X", net.sizes[0], net.dtype, unread=True)
        self.Y = read_targets(net.output, Y, self.X.shape[0], net.sizes[-1], net.dtype, "y")
        self.weights, scale = scaled_weights(sample_weight, self.X.shape[0], net.dtype)
        self.rows = None if rows is None else checks.row_numbers(rows, "rows", self.X.shape[0])
        self.samples = self.X.shape[0] if self.rows is None else len(self.rows)
        self.batch_size = min(checks.whole_number(batch_size, "batch_size", 1), self.samples)
        self.per_epoch = -(-self.samples // self.batch_size)
        self.threads = None if threads is None else checks.whole_number(threads, "threads", 1)
        self.penalty = Penalty(l1, l2, penalty_per_sample)
        if scale and penalty_per_sample:  # it is divided by the sum of the weights
            with np.errstate(over="ignore"):
                l1, l2 = np.ldexp([l1, l2], scale).tolist()
            self.penalty = Penalty(l1, l2, penalty_per_sample)
        self.dropped = drop_probabilities(dropout, len(net.hidden))
        self.hyper = np.array(optimizer.hyper(), np.float64)
        memory.address(self.hyper, f"the constants of {type(optimizer).__name__}", (codes.HYPER_FIELDS,), np.float64)
        self.state = State(int(checks.generator(seed).integers(1 << 63))) if state is None else state
        if state is None or not state.vectors:
            self.state.vectors = list(optimizer.first_state(net.params.size, net.dtype))
        self.state.vectors = optimizer.fitting(self.state.vectors, net.params.size, net.dtype)
        self._vector_addresses()  # before anything is changed
        if isinstance(optimizer.learning_rate, Schedule) and not self.state.schedule:
            self.state.schedule = optimizer.learning_rate.first_state()
        self._kept, self._kept_steps = [np.empty_like(vector) for vector in self._vectors()], self.state.steps
        self._inputs = Rows(self.X, net.dtype, shuffled=True)
        self._targets = targets(self.Y, net.dtype, shuffled=True)
        self.rate_of_epoch = (-1, 0.0)  # what the function of the optimizer's rate gave for the epoch
        self._call: EngineCall | None = None  # of the engine, until its steps are counted
        self.steps_per_call = 0  # not yet measured
        self.tuner: Autotuner | None = None
        self.thread_counts: tuple[int, ...] = ()  # that it chooses from
        self._counted = False, 0  # whether a number is given, and the most of the plan, when they were found
        self.proved = False  # X is not looked at before the training, which would read it twice; see `_prove_inputs`
        self.stop: np.ndarray | None = None  # of the last run, and whether it was stopped
        self.stopped = False
        self.rates: list[float] = []  # of the last step of each epoch of the last run

    @property
    def in_place(self) -> bool:
        """Whether the engine reads all samples where they lie; others are converted, some steps' at a time."""
        return self._inputs.in_place

    def run(self, epochs: int, learning_rate: float | None = None, stop: np.ndarray | None = None) -> np.ndarray:
        """Do some epochs.

        Parameters
        ----------
        epochs : int
        learning_rate : float, optional
            For these epochs, in the place of the optimizer's.
        stop : ndarray, optional
            When to end before (the engine's vector ``stop``, engine/layout.py), for data that is `in_place`.

        Returns
        -------
        ndarray (epochs done, 2)
            The mean over the epoch's samples of the loss, each batch's (weighted) mean taken just before its step, and
            that of the penalty.

        Raises
        ------
        ValueError
            If X is not finite; the parameters are as before the training.
        FloatingPointError
            If the cost of a batch, or a parameter after its step, is not finite; the parameters and the optimizer's
            vectors are those before that step.
        KeyboardInterrupt
            Between two steps; the parameters, the optimizer's vectors and ``state.steps`` are those after the last
            finished one; or after an earlier one, where that made a parameter infinite. Any other error is as this.
        """
        self._vector_addresses()  # fit still, whoever had them between two runs
        costs = np.zeros((epochs, at.COST_FIELDS))
        done, self.rates = 0, []
        self.stop, self.stopped = stop, False
        with self.net.turn, self.net.plan(self.batch_size, True, self.threads) as plan:
            if self.steps_per_call == 0:
                self.steps_per_call = max(1, FIRST_CALL_WORK // (self.batch_size * plan.work_per_sample))
            given = (self.threads or self.net.threads) is not None
            if self.tuner is None or self._counted != (given, plan.threads):  # a callback may have set the threads
                self._counted = given, plan.threads
                counts = self.thread_counts = (plan.threads,) if given else self._thread_counts(plan)
                shape = self.net.sizes, self.net.dtype, self.batch_size, counts
                update = self.optimizer.code, self.optimizer.clip_norm is not None, bool(self.penalty)
                start = max(i for i, count in enumerate(counts) if i == 0 or count <= processors())
                self.tuner = autotuner_of(len(counts), start, *shape, *update)
                self.tuner.begin()
            while done < epochs and not self.stopped:
                many = min(epochs - done, self.steps_per_call // self.per_epoch, DRAWN_AHEAD // self.samples)
                if not self.proved or (learning_rate is None and self._asks_a_function):
                    many = 1  # the first epoch proves the inputs; a function is asked when its epoch begins
                many = max(1, many)
                self._keep()
                try:
                    done += self._epochs(plan, self.tuner, costs[done : done + many], learning_rate)
                except BaseException:
                    self._settle()
                    raise
        return costs[:done] / self.samples

    def _params_finite(self) -> bool:
        """Without memory of its own, which might be short in the middle of a training."""
        params = self.net.params
        with np.errstate(over="ignore", invalid="ignore"):
            finite = math.isfinite(params.sum())  # one pass; only a finite sum tells
        return finite or (math.isfinite(params.min()) and math.isfinite(params.max()))

    def _prove_inputs(self) -> None:
        """Where the first epoch went wrong, look at X: if it is not finite, all is as before the training.

        Where nothing went wrong it was finite: an input that is infinite or not a number makes its gradient and so the
        parameters infinite or NaN, for good.
        """
        if not self.proved:
            try:
                checks.finite(self.X, "X", self.net.dtype)
            except ValueError:
                self._go_back()
                raise
            self.proved = True

    def _thread_counts(self, plan: Plan) -> tuple[int, ...]:
        """The numbers of threads to choose from."""
        job = plan.new_job(self.samples, self.batch_size, LEAST_STEPS)
        job["update"], job["clip"] = self.optimizer.code, self.optimizer.clip_norm is not None
        plan.divide(job, self.batch_size)
        return tuple(plan.thread_counts(job))

    def _epochs(self, plan: Plan, tuner: Autotuner, costs: np.ndarray, learning_rate: float | None) -> int:
        """As many epochs as ``costs`` has rows, unless it is to stop; each call on as many threads as are fastest.

        Returns how many were done.
        """
        order = self._orders(len(costs))
        total = len(costs) * self.per_epoch
        done = kept = 0
        copied = time.perf_counter()
        while done < total:
            if self.proved and time.perf_counter() - copied > SECONDS_REPEATED and self._params_finite():
                kept, copied = done, time.perf_counter()
                self._keep()
            way, steps = tuner.choose(min(self.steps_per_call, self._most_steps(done, total)))
            rates = self._rates(self.state.epoch * self.per_epoch + done, steps, learning_rate)
            start, compiling = time.perf_counter(), plan.seconds_compiling
            call = self._call = EngineCall(done, steps, self.state.steps, costs[done // self.per_epoch :])
            failed, stopped = self._steps(plan, done, steps, order, rates, costs, self.thread_counts[way])
            seconds = time.perf_counter() - start - (plan.seconds_compiling - compiling)
            tuner.took(way, stopped or steps, seconds)
            what = "cost is"
            if failed:
                self._prove_inputs()
                steps, rate = failed - 1, rates[failed - 1]
            elif stopped:
                steps, rates, total = stopped, rates[:stopped], done + stopped
                self.stopped = True
            done += steps
            self.state.steps, self._call = call.steps_before + steps, None
            # The costs are those before each step: of the last one, only the parameters tell.
            if (failed or done == total) and not self._params_finite():
                self._prove_inputs()
                done, rate = self._undo_overflow(plan, kept, done, order, learning_rate)
                what, failed = "parameters are", 1
            if failed:
                raise FloatingPointError(
                    f"the {what} not finite in epoch {self.state.epoch + done // self.per_epoch + 1} "
                    f"at learning_rate {rate:g}: the training diverged; the parameters kept are "
                    "those before that step. A smaller learning_rate, or scaled inputs, may help"
                )
            self.rates += rates[self.per_epoch - 1 - (done - steps) % self.per_epoch :: self.per_epoch].tolist()
            wanted = int(steps * SECONDS_PER_CALL / max(seconds, 1e-6))
            self.steps_per_call = max(1, min(wanted, 8 * steps))
        self.proved = True
        self.state.epoch += total // self.per_epoch
        return total // self.per_epoch

    def _vectors(self) -> list[np.ndarray]:
        """What a step changes."""
        return [self.net.params, *self.state.vectors]

    def _vector_addresses(self) -> list[int]:
        """Where the optimizer's vectors begin; they fit its formula and the parameters."""
        name, vectors = type(self.optimizer).__name__, self.state.vectors
        if len(vectors) not in VECTORS.get(self.optimizer.code, ()):
            raise ValueError(f"{name} has {len(vectors)} vectors, not those of its formula, code {self.optimizer.code}")
        shape, dtype = self.net.params.shape, self.net.dtype
        return [memory.address(v, f"the vectors of {name}", shape, dtype, written=True) for v in vectors]

    def _keep(self) -> None:
        """Copy what a step changes, to go back to; the memory is taken once."""
        copied = [partial(setitem, copy, ..., vector) for copy, vector in zip(self._kept, self._vectors(), strict=True)]
        in_one_go(*copied, partial(setattr, self, "_kept_steps", self.state.steps))

    def _go_back(self) -> None:
        """Restore what was kept."""
        copied = [partial(setitem, vector, ..., copy) for copy, vector in zip(self._kept, self._vectors(), strict=True)]
        in_one_go(*copied, partial(setattr, self.state, "steps", self._kept_steps))

    def _settle(self) -> None:
        """After an error or an interrupt, wherever it came: bring the state to a whole number of steps, all finite.

        The engine's call had not begun, or was at its end, which its costs tell.
        """
        call, self._call = self._call, None
        is_known = True
        if call is not None:
            done = call.steps_done(self.per_epoch, self.stop is not None)
            is_known, self.state.steps = done is not None, call.steps_before + (done or 0)
        if not (is_known and self._params_finite()):
            self._prove_inputs()
            self._go_back()

    def _undo_overflow(
        self, plan: Plan, first: int, last: int, order: np.ndarray, learning_rate: float | None
    ) -> tuple[int, float]:
        """Find the step, of ``first`` to ``last``, that made a parameter infinite, and go back to what was before it.

        What was kept is that of before ``first``. The same steps have the same bits, so halves of what is left are
        repeated. Returns the step and its learning rate. An interrupt leaves what was before the first one that is not
        known to be good.
        """
        try:
            return self._bisected(plan, first, last, order, learning_rate)
        except BaseException:
            self._go_back()
            raise

    def _bisected(
        self, plan: Plan, first: int, last: int, order: np.ndarray, learning_rate: float | None
    ) -> tuple[int, float]:
        costs, self.stop = np.zeros((len(order) or last // self.per_epoch + 1, at.COST_FIELDS)), None
        while True:
            self._go_back()
            half = (first + last) // 2
            if half == first:
                return first, float(self._rates(self.state.epoch * self.per_epoch + first, 1, learning_rate)[0])
            done = first
            while done < half:
                steps = self._most_steps(done, half)
                rates = self._rates(self.state.epoch * self.per_epoch + done, steps, learning_rate)
                self._steps(plan, done, steps, order, rates, costs)
                done, self.state.steps = done + steps, self.state.steps + steps
            if self._params_finite():
                first = half
                self._keep()
            else:
                last = half

    def _orders(self, epochs: int) -> np.ndarray:
        """The row numbers of the epochs to come, one after the other; empty for all rows in their order."""
        if not self.shuffle:
            return np.empty((0, 0), np.int64) if self.rows is None else np.tile(self.rows, (epochs, 1))
        order = np.empty((epochs, self.samples), np.int64)
        for i, row in enumerate(order):
            shuffle.call(row, len(row), self.state.key, self.state.epoch + i)
        return order if self.rows is None else self.rows[order]

    def _rates(self, first: int, steps: int, learning_rate: float | None) -> np.ndarray:
        """The learning rates of some steps, numbered from the start of the training."""
        rate: Any = self.optimizer.learning_rate if learning_rate is None else learning_rate
        if isinstance(rate, Schedule):
            numbers = np.arange(first, first + steps)
            rates = rate.rates(numbers, self.per_epoch, self.samples, self.state.schedule)
        elif callable(rate):  # the steps are those of one epoch
            epoch = first // self.per_epoch
            if self.rate_of_epoch[0] != epoch:
                self.rate_of_epoch = epoch, checks.real_number(rate(epoch), f"learning_rate({epoch})", 0)
            rates = np.full(steps, self.rate_of_epoch[1])
        else:
            rates = np.full(steps, float(rate))
        rates = np.array(self.optimizer.rates(rates, self.state.steps), np.float64)
        if rates.shape != (steps,):
            raise ValueError(f"{rate!r} must give a learning rate for each of {steps} steps, got shape {rates.shape}")
        if not (rates.min() >= 0 and rates.max() < np.inf):
            bad = rates[~((rates >= 0) & (rates < np.inf))][0]
            raise ValueError(f"{rate!r} must give finite learning rates of at least 0, got {bad}")
        return rates

    @property
    def _asks_a_function(self) -> bool:
        return callable(self.optimizer.learning_rate) and not isinstance(self.optimizer.learning_rate, Schedule)

    def _most_steps(self, first: int, end: int) -> int:
        """How many steps from ``first``, before ``end``, one call can do: of a chunk, where samples are converted."""
        if self.in_place:
            return end - first
        chunk = CHUNK_BYTES // (self.batch_size * self.net.sizes[0] * self.net.dtype.itemsize)
        return min(end - first, self.per_epoch - first % self.per_epoch, max(1, chunk))

    def _steps(
        self, plan: Plan, first: int, steps: int, order: np.ndarray, rates: np.ndarray, costs: np.ndarray,
        threads: int | None = None,
    ) -> tuple[int, int]:  # fmt: skip
        """``steps`` steps from step ``first`` of the epochs in ``order``; what `Plan.run` returns."""
        X, Y, weights = self._inputs, self._targets, self.weights
        if self.in_place:
            job = plan.new_job(self.samples, self.batch_size, steps, first)
            epochs = len(costs), self.samples
            job["order"] = memory.address(order, "the order of rows", epochs, np.int64) if order.size else 0
            job["stop"] = 0 if self.stop is None else self.stop.ctypes.data
        else:
            epoch, step = divmod(first, self.per_epoch)
            part = slice(step * self.batch_size, min((step + steps) * self.batch_size, self.samples))
            rows = order[epoch, part] if order.size else part
            X = X.taken(rows)
            Y = Y.taken(rows) if isinstance(Y, Rows) else Y[rows]
            weights = None if weights is None else weights[rows]
            job, costs = plan.new_job(X.shape[0], self.batch_size), costs[epoch : epoch + 1]
        put_data(job, X, Y, weights)
        self.penalty.put(job, self.hyper)
        job["clip"] = self.optimizer.clip_norm is not None
        job["rates"] = memory.address(rates, f"the learning rates of {steps} steps", (steps,), np.float64)
        job["update"], job["done_steps"] = self.optimizer.code, self.state.steps
        plan.divide(job, self.batch_size)
        plain = not (self.penalty or self.optimizer.weight_decay or job["clip"])
        if self.optimizer.code == codes.SGD and plain and job["sample_shards"] == 1:
            job["update"] = codes.FUSED_SGD
        if self.dropped is not None:
            job["dropout"], job["dropout_key"] = self.dropped.ctypes.data, self.state.key
        for place, address in zip(("state_1", "state_2"), self._vector_addresses(), strict=False):
            job[place] = address
        return plan.run(job, self.net.params, costs, self.hyper, threads)
