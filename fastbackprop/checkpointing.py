"""Checkpoints: a training in a file, between two epochs, to go on from as if it had never stopped.

A checkpoint is a network's file (see ``persistence``) with more in it: the optimizer's vectors, where the training
stands, the history, the best parameters so far, and the settings that must be the same when it goes on. It is checked
whole before anything of the network or the training is changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks, persistence
from fastbackprop.history import History
from fastbackprop.rows import native
from fastbackprop.schedules import Schedule
from fastbackprop.training import State

if TYPE_CHECKING:
    from fastbackprop.early_stopping import EarlyStopping, Stopper
    from fastbackprop.network import Network
    from fastbackprop.optimizers import Optimizer

BEST = "best"
ROWS_LOOKED_AT = 1000  # of the samples, to tell one data set from another without reading all of a large file
LONGEST_REASON = 200  # characters of why a training ended
# What a setting that is a digest, so that its values say nothing, is of.
OTHER = {
    "data": "other samples, or with these in another order",
    "weights": "other sample or class weights",
    "held_out": "other validation samples",
    "key": "another seed",
}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, each part of the right type and in its range."""

    path: str
    params: np.ndarray
    best: np.ndarray | None
    state: State
    settings: dict[str, Any]
    history: History
    stopper: dict[str, Any] | None

    def check(self, settings: dict[str, Any], optimizer: Optimizer, rule: EarlyStopping | None, per_epoch: int) -> None:
        """Raise ValueError unless a training of these ``settings`` may go on from it. Nothing is changed."""
        if (rule is None) != (self.stopper is None):
            raise self._other(f"{'with' if rule is None else 'without'} early_stopping")
        for name, value in settings.items():
            was = self.settings.get(name)
            if was != value:
                raise self._other(
                    f"with {OTHER[name]}" if name in OTHER else f"with {name} = {checks.shortened(was)}, got {value!r}"
                )
        rate = optimizer.learning_rate
        schedule = rate if isinstance(rate, Schedule) else Schedule()
        try:
            self.state.vectors = optimizer.fitting(self.state.vectors, self.params.size, self.params.dtype)
        except ValueError as error:
            raise _not_whole(self.path, str(error)) from None
        if self.state.steps != self.state.epoch * per_epoch or not schedule.accepts(self.state.schedule):
            raise _not_whole(self.path, "its steps or the state of its schedule are not those of such a training")
        kept = rule is not None and rule.restore_best and self._improved
        if (self.best is not None) != kept:
            raise _not_whole(self.path, "the best parameters are missing or too many")

    def restore(self, net: Network, stopper: Stopper | None) -> History:
        """Put the network and early stopping where they were; returns the history. To be checked before."""
        net.params[...] = self.params
        if stopper is not None and self.stopper is not None:
            stopper.params = self.best
            stopper.best, stopper.best_epoch = self.stopper["best"], self.stopper["best_epoch"]
            stopper.waited = self.stopper["waited"]
        return self.history

    @property
    def _improved(self) -> bool:
        return self.stopper is not None and self.stopper["best"] is not None

    def _other(self, what: str) -> ValueError:
        return ValueError(f"resume: {self.path!r} was made {what}")


def fingerprint(net: Network, X: Any, Y: np.ndarray) -> str:
    """A digest by which other samples, or the same in another order, are noticed: of all targets and some rows of X."""
    rows = np.unique(np.linspace(0, X.shape[0] - 1, ROWS_LOOKED_AT).astype(np.int64))
    return digest(native(X[rows], net.dtype), Y if Y.ndim == 1 else native(Y, net.dtype))


def digest(*arrays: np.ndarray | None) -> str:
    """A digest of the bytes of arrays; None is one too."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(b"none" if array is None else array.tobytes())
    return found.hexdigest()[:16]


class Writer:
    """Writes the checkpoints of a training.

    Parameters
    ----------
    path : path
    every : int or datetime.timedelta
        A number of epochs: a checkpoint is due each time that many are done. A time: one is due after the first epoch,
        and then at the first epoch's end after the time has passed.
    metadata : mapping of str to str
        As :func:`fastbackprop.persistence.save` has it.
    parts : tuple
        Network, state, history, stopper and settings: what :func:`save` takes after the path.
    """

    def __init__(
        self, path: str | os.PathLike[str], every: int | timedelta, metadata: Mapping[str, str],
        parts: tuple[Network, State, History, Stopper | None, dict[str, Any]],
    ) -> None:  # fmt: skip
        self.path, self.every, self.metadata, self.parts = path, every, metadata, parts
        self.written, self.due = -1, -math.inf  # the last epoch, and the time of the next

    def epoch_ends(self, epoch: int) -> None:
        """Write a checkpoint if it is time for one."""
        is_due = time.monotonic() >= self.due if isinstance(self.every, timedelta) else epoch % self.every == 0
        if is_due:
            self._write(epoch)

    def training_ends(self, epoch: int) -> None:
        """Write a last one, unless it is there."""
        if self.written != epoch:
            self._write(epoch)

    def _write(self, epoch: int) -> None:
        save(self.path, *self.parts, metadata=self.metadata)
        self.written = epoch
        if isinstance(self.every, timedelta):
            self.due = time.monotonic() + self.every.total_seconds()


def save(
    path: str | os.PathLike[str], net: Network, state: State, history: History, stopper: Stopper | None,
    settings: dict[str, Any], *, metadata: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write a checkpoint; an earlier one of that name stays until the new one is on the disk."""
    tensors = {str(i): vector for i, vector in enumerate(state.vectors)}
    early = None
    if stopper is not None:
        early = {"best": stopper.best, "best_epoch": stopper.best_epoch, "waited": stopper.waited}
        if stopper.params is not None:
            tensors[BEST] = stopper.params
    record = {
        "settings": settings, "history": asdict(history), "stopper": early,
        "state": {"key": state.key, "steps": state.steps, "epoch": state.epoch, "schedule": state.schedule},
    }  # fmt: skip
    persistence.save(net, path, metadata, training=(json.dumps(record), tensors))


def epoch_of(path: str | os.PathLike[str]) -> int | None:
    """The epoch after which a checkpoint was written; None for the file of a network alone.

    Raises OSError and ValueError as :func:`fastbackprop.persistence.load` does; the vectors are not read.
    """
    text = persistence.read_record(path)
    if text is None:
        return None
    try:
        epoch = json.loads(text)["state"]["epoch"]
    except (KeyError, TypeError, ValueError, RecursionError):
        epoch = None
    if not _is_count(epoch):
        raise ValueError(f"{os.fspath(path)!r} is not a whole checkpoint")
    return epoch


def load(path: str | os.PathLike[str], net: Network) -> Checkpoint:
    """Read a checkpoint of a network like ``net``, which is not changed.

    Raises
    ------
    OSError
        Where the file cannot be read.
    ValueError
        Where it is damaged, not a checkpoint, or one of another network.
    """
    saved = persistence.load(path)
    for name in ("sizes", "hidden", "output", "dtype"):
        if getattr(saved, name) != getattr(net, name):
            raise ValueError(
                f"resume: {os.fspath(path)!r} holds a network with {name} = {getattr(saved, name)!r}, "
                f"not {getattr(net, name)!r}"
            )
    text, tensors = persistence.read_training(path)
    try:
        record = json.loads(text)
        parts = {name: record[name] for name in ("settings", "history", "stopper", "state")}
        state = parts["state"]
        vectors = [tensors.pop(str(i)) for i in range(len(tensors) - (BEST in tensors))]
        best = tensors.pop(BEST, None)
        whole = len(record) == len(parts) and isinstance(parts["settings"], dict) and _is_state(state)
        whole = whole and (best is None or (best.shape, best.dtype) == (net.params.shape, net.dtype))
        whole = whole and _is_history(parts["history"], state) and _is_stopper(parts["stopper"], state["epoch"])
    except (KeyError, TypeError, ValueError, RecursionError):
        whole = False
    if not whole:
        raise _not_whole(path)
    return Checkpoint(
        os.fspath(path), saved.params, best, State(vectors=vectors, **state), parts["settings"],
        History(**parts["history"]), parts["stopper"],
    )  # fmt: skip


def _not_whole(path: str | os.PathLike[str], why: str = "") -> ValueError:
    return ValueError(f"resume: {os.fspath(path)!r} is not a whole checkpoint{why and ': '}{why}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any, below: float = 1 << 62) -> bool:
    return type(value) is int and 0 <= value < below


def _is_state(state: Any) -> bool:
    """All of a `State` but the vectors; its schedule is looked at when the optimizer is known."""
    return (
        state.keys() == {field.name for field in fields(State)} - {"vectors"}
        and _is_count(state["key"], 1 << 63)
        and _is_count(state["steps"])
        and _is_count(state["epoch"])
        and isinstance(state["schedule"], dict)
    )


def _is_history(history: Any, state: dict[str, Any]) -> bool:
    """Whether these are the fields of a `History` whose training stands at ``state``."""
    epochs = state["epoch"]
    if history.keys() != {field.name for field in fields(History)}:
        return False
    for name in ("cost", "learning_rate", "validation_cost", "validation_score"):
        values, measured = history[name], name in ("cost", "learning_rate")
        if not isinstance(values, list) or not all(_is_number(value) for value in values):
            return False
        if len(values) != epochs and (measured or values):
            return False
        if measured and not all(math.isfinite(value) for value in values):
            return False
    best, stopped, seconds = history["best_epoch"], history["stopped"], history["seconds"]
    return (
        history["score_name"] in ("accuracy", "R²")
        and (best is None or (_is_count(best, epochs + 1) and best > 0))
        and isinstance(stopped, str)
        and len(stopped) <= LONGEST_REASON
        and stopped.isprintable()
        and history["steps"] == state["steps"]
        and _is_number(seconds)
        and 0 <= seconds < math.inf
    )


def _is_stopper(stopper: Any, epochs: int) -> bool:
    """None, or where early stopping stands."""
    if stopper is None:
        return True
    best, epoch = stopper["best"], stopper["best_epoch"]
    return (
        stopper.keys() == {"best", "best_epoch", "waited"}
        and _is_count(stopper["waited"], epochs + 1)
        and (best is None) == (epoch is None)
        and (best is None or (_is_number(best) and not math.isnan(best) and _is_count(epoch, epochs + 1)))
    )
