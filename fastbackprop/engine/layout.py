"""Where things lie: the records that describe a network, a job and a program to compiled code. All fields are int64.

One compilation serves every depth, width and batch, since all sizes are data. Three layouts of a block of samples, for
a layer of n units (LINE = 16 float32 or 8 float64, one cache line):

    panels    [panel of LINE samples][unit][LINE]     lanes are samples: activations, deltas, slopes, targets
    units     [block of LINE units][sample][LINE]     lanes are units: the same activations, transposed for the gradient
    rows      [sample][unit]                          the user's arrays
"""

from __future__ import annotations

from typing import Any

import numpy as np

LINE_BYTES = 64
ARRAY_DATA = object.__basicsize__  # bytes from a NumPy array, a PyArrayObject, to the address of its data


def _record(*fields: str) -> np.dtype[Any]:
    return np.dtype([(field, np.int64) for field in fields], align=True)


# ---- the table `layers`, one record a layer, 0 (the input) to L
LAYER = _record(
    "size",  # n[l]
    "stride",  # units from panel to panel
    "weights",  # offset in params of W[l], row-major (n[l], n[l-1])
    "biases",  # offset in params of b[l]
    "activation",  # of a hidden layer: IDENTITY, RELU, RELU0 or BY_PASS (codes.py); else IDENTITY
    "activation_pass",  # address of the pass that applies it; 0 where the product does so itself
    "panels",  # offset in the workspace of A[l] as panels
    "units",  # offset of A[l] as units
    "deltas",  # offset of dZ[l] as panels
    "slopes",  # offset of g'(Z[l]) as panels, where the activation needs it
    "bias_sums",  # offset of the sums of dZ[l] over panels, a line a unit
    "first_unit",  # the number of its first unit, where the units of layers 1 to L are numbered in turn
    "unit_shards",  # how many chains Z[l] is the sum of, each over the units of a shard of layer l - 1
    # address of as many whole numbers, and one more: the first unit of each shard, and the number of all units; or 0:
    # there is one chain
    "shard_starts",
)

CUT = 8  # the work on the weights of a layer is cut into tasks at multiples of so many outputs

# ---- the job: what is to be done. After it come the copy of each thread, and the clock.
JOB = _record(
    "inputs",  # address of X, rows; where they have a reader, of their source (readers.py)
    "input_stride",  # elements from row to row; where they have a reader, about as many as a row takes
    "input_reader",  # address of the reader of X, or 0: it is rows of the engine's own
    "target_kind",  # NO_TARGETS, CLASSES, DENSE or GIVEN_DELTAS
    "targets",  # address of int64 class indices, or of rows of targets; where they have a reader, of their source
    "target_stride",
    "target_reader",
    "order",  # address of int64 row numbers, or 0: the rows in their order
    "samples",  # of an epoch
    "batch",  # samples of a step
    "steps_per_epoch",
    "first_step",  # counted from the start of ORDER
    "steps",  # to be done
    "block",  # samples worked on at once; a larger batch is several blocks, their gradients summed in order
    "layers",  # address of the table `layers`
    "layer_count",
    "params",  # address
    "hyper",  # address of the optimizer's constants, see codes.py
    "costs",  # address
    "workspace",  # address
    "outputs",  # address of o, rows, or 0
    "losses",  # workspace offset of the samples' losses
    "shares",  # workspace offset of the samples' shares of the mean loss
    "totals",  # workspace offset of softmax's sums of exponentials, by sample, then of its sums of targets
    "target_panels",  # workspace offset
    "scratch",  # address: of the first thread's, in a thread's copy of its own
    "scratch_bytes",  # a thread
    "update",  # NO_GRADIENT, GRADIENT or an optimizer's code, see codes.py
    "gradient_at",  # address of the gradient, as params
    "state_1",  # address of the optimizer's first vector (velocity, first moment), as params
    "state_2",  # address of its second
    "input_gradient",  # address of dX, rows, or 0
    "rates",  # address of float64 learning rates, one a step to be done
    "done_steps",  # optimizer steps done before this job
    "sample_weights",  # address of the rows' weights in the loss, of the element type, or 0: all are 1
    # workspace offset: a line a slice that starts with the sum, float64, of the step's sample weights; in unit shards
    # two penalties, by turns, begin at its third number
    "weight_sums",
    "penalty",  # NO_PENALTY, PENALTY_OF_COST or PENALTY_PER_SAMPLE
    "clip",  # whether the gradient is clipped: the update then waits for its norm
    # address of float64, by unit: the penalty of a row of weights, in layer 2 of its first shard; the square of the
    # norm of its gradient; then shard by shard, from the second on, the penalties of the rows of layer 2
    "unit_sums",
    "dropout",  # address of float64 probabilities that a unit is dropped, by layer, or 0
    "dropout_key",
    # whether inputs that are not finite make a forward pass count as failed, the cost of a gradient NaN
    "check_inputs",
    "stop",  # address of the vector `stop`, or 0
    "threads",  # that do it
    # A step in sample shards: each has a gradient of its own, made by one thread in a workspace of its own.
    "sample_shards",  # of a full batch, at least 1; 1: the threads share the work of each block instead
    "shard_samples",  # samples; whole lines
    "own_workspaces",  # address; of sample shards one a thread, of unit shards one a group, each as WORKSPACE
    "own_workspace_bytes",
    "shard_gradients",  # address; one a place of a shard, each as params
    "shard_losses",  # address of float64: a line a shard, the sum of its losses
    # A step in unit shards: each thread has a run of them, a group, for all samples in a workspace of its own.
    # workspace offset of as many sums over inputs of layer 2 as it has shards, panels as of that layer; of a group the
    # first two are those over all of its units, by turns, the others those over each of its shards
    "unit_shard_sums",
    "group_tables",  # address of the tables `layers` of all groups, or 0: the step is not in unit shards
    "groups",
    # workspace offset of a group's parameters, gradient and the optimizer's vectors, each whole lines; then its
    # unit_sums
    "group_vectors",
    # ---- where a thread is, in its copy of the job
    "slot",  # the thread's number
    "main",  # address of the job that all threads share
    "common_step",  # that all threads are at
    "step",  # that is worked on: the same, or in unit shards the next
    "epoch",  # of the step, as a row of ORDER
    "ends_epoch",  # whether the step is its last
    "step_row",  # the place in ORDER of the step's first sample
    "step_samples",
    "row",  # the place in ORDER of the first sample that is worked on: of the block, or of a shard's
    "rows",  # how many are
    "begins",
    "ends",  # whether they are the first, and the last, of what makes one gradient
    "end_row",  # the place in ORDER after the job's last sample
    "gathered",  # panels of inputs that were gathered ahead: of the first block of a sample shard
    "gathered_for",  # of which sample shard, counted from 1 over all steps; else 0
)

# ---- a program: its head, then its phases, their tasks and their operations
PROGRAM = _record(
    "phases",  # how many
    "phases_at", "tasks_at", "ops_at",  # at which word of the program each table begins
    "words",  # of the clock, for the tasks of all phases
)  # fmt: skip
# its tasks do not depend on each other, and may be done by any thread
PHASE = _record(
    "first_task", "task_count",
    # AT_BEGIN of the job, IN_BLOCK: in each block of a step (to the loop a step in shards of either kind is one block),
    # AFTER_BLOCKS: once a step, AT_END of the job
    "when",
    "first_word",  # of the clock
    # the first of as many operations as tasks, one of which a thread does while it waits, as long as it says GO_ON, or
    # -1
    "idle",
)  # fmt: skip
AT_BEGIN, IN_BLOCK, AFTER_BLOCKS, AT_END = 0, 1, 2, 3
TASK = _record("first_op", "op_count")  # operations that follow each other
OPERATION = _record(
    "function",  # its address
    "layer",
    "slice", "slices",  # of the samples; of a sample shard: its place; of unit shards: which group
    "first", "last",  # outputs of the layer; of dropout the number of its first unit
    "always",  # whether it is done, too, where another of the step has FAILED
    "back",  # where a task goes on from an operation that says AGAIN
    "product",  # address of the product that it calls, or 0
    "data",  # address of data of the operation's own, or 0
)  # fmt: skip
LAYER_BYTES, JOB_BYTES, PHASE_BYTES, TASK_BYTES, OPERATION_BYTES = (
    record.itemsize for record in (LAYER, JOB, PHASE, TASK, OPERATION)
)  # fmt: skip
# what an operation returns: go on; a loss or a checked input is not finite; the task has ended; go BACK
GO_ON, FAILED, LEAVE, AGAIN = 0, 1, 2, 3

NO_TARGETS, CLASSES, DENSE, GIVEN_DELTAS = 0, 1, 2, 3
# Whether the penalty is a part of the cost J, or J and the penalty over the sum of the batch's sample weights are.
NO_PENALTY, PENALTY_OF_COST, PENALTY_PER_SAMPLE = 0, 1, 2

# ---- the rows of `costs`, one an epoch of ORDER: sums over its steps, each times its number of samples
MEAN_LOSS, MEAN_PENALTY = 0, 1
COST_FIELDS = 2

# ---- the vector `stop`, float64: the job ends after more than PATIENCE epochs in succession whose cost was above
# BEST - TOLERANCE. The cost is the mean loss divided by LOSS_DIVISOR, plus the mean penalty.
TOLERANCE, PATIENCE, LOSS_DIVISOR, BEST, WITHOUT = 0, 1, 2, 3, 4

# ---- the words of a source
BASE = 0  # the address of X[0, 0]; of CSR: of the elements that are stored
ROW_STRIDE, COLUMN_STRIDE = 1, 2  # of a dense one, bytes
COLUMNS, STARTS, STORED = 1, 2, 3  # of CSR: addresses of the columns' numbers and of the rows' starts, and how many
# How many arguments have what is called by its address: a reader (readers.py), and the products (product.py).
READER_ARGUMENTS, FORWARD_ARGUMENTS, BACKWARD_ARGUMENTS = 12, 14, 11

# ---- the clock, after the threads' copies of the job: FAILED_STEP and STOPPED, then a word for each task and for each
# thread that gathers ahead, all on lines of their own
FAILED_STEP = 0  # 1 + the step that has FAILED, which was not applied, nor were those after it; or 0
STOPPED = 1  # the steps after which `stop` has ended the job, or 0
CLOCK_LINE = 8  # 64-bit words


def clock_at(threads: int) -> int:
    """Where the clock of a job begins."""
    return (1 + threads) * (JOB_BYTES // 8)


def panel_stride(units: int) -> int:
    """Lines from one panel of a layer to the next: an odd number of KB.

    A power of two would let the same units of all panels fall into the same sets of the caches. Panels of 32 KB and
    more are 16 KB further apart: with 1 KB, what a product uses at a time would crowd a part of the second level.
    """
    kilobytes = -(-units // 16)
    return 16 * (kilobytes + (1 if kilobytes < 32 else 17) - kilobytes % 2)
