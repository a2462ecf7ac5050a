"""Networks in files: safetensors, with the architecture in the metadata.

A file holds the tensors ``weights.0``, ``biases.0``, ``weights.1``, ... and metadata of strings: ``format``,
``format_version``, ``sizes``, ``hidden``, ``output`` and ``dtype`` (the last four in JSON), and what the user adds. A
checkpoint (see ``checkpointing``) holds more tensors, ``training.*``. It is data only: reading it runs no code, whoever
wrote it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks

if TYPE_CHECKING:
    from fastbackprop.network import Network

FORMAT = "fastbackprop"
FORMAT_VERSION = "1"
USER_PREFIX = "user."  # before the user's keys, so that they never meet the format's own
TRAINING_PREFIX = "training."  # before the names of a checkpoint's tensors
STORED_AS = {"float32": "F32", "float64": "F64"}
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
    ImportError
        Where safetensors is not installed (the extra ``io``).
    OSError
        Where the file cannot be written.
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
    _import_safetensors()
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sizes": json.dumps(list(net.sizes)),
        "hidden": json.dumps(list(net.hidden)),
        "output": json.dumps(net.output),
        "dtype": json.dumps(net.dtype.name),
    }
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata must map strings to strings, got {key!r}: {value!r}")
        header[USER_PREFIX + key] = value
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
    ImportError
        Where safetensors is not installed (the extra ``io``).
    OSError
        Where the file cannot be read.
    ValueError
        Where it is damaged, or not such a file.

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
        architecture = _architecture(path, file.metadata())
        sizes, dtype = architecture["sizes"], np.dtype(architecture["dtype"])
        shapes: dict[str, tuple[int, ...]] = {}
        for l, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            shapes[f"weights.{l}"], shapes[f"biases.{l}"] = (n_out, n_in), (n_out,)
        # Before anything is allocated: a file that claims to be large must be large.
        names = {name for name in file.keys() if not name.startswith(TRAINING_PREFIX)}  # noqa: SIM118
        if names != set(shapes):
            unlike = sorted(names ^ set(shapes))[0]
            raise _bad_file(path, f"for sizes {sizes} the tensor {unlike!r} is missing or one too many")
        stored_as = STORED_AS[dtype.name]
        for name, shape in shapes.items():
            part = file.get_slice(name)
            if tuple(part.get_shape()) != shape or part.get_dtype() != stored_as:
                found = f"{part.get_dtype()} {tuple(part.get_shape())}"
                raise _bad_file(path, f"{name} must be {stored_as} {shape}, got {found}")
        try:
            net = Network(seed=0, **architecture)
        except (TypeError, ValueError) as error:
            raise _bad_file(path, str(error)) from None
        for l in range(len(sizes) - 1):
            net.weights[l][...] = file.get_tensor(f"weights.{l}")
            net.biases[l][...] = file.get_tensor(f"biases.{l}")
    return net


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The ``metadata`` that was given to :func:`save`.

    Raises as :func:`load` does; the tensors are not read.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        _architecture(path, metadata)
    return {key.removeprefix(USER_PREFIX): text for key, text in metadata.items() if key.startswith(USER_PREFIX)}


def read_training(path: str | os.PathLike[str]) -> tuple[str, dict[str, np.ndarray]]:
    """The ``training`` that was given to :func:`save`; raises ValueError where the file is not a checkpoint."""
    with _opened(path) as file:
        metadata = file.metadata() or {}
        if TRAINING not in metadata:
            raise _bad_file(path, "a network, but not a checkpoint of its training")
        names = [name for name in file.keys() if name.startswith(TRAINING_PREFIX)]  # noqa: SIM118
        return metadata[TRAINING], {name.removeprefix(TRAINING_PREFIX): file.get_tensor(name) for name in names}


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


def _import_safetensors() -> Any:
    try:
        import safetensors
    except ImportError:
        raise ImportError("saving and loading networks needs safetensors: pip install 'fastbackprop[io]'") from None
    return safetensors


def _opened(path: str | os.PathLike[str]) -> Any:
    safetensors = _import_safetensors()
    with open(path, "rb"):  # a missing or unreadable file gets the usual OSError
        pass
    try:
        return safetensors.safe_open(os.fspath(path), framework="numpy")
    except (safetensors.SafetensorError, OSError) as error:  # OSError: an empty file cannot be mapped
        raise _bad_file(path, f"not a safetensors file, or not a whole one ({error})") from None


def _architecture(path: str | os.PathLike[str], metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """sizes, hidden, output and dtype, checked."""
    metadata = metadata or {}
    if metadata.get("format") != FORMAT:
        raise _bad_file(path, "a safetensors file, but not one written by fastbackprop")
    if metadata.get("format_version") != FORMAT_VERSION:
        version = metadata.get("format_version")
        raise _bad_file(path, f"of format version {version}; this fastbackprop reads version {FORMAT_VERSION}")
    found: dict[str, Any] = {}
    for key in ("sizes", "hidden", "output", "dtype"):
        try:
            found[key] = json.loads(metadata[key])
        except (KeyError, ValueError, RecursionError):
            raise _bad_file(path, f"the metadata entry {key!r} is missing or not JSON") from None
    try:
        found["sizes"] = checks.layer_sizes(found["sizes"])
        found["dtype"] = checks.float_dtype(found["dtype"])
    except (TypeError, ValueError) as error:
        raise _bad_file(path, str(error)) from None
    if not isinstance(found["hidden"], list):
        raise _bad_file(path, f"hidden must be a list of names, got {found['hidden']!r}")
    return found


def _bad_file(path: str | os.PathLike[str], what: str) -> ValueError:
    return ValueError(f"cannot load a network from {os.fspath(path)!r}: {what}")
