"""Activations of hidden layers: the pass that applies one to a tile just written, made of its formula.

The formulas, of value and slope, are those of the table in ``fastbackprop/activations.py``. identity, relu and relu0
need no pass: the tile's epilogue does them in registers (see tile.py), and here they are done to sums of shards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastbackprop.engine.addresses import call_pass
from fastbackprop.engine.codes import RELU, RELU0
from fastbackprop.engine.elementary import exp, expm1, log, log1p, normal, sigmoid, softplus, sqrt, tanh
from fastbackprop.engine.jit import entry, inline, kernel
from fastbackprop.engine.simd import (
    const,
    copy_sign,
    fma,
    group_lanes,
    if_equal,
    if_less,
    itemsize,
    lanes,
    line,
    load,
    load_group,
    magnitude,
    store,
)

# What a formula may be made of.
OPERATIONS: dict[str, Any] = {
    "const": const, "copy_sign": copy_sign, "exp": exp, "expm1": expm1, "fma": fma, "if_equal": if_equal,
    "if_less": if_less, "log": log, "log1p": log1p, "magnitude": magnitude, "normal": normal, "sigmoid": sigmoid,
    "softplus": softplus, "sqrt": sqrt, "tanh": tanh,
}  # fmt: skip
Bind = Callable[[Mapping[str, Any]], Callable[[Any], Any]]  # a formula of these operations, or of others by their names


def compiled_formula(bind: Bind) -> Any:
    """A formula as a function of compiled code: value and slope of a number, a vector or a group of vectors."""
    return inline(bind(OPERATIONS))


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


def make_activation_pass(bind: Bind, dtype: np.dtype[Any]) -> Any:
    """The pass of an activation that a product does not apply itself."""
    apply, like = _make_pass(compiled_formula(bind)), dtype.type(0)

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
