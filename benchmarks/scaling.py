"""How the cost of a training step grows with the batch and with the parameters, on one thread and on all.

    python -m benchmarks.scaling

The batch grows in one network, the width in another with one batch. To each series t(x) two things are fitted: the line
t = a + b x, a and b from 0 up, by least squares of the relative errors; and the exponent p of t = c x^p, by least
squares in log-log, over the points where the fixed cost a is below FIXED of the line: p is 1 where the cost is linear.
Below that range a step is mostly what does not grow, and no power of x describes it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report as reports
from benchmarks.peers import PEERS, PeerError, available_cpus, start_workers
from benchmarks.report import digits, table
from benchmarks.turns import summary
from benchmarks.workloads import Workload

FIXED = 0.05
BATCHES = tuple(2**k for k in range(4, 17))  # 16 to 65 536: more than three decades
WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # 250 to 530 000 parameters


def batch_workload(batch: int) -> Workload:
    """The network of `digits`; two batches or more, so that rows are gathered as in any training."""
    return Workload(f"batch {batch}", (64, 128, 10), batch, max(2 * batch, 2048))


def width_workload(width: int) -> Workload:
    return Workload(f"width {width}", (width, width, width, 10), 256, 2560)


SERIES: dict[str, tuple[Callable[[int], Workload], tuple[int, ...], Callable[[Workload], int]]] = {
    "batch": (batch_workload, BATCHES, lambda work: work.batch),
    "parameters": (width_workload, WIDTHS, lambda work: work.parameters),
}


def line(x: np.ndarray, t: np.ndarray) -> tuple[float, float]:
    """a and b of t = a + b x, neither below 0, that minimise the sum of ((a + b x - t) / t)^2."""
    columns = np.stack([1 / t, x / t], axis=1)
    a, b = np.linalg.lstsq(columns, np.ones(len(t)), rcond=None)[0]
    if a < 0:
        a, b = 0.0, float(np.sum(columns[:, 1]) / np.sum(columns[:, 1] ** 2))
    elif b < 0:
        a, b = float(np.sum(columns[:, 0]) / np.sum(columns[:, 0] ** 2)), 0.0
    return float(a), float(b)


def fit(x: Sequence[float], t: Sequence[float]) -> dict[str, Any]:
    """The line, the range where its fixed part is negligible, and the exponent there (None: fewer than 3 points)."""
    xs, ts = np.asarray(x, float), np.asarray(t, float)
    a, b = line(xs, ts)
    there = a <= FIXED * (a + b * xs)
    exponent = None
    if there.sum() >= 3:
        exponent = float(np.polyfit(np.log(xs[there]), np.log(ts[there]), 1)[0])
    return {
        "a": a, "b": b, "worst": float(np.max(np.abs((a + b * xs) / ts - 1))), "exponent": exponent,
        "from": float(xs[there].min()) if there.any() else None, "to": float(xs.max()), "points": int(there.sum()),
    }  # fmt: skip


def measure(works: Sequence[Workload], peer: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """For each workload microseconds per step: median, least and most of the turns."""
    rows = []
    with start_workers([peer], threads) as (workers, missing):
        if missing:
            raise missing[peer]
        for work in works:
            workers[peer].ask("prepare", work, 0)
            turns = [workers[peer].ask("turn") for _ in range(rounds)]
            found = summary([turn["us"] for turn in turns])
            rows.append({
                "batch": work.batch, "sizes": work.sizes, "parameters": work.parameters, **found,
                "gflops": work.flops / found["us"] / 1e3, "others": max(turn["others"] for turn in turns),
            })  # fmt: skip
    return rows


def scaling(
    dtype: str = "float32", threads: Sequence[int] | None = None, rounds: int = 3, peer: str = "ours",
    points: dict[str, Sequence[int]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure and return the report. threads None: one, and one for each CPU. `points` overrides the sizes."""
    threads = threads or sorted({1, len(available_cpus())})
    report: dict[str, Any] = reports.where_and_when() | {"peer": peer, "dtype": dtype, "rounds": rounds, "series": []}
    for name, (make, sizes, x_of) in SERIES.items():
        works = [replace(make(size), dtype=dtype) for size in (points or {}).get(name, sizes)]
        for count in threads:
            rows = measure(works, peer, count, rounds)
            x = [x_of(work) for work in works]
            report["series"].append(
                {"x": name, "threads": count, "rows": rows, "fit": fit(x, [row["us"] for row in rows])}
            )
    return report


def title(series: dict[str, Any]) -> str:
    """What is fixed while x grows."""
    row = series["rows"][0]
    if series["x"] == "batch":
        return f"the batch, {'-'.join(map(str, row['sizes']))}"
    return f"the parameters, n-n-n-{row['sizes'][-1]}, batch {row['batch']}"


def verdict(series: dict[str, Any]) -> str:
    found = series["fit"]
    text = f"t = {digits(found['a'])} + {found['b']:.3g} x us, at most {found['worst']:.0%} off"
    if found["exponent"] is None:
        return f"{text}; too few points where the fixed cost is negligible for an exponent"
    count, start, end = found["points"], found["from"], found["to"]
    return f"{text}; exponent {found['exponent']:.2f} over the {count} points from {start:,.0f} to {end:,.0f}"


def markdown(report: dict[str, Any]) -> str:
    text = [f"# Time per SGD step as the work grows\n\n{report['processor']}, {report['dtype']}, {report['date']}."]
    for series in report["series"]:
        text.append(f"By {title(series)}, {series['threads']} thread(s): {verdict(series)}.")
        lines = [
            [f"{row[series['x']]:,}", digits(row["us"]), f"{digits(row['low'])}..{digits(row['high'])}",
             digits(row["gflops"]), f"{row['others']:.2f}"]
            for row in series["rows"]
        ]  # fmt: skip
        text.append(table([series["x"], "us/step", "min..max", "GFLOP/s", "others"], lines))
    return "\n\n".join(text) + "\n"


def plot(report: dict[str, Any], path: Path) -> bool:
    """A panel for each x: the measured points, the fitted lines, the exponents. False: no matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    names = list(dict.fromkeys(series["x"] for series in report["series"]))
    figure = Figure(figsize=(5 * len(names), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names):
        of_name = [series for series in report["series"] if series["x"] == name]
        for series, color, marker in zip(of_name, ["#0072b2", "#d55e00", "#009e73"], "osD"):
            found = series["fit"]
            x = np.array([row[name] for row in series["rows"]], float)
            t = np.array([row["us"] for row in series["rows"]])
            label = f"{series['threads']} thread" + "s" * (series["threads"] > 1)
            if found["exponent"] is not None:
                label += f": exponent {found['exponent']:.2f} from {found['from']:,.0f}"
            axes.plot(x, t, marker, color=color, ms=5, label=label)
            grid = np.geomspace(x[0], x[-1], 200)
            axes.plot(grid, found["a"] + found["b"] * grid, color=color, lw=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(title(of_name[0]))
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left")
    figure.get_axes()[0].set_ylabel("us per training step")
    figure.suptitle(f"{report['dtype']}; lines: t = a + b x")
    figure.savefig(path, dpi=150)
    return True


def save(report: dict[str, Any], out: Path) -> list[Path]:
    return reports.save(report, out, "scaling", markdown(report), plot)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)")
    parser.add_argument("--peer", choices=PEERS, default="ours", help="whose steps (default: ours)")
    parser.add_argument("--threads", type=reports.threads(len(available_cpus())), nargs="+",
                        help="(default: 1, and one for each CPU)")  # fmt: skip
    reports.add_rounds(parser, 3)
    reports.add_out(parser, "scaling.json, .md and .png")
    args = parser.parse_args(argv)
    try:
        report = scaling(args.dtype, args.threads, args.rounds, args.peer)
    except PeerError as error:
        print(f"error: {args.peer}: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    print("saved", *save(report, args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
