"""What the lake knows of a sweep's runs: which are done, and how far the others are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.ingest.encoding import SUFFIX
from isoflop.workers.cluster.deaths import Death

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.lake import Lakehouse

SETTLE_SECONDS = 30.0  # how long to wait for another process to commit the last files
_UTC_NOW = "(now() AT TIME ZONE 'UTC')::TIMESTAMP"

EARLY = "stopped_early"  # reason of a run that halving has ended

Key = tuple[str, int]  # run_id, attempt


@dataclass(frozen=True)
class AttemptProgress:
    """How far an attempt is, as the lake has it."""

    status: str
    reason: str | None
    host: str | None
    step: int | None
    loss: float | None
    seconds: float


def done_runs(lake: Lakehouse, run_ids: Sequence[str]) -> set[str]:
    """Return the runs that have a result already: finished, diverged, or ended early by a rule."""
    rows = lake.query(
        "SELECT DISTINCT a.run_id FROM store.attempts a SEMI JOIN _ids USING (run_id) "
        f"WHERE a.status = 'finished' OR (a.status = 'failed' AND a.reason IN ('diverged', '{EARLY}'))",
        None,
        {"_ids": _ids(run_ids)},
    )
    return set(rows["run_id"].to_pylist())


def failed_runs(lake: Lakehouse, run_ids: Sequence[str]) -> set[str]:
    """Return the runs whose newest attempt failed or was lost; one that was stopped, or diverged, did neither."""
    rows = lake.query(
        "SELECT run_id FROM runs SEMI JOIN _ids USING (run_id) WHERE status = 'lost' "
        f"OR (status = 'failed' AND coalesce(reason, '') NOT IN ('stopped', 'diverged', '{EARLY}'))",
        None,
        {"_ids": _ids(run_ids)},
    )
    return set(rows["run_id"].to_pylist())


def progress(lake: Lakehouse, attempts: Iterable[Key]) -> dict[Key, AttemptProgress]:
    """Return how far these attempts are."""
    import pyarrow as pa

    keys = list(attempts)
    if not keys:
        return {}
    wanted = pa.table(
        {"run_id": [run_id for run_id, _ in keys], "attempt": pa.array([attempt for _, attempt in keys], pa.int32())}
    )
    rows = lake.query(
        "SELECT a.run_id, a.attempt, a.status, a.reason, a.host, f.last_step, coalesce(a.loss, f.last) AS loss, "
        f"epoch({_UTC_NOW}) - epoch(a.started_at) AS seconds "
        "FROM store.attempts a SEMI JOIN _wanted USING (run_id, attempt) "
        "LEFT JOIN store.finals f ON f.run_id = a.run_id AND f.attempt = a.attempt AND f.metric = 'loss'",
        None,
        {"_wanted": wanted},
    ).to_pylist()
    return {
        (row["run_id"], row["attempt"]): AttemptProgress(
            status=row["status"],
            reason=row["reason"],
            host=row["host"],
            step=row["last_step"],
            loss=row["loss"],
            seconds=max(0.0, row["seconds"] or 0.0),
        )
        for row in rows
    }


def ended_early(lake: Lakehouse, key: Key, why: str) -> None:
    """Say of an attempt that stopped as it was asked to that this is its result."""
    settle(lake, [key])
    which = "run_id = ? AND attempt = ? AND reason = 'stopped'"
    lake.write([(f"UPDATE store.attempts SET reason = ?, error = ? WHERE {which}", [EARLY, why, *key])])


def still_open(lake: Lakehouse, ends: Mapping[Key, Death]) -> dict[Key, Death]:
    """Return the ends of those attempts that the lake still has as queued or running."""
    now = progress(lake, ends)
    return {key: end for key, end in ends.items() if key in now and now[key].status in ("queued", "running")}


def settle(lake: Lakehouse, attempts: Iterable[Key]) -> bool:
    """Wait until every file of these attempts is in the tables; return False when that takes too long.

    The lake's holder commits them. That is this process, or another one that has the file open.
    """
    prefixes = {f"{run_id}.{attempt:04d}." for run_id, attempt in attempts}
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        lake.drain()
        if not any(name[: name.rfind(".", 0, -len(SUFFIX)) + 1] in prefixes for name in _waiting(lake)):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.2)


def _waiting(lake: Lakehouse) -> list[str]:
    folder = lake.spool_folder
    return [path.name for path in folder.iterdir() if path.name.endswith(SUFFIX)] if folder.is_dir() else []


def _ids(run_ids: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    return pa.table({"run_id": pa.array(list(run_ids), pa.string())})
