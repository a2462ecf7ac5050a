"""Every network by every peer: microseconds per SGD step, measured so that nobody is in another's way.

    python -m benchmarks.compare --networks tiny digits --peers ours numpy jax_scan

A step is one mini-batch: gather, forward, backward, update; an epoch's shuffle is in the time too. Each engine lives
in its own process (benchmarks/peers), they take turns in several rounds, each round starts with another one. A
figure is the median over rounds of each turn's median; the spread is the smallest and largest turn.

X is handed over in the form that `--inputs` names, by default as an array of the network's dtype in C order. An
engine gets it as its user has it, and does with it what its user would. fastbackprop: `fit(X)`. scikit-learn:
`fit(X)`, which learns in float64 from all that is not float32. NumPy: each batch is converted as it is gathered;
frames and sparse matrices are made an array once, outside the time. PyTorch and JAX: X is made a tensor of the
network's dtype once, outside the time.

Before an engine is timed it trains the network for about 20 steps from the same parameters on the same batches. The
result must be the NumPy peer's: for each weight matrix and bias vector, the 2-norm of the difference over the 2-norm
of what the training changed must stay below TOLERANCE. Otherwise the run ends with an error that names the peer.

GFLOP/s counts what a step's products need, nothing else (Workload.flops), so waste does not look like speed. The
peak is the engine's own register tile on data in the first-level cache, on all the threads in use at once.
"others" is how many CPUs the rest of the machine used in the worst turn: spinning threads suffer from it most, so a
run where it is not near 0 says nothing.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report as reports
from benchmarks.forms import FORMS
from benchmarks.isa import ISAS, environment
from benchmarks.peers import CALL, PEERS, TURN, WARM, PeerError, ResultsDiffer, Worker, available_cpus, start_workers
from benchmarks.report import digits, table
from benchmarks.turns import QUIET, by_turns, how_quiet, minutes, summary
from benchmarks.workloads import WORKLOADS, Workload, layers, make_problem

# Of the change made by the short training. Small networks agree to 1e-5 and 1e-14. At wide, rounding moves some of
# four million Z across relu's kink, in each engine others: 1e-3. Work in bfloat16 misses by 1e-2 and more.
TOLERANCE = {"float32": 5e-3, "float64": 1e-8}
# scikit-learn adds Adam's epsilon before the bias correction, the others after it: 4e-5 at matexp, in both dtypes.
OTHER_ADAM = {"sklearn": 1e-4}
BASELINE = "numpy"
OWN = "own"  # of --inputs: an array of the network's dtype in C order


def deviation(work: Workload, got: np.ndarray, expected: np.ndarray, start: np.ndarray) -> float:
    """The largest over layers of ||got - expected|| / ||expected - start||, for W and b apart; inf if not finite."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    each = [layers(vector.astype(np.float64), work.sizes) for vector in (got, expected, start)]
    parts = zip(*(weights + biases for weights, biases in each))
    return float(max(np.linalg.norm(g - e) / np.linalg.norm(e - s) for g, e, s in parts))


def check(work: Workload, seed: int, peer: str, got: np.ndarray, expected: np.ndarray) -> float:
    """The peer's deviation, if it is below the tolerance."""
    start = make_problem(work, seed).params if work.optimizer else np.zeros_like(expected)
    error, limit = deviation(work, got, expected, start), TOLERANCE[work.dtype]
    if work.optimizer == "adam":
        limit = max(limit, OTHER_ADAM.get(peer, 0.0))
    if not error <= limit:
        what = "parameters after a short training" if work.optimizer else "gradient"
        raise ResultsDiffer(
            f"peer {peer!r} on network {work.label!r}: the {what} differ from the NumPy peer's by {error:.1e}"
            f" of their change, more than {limit:.0e}; it is not timed, for it does other work"
        )
    return error


def row_of(work: Workload, peer: str, status: str) -> dict[str, Any]:
    return {"network": work.label, "peer": peer, "dtype": work.dtype, "inputs": work.inputs, "status": status}


def measure(work: Workload, workers: dict[str, Worker], reference: Worker, rounds: int, seed: int) -> list[dict]:
    """One row a worker: its figures, or why there are none."""
    expected = reference.ask("check", work, seed)
    rows: dict[str, dict[str, Any]] = {}
    for peer, worker in workers.items():
        rows[peer] = row = row_of(work, peer, "ok")
        try:
            row["deviation"] = check(work, seed, peer, worker.ask("check", work, seed), expected)
            worker.ask("prepare", work, seed)
        except PeerError as error:
            row.update(status=error.kind, reason=str(error))
    ready = [peer for peer, row in rows.items() if row["status"] == "ok"]
    turns, failed = by_turns({peer: partial(workers[peer].ask, "turn") for peer in ready}, rounds, PeerError)
    for peer, done in turns.items():
        if peer in failed:
            rows[peer].update(status=failed[peer].kind, reason=str(failed[peer]))
            continue
        us = [turn["us"] for turn in done]
        idle = sum(turn["idle"] for turn in done)
        rows[peer].update(
            **summary(us), turns=us, gflops=work.flops / summary(us)["us"] / 1e3, finite=workers[peer].ask("finish"),
            calls_per_turn=done[0]["calls"], steps_per_call=done[0]["steps"],
            # An engine alone hardly waits: nothing to say then.
            idle=sum(turn["idle_cpu"] for turn in done) / idle if idle > 0.1 else 0.0,
            spun=max(turn["spun"] for turn in done), others=max(turn["others"] for turn in done),
            avx512=None if None in (used := [turn["avx512"] for turn in done]) else any(used),
        )  # fmt: skip
    return list(rows.values())


def machine_peak(
    dtypes: Sequence[str], threads: int, environment: Mapping[str, str] = {}
) -> dict[str, dict[str, float]]:
    """GFLOP/s by dtype: of one thread, and of `threads` processes at once, which is the peak, and what they sustain.

    Empty if the engine is not there.
    """
    workers: list[Worker] = []
    peaks: dict[str, dict[str, float]] = {}
    try:
        for _ in range(threads):
            workers.append(Worker("ours", threads, environment))
        for dtype in dtypes:
            alone = max(workers[0].ask("peak", dtype, 0.3)[0] for _ in range(3))
            for worker in workers[1:]:  # what is compiled on the first call must not overlap the measurement
                worker.ask("peak", dtype, 0.05)
            together = []
            for _ in range(3):
                for worker in workers:
                    worker.send("peak", dtype, 0.3)
                together.append(np.sum([worker.receive() for worker in workers], axis=0))
            best, sustained = np.max(together, axis=0)[0], np.median(together, axis=0)[1]
            peaks[dtype] = {"thread": alone, "together": float(best), "sustained": float(sustained)}
    except PeerError as error:
        print(f"peak not measured: {error}")
    finally:
        for worker in workers:
            worker.close()
    return peaks


def complete(report: dict) -> None:
    """Fill in each row's ratio to ours and share of the peak."""
    ours = {row["network"]: row["us"] for row in report["rows"] if row["peer"] == "ours" and "us" in row}
    for row in report["rows"]:
        if "us" in row:
            row["ratio"] = row["us"] / ours[row["network"]] if row["network"] in ours else None
            peak = report["peak"].get(row["dtype"])
            row["share"] = row["gflops"] / peak["together"] if peak else None


def overview(report: dict) -> str:
    """One line a network, one column a peer: median us per step, and the ratio to ours."""
    cells = {}
    for row in report["rows"]:
        text = digits(row["us"]) if "us" in row else row["status"]
        if row.get("ratio") and row["peer"] != "ours":
            text += digits(row["ratio"], " ({}x)")
        cells[row["network"], row["peer"]] = text
    peers, networks = report["settings"]["peers"], dict.fromkeys(row["network"] for row in report["rows"])
    lines = [[describe(report["networks"][name]), *(cells[name, peer] for peer in peers)] for name in networks]
    return table(["network, batch", *peers], lines)


def describe(network: dict) -> str:
    inputs = f", {network['inputs']} X" if network["inputs"] else ""
    return f"{network['name']} {'-'.join(map(str, network['sizes']))}, {network['batch']}{inputs}"


def details(rows: Sequence[dict]) -> str:
    lines = []
    for row in rows:
        if "us" in row:
            share = f"{row['share']:.0%}" if row.get("share") else "-"
            spread = f"{digits(row['low'])}..{digits(row['high'])}"
            numbers = [digits(row["us"]), spread, digits(row.get("ratio"), "{}x"), digits(row["gflops"]), share]
            numbers += [f"{row['others']:.2f}", f"{row['deviation']:.0e}"]
        else:
            numbers = [row["status"], *["-"] * 6]
        lines.append([f"{row['network']} ({row['dtype']})", row["peer"], *numbers])
    head = ["network", "peer", "us/step", "min..max", "peer/ours", "GFLOP/s", "of peak", "others", "deviation"]
    return table(head, lines)


def markdown(report: dict) -> str:
    machine, settings, rows = report["machine"], report["settings"], report["rows"]
    text = ["# Time per SGD step", ""]
    text.append(
        f"{machine['processor']}, {settings['threads']} of {machine['cpus']} CPUs, {machine['system']}, Python "
        f"{machine['python']}, {report['date']}. Median of {settings['rounds']} rounds, us per step (forward, "
        f"backward, update); in brackets the ratio to fastbackprop."
    )
    if settings["isa"]:
        text[-1] += f" Every engine was told to use nothing wider than {settings['isa'].upper()}."
    versions = [version for version in report["versions"].values() if version]
    text += ["", f"Engines: {', '.join(dict.fromkeys(versions))}."]
    for dtype, peak in report["peak"].items():
        one, all_, median = (digits(peak[key]) for key in ("thread", "together", "sustained"))
        text.append(
            f"Peak, {dtype}: {one} GFLOP/s on one thread, {all_} on {settings['threads']} at once, the best of short "
            f"runs; their median is {median}."
        )
    text += ["", overview(report), "", *remarks(rows), "", *registers(report), "", details(rows)]
    return "\n".join(text) + "\n"


def registers(report: dict) -> list[str]:
    """Which engines used AVX-512, where Linux knows; with `--isa` those are the ones that did not heed it."""
    isa, rows = report["settings"]["isa"], [row for row in report["rows"] if row.get("avx512") is not None]
    used = dict.fromkeys(row["peer"] for row in rows if row["avx512"])
    without = dict.fromkeys(row["peer"] for row in rows if row["peer"] not in used)
    if not rows:
        return ["Whether an engine used AVX-512 is not known here."] if isa else []
    text = f"AVX-512 was used by {', '.join(used) or 'nobody'}"
    text += f", not by {', '.join(without)}." if used and without else "."
    return [f"NOT HEEDED: {text}" if used and isa else text]


def remarks(rows: Sequence[dict]) -> list[str]:
    """Why cells are empty, and how quiet the waiting engines were."""
    reasons = dict.fromkeys(f"- {r['peer']}, {r['status']}: {r['reason']}" for r in rows if "reason" in r)
    text = [*reasons, ""] if reasons else []
    measured = [row for row in rows if "us" in row]
    if measured:
        text.append(
            f"A waiting engine used at most {max(row['idle'] for row in measured):.2%} of a CPU; after a turn its "
            f"threads spun for at most {max(row['spun'] for row in measured):.2f} s."
        )
    loud = [row for row in measured if row["others"] > QUIET]
    if loud:
        disturbed = [f"{row['peer']} on {row['network']} ({row['others']:.1f})" for row in loud]
        text += ["", f"DISTURBED: other processes used CPUs in a turn of {', '.join(disturbed)}. Measure again."]
    for row in measured:
        if not row["finite"]:
            text.append(f"{row['peer']} on {row['network']}: parameters were not finite at the end.")
    return text


def plot(report: dict, path: Path) -> bool:
    """A dot a peer and network: time over ours (over the first peer's, if ours is missing). False: no matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    peers = report["settings"]["peers"]
    times = {(row["network"], row["peer"]): row for row in report["rows"] if "us" in row}
    networks = list(dict.fromkeys(row["network"] for row in report["rows"]))
    if not times:
        return False
    base = next(peer for peer in ["ours", *peers] if any((name, peer) in times for name in networks))
    figure = Figure(figsize=(8, 1.8 + 0.6 * len(networks)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colors = ["#000000", "#0072b2", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9", "#009e73"]  # Okabe and Ito
    for i, peer in enumerate(peers):
        points, shift = [], 0.09 * (i - (len(peers) - 1) / 2)  # so that ranges do not hide one another
        for at, name in enumerate(networks):
            if (name, peer) in times and (name, base) in times:
                row, unit = times[name, peer], times[name, base]["us"]
                points.append((row["us"] / unit, at + shift, row["low"] / unit, row["high"] / unit))
        if points:
            x, y, low, high = map(np.array, zip(*points))
            label = "fastbackprop" if peer == "ours" else peer
            bars = [np.maximum(x - low, 0), np.maximum(high - x, 0)]
            axes.errorbar(x, y, xerr=bars, fmt="osD^vPX"[i % 7], color=colors[i % 7], label=label, ms=7, lw=1)
    for at in range(0, len(networks), 2):
        axes.axhspan(at - 0.5, at + 0.5, color="0.96", zorder=-1)
    axes.set_xscale("log")
    axes.axvline(1, color="0.7", zorder=0)
    ticks = [t for t in (0.5, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500) if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(networks)), [describe(report["networks"][name]) for name in networks])
    axes.set_ylim(len(networks) - 0.5, -0.5)
    axes.grid(axis="x", color="0.9")
    over = "fastbackprop" if base == "ours" else base
    axes.set_xlabel(f"a step's time over {over}'s: median and range (less is better)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path, dpi=150)
    return True


def save(report: dict, out: Path) -> list[Path]:
    return reports.save(report, out, "compare", markdown(report), plot)


def workloads(networks: Sequence[str], dtype: str | None, inputs: Sequence[str]) -> list[Workload]:
    """Each network with each form of X, no two alike: an array of the network's dtype is its own."""
    works = [replace(WORKLOADS[name], dtype=dtype or WORKLOADS[name].dtype) for name in networks]
    forms = [(work, None if form in (OWN, work.dtype) else form) for work in works for form in inputs]
    return list(dict.fromkeys(replace(work, inputs=form) for work, form in forms))


def expected_seconds(works: Sequence[Workload], peers: int, rounds: int, peak: bool) -> float:
    """About how long a comparison takes where all is compiled and a large network runs at 100 GFLOP/s."""
    total = 4.0 * peers + (6.0 if peak else 0.0)  # processes that start and import
    for work in works:
        call = max(CALL, work.steps * work.flops / 1e11)
        total += peers * (WARM + 5 * call + rounds * (max(TURN, call) + CALL + 0.1))
    return total


def what_to_expect(works: Sequence[Workload], peers: Sequence[str], rounds: int, peak: bool) -> str:
    """What one wants to know before it begins: how long it takes, why it waits, and whether other programs disturb."""
    seconds = expected_seconds(works, len(peers), rounds, peak)
    return (
        f"Workloads: {len(works)}, engines: {len(peers)}, rounds: {rounds}. It will take about {minutes(seconds)}, and "
        "some minutes\nmore where an engine has to be compiled first. Each engine waits in a process of its own; a "
        "turn begins when\nthe threads of the one before have come to rest, so that none slows another down. A table "
        f"follows each\nworkload. {how_quiet()}"
    )


def compare(
    networks: Sequence[str] = tuple(WORKLOADS),
    peers: Sequence[str] = tuple(PEERS),
    dtype: str | None = None,
    threads: int | None = None,
    rounds: int = 5,
    seed: int = 0,
    peak: bool = True,
    inputs: Sequence[str] = (OWN,),
    isa: str | None = None,
    each: Callable[[dict, list[dict]], None] = lambda report, rows: None,
) -> dict:
    """Measure and return the report; `each(report, rows)` is called after each network.

    dtype None: each network's own. threads None: one for each CPU this process may use. inputs: forms of X, "own"
    for an array of the network's dtype in C order. isa "avx2": as on a processor that has nothing wider.
    Raises ResultsDiffer if a peer trains something else than the NumPy peer does.
    """
    threads = threads or len(available_cpus())
    told = environment(isa)
    works = workloads(networks, dtype, inputs)
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "processor": reports.processor(), "cpus": len(available_cpus()), "system": platform.system(),
            "python": platform.python_version(),
        },
        "settings": {"peers": list(peers), "threads": threads, "rounds": rounds, "seed": seed, "isa": isa},
        "networks": {
            work.label: {
                "name": work.name, "sizes": work.sizes, "batch": work.batch, "hidden": work.hidden,
                "output": work.output, "optimizer": work.optimizer, "dtype": work.dtype, "inputs": work.inputs,
                "flops": work.flops,
            }
            for work in works
        },
        "peak": machine_peak(list(dict.fromkeys(work.dtype for work in works)), threads, told) if peak else {},
        "versions": {}, "rows": [],
    }  # fmt: skip
    with start_workers([BASELINE, *peers], threads, told) as (workers, missing):  # the baseline also if it is not timed
        if BASELINE in missing:
            raise missing[BASELINE]
        report["versions"] = {peer: worker.version for peer, worker in workers.items()}
        for work in works:
            timed = {peer: workers[peer] for peer in peers if peer in workers}
            rows = {row["peer"]: row for row in measure(work, timed, workers[BASELINE], rounds, seed)}
            for peer, error in missing.items():
                rows[peer] = row_of(work, peer, error.kind) | {"reason": str(error)}
            report["rows"] += [rows[peer] for peer in peers]
            complete(report)
            each(report, [rows[peer] for peer in peers])
    return report


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME",
                        help=f"of {', '.join(WORKLOADS)} (default: all)")  # fmt: skip
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME",
                        help=f"of {', '.join(PEERS)} (default: all)")  # fmt: skip
    parser.add_argument("--dtype", choices=TOLERANCE, help="for all networks (default: each one's own)")
    parser.add_argument("--inputs", nargs="+", choices=[OWN, *FORMS], default=[OWN], metavar="FORM",
                        help=f"how X is handed over, of {OWN} (the network's dtype, C order), {', '.join(FORMS)} "
                        f"(default: {OWN})")  # fmt: skip
    parser.add_argument("--threads", type=reports.threads(len(available_cpus())),
                        help="for every engine (default: one for each CPU)")  # fmt: skip
    reports.add_rounds(parser)
    parser.add_argument("--seed", type=int, default=0, help="of data and initial parameters (default: 0)")
    reports.add_out(parser, "compare.json, .md and .png")
    parser.add_argument("--isa", choices=ISAS, help="tell every engine to use nothing wider (default: all there is)")
    parser.add_argument("--no-peak", action="store_true", help="do not measure the processor's peak")
    args = parser.parse_args(argv)
    peers, works = list(dict.fromkeys(args.peers)), workloads(args.networks, args.dtype, args.inputs)
    print(what_to_expect(works, peers, args.rounds, not args.no_peak), "\n", flush=True)
    started = time.perf_counter()

    def each(report: dict, rows: list[dict]) -> None:  # a long run that is stopped has its finished networks saved
        done = len(report["rows"]) // len(peers)
        print(f"{done} of {len(works)}, after {minutes(time.perf_counter() - started)}:", details(rows), sep="\n")
        print(flush=True)
        save(report, args.out)

    try:
        report = compare(
            args.networks, peers, args.dtype, args.threads, args.rounds, args.seed, not args.no_peak, args.inputs,
            args.isa, each,
        )  # fmt: skip
    except (ResultsDiffer, PeerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(overview(report), "", *remarks(report["rows"]), "", *registers(report), "", sep="\n")
    print("saved", *save(report, args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
