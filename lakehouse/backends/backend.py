"""What a lake asks of whatever keeps its rows, and the types that statements travel in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.ingest.batches import Drained

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
Relations: TypeAlias = "Mapping[str, pa.Table] | None"
Statement: TypeAlias = tuple[str, Parameters]


class Database(Protocol):
    """What recording asks for: rows, writing in one transaction, and which kind of catalog it is."""

    @property
    def is_shared(self) -> bool:
        """Whether the catalog is a shared one rather than a file."""

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run statements that DuckDB understands and return the last one's rows."""

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> None:
        """Run statements in one transaction: all of them or none."""


class Connection(Protocol):
    """Statements one after another that see what the earlier ones left behind."""

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run statements that DuckDB understands and return the last one's rows."""

    def write(self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None) -> bool:
        """Run statements inside the open transaction; False, and nothing done, when there is none."""

    def begin(self) -> bool:
        """Begin a transaction for one statement; False, and nothing done, when one is open."""

    def end(self, *, keep: bool) -> None:
        """Commit the transaction of a statement, or roll it back."""

    def close(self) -> bool:
        """Let go of the connection; returns whether a transaction was open, which is rolled back."""


class Backend(Protocol):
    """What a lake asks of whatever keeps it: the file, the shared catalog, or the process that holds the file."""

    def query(
        self, sql: str, parameters: Parameters = None, relations: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Run statements that DuckDB understands and return the last one's rows."""

    def write(
        self, statements: Sequence[Statement], relations: Mapping[str, pa.Table] | None = None, token: str | None = None
    ) -> None:
        """Run statements in one transaction; a `token` that was committed before changes nothing."""

    def drain(self) -> Drained:
        """Commit what lies in the spool."""

    def compact(self) -> None:
        """Rewrite the points clustered by metric, run and step, and give freed space back."""

    def snapshot(self, to: Path) -> None:
        """Write a consistent copy of everything into a new file."""

    def connection(self) -> Connection:
        """Return a connection that lasts until it is closed."""

    def close(self) -> None:
        """Let go of the lake."""
