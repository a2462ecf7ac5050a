"""What is trained: network sizes, batch, activations, optimizer, and data from a seed.

Everything here is plain NumPy (but for what X is handed over in, benchmarks/forms.py), so that every engine (and
every suite) starts from the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.forms import FORMS, as_array, first


def blobs(work: Workload, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping Gaussian clouds, one a class, as many rows in each: X (N, n[0]) and class indices y (N,)."""
    y = rng.permutation(work.samples) % work.sizes[-1]
    centers = rng.standard_normal((work.sizes[-1], work.sizes[0])) / np.sqrt(work.sizes[0])
    return rng.standard_normal((work.samples, work.sizes[0])) + centers[y], y


def matrix_exponentials(work: Workload, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """2 x 2 matrices X and their exponentials Y, both (N, 4): the series for X / 16, squared four times."""
    X = rng.standard_normal((work.samples, 2, 2))
    term = np.broadcast_to(np.eye(2), X.shape)
    total = term.copy()
    for k in range(1, 13):
        term = term @ X / (16 * k)
        total += term
    for _ in range(4):
        total = total @ total
    return X.reshape(-1, 4), total.reshape(-1, 4)


@dataclass(frozen=True)
class Workload:
    """One network and the way it is trained.

    `sizes` are n[0] .. n[L]; `samples` is a multiple of `batch`; an epoch is `steps` = samples / batch steps.
    `optimizer` is "sgd", "adam" or None: only the gradient is computed. `dtype` is the network's; `inputs` says in
    what form X is handed over, one of FORMS; None: an array of the network's dtype in C order. `check_steps` is the
    length of the short training by which an engine shows, before it is timed, that it does the same work as the
    others.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    samples: int
    hidden: str = "relu"
    output: str = "softmax"
    optimizer: str | None = "sgd"
    learning_rate: float = 1e-3
    dtype: str = "float32"
    inputs: str | None = None
    data: Callable[[Workload, np.random.Generator], tuple[np.ndarray, np.ndarray]] = blobs
    check_steps: int = 20

    @property
    def steps(self) -> int:
        return self.samples // self.batch

    @property
    def label(self) -> str:
        """What tells it from the other workloads of a comparison."""
        return f"{self.name}, {self.inputs} X" if self.inputs else self.name

    @property
    def shuffle(self) -> bool:
        """Whether an epoch's rows are shuffled: the order of one full batch would change nothing."""
        return self.steps > 1

    @property
    def parameters(self) -> int:
        return sum((i + 1) * o for i, o in zip(self.sizes, self.sizes[1:]))

    @property
    def flops(self) -> int:
        """Floating-point operations that a step's products need: Z, dW, and dA for all layers but the first."""
        products = [i * o for i, o in zip(self.sizes, self.sizes[1:])]
        return 2 * self.batch * (3 * sum(products) - products[0])


@dataclass(frozen=True)
class Problem:
    """A workload with its data and initial parameters, in `work.dtype` but for X (and class indices, which are int64).

    X is in the form that `work.inputs` names. `params` is one vector: for each layer W (n[l+1], n[l]) row by row,
    then b. Engines copy it, never write to it.
    """

    work: Workload
    X: Any
    y: np.ndarray
    params: np.ndarray

    @property
    def Y(self) -> np.ndarray:
        """The targets as (N, m): one-hot if y holds class indices."""
        if self.y.ndim == 2:
            return self.y
        return np.eye(self.work.sizes[-1], dtype=self.work.dtype)[self.y]

    def cast(self) -> np.ndarray:
        """X as an array of the network's dtype in C order; where it is one, that array itself."""
        return as_array(self.X, self.work.dtype)


def layers(params: np.ndarray, sizes: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Views of the flat vector: weights (n[l+1], n[l]) and biases (n[l+1],)."""
    weights, biases, at = [], [], 0
    for i, o in zip(sizes, sizes[1:]):
        weights.append(params[at : at + i * o].reshape(o, i))
        biases.append(params[at + i * o : at + (i + 1) * o])
        at += (i + 1) * o
    return weights, biases


def flat(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> np.ndarray:
    """The inverse of `layers`."""
    return np.concatenate([np.ravel(part) for pair in zip(weights, biases) for part in pair])


def make_problem(work: Workload, seed: int = 0) -> Problem:
    """Data and initial parameters (He for relu, else Glorot; small random biases, so that they count)."""
    rng = np.random.default_rng(seed)
    X, y = work.data(work, rng)
    params = np.empty(work.parameters)
    for W, b in zip(*layers(params, work.sizes)):
        o, i = W.shape
        W[:] = rng.standard_normal(W.shape) * np.sqrt(2 / i if work.hidden == "relu" else 2 / (i + o))
        b[:] = rng.standard_normal(b.shape) * 0.1
    y = y.astype(work.dtype) if y.ndim == 2 else y.astype(np.int64)
    return Problem(work, FORMS[work.inputs or work.dtype](X), y, params.astype(work.dtype))


def check_problem(problem: Problem) -> tuple[Problem, int]:
    """A short training on the first batches, and its number of epochs: about `check_steps` steps in all.

    Its learning rate is large, so that the change of the parameters stands well above the dtype's rounding.
    """
    work = problem.work
    rows = work.batch * min(work.steps, work.check_steps)
    rate = 0.1 if work.optimizer == "sgd" else work.learning_rate
    short = replace(work, samples=rows, learning_rate=rate)
    begin = Problem(short, first(problem.X, rows), problem.y[:rows], problem.params)
    return begin, max(1, work.check_steps // short.steps)


WORKLOADS = {
    work.name: work
    for work in (
        Workload("tiny", (4, 16, 16, 2), 32, 2048),
        Workload("digits", (64, 128, 10), 32, 1792),
        Workload("tabular", (32, 64, 64, 5), 128, 8192),
        Workload("mnist_s", (784, 128, 10), 64, 8192),
        Workload("mnist_l", (784, 512, 512, 10), 128, 8192),
        Workload("wide", (1024, 2048, 2048, 1000), 1024, 2048, check_steps=2),
        Workload(
            "matexp", (4, 32, 16, 4), 10_000, 10_000, hidden="tanh", output="identity", optimizer="adam",
            data=matrix_exponentials,
        ),
        Workload("readme24", (24, 8, 2), 200, 200, hidden="tanh", optimizer=None, dtype="float64"),
    )
}  # fmt: skip
