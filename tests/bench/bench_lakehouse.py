"""The write path and the board queries, at a million points.

Prints, for one core: the median of a log() call, points per CPU second from log() to a committed
table, bytes a point on disk, and the wall time of opening and of four questions people ask.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from isoflop.lakehouse import Lakehouse, RunRecord, Spool

RUNS, STEPS, METRICS = 200, 1_000, 5

QUESTIONS = {
    "board: final loss and params": "SELECT run_id, params, loss FROM runs WHERE width >= 64 ORDER BY loss",
    "one curve": "SELECT step, loss FROM curves WHERE run_id = $run ORDER BY step",
    "mean of all curves": "SELECT step // 50 AS bucket, avg(value) FROM metrics WHERE metric = 'loss' "
    "GROUP BY 1 ORDER BY 1",
    "best run of each kind": "SELECT r.kind, arg_min(run_id, f.best) FROM runs r JOIN finals f USING (run_id) "
    "WHERE f.metric = 'val_loss' GROUP BY r.kind",
}


def median_log_call(folder: Path) -> float:
    """Seconds of one log() of five metrics."""
    durations = []
    with Spool(folder, "timed", 1) as spool:
        for step in range(20_000):
            before = time.perf_counter()
            spool.log(step, loss=1.0, val_loss=1.0, accuracy=0.5, lr=1e-3, norm=1.0)
            durations.append(time.perf_counter() - before)
    return statistics.median(durations)


def bench() -> None:
    """Fill a lake and print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"log() call, median                {median_log_call(folder / 'timed') * 1e6:10.2f} µs      (budget 5)")
        points = RUNS * STEPS * METRICS
        cpu = time.process_time()
        with Lakehouse(folder / "x.duckdb") as lake:
            records = [
                RunRecord(
                    family="f",
                    config={"width": 2 ** (i % 9), "kind": "ab"[i % 2], "i": i},
                    params=1e6 + i,
                    tokens=1e7,
                    steps=STEPS,
                    flops=1e9,
                )
                for i in range(RUNS)
            ]
            lake.record_runs(records)
            for record in records:
                with Spool(lake.spool_folder, record.run_id, 1) as spool:
                    for step in range(STEPS):
                        loss = 3.0 + 1.0 / (step + 1)
                        spool.log(
                            step, step * 0.1, loss=loss, val_loss=loss + 0.1, accuracy=0.5, lr=1e-3, norm=loss - 3
                        )
                    spool.ended("finished", loss=loss)
            lake.drain()
        cpu = time.process_time() - cpu
        size = (folder / "x.duckdb").stat().st_size
        print(f"log() to committed, per CPU second{points / cpu:10,.0f} points  (budget 100,000)")
        print(f"on disk                           {size / points:10.1f} bytes a point (budget 10)")
        before = time.perf_counter()
        with Lakehouse(folder / "x.duckdb") as lake:
            print(f"open                              {(time.perf_counter() - before) * 1e3:10.1f} ms")
            for what, statement in QUESTIONS.items():
                parameters = {"run": records[7].run_id} if "$run" in statement else None
                best = float("inf")
                for _ in range(5):
                    before = time.perf_counter()
                    lake.query(statement, parameters)
                    best = min(best, time.perf_counter() - before)
                print(f"{what:34s}{best * 1e3:10.1f} ms")


if __name__ == "__main__":
    bench()
