"""Copying a whole lake from one DuckDB catalog to another: the base of snapshot, compact and copy.

A copy holds every table of the lake and of its people, the views, and the macros. Points come out
clustered by run, attempt, metric and step, so a question about one curve reads little of a file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.catalog import opening_error
from isoflop.lakehouse.errors import StoreError

if TYPE_CHECKING:
    import duckdb

CLUSTERED = {
    "metrics": "run_id, attempt, metric, step",
    "finals": "run_id, attempt, metric",
    "attempts": "run_id, attempt",
    "batches": "run_id, attempt, sequence",
}
ROOM = 1.2  # free space a rewrite wants, as a multiple of the file


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def rewrite(path: Path) -> None:
    """Write the file of a lake anew, clustered, and put it in the old one's place; nobody may have it open.

    Raises
    ------
    StoreError : if there is no room for it; the old file stays
    """
    import duckdb

    free, size = shutil.disk_usage(path.parent).free, path.stat().st_size
    if free < ROOM * size:
        raise StoreError(
            f"rewriting {path} needs {ROOM * size / 2**20:.0f} MiB beside it, {free / 2**20:.0f} MiB are free",
            hint="make room; the lake is as it was",
        )
    fresh = path.with_name(f"{path.name}.{os.getpid()}.partial")
    con = duckdb.connect()
    try:
        # Attached, the old file stays locked against other writers until the new one is in its place.
        con.execute(f"ATTACH {literal(str(path))} AS _old (READ_ONLY)")
        with new_file(con, fresh, "_new"):
            copy_catalog(con, "_old", "_new")
        os.replace(fresh, path)
    except duckdb.Error as error:
        raise opening_error(path, error) from error
    finally:
        con.close()
        fresh.unlink(missing_ok=True)


def copy_into(cursor: duckdb.DuckDBPyConnection, to: Path) -> None:
    """Copy the cursor's lake into a new file; readers and writers of the lake go on.

    Raises
    ------
    StoreError : if the file cannot be written; then there is none
    """
    import duckdb

    if to.exists():
        raise StoreError(f"{to} exists; a snapshot overwrites nothing", hint="name another file")
    if not to.parent.is_dir():
        raise StoreError(f"the folder {to.parent} does not exist", hint=f"mkdir -p {to.parent}")
    row = cursor.execute("SELECT current_database()").fetchone()
    assert row is not None
    partial = to.with_name(f"{to.name}.{os.getpid()}.partial")
    try:
        with new_file(cursor, partial, "_copy"):
            copy_catalog(cursor, row[0], "_copy")
        os.replace(partial, to)
    except (duckdb.IOException, duckdb.OutOfMemoryException, OSError) as error:
        raise opening_error(to, error) from error
    finally:
        partial.unlink(missing_ok=True)
        partial.with_name(partial.name + ".wal").unlink(missing_ok=True)


@contextlib.contextmanager
def new_file(con: duckdb.DuckDBPyConnection, path: Path, alias: str) -> Iterator[None]:
    """Attach a new database file under `alias` and detach it, whole and on disk, after the block."""
    path.unlink(missing_ok=True)
    con.execute(f"ATTACH {literal(str(path))} AS {alias}")
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            con.execute(f"DETACH {alias}")
        raise
    con.execute(f"CHECKPOINT {alias}")
    con.execute(f"DETACH {alias}")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_catalog(con: duckdb.DuckDBPyConnection, source: str, target: str) -> None:
    """Copy everything of file `source` into the empty file `target`, in one transaction; `con` has both attached."""
    con.execute("BEGIN")
    try:
        con.execute(f"COPY FROM DATABASE {quoted(source)} TO {quoted(target)} (SCHEMA)")
        for schema, table in tables_of(con, source):
            copy_rows(con, source, target, schema, table)
        con.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(Exception):
            con.execute("ROLLBACK")
        raise


def copy_rows(con: duckdb.DuckDBPyConnection, source: str, target: str, schema: str, table: str) -> None:
    """Copy the rows of one table, clustered where the lake knows how."""
    name = f"{quoted(schema)}.{quoted(table)}"
    order = f" ORDER BY {CLUSTERED[table]}" if schema == "store" and table in CLUSTERED else ""
    con.execute(f"INSERT INTO {quoted(target)}.{name} BY NAME SELECT * FROM {quoted(source)}.{name}{order}")


def tables_of(con: duckdb.DuckDBPyConnection, catalog: str) -> list[tuple[str, str]]:
    """Return (schema, table) of every table of a catalog."""
    rows = con.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() "
        "WHERE database_name = ? AND NOT internal AND NOT temporary ORDER BY ALL",
        [catalog],
    ).fetchall()
    return [(schema, table) for schema, table in rows]
