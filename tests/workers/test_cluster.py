"""Sweeps on a real Ray inside this process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import RunFailed, StoreError, UsageError
from isoflop.lakehouse.runs.provenance import host_name, process_start
from isoflop.workers.cluster import RaySession, SweepState, checkpoint_folder, run_sweep
from isoflop.workers.sweep import Sweep, load_sweep

pytestmark = pytest.mark.cluster

FEATURES = """\
name: features
family: plrf
grid: {width: [8, 16], spectrum_exponent: 1.0, target_exponent: 0.8, tokens: 100}
"""
TRANSFORMER = """\
name: small
family: transformer
corpus: {source: builtin}
grid: {width: 32, depth: 1, sequence_length: 16, batch_size: 2, validation_tokens: 64, steps: 20}
"""
LONG = 1_000_000  # steps that nobody waits for


@pytest.fixture
def sweep_of(tmp_path: Path) -> Callable[..., Sweep]:
    """Return a maker of sweeps from the text of their files."""

    def make(text: str, *settings: str) -> Sweep:
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        return load_sweep(path, settings)

    return make


def attempts_of(lake: Lakehouse) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = lake.query(
        "SELECT attempt, status, reason, resumed_step FROM attempts ORDER BY run_id, attempt"
    ).to_pylist()
    return rows


def processes_training(label: str) -> list[int]:
    """Return the worker processes below this one that train the run of this name."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            if title == f"ray::{label}" and os.getpid() in ancestors(int(entry.name)):
                found.append(int(entry.name))
    return found


def ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid


class OnceTraining:
    """A watcher that does something when the first run trains."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action, self.has_acted = action, False

    def __call__(self, state: SweepState) -> None:
        if not self.has_acted and state.running:
            self.has_acted = True
            self._action()


def test_both_families_train_and_land(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    states: list[SweepState] = []
    packed = run_sweep(lakehouse, sweep_of(FEATURES, "seeds=3"), session=ray_session, watch=states.append)
    alone = run_sweep(lakehouse, sweep_of(TRANSFORMER, "seeds=2"), session=ray_session)
    assert (packed.total, packed.finished, packed.exit_code) == (6, 6, 0)
    assert (alone.total, alone.finished, alone.exit_code) == (2, 2, 0)
    rows = lakehouse.query(
        "SELECT family, count(*) AS runs, max(attempt) AS attempts, "
        "bool_and(status = 'finished' AND loss > 0 AND step_seconds > 0) AS are_whole "
        "FROM runs GROUP BY family ORDER BY family"
    ).to_pylist()
    assert rows == [
        {"family": "plrf", "runs": 6, "attempts": 1, "are_whole": True},
        {"family": "transformer", "runs": 2, "attempts": 1, "are_whole": True},
    ]
    assert lakehouse.query("SELECT name, runs, finished FROM sweeps ORDER BY name").to_pylist() == [
        {"name": "features", "runs": 6, "finished": 6},
        {"name": "small", "runs": 2, "finished": 2},
    ]
    assert lakehouse.query("SELECT count(DISTINCT run_id) AS n FROM curves").to_pylist() == [{"n": 8}]
    assert not list(lakehouse.spool_folder.glob("*.parquet"))
    assert not checkpoint_folder(lakehouse).exists()
    assert states[0].queued + len(states[0].running) == 6
    assert states[-1] == packed


def test_a_sweep_that_is_done_starts_no_ray(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    sweep = sweep_of(FEATURES)
    first = run_sweep(lakehouse, sweep, session=ray_session)
    untouched = RaySession("an.address.nobody.has:1")
    again = run_sweep(lakehouse, sweep, session=untouched)
    assert (again.skipped, again.finished, again.exit_code) == (2, 0, 0)
    assert again.sweep_id == first.sweep_id
    assert not untouched.is_started
    assert len(attempts_of(lakehouse)) == 2


def test_only_runs_that_are_missing_are_trained(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    run_sweep(lakehouse, sweep_of(FEATURES), session=ray_session)
    state = run_sweep(lakehouse, sweep_of(FEATURES, "seeds=3"), session=ray_session)
    assert (state.total, state.skipped, state.finished) == (6, 2, 4)
    assert {row["attempt"] for row in attempts_of(lakehouse)} == {1}


def test_exclusive_runs_train_one_after_another_on_one_machine(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    state = run_sweep(lakehouse, sweep_of(FEATURES, "timing=exclusive", "seeds=2"), session=ray_session)
    assert state.finished == 4
    attempts = lakehouse.query("SELECT started_at, finished_at, results FROM attempts ORDER BY started_at").to_pylist()
    assert all(json.loads(attempt["results"])["packed_runs"] == 1 for attempt in attempts)
    assert all(earlier["finished_at"] <= later["started_at"] for earlier, later in pairwise(attempts))


def test_a_diverged_run_is_a_result(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    sweep = sweep_of(FEATURES, "grid.learning_rate=[0.1, 1e3]", "grid.width=8")
    state = run_sweep(lakehouse, sweep, session=ray_session)
    assert (state.finished, state.diverged, state.failed, state.exit_code) == (1, 1, 0, 0)
    again = run_sweep(lakehouse, sweep, session=ray_session)
    assert (again.skipped, again.done) == (2, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
def test_a_killed_worker_is_tried_again(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    def kill() -> None:
        for pid in processes_training("small"):
            os.kill(pid, signal.SIGKILL)

    watch = OnceTraining(kill)
    state = run_sweep(lakehouse, sweep_of(TRANSFORMER, "grid.steps=4000"), session=ray_session, watch=watch)
    assert watch.has_acted
    assert (state.finished, state.retried, state.exit_code) == (1, 1, 0)
    assert [(row["status"], row["reason"]) for row in attempts_of(lakehouse)] == [("lost", "crash"), ("finished", None)]
    points = lakehouse.query(
        "SELECT count(*) AS n, count(DISTINCT step) AS steps, max(step) AS last FROM curves"
    ).to_pylist()
    assert points == [{"n": 4000, "steps": 4000, "last": 4000}]


@pytest.mark.slow
def test_a_worker_that_is_to_go_saves_its_run_which_goes_on(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    def terminate() -> None:
        [pid] = processes_training("small")
        deadline = time.monotonic() + 60
        while not lakehouse.query("SELECT 1 FROM curves LIMIT 1").num_rows and time.monotonic() < deadline:
            lakehouse.drain()
            time.sleep(0.1)
        os.kill(pid, signal.SIGTERM)

    watch = OnceTraining(terminate)
    state = run_sweep(lakehouse, sweep_of(TRANSFORMER, "grid.steps=6000"), session=ray_session, watch=watch)
    assert (state.finished, state.retried) == (1, 1)
    first, second = attempts_of(lakehouse)
    assert (first["status"], first["reason"]) == ("failed", "preempted")
    assert second["status"] == "finished" and int(second["resumed_step"] or 0) > 0  # type: ignore[call-overload]


def test_a_run_over_its_time_limit_goes_on_from_its_checkpoint(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    text = TRANSFORMER + "timeout: 1 s\nretries: {timeout: 1}\n"
    state = run_sweep(lakehouse, sweep_of(text, f"grid.steps={LONG}"), session=ray_session)
    assert (state.failed, state.retried, state.exit_code) == (1, 1, 4)
    assert state.failures[0].reason == "timeout"
    first, second = attempts_of(lakehouse)
    assert (first["status"], first["reason"], first["resumed_step"]) == ("failed", "timeout", None)
    assert (second["reason"], int(second["resumed_step"] or 0) > 0) == ("timeout", True)  # type: ignore[call-overload]
    assert len(list(checkpoint_folder(lakehouse).iterdir())) == 1


def test_a_sweep_can_stop_at_the_first_failure(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    text = TRANSFORMER.replace("{source: builtin}", "[{source: /no/such/folder}, builtin]") + "resources: {cpus: 2}\n"
    settings = ("retries={crash: 0}", f"grid.steps={LONG}", "on_failure=stop")
    state = run_sweep(lakehouse, sweep_of(text, *settings), session=ray_session)
    assert (state.failed, state.queued, state.exit_code) == (1, 1, 4)
    assert "/no/such/folder" in str(state.failures[0].error)
    assert any("first failure" in event.message for event in state.events)


@pytest.mark.slow
def test_a_failing_run_does_not_stop_the_others(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    text = TRANSFORMER.replace("{source: builtin}", "[{source: /no/such/folder}, builtin]")
    state = run_sweep(lakehouse, sweep_of(text), session=ray_session)
    assert (state.failed, state.finished, state.retried, state.exit_code) == (1, 1, 1, 4)
    failed = lakehouse.query("SELECT reason, error, traceback FROM attempts WHERE status = 'failed'").to_pylist()
    assert [row["reason"] for row in failed] == ["crash", "crash"]
    assert all("Traceback" in row["traceback"] for row in failed)


@pytest.mark.parametrize("resources", ["{cpus: 4096}", "{gpus: 64}", "{memory: 900 TiB}"])
def test_a_run_that_fits_no_machine_is_refused(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession, resources: str
) -> None:
    with pytest.raises(RunFailed, match="the largest machine has"):
        run_sweep(lakehouse, sweep_of(FEATURES + f"resources: {resources}\n"), session=ray_session)
    assert attempts_of(lakehouse) == []


def test_attempts_of_a_driver_that_died_are_lost_and_made_again(
    lakehouse: Lakehouse, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    sweep = sweep_of(FEATURES)
    records = sweep.expand().records
    lakehouse.record_sweep(name=sweep.name, spec=sweep.text, runs=records)
    lakehouse.begin_attempts([record.run_id for record in records], f"{host_name()}:999999999:1")
    state = run_sweep(lakehouse, sweep, session=ray_session)
    assert state.finished == 2
    assert [row["status"] for row in attempts_of(lakehouse)] == ["lost", "finished"] * 2


def test_a_sweep_that_another_process_runs_is_refused(lakehouse: Lakehouse, sweep_of: Callable[..., Sweep]) -> None:
    sweep = sweep_of(FEATURES)
    records = sweep.expand().records
    lakehouse.record_sweep(name=sweep.name, spec=sweep.text, runs=records)
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            driver = f"{host_name()}:{other.pid}:{process_start(other.pid)}"
            lakehouse.begin_attempts([record.run_id for record in records], driver)
            with pytest.raises(StoreError, match=f"'features' is already running in process {other.pid}"):
                run_sweep(lakehouse, sweep)
        finally:
            other.kill()
    assert {row["status"] for row in attempts_of(lakehouse)} == {"queued"}


def test_a_sweep_runs_into_a_lake_that_another_process_holds(
    tmp_path: Path, sweep_of: Callable[..., Sweep], ray_session: RaySession
) -> None:
    path = tmp_path / "held.duckdb"
    holding = f"import isoflop; lake = isoflop.open({str(path)!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            with Lakehouse(path) as lake:
                assert not lake.is_owner
                state = run_sweep(lake, sweep_of(FEATURES), session=ray_session)
                assert state.finished == 2
                assert lake.query("SELECT count(*) AS n FROM runs WHERE status = 'finished'").to_pylist() == [{"n": 2}]
        finally:
            holder.kill()


@pytest.mark.parametrize("address", ["http://head:8265", "ray://head:10001"])
def test_an_address_that_is_no_cluster_says_what_to_use(address: str) -> None:
    with pytest.raises(UsageError, match="isoflop submit"):
        RaySession(address)


def test_a_cluster_that_is_not_there_is_no_long_wait() -> None:
    program = (
        "from isoflop.workers.cluster import RaySession\n"
        "from isoflop.lakehouse.errors import RunFailed\n"
        "try:\n    RaySession('127.0.0.1:9').start()\n"
        "except RunFailed as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert "the Ray cluster at '127.0.0.1:9' does not answer: [Errno 111] Connection refused" in done.stdout


def test_printed_lines_are_in_the_runs_log(tmp_path: Path, lakehouse: Lakehouse) -> None:
    from isoflop.lakehouse.ingest.spool import Spool
    from isoflop.workers.cluster.task import printed_to

    with Spool(lakehouse.spool_folder, "a" * 12, 1) as spool, printed_to(spool):
        print("one\ntwo")
        sys.stderr.write("careful")
    lakehouse.drain()
    rows = lakehouse.query("SELECT level, message FROM logs ORDER BY logged_at").to_pylist()
    assert rows == [
        {"level": "info", "message": "one"},
        {"level": "info", "message": "two"},
        {"level": "warning", "message": "careful"},
    ]


def test_a_stop_has_one_reason() -> None:
    from isoflop.workers.cluster.task import Stop

    stop = Stop(timeout_seconds=0.01)
    time.sleep(0.02)
    assert stop() and stop.reason == "timeout"
    with stop.on_interrupt():
        signal.raise_signal(signal.SIGINT)
    assert stop() and stop.reason == "timeout"
    assert Stop(None)() is False
