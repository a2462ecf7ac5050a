"""Which samples are held back for validation: a fair share, the last rows, or whole groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop import checks

WAYS = ("random", "last")
GROUPS = (str, int, float, np.number, np.bool_, np.datetime64)  # what a group may be, beside what NumPy has arrays of


def class_numbers(output: str, Y: np.ndarray) -> np.ndarray | None:
    """The class of each sample, from targets as read; None where the output layer has no classes."""
    if output == "softmax":
        return Y if Y.ndim == 1 else Y.argmax(axis=1)
    if output == "sigmoid" and Y.shape[1] == 1:
        return (Y[:, 0] > 0.5).astype(np.int64)
    return None


def split(
    output: str, Y: np.ndarray, fraction: float, rng: np.random.Generator, way: str = "random",
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Row numbers for training and for validation, in order.

    For classes the same share of each as near as can be, unless ``way`` is 'last', the last rows, or there are
    ``groups``, numbers from 0: then whole ones are drawn.
    """
    samples = len(Y)
    held_out = round(samples * fraction)
    if not 0 < held_out < samples:
        raise ValueError(f"validation_fraction must leave samples on both sides, got {fraction!r} of {samples} samples")
    if way == "last":
        return np.arange(samples - held_out), np.arange(samples - held_out, samples)
    if groups is not None:
        chosen = _whole_groups(groups, held_out, rng)[groups]
        return np.flatnonzero(~chosen), np.flatnonzero(chosen)
    key = rng.random(samples)
    classes = class_numbers(output, Y)
    if classes is not None:
        # Ranked by the place within the class, as a share of the class: the first of all ranks are a fair sample.
        order = np.lexsort((key, classes))
        _, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
        place = np.arange(samples) - np.repeat(starts, counts)
        key[order] = (place + rng.random(samples)) / np.repeat(counts, counts)
    chosen = np.zeros(samples, bool)
    chosen[np.argsort(key, kind="stable")[:held_out]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _whole_groups(groups: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Which groups are held out: in a random order, each that brings their samples nearer to ``wanted``."""
    counts = np.bincount(groups)
    chosen, total = np.zeros(len(counts), bool), 0
    for group in rng.permutation(len(counts)).tolist():
        if abs(total + counts[group] - wanted) < abs(total - wanted):
            chosen[group], total = True, total + counts[group]
    if not total:
        chosen[counts.argmin()] = True
    if chosen.all():
        chosen[counts.argmax()] = False
    return chosen


def _without_conversion(values: Any) -> np.ndarray:
    """An array in which what differs still does: NumPy makes one text of 1 and "1", one float of 2^53 and 2^53 + 1."""
    if not isinstance(values, (list, tuple)):
        return np.asarray(values)
    kinds = set(map(type, values))
    array = np.asarray(values) if len(kinds) == 1 else None
    if array is None or (kinds == {int} and array.dtype.kind == "f"):
        array = np.empty(len(values), object)
        array[:] = [value.item() if isinstance(value, (np.number, np.bool_)) else value for value in values]
    return array


def read_groups(values: Any, samples: int) -> np.ndarray | None:
    """The group of each sample as a number from 0, from numbers, texts or dates; at least two groups."""
    if values is None:
        return None
    accepted = f"validation_groups must be a vector of {samples} numbers or texts, the group of each sample"
    if np.ma.is_masked(values):
        raise TypeError(f"{accepted}, got a masked array")
    try:
        array = _without_conversion(values)
        if array.dtype.kind == "O":  # equal to itself: None and NaN are no groups
            others = [value for value in array.ravel().tolist() if not isinstance(value, GROUPS)]
            if others:
                raise TypeError(f"{accepted}, got {checks.shortened(others[0])}")
        names, numbers = np.unique(array, return_inverse=True)
    except (TypeError, ValueError) as error:
        if str(error).startswith(accepted):
            raise
        raise TypeError(f"{accepted}, got {checks.shortened(values)}") from None
    if array.shape != (samples,):
        raise ValueError(f"{accepted}, got shape {array.shape}")
    if (names != names).any():
        raise ValueError(f"{accepted}, got NaN at validation_groups[{int(np.argmax(array != array))}]")
    if len(names) < 2:
        raise ValueError(f"{accepted}, at least two different ones, got only {checks.shortened(names.tolist()[0])}")
    return numbers.reshape(-1)
