"""A fully connected network: its parameters in one flat vector, and what the engine computes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike, getpid
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks, memory, scores, threads
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.engine import layout as at
from fastbackprop.engine.codes import GRADIENT, HYPER_FIELDS
from fastbackprop.heads import HEADS, read_targets
from fastbackprop.lazy import lazy
from fastbackprop.parameters import parameter_count, split
from fastbackprop.penalty import Penalty
from fastbackprop.plan import LINE_OF_FLOATS, Plan, block_of, round_up, sample_shards_of, samples_of_block
from fastbackprop.rows import Rows, native, put_data, targets
from fastbackprop.small_calls import SmallForward, SmallGradients
from fastbackprop.weights import sample_weights

if TYPE_CHECKING:
    from datetime import timedelta

    from fastbackprop.early_stopping import EarlyStopping
    from fastbackprop.history import History
    from fastbackprop.optimizers import LBFGS, Optimizer

# Samples whose gradient is one chain of sums in the network's dtype; more are several, summed in float64. Samples that
# have to be converted are so by as many at a time.
PART = 1 << 13

MOST_PARAMETERS = 1 << 59  # what addresses reach
# What a network makes for itself; a copy gets all else as it is: what subclasses and their users have put there.
OWN_ATTRIBUTES = {
    "_sizes", "_hidden", "_output", "_dtype", "_threads", "_params", "_block", "_plans", "_turns", "_small_forward",
    "_small_gradients",
}  # fmt: skip

Seed = int | np.random.Generator | np.random.SeedSequence | np.random.RandomState | None


class Gradients:
    """Gradients of the cost J by the parameters, each of its parameter's shape (the paper's convention).

    Attributes
    ----------
    cost : float
        J, the mean loss of the samples.
    vector : ndarray
        The gradient by ``Network.params``, in the same order.
    dW, db : list of ndarray
        Views of ``vector``: eqs. (24) and (25). As in ``Network.weights`` and ``biases``, ``dW[l-1]`` is that of W[l].
    dX : ndarray (N, n[0]) or None
        The gradient by X: eq. (22) at the first layer, ``dZ[1] @ W[1]``; N times it is eq. (13).
    """

    def __init__(self, sizes: Sequence[int], cost: float, vector: np.ndarray, dX: np.ndarray | None = None) -> None:
        self._sizes = sizes
        self.cost = cost
        self.vector = vector
        self.dX = dX

    @lazy
    def _views(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        dW, db = split(self.vector, self._sizes)
        return list(dW), list(db)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_views"}  # a copy has views of its own

    @property
    def dW(self) -> list[np.ndarray]:
        """By the weights, eq. (24)."""
        return self._views[0]

    @property
    def db(self) -> list[np.ndarray]:
        """By the biases, eq. (25)."""
        return self._views[1]

    def __repr__(self) -> str:
        return f"Gradients(cost={self.cost!r}, {self.vector.size} parameters)"


@dataclass(frozen=True)
class Trace:
    """Every quantity of sections 5 and 6 of the paper, by layer: ``trace.Z[l]`` is Z[l], rows are samples.

    Index 0 is the input: ``A[0]`` is X and ``dA[0]`` is dX; ``None`` stands where the paper defines nothing. The
    gradients by the parameters alone are counted as the parameters are: ``dW[0]`` is that of ``weights[0]``, W[1].

    Attributes
    ----------
    Z, A : linear outputs and activations, (N, n[l])
    dA, dZ : gradients of the cost J by them; ``dZ[l] = delta[l] / N``, eq. (21)
    dW, db : gradients by the parameters, eqs. (24) and (25): those of ``weights[l-1]`` and ``biases[l-1]`` at ``l-1``
    delta : gradients of each sample's own loss by Z[l], (N, n[l])
    cost : J
    """

    Z: list[np.ndarray | None]
    A: list[np.ndarray]
    dA: list[np.ndarray | None]
    dZ: list[np.ndarray | None]
    dW: list[np.ndarray]
    db: list[np.ndarray]
    delta: list[np.ndarray | None]
    cost: float


class Network:
    """A fully connected network.

    Parameters
    ----------
    sizes : sequence of int
        n[0], the inputs, to n[L], the outputs; at least two.
    hidden : str or sequence of str
        Activation of the hidden layers, one name or one a layer, of those that docs/guide.md lists: relu (relu'(0) = 1,
        eq. (1)), tanh, gelu (tanh form) and others. ``list(fastbackprop.activations.ACTIVATIONS)`` has all names.
    output : str
        identity (with the L2 loss), sigmoid (binary cross-entropy, summed over the outputs) or softmax (categorical
        cross-entropy): the three of Theorem 6.1. Or exp (half the Poisson deviance, for counts).
    dtype : 'float32' or 'float64'
    seed : None, int, numpy.random.Generator, SeedSequence or RandomState
        Of the weights: He's initialisation for relu-like layers, Glorot's for others; the table of activations says
        which. Biases start at zero.

    Attributes
    ----------
    params : ndarray
        All parameters in one vector: for each layer W[l], row-major, then b[l].
    weights, biases : tuple of ndarray
        ``weights[l-1]`` is W[l], (n[l], n[l-1]), and ``biases[l-1]`` is b[l], (n[l],), for l from 1: writable views of
        ``params``. There are no other public names to assign to than ``params`` and ``threads``.
    threads : int or None
        Threads to use. None: all processors, or one where ``fit`` finds that to be faster. Results have the same bits
        for any number.

    Examples
    --------
    >>> import numpy as np
    >>> net = Network((4, 16, 3), seed=0)
    >>> net
    Network(4-16-3, hidden=relu, output=softmax, dtype=float32, 131 parameters)
    >>> net.forward(np.zeros((2, 4))).shape
    (2, 3)
    """

    def __init__(
        self, sizes: Sequence[int], hidden: str | Sequence[str] = "relu", output: str = "softmax", *,
        dtype: Any = "float32", seed: Seed = None, threads: int | None = None,
    ) -> None:  # fmt: skip
        self._sizes = checks.layer_sizes(sizes)
        if parameter_count(self._sizes) > MOST_PARAMETERS:
            raise ValueError(f"sizes must make at most 2^59 parameters, got {checks.shortened(self._sizes)}")
        layers = len(self._sizes) - 2
        if isinstance(hidden, str):  # also where there is no hidden layer
            hidden = [checks.one_of(hidden, "hidden", ACTIVATIONS)] * layers
        elif not isinstance(hidden, Sequence):
            raise TypeError(f"hidden must be one of {', '.join(ACTIVATIONS)}, or a sequence of them, got {hidden!r}")
        if len(hidden) != layers:
            raise ValueError(
                f"hidden must be one name or {layers}, one for each hidden layer, got {len(hidden)}: {hidden!r}"
            )
        self._hidden = tuple(checks.one_of(name, "hidden", ACTIVATIONS) for name in hidden)
        self._output = checks.one_of(output, "output", HEADS)
        if output == "softmax" and self._sizes[-1] < 2:
            raise ValueError(
                "output='softmax' needs at least 2 outputs, got sizes[-1] = 1; for two classes use 'sigmoid'"
            )
        self._dtype = checks.float_dtype(dtype)
        self.threads = threads
        self._params = memory.zeros(parameter_count(self._sizes), self._dtype)
        self._connect()
        with checks.put_back_on_error(seed):
            self._draw(self._params, seed)

    def _connect(self) -> None:
        """Make the views of the flat vector; there are no other copies of the parameters."""
        self._block = samples_of_block(self._sizes, self._dtype)
        self._plans: dict[tuple[int, int | None, bool], list[Plan]] = {}
        self._small_forward = SmallForward(self)
        self._turns: dict[int, AbstractContextManager[Any]] = {}  # by process

    def initialize(self, seed: Seed = None) -> None:
        """Draw new weights (He's, Glorot's or LeCun's, by the layer's activation), set the biases to zero."""
        with checks.put_back_on_error(seed):
            drawn = np.zeros(self._params.shape, self._dtype)
            self._draw(drawn, seed)
            self._params[...] = drawn  # all of it or nothing

    def _draw(self, vector: np.ndarray, seed: Seed) -> None:
        """New weights into a vector of zeros."""
        rng = checks.generator(seed)
        for l, W in enumerate(self.split(vector)[0]):
            n_out, n_in = W.shape
            start = ACTIVATIONS[self._hidden[l]].start if l < len(self._hidden) else "glorot"
            if start == "glorot":
                W[...] = rng.uniform(-1.0, 1.0, W.shape) * np.sqrt(6.0 / (n_in + n_out))
            else:
                W[...] = rng.standard_normal(W.shape) * np.sqrt((2.0 if start == "he" else 1.0) / n_in)

    # ------------------------------------------------------------------ what it is

    @property
    def sizes(self) -> tuple[int, ...]:
        """n[0] to n[L]."""
        return self._sizes

    @property
    def hidden(self) -> tuple[str, ...]:
        """The activation of each hidden layer."""
        return self._hidden

    @property
    def output(self) -> str:
        """The output layer: identity, sigmoid, softmax or exp."""
        return self._output

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._dtype

    @property
    def params(self) -> np.ndarray:
        """All parameters, one writable vector.

        A new view each time, as are ``weights`` and ``biases``: its numbers are the network's, while to set its shape,
        dtype or flags changes that view alone.
        """
        return self._params.view()

    @params.setter
    def params(self, values: Any) -> None:
        array = np.asarray(values)
        if array.shape != self._params.shape or array.dtype.kind not in "fiu":
            raise ValueError(
                f"params must be a vector of {self._params.size} numbers, got shape {array.shape} of {array.dtype}"
            )
        with np.errstate(all="ignore"):
            self._params[...] = array

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """W[1] to W[L], writable views of ``params``."""
        return split(self._params, self._sizes)[0]

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """b[1] to b[L], writable views of ``params``."""
        return split(self._params, self._sizes)[1]

    @property
    def threads(self) -> int | None:
        """Threads to use; None: as many as pay."""
        return self._threads

    @threads.setter
    def threads(self, count: int | None) -> None:
        self._threads = None if count is None else checks.whole_number(count, "threads", 1)

    def split(self, vector: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Views of a vector in the order of ``params`` as the weights and the biases of each layer."""
        return split(vector, self._sizes)

    def __repr__(self) -> str:
        layers = "-".join(str(n) for n in self._sizes)
        names = sorted(set(self._hidden), key=self._hidden.index)
        hidden = ",".join(self._hidden if len(names) > 1 else names) or "none"
        shape = f"{layers}, hidden={hidden}, output={self._output}, dtype={self._dtype}"
        return f"Network({shape}, {self._params.size} parameters)"

    def __setattr__(self, name: str, value: Any) -> None:
        """A name that the network does not have, such as ``net.thread``, is an error; subclasses may have more."""
        known = name.startswith("_") or isinstance(getattr(Network, name, None), property)
        if type(self) is Network and not known:
            raise AttributeError(
                f"Network has no attribute {name!r} to assign to{checks.did_you_mean(name, ('params', 'threads'))}"
            )
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "sizes": self._sizes, "hidden": self._hidden, "output": self._output, "dtype": self._dtype.name,
            "threads": self._threads, "params": self._params.copy(),
            "more": {name: value for name, value in vars(self).items() if name not in OWN_ATTRIBUTES},
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_sizes" in vars(self):
            raise TypeError("the state of a network is set when it is made: copy or unpickle it instead")
        self._sizes, self._hidden, self._output = state["sizes"], state["hidden"], state["output"]
        self._dtype, self._threads = np.dtype(state["dtype"]), state["threads"]
        self._params = memory.zeros(parameter_count(self._sizes), self._dtype)
        self.params = state["params"]  # copied: a pickle's arrays may be a file's, or somebody else's bytes
        self._connect()
        vars(self).update(state.get("more", {}))

    # ------------------------------------------------------------------ the engine

    def plan(self, samples: int, learning: bool, threads_: int | None = None, *, whole: bool = False) -> Plan:
        """A plan for batches of ``samples``, with ``whole`` in a single block; to be used in a ``with`` statement.

        At its end the plan is kept for the next call of the size.
        """
        block = round_up(samples, LINE_OF_FLOATS) if whole else min(self._block, block_of(samples))
        threads_ = threads_ or self._threads
        kept = self._plans.setdefault((block, threads_, learning), [])
        try:
            plan = kept.pop()  # two threads that use the network at once get a plan each
            whole = False
        except IndexError:
            count = threads_ or threads.available()
            plan = Plan(self._sizes, self._hidden, HEADS[self._output], self._dtype, block, count, learning)
        plan.home = [] if whole else kept
        return plan

    @property
    def turn(self) -> AbstractContextManager[Any]:
        """Held by the thread that trains the network; the others wait until it is done.

        A forked child has one of its own, since the thread that holds the parent's is not in it.
        """
        return self._turns.setdefault(getpid(), RLock())

    def _batches(
        self, X: Any, Y: np.ndarray | None, order: np.ndarray | None = None
    ) -> Iterator[tuple[slice, Rows, Rows | np.ndarray | None, np.ndarray | None]]:
        """X and Y, or the rows of them in ``order``, in parts that the engine reads, and the rows' numbers in those."""
        inputs, targets_ = Rows(X, self._dtype), None if Y is None else targets(Y, self._dtype)
        samples, step = X.shape[0] if order is None else len(order), max(PART, self._block)
        for start in range(0, samples, step):
            part = slice(start, min(start + step, samples))
            if order is None:
                yield part, inputs[part], None if targets_ is None else targets_[part], None
            elif inputs.in_place:
                yield part, inputs, targets_, order[part]
            else:
                y = None if Y is None else targets(Y[order[part]], self._dtype)
                yield part, inputs.taken(order[part]), y, None

    # ------------------------------------------------------------------ what it computes

    def forward(self, X: Any, out: np.ndarray | None = None) -> np.ndarray:
        """The outputs o, (N, n[L]), of samples X, (N, n[0]); no rows of no samples.

        A row of the result does not depend on the other rows, bit for bit.

        Parameters
        ----------
        X : array (N, n[0])
        out : None or ndarray (N, n[L])
            To write the outputs into, instead of a new array: of the network's dtype, writable, in C order, and apart
            from X and ``params``.

        Raises
        ------
        ValueError, TypeError
            Where X has another shape, holds NaN or infinity, or is not numeric; where ``out`` is not as above. ``out``
            is then as it was. After an interrupt or a MemoryError it may hold the outputs of some rows.

        Examples
        --------
        >>> import numpy as np
        >>> Network((2, 3), seed=0).forward(np.zeros((1, 2)))
        array([[0.33333334, 0.33333334, 0.33333334]], dtype=float32)
        """
        if out is not None:
            X = checks.rows(X, "X", self._sizes[0], self._dtype, empty=True)
            checks.output_array(out, "out", (X.shape[0], self._sizes[-1]), self._dtype, X, self._params)
            return self._forward(X, out=out)
        small = self._small_forward.outputs_of(self, X)
        if small is not None:
            return small
        return self._forward(checks.rows(X, "X", self._sizes[0], self._dtype, unread=True, empty=True), check=True)

    __call__ = forward

    def predict(self, X: Any) -> np.ndarray:
        """What the outputs say: class numbers where there are classes, else the outputs.

        softmax: the number of the most probable class, int64 (N,). sigmoid: 1 where the output is above 1/2, else 0,
        int64 (N,), or (N, n[L]) of several outputs. identity and exp: :meth:`forward`, (N, n[L]).

        Examples
        --------
        >>> import numpy as np
        >>> net = Network((2, 3), seed=0)
        >>> net.params[...] = [0, 0, 0, 0, 0, 0, 1, 5, 2]
        >>> net.predict([[0.5, 0.5], [0.0, 1.0]])
        array([1, 1])
        """
        return scores.predictions(self._output, self.forward(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """How good the predictions are: the accuracy of softmax and sigmoid, R^2 of identity and exp.

        Of several sigmoid outputs all must be right; of several targets it is the mean of their R^2. NaN for the R^2 of
        one sample.

        Parameters
        ----------
        X : array (N, n[0])
        y : array
            As Y of :meth:`cost`.
        sample_weight : None or array (N,)

        Examples
        --------
        >>> import numpy as np
        >>> net = Network((2, 3), seed=0)
        >>> net.params[...] = [0, 0, 0, 0, 0, 0, 1, 5, 2]
        >>> net.score(np.eye(2), [1, 2]), net.score(np.eye(2), [1, 2], sample_weight=[3, 1])
        (0.5, 0.75)
        """
        X, Y, weights = self._read(X, y, sample_weight, unread=True)
        return scores.score(self._output, self._forward(X, check=True), Y, weights)

    @lazy
    def _small_gradients(self) -> SmallGradients:
        return SmallGradients(self)

    def _forward(self, X: Any, check: bool = False, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty((X.shape[0], self._sizes[-1]), self._dtype) if out is None else out
        if len(out):
            self._evaluate(X, None, None, out, check)
        return out

    def _evaluate(
        self, X: Any, Y: np.ndarray | None, weights: np.ndarray | None, out: np.ndarray | None, check: bool = False,
        order: np.ndarray | None = None,
    ) -> float:  # fmt: skip
        """Write the outputs to ``out``; returns the cost, where there are targets.

        With ``check``, X has not been looked at yet: raises ValueError where it is not finite. With ``order``, int64,
        the samples are these rows of X and Y.
        """
        total, cost = 0.0, 0.0
        with self.plan(X.shape[0] if order is None else len(order), False) as plan:
            for part, x, y, numbers in self._batches(X, Y, order):
                w = None if weights is None else weights[part]
                costs, count = np.zeros((1, at.COST_FIELDS)), part.stop - part.start
                job = plan.new_job(count, count)
                put_data(job, x, y, w)
                job["order"] = 0 if numbers is None else numbers.ctypes.data
                job["outputs"] = 0 if out is None else out[part].ctypes.data
                job["check_inputs"] = check
                if plan.run(job, self._params, costs)[0] and check:
                    checks.finite(X, "X", self._dtype)
                    check = False  # all of X was looked at
                weight = count if w is None else float(w.sum(dtype=np.float64))
                cost += float(costs[0, at.MEAN_LOSS]) * (weight / count)
                total += weight
        return cost / total if total else 0.0

    def _read(
        self, X: Any, Y: Any, sample_weight: Any, *, unread: bool = False
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Samples, targets and weights as they are given, checked; ``unread`` as of :func:`checks.rows`."""
        X = checks.rows(X, "X", self._sizes[0], self._dtype, unread=unread)
        Y = read_targets(self._output, Y, X.shape[0], self._sizes[-1], self._dtype)
        return X, Y, sample_weights(sample_weight, X.shape[0], self._dtype)

    def cost(self, X: Any, Y: Any, *, sample_weight: Any = None) -> float:
        """The cost J, the mean over the samples of the loss of outputs and targets.

        Parameters
        ----------
        X : array (N, n[0])
            Of any dtype of real numbers and any strides, a SciPy sparse matrix, or a frame of numbers, here and in all
            other methods.
        Y : array
            (N, n[L]); for softmax also (N,) class numbers; for one output also (N,).
        sample_weight : None or array (N,)
            The mean is weighted by it.
        """
        return self._evaluate(*self._read(X, Y, sample_weight, unread=True), None, check=True)

    def gradients(self, X: Any, Y: Any, *, sample_weight: Any = None, input_gradient: bool = False) -> Gradients:
        """The cost and its gradients by all parameters, Theorem 5.4.

        Parameters
        ----------
        X : array (N, n[0])
        Y : array
            As for :meth:`cost`.
        sample_weight : None or array (N,)
            The cost is the weighted mean.
        input_gradient : bool
            Also the gradient by X.

        Examples
        --------
        >>> import numpy as np
        >>> g = Network((2, 3), seed=0).gradients(np.ones((4, 2)), [0, 1, 2, 0])
        >>> g.dW[0].shape, g.db[0].shape
        ((3, 2), (3,))
        """
        if sample_weight is None and not input_gradient:
            small = self._small_gradients.gradient_of(self, X, Y)
            if small is not None:
                return Gradients(self._sizes, small[0], small[1])
        X, Y, weights = self._read(X, Y, sample_weight, unread=True)
        dX = np.empty(X.shape, self._dtype) if input_gradient else None
        return Gradients(self._sizes, *self._value_and_grad(X, Y, weights, Penalty(0.0, 0.0), dX), dX)

    def _gradients(
        self, plan: Plan, x: Rows, y: Rows | np.ndarray, weights: np.ndarray | None, vector: np.ndarray,
        dX: np.ndarray | None, penalty: Penalty | None = None, *, whole: bool = False,
    ) -> float:  # fmt: skip
        """Fill ``vector`` and ``dX``; returns the cost. ``x`` and ``y`` are read where they lie.

        All is NaN where a loss is not finite, dW[1] where an input is not: 0 times it is not 0. With ``whole`` it is
        not done in sample shards, whose activations and deltas are in workspaces of their own.
        """
        count = x.shape[0]
        job = plan.new_job(count, count)
        put_data(job, x, y, weights)
        job["update"], job["gradient_at"] = GRADIENT, vector.ctypes.data
        if not whole:
            plan.divide(job, count)
        job["input_gradient"] = 0 if dX is None else dX.ctypes.data
        hyper = None
        if penalty:
            hyper = np.zeros(HYPER_FIELDS)
            penalty.put(job, hyper)
        costs = np.zeros((1, at.COST_FIELDS))
        if plan.run(job, self._params, costs, hyper)[0]:
            vector[...] = np.nan
            if dX is not None:
                dX[...] = np.nan
        return float(costs[0].sum()) / count

    def value_and_grad(
        self, X: Any, Y: Any, *, sample_weight: Any = None, l1: float = 0.0, l2: float = 0.0
    ) -> tuple[float, np.ndarray]:
        """The cost with its penalties and their gradient by ``params``, as optimizers of other libraries want them.

        ``J + l2 / 2 * sum W**2 + l1 * sum |W|``, over the weights, not the biases.

        Parameters
        ----------
        X : array (N, n[0])
        Y : array
            As for :meth:`cost`.
        sample_weight : None or array (N,)
        l1, l2 : float, at least 0

        Examples
        --------
        >>> import numpy as np
        >>> net = Network((2, 3), dtype="float64", seed=0)
        >>> value, vector = net.value_and_grad(np.ones((4, 2)), [0, 1, 2, 0], l2=2.0)
        >>> bool(np.isclose(value, net.cost(np.ones((4, 2)), [0, 1, 2, 0]) + (net.weights[0] ** 2).sum()))
        True
        """
        penalty = Penalty(l1, l2)
        if sample_weight is None and not penalty:
            small = self._small_gradients.gradient_of(self, X, Y)
            if small is not None:
                return small
        return self._value_and_grad(*self._read(X, Y, sample_weight, unread=True), penalty)

    def _value_and_grad(
        self, X: Any, Y: np.ndarray, weights: np.ndarray | None, penalty: Penalty, dX: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """The cost with its penalties and the gradient; fills ``dX``. X has not been looked at yet."""
        value, vector, sums = 0.0, np.empty_like(self._params), None
        is_finite = False  # as far as is known
        total = X.shape[0] if weights is None else float(weights.sum(dtype=np.float64))
        for part, x, y, _ in self._batches(X, Y):
            w, dx = None if weights is None else weights[part], None if dX is None else dX[part]
            assert y is not None
            with self.plan(x.shape[0], True) as plan:
                cost = self._gradients(plan, x, y, w, vector, dx, penalty)
            if not (is_finite or np.isfinite(vector).all()):
                checks.finite(X, "X", self._dtype)
                is_finite = True  # all of X was looked at
            if x.shape[0] == X.shape[0]:
                return cost, vector
            share = (x.shape[0] if w is None else float(w.sum(dtype=np.float64))) / total
            value += share * cost
            sums = vector * np.float64(share) if sums is None else sums + vector * np.float64(share)
            if dx is not None:
                dx *= self._dtype.type(share)
        assert sums is not None
        return value, sums.astype(self._dtype)

    def _pull_back(self, X: np.ndarray, dZ: np.ndarray) -> np.ndarray:
        """The gradient by X of sum(dZ * Z[L]), for any (N, n[L]) array: eqs. (16) and (17) without a loss."""
        dX = np.empty(X.shape, self._dtype)
        with self.plan(len(X), True) as plan:
            for part, x, seeds, _ in self._batches(X, dZ):
                job = plan.new_job(x.shape[0], plan.block)
                put_data(job, x, seeds)
                job["target_kind"], job["input_gradient"] = at.GIVEN_DELTAS, dX[part].ctypes.data
                plan.run(job, self._params, np.zeros((1, at.COST_FIELDS)))
        return dX

    def jacobian(self, X: Any) -> np.ndarray:
        """The Jacobian of the outputs by the inputs, d o / d x, of each sample: (N, n[L], n[0]).

        One backward pass an output, with the rows of the output activation's Jacobian (for softmax eq. (39)) as deltas.

        Examples
        --------
        >>> import numpy as np
        >>> net = Network((2, 3), output="identity", seed=0)
        >>> bool((net.jacobian([[1.0, 2.0]])[0] == net.weights[0]).all())
        True
        """
        X = native(checks.rows(X, "X", self._sizes[0], self._dtype), self._dtype)
        o = self._forward(X)
        m = self._sizes[-1]
        result = np.empty((len(X), m, self._sizes[0]), self._dtype)
        for i in range(m):
            seeds = np.zeros_like(o)
            if self._output == "softmax":
                seeds -= o * o[:, i : i + 1]
                seeds[:, i] += o[:, i]
            else:
                seeds[:, i] = 1.0 if self._output == "identity" else o[:, i]
                if self._output == "sigmoid":
                    seeds[:, i] *= 1 - o[:, i]
            result[:, i] = self._pull_back(X, seeds)
        return result

    def trace(self, X: Any, Y: Any) -> Trace:
        """Every Z, A, dA, dZ, dW, db and delta of one forward and backward pass, by layer, under the paper's names.

        A, dZ, dW and db are what the fused step left in its workspace (where it makes dW in sample shards, another
        leaves A and dZ, with the same bits); Z and dA, which it never writes, are computed by the same
        kernels one layer at a time, with the same bits.
        """
        X = native(checks.rows(X, "X", self._sizes[0], self._dtype), self._dtype)
        Y = read_targets(self._output, Y, len(X), self._sizes[-1], self._dtype)
        count, last = len(X), len(self._sizes) - 1
        vector, dX = np.empty_like(self._params), np.empty(X.shape, self._dtype)
        with self.plan(count, True, whole=True) as plan:
            x, y = Rows(X, self._dtype), targets(Y, self._dtype)
            cost = self._gradients(plan, x, y, None, vector, dX)
            if sample_shards_of(self._sizes, self._dtype, count) > 1:
                self._gradients(plan, x, y, None, np.empty_like(vector), None, whole=True)
            A = [X.copy(), *(plan.panels("panels", l, count) + 0 for l in range(1, last + 1))]  # + 0: -0.0 is 0
            dZ = [plan.panels("deltas", l, count) for l in range(1, last + 1)]
        dW, db = split(vector, self._sizes)
        Z: list[np.ndarray | None] = [None]
        dA: list[np.ndarray | None] = [dX]
        for l in range(1, last + 1):
            layer = Network(self._sizes[l - 1 : l + 1], output="identity", dtype=self._dtype, threads=self._threads)
            layer.weights[0][...], layer.biases[0][...] = self.weights[l - 1], self.biases[l - 1]
            Z.append(layer._forward(A[l - 1]))
            if l > 1:
                dA.append(layer._pull_back(A[l - 1], dZ[l - 1]))
        delta = [d * self._dtype.type(count) for d in dZ]
        return Trace(Z, A, [*dA, None], [None, *dZ], list(dW), list(db), [None, *delta], cost)

    # ------------------------------------------------------------------ learning and keeping

    def fit(
        self, X: Any, y: Any, *, epochs: int = 20, batch_size: int | None = None,
        optimizer: Optimizer | LBFGS | str | None = None, shuffle: bool | None = None, seed: Seed = None,
        sample_weight: Any = None, class_weight: Mapping[int, float] | str | None = None, l1: float = 0.0,
        l2: float = 0.0, dropout: float | Sequence[float] = 0.0, validation_data: tuple[Any, Any] | None = None,
        validation_fraction: float = 0.0, validation_split: str = "random", validation_groups: Any = None,
        early_stopping: EarlyStopping | bool | int | None = None,
        callbacks: Sequence[Callable[[dict[str, Any]], Any]] = (), progress: bool = False,
        checkpoint: str | PathLike[str] | None = None, checkpoint_every: int | timedelta = 1,
        checkpoint_metadata: Mapping[str, str] | None = None, resume: str | PathLike[str] | None = None,
        threads: int | None = None,
    ) -> History:  # fmt: skip
        """Learn from samples X, (N, n[0]), and targets y by mini-batches.

        Where another thread trains this network, this one waits until it is done. Other methods do not wait: meanwhile
        they see the parameters between, or in the middle of, two steps.

        Parameters
        ----------
        X : array (N, n[0])
            Read where it lies, once an epoch: any dtype of real numbers, any strides, SciPy sparse matrices, files
            that are mapped and larger than memory. In Fortran's order it is copied once, if that takes at most 256 MB.
            Frames of numbers are copied once, or some steps at a time if that would take more. CSR is copied where
            there are callbacks: SciPy's methods move its numbers in place.
        y : array
            As Y of :meth:`cost`.
        epochs : int
            0 checks the arguments and trains nothing.
        batch_size : int
            32 where None, or all samples where they are fewer. The last batch of an epoch may be smaller.
        optimizer : SGD, RMSprop, Adagrad, Adam, AdamW, LBFGS, or the name of one in small letters
            ``SGD(0.1)`` where None. LBFGS takes all samples at once: ``batch_size``, ``shuffle=True``, ``l1``,
            ``dropout``, ``checkpoint`` and ``resume`` are errors.
        shuffle : bool
            Draw a new order of the samples each epoch, from ``seed`` and the epoch's number; True where None.
        seed : None, int, numpy.random.Generator, SeedSequence or RandomState
            Of the shuffles, of dropout and of the choice of validation samples.
        sample_weight : None or array (N,)
            Weights in the loss: a batch's cost is the weighted mean.
        class_weight : None, dict from class number to weight, or 'balanced'
            More weights, by the class: N / (classes * samples of the class) for 'balanced'. A class that is not in the
            dict weighs 1; a key that is no class is an error.
        l1, l2 : float, at least 0
            Adds ``l2 / 2 * sum W**2 + l1 * sum |W|`` to the cost, over the weights, not the biases.
        dropout : float in [0, 1), or one a hidden layer
            The probability that a hidden unit is set to 0 in a step; the others are scaled up (inverted dropout).
        validation_data : None or (X, y)
            Its cost, and its score (accuracy; for identity and exp outputs R^2), are recorded after each epoch.
        validation_fraction : float in [0, 1)
            Hold this share of the samples back as validation data.
        validation_split : 'random' or 'last'
            Which: drawn by ``seed``, of each class the same share; or the last rows, for rows in order of time.
        validation_groups : None or array (N,)
            Numbers or texts. Whole groups are drawn, as near to the fraction as can be, so that none has rows on both
            sides: of one patient, one machine, one day.
        early_stopping : None, True, int or EarlyStopping
            An int is the patience: epochs without an improvement.
        callbacks : sequence of functions
            Called after each epoch with its record, a dict. One that returns anything true ends the training; None and
            what is false go on; what is neither, such as an array of several numbers, is a TypeError.
        progress : bool
            Show a progress bar (needs the extra ``cli``).
        checkpoint : None or path
            Write the training to this file after every ``checkpoint_every`` epochs, and at the end, whatever ends it.
        checkpoint_every : int or datetime.timedelta
            A number of epochs. Or a time: a checkpoint is written after the first epoch, and then after the first that
            ends when so much time has passed since the last one was written.
        checkpoint_metadata : None or mapping of str to str
            Kept in the checkpoint, for :func:`fastbackprop.persistence.read_metadata`.
        resume : None or path
            Go on from this checkpoint, to the same bits as if the training had not stopped. The samples must be the
            same, in the same order, and so must all options but ``epochs``, which counts from the start of the
            training, ``callbacks``, ``progress`` and ``threads``. ``seed`` may be left out. The network's own
            parameters have no say. A training that early stopping, a callback or its schedule had ended trains no
            further.
        threads : int or None
            Instead of the network's own number.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            Before anything is changed, for an argument that is not as above. That X holds NaN or infinity is noticed
            during the first epoch; the parameters are then put back.
        FloatingPointError
            If the cost of a batch, or a parameter after its step, is not finite; the parameters are those before that
            step.
        KeyboardInterrupt
            On Ctrl-C, between two steps: the parameters are those after the last finished one. So it is for any other
            error that comes from outside, such as MemoryError or one that a callback raises.

        Examples
        --------
        >>> import numpy as np
        >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> net = Network((2, 8, 2), seed=1)
        >>> history = net.fit(X, [0, 1, 1, 0], epochs=200, batch_size=4, seed=0)
        >>> net.forward(X).argmax(axis=1)
        array([0, 1, 1, 0])
        """
        from fastbackprop.fitting import fit

        with self.turn, checks.put_back_on_error(seed):
            return fit(
                self, X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle, seed=seed,
                sample_weight=sample_weight, class_weight=class_weight, l1=l1, l2=l2, dropout=dropout,
                validation_data=validation_data, validation_fraction=validation_fraction,
                validation_split=validation_split, validation_groups=validation_groups, early_stopping=early_stopping,
                callbacks=callbacks, progress=progress, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
                checkpoint_metadata=checkpoint_metadata, resume=resume, threads=threads,
            )  # fmt: skip

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file; :func:`fastbackprop.load` reads it."""
        from fastbackprop.persistence import save

        save(self, path)
