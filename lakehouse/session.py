"""A session: statements that see what earlier ones left behind, like at DuckDB's own prompt.

Temporary tables, SET, USE, ATTACH, PREPARE and transactions last until the session is closed. It lives wherever the
data is; when that process goes away, the next statement begins afresh, unless something would be missing.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isoflop.lakehouse.answers import Answer
from isoflop.lakehouse.catalog import StoreDead
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.holder import HolderGone
from isoflop.lakehouse.statements import only_reads
from isoflop.lakehouse.watch import OnProgress, Watches

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.connection import Connection
    from isoflop.lakehouse.lake import Lakehouse
    from isoflop.lakehouse.store import Parameters, Statement


class Session:
    """Statements of one person, one after another.

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

    def __init__(self, lake: Lakehouse) -> None:
        self.lake = lake
        self.is_read_only = lake.is_read_only
        self._connection: Connection | None = None
        self._is_stateful = False  # whether anything was done that a new connection would not know
        self._is_closed = False
        self._lock = threading.RLock()
        self._watches = Watches()

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run plain DuckDB statements and return the last one's rows.

        Raises
        ------
        duckdb.Error : as DuckDB words it
        HolderGone : if the process that kept the session has gone, and what it knew with it
        """
        if self.is_read_only:
            return self.lake.query(sql, parameters, relations)
        with self._watches.watched(), self._lock:
            reads = only_reads(sql)
            try:
                return self._reached().query(sql, parameters, relations)
            except StoreDead:
                self._connection = None
                raise
            except HolderGone as error:
                self._connection = None
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
            is_done = self._connection is not None and self._connection.write(statements, relations)
        if not is_done:
            self.lake.write(statements, relations)

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
            print("isoflop: the open transaction was rolled back; COMMIT keeps one", file=sys.stderr)

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
