"""The open file: one DuckDB connection, a cursor for every request, one writer at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from isoflop.lakehouse.catalog import connect, opening_error
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.schema import migrate
from isoflop.lakehouse.writer import Drained, drain

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
Statement: TypeAlias = tuple[str, Parameters]


class Store:
    """A lake's file, opened by this process.

    Reads run side by side, each on a cursor of its own. Writes and drains take turns.
    """

    def __init__(self, path: Path, spool_folder: Path) -> None:
        import duckdb

        self.path = path
        self._spool_folder = spool_folder
        self._con = connect(path)
        self._writing = threading.RLock()
        try:
            migrate(self._con)
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
        import pyarrow as pa

        with self._cursor(relations) as cursor:
            try:
                answered: duckdb.DuckDBPyConnection | None = cursor.execute(sql, parameters)
                return pa.table({}) if answered is None else answered.to_arrow_table()  # None: there was no statement
            except RuntimeError as error:
                if "interrupted" in str(error).lower():  # how DuckDB passes Ctrl-C on
                    raise KeyboardInterrupt from error
                raise

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> None:
        """Run statements in one transaction: all of them or none."""
        with self._writing, self._cursor(relations) as cursor:
            cursor.execute("BEGIN")
            try:
                for sql, parameters in statements:
                    cursor.execute(sql, parameters)
                cursor.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(Exception):
                    cursor.execute("ROLLBACK")
                raise

    def drain(self) -> Drained:
        """Commit what lies in the spool.

        Raises
        ------
        StoreError : if the store cannot take it, for example because the disk is full; the spool keeps it
        """
        import duckdb

        with self._writing, self._cursor() as cursor:
            try:
                return drain(cursor, self._spool_folder)
            except duckdb.Error as error:
                raise StoreError(
                    f"the spool could not be committed to {self.path}: {error}; its files are kept"
                ) from error

    @contextlib.contextmanager
    def _cursor(self, relations: Mapping[str, pa.Table] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
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

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        self._con.close()
