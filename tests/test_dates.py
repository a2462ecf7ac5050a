"""Columns with dates in more than one format: which readings are taken, what is said, and what overrules it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastbackprop.tables import Category, Date, Table
from tests.commands import call, one_line

ISO = "ISO8601"


def fitted(values, **options):
    values = list(values)
    frame = pd.DataFrame({"when": values, "x": np.arange(len(values)) ** 2.0, "y": np.arange(len(values)) ** 3.0})
    table = Table.fit(frame, ["y"], **options)
    return table, next((c for c in table.columns if c.name == "when"), None), table.guesses.get("when", "")


def dates(table, values):
    return table.transform(pd.DataFrame({"when": values, "x": 0.0}))[:, :-1]


def written(form, start="2024-02-25", count=24):
    return list(pd.date_range(start, periods=count, freq="3D").strftime(form))


@pytest.mark.parametrize(
    ("first", "second", "formats", "said"),
    [
        ("%d.%m.%Y", "%Y-%m-%d", ("%d.%m.%Y", ISO), "31.01.2024 and 2024-01-31; "),
        ("%m/%d/%Y", "%Y-%m-%d", ("%m/%d/%Y", ISO), "01/31/2024 and 2024-01-31; "),
        ("%d/%m/%Y", "%d/%m/%y", ("%d/%m/%Y", "%d/%m/%y"), "31/01/2024 and 31/01/24; "),
        ("%d.%m.%Y", "%d.%m.%Y %H:%M", ("%d.%m.%Y", "%d.%m.%Y %H:%M"), "31.01.2024 and 31.01.2024 18:30; "),
        ("%Y-%m-%d", "%b %d, %Y", (ISO, "%b %d, %Y"), "2024-01-31 and Jan 31, 2024; "),
    ],
)
def test_two_ways_of_writing_are_both_read_and_said(first, second, formats, said):
    mixed = [f if i % 2 else s for i, (f, s) in enumerate(zip(written(first), written(second)))][1:]
    table, column, guess = fitted(mixed)
    assert column.formats == formats
    assert guess.startswith(f"read as dates such as {said}")
    assert guess.endswith("--date-format and --categorical overrule this")
    plain = fitted(written("%Y-%m-%d")[1:])[0]
    same = dates(table, mixed)
    np.testing.assert_array_equal(same, dates(plain, written("%Y-%m-%d")[1:]))
    again = Table.from_json(table.to_json())
    assert again == table
    np.testing.assert_array_equal(dates(again, mixed[:1]), same[:1])


def test_which_order_of_day_and_month_was_taken():
    """Where both fit, which it is; where another way of writing is sure, that order; where both are, none."""
    unsure = [f"0{i}/0{i + 1}/2024" for i in range(1, 8)]
    _, column, said = fitted(unsure + written("%Y-%m-%d"))
    assert column.formats == ("%m/%d/%Y", ISO)
    assert "such as 01/31/2024 and 2024-01-31, the month first, though the day may be; " in said
    _, column, said = fitted(unsure + written("%d.%m.%Y"))
    assert column.formats == ("%d/%m/%Y", "%d.%m.%Y")
    assert ", the day first, though the month may be; " in said
    both = written("%d/%m/%Y") + written("%m/%d/%Y")
    _, column, said = fitted(both, categorical=[])
    assert column is None or isinstance(column, Category)
    words = "read as texts, but no one order of day and month fits '25/02/2024' in row 1 and '02/25/2024' in row 25"
    assert said == f"{words}; --date-format overrules this"


def test_formats_that_are_given_are_tried_in_their_order():
    both = ["25/12/2024", "12/25/2024", "01/02/2024", "2024-03-01", "13/01/2024", "03/31/2024", "2024-04-01 12:00"]
    for formats, third in ((["%d/%m/%Y", "%m/%d/%Y"], "2024-02-01"), (["%m/%d/%Y", "%d/%m/%Y"], "2024-01-02")):
        _, column, _ = fitted(both, date_format=formats)
        assert column.formats == (*formats, ISO)
        expected = pd.to_datetime(["2024-12-25", "2024-12-25", third, "2024-03-01"])
        days = column.days(pd.Series(both[:4]))
        assert days.tolist() == ((expected - pd.Timestamp(0)) / pd.Timedelta("1D")).tolist()
    _, column, said = fitted(written("%d/%m/%Y"), date_format="%m/%d/%Y")
    assert column is None
    assert said.startswith("read as texts, but '25/02/2024' in row 1 is no date such as 01/31/2024; ")
    for wrong in ("DD/MM/YYYY", "", 3):
        with pytest.raises(
            ValueError, match="date_format must be as strftime has it, such as %d/%m/%Y, or ISO8601, got"
        ):
            fitted(both, date_format=[wrong])


def test_nearly_all_dates_are_said():
    _, column, said = fitted([*written("%Y-%m-%d"), "soon"])
    assert column is None
    words = "read as texts, but 24 of 25 values are dates, not 'soon' in row 25"
    assert said == f"{words}; --missing overrules this"
    assert isinstance(fitted([*written("%Y-%m-%d"), "soon"], missing=["soon"])[1], Date)


@pytest.mark.parametrize(
    "values", [["10.1.20", "10.1.20.5"], ["A1-200", "A1-201"], ["12:30", "13:45"], ["1-2", "3-4"], ["v1.2.3", "v1.2.4"],
               ["5 to 7", "8 to 9"], ["3 1/2", "4 1/2"]],
)  # fmt: skip
def test_what_only_looks_a_little_like_dates_is_not_said(values):
    _, column, said = fitted(values * 6)
    assert isinstance(column, Category)
    assert said == ""


def test_year_first_has_one_order():
    _, column, said = fitted(written("%Y/%m/%d"))
    assert column.formats == ("%Y/%m/%d",)
    assert "may be" not in said


def test_the_command_line_says_and_overrules_it(tmp_path, capsys):
    mixed = [*written("%d.%m.%Y"), *written("%Y-%m-%d")]
    frame = pd.DataFrame({"when": mixed, "y": [*"abcb"] * 12})
    frame.to_csv(tmp_path / "d.csv", index=False)
    learn = ["train", tmp_path / "d.csv", "--target", "y", "--epochs", 1, "-o", tmp_path]
    said = "warning   when: read as dates such as 31.01.2024 and 2024-01-31"
    code, _, err = call(capsys, *learn)
    assert (code, err) == (0, f"{said}; --date-format and --categorical overrule this\n")
    model = tmp_path / "d.safetensors"
    assert call(capsys, "predict", model, tmp_path / "d.csv", "-o", "-")[2].startswith(f"{said}\n")
    assert "when: date (%d.%m.%Y, ISO8601), mean" in call(capsys, "info", model)[1]
    formats = ["--date-format", "%d.%m.%Y", "--date-format", "%Y-%m-%d"]
    assert call(capsys, *learn, *formats)[0] == 0
    assert "when: date (%d.%m.%Y, %Y-%m-%d), mean" in call(capsys, "info", model)[1]
    assert "date_format must be as strftime has it" in one_line(capsys, *learn, "--date-format", "DD.MM.YYYY")
