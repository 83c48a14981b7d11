"""Attempts whose driver died."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.ingest.spool import Spool
from isoflop.lakehouse.runs.provenance import host_name, process_label, process_start
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.workers.orphans import refuse_second_driver, release_orphans

RECORD = RunRecord(family="mine", config={"width": 1})


@pytest.fixture
def living() -> Iterator[str]:
    """The label of a process of this machine that runs."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            yield f"{host_name()}:{process.pid}:{process_start(process.pid)}"
        finally:
            process.kill()


def begin(lake: Lakehouse, driver: str) -> int:
    lake.record_runs([RECORD])
    return lake.begin_attempts([RECORD.run_id], driver)[RECORD.run_id]


def statuses(lake: Lakehouse) -> list[str]:
    return [str(row["status"]) for row in lake.query("SELECT status FROM attempts ORDER BY attempt").to_pylist()]


def test_attempts_of_dead_processes_are_lost_and_others_are_left(lakehouse: Lakehouse, living: str) -> None:
    begin(lakehouse, f"{host_name()}:999999999:1")
    begin(lakehouse, living)
    begin(lakehouse, process_label())
    reused = living.rsplit(":", 1)[0] + ":1"  # the pid of a living process, which started at another time
    begin(lakehouse, reused)
    assert release_orphans(lakehouse) == 2
    assert statuses(lakehouse) == ["lost", "queued", "queued", "lost"]
    assert release_orphans(lakehouse) == 0


def test_another_machine_is_believed_while_it_speaks(lakehouse: Lakehouse) -> None:
    attempt = begin(lakehouse, "elsewhere:7:7")
    with Spool(lakehouse.spool_folder, RECORD.run_id, attempt) as spool:
        spool.started(host="elsewhere", device="cpu")
    lakehouse.drain()
    assert release_orphans(lakehouse) == 0
    with pytest.raises(StoreError, match="'s' is already running in process 7 on elsewhere"):
        refuse_second_driver(lakehouse, "s", [RECORD.run_id])
    lakehouse.write([("UPDATE store.attempts SET heartbeat_at = heartbeat_at - INTERVAL 1 HOUR", None)])
    assert release_orphans(lakehouse) == 1
    refuse_second_driver(lakehouse, "s", [RECORD.run_id])


def test_a_living_driver_is_in_the_way_of_its_own_runs_only(lakehouse: Lakehouse, living: str) -> None:
    begin(lakehouse, living)
    refuse_second_driver(lakehouse, "s", ["another run"])
    with pytest.raises(StoreError, match="is already running in process"):
        refuse_second_driver(lakehouse, "s", [RECORD.run_id])
