"""The open file of a lake, the usual backend."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isoflop.lakehouse.backends.backend import Parameters, Statement
from isoflop.lakehouse.backends.catalog import (
    LakeDamaged,
    NotCommitted,
    StoreDead,
    is_damage,
    is_full,
    open_claimed,
    opening_error,
)
from isoflop.lakehouse.backends.claim import ClaimLost
from isoflop.lakehouse.backends.commits import CommitCount, Loss, raise_number
from isoflop.lakehouse.backends.connection import Connections, LocalConnection
from isoflop.lakehouse.backends.leftovers import remove_leftovers
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.writer import Drained, drain, has_batches
from isoflop.lakehouse.saying import say
from isoflop.lakehouse.schema import migrate
from isoflop.lakehouse.schema.migrations import installed_version
from isoflop.lakehouse.sql.execution import run_text, transaction

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

_told: set[tuple[Path, Loss]] = set()  # losses that this process has told of


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
        had_file = path.exists()
        remove_leftovers(path)
        self._con, self._claim = open_claimed(path)
        self._writing = self._claim.writing
        self._idle = threading.Condition()
        self._cursors = 0
        self._is_swapping = False
        self._connections = Connections()
        try:
            was_empty = had_file and installed_version(self._con) == 0
            migrate(self._con, backup=lambda version: keep_copy(self._con, path, version))
            self._commits = CommitCount(self._con, spool_folder, was_empty)
        except duckdb.Error as error:
            self._let_go()
            raise opening_error(path, error) from error
        except BaseException:
            self._let_go()
            raise
        self._tell_of_losses()

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
            self._renew()
            try:
                return LocalConnection(self._con.cursor(), self._connections, self._dead)
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
        from isoflop.lakehouse.maintenance.rewrite import rewritten

        until = time.monotonic() + WAIT_FOR_STATEMENTS
        while self._connections.num_statements and time.monotonic() < until:
            time.sleep(0.05)
        with self._writing, self._alone():
            self._connections.refuse_while_open(f"{self.path} cannot be rewritten")
            if self._claim.count > 1:
                raise StoreError(
                    f"{self.path} is open more than once in this process, so it cannot be rewritten",
                    hint="close the other one first",
                )
            self._renew()
            with rewritten(self._con, self._claim.path) as fresh:
                self._exchange(fresh)

    def _exchange(self, fresh: Path) -> None:
        """Go on with `fresh` in the place of the lake's file; the lock passes over without a gap."""
        import duckdb

        try:
            old = self._claim.exchange(fresh)
        except ClaimLost as error:
            raise self._lost(error) from error
        try:
            self._con.close()
            self._con = duckdb.connect(str(self._claim.path))
        finally:
            os.close(old)
        if not self._claim.is_open:  # DuckDB answers from the old file while something else here has it open
            raise self._lost(
                ClaimLost("this process has its file open elsewhere as well, from before it was rewritten")
            )

    def snapshot(self, to: Path) -> None:
        """Write a consistent copy into a new file, while others read and write."""
        from isoflop.lakehouse.maintenance.rewrite import copy_into

        with self._cursor() as cursor:
            copy_into(cursor, to)

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        self._connections.close()
        self._let_go()

    @property
    def commits(self) -> CommitCount:
        """How many commits the lake has, and which it has lost."""
        return self._commits

    def _dead(self, error: Exception, has_others: bool = False) -> StoreError | None:
        """Return what to raise for an error of DuckDB's after which the lake cannot be used, None for any other."""
        import duckdb

        if not has_others and is_damage(self.path, error):
            return LakeDamaged(self.path, error)
        if "Could not set lock" in str(error) and f"{self.path}.wal" in str(error):
            return opening_error(self.path, error)  # another process had the file before us, and still has its log
        is_over = isinstance(error, (duckdb.FatalException, duckdb.ConnectionException))
        return StoreDead(self.path, error) if is_over else None

    def _let_go(self) -> None:
        if not self._claim.is_ours:  # closing writes to the file, which the process we were forked from has open
            return
        try:
            self._con.close()
        finally:
            self._claim.release()

    def _tell_of_losses(self) -> None:
        for loss in self._commits.losses:
            if (self.path, loss) not in _told:
                _told.add((self.path, loss))
                say(f"{self.path}: {loss}; isoflop lake check says more")

    def _renew(self) -> None:
        """Make sure that the file is still ours, before anything is read or written."""
        try:
            self._claim.renew()
        except ClaimLost as error:
            raise self._lost(error) from error

    def _lost(self, error: ClaimLost) -> StoreDead:
        if self._claim.is_ours:
            with contextlib.suppress(Exception):  # what is in memory must not be written over another process's file
                self._con.execute("PRAGMA disable_checkpoint_on_shutdown")
        return StoreDead(self.path, error)

    def _transact(
        self, work: Callable[[duckdb.DuckDBPyConnection], Result], relations: Mapping[str, pa.Table] | None = None
    ) -> Result:
        with self._writing:
            with self._cursor(relations) as cursor, transaction(cursor):
                done = work(cursor)
                number = raise_number(cursor)
            self._commits.note(number)
            return done

    @contextlib.contextmanager
    def _cursor(self, relations: Mapping[str, pa.Table] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb

        with self._idle:
            while self._is_swapping:
                self._idle.wait()
            self._renew()
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
        except duckdb.Error as error:
            told = self._dead(error)
            if told is None:
                raise
            raise told from error
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
    """Copy a lake beside its file before its schema changes, and return the copy.

    DuckDB makes the copy: a second descriptor of the file, once closed, would end the lock on it.

    Raises
    ------
    StoreError : if there is no room for it; the lake is as it was
    """
    import duckdb

    from isoflop.lakehouse.maintenance.rewrite import copy_exactly

    copy = path.with_name(f"{path.name}.schema-{version}.backup")
    try:
        copy_exactly(con, copy)
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException, OSError) as error:
        if is_damage(path, error):
            raise LakeDamaged(path, error) from error
        why = "the disk is full" if is_full(error) else str(error).partition("\n")[0]
        raise StoreError(
            f"{path} has schema {version} and needs to be brought up to date, but no copy of it could be kept "
            f"first: {why}",
            hint="make room beside the lake; the lake is as it was",
        ) from error
    return copy
