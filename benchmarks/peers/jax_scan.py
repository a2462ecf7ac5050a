"""JAX: the same step inside `lax.scan`, so that one `jit` call runs all the steps of all the epochs asked for."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from benchmarks.peers import Unsupported, jax_step
from benchmarks.peers.jax_step import step, version

__all__ = ["Engine", "version"]


class Engine(jax_step.Engine):
    def compile(self) -> None:
        work = self.work
        if work.optimizer is None:
            raise Unsupported("a gradient alone has no steps to scan over")

        @partial(jax.jit, donate_argnums=0)
        def mini_batches(state, X, Y, orders):
            return jax.lax.scan(lambda state, rows: (step(work, state, X[rows], Y[rows]), None), state, orders)[0]

        @partial(jax.jit, donate_argnums=0, static_argnums=3)
        def full_batches(state, X, Y, steps):
            return jax.lax.scan(lambda state, _: (step(work, state, X, Y), None), state, length=steps)[0]

        self.mini_batches, self.full_batches = mini_batches, full_batches

    def run(self, epochs: int, shuffle: bool) -> None:
        if self.work.steps == 1:
            state = self.full_batches(self.state, self.X, self.Y, epochs)
        else:
            orders = np.concatenate([self.order(shuffle) for _ in range(epochs)])
            state = self.mini_batches(self.state, self.X, self.Y, orders)
        self.state = jax.block_until_ready(state)
