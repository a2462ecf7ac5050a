"""JAX: one `jit` call a step. The loss is written down, `jax.grad` makes the gradient, buffers are donated.

Of the ways tried (one-hot or indexed targets, Code 4 by hand) all are equally fast within the noise. X is put on the
device beforehand, in the network's dtype, whatever it was.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.workloads import Problem, Workload, flat, layers

version = f"JAX {jax.__version__}"


def linear_outputs(work: Workload, params, X):
    """Z of the last layer; params is a list of (W, b) with W (n[l], n[l+1])."""
    A = X
    for i, (W, b) in enumerate(params, start=1):
        A = A @ W + b
        if i < len(params):
            A = jax.nn.relu(A) if work.hidden == "relu" else jnp.tanh(A)
    return A


def outputs(work: Workload, params, X):
    Z = linear_outputs(work, params, X)
    return Z if work.output == "identity" else jax.nn.softmax(Z)


def cost(work: Workload, params, X, Y):
    """J, the mean over samples."""
    A = linear_outputs(work, params, X)
    loss = (A - Y) ** 2 / 2 if work.output == "identity" else -Y * jax.nn.log_softmax(A)
    return loss.sum() / len(X)


def step(work: Workload, state, X, Y):
    """One update of state = (params, first moments, second moments, number of steps); the gradient if that is all."""
    params, m, v, t = state
    grads = jax.grad(partial(cost, work))(params, X, Y)
    if work.optimizer is None:
        return grads
    rate = work.learning_rate
    if work.optimizer == "sgd":
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), m, v, t
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    fix1, fix2 = 1 - 0.9**t, 1 - 0.999**t
    params = jax.tree.map(lambda p, m, v: p - rate * (m / fix1) / (jnp.sqrt(v / fix2) + 1e-8), params, m, v)
    return params, m, v, t


class Engine:
    def __init__(self, problem: Problem, threads: int):
        jax.config.update("jax_enable_x64", problem.work.dtype == "float64")
        self.work = work = problem.work
        self.X, self.Y, self.rng = jnp.asarray(problem.cast()), jnp.asarray(problem.Y), np.random.default_rng(0)
        params = [(jnp.array(W.T), jnp.array(b)) for W, b in zip(*layers(problem.params, work.sizes))]
        zeros = partial(jax.tree.map, jnp.zeros_like)
        adam = work.optimizer == "adam"
        self.state = (params, zeros(params) if adam else None, zeros(params) if adam else None, jnp.zeros(()))
        self.outputs = jax.jit(partial(outputs, work))
        self.compile()

    def compile(self) -> None:
        work = self.work
        donate = () if work.optimizer is None else (0,)
        self.full_batch = jax.jit(partial(step, work), donate_argnums=donate)
        self.mini_batch = jax.jit(lambda state, X, Y, rows: step(work, state, X[rows], Y[rows]), donate_argnums=donate)

    def forward(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.outputs(self.state[0], X))

    def order(self, shuffle: bool) -> np.ndarray:
        """The rows of each step of an epoch, (steps, batch)."""
        work = self.work
        rows = self.rng.permutation(work.samples) if shuffle else np.arange(work.samples)
        return rows.astype(np.int32).reshape(work.steps, work.batch)

    def run(self, epochs: int, shuffle: bool) -> None:
        state, X, Y = self.state, self.X, self.Y
        for _ in range(epochs):
            if self.work.optimizer is None:
                self.grads = self.full_batch(state, X, Y)
            elif self.work.steps == 1:
                state = self.full_batch(state, X, Y)
            else:
                for rows in self.order(shuffle):
                    state = self.mini_batch(state, X, Y, rows)
        jax.block_until_ready(self.grads if self.work.optimizer is None else state)
        self.state = state

    def result(self) -> np.ndarray:
        layers = self.grads if self.work.optimizer is None else self.state[0]
        return flat([np.asarray(W).T for W, _ in layers], [np.asarray(b) for _, b in layers])
