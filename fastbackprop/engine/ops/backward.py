"""dZ[L - 1] to dZ[1], eq. (17), and dX, eq. (16)."""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.codes import IDENTITY, RELU, RELU0
from fastbackprop.engine.operations import operation
from fastbackprop.engine.panels import panel_to_rows
from fastbackprop.engine.places import drop_probability, panel_at, panels_of
from fastbackprop.engine.product import call_backward
from fastbackprop.engine.simd import itemsize, line
from fastbackprop.engine.tile import MASK, SCALE, STORE


@operation
def backward_layer(job, op, layers, like):
    """dZ[l] of a slice, from dZ[l + 1]; of l = 0, whose activation is the identity, dX as panels."""
    l, size = op.layer, itemsize(like)
    p0, p1 = panels_of(job, op, like)
    epilogue, aux = SCALE, layers[l].slopes
    if drop_probability(job, l) == 0.0:
        if layers[l].activation == IDENTITY:
            epilogue = STORE
        elif layers[l].activation == RELU or layers[l].activation == RELU0:
            epilogue, aux = MASK, layers[l].panels
    if p1 > p0:
        call_backward(
            op.product, job.params + layers[l + 1].weights * size, layers[l].size, layers[l + 1].size,
            panel_at(job, layers, l + 1, layers[l + 1].deltas, p0, like), layers[l + 1].stride,
            panel_at(job, layers, l, layers[l].deltas, p0, like), layers[l].stride,
            epilogue, panel_at(job, layers, l, aux, p0, like), p1 - p0, job.scratch,
        )  # fmt: skip
    return at.GO_ON


@operation
def write_input_gradient(job, op, layers, like):
    """dX of a slice as rows."""
    n, width = line(like), layers[0].size
    p0, p1 = panels_of(job, op, like)
    for p in range(p0, p1):
        rows = job.input_gradient + (job.row + p * n) * width * itemsize(like)
        panel = panel_at(job, layers, 0, layers[0].deltas, p, like)
        panel_to_rows(panel, width, rows, width, min(n, job.rows - p * n), job.scratch, like)
    return at.GO_ON
