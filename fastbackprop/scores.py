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
    return float(np.mean(r2(o, y, weights)))


def _scaled(values: np.ndarray, by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns times a power of two after which what is largest in ``by`` is at least 1/2 and below 1; and the power."""
    power = np.frexp(np.abs(by).max(axis=0))[1]
    return np.ldexp(values, -power), power


@np.errstate(all="ignore")
def r2(o: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """R^2 of each column. No square is too large or too small for a float, since all are of scaled numbers.

    Examples
    --------
    >>> r2(np.array([[1e200], [2e200]]), np.array([[1e200], [3e200]]))
    array([0.5])
    """
    o, y = o.astype(np.float64), y.astype(np.float64)
    if weights is not None:
        o, y, weights = o[weights > 0], y[weights > 0], weights[weights > 0]
    given, power = _scaled(y, np.maximum(np.abs(y), np.abs(o)))
    errors, e = _scaled(given - np.ldexp(o, -power), given - np.ldexp(o, -power))
    targets, t = _scaled(y, y)
    deviations, d = _scaled(*[targets - np.average(targets, axis=0, weights=weights)] * 2)
    ratio = np.average(errors**2, axis=0, weights=weights) / np.average(deviations**2, axis=0, weights=weights)
    ratio = np.ldexp(ratio, 2 * (power + e - t - d))
    # The mean of equal numbers may be another number.
    constant = y.min(axis=0) == y.max(axis=0)
    return 1.0 - np.where(constant, errors.any(axis=0), ratio)
