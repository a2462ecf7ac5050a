"""What a fitted estimator holds: a network, of whose parameters ``coefs_`` and ``intercepts_`` are views."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from fastbackprop.network import Network
from fastbackprop.sklearn.arrays import fill, float_of, read_parameters
from fastbackprop.sklearn.settings import OUTPUT, Settings
from fastbackprop.training import State


class Model(Settings):
    """The network of an estimator."""

    out_activation_: str
    n_outputs_: int
    _state: State | None
    _best_params: np.ndarray | None

    @property
    def network_(self) -> Network:
        """The fitted :class:`fastbackprop.Network`, whose parameters ``coefs_`` and ``intercepts_`` are views of."""
        check_is_fitted(self, "coefs_")
        return self._network()

    def _network(self) -> Network:
        """The network of ``coefs_`` and ``intercepts_``; a new one only where somebody put other arrays there."""
        coefs, intercepts, kept = self.coefs_, self.intercepts_, self.__dict__.get("_kept")
        if kept is not None and type(coefs) is type(intercepts) is list:
            key, arrays, net = kept
            same = key == (self.activation, self.out_activation_, len(coefs), len(intercepts))
            if same and all(map(operator.is_, arrays, chain(coefs, intercepts))):
                if net._threads != self.threads:
                    net.threads = self.threads
                return net
        return self._read_network(None if kept is None else kept[-1])

    def _read_network(self, before: Network | None) -> Network:
        """A network of the arrays that are ``coefs_`` and ``intercepts_`` now, in the place of the one ``before``."""
        known = self.__dict__.get
        weights, biases = read_parameters(self.coefs_, self.intercepts_, known("n_features_in_"), known("n_outputs_"))
        dtype = float_of([*weights, *biases])
        if before is not None and self.dtype == before.dtype.name:
            dtype = before.dtype  # as was asked for, whatever else is put there
        net = self._new_network([len(weights[0]), *map(len, biases)], dtype)
        fill(net, weights, biases)
        if before is not None and net.sizes != before.sizes:
            self._state = self._best_params = None  # they were those of other parameters
        self.n_layers_ = len(net.sizes)
        return self._connect(net)

    def _new_network(self, sizes: Sequence[int], dtype: Any) -> Network:
        return Network(sizes, self._hidden, OUTPUT[self.out_activation_], dtype=dtype, seed=0, threads=self.threads)

    def _connect(self, net: Network) -> Network:
        """Make ``coefs_`` and ``intercepts_`` views of a network's parameters."""
        self.coefs_ = [W.T for W in net.weights]
        self.intercepts_ = list(net.biases)
        key = self.activation, self.out_activation_, len(self.coefs_), len(self.intercepts_)
        self._kept = key, [*self.coefs_, *self.intercepts_], net  # and what must be the same for it to be the network
        return net

    def __getstate__(self) -> dict[str, Any]:
        if "_kept" in self.__dict__:  # views of now, whatever became of those that were handed out
            self._connect(self._network())
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a copy of all that learns: the arrays may be another estimator's, a file's, somebody's bytes."""
        super().__setstate__(state)
        if "coefs_" in state:
            self._network()  # at once: who looks at coefs_ now must see what later training does to them
        for name in ("_state", "loss_curve_", "validation_scores_"):
            if state.get(name) is not None:
                setattr(self, name, state[name].copy())

    def _initialize(self, sizes: Sequence[int], dtype: Any, random: np.random.RandomState) -> None:
        """Draw the weights and the biases as scikit-learn does, in its order (Glorot and Bengio, 2010)."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        net = self._new_network(sizes, dtype)
        factor = 2.0 if self._hidden == "sigmoid" else 6.0
        for W, b in zip(net.weights, net.biases):
            bound = np.sqrt(factor / (W.shape[0] + W.shape[1]))
            W.T[...] = random.uniform(-bound, bound, W.shape[::-1])
            b[...] = random.uniform(-bound, bound, b.shape)
        self._connect(net)

    def _outputs(self, X: Any) -> np.ndarray:
        """The outputs of the network, (n_samples, n_outputs)."""
        if "coefs_" not in self.__dict__:
            check_is_fitted(self, "coefs_")
        net = self._network()
        plain = type(X) is np.ndarray and X.ndim == 2 and X.dtype.kind == "f" and len(X)
        if plain and "feature_names_in_" not in self.__dict__:
            with suppress(ValueError):  # scikit-learn finds the same fault below, and has its own words for it
                return net.forward(X)  # its validation takes longer than a small network
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return net.forward(X.tocsr() if sparse.issparse(X) else X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
