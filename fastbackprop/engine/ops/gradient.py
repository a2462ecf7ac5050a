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
    l, first, last = op.layer, op.first, op.last
    n, size, work = line(like), itemsize(like), job.workspace
    panels, n_in, stride = panel_count(job.rows, like), layers[l - 1].size, layers[l].stride
    sgd = job.update == FUSED_SGD and job.ends != 0
    rate = const(like, learning_rate(job)) if sgd else const(like, 0.0)
    weights, biases = layers[l].weights * size, layers[l].biases * size
    deltas = work + layers[l].deltas * size
    begin, begin_at = ZERO if job.begins != 0 else CONTINUE, job.gradient_at + weights
    epilogue, result = (SGD, job.params) if sgd else (STORE, job.gradient_at)
    if is_from_panels(layers, l, panels, like):
        gradient_from_panels(
            deltas, stride, panel_at(job, layers, l - 1, layers[l - 1].panels, 0, like), layers[l - 1].stride, n_in,
            first, last, panels, begin, begin_at, epilogue, result + weights, rate,
        )  # fmt: skip
    else:
        gradient(
            deltas, stride, units_at(job, layers, l - 1, 0, like), job.block * n, n_in, first, last, panels,
            begin, begin_at, epilogue, result + weights, job.scratch, rate,
        )  # fmt: skip
    bias_gradient(
        deltas, stride, first, last, panels, begin, work + layers[l].bias_sums * size,
        epilogue if job.ends != 0 else KEEP, result + biases, rate,
    )  # fmt: skip
    return at.GO_ON
