"""C: what a compiler makes of the file has the bits of ``forward``, and of the CSV."""

from __future__ import annotations

import ctypes
import secrets
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import datasets, persistence, tables
from fastbackprop.interop import c
from tests.interop import EACH, inputs, mixed_table, network, train

COMPILER = shutil.which("gcc") or shutil.which("cc")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
SIZES = [
    (5, 40, 7, 3),
    (3, 128, 2, 3),
    (9, 64, 3),
    (64, 128, 10),
    (300, 136, 5),
    (4, 3),
    (1, 1, 1, 2),
]  # Z[2] is the sum of 1, 2, 2, 4, 8 and 1 chains

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")


def compiled(text, folder, *flags):
    """``predict`` of rows, as a compiler makes it; its ``self_test`` is 0."""
    source, library = folder / "net.c", folder / f"{secrets.token_hex(4)}.so"  # a name is loaded once
    source.write_text(text)
    made = [COMPILER, *flags, "-shared", "-fPIC", "-o", str(library), str(source), "-lm"]
    done = subprocess.run(made, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    functions = ctypes.CDLL(str(library))
    assert functions.self_test() == 0

    def predict(X, outputs):
        y = np.empty((len(X), outputs), X.dtype)
        for row, out in zip(X, y):
            functions.predict(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
        return y

    return predict


def extremes(net):
    """Rows of every size, also such that activations are flat, and subnormal ones."""
    X = np.concatenate([scale * inputs(net, 40, seed) for seed, scale in enumerate([1, 1e-3, 30, 1e3, 1e-30])])
    X[::7] = np.abs(X[::7])
    X[5] = 0
    return np.ascontiguousarray(X)


@pytest.mark.parametrize(("hidden", "output", "dtype"), EACH)
def test_the_bits_are_those_of_forward(hidden, output, dtype, tmp_path):
    net = network(hidden, output, dtype)
    predict = compiled(fb.interop.to_c(net), tmp_path, "-O2", "-ffp-contract=off", *STRICT)
    X = extremes(net)
    with np.errstate(all="ignore"):
        assert predict(X, 3).tobytes() == net.forward(X).tobytes()


@pytest.mark.parametrize("flags", [["-O0"], ["-O2"], ["-O3", "-march=native"], ["-O2", "-march=native", "-std=gnu99"]])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_shapes_and_what_compilers_make_of_them(sizes, flags, tmp_path):
    hidden = ["softplus", "tanh", "gelu"][: len(sizes) - 2]
    for dtype in ("float32", "float64"):
        net = network(hidden, "softmax" if sizes[-1] > 1 else "sigmoid", dtype, sizes)
        predict = compiled(fb.interop.to_c(net), tmp_path, *flags)
        X = extremes(net)
        assert predict(X, sizes[-1]).tobytes() == net.forward(X).tobytes()


def test_the_chains_of_layer_2_are_the_engines():
    nets = [network("relu", "identity", "float32", sizes) for sizes in SIZES if len(sizes) > 2]
    ends = [c.chains_of(net, 2) for net in nets]
    assert [len(chains) for chains in ends] == [1, 2, 2, 4, 8, 1]  # so the tests above have all
    assert [chains[-1] for chains in ends] == [40, 128, 64, 128, 136, 1]
    assert c.chains_of(nets[1], 1) == [3]


def test_the_self_test_finds_another_bit_and_main_says_so(tmp_path):
    net = network("silu", "identity", "float32")
    text = fb.interop.to_c(net, tmp_path / "net.c")
    assert (tmp_path / "net.c").read_text() == text
    start, end = text.index("test_x[50] = {"), text.index("test_y[30] = {")
    damaged = text[:start] + text[start:end].replace("0x1.", "0x1.8", 1) + text[end:]
    for content, code, said in ((text, 0, "all rows have the right bits"), (damaged, 1, "row 1 has other bits")):
        (tmp_path / "net.c").write_text(content)
        subprocess.run([COMPILER, "-DSELF_TEST", "-o", tmp_path / "run", tmp_path / "net.c", "-lm"], check=True)
        done = subprocess.run([tmp_path / "run"], capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip()) == (code, said)


def test_fast_mathematics_is_refused(tmp_path):
    (tmp_path / "net.c").write_text(fb.interop.to_c(network("relu", "identity", "float32")))
    done = subprocess.run(
        [COMPILER, "-ffast-math", "-c", "-o", tmp_path / "net.o", tmp_path / "net.c"], capture_output=True, text=True
    )
    assert "the results would have other bits" in done.stderr


def codes_of(table, frame):
    """The columns of a table as ``predict`` in C takes them."""
    columns = []
    for column in table.columns:
        if isinstance(column, tables.Category):
            text = frame[column.name]
            code = text.map({value: k for k, value in enumerate(column.values)}).to_numpy(np.float64, na_value=np.nan)
            columns.append(np.where(text.isna(), np.nan, np.where(np.isnan(code), -1, code)))
        else:
            columns.append(frame[column.name].to_numpy(np.float64, na_value=np.nan))
    return np.ascontiguousarray(np.stack(columns, axis=1))


@pytest.mark.parametrize("target", ["price", "cheap"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_gives_the_predictions_of_the_csv_bit_for_bit(target, dtype, tmp_path):
    frame = mixed_table().drop(columns=["day", "stars", "cheap" if target == "price" else "price"])
    frame.to_csv(tmp_path / "data.csv", index=False)
    train(tmp_path / "data.csv", "--target", target, "--epochs", 3, "--dtype", dtype, "-o", tmp_path)
    path = tmp_path / "data.safetensors"
    predict = compiled(fb.interop.to_c(path), tmp_path, "-O2", *STRICT)
    table = tables.Table.from_json(persistence.read_metadata(path)["table"])
    new = mixed_table(rows=100, seed=9)
    new.loc[:3, "colour"] = "purple"
    net = fb.load(path)
    decoded = table.decode(net.forward(table.transform(new).astype(net.dtype)))
    expected = decoded[[name for name in decoded if name == "price" or name.startswith("probability")]]
    got = predict(codes_of(table, new), table.outputs)
    assert got.tobytes() == np.ascontiguousarray(expected.to_numpy(np.float64)).tobytes()


def test_the_digits_of_the_command_line(tmp_path):
    train("digits", "--epochs", 1, "-o", tmp_path)
    path = tmp_path / "digits.safetensors"
    predict = compiled(fb.interop.to_c(path), tmp_path, "-O2")
    frame, _ = datasets.load_frame("digits")
    net, table = fb.load(path), tables.Table.from_json(persistence.read_metadata(path)["table"])
    expected = net.forward(table.transform(frame).astype(net.dtype))
    assert (predict(codes_of(table, frame), 10) == expected).all()


def test_names_of_columns_do_nothing(tmp_path):
    evil = '*/ #include "/etc/passwd" /* ??/\n\\'
    columns = tables.Category(evil, (evil, "é\\"), True), tables.Number("b\r*/", 0.0, 0.0, 1.0)
    table = tables.Table(columns, (evil,), "classification", (evil, "*/"))
    net = network("relu", "softmax", "float32", (4, 5, 2))
    net.save(tmp_path / "net.safetensors")
    persistence.save(net, tmp_path / "net.safetensors", {"table": table.to_json()})
    text = fb.interop.to_c(tmp_path / "net.safetensors")
    assert text.isascii()
    compiled(text, tmp_path, "-trigraphs", *STRICT)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dates_are_days(dtype, tmp_path):
    frame = mixed_table().drop(columns=["stars", "cheap"])
    hours = pd.to_timedelta(np.random.default_rng(0).integers(0, 24, len(frame)), "h")
    frame["day"] = frame["day"] + hours - pd.Timedelta(days=12000)  # also before 1970
    frame.to_csv(tmp_path / "data.csv", index=False)
    train(tmp_path / "data.csv", "--target", "price", "--epochs", 1, "--dtype", dtype, "-o", tmp_path)
    path = tmp_path / "data.safetensors"
    table, net = tables.Table.from_json(persistence.read_metadata(path)["table"]), fb.load(path)
    assert next(c.cycles for c in table.columns if c.name == "day") == ("year", "week", "day")
    predict = compiled(fb.interop.to_c(path), tmp_path, "-O2", *STRICT)
    expected = table.decode(net.forward(table.transform(frame).astype(net.dtype))).to_numpy()
    frame["day"] = (frame["day"] - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    np.testing.assert_allclose(predict(codes_of(table, frame), 1), expected, rtol=1e-6 if dtype == "float32" else 1e-12)


def test_every_day_of_four_hundred_years(tmp_path):
    days = np.arange(-28_000.0, 121_000.0)
    column = tables.Date("day", "ISO8601", 1.0, 2.0, 3.0, ("year", "week", "day"))
    table = tables.Table((column,), tuple("abcdefg"), "regression", mean=(0.0,) * 7, scale=(1.0,) * 7)
    net = fb.Network((7, 7), output="identity", dtype="float64", seed=0)
    net.weights[0][...] = np.eye(7)
    persistence.save(net, tmp_path / "net.safetensors", {"table": table.to_json()})
    predict = compiled(fb.interop.to_c(tmp_path / "net.safetensors"), tmp_path, "-O2", *STRICT)
    np.testing.assert_allclose(predict(days[:, None], 7), column.encode_days(days), atol=1e-12)
