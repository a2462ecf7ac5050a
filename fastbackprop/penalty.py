"""The L1 and L2 penalties of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastbackprop import checks
from fastbackprop.engine import layout as at
from fastbackprop.engine.codes import L1, L2


@dataclass(frozen=True)
class Penalty:
    """``l2 / 2 * sum W**2 + l1 * sum |W|``, over the weights of all layers, not the biases; a part of the cost.

    Parameters
    ----------
    l1, l2 : float, at least 0
    per_sample : bool
        Divided by the sum of the batch's sample weights (its number of samples): scikit-learn's ``alpha``.
    """

    l1: float = 0.0
    l2: float = 0.0
    per_sample: bool = False

    def __post_init__(self) -> None:
        checks.real_number(self.l1, "l1", 0)
        checks.real_number(self.l2, "l2", 0)

    def __bool__(self) -> bool:
        return bool(self.l1 > 0 or self.l2 > 0)

    def put(self, job: np.void, hyper: np.ndarray) -> None:
        """Write it into a job and its constants."""
        if self:
            job["penalty"] = at.PENALTY_PER_SAMPLE if self.per_sample else at.PENALTY_OF_COST
            hyper[L1], hyper[L2] = self.l1, self.l2
