"""Vectors, lines, atomics: what Numba does not have and the kernels need, each written as LLVM IR.

With the same helpers ``tile.py`` writes the loop of the product, and ``readers.py`` conversions.

A *line* is 64 bytes: 16 float32 or 8 float64 values, whatever the processor. Data are laid out in lines, so the
results do not depend on the width of the registers. A *vector* is what one register holds: a line is 1 (AVX-512),
2 (AVX2) or 4 (SSE, NEON) of them (processor.py).

Addresses are plain integers, in bytes; strides and counts are in elements. ``like`` is any scalar of the
element type: its *type* chooses float32 or float64 at compile time, its value is not used.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model

from fastbackprop.engine.layout import LINE_BYTES as LINE_BYTES
from fastbackprop.engine.numba_internals import ConcreteTemplate, cgutils, infer_global, signature
from fastbackprop.engine.pointers import INT, emit_load_at, emit_pointer, emit_store_release, pointer_type
from fastbackprop.engine.processor import AVX512, LANES32, X86


def int_const(n: int) -> ir.Constant:
    """A 64-bit LLVM constant."""
    return ir.Constant(INT, n)


class Vector(types.Type):
    """The Numba type of some registers full of ``dtype``."""

    def __init__(self, dtype: types.Float, registers: int = 1) -> None:
        self.dtype = dtype
        self.lanes = registers * LANES32 * 32 // dtype.bitwidth
        super().__init__(name=f"vector({dtype}x{self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(llvm_float(fe_type.dtype), fe_type.lanes))


VECTORS = {t: Vector(t) for t in (types.float32, types.float64)}
# Two and four vectors, of which LLVM does each operation twice or four times in a row: the processor need not look far
# ahead for work that does not wait for the operation before.
PAIRS = {t: Vector(t, 2) for t in VECTORS}
GROUPS = {t: Vector(t, 4) for t in VECTORS}


def llvm_float(dtype: types.Float) -> Any:
    """float32 or float64 in LLVM."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def llvm_type(t: Any) -> Any:
    """The LLVM type of a Numba float or vector."""
    return ir.VectorType(llvm_float(t.dtype), t.lanes) if isinstance(t, Vector) else llvm_float(t)


def llvm_int(t: Any) -> Any:
    """The integer type (or vector of integers) with as many bits as ``t``."""
    if isinstance(t, Vector):
        return ir.VectorType(ir.IntType(t.dtype.bitwidth), t.lanes)
    return ir.IntType(t.bitwidth)


def scalar_of(t: Any) -> types.Float:
    """The element type."""
    return t.dtype if isinstance(t, Vector) else t


def constant(t: Any, value: float) -> ir.Constant:
    """``value`` in every lane."""
    if isinstance(t, Vector):
        return ir.Constant(llvm_type(t), [ir.Constant(llvm_float(t.dtype), value)] * t.lanes)
    return ir.Constant(llvm_float(t), value)


def constant_bits(t: Any, value: int) -> ir.Constant:
    """The integer ``value`` in every lane of :func:`llvm_int`."""
    if isinstance(t, Vector):
        return ir.Constant(llvm_int(t), [ir.Constant(ir.IntType(t.dtype.bitwidth), value)] * t.lanes)
    return ir.Constant(llvm_int(t), value)


def suffix(t: Any) -> str:
    """The overload suffix of an LLVM intrinsic, such as ``v8f32``."""
    return (f"v{t.lanes}" if isinstance(t, Vector) else "") + f"f{scalar_of(t).bitwidth}"


def emit(bld: Any, name: str, t: Any, *args: Any) -> Any:
    """Call the elementwise LLVM intrinsic ``llvm.name`` on values of type ``t``."""
    ty = llvm_type(t)
    fn = cgutils.get_or_insert_function(bld.module, ir.FunctionType(ty, [ty] * len(args)), f"llvm.{name}.{suffix(t)}")
    return bld.call(fn, args)


def emit_moved(bld: Any, t: Any, pointer: Any, offset: Any) -> Any:
    """A pointer to elements, ``offset`` of them on."""
    return bld.gep(pointer, [offset], source_etype=llvm_float(scalar_of(t)))


def emit_load(bld: Any, t: Any, pointer: Any, offset: Any = None) -> Any:
    """Unaligned load of a vector or scalar ``t`` at ``pointer`` + ``offset`` elements."""
    p, ty = pointer if offset is None else emit_moved(bld, t, pointer, offset), llvm_type(t)
    return bld.load(bld.bitcast(p, pointer_type(ty)), align=scalar_of(t).bitwidth // 8, typ=ty)


def emit_store(bld: Any, t: Any, value: Any, pointer: Any, offset: Any = None) -> None:
    """Unaligned store, the counterpart of :func:`emit_load`."""
    p = pointer if offset is None else emit_moved(bld, t, pointer, offset)
    bld.store(value, bld.bitcast(p, pointer_type(llvm_type(t))), align=scalar_of(t).bitwidth // 8)


def lane_numbers(numbers: Sequence[int]) -> ir.Constant:
    """Which lanes of its two vectors a shuffle takes, those of the second counted on from the first's."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def emit_parts(bld: Any, v: Any, size: int) -> list[Any]:
    """A vector as vectors of so many lanes."""
    starts = range(0, v.type.count, size)
    return [bld.shuffle_vector(v, v, lane_numbers(range(start, start + size))) for start in starts]


def emit_joined(bld: Any, a: Any, b: Any) -> Any:
    """Two vectors as one."""
    return bld.shuffle_vector(a, b, lane_numbers(range(2 * a.type.count)))


def emit_splat(bld: Any, t: Vector, value: Any) -> Any:
    """``value`` in every lane."""
    undef = ir.Constant(llvm_type(t), ir.Undefined)
    one = bld.insert_element(undef, value, ir.Constant(ir.IntType(32), 0))
    return bld.shuffle_vector(one, undef, lane_numbers([0] * t.lanes))


def emit_first(bld: Any, t: Vector, n: Any) -> Any:
    """The mask that is true in the first ``n`` lanes (none where n <= 0)."""
    ints = ir.VectorType(INT, t.lanes)
    undef = ir.Constant(ints, ir.Undefined)
    one = bld.insert_element(undef, n, ir.Constant(ir.IntType(32), 0))
    every = bld.shuffle_vector(one, undef, lane_numbers([0] * t.lanes))
    return bld.icmp_signed("<", ir.Constant(ints, list(range(t.lanes))), every)


def emit_masked_load(bld: Any, t: Vector, pointer: Any, mask: Any) -> Any:
    """Lanes where ``mask`` is false are 0, and their memory is not touched."""
    ty = llvm_type(t)
    ptr = pointer_type(ty)
    fty = ir.FunctionType(ty, [ptr, ir.IntType(32), mask.type, ty])
    fn = cgutils.get_or_insert_function(bld.module, fty, f"llvm.masked.load.{suffix(t)}.p0")
    align = ir.Constant(ir.IntType(32), t.dtype.bitwidth // 8)
    return bld.call(fn, [bld.bitcast(pointer, ptr), align, mask, constant(t, 0.0)])


def emit_masked_store(bld: Any, t: Vector, value: Any, pointer: Any, mask: Any) -> None:
    """Lanes where ``mask`` is false leave memory as it is."""
    ty = llvm_type(t)
    ptr = pointer_type(ty)
    fty = ir.FunctionType(ir.VoidType(), [ty, ptr, ir.IntType(32), mask.type])
    fn = cgutils.get_or_insert_function(bld.module, fty, f"llvm.masked.store.{suffix(t)}.p0")
    align = ir.Constant(ir.IntType(32), t.dtype.bitwidth // 8)
    bld.call(fn, [value, bld.bitcast(pointer, ptr), align, mask])


def pointer_to(bld: Any, dtype: types.Float, address: Any) -> Any:
    """An address as a pointer to elements."""
    return emit_pointer(bld, llvm_float(dtype), address)


# ---------------------------------------------------------------- sizes, known at compile time


def _size(count: Any) -> Any:
    @intrinsic
    def size(typingctx: Any, like: Any) -> Any:
        t = scalar_of(like)

        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            return int_const(count(t))

        return types.intp(like), codegen

    return size


itemsize = _size(lambda t: t.bitwidth // 8)  # bytes of an element
line = _size(lambda t: LINE_BYTES * 8 // t.bitwidth)  # elements of a line
lanes = _size(lambda t: VECTORS[t].lanes)  # elements of a vector
group_lanes = _size(lambda t: GROUPS[t].lanes)  # elements of a group of vectors


# ---------------------------------------------------------------- memory


def _load(kinds: dict[types.Float, Vector]) -> Any:
    @intrinsic
    def load(typingctx: Any, address: Any, like: Any) -> Any:
        t = kinds[scalar_of(like)]

        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            return emit_load(bld, t, pointer_to(bld, t.dtype, args[0]))

        return t(types.intp, like), codegen

    return load


load, load_group = _load(VECTORS), _load(GROUPS)  # the vector, or the group of vectors, at an address


@intrinsic
def load_pair(typingctx: Any, first: Any, second: Any, like: Any) -> Any:
    """The vectors at two addresses as one pair."""
    t, pair = VECTORS[scalar_of(like)], PAIRS[scalar_of(like)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        halves = [emit_load(bld, t, pointer_to(bld, t.dtype, address)) for address in args[:2]]
        return emit_joined(bld, *halves)

    return pair(types.intp, types.intp, like), codegen


@intrinsic
def store_pair(typingctx: Any, first: Any, second: Any, value: Any) -> Any:
    """Write the vectors of a pair at two addresses."""
    t = VECTORS[scalar_of(value)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        for half, address in zip(emit_parts(bld, args[2], t.lanes), args[:2], strict=True):
            emit_store(bld, t, half, pointer_to(bld, t.dtype, address))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, value), codegen


@intrinsic
def load_first(typingctx: Any, address: Any, n: Any, like: Any) -> Any:
    """The vector at ``address``, of which only the first ``n`` lanes are read; the others are 0."""
    t = VECTORS[scalar_of(like)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        return emit_masked_load(bld, t, pointer_to(bld, t.dtype, args[0]), emit_first(bld, t, args[1]))

    return t(types.intp, types.intp, like), codegen


def emit_prefetch(bld: Any, pointer: Any, write: int, locality: int) -> None:
    """Ask for the line at a pointer; `locality` 3: for the first-level cache, 2: for the second."""
    byte_pointer, i32 = pointer_type(ir.IntType(8)), ir.IntType(32)
    fty = ir.FunctionType(ir.VoidType(), [byte_pointer, i32, i32, i32])
    fn = cgutils.get_or_insert_function(bld.module, fty, "llvm.prefetch.p0")
    bld.call(fn, [bld.bitcast(pointer, byte_pointer), *(ir.Constant(i32, x) for x in (write, locality, 1))])


def _prefetch(write: int, locality: int) -> Any:
    @intrinsic
    def prefetch(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            emit_prefetch(bld, emit_pointer(bld, ir.IntType(8), args[0]), write, locality)
            return context.get_dummy_value()

        return types.void(types.intp), codegen

    return prefetch


# Ask for the line at an address, which will be read soon: into the first-level cache, or into the second; or written:
# then other cores lose it. Any address will do: it is never an error.
prefetch, prefetch_second, prefetch_write = _prefetch(0, 3), _prefetch(0, 2), _prefetch(1, 3)


@intrinsic
def load_scalar(typingctx: Any, address: Any, like: Any) -> Any:
    """The one element at ``address``."""
    t = scalar_of(like)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        return emit_load_at(bld, llvm_float(t), args[0])

    return t(types.intp, like), codegen


@intrinsic
def load_int(typingctx: Any, address: Any) -> Any:
    """The 64-bit integer at ``address``."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        return emit_load_at(bld, INT, args[0])

    return types.int64(types.intp), codegen


@intrinsic
def load_whole_numbers(typingctx: Any, address: Any, like: Any) -> Any:
    """As many 64-bit integers as a vector has lanes, as its elements."""
    t = VECTORS[scalar_of(like)]

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        whole = ir.VectorType(INT, t.lanes)
        return bld.sitofp(emit_load_at(bld, whole, args[0], align=8), llvm_type(t))

    return t(types.intp, like), codegen


@intrinsic
def load_double(typingctx: Any, address: Any) -> Any:
    """The float64 at ``address``, whatever the element type of the rest."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        return emit_load_at(bld, ir.DoubleType(), args[0])

    return types.float64(types.intp), codegen


@intrinsic
def store(typingctx: Any, address: Any, value: Any) -> Any:
    """Write a vector or a scalar at ``address``."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        emit_store(bld, value, args[1], pointer_to(bld, scalar_of(value), args[0]))
        return context.get_dummy_value()

    return types.void(types.intp, value), codegen


@intrinsic
def store_first(typingctx: Any, address: Any, value: Any, n: Any) -> Any:
    """Write the first ``n`` lanes of a vector."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        emit_masked_store(bld, value, args[1], pointer_to(bld, value.dtype, args[0]), emit_first(bld, value, args[2]))
        return context.get_dummy_value()

    return types.void(types.intp, value, types.intp), codegen


@intrinsic
def transpose(typingctx: Any, src: Any, src_stride: Any, dst: Any, dst_stride: Any, like: Any) -> Any:
    """``dst[j, i] = src[i, j]`` for a square of one vector each way, in registers: log2(lanes) rounds of shuffles."""
    t = VECTORS[scalar_of(like)]
    n = t.lanes

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        s, d = pointer_to(bld, t.dtype, args[0]), pointer_to(bld, t.dtype, args[2])
        rows = [emit_load(bld, t, s, bld.mul(args[1], int_const(i))) for i in range(n)]
        half = 1
        while half < n:
            new = list(rows)
            for i in range(n):
                if not i & half:
                    low = [j if not j & half else n + (j ^ half) for j in range(n)]
                    high = [j | half if not j & half else n + j for j in range(n)]
                    for o, pick in ((i, low), (i | half, high)):
                        new[o] = bld.shuffle_vector(rows[i], rows[i | half], lane_numbers(pick))
            rows, half = new, half * 2
        for i in range(n):
            emit_store(bld, t, rows[i], d, bld.mul(args[3], int_const(i)))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp, like), codegen


# ---------------------------------------------------------------- arithmetic, alike for vectors and scalars


def _splat(kinds: dict[types.Float, Vector]) -> Any:
    @intrinsic
    def splat(typingctx: Any, value: Any) -> Any:
        t = kinds[value]

        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            return emit_splat(bld, t, args[0])

        return t(value), codegen

    return splat


splat, splat_group = _splat(VECTORS), _splat(GROUPS)  # a scalar in every lane of a vector, or of a group of vectors


@intrinsic
def const(typingctx: Any, like: Any, value: Any) -> Any:
    """``value`` rounded to the element type of ``like``, as a vector where ``like`` is one."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        scalar = context.cast(bld, args[1], types.float64, scalar_of(like))
        return emit_splat(bld, like, scalar) if isinstance(like, Vector) else scalar

    return like(like, types.float64), codegen


def _elementwise(name: str, arity: int) -> Any:
    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        return emit(bld, name, sig.return_type, *args)

    if arity == 1:

        @intrinsic
        def unary(typingctx: Any, a: Any) -> Any:
            return a(a), codegen

        return unary

    if arity == 2:

        @intrinsic
        def binary(typingctx: Any, a: Any, b: Any) -> Any:
            return a(a, b), codegen

        return binary

    @intrinsic
    def ternary(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
        return a(a, b, c), codegen

    return ternary


fma = _elementwise("fma", 3)  # a * b + c, rounded once
sqrt = _elementwise("sqrt", 1)
rint = _elementwise("rint", 1)  # to the nearest integer, halves to even
magnitude = _elementwise("fabs", 1)
copy_sign = _elementwise("copysign", 2)  # the magnitude of a with the sign of b


def _choose(condition: Any) -> Any:
    @intrinsic
    def choose(typingctx: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            return bld.select(condition(bld, a, args[0], args[1]), args[2], args[3])

        return yes(a, b, yes, no), codegen

    return choose


if_less = _choose(lambda bld, t, a, b: bld.fcmp_ordered("<", a, b))  # yes where a < b, else no: NaN takes no
if_equal = _choose(lambda bld, t, a, b: bld.fcmp_ordered("==", a, b))
# by the sign bit, which tells -0.0 from 0.0: relu's mask
if_negative = _choose(lambda bld, t, a, b: bld.icmp_signed("<", bld.bitcast(a, llvm_int(t)), constant_bits(t, 0)))


@intrinsic
def has_nan(typingctx: Any, v: Any) -> Any:
    """Whether a lane is NaN."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        lanes = bld.fcmp_unordered("uno", args[0], args[0])
        bits = bld.bitcast(lanes, ir.IntType(v.lanes))
        return bld.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(v), codegen


def by_precision(single: float, double: float) -> Any:
    """A constant that differs between float32 and float64: ``NAME(like)`` gives the one for the type of ``like``.

    ``NAME.values`` are both, for who computes the same elsewhere.
    """

    @intrinsic
    def named(typingctx: Any, like: Any) -> Any:
        value = single if scalar_of(like) == types.float32 else double
        return like(like), lambda context, bld, sig, args: constant(like, value)

    named.values = single, double
    return named


def polynomial(single: list[float], double: list[float]) -> Any:
    """c[0] + c[1] x + c[2] x**2 + ... by Horner's rule in fma, with the coefficients of the element type.

    ``NAME.values`` are those of both types.
    """

    @intrinsic
    def horner(typingctx: Any, x: Any) -> Any:
        coefficients = single if scalar_of(x) == types.float32 else double

        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            value = constant(x, coefficients[-1])
            for c in coefficients[-2::-1]:
                value = emit(bld, "fma", x, value, args[0], constant(x, c))
            return value

        return x(x), codegen

    horner.values = single, double
    return horner


def _fraction_bits_and_bias(t: Any) -> tuple[int, int]:
    """How many bits the exponent is shifted by, and what is added to it."""
    return (23, 127) if scalar_of(t) == types.float32 else (52, 1023)


def emit_power_of_two(bld: Any, t: Any, n: Any) -> Any:
    """2**n for integer-valued ``n`` in the range of normal numbers: n goes straight into the exponent's bits."""
    bits, bias = _fraction_bits_and_bias(t)
    k = bld.add(bld.fptosi(n, llvm_int(t)), constant_bits(t, bias))
    return bld.bitcast(bld.shl(k, constant_bits(t, bits)), llvm_type(t))


@intrinsic
def power_of_two(typingctx: Any, n: Any) -> Any:
    """2**n, as :func:`emit_power_of_two`."""
    return n(n), lambda context, bld, sig, args: emit_power_of_two(bld, n, args[0])


@intrinsic
def times_power_of_two(typingctx: Any, x: Any, n: Any) -> Any:
    """x * 2**n, rounded once, for x near 1 and integer-valued ``n`` from which the result may be 0 or infinite.

    AVX-512 has an instruction for it. Elsewhere 2**n is two factors: each is a normal number, and the second product
    rounds where the result is subnormal.
    """

    def factors(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        half = emit(bld, "rint", x, bld.fmul(args[1], constant(x, 0.5)))
        first, second = (emit_power_of_two(bld, x, k) for k in (half, bld.fsub(args[1], half)))
        return bld.fmul(bld.fmul(args[0], first), second)

    def instruction(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        t = VECTORS[x.dtype]
        ty, mask, i32 = llvm_type(t), ir.IntType(t.lanes), ir.IntType(32)
        name = f"llvm.x86.avx512.mask.scalef.{'ps' if t.dtype == types.float32 else 'pd'}.512"
        fn = cgutils.get_or_insert_function(bld.module, ir.FunctionType(ty, [ty, ty, ty, mask, i32]), name)
        rest = [constant(t, 0.0), ir.Constant(mask, -1), ir.Constant(i32, 4)]  # all lanes, rounded as everything is
        registers = zip(*(emit_parts(bld, v, t.lanes) for v in args), strict=True)
        parts = [bld.call(fn, [a, b, *rest]) for a, b in registers]
        while len(parts) > 1:
            parts = [emit_joined(bld, a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    return x(x, n), instruction if AVX512 and LANES32 == 16 and isinstance(x, Vector) else factors


@intrinsic
def round_half_power(typingctx: Any, x: Any, scale: Any) -> Any:
    """n = the integer nearest to ``x * scale``, and 2**(n - 1), a normal number.

    A sum with 1.5 * 2**23 (2**52 in float64) is rounded to an integer, whose last bits are those of n. With the
    exponent's bias added they only have to be shifted to where the exponent is.
    """
    bits, bias = _fraction_bits_and_bias(x)
    large = 1.5 * 2.0**bits + (bias - 1)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        total = emit(bld, "fma", x, args[0], args[1], constant(x, large))
        n = bld.fsub(total, constant(x, large))
        power = bld.bitcast(bld.shl(bld.bitcast(total, llvm_int(x)), constant_bits(x, bits)), llvm_type(x))
        return context.make_tuple(bld, sig.return_type, [n, power])

    return types.UniTuple(x, 2)(x, x), codegen


@intrinsic
def significand(typingctx: Any, x: Any) -> Any:
    """x / 2**exponent(x) of a positive normal number, in [1, 2)."""
    bits, bias = _fraction_bits_and_bias(x)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        fraction = bld.and_(bld.bitcast(args[0], llvm_int(x)), constant_bits(x, (1 << bits) - 1))
        return bld.bitcast(bld.or_(fraction, constant_bits(x, bias << bits)), llvm_type(x))

    return x(x), codegen


@intrinsic
def exponent(typingctx: Any, x: Any) -> Any:
    """floor(log2 x) of a positive normal number, as a float."""
    bits, bias = _fraction_bits_and_bias(x)

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        k = bld.lshr(bld.bitcast(args[0], llvm_int(x)), constant_bits(x, bits))
        return bld.sitofp(bld.sub(k, constant_bits(x, bias)), llvm_type(x))

    return x(x), codegen


@intrinsic
def guess_inverse_sqrt(typingctx: Any, x: Any) -> Any:
    """1 / sqrt(x) of a positive normal number, within 3.5 %: minus half its bits, which are nearly a logarithm.

    The constant that makes the error least is C. Lomont's ("Fast inverse square root", 2003) and, for float64,
    M. Robertson's (2012).
    """
    magic = 0x5F375A86 if scalar_of(x) == types.float32 else 0x5FE6EB50C7B537A9

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        half = bld.lshr(bld.bitcast(args[0], llvm_int(x)), constant_bits(x, 1))
        return bld.bitcast(bld.sub(constant_bits(x, magic), half), llvm_type(x))

    return x(x), codegen


@intrinsic
def uniform(typingctx: Any, first: Any, key: Any, like: Any) -> Any:
    """One random number in [0, 1) a lane, a multiple of 2**-24: a function of ``key`` and of ``first`` + lane alone.

    The 32-bit mixing function of C. Wellons' search for low bias ("lowbias32", 2018), applied twice, with half of the
    key before each.
    """
    t = VECTORS[scalar_of(like)]
    ints = ir.VectorType(ir.IntType(32), t.lanes)

    def every(value: int) -> Any:
        return ir.Constant(ints, [value] * t.lanes)

    def mixed(bld: Any, x: Any) -> Any:
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = bld.mul(bld.xor(x, bld.lshr(x, every(shift))), every(factor))
        return bld.xor(x, bld.lshr(x, every(16)))

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        def splat32(value: Any) -> Any:
            one = bld.insert_element(ir.Constant(ints, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            return bld.shuffle_vector(one, one, every(0))

        start, low, high = (bld.trunc(n, ir.IntType(32)) for n in (args[0], args[1], bld.lshr(args[1], int_const(32))))
        x = bld.add(splat32(start), ir.Constant(ints, list(range(t.lanes))))
        x = mixed(bld, bld.add(x, splat32(low)))
        x = mixed(bld, bld.xor(x, splat32(high)))
        value = bld.uitofp(bld.lshr(x, every(8)), llvm_type(t))
        return bld.fmul(value, constant(t, 2.0**-24))

    return t(types.int64, types.int64, like), codegen


def _operator(op: Any, emit_op: Any, arity: int) -> None:
    """Python's operator for vectors."""

    @infer_global(op)
    class _Template(ConcreteTemplate):
        cases = [signature(t, *[t] * arity) for t in (*VECTORS.values(), *PAIRS.values(), *GROUPS.values())]

    @lower_builtin(op, *[Vector] * arity)
    def lower(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        return emit_op(bld, *args)


_operator(operator.add, lambda bld, a, b: bld.fadd(a, b), 2)
_operator(operator.sub, lambda bld, a, b: bld.fsub(a, b), 2)
_operator(operator.mul, lambda bld, a, b: bld.fmul(a, b), 2)
_operator(operator.truediv, lambda bld, a, b: bld.fdiv(a, b), 2)
_operator(operator.neg, lambda bld, a: bld.fneg(a), 1)


# ---------------------------------------------------------------- subnormal numbers


FLUSH_TO_ZERO = 1 << 15  # of the register MXCSR: results that are subnormal become 0


def _mxcsr(bld: Any, name: str, pointer: Any) -> None:
    byte_pointer = pointer_type(ir.IntType(8))
    fn = cgutils.get_or_insert_function(
        bld.module, ir.FunctionType(ir.VoidType(), [byte_pointer]), f"llvm.x86.sse.{name}"
    )
    bld.call(fn, [bld.bitcast(pointer, byte_pointer)])


def _subnormals(flush: bool) -> Any:
    @intrinsic
    def change(typingctx: Any) -> Any:
        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            if not X86:
                return int_const(0)
            word, i32 = cgutils.alloca_once(bld, ir.IntType(32)), ir.IntType(32)
            _mxcsr(bld, "stmxcsr", word)
            before = bld.load(word)
            flag = ir.Constant(i32, FLUSH_TO_ZERO if flush else ~FLUSH_TO_ZERO & 0xFFFFFFFF)
            bld.store(bld.or_(before, flag) if flush else bld.and_(before, flag), word)
            _mxcsr(bld, "ldmxcsr", word)
            return bld.zext(before, INT)

        return types.int64(), codegen

    return change


# From now on this thread makes 0 of results that are subnormal, or no longer does. Both return what
# `restore_subnormals` wants. x86 processors take many times as long for them. Others do not: there nothing is changed.
flush_subnormals, keep_subnormals = _subnormals(True), _subnormals(False)


@intrinsic
def restore_subnormals(typingctx: Any, before: Any) -> Any:
    """Undo ``flush_subnormals`` or ``keep_subnormals``."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        if X86:
            word = cgutils.alloca_once(bld, ir.IntType(32))
            bld.store(bld.trunc(args[0], ir.IntType(32)), word)
            _mxcsr(bld, "ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


# ---------------------------------------------------------------- threads


@intrinsic
def compare_swap(typingctx: Any, address: Any, expected: Any, value: Any) -> Any:
    """Set the 64-bit word at ``address`` to ``value`` if it is ``expected``, and say whether it was."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        pointer = emit_pointer(bld, INT, args[0])
        return bld.extract_value(bld.cmpxchg(pointer, args[1], args[2], "acq_rel", "acquire"), 1)

    return types.boolean(types.intp, types.int64, types.int64), codegen


@intrinsic
def load_acquire(typingctx: Any, address: Any) -> Any:
    """Read the 64-bit word at ``address``; what its writer wrote before is seen after."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        return bld.load_atomic(emit_pointer(bld, INT, args[0]), "acquire", 8, typ=INT)

    return types.int64(types.intp), codegen


@intrinsic
def store_release(typingctx: Any, address: Any, value: Any) -> Any:
    """Set the 64-bit word at ``address``; who reads it sees what was written before."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        emit_store_release(bld, args[1], args[0])
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), codegen


@intrinsic
def pause(typingctx: Any) -> Any:
    """Tell the processor that this is a spin loop."""

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        if X86:
            fn = cgutils.get_or_insert_function(bld.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause")
            bld.call(fn, [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def sleep(typingctx: Any, microseconds: Any) -> Any:
    """Give the processor away for a while. The system then wakes the thread on a processor that is idle.

    Windows sleeps whole milliseconds; for less than one it lets other threads go first.
    """

    def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
        unit, name, result = (1, "usleep", ir.IntType(32)) if os.name == "posix" else (1000, "Sleep", ir.VoidType())
        fty = ir.FunctionType(result, [ir.IntType(32)])
        length = bld.trunc(bld.udiv(args[0], int_const(unit)), ir.IntType(32))
        bld.call(cgutils.get_or_insert_function(bld.module, fty, name), [length])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
