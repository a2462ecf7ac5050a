"""What a column is, guessed from its values: the guess, what is said about it, and the option that overrules it."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastbackprop import tables
from fastbackprop.tables import Category, Date, Number, Table

ROWS = 48
Y = ["up", "down", "down"] * (ROWS // 3)


def fitted(values, text=None, **options):
    """The column ``a`` of a file with these values, over and over, and what was said about it."""
    read = {k: options.pop(k) for k in ("separator", "decimal", "thousands") if k in options}
    cells = [values[i % len(values)] for i in range(ROWS)]
    separator = read.get("separator", ";")
    lines = [f'"{cell}"{separator}{y}' for cell, y in zip(cells, Y)]
    frame = tables.read(io.StringIO("\n".join([f"a{separator}y", *lines, ""])), **read)
    table = Table.fit(frame, ["y"], **options)
    return table.columns[0], table.guesses.get("a", ""), table


# ---------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["1,204.50", "87.25", "-3,000"], [1204.5, 87.25, -3000]),
        (["1.204,50", "87,25", "-3.000"], [1204.5, 87.25, -3000]),
        (["2.001.204", "12.000"], [2001204, 12000]),
        (["12,34,567.5", "1"], [1234567.5, 1]),
        (["1 204,5", "2\u202f000"], [1204.5, 2000]),
        (["1'204.5", "2\u2019000.25"], [1204.5, 2000.25]),
        (["+0,5", "1,25e-3", ",75"], [0.5, 0.00125, 0.75]),
        (["\u22125", "7"], [-5, 7]),
    ],
)
def test_marks_between_digits(values, numbers):
    column, said, table = fitted(values)
    assert isinstance(column, Number)
    X = table.transform(pd.DataFrame({"a": values})) * column.scale + column.mean
    np.testing.assert_allclose(X[:, 0], numbers, rtol=1e-12)
    assert said.startswith("read so that") or "\u2212" in values[0]
    # the same numbers as numbers, and in a JSON of the table
    again = Table.from_json(table.to_json())
    assert again == table
    np.testing.assert_allclose(
        again.transform(pd.DataFrame({"a": numbers})), table.transform(pd.DataFrame({"a": values}))
    )


@pytest.mark.parametrize(
    ("values", "read", "first"),
    [
        (["1,204", "3,500"], {}, 1.204),  # between semicolons
        (["1,204", "3,500"], {"separator": "|"}, 1204),
        (["1,204", "3,500"], {"thousands": ","}, 1204),
        (["1.204", "3.500"], {}, 1.204),
        (["1.204", "3.500"], {"decimal": ","}, 1204),
        (["1.204", "3.500"], {"thousands": "."}, 1204),
        (["1,204", "3,500"], {"separator": "|", "decimal": ","}, 1.204),
        (["1,204", "3,500"], {"separator": "|", "thousands": ""}, None),
    ],
)
def test_marks_with_two_meanings(values, read, first):
    column, _, _ = fitted(values, **read)
    if first is None:
        assert isinstance(column, Category)
    else:
        assert min(column.mean, column.fill) > first == pytest.approx(column.mean - column.scale)


def test_other_columns_decide_on_marks_with_two_meanings():
    text = "a,b,y\n" + "".join(f'"1.20{i}","{i},5",{"uv"[i % 2]}\n' for i in range(10))
    a, b = Table.fit(tables.read(io.StringIO(text)), ["y"]).columns
    assert (a.fill, b.fill) == (1204.5, 5.0)


def test_what_is_predicted_is_read_as_what_was_learned():
    *_, table = fitted(["1,204.50", "87.25", "-3,000"], separator="|")
    for text, value in (('a\n"2,500"\n', 2500), ("a;b\n2,500;x\n", 2500), ("a\n2.5\n", 2.5), ("a;b\n0,5;x\n", 0.5)):
        read = tables.read(io.StringIO(text))
        assert np.array_equal(table.transform(read), table.transform(pd.DataFrame({"a": [value]})))


@pytest.mark.parametrize("values", [["1,2,3", "4"], ["1,2345.5", "3"], ["1.2.3", "4.5.6"], ["1,234 567", "2"]])
def test_marks_that_make_no_number(values):
    assert isinstance(fitted(values)[0], Category)


def test_targets_with_marks():
    frame = pd.DataFrame({"a": np.arange(9.0) ** 2, "y": [f"{i}.000,5" for i in range(1, 9)] + ["-"]})
    known = frame[tables.has_targets(frame, ["y"])]
    assert tables.infer_task(known, ["y"]) == "regression"
    table = Table.fit(known, ["y"])
    y = table.encode_targets(known) * table.scale + table.mean
    np.testing.assert_allclose(y[:, 0], np.arange(1, 9) * 1000 + 0.5)
    assert table.has_targets(frame).tolist() == [True] * 8 + [False]
    with pytest.raises(ValueError, match="target 'y' must not be missing, got 1 such rows"):
        Table.fit(frame, ["y"])


# ---------------------------------------------------------------------- missing


@pytest.mark.parametrize("word", [".", "-", "?", "NA", "n/a", "None", "NULL", "#DIV/0!", "nan", "—"])
def test_words_among_numbers_are_missing(word):
    column, said, table = fitted(["1.5", word, "3"])
    assert (type(column), column.fill) == (Number, 2.25)
    assert said == f"'{word}' is read as missing; --missing overrules this"
    assert table.irregular(pd.DataFrame({"a": ["1", word, None]})) == {"a": "2 missing, read as 2.25"}
    column, said, table = fitted(["1.5", word, "3"], missing=[])
    assert column == Category("a", tuple(sorted(["1.5", word, "3"])), False)
    assert said == ""
    assert fitted(["1.5", word, "3"], categorical=["a"])[0].values == tuple(sorted(["1.5", word, "3"]))


def test_words_that_the_user_names_are_missing_everywhere():
    for values in (["1.5", "unknown", "3"], ["x", "unknown", "y"], ["1", "-99", "2"]):
        column, _, table = fitted(values, missing=["unknown", "-99"])
        assert column == (
            Category("a", ("x", "y"), True)
            if "x" in values
            else Number("a", *(column.fill,), column.mean, column.scale)
        )
        again = Table.from_json(table.to_json())
        for missing in (None, values[1]):
            X = again.transform(pd.DataFrame({"a": [missing]}))
            assert np.array_equal(X, table.transform(pd.DataFrame({"a": [None]})))
    frame = pd.DataFrame({"a": [1, -99, 3, 5], "y": [*"uvuv"]})
    assert Table.fit(frame, ["y"], missing=["-99"]).columns[0].fill == 3


@pytest.mark.parametrize("word", ["None", "NA", "null", "nan", "N/A", "-"])
def test_a_class_of_any_name_is_a_class(word):
    text = "a,y\n" + "".join(f"{i * i},{(word, 'CA', 'NV')[i % 3]}\n" for i in range(12)) + "7,\n"
    frame = tables.read(io.StringIO(text))
    known = tables.has_targets(frame, ["y"])
    assert known.tolist() == [True] * 12 + [False]
    table = Table.fit(frame[known], ["y"])
    assert set(table.classes) == {word, "CA", "NV"}
    assert table.guesses["y"] == f"'{word}' is a class like others, not missing; --missing overrules this"
    assert table.encode_targets(frame[known])[:3].tolist() == [table.classes.index(c) for c in (word, "CA", "NV")]
    assert tables.has_targets(frame, ["y"], missing=[word]).sum() == 8


# ---------------------------------------------------------------------- codes and categories


@pytest.mark.parametrize(
    "codes",
    [
        ["007", "012", "100"],
        ["45E2", "12E7", "31E1"],
        ["9007199254740993", "12345678901234567890", "3"],
        ["00", "01", "1"],
    ],
)
def test_codes_are_no_numbers(codes):
    column, said, _ = fitted(codes)
    assert column == Category("a", tuple(sorted(codes)), False)
    assert "looks like a code" in said
    column, said, _ = fitted(codes, numeric=["a"])
    assert (type(column), said) == (Number, "")
    target = Table.fit(pd.DataFrame({"x": np.arange(9) ** 2, "y": codes * 3}), ["y"])
    assert target.classes == tuple(sorted(codes))
    assert "looks like a code" in target.guesses["y"]
    assert set(target.decode(np.eye(3)).y) == set(codes)


@pytest.mark.parametrize(
    "numbers", [["1e5", "2e-3"], ["1E5", "12"], ["0.5", "007.25"], ["12e3", "1.5"], ["-07", "5"], ["0", "10"]]
)
def test_numbers_that_are_no_codes(numbers):
    assert isinstance(fitted(numbers)[0], Number)


def test_whole_numbers_beyond_floats_are_codes_in_any_frame():
    frame = pd.DataFrame({"a": [1 << 60, (1 << 60) + 1] * 20, "y": [*"uuvv"] * 10})
    assert Table.fit(frame, ["y"]).columns == (Category("a", (str(1 << 60), str((1 << 60) + 1)), False),)


@pytest.mark.parametrize("values", [[4, 9, 4, 2], [0.5, 1.5, 0.5, 2.5], [True, False, True, True], [*"abab"]])
def test_what_pandas_holds_as_a_category_is_one(values):
    frame = pd.DataFrame({"a": pd.Categorical(values * 10), "b": np.arange(40) ** 2.0})
    table = Table.fit(frame, ["b"])
    assert table.columns[0] == Category("a", tuple(sorted({str(value) for value in values})), False)
    assert isinstance(Table.fit(frame, ["b"], numeric=["a"] if values[0] == 4 else []).columns[0], Number) == (
        values[0] == 4
    )
    assert tables.infer_task(frame, ["a"]) == "classification"
    decoded = Table.fit(frame, ["a"]).decode(np.eye(len(set(values)))).a
    assert set(decoded) == set(values)
    assert decoded.dtype == "category"


# ---------------------------------------------------------------------- targets come back as they were


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16", "Int64", "bool", "boolean", "int64[pyarrow]"])
def test_predicted_classes_have_the_dtype_of_the_target(dtype, tmp_path):
    frame = pd.DataFrame({"a": np.arange(12) ** 2, "y": pd.Series([0, 1, 1] * 4).astype(dtype)})
    table = Table.from_json(Table.fit(frame, ["y"]).to_json())
    decoded = table.decode(np.array([[0.1, 0.9], [0.8, 0.2]]))
    assert str(decoded.y.dtype) == dtype.removesuffix("[pyarrow]")
    assert decoded.y.tolist() == [1, 0]
    assert table.encode_targets(decoded).tolist() == [1, 0]


def test_predicted_whole_numbers_from_text():
    frame = tables.read(io.StringIO("a,y\n1,10\n4,9\n9,10\n5,9\n"))
    decoded = Table.fit(frame, ["y"]).decode(np.eye(2))
    assert decoded.y.tolist() == [9, 10]
    assert decoded.y.dtype == "int64"
    assert Table.fit(frame.assign(y=["1.5", "2"] * 2), ["y"], task="classification").decode(np.eye(2)).y.tolist() == [
        "1.5",
        "2",
    ]


def test_tables_of_earlier_versions(tmp_path):
    old = {
        "columns": [{"kind": "category", "name": "b", "values": ["x", "y"], "missing": True},
                    {"kind": "number", "name": "a", "fill": 1.0, "mean": 0.0, "scale": 2.0}],
        "targets": ["t"], "task": "classification", "classes": ["0", "1"], "mean": [], "scale": [], "left_out": {},
    }  # fmt: skip
    table = Table.from_json(json.dumps(old))
    X = table.transform(tables.read(io.StringIO("a,b\n4,NA\n?,x\n,\n")))
    assert X.tolist() == [[0, 0, 1, 2], [1, 0, 0, 0.5], [0, 0, 1, 0.5]]
    assert table.decode(np.eye(2)).t.tolist() == ["0", "1"]


# ---------------------------------------------------------------------- dates


def days(start, count, step):
    return pd.Series(pd.date_range(start, periods=count, freq=step))


@pytest.mark.parametrize(
    ("form", "step", "width"),
    [("%Y-%m-%d", "5D", 5), ("%d.%m.%Y", "5D", 5), ("%m/%d/%Y", "5D", 5), ("%d/%m/%y", "5D", 5), ("%b %d, %Y", "5D", 5),
     ("%Y-%m-%d %H:%M", "7h", 7), ("%d.%m.%Y %H:%M:%S", "7h", 7), ("%Y-%m-%dT%H:%M:%S+02:00", "7h", 7),
     ("%Y-%m-%d", "7D", 3)],
)  # fmt: skip
def test_dates_are_time_that_has_passed_and_places_in_cycles(form, step, width):
    when = days("2023-03-01", 200, step)
    y = np.arange(200) ** 2.0
    table = Table.fit(pd.DataFrame({"when": when.dt.strftime(form), "y": y}), ["y"])
    (column,) = table.columns
    assert (type(column), column.width) == (Date, width)
    if "T" not in form:  # that is in another zone
        same = Table.fit(pd.DataFrame({"when": when, "y": y}), ["y"])
        assert np.array_equal(
            same.transform(pd.DataFrame({"when": when})),
            table.transform(pd.DataFrame({"when": when.dt.strftime(form)})),
        )
    X = table.transform(pd.DataFrame({"when": [*when.dt.strftime(form)[:9], None]}))
    hours = (when - when[0]).dt.total_seconds().to_numpy()
    np.testing.assert_allclose(np.diff(X[:9, 0]), np.diff(hours / hours.std())[:8], rtol=1e-9)
    angle = 2 * np.pi * (when.dt.day_of_year - 1) / 365.2425
    if "T" not in form:
        np.testing.assert_allclose(X[:9, 1], np.sin(angle)[:9], atol=1e-12)
    if width > 3:
        written = "ISO8601" if "T" in form else form
        utc = pd.to_datetime(when.dt.strftime(form), format=written, utc=True)
        np.testing.assert_allclose(X[:9, 3], np.sin(2 * np.pi * utc.dt.day_of_week / 7)[:9], atol=1e-9)
    if width == 7 and "T" not in form:
        np.testing.assert_allclose(X[:9, 6], np.cos(2 * np.pi * when.dt.hour / 24)[:9], atol=1e-9)
    assert not X[9, 1:].any()
    assert Table.from_json(table.to_json()) == table


def test_dates_from_csv_and_parquet_are_the_same(tmp_path):
    frame = pd.DataFrame(
        {"when": days("2024-01-30", 40, "31h"), "day": days("2024-01-30", 40, "D").dt.date, "y": Y[:40]}
    )
    frame.loc[3, "when"] = None
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    csv, parquet = (tables.read(tmp_path / name) for name in ("a.csv", "a.parquet"))
    table = Table.fit(parquet, ["y"])
    assert [type(column) for column in table.columns] == [Date, Date]
    assert table.columns == Table.fit(csv, ["y"]).columns == Table.fit(frame, ["y"]).columns
    assert np.array_equal(table.transform(csv), table.transform(parquet))


def test_dates_are_said_and_overruled():
    values = [f"0{i % 9 + 1}/0{i % 7 + 1}/2024" for i in range(ROWS)]
    column, said, _ = fitted(values)
    assert column.format == "%m/%d/%Y"
    assert said == ("read as dates such as 01/31/2024, the month first, though the day may be; "
                    "--date-format and --categorical overrule this")  # fmt: skip
    assert fitted(values, date_format="%d/%m/%Y")[0].format == "%d/%m/%Y"
    assert isinstance(fitted(values, categorical=["a"])[0], Category)
    assert fitted([*values[:-1], "31/05/2024"])[0].format == "%d/%m/%Y"
    column, said, table = fitted([*values[:3], "NA"])
    assert isinstance(column, Date)
    assert "'NA' is read as missing" in said
    with pytest.raises(ValueError, match="column 'a' must hold dates such as 01/31/2024, got 'soon' in row 2"):
        table.transform(pd.DataFrame({"a": [values[0], "soon"]}))


@pytest.mark.parametrize(
    "values", [["May", "June"], ["10.1.20", "10.1.20.5"], ["12:30", "13:45"], ["A-1-2024", "B"], ["1-2", "3-4"]]
)
def test_what_is_no_date(values):
    assert isinstance(fitted(values)[0], Category)


# ---------------------------------------------------------------------- frames of others, and the seed


def test_damaged_dates():
    whole = {
        "kind": "date",
        "name": "a",
        "format": "ISO8601",
        "fill": 1.0,
        "mean": 1.0,
        "scale": 1.0,
        "cycles": ["day"],
    }
    rest = {"targets": ["y"], "task": "regression", "classes": [], "mean": [0.0], "scale": [1.0], "left_out": {}}
    assert Table.from_json(json.dumps(rest | {"columns": [whole]})).inputs == 3
    for bad in ({"mean": 1e300}, {"cycles": ["hour"]}, {"cycles": ["day", "day"]}, {"format": 3}, {"scale": 0.0}):
        with pytest.raises(ValueError, match="not the preprocessing of a table, or a damaged one"):
            Table.from_json(json.dumps(rest | {"columns": [whole | bad]}))
    for bad in ({"spelled": {"a": ["x", "y"]}}, {"missing": [1]}, {"dtype": "int64"}, {"categorical": 1}):
        with pytest.raises(ValueError, match="not the preprocessing of a table, or a damaged one"):
            Table.from_json(json.dumps(rest | {"columns": [whole]} | bad))


def test_frames_of_polars_and_arrow():
    frame = pd.DataFrame({"n": [1.5, None, 4.0, 2.0] * 5, "t": ["x", "y", None, "x"] * 5, "f": [True, False] * 10,
                          "d": days("2024-01-01", 20, "D"), "y": [3, 1] * 10})  # fmt: skip
    table = Table.fit(frame, ["y"])
    for other in (pl.from_pandas(frame), pa.Table.from_pandas(frame), pa.table(pl.from_pandas(frame))):
        same = Table.fit(other, ["y"])
        assert same.columns == table.columns
        assert np.array_equal(same.transform(other), table.transform(frame))
        assert same.encode_targets(other).tolist() == table.encode_targets(frame).tolist()
        assert tables.infer_task(other, ["y"]) == "classification"
    with pytest.raises(TypeError, match=r"must be a DataFrame of pandas or polars, .* got polars\S*LazyFrame"):
        table.transform(pl.LazyFrame({"n": [1]}))


def test_whether_a_column_is_used_does_not_depend_on_the_rows_learned_from():
    """Where these have one value only, the others say what is usual."""
    frame = pd.DataFrame(
        {
            "rare": [0.0] * 19 + [5.0], "late": [None] * 10 + [2.0, 3.0] * 5, "word": ["x"] * 19 + ["z"],
            "new": [None] * 10 + [*"pq"] * 5, "when": ["2024-01-01"] * 19 + ["2024-03-01"], "y": [*"uv"] * 10,
        }
    )  # fmt: skip
    every = Table.fit(frame, ["y"])
    first = Table.fit(frame, ["y"], rows=np.arange(10))
    assert [column.name for column in every.columns] == [column.name for column in first.columns]
    assert first.left_out == every.left_out == {}
    assert np.isfinite(first.transform(frame)).all()


def test_what_is_said_has_one_line():
    frame = pd.DataFrame({"a\nb": ["007\x1b[31m", "x"] * 6, "c": ["1", "2\n"] * 6, "y": [*"uuv"] * 4})
    assert str(Table.fit(frame, ["y"]).columns[0]) == r"a\nb: category, 007\x1b[31m, x"
    with pytest.raises(ValueError, match=r"lacks the column 'z' \(its columns: 'a\\nb', 'c', 'y'\)"):
        tables.require_columns(frame, ["z"])


def test_thousands_of_columns_are_read_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(12, 50)).round(3)).rename(columns="g{}".format)
    text = frame.astype(str).assign(g7=[".", "1"] * 6, g30=["x", "y"] * 6, y=[*"uuv"] * 4)
    whole = Table.fit(text, ["y"])
    monkeypatch.setattr("fastbackprop.tabular.spelling.BLOCK", 12 * 3)
    assert Table.fit(text, ["y"]) == whole
    assert [column.name for column in whole.columns] == list(frame.columns)
    X = whole.transform(text)[:, :7]
    np.testing.assert_allclose(X, (frame.iloc[:, :7] - frame.iloc[:, :7].mean()) / frame.iloc[:, :7].std(ddof=0))


def test_words_alone_are_values():
    """None and NA as the only classes, or categories, of a column are what a person wrote."""
    frame = pd.DataFrame({"a": np.arange(8.0) ** 2, "kind": ["None", "NA"] * 4, "y": ["NA", "None", None, "NA"] * 2})
    assert tables.has_targets(frame, ["y"]).tolist() == [True, True, False, True] * 2
    known = frame[tables.has_targets(frame, ["y"])]
    table = Table.fit(known, ["y"])
    assert (table.task, table.classes) == ("classification", ("NA", "None"))
    assert [type(column).__name__ for column in table.columns] == ["Number", "Category"]
    assert tables.words_for_missing(frame, ["y"]) == []
    numbers = pd.DataFrame({"y": ["1", "None", "2", None]})
    assert tables.words_for_missing(numbers, ["y"]) == ["None"]
    assert tables.has_targets(numbers, ["y"]).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("values", "separator", "said"),
    [
        (["2.077", "665", "1.250"], ";", True),
        (["2.077", ".", "1.250", "12.000.000"], ";", False),  # two points: thousands, and read so or refused
        (["2.077", "665", "1.25"], ";", False),
        (["0.077", "665", "1.250"], ";", False),
        (["2.077", "665", "1.250"], ",", False),
    ],
)
def test_points_that_may_stand_between_thousands_are_said(values, separator, said, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(separator.join("py") + "\n" + "".join(f"{v}{separator}{i}x\n" for i, v in enumerate(values)))
    table = Table.fit(tables.read(path), ["y"], task="classification")
    assert ("not as thousands" in table.guesses.get("p", "")) is said
