"""A lake in a shared catalog, as one process sees it.

Readers go straight to the data, from any machine and at any time. Writers take turns: each
transaction changes the lease, so that one of two simultaneous ones is refused and starts again.
The catalog may be away for a while; requests wait a little, the spool waits as long as it takes.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isoflop.lakehouse.address import SharedAddress
from isoflop.lakehouse.backends.backend import Parameters, Statement
from isoflop.lakehouse.backends.catalog import NotCommitted
from isoflop.lakehouse.backends.connection import Connections, LocalConnection
from isoflop.lakehouse.backends.store import IS_REMEMBERED, REMEMBER
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.writer import Drained, drain, has_batches
from isoflop.lakehouse.runs.provenance import host_name
from isoflop.lakehouse.schema import migrate
from isoflop.lakehouse.schema.migrations import check_version
from isoflop.lakehouse.shared.extensions import load_extension
from isoflop.lakehouse.shared.lease import BUMP, Fenced, Lease
from isoflop.lakehouse.shared.outage import CatalogAway, CatalogRefused, is_away, is_conflict, is_refused, pause
from isoflop.lakehouse.shared.upkeep import compact, settle_in
from isoflop.lakehouse.sql.reads import check_reads
from isoflop.lakehouse.sql.running import run_text, transaction

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

CATALOG = "lake"  # the name under which the lake is attached
PATIENCE = 10.0  # seconds a request waits for a catalog that is away
UPKEEP_EVERY = 300  # commits of the spool between two rounds of upkeep
CONFLICTS = 40  # how often a transaction starts again when others come between

Result = TypeVar("Result")


class SharedStore:
    """A shared lake, attached by this process.

    Parameters
    ----------
    address : its catalog and the place of its data
    spool_folder : where finished batches of this machine lie
    is_read_only : attach it for reading only, and then reach nothing but its data

    Raises
    ------
    StoreError : if the catalog does not answer or refuses us, or the extensions are missing
    """

    is_shared = True

    def __init__(self, address: SharedAddress, spool_folder: Path, is_read_only: bool = False) -> None:
        self.address, self._is_read_only = address, is_read_only
        self.is_new = False
        self._spool_folder = spool_folder
        spool = f"{host_name()}:{spool_folder}" if address.is_remote_data else str(spool_folder)
        self._lease = Lease(spool)
        self._writing = threading.RLock()
        self._commits = 0
        self._connections = Connections()
        self._con = self._attached()

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run statements and return the last one's rows as Arrow."""

        def run() -> pa.Table:
            with self._cursor(relations) as cursor:
                if self._is_read_only:
                    check_reads(
                        sql, lambda text, values: cursor.execute(text, values).to_arrow_table(), relations or {}
                    )
                return run_text(cursor, sql, parameters)

        return self._patiently(run)

    def connection(self) -> LocalConnection:
        """Return a connection that lasts, whose current catalog is the lake."""

        def begin() -> LocalConnection:
            cursor = self._con.cursor()
            cursor.execute(f"USE {CATALOG}")
            return LocalConnection(cursor, self._connections, before_write=BUMP, is_read_only=self._is_read_only)

        return self._patiently(begin)

    def write(
        self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None, token: str | None = None
    ) -> None:
        """Run statements in one transaction: all of them or none, after or before every other writer."""

        def run(cursor: duckdb.DuckDBPyConnection) -> None:
            cursor.execute(BUMP)
            if token is not None:
                if cursor.execute(IS_REMEMBERED, [token]).fetchone():
                    return
                cursor.execute(REMEMBER, [token])
            for sql, parameters in statements:
                cursor.execute(sql, parameters)

        self._transact(run, relations)

    def drain(self) -> Drained:
        """Commit what lies in the spool, unless a live committer elsewhere does that.

        Raises
        ------
        Fenced : once, if another committer has taken the spool over
        StoreError : if the catalog or its data takes nothing now; the spool keeps it
        """
        import duckdb

        with self._writing:
            if not has_batches(self._spool_folder):
                return Drained()
            if self._lease.epoch is None and not self.take_lease():
                return Drained()

            def commit(work: Callable[[duckdb.DuckDBPyConnection], Drained]) -> Drained:
                def run(cursor: duckdb.DuckDBPyConnection) -> Drained:
                    self._lease.check(cursor)
                    return work(cursor)

                return self._transact(run)

            try:
                done = drain(commit, self._spool_folder, self)
                self._commits += 1 if done.files else 0
            except duckdb.Error as error:
                raise NotCommitted(self.address, error) from error
            if self._commits >= UPKEEP_EVERY:
                self._commits = 0
                with contextlib.suppress(duckdb.Error, StoreError):  # what is left is done in the next round
                    self.compact()
            return done

    def take_lease(self, *, by_force: bool = False) -> bool:
        """Become the committer of this spool; False when another live process is."""
        try:
            return self._transact(lambda cursor: self._lease.take(cursor, by_force=by_force))
        except BaseException:
            self._lease.epoch = None  # whether it was ours for a moment the next look says
            raise

    def compact(self) -> None:
        """Merge small files, cluster the points, and give back the room of what nobody can see any more."""
        with self._writing:
            self._patiently(lambda: self.with_cursor(lambda cursor: compact(cursor, CATALOG)))
            self._commits = 0

    def snapshot(self, to: Path) -> None:
        """Write a consistent copy of the lake into a new DuckDB file."""
        from isoflop.lakehouse.maintenance.rewrite import copy_into

        self._patiently(lambda: self.with_cursor(lambda cursor: copy_into(cursor, to)))

    def close(self) -> None:
        """Let the next committer take over at once, and disconnect."""
        with self._writing:
            if self._lease.epoch is not None:
                with contextlib.suppress(Exception):
                    self._once(self._lease.release, None)
            self._connections.close()
            self._con.close()

    # Transactions

    def _transact(
        self, work: Callable[[duckdb.DuckDBPyConnection], Result], relations: Mapping[str, pa.Table] | None = None
    ) -> Result:
        """Run `work` in one transaction, again from the start when another writer came between."""
        import duckdb

        with self._writing:
            conflicts = 0
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    return self._once(work, relations)
                except duckdb.Error as error:
                    if is_conflict(error) and conflicts < CONFLICTS:
                        conflicts += 1
                    elif not is_away(error):
                        raise
                    elif time.monotonic() > until:
                        raise CatalogAway(self.address, error) from error
                    time.sleep(pause(conflicts))

    def _once(
        self, work: Callable[[duckdb.DuckDBPyConnection], Result], relations: Mapping[str, pa.Table] | None
    ) -> Result:
        with self._cursor(relations) as cursor, transaction(cursor):
            return work(cursor)

    def _patiently(self, ask: Callable[[], Result]) -> Result:
        """Ask, and ask again for some seconds while the catalog is away."""
        import duckdb

        until, tries = time.monotonic() + PATIENCE, 0
        while True:
            try:
                return ask()
            except duckdb.Error as error:
                if is_refused(error) and "ostgres" in str(error):
                    raise CatalogRefused(self.address, error) from error
                if not is_away(error):
                    raise
                if time.monotonic() > until:
                    raise CatalogAway(self.address, error) from error
                tries += 1
                time.sleep(pause(tries + 3))

    def with_cursor(self, work: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        """Do something with a connection of its own whose current catalog is the lake."""
        with self._cursor() as cursor:
            return work(cursor)

    @contextlib.contextmanager
    def _cursor(self, relations: Mapping[str, pa.Table] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._con.cursor()
        try:
            cursor.execute(f"USE {CATALOG}")
            for name, table in (relations or {}).items():
                cursor.register(name, table)
            yield cursor
        finally:
            cursor.close()

    # Attaching

    def _attached(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        con = duckdb.connect()
        try:
            for name in ("postgres_scanner", "ducklake", *(("httpfs",) if self.address.is_remote_data else ())):
                load_extension(con, name)
            # DuckLake's own retries wait ever longer without a limit; ours, above them, are capped and jittered.
            con.execute("SET GLOBAL ducklake_max_retry_count = 3")
            con.execute("SET GLOBAL ducklake_retry_wait_ms = 10")
            if self.address.is_remote_data:
                _use_credentials(con)
            elif not self._is_read_only:
                _make_folder(Path(self.address.data))
            self._patiently(lambda: self._attach(con))
            if self._is_read_only:
                self._lock_up(con)
            else:
                self.is_new = self._patiently(lambda: self._prepared(con))
        except duckdb.Error as error:
            con.close()
            raise StoreError(f"{self.address} cannot be opened: {str(error).splitlines()[0]}") from error
        except BaseException:
            con.close()
            raise
        return con

    def _attach(self, con: duckdb.DuckDBPyConnection) -> None:
        catalog = f"ducklake:postgres:{self.address.connection_string}".replace("'", "''")
        data = self.address.data.replace("'", "''")
        options = ", READ_ONLY" if self._is_read_only else ""
        con.execute(f"ATTACH IF NOT EXISTS '{catalog}' AS {CATALOG} (DATA_PATH '{data}/'{options})")

    def _lock_up(self, con: duckdb.DuckDBPyConnection) -> None:
        """Check the schema, and let this connection reach nothing but the lake's data from here on."""
        con.execute(f"USE {CATALOG}")
        check_version(con, self.address)
        data = self.address.data.replace("'", "''")
        con.execute(f"SET GLOBAL allowed_directories = ['{data}/']")
        con.execute("SET GLOBAL enable_external_access = false")
        con.execute("SET GLOBAL lock_configuration = true")

    def _prepared(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Bring the schema up to date; several processes may try at once. Returns whether the lake was empty."""
        import duckdb

        con.execute(f"USE {CATALOG}")
        for tries in range(10):
            try:
                row = con.execute(
                    "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database()"
                ).fetchone()
                if migrate(con, is_shared=True):
                    settle_in(con, CATALOG)
                return row is not None and row[0] == 0
            except duckdb.Error as error:
                if not is_conflict(error) and "already exists" not in str(error):
                    raise
                time.sleep(pause(tries + 3))
        raise StoreError(f"{self.address} is being made by other processes", hint="try again")


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


__all__ = ["CATALOG", "Fenced", "SharedStore"]
