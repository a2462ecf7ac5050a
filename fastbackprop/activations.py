"""The hidden activations by name: their codes in the engine, how their layers' weights start, what others call them.

Their values and derivatives are in ``engine/activations.py``, and as NumPy-like functions in ``functional``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastbackprop.engine import codes


class Name(NamedTuple):
    """What another library calls an activation, and the arguments with which it is ours."""

    name: str
    arguments: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Activation(NamedTuple):
    """An activation.

    ``code`` for the engine, ``rectifier`` if He's initialisation suits it (Glorot's otherwise); then its names: a class
    of ``torch.nn``, an activation, layer or operation of Keras, scikit-learn's word, an operator of ONNX. None: it has
    none.
    """

    code: int
    rectifier: bool
    torch: Name
    keras: Name
    sklearn: str | None = None
    onnx: Name | None = None


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(codes.IDENTITY, False, Name("Identity"), Name("linear"), "identity", Name("Identity")),
    # relu'(0) = 1, eq. (1)
    "relu": Activation(codes.RELU, True, Name("ReLU"), Name("relu"), "relu", Name("Relu")),
    # relu'(0) = 0, the other convention of section 3; the values are the same
    "relu0": Activation(codes.RELU0, True, Name("ReLU"), Name("relu"), "relu", Name("Relu")),
    "leaky_relu": Activation(
        codes.LEAKY_RELU, True, Name("LeakyReLU", {"negative_slope": 0.01}),
        Name("LeakyReLU", {"negative_slope": 0.01}), None, Name("LeakyRelu", {"alpha": 0.01}),
    ),
    "elu": Activation(codes.ELU, True, Name("ELU", {"alpha": 1.0}), Name("elu"), None, Name("Elu")),
    "tanh": Activation(codes.TANH, False, Name("Tanh"), Name("tanh"), "tanh", Name("Tanh")),
    "sigmoid": Activation(codes.SIGMOID, False, Name("Sigmoid"), Name("sigmoid"), "logistic", Name("Sigmoid")),
    # beyond PyTorch's own threshold, 20, it leaves off e**-20
    "softplus": Activation(
        codes.SOFTPLUS, True, Name("Softplus", {"beta": 1.0, "threshold": 40.0}), Name("softplus"), None,
        Name("Softplus"),
    ),
    # in its tanh form
    "gelu": Activation(
        codes.GELU, True, Name("GELU", {"approximate": "tanh"}), Name("Gelu", {"approximate": True})
    ),
    "silu": Activation(codes.SILU, True, Name("SiLU"), Name("silu")),
}  # fmt: skip
