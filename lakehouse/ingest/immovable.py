"""Spool files that stay where they are because no process may move them, and what is said of files that are set aside.

Such a file is committed once, or found unreadable once. The ledger remembers its name, time and size, so that later
rounds, and other processes, pass it over without reading it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from isoflop.lakehouse.ingest.batches import UNREADABLE, Drained, NotABatch

if TYPE_CHECKING:
    import duckdb

    from isoflop.lakehouse.backends.backend import Database

COMMITTED = "committed"
STATES = (COMMITTED, UNREADABLE)
NOW = "(now() AT TIME ZONE 'UTC')::TIMESTAMP"
LEFT = "SELECT batch_id FROM store.batches WHERE run_id IS NULL AND batch_id LIKE 'file/%'"

_left: WeakKeyDictionary[Database, dict[str, str]] = WeakKeyDictionary()


def file_key(path: Path) -> str | None:
    """Return what tells a file from every other, and from itself once it is changed; None when it is gone."""
    try:
        about = path.stat()
    except OSError:
        return None
    return f"{about.st_mtime_ns}/{about.st_size}/{_text(path.name)}"


def left_behind(database: Database) -> dict[str, str]:
    """Return the state of each file that is to be passed over, by its key; the ledger is asked once."""
    if database not in _left:
        found = (batch_id.split("/", 2) for batch_id in database.query(LEFT)["batch_id"].to_pylist())
        _left[database] = {key: state for _, state, key in found}
    return _left[database]


def leave(con: duckdb.DuckDBPyConnection, keys: Sequence[str], state: str) -> Drained:
    """Remember that files stay where they are."""
    con.execute(
        f"INSERT INTO store.batches (batch_id, points, committed_at) SELECT k.batch_id, 0, {NOW} "
        "FROM (SELECT unnest(?) AS batch_id) k ANTI JOIN store.batches b USING (batch_id)",
        [[f"file/{state}/{key}" for key in keys]],
    )
    return Drained()


def report(con: duckdb.DuckDBPyConnection, name: str, why: NotABatch) -> Drained:
    """Write a line into the log for a file that is set aside, once for each file and reason."""
    message = _text(f"{beginning(name)} was set aside: {why.reason}")
    con.execute(
        "INSERT INTO store.logs (run_id, attempt, logged_at, level, message) SELECT ?, coalesce(?::INTEGER, "
        f"(SELECT max(attempt) FROM store.attempts WHERE run_id = ? AND token = ?)), {NOW}, 'error', ? "
        "WHERE NOT EXISTS (SELECT 1 FROM store.logs WHERE message = ?)",
        [why.run_id, why.attempt, why.run_id, why.token, message, message],
    )
    return Drained()


def beginning(name: str) -> str:
    """Return how the line in the log about a file begins."""
    return f"the spool file {_text(name)}"


def _text(name: str) -> str:
    """Return text that a VARCHAR takes; the name of a file may be any bytes."""
    return name.encode("utf-8", "replace").decode()
