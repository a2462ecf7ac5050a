"""fastbackprop, through its public calls: `Network.fit` (several epochs a call) or `Network.gradients`."""

from __future__ import annotations

import numpy as np

from benchmarks.workloads import Problem
from fastbackprop import SGD, Adam, Network, __version__
from fastbackprop.threads import available

version = f"fastbackprop {__version__}"


class Engine:
    def __init__(self, problem: Problem, threads: int):
        self.work = work = problem.work
        self.X, self.y = problem.X, problem.y
        chosen = None if threads == available() else threads  # of all processors the library takes as many as pay
        self.net = Network(work.sizes, hidden=work.hidden, output=work.output, dtype=work.dtype, threads=chosen)
        self.net.params[:] = problem.params
        self.forward = self.net.forward
        if work.optimizer:
            self.optimizer = {"sgd": SGD, "adam": Adam}[work.optimizer](work.learning_rate)

    def run(self, epochs: int, shuffle: bool) -> None:
        if self.work.optimizer is None:
            for _ in range(epochs):
                self.gradients = self.net.gradients(self.X, self.y)
        else:
            self.net.fit(
                self.X, self.y, epochs=epochs, batch_size=self.work.batch, optimizer=self.optimizer, seed=0,
                shuffle=shuffle,
            )  # fmt: skip

    def result(self) -> np.ndarray:
        return np.array(self.net.params if self.work.optimizer else self.gradients.vector)


def peak(dtype: str, seconds: float) -> tuple[float, float]:
    """GFLOP/s of one thread of this machine, best and median: the engine's own tile, data in the first-level cache."""
    from fastbackprop.engine import tile

    return tile.peak(dtype, seconds)
