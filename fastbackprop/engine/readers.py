"""Readers: how a panel of samples is made from rows that do not lie as the engine's own.

The engine's own are rows of its element type, one element after the other; it gathers those itself (``panels.gather``).
Of all others a reader makes the panel: a compiled function that the engine calls by its address, with the address of a
*source*, int64 words that say where the rows lie. A reader is compiled when a source of its kind is first read. What it
writes has the bits of ``X.astype(dtype)``.

    dense   any strides, of floats, integers and bools in either order of bytes
    CSR     SciPy's compressed sparse rows
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastbackprop.engine import layout as at
from fastbackprop.engine.jit import entry, inline
from fastbackprop.engine.numba_internals import cgutils
from fastbackprop.engine.panels import panel_to_units, transpose_line, zero_line
from fastbackprop.engine.pointers import INT, emit_call_at, emit_load_at, emit_pointer, pointer_type
from fastbackprop.engine.simd import (
    LINE_BYTES,
    VECTORS,
    const,
    emit_first,
    itemsize,
    keep_subnormals,
    lanes,
    line,
    llvm_float,
    load_int,
    prefetch_second,
    restore_subnormals,
    store,
)

GROUP = 8  # panels that are made together where the elements of a row lie apart


def _many(count: int | None, element: Any) -> Any:
    """The LLVM type of so many elements, or of one where there is no count."""
    return element if count is None else ir.VectorType(element, count)


def _constant(ty: Any, value: float) -> ir.Constant:
    return ir.Constant(ty, [value] * ty.count if isinstance(ty, ir.VectorType) else value)


def _emit_half(bld: Any, bits: Any, count: int | None) -> Any:
    """float16 as float32, by its bits: not every processor has an instruction for it.

    The exponent's bias differs by 112, so a product with 2**112 is exact, also of subnormals.
    """
    ints, floats = _many(count, ir.IntType(32)), _many(count, ir.FloatType())
    wide = bld.zext(bits, ints)
    moved = bld.shl(bld.and_(wide, _constant(ints, 0x7FFF)), _constant(ints, 13))
    finite = bld.bitcast(bld.fmul(bld.bitcast(moved, floats), _constant(floats, 2.0**112)), ints)
    special = bld.or_(moved, _constant(ints, 0x7F800000))  # infinity and NaN
    magnitude = bld.select(bld.icmp_unsigned("<", moved, _constant(ints, 0x1F << 23)), finite, special)
    sign = bld.shl(bld.and_(wide, _constant(ints, 0x8000)), _constant(ints, 16))
    return bld.bitcast(bld.or_(magnitude, sign), floats)


def _emit_converted(bld: Any, bits: Any, count: int | None, kind: np.dtype[Any], element: types.Float) -> Any:
    """Elements of a NumPy dtype, loaded as integers of their size, as floats of the engine."""
    if not kind.isnative:
        name = f"llvm.bswap.{'' if count is None else f'v{count}'}i{8 * kind.itemsize}"
        swap = cgutils.get_or_insert_function(bld.module, ir.FunctionType(bits.type, [bits.type]), name)
        bits = bld.call(swap, [bits])
    to = _many(count, llvm_float(element))
    if kind.kind == "i":
        return bld.sitofp(bits, to)
    if kind.kind == "u":
        return bld.uitofp(bits, to)
    if kind.kind == "b":
        return bld.uitofp(bld.icmp_unsigned("!=", bits, _constant(bits.type, 0)), to)
    if kind.itemsize == 2:
        value, given = _emit_half(bld, bits, count), types.float32
    else:
        given = types.float32 if kind.itemsize == 4 else types.float64
        value = bld.bitcast(bits, _many(count, llvm_float(given)))
    if given == element:
        return value
    return bld.fpext(value, to) if element == types.float64 else bld.fptrunc(value, to)


def _word(kind: np.dtype[Any], count: int | None = None) -> Any:
    return _many(count, ir.IntType(8 * kind.itemsize))


@intrinsic(prefer_literal=True)
def load_as(typingctx: Any, address: Any, like: Any, kind: Any) -> Any:
    """The vector whose lanes are the elements of dtype ``kind``, a literal, at ``address``."""
    t, dtype = VECTORS[like], np.dtype(kind.literal_value)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        bits = emit_load_at(bld, _word(dtype, t.lanes), args[0], align=1)
        return _emit_converted(bld, bits, t.lanes, dtype, t.dtype)

    return t(types.intp, like, kind), codegen


@intrinsic(prefer_literal=True)
def load_first_as(typingctx: Any, address: Any, n: Any, like: Any, kind: Any) -> Any:
    """The same, of which only the first ``n`` elements are read; the other lanes are 0."""
    t, dtype = VECTORS[like], np.dtype(kind.literal_value)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        ty = _word(dtype, t.lanes)
        mask = emit_first(bld, t, args[1])
        fty = ir.FunctionType(ty, [pointer_type(ty), ir.IntType(32), mask.type, ty])
        name = f"llvm.masked.load.v{t.lanes}i{8 * dtype.itemsize}.p0"
        fn = cgutils.get_or_insert_function(bld.module, fty, name)
        pointer, align = emit_pointer(bld, ty, args[0]), ir.Constant(ir.IntType(32), 1)
        bits = bld.call(fn, [pointer, align, mask, _constant(ty, 0)])
        return _emit_converted(bld, bits, t.lanes, dtype, t.dtype)

    return t(types.intp, types.intp, like, kind), codegen


@intrinsic(prefer_literal=True)
def load_one_as(typingctx: Any, address: Any, like: Any, kind: Any) -> Any:
    """The one element of dtype ``kind`` at ``address``."""
    dtype = np.dtype(kind.literal_value)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        bits = emit_load_at(bld, _word(dtype), args[0], align=1)
        return _emit_converted(bld, bits, None, dtype, like)

    return like(types.intp, like, kind), codegen


@intrinsic(prefer_literal=True)
def load_apart_as(typingctx: Any, address: Any, stride: Any, like: Any, kind: Any) -> Any:
    """The vector whose lanes are the elements of dtype ``kind`` at ``address``, ``stride`` bytes apart."""
    t, dtype = VECTORS[like], np.dtype(kind.literal_value)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        bits = ir.Constant(_word(dtype, t.lanes), ir.Undefined)
        for lane in range(t.lanes):
            at = bld.add(args[0], bld.mul(args[1], ir.Constant(INT, lane)))
            one = emit_load_at(bld, _word(dtype), at, align=1)
            bits = bld.insert_element(bits, one, ir.Constant(ir.IntType(32), lane))
        return _emit_converted(bld, bits, t.lanes, dtype, t.dtype)

    return t(types.intp, types.intp, like, kind), codegen


@intrinsic(prefer_literal=True)
def load_number(typingctx: Any, address: Any, kind: Any) -> Any:
    """The signed integer of dtype ``kind`` at ``address``."""
    dtype = np.dtype(kind.literal_value)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        bits = emit_load_at(bld, _word(dtype), args[0], align=1)
        return bits if dtype.itemsize == 8 else bld.sext(bits, INT)

    return types.int64(types.intp, kind), codegen


@intrinsic
def call_reader(
    typingctx: Any, reader: Any, source: Any, order: Any, first: Any, count: Any, far: Any, end: Any, width: Any,
    units: Any, units_stride: Any, panel: Any, panel_lines: Any, panels: Any,
) -> Any:  # fmt: skip
    """Call the reader at an address for some panels, ``panel_lines`` apart, of which ``count`` samples exist.

    The other arguments are those of ``panels.gather``; ``far``: whether rows are to be asked for a panel ahead. Units
    follow each other from panel to panel.
    """

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        return emit_call_at(bld, *args)

    return types.int64(types.intp, *[types.int64] * at.READER_ARGUMENTS), codegen


@inline
def _block_of_units(units, units_stride, p, q, like):
    """Where the samples of a panel begin in the block of units that holds unit q; if none are wanted, in scratch."""
    n = line(like)
    return units + ((q // n) * units_stride + p * n * n) * itemsize(like) if units_stride != 0 else units


def _narrows(kind: str, like: Any) -> bool:
    """Whether what was a normal number may become subnormal: it stays so, as with astype, also in trainings."""
    return np.dtype(kind).kind == "f" and np.dtype(kind).itemsize > like.itemsize


@inline
def _row_at(order, place):
    return load_int(order + place * 8) if order != 0 else place


def make_reader(kind: str, dtype: np.dtype[Any]) -> Any:
    """The reader of a dense source of elements ``kind``, a NumPy code with the order of bytes."""
    like = dtype.type(0)
    element_bytes = np.dtype(kind).itemsize
    narrows = _narrows(kind, like)

    @entry
    def read(source, order, first, count, far, end, width, units, units_stride, panel, panel_lines, panels):
        n, size, lanes_ = line(like), itemsize(like), lanes(like)
        base, row_stride = load_int(source + at.BASE * 8), load_int(source + at.ROW_STRIDE * 8)
        column_stride = load_int(source + at.COLUMN_STRIDE * 8)
        is_short = order == 0 and units_stride == 0 and width < n and row_stride == width * element_bytes
        mode = keep_subnormals() if narrows else 0
        for p in range(panels if column_stride == element_bytes else 0):
            place, exist = first + p * n, min(n, count - p * n)
            into_panel = panel + p * panel_lines * n * size
            if is_short and exist == n:
                # Short rows without gaps: all samples at once, in whole vectors. What is behind a row in its line is
                # the next one, where others have zeros; nobody reads it.
                for i in range(0, n * width, lanes_):
                    store(units + i * size, load_as(base + place * row_stride + i * element_bytes, like, kind))
                transpose_line(units, width, into_panel, n, like)
                continue
            for q in range(0, width, n):
                block = _block_of_units(units, units_stride, p, q, like)
                for s in range(n):
                    into = block + s * n * size
                    if s < exist:
                        address = base + _row_at(order, place + s) * row_stride + q * element_bytes
                        for i in range(0, n, lanes_):
                            if width - q - i >= lanes_:
                                store(into + i * size, load_as(address + i * element_bytes, like, kind))
                            else:
                                value = load_first_as(address + i * element_bytes, width - q - i, like, kind)
                                store(into + i * size, value)
                        if far:
                            later = base + _row_at(order, min(place + n + s, end - 1)) * row_stride + q * element_bytes
                            for i in range(0, n * element_bytes, LINE_BYTES):
                                prefetch_second(later + i)
                    else:
                        zero_line(into, like)
                transpose_line(block, n, into_panel + q * n * size, n, like)
        # The elements of a row lie apart, perhaps each on a page of memory of its own: of each column as many samples
        # as a few panels have, before the next page.
        for group in range(0, panels if column_stride != element_bytes else 0, GROUP):
            last = min(group + GROUP, panels)
            for q in range((width + n - 1) // n * n):
                for p in range(group, last):
                    place, exist = first + p * n, min(n, count - p * n)
                    into = panel + (p * panel_lines + q) * n * size
                    column = base + q * column_stride
                    if q >= width:
                        zero_line(into, like)
                    elif order == 0 and row_stride == element_bytes:  # a column's samples lie as a panel's do
                        for i in range(0, n, lanes_):
                            address = column + (place + i) * element_bytes
                            if exist - i >= lanes_:
                                store(into + i * size, load_as(address, like, kind))
                            else:
                                store(into + i * size, load_first_as(address, exist - i, like, kind))
                    elif order == 0 and exist == n:
                        for i in range(0, n, lanes_):
                            address = column + (place + i) * row_stride
                            store(into + i * size, load_apart_as(address, row_stride, like, kind))
                    else:
                        for s in range(n):
                            value = const(like, 0.0)
                            if s < exist:
                                value = load_one_as(column + _row_at(order, place + s) * row_stride, like, kind)
                            store(into + s * size, value)
            for p in range(group, last if units_stride != 0 else group):
                block = _block_of_units(units, units_stride, p, 0, like)
                panel_to_units(panel + p * panel_lines * n * size, width, block, units_stride, like)
        if narrows:
            restore_subnormals(mode)
        return 0

    return read


def make_csr_reader(kind: str, number: str, dtype: np.dtype[Any]) -> Any:
    """The reader of a CSR matrix of elements ``kind`` whose columns and starts are ``number``, int32 or int64."""
    like = dtype.type(0)
    element_bytes, number_bytes = np.dtype(kind).itemsize, np.dtype(number).itemsize
    narrows = _narrows(kind, like)

    @entry
    def read(source, order, first, count, far, end, width, units, units_stride, panel, panel_lines, panels):
        n, size = line(like), itemsize(like)
        base, columns = load_int(source + at.BASE * 8), load_int(source + at.COLUMNS * 8)
        starts, stored = load_int(source + at.STARTS * 8), load_int(source + at.STORED * 8)
        mode = keep_subnormals() if narrows else 0
        for p in range(panels):
            into_panel = panel + p * panel_lines * n * size
            for q in range((width + n - 1) // n * n):
                zero_line(into_panel + q * n * size, like)
            for s in range(min(n, count - p * n)):
                row = starts + _row_at(order, first + p * n + s) * number_bytes
                # The bounds hold whatever the matrix has become since it was looked at: nothing else is touched.
                start, stop = max(load_number(row, number), 0), min(load_number(row + number_bytes, number), stored)
                for k in range(start, stop):
                    column = load_number(columns + k * number_bytes, number)
                    if 0 <= column < width:
                        value = load_one_as(base + k * element_bytes, like, kind)
                        store(into_panel + (column * n + s) * size, value)
            if units_stride != 0:
                panel_to_units(into_panel, width, _block_of_units(units, units_stride, p, 0, like), units_stride, like)
        if narrows:
            restore_subnormals(mode)
        return 0

    return read
