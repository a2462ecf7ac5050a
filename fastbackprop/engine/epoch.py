"""The mini-batch loop: one compiled function that any number of threads may run at once on the same job.

A job is a sequence of phases: step after step, block after block, two phases of the slices of samples, then the tasks
of the weights, and where the gradient is clipped a fourth phase a step, the updates. In a step of parts (parts.py) the
parts are the tasks of the first phase, and there is no second. Each task of a phase has a word in
`clock`, on a line of its own: 2 n - 1 when a thread has claimed it in block n, 2 n when it is done. A thread claims its
own share first, then what others have left, then waits until all is done. So threads meet at the cost of the transfer
of a line or two, each finds the weights that it updated in its own cache, a thread that comes late or never holds
nobody up, and one thread alone is the serial build. Which thread does what changes nothing in the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import entry, kernel, part, source_hash
from fastbackprop.engine.parts import job_of_slot, part_task, sum_of_parts_losses
from fastbackprop.engine.simd import (
    LANES32,
    compare_swap,
    itemsize,
    load_acquire,
    load_double,
    pause,
    sleep,
    store,
    store_release,
)
from fastbackprop.engine.step import (
    ENTRY,
    add_losses,
    batch_size,
    clipped_update_task,
    first_row,
    gradient_task,
    parts_of,
    penalties,
    reciprocal,
    samples_task,
    sum_weights,
    update_task,
    weight_sum_at,
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


@part
def _weight_sum_at(job, like):
    """The address of the sum of the step's sample weights."""
    return job[at.PART_SUMS] + 8 if job[at.PARTS] > 1 else weight_sum_at(job, 0, like)


@part
def _weights_task(job, layers, tasks, params, hyper, step, block, batch, samples, is_last, task, slice_, scratch, like):
    """Phase 3 for one row of `tasks`: the gradient of some outputs of a layer, unless made in parts, and the update."""
    l, first, last = tasks[task, at.TASK_LAYER], tasks[task, at.TASK_FIRST], tasks[task, at.TASK_LAST]
    if job[at.PARTS] == 1:
        gradient_task(job, layers, params, step, samples, block == 0, is_last, l, first, last, slice_, scratch, like)
    if is_last:
        weights = load_double(_weight_sum_at(job, like))
        update_task(job, layers, params, hyper, step, batch, weights, l, first, last, scratch, like)


@kernel
def _sum_costs(job, layers, step, block, batch, samples, costs, like):
    """Add the block's losses, and once a step the penalty, to the epoch's cost: in float64 and in a fixed order."""
    epoch = (job[at.FIRST_STEP] + step) // job[at.STEPS_PER_EPOCH]
    weights = load_double(_weight_sum_at(job, like))
    factor = batch * reciprocal(weights)  # 1 where all samples weigh 1
    if job[at.PARTS] > 1:
        costs[epoch, at.MEAN_LOSS] += sum_of_parts_losses(job, batch) * factor
    else:
        costs[epoch, at.MEAN_LOSS] = add_losses(job, samples, factor, costs[epoch, at.MEAN_LOSS], like)
    if block == 0 and job[at.PENALTY] != at.NO_PENALTY:
        last, penalty = len(layers) - 1, 0.0
        for u in range(layers[last, at.FIRST_UNIT] + layers[last, at.SIZE]):
            penalty += load_double(job[at.UNIT_SUMS] + u * 8)
        costs[epoch, at.MEAN_PENALTY] += penalty * (factor if job[at.PENALTY] == at.PENALTY_PER_SAMPLE else batch)


def _compiled(key: str) -> Any:
    """`key` is a closure variable for the sake of Numba's cache: a change anywhere in the engine is a new key."""

    @entry
    def run(job, layers, tasks, params, hyper, costs, clock, slot):
        key  # noqa: B018
        like = params.dtype.type(0)
        failed = np.intp(clock.ctypes.data) + at.FAILED_STEP * 8
        word_bytes = at.CLOCK_LINE * 8
        slices, parts, shares, blocks = job[at.SLICES], job[at.PARTS], job[at.TASKS], job[at.BLOCKS]
        slice_words = np.intp(clock.ctypes.data) + word_bytes
        task_words = slice_words + max(2 * slices, parts) * word_bytes
        update_words = task_words + shares * word_bytes
        own = slot % slices
        own_job = job_of_slot(job, slot, like)
        scratch = job[at.WORKSPACE] + (job[at.SCRATCH] + slot * job[at.SCRATCH_SIZE]) * itemsize(like)
        final = job[at.STEPS] - 1
        end = first_row(job, final) + batch_size(job, final)
        for number in range(job[at.STEPS] * blocks):
            step, block, done = number // blocks, number % blocks, 2 * (number + 1)
            first, batch = first_row(job, step), batch_size(job, step)
            row = first + block * job[at.BLOCK]
            samples = max(0, min(job[at.BLOCK], batch - block * job[at.BLOCK]))  # a small last batch has fewer blocks
            is_last = parts > 1 or (block + 1) * job[at.BLOCK] >= batch

            if parts > 1:
                for turn in range(parts):
                    i = (own * parts // slices + turn) % parts
                    if _claim(slice_words + i * word_bytes, done):
                        if load_acquire(failed) == 0 and i < parts_of(job, batch):
                            check = part_task(own_job, layers, params, hyper, step, first, batch, end, i, like)
                            if check != check:
                                store_release(failed, step + 1)
                        store_release(slice_words + i * word_bytes, done)
                _wait(slice_words, parts, done)
            else:
                for phase in range(2):
                    words = slice_words + phase * slices * word_bytes
                    for turn in range(slices):
                        i = (own + turn) % slices
                        if _claim(words + i * word_bytes, done):
                            if load_acquire(failed) == 0:
                                if phase == ENTRY and block == 0:
                                    store(weight_sum_at(job, i, like), sum_weights(job, first, batch, like))
                                    if job[at.PENALTY] != at.NO_PENALTY:
                                        penalties(job, layers, params, hyper, i, slices, scratch, like)
                                check = samples_task(
                                    job, layers, params, step, first, row, samples, end, phase, i, scratch, like
                                )
                                if check != check:
                                    store_release(failed, step + 1)
                            store_release(words + i * word_bytes, done)
                    _wait(words, slices, done)

            failure = load_acquire(failed)
            for turn in range(shares):
                i = (own * shares // slices + turn) % shares
                if _claim(task_words + i * word_bytes, done):
                    if i == 0 and (failure == 0 or failure == step + 1):
                        _sum_costs(job, layers, step, block, batch, samples, costs, like)
                    if failure == 0 and samples > 0:
                        for task in range(len(tasks)):
                            if tasks[task, at.TASK] == i:
                                _weights_task(
                                    job, layers, tasks, params, hyper, step, block, batch, samples, is_last, task, own,
                                    scratch, like,
                                )  # fmt: skip
                    store_release(task_words + i * word_bytes, done)
            _wait(task_words, shares, done)

            if job[at.CLIP] != 0 and block == blocks - 1:
                done = 2 * (step + 1)
                for turn in range(shares):
                    i = (own * shares // slices + turn) % shares
                    if _claim(update_words + i * word_bytes, done):
                        if failure == 0:
                            for task in range(len(tasks)):
                                if tasks[task, at.TASK] == i:
                                    clipped_update_task(job, layers, tasks, params, hyper, step, task, like)
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
