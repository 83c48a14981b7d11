"""Attempts whose driver died: nothing will say how they ended, so the next who looks does.

The driver of an attempt is the process that reserved it, named by host, pid and start time. On its
own machine anybody can tell whether it still runs; on another one its silence has to tell.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.runs.provenance import is_running, process_label

if TYPE_CHECKING:
    from isoflop.lakehouse.lake import Lakehouse

SILENT_SECONDS = 120  # a driver on another machine whose runs have said nothing for so long is gone
_OPEN = """
SELECT run_id, attempt, driver,
       heartbeat_at > (now() AT TIME ZONE 'UTC')::TIMESTAMP - to_seconds(?) AS is_fresh
FROM store.attempts WHERE status IN ('queued', 'running') AND driver IS NOT NULL AND driver <> ?
"""


def release_orphans(lake: Lakehouse) -> int:
    """Mark the open attempts of drivers that died as lost, and return how many there were."""
    rows = lake.query(_OPEN, [SILENT_SECONDS, process_label()]).to_pylist()
    fresh = {row["driver"] for row in rows if row["is_fresh"]}
    dead = {driver for driver in {row["driver"] for row in rows} if not _lives(driver, driver in fresh)}
    orphans = [row for row in rows if row["driver"] in dead]
    for row in orphans:
        lake.end_attempt(row["run_id"], row["attempt"], "lost", "driver_died", "the process that ran the sweep is gone")
    return len(orphans)


def refuse_second_driver(lake: Lakehouse, sweep: str, run_ids: Collection[str]) -> None:
    """Make sure that no living process trains one of these runs.

    Raises
    ------
    StoreError : naming the process
    """
    wanted = set(run_ids)
    for row in lake.query(_OPEN, [SILENT_SECONDS, process_label()]).to_pylist():
        if row["run_id"] in wanted and _lives(row["driver"], bool(row["is_fresh"])):
            host, pid = row["driver"].split(":")[:2]
            raise StoreError(
                f"sweep '{sweep}' is already running in process {pid} on {host}",
                hint="watch it with `isoflop status`; stop that process first to run the sweep from here",
            )


def _lives(driver: str, is_fresh: bool) -> bool:
    known = is_running(driver)
    return is_fresh if known is None else known
