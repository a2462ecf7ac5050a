"""Tables that come in through files and pipes, and predictions that go out, with the columns that are to stay."""

from __future__ import annotations

import csv
import io
import os
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

import fastbackprop as fb
from fastbackprop import cli
from fastbackprop.cli import inputs
from tests.commands import call, one_line, run

posix = pytest.mark.skipif(os.name != "posix", reason="named pipes")


@pytest.fixture(scope="module")
def plants():
    """A class that follows from two numbers, and columns that say which plant it is."""
    rng = np.random.default_rng(3)
    height, leaves = rng.uniform(1, 9, 120).round(3), rng.integers(2, 40, 120)
    return pd.DataFrame(
        {
            "code": [f"{k:05d}" for k in rng.permutation(9000)[:120]],
            "height": height,
            "note": rng.choice(["plain", 'quo"ted, with a comma', "two\nlines", "ünï", "re\rturn"], 120),
            "leaves": leaves,
            "kind": np.where(height * 4 > leaves, "tall", "bushy"),
        }
    )


@pytest.fixture(scope="module")
def folder(plants, tmp_path_factory):
    """A directory with the table and a model of it."""
    path = tmp_path_factory.mktemp("plants")
    plants.to_csv(path / "plants.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    arguments = ["train", path / "plants.csv", "--target", "kind", "--drop", "note", "--epochs", "20", "-o", path]
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    assert not end.value.code
    return path


def test_columns_of_the_input_are_kept_as_they_are(folder, plants, tmp_path, capsys):
    out = tmp_path / "out.csv"
    arguments = ["predict", folder / "plants.safetensors", folder / "plants.csv", "-o", out]
    assert call(capsys, *arguments, "--keep", "note", "--keep", "code", "--keep", "note")[0] == 0
    written = pd.read_csv(out, dtype={"code": str})
    assert list(written.columns) == ["note", "code", "kind", "probability_bushy", "probability_tall"]
    pd.testing.assert_frame_equal(written[["code", "note"]], plants[["code", "note"]], check_dtype=False)
    assert (written.kind == plants.kind).mean() > 0.7
    assert "did you mean 'code'?" in one_line(capsys, *arguments, "--keep", "Code")


def test_a_kept_column_that_is_predicted_stands_beside_its_prediction(folder, plants, tmp_path, capsys):
    out = tmp_path / "out.csv"
    arguments = ["predict", folder / "plants.safetensors", folder / "plants.csv", "-o", out]
    call(capsys, *arguments)
    alone = pd.read_csv(out)
    assert call(capsys, *arguments, "--keep", "code", "--keep", "kind")[0] == 0
    written = pd.read_csv(out, dtype={"code": str})
    assert list(written.columns) == ["code", "kind", "predicted_kind", "probability_bushy", "probability_tall"]
    assert written.kind.tolist() == plants.kind.tolist()
    assert written.predicted_kind.tolist() == alone.kind.tolist()
    plants = plants.drop(columns="note")
    plants.drop(columns="kind").to_csv(tmp_path / "new.csv", index=False)
    err = one_line(capsys, *arguments[:2], tmp_path / "new.csv", "--keep", "kind", "-o", out)
    assert "the table lacks the column 'kind'" in err
    plants.assign(predicted_kind=1).to_csv(tmp_path / "both.csv", index=False)
    keep = ["--keep", "kind", "--keep", "predicted_kind"]
    err = one_line(capsys, *arguments[:2], tmp_path / "both.csv", *keep, "-o", out)
    assert "--keep: a prediction would be called 'predicted_kind', and another column is" in err


def test_kept_columns_of_parquet_keep_their_dtype(folder, plants, tmp_path, capsys):
    numbered = plants.assign(number=np.arange(120, dtype=np.int32), day=pd.date_range("2024-02-27", periods=120))
    numbered.index = numbered.index[::-1]  # an order of its own
    numbered.to_parquet(tmp_path / "plants.parquet")
    arguments = ["predict", folder / "plants.safetensors", tmp_path / "plants.parquet", "-o", tmp_path / "out.parquet"]
    assert call(capsys, *arguments, "--keep", "number", "--keep", "day")[0] == 0
    written = pd.read_parquet(tmp_path / "out.parquet")
    expected = numbered[["number", "day"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(written[["number", "day"]], expected, check_dtype=False)
    assert written.number.dtype == np.int32


@pytest.mark.parametrize("ending", ["csv.gz", "csv.bz2", "csv.xz", "csv.zip", "CSV.GZ"])
def test_packed_predictions_are_those_of_the_plain_file(ending, folder, tmp_path, capsys):
    plain, packed = tmp_path / "out.csv", tmp_path / f"out.{ending}"
    for out in (plain, packed):
        assert call(capsys, "predict", folder / "plants.safetensors", folder / "plants.csv", "-o", out)[0] == 0
    assert packed.read_bytes() != plain.read_bytes()
    how = {"gz": "gzip", "xz": "xz", "bz2": "bz2", "zip": "zip"}[ending.lower().split(".")[1]]
    pd.testing.assert_frame_equal(pd.read_csv(packed, compression=how), pd.read_csv(plain))
    before = packed.read_bytes()
    call(capsys, "predict", folder / "plants.safetensors", folder / "plants.csv", "-o", packed)
    assert packed.read_bytes() == before  # no time is in it


def test_a_missing_packer_is_said_before_the_work(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    arguments = ["predict", folder / "plants.safetensors", folder / "plants.csv", "-o", tmp_path / "o.csv.zst"]
    err = one_line(capsys, *arguments)
    assert "needs zstandard: pip install zstandard" in err
    assert os.listdir(tmp_path) == []


def test_standard_output_holds_the_predictions_and_nothing_else(folder, plants, capsys):
    arguments = ["predict", folder / "plants.safetensors", folder / "plants.csv", "-o", "-", "--keep", "code"]
    code, out, err = call(capsys, *arguments)
    assert code == 0
    written = pd.read_csv(io.StringIO(out), dtype={"code": str})
    assert written.code.tolist() == plants.code.tolist()
    assert "120 rows: classification of kind" in err
    assert "compared with plants.csv: accuracy" in err


def packed(plants, ending):
    buffer = io.BytesIO()
    if ending == "parquet":
        plants.to_parquet(buffer)
    else:
        plants.to_csv(buffer, index=False, mode="wb", compression=ending, quoting=csv.QUOTE_NONNUMERIC)
    return buffer.getvalue()


@pytest.mark.parametrize("ending", [None, "gzip", "xz", "parquet"])
def test_a_table_from_standard_input(ending, folder, plants, capsys, monkeypatch):
    model = folder / "plants.safetensors"
    expected = call(capsys, "predict", model, folder / "plants.csv", "-o", "-")[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(packed(plants, ending))))
    code, out, err = call(capsys, "predict", model, "-")
    assert (code, out) == (0, expected)
    assert "compared with standard input: accuracy" in err


def test_training_on_standard_input_gives_the_model_of_the_file(folder, plants, tmp_path, capsys, monkeypatch):
    arguments = ["--target", "kind", "--drop", "note", "--epochs", "20", "-o", tmp_path]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(packed(plants, None))))
    code, out, _ = call(capsys, "train", "-", *arguments)
    assert code == 0
    assert "standard input: 96 samples to learn from, 24 held out" in out
    assert sorted(os.listdir(tmp_path)) == ["stdin.png", "stdin.safetensors"]
    first, second = (fb.load(path) for path in (folder / "plants.safetensors", tmp_path / "stdin.safetensors"))
    assert first.params.tobytes() == second.params.tobytes()


@pytest.mark.parametrize("command", ["train", "predict"])
def test_an_empty_standard_input_is_one_line(command, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    arguments = (
        ["-", "--target", "kind", "-o", tmp_path] if command == "train" else [folder / "plants.safetensors", "-"]
    )
    assert one_line(capsys, command, *arguments) == "fastbackprop: cannot read 'standard input': the file is empty\n"
    assert os.listdir(tmp_path) == []


@posix
def test_a_terminal_is_not_waited_for(folder):
    import pty

    _, terminal = pty.openpty()
    code, _, err = run("predict", "plants.safetensors", "-", stdin=terminal, cwd=folder)
    assert code == 2
    assert err == b"fastbackprop: DATA is -, standard input, and nothing is piped into it\n"


@posix
@pytest.mark.parametrize("pause", [0, 0.5])
def test_a_named_pipe_is_read_once(pause, folder, plants, tmp_path, capsys, monkeypatch):
    """Also where its writer is slow: from when it has opened the pipe, it is waited for."""
    monkeypatch.setattr(inputs, "PATIENCE", 0.2 if pause else 10)
    pipe, content = tmp_path / "rows.csv", (folder / "plants.csv").read_bytes()
    os.mkfifo(pipe)

    def write():
        with open(pipe, "wb") as file:
            time.sleep(pause)
            file.write(content[:1000])
            file.flush()
            time.sleep(pause)
            file.write(content[1000:])

    writer = threading.Thread(target=write)
    writer.start()
    out = tmp_path / "out.csv"
    assert call(capsys, "predict", folder / "plants.safetensors", pipe, "-o", out, "--keep", "code")[0] == 0
    writer.join()
    assert pd.read_csv(out, dtype={"code": str}).code.tolist() == plants.code.tolist()


@posix
def test_pipes_that_are_not_waited_for(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inputs, "PATIENCE", 0.05)
    model, pipe = folder / "plants.safetensors", tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for arguments in (["train", pipe, "--target", "kind"], ["predict", model, pipe]):
        assert "nothing has opened this pipe to write to it" in one_line(capsys, *arguments, "-o", f"{tmp_path}/o.csv")
    for arguments in (["info", pipe], ["predict", pipe, folder / "plants.csv"], ["train", "iris", "--resume", pipe]):
        assert "must be a regular file, and is a pipe or a device" in one_line(capsys, *arguments)
    assert "must be a file or a pipe; '/dev/null' is something else" in one_line(capsys, "predict", model, "/dev/null")
    err = one_line(capsys, "predict", model, folder / "plants.csv", "-o", pipe.rename(tmp_path / "x.csv"))
    assert "is something else than a file" in err
    assert os.listdir(tmp_path) == ["x.csv"]


@posix
def test_what_a_shell_gives_for_a_command(folder, tmp_path, capsys):
    """<(...) is a pipe under /dev/fd, a number for a name."""
    read, write = os.pipe()
    os.write(write, (folder / "plants.csv").read_bytes())
    os.close(write)
    code, out, _ = call(capsys, "train", f"/dev/fd/{read}", "--target", "kind", "--epochs", 1, "-o", tmp_path)
    os.close(read)
    assert code == 0
    assert "a pipe: 96 samples to learn from" in out
    assert (tmp_path / "pipe.safetensors").exists()


def test_formulas_are_escaped_where_asked(tmp_path, capsys):
    names = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-x", "plain", "\tt"]
    frame = pd.DataFrame({"=size": np.arange(60.0), "text": names * 10, "t": [-1, "+5", "-2e3"] * 20})
    frame = frame.assign(y=np.where(np.arange(60) > 29, "=y", "n"))
    frame.to_csv(tmp_path / "d.csv", index=False)
    call(capsys, "train", tmp_path / "d.csv", "--target", "y", "--epochs", 1, "-o", tmp_path)
    out, kept = tmp_path / "o.csv", ["--keep", "text", "--keep", "t", "--keep", "=size"]
    arguments = ["predict", tmp_path / "d.safetensors", tmp_path / "d.csv", "-o", out, *kept]
    assert call(capsys, *arguments)[0] == 0
    plain = pd.read_csv(out)
    assert list(plain.columns) == ["text", "t", "=size", "y", "probability_=y", "probability_n"]
    assert set(plain.text) <= {name.strip() for name in names} | set(names)
    assert call(capsys, *arguments, "--escape-formulas")[0] == 0
    safe = pd.read_csv(out)
    assert list(safe.columns) == ["text", "t", "'=size", "y", "probability_=y", "probability_n"]
    expected = ["'" + text if text[0] in "=+-@\t" else text for text in plain.text]
    assert safe.text.tolist() == expected
    assert set(safe.y) <= {"n", "'=y"}
    assert safe.t.tolist() == plain.t.tolist() == [-1, 5, -2000] * 20  # numbers stay numbers
    assert "--escape-formulas is for CSV" in one_line(
        capsys, *arguments, "--escape-formulas", "-o", tmp_path / "o.parquet"
    )


def test_words_that_cost_rows_their_target_are_said(tmp_path, capsys):
    path = tmp_path / "levels.csv"
    path.write_text("x,level\n" + "".join(f"{i * i},{('1', '2', 'None')[i % 3]}\n" for i in range(60)))
    _, out, err = call(capsys, "train", path, "--target", "level", "--epochs", 1, "-o", tmp_path)
    assert "20 of 60 rows without a target are left out" in out
    assert "warning   level: 'None' read as missing, since all else are numbers; --missing overrules this" in err
    kept = call(capsys, "train", path, "--target", "level", "--missing", "", "--epochs", 1, "-o", tmp_path)[1]
    assert "left out" not in kept
    assert "1, 2, None" in kept


def test_a_file_without_a_header(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=50).round(3), "b": rng.normal(size=50).round(3), "y": ["u", "v"] * 25})
    path = tmp_path / "d.csv"
    frame.to_csv(path, index=False, header=False)
    learn = ["train", path, "--target", "column_3", "--epochs", 1, "-o", tmp_path]
    code, out, err = call(capsys, *learn)
    assert (code, out) == (2, "")
    said, error = err.splitlines()
    assert said.endswith("and looks like values; --no-header overrules this")
    assert "lacks the column 'column_3'; --no-header gives such names" in error
    code, out, err = call(capsys, *learn, "--no-header")
    assert (code, err) == (0, "")
    assert "40 samples to learn from, 10 held out" in out
    model = tmp_path / "d.safetensors"
    code, out, _ = call(capsys, "predict", model, path, "--no-header", "-o", "-", "--keep", "column_1")
    assert code == 0
    assert pd.read_csv(io.StringIO(out)).column_1.tolist() == frame.a.tolist()
    code, _, err = call(capsys, "predict", model, path, "-o", "-")
    assert (code, "; --no-header gives such names" in err) == (2, True)
    assert "--no-header goes with a file" in one_line(capsys, "train", "iris", "--no-header")


def test_predict_says_on_standard_error_how_it_read_the_file(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": rng.uniform(1000, 3000, 40).round(1), "when": pd.date_range("2024-01-01", periods=40)}
    )
    frame["kind"] = np.where(frame["size"] > 2000, "large", "small")
    frame.to_csv(tmp_path / "d.csv", index=False)
    call(capsys, "train", tmp_path / "d.csv", "--target", "kind", "--epochs", 1, "-o", tmp_path)
    new = frame.astype({"size": object})
    new["size"] = [f"{x:,.1f}".translate(str.maketrans(",.", ".,")) for x in frame["size"]]
    new.loc[3, "size"] = "n/a"
    new["note"] = "zoë, x"
    new.to_csv(tmp_path / "new.csv", index=False, sep=";", encoding="latin-1")
    code, out, err = call(capsys, "predict", tmp_path / "d.safetensors", tmp_path / "new.csv", "-o", tmp_path / "o.csv")
    assert code == 0
    assert err.splitlines() == [
        "warning   the file is not UTF-8: it is read as cp1252, where 'zoë' stands; --encoding overrules this",
        "warning   size: read so that 1.234,5 means 1234.5; --decimal and --thousands overrule this; "
        "'n/a' is read as missing",
        "warning   when: read as dates such as 2024-01-31",
    ]
    assert out.startswith("column    size: 1 missing, read as")
