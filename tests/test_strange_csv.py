"""Strange CSV files, written by hypothesis: read as pandas reads them when it is told everything."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastbackprop import tables
from fastbackprop.tabular import spelling

WORDS = ["NA", "n/a", "NaN", "null", "None", "nan", "-", ".", "?", "#N/A", "--", "NULL"]
SPECIAL = ',;|\t"\r\n'


@dataclass
class Style:
    """How a file is written."""

    separator: str
    decimal: str
    thousands: str
    encoding: str
    line_end: str
    quote_all: bool
    before: str  # a value
    after: str
    blank_lines: int  # before the header
    sep_line: bool

    def cell(self, text: str) -> str:
        quoted = self.quote_all or any(c in text for c in SPECIAL)
        text = '"' + text.replace('"', '""') + '"' if quoted else text
        return self.before + text + ("" if quoted else self.after)

    def number(self, value: str) -> str:
        sign, digits = ("-", value[1:]) if value.startswith("-") else ("", value)
        whole, _, decimals = digits.partition(".")
        if "e" not in value:
            whole = f"{int(whole):,}".replace(",", self.thousands)
        return sign + whole + (self.decimal + decimals if decimals else "")


styles = st.builds(
    Style,
    separator=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
    thousands=st.sampled_from(["", "", ",", ".", " ", "'"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quote_all=st.booleans(),
    before=st.sampled_from(["", "", " ", "  "]),
    after=st.sampled_from(["", "", " ", "  "]),
    blank_lines=st.integers(0, 2),
    sep_line=st.booleans(),
).filter(lambda style: style.decimal != style.thousands)

letters = st.text(st.sampled_from("ab Z\u00e9\u00df\u20ac\u00c40#'" + SPECIAL), max_size=6).map(str.strip)
plain_numbers = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.floats(-1e9, 1e9).map(lambda x: f"{x:.4f}"),
    st.floats(-1e9, 1e9, allow_subnormal=False).map(repr).filter(lambda text: "e" not in text),
)
names = st.lists(
    st.text(st.sampled_from("nm\u00e9 _" + SPECIAL), min_size=1, max_size=5).map(lambda t: "c" + t.strip()),
    min_size=1, max_size=4, unique=True,
)  # fmt: skip


@st.composite
def files(draw):
    style, header, rows = draw(styles), draw(names), draw(st.integers(1, 8))
    columns, numeric = {}, []
    for name in header:
        if draw(st.booleans()):
            word = draw(st.sampled_from(["", *WORDS]))
            values = draw(st.lists(st.one_of(plain_numbers, st.just(None)), min_size=rows, max_size=rows))
            # a point or a comma that has one meaning
            values[0] = "1234567.25"
            columns[name] = [word if value is None else style.number(value) for value in values]
            numeric.append(name)
        else:
            columns[name] = draw(st.lists(letters, min_size=rows, max_size=rows))
    if style.encoding == "latin-1":
        columns = {name: [value.replace("€", "e") for value in values] for name, values in columns.items()}
    return style, columns, numeric


def written(style, columns, start=True):
    """The file, or the part of it from the header on."""
    records = (columns, *zip(*columns.values()))
    lines = [style.separator.join(map(style.cell, record)) for record in records]
    before = [f"sep={style.separator}"] * style.sep_line + [""] * style.blank_lines
    return style.line_end.join([*(before if start else []), *lines, ""]).encode(style.encoding)


@settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(files())
def test_what_is_read_is_what_pandas_reads_when_told_everything(file):
    style, columns, numeric = file
    frame = tables.read(io.BytesIO(written(style, columns)))
    plain = io.BytesIO(written(style, columns, start=False))
    options = {"sep": style.separator, "encoding": style.encoding, "skipinitialspace": True, "header": 0}
    options |= {"names": list(columns), "skip_blank_lines": len(columns) > 1}
    theirs = pd.read_csv(plain, **options, dtype=str, keep_default_na=False)
    assert list(frame.columns) == list(columns)
    assert len(frame) == len(theirs) == len(next(iter(columns.values())))
    for name, values in columns.items():
        assert frame[name].fillna("").tolist() == theirs[name].fillna("").str.strip().tolist() == values
    plain.seek(0)
    missing = ["", *WORDS, *(word + style.after for word in WORDS)]
    told = pd.read_csv(
        plain, **options, decimal=style.decimal, thousands=style.thousands or None, na_values=missing, usecols=numeric
    )
    found = spelling.parse({name: frame[name] for name in numeric}, file=frame.attrs)
    for name in numeric:
        assert found[name].numbers
        np.testing.assert_allclose(found[name].values, told[name].to_numpy(float), rtol=1e-14)


@settings(deadline=None, max_examples=100)
@given(st.text(st.sampled_from("a1,;\n\r\"\t |'=.é\ufeff\x00\x0b-"), max_size=60))
def test_any_text_is_a_table_or_one_line(text):
    try:
        frame = tables.read(io.BytesIO(text.encode()))
    except ValueError as error:
        line = str(error)
    else:
        assert len(frame) >= 1
        assert frame.columns.is_unique
        return
    assert line.startswith("cannot read 'BytesIO': ")
    assert line.count("\n") == 0
