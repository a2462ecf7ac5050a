"""Networks of every activation, output and dtype, and a table of every kind of column, for the tests of interop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import cli
from fastbackprop.activations import ACTIVATIONS
from fastbackprop.heads import HEADS

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
CASES = [(name, head, dtype) for dtype in TOLERANCE for head in HEADS for name in ACTIVATIONS]
# Each activation and each output in both dtypes, where that they meet means nothing.
EACH = [(name, list(HEADS)[k % len(HEADS)], dtype) for dtype in TOLERANCE for k, name in enumerate(ACTIVATIONS)]


def network(hidden, output, dtype, sizes=(5, 40, 7, 3), seed=1):
    """A network whose biases are no zeros."""
    net, rng = fb.Network(sizes, hidden, output, dtype=dtype, seed=seed), np.random.default_rng(seed)
    net.params = net.params + 0.05 * rng.standard_normal(len(net.params))
    return net


def inputs(net, samples=50, seed=2):
    return np.random.default_rng(seed).standard_normal((samples, net.sizes[0])).astype(net.dtype)


def assert_near(got, net, X, tolerance=None):
    """The outputs are those of ``forward``, to so many parts of the largest of them, or of 1."""
    tolerance = tolerance or TOLERANCE[net.dtype.name]
    outputs = net.forward(X)
    got = np.asarray(got)
    assert (got.dtype, got.shape) == (outputs.dtype, outputs.shape)
    assert np.abs(got - outputs).max() <= tolerance * max(1.0, np.abs(outputs).max())


def assert_same(one, other):
    """The same network, bit for bit; relu and relu0 have the same values, and others have one name for both."""
    assert isinstance(other, fb.Network)
    values = [[name.replace("relu0", "relu") for name in net.hidden] for net in (one, other)]
    assert (one.sizes, one.output, one.dtype, values[0]) == (other.sizes, other.output, other.dtype, values[1])
    assert one.params.tobytes() == other.params.tobytes()


def mixed_table(rows=300, seed=5):
    """Numbers, categories, codes and dates, all with missing values, and what follows from them."""
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(3, 2, rows).round(3), rng.choice(["red", "green", "blue"], rows)
    stars = rng.integers(1, 6, rows).astype(float)
    day = pd.Timestamp("1999-11-03") + pd.to_timedelta(rng.integers(0, 4000, rows), "D")
    price = size * 2 + (colour == "red") * 3 + stars + rng.normal(0, 0.1, rows)
    frame = pd.DataFrame({"size": size, "colour": colour, "weight": 0.001 * size**2, "day": day, "stars": stars})
    for column in frame:
        frame.loc[rng.random(rows) < 0.1, column] = None
    frame["price"], frame["cheap"] = price, np.where(price < 10, "yes", "no")
    return frame


def train(*arguments):
    """What the command line does with ``train``."""
    with pytest.raises(SystemExit) as end:
        cli.main(["train", *map(str, arguments), "--no-progress"])
    assert not end.value.code
