"""What a run's times are worth: its machine's other work, and time without a processor."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.workers import TrainOptions, Transformer, train
from isoflop.workers.host_load import HostLoad, busy_seconds, note_neighbors
from isoflop.workers.timing import HostClock, without_processor

SMALL = Transformer.parse(
    {"corpus": {"kind": "markov", "vocabulary": 16}, "width": 16, "depth": 1, "sequence_length": 16, "steps": 60,
     "validation_tokens": 0}
)  # fmt: skip


def test_busy_processors_are_those_that_do_not_wait(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 4000 500 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    assert busy_seconds(stat) == pytest.approx((100 + 20 + 30 + 6 + 7 + 8) / 100)
    stat.write_text("something else")
    assert busy_seconds(stat) is None
    assert busy_seconds(tmp_path / "missing") is None


@pytest.mark.skipif(busy_seconds() is None, reason="the system does not say")
def test_the_work_of_another_process_is_load() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            time.sleep(0.3)  # it has started
            load = HostLoad()
            time.sleep(0.6)
            processors = load.processors()
        finally:
            other.kill()
    assert processors is not None and processors > 0.3


def test_too_short_a_look_says_nothing() -> None:
    assert HostLoad().processors() is None


def test_time_without_a_processor_is_a_share_of_wall_time() -> None:
    cpu, wall = HostClock(is_cpu_time=True), HostClock(is_cpu_time=False)
    for clock in (cpu, wall):
        clock.begin_step()
    time.sleep(0.05)
    for clock in (cpu, wall):
        clock.lap("forward")
        clock.end_step()
    assert 0.8 < (cpu.contention() or 0) <= 1
    assert wall.contention() is None  # several threads: their sum says nothing
    assert HostClock(is_cpu_time=True).contention() is None
    assert without_processor(1.0001, 1.0) == 0  # two clocks, read one after the other


def test_a_run_says_its_fastest_step_and_what_it_shared(tmp_path: Path) -> None:
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        lake.record_runs([SMALL.record()])
        [(run_id, attempt)] = lake.begin_attempts([SMALL.record().run_id], "test").items()
        with Spool(lake.spool_folder, run_id, attempt) as spool:
            train(SMALL, spool, options=TrainOptions(device="cpu", threads=1))
        lake.drain()
        [run] = lake.query("SELECT step_seconds, step_seconds_min, contention FROM runs").to_pylist()
        [step] = lake.query("SELECT lowest, p10 FROM timings WHERE phase = 'step'").to_pylist()
    assert 0 < run["step_seconds_min"] <= run["step_seconds"]
    assert run["step_seconds_min"] == step["lowest"] <= step["p10"]
    assert 0 <= run["contention"] < 1


@pytest.mark.parametrize(
    ("contention", "load", "seconds", "begins"),
    [
        (0.5, 1.0, 10.0, "contended: for 50% of its steps' time the run had no processor; other work kept 1.0 of"),
        (0.5, None, 10.0, "contended: for 50% of its steps' time the run had no processor; step_seconds is CPU time"),
        (0.01, 0.9, 10.0, "neighbors: the run had its processors; other work kept 0.9 of"),
        (0.01, 0.1, 10.0, None),
        (None, None, 10.0, None),
        (0.5, 1.0, 0.1, None),
    ],
)
def test_neighbors_are_told_of_runs_that_are_long_enough(
    tmp_path: Path, contention: float | None, load: float | None, seconds: float, begins: str | None
) -> None:
    with Spool(tmp_path, "run", 1) as spool:
        note_neighbors(spool, contention, load, seconds)
        said = [str(event["message"]) for event in spool._events]
    assert [each[: len(begins or "")] for each in said] == ([begins] if begins else [])
