"""Early stopping: when the validation cost no longer falls, the best parameters are restored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbackprop import checks

MONITORS = ("validation_cost", "validation_score", "cost")


@dataclass(frozen=True)
class EarlyStopping:
    """When ``fit`` stops before its last epoch.

    Parameters
    ----------
    patience : int
        Epochs in a row without an improvement after which it stops. ``early_stopping=5`` of ``fit`` is
        ``EarlyStopping(patience=5)``.
    min_delta : float, at least 0
        An improvement is a change for the better by more than this. A value that is not a number never is one.
    monitor : 'validation_cost', 'validation_score' or 'cost'
    restore_best : bool
        Whether the network gets back the parameters of the best epoch, also where all epochs were done.

    Examples
    --------
    >>> EarlyStopping(patience=3).monitor
    'validation_cost'
    """

    patience: int = 10
    min_delta: float = 0.0
    monitor: str = "validation_cost"
    restore_best: bool = True

    def __post_init__(self) -> None:
        checks.whole_number(self.patience, "patience", 1)
        checks.real_number(self.min_delta, "min_delta", 0)
        checks.one_of(self.monitor, "monitor", MONITORS)
        checks.boolean(self.restore_best, "restore_best")


class Stopper:
    """Early stopping at work: the best epoch so far and its parameters."""

    def __init__(self, rule: EarlyStopping) -> None:
        self.rule = rule
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        self.params: np.ndarray | None = None

    def epoch_ends(self, record: dict[str, Any], params: np.ndarray) -> bool:
        """Look at an epoch's record; returns whether to stop."""
        value = record[self.rule.monitor]
        gain = np.inf if self.best is None else self.best - value
        if self.best is not None and self.rule.monitor == "validation_score":
            gain = -gain
        if not math.isnan(value) and gain > self.rule.min_delta:
            self.best, self.best_epoch, self.waited = value, record["epoch"], 0
            if self.rule.restore_best:
                self.params = params.copy()
        else:
            self.waited += 1
        return self.waited >= self.rule.patience

    def word(self) -> str:
        """Why it stopped."""
        if self.best is None:
            return f"{self.rule.monitor} was not a number for {self.waited} epochs"
        return f"{self.rule.monitor} had not improved for {self.waited} epochs"


def read_early_stopping(given: Any) -> EarlyStopping | None:
    """The rule that was given, the default one for True, one with that patience for a whole number."""
    if given is None or given is False or given is np.False_:
        return None
    if isinstance(given, (bool, np.bool_)):
        return EarlyStopping()
    if isinstance(given, (int, np.integer)):
        return EarlyStopping(patience=checks.whole_number(given, "early_stopping", 1))
    if not isinstance(given, EarlyStopping):
        raise TypeError(
            f"early_stopping must be True, a patience in epochs, or a fastbackprop.EarlyStopping, got {given!r}"
        )
    return given
