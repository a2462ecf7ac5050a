"""Tables: what becomes of columns, against scikit-learn's transformers, and what is refused."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastbackprop import datasets, tables
from fastbackprop.tables import Category, Number, Table

ROWS = 60


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(ROWS) < 0.2, np.nan, rng.integers(1, 80, ROWS)),
            "fare": rng.lognormal(3, 1, ROWS),
            "sex": rng.choice(["male", "female"], ROWS),
            "cabin": rng.choice(np.array(["C", "A", None], object), ROWS),
            "alone": rng.choice([True, False], ROWS),
            "class": rng.choice([1, 2, 3], ROWS),
        }
    )


def test_inputs_are_those_of_scikit_learn(frame):
    learn, others = frame.iloc[:40], frame.iloc[40:].copy()
    others.iloc[0, 2] = "unknown"
    table = Table.fit(frame, ["class"], rows=np.arange(40))
    # a missing text is a category of its own
    texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="~"), OneHotEncoder(handle_unknown="ignore"))
    theirs = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["age", "fare"]),
        (texts, ["sex", "cabin", "alone"]),
        sparse_threshold=0,
    )

    def plain(part):
        return part.astype({"sex": object, "cabin": object}).where(part.notna(), np.nan).astype({"alone": str})

    theirs.fit(plain(learn))
    for part in (learn, others):
        np.testing.assert_allclose(table.transform(part), theirs.transform(plain(part)), rtol=1e-12)
    assert not table.transform(others)[0, 2:4].any()


def test_the_order_of_columns_and_further_columns_do_not_matter(frame):
    table = Table.fit(frame, ["class"])
    other = frame[frame.columns[::-1]].drop(columns="class").assign(more="x")
    assert np.array_equal(table.transform(other), table.transform(frame))


def test_what_a_csv_file_says_is_what_a_frame_says(frame, tmp_path):
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    whole = Table.fit(frame, ["class"])
    for name in ("a.csv", "a.parquet"):
        read = tables.read(tmp_path / name)
        assert Table.fit(read, ["class"]) == whole
        assert np.array_equal(whole.transform(read), whole.transform(frame))
        assert np.array_equal(whole.encode_targets(read), whole.encode_targets(frame))


@pytest.mark.parametrize("end", ["", ".gz", ".bz2", ".xz", ".zip"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_compression(tmp_path, end, separator):
    frame = pd.DataFrame({"a, b": ["x, y", "ü"], "c": ["1", None]})
    path = tmp_path / f"a.csv{end}"
    frame.to_csv(path, index=False, sep=separator, encoding="utf-8-sig" if not end else "utf-8")
    read = tables.read(path)
    assert list(read.columns) == ["a, b", "c"]
    assert read["a, b"].tolist() == ["x, y", "ü"]
    assert read["c"].isna().tolist() == [False, True]


def test_spaces_around_names_and_before_values(tmp_path):
    (tmp_path / "a.csv").write_text(" a , b\n1, x\n2.5, y\n")
    read = tables.read(tmp_path / "a.csv")
    assert list(read.columns) == ["a", "b"]
    assert read["b"].tolist() == ["x", "y"]
    assert tables.infer_task(read, ["a"]) == "regression"


def test_decimal_commas_between_semicolons(tmp_path):
    """The same table, written as in two countries, is read alike, also a single row of it."""
    frame = datasets.load_frame("diabetes")[0].assign(small=-1.5e-30, name="a,b", date="1.2.2024")
    frame.loc[3, "bp"] = np.nan
    frame.to_csv(tmp_path / "point.csv", index=False)
    frame.to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",")
    assert "0,05" in (tmp_path / "comma.csv").read_text()
    table = Table.fit(frame, ["target"])
    comma = Table.fit(tables.read(tmp_path / "comma.csv"), ["target"])
    assert (comma.columns, comma.mean, comma.scale) == (table.columns, table.mean, table.scale)
    assert (
        comma.left_out
        == table.left_out
        == {"small": "has one value only", "name": "has one value only"} | {"date": "has one value only"}
    )
    one = frame.iloc[[7]]
    one.to_csv(tmp_path / "one.csv", index=False, sep=";", decimal=",")
    for fitted in (table, comma):
        for read in (tables.read(tmp_path / "one.csv"), one):
            assert np.array_equal(fitted.transform(read), table.transform(one))
            assert np.array_equal(fitted.encode_targets(read), table.encode_targets(one))


def test_commas_that_are_perhaps_none_of_decimals_stay(tmp_path):
    (tmp_path / "a.csv").write_text("a;b;c;d;e;y\n999.5;1,2;1,5;1,234,567;1,234;u\n1,234;x;,5;2;17,006;v\n")
    read = tables.read(tmp_path / "a.csv")
    X = Table.fit(read, ["y"], categorical=["b"])
    assert {column.name: column.fill for column in X.columns if isinstance(column, Number)} == {
        "a": (999.5 + 1234) / 2, "c": 1.0, "d": (1234567 + 2) / 2, "e": (1.234 + 17.006) / 2,
    }  # fmt: skip
    assert X.columns[1].values == ("1,2", "x")


def test_words_are_missing_among_numbers_and_values_elsewhere(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,x\n?,y\n3, ?\nNA,?!\n")
    read = tables.read(tmp_path / "a.csv")
    assert not read.isna().any(axis=None)
    table = Table.fit(read.assign(y=[1, 2, 1, 2]), ["y"], categorical=["b"])
    assert table.columns == (Number("a", 2.0, 2.0, np.sqrt(0.5)), Category("b", ("?", "?!", "x", "y"), False))
    assert set(table.guesses) == {"a", "b"}
    assert "'?', 'NA' are each read as missing" in table.guesses["a"]


def test_columns_that_are_nearly_numbers(frame):
    odd = frame.astype({"fare": object})
    odd.loc[[5, 9], "fare"] = ["free", "none"]
    odd["half"] = ["1", "x"] * (ROWS // 2)
    assert tables.nearly_numbers(odd, list(odd.columns)) == {
        "fare": f"{ROWS - 2} of {ROWS - 1} values are numbers, not 'free' in row 6"
    }


def test_columns_without_information_are_left_out(frame):
    text = [f"person {i}" for i in range(ROWS)]
    useless = frame.assign(
        id=np.arange(1, ROWS + 1), passenger_id=np.random.default_rng(1).permutation(ROWS) + 1000, name=text,
        one=1.5, same="x", empty=np.nan, infinite=np.inf, huge=np.where(np.arange(ROWS) % 2, 1e308, -1e308),
    )  # fmt: skip
    table = Table.fit(useless, ["class"])
    assert table.left_out == {
        "id": "numbers the rows", "passenger_id": "numbers the rows", "one": "has one value only",
        "name": "has a text of its own in nearly every row", "same": "has one value only",
        "empty": "has no value to learn from", "infinite": "has no value to learn from",
        "huge": "has numbers too large or too close to be standardised",
    }  # fmt: skip
    assert table.columns == Table.fit(frame, ["class"]).columns
    # years count on too, but not from 0 or 1
    assert Table.fit(frame.assign(year=np.arange(ROWS) + 1950), ["class"]).left_out == {}


def test_the_user_knows_better(frame):
    table = Table.fit(frame.assign(id=np.arange(ROWS)), ["class"], numeric=["id"], categorical=["age"])
    kinds = {column.name: type(column) for column in table.columns}
    assert kinds["id"] is Number
    assert kinds["age"] is Category
    assert all(value.isdigit() for value in table.columns[0].values)  # 7, not 7.0


def test_rare_categories_are_read_as_unknown():
    values = [f"c{i % 150}" for i in range(301)]
    table = Table.fit(pd.DataFrame({"a": values, "y": np.arange(301) % 2}), ["y"], categorical=["a"])
    assert table.inputs == tables.MOST_CATEGORIES
    assert table.columns[0].values[0] == "c0"  # there three times


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 30, "classification"),
        ([True, False] * 30, "classification"),
        ([0, 1] * 30, "classification"),
        ([1.0, 2.0] * 30, "classification"),
        ([1.0, 2.5] * 30, "regression"),
        (list(range(60)), "regression"),
    ],
)
def test_the_task_is_inferred(frame, values, task):
    assert tables.infer_task(frame.assign(y=values), ["y"]) == task
    assert Table.fit(frame.assign(y=values), ["y"]).task == task


def test_class_labels_keep_their_names_and_order(frame):
    table = Table.fit(frame.assign(y=[10.0, 9.0] * 30), ["y"])
    assert table.classes == ("9", "10")
    decoded = table.decode(np.array([[0.25, 0.75], [0.9, 0.1]], np.float32))
    assert decoded["y"].tolist() == [10, 9]
    assert decoded["probability_10"].tolist() == [0.75, np.float32(0.1)]
    assert table.encode_targets(decoded).tolist() == [1, 0]


def test_values_come_back_in_the_units_of_the_target(frame):
    y = frame[["fare"]].assign(double=2 * frame["fare"] + 1e6)
    table = Table.fit(frame.assign(double=y["double"]), ["fare", "double"])
    learned = table.encode_targets(y)
    np.testing.assert_allclose(learned, StandardScaler().fit_transform(y), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(table.decode(learned), y, rtol=1e-12)


numbers = st.floats(allow_nan=False, allow_infinity=False)
scales = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"), max_size=5)


@settings(deadline=None, max_examples=60)
@given(texts, numbers, numbers, scales, st.lists(texts, min_size=2, unique=True, max_size=5), st.booleans())
def test_json_gives_everything_back(name, fill, mean, scale, values, missing):
    columns = (Number(name, fill, mean, scale), Category(name + "'", tuple(values), missing))
    for table in (
        Table(columns, ("y",), "classification", tuple(values), left_out={name: "why"}),
        Table(columns, ("y",), "regression", (), (mean,), (scale,)),
    ):
        again = Table.from_json(table.to_json())
        assert again == table
        assert again.to_json() == table.to_json()
        assert np.array(again.columns[0].mean).tobytes() == np.array(mean).tobytes()


GOOD = {
    "columns": [
        {"kind": "number", "name": "a", "fill": 0.0, "mean": 0.0, "scale": 1.0},
        {"kind": "category", "name": "b", "values": ["x"], "missing": True},
    ],
    "targets": ["y"], "task": "regression", "classes": [], "mean": [0.0], "scale": [1.0], "left_out": {},
}  # fmt: skip
A, B = GOOD["columns"]


def test_the_whole_of_which_the_parts_below_are_spoilt():
    assert Table.from_json(json.dumps(GOOD)).inputs == 3


@pytest.mark.parametrize(
    "spoilt",
    [
        {"columns": []}, {"columns": [A, A]}, {"columns": [A | {"kind": "code"}]}, {"columns": [A | {"scale": 0}]},
        {"columns": [A | {"mean": float("nan")}]}, {"columns": [A | {"mean": "0"}]}, {"columns": [A | {"fill": None}]},
        {"columns": [A | {"name": 3}]}, {"columns": [A | {"more": 1}]}, {"columns": [B | {"values": []}]},
        {"columns": [B | {"values": ["x", "x"]}]}, {"columns": [B | {"values": [1]}]},
        {"columns": [B | {"missing": 1}]},
        {"columns": "ab"}, {"columns": None}, {"columns": [A | {"fill": 10**400}]}, {"targets": []}, {"targets": None},
        {"targets": ["y", "z"]}, {"task": "ranking"}, {"task": "classification"}, {"classes": ["u", "v"]},
        {"scale": [-1.0]}, {"mean": []}, {"left_out": []}, {"extra": 1},
    ],
)  # fmt: skip
def test_damaged_json(spoilt):
    with pytest.raises(ValueError, match="not the preprocessing of a table, or a damaged one"):
        Table.from_json(json.dumps(GOOD | spoilt))


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", "[" * 100000, "__import__('os')"])
def test_what_is_no_table(text):
    with pytest.raises(ValueError, match="not the preprocessing of a table"):
        Table.from_json(text)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"targets": ["clas"]}, "lacks the column 'clas'; did you mean 'class'"),
        ({}, {"targets": ["CLASS"]}, r"lacks the column 'CLASS'; did you mean 'class'\?"),
        ({}, {"targets": ["target"]}, r"lacks the column 'target' \(its columns: 'age'"),
        ({}, {"targets": ["class"], "numeric": ["sex"]}, r"'sex' must hold numbers, got '\w+' in row 1"),
        ({}, {"targets": ["class"], "categorical": ["nothing"]}, "lacks the column 'nothing'"),
        ({}, {"targets": ["class"], "task": "ranking"}, "task must be one of"),
        ({}, {"targets": ["sex", "class"], "task": "classification"}, "must have one target, got 2"),
        ({}, {"targets": ["sex"], "task": "regression"}, "column 'sex' must hold numbers"),
        ({}, {"targets": ["age"]}, "target 'age' must not be missing, got"),
        ({"y": "a"}, {"targets": ["y"]}, "at least two different values, got one only, a"),
        ({"y": [f"t{i}" for i in range(ROWS)]}, {"targets": ["y"]}, "60 classes in 60 rows; .* 't0' in row 1"),
        ({"y": [np.inf, *range(ROWS - 1)]}, {"targets": ["y"], "task": "regression"}, "'y' must be finite"),
    ],
)
def test_bad_arguments(frame, change, options, words):
    with pytest.raises(ValueError, match=words):
        Table.fit(frame.assign(**change), **options)


def test_nothing_left_to_learn_from():
    with pytest.raises(ValueError, match=r"no column is left to learn from \('a': has one value only"):
        Table.fit(pd.DataFrame({"a": [1, 1], "y": ["u", "v"]}), ["y"])
    with pytest.raises(ValueError, match="there is no other column"):
        Table.fit(pd.DataFrame({"y": ["u", "v"]}), ["y"])


def test_bad_rows_are_named(frame):
    table = Table.fit(frame, ["class"])
    with pytest.raises(ValueError, match="column 'age' must hold numbers, got 'old' in row 3"):
        table.transform(frame.assign(age=["1", None, "old"] + ["2"] * (ROWS - 3)))
    with pytest.raises(ValueError, match=r"lacks the columns 'age', 'cabin' \(its columns: 'fare', 'sex'"):
        table.transform(frame.drop(columns=["age", "cabin"]))
    with pytest.raises(ValueError, match="target 'class' must be one of '1', '2', '3', got '4' in row 1"):
        table.encode_targets(frame.assign(**{"class": 4}))
    with pytest.raises(TypeError, match=r"must be a DataFrame of pandas or polars, .* got builtins.list"):
        table.transform([[1]])
    # infinity is read as missing
    infinite = frame.assign(age=np.inf)
    assert np.array_equal(table.transform(infinite), table.transform(frame.assign(age=np.nan)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"\n\n", "the file is empty"),
        ("a.csv", b"a,b\n", "at least one row below the header"),
        ("a.csv", b"a,b\nJos\xe9\x81,1\n", "must be text, UTF-8 or with --encoding another"),
        ("a.csv", b"a,b\n\x00\x01,1\n", "holds null characters"),
        ("a.csv", b"\xff\xfea", "not utf-16 text"),
        ("a.csv", b"a,b,a\n1,2,3\n", "column names must differ, got 'a' more than once"),
        ("a.csv", b"a,b\n1,2,3\n", "line 2 holds 3 values, and line 1 has 2"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "line 3 holds 3 values, and line 1 has 2"),
        ("a.csv", b'a,b\n"1,2\n', "line 2 holds a quotation mark"),
        ("a.csv", b"\x00\x01\x02" * 50, "cannot read"),
        ("a.csv.gz", b"no gzip", "Not a gzipped file"),
        ("a.csv.zip", b"no zip", "not a zip file"),
        ("a.csv.xz", b"no xz", "cannot read"),
        ("a.parquet", b"no parquet", "cannot read"),
        ("a.xlsx", b"PK\x03\x04", ".xlsx is not a kind of table that is read, save it as CSV or Parquet"),
        ("a.JSON", b'[{"a": 1}]', ".json is not a kind of table that is read"),
    ],
)
def test_files_that_are_no_tables(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        tables.read(path)
    assert str(path) in str(error.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        tables.read(tmp_path / "a.csv")
    with pytest.raises(OSError, match=r"directory|denied"):
        tables.read(tmp_path)


def test_missing_extras_are_named(monkeypatch, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ImportError, match=r"needs pyarrow: pip install pyarrow"):
            tables.read(path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbackprop\[cli\]'"):
        tables.read(path)


def test_a_huge_cell_is_not_carried_along():
    """It is read like an unknown category; neither the model nor a message holds it."""
    huge = "x" * 100_000
    frame = pd.DataFrame({"a": [huge, "u", "v", "u", "v"], "long": [huge, huge + "y"] * 2 + [huge], "t": list("pqpqp")})
    table = tables.Table.fit(frame, ["t"])
    assert len(table.to_json()) < 1000
    assert table.columns == (tables.Category("a", ("u", "v"), False),)
    assert table.left_out == {"long": "has only texts of more than 1000 characters"}
    assert table.transform(frame)[0].tolist() == [0, 0]
    with pytest.raises(ValueError, match="classes of at most 1000 characters, got one of 100000"):
        tables.Table.fit(frame, ["a"])
    with pytest.raises(ValueError, match=r"column 'a' must hold numbers, got 'x+…x+' in row 1") as error:
        tables.Table.fit(frame, ["t"], numeric=["a"])
    assert len(str(error.value)) < 200
