"""Machine code that Python calls and loads: its arguments, its lifetime, and what it is made with."""

from __future__ import annotations

import ast
import threading
from pathlib import Path

import numpy as np
import pytest

import fastbackprop
from fastbackprop.engine import numba_internals
from fastbackprop.engine.addresses import doubles_at
from fastbackprop.engine.entry import Entry
from tests.processes import python

PUBLIC = {"numba", "numba.extending"}


def made(arguments, function, **options):
    return Entry("of_a_test", arguments, lambda: function, keep=False, **options)


@pytest.mark.parametrize("releases_gil", [False, True])
def test_numbers_arrays_and_objects(releases_gil):
    def function(number, array, thing):
        values = doubles_at(array, 3)
        values[0] = number
        return thing

    values, thing = np.array([1.0, 2.0, 3.0])[1:], object()
    call = made("iao", function, releases_gil=releases_gil).call
    for number in (0, -1, 2**40, -(2**63), 2**63 - 1):
        assert call(number, values, thing) == id(thing)
        assert values.tolist() == [float(number), 3.0]
    assert call(2**64 - 5, values, thing) == id(thing)  # its lowest 64 bits
    assert values[0] == -5.0


def test_another_number_of_arguments_is_an_error():
    call = made("ii", lambda a, b: a + b).call
    assert call(2, 3) == 5
    for arguments in ((), (1,), (1, 2, 3)):
        with pytest.raises(TypeError):
            call(*arguments)
    with pytest.raises(TypeError):
        call(1, b=2)


def test_its_address_is_a_function_of_c():
    import ctypes

    entry = made("ii", lambda a, b: a * b)
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(entry.address)
    assert function(-6, 7) == entry.call(-6, 7) == -42


def test_functions_of_one_name_stay_apart():
    def adding(b):
        return lambda a: a + b

    entries = [made("i", adding(b)) for b in range(4)]
    assert [entry.call(10) for entry in entries] == [10, 11, 12, 13]


def test_threads_that_ask_at_once_all_get_it():
    entry, got = made("i", lambda a: a + 1), []
    threads = [threading.Thread(target=lambda: got.append(entry.call(1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [2] * 8


def test_a_kernel_is_not_for_python():
    from fastbackprop.engine.places import panel_count

    with pytest.raises(TypeError, match="for compiled code, not for Python"):
        panel_count(3, 1.0)


def test_where_all_is_on_the_disk_no_compiler_is_imported(tmp_path):
    code = """
import sys
import numpy as np
import fastbackprop as fb
net = fb.Network((3, 5, 2), seed=0)
X = np.ones((40, 3))
net.fit(X, np.arange(40) % 2, epochs=2, batch_size=8, optimizer=fb.Adam(), seed=0)
net.forward(X), net.forward(X[:1]), net.gradients(X[:4].astype("f4"), [0, 1, 0, 1])
print(net.params.tobytes().hex(), "numba" in sys.modules)
"""
    first, compiled = python(code, NUMBA_CACHE_DIR=str(tmp_path)).split()
    again, imported = python(code, NUMBA_CACHE_DIR=str(tmp_path)).split()
    assert again == first
    assert (compiled, imported) == ("True", "False")


def test_what_numba_does_not_promise_is_imported_in_one_file():
    """With a list, for whoever tries a new version."""
    root = Path(fastbackprop.__file__).parent
    names = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                if module.split(".")[0] == "numba" and module not in PUBLIC:
                    assert path.name == "numba_internals.py", (path, module)
                    names |= {alias.name for alias in node.names}
    assert sorted(names) == sorted(numba_internals.__all__) == [
        "CodeLibrary", "CompilerBase", "ConcreteTemplate", "DUFunc", "DefaultPassBuilder", "GUFunc", "GenericRewrites",
        "InlineClosureLikes", "InlineOverloads", "NativeLowering", "NopythonRewrites", "cgutils", "cpu_target",
        "global_compiler_lock", "infer_global", "make_array", "populate_array", "register_pass", "signature",
    ]  # fmt: skip
