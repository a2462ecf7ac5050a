"""Optimizers: one elementwise formula each, applied to a stretch of the flat parameter vector while it is hot.

All are PyTorch's where names agree. In the same pass, before the formula, the gradients of a batch's shards are added
and scaled (clipping), the penalties' gradient and the weight decay are added to that, and a decoupled decay (AdamW)
shrinks the weights themselves.
"""

from __future__ import annotations

from fastbackprop.engine.codes import (
    ADAGRAD,
    ADAM,
    BETA1,
    BETA2,
    DECAY,
    DECOUPLED_DECAY,
    EPS,
    MOMENTUM,
    MOMENTUM_FACTOR,
    NESTEROV,
    RMSPROP,
    SGD,
)
from fastbackprop.engine.elementary import sqrt
from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.panels import load_part, store_part
from fastbackprop.engine.simd import (
    const,
    fma,
    if_less,
    itemsize,
    lanes,
    line,
    load_scalar,
    magnitude,
    prefetch,
    prefetch_write,
    splat,
    store,
)

WHOLE = (NIL, NIL + 1, NIL, NIL)  # `places` of a gradient that is not in sample shards

AHEAD = 1024  # bytes; so early are weights and gradients asked for, which other cores have read or written


# The formulas: (W, g, first vector, second, rate, hyper, powers) to (W, first vector, second). What an optimizer does
# not have is handed through. `powers` are beta1**t and beta2**t.


@inline
def _sgd(w, g, v, u, rate, hyper, powers):
    """W -= rate g."""
    return fma(-rate, g, w), v, u


@inline
def _momentum(w, g, v, u, rate, hyper, powers):
    """v = momentum v + g; W -= rate v."""
    v = fma(const(w, hyper[MOMENTUM_FACTOR]), v, g)
    return fma(-rate, v, w), v, u


@inline
def _nesterov(w, g, v, u, rate, hyper, powers):
    """v = momentum v + g; W -= rate (g + momentum v)."""
    v = fma(const(w, hyper[MOMENTUM_FACTOR]), v, g)
    return fma(-rate, fma(const(w, hyper[MOMENTUM_FACTOR]), v, g), w), v, u


@inline
def _rmsprop(w, g, v, u, rate, hyper, powers):
    """v = beta2 v + (1 - beta2) g^2; u = momentum u + g / (sqrt(v) + eps); W -= rate u."""
    v = fma(const(w, 1.0 - hyper[BETA2]), fma(g, g, -v), v)
    u = fma(const(w, hyper[MOMENTUM_FACTOR]), u, g / (sqrt(v) + const(w, hyper[EPS])))
    return fma(-rate, u, w), v, u


@inline
def _adagrad(w, g, v, u, rate, hyper, powers):
    """v += g^2; W -= rate g / (sqrt(v) + eps)."""
    v = fma(g, g, v)
    return fma(-rate, g / (sqrt(v) + const(w, hyper[EPS])), w), v, u


@inline
def _adam(w, g, m, v, rate, hyper, powers):
    """Kingma and Ba: W -= rate m^ / (sqrt(v^) + eps), the moments corrected by beta**t."""
    m = fma(const(w, 1.0 - hyper[BETA1]), g - m, m)
    v = fma(const(w, 1.0 - hyper[BETA2]), fma(g, g, -v), v)
    root = sqrt(v * const(w, 1.0 / (1.0 - powers[1]))) + const(w, hyper[EPS])
    return fma(-rate * const(w, 1.0 / (1.0 - powers[0])), m / root, w), m, v


FORMULAS = {
    SGD: _sgd, MOMENTUM: _momentum, NESTEROV: _nesterov, RMSPROP: _rmsprop, ADAGRAD: _adagrad, ADAM: _adam,
}  # fmt: skip


@inline
def _sum_of_shards(g, places, exist, like):
    """A vector of the gradient: those of the shards, added in their order; for `places` see `update`."""
    first, shards, last, shard_bytes = places
    prefetch(g + first + AHEAD)
    total = load_part(g + first, exist, like)
    for _ in range(1, shards):
        first = first + shard_bytes if first < last else 0
        prefetch(g + first + AHEAD)
        total = total + load_part(g + first, exist, like)
    return total


@inline
def _with_penalty(g, w, l1, l2):
    """g + l2 W + l1 sign W: with the gradient of l2 / 2 sum W^2 + l1 sum |W| (at 0 the sign is 0)."""
    slope = const(w, l2) * w
    if l1 > 0.0:
        zero, up = const(w, 0.0), const(w, l1)
        slope = fma(const(w, l2), w, if_less(w, zero, -up, if_less(zero, w, up, zero)))
    return g + slope


@kernel
def power(base, exponent):
    """base**exponent by squaring: the same bits everywhere, unlike the C library's pow."""
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def make_update(formula):
    """The pass of an optimizer's formula over a stretch of the parameters."""
    has_powers = formula is _adam  # the others do not look at them

    @kernel
    def update(w, g, places, s1, s2, count, rate, scale, l1, l2, decays, hyper, step, like):
        """Apply an optimizer to `count` parameters.

        Its gradient is `scale` times the sum of those of the shards, and that of the penalties of the factors `l1` and
        `l2`. The shards' lie at g + `places`: bytes to the first, how many there are, bytes to the last place, from
        which it goes on at 0, and bytes from one to the next.
        `step` counts from 1, `decays`: whether weight decay is for them.
        """
        n, size = lanes(like), itemsize(like)
        decay = hyper[DECAY] if decays else 0.0
        shrink = 1.0 - rate * hyper[DECOUPLED_DECAY] if decays else 1.0
        powers = 0.0, 0.0
        if has_powers:
            powers = power(hyper[BETA1], step), power(hyper[BETA2], step)
        for i in range(0, count, n):
            at, exist = i * size, count - i
            prefetch_write(w + at + AHEAD)
            weights = load_part(w + at, exist, like)
            gradient = _sum_of_shards(g + at, places, exist, like)
            # a state that the optimizer does not have is not used
            state1 = load_part(s1 + at, exist, like) if s1 != 0 else gradient
            state2 = load_part(s2 + at, exist, like) if s2 != 0 else gradient
            gradient = _with_penalty(gradient * const(weights, scale), weights, l1, l2)
            gradient = fma(const(weights, decay), weights, gradient)
            weights, rates = weights * const(weights, shrink), const(weights, rate)
            weights, state1, state2 = formula(weights, gradient, state1, state2, rates, hyper, powers)
            store_part(w + at, weights, exist, like)
            if s1 != 0:
                store_part(s1 + at, state1, exist, like)
            if s2 != 0:
                store_part(s2 + at, state2, exist, like)

    return update


@kernel
def add_gradients(w, g, places, l1, l2, count, result, like):
    """The gradient of all shards and the penalties, stored at `result`: where it is itself wanted, or its norm."""
    n, size = lanes(like), itemsize(like)
    for i in range(0, count, n):
        at, exist = i * size, count - i
        gradient = _sum_of_shards(g + at, places, exist, like)
        store_part(result + at, _with_penalty(gradient, load_part(w + at, exist, like), l1, l2), exist, like)


# ---------------------------------------------------------------- penalties and norms of the rows of the weights


@kernel
def sum_of_powers(row, count, exponent, scratch, like):
    """The sum, in float64, of |v| (`exponent` 1) or v^2 (2) over `count` elements.

    In an order that does not depend on the vectors' width: first by lanes of a line, then those.
    """
    step, n, size = line(like), lanes(like), itemsize(like)
    for i in range(0, step, n):
        total = splat(const(like, 0.0))
        for k in range(i, count, step):
            v = magnitude(load_part(row + k * size, count - k, like))
            total = fma(v, v, total) if exponent == 2 else total + v
        store(scratch + i * size, total)
    result = 0.0
    for i in range(step):
        result += load_scalar(scratch + i * size, like)
    return result
