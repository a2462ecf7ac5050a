"""X as people hand it over, in a float32 network on all threads: `fit` of one epoch, and `forward`.

`python -m benchmarks.inputs` measures the same by turns, as ratios: those can be trusted where times cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.forms import FORMS
from benchmarks.inputs import NETWORKS, calls, make

from . import Compiled, count

ROWS = {"fit": 8192, "forward": 16_384}
ASV_FORMS = ["float32", "float64", "uint8", "int64", "fortran32", "fortran64", "csr", "frame"]


@lru_cache(maxsize=1)
def prepared(network: str, what: str, form: str) -> tuple[Callable[[Any], object], Any]:
    """What is timed, after its first call, and its X. Kept, because asv calls `setup` before every sample."""
    net = make(network, count("all"))
    X = FORMS[form](np.random.default_rng(0).standard_normal((ROWS[what], net.sizes[0]), dtype=np.float32))
    call = calls(network, what, net, epochs=1)
    call(X)
    return call, X


class Inputs(Compiled):
    params = (list(NETWORKS), ASV_FORMS)
    param_names = ("network", "X")
    repeat = (2, 100, 0.5)


class Fit(Inputs):
    def setup(self, network: str, form: str) -> None:
        self.call, self.X = prepared(network, "fit", form)

    def time_epoch(self, network: str, form: str) -> None:
        self.call(self.X)


class Forward(Inputs):
    def setup(self, network: str, form: str) -> None:
        self.call, self.X = prepared(network, "forward", form)

    def time_forward(self, network: str, form: str) -> None:
        self.call(self.X)
