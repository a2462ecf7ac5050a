"""The outputs of a few samples with as little Python around the engine as can be.

A network inside a control loop or a simulation is asked for one row at a time; then the arrays that describe the job
cost more than the job. Here they are made once, and a call copies the rows in and the outputs out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastbackprop import checks
from fastbackprop.engine import layout as at
from fastbackprop.engine.epoch import run
from fastbackprop.engine.update import HYPER_FIELDS
from fastbackprop.plan import Plan


class FewRows:
    """Forward passes of up to ``most`` rows. One call at a time may use it.

    Parameters
    ----------
    plan : Plan
        For one thread and blocks of at least ``most`` samples; from now on its own.
    sizes : layer sizes n[0] to n[L]
    most : int
    """

    def __init__(self, plan: Plan, sizes: Sequence[int], most: int) -> None:
        self.plan = plan
        self.inputs = np.zeros((most, sizes[0]), plan.dtype)
        self.outputs = np.zeros((most, sizes[-1]), plan.dtype)
        self.job = plan.new_job(most, most)
        self.job[at.INPUTS], self.job[at.INPUT_STRIDE] = self.inputs.ctypes.data, sizes[0]
        self.job[at.OUTPUTS], self.job[at.CHECK_INPUTS] = self.outputs.ctypes.data, 1
        clock = np.zeros(at.clock_size(1, 1), np.int64)
        self.rest = np.zeros(HYPER_FIELDS), np.zeros((1, at.COST_FIELDS)), clock, 0
        self.clock = clock

    def forward(self, X: np.ndarray, params: np.ndarray) -> np.ndarray:
        """The outputs, (N, n[L]), of X, (N, n[0]) of the plan's dtype; ValueError where X is not finite."""
        n = X.shape[0]
        self.inputs[:n] = X
        job, clock = self.job, self.clock
        job[at.SAMPLES] = job[at.BATCH] = n
        clock.fill(0)
        run(job, self.plan.layers, self.plan.tasks, params, *self.rest)
        if clock.item(at.FAILED_STEP):
            checks.finite(X, "X", X.dtype)
        return self.outputs[:n].copy()
