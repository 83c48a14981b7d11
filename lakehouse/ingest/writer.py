"""From spool to tables: many batches in one transaction, each exactly once.

A group commit reads up to 200 spool files, leaves out those whose batch id the ledger knows, inserts
points, events and ledger entries in one transaction, and removes the files after the commit. A file
that reappears changes nothing. A file that cannot be read or stored is set aside, not deleted, and
holds up no other.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.ingest.attempts import numbered, register_runs, troubles_of_the_store, warn_of_twins
from isoflop.lakehouse.ingest.batches import Batch, Drained, NotABatch, header_of, read_batch, set_aside
from isoflop.lakehouse.ingest.events import apply_events
from isoflop.lakehouse.schema import POINT_ORDER, narrowed

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from isoflop.lakehouse.backends.backend import Database

    Work = Callable[[duckdb.DuckDBPyConnection], Drained]
    Transact = Callable[[Work], Drained]

__all__ = ["Drained", "drain", "finals_statements", "has_batches", "insert", "read_batch"]

GROUP = 200  # spool files in one transaction
GROUP_BYTES = 64 * 2**20  # of spool files in one transaction
STALE_PARTIAL_SECONDS = 3600  # a half-written file this old has no writer any more
HIGHER_IS_BETTER = ("accuracy", "acc", "reward", "score", "bleu", "f1")
HIGHER = " OR ".join(f"metric LIKE '%{word}'" for word in HIGHER_IS_BETTER)


def batch_files(folder: Path) -> set[str]:
    """Return the names of the finished spool files in `folder`."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.name.endswith(".parquet")}
    except OSError:
        return set()


def has_batches(folder: Path) -> bool:
    """Return whether a finished spool file waits in `folder`."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.endswith(".parquet") for entry in entries)
    except OSError:
        return False


def drain(transact: Transact, folder: Path, database: Database) -> Drained:
    """Commit every finished spool file of `folder` and remove it.

    Parameters
    ----------
    transact : runs a function of a connection in one transaction; again from the start when another
        writer came between
    folder : the spool
    database : where the runs of batches are registered that are not known yet

    Raises
    ------
    StoreError, duckdb.Error : if the store cannot take anything, for example because the disk is full
    """
    done = Drained()
    for paths in _groups(folder):
        batches, unreadable = [], []
        for path in paths:
            try:
                batches.append(read_batch(path))
            except FileNotFoundError:
                continue  # another committer of this folder was quicker
            except NotABatch as error:
                set_aside(path, error.reason)
                unreadable.append(path.name)
        refused = register_runs(database, batches)
        for batch in batches:
            if batch.run is not None and batch.run_id in refused:
                set_aside(batch.path, refused[batch.run_id])
                unreadable.append(batch.path.name)
        committable = [batch for batch in batches if batch.run is None or batch.run_id not in refused]
        done += _commit(transact, committable) + Drained(unreadable=tuple(unreadable))
    return done


def _groups(folder: Path) -> Iterable[tuple[Path, ...]]:
    """Yield the finished files, a transaction's worth at a time: attempt by attempt, as they began."""
    found: list[tuple[Path, int]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            with contextlib.suppress(OSError):
                if not entry.name.endswith(".parquet"):
                    _drop_stale_partial(entry)
                elif entry.is_file(follow_symlinks=False):
                    found.append((folder / entry.name, entry.stat().st_size))
    if len(found) > GROUP:
        found = _as_they_began(found)
    group: list[Path] = []
    size = 0
    for path, room in found:
        size += room
        group.append(path)
        if len(group) == GROUP or size > GROUP_BYTES:
            yield tuple(group)
            group, size = [], 0
    if group:
        yield tuple(group)


def _as_they_began(found: Sequence[tuple[Path, int]]) -> list[tuple[Path, int]]:
    """Order files of more than one transaction so that an attempt that began earlier gets the lower number."""
    began: dict[str, str] = {}
    for path, _ in found:
        attempt = path.name.rsplit(".", 2)[0]  # a file's name ends in its sequence and its suffix
        if attempt not in began:
            began[attempt] = str(header_of(path).get("started_at") or "")
    return sorted(found, key=lambda file: (began[file[0].name.rsplit(".", 2)[0]], file[0].name))


def _drop_stale_partial(entry: os.DirEntry[str]) -> None:
    """Remove what a killed worker left half written; it was never acknowledged."""
    with contextlib.suppress(OSError):
        if entry.name.endswith(".partial") and time.time() - entry.stat().st_mtime > STALE_PARTIAL_SECONDS:
            os.unlink(entry.path)


def _commit(transact: Transact, batches: Sequence[Batch]) -> Drained:
    """Commit batches together; one that the store refuses is set aside and the others go in."""
    if not batches:
        return Drained()
    try:
        done = transact(lambda con: insert(con, batches))
    except troubles_of_the_store():
        raise
    except Exception as error:
        if len(batches) == 1:
            set_aside(batches[0].path, f"the store refused it: {error}")
            return Drained(unreadable=(batches[0].path.name,))
        middle = len(batches) // 2
        return _commit(transact, batches[:middle]) + _commit(transact, batches[middle:])
    for batch in batches:
        if batch.path.name in done.unreadable:
            set_aside(batch.path, f"batch {batch.sequence} of {batch.run_id} was committed before with other content")
        else:
            batch.path.unlink(missing_ok=True)
    return done


def insert(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> Drained:
    """Insert the batches that the ledger does not know; the caller's transaction holds all of it or none."""
    batches, begun = numbered(con, batches)
    ids = [batch.batch_id for batch in batches]
    known = dict(
        con.execute(
            "SELECT batch_id, strftime(committed_at, '%Y-%m-%d %H:%M:%S.%f') FROM store.batches "
            "WHERE batch_id IN (SELECT unnest(?))",
            [ids],
        ).fetchall()
    )
    fresh: dict[str, Batch] = {}
    clashing = []
    for batch in batches:
        earlier = known.get(batch.batch_id) or (fresh[batch.batch_id].written_at if batch.batch_id in fresh else None)
        if earlier is None:
            fresh[batch.batch_id] = batch
        elif earlier[:26] != batch.written_at:
            clashing.append(batch.batch_id)
    repeated = len(batches) - len(fresh) - len(clashing)
    unreadable = tuple(batch.path.name for batch in batches if batch.batch_id in clashing)
    if not fresh:
        return Drained(repeated=repeated, clashing=tuple(clashing), unreadable=unreadable)
    new = list(fresh.values())
    points = _points_table(new)
    if points.num_rows:
        con.register("_points", points)
        con.execute(
            f"INSERT INTO store.metrics BY NAME SELECT run_id, attempt, metric, step, {narrowed('value')}, seconds "
            f"FROM _points ORDER BY {POINT_ORDER}"
        )
        for statement in finals_statements("_points", tie="position"):
            con.execute(statement)
        con.unregister("_points")
    apply_events(con, new)
    warn_of_twins(con, begun)
    con.register("_ledger", _ledger_table(new))
    con.execute("INSERT INTO store.batches BY NAME SELECT * FROM _ledger")
    con.execute(
        "UPDATE store.attempts SET heartbeat_at = greatest(l.newest, heartbeat_at) FROM "
        "(SELECT run_id, attempt, max(committed_at) AS newest FROM _ledger GROUP BY ALL) l "
        "WHERE attempts.run_id = l.run_id AND attempts.attempt = l.attempt"
    )
    con.unregister("_ledger")
    return Drained(len(new), points.num_rows, repeated, unreadable, tuple(clashing))


def _points_table(batches: Sequence[Batch]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    parts = []
    for batch in batches:
        rows = batch.points.num_rows
        columns = {
            "run_id": pa.repeat(pa.scalar(batch.run_id), rows).dictionary_encode(),
            "attempt": pa.repeat(pa.scalar(batch.attempt, pa.int32()), rows),
            "metric": batch.points["metric"],
            "step": batch.points["step"],
            "value": batch.points["value"],
            "seconds": batch.points["seconds"],
        }
        parts.append(pa.table(columns))
    points = pa.concat_tables(parts, promote_options="permissive")
    return points.append_column("position", pa.array(np.arange(points.num_rows)))


def _ledger_table(batches: Sequence[Batch]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    written = pa.array([batch.written_at for batch in batches])
    return pa.table(
        {
            "batch_id": [batch.batch_id for batch in batches],
            "run_id": [batch.run_id for batch in batches],
            "attempt": pa.array([batch.attempt for batch in batches], pa.int32()),
            "stream": pa.array([batch.stream for batch in batches], pa.string()),
            "sequence": pa.array([batch.sequence for batch in batches], pa.int64()),
            "points": pa.array([batch.points.num_rows for batch in batches], pa.int64()),
            "committed_at": pc.cast(written, pa.timestamp("us")),
        }
    )


def finals_statements(points: str, tie: str = "0") -> list[str]:
    """Return the statements that fold the relation `points` into `finals`: last by step, best by value without NaN.

    Of several values at one step the last one logged counts; `tie` is the column that says which that is.
    """
    gather = f"""
        CREATE OR REPLACE TEMP TABLE _finals AS
        WITH fresh AS (
            SELECT run_id::VARCHAR AS run_id, attempt, metric::VARCHAR AS metric,
                   arg_max(value, (step, {tie})) AS last, max(step) AS last_step,
                   CASE WHEN {HIGHER} THEN max(value) FILTER (NOT isnan(value))
                        ELSE min(value) FILTER (NOT isnan(value)) END AS best,
                   CASE WHEN {HIGHER} THEN arg_max(step, value) FILTER (NOT isnan(value))
                        ELSE arg_min(step, value) FILTER (NOT isnan(value)) END AS best_step,
                   count(*) AS count, 1 AS part
            FROM {points} GROUP BY run_id, attempt, metric
        ),
        both_parts AS (
            SELECT * FROM fresh
            UNION ALL BY NAME
            SELECT f.*, 0 AS part FROM store.finals f SEMI JOIN fresh USING (run_id, attempt, metric)
        )
        SELECT run_id, attempt, metric, arg_max(last, (last_step, part)) AS last, max(last_step) AS last_step,
               CASE WHEN {HIGHER} THEN max(best) ELSE min(best) END AS best,
               CASE WHEN {HIGHER} THEN arg_max(best_step, best) ELSE arg_min(best_step, best) END AS best_step,
               sum(count)::BIGINT AS count
        FROM both_parts GROUP BY run_id, attempt, metric
    """
    replace = (
        "DELETE FROM store.finals f USING _finals n "
        "WHERE f.run_id = n.run_id AND f.attempt = n.attempt AND f.metric = n.metric"
    )
    return [gather, replace, "INSERT INTO store.finals BY NAME SELECT * FROM _finals", "DROP TABLE _finals"]
