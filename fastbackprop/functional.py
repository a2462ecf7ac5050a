"""The elementwise pieces of a network as NumPy-like universal functions, compiled from the engine's own kernels.

For each hidden activation, such as ``tanh``, there is a function, and ``d_tanh`` for its derivative: docs/guide.md has
the table of them. All functions broadcast, take ``out=``, ``where=`` and ``axis=`` and convert their inputs as NumPy's
universal functions do: float32 gives float32, float64 gives float64, other real types become the narrower of the two
that holds them. ``out`` is any float array of the result's shape that can be written to; it may be an input, or overlap
one. Without it the result is 0 where ``where`` is false; functions of whole vectors take no ``where``. All can be
called from ``@njit`` code too; those that work on vectors then need the output as last argument, which must not overlap
an input there.

For the same input they give the same bits as the layers of a :class:`fastbackprop.Network`, on every machine, none
overflows where the true value is finite, and infinite inputs give the limits where there are any: ``gelu(-inf)`` is 0,
and so is a loss where an infinite output is what the target wants. Importing compiles nothing: a function is compiled
for both dtypes when it is first called, which takes a few tenths of a second once in a process.

Equation numbers are those of Y. H. Park, "Gradients in a deep neural network and their Python implementations", 2022.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import float32, float64, int64
from numpy.lib.array_utils import normalize_axis_index
from numpy.typing import ArrayLike, NDArray

from fastbackprop.activations import ACTIVATIONS, Activation
from fastbackprop.engine import elementary, heads
from fastbackprop.engine.activations import compiled_formula
from fastbackprop.engine.entry import need_compiler
from fastbackprop.engine.jit import SAME_BITS, callable_kernel
from fastbackprop.engine.numba_internals import DUFunc, GUFunc, global_compiler_lock
from fastbackprop.engine.simd import const, fma, if_equal, if_less
from fastbackprop.reference import _numbers

__all__ = [
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "delta",
    "l2_loss",
    "relu_mask",
    "softmax",
    "softmax_jacobian_product",
]

Array = NDArray[Any]


class Elementwise(DUFunc):
    """A universal function that is compiled for float32 and float64 when it is first called.

    Numba's own dynamic kind compiles a loop for each type of input that it meets, integers included, where the engine's
    kernels make no sense. It also has no ``where=``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, targetoptions=SAME_BITS)

    def __call__(self, *inputs: Any, where: Any = True, **kwargs: Any) -> Any:
        """Apply the function as NumPy would: ``f(*inputs, out=None, where=True)``."""
        if not self._frozen:  # to compile takes a lock, which an interrupt may leave held
            self._compile_for_argtys(())
        out: Any = inputs[self.nin :] or kwargs.get("out")
        given = out[0] if isinstance(out, tuple) and len(out) == 1 else out
        with np.errstate(all="ignore"):  # lanes whose result is not used may overflow
            if where is True and (given is None or _in_a_row(given, inputs[: self.nin])):
                return _called(self, super().__call__, inputs, kwargs)
            kwargs.pop("out", None)
            result = _called(self, super().__call__, inputs[: self.nin], kwargs)
        where = np.asarray(where)
        if where.dtype != bool:
            raise TypeError(f"where must be booleans, got dtype {where.dtype}")
        got = np.zeros(np.broadcast_shapes(np.shape(result), where.shape), result.dtype) if given is None else given
        np.copyto(got, result, where=where, casting=kwargs.get("casting", "same_kind"))
        return got[()] if given is None else got

    def at(self, *args: Any) -> None:
        """Apply the function in place at some indices: ``f.at(a, indices)``."""
        self._compile_for_argtys(())
        with np.errstate(all="ignore"):
            super().at(*args)

    @global_compiler_lock
    def _compile_for_argtys(self, argtys: Any, return_type: Any = None) -> None:
        if not self._frozen:
            need_compiler()
            for dtype in (float32, float64):
                super()._compile_for_argtys((dtype,) * self.nin)
            self.disable_compile()  # from now on inputs are converted to the loops there are


def _called(function: Any, call: Callable[..., Any], inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What NumPy makes of a call, where an error names the input if one is no array of a type that the loops take."""
    try:
        return call(*inputs, **kwargs)
    except (TypeError, ValueError):
        for name, value in zip(inspect.signature(function).parameters, inputs):
            got = _numbers(value, name).dtype
            if not np.can_cast(got, np.float64):
                raise TypeError(f"{name}: got dtype {got}; accepted: real numbers up to float64") from None
        raise


def _in_a_row(out: Any, inputs: Sequence[Any]) -> bool:
    """Whether a result may be written to ``out`` directly.

    Where inputs lie in a row Numba's loop takes it for granted that the output does, and writes to what lies between
    its elements, or behind them.
    """
    arrays = [T for T in inputs if isinstance(T, np.ndarray) and T.ndim]
    return isinstance(out, np.ndarray) and all(T.flags.c_contiguous and T.shape == out.shape for T in (out, *arrays))


class Generalized(GUFunc):
    """A generalized universal function, works on whole vectors, compiled as :class:`Elementwise` is."""

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        """Apply the function as NumPy would: ``f(*inputs, out=None, axis=-1)``."""
        if kwargs.pop("where", True) is not True:
            raise TypeError(f"{self.__name__} works on whole vectors and takes no where=; elementwise functions do")
        if not self._frozen:  # to compile takes a lock, which an interrupt may leave held
            self._compile_for_argtys(())
        with np.errstate(all="ignore"):
            return _called(self, super().__call__, inputs, kwargs)

    @global_compiler_lock
    def _compile_for_argtys(self, argtys: Any, return_type: Any = None) -> None:
        if not self._frozen:
            need_compiler()
            for dtype in (float32, float64):
                super()._compile_for_argtys(self._types(dtype))
            self.build_ufunc()
            self.disable_compile()

    def _types(self, dtype: Any) -> tuple[Any, ...]:
        """The types of the arguments of one of the loops."""
        return (dtype,) * self.nargs


def generalized(signature: str, kind: type[Generalized] = Generalized) -> Callable[[Callable[..., None]], Generalized]:
    """Make a :class:`Generalized` of a function that writes its last argument."""
    return lambda function: kind(function, signature, is_dynamic=True, targetoptions=SAME_BITS)


# ---- Activations and their derivatives -------------------------------------------------------------------------------


def _elementwise(activation: Activation, derivative: bool) -> Elementwise:
    """The value of an activation, or its derivative."""
    formula, part = compiled_formula(activation.bind), int(derivative)

    def function(Z: ArrayLike) -> Array:
        return formula(Z)[part]

    function.__name__ = function.__qualname__ = "d_" * derivative + activation.name
    function.__doc__ = activation.help(derivative)
    return Elementwise(function)


for _activation in ACTIVATIONS.values():  # f, and d_f
    for _f in (_elementwise(_activation, False), _elementwise(_activation, True)):
        globals()[_f.__name__] = _f
        __all__.append(_f.__name__)
__all__.sort()

if TYPE_CHECKING:

    def __getattr__(name: str) -> Elementwise:
        raise AttributeError(name)  # those of the table are found without this


@Elementwise
def relu_mask(Z: ArrayLike) -> NDArray[np.bool_]:
    """Where relu' is 1, eq. (1), as booleans.

    Examples
    --------
    >>> relu_mask([-2.0, 0.0, 3.0])
    array([False,  True,  True])
    """
    zero = const(Z, 0.0)
    return zero <= Z


# ---- Whole vectors: the softmax, the recurrence of the deltas, the losses --------------------------------------------
# These repeat the order of operations of engine/heads.py, so that the bits are the same.


@callable_kernel
def _largest(Z):
    top = Z[0]
    for z in Z:
        top = if_less(top, z, z, top)
    return top


@callable_kernel
def _softmax(Z, out):
    if len(Z) > 0:
        ceiling = heads.at_most_largest(_largest(Z))
        total = const(ceiling, 0.0)
        for j in range(len(Z)):
            e = heads.exp_from(ceiling, Z[j])
            out[j] = e
            total += e
        inverse = const(ceiling, 1.0) / total
        for j in range(len(Z)):
            out[j] *= inverse


@generalized("(m)->(m)")
def softmax(Z, out=None):
    """Softmax, exp(z_i) / sum_k exp(z_k), over the last axis: section 6.3.

    Parameters
    ----------
    Z : array (..., m)
        Linear outputs, a row a sample; ``axis=0`` for samples as columns.

    Returns
    -------
    array (..., m)
        Rows that sum to 1.

    Examples
    --------
    >>> softmax([[0.0, 0.0], [1000.0, 0.0]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    _softmax(Z, out)


@generalized("(m),(m)->(m)")
def softmax_jacobian_product(Z, V, out=None):
    """The softmax's Jacobian, eq. (39), times a vector: o_i (v_i - sum_k o_k v_k), with o the softmax of Z.

    The Jacobian is symmetric, so the product with its transpose, as backpropagation has it, is the same.

    Parameters
    ----------
    Z : array (..., m)
        Linear outputs.
    V : array (..., m)

    Returns
    -------
    array (..., m)

    Examples
    --------
    >>> softmax_jacobian_product([0.0, 0.0], [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    _softmax(Z, out)
    mean = Z.dtype.type(0)
    for o, v in zip(out, V):
        mean = fma(o, v, mean)
    for j in range(len(Z)):
        out[j] *= V[j] - mean


@generalized("(m,n),(m),(n)->(n)")
def delta(W, delta, slope, out=None):
    """The recurrence of the deltas, (W^T delta) * g'(z): eq. (15).

    Parameters
    ----------
    W : array (m, n)
        Weights of a layer.
    delta : array (..., m)
        The layer's delta, the gradient of the loss by its linear outputs.
    slope : array (..., n)
        g'(z) of the layer before: :data:`d_relu` of its linear outputs, say.

    Returns
    -------
    array (..., n)
        The delta of the layer before.

    Examples
    --------
    >>> W = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    >>> delta(W, [1.0, 10.0], d_relu([0.5, -0.5, 0.0]))
    array([41.,  0., 63.])
    """
    for j in range(len(out)):
        out[j] = 0
    for i in range(len(delta)):
        for j in range(len(out)):
            out[j] = fma(W[i, j], delta[i], out[j])
    for j in range(len(out)):
        out[j] *= slope[j]


@generalized("(m),(m)->()")
def l2_loss(Z, Y, out=None):
    """Half the squared distance of outputs and targets, ||z - y||^2 / 2: eq. (26).

    Parameters
    ----------
    Z, Y : array (..., m)
        Outputs, which for this head are the linear outputs, and targets.

    Returns
    -------
    array (...)
        A loss for each sample.

    Examples
    --------
    >>> l2_loss([[1.0, 2.0], [3.0, 4.0]], [1.0, 4.0])
    array([2., 2.])
    """
    loss = Z.dtype.type(0)
    for z, y in zip(Z, Y):
        loss = fma((z - y) * const(z, 0.5), z - y, loss)
    out[0] = loss


@generalized("(m),(m)->()")
def binary_cross_entropy(Z, Y, out=None):
    """Binary cross-entropy of the outputs o = sigma(z), summed over them: -sum y log o + (1 - y) log(1 - o).

    Computed from Z as max(z, 0) - y z + log(1 + exp(-abs(z))), which needs no logarithm of an o that has become 0.

    Parameters
    ----------
    Z, Y : array (..., m)
        Linear outputs, and targets between 0 and 1.

    Returns
    -------
    array (...)
        A loss for each sample.

    Examples
    --------
    >>> binary_cross_entropy([[0.0], [1000.0], [1000.0]], [[1.0], [1.0], [0.0]])
    array([6.93147181e-01, 0.00000000e+00, 1.00000000e+03])
    """
    loss = Z.dtype.type(0)
    for z, y in zip(Z, Y):
        loss = heads.binary_cross_entropy(loss, z, z, y)
    out[0] = loss


class _OfClasses(Generalized):
    """One whose second argument is a whole number."""

    def _types(self, dtype: Any) -> tuple[Any, ...]:
        return dtype, int64, dtype


@generalized("(m),()->()", _OfClasses)
def _cross_entropy_of_class(Z, y, out=None):
    top = _largest(Z)
    ceiling = heads.at_most_largest(top)
    total = zero = const(top, 0.0)
    for z in Z:
        total += heads.exp_from(ceiling, z)
    loss = if_equal(Z[y], top, zero, top - Z[y])
    out[0] = elementary.log(total) + fma(total, zero, loss)


class _WithClasses(Generalized):
    """A loss by categories, of class numbers too."""

    def __call__(self, Z: ArrayLike, Y: ArrayLike, *args: Any, **kwargs: Any) -> Any:
        """Apply the function as NumPy would: ``f(Z, Y, out=None, axis=-1)``."""
        Y = np.asarray(Y)
        if Y.dtype.kind not in "iu" or Y.ndim != np.ndim(Z) - 1:
            return super().__call__(Z, Y, *args, **kwargs)
        axis = np.atleast_1d(kwargs["axes"][0] if "axes" in kwargs else kwargs.get("axis", -1))[0]
        classes = np.shape(Z)[normalize_axis_index(axis, np.ndim(Z))]
        if Y.size and not 0 <= Y.min() <= Y.max() < classes:
            wrong = Y.min() if Y.min() < 0 else Y.max()
            raise ValueError(f"Y must hold class numbers from 0 to {classes - 1}, got {wrong}")
        return _cross_entropy_of_class(Z, Y.astype(np.int64), *args, **kwargs)


@generalized("(m),(m)->()", _WithClasses)
def categorical_cross_entropy(Z, Y, out=None):
    """Categorical cross-entropy of the outputs o = softmax(z): -sum y_j log o_j, section 6.3.

    Computed from Z as sum_j y_j (log sum_k exp(z_k) - z_j), which needs no logarithm of an o that has become 0.

    Parameters
    ----------
    Z : array (..., m)
        Linear outputs.
    Y : array (..., m), or of integers (...)
        One-hot targets or probabilities; or class numbers from 0 to m - 1: that is what integers with one dimension
        less than Z are. From ``@njit`` code the former only.

    Returns
    -------
    array (...)
        A loss for each sample.

    Raises
    ------
    ValueError
        A class number is not one, or shapes do not fit.

    Examples
    --------
    >>> categorical_cross_entropy([[0.0, 0.0], [1000.0, 0.0]], [0.0, 1.0])
    array([6.93147181e-01, 1.00000000e+03])
    >>> categorical_cross_entropy([[0.0, 0.0], [1000.0, 0.0]], [1, 0])
    array([0.69314718, 0.        ])
    """
    loss = Z.dtype.type(0)
    if len(Z) > 0:
        top = _largest(Z)
        ceiling = heads.at_most_largest(top)
        total = mass = zero = Z.dtype.type(0)
        for z, y in zip(Z, Y):
            loss = heads.cross_entropy_term(loss, top, z, y)
            total += heads.exp_from(ceiling, z)
            mass += y
        loss = fma(mass, elementary.log(total), fma(total, zero, loss))
    out[0] = loss
