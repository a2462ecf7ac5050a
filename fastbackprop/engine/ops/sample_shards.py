"""A step in sample shards: each shard of the batch goes all the way to a gradient of its own; these are summed.

The gradients are added in the shards' order. Where a network is small beside its batch, gradients are less to hand from
thread to thread than activations. How a batch is divided depends on its size and the network's shape only, so the bits
do not depend on the threads. A shard is done block after block, in a workspace that belongs to the thread.
"""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.addresses import words_at
from fastbackprop.engine.jit import inline, kernel
from fastbackprop.engine.operations import operation
from fastbackprop.engine.ops.costs import add_losses, penalize
from fastbackprop.engine.ops.gather import gather_panels
from fastbackprop.engine.places import (
    enter_rows,
    panel_count,
    parameter_count,
    row_of,
    shard_at,
    shard_count,
    start_of,
    weight_sum,
    weight_sum_at,
)
from fastbackprop.engine.product import ask
from fastbackprop.engine.simd import LINE_BYTES, itemsize, load_double, store


@inline
def _forget_others(job, step, number):
    """From now on GATHERED counts panels of this shard of this step: none, where those gathered are another shard's."""
    gathered_for = step * job[at.SAMPLE_SHARDS] + number + 1
    if job[at.GATHERED_FOR] != gathered_for:
        job[at.GATHERED], job[at.GATHERED_FOR] = 0, gathered_for


@inline
def _own_workspace(job):
    return job[at.OWN_WORKSPACES] + job[at.SLOT] * job[at.OWN_WORKSPACE_BYTES]


@kernel
def _count_of(job, batch, number):
    """The samples of a shard of a batch; a small last batch may have fewer shards: 0 then."""
    return max(0, min(job[at.SHARD_SAMPLES], batch - number * job[at.SHARD_SAMPLES]))


@operation
def gather_ahead(job, op, layers, like):
    """Gather a panel more of the shard at place SLICE in the next step; GO_ON if there may be another."""
    step, code = job[at.STEP] + 1, at.LEAVE
    if step < job[at.STEPS]:
        number = shard_at(job, step, op[at.SLICE])
        _forget_others(job, step, number)
        epoch, before = start_of(job, step)
        batch = min(job[at.BATCH], job[at.SAMPLES] - before)
        samples = min(job[at.BLOCK], _count_of(job, batch, number))
        p = job[at.GATHERED]
        if p < panel_count(samples, like):
            workspace, job[at.WORKSPACE] = job[at.WORKSPACE], _own_workspace(job)
            row = row_of(job, epoch, before) + number * job[at.SHARD_SAMPLES]
            gather_panels(job, layers, row, samples, p, p + 1, like)
            job[at.WORKSPACE], job[at.GATHERED], code = workspace, p + 1, at.GO_ON
    return code


@operation
def enter_sample_shard(job, op, layers, like):
    """Begin the shard at place SLICE; LEAVE if the batch has none there."""
    number = shard_at(job, job[at.STEP], op[at.SLICE])
    count = _count_of(job, job[at.STEP_SAMPLES], number)
    if count == 0:
        return at.LEAVE
    job[at.WORKSPACE] = _own_workspace(job)
    param_bytes = parameter_count(layers) * itemsize(like)
    job[at.GRADIENT_AT] = job[at.SHARD_GRADIENTS] + op[at.SLICE] * param_bytes
    # The other threads have written most of the weights: their lines come all at once, while samples are gathered.
    ask(job[at.PARAMS], 0, 1, param_bytes)
    _forget_others(job, job[at.STEP], number)
    enter_rows(job, number * job[at.SHARD_SAMPLES], count, 0, job[at.BLOCK])
    return at.GO_ON


@operation
def penalize_sample_shard(job, op, layers, like):
    """The penalties of a shard's share of the rows of all weights."""
    shards = shard_count(job)
    # where all exist, each place those of the weights that the same thread updates
    place = op[at.SLICE] if shards == job[at.SAMPLE_SHARDS] else shard_at(job, job[at.STEP], op[at.SLICE])
    if job[at.BEGINS] != 0:
        penalize(job, layers, place, shards, like)
    return at.GO_ON


@operation
def next_block(job, op, layers, like):
    """Add up the block's losses, and go BACK for the shard's next block; after the last, back to the batch."""
    number = shard_at(job, job[at.STEP], op[at.SLICE])
    sums = job[at.SHARD_LOSSES] + number * LINE_BYTES
    store(sums, add_losses(job, 1.0, 0.0 if job[at.BEGINS] != 0 else load_double(sums), like))
    job[at.GATHERED] = 0
    start, count = number * job[at.SHARD_SAMPLES], _count_of(job, job[at.STEP_SAMPLES], number)
    if job[at.ENDS] == 0:
        enter_rows(job, start, count, job[at.ROW] - job[at.STEP_ROW] - start + job[at.ROWS], job[at.BLOCK])
        return at.AGAIN
    main = words_at(job[at.MAIN], at.JOB_FIELDS)
    if number == 0 and job[at.SAMPLE_WEIGHTS] != 0:
        store(weight_sum_at(main, 0, like), weight_sum(job, 0, like))
    job[at.WORKSPACE], job[at.GRADIENT_AT] = main[at.WORKSPACE], main[at.GRADIENT_AT]
    enter_rows(job, 0, job[at.STEP_SAMPLES], 0, job[at.STEP_SAMPLES])
    return at.GO_ON
