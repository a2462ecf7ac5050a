"""What follows on the gradient of some outputs: sums over sample shards, penalties, norms, the update."""

from __future__ import annotations

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.addresses import doubles_at
from fastbackprop.engine.codes import CLIP_NORM, DECAY_BIASES, HYPER_FIELDS, L1, L2, OPTIMIZERS
from fastbackprop.engine.jit import inline, kernel
from fastbackprop.engine.operations import Operation, operation
from fastbackprop.engine.places import (
    learning_rate,
    parameter_count,
    reciprocal,
    shard_at,
    shard_count,
    unit_count,
    weight_sum,
)
from fastbackprop.engine.simd import itemsize, load_double, load_scalar, store
from fastbackprop.engine.update import FORMULAS, WHOLE, add_gradients, make_update, sum_of_powers


@kernel
def _gradients(job, layers, like):
    """Where the gradient lies: the whole batch's, or those of its shards, with `places` as `update` takes them."""
    if job.sample_shards == 1:
        return job.gradient_at, WHOLE
    shard_bytes = parameter_count(layers) * itemsize(like)
    first = shard_at(job, job.step, 0) * shard_bytes
    return job.shard_gradients, (first, shard_count(job), (job.sample_shards - 1) * shard_bytes, shard_bytes)


@inline
def _stretch(op, layers, bias, like):
    """Where the weights or the biases of some outputs lie among the parameters: bytes before them, and their number."""
    l, n_in = op.layer, 1 if bias else layers[op.layer - 1].size
    start = (layers[l].biases if bias else layers[l].weights) + op.first * n_in
    return start * itemsize(like), (op.last - op.first) * n_in


@kernel
def _penalty_factors(job, hyper, like):
    """l1 and l2, as they are in the gradient of the step's cost."""
    if job.penalty == at.NO_PENALTY:
        return 0.0, 0.0
    share = reciprocal(weight_sum(job, 0, like)) if job.penalty == at.PENALTY_PER_SAMPLE else 1.0
    return hyper[L1] * share, hyper[L2] * share


def _make_apply(code, formula):
    update = make_update(formula)

    @kernel
    def apply_to(job, op, layers, hyper, gradients, places, scale, l1, l2, like):
        s1, s2, params = job.state_1, job.state_2, job.params
        rate, t = learning_rate(job), job.done_steps + job.step + 1
        for bias in range(2):
            start, count = _stretch(op, layers, bias, like)
            update(
                params + start, gradients + start, places, s1 + start if s1 != 0 else 0, s2 + start if s2 != 0 else 0,
                count, rate, scale, 0.0 if bias else l1, 0.0 if bias else l2,
                bias == 0 or hyper[DECAY_BIASES] != 0.0, hyper, t, like,
            )  # fmt: skip

    def apply(job, op, layers, like):
        if job.ends != 0:
            hyper = doubles_at(job.hyper, HYPER_FIELDS)
            gradients, places = _gradients(job, layers, like)
            l1, l2 = _penalty_factors(job, hyper, like)
            apply_to(job, op, layers, hyper, gradients, places, 1.0, l1, l2, like)
        return at.GO_ON

    def apply_clipped(job, op, layers, like):
        hyper = doubles_at(job.hyper, HYPER_FIELDS)
        units, total = unit_count(layers), 0.0
        for u in range(units):
            total += load_double(job.unit_sums + (units + u) * 8)
        scale = min(hyper[CLIP_NORM] / (np.sqrt(total) + 1e-6), 1.0)  # as PyTorch's clip_grad_norm_
        apply_to(job, op, layers, hyper, job.gradient_at, WHOLE, scale, 0.0, 0.0, like)
        return at.GO_ON

    apply.__doc__ = f"The update of outputs FIRST to LAST - 1, after the last block: {formula.__doc__}"
    apply_clipped.__doc__ = f"{apply.__doc__} With the gradient scaled down to a norm of at most CLIP_NORM."
    Operation(apply, f"apply_{OPTIMIZERS[code]}")
    Operation(apply_clipped, f"apply_clipped_{OPTIMIZERS[code]}")


for _code, _formula in FORMULAS.items():
    _make_apply(_code, _formula)


@operation
def add_up(job, op, layers, like):
    """The gradient of some outputs as it is wanted, or clipped: the sum of those of the shards and of the penalties."""
    if job.ends != 0:
        hyper = doubles_at(job.hyper, HYPER_FIELDS)
        gradients, places = _gradients(job, layers, like)
        l1, l2 = _penalty_factors(job, hyper, like)
        for bias in range(2):
            start, count = _stretch(op, layers, bias, like)
            add_gradients(
                job.params + start, gradients + start, places, 0.0 if bias else l1, 0.0 if bias else l2, count,
                job.gradient_at + start, like,
            )  # fmt: skip
    return at.GO_ON


@operation
def square_norm(job, op, layers, like):
    """The square of the norm of the gradient of each of some outputs."""
    l, n_in, size = op.layer, layers[op.layer - 1].size, itemsize(like)
    if job.ends != 0:
        for o in range(op.first, op.last):
            row = job.gradient_at + (layers[l].weights + o * n_in) * size
            norm = sum_of_powers(row, n_in, 2, job.scratch, like)
            slope = np.float64(load_scalar(job.gradient_at + (layers[l].biases + o) * size, like))
            store(job.unit_sums + (unit_count(layers) + layers[l].first_unit + o) * 8, norm + slope * slope)
    return at.GO_ON
