"""Optimizers: one elementwise formula each, applied to a stretch of the flat parameter vector while it is hot.

All are PyTorch's where names agree. Before each formula the gradient is scaled (clipping), the weight decay is added to
it, and a decoupled decay (AdamW) shrinks the weights themselves.
"""

from __future__ import annotations

from fastbackprop.engine.jit import NIL, inline, kernel, part
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
    splat,
    sqrt,
    store,
)

# FUSED_SGD is the epilogue of the gradient's tile: SGD without clipping, decay or penalty, of a batch in one part
NO_GRADIENT, GRADIENT, FUSED_SGD, SGD, MOMENTUM, NESTEROV, RMSPROP, ADAGRAD, ADAM = range(9)

# fields of `hyper`
MOMENTUM_FACTOR, BETA1, BETA2, EPS, DECAY, DECOUPLED_DECAY, DECAY_BIASES, CLIP_NORM, L1, L2 = range(10)
HYPER_FIELDS = 10


@inline
def _sgd(w, g, v, u, rate, hyper, power1, power2):
    """W -= rate g."""
    return fma(-rate, g, w), v, u


@inline
def _momentum(w, g, v, u, rate, hyper, power1, power2):
    """v = momentum v + g; W -= rate v."""
    v = fma(const(w, hyper[MOMENTUM_FACTOR]), v, g)
    return fma(-rate, v, w), v, u


@inline
def _nesterov(w, g, v, u, rate, hyper, power1, power2):
    """v = momentum v + g; W -= rate (g + momentum v)."""
    v = fma(const(w, hyper[MOMENTUM_FACTOR]), v, g)
    return fma(-rate, fma(const(w, hyper[MOMENTUM_FACTOR]), v, g), w), v, u


@inline
def _rmsprop(w, g, v, u, rate, hyper, power1, power2):
    """v = beta2 v + (1 - beta2) g^2; u = momentum u + g / (sqrt(v) + eps); W -= rate u."""
    v = fma(const(w, 1.0 - hyper[BETA2]), fma(g, g, -v), v)
    u = fma(const(w, hyper[MOMENTUM_FACTOR]), u, g / (sqrt(v) + const(w, hyper[EPS])))
    return fma(-rate, u, w), v, u


@inline
def _adagrad(w, g, v, u, rate, hyper, power1, power2):
    """v += g^2; W -= rate g / (sqrt(v) + eps)."""
    v = fma(g, g, v)
    return fma(-rate, g / (sqrt(v) + const(w, hyper[EPS])), w), v, u


@inline
def _adam(w, g, m, v, rate, hyper, power1, power2):
    """Kingma and Ba: W -= rate m^ / (sqrt(v^) + eps), the moments corrected by power = beta**t."""
    m = fma(const(w, 1.0 - hyper[BETA1]), g - m, m)
    v = fma(const(w, 1.0 - hyper[BETA2]), fma(g, g, -v), v)
    root = sqrt(v * const(w, 1.0 / (1.0 - power2))) + const(w, hyper[EPS])
    return fma(-rate * const(w, 1.0 / (1.0 - power1)), m / root, w), m, v


def _make_sweep(formula):
    @kernel
    def sweep(w, g, s1, s2, count, rate, scale, decay, shrink, hyper, power1, power2, like):
        n, size = lanes(like), itemsize(like)
        for i in range(0, count, n):
            at, exist = i * size, count - i
            weights, gradient = load_part(w + at, exist, like), load_part(g + at, exist, like)
            # a state that the optimizer does not have is not used
            state1 = load_part(s1 + at, exist, like) if s1 != 0 else gradient
            state2 = load_part(s2 + at, exist, like) if s2 != 0 else gradient
            gradient = fma(const(weights, decay), weights, gradient * const(weights, scale))
            weights, state1, state2 = formula(
                weights * const(weights, shrink), gradient, state1, state2, const(weights, rate), hyper, power1, power2
            )
            store_part(w + at, weights, exist, like)
            if s1 != 0:
                store_part(s1 + at, state1, exist, like)
            if s2 != 0:
                store_part(s2 + at, state2, exist, like)

    return sweep


_sweep_sgd, _sweep_momentum, _sweep_nesterov = _make_sweep(_sgd), _make_sweep(_momentum), _make_sweep(_nesterov)
_sweep_rmsprop, _sweep_adagrad, _sweep_adam = _make_sweep(_rmsprop), _make_sweep(_adagrad), _make_sweep(_adam)


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


@part
def update(code, w, g, s1, s2, count, rate, scale, decays, hyper, step, like):
    """Apply an optimizer to `count` parameters; `step` counts from 1, `decays`: whether weight decay is for them."""
    decay = hyper[DECAY] if decays else 0.0
    shrink = 1.0 - rate * hyper[DECOUPLED_DECAY] if decays else 1.0
    if code == SGD:
        _sweep_sgd(w, g, NIL, NIL, count, rate, scale, decay, shrink, hyper, 0.0, 0.0, like)
    elif code == MOMENTUM:
        _sweep_momentum(w, g, s1, NIL, count, rate, scale, decay, shrink, hyper, 0.0, 0.0, like)
    elif code == NESTEROV:
        _sweep_nesterov(w, g, s1, NIL, count, rate, scale, decay, shrink, hyper, 0.0, 0.0, like)
    elif code == RMSPROP:
        _sweep_rmsprop(w, g, s1, s2, count, rate, scale, decay, shrink, hyper, 0.0, 0.0, like)
    elif code == ADAGRAD:
        _sweep_adagrad(w, g, s1, NIL, count, rate, scale, decay, shrink, hyper, 0.0, 0.0, like)
    elif code == ADAM:
        power1, power2 = power(hyper[BETA1], step), power(hyper[BETA2], step)
        _sweep_adam(w, g, s1, s2, count, rate, scale, decay, shrink, hyper, power1, power2, like)


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


@kernel
def add_penalty(w, g, count, l1, l2, like):
    """g += l2 W + l1 sign W, the gradient of l2 / 2 sum W^2 + l1 sum |W| (at 0 the sign is 0)."""
    n, size = lanes(like), itemsize(like)
    zero, up = splat(const(like, 0.0)), splat(const(like, l1))
    for i in range(0, count, n):
        at, exist = i * size, count - i
        weights = load_part(w + at, exist, like)
        slope = if_less(weights, zero, -up, if_less(zero, weights, up, zero))
        gradient = load_part(g + at, exist, like) + fma(splat(const(like, l2)), weights, slope)
        store_part(g + at, gradient, exist, like)
