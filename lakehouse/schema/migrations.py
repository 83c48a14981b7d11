"""Bring a store to the schema of this version, one numbered SQL file at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.provenance import code_version
from isoflop.lakehouse.schema.views import create_views

if TYPE_CHECKING:
    import duckdb

SCHEMA_VERSION = 3


def scripts() -> dict[int, Path]:
    """Return the migration scripts by number; `0001_runs_and_laws.sql` is number 1."""
    return {int(path.name[:4]): path for path in sorted(Path(__file__).parent.glob("[0-9]*.sql"))}


def installed_version(con: duckdb.DuckDBPyConnection) -> int:
    """Return the schema version of an open store, 0 for an empty file.

    Raises
    ------
    StoreError : if the file is a DuckDB database of somebody else
    """
    tables = con.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND database_name = current_database()"
    ).fetchall()
    if ("store", "schema_migrations") not in tables:
        if tables:
            names = ", ".join(sorted(name for _, name in tables)[:5])
            raise StoreError(
                f"this DuckDB file is not an isoflop lake: it holds other tables ({names})",
                hint="name another path with --lake; a lake can read this file: SELECT … FROM 'file.parquet' or ATTACH",
            )
        return 0
    row = con.execute("SELECT max(version) FROM store.schema_migrations").fetchone()
    return int(row[0] or 0) if row else 0


def migrate(
    con: duckdb.DuckDBPyConnection, *, backup: Callable[[int], object] | None = None, has_keys: bool = True
) -> bool:
    """Apply what is missing and return whether anything was.

    Parameters
    ----------
    con : connection whose current database is the lake
    backup : called with the old version before the schema of a lake that holds something changes
    has_keys : whether the catalog knows primary keys; a shared one does not

    Raises
    ------
    StoreError : if the store was written by a newer isoflop
    """
    version = installed_version(con)
    if version > SCHEMA_VERSION:
        row = con.execute(
            "SELECT isoflop_version FROM store.schema_migrations ORDER BY version DESC LIMIT 1"
        ).fetchone()
        raise StoreError(
            f"this lake has schema {version}; isoflop {code_version()} reads up to schema {SCHEMA_VERSION}",
            hint=f"install isoflop {row[0] if row else 'of the version that wrote it'} or newer",
        )
    missing = {number: path for number, path in scripts().items() if number > version}
    if missing and version > 0 and backup is not None:
        backup(version)
    for number, path in missing.items():
        con.execute("BEGIN")
        try:
            con.execute("CREATE SCHEMA IF NOT EXISTS store")
            con.execute(
                "CREATE TABLE IF NOT EXISTS store.schema_migrations "
                "(version INTEGER, name VARCHAR, applied_at TIMESTAMP, isoflop_version VARCHAR)"
            )
            text = path.read_text()
            con.execute(text if has_keys else text.replace(" PRIMARY KEY", ""))
            con.execute(
                "INSERT INTO store.schema_migrations VALUES (?, ?, (now() AT TIME ZONE 'UTC')::TIMESTAMP, ?)",
                [number, path.stem, code_version()],
            )
            if number == max(missing):  # the views of this version want the tables of this version
                create_views(con)
            con.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):
                con.execute("ROLLBACK")
            raise
    return bool(missing)
