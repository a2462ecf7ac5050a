"""The engines that are compared, and the process in which each one lives.

A peer is a module with `version` (a string) and `Engine`:

    Engine(problem, threads)    its own arrays from problem.X, .y, .params; Unsupported if it cannot do this work. X
                                is in the form of `work.inputs`: an engine does with it what its user would
                                (problem.cast() where that is a tensor, made once)
    run(epochs, shuffle)        whole epochs of mini-batch steps; returns when they are done. With optimizer None:
                                the gradient of the whole batch, `epochs` times
    result()                    the parameters, or that gradient, as one vector in the order of `problem.params`
    forward(X)                  the outputs of `work.batch` rows, an array in and an array out, as a user would call it
                                (where the peer has it: benchmarks.latency)

A worker is a process of its own, because idle threads of OpenBLAS and OpenMP spin: in one process they would slow
whoever runs next. For how long they spin is not assumed but measured: a worker answers only when its process uses no
more processor time, and says how long that took and how much it used while others ran. (On two
AVX-512 cores: OpenBLAS 0.12 s, OpenMP and JAX below 0.02 s, and then below 0.1 % of a core.)
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import math
import multiprocessing
import os
import statistics
import time
import timeit
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.forms import first
from benchmarks.isa import avx512_since
from benchmarks.turns import Others, repeated, seconds_of
from benchmarks.workloads import Workload, check_problem, make_problem

PEERS = {
    "ours": "benchmarks.peers.ours",
    "numpy": "benchmarks.peers.numpy_code4",
    "sklearn": "benchmarks.peers.sklearn_mlp",
    "torch": "benchmarks.peers.torch_eager",
    "torch_compile": "benchmarks.peers.torch_compile",
    "jax_step": "benchmarks.peers.jax_step",
    "jax_scan": "benchmarks.peers.jax_scan",
}

TURN = 0.2  # seconds of timed work in a turn, at least one call
CALL = 0.04  # seconds of work in a call, at least one epoch
WARM = 1.0  # seconds to become steady in, before the first turn


class Unsupported(Exception):
    """The peer has no way to do this work."""


class PeerError(Exception):
    """Something went wrong in a peer's process; `kind` is "not installed", "n/a" or "failed"."""

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind = kind


class ResultsDiffer(Exception):
    """Someone did other work than the one whom all are compared with."""


class Worker:
    """The parent's end of a peer's process; `environment`: what is set in it beside the numbers of threads."""

    def __init__(self, peer: str, threads: int, environment: Mapping[str, str] = {}):
        context = multiprocessing.get_context("spawn")
        self.peer = peer
        connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, PEERS[peer], threads), daemon=True)
        names = [f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")]
        told = dict.fromkeys(names, str(threads)) | environment
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)  # libraries read them when they are imported
        try:
            self.process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        other.close()
        self.connection = connection
        self.version: str = self.receive()

    def send(self, command: str, *args: Any) -> None:
        with contextlib.suppress(ConnectionError):  # the process has ended: receive() will say so
            self.connection.send((command, args))

    def receive(self) -> Any:
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise PeerError("failed", f"the process ended with code {self.process.exitcode}") from None
        if kind != "done":
            raise PeerError(kind, value)
        return value

    def ask(self, command: str, *args: Any) -> Any:
        self.send(command, *args)
        return self.receive()

    def close(self) -> None:
        self.connection.close()  # the worker's loop ends
        self.process.join(5)
        if self.process.is_alive():
            self.process.terminate()


def available_cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def start_workers(
    peers: Sequence[str], threads: int, environment: Mapping[str, str] = {}
) -> Iterator[tuple[dict[str, Worker], dict[str, PeerError]]]:
    """A worker for each peer, and why some have none. The workers end with the block."""
    workers: dict[str, Worker] = {}
    missing: dict[str, PeerError] = {}
    try:
        for peer in dict.fromkeys(peers):
            try:
                workers[peer] = Worker(peer, threads, environment)
            except PeerError as error:
                missing[peer] = error
        yield workers, missing
    finally:
        for worker in workers.values():
            worker.close()


def serve(connection: Connection, module: str, threads: int) -> None:
    """The worker's loop: a command and its arguments in, (kind, value) out."""
    if hasattr(os, "sched_setaffinity"):  # the one limit that every library obeys, JAX too
        os.sched_setaffinity(0, available_cpus()[:threads])
    try:
        peer = importlib.import_module(module)
    except ImportError as error:
        connection.send(("not installed", str(error)))
        return
    except Exception as error:
        connection.send(("failed", f"{type(error).__name__}: {error}"))
        return
    connection.send(("done", peer.version))
    session = Session(peer, threads)
    while True:
        try:
            command, args = connection.recv()
        except EOFError:
            return
        try:
            answer = "done", getattr(session, command)(*args)
        except Unsupported as error:
            answer = "n/a", str(error)
        except Exception as error:
            answer = "failed", f"{type(error).__name__}: {error}"
        session.rest()
        connection.send(answer)


class Session:
    """What a worker can be asked for."""

    def __init__(self, peer: Any, threads: int):
        self.peer, self.threads, self.engine = peer, threads, None
        self.spun = 0.0
        self.rested_at = time.perf_counter(), time.process_time()

    def check(self, work: Workload, seed: int) -> np.ndarray:
        """The result of the short training."""
        problem, epochs = check_problem(make_problem(work, seed))
        engine = self.peer.Engine(problem, self.threads)
        engine.run(epochs, shuffle=False)
        return np.asarray(engine.result())

    def prepare(self, work: Workload, seed: int) -> None:
        """Make the engine, run it until its times are steady, and choose the epochs of a call."""
        self.engine = None
        gc.collect()
        self.work, self.engine = work, self.peer.Engine(make_problem(work, seed), self.threads)
        self.epochs = 1
        self.call()  # compiles, where there is something to compile
        self.epochs = max(1, math.ceil(CALL / self.call()))
        started, times = time.perf_counter(), [self.call()]
        while time.perf_counter() - started < WARM and (len(times) < 3 or max(times[-3:]) > 1.05 * min(times)):
            times.append(self.call())
        self.seconds = times[-1]

    def call(self) -> float:
        return seconds_of(self.run)

    def run(self) -> None:
        self.engine.run(self.epochs, shuffle=self.work.shuffle)

    def turn(self) -> dict[str, float]:
        """One turn: an untimed call to wake threads and caches, then timed ones. `us` is the median per step.

        `idle` and `idle_cpu` are the seconds that passed and that this process used since its last answer; `others`
        is how many CPUs all other processes, and other guests of a shared host, used while this one was timed; `avx512`
        is whether AVX-512 was used (None: not known).
        """
        start = time.perf_counter()
        wall, cpu = self.rested_at
        idle, idle_cpu = time.perf_counter() - wall, time.process_time() - cpu
        if self.seconds < TURN:
            self.call()
        with Others() as others:
            times = repeated(self.run, TURN)
        steps = self.epochs * self.work.steps
        us = 1e6 * float(np.median(times)) / steps
        return {
            "us": us, "calls": len(times), "steps": steps, "idle": idle, "idle_cpu": idle_cpu, "spun": self.spun,
            "others": others.cpus, "avx512": avx512_since(start),
        }  # fmt: skip

    def prepare_forward(self, work: Workload, seed: int) -> np.ndarray:
        """Make the engine for calls of `work.batch` rows, and choose the calls of a turn. Returns the outputs."""
        problem = make_problem(work, seed)
        self.engine = self.peer.Engine(problem, self.threads)
        if not hasattr(self.engine, "forward"):
            raise Unsupported("it is not called for outputs here")
        self.X = first(problem.X, work.batch)
        outputs = np.array(self.engine.forward(self.X))  # compiles, where there is something to compile
        self.calls = timeit.Timer(lambda: self.engine.forward(self.X)).autorange()[0]
        return outputs

    def turn_forward(self) -> float:
        """Microseconds a call, the median of five runs of a fifth of a second or more."""
        engine, X = self.engine, self.X
        times = timeit.repeat(lambda: engine.forward(X), number=self.calls, repeat=5)
        return 1e6 * statistics.median(times) / self.calls

    def finish(self) -> bool:
        """Forget the engine; whether its numbers stayed finite."""
        finite = bool(np.isfinite(self.engine.result()).all())
        self.engine = None
        gc.collect()
        return finite

    def peak(self, dtype: str, seconds: float) -> tuple[float, float]:
        return self.peer.peak(dtype, seconds)

    def rest(self) -> None:
        """Sleep until the process is quiet: 20 ms in which all its threads together used less than 0.2 ms."""
        started = time.perf_counter()
        while time.perf_counter() - started < 2:
            cpu = time.process_time()
            time.sleep(0.02)
            if time.process_time() - cpu < 2e-4:
                break
        self.spun = time.perf_counter() - started - 0.02
        self.rested_at = time.perf_counter(), time.process_time()
