"""The thread autotuner: how many threads do the steps of a training fastest at the moment.

More threads on one small batch are faster where they run on neighbouring processors, and slower where the system has
given one of them a distant processor, or has taken it away; on shared machines that changes from second to second. The
results have the same bits for any number of threads, so nothing but time depends on the choice: it is measured. What
one training has found, the next of the same kind begins with.

It climbs: the numbers are 1, 2, 4 and so on, to the most that have something to do (`Plan.thread_counts`). Now and then
a call of some milliseconds goes to the next number below or above, and where that was faster, the training goes on with
it, and tries the next one in the same direction at once.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from typing import Any

# Seconds of training after which another number is tried again, and how many a trial takes; where that many steps take
# longer, a trial waits until it is no more than such a share of the time since the last one.
RETRY = 0.3
TRIAL = 0.004
TRIAL_SHARE = 0.02
# Steps of a trial at least: fewer may be done in another way (`plan.LEAST_STEPS`).
TRIAL_STEPS = 8
# A shorter call tells more of waking a thread than of the steps.
SHORTEST = 0.001


class Autotuner:
    """Chooses between ways to do the same steps, each of which has one neighbour below and one above.

    Parameters
    ----------
    ways : int
        How many there are, numbered from 0; 1 where there is nothing to choose.
    start : int, optional
        The way to begin with; the last one where None.
    """

    def __init__(self, ways: int, start: int | None = None) -> None:
        self.ways = ways
        self._way = ways - 1 if start is None else start
        self._since = 0.0  # seconds of training since the last trial
        self._up = False  # whether the next trial is of the neighbour above
        self.begin()
        # Of the last two calls of each way the faster counts: a single call may have been held up. Of ways that are not
        # neighbours nothing is kept: it would be old when they are.
        self._seconds: dict[int, deque[float]] = {}

    def begin(self) -> None:
        """A training begins: its first call wakes the other threads, and does not tell how fast their steps are."""
        self._awake = False

    def choose(self, steps: int) -> tuple[int, int]:
        """The way to go in the next call, and how many of ``steps`` to do in it."""
        if self.ways == 1 or self._way not in self._seconds:
            return self._way, steps
        near = [way for way in (self._way - 1, self._way + 1) if 0 <= way < self.ways]
        fastest = min((self._way, *near), key=self._best)
        if fastest != self._way:
            self._up = fastest > self._way
            self._seconds = {way: self._seconds[way] for way in (self._way, fastest)}
            self._way = fastest
            near = [way for way in (self._way - 1, self._way + 1) if 0 <= way < self.ways]
        # A training's first call would not count as a trial. Where trainings are short, most trials are due just then.
        if not self._awake:
            return self._way, steps
        best = self._best(self._way)
        count = min(steps, max(TRIAL_STEPS, round(TRIAL / best)))
        unknown = [way for way in near if way not in self._seconds]
        first = self._way + 1 if self._up else self._way - 1
        candidates = unknown or near
        trial = first if first in candidates else candidates[0]
        wait = max(0.0 if unknown else RETRY, count * best / TRIAL_SHARE if count * best > 2 * TRIAL else 0.0)
        if self._since < wait:
            return self._way, steps
        self._since, self._up = 0.0, trial < self._way
        return trial, count

    def _best(self, way: int) -> float:
        return min(self._seconds.get(way, ()), default=math.inf)

    def took(self, way: int, steps: int, seconds: float) -> None:
        """How long a call took for its steps."""
        self._since += seconds
        if self._awake and seconds >= SHORTEST:
            self._seconds.setdefault(way, deque(maxlen=2)).append(seconds / steps)
        self._awake = True


@functools.lru_cache(maxsize=1024)
def autotuner_of(ways: int, start: int, *kind: Any) -> Autotuner:
    """The autotuner that all trainings of a kind in this process share; ``kind``: whatever their steps depend on."""
    return Autotuner(ways, start)
