"""Inverted dropout: units of a panel set to 0 at random, the others scaled so that the expectation stays.

Whether a unit of a sample is dropped is a function of the key, the step, the layer, the unit and the sample's place in
the batch, and of nothing else: no state, so any thread may draw, and the bits do not depend on which one does.
"""

from __future__ import annotations

import numpy as np

from fastbackprop.engine.codes import IDENTITY, RELU0
from fastbackprop.engine.jit import kernel
from fastbackprop.engine.simd import const, if_less, if_negative, itemsize, lanes, line, load, splat, store, uniform


@kernel
def layer_key(key, step, layer):
    """64 bits for one layer in one step (the mixing of SplitMix64: Steele, Lea, Flood 2014)."""
    z = np.uint64(key) + np.uint64(step + 1) * np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(layer) * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(z ^ (z >> np.uint64(31)))


@kernel
def drop(probability, key, sample, activation, first, units, panel, slopes, like):
    """Drop units from `first` on of one panel, whose first sample is `sample`, in A and in the slopes of eq. (17).

    The slopes of identity and relu, which the forward pass does not write, are made here: 1, or 0 where A is -0.0.
    """
    n, size, step = lanes(like), itemsize(like), line(like) * itemsize(like)
    zero, one = splat(const(like, 0.0)), splat(const(like, 1.0))
    limit, kept = splat(const(like, probability)), splat(const(like, 1.0 / (1.0 - probability)))
    for j in range(units):
        unit_key = layer_key(key, first + j, 0)
        for lane in range(0, line(like), n):
            at = j * step + lane * size
            a = load(panel + at, like)
            if activation == IDENTITY:
                slope = one
            elif activation <= RELU0:
                slope = if_negative(a, a, zero, one)
            else:
                slope = load(slopes + at, like)
            factor = if_less(uniform(sample + lane, unit_key, like), limit, zero, kept)
            store(panel + at, a * factor)
            store(slopes + at, slope * factor)
