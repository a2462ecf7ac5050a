"""The loop of the engine: one compiled function, which any number of threads run at once on the same job.

It does a program (program.py): step after step, block after block, its phases; the tasks of a phase do not depend on
each other, and a task is a list of operations, which are called by their addresses. Each task has a word in the clock,
on a line of its own: 2 n - 1 when a thread has claimed it in its phase's turn n, 2 n when it is done. A thread claims
its own share first, then what others have left, then waits until all is done. So threads meet at the cost of the
transfer of a line or two, each finds the weights that it updated in its own cache, a thread that comes late or never
holds nobody up, and one thread alone is the serial build. Which thread does what changes nothing in the result.
"""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.addresses import call_operation, job_at, operation_at, phase_at, program_at, task_at, words_at
from fastbackprop.engine.codes import GRADIENT
from fastbackprop.engine.jit import entry, kernel
from fastbackprop.engine.places import clock as clock_of
from fastbackprop.engine.places import enter_block, enter_step
from fastbackprop.engine.simd import (
    compare_swap,
    flush_subnormals,
    load_acquire,
    pause,
    restore_subnormals,
    sleep,
    store_release,
)

# Turns of waiting, some 0.1 ms, before a thread sleeps: two threads on one processor, where the system has put them,
# would otherwise hold each other up for as long as the job lasts. Then microseconds of sleep, once more as many after
# each NAPS of them: who has waited long waits, at most, a little longer for it, and takes next to no time from others.
SPINS = 8000
NAP, NAPS, LONGEST_NAP = 20, 16, 1000

WORD_BYTES = at.CLOCK_LINE * 8


@kernel
def _own(job):
    """The address of the thread's copy of the job."""
    return job.main + (1 + job.slot) * at.JOB_BYTES


@kernel
def _rest(spins):
    """Between two looks at what is waited for, `spins` looks after the first; returns how many there were then."""
    spins += 1
    if spins < SPINS:
        pause()
    else:
        sleep(min(NAP * (1 + (spins - SPINS) // NAPS), LONGEST_NAP))
    return spins


@kernel
def _reached(words, count, value):
    """Whether all words have reached the value."""
    for i in range(count):
        if load_acquire(words + i * WORD_BYTES) < value:
            return False
    return True


@kernel
def _wait(words, count, value):
    """Until all words have reached the value."""
    for i in range(count):
        spins = 0
        while load_acquire(words + i * WORD_BYTES) < value:
            spins = _rest(spins)


@kernel
def _do_task(job, ops, first, end, failed):
    """The operations of a task, one after the other."""
    i = first
    while i < end:
        op = ops + i * at.OPERATION_BYTES
        record = operation_at(op)
        i += 1
        if record.always != 0 or load_acquire(failed) == 0:
            code = call_operation(record.function, _own(job), op)
            if code == at.FAILED:
                store_release(failed, job.step + 1)
            elif code == at.LEAVE:
                break
            elif code == at.AGAIN:
                i = record.back


@kernel
def _do_phase(job, program, phase, turn, clock):
    """A phase, its `turn`-th time, counted from 1."""
    head, count = program_at(program), phase.task_count
    tasks = program + head.tasks_at * 8 + phase.first_task * at.TASK_BYTES
    ops = program + head.ops_at * 8
    words, failed = clock + phase.first_word * WORD_BYTES, clock + at.FAILED_STEP * 8
    start, done = job.slot * count // job.threads if job.slot > 0 else 0, 2 * turn
    for i in range(start, start + count):
        number = i if i < count else i - count
        word = words + number * WORD_BYTES
        if load_acquire(word) == done - 2 and compare_swap(word, done - 2, done - 1):
            task = task_at(tasks + number * at.TASK_BYTES)
            _do_task(job, ops, task.first_op, task.first_op + task.op_count, failed)
            store_release(word, done)
    if phase.idle >= 0:
        op = ops + (phase.idle + start) * at.OPERATION_BYTES
        _idle(job, op, words, count, done, clock + head.words * WORD_BYTES)
    _wait(words, count, done)


@kernel
def _idle(job, op, words, count, done, gathering):
    """While others work, what can be done ahead. A word says that it is, so that the memory is not given back."""
    word = gathering + job.slot * WORD_BYTES
    if not _reached(words, count, done) and compare_swap(word, 0, 1):
        code, record = at.GO_ON, operation_at(op)
        while code == at.GO_ON and not _reached(words, count, done):
            code = call_operation(record.function, _own(job), op)
        store_release(word, 0)


@kernel
def _wait_for_idle(words, count):
    """Until no thread works ahead for a step that is already done: the memory is about to be given back.

    Who begins to afterwards finds, by the words of the tasks, that the step is done.
    """
    for i in range(count):
        spins = 0
        while not compare_swap(words + i * WORD_BYTES, 0, 0):  # looks, and lets no later access come before
            spins = _rest(spins)


@kernel
def _do_phases(job, program, when, turn, clock):
    """The phases of a time."""
    head = program_at(program)
    for i in range(head.phases):
        phase = phase_at(program + head.phases_at * 8 + i * at.PHASE_BYTES)
        if phase.when == when:
            _do_phase(job, program, phase, turn, clock)


@entry
def run(jobs, program, slot):
    """Work on a job until it is done; every thread of the job calls this with a `slot` of its own, from 0.

    jobs, program: addresses of int64, see layout.py. The clock starts as zeros.
    """
    own = jobs + (1 + slot) * at.JOB_BYTES
    copy, shared = words_at(own, at.JOB_BYTES // 8), words_at(jobs, at.JOB_BYTES // 8)
    for field in range(at.JOB_BYTES // 8):
        copy[field] = shared[field]
    job = job_at(own)
    job.slot, job.main = slot, jobs
    clock = clock_of(job)
    job.scratch += slot * job.scratch_bytes
    enter_step(job, job.steps - 1)
    job.end_row = job.step_row + job.step_samples
    # The subnormal numbers of a training, moments and deltas that fade away, are nothing to it but slow.
    learns = job.update > GRADIENT
    mode = flush_subnormals() if learns else 0
    enter_step(job, 0)
    _do_phases(job, program, at.AT_BEGIN, 1, clock)
    blocks = 0
    for step in range(job.steps):
        failed, stopped = load_acquire(clock + at.FAILED_STEP * 8), load_acquire(clock + at.STOPPED * 8)
        if 0 < failed <= step or 0 < stopped <= step:
            break
        job.common_step = step
        enter_step(job, step)
        done, batch = 0, job.step_samples  # read before the phases: operations may go on to the next step
        while True:
            done += job.rows
            blocks += 1
            _do_phases(job, program, at.IN_BLOCK, blocks, clock)
            if done == batch:
                break
            enter_block(job, done)
        _do_phases(job, program, at.AFTER_BLOCKS, step + 1, clock)
    _do_phases(job, program, at.AT_END, 1, clock)
    if slot == 0:
        _wait_for_idle(clock + program_at(program).words * WORD_BYTES, job.threads)
    if learns:
        restore_subnormals(mode)
    return 0
