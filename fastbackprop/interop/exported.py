"""What is exported: a network, a fitted estimator, or a file with its preprocessing; and what errors have in common."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbackprop import checks, persistence
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.heads import HEADS
from fastbackprop.network import Network
from fastbackprop.tables import Table

ACCEPTED = "a Network, a fitted MLPClassifier or MLPRegressor of fastbackprop.sklearn, or the path of a saved model"


@dataclass(frozen=True)
class Exported:
    """A network, and what stands around it.

    Attributes
    ----------
    net : Network
    table : Table or None
        The preprocessing, of a file that the command line wrote.
    classes : ndarray or None
        The labels of a classifier.
    is_estimator : bool
    names : tuple of str
        Of the inputs, where the estimator knows them.
    """

    net: Network
    table: Table | None = None
    classes: np.ndarray | None = None
    is_estimator: bool = False
    names: tuple[str, ...] = ()


def exported(model: Any) -> Exported:
    """What a model is, as all functions ``to_...`` take it.

    Raises
    ------
    OSError, ValueError
        Where it is a path that cannot be read, or has parameters that are not finite.
    TypeError
        Where it is something else.
    """
    if isinstance(model, Network):
        found = Exported(model)
    elif isinstance(model, (str, os.PathLike)):
        found = _read(model)
    elif is_estimator(model):
        names = tuple(map(str, getattr(model, "feature_names_in_", ())))
        found = Exported(model.network_, None, getattr(model, "classes_", None), True, names)
    else:
        raise TypeError(f"model must be {ACCEPTED}, got {checks.shortened(model)}")
    if not checks.all_finite(found.net.params):
        raise ValueError("model must have finite parameters to be exported, got NaN or infinity")
    return found


def is_estimator(model: Any) -> bool:
    """Whether it is one of ours; where nobody has imported them, nothing is."""
    if "fastbackprop.sklearn" not in sys.modules:
        return False
    from fastbackprop.sklearn import MLPClassifier, MLPRegressor

    return isinstance(model, (MLPClassifier, MLPRegressor))


def _read(path: str | os.PathLike[str]) -> Exported:
    """A safetensors file, with its preprocessing where it has one."""
    net, metadata = persistence.load(path), persistence.read_metadata(path)
    if "table" not in metadata:
        return Exported(net)
    table = Table.from_json(metadata["table"])
    if (table.inputs, table.outputs) != (net.sizes[0], net.sizes[-1]):
        raise ValueError(f"cannot load a network from {os.fspath(path)!r}: its preprocessing does not fit the network")
    return Exported(net, table)


def library(module: str, what: str, extra: str) -> Any:
    """Another library, imported now; ImportError names the extra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        if error.name not in (None, module, package):
            raise ImportError(f"{what}: {package} needs {error.name}, which is not installed") from None
        raise ImportError(f"{what} needs {package}: pip install 'fastbackprop[{extra}]'") from None


def network(sizes: Any, hidden: Any, output: str, dtype: Any, weights: Any, biases: Any) -> Network:
    """A network with these parameters, W[l] as (n[l], n[l-1]).

    Raises ValueError where they are not finite.
    """
    net = Network(sizes, hidden, output, dtype=dtype, seed=0)
    for view, array in zip((*net.weights, *net.biases), (*weights, *biases)):
        with np.errstate(over="ignore", under="ignore"):
            view[...] = array
    if not checks.all_finite(net.params):
        raise ValueError("its weights and biases must be finite, got NaN or infinity")
    return net


def layers(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], hidden: Any, output: str) -> Network:
    """A network of W[l], (n[l], n[l-1]), and b[l] whose shapes have not been looked at."""
    for l, (W, b) in enumerate(zip(weights, biases), 1):
        n_in = W.shape[-1] if l == 1 else len(weights[l - 2])
        if W.ndim != 2 or b.shape != W.shape[:1] or W.shape[1] != n_in:
            shapes = f"{W.shape} and {b.shape}"
            raise ValueError(f"layer {l} must have weights (n, {n_in}) and biases (n,), got {shapes}")
    dtype = np.float64 if any(W.dtype == np.float64 for W in weights) else np.float32
    return network([weights[0].shape[1], *map(len, weights)], hidden, output, dtype, weights, biases)


def chained(parts: Iterable[tuple[str, Any]], output: str | None) -> Network:
    """The network of what follows on each other in another library's model.

    Parameters
    ----------
    parts : iterable of (str, value)
        What an error calls it; and W[l] and b[l], or the name of an activation or output, or None for anything else.
    output : str or None
        What the last layer gives the logits of, where no activation follows on it.
    """
    weights, biases, hidden = list[np.ndarray](), list[np.ndarray](), list[str]()
    found = "identity"  # what follows on the last layer
    for name, part in parts:
        if isinstance(part, tuple):
            if weights and found not in ACTIVATIONS:
                raise ValueError(f"{name} follows on what is an output only: {found}")
            hidden += [found] * bool(weights)
            weights.append(part[0])
            biases.append(part[1])
            found = "identity"
        elif part is None or not weights or found != "identity":
            raise ValueError(f"{name} is none of a network's layers and activations, or not at its place")
        else:
            found = part
    if not weights:
        raise ValueError("it has no layer with weights")
    if found != "identity" and output not in (None, found):
        raise ValueError(f"output must be None or {found!r}, as the model ends, got {output!r}")
    if found not in HEADS:
        raise ValueError(f"its last layer must end in one of {', '.join(HEADS)}, got {found}")
    return layers(weights, biases, hidden, output or found)


@contextlib.contextmanager
def bad_source(name: str) -> Iterator[None]:
    """Errors of what is read name it."""
    try:
        yield
    except (OverflowError, RecursionError, ValueError) as error:
        why = " ".join(str(error).split())
        why = why if len(why) <= persistence.LONGEST_ERROR else f"{why[: persistence.LONGEST_ERROR - 3]}..."
        raise ValueError(f"cannot read a network from {name!r}: {why}") from None
