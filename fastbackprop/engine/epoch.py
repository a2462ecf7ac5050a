"""The mini-batch loop: one compiled function that any number of threads may run at once on the same job.

A job is a sequence of phases: step after step, block after block, two phases of the slices of samples, then the tasks
of the weights, and where the gradient is clipped a fourth phase a step, the updates. Each task of a phase has a word in
`clock`, on a line of its own: 2 n - 1 when a thread has claimed it in block n, 2 n when it is done. A thread claims its
own share first, then what others have left, then waits until all is done. So threads meet at the cost of the transfer
of a line or two, each finds the weights that it updated in its own cache, a thread that comes late or never holds
nobody up, and one thread alone is the serial build. Which thread does what changes nothing in the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import entry, kernel, source_hash
from fastbackprop.engine.simd import (
    LANES32,
    compare_swap,
    itemsize,
    load_acquire,
    load_double,
    load_scalar,
    pause,
    sleep,
    store_release,
)
from fastbackprop.engine.step import (
    batch_size,
    block_size,
    clipped_update_task,
    reciprocal,
    samples_task,
    weight_sum_at,
    weights_task,
)

# Turns of waiting, some 0.1 ms, before a thread sleeps: two threads on one processor, where the system has put them,
# would otherwise hold each other up for as long as the job lasts. Then microseconds of sleep.
SPINS = 8000
NAP = 20


@kernel
def _wait(words, count, value):
    """Until all words have reached the value."""
    for i in range(count):
        spins = 0
        while load_acquire(words + i * at.CLOCK_LINE * 8) < value:
            spins += 1
            if spins < SPINS:
                pause()
            else:
                sleep(NAP)


@kernel
def _claim(word, done):
    """Whether this thread is the one that does what the word stands for; `done` is what it will be."""
    return load_acquire(word) == done - 2 and compare_swap(word, done - 2, done - 1)


@kernel
def _sum_costs(job, layers, step, block, costs, like):
    """Add the block's losses, and once a step the penalty, to the epoch's cost: in float64 and in a fixed order."""
    epoch = (job[at.FIRST_STEP] + step) // job[at.STEPS_PER_EPOCH]
    weights = load_double(weight_sum_at(job, 0, like))
    factor = batch_size(job, step) * reciprocal(weights)  # 1 where all samples weigh 1
    total = costs[epoch, at.MEAN_LOSS]
    losses = job[at.WORKSPACE] + job[at.LOSSES] * itemsize(like)
    for i in range(block_size(job, step, block)):
        total += load_scalar(losses + i * itemsize(like), like) * factor
    costs[epoch, at.MEAN_LOSS] = total
    if block == 0 and job[at.PENALTY] != at.NO_PENALTY:
        last, penalty = len(layers) - 1, 0.0
        for u in range(layers[last, at.FIRST_UNIT] + layers[last, at.SIZE]):
            penalty += load_double(job[at.UNIT_SUMS] + u * 8)
        costs[epoch, at.MEAN_PENALTY] += penalty * (
            factor if job[at.PENALTY] == at.PENALTY_PER_SAMPLE else batch_size(job, step)
        )


def _compiled(key: str) -> Any:
    """`key` is a closure variable for the sake of Numba's cache: a change anywhere in the engine is a new key."""

    @entry
    def run(job, layers, tasks, params, hyper, costs, clock, slot):
        key  # noqa: B018
        like = params.dtype.type(0)
        failed = np.intp(clock.ctypes.data) + at.FAILED_STEP * 8
        word_bytes = at.CLOCK_LINE * 8
        slices, shares, blocks = job[at.SLICES], job[at.TASKS], job[at.BLOCKS]
        slice_words = np.intp(clock.ctypes.data) + word_bytes
        task_words = slice_words + 2 * slices * word_bytes
        update_words = task_words + shares * word_bytes
        own = slot % slices
        scratch = job[at.WORKSPACE] + (job[at.SCRATCH] + slot * job[at.SCRATCH_SIZE]) * itemsize(like)
        for number in range(job[at.STEPS] * blocks):
            step, block, done = number // blocks, number % blocks, 2 * (number + 1)

            for phase in range(2):
                words = slice_words + phase * slices * word_bytes
                for turn in range(slices):
                    i = (own + turn) % slices
                    if _claim(words + i * word_bytes, done):
                        if load_acquire(failed) == 0:
                            check = samples_task(job, layers, params, hyper, step, block, phase, i, scratch, like)
                            if check != check:
                                store_release(failed, step + 1)
                        store_release(words + i * word_bytes, done)
                _wait(words, slices, done)

            failure = load_acquire(failed)
            for turn in range(shares):
                i = (own * shares // slices + turn) % shares
                if _claim(task_words + i * word_bytes, done):
                    if i == 0 and (failure == 0 or failure == step + 1):
                        _sum_costs(job, layers, step, block, costs, like)
                    if failure == 0 and block_size(job, step, block) > 0:
                        for row in range(len(tasks)):
                            if tasks[row, at.TASK] == i:
                                weights_task(job, layers, tasks, params, hyper, step, block, row, own, scratch, like)
                    store_release(task_words + i * word_bytes, done)
            _wait(task_words, shares, done)

            if job[at.CLIP] != 0 and block == blocks - 1:
                done = 2 * (step + 1)
                for turn in range(shares):
                    i = (own * shares // slices + turn) % shares
                    if _claim(update_words + i * word_bytes, done):
                        if failure == 0:
                            for row in range(len(tasks)):
                                if tasks[row, at.TASK] == i:
                                    clipped_update_task(job, layers, tasks, params, hyper, step, row, like)
                        store_release(update_words + i * word_bytes, done)
                _wait(update_words, shares, done)

    return run


run = _compiled(f"{source_hash()} {LANES32}")
run.__doc__ = """Work on a job until it is done; every thread of the job calls this with a `slot` of its own, from 0.

job, layers, tasks, clock: int64, see layout.py; params: float32 or float64; hyper, costs: float64,
costs a row an epoch.
`clock` starts as zeros, see `layout.clock_size`. Its FAILED_STEP is then 0, or above 0 where a step's losses were not
finite: that step and those after it have not been applied.
"""
