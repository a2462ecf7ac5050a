"""A plan: the tables and the workspace with which the engine works on networks of one shape, a block at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbackprop import memory
from fastbackprop.engine import layout as at
from fastbackprop.engine.blocking import scratch_size
from fastbackprop.engine.codes import GRADIENT, HYPER_FIELDS
from fastbackprop.engine.entries import activation_pass, run
from fastbackprop.engine.layout import LINE_BYTES
from fastbackprop.engine.program import Shape, Work, make
from fastbackprop.parameters import parameter_count
from fastbackprop.threads import run_on

# A block of fewer multiply-adds than this is done by one thread: meeting the other twice would cost more than it saves.
SERIAL_WORK = 150_000
# A job of fewer multiply-adds than this is not worth waking another thread for.
WAKING_WORK = 5_000_000
# Multiply-adds of a task of the weights at least, and how many tasks a thread may have: more than one, so that a
# thread that is held up does less; not too many, since each is a line that travels between the threads.
TASK_WORK = 1_000_000
TASKS_PER_THREAD = 4
# Bytes of a block's inputs, at most, that each shard of a network gathers for itself.
COPIED_BYTES = 1 << 19
# Bytes of activations, deltas and their transposes that a block of samples may take: about the second-level caches.
BLOCK_BYTES = 2 << 20
# The same of a sample shard, whose weights are few: less, since all of it is read again at each layer.
SHARD_BLOCK_BYTES = 1 << 18
# Samples of a block at least, where a batch or a sample shard has them: so many uses of a weight pay for reading it. Of
# a block the first number while that takes no more than LARGE_BLOCK_BYTES, else the second.
LEAST_BLOCK, LEAST_LARGE_BLOCK = 1024, 512
LARGE_BLOCK_BYTES = 256 << 20
LEAST_SHARD_BLOCK = 256
# Sample shards of a batch at most, and samples of each at least; bytes of all their gradients at most.
MOST_SAMPLE_SHARDS = 8
LEAST_SHARD_SAMPLES = 64
SHARD_GRADIENT_BYTES = 1 << 19
# The first hidden layer is sharded where it has so many units, and if the next is the output layer, so many for each
# output; else where it has so many units, and the layers that both shards do are at most such a share of the work.
LEAST_UNITS, UNITS_PER_OUTPUT = 32, 2
LEAST_UNITS_DEEP, SHARDED_PER_REPEATED = 96, 4
MOST_SHARDED_PARAMETERS = 1 << 20  # of a network at most: in the long steps of larger ones meetings count little
UNIT_SHARDS_BATCH = {
    4: 512,
    8: 128,
}  # by the element's bytes: one hidden layer with more takes less time in sample shards
LEAST_STEPS = 8  # of a job in unit shards, whose weights are copied before and after
LINE_OF_FLOATS = 16  # a line of float32 is two of float64: so many are whole lines of either
_NO_HYPER = np.zeros(HYPER_FIELDS)


def round_up(n: int, multiple: int) -> int:
    """The least multiple that is not below n."""
    return -(-n // multiple) * multiple


def block_of(samples: int) -> int:
    """The block for so many samples, which is also that of a similar number: a power of two, in whole lines."""
    return max(LINE_OF_FLOATS, 1 << (samples - 1).bit_length())


def _samples(sizes: Sequence[int], dtype: np.dtype[Any], size: int, least: int) -> int:
    """As many samples as take ``size`` bytes of activations, deltas and transposes, and at least ``least``."""
    return round_up(max(least, size // (3 * sum(sizes) * dtype.itemsize)), LINE_BYTES // dtype.itemsize)


def samples_of_block(sizes: Sequence[int], dtype: np.dtype[Any]) -> int:
    """How many samples a block of a large batch has."""
    is_large = _samples(sizes, dtype, LARGE_BLOCK_BYTES, 0) < LEAST_BLOCK
    return _samples(sizes, dtype, BLOCK_BYTES, LEAST_LARGE_BLOCK if is_large else LEAST_BLOCK)


def sample_shards_of(sizes: Sequence[int], dtype: np.dtype[Any], batch: int) -> int:
    """Into how many shards a batch is divided, each with its gradient: a power of two, see engine/ops/sample_shards.py.

    It pays where gradients are less to hand from thread to thread than activations. It must not depend on the threads,
    since the gradients are sums of the shards'.
    """
    parameters, shards = parameter_count(sizes), 1
    if batch * Plan.work(sizes, True) > SERIAL_WORK:
        of_gradients = SHARD_GRADIENT_BYTES // (parameters * dtype.itemsize)
        most = min(MOST_SAMPLE_SHARDS, batch // LEAST_SHARD_SAMPLES, of_gradients)
        while 2 * shards <= most and 4 * shards * parameters <= 3 * batch * sum(sizes):
            shards *= 2
    return shards


def second_shard_of(sizes: Sequence[int]) -> int:
    """Where the second shard of layer 2's inputs begins, where Z[2] is the sum of two chains; else 0.

    So it is for networks that may be trained in unit shards (engine/ops/unit_shards.py), and also wherever they are
    not: the bits are the same. Each shard does all work of the layers after the second, which should be little.
    """
    if len(sizes) < 4:
        sharded = len(sizes) == 3 and sizes[1] >= max(LEAST_UNITS, UNITS_PER_OUTPUT * sizes[2])
    else:
        light = SHARDED_PER_REPEATED * Plan.work(sizes[2:], True) <= Plan.work(sizes, True)
        sharded = light and sizes[1] >= LEAST_UNITS_DEEP
    sharded = sharded and parameter_count(sizes) <= MOST_SHARDED_PARAMETERS
    return (sizes[1] + LINE_OF_FLOATS) // (2 * LINE_OF_FLOATS) * LINE_OF_FLOATS if sharded else 0


class Plan:
    """Tables and workspace for networks of one shape.

    Parameters
    ----------
    sizes : layer sizes n[0] to n[L]
    activations : code of each hidden layer
    head : code of the output layer
    dtype : float32 or float64
    block : samples worked on at once; a multiple of a line. A larger batch is worked on in several blocks.
    threads : at most; small work is done by one
    learning : whether gradients will be wanted

    A plan holds no parameters and no data. One run at a time may use it. After a ``with`` statement it waits for its
    next use in the list that was its ``home`` until then.
    """

    def __init__(
        self, sizes: Sequence[int], activations: Sequence[int], head: int, dtype: np.dtype[Any], block: int,
        threads: int, learning: bool,
    ) -> None:  # fmt: skip
        self.home: list[Plan] = []
        self._sizes = sizes
        line = LINE_BYTES // dtype.itemsize
        self.dtype = dtype
        self.block = block
        self.work_per_sample = self.work(sizes, learning)
        self.threads = min(threads, block // line) if block * self.work_per_sample > SERIAL_WORK else 1
        self.second_shard = second_shard_of(sizes)
        copied = learning and self.threads > 1 and block * sizes[0] * dtype.itemsize <= COPIED_BYTES
        sharded = copied and self.second_shard > 0
        self._shape = Shape(tuple(sizes), head, self.second_shard > 0, dtype)
        self._programs: dict[Work, np.ndarray] = {}
        self.seconds_compiling = 0.0  # or reading from the disk what is compiled
        self.layers = np.zeros((len(sizes), at.LAYER_FIELDS), np.int64)
        job = np.zeros(at.JOB_FIELDS, np.int64)
        elements = parameters = units = 0

        def reserve(count: int) -> int:
            nonlocal elements
            start = elements
            elements += round_up(count, line)
            return start

        for l, n in enumerate(sizes):
            row = self.layers[l]
            row[at.SIZE] = n
            row[at.STRIDE] = at.panel_stride(n)
            panels = block * int(row[at.STRIDE])
            if l > 0:
                row[at.WEIGHTS] = parameters
                row[at.BIASES] = parameters + n * sizes[l - 1]
                row[at.FIRST_UNIT] = units
                parameters += n * (sizes[l - 1] + 1)
                units += n
            if 0 < l < len(sizes) - 1:
                row[at.ACTIVATION] = activations[l - 1]
                row[at.ACTIVATION_PASS] = activation_pass(activations[l - 1], dtype)
            row[at.PANELS] = reserve(panels + block * round_up(n, line))
            row[at.UNITS] = row[at.PANELS] + panels
            if l == 2 and self.second_shard > 0:
                row[at.SECOND_SHARD] = self.second_shard
                job[at.UNIT_SHARD_SUMS] = reserve(2 * panels)
            if learning:
                row[at.DELTAS] = reserve(panels)
                row[at.SLOPES] = reserve(panels)
                row[at.BIAS_SUMS] = reserve(round_up(n, line) * line)
        job[at.BLOCK], job[at.THREADS], job[at.SAMPLE_SHARDS] = block, self.threads, 1
        job[at.LAYERS], job[at.LAYER_COUNT] = self.layers.ctypes.data, len(sizes)
        job[at.TARGET_PANELS] = reserve(block * int(self.layers[-1, at.STRIDE]))
        job[at.LOSSES] = reserve(block)
        job[at.SHARES] = reserve(block)
        job[at.TOTALS] = reserve(2 * block)
        if sharded:
            largest = max(parameter_count(self._shard_sizes(shard)) for shard in range(2))
            job[at.SHARD_VECTORS] = reserve(4 * round_up(largest, line) + 3 * units * 8 // dtype.itemsize)
        job[at.WEIGHT_SUMS] = reserve(line * self.threads)
        # what the products need is more than the line and the square of a line that all others take
        scratch = round_up(scratch_size(max(sizes) if learning else 0, dtype.itemsize), line)
        scratch_at = reserve(scratch * self.threads)
        self.workspace = memory.zeros(elements, dtype)
        self._workspaces: np.ndarray | None = None  # of the threads, for shards of either kind
        self._parts: tuple[np.ndarray, np.ndarray] | None = None
        job[at.WORKSPACE] = self.workspace.ctypes.data
        job[at.SCRATCH] = self.workspace.ctypes.data + scratch_at * dtype.itemsize
        job[at.SCRATCH_BYTES] = scratch * dtype.itemsize
        self.gradient = memory.zeros(parameters if learning else 0, dtype)
        job[at.GRADIENT_AT] = self.gradient.ctypes.data
        self.shard_tables = self._tables_of_shards() if sharded else None
        self.unit_sums = np.zeros(3 * units if learning else 0)
        job[at.UNIT_SUMS] = self.unit_sums.ctypes.data
        self.pieces = self._cut_weights(sizes) if learning else np.zeros((0, at.PIECE_FIELDS), np.int64)
        self._job = job

    @staticmethod
    def work(sizes: Sequence[int], learning: bool) -> int:
        """Multiply-adds a sample, about."""
        return sum(a * b for a, b in zip(sizes, sizes[1:], strict=False)) * (3 if learning else 1)

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *error: object) -> None:
        home, self.home = self.home, []  # so it never holds what holds it, and goes with its network at once
        home.append(self)

    def _cut_weights(self, sizes: Sequence[int]) -> np.ndarray:
        """The work on the weights in tasks of equal size: runs of outputs."""
        line = LINE_BYTES // self.dtype.itemsize
        pieces = [(l, o, min(o + at.CUT, sizes[l])) for l in range(1, len(sizes)) for o in range(0, sizes[l], at.CUT)]

        def cut(pieces: Sequence[tuple[int, int, int]], parts: int) -> list[int]:
            """Which of so many parts of equal weight each piece belongs to."""
            lines = [-(-n // line) for n in sizes]  # a part of a line takes as long as a whole one
            ends = np.cumsum([0, *((last - first) * lines[l - 1] for l, first, last in pieces)])
            return [int((a + b) // 2 * parts // ends[-1]) for a, b in zip(ends, ends[1:])]

        count = 1
        if self.threads > 1:
            most = 1 + self.block * parameter_count(sizes) // (self.threads * TASK_WORK)
            count = self.threads * min(TASKS_PER_THREAD, most)
        rows: list[list[int]] = []
        for (l, first, last), task in zip(pieces, cut(pieces, count)):
            if rows and rows[-1][:1] == [l] and rows[-1][2:] == [first, task]:
                rows[-1][at.PIECE_LAST] = last
            else:
                rows.append([l, first, last, task])
        table = np.array(rows, np.int64)
        table[:, at.PIECE_TASK] = np.unique(table[:, at.PIECE_TASK], return_inverse=True)[1]  # no number without work
        return table

    def new_job(self, samples: int, batch: int, steps: int | None = None, first_step: int = 0) -> np.ndarray:
        """A job on `samples` rows in batches of `batch`: all steps of an epoch, or `steps` from `first_step` on."""
        job = self._job.copy()
        job[at.SAMPLES], job[at.BATCH] = samples, min(batch, samples)
        job[at.STEPS_PER_EPOCH] = -(-samples // batch)
        job[at.STEPS] = job[at.STEPS_PER_EPOCH] if steps is None else steps
        job[at.FIRST_STEP] = first_step
        return job

    def divide(self, job: np.ndarray, batch: int) -> None:
        """Divide a job into sample shards, where that pays for batches of ``batch``; its own may be smaller.

        What the job is to do is known by then. Whether it is must not depend on the threads, nor on its steps.
        """
        shards = sample_shards_of(self._sizes, self.dtype, batch)
        is_small = len(self._sizes) == 3 and batch <= UNIT_SHARDS_BATCH[self.dtype.itemsize]
        if shards == 1 or (is_small and self._can_be_sharded(job)):
            return
        line = LINE_BYTES // self.dtype.itemsize
        self._put_workspaces(job)
        if self._parts is None:
            self._parts = (
                memory.zeros(MOST_SAMPLE_SHARDS * len(self.gradient), self.dtype),
                memory.zeros(MOST_SAMPLE_SHARDS * LINE_BYTES // 8, np.dtype("float64")),
            )
        gradients, sums = self._parts
        block = _samples(self._sizes, self.dtype, SHARD_BLOCK_BYTES, LEAST_SHARD_BLOCK)
        job[at.BLOCK] = min(self.block, block)
        job[at.SAMPLE_SHARDS], job[at.SHARD_SAMPLES] = shards, round_up(-(-batch // shards), line)
        job[at.SHARD_GRADIENTS], job[at.SHARD_LOSSES] = gradients.ctypes.data, sums.ctypes.data

    def _put_workspaces(self, job: np.ndarray) -> None:
        """A workspace for each thread."""
        if self._workspaces is None:
            self._workspaces = memory.zeros(len(self.workspace) * self.threads, self.dtype)
        job[at.OWN_WORKSPACES], job[at.OWN_WORKSPACE_BYTES] = self._workspaces.ctypes.data, self.workspace.nbytes

    def _shard_sizes(self, shard: int) -> list[int]:
        """The layer sizes of a unit shard."""
        return [self._sizes[0], self._sizes[1] - self.second_shard if shard else self.second_shard, *self._sizes[2:]]

    def _tables_of_shards(self) -> np.ndarray:
        """The tables of both unit shards; their samples lie where those of the whole network do."""
        tables = []
        for shard in range(2):
            sizes, table = self._shard_sizes(shard), self.layers.copy()
            table[1, at.SIZE], table[2, at.SECOND_SHARD] = sizes[1], 0
            for l in range(1, len(sizes)):
                table[l, at.WEIGHTS] = parameter_count(sizes[:l])
                table[l, at.BIASES] = table[l, at.WEIGHTS] + sizes[l] * sizes[l - 1]
                table[l, at.FIRST_UNIT] = sum(sizes[1:l])
            tables.append(table)
        return np.stack(tables)

    def _can_be_sharded(self, job: np.ndarray) -> bool:
        """Whether the steps of a job can be done in unit shards: of one block, with an update that needs no norm."""
        updates = job[at.UPDATE] > GRADIENT and not job[at.CLIP]
        return bool(updates and job[at.SAMPLE_SHARDS] == 1 and job[at.BATCH] <= job[at.BLOCK] and self.second_shard > 0)

    def program(self, job: np.ndarray) -> np.ndarray:
        """The program of a job; what it names is compiled when it is first asked for."""
        work = Work.of(job)
        if work not in self._programs:
            start = time.perf_counter()
            program = make(self._shape, work, self.threads, self.pieces, self.second_shard)
            self._run = run.call
            self._programs[work] = program
            self.seconds_compiling += time.perf_counter() - start
        return self._programs[work]

    def with_clock(self, job: np.ndarray, program: np.ndarray) -> np.ndarray:
        """The job with room for each thread's copy and for the words by which they meet, which `run` works on.

        It belongs to one run, so that a helper thread that wakes up late reads what it was woken for.
        """
        words = int(program[at.WORDS]) + self.threads
        jobs = np.zeros(at.clock_at(self.threads) + words * at.CLOCK_LINE, np.int64)
        jobs[: at.JOB_FIELDS] = job
        return jobs

    def run(
        self, job: np.ndarray, params: np.ndarray, costs: np.ndarray, hyper: np.ndarray | None = None
    ) -> tuple[int, int]:
        """Do a job; ``costs`` is (epochs, COST_FIELDS).

        Returns 0, or 1 + the number of the step whose losses were not finite and which was not applied; and 0, or the
        number of steps after which the job's ``stop`` ended it.
        """
        constants = _NO_HYPER if hyper is None else hyper
        job[at.PARAMS], job[at.COSTS] = params.ctypes.data, costs.ctypes.data
        job[at.HYPER] = constants.ctypes.data
        work = int(job[at.STEPS] * job[at.BATCH]) * self.work_per_sample
        threads = self.threads if work > WAKING_WORK else 1
        in_unit_shards = self.shard_tables is not None and threads == 2 and job[at.STEPS] >= LEAST_STEPS
        if in_unit_shards and self._can_be_sharded(job):
            self._put_workspaces(job)
            assert self.shard_tables is not None
            job[at.SHARD_TABLES] = self.shard_tables.ctypes.data
        program = self.program(job)
        jobs = self.with_clock(job, program)
        run_on(threads, self._run, jobs, program)
        clock = jobs[at.clock_at(self.threads) :]
        return int(clock[at.FAILED_STEP]), int(clock[at.STOPPED])

    def panels(self, field: int, l: int, samples: int) -> np.ndarray:
        """A copy, as rows, of what a run left in the panels (PANELS, DELTAS or SLOPES) of layer l."""
        line = LINE_BYTES // self.dtype.itemsize
        start, n, stride = (int(self.layers[l, f]) for f in (field, at.SIZE, at.STRIDE))
        blocks = self.workspace[start : start + self.block * stride].reshape(-1, stride, line)
        return np.ascontiguousarray(blocks[:, :n].transpose(0, 2, 1).reshape(-1, n)[:samples])
