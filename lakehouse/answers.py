"""The answer to a statement: a table, what made it, and what a reader should know about it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.visible import visible

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

SHOWN_ROWS = 40  # of an answer in a notebook
LONGEST_TITLE = 160  # characters of a statement that are shown
# Colors follow the notebook's theme: nothing is painted but a line and the notes.
_NUMBER = "text-align:right;font-variant-numeric:tabular-nums"
_TEXT = "text-align:left"
_QUIET = "opacity:.65;font-weight:normal"


@dataclass(frozen=True)
class Answer:
    """A table with its statement, notes and units.

    Parameters
    ----------
    table : Arrow table of the rows
    statement : the text that was asked
    notes : sentences for the user: rows dropped and why, how far beyond the data a forecast goes
    units : unit of a column where it is known
    """

    table: pa.Table
    statement: str = ""
    notes: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.table.column_names)

    def arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self.table

    def pl(self) -> pl.DataFrame:
        """Return the rows as a polars frame."""
        import polars as pl

        frame = pl.from_arrow(self.table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas frame; pandas must be installed."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows as tuples."""
        columns = [values_of(column) for column in self.table.columns]
        return list(zip(*columns, strict=True)) if columns else [()] * len(self)

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as dicts."""
        names = unique_names(self.columns)
        return [dict(zip(names, row, strict=True)) for row in self.rows()]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __str__(self) -> str:
        cells = [self.columns, *([plain(value) for value in row] for row in self.rows()[:SHOWN_ROWS])]
        cells = [[visible(cell) for cell in row] for row in cells]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        if len(self) > SHOWN_ROWS:
            lines.append(f"… {len(self) - SHOWN_ROWS} more rows")
        return "\n".join([*lines, *map(visible, self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return answer_html(self)


def values_of(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column; times that Python has none of, infinite ones and those before Christ, as text."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        import duckdb
        import pyarrow as pa

        with duckdb.connect() as con:
            con.register("given", pa.table({"x": column}))
            return [text for (text,) in con.execute("SELECT x::VARCHAR FROM given").fetchall()]


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names of columns of which several may be equal, told apart as `loss`, `loss_1`."""
    found: list[str] = []
    for name in names:
        others = (f"{name}_{number}" for number in itertools.count(1))
        found.append(name if name not in found else next(other for other in others if other not in (*found, *names)))
    return found


def plain(value: Any) -> str:
    """Return a value as users read it: floats to six digits, missing as a dash.

    Example
    -------
    >>> plain(0.34731245), plain(6795600349.289), plain(None), plain([1.5, 2.0])
    ('0.347312', '6.7956e+09', '-', '[1.5, 2]')
    """
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case float() | Decimal():
            return f"{value:.6g}"
        case dict():
            return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
        case list() | tuple():
            return "[" + ", ".join(plain(item) for item in value) + "]"
        case _:
            return str(value)


def answer_html(answer: Answer) -> str:
    """Return an answer as HTML that is safe to show whatever it holds: statement, columns with units, rows, notes."""
    table = answer.arrow()
    parts = ['<div class="isoflop-answer">']
    title = " ".join(answer.statement.split())
    if title:
        cut = title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"
        parts.append(f'<div style="{_QUIET}"><code title="{escape(title)}">{escape(cut)}</code></div>')
    styles = [_NUMBER if _is_number(field.type) else _TEXT for field in table.schema]
    if table.num_columns:
        head = "".join(
            f'<th style="{style}">{escape(name)}{_unit(answer, name)}</th>'
            for name, style in zip(table.column_names, styles, strict=True)
        )
        first = Answer(table.slice(0, SHOWN_ROWS)).rows()
        rows = "".join(_row(list(row), styles) for row in first)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    counted = f"{len(answer)} row{'s' * (len(answer) != 1)}"
    more = f", {SHOWN_ROWS} shown" if len(answer) > SHOWN_ROWS else ""
    parts.append(f'<div style="{_QUIET}">{counted}{more}</div>')
    parts += [f"<div>⚠ {escape(note)}</div>" for note in answer.notes]
    return "".join([*parts, "</div>"])


def _unit(answer: Answer, name: str) -> str:
    unit = answer.units.get(name)
    return f'<br><span style="{_QUIET}">{escape(unit)}</span>' if unit else ""


def _row(values: list[Any], styles: list[str]) -> str:
    cells = (f'<td style="{style}">{escape(plain(value))}</td>' for value, style in zip(values, styles, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
