"""The answer to a statement: a table, what made it, and what a reader should know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.visible import visible

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

SHOWN_ROWS = 40


@dataclass(frozen=True)
class Answer:
    """A table with its statement, notes and units.

    Parameters
    ----------
    table : Arrow table of the rows
    statement : the text that was asked
    notes : sentences for people: rows dropped and why, how far beyond the data a forecast goes
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
        columns = [column.to_pylist() for column in self.table.columns]
        return list(zip(*columns, strict=True)) if columns else [()] * len(self)

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as dicts."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows

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
        from isoflop.lakehouse.answer_html import answer_html

        return answer_html(self)


def plain(value: Any) -> str:
    """Return a value as people read it: floats to six digits, missing as a dash.

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
