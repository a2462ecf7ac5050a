"""Outputs and gradients of a few samples with as little Python around the engine as can be.

A network inside a control loop or a simulation is asked for one row at a time, an optimizer of another library for the
gradient of a small batch; then the arrays that describe the job cost more than the job. Here they are made once.
"""

from __future__ import annotations

import numpy as np

from fastbackprop import checks
from fastbackprop.engine import layout as at
from fastbackprop.engine.arrays import put_classes, put_rows, put_targets
from fastbackprop.engine.epoch import run
from fastbackprop.engine.update import GRADIENT, HYPER_FIELDS
from fastbackprop.plan import Plan

CLASS_NUMBERS = np.dtype(np.int64)


class _SmallCall:
    """A job for one thread and a single block. One call at a time may use it; the plan is from now on its own.

    All arrays that it is given are contiguous and aligned, and of the plan's dtype.
    """

    def __init__(self, plan: Plan, outputs: int) -> None:
        self.plan, self.outputs = plan, outputs
        self.job = plan.new_job(plan.block, plan.block)
        self.job[at.CHECK_INPUTS] = 1
        self.clock = plan.new_clock(self.job)
        self.costs = np.zeros((1, at.COST_FIELDS))
        self.hyper = np.zeros(HYPER_FIELDS)

    def run(self, params: np.ndarray) -> bool:
        """Returns whether all was finite; the clock is at zero before."""
        run(self.job, self.plan.tables, self.plan.tasks, params, self.hyper, self.costs, self.clock, 0)
        return not self.clock.item(at.FAILED_STEP)


class SmallForward(_SmallCall):
    """Forward passes of at most as many rows as the plan's block has."""

    learning = False

    def forward(self, X: np.ndarray, params: np.ndarray) -> np.ndarray:
        """The outputs, (N, n[L]), of X, (N, n[0]); ValueError where X is not finite."""
        o = np.empty((len(X), self.outputs), X.dtype)
        put_rows(self.job, X, o, self.clock)
        if not self.run(params):
            checks.finite(X, "X", X.dtype)
        return o


class SmallGradients(_SmallCall):
    """Gradients of at most as many samples as the plan's block has."""

    learning = True

    def __init__(self, plan: Plan, outputs: int) -> None:
        super().__init__(plan, outputs)
        self.job[at.UPDATE] = GRADIENT

    def gradients(self, X: np.ndarray, Y: np.ndarray, params: np.ndarray, vector: np.ndarray) -> float | None:
        """Fill ``vector``, as params; returns the cost, or None where X, Y or a loss is not what it should be.

        Y holds class numbers, int64, or targets of the plan's dtype.
        """
        if Y.dtype == CLASS_NUMBERS:
            if not put_classes(self.job, X, Y, self.outputs, vector, self.costs, self.clock):
                return None
        else:
            put_targets(self.job, X, Y, self.outputs, vector, self.costs, self.clock)
        return self.costs.item(0) / len(Y) if self.run(params) else None
