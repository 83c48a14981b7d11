"""Values of a table that cannot be what their columns say, found row by row before anything is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.exchange.landing import MEASURED
from isoflop.lakehouse.exchange.recognizing import NUMBERS, WHOLE
from isoflop.lakehouse.exchange.table_columns import columns_of
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.sql.quoting import quoted

if TYPE_CHECKING:
    import duckdb

ENDS = ("loss", "validation_loss")  # NaN and infinity are how these say that a run diverged


@dataclass(frozen=True)
class BadRow:
    """A value that cannot be what its column says."""

    row: int
    column: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.column} is {self.value!r}, {self.why}"


def find_bad(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str], *, is_curve: bool) -> int:
    """Fill the table `bad` (row, position, column, value, why) of impossible values and return how many rows have one.

    A loss may be NaN or infinite, that is how a run diverges; a point of a curve may lie at zero tokens.
    """
    parts = ['SELECT "row", -1 AS position, "column", value, why FROM unread']
    for position, name in enumerate(name for name in NUMBERS if name in columns):
        cell, number = quoted(name), f"TRY_CAST({quoted(name)}::VARCHAR AS DOUBLE)"
        if name in WHOLE:
            wrong = f"WHEN NOT isfinite({number}) OR {number} <> floor({number}) THEN 'not a whole number' "
            wrong += f"WHEN {number} <= 0 THEN 'not a positive number' " if name == "steps" else ""
        elif name in COUNTS or name == "step_seconds":
            least = f"{number} < 0" if is_curve else f"{number} <= 0"
            words = "a finite number from zero up" if is_curve else "a positive finite number"
            wrong = f"WHEN NOT isfinite({number}) OR {least} THEN 'not {words}' "
        elif name in MEASURED and name not in ENDS and not is_curve:
            wrong = f"WHEN NOT isfinite({number}) THEN 'not finite' "
        else:
            wrong = ""
        why = f"CASE WHEN {cell} IS NULL THEN NULL WHEN {number} IS NULL THEN 'not a number' {wrong}END"
        parts.append(
            f"SELECT rowid + 1 AS row, {position} AS position, '{name}' AS \"column\", {cell}::VARCHAR AS value, "
            f"{why} AS why FROM rows"
        )
    con.execute(f"CREATE TABLE bad AS SELECT * FROM ({' UNION ALL '.join(parts)}) WHERE why IS NOT NULL")
    (count,) = con.execute("SELECT count(DISTINCT row) FROM bad").fetchone() or (0,)
    return int(count)


def shown_bad(con: duckdb.DuckDBPyConnection, limit: int) -> tuple[list[BadRow], int]:
    """Return the first bad values in the file's order, and how many more there are."""
    rows = con.execute(f'SELECT row, "column", value, why FROM bad ORDER BY row, position LIMIT {limit}').fetchall()
    (count,) = con.execute("SELECT count(*) FROM bad").fetchone() or (0,)
    return [BadRow(*row) for row in rows], int(count) - len(rows)


def drop_bad(con: duckdb.DuckDBPyConnection) -> None:
    """Take the bad rows out of `rows`."""
    con.execute("CREATE TABLE kept AS SELECT * FROM rows WHERE rowid + 1 NOT IN (SELECT row FROM bad) ORDER BY rowid")
    con.execute("DROP TABLE rows")
    con.execute("ALTER TABLE kept RENAME TO rows")


def make_numbers(con: duckdb.DuckDBPyConnection, columns: Mapping[str, str]) -> dict[str, str]:
    """Give our number columns that still are text their numbers; returns the columns anew."""
    wanted = {name: "DOUBLE" for name in NUMBERS if columns.get(name) in ("VARCHAR", "JSON", "BOOLEAN")}
    wanted |= {name: "BIGINT" for name in ("step", "seed")}
    wanted["run_id"] = "VARCHAR"
    for name, kind in wanted.items():
        if columns.get(name, kind) != kind:
            con.execute(f"ALTER TABLE rows ALTER COLUMN {quoted(name)} TYPE {kind}")
    return columns_of(con, "rows")
