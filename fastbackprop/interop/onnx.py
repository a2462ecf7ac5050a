"""ONNX: a graph of Gemm and activations, with the preprocessing of a table in front, and labels behind.

Such graphs are read in ``onnx_reading``.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from fastbackprop import checks, persistence
from fastbackprop.activations import ACTIVATIONS, GELU_CUBIC, GELU_SCALE, LEAK, SELU_ALPHA, SELU_SCALE
from fastbackprop.engine import elementary
from fastbackprop.interop.exported import Exported, exported, library
from fastbackprop.network import Network
from fastbackprop.version import __version__

LEAST_OPSET = 13  # Softmax is of one axis from here on
LARGEST = (1 << 31) - (1 << 20)  # bytes of parameters: protobuf's messages are below 2 GiB
ML = "ai.onnx.ml"
ML_OPSET = 3


class Graph:
    """Nodes and constants as they are added; a value is known by its name.

    Parameters
    ----------
    dtype : dtype
        Of the numbers in formulas.
    prefix : str
        Before all names, where the graph becomes part of another.
    """

    def __init__(self, dtype: np.dtype[Any], prefix: str = "") -> None:
        self.onnx = library("onnx", "interop.to_onnx", "onnx")
        self.dtype, self.prefix = dtype, prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.taken: set[str] = set()
        self._numbers: dict[tuple[float, np.dtype[Any]], str] = {}

    def name(self, wanted: str) -> str:
        """A name that no other value has."""
        name, count = self.prefix + wanted, 1
        while name in self.taken:
            name, count = f"{self.prefix}{wanted}_{count}", count + 1
        self.taken.add(name)
        return name

    def constant(self, array: np.ndarray, name: str = "constant") -> str:
        """An array as a constant."""
        name = self.name(name)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def number(self, value: float, dtype: Any = None) -> str:
        """A number; each is there only once."""
        key = value, np.dtype(self.dtype if dtype is None else dtype)
        if key not in self._numbers:
            self._numbers[key] = self.constant(np.array(value, key[1]), "number")
        return self._numbers[key]

    def add(self, op: str, *inputs: str, to: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node of one result, called ``to`` where that is given; its name."""
        result = to or self.name(op.lower())
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [result], result, domain=domain, **attributes))
        return result

    def cast(self, value: str, dtype: Any, to: str = "") -> str:
        """The value in another dtype."""
        result = to or self.name("cast")
        self.nodes.append(self.onnx.helper.make_node("Cast", [value], [result], result, to=self.code(dtype)))
        return result

    def code(self, dtype: Any) -> int:
        """ONNX's number of a dtype; object is text."""
        code: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return code


# ---------------------------------------------------------------------- the network


def _leaky_relu(g: Graph, z: str) -> str:
    return g.add("Max", z, g.add("Mul", z, g.number(LEAK)))


def _elu(g: Graph, z: str) -> str:
    zero, one = g.number(0.0), g.number(1.0)
    return g.add("Add", g.add("Max", z, zero), g.add("Sub", g.add("Exp", g.add("Min", z, zero)), one))


def _softplus(g: Graph, z: str) -> str:
    e = g.add("Exp", g.add("Neg", g.add("Abs", z)))
    return g.add("Add", g.add("Max", z, g.number(0.0)), g.add("Log", g.add("Add", e, g.number(1.0))))


def _gelu(g: Graph, z: str) -> str:
    cubic = g.add("Add", g.add("Mul", g.add("Mul", z, z), g.number(GELU_CUBIC)), g.number(1.0))
    u = g.add("Mul", g.add("Mul", z, g.number(2 * GELU_SCALE)), cubic)
    return g.add("Mul", z, g.add("Sigmoid", u))  # (1 + tanh u) / 2 = sigma(2 u)


def _silu(g: Graph, z: str) -> str:
    return g.add("Mul", z, g.add("Sigmoid", z))


def _selu(g: Graph, z: str) -> str:
    zero, one = g.number(0.0), g.number(1.0)
    below = g.add("Mul", g.add("Sub", g.add("Exp", g.add("Min", z, zero)), one), g.number(SELU_ALPHA))
    return g.add("Mul", g.add("Add", g.add("Max", z, zero), below), g.number(SELU_SCALE))


def _mish(g: Graph, z: str) -> str:
    return g.add("Mul", z, g.add("Tanh", _softplus(g, z)))


def _hard_tanh(g: Graph, z: str) -> str:
    return g.add("Min", g.add("Max", z, g.number(-1.0)), g.number(1.0))


def _gelu_exact(g: Graph, z: str) -> str:
    if g.dtype == np.float32:
        erf = g.add("Erf", g.add("Mul", z, g.number(0.5**0.5)))
        return g.add("Mul", g.add("Mul", z, g.number(0.5)), g.add("Add", erf, g.number(1.0)))
    # onnxruntime has no Erf of float64: the tail as in engine/elementary.py
    a = g.add("Min", g.add("Abs", z), g.number(elementary.TAIL_END.values[1]))
    k = g.number(elementary.MILLS_K.values[1])
    t = g.add("Div", g.add("Sub", a, k), g.add("Add", a, k))
    *others, p = (g.number(c) for c in elementary.mills.values[1])
    for c in reversed(others):
        p = g.add("Add", g.add("Mul", p, t), c)
    density = g.add("Exp", g.add("Mul", g.add("Mul", a, a), g.number(-0.5)))
    tail = g.add("Div", g.add("Mul", density, p), g.add("Add", a, k))
    above = g.add("Sub", g.number(1.0), tail)
    return g.add("Mul", z, g.add("Where", g.add("Less", z, g.number(0.0)), tail, above))


# In basic nodes: what opset 17 lacks. And in float64 what has its constants in float32, or is nowhere computed so.
WRITTEN_OUT = {
    "leaky_relu": _leaky_relu, "elu": _elu, "softplus": _softplus, "gelu": _gelu, "silu": _silu, "selu": _selu,
    "mish": _mish, "hard_tanh": _hard_tanh, "gelu_exact": _gelu_exact,
}  # fmt: skip
HEADS = {"sigmoid": "Sigmoid", "softmax": "Softmax", "exp": "Exp"}


def _add_activation(g: Graph, activation: str, z: str) -> str:
    name = ACTIVATIONS[activation].onnx
    is_newer = name is not None and not g.onnx.defs.has(name.name, LEAST_OPSET, "")
    if name is None or is_newer or (g.dtype == np.float64 and activation in WRITTEN_OUT):
        return WRITTEN_OUT[activation](g, z)
    return g.add(name.name, z, **name.arguments)


def add_network(g: Graph, net: Network, x: str) -> str:
    """Add the layers, with x, (N, n[0]), of the network's dtype; the name of the outputs."""
    for l, (W, b) in enumerate(zip(net.weights, net.biases)):
        x = g.add("Gemm", x, g.constant(W, f"weights.{l}"), g.constant(b, f"biases.{l}"), transB=1)
        if l < len(net.hidden):
            x = _add_activation(g, net.hidden[l], x)
    if net.output in HEADS:
        axis: dict[str, Any] = {"axis": 1} if net.output == "softmax" else {}
        x = g.add(HEADS[net.output], x, **axis)
    return x


# ---------------------------------------------------------------------- what stands around it


def add_labels(g: Graph, outputs: str, count: int, labels: np.ndarray, to: tuple[str, str]) -> None:
    """Add the most probable label, (N,), and the probabilities of all, (N, C), of (N, C) outputs or one for two."""
    label, probabilities = to
    names = g.constant(_plain(labels), "classes")
    if count == 1:
        g.add("Concat", g.add("Sub", g.number(1.0), outputs), outputs, to=probabilities, axis=1)
        chosen = g.add("Reshape", _above_half(g, outputs), g.constant(np.array([-1], np.int64), "rows"))
    else:
        g.add("Identity", outputs, to=probabilities)
        chosen = g.add("ArgMax", outputs, axis=1, keepdims=0)
    g.add("Gather", names, chosen, to=label)


def _above_half(g: Graph, outputs: str, to: str = "") -> str:
    return g.cast(g.add("Greater", outputs, g.number(0.5)), np.int64, to)


def _plain(labels: np.ndarray) -> np.ndarray:
    """Labels as ONNX has them: whole numbers, Booleans, float64 or texts."""
    labels = np.asarray(labels)
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        return labels.astype(np.float64)
    return labels if labels.dtype.kind == "b" else labels.astype(str).astype(object)


def add_estimator(g: Graph, found: Exported, x: str, to: tuple[str, str]) -> None:
    """Add an estimator's predictions of x, called ``to``: label and probabilities, or the variable and nothing."""
    net, classes = found.net, found.classes
    outputs = add_network(g, net, x)
    if classes is None:
        g.add("Identity", outputs, to=to[0])
    elif net.output == "sigmoid" and (net.sizes[-1] > 1 or len(classes) == 1):  # several labels, each 0 or 1
        _above_half(g, outputs, to[0])
        g.add("Identity", outputs, to=to[1])
    else:
        add_labels(g, outputs, net.sizes[-1], classes, to)


def label_type(found: Exported) -> tuple[Any, bool]:
    """The dtype of a classifier's label, and whether it is a row of several."""
    if found.net.output == "sigmoid" and found.net.sizes[-1] > 1:
        return np.dtype(np.int64), True
    return _plain(np.asarray(found.classes)).dtype, False


def to_onnx(model: Any, path: str | os.PathLike[str] | None = None, opset: int = 17) -> Any:
    """A model as an ONNX graph, which onnxruntime and many others run.

    - A :class:`fastbackprop.Network`: from ``X``, (N, n[0]), to ``outputs``, (N, n[L]), both of its dtype.
    - An estimator of ``fastbackprop.sklearn``: as skl2onnx has it without its ZipMap, from ``X`` to ``label`` and
      ``probabilities``, or to ``variable``.
    - A file that ``fastbackprop train`` wrote: an input for each column, (N, 1), of its name: numbers in float64, with
      NaN where they are missing; categories as text; dates as days since 1970 in float64. The outputs are those of an
      estimator, in the units of the targets.

    The number of rows, N, is free. The metadata hold sizes, activations, classes and names, in JSON.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or path of a safetensors file
    path : path, optional
        A file to write, which appears whole or not at all.
    opset : int
        Version of ONNX's operators, from 13 up to the newest that the installed onnx knows.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    ImportError
        Where onnx, the extra ``onnx``, is not installed.
    TypeError, ValueError, OSError
        Where the model is no such thing, its parameters are not finite or 2 GiB, or the file cannot be written.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> graph = fb.interop.to_onnx(fb.Network((4, 8, 3), seed=0)).graph
    >>> [node.op_type for node in graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Softmax', 'Identity']
    """
    found = exported(model)
    checks.whole_number(opset, "opset", LEAST_OPSET)
    net, g = found.net, Graph(found.net.dtype)
    onnx = g.onnx
    if opset > onnx.defs.onnx_opset_version():
        newest = onnx.defs.onnx_opset_version()
        raise ValueError(f"opset must be from {LEAST_OPSET} to {newest}, the newest that onnx knows, got {opset}")
    if net.params.nbytes > LARGEST:
        raise ValueError(f"model must have less than 2 GiB of parameters for ONNX, got {net.params.nbytes} bytes")
    if path is not None:
        persistence.check_target(path, "path")
    info = onnx.helper.make_tensor_value_info
    metadata = {
        "sizes": list(net.sizes), "hidden": list(net.hidden), "output": net.output, "dtype": net.dtype.name,
    }  # fmt: skip
    n_out: int | None = net.sizes[-1]
    if found.table is not None:
        from fastbackprop.interop.onnx_table import add_inputs, add_predictions

        inputs, x = add_inputs(g, found.table, net.dtype)
        outputs = add_predictions(g, found.table, add_network(g, net, x))
        metadata["table"] = json.loads(found.table.to_json())
    else:
        g.taken |= {"X", "outputs", "label", "probabilities", "variable"}
        inputs = [info("X", g.code(net.dtype), [None, net.sizes[0]])]
        kind = g.code(net.dtype)
        if not found.is_estimator:
            g.add("Identity", add_network(g, net, "X"), to="outputs")
            outputs = [info("outputs", kind, [None, n_out])]
        elif found.classes is None:
            add_estimator(g, found, "X", ("variable", ""))
            outputs = [info("variable", kind, [None, n_out])]
        else:
            add_estimator(g, found, "X", ("label", "probabilities"))
            dtype, several = label_type(found)
            shape = [None, n_out] if several else [None]
            columns = n_out if several else len(found.classes)
            outputs = [info("label", g.code(dtype), shape), info("probabilities", kind, [None, columns])]
            metadata["classes"] = _plain(np.asarray(found.classes)).tolist()
        if found.names:
            metadata["names"] = list(found.names)
    graph = onnx.helper.make_graph(g.nodes, "fastbackprop", inputs, outputs, g.constants)
    versions = [onnx.helper.make_opsetid("", opset)]
    if any(node.domain == ML for node in g.nodes):
        versions.append(onnx.helper.make_opsetid(ML, ML_OPSET))
    proto = onnx.helper.make_model(
        graph, opset_imports=versions, ir_version=onnx.helper.find_min_ir_version_for(versions, ignore_unknown=True),
        producer_name="fastbackprop", producer_version=__version__,
    )  # fmt: skip
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    onnx.helper.set_model_props(proto, texts)
    if path is not None:
        persistence.write_atomically(path, proto.SerializeToString())
    return proto
