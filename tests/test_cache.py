"""Compiled code on disk: never stale, never damaged, and nothing fails where it cannot be written.

The cache of a function does not know what the function does, so most of these use the smallest, which compiles in a
second.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastbackprop.engine import cache
from tests.processes import ROOT, python

SHUFFLE = """
import sys, warnings
import numpy as np
from fastbackprop.engine import entries
from fastbackprop.engine.entry import Entry
order = np.zeros(5, np.int64)
def use(shuffle):
    # The result, and whether it came from the disk.
    shuffle.call(order, 5, 1, 1)
    return order.tolist(), not shuffle.was_compiled
def anew():
    # As in a new process.
    return Entry("shuffle", "aiii", entries.shuffle._source)
"""
EXPECTED = [4, 2, 1, 3, 0]


def _put_in(parent, monkeypatch):
    path = parent / "fastbackprop-0123456789abcdef"
    monkeypatch.setattr(cache, "_directories", lambda: [path])
    monkeypatch.setattr(cache, "directory", lambda: path)


def test_damaged_files_are_compiled_anew(tmp_path):
    """One process sees them all: a new entry reads the directory as a new process would."""
    code = """
from pathlib import Path
def again():
    return use(anew())
print(again(), again())
[path] = Path(sys.argv[1]).rglob("*.nbc")
whole = path.read_bytes()
rng = np.random.default_rng(0)
flipped = bytearray(whole)
flipped[len(whole) // 2] ^= 1
code = bytearray(whole)
code[-2000:] = bytes(2000)
damages = [b"", whole[:10], whole[: len(whole) // 2], whole[:-1], whole + b"x", bytes(flipped), bytes(code),
           rng.bytes(len(whole)), rng.bytes(20), b"\\x80\\x05."]
for damage in damages:
    path.write_bytes(damage)
    print(again(), again())  # compiled, then read: the file is whole again
path.unlink()
path.mkdir()
print(again(), again())
"""
    out = python(SHUFFLE + code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert out[:-1] == [f"({EXPECTED}, False) ({EXPECTED}, True)"] * 11
    assert out[-1] == f"({EXPECTED}, False) ({EXPECTED}, False)"  # no file can be there


AGAIN = """
import os, stat
from pathlib import Path
def again():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = use(anew())
    return result, [str(w.message) for w in caught]
def only_file():
    [path] = Path(sys.argv[1]).rglob("*.nbc")
    return path
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_only_we_may_read_or_write_what_we_make(tmp_path):
    code = """
os.umask(0)
again()
for path in (only_file(), only_file().parent):
    print(oct(stat.S_IMODE(path.stat().st_mode)))
"""
    assert python(SHUFFLE + AGAIN + code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path)).split() == ["0o600", "0o700"]


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_what_others_may_have_written_is_not_run(tmp_path):
    """A file that is whole; then a directory, into which nothing is written."""
    code = """
others = "others may write to it"
changes = [(lambda path: os.chmod(path, 0o620), others), (lambda path: os.chmod(path, 0o602), others)]
if os.geteuid() == 0:  # may give a file away
    changes.append((lambda path: os.chown(path, 4321, -1), "it belongs to another user"))
for change, why in changes:
    again()
    path = only_file()
    change(path)
    print(again(), again())
    path = path.parent
    os.chmod(path, 0o755)  # that others may read does no harm
    print(again())
    change(path)
    before = only_file().stat().st_mtime_ns
    for _ in range(2):
        result, [warning] = again()
        print(result, warning.startswith(f"the compiled engine could not be written to {path} "), why in warning)
    print(before == only_file().stat().st_mtime_ns)
    only_file().unlink()
    path.rmdir()
"""
    compiled, loaded = f"({EXPECTED}, False)", f"({EXPECTED}, True)"
    expected = [
        f"({compiled}, []) ({loaded}, [])",
        f"({loaded}, [])",
        *[f"{compiled} True True"] * 2,
        "True",
    ]
    out = python(SHUFFLE + AGAIN + code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert out == expected * (3 if os.geteuid() == 0 else 2)


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_files_of_root_may_be_loaded_by_others(tmp_path, monkeypatch):
    """As where root has installed the package, and has run it once."""
    _put_in(tmp_path, monkeypatch)
    file = cache.File("name")
    file.save(b"code")
    for path in tmp_path.rglob("*"):
        path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert file.load() == b"code"
    os.chown(cache.directory(), 1234, -1)
    assert file.load() is None


def test_what_was_compiled_where_the_package_lies_is_used_by_who_may_not_write_there(tmp_path, monkeypatch):
    """Else it is kept at home."""
    package, home = tmp_path / "package" / "state", tmp_path / "home" / "state"
    monkeypatch.setattr(cache, "_directories", lambda: [package, home])
    for path in (package, home):
        monkeypatch.setattr(cache, "directory", lambda path=path: path)
        path.parent.mkdir()
        cache.File(path.parent.name).save(b"code")
        assert cache.File(path.parent.name).load() == b"code"
    assert [path.parent.parent.name for path in sorted(tmp_path.rglob("*.nbc"))] == ["home", "package"]


@pytest.mark.skipif(os.name != "posix", reason="makes pipes and links")
def test_what_is_no_file_of_ours_counts_as_missing(tmp_path):
    """Nothing waits for another end of a pipe."""
    code = """
import hashlib
def huge(path):
    with open(path, "wb") as file:
        file.truncate(1 << 40)
again()
path = only_file()
whole = path.read_bytes()
elsewhere = Path(sys.argv[1]) / "elsewhere"
elsewhere.write_bytes(whole)
for put in (
    os.mkfifo,
    lambda path: path.symlink_to(path),
    lambda path: path.symlink_to(elsewhere),
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to("nothing"),
    huge,
    lambda path: path.write_bytes(hashlib.sha256(b"no machine code").digest() + b"no machine code"),
):
    path.unlink()
    put(path)
    print(again(), again(), path.is_symlink())
print(elsewhere.read_bytes() == whole)
path.unlink()
path.parent.rmdir()
path.parent.symlink_to(path.parent)
(result, warning) = again()
print(result, len(warning))
"""
    out = python(SHUFFLE + AGAIN + code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert out[:-2] == [f"(({EXPECTED}, False), []) (({EXPECTED}, True), []) False"] * 7
    assert out[-2:] == ["True", f"({EXPECTED}, False) 1"]


def test_files_of_other_states_of_the_engine_go_after_a_month_without_use(tmp_path, monkeypatch):
    def state(digit, days, *names):
        directory = tmp_path / f"fastbackprop-{digit * 16}"
        directory.mkdir()
        for name in names:
            (directory / name).write_text("")
        os.utime(directory, (time.time() - days * 86400,) * 2)
        return directory

    old = state("0", 31, "a.nbc", "b.nbc.12.tmp")
    kept = [state("1", 29, "a.nbc"), state("2", 31, "a.nbc", "of the user"), state("g", 31, "a.nbc")]
    _put_in(tmp_path, monkeypatch)
    file = cache.File("name")
    file.save(b"1")
    assert not old.exists()
    assert all(directory.exists() for directory in kept)
    assert (kept[1] / "of the user").exists()
    os.utime(cache.directory(), (0, 0))
    assert file.load() == b"1"
    assert time.time() - cache.directory().stat().st_mtime < 86400  # it has been used
    left = cache.directory() / "name.nbc.12.tmp"
    left.write_text("")
    os.utime(left, (0, 0))
    file.save(b"2")
    assert file.load() == b"2"
    assert not left.exists()


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_full_directory_is_a_warning(tmp_path):
    """The limit of the size of files stops a write in the middle, as a full disk does."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(use(entries.shuffle))
print([str(w.message) for w in caught])
"""
    first, second = python(SHUFFLE + code, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert first == f"({EXPECTED}, False)"
    assert second.count("the compiled engine could not be written to") == 1
    assert "(File too large)" in second
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.skipif(sys.platform != "linux", reason="gives up root's privileges as Linux has them")
@pytest.mark.parametrize("when", ["before the import", "after it"])
def test_a_read_only_directory(when, tmp_path):
    code = """
import ctypes, os, sys
def lock():
    # Even for root, who may write anywhere until it gives up its capabilities.
    for directory, _, _ in os.walk(sys.argv[1]):
        os.chmod(directory, 0o555)
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, nothing) == 0
    assert not os.access(sys.argv[1], os.W_OK)
"""
    then = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(use(entries.shuffle))
print(*[w.message for w in caught])
"""
    lock = "lock()\n"
    code += (lock + SHUFFLE if when == "before the import" else SHUFFLE + lock) + then
    directory = tmp_path / "cache"
    directory.mkdir()
    out = python(code, directory, NUMBA_CACHE_DIR=str(directory)).splitlines()
    assert out[0] == f"({EXPECTED}, False)"
    assert out[1].startswith(f"the compiled engine could not be written to {directory}")
    assert "(Permission denied)" in out[1]
    assert not [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("places", ["no directory is writable", "the chosen one is not"])
def test_without_a_cache_nothing_fails(places, tmp_path):
    code = SHUFFLE + "print(use(entries.shuffle))"
    if places == "no directory is writable":
        directories = f"[Path({str(tmp_path / 'file' / 'none')!r})]"
        imports = "from pathlib import Path\nfrom fastbackprop.engine import cache\n"
        code = f"{imports}cache._directories = lambda: {directories}\n{code}"
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    assert python(code, NUMBA_CACHE_DIR=str(blocked)).startswith(f"({EXPECTED}, ")


def test_several_processes_may_fill_the_cache_at_once(tmp_path):
    command = [sys.executable, "-c", SHUFFLE + "print(use(entries.shuffle)[0])"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in processes] == [str(EXPECTED)] * 2
    assert python(SHUFFLE + "print(use(entries.shuffle))", NUMBA_CACHE_DIR=str(tmp_path)).endswith("True)")
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".nbc"]


def test_the_key_holds_every_file_of_the_engine(tmp_path):
    """And the version of the package."""
    package = shutil.copytree(
        ROOT / "fastbackprop", tmp_path / "fastbackprop", ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "engine" / "inner").mkdir()
    one_process = """
from pathlib import Path
from fastbackprop.engine import cache
from fastbackprop.engine.cache import source_hash
engine = Path(entries.__file__).parent
def from_disk():
    for function in (source_hash, cache._directories, cache.directory):
        function.cache_clear()  # as in a new process
    return use(anew())[1]
def change(name):
    with open(engine / name, "a") as file:
        file.write("# changed")
print(from_disk(), from_disk())
for name in ("tile.py", "layout.py", "inner/new.py"):
    change(name)
    print(from_disk(), from_disk())
(engine / "inner/new.py").rename(engine / "inner/moved.py")  # the same content elsewhere
print(from_disk(), from_disk())
(engine / "tile.py").touch()
(engine.parent / "network.py").touch()
print(from_disk(), from_disk())  # what is older and newer does not count, nor what is outside the engine
"""
    search = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def lines(code):
        command = [sys.executable, "-c", SHUFFLE + code]
        run = {"cwd": tmp_path, "env": os.environ | search, "capture_output": True, "text": True, "check": True}
        return subprocess.run(command, **run).stdout.splitlines()

    assert lines(one_process) == ["False True"] * 5 + ["True True"]
    (package / "version.py").write_text('__version__ = "9.9"\n')
    assert lines("print(use(entries.shuffle)[1])") == ["False"]


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
    path = tmp_path / "fastbackprop" / "activations.py"
    path.write_text(path.read_text().replace("LEAK = 0.01", "LEAK = 0.25"))
    assert subprocess.run(command, **run).stdout.strip() == "-0.25"


def test_without_a_compiler_the_error_says_so():
    """NUMBA_DISABLE_JIT=1: kernels made of machine instructions have no meaning as Python."""
    code = """
import numpy as np, fastbackprop as fb, fastbackprop.functional, fastbackprop.paper
net = fb.Network((4, 5, 3), seed=0)
before = net.params.copy()
for use in (
    lambda: fb.Network((4, 5, 3), seed=0).forward(np.eye(4)),
    lambda: net.fit(np.eye(4), [0, 1, 2, 0]),
    lambda: fb.functional.gelu(1.0),
    lambda: fb.functional.softmax([1.0, 2.0]),
    lambda: fb.paper.relu(np.eye(2)),
):
    try:
        use()
    except RuntimeError as error:
        print(error, np.array_equal(net.params, before))
from fastbackprop import reference
assert reference.relu(np.array([-1.0, 2.0])).tolist() == [0.0, 2.0]
"""
    said = (
        "NUMBA_DISABLE_JIT is set, but fastbackprop's engine exists as machine code only: unset it, or use "
        "fastbackprop.reference, which is plain NumPy True"
    )
    assert python(code, NUMBA_DISABLE_JIT="1").splitlines() == [said] * 5


@pytest.mark.slow
def test_references_to_arrays_are_not_counted(tmp_path):
    """Each would be a locked operation: a quarter of a small step. The option that says so is one of Numba's own."""
    code = """
from fastbackprop.engine import entries
code = entries.run._compiled("symbol")
print(b"symbol" in code, b"PyEval_SaveThread" in code, b"NRT_" in code)
"""
    assert python(code).split() == ["True", "True", "False"]


HOSTILE = """
import importlib, pkgutil
import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher
from fastbackprop import engine, functional as F, paper
from fastbackprop.engine import elementary, heads

@njit(fastmath=True, boundscheck=True, forceinline=True, error_model="python", debug=True)
def hostile(z, Z, y, out, losses):
    F.softmax(Z, out)
    F.categorical_cross_entropy(Z, Z, losses)
    a = F.gelu(z) + F.d_silu(z) + elementary.log(z) + elementary.exp(z) + paper._relu_eps(z, z)
    return a + heads.binary_cross_entropy(z, z, z, y) + F.softplus(z)

for dtype in ("float32", "float64"):
    z, Z = np.dtype(dtype).type(0.75), np.ones(3, dtype)
    hostile(z, Z, z, Z.copy(), Z[:1].copy())
modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(engine.__path__, "fastbackprop.engine.")]
dispatchers = {f for m in modules for f in vars(m).values() if isinstance(f, Dispatcher)}
functions = [f for m in (F, paper) for f in vars(m).values() if isinstance(f, (F.Elementwise, F.Generalized))]
closures = [f._dispatcher.py_func.__closure__ or () for f in functions]
dispatchers |= {c.cell_contents for cells in closures for c in cells if isinstance(c.cell_contents, Dispatcher)}
assert len(dispatchers) > 60, len(dispatchers)
for f in dispatchers:  # also those that nobody has called yet
    options = f.targetoptions
    said = {name: options.get(name) for name in ("fastmath", "boundscheck", "debug", "_nrt", "error_model")}
    assert said == {"fastmath": False, "boundscheck": False, "debug": False, "_nrt": False, "error_model": "numpy"}, f
    assert "forceinline" in options, f
dispatchers |= {f._dispatcher for f in functions}
compiled = [c for f in dispatchers for c in f.overloads.values()] + list(F.softmax.gufunc_builder._cres.values())
assert len(compiled) > 40, len(compiled)
for c in compiled:
    text = c.library.get_llvm_str()
    assert "define" in text
    assert not [word for word in (" fast ", " nnan ", " reassoc ", " contract ") if word in text], c.fndesc
text = "".join(c.library.get_llvm_str() for c in hostile.overloads.values())
assert " fast " in text  # where it is, it would be seen
Z = np.random.default_rng(0).standard_normal((40, 11)) * 9
names = [n for n in F.__all__ if n not in ("delta", "l2_loss", "softmax_jacobian_product")]
for dtype in ("float32", "float64"):
    X = Z.astype(dtype)
    for n in names:
        inputs = (X, abs(X)) if n.endswith("entropy") else (X,)
        print(n, getattr(F, n)(*inputs).tobytes().hex())
"""


@pytest.mark.slow
def test_a_caller_hands_none_of_its_options_down(tmp_path):
    """What a kernel was first called from, with fastmath say, does not show: in no bit, and in nothing kept on disk."""
    plain = HOSTILE.split("@njit")[0] + HOSTILE[HOSTILE.index("Z = np.random") :]
    assert python(HOSTILE, NUMBA_CACHE_DIR=str(tmp_path)) == python(plain, NUMBA_CACHE_DIR=str(tmp_path))
