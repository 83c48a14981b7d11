"""From spool to tables: many batches in one transaction, each exactly once.

A group commit reads up to 200 spool files, leaves out those whose batch id the ledger knows, inserts
points, events and ledger entries in one transaction, and removes the files after the commit. A file
that reappears changes nothing. A file that cannot be read or stored is set aside, not deleted, and
holds up no other.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.ingest.attempts import numbered, register_runs, troubles_of_the_store, warn_of_twins
from isoflop.lakehouse.ingest.batches import UNREADABLE, Batch, Drained, NotABatch, header_of, read_batch, set_aside
from isoflop.lakehouse.ingest.events import apply_changes, apply_counts, changes_of
from isoflop.lakehouse.ingest.finals import finals_statements
from isoflop.lakehouse.ingest.immovable import COMMITTED, file_key, leave, left_behind, report
from isoflop.lakehouse.ingest.totals import apply_totals
from isoflop.lakehouse.runs.metrics import highest_of
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
    return _Drain(transact, folder, database).run()


@dataclass(frozen=True)
class _Drain:
    """One round through a spool."""

    transact: Transact
    folder: Path
    database: Database

    def run(self) -> Drained:
        done = Drained()
        for paths in _groups(self.folder, left_behind(self.database)):
            batches = []
            for path in paths:
                try:
                    batches.append(read_batch(path))
                except (OSError, MemoryError):
                    continue  # another committer of this folder was quicker, or the next round will read it
                except NotABatch as error:
                    done += self._set_aside(path, error)
            refused = register_runs(self.database, batches)
            for batch in [batch for batch in batches if batch.run is not None and batch.run_id in refused]:
                done += self._set_aside(batch.path, _refusal(batch, refused[batch.run_id]))
                batches.remove(batch)
            done += self._commit(batches)
        return done

    def _commit(self, batches: Sequence[Batch]) -> Drained:
        """Commit batches together; one that the store refuses is set aside and the others go in."""
        if not batches:
            return Drained()
        try:
            done = self.transact(lambda con: insert(con, batches))
        except troubles_of_the_store():
            raise
        except Exception as error:
            if len(batches) == 1:
                return self._commit_without_events(batches[0], error)
            middle = len(batches) // 2
            return self._commit(batches[:middle]) + self._commit(batches[middle:])
        clashing = [batch for batch in batches if batch.path.name in done.unreadable]
        for batch in clashing:
            why = f"batch {batch.sequence} of this attempt was committed before with other content"
            self._set_aside(batch.path, _refusal(batch, why))
        self._remove([batch.path for batch in batches if batch not in clashing])
        return done

    def _commit_without_events(self, batch: Batch, error: Exception) -> Drained:
        """Commit the points of a batch whose events the store refuses, or set it aside when it refuses those too."""
        if batch.events:
            lost = json.dumps(batch.events, default=str)
            message = f"the store refused the events of batch {batch.sequence}: {error}; they were {lost}"
            note = {"kind": "note", "logged_at": batch.written_at, "level": "error", "message": message}
            bare = replace(batch, events=[note])
            try:
                done = self.transact(lambda con: insert(con, [bare]))
            except troubles_of_the_store():
                raise
            except Exception:
                return self._set_aside(batch.path, _refusal(batch, f"the store refused it: {error}"))
            self._remove([batch.path])
            return done
        return self._set_aside(batch.path, _refusal(batch, f"the store refused it: {error}"))

    def _set_aside(self, path: Path, why: NotABatch) -> Drained:
        """Say in the log why a file is not committed, and move it away; both happen once."""
        self.transact(lambda con: report(con, path.name, why))
        if not set_aside(path, why.reason):
            self._leave([path], UNREADABLE)
        return Drained(unreadable=(path.name,))

    def _remove(self, paths: Sequence[Path]) -> None:
        """Remove files that are committed; those that stay whatever we do are looked at no more."""
        staying = []
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                staying.append(path)
        if staying:
            self._leave(staying, COMMITTED)

    def _leave(self, paths: Sequence[Path], state: str) -> None:
        keys = [key for path in paths if (key := file_key(path)) is not None]
        self.transact(lambda con: leave(con, keys, state))
        left_behind(self.database).update(dict.fromkeys(keys, state))


def _refusal(batch: Batch, why: str) -> NotABatch:
    return NotABatch(why, batch.run_id, batch.attempt, batch.token)


def _groups(folder: Path, left: Mapping[str, str]) -> Iterable[tuple[Path, ...]]:
    """Yield the finished files, a transaction's worth at a time: attempt by attempt, as they began."""
    found: list[tuple[Path, int]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.name.endswith(".parquet"):
                _drop_stale_partial(entry)
                continue
            with contextlib.suppress(OSError):
                path = folder / entry.name
                state = left.get(str(file_key(path))) if left else None
                if state == COMMITTED:
                    path.unlink()  # whoever owns it may; for us it is a file less to look at
                elif state is None and entry.is_file(follow_symlinks=False):
                    found.append((path, entry.stat().st_size))
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
            clashing.append(batch)
    done = Drained(
        repeated=len(batches) - len(fresh) - len(clashing),
        unreadable=tuple(batch.path.name for batch in clashing),
        clashing=tuple(batch.batch_id for batch in clashing),
    )
    if fresh:
        done += _insert_fresh(con, list(fresh.values()))
        warn_of_twins(con, begun)
    return done


def _insert_fresh(con: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> Drained:
    """Insert batches that are new: what attempts say of their end wins over what their points say."""
    changes = changes_of(batches)
    apply_counts(con, changes.counts_at_start)
    points = _points_table(batches)
    if points.num_rows:
        con.register("_points", _directed(con, points))
        con.execute(
            f"INSERT INTO store.metrics BY NAME SELECT run_id, attempt, metric, step, {narrowed('value')}, seconds "
            f"FROM _points ORDER BY {POINT_ORDER}"
        )
        gather, *fold = finals_statements("_points", tie="position", is_directed=True)
        con.execute(gather)
        apply_totals(con, batches[-1].written_at)
        for statement in fold:
            con.execute(statement)
        con.unregister("_points")
    con.register("_ledger", _ledger_table(batches))
    con.execute("INSERT INTO store.batches BY NAME SELECT * EXCLUDE (seconds) FROM _ledger")
    con.execute(
        "UPDATE store.attempts SET heartbeat_at = greatest(l.newest, heartbeat_at), train_seconds = CASE "
        "WHEN finished_at IS NULL OR train_seconds IS NULL THEN greatest(l.seconds, train_seconds) "
        "ELSE train_seconds END FROM (SELECT run_id, attempt, max(committed_at) AS newest, max(seconds) AS seconds "
        "FROM _ledger GROUP BY ALL) l WHERE attempts.run_id = l.run_id AND attempts.attempt = l.attempt"
    )
    con.unregister("_ledger")
    apply_changes(con, changes)
    apply_counts(con, changes.counts_at_end)
    return Drained(len(batches), points.num_rows)


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


def _directed(con: duckdb.DuckDBPyConnection, points: pa.Table) -> pa.Table:
    """Add to points whether the largest value of their metric is its best one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = pc.unique(points["metric"]).to_pylist()
    highest = pa.array(highest_of(con, names), pa.string())
    return points.append_column("is_highest", pc.is_in(points["metric"], value_set=highest))


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
            "seconds": pa.array([_largest_seconds(batch) for batch in batches], pa.float64()),
            "committed_at": pc.cast(written, pa.timestamp("us")),
        }
    )


def _largest_seconds(batch: Batch) -> float | None:
    """Return how long the attempt had trained at the last of a batch's points, where they say it [s]."""
    import numpy as np

    seconds = batch.points["seconds"].to_numpy()
    finite = seconds[np.isfinite(seconds)]
    return float(finite.max()) if len(finite) else None
