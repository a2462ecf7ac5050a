"""Learning rates that change during training.

A schedule gives the rate of every step from the step's number, so a training that is resumed goes on as it would
have. `Adaptive` alone looks at the costs. In the place of a schedule, optimizers also take any function of the epoch's
number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbackprop import checks


class Schedule:
    """Base of the schedules: a finite rate of at least 0 for each step."""

    def rates(self, steps: np.ndarray, per_epoch: int, samples: int, state: dict[str, Any]) -> np.ndarray:
        """The rates, float64, of steps by their numbers from 0; an epoch is ``per_epoch`` steps, ``samples`` rows."""
        raise NotImplementedError

    def first_state(self) -> dict[str, Any]:
        """What it remembers between epochs: numbers, in a dict that JSON can hold."""
        return {}

    def accepts(self, state: Any) -> bool:
        """Whether a state that comes from a file is one of its own."""
        numbers = isinstance(state, dict) and all(
            value is None or (isinstance(value, (int, float)) and math.isfinite(value)) for value in state.values()
        )
        return numbers and state.keys() == self.first_state().keys()

    def epoch_ends(self, state: dict[str, Any], cost: float) -> bool:
        """Take note of an epoch's cost; returns whether the training is to stop."""
        return False


def _by_epoch(steps: np.ndarray, per_epoch: int, rate: Callable[[np.float64], np.float64]) -> np.ndarray:
    """The rate of each step's epoch, one at a time: the bits of NumPy's powers of arrays depend on the processor."""
    epochs, index = np.unique(steps // per_epoch, return_inverse=True)
    with np.errstate(all="ignore"):  # a rate that is not finite is refused by whoever asks
        return np.array([rate(epoch) for epoch in epochs.astype(np.float64)])[index]


@dataclass(frozen=True)
class Step(Schedule):
    """Multiplied by ``factor`` every ``every`` epochs, as PyTorch's StepLR.

    Examples
    --------
    >>> Step(0.1, every=2, factor=0.5).rates(np.arange(5), 1, 100, {}).tolist()
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """

    initial: float
    every: int = 10
    factor: float = 0.1

    def __post_init__(self) -> None:
        checks.real_number(self.initial, "initial", 0)
        checks.whole_number(self.every, "every", 1)
        checks.real_number(self.factor, "factor", 0, open_low=True)

    def rates(self, steps: np.ndarray, per_epoch: int, samples: int, state: dict[str, Any]) -> np.ndarray:
        """``initial * factor ** floor(epoch / every)``."""
        return _by_epoch(steps, per_epoch, lambda epoch: self.initial * self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """``initial / (1 + samples seen before the epoch) ** power``, scikit-learn's ``learning_rate="invscaling"``.

    Examples
    --------
    >>> InverseScaling(0.1).rates(np.arange(3), 1, 99, {}).round(4).tolist()
    [0.1, 0.01, 0.0071]
    """

    initial: float
    power: float = 0.5

    def __post_init__(self) -> None:
        checks.real_number(self.initial, "initial", 0)
        checks.real_number(self.power, "power", 0)

    def rates(self, steps: np.ndarray, per_epoch: int, samples: int, state: dict[str, Any]) -> np.ndarray:
        """One rate an epoch."""
        return _by_epoch(steps, per_epoch, lambda epoch: self.initial / (1.0 + epoch * samples) ** self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From ``initial`` to ``final`` along half a cosine over ``epochs`` epochs, changing at every step.

    Examples
    --------
    >>> Cosine(0.2, epochs=2).rates(np.arange(6), 2, 100, {}).round(4).tolist()
    [0.2, 0.1707, 0.1, 0.0293, 0.0, 0.0]
    """

    initial: float
    epochs: int
    final: float = 0.0

    def __post_init__(self) -> None:
        checks.real_number(self.initial, "initial", 0)
        checks.whole_number(self.epochs, "epochs", 1)
        checks.real_number(self.final, "final", 0)

    def rates(self, steps: np.ndarray, per_epoch: int, samples: int, state: dict[str, Any]) -> np.ndarray:
        """``final + (initial - final) * (1 + cos(pi t)) / 2``, t from 0 to 1."""
        t = np.minimum(steps / (self.epochs * per_epoch), 1.0)
        return self.final + (self.initial - self.final) * (1 + np.cos(np.pi * t)) / 2


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Rises in equal steps over the first ``epochs`` epochs to what the schedule ``after`` (or a number) then gives.

    ``after`` starts its own count when the warm-up ends.

    Examples
    --------
    >>> WarmUp(1, 0.4).rates(np.arange(6), 4, 100, {}).round(4).tolist()
    [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
    """

    epochs: int
    after: float | Schedule

    def __post_init__(self) -> None:
        checks.whole_number(self.epochs, "epochs", 1)
        if isinstance(self.after, Schedule):
            return
        checks.real_number(self.after, "after", 0)

    def rates(self, steps: np.ndarray, per_epoch: int, samples: int, state: dict[str, Any]) -> np.ndarray:
        """``(step + 1) / length`` of the first rate of ``after``, then its rates."""
        length = self.epochs * per_epoch
        later = np.maximum(steps - length, 0)
        rates = self.after.rates(later, per_epoch, samples, state) if isinstance(self.after, Schedule) else self.after
        return rates * np.minimum((steps + 1) / length, 1.0)

    def first_state(self) -> dict[str, Any]:
        """That of ``after``."""
        return self.after.first_state() if isinstance(self.after, Schedule) else {}

    def accepts(self, state: Any) -> bool:
        """Left to ``after``."""
        return self.after.accepts(state) if isinstance(self.after, Schedule) else super().accepts(state)

    def epoch_ends(self, state: dict[str, Any], cost: float) -> bool:
        """Left to ``after``."""
        return isinstance(self.after, Schedule) and self.after.epoch_ends(state, cost)


@dataclass(frozen=True)
class Adaptive(Schedule):
    """Divided by ``factor`` each time the cost has not fallen by ``tol`` for more than ``patience`` epochs in a row.

    scikit-learn's ``learning_rate="adaptive"`` (with its defaults). The training stops instead where the rate is
    already ``minimum`` or less.

    Examples
    --------
    >>> schedule, state = Adaptive(0.1, patience=1), Adaptive(0.1).first_state()
    >>> [schedule.epoch_ends(state, cost) for cost in (1.0, 1.0, 1.0)]
    [False, False, False]
    >>> schedule.rates(np.arange(1), 1, 100, state).tolist()
    [0.02]
    """

    initial: float
    factor: float = 5.0
    tol: float = 1e-4
    patience: int = 10
    minimum: float = 1e-6

    def __post_init__(self) -> None:
        checks.real_number(self.initial, "initial", 0)
        checks.real_number(self.factor, "factor", 1, open_low=True)
        checks.real_number(self.tol, "tol", 0)
        checks.whole_number(self.patience, "patience", 1)
        checks.real_number(self.minimum, "minimum", 0)

    def rates(self, steps: np.ndarray, per_epoch: int, samples: int, state: dict[str, Any]) -> np.ndarray:
        """The same for all steps, until an epoch's end divides it."""
        return np.full(len(steps), self._rate(state.get("divisions", 0)))

    def _rate(self, divisions: int) -> float:
        try:
            return self.initial / float(self.factor) ** divisions
        except OverflowError:
            return 0.0

    def first_state(self) -> dict[str, Any]:
        """The best cost, the epochs since it fell, and how often the rate was divided."""
        return {"best": None, "waited": 0, "divisions": 0}

    def accepts(self, state: Any) -> bool:
        """Whether a state that comes from a file is one of its own."""
        return super().accepts(state) and all(
            type(state[name]) is int and 0 <= state[name] < 1 << 53 for name in ("waited", "divisions")
        )

    def epoch_ends(self, state: dict[str, Any], cost: float) -> bool:
        """Take note of an epoch's cost; returns whether the training is to stop."""
        best = np.inf if state["best"] is None else state["best"]
        improved = cost <= best - self.tol  # what is not a number is no improvement
        state["waited"] = 0 if improved else state["waited"] + 1
        if cost < best:
            state["best"] = cost
        if state["waited"] <= self.patience:
            return False
        if self._rate(state["divisions"]) <= self.minimum:
            return True
        state["waited"], state["divisions"] = 0, state["divisions"] + 1
        return False
