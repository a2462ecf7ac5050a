"""A[1] to A[L - 1], eqs. (3) and (4), and Z[L] in the place of A[L]; dropout; the units of each layer."""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.activations import activate_sum
from fastbackprop.engine.codes import IDENTITY
from fastbackprop.engine.dropout import drop, layer_key
from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.operations import operation
from fastbackprop.engine.panels import panel_to_units
from fastbackprop.engine.places import (
    drop_probability,
    is_from_panels,
    learns,
    panel_at,
    panel_count,
    panels_of,
    units_at,
)
from fastbackprop.engine.product import call_forward
from fastbackprop.engine.simd import itemsize, line, load_int


@operation
def forward_layer(job, op, layers, like):
    """A[l] of a slice and, where they are wanted, the slopes g'(Z[l])."""
    l, size = op.layer, itemsize(like)
    p0, p1 = panels_of(job, op, like)
    if p1 > p0:
        n_in, pass_ = layers[l - 1].size, layers[l].activation_pass
        slopes = panel_at(job, layers, l, layers[l].slopes, p0, like) if pass_ != 0 and learns(job) else 0
        call_forward(
            op.product, job.params + layers[l].weights * size, n_in, n_in, layers[l].size,
            job.params + layers[l].biases * size, panel_at(job, layers, l - 1, layers[l - 1].panels, p0, like),
            layers[l - 1].stride, panel_at(job, layers, l, layers[l].panels, p0, like), layers[l].stride, slopes,
            layers[l].activation, pass_, p1 - p0, job.scratch,
        )  # fmt: skip
    return at.GO_ON


# ---------------------------------------------------------------- Z[2] as the sum of chains, one a unit shard


@inline
def shard_start(layers, s):
    """The first unit of shard `s` of layer 1; of the one after the last, the number of all."""
    return load_int(layers[2].shard_starts + s * 8)


@inline
def sums_bytes(job, layers, like):
    """From one of UNIT_SHARD_SUMS to the next."""
    return job.block * layers[2].stride * itemsize(like)


@kernel
def shard_sums_at(job, layers, number, p, like):
    """The address of panel p of one of UNIT_SHARD_SUMS."""
    panel_bytes = layers[2].stride * line(like) * itemsize(like)
    start = job.workspace + job.unit_shard_sums * itemsize(like)
    return start + number * sums_bytes(job, layers, like) + p * panel_bytes


@kernel
def sum_shard(job, op, layers, shard, biases, result, p0, p1, like):
    """b[2] + W[2] A[1] over the units of a shard; without an address of biases there are none."""
    size, n_in, first, last = itemsize(like), layers[1].size, NIL, layers[1].size
    if layers[2].unit_shards > 1:
        first, last = shard_start(layers, shard), shard_start(layers, shard + 1)
    call_forward(
        op.product, job.params + (layers[2].weights + first) * size, n_in, last - first, layers[2].size, biases,
        panel_at(job, layers, NIL + 1, layers[1].panels, p0, like) + first * line(like) * size, layers[1].stride,
        result, layers[2].stride, NIL, NIL + IDENTITY, NIL, p1 - p0, job.scratch,
    )  # fmt: skip


@kernel
def add_shards(job, layers, sums, sums_bytes, count, p0, p1, like):
    """A[2], or Z[L] in its place, from the sums that make Z[2]: `sums`, of the first the address of its panel p0."""
    l, panel_bytes = 2, layers[2].stride * line(like) * itemsize(like)
    for p in range(p0, p1):
        slopes = panel_at(job, layers, l, layers[l].slopes, p, like) if learns(job) else 0
        activate_sum(
            layers[l].activation, layers[l].activation_pass, sums + (p - p0) * panel_bytes, sums_bytes, count,
            panel_at(job, layers, l, layers[l].panels, p, like), slopes, layers[l].size, like,
        )  # fmt: skip


@operation
def forward_unit_shards(job, op, layers, like):
    """A[2] of a slice, where Z[2] is the sum of chains, one over each shard of its inputs."""
    p0, p1 = panels_of(job, op, like)
    if p1 > p0:
        biases = job.params + layers[2].biases * itemsize(like)
        for shard in range(layers[2].unit_shards):
            result = shard_sums_at(job, layers, shard, p0, like)
            sum_shard(job, op, layers, shard, biases if shard == 0 else NIL, result, p0, p1, like)
        sums, count = shard_sums_at(job, layers, NIL, p0, like), layers[2].unit_shards
        add_shards(job, layers, sums, sums_bytes(job, layers, like), count, p0, p1, like)
    return at.GO_ON


# ---------------------------------------------------------------- what follows on A[l] in a training


@operation
def drop_units(job, op, layers, like):
    """Dropout in hidden layer l of a slice; FIRST is the number of its first unit."""
    l, n = op.layer, line(like)
    p0, p1 = panels_of(job, op, like)
    probability = drop_probability(job, l)
    key = layer_key(job.dropout_key, job.done_steps + job.step, l)
    for p in range(p0, p1 if probability > 0.0 else p0):
        drop(
            probability, key, job.row - job.step_row + p * n, layers[l].activation, op.first,
            layers[l].size, panel_at(job, layers, l, layers[l].panels, p, like),
            panel_at(job, layers, l, layers[l].slopes, p, like), like,
        )  # fmt: skip
    return at.GO_ON


@operation
def transpose_units(job, op, layers, like):
    """The units of layer l of a slice, where the gradient of the next layer is made from them."""
    l = op.layer
    p0, p1 = panels_of(job, op, like)
    if not is_from_panels(layers, l + 1, panel_count(job.rows, like), like):
        for p in range(p0, p1):
            panel_to_units(
                panel_at(job, layers, l, layers[l].panels, p, like), layers[l].size, units_at(job, layers, l, p, like),
                job.block * line(like), like,
            )  # fmt: skip
    return at.GO_ON
