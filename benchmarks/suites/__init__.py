"""asv's suites. asv imports this folder as `suites`, and every file in it, so nothing here imports a peer's library."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

# asv does not put the clone on the path. `benchmarks` is the clone's, whatever else is installed. Then the clone goes
# last, so that the fastbackprop that asv has installed goes before the clone's.
ROOT = str(Path(__file__).parents[2])
sys.path.insert(0, ROOT)
import benchmarks  # noqa: E402, F401

sys.path.pop(0)
if ROOT not in sys.path:
    sys.path.append(ROOT)

from benchmarks.peers import available_cpus  # noqa: E402
from benchmarks.workloads import WORKLOADS, Workload  # noqa: E402

DTYPES = ["float32", "float64"]
THREADS = ["1", "all"]


def workload(network: str, dtype: str) -> Workload:
    return replace(WORKLOADS[network], dtype=dtype)


def count(threads: str) -> int:
    """The number of threads that the parameter stands for: "all" is the same name on every machine."""
    return len(available_cpus()) if threads == "all" else int(threads)


class Compiled:
    """What is timed here is compiled already: asv runs `setup_cache` once, in a process of its own."""

    timeout = 600

    def setup_cache(self) -> None:
        from benchmarks.peers.ours import Engine
        from benchmarks.workloads import make_problem

        for dtype in DTYPES:
            Engine(make_problem(workload("tiny", dtype)), 1).run(1, shuffle=True)

    setup_cache.timeout = 600  # type: ignore[attr-defined]
