"""The mini-batch loop: one compiled function that any number of threads may run at once on the same job.

The work of a job is numbered: step after step, block after block, first the tasks of phase 1, then those of phase 2. A
thread draws the next number from a shared counter, waits until every task of the phases before is done, does its own,
and counts it as done. So threads meet at the end of each phase at the cost of a few hundred cycles, a slow thread
gets fewer tasks, a thread that comes late or never holds nobody up, and one thread alone is the serial build. Which
thread does a task changes nothing in the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import kernel, source_hash
from fastbackprop.engine.simd import LANES32, fetch_add, itemsize, load_acquire, load_scalar, pause, store_release, yield_processor
from fastbackprop.engine.step import block_size, samples_task, weights_task

SPINS = 2000  # of waiting before the processor is offered to other threads


@kernel
def _wait(address, value):
    spins = 0
    while load_acquire(address) < value:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            yield_processor()


@kernel
def _sum_losses(job, step, block, costs, like):
    """Add the block's losses to the cost of its epoch, in float64 and in the order of the samples."""
    epoch = (job[at.FIRST_STEP] + step) // job[at.STEPS_PER_EPOCH]
    total = costs[epoch]
    losses = job[at.WORKSPACE] + job[at.LOSSES] * itemsize(like)
    for i in range(block_size(job, step, block)):
        total += load_scalar(losses + i * itemsize(like), like)
    costs[epoch] = total


def _compiled(key: str) -> Any:
    """`key` is a closure variable for the sake of Numba's cache: a change anywhere in the engine is a new key."""

    @njit(error_model="numpy", nogil=True, cache=True)
    def run(job, layers, tasks, params, hyper, costs, clock, slot):
        key  # noqa: B018
        like = params.dtype.type(0)
        counters = np.intp(clock.ctypes.data)
        draw, done, failed = counters, counters + at.TICKETS_DONE * 8, counters + at.FAILED_STEP * 8
        slices = job[at.SLICES]
        per_block = slices + job[at.TASKS]
        per_step = per_block * job[at.BLOCKS]
        total = per_step * job[at.STEPS]
        scratch = job[at.WORKSPACE] + (job[at.SCRATCH] + slot * job[at.SCRATCH_SIZE]) * itemsize(like)
        while True:
            ticket = fetch_add(draw, 1)
            if ticket >= total:
                break
            step = ticket // per_step
            block = ticket % per_step // per_block
            task = ticket % per_block
            phase = 0 if task < slices else slices
            _wait(done, ticket - task + phase)
            failure = load_acquire(failed)
            if phase == 0:
                if failure == 0:
                    check = samples_task(job, layers, params, step, block, task, scratch, like)
                    if check != check:
                        store_release(failed, step + 1)
            else:
                if task == slices and (failure == 0 or failure == step + 1):
                    _sum_losses(job, step, block, costs, like)
                if failure == 0 and block_size(job, step, block) > 0:
                    share, rows = job[at.TASKS], len(tasks)
                    for row in range((task - slices) * rows // share, (task - slices + 1) * rows // share):
                        weights_task(job, layers, tasks, params, hyper, step, block, row, scratch, like)
            fetch_add(done, 1)
        _wait(done, total)

    return run


run = _compiled(f"{source_hash()} {LANES32}")
run.__doc__ = """Work on a job until it is done; every thread of the job calls this with a `slot` of its own, from 0.

job, layers, tasks, clock: int64, see layout.py; params, hyper: float32 or float64; costs: float64, one an epoch.
`clock` starts as zeros. Its FAILED_STEP is then 0, or above 0 where a step's losses were not finite: that step and
those after it have not been applied.
"""


def new_clock() -> np.ndarray:
    """The counters of a job that has not started."""
    return np.zeros(at.CLOCK_FIELDS, np.int64)
