"""The table: a row for each equation, and its two forms, text and plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from fastbackprop import checks
from fastbackprop.gradcheck.autograd import PEERS
from fastbackprop.gradcheck.case import Run
from fastbackprop.gradcheck.equations import ROWS
from fastbackprop.gradcheck.statements import Array
from fastbackprop.heads import read_targets
from fastbackprop.network import Network
from fastbackprop.rows import native

DTYPES = ("float64", "float32")
CANDIDATES = 512  # rows of X among which the samples are chosen


@dataclass(frozen=True)
class Comparison:
    """The largest relative difference between what one implementation computed and what it is compared with.

    Attributes
    ----------
    subject : str
        Whose values: engine, functional, paper or reference.
    against : str
        formula, complex step, differences, PyTorch or JAX.
    dtype : str
        float32 or float64.
    difference : float
        The largest absolute difference, divided by the largest sum of absolute terms of the values compared.
    """

    subject: str
    against: str
    dtype: str
    difference: float


@dataclass(frozen=True)
class Row:
    """An equation, theorem or code of the paper, and how well it holds.

    Attributes
    ----------
    name : str
        As the paper numbers it, such as ``(22)`` or ``Theorem 5.4``.
    statement : str
    comparisons : tuple of Comparison
    tolerance : dict
        By dtype: what no difference may exceed.
    """

    name: str
    statement: str
    comparisons: tuple[Comparison, ...]
    tolerance: dict[str, float]

    def difference(self, dtype: str) -> float:
        """The largest relative difference of the comparisons in a dtype; NaN if one of them is NaN."""
        return float(np.max([c.difference for c in self.comparisons if c.dtype == dtype]))

    @property
    def passed(self) -> bool:
        """Whether no difference exceeds the tolerance, and none is NaN."""
        return all(c.difference <= self.tolerance[c.dtype] for c in self.comparisons)

    @property
    def compared(self) -> str:
        """Who was compared with what."""
        subjects = dict.fromkeys(c.subject for c in self.comparisons)
        return f"{', '.join(subjects)}: {', '.join(dict.fromkeys(c.against for c in self.comparisons))}"


@dataclass(frozen=True)
class Report:
    """What :func:`report` found; ``print`` shows the table.

    Attributes
    ----------
    network : str
    samples : int
        How many took part.
    dtypes : tuple of str
    peers : dict
        Names and versions of the frameworks whose automatic derivatives were compared.
    rows : tuple of Row
        In the paper's order.
    """

    network: str
    samples: int
    dtypes: tuple[str, ...]
    peers: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether every row passed."""
        return all(row.passed for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values that ``json`` writes; a difference that is not finite is None."""
        rows = [
            {
                "name": row.name,
                "statement": row.statement,
                "compared": row.compared,
                "difference": {dtype: _finite(row.difference(dtype)) for dtype in self.dtypes},
                "tolerance": {dtype: row.tolerance[dtype] for dtype in self.dtypes},
                "passed": row.passed,
                "comparisons": [{**vars(c), "difference": _finite(c.difference)} for c in row.comparisons],
            }
            for row in self.rows
        ]
        return {
            "network": self.network, "samples": self.samples, "dtypes": list(self.dtypes), "peers": self.peers,
            "passed": self.passed, "rows": rows,
        }  # fmt: skip

    def __str__(self) -> str:
        frameworks = ", ".join(f"{name} {version}" for name, version in self.peers.items()) or "no other framework"
        head = ["", *self.dtypes, "tolerance", "", "compared"]
        table = [head]
        for row in self.rows:
            table.append(
                [
                    row.name,
                    *(f"{row.difference(dtype):.1e}" for dtype in self.dtypes),
                    " ".join(f"{row.tolerance[dtype]:.0e}" for dtype in self.dtypes),
                    "pass" if row.passed else "FAIL",
                    row.compared,
                ]
            )
        widths = [max(len(line[i]) for line in table) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in table]
        failed = [row.name for row in self.rows if not row.passed]
        count = len(self.rows)
        verdict = f"{len(failed)} of {count} fail: {', '.join(failed)}" if failed else f"all {count} hold"
        return "\n".join([f"{self.network}, {self.samples} samples, {frameworks}", "", *lines, "", verdict])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@np.errstate(all="ignore")  # what is lost shows in the differences
def report(
    net: Network, X: Any, Y: Any, *, dtypes: Sequence[str] = DTYPES, peers: bool = True, seed: Any = 0
) -> Report:
    """Check every equation of the paper on a network and samples.

    The rows on the network as it is take its layers, activations and parameters, in each dtype. Equations on another
    output layer are checked on a network of the same hidden layers with that output, random parameters and random
    samples; those on hidden layers, for a network that has none, with 16 relu units put in; Codes 2 and 4 with relu
    in the place of other activations. So every row is always checked.

    Parameters
    ----------
    net : Network
        It is not changed.
    X : array (N, n[0])
        At most 37 of the first 512 samples take part: those whose linear outputs are farthest from a kink of the
        activation (relu has one at 0), where a derivative would depend on the rounding of Z.
    Y : array
        As for :meth:`Network.cost`.
    dtypes : sequence of str
        'float64', 'float32' or both.
    peers : bool
        Compare with PyTorch and JAX too, those that are installed.
    seed : int, or a numpy.random.SeedSequence, Generator or RandomState
        Of the directions of the derivatives, and of the other networks.

    Returns
    -------
    Report

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what is said above.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> net = Network((4, 8, 3), seed=0)
    >>> found = report(net, rng.standard_normal((20, 4)), rng.integers(0, 3, 20), dtypes=["float32"], peers=False)
    >>> found.passed, len(found.rows)
    (True, 52)
    """
    if not isinstance(net, Network):
        raise TypeError(f"net must be a Network, got {net!r}")
    if isinstance(dtypes, (str, bytes)) or not isinstance(dtypes, Sequence) or not dtypes:
        raise TypeError(f"dtypes must be a sequence of 'float64' and 'float32', got {dtypes!r}")
    names = tuple(dict.fromkeys(checks.one_of(dtype, "dtypes", DTYPES) for dtype in dtypes))
    seed = checks.seed_number(seed)
    X = checks.rows(X, "X", net.sizes[0], net.dtype)
    Y = read_targets(net.output, Y, X.shape[0], net.sizes[-1], net.dtype)[:CANDIDATES]
    if Y.ndim == 1:
        Y = np.eye(net.sizes[-1])[Y]
    frameworks = {name: import_module(name) for name in PEERS if peers and find_spec(name)}
    runs = [Run(net, native(X[:CANDIDATES], net.dtype), Y, dtype, seed, tuple(frameworks)) for dtype in names]
    rows = []
    for name, statement, check, tolerance in ROWS:
        worst: dict[tuple[str, str, str], float] = {}
        for run in runs:
            for subject, against, got, expected, scale in check(run):
                key, difference = (subject, against, run.dtype), _difference(got, expected, scale)
                worst[key] = float(np.maximum(worst.get(key, 0.0), difference))  # NaN stays NaN
        rows.append(Row(name, statement, tuple(Comparison(*key, value) for key, value in worst.items()), tolerance))
    versions = {PEERS[name]: str(module.__version__) for name, module in frameworks.items()}
    return Report(repr(net), runs[0].own.N, names, versions, tuple(rows))


def _difference(got: Array, expected: Array, scale: Any) -> float:
    """The largest difference in units of the scale, or of the largest value expected where that is None."""
    if np.shape(got) != np.shape(expected):
        return math.inf
    error = np.max(np.abs(np.subtract(got, expected, dtype=np.float64)), initial=0.0)
    if error == 0:
        return 0.0
    scale = np.max(np.abs(expected) if scale is None else scale)
    return float(error / scale)
