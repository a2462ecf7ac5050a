"""Callbacks: functions that are told of each epoch, and may end the training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastbackprop import checks

Callback = Callable[[dict[str, Any]], Any]


def read_callbacks(given: Any) -> tuple[Callback, ...]:
    """A sequence of functions, checked."""
    if callable(given) or not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise TypeError(f"callbacks must be a sequence of functions, got {checks.shortened(given)}")
    callbacks = tuple(given)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"callbacks must be functions of an epoch's record, got {checks.shortened(callback)}")
    return callbacks


def call(callbacks: Iterable[Callback], record: dict[str, Any]) -> bool:
    """Call each with the record; whether one of them answered with anything true: True, ``np.True_``, 1.

    None and all that is false go on. An answer that is neither, such as an array of several numbers, is a TypeError.

    Examples
    --------
    >>> call([lambda record: None, lambda record: record["cost"] < 0.5], {"cost": 0.25})
    True
    """
    stop = False
    for i, callback in enumerate(callbacks):
        answer = callback(record)
        try:
            stop |= bool(answer)
        except MemoryError:
            raise
        except Exception:
            raise TypeError(
                f"callbacks[{i}] must return None, or what is true to end the training, got {checks.shortened(answer)}"
            ) from None
    return stop
