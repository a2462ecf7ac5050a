"""Step times on any number of threads: measured here, and what a model expects where there are more processors.

    python -m benchmarks.threads

It measures each network by turns in one process: with a given number of threads, and with the thread autotuner, which
chooses a number that is not larger.

The model reads the programs that the engine makes (fastbackprop/engine/program.py), so it knows who does what. An
operation takes cycles: a line of FMA each, a few for each line that is gathered, transposed or updated. The threads
claim tasks as they do. One thread's measured time, divided by its cycles, is the rate of a core. What changes cores is
counted in lines of the cache, for the thread that reads most: of the weights and of what it needs of the samples, of
the gradients of sample shards, of the sums of unit shards, and a line for each task, by which the threads meet. A line
costs what was measured between two threads on several machines, at least and at most: alone, as where they meet, and
in a stream. The model takes these costs for any number of cores: what memory and the links between them do for many at
once it does not know.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import fastbackprop as fb
from benchmarks import report as reports
from benchmarks.report import digits, table
from benchmarks.turns import by_turns, how_quiet, summary
from benchmarks.workloads import WORKLOADS, Problem, Workload, make_problem
from fastbackprop.engine import layout as at
from fastbackprop.engine import program
from fastbackprop.engine.entry import Entry
from fastbackprop.engine.layout import LINE_BYTES
from fastbackprop.engine.program import Op, Phase
from fastbackprop.engine.simd import load_acquire, load_double, pause, store, store_release
from fastbackprop.parameters import parameter_count
from fastbackprop.plan import Plan
from fastbackprop.threads import processors
from fastbackprop.training import Training

COUNTS = 1, 2, 3, 4, 8, 16
EXPECTED = 2, 4, 8, 16, 64
TURN = 0.05  # seconds of a turn, at least one epoch
# Nanoseconds of a line that another core has written, alone and in a stream, at least and at most: of neighbours, and
# of cores on a shared machine that are far apart.
LEAST, MOST = {"alone": 40.0, "stream": 7.0}, {"alone": 190.0, "stream": 40.0}
# Cycles of a line, about: of an input that is gathered and transposed, of a unit that is transposed, of an output with
# its loss, of parameters that are updated.
GATHERED, TRANSPOSED, OUTPUT, UPDATED = 10, 4, 30, 3


# ---------------------------------------------------------------------- measured


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """As many as the library takes where none are given."""
    name = "FASTBACKPROP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = str(threads)
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


class Steps:
    """A network that trains on a given number of threads or, where it may choose, on no more than that."""

    def __init__(self, problem: Problem, threads: int, *, chooses: bool) -> None:
        work = self.work = problem.work
        self.threads, self.problem = threads, problem
        self.net = fb.Network(
            work.sizes, work.hidden, work.output, dtype=work.dtype, threads=None if chooses else threads
        )
        self.net.params = problem.params
        self.training = None
        if work.optimizer:
            optimizer = {"sgd": fb.SGD, "adam": fb.Adam}[work.optimizer](work.learning_rate)
            self.training = Training(
                self.net, problem.X, problem.y, batch_size=work.batch, optimizer=optimizer, seed=0, shuffle=work.shuffle
            )
        self.run(1)  # compiles
        self.epochs = max(1, round(TURN / (self.turn(1) * work.steps * 1e-6)))

    def run(self, epochs: int) -> None:
        with at_most(self.threads):
            if self.training is not None:
                self.training.run(epochs)
            else:
                for _ in range(epochs):
                    self.net.gradients(self.problem.X, self.problem.y)

    def turn(self, epochs: int | None = None) -> float:
        """Microseconds a step."""
        epochs = epochs or self.epochs
        start = time.perf_counter()
        self.run(epochs)
        return (time.perf_counter() - start) / (epochs * self.work.steps) * 1e6


def measure(work: Workload, counts: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """For each number of threads microseconds a step: median, least and most of the turns."""
    problem = make_problem(work)
    players = {
        (count, chooses): Steps(problem, count, chooses=chooses) for count in counts for chooses in (False, True)
    }
    turns, _ = by_turns({name: player.turn for name, player in players.items()}, rounds)  # type: ignore[misc]
    return [
        {"network": work.name, "threads": count, "autotuned": chooses, **summary(turns[count, chooses])}  # type: ignore[index]
        for count, chooses in players
    ]


# ---------------------------------------------------------------------- what a line costs that another core has written


def _exchange(word, lines, count, turns, slot):
    """Two threads by turns write `count` lines and read what the other wrote; `word` says whose turn it is."""
    total = 0.0
    for turn in range(turns):
        while load_acquire(word) != 2 * turn + slot:
            pause()
        for i in range(count):
            total += load_double(lines + i * 64)
            store(lines + i * 64, np.float64(turn))
        store_release(word, 2 * turn + slot + 1)
    return total > 0.0


_EXCHANGE = Entry("benchmark_lines", "aaiii", lambda: _exchange, keep=False)


def _seconds_a_turn(count: int, turns: int) -> float:
    words, lines = np.zeros(64, np.int64), np.zeros(8 * count + 64)
    threads = [threading.Thread(target=_EXCHANGE.call, args=(words, lines, count, turns, slot)) for slot in range(2)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - start) / (2 * turns)


def line_costs() -> dict[str, float]:
    """Nanoseconds of a line that the other of two threads has written: alone, and in a stream of 256."""
    _seconds_a_turn(1, 1)  # compiles
    alone = min(_seconds_a_turn(0, 5000) for _ in range(9))
    stream = min(_seconds_a_turn(256, 500) for _ in range(9))
    return {"alone": alone * 1e9, "stream": (stream - alone) / 256 * 1e9}


# ---------------------------------------------------------------------- the model


class Model:
    """What a step of a workload is, on any number of threads."""

    def __init__(self, work: Workload) -> None:
        self.work, self.sizes = work, work.sizes
        self.line = LINE_BYTES // np.dtype(work.dtype).itemsize
        net = fb.Network(work.sizes, work.hidden, work.output, dtype=work.dtype)
        with net.plan(work.batch, True, max(EXPECTED)) as plan:
            self.plan: Plan = plan
        job = self.job = plan.new_job(work.samples, work.batch)
        optimizer = {"sgd": fb.SGD(), "adam": fb.Adam()}.get(work.optimizer or "")
        job["update"] = program.GRADIENT if optimizer is None else optimizer.code
        job["target_kind"] = at.CLASSES if work.output == "softmax" else at.DENSE
        plan.divide(job, work.batch)
        job["steps"] = 1 if optimizer is None else 1000  # of several epochs: long enough for any way
        self.block = int(job["block"])
        if work.optimizer == "sgd" and job["sample_shards"] == 1:
            job["update"] = program.FUSED_SGD

    def phases(self, threads: int) -> tuple[list[Phase], int, int]:
        """Those of a step, the threads that have something to do, and the groups of unit shards, or 0."""
        count, groups = self.plan.useful(self.job, min(threads, self.plan.worth_waking(self.job)))
        job = self.job.copy()
        job["threads"], job["groups"] = count, groups
        found = self.plan.phases(job)
        return [phase for phase in found if phase.when in (at.IN_BLOCK, at.AFTER_BLOCKS)], count, groups

    def cycles(self, task: list[Op], samples: int) -> float:
        """The cycles of a task. It has `samples`, unless its operations say that it has a shard of them."""
        sizes, total = list(self.sizes), 0.0
        for op in task:
            name, l = op.operation.partition(".")[2], op.layer
            if name == "enter_sample_shard":
                size = int(self.job["shard_samples"])
                samples = max(0, min(size, samples - op.slice_[0] * size))
            elif name == "enter_group":
                starts, (group, groups) = self.plan.shape.shard_starts, op.slice_
                run = (len(starts) - 1) // groups
                sizes[1] = starts[(group + 1) * run] - starts[group * run]
            panels = -(-samples // self.line)
            part = (op.slice_[0] + 1) * panels // op.slice_[1] - op.slice_[0] * panels // op.slice_[1]
            own = panels if sizes[1] != self.sizes[1] else part  # the slice of a group is all samples
            outputs = op.outputs[1] - op.outputs[0]
            if name.startswith(("forward_", "sum_own_")):
                total += own * sizes[l - 1] * sizes[l]
            elif name.startswith("backward_"):
                total += own * sizes[l] * sizes[l + 1]
            elif name.startswith("gradient_"):
                total += panels * outputs * sizes[l - 1]
            elif name.startswith("gather_"):
                total += own * sizes[0] * GATHERED
            elif name.startswith("transpose_"):
                total += own * sizes[l] * TRANSPOSED
            elif name.startswith("output_layer"):
                total += own * sizes[-1] * OUTPUT
            elif name.startswith(("apply_", "add_up")):
                shards = int(self.job["sample_shards"])
                total += outputs * (sizes[l - 1] + 1) / self.line * (UPDATED + shards)
        return total

    def longest(self, phases: list[Phase], threads: int) -> float:
        """Cycles from one meeting to the next, summed: a thread does its own share of the tasks, then what is left."""
        total = 0.0
        for phase in phases:
            cycles = [self.cycles(task, self.work.batch) for task in phase.tasks]
            left, clock = set(range(len(cycles))), [0.0] * threads
            while left:
                slot = clock.index(min(clock))
                first = slot * len(cycles) // threads
                task = min(left, key=lambda t: (t - first) % len(cycles))
                left.remove(task)
                clock[slot] += cycles[task]
            total += max(clock)
        return total

    def lines(self, threads: int, groups: int) -> float:
        """That the thread which reads most reads, and others have written."""
        if threads == 1:
            return 0.0
        others, panels = 1 - 1 / threads, -(-self.work.batch // self.line)
        weights = parameter_count(self.sizes) / self.line
        if groups:
            return (groups - 1) * panels * self.sizes[2]
        if self.job["sample_shards"] > 1:  # its share of the gradients, and all weights
            return others * weights * (int(self.job["sample_shards"]) / threads + 1)
        # the weights; the units of all samples, and the deltas of its outputs
        return others * (weights + panels * (sum(self.sizes[:-1]) + sum(self.sizes[1:]) / threads))

    def meetings(self, phases: list[Phase]) -> int:
        """Lines by which the threads meet: one for each task, which each of them looks at, and what it claims."""
        return sum(len(phase.tasks) + 1 for phase in phases)

    def expected(self, threads: int, one: float, costs: dict[str, float]) -> dict[str, Any]:
        """Microseconds of a step, where one thread takes `one`."""
        alone, _, _ = self.phases(1)
        phases, count, groups = self.phases(threads)
        work = one * self.longest(phases, count) / self.longest(alone, 1)
        handed = self.lines(count, groups) * costs["stream"] * 1e-3
        meetings = self.meetings(phases) * costs["alone"] * 1e-3 if count > 1 else 0.0
        return {
            "threads": threads, "used": count, "us": work + handed + meetings, "work": work, "handed": handed,
            "meetings": meetings, "how": self.how(count, groups),
        }  # fmt: skip

    def best(self, threads: int, one: float, costs: dict[str, float]) -> dict[str, Any]:
        """The same on the number that the autotuner finds, of 1, 2, 4 and so on up to `threads`."""
        counts = [1 << i for i in range(threads.bit_length())]
        return min((self.expected(count, one, costs) for count in counts), key=lambda row: row["us"])

    def how(self, count: int, groups: int) -> str:
        """The name of the way in which `count` threads do the step."""
        if count == 1:
            return "alone"
        if groups:
            return f"{len(self.plan.shape.shard_starts) - 1} unit shards"
        shards = int(self.job["sample_shards"])
        return f"{shards} sample shards" if shards > 1 else "shared"


# ---------------------------------------------------------------------- the report


def threads_report(
    networks: Sequence[str] | None = None, counts: Sequence[int] = COUNTS, rounds: int = 5, dtype: str = "float32"
) -> dict[str, Any]:  # fmt: skip
    """Measure, and expect."""
    report: dict[str, Any] = reports.where_and_when() | {"dtype": dtype, "rounds": rounds, "line": line_costs()}
    report |= {"processors": processors(), "measured": [], "expected": []}
    for name in networks or list(WORKLOADS):
        work = WORKLOADS[name]
        if work.optimizer is not None:  # else its dtype is a part of what it is
            work = replace(work, dtype=dtype)
        rows = measure(work, sorted({1, *counts}), rounds)
        report["measured"] += rows
        one = min(row["low"] for row in rows if row["threads"] == 1)
        model = Model(work)
        report["expected"].append(
            {"network": name, "one": one}
            | {
                end: [model.expected(2, one, costs), *(model.best(count, one, costs) for count in EXPECTED[1:])]
                for end, costs in (("least", LEAST), ("most", MOST))
            }
        )
        print(f"{name}: done", file=sys.stderr)
    return report


def _ends(a: float, b: float) -> str:
    """A range; one number where its ends look alike."""
    return digits(a) if digits(a) == digits(b) else f"{digits(a)} to {digits(b)}"


def markdown(report: dict[str, Any]) -> str:
    costs, counts = report["line"], sorted({row["threads"] for row in report["measured"]})
    text = [
        f"# Steps on several threads\n\n{report['processor']}, {report['processors']} processors, {report['dtype']}, "
        f"{report['date']}. A line that another core has written: {digits(costs['alone'])} ns alone, "
        f"{digits(costs['stream'])} ns in a stream."
    ]
    for title, field in (("median", "us"), ("least", "low")):
        lines = []
        for network in dict.fromkeys(row["network"] for row in report["measured"]):
            found = {
                (row["threads"], row["autotuned"]): row[field]
                for row in report["measured"]
                if row["network"] == network
            }
            cells = [f"{digits(found[count, False])} / {digits(found[count, True])}" for count in counts]
            lines.append([network, *cells])
        head = ["network", *(f"{count} thread{'s' * (count > 1)}" for count in counts)]
        text.append(
            f"us/step, {title} of {report['rounds']} turns: exactly so many threads / autotuned among at most so many."
        )
        text.append(table(head, lines))
    lines = []
    for item in report["expected"]:
        pairs = list(zip(item["least"], item["most"], strict=True))
        times = {row["threads"]: row["low"] for row in report["measured"] if row["network"] == item["network"]
                 and not row["autotuned"]}  # fmt: skip
        speedups = [
            "1x"
            if low["used"] == 1
            else f"{_ends(item['one'] / high['us'], item['one'] / low['us'])}x "
            f"({_ends(*sorted((high['used'], low['used'])))})"
            for low, high in pairs[1:]
        ]
        two, most = pairs[0], item["most"][-1]
        shares = "/".join(f"{most[part] / most['us']:.0%}" for part in ("work", "handed", "meetings"))
        expected = _ends(two[0]["us"], two[1]["us"])
        lines.append([
            item["network"], digits(item["one"]), expected, digits(times.get(2)), *speedups, most["how"], shares
        ])  # fmt: skip
    head = ["network", "1 thread", "2, expected", "2, measured", *(f"{count} cores" for count in EXPECTED[1:])]
    text.append(
        "Expected: us/step where lines cost the least and the most, beside the least that was measured; times as fast "
        "as one thread (threads that are used); at the most cores and costs how, and the shares of work / lines handed "
        "over / meetings."
    )
    text.append(table([*head, "how", "shares"], lines))
    return "\n\n".join(text) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", choices=WORKLOADS, nargs="+", help="(default: all)")
    parser.add_argument("--threads", type=reports.whole(1, 256), nargs="+", default=COUNTS,
                        help=f"(default: {' '.join(map(str, COUNTS))})")  # fmt: skip
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)")
    reports.add_rounds(parser, 5)
    reports.add_out(parser, "threads.json and .md")
    args = parser.parse_args(argv)
    print(how_quiet(), file=sys.stderr)
    report = threads_report(args.networks, args.threads, args.rounds, args.dtype)
    text = markdown(report)
    print(text)
    print("saved", *reports.save(report, Path(args.out), "threads", text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
