"""A lake in a shared catalog, as one process sees it.

Readers go straight to the data, from any machine and at any time. Writers take turns: each
transaction changes the lease, so that one of two simultaneous ones is refused and starts again.
The catalog may be away for a while; requests wait a little, the spool waits as long as it takes. When
DuckDB gives its database up, the lake is attached anew and what was asked is done again.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isoflop.lakehouse.address import SharedAddress
from isoflop.lakehouse.backends.backend import Parameters, Statement
from isoflop.lakehouse.backends.catalog import NotCommitted
from isoflop.lakehouse.backends.connection import Connections, LocalConnection, never_free
from isoflop.lakehouse.backends.store import IS_REMEMBERED, REMEMBER
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.writer import Drained, drain, has_batches
from isoflop.lakehouse.runs.provenance import host_name
from isoflop.lakehouse.shared.attaching import CATALOG, attach
from isoflop.lakehouse.shared.data_files import files_gone, missing_file
from isoflop.lakehouse.shared.lease import BUMP, Fenced, Lease
from isoflop.lakehouse.shared.life import let_go, look
from isoflop.lakehouse.shared.outage import Recovery, SessionLost
from isoflop.lakehouse.shared.turns import Turns
from isoflop.lakehouse.shared.upkeep import compact
from isoflop.lakehouse.shared.watchdog import Watchdog
from isoflop.lakehouse.sql.execution import run_text, transaction
from isoflop.lakehouse.sql.read_only_guard import check_reads
from isoflop.lakehouse.sql.statements import only_reads

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    Con = duckdb.DuckDBPyConnection

PATIENCE = 10.0  # seconds a request waits for a catalog that is away
UPKEEP_EVERY = 300  # commits of the spool between two rounds of upkeep

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
        self._spool_folder = spool_folder
        spool = f"{host_name()}:{spool_folder}" if address.is_remote_data else str(spool_folder)
        self._lease = Lease(spool)
        self._writing = threading.RLock()
        self._opening = threading.Lock()
        self._commits = 0
        self._connections = Connections()
        self._turns = Turns(address.connection_string)
        self._watchdog = Watchdog(address, lambda: PATIENCE)
        with self._watchdog.watching():
            self._con, self.is_new = attach(address, is_read_only, PATIENCE)

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run statements and return the last one's rows as Arrow.

        Raises
        ------
        duckdb.Error : if a statement is wrong, as DuckDB words it
        StoreError : if the catalog does not answer
        """
        if self._is_read_only:
            check_reads(sql, self._unchecked, relations or {})
        return self._unchecked(sql, parameters, relations)

    def _unchecked(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        def run(con: Con) -> pa.Table:
            with _cursor(con, relations) as cursor:
                return run_text(cursor, sql, parameters)

        return self._patiently(run, lambda: only_reads(sql))

    def connection(self) -> LocalConnection:
        """Return a connection that lasts, whose current catalog is the lake."""

        def begin(con: Con) -> LocalConnection:
            cursor = con.cursor()
            cursor.execute(f"USE {CATALOG}")
            return LocalConnection(
                cursor,
                self._connections,
                self._lost,
                before_write=BUMP,
                is_read_only=self._is_read_only,
            )

        return self._patiently(begin)

    def _lost(self, error: Exception, has_others: bool) -> StoreError | None:
        import duckdb

        if isinstance(error, (duckdb.FatalException, duckdb.InternalException)):
            return SessionLost(self.address, error)
        return missing_file(self._con, self.address, CATALOG, error)

    def write(
        self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None, token: str | None = None
    ) -> None:
        """Run statements in one transaction: all of them or none, after or before every other writer.

        A token makes sure that they are run once where it is not heard whether they were committed.
        """
        word = token or secrets.token_hex(8)

        def run(cursor: Con) -> None:
            cursor.execute(BUMP)
            if cursor.execute(IS_REMEMBERED, [word]).fetchone():
                return
            cursor.execute(REMEMBER, [word])
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

            def commit(work: Callable[[Con], Drained]) -> Drained:
                def run(cursor: Con) -> Drained:
                    self._lease.check(cursor)
                    return work(cursor)

                return self._transact(run)

            try:
                if self._lease.epoch is None and not self.take_lease():
                    return Drained()
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
        """Merge small files, cluster the points, and give back the room of what no session can see any more."""
        with self._writing:
            self.with_cursor(lambda cursor: compact(cursor, CATALOG, self._turns.turn))
            self._commits = 0

    def snapshot(self, to: Path) -> None:
        """Write a consistent copy of the lake into a new DuckDB file."""
        from isoflop.lakehouse.maintenance.rewrite import copy_into

        self.with_cursor(lambda cursor: copy_into(cursor, to))

    def files_gone(self) -> list[tuple[str, str]]:
        """Return the Parquet files of tables that are not where the data lie: the table of each, and what it lacks."""
        return self.with_cursor(lambda cursor: files_gone(cursor, self.address, CATALOG))

    def close(self) -> None:
        """Let the next committer take over at once, and disconnect."""
        with self._writing:
            with self._watchdog.watching():
                if self._lease.epoch is not None:
                    with contextlib.suppress(Exception):
                        self._once(self._con, self._lease.release, None)
                self._connections.close()
                self._turns.close()
            self._con.close()

    # Transactions

    def _transact(self, work: Callable[[Con], Result], relations: Mapping[str, pa.Table] | None = None) -> Result:
        """Run `work` in one transaction, again from the start when another writer came between.

        After an outage it may have been committed already, so `work` has to see that for itself.
        """
        with self._writing:
            return self._patiently(lambda con: self._once(con, work, relations))

    def _once(self, con: Con, work: Callable[[Con], Result], relations: Mapping[str, pa.Table] | None) -> Result:
        with self._turns.turn(), _cursor(con, relations) as cursor, transaction(cursor):
            return work(cursor)

    def with_cursor(self, work: Callable[[Con], Result]) -> Result:
        """Do something with a connection of its own whose current catalog is the lake."""

        def run(con: Con) -> Result:
            with _cursor(con) as cursor:
                return work(cursor)

        return self._patiently(run)

    def _patiently(self, ask: Callable[[Con], Result], may_repeat: Callable[[], bool] = lambda: True) -> Result:
        """Ask, and ask again for some seconds while the catalog is away or after the lake was attached anew."""
        import duckdb

        asked = self._con

        recovery = Recovery(
            self.address, PATIENCE, lambda: look(asked, CATALOG), lambda: self._reopen(asked), may_repeat
        )
        with self._watchdog.watching():
            while True:
                asked = self._con
                try:
                    return ask(asked)
                except duckdb.Error as error:
                    missing = missing_file(asked, self.address, CATALOG, error)
                    if missing is not None:
                        raise missing from error
                    recovery.after(error)

    # Attaching

    def _reopen(self, dead: Con) -> None:
        """Attach the lake anew in the place of a database that DuckDB has given up."""
        with self._opening:
            if self._con is dead:
                self._con, _ = attach(self.address, self._is_read_only, PATIENCE)
                never_free(dead)
                self._connections.give_up()


@contextlib.contextmanager
def _cursor(con: Con, relations: Mapping[str, pa.Table] | None = None) -> Iterator[Con]:
    cursor = con.cursor()
    try:
        cursor.execute(f"USE {CATALOG}")
        for name, table in (relations or {}).items():
            cursor.register(name, table)
        yield cursor
    except BaseException:
        let_go(cursor)
        raise
    cursor.close()


__all__ = ["CATALOG", "Fenced", "SharedStore"]
