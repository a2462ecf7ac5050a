"""One block of a training step in phases, each a set of tasks that do not depend on each other.

1. `samples_task`, phase ENTRY: gather -> forward through the first layer.
2. `samples_task`, phase PASS, a slice of the block's samples: the other layers forward -> head -> all deltas back.
3. `gradient_task`, some outputs of one layer: gradient over all samples of the block in their order; after the last
   block `update_task`.
4. `clipped_update_task`, only where the gradient is clipped, which takes its norm: the update.

A line that another processor has written is slow to come. So in phase ENTRY each slice computes, where that pays, not
all outputs of some samples but the outputs of all samples whose weights the same thread will update in phase 3, from a
copy of A[0] of its own: the weights of the first layer, often most of all, and the inputs never change processors.
Where all weights are less than the activations, the batch is divided into parts instead, parts.py; where two threads
share a small batch, the network into halves, halves.py.
"""

from __future__ import annotations

import math

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.activations import IDENTITY, RELU, RELU0, activate_sum
from fastbackprop.engine.dropout import drop, layer_key
from fastbackprop.engine.heads import head
from fastbackprop.engine.jit import NIL, inline, kernel, part
from fastbackprop.engine.panels import NOT_AHEAD, gather, panel_to_rows, panel_to_units
from fastbackprop.engine.product import backward, bias_gradient, forward, gradient, gradient_from_panels
from fastbackprop.engine.readers import call_reader
from fastbackprop.engine.simd import (
    const,
    fma,
    group_lanes,
    has_nan,
    itemsize,
    lanes,
    line,
    load,
    load_double,
    load_group,
    load_int,
    load_scalar,
    load_whole_numbers,
    splat,
    splat_group,
    store,
)
from fastbackprop.engine.tile import CONTINUE, KEEP, MASK, SCALE, STORE, ZERO
from fastbackprop.engine.tile import SGD as TILE_SGD
from fastbackprop.engine.update import (
    CLIP_NORM,
    DECAY_BIASES,
    FUSED_SGD,
    GRADIENT,
    L1,
    L2,
    NO_GRADIENT,
    WHOLE,
    add_gradients,
    sum_of_powers,
    update,
)

ENTRY, PASS = 0, 1
# The gradient of at most so many outputs, and of two for each panel of a block, is made from panels: to add up lanes
# takes two operations a weight, to transpose inputs four and more an input and panel. In the first layer fewer: a half
# of a network (halves.py) may have as few outputs, and its bits are to be those of the whole.
FEW, FEW_OF_FIRST = 16, 8
# So is that of inputs that fill at most half of a line, from so many panels on: its other lanes would take as long.
NARROW_PANELS = 4
FAR_INPUT_BYTES = 1 << 20  # inputs of more bytes are asked for ahead: they come from beyond the second-level cache
share_of_outputs = kernel(at.share_of_outputs)


@kernel
def first_row(job, step):
    """Where the samples of a step start in ORDER, in which epochs follow each other, or in X if there is no order."""
    step = job[at.FIRST_STEP] + step
    per_epoch = job[at.STEPS_PER_EPOCH]
    epoch = step // per_epoch if job[at.ORDER] != 0 else 0
    return epoch * job[at.SAMPLES] + step % per_epoch * job[at.BATCH]


@kernel
def batch_size(job, step):
    """The number of samples of a step."""
    start = (job[at.FIRST_STEP] + step) % job[at.STEPS_PER_EPOCH] * job[at.BATCH]
    return min(job[at.BATCH], job[at.SAMPLES] - start)


@kernel
def parts_of(job, batch):
    """How many parts have samples: a small last batch may have fewer."""
    return (batch + job[at.PART_SIZE] - 1) // job[at.PART_SIZE] if job[at.PARTS] > 1 else 1


@kernel
def part_at(job, step, place):
    """Which part of a step's samples is done at a place, and at which place a part: the threads change sides each step.

    Parts are not of equal size: who has the smaller one gathers ahead for the larger.
    """
    return (place + step % 2 * (job[at.PARTS] // 2)) % job[at.PARTS]


@kernel
def _places_of_parts(job, step, batch, part_bytes):
    """Where the gradients of the parts lie, for `update`."""
    return part_at(job, step, 0) * part_bytes, parts_of(job, batch), (job[at.PARTS] - 1) * part_bytes, part_bytes


@kernel
def parameter_count(layers):
    """Elements of the parameters."""
    last = len(layers) - 1
    return layers[last, at.BIASES] + layers[last, at.SIZE]


@kernel
def panel_count(samples, like):
    """Panels that hold so many samples."""
    return (samples + line(like) - 1) // line(like)


@part
def _is_from_panels(layers, l, panels, like):
    """Whether the gradient of a layer is made from panels of its inputs, which then are not transposed to units."""
    few_inputs = 2 * layers[l - 1, at.SIZE] <= line(like) and panels >= NARROW_PANELS
    few_outputs = layers[l, at.SIZE] <= min(FEW if l > 1 else FEW_OF_FIRST, 2 * panels)
    return few_inputs or few_outputs


@part
def _row_number(job, k):
    """The row of the sample at place k of ORDER."""
    return load_int(job[at.ORDER] + k * 8) if job[at.ORDER] != 0 else k


@part
def _sample_weight(job, k, like):
    """The weight in the loss of the sample at place k of ORDER."""
    if job[at.SAMPLE_WEIGHTS] == 0:
        return const(like, 1.0)
    return load_scalar(job[at.SAMPLE_WEIGHTS] + _row_number(job, k) * itemsize(like), like)


@part
def weight_sum_at(job, slice_, like):
    """The address of the sum of the step's sample weights, as the first phase of its first block leaves it."""
    return job[at.WORKSPACE] + (job[at.WEIGHT_SUMS] + slice_ * line(like)) * itemsize(like)


@kernel
def sum_weights(job, first, batch, like):
    """The sum of the sample weights of a step, whose `batch` samples begin at place `first` of ORDER."""
    if job[at.SAMPLE_WEIGHTS] == 0:
        return np.float64(batch)
    total = 0.0
    for k in range(first, first + batch):
        total += _sample_weight(job, k, like)
    return total


@part
def reciprocal(total):
    """1 / total, and 0 for 0: a batch in which nothing counts changes nothing."""
    return 1.0 / total if total > 0.0 else 0.0


@inline
def _gather_targets(job, row, count, outputs, panel, scratch, like):
    """A panel's targets: one line of class indices, or a line an output."""
    n, size = line(like), itemsize(like)
    order, targets = job[at.ORDER], job[at.TARGETS]
    if job[at.TARGET_KIND] == at.CLASSES and order == 0 and count == n:
        for s in range(0, n, lanes(like)):
            store(panel + s * size, load_whole_numbers(targets + (row + s) * 8, like))
    elif job[at.TARGET_KIND] == at.CLASSES:
        for s in range(n):
            sample = _row_number(job, row + min(s, count - 1))
            store(panel + s * size, const(like, load_int(targets + sample * 8)))
    elif job[at.TARGET_READER] != 0:
        call_reader(
            job[at.TARGET_READER], targets, order, row, count, NIL, NIL, outputs, scratch, NIL, panel, NIL, NIL + 1
        )  # fmt: skip
    else:
        gather(targets, job[at.TARGET_STRIDE], order, row, count, NOT_AHEAD, NIL, outputs, scratch, NIL, panel, like)


@kernel
def panel_at(job, layers, l, field, p, like):
    """The address of panel p of layer l: of its PANELS, DELTAS or SLOPES."""
    return job[at.WORKSPACE] + (layers[l, field] + p * layers[l, at.STRIDE] * line(like)) * itemsize(like)


@kernel
def _units(job, layers, l, p, like):
    """The address of the samples of panel p in the first block of units of layer l."""
    return job[at.WORKSPACE] + (layers[l, at.UNITS] + p * line(like) * line(like)) * itemsize(like)


@kernel
def _finite(lines, count, like):
    """0 where all of some lines are finite, else NaN."""
    n, many, size = lanes(like), group_lanes(like), itemsize(like)
    in_groups = count * line(like) // many * many
    zero = const(like, 0.0)
    total, rest = splat_group(zero), splat(zero)
    for i in range(0, in_groups, many):
        total = fma(load_group(lines + i * size, like), splat_group(zero), total)
    for i in range(in_groups, count * line(like), n):
        rest = fma(load(lines + i * size, like), splat(zero), rest)
    return const(like, math.nan) if has_nan(total) or has_nan(rest) else zero


@part
def _own_inputs(job, slice_, like):
    """Bytes from the first slice's A[0] to this slice's."""
    return slice_ * job[at.INPUT_COPIES] * itemsize(like)


@part
def gather_inputs(job, layers, row, samples, end, own, p0, p1, scratch, like):
    """A[0], as panels and, where its gradient is made from them, as units.

    Returns 0, or NaN where inputs that are to be checked are not finite.
    """
    n, width = line(like), layers[0, at.SIZE]
    check = const(like, 0.0)
    far = job[at.SAMPLES] * abs(job[at.INPUT_STRIDE]) * itemsize(like) > FAR_INPUT_BYTES
    to_units = job[at.UPDATE] != NO_GRADIENT
    to_units = to_units and not _is_from_panels(layers, NIL + 1, panel_count(samples, like), like)
    units_stride = job[at.BLOCK] * n if to_units else 0
    reader, panel = job[at.INPUT_READER], own + panel_at(job, layers, 0, at.PANELS, p0, like)
    if reader != 0 and p1 > p0:
        call_reader(
            reader, job[at.INPUTS], job[at.ORDER], row + p0 * n, samples - p0 * n, NIL + far, end, width,
            own + _units(job, layers, 0, p0, like) if to_units else scratch, units_stride, panel, layers[0, at.STRIDE],
            p1 - p0,
        )  # fmt: skip
    for p in range(p0, p1 if reader == 0 else p0):
        first = row + p * n
        ahead = first + n if far else NOT_AHEAD  # the panel that is next in ORDER
        units = own + _units(job, layers, 0, p, like) if to_units else scratch
        gather(
            job[at.INPUTS], job[at.INPUT_STRIDE], job[at.ORDER], first, min(n, samples - p * n), ahead, end, width,
            units, units_stride, own + panel_at(job, layers, 0, at.PANELS, p, like), like,
        )  # fmt: skip
    if job[at.CHECK_INPUTS] != 0 and job[at.UPDATE] == NO_GRADIENT:
        for p in range(p0, p1):
            check += _finite(own + panel_at(job, layers, 0, at.PANELS, p, like), width, like)
    return check


@part
def _drop_probability(job, l):
    """Of a unit of hidden layer l."""
    return load_double(job[at.DROPOUT] + l * 8) if job[at.DROPOUT] != 0 else 0.0


@part
def half_sums_at(job, layers, turn, p, like):
    """The address of panel p of sums over half of the inputs of layer 2: of one of two, by turns."""
    lines = (turn * job[at.BLOCK] + p * line(like)) * layers[2, at.STRIDE]
    return job[at.WORKSPACE] + (job[at.HALF_SUMS] + lines) * itemsize(like)


@kernel
def sum_half(job, layers, theta, i0, i1, biases, result, p0, p1, scratch, like):
    """b[2] + W[2] A[1] over inputs i0 to i1 - 1, panels p0 to p1 - 1; without an address of biases there are none."""
    size, n_in = itemsize(like), layers[1, at.SIZE]
    forward(
        theta + (layers[2, at.WEIGHTS] + i0) * size, n_in, i1 - i0, layers[2, at.SIZE], biases,
        panel_at(job, layers, NIL + 1, at.PANELS, p0, like) + i0 * line(like) * size, layers[1, at.STRIDE], result,
        layers[2, at.STRIDE], NIL, NIL + IDENTITY, p1 - p0, scratch, like,
    )  # fmt: skip


@kernel
def _add_halves(job, layers, first_half, second_half, p0, p1, learning, like):
    """A[2], or Z[L] in its place, from the two sums that make Z[2], each given by the address of its panel p0."""
    l, panel_bytes = 2, layers[2, at.STRIDE] * line(like) * itemsize(like)
    for p in range(p0, p1):
        offset = (p - p0) * panel_bytes
        slopes = panel_at(job, layers, l, at.SLOPES, p, like) if learning else 0
        activate_sum(
            layers[l, at.ACTIVATION] if l < len(layers) - 1 else IDENTITY, first_half + offset, second_half + offset,
            panel_at(job, layers, l, at.PANELS, p, like), slopes, layers[l, at.SIZE], like,
        )  # fmt: skip


@part
def _forward_layer(job, layers, theta, l, own, p0, p1, o0, o1, learning, scratch, like):
    """A[l], of outputs o0 to o1 - 1, and for learning g'(Z[l]); Z[L] in the place of A[L]."""
    size, n, last = itemsize(like), line(like), len(layers) - 1
    n_in, half = layers[l - 1, at.SIZE], layers[l, at.HALF]
    if half > 0:
        first_half, second_half = half_sums_at(job, layers, 0, p0, like), half_sums_at(job, layers, 1, p0, like)
        biases = theta + layers[l, at.BIASES] * size
        sum_half(job, layers, theta, NIL, half, biases, first_half, p0, p1, scratch, like)
        sum_half(job, layers, theta, half, n_in, NIL, second_half, p0, p1, scratch, like)
        _add_halves(job, layers, first_half, second_half, p0, p1, learning, like)
    else:
        activation = layers[l, at.ACTIVATION] if l < last else IDENTITY
        slopes = panel_at(job, layers, l, at.SLOPES, p0, like) + o0 * n * size
        forward(
            theta + (layers[l, at.WEIGHTS] + o0 * n_in) * size, n_in, n_in, o1 - o0,
            theta + (layers[l, at.BIASES] + o0) * size, panel_at(job, layers, l - 1, at.PANELS, p0, like) + own,
            layers[l - 1, at.STRIDE], panel_at(job, layers, l, at.PANELS, p0, like) + o0 * n * size,
            layers[l, at.STRIDE], slopes if learning and activation > RELU0 else 0, activation, p1 - p0, scratch, like,
        )  # fmt: skip


@part
def drop_and_transpose(job, layers, step, l, first_unit, first_sample, panels, p0, p1, like):
    """Dropout in hidden layer l, and its units, where the gradient of the next layer is made from them.

    To the dropout its first unit is `first_unit`, and the first sample of panel 0 is the batch's `first_sample`.
    """
    n = line(like)
    dropped, few = _drop_probability(job, l), _is_from_panels(layers, l + 1, panels, like)
    key = layer_key(job[at.DROPOUT_KEY], job[at.DONE_STEPS] + step, l)
    for p in range(p0, p1):
        panel = panel_at(job, layers, l, at.PANELS, p, like)
        if dropped > 0.0:
            drop(
                dropped, key, first_sample + p * n, layers[l, at.ACTIVATION], first_unit, layers[l, at.SIZE], panel,
                panel_at(job, layers, l, at.SLOPES, p, like), like,
            )  # fmt: skip
        if not few:
            panel_to_units(panel, layers[l, at.SIZE], _units(job, layers, l, p, like), job[at.BLOCK] * n, like)


@part
def _forward_pass(
    job, layers, theta, step, phase, own, first_sample, panels, p0, p1, o0, o1, learning, scratch, like
):  # fmt: skip
    """A[1] to A[L - 1], and Z[L] in the place of A[L]; for learning also the slopes and the units.

    In phase ENTRY outputs o0 to o1 - 1 of the first layer, in phase PASS the rest, in halves from both shares of Z[2].
    """
    last = len(layers) - 1
    for l in range(1, 2 if phase == ENTRY else last + 1):
        if phase == ENTRY or l > 1:
            first, end = (o0, o1) if l == 1 else (0, layers[l, at.SIZE])
            if l == 2 and job[at.IN_HALVES] != 0:
                share = half_sums_at(job, layers, step % 2, p0, like)
                _add_halves(job, layers, share, share + job[at.OTHER_HALF], p0, p1, learning, like)
            else:
                _forward_layer(job, layers, theta, l, own if l == 1 else 0, p0, p1, first, end, learning, scratch, like)
        if phase == PASS and learning and l < last and (l > 1 or job[at.IN_HALVES] == 0):
            drop_and_transpose(job, layers, step, l, NIL, first_sample, panels, p0, p1, like)


@inline
def _shares(job, first, exist, share, scale, like):
    """A line of `share` times each sample's weight; 0 for the samples that do not exist."""
    n, size = line(like), itemsize(like)
    if job[at.SAMPLE_WEIGHTS] == 0 and exist == n:
        for i in range(0, n, lanes(like)):
            store(scale + i * size, splat(share))
    else:
        for i in range(n):
            weight = _sample_weight(job, first + i, like) * share if i < exist else const(like, 0.0)
            store(scale + i * size, weight)


@part
def _output_layer(job, layers, row, samples, weights, p0, p1, learning, scratch, like):
    """o, the losses and dZ[L]; `weights` is the sum of the step's. Returns 0, or NaN where a loss is not finite."""
    n, size, last = line(like), itemsize(like), len(layers) - 1
    outputs, stride, kind = layers[last, at.SIZE], layers[last, at.STRIDE], job[at.TARGET_KIND]
    panel, panel_bytes = panel_at(job, layers, last, at.PANELS, p0, like), stride * n * size
    targets = job[at.WORKSPACE] + job[at.TARGET_PANELS] * size + p0 * panel_bytes
    losses = job[at.WORKSPACE] + (job[at.LOSSES] + p0 * n) * size
    shares = job[at.WORKSPACE] + (job[at.SHARES] + p0 * n) * size
    deltas = panel_at(job, layers, last, at.DELTAS, p0, like) if learning else 0
    if kind != at.NO_TARGETS:
        share = const(like, reciprocal(weights))
        for p in range(p1 - p0):
            first, exist = row + (p0 + p) * n, min(n, samples - (p0 + p) * n)
            _gather_targets(job, first, exist, outputs, targets + p * panel_bytes, scratch, like)
            _shares(job, first, exist, share, shares + p * n * size, like)
    totals = job[at.WORKSPACE] + (job[at.TOTALS] + p0 * n) * size
    head(
        layers[last, at.ACTIVATION], panel, panel_bytes, p1 - p0, outputs, kind, targets, deltas, losses, totals,
        totals + job[at.BLOCK] * size, shares, like,
    )  # fmt: skip
    if job[at.OUTPUTS] != 0:
        for p in range(p0, p1):
            rows = job[at.OUTPUTS] + (row + p * n) * outputs * size
            exist = min(n, samples - p * n)
            panel_to_rows(panel + (p - p0) * panel_bytes, outputs, rows, outputs, exist, scratch, like)
    if kind == at.CLASSES or kind == at.DENSE:
        check = _finite(losses, p1 - p0, like)
        if job[at.SAMPLE_WEIGHTS] != 0:
            for i in range(min((p1 - p0) * n, samples - p0 * n)):
                weight = _sample_weight(job, row + p0 * n + i, like)
                store(losses + i * size, load_scalar(losses + i * size, like) * weight)
    return check


@kernel
def add_losses(job, samples, factor, total, like):
    """`total` and the losses of a block times `factor`: one chain in float64, which goes on from block to block."""
    losses, size = job[at.WORKSPACE] + job[at.LOSSES] * itemsize(like), itemsize(like)
    for i in range(samples):
        total += load_scalar(losses + i * size, like) * factor
    return total


@part
def _backward_pass(job, layers, theta, row, samples, p0, p1, scratch, like):
    """dZ[L - 1] to dZ[1], eq. (17), and dX where it is wanted, eq. (16)."""
    n, size, last = line(like), itemsize(like), len(layers) - 1
    wants_dX = job[at.INPUT_GRADIENT] != 0
    for l in range(last - 1, -1 if wants_dX else 0, -1):
        activation = layers[l, at.ACTIVATION] if l > 0 else IDENTITY
        epilogue, field = SCALE, at.SLOPES
        if _drop_probability(job, l) == 0.0:
            if activation == IDENTITY:
                epilogue = STORE
            elif activation == RELU or activation == RELU0:
                epilogue, field = MASK, at.PANELS
        backward(
            theta + layers[l + 1, at.WEIGHTS] * size, layers[l, at.SIZE], layers[l + 1, at.SIZE],
            panel_at(job, layers, l + 1, at.DELTAS, p0, like), layers[l + 1, at.STRIDE],
            panel_at(job, layers, l, at.DELTAS, p0, like), layers[l, at.STRIDE],
            epilogue, panel_at(job, layers, l, field, p0, like), p1 - p0, scratch, like,
        )  # fmt: skip
    if wants_dX:
        width = layers[0, at.SIZE]
        for p in range(p0, p1):
            rows = job[at.INPUT_GRADIENT] + (row + p * n) * width * size
            panel = panel_at(job, layers, 0, at.DELTAS, p, like)
            panel_to_rows(panel, width, rows, width, min(n, samples - p * n), scratch, like)


@kernel
def units_of(layers):
    """The units of layers 1 to L."""
    last = len(layers) - 1
    return layers[last, at.FIRST_UNIT] + layers[last, at.SIZE]


@part
def _penalty(row, count, hyper, scratch, like):
    """l2 / 2 sum W^2 + l1 sum |W| of some weights."""
    penalty = 0.5 * hyper[L2] * sum_of_powers(row, count, 2, scratch, like)
    if hyper[L1] > 0.0:
        penalty += hyper[L1] * sum_of_powers(row, count, 1, scratch, like)
    return penalty


@kernel
def penalties(job, layers, theta, hyper, slice_, slices, scratch, like):
    """The penalty of each row of the weights, or of each half of it, for one slice of all rows."""
    size, sums, units = itemsize(like), job[at.UNIT_SUMS], units_of(layers)
    u0, u1 = slice_ * units // slices, (slice_ + 1) * units // slices
    for l in range(1, len(layers)):
        first, n_in, half = layers[l, at.FIRST_UNIT], layers[l - 1, at.SIZE], layers[l, at.HALF]
        for u in range(max(u0, first), min(u1, first + layers[l, at.SIZE])):
            row = theta + (layers[l, at.WEIGHTS] + (u - first) * n_in) * size
            some = half if half > 0 else n_in
            store(sums + u * 8, _penalty(row, some, hyper, scratch, like))
            if half > 0:
                store(sums + (2 * units + u) * 8, _penalty(row + half * size, n_in - half, hyper, scratch, like))


@kernel
def sum_penalties(job, layers, last):
    """The sum of the penalties of layers 1 to `last`: where the network may be halved, of one half, then the other."""
    sums, units, half = job[at.UNIT_SUMS], units_of(layers), layers[2, at.HALF] if len(layers) > 2 else 0
    total = second = 0.0
    for u in range(layers[last, at.FIRST_UNIT] + layers[last, at.SIZE]):
        if 0 < half <= u < layers[1, at.SIZE]:
            second += load_double(sums + u * 8)
        else:
            total += load_double(sums + u * 8)
    if half > 0:
        first = layers[2, at.FIRST_UNIT]
        for u in range(first, first + layers[2, at.SIZE]):
            second += load_double(sums + (2 * units + u) * 8)
    return total + second


@kernel
def samples_task(job, layers, theta, step, first, row, samples, end, phase, slice_, scratch, like):
    """Phase ENTRY or PASS for one slice of a block. Returns 0, or NaN where a loss or a checked input is not finite.

    In ORDER the samples of the step begin at place `first`, those of the block at `row`; the job's end before `end`.
    """
    panels, outputs = panel_count(samples, like), layers[1, at.SIZE]
    p0, p1 = slice_ * panels // job[at.SLICES], (slice_ + 1) * panels // job[at.SLICES]
    o0, o1 = 0, outputs
    check = const(like, 0.0)
    learning = job[at.UPDATE] != NO_GRADIENT or job[at.INPUT_GRADIENT] != 0
    own = _own_inputs(job, slice_, like)
    if phase == ENTRY:
        if job[at.INPUT_COPIES] != 0:
            p0, p1 = 0, panels
            o0 = share_of_outputs(slice_, job[at.SLICES], outputs)
            o1 = share_of_outputs(slice_ + 1, job[at.SLICES], outputs)
        check += gather_inputs(job, layers, row, samples, end, own, p0 + job[at.GATHERED], p1, scratch, like)
    if p1 > p0:
        _forward_pass(
            job, layers, theta, step, phase, own, row - first, panels, p0, p1, o0, o1, learning, scratch, like
        )
        if phase == PASS:
            weights = load_double(weight_sum_at(job, slice_, like))
            check += _output_layer(job, layers, row, samples, weights, p0, p1, learning, scratch, like)
            if learning:
                _backward_pass(job, layers, theta, row, samples, p0, p1, scratch, like)
    return check


@kernel
def gradient_task(job, layers, theta, step, samples, is_first, is_last, l, first, last, slice_, scratch, like):
    """dW[l] and db[l], eqs. (24) and (25), of some outputs over one block of `samples`, the first, last or between.

    With the last, FUSED_SGD makes the update. A[0] is that of a slice.
    """
    n, size = line(like), itemsize(like)
    work = job[at.WORKSPACE]
    panels, n_in, stride = panel_count(samples, like), layers[l - 1, at.SIZE], layers[l, at.STRIDE]
    rate = load_double(job[at.RATES] + step * 8) if job[at.UPDATE] > GRADIENT else 0.0
    sgd = job[at.UPDATE] == FUSED_SGD and is_last
    weights, biases = layers[l, at.WEIGHTS] * size, layers[l, at.BIASES] * size
    deltas = work + layers[l, at.DELTAS] * size
    gradient_at = job[at.GRADIENT_AT]
    units = work + layers[l - 1, at.UNITS] * size + (_own_inputs(job, slice_, like) if l == 1 else 0)
    begin, begin_at = ZERO if is_first else CONTINUE, gradient_at + weights
    epilogue, result = TILE_SGD if sgd else STORE, (theta if sgd else gradient_at) + weights
    if _is_from_panels(layers, l, panels, like):
        inputs = panel_at(job, layers, l - 1, at.PANELS, 0, like) + (_own_inputs(job, slice_, like) if l == 1 else 0)
        gradient_from_panels(
            deltas, stride, inputs, layers[l - 1, at.STRIDE], n_in, first, last, panels, begin, begin_at, epilogue,
            result, const(like, rate),
        )  # fmt: skip
    else:
        gradient(
            deltas, stride, units, job[at.BLOCK] * n, n_in, first, last, panels, begin, begin_at, epilogue, result,
            scratch, const(like, rate),
        )  # fmt: skip
    bias_gradient(
        deltas, stride, first, last, panels, ZERO if is_first else CONTINUE, work + layers[l, at.BIAS_SUMS] * size,
        epilogue if is_last else KEEP, (theta if sgd else gradient_at) + biases, const(like, rate),
    )  # fmt: skip


@part
def _stretch(layers, l, bias, first, last, like):
    """Where the weights or the biases of some outputs lie among the parameters: bytes before them, and their number."""
    n_in = 1 if bias else layers[l - 1, at.SIZE]
    return (layers[l, at.BIASES if bias else at.WEIGHTS] + first * n_in) * itemsize(like), (last - first) * n_in


@part
def update_task(job, layers, theta, hyper, step, batch, weight_sum, l, first, last, scratch, like):
    """What follows on the gradient of some outputs: the update, or where it is clipped the norm.

    Where the gradient is wanted, or its norm, those of the parts and of the penalties are added up first.
    """
    n_in, size, result = layers[l - 1, at.SIZE], itemsize(like), job[at.GRADIENT_AT]
    gradients, places = result, WHOLE
    if job[at.PARTS] > 1:
        gradients, places = job[at.PART_GRADIENTS], _places_of_parts(job, step, batch, parameter_count(layers) * size)
    l1 = l2 = 0.0
    if job[at.PENALTY] != at.NO_PENALTY:
        share = reciprocal(weight_sum) if job[at.PENALTY] == at.PENALTY_PER_SAMPLE else 1.0
        l1, l2 = hyper[L1] * share, hyper[L2] * share
    if job[at.UPDATE] > FUSED_SGD and job[at.CLIP] == 0:
        _update(job, layers, theta, hyper, step, gradients, places, 1.0, l1, l2, l, first, last, like)
    elif gradients != result or job[at.PENALTY] != at.NO_PENALTY:
        for bias in range(2):
            start, count = _stretch(layers, l, bias, first, last, like)
            add_gradients(
                theta + start, gradients + start, places,
                0.0 if bias else l1, 0.0 if bias else l2, count, result + start, like,
            )  # fmt: skip
    if job[at.CLIP] != 0:
        for o in range(first, last):
            norm = sum_of_powers(result + (layers[l, at.WEIGHTS] + o * n_in) * size, n_in, 2, scratch, like)
            slope = np.float64(load_scalar(result + (layers[l, at.BIASES] + o) * size, like))
            store(job[at.UNIT_SUMS] + (units_of(layers) + layers[l, at.FIRST_UNIT] + o) * 8, norm + slope * slope)


@kernel
def _update(job, layers, theta, hyper, step, gradients, places, scale, l1, l2, l, first, last, like):
    """Apply the optimizer to some outputs of a layer; the parts' gradients begin at `gradients`."""
    s1, s2 = job[at.STATE_1], job[at.STATE_2]
    rate, t = load_double(job[at.RATES] + step * 8), job[at.DONE_STEPS] + step + 1
    for bias in range(2):
        start, count = _stretch(layers, l, bias, first, last, like)
        update(
            job[at.UPDATE], theta + start, gradients + start, places,
            s1 + start if s1 != 0 else 0, s2 + start if s2 != 0 else 0, count, rate, scale,
            0.0 if bias else l1, 0.0 if bias else l2, bias == 0 or hyper[DECAY_BIASES] != 0.0, hyper, t, like,
        )  # fmt: skip


@kernel
def input_check(job, layers, scratch, like):
    """0, or NaN where the inputs of a gradient are not finite: then no row of dW[1] is, even where dZ[1] is 0."""
    first_row = job[at.GRADIENT_AT] + layers[1, at.WEIGHTS] * itemsize(like)
    return 0.0 * sum_of_powers(first_row, layers[0, at.SIZE], 1, scratch, like)


@part
def clipped_update_task(job, layers, tasks, theta, hyper, step, task, like):
    """Phase 4 for one row of `tasks`: the update with the gradient scaled down to a norm of at most CLIP_NORM."""
    units, total = units_of(layers), 0.0
    for u in range(units):
        total += load_double(job[at.UNIT_SUMS] + (units + u) * 8)
    scale = min(hyper[CLIP_NORM] / (np.sqrt(total) + 1e-6), 1.0)  # as PyTorch's clip_grad_norm_
    l, first, last = tasks[task, at.TASK_LAYER], tasks[task, at.TASK_FIRST], tasks[task, at.TASK_LAST]
    _update(job, layers, theta, hyper, step, job[at.GRADIENT_AT], WHOLE, scale, 0.0, 0.0, l, first, last, like)
