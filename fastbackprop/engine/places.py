"""Where things lie, and where a thread is: addresses of panels, units, rows and sums; steps, blocks and slices."""

from __future__ import annotations

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.codes import NO_GRADIENT
from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.simd import const, itemsize, line, load_double, load_int, load_scalar

# A layer with at most FEW outputs, and at most two for each panel of a block, has its gradient made from panels. To add
# up lanes takes two operations a weight; to transpose inputs takes four and more an input and panel. The limit of the
# first layer is lower: a unit shard (ops/unit_shards.py) may have as few, and its bits are to be those of the whole.
FEW, FEW_OF_FIRST = 16, 8
# So is that of inputs that fill at most half of a line, from so many panels on: its other lanes would take as long.
NARROW_PANELS = 4


clock_at = kernel(at.clock_at)

# ---------------------------------------------------------------- steps, blocks and slices


# A step of a small network has time for a thousand operations, and a division takes as long as ten or twenty: here, in
# `panel_count` and in `panels_of` there are few.


@inline
def start_of(job, step):
    """The epoch of a step, as a row of ORDER, and how many of its samples come before the step's."""
    step += job.first_step
    epoch = step // job.steps_per_epoch
    return epoch, (step - epoch * job.steps_per_epoch) * job.batch


@inline
def row_of(job, epoch, before):
    """The place in ORDER, in which epochs follow each other, or the row of X if there is no order."""
    return before + (epoch * job.samples if job.order != 0 else 0)


@kernel
def enter_step(job, step):
    """Go to a step, and its first block."""
    epoch, before = start_of(job, step)
    job.step, job.epoch, job.step_row = step, epoch, row_of(job, epoch, before)
    job.step_samples = min(job.batch, job.samples - before)
    job.ends_epoch = before + job.step_samples == job.samples
    enter_block(job, 0)


@kernel
def enter_block(job, done):
    """Go to the step's block after `done` of its samples; of a step in sample shards all is one."""
    block = job.block if job.sample_shards == 1 else job.step_samples
    enter_rows(job, 0, job.step_samples, done, block)


@inline
def enter_rows(job, start, count, done, block):
    """Go to the block after `done` of `count` samples, the first of which is the step's sample number `start`."""
    job.row = job.step_row + start + done
    job.rows = min(block, count - done)
    job.begins, job.ends = done == 0, done + job.rows == count


@kernel
def panel_count(samples, like):
    """Panels that hold so many samples."""
    return (samples + line(like) - 1) >> (4 if line(like) == 16 else 3)


@inline
def panels_of(job, op, like):
    """The first panel of an operation's slice of the block, and the first after it."""
    panels = panel_count(job.rows, like)
    if op.slices == 1:
        return NIL, panels
    return op.slice * panels // op.slices, (op.slice + 1) * panels // op.slices


@inline
def learns(job):
    """Whether deltas are wanted."""
    return job.update != NO_GRADIENT or job.input_gradient != 0


# ---------------------------------------------------------------- sample shards


@kernel
def shard_count(job):
    """How many shards the step has: a small last batch may have fewer."""
    return (job.step_samples + job.shard_samples - 1) // job.shard_samples


@kernel
def shard_at(job, step, place):
    """Which shard of a step's samples is done at a place, and at which place a shard: threads change sides each step.

    Shards are not of equal size: who has the smaller one gathers ahead for the larger.
    """
    return (place + step % 2 * (job.sample_shards // 2)) % job.sample_shards


# ---------------------------------------------------------------- addresses


@inline
def clock(job):
    """The address of the clock."""
    return job.main + clock_at(job.threads) * 8


@kernel
def panel_at(job, layers, l, start, p, like):
    """The address of panel p of layer l: of its panels, deltas or slopes, which begin at the offset `start`."""
    return job.workspace + (start + p * layers[l].stride * line(like)) * itemsize(like)


@kernel
def units_at(job, layers, l, p, like):
    """The address of the samples of panel p in the first block of units of layer l."""
    return job.workspace + (layers[l].units + p * line(like) * line(like)) * itemsize(like)


@inline
def row_number(job, k):
    """The row of the sample at place k of ORDER."""
    return load_int(job.order + k * 8) if job.order != 0 else k


@inline
def sample_weight(job, k, like):
    """The weight in the loss of the sample at place k of ORDER."""
    if job.sample_weights == 0:
        return const(like, 1.0)
    return load_scalar(job.sample_weights + row_number(job, k) * itemsize(like), like)


@inline
def weight_sum_at(job, slice_, like):
    """The address of the sum of the step's sample weights, as the operation `weigh` leaves it."""
    return job.workspace + (job.weight_sums + slice_ * line(like)) * itemsize(like)


@inline
def weight_sum(job, slice_, like):
    """The sum of the sample weights of the step."""
    if job.sample_weights == 0:
        return np.float64(job.step_samples)
    return load_double(weight_sum_at(job, slice_, like))


@inline
def reciprocal(total):
    """1 / total, and 0 for 0: a batch in which nothing counts changes nothing."""
    return 1.0 / total if total > 0.0 else 0.0


@inline
def learning_rate(job):
    """Of the step."""
    return load_double(job.rates + job.step * 8)


@inline
def drop_probability(job, l):
    """Of a unit of hidden layer l."""
    return load_double(job.dropout + l * 8) if job.dropout != 0 else 0.0


# ---------------------------------------------------------------- the network


@kernel
def parameter_count(layers):
    """Elements of the parameters."""
    last = len(layers) - 1
    return layers[last].biases + layers[last].size


@kernel
def unit_count(layers):
    """The units of layers 1 to L."""
    last = len(layers) - 1
    return layers[last].first_unit + layers[last].size


@inline
def is_from_panels(layers, l, panels, like):
    """Whether the gradient of a layer is made from panels of its inputs, which then are not transposed to units."""
    few_inputs = 2 * layers[l - 1].size <= line(like) and panels >= NARROW_PANELS
    few_outputs = layers[l].size <= min(FEW if l > 1 else FEW_OF_FIRST, 2 * panels)
    return few_inputs or few_outputs
