"""Networks in files: what comes back, and what happens to damaged files and interrupted writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

import fastbackprop as fb
from fastbackprop import persistence
from tests.processes import python


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "hidden", "output"),
    [((4, 3), (), "softmax"), ((5, 7, 1), ("gelu",), "sigmoid"), ((3, 8, 6, 2), ("tanh", "relu0"), "identity")],
)
def test_the_same_network_comes_back(path, sizes, hidden, output, dtype):
    net = fb.Network(sizes, hidden, output, dtype=dtype, seed=3)
    net.biases[0][:2] = -0.0, 1e-40  # a sign and a denormal: bits, not numbers
    net.save(path)
    same = fb.load(path)
    assert (same.sizes, same.hidden, same.output, same.dtype) == (sizes, hidden, output, np.dtype(dtype))
    assert same.params.tobytes() == net.params.tobytes()
    X = np.random.default_rng(0).standard_normal((9, sizes[0]))
    assert same.forward(X).tobytes() == net.forward(X).tobytes()


def test_a_loaded_network_learns(path):
    X, y = np.eye(4), np.arange(4)
    net = fb.Network((4, 16, 4), seed=0)
    net.save(path)
    same = fb.load(path)
    for each in (net, same):
        each.fit(X, y, epochs=20, seed=1)
    assert same.params.tobytes() == net.params.tobytes()


def test_other_tools_can_read_the_tensors(path):
    from safetensors.numpy import load_file

    net = fb.Network((3, 5, 2), seed=0)
    net.save(path)
    tensors = load_file(path)
    assert sorted(tensors) == ["biases.0", "biases.1", "weights.0", "weights.1"]
    assert np.array_equal(tensors["weights.1"], net.weights[1])


def test_metadata_comes_back_whatever_its_keys(path):
    given = {"classes": '["ja", "nein"]', "format": "mine", "sizes": "none of yours", "": "é ✗\n"}
    persistence.save(fb.Network((2, 2), seed=0), path, given)
    assert persistence.read_metadata(path) == given
    assert fb.load(path).sizes == (2, 2)
    fb.Network((2, 2), seed=0).save(path)
    assert persistence.read_metadata(path) == {}


@pytest.mark.parametrize("metadata", [{"a": 1}, {1: "a"}, {"a": None}])
def test_metadata_that_is_not_text(path, metadata):
    with pytest.raises(TypeError, match="metadata must map strings to strings, got"):
        persistence.save(fb.Network((2, 2), seed=0), path, metadata)
    assert not path.exists()


def saved(path):
    fb.Network((4, 6, 3), seed=0).save(path)
    return path.read_bytes()


def test_every_truncation_is_one_clear_error(path):
    whole = saved(path)
    for length in (0, 1, 7, 8, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cannot load a network from .*net.safetensors.*: not a safetensors file"):
            fb.load(path)


@pytest.mark.parametrize("foreign", [b"PK\x03\x04 a zip", b"\x80\x04\x95 a pickle" * 9, b"\xff" * 400, b"{}\n" * 50])
def test_a_foreign_file_is_one_clear_error(path, foreign):
    path.write_bytes(foreign)
    with pytest.raises(ValueError, match="not a safetensors file, or not a whole one"):
        fb.load(path)
    with pytest.raises(ValueError, match="not a safetensors file, or not a whole one"):
        persistence.read_metadata(path)


def test_a_safetensors_file_of_another_program(path):
    path.write_bytes(to_bytes({"weights.0": np.zeros((2, 2), np.float32)}))
    with pytest.raises(ValueError, match="not one written by fastbackprop"):
        fb.load(path)


HEADER = {
    "format": "fastbackprop", "format_version": "1", "sizes": "[2, 3]", "hidden": "[]", "output": '"softmax"',
    "dtype": '"float32"',
}  # fmt: skip
TENSORS = {"weights.0": np.ones((3, 2), np.float32), "biases.0": np.ones(3, np.float32)}


def test_the_parts_of_the_damaged_files_below_are_whole(path):
    path.write_bytes(to_bytes(TENSORS, HEADER))
    assert fb.load(path).params.tolist() == [1.0] * 9


@pytest.mark.parametrize(
    ("header", "tensors", "words"),
    [
        ({"format_version": "2"}, {}, "of format version '2'; this fastbackprop reads version 1"),
        ({"sizes": "[2, 3"}, {}, "'sizes' is missing or not JSON"),
        ({"output": None}, {}, "'output' is missing or not JSON"),
        ({"sizes": "[2, -3]"}, {}, "of at least 1, got -3"),
        ({"sizes": '"23"'}, {}, "sizes must be"),
        ({"sizes": "[2, 1000000000000]"}, {}, "must be F32 .1000000000000, 2., got F32 .3, 2."),
        ({"hidden": '["relu"]'}, {}, "hidden must be one name or 0"),
        ({"hidden": '"relu"'}, {}, "hidden must be a list"),
        ({"output": '"softmux"'}, {}, "got 'softmux'"),
        ({"output": "__import__('os')"}, {}, "not JSON"),
        ({"dtype": '"float16"'}, {}, "got 'float16'"),
        ({"dtype": '"float64"'}, {}, "weights.0 must be F64"),
        ({}, {"biases.0": np.ones(4, np.float32)}, "biases.0 must be F32 .3,., got F32 .4,."),
        ({}, {"biases.0": None}, "'biases.0' is missing or one too many"),
        ({}, {"weights.1": np.ones((3, 3), np.float32)}, "'weights.1' is missing or one too many"),
    ],
)
def test_a_file_that_contradicts_itself(path, header, tensors, words):
    header = {k: v for k, v in (HEADER | header).items() if v is not None}
    tensors = {k: v for k, v in (TENSORS | tensors).items() if v is not None}
    path.write_bytes(to_bytes(tensors, header))
    with pytest.raises(ValueError, match=words) as error:
        fb.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_missing_directory_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fb.load(tmp_path / "nowhere")
    target = tmp_path / "nowhere" / "net"
    with pytest.raises(FileNotFoundError) as error:
        fb.Network((2, 2), seed=0).save(target)
    assert error.value.filename == str(target)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch, step):
    old = saved(path)

    def full(*_):
        raise OSError(28, "No space left on device", "a temporary name")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left") as error:
        fb.Network((4, 6, 3), seed=1).save(path)
    assert error.value.filename == str(path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_disk_that_is_full_in_the_middle_of_a_file(path):
    """The limit of the size of files stops a write where a full disk would, here of a save and of a checkpoint."""
    code = """
import os, resource, sys
import numpy as np
import fastbackprop as fb
path = sys.argv[1]
net = fb.Network((100, 100, 3), seed=0)
net.save(path)
old = open(path, "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for use in (net.save, lambda path: net.fit(np.eye(100), np.arange(100) % 3, epochs=2, checkpoint=path)):
    try:
        use(path)
    except OSError as error:
        print(error.strerror, error.filename == path, open(path, "rb").read() == old, len(os.listdir(sys.argv[2])))
print(np.isfinite(net.params).all())
"""
    assert python(code, path, path.parent).splitlines() == ["File too large True True 1"] * 2 + ["True"]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and permission bits")
def test_a_link_stays_a_link_and_permissions_are_the_usual_ones(tmp_path):
    target, link = tmp_path / "real", tmp_path / "link"
    target.write_bytes(b"")
    link.symlink_to(target)
    fb.Network((2, 2), seed=0).save(link)
    assert link.is_symlink()
    assert fb.load(target).sizes == (2, 2)
    usual = tmp_path / "usual"
    usual.touch()
    assert target.stat().st_mode == usual.stat().st_mode


KILLER = """
import os, signal, sys, time, itertools
import numpy as np
import fastbackprop as fb
path, kills = sys.argv[1], int(sys.argv[2])
rng, net = np.random.default_rng(0), fb.Network((200, 300, 10), seed=0)
for kill in range(kills):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for n in itertools.count(1):
            net.params[:] = 1000 * kill + n  # each file holds one number only
            net.save(path)
            os.write(writer, b".")
    os.close(writer)
    os.read(reader, 1)  # the first file is there
    time.sleep(rng.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    last = 1
    while more := os.read(reader, 1 << 16):
        last += len(more)
    os.close(reader)
    params = fb.load(path).params
    assert params.min() == params.max() and params[0] - 1000 * kill in (last, last + 1), (params, kill, last)
print("survived", kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_process_leaves_the_old_or_the_new_file_whole(path, kills):
    out = subprocess.run([sys.executable, "-c", KILLER, str(path), str(kills)], capture_output=True, text=True)
    assert out.stdout.split() == ["survived", str(kills)], out.stderr


def test_the_package_safetensors_reads_what_is_saved_and_is_not_needed(path, monkeypatch):
    net = fb.Network((2, 5, 2), seed=0)
    net.save(path)
    theirs = load_file(path)
    assert theirs.keys() == {"weights.0", "biases.0", "weights.1", "biases.1"}
    assert all(np.array_equal(theirs[f"weights.{l}"], net.weights[l]) for l in range(2))
    monkeypatch.setitem(sys.modules, "safetensors", None)
    net.save(path)
    assert np.array_equal(fb.load(path).params, net.params)


def test_the_header_is_what_the_module_says(path):
    raw = saved(path)
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    assert header == {
        "format": "fastbackprop", "format_version": "1", "sizes": "[4, 6, 3]", "hidden": '["relu"]',
        "output": '"softmax"', "dtype": '"float32"',
    }  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes and special files")
def test_what_is_no_file_is_not_replaced_and_the_mode_is_kept(tmp_path):
    net, path = fb.Network((2, 2), seed=0), tmp_path / "net.safetensors"
    net.save(path)
    path.chmod(0o600)
    net.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="path must be a file"):
        net.save(tmp_path / "pipe")


def raw(header, data=b""):
    """A file with that header, of which safetensors would not make one."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


ONES = np.ones(9, "<f4").tobytes()
BOTH = {"weights.0": entry([3, 2], 0, 24), "biases.0": entry([3], 24, 36)}


@pytest.mark.parametrize(
    ("tensors", "data", "words"),
    [
        (BOTH, ONES[:-4] + np.float32(np.nan).tobytes(), "'biases.0' must be finite, got NaN or infinity"),
        (BOTH, np.float32(-np.inf).tobytes() + ONES[4:], "'weights.0' must be finite"),
        (BOTH, ONES + b"more", "36 bytes are expected, there are 40"),
        (BOTH | {"biases.0": entry([3], 0, 12)}, ONES[:24], "its tensors overlap, or leave gaps"),
        (BOTH | {"biases.0": entry([3], 28, 40)}, ONES + b"more", "its tensors overlap, or leave gaps"),
        (BOTH | {"biases.0": entry([3], 24, 32)}, ONES, "'biases.0' is not as it should be"),
        (BOTH | {"biases.0": entry([3], 24, 36, "I32")}, ONES, "'biases.0' is not as it should be"),
        (BOTH | {"biases.0": entry([-3], 24, 12)}, ONES, "'biases.0' is not as it should be"),
        (BOTH | {"biases.0": entry([3.0], 24, 36)}, ONES, "'biases.0' is not as it should be"),
        (BOTH | {"biases.0": entry("3", 24, 36)}, ONES, "'biases.0' is not as it should be"),
        (BOTH | {"biases.0": entry([3], 24, 10**30)}, ONES, "'biases.0' is not as it should be"),
        (BOTH | {"biases.0": [3]}, ONES, "'biases.0' is not as it should be"),
        (BOTH | {"biases.0": entry([3], 24, 36, ["F32"])}, ONES, "'biases.0' is not as it should be"),
        (BOTH | {"b" * 10**6: None}, ONES, "the entry of the tensor 'bbbb"),
        (BOTH | {"\x1b[31m": entry([0], 36, 36)}, ONES, r"the tensor '.x1b.31m' is missing or one too many"),
    ],
)
def test_tensors_that_do_not_lie_as_they_should(path, tensors, data, words):
    path.write_bytes(raw({"__metadata__": HEADER} | BOTH, ONES))
    assert fb.load(path).params.tolist() == [1.0] * 9
    path.write_bytes(raw({"__metadata__": HEADER} | tensors, data))
    with pytest.raises(ValueError, match=words) as error:
        fb.load(path)
    assert str(path) in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 200_000, b'{"a":' * 200_000, b"1" * 6000, b"null", b"[]", b'"text"', b"", b"\xff\xfe",
        b'{"__metadata__": []}', b'{"__metadata__": {"format": ["fastbackprop"]}}', b'{"__metadata__": null}',
    ],
)  # fmt: skip
def test_headers_that_are_none(path, header):
    path.write_bytes(raw(header))
    with pytest.raises(ValueError, match="not a safetensors file") as error:
        fb.load(path)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("key", ["sizes", "hidden", "output", "dtype"])
@pytest.mark.parametrize("text", ["[" * 10**5, "1" * 5000, "[true, 3]", '{"a": 1}', "null", "[" + "1," * 10**5 + "1]"])
def test_an_architecture_that_is_none(path, key, text):
    path.write_bytes(raw({"__metadata__": HEADER | {key: text}} | BOTH, ONES))
    with pytest.raises(ValueError, match="cannot load a network from") as error:
        fb.load(path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("values", [np.nan, np.inf])
def test_what_could_not_be_loaded_is_not_saved(path, values):
    net, old = fb.Network((4, 6, 3), seed=0), saved(path)
    net.biases[1][2] = values
    with pytest.raises(ValueError, match="params must be finite to be saved"):
        net.save(path)
    assert path.read_bytes() == old


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices in the file system")
def test_what_is_no_file_is_not_read(tmp_path):
    """Nobody writes into the pipe: to wait for one would be for ever."""
    code = """
import os, sys, fastbackprop as fb
from fastbackprop import persistence
os.mkfifo(sys.argv[1] + "/pipe")
net = fb.Network((2, 2), seed=0)
for path in (sys.argv[1] + "/pipe", "/dev/zero", "/dev/null", sys.argv[1]):
    for read in (fb.load, persistence.read_metadata, lambda path: net.fit([[0, 0]], [1], resume=path)):
        try:
            read(path)
        except (ValueError, OSError) as error:
            print(path in str(error))
"""
    assert python(code, tmp_path).splitlines() == ["True"] * 12


@pytest.mark.skipif(os.name != "posix", reason="truncates a file that was open")
def test_a_file_that_is_cut_off_later(path):
    net = fb.Network((40, 60, 3), seed=0)
    net.save(path)
    loaded = fb.load(path)
    os.truncate(path, 100)
    assert np.array_equal(loaded.forward(np.ones((3, 40))), net.forward(np.ones((3, 40))))
    with pytest.raises(ValueError, match="not a safetensors file, or not a whole one"):
        fb.load(path)


def test_numbers_of_open_files_are_no_paths():
    for number in (0, 1, True):
        with pytest.raises(TypeError, match=r"expected str, bytes or .*PathLike object"):
            fb.load(number)
