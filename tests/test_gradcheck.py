"""The table of the paper's equations: complete, green on networks of every kind, and one that can be read by programs.

That a planted error turns its row red is in test_mutations.py.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import fastbackprop as fb
from fastbackprop import cli, gradcheck

NUMBERS = Path(__file__).parents[1] / "docs" / "numbers.md"
EQUATIONS = [f"({n})" for n in range(1, 41)]
OTHERS = ["Section 1, J", "Lemma 3.1", *(f"Theorem {n}" for n in ("4.1", "5.1", "5.4", "6.1"))]
CODES = [f"Code {n}" for n in range(1, 5)]
BY_DIFFERENCES = ["Theorem 5.4, differences", "Theorem 6.1, differences"]


def call(capsys, *arguments):
    """Exit code and standard output of ``fastbackprop verify``."""
    with pytest.raises(SystemExit) as end:
        cli.main(["verify", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def data(sizes, output, samples=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((samples, sizes[0]))
    return X, rng.integers(0, sizes[-1], samples) if output == "softmax" else rng.random((samples, sizes[-1]))


def test_the_command_prints_the_table(capsys):
    code, out, _ = call(capsys, "--no-peers")
    assert code == 0
    assert out.rstrip().endswith("all 52 hold")
    names = re.findall(r"^(.+?)  +\d\.\de[-+]\d\d  +\d\.\de[-+]\d\d  1e-\d\d 1e-\d\d  pass  ", out, re.MULTILINE)
    assert sorted(names) == sorted(EQUATIONS + OTHERS + CODES + BY_DIFFERENCES)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_peers_that_are_not_installed_are_named(options, capsys, monkeypatch):
    monkeypatch.setattr(gradcheck.table, "find_spec", lambda name: None)
    code, out, err = call(capsys, "--sizes", "3,4,2", "--dtype", "float32", *options)
    line = "PyTorch, JAX: not installed; pip install 'fastbackprop[peers]'"
    assert code == 0
    assert (err if options else out).splitlines()[-1] == line
    assert not options or json.loads(out)["peers"] == {}
    assert "not installed" not in "".join(call(capsys, "--sizes", "3,4,2", "--no-peers", "--dtype", "float32")[1:])


def test_json_has_every_comparison(capsys):
    code, out, _ = call(capsys, "--json", "--no-peers", "--sizes", "3,7,2", "--activation", "tanh", "--seed", 5)
    assert code == 0
    found = json.loads(out)
    assert found["passed"] is True
    assert found["peers"] == {}
    assert "3-7-2, hidden=tanh" in found["network"]
    rows = {row["name"]: row for row in found["rows"]}
    assert len(rows) == 52
    for row in rows.values():
        assert set(row["difference"]) == set(row["tolerance"]) == {"float64", "float32"}
        for dtype, worst in row["difference"].items():
            assert worst == max(c["difference"] for c in row["comparisons"] if c["dtype"] == dtype)
            assert worst <= row["tolerance"][dtype]
    # each equation is checked on the compiled code and on the reference, by its formula and by a derivative
    for name in ("(16)", "(17)", "(18)", "(19)", "(22)", "(23)", "(24)", "(25)", "(27)", "(33)", "(40)", "Theorem 6.1"):
        pairs = {(c["subject"], c["against"]) for c in rows[name]["comparisons"]}
        assert pairs >= {(s, a) for s in ("engine", "reference") for a in ("formula", "complex step")}


def test_differences_are_small_because_they_are_of_float_numbers_and_not_zero(capsys):
    """A row that compared something with itself would have nothing but zeros, in float32 too."""
    _, out, _ = call(capsys, "--json", "--no-peers")
    for row in json.loads(out)["rows"]:
        if row["name"] != "(1)":  # 0 and 1 are exact
            assert max(c["difference"] for c in row["comparisons"]) > 0


@pytest.mark.parametrize("bad", [("--sizes", "3"), ("--sizes", "3,0"), ("--activation", "cosine"), ("--seed", "-1")])
def test_bad_options_are_one_line(capsys, bad):
    code, out, err = call(capsys, *bad)
    assert code == 2
    assert out == ""
    assert bad[0] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("sizes", "hidden", "output"),
    [
        ((4, 3), (), "identity"),  # no hidden layer: rows on hidden layers use another network
        ((3, 1), (), "sigmoid"),
        ((6, 20, 17, 1), "gelu", "sigmoid"),
        ((5, 9, 8, 7, 6), ["relu", "silu", "leaky_relu"], "identity"),
        ((2, 1, 2), "sigmoid", "softmax"),
        ((20, 35, 17), "relu0", "softmax"),
        ((4, 9, 2), "relu", "exp"),  # not the paper's: its rows are checked on the engine alone
    ],
)
def test_any_network(sizes, hidden, output):
    net = fb.Network(sizes, hidden, output, seed=0)
    before = net.params.tobytes()
    report = gradcheck.report(net, *data(sizes, output), peers=False)
    assert report.passed, str(report)
    assert net.params.tobytes() == before


def test_networks_on_which_relative_differences_are_hard():
    """Well fitted, saturated, dead, at the kink, far out: cancellation must not turn a row red."""
    X, y = data((3, 2), "softmax")
    fitted = fb.Network((3, 30, 2), seed=0)
    fitted.fit(X, y, epochs=300, batch_size=20, optimizer=fb.Adam(0.01), seed=0)
    saturated = fb.Network((3, 30, 20, 2), "sigmoid", seed=0)
    saturated.params = 50 * saturated.params
    dead = fb.Network((3, 30, 2), seed=0)
    dead.biases[0][...] = -100
    zero = fb.Network((3, 30, 2), seed=0)
    zero.params = 0 * zero.params
    exact = fb.Network((3, 30, 2), "silu", "identity", seed=0)
    cases = [(net, X, y) for net in (fitted, saturated, dead, zero)]
    cases += [(exact, X, exact.forward(X)), (fb.Network((3, 30, 2), "tanh", seed=0), 1e6 * X, y)]
    cases += [(fb.Network((3, 30, 2), seed=0), 1e-20 * X, y), (fb.Network((3, 30, 2), seed=0), X[:1], y[:1])]
    for net, inputs, targets in cases:
        report = gradcheck.report(net, inputs, targets, peers=False)
        assert report.passed, str(report)


@pytest.mark.parametrize(
    ("output", "hidden"), [("softmax", "relu"), ("sigmoid", "gelu"), ("identity", "sigmoid"), ("softmax", "sigmoid")]
)
def test_saturated_to_the_last_bit(output, hidden):
    """Inputs in thousands: o - y is 0, or all rounding, and so are g' and the derivatives; none of it is an error."""
    rng = np.random.default_rng(3)
    X = rng.gamma(2.0, size=(50, 7)) * [1e3, 1e-3, 1.0, 5e4, 20.0, 0.3, 7e2]
    net = fb.Network((7, 11, 2), hidden, output, seed=4)
    o = net.forward(X)
    for Y in (np.round(o), 1 - np.round(o)) if output != "identity" else (o, 1e6 * o):
        report = gradcheck.report(net, X, Y, peers=False)
        assert report.passed, str(report)


@pytest.mark.peers
def test_frameworks_take_part():
    for name in ("torch", "jax"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'fastbackprop[peers]'")
    net = fb.Network((5, 12, 9, 4), ["gelu", "relu"], seed=0)
    report = gradcheck.report(net, *data((5, 4), "softmax"))
    assert report.passed, str(report)
    assert list(report.peers) == ["PyTorch", "JAX"]
    for row in report.rows:
        if row.name in ("Theorem 5.4", "Theorem 6.1", "Code 4"):
            pairs = {(c.subject, c.against, c.dtype) for c in row.comparisons}
            for who in ("engine", "reference"):
                for peer in report.peers:
                    assert {(who, peer, dtype) for dtype in gradcheck.DTYPES} <= pairs


def test_a_difference_that_is_nan_fails():
    row = gradcheck.Row("(1)", "", (gradcheck.Comparison("engine", "formula", "float64", np.nan),), {"float64": 1.0})
    report = gradcheck.Report("", 1, ("float64",), {}, (row,))
    assert not report.passed
    assert "FAIL" in str(report)
    assert "1 of 1 fail: (1)" in str(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["rows"][0]["difference"] == {"float64": None}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"net": "net"}, TypeError, "net must be a Network"),
        ({"X": [[1.0]]}, ValueError, "X must have shape"),
        ({"Y": [9] * 60}, ValueError, "Y must hold class numbers"),
        ({"dtypes": "float32"}, TypeError, "dtypes must be"),
        ({"dtypes": ["float16"]}, ValueError, "dtypes must be one of"),
        ({"seed": 0.5}, TypeError, "seed must be"),
    ],
)
def test_bad_arguments_are_named(changes, error, words):
    X, Y = data((3, 2), "softmax")
    with pytest.raises(error, match=words):
        gradcheck.report(**({"net": fb.Network((3, 4, 2), seed=0), "X": X, "Y": Y} | changes))


def test_the_page_of_numbers_has_the_rows_of_the_table():
    if not NUMBERS.exists():
        pytest.skip("needs docs/numbers.md: run from a clone or the source distribution")
    table = NUMBERS.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    printed = [line.split("  ")[0] for line in table.splitlines() if re.search(r"  (pass|FAIL)  ", line)]
    X, Y = data((3, 2), "softmax")
    report = gradcheck.report(fb.Network((3, 4, 2), seed=0), X, Y, dtypes=["float64"], peers=False)
    assert printed == [row.name for row in report.rows]
    assert "all 52 hold" in table
