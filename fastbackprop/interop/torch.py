"""PyTorch: an ``nn.Sequential``, its state dict, and files of either.

Of files only tensors are read, never what a pickle could run (``weights_only=True``).
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastbackprop import checks, persistence
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.heads import HEADS
from fastbackprop.interop.exported import bad_source, chained, exported, layers, library
from fastbackprop.network import Network

MODULES = {"sigmoid": ("Sigmoid", {}), "softmax": ("Softmax", {"dim": 1})}  # of outputs; identity is none
SKIPPED = ("Dropout", "AlphaDropout", "Flatten", "Identity")  # of no effect on samples once a network is trained
LEAST_THRESHOLD = 20.0  # of Softplus, beyond which it is a straight line: e**-20 is left off
OURS = "fastbackprop"  # the entry of a state dict's metadata that says what is between the layers


def __getattr__(name: str) -> Any:
    """The module Exp, which PyTorch lacks; here, so that it can be pickled."""
    if name != "Exp":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    torch = library("torch", "interop.to_torch", "torch")

    def forward(self: Any, z: Any) -> Any:
        return z.exp()

    made = type("Exp", (torch.nn.Module,), {"forward": forward, "__module__": __name__, "__doc__": "e**z."})
    return globals().setdefault(name, made)


def to_torch(model: Any, logits: bool = False) -> Any:
    """A network as a PyTorch module: an ``nn.Sequential`` of ``nn.Linear`` and activations, with copies of the weights.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
        Of an estimator its network; of a table's, the network behind the preprocessing.
    logits : bool
        Whether to leave the output's activation off, as PyTorch's losses want it: Z[L] in the place of ``forward``.

    Returns
    -------
    torch.nn.Sequential
        Of the network's dtype.

    Raises
    ------
    ImportError
        Where PyTorch, the extra ``torch``, is not installed.
    TypeError, ValueError
        Where the model is no such thing, or has parameters that are not finite.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> fb.interop.to_torch(fb.Network((4, 8, 3), hidden="tanh", seed=0))
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): Tanh()
      (2): Linear(in_features=8, out_features=3, bias=True)
      (3): Softmax(dim=1)
    )
    """
    torch = library("torch", "interop.to_torch", "torch")
    net, logits = exported(model).net, checks.boolean(logits, "logits")
    modules = []
    for l, (W, b) in enumerate(zip(net.weights, net.biases)):
        dtype = getattr(torch, net.dtype.name)  # and no weights are drawn, which would move PyTorch's generator on
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *W.shape[::-1], dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W))
            linear.bias.copy_(torch.from_numpy(b))
        modules.append(linear)
        if l < len(net.hidden):
            known = ACTIVATIONS[net.hidden[l]].torch
            if known is None:
                raise ValueError(f"PyTorch has no activation {net.hidden[l]!r}")
            modules.append(getattr(torch.nn, known.name)(**known.arguments))
    if net.output == "exp" and not logits:
        modules.append(__getattr__("Exp")())
    elif net.output in MODULES and not logits:
        name, arguments = MODULES[net.output]
        modules.append(getattr(torch.nn, name)(**arguments))
    return torch.nn.Sequential(*modules)


def save_torch(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a file for PyTorch: a state dict, or where the name ends in ``.pt2`` a program of ``torch.export``.

    The state dict is that of :func:`to_torch`, for ``torch.load`` or, where the name ends in ``.safetensors``, for
    ``safetensors.torch.load_file``; the latter is written without PyTorch. What is between the layers stands in its
    metadata, which ``load_state_dict`` ignores and :func:`from_torch` reads.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
        As for :func:`to_torch`.
    path : path
        The file appears whole or not at all.

    Raises
    ------
    ImportError
        Where PyTorch, the extra ``torch``, is not installed.
    TypeError, ValueError, OSError
        Where the model is no such thing, or the file cannot be written.

    Examples
    --------
    >>> import fastbackprop as fb, os, tempfile
    >>> net = fb.Network((4, 8, 3), hidden="gelu", seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "net.pth")
    >>> fb.interop.save_torch(net, path)
    >>> fb.interop.from_torch(path)
    Network(4-8-3, hidden=gelu, output=softmax, dtype=float32, 67 parameters)
    """
    found, buffer = exported(model), io.BytesIO()
    persistence.check_target(path, "path")
    said = {"hidden": list(found.net.hidden), "output": found.net.output}
    if _ending(path) == ".safetensors":
        names = [f"{2 * l}.{kind}" for l in range(len(found.net.weights)) for kind in ("weight", "bias")]
        arrays = [array for pair in zip(found.net.weights, found.net.biases) for array in pair]
        persistence.write_tensors(path, dict(zip(names, arrays)), {"format": "pt", OURS: json.dumps(said)})
        return
    torch = library("torch", "interop.save_torch", "torch")
    module = to_torch(found.net)
    if _ending(path) == ".pt2":
        rows = torch.export.Dim("rows")
        samples = torch.zeros(2, found.net.sizes[0], dtype=getattr(torch, found.net.dtype.name))
        torch.export.save(torch.export.export(module, (samples,), dynamic_shapes=({0: rows},)), buffer)
    else:
        state = module.state_dict()
        state._metadata[OURS] = said
        torch.save(state, buffer)
    persistence.write_atomically(path, buffer.getvalue())


def from_torch(source: Any, hidden: str | Sequence[str] | None = None, output: str | None = None) -> Network:
    """The network that a PyTorch module, a state dict or a file of one is.

    Parameters
    ----------
    source : torch.nn.Sequential, mapping of str to tensor, or path
        A module of ``nn.Linear`` with the activations of :class:`fastbackprop.Network`; dropout is left off. A state
        dict has weights and biases in the order of the layers. A file is one of a state dict, by ``torch.save`` or,
        where its name ends in ``.safetensors``, by safetensors; nothing in it is run.
    hidden : str or sequence of str, optional
        For a state dict, which does not know its activations; one that :func:`to_torch` wrote does.
    output : str, optional
        What the last layer gives the logits of, where the module has no activation there. By default identity.

    Returns
    -------
    Network
        Of float64 where the weights are, else float32.

    Raises
    ------
    ImportError
        Where PyTorch, the extra ``torch``, is not installed.
    OSError
        Where the file cannot be read.
    TypeError, ValueError
        Where it is no such network; the message names the first module that cannot be read.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> net = fb.Network((4, 8, 3), hidden="tanh", seed=0)
    >>> fb.interop.from_torch(fb.interop.to_torch(net))
    Network(4-8-3, hidden=tanh, output=softmax, dtype=float32, 67 parameters)
    >>> fb.interop.from_torch(fb.interop.to_torch(net).state_dict(), hidden="tanh", output="softmax").hidden
    ('tanh',)
    """
    if output is not None:
        checks.one_of(output, "output", HEADS)
    if isinstance(source, (str, os.PathLike)) and _ending(source) == ".safetensors":
        return _of_safetensors(source, hidden, output)
    torch = library("torch", "interop.from_torch", "torch")
    if isinstance(source, torch.nn.Module):
        if hidden is not None:
            raise ValueError(f"hidden must be None for a module, which has its activations, got {hidden!r}")
        with bad_source(type(source).__name__):
            return chained(_of_module(torch, source), output)
    name = type(source).__name__
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        with bad_source(name):
            source = _load(torch, source)
    if not isinstance(source, Mapping):
        accepted = "an nn.Sequential, a state dict, or the path of one"
        raise TypeError(f"source must be {accepted}, got {checks.shortened(source)}")
    with bad_source(name):
        return _of_state(torch, source, hidden, output)


def _load(torch: Any, path: str | os.PathLike[str]) -> Any:
    """What ``torch.save`` wrote: tensors as large as the file says, uncompressed."""
    with persistence.regular_file(path) as (file, size):
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > size:
                raise ValueError
        except (ValueError, zipfile.BadZipFile):
            raise ValueError("not a file of torch.save, or not a whole one") from None
        if any(entry.filename.endswith("/archive_format") for entry in entries):
            raise ValueError("a program of torch.export is not read; save the state dict of its module")
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # of pickle, zip or torch, whatever is damaged or not allowed
            raise ValueError(f"it must hold a state dict and nothing else: {str(error).splitlines()[0]}") from None


def _of_state(torch: Any, state: Mapping[Any, Any], hidden: Any, output: str | None) -> Network:
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{checks.shortened(name)} must be a tensor, got {type(tensor).__name__}")
    memory = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()}
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > sum(memory.values()):
        raise ValueError("its tensors claim more numbers than are there")
    weights = {name: tensor for name, tensor in state.items() if tensor.ndim == 2}
    biases = {name: tensor for name, tensor in state.items() if tensor.ndim == 1}
    if not weights or len(weights) != len(biases) or len(state) != 2 * len(weights):
        names = checks.shortened(list(state))
        raise ValueError(f"it must have a matrix and a vector for each layer, and nothing else, got {names}")
    W, b = ([_array(torch, tensor) for tensor in part.values()] for part in (weights, biases))
    return _told(W, b, getattr(state, "_metadata", {}).get(OURS), hidden, output)


def _told(W: list[np.ndarray], b: list[np.ndarray], said: Any, hidden: Any, output: str | None) -> Network:
    """A network of arrays, with what is between them as the caller or the state dict says it."""
    said = said if isinstance(said, Mapping) else {}
    hidden = said.get("hidden") if hidden is None else hidden
    if hidden is None:
        if len(W) > 1:
            raise ValueError(f"hidden must say which activations are between its {len(W)} layers, got None")
        hidden = []
    return layers(W, b, hidden, output or said.get("output", "identity"))


def _of_safetensors(path: str | os.PathLike[str], hidden: Any, output: str | None) -> Network:
    """Of a file in which tensors have PyTorch's names, in any order: 0.weight, 0.bias, 2.weight, ..."""
    arrays, metadata = persistence.read_tensors(path)
    with bad_source(os.fspath(path)):
        prefixes = sorted({name.rpartition(".")[0] for name in arrays}, key=_natural)
        names = [f"{prefix}.{kind}".lstrip(".") for prefix in prefixes for kind in ("weight", "bias")]
        if set(names) != set(arrays) or not arrays:
            raise ValueError(f"it must have a weight and a bias for each layer, got {checks.shortened(list(arrays))}")
        try:
            said = json.loads(metadata.get(OURS, "null"))
        except (RecursionError, ValueError):
            said = None
        return _told([arrays[n] for n in names[::2]], [arrays[n] for n in names[1::2]], said, hidden, output)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which 10 comes after 2."""
    return [(int(part), "") if part.isdecimal() and len(part) < 10 else (-1, part) for part in re.split(r"(\d+)", name)]


def _ending(path: str | os.PathLike[str]) -> str:
    return os.path.splitext(os.fspath(path))[1].lower()


def _of_module(torch: Any, module: Any) -> Iterator[tuple[str, Any]]:
    """The layers and activations of a module, for :func:`chained`."""
    for name, part in _parts(torch, module):
        kind = type(part).__name__
        if type(part) is torch.nn.Linear:
            W = _array(torch, part.weight)
            yield name, (W, np.zeros(len(W), W.dtype) if part.bias is None else _array(torch, part.bias))
        elif kind not in SKIPPED or type(part) is not getattr(torch.nn, kind):
            yield f"{name}, {checks.shortened(part)},", _name(torch, part)


def _parts(torch: Any, module: Any, name: str = "") -> list[tuple[str, Any]]:
    """The modules of a Sequential, which may be of others, in their order, and their names."""
    if type(module) is not torch.nn.Sequential:
        return [(f"module {name or type(module).__name__!r}", module)]
    found = []
    for key, part in module.named_children():
        found += _parts(torch, part, f"{name}.{key}" if name else key)
    return found


def _name(torch: Any, module: Any) -> str | None:
    """What a module is here: an activation, or an output; None: nothing."""
    rows = [(name, *row.torch) for name, row in ACTIVATIONS.items() if row.torch]
    for name, kind, arguments in rows:
        if type(module) is getattr(torch.nn, kind) and all(_is(module, *item) for item in arguments.items()):
            return name
    if type(module) is torch.nn.Softmax and module.dim in (1, -1):
        return "softmax"
    return "exp" if type(module) is globals().get("Exp") else None


def _is(module: Any, argument: str, value: Any) -> bool:
    given = getattr(module, argument)
    return bool(given >= LEAST_THRESHOLD if argument == "threshold" else given == value)


def _array(torch: Any, tensor: Any) -> np.ndarray:
    """A tensor of floats as float64 where it is, else as float32."""
    if not tensor.is_floating_point():
        raise ValueError(f"its tensors must be of floats, got {tensor.dtype}")
    plain = tensor.detach().cpu()
    found: np.ndarray = (plain if plain.dtype == torch.float64 else plain.float()).numpy()
    return found
