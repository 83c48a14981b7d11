"""Copying a whole lake from one DuckDB catalog to another: the base of snapshot, compact and copy.

A copy holds every table of the lake and of its users, the views, and the macros. Points come out
clustered by metric, run, attempt and step, so a question about one curve reads little of a file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.backends.catalog import LAYOUT, opening_error
from isoflop.lakehouse.backends.leftovers import partial_of, remove_leftovers
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.schema import POINT_ORDER, VALUE, create_views, migrate, narrowed
from isoflop.lakehouse.sql.execution import transaction
from isoflop.lakehouse.sql.quoting import literal, quoted

if TYPE_CHECKING:
    import duckdb

CLUSTERED = {
    "metrics": POINT_ORDER,
    "finals": "run_id, attempt, metric",
    "attempts": "run_id, attempt",
    "batches": "run_id, attempt, sequence",
    "predictions": "run_id, theory, metric, step",
}
POINTS = ("store", "metrics")
LEASE = ("store", "lease")  # says who commits here, not what is known
ROOM = 1.2  # free space a rewrite wants, as a multiple of the file


@contextlib.contextmanager
def rewritten(con: duckdb.DuckDBPyConnection, path: Path) -> Iterator[Path]:
    """Write the file of a lake anew beside it, clustered, and yield the new one, which the block puts in its place.

    Nothing else is being read or written through the database that `con` belongs to.

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
    fresh = partial_of(path)
    try:
        con.execute("CHECKPOINT")  # what is in the old file's log must not be taken for a log of the new file
        with new_file(con, fresh, "_new"):
            copy_catalog(con, current_catalog(con), "_new")
        yield fresh
    except duckdb.Error as error:
        raise opening_error(path, error) from error
    finally:
        _remove(fresh)


def copy_exactly(con: duckdb.DuckDBPyConnection, to: Path) -> None:
    """Copy a lake of whichever schema into the file `to`, in the place of one that was there.

    Raises
    ------
    duckdb.Error, OSError : if that cannot be; then `to` is as it was
    """
    partial = partial_of(to)
    try:
        with new_file(con, partial, "_kept"):
            con.execute(f"COPY FROM DATABASE {quoted(current_catalog(con))} TO _kept")
        os.replace(partial, to)
    finally:
        _remove(partial)


def current_catalog(con: duckdb.DuckDBPyConnection) -> str:
    """Return the name of the database that statements on `con` are about."""
    row = con.execute("SELECT current_database()").fetchone()
    assert row is not None
    return str(row[0])


def _remove(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    partial.with_name(partial.name + ".wal").unlink(missing_ok=True)


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
    lake, partial = current_catalog(cursor), partial_of(to)
    remove_leftovers(to)
    try:
        with new_file(cursor, partial, "_copy"):
            (copy_catalog if is_file(cursor, lake) else carry_over)(cursor, lake, "_copy")
        os.replace(partial, to)
    except (duckdb.IOException, duckdb.OutOfMemoryException, OSError) as error:
        raise opening_error(to, error) from error
    finally:
        _remove(partial)


@contextlib.contextmanager
def new_file(con: duckdb.DuckDBPyConnection, path: Path, alias: str) -> Iterator[None]:
    """Attach a new database file under `alias` and detach it, whole and on disk, after the block."""
    path.unlink(missing_ok=True)
    con.execute(f"ATTACH {literal(str(path))} AS {alias} {LAYOUT}")
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


def is_file(con: duckdb.DuckDBPyConnection, catalog: str) -> bool:
    """Return whether a catalog is a DuckDB file rather than a shared one."""
    row = con.execute("SELECT type FROM duckdb_databases() WHERE database_name = ?", [catalog]).fetchone()
    return row is not None and row[0] == "duckdb"


def carry_over(con: duckdb.DuckDBPyConnection, source: str, target: str) -> None:
    """Copy everything of catalog `source` into the empty catalog `target` of the other kind, in one transaction.

    Tables that differ in kind, those with a key, are made by the migrations; the others as they are in
    the source.
    """
    row = con.execute("SELECT current_database(), current_schema()").fetchone()
    assert row is not None
    described = people_made(con, source)
    con.execute(f"USE {quoted(target)}")
    try:
        migrate(con, is_shared=not is_file(con, target))
        with transaction(con):
            for schema, table in tables_of(con, source):
                if (schema, table) != LEASE:
                    _make_alike(con, source, target, schema, table)
                    copy_rows(con, source, target, schema, table)
            create_views(con)
            make_described(con, described)
    finally:
        con.execute(f"USE {quoted(row[0])}.{quoted(row[1])}")


def people_made(con: duckdb.DuckDBPyConnection, catalog: str) -> list[str]:
    """Return the statements that make the macros and views of a catalog, defaults included.

    DuckDB writes them itself, from a copy of the schema without its rows.
    """
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        con.execute("ATTACH ':memory:' AS _schema")
        try:
            con.execute(f"COPY FROM DATABASE {quoted(catalog)} TO _schema (SCHEMA)")
            con.execute(f"EXPORT DATABASE _schema TO {literal(folder)}")
        finally:
            con.execute("DETACH _schema")
        text = (Path(folder) / "schema.sql").read_text()
    statements = [statement.query.strip().rstrip(";") for statement in duckdb.extract_statements(text)]
    return [text for text in statements if text.startswith(("CREATE MACRO", "CREATE VIEW"))]


def make_described(con: duckdb.DuckDBPyConnection, statements: list[str]) -> None:
    """Run what makes macros and views; each may need another one first. The lake's own views are there already."""
    import duckdb

    ours = {name for (name,) in con.execute(
        "SELECT view_name FROM duckdb_views() WHERE database_name = current_database() AND schema_name = 'main'"
    ).fetchall()}  # fmt: skip
    waiting = [text for text in statements if not _names_one_of(text, ours)]
    while waiting:
        failed: list[tuple[str, duckdb.Error]] = []
        for text in waiting:
            try:
                con.execute(text.replace("CREATE MACRO", "CREATE OR REPLACE MACRO", 1))
            except duckdb.Error as error:
                failed.append((text, error))
        if len(failed) == len(waiting):
            text, why = failed[0]
            raise StoreError(f"{text.partition(' AS ')[0].strip()} cannot be copied: {why}")
        waiting = [text for text, _ in failed]


def _names_one_of(text: str, names: set[str]) -> bool:
    word = text.split()[2].strip('"')
    return text.startswith("CREATE VIEW") and word.removeprefix("main.") in names


def _make_alike(con: duckdb.DuckDBPyConnection, source: str, target: str, schema: str, table: str) -> None:
    """Make an empty table in the target with the columns it has in the source."""
    query = (
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = ? AND table_name = ? ORDER BY column_index"
    )
    wanted, present = (con.execute(query, [catalog, schema, table]).fetchall() for catalog in (source, target))
    name = f"{quoted(target)}.{quoted(schema)}.{quoted(table)}"
    if wanted == present:
        con.execute(f"DELETE FROM {name}")
        return
    columns = ", ".join(f"{quoted(column)} {kind}" for column, kind in wanted)
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(target)}.{quoted(schema)}")
    con.execute(f"DROP TABLE IF EXISTS {name}")
    con.execute(f"CREATE TABLE {name} ({columns})")


def copy_catalog(con: duckdb.DuckDBPyConnection, source: str, target: str) -> None:
    """Copy everything of file `source` into the empty file `target`, in one transaction; `con` has both attached."""
    with transaction(con):
        con.execute(f"COPY FROM DATABASE {quoted(source)} TO {quoted(target)} (SCHEMA)")
        for schema, table in tables_of(con, source):
            copy_rows(con, source, target, schema, table)


def copy_rows(con: duckdb.DuckDBPyConnection, source: str, target: str, schema: str, table: str) -> None:
    """Copy the rows of one table, clustered where the lake knows how."""
    name = f"{quoted(schema)}.{quoted(table)}"
    order = f" ORDER BY {CLUSTERED[table]}" if schema == "store" and table in CLUSTERED else ""
    columns = f"* EXCLUDE (value, single), {narrowed(VALUE)}" if (schema, table) == POINTS else "*"
    con.execute(f"INSERT INTO {quoted(target)}.{name} BY NAME SELECT {columns} FROM {quoted(source)}.{name}{order}")


def tables_of(con: duckdb.DuckDBPyConnection, catalog: str) -> list[tuple[str, str]]:
    """Return (schema, table) of every table of a catalog."""
    rows = con.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() "
        "WHERE database_name = ? AND NOT internal AND NOT temporary ORDER BY ALL",
        [catalog],
    ).fetchall()
    return [(schema, table) for schema, table in rows]
