"""Currency and percent signs beside numbers: $1,200.50, -5 €, ($30), 45 %. A column of numbers has one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

SIGN = re.compile("[%$¢-¥֏؋৲৳৻૱௹฿៛₠-⃏﷼﹩＄￠￡￥￦]")  # Unicode's currency signs, and that of percent


def sign_of(texts: Iterable[str]) -> str:
    """The sign that stands in some of the texts; empty where there is none, or more than one.

    Examples
    --------
    >>> sign_of(["$5", "7", "-$1.50"]), sign_of(["$5", "5 €"]), sign_of(["7", "x"])
    ('$', '', '')
    """
    found = set[str]()
    for text in texts:
        found.update(SIGN.findall(text))
        if len(found) > 1:
            return ""
    return next(iter(found), "")


def without(text: str, sign: str) -> str:
    """The number in a text without its sign, which stands before or behind it; any other text as it is.

    Parentheses around both are a minus, as accountants write it.

    Examples
    --------
    >>> [without(text, "$") for text in ("$1,200.50", "-$5", "$ -5", "5 $", "($30)", "5", "US$ 5", "$")]
    ['1,200.50', '-5', '-5', '5', '-30', '5', 'US$ 5', '$']
    """
    value = text.strip()
    negative = value.startswith("(") and value.endswith(")")
    found = _pattern(sign).fullmatch(value[1:-1].strip() if negative else value)
    if not found:
        return text
    before, after, first, second = found.groups(default="")
    number = before + after + (first or second)
    if not negative:
        return number
    return text if number[0] in "+-−" else f"-{number}"


@cache
def _pattern(sign: str) -> re.Pattern[str]:
    s, number = re.escape(sign), r"[0-9.,].*"
    return re.compile(rf"([+\-−]?)\s*(?:{s}\s*([+\-−]?)\s*({number})|({number}?)\s*{s})", re.DOTALL)
