"""One thread or all: whichever does the steps of a training faster at the moment.

Two threads on one small batch are faster than one where they run on neighbouring processors, and slower where the
system has given the second a distant one, or has taken it away; on shared machines that changes from second to second.
The results have the same bits for any number of threads, so nothing but time depends on the choice: it is measured.
"""

from __future__ import annotations

from collections import deque

# A step of more multiply-adds than this is long enough for all threads, wherever they run.
LONG_STEP = 50_000_000
# Every so many calls the other way is tried, for a small part of a call.
RETRY = 16
PART = 8


class Pace:
    """Chooses one of several ways to do the same steps.

    Parameters
    ----------
    ways : int
        How many there are; way 0 is the one to begin with.
    """

    def __init__(self, ways: int) -> None:
        self.ways = ways
        self._calls = 0
        self._way = 0
        # Of the last two calls of each way the faster counts: a single call may have been held up.
        self._seconds: list[deque[float]] = [deque(maxlen=2) for _ in range(ways)]

    def choose(self, steps: int) -> tuple[int, int]:
        """The way to go in the next call, and how many of ``steps`` to do in it."""
        self._calls += 1
        untried = [way for way, seconds in enumerate(self._seconds) if not seconds]
        if untried:
            self._way = untried[0]
            return self._way, steps if self._way == 0 else max(1, steps // PART)
        fastest = min(range(self.ways), key=lambda way: min(self._seconds[way]))
        if self._calls % RETRY or self.ways == 1:
            self._way = fastest
            return fastest, steps
        self._way = (fastest + self._calls // RETRY % (self.ways - 1) + 1) % self.ways
        return self._way, max(1, steps // PART)

    def took(self, seconds: float) -> None:
        """How long a step of the last call took."""
        self._seconds[self._way].append(seconds)
