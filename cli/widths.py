"""A table as wide as a terminal: whole columns left out in the middle, no number cut or folded.

Columns without a value go first, notes and long texts become lines under the table or shorter, and what is left out is
said by name.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

EMPTY = "-"  # how a missing value is shown
GAP = 3  # characters between two columns
LONGEST_TEXT = 40  # characters of a text in a table that has to be narrower
SHORTEST_TEXT = 12  # characters below which no text is cut
NOTES = "notes"
NAMED = 12  # columns left out that are named
SAMPLE = 200  # rows that widths are measured over
# Numbers as cells show them: 1.5, -3e+10, nan, 4,096, 1.4T, 3.0 MiB.
_NUMBER = re.compile(r"[+-]?(?:[\d,]+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:[MBT]| [KMGT]?i?B)?|[+-]?inf|nan")


@dataclass(frozen=True)
class FittedTable:
    """What is shown of a table.

    Parameters
    ----------
    columns, rows : of cells
    are_numbers : of each column, whether it stands to the right
    under : lines below the table
    """

    columns: list[str]
    rows: list[list[str]]
    are_numbers: list[bool]
    under: tuple[str, ...] = ()


def natural_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a table is whose texts are not longer than usual."""
    widths = _widths(columns, rows)
    numbers = [_is_column_of_numbers(rows, place) for place in range(len(columns))]
    return sum(
        (width if is_number else max(min(width, LONGEST_TEXT), len(name))) + GAP
        for width, is_number, name in zip(widths, numbers, columns, strict=True)
    )


def on_its_side(columns: Sequence[str], cells: Sequence[str]) -> FittedTable:
    """Return a single row as a table with a line for each column that has a value; its texts are folded, not cut."""
    lines = [[name, cell] for name, cell in zip(columns, cells, strict=True) if cell != EMPTY]
    empty = [name for name, cell in zip(columns, cells, strict=True) if cell == EMPTY]
    under = (f"without a value: {', '.join(empty)}",) if empty else ()
    return FittedTable(["column", "value"], lines, [False, False], under)


def fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> FittedTable:
    """Return a table that is at most so wide.

    Example
    -------
    >>> numbers = {f"input_{place}": f"{place}.25e+21" for place in range(1, 9)}
    >>> shown = fit(list(numbers), [list(numbers.values())], 62)
    >>> shown.columns
    ['input_1', 'input_2', 'input_3', 'input_4', '…', 'input_8']
    >>> print(*shown.under, sep="\\n")
    … 3 more columns: input_5, input_6, input_7; --format lines
      shows them all
    """
    whole = FittedTable(
        list(columns), [list(row) for row in rows], [_is_column_of_numbers(rows, c) for c in range(len(columns))]
    )
    if _total(whole) <= width or not rows:
        return whole
    left_out: list[str] = []
    shown, under = _with_notes_below(whole)
    empty = [place for place in range(len(shown.columns)) if all(row[place] == EMPTY for row in shown.rows)]
    if len(empty) < len(shown.columns):
        left_out += [shown.columns[place] for place in empty]
        shown = _without(shown, set(empty))
    shown = _with_shorter_texts(shown, width)
    shown, dropped = _without_the_middle(shown, width)
    left_out += dropped
    if left_out:
        listed = ", ".join(left_out[:NAMED]) + (", …" if len(left_out) > NAMED else "")
        many = "1 more column" if len(left_out) == 1 else f"{len(left_out)} more columns"
        under = [f"… {many}: {listed}; --format lines shows them all", *under]
    wrapped = (textwrap.wrap(line, width, subsequent_indent="  ") for line in under)
    return replace(shown, under=tuple(itertools.chain.from_iterable(wrapped)))


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(name), *(len(row[place]) for row in rows[:SAMPLE]), 1) for place, name in enumerate(columns)]


def _total(shown: FittedTable) -> int:
    return sum(_widths(shown.columns, shown.rows)) + GAP * (len(shown.columns) - 1)


def _without(shown: FittedTable, places: set[int]) -> FittedTable:
    kept = [place for place in range(len(shown.columns)) if place not in places]
    return FittedTable(
        [shown.columns[place] for place in kept],
        [[row[place] for place in kept] for row in shown.rows],
        [shown.are_numbers[place] for place in kept],
    )


def _with_notes_below(shown: FittedTable) -> tuple[FittedTable, list[str]]:
    """Return the table without its notes, and these as lines, each once."""
    if NOTES not in shown.columns:
        return shown, []
    place = shown.columns.index(NOTES)
    said: dict[str, list[int]] = {}
    for number, row in enumerate(shown.rows, 1):
        if row[place] not in (EMPTY, "", "[]"):
            said.setdefault(row[place], []).append(number)
    lines = [f"row {', '.join(map(str, numbers))}: {text}" for text, numbers in said.items()]
    return _without(shown, {place}), lines


def _with_shorter_texts(shown: FittedTable, width: int) -> FittedTable:
    """Return the table with its longest texts cut, as far as that helps."""
    for most in (LONGEST_TEXT, 24, SHORTEST_TEXT):
        if _total(shown) <= width:
            break
        shown = replace(
            shown,
            rows=[
                [
                    cell if is_number else _cut(cell, most)
                    for cell, is_number in zip(row, shown.are_numbers, strict=True)
                ]
                for row in shown.rows
            ],
        )
    return shown


def _without_the_middle(shown: FittedTable, width: int) -> tuple[FittedTable, list[str]]:
    """Return the table with as many of its first columns, and its last ones, as there is room for; and what is gone."""
    if _total(shown) <= width:
        return shown, []
    widths = _widths(shown.columns, shown.rows)
    room = width - 1 - GAP  # for the dots
    first, last = 0, len(widths)
    while first < last:
        takes_last = (first + len(widths) - last) % 3 == 2  # two from the left, one from the right
        place = last - 1 if takes_last else first
        if widths[place] + GAP > room and first > 0:
            break
        room -= widths[place] + GAP
        first, last = (first, last - 1) if takes_last else (first + 1, last)
    if first >= last:
        return shown, []
    dropped = shown.columns[first:last]
    columns = [*shown.columns[:first], "…", *shown.columns[last:]]
    rows = [[*row[:first], "…", *row[last:]] for row in shown.rows]
    numbers = [*shown.are_numbers[:first], False, *shown.are_numbers[last:]]
    return FittedTable(columns, rows, numbers), dropped


def _cut(text: str, most: int | None) -> str:
    line = text.replace("\n", " ")
    if most is None:
        return text
    return line if len(line) <= most else line[: most - 1] + "…"


def _is_column_of_numbers(rows: Sequence[Sequence[str]], place: int) -> bool:
    return bool(rows) and all(_is_number(row[place]) for row in rows)


def _is_number(cell: str) -> bool:
    return cell == EMPTY or _NUMBER.fullmatch(cell) is not None
