"""A step in halves: each half is a network of half of the hidden units, in memory of its own.

Where two threads share a small batch, handing over activations or weights takes longer than to compute them. The sum
Z[2] = (b[2] + W[2] A[1] over half of the units) + (W[2] A[1] over the rest) is the only thing that the halves need of
each other: n[2] numbers a sample. So each gathers the samples for itself and goes forward to its share of Z[2]; the
threads meet; each adds up Z[2], makes what follows on it, the outputs, the losses and dZ[2], of all samples for itself,
and with these the gradient and the update of its own weights. Layers after the second both have, and change alike. The
first part of the next step follows without another meeting.

The weights of a half, and what the optimizer knows of them, are copied to its own workspace when a job begins, and back
when it ends: what lies beside them in the user's vector belongs to the other half, and the processor would fetch it.
Z[2] is the sum of two chains where a step is not done in halves, too: the bits are the same.
"""

from __future__ import annotations

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import NIL, kernel, part
from fastbackprop.engine.panels import load_part, store_part
from fastbackprop.engine.simd import itemsize, lanes, line, load_double, store
from fastbackprop.engine.step import (
    ENTRY,
    PASS,
    batch_size,
    drop_and_transpose,
    first_row,
    gradient_task,
    half_sums_at,
    panel_count,
    parameter_count,
    penalties,
    samples_task,
    sum_half,
    sum_penalties,
    sum_weights,
    update_task,
    weight_sum_at,
)


@part
def enter_half(own, job, layers, half, like):
    """Let `own`, a thread's copy of the job, be that of a half. Returns the address of the half's parameters."""
    n, size = line(like), itemsize(like)
    workspace_bytes = job[at.OWN_WORKSPACE_SIZE] * size
    own[at.WORKSPACE] = job[at.OWN_WORKSPACES] + half * workspace_bytes
    own[at.OTHER_HALF] = workspace_bytes if half == 0 else -workspace_bytes
    theta = own[at.WORKSPACE] + job[at.HALF_VECTORS] * size
    vector_bytes = (parameter_count(layers) + n - 1) // n * n * size
    own[at.GRADIENT_AT] = theta + vector_bytes
    own[at.STATE_1] = theta + 2 * vector_bytes if job[at.STATE_1] != 0 else 0
    own[at.STATE_2] = theta + 3 * vector_bytes if job[at.STATE_2] != 0 else 0
    own[at.UNIT_SUMS] = theta + 4 * vector_bytes
    return theta


@kernel
def _move(whole, own, count, leaves, like):
    """Copy some elements from one address to another, or back where they leave."""
    n, size = lanes(like), itemsize(like)
    src, dst = (own, whole) if leaves else (whole, own)
    for i in range(0, count, n):
        store_part(dst + i * size, load_part(src + i * size, count - i, like), count - i, like)


@kernel
def _move_vector(tables, half, whole, own, leaves, like):
    """Copy a half's elements of a vector like the parameters to its own vector, or back where they leave."""
    size, layers = itemsize(like), tables[half]
    n_in, count, n_out = layers[0, at.SIZE], layers[1, at.SIZE], layers[2, at.SIZE]
    units = tables[0, 1, at.SIZE] + tables[1, 1, at.SIZE]
    first = 0 if half == 0 else units - count
    _move(whole + first * n_in * size, own, count * n_in, leaves, like)  # W[1]
    _move(whole + (units * n_in + first) * size, own + count * n_in * size, count, leaves, like)  # b[1]
    whole, own = whole + units * (n_in + 1) * size, own + count * (n_in + 1) * size
    for row in range(n_out):  # of W[2]
        _move(whole + (row * units + first) * size, own + row * count * size, count, leaves, like)
    if half == 0 or not leaves:  # b[2] and what follows: both halves have them, and change them alike
        rest = parameter_count(layers) - count * (n_in + 1 + n_out)
        _move(whole + n_out * units * size, own + n_out * count * size, rest, leaves, like)


@part
def move_vectors(own, job, tables, half, params, theta, leaves, like):
    """Copy a half's parameters to `theta`, and what the optimizer has to vectors of its own; or all of it back."""
    _move_vector(tables, half, params, theta, leaves, like)
    for field in (at.STATE_1, at.STATE_2):
        if job[field] != 0:
            _move_vector(tables, half, job[field], own[field], leaves, like)


@part
def _penalty_at(own, step, like):
    """The address of the penalty of a half's weights: of one of two, by turns."""
    return weight_sum_at(own, 0, like) + (2 + step % 2) * 8


@kernel
def penalty_of_halves(own, step, like):
    """The penalty of all weights; `own` is the job of the first half."""
    if own[at.PENALTY] == at.NO_PENALTY:
        return 0.0
    address = _penalty_at(own, step, like)
    return load_double(address) + load_double(address + own[at.OTHER_HALF])


@part
def begin_half(own, layers, theta, hyper, step, first_unit, end, scratch, like):
    """A step's samples forward to the half's share of Z[2]; its units are those from `first_unit` on."""
    first, samples = first_row(own, step), batch_size(own, step)
    panels = panel_count(samples, like)
    sums = weight_sum_at(own, 0, like)
    store(sums, sum_weights(own, first, samples, like))
    if own[at.PENALTY] != at.NO_PENALTY:
        penalties(own, layers, theta, hyper, NIL, NIL + 1, scratch, like)
        last = len(layers) - 1 if first_unit == 0 else 2  # the layers that both have are the first half's
        store(_penalty_at(own, step, like), sum_penalties(own, layers, last))
    check = samples_task(own, layers, theta, step, first, first, samples, end, NIL + ENTRY, NIL, scratch, like)
    store(sums + 8, np.float64(check))  # for `end_half`
    drop_and_transpose(own, layers, step, NIL + 1, first_unit, NIL, panels, NIL, panels, like)
    share, biases = half_sums_at(own, layers, step % 2, NIL, like), theta + layers[2, at.BIASES] * itemsize(like)
    biases = biases if first_unit == 0 else NIL
    sum_half(own, layers, theta, NIL, layers[1, at.SIZE], biases, share, NIL, panels, scratch, like)


@part
def end_half(own, layers, theta, hyper, step, end, scratch, like):
    """From both shares of Z[2] to the update of the half's weights.

    Returns 0, or NaN where a loss or a checked input is not finite: then there is no update.
    """
    first, samples = first_row(own, step), batch_size(own, step)
    sums = weight_sum_at(own, 0, like)
    check = load_double(sums + 8)
    check += samples_task(own, layers, theta, step, first, first, samples, end, NIL + PASS, NIL, scratch, like)
    if check == check:
        weights, whole = load_double(sums), samples > 0  # both the first and the last block
        for l in range(1, len(layers)):
            n_out = layers[l, at.SIZE]
            gradient_task(own, layers, theta, step, samples, whole, whole, l, NIL, n_out, NIL, scratch, like)
            update_task(own, layers, theta, hyper, step, samples, weights, l, NIL, n_out, scratch, like)
    return check
