"""One thread or all: whichever does the steps of a training faster at the moment.

Two threads on one small batch are faster than one where they run on neighbouring processors, and slower where the
system has given the second a distant one, or has taken it away; on shared machines that changes from second to second.
The results have the same bits for any number of threads, so nothing but time depends on the choice: it is measured.
What one training has found, the next of the same kind begins with.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from typing import Any

# A step of more multiply-adds than this is long enough for all threads, wherever they run: half of it takes 30 us or
# more, as long as a thousand lines of the cache that change cores at 30 ns.
LONG_STEP = 4_000_000
# Seconds of training after which another way is tried again, and how many a trial takes.
RETRY = 0.3
TRIAL = 0.004
# A shorter call tells more of waking a thread than of the steps.
SHORTEST = 0.001


class Autotuner:
    """Chooses between two ways to do the same steps.

    Parameters
    ----------
    ways : int
        1 where there is nothing to choose; way 0 is the one to begin with.
    """

    def __init__(self, ways: int) -> None:
        self.ways = ways
        self._since = 0.0  # seconds of training since the last trial
        self.begin()
        # Of the last two calls of each way the faster counts: a single call may have been held up.
        self._seconds: list[deque[float]] = [deque(maxlen=2) for _ in range(ways)]

    def begin(self) -> None:
        """A training begins: its first call wakes the other threads, and does not tell how fast their steps are."""
        self._awake = False

    def choose(self, steps: int) -> tuple[int, int]:
        """The way to go in the next call, and how many of ``steps`` to do in it."""
        if self.ways == 1 or not self._seconds[0]:
            return 0, steps
        best = [min(seconds, default=math.inf) for seconds in self._seconds]
        fastest = int(best[1] < best[0])
        # A training's first call would not count as a trial. Where trainings are short, most trials are due just then.
        if not self._awake or (self._seconds[1] and self._since <= RETRY):
            return fastest, steps
        self._since = 0.0
        return 1 - fastest, min(steps, max(1, round(TRIAL / best[fastest])))

    def took(self, way: int, steps: int, seconds: float) -> None:
        """How long a call took for its steps."""
        self._since += seconds
        if self._awake and seconds >= SHORTEST:
            self._seconds[way].append(seconds / steps)
        self._awake = True


@functools.lru_cache(maxsize=1024)
def autotuner_of(ways: int, *kind: Any) -> Autotuner:
    """The autotuner that all trainings of a kind in this process share; ``kind`` is whatever their steps depend on."""
    return Autotuner(ways)
