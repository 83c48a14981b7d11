"""Headings that stand several times in a table, or differ by capitals only: what their columns are called, and a note.

SQL knows a column by its name in any capitals, so the first keeps it and the others get a number, as DuckDB gives them.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Sequence

DELIMITERS = (",", "\t", ";", "|")


def told_apart_names(headings: Sequence[str]) -> list[str]:
    """Return a name for each heading that no other column has in any capitals.

    Example
    -------
    >>> told_apart_names(["loss", "Loss", "loss_1", "loss"])
    ['loss', 'Loss_1', 'loss_1_1', 'loss_2']
    """
    names: list[str] = []
    counts: dict[str, int] = {}
    for heading in headings:
        name = heading
        while name.lower() in counts:
            counts[heading.lower()] += 1
            name = f"{heading}_{counts[heading.lower()] - 1}"
        counts.setdefault(name.lower(), 1)
        names.append(name)
    return names


def repeated(headings: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return a note for each heading that several columns have.

    Parameters
    ----------
    headings : as the file has them, one for each of its columns
    columns : what these are called now
    """
    pairs_of = list(zip(headings, columns, strict=False))
    is_of_headings = all(column.lower().startswith(heading.strip().lower()) for heading, column in pairs_of)
    if len(headings) != len(columns) or not is_of_headings:  # a file that begins otherwise than with its headings
        return []
    found: dict[str, list[tuple[str, str]]] = {}
    for heading, column in pairs_of:
        found.setdefault(heading.strip().lower(), []).append((heading.strip(), column))
    notes = []
    for pairs in found.values():
        if len(pairs) > 1 and pairs[0][0]:
            spelled = " and ".join(dict.fromkeys(f"'{heading}'" for heading, _ in pairs))
            others = ", ".join(f"'{column}'" for _, column in pairs[1:])
            rest = f"the other is {others}" if len(pairs) == 2 else f"the others are {others}"
            first = f"{len(pairs)} columns are called {spelled}: the first is '{pairs[0][1]}', {rest}"
            notes.append(f"{first}; --map OURS={pairs[1][1]} takes another")
    return notes


def headings_of_text(first_line: str) -> list[str]:
    """Return the headings of a text table from its first line."""
    line = first_line.lstrip("\ufeff").rstrip("\r\n")
    delimiter = max(DELIMITERS, key=line.count)
    with contextlib.suppress(csv.Error, StopIteration):
        return next(csv.reader([line], delimiter=delimiter))
    return []


def headings_before(columns: Sequence[str]) -> list[str]:
    """Return the fields of JSON records as they were before those that differ by capitals got a number.

    Two fields of one spelling are an error of JSON, so a number is one of these where the capitals differ.
    """
    known = {column.lower(): column for column in columns}
    found = []
    for column in columns:
        match = re.fullmatch(r"(.+)_\d+", column)
        other = known.get(match[1].lower()) if match else None
        found.append(match[1] if match and other is not None and other != match[1] else column)
    return found
