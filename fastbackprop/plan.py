"""A plan: the tables and the workspace with which the engine works on networks of one shape, a block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbackprop.engine import layout as at
from fastbackprop.engine.epoch import run
from fastbackprop.engine.simd import LINE_BYTES
from fastbackprop.engine.update import HYPER_FIELDS
from fastbackprop.threads import run_on

# A block of fewer multiply-adds than this is done by one thread: meeting the other twice would cost more than it saves.
SERIAL_WORK = 150_000
# A job of fewer multiply-adds than this is not worth waking another thread for.
WAKING_WORK = 5_000_000
# Multiply-adds of a task of the second phase at least, and how many tasks a thread may have: more than one, so that a
# thread that is held up does less; not too many, since each is a line that travels between the threads.
TASK_WORK = 1_000_000
TASKS_PER_THREAD = 4
CUT = 8  # outputs that are not divided
# Bytes of activations, deltas and their transposes that a block of samples may take: about the second-level caches.
BLOCK_BYTES = 2 << 20
# Samples of a block at least, where a batch has them: so many uses of each weight pay for reading it.
LEAST_BLOCK = 512


def round_up(n: int, multiple: int) -> int:
    """The least multiple that is not below n."""
    return -(-n // multiple) * multiple


def parameter_count(sizes: Sequence[int]) -> int:
    """Elements of the flat vector of all W[l] and b[l]."""
    return sum(n_out * (n_in + 1) for n_in, n_out in zip(sizes, sizes[1:], strict=False))


def samples_of_block(sizes: Sequence[int], dtype: np.dtype[Any]) -> int:
    """How many samples a block of a large batch has."""
    return round_up(max(LEAST_BLOCK, BLOCK_BYTES // (3 * sum(sizes) * dtype.itemsize)), LINE_BYTES // dtype.itemsize)


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

    A plan holds no parameters and no data. One run at a time may use it.
    """

    def __init__(
        self, sizes: Sequence[int], activations: Sequence[int], head: int, dtype: np.dtype[Any], block: int,
        threads: int, learning: bool,
    ) -> None:  # fmt: skip
        line = LINE_BYTES // dtype.itemsize
        weights = sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))
        self.dtype = dtype
        self.block = block
        self.work_per_sample = weights * (3 if learning else 1)  # multiply-adds
        self.threads = min(threads, block // line) if block * self.work_per_sample > SERIAL_WORK else 1
        self.layers = np.zeros((len(sizes), at.LAYER_FIELDS), np.int64)
        job = np.zeros(at.JOB_FIELDS, np.int64)
        elements = parameters = 0

        def reserve(count: int) -> int:
            nonlocal elements
            start = elements
            elements += round_up(count, line)
            return start

        for l, n in enumerate(sizes):
            row = self.layers[l]
            row[at.SIZE] = n
            strips = round_up(n, at.STRIP) // at.STRIP
            row[at.STRIDE] = (strips + 1 - strips % 2) * at.STRIP
            panels = block * int(row[at.STRIDE])
            if l > 0:
                row[at.WEIGHTS] = parameters
                row[at.BIASES] = parameters + n * sizes[l - 1]
                parameters += n * (sizes[l - 1] + 1)
                row[at.ACTIVATION] = head if l == len(sizes) - 1 else activations[l - 1]
            row[at.PANELS] = reserve(panels)
            row[at.UNITS] = reserve(block * round_up(n, line))
            if learning:
                row[at.DELTAS] = reserve(panels)
                row[at.SLOPES] = reserve(panels)
                row[at.BIAS_SUMS] = reserve(round_up(n, line) * line)
        job[at.BLOCK] = block
        job[at.SLICES] = self.threads
        job[at.TARGET_PANELS] = reserve(block * int(self.layers[-1, at.STRIDE]))
        job[at.LOSSES] = reserve(block)
        job[at.SCRATCH_SIZE] = max(at.DEPTH * at.STRIP, line + line * line)
        job[at.SCRATCH] = reserve(int(job[at.SCRATCH_SIZE]) * self.threads)
        memory = np.zeros(elements * dtype.itemsize + LINE_BYTES, np.uint8)
        aligned = -memory.ctypes.data % LINE_BYTES
        self.workspace = memory[aligned : aligned + elements * dtype.itemsize].view(dtype)
        job[at.WORKSPACE] = self.workspace.ctypes.data
        self.gradient = np.zeros(parameters if learning else 0, dtype)
        job[at.GRADIENT_AT] = self.gradient.ctypes.data
        self.tasks = self._cut_weights(sizes) if learning else np.zeros((0, at.TASK_FIELDS), np.int64)
        job[at.TASKS] = self.tasks[-1, at.TASK] + 1 if learning else 1
        self._job = job

    def _cut_weights(self, sizes: Sequence[int]) -> np.ndarray:
        """The work of the second phase in tasks of equal size: runs of outputs, from the first layer to the last."""
        total = parameter_count(sizes)
        count = 1
        if self.threads > 1:
            count = self.threads * min(TASKS_PER_THREAD, 1 + self.block * total // (self.threads * TASK_WORK))
        rows: list[list[int]] = []
        before = 0
        for l in range(1, len(sizes)):
            for first in range(0, sizes[l], CUT):
                last = min(first + CUT, sizes[l])
                weight = (last - first) * (sizes[l - 1] + 1)
                task = (before + weight // 2) * count // total
                before += weight
                if rows and rows[-1][at.TASK_LAYER] == l and rows[-1][at.TASK] == task:
                    rows[-1][at.TASK_LAST] = last
                else:
                    rows.append([l, first, last, task])
        table = np.array(rows, np.int64)
        table[:, at.TASK] = np.unique(table[:, at.TASK], return_inverse=True)[1]  # no number without work
        return table

    def new_job(self, samples: int, batch: int, steps: int | None = None, first_step: int = 0) -> np.ndarray:
        """A job on `samples` rows in batches of `batch`: all steps of one epoch, or `steps` of them from `first_step`.

        A job belongs to one run, so that a helper thread that wakes up late reads what it was woken for.
        """
        job = self._job.copy()
        job[at.SAMPLES], job[at.BATCH] = samples, min(batch, samples)
        job[at.STEPS_PER_EPOCH] = -(-samples // batch)
        job[at.STEPS] = job[at.STEPS_PER_EPOCH] if steps is None else steps
        job[at.FIRST_STEP] = first_step
        job[at.BLOCKS] = -(-job[at.BATCH] // self.block)
        return job

    def run(self, job: np.ndarray, params: np.ndarray, costs: np.ndarray, hyper: np.ndarray | None = None) -> int:
        """Do a job. Returns 0, or 1 + the number of the step whose losses were not finite and which was not applied."""
        clock = np.zeros(at.clock_size(int(job[at.SLICES]), int(job[at.TASKS])), np.int64)
        constants = np.zeros(HYPER_FIELDS) if hyper is None else hyper
        work = int(job[at.STEPS] * job[at.BATCH]) * self.work_per_sample
        threads = self.threads if work > WAKING_WORK else 1
        run_on(threads, run, job, self.layers, self.tasks, params, constants, costs, clock)
        return int(clock[at.FAILED_STEP])

    def panels(self, field: int, l: int, samples: int) -> np.ndarray:
        """A copy, as rows, of what a run left in the panels (PANELS, DELTAS or SLOPES) of layer l."""
        line = LINE_BYTES // self.dtype.itemsize
        start, n, stride = (int(self.layers[l, f]) for f in (field, at.SIZE, at.STRIDE))
        blocks = self.workspace[start : start + self.block * stride].reshape(-1, stride, line)
        return np.ascontiguousarray(blocks[:, :n].transpose(0, 2, 1).reshape(-1, n)[:samples])
