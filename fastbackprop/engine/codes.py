"""The numbers by which Python and compiled code call what can be chosen; the names are those of files and messages."""

from __future__ import annotations

from fastbackprop.engine.layout import CLASSES, DENSE, GIVEN_DELTAS, NO_TARGETS

# Activations that a product applies itself, by their names; any other is a pass of its own (activations.py).
IDENTITY, RELU, RELU0, BY_PASS = range(4)
EPILOGUES = {"identity": IDENTITY, "relu": RELU, "relu0": RELU0}

# Output layers; see heads.py.
IDENTITY_L2, SIGMOID_BCE, SOFTMAX_CCE, EXP_POISSON = range(4)
HEADS = {IDENTITY_L2: "identity", SIGMOID_BCE: "sigmoid", SOFTMAX_CCE: "softmax", EXP_POISSON: "exp"}

TARGETS = {NO_TARGETS: "alone", CLASSES: "of_classes", DENSE: "of_rows", GIVEN_DELTAS: "of_deltas"}

# What is done with the gradient; the formulas are in update.py. FUSED_SGD is the epilogue of the gradient's tile: SGD
# without clipping, decay or penalty, of a batch in one shard; a training chooses it (training.py). The order counts:
# those after GRADIENT change parameters, those after FUSED_SGD by an operation of their own.
NO_GRADIENT, GRADIENT, FUSED_SGD, SGD, MOMENTUM, NESTEROV, RMSPROP, ADAGRAD, ADAM = range(9)
OPTIMIZERS = {
    SGD: "sgd", MOMENTUM: "momentum", NESTEROV: "nesterov", RMSPROP: "rmsprop", ADAGRAD: "adagrad", ADAM: "adam",
}  # fmt: skip
# fields of `hyper`, the optimizer's constants
MOMENTUM_FACTOR, BETA1, BETA2, EPS, DECAY, DECOUPLED_DECAY, DECAY_BIASES, CLIP_NORM, L1, L2 = range(10)
HYPER_FIELDS = 10
