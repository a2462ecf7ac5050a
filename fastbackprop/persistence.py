"""Networks in files: safetensors, with the architecture in the metadata.

A file holds the tensors ``weights.0``, ``biases.0``, ``weights.1``, ... and metadata of strings: ``format``,
``format_version``, ``sizes``, ``hidden``, ``output`` and ``dtype`` (the last four in JSON), and what the user adds. A
checkpoint (see ``checkpointing``) holds more tensors, ``training.*``. It is data only: reading it runs no code, whoever
wrote it. All of it is checked before it is used, and it is read, not mapped: what happens to the file later does not
matter.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks

if TYPE_CHECKING:
    from fastbackprop.network import Network

FORMAT = "fastbackprop"
FORMAT_VERSION = "1"
USER_PREFIX = "user."  # before the user's keys, so that they never meet the format's own
TRAINING_PREFIX = "training."  # before the names of a checkpoint's tensors
STORED_AS = {"float32": "F32", "float64": "F64"}
LONGEST_HEADER = 100_000_000  # bytes, as in the safetensors package
LONGEST_ERROR = 500  # characters of what an error says of a file
TRAINING = "training"  # the key of a checkpoint's record


def save(
    net: Network, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None, *,
    training: tuple[str, Mapping[str, np.ndarray]] | None = None,
) -> None:  # fmt: skip
    """Write a network to a safetensors file; :func:`load` gives it back, bit for bit.

    The file appears whole or not at all: an earlier file of that name stays until the new one is on the disk.

    Parameters
    ----------
    net : Network
    path : str or path
        The directory must exist.
    metadata : mapping of str to str, optional
        Kept with the network, for instance the names of the classes; see :func:`read_metadata`.
    training : (str, mapping of str to ndarray), optional
        What makes the file a checkpoint: a record in JSON, and vectors; see :func:`read_training`.

    Raises
    ------
    OSError
        Where the file cannot be written.
    ValueError
        Where a parameter is not finite.
    TypeError
        Where metadata is not made of strings.

    Examples
    --------
    >>> import fastbackprop as fb, tempfile, os
    >>> from fastbackprop import persistence
    >>> net = fb.Network((4, 8, 3), seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "iris.safetensors")
    >>> persistence.save(net, path, {"classes": "setosa, versicolor, virginica"})
    >>> persistence.load(path).sizes
    (4, 8, 3)
    >>> persistence.read_metadata(path)
    {'classes': 'setosa, versicolor, virginica'}
    """
    if not checks.all_finite(net.params):
        raise ValueError("params must be finite to be saved, got NaN or infinity")
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sizes": json.dumps(list(net.sizes)),
        "hidden": json.dumps(list(net.hidden)),
        "output": json.dumps(net.output),
        "dtype": json.dumps(net.dtype.name),
    }
    check_metadata(metadata or {}, "metadata")
    header |= {USER_PREFIX + key: value for key, value in (metadata or {}).items()}
    tensors = {}
    for l, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        tensors[f"weights.{l}"], tensors[f"biases.{l}"] = W, b
    if training is not None:
        header[TRAINING] = training[0]
        tensors |= {TRAINING_PREFIX + name: vector for name, vector in training[1].items()}
    write_atomically(path, *_content(tensors, header))


def load(path: str | os.PathLike[str]) -> Network:
    """The network that :func:`save` or :meth:`fastbackprop.Network.save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Network
        Of the same sizes, activations, output and dtype, with the same parameters, bit for bit.

    Raises
    ------
    OSError
        Where the file cannot be read.
    ValueError
        Where it is damaged, or not such a file; the message names it.

    Examples
    --------
    >>> import fastbackprop as fb, numpy as np, tempfile, os
    >>> net = fb.Network((4, 8, 3), hidden="tanh", seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
    >>> net.save(path)
    >>> same = fb.load(path)
    >>> same.hidden, bool(np.array_equal(same.params, net.params))
    (('tanh',), True)
    """
    from fastbackprop.network import Network

    with _opened(path) as file:
        architecture = _architecture(path, file.metadata)
        sizes, dtype = architecture["sizes"], np.dtype(architecture["dtype"])
        shapes: dict[str, tuple[int, ...]] = {}
        for l, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            shapes[f"weights.{l}"], shapes[f"biases.{l}"] = (n_out, n_in), (n_out,)
        # Before anything is allocated: a file that claims to be large must be large.
        if unlike := sorted({name for name in file.tensors if not name.startswith(TRAINING_PREFIX)} ^ set(shapes)):
            raise _bad_file(
                path, f"for sizes {sizes} the tensor {checks.shortened(unlike[0])} is missing or one too many"
            )
        for name, shape in shapes.items():
            tensor = file.tensors[name]
            if (tensor.dtype, tensor.shape) != (dtype, shape):
                wanted, found = (f"{STORED_AS[t.name]} {s}" for t, s in ((dtype, shape), (tensor.dtype, tensor.shape)))
                raise _bad_file(path, f"{name} must be {wanted}, got {found}")
        try:
            net = Network(seed=0, **architecture)
        except (TypeError, ValueError) as error:
            raise _bad_file(path, str(error)) from None
        for l in range(len(sizes) - 1):
            file.read_into(f"weights.{l}", net.weights[l])
            file.read_into(f"biases.{l}", net.biases[l])
    return net


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The ``metadata`` that was given to :func:`save`.

    Raises as :func:`load` does; the tensors are not read.
    """
    with _opened(path) as file:
        metadata = file.metadata
        _architecture(path, metadata)
    return {key.removeprefix(USER_PREFIX): text for key, text in metadata.items() if key.startswith(USER_PREFIX)}


def read_training(path: str | os.PathLike[str]) -> tuple[str, dict[str, np.ndarray]]:
    """The ``training`` that was given to :func:`save`; raises ValueError where the file is not a checkpoint."""
    with _opened(path) as file:
        if TRAINING not in file.metadata:
            raise _bad_file(path, "a network, but not a checkpoint of its training")
        vectors = {}
        for name, tensor in file.tensors.items():
            if name.startswith(TRAINING_PREFIX):
                vectors[name.removeprefix(TRAINING_PREFIX)] = vector = np.empty(tensor.shape, tensor.dtype)
                file.read_into(name, vector)
        return file.metadata[TRAINING], vectors


def read_record(path: str | os.PathLike[str]) -> str | None:
    """The record of :func:`read_training` alone; None where the file is not a checkpoint."""
    with _opened(path) as file:
        return file.metadata.get(TRAINING)


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file of another format."""
    write_atomically(path, *_content(tensors, metadata))


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file of any format; raises as :func:`load` does."""
    tensors = {}
    with _opened(path, None) as file:
        for name, tensor in file.tensors.items():
            tensors[name] = np.empty(tensor.shape, tensor.dtype)
            file.read_into(name, tensors[name])
        return tensors, file.metadata


def check_metadata(metadata: Any, name: str) -> None:
    """Raise TypeError unless strings are mapped to strings."""
    if not isinstance(metadata, Mapping):
        raise TypeError(f"{name} must map strings to strings, got {checks.shortened(metadata)}")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"{name} must map strings to strings, got {key!r}: {value!r}")


def _content(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Iterator[Any]:
    """A safetensors file in parts: the size of the header, the header, and each tensor's memory as it lies.

    The safetensors package makes two copies of all tensors, and ends the process where there is no memory for them.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        offsets = [end, end := end + tensor.nbytes]
        header[name] = {"dtype": STORED_AS[tensor.dtype.name], "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors' memory is aligned
    yield len(text).to_bytes(8, "little")
    yield text
    for tensor in tensors.values():
        yield np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)


def write_atomically(path: str | os.PathLike[str], *parts: Any) -> None:
    """Write a file, of bytes or arrays of bytes, that appears whole or not at all, whenever the machine stops."""
    target = Path(os.path.realpath(path))  # a link stays a link
    if target.exists() and not target.is_file():
        raise ValueError(f"path must be a file, new or to be replaced; {os.fspath(path)!r} is something else")
    # In the same directory, so on the same file system: a rename is enough.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():  # who may read the file stays as it was
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # the user knows the path, not the temporary name
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
        raise
    # The rename itself reaches the disk with its directory, where the system can; the file is written either way.
    with contextlib.suppress(OSError):
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def check_target(path: str | os.PathLike[str], name: str) -> None:
    """Whether a file may be written there, asked before the work whose result it is to hold."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise ValueError(f"{name} must be a file, new or to be replaced; {os.fspath(path)!r} is something else")
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such directory", os.fspath(path))
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "Its directory is not writable", os.fspath(path))


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies in a file, from the end of the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class _File:
    """An open file, whose header has been checked."""

    path: str
    file: IO[bytes]
    start: int  # of the tensors
    metadata: dict[str, str]
    tensors: dict[str, _Tensor]

    def read_into(self, name: str, array: np.ndarray) -> None:
        """Read a tensor into an array of its shape and dtype; its numbers must be finite."""
        memory = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        self.file.seek(self.start + self.tensors[name].begin)
        done = 0
        while done < len(memory):
            count = self.file.readinto(memory[done:])  # type: ignore[attr-defined]
            if not count:
                raise _bad_file(self.path, "it was cut off while it was read")
            done += count
        if sys.byteorder == "big":
            array.byteswap(inplace=True)
        if array.size and not checks.all_finite(array):
            raise _bad_file(self.path, f"{checks.shortened(name)} must be finite, got NaN or infinity")


@contextlib.contextmanager
def regular_file(path: str | os.PathLike[str]) -> Iterator[tuple[IO[bytes], int]]:
    """A file opened for reading, and its size; ValueError where it is a pipe or a device, for which nothing waits."""
    no_waiting = getattr(os, "O_NONBLOCK", 0)
    with open(os.fspath(path), "rb", opener=lambda name, flags: os.open(name, flags | no_waiting)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _bad_file(path, "not a regular file")
        yield file, status.st_size


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], format_: str | None = FORMAT) -> Iterator[_File]:
    """A safetensors file of a format, or of any."""
    with regular_file(path) as (file, size):
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER, size - 8):
            raise _bad_file(path, "not a safetensors file, or not a whole one")
        try:
            header = json.loads(file.read(length).decode())
        except (ValueError, RecursionError):
            raise _bad_file(path, "not a safetensors file, or not a whole one: its header is not JSON") from None
        metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise _bad_file(path, "not a safetensors file: its metadata are not texts")
        if format_ not in (None, metadata.get("format")):
            raise _bad_file(path, "a safetensors file, but not one written by fastbackprop")
        tensors = _tensors(path, header, size - 8 - length)
        yield _File(os.fspath(path), file, 8 + length, metadata, tensors)


def _tensors(path: str | os.PathLike[str], header: dict[str, Any], size: int) -> dict[str, _Tensor]:
    """The tensors of a header, which fill the rest of the file, ``size`` bytes, without gaps."""
    dtypes = {stored: np.dtype(name) for name, stored in STORED_AS.items()}
    found = {}
    for name, entry in header.items():
        try:
            shape, (begin, end), dtype = entry["shape"], entry["data_offsets"], dtypes[entry["dtype"]]
            good = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
            good = good and end - begin == math.prod(shape) * dtype.itemsize
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise _bad_file(path, f"the entry of the tensor {checks.shortened(name)} is not as it should be")
        found[name] = _Tensor(dtype, tuple(shape), begin, end)
    end = 0
    for tensor in sorted(found.values(), key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != end:
            raise _bad_file(path, "its tensors overlap, or leave gaps")
        end = tensor.end
    if end != size:
        raise _bad_file(path, f"not a safetensors file, or not a whole one: {end} bytes are expected, there are {size}")
    return found


def _architecture(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> dict[str, Any]:
    """sizes, hidden, output and dtype, checked."""
    if metadata.get("format_version") != FORMAT_VERSION:
        version = checks.shortened(metadata.get("format_version"))
        raise _bad_file(path, f"of format version {version}; this fastbackprop reads version {FORMAT_VERSION}")
    found: dict[str, Any] = {}
    for key in ("sizes", "hidden", "output", "dtype"):
        try:
            found[key] = json.loads(metadata[key])
        except (KeyError, ValueError, RecursionError):
            raise _bad_file(path, f"the metadata entry {key!r} is missing or not JSON") from None
    try:
        found["sizes"] = checks.layer_sizes(found["sizes"])
        checks.one_of(found["dtype"], "dtype", STORED_AS)
    except (TypeError, ValueError) as error:
        raise _bad_file(path, str(error)) from None
    if not isinstance(found["hidden"], list):
        raise _bad_file(path, f"hidden must be a list of names, got {checks.shortened(found['hidden'])}")
    return found


def _bad_file(path: str | os.PathLike[str], what: str) -> ValueError:
    what = what if len(what) <= LONGEST_ERROR else f"{what[: LONGEST_ERROR - 3]}..."
    return ValueError(f"cannot load a network from {os.fspath(path)!r}: {what}")
