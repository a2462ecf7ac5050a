"""A step in parts: each part of the batch goes all the way to a gradient of its own; these are added in their order.

Where a network is small beside its batch, gradients are less to hand from thread to thread than activations. How a
batch is divided depends on its size and the network's shape only, so the bits do not depend on the threads. A part is
done as a job of one slice, block after block, in a workspace that belongs to the thread.
"""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import NIL, kernel, part
from fastbackprop.engine.product import ask
from fastbackprop.engine.simd import LINE_BYTES, itemsize, load_double, store
from fastbackprop.engine.step import (
    ENTRY,
    PASS,
    add_losses,
    batch_size,
    first_row,
    gather_inputs,
    gradient_task,
    panel_count,
    parameter_count,
    part_at,
    parts_of,
    penalties,
    samples_task,
    sum_weights,
    weight_sum_at,
)


@part
def _forget_others(own, step, number):
    """From now on GATHERED counts panels of this part of this step: none, where those gathered are another part's."""
    gathered_for = step * own[at.PARTS] + number + 1
    if own[at.GATHERED_FOR] != gathered_for:
        own[at.GATHERED], own[at.GATHERED_FOR] = 0, gathered_for


@part
def gather_ahead(own, layers, step, place, end, like):
    """Gather a panel more of the part at `place` in the step after `step`. Returns whether there was one."""
    if own[at.CHECK_INPUTS] != 0 or step + 1 == own[at.STEPS]:
        return False
    number = part_at(own, step + 1, place)
    _forget_others(own, step + 1, number)
    start, p = number * own[at.PART_SIZE], own[at.GATHERED]
    samples = min(own[at.BLOCK], own[at.PART_SIZE], batch_size(own, step + 1) - start)
    if p >= panel_count(samples, like):
        return False
    row, scratch = first_row(own, step + 1) + start, own[at.WORKSPACE] + own[at.SCRATCH] * itemsize(like)
    gather_inputs(own, layers, row, samples, end, 0, p, p + 1, scratch, like)
    own[at.GATHERED] = p + 1
    return True


@part
def part_task(own, layers, theta, hyper, step, first, batch, end, place, like):
    """The gradient of one part of a step's samples, and the sum of its losses; `own` is the thread's job.

    Returns 0, or NaN where a loss or a checked input is not finite.
    """
    number = part_at(own, step, place)
    start, check = number * own[at.PART_SIZE], like * 0
    count = min(own[at.PART_SIZE], batch - start)
    scratch = own[at.WORKSPACE] + own[at.SCRATCH] * itemsize(like)
    param_bytes = parameter_count(layers) * itemsize(like)
    own[at.GRADIENT_AT] = own[at.PART_GRADIENTS] + place * param_bytes
    weights, losses = sum_weights(own, first, batch, like), 0.0
    store(weight_sum_at(own, 0, like), weights)
    if own[at.PENALTY] != at.NO_PENALTY:
        parts = parts_of(own, batch)  # where all exist, each place those of the weights that the same thread updates
        penalties(own, layers, theta, hyper, place if parts == own[at.PARTS] else number, parts, scratch, like)
    # The other threads have written most of the weights: their lines come all at once, while samples are gathered.
    ask(theta, 0, 1, param_bytes)
    _forget_others(own, step, number)
    for done in range(0, count, own[at.BLOCK]):
        samples, row = min(own[at.BLOCK], count - done), first + start + done
        for phase in range(ENTRY, PASS + 1):
            check += samples_task(own, layers, theta, step, first, row, samples, end, phase, NIL, scratch, like)
        own[at.GATHERED] = 0
        losses = add_losses(own, samples, 1.0, losses, like)
        for l in range(1, len(layers)):
            gradient_task(
                own, layers, theta, step, samples, done == 0, done + samples == count, l, NIL, layers[l, at.SIZE], NIL,
                scratch, like,
            )  # fmt: skip
    store(own[at.PART_SUMS] + number * LINE_BYTES, losses)
    store(own[at.PART_SUMS] + number * LINE_BYTES + 8, weights)
    return check


@kernel
def sum_of_parts_losses(job, batch):
    """The sum of a step's losses, part by part."""
    total = 0.0
    for number in range(parts_of(job, batch)):
        total += load_double(job[at.PART_SUMS] + number * LINE_BYTES)
    return total
