"""A planted error in any formula turns its row of ``fastbackprop verify`` red: the table can fail, and says where.

An error is one replacement in a source file, of a text that must occur there exactly once. Where a test says that it
does not, the file has changed: plant the same error in its new text.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import gradcheck
from fastbackprop.gradcheck import case, equations

PACKAGE = Path(fb.__file__).parent
MODULES = {"reference": (case, equations), "paper": (equations,), "functional": (equations,)}  # who reads them


@dataclass(frozen=True)
class Mutation:
    """`text` of `file` becomes `error`; the rows in `red` must fail, those in `green` must not."""

    name: str
    file: str
    text: str
    error: str
    red: tuple[str, ...]
    green: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def source(self) -> str:
        source = (PACKAGE / self.file).read_text(encoding="utf-8")
        assert source.count(self.text) == 1, f"{self.file} has {source.count(self.text)} times {self.text!r}"
        return source.replace(self.text, self.error)


# ---- The engine: the package is copied, changed, compiled and asked in a process of its own --------------------------

ENGINE = [
    Mutation(
        "forward without the bias", "engine/tile.py",
        "lambda: [_splat_at(bld, t, start, int_const(r)) for r, _, _ in cells]",
        "lambda: [constant(t, 0.0)] * len(cells)",
        red=("(3)", "(5)", "Code 2", "Code 3", "Code 4"), green=("(1)", "(2)", "Lemma 3.1"),
    ),
    Mutation(
        "relu'(0) = 0", "engine/tile.py",
        'bld.fcmp_ordered("<", s, threshold)', 'bld.fcmp_ordered("<=", s, threshold)',
        red=("(1)",), green=("(2)", "(4)", "(17)", "(23)", "Theorem 5.4", "Code 4"),
    ),
    Mutation(
        "the mask of relu turned round", "engine/tile.py",
        "bits, dead_bits), constant(t, 0.0), s)", "bits, dead_bits), s, constant(t, 0.0))",
        red=("(1)", "(9)", "(14)", "(15)", "(17)", "(23)", "Theorem 5.1", "Theorem 5.4", "Code 2", "Code 4"),
        green=("(2)", "(3)", "(4)", "(36)", "(39)", "Theorem 6.1", "Code 3"),
    ),
    Mutation(
        "the recurrence without g'", "engine/tile.py",
        "return bld.fmul(s, emit_load(bld, t, aux, i))", "return s",
        red=("(2)", "(9)", "Theorem 4.1", "(14)", "(15)", "(17)", "(23)", "Theorem 5.1", "Theorem 5.4"),
        green=("(1)", "(4)", "(39)", "Theorem 6.1", "Code 2", "Code 4"), options=("--activation", "tanh"),
    ),
    Mutation(
        "the slope of the sigmoid", "activations.py",
        "return a, a * (const(z, 1.0) - a)", "return a, a * (const(z, 1.0) + a)",
        red=("(2)", "(9)", "Theorem 4.1", "Code 1"), green=("(1)", "(4)", "(17)", "(33)", "Theorem 5.4", "Code 4"),
    ),
    Mutation(
        "deltas without 1 / N", "engine/heads.py",
        "(33)\n                            _store(deltas + at, far, _delta(o, y, share))",
        "(33)\n                            _store(deltas + at, far, if_equal(share, zero, zero, o - y))",
        red=("(21)", "(30)", "(31)", "(32)", "(36)", "(37)", "(38)", "Theorem 5.4", "Theorem 6.1", "Code 3"),
        green=("(1)", "(27)", "(33)", "(40)", "Code 4"),
    ),
    Mutation(
        "the delta of the softmax", "engine/heads.py",
        "like)\n                        _store(deltas + at, far, _delta(o, y, share))",
        "like)\n                        _store(deltas + at, far, _delta(o, y, share) * o)",
        red=("(36)", "(40)", "Theorem 6.1", "Theorem 5.4", "Theorem 5.4, differences", "Code 4"),
        green=("(4)", "(27)", "(30)", "(33)", "(39)", "Code 3"),
    ),
    Mutation(
        "the L2 loss without its half", "engine/heads.py",
        "return fma((v - y) * const(v, 0.5), v - y, loss)", "return fma(v - y, v - y, loss)",
        red=("Section 1, J", "(26)", "Theorem 5.4, differences", "Code 3"), green=("(27)", "(30)", "Theorem 5.4"),
    ),
    Mutation(
        "dA without the last output", "engine/product.py",
        "(k * stride + o) * size, stride, depth, b_at", "(k * stride + o) * size, stride, depth - 1, b_at",
        red=("(13)", "(15)", "(16)", "(17)", "(22)", "Theorem 5.1", "Theorem 5.4", "Code 2", "Code 4"),
        green=("(3)", "(37)", "(38)", "Theorem 6.1", "Code 3"),
    ),
    Mutation(
        "dW without the last samples", "engine/product.py",
        "out_stride * n, some, b, units_stride", "out_stride * n, max(1, some - 1), b, units_stride",
        red=("(24)", "Theorem 5.4", "Theorem 5.4, differences", "Code 2", "Code 4"),
        green=("(11)", "(18)", "(22)", "(25)", "(31)", "(37)", "(38)", "Theorem 6.1", "Code 3"),
    ),
    Mutation(
        "dW of few outputs or inputs without the last samples", "engine/product.py",
        "out_stride * n, panels, inputs + i * n * size", "out_stride * n, max(1, panels - 1), inputs + i * n * size",
        red=("(24)", "(31)", "(37)", "Theorem 5.4", "Theorem 5.4, differences", "Code 3", "Code 4"),
        green=("(11)", "(18)", "(22)", "(25)", "(38)", "Theorem 6.1"),
    ),
    Mutation(
        "half of the lanes twice", "engine/tile.py",
        "for shift in (0, width)]", "for shift in (0, 0)]",
        red=("(20)", "(25)", "(32)", "(38)", "Theorem 5.4", "Theorem 5.4, differences", "Code 2", "Code 3", "Code 4"),
        green=("(1)", "(3)", "(17)", "(21)", "(22)"),
    ),
    Mutation(
        "db without the last samples", "engine/product.py",
        "out_stride * n, panels, start_from, sums", "out_stride * n, max(1, panels - 1), start_from, sums",
        red=("(20)", "(25)", "(32)", "(38)", "Theorem 5.4", "Theorem 5.4, differences", "Code 2", "Code 3", "Code 4"),
        green=("(12)", "(19)", "(22)", "(24)", "(29)", "(35)"),
    ),
    Mutation(
        "SGD goes uphill", "engine/tile.py",
        "emit_splat(bld, t, bld.fneg(rate)), total, weights)", "emit_splat(bld, t, rate), total, weights)",
        red=("Code 3",), green=("(24)", "(31)", "Theorem 5.4", "Code 4"),
    ),
]  # fmt: skip


def _verify(mutation: Mutation, directory: Path) -> dict[str, bool]:
    """Whether each row passes, as the command prints it."""
    shutil.copytree(PACKAGE, directory / "fastbackprop", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "fastbackprop" / mutation.file).write_text(mutation.source(), encoding="utf-8")
    command = [sys.executable, "-m", "fastbackprop.cli", "verify", "--json", "--no-peers", "--dtype", "float64"]
    done = subprocess.run(
        [*command, *mutation.options],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory), "NUMBA_CACHE_DIR": str(directory / "cache")},
    )
    assert done.returncode == 1, done.stderr or "the exit code is 0"
    found = json.loads(done.stdout)
    assert found["passed"] is False
    return {row["name"]: row["passed"] for row in found["rows"]}


@pytest.fixture(scope="module")
def verified(request, tmp_path_factory):
    """The results of the mutations that were chosen, computed two at a time: most of it is compiling."""
    chosen = [
        i.callspec.params["mutation"] for i in request.session.items if "verified" in getattr(i, "fixturenames", ())
    ]
    with ThreadPoolExecutor(2) as pool:
        yield {m.name: pool.submit(_verify, m, tmp_path_factory.mktemp("mutated")) for m in chosen}


@pytest.mark.slow
@pytest.mark.parametrize("mutation", ENGINE, ids=lambda m: m.name)
def test_an_error_in_the_engine_turns_its_row_red(mutation, verified):
    assert_rows(mutation, verified[mutation.name].result())


# ---- The reference and what is compiled in Python's process: the module alone is changed -----------------------------

IN_PROCESS = [
    Mutation(
        "d_sigmoid", "reference.py", "return sigmoid(Z) * sigmoid(np.negative(Z))", "return sigmoid(Z) * sigmoid(Z)",
        red=("(2)", "(9)", "Code 1"), green=("(1)", "(4)"),
    ),
    Mutation(
        "d_relu at 0", "reference.py", "np.heaviside(np.real(Z), at_zero)", "np.heaviside(np.real(Z), 0.0)",
        red=("(1)",), green=("(2)", "(4)", "(23)"),
    ),
    Mutation(
        "relu_eps", "reference.py", "eps * t * (1 - 3 * t**2 - 2 * t**3)", "eps * t * (1 - 3 * t**2 - 3 * t**3)",
        red=("Lemma 3.1",), green=("(1)",),
    ),
    Mutation(
        "d_relu_eps", "reference.py", "1 - 9 * t**2 - 8 * t**3)", "1 - 9 * t**2 - 6 * t**3)",
        red=("Lemma 3.1",), green=("(1)",),
    ),
    Mutation(
        "d_tanh", "reference.py", "return 1 - tanh(Z) ** 2", "return 1 - tanh(Z)", red=("(9)",), green=("(4)", "(17)"),
    ),
    Mutation(
        "silu", "reference.py", "return _times(Z, sigmoid(Z))", "return _times(Z, d_sigmoid(Z))",
        red=("(4)",), green=("(9)", "(17)"),
    ),
    Mutation(
        "softmax over the other axis, as printed", "reference.py", "return Z_exp / np.sum(Z_exp, axis=0)",
        "return Z_exp / np.sum(Z_exp, axis=-1, keepdims=True)",
        red=("Code 1", "(4)", "(36)", "Theorem 6.1", "Code 4"), green=("(3)", "(27)", "(33)", "Code 3"),
    ),
    Mutation(
        "the softmax's Jacobian", "reference.py", "o[:, None] * (I - o[None, :])", "o[:, None] * (I + o[None, :])",
        red=("(39)",), green=("(40)",),
    ),
    Mutation(
        "no bias in a hidden layer", "reference.py", "Z[i] = W[i] @ A[i - 1] + b[i]", "Z[i] = W[i] @ A[i - 1]",
        red=("(3)", "(5)", "Code 2", "Code 4"), green=("(9)", "(31)", "Code 3"),
    ),
    Mutation(
        "dZ[L] without 1 / N", "reference.py", "dZ[L] = (A[L] - Y) / N", "dZ[L] = A[L] - Y",
        red=("(21)", "(30)", "(36)", "Theorem 5.4", "Code 3", "Code 4"),
        green=("(27)", "(33)", "(39)", "(40)", "Code 2"),
    ),
    Mutation(
        "dZ[L] with the wrong sign", "reference.py", "dZ[L] = (A[L] - Y) / N", "dZ[L] = (Y - A[L]) / N",
        red=("(27)", "(30)", "(33)", "(36)", "(40)", "Theorem 6.1", "Code 3", "Code 4"), green=("(3)", "(4)", "(39)"),
    ),
    Mutation(
        "dW[L] / N once more", "reference.py", "dW[L] = dZ[L] @ A[L - 1].T", "dW[L] = dZ[L] @ A[L - 1].T / N",
        red=("(31)", "(37)", "(24)", "Theorem 5.4", "Code 3", "Code 4"), green=("(32)", "(34)", "(38)", "Code 2"),
    ),
    Mutation(
        "db[L] a mean", "reference.py", "db[L] = np.sum(dZ[L], axis=1", "db[L] = np.mean(dZ[L], axis=1",
        red=("(20)", "(25)", "(32)", "(38)", "Theorem 5.4", "Code 3", "Code 4"), green=("(12)", "(37)", "Code 2"),
    ),
    Mutation(
        "the sign of dA", "reference.py", "dA[i] = W[i + 1].T @ dZ[i + 1]", "dA[i] = -W[i + 1].T @ dZ[i + 1]",
        red=("(13)", "(16)", "(22)", "Theorem 5.4", "Code 2", "Code 4"), green=("(3)", "(37)", "(38)", "Code 3"),
    ),
    Mutation(
        "dZ without g'", "reference.py", "dZ[i] = d_g[i](Z[i]) * dA[i]", "dZ[i] = dA[i]",
        red=("(14)", "(15)", "(17)", "(23)", "Theorem 5.1", "Theorem 5.4", "Code 2", "Code 4"),
        green=("(9)", "(37)", "Theorem 6.1", "Code 3"),
    ),
    Mutation(
        "g' of A instead of Z", "reference.py", "d_g[i](Z[i]) * dA[i]", "d_g[i](A[i]) * dA[i]",
        red=("(14)", "(15)", "(17)", "(23)", "Theorem 5.4", "Code 2", "Code 4"), green=("(9)", "(37)", "Theorem 6.1"),
    ),
    Mutation(
        "dW of a hidden layer", "reference.py", "dW[i] = dZ[i] @ A[i - 1].T", "dW[i] = dA[i] @ A[i - 1].T",
        red=("(18)", "(24)", "Theorem 5.4", "Code 2", "Code 4"), green=("(11)", "(23)", "(25)", "(37)", "Code 3"),
    ),
    Mutation(
        "db of a hidden layer", "reference.py", "db[i] = np.sum(dZ[i], axis=1", "db[i] = np.sum(dA[i], axis=1",
        red=("(19)", "(20)", "(25)", "Theorem 5.4", "Code 2", "Code 4"), green=("(12)", "(24)", "(38)", "Code 3"),
    ),
    Mutation(
        "dX", "reference.py", "dA[0] = W[1].T @ dZ[1]", "dA[0] = W[1].T @ dZ[1] * N",
        red=("(16)", "(22)", "Theorem 5.1", "Theorem 5.4"), green=("(13)", "(24)", "Code 2", "Code 4"),
    ),
    Mutation(
        "the update of the parameters", "reference.py", "T -= learning_rate *", "T += learning_rate *",
        red=("Code 3",), green=("(31)", "Code 4"),
    ),
    Mutation(
        "the cost of a regression", "reference.py", "np.sum((A - Y) ** 2) / (2 * N)", "np.sum((A - Y) ** 2) / N",
        red=("Section 1, J", "Code 3"), green=("(26)", "(30)"),
    ),
    Mutation(
        "the L2 loss", "reference.py", "np.sum((Z - Y) ** 2, axis=0) / 2", "np.sum((Z - Y) ** 2, axis=0)",
        red=("Section 1, J", "(26)", "Theorem 6.1, differences"), green=("(27)", "Code 3"),
    ),
    Mutation(
        "the cross-entropy of a sigmoid", "reference.py", "_times(softplus(Z), 1 - Y)", "_times(softplus(Z), Y)",
        red=("Section 1, J", "Theorem 6.1, differences"), green=("(33)", "(36)"),
    ),
    Mutation(
        "the compiled Jacobian of the softmax", "paper.py", "o[i] * (const(o[i], 1.0 if i == j else 0.0) - o[j])",
        "o[i] * (const(o[i], 1.0 if i == j else 0.0) - o[i])", red=("(39)",), green=("(40)",),
    ),
    Mutation(
        "the compiled relu_eps", "paper.py", "const(Z, 3.0) + const(Z, 2.0) * t", "const(Z, 2.0) + const(Z, 3.0) * t",
        red=("Lemma 3.1",), green=("(1)",),
    ),
    Mutation(
        "the paper's codes without the bias", "paper.py", "layer = _network(A[i - 1], [None, W[i]], [None, b[i]]",
        "layer = _network(A[i - 1], [None, W[i]], [None, 0 * b[i]]", red=("Code 3", "Code 4"), green=("(3)", "(24)"),
    ),
    Mutation(
        "the compiled recurrence", "functional.py", "out[j] = fma(W[i, j], delta[i], out[j])",
        "out[j] = fma(W[i, j], delta[0], out[j])", red=("(15)",), green=("(14)", "(17)"),
    ),
    Mutation(
        "the compiled Jacobian product", "functional.py", "out[j] *= V[j] - mean", "out[j] *= V[j] + mean",
        red=("(39)",), green=("(40)",),
    ),
    Mutation(
        "the compiled L2 loss", "functional.py", "fma((z - y) * const(z, 0.5), z - y, loss)",
        "fma((z - y) * const(z, 1.0), z - y, loss)", red=("(26)", "Theorem 6.1, differences"), green=("(27)",),
    ),
]  # fmt: skip


def _slow_if_compiled(mutation: Mutation) -> Any:
    marks = [] if mutation.file == "reference.py" else [pytest.mark.slow]
    return pytest.param(mutation, marks=marks, id=f"{mutation.file}: {mutation.name}")


@pytest.mark.parametrize("mutation", [_slow_if_compiled(m) for m in IN_PROCESS])
def test_an_error_in_python_turns_its_row_red(mutation, monkeypatch):
    name = mutation.file.removesuffix(".py")
    module = ModuleType(f"mutated_{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look there
    exec(compile(mutation.source(), mutation.file, "exec"), module.__dict__)
    for reader in MODULES[name]:
        monkeypatch.setattr(reader, name, module)
    rng = np.random.default_rng(0)
    net = fb.Network((5, 12, 9, 4), seed=rng)
    net.params = rng.uniform(-1, 1, net.params.size)  # biases that are not 0, too
    X, y = rng.standard_normal((40, 5)), rng.integers(0, 4, 40)
    report = gradcheck.report(net, X, y, dtypes=["float64"], peers=False)
    assert_rows(mutation, {row.name: row.passed for row in report.rows})


def assert_rows(mutation, passed):
    assert [name for name in mutation.red if passed[name]] == []
    assert [name for name in mutation.green if not passed[name]] == []


def test_each_error_can_still_be_planted():
    for mutation in ENGINE + IN_PROCESS:
        assert mutation.source()
