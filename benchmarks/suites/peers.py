"""The time of a step of each peer over ours, float32 where the workload does not say otherwise.

X is an array of the network's dtype, and of float64, NumPy's default.
"""

from __future__ import annotations

import math

from benchmarks.compare import OWN, compare, workloads
from benchmarks.peers import PEERS
from benchmarks.workloads import WORKLOADS

INPUTS = [OWN, "float64"]


class Peers:
    """All are measured at once, by turns, as `benchmarks.compare` does it. A peer that is not installed is skipped."""

    params = (list(WORKLOADS), [peer for peer in PEERS if peer != "ours"], INPUTS)
    param_names = ("network", "peer", "X")

    def setup_cache(self) -> dict[tuple[str, str], dict]:
        return {(row["network"], row["peer"]): row for row in compare(rounds=3, peak=False, inputs=INPUTS)["rows"]}

    setup_cache.timeout = 3600  # type: ignore[attr-defined]

    def track_ratio(self, rows: dict[tuple[str, str], dict], network: str, peer: str, inputs: str) -> float:
        (work,) = workloads([network], None, [inputs])
        row = rows[work.label, peer]
        if row["status"] == "failed":
            raise RuntimeError(row["reason"])
        return row.get("ratio", math.nan)

    track_ratio.unit = "x"  # type: ignore[attr-defined]
