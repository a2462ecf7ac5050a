"""A step in unit shards: each thread has some units of the first hidden layer, with the weights before and behind them.

Where threads share a small batch, handing over activations or weights takes longer than to compute them. The sum
Z[2] = (b[2] + W[2] A[1] over the units of shard 0) + (W[2] A[1] over those of shard 1) + ... is the only thing that the
shards need of each other: n[2] numbers a sample. So each thread gathers the samples for itself and goes forward to its
share of Z[2]; the threads meet; each adds up Z[2], makes what follows on it, the outputs, the losses and dZ[2], of all
samples for itself, and with these the gradient and the update of its own weights. Layers after the second all have, and
change alike. The first part of the next step follows without another meeting.

How many shards there are follows from the network's shape: 2, 4 or 8. Fewer threads than shards have runs of them, all
of the same length: GROUPS. A group is to all but the sums Z[2] one network of its units. Neighbouring shards are added
first (`make_tree`), so what a group hands over is one sum, however many shards it has, and the bits are the same for
any number of groups, and where a step is not done in unit shards at all.

The weights of a group, and what the optimizer knows of them, are copied to its own workspace when a job begins, and
back when it ends: what lies beside them in the user's vector belongs to another group, and a processor would fetch it.
"""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.activations import sum_tree
from fastbackprop.engine.addresses import job_at, layers_at
from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.operations import operation
from fastbackprop.engine.ops.costs import add_costs, penalize, sum_doubles, sum_penalties
from fastbackprop.engine.ops.forward import add_shards, shard_sums_at, sum_shard, sums_bytes
from fastbackprop.engine.panels import load_part, store_part
from fastbackprop.engine.places import clock, enter_step, panel_count, parameter_count, weight_sum_at
from fastbackprop.engine.simd import itemsize, lanes, line, load_acquire, store


@inline
def _table_of(job, group):
    """The address of the table of a group's layers."""
    return job.group_tables + group * job.layer_count * at.LAYER_BYTES


@operation
def enter_group(job, op, layers, like):
    """Let the thread's job be that of group `slice`, and at the step that all threads are at.

    So begins each task: the thread may have done another group before, up to the next step. Where the vectors of the
    whole network lie, the job `main` still says.
    """
    enter_step(job, job.common_step)
    n, size, group = line(like), itemsize(like), op.slice
    main = job_at(job.main)
    own = layers_at(_table_of(job, group), job.layer_count)
    job.layers = _table_of(job, group)
    job.workspace = job.own_workspaces + group * job.own_workspace_bytes
    params = job.workspace + job.group_vectors * size
    vector_bytes = (parameter_count(own) + n - 1) // n * n * size
    job.params, job.gradient_at = params, params + vector_bytes
    job.state_1 = params + 2 * vector_bytes if main.state_1 != 0 else 0
    job.state_2 = params + 3 * vector_bytes if main.state_2 != 0 else 0
    job.unit_sums = params + 4 * vector_bytes
    return at.GO_ON


@kernel
def _move(whole, own, count, leaves, like):
    """Copy some elements from one address to another, or back where they leave."""
    n, size = lanes(like), itemsize(like)
    src, dst = (own, whole) if leaves else (whole, own)
    for i in range(0, count, n):
        store_part(dst + i * size, load_part(src + i * size, count - i, like), count - i, like)


@kernel
def _move_vector(layers, first, units, whole, own, leaves, like):
    """Copy a group's elements of a vector like the parameters to its own vector, or back where they leave.

    `first`: its first unit of layer 1, of the `units` of all groups.
    """
    size = itemsize(like)
    n_in, count, n_out = layers[0].size, layers[1].size, layers[2].size
    _move(whole + first * n_in * size, own, count * n_in, leaves, like)  # W[1]
    _move(whole + (units * n_in + first) * size, own + count * n_in * size, count, leaves, like)  # b[1]
    whole, own = whole + units * (n_in + 1) * size, own + count * (n_in + 1) * size
    for row in range(n_out):  # of W[2]
        _move(whole + (row * units + first) * size, own + row * count * size, count, leaves, like)
    if first == 0 or not leaves:  # b[2] and what follows: all groups have them, and change them alike
        rest = parameter_count(layers) - count * (n_in + 1 + n_out)
        _move(whole + n_out * units * size, own + n_out * count * size, rest, leaves, like)


@kernel
def _move_vectors(job, layers, group, leaves, like):
    """Copy a group's parameters, and what the optimizer has, to vectors of its own; or all of it back."""
    main, first, units = job_at(job.main), NIL, NIL
    for other in range(job.groups):
        if other == group:
            first = units
        units += layers_at(_table_of(job, other), 2)[1].size
    _move_vector(layers, first, units, main.params, job.params, leaves, like)
    if main.state_1 != 0:
        _move_vector(layers, first, units, main.state_1, job.state_1, leaves, like)
    if main.state_2 != 0:
        _move_vector(layers, first, units, main.state_2, job.state_2, leaves, like)


@operation
def move_in(job, op, layers, like):
    """Copy what group `slice` has of the vectors."""
    _move_vectors(job, layers, op.slice, False, like)
    return at.GO_ON


@operation
def move_out(job, op, layers, like):
    """Copy it back."""
    _move_vectors(job, layers, op.slice, True, like)
    return at.GO_ON


@operation
def next_step(job, op, layers, like):
    """Go on to the next step; LEAVE after the last."""
    if job.step + 1 == job.steps:
        return at.LEAVE
    enter_step(job, job.step + 1)
    return at.GO_ON


@inline
def _of_first_group(job, address):
    """The address, of something in a group's workspace, in that of the first group."""
    return address - job.workspace + job.own_workspaces


@inline
def _penalty_at(job, like):
    """The address of the penalty of a group's weights: of one of two, by turns."""
    return weight_sum_at(job, 0, like) + (2 + job.step % 2) * 8


@operation
def penalize_group(job, op, layers, like):
    """The penalty of the weights of group `slice`."""
    penalize(job, layers, NIL, NIL + 1, like)
    last = len(layers) - 1 if op.slice == 0 else 2  # the layers that all have are the first group's
    store(_penalty_at(job, like), sum_penalties(job, layers, last))
    return at.GO_ON


@operation
def sum_own_shards(job, op, layers, like):
    """The share of group `slice` in Z[2], for the next turn."""
    shards, panels = layers[2].unit_shards, panel_count(job.rows, like)
    turn = shard_sums_at(job, layers, job.step % 2, NIL, like)
    biases = job.params + layers[2].biases * itemsize(like) if op.slice == 0 else NIL
    first = shard_sums_at(job, layers, NIL + 2, NIL, like) if shards > 1 else turn
    stride, panel_bytes = sums_bytes(job, layers, like), layers[2].stride * line(like) * itemsize(like)
    for shard in range(shards):
        sum_shard(
            job, op, layers, shard, biases if shard == 0 else NIL, first + shard * stride, NIL, panels, like
        )  # fmt: skip
    if shards > 1:
        for p in range(panels):
            start = first + p * panel_bytes
            sum_tree(start, stride, shards, turn + p * panel_bytes, layers[2].size, like)
    return at.GO_ON


@operation
def add_groups(job, op, layers, like):
    """A[2], or Z[L] in its place, from the shares of all groups in Z[2]."""
    sums = _of_first_group(job, shard_sums_at(job, layers, job.step % 2, NIL, like))
    add_shards(
        job, layers, sums, job.own_workspace_bytes, job.groups, NIL, panel_count(job.rows, like), like
    )  # fmt: skip
    return at.GO_ON


@operation
def count_costs_of_groups(job, op, layers, like):
    """The costs of a step; done by the first group."""
    penalty = 0.0
    if job.penalty != at.NO_PENALTY:
        penalty = sum_doubles(
            _of_first_group(job, _penalty_at(job, like)), job.own_workspace_bytes, job.groups, NIL
        )  # fmt: skip
    add_costs(job, penalty, load_acquire(clock(job) + at.FAILED_STEP * 8) != 0, like)
    return at.GO_ON
