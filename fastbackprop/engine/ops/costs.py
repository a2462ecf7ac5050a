"""The cost of a step: sums of sample weights, losses and penalties, in float64 and in a fixed order; when to stop."""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.addresses import doubles_at
from fastbackprop.engine.codes import L1, L2
from fastbackprop.engine.jit import inline, kernel
from fastbackprop.engine.operations import operation
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
    if job[at.BEGINS] != 0:
        total = 0.0
        for k in range(job[at.STEP_ROW], job[at.STEP_ROW] + job[at.STEP_SAMPLES]):
            total += sample_weight(job, k, like)
        store(weight_sum_at(job, op[at.SLICE], like), total)
    return at.GO_ON


# ---------------------------------------------------------------- penalties


@inline
def _penalty(row, count, hyper, scratch, like):
    """l2 / 2 sum W^2 + l1 sum |W| of some weights."""
    penalty = 0.5 * hyper[L2] * sum_of_powers(row, count, 2, scratch, like)
    if hyper[L1] > 0.0:
        penalty += hyper[L1] * sum_of_powers(row, count, 1, scratch, like)
    return penalty


@kernel
def penalize(job, layers, slice_, slices, like):
    """The penalty of each row of the weights, or of each part of it, for one slice of all rows."""
    size, sums, units, hyper = itemsize(like), job[at.UNIT_SUMS], unit_count(layers), doubles_at(job[at.HYPER], L2 + 1)
    u0, u1 = slice_ * units // slices, (slice_ + 1) * units // slices
    for l in range(1, len(layers)):
        first, n_in, shard = layers[l, at.FIRST_UNIT], layers[l - 1, at.SIZE], layers[l, at.SECOND_SHARD]
        for u in range(max(u0, first), min(u1, first + layers[l, at.SIZE])):
            row = job[at.PARAMS] + (layers[l, at.WEIGHTS] + (u - first) * n_in) * size
            some = shard if shard > 0 else n_in
            store(sums + u * 8, _penalty(row, some, hyper, job[at.SCRATCH], like))
            if shard > 0:
                second = _penalty(row + shard * size, n_in - shard, hyper, job[at.SCRATCH], like)
                store(sums + (2 * units + u) * 8, second)


@operation
def penalize_slice(job, op, layers, like):
    """The penalties of a slice of the rows of all weights, once a step."""
    if job[at.BEGINS] != 0:
        penalize(job, layers, op[at.SLICE], op[at.SLICES], like)
    return at.GO_ON


@kernel
def sum_penalties(job, layers, last):
    """The sum of the penalties of layers 1 to `last`: where it has unit shards, of one, then the other."""
    sums, units, shard = job[at.UNIT_SUMS], unit_count(layers), layers[2, at.SECOND_SHARD] if len(layers) > 2 else 0
    total = second = 0.0
    for u in range(layers[last, at.FIRST_UNIT] + layers[last, at.SIZE]):
        if 0 < shard <= u < layers[1, at.SIZE]:
            second += load_double(sums + u * 8)
        else:
            total += load_double(sums + u * 8)
    if shard > 0:
        first = layers[2, at.FIRST_UNIT]
        for u in range(first, first + layers[2, at.SIZE]):
            second += load_double(sums + (2 * units + u) * 8)
    return total + second


# ---------------------------------------------------------------- costs


@kernel
def add_losses(job, factor, total, like):
    """`total` and the losses of a block times `factor`: one chain in float64, which goes on from block to block."""
    losses, size = job[at.WORKSPACE] + job[at.LOSSES] * itemsize(like), itemsize(like)
    for i in range(job[at.ROWS]):
        total += load_scalar(losses + i * size, like) * factor
    return total


@kernel
def _losses_of_shards(job):
    """The sum of a step's losses, shard by shard."""
    total = 0.0
    for number in range(shard_count(job)):
        total += load_double(job[at.SHARD_LOSSES] + number * LINE_BYTES)
    return total


@inline
def _costs_at(job):
    """The address of the row of `costs` of the step's epoch."""
    return job[at.COSTS] + job[at.EPOCH] * at.COST_FIELDS * 8


@kernel
def _stops(job, costs):
    """After the last step of an epoch: whether the job ends, since the cost falls no more."""
    stop = job[at.STOP]
    loss, penalty = costs[at.MEAN_LOSS] / job[at.SAMPLES], costs[at.MEAN_PENALTY] / job[at.SAMPLES]
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
    costs, batch = doubles_at(_costs_at(job), at.COST_FIELDS), job[at.STEP_SAMPLES]
    factor = batch * reciprocal(weight_sum(job, 0, like))  # 1 where all samples weigh 1
    if job[at.SAMPLE_SHARDS] > 1:
        costs[at.MEAN_LOSS] += _losses_of_shards(job) * factor
    else:
        costs[at.MEAN_LOSS] = add_losses(job, factor, costs[at.MEAN_LOSS], like)
    if job[at.BEGINS] != 0 and job[at.PENALTY] != at.NO_PENALTY:
        costs[at.MEAN_PENALTY] += penalty * (factor if job[at.PENALTY] == at.PENALTY_PER_SAMPLE else batch)
    ends_epoch = job[at.ENDS] != 0 and job[at.ENDS_EPOCH] != 0
    if job[at.STOP] != 0 and not fails and ends_epoch and _stops(job, costs):
        store_release(clock(job) + at.STOPPED * 8, job[at.STEP] + 1)


@operation
def count_costs(job, op, layers, like):
    """The costs of the block."""
    penalty = 0.0
    if job[at.BEGINS] != 0 and job[at.PENALTY] != at.NO_PENALTY:
        penalty = sum_penalties(job, layers, len(layers) - 1)
    add_costs(job, penalty, load_acquire(clock(job) + at.FAILED_STEP * 8) != 0, like)
    return at.GO_ON


@operation
def check_inputs_of_gradient(job, op, layers, like):
    """Make the cost NaN where an input is not finite: then no row of dW[1] is, even where dZ[1] is 0."""
    row = job[at.GRADIENT_AT] + layers[1, at.WEIGHTS] * itemsize(like)
    costs = doubles_at(_costs_at(job), at.COST_FIELDS)
    costs[at.MEAN_LOSS] += 0.0 * sum_of_powers(row, layers[0, at.SIZE], 1, job[at.SCRATCH], like)
    return at.GO_ON
