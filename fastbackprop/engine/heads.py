"""The output layers of Theorem 6.1: outputs, losses and dZ[L] of some panels, in the stable forms from Z.

All have delta = o - y (eqs. (27), (33), (40)), and so has a fourth, o = e^Z with the Poisson deviance. `scale` is a
line a panel with each sample's share of the mean, 1 / N where all weigh the same, and 0 for the lanes that hold no
sample, so dZ = scale * delta is eq. (21).
"""

from __future__ import annotations

from fastbackprop.engine.codes import EXP_POISSON, IDENTITY_L2, SIGMOID_BCE, SOFTMAX_CCE
from fastbackprop.engine.elementary import LARGEST, exp, exp_below, log, log1p, log_of_normal, sigmoid
from fastbackprop.engine.jit import inline, kernel
from fastbackprop.engine.layout import CLASSES, DENSE, NO_TARGETS
from fastbackprop.engine.simd import (
    LINE_BYTES,
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
    load_pair,
    magnitude,
    store,
    store_pair,
)

# A head is done for two panels at a time: much of it is one chain of operations, which leaves the processor idle.
# `far` is the distance in bytes from one to the other; 0 where there is but one, then done twice at once.


@inline
def _load(address, far, like):
    """The vector at an address and that of the other panel."""
    return load_pair(address, address + far, like)


@inline
def _store(address, far, value):
    """The counterpart of :func:`_load`."""
    store_pair(address, address + far, value)


@inline
def _class_target(targets, far, output, lane_bytes, like):
    """y for one output: the line of class indices compared with its number."""
    y = _load(targets + lane_bytes, far, like)
    return if_equal(y, const(y, output), const(y, 1.0), const(y, 0.0))


@inline
def _delta(o, y, share):
    """dZ of one output; what weighs nothing gives nothing, also where o is infinite or NaN."""
    zero = const(share, 0.0)
    return if_equal(share, zero, zero, (o - y) * share)


@inline
def at_most_largest(v):
    """v, and the largest finite number in the place of infinity."""
    return if_less(LARGEST(v), v, LARGEST(v), v)


@inline
def exp_from(ceiling, v):
    """e^(v - top), 1 where v is top also if both are infinite, with the ceiling that is top or the largest number."""
    v = v - ceiling
    zero = const(v, 0.0)
    return exp_below(if_less(zero, v, zero, v))


@inline
def cross_entropy_term(loss, top, v, y):
    """y (top - v) added to the loss: nothing where y is 0 or v is top, also if that is infinite."""
    v = top - v
    zero = const(v, 0.0)
    return if_equal(y, zero, loss, fma(y, if_less(zero, v, v, zero), loss))


def _make_softmax_of_two(of_classes, of_rows):
    """`of_classes`: the targets are class indices; `of_rows`: they are a line an output; else there are none."""

    @kernel
    def softmax_of_two(z, far, outputs, targets, deltas, losses, totals, masses, scale, far_line, like):
        """All but the logarithms in the losses, for which sum e^(z_k - top) and sum y_j go to `totals` and `masses`."""
        n, size, step = lanes(like), itemsize(like), line(like) * itemsize(like)
        for lane in range(0, line(like), n):
            i = lane * size
            top = _load(z + i, far, like)
            zero = const(top, 0.0)
            for j in range(1, outputs):
                v = _load(z + j * step + i, far, like)
                top = if_less(top, v, v, top)
            total = loss = mass = zero
            if of_classes:  # top - z_y, before z gives way to the outputs; 0 also where both are infinite
                y, mine, mass = _load(targets + i, far, like), top, const(top, 1.0)
                for j in range(outputs):
                    mine = if_equal(y, const(y, j), _load(z + j * step + i, far, like), mine)
                loss = if_equal(mine, top, zero, top - mine)
            if of_rows:  # sum y_j (top - z_j)
                for j in range(outputs):
                    y = _load(targets + j * step + i, far, like)
                    loss = cross_entropy_term(loss, top, _load(z + j * step + i, far, like), y)
                    mass = mass + y
            ceiling = at_most_largest(top)
            for j in range(outputs):
                at = j * step + i
                e = exp_from(ceiling, _load(z + at, far, like))
                _store(z + at, far, e)
                total = total + e
            inverse = const(top, 1.0) / total
            if of_classes or of_rows:
                _store(losses + i, far_line, fma(total, zero, loss))  # NaN where the total is
                _store(totals + i, far_line, total)
                _store(masses + i, far_line, mass)
            for j in range(outputs):
                at = j * step + i
                o = _load(z + at, far, like) * inverse
                _store(z + at, far, o)
                if of_classes or of_rows:  # eq. (40)
                    if deltas != 0:
                        share = _load(scale + i, far_line, like)
                        if of_rows:  # the mass is 1, but for the rounding of the targets
                            o, y = mass * o, _load(targets + at, far, like)
                        else:
                            y = _class_target(targets, far, j, i, like)
                        _store(deltas + at, far, _delta(o, y, share))

    return softmax_of_two


def _make_add_log(load):
    @inline
    def apply(losses, totals, masses, scale, at, like):
        # A total is at least e^0, or NaN where the loss is NaN already.
        share, log_total = load(scale + at, like), log_of_normal(load(totals + at, like))
        loss = fma(load(masses + at, like), log_total, load(losses + at, like))
        store(losses + at, if_equal(share, const(share, 0.0), share, loss))

    return apply


_add_log, _add_log_group = _make_add_log(load), _make_add_log(load_group)


@kernel
def _add_logs(losses, totals, masses, scale, count, like):
    """+ (sum y_j) log sum e^(z_k - top), for `count` samples: in a row, since none waits for another's outputs."""
    n, many, size = lanes(like), group_lanes(like), itemsize(like)
    in_groups = count // many * many
    for i in range(0, in_groups, many):
        _add_log_group(losses, totals, masses, scale, i * size, like)
    for i in range(in_groups, count, n):
        _add_log(losses, totals, masses, scale, i * size, like)


def _make_softmax(kind):
    """Softmax with the categorical cross-entropy."""
    has_targets, of_two = kind != NO_TARGETS, _make_softmax_of_two(kind == CLASSES, kind == DENSE)

    @kernel
    def head(z, pitch, panels, outputs, targets, deltas, losses, totals, masses, scale, like):
        for p in range(0, panels, 2):
            far, far_line = (pitch, LINE_BYTES) if p + 1 < panels else (0, 0)
            at, at_line = p * pitch, p * LINE_BYTES
            of_two(
                z + at, far, outputs, targets + at, deltas + at if deltas != 0 else 0, losses + at_line,
                totals + at_line, masses + at_line, scale + at_line, far_line, like,
            )  # fmt: skip
        if has_targets:
            _add_logs(losses, totals, masses, scale, panels * line(like), like)

    return head


@inline
def _half_square(loss, v, o, y):
    """(o - y)^2 / 2, eq. (26)'s term of one output, added to the loss."""
    return fma((v - y) * const(v, 0.5), v - y, loss)


@inline
def binary_cross_entropy(loss, v, o, y):
    """-y log o - (1 - y) log(1 - o) = max(z, 0) - y z + log(1 + e^-|z|).

    The difference is 0 where o has reached y, and infinite where an infinite z has reached the other end.
    """
    zero, one = const(v, 0.0), const(v, 1.0)
    positive, reached = if_less(zero, v, v, zero), if_less(zero, v, one, zero)
    difference = if_equal(y, reached, zero, fma(-y, at_most_largest(v), positive))
    return loss + (difference + log1p(exp_below(-magnitude(v))))  # of which the last is NaN if z is


@inline
def _poisson_deviance(loss, v, o, y):
    """Half of the deviance: o - y z + (y log y - y), where 0 log 0 is 0, and y z too where y is 0."""
    zero, one = const(v, 0.0), const(v, 1.0)
    linear = if_equal(y, zero, o, fma(-y, at_most_largest(v), o))
    return loss + linear + y * (log(if_less(zero, y, y, one)) - one)


def _make_elementwise(output, loss_of):
    """An output that is a function of its own Z, with its loss."""

    def make(kind):
        has_targets, of_classes = kind != NO_TARGETS, kind == CLASSES

        @kernel
        def of_two(z, far, outputs, targets, deltas, losses, scale, far_line, like):
            n, size, step = lanes(like), itemsize(like), line(like) * itemsize(like)
            for lane in range(0, line(like), n):
                i = lane * size
                share = _load(scale + i, far_line, like)
                zero = loss = const(share, 0.0)
                for j in range(outputs):
                    at = j * step + i
                    v = _load(z + at, far, like)
                    o = output(v)
                    _store(z + at, far, o)
                    if has_targets:
                        if of_classes:
                            y = _class_target(targets, far, j, i, like)
                        else:
                            y = _load(targets + at, far, like)
                        loss = loss_of(loss, v, o, y)
                        if deltas != 0:  # eqs. (27) and (33)
                            _store(deltas + at, far, _delta(o, y, share))
                if has_targets:
                    _store(losses + i, far_line, if_equal(share, zero, share, loss))

        @kernel
        def head(z, pitch, panels, outputs, targets, deltas, losses, totals, masses, scale, like):
            for p in range(0, panels, 2):
                far, far_line = (pitch, LINE_BYTES) if p + 1 < panels else (0, 0)
                at, at_line = p * pitch, p * LINE_BYTES
                deltas_p = deltas + at if deltas != 0 else 0
                of_two(z + at, far, outputs, targets + at, deltas_p, losses + at_line, scale + at_line, far_line, like)

        return head

    return make


@inline
def _same(v):
    return v


# By the code of an output layer: its name, and what makes, for a kind of targets, its head: o = g(Z) in place of the
# panels of Z, and where there are targets the losses, a line a panel, and dZ[L]. Panels of Z, of the targets and of dZ
# are `pitch` bytes apart; `totals` and `masses` are scratch, a line a panel. `deltas` is 0 where only the cost is
# wanted.
HEADS = {
    IDENTITY_L2: _make_elementwise(_same, _half_square),
    SIGMOID_BCE: _make_elementwise(sigmoid, binary_cross_entropy),
    SOFTMAX_CCE: _make_softmax,
    EXP_POISSON: _make_elementwise(exp, _poisson_deviance),
}
