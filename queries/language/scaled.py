"""A column times or over a number: `params / 1e6`, `1e-9 * tokens`."""

from __future__ import annotations

import math
import re

from isoflop.queries.language.bind import Column
from isoflop.queries.laws.algebra.expression import evaluate
from isoflop.queries.laws.algebra.parser import FormulaError, parse_expression

_NAME = r'(?P<name>"(?:[^"]|"")+"|[^\W\d]\w*)'
_SCALED = (
    re.compile(rf"{_NAME}\s*(?P<sign>[*/])\s*(?P<number>.+)"),
    re.compile(rf"(?P<number>.+?)\s*(?P<sign>\*)\s*{_NAME}"),
)
_PLAIN = re.compile(_NAME)


def scaled_column(column: Column) -> tuple[str, float] | None:
    """Return the column that an input is read from and the factor on it; None where it is another expression.

    Example
    -------
    >>> from isoflop.queries.language.question import Own
    >>> scaled_column(Own("(params / 1e6)", 0)), scaled_column(Own("tokens", 0)), scaled_column(Own("a / b", 0))
    (('params', 1e-06), ('tokens', 1.0), None)
    """
    text = column.text.strip()
    while text.startswith("(") and text.endswith(")") and "(" not in text[1:]:
        text = text[1:-1].strip()
    if (plain := _PLAIN.fullmatch(text)) is not None:
        return _name(plain["name"]), 1.0
    for pattern in _SCALED:
        found = pattern.fullmatch(text)
        factor = _number(found["number"]) if found else None
        if found and factor is not None:
            return _name(found["name"]), 1 / factor if found["sign"] == "/" else factor
    return None


def _name(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _number(text: str) -> float | None:
    """Return the positive number that a text without names is; None for anything else."""
    try:
        value = float(evaluate(parse_expression(text, ()), {}))
    except (FormulaError, ValueError, TypeError, OverflowError):
        return None
    return value if 0 < value < math.inf else None
