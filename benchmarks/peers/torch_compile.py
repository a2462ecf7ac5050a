"""PyTorch, `torch.compile`: forward, gradient (`torch.func.grad`) and update are one compiled graph, one call a step.

It needs a C++ compiler on the machine. The gather of the batch stays outside, as in a training loop.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch.nn import functional

from benchmarks.peers.torch_eager import l2, version
from benchmarks.workloads import Problem, flat, layers

__all__ = ["Engine", "version"]


class Engine:
    def __init__(self, problem: Problem, threads: int):
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pool of compilers beside the measurement
        torch.set_num_threads(threads)
        torch._dynamo.reset()  # this network's graph, not one more variant of the last network's
        self.work = work = problem.work
        self.X, self.y, self.rng = (
            torch.from_numpy(problem.cast()),
            torch.from_numpy(problem.y),
            np.random.default_rng(0),
        )
        weights, biases = layers(problem.params, work.sizes)
        self.params = [torch.tensor(part) for pair in zip(weights, biases) for part in pair]
        self.m, self.v = [torch.zeros_like(p) for p in self.params], [torch.zeros_like(p) for p in self.params]
        # Of one dimension: what the compiled step adds to a float64 scalar is lost (PyTorch 2.13).
        self.t = torch.zeros(1, dtype=self.X.dtype)
        self.step = torch.compile(self.make_step(), fullgraph=True, dynamic=False)

    def make_step(self):
        hidden = {"relu": functional.relu, "tanh": torch.tanh}[self.work.hidden]
        loss = l2 if self.work.output == "identity" else functional.cross_entropy
        optimizer, rate = self.work.optimizer, self.work.learning_rate

        def cost(params, X, y):
            A = X
            for i in range(0, len(params), 2):
                A = functional.linear(A, params[i], params[i + 1])
                if i + 2 < len(params):
                    A = hidden(A)
            return loss(A, y)

        def step(params, m, v, t, X, y):
            grads = torch.func.grad(cost)(params, X, y)
            if optimizer == "sgd":
                for p, g in zip(params, grads):
                    p.sub_(rate * g)
            elif optimizer == "adam":
                t.add_(1)
                fix1, fix2 = 1 - 0.9**t, 1 - 0.999**t
                for p, g, mp, vp in zip(params, grads, m, v):
                    mp.mul_(0.9).add_(0.1 * g)
                    vp.mul_(0.999).add_(0.001 * g * g)
                    p.sub_(rate * (mp / fix1) / ((vp / fix2).sqrt() + 1e-8))
            else:
                return grads

        return step

    def run(self, epochs: int, shuffle: bool) -> None:
        N, X, y = self.work.batch, self.X, self.y
        with torch.no_grad():
            for _ in range(epochs):
                order = torch.from_numpy(self.rng.permutation(len(X))) if shuffle else None
                for s in range(0, len(X), N):
                    if order is None:
                        batch = X[s : s + N], y[s : s + N]
                    else:
                        rows = order[s : s + N]
                        batch = X[rows], y[rows]
                    self.grads = self.step(self.params, self.m, self.v, self.t, *batch)

    def result(self) -> np.ndarray:
        parts = [p.numpy() for p in (self.params if self.work.optimizer else self.grads)]
        return flat(parts[::2], parts[1::2])
