"""The order of the samples of an epoch: a function of a key and the epoch's number, and of nothing else."""

from __future__ import annotations

import numpy as np

from fastbackprop.engine.addresses import words_at
from fastbackprop.engine.jit import entry

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@entry
def shuffle(address, count, key, epoch):
    """Fill `count` int64 numbers with a permutation of 0 to `count` - 1 (Fisher and Yates)."""
    order, one = words_at(address, count), np.uint64(1)
    state = np.uint64(key) + (np.uint64(epoch) + one) * np.uint64(0xD1B54A32D192ED03)
    for i in range(count):
        order[i] = i
    for i in range(count - 1, 0, -1):
        state += GOLDEN
        z = state  # the mixing of SplitMix64 (Steele, Lea, Flood 2014)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        # the high 32 bits times i + 1, divided by 2**32: uniform to one part in 2**32 / (i + 1) (Lemire 2019)
        j = np.int64(((z >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        order[i], order[j] = order[j], order[i]
    return 0
