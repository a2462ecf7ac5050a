"""Keras 3: models, and ``.keras`` files without Keras: a zip of a description in JSON and weights in HDF5.

A description is data here: layers are known by name, and nothing of what Keras would make of it is made.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastbackprop import checks, persistence
from fastbackprop.activations import ACTIVATIONS, Name
from fastbackprop.interop.exported import bad_source, chained, exported, library
from fastbackprop.network import Network

VERSION = "3.0.0"  # of Keras, whose format it is
LONGEST_CONFIG = 10_000_000  # bytes
EXP = "exponential"
SKIPPED = (
    "Dropout",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "Flatten",
    "Identity",
    "ActivityRegularization",
)
# Layers and operations that do what an activation does where their arguments are these.
SAME_AS: dict[str, tuple[str, dict[str, tuple[Any, ...]]]] = {
    "ReLU": ("relu", {"max_value": (None,), "negative_slope": (0,), "threshold": (0,)}), "Relu": ("relu", {}),
    "ELU": ("elu", {"alpha": (1,)}), "Elu": ("elu", {"alpha": (1,)}), "Tanh": ("tanh", {}), "Silu": ("silu", {}),
    "Sigmoid": ("sigmoid", {}), "Softplus": ("softplus", {}), "Exp": (EXP, {}),
    "Softmax": ("softmax", {"axis": (-1, 1)}), "swish": ("silu", {}),
}  # fmt: skip
STAND_ALONE = ("LeakyReLU", "Gelu")  # with the arguments of the table


# ---------------------------------------------------------------------- the description


def _described(net: Network) -> dict[str, Any]:
    """What Keras writes down of a model; each Dense is called layer_1, layer_2, ..."""
    policy = {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": net.dtype.name},
        "registered_name": None,
    }
    layers: list[dict[str, Any]] = []

    def add(module: str, kind: str, name: str, config: dict[str, Any], width: int) -> None:
        before = [layers[-1]["name"], 0, 0] if layers else None
        tensor = {"shape": [None, width], "dtype": net.dtype.name, "keras_history": before}
        node = {"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": {}}
        layers.append({
            "module": module, "class_name": kind, "config": {"name": name, **config}, "name": name,
            "registered_name": None, "inbound_nodes": [node] if before else [],
        })  # fmt: skip

    batch = {"batch_shape": [None, net.sizes[0]], "dtype": net.dtype.name, "sparse": False, "ragged": False}
    add("keras.layers", "InputLayer", "X", batch, net.sizes[0])
    for l, (n_in, n_out) in enumerate(zip(net.sizes, net.sizes[1:]), 1):
        known = ACTIVATIONS[net.hidden[l - 1]].keras if l <= len(net.hidden) else _of_output(net.output)
        if known is None:
            raise ValueError(f"Keras has no activation {net.hidden[l - 1]!r}")
        word = "linear" if known.name in STAND_ALONE else known.name
        dense = {"trainable": True, "dtype": policy, "units": n_out, "activation": word, "use_bias": True}
        add("keras.layers", "Dense", f"layer_{l}", dense, n_in)
        layers[-1]["build_config"] = {"input_shape": [None, n_in]}
        if known.name == "LeakyReLU":
            add("keras.layers", known.name, f"activation_{l}", {"dtype": policy, **known.arguments}, n_out)
        elif known.name == "Gelu":
            add("keras.src.ops.nn", known.name, f"activation_{l}", known.arguments, n_out)
    config = {
        "name": "fastbackprop", "trainable": True, "layers": layers, "input_layers": ["X", 0, 0],
        "output_layers": [layers[-1]["name"], 0, 0],
    }  # fmt: skip
    return {
        "module": "keras.src.models.functional", "class_name": "Functional", "config": config,
        "registered_name": "Functional",
    }  # fmt: skip


def _of_output(output: str) -> Name:
    return Name({"identity": "linear", "exp": EXP}.get(output, output))


def _in_order(description: Any) -> list[dict[str, Any]]:
    """The layers of a Sequential or Functional model that is a chain, from the input on."""
    config = description["config"]
    layers: list[dict[str, Any]] = config["layers"]
    if description["class_name"] == "Sequential":
        return layers
    if description["class_name"] != "Functional":
        raise ValueError(
            f"it must be a Sequential or Functional model, got {checks.shortened(description['class_name'])}"
        )
    by_name = {layer["name"]: layer for layer in layers}
    ends = config["output_layers"]
    ends = [ends] if isinstance(ends[0], str) else ends
    if len(ends) != 1 or len(by_name) < len(layers):
        raise ValueError("it must have one output, and layers of different names")
    found, name = list[dict[str, Any]](), ends[0][0]
    while True:
        layer = by_name[name]
        found.append(layer)
        if layer["class_name"] == "InputLayer":
            return found[::-1]
        if len(found) > len(layers):
            raise ValueError("its layers are a ring")
        nodes = layer["inbound_nodes"]
        tensors = nodes[0]["args"] if len(nodes) == 1 else []
        if len(tensors) != 1 or not isinstance(tensors[0], dict) or tensors[0]["class_name"] != "__keras_tensor__":
            raise ValueError(f"layer {checks.shortened(name)} must follow on one other")
        name = tensors[0]["config"]["keras_history"][0]


def _read(description: Any, weights_of: Any) -> Network:
    """A network of a description; ``weights_of`` gives the arrays of a Dense layer."""
    try:
        return chained(_parts(_in_order(description), weights_of), None)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"its description is not as Keras writes it: {type(error).__name__} {error}") from None


def _parts(layers: list[dict[str, Any]], weights_of: Any) -> Iterator[tuple[str, Any]]:
    """The layers and activations, for :func:`chained`."""
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        said = f"layer {checks.shortened(config['name'])} ({checks.shortened(kind)})"
        if kind == "InputLayer" or kind in SKIPPED:
            continue
        if not str(layer.get("module")).startswith("keras.") or layer.get("registered_name") not in (None, kind):
            raise ValueError(f"{said} is not one of Keras")
        if kind == "Dense":
            if config.get("quantization_config") is not None or config.get("lora_rank") is not None:
                raise ValueError(f"{said} must be neither quantized nor of low rank")
            kernel, *bias = weights_of(config)
            units = kernel.shape[-1]
            yield said, (kernel.T, bias[0] if bias else np.zeros(units, kernel.dtype))
            yield said, _known(_function(config["activation"]), {})
        elif kind == "Activation":
            yield said, _known(_function(config["activation"]), {})
        else:
            yield said, _known(kind, config)


def _function(activation: Any) -> str:
    """The name of an activation, which newer versions of Keras may write as an object."""
    return str(activation["config"] if isinstance(activation, Mapping) else activation or "linear")


def _known(name: str, config: Mapping[str, Any]) -> str | None:
    """What it is here: an activation or an output; None: nothing."""
    if name in SAME_AS:
        name, accepted = SAME_AS[name]
        if any(config.get(key, values[0]) not in values for key, values in accepted.items()):
            return None
    for ours, row in ACTIVATIONS.items():
        if (
            row.keras
            and row.keras.name == name
            and all(config.get(key) == value for key, value in row.keras.arguments.items())
        ):
            return ours
    return {"softmax": "softmax", EXP: "exp"}.get(name)


# ---------------------------------------------------------------------- models


def to_keras(model: Any) -> Any:
    """A network as a model of Keras 3, with copies of the weights.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
        Of an estimator its network; of a table's, the network behind the preprocessing.

    Returns
    -------
    keras.Model
        A functional one, of the network's dtype.

    Raises
    ------
    ImportError
        Where Keras, the extra ``keras``, or the library that it computes with is not installed.
    TypeError, ValueError
        Where the model is no such thing, or has parameters that are not finite.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> model = fb.interop.to_keras(fb.Network((4, 8, 3), hidden="tanh", seed=0))
    >>> [layer.name for layer in model.layers], model.output_shape
    (['X', 'layer_1', 'layer_2'], (None, 3))
    """
    keras = library("keras", "interop.to_keras", "keras")
    net = exported(model).net
    made = keras.saving.deserialize_keras_object(_described(net))
    for l, (W, b) in enumerate(zip(net.weights, net.biases), 1):
        made.get_layer(f"layer_{l}").set_weights([W.T, b])
    return made


def from_keras(source: Any) -> Network:
    """The network that a model of Keras, or a ``.keras`` file, is.

    Parameters
    ----------
    source : keras.Model or path
        A Sequential or functional model of Dense layers with the activations of :class:`fastbackprop.Network`, each
        after the other; dropout is left off. Keras' name gelu is ``gelu_exact`` here, ``gelu`` is
        ``keras.ops.gelu(x, approximate=True)``. A file needs h5py alone.

    Returns
    -------
    Network
        Of float64 where the weights are, else float32.

    Raises
    ------
    ImportError
        Where h5py is not installed.
    OSError
        Where the file cannot be read.
    TypeError, ValueError
        Where it is no such network, or damaged; the message names the first layer that cannot be read.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> net = fb.Network((4, 8, 3), hidden="gelu", seed=0)
    >>> fb.interop.from_keras(fb.interop.to_keras(net))
    Network(4-8-3, hidden=gelu, output=softmax, dtype=float32, 67 parameters)
    """
    if isinstance(source, (str, os.PathLike)):
        return _load(source)
    if not callable(getattr(source, "to_json", None)) or not hasattr(source, "layers"):
        raise TypeError(f"source must be a model of Keras or the path of one, got {checks.shortened(source)}")
    with bad_source(type(source).__name__):
        weights = {layer.name: layer.get_weights() for layer in source.layers}
        return _read(json.loads(source.to_json()), lambda config: weights[config["name"]])


# ---------------------------------------------------------------------- files


def save_keras(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a network to a ``.keras`` file, without Keras; ``keras.models.load_model`` reads it.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
        As for :func:`to_keras`.
    path : path
        The file appears whole or not at all.

    Raises
    ------
    ImportError
        Where h5py, which the extra ``keras`` brings, is not installed.
    TypeError, ValueError, OSError
        Where the model is no such thing, or the file cannot be written.

    Examples
    --------
    >>> import fastbackprop as fb, os, tempfile
    >>> net = fb.Network((4, 8, 3), hidden="gelu", seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "net.keras")
    >>> fb.interop.save_keras(net, path)
    >>> fb.interop.from_keras(path)
    Network(4-8-3, hidden=gelu, output=softmax, dtype=float32, 67 parameters)
    """
    h5py = library("h5py", "interop.save_keras", "keras")
    net, weights = exported(model).net, io.BytesIO()
    persistence.check_target(path, "path")
    with h5py.File(weights, "w") as file:
        for l, (W, b) in enumerate(zip(net.weights, net.biases)):
            group = file.create_group(f"layers/{_group(l)}/vars")
            group.attrs["name"] = f"layer_{l + 1}"
            for k, array in enumerate((np.ascontiguousarray(W.T), b)):
                group.create_dataset(str(k), data=array)
    parts: dict[str, str | bytes] = {
        "metadata.json": json.dumps({"keras_version": VERSION, "date_saved": "1980-01-01@00:00:00"}),
        "config.json": json.dumps(_described(net)),
        "model.weights.h5": weights.getvalue(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # with no time of writing
    persistence.write_atomically(path, buffer.getvalue())


def _group(k: int) -> str:
    """Where the k-th Dense has its weights."""
    return f"dense_{k}" if k else "dense"


def _load(path: str | os.PathLike[str]) -> Network:
    h5py = library("h5py", "interop.from_keras", "keras")
    with bad_source(os.fspath(path)), persistence.regular_file(path) as (file, size):
        try:
            with zipfile.ZipFile(file) as archive:
                config = archive.getinfo("config.json")
                if config.file_size > LONGEST_CONFIG:
                    raise ValueError(f"its description has {config.file_size} bytes")
                description = json.loads(archive.read(config))
                entry = archive.getinfo("model.weights.h5")
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size:
                    raise ValueError("its weights must lie uncompressed, as Keras writes them")
                weights = io.BytesIO(archive.read(entry))
        except (EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a .keras file, or not a whole one: {error}") from None
        try:
            hdf = h5py.File(weights, "r")
        except MemoryError:
            raise
        except Exception:  # h5py has no one error for what is damaged
            raise ValueError("its weights are no HDF5 file") from None
        with hdf:
            return _read(description, _Weights(h5py, hdf, description))


class _Weights:
    """The arrays of a file's Dense layers, by their place among them."""

    def __init__(self, h5py: Any, file: Any, description: Any) -> None:
        self.h5py, self.file = h5py, file
        try:
            layers = description["config"]["layers"]
            dense = [layer["config"]["name"] for layer in layers if layer["class_name"] == "Dense"]
        except (KeyError, TypeError):
            raise ValueError("its description is not as Keras writes it") from None
        self.places = {name: f"layers/{_group(k)}/vars" for k, name in enumerate(dense)}

    def __call__(self, config: dict[str, Any]) -> list[np.ndarray]:
        return [self._array(f"{self.places[config['name']]}/{k}") for k in range(1 + bool(config["use_bias"]))]

    def _array(self, place: str) -> np.ndarray:
        """An array that lies in the file itself, as large as what is there of it."""
        try:
            at = self.file
            for part in place.split("/"):
                if not isinstance(at.get(part, getlink=True), self.h5py.HardLink):
                    raise ValueError(f"its weights {place} lie in another file")
                at = at[part]
            if not isinstance(at, self.h5py.Dataset) or at.dtype.kind != "f" or at.dtype.itemsize > 8:
                raise ValueError(f"its weights {place} must be an array of floats")
            if at.external or at.is_virtual or at.id.get_storage_size() != at.size * at.dtype.itemsize:
                raise ValueError(f"its weights {place} must lie in the file, uncompressed")
            found: np.ndarray = at[()]
        except (KeyError, OSError, RuntimeError) as error:
            raise ValueError(f"its weights {place} cannot be read: {error}") from None
        return found.astype(np.float64 if found.dtype.itemsize == 8 else np.float32)
