"""The three products of a layer over a slice of panels, blocked for the caches (the tile itself: tile.py).

A strip of weights, 16 outputs (or inputs) by up to DEPTH, is used for every panel of the slice before the next. It is
read in place; where its rows would collide in the caches it is copied once into a contiguous strip.
"""

from __future__ import annotations

from fastbackprop.engine.activations import IDENTITY, RELU, RELU0, activate
from fastbackprop.engine.jit import kernel, part
from fastbackprop.engine.layout import DEPTH, STRIP
from fastbackprop.engine.panels import transpose_line, write_line
from fastbackprop.engine.simd import itemsize, line, load_scalar, store
from fastbackprop.engine.tile import (
    BIAS,
    CONTINUE,
    LINES,
    STORE,
    ZERO,
    height,
    tile_of_columns,
    tile_of_panels,
    tile_of_rows,
)
from fastbackprop.engine.tile import RELU as TILE_RELU
from fastbackprop.engine.tile import RELU0 as TILE_RELU0

PAGE = 4096  # rows of the weights that are a multiple of this apart fall into one set of the first-level cache


@kernel
def pack_rows(src, stride, rows, depth, strip, like):
    """strip[k, r] = src[r, k]: the strip of the forward product."""
    n, size = line(like), itemsize(like)
    whole = depth // n * n if rows == STRIP else 0
    for k in range(0, whole, n):
        for r in range(0, STRIP, n):
            transpose_line(src + (r * stride + k) * size, stride, strip + (k * STRIP + r) * size, STRIP, like)
    for k in range(whole, depth):
        for r in range(rows):
            store(strip + (k * STRIP + r) * size, load_scalar(src + (r * stride + k) * size, like))


@kernel
def pack_columns(src, stride, rows, depth, strip, like):
    """strip[k, r] = src[k, r]: the strip of the backward product."""
    n, size = line(like), itemsize(like)
    for k in range(depth):
        for r in range(0, rows, n):
            write_line(src + (k * stride + r) * size, strip + (k * STRIP + r) * size, rows - r, like)


@part
def forward(
    weights, n_in, n_out, biases, inputs, in_stride, outputs, out_stride, slopes, activation, panels, strip, like
):
    """A = g(W A_in + b), eqs. (3) and (4), for `panels` panels; slopes = g'(Z) where an address is given."""
    n, size = line(like), itemsize(like)
    packed = n_in * size % PAGE == 0 and panels > 1
    epilogue = TILE_RELU if activation == RELU else TILE_RELU0 if activation == RELU0 else STORE
    for k in range(0, n_in, DEPTH):
        depth = min(DEPTH, n_in - k)
        last = k + depth == n_in
        for o in range(0, n_out, STRIP):
            rows = min(STRIP, n_out - o)
            a = weights + (o * n_in + k) * size
            if packed:
                pack_rows(a, n_in, rows, depth, strip, like)
            for p in range(0, panels, LINES):
                lines = min(LINES, panels - p)
                b = inputs + (p * in_stride + k) * n * size
                r = 0
                while r < rows:
                    h = height(rows - r, lines)
                    c = outputs + (p * out_stride + o + r) * n * size
                    start_from, start = (BIAS, biases + (o + r) * size) if k == 0 else (CONTINUE, c)
                    end = epilogue if last else STORE
                    if packed:
                        tile_of_columns(
                            h, lines, strip + r * size, STRIP, depth, b, in_stride * n, start_from, start, end,
                            c, out_stride * n, c, like,
                        )  # fmt: skip
                    else:
                        tile_of_rows(
                            h, lines, a + r * n_in * size, n_in, depth, b, in_stride * n, start_from, start, end,
                            c, out_stride * n, like,
                        )  # fmt: skip
                    r += h
                if last and activation != IDENTITY and epilogue == STORE:
                    for j in range(p, p + lines):
                        at = (j * out_stride + o) * n * size
                        activate(activation, outputs + at, slopes + at if slopes != 0 else 0, rows, like)


@part
def backward(weights, n_in, n_out, deltas, out_stride, results, in_stride, epilogue, aux, panels, strip, like):
    """dZ_in = g'(Z_in) * (W^T dZ), eqs. (16) and (17), for `panels` panels; the epilogue says how g' is read."""
    n, size = line(like), itemsize(like)
    packed = panels >= 4 and n_in * size >= 1024
    for k in range(0, n_out, DEPTH):
        depth = min(DEPTH, n_out - k)
        last = k + depth == n_out
        for i in range(0, n_in, STRIP):
            rows = min(STRIP, n_in - i)
            a, k_stride = weights + (k * n_in + i) * size, n_in
            if packed:
                pack_columns(a, n_in, rows, depth, strip, like)
                a, k_stride = strip, STRIP
            for p in range(0, panels, LINES):
                lines = min(LINES, panels - p)
                b = deltas + (p * out_stride + k) * n * size
                r = 0
                while r < rows:
                    h = height(rows - r, lines)
                    at = (p * in_stride + i + r) * n * size
                    c = results + at
                    tile_of_columns(
                        h, lines, a + r * size, k_stride, depth, b, out_stride * n, ZERO if k == 0 else CONTINUE, c,
                        epilogue if last else STORE, c, in_stride * n, aux + at, like,
                    )  # fmt: skip
                    r += h


@part
def gradient(
    deltas, out_stride, units, units_stride, n_in, first, last, panels, start_from, start, epilogue, result, rate
):
    """dW = dZ A^T, eq. (24), for the outputs first to last - 1 over all panels of the block; `rate` as in the tile."""
    n, size = line(rate), itemsize(rate)
    for q in range(0, n_in, n * LINES):
        lines = min(LINES, (n_in - q + n - 1) // n)
        b = units + q // n * units_stride * size
        o = first
        while o < last:
            h = height(last - o, lines)
            at = (o * n_in + q) * size
            tile_of_panels(
                h, lines, deltas + o * n * size, out_stride * n, panels, b, units_stride, start_from, start + at,
                epilogue, result + at, n_in, n_in - q, rate,
            )  # fmt: skip
            o += h
