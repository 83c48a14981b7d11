"""A lake's file opened for reading only, by DuckDB's own rules: no writes, no files, no extensions, no settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from isoflop.lakehouse.backends.catalog import LakeDamaged, connect, is_damage, opening_error
from isoflop.lakehouse.backends.connection import Connections, LocalConnection
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.schema.migrations import check_version
from isoflop.lakehouse.sql.execution import run_text
from isoflop.lakehouse.sql.read_only_guard import RESTRICTIONS, check_reads, refused

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Parameters, Statement
    from isoflop.lakehouse.ingest.writer import Drained


class ReadOnlyStore:
    """A lake's file, opened by this process for reading only.

    While it is open no process can write the file, so it is opened for one answer and closed again.

    Raises
    ------
    LakeHeld : if another process holds the file
    StoreError : if there is none, or it has an older schema that would have to be changed first
    """

    def __init__(self, path: Path) -> None:
        import duckdb

        self.path = path
        if not path.exists():
            raise StoreError(f"{path} does not exist", hint="a lake open for reading only is not made; check the path")
        self._con = connect(path, read_only=True, restrictions=RESTRICTIONS)
        self._connections = Connections()
        try:
            check_version(self._con, path)
        except duckdb.Error as error:
            self._con.close()
            raise opening_error(path, error) from error
        except BaseException:
            self._con.close()
            raise

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run queries and return the last one's rows as Arrow."""
        check_reads(sql, self._look_up, relations or {}, is_confined=True)
        with self._cursor() as cursor:
            for name, table in (relations or {}).items():
                cursor.register(name, table)
            return run_text(cursor, sql, parameters)

    def _look_up(self, sql: str, parameters: Parameters) -> pa.Table:
        with self._cursor() as cursor:
            return cursor.execute(sql, parameters).to_arrow_table()

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb

        cursor = self._con.cursor()
        try:
            yield cursor
        except duckdb.Error as error:
            cursor.interrupt()
            if is_damage(self.path, error):
                raise LakeDamaged(self.path, error) from error
            raise
        except BaseException:
            cursor.interrupt()  # what Ctrl-C stopped would otherwise run on
            raise
        finally:
            cursor.close()

    def write(
        self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None, token: str | None = None
    ) -> NoReturn:
        """Refuse."""
        raise refused("nothing is written")

    def connection(self) -> LocalConnection:
        """Return a connection for one statement; no other process writes the file while it is open."""
        return LocalConnection(self._con.cursor(), self._connections, self._damaged, is_read_only=True)

    def _damaged(self, error: Exception, has_others: bool) -> StoreError | None:
        return LakeDamaged(self.path, error) if is_damage(self.path, error) else None

    def drain(self) -> Drained:
        """Refuse."""
        raise refused("the spool is left alone")

    def compact(self) -> NoReturn:
        """Refuse."""
        raise refused("it is not rewritten")

    def snapshot(self, to: Path) -> NoReturn:
        """Refuse."""
        raise refused("no file is written")

    def close(self) -> None:
        """Let go of the file."""
        self._connections.close()
        self._con.close()
