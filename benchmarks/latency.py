"""The time of one `forward` call from Python, an array in and an array out: microseconds by peer.

    python -m benchmarks.latency --network tiny --rows 1

Each peer lives in its own process, as in benchmarks.compare; a figure is the median of the rounds. Before a peer is
timed its outputs are compared with the NumPy peer's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks import report as reports
from benchmarks.peers import PEERS, PeerError, ResultsDiffer, start_workers
from benchmarks.report import digits, table
from benchmarks.turns import by_turns, summary
from benchmarks.workloads import WORKLOADS

LATENCY_PEERS = ("ours", "numpy", "sklearn", "torch", "jax_step")
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}  # of the outputs: relative, and absolute


def latency(
    network: str = "tiny", rows: int = 1, peers: Sequence[str] = LATENCY_PEERS, dtype: str | None = None,
    threads: int = 1, rounds: int = 5, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Measure and return the report. Raises ResultsDiffer if a peer's outputs are not the NumPy peer's."""
    work = replace(WORKLOADS[network], dtype=dtype or WORKLOADS[network].dtype)
    samples = -(-max(work.samples, rows) // rows) * rows  # scikit-learn must see every class, whatever the rows
    work = replace(work, batch=rows, samples=samples)
    report: dict[str, Any] = reports.where_and_when() | {
        "network": network, "sizes": work.sizes, "rows": rows, "dtype": work.dtype, "threads": threads,
        "rounds": rounds,
    }  # fmt: skip
    outputs: dict[str, np.ndarray] = {}
    with start_workers(["numpy", *peers], threads) as (workers, failed):
        report["versions"] = {peer: worker.version for peer, worker in workers.items()}
        for peer, worker in workers.items():
            try:
                outputs[peer] = worker.ask("prepare_forward", work, seed)
            except PeerError as error:
                failed[peer] = error
        if "numpy" in failed:
            raise failed["numpy"]
        limit = TOLERANCE[work.dtype]
        for peer, got in outputs.items():
            if got.shape != outputs["numpy"].shape or not np.allclose(got, outputs["numpy"], rtol=limit, atol=limit):
                raise ResultsDiffer(f"peer {peer!r} on network {network!r}: the outputs differ from the NumPy peer's")
        ready = [peer for peer in peers if peer in outputs]
        turns, fell = by_turns({peer: partial(workers[peer].ask, "turn_forward") for peer in ready}, rounds, PeerError)
    failed |= fell
    report["peers"] = {
        peer: {"status": failed[peer].kind, "reason": str(failed[peer])}
        if peer in failed
        else {"status": "ok", **summary(turns[peer])}
        for peer in peers
    }
    return report


def markdown(report: dict[str, Any]) -> str:
    ours = report["peers"].get("ours", {}).get("us")
    lines = []
    for peer, row in report["peers"].items():
        if "us" in row:
            ratio = digits(row["us"] / ours, "{}x") if ours else "-"
            lines.append([peer, digits(row["us"]), f"{digits(row['low'])}..{digits(row['high'])}", ratio])
        else:
            lines.append([peer, row["status"], "-", "-"])
    shape = "-".join(map(str, report["sizes"]))
    text = f"`forward` of {report['rows']} row(s) of {report['network']} {shape}, {report['dtype']}, from Python, "
    text += f"{report['threads']} thread(s): {report['processor']}, {report['date']}."
    return text + "\n\n" + table(["peer", "us/call", "min..max", "peer/ours"], lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=WORKLOADS, default="tiny", help="(default: tiny)")
    parser.add_argument("--rows", type=reports.whole(1), default=1, help="of a call (default: 1)")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(LATENCY_PEERS), metavar="NAME",
                        help=f"of {', '.join(LATENCY_PEERS)} (default: all)")  # fmt: skip
    parser.add_argument("--dtype", choices=TOLERANCE, help="(default: the network's own)")
    parser.add_argument("--threads", type=reports.whole(1), default=1, help="for every peer (default: 1)")
    reports.add_rounds(parser)
    reports.add_out(parser, "latency.json and latency.md")
    args = parser.parse_args(argv)
    peers = list(dict.fromkeys(args.peers))
    try:
        report = latency(args.network, args.rows, peers, args.dtype, args.threads, args.rounds)
    except (ResultsDiffer, PeerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    print("saved", *reports.save(report, args.out, "latency", markdown(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
