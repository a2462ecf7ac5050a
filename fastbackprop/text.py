"""Texts that come from data, on their way to a reader: they are shown, and do nothing."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with escapes for what is no visible character or a plain space.

    Control characters would move a terminal's cursor or change its colours, and line breaks, marks of writing direction
    and invisible characters would make a line or a label say something else.

    Examples
    --------
    >>> print(printable("red\x1b[31m\n"))
    red\x1b[31m\n
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown(text: str, most: int = 80) -> str:
    r"""A text as it is put into a line or a label: printable, and without its middle where it is long.

    What tells names apart is often at their ends.

    Examples
    --------
    >>> shown("Lorem ipsum dolor sit amet", 11)
    'Lorem… amet'
    """
    return _cut(printable(_cut(text, most)), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"
