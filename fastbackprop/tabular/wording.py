"""Names and cells of a table as they are put into a line for the user. They are data: nothing in them is obeyed."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from fastbackprop.text import shown as shown

NEAR = 0.75  # difflib's similarity from which a name is suggested in place of another


def listed(names: Collection[Any], most: int = 20) -> str:
    """Names in quotes, with commas between them.

    Examples
    --------
    >>> listed(["a", "b", "c"], 2)
    "'a', 'b' and 1 more"
    """
    first = ", ".join(f"'{shown(str(name))}'" for name in list(names)[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most} more"


def at(column: Any, row: int) -> str:
    """A cell, its row by the number that it has in the index, where that numbers the rows: others may be left out."""
    number = column.index[row] if column.index.dtype.kind == "i" else row
    return f"'{shown(str(column.iloc[row]))}' in row {number + 1}"


def suggestion(name: str, names: Collection[str]) -> str:
    """The name that was perhaps meant, in words to put after an error; empty where none is near.

    Examples
    --------
    >>> suggestion("Species", ["colour", "species"]), suggestion("target", ["age", "colour"])
    ("; did you mean 'species'?", '')
    """
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), list(folded), 1, NEAR)
    return f"; did you mean '{shown(folded[near[0]])}'?" if near else ""
