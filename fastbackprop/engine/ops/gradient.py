"""dW[l] and db[l], eqs. (24) and (25)."""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.codes import FUSED_SGD
from fastbackprop.engine.operations import operation
from fastbackprop.engine.places import is_from_panels, learning_rate, panel_at, panel_count, units_at
from fastbackprop.engine.product import bias_gradient, gradient, gradient_from_panels
from fastbackprop.engine.simd import const, itemsize, line
from fastbackprop.engine.tile import CONTINUE, FEW_BIASES, KEEP, SGD, STORE, ZERO

assert at.CUT % FEW_BIASES == 0  # else a tile of biases would keep sums of another task's outputs


@operation
def gradient_of_outputs(job, op, layers, like):
    """The gradient by the weights and biases of outputs FIRST to LAST - 1 over all samples of the block.

    FUSED_SGD makes the update with the last block.
    """
    l, first, last = op[at.LAYER], op[at.FIRST], op[at.LAST]
    n, size, work = line(like), itemsize(like), job[at.WORKSPACE]
    panels, n_in, stride = panel_count(job[at.ROWS], like), layers[l - 1, at.SIZE], layers[l, at.STRIDE]
    sgd = job[at.UPDATE] == FUSED_SGD and job[at.ENDS] != 0
    rate = const(like, learning_rate(job)) if sgd else const(like, 0.0)
    weights, biases = layers[l, at.WEIGHTS] * size, layers[l, at.BIASES] * size
    deltas = work + layers[l, at.DELTAS] * size
    begin, begin_at = ZERO if job[at.BEGINS] != 0 else CONTINUE, job[at.GRADIENT_AT] + weights
    epilogue, result = (SGD, job[at.PARAMS]) if sgd else (STORE, job[at.GRADIENT_AT])
    if is_from_panels(layers, l, panels, like):
        gradient_from_panels(
            deltas, stride, panel_at(job, layers, l - 1, at.PANELS, 0, like), layers[l - 1, at.STRIDE], n_in, first,
            last, panels, begin, begin_at, epilogue, result + weights, rate,
        )  # fmt: skip
    else:
        gradient(
            deltas, stride, units_at(job, layers, l - 1, 0, like), job[at.BLOCK] * n, n_in, first, last, panels,
            begin, begin_at, epilogue, result + weights, job[at.SCRATCH], rate,
        )  # fmt: skip
    bias_gradient(
        deltas, stride, first, last, panels, begin, work + layers[l, at.BIAS_SUMS] * size,
        epilogue if job[at.ENDS] != 0 else KEEP, result + biases, rate,
    )  # fmt: skip
    return at.GO_ON
