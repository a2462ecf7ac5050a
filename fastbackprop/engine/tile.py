"""The register tile: C[rows, one line] = epilogue(C0 + A B), the inner loop of all three products of a step.

The lanes of a line are samples in the forward and backward products and inputs of the layer in the gradient. B is read
a line at a time, contiguous; A is read an element at a time and broadcast, from wherever it lies, so the weights are
used as the user holds them, row-major, without a copy. Every element of C is one chain of fused multiply-adds in the
order of k, whatever the height of the tile, so its bits depend on nothing else. One source makes three tiles:

    tile_of_rows      Z = b + W A     rows: outputs    k: inputs     A[r, k] = W[o, i], k contiguous      lanes: samples
    tile_of_columns   dA = W^T dZ     rows: inputs     k: outputs    A[r, k] = W[o, i], r contiguous      lanes: samples
    tile_of_panels    dW = dZ A^T     rows: outputs    k: samples    A[r, k] = dZ[o, s], panel by panel   lanes: inputs
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
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

# where the chains start
ZERO, CONTINUE, BIAS = 0, 1, 2  # 0; the partial sums at `start`; row r's bias at `start`
# what is done with the sums while they are in registers
STORE, RELU, RELU0, MASK, SCALE, SGD = 0, 1, 2, 3, 4, 5
PARTIAL = 8  # added to either code where the tile has fewer columns than a line

Blocks = list[tuple[tuple[int, ...], Any]]  # codes, and what emits the instructions for them


def _switch(bld: Any, code: Any, cases: Blocks, after: Any) -> list[tuple[Any, Any]]:
    """A block for each case, all going on `after`; the last case is the default. Returns (end of block, result)."""
    ends, blocks = [], []
    for _, instructions in cases:
        block = bld.append_basic_block("case")
        with bld.goto_block(block):
            result = instructions()
            ends.append((bld.block, result))
            bld.branch(after)
        blocks.append(block)
    switch = bld.switch(code, blocks[-1])
    for (codes, _), block in zip(cases[:-1], blocks):
        for c in codes:
            switch.add_case(int_const(c), block)
    return ends


def _splat_at(bld: Any, t: Any, pointer: Any, offset: Any) -> Any:
    return emit_splat(bld, t, bld.load(bld.gep(pointer, [offset])))


def _chains(
    bld: Any, t: Any, rows: int, a: Any, row_stride: Any, k_stride: Any, depth: Any, b: Any, start_from: Any,
    starts: Blocks, panels: Any = None, panel_stride: Any = None,
) -> list[Any]:  # fmt: skip
    """The chains of all elements of the tile over k, `depth` of them, for each panel of A where A has several."""
    ptr = llvm_float(t.dtype).as_pointer()
    loop, done = bld.append_basic_block("chain"), bld.append_basic_block("done")
    begun = _switch(bld, start_from, starts, loop)

    bld.position_at_end(loop)
    state = [bld.phi(INT), bld.phi(ptr), bld.phi(ptr)]
    outer = [bld.phi(INT), bld.phi(ptr)] if panels is not None else []
    sums = [bld.phi(llvm_type(t)) for _ in range(rows * VECTORS_OF_LINE)]
    zero, one = int_const(0), int_const(1)
    k, pa, pb = state
    for block, values in begun:
        for phi, value in zip([*state, *outer, *sums], [zero, a, b, *([zero, a] if outer else []), *values]):
            phi.add_incoming(value, block)
    of_b = [emit_load(bld, t, pb, int_const(v * t.lanes)) for v in range(VECTORS_OF_LINE)]
    results = []
    for r in range(rows):
        broadcast = _splat_at(bld, t, pa, bld.mul(row_stride, int_const(r)))
        for v in range(VECTORS_OF_LINE):
            results.append(emit(bld, "fma", t, broadcast, of_b[v], sums[r * VECTORS_OF_LINE + v]))
    next_state = [bld.add(k, one), bld.gep(pa, [k_stride]), bld.gep(pb, [int_const(t.lanes * VECTORS_OF_LINE)])]
    inside = bld.block
    after = bld.append_basic_block("next_panel") if outer else done
    bld.cbranch(bld.icmp_signed("<", next_state[0], depth), loop, after)
    for phi, value in zip([*state, *outer, *sums], [*next_state, *outer, *results]):
        phi.add_incoming(value, inside)
    if outer:
        bld.position_at_end(after)
        panel, at = bld.add(outer[0], one), bld.gep(outer[1], [panel_stride])
        bld.cbranch(bld.icmp_signed("<", panel, panels), loop, done)
        for phi, value in zip([*state, *outer, *sums], [zero, at, next_state[2], panel, at, *results]):
            phi.add_incoming(value, after)
    bld.position_at_end(done)
    return results


def _emit_on_panels(by_rows: bool, bld: Any, t: Any, rows: int, args: Any) -> None:
    """A tile of the forward or backward product: C is a panel, its rows one line apart."""
    a, stride, depth, b, start_from, start, epilogue, c, aux = args[:9]
    a, b, start, c, aux = (pointer_to(bld, t.dtype, x) for x in (a, b, start, c, aux))
    cells = [(r, v) for r in range(rows) for v in range(VECTORS_OF_LINE)]
    at = [int_const((r * VECTORS_OF_LINE + v) * t.lanes) for r, v in cells]
    one = int_const(1)
    starts: Blocks = [
        ((ZERO,), lambda: [constant(t, 0.0)] * len(cells)),
        ((CONTINUE,), lambda: [emit_load(bld, t, start, i) for i in at]),
        ((BIAS,), lambda: [_splat_at(bld, t, start, int_const(r)) for r, _ in cells]),
    ]
    strides = (stride, one) if by_rows else (one, stride)
    sums = _chains(bld, t, rows, a, *strides, depth, b, start_from, starts)

    # relu dies where s < 0, relu0 where s <= 0, that is where s is below the smallest positive number
    smallest = bld.bitcast(constant_bits(t, 1), llvm_type(t))
    threshold = bld.select(bld.icmp_signed("==", epilogue, int_const(RELU0)), smallest, constant(t, 0.0))
    dead = constant(t, -0.0)

    def relu(i: Any, s: Any) -> Any:
        # -0.0 where the unit is dead, never for a live one: the bits of A are the mask relu'(Z) of eq. (1)
        live = bld.fadd(s, constant(t, 0.0))  # turns -0.0 into 0.0
        return bld.select(bld.fcmp_ordered("<", s, threshold), dead, live)

    def mask(i: Any, s: Any) -> Any:  # eq. (17) for relu
        bits = bld.bitcast(emit_load(bld, t, aux, i), llvm_int(t))
        dead_bits = constant_bits(t, 1 << (t.dtype.bitwidth - 1))
        return bld.select(bld.icmp_unsigned("==", bits, dead_bits), constant(t, 0.0), s)

    def scale(i: Any, s: Any) -> Any:  # eq. (17) with the slopes g'(Z) left by the forward pass
        return bld.fmul(s, emit_load(bld, t, aux, i))

    def stored(value_of: Any) -> Any:
        def instructions() -> None:
            for i, s in zip(at, sums):
                emit_store(bld, t, value_of(i, s), c, i)

        return instructions

    end = bld.append_basic_block("end")
    epilogues: Blocks = [((RELU, RELU0), stored(relu))]
    if not by_rows:
        epilogues += [((MASK,), stored(mask)), ((SCALE,), stored(scale))]
    _switch(bld, epilogue, [*epilogues, ((STORE,), stored(lambda i, s: s))], end)
    bld.position_at_end(end)


def _emit_of_gradient(bld: Any, t: Any, rows: int, args: Any) -> None:
    """A tile of the gradient: C lies in the parameters or in the gradient, and may have fewer columns than a line."""
    a, panel_stride, panels, b, start_from, start, epilogue, c, c_stride, columns, rate = args
    a, b, start, c = (pointer_to(bld, t.dtype, x) for x in (a, b, start, c))
    cells = [(r, v) for r in range(rows) for v in range(VECTORS_OF_LINE)]
    line_ = int_const(t.lanes * VECTORS_OF_LINE)
    whole = bld.icmp_signed(">=", columns, line_)
    minus_rate = emit_splat(bld, t, bld.fneg(rate))
    # one more bit in the codes: whether the line is partial, and memory beyond `columns` is not touched
    partial = bld.select(whole, int_const(0), int_const(PARTIAL))

    def each(masked: bool, use: Any) -> list[Any]:
        masks = [
            emit_first(bld, t, bld.sub(columns, int_const(v * t.lanes))) if masked else None
            for v in range(VECTORS_OF_LINE)
        ]
        offsets = [bld.add(bld.mul(c_stride, int_const(r)), int_const(v * t.lanes)) for r, v in cells]
        return [use(i, offset, masks[v]) for i, (offset, (_, v)) in enumerate(zip(offsets, cells))]

    def read(pointer: Any, offset: Any, mask: Any) -> Any:
        if mask is None:
            return emit_load(bld, t, pointer, offset)
        return emit_masked_load(bld, t, bld.gep(pointer, [offset]), mask)

    def write(value: Any, offset: Any, mask: Any) -> None:
        if mask is None:
            emit_store(bld, t, value, c, offset)
        else:
            emit_masked_store(bld, t, value, bld.gep(c, [offset]), mask)

    def go_on(masked: bool) -> Any:
        return lambda: each(masked, lambda i, offset, mask: read(start, offset, mask))

    def store(masked: bool) -> Any:
        return lambda: each(masked, lambda i, offset, mask: write(sums[i], offset, mask))

    def sgd(masked: bool) -> Any:
        def step(i: int, offset: Any, mask: Any) -> None:
            write(emit(bld, "fma", t, minus_rate, sums[i], read(c, offset, mask)), offset, mask)

        return lambda: each(masked, step)

    starts: Blocks = [
        ((CONTINUE,), go_on(False)),
        ((CONTINUE + PARTIAL,), go_on(True)),
        ((ZERO, ZERO + PARTIAL), lambda: [constant(t, 0.0)] * len(cells)),
    ]
    code = bld.add(start_from, partial)
    sums = _chains(bld, t, rows, a, line_, int_const(1), line_, b, code, starts, panels, panel_stride)
    end = bld.append_basic_block("end")
    epilogues: Blocks = [
        ((SGD,), sgd(False)), ((SGD + PARTIAL,), sgd(True)),
        ((STORE,), store(False)), ((STORE + PARTIAL,), store(True)),
    ]  # fmt: skip
    _switch(bld, bld.add(epilogue, partial), epilogues, end)
    bld.position_at_end(end)


def _of_any_height(emit_tile: Any, bld: Any, t: Any, args: Any) -> None:
    """Choose the tile of height args[0]."""
    bld.function.attributes.add("noinline")  # one copy, whoever calls
    end = bld.append_basic_block("end")
    switch = bld.switch(args[0], end)
    for height in HEIGHTS:
        block = bld.append_basic_block(f"rows_{height}")
        switch.add_case(int_const(height), block)
        bld.position_at_end(block)
        emit_tile(bld, t, height, args[1:])
        bld.branch(end)
    bld.position_at_end(end)


def _panel_tile(by_rows: bool) -> Any:
    @intrinsic
    def tile(
        typingctx: Any,
        rows: Any,  # one of HEIGHTS
        a: Any,  # address of A[0, 0]
        stride: Any,  # of A, from row to row or from k to k
        depth: Any,  # of k, at least 1
        b: Any,  # address of B[0, :]
        start_from: Any,  # ZERO, CONTINUE or BIAS
        start: Any,  # address
        epilogue: Any,  # STORE, RELU, RELU0; by columns also MASK and SCALE
        c: Any,  # address of C[0, 0]
        aux: Any,  # address of the activations (MASK) or slopes (SCALE), rows one line apart
        like: Any,
    ) -> Any:
        t = VECTORS[scalar_of(like)]

        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            _of_any_height(functools.partial(_emit_on_panels, by_rows), bld, t, args)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 10, like), codegen

    return tile


_tile_of_rows, _tile_of_columns = _panel_tile(True), _panel_tile(False)


@intrinsic
def _tile_of_panels(
    typingctx: Any,
    rows: Any,  # one of HEIGHTS
    a: Any,  # address of A[0, 0] in its first panel
    panel_stride: Any,  # of A
    panels: Any,  # at least 1
    b: Any,  # address of B[0, :]; all its lines are contiguous
    start_from: Any,  # ZERO or CONTINUE
    start: Any,  # address; rows c_stride apart
    epilogue: Any,  # STORE or SGD: C -= rate * sums
    c: Any,  # address of C[0, 0]
    c_stride: Any,
    columns: Any,  # of C that exist: those beyond are neither read nor written
    rate: Any,
) -> Any:
    t = VECTORS[scalar_of(rate)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        _of_any_height(_emit_of_gradient, bld, t, args)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 11, rate), codegen


@inline
def height(rows):
    """The tallest tile that fits into so many rows."""
    return _TALLEST[min(rows, ROWS)]


# The functions around the intrinsics are the units that LLVM compiles once.


@kernel
def tile_of_rows(rows, a, stride, depth, b, start_from, start, epilogue, c, like):
    """One tile of the forward product; the arguments are described at :func:`_panel_tile`."""
    _tile_of_rows(rows, a, stride, depth, b, start_from, start, epilogue, c, c, like)


@kernel
def tile_of_columns(rows, a, stride, depth, b, start_from, start, epilogue, c, aux, like):
    """One tile of the backward product, or of the forward product from a packed strip."""
    _tile_of_columns(rows, a, stride, depth, b, start_from, start, epilogue, c, aux, like)


@kernel
def tile_of_panels(rows, a, panel_stride, panels, b, start_from, start, epilogue, c, c_stride, columns, rate):
    """One tile of the gradient; the arguments are described at :func:`_tile_of_panels`."""
    _tile_of_panels(rows, a, panel_stride, panels, b, start_from, start, epilogue, c, c_stride, columns, rate)


@kernel
def _repeat(a, b, c, k, times, rate):
    for _ in range(times):
        tile_of_columns(ROWS, a, ROWS, k, b, ZERO, c, STORE, c, c, rate)


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
