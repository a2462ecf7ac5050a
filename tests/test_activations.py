"""The table of activations: what its entries say is true, and an entry is all that a new one takes."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import activations, functional, paper, reference
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.engine import cache
from fastbackprop.engine.activations import OPERATIONS
from fastbackprop.gradcheck import statements
from tests.processes import ROOT, python

DTYPES = ("float32", "float64")
# No z at which a slope jumps.
Z = np.concatenate([np.linspace(-19.7, 19.7, 398), np.geomspace(1e-300, 1e-3, 40), -np.geomspace(1e-300, 1e-3, 40)])


def functions(module, name):
    """Value and derivative."""
    return (getattr(module, name), getattr(module, "d_" + name)) if module is functional else module.ACTIVATIONS[name]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_points(name):
    """At -inf, 0, 1 and inf, in functions and in layers."""
    points = ACTIVATIONS[name].points
    assert list(points) == [-np.inf, 0.0, 1.0, np.inf]
    z = np.array(list(points))
    for module in (functional, reference, paper):
        value, slope = (f(z) for f in functions(module, name))
        np.testing.assert_allclose(value, [v for v, _ in points.values()], rtol=1e-15)
        np.testing.assert_allclose(slope, [s for _, s in points.values()], rtol=1e-15)


@pytest.mark.peers
@pytest.mark.parametrize("name", [name for name, g in ACTIVATIONS.items() if g.torch])
def test_values_and_slopes_of_pytorch(name):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'fastbackprop[peers]'")
    known = ACTIVATIONS[name].torch
    z = torch.tensor(Z, requires_grad=True)
    value = getattr(torch.nn, known.name)(**known.arguments)(z)
    value.sum().backward()
    assert_same(name, value.detach().numpy(), z.grad.numpy())


@pytest.mark.peers
@pytest.mark.parametrize("name", [name for name, g in ACTIVATIONS.items() if g.jax])
def test_values_and_slopes_of_jax(name):
    jax = pytest.importorskip("jax", reason="needs JAX: pip install 'fastbackprop[peers]'")
    known = ACTIVATIONS[name].jax
    with jax.enable_x64(True):
        f = lambda z: getattr(jax.nn, known.name)(z, **known.arguments)  # noqa: E731
        value, slope = f(jax.numpy.asarray(Z)), jax.vmap(jax.grad(f))(jax.numpy.asarray(Z))
    assert_same(name, np.asarray(value), np.asarray(slope), atol=1e-13)  # its tanh form of gelu cancels far below 0


def assert_same(name, value, slope, atol=4e-15):
    for module in (functional, reference):
        g, d_g = functions(module, name)
        np.testing.assert_allclose(g(Z), value, rtol=1e-13, atol=atol)
        np.testing.assert_allclose(d_g(Z), slope, rtol=1e-13, atol=atol)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_complex_steps_of_textbook_values(name):
    value, slope = statements.VALUES[name](Z), statements.slope_of(name, Z)
    assert_same(name, value, slope)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_kinks_are_where_the_slope_jumps(name):
    """In the reference, so that rounding is no jump; beside every whole and half number."""
    d_g = reference.ACTIVATIONS[name][1]
    z = np.arange(-8, 8.5, 0.5)
    jumps = z[abs(d_g(z + 1e-9) - d_g(z - 1e-9)) > 1e-6]
    assert tuple(jumps) == ACTIVATIONS[name].kinks


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_formula_is_the_same_in_numpy(name, dtype):
    """Also of those that the reference writes out: it may be bound to NumPy's functions."""
    z = Z.astype(dtype)
    value, slope = ACTIVATIONS[name].bind(reference._OPERATIONS)(z)
    tolerance = {"rtol": 2e-6, "atol": 3e-7} if dtype == "float32" else {"rtol": 1e-13, "atol": 4e-15}
    for got, f in zip((value, slope), reference.ACTIVATIONS[name], strict=True):
        np.testing.assert_allclose(got, f(z.astype("float64")), **tolerance)
        assert got.dtype == dtype


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_and_what_is_beside_zero(name):
    for dtype in DTYPES:
        z = np.array([np.nan, np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).smallest_subnormal, -0.0], dtype)
        value, slope = getattr(functional, name)(z), getattr(functional, "d_" + name)(z)
        assert np.isnan(value[0])
        assert np.isnan(slope[0]) or name == "identity"
        at_zero, slope_at_zero = ACTIVATIONS[name].points[0.0]
        np.testing.assert_allclose(value[1:], at_zero, rtol=1e-6, atol=2 * np.finfo(dtype).smallest_subnormal)
        if 0.0 not in ACTIVATIONS[name].kinks:
            np.testing.assert_allclose(slope[1:], slope_at_zero, rtol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_weights_at_the_start(name):
    """Variances: 2 / n_in, 1 / n_in, or 2 / (n_in + n_out), and bounds where the distribution is uniform."""
    n, m = 400, 200
    W = fb.Network((n, m, 2), name, seed=0).weights[0]
    variance = {"he": 2 / n, "lecun": 1 / n, "glorot": 2 / (n + m)}[ACTIVATIONS[name].start]
    assert np.var(W) == pytest.approx(variance, rel=0.03)
    bounded = np.abs(W).max() <= np.sqrt(3.0 * variance) * (1 + 1e-6)
    assert bounded == (ACTIVATIONS[name].start == "glorot")


def test_formulas_know_the_same_operations_everywhere():
    """In the engine, in the reference, and where the table's file names them for type checkers."""
    assert set(reference._OPERATIONS) == set(OPERATIONS)
    tree = ast.parse(inspect.getsource(activations))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    assert {alias.name for node in block.body for alias in node.names} <= set(OPERATIONS)


def test_the_page_has_the_table():
    """Written by ``python docs/activations.py``."""
    path = ROOT / "docs" / "activations.py"
    if not path.exists():
        pytest.skip("needs docs: run from a clone")
    spec = importlib.util.spec_from_file_location("table_of_activations", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    assert module.with_table(page) == page, "python docs/activations.py writes it anew"
    assert all(f"\n| `{name}` |" in page for name in ACTIVATIONS)


def test_the_table_is_read_without_numpy_and_numba():
    assert (
        python("""
import sys
from fastbackprop.activations import ACTIVATIONS
print(len(ACTIVATIONS) >= 10, sorted(set(sys.modules) & {"numpy", "numba", "llvmlite"}))
""")
        == "True []"
    )


EVERYWHERE = """
import sys
import numpy as np
import fastbackprop as fb
from fastbackprop import functional, gradcheck, paper, reference
from fastbackprop.cli.options import ACTIVATIONS as CHOICES
from fastbackprop.sklearn import MLPRegressor
from benchmarks import golden
z = np.array([-math.inf, -2.0, 0.0, 1.0, math.inf])
for module in (functional, paper, reference):
    assert np.allclose(module.softsign(z), [-1, -2 / 3, 0, 0.5, 1], rtol=1e-15)
    assert np.allclose(module.d_softsign(z), [0, 1 / 9, 1, 0.25, 0], rtol=1e-15)
    assert "Softsign" in module.softsign.__doc__ and "softsign" in module.__all__
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((60, 4)), rng.standard_normal((60, 2))
net = fb.Network((4, 9, 7, 2), "softsign", "identity", seed=0)
report = gradcheck.report(net, X.astype("f4"), Y.astype("f4"), peers=False)
assert report.passed, report
before = net.cost(X, Y)
net.fit(X, Y, epochs=20, seed=0)
assert net.cost(X, Y) < before
estimator = MLPRegressor(hidden_layer_sizes=(5,), activation="softsign", max_iter=2).fit(X, Y)
assert estimator.network_.hidden == ("softsign",)
assert "softsign" in CHOICES and "hidden softsign" in golden.TRAININGS
net.save(sys.argv[1])
assert fb.load(sys.argv[1]).hidden == net.hidden
print("everywhere")
"""


def test_one_entry_is_everywhere(tmp_path):
    """That of docs/dev/extending.md."""
    page = ROOT / "docs" / "dev" / "extending.md"
    if not page.exists():
        pytest.skip("needs docs: run from a clone")
    path = tmp_path / "own.py"
    path.write_text("".join(re.findall(r"^```py\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)) + EVERYWHERE)
    printed = python(f"import runpy; runpy.run_path({str(path)!r})", tmp_path / "net.safetensors").splitlines()
    assert printed == ["True", "everywhere"]
    assert not list(cache.directory().glob("activation.softsign*"))  # else a changed formula would be an old one
