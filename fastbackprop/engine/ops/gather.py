"""A[0]: the samples of a block as panels and, where the gradient of the first layer is made from them, as units."""

from __future__ import annotations

from fastbackprop.engine import layout as at
from fastbackprop.engine.codes import NO_GRADIENT
from fastbackprop.engine.jit import NIL, inline
from fastbackprop.engine.operations import operation
from fastbackprop.engine.panels import NOT_AHEAD, all_finite, gather
from fastbackprop.engine.places import is_from_panels, panel_at, panel_count, panels_of, units_at
from fastbackprop.engine.readers import call_reader
from fastbackprop.engine.simd import itemsize, line

FAR_INPUT_BYTES = 1 << 20  # inputs of more bytes are asked for ahead: they come from beyond the second-level cache


@inline
def gather_panels(job, layers, row, samples, p0, p1, like):
    """Panels p0 to p1 - 1 of the `samples` from place `row` of ORDER on."""
    n, width = line(like), layers[0].size
    far = job.samples * abs(job.input_stride) * itemsize(like) > FAR_INPUT_BYTES
    to_units = job.update != NO_GRADIENT
    to_units = to_units and not is_from_panels(layers, NIL + 1, panel_count(samples, like), like)
    units_stride = job.block * n if to_units else 0
    reader = job.input_reader
    if reader != 0 and p1 > p0:
        call_reader(
            reader, job.inputs, job.order, row + p0 * n, samples - p0 * n, NIL + far, job.end_row, width,
            units_at(job, layers, 0, p0, like) if to_units else job.scratch, units_stride,
            panel_at(job, layers, 0, layers[0].panels, p0, like), layers[0].stride, p1 - p0,
        )  # fmt: skip
    for p in range(p0, p1 if reader == 0 else p0):
        first = row + p * n
        ahead = first + n if far else NOT_AHEAD  # the panel that is next in ORDER
        units = units_at(job, layers, 0, p, like) if to_units else job.scratch
        gather(
            job.inputs, job.input_stride, job.order, first, min(n, samples - p * n), ahead,
            job.end_row, width, units, units_stride, panel_at(job, layers, 0, layers[0].panels, p, like), like,
        )  # fmt: skip


@operation
def gather_inputs(job, op, layers, like):
    """A[0] of a slice of the block, but for the panels that were gathered ahead."""
    p0, p1 = panels_of(job, op, like)
    gather_panels(job, layers, job.row, job.rows, p0 + job.gathered, p1, like)
    return at.GO_ON


@operation
def check_inputs(job, op, layers, like):
    """FAILED where the gathered inputs of a slice are not finite."""
    p0, p1 = panels_of(job, op, like)
    for p in range(p0, p1):
        if not all_finite(panel_at(job, layers, 0, layers[0].panels, p, like), layers[0].size * line(like), like):
            return at.FAILED
    return at.GO_ON
