"""The three products of a layer over a slice of panels, blocked for the caches (the tile itself: tile.py).

The two lines of B that a tile reads, up to DEPTH deep, stay in the first-level cache while a block of A passes through
it from the second, where the sums wait as well. A is read in place, where few samples use it; else, and where its rows
would collide in the caches, it is packed into strips as wide as a tile is high. What a large product will need next,
of A, of B and of the sums, its tiles ask for, each for its share: it comes from beyond the second-level cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from fastbackprop.engine import layout as at
from fastbackprop.engine.addresses import call_pass
from fastbackprop.engine.blocking import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    CHUNK_SAMPLES,
    DEPTH,
    FAR_BYTES,
    LINES,
    MANY_PANELS,
    PAGE,
    WAITING_CHUNK_BYTES,
    WIDE_ROW,
    WIDTH,
    whole_strips,
)
from fastbackprop.engine.codes import RELU, RELU0
from fastbackprop.engine.jit import NIL, entry, inline, kernel
from fastbackprop.engine.panels import load_part, transpose_line
from fastbackprop.engine.pointers import emit_call_at
from fastbackprop.engine.simd import LINE_BYTES, itemsize, lanes, line, load_scalar, prefetch_second, store
from fastbackprop.engine.tile import (
    BIAS,
    CONTINUE,
    FEW_BIASES,
    FEW_INPUTS,
    FEW_OUTPUTS,
    NARROW_INPUTS,
    NARROW_OUTPUTS,
    NOTHING,
    STORE,
    ZERO,
    height,
    tile_of_biases,
    tile_of_columns,
    tile_of_panels,
    tile_of_rows,
    tile_of_samples,
)
from fastbackprop.engine.tile import RELU as TILE_RELU
from fastbackprop.engine.tile import RELU0 as TILE_RELU0

_whole_strips = kernel(whole_strips)


@kernel
def pack_rows(src, stride, rows, exist, depth, strip, like):
    """strip[k, r] = src[r, k]: the strip of the forward product. `exist`: rows of the matrix from src on."""
    n, size = line(like), itemsize(like)
    lines = (WIDTH + n - 1) // n
    whole = depth // n * n if exist >= lines * n else 0
    for k in range(0, whole, n):
        for i in range(lines):  # from the last line of a row of the strip: what it writes beyond, the others overwrite
            r = (lines - 1 - i) * n
            transpose_line(src + (r * stride + k) * size, stride, strip + (k * WIDTH + r) * size, WIDTH, like)
    for k in range(whole, depth):
        for r in range(rows):
            store(strip + (k * WIDTH + r) * size, load_scalar(src + (r * stride + k) * size, like))


@kernel
def pack_columns(src, stride, exist, depth, strip, like):
    """strip[k, r] = src[k, r]: the strip of the backward product. `exist`: columns of the matrix from src on."""
    n, size = lanes(like), itemsize(like)
    for k in range(depth):
        for r in range(0, WIDTH, n):  # what a row of the strip writes beyond its end, the next overwrites
            value = load_part(src + (k * stride + r) * size, exist - r, like)
            store(strip + (k * WIDTH + r) * size, value)


@kernel
def pack(by_rows, src, stride, rows, exist, depth, strips, like):
    """The strips of a block of A of so many rows, WIDTH rows and DEPTH k each."""
    size = itemsize(like)
    for r in range(0, rows, WIDTH):
        strip = strips + r * DEPTH * size
        if by_rows:
            pack_rows(src + r * stride * size, stride, min(WIDTH, rows - r), exist - r, depth, strip, like)
        else:
            pack_columns(src + r * size, stride, exist - r, depth, strip, like)


@kernel
def ask(address, stride, rows, width):
    """Ask for `width` bytes of some rows, `stride` bytes apart, for the second-level cache."""
    for r in range(rows):
        for i in range(0, width, LINE_BYTES):
            prefetch_second(address + r * stride + i)


def _make_product(by_rows, packs):
    """The product of matrices by rows or by columns, which may pack the first, or never does.

    What it does not do is not compiled.
    """

    @kernel
    def product(
        a, stride, rows, ks, packed, b, b_stride, start_from, start, c, c_stride, epilogue, aux, slopes,
        activation_pass, panels, strips, like,
    ):  # fmt: skip
        """C = epilogue(start + A B): `panels` panels of `ks` lines become panels of `rows` lines.

        By rows A[r, k] is element r, k of the matrix at `a`, whose rows are `stride` apart, else element k, r. The pass
        of an activation, where there is one, follows on the epilogue.
        """
        n, size = line(like), itemsize(like)
        block, far = _whole_strips(BLOCK_BYTES, size), False
        if packs:
            many = panels >= (MANY_PANELS if by_rows else MANY_PANELS // 2)
            far = many and rows * ks * size > FAR_BYTES
            packed = packed or far
            block = block if far or not packed else WIDTH
        pairs, end = (panels + LINES - 1) // LINES, 0
        while end < rows:
            first, end = end, min(end + block, rows)
            for k in range(0, ks, DEPTH):
                depth = min(DEPTH, ks - k)
                last = k + depth == ks
                next_a, next_rows = 0, end - first if by_rows else DEPTH
                if packs:
                    if packed:
                        at_a = a + (first * stride + k if by_rows else k * stride + first) * size
                        pack(by_rows, at_a, stride, end - first, rows - first, depth, strips, like)
                    next_row, next_k = (end, 0) if last else (first, k + depth)
                    next_a = a + (next_row * stride + next_k if by_rows else next_k * stride + next_row) * size
                for p in range(0, panels, LINES):
                    lines = min(LINES, panels - p)
                    b_at = b + (p * b_stride + k) * n * size
                    o = first
                    while o < end:
                        r, h = o - first, 0
                        at = (p * c_stride + o) * n * size
                        begin, begin_at = (CONTINUE, c + at) if k > 0 else (start_from, start + o * size)
                        finish = epilogue if last else STORE
                        if packs and packed:
                            h = height(min(end - o, WIDTH - r % WIDTH), lines)
                            ahead = NOTHING
                            if far:  # lines of the next panels of B from this tile's share on, a row of the next A
                                next_b = b_at + LINES * b_stride * n * size + r * depth * LINE_BYTES // (end - first)
                                row = (p // LINES * (end - first) + r) * next_rows // (pairs * (end - first))
                                ahead = (next_b, next_b + b_stride * n * size, next_a + row * stride * size)
                            tile_of_columns(
                                h, lines, strips + (r // WIDTH * DEPTH * WIDTH + r % WIDTH) * size, WIDTH, depth,
                                b_at, b_stride * n, begin, begin_at, finish, c + at, c_stride * n, aux + at, ahead,
                                like,
                            )  # fmt: skip
                        elif by_rows:
                            h = height(end - o, lines)
                            tile_of_rows(
                                h, lines, a + (o * stride + k) * size, stride, depth, b_at, b_stride * n, begin,
                                begin_at, finish, c + at, c_stride * n, like,
                            )  # fmt: skip
                        else:
                            h = height(end - o, lines)
                            tile_of_columns(
                                h, lines, a + (k * stride + o) * size, stride, depth, b_at, b_stride * n, begin,
                                begin_at, finish, c + at, c_stride * n, aux + at, NOTHING, like,
                            )  # fmt: skip
                        if by_rows and last and activation_pass != 0:
                            for j in range(lines):
                                z = c + at + j * c_stride * n * size
                                call_pass(activation_pass, z, z + slopes - c if slopes != 0 else 0, h)
                        o += h

    return product


@intrinsic
def call_forward(
    typingctx: Any, product: Any, weights: Any, row_stride: Any, n_in: Any, n_out: Any, biases: Any, inputs: Any,
    in_stride: Any, outputs: Any, out_stride: Any, slopes: Any, activation: Any, activation_pass: Any, panels: Any,
    strips: Any,
) -> Any:  # fmt: skip
    """Call the forward product at an address: A = g(W A_in + b), eqs. (3) and (4), for ``panels`` panels.

    Slopes are g'(Z), where an address is given. Of W, whose rows are ``row_stride`` apart, n_in columns are used.
    Without an address of biases there are none.
    """
    result = types.int64(*[types.int64] * (1 + at.FORWARD_ARGUMENTS))
    return result, lambda context, bld, sig, args: emit_call_at(bld, *args)


def make_forward(packs: bool, dtype: np.dtype[Any]) -> Any:
    """The forward product, which may pack the weights (`packs_forward`) or never does; see `call_forward`."""
    product, like = _make_product(True, packs), dtype.type(0)

    @entry
    def forward(
        weights, row_stride, n_in, n_out, biases, inputs, in_stride, outputs, out_stride, slopes, activation,
        activation_pass, panels, strips,
    ):  # fmt: skip
        packed = row_stride * itemsize(like) % PAGE == 0 and panels > 1
        epilogue = TILE_RELU if activation == RELU else TILE_RELU0 if activation == RELU0 else STORE
        product(
            weights, row_stride, n_out, n_in, packed, inputs, in_stride, BIAS if biases != 0 else ZERO, biases,
            outputs, out_stride, epilogue, outputs, slopes, activation_pass, panels, strips, like,
        )  # fmt: skip
        return 0

    return forward


@intrinsic
def call_backward(
    typingctx: Any, product: Any, weights: Any, n_in: Any, n_out: Any, deltas: Any, out_stride: Any, results: Any,
    in_stride: Any, epilogue: Any, aux: Any, panels: Any, strips: Any,
) -> Any:  # fmt: skip
    """Call the backward product at an address: dZ_in = g'(Z_in) * (W^T dZ), eqs. (16) and (17), for ``panels`` panels.

    The epilogue says how g' is read.
    """
    result = types.int64(*[types.int64] * (1 + at.BACKWARD_ARGUMENTS))
    return result, lambda context, bld, sig, args: emit_call_at(bld, *args)


def make_backward(packs: bool, dtype: np.dtype[Any]) -> Any:
    """The backward product, which may pack the weights (`packs_backward`) or never does; see `call_backward`."""
    product, like = _make_product(False, packs), dtype.type(0)

    @entry
    def backward(weights, n_in, n_out, deltas, out_stride, results, in_stride, epilogue, aux, panels, strips):
        packed = panels >= 4 and n_in * itemsize(like) >= WIDE_ROW
        product(
            weights, n_in, n_in, n_out, packed, deltas, out_stride, ZERO, results, results, in_stride, epilogue,
            aux, NIL, NIL, panels, strips, like,
        )  # fmt: skip
        return 0

    return backward


@inline
def gradient(
    deltas, out_stride, units, units_stride, n_in, first, last, panels, start_from, start, epilogue, result, scratch,
    rate,
):  # fmt: skip
    """dW = dZ A^T, eq. (24), for the outputs first to last - 1 over all panels of the block; `rate` as in the tile.

    Sums that go on from some samples to the next wait in `scratch`, tile after tile.
    """
    n, size = line(rate), itemsize(rate)
    far = n_in * (last - first) * size > FAR_BYTES
    waits = panels > CHUNK_SAMPLES // n
    chunk = (WAITING_CHUNK_BYTES if waits else CHUNK_BYTES) // size
    for o0 in range(first, last, chunk):
        end = min(o0 + chunk, last)
        for p in range(0, panels, CHUNK_SAMPLES // n):
            some = min(CHUNK_SAMPLES // n, panels - p)
            is_first, is_last = p == 0, p + some == panels
            waiting = scratch
            for q in range(0, n_in, n * LINES):
                lines = min(LINES, (n_in - q + n - 1) // n)
                b = units + (q // n * units_stride + p * n * n) * size
                o = o0
                while o < end:
                    h = height(end - o, lines)
                    at, wait_bytes = (o * n_in + q) * size, h * lines * LINE_BYTES
                    below = at + h * n_in * size  # rows, far apart: no stream
                    if far and is_last:
                        ask(result + below, n_in * size, h, lines * LINE_BYTES)
                    if far and is_first and start_from == CONTINUE:
                        ask(start + below, n_in * size, h, lines * LINE_BYTES)
                    ahead = NOTHING
                    if far and waits:
                        next_b = b + LINES * units_stride * size + (o - o0) * some * n * LINE_BYTES // (end - o0)
                        ahead = (next_b, next_b + units_stride * size, waiting + wait_bytes)
                    begin, begin_at, begin_stride = start_from, start + at, n_in
                    if not is_first:
                        begin, begin_at, begin_stride = CONTINUE, waiting, lines * n
                    finish, result_at, result_stride = STORE, waiting, lines * n
                    if is_last:
                        finish, result_at, result_stride = epilogue, result + at, n_in
                    tile_of_panels(
                        h, lines, deltas + (p * out_stride + o) * n * size, out_stride * n, some, b, units_stride,
                        begin, begin_at, begin_stride, finish, result_at, result_stride, n_in - q, ahead, rate,
                    )  # fmt: skip
                    waiting += wait_bytes
                    o += h


@inline
def gradient_from_panels(
    deltas, out_stride, inputs, in_stride, n_in, first, last, panels, start_from, start, epilogue, result, rate
):
    """dW = dZ A^T, eq. (24), as `gradient`, but from panels of A, for layers of few outputs or inputs."""
    n, size = line(rate), itemsize(rate)
    for i in range(0, n_in, FEW_INPUTS):
        most = NARROW_OUTPUTS if n_in - i <= NARROW_INPUTS else FEW_OUTPUTS
        for o in range(first, last, most):
            at = (o * n_in + i) * size
            tile_of_samples(
                min(most, last - o), deltas + o * n * size, out_stride * n, panels, inputs + i * n * size,
                in_stride * n, start_from, start + at, epilogue, result + at, n_in, n_in - i, rate,
            )  # fmt: skip


@inline
def bias_gradient(deltas, out_stride, first, last, panels, start_from, sums, epilogue, result, rate):
    """db, eq. (25), of the outputs first to last - 1. Sums that go on from block to block wait, a line an output."""
    n, size = line(rate), itemsize(rate)
    for o in range(first, last, FEW_BIASES):
        tile_of_biases(
            deltas + o * n * size, out_stride * n, panels, start_from, sums + o * n * size, epilogue,
            result + o * size, last - o, rate,
        )  # fmt: skip
