"""The engine's LLVM IR has no typed pointers, which llvmlite deprecates and makes where `as_pointer` is called."""

import ast
from pathlib import Path

import pytest
from llvmlite import binding, ir
from numba import types

from fastbackprop.engine import pointers, simd

ENGINE = sorted(Path(pointers.__file__).parent.rglob("*.py"))
I64 = ir.IntType(64)


@pytest.mark.parametrize("name", ["as_pointer", "PointerType", "pointee"])
def test_one_file_alone_knows_of_typed_pointers(name):
    assert len(ENGINE) > 20
    users = [
        path.name
        for path in ENGINE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if name in (getattr(node, "attr", None), getattr(node, "id", None))
    ]
    assert users in ([], ["pointers.py"])


def a_function():
    """One of two integers, and a builder in it."""
    module = ir.Module()
    module.triple = binding.get_default_triple()
    function = ir.Function(module, ir.FunctionType(I64, [I64, I64]), "f")
    return module, ir.IRBuilder(function.append_basic_block("entry")), function.args


def test_what_is_loaded_moved_called_and_stored_is_said_at_its_place(monkeypatch):
    """LLVM reads it, and no typed pointer was asked for."""
    if not pointers._OPAQUE:
        pytest.skip("llvmlite 0.44 has nothing but typed pointers")
    typed = ir.Type.as_pointer
    monkeypatch.delattr(ir.Type, "as_pointer")
    monkeypatch.setattr(ir.FunctionType, "as_pointer", typed, raising=False)  # llvmlite's own use, of named functions
    module, bld, (address, n) = a_function()
    for element in (types.float32, types.float64):
        vector = simd.VECTORS[element]
        pointer, mask = simd.pointer_to(bld, element, address), simd.emit_first(bld, vector, n)
        simd.emit_store(bld, element, simd.emit_load(bld, element, pointer), pointer, n)
        simd.emit_store(bld, vector, simd.emit_load(bld, vector, pointer, n), pointer)
        simd.emit_masked_store(bld, vector, simd.emit_masked_load(bld, vector, pointer, mask), pointer, mask)
        simd.emit_prefetch(bld, pointer, 0, 3)
    pointers.emit_store_release(bld, n, address)
    word = pointers.emit_load_at(bld, I64, address)
    bld.ret(pointers.emit_call_at(bld, n, address, word))
    text = str(binding.parse_assembly(str(module)))
    assert "store atomic i64 %.2, ptr" in text
    assert "call i64 %" in text
    assert "*" not in text.replace("; ModuleID", "")
