"""Group commit and the ledger."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.maintenance import find_problems


def spooled(lake: Lakehouse, attempt: int = 1, steps: range = range(10)) -> RunRecord:
    run = RunRecord(family="mine", config={"a": 1}, params=10.0, tokens=100.0, steps=10, flops=6e3)
    lake.record_runs([run])
    with Spool(lake.spool_folder, run.run_id, attempt) as spool:
        spool.started(host="here", device="cpu", resumed_step=steps.start - 1 if steps.start else None)
        for step in steps:
            spool.log(step, loss=10.0 - step + attempt / 10)
        spool.timing("forward", count=10, p10=0.1, p50=0.2, p90=0.3, total=2.0)
        spool.ended("finished", loss=1.0, step_seconds=0.5, favorite="blue")
    return run


def test_a_replayed_spool_file_changes_nothing(lakehouse: Lakehouse, tmp_path: Path) -> None:
    run = RunRecord(family="mine")
    lakehouse.record_runs([run])
    elsewhere = tmp_path / "elsewhere"
    with Spool(elsewhere, run.run_id, 1) as spool:
        spool.log(1, loss=2.0)
    for _ in range(3):
        lakehouse.spool_folder.mkdir(exist_ok=True)
        for path in elsewhere.iterdir():
            shutil.copy(path, lakehouse.spool_folder / path.name)
        lakehouse.drain()
    assert len(lakehouse.query("SELECT * FROM metrics")) == 1
    assert len(find_problems(lakehouse)) == 0


def test_events_become_attempts_timings_and_results(lakehouse: Lakehouse) -> None:
    spooled(lakehouse)
    lakehouse.drain()
    (row,) = lakehouse.query(
        "SELECT status, loss, step_seconds, results->>'favorite' AS favorite, host FROM runs"
    ).to_pylist()
    assert row == {"status": "finished", "loss": 1.0, "step_seconds": 0.5, "favorite": "blue", "host": "here"}
    (timing,) = lakehouse.query("SELECT phase, p50, count FROM timings").to_pylist()
    assert timing == {"phase": "forward", "p50": 0.2, "count": 10}


def test_a_resumed_attempt_continues_the_curve_and_a_fresh_one_replaces_it(lakehouse: Lakehouse) -> None:
    spooled(lakehouse, 1, range(0, 6))
    spooled(lakehouse, 2, range(4, 8))
    lakehouse.drain()
    curve = lakehouse.query("SELECT step, loss FROM curves ORDER BY step").to_pylist()
    assert [row["step"] for row in curve] == list(range(8))
    assert curve[3]["loss"] == 10 - 3 + 0.1 and curve[4]["loss"] == 10 - 4 + 0.2
    spooled(lakehouse, 3, range(0, 2))
    lakehouse.drain()
    assert [row["step"] for row in lakehouse.query("SELECT step FROM curves ORDER BY step").to_pylist()] == [0, 1]
    assert lakehouse.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 12}]


def test_finals_fold_batches_together_and_leave_nan_out_of_the_best(lakehouse: Lakehouse) -> None:
    run = RunRecord(family="mine")
    lakehouse.record_runs([run])
    with Spool(lakehouse.spool_folder, run.run_id, 1) as spool:
        spool.log(1, loss=3.0, accuracy=0.1)
        spool.log(2, loss=2.0, accuracy=0.9)
        spool.flush()
        lakehouse.drain()
        spool.log(3, loss=math.nan, accuracy=0.5)
    lakehouse.drain()
    rows = {row["metric"]: row for row in lakehouse.query("SELECT * FROM finals").to_pylist()}
    assert (rows["loss"]["best"], rows["loss"]["best_step"], rows["loss"]["count"]) == (2.0, 2, 3)
    assert math.isnan(rows["loss"]["last"]) and rows["loss"]["last_step"] == 3
    assert (rows["accuracy"]["best"], rows["accuracy"]["best_step"]) == (0.9, 2)


def test_a_file_that_is_no_batch_is_set_aside_and_reported(lakehouse: Lakehouse) -> None:
    lakehouse.spool_folder.mkdir(exist_ok=True)
    (lakehouse.spool_folder / "junk.parquet").write_bytes(b"not parquet at all")
    spooled(lakehouse)
    lakehouse.drain()
    assert len(lakehouse.query("SELECT * FROM runs")) == 1
    kinds = [row["kind"] for row in find_problems(lakehouse).records()]
    assert kinds == ["file is not a batch"]


def test_a_hole_in_the_sequence_is_found(lakehouse: Lakehouse) -> None:
    run = RunRecord(family="mine")
    lakehouse.record_runs([run])
    with Spool(lakehouse.spool_folder, run.run_id, 1) as spool:
        spool.log(1, loss=1.0)
        spool.flush()
        next(lakehouse.spool_folder.glob("*.parquet")).unlink()
        spool.log(2, loss=1.0)
    lakehouse.drain()
    assert {row["kind"] for row in find_problems(lakehouse).records()} == {"gap in sequence"}
