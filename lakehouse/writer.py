"""From spool to tables: many batches in one transaction, each exactly once.

A group commit reads up to 200 spool files, leaves out those whose batch id the ledger knows, inserts
points, events and ledger entries in one transaction, and removes the files after the commit. A file
that reappears changes nothing. A file that cannot be read is set aside, not deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

GROUP = 200  # spool files in one transaction
UNREADABLE = "unreadable"
HIGHER_IS_BETTER = ("accuracy", "acc", "reward", "score", "bleu", "f1")

ATTEMPT_FIELDS = {
    "status": "VARCHAR", "reason": "VARCHAR", "host": "VARCHAR", "device": "VARCHAR", "hardware": "VARCHAR",
    "code_version": "VARCHAR", "started_at": "TIMESTAMP", "finished_at": "TIMESTAMP", "resumed_step": "BIGINT",
    "loss": "DOUBLE", "validation_loss": "DOUBLE", "irreducible_loss": "DOUBLE", "corpus_hash": "VARCHAR",
    "step_seconds": "DOUBLE", "train_seconds": "DOUBLE", "compile_seconds": "DOUBLE", "peak_memory_bytes": "DOUBLE",
    "error": "VARCHAR", "traceback": "VARCHAR",
}  # fmt: skip


@dataclass(frozen=True)
class Drained:
    """What one drain did."""

    files: int = 0
    points: int = 0
    repeated: int = 0
    unreadable: tuple[str, ...] = ()

    def __add__(self, other: Drained) -> Drained:
        return Drained(
            self.files + other.files,
            self.points + other.points,
            self.repeated + other.repeated,
            self.unreadable + other.unreadable,
        )


@dataclass(frozen=True)
class Batch:
    """One spool file: its points and its events."""

    path: Path
    run_id: str
    attempt: int
    sequence: int
    written_at: str
    events: Sequence[dict[str, Any]]
    points: pa.Table

    @property
    def batch_id(self) -> str:
        """The key of the ledger."""
        return f"{self.run_id}/{self.attempt}/{self.sequence}"


def drain(con: duckdb.DuckDBPyConnection, folder: Path) -> Drained:
    """Commit every finished spool file of `folder` and remove it."""
    done = Drained()
    if not folder.is_dir():
        return done
    for names in _groups(sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".parquet"))):
        batches, unreadable = [], []
        for name in names:
            batch = read_batch(folder / name)
            if batch is None:
                set_aside(folder / name)
                unreadable.append(name)
            else:
                batches.append(batch)
        done += commit(con, batches) + Drained(unreadable=tuple(unreadable))
        for batch in batches:
            batch.path.unlink(missing_ok=True)
    return done


def _groups(names: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return (tuple(names[start : start + GROUP]) for start in range(0, len(names), GROUP))


def read_batch(path: Path) -> Batch | None:
    """Return the batch of a spool file, or None when the file is not one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        about = json.loads(table.schema.metadata[b"isoflop"])
        return Batch(
            path,
            about["run_id"],
            int(about["attempt"]),
            int(about["sequence"]),
            about["written_at"],
            about["events"],
            table,
        )
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError):
        return None


def set_aside(path: Path) -> None:
    """Move a file that cannot be read out of the way, so that it blocks nothing and is not lost."""
    folder = path.parent / UNREADABLE
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        os.replace(path, folder / path.name)


def commit(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> Drained:
    """Insert the batches that the ledger does not know, in one transaction."""
    if not batches:
        return Drained()
    ids = [batch.batch_id for batch in batches]
    known = {
        row[0]
        for row in con.execute(
            "SELECT batch_id FROM store.batches WHERE batch_id IN (SELECT unnest(?))", [ids]
        ).fetchall()
    }
    fresh = [batch for batch in batches if batch.batch_id not in known]
    repeated = len(batches) - len(fresh)
    if not fresh:
        return Drained(repeated=repeated)
    points = _points_table(fresh)
    con.execute("BEGIN")
    try:
        _insert_attempts(con, fresh)
        if points.num_rows:
            con.register("_points", points)
            con.execute(
                "INSERT INTO store.metrics BY NAME SELECT run_id, attempt, metric, step, value, seconds FROM _points "
                "ORDER BY run_id, attempt, metric, step"
            )
            for statement in finals_statements("_points"):
                con.execute(statement)
            con.unregister("_points")
        _apply_events(con, fresh)
        con.register("_ledger", _ledger_table(fresh))
        con.execute("INSERT INTO store.batches BY NAME SELECT * FROM _ledger")
        con.execute(
            "UPDATE store.attempts SET heartbeat_at = l.newest FROM "
            "(SELECT run_id, attempt, max(committed_at) AS newest FROM _ledger GROUP BY ALL) l "
            "WHERE attempts.run_id = l.run_id AND attempts.attempt = l.attempt"
        )
        con.unregister("_ledger")
        con.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(Exception):
            con.execute("ROLLBACK")
        raise
    return Drained(files=len(fresh), points=points.num_rows, repeated=repeated)


def _points_table(batches: Sequence[Batch]) -> pa.Table:
    import pyarrow as pa

    parts = []
    for batch in batches:
        rows = batch.points.num_rows
        columns = {
            "run_id": pa.repeat(pa.scalar(batch.run_id), rows).dictionary_encode(),
            "attempt": pa.repeat(pa.scalar(batch.attempt, pa.int32()), rows),
            "metric": batch.points["metric"].cast(pa.string()),
            "step": batch.points["step"],
            "value": batch.points["value"],
            "seconds": batch.points["seconds"],
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts, promote_options="permissive")


def _ledger_table(batches: Sequence[Batch]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    written = pa.array([batch.written_at for batch in batches])
    return pa.table(
        {
            "batch_id": [batch.batch_id for batch in batches],
            "run_id": [batch.run_id for batch in batches],
            "attempt": pa.array([batch.attempt for batch in batches], pa.int32()),
            "sequence": pa.array([batch.sequence for batch in batches], pa.int64()),
            "points": pa.array([batch.points.num_rows for batch in batches], pa.int64()),
            "committed_at": pc.cast(written, pa.timestamp("us")),
        }
    )


def finals_statements(points: str) -> list[str]:
    """Return the statements that fold the relation `points` into `finals`: last by step, best by value without NaN."""
    higher = " OR ".join(f"metric LIKE '%{word}'" for word in HIGHER_IS_BETTER)
    gather = f"""
        CREATE OR REPLACE TEMP TABLE _finals AS
        WITH fresh AS (
            SELECT run_id, attempt, metric::VARCHAR AS metric,
                   arg_max(value, step) AS last, max(step) AS last_step,
                   CASE WHEN {higher} THEN max(value) FILTER (NOT isnan(value))
                        ELSE min(value) FILTER (NOT isnan(value)) END AS best,
                   CASE WHEN {higher} THEN arg_max(step, value) FILTER (NOT isnan(value))
                        ELSE arg_min(step, value) FILTER (NOT isnan(value)) END AS best_step,
                   count(*) AS count
            FROM {points} GROUP BY run_id, attempt, metric
        ),
        both_parts AS (
            SELECT * FROM fresh
            UNION ALL BY NAME
            SELECT f.* FROM store.finals f SEMI JOIN fresh USING (run_id, attempt, metric)
        )
        SELECT run_id, attempt, metric, arg_max(last, last_step) AS last, max(last_step) AS last_step,
               CASE WHEN {higher} THEN max(best) ELSE min(best) END AS best,
               CASE WHEN {higher} THEN arg_max(best_step, best) ELSE arg_min(best_step, best) END AS best_step,
               sum(count)::BIGINT AS count
        FROM both_parts GROUP BY run_id, attempt, metric
    """
    replace = (
        "DELETE FROM store.finals f USING _finals n "
        "WHERE f.run_id = n.run_id AND f.attempt = n.attempt AND f.metric = n.metric"
    )
    return [gather, replace, "INSERT INTO store.finals BY NAME SELECT * FROM _finals", "DROP TABLE _finals"]


def _insert_attempts(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> None:
    """Make the attempts row of a batch whose attempt was never announced: no point is without its attempt."""
    keys = sorted({(batch.run_id, batch.attempt) for batch in batches})
    con.execute(
        "INSERT INTO store.attempts (run_id, attempt, status) "
        "SELECT k.run_id, k.attempt, 'running' FROM (SELECT unnest(?) AS run_id, unnest(?)::INTEGER AS attempt) k "
        "ANTI JOIN store.attempts a ON a.run_id = k.run_id AND a.attempt = k.attempt",
        [[run_id for run_id, _ in keys], [attempt for _, attempt in keys]],
    )


def _apply_events(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> None:
    import pyarrow as pa

    changes: dict[tuple[str, int], dict[str, Any]] = {}
    notes, timings = [], []
    for batch in batches:
        key = {"run_id": batch.run_id, "attempt": batch.attempt}
        for event in batch.events:
            fields = {name: value for name, value in event.items() if name != "kind"}
            match event["kind"]:
                case "note":
                    notes.append({**key, **fields})
                case "timing":
                    timings.append({**key, **fields})
                case "started" | "ended" as kind:
                    row = changes.setdefault((batch.run_id, batch.attempt), {})
                    results = {name: value for name, value in fields.items() if name not in ATTEMPT_FIELDS}
                    row.update(
                        {name: value for name, value in fields.items() if name in ATTEMPT_FIELDS and value is not None}
                    )
                    if kind == "started":
                        row.setdefault("status", "running")
                    if results:
                        row["results"] = json.dumps({**json.loads(row.get("results") or "{}"), **results}, default=str)
    if notes:
        con.register("_notes", pa.Table.from_pylist(notes))
        con.execute(
            "INSERT INTO store.logs BY NAME "
            "SELECT run_id, attempt, logged_at::TIMESTAMP AS logged_at, level, message FROM _notes"
        )
        con.unregister("_notes")
    if timings:
        con.register("_timings", pa.Table.from_pylist(timings))
        con.execute("INSERT INTO store.timings BY NAME SELECT * FROM _timings")
        con.unregister("_timings")
    for (run_id, attempt), row in changes.items():
        merged = "results = json_merge_patch(coalesce(results, '{}'), ?)"
        assignments = ", ".join(merged if name == "results" else f"{name} = ?::{ATTEMPT_FIELDS[name]}" for name in row)
        con.execute(
            f"UPDATE store.attempts SET {assignments} WHERE run_id = ? AND attempt = ?",
            [*row.values(), run_id, attempt],
        )
