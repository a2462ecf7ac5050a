"""Numbers with a currency or percent sign: read as numbers, said, and read alike when there is something to predict."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from fastbackprop import tables
from fastbackprop.tables import Category, Number, Table
from tests.commands import call, one_line

Y = ["up", "down", "down", "up"]


def fitted(values, **options):
    frame = pd.DataFrame({"a": values * 3, "y": (Y * 9)[: 3 * len(values)]})
    table = Table.fit(frame, ["y"], **options)
    return table, table.columns[0], table.guesses.get("a", "")


def numbers(table, values):
    column = table.columns[0]
    return table.transform(pd.DataFrame({"a": values}))[:, 0] * column.scale + column.mean


@pytest.mark.parametrize(
    ("values", "expected", "said"),
    [
        (["$1,200.50", "$87", "-$3,000"], [1200.5, 87, -3000], "'$1,200.50' is read as 1200.5"),
        (["1 200 €", "3\u202f400,50 €", "-7 €"], [1200, 3400.5, -7], "'3\\u202f400,50 €' is read as 3400.5"),
        (["45 %", "7.5%", "+3 %"], [45, 7.5, 3], "'45 %' is read as 45"),
        (["£5", "12.25", "£ -4"], [5, 12.25, -4], "'£ -4' is read as -4"),  # where some have none
        (["($30)", "$12", "$.5"], [-30, 12, 0.5], "'($30)' is read as -30"),
        (["₹12,34,567.5", "₹1"], [1234567.5, 1], "'₹12,34,567.5' is read as 1234567.5"),
        (["\u22125 ¥", "7 ¥"], [-5, 7], "'−5 ¥' is read as -5"),
        (["EUR 5,000.50", "12 EUR", "-7EUR"], [5000.5, 12, -7], "'EUR 5,000.50' is read as 5000.5"),
        (["$1e3", "$2.5E-1"], [1000, 0.25], "'$2.5E-1' is read as 0.25"),
    ],
)
def test_a_sign_beside_numbers(values, expected, said):
    table, column, guess = fitted(values)
    assert isinstance(column, Number)
    np.testing.assert_allclose(numbers(table, values), expected, rtol=1e-12)
    assert guess.startswith(f"{said}; ")
    assert guess.endswith(("--categorical overrule this", "--categorical overrules this"))
    again = Table.from_json(table.to_json())
    assert again == table
    np.testing.assert_allclose(numbers(again, values), expected, rtol=1e-12)
    # what has no sign is read as what has one, and this is said
    np.testing.assert_allclose(numbers(again, expected), expected, rtol=1e-12)
    sign = table.spelled["a"].sign
    words = f"read as numbers with {sign}, as the model learned, though they have none"
    assert again.readings(pd.DataFrame({"a": expected})) == {"a": words}


@pytest.mark.parametrize(
    "values",
    [["$5", "call us", "$7"], ["5 %", "all", "7 %"], ["$5", "5 €", "7 €"], ["5%3", "7%4"], ["$", "$$"],
     ["US$5", "US$7"], ["100% wool", "50% silk"], ["$5 - $7", "$1 - $2"], ["%d", "%s"], ["$5$", "$7$"],
     ["(-$5)", "$7"], ["EUR", "USD"], ["5 EURO", "6 EURO"], ["EUR5", "EUR"], ["12 kg", "7 kg"]],
)  # fmt: skip
def test_signs_among_words_make_no_numbers(values):
    table, column, _ = fitted(values)
    assert column == Category("a", tuple(sorted(set(values))), False)
    assert table.spelled == {}


def test_nearly_all_numbers_with_a_sign_are_said():
    frame = pd.DataFrame({"a": ["$5.50", "$6"] * 10 + ["call us"]})
    assert tables.nearly_numbers(frame, ["a"]) == {"a": "20 of 21 values are numbers, not 'call us' in row 21"}
    frame.loc[20, "a"] = "-"
    table = Table.fit(frame.assign(y=np.arange(21.0) ** 2), ["y"])
    assert table.guesses["a"].startswith("'$5.50' is read as 5.5; ")
    assert "'-' is read as missing" in table.guesses["a"]


def test_different_signs_are_said():
    table, column, said = fitted(["$5", "1.200,50 €", "7"])
    assert isinstance(column, Category)
    assert said == "read as texts, since numbers in it have different signs, '$', '€'"
    assert table.spelled == {}
    assert fitted(["$5", "5 €", "?!"])[2] == ""


def test_the_guess_is_overruled_by_what_the_user_says():
    values = ["$5", "$7", "$9"]
    assert fitted(values, categorical=["a"])[1].values == ("5", "7", "9")
    _, column, said = fitted(values, numeric=["a"])
    assert isinstance(column, Number)
    assert said == "'$5' is read as 5"


def test_another_currency_is_an_error():
    table, *_ = fitted(["$5", "$7.50", "$9"])
    with pytest.raises(ValueError, match="column 'a' must hold numbers with \\$, as it had, got '8 €' in row 2"):
        table.transform(pd.DataFrame({"a": ["5", "8 €"]}))
    plain, *_ = fitted(["5", "7.50", "9"])
    np.testing.assert_allclose(numbers(plain, ["5 €", "8 €"]), [5, 8])
    assert plain.readings(pd.DataFrame({"a": ["5 €", "8 €"]})) == {"a": "'5 €' is read as 5"}


def test_a_target_with_a_sign():
    price = [f"${1000 + 37.5 * i:,.2f}" for i in range(30)]
    frame = pd.DataFrame({"a": np.arange(30.0) ** 2, "price": price})
    assert tables.infer_task(frame, ["price"]) == "regression"
    table = Table.fit(frame, ["price"])
    y = table.encode_targets(frame) * table.scale + table.mean
    np.testing.assert_allclose(y[:, 0], 1000 + 37.5 * np.arange(30))
    words = "'$1,000.00' is read as 1000; --decimal, --thousands and --task overrule this"
    assert table.guesses["price"] == words
    share = Table.fit(frame.assign(price=["5 %", "10 %", "5 %"] * 10), ["price"])
    assert share.classes == ("5", "10")
    assert share.encode_targets(pd.DataFrame({"price": ["10 %", "5", "5%"]})).tolist() == [1, 0, 0]


@pytest.mark.parametrize("sign", [3, "$$", "x"])
def test_a_damaged_sign(sign):
    table, *_ = fitted(["$5", "$7", "$9"])
    text = table.to_json().replace('[".", "", "$"]', f'[".", "", {sign if sign == 3 else chr(34) + sign + chr(34)}]')
    assert text != table.to_json()
    with pytest.raises(ValueError, match="not the preprocessing of a table, or a damaged one"):
        Table.from_json(text)


def test_train_and_predict_say_the_same(tmp_path, capsys):
    rng = np.random.default_rng(0)
    price = rng.uniform(900, 4000, 60).round(2)
    frame = pd.DataFrame({"price": [f"${p:,.2f}" for p in price], "y": np.where(price > 2000, "dear", "cheap")})
    frame.to_csv(tmp_path / "d.csv", index=False)
    code, out, err = call(capsys, "train", tmp_path / "d.csv", "--target", "y", "--epochs", 2, "-o", tmp_path)
    assert (code, "1 of numbers" in out) == (0, True)
    model, longest = tmp_path / "d.safetensors", max(frame.price, key=len)
    value = f"warning   price: '{longest}' is read as {float(longest[1:].replace(',', '')):g}; --decimal"
    assert err == f"{value}, --thousands and --categorical overrule this\n"
    code, out, err = call(capsys, "predict", model, tmp_path / "d.csv", "-o", "-")
    assert err.startswith(f"{value} and --thousands overrule this\n")
    frame.assign(price=price).to_csv(tmp_path / "plain.csv", index=False)
    _, plain, err = call(capsys, "predict", model, tmp_path / "plain.csv", "-o", "-")
    assert plain == out
    assert "warning   price: read as numbers with $, as the model learned, though they have none\n" in err
    frame.assign(price=[f"{p} €" for p in price]).to_csv(tmp_path / "euro.csv", index=False)
    assert "must hold numbers with $, as it had, got" in one_line(capsys, "predict", model, tmp_path / "euro.csv")


def test_signs_in_files_with_semicolons():
    text = "price;share;y\n" + "".join(f"{i}.000,5 €;{i},5 %;{Y[i % 4]}\n" for i in range(1, 21))
    price, share = Table.fit(tables.read(io.StringIO(text)), ["y"]).columns
    assert (price.fill, share.fill) == (10500.5, 11.0)
