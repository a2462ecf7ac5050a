"""Optimizers: their hyperparameters. The formulas are in ``engine/update.py``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastbackprop import checks
from fastbackprop.engine import update as kernels


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, ``W -= learning_rate * dW``, with optional momentum.

    With momentum, ``v = momentum * v + dW`` and ``W -= learning_rate * v``; with Nesterov's,
    ``W -= learning_rate * (dW + momentum * v)``, as in PyTorch.

    Parameters
    ----------
    learning_rate : float, at least 0
    momentum : float in [0, 1)
    nesterov : bool

    Examples
    --------
    >>> SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        checks.real_number(self.learning_rate, "learning_rate", 0)
        checks.real_number(self.momentum, "momentum", 0, 1)
        if self.nesterov not in (False, True):
            raise TypeError(f"nesterov must be True or False, got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got 0")

    @property
    def code(self) -> int:
        """Of the engine's formula."""
        return (kernels.NESTEROV if self.nesterov else kernels.MOMENTUM) if self.momentum else kernels.SGD

    @property
    def states(self) -> int:
        """Vectors of the size of the parameters that it keeps."""
        return 1 if self.momentum else 0

    def hyper(self) -> np.ndarray:
        """Its constants, float64, as the engine reads them."""
        values = np.zeros(kernels.HYPER_FIELDS)
        values[kernels.MOMENTUM_FACTOR] = self.momentum
        return values


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015), with PyTorch's defaults.

    Parameters
    ----------
    learning_rate : float, at least 0
    beta1, beta2 : float in [0, 1)
        Decay of the first and the second moment.
    eps : float above 0

    Examples
    --------
    >>> Adam(3e-3).beta1
    0.9
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        checks.real_number(self.learning_rate, "learning_rate", 0)
        checks.real_number(self.beta1, "beta1", 0, 1)
        checks.real_number(self.beta2, "beta2", 0, 1)
        checks.real_number(self.eps, "eps", 0, open_low=True)

    @property
    def code(self) -> int:
        """Of the engine's formula."""
        return kernels.ADAM

    @property
    def states(self) -> int:
        """Vectors of the size of the parameters that it keeps."""
        return 2

    def hyper(self) -> np.ndarray:
        """Its constants, float64, as the engine reads them."""
        values = np.zeros(kernels.HYPER_FIELDS)
        values[kernels.BETA1], values[kernels.BETA2], values[kernels.EPS] = self.beta1, self.beta2, self.eps
        return values


Optimizer = SGD | Adam
