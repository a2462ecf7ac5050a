"""The register tile: C[rows, one or two lines] = epilogue(C0 + A B), the inner loop of all three products of a step.

The lanes of a line are samples in the forward and backward products and inputs of the layer in the gradient. B is read
a line at a time, contiguous; A is read an element at a time and broadcast, from wherever it lies, so the weights are
used as the user holds them, row-major, without a copy. Every element of C is one chain of fused multiply-adds in the
order of k, whatever the shape of the tile, so its bits depend on nothing else. One source makes three tiles:

    tile_of_rows      Z = b + W A     rows: outputs    k: inputs     A[r, k] = W[o, i], k contiguous      lanes: samples
    tile_of_columns   dA = W^T dZ     rows: inputs     k: outputs    A[r, k] = W[o, i], r contiguous      lanes: samples
    tile_of_panels    dW = dZ A^T     rows: outputs    k: samples    A[r, k] = dZ[o, s], panel by panel   lanes: inputs

A fourth, `tile_of_samples`, makes dW of few outputs or inputs from panels alone: samples of equal lane are summed in
their order, then the lanes. That takes less than to transpose the activations, or than a line that is mostly empty.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastbackprop.engine.blocking import LINES, ROWS
from fastbackprop.engine.jit import callable_kernel, inline, kernel
from fastbackprop.engine.pointers import INT, emit_pointer, pointer_type
from fastbackprop.engine.processor import LANES32
from fastbackprop.engine.simd import (
    LINE_BYTES,
    VECTORS,
    constant,
    constant_bits,
    emit,
    emit_first,
    emit_load,
    emit_masked_load,
    emit_masked_store,
    emit_moved,
    emit_prefetch,
    emit_splat,
    emit_store,
    int_const,
    lane_numbers,
    line,
    llvm_float,
    llvm_int,
    llvm_type,
    pointer_to,
    scalar_of,
)

# The heights that are compiled, by lines; other numbers of rows are several tiles (to compile all takes twice as long).
HEIGHTS = [[h for h in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16) if h <= ROWS]]
if LINES == 2:
    HEIGHTS.append([h for h in HEIGHTS[0] if h <= 12])  # 24 accumulators; the others hold elements of A and B
TALLEST = HEIGHTS[-1][-1]  # of those with LINES lines
VECTORS_OF_LINE = 16 // LANES32
MANY_ROWS = 2 * ROWS  # from here on the tallest tile is the next one


def _cycles(height: int, vectors: int) -> float:
    """What a tile takes for each k, about: its FMA or loads, two a cycle, or the latency; and a share of its ends."""
    return max(height * vectors / 2, (height + vectors) / 2, 5) + 1.2


def _first_of_best(lines: int) -> list[int]:
    """The height of the first of the tiles that together take the least time, for 0 to MANY_ROWS rows."""
    heights, cycles, first = HEIGHTS[lines - 1], [0.0], [0]
    for rows in range(1, MANY_ROWS + 1):
        best, height = min((_cycles(h, lines * VECTORS_OF_LINE) + cycles[rows - h], -h) for h in heights if h <= rows)
        cycles.append(best)
        first.append(-height)
    return [*first[:-1], heights[-1]]


# _HEIGHTS[(lines - 1) * (MANY_ROWS + 1) + rows]: to Numba an array is one load.
_HEIGHTS = np.array([height for lines in range(1, LINES + 1) for height in _first_of_best(lines)])
# A tile of samples is 1 to FEW_OUTPUTS outputs by FEW_INPUTS inputs or, where no more exist, 1 to NARROW_OUTPUTS by
# NARROW_INPUTS; a tile of biases is FEW_BIASES outputs. FEW_INPUTS inputs or biases fill a vector of float64. Tasks are
# cut at multiples of FEW_BIASES: no tile keeps sums that are another's.
FEW_OUTPUTS, FEW_INPUTS, FEW_BIASES = 3 if LANES32 == 16 else 1, LANES32 // 2, LANES32 // 2
NARROW_OUTPUTS, NARROW_INPUTS = FEW_OUTPUTS + 1, FEW_INPUTS // 2

# The tallest tile has a second version, for large products, which asks for what they will need next: with each turn of
# its loop for the line at 8 k bytes of each of three streams, for the second-level cache. So few at a time because a
# core can wait for some sixteen lines at once: if it asks for as many, those that the tile itself needs come late. That
# it asks for each line several times costs less than the instructions which would avoid it. It asks for A by columns
# too, NEAR k early, for the first-level cache. All this costs 3 % where everything is there already.
STREAMS = 3
NOTHING = (0, 0, 0)  # in the place of the streams' addresses: the version that does not ask
NEAR = 16

# where the chains start
ZERO, CONTINUE, BIAS = 0, 1, 2  # 0; the partial sums at `start`; row r's bias at `start`
# what is done with the sums while they are in registers
STORE, RELU, RELU0, MASK, SCALE, SGD, KEEP = 0, 1, 2, 3, 4, 5, 6
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
    return emit_splat(bld, t, emit_load(bld, t.dtype, pointer, offset))


def _at_most(bld: Any, count: Any, most: int) -> Any:
    return bld.select(bld.icmp_signed("<", count, int_const(most)), count, int_const(most))


def _opaque(bld: Any, value: Any) -> Any:
    """The value, of which LLVM does not know where it comes from."""
    return bld.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)


def _cells(rows: int, lines: int) -> list[tuple[int, int, int]]:
    """(row, line, vector of the line) of each accumulator."""
    return list(itertools.product(range(rows), range(lines), range(VECTORS_OF_LINE)))


def _chains(
    bld: Any, t: Any, rows: int, lines: int, a: Any, row_stride: Any, k_stride: Any, depth: Any, b: Any, b_stride: Any,
    start_from: Any, starts: Blocks, ahead: Any, panel_stride: Any = None,
) -> list[Any]:  # fmt: skip
    """The chains of all elements of the tile over k, `depth` of them.

    `ahead`: the streams that are asked for, or None.

    With `panel_stride`, A goes on to its next panel after each line of k, and depth is a number of whole lines. Two k
    a turn then, since that costs a few more instructions, which take turns of the units that multiply.
    """
    line_ = t.lanes * VECTORS_OF_LINE
    cells, each_turn = _cells(rows, lines), 1 if panel_stride is None else 2
    thirds = [bld.mul(row_stride, int_const(r)) for r in range(0, rows, 3)]
    if not isinstance(row_stride, ir.Constant):
        # LLVM would have a pointer for each row. 12 are more than there are registers, and sums go to memory and back.
        thirds = [_opaque(bld, offset) for offset in thirds]
    loop, done = bld.append_basic_block("chains"), bld.append_basic_block("done")
    begun = _switch(bld, start_from, starts, loop)

    bld.position_at_end(loop)
    ptr = pointer_type(llvm_float(t.dtype))
    k, pa, pb = state = [bld.phi(INT), bld.phi(ptr), bld.phi(ptr)]
    sums = results = [bld.phi(llvm_type(t)) for _ in cells]
    for block, values in begun:
        for phi, value in zip([*state, *sums], [int_const(0), a, b, *values]):
            phi.add_incoming(value, block)
    if ahead is not None:
        for i in range(STREAMS):
            stream = emit_pointer(bld, INT, bld.extract_value(ahead, i))
            emit_prefetch(bld, bld.gep(stream, [k], source_etype=INT), 0, 2)
        if panel_stride is None:
            near = emit_moved(bld, t, pa, bld.mul(k_stride, int_const(NEAR)))
            for r in range(0, rows, line_):
                emit_prefetch(bld, emit_moved(bld, t, near, int_const(r)), 0, 3)
    for turn in range(each_turn):
        of_b = [
            emit_load(bld, t, pb, bld.add(bld.mul(b_stride, int_const(j)), int_const(turn * line_ + v * t.lanes)))
            for _, j, v in _cells(1, lines)
        ]
        before, results = iter(results), []
        for r in range(rows):  # each element of A just before its use: all at once, they would not all fit
            row = emit_moved(bld, t, pa, thirds[r // 3])
            of_a = _splat_at(bld, t, row, bld.add(bld.mul(row_stride, int_const(r % 3)), int_const(turn)))
            results += [emit(bld, "fma", t, of_a, line_of_b, next(before)) for line_of_b in of_b]
    next_k = bld.add(k, int_const(each_turn))
    if panel_stride is not None:
        # Without a branch: one that is taken each sixteenth time is guessed wrong as often as not.
        is_last = bld.icmp_signed("==", bld.and_(next_k, int_const(line_ - 1)), int_const(0))
        k_stride = bld.select(is_last, bld.sub(panel_stride, int_const(line_ - each_turn)), int_const(each_turn))
    next_state = [next_k, emit_moved(bld, t, pa, k_stride), emit_moved(bld, t, pb, int_const(each_turn * line_))]
    bld.cbranch(bld.icmp_signed("<", next_k, depth), loop, done)
    for phi, value in zip([*state, *sums], [*next_state, *results]):
        phi.add_incoming(value, loop)
    bld.position_at_end(done)
    return results


def _emit_on_panels(by_rows: bool, bld: Any, t: Any, rows: int, lines: int, args: Any, ahead: Any) -> None:
    """A tile of the forward or backward product: C is one or two panels, its rows one line apart."""
    a, stride, depth, b, b_stride, start_from, start, epilogue, c, c_stride, aux = args[:11]
    a, b, start, c, aux = (pointer_to(bld, t.dtype, x) for x in (a, b, start, c, aux))
    cells = _cells(rows, lines)
    at = [bld.add(bld.mul(c_stride, int_const(j)), int_const((r * VECTORS_OF_LINE + v) * t.lanes)) for r, j, v in cells]
    one = int_const(1)
    starts: Blocks = [
        ((ZERO,), lambda: [constant(t, 0.0)] * len(cells)),
        ((CONTINUE,), lambda: [emit_load(bld, t, start, i) for i in at]),
        ((BIAS,), lambda: [_splat_at(bld, t, start, int_const(r)) for r, _, _ in cells]),
    ]
    strides = (stride, one) if by_rows else (one, stride)
    sums = _chains(bld, t, rows, lines, a, *strides, depth, b, b_stride, start_from, starts, ahead)

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


def _emit_of_gradient(bld: Any, t: Any, rows: int, lines: int, args: Any, ahead: Any) -> None:
    """A tile of the gradient: C lies in the parameters or in the gradient, and its last line may be a part of one."""
    a, panel_stride, panels, b, b_stride, start_from, start, start_stride, epilogue, c, c_stride, columns = args[:12]
    rate = args[-1]
    a, b, start, c = (pointer_to(bld, t.dtype, x) for x in (a, b, start, c))
    cells = _cells(rows, lines)
    line_ = int_const(t.lanes * VECTORS_OF_LINE)
    whole = bld.icmp_signed(">=", columns, bld.mul(line_, int_const(lines)))
    minus_rate = emit_splat(bld, t, bld.fneg(rate))
    # one more bit in the codes: whether the line is partial, and memory beyond `columns` is not touched
    partial = bld.select(whole, int_const(0), int_const(PARTIAL))

    def each(masked: bool, stride: Any, use: Any) -> list[Any]:
        vectors = range(lines * VECTORS_OF_LINE)
        masks = [emit_first(bld, t, bld.sub(columns, int_const(v * t.lanes))) if masked else None for v in vectors]
        at = [(r, j * VECTORS_OF_LINE + v) for r, j, v in cells]
        offsets = [bld.add(bld.mul(stride, int_const(r)), int_const(v * t.lanes)) for r, v in at]
        return [use(i, offset, masks[v]) for i, (offset, (_, v)) in enumerate(zip(offsets, at))]

    def read(pointer: Any, offset: Any, mask: Any) -> Any:
        if mask is None:
            return emit_load(bld, t, pointer, offset)
        return emit_masked_load(bld, t, emit_moved(bld, t, pointer, offset), mask)

    def write(value: Any, offset: Any, mask: Any) -> None:
        if mask is None:
            emit_store(bld, t, value, c, offset)
        else:
            emit_masked_store(bld, t, value, emit_moved(bld, t, c, offset), mask)

    def go_on(masked: bool) -> Any:
        return lambda: each(masked, start_stride, lambda i, offset, mask: read(start, offset, mask))

    def store(masked: bool) -> Any:
        return lambda: each(masked, c_stride, lambda i, offset, mask: write(sums[i], offset, mask))

    def sgd(masked: bool) -> Any:
        # All are read before one is written: a partial line reaches into the next row, which would wait for the write.
        def step(i: int, offset: Any, mask: Any) -> Any:
            return emit(bld, "fma", t, minus_rate, sums[i], read(c, offset, mask))

        def instructions() -> None:
            stepped = each(masked, c_stride, step)
            each(masked, c_stride, lambda i, offset, mask: write(stepped[i], offset, mask))

        return instructions

    starts: Blocks = [
        ((CONTINUE,), go_on(False)),
        ((CONTINUE + PARTIAL,), go_on(True)),
        ((ZERO, ZERO + PARTIAL), lambda: [constant(t, 0.0)] * len(cells)),
    ]
    code = bld.add(start_from, partial)
    depth = bld.mul(panels, line_)
    sums = _chains(bld, t, rows, lines, a, line_, int_const(1), depth, b, b_stride, code, starts, ahead, panel_stride)
    end = bld.append_basic_block("end")
    epilogues: Blocks = [
        ((SGD,), sgd(False)), ((SGD + PARTIAL,), sgd(True)),
        ((STORE,), store(False)), ((STORE + PARTIAL,), store(True)),
    ]  # fmt: skip
    _switch(bld, bld.add(epilogue, partial), epilogues, end)
    bld.position_at_end(end)


def _sum_lanes(bld: Any, t: Any, lines: list[list[Any]]) -> Any:
    """A vector that begins with the sums over the lanes of each of some lines, given as vectors.

    Half of a line's lanes are added to the other half, and so on: the sums do not depend on the width of the vectors.
    """
    while len(lines[0]) > 1:
        half = len(lines[0]) // 2
        lines = [[bld.fadd(x, y) for x, y in zip(vectors[:half], vectors[half:])] for vectors in lines]
    vectors = [vector for (vector,) in lines]
    n, width = t.lanes, t.lanes  # each vector still has groups of so many lanes, which are to be added up
    while width > 1:
        starts, width = range(0, n, width), width // 2
        low = [start + i for start in starts for i in range(width)]
        pairs = list(zip(vectors[::2], vectors[1::2])) or [(vectors[0], vectors[0])]
        vectors = []
        for pair in pairs:
            halves = [[j + shift + n * second for second in (0, 1) for j in low] for shift in (0, width)]
            vectors.append(bld.fadd(*(bld.shuffle_vector(*pair, lane_numbers(pick)) for pick in halves)))
    return vectors[0]


def _over_panels(
    bld: Any, t: Any, panels: Any, streams: Sequence[tuple[Any, Any]], loop: Any, begun: Sequence[tuple[Any, Any]],
    add_panel: Callable[[list[Any], list[Any]], list[Any]],
) -> list[Any]:  # fmt: skip
    """Sums over panels: those that ``add_panel`` makes of the pointers to a panel and of those before it.

    `streams`: the address of each thing that is read in the first panel, and how far it is to the next; `begun`: the
    blocks that go on to the block `loop`, with the sums at the start.
    """
    done = bld.append_basic_block("done")
    bld.position_at_end(loop)
    first = [int_const(0), *(address for address, _ in streams)]
    p, *pointers = state = [bld.phi(value.type) for value in first]
    sums = [bld.phi(llvm_type(t)) for _ in begun[0][1]]
    for block, values in begun:
        for phi, value in zip([*state, *sums], [*first, *values]):
            phi.add_incoming(value, block)
    results = add_panel(pointers, sums)
    moved = [emit_moved(bld, t, at, stride) for at, (_, stride) in zip(pointers, streams)]
    following = [bld.add(p, int_const(1)), *moved]
    bld.cbranch(bld.icmp_signed("<", following[0], panels), loop, done)
    for phi, value in zip([*state, *sums], [*following, *results]):
        phi.add_incoming(value, loop)
    bld.position_at_end(done)
    return results


def _emit_of_samples(bld: Any, t: Any, outputs: int, inputs: int, args: Any) -> None:
    """A tile of the gradient whose lanes are samples: C is at most `inputs` columns of the parameters or gradient."""
    d, d_stride, panels, a, a_stride, start_from, start, epilogue, c, c_stride, columns, rate = args
    d, a, start, c = (pointer_to(bld, t.dtype, x) for x in (d, a, start, c))
    line_ = t.lanes * VECTORS_OF_LINE
    cells = list(itertools.product(range(outputs), range(inputs), range(VECTORS_OF_LINE)))
    start_block, loop = bld.block, bld.append_basic_block("panels")
    bld.branch(loop)

    def add_panel(pointers: list[Any], before: list[Any]) -> list[Any]:
        pd, pa = pointers
        sums = dict(zip(cells, before))
        deltas = {
            (o, v): emit_load(bld, t, pd, int_const(o * line_ + v * t.lanes))
            for o in range(outputs) for v in range(VECTORS_OF_LINE)
        }  # fmt: skip
        for i, v in itertools.product(range(inputs), range(VECTORS_OF_LINE)):
            input_ = emit_load(bld, t, pa, int_const(i * line_ + v * t.lanes))  # just before its use, as in `_chains`
            for o in range(outputs):
                sums[o, i, v] = emit(bld, "fma", t, deltas[o, v], input_, sums[o, i, v])
        return list(sums.values())

    begun = [(start_block, [constant(t, 0.0)] * len(cells))]
    sums_of = dict(zip(cells, _over_panels(bld, t, panels, [(d, d_stride), (a, a_stride)], loop, begun, add_panel)))
    mask = emit_first(bld, t, columns)
    goes_on = bld.icmp_signed("==", start_from, int_const(CONTINUE))
    learns = bld.icmp_signed("==", epilogue, int_const(SGD))
    start_mask = bld.select(goes_on, mask, ir.Constant(mask.type, [ir.Constant(ir.IntType(1), 0)] * t.lanes))
    # Not from memory that was never written: there a load of no lane at all takes 300 cycles on Zen 5.
    start = bld.select(goes_on, start, c)
    for o in range(outputs):
        sums = _sum_lanes(bld, t, [[sums_of[o, i, v] for v in range(VECTORS_OF_LINE)] for i in range(inputs)])
        at = bld.mul(c_stride, int_const(o))
        target = emit_moved(bld, t, c, at)
        total = bld.fadd(emit_masked_load(bld, t, emit_moved(bld, t, start, at), start_mask), sums)
        weights = emit_masked_load(bld, t, target, mask)
        stepped = emit(bld, "fma", t, emit_splat(bld, t, bld.fneg(rate)), total, weights)
        emit_masked_store(bld, t, bld.select(learns, stepped, total), target, mask)


def _emit_of_biases(bld: Any, t: Any, args: Any) -> None:
    """Sums over all samples for FEW_BIASES outputs: samples of equal lane in their order, then the lanes."""
    d, d_stride, panels, start_from, sums, epilogue, c, outputs, rate = args
    d, sums, c = (pointer_to(bld, t.dtype, x) for x in (d, sums, c))
    line_ = t.lanes * VECTORS_OF_LINE
    at = [o * line_ + v * t.lanes for o in range(FEW_BIASES) for v in range(VECTORS_OF_LINE)]
    loop = bld.append_basic_block("panels")
    starts: Blocks = [
        ((CONTINUE,), lambda: [emit_load(bld, t, sums, int_const(i)) for i in at]),
        ((ZERO,), lambda: [constant(t, 0.0)] * len(at)),
    ]
    begun = _switch(bld, start_from, starts, loop)

    def add_panel(pointers: list[Any], before: list[Any]) -> list[Any]:
        return [bld.fadd(s, emit_load(bld, t, pointers[0], int_const(i))) for s, i in zip(before, at)]

    results = _over_panels(bld, t, panels, [(d, d_stride)], loop, begun, add_panel)
    end = bld.append_basic_block("end")
    mask = emit_first(bld, t, _at_most(bld, outputs, FEW_BIASES))

    def keep() -> None:
        for i, result in zip(at, results):
            emit_store(bld, t, result, sums, int_const(i))

    def total() -> Any:
        each = iter(results)
        return _sum_lanes(bld, t, [list(itertools.islice(each, VECTORS_OF_LINE)) for _ in range(FEW_BIASES)])

    def sgd() -> None:
        biases = emit_masked_load(bld, t, c, mask)
        stepped = emit(bld, "fma", t, emit_splat(bld, t, bld.fneg(rate)), total(), biases)
        emit_masked_store(bld, t, stepped, c, mask)

    epilogues: Blocks = [
        ((SGD,), sgd), ((STORE,), lambda: emit_masked_store(bld, t, total(), c, mask)), ((KEEP,), keep)
    ]  # fmt: skip
    _switch(bld, epilogue, epilogues, end)
    bld.position_at_end(end)


def _of_any_shape(emit_tile: Any, bld: Any, t: Any, args: Any, ahead: Any = None) -> None:
    """Choose the tile of args[0] rows and args[1] lines; the tallest asks for `ahead`, unless that is NOTHING."""
    bld.function.attributes.add("noinline")  # one copy, whoever calls
    end = bld.append_basic_block("end")
    switch = bld.switch(bld.add(args[0], bld.mul(args[1], int_const(ROWS + 1))), end)
    for lines, heights in enumerate(HEIGHTS, start=1):
        for rows in heights:
            block = bld.append_basic_block(f"tile_{rows}_{lines}")
            switch.add_case(int_const(rows + lines * (ROWS + 1)), block)
            bld.position_at_end(block)
            if ahead is not None and (lines, rows) == (LINES, TALLEST):
                with bld.if_then(bld.icmp_signed("!=", bld.extract_value(ahead, 0), int_const(0))):
                    emit_tile(bld, t, rows, lines, args[2:], ahead)
                    bld.branch(end)
            emit_tile(bld, t, rows, lines, args[2:], None)
            bld.branch(end)
    bld.position_at_end(end)


def _panel_tile(by_rows: bool) -> Any:
    @intrinsic
    def tile(
        typingctx: Any,
        rows: Any,  # one of HEIGHTS[lines - 1]
        lines: Any,  # 1 to LINES
        a: Any,  # address of A[0, 0]
        stride: Any,  # of A, from row to row or from k to k
        depth: Any,  # of k, at least 1
        b: Any,  # address of B[0, :]
        b_stride: Any,  # from line to line
        start_from: Any,  # ZERO, CONTINUE or BIAS
        start: Any,  # address; of partial sums: lines c_stride apart
        epilogue: Any,  # STORE, RELU, RELU0; by columns also MASK and SCALE
        c: Any,  # address of C[0, 0]
        c_stride: Any,  # from line to line
        aux: Any,  # address of the activations (MASK) or slopes (SCALE), laid out as C
        ahead: Any,  # by columns: addresses of the streams that the tallest tile asks for, or NOTHING (the first is 0)
        like: Any,
    ) -> Any:
        t = VECTORS[scalar_of(like)]

        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            _of_any_shape(functools.partial(_emit_on_panels, by_rows), bld, t, args, None if by_rows else args[13])
            return context.get_dummy_value()

        return types.void(*[types.intp] * 13, types.UniTuple(types.intp, STREAMS), like), codegen

    return tile


_tile_of_rows, _tile_of_columns = _panel_tile(True), _panel_tile(False)


@intrinsic
def _tile_of_panels(
    typingctx: Any,
    rows: Any,  # one of HEIGHTS[lines - 1]
    lines: Any,  # 1 to LINES
    a: Any,  # address of A[0, 0] in its first panel
    panel_stride: Any,  # of A
    panels: Any,  # at least 1
    b: Any,  # address of B[0, :]; the lines of all k are contiguous
    b_stride: Any,  # from line to line of the same k
    start_from: Any,  # ZERO or CONTINUE
    start: Any,  # address
    start_stride: Any,  # from row to row
    epilogue: Any,  # STORE or SGD: C -= rate * sums
    c: Any,  # address of C[0, 0]
    c_stride: Any,  # from row to row
    columns: Any,  # of C that exist: those beyond are neither read nor written
    ahead: Any,  # as in `_panel_tile`
    rate: Any,
) -> Any:
    t = VECTORS[scalar_of(rate)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        _of_any_shape(_emit_of_gradient, bld, t, args, args[14])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 14, types.UniTuple(types.intp, STREAMS), rate), codegen


@intrinsic
def _tile_of_samples(
    typingctx: Any,
    outputs: Any,  # 1 to FEW_OUTPUTS, or NARROW_OUTPUTS where at most NARROW_INPUTS columns exist
    d: Any,  # address of dZ of the first output in its first panel
    d_stride: Any,  # from panel to panel
    panels: Any,  # at least 1
    a: Any,  # address of A of the first input in its first panel
    a_stride: Any,
    start_from: Any,  # ZERO or CONTINUE
    start: Any,  # address; rows c_stride apart
    epilogue: Any,  # STORE or SGD: C -= rate * sums
    c: Any,  # address of C[0, 0]
    c_stride: Any,
    columns: Any,  # of C that exist, if less than FEW_INPUTS
    rate: Any,
) -> Any:
    t = VECTORS[scalar_of(rate)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        bld.function.attributes.add("noinline")
        columns = _at_most(bld, args[11], FEW_INPUTS)
        end = bld.append_basic_block("end")
        is_narrow = bld.icmp_signed("<=", columns, int_const(NARROW_INPUTS))
        switch = bld.switch(bld.select(is_narrow, bld.add(args[0], int_const(FEW_OUTPUTS)), args[0]), end)
        shapes = [(outputs, FEW_INPUTS) for outputs in range(1, FEW_OUTPUTS + 1)]
        shapes += [(outputs, NARROW_INPUTS) for outputs in range(1, NARROW_OUTPUTS + 1)]
        for case, shape in enumerate(shapes, 1):
            block = bld.append_basic_block(f"tile_{case}")
            switch.add_case(int_const(case), block)
            bld.position_at_end(block)
            _emit_of_samples(bld, t, *shape, [*args[1:11], columns, args[12]])
            bld.branch(end)
        bld.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 12, rate), codegen


@inline
def height(rows, lines):
    """The height of the next tile where so many rows of so many lines are left."""
    return _HEIGHTS[(lines - 1) * (MANY_ROWS + 1) + min(rows, MANY_ROWS)]


@intrinsic
def _tile_of_biases(
    typingctx: Any,
    d: Any,  # address of dZ of the first output in its first panel
    d_stride: Any,  # from panel to panel
    panels: Any,  # at least 1
    start_from: Any,  # ZERO or CONTINUE
    sums: Any,  # address of each output's sums by lane, a line, that go on from one block to the next
    epilogue: Any,  # KEEP those sums, or add up their lanes: STORE, or SGD: C -= rate * sums
    c: Any,  # address of C
    outputs: Any,  # that exist, if less than FEW_BIASES
    rate: Any,
) -> Any:
    t = VECTORS[scalar_of(rate)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        bld.function.attributes.add("noinline")
        _emit_of_biases(bld, t, args)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 8, rate), codegen


# The functions around the intrinsics are the units that LLVM compiles once.


@kernel
def tile_of_rows(rows, lines, a, stride, depth, b, b_stride, start_from, start, epilogue, c, c_stride, like):
    """One tile of the forward product; the arguments are described at :func:`_panel_tile`."""
    _tile_of_rows(
        rows, lines, a, stride, depth, b, b_stride, start_from, start, epilogue, c, c_stride, c, NOTHING, like
    )


@kernel
def tile_of_columns(
    rows, lines, a, stride, depth, b, b_stride, start_from, start, epilogue, c, c_stride, aux, ahead, like
):
    """One tile of the backward product, or of the forward product from a packed strip."""
    _tile_of_columns(
        rows, lines, a, stride, depth, b, b_stride, start_from, start, epilogue, c, c_stride, aux, ahead, like
    )


@kernel
def tile_of_panels(
    rows, lines, a, panel_stride, panels, b, b_stride, start_from, start, start_stride, epilogue, c, c_stride, columns,
    ahead, rate,
):  # fmt: skip
    """One tile of the gradient; the arguments are described at :func:`_tile_of_panels`."""
    _tile_of_panels(
        rows, lines, a, panel_stride, panels, b, b_stride, start_from, start, start_stride, epilogue, c, c_stride,
        columns, ahead, rate,
    )  # fmt: skip


@kernel
def tile_of_samples(outputs, d, d_stride, panels, a, a_stride, start_from, start, epilogue, c, c_stride, columns, rate):
    """One tile of the gradient of few outputs or inputs; the arguments are described at :func:`_tile_of_samples`."""
    _tile_of_samples(outputs, d, d_stride, panels, a, a_stride, start_from, start, epilogue, c, c_stride, columns, rate)


@kernel
def tile_of_biases(d, d_stride, panels, start_from, sums, epilogue, c, outputs, rate):
    """The gradient of FEW_BIASES biases; the arguments are described at :func:`_tile_of_biases`."""
    _tile_of_biases(d, d_stride, panels, start_from, sums, epilogue, c, outputs, rate)


@callable_kernel
def _repeat(a, b, c, k, times, rate):
    for _ in range(times):
        tile_of_columns(
            TALLEST, LINES, a, TALLEST, k, b, k * line(rate), ZERO, c, STORE, c, TALLEST * line(rate), c, NOTHING, rate
        )


def peak(dtype: str = "float32", seconds: float = 0.3) -> tuple[float, float]:
    """GFLOP/s of one thread in the tile itself, its data in the first-level cache: what a step can reach at best.

    The best of many short runs, which is the peak, and their median: where the processor's clock changes, that is what
    it does in the long run.
    """
    k, times = 256, 200
    rate = np.dtype(dtype).type(0)
    a, b, c = (np.zeros(n * LINE_BYTES, np.uint8) for n in (k * ROWS, k * LINES + 1, ROWS * LINES + 1))
    at = [(x.ctypes.data + LINE_BYTES - 1) // LINE_BYTES * LINE_BYTES for x in (a, b, c)]
    operations = 2.0 * TALLEST * LINES * (LINE_BYTES // rate.itemsize) * k * times
    _repeat(*at, k, 1, rate)
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while not rates or time.perf_counter() < end:
        start = time.perf_counter()
        _repeat(*at, k, times, rate)
        rates.append(operations / (time.perf_counter() - start) / 1e9)
    return max(rates), float(np.median(rates))
