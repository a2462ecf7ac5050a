"""How much longer it takes if X is not float32 in C order: `Network.fit` and `Network.forward`, in a float32 network.

    python -m benchmarks.inputs
    python -m benchmarks.inputs --quick --forms float64 csr      # does it work? The ratios say little

X is handed over in each form of benchmarks/forms.py and, by turns in the same process and to the same network, as a
float32 array in C order of the same numbers. A turn is as many calls as take 0.2 seconds: of a `fit` of 20 epochs, or
of one `forward`. A ratio is the median over the rounds of a turn's median over that of its neighbour. "float32" is a
second copy of such an array: its ratio says how much a ratio says.

Before it is timed, each form trains a network for an epoch, which must have the bits of the one that X as a float32
array trains. X of the widest network is larger than most caches, as real ones are: there an order in memory counts
most. Some 2 GB of memory are needed.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from benchmarks import report as reports
from benchmarks.forms import FORMS, as_array, first
from benchmarks.peers import ResultsDiffer, available_cpus
from benchmarks.report import digits, table
from benchmarks.turns import QUIET, Others, by_turns, how_quiet, minutes, repeated
from benchmarks.workloads import WORKLOADS
from fastbackprop import SGD, Network

NETWORKS = ("tiny", "digits", "mnist_s")
CALLS = ("fit", "forward")
CHECKED = 1000  # rows of the training that is compared


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rows: int = 20_000  # of a fit
    forward_rows: int = 65_536
    epochs: int = 20
    rounds: int = 7
    turn: float = 0.2  # seconds


QUICK = Size(rows=2048, forward_rows=4096, epochs=2, rounds=2, turn=0.02)


def target(form: str, inputs: int) -> float | None:
    """The ratio that is promised (issue 19): for all networks, and Fortran order by the number of inputs."""
    if form == "float32":
        return None
    if form.startswith("fortran") and inputs >= 784:
        return 1.25
    return {"csr": 1.5, "frame": 1.2}.get(form, 1.1)


def make(network: str, threads: int) -> Network:
    work = WORKLOADS[network]
    return Network(work.sizes, hidden=work.hidden, output=work.output, dtype="float32", seed=0, threads=threads)


def check(network: str, form: str, X: Any, same: np.ndarray, threads: int) -> None:
    """A short training on X has the bits of one on the same numbers as a float32 array; else ResultsDiffer."""
    batch, rows = WORKLOADS[network].batch, min(CHECKED, len(same))
    y = np.arange(rows) % WORKLOADS[network].sizes[-1]
    trained = []
    for inputs in (first(X, rows), same[:rows]):
        net = make(network, threads)
        net.fit(inputs, y, epochs=1, batch_size=batch, optimizer=SGD(0.01), seed=0)
        trained += [net.params, net.forward(inputs)]
    if not (np.array_equal(trained[0], trained[2]) and np.array_equal(trained[1], trained[3])):
        raise ResultsDiffer(f"X as {form} on network {network!r}: other bits than of the same numbers in float32")


def calls(network: str, what: str, net: Network, epochs: int) -> Callable[[Any], object]:
    """What is timed, of X."""
    if what == "forward":
        return net.forward
    work, optimizer, targets = WORKLOADS[network], SGD(1e-3), {}

    def fit(X: Any) -> object:
        rows = X.shape[0]
        y = targets.setdefault(rows, np.arange(rows) % work.sizes[-1])
        return net.fit(X, y, epochs=epochs, batch_size=work.batch, optimizer=optimizer, seed=0)

    return fit


def measure(network: str, what: str, form: str, size: Size, threads: int = 2, seed: int = 0) -> dict[str, Any]:
    """One row: microseconds a call of either X, and their ratio."""
    work = WORKLOADS[network]
    rows = size.forward_rows if what == "forward" else size.rows
    values = np.random.default_rng(seed).standard_normal((rows, work.sizes[0]), dtype=np.float32)
    X = FORMS[form](values)
    same = as_array(X, "float32")
    if same is X:
        same = X.copy()
    del values
    check(network, form, X, same, threads)
    call = calls(network, what, make(network, threads), size.epochs)

    def turn(inputs: Any) -> float:
        return statistics.median(repeated(lambda: call(inputs), size.turn))

    turn(same), turn(X)  # compiles, wakes the threads, and lets `fit` find out how many pay
    with Others() as others:
        turns, _ = by_turns({"base": lambda: turn(same), "form": lambda: turn(X)}, size.rounds)
    ratios = [form / base for form, base in zip(turns["form"], turns["base"])]
    return {
        "network": network, "call": what, "form": form, "rows": rows, "ratio": statistics.median(ratios),
        "low": min(ratios), "high": max(ratios), "target": target(form, work.sizes[0]),
        "us": 1e6 * statistics.median(turns["form"]), "base_us": 1e6 * statistics.median(turns["base"]),
        "others": others.cpus,
    }  # fmt: skip


def expected_seconds(networks: Sequence[str], forms: int, what: Sequence[str], size: Size) -> float:
    """About how long it takes where all is compiled, no form is slow and a large network runs at 100 GFLOP/s."""
    total = 0.0
    for work in (WORKLOADS[name] for name in networks):
        sample = work.flops / work.batch / 1e11
        for call in what:
            rows, passes = (size.rows, size.epochs) if call == "fit" else (size.forward_rows, 1)
            turn = max(size.turn, rows * passes * sample)
            total += forms * (2 * (size.rounds + 1) * turn + rows * work.sizes[0] * 5e-8)  # and X has to be made
    return total


def what_to_expect(networks: Sequence[str], forms: Sequence[str], what: Sequence[str], size: Size) -> str:
    seconds = expected_seconds(networks, len(forms), what, size)
    return (
        f"Networks: {len(networks)}, forms of X: {len(forms)}, calls: {' and '.join(what)}. It will take about "
        f"{minutes(seconds)}, longer where a form is slow,\nand some minutes more where the engine has to be compiled "
        f"first. {how_quiet()}"
    )


def measure_all(
    networks: Sequence[str] = NETWORKS, forms: Sequence[str] = tuple(FORMS), what: Sequence[str] = CALLS,
    size: Size = Size(), threads: int = 2,
) -> Iterable[dict[str, Any]]:  # fmt: skip
    for network in networks:
        for call in what:
            for form in forms:
                yield measure(network, call, form, size, threads)
                gc.collect()  # an X of hundreds of megabytes


def missed(row: dict[str, Any]) -> bool:
    return row["target"] is not None and row["ratio"] > row["target"]


def overview(rows: Sequence[dict[str, Any]]) -> str:
    """A line a form, a column a network and call; what is over its target has a star."""
    columns = list(dict.fromkeys((row["call"], row["network"]) for row in rows))
    cells = {(row["form"], row["call"], row["network"]): row for row in rows}
    lines = []
    for form in dict.fromkeys(row["form"] for row in rows):
        found = [cells.get((form, *column)) for column in columns]
        targets = dict.fromkeys(digits(row["target"], "{}x") for row in found if row)
        lines.append([form, *(digits(row["ratio"], "{}x") + "*" * missed(row) if row else "-" for row in found)])
        lines[-1].append(" or ".join(targets))
    head = [f"{call}, {'-'.join(map(str, WORKLOADS[name].sizes))}" for call, name in columns]
    return table(["X", *head, "at most"], lines)


def markdown(report: dict[str, Any]) -> str:
    rows, size = report["rows"], report["size"]
    text = [
        "# X of any kind", "",
        f"{report['processor']}, {report['threads']} threads, {report['date']}. Time over that of a float32 array in C "
        f"order, in a float32 network: `fit` of {size['rows']} rows, {size['epochs']} epochs, and `forward` of "
        f"{size['forward_rows']} rows. Medians of {size['rounds']} rounds; * over the target (of Fortran order "
        "1.25x from 784 inputs on).", "",
        overview(rows), "",
    ]  # fmt: skip
    spread = max(max(row["ratio"] - row["low"], row["high"] - row["ratio"]) / row["ratio"] for row in rows)
    text.append(f"A round's ratio was up to {spread:.0%} from the median.")
    over = [row for row in rows if missed(row)]
    text.append(f"{len(over)} of {sum(row['target'] is not None for row in rows)} ratios are over their target.")
    loud = max(row["others"] for row in rows)
    if loud > QUIET:
        text.append(f"DISTURBED: other processes used up to {loud:.1f} CPUs. Measure again.")
    return "\n".join(text) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inputs", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=WORKLOADS, default=list(NETWORKS), metavar="NAME",
                        help=f"of {', '.join(WORKLOADS)} (default: {', '.join(NETWORKS)})")  # fmt: skip
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), metavar="FORM",
                        help=f"of {', '.join(FORMS)} (default: all)")  # fmt: skip
    parser.add_argument("--calls", nargs="+", choices=CALLS, default=list(CALLS), help="(default: both)")
    cpus = len(available_cpus())
    parser.add_argument("--threads", type=reports.threads(cpus), default=min(2, cpus), help="(default: 2)")
    parser.add_argument("--rows", type=reports.whole(64), help=f"of a fit (default: {Size.rows})")
    parser.add_argument("--rounds", type=reports.whole(1), help=f"turns of each (default: {Size.rounds})")
    parser.add_argument("--quick", action="store_true", help="little data and few rounds: does it work?")
    reports.add_out(parser, "inputs.json and inputs.md")
    args = parser.parse_args(argv)
    size = QUICK if args.quick else Size()
    size = replace(size, rows=args.rows or size.rows, rounds=args.rounds or size.rounds)
    networks, forms, what = (list(dict.fromkeys(chosen)) for chosen in (args.networks, args.forms, args.calls))
    print(what_to_expect(networks, forms, what, size), flush=True)
    report = reports.where_and_when() | {"threads": args.threads, "size": asdict(size), "rows": []}
    try:
        for row in measure_all(networks, forms, what, size, args.threads):
            report["rows"].append(row)
            numbers = f"{digits(row['base_us'])} to {digits(row['us'])} us"
            print(f"{row['call']} {row['network']} {row['form']}: {digits(row['ratio'], '{}x')}, {numbers}", flush=True)
            files = reports.save(report, args.out, "inputs", markdown(report))  # also of a run that is stopped
    except ResultsDiffer as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("", markdown(report), sep="\n")
    print("saved", *files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
