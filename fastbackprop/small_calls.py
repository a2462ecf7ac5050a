"""Outputs and gradients of a few samples with as little Python around the engine as can be.

A network inside a control loop or a simulation is asked for one row at a time, an optimizer of another library for the
gradient of a small batch; then the arrays that describe the job cost more than the job. Here they are made once, and
what Python can be spared is: where X and Y are not what the engine reads, the answer is None, for others to say why.
"""

from __future__ import annotations

from bisect import bisect_left
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import empty, ndarray

from fastbackprop import checks
from fastbackprop.engine import layout as at
from fastbackprop.engine.codes import GRADIENT, NO_GRADIENT
from fastbackprop.engine.entries import put_classes, put_rows, put_targets, run
from fastbackprop.plan import LINE_OF_FLOATS, WAKING_WORK, Plan, block_of, sample_shards_of, samples_of_block

if TYPE_CHECKING:
    from fastbackprop.network import Network

CLASS_NUMBERS = np.dtype(np.int64)


class _Call:
    """A job for one thread and a single block. The plan is from now on its own."""

    def __init__(self, plan: Plan, net: Network, update: int, target_kind: int) -> None:
        self.plan, self.params = plan, net.params  # which live as long as their addresses are used
        job = plan.new_job(plan.block, plan.block)
        job["check_inputs"], job["update"], job["target_kind"] = 1, update, target_kind
        job["input_stride"], job["target_stride"] = net.sizes[0], net.sizes[-1]
        self.costs = np.zeros((1, at.COST_FIELDS))
        job["params"], job["costs"] = self.params.ctypes.data, self.costs.ctypes.data
        program = plan.program(job)
        self.job = plan.with_clock(job, program)
        self.clock = self.job[at.clock_at(1) :]
        self.arguments = self.job, program, 0  # of `run`


class _SmallCalls:
    """The calls of a network, of at most so many samples, that are not in use: two threads at once get one each.

    To take a call and to put it back is written out in both kinds: a function takes 50 ns.
    """

    update, target_kind = NO_GRADIENT, at.NO_TARGETS

    def __init__(self, net: Network, most: int) -> None:
        self.most, self.dtype, self.inputs, self.outputs = most, net.dtype, net.sizes[0], net.sizes[-1]
        self.itemsize = net.dtype.itemsize
        self.waiting: dict[int, list[_Call]] = {}  # by the number of samples

    def _most_of_one_thread(self, net: Network) -> int:
        """Samples of a block that are not worth another thread."""
        work = Plan.work(net.sizes, self.update != NO_GRADIENT)
        return min(samples_of_block(net.sizes, net.dtype), WAKING_WORK // work)

    def _waiting(self, samples: int) -> list[_Call] | None:
        """Where calls of so many samples wait, with those of a similar number; None: too many."""
        if not 0 < samples <= self.most:
            return None
        return self.waiting.setdefault(samples, self.waiting.setdefault(-block_of(samples), []))

    def converted(self, X: ndarray) -> ndarray | None:
        """A few numbers of another dtype, which take less time to convert than to be described to the engine."""
        if X.dtype.kind not in "fiub":
            return None
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return X.astype(self.dtype)

    def _new_call(self, net: Network, samples: int) -> _Call:
        call = _Call(net.plan(samples, self.update != NO_GRADIENT, 1), net, self.update, self.target_kind)
        self.run = run.call
        return call


class SmallForward(_SmallCalls):
    """Forward passes."""

    def __init__(self, net: Network) -> None:
        super().__init__(net, max(LINE_OF_FLOATS, self._most_of_one_thread(net)))

    def _new_call(self, net: Network, samples: int) -> _Call:
        self.put = put_rows.call
        return super()._new_call(net, samples)

    def outputs_of(self, net: Network, X: Any) -> np.ndarray | None:
        """The outputs, (N, n[L]), of X; ValueError where it is not finite."""
        if type(X) is not ndarray or X.ndim != 2:
            return None
        waiting = self.waiting.get(len(X)) or self._waiting(len(X))
        if waiting is None:
            return None
        given = X
        if X.dtype != self.dtype and (X := self.converted(X)) is None:
            return None
        try:
            call = waiting.pop()
        except IndexError:
            call = self._new_call(net, len(X))
        try:
            o = empty((len(X), self.outputs), self.dtype)
            if not (self.put(call.job, X, o, self.itemsize) or self.put(call.job, X := X.copy(), o, self.itemsize)):
                return None
            self.run(*call.arguments)
            if call.clock.item(at.FAILED_STEP):
                checks.finite(given, "X", self.dtype)
            return o
        finally:
            waiting.append(call)


class SmallGradients(_SmallCalls):
    """Gradients of networks whose targets are class numbers or any numbers: others have to be looked at."""

    update = GRADIENT

    def __init__(self, net: Network) -> None:
        batches = range(1, 1 + self._most_of_one_thread(net))  # and fewer than would be made in sample shards
        most = bisect_left(batches, 2, key=lambda n: sample_shards_of(net.sizes, net.dtype, n))
        self.targets = {"softmax": CLASS_NUMBERS, "identity": net.dtype}.get(net.output)
        super().__init__(net, 0 if self.targets is None else most)
        self.dimensions = 1 if self.targets == CLASS_NUMBERS else 2
        self.target_kind = at.CLASSES if self.dimensions == 1 else at.DENSE
        self.parameters = len(net.params)

    def _new_call(self, net: Network, samples: int) -> _Call:
        self.put = (put_classes if self.dimensions == 1 else put_targets).call
        return super()._new_call(net, samples)

    def gradient_of(self, net: Network, X: Any, Y: Any) -> tuple[float, np.ndarray] | None:
        """The cost and its gradient; None also where X, Y or a loss is not what it should be."""
        if not (type(X) is type(Y) is ndarray and X.ndim == 2):
            return None
        if Y.dtype != self.targets:
            return None
        if Y.ndim != self.dimensions:
            if not Y.ndim == self.outputs == 1:
                return None
            Y = Y[:, None]
        waiting = self.waiting.get(len(X)) or self._waiting(len(X))
        if waiting is None:
            return None
        if X.dtype != self.dtype and (X := self.converted(X)) is None:
            return None
        try:
            call = waiting.pop()
        except IndexError:
            call = self._new_call(net, len(X))
        try:
            vector = empty(self.parameters, self.dtype)
            if not self.put(call.job, X, Y, vector, call.costs, self.itemsize):
                return None
            self.run(*call.arguments)
            cost = call.costs.item(0) / len(X)
            return (cost, vector) if isfinite(cost) else None
        finally:
            waiting.append(call)
