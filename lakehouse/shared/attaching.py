"""Attaching a shared lake to a DuckDB database of this process's own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.address import SharedAddress
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.schema import migrate
from isoflop.lakehouse.schema.migrations import check_version
from isoflop.lakehouse.shared.extensions import load_extension
from isoflop.lakehouse.shared.life import let_go, look_afresh
from isoflop.lakehouse.shared.outage import Recovery, is_conflict, pause
from isoflop.lakehouse.shared.upkeep import keep_runs_in_files, settle_in

if TYPE_CHECKING:
    import duckdb

CATALOG = "lake"  # the name under which the lake is attached


def attach(address: SharedAddress, is_read_only: bool, patience: float) -> tuple[duckdb.DuckDBPyConnection, bool]:
    """Attach a lake, making it where it does not exist.

    Parameters
    ----------
    address : its catalog and the place of its data
    is_read_only : attach it for reading only, and then reach nothing but its data
    patience : for how long a catalog that is away is waited for [s]

    Returns
    -------
    the connection, and whether the lake was empty

    Raises
    ------
    StoreError : if the catalog does not answer or refuses us, or the extensions are missing
    """
    import duckdb

    recovery = Recovery(address, patience, lambda: look_afresh(address), reopen=lambda: None)
    while True:
        con = duckdb.connect()
        try:
            return con, _attached(con, address, is_read_only)
        except duckdb.Error as error:
            let_go(con)
            try:
                recovery.after(error)
            except duckdb.Error:
                raise StoreError(f"{address} cannot be opened: {str(error).splitlines()[0]}") from error
        except BaseException:
            let_go(con)
            raise


def _attached(con: duckdb.DuckDBPyConnection, address: SharedAddress, is_read_only: bool) -> bool:
    """Attach the lake to an empty database; returns whether the lake was empty."""
    for name in ("postgres_scanner", "ducklake", *(("httpfs",) if address.is_remote_data else ())):
        load_extension(con, name)
    # DuckLake's own retries wait ever longer without a limit; ours, above them, are capped and jittered.
    con.execute("SET GLOBAL ducklake_max_retry_count = 3")
    con.execute("SET GLOBAL ducklake_retry_wait_ms = 10")
    if address.is_remote_data:
        _use_credentials(con)
    elif not is_read_only:
        _make_folder(Path(address.data))
    catalog = f"ducklake:postgres:{address.connection_string}".replace("'", "''")
    data = address.data.replace("'", "''")
    options = ", READ_ONLY" if is_read_only else ""
    con.execute(f"ATTACH IF NOT EXISTS '{catalog}' AS {CATALOG} (DATA_PATH '{data}/'{options})")
    con.execute(f"USE {CATALOG}")
    if not is_read_only:
        return _prepared(con, address)
    check_version(con, address)
    con.execute(f"SET GLOBAL allowed_directories = ['{data}/']")
    con.execute("SET GLOBAL enable_external_access = false")
    con.execute("SET GLOBAL lock_configuration = true")
    return False


def _prepared(con: duckdb.DuckDBPyConnection, address: SharedAddress) -> bool:
    """Bring the schema up to date; several processes may try at once. Returns whether the lake was empty."""
    import duckdb

    for tries in range(10):
        try:
            row = con.execute(
                "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database()"
            ).fetchone()
            if migrate(con, is_shared=True):
                settle_in(con, CATALOG)
            keep_runs_in_files(con, CATALOG)
            return row is not None and row[0] == 0
        except duckdb.Error as error:
            if not is_conflict(error) and "already exists" not in str(error):
                raise
            time.sleep(pause(tries + 3))
    raise StoreError(f"{address} is being made by other processes", hint="try again")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the data folder {path} cannot be made: {error.strerror}") from error


def _use_credentials(con: duckdb.DuckDBPyConnection) -> None:
    """Give DuckDB the object store's keys from the environment, for this process only."""
    known = {
        "KEY_ID": "AWS_ACCESS_KEY_ID", "SECRET": "AWS_SECRET_ACCESS_KEY", "SESSION_TOKEN": "AWS_SESSION_TOKEN",
        "REGION": "AWS_REGION", "ENDPOINT": "AWS_ENDPOINT_URL",
    }  # fmt: skip
    for setting in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
        con.execute(f"SET GLOBAL {setting} = ''")  # httpfs reads the environment too, and duckdb_settings() shows that
    found = {name: os.environ[variable] for name, variable in known.items() if os.environ.get(variable)}
    if "KEY_ID" not in found:
        return
    is_plain = found.get("ENDPOINT", "").startswith("http://")
    if "ENDPOINT" in found:
        found["ENDPOINT"] = found["ENDPOINT"].partition("://")[2] or found["ENDPOINT"]
    settings = ", ".join(f"{name} '{value.replace(chr(39), chr(39) * 2)}'" for name, value in found.items())
    style = ", URL_STYLE 'path'" if "ENDPOINT" in found else ""
    con.execute(f"CREATE OR REPLACE SECRET isoflop (TYPE s3, {settings}{style}, USE_SSL {str(not is_plain).lower()})")
