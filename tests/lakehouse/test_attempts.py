"""Batches of processes that spoke to nobody: their runs are registered, their tokens become attempts."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.ingest.attempts import register_runs
from isoflop.lakehouse.ingest.batches import read_batch
from isoflop.lakehouse.ingest.writer import GROUP
from isoflop.lakehouse.maintenance import find_problems, thin_curves
from isoflop.lakehouse.runs.provenance import process_label
from isoflop.lakehouse.runs.records import record_fields, record_from_fields
from tests.lakehouse.spool_files import losses, put

RUN = RunRecord(
    family="mine", config={"width": 64, "schedule": "cosine"}, seed=3, name="first", tags=("a",), params=1e6
)


def attempts(lake: Lakehouse) -> list[dict[str, Any]]:
    return lake.query(
        "SELECT run_id, attempt, token, status, driver, started_at::VARCHAR AS started_at "
        "FROM store.attempts ORDER BY ALL"
    ).to_pylist()


def contents(lake: Lakehouse) -> dict[str, list[dict[str, Any]]]:
    tables = ("runs", "attempts", "metrics", "finals", "timings", "logs", "batches")
    return {name: lake.query(f"SELECT * FROM store.{name} ORDER BY ALL").to_pylist() for name in tables}


def test_a_batch_of_an_unknown_run_registers_it_and_numbers_its_attempt(lakehouse: Lakehouse) -> None:
    started = {"kind": "started", "host": "here", "device": "cpu"}
    put(
        lakehouse.spool_folder, RUN, "abc", 0, losses(1, 2), [started],
        driver="far:1:2", started_at="2026-01-01 10:00:00.000000",
    )  # fmt: skip
    put(lakehouse.spool_folder, RUN, "abc", 1, losses(3), [{"kind": "ended", "status": "finished"}], run=None)
    done = lakehouse.drain()
    assert (done.files, done.points, done.unreadable) == (2, 3, ())
    (run,) = lakehouse.query(
        "SELECT run_id, name, family, seed, tags, width, schedule, params, status, host, loss FROM runs"
    ).to_pylist()
    assert run == {
        "run_id": RUN.run_id, "name": "first", "family": "mine", "seed": 3, "tags": ["a"], "width": 64,
        "schedule": "cosine", "params": 1e6, "status": "finished", "host": "here", "loss": 97.0,
    }  # fmt: skip
    (attempt,) = attempts(lakehouse)
    assert attempt == {
        "run_id": RUN.run_id, "attempt": 1, "token": "abc", "status": "finished", "driver": "far:1:2",
        "started_at": "2026-01-01 10:00:00",
    }  # fmt: skip
    ids = lakehouse.query("SELECT batch_id FROM store.batches WHERE run_id IS NOT NULL ORDER BY 1")["batch_id"]
    assert ids.to_pylist() == [f"{RUN.run_id}/1/0", f"{RUN.run_id}/1/1"]
    assert find_problems(lakehouse).records() == []


def test_files_that_come_again_change_nothing_whenever_the_committer_stopped(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    note = {"kind": "note", "level": "info", "message": "hello"}
    for token in ("abc", "def"):
        for sequence in range(3):
            put(elsewhere, RUN, token, sequence, losses(sequence), [note])
    paths = sorted(elsewhere.iterdir())
    register_runs(lakehouse, [read_batch(path) for path in paths])  # and then it was killed
    lakehouse.spool_folder.mkdir(exist_ok=True)
    for path in paths[:4]:
        shutil.copy(path, lakehouse.spool_folder)
    lakehouse.drain()
    for path in paths:  # it was killed after the commit and before it removed the files
        shutil.copy(path, lakehouse.spool_folder)
    done = lakehouse.drain()
    assert (done.files, done.repeated) == (2, 4)
    before = contents(lakehouse)
    for path in paths:
        shutil.copy(path, lakehouse.spool_folder)
    assert lakehouse.drain().repeated == 6
    assert contents(lakehouse) == before
    assert len(before["metrics"]) == 6 and len(before["logs"]) == 6 and len(before["attempts"]) == 2
    assert find_problems(lakehouse).records() == []


@pytest.mark.parametrize("files", [2, GROUP + 50])
def test_of_several_new_attempts_the_one_that_began_first_gets_the_lower_number(
    lakehouse: Lakehouse, files: int
) -> None:
    for token, began in (("aaa", "12"), ("zzz", "10"), ("mmm", "11")):
        for sequence in range(files if token == "aaa" else 1):
            put(
                lakehouse.spool_folder, RUN, token, sequence, losses(sequence),
                started_at=f"2026-01-01 {began}:00:00.000000",
            )  # fmt: skip
    lakehouse.drain()
    assert {row["token"]: row["attempt"] for row in attempts(lakehouse)} == {"zzz": 1, "mmm": 2, "aaa": 3}
    assert len(lakehouse.query("SELECT * FROM curves")) == files
    put(lakehouse.spool_folder, RUN, "late", 0, losses(1), started_at="2026-01-01 09:00:00.000000")
    lakehouse.drain()
    assert {row["token"]: row["attempt"] for row in attempts(lakehouse)}["late"] == 4


def test_attempts_with_numbers_and_attempts_with_tokens_share_a_run(lakehouse: Lakehouse) -> None:
    lakehouse.record_runs([RUN])
    with Spool(lakehouse.spool_folder, RUN.run_id, 1) as spool:
        spool.log(1, loss=3.0)
    put(lakehouse.spool_folder, RUN, "abc", 0, losses(1))
    lakehouse.drain()
    assert lakehouse.begin_attempts([RUN.run_id], "far:1:2") == {RUN.run_id: 3}
    put(lakehouse.spool_folder, RUN, "def", 0, losses(2))
    lakehouse.drain()
    assert [(row["attempt"], row["token"]) for row in attempts(lakehouse)] == [
        (1, None), (2, "abc"), (3, None), (4, "def"),
    ]  # fmt: skip


def test_each_stream_of_an_attempt_counts_its_own_batches(lakehouse: Lakehouse) -> None:
    for stream in (None, "p17", "p18"):
        for sequence in range(2):
            put(lakehouse.spool_folder, RUN, "abc", sequence, losses(sequence), stream=stream)
    lakehouse.drain()
    assert len(attempts(lakehouse)) == 1
    assert len(lakehouse.query("SELECT * FROM metrics")) == 6
    assert find_problems(lakehouse).records() == []
    put(lakehouse.spool_folder, RUN, "abc", 3, losses(9), stream="p18")
    (problem,) = find_problems(lakehouse).records()
    assert (problem["kind"], problem["subject"]) == ("gap in sequence", f"{RUN.run_id}/1/p18")


def test_the_log_says_when_the_same_run_is_trained_twice_at_once(lakehouse: Lakehouse) -> None:
    def warnings() -> list[dict[str, Any]]:
        return lakehouse.query("SELECT attempt, level, message FROM logs ORDER BY ALL").to_pylist()

    gone = process_label().rpartition(":")[0] + ":1"  # of a process that had this one's number before
    put(lakehouse.spool_folder, RUN, "dead", 0, driver=gone)
    put(lakehouse.spool_folder, RUN, "far", 0, driver="elsewhere:1:2")
    lakehouse.drain()
    put(lakehouse.spool_folder, RUN, "one", 0, driver=process_label())
    lakehouse.drain()
    assert warnings() == []
    put(lakehouse.spool_folder, RUN, "two", 0, driver=process_label())
    lakehouse.drain()
    (warning,) = warnings()
    assert (warning["attempt"], warning["level"]) == (4, "warning") and "attempt 3 of this run" in warning["message"]
    for token in ("one", "two"):
        put(lakehouse.spool_folder, RUN, token, 1, (), [{"kind": "ended", "status": "finished"}])
    put(lakehouse.spool_folder, RUN, "three", 0, driver=process_label(), started_at="2100-01-01 00:00:00")
    lakehouse.drain()
    assert len(warnings()) == 1


COMMIT = """
import sys
from isoflop.lakehouse import Lakehouse
print("begins", flush=True)
Lakehouse(sys.argv[1]).close()
"""


def test_a_committer_killed_at_any_moment_leaves_each_batch_once(tmp_path: Path) -> None:
    runs = [RunRecord(family="mine", config={"width": width, f"key_{width}": 1}) for width in range(30)]
    address = tmp_path / "lake.duckdb"
    with Lakehouse(address) as lake:
        folder = lake.spool_folder
    for run in runs:
        for sequence in range(20):
            put(folder, run, f"token{run.run_id}", sequence, losses(*range(sequence * 5, sequence * 5 + 5)))
    for pause in (0.05, 0.3, 0.6):
        process = subprocess.Popen([sys.executable, "-c", COMMIT, str(address)], stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout is not None and process.stdout.readline() == "begins\n"
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
    with Lakehouse(address) as lake:
        counted = lake.query("SELECT count(*) AS n, count(DISTINCT (run_id, step)) AS distinct_points FROM metrics")
        assert counted.to_pylist() == [{"n": 30 * 100, "distinct_points": 30 * 100}]
        assert len(lake.query("SELECT * FROM runs")) == len(attempts(lake)) == 30
        assert find_problems(lake).records() == []


def test_what_is_said_of_a_run_survives_the_way_through_json() -> None:
    run = RunRecord(
        family="mine",
        config={"width": np.int64(64), "rate": np.float32(0.5), "deep": {"a": (1, 2.0)}, "on": np.bool_(True)},
        seed=2**40, tags=("x", "y"), extra={"grid": 2.0, "odd": object}, params=np.int64(10), steps=5, flops=6e3,
    )  # fmt: skip
    back = record_from_fields(json.loads(json.dumps(record_fields(run))), run.run_id)
    assert back.run_id == run.run_id == RunRecord(family="mine", config=back.config, seed=back.seed).run_id
    assert back.config == {"width": 64, "rate": 0.5, "deep": {"a": [1, 2.0]}, "on": True}
    assert isinstance(back.extra["grid"], float) and isinstance(back.extra["odd"], str)
    assert (back.seed, back.tags, back.params, back.steps, back.tokens) == (2**40, ("x", "y"), 10.0, 5, None)
    assert type(back.params) is float and type(back.steps) is int


@pytest.mark.parametrize(
    "field", [{"seed": 2**70}, {"params": "many"}, {"steps": 1.5}, {"tokens": True}, {"flops": 10**400}]
)
def test_a_seed_or_count_that_no_column_takes_is_refused_by_name(field: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match=f"^{next(iter(field))} is "):
        record_fields(RunRecord(family="mine", **field))


def test_a_run_that_cannot_be_registered_holds_up_no_other(lakehouse: Lakehouse) -> None:
    odd = RunRecord(family="mine", config={"": 1, "width": 1})
    put(lakehouse.spool_folder, odd, "abc", 0, losses(1))
    bad = RunRecord(family="mine", config={"width": 2})
    put(lakehouse.spool_folder, bad, "def", 0, losses(1), run={"family": "mine", "config": [1]})
    put(lakehouse.spool_folder, RUN, "ghi", 0, losses(1))
    done = lakehouse.drain()
    assert (done.files, len(done.unreadable)) == (2, 1)
    assert len(lakehouse.query("SELECT * FROM runs")) == 2
    (problem,) = find_problems(lakehouse).records()
    assert "its run cannot be recorded: config of run" in problem["detail"]


STARTED = {"kind": "started", "host": "here", "device": "cpu"}
EVERYTHING_STAYS = {**STARTED, "resumed_step": 2**63 - 1}


def curve(lake: Lakehouse) -> list[tuple[int, int]]:
    rows = lake.query("SELECT step, point_attempt FROM curves ORDER BY step").to_pylist()
    return [(row["step"], row["point_attempt"]) for row in rows]


def resumed(step: int) -> dict[str, Any]:
    return {"kind": "resumed", "resumed_step": step}


def test_a_run_that_resumes_twice_and_crashes_between_keeps_one_curve(lakehouse: Lakehouse) -> None:
    folder = lakehouse.spool_folder
    put(folder, RUN, "one", 0, losses(*range(10)), [STARTED])
    lakehouse.drain()
    put(folder, RUN, "two", 0, (), [EVERYTHING_STAYS])
    lakehouse.drain()
    assert curve(lakehouse) == [(step, 1) for step in range(10)]
    (row,) = lakehouse.query("SELECT resumed_step, status FROM attempts WHERE attempt = 2").to_pylist()
    assert row == {"resumed_step": 2**63 - 1, "status": "running"}
    put(folder, RUN, "two", 1, losses(6, 7), [resumed(5)])
    lakehouse.drain()
    assert curve(lakehouse) == [(step, 1) for step in range(6)] + [(6, 2), (7, 2)]
    put(folder, RUN, "three", 0, (), [EVERYTHING_STAYS])  # and it crashed before its first point
    lakehouse.drain()
    assert len(curve(lakehouse)) == 8
    put(folder, RUN, "four", 0, losses(7, 8, 9, 10), [EVERYTHING_STAYS, resumed(6)])
    lakehouse.drain()
    assert curve(lakehouse) == [(step, 1) for step in range(6)] + [(6, 2)] + [(step, 4) for step in range(7, 11)]
    put(folder, RUN, "five", 0, losses(3), [EVERYTHING_STAYS, resumed(2)])
    lakehouse.drain()
    assert curve(lakehouse) == [(0, 1), (1, 1), (2, 1), (3, 5)]
    put(folder, RUN, "six", 0, losses(0), [STARTED])
    lakehouse.drain()
    assert curve(lakehouse) == [(0, 6)]
    assert find_problems(lakehouse).records() == []


def test_results_of_an_event_merge_into_those_of_the_attempt(lakehouse: Lakehouse) -> None:
    put(lakehouse.spool_folder, RUN, "abc", 0, (), [{**STARTED, "results": {"a": 1, "deep": {"x": 1}}}])
    lakehouse.drain()
    ended = {"kind": "ended", "status": "finished", "results": {"b": [2], "deep": {"y": 2}}, "c": 3}
    put(lakehouse.spool_folder, RUN, "abc", 1, (), [ended, {**ended, "results": "none"}])
    lakehouse.drain()
    (row,) = lakehouse.query("SELECT results FROM attempts").to_pylist()
    assert json.loads(row["results"]) == {"a": 1, "b": [2], "c": 3, "deep": {"x": 1, "y": 2}, "results": "none"}


def test_thinning_leaves_the_ledger_of_every_stream_right(lakehouse: Lakehouse) -> None:
    for stream in (None, "p17"):
        put(lakehouse.spool_folder, RUN, "abc", 0, losses(*range(50)), stream=stream)
    put(lakehouse.spool_folder, RUN, "abc", 1, (), [{"kind": "ended", "status": "finished"}])
    assert thin_curves(lakehouse, "true", 5).points > 0
    assert find_problems(lakehouse).records() == []
