"""PyTorch, eager: nn.Sequential, a loss of nn.functional, backward(), torch.optim in its fused (fastest) form.

A layer takes only tensors of its own dtype, so X is made one beforehand, whatever it was.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.workloads import Problem, flat, layers

version = f"PyTorch {torch.__version__}"


def l2(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The paper's L2 loss: half the squared error, summed over outputs, averaged over samples."""
    return ((output - target) ** 2).sum() / (2 * len(output))


class Engine:
    def __init__(self, problem: Problem, threads: int):
        torch.set_num_threads(threads)
        self.work = work = problem.work
        self.X, self.y, self.rng = (
            torch.from_numpy(problem.cast()),
            torch.from_numpy(problem.y),
            np.random.default_rng(0),
        )
        self.linear = [nn.Linear(i, o, dtype=self.X.dtype) for i, o in zip(work.sizes, work.sizes[1:])]
        with torch.no_grad():
            for layer, W, b in zip(self.linear, *layers(problem.params, work.sizes)):
                layer.weight.copy_(torch.from_numpy(W))
                layer.bias.copy_(torch.from_numpy(b))
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[work.hidden]
        stack = [module for layer in self.linear for module in (layer, activation())]
        self.model = nn.Sequential(*stack[:-1])
        self.loss = l2 if work.output == "identity" else functional.cross_entropy
        parameters = self.model.parameters()
        if work.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(parameters, lr=work.learning_rate, fused=True)
        else:
            self.optimizer = torch.optim.Adam(parameters, lr=work.learning_rate, fused=True)

    def step(self, X: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        self.loss(self.model(X), y).backward()
        if self.work.optimizer:
            self.optimizer.step()

    def run(self, epochs: int, shuffle: bool) -> None:
        N, X, y = self.work.batch, self.X, self.y
        for _ in range(epochs):
            order = torch.from_numpy(self.rng.permutation(len(X))) if shuffle else None
            for s in range(0, len(X), N):
                if order is None:
                    self.step(X[s : s + N], y[s : s + N])
                else:
                    rows = order[s : s + N]
                    self.step(X[rows], y[rows])

    def result(self) -> np.ndarray:
        if self.work.optimizer is None:
            return flat([f.weight.grad.numpy() for f in self.linear], [f.bias.grad.numpy() for f in self.linear])
        return flat([f.weight.detach().numpy() for f in self.linear], [f.bias.detach().numpy() for f in self.linear])

    def forward(self, X: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            Z = self.model(torch.from_numpy(X))
            return (Z if self.work.output == "identity" else torch.softmax(Z, 1)).numpy()
