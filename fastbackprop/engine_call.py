"""How many steps a call of the engine did, where an interrupt came before it could say so."""

from __future__ import annotations

import numpy as np


class EngineCall:
    """A call of the engine: ``steps`` steps from ``first``, whose costs it adds to the rows of ``costs``."""

    def __init__(self, first: int, steps: int, steps_before: int, costs: np.ndarray) -> None:
        self.first, self.steps, self.steps_before, self.costs = first, steps, steps_before, costs
        self.cost_before = costs[0].copy()

    def steps_done(self, per_epoch: int, may_stop: bool) -> int | None:
        """How many steps it did, all or none if it may not stop before; None: it failed in one, who knows which."""
        if not np.isfinite(self.costs).all():
            return None
        epochs = np.flatnonzero(self.costs.any(axis=1))
        if not len(epochs) or (epochs[-1] == 0 and np.array_equal(self.costs[0], self.cost_before)):
            return 0
        end = (int(epochs[-1]) + 1) * per_epoch - self.first % per_epoch
        return min(end, self.steps) if may_stop else self.steps
