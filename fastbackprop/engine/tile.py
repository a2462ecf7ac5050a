"""The register tile: C[rows, one line] = epilogue(C0 + A B), the inner loop of all three products of a step.

The lanes of a line are samples in the forward and backward products and inputs of the layer in the gradient. B is read a
line at a time, contiguous; A is read an element at a time and broadcast, from wherever it lies: strides are arguments,
so the weights are used as the user holds them, row-major, without a copy. Every element of C is one
chain of fused multiply-adds in the order of k, whatever the height of the tile, so its bits depend on nothing else.

    forward   Z = b + W A      rows: outputs         k: inputs           A_tile = W[o, i]     lanes: samples
    backward  dA = W^T dZ      rows: inputs          k: outputs          A_tile = W[o, i]^T   lanes: samples
    gradient  dW = dZ A^T      rows: outputs         k: samples          A_tile = dZ[o, s]    lanes: inputs
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastbackprop.engine.jit import inline, kernel
from fastbackprop.engine.simd import (
    INT,
    LANES32,
    LINE_BYTES,
    VECTORS,
    X86,
    constant,
    constant_bits,
    emit,
    emit_first,
    emit_load,
    emit_masked_load,
    emit_masked_store,
    emit_splat,
    emit_store,
    int_const,
    line,
    llvm_float,
    llvm_int,
    llvm_type,
    pointer_to,
    scalar_of,
)

# Rows of the tallest tile: as many accumulators as the registers hold (32 of AVX-512 and NEON, 16 of AVX2 and SSE).
ROWS = {16: 16, 8: 6, 4: 2 if X86 else 6}[LANES32]
# The heights that are compiled; other numbers of rows are two tiles (all 16 would double the time of compiling).
HEIGHTS = [h for h in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16) if h <= ROWS]
_TALLEST = tuple(max(h for h in HEIGHTS if h <= max(1, rows)) for rows in range(ROWS + 1))
VECTORS_OF_LINE = 16 // LANES32

# where the chain starts
ZERO, CONTINUE, BIAS = 0, 1, 2  # 0; the partial sums at `start`; row r's bias at `start`
# what is done with the sums while they are in registers
STORE, RELU, RELU0, MASK, SCALE, SGD = 0, 1, 2, 3, 4, 5


def _splat_at(bld: Any, t: Any, pointer: Any, offset: Any) -> Any:
    return emit_splat(bld, t, bld.load(bld.gep(pointer, [offset])))


def _emit_tile(bld: Any, t: Any, rows: int, args: Any) -> None:
    """The tile of a given height, at the builder's position."""
    a, rsa, csa, k_count, block_stride, blocks, b, start_from, start, epilogue, c, ldc, columns, aux, rate = args
    a, b, start, c, aux = (pointer_to(bld, t.dtype, x) for x in (a, b, start, c, aux))
    n = t.lanes
    cells = [(r, v) for r in range(rows) for v in range(VECTORS_OF_LINE)]
    vec, ptr = llvm_type(t), llvm_float(t.dtype).as_pointer()
    new_block = bld.append_basic_block
    whole = bld.icmp_signed(">=", columns, int_const(n * VECTORS_OF_LINE))

    def in_panel(r: int, v: int) -> Any:  # rows one line apart
        return int_const((r * VECTORS_OF_LINE + v) * n)

    def in_c(r: int, v: int) -> Any:
        return bld.add(bld.mul(ldc, int_const(r)), int_const(v * n))

    def masks() -> list[Any]:
        return [emit_first(bld, t, bld.sub(columns, int_const(v * n))) for v in range(VECTORS_OF_LINE)]

    # ---- the start of the chains
    loop, done = new_block("loop"), new_block("done")
    starts: list[tuple[Any, list[Any]]] = []

    def start_with(name: str, values: Any) -> Any:
        block = new_block(name)
        with bld.goto_block(block):
            starts.append((bld.block, values()))
            bld.branch(loop)
        return block

    def partial() -> Any:
        m = masks()
        return [emit_masked_load(bld, t, bld.gep(start, [in_c(r, v)]), m[v]) for r, v in cells]

    zero = start_with("zero", lambda: [constant(t, 0.0)] * len(cells))
    bias = start_with("bias", lambda: [_splat_at(bld, t, start, int_const(r)) for r, _ in cells])
    go_on = start_with("go_on", lambda: [emit_load(bld, t, start, in_c(r, v)) for r, v in cells])
    part = start_with("part", partial)
    choose = new_block("choose")
    switch = bld.switch(start_from, choose)
    switch.add_case(int_const(ZERO), zero)
    switch.add_case(int_const(BIAS), bias)
    bld.position_at_end(choose)
    bld.cbranch(whole, go_on, part)

    # ---- the chains
    bld.position_at_end(loop)
    k, block = bld.phi(INT), bld.phi(INT)
    pa, pb, a0 = bld.phi(ptr), bld.phi(ptr), bld.phi(ptr)
    sums = [bld.phi(vec) for _ in cells]
    for source, values in starts:
        for phi, value in zip([k, block, pa, pb, a0, *sums], [int_const(0), int_const(0), a, b, a, *values]):
            phi.add_incoming(value, source)
    rows_of_b = [emit_load(bld, t, pb, int_const(v * n)) for v in range(VECTORS_OF_LINE)]
    new_sums = list(sums)
    for r in range(rows):
        broadcast = _splat_at(bld, t, pa, bld.mul(rsa, int_const(r)))
        for v in range(VECTORS_OF_LINE):
            i = r * VECTORS_OF_LINE + v
            new_sums[i] = emit(bld, "fma", t, broadcast, rows_of_b[v], sums[i])
    k1, pa1 = bld.add(k, int_const(1)), bld.gep(pa, [csa])
    pb1 = bld.gep(pb, [int_const(n * VECTORS_OF_LINE)])
    next_block = new_block("next_block")
    inside = bld.block
    bld.cbranch(bld.icmp_signed("<", k1, k_count), loop, next_block)
    bld.position_at_end(next_block)
    block1, a1 = bld.add(block, int_const(1)), bld.gep(a0, [block_stride])
    bld.cbranch(bld.icmp_signed("<", block1, blocks), loop, done)
    for phi, value in zip([k, block, pa, pb, a0, *sums], [k1, block, pa1, pb1, a0, *new_sums]):
        phi.add_incoming(value, inside)
    for phi, value in zip([k, block, pa, pb, a0, *sums], [int_const(0), block1, a1, pb1, a1, *new_sums]):
        phi.add_incoming(value, next_block)

    # ---- the epilogues
    bld.position_at_end(done)
    end = new_block("end")
    dead = constant(t, -0.0)

    def finish(name: str, value_of: Any) -> Any:
        """A block that stores value_of(row, vector, sum) in a panel."""
        blk = new_block(name)
        with bld.goto_block(blk):
            for (r, v), s in zip(cells, new_sums):
                emit_store(bld, t, value_of(r, v, s), c, in_panel(r, v))
            bld.branch(end)
        return blk

    # relu dies where s < 0, relu0 where s <= 0, that is where s is below the smallest positive number
    smallest = bld.bitcast(constant_bits(t, 1), vec)
    threshold = bld.select(bld.icmp_signed("==", epilogue, int_const(RELU0)), smallest, constant(t, 0.0))

    def relu(r: int, v: int, s: Any) -> Any:
        # -0.0 where the unit is dead, never for a live one: the bits of A are the mask relu'(Z) of eq. (1)
        live = bld.fadd(s, constant(t, 0.0))  # turns -0.0 into 0.0
        return bld.select(bld.fcmp_ordered("<", s, threshold), dead, live)

    def mask(r: int, v: int, s: Any) -> Any:  # eq. (17) for relu
        bits = bld.bitcast(emit_load(bld, t, aux, in_panel(r, v)), llvm_int(t))
        sign = constant_bits(t, 1 << (t.dtype.bitwidth - 1))
        return bld.select(bld.icmp_unsigned("==", bits, sign), constant(t, 0.0), s)

    def scale(r: int, v: int, s: Any) -> Any:  # eq. (17) with the slopes g'(Z) left by the forward pass
        return bld.fmul(s, emit_load(bld, t, aux, in_panel(r, v)))

    def to_c(name: str, value_of: Any) -> Any:
        """Two blocks that store in C, whole lines and partial ones."""
        blk, full, cut = new_block(name), new_block(name + "_full"), new_block(name + "_cut")
        with bld.goto_block(blk):
            bld.cbranch(whole, full, cut)
        with bld.goto_block(full):
            for (r, v), s in zip(cells, new_sums):
                old = lambda r=r, v=v: emit_load(bld, t, c, in_c(r, v))
                emit_store(bld, t, value_of(old, s), c, in_c(r, v))
            bld.branch(end)
        with bld.goto_block(cut):
            m = masks()
            for (r, v), s in zip(cells, new_sums):
                at = bld.gep(c, [in_c(r, v)])
                old = lambda at=at, v=v: emit_masked_load(bld, t, at, m[v])
                emit_masked_store(bld, t, value_of(old, s), at, m[v])
            bld.branch(end)
        return blk

    def sgd(old: Any, s: Any) -> Any:
        return emit(bld, "fma", t, emit_splat(bld, t, bld.fneg(rate)), s, old())

    switch = bld.switch(epilogue, to_c("store", lambda old, s: s))
    relus = finish("relu", relu)
    switch.add_case(int_const(RELU), relus)
    switch.add_case(int_const(RELU0), relus)
    switch.add_case(int_const(MASK), finish("mask", mask))
    switch.add_case(int_const(SCALE), finish("scale", scale))
    switch.add_case(int_const(SGD), to_c("sgd", sgd))
    bld.position_at_end(end)


@intrinsic
def _tile(
    typingctx: Any,
    rows: Any,  # one of HEIGHTS
    a: Any,  # address of A[0, 0]
    row_stride: Any,  # of A
    k_stride: Any,  # of A
    k_count: Any,  # k runs over `blocks` blocks of this many
    block_stride: Any,  # of A, from block to block; B goes on contiguously
    blocks: Any,
    b: Any,  # address of B[0, :]
    start_from: Any,  # ZERO, CONTINUE or BIAS
    start: Any,  # address
    epilogue: Any,  # STORE ... SGD
    c: Any,  # address of C[0, 0]
    c_stride: Any,  # rows of C (and of `start` where the sums continue)
    columns: Any,  # columns of C that exist: those beyond are neither read nor written
    aux: Any,  # address of the activations (MASK) or slopes (SCALE), rows one line apart
    rate: Any,  # SGD: C -= rate * sums
) -> Any:
    t = VECTORS[scalar_of(rate)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        end = bld.append_basic_block("tile_end")
        switch = bld.switch(args[0], end)
        bld.function.attributes.add("noinline")  # one copy, whoever calls
        for height in HEIGHTS:
            block = bld.append_basic_block(f"rows_{height}")
            switch.add_case(int_const(height), block)
            bld.position_at_end(block)
            _emit_tile(bld, t, height, args[1:])
            bld.branch(end)
        bld.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 15, rate), codegen


@inline
def height(rows):
    """The tallest tile that fits into so many rows."""
    return _TALLEST[min(rows, ROWS)]


@kernel
def tile(rows, a, row_stride, k_stride, k_count, block_stride, blocks, b, start_from, start, epilogue, c, c_stride, columns, aux, rate):
    """One tile; the arguments are described at :func:`_tile`."""
    _tile(rows, a, row_stride, k_stride, k_count, block_stride, blocks, b, start_from, start, epilogue, c, c_stride, columns, aux, rate)


@kernel
def _repeat(a, b, c, k, times, rate):
    for _ in range(times):
        tile(ROWS, a, 1, ROWS, k, 0, 1, b, ZERO, 0, STORE, c, line(rate), line(rate), 0, rate)


def peak(dtype: str = "float32", seconds: float = 0.3) -> float:
    """GFLOP/s of one thread in the tile itself, its data in the first-level cache: what a step can reach at best.

    The best of several short runs: a peak is what the processor can do when nothing else disturbs it.
    """
    k, times = 256, 200
    rate = np.dtype(dtype).type(0)
    a, b, c = (np.zeros(n * 64 + LINE_BYTES, np.uint8) for n in (k * 16, k, 64))
    at = [(x.ctypes.data + LINE_BYTES - 1) // LINE_BYTES * LINE_BYTES for x in (a, b, c)]
    operations = 2.0 * ROWS * (LINE_BYTES // rate.itemsize) * k * times
    _repeat(*at, k, 1, rate)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        _repeat(*at, k, times, rate)
        best = max(best, operations / (time.perf_counter() - start) / 1e9)
    return best
