"""The way from log() to a durable file."""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.lakehouse.ingest.flusher import SPOOLS_A_THREAD
from isoflop.lakehouse.ingest.writer import read_batch


def points_of(folder: Path) -> list[tuple[str, int, float]]:
    """Every point in the spool files of a folder."""
    found = []
    for path in sorted(folder.glob("*.parquet")):
        batch = read_batch(path)
        assert batch is not None
        found += [(row["metric"], row["step"], row["value"]) for row in batch.points.to_pylist()]
    return found


def test_what_was_logged_is_in_the_file_with_nan_infinity_and_huge_steps(tmp_path: Path) -> None:
    with Spool(tmp_path, "run", 1) as spool:
        spool.log(10, loss=1.5, accuracy=0.25)
        spool.log(5, loss=math.nan)
        spool.log(2**41, loss=math.inf)
        spool.log(10, loss=1.25)
    points = points_of(tmp_path)
    assert ("loss", 10, 1.5) in points and ("loss", 10, 1.25) in points and ("accuracy", 10, 0.25) in points
    assert ("loss", 2**41, math.inf) in points
    assert any(metric == "loss" and step == 5 and math.isnan(value) for metric, step, value in points)


def test_a_file_appears_within_a_second_without_anyone_asking(tmp_path: Path) -> None:
    with Spool(tmp_path, "run", 1, flush_seconds=0.2) as spool:
        spool.log(1, loss=1.0)
        until = time.monotonic() + 300
        while not list(tmp_path.glob("*.parquet")):
            assert time.monotonic() < until
            time.sleep(0.02)


def flushers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("flusher-")]


def test_many_spools_of_a_folder_share_a_few_threads_and_leave_none(tmp_path: Path) -> None:
    spools = [Spool(tmp_path, f"run{number}", 1, flush_seconds=0.1) for number in range(100)]
    assert len(flushers()) == -(-100 // SPOOLS_A_THREAD)
    for spool in spools:
        spool.log(1, loss=1.0)
    until = time.monotonic() + 300
    while len(list(tmp_path.glob("*.parquet"))) < 100:
        assert time.monotonic() < until
        time.sleep(0.02)
    for spool in spools:
        spool.close()
    while flushers():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_destination_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    hangs = threading.Event()

    def deliver(name: str, content: bytes) -> None:
        hangs.wait(60)

    stuck = Spool(tmp_path / "far", "run", 1, flush_seconds=0.01, deliver=deliver)
    stuck.log(1, loss=1.0)
    with Spool(tmp_path / "near", "run", 1, flush_seconds=0.01) as spool:
        spool.log(1, loss=1.0)
        until = time.monotonic() + 300
        while not list((tmp_path / "near").glob("*.parquet")):
            assert time.monotonic() < until
            time.sleep(0.01)
    hangs.set()
    stuck.close()


def test_a_fork_spools_by_itself(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
from isoflop.lakehouse import Spool
with Spool({str(tmp_path)!r}, "parent", 1):
    child = os.fork()
    if child == 0:
        spool = Spool({str(tmp_path)!r}, "child", 1, flush_seconds=0.05)
        spool.log(1, loss=1.0)
        time.sleep(60)
    print(child, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    until = time.monotonic() + 300
    while not list(tmp_path.glob("child*.parquet")):
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()
    process.stdout.close()


def test_an_unwritable_folder_never_raises_and_nothing_is_lost_once_it_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "spool"
    folder.write_text("a file where the folder should be")
    spool = Spool(folder, "run", 1, flush_seconds=0.05)
    for step in range(50):
        spool.log(step, loss=float(step))
        time.sleep(0.005)
    assert "cannot be written" in capsys.readouterr().err
    folder.unlink()
    spool.close()
    assert sorted(step for _, step, _ in points_of(folder)) == list(range(50))


def test_a_value_that_is_no_number_is_noted_and_the_rest_is_kept(lakehouse: Lakehouse) -> None:
    with lakehouse.run("mine", {"a": 1}) as run:
        run.log(step=1, loss="high", accuracy=0.5)  # type: ignore[arg-type]
    assert lakehouse.query("SELECT metric FROM metrics").to_pylist() == [{"metric": "accuracy"}]
    (line,) = lakehouse.query("SELECT message FROM logs").to_pylist()
    assert "'high'" in line["message"]


def test_a_log_call_takes_microseconds(tmp_path: Path) -> None:
    with Spool(tmp_path, "run", 1) as spool:
        durations = []
        for step in range(2_000):
            before = time.perf_counter()
            spool.log(step, loss=1.0)
            durations.append(time.perf_counter() - before)
    assert (
        statistics.median(durations) < 50e-6
    )  # ten times the budget: a guard against a blocking call, not a benchmark


def test_after_sigkill_everything_flushed_is_taken_in_and_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    program = f"""
import os, time
from isoflop.lakehouse import Lakehouse
lake = Lakehouse({str(path)!r})
run = lake.run("mine", {{"a": 1}}).__enter__()
for step in range(1000):
    run.log(step=step, loss=1.0 / (step + 1))
run._spool.flush()
print("flushed", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "flushed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(2):
        with Lakehouse(path) as lake:
            assert lake.query("SELECT count(*) AS n, count(DISTINCT step) AS d FROM metrics").to_pylist() == [
                {"n": 1000, "d": 1000}
            ]
            assert not list(lake.spool_folder.glob("*.parquet"))
