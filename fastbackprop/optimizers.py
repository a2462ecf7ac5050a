"""Optimizers: their hyperparameters. The formulas are in ``engine/update.py``, and L-BFGS is SciPy's (``lbfgs.py``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbackprop import checks, memory
from fastbackprop.engine import codes
from fastbackprop.schedules import Schedule

Rate = float | Schedule | Callable[[int], float]


def _check_decay(weight_decay: float, decay_biases: bool, clip_norm: float | None) -> None:
    checks.real_number(weight_decay, "weight_decay", 0)
    checks.boolean(decay_biases, "decay_biases")
    if clip_norm is not None:
        checks.real_number(clip_norm, "clip_norm", 0, open_low=True)


def _check_rate(rate: Rate) -> None:
    if isinstance(rate, type):
        raise TypeError(f"learning_rate must be a number, a schedule or a function, got the class {rate.__name__}")
    if not isinstance(rate, Schedule) and not callable(rate):
        checks.real_number(rate, "learning_rate", 0)


class Optimizer:
    """What the optimizers whose formulas are compiled have in common.

    ``learning_rate`` may be a number, a :class:`~fastbackprop.schedules.Schedule`, or a function of the epoch's number,
    counted from 0, which is called exactly once an epoch, when it begins.
    """

    learning_rate: Rate
    weight_decay: float
    decay_biases: bool
    clip_norm: float | None
    squares: tuple[int, ...] = ()  # which of its vectors are sums or means of squares
    decoupled = False  # whether weight_decay shrinks the weights themselves instead of being added to the gradient

    @property
    def code(self) -> int:
        """Of the engine's formula."""
        raise NotImplementedError

    @property
    def states(self) -> int:
        """Vectors of the size of the parameters that it keeps."""
        raise NotImplementedError

    def first_state(self, size: int, dtype: np.dtype[Any]) -> list[np.ndarray]:
        """Its vectors before the first step."""
        return [memory.zeros(size, dtype) for _ in range(self.states)]

    def fitting(self, vectors: Sequence[np.ndarray], size: int, dtype: np.dtype[Any]) -> list[np.ndarray]:
        """Vectors that it may go on with and the engine may write to: those given, copied where they are not such.

        Raises ValueError where there are more or fewer, or where one has another size or dtype, is not finite, or
        negative where it is a mean of squares.
        """
        if len(vectors) != self.states:
            raise ValueError(f"{type(self).__name__} keeps {self.states} vectors, got {len(vectors)}")
        for i, vector in enumerate(vectors):
            if vector.shape != (size,) or vector.dtype.newbyteorder("=") != dtype:
                raise ValueError(
                    f"the vectors of {type(self).__name__} must have {size} elements of {dtype}, "
                    f"got shape {vector.shape} of {vector.dtype}"
                )
            if not checks.all_finite(vector) or (i in self.squares and vector.min() < 0):
                raise ValueError(f"the vectors of {type(self).__name__} must be finite, and its squares at least 0")
        return [memory.owned(vector) for vector in vectors]

    def rates(self, rates: np.ndarray, first_step: int) -> np.ndarray:
        """The learning rates of some steps from ``first_step``, counted from 0, of those that the schedule gave."""
        return rates

    def hyper(self, **own: float) -> np.ndarray:
        """Its constants, float64, as the engine reads them; ``own`` are those that only this optimizer has."""
        values = np.zeros(codes.HYPER_FIELDS)
        values[codes.DECOUPLED_DECAY if self.decoupled else codes.DECAY] = self.weight_decay
        values[codes.DECAY_BIASES] = self.decay_biases
        values[codes.CLIP_NORM] = self.clip_norm or 0.0
        for name, value in own.items():
            values[getattr(codes, name)] = value
        return values


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, ``W -= learning_rate * dW``, with optional momentum.

    With momentum, ``v = momentum * v + dW`` and ``W -= learning_rate * v``; with Nesterov's,
    ``W -= learning_rate * (dW + momentum * v)``, as in PyTorch.

    Parameters
    ----------
    learning_rate : float, at least 0, a Schedule, or a function of the epoch's number
    momentum : float, at least 0
    nesterov : bool
    weight_decay : float, at least 0
        ``dW += weight_decay * W`` before anything else.
    decay_biases : bool
        Whether the biases decay too.
    clip_norm : None or float above 0
        Gradients (without the decay) of a larger 2-norm, over all parameters, are scaled down to it.

    Examples
    --------
    >>> SGD(0.1, momentum=0.9).nesterov
    False
    """

    learning_rate: Rate = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decay_biases: bool = False
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        checks.real_number(self.momentum, "momentum", 0)
        checks.boolean(self.nesterov, "nesterov")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got 0")
        _check_decay(self.weight_decay, self.decay_biases, self.clip_norm)

    @property
    def code(self) -> int:
        """Of the engine's formula."""
        if self.momentum == 0:
            return codes.SGD
        return codes.NESTEROV if self.nesterov else codes.MOMENTUM

    @property
    def states(self) -> int:
        """Vectors of the size of the parameters that it keeps."""
        return 1 if self.momentum else 0

    def hyper(self, **own: float) -> np.ndarray:
        """Its constants, float64, as the engine reads them."""
        return super().hyper(MOMENTUM_FACTOR=self.momentum)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012), with PyTorch's formula and defaults.

    ``v = alpha * v + (1 - alpha) * dW**2`` and ``u = momentum * u + dW / (sqrt(v) + eps)``; ``W -= learning_rate * u``.

    Parameters
    ----------
    learning_rate : float, at least 0, a Schedule, or a function of the epoch's number
    alpha : float in [0, 1)
        Decay of the mean square.
    eps : float above 0
    momentum : float, at least 0
    weight_decay, decay_biases, clip_norm
        As of :class:`SGD`.

    Examples
    --------
    >>> RMSprop().alpha
    0.99
    """

    learning_rate: Rate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    decay_biases: bool = False
    clip_norm: float | None = None

    squares = (0,)

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        checks.real_number(self.alpha, "alpha", 0, 1)
        checks.real_number(self.eps, "eps", 0, open_low=True)
        checks.real_number(self.momentum, "momentum", 0)
        _check_decay(self.weight_decay, self.decay_biases, self.clip_norm)

    @property
    def code(self) -> int:
        """Of the engine's formula."""
        return codes.RMSPROP

    @property
    def states(self) -> int:
        """Vectors of the size of the parameters that it keeps."""
        return 2 if self.momentum else 1

    def hyper(self, **own: float) -> np.ndarray:
        """Its constants, float64, as the engine reads them."""
        return super().hyper(BETA2=self.alpha, EPS=self.eps, MOMENTUM_FACTOR=self.momentum)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011), with PyTorch's formula and defaults.

    ``v += dW**2``; ``W -= learning_rate / (1 + (t - 1) * lr_decay) * dW / (sqrt(v) + eps)`` in step t, from 1.

    Parameters
    ----------
    learning_rate : float, at least 0, a Schedule, or a function of the epoch's number
    lr_decay : float, at least 0
    initial_accumulator_value : float, at least 0
        Where v starts.
    eps : float above 0
    weight_decay, decay_biases, clip_norm
        As of :class:`SGD`.

    Examples
    --------
    >>> Adagrad(0.05).eps
    1e-10
    """

    learning_rate: Rate = 1e-2
    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    weight_decay: float = 0.0
    decay_biases: bool = False
    clip_norm: float | None = None

    squares = (0,)

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        checks.real_number(self.lr_decay, "lr_decay", 0)
        checks.real_number(self.initial_accumulator_value, "initial_accumulator_value", 0)
        checks.real_number(self.eps, "eps", 0, open_low=True)
        _check_decay(self.weight_decay, self.decay_biases, self.clip_norm)

    @property
    def code(self) -> int:
        """Of the engine's formula."""
        return codes.ADAGRAD

    @property
    def states(self) -> int:
        """Vectors of the size of the parameters that it keeps."""
        return 1

    def first_state(self, size: int, dtype: np.dtype[Any]) -> list[np.ndarray]:
        """Its vector before the first step."""
        return [np.full(size, self.initial_accumulator_value, dtype)]

    def rates(self, rates: np.ndarray, first_step: int) -> np.ndarray:
        """The learning rates of some steps from ``first_step``, counted from 0, of those that the schedule gave."""
        return rates / (1 + np.arange(first_step, first_step + len(rates)) * self.lr_decay)

    def hyper(self, **own: float) -> np.ndarray:
        """Its constants, float64, as the engine reads them."""
        return super().hyper(EPS=self.eps)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), with PyTorch's defaults.

    Parameters
    ----------
    learning_rate : float, at least 0, a Schedule, or a function of the epoch's number
    beta1, beta2 : float in [0, 1)
        Decay of the first and the second moment.
    eps : float above 0
    weight_decay, decay_biases, clip_norm
        As of :class:`SGD`; for a decay apart from the gradient see :class:`AdamW`.

    Examples
    --------
    >>> Adam(3e-3).beta1
    0.9
    """

    learning_rate: Rate = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    decay_biases: bool = False
    clip_norm: float | None = None

    squares = (1,)

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        checks.real_number(self.beta1, "beta1", 0, 1)
        checks.real_number(self.beta2, "beta2", 0, 1)
        checks.real_number(self.eps, "eps", 0, open_low=True)
        _check_decay(self.weight_decay, self.decay_biases, self.clip_norm)

    @property
    def code(self) -> int:
        """Of the engine's formula."""
        return codes.ADAM

    @property
    def states(self) -> int:
        """Vectors of the size of the parameters that it keeps."""
        return 2

    def hyper(self, **own: float) -> np.ndarray:
        """Its constants, float64, as the engine reads them."""
        return super().hyper(BETA1=self.beta1, BETA2=self.beta2, EPS=self.eps)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): ``W *= 1 - learning_rate * weight_decay`` first.

    Parameters
    ----------
    learning_rate, beta1, beta2, eps, decay_biases, clip_norm
        As of :class:`Adam`.
    weight_decay : float, at least 0

    Examples
    --------
    >>> AdamW().weight_decay
    0.01
    """

    weight_decay: float = 1e-2
    decoupled = True


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS on the whole training set, by SciPy's ``minimize`` (needs the extra ``sklearn``, which brings SciPy).

    Each iteration is an epoch of ``fit``, on all samples at once: ``batch_size``, ``shuffle``, ``l1``, ``dropout`` and
    checkpoints are errors; ``seed`` chooses the validation samples only. The arithmetic of the search directions is
    SciPy's, in float64.

    Parameters
    ----------
    history_size : int
        Pairs of steps and gradient differences that are kept.
    tolerance : float, at least 0
        Ends the training where no element of the gradient is larger.
    ftol : float, at least 0
        Ends it where an iteration lowers the cost by a smaller part of it; SciPy's default, 1e7 times the precision.
    max_evaluations : int
        Of the cost and its gradient, over the whole training.

    Examples
    --------
    >>> LBFGS(tolerance=1e-4).history_size
    10
    """

    history_size: int = 10
    tolerance: float = 1e-5
    ftol: float = 1e7 * 2.0**-52
    max_evaluations: int = 15000

    def __post_init__(self) -> None:
        checks.whole_number(self.history_size, "history_size", 1)
        checks.real_number(self.tolerance, "tolerance", 0)
        checks.real_number(self.ftol, "ftol", 0)
        checks.whole_number(self.max_evaluations, "max_evaluations", 1)


NAMES = {"sgd": SGD, "rmsprop": RMSprop, "adagrad": Adagrad, "adam": Adam, "adamw": AdamW, "lbfgs": LBFGS}


def optimizer(given: Any) -> Optimizer | LBFGS:
    """The optimizer of that name with its defaults, or the one given; SGD(0.1) for None."""
    if given is None:
        return SGD()
    if isinstance(given, (Optimizer, LBFGS)):
        return given
    accepted = f"an optimizer such as fastbackprop.Adam(1e-3), or one of {', '.join(NAMES)}"
    if isinstance(given, type) and issubclass(given, (Optimizer, LBFGS)):
        raise TypeError(f"optimizer must be {accepted}, got the class {given.__name__}: {given.__name__}() is meant?")
    if not isinstance(given, str):
        raise TypeError(f"optimizer must be {accepted}, got {given!r}")
    if given not in NAMES:
        meant = checks.did_you_mean(given, NAMES)
        raise ValueError(f"optimizer must be {accepted}, got {checks.shortened(given)}{meant}")
    made: Optimizer | LBFGS = NAMES[given]()
    return made
