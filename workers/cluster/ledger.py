"""What the lake knows of a sweep's runs: which are done, which were left behind, how far the others are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.provenance import is_running, process_label
from isoflop.lakehouse.spool import SUFFIX

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.lake import Lakehouse

SILENT_SECONDS = 120  # a driver on another machine that has said nothing for this long is gone
SETTLE_SECONDS = 30.0  # how long to wait for another process to commit the last files
_UTC_NOW = "(now() AT TIME ZONE 'UTC')::TIMESTAMP"

Key = tuple[str, int]  # run_id, attempt


@dataclass(frozen=True)
class Progress:
    """How far an attempt is, as the lake has it."""

    status: str
    reason: str | None
    host: str | None
    step: int | None
    loss: float | None
    seconds: float
    error: str | None


def done_runs(lake: Lakehouse, run_ids: Sequence[str]) -> set[str]:
    """Return the runs that have a result already: finished, or diverged."""
    rows = lake.query(
        "SELECT DISTINCT a.run_id FROM store.attempts a SEMI JOIN _ids USING (run_id) "
        "WHERE a.status = 'finished' OR (a.status = 'failed' AND a.reason = 'diverged')",
        None,
        {"_ids": _ids(run_ids)},
    )
    return set(rows["run_id"].to_pylist())


def release_orphans(lake: Lakehouse, sweep: str, run_ids: Sequence[str]) -> int:
    """Mark attempts that a dead driver left open as lost and return how many there were.

    Raises
    ------
    StoreError : if the driver of one of them is alive
    """
    rows = lake.query(
        f"SELECT a.run_id, a.attempt, a.driver, a.heartbeat_at > {_UTC_NOW} - to_seconds({SILENT_SECONDS}) AS is_fresh "
        "FROM store.attempts a SEMI JOIN _ids USING (run_id) WHERE a.status IN ('queued', 'running')",
        None,
        {"_ids": _ids(run_ids)},
    ).to_pylist()
    fresh = {row["driver"] for row in rows if row["is_fresh"]}
    for driver in {row["driver"] for row in rows if row["driver"]} - {process_label()}:
        lives = is_running(driver)
        if lives or (lives is None and driver in fresh):
            host, pid = driver.split(":")[:2]
            raise StoreError(
                f"sweep '{sweep}' is already running in process {pid} on {host}",
                hint="watch it with `isoflop status`; stop that process first to run the sweep from here",
            )
    for row in rows:
        lake.end_attempt(row["run_id"], row["attempt"], "lost", "driver_died", "the process that ran the sweep is gone")
    return len(rows)


def progress(lake: Lakehouse, attempts: Iterable[Key]) -> dict[Key, Progress]:
    """Return how far these attempts are."""
    import pyarrow as pa

    keys = list(attempts)
    if not keys:
        return {}
    wanted = pa.table(
        {"run_id": [run_id for run_id, _ in keys], "attempt": pa.array([attempt for _, attempt in keys], pa.int32())}
    )
    rows = lake.query(
        "SELECT a.run_id, a.attempt, a.status, a.reason, a.host, f.last_step, coalesce(a.loss, f.last) AS loss, a.error, "
        f"epoch({_UTC_NOW}) - epoch(a.started_at) AS seconds "
        "FROM store.attempts a SEMI JOIN _wanted USING (run_id, attempt) "
        "LEFT JOIN store.finals f ON f.run_id = a.run_id AND f.attempt = a.attempt AND f.metric = 'loss'",
        None,
        {"_wanted": wanted},
    ).to_pylist()
    return {
        (row["run_id"], row["attempt"]): Progress(
            status=row["status"],
            reason=row["reason"],
            host=row["host"],
            step=row["last_step"],
            loss=row["loss"],
            seconds=max(0.0, row["seconds"] or 0.0),
            error=row["error"],
        )
        for row in rows
    }


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
