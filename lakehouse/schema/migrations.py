"""Bring a store to the schema of this version, one numbered SQL file at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.runs.metrics import is_highest_by_name, recomputed
from isoflop.lakehouse.runs.provenance import code_version
from isoflop.lakehouse.schema.views import VIEWS, create_views, view_names
from isoflop.lakehouse.sql.execution import transaction

if TYPE_CHECKING:
    import duckdb

NOTE = "INSERT INTO store.schema_migrations VALUES (?, ?, (now() AT TIME ZONE 'UTC')::TIMESTAMP, ?)"
# Of which metrics the largest value was the best one before schema 4.
WAS_HIGHEST = "regexp_matches(metric, '(accuracy|acc|reward|score|bleu|f1)$')"
TURNED = (
    "metric IN (SELECT metric FROM (SELECT DISTINCT metric FROM store.finals) "
    f"WHERE {WAS_HIGHEST} <> {is_highest_by_name()})"
)


def scripts() -> dict[int, Path]:
    """Return the migration scripts by number; `0001_runs_and_laws.sql` is number 1."""
    return {int(path.name[:4]): path for path in sorted(Path(__file__).parent.glob("[0-9]*.sql"))}


SCHEMA_VERSION = max(scripts())


def installed_version(con: duckdb.DuckDBPyConnection) -> int:
    """Return the schema version of an open store, 0 for an empty file.

    Raises
    ------
    StoreError : if the file is a DuckDB database of another program
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


def version_by_shape(con: duckdb.DuckDBPyConnection) -> int:
    """Return the schema version that a store has by the columns of its tables; 0 for none."""
    import duckdb

    there = _columns(con)
    found = 0
    with duckdb.connect() as plain:
        plain.execute("CREATE SCHEMA store")
        for number, path in scripts().items():
            plain.execute(path.read_text())
            if _columns(plain) <= there:
                found = number
    return found


def note_versions(con: duckdb.DuckDBPyConnection, version: int) -> None:
    """Note in a store whose own list is lost that it has been brought to a version."""
    for number, path in scripts().items():
        if number <= version:
            con.execute(NOTE, [number, path.stem, code_version()])


def _columns(con: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
    """Return the columns of the tables in `store`, further settings of runs among them."""
    rows = con.execute(
        "SELECT table_name, column_name FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = 'store'"
    ).fetchall()
    return {(str(table), str(column)) for table, column in rows}


def check_version(con: duckdb.DuckDBPyConnection, place: object) -> None:
    """Check that a lake that must not be changed has the schema of this version already.

    Raises
    ------
    StoreError : if it has another one
    """
    version = installed_version(con)
    if version == SCHEMA_VERSION:
        return
    newer = version > SCHEMA_VERSION
    raise StoreError(
        f"{place} has schema {version}, and this isoflop reads schema {SCHEMA_VERSION}",
        hint="install the isoflop that wrote it"
        if newer
        else "open it once without --read-only to bring it up to date",
    )


def migrate(
    con: duckdb.DuckDBPyConnection, *, backup: Callable[[int], object] | None = None, is_shared: bool = False
) -> bool:
    """Apply what is missing, in one transaction, and return whether anything was.

    Parameters
    ----------
    con : connection whose current database is the lake
    backup : called with the old version before the schema of a lake that holds something changes
    is_shared : whether the catalog is a shared one: it knows no primary keys, its old tables are copied
        into a schema of their own in the same transaction, and whoever commits meanwhile starts again

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
    if not missing:
        if not VIEWS <= set(view_names(con)):  # somebody has dropped one, or this isoflop knows another one
            with transaction(con):
                create_views(con)
        return False
    if version > 0 and backup is not None:
        backup(version)
    with transaction(con):
        if version > 0 and is_shared:
            _keep_tables(con, version)
        con.execute("CREATE SCHEMA IF NOT EXISTS store")
        con.execute(
            "CREATE TABLE IF NOT EXISTS store.schema_migrations "
            "(version INTEGER, name VARCHAR, applied_at TIMESTAMP, isoflop_version VARCHAR)"
        )
        for number, path in missing.items():
            text = path.read_text()
            con.execute(text.replace(" PRIMARY KEY", "") if is_shared else text)
            con.execute(NOTE, [number, path.stem, code_version()])
        if 0 < version < 4:
            con.execute(recomputed(TURNED, WAS_HIGHEST))
        if 0 < version < 7:
            _widen(con, ("unique_tokens", "epochs"))
        create_views(con)
    return True


def _widen(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
    """Let columns of runs hold fractions that came as whole numbers, inside the caller's transaction."""
    rows = con.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() AND schema_name = 'store' "
        "AND table_name = 'runs' AND data_type = 'BIGINT' AND column_name IN (SELECT unnest(?))",
        [list(names)],
    ).fetchall()
    for (name,) in rows:
        con.execute(f"ALTER TABLE store.runs ALTER COLUMN {name} TYPE DOUBLE")


def backup_schema(version: int) -> str:
    """Return the schema in which a shared lake keeps its tables as they were at `version`."""
    return f"schema_{version}_backup"


def _keep_tables(con: duckdb.DuckDBPyConnection, version: int) -> None:
    """Copy every table of a shared lake, inside the caller's transaction; no writer may come between."""
    tables = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'store'"
    ).fetchall()
    con.execute(f"CREATE SCHEMA {backup_schema(version)}")
    for (table,) in tables:
        con.execute(f"CREATE TABLE {backup_schema(version)}.{table} AS FROM store.{table}")
    if ("lease",) in tables:
        con.execute("UPDATE store.lease SET turn = turn + 1")  # of two transactions that do so one is refused
