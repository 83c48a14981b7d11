"""A session: statements that see what earlier ones left behind, like at DuckDB's own prompt.

Temporary tables, SET, USE, ATTACH, PREPARE and transactions last until the session is closed. It lives wherever the
data is; when that process goes away, the next statement begins afresh, unless something would be missing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.backends.catalog import StoreDead
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.rpc.endpoint import KeeperGone
from isoflop.lakehouse.saying import say
from isoflop.lakehouse.sql.bare_names import run_named
from isoflop.lakehouse.sql.cancellation import OnProgress, Watches
from isoflop.lakehouse.sql.statements import only_reads

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Connection, Parameters, Relations, Statement

PATIENCE = 10.0  # seconds a statement waits for a catalog that is away
TRIES = 4  # how often a statement is answered when others come between
Result = TypeVar("Result")


class Host(Protocol):
    """The lake that a session belongs to."""

    is_read_only: bool

    @property
    def is_shared(self) -> bool:
        """Whether its catalog is a shared one."""

    @property
    def address(self) -> str:
        """Its address, without a password."""

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run plain DuckDB statements."""

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> None:
        """Run statements in one transaction."""

    def connection(self) -> Connection:
        """Return a connection that lasts."""

    def staying(self) -> contextlib.AbstractContextManager[None]:
        """Keep it open for the whole block."""

    def answer(self, asked: Any, text: str, parameters: Parameters = None, relations: Relations = None) -> Answer:
        """Answer a text by asking a session of it."""


class Session:
    """Statements of one user, one after another.

    Parameters
    ----------
    lake : what they go to; of one open for reading only nothing lasts between them

    Example
    -------
    >>> import isoflop, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, isoflop.open(f"{folder}/runs.duckdb") as lake:
    ...     with lake.session() as session:
    ...         _ = session.sql("CREATE TEMP TABLE sizes AS SELECT 1e6 * 2 ** range AS params FROM range(3)")
    ...         session.sql("SELECT max(params) AS largest FROM sizes").records()
    [{'largest': 4000000.0}]
    """

    has_transactions = True

    def __init__(self, lake: Host) -> None:
        self.lake = lake
        self.is_read_only = lake.is_read_only
        self._connection: Connection | None = None
        self._is_stateful = False  # whether anything was done that a new connection would not know
        self._is_closed = False
        self._is_at_once = False  # whether the open transaction is that of a statement
        self._has_written = False
        self._lock = threading.RLock()
        self._watches = Watches()

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run plain DuckDB statements and return the last one's rows.

        Raises
        ------
        duckdb.Error : as DuckDB words it
        KeeperGone : if the process that kept the session has gone, and what it knew with it
        """
        if self.is_read_only and not self._is_at_once:
            return self.lake.query(sql, parameters, relations)
        return run_named(sql, lambda text: self._query(text, parameters, relations))

    def _query(self, sql: str, parameters: Parameters, relations: Mapping[str, pa.Table] | None) -> pa.Table:
        import duckdb

        with self._watches.watched(), self._lock:
            reads = only_reads(sql)
            try:
                return self._reached().query(sql, parameters, relations)
            except duckdb.Error as error:
                if self._is_at_once and self._is_lost(error):
                    raise _Lost(error) from error
                raise
            except StoreDead:
                self._connection = None
                with contextlib.suppress(StoreError):
                    self.lake.query("SELECT 1")  # has the lake notice, so that it opens the file again
                raise
            except KeeperGone as error:
                self._connection = None
                if self._is_at_once and not self._is_stateful:
                    raise _Lost(error) from error
                if self._is_stateful or not reads:
                    self._is_stateful = False
                    raise StoreError(
                        f"{error.message}, and the temporary tables, settings and transaction of this session with it",
                        hint="the next statement begins another session",
                    ) from error
                return self._reached().query(sql, parameters, relations)
            finally:
                self._is_stateful = self._is_stateful or not reads

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> None:
        """Run statements as one: in the open transaction, else in one of their own."""
        with self._lock:
            is_ours = self._connection is not None and not self._is_at_once
            is_done = is_ours and self._connection is not None and self._connection.write(statements, relations)
            self._has_written = True
        if not is_done:
            self.lake.write(statements, relations)

    def at_once(self, answer: Callable[[], Result]) -> Result:
        """Do something over one state of the lake, as one transaction of the open connection.

        What `answer` changes by `query` is committed together or not at all. What it hands to `write` is a transaction
        of its own, which others see at once and `answer` does not. Where a transaction is open already, `answer` is
        part of that. A transaction holds up no writer, only the rewriting of the file.

        Parameters
        ----------
        answer : done again from the start, unless it wrote, when another writer came between or the holder has gone

        Raises
        ------
        duckdb.TransactionException : when others came between each time
        """
        with self._lock, self.lake.staying():
            tries, until = 0, time.monotonic() + PATIENCE
            while True:
                if self._is_at_once or not self._begun():
                    return answer()
                self._has_written = False
                try:
                    return self._ended(answer)
                except _Lost as lost:
                    tries += 1
                    if not self._may_come_again(lost.error, tries, until):
                        raise lost.error from lost.error.__cause__
                    if tries > 1 and "aborted" in str(lost.error):  # an error that `answer` expects and passes over
                        return answer()

    def _begun(self) -> bool:
        """Begin the transaction of a statement; False where the user's own is open."""
        try:
            self._is_at_once = self._reached().begin()
        except KeeperGone:
            self._connection = None
            if self._is_stateful:
                self._is_stateful = False
                raise
            self._is_at_once = self._reached().begin()
        return self._is_at_once

    def _ended(self, answer: Callable[[], Result]) -> Result:
        """Return what is answered, and commit; roll back when it fails."""
        try:
            result = answer()
            self._commit()
            return result
        except BaseException:
            if self._connection is not None:
                with contextlib.suppress(Exception):
                    self._connection.end(keep=False)
            raise
        finally:
            self._is_at_once = False
            if self.is_read_only and self._connection is not None:
                connection, self._connection = self._connection, None
                with contextlib.suppress(StoreError):
                    connection.close()

    def _commit(self) -> None:
        """Commit the transaction of a statement."""
        import duckdb

        assert self._connection is not None
        try:
            self._connection.end(keep=True)
        except KeeperGone as error:
            self._connection = None
            if self._is_stateful:  # it may have been committed before it went
                raise
            raise _Lost(error) from error
        except duckdb.Error as error:
            if self._is_lost(error):
                raise _Lost(error) from error
            raise

    def _is_lost(self, error: Exception) -> bool:
        """Return whether others, rather than what was asked, have ended a transaction."""
        import duckdb

        if isinstance(error, duckdb.TransactionException):
            return True
        if not self.lake.is_shared:
            return False
        from isoflop.lakehouse.shared.outage import is_away, is_conflict

        return is_away(error) or is_conflict(error)

    def _may_come_again(self, error: Exception, tries: int, until: float) -> bool:
        """Return whether a statement whose transaction was lost is answered from the start; waits before it.

        Raises
        ------
        CatalogAway : when the catalog of a shared lake has not answered for long
        """
        if self._has_written:
            return False
        if not self.lake.is_shared:
            return tries < TRIES
        from isoflop.lakehouse.shared.outage import CatalogAway, is_away, pause

        if is_away(error) and time.monotonic() > until:
            raise CatalogAway(self.lake.address, error) from error
        time.sleep(pause(tries + 3))
        return is_away(error) or tries < TRIES

    def sql(
        self,
        text: str,
        parameters: Parameters = None,
        *,
        relations: Mapping[str, pa.Table] | None = None,
        progress: OnProgress | None = None,
    ) -> Answer:
        """Answer a statement of the isoflop language, or any DuckDB statement; as `Lakehouse.sql`."""
        with self._watches.watched(progress):
            return self.lake.answer(self, text, parameters, relations)

    def interrupt(self) -> None:
        """Stop what this session is answering, from any thread; the session goes on."""
        self._watches.cancel()

    def close(self) -> None:
        """End the session; an open transaction is rolled back, which is said on stderr."""
        with self._lock:
            connection, self._connection, self._is_closed = self._connection, None, True
        was_open = False
        with contextlib.suppress(StoreError):  # a holder that has gone keeps nothing open
            was_open = connection is not None and connection.close()
        if was_open:
            say("the open transaction was rolled back; COMMIT keeps one")

    def _reached(self) -> Connection:
        if self._is_closed:
            raise StoreError("the session is closed", hint="lake.session() opens another")
        if self._connection is None:
            self._connection = self.lake.connection()
        return self._connection

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self.lake.address!r})"


class _Lost(Exception):
    """The transaction of a statement has ended before the statement was answered."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
