"""The hidden activations, one entry each: all that the package knows of them stands here.

The network, the engine, ``functional``, ``reference``, ``paper``, ``gradcheck``, the command line, the estimators, the
table of docs/guide.md and the tests have them from here. How one is added is told in docs/dev/extending.md.

A *formula* gives value and slope of a number z. It is written once, in the names of the engine's operations, and
`Activation.bind` puts those of whoever computes in their place: the engine its vectors, ``reference`` NumPy's
functions. Nothing is imported for it here: the command line's help, and processes that find all compiled code on the
disk, begin without Numba and NumPy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:  # the operations of formulas; engine/activations.py and reference.py say which there are
    from fastbackprop.engine.elementary import exp, expm1, normal, sigmoid, softplus, tanh
    from fastbackprop.engine.simd import const, fma, if_equal, if_less, magnitude

LEAK = 0.01  # slope of leaky_relu below 0
GELU_CUBIC = 0.044715
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)


class Name(NamedTuple):
    """What another library calls an activation, and the arguments with which it is ours."""

    name: str
    arguments: dict[str, Any] = {}  # noqa: RUF012 - never changed


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation:
    """An activation.

    Attributes
    ----------
    name : str
    formula : function of z
        Value and slope, in the names of the engine's operations, for vectors: constants are ``const(z, ...)``, and what
        has branches is ``if_less`` or ``if_equal``. NaN gives NaN, and infinities what ``points`` says.
    textbook : function of z and a namespace such as NumPy
        The value as a textbook has it, for real and complex z of moderate size: what ``gradcheck`` compares with. It
        must share nothing with the formula.
    text, slope : str
        What both are, in words.
    start : {"glorot", "he", "lecun"}
        The distribution of the weights of its layers at the start: see `Network`.
    points : dict
        Value and slope at -inf, 0, 1 and inf.
    kinks : tuple of float
        Where the slope jumps.
    torch, jax, keras : Name, optional
        A class of ``torch.nn``, a function of ``jax.nn``, an activation, layer or operation of Keras.
    sklearn : str, optional
        scikit-learn's word.
    onnx : Name, optional
        An operator of ONNX whose attributes make it ours.
    """

    name: str
    formula: Callable[[Any], Any]
    textbook: Callable[..., Any]
    text: str
    slope: str
    start: Literal["glorot", "he", "lecun"]
    points: Mapping[float, tuple[float, float]]
    kinks: tuple[float, ...] = ()
    torch: Name | None = None
    jax: Name | None = None
    keras: Name | None = None
    sklearn: str | None = None
    onnx: Name | None = None

    def bind(self, operations: Mapping[str, Any]) -> Callable[[Any], Any]:
        """The formula with these operations in the place of the engine's."""
        bound = FunctionType(self.formula.__code__, {**self.formula.__globals__, **operations}, self.name)
        bound.__qualname__ = f"{self.name}_formula"
        return bound

    @property
    def source_digest(self) -> str | None:
        """Of the file that the formula is in, this one; None for a formula from elsewhere: that is not kept on disk."""
        return _digest() if self.formula.__module__ == __name__ else None

    def help(self, derivative: bool = False) -> str:
        """The docstring of the function of the value, or of the slope."""
        name, what = self.name, f"{self.text}."
        if derivative:
            name, what = f"d_{self.name}", f"Derivative of :data:`{self.name}`: {self.slope}."
        value = self.points[1.0][derivative]
        return f"{what}\n\n    Examples\n    --------\n    >>> {name}(1.0)\n    np.float64({float(value):.9})\n    "


ACTIVATIONS: dict[str, Activation] = {}


def activation(name: str, **fields: Any) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Enter a formula into the table."""

    def enter(formula: Callable[[Any], Any]) -> Callable[[Any], Any]:
        ACTIVATIONS[name] = Activation(name=name, formula=formula, **fields)
        return formula

    return enter


@cache
def _digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


# ---- The table. Layers of identity, relu and relu0 have no use for their formulas: the product does it (tile.py). ----


@activation(
    "identity", text="z itself", slope="1", start="glorot",
    textbook=lambda z, np: z,
    points={-math.inf: (-math.inf, 1.0), 0.0: (0.0, 1.0), 1.0: (1.0, 1.0), math.inf: (math.inf, 1.0)},
    torch=Name("Identity"), jax=Name("identity"), keras=Name("linear"), sklearn="identity", onnx=Name("Identity"),
)  # fmt: skip
def _identity(z: Any) -> Any:
    return z, const(z, 1.0)


@activation(
    "relu", text="Rectified linear unit, max(0, z): section 3", slope="1 where z >= 0, eq. (1), 0 elsewhere",
    start="he", kinks=(0.0,),
    textbook=lambda z, np: np.where(np.real(z) >= 0, z, 0),  # so its complex step is eq. (1)
    points={-math.inf: (0.0, 0.0), 0.0: (0.0, 1.0), 1.0: (1.0, 1.0), math.inf: (math.inf, 1.0)},
    torch=Name("ReLU"), jax=Name("relu"), keras=Name("relu"), sklearn="relu", onnx=Name("Relu"),
)  # fmt: skip
def _relu(z: Any) -> Any:
    zero, one = const(z, 0.0), const(z, 1.0)
    return if_less(z, zero, zero, z + zero), if_less(z, zero, zero, if_equal(z, z, one, z))  # -0.0 + 0.0 is 0.0


@activation(
    "relu0", text="The values of relu", slope="1 where z > 0, 0 elsewhere: the other choice of section 3",
    start="he", kinks=(0.0,),
    textbook=lambda z, np: np.where(np.real(z) > 0, z, 0),
    points={-math.inf: (0.0, 0.0), 0.0: (0.0, 0.0), 1.0: (1.0, 1.0), math.inf: (math.inf, 1.0)},
    torch=Name("ReLU"), jax=Name("relu"), keras=Name("relu"), sklearn="relu", onnx=Name("Relu"),
)  # fmt: skip
def _relu0(z: Any) -> Any:
    zero, one = const(z, 0.0), const(z, 1.0)
    return if_less(z, zero, zero, z + zero), if_less(zero, z, one, if_equal(z, z, zero, z))


@activation(
    "leaky_relu", text="Leaky relu: z where z >= 0, 0.01 z elsewhere", slope="1 where z >= 0, as in eq. (1), else 0.01",
    start="he", kinks=(0.0,),
    textbook=lambda z, np: np.where(np.real(z) >= 0, z, 0.01 * z),
    points={-math.inf: (-math.inf, 0.01), 0.0: (0.0, 1.0), 1.0: (1.0, 1.0), math.inf: (math.inf, 1.0)},
    torch=Name("LeakyReLU", {"negative_slope": 0.01}), jax=Name("leaky_relu", {"negative_slope": 0.01}),
    keras=Name("LeakyReLU", {"negative_slope": 0.01}), onnx=Name("LeakyRelu", {"alpha": 0.01}),
)  # fmt: skip
def _leaky_relu(z: Any) -> Any:
    zero, leak = const(z, 0.0), const(z, LEAK)
    return if_less(z, zero, leak * z, z), if_less(z, zero, leak, if_equal(z, z, const(z, 1.0), z))


@activation(
    "elu", text="Exponential linear unit: z where z >= 0, exp(z) - 1 elsewhere", slope="1 where z >= 0, else exp(z)",
    start="he",
    textbook=lambda z, np: np.where(np.real(z) >= 0, z, np.expm1(np.where(np.real(z) >= 0, 0, z))),
    points={-math.inf: (-1.0, 0.0), 0.0: (0.0, 1.0), 1.0: (1.0, 1.0), math.inf: (math.inf, 1.0)},
    torch=Name("ELU", {"alpha": 1.0}), jax=Name("elu", {"alpha": 1.0}), keras=Name("elu"), onnx=Name("Elu"),
)  # fmt: skip
def _elu(z: Any) -> Any:
    zero, one = const(z, 0.0), const(z, 1.0)
    below = expm1(if_less(z, zero, z, zero))
    return if_less(z, zero, below, z), if_less(z, zero, exp(z), if_equal(z, z, one, z))


@activation(
    "tanh", text="Hyperbolic tangent", slope="1 - tanh(z)^2", start="glorot",
    textbook=lambda z, np: np.tanh(z),
    points={
        -math.inf: (-1.0, 0.0), 0.0: (0.0, 1.0), 1.0: (0.7615941559557649, 0.41997434161402614), math.inf: (1.0, 0.0),
    },
    torch=Name("Tanh"), jax=Name("tanh"), keras=Name("tanh"), sklearn="tanh", onnx=Name("Tanh"),
)  # fmt: skip
def _tanh(z: Any) -> Any:
    a = tanh(z)
    return a, fma(-a, a, const(z, 1.0))


@activation(
    "sigmoid", text="Sigmoid, 1 / (1 + exp(-z)): section 3", slope="sigma(z) (1 - sigma(z)), eq. (2)", start="glorot",
    textbook=lambda z, np: (1 + np.tanh(z / 2)) / 2,
    points={
        -math.inf: (0.0, 0.0), 0.0: (0.5, 0.25), 1.0: (0.7310585786300049, 0.19661193324148185), math.inf: (1.0, 0.0),
    },
    torch=Name("Sigmoid"), jax=Name("sigmoid"), keras=Name("sigmoid"), sklearn="logistic", onnx=Name("Sigmoid"),
)  # fmt: skip
def _sigmoid(z: Any) -> Any:
    a = sigmoid(z)
    return a, a * (const(z, 1.0) - a)


@activation(
    "softplus", text="Softplus, log(1 + exp(z))", slope="sigma(z), the sigmoid", start="he",
    textbook=lambda z, np: np.where(np.real(z) >= 0, z, 0) + np.log1p(np.exp(np.where(np.real(z) >= 0, -z, z))),
    points={
        -math.inf: (0.0, 0.0), 0.0: (math.log(2.0), 0.5), 1.0: (1.3132616875182228, 0.7310585786300049),
        math.inf: (math.inf, 1.0),
    },
    # beyond PyTorch's own threshold, 20, it leaves off e**-20
    torch=Name("Softplus", {"beta": 1.0, "threshold": 40.0}), jax=Name("softplus"), keras=Name("softplus"),
    onnx=Name("Softplus"),
)  # fmt: skip
def _softplus(z: Any) -> Any:
    return softplus(z), sigmoid(z)


@activation(
    "gelu", text="GELU in its tanh form: z (1 + tanh u) / 2 with u = sqrt(2 / pi) (z + 0.044715 z^3)",
    slope="(1 + tanh u) / 2 + z (1 - tanh(u)^2) u' / 2", start="he",
    textbook=lambda z, np: z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2,
    points={
        -math.inf: (0.0, 0.0), 0.0: (0.0, 0.5), 1.0: (0.8411919906082768, 1.0829640838457826),
        math.inf: (math.inf, 1.0),
    },
    torch=Name("GELU", {"approximate": "tanh"}), jax=Name("gelu", {"approximate": True}),
    keras=Name("Gelu", {"approximate": True}),
)  # fmt: skip
def _gelu(z: Any) -> Any:
    one, scale = const(z, 1.0), const(z, GELU_SCALE)
    # s is 0 from -100 down and 1 from 100 up: the first bound is for z s, the second for the product with 1 - s, 0 then
    bound, bound_of_square = const(z, 100.0), const(z, 1e4)
    z = if_less(z, -bound, -bound, z)
    square = z * z
    u = scale * z * fma(square, const(z, GELU_CUBIC), one)
    # (1 + tanh u) / 2 = sigma(2 u): no cancellation where u is far below 0
    s = sigmoid(u + u)
    square = if_less(bound_of_square, square, bound_of_square, square)
    du = scale * fma(square, const(z, 3.0 * GELU_CUBIC), one)
    w = if_less(bound, z, bound, z)
    return z * s, fma(w * (s * sigmoid(-(u + u))) * const(z, 2.0), du, s)


@activation(
    "silu", text="SiLU or swish: z sigma(z)", slope="sigma(z) (1 + z sigma(-z))", start="he",
    textbook=lambda z, np: z * (1 + np.tanh(z / 2)) / 2,
    points={
        -math.inf: (0.0, 0.0), 0.0: (0.0, 0.5), 1.0: (0.7310585786300049, 0.9276705118714868),
        math.inf: (math.inf, 1.0),
    },
    torch=Name("SiLU"), jax=Name("silu"), keras=Name("silu"),
)  # fmt: skip
def _silu(z: Any) -> Any:
    bound = const(z, 1000.0)  # sigma is 0 from -1000 down and 1 from 1000 up, for the products as in gelu
    z = if_less(z, -bound, -bound, z)
    s = sigmoid(z)
    return z * s, s * fma(if_less(bound, z, bound, z), sigmoid(-z), const(z, 1.0))


@activation(
    "selu", text="SELU: s z where z >= 0, s a (exp(z) - 1) elsewhere, with a = 1.6732632 and s = 1.0507010",
    slope="s where z >= 0, s a exp(z) elsewhere", start="lecun", kinks=(0.0,),
    textbook=lambda z, np: 1.0507009873554805 * np.where(
        np.real(z) >= 0, z, 1.6732632423543772 * np.expm1(np.where(np.real(z) >= 0, 0, z))
    ),
    points={
        -math.inf: (-1.7580993408473766, 0.0), 0.0: (0.0, 1.0507009873554805),
        1.0: (1.0507009873554805, 1.0507009873554805), math.inf: (math.inf, 1.0507009873554805),
    },
    torch=Name("SELU"), jax=Name("selu"), keras=Name("selu"), onnx=Name("Selu"),
)  # fmt: skip
def _selu(z: Any) -> Any:
    zero, scale, below = const(z, 0.0), const(z, SELU_SCALE), const(z, SELU_SCALE * SELU_ALPHA)
    value = if_less(z, zero, below * expm1(if_less(z, zero, z, zero)), scale * z)
    return value, if_less(z, zero, below * exp(z), if_equal(z, z, scale, z))


@activation(
    "mish", text="Mish: z tanh(log(1 + exp(z)))", slope="tanh s + z sigma(z) (1 - tanh(s)^2), s = log(1 + exp(z))",
    start="he",
    textbook=lambda z, np: z * np.tanh(np.log1p(np.exp(z))),
    points={
        -math.inf: (0.0, 0.0), 0.0: (0.0, 0.6), 1.0: (0.8650983882673103, 1.0490362200997922),
        math.inf: (math.inf, 1.0),
    },
    torch=Name("Mish"), jax=Name("mish"), keras=Name("mish"), onnx=Name("Mish"),
)  # fmt: skip
def _mish(z: Any) -> Any:
    # With e = exp(z) and w = e (e + 2) the tanh is w / (w + 2), without cancellation. It is 1 from 40 on, 0 at -1000.
    one, two, top, bottom = const(z, 1.0), const(z, 2.0), const(z, 40.0), const(z, -1000.0)
    z = if_less(z, bottom, bottom, z)
    low = if_less(top, z, top, z)
    e = exp(low)
    w = e * (e + two)
    inverse = one / (w + two)
    t = w * inverse
    slope = (const(z, 4.0) * e * inverse) * ((e + one) * inverse)  # of t; squared, the sum could overflow
    return z * t, fma(low, slope, t)


@activation(
    "hard_tanh", text="z, limited to -1 and 1", slope="1 between -1 and 1, 0 elsewhere", start="glorot",
    kinks=(-1.0, 1.0),
    textbook=lambda z, np: np.where(np.real(z) <= -1, -1, np.where(np.real(z) >= 1, 1, z)),
    points={-math.inf: (-1.0, 0.0), 0.0: (0.0, 1.0), 1.0: (1.0, 0.0), math.inf: (1.0, 0.0)},
    torch=Name("Hardtanh"), jax=Name("hard_tanh"), keras=Name("hard_tanh"),
)  # fmt: skip
def _hard_tanh(z: Any) -> Any:
    zero, one = const(z, 0.0), const(z, 1.0)
    value = if_less(z, -one, -one, if_less(one, z, one, z))
    return value, if_less(magnitude(z), one, one, if_equal(z, z, zero, z))


@activation(
    "gelu_exact", text="GELU as it is defined, z Phi(z), with Phi the normal distribution, (1 + erf(z / sqrt(2))) / 2",
    slope="Phi(z) + z phi(z), with phi the normal density", start="he",
    textbook=lambda z, np: z * (1 + np.erf(z / np.sqrt(2))) / 2,
    points={
        -math.inf: (0.0, 0.0), 0.0: (0.0, 0.5), 1.0: (0.8413447460685429, 1.0833154705876864),
        math.inf: (math.inf, 1.0),
    },
    torch=Name("GELU", {"approximate": "none"}), jax=Name("gelu", {"approximate": False}),
    keras=Name("gelu"), onnx=Name("Gelu"),
)  # fmt: skip
def _gelu_exact(z: Any) -> Any:
    distribution, density = normal(z)
    bound = const(z, 100.0)  # Phi is 0 from -100 down, and the density from 100 up, for the products as in gelu
    z = if_less(z, -bound, -bound, z)
    return z * distribution, fma(if_less(bound, z, bound, z), density, distribution)
