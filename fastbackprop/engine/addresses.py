"""What lies at an address, to compiled code: vectors, the table of layers, functions."""

from __future__ import annotations

from typing import Any

from numba import from_dtype, types
from numba.extending import intrinsic

from fastbackprop.engine import layout as at
from fastbackprop.engine.numba_internals import cgutils, make_array, populate_array
from fastbackprop.engine.pointers import emit_call_at, emit_pointer
from fastbackprop.engine.simd import int_const


@intrinsic
def call_operation(typingctx: Any, function: Any, job: Any, record: Any) -> Any:
    """Call the operation at an address, with the addresses of the job and of its record."""
    return types.int64(types.intp, types.intp, types.intp), lambda context, bld, sig, args: emit_call_at(bld, *args)


@intrinsic
def call_pass(typingctx: Any, function: Any, z: Any, slopes: Any, rows: Any) -> Any:
    """Call the activation's pass at an address."""
    return types.int64(*[types.intp] * 4), lambda context, bld, sig, args: emit_call_at(bld, *args)


def _emit_array(context: Any, bld: Any, array_type: Any, address: Any, shape: list[Any]) -> Any:
    """An array of Numba's in C order on memory that somebody else keeps."""
    array = make_array(array_type)(context, bld)
    element = context.get_data_type(array_type.dtype)
    size = context.get_abi_sizeof(element)
    strides = [int_const(size)]
    for length in shape[:0:-1]:
        strides.insert(0, bld.mul(strides[0], length))
    populate_array(
        array, emit_pointer(bld, element, address), cgutils.pack_array(bld, shape),
        cgutils.pack_array(bld, strides), int_const(size), None,
    )  # fmt: skip
    return array._getvalue()


def _vector_at(element: Any) -> Any:
    """What makes a vector of elements of the memory at an address, of a length."""
    array = types.Array(element, 1, "C")

    @intrinsic
    def vector_at(typingctx: Any, address: Any, count: Any) -> Any:
        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            return _emit_array(context, bld, array, args[0], [args[1]])

        return array(types.intp, types.intp), codegen

    return vector_at


def _record_at(dtype: Any) -> Any:
    """What makes a record of the memory at an address."""
    record = from_dtype(dtype)

    @intrinsic
    def record_at(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, bld: Any, sig: Any, args: Any) -> Any:
            return bld.inttoptr(args[0], context.get_value_type(record))

        return record(types.intp), codegen

    return record_at


job_at, program_at, phase_at, task_at, operation_at = map(
    _record_at, (at.JOB, at.PROGRAM, at.PHASE, at.TASK, at.OPERATION)
)  # fmt: skip
words_at, doubles_at, layers_at = map(_vector_at, (types.int64, types.float64, from_dtype(at.LAYER)))
