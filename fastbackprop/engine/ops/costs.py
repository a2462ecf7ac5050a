"""The cost of a step: sums of sample weights, losses and penalties, in float64 and in a fixed order; when to stop."""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.activations import make_tree
from fastbackprop.engine.addresses import doubles_at
from fastbackprop.engine.codes import L1, L2
from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.operations import operation
from fastbackprop.engine.ops.forward import shard_start
from fastbackprop.engine.places import (
    clock,
    reciprocal,
    sample_weight,
    shard_count,
    unit_count,
    weight_sum,
    weight_sum_at,
)
from fastbackprop.engine.simd import (
    LINE_BYTES,
    itemsize,
    load_acquire,
    load_double,
    load_scalar,
    store,
    store_release,
)
from fastbackprop.engine.update import sum_of_powers


@operation
def weigh(job, op, layers, like):
    """The sum of all sample weights of the step, which each slice makes for itself."""
    if job.begins != 0:
        total = 0.0
        for k in range(job.step_row, job.step_row + job.step_samples):
            total += sample_weight(job, k, like)
        store(weight_sum_at(job, op.slice, like), total)
    return at.GO_ON


# ---------------------------------------------------------------- penalties


@inline
def _penalty(row, count, hyper, scratch, like):
    """l2 / 2 sum W^2 + l1 sum |W| of some weights."""
    penalty = 0.5 * hyper[L2] * sum_of_powers(row, count, 2, scratch, like)
    if hyper[L1] > 0.0:
        penalty += hyper[L1] * sum_of_powers(row, count, 1, scratch, like)
    return penalty


@inline
def _double_at(address, like):
    return load_double(address)


sum_doubles = make_tree(_double_at)


@inline
def _shards_of(layers):
    """The unit shards of the network, or of a group of them."""
    return layers[2].unit_shards if len(layers) > 2 else NIL + 1


@kernel
def _row_penalty_at(job, layers, l, row, shard):
    """The address of the penalty of a row of the weights; of layer 2, of what a shard has of it."""
    if shard == 0:
        return job.unit_sums + (layers[l].first_unit + row) * 8
    return job.unit_sums + (2 * unit_count(layers) + (shard - 1) * layers[2].size + row) * 8


@kernel
def penalize(job, layers, slice_, slices, like):
    """The penalty of each row of the weights, of layer 2 of each shard's part, for one slice of all rows."""
    size, units, hyper = itemsize(like), unit_count(layers), doubles_at(job.hyper, L2 + 1)
    u0, u1 = slice_ * units // slices, (slice_ + 1) * units // slices
    for l in range(1, len(layers)):
        first, n_in, shards = layers[l].first_unit, layers[l - 1].size, NIL + 1
        if l == 2:
            shards = _shards_of(layers)
        for u in range(max(u0, first), min(u1, first + layers[l].size)):
            row = job.params + (layers[l].weights + (u - first) * n_in) * size
            for shard in range(shards):
                i0, i1 = NIL, n_in
                if shards > 1:
                    i0, i1 = shard_start(layers, shard), shard_start(layers, shard + 1)
                penalty = _penalty(row + i0 * size, i1 - i0, hyper, job.scratch, like)
                store(_row_penalty_at(job, layers, l, u - first, shard), penalty)


@operation
def penalize_slice(job, op, layers, like):
    """The penalties of a slice of the rows of all weights, once a step."""
    if job.begins != 0:
        penalize(job, layers, op.slice, op.slices, like)
    return at.GO_ON


@kernel
def _penalty_of_shard(job, layers, shard, last):
    """The sum of the penalties of what a unit shard has: the first one also has the layers after the second."""
    shards, total = _shards_of(layers), 0.0
    for l in range(1, last + 1 if shard == 0 else 3):
        first, end = NIL, layers[l].size
        if l == 1 and shards > 1:
            first, end = shard_start(layers, shard), shard_start(layers, shard + 1)
        for row in range(first, end):
            total += load_double(_row_penalty_at(job, layers, l, row, shard if l == 2 else NIL))
    return total


@kernel
def sum_penalties(job, layers, last):
    """The sum of the penalties of layers 1 to `last`: of each unit shard, then of those as of Z[2]."""
    for shard in range(_shards_of(layers)):
        store(job.scratch + shard * 8, _penalty_of_shard(job, layers, shard, last))
    return sum_doubles(job.scratch, NIL + 8, _shards_of(layers), NIL)


# ---------------------------------------------------------------- costs


@kernel
def add_losses(job, factor, total, like):
    """`total` and the losses of a block times `factor`: one chain in float64, which goes on from block to block."""
    losses, size = job.workspace + job.losses * itemsize(like), itemsize(like)
    for i in range(job.rows):
        total += load_scalar(losses + i * size, like) * factor
    return total


@kernel
def _losses_of_shards(job):
    """The sum of a step's losses, shard by shard."""
    total = 0.0
    for number in range(shard_count(job)):
        total += load_double(job.shard_losses + number * LINE_BYTES)
    return total


@inline
def _costs_at(job):
    """The address of the row of `costs` of the step's epoch."""
    return job.costs + job.epoch * at.COST_FIELDS * 8


@kernel
def _stops(job, costs):
    """After the last step of an epoch: whether the job ends, since the cost falls no more."""
    stop = job.stop
    loss, penalty = costs[at.MEAN_LOSS] / job.samples, costs[at.MEAN_PENALTY] / job.samples
    cost = loss / load_double(stop + at.LOSS_DIVISOR * 8) + penalty
    best, without = load_double(stop + at.BEST * 8), load_double(stop + at.WITHOUT * 8)
    without = without + 1.0 if cost > best - load_double(stop + at.TOLERANCE * 8) else 0.0
    store(stop + at.BEST * 8, min(best, cost))
    store(stop + at.WITHOUT * 8, without)
    return without > load_double(stop + at.PATIENCE * 8)


@kernel
def add_costs(job, penalty, fails, like):
    """Add the block's losses, and once a step the penalty of the weights, to the epoch's cost.

    At the end of an epoch, stop the job where STOP says so, unless the step `fails`.
    """
    costs, batch = doubles_at(_costs_at(job), at.COST_FIELDS), job.step_samples
    factor = batch * reciprocal(weight_sum(job, 0, like))  # 1 where all samples weigh 1
    if job.sample_shards > 1:
        costs[at.MEAN_LOSS] += _losses_of_shards(job) * factor
    else:
        costs[at.MEAN_LOSS] = add_losses(job, factor, costs[at.MEAN_LOSS], like)
    if job.begins != 0 and job.penalty != at.NO_PENALTY:
        costs[at.MEAN_PENALTY] += penalty * (factor if job.penalty == at.PENALTY_PER_SAMPLE else batch)
    ends_epoch = job.ends != 0 and job.ends_epoch != 0
    if job.stop != 0 and not fails and ends_epoch and _stops(job, costs):
        store_release(clock(job) + at.STOPPED * 8, job.step + 1)


@operation
def count_costs(job, op, layers, like):
    """The costs of the block."""
    penalty = 0.0
    if job.begins != 0 and job.penalty != at.NO_PENALTY:
        penalty = sum_penalties(job, layers, len(layers) - 1)
    add_costs(job, penalty, load_acquire(clock(job) + at.FAILED_STEP * 8) != 0, like)
    return at.GO_ON


@operation
def check_inputs_of_gradient(job, op, layers, like):
    """Make the cost NaN where an input is not finite: then no row of dW[1] is, even where dZ[1] is 0."""
    row = job.gradient_at + layers[1].weights * itemsize(like)
    costs = doubles_at(_costs_at(job), at.COST_FIELDS)
    costs[at.MEAN_LOSS] += 0.0 * sum_of_powers(row, layers[0].size, 1, job.scratch, like)
    return at.GO_ON
