"""The three products of a layer over a slice of panels, blocked for the caches (the tile itself: tile.py).

The two lines of B that a tile reads, up to DEPTH deep, stay in the first-level cache while a block of A passes through
it from the second. A is read in place; where its rows would collide in the caches, a strip of 16 outputs (or inputs) is
copied into contiguous memory and used for every panel of the slice.
"""

from __future__ import annotations

from fastbackprop.engine.activations import IDENTITY, RELU, RELU0, activate
from fastbackprop.engine.jit import kernel, part
from fastbackprop.engine.layout import DEPTH, STRIP
from fastbackprop.engine.panels import load_part, store_part, transpose_line
from fastbackprop.engine.simd import LINE_BYTES, itemsize, lanes, line, load, load_scalar, prefetch, store
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

BLOCK = 128  # outputs of a block of A in the forward product: 96 KB
CHUNK_OUTPUTS, CHUNK_SAMPLES = 64, 256  # of a block of A in the gradient: 64 KB; its two lines of B take 32 KB
FAR_BYTES = 1 << 18  # a result of more bytes is asked for ahead: its lines come from beyond the second-level cache
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
    n, size = lanes(like), itemsize(like)
    for k in range(depth):
        a, b = src + k * stride * size, strip + k * STRIP * size
        if rows == STRIP:
            for r in range(0, STRIP, n):
                store(b + r * size, load(a + r * size, like))
            prefetch(a + STRIP * size)
        else:
            for r in range(0, rows, n):
                store_part(b + r * size, load_part(a + r * size, rows - r, like), rows - r, like)


@kernel
def _ask(address, stride, rows, width):
    """Ask for `width` bytes of some rows, `stride` bytes apart."""
    for r in range(rows):
        for i in range(0, width, LINE_BYTES):
            prefetch(address + r * stride + i)


@part
def forward(
    weights, n_in, n_out, biases, inputs, in_stride, outputs, out_stride, slopes, activation, panels, strip, like
):
    """A = g(W A_in + b), eqs. (3) and (4), for `panels` panels; slopes = g'(Z) where an address is given."""
    n, size = line(like), itemsize(like)
    packed = n_in * size % PAGE == 0 and panels > 1
    epilogue = TILE_RELU if activation == RELU else TILE_RELU0 if activation == RELU0 else STORE
    block = STRIP if packed else BLOCK
    for k in range(0, n_in, DEPTH):
        depth = min(DEPTH, n_in - k)
        last = k + depth == n_in
        end = 0
        while end < n_out:
            first, end = end, min(end + block, n_out)
            if packed:
                pack_rows(weights + (first * n_in + k) * size, n_in, end - first, depth, strip, like)
            for p in range(0, panels, LINES):
                lines = min(LINES, panels - p)
                b = inputs + (p * in_stride + k) * n * size
                o = first
                while o < end:
                    h = height(end - o, lines)
                    c = outputs + (p * out_stride + o) * n * size
                    start_from, start = (BIAS, biases + o * size) if k == 0 else (CONTINUE, c)
                    if packed:
                        tile_of_columns(
                            h, lines, strip + (o - first) * size, STRIP, depth, b, in_stride * n, start_from, start,
                            epilogue if last else STORE, c, out_stride * n, c, like,
                        )  # fmt: skip
                    else:
                        tile_of_rows(
                            h, lines, weights + (o * n_in + k) * size, n_in, depth, b, in_stride * n, start_from, start,
                            epilogue if last else STORE, c, out_stride * n, like,
                        )  # fmt: skip
                    if last and activation != IDENTITY and epilogue == STORE:
                        for j in range(lines):
                            at = c + j * out_stride * n * size
                            activate(activation, at, at + slopes - outputs if slopes != 0 else 0, h, like)
                    o += h


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
    far = n_in * (last - first) * size > FAR_BYTES
    for p in range(0, panels, CHUNK_SAMPLES // n):
        some = min(CHUNK_SAMPLES // n, panels - p)
        is_last = p + some == panels
        begin = start_from if p == 0 else CONTINUE
        target = result if is_last else start
        for chunk in range(first, last, CHUNK_OUTPUTS):
            end = min(chunk + CHUNK_OUTPUTS, last)
            for q in range(0, n_in, n * LINES):
                lines = min(LINES, (n_in - q + n - 1) // n)
                b = units + (q // n * units_stride + p * n * n) * size
                o = chunk
                while o < end:
                    h = height(end - o, lines)
                    at = (o * n_in + q) * size
                    if far:
                        below = at + h * n_in * size
                        _ask(target + below, n_in * size, h, lines * n * size)
                        if begin == CONTINUE:
                            _ask(start + below, n_in * size, h, lines * n * size)
                    tile_of_panels(
                        h, lines, deltas + (p * out_stride + o) * n * size, out_stride * n, some, b, units_stride,
                        begin, start + at, epilogue if is_last else STORE, target + at, n_in, n_in - q, rate,
                    )  # fmt: skip
                    o += h
