"""Fully connected neural networks for CPUs, trained by fused, JIT-compiled steps."""

from fastbackprop.network import Gradients, Network, Trace
from fastbackprop.optimizers import SGD, Adam
from fastbackprop.persistence import load
from fastbackprop.training import History

__version__ = "0.1.0"
__all__ = ["SGD", "Adam", "Gradients", "History", "Network", "Trace", "load"]
