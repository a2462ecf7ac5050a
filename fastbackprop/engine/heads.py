"""The output layers of Theorem 6.1: outputs, losses and dZ[L] of one panel, in the stable forms from Z.

All three have delta = o - y (eqs. (27), (33), (40)); `scale` is a line with each sample's share of the mean, 1 / N, and
0 for the lanes of a panel that hold no sample, so dZ = scale * delta is eq. (21).
"""

from __future__ import annotations

from fastbackprop.engine.elementary import exp, log, log1p, sigmoid
from fastbackprop.engine.jit import inline, kernel
from fastbackprop.engine.layout import CLASSES, DENSE, GIVEN_DELTAS, NO_TARGETS
from fastbackprop.engine.simd import (
    const,
    fma,
    if_equal,
    if_less,
    itemsize,
    lanes,
    line,
    load,
    magnitude,
    splat,
    store,
)

IDENTITY_L2, SIGMOID_BCE, SOFTMAX_CCE = 0, 1, 2


@inline
def _target(kind, targets, at, output, lane_bytes, like):
    """y for one output: the line of class indices compared with its number, or the line of dense targets."""
    if kind == CLASSES:
        one = splat(const(like, 1.0))
        return if_equal(load(targets + lane_bytes, like), splat(const(like, output)), one, one - one)
    return load(targets + at, like)


@kernel
def _softmax(z, outputs, kind, targets, deltas, losses, scale, like):
    n, size, step = lanes(like), itemsize(like), line(like) * itemsize(like)
    for lane in range(0, line(like), n):
        i = lane * size
        top = load(z + i, like)
        for j in range(1, outputs):
            v = load(z + j * step + i, like)
            top = if_less(top, v, v, top)
        total = splat(const(like, 0.0))
        loss = total
        if kind != NO_TARGETS:  # -sum y_j (z_j - top), before z gives way to the outputs
            for j in range(outputs):
                v = load(z + j * step + i, like) - top
                loss = fma(-_target(kind, targets, j * step + i, j, i, like), v, loss)
        mass = splat(const(like, 0.0))
        for j in range(outputs):
            at = j * step + i
            e = exp(load(z + at, like) - top)
            store(z + at, e)
            total = total + e
            if kind == DENSE:
                mass = mass + _target(kind, targets, at, j, i, like)
        inverse = splat(const(like, 1.0)) / total
        if kind != NO_TARGETS:  # + (sum y_j) log sum e^(z_k - top)
            log_total = log(total)
            loss = fma(mass, log_total, loss) if kind == DENSE else loss + log_total
            share = load(scale + i, like)
            store(losses + i, if_equal(share, splat(const(like, 0.0)), share, loss))
        for j in range(outputs):
            at = j * step + i
            o = load(z + at, like) * inverse
            store(z + at, o)
            if kind != NO_TARGETS and deltas != 0:  # eq. (40)
                o = mass * o if kind == DENSE else o  # the mass is 1, but for the rounding of the targets
                store(deltas + at, (o - _target(kind, targets, at, j, i, like)) * load(scale + i, like))


@inline
def _elementwise(sigmoid_head, z, outputs, kind, targets, deltas, losses, scale, like):
    n, size, step = lanes(like), itemsize(like), line(like) * itemsize(like)
    zero = splat(const(like, 0.0))
    for lane in range(0, line(like), n):
        i = lane * size
        loss = zero
        for j in range(outputs):
            at = j * step + i
            v = load(z + at, like)
            o = sigmoid(v) if sigmoid_head else v
            store(z + at, o)
            if kind != NO_TARGETS:
                y = _target(kind, targets, at, j, i, like)
                if sigmoid_head:  # -y log o - (1 - y) log(1 - o) = max(z, 0) - y z + log(1 + e^-|z|)
                    positive = if_less(zero, v, v, if_equal(v, v, zero, v))
                    loss = loss + (fma(-y, v, positive) + log1p(exp(-magnitude(v))))
                else:
                    half = (v - y) * const(v, 0.5)
                    loss = fma(half, v - y, loss)
                if deltas != 0:  # eqs. (27) and (33)
                    store(deltas + at, (o - y) * load(scale + i, like))
        if kind != NO_TARGETS:
            share = load(scale + i, like)
            store(losses + i, if_equal(share, zero, share, loss))


@kernel
def _sigmoid(z, outputs, kind, targets, deltas, losses, scale, like):
    _elementwise(True, z, outputs, kind, targets, deltas, losses, scale, like)


@kernel
def _identity(z, outputs, kind, targets, deltas, losses, scale, like):
    _elementwise(False, z, outputs, kind, targets, deltas, losses, scale, like)


@kernel
def head(code, z, outputs, kind, targets, deltas, losses, scale, like):
    """o = g(Z) in place of Z, and where there are targets the losses (one line) and dZ[L].

    `deltas` is 0 where only the cost is wanted. With GIVEN_DELTAS the targets are dZ[L] itself.
    """
    loss_kind = NO_TARGETS if kind == GIVEN_DELTAS else kind
    if code == SOFTMAX_CCE:
        _softmax(z, outputs, loss_kind, targets, deltas, losses, scale, like)
    elif code == SIGMOID_BCE:
        _sigmoid(z, outputs, loss_kind, targets, deltas, losses, scale, like)
    else:
        _identity(z, outputs, loss_kind, targets, deltas, losses, scale, like)
    if kind == GIVEN_DELTAS:
        n, size = lanes(like), itemsize(like)
        for i in range(0, outputs * line(like), n):
            store(deltas + i * size, load(targets + i * size, like))
