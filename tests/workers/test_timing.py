"""Clocks: laps, sums, and which time is counted."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from isoflop.lakehouse import Spool
from isoflop.workers.timing import DeviceClock, HostClock, StepClock, summarize


def work(seconds: float) -> None:
    """Keep this thread busy for so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_laps_are_added_by_phase_and_make_the_step() -> None:
    clock = HostClock(is_cpu_time=True)
    for _ in range(3):
        clock.begin_step()
        work(0.002)
        clock.lap("forward")
        work(0.004)
        clock.lap("backward")
        work(0.002)
        clock.lap("forward")
        clock.end_step()
    forward, backward, step = (clock.phases[phase] for phase in ("forward", "backward", "step"))
    assert len(forward) == len(backward) == len(step) == 3
    for one, two, whole in zip(forward, backward, step, strict=True):
        assert one + two == pytest.approx(whole)
        assert one == pytest.approx(0.004, rel=0.3)
    assert clock.read() == list(step)
    assert clock.read() == []


def test_cpu_time_leaves_out_sleep_and_other_threads() -> None:
    cpu, wall = HostClock(is_cpu_time=True), HostClock(is_cpu_time=False)
    other = threading.Thread(target=work, args=(0.03,))
    for clock in (cpu, wall):
        clock.begin_step()
    other.start()
    time.sleep(0.03)
    other.join()
    for clock in (cpu, wall):
        clock.lap("forward")
        clock.end_step()
    assert cpu.read()[0] < 0.015
    assert wall.read()[0] >= 0.03
    assert cpu.wall_seconds[0] >= 0.03


def test_a_clock_costs_microseconds() -> None:
    clock = HostClock(is_cpu_time=True)
    before = time.thread_time()
    for _ in range(2000):
        clock.begin_step()
        for phase in ("data", "forward", "backward", "optimizer"):
            clock.lap(phase)
        clock.end_step()
    assert (time.thread_time() - before) / 2000 < 50e-6


def test_a_summary_has_percentiles_and_their_sum() -> None:
    summary = summarize([float(number) for number in range(101)])
    assert (summary.count, summary.p10, summary.p50, summary.p90, summary.total) == (101, 10, 50, 90, 5050)


def test_a_report_names_every_phase(tmp_path: Path) -> None:
    clock = HostClock(is_cpu_time=True)
    clock.add("checkpoint", 0.5)
    clock.add("checkpoint", 1.5)
    with Spool(tmp_path, "run", 1) as spool:
        clock.report(spool)
        assert [(event["phase"], event["total"]) for event in spool._events] == [("checkpoint", 2.0)]
    assert clock.median("checkpoint") == 1.0
    assert clock.median("step") is None


@pytest.mark.gpu
def test_device_events_measure_the_device_and_not_the_host() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    device = torch.device("cuda", 0)
    matrix = torch.randn(4096, 4096, device=device)
    clock: StepClock = DeviceClock(device)
    for _ in range(5):
        clock.begin_step()
        clock.lap("data")
        for _ in range(20):
            matrix = matrix @ matrix / 64
        clock.lap("forward")
        clock.end_step()
    steps = clock.read()
    assert len(steps) == 5 and min(steps) > 0
    assert sum(clock.phases["forward"]) > 10 * sum(clock.phases["data"])
