"""Training: one epoch a call, the memory that it takes, a step of many, and its share of the processor's peak."""

from __future__ import annotations

from functools import lru_cache

from benchmarks.compare import machine_peak
from benchmarks.peers import Session, available_cpus, ours
from benchmarks.workloads import WORKLOADS, make_problem

from . import DTYPES, THREADS, Compiled, count, workload


@lru_cache(maxsize=1)
def engine(network: str, dtype: str, threads: str) -> ours.Engine:
    """After its first epoch. Kept, because asv calls `setup` before every sample."""
    made = ours.Engine(make_problem(workload(network, dtype)), count(threads))
    made.run(1, shuffle=made.work.shuffle)
    return made


def us_per_step(network: str, dtype: str, threads: int) -> float:
    """As `benchmarks.compare` measures it: the median of calls of many epochs."""
    session = Session(ours, threads)
    session.prepare(workload(network, dtype), seed=0)
    return session.turn()["us"]


class Epoch(Compiled):
    """One `fit` of one epoch, with all that it does once a call."""

    params = (list(WORKLOADS), DTYPES, THREADS)
    param_names = ("network", "dtype", "threads")
    repeat = (2, 100, 1.0)

    def setup(self, network: str, dtype: str, threads: str) -> None:
        self.engine = engine(network, dtype, threads)

    def time_epoch(self, network: str, dtype: str, threads: str) -> None:
        self.engine.run(1, shuffle=self.engine.work.shuffle)


class Memory(Compiled):
    """The most that the process ever held: Python, the compiled code, the data and what the engine needs."""

    params = (list(WORKLOADS), DTYPES)
    param_names = ("network", "dtype")

    def peakmem_epoch(self, network: str, dtype: str) -> None:
        engine(network, dtype, "all")


class Step(Compiled):
    """One step of a long training."""

    params = (list(WORKLOADS), DTYPES, THREADS)
    param_names = ("network", "dtype", "threads")

    def track_step(self, network: str, dtype: str, threads: str) -> float:
        return us_per_step(network, dtype, count(threads))

    track_step.unit = "us"  # type: ignore[attr-defined]


class Peak:
    """GFLOP/s of the steps' products on all threads, over what the tile alone reaches in the first-level cache."""

    params = (list(WORKLOADS), DTYPES)
    param_names = ("network", "dtype")
    timeout = 600

    def setup_cache(self) -> dict[str, dict[str, float]]:
        return machine_peak(DTYPES, len(available_cpus()))

    setup_cache.timeout = 600  # type: ignore[attr-defined]

    def track_share(self, peaks: dict[str, dict[str, float]], network: str, dtype: str) -> float:
        us = us_per_step(network, dtype, len(available_cpus()))
        return workload(network, dtype).flops / us / 1e3 / peaks[dtype]["together"]

    track_share.unit = "of the peak"  # type: ignore[attr-defined]
