"""More threads than there are processors: the same bits in every kind of step, and every job comes to its end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import plan
from fastbackprop.engine import layout as at
from fastbackprop.plan import Plan, sample_shards_of, unit_shards_of

THREADS = (3, 4, 8, 16)
# shared by all threads, in 2, 4 and 8 unit shards, and in 2 and 32 sample shards: sizes, samples and batch
KINDS = {
    "shared": ((20, 70, 33, 5), 600, 120),
    "two unit shards": ((37, 100, 9), 600, 48),
    "four unit shards": ((64, 128, 5), 600, 32),
    "eight unit shards": ((300, 144, 5), 400, 32),
    "two sample shards": ((32, 64, 64, 5), 512, 128),
    "many sample shards": ((6, 30, 5), 20_000, 8192),
}
OPTIONS = {
    "sgd": {"optimizer": fb.SGD(0.05)},
    "momentum, clipped": {"optimizer": fb.SGD(0.05, momentum=0.9, clip_norm=0.1), "l2": 0.01},
    "rmsprop, penalties": {"optimizer": fb.RMSprop(0.01), "l1": 0.001, "l2": 0.01},
    "adam, weights": {"optimizer": fb.Adam(0.01), "weighted": True},
    "adamw, dropout": {"optimizer": fb.AdamW(0.01), "dropout": 0.3, "hidden": "tanh"},
    "adagrad, sigmoid": {"optimizer": fb.Adagrad(0.05), "output": "sigmoid", "hidden": "relu0"},
    "nesterov, identity": {"optimizer": fb.SGD(0.01, momentum=0.5, nesterov=True), "output": "identity"},
    "exp": {"optimizer": fb.Adam(0.001), "output": "exp", "hidden": "gelu"},
}


def trained(kind, options, dtype, threads):
    sizes, samples, batch = KINDS[kind]
    options = dict(options)
    hidden, output = options.pop("hidden", "relu"), options.pop("output", "softmax")
    rng = np.random.default_rng(3)
    X = rng.standard_normal((samples, sizes[0])).astype(dtype)
    Y = rng.integers(0, sizes[-1], samples) if output == "softmax" else rng.random((samples, sizes[-1])).astype(dtype)
    if options.pop("weighted", False):
        options["sample_weight"] = rng.integers(0, 3, samples) / 2
    net = fb.Network(sizes, hidden, output, dtype=dtype, seed=0)
    history = net.fit(X, Y, epochs=3, batch_size=batch, seed=1, threads=threads, **options)
    net.threads = threads
    g = net.gradients(X[:batch], Y[:batch], input_gradient=True)
    return net.params.tobytes(), tuple(history.cost), net.forward(X).tobytes(), g.vector.tobytes(), g.dX.tobytes()


def test_the_kinds_are_what_they_are_called():
    float32 = np.dtype("float32")
    shards = {kind: len(unit_shards_of(sizes)) - 1 for kind, (sizes, _, _) in KINDS.items()}
    assert [shards[kind] for kind in ("two unit shards", "four unit shards", "eight unit shards")] == [2, 4, 8]
    assert [sample_shards_of(sizes, float32, batch) for sizes, _, batch in KINDS.values()][-2:] == [2, 32]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_of_one_thread(kind, options, dtype, monkeypatch):
    monkeypatch.setattr(plan, "WAKING_WORK", 1000)  # small jobs, too, on all threads
    monkeypatch.setattr(plan, "SERIAL_WORK", 1000)
    one = trained(kind, options, dtype, 1)
    for threads in THREADS:
        assert trained(kind, options, dtype, threads) == one, threads


def plan_and_job(kind, threads, dtype="float32"):
    sizes, samples, batch = KINDS[kind]
    workspace = Plan(sizes, ["relu"] * (len(sizes) - 2), 0, np.dtype(dtype), plan.block_of(batch), threads, True)
    job = workspace.new_job(samples, batch)
    job["update"] = 3
    workspace.divide(job, batch)
    return workspace, job


def test_no_thread_without_work():
    """A block has a number of panels, a step a number of shards: more threads are not woken."""
    found = {kind: [plan_and_job(kind, count) for count in (1, 2, 3, 4, 8, 16, 64)] for kind in KINDS}
    useful = {kind: [p.useful(job, 64)[0] for p, job in found[kind]] for kind in KINDS}
    assert useful["shared"] == [1, 2, 3, 4, 8, 8, 8]  # 120 samples are eight panels
    assert useful["two unit shards"] == [1, 2, 2, 2, 2, 2, 2]
    assert useful["four unit shards"] == [1, 2, 2, 4, 4, 4, 4]
    assert useful["eight unit shards"] == [1, 2, 2, 4, 8, 8, 8]
    assert useful["two sample shards"] == [1, 2, 2, 2, 2, 2, 2]
    assert useful["many sample shards"] == [1, 2, 3, 4, 8, 16, 32]


def test_memory_grows_with_the_threads_that_work():
    """Not with those that might, nor with their square."""
    workspace, job = plan_and_job("many sample shards", 64)
    sizes = []
    for threads in (1, 2, 4, 8, 16):
        workspace._put_threads(job, threads, 0)
        sizes.append(workspace._of_threads.nbytes)
    assert sizes == [sizes[0] * threads for threads in (1, 2, 4, 8, 16)]


def test_many_short_jobs_on_more_threads_than_processors(monkeypatch):
    """From several threads at once, each with helpers of its own: nobody waits for ever, and the bits are the same."""
    monkeypatch.setattr(plan, "WAKING_WORK", 1000)
    monkeypatch.setattr(plan, "SERIAL_WORK", 1000)
    results, rng = {}, np.random.default_rng(0)
    X, y = rng.standard_normal((320, 64)).astype("float32"), rng.integers(0, 5, 320)

    def work(name, threads):
        net = fb.Network((64, 128, 5), seed=0, threads=threads)
        for _ in range(60):
            net.fit(X, y, epochs=1, batch_size=32, seed=2)
        results[name] = net.params.tobytes()

    workers = [
        threading.Thread(target=work, args=(i, threads), daemon=True) for i, threads in enumerate((1, 3, 4, 8, 16))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    assert len(results) == len(workers)
    assert len(set(results.values())) == 1


def test_waiting_threads_sleep_on_windows_too():
    """Whole milliseconds there, and of less none: kernel32's Sleep, in whose place a function of Python's is called."""
    code = """
import ctypes, types
from llvmlite import binding
from numba import njit
from fastbackprop.engine import simd

slept = []
stand_in = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(slept.append)
binding.add_symbol("Sleep", ctypes.cast(stand_in, ctypes.c_void_p).value)
simd.os = types.SimpleNamespace(name="nt")

@njit
def nap():
    simd.sleep(20)
    simd.sleep(2500)

nap()
print(slept)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[0, 2]"


@pytest.mark.skipif(sys.platform != "linux", reason="asks for a thread's processor time")
def test_a_thread_that_waits_long_takes_next_to_no_time(monkeypatch):
    """The other thread of a job comes a second late: meanwhile this one sleeps."""
    used = []

    def held_up(count, run, jobs, program):
        if count != 2 or used:
            return run_on(count, run, jobs, program)
        words = jobs[at.clock_at(count) :].reshape(-1, at.CLOCK_LINE)
        words[2, 0] = 1  # the second task of the first phase is claimed

        def wait():
            start = time.thread_time()
            run(jobs, program, 0)
            used.append(time.thread_time() - start)

        worker = threading.Thread(target=wait, daemon=True)
        worker.start()
        time.sleep(1.0)
        waited = worker.is_alive()
        words[2, 0] = 0  # now it is not
        run(jobs, program, 1)
        worker.join(60)
        assert waited
        return None

    run_on = plan.run_on
    monkeypatch.setattr(plan, "run_on", held_up)
    X, y = np.zeros((640, 64), "float32"), np.zeros(640, int)
    fb.Network((64, 128, 5), seed=0).fit(X, y, epochs=2, batch_size=32, threads=2)
    assert used[0] < 0.3
