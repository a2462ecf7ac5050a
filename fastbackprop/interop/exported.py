"""What is exported: a network, a fitted estimator, or a file with its preprocessing; and what errors have in common."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbackprop import checks, persistence
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
        package = (error.name or module).split(".")[0]
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
