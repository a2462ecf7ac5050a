"""ONNX graphs that are fully connected networks, as networks. Files may be hostile: no node runs but those named here.

A graph is walked once, in its order. Each value is known as a function of what the last layer before it gave, by what
it is at some points: which activation a few basic nodes are is seen from their numbers, however they are written.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastbackprop import checks, persistence, reference
from fastbackprop.activations import SELU_ALPHA, SELU_SCALE
from fastbackprop.interop.exported import bad_source, library, network
from fastbackprop.interop.onnx import LARGEST, ML
from fastbackprop.network import Network

MOST_NODES = 10_000
MOST_NUMBERS = 1 << 26  # of all values at all points: no small file makes more work
# Points at which functions are compared: near 0, where slopes change, and far away, where they are flat or straight.
POINTS = np.unique(np.concatenate([np.linspace(-9.0, 9.0, 55), [-40.0, -1e-3, 0.0, 1.0, 1e-3, 40.0]]))[:, None]
ZERO, ONE = (int(np.flatnonzero(POINTS[:, 0] == value)[0]) for value in (0.0, 1.0))
TOLERANCE = 1e-6  # of the comparison: constants are often in float32

Array = np.ndarray
FLOATS: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}  # by ONNX's number
DTYPES: dict[int, np.dtype[Any]] = {**FLOATS, 6: np.dtype("<i4"), 7: np.dtype("<i8"), 9: np.dtype("?")}


@dataclass(frozen=True)
class Base:
    """The input (without weights), or Z[l] = W[l] A[l-1] + b[l] of a layer, with what A[l-1] is."""

    inputs: Value | None = None
    W: Array | None = None
    b: Array | None = None
    is_bare: bool = False  # a product to which a bias may still be added


@dataclass(frozen=True)
class Value:
    """A function of a base, elementwise: its values at `POINTS`, (points, 1), or (points, units) where units differ."""

    base: Base
    at: Array
    softmax: bool = False


@dataclass(frozen=True)
class Unreadable:
    """A value that no network gives, and why."""

    why: str


class _CannotRead(Exception):
    """Why a node cannot be read; the node is added to it."""


def from_onnx(source: Any) -> Network:
    """The network that an ONNX graph is.

    It must be made of Gemm, or MatMul and Add, of the activations of :class:`fastbackprop.Network`, in whatever nodes,
    and of one of its outputs. What scales inputs before the first layer and outputs after the last becomes part of
    their weights, and so does batch normalisation. Labels, which classifiers have beside their probabilities, are left
    off; two probabilities of one sigmoid are one output. Float16 becomes float32.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        Constants may lie in other files of a path's directory, nowhere else.

    Returns
    -------
    Network
        Of float64 where the weights are, else float32. A graph that :func:`to_onnx` made of a network or an estimator
        gives its network, bit for bit; of a table's, the network behind the preprocessing.

    Raises
    ------
    ImportError
        Where onnx, the extra ``onnx``, is not installed.
    OSError
        Where a file cannot be read.
    ValueError, TypeError
        Where it is no such graph, or damaged; the message names the first node that cannot be read.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> net = fb.Network((4, 8, 3), hidden="gelu", seed=0)
    >>> fb.interop.from_onnx(fb.interop.to_onnx(net))
    Network(4-8-3, hidden=gelu, output=softmax, dtype=float32, 67 parameters)
    """
    return read_onnx(source)[0]


def read_onnx(source: Any) -> tuple[Network, dict[str, str]]:
    """What :func:`from_onnx` gives, and the texts of the metadata."""
    library("onnx", "interop.from_onnx", "onnx")
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else type(source).__name__
    with bad_source(name):
        proto, folder = _proto(source)
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        return _Reader(proto.graph, folder, metadata).network(), metadata


def _proto(source: Any) -> tuple[Any, Path | None]:
    """The message, and the directory in which its constants may be."""
    onnx = library("onnx", "interop.from_onnx", "onnx")
    if isinstance(source, onnx.ModelProto):
        return source, None
    folder = None
    if isinstance(source, (str, os.PathLike)):
        folder = Path(os.path.realpath(source)).parent
        with persistence.regular_file(source) as (file, size):
            if size > LARGEST:
                raise ValueError("it must be a file of less than 2 GiB")
            source = file.read()
    if not isinstance(source, bytes):
        raise TypeError(f"source must be a path, bytes or an onnx.ModelProto, got {checks.shortened(source)}")
    try:
        return onnx.ModelProto.FromString(source), folder
    except MemoryError:
        raise
    except Exception:  # protobuf's errors differ from version to version
        raise ValueError("not an ONNX file, or not a whole one") from None


class _Reader:
    """The walk through a graph."""

    def __init__(self, graph: Any, folder: Path | None, metadata: dict[str, str]) -> None:
        if len(graph.node) > MOST_NODES:
            raise ValueError(f"it has {len(graph.node)} nodes, and at most {MOST_NODES} are read")
        self.graph, self.folder, self.metadata = graph, folder, metadata
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.values: dict[str, Any] = {
            entry.name: Value(Base(), POINTS) for entry in graph.input if entry.name not in self.tensors
        }
        self.numbers = 0
        self.weights: set[str] = set()  # names of matrices that are a layer's

    def network(self) -> Network:
        """The network of the first output that is one."""
        for node in self.graph.node:
            try:
                found = self._value_of(node)
            except _Before as error:
                found = Unreadable(str(error))
            except (_CannotRead, IndexError, KeyError, TypeError, ValueError) as error:
                why = error if isinstance(error, _CannotRead) else f"is not as it should be: {error}"
                found = Unreadable(f"node {_name(node)} ({node.op_type}) {why}")
            for name in node.output:
                self.values[name] = found
                found = Unreadable(f"{checks.shortened(name)} is a second result of a node")
        whys: list[str] = []
        for output in self.graph.output:
            value = self.values.get(output.name)
            if isinstance(value, Value) and value.base.W is not None:
                try:
                    return self._network_of(value)
                except ValueError as error:
                    whys.append(str(error))
            else:
                whys.append(value.why if isinstance(value, Unreadable) else "no node with weights leads to its output")
        raise ValueError(whys[0] if whys else "it has no output")

    # ------------------------------------------------------------------ a node

    def _value_of(self, node: Any) -> Any:
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        attributes = {entry.name: entry for entry in node.attribute}
        if op == "Constant" and "value" in attributes:
            return self._array(attributes["value"].t)
        if op not in ELEMENTWISE and op not in PASSED_ON and op not in LAYERS:
            for name in node.input[:1]:
                self._argument(name)  # what could not be read before says why
            raise _CannotRead("is none of those of a fully connected network")
        if op in LAYERS:
            return LAYERS[op](self, node, attributes)
        return self._passed_on(op, node, attributes) if op in PASSED_ON else self._elementwise(op, node, attributes)

    def _passed_on(self, op: str, node: Any, attributes: dict[str, Any]) -> Any:
        """What changes nothing; an error where it does."""
        value = self._first_of(node)
        if op == "Transpose":
            if not isinstance(value, Array) or value.ndim != 2 or list(_whole(attributes, "perm", [1, 0])) != [1, 0]:
                raise _CannotRead("transposes what is no matrix of constants")
            return value.T
        if op == "Cast" and attributes["to"].i not in FLOATS:
            raise _CannotRead("makes other numbers than floats")
        if op == "Flatten" and _whole(attributes, "axis", 1) != 1:
            raise _CannotRead("does not flatten samples")
        if op == "Dropout" and len(node.input) > 2 and self._constant(node, 2).any():
            raise _CannotRead("is that of a training")
        if op == "Reshape":
            shape = self._constant(node, 1).tolist()
            width = 0 if isinstance(value, Array) or value.base.W is None else len(value.base.W)
            if not (shape in ([0, -1], [-1, width]) or (shape == [-1] and width == 1)):
                raise _CannotRead("gives samples another shape")
        return value

    def _argument(self, name: str) -> Value | Array:
        """What a node reads: a value, or a constant."""
        if name not in self.values and name in self.tensors:
            self.values[name] = self._array(self.tensors[name])
        value = self.values.get(name)
        if value is None:
            raise _CannotRead(f"reads {checks.shortened(name)}, which no node before it gives")
        if isinstance(value, Unreadable):
            raise _Before(value.why)
        return value

    def _first_of(self, node: Any) -> Value | Array:
        if not node.input:
            raise _CannotRead("reads nothing")
        return self._argument(node.input[0])

    def _elementwise(self, op: str, node: Any, attributes: dict[str, Any]) -> Value:
        given = [self._argument(name) if name else None for name in node.input]
        values = [value for value in given if isinstance(value, Value)]
        if not values:
            raise _CannotRead("computes a constant")
        if any(value.base is not values[0].base or value.softmax for value in values):
            raise _CannotRead("brings together what is not of one layer")
        base = values[0].base
        if op == "Add" and len(given) == 2 and base.is_bare and values[0].at is POINTS:  # MatMul, then Add
            bias = next((value for value in given if isinstance(value, Array)), None)
            if bias is not None and base.W is not None:
                return Value(Base(base.inputs, base.W, self._vector(bias, len(base.W))), POINTS)
        arrays = [_row(value) if isinstance(value, Array) else value and value.at for value in given]
        with np.errstate(all="ignore"):
            at = ELEMENTWISE[op](attributes, *arrays)
        return self._counted(base, at)

    def _counted(self, base: Base, at: Array) -> Value:
        self.numbers += at.size
        if self.numbers > MOST_NUMBERS:
            raise OverflowError("its nodes make too many numbers of a few")
        if base.W is not None and at.shape[1] not in (1, len(base.W)):
            raise _CannotRead("brings together what has not the same number of units")
        return Value(base, at)

    def _layer(self, x: Any, name: str, W: Array, b: Array | None, bare: bool) -> Value:
        if isinstance(x, Array) or x.softmax:
            raise _CannotRead("multiplies what is no layer's activations")
        if W.ndim != 2 or not W.size:
            raise _CannotRead(f"has weights of shape {W.shape}")
        width = x.at.shape[1] if x.base.W is None else len(x.base.W)
        if width not in (1, W.shape[1]) or (x.base.W is not None and width != W.shape[1]):
            raise _CannotRead(f"has weights for {W.shape[1]} inputs, and {width} lead to it")
        if name in self.weights:  # so the network is no larger than the file
            raise _CannotRead("has the weights of another layer")
        self.weights.add(name)
        return Value(Base(x, W, np.zeros(len(W)) if b is None else self._vector(b, len(W)), bare), POINTS)

    @staticmethod
    def _vector(array: Array, count: int) -> Array:
        if array.size not in (1, count) or (array.size == count and array.shape[-1:] not in ((count,), ())):
            raise _CannotRead(f"adds a constant of shape {array.shape} to {count} outputs")
        return np.broadcast_to(array.reshape(-1), (count,))

    def _front(self, node: Any) -> Any:
        """What a layer reads. Where `to_onnx` wrote the preprocessing of a table, that is the input."""
        try:
            return self._first_of(node)
        except _Before:
            if "table" not in self.metadata or self.weights:
                raise
            return Value(Base(), POINTS)

    def _gemm(self, node: Any, attributes: dict[str, Any]) -> Value:
        number = {"alpha": 1.0, "beta": 1.0} | {key: entry.f for key, entry in attributes.items() if key in _SCALES}
        flag = {key: entry.i for key, entry in attributes.items()}
        if flag.get("transA"):
            raise _CannotRead("transposes its inputs")
        W = self._constant(node, 1)
        W = W if flag.get("transB") else W.T
        b = self._constant(node, 2) if len(node.input) > 2 and node.input[2] else None
        W = W if number["alpha"] == 1 else W * number["alpha"]
        b = b if b is None or number["beta"] == 1 else b * number["beta"]
        return self._layer(self._front(node), node.input[1], W, b, False)

    def _matmul(self, node: Any, attributes: dict[str, Any]) -> Value:
        return self._layer(self._front(node), node.input[1], self._constant(node, 1).T, None, True)

    def _batch_normalization(self, node: Any, attributes: dict[str, Any]) -> Value:
        x = self._first_of(node)
        if isinstance(x, Array) or x.at is not POINTS or x.base.W is None or x.base.b is None:
            raise _CannotRead("does not follow on a layer")
        count = len(x.base.W)
        scale, shift, mean, variance = (self._vector(self._constant(node, k), count) for k in range(1, 5))
        scale = scale / np.sqrt(variance + (attributes["epsilon"].f if "epsilon" in attributes else 1e-5))
        W, b = x.base.W * scale[:, None], (x.base.b - mean) * scale + shift
        return Value(Base(x.base.inputs, W.astype(x.base.W.dtype), b), POINTS)

    def _softmax(self, node: Any, attributes: dict[str, Any]) -> Value:
        x = self._first_of(node)
        if isinstance(x, Array) or x.softmax or ("axis" in attributes and attributes["axis"].i not in (1, -1)):
            raise _CannotRead("is not over the outputs")
        return Value(x.base, x.at, softmax=True)

    def _concat(self, node: Any, attributes: dict[str, Any]) -> Value:
        """The probabilities 1 - o and o of two classes."""
        if len(node.input) == 2:
            first, second = map(self._argument, node.input)
            if isinstance(first, Value) and isinstance(second, Value) and first.base is second.base:
                W = first.base.W
                if W is not None and len(W) == 1 and _alike(first.at, 1 - second.at):
                    return second
        raise _CannotRead("puts together what is not of one layer")

    def _scaler(self, node: Any, attributes: dict[str, Any]) -> Value:
        x = self._first_of(node)
        if isinstance(x, Array) or x.softmax:
            raise _CannotRead("scales what is no layer's activations")
        offset, scale = (np.array(list(attributes[k].floats), np.float64)[None] for k in ("offset", "scale"))
        return self._counted(x.base, (x.at - offset) * scale)

    # ------------------------------------------------------------------ constants

    def _constant(self, node: Any, place: int) -> Array:
        value = self._argument(node.input[place]) if place < len(node.input) else None
        if not isinstance(value, Array):
            raise _CannotRead("has weights that are no constant")
        return value

    def _array(self, tensor: Any) -> Array:
        """A constant; it is as large as what is there of it."""
        dtype, shape = DTYPES.get(tensor.data_type), tuple(tensor.dims)
        name = checks.shortened(tensor.name)
        if dtype is None:
            raise _CannotRead(f"reads {name}, a constant of another type than floats, whole numbers and Booleans")
        if any(n < 0 for n in shape):
            raise ValueError(f"the constant {name} has the shape {checks.shortened(shape)}")
        count = math.prod(shape)
        if tensor.data_location == tensor.EXTERNAL:
            data = self._external(tensor, count * dtype.itemsize)
        elif tensor.HasField("raw_data"):
            data = tensor.raw_data
        else:
            field = {1: "float_data", 11: "double_data", 7: "int64_data"}.get(tensor.data_type, "int32_data")
            numbers = getattr(tensor, field)
            if len(numbers) != count:
                raise ValueError(f"the constant {name} must have {count} numbers, got {len(numbers)}")
            if tensor.data_type == 10:  # the bits
                return np.array(numbers, np.uint16).view(np.float16).reshape(shape)
            return np.array(numbers, dtype.newbyteorder("=")).reshape(shape)
        if len(data) != count * dtype.itemsize:
            raise ValueError(f"the constant {name} must have {count * dtype.itemsize} bytes, got {len(data)}")
        return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)

    def _external(self, tensor: Any, size: int) -> bytes:
        name, said = checks.shortened(tensor.name), {entry.key: entry.value for entry in tensor.external_data}
        location = said.get("location", "")
        if self.folder is None:
            raise ValueError(f"the constant {name} lies in another file; only those of a path's directory are read")
        path = Path(os.path.realpath(self.folder / location))
        if not location or not path.is_relative_to(self.folder) or not path.is_file():
            raise ValueError(
                f"the constant {name} must lie in a file of the same directory, got {checks.shortened(location)}"
            )
        try:
            offset, length = int(said.get("offset", "0")), int(said.get("length", str(size)))
        except ValueError:
            raise ValueError(f"the constant {name} has an offset or a length that is no number") from None
        if length != size or offset < 0 or offset + size > path.stat().st_size:
            raise ValueError(f"the constant {name} must have {size} bytes in {location!r}, and has not")
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    # ------------------------------------------------------------------ the network

    def _network_of(self, value: Value) -> Network:
        layers: list[tuple[Array, Array, Value]] = []
        at: Value | None = value
        while at is not None and at.base.W is not None and at.base.b is not None:
            layers.append((at.base.W, at.base.b, at))
            at = at.base.inputs
        layers.reverse()
        weights, biases = [W for W, _, _ in layers], [b for _, b, _ in layers]
        dtype = np.dtype(np.float64 if any(W.dtype == np.float64 for W in weights) else np.float32)
        slope, shift = _straight(at.at if at is not None else POINTS, "before the first layer")
        if not (slope == 1).all() or shift.any():  # W (s x + t) + b
            biases[0] = biases[0] + (weights[0].astype(np.float64) * shift).sum(axis=1)
            weights[0] = weights[0] * slope
        output, slope, shift = _output(value)
        if "table" in self.metadata:  # the units of its targets are the table's
            slope, shift = np.ones(1), np.zeros(1)
        if not (slope == 1).all() or shift.any():
            weights[-1], biases[-1] = weights[-1] * slope[:, None], biases[-1] * slope + shift
        hints = self._hidden_in_metadata()
        hidden = [_activation(layer.at, l + 1, hints.get(l)) for l, (*_, layer) in enumerate(layers[:-1])]
        sizes = [weights[0].shape[1], *map(len, weights)]
        return network(sizes, hidden, output, dtype, weights, biases)

    def _hidden_in_metadata(self) -> dict[int, str]:
        """What `to_onnx` wrote down: of two names with the same values, such as relu and relu0, it is that one."""
        try:
            return dict(enumerate(json.loads(self.metadata.get("hidden", "[]"))))
        except (RecursionError, TypeError, ValueError):
            return {}


class _Before(_CannotRead):
    """A node reads what could not be read: the earlier reason stands."""


def _name(node: Any) -> str:
    return checks.shortened(node.name or next(iter(node.output), ""))


def _whole(attributes: dict[str, Any], name: str, default: Any) -> Any:
    """An attribute of a whole number or, where the default is a list, of several."""
    if name not in attributes:
        return default
    return attributes[name].ints if isinstance(default, list) else attributes[name].i


def _row(constant: Array) -> Array:
    """A constant in an elementwise node: a number, or one a unit."""
    if constant.size > 1 and constant.size != constant.shape[-1]:
        raise _CannotRead(f"has a constant of shape {constant.shape}")
    return constant.reshape(1, -1).astype(np.float64)


def _alike(one: Array, other: Array) -> bool:
    return bool(np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE))


def _activation(at: Array, l: int, hint: str | None) -> str:
    """The name of an activation from its values."""
    with np.errstate(all="ignore"):
        names = [name for name, (g, _) in reference.ACTIVATIONS.items() if _alike(at, g(POINTS))]
    if not names:
        known = ", ".join(reference.ACTIVATIONS)
        raise ValueError(f"what follows on layer {l} is none of the activations {known}")
    return hint if hint in names else names[0]


def _straight(at: Array, where: str) -> tuple[Array, Array]:
    """Slope and shift of a function that must be a straight line."""
    shift, slope = at[ZERO], at[ONE] - at[ZERO]
    if not np.isfinite(at).all() or not _alike(at, POINTS * slope + shift):
        raise ValueError(f"{where} stands more than a scaling")
    if at is not POINTS:
        slope = np.where(np.abs(slope - 1) <= np.finfo(np.float64).eps, 1.0, slope)
    return slope, shift


def _output(value: Value) -> tuple[str, Array, Array]:
    """The output layer, and the scaling before it."""
    at = value.at
    if value.softmax:
        return "softmax", *_straight(at, "before the softmax")
    with np.errstate(all="ignore"):
        if _alike(at, reference.sigmoid(POINTS)):
            return "sigmoid", np.ones(1), np.zeros(1)
        if _alike(at, np.exp(POINTS)):
            return "exp", np.ones(1), np.zeros(1)
    try:
        return "identity", *_straight(at, "")
    except ValueError:
        raise ValueError("what follows on the last layer is none of identity, sigmoid, softmax and exp") from None


def _number(attributes: dict[str, Any], name: str, default: float) -> float:
    return attributes[name].f if name in attributes else default


def _function(f: Callable[[Array], Any]) -> Callable[..., Any]:
    """A node of one input, without attributes."""
    return lambda attributes, z: f(z)


def _gelu(attributes: dict[str, Any], z: Array) -> Array:
    in_tanh_form = "approximate" in attributes and attributes["approximate"].s == b"tanh"
    return reference.gelu(z) if in_tanh_form else reference.gelu_exact(z)


def _selu(attributes: dict[str, Any], z: Array) -> Array:
    alpha, gamma = _number(attributes, "alpha", SELU_ALPHA), _number(attributes, "gamma", SELU_SCALE)
    return gamma * np.where(z < 0, alpha * np.expm1(z), z)


def _clip(attributes: dict[str, Any], z: Array, low: Array | None = None, high: Array | None = None) -> Array:
    z = z if low is None else np.maximum(z, low)
    return z if high is None else np.minimum(z, high)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Relu": _function(lambda z: np.maximum(z, 0)),
    "LeakyRelu": lambda a, z: np.where(z < 0, _number(a, "alpha", 0.01) * z, z),
    "PRelu": lambda a, z, slope: np.where(z < 0, slope * z, z),
    "Elu": lambda a, z: np.where(z < 0, _number(a, "alpha", 1.0) * np.expm1(z), z),
    "Gelu": _gelu, "Selu": _selu, "Mish": _function(reference.mish), "Erf": _function(np.vectorize(math.erf)),
    "Tanh": _function(np.tanh), "Sigmoid": _function(reference.sigmoid), "Softplus": _function(reference.softplus),
    "Exp": _function(np.exp), "Log": _function(np.log), "Neg": _function(np.negative), "Abs": _function(np.abs),
    "Sqrt": _function(np.sqrt), "Reciprocal": _function(np.reciprocal), "Clip": _clip,
    "Add": lambda a, x, y: x + y, "Sub": lambda a, x, y: x - y, "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x / y, "Pow": lambda a, x, y: np.power(x, y), "Max": lambda a, x, y: np.maximum(x, y),
    "Min": lambda a, x, y: np.minimum(x, y), "Where": lambda a, c, x, y: np.where(c != 0, x, y),
    "Greater": lambda a, x, y: 1.0 * (x > y), "GreaterOrEqual": lambda a, x, y: 1.0 * (x >= y),
    "Less": lambda a, x, y: 1.0 * (x < y), "LessOrEqual": lambda a, x, y: 1.0 * (x <= y),
}  # fmt: skip
PASSED_ON = {"Identity", "Cast", "Dropout", "Flatten", "Reshape", "Transpose", f"{ML}.ZipMap"}
LAYERS: dict[str, Callable[..., Any]] = {
    "Gemm": _Reader._gemm, "MatMul": _Reader._matmul, "BatchNormalization": _Reader._batch_normalization,
    "Softmax": _Reader._softmax, "Concat": _Reader._concat, f"{ML}.Scaler": _Reader._scaler,
}  # fmt: skip
_SCALES = ("alpha", "beta")
