"""Weights of samples and of classes, made ready for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastbackprop import checks

# The engine multiplies losses and deltas by weights, and divides by the sum of a batch's. With weights between 2^-k and
# 2^k neither leaves the range of the dtype.
WIDEST = {"float32": 60, "float64": 500}


def sample_weights(values: Any, samples: int, dtype: np.dtype[Any], name: str = "sample_weight") -> np.ndarray | None:
    """Weights in the loss, one a sample, at least 0 and not all 0; None stays None, and is what equal ones are.

    Only their ratios count, so very small and very large ones are multiplied by a power of two, which leaves the bits
    of the results as they are. Those that are lighter than the heaviest by more than 2^120 (float64: 2^1000) count as
    much as that: beside it they are nothing, but a batch of them alone still learns.
    """
    weights, _ = scaled_weights(values, samples, dtype, name)
    return None if weights is None or weights.min() == weights.max() else weights


def scaled_weights(
    values: Any, samples: int, dtype: np.dtype[Any], name: str = "sample_weight"
) -> tuple[np.ndarray | None, int]:
    """As `sample_weights`, and the power of two that they were multiplied by."""
    if values is None:
        return None, 0
    array = checks.numbers(values, name)
    if array.shape != (samples,):
        raise ValueError(f"{name} must have shape ({samples},), one weight a sample, got {array.shape}")
    checks.finite(array, name, np.dtype(np.float64))
    if array.min() < 0:
        raise ValueError(f"{name} must be at least 0, got {array.min()!s} at {name}[{int(array.argmin())}]")
    largest = float(array.max())
    if largest == 0:
        raise ValueError(f"{name} must be above 0 for at least one sample, got zeros only")
    smallest = float(array.min(where=array > 0, initial=array.max()))
    widest = WIDEST[dtype.name]
    if 2.0**-widest <= smallest and largest < 2.0**widest:
        return np.array(array, dtype), 0
    power = widest - int(np.frexp(largest)[1])
    with np.errstate(under="ignore"):
        weights = np.ldexp(array.astype(np.float64), power)
    np.maximum(weights, 2.0**-widest, out=weights, where=array > 0)
    return weights.astype(dtype), power


def class_weights(class_weight: Any, classes: np.ndarray, count: int) -> np.ndarray:
    """The weight of each sample, float64, by its class.

    Parameters
    ----------
    class_weight : mapping from class number to weight, or 'balanced'
        A class that is not named weighs 1. 'balanced': N / (classes with samples * samples of the class).
    classes : int array (N,)
        Of each sample.
    count : int
        Classes there are, from 0.

    Examples
    --------
    >>> class_weights({1: 3.0}, np.array([0, 1, 2]), 3)
    array([1., 3., 1.])
    >>> class_weights("balanced", np.array([0, 1, 1, 1]), 3).round(3)
    array([2.   , 0.667, 0.667, 0.667])
    """
    accepted = "class_weight must be 'balanced' or a dict from class number to weight, such as {0: 1.0, 1: 5.0}"
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            meant = checks.did_you_mean(class_weight, ("balanced",))
            raise ValueError(f"{accepted}, got {checks.shortened(class_weight)}{meant}")
        present, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
        return (len(classes) / (len(present) * counts))[index]
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"{accepted}, got {checks.shortened(class_weight)}")
    weights = np.ones(count)
    for label, weight in class_weight.items():
        if isinstance(label, (bool, np.bool_)) or not isinstance(label, (int, np.integer)):
            raise TypeError(
                f"class_weight must have class numbers as keys, integers from 0 to {count - 1}, "
                f"got {checks.shortened(label)}"
            )
        if not 0 <= label < count:
            raise ValueError(f"class_weight must have class numbers from 0 to {count - 1} as keys, got {label!r}")
        weights[label] = checks.real_number(weight, f"class_weight[{label!r}]", 0)
    return weights[classes]
