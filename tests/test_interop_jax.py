"""JAX: the pytree gives the outputs, and comes back."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fastbackprop as fb
from tests.interop import assert_near, assert_same, inputs, network
from tests.processes import ROOT

pytestmark = pytest.mark.peers
jax = pytest.importorskip("jax")


def test_the_pytree_gives_the_outputs_and_comes_back():
    net = network("tanh", "softmax", "float32")
    params, X = fb.interop.to_jax(net), inputs(net)

    def forward(params, A):
        *hidden, (W, b) = params
        for V, c in hidden:
            A = jax.numpy.tanh(A @ V.T + c)
        return jax.nn.softmax(A @ W.T + b)

    assert_near(jax.jit(forward)(params, X), net, X)
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [(40, 5), (40,), (7, 40), (7,), (3, 7), (3,)]
    assert_same(net, fb.interop.from_jax(params, hidden="tanh"))
    net.params[0] += 1
    assert params[0][0][0, 0] != net.params[0]


def test_double_precision_is_kept_or_refused():
    net = network("relu", "identity", "float64")
    with pytest.raises(ValueError, match=r"model must be of float32 for JAX, or jax\.config\.update"):
        fb.interop.to_jax(net)
    code = """
import jax, numpy as np, fastbackprop as fb
jax.config.update("jax_enable_x64", True)
net = fb.Network((3, 4, 2), "tanh", "exp", dtype="float64", seed=0)
same = fb.interop.from_jax(fb.interop.to_jax(net), "tanh", "exp")
assert same.params.tobytes() == net.params.tobytes() and same.dtype == net.dtype
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("params", [None, 3, [], "ab", [3], [(1, 2, 3)], {}])
def test_what_is_no_pytree_of_layers(params):
    with pytest.raises(TypeError, match="params must be a sequence of"):
        fb.interop.from_jax(params)


@pytest.mark.parametrize(
    "params",
    [[(np.zeros((2, 3)), np.zeros(3))], [(np.zeros(3), np.zeros(3))], [(np.zeros((2, 3)), np.zeros(2))] * 2,
     [(np.full((2, 3), np.nan), np.zeros(2))]],
)  # fmt: skip
def test_arrays_that_are_no_layers(params):
    with pytest.raises(ValueError, match=r"layer|finite"):
        fb.interop.from_jax(params)
