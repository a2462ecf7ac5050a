"""The rows of the table: each equation's right side in plain NumPy, from the paper's text, beside what was computed.

A row is a function of a :class:`Run`. It yields who computed a value, with what it is compared, the value, the value
expected, and the scale that makes their difference relative: the sum of the absolute terms, where they cancel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from fastbackprop import functional, paper, reference
from fastbackprop.gradcheck.autograd import PEERS, gradients_by
from fastbackprop.gradcheck.case import Case, Run, turned_layers, wide_layers
from fastbackprop.gradcheck.statements import (
    LOSSES,
    PAPER_OUTPUTS,
    VALUES,
    Array,
    activated,
    affine,
    along,
    matmul,
    row_sums,
    sigma,
    slope_of,
    softmax,
)
from fastbackprop.network import Network
from fastbackprop.optimizers import SGD

Checked: TypeAlias = tuple[str, str, Array, Array, Any]
Check: TypeAlias = Callable[[Run], Iterator[Checked]]

EXACT = {"float64": 1e-12, "float32": 1e-5}
BY_DIFFERENCES = {"float64": 1e-6, "float32": 1e-5}
DIRECTIONS = 3  # along which a derivative by an array is taken; an error in any of its elements shows in each
DIFFERENCE_STEP = 3e-6

ROWS: list[tuple[str, str, Check, dict[str, float]]] = []


def row(name: str, statement: str, tolerance: dict[str, float] = EXACT) -> Callable[[Check], Check]:
    """Put a check into the table."""

    def add(check: Check) -> Check:
        ROWS.append((name, statement, check, tolerance))
        return check

    return add


# ---- What several rows have in common --------------------------------------------------------------------------------


def _by_samples(case: Case, run: Run, T: Array, name: str, l: int) -> tuple[Array, Array, Array]:
    """Derivatives of each sample's loss along random directions: as the gradients T have them, and by complex step."""
    value, losses = case.loss_by(name, l)
    V = run.rng.standard_normal((DIRECTIONS, *value.shape))
    expected = np.array([along(losses, value, v) for v in V])
    terms = np.array([case.terms_along(name, l, v) for v in V])
    return (T * V).sum(axis=1), expected, np.maximum(case.lost(l) * np.abs(expected), terms)


def _by_parameters(case: Case, run: Run, T: Array, name: str, l: int) -> tuple[Array, Array, Array]:
    """The same of the cost, the mean over the samples."""
    value, losses = case.loss_by(name, l)
    V = run.rng.standard_normal((DIRECTIONS, *value.shape))
    each = np.array([along(losses, value, v) for v in V])
    terms = np.array([case.terms_along(name, l, v) for v in V])
    return (T * V).sum(axis=(1, 2)), each.mean(axis=1), np.maximum(case.lost(l) * np.abs(each), terms).mean(axis=1)


def _terms(t: Any, l: int) -> dict[str, Array]:
    """The sums of the magnitudes of what dW[l] and db[l] are the sums of: how exact these can be."""
    return {"W": np.abs(t.dZ[l]) @ np.abs(t.A[l - 1].T), "b": np.abs(t.dZ[l]).sum(axis=1)}


def _dZ(case: Case, run: Run, layers: Sequence[int], share: str) -> Iterator[Checked]:
    """The gradient by Z[l]: `share` is "dZ", of J, or "delta", of each sample's loss."""
    for who, t in case.traces.items():
        for l in layers:
            T = getattr(t, share)[l] * (case.N if share == "dZ" else 1)
            yield who, "complex step", *_by_samples(case, run, T, "Z", l)


def _dA(case: Case, run: Run, layers: Sequence[int], share: str) -> Iterator[Checked]:
    """The gradient by A[l-1] is W[l]^T times that by Z[l]: (13), (16), (22)."""
    for who, t in case.traces.items():
        for l in layers:
            got = t.dA[l - 1] * (case.N if share == "delta" else 1)
            yield who, "formula", got, *matmul(case.W[l].T, getattr(t, share)[l])
            yield who, "complex step", *_by_samples(case, run, case.N * t.dA[l - 1], "A", l)


def _dW(case: Case, run: Run, layers: Sequence[int], share: str = "dZ") -> Iterator[Checked]:
    """The gradient by W[l] is that by Z[l] times A[l-1]^T: (11), (18), (24), (28), (31), (34), (37)."""
    for who, t in case.traces.items():
        for l in layers:
            yield who, "formula", t.dW[l], *matmul(getattr(t, share)[l], t.A[l - 1].T)
            yield who, "complex step", *_by_parameters(case, run, t.dW[l], "W", l)


def _db(case: Case, run: Run, layers: Sequence[int], share: str = "dZ") -> Iterator[Checked]:
    """The gradient by b[l] is the sum of the columns of that by Z[l]: (12), (19), (25), (29), (32), (35), (38)."""
    for who, t in case.traces.items():
        for l in layers:
            yield who, "formula", t.db[l], *row_sums(getattr(t, share)[l])
            yield who, "complex step", *_by_parameters(case, run, t.db[l], "b", l)


def _delta_before(case: Case, t: SimpleNamespace, l: int) -> tuple[Array, Array]:
    """g[l-1]'(z[l-1]) * (W[l]^T delta[l]), and its terms: (15), (17)."""
    slope = slope_of(case.net.hidden[l - 2], t.Z[l - 1])
    product, terms = matmul(case.W[l].T, t.delta[l])
    return slope * product, np.maximum(np.abs(slope), 1) * terms


def _at_the_output(case: Case, run: Run, share: str) -> Iterator[Checked]:
    """At the output delta = o - y, and dZ = (A - Y) / N: (27), (30), (33), (36), (40)."""
    for who, t in case.traces.items():
        N = case.N if share == "dZ" else 1
        o = case.exact.A[case.L]
        yield who, "formula", getattr(t, share)[case.L], (o - case.Y) / N, (np.abs(o) + np.abs(case.Y)) / N
    yield from _dZ(case, run, [case.L], share)


def _jacobian_terms(case: Case, V: Array) -> Array:
    """The sums of the magnitudes of what the outputs' derivatives in a direction are the sums of."""
    T = np.abs(V)
    for l in _layers(case):
        T = np.abs(case.W[l]) @ T
        if l < case.L:
            T = np.maximum(np.abs(slope_of(case.net.hidden[l - 1], case.exact.Z[l])), 1) * T
    o = case.exact.A[case.L]
    if case.head == "softmax":
        return o * (T + (o * T).sum(axis=0))  # (39)
    return T if case.head == "identity" else np.abs(o) * T


def _layers(case: Case, first: int = 1) -> range:
    return range(first, case.L + 1)


# ---- The rows, in the paper's order ----------------------------------------------------------------------------------


@row("Section 1, J", "J = (1/N) Σ L(o_k, y_k), L one of the three losses")
def _cost(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        Z, A = case.exact.Z[case.L], case.exact.A[case.L]
        each = LOSSES[case.head](Z, case.Y)
        terms = 1 + each  # a cross-entropy near 0 is the logarithm of 1 plus something small
        if case.head == "identity":
            terms = ((np.abs(A) + np.abs(case.Y)) ** 2).sum(axis=0)
        elif case.head == "exp":
            terms = (A + np.abs(case.Y * Z) + case.Y * (1 + np.abs(np.log(np.where(case.Y > 0, case.Y, 1))))).sum(
                axis=0
            )
        X, Y, J = case.X_rows, case.Y_rows, each.mean()
        for cost in (case.net.cost(X, Y), case.net.gradients(X, Y).cost, case.net.trace(X, Y).cost):
            yield "engine", "formula", cost, J, terms.mean()
        Z, A, Y = Z.astype(run.dtype), A.astype(run.dtype), case.columns["Y"]
        if case.head not in PAPER_OUTPUTS:
            continue
        for who, module in (("reference", reference), ("paper", paper)):
            yield who, "formula", module.losses(Z, Y, output=case.head), each, terms
            if case.head == "identity":  # the logarithm of an o that was rounded is another number
                yield who, "formula", module.cost(A, Y, output=case.head), J, terms.mean()


@row("Lemma 3.1", "relu_ε'(z) = 1 for z ≥ 0, 0 for z ≤ -ε; relu_ε differentiable")
def _lemma_3_1(run: Run) -> Iterator[Checked]:
    for eps in (1.0, 0.125):
        z = eps * np.array([-3.0, -1.25, -1.0, -0.96875, -0.75, -0.5, -0.25, -0.03125, 0.0, 0.5, 2.0])

        def relu_eps(z: Array, eps: float = eps) -> Array:
            inside = (np.real(z) >= -eps) & (np.real(z) <= 0)
            return np.where(inside, -2 / eps**3 * z**4 - 3 / eps**2 * z**3 + z, VALUES["relu"](z))

        slopes = along(relu_eps, z, np.ones_like(z))
        ends = np.array([1.0 if v >= 0 else 0.0 for v in z if v >= 0 or v <= -eps])
        for who, module in (("reference", reference), ("paper", paper)):
            got = module.d_relu_eps(z.astype(run.dtype), eps)
            yield who, "formula", module.relu_eps(z.astype(run.dtype), eps), relu_eps(z), eps
            yield who, "formula", got[(z >= 0) | (z <= -eps)], ends, None
            yield who, "complex step", got, slopes, None


@row("(1)", "relu'(z) = 1 for z ≥ 0, 0 for z < 0")
def _eq_1(run: Run) -> Iterator[Checked]:
    z = np.array([-3.0, -1e-30, -0.0, 0.0, 1e-30, 2.0], run.dtype)
    expected = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    yield "engine", "formula", run.derivative("relu", z), expected, None
    yield "functional", "formula", functional.d_relu(z), expected, None
    yield "paper", "formula", paper.d_relu(z), expected, None
    yield "reference", "formula", reference.d_relu(z), expected, None


@row("(2)", "σ'(z) = σ(z) (1 - σ(z))")
def _eq_2(run: Run) -> Iterator[Checked]:
    z = run.points()
    wide = z.astype(np.float64)
    s = sigma(wide)
    got = {
        "engine": run.derivative("sigmoid", z),
        "functional": functional.d_sigmoid(z),
        "reference": reference.d_sigmoid(z),
    }
    for who, slopes in got.items():
        yield who, "formula", slopes, s * (1 - s), None
        yield who, "complex step", slopes, slope_of("sigmoid", wide), None


@row("Code 1", "sigmoid, d_sigmoid, relu, d_relu, softmax (over the columns)")
def _code_1(run: Run) -> Iterator[Checked]:
    z = run.points()
    Z = z.astype(np.float64)
    s = 1 / (1 + np.exp(-Z))
    printed = {"sigmoid": s, "d_sigmoid": s * (1 - s), "relu": np.maximum(0, Z), "d_relu": (Z >= 0) * 1.0}
    for who, module in (("functional", functional), ("paper", paper), ("reference", reference)):
        for name, expected in printed.items():
            yield who, "formula", getattr(module, name)(z), expected, None
    columns = z.reshape(4, -1)
    Z_exp = np.exp(columns.astype(np.float64))
    A = Z_exp / np.sum(Z_exp, axis=0, keepdims=True)
    yield "functional", "formula", functional.softmax(columns, axis=0), A, None
    yield "paper", "formula", paper.softmax(columns), A, None
    yield "reference", "formula", reference.softmax(columns), A, None


@row("(3)", "z = W x + b")
def _eq_3(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        for who, t in case.traces.items():
            for l in _layers(case):
                product, terms = matmul(case.W[l], t.A[l - 1])
                yield who, "formula", t.Z[l], product + case.b[l], terms + np.abs(case.b[l])


@row("(4)", "a = g(z), of each component")
def _eq_4(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        for who, t in case.traces.items():
            for l in _layers(case):
                yield who, "formula", t.A[l], case.g(l)(t.Z[l]), None
        yield "engine", "formula", case.net.forward(case.X_rows).T, case.exact.A[case.L], None
    z = run.points()
    for name, g in VALUES.items():
        expected = g(z.astype(np.float64))
        yield "engine", "formula", run.layer(name, 1).forward(z[:, None])[:, 0], expected, None
        yield "reference", "formula", reference.ACTIVATIONS[name][0](z), expected, None


@row("(5)", "z_i = Σ_j w_ij x_j + b_i")
def _eq_5(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        for who, t in case.traces.items():
            for l in _layers(case):
                for i in range(min(3, case.net.sizes[l])):
                    terms = [*(case.W[l][i] * t.A[l - 1][:, 0]), case.b[l][i, 0]]
                    yield who, "formula", t.Z[l][i, 0], math.fsum(terms), math.fsum(abs(v) for v in terms)


@row("(6)", "∂S/∂w_ij = Σ_k ∂S/∂z_k ∂z_k/∂w_ij")
def _eq_6(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        for who, t in case.traces.items():
            for l in _layers(case):
                V = run.rng.standard_normal(case.W[l].shape)
                dz = along(partial(affine, x=t.A[l - 1], b=case.b[l]), case.W[l], V)
                yield who, "formula", (t.dW[l] * V).sum(), (t.delta[l] * dz).sum(), np.abs(t.delta[l] * dz).sum()


def _one_layer(run: Run, l: int, i: int) -> Case:
    """Layer l alone, z = W x + b, with the loss whose gradient by z is the i-th unit vector."""
    case = run.single["identity"]
    x = case.exact.A[l - 1].T.astype(run.dtype)
    net = Network(case.net.sizes[l - 1 : l + 1], output="identity", dtype=run.dtype)
    net.weights[0][...], net.biases[0][...] = case.net.weights[l - 1], case.net.biases[l - 1]
    y = net.forward(x)
    y[0, i] -= 1
    return Case(net, x, y)


@row("(7)", "∂z/∂x = W")
def _eq_7(run: Run) -> Iterator[Checked]:
    case = run.single["identity"]
    for l in _layers(case):
        one = _one_layer(run, l, 0)
        dx = run.rng.standard_normal(one.X.shape)
        J = one.net.jacobian(one.X_rows)[0].astype(np.float64)
        yield "engine", "formula", J, case.W[l], None
        yield "engine", "complex step", J @ dx, along(partial(affine, one.W[1], b=one.b[1]), one.X, dx), None
        for i in range(min(3, case.net.sizes[l])):
            one = _one_layer(run, l, i)
            scale = np.abs(case.W[l]).max() * (1 + np.abs(one.Y).max())  # that y - 1 was rounded
            yield "reference", "formula", one.traces["reference"].dA[0].T, case.W[l][i : i + 1], scale


@row("(8)", "∂z/∂b = I")
def _eq_8(run: Run) -> Iterator[Checked]:
    for l in _layers(run.single["identity"]):
        for i in range(min(3, run.single["identity"].net.sizes[l])):
            one = _one_layer(run, l, i)
            for who, t in one.traces.items():
                yield who, "formula", t.db[1], np.eye(len(t.db[1]))[:, i : i + 1], 1 + np.abs(one.Y)


@row("(9)", "∂a/∂z = diag(g'(z)), of every activation")
def _eq_9(run: Run) -> Iterator[Checked]:
    z = run.points()[3::7]
    for name in VALUES:
        expected = np.diag(slope_of(name, z.astype(np.float64)))
        yield "engine", "complex step", run.layer(name, len(z)).jacobian(z[None])[0], expected, None
        yield "reference", "complex step", np.diag(reference.ACTIVATIONS[name][1](z)), expected, None


@row("(10)", "∇_W S = (∇_z S) xᵀ")
def _eq_10(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        z, S = case.loss_by("Z", case.L)
        dS = np.array([along(S, z, e[:, None]) for e in np.eye(len(z))])
        expected = dS @ case.exact.A[case.L - 1].T
        for who, t in case.traces.items():
            terms = np.maximum(np.abs(expected) * case.lost(case.L), case.terms_of_parameters(case.L)["W"])
            yield who, "complex step", t.dW[case.L], expected, terms


@row("Theorem 4.1", "∂a/∂x = diag(g'(z)) W and ∇_W S = (∇_z S) xᵀ for S = Σ v_i g(z_i), of every activation")
def _theorem_4_1(run: Run) -> Iterator[Checked]:
    rng, x = run.rng, run.own.X[:, :1]
    n = len(x)
    W, b, v = (rng.standard_normal(shape).astype(np.float32) for shape in ((5, n), (5, 1), (1, 5)))
    W /= np.float32(max(1.0, np.abs(x).max()) * n**0.5)
    wide, dx, dW = W.astype(np.float64), rng.standard_normal(x.shape), rng.standard_normal(W.shape)
    for name, g in VALUES.items():
        layer = Network((n, 5, 5), name, "identity", dtype=run.dtype)
        layer.weights[0][...], layer.biases[0][...], layer.weights[1][...] = W, b[:, 0], np.eye(5)
        J = layer.jacobian(x.T)[0].astype(np.float64)
        yield "engine", "formula", J, np.diag(slope_of(name, affine(wide, x, b)[:, 0])) @ wide, None
        yield "engine", "complex step", J @ dx, along(partial(activated, g, wide, b=b), x, dx), np.abs(J) @ np.abs(dx)
        # a loss whose gradient by the output v g(z) is -1
        net = Network((n, 5, 1), name, "identity", dtype=run.dtype)
        net.weights[0][...], net.biases[0][...], net.weights[1][...] = W, b[:, 0], v
        X = x.T.astype(run.dtype)
        one = Case(net, X, net.forward(X) + 1)
        dS = v @ along(partial(activated, g, x=x, b=b), wide, dW)
        for who, t in one.traces.items():
            terms = np.abs(t.dW[1] * dW).sum() * (1 + np.abs(one.Y).max())
            yield who, "complex step", -(t.dW[1] * dW).sum(), dS[0, 0], terms


@row("(11)", "∇_W L = δ a◁ᵀ")
def _eq_11(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        yield from _dW(case, run, [case.L], "delta")


@row("(12)", "∇_b L = δ")
def _eq_12(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        yield from _db(case, run, [case.L], "delta")


@row("(13)", "∇_x L = Wᵀ δ")
def _eq_13(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        yield from _dA(case, run, [case.L], "delta")


@row("(14)", "δ◁ = diag(g◁'(z◁)) (Wᵀ δ)")
def _eq_14(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        l = case.L
        for who, t in case.traces.items():
            diagonal = np.diag(slope_of(case.net.hidden[l - 2], t.Z[l - 1][:, 0]))
            expected = diagonal @ (case.W[l].T @ t.delta[l])
            yield who, "formula", t.delta[l - 1], expected, _delta_before(case, t, l)[1]
        yield from _dZ(case, run, [l - 1], "delta")


@row("(15)", "δ◁ = g◁'(z◁) * (Wᵀ δ) = (Wᵀ δ) * g◁'(z◁)")
def _eq_15(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        l = case.L
        for who, t in case.traces.items():
            expected, terms = _delta_before(case, t, l)
            yield who, "formula", t.delta[l - 1], expected, terms
            slope = slope_of(case.net.hidden[l - 2], t.Z[l - 1])
            W, delta, slope = (T.astype(run.dtype) for T in (case.W[l], t.delta[l].T, slope.T))
            yield "functional", "formula", functional.delta(W, delta, slope).T, expected, terms


@row("Theorem 5.1", "δ of every layer, ∇_a◁ L = Wᵀ δ and ∂o/∂x, through all layers")
def _theorem_5_1(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _dZ(case, run, _layers(case), "delta")
        yield from _dA(case, run, [1], "delta")
        J = case.net.jacobian(case.X_rows).astype(np.float64)
        V = run.rng.standard_normal(case.X.shape)
        expected = along(case.output, case.X, V)
        o, lost = case.exact.A[case.L], case.lost(1)
        if case.head in ("sigmoid", "softmax"):  # 1 - o of a saturated output
            lost /= max(np.max(o * (1 - o)), 1e-30)
        terms = np.maximum(lost * np.abs(expected), _jacobian_terms(case, V))
        yield "engine", "complex step", np.einsum("kij,jk->ik", J, V), expected, terms


@row("(16)", "∇_a[ℓ-1] L = W[ℓ]ᵀ δ[ℓ]")
def _eq_16(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _dA(case, run, _layers(case), "delta")


@row("(17)", "δ[ℓ-1] = g[ℓ-1]'(z[ℓ-1]) * (W[ℓ]ᵀ δ[ℓ])")
def _eq_17(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        for who, t in case.traces.items():
            for l in _layers(case, 2):
                yield who, "formula", t.delta[l - 1], *_delta_before(case, t, l)
        yield from _dZ(case, run, range(1, case.L), "delta")


@row("(18)", "∇_W[ℓ] L = δ[ℓ] a[ℓ-1]ᵀ")
def _eq_18(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        yield from _dW(case, run, _layers(case), "delta")


@row("(19)", "∇_b[ℓ] L = δ[ℓ]")
def _eq_19(run: Run) -> Iterator[Checked]:
    for case in run.single.values():
        yield from _db(case, run, _layers(case), "delta")


@row("(20)", "∇_b J = (1/N) Σ δ_k = Σ ∇_z_k J")
def _eq_20(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        for who, t in case.traces.items():
            for l in _layers(case):
                total, terms = row_sums(t.delta[l])
                yield who, "formula", t.db[l], total / case.N, terms / case.N
        yield from _db(case, run, _layers(case))


@row("(21)", "dZ[ℓ] = Δ[ℓ] / N")
def _eq_21(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        for who, t in case.traces.items():
            for l in _layers(case):
                yield who, "formula", t.dZ[l], t.delta[l] / case.N, None
        yield from _dZ(case, run, _layers(case), "dZ")
        yield from _dZ(case, run, _layers(case), "delta")


@row("(22)", "dA[ℓ-1] = W[ℓ]ᵀ dZ[ℓ]")
def _eq_22(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _dA(case, run, _layers(case), "dZ")


@row("(23)", "dZ[ℓ-1] = g[ℓ-1]'(Z[ℓ-1]) * dA[ℓ-1]")
def _eq_23(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        for who, t in case.traces.items():
            for l in range(1, case.L):
                slope = slope_of(case.net.hidden[l - 1], t.Z[l])
                yield who, "formula", t.dZ[l], slope * t.dA[l], np.maximum(np.abs(slope), 1) * np.abs(t.dA[l])
        yield from _dZ(case, run, range(1, case.L), "dZ")


@row("(24)", "dW[ℓ] = dZ[ℓ] A[ℓ-1]ᵀ")
def _eq_24(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _dW(case, run, _layers(case))


@row("(25)", "db[ℓ] = sum of the columns of dZ[ℓ]")
def _eq_25(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _db(case, run, _layers(case))


@row("Theorem 5.4", "dW, db and dX of the whole network")
def _theorem_5_4(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        g = case.net.gradients(case.X_rows, case.Y_rows, input_gradient=True)
        fused = SimpleNamespace(
            dW=[None, *wide_layers(g.dW)], db=[None, *(b[:, None] for b in wide_layers(g.db))], dA=turned_layers([g.dX])
        )
        for who, t in case.traces.items():
            found = fused if who == "engine" else t
            ours = {"W": found.dW, "b": found.db, "X": found.dA[0]}
            for l in _layers(case):
                for name in ("W", "b"):
                    yield who, "complex step", *_by_parameters(case, run, ours[name][l], name, l)
            yield who, "complex step", *_by_samples(case, run, case.N * ours["X"], "A", 1)
            for framework in run.frameworks:
                theirs = gradients_by(framework, case)
                for l in _layers(case):
                    for name, terms in _terms(t, l).items():
                        scale = np.maximum(case.lost(l) * terms, case.terms_of_parameters(l)[name])
                        yield who, PEERS[framework], ours[name][l], theirs[name][l], scale
                terms_of_X = np.maximum(case.lost(1) * np.abs(t.dZ[1]), case.terms[1] / case.N)
                yield who, PEERS[framework], ours["X"], theirs["X"], np.abs(case.W[1].T) @ terms_of_X


@row("Theorem 5.4, differences", "the gradient against differences of the engine's cost", BY_DIFFERENCES)
def _theorem_5_4_by_differences(run: Run) -> Iterator[Checked]:
    for case in run.smooth:
        rng, net = run.rng, Network(case.net.sizes, case.net.hidden, case.head, dtype="float64")
        params = case.net.params.astype(np.float64)
        dJ = case.net.gradients(case.X_rows, case.Y_rows).vector.astype(np.float64)
        weights, biases = net.split(np.arange(params.size))
        terms = [_terms(case.traces["reference"], l) for l in _layers(case)]
        parts = [*zip(weights, (t["W"] for t in terms)), *zip(biases, (t["b"] for t in terms))]
        for part, terms_of_part in parts:
            V = np.zeros_like(params)
            V[part] = rng.standard_normal(part.shape)
            V /= np.linalg.norm(V)
            J = []
            for sign in (1, -1):
                net.params = params + sign * DIFFERENCE_STEP * V
                J.append(net.cost(case.X_rows, case.Y_rows))
            scale = np.linalg.norm(terms_of_part) / np.sqrt(part.size)
            yield "engine", "differences", dJ @ V, (J[0] - J[1]) / (2 * DIFFERENCE_STEP), scale


@row("Code 2", "a relu layer forward and back")
def _code_2(run: Run) -> Iterator[Checked]:
    case = run.relu
    compiled = paper.trace(**case.columns, **case.names)
    of_paper = {name: wide_layers(getattr(compiled, name)) for name in ("Z", "A", "dA", "dZ", "dW", "db")}
    W, b = case.W, case.b
    for who, t in {**case.traces, "paper": SimpleNamespace(**of_paper)}.items():
        for i in range(1, case.L):
            product, terms = matmul(W[i], t.A[i - 1])
            yield who, "formula", t.Z[i], product + b[i], terms + np.abs(b[i])
            yield who, "formula", t.A[i], np.maximum(0, t.Z[i]), None
            yield who, "formula", t.dA[i], *matmul(W[i + 1].T, t.dZ[i + 1])
            yield who, "formula", t.dZ[i], (t.Z[i] >= 0) * t.dA[i], None
            yield who, "formula", t.dW[i], *matmul(t.dZ[i], t.A[i - 1].T)
            yield who, "formula", t.db[i], *row_sums(t.dZ[i])


@row("(26)", "L = ½ ‖h(x) - y‖²")
def _eq_26(run: Run) -> Iterator[Checked]:
    case = run.linear
    h = case.W[1] @ case.X + case.b[1]
    expected = np.array([math.fsum((h[:, k] - case.Y[:, k]) ** 2) / 2 for k in range(case.N)])
    one = case.sample(0)
    yield "engine", "formula", one.net.cost(one.X_rows, one.Y_rows), expected[0], None
    Z, Y = h.astype(run.dtype), case.columns["Y"]
    yield "functional", "formula", functional.l2_loss(Z, Y, axis=0), expected, None
    yield "reference", "formula", reference.losses(Z, Y, output="identity"), expected, None


@row("(27)", "δ = a - y, of a linear regression")
def _eq_27(run: Run) -> Iterator[Checked]:
    yield from _at_the_output(run.linear.sample(0), run, "delta")


@row("(28)", "∇_W L = δ xᵀ, of a linear regression")
def _eq_28(run: Run) -> Iterator[Checked]:
    yield from _dW(run.linear.sample(0), run, [1], "delta")


@row("(29)", "∇_b L = δ, of a linear regression")
def _eq_29(run: Run) -> Iterator[Checked]:
    yield from _db(run.linear.sample(0), run, [1], "delta")


@row("(30)", "dZ = (A - Y) / N, of a linear regression")
def _eq_30(run: Run) -> Iterator[Checked]:
    yield from _at_the_output(run.linear, run, "dZ")


@row("(31)", "dW = dZ Xᵀ, of a linear regression")
def _eq_31(run: Run) -> Iterator[Checked]:
    yield from _dW(run.linear, run, [1])


@row("(32)", "db = sum of the columns of dZ, of a linear regression")
def _eq_32(run: Run) -> Iterator[Checked]:
    yield from _db(run.linear, run, [1])


@row("Code 3", "ten steps of gradient descent, cost and parameters, of a linear regression")
def _code_3(run: Run) -> Iterator[Checked]:
    case, n_iter = run.linear, 10
    X, y, W, b, N = case.X, case.Y, case.W[1].copy(), case.b[1].copy(), case.N
    learning_rate = 0.1 / (1 + np.max(np.sum(X**2, axis=0)))  # for data of any size
    cost_history = []
    for _ in range(n_iter):
        A = W @ X + b
        cost_history.append(np.sum((A - y) ** 2) / (2 * N))
        dZ = 1 / N * (A - y)
        W -= learning_rate * dZ @ X.T
        b -= learning_rate * np.sum(dZ, axis=1, keepdims=True)

    for who, module in (("reference", reference), ("paper", paper)):
        data = case.columns["X"], case.columns["Y"]
        params = [None, case.columns["W"][1].copy()], [None, case.columns["b"][1].copy()]
        costs = []
        for _ in range(n_iter):
            A = module.forward_propagation(data[0], *params, output="identity")[1][-1]
            costs.append(module.cost(A, data[1], output="identity"))
            gradients = module.back_propagation(*data, *params, output="identity")
            module.update_params(*params, *gradients, learning_rate)
        yield who, "formula", np.array(costs, np.float64), np.array(cost_history), None
        yield who, "formula", params[0][1], W, None
        yield who, "formula", params[1][1], b, np.abs(case.b[1]) + np.abs(b)
    net = Network(case.net.sizes, output="identity", dtype=run.dtype)
    net.params = case.net.params
    history = net.fit(
        case.X_rows, case.Y_rows, epochs=n_iter, batch_size=N, optimizer=SGD(learning_rate), shuffle=False
    )
    yield "engine", "formula", np.array(history.cost), np.array(cost_history), None
    yield "engine", "formula", net.weights[0], W, None
    yield "engine", "formula", net.biases[0][:, None], b, np.abs(case.b[1]) + np.abs(b)


@row("(33)", "δ = a - y, of a sigmoid output")
def _eq_33(run: Run) -> Iterator[Checked]:
    yield from _at_the_output(run.single["sigmoid"], run, "delta")


@row("(34)", "∇_W L = δ xᵀ, of a sigmoid output")
def _eq_34(run: Run) -> Iterator[Checked]:
    case = run.single["sigmoid"]
    yield from _dW(case, run, [case.L], "delta")


@row("(35)", "∇_b L = δ, of a sigmoid output")
def _eq_35(run: Run) -> Iterator[Checked]:
    case = run.single["sigmoid"]
    yield from _db(case, run, [case.L], "delta")


@row("(36)", "dZ[L] = (A[L] - Y) / N")
def _eq_36(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _at_the_output(case, run, "dZ")


@row("(37)", "dW[L] = dZ[L] A[L-1]ᵀ")
def _eq_37(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _dW(case, run, [case.L])


@row("(38)", "db[L] = sum of the columns of dZ[L]")
def _eq_38(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _db(case, run, [case.L])


@row("(39)", "∂o/∂z = [o_i (δ_ij - o_j)], of a softmax output")
def _eq_39(run: Run) -> Iterator[Checked]:
    z = 2 * run.rng.standard_normal(7).astype(run.dtype)
    wide = z.astype(np.float64)
    o, I = softmax(wide), np.eye(len(z))
    expected = {
        "formula": np.array([[o[i] * (I[i, j] - o[j]) for j in range(len(z))] for i in range(len(z))]),
        "complex step": np.array([along(softmax, wide, e) for e in I]).T,
    }
    net = Network((len(z), len(z)), output="softmax", dtype=run.dtype)
    net.weights[0][...] = np.eye(len(z))
    got = {
        "engine": net.jacobian(z[None])[0],
        "functional": functional.softmax_jacobian_product(z, np.eye(len(z), dtype=run.dtype)),
        "paper": paper.softmax_jacobian(z),
        "reference": reference.softmax_jacobian(z),
    }
    for who, J in got.items():
        for against, exact in expected.items():
            yield who, against, J, exact, None


@row("(40)", "δ = o - y, of a softmax output")
def _eq_40(run: Run) -> Iterator[Checked]:
    yield from _at_the_output(run.single["softmax"], run, "delta")


@row("Theorem 6.1", "δ = o - y, of all three outputs")
def _theorem_6_1(run: Run) -> Iterator[Checked]:
    for case in run.cases:
        yield from _at_the_output(case, run, "delta")
        o = case.exact.A[case.L]
        for name in run.frameworks:
            theirs = case.N * gradients_by(name, case)["dZ"]
            for who, t in case.traces.items():
                yield who, PEERS[name], t.delta[case.L], theirs, np.abs(o) + np.abs(case.Y)


@row("Theorem 6.1, differences", "δ against differences of the losses", BY_DIFFERENCES)
def _theorem_6_1_by_differences(run: Run) -> Iterator[Checked]:
    for case in run.smooth:
        V = DIFFERENCE_STEP * run.rng.standard_normal(case.Y.shape)
        Z = case.exact.Z[case.L]
        for who, losses in (("functional", _COMPILED_LOSSES[case.head]), ("reference", _reference_losses(case.head))):
            slope = (losses(Z + V, case.Y) - losses(Z - V, case.Y)) / (2 * DIFFERENCE_STEP)
            for t in case.traces.values():
                yield who, "differences", slope, (t.delta[case.L] * V).sum(axis=0) / DIFFERENCE_STEP, None


_COMPILED_LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "identity": lambda Z, Y: functional.l2_loss(Z, Y, axis=0),
    "sigmoid": lambda Z, Y: functional.binary_cross_entropy(Z, Y, axis=0),
    "softmax": lambda Z, Y: functional.categorical_cross_entropy(Z, Y, axis=0),
}


def _reference_losses(head: str) -> Callable[[Array, Array], Array]:
    return lambda Z, Y: reference.losses(Z, Y, output=head)


@row("Code 4", "forward and back propagation of a deep network, relu and softmax")
def _code_4(run: Run) -> Iterator[Checked]:
    case = run.relu
    X, Y, W, b, L, N = case.X, case.Y, case.W, case.b, case.L, case.N
    Z, A, dZ, dA, dW, db = ([np.empty(0)] * (L + 1) for _ in range(6))
    A[0] = X
    for i in range(1, L):
        Z[i] = W[i] @ A[i - 1] + b[i]
        A[i] = np.maximum(0, Z[i])
    Z[L] = W[L] @ A[L - 1] + b[L]
    A[L] = np.exp(Z[L] - Z[L].max(axis=0)) / np.sum(np.exp(Z[L] - Z[L].max(axis=0)), axis=0, keepdims=True)
    dZ[L] = 1 / N * (A[L] - Y)
    dW[L] = dZ[L] @ A[L - 1].T
    db[L] = np.sum(dZ[L], axis=1, keepdims=True)
    for i in range(L - 1, 0, -1):
        dA[i] = W[i + 1].T @ dZ[i + 1]
        dZ[i] = (Z[i] >= 0) * dA[i]
        dW[i] = dZ[i] @ A[i - 1].T
        db[i] = np.sum(dZ[i], axis=1, keepdims=True)

    g = case.net.gradients(case.X_rows, case.Y_rows)
    o = case.net.forward(case.X_rows)
    found = {"engine": ([None, *g.dW], [None, *(v[:, None] for v in g.db)], o.T)}
    for who, module in (("reference", reference), ("paper", paper)):
        parameters = case.columns["W"], case.columns["b"]
        output = module.forward_propagation(case.columns["X"], *parameters)[1][-1]
        found[who] = (*module.back_propagation(case.columns["X"], case.columns["Y"], *parameters), output)
    exact = {"formula": (dW, db)}
    for name in run.frameworks:
        theirs = gradients_by(name, case)
        exact[PEERS[name]] = theirs["W"], theirs["b"]
    for who, (got_dW, got_db, output) in found.items():
        yield who, "formula", output, A[L], None
        for against, (their_dW, their_db) in exact.items():
            for i in range(1, L + 1):
                lost, terms = case.lost(i), case.terms_of_parameters(i)
                scale = np.maximum(lost * np.abs(dZ[i]) @ np.abs(A[i - 1].T), terms["W"])
                yield who, against, got_dW[i], their_dW[i], scale
                yield who, against, got_db[i], their_db[i], np.maximum(lost * np.abs(dZ[i]).sum(axis=1), terms["b"])
