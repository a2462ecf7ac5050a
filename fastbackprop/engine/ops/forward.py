"""A[1] to A[L - 1], eqs. (3) and (4), and Z[L] in the place of A[L]; dropout; the units of each layer."""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.activations import activate_sum
from fastbackprop.engine.codes import IDENTITY
from fastbackprop.engine.dropout import drop, layer_key
from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.operations import Operation, operation
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
from fastbackprop.engine.product import make_forward
from fastbackprop.engine.simd import itemsize, line, load_int


def _forward_layer(packs):
    forward = make_forward(packs)

    def forward_layer(job, op, layers, like):
        """A[l] of a slice and, where they are wanted, the slopes g'(Z[l])."""
        l, size = op[at.LAYER], itemsize(like)
        p0, p1 = panels_of(job, op, like)
        if p1 > p0:
            n_in, pass_ = layers[l - 1, at.SIZE], layers[l, at.ACTIVATION_PASS]
            slopes = panel_at(job, layers, l, at.SLOPES, p0, like) if pass_ != 0 and learns(job) else 0
            forward(
                job[at.PARAMS] + layers[l, at.WEIGHTS] * size, n_in, n_in, layers[l, at.SIZE],
                job[at.PARAMS] + layers[l, at.BIASES] * size, panel_at(job, layers, l - 1, at.PANELS, p0, like),
                layers[l - 1, at.STRIDE], panel_at(job, layers, l, at.PANELS, p0, like), layers[l, at.STRIDE], slopes,
                layers[l, at.ACTIVATION], pass_, p1 - p0, job[at.SCRATCH], like,
            )  # fmt: skip
        return at.GO_ON

    return Operation(forward_layer, "forward_layer_packed" if packs else "forward_layer")


for _packs in (False, True):
    _forward_layer(_packs)


# ---------------------------------------------------------------- Z[2] as the sum of chains, one a unit shard


@inline
def shard_start(layers, s):
    """The first unit of shard `s` of layer 1; of the one after the last, the number of all."""
    return load_int(layers[2, at.SHARD_STARTS] + s * 8)


@inline
def sums_bytes(job, layers, like):
    """From one of UNIT_SHARD_SUMS to the next."""
    return job[at.BLOCK] * layers[2, at.STRIDE] * itemsize(like)


@kernel
def shard_sums_at(job, layers, number, p, like):
    """The address of panel p of one of UNIT_SHARD_SUMS."""
    panel_bytes = layers[2, at.STRIDE] * line(like) * itemsize(like)
    start = job[at.WORKSPACE] + job[at.UNIT_SHARD_SUMS] * itemsize(like)
    return start + number * sums_bytes(job, layers, like) + p * panel_bytes


def _sum_shard(packs):
    forward = make_forward(packs)

    @kernel
    def sum_shard(job, layers, shard, biases, result, p0, p1, like):
        """b[2] + W[2] A[1] over the units of a shard; without an address of biases there are none."""
        size, n_in, first, last = itemsize(like), layers[1, at.SIZE], NIL, layers[1, at.SIZE]
        if layers[2, at.UNIT_SHARDS] > 1:
            first, last = shard_start(layers, shard), shard_start(layers, shard + 1)
        forward(
            job[at.PARAMS] + (layers[2, at.WEIGHTS] + first) * size, n_in, last - first, layers[2, at.SIZE], biases,
            panel_at(job, layers, NIL + 1, at.PANELS, p0, like) + first * line(like) * size, layers[1, at.STRIDE],
            result, layers[2, at.STRIDE], NIL, NIL + IDENTITY, NIL, p1 - p0, job[at.SCRATCH], like,
        )  # fmt: skip

    return sum_shard


SUM_SHARD = {packs: _sum_shard(packs) for packs in (False, True)}


@kernel
def add_shards(job, layers, sums, sums_bytes, count, p0, p1, like):
    """A[2], or Z[L] in its place, from the sums that make Z[2]: `sums`, of the first the address of its panel p0."""
    l, panel_bytes = 2, layers[2, at.STRIDE] * line(like) * itemsize(like)
    for p in range(p0, p1):
        slopes = panel_at(job, layers, l, at.SLOPES, p, like) if learns(job) else 0
        activate_sum(
            layers[l, at.ACTIVATION], layers[l, at.ACTIVATION_PASS], sums + (p - p0) * panel_bytes, sums_bytes, count,
            panel_at(job, layers, l, at.PANELS, p, like), slopes, layers[l, at.SIZE], like,
        )  # fmt: skip


def _forward_unit_shards(packs):
    sum_shard = SUM_SHARD[packs]

    def forward_unit_shards(job, op, layers, like):
        """A[2] of a slice, where Z[2] is the sum of chains, one over each shard of its inputs."""
        p0, p1 = panels_of(job, op, like)
        if p1 > p0:
            biases = job[at.PARAMS] + layers[2, at.BIASES] * itemsize(like)
            for shard in range(layers[2, at.UNIT_SHARDS]):
                result = shard_sums_at(job, layers, shard, p0, like)
                sum_shard(job, layers, shard, biases if shard == 0 else NIL, result, p0, p1, like)
            sums, count = shard_sums_at(job, layers, NIL, p0, like), layers[2, at.UNIT_SHARDS]
            add_shards(job, layers, sums, sums_bytes(job, layers, like), count, p0, p1, like)
        return at.GO_ON

    return Operation(forward_unit_shards, "forward_unit_shards_packed" if packs else "forward_unit_shards")


for _packs in (False, True):
    _forward_unit_shards(_packs)


# ---------------------------------------------------------------- what follows on A[l] in a training


@operation
def drop_units(job, op, layers, like):
    """Dropout in hidden layer l of a slice; FIRST is the number of its first unit."""
    l, n = op[at.LAYER], line(like)
    p0, p1 = panels_of(job, op, like)
    probability = drop_probability(job, l)
    key = layer_key(job[at.DROPOUT_KEY], job[at.DONE_STEPS] + job[at.STEP], l)
    for p in range(p0, p1 if probability > 0.0 else p0):
        drop(
            probability, key, job[at.ROW] - job[at.STEP_ROW] + p * n, layers[l, at.ACTIVATION], op[at.FIRST],
            layers[l, at.SIZE], panel_at(job, layers, l, at.PANELS, p, like),
            panel_at(job, layers, l, at.SLOPES, p, like), like,
        )  # fmt: skip
    return at.GO_ON


@operation
def transpose_units(job, op, layers, like):
    """The units of layer l of a slice, where the gradient of the next layer is made from them."""
    l = op[at.LAYER]
    p0, p1 = panels_of(job, op, like)
    if not is_from_panels(layers, l + 1, panel_count(job[at.ROWS], like), like):
        for p in range(p0, p1):
            panel_to_units(
                panel_at(job, layers, l, at.PANELS, p, like), layers[l, at.SIZE], units_at(job, layers, l, p, like),
                job[at.BLOCK] * line(like), like,
            )  # fmt: skip
    return at.GO_ON
