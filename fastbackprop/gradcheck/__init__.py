"""The paper's equations checked one by one on a network: :func:`report`, and the command ``fastbackprop verify``.

Each row of the table is an equation, a theorem or a code of Y. H. Park, "Gradients in a deep neural network and their
Python implementations", 2022. What the compiled engine and the NumPy reference computed is compared with

- *the formula*: the right side of the equation, written out here in plain NumPy from the paper's text,
- *complex step*: the derivative of a loss written out here, Im f(t + ih) / h, in which no formula of a gradient occurs,
- *differences*: (J(t + h) - J(t - h)) / 2h, with the engine's own cost,
- *PyTorch* and *JAX*: their automatic derivatives, where they are installed.

Nothing here is shared with what is checked: activations, losses and the pass through the layers are stated anew, and
slopes g' are complex steps of g. As in the paper samples are columns and layers count from 1. All comparisons are made
in float64, with the very parameters of the network that is checked, so a float32 column shows what float32 rounded.
"""

from fastbackprop.gradcheck.table import DTYPES, Comparison, Report, Row, report

__all__ = ["DTYPES", "Comparison", "Report", "Row", "report"]
