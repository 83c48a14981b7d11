"""What no store can take costs itself: the file, the event, the field, and nothing beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.ingest.batches import NotABatch, read_batch
from isoflop.lakehouse.maintenance import find_problems
from tests.lakehouse.spool_files import losses, put, put_raw

RUN = RunRecord(family="mine", config={"width": 64})
ABOUT = {
    "version": 1, "run_id": "bad", "attempt": 1, "sequence": 0, "written_at": "2026-01-01 00:00:00.000000",
    "events": [],
}  # fmt: skip
NOBODY = 65534

HEADERS: list[tuple[Any, str]] = [
    ([1], "its header is no object"),
    ({**ABOUT, "version": 3}, "its version is 3 \\(a newer isoflop wrote it"),
    ({**ABOUT, "version": "1"}, "its version is '1'; expected 1 or 2"),
    ({**ABOUT, "run_id": None}, "its header has no run_id"),
    ({**ABOUT, "run_id": 7}, "run_id is 7; expected text"),
    ({**ABOUT, "run_id": "\ud800"}, "run_id is .*; expected text"),
    ({**ABOUT, "written_at": "not a time"}, "written_at is 'not a time'; expected a time"),
    ({**ABOUT, "written_at": 5}, "written_at is 5; expected a time"),
    ({**ABOUT, "attempt": 2**40}, "attempt is 1099511627776; expected a whole number from 1 to 2147483647"),
    ({**ABOUT, "attempt": 0}, "attempt is 0; expected"),
    ({**ABOUT, "attempt": True}, "attempt is True; expected"),
    ({**ABOUT, "attempt": None}, "it names neither an attempt nor a token"),
    ({**ABOUT, "sequence": -1}, "sequence is -1; expected a whole number from 0"),
    ({**ABOUT, "sequence": 2**63}, "sequence is 9223372036854775808; expected"),
    ({**ABOUT, "events": [None]}, "its events are not a list of objects"),
    ({**ABOUT, "events": {"kind": "ended"}}, "its events are not a list of objects"),
    ({**ABOUT, "version": 2, "attempt": None, "token": 5}, "token is 5; expected text"),
    ({**ABOUT, "version": 2, "started_at": "soon"}, "started_at is 'soon'; expected a time"),
    ({**ABOUT, "version": 2, "run": "x"}, "its run cannot be recorded"),
    ({**ABOUT, "version": 2, "run": {"family": "mine", "seed": 2**70}}, "its run cannot be recorded: seed is"),
]
COLUMNS: list[tuple[dict[str, Any], str]] = [
    ({"value": ["high"]}, "its column value is string; expected numbers"),
    ({"value": pa.array([None], pa.float64())}, "its column value has 1 missing values"),
    ({"step": pa.array([None], pa.int64())}, "its column step has 1 missing values"),
    ({"step": [1.5]}, "its column step is double; expected whole numbers"),
    ({"step": pa.array([2**64 - 1], pa.uint64())}, "Integer value 18446744073709551615 not in range"),
    ({"metric": [5]}, "its column metric is int64; expected text"),
    ({"metric": pa.array([None], pa.string())}, "its column metric has 1 missing values"),
    ({"metric": pa.array([None], pa.string()).dictionary_encode()}, "its column metric has 1 missing values"),
    ({"metric": pa.array([b"\xff"], pa.binary()).view(pa.string())}, "Invalid UTF8"),
    ({"seconds": ["soon"]}, "its column seconds is string; expected numbers"),
]


@pytest.mark.parametrize(("about", "reason"), HEADERS)
def test_an_impossible_header_is_said_by_name(tmp_path: Path, about: Any, reason: str) -> None:
    path = put_raw(tmp_path / "x.parquet", about)
    with pytest.raises(NotABatch, match=reason):
        read_batch(path)


@pytest.mark.parametrize(("columns", "reason"), COLUMNS)
def test_impossible_points_are_said_by_name(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    path = put_raw(tmp_path / "x.parquet", ABOUT, columns)
    with pytest.raises(NotABatch, match=reason):
        read_batch(path)


def test_smaller_types_and_missing_seconds_are_points_too(tmp_path: Path) -> None:
    columns = {"step": pa.array([1], pa.int16()), "value": pa.array([2], pa.int32()), "seconds": pa.nulls(1)}
    batch = read_batch(put_raw(tmp_path / "x.parquet", ABOUT, columns))
    assert batch.points.to_pylist() == [{"metric": "loss", "step": 1, "value": 2.0, "seconds": None}]


def test_each_impossible_file_is_set_aside_alone_with_a_line_in_the_log(lakehouse: Lakehouse) -> None:
    for number, (about, _) in enumerate(HEADERS):
        put_raw(lakehouse.spool_folder / f"header{number:02d}.parquet", about)
    for number, (_, columns) in enumerate((reason, columns) for columns, reason in COLUMNS):
        put_raw(lakehouse.spool_folder / f"columns{number:02d}.parquet", ABOUT, columns)
    put(lakehouse.spool_folder, RUN, "abc", 0, losses(1))
    done = lakehouse.drain()
    number = len(HEADERS) + len(COLUMNS)
    assert (done.files, done.points, len(done.unreadable)) == (1, 1, number)
    logs = lakehouse.query("SELECT * FROM logs").to_pylist()
    assert len(logs) == number and {row["level"] for row in logs} == {"error"}
    (line,) = (row for row in logs if "file columns00.parquet was set aside" in row["message"])
    assert (line["run_id"], line["attempt"]) == ("bad", 1) and "its column value is string" in line["message"]
    problems = find_problems(lakehouse).records()
    assert {row["kind"] for row in problems} == {"file is not a batch"} and len(problems) == number
    shutil.copy(lakehouse.spool_folder / "unreadable" / "header06.parquet", lakehouse.spool_folder)
    lakehouse.drain()
    assert len(lakehouse.query("SELECT * FROM logs")) == number


def test_an_event_that_makes_no_sense_costs_itself(lakehouse: Lakehouse) -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"deeper": deep}
    events = [
        {"kind": "started", "host": "here", "hardware": "no json {", "status": "well", "started_at": [], "steps": "x"},
        {"kind": "resumed", "resumed_step": "five"},
        {"kind": 5},
        {"kind": "timing", "phase": "forward", "count": 2**70, "p10": "fast", "total": 3},
        {"kind": "timing", "phase": "backward", "count": float("nan"), "p10": 1e400},
        {"kind": "note", "logged_at": "noon", "level": None, "message": "half a pair \ud800 and \x00"},
        {"kind": "ended", "status": "finished", "loss": 2**2000, "deep": deep, "big": 10**400, "finished_at": "x"},
    ]  # fmt: skip
    put(lakehouse.spool_folder, RUN, "abc", 0, losses(1), events)
    done = lakehouse.drain()
    assert (done.files, done.unreadable) == (1, ())
    (row,) = lakehouse.query(
        "SELECT status, host, results->>'hardware' AS hardware, results->>'status' AS said FROM runs"
    ).to_pylist()
    assert row == {"status": "finished", "host": "here", "hardware": "no json {", "said": "well"}
    errors = lakehouse.query("SELECT attempt, message FROM logs WHERE level = 'error' ORDER BY message").to_pylist()
    assert [row["attempt"] for row in errors] == [1, 1]
    assert "kind is 5; expected started" in errors[0]["message"]
    assert "resumed_step is 'five'; expected a step" in errors[1]["message"]
    assert len(lakehouse.query("SELECT * FROM timings")) == 2
    assert find_problems(lakehouse).records() == []


def test_events_that_the_store_refuses_cost_the_events_and_not_the_points(lakehouse: Lakehouse) -> None:
    lakehouse.write([("DROP VIEW main.runs CASCADE", None), ("ALTER TABLE store.timings RENAME TO elsewhere", None)])
    put(lakehouse.spool_folder, RUN, "abc", 0, losses(1), [{"kind": "timing", "phase": "forward", "count": 1}])
    put(lakehouse.spool_folder, RUN, "abc", 1, losses(2), [{"kind": "ended", "status": "finished"}])
    done = lakehouse.drain()
    assert (done.files, done.points, done.unreadable) == (2, 2, ())
    (error,) = lakehouse.query("SELECT message FROM store.logs WHERE level = 'error'")["message"].to_pylist()
    assert "the store refused the events of batch 0" in error and "forward" in error
    assert lakehouse.query("SELECT status FROM store.attempts").to_pylist() == [{"status": "finished"}]


@contextlib.contextmanager
def unchangeable(folder: Path) -> Iterator[None]:
    """Let nothing in `folder` be added, removed or moved by this process while the block runs."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder in which every user may write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_files_that_nobody_can_move_are_taken_once_and_then_passed_over(open_folder: Path) -> None:
    address = open_folder / "lake.duckdb"
    with Lakehouse(address) as lake:
        folder = lake.spool_folder
    put(folder, RUN, "abc", 0, losses(1, 2))
    put_raw(folder / "poison.parquet", {**ABOUT, "written_at": "noon"})
    for path in open_folder.iterdir():
        path.chmod(0o755 if path == folder else 0o777)
    with unchangeable(folder):
        with Lakehouse(address, drains=False) as lake:
            first = lake.drain()
            again = [lake.drain() for _ in range(3)]
        with Lakehouse(address, drains=False) as lake:  # another process knows it from the ledger
            again.append(lake.drain())
            problems = find_problems(lake).records()
    assert (first.files, first.points, first.unreadable) == (1, 2, ("poison.parquet",))
    assert [(done.files, done.repeated, done.unreadable) for done in again] == [(0, 0, ())] * 4
    found = {row["kind"]: row["detail"] for row in problems}
    assert len(problems) == 2 and "it is committed and cannot be removed" in found["batch left in the spool"]
    assert "written_at is 'noon'" in found["file is not a batch"]
    assert len(list(folder.glob("*.parquet"))) == 2
    put(folder, RUN, "abc", 1, losses(3))
    with Lakehouse(address) as lake:  # whoever may remove them does
        assert len(lake.query("SELECT * FROM logs")) == 1
        assert len(lake.query("SELECT * FROM metrics")) == 3
    assert [path.name for path in folder.glob("*.parquet")] == ["poison.parquet"]


def test_a_file_that_may_not_be_read_holds_up_nothing(lakehouse: Lakehouse) -> None:
    (lakehouse.spool_folder / "dangling.parquet").parent.mkdir(exist_ok=True)
    (lakehouse.spool_folder / "dangling.parquet").symlink_to("nowhere")
    (lakehouse.spool_folder / "folder.parquet").mkdir()
    os.mkfifo(lakehouse.spool_folder / "pipe.parquet")
    with Spool(lakehouse.spool_folder, RUN.run_id, 1) as spool:
        spool.log(1, loss=1.0)
    assert lakehouse.drain().files == 1
