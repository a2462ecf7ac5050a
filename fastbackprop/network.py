"""A fully connected network: its parameters in one flat vector, and what the engine computes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike, getpid
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbackprop import checks, memory, threads
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.engine import layout as at
from fastbackprop.engine.update import GRADIENT, HYPER_FIELDS
from fastbackprop.heads import HEADS, read_targets
from fastbackprop.lazy import lazy
from fastbackprop.parameters import parameter_count, split
from fastbackprop.penalty import Penalty
from fastbackprop.plan import LINE_OF_FLOATS, Plan, block_of, parts_of_batch, round_up, samples_of_block
from fastbackprop.small_calls import SmallForward, SmallGradients

if TYPE_CHECKING:
    from fastbackprop.early_stopping import EarlyStopping
    from fastbackprop.history import History
    from fastbackprop.optimizers import LBFGS, Optimizer

# Samples whose gradient is one chain of sums in the network's dtype; more are several, summed in float64. Samples that
# have to be converted are so by as many at a time: the bits do not depend on how they lie in memory.
PART = 1 << 13


class Gradients:
    """Gradients of the cost J by the parameters, each of its parameter's shape (the paper's convention).

    Attributes
    ----------
    cost : float
        J, the mean loss of the samples.
    vector : ndarray
        The gradient by ``Network.params``, in the same order.
    dW, db : list of ndarray
        Views of ``vector``: eqs. (24) and (25).
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

    Index 0 is the input: ``A[0]`` is X and ``dA[0]`` is dX; ``None`` stands where the paper defines nothing.

    Attributes
    ----------
    Z, A : linear outputs and activations, (N, n[l])
    dA, dZ : gradients of the cost J by them; ``dZ[l] = delta[l] / N``, eq. (21)
    dW, db : gradients by the parameters, eqs. (24) and (25)
    delta : gradients of each sample's own loss by Z[l], (N, n[l])
    cost : J
    """

    Z: list[np.ndarray | None]
    A: list[np.ndarray]
    dA: list[np.ndarray | None]
    dZ: list[np.ndarray | None]
    dW: list[np.ndarray | None]
    db: list[np.ndarray | None]
    delta: list[np.ndarray | None]
    cost: float


class Network:
    """A fully connected network.

    Parameters
    ----------
    sizes : sequence of int
        n[0], the inputs, to n[L], the outputs; at least two.
    hidden : str or sequence of str
        Activation of the hidden layers, one name or one a layer: identity, relu (relu'(0) = 1, eq. (1)), relu0
        (relu'(0) = 0), leaky_relu, elu, tanh, sigmoid, softplus, gelu (tanh form), silu.
    output : str
        identity (with the L2 loss), sigmoid (binary cross-entropy, summed over the outputs) or softmax (categorical
        cross-entropy): the three of Theorem 6.1. Or exp (half the Poisson deviance, for counts).
    dtype : 'float32' or 'float64'
    seed : None, int or numpy.random.Generator
        Of the weights: He's initialisation for relu-like layers, Glorot's for others; biases start at zero.

    Attributes
    ----------
    params : ndarray
        All parameters in one vector: for each layer W[l], row-major, then b[l].
    weights, biases : tuple of ndarray
        W[l+1], (n[l+1], n[l]), and b[l+1], (n[l+1],), for l from 0: writable views of ``params``.
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
        dtype: Any = "float32", seed: int | np.random.Generator | None = None, threads: int | None = None,
    ) -> None:  # fmt: skip
        self._sizes = checks.layer_sizes(sizes)
        layers = len(self._sizes) - 2
        if isinstance(hidden, str):
            hidden = [hidden] * layers
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
        self.initialize(seed)

    def _connect(self) -> None:
        """Make the views of the flat vector; there are no other copies of the parameters."""
        self._weights, self._biases = split(self._params, self._sizes)
        self._block = samples_of_block(self._sizes, self._dtype)
        self._plans: dict[tuple[int, int | None, bool], list[Plan]] = {}
        self._small_forward = SmallForward(self)
        self._turns: dict[int, AbstractContextManager[Any]] = {}  # by process

    def initialize(self, seed: int | np.random.Generator | None = None) -> None:
        """Draw new weights (He or Glorot, by the layer's activation), set the biases to zero."""
        rng = checks.generator(seed)
        for l, (W, b) in enumerate(zip(self._weights, self._biases, strict=True)):
            n_out, n_in = W.shape
            if l < len(self._hidden) and ACTIVATIONS[self._hidden[l]].rectifier:
                W[...] = rng.standard_normal(W.shape) * np.sqrt(2.0 / n_in)
            else:
                W[...] = rng.uniform(-1.0, 1.0, W.shape) * np.sqrt(6.0 / (n_in + n_out))
            b[...] = 0.0

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
        """The output layer: identity, sigmoid or softmax."""
        return self._output

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._dtype

    @property
    def params(self) -> np.ndarray:
        """All parameters, one writable vector."""
        return self._params

    @params.setter
    def params(self, values: Any) -> None:
        array = np.asarray(values)
        if array.shape != self._params.shape or array.dtype.kind not in "fiu":
            raise ValueError(
                f"params must be a vector of {self._params.size} numbers, got shape {array.shape} of {array.dtype}"
            )
        self._params[...] = array

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """W[1] to W[L], writable views of ``params``."""
        return self._weights

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """b[1] to b[L], writable views of ``params``."""
        return self._biases

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

    def __getstate__(self) -> dict[str, Any]:
        return {
            "sizes": self._sizes, "hidden": self._hidden, "output": self._output, "dtype": self._dtype.name,
            "threads": self._threads, "params": self._params.copy(),
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._sizes, self._hidden, self._output = state["sizes"], state["hidden"], state["output"]
        self._dtype, self._threads = np.dtype(state["dtype"]), state["threads"]
        self._params = memory.zeros(parameter_count(self._sizes), self._dtype)
        self._params[:] = state["params"]
        self._connect()

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
            codes = [ACTIVATIONS[name].code for name in self._hidden]
            count = threads_ or threads.available()
            plan = Plan(self._sizes, codes, HEADS[self._output], self._dtype, block, count, learning)
        plan.home = [] if whole else kept
        return plan

    @property
    def turn(self) -> AbstractContextManager[Any]:
        """Held by the thread that trains the network; the others wait until it is done.

        A forked child has one of its own, since the thread that holds the parent's is not in it.
        """
        return self._turns.setdefault(getpid(), RLock())

    def reads(self, array: Any) -> bool:
        """Whether the engine can read the rows of an array where they lie."""
        if not isinstance(array, np.ndarray):  # a sparse matrix
            return False
        contiguous = array.shape[1] == 1 or array.strides[1] == array.itemsize
        return (
            array.dtype == self._dtype  # in the native order of bytes too
            and contiguous
            and array.flags.aligned
            and array.strides[0] % array.itemsize == 0
        )

    def readable(self, array: Any) -> np.ndarray:
        """The rows as the engine reads them: the array itself, or a copy of it."""
        if self.reads(array):
            return array
        with np.errstate(over="ignore"):  # what overflows is infinite, and reported as such
            return np.ascontiguousarray(array if isinstance(array, np.ndarray) else array.toarray(), self._dtype)

    def _batches(self, X: Any, Y: np.ndarray | None) -> Iterator[tuple[slice, np.ndarray, Any]]:
        """X and Y as the engine reads them, in parts; converted where they do not lie so."""

        def good(array: np.ndarray | None) -> bool:
            return array is None or array.ndim == 1 or self.reads(array)

        samples, as_they_lie, step = X.shape[0], good(X) and good(Y), max(PART, self._block)
        for start in range(0, samples, step):
            part = slice(start, min(start + step, samples))
            x, y = X[part], None if Y is None else Y[part]
            if not as_they_lie:
                x, y = self.readable(x), y if y is None or y.ndim == 1 else self.readable(y)
            yield part, x, y

    @staticmethod
    def put_data(job: np.ndarray, X: np.ndarray, Y: np.ndarray | None, weights: np.ndarray | None = None) -> None:
        """Write the addresses of inputs, targets and sample weights, all readable by the engine, into a job."""
        job[at.INPUTS], job[at.INPUT_STRIDE] = X.ctypes.data, X.strides[0] // X.itemsize
        job[at.SAMPLE_WEIGHTS] = 0 if weights is None else weights.ctypes.data
        if Y is None:
            job[at.TARGET_KIND] = at.NO_TARGETS
        elif Y.ndim == 1:
            job[at.TARGET_KIND], job[at.TARGETS] = at.CLASSES, Y.ctypes.data
        else:
            job[at.TARGET_KIND], job[at.TARGETS] = at.DENSE, Y.ctypes.data
            job[at.TARGET_STRIDE] = Y.strides[0] // Y.itemsize

    # ------------------------------------------------------------------ what it computes

    def forward(self, X: Any) -> np.ndarray:
        """The outputs o, (N, n[L]), of samples X, (N, n[0]).

        A row of the result does not depend on the other rows, bit for bit.

        Raises
        ------
        ValueError, TypeError
            Where X has another shape, is empty, holds NaN or infinity, or is not numeric.

        Examples
        --------
        >>> import numpy as np
        >>> Network((2, 3), seed=0).forward(np.zeros((1, 2)))
        array([[0.33333334, 0.33333334, 0.33333334]], dtype=float32)
        """
        small = self._small_forward.outputs_of(self, X)
        if small is not None:
            return small
        return self._forward(checks.rows(X, "X", self._sizes[0], self._dtype, unread=True), check=True)

    __call__ = forward

    @lazy
    def _small_gradients(self) -> SmallGradients:
        return SmallGradients(self)

    def _forward(self, X: Any, check: bool = False) -> np.ndarray:
        out = np.empty((X.shape[0], self._sizes[-1]), self._dtype)
        self._evaluate(X, None, None, out, check)
        return out

    def _evaluate(
        self, X: Any, Y: np.ndarray | None, weights: np.ndarray | None, out: np.ndarray | None, check: bool = False
    ) -> float:
        """Write the outputs to ``out``; returns the cost, where there are targets.

        With ``check``, X has not been looked at yet: raises ValueError where it is not finite.
        """
        total, cost = 0.0, 0.0
        with self.plan(X.shape[0], False) as plan:
            for part, x, y in self._batches(X, Y):
                w = None if weights is None else weights[part]
                costs = np.zeros((1, at.COST_FIELDS))
                job = plan.new_job(len(x), len(x))
                self.put_data(job, x, y, w)
                job[at.OUTPUTS] = 0 if out is None else out[part].ctypes.data
                job[at.CHECK_INPUTS] = check
                if plan.run(job, self._params, costs)[0] and check:
                    checks.finite(X, "X", self._dtype)
                    check = False  # all of X was looked at
                weight = len(x) if w is None else float(w.sum(dtype=np.float64))
                cost += float(costs[0, at.MEAN_LOSS]) * (weight / len(x))
                total += weight
        return cost / total if total else 0.0

    def _read(
        self, X: Any, Y: Any, sample_weight: Any, *, unread: bool = False
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Samples, targets and weights as they are given, checked; ``unread`` as of :func:`checks.rows`."""
        X = checks.rows(X, "X", self._sizes[0], self._dtype, unread=unread)
        Y = read_targets(self._output, Y, X.shape[0], self._sizes[-1], self._dtype)
        return X, Y, checks.sample_weights(sample_weight, X.shape[0], self._dtype)

    def cost(self, X: Any, Y: Any, *, sample_weight: Any = None) -> float:
        """The cost J, the mean over the samples of the loss of outputs and targets.

        Parameters
        ----------
        X : array (N, n[0])
            Also a SciPy sparse matrix, here and in all other methods.
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
        self, plan: Plan, x: np.ndarray, Y: np.ndarray, weights: np.ndarray | None, vector: np.ndarray,
        dX: np.ndarray | None, penalty: Penalty | None = None, *, whole: bool = False,
    ) -> float:  # fmt: skip
        """Fill ``vector`` and ``dX``; returns the cost. ``x`` is readable by the engine.

        All is NaN where a loss is not finite, dW[1] where an input is not: 0 times it is not 0. With ``whole`` it is
        not done in parts, whose activations and deltas are in workspaces of their own.
        """
        y = Y if Y.ndim == 1 else self.readable(Y)
        job = plan.new_job(len(x), len(x))
        if not whole:
            plan.divide(job, len(x))
        self.put_data(job, x, y, weights)
        job[at.UPDATE], job[at.GRADIENT_AT] = GRADIENT, vector.ctypes.data
        job[at.INPUT_GRADIENT] = 0 if dX is None else dX.ctypes.data
        hyper = None
        if penalty:
            hyper = np.zeros(HYPER_FIELDS)
            penalty.put(job, hyper)
        costs = np.zeros((1, at.COST_FIELDS))
        if plan.run(job, self._params, costs, hyper)[0]:
            vector[...] = np.nan
            if dX is not None:
                dX[...] = np.nan
        return float(costs[0].sum()) / len(x)

    def value_and_grad(
        self, X: Any, Y: Any, *, sample_weight: Any = None, l1: float = 0.0, l2: float = 0.0
    ) -> tuple[float, np.ndarray]:
        """The cost with its penalties and their gradient by ``params``, as optimizers of other libraries want them.

        ``J + l2 / 2 * sum W**2 + l1 * sum |W|``, over the weights, not the biases. Where X has to be converted (sparse,
        another dtype, another order of memory), it is converted a part at a time, never whole.

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
        for part, x, y in self._batches(X, Y):
            w, dx = None if weights is None else weights[part], None if dX is None else dX[part]
            with self.plan(len(x), True) as plan:
                cost = self._gradients(plan, x, y, w, vector, dx, penalty)
            if not (is_finite or np.isfinite(vector).all()):
                checks.finite(X, "X", self._dtype)
                is_finite = True  # all of X was looked at
            if len(x) == X.shape[0]:
                return cost, vector
            share = (len(x) if w is None else float(w.sum(dtype=np.float64))) / total
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
            for part, x, seeds in self._batches(X, dZ):
                job = plan.new_job(len(x), plan.block)
                self.put_data(job, x, seeds)
                job[at.TARGET_KIND], job[at.INPUT_GRADIENT] = at.GIVEN_DELTAS, dX[part].ctypes.data
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
        X = self.readable(checks.rows(X, "X", self._sizes[0], self._dtype))
        o = self._forward(X)
        m = self._sizes[-1]
        result = np.empty((len(X), m, self._sizes[0]), self._dtype)
        for i in range(m):
            seeds = np.zeros_like(o)
            if self._output == "softmax":
                seeds -= o * o[:, i : i + 1]
                seeds[:, i] += o[:, i]
            else:
                seeds[:, i] = {"sigmoid": o[:, i] * (1 - o[:, i]), "exp": o[:, i], "identity": 1.0}[self._output]
            result[:, i] = self._pull_back(X, seeds)
        return result

    def trace(self, X: Any, Y: Any) -> Trace:
        """Every Z, A, dA, dZ, dW, db and delta of one forward and backward pass, by layer, under the paper's names.

        A, dZ, dW and db are what the fused step left in its workspace (where it makes dW in parts, another leaves A and
        dZ, with the same bits); Z and dA, which it never writes, are computed by the same kernels one layer at a time,
        with the same bits.
        """
        X = self.readable(checks.rows(X, "X", self._sizes[0], self._dtype))
        Y = read_targets(self._output, Y, len(X), self._sizes[-1], self._dtype)
        count, last = len(X), len(self._sizes) - 1
        vector, dX = np.empty_like(self._params), np.empty(X.shape, self._dtype)
        with self.plan(count, True, whole=True) as plan:
            cost = self._gradients(plan, X, Y, None, vector, dX)
            if parts_of_batch(self._sizes, self._dtype, count) > 1:
                self._gradients(plan, X, Y, None, np.empty_like(vector), None, whole=True)
            A = [X.copy(), *(plan.panels(at.PANELS, l, count) + 0 for l in range(1, last + 1))]  # + 0: -0.0 is 0
            dZ = [plan.panels(at.DELTAS, l, count) for l in range(1, last + 1)]
        dW, db = split(vector, self._sizes)
        Z: list[np.ndarray | None] = [None]
        dA: list[np.ndarray | None] = [dX]
        for l in range(1, last + 1):
            layer = Network(self._sizes[l - 1 : l + 1], output="identity", dtype=self._dtype, threads=self._threads)
            layer._weights[0][...], layer._biases[0][...] = self._weights[l - 1], self._biases[l - 1]
            Z.append(layer._forward(A[l - 1]))
            if l > 1:
                dA.append(layer._pull_back(A[l - 1], dZ[l - 1]))
        delta = [d * self._dtype.type(count) for d in dZ]
        return Trace(Z, A, [*dA, None], [None, *dZ], [None, *dW], [None, *db], [None, *delta], cost)

    # ------------------------------------------------------------------ learning and keeping

    def fit(
        self, X: Any, y: Any, *, epochs: int = 20, batch_size: int = 32,
        optimizer: Optimizer | LBFGS | str | None = None, shuffle: bool = True,
        seed: int | np.random.Generator | None = None, sample_weight: Any = None,
        class_weight: Mapping[int, float] | str | None = None, l1: float = 0.0, l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0, validation_data: tuple[Any, Any] | None = None,
        validation_fraction: float = 0.0, early_stopping: EarlyStopping | bool | None = None,
        callbacks: Sequence[Callable[[dict[str, Any]], Any]] = (), progress: bool = False,
        checkpoint: str | PathLike[str] | None = None, checkpoint_every: int = 1,
        resume: str | PathLike[str] | None = None, threads: int | None = None,
    ) -> History:  # fmt: skip
        """Learn from samples X, (N, n[0]), and targets y by mini-batches.

        Where another thread trains this network, this one waits until it is done. Other methods do not wait: meanwhile
        they see the parameters between, or in the middle of, two steps.

        Parameters
        ----------
        X : array (N, n[0])
            Read where it lies, once an epoch, also when memory-mapped and larger than memory. Rows of another dtype and
            SciPy sparse matrices are converted a batch at a time.
        y : array
            As Y of :meth:`cost`.
        epochs : int
        batch_size : int
            The last batch of an epoch may be smaller.
        optimizer : SGD, RMSprop, Adagrad, Adam, AdamW, LBFGS, or the name of one in small letters
            ``SGD(0.1)`` where None.
        shuffle : bool
            Draw a new order of the samples each epoch, from ``seed`` and the epoch's number.
        seed : None, int or numpy.random.Generator
            Of the shuffles, of dropout and of the choice of validation samples.
        sample_weight : None or array (N,)
            Weights in the loss: a batch's cost is the weighted mean.
        class_weight : None, dict from class number to weight, or 'balanced'
            More weights, by the class: N / (classes * samples of the class) for 'balanced'.
        l1, l2 : float, at least 0
            Adds ``l2 / 2 * sum W**2 + l1 * sum |W|`` to the cost, over the weights, not the biases.
        dropout : float in [0, 1), or one a hidden layer
            The probability that a hidden unit is set to 0 in a step; the others are scaled up (inverted dropout).
        validation_data : None or (X, y)
            Its cost, and its score (accuracy; for identity and exp outputs R^2), are recorded after each epoch.
        validation_fraction : float in [0, 1)
            Hold so many of the samples back as validation data; of each class the same share.
        early_stopping : None, True or EarlyStopping
        callbacks : sequence of functions
            Called after each epoch with its record, a dict; one that returns True ends the training.
        progress : bool
            Show a progress bar (needs the extra ``cli``).
        checkpoint : None or path
            Write the training to this file (needs the extra ``io``) after every ``checkpoint_every`` epochs, and at the
            end.
        resume : None or path
            Go on from this checkpoint, to the same bits as if the training had not stopped. The samples must be the
            same, in the same order. The network's own parameters and ``seed`` have no say; ``epochs`` counts from the
            start of the training.
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
            On Ctrl-C, between two steps: the parameters are those after the last finished one.

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

        with self.turn:
            return fit(
                self, X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle, seed=seed,
                sample_weight=sample_weight, class_weight=class_weight, l1=l1, l2=l2, dropout=dropout,
                validation_data=validation_data, validation_fraction=validation_fraction, early_stopping=early_stopping,
                callbacks=callbacks, progress=progress, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
                resume=resume, threads=threads,
            )  # fmt: skip

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file (needs the extra ``io``); :func:`fastbackprop.load` reads it."""
        from fastbackprop.persistence import save

        save(self, path)
