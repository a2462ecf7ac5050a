"""Tables of any library as pandas frames with different names, and their cells as texts."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fastbackprop.tabular.wording import listed, shown, suggestion


def pandas() -> Any:
    """The module; ImportError names the extra where it is not installed."""
    try:
        import pandas
    except ImportError:
        raise ImportError("tables need pandas: pip install 'fastbackprop[cli]'") from None
    return pandas


def as_frame(table: Any) -> Any:
    """A table as a pandas frame, its column names as text and different.

    Parameters
    ----------
    table : pandas.DataFrame, polars.DataFrame or pyarrow.Table
        Or whatever else has ``to_pandas`` or ``__arrow_c_stream__``.

    Raises
    ------
    ImportError
        Where the conversion needs pyarrow and it is not installed.
    TypeError, ValueError
        Where it is no table, or two columns have one name.
    """
    pd, frame = pandas(), table
    if not isinstance(table, pd.DataFrame):
        try:
            if hasattr(table, "to_pandas"):
                frame = table.to_pandas()
            elif hasattr(table, "__arrow_c_stream__"):
                frame = importlib.import_module("pyarrow").table(table).to_pandas()
        except ImportError:
            raise ImportError(f"reading a {type(table).__name__} needs pyarrow: pip install pyarrow") from None
    if not isinstance(frame, pd.DataFrame):
        what = "a DataFrame of pandas or polars, or an Arrow table"
        raise TypeError(f"a table must be {what}, got {type(table).__module__}.{type(table).__qualname__}")
    if not all(isinstance(name, str) for name in frame.columns):
        frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        raise ValueError(f"column names must differ, got {listed(frame.columns[frame.columns.duplicated()])} twice")
    return frame


def require_columns(frame: Any, names: Sequence[str]) -> None:
    """Raise ValueError where columns of a DataFrame are missing, with their names."""
    missing = [name for name in dict.fromkeys(names) if name not in frame.columns]
    if not missing:
        return
    hint = suggestion(missing[0], list(frame.columns)) if len(missing) == 1 else ""
    if all(re.fullmatch(r"column_\d+", name) for name in missing):
        hint = "; --no-header gives such names to a file that has none"
    elif len(frame.columns) == 1 and (mark := re.search(r"[^\w\"'.()-]", frame.columns[0])):
        hint = f"; --separator '{shown(mark[0])}' makes columns of it"
    plural = "s" if len(missing) > 1 else ""
    raise ValueError(
        f"the table lacks the column{plural} {listed(missing)}{hint} (its columns: {listed(list(frame.columns))})"
    )


def columns(frame: Any) -> dict[str, Any]:
    """The columns by name. Of each, pandas would copy what is said about the whole frame."""
    frame = frame.copy(deep=False)
    frame.attrs = {}
    return dict(frame.items())


def without(frame: Any, words: Collection[str]) -> Any:
    """The frame with ``words`` as missing values; one that is a number also where it stands among numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> without(pd.DataFrame({"a": [1, -99], "b": ["x", "nil"]}), ["-99", "nil"]).isna().sum().tolist()
    [1, 1]
    """
    pd, words = pandas(), [word for word in words if word]
    numbers = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce").dropna().tolist()

    def marked(column: Any) -> Any:
        found = column.isin(numbers) if is_number(column) else pd.Series(texts(column), column.index).isin(words)
        return column.mask(found) if found.any() else column

    return frame.apply(marked) if words and len(frame.columns) else frame


def is_number(column: Any) -> bool:
    """Whether a column's dtype is one of real numbers; those of Booleans and categories are not."""
    types, dtype = pandas().api.types, column.dtype
    return bool(types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype) and not types.is_complex_dtype(dtype))


def is_category(column: Any) -> bool:
    """Whether pandas holds the column as a category: whatever it is of, it is one."""
    return isinstance(column.dtype, pandas().CategoricalDtype)


def texts(column: Any) -> np.ndarray:
    """Each value as text, in an array of objects; NaN or None where it is missing."""
    if column.dtype == object:
        values = column.to_numpy()
        if pandas().api.types.infer_dtype(values, skipna=True) in ("string", "empty"):
            return np.asarray(values, object)
    return np.asarray(column.astype("string").to_numpy(object, na_value=None), object)
