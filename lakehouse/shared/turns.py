"""Fair turns between the writers of a shared catalog.

Of writers that only start again when another one came between, the quickest wins nearly always. So before a
transaction each takes a place in a queue that PostgreSQL keeps: an advisory lock, given in the order of asking
and let go after the commit. This is for fairness alone. What is written right is decided by the lease and by
conflicts; who cannot have the queue, because its owner is frozen for example, goes on without it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.shared.extensions import load_extension
from isoflop.lakehouse.shared.life import let_go

if TYPE_CHECKING:
    import duckdb

QUEUE = int.from_bytes(b"isoflop")  # number of the advisory lock in the catalog's database
LONGEST_WAIT = 5  # seconds in the queue
REST = 5.0  # seconds without the queue after it could not be had


class Turns:
    """The place of one store in the queue of a catalog.

    Parameters
    ----------
    connection_string : libpq's settings of the catalog
    """

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        self._con: duckdb.DuckDBPyConnection | None = None
        self._without_until = 0.0
        self._lock = threading.RLock()
        self._depth = 0

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for our turn, and keep it within the block."""
        with self._lock:
            self._depth += 1
            is_ours = self._depth == 1 and self._take()
            try:
                yield
            finally:
                self._depth -= 1
                if is_ours:
                    self._let_go()

    def _take(self) -> bool:
        import duckdb

        if time.monotonic() < self._without_until:
            return False
        try:
            con = self._connected()
            con.execute("BEGIN")
            con.execute(f"CALL postgres_execute('turns', 'SET LOCAL lock_timeout = ''{LONGEST_WAIT}s''')")
            con.execute(f"FROM postgres_query('turns', 'SELECT pg_advisory_xact_lock({QUEUE})')").fetchall()
        except (duckdb.Error, StoreError):
            self._without_until = time.monotonic() + REST
            self._leave()
            return False
        return True

    def _let_go(self) -> None:
        import duckdb

        try:
            if self._con is not None:
                self._con.execute("COMMIT")
        except duckdb.Error:
            self._leave()

    def _connected(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        if self._con is None:
            con = duckdb.connect(config={"threads": 1})
            try:
                load_extension(con, "postgres_scanner")
                text = self._connection_string.replace("'", "''")
                con.execute(f"ATTACH '{text}' AS turns (TYPE postgres)")
            except BaseException:
                let_go(con)
                raise
            self._con = con
        return self._con

    def _leave(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            let_go(con)

    def close(self) -> None:
        """Leave the queue; the next turn joins it again."""
        with self._lock:
            self._leave()
