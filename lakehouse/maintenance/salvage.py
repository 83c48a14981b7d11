"""Reading what can be read of a lake's file with damaged blocks, into a new file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.backends.catalog import LakeDamaged, is_damage
from isoflop.lakehouse.backends.leftovers import partial_of
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.maintenance.rewrite import make_described, new_file, people_made, tables_of
from isoflop.lakehouse.schema.migrations import note_versions, version_by_shape
from isoflop.lakehouse.sql.quoting import literal, quoted

if TYPE_CHECKING:
    import duckdb

AT_ONCE = 122_880  # rows read together, DuckDB's row group
SMALLEST = 2_048  # rows that are given up together when one of their blocks cannot be read
CATALOG = "_damaged"
# A run whose row is lost has its points and attempts still; its settings are not known any more.
REMADE_RUNS = """
INSERT INTO store.runs BY NAME
SELECT DISTINCT run_id, run_id AS name, 'salvaged' AS family, 'salvaged' AS source, 0 AS seed, '{}'::JSON AS config,
       []::VARCHAR[] AS tags
FROM store.attempts WHERE run_id NOT IN (SELECT run_id FROM store.runs)"""


@dataclass(frozen=True)
class SavedTable:
    """What could be read of one table.

    Parameters
    ----------
    name : with its schema
    kept, lost : numbers of rows
    error : of the first block that could not be read, in DuckDB's words
    """

    name: str
    kept: int
    lost: int
    error: str | None = None


def unreadable_table(path: Path) -> str | None:
    """Return the first table of a lake's file with a damaged block and DuckDB's words about it, None for a whole file.

    Raises
    ------
    duckdb.Error : if the file cannot be opened at all
    """
    import duckdb

    with _opened(path) as con:
        for schema, table in tables_of(con, CATALOG):
            name = f"{quoted(schema)}.{quoted(table)}"
            try:
                con.execute(f"SELECT bit_xor(hash(t)) FROM {CATALOG}.{name} t").fetchall()
            except duckdb.Error as error:
                if not is_damage(path, error):
                    raise
                return f"{schema}.{table}: {_first_line(error)}"
    return None


def salvage(path: Path, to: Path) -> list[SavedTable]:
    """Copy every readable row of the file of a lake into the new file `to`.

    Raises
    ------
    LakeDamaged : if not even the list of tables can be read
    StoreError : if `to` cannot be written; then there is none
    """
    import duckdb

    partial = partial_of(to)
    try:
        with duckdb.connect() as target, new_file(target, partial, "_saved"):
            target.execute("USE _saved")
            saved = _Salvage(path, target).run()
            target.execute("USE memory")
        os.replace(partial, to)
    except duckdb.Error as error:
        if is_damage(path, error):
            raise LakeDamaged(path, error) from error
        raise StoreError(f"{to} cannot be written: {_first_line(error)}", hint="make room and try again") from error
    finally:
        partial.unlink(missing_ok=True)
        partial.with_name(partial.name + ".wal").unlink(missing_ok=True)
    return saved


class _Salvage:
    """The copying from one damaged file into an empty one."""

    def __init__(self, path: Path, target: duckdb.DuckDBPyConnection) -> None:
        self._path, self._target = path, target
        self._stack = contextlib.ExitStack()
        self._source = self._stack.enter_context(_opened(path))
        self._error: str | None = None

    def run(self) -> list[SavedTable]:
        with self._stack:
            definitions = self._source.execute(
                "SELECT schema_name, table_name, sql, "
                "schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = ? "
                "AND NOT internal AND NOT temporary ORDER BY ALL",
                [CATALOG],
            ).fetchall()
            saved = [self._table(*definition) for definition in definitions]
            self._complete(saved)
            with contextlib.suppress(StoreError):  # views and macros of a table that is not whole can be made again
                make_described(self._target, people_made(self._source, CATALOG))
            return saved

    def _complete(self, saved: list[SavedTable]) -> None:
        """Make a lake of what is saved: its version by its shape, and a run for each attempt that lost its own."""
        lost = {table.name for table in saved if table.lost}
        if "store.schema_migrations" in lost:
            self._target.execute("DELETE FROM store.schema_migrations")
            note_versions(self._target, version_by_shape(self._target))
        if "store.runs" in lost:
            self._target.execute(REMADE_RUNS)

    def _table(self, schema: str, table: str, definition: str, shown: str) -> SavedTable:
        name = f"{quoted(schema)}.{quoted(table)}"
        self._target.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
        self._target.execute(definition)
        (row,) = self._source.execute(f"SELECT coalesce(max(rowid), -1) + 1 FROM {CATALOG}.{name}").fetchall()
        self._error = None
        kept = lost = 0
        for start in range(0, int(row[0]), AT_ONCE):
            good, bad = self._rows(name, start, min(start + AT_ONCE, int(row[0])))
            kept, lost = kept + good, lost + bad
        return SavedTable(shown, kept, lost, self._error)

    def _rows(self, name: str, start: int, end: int) -> tuple[int, int]:
        """Copy the rows from `start` to before `end`, and return how many came over and how many did not."""
        import duckdb

        try:
            rows = self._source.execute(
                f"SELECT * FROM {CATALOG}.{name} WHERE rowid >= {start} AND rowid < {end}"
            ).to_arrow_table()
        except duckdb.Error as error:
            if not is_damage(self._path, error):
                raise
            self._error = self._error or _first_line(error)
            if isinstance(error, duckdb.FatalException):
                self._stack.close()
                self._source = self._stack.enter_context(_opened(self._path))
            if end - start <= SMALLEST:
                return 0, end - start
            middle = start + max(SMALLEST, (end - start) // 2 // SMALLEST * SMALLEST)
            halves = self._rows(name, start, middle), self._rows(name, middle, end)
            return halves[0][0] + halves[1][0], halves[0][1] + halves[1][1]
        self._target.register("_rows", rows)
        self._target.execute(f"INSERT INTO {name} SELECT * FROM _rows")
        self._target.unregister("_rows")
        return rows.num_rows, 0


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file for reading on a connection of its own."""
    import duckdb

    with duckdb.connect() as con:
        con.execute(f"ATTACH {literal(str(path))} AS {CATALOG} (READ_ONLY)")
        con.execute(f"USE {CATALOG}")
        yield con


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].removeprefix("IO Error: ")
