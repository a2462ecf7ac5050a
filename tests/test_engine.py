"""What the engine promises to the rest: nothing compiled at import, caches that are never stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import threads
from fastbackprop.engine.tile import peak

ROOT = Path(__file__).parent.parent


def python(code, **environment):
    """Run code in a new process and return what it prints."""
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert out.returncode == 0, out.stderr
    return out.stdout.strip()


def test_importing_compiles_nothing():
    code = """
import sys
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(e.data)
    def on_end(self, e): pass
event.register("numba:compile", Listener())
before = set(sys.modules)
import fastbackprop
from fastbackprop import functional, paper, reference
new = set(sys.modules) - before
print(len(compiled), sorted(new & {"sklearn", "matplotlib", "scipy", "click", "tqdm", "torch"}))
"""
    assert python(code) == "0 []"


def test_required_dependencies_are_enough():
    """Everything but the extras works where only numpy and numba are installed."""
    code = """
import sys
for name in ("sklearn", "matplotlib", "scipy", "click", "tqdm", "safetensors", "pandas", "torch", "jax"):
    sys.modules[name] = None
import numpy as np, fastbackprop as fb
net = fb.Network((2, 4, 2), seed=0)
net.fit(np.eye(2), [0, 1], epochs=2)
for use in (lambda: net.save("x"), lambda: fb.load("x"), lambda: net.fit(np.eye(2), [0, 1], epochs=1, progress=True)):
    try:
        use()
    except ImportError as error:
        print(str(error)[-40:])
"""
    assert [line[line.index("pip") :] for line in python(code).splitlines()] == [
        "pip install 'fastbackprop[io]'", "pip install 'fastbackprop[io]'", "pip install 'fastbackprop[cli]'",
    ]  # fmt: skip


def test_a_wrong_width_is_refused():
    code = "import fastbackprop"
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"FASTBACKPROP_LANES": "5"},
        capture_output=True,
        text=True,
    )
    assert "FASTBACKPROP_LANES must be 4, 8 or 16, got '5'" in out.stderr


def test_threads_follow_the_environment(monkeypatch):
    for name in ("FASTBACKPROP_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = threads.available()
    assert cores >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.available() == 1
    monkeypatch.setenv("FASTBACKPROP_NUM_THREADS", "3")
    assert threads.available() == 3


def test_the_peak_is_a_rate():
    single, double = peak("float32", 0.05), peak("float64", 0.05)
    assert single > double > 0.1


LARGE_JOB = """
import atexit, concurrent.futures, sys, numpy as np, fastbackprop as fb
from fastbackprop import threads
rng = np.random.default_rng(0)
X, y = rng.standard_normal((20000, 64)).astype("f4"), rng.integers(0, 10, 20000)
def train(count, **options):
    net = fb.Network((64, 128, 10), seed=0, threads=count)
    net.fit(X, y, epochs=1, batch_size=2000, seed=0, **options)
    return net.params.tobytes()
expected = train(1)
"""


def test_a_thread_that_cannot_start_is_not_missed():
    """As at a limit of processes: submit has queued the work when it fails."""
    code = (
        LARGE_JOB
        + """
import threading
def start(self): raise RuntimeError("can't start new thread")
threading.Thread.start = start
print(train(4) == expected)
"""
    )
    assert python(code) == "True"


def test_work_at_the_end_of_the_interpreter():
    assert python(LARGE_JOB + "atexit.register(lambda: print(train(2) == expected))") == "True"


def test_an_interrupt_while_threads_are_woken_leaves_no_work_behind():
    code = (
        LARGE_JOB
        + """
import time
submit = concurrent.futures.ThreadPoolExecutor.submit
def interrupted(*args):
    submit(*args)
    raise KeyboardInterrupt
concurrent.futures.ThreadPoolExecutor.submit = interrupted
net = fb.Network((64, 128, 10), seed=0, threads=3)
for _ in range(20):
    try:
        net.fit(X, y, epochs=100, batch_size=2000)
    except KeyboardInterrupt:
        kept = net.params.copy()
    time.sleep(0.01)
    assert np.array_equal(kept, net.params)
print(np.isfinite(net.params).all())
"""
    )
    assert python(code) == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_work():
    """After threads have been used: the child starts its own."""
    code = """
import os, numpy as np, fastbackprop as fb
rng = np.random.default_rng(0)
X, y = rng.standard_normal((4000, 64)).astype("f4"), rng.integers(0, 10, 4000)
def train():
    net = fb.Network((64, 128, 10), seed=0)
    net.fit(X, y, epochs=2, batch_size=128, seed=0, threads=2)
    return net.params.tobytes()
expected = train()
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if train() == expected else 1)
    print(os.waitpid(child, 0)[1])
"""
    assert python(code).split() == ["0", "0", "0"]


@pytest.mark.slow
def test_a_change_anywhere_in_the_engine_is_compiled_anew(tmp_path):
    """Numba's cache looks at one file; the key of ours holds a digest of all."""
    shutil.copytree(ROOT / "fastbackprop", tmp_path / "fastbackprop")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import fastbackprop as fb
assert fb.__file__.startswith({str(tmp_path)!r})
net = fb.Network((1, 1, 1), "leaky_relu", "identity")
net.params = [1, 0, 1, 0]
print(net.forward([[-1.0]])[0, 0])
"""
    cache = str(tmp_path / "cache")
    run = {"cwd": tmp_path, "env": os.environ | {"NUMBA_CACHE_DIR": cache}, "capture_output": True, "text": True}
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, **run).stdout.strip() == "-0.01"
    files = sorted(Path(cache).rglob("*.nbc"))
    assert files
    assert subprocess.run(command, **run).stdout.strip() == "-0.01"
    assert sorted(Path(cache).rglob("*.nbc")) == files  # taken from the cache
    path = tmp_path / "fastbackprop" / "engine" / "activations.py"
    path.write_text(path.read_text().replace("LEAK = 0.01", "LEAK = 0.25"))
    assert subprocess.run(command, **run).stdout.strip() == "-0.25"


@pytest.mark.parametrize("places", ["no directory is writable", "the chosen one is not"])
def test_without_a_cache_nothing_fails(places, tmp_path):
    """A small function shows it without the time of compiling the engine."""
    code = """
import numpy as np
from fastbackprop.engine.shuffle import shuffle
order = np.zeros(3, np.int64)
shuffle(order, 1, 1)
print(sorted(order.tolist()))
"""
    if places == "no directory is writable":
        code = "from numba.core.caching import CacheImpl\nCacheImpl._locator_classes = []\n" + code
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    assert python(code, NUMBA_CACHE_DIR=str(blocked)) == "[0, 1, 2]"


def test_arrays_need_not_be_aligned():
    X = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    odd = np.zeros(X.nbytes + 4, np.uint8)[4:].view(np.float32).reshape(X.shape)
    odd[...] = X
    net = fb.Network((7, 5, 3), seed=0)
    assert np.array_equal(net.forward(odd), net.forward(X))
