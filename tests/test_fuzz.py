"""Malformed calls of every public function: one ValueError or TypeError that names the argument, and nothing changed.

A call has one argument replaced by a value that no argument of its kind accepts. The elementwise functions, which take
one array as NumPy's universal functions do and refuse it with NumPy's own words, need not name it.
"""

from __future__ import annotations

import inspect
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastbackprop as fb
from fastbackprop import datasets, functional, gradcheck, paper, persistence, plotting, reference, schedules

ODD = [None, "abc", b"abc", object(), {}, {1: 2}, {3, 4}, lambda: 1, 1j, ..., NotImplemented, np.datetime64("2020")]
NOT_NUMBERS = [v for v in ODD if not callable(v)]  # a function is a rate
NOT_ARRAYS = [
    *ODD, "", [], [[]], [None], ["a"], [[1.0], [2.0, 3.0]], [[object()]], np.array(["1.0"]), np.array([[1j]]),
    np.array([b"x"]), np.array([None]), np.zeros((2, 2), "M8[s]"), np.zeros(3, [("a", float)]), np.zeros((0, 3)),
    np.ma.masked_array([[1.0, 2.0, 3.0]], mask=True),
]  # fmt: skip
NOT_FINITE = [np.full((6, 3), v) for v in (np.nan, np.inf, -np.inf)] + [np.full((6, 3), 1e300)]
MISSHAPEN = [np.zeros(s) for s in ((), (6,), (6, 2), (6, 4), (6, 3, 1), (0, 3), (3, 0), (1, 1, 1, 1))]

# What no argument of a kind accepts.
BAD: dict[str, list[Any]] = {
    "rows": [*NOT_ARRAYS, *NOT_FINITE, *MISSHAPEN, 3.0, [1.0, 2.0], range(2)],
    "targets": [
        *NOT_ARRAYS, 1.0, [0, 1], [0] * 7, [-1] * 6, [0, 1, 2, 3, 0, 1], [0.5] * 6, [np.nan] * 6, [np.inf] * 6,
        [10**30] * 6, np.zeros((6, 3)), np.full((6, 3), np.nan), np.full((6, 3), -1.0), np.eye(6), np.zeros((6, 3, 1)),
        np.array([0, 1, 2, 0, 1, 2], complex), ["0"] * 6,
    ],
    "weights": [*NOT_ARRAYS[1:], 1.0, [1.0] * 5, [0.0] * 6, [-1.0] * 6, [np.nan] * 6, [np.inf] * 6, np.ones((6, 1))],
    "params": [*NOT_ARRAYS, 1.0, np.zeros(3), np.zeros((31, 1)), np.zeros(31, complex), ["0"] * 31],
    "count": [*ODD, 0, -1, 0.5, 1.0, "3", np.nan, np.inf, [1], True, np.True_, np.float64(2), -(10**30)],
    "index": [*ODD, -1, 0.5, 1.0, "3", np.nan, np.inf, [1], True, -(10**30)],
    "count or None": [*ODD[1:], 0, -1, 0.5, "3", np.nan, [1], False],
    "seed": [*ODD[1:], -1, 0.5, "3", np.nan, [1], True],
    "number": [*NOT_NUMBERS, -1, -1e-9, np.nan, np.inf, -np.inf, "0.1", [0.1], True, np.ones(2)],
    "real": [*NOT_NUMBERS, np.nan, np.inf, "0.1", [0.1], np.ones(2)],
    "number or None": [*NOT_NUMBERS[1:], -1, np.nan, np.inf, "0.1", [0.1], True, np.ones(2)],
    "rate": [*NOT_NUMBERS, -1, np.nan, np.inf, "0.1", [0.1], True],
    "share": [*NOT_NUMBERS, -1, 1, 1.5, np.nan, np.inf, "0.1", True],
    "flag": [*ODD, 0, 1, "yes", np.nan, [True]],
    "flag or None": [*ODD[1:], 0, 1, "yes", np.nan, [True]],
    "split": [*ODD, 3, "Last", True, ["last"], "first"],
    "groups": [*ODD[1:], 3, "a", [1] * 6, [1, 2], np.ones((6, 1)), [1, 2, 3, 4, 5, np.nan], [1, "a", None, 2, 3, 4]],
    "out": [*ODD[1:], 3, [[0.0] * 3] * 6, np.zeros((6, 3)), np.zeros((3, 6), "f4").T, np.zeros((6, 2), "f4")],
    "hidden": [*ODD, 3, "cosine", ["relu", "relu"], ["cosine"], [None], [["relu"]], "RELU"],
    "output": [*ODD, 3, "cosine", ["softmax"], "SOFTMAX", True],
    "dtype": [*ODD, 3, "float16", int, complex, np.float16, "cosine", np.longdouble, [], "f4,f4"],
    "dtypes": [*ODD, 3, [], ["float16"], "float32", [None]],
    "sizes": [*ODD, 3, [], [3], [3, 0], [3, -1], [3, 2.5], ["3", "2"], [[3, 2]], "32", [True, 2], [3, None]],
    "optimizer": [*ODD[1:], 3, "cosine", "SGD", fb.SGD, [fb.SGD()], True],
    "callbacks": [*[v for v in ODD if not isinstance(v, (str, bytes))], 3, [3], [None], "abc"],
    "pair": [*ODD[1:], 3, (), (1,), (1, 2, 3), "ab", [[0], None], (np.zeros((2, 9)), [0, 1]), (np.zeros((2, 3)), [0])],
    "early_stopping": [*ODD[1:], 3, 0.5, [True], fb.EarlyStopping],
    "class_weight": [*[v for v in ODD[1:] if not isinstance(v, dict)], 3, "even", [1, 2, 3], {0: -1}, {0: "x"}],
    "path": [None, 3.5, object(), [], {}, 1j, lambda: 1],
    "metadata": [3, "abc", [1], object(), {1: "a"}, {"a": 1}],
    "net": [*ODD, 3, "net", fb.Network, np.zeros(3)],
    "columns": [*NOT_ARRAYS, 3.0, np.zeros(3), np.zeros((4, 6)), np.zeros((3, 6, 1)), np.zeros((0, 6))],
    "outputs": [*NOT_ARRAYS, 3.0, np.zeros(6), np.zeros((4, 6)), np.zeros((3, 5)), np.zeros((3, 6, 1))],
    "layers": [*ODD, 3.0, [], [None], [None, 3.0], [None, "a"], [None, *np.zeros((2, 7, 7))], [None] * 3],
    "elementwise": [
        *[v for v in ODD if v != 1j], ["a"], [None], [[1.0], [2.0, 3.0]], np.array(["1.0"]), np.zeros(2, "M8[s]"),
        [object()],
    ],
    "schedule or number": [*NOT_NUMBERS, -1, np.nan, np.inf, "0.1", [0.1], True],
    "positive": [*ODD, 0, -1, np.nan, np.inf, "0.1", [0.1], np.ones(2)],
    "monitor": [*ODD, 3, "loss", ["cost"]],
    "name": [*ODD, 3, "mnist", ["digits"]],
    "history": [*ODD, 3, [1.0], fb.History()],
    "images": [*ODD, 3, np.zeros(3), np.zeros((3, 3)), np.zeros((0, 8, 8)), np.zeros((5, 8, 8))],
    "labels": [*ODD, 3, np.zeros(5, int), np.zeros((3, 1), int), []],
}  # fmt: skip


BAD["model"] = [*[v for v in ODD if v != "abc"], 3, [], (3, 4, 2), np.zeros(3), fb.Network]
BAD["layers of arrays"] = [*ODD, 3, [], [3], [(np.zeros((2, 3)),)], [(np.zeros((2, 3)), np.zeros(3))], np.zeros((2, 3))]
BAD["source"] = [v for v in BAD["model"] if not isinstance(v, bytes)]  # which an ONNX graph may be
BAD["opset"] = [*BAD["count"], 12, 10**6]
BAD["rows or none"] = [v for v in BAD["rows"] if not (isinstance(v, np.ndarray) and v.shape == (0, 3))]


@dataclass
class Call:
    """A public function with arguments that it accepts, and the kinds of those that are made malformed."""

    name: str
    function: Callable[..., Any]
    good: dict[str, Any]
    kinds: dict[str, str]
    named: bool = True
    net: fb.Network | None = None


X, Y = np.arange(18.0).reshape(6, 3) / 18, np.array([0, 1, 2, 0, 1, 2])
HIDDEN_SIZES = (3, 4, 3)


def calls() -> list[Call]:
    """Of everything that users import."""
    net = fb.Network(HIDDEN_SIZES, dtype="float32", seed=0)
    data = {"X": X, "Y": Y}
    both = {"X": "rows", "Y": "targets"}
    weighted = {**both, "sample_weight": "weights"}
    directory = Path(tempfile.mkdtemp())
    found = [
        Call(
            "Network", fb.Network, {"sizes": (3, 4, 2)},
            {"sizes": "sizes", "hidden": "hidden", "output": "output", "dtype": "dtype", "seed": "seed",
             "threads": "count or None"},
        ),
        Call("forward", net.forward, {"X": X}, {"X": "rows or none"}),
        Call("__call__", net, {"X": X}, {"X": "rows or none"}),
        Call(
            "forward into", net.forward, {"X": X, "out": np.zeros((6, 3), np.float32)},
            {"X": "rows or none", "out": "out"},
        ),
        Call("predict", net.predict, {"X": X}, {"X": "rows or none"}),
        Call("score", lambda X, Y, sample_weight=None: net.score(X, Y, sample_weight), data, weighted),
        Call("cost", net.cost, data, weighted),
        Call("gradients", net.gradients, data, weighted),
        Call("value_and_grad", net.value_and_grad, data, {**weighted, "l1": "number", "l2": "number"}),
        Call("trace", net.trace, data, both),
        Call("jacobian", net.jacobian, {"X": X}, {"X": "rows"}),
        Call("initialize", net.initialize, {}, {"seed": "seed"}),
        Call("params", lambda params: setattr(net, "params", params), {}, {"params": "params"}),
        Call("threads", lambda threads: setattr(net, "threads", threads), {}, {"threads": "count or None"}),
        Call(
            "fit", net.fit, {"X": X, "y": Y, "epochs": 1},
            {"X": "rows", "y": "targets", "epochs": "index", "batch_size": "count or None", "optimizer": "optimizer",
             "seed": "seed", "sample_weight": "weights", "class_weight": "class_weight", "l1": "number",
             "l2": "number", "dropout": "share", "validation_data": "pair", "validation_fraction": "share",
             "early_stopping": "early_stopping", "callbacks": "callbacks", "checkpoint_every": "count",
             "threads": "count or None", "shuffle": "flag or None", "progress": "flag", "validation_split": "split"},
        ),
        Call("fit by groups", net.fit, {"X": X, "y": Y, "epochs": 1, "validation_fraction": 0.5},
             {"validation_groups": "groups"}),
        Call("save", net.save, {}, {"path": "path"}),
        Call("persistence.save", persistence.save, {"net": net, "path": directory / "net"}, {"metadata": "metadata"}),
        Call("load", fb.load, {}, {"path": "path"}),
        Call("read_metadata", persistence.read_metadata, {}, {"path": "path"}),
        Call(
            "gradcheck.report", gradcheck.report, {"net": net, **data, "peers": False},
            {"net": "net", **both, "dtypes": "dtypes", "seed": "index"},
        ),
        Call("EarlyStopping", fb.EarlyStopping, {},
             {"patience": "count", "min_delta": "number", "monitor": "monitor", "restore_best": "flag"}),
        Call("LBFGS", fb.LBFGS, {}, {"history_size": "count", "tolerance": "number", "max_evaluations": "count"}),
        Call("Step", schedules.Step, {"initial": 0.1}, {"initial": "number", "every": "count", "factor": "number"}),
        Call("InverseScaling", schedules.InverseScaling, {"initial": 0.1}, {"initial": "number", "power": "number"}),
        Call("Cosine", schedules.Cosine, {"initial": 0.1, "epochs": 2},
             {"initial": "number", "epochs": "count", "final": "number"}),
        Call("WarmUp", schedules.WarmUp, {"epochs": 2, "after": 0.1},
             {"epochs": "count", "after": "schedule or number"}),
        Call("datasets.load", datasets.load, {}, {"name": "name"}),
        Call("datasets.split", datasets.split, {"X": X, "y": Y, "test_size": 0.5},
             {"test_size": "number", "seed": "index"}),
        Call("interop.to_onnx", fb.interop.to_onnx, {"model": net}, {"model": "model", "opset": "opset"}),
        Call("interop.to_c", fb.interop.to_c, {"model": net}, {"model": "model"}),
        Call("interop.to_sklearn", fb.interop.to_sklearn, {"model": net}, {"model": "model"}),
        Call("interop.from_sklearn", fb.interop.from_sklearn, {}, {"estimator": "model"}),
        Call("interop.from_onnx", fb.interop.from_onnx, {}, {"source": "source"}),
        Call("interop.from_keras", fb.interop.from_keras, {}, {"source": "source"}),
        Call("interop.from_jax", fb.interop.from_jax, {"params": [(np.ones((2, 3)), np.ones(2))]},
             {"params": "layers of arrays", "output": "output"}),
        Call("interop.save", fb.interop.save, {"model": net, "path": directory / "net.c"},
             {"model": "model", "path": "path"}),
        Call("interop.save_keras", fb.interop.save_keras, {"model": net, "path": directory / "net.keras"},
             {"model": "model"}),
        Call("interop.load", fb.interop.load, {}, {"path": "path"}),
        Call("learning_curves", plotting.learning_curves, {}, {"history": "history"}),
        Call("digits_with_predictions", plotting.digits_with_predictions,
             {"images": np.zeros((3, 8, 8)), "predictions": [1, 2, 3], "labels": [1, 2, 3]},
             {"images": "images", "predictions": "labels", "labels": "labels", "count": "count", "columns": "count"}),
    ]  # fmt: skip
    rest = {"weight_decay": "number", "decay_biases": "flag", "clip_norm": "number or None"}
    own = {
        fb.SGD: {"momentum": "number", "nesterov": "flag"}, fb.RMSprop: {"rho": "share", "eps": "number"},
        fb.Adagrad: {"eps": "number"}, fb.Adam: {"beta1": "share", "beta2": "share", "eps": "number"},
        fb.AdamW: {"beta1": "share", "beta2": "share", "eps": "number"},
    }  # fmt: skip
    for optimizer, kinds in own.items():
        accepted = inspect.signature(optimizer).parameters
        kinds = {"learning_rate": "rate", **rest, **{k: v for k, v in kinds.items() if k in accepted}}
        found.append(Call(optimizer.__name__, optimizer, {}, kinds))

    W, b = [None, *net.weights], [None, *(v[:, None] for v in net.biases)]
    columns = {"X": X.T, "Y": np.eye(3)[Y].T, "W": W, "b": b}
    of_columns = {"X": "columns", "W": "layers", "b": "layers", "hidden": "hidden", "output": "output"}
    for module in (reference, paper):
        prefix = f"{module.__name__.rpartition('.')[2]}."
        found += [
            Call(prefix + "forward_propagation", module.forward_propagation,
                 {k: columns[k] for k in ("X", "W", "b")}, of_columns),
            Call(prefix + "back_propagation", module.back_propagation, columns, {**of_columns, "Y": "outputs"}),
            Call(prefix + "trace", module.trace, columns, {**of_columns, "Y": "outputs"}),
            Call(prefix + "update_params", module.update_params,
                 {"W": [None, np.ones((2, 3))], "b": [None, np.ones((2, 1))], "dW": [None, np.ones((2, 3))],
                  "db": [None, np.ones((2, 1))]},
                 {"W": "layers", "b": "layers", "dW": "layers", "db": "layers", "learning_rate": "real"}),
            Call(prefix + "cost", module.cost, {"A": np.full((3, 6), 1 / 3), "Y": columns["Y"]},
                 {"A": "outputs", "Y": "outputs", "output": "output"}),
            Call(prefix + "losses", module.losses, {"Z": np.zeros((3, 6)), "Y": columns["Y"]},
                 {"Z": "outputs", "Y": "outputs", "output": "output"}),
            Call(prefix + "relu_eps", module.relu_eps, {"Z": X}, {"eps": "positive"}),
            Call(prefix + "d_relu_eps", module.d_relu_eps, {"Z": X}, {"eps": "positive"}),
        ]  # fmt: skip
        for name in ("d_relu_eps", "relu_eps", "softmax", "softmax_jacobian"):
            found.append(Call(prefix + name, getattr(module, name), {}, {"Z": "elementwise"}, named=False))
        for g, d_g in module.ACTIVATIONS.values():
            for f in (g, d_g):
                found.append(Call(f"{prefix}{f.__name__}", f, {}, {"Z": "elementwise"}, named=False))
    for name in functional.__all__:
        f = getattr(functional, name)
        for i in range(f.nin):
            arguments = {f"{j}": [[0.0, 1.0], [1.0, 0.0]] for j in range(f.nin)}
            call = Call(
                f"functional.{name}", lambda f=f, **a: f(*a.values()), arguments, {f"{i}": "elementwise"}, False
            )
            found.append(call)
    for call in found:
        call.net = net
    return found


def snapshot(value: Any) -> Any:
    """What can be compared with the same later: all bytes of all arrays."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, (list, tuple)):
        return [snapshot(v) for v in value]
    return value.params.tobytes() if isinstance(value, fb.Network) else repr(value)


def malformed() -> list[tuple[Call, str, Any]]:
    return [(c, argument, bad) for c in calls() for argument, kind in c.kinds.items() for bad in BAD[kind]]


def complaint(call: Call, argument: str, bad: Any) -> str | None:
    """What is wrong with how a malformed call ends; None if nothing is."""
    given = {**call.good, argument: bad}
    before, own = snapshot(list(given.values())), call.net.params.tobytes()
    said = f"{call.name}({argument}={re.sub(' at 0x[0-9a-f]*', '', ' '.join(repr(bad).split()))[:60]})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call.function(**given)
    except (ValueError, TypeError) as error:
        words = str(error)
        if call.named and not re.search(rf"(?<!\w){re.escape(argument)}(?!\w)", words):
            return f"{said}: does not name it: {type(error).__name__}: {words[:90]}"
    except Exception as error:
        return f"{said}: {type(error).__name__}: {str(error)[:90]}"
    else:
        return f"{said}: accepted"
    if snapshot(list(given.values())) != before or call.net.params.tobytes() != own:
        return f"{said}: something has changed"
    return None


# What is known to end otherwise, with its reason; nothing else may, and these still must.
KNOWN = {
    ("params", "params"): "a ragged list gets NumPy's words",
    ("save", "path"): "Python's own words: expected str, bytes or os.PathLike object",
    ("load", "path"): "the same",
    ("read_metadata", "path"): "the same",
    ("learning_curves", "history"): "what is no History is an AttributeError",
    ("digits_with_predictions", "count"): "compared with 1 before its type is looked at",
    ("digits_with_predictions", "columns"): "compared with 1 before its type is looked at",
}


def check(cases: list[tuple[Call, str, Any]]) -> set[tuple[str, str]]:
    """Make the calls; returns which of the known ones ended otherwise."""
    net = cases[0][0].net
    output = net.forward(X).tobytes()
    complaints = [(call, argument, c) for call, argument, bad in cases if (c := complaint(call, argument, bad))]
    assert net.forward(X).tobytes() == output
    assert [c for call, argument, c in complaints if (call.name, argument) not in KNOWN] == []
    return {(call.name, argument) for call, argument, _ in complaints}


def test_malformed_calls():
    cases = malformed()
    assert len(cases) > 5000
    assert check(cases) == set(KNOWN)


def test_every_public_function_is_called():
    called = {call.name.rpartition(".")[2] for call in calls()}
    methods = {n for n, _ in inspect.getmembers(fb.Network, inspect.isfunction) if not n.startswith("_")}
    public = {*fb.__all__, *functional.__all__, *reference.__all__, *paper.__all__, *methods}
    results = {"Gradients", "History", "Trace", "schedules", "ACTIVATIONS", "OUTPUTS"}  # are not called by users
    # `plan` is between the network and the engine; `compile` takes minutes, and has a test of its own
    assert public - called - results == {"plan", "compile"}
