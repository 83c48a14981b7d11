"""What stands in the cells of a table for people: counts as 70B and 1.4T, compute as 5.76e23, all else as it is.

Counts below a million are whole, `4,096`. Above, four digits, or as many more as tell the values of a column apart;
where seven do not, whole numbers stand in full. The other formats keep every digit always.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.answers import plain, unique_names, values_of
from isoflop.lakehouse.units import UNITS, format_bytes
from isoflop.lakehouse.visible import visible

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse import Answer

FEWEST_DIGITS, MOST_DIGITS = 4, 7  # 70B and 6.796B; seven still fit where a float had six and an exponent
EXACT_BELOW = 1e6  # `999,999` is no wider than `1.234M`
LARGEST_LETTER = 1e15  # beyond `999.9T` nobody reads letters
LETTERS = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
BRIEF_FIT = ("law", "form", "rows", "dropped", "objective", "rmse_log", "status")
ENDS = ("_lower", "_upper")  # of an interval, in the unit of what it is about
MORE_UNITS = {"step": "count", "last_step": "count", "first_step": "count", "points": "count"}


def table_cells(answer: Answer) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the text of every cell, safe to show on a terminal."""
    table = answer.arrow()
    columns = [
        _column(column, unit_of(name, answer)) for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    names = [visible(name) for name in unique_names(table.column_names)]
    return names, [list(row) for row in zip(*columns, strict=True)]


def brief_fit(answer: Answer) -> Answer:
    """Return the answer of a FIT without the columns that are long, or that its coefficients beside it show better."""
    if answer.beside is None:
        return answer
    kept = [name for name in BRIEF_FIT if name in answer.columns]
    return replace(answer, table=answer.table.select(kept))


def markdown_rows(names: Sequence[str], rows: Iterable[Sequence[str]], written: Callable[[str], str]) -> list[str]:
    """Return the lines of a table in Markdown.

    Parameters
    ----------
    written : makes of a cell what does not end it, and is read as it is meant
    """
    head, *lines = ["| " + " | ".join(map(written, row)) + " |" for row in (names, *rows)]
    return [head, "|" + " --- |" * len(names), *lines]


def unit_of(name: str, answer: Answer) -> str | None:
    """Return the unit of a column: what the answer says, else what columns of this name have."""
    for end in ("", *ENDS):
        base = name.removesuffix(end).lower()
        unit = answer.units.get(name) or UNITS.get(base) or MORE_UNITS.get(base)
        if unit is not None:
            return unit
    return None


def _column(column: pa.ChunkedArray, unit: str | None) -> list[str]:
    import pyarrow.types as types

    values, kind = values_of(column), column.type
    is_whole = types.is_integer(kind)
    if unit in ("count", "FLOP", "byte") and (is_whole or types.is_floating(kind) or types.is_decimal(kind)):
        return size_cells(values, unit, is_whole=is_whole)
    return [visible(plain(value)) for value in values]


def size_cells(values: list[Any], unit: str, *, is_whole: bool) -> list[str]:
    """Return the cells of a column of sizes.

    Parameters
    ----------
    values : numbers; None where one is missing
    unit : `count`, `FLOP` or `byte`
    is_whole : whether the column holds whole numbers, of which every digit matters

    Example
    -------
    >>> size_cells([70e9, 6795600349.289, 4096, None], "count", is_whole=False)
    ['70B', '6.796B', '4,096', '-']
    >>> size_cells([124_439_808, 124_439_809], "count", is_whole=True)
    ['124,439,808', '124,439,809']
    >>> size_cells([5.76e23, 1e21], "FLOP", is_whole=False)
    ['5.76e23', '1e21']
    """
    known = {float(value) if isinstance(value, Decimal) else value for value in values if value is not None}
    for digits in range(FEWEST_DIGITS, MOST_DIGITS + 1):
        texts = {value: _size(value, unit, digits) for value in known}
        if len(set(texts.values())) == len(known) or unit == "byte":
            break
    else:
        texts = {value: _in_full(value) if is_whole else _size(value, unit, MOST_DIGITS) for value in known}
    if unit == "byte" and len(set(texts.values())) < len(known):
        texts = {value: _in_full(value) for value in known}
    return ["-" if value is None else texts[float(value) if isinstance(value, Decimal) else value] for value in values]


def _in_full(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else plain(value)


def _size(value: float, unit: str, digits: int) -> str:
    """Return a number with so many digits, or in full where it is small."""
    if not math.isfinite(value) or value == 0:
        return plain(value)
    if abs(value) < EXACT_BELOW:
        return _in_full(value)
    if unit == "byte":
        return format_bytes(value)
    rounded = float(f"{value:.{digits - 1}e}")  # first, so that 999.99B is 1T
    if unit == "count" and abs(rounded) < LARGEST_LETTER:
        size, letter = next((size, letter) for size, letter in LETTERS if abs(rounded) >= size)
        return f"{rounded / size:.{digits}g}{letter}"
    mantissa, _, exponent = f"{rounded:.{digits - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
