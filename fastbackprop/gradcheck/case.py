"""A network with samples, what the engine and the reference compute of them, and the losses of which that must hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastbackprop import reference
from fastbackprop.gradcheck.statements import KINKS, LOSSES, OUTPUTS, PAPER_OUTPUTS, VALUES, Array, Layers, slope_of
from fastbackprop.network import Network

SAMPLES = 37  # of X at most: not a multiple of any vector, so that the engine's padding takes part
KINK = 1e-5  # distance of Z from a kink of g, relative to the layer's largest Z, below which rounding may cross it


class Case:
    """A network with samples: its parameters in float64, and what the engine and the reference computed, as columns."""

    def __init__(self, net: Network, X: Array, Y: Array) -> None:
        self.net, self.X_rows, self.Y_rows = net, X, Y
        self.X, self.Y = X.T.astype(np.float64), Y.T.astype(np.float64)
        self.N, self.L = len(X), len(net.sizes) - 1
        self.W: Layers = [None, *(W.astype(np.float64) for W in net.weights)]
        self.b: Layers = [None, *(b.astype(np.float64)[:, None] for b in net.biases)]
        self.head = net.output

    def forward(self, X: Array) -> tuple[Layers, Layers]:
        """Z and A, (3) and (4), of any samples."""
        Z: Layers = [None]
        A: Layers = [X]
        for l in range(1, self.L + 1):
            Z.append(self.W[l] @ A[l - 1] + self.b[l])
            A.append(self.g(l)(Z[l]))
        return Z, A

    def output(self, X: Array) -> Array:
        """The network's output o."""
        return self.forward(X)[1][self.L]

    def g(self, l: int) -> Callable[[Array], Array]:
        """The activation of layer l."""
        return VALUES[self.net.hidden[l - 1]] if l < self.L else OUTPUTS[self.head]

    def farthest_from_kinks(self, most: int) -> Case:
        """The case of those samples whose derivatives do not depend on the rounding of Z."""
        Z, _ = self.forward(self.X)
        distance = np.full(self.N, np.inf)
        for l in range(1, self.L):
            for kink in KINKS.get(self.net.hidden[l - 1], ()):
                distance = np.minimum(distance, np.abs(Z[l] - kink).min(axis=0) / max(np.abs(Z[l]).max(), 1e-300))
        best = np.argsort(-distance, kind="stable")[:most]
        best = best[: max(1, np.count_nonzero(distance[best] > KINK))]
        return Case(self.net, self.X_rows[best], self.Y_rows[best])

    def sample(self, k: int) -> Case:
        """The case of one sample."""
        return Case(self.net, self.X_rows[k : k + 1], self.Y_rows[k : k + 1])

    def losses(self, l: int, Z: Array) -> Array:
        """L_k of each sample from Z[l]."""
        for i in range(l, self.L):
            Z = self.W[i + 1] @ self.g(i)(Z) + self.b[i + 1]
        return LOSSES[self.head](Z, self.Y)

    def loss_by(self, name: str, l: int) -> tuple[Array, Callable[[Array], Array]]:
        """Z[l], W[l], b[l] or, as "A", A[l-1]: its value, and each sample's loss as its function."""
        before = self.exact.A[l - 1]
        if name == "Z":
            return self.exact.Z[l], lambda Z: self.losses(l, Z)
        if name == "A":
            return before, lambda A: self.losses(l, self.W[l] @ A + self.b[l])
        if name == "W":
            return self.W[l], lambda W: self.losses(l, W @ before + self.b[l])
        return self.b[l], lambda b: self.losses(l, self.W[l] @ before + b)

    @cached_property
    def exact(self) -> SimpleNamespace:
        """Z and A in float64."""
        Z, A = self.forward(self.X)
        return SimpleNamespace(Z=Z, A=A)

    def lost(self, l: int) -> float:
        """By how much delta[l] is less exact, relatively, than its terms.

        Where the network fits well o - y is a small difference, and where a layer is saturated g' is.
        """
        o = self.exact.A[self.L]
        factor = np.max(np.abs(o) + np.abs(self.Y)) / max(np.max(np.abs(o - self.Y)), 1e-30)
        for i in range(l, self.L):
            slope = np.max(np.abs(slope_of(self.net.hidden[i - 1], self.exact.Z[i])))
            factor /= np.clip(slope, 1e-30, 1.0)
        return max(1.0, float(factor))

    @cached_property
    def terms(self) -> Layers:
        """The sums of the magnitudes of what delta[l] is the sum of, by sample, to which its errors are relative.

        delta = o - y and g' are differences too, of terms of about 1, and where a unit is saturated all is left of
        them is rounding: then delta itself, which may be 0, says nothing of its errors.
        """
        terms: Layers = [None] * (self.L + 1)
        terms[self.L] = np.abs(self.exact.A[self.L]) + np.abs(self.Y)
        for l in range(self.L - 1, 0, -1):
            slope = np.abs(slope_of(self.net.hidden[l - 1], self.exact.Z[l]))
            terms[l] = np.maximum(slope, 1) * (np.abs(self.W[l + 1]).T @ terms[l + 1])
        return terms

    def terms_along(self, name: str, l: int, V: Array) -> Array:
        """The same of each sample's derivative in a direction, by "Z", "A", "W" or "b" as :meth:`loss_by` has them."""
        V = np.abs(V)
        if name == "A":
            V = np.abs(self.W[l]) @ V
        elif name == "W":
            V = V @ np.abs(self.exact.A[l - 1])
        return (self.terms[l] * V).sum(axis=0)

    def terms_of_parameters(self, l: int) -> dict[str, Array]:
        """The same of dW[l] and db[l]."""
        terms = self.terms[l] / self.N
        return {"W": terms @ np.abs(self.exact.A[l - 1]).T, "b": terms.sum(axis=1)}

    @cached_property
    def columns(self) -> dict[str, Array]:
        """X, Y, W and b of the network's dtype, as the paper's codes take them."""
        W: Layers = [None, *self.net.weights]
        b: Layers = [None, *(b[:, None] for b in self.net.biases)]
        return {"X": self.X_rows.T, "Y": self.Y_rows.T, "W": W, "b": b}

    @property
    def names(self) -> dict[str, Any]:
        """The options of the paper's codes."""
        return {"hidden": self.net.hidden or "relu", "output": self.head}

    @cached_property
    def traces(self) -> dict[str, SimpleNamespace]:
        """Every quantity of Theorem 5.4 by who computed it; the reference has the paper's output layers only."""
        t = self.net.trace(self.X_rows, self.Y_rows)
        engine = {name: turned_layers(getattr(t, name)) for name in ("Z", "A", "dA", "dZ", "delta")}
        engine |= {"dW": [None, *wide_layers(t.dW)], "db": [None, *(b[:, None] for b in wide_layers(t.db))]}
        found = {"engine": SimpleNamespace(**engine)}
        if self.head in PAPER_OUTPUTS:
            r = reference.trace(**self.columns, **self.names)
            plain = {name: wide_layers(getattr(r, name)) for name in ("Z", "A", "dA", "dZ", "delta", "dW", "db")}
            found["reference"] = SimpleNamespace(**plain)
        return found


def wide_layers(layers: Sequence[Array]) -> Layers:
    """The layers in float64."""
    return [None if T is None else np.asarray(T, np.float64) for T in layers]


def turned_layers(layers: Sequence[Array]) -> Layers:
    """The layers in float64, rows as columns."""
    return [None if T is None else np.asarray(T, np.float64).T for T in layers]


class Run:
    """The cases of one dtype."""

    def __init__(self, net: Network, X: Array, Y: Array, dtype: str, seed: int, frameworks: tuple[str, ...]) -> None:
        self.net, self.X, self.Y, self.dtype, self.frameworks = net, X, Y, dtype, frameworks
        self.seed = seed

    @property
    def rng(self) -> np.random.Generator:
        """The same for each row, so that no row depends on those before it."""
        return np.random.default_rng(self.seed)

    def _case(self, net: Network, X: Array, Y: Array) -> Case:
        """The case of the network in the dtype of the run."""
        same = Network(net.sizes, net.hidden, net.output, dtype=self.dtype, threads=net.threads)
        same.params = net.params
        case = Case(same, np.ascontiguousarray(X, self.dtype), np.ascontiguousarray(Y, self.dtype))
        return case.farthest_from_kinks(SAMPLES)

    def _other(self, sizes: Sequence[int], hidden: Sequence[str], output: str) -> Case:
        """A network with random parameters, samples and targets: the same numbers in both dtypes."""
        rng = self.rng
        sizes = (*sizes[:-1], max(2, sizes[-1]) if output == "softmax" else sizes[-1])
        net = Network(sizes, hidden, output, dtype="float32", seed=rng)
        for b in net.biases:
            b[...] = 0.1 * rng.standard_normal(b.shape)
        X = rng.standard_normal((2 * SAMPLES, sizes[0]))
        if output == "softmax":
            Y = np.eye(sizes[-1])[rng.integers(0, sizes[-1], len(X))]
        else:
            shape = len(X), sizes[-1]
            Y = rng.standard_normal(shape) if output == "identity" else rng.random(shape)
        return self._case(net, X.astype(np.float32), Y.astype(np.float32))

    @cached_property
    def own(self) -> Case:
        """The network as it is."""
        return self._case(self.net, self.X, self.Y)

    @cached_property
    def deep_shape(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The network's sizes and activations, with at least one hidden layer."""
        sizes, hidden = self.net.sizes, self.net.hidden
        return (sizes, hidden) if hidden else ((sizes[0], 16, sizes[-1]), ("relu",))

    @cached_property
    def heads(self) -> dict[str, Case]:
        """A network with hidden layers for each of the paper's output layers: the one given where it is such a one."""
        own = self.net.output if self.net.hidden else None
        return {name: self.own if name == own else self._other(*self.deep_shape, name) for name in PAPER_OUTPUTS}

    @cached_property
    def cases(self) -> list[Case]:
        """A network for each output layer, and the one given."""
        return [*self.heads.values(), *([] if self.own in self.heads.values() else [self.own])]

    @cached_property
    def single(self) -> dict[str, Case]:
        """The same with one sample."""
        return {name: case.sample(0) for name, case in self.heads.items()}

    @cached_property
    def smooth(self) -> list[Case]:
        """A network for each output layer whose activations have no kinks, which a difference could cross."""
        sizes, hidden = self.deep_shape
        smooth = ["softplus" if name in KINKS else name for name in hidden]
        return [self._other(sizes, smooth, output) for output in PAPER_OUTPUTS]

    @cached_property
    def relu(self) -> Case:
        """Code 4's network: relu and softmax."""
        sizes, hidden = self.deep_shape
        if self.net.hidden and set(hidden) == {"relu"} and self.net.output == "softmax":
            return self.own
        return self._other(sizes, ["relu"] * len(hidden), "softmax")

    @cached_property
    def linear(self) -> Case:
        """Section 6.1's network: no hidden layer."""
        return self._other((self.net.sizes[0], self.net.sizes[-1]), (), "identity")

    def points(self) -> Array:
        """Real numbers at which functions are compared, none at 0."""
        return np.concatenate([np.linspace(-9.0, 9.0, 64), [-25.0, -1e-3, 1e-3, 25.0]]).astype(self.dtype)

    def layer(self, name: str, n: int) -> Network:
        """A network of n inputs that is o = g(x)."""
        net = Network((n, n, n), name, "identity", dtype=self.dtype)
        for W in net.weights:
            W[...] = np.eye(n)
        return net

    def derivative(self, name: str, z: Array) -> Array:
        """g'(z) as the engine's hidden layers have it."""
        return self.layer(name, 1).jacobian(z[:, None])[:, 0, 0]
