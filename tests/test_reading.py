"""Files and streams as tables: what stands around the values."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
import zipfile

import numpy as np
import pandas as pd
import pytest

from fastbackprop import tables
from fastbackprop.tables import Category, Table

PLAIN = "name,size\nZoë,1\nTim,2\n"


def rows(source, **options):
    frame = tables.read(io.BytesIO(source) if isinstance(source, bytes) else source, **options)
    return frame.fillna("").to_numpy().tolist()


def tarred(content):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("a.csv")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def zipped(content, *more):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("a.csv", *more):
            file.writestr(name, content)
    return archive.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zipped, tarred])
def test_streams_are_unpacked(pack, tmp_path):
    content = PLAIN.encode()
    packed = pack(content) if pack is not tarred else gzip.compress(tarred(content))
    assert rows(packed) == [["Zoë", "1"], ["Tim", "2"]]


def test_archives_of_several_files():
    with pytest.raises(ValueError, match=r"an archive must hold one file, got 'a.csv', 'b.csv'"):
        tables.read(io.BytesIO(zipped(b"a\n1\n", "b.csv")))


def test_streams_of_text_and_parquet(tmp_path):
    assert rows(io.StringIO("\ufeff" + PLAIN)) == rows(PLAIN.encode())
    frame = pd.DataFrame({"a": [1.5, 2.5]})
    content = io.BytesIO()
    frame.to_parquet(content)
    pd.testing.assert_frame_equal(tables.read(io.BytesIO(content.getvalue())), frame)
    with pytest.raises(TypeError, match="source must be a path, or a file that can be read, got int"):
        tables.read(3)


@pytest.mark.skipif(os.name != "posix", reason="makes a named pipe")
@pytest.mark.parametrize("count", [3, 30_000])
def test_a_pipe_is_read_once(tmp_path, count):
    frame = pd.DataFrame({"a": np.arange(count) * 0.5, "b": "x"})
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: frame.to_csv(tmp_path / "pipe", index=False))
    writer.start()
    read = tables.read(tmp_path / "pipe")
    writer.join()
    assert read.a.astype(float).tolist() == frame.a.tolist()


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("utf-32", False), ("utf-16-le", True),
     ("utf-16-be", True), ("cp1252", True)],
)  # fmt: skip
def test_encodings(encoding, said):
    content = "größe;Preis\n„hoch“;1\ntief;€ 2\n".encode(encoding)
    frame = tables.read(io.BytesIO(content))
    assert list(frame.columns) == ["größe", "Preis"]
    assert frame.to_numpy().tolist() == [["„hoch“", "1"], ["tief", "€ 2"]]
    assert ["--encoding" in line for line in frame.attrs["guesses"]] == [True] * said
    assert tables.read(io.BytesIO(content), encoding=encoding).attrs["guesses"] == []


def test_an_encoding_that_does_not_fit():
    with pytest.raises(ValueError, match="it is not ascii text"):
        tables.read(io.BytesIO(PLAIN.encode()), encoding="ascii")
    with pytest.raises(ValueError, match="encoding must be one that Python knows, such as latin-1, got 'utf-9'"):
        tables.read(io.BytesIO(PLAIN.encode()), encoding="utf-9")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\n\n a ,b\n1,2\n", [["1", "2"]]),
        ("sep=|\na|b,c\n1|2,5\n", [["1", "2,5"]]),
        ('"sep=;"\r\n\r\na;b\r\n1;2\r\n', [["1", "2"]]),
        ("SEP=\t\na,b\tc\n1,5\t2\n", [["1,5", "2"]]),
        ("a\tb\n 1 \t x y \n\t\n", [["1", "x y"], ["", ""]]),
        ('a,"b\nc"\n"x ""y"" z","two\r\nlines"\n', [['x "y" z', "two\r\nlines"]]),
        ('a,"b;c;d"\n1,2\n', [["1", "2"]]),
        ('6" pipe,b\n1,2\n', [["1", "2"]]),
        ("a,b\r1,2\r\r3,4", [["1", "2"], ["3", "4"]]),
        ("a\n1\n\n3\n\n", [["1"], [""], ["3"], [""]]),
        ('a\n""\n" "\nx\n', [[""], [""], ["x"]]),
        ("a,b\n1\n", [["1", ""]]),
        ("a\x0bb,c\n1,2\n", [["1", "2"]]),
    ],
)
def test_what_stands_around_the_values(text, found):
    assert rows(text.encode()) == found


def test_names():
    frame = tables.read(io.StringIO('\ufeffsep=;\n "two\nwords" ;  x\xa0;<b>$a_1$\n1;2;3\n'))
    assert list(frame.columns) == ["two\nwords", "x", "<b>$a_1$"]
    with pytest.raises(ValueError, match=r"column names must differ, got 'a' more than once"):
        tables.read(io.StringIO("a, a ,b\n1,2,3\n"))


def test_what_is_wrong_is_counted_from_the_first_line():
    with pytest.raises(ValueError, match="line 5 holds 3 values, and line 3 has 2, with ',' between values"):
        tables.read(io.StringIO("sep=,\n\na,b\n1,2\n1,2,3\n"))


def test_guesses_about_a_file_can_be_overruled():
    frame = tables.read(io.StringIO("a;b,c\n1;2,3\n"))
    assert list(frame.columns) == ["a", "b,c"]
    assert frame.attrs["guesses"] == ["';' is read as what stands between values; --separator overrules this"]
    frame = tables.read(io.StringIO("a;b,c\n1;2,3\n"), separator=",")
    assert list(frame.columns) == ["a;b", "c"]
    assert frame.attrs["guesses"] == []
    (line,) = tables.read(io.StringIO("1,2.5\n3,4\n")).attrs["guesses"]
    words = "the first line is read as the names of the columns, '1', '2.5', and holds numbers only"
    assert line == f"{words}; --no-header overrules this"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"separator": ";;"}, "separator must be one character, and no quote or line break, got ';;'"),
        ({"separator": '"'}, "separator must be one character"),
        ({"decimal": "'"}, r"decimal must be '\.' or ',', got \"'\""),
        ({"thousands": "_"}, "thousands must be"),
        ({"decimal": ",", "thousands": ","}, "decimal and thousands must differ, got ',' for both"),
        ({"header": 0}, "header must be"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        tables.read(io.StringIO(PLAIN), **options)


def test_a_category_of_whole_numbers_is_one_in_parquet_too(tmp_path):
    frame = pd.DataFrame({"ward": pd.Categorical([11, 5, 11, 8]), "y": [*"uvuv"]})
    frame.to_parquet(tmp_path / "a.parquet")
    for table in (frame, tables.read(tmp_path / "a.parquet")):
        assert Table.fit(table, ["y"]).columns == (Category("ward", ("11", "5", "8"), False),)


# ---------------------------------------------------------------------- the first line, and lines of other lengths


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("5.1,3.5,1.4,rose", True), ("1,2,3,4", True), ("-1,2,x,y", True), ("1e-3,u,2,v", True),
        (",0,1,2", False), ("q,0.25,x,y", False), ("a,b,c,d", False), ("year,2019,2020,2021", False),
        ("v1.2,v1.3,x,y", False), ("x,$5.50,2024-01-31,45 %", True), ("a 1,b 2,c-3,d", False),
    ],
)  # fmt: skip
def test_a_first_line_that_looks_like_values_is_said(header, said):
    frame = tables.read(io.StringIO(f"{header}\n5,6,7,8\n"))
    assert [line.endswith("; --no-header overrules this") for line in frame.attrs["guesses"]] == [True] * said
    assert len(frame) == 1


@pytest.mark.parametrize("text", ["1,2.5,x\n3,4,y\n", "sep=,\n\n1 , 2.5,x\r\n3,4,y", "\ufeff1,2.5,x\n\n3,4,y\n"])
def test_a_file_without_a_header(text):
    frame = tables.read(io.StringIO(text), header=False)
    assert list(frame.columns) == ["column_1", "column_2", "column_3"]
    assert frame.to_numpy().tolist() == [["1", "2.5", "x"], ["3", "4", "y"]]
    assert frame.attrs["guesses"] == []


def test_a_column_without_a_header_keeps_its_blank_lines():
    assert rows(b"1\n\n3\n", header=False) == [["1"], [""], ["3"]]


def test_equal_values_in_a_first_line():
    with pytest.raises(ValueError, match="got '0' more than once; where the first line holds values, --no-header says"):
        tables.read(io.StringIO("0,1,0\n1,0,1\n"))
    assert rows(b"0,1,0\n1,0,1\n", header=False) == [["0", "1", "0"], ["1", "0", "1"]]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a,b\n1,2\n3,4,5\n6,7\n", {}, "line 3 holds 3 values, and line 1 has 2, with ',' between values; --separator"),
        ("a,b\n1,2,\n3,4,\n", {}, "line 2 holds 3 values, and line 1 has 2"),  # too many in every row
        ('a;b\n"x\ny";2\n\n"u\r\nv";3\n1;2;3;4\n', {}, "line 7 holds 4 values, and line 1 has 2, with ';'"),
        ("a\tb\n1\t2\t3\n4\t5\n", {}, "line 2 holds 3 values, and line 1 has 2, with a tab between"),
        ("1,2\n3,4\n5,6,7\n", {"header": False}, "line 3 holds 3 values, and line 1 has 2"),
        ('a,b\n1,2\n3,"4\n5,6\n', {}, r'line 3 holds a quotation mark \("\) that is not closed'),
    ],
)
def test_a_line_that_is_no_row_of_the_table_is_named(text, options, words):
    with pytest.raises(ValueError, match=words) as error:
        tables.read(io.StringIO(text), **options)
    assert "tokeniz" not in str(error.value)
    assert str(error.value).startswith("cannot read 'StringIO': ")


def test_rows_that_end_early_are_said():
    frame = tables.read(io.StringIO("a,b,c\n1,2,3\n4\n\n5,6\n7,8,\n"))
    assert frame.fillna("").to_numpy().tolist() == [["1", "2", "3"], ["4", "", ""], ["5", "6", ""], ["7", "8", ""]]
    words = "2 rows end before the last column, the first in line 3; their other values are missing"
    assert frame.attrs["guesses"] == [words]
    (line,) = tables.read(io.StringIO('a,b\n"1\n",2\n3\n')).attrs["guesses"]
    assert line == "a row ends before the last column, line 4; its other values are missing"


@pytest.mark.parametrize(
    ("options", "words"),
    [({"separator": ";"}, "--separator"), ({"encoding": "utf-8"}, "--encoding"), ({"header": False}, "--no-header")],
)
def test_what_goes_with_csv_is_refused_for_parquet(options, words, tmp_path):
    pd.DataFrame({"a": [1.5]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=f"{words} goes with CSV, and this is Parquet"):
        tables.read(tmp_path / "a.parquet", **options)
    assert tables.read(tmp_path / "a.parquet", decimal=",").a.tolist() == [1.5]


def test_names_that_lack_say_which_option_makes_them():
    one = tables.read(io.StringIO("a:b:y\n1:2:u\n"))
    with pytest.raises(
        ValueError, match=r"lacks the column 'y'; --separator ':' makes columns of it \(its columns: 'a:b:y'"
    ):
        tables.require_columns(one, ["y"])
    values = tables.read(io.StringIO("1,u\n2,v\n"))
    with pytest.raises(ValueError, match="lacks the column 'column_2'; --no-header gives such names"):
        tables.require_columns(values, ["column_2"])
