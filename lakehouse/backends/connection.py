"""A connection that lasts: what a session's statements share, wherever the data is.

Temporary tables, settings, attached files, prepared statements and a transaction belong to one DuckDB
connection. `LocalConnection` is one in this process; `client.RemoteConnection` is one at the holder of the file.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.sql.execution import run_text
from isoflop.lakehouse.sql.quoting import quoted
from isoflop.lakehouse.sql.read_only_guard import check_reads

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Parameters, Statement

IDLE_TRANSACTION = 30.0  # seconds after which an idle transaction that keeps the spool out is rolled back
_MAY_MOVE = re.compile(r"\b(?:USE|SEARCH_PATH|SCHEMA)\b", re.IGNORECASE)
_MAY_BEGIN = re.compile(r"\b(?:BEGIN|START)\b", re.IGNORECASE)
_MAY_ATTACH = re.compile(r"\bATTACH\b", re.IGNORECASE)
_DATABASES = "SELECT database_name FROM duckdb_databases() WHERE NOT internal"


def never_free(thing: object) -> None:
    """Keep an object until the process ends.

    A connection to a database that DuckDB has given up rolls its transaction back when it is freed, which
    throws where nothing may be thrown and ends the process.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class Connections:
    """The lasting connections to one store."""

    def __init__(self) -> None:
        self._open: set[LocalConnection] = set()
        self._lock = threading.Lock()

    def add(self, connection: LocalConnection) -> None:
        """Remember a connection."""
        with self._lock:
            self._open.add(connection)

    def remove(self, connection: LocalConnection) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(connection)

    def end_idle_transactions(self) -> None:
        """Roll back what no statement works on, because it may hold rows that the spool changes."""
        for connection in self._each():
            connection.end_idle_transaction()

    def refuse_while_open(self, what: str) -> None:
        """Check that there is none.

        Raises
        ------
        StoreError : when there is one
        """
        if self.num_statements:
            raise StoreError(f"{what} while a statement is being answered", hint="try again when it is")
        count = len(self._each())
        if count:
            sessions = "a session is" if count == 1 else f"{count} sessions are"
            raise StoreError(f"{what} while {sessions} open", hint="leave the shell or close the session first")

    def give_up(self) -> None:
        """Use none of them any more: their database is dead."""
        for connection in self._each():
            connection.give_up()

    @property
    def num_statements(self) -> int:
        """How many of them answer a statement in a transaction of its own."""
        return sum(connection.is_at_statement for connection in self._each())

    def close(self) -> None:
        """Close them all."""
        for connection in self._each():
            with contextlib.suppress(Exception):
                connection.close()

    def _each(self) -> list[LocalConnection]:
        with self._lock:
            return list(self._open)


class LocalConnection:
    """A lasting connection in this process.

    Parameters
    ----------
    cursor : a DuckDB connection of its own, whose current catalog is the lake
    connections : where it is remembered while it is open
    dead : returns what to raise when DuckDB's database object has died or the lake is damaged, None for any
        other error; gets the error and whether the connection has other files attached
    before_write : what a transaction has to say first when it writes
    is_read_only : whether nothing but queries that stay within the lake are answered
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        connections: Connections,
        dead: Callable[[Exception, bool], StoreError | None] | None = None,
        before_write: str | None = None,
        is_read_only: bool = False,
    ) -> None:
        self._cursor, self._connections = cursor, connections
        self._dead, self._before_write, self._is_read_only = dead, before_write, is_read_only
        self._has_begun = False  # whether a transaction may have been begun by a query
        self.is_at_statement = False  # whether the open transaction is that of one statement
        self._lock = threading.RLock()
        self._used = time.monotonic()
        self._attached: set[str] = set()
        self._lost: str | None = None
        self._is_given_up = False
        row = cursor.execute("SELECT current_database()").fetchone()
        self._lake = str(row[0]) if row else "memory"
        connections.add(self)

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run statements that DuckDB understands and return the last one's rows as Arrow."""
        with self._lock:
            self._tell_what_was_lost()
            if self._is_read_only:
                check_reads(sql, self._run, relations or {})
            self._has_begun = self._has_begun or bool(_MAY_BEGIN.search(sql))
            before = self._databases() if _MAY_ATTACH.search(sql) else None
            try:
                return self._run(sql, parameters, relations)
            finally:
                self._used = time.monotonic()
                with contextlib.suppress(Exception):  # in an aborted transaction nothing has changed
                    if before is not None:
                        self._attached |= self._databases() - before
                    if _MAY_MOVE.search(sql):
                        self._keep_lake_in_reach()

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> bool:
        """Run statements inside the open transaction; False, and nothing done, when there is none."""
        with self._lock:
            self._tell_what_was_lost()
            if not self._in_transaction():
                return False
            if self._before_write is not None:
                self._run(self._before_write)
            for sql, parameters in statements:
                self._run(sql, parameters, relations)
            self._used = time.monotonic()
            return True

    def begin(self) -> bool:
        """Begin a transaction for one statement; False, and nothing done, when one is open."""
        with self._lock:
            self._tell_what_was_lost()
            if self._in_transaction():
                return False
            self._say("BEGIN")
            self.is_at_statement = True
            return True

    def end(self, *, keep: bool) -> None:
        """Commit the transaction of a statement, or roll it back.

        Raises
        ------
        duckdb.Error : if it cannot be committed; then it is rolled back
        """
        with self._lock:
            try:
                self._say("COMMIT" if keep else "ROLLBACK")
            except Exception:
                with contextlib.suppress(Exception):  # DuckDB has ended it already, DuckLake may not have
                    self._say("ROLLBACK")
                raise
            finally:
                self.is_at_statement = False
                self._used = time.monotonic()

    def end_idle_transaction(self) -> None:
        """Roll back an open transaction that has been idle for a while, unless it is that of a statement."""
        if self.is_at_statement:
            return
        if time.monotonic() - self._used < IDLE_TRANSACTION or not self._lock.acquire(blocking=False):
            return
        try:
            if self._in_transaction():
                self._cursor.execute("ROLLBACK")
                self._lost = "the transaction was rolled back: it kept new measurements from being stored"
        finally:
            self._lock.release()

    def give_up(self) -> None:
        """Leave the connection as it is for ever: its database is dead."""
        if not self._is_given_up:
            self._is_given_up = True
            never_free(self._cursor)

    def close(self) -> bool:
        """Roll back what is open, detach what was attached, and let go of the connection."""
        if self._is_given_up:
            self._connections.remove(self)
            return False
        self._cursor.interrupt()
        with self._lock:
            self._connections.remove(self)
            try:
                is_open = self._in_transaction()
                if is_open:
                    self._cursor.execute("ROLLBACK")
                if self._attached:
                    self._cursor.execute(f"USE {quoted(self._lake)}")
                    for name in self._attached & self._databases():
                        self._cursor.execute(f"DETACH {quoted(name)}")
                return is_open
            finally:
                self._cursor.close()

    def _run(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        import duckdb

        try:
            for name, table in (relations or {}).items():
                self._cursor.register(name, table)
            try:
                return run_text(self._cursor, sql, parameters)
            finally:
                for name in relations or {}:
                    self._cursor.unregister(name)
        except (duckdb.FatalException, duckdb.InternalException, duckdb.IOException) as error:
            if not isinstance(error, duckdb.IOException):
                self.give_up()
            told = None if self._dead is None else self._dead(error, bool(self._attached))
            if told is None:
                raise
            raise told from error

    def _say(self, sql: str) -> None:
        """Run a statement of our own, even where the caller has asked to stop."""
        import duckdb

        try:
            self._cursor.execute(sql)
        except (duckdb.FatalException, duckdb.InternalException, duckdb.IOException) as error:
            if not isinstance(error, duckdb.IOException):
                self.give_up()
            told = None if self._dead is None else self._dead(error, bool(self._attached))
            if told is None:
                raise
            raise told from error

    def _tell_what_was_lost(self) -> None:
        import duckdb

        if self._is_given_up:
            error = duckdb.FatalException("the lake had to be attached anew")
            raise (None if self._dead is None else self._dead(error, False)) or error
        lost, self._lost = self._lost, None
        if lost is not None:
            raise duckdb.TransactionException(f"TransactionContext Error: {lost}; begin again")

    def _in_transaction(self) -> bool:
        """Return whether two statements in a row belong to one transaction."""
        import duckdb

        if not (self._has_begun or self.is_at_statement):
            return False
        try:
            first, second = (self._cursor.execute("SELECT current_transaction_id()").fetchone() for _ in range(2))
        except duckdb.TransactionException:
            return True  # aborted, and waiting for its ROLLBACK
        return first == second

    def _databases(self) -> set[str]:
        return {name for (name,) in self._cursor.execute(_DATABASES).fetchall()}

    def _keep_lake_in_reach(self) -> None:
        """Have `runs`, `store.laws` and the law's macros found after USE has gone elsewhere."""
        row = self._cursor.execute("SELECT current_database(), current_schema()").fetchone()
        if row is not None and row[0] != self._lake:
            # `store` as well: DuckDB looks for `store.laws` only in databases whose `store` is on the path.
            places = (row, (self._lake, "main"), (self._lake, "store"))
            path = ",".join(f"{quoted(database)}.{quoted(schema)}" for database, schema in places).replace("'", "''")
            self._cursor.execute(f"SET search_path = '{path}'")
