"""The paper's Codes 1-4 in plain NumPy, with the errata corrected.

Meant to be read: it is the oracle that everything compiled is tested against, and the baseline it is measured against.
Samples are columns: `X` is (n[0], N). Lists are indexed from 1, as in the paper: `W[i]` is (n[i], n[i-1]) and `b[i]` is
(n[i], 1), for layers i = 1, ..., L. `W[0]` and `b[0]` are not used: put None there. `A[0]` is X.

Code 4, the deep network with relu layers and a softmax output, is what the defaults give. Code 3, linear regression,
is the network without hidden layers, `W = [None, W1]`, with `output="identity"`.

Whatever NumPy makes an array of numbers of is taken, lists too; numbers in are numbers out. Dtypes follow NumPy's rules
of promotion: where every argument is float32, so is the result; of integers, bool and float16 it is float32 or float64,
the narrower that holds them. The activations, the forward propagation and the losses also take complex arguments, for
derivatives by complex step. At plus and minus infinity there are the limits, and no warning on the way there.

Source: Y. H. Park, "Gradients in a deep neural network and their Python implementations", 2022. Numbers in
parentheses are its equations. `docs/errata.md` tells what was corrected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbackprop.activations import ACTIVATIONS as TABLE
from fastbackprop.activations import Activation

__all__ = [
    "ACTIVATIONS",
    "OUTPUTS",
    "Trace",
    "back_propagation",
    "cost",
    "d_elu",
    "d_gelu",
    "d_identity",
    "d_leaky_relu",
    "d_relu",
    "d_relu0",
    "d_relu_eps",
    "d_sigmoid",
    "d_silu",
    "d_softplus",
    "d_tanh",
    "elu",
    "forward_propagation",
    "gelu",
    "identity",
    "leaky_relu",
    "losses",
    "relu",
    "relu0",
    "relu_eps",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_jacobian",
    "softplus",
    "tanh",
    "trace",
    "update_params",
]

Array: TypeAlias = NDArray[Any]
Layers: TypeAlias = list[Any]  # one array a layer, indexed from 1; what stands at 0 is said where it is made


# ---- Activations and their derivatives: Code 1, section 3, and the others in use -------------------------------------


def _elementwise(f: Callable[..., Any]) -> Callable[..., Any]:
    """Hand Z over as an array of floats; a number comes out where a number went in."""

    @wraps(f)
    @np.errstate(all="ignore")  # e^-1000 is 0
    def function(Z: ArrayLike, *args: Any, **kwargs: Any) -> Any:
        return np.asarray(f(_floats(Z, "Z"), *args, **kwargs))[()]

    return function


def _minus_abs(Z: Any) -> Array:
    """Return -|z|, for complex z that of z and -z whose real part is not positive."""
    return np.where(np.real(Z) >= 0, -Z, Z)


def _times(T: Any, factor: Any) -> Array:
    """Return the product, and 0 where the factor is 0, also where T is infinite."""
    return np.where(factor == 0, 0, T * factor)


@_elementwise
def sigmoid(Z: ArrayLike) -> Array:
    """Sigmoid, 1 / (1 + exp(-z)), of each element; never overflows. Code 1.

    >>> sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    e = np.exp(_minus_abs(Z))  # at most 1
    return np.where(np.real(Z) >= 0, 1, e) / (1 + e)


@_elementwise
def d_sigmoid(Z: ArrayLike) -> Array:
    """Derivative of the sigmoid, eq. (2).

    >>> d_sigmoid([-1000.0, 0.0, 1000.0])
    array([0.  , 0.25, 0.  ])
    """
    return sigmoid(Z) * sigmoid(np.negative(Z))  # (2): 1 - sigmoid(z) = sigmoid(-z), without cancellation


@_elementwise
def relu(Z: ArrayLike) -> Array:
    """Rectified linear unit, max(0, z), of each element. Code 1.

    >>> relu([-2.0, 0.0, 3.0])
    array([0., 0., 3.])
    """
    return np.where(np.real(Z) < 0, 0, Z)


@_elementwise
def d_relu(Z: ArrayLike, at_zero: float = 1.0) -> Array:
    """Derivative of relu, with relu'(0) = `at_zero`: 1 is eq. (1), 0 is the other choice that the paper names.

    >>> d_relu([-2.0, 0.0, 3.0])
    array([0., 1., 1.])
    >>> d_relu([-2.0, 0.0, 3.0], at_zero=0.0)
    array([0., 0., 1.])
    """
    _numbers(at_zero, "at_zero")
    return np.heaviside(np.real(Z), at_zero)


@_elementwise
def relu0(Z: ArrayLike) -> Array:
    """The values of relu, for whose derivative at 0 there are two choices."""
    return relu(Z)


@_elementwise
def d_relu0(Z: ArrayLike) -> Array:
    """Derivative of relu with relu'(0) = 0, as in PyTorch and scikit-learn."""
    return d_relu(Z, at_zero=0.0)


@_elementwise
def relu_eps(Z: ArrayLike, eps: float = 1e-32) -> Array:
    """Differentiable relu of section 3: relu but for a quartic between -eps and 0.

    >>> relu_eps([-1.0, -0.5, 0.0, 1.0], eps=1.0)
    array([ 0.  , -0.25,  0.  ,  1.  ])
    """
    t = _between(Z, eps)
    return relu(Z) + eps * t * (1 - 3 * t**2 - 2 * t**3)  # -2/eps^3 z^4 - 3/eps^2 z^3 + z, for z = eps t


@_elementwise
def d_relu_eps(Z: ArrayLike, eps: float = 1e-32) -> Array:
    """Derivative of `relu_eps`: 1 for z >= 0, 0 for z <= -eps (Lemma 3.1).

    >>> d_relu_eps([-1.0, -0.5, 0.0, 1.0], eps=1.0)
    array([ 0. , -0.25,  1. ,  1. ])
    """
    t = _between(Z, eps)
    return np.where(t == 0, d_relu(Z), 1 - 9 * t**2 - 8 * t**3)


def _between(Z: ArrayLike, eps: float) -> Array:
    """Return t = z / eps where z lies in (-eps, 0), and 0 elsewhere."""
    _check_eps(eps)
    z = np.real(Z)
    return np.where((-eps < z) & (z < 0), Z, 0) / eps


@_elementwise
def identity(Z: ArrayLike) -> Array:
    """Return z itself: the output of a linear regression."""
    return np.positive(Z)


@_elementwise
def d_identity(Z: ArrayLike) -> Array:
    """Derivative of the identity: 1."""
    return np.ones_like(Z)


@_elementwise
def leaky_relu(Z: ArrayLike, slope: float = 0.01) -> Array:
    """Leaky relu: z where z >= 0, `slope` z elsewhere."""
    _numbers(slope, "slope")
    return np.where(np.real(Z) < 0, np.multiply(slope, Z), Z)


@_elementwise
def d_leaky_relu(Z: ArrayLike, slope: float = 0.01) -> Array:
    """Derivative of `leaky_relu`: 1 where z >= 0 (as eq. (1)), `slope` elsewhere."""
    _numbers(slope, "slope")
    step = d_relu(Z)
    return step + slope * (1 - step)


@_elementwise
def elu(Z: ArrayLike) -> Array:
    """Exponential linear unit: z where z >= 0, exp(z) - 1 elsewhere."""
    negative = np.real(Z) < 0
    return np.where(negative, np.expm1(np.where(negative, Z, 0)), Z)


@_elementwise
def d_elu(Z: ArrayLike) -> Array:
    """Derivative of `elu`: 1 where z >= 0, exp(z) elsewhere."""
    return np.exp(np.where(np.real(Z) >= 0, 0, Z))


@_elementwise
def tanh(Z: ArrayLike) -> Array:
    """Hyperbolic tangent of each element."""
    return np.tanh(Z)


@_elementwise
def d_tanh(Z: ArrayLike) -> Array:
    """Derivative of tanh, 1 - tanh(z)^2."""
    return 1 - tanh(Z) ** 2


@_elementwise
def softplus(Z: ArrayLike) -> Array:
    """Softplus, log(1 + exp(z)), of each element; never overflows.

    >>> softplus([-1000.0, 0.0, 1000.0])
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    return relu(Z) + np.log1p(np.exp(_minus_abs(Z)))


@_elementwise
def d_softplus(Z: ArrayLike) -> Array:
    """Derivative of `softplus`: the sigmoid."""
    return sigmoid(Z)


@_elementwise
def silu(Z: ArrayLike) -> Array:
    """SiLU or swish: z sigmoid(z)."""
    return _times(Z, sigmoid(Z))


@_elementwise
def d_silu(Z: ArrayLike) -> Array:
    """Derivative of `silu`, sigmoid(z) + z sigmoid'(z)."""
    return sigmoid(Z) + _times(Z, d_sigmoid(Z))


@_elementwise
def gelu(Z: ArrayLike) -> Array:
    """GELU in its tanh form: z (1 + tanh u) / 2, with u = sqrt(2 / pi) (z + 0.044715 z^3)."""
    return _times(Z, (1 + np.tanh(_gelu_u(Z))) / 2)


@_elementwise
def d_gelu(Z: ArrayLike) -> Array:
    """Derivative of `gelu`, in its tanh form: (1 + tanh u) / 2 + z (1 - tanh(u)^2) u' / 2."""
    z = np.where(np.abs(Z) < 100, Z, 100 * np.sign(Z))  # 0 or 1 from there on, and z^2 cannot overflow
    t = np.tanh(_gelu_u(z))
    du = _GELU * (1 + 3 * 0.044715 * z**2)
    return (1 + t) / 2 + z * (1 - t**2) * du / 2


_GELU = (2 / np.pi) ** 0.5


def _gelu_u(z: Any) -> Array:
    z = np.where(np.abs(z) < 100, z, 100 * np.sign(z))  # tanh(u) is -1 or 1 from there on, and z^3 cannot overflow
    return _GELU * (z + 0.044715 * z**3)


@np.errstate(all="ignore")
def softmax(Z: ArrayLike) -> Array:
    """Softmax of each column. Code 1, over axis 0 since samples are columns.

    Parameters
    ----------
    Z : (m, N) or (m,)
        Linear outputs, a column each sample; or one sample.

    Returns
    -------
    Array of the shape of Z, whose columns sum to 1.

    Examples
    --------
    >>> softmax([[0.0, 1000.0], [0.0, 0.0]])
    array([[0.5, 1. ],
           [0.5, 0. ]])
    """
    Z_exp = np.exp(_below_the_top(_columns(Z)))  # a common factor changes nothing, and now none overflows
    return Z_exp / np.sum(Z_exp, axis=0)


def _below_the_top(Z: Array) -> Array:
    """Return Z minus the largest of its column, 0 also where both are infinite."""
    top = np.max(np.real(Z), axis=0, initial=-np.inf)
    return np.where(np.isposinf(np.real(Z)), 0, Z - top)


@np.errstate(under="ignore")
def softmax_jacobian(Z: ArrayLike) -> Array:
    """Jacobian of the softmax, eq. (39): [do_i / dz_j] = [o_i (delta_ij - o_j)].

    Parameters
    ----------
    Z : (m,) or (m, N)
        Linear output of one sample, or of N samples as columns.

    Returns
    -------
    (m, m) for one sample; (m, m, N) for N, sample k's being `[:, :, k]`.

    Examples
    --------
    >>> softmax_jacobian([0.0, 0.0])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    o = softmax(Z)
    m = o.shape[0]
    I = np.eye(m, dtype=o.dtype).reshape(m, m, *[1] * (o.ndim - 1))
    return o[:, None] * (I - o[None, :])  # (39)


Function: TypeAlias = Callable[[ArrayLike], Array]

#: Hidden activations by name: value and derivative. Those in use of which the paper has nothing follow below.
ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "identity": (identity, d_identity),
    "relu": (relu, d_relu),
    "relu0": (relu0, d_relu0),
    "leaky_relu": (leaky_relu, d_leaky_relu),
    "elu": (elu, d_elu),
    "tanh": (tanh, d_tanh),
    "sigmoid": (sigmoid, d_sigmoid),
    "softplus": (softplus, d_softplus),
    "gelu": (gelu, d_gelu),
    "silu": (silu, d_silu),
}

_erfc = np.frompyfunc(math.erfc, 1, 1)


def _normal(z: Any) -> tuple[Array, Array]:
    """Return the normal distribution and its density; of complex numbers the former to first order, as steps need."""
    x, density = np.real(z), np.exp(-z * z / 2) / (2 * np.pi) ** 0.5
    distribution = np.asarray(_erfc(-np.asarray(x, np.float64) / 2**0.5) / 2, x.dtype)
    return (distribution + 1j * np.imag(z) * density if np.iscomplexobj(z) else distribution), density


# What the formulas of the package's table (activations.py) are made of, in NumPy. Comparisons are of real parts.
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "const": lambda z, value: np.real(z).dtype.type(value),
    "fma": lambda a, b, c: a * b + c,
    "if_less": lambda a, b, yes, no: np.where(np.real(a) < np.real(b), yes, no),
    "if_equal": lambda a, b, yes, no: np.where(np.equal(a, b), yes, no),
    "copy_sign": lambda a, b: np.where(np.signbit(np.real(a)) == np.signbit(np.real(b)), a, -a),
    "magnitude": lambda z: -_minus_abs(z),
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "tanh": np.tanh,
    "normal": _normal, "sigmoid": sigmoid, "softplus": softplus,
}  # fmt: skip


def _by_formula(activation: Activation) -> tuple[Function, Function]:
    """Value and derivative of an activation that is not written out above, by the formula that the engine has too."""
    formula = activation.bind(_OPERATIONS)

    def value(Z: ArrayLike) -> Array:
        return formula(Z)[0]

    def derivative(Z: ArrayLike) -> Array:
        return formula(Z)[1]

    for f, is_derivative in ((value, False), (derivative, True)):
        f.__name__ = f.__qualname__ = "d_" * is_derivative + activation.name
        f.__doc__ = activation.help(is_derivative)
    return _elementwise(value), _elementwise(derivative)


for _name in TABLE:
    if _name not in ACTIVATIONS:
        ACTIVATIONS[_name] = _by_formula(TABLE[_name])
        globals().update({f.__name__: f for f in ACTIVATIONS[_name]})
        __all__ += [f.__name__ for f in ACTIVATIONS[_name]]
__all__.sort()

if TYPE_CHECKING:

    def __getattr__(name: str) -> Function:
        raise AttributeError(name)  # those of the table are found without this


#: Output activations by name: those of Theorem 6.1.
OUTPUTS: dict[str, Function] = {"identity": identity, "sigmoid": sigmoid, "softmax": softmax}


# ---- The network: Codes 2, 3 and 4 -----------------------------------------------------------------------------------


@np.errstate(under="ignore")
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

    Examples
    --------
    >>> X = np.array([[1.0, 2.0, 3.0]])
    >>> Z, A = forward_propagation(X, [None, np.array([[2.0]])], [None, np.array([[1.0]])], output="identity")
    >>> A[-1]
    array([[3., 5., 7.]])
    """
    X, W, b = _arrays(X, W, b, output)
    L = len(W) - 1
    g = [value for value, derivative in _hidden(hidden, L)]

    Z: Layers = [None] * (L + 1)
    A: Layers = [None] * (L + 1)
    A[0] = X
    for i in range(1, L):
        Z[i] = W[i] @ A[i - 1] + b[i]  # (3)
        A[i] = g[i](Z[i])  # (4)
    Z[L] = W[L] @ A[L - 1] + b[L]
    A[L] = OUTPUTS[output](Z[L])
    return Z, A


def back_propagation(
    X: Array, Y: Array, W: Layers, b: Layers, *, hidden: str | Sequence[str] = "relu", output: str = "softmax"
) -> tuple[Layers, Layers]:
    """Gradients of the cost by every weight and bias. Codes 3 and 4; `trace` has the steps.

    Parameters
    ----------
    X, W, b, hidden, output
        As for `forward_propagation`. The output chooses the loss too, as in Theorem 6.1: see `losses`.
    Y : (n[L], N)
        Targets as columns. For softmax each column must sum to 1, or Y is (N,), class numbers from 0 to n[L] - 1.

    Returns
    -------
    dW, db : lists of length L + 1
        `dW[i]` has the shape of `W[i]` and `db[i]` that of `b[i]`; `dW[0]` and `db[0]` are None.

    Raises
    ------
    ValueError
        A name is not known, or shapes do not fit.

    Examples
    --------
    The mean of (w x - y)^2 / 2 has the derivative mean((w x - y) x), here (-1 * 1 - 3 * 2) / 2:

    >>> X, Y = np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]])
    >>> W, b = [None, np.array([[0.0]])], [None, np.array([[0.0]])]
    >>> dW, db = back_propagation(X, Y, W, b, output="identity")
    >>> dW[1], db[1]
    (array([[-3.5]]), array([[-2.]]))
    """
    t = trace(X, Y, W, b, hidden=hidden, output=output)
    return t.dW, t.db


@dataclass(frozen=True)
class Trace:
    """Everything that `trace` computes: lists of arrays, one a layer, indexed from 1.

    `Z`, `A`, `dZ` and `dA` are (n[i], N), `dW` and `db` are shaped as W and b. dT is the gradient of the cost by T
    (Remark 5.3). `A[0]` is X and `dA[0]` the gradient by it. What the backpropagation has no use for is None: `Z[0]`,
    `dZ[0]`, `dW[0]`, `db[0]`, and `dA[L]`, which Theorem 6.1 skips.
    """

    Z: Layers
    A: Layers
    dA: Layers
    dZ: Layers
    dW: Layers
    db: Layers

    @property
    def delta(self) -> Layers:
        """Each sample's own gradient by Z, as columns: N times dZ, eq. (21)."""
        N = self.A[0].shape[1]
        return [None] + [N * dZ for dZ in self.dZ[1:]]


@np.errstate(under="ignore")
def trace(
    X: Array, Y: Array, W: Layers, b: Layers, *, hidden: str | Sequence[str] = "relu", output: str = "softmax"
) -> Trace:
    """Forward and back propagation with every intermediate kept: Theorem 5.4 as it stands.

    Parameters and errors are those of `back_propagation`.

    Examples
    --------
    >>> X, Y = np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]])
    >>> W, b = [None, np.array([[0.0]])], [None, np.array([[0.0]])]
    >>> trace(X, Y, W, b, output="identity").delta[1]
    array([[-1., -3.]])
    """
    X, W, b = _arrays(X, W, b, output)
    L, N = len(W) - 1, X.shape[1]
    Y = _targets(Y, (len(W[L]), N), output)
    _check_samples(X, "X")
    Z, A = forward_propagation(X, W, b, hidden=hidden, output=output)
    d_g = [derivative for value, derivative in _hidden(hidden, L)]

    dA: Layers = [None] * (L + 1)
    dZ: Layers = [None] * (L + 1)
    dW: Layers = [None] * (L + 1)
    db: Layers = [None] * (L + 1)

    dZ[L] = (A[L] - Y) / N  # (36), and (30); the same for all three outputs: Theorem 6.1
    dW[L] = dZ[L] @ A[L - 1].T  # (37)
    db[L] = np.sum(dZ[L], axis=1, keepdims=True)  # (38)
    for i in range(L - 1, 0, -1):
        dA[i] = W[i + 1].T @ dZ[i + 1]  # (22)
        dZ[i] = d_g[i](Z[i]) * dA[i]  # (23)
        dW[i] = dZ[i] @ A[i - 1].T  # (24)
        db[i] = np.sum(dZ[i], axis=1, keepdims=True)  # (25)
    dA[0] = W[1].T @ dZ[1]  # (22) at the first layer: the gradient by X
    return Trace(Z, A, dA, dZ, dW, db)


@np.errstate(under="ignore")
def update_params(W: Layers, b: Layers, dW: Layers, db: Layers, learning_rate: float = 0.1) -> tuple[Layers, Layers]:
    """One step of gradient descent, in place: the arrays in W and b change. Code 3.

    Returns
    -------
    W, b : the same lists

    Raises
    ------
    ValueError, TypeError
        Before anything is changed: shapes do not fit, the learning rate is not a number, or what is to change is no
        array of floats, or one that is read-only.

    Examples
    --------
    >>> W, b = [None, np.array([[1.0]])], [None, np.array([[2.0]])]
    >>> update_params(W, b, [None, np.array([[10.0]])], [None, np.array([[5.0]])], learning_rate=0.1)
    ([None, array([[0.]])], [None, array([[1.5]])])
    """
    _check_update(W, b, dW, db, learning_rate)
    for T, dT in zip([*W[1:], *b[1:]], [*dW[1:], *db[1:]]):
        T -= learning_rate * np.asarray(dT)
    return W, b


@np.errstate(under="ignore", divide="ignore")  # log 0
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
        return np.sum((A - Y) ** 2) / (2 * N)
    if output == "sigmoid":
        return -np.sum(_times_log(Y, A) + _times_log(1 - Y, 1 - A)) / N
    return -np.sum(_times_log(Y, A)) / N


def _times_log(y: Array, o: Array) -> Array:
    """Return y log(o), and 0 where y is 0."""
    return y * np.log(np.where(y == 0, 1, o))


@np.errstate(all="ignore")
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
    if output == "identity":
        return np.sum((Z - Y) ** 2, axis=0) / 2  # (26)
    if output == "sigmoid":
        return np.sum(_times(softplus(-Z), Y) + _times(softplus(Z), 1 - Y), axis=0)  # -log s(z) = softplus(-z)
    Z = _below_the_top(Z)
    return np.sum(_times(np.log(np.sum(np.exp(Z), axis=0)) - Z, Y), axis=0)  # -log o_i = log sum e^z_k - z_i


# ---- Checks ----------------------------------------------------------------------------------------------------------


def _hidden(hidden: str | Sequence[str], L: int) -> list[tuple[Function, Function]]:
    """Return value and derivative of each layer's activation, indexed from 1 to L - 1."""
    if not isinstance(hidden, Sequence):
        raise TypeError(f"hidden: got {hidden!r}; accepted: {', '.join(ACTIVATIONS)}, or a sequence of them")
    names = [hidden] if isinstance(hidden, str) else list(hidden)
    for name in names:
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise ValueError(f"hidden: got {name!r}; accepted: {', '.join(ACTIVATIONS)}")
    if isinstance(hidden, str):
        names *= L - 1
    if len(names) != L - 1:
        raise ValueError(f"hidden: got {len(names)} names; accepted: one name, or one a hidden layer, {L - 1} here")
    return [ACTIVATIONS["identity"]] + [ACTIVATIONS[name] for name in names]  # [0] stands for the input layer


def _check_output(output: str) -> None:
    if not isinstance(output, str) or output not in OUTPUTS:
        raise ValueError(f"output: got {output!r}; accepted: {', '.join(OUTPUTS)}")


_REAL = (int, float, np.integer, np.floating)


def _check_eps(eps: Any) -> None:
    if not isinstance(eps, _REAL) or not 0 < eps < np.inf:
        raise ValueError(f"eps: got {eps!r}; accepted: a positive number")


def _numbers(T: Any, name: str) -> Array:
    """Return T as an array of numbers, or refuse it."""
    try:
        array = np.asarray(T)
    except (ValueError, TypeError):  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name}: got {T!r}; accepted: an array of numbers")
    if np.ma.is_masked(T):
        raise TypeError(f"{name}: got masked values; accepted: an array without them")
    return array


def _floats(T: Any, name: str) -> Array:
    """Return T as an array of floats."""
    array = _numbers(T, name)
    if array.dtype.kind in "biu" or array.dtype == np.float16:
        array = array.astype(np.result_type(array.dtype, np.float32))
    return array


def _columns(Z: Any) -> Array:
    """Return Z as one sample, (m,), or as samples as columns, (m, N)."""
    array = _floats(Z, "Z")
    if array.ndim not in (1, 2):
        raise ValueError(f"Z: got shape {array.shape}; accepted: (m,) or (m, N), samples as columns")
    return array


def _check_list(layers: Any, name: str) -> None:
    if not isinstance(layers, (list, tuple)):
        raise TypeError(f"{name}: got {layers!r}; accepted: a list of L + 1 arrays, of which the first is not used")


def _check_update(W: Any, b: Any, dW: Any, db: Any, learning_rate: Any) -> None:
    """Refuse an update that would fail on its way, or broadcast."""
    lists = {"W": W, "b": b, "dW": dW, "db": db}
    for name, layers in lists.items():
        _check_list(layers, name)
        if len(layers) != len(W) or len(layers) < 2:
            raise ValueError(
                f"{name}: got a list of length {len(layers)}; accepted: L + 1, L >= 1, for all of {[*lists]}"
            )
        for i in range(1, len(layers)):
            _numbers(layers[i], f"{name}[{i}]")
    for name, change, layers, changes in (("W", "dW", W, dW), ("b", "db", b, db)):
        for i in range(1, len(W)):
            if np.shape(layers[i]) != np.shape(changes[i]):
                got = f"{np.shape(layers[i])} and {np.shape(changes[i])}"
                raise ValueError(f"{name}[{i}], {change}[{i}]: got shapes {got}; accepted: the same shape")
    if not isinstance(learning_rate, _REAL) or not abs(float(learning_rate)) < np.inf:
        raise TypeError(f"learning_rate: got {learning_rate!r}; accepted: a number")
    for name, layers, changes in (("W", W, dW), ("b", b, db)):
        for i in range(1, len(layers)):
            T = layers[i]
            if not isinstance(T, np.ndarray) or not _changes_into(changes[i], T):
                got = f"dtype {T.dtype}" if isinstance(T, np.ndarray) else f"a {type(T).__name__}"
                raise TypeError(f"{name}[{i}]: got {got}; accepted: an array of floats, which is changed in place")
            if not T.flags.writeable:
                raise ValueError(f"{name}[{i}]: got a read-only array; accepted: one that can be changed")


def _changes_into(change: Any, T: Array) -> bool:
    return np.can_cast(np.result_type(np.asarray(change), 0.0), T.dtype, "same_kind")


def _check_samples(T: Array, name: str) -> None:
    if not T.shape[1]:
        raise ValueError(f"{name}: got shape {T.shape}; accepted: (n, N) with at least one sample")


def _targets(Y: Any, shape: tuple[int, ...], output: str, like: str = "") -> Array:
    """Return the targets as columns, of class numbers too, or refuse them: their shape is that of `like`."""
    array = _numbers(Y, "Y")
    m, N = shape
    if output == "softmax" and array.dtype.kind in "iu" and array.shape == (N,):
        if N and not 0 <= array.min() <= array.max() < m:
            wrong = array[(array < 0) | (array >= m)][0]
            raise ValueError(f"Y: got class number {wrong}; accepted: 0 to {m - 1}")
        return np.eye(m, dtype=np.float32)[:, array]
    if array.shape != shape:
        classes = f", or class numbers, ({N},)" if output == "softmax" else ""
        as_ = f"the shape of {like}" if like else "targets as columns"
        raise ValueError(f"Y: got shape {array.shape}; accepted: {shape}, {as_}{classes}")
    return _floats(array, "Y")


def _columns_and_targets(T: Any, name: str, Y: Any, output: str) -> tuple[Array, Array]:
    """Return the arguments of `cost` and `losses` as arrays, or refuse them."""
    _check_output(output)
    array = _floats(T, name)
    if array.ndim != 2:
        raise ValueError(f"{name}: got shape {array.shape}; accepted: (m, N), samples as columns")
    return array, _targets(Y, array.shape, output, name)


def _arrays(X: Any, W: Any, b: Any, output: str) -> tuple[Array, Layers, Layers]:
    """Return X, W and b as arrays, or refuse what does not fit: NumPy would broadcast some of it to a wrong result."""
    _check_output(output)
    X = _floats(X, "X")
    _check_list(W, "W")
    _check_list(b, "b")
    if X.ndim != 2 or not len(X):
        raise ValueError(f"X: got shape {X.shape}; accepted: (n, N), samples as columns")
    if len(W) < 2 or len(b) != len(W):
        raise ValueError(
            f"W, b: got lists of length {len(W)} and {len(b)}; accepted: L + 1 each, with None first and L >= 1"
        )
    W, b = ([None, *(_floats(T[i], f"{name}[{i}]") for i in range(1, len(T)))] for name, T in (("W", W), ("b", b)))
    n, before = len(X), "X"
    for i in range(1, len(W)):
        if W[i].ndim != 2 or W[i].shape[1] != n or not len(W[i]):
            raise ValueError(f"W[{i}]: got shape {W[i].shape}; accepted: (n[{i}], {n}), for the {n} rows of {before}")
        n, before = len(W[i]), f"W[{i}]"
        if b[i].shape != (n, 1):
            raise ValueError(f"b[{i}]: got shape {b[i].shape}; accepted: ({n}, 1)")
    return X, W, b
