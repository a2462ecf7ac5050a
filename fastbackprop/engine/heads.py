"""The output layers of Theorem 6.1: outputs, losses and dZ[L] of one panel, in the stable forms from Z.

All have delta = o - y (eqs. (27), (33), (40)), and so has a fourth, o = e^Z with the Poisson deviance. `scale` is a
line with each sample's share of the mean, 1 / N where all weigh the same, and 0 for the lanes of a panel that hold no
sample, so dZ = scale * delta is eq. (21).
"""

from __future__ import annotations

from fastbackprop.engine.elementary import exp, log, log1p, log_of_normal, sigmoid
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

IDENTITY_L2, SIGMOID_BCE, SOFTMAX_CCE, EXP_POISSON = 0, 1, 2, 3


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
            log_total = log_of_normal(total)  # at least e^0
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
def _half_square(loss, v, o, y):
    """(o - y)^2 / 2, eq. (26)'s term of one output, added to the loss."""
    return fma((v - y) * const(v, 0.5), v - y, loss)


@inline
def _binary_cross_entropy(loss, v, o, y):
    """-y log o - (1 - y) log(1 - o) = max(z, 0) - y z + log(1 + e^-|z|)."""
    zero = const(v, 0.0)
    positive = if_less(zero, v, v, if_equal(v, v, zero, v))
    return loss + (fma(-y, v, positive) + log1p(exp(-magnitude(v))))


@inline
def _poisson_deviance(loss, v, o, y):
    """Half of the deviance: o - y z + (y log y - y), where 0 log 0 is 0."""
    zero, one = const(v, 0.0), const(v, 1.0)
    return loss + fma(-y, v, o) + y * (log(if_less(zero, y, y, one)) - one)


def _make_elementwise(output, loss_of):
    @kernel
    def apply(z, outputs, kind, targets, deltas, losses, scale, like):
        n, size, step = lanes(like), itemsize(like), line(like) * itemsize(like)
        zero = splat(const(like, 0.0))
        for lane in range(0, line(like), n):
            i = lane * size
            loss = zero
            for j in range(outputs):
                at = j * step + i
                v = load(z + at, like)
                o = output(v)
                store(z + at, o)
                if kind != NO_TARGETS:
                    y = _target(kind, targets, at, j, i, like)
                    loss = loss_of(loss, v, o, y)
                    if deltas != 0:  # eqs. (27) and (33)
                        store(deltas + at, (o - y) * load(scale + i, like))
            if kind != NO_TARGETS:
                share = load(scale + i, like)
                store(losses + i, if_equal(share, zero, share, loss))

    return apply


@inline
def _same(v):
    return v


_identity = _make_elementwise(_same, _half_square)
_sigmoid = _make_elementwise(sigmoid, _binary_cross_entropy)
_exponential = _make_elementwise(exp, _poisson_deviance)


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
    elif code == EXP_POISSON:
        _exponential(z, outputs, loss_kind, targets, deltas, losses, scale, like)
    else:
        _identity(z, outputs, loss_kind, targets, deltas, losses, scale, like)
    if kind == GIVEN_DELTAS:
        n, size = lanes(like), itemsize(like)
        for i in range(0, outputs * line(like), n):
            store(deltas + i * size, load(targets + i * size, like))
