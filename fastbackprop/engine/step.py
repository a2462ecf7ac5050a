"""One block of a training step in two phases, each a set of tasks that do not depend on each other.

1. `samples_task`, a slice of the block's samples: gather -> forward through all layers -> head -> all deltas back.
2. `weights_task`, some outputs of one layer: gradient over all samples of the block in their order, and the update.
"""

from __future__ import annotations

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.activations import IDENTITY, RELU, RELU0
from fastbackprop.engine.heads import head
from fastbackprop.engine.jit import NIL, kernel, part
from fastbackprop.engine.panels import gather, panel_to_rows, panel_to_units, transpose_line
from fastbackprop.engine.product import backward, forward, gradient
from fastbackprop.engine.simd import (
    const,
    fma,
    itemsize,
    lanes,
    line,
    load,
    load_double,
    load_first,
    load_int,
    load_scalar,
    splat,
    store,
    store_first,
)
from fastbackprop.engine.tile import CONTINUE, MASK, SCALE, STORE, ZERO
from fastbackprop.engine.tile import SGD as TILE_SGD
from fastbackprop.engine.update import GRADIENT, NO_GRADIENT, SGD, update


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
def block_size(job, step, block):
    """The number of samples of a block of a step, 0 for a block that a small last batch does not have."""
    return max(0, min(job[at.BLOCK], batch_size(job, step) - block * job[at.BLOCK]))


@kernel
def panel_count(samples, like):
    """Panels that hold so many samples."""
    return (samples + line(like) - 1) // line(like)


@kernel
def _fill(address, value, count, like):
    """The line of `value` in the first `count` lanes and 0 in the others."""
    for i in range(line(like)):
        store(address + i * itemsize(like), const(like, value if i < count else 0.0))


@kernel
def _gather_targets(job, row, count, outputs, panel, scratch, like):
    """A panel's targets: one line of class indices, or a line an output."""
    n, size = line(like), itemsize(like)
    order, targets = job[at.ORDER], job[at.TARGETS]
    if job[at.TARGET_KIND] == at.CLASSES:
        for s in range(n):
            k = row + min(s, count - 1)
            sample = load_int(order + k * 8) if order != 0 else k
            store(panel + s * size, const(like, load_int(targets + sample * 8)))
    else:
        gather(targets, job[at.TARGET_STRIDE], order, row, count, row, row + count, outputs, scratch, NIL, panel, like)


@kernel
def _panel(job, layers, l, field, p, like):
    """The address of panel p of layer l: of its PANELS, DELTAS or SLOPES."""
    return job[at.WORKSPACE] + (layers[l, field] + p * layers[l, at.STRIDE] * line(like)) * itemsize(like)


@kernel
def _units(job, layers, l, p, like):
    """The address of the samples of panel p in the first block of units of layer l."""
    return job[at.WORKSPACE] + (layers[l, at.UNITS] + p * line(like) * line(like)) * itemsize(like)


@part
def _gather_inputs(job, layers, row, samples, p0, p1, like):
    """A[0], as panels and as units."""
    n = line(like)
    final = job[at.STEPS] - 1
    end = first_row(job, final) + batch_size(job, final)
    for p in range(p0, p1):
        first = row + p * n
        ahead = first + job[at.BATCH]  # the same panel of the next step
        gather(
            job[at.INPUTS], job[at.INPUT_STRIDE], job[at.ORDER], first, min(n, samples - p * n), ahead, end,
            layers[0, at.SIZE], _units(job, layers, 0, p, like), job[at.BLOCK] * n,
            _panel(job, layers, 0, at.PANELS, p, like), like,
        )  # fmt: skip


@part
def _forward_pass(job, layers, theta, p0, p1, learning, scratch, like):
    """A[1] to A[L - 1], and Z[L] in the place of A[L]; for learning also the slopes and the units."""
    size, last = itemsize(like), len(layers) - 1
    for l in range(1, last + 1):
        activation = layers[l, at.ACTIVATION] if l < last else IDENTITY
        slopes = _panel(job, layers, l, at.SLOPES, p0, like) if learning and activation > RELU0 else 0
        forward(
            theta + layers[l, at.WEIGHTS] * size, layers[l - 1, at.SIZE], layers[l, at.SIZE],
            theta + layers[l, at.BIASES] * size, _panel(job, layers, l - 1, at.PANELS, p0, like),
            layers[l - 1, at.STRIDE], _panel(job, layers, l, at.PANELS, p0, like), layers[l, at.STRIDE], slopes,
            activation, p1 - p0, scratch, like,
        )  # fmt: skip
        if learning and l < last:
            for p in range(p0, p1):
                panel_to_units(
                    _panel(job, layers, l, at.PANELS, p, like), layers[l, at.SIZE], _units(job, layers, l, p, like),
                    job[at.BLOCK] * line(like), like,
                )  # fmt: skip


@part
def _output_layer(job, layers, row, samples, batch, p0, p1, learning, scratch, like):
    """o, the losses and dZ[L]. Returns 0, or NaN where a loss is not finite."""
    n, size, last = line(like), itemsize(like), len(layers) - 1
    outputs, stride, kind = layers[last, at.SIZE], layers[last, at.STRIDE], job[at.TARGET_KIND]
    scale, square = scratch, scratch + n * size
    check = const(like, 0.0)
    for p in range(p0, p1):
        first, exist = row + p * n, min(n, samples - p * n)
        panel = _panel(job, layers, last, at.PANELS, p, like)
        targets = job[at.WORKSPACE] + (job[at.TARGET_PANELS] + p * stride * n) * size
        losses = job[at.WORKSPACE] + (job[at.LOSSES] + p * n) * size
        deltas = _panel(job, layers, last, at.DELTAS, p, like) if learning else 0
        if kind != at.NO_TARGETS:
            _gather_targets(job, first, exist, outputs, targets, square, like)
            _fill(scale, 1.0 / batch, exist, like)
        head(layers[last, at.ACTIVATION], panel, outputs, kind, targets, deltas, losses, scale, like)
        if kind == at.CLASSES or kind == at.DENSE:
            for i in range(n):
                check += load_scalar(losses + i * size, like) * const(like, 0.0)
        if job[at.OUTPUTS] != 0:
            panel_to_rows(panel, outputs, job[at.OUTPUTS] + first * outputs * size, outputs, exist, square, like)
    return check


@part
def _backward_pass(job, layers, theta, row, samples, p0, p1, scratch, like):
    """dZ[L - 1] to dZ[1], eq. (17), and dX where it is wanted, eq. (16)."""
    n, size, last = line(like), itemsize(like), len(layers) - 1
    wants_dX = job[at.INPUT_GRADIENT] != 0
    for l in range(last - 1, -1 if wants_dX else 0, -1):
        activation = layers[l, at.ACTIVATION] if l > 0 else IDENTITY
        epilogue, field = SCALE, at.SLOPES
        if activation == IDENTITY:
            epilogue = STORE
        elif activation == RELU or activation == RELU0:
            epilogue, field = MASK, at.PANELS
        backward(
            theta + layers[l + 1, at.WEIGHTS] * size, layers[l, at.SIZE], layers[l + 1, at.SIZE],
            _panel(job, layers, l + 1, at.DELTAS, p0, like), layers[l + 1, at.STRIDE],
            _panel(job, layers, l, at.DELTAS, p0, like), layers[l, at.STRIDE],
            epilogue, _panel(job, layers, l, field, p0, like), p1 - p0, scratch, like,
        )  # fmt: skip
    if wants_dX:
        width = layers[0, at.SIZE]
        for p in range(p0, p1):
            rows = job[at.INPUT_GRADIENT] + (row + p * n) * width * size
            panel = _panel(job, layers, 0, at.DELTAS, p, like)
            panel_to_rows(panel, width, rows, width, min(n, samples - p * n), scratch, like)


@part
def samples_task(job, layers, params, step, block, slice_, scratch, like):
    """Phase 1 for one slice of a block. Returns 0, or NaN where a loss is not finite."""
    samples = block_size(job, step, block)
    panels = panel_count(samples, like)
    p0, p1 = slice_ * panels // job[at.SLICES], (slice_ + 1) * panels // job[at.SLICES]
    check = const(like, 0.0)
    if p1 > p0:
        theta = np.intp(params.ctypes.data)
        row = first_row(job, step) + block * job[at.BLOCK]
        learning = job[at.UPDATE] != NO_GRADIENT or job[at.INPUT_GRADIENT] != 0
        _gather_inputs(job, layers, row, samples, p0, p1, like)
        _forward_pass(job, layers, theta, p0, p1, learning, scratch, like)
        check = _output_layer(job, layers, row, samples, batch_size(job, step), p0, p1, learning, scratch, like)
        if learning:
            _backward_pass(job, layers, theta, row, samples, p0, p1, scratch, like)
    return check


@kernel
def _bias_gradient(deltas, stride, outputs, panels, fresh, sums, like):
    """Add dZ over panels, a line an output: the samples of equal lane are summed in their order."""
    step, n, size = line(like), lanes(like), itemsize(like)
    for i in range(0, outputs * step, n):
        total = splat(const(like, 0.0)) if fresh else load(sums + i * size, like)
        for p in range(panels):
            total = total + load(deltas + (p * stride * step + i) * size, like)
        store(sums + i * size, total)


@kernel
def _finish_biases(sums, outputs, sgd, result, rate, square, like):
    """db, eq. (25): the lanes of each sum, in their order; stored at `result`, or subtracted from it by SGD."""
    step, n, size = line(like), lanes(like), itemsize(like)
    for o in range(0, outputs, step):
        transpose_line(sums + o * step * size, step, square, step, like)
        for i in range(0, step, n):
            total = load(square + i * size, like)
            for lane in range(1, step):
                total = total + load(square + (lane * step + i) * size, like)
            exist = min(n, outputs - o - i)
            if exist > 0:
                target = result + (o + i) * size
                if sgd:
                    total = fma(splat(const(like, -rate)), total, load_first(target, exist, like))
                store_first(target, total, exist)


@part
def weights_task(job, layers, tasks, params, hyper, step, block, task, scratch, like):
    """Phase 2 for one row of `tasks`: gradient and update of some outputs of a layer."""
    n, size = line(like), itemsize(like)
    l, first, last = tasks[task, at.TASK_LAYER], tasks[task, at.TASK_FIRST], tasks[task, at.TASK_LAST]
    samples = block_size(job, step, block)
    code, work, theta = job[at.UPDATE], job[at.WORKSPACE], np.intp(params.ctypes.data)
    panels, n_in, stride = panel_count(samples, like), layers[l - 1, at.SIZE], layers[l, at.STRIDE]
    is_last = (block + 1) * job[at.BLOCK] >= batch_size(job, step)
    rate = load_double(job[at.RATES] + step * 8) if code > GRADIENT else 0.0
    sgd = code == SGD and is_last
    weights, biases = layers[l, at.WEIGHTS] * size, layers[l, at.BIASES] * size
    deltas = work + layers[l, at.DELTAS] * size
    gradient_at = job[at.GRADIENT_AT]
    gradient(
        deltas, stride, work + layers[l - 1, at.UNITS] * size, job[at.BLOCK] * n, n_in, first, last, panels,
        ZERO if block == 0 else CONTINUE, gradient_at + weights, TILE_SGD if sgd else STORE,
        (theta if sgd else gradient_at) + weights, const(like, rate),
    )  # fmt: skip
    sums = work + (layers[l, at.BIAS_SUMS] + first * n) * size
    _bias_gradient(deltas + first * n * size, stride, last - first, panels, block == 0, sums, like)
    if is_last:
        where = biases + first * size
        _finish_biases(sums, last - first, sgd, (theta if sgd else gradient_at) + where, rate, scratch, like)
        if code > SGD:
            t = job[at.DONE_STEPS] + step + 1
            s1, s2 = job[at.STATE_1], job[at.STATE_2]
            for start, count in ((weights + first * n_in * size, (last - first) * n_in), (where, last - first)):
                update(
                    code, theta + start, gradient_at + start, s1 + start, s2 + start if s2 != 0 else 0, count, rate,
                    hyper, t, like,
                )  # fmt: skip
