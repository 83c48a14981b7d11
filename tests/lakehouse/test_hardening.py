"""What goes wrong around a lake, and what is left of it afterwards: everything."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.maintenance import find_problems
from tests.keepers import kill_keeper, spool_of

SmallDisk = Any


def recorded(lake: Lakehouse, **config: object) -> RunRecord:
    run = RunRecord(family="mine", config=config or {"a": 1})
    lake.record_runs([run])
    return run


def steps_of(lake: Lakehouse) -> list[int]:
    return list(lake.query("SELECT step FROM metrics WHERE metric = 'loss' ORDER BY step")["step"].to_pylist())


def started(program: str) -> subprocess.Popen[str]:
    """A program that runs until it is killed; returns once it has said a line."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    return process


def killed(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


# Disks


@pytest.mark.slow
def test_a_full_disk_kills_the_store_and_room_brings_everything_back(
    tmp_path: Path, small_disk: Callable[[int], SmallDisk], capsys: pytest.CaptureFixture[str]
) -> None:
    disk = small_disk(20)
    with Lakehouse(disk.path / "runs.duckdb") as lake:
        (tmp_path / "spool").mkdir()
        lake.spool_folder.symlink_to(tmp_path / "spool")  # the spool has a disk of its own
        run = recorded(lake)
        with Spool(lake.spool_folder, run.run_id, 1) as spool, pytest.raises(StoreError, match=r"the disk.* is full"):
            step = 0
            for _ in range(60):
                for _ in range(20_000):
                    spool.log(step, loss=random.random(), norm=random.random())
                    step += 1
                spool.flush()
                lake.drain()
        with pytest.raises(StoreError, match=r"the disk.* is full"):
            for _ in range(20):  # until DuckDB gives up on the file, and after that
                lake.drain()
        assert lake.query("SELECT count(*) AS n FROM metrics").to_pylist()[0]["n"] > 0
        disk.resize(200)
        lake.drain()
        assert lake.query("SELECT count(*) AS n, count(DISTINCT step) AS d FROM metrics").to_pylist() == [
            {"n": 2 * step, "d": step}
        ]
        assert find_problems(lake).records() == []
    assert capsys.readouterr().err == ""


def test_the_keeper_of_a_lake_on_a_full_disk_says_so_once_and_commits_by_itself_later(
    tmp_path: Path,
    small_disk: Callable[[int], SmallDisk],
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = small_disk(8)
    path = disk.path / "runs.duckdb"
    (tmp_path / "spool").mkdir()
    spool_of(path).symlink_to(tmp_path / "spool")  # the spool has a disk of its own
    with Lakehouse(path, hold=True) as lake, lake.hold():
        run = recorded(lake)
        disk.fill()
        with Spool(lake.spool_folder, run.run_id, 1, flush_seconds=0.05) as spool:
            for step in range(50_000):
                spool.log(step, loss=random.random())
        time.sleep(1.5)
        assert list(lake.spool_folder.glob("*.parquet"))
        disk.resize(100)
        until = time.monotonic() + 300
        while list(lake.spool_folder.glob("*.parquet")):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert steps_of(lake) == list(range(50_000))
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "Hint" not in line and "waiting for process" not in line] == [
        f"isoflop: the disk that holds {lake.path} is full; what is not committed waits in the spool"
    ]


def test_a_full_spool_disk_never_raises_and_every_point_arrives_when_there_is_room(
    small_disk: Callable[[int], SmallDisk], lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = small_disk(1)
    folder = disk.path / "spool"
    run = recorded(lakehouse)
    spool = Spool(folder, run.run_id, 1, flush_seconds=0.02)
    for step in range(100_000):
        spool.log(step, loss=random.random())
        if step % 10_000 == 0:
            time.sleep(0.05)
    assert not spool.flush()
    assert capsys.readouterr().err.count("cannot be written") == 1
    assert not list(folder.glob("*.partial"))
    disk.resize(50)
    spool.close()
    lakehouse.spool_folder.symlink_to(folder)
    lakehouse.drain()
    assert steps_of(lakehouse) == list(range(100_000))
    assert find_problems(lakehouse).records() == []
    lakehouse.spool_folder.unlink()


def test_a_spool_folder_that_vanishes_is_made_again_and_one_line_says_so(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded(lakehouse)
    with Spool(lakehouse.spool_folder, run.run_id, 1) as spool:
        spool.log(1, loss=1.0)
        spool.flush()
        lakehouse.drain()
        shutil.rmtree(lakehouse.spool_folder)
        spool.log(2, loss=1.0)
        spool.flush()
        spool.log(3, loss=1.0)
    lakehouse.drain()
    assert steps_of(lakehouse) == [1, 2, 3]
    assert find_problems(lakehouse).records() == []
    (line,) = capsys.readouterr().err.splitlines()
    assert "had vanished and is made again" in line
    (note,) = lakehouse.query("SELECT level, message FROM logs").to_pylist()
    assert note["level"] == "warning" and note["message"] in line


# Odd values


def test_odd_values_hold_up_nothing(lakehouse: Lakehouse) -> None:
    run = recorded(lakehouse)
    with Spool(lakehouse.spool_folder, run.run_id, 1) as spool:
        spool.log(2**41, loss=1.0)
        spool.log(2**70, loss=1.0)
        spool.log(np.int64(7), loss=np.float32(0.5), **{"lone \udc80": 1.0})  # type: ignore[arg-type]
        spool.log("eight", loss=1.0)  # type: ignore[arg-type]
        spool.log(9, "soon", loss=10**400)  # type: ignore[arg-type]
        spool.note("half a pair \udc80")
        spool.started(host="here", device="cpu", hardware={"cores": np.int64(2)})
        spool.ended("finished", loss="high", odd=math.nan, far=math.inf, thing=object(), finished=[1, math.nan])  # type: ignore[arg-type]
    done = lakehouse.drain()
    assert done.unreadable == ()
    assert steps_of(lakehouse) == [7, 2**41]
    (row,) = lakehouse.query(
        "SELECT status, loss, results->>'loss' AS said, results->>'odd' AS odd FROM runs"
    ).to_pylist()
    assert row == {"status": "finished", "loss": 1.0, "said": "high", "odd": "nan"}
    assert lakehouse.query("SELECT count(*) AS n FROM logs WHERE message LIKE '%step%'").to_pylist() == [{"n": 3}]
    assert find_problems(lakehouse).records() == []


def test_a_batch_that_the_store_refuses_is_set_aside_and_the_others_go_in(lakehouse: Lakehouse) -> None:
    good = recorded(lakehouse)
    lakehouse.write([("CREATE UNIQUE INDEX one_value ON store.metrics (run_id, attempt, metric, step)", None)])
    for name, values in (("bad", (1.0, 2.0)), (good.run_id, (1.0,))):
        with Spool(lakehouse.spool_folder, name, 1) as spool:
            spool._event("started", host="here", hardware='{"cores": 2}')
            for value in values:
                spool.log(1, loss=value)
    done = lakehouse.drain()
    assert done.points == 1 and len(done.unreadable) == 1
    assert lakehouse.query("SELECT status FROM runs").to_pylist() == [{"status": "running"}]
    (problem,) = find_problems(lakehouse).records()
    assert problem["kind"] == "file is not a batch" and "refused" in problem["detail"]


def test_two_spools_of_one_attempt_lose_nothing_in_silence(lakehouse: Lakehouse) -> None:
    run = recorded(lakehouse)
    for value in (1.0, 2.0):
        with Spool(lakehouse.spool_folder, run.run_id, 1) as spool:
            spool.log(1, loss=value)
        lakehouse.drain()
    (problem,) = find_problems(lakehouse).records()
    assert "committed before with other content" in problem["detail"]


def test_a_delivery_whose_answer_was_lost_is_repeated_to_the_letter(lakehouse: Lakehouse) -> None:
    run = recorded(lakehouse)
    lakehouse.spool_folder.mkdir()
    calls = []

    def deliver(name: str, content: bytes) -> None:
        calls.append(name)
        (lakehouse.spool_folder / name).write_bytes(content)
        if len(calls) == 1:
            raise ConnectionError("the answer was lost")

    spool = Spool(lakehouse.spool_folder, run.run_id, 1, deliver=deliver, flush_seconds=60)
    spool.log(1, loss=1.0)
    assert not spool.flush()
    lakehouse.drain()
    spool.log(2, loss=1.0)
    spool.close()
    lakehouse.drain()
    assert calls[0] == calls[1]
    assert steps_of(lakehouse) == [1, 2]
    assert find_problems(lakehouse).records() == []


def test_of_repeated_steps_the_last_one_logged_is_final(lakehouse: Lakehouse) -> None:
    run = recorded(lakehouse)
    with Spool(lakehouse.spool_folder, run.run_id, 1) as spool:
        for step, loss in ((10, 3.0), (10, 1.0), (10, 2.0), (5, 9.0)):
            spool.log(step, loss=loss)
        spool.flush()
        lakehouse.drain()
        final = lakehouse.query("SELECT last, last_step, best, count FROM finals").to_pylist()
        assert final == [{"last": 2.0, "last_step": 10, "best": 1.0, "count": 4}]
        spool.log(10, loss=4.0)
    lakehouse.drain()
    assert lakehouse.query("SELECT last, count FROM finals").to_pylist() == [{"last": 4.0, "count": 5}]
    assert steps_of(lakehouse) == [5, 10, 10, 10, 10]


# Life and death


def test_a_silent_attempt_still_beats(lakehouse: Lakehouse) -> None:
    run = recorded(lakehouse)
    with Spool(lakehouse.spool_folder, run.run_id, 1, flush_seconds=0.05, beat_seconds=0.2) as spool:
        spool.started(host="here", device="cpu")
        spool.flush()
        lakehouse.drain()
        (first,) = lakehouse.query("SELECT heartbeat_at FROM attempts").to_pylist()
        time.sleep(0.6)
        lakehouse.drain()
        (later,) = lakehouse.query("SELECT heartbeat_at FROM attempts").to_pylist()
    assert later["heartbeat_at"] > first["heartbeat_at"]


def test_an_attempt_without_a_heartbeat_for_minutes_is_shown_as_lost_and_comes_back(lakehouse: Lakehouse) -> None:
    run = recorded(lakehouse)
    with Spool(lakehouse.spool_folder, run.run_id, 1) as spool:
        spool.started(host="elsewhere", device="cpu")
        spool.flush()
        lakehouse.drain()
        assert lakehouse.query("SELECT status FROM runs").to_pylist() == [{"status": "running"}]
        lakehouse.write([("UPDATE store.attempts SET heartbeat_at = heartbeat_at - INTERVAL 11 MINUTES", None)])
        assert lakehouse.query(
            "SELECT r.status, a.status AS own FROM runs r JOIN attempts a USING (run_id)"
        ).to_pylist() == [{"status": "lost", "own": "lost"}]
        spool.log(1, loss=1.0)
    lakehouse.drain()
    assert lakehouse.query("SELECT status FROM runs").to_pylist() == [{"status": "running"}]


def test_a_run_whose_process_was_killed_is_lost_and_keeps_its_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.duckdb"
    process = started(
        f"import time\nfrom isoflop.lakehouse import Lakehouse\nlake = Lakehouse({str(path)!r})\n"
        "run = lake.run('mine', {'a': 1}).__enter__()\n"
        "for step in range(100): run.log(step=step, loss=1.0)\n"
        "run._spool.flush()\nprint('flushed', flush=True)\ntime.sleep(60)"
    )
    killed(process)
    with Lakehouse(path) as lake:
        (row,) = lake.query("SELECT status, reason, error FROM runs").to_pylist()
        assert row == {"status": "lost", "reason": "driver_died", "error": "the process that ran it is gone"}
        assert capsys.readouterr().err == "isoflop: 1 attempt whose process died, marked as lost\n"
        assert steps_of(lake) == list(range(100))
        assert find_problems(lake).records() == []


def test_a_write_is_done_once_when_the_keeper_dies_around_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Lakehouse(path, hold=True) as lake:
        lake.query("CREATE TABLE t (x INT)")
        lake.write([("INSERT INTO t VALUES (1)", None)])
        kill_keeper(path)
        lake.write([("INSERT INTO t VALUES (2)", None)])
        assert lake.query("SELECT x FROM t ORDER BY x").to_pylist() == [{"x": 1}, {"x": 2}]
        lake._reach().write([("INSERT INTO t VALUES (3)", None)], None, "token")
        lake._reach().write([("INSERT INTO t VALUES (3)", None)], None, "token")
        assert lake.query("SELECT count(*) AS n FROM t").to_pylist() == [{"n": 3}]
        assert find_problems(lake).records() == []
