"""Programs: a step as a table of operations, made for a network, what is to be done, and a number of threads.

A program is a list of phases, a phase a list of tasks that do not depend on each other, a task a list of operations.
Three kinds of step are made of the same operations:

    shared         the threads share the samples of a block, forward and back; they meet; then they share the weights
    sample shards  each shard of the batch is a task that ends with a gradient of its own (ops/sample_shards.py); they
                   meet; then they share the weights, as above
    unit shards    each thread's run of shards of the hidden units is a task, from Z[2] of one step to Z[2] of the next
                   (ops/unit_shards.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.blocking import packs_backward, packs_forward
from fastbackprop.engine.codes import FUSED_SGD, GRADIENT, HEADS, NO_GRADIENT, OPTIMIZERS, TARGETS
from fastbackprop.engine.entries import product
from fastbackprop.engine.operations import entry_of


@dataclass(frozen=True)
class Shape:
    """The network: its layer sizes, the code of its output layer, where its unit shards begin and the last one ends."""

    sizes: tuple[int, ...]
    head: int
    shard_starts: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def last(self) -> int:
        """L."""
        return len(self.sizes) - 1

    @property
    def unit_shards(self) -> int:
        """How many there are."""
        return len(self.shard_starts) - 1

    def forward(self, l: int) -> str:
        """The name of the forward product of layer l."""
        return _product("forward", packs_forward(self.sizes[l], self.sizes[l - 1], self.dtype.itemsize))

    def backward(self, l: int) -> str:
        """The name of the backward product of layer l, from its deltas to those of the layer before."""
        return _product("backward", packs_backward(self.sizes[l], self.sizes[l - 1], self.dtype.itemsize))


def _product(name: str, packs: bool) -> str:
    """The name of a product, or of the one like it that may pack the weights; see entries.py."""
    return f"{name}_packed" if packs else name


@dataclass(frozen=True)
class Work:
    """What is to be done, as far as it changes the program."""

    update: int = NO_GRADIENT
    clip: bool = False
    penalty: bool = False
    dropout: bool = False
    weights: bool = False
    targets: int = at.NO_TARGETS
    input_gradient: bool = False
    check_inputs: bool = False
    sample_shards: int = 1
    groups: int = 0  # of unit shards

    @classmethod
    def of(cls, job: np.void) -> Work:
        """That of a job."""
        return cls(
            update=int(job["update"]), clip=bool(job["clip"]), penalty=bool(job["penalty"]),
            dropout=bool(job["dropout"]), weights=bool(job["sample_weights"]),
            targets=int(job["target_kind"]), input_gradient=bool(job["input_gradient"]),
            check_inputs=bool(job["check_inputs"]), sample_shards=int(job["sample_shards"]),
            groups=int(job["groups"]),
        )  # fmt: skip

    @property
    def has_losses(self) -> bool:
        """Whether there are targets that outputs are compared with."""
        return self.targets in (at.CLASSES, at.DENSE)

    @property
    def learns(self) -> bool:
        """Whether deltas are wanted."""
        return self.update != NO_GRADIENT or self.input_gradient


@dataclass(frozen=True)
class Op:
    """One record; see layout.py.

    ``always``: whether it is done, too, where another operation of the step has FAILED; what changes parameters or goes
    on to the next step is not. ``back``: how many operations before it a task goes on from where it says AGAIN.
    ``product``: the name of the one that it calls, see entries.py. ``data``: the address of data of its own. A plan
    keeps its programs, so the data must stay where they are for as long as the plan is used.
    """

    operation: str
    layer: int = 0
    slice_: tuple[int, int] = (0, 1)
    outputs: tuple[int, int] = (0, 0)
    always: bool = False
    back: int = 0
    product: str = ""
    data: int = 0


Task = list[Op]


class Piece(NamedTuple):
    """A piece of the work on the weights: outputs ``first`` to ``last`` - 1 of a layer, and the task that does it."""

    layer: int
    first: int
    last: int
    task: int


@dataclass(frozen=True)
class Phase:
    """Tasks that do not depend on each other; ``idle``: what is done at the place of each while waiting for others."""

    when: int
    tasks: list[Task]
    idle: Sequence[Op] = ()


# ---------------------------------------------------------------- what the kinds have in common


def _after_layer(work: Work, l: int, slice_: tuple[int, int], first_unit: int = 0) -> Task:
    """What follows on A[l] of a hidden layer: dropout, and the units for the gradient of the next layer."""
    ops = [Op("forward.drop_units", l, slice_, (first_unit, 0), True)] if work.dropout else []
    return [*ops, Op("forward.transpose_units", l, slice_, always=True)] if work.learns else ops


def _from_layer(shape: Shape, work: Work, first: int, slice_: tuple[int, int]) -> Task:
    """Forward from layer ``first`` on, the output layer, and all deltas."""
    ops: Task = []
    last = shape.last
    for l in range(first, last + 1):
        layer = "forward.forward_unit_shards" if l == 2 and shape.unit_shards > 1 else "forward.forward_layer"
        ops.append(Op(layer, l, slice_, always=True, product=shape.forward(l)))
        if l < last:
            ops += _after_layer(work, l, slice_)
    ops.append(Op(f"head.output_layer_{HEADS[shape.head]}_{TARGETS[work.targets]}", last, slice_, always=True))
    if work.learns:
        lowest = 0 if work.input_gradient else 1
        for l in range(last - 1, lowest - 1, -1):
            ops.append(Op("backward.backward_layer", l, slice_, always=True, product=shape.backward(l + 1)))
    if work.input_gradient:
        ops.append(Op("backward.write_input_gradient", 0, slice_, always=True))
    return ops


def _samples(shape: Shape, work: Work, slice_: tuple[int, int]) -> Task:
    """A slice of the samples: gathered, forward and back."""
    ops = [Op("costs.weigh", 0, slice_, always=True)] if work.weights else []
    ops.append(Op("gather.gather_inputs", 0, slice_, always=True))
    if work.check_inputs and work.update == NO_GRADIENT:
        ops.append(Op("gather.check_inputs", 0, slice_, always=True))
    return ops + _from_layer(shape, work, 1, slice_)


def _updates(work: Work, l: int, outputs: tuple[int, int], *, with_gradient: bool) -> Task:
    """What is done with the weights of some outputs of a layer."""
    ops = [Op("gradient.gradient_of_outputs", l, outputs=outputs)] if with_gradient else []
    if work.update > FUSED_SGD and not work.clip:
        return [*ops, Op(f"update.apply_{OPTIMIZERS[work.update]}", l, outputs=outputs)]
    if work.sample_shards > 1 or work.penalty:
        ops.append(Op("update.add_up", l, outputs=outputs))
    if work.clip:
        ops.append(Op("update.square_norm", l, outputs=outputs))
    return ops


def _weights(work: Work, pieces: Sequence[Piece]) -> list[Phase]:
    """The phases in which the threads share the weights; ``pieces`` are sorted by their tasks."""
    count = pieces[-1].task + 1 if pieces and work.update != NO_GRADIENT else 0
    tasks: list[Task] = [[] for _ in range(max(count, int(work.has_losses)))]
    clipped: list[Task] = [[] for _ in range(count)]
    if work.has_losses:
        tasks[0].append(Op("costs.count_costs", always=True))
    if count:
        for l, first, last, task in pieces:
            tasks[task] += _updates(work, l, (first, last), with_gradient=work.sample_shards == 1)
            if work.clip:
                clipped[task].append(Op(f"update.apply_clipped_{OPTIMIZERS[work.update]}", l, outputs=(first, last)))
    phases = [Phase(at.IN_BLOCK, tasks)] if tasks else []
    return [*phases, Phase(at.AFTER_BLOCKS, clipped)] if work.clip else phases


# ---------------------------------------------------------------- the kinds of step


def _shared(shape: Shape, work: Work, threads: int, pieces: Sequence[Piece]) -> list[Phase]:
    slices = [(i, threads) for i in range(threads)]
    penalties = [[Op("costs.penalize_slice", 0, slice_, always=True)] if work.penalty else [] for slice_ in slices]
    tasks = [first + _samples(shape, work, slice_) for first, slice_ in zip(penalties, slices, strict=True)]
    phases = [Phase(at.IN_BLOCK, tasks), *_weights(work, pieces)]
    if work.check_inputs and work.update == GRADIENT:
        phases.append(Phase(at.AT_END, [[Op("costs.check_inputs_of_gradient")]]))
    return phases


def _in_sample_shards(shape: Shape, work: Work, pieces: Sequence[Piece]) -> list[Phase]:
    tasks = []
    for i in range(work.sample_shards):
        place = (i, work.sample_shards)
        ops = [Op("sample_shards.enter_sample_shard", 0, place, always=True)]
        if work.penalty:
            ops.append(Op("sample_shards.penalize_sample_shard", 0, place, always=True))
        block = _samples(shape, work, (0, 1))
        block += [
            Op("gradient.gradient_of_outputs", l, outputs=(0, shape.sizes[l]), always=True)
            for l in range(1, shape.last + 1)
        ]
        tasks.append([*ops, *block, Op("sample_shards.next_block", 0, place, always=True, back=len(block))])
    assert not work.check_inputs  # of small calls only
    idle = [Op("sample_shards.gather_ahead", 0, (i, work.sample_shards)) for i in range(work.sample_shards)]
    return [Phase(at.IN_BLOCK, tasks, idle), *_weights(work, pieces)]


def in_unit_shards(shape: Shape, work: Work) -> list[Phase]:
    """A task for each group, of as many shards each."""
    whole, starts, groups = (0, 1), shape.shard_starts, work.groups
    run = shape.unit_shards // groups
    packs = any(packs_forward(shape.sizes[2], b - a, shape.dtype.itemsize) for a, b in pairwise(starts))
    begins: list[Task] = []
    steps: list[Task] = []
    ends: list[Task] = []
    for group in range(groups):
        of_group, first, last = (group, groups), starts[group * run], starts[(group + 1) * run]
        enter = [Op("unit_shards.enter_group", 0, of_group, always=True)]
        begin = [Op("costs.weigh", 0, whole)] if work.weights else []
        begin += [Op("unit_shards.penalize_group", 0, of_group)] if work.penalty else []
        begin += [Op("gather.gather_inputs"), Op("forward.forward_layer", 1, product=shape.forward(1))]
        begin += _after_layer(work, 1, whole, first)
        begin += [Op("unit_shards.sum_own_shards", 2, of_group, product=_product("forward", packs))]
        end = [Op("unit_shards.add_groups", 2, of_group, always=True)]
        end += _after_layer(work, 2, whole) if shape.last > 2 else []
        end += _from_layer(shape, work, 3, whole)
        end += [Op("unit_shards.count_costs_of_groups", 0, of_group, always=True)] if group == 0 else []
        sizes = [0, last - first, *shape.sizes[2:]]
        for l in range(1, shape.last + 1):
            end += _updates(work, l, (0, sizes[l]), with_gradient=True)
        begins.append([*enter, Op("unit_shards.move_in", 0, of_group), *begin])
        steps.append([*enter, *end, Op("unit_shards.next_step"), *begin])
        ends.append([*enter, Op("unit_shards.move_out", 0, of_group, always=True)])
    return [Phase(at.AT_BEGIN, begins), Phase(at.IN_BLOCK, steps), Phase(at.AT_END, ends)]


def make(shape: Shape, work: Work, threads: int, pieces: Sequence[Piece]) -> list[Phase]:
    """The phases of a program.

    Parameters
    ----------
    threads : tasks of the samples
    pieces : of the weights, sorted by their tasks
    """
    if work.groups:
        return in_unit_shards(shape, work)
    if work.sample_shards > 1:
        return _in_sample_shards(shape, work, pieces)
    return _shared(shape, work, threads, pieces)


def table(phases: list[Phase], dtype: np.dtype[Any]) -> np.ndarray:
    """Phases, tasks and operations, int64, as `run` reads them; compiles the operations."""
    rows: dict[str, list[tuple[int, ...]]] = {"phases": [], "tasks": [], "ops": []}

    def put(ops: Sequence[Op]) -> int:
        """The number of the first of some operations."""
        first = len(rows["ops"])
        for op in ops:
            back, address = len(rows["ops"]) - op.back, entry_of(op.operation, dtype).address
            called = product(op.product, dtype) if op.product else 0
            rows["ops"].append((address, op.layer, *op.slice_, *op.outputs, op.always, back, called, op.data))
        return first

    word = 1  # after the line of FAILED_STEP and STOPPED
    for phase in phases:
        first = len(rows["tasks"])
        rows["tasks"] += [(put(task), len(task)) for task in phase.tasks]
        idle = put(phase.idle) if phase.idle else -1
        rows["phases"].append((first, len(phase.tasks), phase.when, word, idle))
        word += len(phase.tasks)
    records = {"phases": at.PHASE, "tasks": at.TASK, "ops": at.OPERATION}
    tables = [np.array(rows[name], record) for name, record in records.items()]
    starts = np.cumsum([at.PROGRAM.itemsize // 8, *(table.nbytes // 8 for table in tables)])
    head = np.array([(len(phases), *starts[:3], word)], at.PROGRAM)
    return np.concatenate([table.view(np.int64) for table in (head, *tables)])
