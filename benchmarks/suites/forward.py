"""`Network.forward` of 1 to 65 536 rows. For one row, asv's own cost is in the time: see `benchmarks.latency`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastbackprop import Network

from . import DTYPES, THREADS, Compiled, count, workload

ROWS = [1, 32, 1024, 65_536]
NETWORKS = ["tiny", "digits", "mnist_s", "mnist_l"]  # from where a call counts to where arithmetic does


@lru_cache(maxsize=1)
def prepared(network: str, rows: int, dtype: str, threads: str) -> tuple[Network, np.ndarray]:
    """After its first call. Kept, because asv calls `setup` before every sample."""
    work = workload(network, dtype)
    net = Network(work.sizes, hidden=work.hidden, output=work.output, dtype=dtype, seed=0, threads=count(threads))
    X = np.random.default_rng(0).standard_normal((rows, work.sizes[0])).astype(dtype)
    net.forward(X)
    return net, X


class Forward(Compiled):
    params = (NETWORKS, ROWS, DTYPES, THREADS)
    param_names = ("network", "rows", "dtype", "threads")
    repeat = (2, 100, 0.5)

    def setup(self, network: str, rows: int, dtype: str, threads: str) -> None:
        self.net, self.X = prepared(network, rows, dtype, threads)

    def time_forward(self, network: str, rows: int, dtype: str, threads: str) -> None:
        self.net.forward(self.X)
