"""Where things lie: the fields of the integer tables that describe a network and a job to compiled code.

One compilation serves every depth, width and batch, since all sizes are data. Three layouts of a block of samples, for
a layer of n units (LINE = 16 float32 or 8 float64, one cache line):

    panels    [panel of LINE samples][unit][LINE]     lanes are samples: activations, deltas, slopes, targets
    units     [block of LINE units][sample][LINE]     lanes are units: the same activations, transposed for the gradient
    rows      [sample][unit]                          the user's arrays
"""

from __future__ import annotations

LINE_BYTES = 64
ARRAY_DATA = object.__basicsize__  # bytes from a NumPy array, a PyArrayObject, to the address of its data

# ---- the table `layers`, one row a layer, 0 (the input) to L
SIZE = 0  # n[l]
STRIDE = 1  # units from panel to panel
WEIGHTS = 2  # offset in params of W[l], row-major (n[l], n[l-1])
BIASES = 3  # offset in params of b[l]
ACTIVATION = 4  # code of a hidden layer, see activations.py; else IDENTITY
ACTIVATION_PASS = 5  # address of the pass that applies it; 0 where the product does so itself
PANELS = 6  # offset in the workspace of A[l] as panels
UNITS = 7  # offset of A[l] as units
DELTAS = 8  # offset of dZ[l] as panels
SLOPES = 9  # offset of g'(Z[l]) as panels, where the activation needs it
BIAS_SUMS = 10  # offset of the sums of dZ[l] over panels, a line a unit
FIRST_UNIT = 11  # the number of its first unit, where the units of layers 1 to L are numbered in turn
UNIT_SHARDS = 12  # how many chains Z[l] is the sum of, each over the units of a shard of layer l - 1
# address of as many whole numbers, and one more: the first unit of each shard, and the number of all units; or 0: there
SHARD_STARTS = 13  # is one chain
LAYER_FIELDS = 14

# ---- the table `pieces` of a plan: the work on the weights, cut by outputs
PIECE_LAYER, PIECE_FIRST, PIECE_LAST = 0, 1, 2  # outputs first to last - 1 of a layer
PIECE_TASK = 3  # the task that does it; rows are sorted by it
PIECE_FIELDS = 4
CUT = 8  # outputs that are not divided

# ---- the vector `job`: what is to be done
INPUTS = 0  # address of X, rows; where they have a reader, of their source (readers.py)
INPUT_STRIDE = 1  # elements from row to row; where they have a reader, about as many as a row takes
INPUT_READER = 2  # address of the reader of X, or 0: it is rows of the engine's own
TARGET_KIND = 3  # NO_TARGETS, CLASSES, DENSE or GIVEN_DELTAS
TARGETS = 4  # address of int64 class indices, or of rows of targets; where they have a reader, of their source
TARGET_STRIDE = 5
TARGET_READER = 6
ORDER = 7  # address of int64 row numbers, or 0: the rows in their order
SAMPLES = 8  # of an epoch
BATCH = 9  # samples of a step
STEPS_PER_EPOCH = 10
FIRST_STEP = 11  # counted from the start of ORDER
STEPS = 12  # to be done
BLOCK = 13  # samples worked on at once; a larger batch is several blocks, their gradients summed in order
LAYERS = 14  # address of the table `layers`
LAYER_COUNT = 15
PARAMS = 16  # address
HYPER = 17  # address of the optimizer's constants, see update.py
COSTS = 18  # address
WORKSPACE = 19  # address
OUTPUTS = 20  # address of o, rows, or 0
LOSSES = 21  # workspace offset of the samples' losses
SHARES = 22  # workspace offset of the samples' shares of the mean loss
TOTALS = 23  # workspace offset of softmax's sums of exponentials, by sample, then of its sums of targets
TARGET_PANELS = 24  # workspace offset
SCRATCH = 25  # address: of the first thread's, in a thread's copy of its own
SCRATCH_BYTES = 26  # a thread
UPDATE = 27  # NO_GRADIENT, GRADIENT or an optimizer's code, see update.py
GRADIENT_AT = 28  # address of the gradient, as params
STATE_1 = 29  # address of the optimizer's first vector (velocity, first moment), as params
STATE_2 = 30  # address of its second
INPUT_GRADIENT = 31  # address of dX, rows, or 0
RATES = 32  # address of float64 learning rates, one a step to be done
DONE_STEPS = 33  # optimizer steps done before this job
SAMPLE_WEIGHTS = 34  # address of the rows' weights in the loss, of the element type, or 0: all are 1
# workspace offset: a line a slice that starts with the sum, float64, of the step's sample weights; in unit shards two
WEIGHT_SUMS = 35  # penalties, by turns, begin at its third number
PENALTY = 36  # NO_PENALTY, PENALTY_OF_COST or PENALTY_PER_SAMPLE
CLIP = 37  # whether the gradient is clipped: the update then waits for its norm
# address of float64, by unit: the penalty of a row of weights, in layer 2 of its first shard; the square of the norm of
UNIT_SUMS = 38  # its gradient; then shard by shard, from the second on, the penalties of the rows of layer 2
DROPOUT = 39  # address of float64 probabilities that a unit is dropped, by layer, or 0
DROPOUT_KEY = 40
CHECK_INPUTS = 41  # whether inputs that are not finite make a forward pass count as failed, the cost of a gradient NaN
STOP = 42  # address of the vector `stop`, or 0
THREADS = 43  # that do it
# A step in sample shards: each has a gradient of its own, made by one thread in a workspace of its own.
SAMPLE_SHARDS = 44  # of a full batch, at least 1; 1: the threads share the work of each block instead
SHARD_SAMPLES = 45  # samples; whole lines
OWN_WORKSPACES = 46  # address; of sample shards one a thread, of unit shards one a group, each as WORKSPACE
OWN_WORKSPACE_BYTES = 47
SHARD_GRADIENTS = 48  # address; one a place of a shard, each as params
SHARD_LOSSES = 49  # address of float64: a line a shard, the sum of its losses
# A step in unit shards: each thread has a run of them, a GROUP, for all samples in a workspace of its own.
# workspace offset of as many sums over inputs of layer 2 as it has shards, panels as of that layer; of a group the
UNIT_SHARD_SUMS = 50  # first two are those over all of its units, by turns, the others those over each of its shards
GROUP_TABLES = 51  # address of the tables `layers` of all groups, or 0: the step is not in unit shards
GROUPS = 52
GROUP_VECTORS = 53  # workspace offset of a group's parameters, gradient and the optimizer's vectors, each whole lines;
# then its UNIT_SUMS
# ---- where a thread is, in its copy of the job
SLOT = 54  # the thread's number
MAIN = 55  # address of the job that all threads share
COMMON_STEP = 56  # that all threads are at
STEP = 57  # that is worked on: the same, or in unit shards the next
EPOCH = 58  # of the step, as a row of ORDER
ENDS_EPOCH = 59  # whether the step is its last
STEP_ROW = 60  # the place in ORDER of the step's first sample
STEP_SAMPLES = 61
ROW = 62  # the place in ORDER of the first sample that is worked on: of the block, or of a shard's
ROWS = 63  # how many are
BEGINS, ENDS = 64, 65  # whether they are the first, and the last, of what makes one gradient
END_ROW = 66  # the place in ORDER after the job's last sample
GATHERED = 67  # panels of inputs that were gathered ahead: of the first block of a sample shard
GATHERED_FOR = 68  # of which sample shard, counted from 1 over all steps; else 0
JOB_FIELDS = 69  # then the copy of each thread, and the clock

# ---- a program: PROGRAM_HEAD words, then its phases, their tasks and their operations
PHASES, PHASES_AT, TASKS_AT, OPS_AT = 0, 1, 2, 3  # the number of phases, and where in the program each table begins
WORDS = 4  # of the clock, for the tasks of all phases
PROGRAM_HEAD = 5
# a phase: its tasks do not depend on each other, and may be done by any thread
FIRST_TASK, TASK_COUNT = 0, 1
WHEN = 2  # AT_BEGIN of the job, IN_BLOCK of each step (of shards one), AFTER_BLOCKS, AT_END of the job
FIRST_WORD = 3  # of the clock
# the first of as many operations as tasks, one of which a thread does while it waits, as long as it says GO_ON; or -1
IDLE = 4
PHASE_FIELDS = 5
AT_BEGIN, IN_BLOCK, AFTER_BLOCKS, AT_END = 0, 1, 2, 3
# a task: operations that follow each other
FIRST_OP, OP_COUNT = 0, 1
TASK_WORDS = 2
# an operation
FUNCTION = 0  # its address
LAYER = 1
SLICE, SLICES = 2, 3  # of the samples; of a sample shard: its place; of unit shards: which group
FIRST, LAST = 4, 5  # outputs of the layer; of dropout the number of its first unit
ALWAYS = 6  # whether it is done, too, where another of the step has FAILED
BACK = 7  # where a task goes on from an operation that says AGAIN
OP_FIELDS = 8
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
READER_ARGUMENTS = 12

# ---- the clock, after the threads' copies of the job: FAILED_STEP and STOPPED, then a word for each task and for each
# thread that gathers ahead, all on lines of their own
FAILED_STEP = 0  # 1 + the step that has FAILED, which was not applied, nor were those after it; or 0
STOPPED = 1  # the steps after which `stop` has ended the job, or 0
CLOCK_LINE = 8  # 64-bit words


def clock_at(threads: int) -> int:
    """Where the clock of a job begins."""
    return (1 + threads) * JOB_FIELDS


def panel_stride(units: int) -> int:
    """Lines from one panel of a layer to the next: an odd number of KB.

    A power of two would let the same units of all panels fall into the same sets of the caches. Panels of 32 KB and
    more are 16 KB further apart: with 1 KB, what a product uses at a time would crowd a part of the second level.
    """
    kilobytes = -(-units // 16)
    return 16 * (kilobytes + (1 if kilobytes < 32 else 17) - kilobytes % 2)
