"""What a network's outputs are as predictions, and how good these are."""

from __future__ import annotations

import numpy as np


def score_name(output: str) -> str:
    """What `score` is."""
    return "accuracy" if output in ("softmax", "sigmoid") else "R²"


def predictions(output: str, o: np.ndarray) -> np.ndarray:
    """Class numbers, int64, of softmax, (N,), and sigmoid, (N,) or for several outputs (N, m); else the outputs."""
    if output == "softmax":
        return o.argmax(axis=1)
    if output == "sigmoid":
        sides = (o > 0.5).astype(np.int64)
        return sides[:, 0] if o.shape[1] == 1 else sides
    return o


def score(output: str, o: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Accuracy of the most probable class (softmax) or of every output's side of 1/2 (sigmoid); R^2 for the others.

    Of several targets it is the mean of their R^2, and a constant one counts 1 where it is met exactly, else 0, as in
    scikit-learn's ``r2_score``. NaN for the R^2 of fewer than two samples.
    """
    if weights is not None:
        weights = weights.astype(np.float64)
    if output == "softmax":
        right = o.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))
        return float(np.average(right, weights=weights))
    if output == "sigmoid":
        return float(np.average(((o > 0.5) == (y > 0.5)).all(axis=1), weights=weights))
    if len(y) < 2:
        return float("nan")
    w = 1.0 if weights is None else weights[:, None]
    mean = y.mean(axis=0, dtype=np.float64) if weights is None else np.average(y, axis=0, weights=weights)
    errors = np.sum(w * (y - o.astype(np.float64)) ** 2, axis=0)
    totals = np.sum(w * (y - mean) ** 2, axis=0)
    return float(np.mean(1.0 - np.divide(errors, totals, out=(errors > 0).astype(np.float64), where=totals > 0)))
