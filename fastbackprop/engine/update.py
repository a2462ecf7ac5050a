"""Optimizers: one elementwise formula each, applied to a stretch of the flat parameter vector while it is hot."""

from __future__ import annotations

from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.panels import load_part, store_part
from fastbackprop.engine.simd import const, fma, itemsize, lanes, sqrt

NO_GRADIENT, GRADIENT, SGD, MOMENTUM, NESTEROV, ADAM = range(6)

# fields of `hyper`
MOMENTUM_FACTOR, BETA1, BETA2, EPS = 0, 1, 2, 3
HYPER_FIELDS = 4


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
def _adam(w, g, m, v, rate, hyper, power1, power2):
    """Kingma and Ba: W -= rate m^ / (sqrt(v^) + eps), the moments corrected by power = beta**t."""
    m = fma(const(w, 1.0 - hyper[BETA1]), g - m, m)
    v = fma(const(w, 1.0 - hyper[BETA2]), fma(g, g, -v), v)
    root = sqrt(v * const(w, 1.0 / (1.0 - power2))) + const(w, hyper[EPS])
    return fma(-rate * const(w, 1.0 / (1.0 - power1)), m / root, w), m, v


def _make_sweep(formula):
    @kernel
    def sweep(w, g, s1, s2, count, rate, hyper, power1, power2, like):
        n, size = lanes(like), itemsize(like)
        for i in range(0, count, n):
            at, exist = i * size, count - i
            weights, gradient = load_part(w + at, exist, like), load_part(g + at, exist, like)
            state1 = load_part(s1 + at, exist, like)
            state2 = load_part(s2 + at, exist, like) if s2 != 0 else gradient  # one that has no second does not use it
            weights, state1, state2 = formula(
                weights, gradient, state1, state2, const(weights, rate), hyper, power1, power2
            )
            store_part(w + at, weights, exist, like)
            store_part(s1 + at, state1, exist, like)
            if s2 != 0:
                store_part(s2 + at, state2, exist, like)

    return sweep


_sweep_momentum, _sweep_nesterov, _sweep_adam = _make_sweep(_momentum), _make_sweep(_nesterov), _make_sweep(_adam)


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


@kernel
def update(code, w, g, s1, s2, count, rate, hyper, step, like):
    """Apply an optimizer with states to `count` parameters; `step` counts from 1. SGD is the tile's epilogue."""
    if code == MOMENTUM:
        _sweep_momentum(w, g, s1, NIL, count, rate, hyper, 0.0, 0.0, like)
    elif code == NESTEROV:
        _sweep_nesterov(w, g, s1, NIL, count, rate, hyper, 0.0, 0.0, like)
    elif code == ADAM:
        power1, power2 = power(hyper[BETA1], step), power(hyper[BETA2], step)
        _sweep_adam(w, g, s1, s2, count, rate, hyper, power1, power2, like)
