"""Memory that runs short: a MemoryError, nothing half written, and everything works when there is memory again."""

from __future__ import annotations

import sys

import pytest

from tests.processes import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space, and reads /proc")

LIMITED = """
import os, resource, sys
from pathlib import Path
import numpy as np
import fastbackprop as fb

rng = np.random.default_rng(0)
X, y = rng.standard_normal((300, 1000)).astype("f4"), rng.integers(0, 10, 300)
net = fb.Network((1000, 3000, 10), seed=0)  # 12 MB
start = net.params.copy()
path = Path(sys.argv[1]) / "net.safetensors"
net.save(path)
saved = path.read_bytes()
small = fb.Network((4, 5, 3), seed=0)  # compiled, imported, and threads started, before memory is short
small.fit(np.eye(4), [0, 1, 2, 0], epochs=2, optimizer="adam", checkpoint=path.with_name("small"))
fb.load(path.with_name("small"))
small.fit(np.eye(4), [0, 1, 2, 0], epochs=2, optimizer="lbfgs")
fb.Network((64, 128, 10), seed=0).fit(X[:, :64], y, epochs=20, batch_size=300)
path.with_name("small").unlink()

def short(room, use):
    # Whether memory was short for it with so many bytes more than now.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, unlimited[1]))
    try:
        use()
        return False
    except MemoryError:
        return True
    finally:
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
"""


USES = {
    "asking": ["net.forward(X)", "net.cost(X, y)", "net.gradients(X, y)", "net.trace(X, y)", "net.jacobian(X[:64])"],
    "training": [
        "net.fit(X, y, epochs=2, batch_size=100, optimizer='adam')",
        "net.fit(X.astype('f8'), y, epochs=2, batch_size=100, optimizer=fb.RMSprop(1e-5), threads=3)",
        "net.fit(X, y, epochs=2, optimizer='lbfgs')",
    ],
    "files and new networks": [
        "net.fit(X, y, epochs=1, optimizer='adam', checkpoint=path)",
        "net.save(path)",
        "fb.load(path)",
        "fb.Network(net.sizes, seed=0)",
    ],
}
MAPPED = {
    "MALLOC_MMAP_THRESHOLD_": "1000000"
}  # the C library gives memory back, or the next use finds that of the last


@pytest.mark.parametrize("uses", USES.values(), ids=USES)
def test_short_memory(uses, tmp_path):
    """Rooms from none to plenty: each either is enough, or a MemoryError that changes nothing.

    SciPy's L-BFGS takes some 40 vectors of 24 MB.
    """
    code = f"""
for use in [{", ".join(f"lambda: {use}" for use in uses)}]:
    answers = []
    use()  # what it needs is compiled before memory is short: LLVM ends the process then
    net.params = start
    path.write_bytes(saved)
    rooms = [100_000, *range(1_000_000, 12_000_000, 4_000_000), *range(12_000_000, 140_000_000, 16_000_000), 2 * 10**9]
    for room in rooms:
        net._plans.clear()  # what was allocated by an earlier call is not there
        net._small_forward.waiting.clear()
        net._small_gradients.waiting.clear()
        answers.append(short(room, use))
        if answers[-1]:
            assert np.array_equal(net.params, start), room
            assert path.read_bytes() == saved, room
            assert os.listdir(sys.argv[1]) == [path.name], room
        net.params = start
        path.write_bytes(saved)
    print("".join("x" if a else "." for a in answers))
"""
    out = python(LIMITED + code, tmp_path, FASTBACKPROP_NUM_THREADS="2", **MAPPED).splitlines()
    for use, line in zip(uses, out, strict=True):
        assert line.endswith("."), use
        assert "x" in line or "save" in use  # to save, a few kilobytes are enough


def test_memory_that_runs_short_between_two_epochs(tmp_path):
    """As by the doing of another thread: what was learned until then stays, as after Ctrl-C."""
    code = """
X, y = rng.standard_normal((1_000_000, 4)).astype("f4"), rng.integers(0, 3, 1_000_000)
unlimited = resource.getrlimit(resource.RLIMIT_AS)
def limit(record):
    if record["epoch"] == 2:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 1_000_000, unlimited[1]))
nets = [fb.Network((4, 5, 3), seed=0) for _ in range(2)]
nets[0].fit(X, y, epochs=2, batch_size=10_000, seed=0)
try:
    nets[1].fit(X, y, epochs=5, batch_size=10_000, seed=0, callbacks=[limit])
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, unlimited)
    print(np.array_equal(nets[0].params, nets[1].params))
print(short(10**8, lambda: fb.Network((100_000, 1000, 10), seed=0)))  # one beyond memory
print(small.forward(np.eye(4, dtype="f4")).shape)
"""
    assert python(LIMITED + code, tmp_path, **MAPPED).splitlines() == ["True", "True", "(4, 3)"]
