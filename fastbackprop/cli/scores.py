"""How good predictions are, by scikit-learn's measures, in lines for the user."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastbackprop.cli.terminal import MOST_NAMES
from fastbackprop.scores import r2
from fastbackprop.text import shown

if TYPE_CHECKING:
    from fastbackprop.tables import Table


class Scores(NamedTuple):
    """``first`` is the one to look at; ``more`` has a name for each other line."""

    first: str
    more: dict[str, str]
    unseen: tuple[str, ...] = ()  # classes without a sample


def measure(table: Table, frame: Any, outputs: np.ndarray) -> Scores:
    """The scores of the network's outputs for rows that have their targets; ValueError where these are not readable."""
    y = table.encode_targets(frame)
    if not np.isfinite(outputs).all():
        raise ValueError("predictions are not finite")
    if table.task == "classification":
        return of_classes(table.classes, y, outputs)
    return of_numbers(table.targets, y * table.scale + table.mean, table.decode(outputs).to_numpy(np.float64))


def of_classes(classes: Sequence[str], y: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Scores of probabilities, (N, classes), for the class numbers y."""
    from sklearn import metrics

    every = np.arange(len(classes))
    counts = np.bincount(y, minlength=len(classes))
    predicted = probabilities.argmax(axis=1)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    right = metrics.accuracy_score(y, predicted, normalize=False)
    majority = metrics.accuracy_score(y, np.full_like(y, counts.argmax()))
    recall = metrics.recall_score(y, predicted, labels=every, average=None, zero_division=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of predicted classes that do not occur: these are said below
        balanced = metrics.balanced_accuracy_score(y, predicted)
    parts = [f"majority class {majority:.2%}", f"balanced accuracy {balanced:.2%}"]
    if counts.all():  # else it is not defined
        asked = probabilities[:, 1] if len(classes) == 2 else probabilities
        parts.append(f"ROC AUC {metrics.roc_auc_score(y, asked, multi_class='ovr', labels=every):.4f}")
    parts.append(f"log loss {metrics.log_loss(y, probabilities, labels=every):.4f}")
    seen = np.flatnonzero(counts).tolist()
    by_class = [f"{shown(classes[k])} {recall[k]:.2%} of {counts[k]}" for k in seen[:MOST_NAMES]]
    by_class += [f"and {len(seen) - MOST_NAMES} more classes"] if len(seen) > MOST_NAMES else []
    return Scores(
        f"accuracy {right / len(y):.2%} ({int(right)} of {len(y)})",
        {"scores": ", ".join(parts), "recall": ", ".join(by_class)},
        tuple(classes[k] for k in np.flatnonzero(counts == 0).tolist()),
    )


def of_numbers(names: Sequence[str], true: np.ndarray, predicted: np.ndarray) -> Scores:
    """Scores of predicted values, (N, targets), each target in its own units."""
    from sklearn import metrics

    many: dict[str, Any] = {"multioutput": "raw_values"}
    rmse, mae = (f(true, predicted, **many) for f in (metrics.root_mean_squared_error, metrics.mean_absolute_error))
    each = r2(predicted, true) if len(true) > 1 else np.full(len(names), np.nan)
    words = [f"R² {r:.4f}, RMSE {s:.4g}, MAE {a:.4g}" for r, s, a in zip(each, rmse, mae)]
    samples = f"{len(true)} sample{'s' * (len(true) != 1)}"
    if len(names) == 1:
        return Scores(f"{words[0]} ({samples})", {})
    more = {f"target {shown(name)}": line for name, line in zip(names[:MOST_NAMES], words)}
    return Scores(f"R² {np.mean(each):.4f}, the mean of {len(names)} targets ({samples})", more)
