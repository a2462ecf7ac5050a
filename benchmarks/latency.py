"""The time of one `forward` call from Python, an array in and an array out: microseconds by peer.

    python -m benchmarks.latency --network tiny --rows 1

Each peer lives in its own process, as in benchmarks.compare; a figure is the median of the rounds. Before a peer is
timed its outputs are compared with the NumPy peer's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import ResultsDiffer, digits, processor, table
from benchmarks.peers import PEERS, PeerError, Worker
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
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"), "processor": processor(), "network": network, "sizes": work.sizes,
        "rows": rows, "dtype": work.dtype, "threads": threads, "rounds": rounds, "versions": {}, "peers": {},
    }  # fmt: skip
    workers: dict[str, Worker] = {}
    outputs: dict[str, np.ndarray] = {}
    try:
        for peer in dict.fromkeys(["numpy", *peers]):
            try:
                workers[peer] = Worker(peer, threads)
                report["versions"][peer] = workers[peer].version
                outputs[peer] = workers[peer].ask("prepare_forward", work, seed)
            except PeerError as error:
                if peer == "numpy":
                    raise
                report["peers"][peer] = {"status": error.kind, "reason": str(error)}
        limit = TOLERANCE[work.dtype]
        for peer, got in outputs.items():
            if got.shape != outputs["numpy"].shape or not np.allclose(got, outputs["numpy"], rtol=limit, atol=limit):
                raise ResultsDiffer(f"peer {peer!r} on network {network!r}: the outputs differ from the NumPy peer's")
        timed = [peer for peer in peers if peer in outputs]
        turns: dict[str, list[float]] = {peer: [] for peer in timed}
        for start in range(rounds):
            for i in range(len(timed)):
                peer = timed[(start + i) % len(timed)]
                turns[peer].append(workers[peer].ask("turn_forward"))
        for peer, us in turns.items():
            report["peers"][peer] = {"status": "ok", "us": statistics.median(us), "low": min(us), "high": max(us)}
    finally:
        for worker in workers.values():
            worker.close()
    report["peers"] = {peer: report["peers"][peer] for peer in peers}
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
    parser.add_argument("--rows", type=int, default=1, help="of a call (default: 1)")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(LATENCY_PEERS), metavar="NAME",
                        help=f"of {', '.join(LATENCY_PEERS)} (default: all)")  # fmt: skip
    parser.add_argument("--dtype", choices=TOLERANCE, help="(default: the network's own)")
    parser.add_argument("--threads", type=int, default=1, help="for every peer (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (default: 5)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR",
                        help="for latency.json and latency.md (default: benchmarks/results)")  # fmt: skip
    args = parser.parse_args(argv)
    for name in ("rows", "threads", "rounds"):
        if getattr(args, name) < 1:
            parser.error(f"argument --{name}: got {getattr(args, name)}, accepted is 1 or more")
    peers = list(dict.fromkeys(args.peers))
    try:
        report = latency(args.network, args.rows, peers, args.dtype, args.threads, args.rounds)
    except (ResultsDiffer, PeerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "latency.json").write_text(json.dumps(report, indent=1) + "\n")
    (args.out / "latency.md").write_text(markdown(report))
    print("saved", args.out / "latency.json", args.out / "latency.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
