"""The output layers of Theorem 6.1 as operations: targets, outputs, losses and dZ[L] of a slice of the block."""

from __future__ import annotations

from fastbackprop.engine import codes
from fastbackprop.engine import layout as at
from fastbackprop.engine.heads import HEADS
from fastbackprop.engine.jit import NIL, inline, kernel
from fastbackprop.engine.operations import Operation
from fastbackprop.engine.panels import NOT_AHEAD, all_finite, gather, panel_to_rows
from fastbackprop.engine.places import learns, panel_at, panels_of, reciprocal, row_number, sample_weight, weight_sum
from fastbackprop.engine.readers import call_reader
from fastbackprop.engine.simd import (
    const,
    itemsize,
    lanes,
    line,
    load,
    load_int,
    load_scalar,
    load_whole_numbers,
    splat,
    store,
)


def _make_gather_targets(of_classes):
    @inline
    def gather_targets(job, row, count, outputs, panel, like):
        """A panel's targets: one line of class indices, or a line an output."""
        n, size = line(like), itemsize(like)
        order, targets = job.order, job.targets
        if of_classes:
            if order == 0 and count == n:
                for s in range(0, n, lanes(like)):
                    store(panel + s * size, load_whole_numbers(targets + (row + s) * 8, like))
            else:
                for s in range(n):
                    sample = row_number(job, row + min(s, count - 1))
                    store(panel + s * size, const(like, load_int(targets + sample * 8)))
        elif job.target_reader != 0:
            call_reader(
                job.target_reader, targets, order, row, count, NIL, NIL, outputs, job.scratch, NIL, panel,
                NIL, NIL + 1,
            )  # fmt: skip
        else:
            gather(
                targets, job.target_stride, order, row, count, NOT_AHEAD, NIL, outputs, job.scratch, NIL,
                panel, like,
            )  # fmt: skip

    return gather_targets


@inline
def _shares(job, first, exist, share, shares, like):
    """A line of `share` times each sample's weight; 0 for the samples that do not exist."""
    n, size = line(like), itemsize(like)
    if job.sample_weights == 0 and exist == n:
        for i in range(0, n, lanes(like)):
            store(shares + i * size, splat(share))
    else:
        for i in range(n):
            weight = sample_weight(job, first + i, like) * share if i < exist else const(like, 0.0)
            store(shares + i * size, weight)


def _make_read_targets(of_classes):
    gather_targets = _make_gather_targets(of_classes)

    @kernel
    def read_targets(job, row, count, outputs, targets, panel_bytes, share, shares, like):
        """The targets of `count` samples as panels, and what each sample has of the mean."""
        n = line(like)
        for p in range((count + n - 1) // n):
            exist = min(n, count - p * n)
            gather_targets(job, row + p * n, exist, outputs, targets + p * panel_bytes, like)
            _shares(job, row + p * n, exist, share, shares + p * n * itemsize(like), like)

    return read_targets


@kernel
def _copy_panels(src, dst, panel_bytes, panels, lines, like):
    size = itemsize(like)
    for p in range(panels):
        for i in range(0, lines * line(like), lanes(like)):
            store(dst + p * panel_bytes + i * size, load(src + p * panel_bytes + i * size, like))


def _operation(code, kind):
    has_targets, has_losses = kind != at.NO_TARGETS, kind in (at.CLASSES, at.DENSE)
    given_deltas = kind == at.GIVEN_DELTAS
    head, read_targets = HEADS[code](kind if has_losses else at.NO_TARGETS), _make_read_targets(kind == at.CLASSES)

    def output_layer(job, op, layers, like):
        n, size, last = line(like), itemsize(like), len(layers) - 1
        p0, p1 = panels_of(job, op, like)
        if p1 == p0:
            return at.GO_ON
        outputs, stride, code = layers[last].size, layers[last].stride, at.GO_ON
        panel, panel_bytes = panel_at(job, layers, last, layers[last].panels, p0, like), stride * n * size
        row, count = job.row + p0 * n, min((p1 - p0) * n, job.rows - p0 * n)
        targets = job.workspace + job.target_panels * size + p0 * panel_bytes
        losses = job.workspace + (job.losses + p0 * n) * size
        shares = job.workspace + (job.shares + p0 * n) * size
        totals = job.workspace + (job.totals + p0 * n) * size
        deltas = panel_at(job, layers, last, layers[last].deltas, p0, like) if learns(job) else 0
        if has_targets:
            share = const(like, reciprocal(weight_sum(job, op.slice, like)))
            read_targets(job, row, count, outputs, targets, panel_bytes, share, shares, like)
        head(
            panel, panel_bytes, p1 - p0, outputs, targets, deltas, losses, totals, totals + job.block * size,
            shares, like,
        )  # fmt: skip
        if given_deltas:  # the targets are dZ[L] itself
            _copy_panels(targets, deltas, panel_bytes, p1 - p0, outputs, like)
        if job.outputs != 0:
            for p in range(p1 - p0):
                rows = job.outputs + (row + p * n) * outputs * size
                exist = min(n, count - p * n)
                panel_to_rows(panel + p * panel_bytes, outputs, rows, outputs, exist, job.scratch, like)
        if has_losses:
            if not all_finite(losses, (p1 - p0) * n, like):
                code = at.FAILED
            if job.sample_weights != 0:
                for i in range(count):
                    weight = sample_weight(job, row + i, like)
                    store(losses + i * size, load_scalar(losses + i * size, like) * weight)
        return code

    output_layer.__doc__ = (
        f"o of {codes.HEADS[code]}; where there are targets, losses and dZ[L]; FAILED if a loss is not finite."
    )
    return Operation(output_layer, f"output_layer_{codes.HEADS[code]}_{codes.TARGETS[kind]}")


for _code in HEADS:
    for _kind in codes.TARGETS:
        _operation(_code, _kind)
