"""Currency and percent signs beside numbers: $1,200.50, -5 €, ($30), CHF 7, 45 %. A column of numbers has one sign."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

# Unicode's currency signs, that of percent, and of ISO 4217's codes those of the currencies that are traded most.
CODES = "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|SEK|SGD|THB|TRY|TWD|USD|ZAR"
SIGN = re.compile(rf"[%$¢-¥֏؋৲৳৻૱௹฿៛₠-⃏﷼﹩＄￠￡￥￦]|(?<![^\W\d_])(?:{CODES})(?![^\W\d_])")


def signs_in(texts: Iterable[str]) -> list[str]:
    """The different signs that stand in some of the texts.

    Examples
    --------
    >>> signs_in(["$5", "7", "-$1.50"]), signs_in(["$5", "5 €"]), signs_in(["7", "x"])
    (['$'], ['$', '€'], [])
    """
    return sorted({sign for text in texts for sign in SIGN.findall(text)})


def without_sign(text: str, sign: str) -> str:
    """The number in a text without its sign, which stands before or behind it; any other text as it is.

    Parentheses around both are a minus, as accountants write it.

    Examples
    --------
    >>> [without_sign(text, "$") for text in ("$1,200.50", "-$5", "$ -5", "5 $", "($30)", "5", "US$ 5", "$")]
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
