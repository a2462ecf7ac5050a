"""A step in sample shards: each shard of the batch goes all the way to a gradient of its own; these are summed.

The gradients are added in the shards' order. Where a network is small beside its batch, gradients are less to hand from
thread to thread than activations. How a batch is divided depends on its size and the network's shape only, so the bits
do not depend on the threads. A shard is done block after block, in a workspace that belongs to the thread.
"""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.addresses import job_at
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
    gathered_for = step * job.sample_shards + number + 1
    if job.gathered_for != gathered_for:
        job.gathered, job.gathered_for = 0, gathered_for


@inline
def _own_workspace(job):
    return job.own_workspaces + job.slot * job.own_workspace_bytes


@kernel
def _count_of(job, batch, number):
    """The samples of a shard of a batch; a small last batch may have fewer shards: 0 then."""
    return max(0, min(job.shard_samples, batch - number * job.shard_samples))


@operation
def gather_ahead(job, op, layers, like):
    """Gather a panel more of the shard at place `slice` in the next step; GO_ON if there may be another."""
    step, code = job.step + 1, at.LEAVE
    if step < job.steps:
        number = shard_at(job, step, op.slice)
        _forget_others(job, step, number)
        epoch, before = start_of(job, step)
        batch = min(job.batch, job.samples - before)
        samples = min(job.block, _count_of(job, batch, number))
        p = job.gathered
        if p < panel_count(samples, like):
            workspace, job.workspace = job.workspace, _own_workspace(job)
            row = row_of(job, epoch, before) + number * job.shard_samples
            gather_panels(job, layers, row, samples, p, p + 1, like)
            job.workspace, job.gathered, code = workspace, p + 1, at.GO_ON
    return code


@operation
def enter_sample_shard(job, op, layers, like):
    """Begin the shard at place `slice`; LEAVE if the batch has none there."""
    number = shard_at(job, job.step, op.slice)
    count = _count_of(job, job.step_samples, number)
    if count == 0:
        return at.LEAVE
    job.workspace = _own_workspace(job)
    param_bytes = parameter_count(layers) * itemsize(like)
    job.gradient_at = job.shard_gradients + op.slice * param_bytes
    # The other threads have written most of the weights: their lines come all at once, while samples are gathered.
    ask(job.params, 0, 1, param_bytes)
    _forget_others(job, job.step, number)
    enter_rows(job, number * job.shard_samples, count, 0, job.block)
    return at.GO_ON


@operation
def penalize_sample_shard(job, op, layers, like):
    """The penalties of a shard's share of the rows of all weights."""
    shards = shard_count(job)
    # where all exist, each place those of the weights that the same thread updates
    place = op.slice if shards == job.sample_shards else shard_at(job, job.step, op.slice)
    if job.begins != 0:
        penalize(job, layers, place, shards, like)
    return at.GO_ON


@operation
def next_block(job, op, layers, like):
    """Add up the block's losses, and go BACK for the shard's next block; after the last, back to the batch."""
    number = shard_at(job, job.step, op.slice)
    sums = job.shard_losses + number * LINE_BYTES
    store(sums, add_losses(job, 1.0, 0.0 if job.begins != 0 else load_double(sums), like))
    job.gathered = 0
    start, count = number * job.shard_samples, _count_of(job, job.step_samples, number)
    if job.ends == 0:
        enter_rows(job, start, count, job.row - job.step_row - start + job.rows, job.block)
        return at.AGAIN
    main = job_at(job.main)
    if number == 0 and job.sample_weights != 0:
        store(weight_sum_at(main, 0, like), weight_sum(job, 0, like))
    job.workspace, job.gradient_at = main.workspace, main.gradient_at
    enter_rows(job, 0, job.step_samples, 0, job.step_samples)
    return at.GO_ON
