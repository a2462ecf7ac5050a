"""The paper's Codes 1-4, compiled: the same names, signatures and results as :mod:`fastbackprop.reference`.

Changing ``from fastbackprop import reference as nn`` to ``from fastbackprop import paper as nn`` is the migration, all
of it. Samples are columns, lists are indexed from 1, ``W[0]`` and ``b[0]`` are not used; what is taken, nested lists
too, what a number gives, and the errors are the same.

Products and gradients run on the engine, the rest on the kernels of :mod:`fastbackprop.functional`. Results are float32
where every argument is float32 or narrower, float64 otherwise, and agree with the reference to rounding. Complex
arguments are not accepted. The engine works on rows: X and Y that are Fortran-ordered, such as ``.T`` of arrays with
samples as rows, are read where they lie; others are transposed at each call. Each call also copies the parameters, and
`forward_propagation` writes every Z: a :class:`fastbackprop.Network` does neither, and is the way to train fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastbackprop import functional, reference
from fastbackprop.engine import elementary
from fastbackprop.engine.simd import const, if_equal, if_less
from fastbackprop.functional import Elementwise, generalized
from fastbackprop.network import Network
from fastbackprop.reference import (
    Array,
    Function,
    Layers,
    Trace,
    _arrays,
    _check_eps,
    _check_samples,
    _columns,
    _columns_and_targets,
    _floats,
    _hidden,
    _numbers,
    _targets,
    update_params,
)
from fastbackprop.rows import Rows

__all__ = [
    "ACTIVATIONS",
    "OUTPUTS",
    "Trace",
    "back_propagation",
    "cost",
    "d_relu_eps",
    "forward_propagation",
    "losses",
    "relu_eps",
    "softmax",
    "softmax_jacobian",
    "trace",
    "update_params",
]


# ---- What functional does not have: the functions with a parameter, and samples as columns ---------------------------


@Elementwise
def _d_relu(Z: ArrayLike, at_zero: float) -> Array:
    zero = const(Z, 0.0)
    return if_less(Z, zero, zero, if_less(zero, Z, const(Z, 1.0), if_equal(Z, zero, at_zero, Z)))


def d_relu(Z: ArrayLike, at_zero: float = 1.0) -> Array:
    """Derivative of relu, with relu'(0) = `at_zero`: 1 is eq. (1), 0 is the other choice that the paper names.

    Examples
    --------
    >>> d_relu([-2.0, 0.0, 3.0])
    array([0., 1., 1.])
    """
    _numbers(at_zero, "at_zero")
    return _d_relu(_floats(Z, "Z"), at_zero)


@Elementwise
def _leaky_relu(Z: Any, slope: Any) -> Array:
    return if_less(Z, const(Z, 0.0), slope * Z, Z)


def leaky_relu(Z: ArrayLike, slope: float = 0.01) -> Array:
    """Leaky relu: z where z >= 0, `slope` z elsewhere.

    Examples
    --------
    >>> leaky_relu([-2.0, 3.0], slope=0.5)
    array([-1.,  3.])
    """
    _numbers(slope, "slope")
    return _leaky_relu(_floats(Z, "Z"), slope)


@Elementwise
def _d_leaky_relu(Z: ArrayLike, slope: float) -> Array:
    return if_less(Z, const(Z, 0.0), slope, if_equal(Z, Z, const(Z, 1.0), Z))


def d_leaky_relu(Z: ArrayLike, slope: float = 0.01) -> Array:
    """Derivative of `leaky_relu`: 1 where z >= 0 (as eq. (1)), `slope` elsewhere.

    Examples
    --------
    >>> d_leaky_relu([-2.0, 3.0], slope=0.5)
    array([0.5, 1. ])
    """
    _numbers(slope, "slope")
    return _d_leaky_relu(_floats(Z, "Z"), slope)


@Elementwise
def _relu_eps(Z: Any, eps: Any) -> Array:
    zero, one = const(Z, 0.0), const(Z, 1.0)
    t = Z / eps
    # -2/eps^3 z^4 - 3/eps^2 z^3 + z, for z = eps t
    quartic = Z * (one - t * t * (const(Z, 3.0) + const(Z, 2.0) * t))
    return if_less(-eps, Z, if_less(Z, zero, quartic, Z), if_equal(Z, Z, zero, Z))


def relu_eps(Z: ArrayLike, eps: float = 1e-32) -> Array:
    """Differentiable relu of section 3: relu but for a quartic between -eps and 0.

    Examples
    --------
    >>> relu_eps([-1.0, -0.5, 0.0, 1.0], eps=1.0)
    array([ 0.  , -0.25,  0.  ,  1.  ])
    """
    _check_eps(eps)
    return _relu_eps(_floats(Z, "Z"), eps)


@Elementwise
def _d_relu_eps(Z: Any, eps: Any) -> Array:
    zero, one = const(Z, 0.0), const(Z, 1.0)
    t = Z / eps
    cubic = one - t * t * (const(Z, 9.0) + const(Z, 8.0) * t)
    return if_less(-eps, Z, if_less(Z, zero, cubic, one), if_equal(Z, Z, zero, Z))


def d_relu_eps(Z: ArrayLike, eps: float = 1e-32) -> Array:
    """Derivative of `relu_eps`: 1 for z >= 0, 0 for z <= -eps (Lemma 3.1).

    Examples
    --------
    >>> d_relu_eps([-1.0, -0.5, 0.0, 1.0], eps=1.0)
    array([ 0.  , -0.25,  1.  ,  1.  ])
    """
    _check_eps(eps)
    return _d_relu_eps(_floats(Z, "Z"), eps)


def softmax(Z: ArrayLike) -> Array:
    """Softmax of each column, (m, N), or of one sample, (m,). Code 1.

    Examples
    --------
    >>> softmax([[0.0, 1000.0], [0.0, 0.0]])
    array([[0.5, 1. ],
           [0.5, 0. ]])
    """
    return functional.softmax(_columns(Z), axis=0)


@generalized("(m)->(m,m)")
def _softmax_jacobian(o: Any, out: Any = None) -> None:
    for i in range(len(o)):
        for j in range(len(o)):
            out[i, j] = o[i] * (const(o[i], 1.0 if i == j else 0.0) - o[j])


def softmax_jacobian(Z: ArrayLike) -> Array:
    """Jacobian of the softmax, eq. (39): [do_i / dz_j] = [o_i (delta_ij - o_j)].

    (m, m) for one sample, (m,); (m, m, N) for N samples as columns, sample k's being `[:, :, k]`.

    Examples
    --------
    >>> softmax_jacobian([0.0, 0.0])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    return _softmax_jacobian(softmax(Z), axes=[0, (0, 1)])


# All others are those of `functional`.
for _pair in reference.ACTIVATIONS.values():
    for _f in _pair:
        globals().setdefault(_f.__name__, getattr(functional, _f.__name__, None))
        __all__ += [_f.__name__] * (_f.__name__ not in __all__)
__all__.sort()

#: Hidden activations by name: value and derivative.
ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    name: (globals()[value.__name__], globals()[derivative.__name__])
    for name, (value, derivative) in reference.ACTIVATIONS.items()
}

if TYPE_CHECKING:

    def __getattr__(name: str) -> Function:
        raise AttributeError(name)  # those of the table are found without this


#: Output activations by name: those of Theorem 6.1.
OUTPUTS: dict[str, Function] = {
    "identity": functional.identity, "sigmoid": functional.sigmoid, "softmax": softmax,
}  # fmt: skip


# ---- The network: Codes 2, 3 and 4 -----------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _kept_network(thread: int, sizes: tuple[int, ...], hidden: tuple[str, ...], output: str, dtype: str) -> Network:
    """A network to put parameters into, kept for the next call with its workspace; a thread has its own."""
    return Network(sizes, hidden, output, dtype=dtype, seed=0)


def _network(X: Array, W: Layers, b: Layers, hidden: Sequence[str], output: str, dtype: np.dtype[Any]) -> Network:
    """The network with the parameters W[1], b[1], ..., copied into its vector."""
    sizes = (np.shape(X)[0], *(len(w) for w in W[1:]))
    net = _kept_network(get_ident(), sizes, tuple(hidden), output, dtype.name)
    for w, values in zip(net.weights, W[1:], strict=True):
        w[...] = values
    for v, values in zip(net.biases, b[1:], strict=True):
        v[...] = np.ravel(values)
    return net


def _names(hidden: str | Sequence[str], L: int) -> list[str]:
    """The activation of each hidden layer, checked."""
    _hidden(hidden, L)
    return [hidden] * (L - 1) if isinstance(hidden, str) else list(hidden)


def _dtype(*arrays: Any) -> np.dtype[Any]:
    """float32 or float64: the narrower that holds them all."""
    got = np.result_type(*arrays)
    for name in ("float32", "float64"):
        if np.can_cast(got, name):
            return np.dtype(name)
    if got.kind in "iu":
        return np.dtype("float64")
    raise TypeError(f"X, Y, W, b: got dtype {got}; accepted: real numbers up to float64")


def forward_propagation(
    X: Array, W: Layers, b: Layers, *, hidden: str | Sequence[str] = "relu", output: str = "softmax"
) -> tuple[Layers, Layers]:
    """Linear outputs and activations of every layer. Codes 3 and 4.

    Parameters
    ----------
    X : (n[0], N)
        Samples as columns.
    W, b : lists of length L + 1
        `W[i]` is (n[i], n[i-1]) and `b[i]` is (n[i], 1); `W[0]` and `b[0]` are not used.
    hidden : str or sequence of str
        A key of `ACTIVATIONS`, or one for each of the L - 1 hidden layers.
    output : {"softmax", "sigmoid", "identity"}
        Activation of layer L.

    Returns
    -------
    Z, A : lists of length L + 1
        `Z[i]` and `A[i]` are (n[i], N); `Z[0]` is None and `A[0]` is X. The network's output is `A[-1]`.

    Raises
    ------
    ValueError
        A name is not known, or shapes do not fit.
    TypeError
        An array is not of real numbers up to float64.

    Examples
    --------
    >>> X = np.array([[1.0, 2.0, 3.0]])
    >>> Z, A = forward_propagation(X, [None, np.array([[2.0]])], [None, np.array([[1.0]])], output="identity")
    >>> A[-1]
    array([[3., 5., 7.]])
    """
    X, W, b = _arrays(X, W, b, output)
    L = len(W) - 1
    g = [ACTIVATIONS[name][0] for name in _names(hidden, L)] + [OUTPUTS[output]]
    dtype = _dtype(X, *W[1:], *b[1:])

    Z: Layers = [None] * (L + 1)
    A: Layers = [X] + [None] * L
    for i in range(1, L + 1):
        layer = _network(A[i - 1], [None, W[i]], [None, b[i]], (), "identity", dtype)
        Z[i] = layer._forward(np.transpose(A[i - 1])).T  # (3)
        A[i] = g[i - 1](Z[i])  # (4)
    return Z, A


def back_propagation(
    X: Array, Y: Array, W: Layers, b: Layers, *, hidden: str | Sequence[str] = "relu", output: str = "softmax"
) -> tuple[Layers, Layers]:
    """Gradients of the cost by every weight and bias, one fused pass forward and back. Codes 3 and 4.

    Parameters
    ----------
    X, W, b, hidden, output
        As for `forward_propagation`. The output chooses the loss too, as in Theorem 6.1: see `losses`.
    Y : (n[L], N)
        Targets as columns. For softmax each column must sum to 1, or Y is (N,), class numbers from 0 to n[L] - 1.

    Returns
    -------
    dW, db : lists of length L + 1
        `dW[i]` has the shape of `W[i]` and `db[i]` that of `b[i]`; `dW[0]` and `db[0]` are None. Where the cost is not
        finite they are NaN.

    Raises
    ------
    ValueError
        A name is not known, or shapes do not fit.
    TypeError
        An array is not of real numbers up to float64.

    Examples
    --------
    The mean of (w x - y)^2 / 2 has the derivative mean((w x - y) x), here (-1 * 1 - 3 * 2) / 2:

    >>> X, Y = np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]])
    >>> W, b = [None, np.array([[0.0]])], [None, np.array([[0.0]])]
    >>> dW, db = back_propagation(X, Y, W, b, output="identity")
    >>> dW[1], db[1]
    (array([[-3.5]]), array([[-2.]]))
    """
    net, X, Y = _network_for(X, Y, W, b, hidden, output)
    vector = np.empty_like(net.params)
    with net.plan(X.shape[1], True) as plan:
        net._gradients(plan, Rows(X.T, net.dtype), Rows(Y.T, net.dtype), None, vector, None)
    dW, db = net.split(vector)
    return [None, *dW], [None, *(v.reshape(-1, 1) for v in db)]


def _network_for(
    X: Array, Y: Array, W: Layers, b: Layers, hidden: str | Sequence[str], output: str
) -> tuple[Network, Array, Array]:
    """The network of `back_propagation` and `trace`, X and Y, all arguments checked."""
    X, W, b = _arrays(X, W, b, output)
    names = _names(hidden, len(W) - 1)
    Y = _targets(Y, (len(W[-1]), X.shape[1]), output)
    _check_samples(X, "X")
    return _network(X, W, b, names, output, _dtype(X, Y, *W[1:], *b[1:])), X, Y


def trace(
    X: Array, Y: Array, W: Layers, b: Layers, *, hidden: str | Sequence[str] = "relu", output: str = "softmax"
) -> Trace:
    """Forward and back propagation with every intermediate kept: Theorem 5.4.

    Parameters and errors are those of `back_propagation`; X and Y must be finite.

    Examples
    --------
    >>> X, Y = np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]])
    >>> W, b = [None, np.array([[0.0]])], [None, np.array([[0.0]])]
    >>> trace(X, Y, W, b, output="identity").delta[1]
    array([[-1., -3.]])
    """
    net, X, Y = _network_for(X, Y, W, b, hidden, output)
    t = net.trace(X.T, Y.T)
    Z, A, dA, dZ = ([None if T is None else T.T for T in layers] for layers in (t.Z, t.A, t.dA, t.dZ))
    return Trace(Z, [X, *A[1:]], dA, dZ, [None, *t.dW], [None, *(v.reshape(-1, 1) for v in t.db)])


@Elementwise
def _times_log(y: Any, o: ArrayLike) -> Array:
    return if_equal(y, const(y, 0.0), const(y, 0.0), y * elementary.log(o))


def cost(A: Array, Y: Array, *, output: str = "softmax") -> np.inexact[Any]:
    """Cost of the network's output, the mean of the samples' losses, as section 1 writes it. Code 3.

    Where an output is so small that it rounds to 0 the logarithm is lost, and the cost is infinite. The mean of
    `losses` is the same number, computed from Z, and has no such limit.

    Parameters
    ----------
    A, Y : (m, N)
        The network's output, `A[-1]` of `forward_propagation`, and the targets; for softmax also class numbers, (N,).
    output : {"softmax", "sigmoid", "identity"}
        Chooses the loss, as in `losses`.

    Examples
    --------
    >>> float(cost(np.array([[1.0, 5.0]]), np.array([[1.0, 3.0]]), output="identity"))
    1.0
    """
    A, Y = _columns_and_targets(A, "A", Y, output)
    _check_samples(A, "A")
    N = A.shape[1]
    if output == "identity":
        return np.sum(functional.l2_loss(A, Y, axis=0)) / N
    if output == "sigmoid":
        return -np.sum(_times_log(Y, A) + _times_log(1 - Y, 1 - A)) / N
    return -np.sum(_times_log(Y, A)) / N


def losses(Z: Array, Y: Array, *, output: str = "softmax") -> Array:
    """Loss of each sample from the last layer's linear output Z: section 1's three, with no overflow and no log(0).

    Parameters
    ----------
    Z, Y : (m, N)
        `Z[-1]` of `forward_propagation`, and the targets; for softmax also class numbers, (N,).
    output : {"softmax", "sigmoid", "identity"}
        Identity: half the squared distance, eq. (26). Sigmoid: binary cross-entropy, summed over the m outputs.
        Softmax: categorical cross-entropy.

    Returns
    -------
    (N,)

    Examples
    --------
    >>> losses(np.array([[0.0, 1000.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    array([6.93147181e-01, 1.00000000e+03])
    """
    Z, Y = _columns_and_targets(Z, "Z", Y, output)
    return _LOSSES[output](Z, Y, axis=0)


_LOSSES = {
    "identity": functional.l2_loss,
    "sigmoid": functional.binary_cross_entropy,
    "softmax": functional.categorical_cross_entropy,
}
