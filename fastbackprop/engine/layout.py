"""Where things lie: the fields of the integer tables that describe a network and a job to compiled code.

One compilation serves every depth, width and batch, since all sizes are data. Three layouts of a block of samples, for
a layer of n units (LINE = 16 float32 or 8 float64, one cache line):

    panels    [panel of LINE samples][unit][LINE]     lanes are samples: activations, deltas, slopes, targets
    units     [block of LINE units][sample][LINE]     lanes are units: the same activations, transposed for the gradient
    rows      [sample][unit]                          the user's arrays
"""

from __future__ import annotations

DEPTH = 192  # of a block of the forward and backward products: two such lines, 24 KB, stay in the first-level cache

# ---- the table `layers`, one row a layer, 0 (the input) to L
SIZE = 0  # n[l]
STRIDE = 1  # units from panel to panel
WEIGHTS = 2  # offset in params of W[l], row-major (n[l], n[l-1])
BIASES = 3  # offset in params of b[l]
ACTIVATION = 4  # code, see activations.py; of the output layer: the head, see heads.py
PANELS = 5  # offset in the workspace of A[l] as panels
UNITS = 6  # offset of A[l] as units
DELTAS = 7  # offset of dZ[l] as panels
SLOPES = 8  # offset of g'(Z[l]) as panels, where the activation needs it
BIAS_SUMS = 9  # offset of the sums of dZ[l] over panels, a line a unit
FIRST_UNIT = 10  # the number of its first unit, where the units of layers 1 to L are numbered in turn
HALF = 11  # the first input of the second half, where Z[l] is the sum of two chains, one a half; else 0: it is one
LAYER_FIELDS = 12

# ---- the table `tasks`: the work of the third phase, cut by outputs
TASK_LAYER, TASK_FIRST, TASK_LAST = 0, 1, 2  # outputs first to last - 1 of a layer
TASK = 3  # the task of the third phase that does it; rows are sorted by it
TASK_FIELDS = 4
CUT = 8  # outputs that are not divided

# ---- the vector `job`
INPUTS = 0  # address of X, rows; where they have a reader, of their source (readers.py)
INPUT_STRIDE = 1  # elements from row to row; where they have a reader, about as many as a row takes
TARGET_KIND = 2  # NO_TARGETS, CLASSES, DENSE or GIVEN_DELTAS
TARGETS = 3  # address of int64 class indices, or of rows of targets; where they have a reader, of their source
TARGET_STRIDE = 4
ORDER = 5  # address of int64 row numbers, or 0: the rows in their order
SAMPLES = 6  # of an epoch
BATCH = 7  # samples of a step
STEPS_PER_EPOCH = 8
FIRST_STEP = 9  # counted from the start of ORDER
STEPS = 10  # to be done
BLOCK = 11  # samples worked on at once; a larger batch is several blocks, their gradients summed in order
BLOCKS = 12  # of a step
SLICES = 13  # tasks of the first and of the second phase
TASKS = 14  # tasks of the third phase, and of the fourth
WORKSPACE = 15  # address
OUTPUTS = 16  # address of o, rows, or 0
LOSSES = 17  # workspace offset of the samples' losses
TARGET_PANELS = 18  # workspace offset
SCRATCH = 19  # workspace offset
SCRATCH_SIZE = 20  # elements a thread
UPDATE = 21  # NO_GRADIENT, GRADIENT or an optimizer's code, see update.py
GRADIENT_AT = 22  # address of the gradient, as params
STATE_1 = 23  # address of the optimizer's first vector (velocity, first moment), as params
STATE_2 = 24  # address of its second
INPUT_GRADIENT = 25  # address of dX, rows, or 0
RATES = 26  # address of float64 learning rates, one a step to be done
DONE_STEPS = 27  # optimizer steps done before this job
SAMPLE_WEIGHTS = 28  # address of the rows' weights in the loss, of the element type, or 0: all are 1
WEIGHT_SUMS = 29  # workspace offset: a line a slice that starts with the sum, float64, of the step's sample weights
PENALTY = 30  # NO_PENALTY, PENALTY_OF_COST or PENALTY_PER_SAMPLE
CLIP = 31  # whether the gradient is clipped: the update is then a third phase
# address of float64, by unit: the penalty of a row of weights, or of its first half; the square of the norm of its
UNIT_SUMS = 32  # gradient; the penalty of its second half
DROPOUT = 33  # address of float64 probabilities that a unit is dropped, by layer, or 0
DROPOUT_KEY = 34
CHECK_INPUTS = 35  # whether inputs that are not finite make a forward pass count as failed, the cost of a gradient NaN
INPUT_COPIES = 36  # elements from one slice's A[0] to the next's where each has its own of the whole block, else 0
# A step of parts: each part of the batch has a gradient of its own, made by one thread in a workspace of its own.
PARTS = 37  # of a full batch, at least 1; 1: the threads share the work of each block instead
PART_SIZE = 38  # samples; whole lines
OWN_WORKSPACES = 39  # address; of parts one a slot, of halves one a half, each as WORKSPACE
OWN_WORKSPACE_SIZE = 40  # elements
PART_GRADIENTS = 41  # address; one a place of a part, each as params
PART_SUMS = 42  # address of float64: a line a part, the sum of its losses and that of the step's sample weights
# What a thread has gathered ahead, in its copy of the job:
GATHERED = 43  # panels of inputs of the first block of a part
GATHERED_FOR = 44  # of which part, counted from 1 over all steps; else 0
STOP = 45  # address of the vector `stop`, or 0
HALF_SUMS = 46  # workspace offset of sums over half of the inputs of layer 2, panels as of that layer; two of them
# A step in halves: each half of the network does all samples in a workspace of its own.
IN_HALVES = 47  # whether it is; each has a table of its layers
OTHER_HALF = 48  # in a thread's copy: bytes from a half's workspace to the other's
HALF_VECTORS = 49  # workspace offset of a half's parameters, gradient and the optimizer's vectors, each whole lines;
# then its UNIT_SUMS
SHARES = 50  # workspace offset of the samples' shares of the mean loss
TOTALS = 51  # workspace offset of softmax's sums of exponentials, by sample, then of its sums of targets
INPUT_READER, TARGET_READER = (
    52,
    53,
)  # address of the reader of X or of rows of targets, or 0: they are the engine's own
JOB_FIELDS = 54  # then room for the copy of each thread

NO_TARGETS, CLASSES, DENSE, GIVEN_DELTAS = 0, 1, 2, 3
# Whether the penalty is a part of the cost J, or J and the penalty over the sum of the batch's sample weights are.
NO_PENALTY, PENALTY_OF_COST, PENALTY_PER_SAMPLE = 0, 1, 2

# ---- the rows of `costs`, one an epoch of ORDER: sums over its steps, each times its number of samples
MEAN_LOSS, MEAN_PENALTY = 0, 1
COST_FIELDS = 2

# ---- the vector `stop`, float64: the job ends after more than PATIENCE epochs in succession whose cost was above
# BEST - TOLERANCE. The cost is the mean loss divided by LOSS_DIVISOR, plus the mean penalty.
TOLERANCE, PATIENCE, LOSS_DIVISOR, BEST, WITHOUT = 0, 1, 2, 3, 4

# ---- the vector `clock`: FAILED_STEP and STOPPED, then a word for each task of the first and second phase, for each
# part and each thread that gathers ahead, or for each half, then for each task of the third and the fourth, all on
# lines of their own
FAILED_STEP = 0
STOPPED = 1  # the steps after which `stop` has ended the job, or 0
CLOCK_LINE = 8  # 64-bit words


def task_words(slices: int, parts: int) -> int:
    """Words of the clock before those of the third phase, after its first line."""
    return max(2 * slices, parts + slices)


def clock_size(slices: int, parts: int, tasks: int) -> int:
    """Elements of the clock."""
    return CLOCK_LINE * (1 + task_words(slices, parts) + 2 * tasks)


def panel_stride(units: int) -> int:
    """Lines from one panel of a layer to the next: an odd number of KB.

    A power of two would let the same units of all panels fall into the same sets of the caches. Panels of 32 KB and
    more are 16 KB further apart: with 1 KB, what a product uses at a time would crowd a part of the second level.
    """
    kilobytes = -(-units // 16)
    return 16 * (kilobytes + (1 if kilobytes < 32 else 17) - kilobytes % 2)


def share_of_outputs(slice_: int, slices: int, outputs: int) -> int:
    """Where the outputs of layer 1 start that slice `slice_` computes in the first phase, where they are divided."""
    return min(slice_ * (-(-outputs // CUT)) // slices * CUT, outputs)
