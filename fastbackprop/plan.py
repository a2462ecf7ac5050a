"""A plan: the tables and the workspace with which the engine works on networks of one shape, a block at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastbackprop import memory
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.engine import layout as at
from fastbackprop.engine.blocking import scratch_size
from fastbackprop.engine.codes import BY_PASS, EPILOGUES, GRADIENT, HYPER_FIELDS
from fastbackprop.engine.entries import activation_pass, run
from fastbackprop.engine.layout import LINE_BYTES
from fastbackprop.engine.program import Phase, Piece, Shape, Work, make, table
from fastbackprop.parameters import parameter_count
from fastbackprop.threads import run_on

# A block of fewer multiply-adds than this is done by one thread: meeting the other twice would cost more than it saves.
# A block has at most as many threads as it has halves of it.
SERIAL_WORK = 150_000
# A job of fewer multiply-adds than this is not worth waking another thread for; a further one for each half of it.
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
# Sample shards of a batch: up to the first number with so many samples at least, up to the second with more; bytes of
# all their gradients at most.
FEW_SAMPLE_SHARDS, LEAST_SHARD_SAMPLES = 8, 64
MOST_SAMPLE_SHARDS, LEAST_LARGE_SHARD_SAMPLES = 64, 256
SHARD_GRADIENT_BYTES = 1 << 19
# The first hidden layer is divided where it has so many units, and if the next is the output layer, so many for each
# output; else where it has so many units, and all work is at least so many times that of the layers after the second,
# which each thread does.
LEAST_UNITS, UNITS_PER_OUTPUT = 32, 2
LEAST_UNITS_DEEP, SHARDED_PER_REPEATED = 96, 4
MOST_SHARDED_PARAMETERS = 1 << 20  # of a network at most: in the long steps of larger ones meetings count little
# More than two shards: each has so many units, and what each thread does besides takes at most half as long as its
# share of the work. Multiply-adds of a sample are about cycles of a panel; to gather an input's line takes so many, one
# that another thread has written, in a stream of them, so many.
MOST_UNIT_SHARDS, LEAST_UNITS_OF_SHARD = 8, 16
GATHER_CYCLES, HANDED_CYCLES = 10, 75
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
        few = min(FEW_SAMPLE_SHARDS, batch // LEAST_SHARD_SAMPLES)
        many = min(MOST_SAMPLE_SHARDS, batch // LEAST_LARGE_SHARD_SAMPLES)
        most = min(max(few, many), SHARD_GRADIENT_BYTES // (parameters * dtype.itemsize))
        while 2 * shards <= most and 4 * shards * parameters <= 3 * batch * sum(sizes):
            shards *= 2
    return shards


def _unit_shard_starts(units: int, shards: int) -> tuple[int, ...]:
    """Where so many shards of a layer begin, and the last one ends: they are whole lines, but for the last."""
    whole = shards * LINE_OF_FLOATS
    starts = ((2 * s * units + whole) // (2 * whole) * LINE_OF_FLOATS for s in range(1, shards))
    return 0, *starts, units


def unit_shards_of(sizes: Sequence[int]) -> tuple[int, ...]:
    """Where the unit shards of layer 1 begin and the last one ends; there is one, or 2, 4 or 8.

    Z[2] is the sum of a chain a shard for networks that may be trained in unit shards (engine/ops/unit_shards.py), and
    also wherever they are not: the bits are the same, for any number of threads. Each thread does all work of the
    layers after the second, which should be little.
    """
    if len(sizes) < 4:
        divided = len(sizes) == 3 and sizes[1] >= max(LEAST_UNITS, UNITS_PER_OUTPUT * sizes[2])
    else:
        light = SHARDED_PER_REPEATED * Plan.work(sizes[2:], True) <= Plan.work(sizes, True)
        divided = light and sizes[1] >= LEAST_UNITS_DEEP
    shards = 2 if divided and parameter_count(sizes) <= MOST_SHARDED_PARAMETERS else 1
    while 1 < shards < MOST_UNIT_SHARDS and _pays(sizes, 2 * shards):
        shards *= 2
    return _unit_shard_starts(sizes[1], shards)


def _pays(sizes: Sequence[int], shards: int) -> bool:
    """Whether more than two unit shards are worth it, with a thread each."""
    starts = _unit_shard_starts(sizes[1], shards)
    besides = GATHER_CYCLES * sizes[0] + HANDED_CYCLES * (shards - 1) * sizes[2] + Plan.work(sizes[2:], True)
    enough = min(b - a for a, b in pairwise(starts)) >= LEAST_UNITS_OF_SHARD
    return enough and 2 * shards * besides <= Plan.work(sizes, True)


def pass_of(activation: str, dtype: np.dtype[Any]) -> int:
    """The address of the pass that applies an activation; 0 where the product does so itself."""
    if activation in EPILOGUES:
        return 0
    g = ACTIVATIONS[activation]
    return activation_pass(activation, g.bind, g.source_digest, dtype)


class Plan:
    """Tables and workspace for networks of one shape.

    Parameters
    ----------
    sizes : layer sizes n[0] to n[L]
    activations : name of that of each hidden layer
    head : code of the output layer
    dtype : float32 or float64
    block : samples worked on at once; a multiple of a line. A larger batch is worked on in several blocks.
    threads : at most; work that is small, or has few panels, is done by fewer
    learning : whether gradients will be wanted

    A plan holds no parameters and no data. One run at a time may use it. After a ``with`` statement it waits for its
    next use in the list that was its ``home`` until then.
    """

    def __init__(
        self, sizes: Sequence[int], activations: Sequence[str], head: int, dtype: np.dtype[Any], block: int,
        threads: int, learning: bool,
    ) -> None:  # fmt: skip
        self.home: list[Plan] = []
        self._sizes = sizes
        line = LINE_BYTES // dtype.itemsize
        self.dtype = dtype
        self.block = block
        self.work_per_sample = self.work(sizes, learning)
        work = block * self.work_per_sample
        self.threads = min(threads, 2 * work // SERIAL_WORK) if work > SERIAL_WORK else 1
        starts = unit_shards_of(sizes)
        self.shape = Shape(tuple(sizes), head, starts, dtype)
        self._in_unit_shards = learning and block * sizes[0] * dtype.itemsize <= COPIED_BYTES and len(starts) > 2
        self._programs: dict[tuple[Work, int], np.ndarray] = {}
        self._pieces: dict[int, list[Piece]] = {}
        self.seconds_compiling = 0.0  # or reading from the disk what is compiled
        self.layers = np.zeros(len(sizes), at.LAYER)
        job = np.zeros(1, at.JOB)[0]
        elements = parameters = units = 0

        def reserve(count: int) -> int:
            nonlocal elements
            start = elements
            elements += round_up(count, line)
            return start

        for l, n in enumerate(sizes):
            row = self.layers[l]
            row["size"] = n
            row["stride"] = at.panel_stride(n)
            panels = block * int(row["stride"])
            if l > 0:
                row["weights"] = parameters
                row["biases"] = parameters + n * sizes[l - 1]
                row["first_unit"] = units
                parameters += n * (sizes[l - 1] + 1)
                units += n
            if 0 < l < len(sizes) - 1:
                row["activation"] = EPILOGUES.get(activations[l - 1], BY_PASS)
                row["activation_pass"] = pass_of(activations[l - 1], dtype)
            row["panels"] = reserve(panels + block * round_up(n, line))
            row["units"] = row["panels"] + panels
            row["unit_shards"] = 1
            if l == 2 and len(starts) > 2:
                self._starts = np.array(starts)
                row["unit_shards"], row["shard_starts"] = len(starts) - 1, self._starts.ctypes.data
                job["unit_shard_sums"] = reserve((len(starts) - 1) * panels)
            if learning:
                row["deltas"] = reserve(panels)
                row["slopes"] = reserve(panels)
                row["bias_sums"] = reserve(round_up(n, line) * line)
        job["block"], job["threads"], job["sample_shards"] = block, 1, 1
        job["layers"], job["layer_count"] = self.layers.ctypes.data, len(sizes)
        job["target_panels"] = reserve(block * int(self.layers[-1]["stride"]))
        job["losses"] = reserve(block)
        job["shares"] = reserve(block)
        job["totals"] = reserve(2 * block)
        job["weight_sums"] = reserve(line * min(self.threads, block // line))
        # what the products need is more than the line and the square of a line that all others take
        self._scratch = round_up(scratch_size(max(sizes) if learning else 0, dtype.itemsize), line)
        scratch_at = reserve(self._scratch)
        self.workspace = memory.zeros(elements, dtype)
        sums = 2 * units + (len(starts) - 1) * sizes[min(2, len(sizes) - 1)]  # see "unit_sums"
        self._vectors = 0  # elements of "group_vectors"
        if self._in_unit_shards:
            job["group_vectors"] = elements
            largest = max(parameter_count(self._group_sizes(2, group)) for group in range(2))
            self._vectors = 4 * round_up(largest, line) + round_up(sums * 8 // dtype.itemsize, line)
        self._of_threads: np.ndarray | None = None
        self._of_shards: tuple[np.ndarray, np.ndarray] | None = None
        self._groups: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        job["workspace"] = self.workspace.ctypes.data
        job["scratch"] = self.workspace.ctypes.data + scratch_at * dtype.itemsize
        job["scratch_bytes"] = self._scratch * dtype.itemsize
        self.gradient = memory.zeros(parameters if learning else 0, dtype)
        job["gradient_at"] = self.gradient.ctypes.data
        self.unit_sums = np.zeros(sums if learning else 0)
        job["unit_sums"] = self.unit_sums.ctypes.data
        self._learning = learning
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

    def _cut_weights(self, threads: int) -> list[Piece]:
        """The work on the weights in tasks of equal size: runs of outputs."""
        if not self._learning:
            return []
        sizes, line = self._sizes, LINE_BYTES // self.dtype.itemsize
        pieces = [(l, o, min(o + at.CUT, sizes[l])) for l in range(1, len(sizes)) for o in range(0, sizes[l], at.CUT)]

        def cut(pieces: Sequence[tuple[int, int, int]], parts: int) -> list[int]:
            """Which of so many parts of equal weight each piece belongs to."""
            lines = [-(-n // line) for n in sizes]  # a part of a line takes as long as a whole one
            ends = np.cumsum([0, *((last - first) * lines[l - 1] for l, first, last in pieces)])
            return [int((a + b) // 2 * parts // ends[-1]) for a, b in zip(ends, ends[1:])]

        count = 1
        if threads > 1:
            most = 1 + self.block * parameter_count(sizes) // (threads * TASK_WORK)
            count = threads * min(TASKS_PER_THREAD, most)
        tasks = np.unique(cut(pieces, count), return_inverse=True)[1].tolist()  # no number without work
        merged: list[Piece] = []
        for (l, first, last), task in zip(pieces, tasks):
            if merged and merged[-1].layer == l and merged[-1].task == task:
                merged[-1] = merged[-1]._replace(last=last)
            else:
                merged.append(Piece(l, first, last, task))
        return merged

    def new_job(self, samples: int, batch: int, steps: int | None = None, first_step: int = 0) -> np.void:
        """A job on `samples` rows in batches of `batch`: all steps of an epoch, or `steps` from `first_step` on."""
        job = self._job.copy()
        job["samples"], job["batch"] = samples, min(batch, samples)
        job["steps_per_epoch"] = -(-samples // batch)
        job["steps"] = job["steps_per_epoch"] if steps is None else steps
        job["first_step"] = first_step
        return job

    def divide(self, job: np.void, batch: int) -> None:
        """Divide a job into sample shards, where that pays for batches of ``batch``; its own may be smaller.

        What the job is to do is known by then. Whether it is must not depend on the threads, nor on its steps.
        """
        shards = sample_shards_of(self._sizes, self.dtype, batch)
        is_small = len(self._sizes) == 3 and batch <= UNIT_SHARDS_BATCH[self.dtype.itemsize]
        if shards == 1 or (is_small and self._can_be_sharded(job)):
            return
        line = LINE_BYTES // self.dtype.itemsize
        if self._of_shards is None or len(self._of_shards[0]) < shards * len(self.gradient):
            self._of_shards = (
                memory.zeros(shards * len(self.gradient), self.dtype),
                memory.zeros(shards * LINE_BYTES // 8, np.dtype("float64")),
            )
        gradients, sums = self._of_shards
        block = _samples(self._sizes, self.dtype, SHARD_BLOCK_BYTES, LEAST_SHARD_BLOCK)
        job["block"] = min(self.block, block)
        job["sample_shards"], job["shard_samples"] = shards, round_up(-(-batch // shards), line)
        job["shard_gradients"], job["shard_losses"] = gradients.ctypes.data, sums.ctypes.data

    def _group_sizes(self, groups: int, group: int) -> list[int]:
        """The layer sizes of one of so many groups of unit shards."""
        starts, run = self.shape.shard_starts, self.shape.unit_shards // groups
        return [self._sizes[0], starts[(group + 1) * run] - starts[group * run], *self._sizes[2:]]

    def _tables_of_groups(self, groups: int) -> np.ndarray:
        """The tables of all groups; their samples lie where those of the whole network do."""
        if groups not in self._groups:
            run = self.shape.unit_shards // groups
            starts = np.stack([self._starts[g * run : (g + 1) * run + 1] for g in range(groups)])
            starts -= starts[:, :1]
            tables = np.stack([self.layers] * groups)
            for group, table in enumerate(tables):
                sizes = self._group_sizes(groups, group)
                table[1]["size"] = sizes[1]
                table[2]["unit_shards"], table[2]["shard_starts"] = run, starts[group].ctypes.data
                for l in range(1, len(sizes)):
                    table[l]["weights"] = parameter_count(sizes[:l])
                    table[l]["biases"] = table[l]["weights"] + sizes[l] * sizes[l - 1]
                    table[l]["first_unit"] = sum(sizes[1:l])
            self._groups[groups] = tables, starts
        return self._groups[groups][0]

    def _can_be_sharded(self, job: np.void) -> bool:
        """Whether the steps of a job can be done in unit shards: of one block, with an update that needs no norm."""
        updates = job["update"] > GRADIENT and not job["clip"]
        whole = job["sample_shards"] == 1 and job["batch"] <= job["block"]
        return bool(updates and whole and self.shape.unit_shards > 1)

    def worth_waking(self, job: np.void) -> int:
        """How many threads the whole job is worth, by its length."""
        work = int(job["steps"] * job["batch"]) * self.work_per_sample
        return max(1, 2 * work // WAKING_WORK) if work > WAKING_WORK else 1

    def useful(self, job: np.void, threads: int) -> tuple[int, int]:
        """How many threads, of so many, have something to do in a job, and how many groups of unit shards; 0: none.

        Where more would leave the slowest thread as much to do as fewer, it is fewer.
        """
        threads = min(threads, self.threads)
        shards = int(job["sample_shards"])
        if shards > 1:
            most = -(-shards // threads)
            return -(-shards // most), 0
        panels = -(-int(min(job["batch"], job["block"])) * self.dtype.itemsize // LINE_BYTES)
        shared = max(1, min(threads, panels))
        if self._in_unit_shards and job["steps"] >= LEAST_STEPS and self._can_be_sharded(job):
            groups = 1 << min(threads, self.shape.unit_shards).bit_length() - 1
            if groups > 1 and 2 * groups > shared:  # else whoever chooses may try both
                return groups, groups
        return shared, 0

    def thread_counts(self, job: np.void) -> list[int]:
        """The numbers of threads that may be tried for a job: 1, 2, 4 and so on, and the most that are useful."""
        counts = [1 << i for i in range(self.threads.bit_length())]
        return sorted({self.useful(job, count)[0] for count in [*counts, self.threads]})

    def _put_threads(self, job: np.void, threads: int, groups: int) -> None:
        """What each thread needs for itself; no more threads have it than have been at work together.

        A thread costs its scratch and, where it has shards, a workspace as large as the one of the whole plan and twice
        the parameters: all of it grows with the number of threads, and nothing with its square.
        """
        job["threads"], job["groups"] = threads, groups
        if groups:
            job["group_tables"] = self._tables_of_groups(groups).ctypes.data
        if threads == 1 and job["sample_shards"] == 1:
            return
        own = 0
        if groups or job["sample_shards"] > 1:
            own = len(self.workspace) + self._vectors
        size = threads * (self._scratch + own)
        if self._of_threads is None or len(self._of_threads) < size:
            self._of_threads = memory.zeros(size, self.dtype)
        start = self._of_threads.ctypes.data
        job["scratch"] = start + threads * own * self.dtype.itemsize
        job["own_workspaces"], job["own_workspace_bytes"] = start, own * self.dtype.itemsize

    def phases(self, job: np.void) -> list[Phase]:
        """The phases of a job."""
        threads = int(job["threads"])
        if threads not in self._pieces:
            self._pieces[threads] = self._cut_weights(threads)
        return make(self.shape, Work.of(job), threads, self._pieces[threads])

    def program(self, job: np.void) -> np.ndarray:
        """The program of a job; what it names is compiled when it is first asked for."""
        work, threads = Work.of(job), int(job["threads"])
        if (work, threads) not in self._programs:
            start = time.perf_counter()
            program = table(self.phases(job), self.dtype)
            self._run = run.call
            self._programs[work, threads] = program
            self.seconds_compiling += time.perf_counter() - start
        return self._programs[work, threads]

    def with_clock(self, job: np.void, program: np.ndarray) -> np.ndarray:
        """The job with room for each thread's copy and for the words by which they meet, which `run` works on.

        It belongs to one run, so that a helper thread that wakes up late reads what it was woken for.
        """
        threads = int(job["threads"])
        words = int(program[: at.PROGRAM.itemsize // 8].view(at.PROGRAM)[0]["words"]) + threads
        jobs = np.zeros(at.clock_at(threads) + words * at.CLOCK_LINE, np.int64)
        jobs[: at.JOB_BYTES // 8] = np.frombuffer(job.tobytes(), np.int64)
        return jobs

    def run(
        self, job: np.void, params: np.ndarray, costs: np.ndarray, hyper: np.ndarray | None = None,
        threads: int | None = None,
    ) -> tuple[int, int]:  # fmt: skip
        """Do a job, on at most so many threads; ``costs`` is (epochs, COST_FIELDS).

        Returns 0, or 1 + the number of the step whose losses were not finite and which was not applied; and 0, or the
        number of steps after which the job's ``stop`` ended it.
        """
        constants = _NO_HYPER if hyper is None else hyper
        job["params"], job["costs"] = params.ctypes.data, costs.ctypes.data
        job["hyper"] = constants.ctypes.data
        count, groups = self.useful(job, min(self.worth_waking(job), threads or self.threads))
        self._put_threads(job, count, groups)
        program = self.program(job)
        jobs = self.with_clock(job, program)
        run_on(count, self._run, jobs, program)
        clock = jobs[at.clock_at(count) :]
        return int(clock[at.FAILED_STEP]), int(clock[at.STOPPED])

    def panels(self, field: str, l: int, samples: int) -> np.ndarray:
        """A copy, as rows, of what a run left in the "panels", "deltas" or "slopes" of layer l."""
        line = LINE_BYTES // self.dtype.itemsize
        start, n, stride = (int(self.layers[l][name]) for name in (field, "size", "stride"))
        blocks = self.workspace[start : start + self.block * stride].reshape(-1, stride, line)
        return np.ascontiguousarray(blocks[:, :n].transpose(0, 2, 1).reshape(-1, n)[:samples])
