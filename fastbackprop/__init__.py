"""Fully connected neural networks for CPUs, trained by fused, JIT-compiled steps."""

from fastbackprop import schedules
from fastbackprop.early_stopping import EarlyStopping
from fastbackprop.history import History
from fastbackprop.network import Gradients, Network, Trace
from fastbackprop.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, RMSprop
from fastbackprop.persistence import load
from fastbackprop.version import __version__ as __version__

__all__ = [
    "LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "EarlyStopping", "Gradients", "History", "Network", "RMSprop", "Trace",
    "load", "schedules",
]  # fmt: skip
