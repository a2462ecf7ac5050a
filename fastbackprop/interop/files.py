"""Files of other libraries, by the end of their name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastbackprop import checks, persistence
from fastbackprop.interop.c import to_c
from fastbackprop.interop.keras import from_keras, save_keras
from fastbackprop.interop.onnx import to_onnx
from fastbackprop.interop.onnx_reading import read_onnx
from fastbackprop.interop.torch import from_torch, save_torch
from fastbackprop.network import Network
from fastbackprop.tables import Table

WRITERS: dict[str, Callable[[Any, Any], Any]] = {
    ".onnx": to_onnx, ".pth": save_torch, ".pt": save_torch, ".pt2": save_torch, ".safetensors": save_torch,
    ".keras": save_keras, ".c": to_c,
}  # fmt: skip
STATE_DICTS = (".pth", ".pt", ".safetensors")
READERS = (".onnx", *STATE_DICTS, ".keras")
WITH_TABLE = (".onnx", ".c")  # files that hold the preprocessing, too


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to a file of another library: .onnx, .pth, .pt, .pt2, .safetensors, .keras or .c.

    A safetensors file has the names of PyTorch's state dict here; :meth:`fastbackprop.Network.save` writes our own.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
        The preprocessing of a table is in .onnx and .c; the others hold the network behind it.
    path : path
        The file appears whole or not at all.

    Raises
    ------
    ImportError
        Where the library that writes such a file is not installed.
    TypeError, ValueError, OSError
        Where the model is no such thing, the name has another end, or the file cannot be written.

    Examples
    --------
    >>> import fastbackprop as fb, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "net.onnx")
    >>> fb.interop.save(fb.Network((4, 8, 3), seed=0), path)
    >>> fb.interop.load(path)
    Network(4-8-3, hidden=relu, output=softmax, dtype=float32, 67 parameters)
    """
    WRITERS[ending_of(path, tuple(WRITERS))](model, path)


def load(path: str | os.PathLike[str], hidden: str | Sequence[str] | None = None, output: str | None = None) -> Network:
    """The network in a file of another library: .onnx, .pth, .pt, .safetensors or .keras.

    Parameters
    ----------
    path : path
    hidden, output : str or sequence of str, str, optional
        For PyTorch's state dicts, which do not say; as :func:`from_torch` has them.

    Raises
    ------
    ImportError
        Where the library that reads such a file is not installed.
    TypeError, ValueError, OSError
        Where the name has another end, the file cannot be read, or holds no such network.

    Examples
    --------
    >>> import fastbackprop as fb, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "net.keras")
    >>> fb.interop.save(fb.Network((4, 8, 3), hidden="gelu", seed=0), path)
    >>> fb.interop.load(path).hidden
    ('gelu',)
    """
    return load_with_table(path, hidden, output)[0]


def load_with_table(
    path: str | os.PathLike[str], hidden: str | Sequence[str] | None = None, output: str | None = None
) -> tuple[Network, Table | None]:
    """The network of :func:`load`, and the preprocessing of a graph that :func:`to_onnx` made of one with it."""
    ending = ending_of(path, READERS)
    if ending in STATE_DICTS:
        return from_torch(path, hidden, output), None
    for name, given in (("hidden", hidden), ("output", output)):
        if given is not None:
            raise ValueError(f"{name} must be None for {ending}, which says what it is, got {given!r}")
    if ending == ".keras":
        return from_keras(path), None
    net, metadata = read_onnx(path)
    if "table" not in metadata:
        return net, None
    try:
        table = Table.from_json(metadata["table"])
        if (table.inputs, table.outputs) != (net.sizes[0], net.sizes[-1]):
            raise ValueError("the preprocessing does not fit the network")
    except ValueError as error:
        raise ValueError(f"cannot read a network from {os.fspath(path)!r}: {error}") from None
    return net, table


def ending_of(path: str | os.PathLike[str], accepted: Sequence[str]) -> str:
    """The end of a file's name, in small letters; ValueError where it is none of those."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be the path of a file, got {checks.shortened(path)}")
    ending = Path(path).suffix.lower()
    if ending not in accepted:
        raise ValueError(f"path must end in {', '.join(accepted)}, got {os.fspath(path)!r}")
    return ending


def save_ours(net: Network, table: Table | None, path: str | os.PathLike[str]) -> None:
    """Write a network, and its preprocessing where there is one, to a safetensors file as ``train`` does."""
    persistence.save(net, path, None if table is None else {"table": table.to_json()})
