"""Random sessions of a user (`sessions.py`), in processes of their own: what crashes does not end the tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT

GUARDED = """
import sys
import numpy as np
from tests.guarded import guarded
array = guarded(24, "f4", align=64, at_end=sys.argv[1] == "end")
array[:] = 1
np.lib.stride_tricks.as_strided(array, (25 + 64,), writeable=True)[-1 if sys.argv[1] == "end" else 0] = 2
if sys.argv[1] == "begin":
    np.lib.stride_tricks.as_strided(array[::-1], (24 + 64,), writeable=True)[-1] = 2
"""


def sessions(*arguments, **environment):
    """What a run of sessions prints; its exit code is checked."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.sessions", *map(str, arguments)]
    out = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=900
    )  # fmt: skip
    assert out.returncode == 0, out.stderr[-4000:]
    return out.stdout.split()


def test_any_sequence_of_calls():
    """Beside pages that may not be touched, where the system has them."""
    steps, word = sessions("--steps", 250, *["--guard"] * (sys.platform == "linux"))
    assert int(steps) >= 250, word


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages as Linux does")
@pytest.mark.parametrize("where", ["begin", "end"])
def test_guarded_pages_are_guarded(where):
    out = subprocess.run([sys.executable, "-c", GUARDED, where], cwd=ROOT, capture_output=True, timeout=60)
    assert out.returncode == -11


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--seed", 2000], {}),
        (["--seed", 3000, "--guard"], {}),
        (["--seed", 4000], {"PYTHONMALLOC": "debug", "MALLOC_PERTURB_": "165"}),
        (["--seed", 5000, "--guard"], {"FASTBACKPROP_LANES": "8"}),
    ],
)
def test_any_sequence_of_calls_for_longer(options, environment):
    steps, word = sessions("--steps", 1500, *options, **environment)
    assert int(steps) >= 1500, word
