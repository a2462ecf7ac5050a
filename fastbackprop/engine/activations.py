"""Activations of hidden layers: value and slope of each, and the pass that applies one to a tile just written.

identity, relu and relu0 need no pass: the tile's epilogue does them in registers (see tile.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.engine.addresses import call_pass
from fastbackprop.engine.codes import PASSES, RELU, RELU0
from fastbackprop.engine.elementary import exp, expm1, sigmoid, softplus, tanh
from fastbackprop.engine.jit import entry, inline, kernel
from fastbackprop.engine.simd import (
    const,
    fma,
    group_lanes,
    if_equal,
    if_less,
    itemsize,
    lanes,
    line,
    load,
    load_group,
    store,
)

LEAK = 0.01  # slope of leaky_relu below 0
GELU_CUBIC = 0.044715
GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)


@inline
def identity(z):
    """Z."""
    return z


@inline
def relu(z):
    """Z where Z >= 0; elsewhere -0.0, by which the slope is known."""
    zero = const(z, 0.0)
    return if_less(z, zero, -zero, z + zero)


@inline
def relu0(z):
    """Z where Z > 0; elsewhere -0.0."""
    zero = const(z, 0.0)
    return if_equal(z, z, if_less(zero, z, z, -zero), z)


@inline
def leaky_relu(z):
    """Z where Z >= 0, LEAK Z elsewhere."""
    zero, leak = const(z, 0.0), const(z, LEAK)
    return if_less(z, zero, leak * z, z), if_less(z, zero, leak, const(z, 1.0))


@inline
def elu(z):
    """Z where Z >= 0, e^Z - 1 elsewhere."""
    zero, one = const(z, 0.0), const(z, 1.0)
    below = expm1(if_less(z, zero, z, zero))
    return if_less(z, zero, below, z), if_less(z, zero, exp(z), one)


@inline
def tanh_activation(z):
    """tanh Z, slope 1 - A^2."""
    a = tanh(z)
    return a, fma(-a, a, const(z, 1.0))


@inline
def sigmoid_activation(z):
    """Eq. (2): A = sigma(Z), slope A (1 - A)."""
    a = sigmoid(z)
    return a, a * (const(z, 1.0) - a)


@inline
def softplus_activation(z):
    """log(1 + e^Z), slope sigma(Z)."""
    return softplus(z), sigmoid(z)


@inline
def gelu(z):
    """Z (1 + tanh u) / 2 with u = sqrt(2 / pi) (Z + 0.044715 Z^3)."""
    one, scale = const(z, 1.0), const(z, GELU_SCALE)
    # s is 0 from -100 down and 1 from 100 up: the first bound is for z s, the second for the product with 1 - s, 0 then
    bound, bound_of_square = const(z, 100.0), const(z, 1e4)
    z = if_less(z, -bound, -bound, z)
    square = z * z
    u = scale * z * fma(square, const(z, GELU_CUBIC), one)
    # (1 + tanh u) / 2 = sigma(2 u): no cancellation where u is far below 0
    s = sigmoid(u + u)
    square = if_less(bound_of_square, square, bound_of_square, square)
    du = scale * fma(square, const(z, 3.0 * GELU_CUBIC), one)
    w = if_less(bound, z, bound, z)
    return z * s, fma(w * (s * sigmoid(-(u + u))) * const(z, 2.0), du, s)


@inline
def silu(z):
    """Z sigma(Z)."""
    bound = const(z, 1000.0)  # sigma is 0 from -1000 down and 1 from 1000 up, for the products as in gelu
    z = if_less(z, -bound, -bound, z)
    s = sigmoid(z)
    return z * s, s * fma(if_less(bound, z, bound, z), sigmoid(-z), const(z, 1.0))


def _make_pass(activation):
    @inline
    def apply_to(value, z, slopes, at):
        a, slope = activation(value)
        store(z + at, a)
        if slopes != 0:
            store(slopes + at, slope)

    @kernel
    def apply(z, slopes, rows, like):
        n, many, size = lanes(like), group_lanes(like), itemsize(like)
        count = rows * line(like)
        in_groups = count // many * many
        for i in range(0, in_groups, many):
            apply_to(load_group(z + i * size, like), z, slopes, i * size)
        for i in range(in_groups, count, n):
            apply_to(load(z + i * size, like), z, slopes, i * size)

    return apply


def make_activation_pass(code: int, dtype: np.dtype[Any]) -> Any:
    """The pass of an activation that a product does not apply itself."""
    apply, like = _make_pass(globals()[PASSES[code]]), dtype.type(0)

    @entry
    def activate(z, slopes, rows):
        apply(z, slopes, rows, like)
        return 0

    return activate


def make_tree(load_at):
    """The sum of 1, 2, 4 or 8 numbers that lie a stride apart: neighbours first, then the sums of neighbours.

    So a run of them that begins at a multiple of its length has a sum of its own, whoever adds it up.
    """

    @inline
    def four(first, stride, like):
        two = load_at(first, like) + load_at(first + stride, like)
        return two + (load_at(first + 2 * stride, like) + load_at(first + 3 * stride, like))

    @inline
    def tree(first, stride, count, like):
        if count == 1:
            return load_at(first, like)
        if count == 2:
            return load_at(first, like) + load_at(first + stride, like)
        if count == 4:
            return four(first, stride, like)
        return four(first, stride, like) + four(first + 4 * stride, stride, like)

    return tree


_tree = make_tree(load)


def _make_sum(activation):
    @kernel
    def apply(sums, stride, count, a, rows, like):
        n, size = lanes(like), itemsize(like)
        for i in range(0, rows * line(like), n):
            store(a + i * size, activation(_tree(sums + i * size, stride, count, like)))

    return apply


sum_tree, _relu_of_sum, _relu0_of_sum = _make_sum(identity), _make_sum(relu), _make_sum(relu0)


@kernel
def activate_sum(code, pass_, sums, stride, count, a, slopes, rows, like):
    """A = g(Z) on `rows` lines, and g'(Z) into `slopes` (an address, 0: not wanted).

    Z is the sum of `count` sums, `stride` bytes apart, as `make_tree` adds them.
    """
    if code == RELU:
        _relu_of_sum(sums, stride, count, a, rows, like)
    elif code == RELU0:
        _relu0_of_sum(sums, stride, count, a, rows, like)
    else:
        sum_tree(sums, stride, count, a, rows, like)
        if pass_ != 0:
            call_pass(pass_, a, slopes, rows)
