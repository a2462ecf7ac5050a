"""What is compiled and when: each operation when it is first named, or all of them ahead; a word if it takes long."""

from __future__ import annotations

import pytest

import fastbackprop as fb
from fastbackprop.engine import operations, telling
from tests.processes import python

COMPILED = """
import sys
import numpy as np
import fastbackprop as fb
from numba.core import event
class Listener(event.Listener):
    count = 0
    def on_start(self, event):
        self.count += 1
    def on_end(self, event):
        pass
listener = Listener()
event.register("numba:compile", listener)
def operations():
    from fastbackprop.engine import cache
    return {path.name.split(".float")[0] for path in cache.directory().glob("*.*.float32.*")}
"""


def test_a_forward_pass_compiles_no_trainer(tmp_path):
    code = """
net = fb.Network((3, 5, 2), seed=0)
net.forward(np.ones((1, 3), np.float32))
print(sorted(operations()))
"""
    named = python(COMPILED + code, NUMBA_CACHE_DIR=str(tmp_path))
    expected = ["forward.forward_layer", "gather.check_inputs", "gather.gather_inputs"]
    expected += ["head.output_layer_softmax_alone", "product.forward"]
    assert named == str(expected)


@pytest.mark.slow
def test_all_of_it_ahead(tmp_path):
    """Another process then compiles nothing, whatever it does."""
    ahead = "print(fb.compile(['float32']) > 60)"
    assert python(COMPILED + ahead, NUMBA_CACHE_DIR=str(tmp_path)) == "True"
    use = """
X, y = np.random.default_rng(0).standard_normal((3000, 70)), np.arange(3000) % 3
for hidden, optimizer, batch, more in [
    ("relu", fb.Adam(), 32, {}), ("tanh", fb.SGD(0.1), 1000, {"dropout": 0.5, "sample_weight": y + 1.0}),
    ("gelu", fb.RMSprop(clip_norm=1.0), 64, {"l1": 0.1, "l2": 0.1}), ("elu", fb.SGD(0.1, momentum=0.9), 3000, {}),
]:
    net = fb.Network((70, 96, 3), hidden, seed=0)
    net.fit(X, y, epochs=2, batch_size=batch, optimizer=optimizer, threads=2, **more)
    net.forward(X), net.cost(X, y), net.gradients(X.astype("f4"), y), net.jacobian(X[:2]), net.trace(X[:9], y[:9])
print(listener.count)
"""
    assert python(COMPILED + use, NUMBA_CACHE_DIR=str(tmp_path)) == "0"


def test_a_person_is_told_once_and_only_after_a_while(monkeypatch):
    said = []
    monkeypatch.setattr(telling, "say", said.append)
    monkeypatch.setattr(telling, "_seconds", 0.0)
    for seconds in (0.4, 0.5, 0.4, 3.0, 2.0):
        telling.compiled(seconds)
        assert len(said) == (telling._seconds >= telling.PATIENCE)
    assert said == [telling.WORDS]


def test_without_a_terminal_it_goes_to_the_log(monkeypatch, capsys, caplog):
    monkeypatch.setattr(telling, "_seconds", 0.0)
    with caplog.at_level("INFO", logger="fastbackprop"):
        telling.compiled(2.0)
    assert caplog.messages == [telling.WORDS]
    assert capsys.readouterr() == ("", "")


def test_names_of_operations_are_those_of_their_files():
    names = operations.all_of_them()
    assert len(names) > 50
    for name in names:
        operation = operations.OPERATIONS[name]
        assert operation.__doc__
        assert operation.function.__module__.endswith(f".ops.{name.partition('.')[0]}")


def test_nothing_to_compile():
    steps = []
    assert fb.compile([], progress=lambda done, of: steps.append((done, of))) == 0
    assert steps == []
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'"):
        fb.compile(["float16"])


def test_what_is_loaded_meets_nothing_else_by_its_name():
    """Of functions that bear one name the linker keeps the first: none but the entry itself can be seen."""
    code = """
import llvmlite.binding as llvm
from fastbackprop.engine import compiler, entries, jit, machine_code
seen = []
object_code = machine_code.object_code
def look(module, exported):
    code = object_code(module, exported)
    seen.append(sorted(f.name for f in module.functions if not f.is_declaration and f.linkage != llvm.Linkage.internal))
    return code
machine_code.object_code = look
compiler._refusal_address()
seen.clear()
entries.shuffle._compiled("name")
entries.run._compiled("another")
print(seen)
"""
    assert python(code) == str([["name", "name.call"], ["another", "another.call"]])


@pytest.mark.slow
def test_what_several_processes_have_compiled_is_used_together(tmp_path):
    """Activations and optimizers are made of one text each."""
    use = """
import sys
import numpy as np
import fastbackprop as fb
from fastbackprop import reference
X, y = np.random.default_rng(0).standard_normal((40, 3)).astype("f4"), np.arange(40) % 2
for name in sys.argv[1].split():
    net = fb.Network((3, 8, 2), name, seed=0)
    Z = X @ net.weights[0].T + net.biases[0]
    Z = reference.ACTIVATIONS[name][0](Z.astype("f8")) @ net.weights[1].T + net.biases[1]
    o = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
    print(bool(np.allclose(net.forward(X), o, atol=1e-5)))
for name in sys.argv[2].split():
    net = fb.Network((3, 8, 2), seed=0)
    net.fit(X, y, epochs=1, optimizer=eval("fb." + name), seed=0)
    print(hash(net.params.tobytes()) % 1000003)
"""
    names, optimizers = ("gelu", "silu", "tanh"), ("Adam(0.01)", "SGD(0.01,momentum=0.9)", "RMSprop(0.01)")
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONHASHSEED": "0"}
    alone = [python(use, *pair, **environment).split() for pair in zip(names, optimizers)]
    assert [first for first, _ in alone] == ["True"] * 3
    together = python(use, " ".join(names), " ".join(optimizers), **environment).split()
    assert together == ["True"] * 3 + [second for _, second in alone]
