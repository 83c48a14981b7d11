"""The write path and the questions people ask, at a million points; more behind flags.

usage: python -m tests.bench.bench_lakehouse [--points 1e8] [--crowd 30]

The first part logs a million points through a spool and prints the median of a log() call, points
per CPU second from log() to a committed table, bytes a point, and the wall and CPU time of opening
and of each question. Then the same of a lake of ten million points, filled in bulk; `--points 1e8` takes that
many instead, a gigabyte on disk.
`--crowd 30` lets eight processes log 20,000 points a second each for 30 seconds while a ninth asks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from isoflop.lakehouse.maintenance import find_problems
from isoflop.lakehouse.schema import POINT_ORDER, narrowed
from tests.bench.tracked_runs import METRICS, POINTS, STEPS, tracked_runs

QUESTIONS = {  # question -> (budget at 1e7 points [ms], statement)
    "board: final loss and params": (100, "SELECT run_id, params, loss FROM runs WHERE width >= 64 ORDER BY loss"),
    "one curve": (20, "SELECT step, tokens, loss FROM curves WHERE run_id = $run ORDER BY step"),
    "mean of all curves": (300, "SELECT step // 50 AS bucket, avg(loss) FROM curves GROUP BY 1 ORDER BY 1"),
    "mean of a metric": (300, "SELECT step // 50, avg(value) FROM metrics WHERE metric = 'val_loss' GROUP BY 1"),
    "mean curve of each width": (300, "SELECT width, step // 50 AS bucket, avg(loss) FROM curves GROUP BY ALL"),
    "best run of each kind": (
        100,
        "SELECT r.kind, arg_min(run_id, f.best) FROM runs r JOIN finals f USING (run_id) "
        "WHERE f.metric = 'val_loss' GROUP BY r.kind",
    ),
}  # fmt: skip

FILL = f"""
INSERT INTO store.metrics BY NAME
SELECT run_id, 1 AS attempt, '{{metric}}' AS metric, s.step, {narrowed("made")},
       round(s.step * 0.01 + random() * 0.005, 6) AS seconds
FROM (SELECT run_id, step, {{value}} AS made FROM store.runs, range({STEPS}) r (step)) s
ORDER BY {POINT_ORDER}
"""
SCHEDULE = f"1e-3 * (1 + cos(pi() * step / {STEPS})) / 2"  # of the learning rate, the one metric in double precision
NOISE = "(2 + 2 / sqrt(1 + step / 10) + random() / 10)::FLOAT::DOUBLE"
FINALS = """
INSERT INTO store.finals
SELECT run_id, attempt, metric, arg_max(value, step), max(step), min(value), arg_min(step, value), count(*)
FROM main.metrics GROUP BY ALL
"""
LEDGER = f"""
INSERT INTO store.batches BY NAME
SELECT run_id || '/1/0' AS batch_id, run_id, 1 AS attempt, 0 AS sequence, {POINTS} AS points,
       now()::TIMESTAMP AS committed_at FROM store.runs
"""
END = "UPDATE store.attempts SET status = 'finished', loss = 3"


def records(runs: int) -> list[RunRecord]:
    """Return runs of several widths and kinds."""
    return [
        RunRecord(
            family="f", config={"width": 2 ** (i % 9), "kind": "ab"[i % 2], "i": i},
            params=1e6 + i, tokens=1e7, steps=STEPS, flops=1e9,
        )
        for i in range(runs)
    ]  # fmt: skip


def median_log_call(folder: Path) -> float:
    """Seconds of one log() of five metrics, its clock included."""
    durations = []
    with Lakehouse(folder / "timed.duckdb") as lake, lake.run("timed") as run:
        for step in range(20_000):
            before = time.perf_counter()
            run.log(step=step, loss=1.0, val_loss=1.0, accuracy=0.5, lr=1e-3, norm=1.0)
            durations.append(time.perf_counter() - before)
    return statistics.median(durations)


def logged(path: Path, runs: int) -> float:
    """Log runs the way people do and return the CPU seconds to the closed store."""
    tracked = tracked_runs(runs)
    cpu = time.process_time()
    with Lakehouse(path) as lake:
        chosen = records(runs)
        lake.record_runs(chosen)
        for record, run in zip(chosen, tracked, strict=True):
            with Spool(lake.spool_folder, record.run_id, 1) as spool:
                for step, (seconds, metrics) in enumerate(run.steps):
                    spool.log(step, seconds, **metrics)
                spool.ended("finished", loss=run.values["loss"][-1])
        lake.drain()
    return time.process_time() - cpu


def filled(path: Path, runs: int) -> None:
    """Fill a lake in bulk: the same tables without the way through the spool."""
    with Lakehouse(path) as lake:
        chosen = records(runs)
        lake.record_runs(chosen)
        lake.begin_attempts([record.run_id for record in chosen], "bench")
        points = [FILL.format(metric=metric, value=SCHEDULE if metric == "lr" else NOISE) for metric in METRICS]
        lake.write([(statement, None) for statement in (*points, FINALS, LEDGER, END)])


def ask(path: Path) -> None:
    """Print how long opening and the questions take: best of five, wall and CPU."""
    before = time.perf_counter()
    with Lakehouse(path) as lake:
        print(
            f"open                              {(time.perf_counter() - before) * 1e3:10.1f} ms           (budget 300)"
        )
        run = lake.query("SELECT run_id FROM store.runs ORDER BY run_id LIMIT 1 OFFSET 7")["run_id"][0].as_py()
        for what, (budget, statement) in QUESTIONS.items():
            parameters = {"run": run} if "$run" in statement else None
            walls, cpus = [], []
            for _ in range(5):
                wall, cpu = time.perf_counter(), time.process_time()
                lake.query(statement, parameters)
                walls.append(time.perf_counter() - wall)
                cpus.append(time.process_time() - cpu)
            print(f"{what:34s}{min(walls) * 1e3:10.1f} ms {min(cpus) * 1e3:6.1f} CPU (budget {budget} at 1e7)")


def log_steadily(folder: Path, run_id: str, attempt: int, seconds: float, rate: int) -> None:
    """Log five metrics a step, `rate` points a second, for so many seconds."""
    with Spool(folder, run_id, attempt) as spool:
        spool.started(host="bench", device="cpu")
        began = time.perf_counter()
        for step in range(int(seconds * rate / len(METRICS))):
            if step % 40 == 0:
                time.sleep(max(0.0, began + step * len(METRICS) / rate - time.perf_counter()))
            spool.log(step, step * 0.1, loss=3.0 + 1.0 / (step + 1), val_loss=3.1, accuracy=0.5, lr=1e-3, norm=1.0)
        spool.ended("finished", loss=3.0)


def ask_steadily(path: Path, seconds: float, durations: multiprocessing.Queue[float]) -> None:
    """Ask for the board once a second and report how long each answer took."""
    with Lakehouse(path) as lake:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            before = time.perf_counter()
            lake.query("SELECT run_id, status, last_step, loss FROM runs ORDER BY loss")
            durations.put(time.perf_counter() - before)
            time.sleep(1.0)


def crowd(folder: Path, seconds: float, writers: int = 8, rate: int = 20_000) -> None:
    """Print what came of many writers and a reader at once."""
    spawn = multiprocessing.get_context("spawn")
    path = folder / "crowd.duckdb"
    durations = spawn.Queue()
    with Lakehouse(path, hold=True) as lake:
        chosen = records(writers)
        lake.record_runs(chosen)
        attempts = lake.begin_attempts([record.run_id for record in chosen], "bench")
        processes = [
            spawn.Process(target=log_steadily, args=(lake.spool_folder, run_id, attempt, seconds, rate))
            for run_id, attempt in attempts.items()
        ]
        processes.append(spawn.Process(target=ask_steadily, args=(path, seconds, durations)))
        cpu, began = time.process_time(), time.perf_counter()
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        took, writer = time.perf_counter() - began, time.process_time() - cpu
        lake.drain()
        stored = lake.query("SELECT count(*) AS n FROM store.metrics")["n"][0].as_py()
        expected = writers * int(seconds * rate / len(METRICS)) * len(METRICS)
        waits = sorted(durations.get() for _ in range(durations.qsize()))
        failed = sum(process.exitcode != 0 for process in processes)
        problems = len(find_problems(lake))
    print(f"{writers} writers at {rate:,} points/s for {seconds:.0f} s: {stored:,} of {expected:,} points stored, "
          f"{failed} errors, {problems} problems; {took:.0f} s in all, the holder used {writer:.1f} CPU s")  # fmt: skip
    if waits:
        print(f"a ninth asked {len(waits)} times: median {statistics.median(waits) * 1e3:.0f} ms, "
              f"longest {waits[-1] * 1e3:.0f} ms (budget 300)")  # fmt: skip


def bench(points: float = 1e7, crowd_seconds: float = 0.0) -> None:
    """Fill lakes and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"log() call, median                {median_log_call(folder) * 1e6:10.2f} µs      (budget 5)")
        path, total = folder / "logged.duckdb", 1e6
        cpu = logged(path, int(total / POINTS))
        print(f"log() to committed, per CPU second{total / cpu:10,.0f} points  (budget 100,000)")
        print(f"on disk                           {path.stat().st_size / total:10.1f} bytes a point (budget 10)")
        ask(path)
        if points:
            path = folder / "filled.duckdb"
            filled(path, int(points / POINTS))
            print(f"\nat {points:.0e} points, {path.stat().st_size / points:.1f} bytes each")
            ask(path)
        if crowd_seconds:
            print()
            crowd(folder, crowd_seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_lakehouse")
    parser.add_argument("--points", type=float, default=1e7, help="also ask a lake of so many points; 0 for none")
    parser.add_argument(
        "--crowd", type=float, default=0.0, metavar="SECONDS", help="also let eight processes log at once"
    )
    given = parser.parse_args()
    bench(given.points, given.crowd)
