"""What holds for all tests: how many threads NumPy's own products take, what Keras computes with, what is skipped."""

import importlib.util
import os

import pytest

# Before NumPy is imported, here and in the processes that tests start. BLAS threads that wait spin: on two cores they
# double the processor time of the tests, and on many cores they take it from the engine's threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")  # what Keras computes with

# The examples in these files need what is no requirement of the tests.
NEEDED = {f"fastbackprop.interop.{name}": name for name in ("jax", "keras", "skl2onnx", "torch")}


def pytest_collection_modifyitems(items):
    missing = {name for name in NEEDED.values() if importlib.util.find_spec(name) is None}
    for item in items:
        library = NEEDED.get(item.name.rpartition(".")[0])
        if library in missing:
            item.add_marker(pytest.mark.skip(reason=f"needs {library}"))
