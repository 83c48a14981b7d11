"""Which attempt a batch belongs to: its run is registered, its token gets a number, its row is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import Interrupted, StoreError
from isoflop.lakehouse.ingest.batches import Batch
from isoflop.lakehouse.runs.provenance import is_running
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.lakehouse.runs.registry import CHANGED, write_runs

if TYPE_CHECKING:
    import duckdb

    from isoflop.lakehouse.backends.backend import Database


@dataclass(frozen=True)
class NewAttempt:
    """An attempt that a training process began by itself, and the number it got."""

    run_id: str
    token: str
    attempt: int
    started_at: str
    driver: str | None


def troubles_of_the_store() -> tuple[type[BaseException], ...]:
    """Return the errors that say something of the store rather than of what is written."""
    import duckdb

    return (
        StoreError, Interrupted, MemoryError, duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException,
        duckdb.TransactionException, duckdb.ConnectionException, duckdb.InternalException, duckdb.InterruptException,
        duckdb.PermissionException,
    )  # fmt: skip


def register_runs(database: Database, batches: Sequence[Batch]) -> dict[str, str]:
    """Register the runs of batches that are unknown; return those that the store refuses, with why."""
    return _register(database, list({batch.run_id: batch.run for batch in batches if batch.run is not None}.values()))


def _register(database: Database, records: Sequence[RunRecord]) -> dict[str, str]:
    if not records:
        return {}
    try:
        write_runs(database, records)
    except troubles_of_the_store():
        raise
    except Exception as error:
        if CHANGED in str(error):  # others were quicker each time, which says nothing of the runs
            raise
        if len(records) == 1:
            return {records[0].run_id: f"its run cannot be recorded: {error}"}
        middle = len(records) // 2
        return _register(database, records[:middle]) | _register(database, records[middle:])
    return {}


def numbered(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> tuple[list[Batch], tuple[NewAttempt, ...]]:
    """Make the attempts of batches that have none, and return the batches with their attempts' numbers.

    An attempt known by a token gets the number after the run's largest one; of several new ones of a
    run the one that started first gets the lower number.
    """
    _insert_announced(con, [batch for batch in batches if batch.attempt is not None])
    by_token = [batch for batch in batches if batch.attempt is None]
    if not by_token:
        return list(batches), ()
    numbers = _known(con, by_token)
    begun = _begun(con, [batch for batch in by_token if (batch.run_id, batch.token) not in numbers])
    numbers |= {(attempt.run_id, attempt.token): attempt.attempt for attempt in begun}
    found = [
        replace(batch, attempt=numbers[batch.run_id, str(batch.token)]) if batch.attempt is None else batch
        for batch in batches
    ]
    return found, begun


def _insert_announced(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> None:
    """Make the row of an attempt that has a number and was never announced: no point is without its attempt."""
    keys = sorted({(batch.run_id, batch.attempt or 0) for batch in batches})
    if keys:
        con.execute(
            "INSERT INTO store.attempts (run_id, attempt, status) "
            "SELECT k.run_id, k.attempt, 'running' FROM (SELECT unnest(?) AS run_id, unnest(?)::INTEGER AS attempt) k "
            "ANTI JOIN store.attempts a ON a.run_id = k.run_id AND a.attempt = k.attempt",
            [[run_id for run_id, _ in keys], [attempt for _, attempt in keys]],
        )


def _known(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> dict[tuple[str, str], int]:
    tokens = sorted({str(batch.token) for batch in batches})
    rows = con.execute(
        "SELECT run_id, token, attempt FROM store.attempts WHERE token IN (SELECT unnest(?))", [tokens]
    ).fetchall()
    return {(run_id, token): attempt for run_id, token, attempt in rows}


def _begun(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> tuple[NewAttempt, ...]:
    """Number the attempts of batches whose tokens are unknown, and make their rows."""
    if not batches:
        return ()
    first: dict[tuple[str, str], Batch] = {}
    for batch in sorted(batches, key=lambda batch: (_started(batch), batch.sequence)):
        first.setdefault((batch.run_id, str(batch.token)), batch)
    highest: dict[str, int] = dict(
        con.execute(
            "SELECT run_id, max(attempt) FROM store.attempts WHERE run_id IN (SELECT unnest(?)) GROUP BY run_id",
            [sorted({batch.run_id for batch in batches})],
        ).fetchall()
    )
    begun = []
    for (run_id, token), batch in first.items():
        highest[run_id] = highest.get(run_id, 0) + 1
        begun.append(NewAttempt(run_id, token, highest[run_id], _started(batch), batch.driver))
    con.execute(
        "INSERT INTO store.attempts (run_id, token, attempt, started_at, driver, status) "
        "SELECT unnest(?), unnest(?), unnest(?)::INTEGER, unnest(?)::TIMESTAMP, unnest(?::VARCHAR[]), 'running'",
        [
            [attempt.run_id for attempt in begun],
            [attempt.token for attempt in begun],
            [attempt.attempt for attempt in begun],
            [attempt.started_at for attempt in begun],
            [attempt.driver for attempt in begun],
        ],
    )
    return tuple(begun)


def _started(batch: Batch) -> str:
    return batch.started_at or batch.written_at


def warn_of_twins(con: duckdb.DuckDBPyConnection, begun: Sequence[NewAttempt]) -> None:
    """Say in the log of a new attempt that an earlier one of its run is still being trained."""
    if not begun:
        return
    rows = con.execute(
        "SELECT a.run_id, n.attempt, n.started_at, a.attempt, a.driver "
        "FROM (SELECT unnest(?) AS run_id, unnest(?)::INTEGER AS attempt, unnest(?)::TIMESTAMP AS started_at) n "
        "JOIN store.attempts a ON a.run_id = n.run_id AND a.attempt < n.attempt "
        "WHERE a.status = 'running' AND a.driver IS NOT NULL ORDER BY ALL",
        [
            [attempt.run_id for attempt in begun],
            [attempt.attempt for attempt in begun],
            [attempt.started_at for attempt in begun],
        ],
    ).fetchall()
    for run_id, attempt, started_at, earlier, driver in rows:
        if is_running(driver) is True:
            host, pid = driver.split(":")[:2]
            message = (
                f"attempt {earlier} of this run is still being trained, by process {pid} on {host}: the same run is "
                f"trained twice at once, and attempt {earlier} is hidden behind this one"
            )
            con.execute(
                "INSERT INTO store.logs (run_id, attempt, logged_at, level, message) VALUES (?, ?, ?, 'warning', ?)",
                [run_id, attempt, started_at, message],
            )
