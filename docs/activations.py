"""Write the table of activations into docs/guide.md: python docs/activations.py."""

from __future__ import annotations

from pathlib import Path

from fastbackprop.activations import ACTIVATIONS

PAGE = Path(__file__).with_name("guide.md")
BEGIN, END = "<!-- written by docs/activations.py -->\n", "<!-- end -->\n"
START = {"he": "He", "glorot": "Glorot", "lecun": "LeCun"}


def table() -> str:
    """A row an activation."""
    rows = ["| name | value | derivative | weights at the start |", "|---|---|---|---|"]
    rows += [f"| `{g.name}` | {_text(g.text)} | {_text(g.slope)} | {START[g.start]} |" for g in ACTIVATIONS.values()]
    return "\n".join(rows) + "\n"


def _text(text: str) -> str:
    return text.replace("*", r"\*").replace("|", r"\|")


def with_table(page: str) -> str:
    """The page with the table of today."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
