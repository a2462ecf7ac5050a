"""What the engine promises to the rest: nothing compiled at import, nothing needed but NumPy and Numba."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop.engine.processor import X86
from fastbackprop.engine.tile import peak
from tests.processes import ROOT, python


def test_importing_compiles_nothing():
    code = """
import sys
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(e.data)
    def on_end(self, e): pass
event.register("numba:compile", Listener())
before = set(sys.modules)
import fastbackprop
from fastbackprop import functional, paper, reference
new = set(sys.modules) - before
print(len(compiled), sorted(new & {"sklearn", "matplotlib", "scipy", "click", "tqdm", "torch"}))
"""
    assert python(code) == "0 []"


def test_required_dependencies_are_enough(tmp_path):
    """Everything but the extras works where only numpy and numba are installed."""
    code = """
import sys
for name in ("sklearn", "matplotlib", "scipy", "click", "tqdm", "safetensors", "pandas", "torch", "jax"):
    sys.modules[name] = None
import numpy as np, fastbackprop as fb
net = fb.Network((2, 4, 2), seed=0)
net.fit(np.eye(2), [0, 1], epochs=2)
net.save(sys.argv[1])
assert fb.load(sys.argv[1]).params.tobytes() == net.params.tobytes()
for use in (lambda: net.fit(np.eye(2), [0, 1], progress=True), lambda: net.fit(np.eye(2), [0, 1], optimizer="lbfgs")):
    try:
        use()
    except ImportError as error:
        print(str(error)[-40:])
"""
    lines = python(code, tmp_path / "net.safetensors").splitlines()
    assert [line[line.index("pip") :] for line in lines] == [
        "pip install 'fastbackprop[cli]'", "pip install 'fastbackprop[sklearn]'",
    ]  # fmt: skip


def test_a_wrong_width_is_refused():
    code = "import fastbackprop; fastbackprop.Network"
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"FASTBACKPROP_LANES": "5"},
        capture_output=True,
        text=True,
    )
    assert "FASTBACKPROP_LANES must be 4, 8 or 16, got '5'" in out.stderr


def test_the_width_is_that_of_the_processor_that_numba_compiles_for():
    code = "from fastbackprop.engine.simd import AVX512, LANES32; print(AVX512, LANES32)"
    for name, value in (("NUMBA_CPU_NAME", "generic"), ("NUMBA_CPU_FEATURES", "")):
        assert python(code, **{name: value, "FASTBACKPROP_LANES": ""}) == "False 4"
    assert python(code, NUMBA_CPU_FEATURES="+avx2,+avx512f", FASTBACKPROP_LANES="8") == "True 8"


@pytest.mark.skipif(not X86, reason="others have fused multiply-add in their base instructions")
def test_without_fused_multiply_add_it_is_said_at_once_and_can_be_forced(tmp_path):
    """An Ivy Bridge had none, nor have some virtual machines. LLVM calls the C library there: the results stay."""
    code = """
import numpy as np, fastbackprop as fb, fastbackprop.reference
try:
    print("done", fb.Network((40, 5, 3), seed=0).forward(np.eye(40, dtype=np.float32)).tobytes().hex())
except RuntimeError as error:
    print(error)
"""
    old = {"NUMBA_CPU_NAME": "ivybridge", "NUMBA_CPU_FEATURES": "+avx,-fma", "NUMBA_CACHE_DIR": str(tmp_path)}
    said = python(code, **old, FASTBACKPROP_WITHOUT_FMA="")
    assert said.startswith("this processor (ivybridge) has no fused multiply-add (FMA), of which fastbackprop's engine")
    assert "FASTBACKPROP_WITHOUT_FMA=1 in the environment" in said
    assert not list(tmp_path.rglob("*.nbc"))  # before anything was compiled
    forced = python(code, **old, FASTBACKPROP_WITHOUT_FMA="1")
    assert forced.startswith("done ")
    assert forced == python(code)


def test_the_peak_is_a_rate():
    (single, median), (double, _) = peak("float32", 0.05), peak("float64", 0.05)
    assert single > double > 0.1
    assert single >= median > 0.1


def test_arrays_need_not_be_aligned():
    X = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    odd = np.zeros(X.nbytes + 4, np.uint8)[4:].view(np.float32).reshape(X.shape)
    odd[...] = X
    net = fb.Network((7, 5, 3), seed=0)
    assert np.array_equal(net.forward(odd), net.forward(X))
