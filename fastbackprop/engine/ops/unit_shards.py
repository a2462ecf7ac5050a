"""A step in unit shards: each is a network of half of the hidden units, in memory of its own.

Where two threads share a small batch, handing over activations or weights takes longer than to compute them. The sum
Z[2] = (b[2] + W[2] A[1] over half of the units) + (W[2] A[1] over the rest) is the only thing that the shards need
of each other: n[2] numbers a sample. So each gathers the samples for itself and goes forward to its share of Z[2]; the
threads meet; each adds up Z[2], makes what follows on it, the outputs, the losses and dZ[2], of all samples for itself,
and with these the gradient and the update of its own weights. Layers after the second both have, and change alike. The
first part of the next step follows without another meeting.

The weights of a shard, and what the optimizer knows of them, are copied to its own workspace when a job begins, and
back when it ends: what lies beside them in the user's vector belongs to another shard, and a processor would fetch it.
Z[2] is the sum of two chains where a step is not done in unit shards, too: the bits are the same.
"""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.addresses import layers_at, words_at
from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.operations import Operation, operation
from fastbackprop.engine.ops.costs import add_costs, penalize, sum_penalties
from fastbackprop.engine.ops.forward import SUM_SHARD, add_shards, shard_sums_at
from fastbackprop.engine.panels import load_part, store_part
from fastbackprop.engine.places import clock, enter_step, panel_count, parameter_count, weight_sum_at
from fastbackprop.engine.simd import itemsize, lanes, line, load_acquire, load_double, store


@inline
def _table_of(job, shard):
    """The address of the table of a shard's layers."""
    return job[at.SHARD_TABLES] + shard * job[at.LAYER_COUNT] * at.LAYER_FIELDS * 8


@operation
def enter_unit_shard(job, op, layers, like):
    """Let the thread's job be that of shard SLICE, and at the step that all threads are at.

    So begins each task: the thread may have done the other shard before, up to the next step. Where the vectors of
    the whole network lie, the job MAIN still says.
    """
    enter_step(job, job[at.COMMON_STEP])
    n, size, shard = line(like), itemsize(like), op[at.SLICE]
    main = words_at(job[at.MAIN], at.JOB_FIELDS)
    own = layers_at(_table_of(job, shard), job[at.LAYER_COUNT])
    job[at.LAYERS] = _table_of(job, shard)
    job[at.WORKSPACE] = job[at.OWN_WORKSPACES] + shard * job[at.OWN_WORKSPACE_BYTES]
    job[at.OTHER_SHARD] = job[at.OWN_WORKSPACE_BYTES] if shard == 0 else -job[at.OWN_WORKSPACE_BYTES]
    params = job[at.WORKSPACE] + job[at.SHARD_VECTORS] * size
    vector_bytes = (parameter_count(own) + n - 1) // n * n * size
    job[at.PARAMS], job[at.GRADIENT_AT] = params, params + vector_bytes
    job[at.STATE_1] = params + 2 * vector_bytes if main[at.STATE_1] != 0 else 0
    job[at.STATE_2] = params + 3 * vector_bytes if main[at.STATE_2] != 0 else 0
    job[at.UNIT_SUMS] = params + 4 * vector_bytes
    return at.GO_ON


@kernel
def _move(whole, own, count, leaves, like):
    """Copy some elements from one address to another, or back where they leave."""
    n, size = lanes(like), itemsize(like)
    src, dst = (own, whole) if leaves else (whole, own)
    for i in range(0, count, n):
        store_part(dst + i * size, load_part(src + i * size, count - i, like), count - i, like)


@kernel
def _move_vector(layers, shard, units, whole, own, leaves, like):
    """Copy a shard's elements of a vector like the parameters to its own vector, or back where they leave.

    `units`: those of layer 1 of both unit shards.
    """
    size = itemsize(like)
    n_in, count, n_out = layers[0, at.SIZE], layers[1, at.SIZE], layers[2, at.SIZE]
    first = 0 if shard == 0 else units - count
    _move(whole + first * n_in * size, own, count * n_in, leaves, like)  # W[1]
    _move(whole + (units * n_in + first) * size, own + count * n_in * size, count, leaves, like)  # b[1]
    whole, own = whole + units * (n_in + 1) * size, own + count * (n_in + 1) * size
    for row in range(n_out):  # of W[2]
        _move(whole + (row * units + first) * size, own + row * count * size, count, leaves, like)
    if shard == 0 or not leaves:  # b[2] and what follows: both unit shards have them, and change them alike
        rest = parameter_count(layers) - count * (n_in + 1 + n_out)
        _move(whole + n_out * units * size, own + n_out * count * size, rest, leaves, like)


@kernel
def _move_vectors(job, layers, shard, leaves, like):
    """Copy a shard's parameters, and what the optimizer has, to vectors of its own; or all of it back."""
    main = words_at(job[at.MAIN], at.JOB_FIELDS)
    units = layers_at(_table_of(job, NIL), 2)[1, at.SIZE] + layers_at(_table_of(job, NIL + 1), 2)[1, at.SIZE]
    for field in (at.PARAMS, at.STATE_1, at.STATE_2):
        if main[field] != 0:
            _move_vector(layers, shard, units, main[field], job[field], leaves, like)


@operation
def move_in(job, op, layers, like):
    """Copy what shard SLICE has of the vectors."""
    _move_vectors(job, layers, op[at.SLICE], False, like)
    return at.GO_ON


@operation
def move_out(job, op, layers, like):
    """Copy it back."""
    _move_vectors(job, layers, op[at.SLICE], True, like)
    return at.GO_ON


@operation
def next_step(job, op, layers, like):
    """Go on to the next step; LEAVE after the last."""
    if job[at.STEP] + 1 == job[at.STEPS]:
        return at.LEAVE
    enter_step(job, job[at.STEP] + 1)
    return at.GO_ON


@inline
def _penalty_at(job, like):
    """The address of the penalty of a shard's weights: of one of two, by turns."""
    return weight_sum_at(job, 0, like) + (2 + job[at.STEP] % 2) * 8


@operation
def penalize_unit_shard(job, op, layers, like):
    """The penalty of the weights of shard SLICE."""
    penalize(job, layers, NIL, NIL + 1, like)
    last = len(layers) - 1 if op[at.SLICE] == 0 else 2  # the layers that both have are the first shard's
    store(_penalty_at(job, like), sum_penalties(job, layers, last))
    return at.GO_ON


def _sum_own_shard(packs):
    sum_shard = SUM_SHARD[packs]

    def sum_own_shard(job, op, layers, like):
        """The share of shard SLICE in Z[2]."""
        share = shard_sums_at(job, layers, job[at.STEP] % 2, NIL, like)
        biases = job[at.PARAMS] + layers[2, at.BIASES] * itemsize(like) if op[at.SLICE] == 0 else NIL
        sum_shard(job, layers, NIL, layers[1, at.SIZE], biases, share, NIL, panel_count(job[at.ROWS], like), like)
        return at.GO_ON

    return Operation(sum_own_shard, "sum_own_shard_packed" if packs else "sum_own_shard")


for _packs in (False, True):
    _sum_own_shard(_packs)


@operation
def add_all_shards(job, op, layers, like):
    """A[2], or Z[L] in its place, from both shares of Z[2]."""
    share = shard_sums_at(job, layers, job[at.STEP] % 2, NIL, like)
    panels = panel_count(job[at.ROWS], like)
    other = share + job[at.OTHER_SHARD]
    first, second = (share, other) if op[at.SLICE] == 0 else (other, share)
    add_shards(job, layers, first, second, NIL, panels, like)
    return at.GO_ON


@operation
def count_costs_of_unit_shards(job, op, layers, like):
    """The costs of a step; done by the first shard."""
    penalty = 0.0
    if job[at.PENALTY] != at.NO_PENALTY:
        address = _penalty_at(job, like)
        penalty = load_double(address) + load_double(address + job[at.OTHER_SHARD])
    add_costs(job, penalty, load_acquire(clock(job) + at.FAILED_STEP * 8) != 0, like)
    return at.GO_ON
