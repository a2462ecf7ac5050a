"""Checkpoints: a training in a file, between two epochs, to go on from as if it had never stopped.

A checkpoint is a network's file (see ``persistence``) with more in it: the optimizer's vectors, where the training
stands, the history, the best parameters so far, and the settings that must be the same when it goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import persistence
from fastbackprop.history import History
from fastbackprop.rows import native
from fastbackprop.training import State

if TYPE_CHECKING:
    from fastbackprop.early_stopping import Stopper
    from fastbackprop.network import Network

BEST = "best"
ROWS_LOOKED_AT = 1000  # of the samples, to tell one data set from another without reading all of a large file


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    path: str
    params: np.ndarray
    best: np.ndarray | None
    state: State
    record: dict[str, Any]

    def restore(self, settings: dict[str, Any], net: Network, stopper: Stopper | None) -> History:
        """Put the network and early stopping where they were; returns the history. ``settings`` must be the same."""
        for name, value in settings.items():
            if name == "data" and self.record["settings"].get(name) != value:
                raise ValueError(f"resume: {self.path!r} was made with other samples, or with these in another order")
            if self.record["settings"].get(name) != value:
                raise ValueError(
                    f"resume: {self.path!r} was made with {name} = {self.record['settings'].get(name)!r}, got {value!r}"
                )
        if (stopper is None) != (self.record["stopper"] is None):
            raise ValueError(
                f"resume: {self.path!r} was made {'with' if stopper is None else 'without'} early_stopping"
            )
        net.params[...] = self.params
        if stopper is not None:
            stopper.params = self.best
            for name, value in self.record["stopper"].items():
                setattr(stopper, name, value)
        return History(**self.record["history"])


def fingerprint(net: Network, X: Any, Y: np.ndarray) -> str:
    """A digest by which other samples, or the same in another order, are noticed: of all targets and some rows of X."""
    rows = np.unique(np.linspace(0, X.shape[0] - 1, ROWS_LOOKED_AT).astype(np.int64))
    digest = hashlib.sha256(native(X[rows], net.dtype).tobytes())
    digest.update(Y.tobytes() if Y.ndim == 1 else native(Y, net.dtype).tobytes())
    return digest.hexdigest()[:16]


def save(
    path: str | os.PathLike[str], net: Network, state: State, history: History, stopper: Stopper | None,
    settings: dict[str, Any],
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
    persistence.save(net, path, training=(json.dumps(record), tensors))


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
        best = tensors.pop(BEST, None)
        state = State(vectors=[tensors[str(i)] for i in range(len(tensors))], **record["state"])
        History(**record["history"])
        record["settings"], record["stopper"]
        fits = all(v.shape == net.params.shape and v.dtype == net.dtype for v in (*state.vectors, net.params))
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits or (best is not None and best.shape != net.params.shape):
        raise ValueError(f"resume: {os.fspath(path)!r} is not a whole checkpoint") from None
    return Checkpoint(os.fspath(path), saved.params, best, state, record)
