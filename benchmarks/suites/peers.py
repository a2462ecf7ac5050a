"""The time of a step of each peer over ours, float32 where the workload does not say otherwise."""

from __future__ import annotations

import math

from benchmarks.compare import compare
from benchmarks.peers import PEERS
from benchmarks.workloads import WORKLOADS


class Peers:
    """All are measured at once, by turns, as `benchmarks.compare` does it. A peer that is not installed is skipped."""

    params = (list(WORKLOADS), [peer for peer in PEERS if peer != "ours"])
    param_names = ("network", "peer")

    def setup_cache(self) -> dict[tuple[str, str], dict]:
        return {(row["network"], row["peer"]): row for row in compare(rounds=3, peak=False)["rows"]}

    setup_cache.timeout = 3600  # type: ignore[attr-defined]

    def track_ratio(self, rows: dict[tuple[str, str], dict], network: str, peer: str) -> float:
        row = rows[network, peer]
        if row["status"] == "failed":
            raise RuntimeError(row["reason"])
        return row.get("ratio", math.nan)

    track_ratio.unit = "x"  # type: ignore[attr-defined]
