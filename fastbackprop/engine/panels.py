"""Between rows, panels and units: gathering samples, transposing activations, writing results (see layout.py)."""

from __future__ import annotations

from fastbackprop.engine.jit import inline, kernel
from fastbackprop.engine.simd import (
    const,
    fma,
    group_lanes,
    has_nan,
    itemsize,
    lanes,
    line,
    load,
    load_first,
    load_group,
    load_int,
    prefetch_second,
    splat,
    splat_group,
    store,
    store_first,
    transpose,
)

NOT_AHEAD = -1


@inline
def transpose_line(src, src_stride, dst, dst_stride, like):
    """Transpose a square of one line each way."""
    n, size = lanes(like), itemsize(like)
    for i in range(0, line(like), n):
        for j in range(0, line(like), n):
            transpose(
                src + (i * src_stride + j) * size, src_stride, dst + (j * dst_stride + i) * size, dst_stride, like
            )


@inline
def load_part(address, exist, like):
    """The vector at `address`, of which `exist` lanes exist; the others are 0."""
    return load(address, like) if exist >= lanes(like) else load_first(address, exist, like)


@inline
def store_part(address, value, exist, like):
    """Write the lanes of a vector that exist."""
    if exist >= lanes(like):
        store(address, value)
    else:
        store_first(address, value, exist)


@inline
def copy_line(src, dst, count, like):
    """Copy a line of which the first `count` elements exist; the others become 0."""
    n, size = lanes(like), itemsize(like)
    for i in range(0, line(like), n):
        store(dst + i * size, load_part(src + i * size, count - i, like))


@kernel
def write_line(src, dst, count, like):
    """Copy the first `count` elements of a line."""
    n, size = lanes(like), itemsize(like)
    for i in range(0, line(like), n):
        store_part(dst + i * size, load(src + i * size, like), count - i, like)


@inline
def zero_line(dst, like):
    """A line of zeros."""
    n, size = lanes(like), itemsize(like)
    for i in range(0, line(like), n):
        store(dst + i * size, splat(const(like, 0.0)))


@inline
def gather(rows, row_stride, order, first, count, ahead, end, width, units, units_stride, panel, like):
    """One panel of samples from rows: row order[first], order[first + 1], ... (or first, ... where `order` is 0).

    While they are copied, those from `ahead` on, but before `end`, are asked for, unless it is NOT_AHEAD: the rows of a
    shuffled batch are anywhere in memory. Of the panel's samples `count` exist, the others become zeros. `units` is the
    address of the samples in the first block of units, `units_stride` the elements from block to block; where that is
    0, no units are wanted, and their place, a square of a line each way, is scratch.
    """
    n, size = line(like), itemsize(like)
    for q in range(0, width, n):
        block, stride = units + (q // n) * units_stride * size, n
        if units_stride == 0 and order == 0 and count == n and width - q >= n:
            block, stride = rows + (first * row_stride + q) * size, row_stride  # they lie as if they had been copied
        else:
            for s in range(n):
                if s < count:
                    row = load_int(order + (first + s) * 8) if order != 0 else first + s
                    copy_line(rows + (row * row_stride + q) * size, block + s * n * size, width - q, like)
                    if ahead != NOT_AHEAD:
                        later = min(ahead + s, end - 1)
                        later = load_int(order + later * 8) if order != 0 else later
                        prefetch_second(rows + (later * row_stride + q) * size)
                else:
                    zero_line(block + s * n * size, like)
        transpose_line(block, stride, panel + q * n * size, n, like)


@kernel
def all_finite(address, count, like):
    """Whether the elements of some whole lines are neither infinite nor NaN."""
    n, many, size = lanes(like), group_lanes(like), itemsize(like)
    in_groups = count // many * many
    zero = const(like, 0.0)
    total, rest = splat_group(zero), splat(zero)
    for i in range(0, in_groups, many):
        total = fma(load_group(address + i * size, like), splat_group(zero), total)
    for i in range(in_groups, count, n):
        rest = fma(load(address + i * size, like), splat(zero), rest)
    return not (has_nan(total) or has_nan(rest))


@kernel
def panel_to_units(panel, width, units, units_stride, like):
    """Transpose one panel of activations."""
    n, size = line(like), itemsize(like)
    for q in range(0, width, n):
        transpose_line(panel + q * n * size, n, units + (q // n) * units_stride * size, n, like)


@kernel
def panel_to_rows(panel, width, rows, row_stride, count, scratch, like):
    """Write the first `count` samples of a panel as rows."""
    n, size = line(like), itemsize(like)
    for q in range(0, width, n):
        transpose_line(panel + q * n * size, n, scratch, n, like)
        for s in range(count):
            write_line(scratch + s * n * size, rows + (s * row_stride + q) * size, width - q, like)
