"""The open file of a lake, the usual backend."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isoflop.lakehouse.backends.backend import Parameters, Statement
from isoflop.lakehouse.backends.catalog import NotCommitted, StoreDead, connect, opening_error
from isoflop.lakehouse.backends.connection import Connections, LocalConnection
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.writer import Drained, drain, has_batches
from isoflop.lakehouse.schema import migrate
from isoflop.lakehouse.sql.running import run_text, transaction

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Result = TypeVar("Result")

WAIT_FOR_STATEMENTS = 10.0  # seconds that rewriting the file waits for what is being answered
REMEMBER = (
    "INSERT INTO store.batches (batch_id, points, committed_at) "
    "VALUES ('write/' || ?, 0, (now() AT TIME ZONE 'UTC')::TIMESTAMP)"
)
IS_REMEMBERED = "SELECT 1 FROM store.batches WHERE batch_id = 'write/' || ?"


class Store:
    """A lake's file, opened by this process.

    Reads run side by side, each on a cursor of its own. Writes and drains take turns. After an error
    that kills DuckDB's database object, a full disk for example, everything raises `StoreDead`.

    Raises
    ------
    LakeHeld : if another process holds the file
    StoreError : if it cannot be opened
    """

    is_shared = False

    def __init__(self, path: Path, spool_folder: Path) -> None:
        import duckdb

        self.path = path
        self._spool_folder = spool_folder
        self._con = connect(path)
        self._writing = threading.RLock()
        self._idle = threading.Condition()
        self._cursors = 0
        self._is_swapping = False
        self._connections = Connections()
        try:
            migrate(self._con, backup=lambda version: keep_copy(self._con, path, version))
        except duckdb.Error as error:
            self._con.close()
            raise opening_error(path, error) from error
        except BaseException:
            self._con.close()
            raise

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run statements that DuckDB understands and return the last one's rows as Arrow."""
        with self._cursor(relations) as cursor:
            return run_text(cursor, sql, parameters)

    def connection(self) -> LocalConnection:
        """Return a connection that lasts; the file is not rewritten while there is one."""
        import duckdb

        with self._idle:
            while self._is_swapping:
                self._idle.wait()
            try:
                return LocalConnection(self._con.cursor(), self._connections, lambda error: StoreDead(self.path, error))
            except (duckdb.FatalException, duckdb.ConnectionException) as error:
                raise StoreDead(self.path, error) from error

    def write(
        self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None, token: str | None = None
    ) -> None:
        """Run statements in one transaction: all of them or none."""

        def run(cursor: duckdb.DuckDBPyConnection) -> None:
            if token is not None:
                if cursor.execute(IS_REMEMBERED, [token]).fetchone():
                    return
                cursor.execute(REMEMBER, [token])
            for sql, parameters in statements:
                cursor.execute(sql, parameters)

        self._transact(run, relations)

    def drain(self) -> Drained:
        """Commit what lies in the spool.

        Raises
        ------
        StoreError : if the store cannot take it, for example because the disk is full; the spool keeps it
        """
        import duckdb

        if not has_batches(self._spool_folder):
            return Drained()
        with self._writing:
            try:
                return drain(self._transact, self._spool_folder, self)
            except duckdb.TransactionException as error:
                self._connections.end_idle_transactions()  # one of them may hold the rows that were to change
                raise NotCommitted(self.path, error) from error
            except duckdb.Error as error:
                raise NotCommitted(self.path, error) from error

    def compact(self) -> None:
        """Rewrite the file with its points clustered by metric, run and step; readers wait meanwhile.

        Raises
        ------
        StoreError : while a session is open, whose temporary tables would be lost, and while a statement takes long
        """
        from isoflop.lakehouse.maintenance.rewrite import rewrite

        until = time.monotonic() + WAIT_FOR_STATEMENTS
        while self._connections.num_statements and time.monotonic() < until:
            time.sleep(0.05)
        with self._writing, self._alone():
            self._connections.refuse_while_open(f"{self.path} cannot be rewritten")
            self._con.close()
            try:
                rewrite(self.path.resolve())  # through a link, so that the link stays one
            finally:
                self._con = connect(self.path)

    def snapshot(self, to: Path) -> None:
        """Write a consistent copy into a new file, while others read and write."""
        from isoflop.lakehouse.maintenance.rewrite import copy_into

        with self._cursor() as cursor:
            copy_into(cursor, to)

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        self._connections.close()
        self._con.close()

    def _transact(
        self, work: Callable[[duckdb.DuckDBPyConnection], Result], relations: Mapping[str, pa.Table] | None = None
    ) -> Result:
        with self._writing, self._cursor(relations) as cursor, transaction(cursor):
            return work(cursor)

    @contextlib.contextmanager
    def _cursor(self, relations: Mapping[str, pa.Table] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb

        with self._idle:
            while self._is_swapping:
                self._idle.wait()
            self._cursors += 1
        try:
            cursor = self._con.cursor()
            try:
                for name, table in (relations or {}).items():
                    cursor.register(name, table)
                yield cursor
            except BaseException:
                cursor.interrupt()  # a query that Ctrl-C stopped would otherwise run on, and closing waits for it
                raise
            finally:
                cursor.close()
        except duckdb.FatalException as error:
            raise StoreDead(self.path, error) from error
        except duckdb.ConnectionException as error:
            raise StoreDead(self.path, error) from error
        finally:
            with self._idle:
                self._cursors -= 1
                self._idle.notify_all()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep new readers waiting and wait for those that read, so that the file can be exchanged."""
        with self._idle:
            self._is_swapping = True
            while self._cursors:
                self._idle.wait()
        try:
            yield
        finally:
            with self._idle:
                self._is_swapping = False
                self._idle.notify_all()


def keep_copy(con: duckdb.DuckDBPyConnection, path: Path, version: int) -> Path:
    """Copy the file of a lake beside it before its schema changes, and return the copy.

    Raises
    ------
    StoreError : if there is no room for it; the lake is as it was
    """
    copy = path.with_name(f"{path.name}.schema-{version}.backup")
    partial = copy.with_name(f"{copy.name}.{os.getpid()}.partial")
    con.execute("CHECKPOINT")
    try:
        shutil.copyfile(path, partial)
        os.replace(partial, copy)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(
            f"{path} has schema {version} and needs to be brought up to date, but no copy of it could be kept "
            f"first: {error.strerror}",
            hint="make room beside the lake; the lake is as it was",
        ) from error
    return copy
