"""The mini-batch loop: one compiled function that any number of threads may run at once on the same job.

A job is a sequence of phases: step after step, block after block, two phases of the slices of samples, then the tasks
of the weights, and where the gradient is clipped a fourth phase a step, the updates. In a step of parts (parts.py) the
parts are the tasks of the first phase, and there is no second; in halves (halves.py) there is one phase, of the end of
a step and the beginning of the next. Each task of a phase has a word in
`clock`, on a line of its own: 2 n - 1 when a thread has claimed it in block n, 2 n when it is done. A thread claims its
own share first, then what others have left, then waits until all is done. So threads meet at the cost of the transfer
of a line or two, each finds the weights that it updated in its own cache, a thread that comes late or never holds
nobody up, and one thread alone is the serial build. Which thread does what changes nothing in the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.halves import (
    begin_half,
    end_half,
    enter_half,
    move_vectors,
    penalty_of_halves,
)
from fastbackprop.engine.jit import NIL, entry, kernel, part, source_hash
from fastbackprop.engine.parts import gather_ahead, part_task, sum_of_parts_losses
from fastbackprop.engine.simd import (
    LANES32,
    compare_swap,
    flush_subnormals,
    itemsize,
    load_acquire,
    load_double,
    pause,
    restore_subnormals,
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
    input_check,
    part_at,
    parts_of,
    penalties,
    reciprocal,
    samples_task,
    sum_penalties,
    sum_weights,
    update_task,
    weight_sum_at,
)
from fastbackprop.engine.update import GRADIENT

# Turns of waiting, some 0.1 ms, before a thread sleeps: two threads on one processor, where the system has put them,
# would otherwise hold each other up for as long as the job lasts. Then microseconds of sleep.
SPINS = 8000
NAP = 20

words_before_tasks = kernel(at.task_words)


@kernel
def _rest(spins):
    """Between two looks at what is waited for, `spins` looks after the first; returns how many there were then."""
    spins += 1
    if spins < SPINS:
        pause()
    else:
        sleep(NAP)
    return spins


@kernel
def _wait(words, count, value):
    """Until all words have reached the value."""
    for i in range(count):
        spins = 0
        while load_acquire(words + i * at.CLOCK_LINE * 8) < value:
            spins = _rest(spins)


@kernel
def _wait_for_gatherers(words, count):
    """Until no thread gathers ahead for a step that is already done: the memory is about to be given back.

    Who begins to afterwards finds, by the same word, that the step is done.
    """
    for i in range(count):
        spins = 0
        while not compare_swap(words + i * at.CLOCK_LINE * 8, 0, 0):
            spins = _rest(spins)


@kernel
def _reached(words, count, value):
    """Whether all words have reached the value."""
    for i in range(count):
        if load_acquire(words + i * at.CLOCK_LINE * 8) < value:
            return False
    return True


@kernel
def _claim(word, done):
    """Whether this thread is the one that does what the word stands for; `done` is what it will be."""
    return load_acquire(word) == done - 2 and compare_swap(word, done - 2, done - 1)


@part
def _job_of_slot(job, slot, like):
    """The job as a thread does it: in parts and in halves a copy of one slice, in a workspace of its own.

    A part makes a gradient, a half also the update.
    """
    own = job
    if job[at.PARTS] > 1 or job[at.IN_HALVES] != 0:
        own = job[(1 + slot) * at.JOB_FIELDS : (2 + slot) * at.JOB_FIELDS]
        for field in range(at.JOB_FIELDS):
            own[field] = job[field]
        own[at.WORKSPACE] = job[at.OWN_WORKSPACES] + slot * job[at.OWN_WORKSPACE_SIZE] * itemsize(like)
        own[at.SLICES], own[at.INPUT_COPIES] = 1, 0
        if job[at.PARTS] > 1:
            own[at.UPDATE] = min(job[at.UPDATE], GRADIENT)
    return own


@part
def _weight_sum_at(job, like):
    """The address of the sum of the step's sample weights."""
    return job[at.PART_SUMS] + 8 if job[at.PARTS] > 1 else weight_sum_at(job, 0, like)


@part
def _weights_task(job, layers, tasks, theta, hyper, step, block, batch, samples, is_last, task, slice_, scratch, like):
    """Phase 3 for one row of `tasks`: the gradient of some outputs of a layer, unless made in parts, and the update."""
    l, first, last = tasks[task, at.TASK_LAYER], tasks[task, at.TASK_FIRST], tasks[task, at.TASK_LAST]
    if job[at.PARTS] == 1:
        gradient_task(job, layers, theta, step, samples, block == 0, is_last, l, first, last, slice_, scratch, like)
    if is_last:
        weights = load_double(_weight_sum_at(job, like))
        update_task(job, layers, theta, hyper, step, batch, weights, l, first, last, scratch, like)


@kernel
def _sum_costs(job, step, block, batch, samples, penalty, costs, like):
    """Add the block's losses, and once a step the penalty, to the epoch's cost: in float64 and in a fixed order."""
    epoch = (job[at.FIRST_STEP] + step) // job[at.STEPS_PER_EPOCH]
    weights = load_double(_weight_sum_at(job, like))
    factor = batch * reciprocal(weights)  # 1 where all samples weigh 1
    if job[at.PARTS] > 1:
        costs[epoch, at.MEAN_LOSS] += sum_of_parts_losses(job, batch) * factor
    else:
        costs[epoch, at.MEAN_LOSS] = add_losses(job, samples, factor, costs[epoch, at.MEAN_LOSS], like)
    if block == 0 and job[at.PENALTY] != at.NO_PENALTY:
        costs[epoch, at.MEAN_PENALTY] += penalty * (factor if job[at.PENALTY] == at.PENALTY_PER_SAMPLE else batch)


@kernel
def _stops(job, step, costs):
    """After the last step of an epoch: whether the job ends, since the cost falls no more."""
    epoch = (job[at.FIRST_STEP] + step) // job[at.STEPS_PER_EPOCH]
    stop = job[at.STOP]
    loss, penalty = costs[epoch, at.MEAN_LOSS] / job[at.SAMPLES], costs[epoch, at.MEAN_PENALTY] / job[at.SAMPLES]
    cost = loss / load_double(stop + at.LOSS_DIVISOR * 8) + penalty
    best, without = load_double(stop + at.BEST * 8), load_double(stop + at.WITHOUT * 8)
    without = without + 1.0 if cost > best - load_double(stop + at.TOLERANCE * 8) else 0.0
    store(stop + at.BEST * 8, min(best, cost))
    store(stop + at.WITHOUT * 8, without)
    return without > load_double(stop + at.PATIENCE * 8)


@kernel
def _count_costs(job, step, block, batch, samples, penalty, costs, fails, stopped, like):
    """The costs of a block, which `fails` or not, and whether the job stops after it; `penalty`: of the weights."""
    _sum_costs(job, step, block, batch, samples, penalty, costs, like)
    ends_epoch = block == job[at.BLOCKS] - 1 and (job[at.FIRST_STEP] + step + 1) % job[at.STEPS_PER_EPOCH] == 0
    if job[at.STOP] != 0 and not fails and ends_epoch and _stops(job, step, costs):
        store_release(stopped, step + 1)


@part
def _run_in_halves(job, own, tables, params, hyper, costs, words, failed, stopped, slot, end, scratch, like):
    """All steps in halves: the end of one and the beginning of the next are one task. `own` is the thread's job."""
    steps, done = job[at.STEPS], 0
    for number in range(steps + 2):
        leaves = number == steps + 1 or 0 < load_acquire(stopped) < number
        done += 2
        for turn in range(2):
            half = (slot + turn) % 2
            word = words + half * at.CLOCK_LINE * 8
            if _claim(word, done):
                layers = tables[half]
                theta = enter_half(own, job, layers, half, like)
                if number == 0 or leaves:
                    move_vectors(own, job, tables, half, params, theta, leaves, like)
                if number > 0 and not leaves and load_acquire(failed) == 0:
                    step, batch = number - 1, batch_size(job, number - 1)
                    check = end_half(own, layers, theta, hyper, step, end, scratch, like)
                    fails = check != check  # both halves find it
                    if fails:
                        store_release(failed, number)
                    if half == 0:
                        penalty = penalty_of_halves(own, step, like)
                        _count_costs(own, step, NIL, batch, batch, penalty, costs, fails, stopped, like)
                if number < steps and not leaves and load_acquire(failed) == 0:
                    first_unit = tables[0, 1, at.SIZE] if half == 1 else 0
                    begin_half(own, layers, theta, hyper, number, first_unit, end, scratch, like)
                store_release(word, done)
        _wait(words, len(tables), done)
        if leaves:
            break


def _compiled(key: str) -> Any:
    """`key` is a closure variable for the sake of Numba's cache: a change anywhere in the engine is a new key."""

    @entry
    def run(job, tables, tasks, params, hyper, costs, clock, slot):
        key  # noqa: B018
        layers, like, theta = tables[0], params.dtype.type(0), np.intp(params.ctypes.data)
        failed, stopped = np.intp(clock.ctypes.data) + at.FAILED_STEP * 8, np.intp(clock.ctypes.data) + at.STOPPED * 8
        word_bytes = at.CLOCK_LINE * 8
        slices, parts, shares, blocks = job[at.SLICES], job[at.PARTS], job[at.TASKS], job[at.BLOCKS]
        slice_words = np.intp(clock.ctypes.data) + word_bytes
        gather_words = slice_words + parts * word_bytes
        task_words = slice_words + words_before_tasks(slices, parts) * word_bytes
        update_words = task_words + shares * word_bytes
        own = slot % slices
        own_job = _job_of_slot(job, slot, like)
        scratch = job[at.WORKSPACE] + (job[at.SCRATCH] + slot * job[at.SCRATCH_SIZE]) * itemsize(like)
        # The subnormal numbers of a training, moments and deltas that fade away, are nothing to it but slow.
        learns = job[at.UPDATE] > GRADIENT
        mode = flush_subnormals() if learns else 0
        final = job[at.STEPS] - 1
        end = first_row(job, final) + batch_size(job, final)
        in_halves = job[at.IN_HALVES] != 0
        if in_halves:
            _run_in_halves(
                job, own_job, tables, theta, hyper, costs, slice_words, failed, stopped, slot, end, scratch, like
            )
        for number in range(0 if in_halves else job[at.STEPS] * blocks):
            step, block, done = number // blocks, number % blocks, 2 * (number + 1)
            if 0 < load_acquire(stopped) <= step:
                break
            first, batch = first_row(job, step), batch_size(job, step)
            row = first + block * job[at.BLOCK]
            samples = max(0, min(job[at.BLOCK], batch - block * job[at.BLOCK]))  # a small last batch has fewer blocks
            is_last = parts > 1 or (block + 1) * job[at.BLOCK] >= batch

            if parts > 1:
                place = own * parts // slices
                for turn in range(parts):
                    i = (place + turn) % parts
                    if _claim(slice_words + i * word_bytes, done):
                        if load_acquire(failed) == 0 and part_at(job, step, i) < parts_of(job, batch):
                            check = part_task(own_job, layers, theta, hyper, step, first, batch, end, i, like)
                            if check != check:
                                store_release(failed, step + 1)
                        store_release(slice_words + i * word_bytes, done)
                gathering = gather_words + own * word_bytes
                if not _reached(slice_words, parts, done) and compare_swap(gathering, 0, 1):
                    more = True
                    while more and not _reached(slice_words, parts, done):
                        more = gather_ahead(own_job, layers, step, place, end, like)
                    store_release(gathering, 0)
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
                                        penalties(job, layers, theta, hyper, i, slices, scratch, like)
                                check = samples_task(
                                    job, layers, theta, step, first, row, samples, end, phase, i, scratch, like
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
                        fails = failure != 0
                        penalty = 0.0
                        if block == 0 and job[at.PENALTY] != at.NO_PENALTY:
                            penalty = sum_penalties(job, layers, len(layers) - 1)
                        _count_costs(job, step, block, batch, samples, penalty, costs, fails, stopped, like)
                    if failure == 0 and samples > 0:
                        for task in range(len(tasks)):
                            if tasks[task, at.TASK] == i:
                                _weights_task(
                                    job, layers, tasks, theta, hyper, step, block, batch, samples, is_last, task, own,
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
                                    clipped_update_task(job, layers, tasks, theta, hyper, step, task, like)
                        store_release(update_words + i * word_bytes, done)
                _wait(update_words, shares, done)
        if job[at.CHECK_INPUTS] != 0 and job[at.UPDATE] == GRADIENT and slot == 0:
            costs[0, at.MEAN_LOSS] += input_check(job, layers, scratch, like)
        if parts > 1 and slot == 0:
            _wait_for_gatherers(gather_words, slices)
        if learns:
            restore_subnormals(mode)

    return run


run = _compiled(f"{source_hash()} {LANES32}")
run.__doc__ = """Work on a job until it is done; every thread of the job calls this with a `slot` of its own, from 0.

job, tables, tasks, clock: int64, see layout.py, `tables` those of the layers: one, or in halves two; params: float32 or
float64; hyper, costs: float64, costs a row an epoch.
`clock` starts as zeros, see `layout.clock_size`. Its FAILED_STEP is then 0, or above 0 where a step's losses were not
finite: that step and those after it have not been applied; its STOPPED 0, or the steps done where `stop` ended the job.
"""
