"""The preprocessing of a table as nodes of an ONNX graph: raw columns in, the network's inputs out, and predictions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from typing import Any

import numpy as np

from fastbackprop.interop.onnx import ML, Graph, add_labels
from fastbackprop.tables import Category, Date, Number, Table
from fastbackprop.tabular.dates import YEAR
from fastbackprop.tabular.spelling import MISSING

WHOLE = re.compile(r"-?\d+")
ZEROS = 3  # decimals of a whole number that are known as such: 7.0, 7.00, 7.000
ERA, MARCH_TO_JANUARY, JANUARY_TO_MARCH = 146097.0, 306.0, 59.0  # days: 400 years; to 1 January; to 1 March
EPOCH = 719468.0  # 1 January 1970 in days from 1 March of the year 0


def add_inputs(g: Graph, table: Table, dtype: np.dtype[Any]) -> tuple[list[Any], str]:
    """Add an input for each column, (N, 1), and what makes (N, inputs) of them; the inputs and the result's name."""
    if not all(column.name for column in table.columns):
        raise ValueError("model must have columns with names, since an input of ONNX has one")
    g.taken |= {column.name for column in table.columns}
    info, inputs, parts = g.onnx.helper.make_tensor_value_info, [], []
    for column in table.columns:
        inputs.append(info(column.name, g.code(object if isinstance(column, Category) else np.float64), [None, 1]))
    for are_numbers, group in itertools.groupby(table.columns, lambda column: isinstance(column, Number)):
        columns: list[Any] = list(group)
        if are_numbers:
            parts.append(_numbers(g, columns))
        else:
            parts += [_category(g, c, table.missing or ()) if isinstance(c, Category) else _date(g, c) for c in columns]
    x = parts[0] if len(parts) == 1 else g.add("Concat", *parts, axis=1)
    return inputs, g.cast(x, dtype)


def _numbers(g: Graph, columns: list[Number]) -> str:
    """Columns of numbers that follow each other, (N, columns), as ``Number.encode`` has them."""
    names = [column.name for column in columns]
    x = g.add("Concat", *names, axis=1) if len(names) > 1 else names[0]
    fill, mean, scale = (np.array([[getattr(c, part) for c in columns]]) for part in ("fill", "mean", "scale"))
    unknown = g.add("Or", g.add("IsNaN", x), g.add("IsInf", x))
    filled = g.add("Where", unknown, g.constant(fill, "fill"), x)
    return _divide(g, _subtract(g, filled, mean), scale)


def _subtract(g: Graph, x: str, mean: np.ndarray) -> str:
    return g.add("Sub", x, g.constant(mean, "mean"))


def _divide(g: Graph, x: str, scale: np.ndarray) -> str:
    return g.add("Div", x, g.constant(scale, "scale"))


def _category(g: Graph, column: Category, words: Collection[str]) -> str:
    """One input a value, as ``Category.encode`` has it; (N, width)."""
    codes = _codes(column, words)
    code = g.add(
        "LabelEncoder", column.name, domain=ML, keys_strings=list(codes), values_int64s=list(codes.values()),
        default_int64=-1,
    )  # fmt: skip
    numbers = g.constant(np.arange(column.width, dtype=np.int64)[None], "codes")
    return g.cast(g.add("Equal", code, numbers), np.float64)


def _codes(column: Category, words: Collection[str]) -> dict[str, int]:
    """The number of the input of every text that has one; ``words`` are those that mean a missing value here."""
    codes = {value: code for code, value in enumerate(column.values)}
    for value, code in list(codes.items()):
        if WHOLE.fullmatch(value):  # what a number became elsewhere, where another column has missing values
            for zeros in range(1, ZEROS + 1):
                codes.setdefault(f"{value}.{'0' * zeros}", code)
    if column.missing:
        for word in ("", *sorted(MISSING)):  # in small and capital letters
            for letters in itertools.product(*({c.lower(), c.upper()} for c in word)):
                codes.setdefault("".join(letters), len(column.values))
        codes |= dict.fromkeys(words, len(column.values))
    return codes


def _date(g: Graph, column: Date) -> str:
    """The days like a number, then sine and cosine of the place in each cycle, as ``Date.encode`` has them."""
    days, parts = column.name, []
    unknown = g.add("IsNaN", days)
    filled = g.add("Where", unknown, g.number(column.fill, np.float64), days)
    parts.append(_divide(g, _subtract(g, filled, np.array([[column.mean]])), np.array([[column.scale]])))
    zero = g.number(0.0, np.float64)
    known = g.add("Where", unknown, zero, days)
    for cycle in column.cycles:
        angle = g.add("Mul", _phase(g, known, cycle), g.number(2 * np.pi, np.float64))
        parts += [g.add("Where", unknown, zero, g.add(op, angle)) for op in ("Sin", "Cos")]
    return g.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _phase(g: Graph, days: str, cycle: str) -> str:
    """The part of a year, a week or a day that has passed, as ``dates.phase``."""

    def of(op: str, a: str, b: float) -> str:
        return g.add(op, a, g.number(b, np.float64))

    def quotient(a: str, b: float) -> str:
        return g.add("Floor", of("Div", a, b))

    def remainder(a: str, b: float) -> str:
        return g.add("Sub", a, of("Mul", quotient(a, b), b))

    if cycle == "day":
        return remainder(days, 1.0)
    whole = g.add("Floor", days)
    if cycle == "week":
        return of("Div", remainder(of("Add", whole, 3.0), 7.0), 7.0)
    # Years that begin in March end with the day of leap years; 400 of them are an era.
    day = remainder(of("Add", whole, EPOCH), ERA)
    leap_days = g.add("Sub", quotient(day, 36524.0), g.add("Add", quotient(day, 1460.0), quotient(day, 146096.0)))
    year = quotient(g.add("Add", day, leap_days), 365.0)
    days_before = g.add("Sub", g.add("Add", of("Mul", year, 365.0), quotient(year, 4.0)), quotient(year, 100.0))
    from_march = g.add("Sub", day, days_before)

    def is_multiple(of_: float) -> str:
        return g.add("Equal", remainder(year, of_), g.number(0.0, np.float64))

    is_leap = g.add("And", is_multiple(4.0), g.add("Or", g.add("Not", is_multiple(100.0)), is_multiple(400.0)))
    in_year = g.add("Add", of("Add", from_march, JANUARY_TO_MARCH), g.cast(is_leap, np.float64))
    is_before = g.add("Less", from_march, g.number(MARCH_TO_JANUARY, np.float64))
    passed = g.add("Where", is_before, in_year, of("Sub", from_march, MARCH_TO_JANUARY))
    return of("Div", passed, YEAR)


def add_predictions(g: Graph, table: Table, outputs: str) -> list[Any]:
    """Add what ``Table.decode`` does; the graph's outputs."""
    info = g.onnx.helper.make_tensor_value_info
    if table.task == "regression":
        scaled = g.add("Mul", g.cast(outputs, np.float64), g.constant(np.array([table.scale]), "target_scale"))
        mean = g.constant(np.array([table.mean]), "target_mean")
        variable = g.add("Add", scaled, mean, to=g.name("variable"))
        return [info(variable, g.code(np.float64), [None, table.outputs])]
    labels = np.array(table.decode(np.eye(table.outputs))[table.targets[0]].tolist())
    label, probabilities = g.name("label"), g.name("probabilities")
    add_labels(g, outputs, table.outputs, labels, (label, probabilities))
    kind = object if labels.dtype.kind in "UO" else labels.dtype
    return [
        info(label, g.code(kind), [None]), info(probabilities, g.code(g.dtype), [None, table.outputs]),
    ]  # fmt: skip
