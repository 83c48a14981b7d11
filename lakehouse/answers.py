"""The answer to a statement: a table, what made it, and what a reader should know about it."""

from __future__ import annotations

import contextlib
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
    beside : a second table, which people are shown under the first: of FIT each coefficient with its interval
    """

    table: pa.Table
    statement: str = ""
    notes: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    beside: pa.Table | None = None

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
    """Return the values of a column; times that Python has none of, infinite ones and those before Christ, and
    whole numbers of any length, as text.
    """
    try:
        return _as_text(column) if "type_name=bignum" in str(column.type) else _pylist(column)
    except (OverflowError, ValueError):
        return _as_text(column)


def _as_text(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as DuckDB writes them."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as con:
        con.register("given", pa.table({"x": column}))
        return [text for (text,) in con.execute("SELECT x::VARCHAR FROM given").fetchall()]


def _pylist(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column, its maps as dicts where their keys can be keys."""
    import pyarrow.types as types

    if types.is_nested(column.type):
        with contextlib.suppress(TypeError, KeyError):  # a key that is a list, or that is there twice
            return list(column.to_pylist(maps_as_pydicts="strict"))
    return list(column.to_pylist())


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names of columns of which several may be equal, told apart as `loss`, `loss_1`."""
    found: list[str] = []
    for name in names:
        others = (f"{name}_{number}" for number in itertools.count(1))
        found.append(name if name not in found else next(other for other in others if other not in (*found, *names)))
    return found


def plain(value: Any) -> str:
    """Return a value as users read it: floats to six digits, missing as a dash, all else as DuckDB writes it.

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
        case float():
            return f"{value:.6g}"
        case Decimal():  # as DuckDB's whole numbers beyond 64 bits come, sums among them
            return f"{value:f}"
        case bytes():
            return "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02X}" for byte in value)
        case tuple() if hasattr(value, "nanoseconds"):
            return _interval(*value)
        case dict():
            return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
        case list() | tuple():
            return "[" + ", ".join(plain(item) for item in value) + "]"
        case _:
            return str(value)


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """Return an interval as DuckDB writes it.

    Example
    -------
    >>> _interval(14, 1, 3_500_000_000), _interval(0, 0, 0)
    ('1 year 2 months 1 day 00:00:03.5', '00:00:00')
    """
    years, months = int(months / 12), months - 12 * int(months / 12)
    counts = ((years, "year"), (months, "month"), (days, "day"))
    parts = [f"{count} {word}{'s' * (abs(count) != 1)}" for count, word in counts if count]
    if nanoseconds or not parts:
        seconds, rest = divmod(abs(nanoseconds), 10**9)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        parts.append("-" * (nanoseconds < 0) + clock + (f".{rest:09}".rstrip("0") if rest else ""))
    return " ".join(parts)


def answer_html(answer: Answer) -> str:
    """Return an answer as HTML that is safe to show whatever it holds: statement, columns with units, rows, notes."""
    table = answer.arrow()
    parts = ['<div class="isoflop-answer">']
    title = " ".join(answer.statement.split())
    if title:
        cut = title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"
        parts.append(f'<div style="{_QUIET}"><code title="{escape(title)}">{escape(cut)}</code></div>')
    if table.num_columns:
        parts.append(_table(table, answer.units))
    counted = f"{len(answer)} row{'s' * (len(answer) != 1)}"
    more = f", {SHOWN_ROWS} shown" if len(answer) > SHOWN_ROWS else ""
    parts.append(f'<div style="{_QUIET}">{counted}{more}</div>')
    if answer.beside is not None:
        parts.append(_table(answer.beside, {}))
    parts += [f"<div>⚠ {escape(note)}</div>" for note in answer.notes]
    return "".join([*parts, "</div>"])


def _table(table: pa.Table, units: Mapping[str, str]) -> str:
    """Return the first rows of a table as HTML."""
    styles = [_NUMBER if _is_number(field.type) else _TEXT for field in table.schema]
    head = "".join(
        f'<th style="{style}">{escape(name)}{_unit(units.get(name))}</th>'
        for name, style in zip(table.column_names, styles, strict=True)
    )
    rows = "".join(_row(list(row), styles) for row in Answer(table.slice(0, SHOWN_ROWS)).rows())
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _unit(unit: str | None) -> str:
    return f'<br><span style="{_QUIET}">{escape(unit)}</span>' if unit else ""


def _row(values: list[Any], styles: list[str]) -> str:
    cells = (f'<td style="{style}">{escape(plain(value))}</td>' for value, style in zip(values, styles, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
