"""The output layers of Theorem 6.1: identity with L2 loss, sigmoid with binary, softmax with categorical cross-entropy.

And a fourth with the same delta = o - y: exp with the Poisson deviance, for counts.

Outputs, losses and deltas are computed in ``engine/heads.py``; here is how each reads its targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop import checks
from fastbackprop.engine import codes

HEADS: dict[str, int] = {name: code for code, name in codes.HEADS.items()}
LABELS = "; classes are numbers from 0 here, fastbackprop.sklearn.MLPClassifier takes any labels"
ROW_SUM_TOLERANCE = 1e-3  # of probabilities given in float16 or float32


def read_targets(head: str, Y: Any, samples: int, outputs: int, dtype: np.dtype[Any], name: str = "Y") -> np.ndarray:
    """Targets as int64 class numbers (N,) or as rows (N, outputs), checked against what the head's loss is defined for.

    Raises ValueError or TypeError that names the argument, what was got and what is accepted.
    """
    array = checks.numbers(Y, name, LABELS if head == "softmax" else "")
    if head == "softmax":
        if array.ndim == 1:
            return checks.class_indices(array, name, outputs, samples)
        if array.shape[1:] != (outputs,):
            raise ValueError(
                f"{name} must have shape (N,), class numbers, or (N, {outputs}), probabilities, got {array.shape}"
            )
    array = checks.rows(array, name, outputs, dtype)
    if len(array) != samples:
        raise ValueError(f"{name} must have one target for each of the {samples} samples, got {len(array)}")
    if head == "identity":
        return array
    step = max(1, checks.CHUNK // outputs)
    for start in range(0, samples, step):
        part = array[start : start + step]
        if head == "exp":
            if part.min() < 0:
                raise ValueError(f"{name} must be at least 0 for output='exp', got {part.min()!s}")
            continue
        if part.min() < 0 or part.max() > 1:
            raise ValueError(
                f"{name} must hold probabilities from 0 to 1, got values from {part.min()!s} to {part.max()!s}"
            )
        if head == "softmax":
            sums = part.sum(axis=1, dtype=np.float64)
            worst = int(np.argmax(np.abs(sums - 1)))
            if abs(sums[worst] - 1) > ROW_SUM_TOLERANCE:
                raise ValueError(
                    f"{name} must have rows that sum to 1 (one-hot or probabilities), got {sums[worst]:g} "
                    f"in row {start + worst}"
                )
    return array
